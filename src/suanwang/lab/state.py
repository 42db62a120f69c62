"""What a lab has made, on disk, so that it can always be taken away again.

Each lab has a run directory `BASE/NAME`. Its record, `lab.json`, names every namespace *before* it is made. Processes
are found by where they are, not by remembered numbers: whatever is inside one of the lab's namespaces belongs to it,
and so does whatever carries the lab's mark in its environment, such as a controller in the machine's own namespace. So
a crash between making and recording leaves nothing that cannot be found. Remembered process ids only say who is who.
"""

from __future__ import annotations

import fcntl
import os
import re
import select
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from suanwang.lab import namespaces
from suanwang.lab.description import UnderlayDescription
from suanwang.linux.frr_daemons import FrrDaemons
from suanwang.model.errors import SuanwangError, code

LAB_EXISTS = code("LAB_EXISTS", "a lab of that name is there already, or its name is taken by other namespaces")
LAB_MISSING = code("LAB_MISSING", "no lab of that name is there")
LAB_BUSY = code("LAB_BUSY", "another process is building or removing the lab at this moment")
LAB_NAME = code("LAB_NAME", "a lab's or node's name can not be used for namespaces and interfaces")

DEFAULT_BASE = Path("/run/suanwang/lab")
"""Where labs live unless told otherwise: in memory, gone after a restart as the labs themselves are."""

MARK = "SUANWANG_LAB"
"""Environment variable that every process of a lab carries; its value is the lab's run directory."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,30}")


@dataclass(frozen=True, slots=True)
class ProcessRecord:
    """A process of the lab. The start time, in clock ticks after boot, tells it from a later one of the same number."""

    role: str
    node: str
    pid: int
    start_ticks: int

    @property
    def alive(self) -> bool:
        """Whether this very process still runs."""
        return start_ticks(self.pid) == self.start_ticks


@dataclass(slots=True)
class LabRecord:
    """All that a lab is made of. `stage` is `starting` or `up`.

    `netem` says that the kernel impairs links, `relayed` names the links that pass through the relay instead, `cut`
    those that are switched off. `notes` are free for those who build on the underlay.
    """

    name: str
    stage: str = "starting"
    namespaces: list[str] = field(default_factory=list)
    processes: list[ProcessRecord] = field(default_factory=list)
    netem: bool = False
    relayed: list[str] = field(default_factory=list)
    cut: list[str] = field(default_factory=list)
    description: UnderlayDescription | None = None
    notes: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LabDirectory:
    """A lab's run directory and its record. Creating this object touches nothing."""

    name: str
    base: Path = DEFAULT_BASE

    def __post_init__(self) -> None:
        check_name(self.name)

    @property
    def path(self) -> Path:
        """The lab's run directory."""
        return self.base / self.name

    @property
    def environment(self) -> dict[str, str]:
        """What every process that is started for the lab must carry in its environment."""
        return {MARK: str(self.path)}

    def namespace(self, node: str) -> str:
        """The name of a node's namespace."""
        return f"{self.name}.{node}"

    def routing_directory(self, node: str) -> Path:
        """Where a node's routing daemons keep their files."""
        return self.path / "frr" / node

    def routing_directories(self) -> list[Path]:
        """The directories of all nodes that have routing daemons."""
        return sorted((self.path / "frr").glob("*"))

    @contextmanager
    def locked(self, limit_s: float = 0.0) -> Iterator[None]:
        """Hold the lab against other processes that build or remove it. Raises LAB_BUSY, LAB_MISSING."""
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise SuanwangError(LAB_MISSING, f"there is no lab {self.name!r}") from None
        try:
            deadline = time.monotonic() + limit_s
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() >= deadline:
                        raise SuanwangError(
                            LAB_BUSY, f"lab {self.name!r} is being built or removed", "try again when that is done"
                        ) from None
                    time.sleep(0.05)
            yield
        finally:
            os.close(descriptor)

    def claim(self) -> None:
        """Make the run directory for a new lab. Raises LAB_EXISTS."""
        strangers = [] if self.path.exists() else namespaces.existing(f"{self.name}.")
        if strangers:
            raise SuanwangError(
                LAB_EXISTS,
                f"namespaces that are not of any lab have names of lab {self.name!r}: {', '.join(strangers[:3])}",
                "choose another name for the lab",
            )
        self.base.mkdir(parents=True, exist_ok=True)
        try:
            self.path.mkdir(mode=0o755)
        except FileExistsError:
            raise SuanwangError(
                LAB_EXISTS, f"lab {self.name!r} is there already", f"remove it: suanwang lab down --name {self.name}"
            ) from None

    def read(self) -> LabRecord:
        """The lab's record. A lab that crashed before it wrote one has an empty record. Raises LAB_MISSING."""
        try:
            return msgspec.json.decode((self.path / "lab.json").read_bytes(), type=LabRecord)
        except FileNotFoundError:
            if self.path.is_dir():
                return LabRecord(self.name)
            raise SuanwangError(LAB_MISSING, f"there is no lab {self.name!r}") from None

    def write(self, record: LabRecord) -> None:
        """Replace the record in one step, so that a crash leaves the old or the new one."""
        draft = self.path / "lab.json.new"
        draft.write_bytes(msgspec.json.format(msgspec.json.encode(record), indent=1))
        draft.replace(self.path / "lab.json")

    def remove(self, grace_s: float = 0.3) -> None:
        """Take away everything the lab has made, in whatever state it is. What is gone already is no error."""
        try:
            recorded = self.read().namespaces
        except (SuanwangError, msgspec.DecodeError):
            recorded = []
        names = sorted({*recorded, *namespaces.existing(f"{self.name}.")})
        end_processes(self, names, grace_s)
        for routing in self.routing_directories():
            FrrDaemons(routing, None).forget()
        namespaces.delete(names)
        shutil.rmtree(self.path, ignore_errors=True)
        for parent in (self.base, self.base.parent):
            # Only our own default directories, and only when no other lab uses them.
            if self.base == DEFAULT_BASE:
                try:
                    parent.rmdir()
                except OSError:
                    break


