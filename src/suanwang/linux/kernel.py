"""The whole desired state of a node, brought into its kernel: namespaces, devices, routes, filters.

`Kernel.apply` is given all objects of a program, however often; it does what differs from what it did last, and at
its first call from what it finds, so an agent that restarts takes over what its predecessor left, be it whole or half
done, and drops no packet of what did not change. `verify` looks again and repairs what others changed. An object that
can't be had becomes a failed result; everything else goes on.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Final, Literal, NamedTuple

from suanwang.linux import items, netns
from suanwang.linux.filters import Identity
from suanwang.linux.netlink import Socket
from suanwang.linux.seen import Seen, tunnels
from suanwang.linux.space import Space
from suanwang.linux.wanted import Wanted, compile_namespace
from suanwang.linux.watch import Watch
from suanwang.model.errors import code
from suanwang.program import objects
from suanwang.program.objects import AnyObject

KERNEL_REFUSED = code("KERNEL_REFUSED", "the kernel refused an object of a program")
NO_NAMESPACE = code("NO_NAMESPACE", "an object of a program is in a namespace that the program does not have")
REPAIRED = code("REPAIRED", "something was changed by others and has been put right")

_PLAIN = re.compile(r"[a-z0-9-]+(/[a-z0-9-]+)*")
_NAME_BYTES: Final = 120
_THREADS: Final = 16
_MAKING_THREADS: Final = 3
"""Of them, those that fill an empty node: that is one long fight for the kernel's one lock, not waiting."""

_AT_ONCE: Final = 64
"""Namespaces whose descriptors are open at the same time, beside those of the threads."""

_TEARING_DOWN_S: Final = 2.0
"""How long the kernel may take to tear a namespace down: so long tunnels in it hold their numbers."""


class Result(NamedTuple):
    """How it stands with one object. `reason` is an error code, empty when there is nothing to say."""

    state: Literal["done", "failed", "pending"]
    reason: str
    message: str


DONE: Final = Result("done", "", "")


def namespace_name(prefix: str, logical: str) -> str:
    """The name under `/run/netns` of a program's namespace. Different names give different names."""
    if _PLAIN.fullmatch(logical) and len(logical) <= _NAME_BYTES:
        return prefix + logical.replace("/", ".")
    # A plain name has no "~", so these can't meet.
    readable = re.sub(r"[^A-Za-z0-9-]", ".", logical)[: _NAME_BYTES - 20].strip(".")
    return f"{prefix}{readable}~{hashlib.blake2b(logical.encode(), digest_size=8).hexdigest()}"


