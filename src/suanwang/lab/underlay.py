"""A lab's underlay: namespaces, links, relay and routers, up in one call and gone in one call.

Nothing is held in memory that is not on disk, so any process can take up a lab that another one started:
`Underlay.open(NAME)`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from ipaddress import IPv4Interface, ip_interface
from pathlib import Path

from pyroute2 import IPRoute

from suanwang.lab import convergence, links, namespaces
from suanwang.lab.description import Impairment, NodeDescription, UnderlayDescription
from suanwang.lab.relay_client import RelayClient
from suanwang.lab.state import DEFAULT_BASE, LabDirectory, LabRecord, ProcessRecord, check_name, start_ticks
from suanwang.linux.frr import RouterConfiguration, RouterInterface
from suanwang.linux.frr_daemons import FrrDaemons, daemon_path
from suanwang.model.errors import INVALID, NOT_FOUND, SuanwangError, code

LAB_NEEDS = code("LAB_NEEDS", "this machine or user lacks something that a lab needs")

RELAY_NODE = "relay"
"""The name under which the relay has its namespace; no node may be called so."""

ROUTER_SETTINGS: Mapping[str, int | str] = {
    "ipv4/ip_forward": 1,
    "ipv4/conf/all/rp_filter": 0,
    "ipv4/conf/default/rp_filter": 0,
    "ipv4/conf/all/ignore_routes_with_linkdown": 1,
    "ipv4/conf/default/ignore_routes_with_linkdown": 1,
    # Spread flows over equal paths by ports, not only by addresses.
    "ipv4/fib_multipath_hash_policy": 1,
    "ipv6/fib_multipath_hash_policy": 1,
    "ipv6/conf/all/forwarding": 1,
    "ipv6/conf/default/forwarding": 1,
    "ipv6/conf/all/ignore_routes_with_linkdown": 1,
    "ipv6/conf/default/ignore_routes_with_linkdown": 1,
    "ipv6/conf/all/keep_addr_on_down": 1,
    "ipv6/conf/default/keep_addr_on_down": 1,
    # Link-local addresses are made from addresses of our own making: checking that they are unique takes seconds.
    "ipv6/conf/all/accept_dad": 0,
    "ipv6/conf/default/accept_dad": 0,
    "ipv6/conf/default/dad_transmits": 0,
    "ipv6/conf/all/seg6_enabled": 1,
    "ipv6/conf/default/seg6_enabled": 1,
}
"""Settings of every node's namespace, below `/proc/sys/net`."""

