"""A whole lab: an underlay of real routers, a controller, and an agent for every host, each a process of its own.

A lab is declared by Regions, Nodes and Links. What the controller will allocate to them (addresses, AS numbers, names
of interfaces) is worked out first, by the controller's own admission, and then stored as the first revision of the
lab's controller, so that underlay and controller agree from the start.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from suanwang.api.server import NOTE, SECRETS, STORE
from suanwang.controller.authority import Authority
from suanwang.controller.credentials import Credentials
from suanwang.controller.engine import Controller
from suanwang.lab.description import Impairment, LinkDescription, NodeDescription, UnderlayDescription
from suanwang.lab.state import DEFAULT_BASE, LabDirectory, ProcessRecord, start_ticks
from suanwang.lab.underlay import Underlay
from suanwang.linux import netns
from suanwang.linux.kernel import namespace_name
from suanwang.model.errors import INVALID, NOT_FOUND, SuanwangError, code
from suanwang.model.registry import Registry, Resource
from suanwang.model.resource import decode
from suanwang.store import SqliteStore, Store
from suanwang.topology.underlay import UnderlayLink, UnderlayPlan, underlay_plan

LAB_START = code("LAB_START", "a process of the lab did not start")
LAB_STOP = code("LAB_STOP", "a process of the lab did not end")

KINDS = frozenset({"Region", "Site", "Node", "Link", "Peer"})
"""What a lab is declared by; other kinds are for its controller."""

_ADDRESS = "controller"
"""The lab's note of where its controller listens. It outlives a controller that dies before it has written its own."""

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Lab:
    """A running lab. Make one by `up` or `open`; it goes on when this process ends."""

    underlay: Underlay

    @classmethod
    def open(cls, name: str, base: Path = DEFAULT_BASE) -> Lab:
        """The lab of that name. Raises LAB_MISSING."""
        return cls(Underlay.open(name, base))

    @classmethod
    def up(
        cls,
        name: str,
        resources: Iterable[Resource],
        registry: Registry,
        *,
        base: Path = DEFAULT_BASE,
        emulate_all: bool = False,
        bfd: bool = False,
        progress: Progress = lambda text: None,
        limit_s: float = 60.0,
    ) -> Lab:
        """Start everything; returns when all routes are there, the controller answers and the agents are started.

        When it fails, all that was made is taken away again. Raises what admission and `Underlay.up` raise, LAB_START.
        """
        declared = [resource for resource in resources if resource.key.kind in KINDS]
        if not any(resource.key.kind == "Node" for resource in declared):
            raise SuanwangError(INVALID, "a lab needs at least one Node", "declare a Region, Nodes and Links")
        plan = _admit(SqliteStore(":memory:"), registry, declared)
        underlay = Underlay.up(name, _description(plan, emulate_all, bfd), base, progress, limit_s)
        lab = cls(underlay)
        try:
            lab._start_controller(registry, declared, plan, progress, limit_s)
        except BaseException:
            underlay.directory.remove()
            raise
        return lab

    def down(self) -> None:
        """Take everything away. Doing it twice is no error."""
        self.underlay.down()

    @property
    def directory(self) -> LabDirectory:
        """The lab's run directory."""
        return self.underlay.directory

    @property
    def controller_directory(self) -> Path:
        """The controller's data directory: its store, its authority, `server.json` and the first token."""
        return self.directory.path / "controller"

    def hosts(self) -> list[str]:
        """Nodes that have an agent."""
        return [process.node for process in self.underlay.record.processes if process.role == "agent"]

    def agent_directory(self, node: str) -> Path:
        """An agent's state directory."""
        return self.directory.path / "agents" / node

    def prefix(self, node: str) -> str:
        """How the names of the namespaces that a node's agent makes begin."""
        return f"{self.underlay.namespace(node)}."

    def namespace(self, target: str) -> str:
        """The namespace of a node (`host-1`) or of a workload (`port/TENANT/NAME`). Raises NOT_FOUND."""
        if not target.startswith("port/"):
            name = self.underlay.namespace(target)
            if not netns.is_mounted(name):
                raise SuanwangError(
                    NOT_FOUND, f"lab {self.directory.name!r} has no node {target!r}", "see `lab status`"
                )
            return name
        for node in self.hosts():
            name = namespace_name(self.prefix(node), target)
            if netns.is_mounted(name):
                return name
        hint = "apply it first, and name it as port/TENANT/NAME"
        raise SuanwangError(NOT_FOUND, f"no host of lab {self.directory.name!r} has {target}", hint)

    def command_line(self, target: str, command: Sequence[str]) -> list[str]:
        """The command line that runs `command` inside a node or workload."""
        return ["nsenter", f"--net={netns.DIRECTORY / self.namespace(target)}", "--", *command]

    def start_agent(self, node: str, token: str = "") -> None:
        """Start a node's agent, with a join token the first time; also one that has ended. Raises LAB_START."""
        self._refuse_second("agent", node)
        directory = self.agent_directory(node)
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        server = msgspec.json.decode((self.controller_directory / NOTE).read_bytes())
        command = [
            sys.executable, "-m", "suanwang", "agent", "--node", node,
            "--controller", server["url"].removeprefix("https://"), "--state-directory", str(directory),
            "--underlay", self.underlay.namespace(node), "--prefix", self.prefix(node),
        ]  # fmt: skip
        if token:
            file = directory / "join.token"
            file.write_text(token)
            file.chmod(0o600)
            command += ["--token-file", str(file)]
        self._spawn("agent", node, command, self.directory.path / "agents" / f"{node}.log")

    def start_server(self, limit_s: float = 30.0) -> None:
        """Start the controller, also one that has ended, and wait until it listens. Raises LAB_START."""
        self._refuse_second("controller")
        note = self.controller_directory / NOTE
        # Agents know the first address, so a controller that comes back takes it again.
        listen = self.underlay.record.notes.get(_ADDRESS, "127.0.0.1:0")
        note.unlink(missing_ok=True)
        log = self.directory.path / "controller.log"
        command = [sys.executable, "-m", "suanwang", "server", "--listen", listen]
        command += ["--data-directory", str(self.controller_directory)]
        process = self._spawn("controller", "", command, log)
        deadline = time.monotonic() + limit_s
        while not note.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                end = log.read_text()[-2000:].strip()
                raise SuanwangError(LAB_START, f"the controller did not start: {end}", f"its log: {log}")
            time.sleep(0.02)
        record = self.underlay.record
        record.notes[_ADDRESS] = str(msgspec.json.decode(note.read_bytes())["url"]).removeprefix("https://")
        self.directory.write(record)

    def kill(self, role: str, node: str = "") -> None:
        """End the controller (`controller`) or a node's agent (`agent`) at once, as a crash would. Raises NOT_FOUND."""
        self._end(role, node, signal.SIGKILL, 5.0)

    def stop(self, role: str, node: str = "", limit_s: float = 15.0) -> None:
        """Ask the controller (`controller`) or a node's agent (`agent`) to end, and wait for it.

        Raises NOT_FOUND when it does not run, LAB_STOP when it does not end in time.
        """
        self._end(role, node, signal.SIGTERM, limit_s)

    def runs(self, role: str, node: str = "") -> bool:
        """Whether the controller (`controller`) or a node's agent (`agent`) runs."""
        return self._process(role, node) is not None

    def _process(self, role: str, node: str) -> ProcessRecord | None:
        found = (one for one in self.underlay.record.processes if (one.role, one.node) == (role, node) and one.alive)
        return next(found, None)

    def _refuse_second(self, role: str, node: str = "") -> None:
        if self.runs(role, node):
            message = f"the {' '.join(filter(None, (role, node)))} of lab {self.directory.name!r} runs already"
            raise SuanwangError(LAB_START, message, "there is nothing to start; to start it anew: suanwang lab restart")

    def _end(self, role: str, node: str, number: int, limit_s: float) -> None:
        process = self._process(role, node)
        if process is None:
            what = " ".join(filter(None, (role, node)))
            raise SuanwangError(NOT_FOUND, f"no {what} runs in lab {self.directory.name!r}", "see `lab status`")
        try:
            handle = os.pidfd_open(process.pid)
        except ProcessLookupError:
            return
        try:
            if process.alive:  # the handle is held now, so the number can't have become another's
                signal.pidfd_send_signal(handle, number)
                ended, _, _ = select.select([handle], [], [], limit_s)
                if not ended:
                    what = " ".join(filter(None, (role, node)))
                    message = f"the {what} of lab {self.directory.name!r} has not ended after {limit_s:g} s"
                    raise SuanwangError(LAB_STOP, message, f"look at process {process.pid}")
        except ProcessLookupError:
            pass
        finally:
            os.close(handle)

    def _start_controller(
        self, registry: Registry, declared: list[Resource], plan: UnderlayPlan, progress: Progress, limit_s: float
    ) -> None:
        data = self.controller_directory
        data.mkdir(mode=0o700)
        store = SqliteStore(data / STORE)
        try:
            if _admit(store, registry, declared) != plan:
                raise SuanwangError(LAB_START, "admission was not the same twice", "this is a defect: please report it")
        finally:
            store.close()
        hosts = [node.name for node in plan.nodes if {"host", "gateway"} & set(node.roles)]
        credentials = Credentials(data / SECRETS)
        try:
            authority = Authority(data, credentials)
            tokens = {host: authority.enrolment_token(host) for host in hosts}
        finally:
            credentials.close()
        progress("controller")
        self.start_server(limit_s)
        progress(f"{len(hosts)} agents")
        for host in hosts:
            self.start_agent(host, tokens[host])

    def _spawn(self, role: str, node: str, command: list[str], log: Path) -> subprocess.Popen[bytes]:
        log.parent.mkdir(mode=0o700, exist_ok=True)
        with log.open("ab") as output:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, **self.directory.environment},
                cwd="/",
                start_new_session=True,
            )
        record = self.underlay.record
        record.processes = [p for p in record.processes if (p.role, p.node) != (role, node)]
        record.processes.append(ProcessRecord(role, node, process.pid, start_ticks(process.pid) or 0))
        self.directory.write(record)
        return process