class Kernel:
    """A node's kernel.

    `underlay`: the namespace under `/run/netns` that stands for the node, or None for the process's own. `prefix` is
    put before the names of all namespaces made here, so that several nodes fit on one machine. Needs root. Calls may
    come from any thread; they are carried out one after the other.
    """

    def __init__(self, *, underlay: str | None = None, prefix: str = "sw.") -> None:
        self._underlay = underlay
        self._prefix = prefix
        self._lock = threading.RLock()
        self._crew = netns.Crew(_THREADS)
        self._started = False
        self._group = items.OURS | hashlib.blake2b(prefix.encode(), digest_size=1).digest()[0]
        self._patient_until_s = 0.0
        self._objects: dict[Identity, AnyObject] = {}
        self._own: dict[str, dict[Identity, AnyObject]] = {}
        self._attached: dict[str, dict[Identity, objects.PortDevice]] = {}
        self._spaces: dict[str, Space] = {}
        self._results: dict[Identity, Result] = {}
        self._watch = Watch(self._lock, self._spaces)

    def namespace(self, logical: str) -> str:
        """The name under `/run/netns` of a program's namespace."""
        return namespace_name(self._prefix, logical)

    def apply(self, wanted: Mapping[Identity, AnyObject]) -> dict[Identity, Result]:
        """Make the kernel hold exactly these objects. Gives how it stands with each of them."""
        with self._lock:
            touched = self._take(wanted)
            touched |= {name for name, space in self._spaces.items() if space.problems}
            self._watch.judge()
            for name in touched:
                if name in self._spaces and self._watch.is_marked(name):
                    self._spaces[name].forget()
            declared = {name for name, own in self._own.items() if ("namespace", name) in own}
            if self._own.get(""):
                declared.add("")
            gone = [name for name in self._spaces if name not in declared]
            self._remove([self.namespace(name) for name in gone if name])
            if "" in gone:
                self._spaces[""].wanted = Wanted()
                self._bring_about({""})
            for name in gone:
                del self._spaces[name]
            if not self._started:
                netns.prepare()
                # Who was here before may just have removed what we are about to make.
                self._be_patient()
                self._watch.start(self._crew)
                kept = {self.namespace(name) for name in declared}
                self._remove([name for name in netns.names(self._prefix) if name not in kept])
                self._started = True
                if "" not in declared:
                    self._clear_own()
            for name in touched & declared:
                if name not in self._spaces:
                    self._spaces[name] = Space(self.namespace(name) if name else "", self._group)
                space = self._spaces[name]
                space.wanted = compile_namespace(
                    self._own.get(name, {}).values(), self._attached.get(name, {}).values()
                )
            self._bring_about(touched & declared)
            self._report(touched)
            self._watch.looked(touched & declared)
            return dict(self._results)

    def verify(self, *, everything: bool = False) -> dict[Identity, Result]:
        """Read the kernel again and put right what differs. Gives the objects that had to be repaired, or can't be.

        Read are the namespaces in which something happened, those that are gone, and of all others some in turn, so
        that each is read once a minute; `everything`: all.
        """
        with self._lock:
            names = self._watch.due()
            if everything:
                names = set(self._spaces)
            for name in names:
                self._spaces[name].forget()
            changed = self._bring_about(names)
            self._report(changed)
            repaired: dict[Identity, Result] = {}
            for name in changed:
                space = self._spaces[name]
                for owner in space.repaired:
                    repaired[owner] = Result("done", REPAIRED, f"put right in {name or 'the node'}")
            failed = {owner: self._results[owner] for owner in repaired if self._results[owner].state != "done"}
            self._watch.looked(names)
            return repaired | failed

    def listen(self, tell: Callable[[], None]) -> None:
        """Have `tell` called, by any thread, when others changed something that `verify` would put right."""
        self._watch.listen(tell)

    def clean_up(self) -> None:
        """Remove everything with this prefix, also what a crashed predecessor left, and our routes in the node's own
        namespace; nothing else."""
        self._watch.stop()
        with self._lock:
            self._remove(netns.names(self._prefix))
            self._clear_own()
            self._spaces.clear()
            self._objects, self._own, self._attached, self._results = {}, {}, {}, {}
            self._started = False

    def close(self) -> None:
        """End the threads; what is in the kernel stays."""
        self._watch.stop()
        self._crew.close()

    def _take(self, wanted: Mapping[Identity, AnyObject]) -> set[str]:
        """Note the new objects; gives the namespaces that they touch."""
        before = self._objects
        changed = [(key, item) for key, item in wanted.items() if before.get(key) is not item]
        removed = [key for key in before if key not in wanted]
        touched: set[str] = set()
        for key, item in ((key, before[key]) for key in (*removed, *(key for key, _ in changed)) if key in before):
            self._note(key, item, touched, present=False)
            self._results.pop(key, None)
        for key, item in changed:
            self._note(key, item, touched, present=True)
        self._objects = dict(wanted)
        return touched

    def _note(self, key: Identity, item: AnyObject, touched: set[str], present: bool) -> None:
        own = self._own.setdefault(item.netns, {})
        touched.add(item.netns)
        if present:
            own[key] = item
        else:
            own.pop(key, None)
        if isinstance(item, objects.PortDevice):
            attached = self._attached.setdefault(item.workload, {})
            touched.add(item.workload)
            if present:
                attached[key] = item
            else:
                attached.pop(key, None)

    def _open(self, logical: str) -> int:
        if logical:
            return netns.open_named(self.namespace(logical))
        if self._underlay is not None:
            return netns.open_named(self._underlay)
        return os.open(f"/proc/{os.getpid()}/ns/net", os.O_RDONLY | os.O_CLOEXEC)

    def _bring_about(self, names: set[str]) -> set[str]:
        """Converge these namespaces; gives those in which there was something to do."""
        spaces = {name: self._spaces[name] for name in names if name in self._spaces}
        many = sum(not space.inode for space in spaces.values()) > _AT_ONCE
        width = _MAKING_THREADS if many else None
        entered = self._crew.map(self._enter, spaces.items(), width)
        spaces = {name: space for (name, space), there in zip(spaces.items(), entered, strict=True) if there}
        # The kernel goes through all that are listened to at every event. What fills a node is in nobody's hands yet.
        if not many:
            self._number(spaces)
        # Where a namespace lost devices, the other ends of its pairs are in others.
        for name in self._check_pairs(spaces):
            spaces[name] = self._spaces[name]
        differing = {name: space for name, space in spaces.items() if space.problems or space.differs()}
        routers = {name: space for name, space in differing.items() if space.wanted.ends or space.wanted.whole}
        self._crew.map(self._converge, routers.items(), width)
        ends = {name: space for name, space in differing.items() if name not in routers}
        for space in ends.values():
            if not space.fresh:
                space.seen = None
        self._crew.map(self._converge, ends.items(), width)
        fresh = {
            name: [device for device, (_, logical) in space.wanted.ends.items() if logical in ends]
            for name, space in spaces.items()
            if space.wanted.ends
        }
        self._crew.map(self._await_carrier, [entry for entry in fresh.items() if entry[1]])
        if many:
            self._number(spaces)
        return set(differing)

    def _await_carrier(self, entry: tuple[str, list[str]]) -> None:
        """Have the kernel notice now, not some time later, that these devices' other ends have come up.

        Until its link watch has run a device drops what is sent through it; asking for one device runs it for that
        device.
        """
        name, devices = entry
        try:
            descriptor = self._open(name)
        except OSError:
            return
        try:
            with netns.inside(descriptor), Socket() as route:
                route.batch([items.find(device) for device in devices])
        finally:
            os.close(descriptor)

    def _enter(self, entry: tuple[str, Space]) -> bool:
        """Make the namespace where it isn't there, and read what isn't known of it; whether it is there then."""
        name, space = entry
        try:
            if name and not netns.is_mounted(space.name):
                if space.made:
                    self._be_patient()
                self._make(space)
                return True
            descriptor = self._open(name)
            try:
                inode = os.fstat(descriptor).st_ino
                if inode != space.inode:
                    space.begin(inode, fresh=False)
                if space.number < 0:
                    (space.number,) = self._watch.number([descriptor])
                with netns.inside(descriptor):
                    space.look()
            finally:
                os.close(descriptor)
        except OSError as problem:
            _blame(space, problem)
            return False
        return True

    def _number(self, spaces: Mapping[str, Space]) -> None:
        """Listen to new namespaces."""
        new = [(name, space) for name, space in spaces.items() if space.number < 0 and space.inode]
        for start in range(0, len(new), _AT_ONCE):
            opened: list[tuple[Space, int]] = []
            try:
                for name, space in new[start : start + _AT_ONCE]:
                    with contextlib.suppress(OSError):
                        opened.append((space, self._open(name)))
                numbers = self._watch.number([descriptor for _, descriptor in opened])
                for (space, _), given in zip(opened, numbers, strict=True):
                    space.number = given
            finally:
                for _, descriptor in opened:
                    os.close(descriptor)

    def _make(self, space: Space) -> None:
        with netns.new():
            for path, value in space.wanted.settings.items():
                netns.write_setting(path, value)
            space.begin(os.stat("/proc/thread-self/ns/net").st_ino, fresh=True)
            netns.mount_here(space.name)
            space.settings = dict(space.wanted.settings)
            space.seen = Seen(indexes={"lo": 1})

    def _check_pairs(self, spaces: dict[str, Space]) -> set[str]:
        """Mark the pairs that don't hang together; gives the namespaces with other ends of pairs that must be made."""
        others: set[str] = set()
        for space in spaces.values():
            if space.seen is None:
                continue
            for device, (end, logical) in space.wanted.ends.items():
                other = self._spaces.get(logical)
                if other is None:
                    continue
                present = device in space.seen.indexes
                if present and other.seen is not None:
                    there, here = other.seen.indexes.get(end.device), space.seen.indexes[device]
                    if space.seen.peers.get(device) != there or other.seen.peers.get(end.device) != here:
                        space.broken.add(device)
                        present = False
                if not present:
                    others.add(logical)
        for logical in others:
            # What is there of the pair goes, or is about to go: it must be looked at anew when the pair has been made.
            if not self._spaces[logical].fresh:
                self._spaces[logical].seen = None
        return others

    def _converge(self, entry: tuple[str, Space]) -> None:
        name, space = entry
        try:
            descriptor = self._open(name)
            try:
                with netns.inside(descriptor):
                    space.patient_until_s = self._patient_until_s
                    space.converge(self._open)
            finally:
                os.close(descriptor)
        except OSError as problem:
            _blame(space, problem)

    def _remove(self, names: Collection[str]) -> None:
        if names:
            self._be_patient()
            self._crew.map(_remove_namespace, names)

    def _be_patient(self) -> None:
        """A namespace is being torn down: what it holds will be free soon."""
        self._patient_until_s = time.monotonic() + _TEARING_DOWN_S
        for space in self._spaces.values():
            space.taken.clear()

    def _clear_own(self) -> None:
        """Remove what a predecessor put into the node's own namespace."""
        space = Space("", self._group)
        self._crew.map(self._converge_own, [space])

    def _converge_own(self, space: Space) -> None:
        try:
            descriptor = self._open("")
        except OSError:
            return
        try:
            with netns.inside(descriptor):
                space.look()
                if space.differs():
                    space.converge(self._open)
        finally:
            os.close(descriptor)

    def _report(self, names: Iterable[str]) -> None:
        for name in names:
            missing = name not in self._spaces
            for key in self._own.get(name, {}):
                self._results[key] = Result("failed", NO_NAMESPACE, f"no namespace {name}") if missing else DONE
            for key in self._attached.get(name, {}):
                if self._results.get(key, DONE).reason != NO_NAMESPACE:
                    self._results[key] = DONE
        # A pair that its router could not make is missed in the workload too; the router knows why.
        for space in sorted(self._spaces.values(), key=lambda space: bool(space.wanted.ends)):
            for key, message in space.problems.items():
                if key in self._objects:
                    self._results[key] = Result("failed", KERNEL_REFUSED, message)


def _blame(space: Space, problem: OSError) -> None:
    """What befalls a whole namespace is told of the object that stands for it, or of all where there is none."""
    said = problem.strerror or str(problem)
    owners = space.wanted.owners
    blamed = [owners[("link", "lo")]] if ("link", "lo") in owners else list(owners.values())
    for owner in blamed:
        space.problems[owner] = said
    space.forget()


def _remove_namespace(name: str) -> None:
    """Remove a namespace.

    Its tunnels go first, as it is torn down in the background and they hold numbers in the node's.
    """
    if netns.is_mounted(name):
        descriptor = netns.open_named(name)
        try:
            with netns.inside(descriptor), Socket() as route:
                route.batch(items.delete_all(tunnels(route)))
        finally:
            os.close(descriptor)
    netns.unmount(name)