RELAY_SETTINGS: Mapping[str, int | str] = {
    "ipv4/ip_forward": 0,
    "ipv6/conf/all/disable_ipv6": 1,
    "ipv6/conf/default/disable_ipv6": 1,
}
"""The relay's namespace must stay silent on the links that pass through it."""

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Underlay:
    """A lab's underlay, running or to be started. Make one by `open` or `up`."""

    directory: LabDirectory

    @classmethod
    def open(cls, name: str, base: Path = DEFAULT_BASE) -> Underlay:
        """The lab of that name. Raises LAB_MISSING."""
        underlay = cls(LabDirectory(name, base))
        underlay.directory.read()
        return underlay

    @classmethod
    def up(
        cls,
        name: str,
        description: UnderlayDescription,
        base: Path = DEFAULT_BASE,
        progress: Progress = lambda text: None,
        limit_s: float = 60.0,
    ) -> Underlay:
        """Start a lab and wait until every node has routes to all loopbacks.

        When it fails, or is interrupted, everything that was made is taken away before the error passes on.
        Raises LAB_NEEDS, LAB_EXISTS, LAB_NAME, INVALID, FRR_FAILED, RELAY_FAILED, LAB_NOT_CONVERGED.
        """
        underlay = cls(LabDirectory(name, base))
        _check_machine(description)
        _check_description(description)
        underlay.directory.claim()
        try:
            with underlay.directory.locked():
                underlay._start(description, progress, limit_s)
        except BaseException:
            underlay.directory.remove()
            raise
        return underlay

    def down(self) -> None:
        """Take the lab away, whatever state it is in. Doing it twice is no error. Raises LAB_BUSY."""
        if not self.directory.path.exists():
            return
        with self.directory.locked(limit_s=5.0):
            self.directory.remove()

    @property
    def record(self) -> LabRecord:
        """What the lab is made of, as written on disk. Raises LAB_MISSING."""
        return self.directory.read()

    @property
    def relay(self) -> RelayClient:
        """The lab's relay; it runs only where links are emulated without netem."""
        return RelayClient(self.directory.path, self.directory.namespace(RELAY_NODE))

    def namespace(self, node: str) -> str:
        """The name of a node's namespace."""
        return self.directory.namespace(node)

    def routing(self, node: str) -> FrrDaemons:
        """The routing daemons of a node, to be asked what they see."""
        return FrrDaemons(self.directory.routing_directory(node), namespaces.path_of(self.namespace(node)))

    def exec(self, node: str, argv: Sequence[str], **options: object) -> subprocess.CompletedProcess[str]:
        """Run a command inside a node and wait for it. `options` are those of `subprocess.run`."""
        full = {"capture_output": True, "text": True, "stdin": subprocess.DEVNULL, **options}
        return subprocess.run(self.command_line(node, argv), env=self.environment, **full)  # type: ignore[call-overload,no-any-return]

    def command_line(self, node: str, argv: Sequence[str]) -> list[str]:
        """The command line that runs `argv` inside a node's namespace. Raises NOT_FOUND."""
        path = namespaces.path_of(self.namespace(node))
        if not path.exists():
            raise SuanwangError(NOT_FOUND, f"lab {self.directory.name!r} has no node {node!r}")
        return ["nsenter", f"--net={path}", "--", *argv]

    @property
    def environment(self) -> dict[str, str]:
        """The environment in which every process of the lab must be started, so that `down` finds it."""
        return {**os.environ, **self.directory.environment}

    def cut(self, link: str) -> None:
        """Switch both ends of a link off. Raises NOT_FOUND."""
        self._switch(link, up=False)

    def heal(self, link: str) -> None:
        """Switch both ends of a link on again. Raises NOT_FOUND."""
        self._switch(link, up=True)

    def _switch(self, link: str, up: bool) -> None:
        record = self.record
        links.set_state(self._planned_link(record, link), up)
        record.cut = sorted({*record.cut, link} - ({link} if up else set()))
        self.directory.write(record)

    def impair(self, link: str, impairment: Impairment) -> None:
        """Give both directions of a link this delay, loss and rate from now on.

        Routers are not told: they go on choosing paths by the delay the link was declared with.
        Raises NOT_FOUND, IMPAIR_FAILED.
        """
        record = self.record
        planned = self._planned_link(record, link)
        if record.netem:
            links.impair_by_netem(planned, impairment)
        elif planned.relayed:
            self.relay.order(
                {
                    "do": "set",
                    "link": link,
                    "delay_us": impairment.delay_us,
                    "loss": impairment.loss,
                    "rate_bps": impairment.rate_bps,
                }
            )
        else:
            raise SuanwangError(
                links.IMPAIR_FAILED,
                f"link {link!r} was made without emulation and this kernel has no netem",
                "declare a delay, loss or rate for the link before `lab up`, or start the lab with all links emulated",
            )
        description = _described(record)
        record.description = replace(
            description,
            links=tuple(replace(x, impairment=impairment) if x.name == link else x for x in description.links),
        )
        self.directory.write(record)

    def planned_links(self) -> list[links.PlannedLink]:
        """All links with the names of their ends."""
        return _plan(self.directory, self.record)

    def missing_routes(self) -> dict[str, list[str]]:
        """For each node the loopbacks that it has no route to; nodes that lack nothing are left out."""
        return convergence.missing_routes(_described(self.record).nodes, self.namespace)

    def status(self) -> dict[str, object]:
        """The lab's state in stable JSON fields."""
        record = self.record
        described = _described(record)
        present = set(namespaces.existing(self.namespace("")))
        missing = self.missing_routes() if record.stage == "up" and present.issuperset(record.namespaces) else {}
        counters = self.relay.counters() if any(p.role == "relay" and p.alive for p in record.processes) else {}
        alive = {(p.node, p.role) for p in record.processes if p.alive}
        dead = {(p.node, p.role) for p in record.processes} - alive
        return {
            "name": record.name,
            "stage": record.stage,
            "nodes": [
                {
                    "name": node.name,
                    "role": node.role,
                    "namespace": self.namespace(node.name),
                    "present": self.namespace(node.name) in present,
                    "loopbacks": list(node.loopbacks),
                    "running": sorted(role for name, role in alive if name == node.name),
                    "dead": sorted(role for name, role in dead if name == node.name),
                    "missing_routes": missing.get(node.name, []),
                }
                for node in described.nodes
            ],
            "links": [
                {
                    "name": link.name,
                    "a": link.a,
                    "b": link.b,
                    "state": "cut" if link.name in record.cut else "up",
                    "delay_us": link.impairment.delay_us,
                    "loss": link.impairment.loss,
                    "rate_bps": link.impairment.rate_bps,
                    "counters": counters.get(link.name, []),
                }
                for link in described.links
            ],
        }

    def _planned_link(self, record: LabRecord, name: str) -> links.PlannedLink:
        for link in _plan(self.directory, record):
            if link.description.name == name:
                return link
        raise SuanwangError(NOT_FOUND, f"lab {self.directory.name!r} has no link {name!r}")

    def _start(self, description: UnderlayDescription, progress: Progress, limit_s: float) -> None:
        emulated = [link.name for link in description.links if link.impairment or description.emulate_all]
        record = LabRecord(self.directory.name, description=description, netem=bool(emulated) and links.has_netem())
        record.relayed = [] if record.netem else emulated
        planned = _plan(self.directory, record)
        relayed = [link for link in planned if link.relayed]
        record.namespaces = [self.namespace(node.name) for node in description.nodes]
        if relayed:
            record.namespaces.append(self.relay.namespace)
        self.directory.write(record)

        progress(f"{len(description.nodes)} nodes, {len(planned)} links")
        namespaces.create(record.namespaces)
        visits: dict[str, Callable[[], None]] = {self.namespace(n.name): partial(_settle, n) for n in description.nodes}
        if relayed:
            visits[self.relay.namespace] = partial(namespaces.write_settings, RELAY_SETTINGS)
        namespaces.run_in_each(visits)
        links.create(planned, self.relay.namespace)
        links.switch_on(planned, self.relay.namespace)
        if record.netem:
            for link in planned:
                if link.description.impairment:
                    links.impair_by_netem(link, link.description.impairment)
        if relayed:
            progress(f"relay for {len(relayed)} links")
            pid = self.relay.start([link.relay_order() for link in relayed], self.directory.environment)
            record.processes.append(_process("relay", RELAY_NODE, pid))
            self.directory.write(record)

        progress(f"{len(description.nodes)} routers")
        record.processes += self._start_routers(description, planned)
        self.directory.write(record)
        took_s = convergence.wait(description.nodes, self.namespace, limit_s, progress)
        record.stage = "up"
        self.directory.write(record)
        progress(f"all routes are there, {took_s:.1f} s after the last router started")

    def _start_routers(
        self, description: UnderlayDescription, planned: Iterable[links.PlannedLink]
    ) -> list[ProcessRecord]:
        planned = list(planned)
        (self.directory.path / "frr").mkdir()

        def start(node: NodeDescription) -> list[ProcessRecord]:
            daemons = self.routing(node.name)
            daemons.start(router_configuration(node, description, planned), self.directory.environment)
            return [_process(daemon, node.name, pid) for daemon, pid in daemons.pids()]

        with ThreadPoolExecutor(max_workers=(os.cpu_count() or 1) + 2) as pool:
            return [record for records in pool.map(start, description.nodes) for record in records]