def _admit(store: Store, registry: Registry, resources: list[Resource]) -> UnderlayPlan:
    controller = Controller(store, registry)
    controller.apply(controller.plan(resources), "lab", "the lab's own nodes and links")
    return underlay_plan((entry.key, decode(entry.body)) for entry in store.list())


def _description(plan: UnderlayPlan, emulate_all: bool, bfd: bool) -> UnderlayDescription:
    protocols = {node.routing for node in plan.nodes}
    metrics = {node.metric for node in plan.nodes}
    if len(protocols) > 1 or len(metrics) > 1:
        message = "regions of one lab must have the same underlay routing and metric"
        raise SuanwangError(INVALID, message, "set underlay.routing and underlay.metric alike in all regions")
    nodes = tuple(NodeDescription(node.name, node.roles[0], node.asn, node.loopbacks) for node in plan.nodes)
    links = tuple(map(_link, plan.links))
    return UnderlayDescription(nodes, links, protocols.pop(), metrics.pop(), bfd, emulate_all)


def _link(link: UnderlayLink) -> LinkDescription:
    forward = link.forward
    impairment = Impairment(forward.latency_us, forward.loss_ppm / 1e6)
    description = LinkDescription(link.name, link.a, link.b, impairment, link.mtu_bytes)
    return replace(description, a_interface=link.a_interface, b_interface=link.b_interface)
