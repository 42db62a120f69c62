"""A small fabric on this machine: a namespace for each switch and host, a veth pair for each cable, FRR on switches.

It lives in a run directory like any other lab (`state.py`), so `suanwang lab down --name NAME` takes it away whatever
happened, and so does the next one of that name if its owner died.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_interface, ip_network
from pathlib import Path

from pyroute2 import IPRoute

from suanwang.fabric.cabling.cables import Cable
from suanwang.fabric.cabling.neighbours import ends, named
from suanwang.lab import links, namespaces
from suanwang.lab.description import DEFAULT_MTU_BYTES, LinkDescription
from suanwang.lab.fabric_routers import FileRouter
from suanwang.lab.state import DEFAULT_BASE, LabDirectory, LabRecord, ProcessRecord, start_ticks
from suanwang.lab.underlay import LAB_NEEDS, ROUTER_SETTINGS
from suanwang.linux.frr_daemons import daemon_path
from suanwang.model.errors import SuanwangError

HOST_SETTINGS: Mapping[str, int | str] = {**ROUTER_SETTINGS, "ipv4/ip_forward": 0, "ipv6/conf/all/forwarding": 0}
_OWNER = "fabric"
"""The role, in the lab's record, of the process that runs the fabric and takes it away."""
_KEPT = "kept"

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Host:
    """A host's ports: for each interface its address, the gateway, and the prefixes that lie behind it."""

    name: str
    ports: Mapping[str, tuple[str, str, tuple[str, ...]]]


@dataclass(frozen=True, slots=True)
class FabricLab:
    """A running fabric. Make one by `claim`, then wire it and start its routers; `remove` takes all of it away."""

    directory: LabDirectory

    @classmethod
    def claim(cls, name: str, base: Path = DEFAULT_BASE) -> FabricLab:
        """The run directory, taken; what a fabric of that name left that died is removed first.

        Raises:
            SuanwangError: LAB_NEEDS without root or FRR, LAB_EXISTS when the name is in use, LAB_NAME.
        """
        check_machine()
        directory = LabDirectory(name, base)
        if directory.path.exists() and _abandoned(directory.read()):
            with directory.locked():
                # Looked at again: what was abandoned may be another's by now.
                if _abandoned(directory.read()):
                    directory.remove()
        directory.claim()
        lab = cls(directory)
        own = ProcessRecord(_OWNER, "", os.getpid(), start_ticks(os.getpid()) or 0)
        directory.write(LabRecord(name, processes=[own]))
        return lab

    def namespace(self, node: str) -> str:
        """The name of a node's namespace."""
        return self.directory.namespace(node)

    def router(self, node: str) -> FileRouter:
        """A switch's routing daemons."""
        return FileRouter(self.directory.routing_directory(node), namespaces.path_of(self.namespace(node)))

    def wire(self, switches: Iterable[str], hosts: Iterable[Host], cables: Sequence[Cable]) -> None:
        """Make namespaces and cables, all on, with the hosts' addresses. `cables` is how they lie, right or wrong."""
        switches, hosts = list(switches), list(hosts)
        record = self.directory.read()
        record.namespaces = [self.namespace(node) for node in (*switches, *(host.name for host in hosts))]
        self.directory.write(record)
        namespaces.create(record.namespaces)
        settle: dict[str, Callable[[], None]] = {
            self.namespace(node): partial(_settle, ROUTER_SETTINGS) for node in switches
        }
        settle |= {self.namespace(host.name): partial(_settle, HOST_SETTINGS) for host in hosts}
        namespaces.run_in_each(settle)
        planned = [self._planned(cable) for cable in cables]
        links.create(planned, "")
        links.switch_on(planned, "")
        self.address(hosts)

    def address(self, hosts: Iterable[Host]) -> None:
        """Give hosts their addresses and routes. What is there already stays."""
        namespaces.run_in_each({self.namespace(host.name): partial(_address, host) for host in hosts})

    def rewire(self, remove: Iterable[Cable], add: Iterable[Cable]) -> None:
        """Pull cables and lay others, as a hand would."""
        for cable in remove:
            namespaces.run_inside(self.namespace(cable.a_device), partial(_pull, cable.a_port))
        planned = [self._planned(cable) for cable in add]
        links.create(planned, "")
        links.switch_on(planned, "")

    def start_routers(self, configurations: Mapping[str, str], daemons: Iterable[str]) -> None:
        """Start FRR on every switch from its frr.conf. Raises FRR_MISSING, FRR_FAILED."""
        daemons = list(daemons)
        (self.directory.path / "frr").mkdir()

        def start(node: str) -> list[ProcessRecord]:
            router = self.router(node)
            router.start_from(configurations[node], daemons, self.directory.environment)
            return [ProcessRecord(name, node, pid, start_ticks(pid) or 0) for name, pid in router.pids()]

        with ThreadPoolExecutor(max_workers=(os.cpu_count() or 1) + 2) as pool:
            found = [record for records in pool.map(start, configurations) for record in records]
        record = self.directory.read()
        record.processes += found
        record.stage = "up"
        self.directory.write(record)

    def switch(self, cables: Iterable[Cable], on: bool) -> None:
        """Cut cables, or heal them: both ends go down, or up, in one visit to each node."""
        visits: dict[str, list[str]] = {}
        for cable in cables:
            for end in ends(cable):
                visits.setdefault(self.namespace(end.node), []).append(end.port)

        def visit(names: list[str]) -> None:
            for name in names:
                links.set_up(name, on)

        namespaces.run_in_each({namespace: partial(visit, names) for namespace, names in visits.items()})

    def keep(self) -> None:
        """Leave it running when this process ends."""
        record = self.directory.read()
        record.notes[_KEPT] = "yes"
        self.directory.write(record)

    def remove(self) -> None:
        """Take everything away. Doing it twice is no error."""
        if self.directory.path.exists():
            with self.directory.locked(limit_s=5.0):
                self.directory.remove()

    def _planned(self, cable: Cable) -> links.PlannedLink:
        a, b = (links.LinkEnd(self.namespace(end.node), end.port) for end in ends(cable))
        description = LinkDescription(named(cable), cable.a_device, cable.b_device, mtu_bytes=DEFAULT_MTU_BYTES)
        return links.PlannedLink(description, (a, b), relayed=False)