def router_configuration(
    node: NodeDescription, description: UnderlayDescription, planned: Iterable[links.PlannedLink]
) -> RouterConfiguration:
    """What FRR is told on a node."""
    interfaces = tuple(
        RouterInterface(end.interface, link.description.impairment.delay_us)
        for link in planned
        for owner, end in zip((link.description.a, link.description.b), link.ends, strict=True)
        if owner == node.name
    )
    return RouterConfiguration(
        name=node.name,
        router_id=node.router_id or _first_ipv4(node),
        asn=node.asn,
        loopbacks=node.loopbacks,
        interfaces=interfaces,
        protocol=description.protocol,
        metric=description.metric,
        bfd=description.bfd,
    )


def _first_ipv4(node: NodeDescription) -> str:
    for text in node.loopbacks:
        address = ip_interface(text)
        if isinstance(address, IPv4Interface):
            return str(address.ip)
    raise SuanwangError(INVALID, f"node {node.name!r} has neither a router id nor an IPv4 loopback")


def _settle(node: NodeDescription) -> None:
    namespaces.write_settings(ROUTER_SETTINGS)
    with IPRoute() as kernel:
        kernel.link("set", index=1, state="up")
        for text in node.loopbacks:
            address = ip_interface(text)
            kernel.addr("add", index=1, address=str(address.ip), prefixlen=address.network.prefixlen)


def _plan(directory: LabDirectory, record: LabRecord) -> list[links.PlannedLink]:
    return links.plan(_described(record).links, directory.namespace, set(record.relayed))


def _described(record: LabRecord) -> UnderlayDescription:
    return record.description or UnderlayDescription(nodes=())


def _process(role: str, node: str, pid: int) -> ProcessRecord:
    return ProcessRecord(role, node, pid, start_ticks(pid) or 0)


def _check_machine(description: UnderlayDescription) -> None:
    if os.geteuid() != 0:
        raise SuanwangError(LAB_NEEDS, "a lab needs root, to make network namespaces", "run it with sudo")
    for program in ("nsenter", "vtysh"):
        if shutil.which(program) is None:
            raise SuanwangError(LAB_NEEDS, f"{program} is not installed", "install the packages util-linux and frr")
    for daemon in ("zebra", "bgpd" if description.protocol == "bgp" else "ospfd"):
        daemon_path(daemon)


def _check_description(description: UnderlayDescription) -> None:
    names = [node.name for node in description.nodes]
    for name in names:
        check_name(name)
    for what, values in (("node", names), ("link", [link.name for link in description.links])):
        doubled = sorted({value for value in values if values.count(value) > 1})
        if doubled:
            raise SuanwangError(INVALID, f"{what} {doubled[0]!r} is described twice")
    if RELAY_NODE in names:
        raise SuanwangError(INVALID, f"no node of a lab may be called {RELAY_NODE!r}", "choose another name")
    for link in description.links:
        for end in (link.a, link.b):
            if end not in names:
                raise SuanwangError(INVALID, f"link {link.name!r} ends at {end!r}, which is no node of the lab")
        if link.a == link.b:
            raise SuanwangError(INVALID, f"link {link.name!r} has both ends at node {link.a!r}")
