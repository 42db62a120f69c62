"""One namespace brought from what it holds to what it shall hold.

A `Space` remembers what it left in the kernel, so a change is a comparison in memory and a few messages. Where
nothing is remembered (after a start, or when told to look again) the kernel is read first; everything else is the
same.

The order within a namespace keeps it safe at every moment: filters stand before there are devices to filter, devices
before what stands on them, and packets are forwarded last. What does not change is not touched.
"""

from __future__ import annotations

import errno
import os
import struct
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from suanwang.linux import items, netns, nft
from suanwang.linux.filters import Identity
from suanwang.linux.items import Address, Forwarding, Key, Link, Neighbour, Path, Policy
from suanwang.linux.netlink import Message, Socket, attributes
from suanwang.linux.seen import Item, Seen, note_link, read
from suanwang.linux.shaping import Limit, Redirect
from suanwang.linux.tables import Table, change, whole
from suanwang.linux.wanted import Wanted

_GONE: Final = {errno.ENOENT, errno.ESRCH, errno.EADDRNOTAVAIL, errno.ENODEV, errno.EINVAL}
"""What the kernel says when asked to remove what isn't there (EINVAL: a queue that went with its device)."""

_STAGES: Final = {kind: n for n, kind in enumerate((Address, Neighbour, Forwarding, Path, Policy, Limit, Redirect))}
"""What stands on what: added in this order, removed in the reverse one."""

_ROUNDS: Final = 3
Descriptor = Callable[[str], int]
"""Opens the namespace of a logical name."""