def check_machine() -> None:
    """Raises LAB_NEEDS or FRR_MISSING where a fabric can't run."""
    if os.geteuid() != 0:
        raise SuanwangError(LAB_NEEDS, "a fabric of real routers needs root, to make namespaces", "run it with sudo")
    for program in ("nsenter", "vtysh"):
        if shutil.which(program) is None:
            raise SuanwangError(LAB_NEEDS, f"{program} is not installed", "install the packages util-linux and frr")
    for daemon in ("zebra", "bgpd"):
        daemon_path(daemon)


def _abandoned(record: LabRecord) -> bool:
    owners = [process for process in record.processes if process.role == _OWNER]
    return bool(owners) and _KEPT not in record.notes and not any(process.alive for process in owners)


def _settle(settings: Mapping[str, int | str]) -> None:
    namespaces.write_settings(settings)
    with IPRoute() as kernel:
        kernel.link("set", index=1, state="up")


def _address(host: Host) -> None:
    with IPRoute() as kernel:
        for interface, (address, gateway, prefixes) in host.ports.items():
            (index,) = kernel.link_lookup(ifname=interface)
            own = ip_interface(address)
            kernel.addr("replace", index=index, address=str(own.ip), prefixlen=own.network.prefixlen)
            for prefix in prefixes:
                if own.network != ip_network(prefix) and own.version == ip_network(prefix).version:
                    kernel.route("replace", dst=prefix, gateway=gateway, oif=index)


def _pull(interface: str) -> None:
    with IPRoute() as kernel:
        (index,) = kernel.link_lookup(ifname=interface)
        kernel.link("del", index=index)