def names(base: Path = DEFAULT_BASE) -> list[str]:
    """Names of the labs under a base directory."""
    try:
        return sorted(entry.name for entry in base.iterdir() if entry.is_dir() and _NAME.fullmatch(entry.name))
    except FileNotFoundError:
        return []


def check_name(name: str) -> None:
    """Raises LAB_NAME when a name can not be part of a namespace's name."""
    if not _NAME.fullmatch(name):
        raise SuanwangError(
            LAB_NAME,
            f"{name!r} can not be the name of a lab or node",
            "use up to 31 letters, digits, '-' and '_', starting with a letter or digit",
        )


def start_ticks(pid: int) -> int | None:
    """When a process started, in clock ticks after boot; None when there is none (proc(5), field 22 of stat)."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


def processes_of(lab: LabDirectory, names: list[str]) -> list[int]:
    """Processes that are inside the namespaces or carry the lab's mark, but for this one and those that called it."""
    identities = [number for number in map(namespaces.identity, names) if number is not None]
    own = os.stat("/proc/self/ns/net").st_ino
    found = set(namespaces.processes_in(number for number in identities if number != own))
    mark = f"{MARK}={lab.path}".encode()
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/environ", "rb") as file:
                    if mark in file.read().split(b"\0"):
                        found.add(int(entry))
            except OSError:
                continue
    return sorted(found - _ancestors())


def end_processes(lab: LabDirectory, names: list[str], grace_s: float) -> None:
    """End all processes of the lab: politely, and after `grace_s` for good. New ones that appear meanwhile too."""
    polite = True
    for _ in range(20):
        handles: dict[int, int] = {}
        waiting = select.poll()
        for pid in processes_of(lab, names):
            try:
                handles[pid] = os.pidfd_open(pid)
            except ProcessLookupError:
                continue
        # Handles are open now: those that are still ours can not be exchanged for others any more.
        ours = set(processes_of(lab, names))
        if not ours & handles.keys():
            for handle in handles.values():
                os.close(handle)
            return
        for pid, handle in handles.items():
            if pid in ours:
                name = _command_name(pid)
                # Routing daemons that end in peace first withdraw every route one by one, for nobody.
                kind = signal.SIGTERM if polite and name not in _FRR_DAEMONS else signal.SIGKILL
                try:
                    signal.pidfd_send_signal(handle, kind)
                except ProcessLookupError:
                    continue
                waiting.register(handle, select.POLLIN)
        _wait_all(waiting, len(ours), grace_s if polite else 2.0)
        for handle in handles.values():
            os.close(handle)
        polite = False


_FRR_DAEMONS = ("zebra", "bgpd", "ospfd", "ospf6d", "bfdd")


def _wait_all(waiting: select.poll, count: int, limit_s: float) -> None:
    deadline = time.monotonic() + limit_s
    ended = 0
    while ended < count and (left_s := deadline - time.monotonic()) > 0:
        for handle, _ in waiting.poll(left_s * 1000):
            waiting.unregister(handle)
            ended += 1


def _command_name(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/comm") as file:
            return file.read().strip()
    except OSError:
        return ""


def _ancestors() -> set[int]:
    found: set[int] = set()
    pid = os.getpid()
    while pid > 1 and pid not in found:
        found.add(pid)
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                pid = int(file.read().rpartition(b")")[2].split()[1])
        except OSError:
            break
    return found