@dataclass(slots=True)
class Space:
    """A namespace, by its name under `/run/netns` (empty: the node's own): what it shall hold, what it is known to.

    `number`: under which events tell of it. `fresh`: nothing is in it but what we make. `prompt`: devices of ports
    whose proxied answers are not held back. `taken`: tunnels whose number was waited for in vain; until
    `patient_until_s` (of the monotonic clock) it may become free.
    """

    name: str
    group: int
    wanted: Wanted = field(default_factory=Wanted)
    seen: Seen | None = None
    inet: Table | None = None
    netdev: Table | None = None
    generation: int = -1
    inode: int = 0
    number: int = -1
    settings: dict[str, str] = field(default_factory=dict)
    made: set[Key] = field(default_factory=set)
    broken: set[str] = field(default_factory=set)
    prompt: set[str] = field(default_factory=set)
    taken: set[tuple[str | int, ...]] = field(default_factory=set)
    patient_until_s: float = 0.0
    transactions: int = 0
    fresh: bool = False
    problems: dict[Identity, str] = field(default_factory=dict)
    repaired: set[Identity] = field(default_factory=set)

    def forget(self) -> None:
        """Trust nothing that is remembered of what others may have changed (a generation guards the tables)."""
        self.seen = None
        self.fresh = False
        if self.wanted.whole:
            self.settings = {}

    @property
    def filtered(self) -> bool:
        """Whether nftables' rules of this namespace are ours to watch; where none of ours are wanted others' are
        theirs.
        """
        return self.wanted.whole or bool(self.wanted.inet or self.wanted.netdev)

    def begin(self, inode: int, fresh: bool) -> None:
        """Start anew with another namespace of the same name; `fresh` if it has just been made and is empty."""
        self.inode = inode
        self.number = -1
        self.generation = -1
        self.seen = None
        self.settings = {}
        self.prompt = set()
        self.fresh = fresh
        self.inet = Table("inet") if fresh else None
        self.netdev = Table("netdev") if fresh else None

    def look(self) -> None:
        """Read the namespace in which the calling thread is, as far as it isn't known."""
        if self.seen is None:
            with Socket() as route:
                self.seen = read(route, self.wanted.whole)
        wanted = self.wanted
        if self.filtered or self.inet or self.netdev:
            if nft.generation() != self.generation:
                self.inet = self.netdev = None
        else:
            # Others' rules are theirs, and none of ours are wanted.
            self.inet, self.netdev = wanted.inet, wanted.netdev
        for path in (*wanted.settings, *wanted.last):
            if path not in self.settings:
                self.settings[path] = netns.read_setting(path)

    def differs(self) -> bool:
        """Whether there is anything to do."""
        wanted = self.wanted
        return (
            self.seen is None
            or self.inet != wanted.inet
            or self.netdev != wanted.netdev
            or bool(self.broken)
            or not self.prompt.issuperset(wanted.ends)
            or any(self.seen.items.get(key) != item for key, item in wanted.items.items())
            or any(key not in wanted.items and self._ours(key) for key in self.seen.items)
            or any(self.settings.get(path) != value for path, value in wanted.settings.items())
            or any(self.settings.get(path) != value for path, value in wanted.last.items())
        )

    def _ours(self, key: Key) -> bool:
        """Whether something that isn't wanted is ours to remove."""
        assert self.seen is not None
        item = self.seen.items[key]
        if isinstance(item, Link):
            if item.device == "lo" or item.device in self.wanted.given:
                return False
            return self.wanted.whole or key in self.made or self.seen.groups.get(item.device) == self.group
        if self.wanted.whole or key in self.made:
            return True
        return isinstance(item, Address | Neighbour | Path | Policy) and key not in self.seen.foreign

    def converge(self, descriptor: Descriptor) -> None:
        """Make the namespace in which the calling thread is what it shall be.

        What failed is in `problems` afterwards, whose things were changed in `repaired`.
        """
        wanted = self.wanted
        self.problems = dict(wanted.wrong)
        self.repaired = set()
        self._settle(wanted.settings)
        before = self._still() if self.filtered else 0
        self.transactions = 0
        safe = self._filter("inet")
        with Socket() as route:
            if self.seen is None:
                self.seen = read(route, self.wanted.whole)
            self._links(route, descriptor)
            self._answer_at_once(route)
            self._filter("netdev")
            for _ in range(_ROUNDS):
                if not self._things(route):
                    break
                # An address that goes takes routes with it: look what is left.
                self.seen = read(route, self.wanted.whole)
        self.made = set(wanted.items)
        self.broken = set()
        self.fresh = False
        if safe:
            self._settle(wanted.last)
        if self.filtered:
            now = nft.generation()
            # If somebody else was at it meanwhile, what is remembered may be wrong.
            self.generation = now if now == before + self.transactions else -1

    def _still(self) -> int:
        """The generation of the rules; where it isn't that of the last look, they are no longer known."""
        now = nft.generation()
        if not self.fresh and now != self.generation:
            self.inet = self.netdev = None
        return now

    def _settle(self, settings: dict[str, str]) -> None:
        for path, value in settings.items():
            if self.settings.get(path) == value:
                continue
            try:
                netns.write_setting(path, value)
                self.settings[path] = value
                self.repaired.update(self._owner(("link", "lo")))
            except OSError as problem:
                # What a device's setting lacks is the device, and that is told of it.
                if problem.errno != errno.ENOENT:
                    self._fail(("link", "lo"), f"setting {path}: {problem.strerror}")

    def _owner(self, key: Key) -> list[Identity]:
        owner = self.wanted.owners.get(key)
        return [] if owner is None else [owner]

    def _filter(self, family: str) -> bool:
        """Bring one table about; whether it stands as wanted. Where a difference is refused, the whole is tried."""
        old: Table | None = getattr(self, family)
        new: Table = getattr(self.wanted, family)
        if old == new:
            return True
        attempts = [whole(new)] if old is None else [change(old, new), whole(new)]
        said = ""
        for lines in attempts:
            try:
                nft.run(lines)
            except nft.TransactionError as problem:
                said = said or str(problem)
                setattr(self, family, None)
                continue
            setattr(self, family, new)
            self.transactions += 1
            self.repaired.update(self._owner(("link", "lo")))
            return True
        for owner in self._owner(("link", "lo")):
            self.problems[owner] = f"nftables ({family}): {said}"
        return False

    def _answer_at_once(self, route: Socket) -> None:
        seen = self._known()
        devices = [name for name in self.wanted.ends if name not in self.prompt and name in seen.indexes]
        route.batch([items.answer_at_once(seen.indexes[name]) for name in devices])
        self.prompt = {name for name in self.wanted.ends if name in self.prompt or name in seen.indexes}

    def _links(self, route: Socket, descriptor: Descriptor) -> None:
        seen, wanted = self._known(), self.wanted
        if self.fresh and wanted.given:
            _, answers = route.batch([items.find(name) for name in wanted.given])
            for body in answers.values():
                note_link(seen, body)
        there = {item.device: item for item in seen.items.values() if isinstance(item, Link)}
        shall = {item.device: item for item in wanted.items.values() if isinstance(item, Link)}
        gone = [name for name, link in there.items() if name not in shall and self._ours(link.key)]
        stale = [
            name
            for name, link in shall.items()
            if name in there and name not in wanted.given and (name in self.broken or there[name].mould != link.mould)
        ]
        self._delete(route, [*gone, *stale])
        missing = [link for name, link in shall.items() if name not in seen.indexes]
        self._create(route, missing, descriptor)
        changed = [link for link in shall.values() if self._changed(link)]
        self._change(route, changed)

    def _change(self, route: Socket, changed: list[Link]) -> None:
        if not changed:
            return
        seen = self._known()
        before = [seen.items.get(link.key) for link in changed]
        pairs = [(old if isinstance(old, Link) else None, link) for old, link in zip(before, changed, strict=True)]
        rising = [link.device for old, link in pairs if old is None or not old.mtu_bytes]
        # An interface too small for IPv6 refuses, and needs none.
        route.batch([items.no_own_address(device) for device in rising if device in self.wanted.given])
        problems, _ = route.batch([items.change(old, link) for old, link in pairs])
        for position, link in enumerate(changed):
            if position in problems:
                self._fail(link.key, problems[position].message)
            else:
                seen.items[link.key] = link
                self.repaired.update(self._owner(link.key))
        same = all(old is not None and (old.mac, old.mtu_bytes) == (new.mac, new.mtu_bytes) for old, new in pairs)
        if not self.fresh and not same:
            # A device that gets another MAC loses its neighbours, one that was down has lost its routes.
            self.seen = read(route, self.wanted.whole)
        # Asking for a device makes the kernel notice at once that it is up; see Kernel._await_carrier.
        route.batch([items.find(link.device) for link in changed])

    def _known(self) -> Seen:
        assert self.seen is not None
        return self.seen

    def _changed(self, link: Link) -> bool:
        seen = self._known()
        return link.device in seen.indexes and seen.items.get(link.key) != link

    def _fail(self, key: Key, message: str) -> None:
        owner = self.wanted.owners.get(key)
        if owner is not None:
            self.problems.setdefault(owner, message)

    def _delete(self, route: Socket, devices: list[str]) -> None:
        if not devices:
            return
        seen = self._known()
        if any(getattr(seen.items.get(("link", name)), "kind", "") == "vxlan" for name in devices):
            self.netdev = None if self.netdev else self.netdev
        route.batch(items.delete_all([seen.indexes[name] for name in devices if name in seen.indexes]))
        for name in devices:
            self.repaired.update(self._owner(("link", name)) or self._owner(("link", "lo")))
        seen.forget_devices(devices)

    def _create(self, route: Socket, missing: list[Link], descriptor: Descriptor) -> None:
        if not missing:
            return
        here = netns.here()
        opened: dict[str, int] = {}
        try:
            local: list[tuple[Link, Message]] = []
            for link in missing:
                try:
                    if link.kind == "vxlan":
                        # A tunnel's socket stands in the node's namespace, the device in this one.
                        if "" not in opened:
                            opened[""] = descriptor("")
                        self._create_tunnel(items.create_vxlan(link, here, self.group), link, opened[""])
                    elif link.device in self.wanted.ends:
                        end, logical = self.wanted.ends[link.device]
                        if logical not in opened:
                            opened[logical] = descriptor(logical)
                        if link.device in self.broken:
                            _remove_end(opened[logical], end.device)
                        local.append((link, items.create_pair(link, end, opened[logical], self.group)))
                    elif link.kind == "ifb":
                        local.append((link, items.create_ifb(link, self.group)))
                    else:
                        self._fail(link.key, f"device {link.device} is not there")
                except (OSError, struct.error) as problem:
                    self._fail(link.key, _said(problem))
            self._create_pairs(route, local, opened)
        finally:
            for number in (here, *opened.values()):
                os.close(number)
        self._number(route, missing)

    def _create_tunnel(self, message: Message, link: Link, underlay: int) -> None:
        with netns.inside(underlay), Socket() as outside:
            while True:
                problems, _ = outside.batch([message])
                if not problems:
                    self.netdev = None if self.wanted.netdev else self.netdev
                    self.taken.discard(link.mould)
                    return
                # Namespaces are torn down in the background; their tunnels hold their numbers until then.
                waiting = link.mould not in self.taken and time.monotonic() < self.patient_until_s
                if problems[0].number != errno.EEXIST or not waiting:
                    if problems[0].number == errno.EEXIST and self.patient_until_s:
                        self.taken.add(link.mould)
                    self._fail(link.key, problems[0].message)
                    return
                time.sleep(0.005)

    def _create_pairs(self, route: Socket, local: list[tuple[Link, Message]], opened: dict[str, int]) -> None:
        problems, _ = route.batch([message for _, message in local])
        for position, problem in problems.items():
            link, message = local[position]
            again = problem
            if problem.number == errno.EEXIST and link.device in self.wanted.ends:
                # The workload still has the end of a pair of another router.
                end, logical = self.wanted.ends[link.device]
                _remove_end(opened[logical], end.device)
                second, _ = route.batch([message])
                if not second:
                    continue
                again = second[0]
            self._fail(link.key, again.message)

    def _number(self, route: Socket, created: list[Link]) -> None:
        """Learn the numbers of new devices; a title can only be given to a device that is there."""
        seen = self._known()
        _, answers = route.batch([items.find(link.device) for link in created])
        titled = []
        for position, body in answers.items():
            link = created[position]
            self.prompt.discard(link.device)
            seen.indexes[link.device] = items.link_header.unpack_from(body)[2]
            seen.peers[link.device] = int.from_bytes(attributes(body, 16).get(5, b""), sys.byteorder)
            seen.items[link.key] = link
            self.repaired.update(self._owner(link.key))
            if link.alias:
                titled.append(items.change(link, link))
        route.batch(titled)

    def _things(self, route: Socket) -> bool:
        """Everything but devices. Whether something was removed that may have taken other things along."""
        seen, wanted = self._known(), self.wanted
        removed = [
            item
            for key, item in seen.items.items()
            if not isinstance(item, Link) and key not in wanted.items and self._ours(key)
        ]
        added: list[Item] = []
        for key, item in wanted.items.items():
            present = seen.items.get(key)
            if isinstance(item, Link) or present == item:
                continue
            if isinstance(present, Redirect):
                removed.append(present)
            added.append(item)
        removed.sort(key=lambda item: -_STAGES[type(item)])
        added.sort(key=lambda item: _STAGES[type(item)])
        self._remove(route, removed)
        self._add(route, added)
        return any(isinstance(item, Address) for item in removed)

    def _remove(self, route: Socket, removed: Iterable[Item]) -> None:
        seen = self._known()
        sent, messages = [], []
        for item in removed:
            assert not isinstance(item, Link)
            seen.items.pop(item.key, None)
            try:
                if isinstance(item, Path) and item.key in seen.foreign:
                    messages.append(item.remove_foreign(seen.indexes))
                else:
                    messages.append(item.remove(seen.indexes))
                sent.append(item)
            except KeyError:
                continue
        problems, _ = route.batch(messages)
        for position, problem in problems.items():
            if problem.number not in _GONE:
                seen.items[sent[position].key] = sent[position]
                for owner in self._owner(("link", "lo")):
                    self.problems[owner] = f"can't remove {sent[position]}: {problem.message}"
        if sent and self.wanted.whole:
            self.repaired.update(self._owner(("link", "lo")))

    def _add(self, route: Socket, added: Iterable[Item]) -> None:
        seen = self._known()
        sent: list[Item] = []
        messages: list[Message] = []
        for item in added:
            assert not isinstance(item, Link)
            try:
                fresh = [item.add(seen.indexes)]
                if isinstance(item, Redirect):
                    fresh.append(item.fill(seen.indexes))
            except KeyError as problem:
                self._fail(item.key, f"device {problem.args[0]} is not there")
                continue
            except (OSError, ValueError, struct.error) as problem:
                self._fail(item.key, _said(problem))
                continue
            messages += fresh
            sent += [item] * len(fresh)
        refused, _ = route.batch(messages)
        failed = set()
        for position, refusal in refused.items():
            item = sent[position]
            if refusal.number == errno.EEXIST and isinstance(item, Policy):
                continue
            failed.add(item.key)
            self._fail(item.key, refusal.message)
        for item in sent:
            if item.key not in failed:
                seen.items[item.key] = item
                self.repaired.update(self._owner(item.key))


def _said(problem: Exception) -> str:
    return problem.strerror if isinstance(problem, OSError) and problem.strerror else str(problem)


def _remove_end(namespace: int, device: str) -> None:
    with netns.inside(namespace), Socket() as route:
        route.batch([items.delete(device)])
