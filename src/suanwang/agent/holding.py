"""The program that the agent holds: fragments by id, objects by identity, kept on disk so that it survives the agent.

An update is taken whole or not at all. Work is proportional to the update, not to the program: objects are counted
by how many fragments want them, so only fragments that come or go are looked at.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from suanwang.agent.ledger import Ledger
from suanwang.agent.state import StateDirectory
from suanwang.model.errors import SuanwangError, code
from suanwang.program import wire
from suanwang.program.fragment import MODULUS, Fragment, fragment
from suanwang.program.objects import AnyObject, Probe, Responder, identity
from suanwang.program.program import CONTRADICTION, FORMAT

NEWER_PROGRAM = code("NEWER_PROGRAM", "the program is of a newer format than this agent knows")
BASE_MISMATCH = code("BASE_MISMATCH", "an update starts from a program that the agent does not hold")
HASH_MISMATCH = code("HASH_MISMATCH", "a program's content is not what its hash says")
UNREADABLE_PROGRAM = code("UNREADABLE_PROGRAM", "a program holds something that this agent does not know")

Identity = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Held:
    """A program as the agent tells it to the controller. `hash` is empty before the first program."""

    revision: int = 0
    hash: str = ""
    fragments: Mapping[str, Fragment] = field(default_factory=dict)

    @property
    def have(self) -> dict[str, str]:
        """Fingerprints by fragment, as in `Hello`."""
        return {name: f"{part.fingerprint:032x}" for name, part in self.fragments.items()}


class Holding:
    """The program and its log. One thread changes it; others may read `held`, `probes` and `responders`, which are
    replaced, never changed."""

    def __init__(self, state: StateDirectory) -> None:
        self._ledger = Ledger(state)
        self._unwritten: list[wire.Update] = []
        self._wanted_by: Counter[Identity] = Counter()
        self.objects: dict[Identity, AnyObject] = {}
        self.held = Held()
        self.probes: dict[str, Probe] = {}
        self.responders: dict[str, tuple[Responder, ...]] = {}

    def load(self) -> bool:
        """Take the program from disk. False: there is none that this release can read; then nothing is known of what is
        wanted, and the data plane must stay as it is. Raises SuanwangError where a program is there
        that can't be used."""
        updates = self._ledger.load()
        try:
            for update in updates:
                self.merge(update)
        except SuanwangError:
            self._forget()
            raise
        finally:
            self._unwritten.clear()
        return bool(updates)

    def merge(self, update: wire.Update) -> None:
        """Go to the update's program, in memory. Raises SuanwangError, and holds what it held:

        NEWER_PROGRAM, BASE_MISMATCH, UNREADABLE_PROGRAM, HASH_MISMATCH, CONTRADICTION.
        """
        check_format(update.format, update.revision)
        held = self.held
        if update.hash == held.hash:
            self.held = Held(update.revision, held.hash, held.fragments)
            self._unwritten.append(wire.Update(update.format, update.revision, held.hash, held.hash, (), ()))
            return
        if update.base and update.base != held.hash:
            message = f"the update starts from {update.base}, the agent holds {held.hash or 'nothing'}"
            raise SuanwangError(BASE_MISMATCH, message, "the agent tells the controller what it holds")
        before = held.fragments if update.base else {}
        put = [_read(raw) for raw in update.put]
        after = dict(before)
        for name in update.remove:
            after.pop(name, None)
        for part in put:
            after[part.id] = part
        total = sum(part.fingerprint for part in after.values()) % MODULUS
        if f"{total:032x}" != update.hash:
            message = f"the content's hash is {total:032x}, the update says {update.hash}"
            raise SuanwangError(HASH_MISMATCH, message, "the agent asks for the whole program")
        self._exchange(
            gone=[part for name, part in held.fragments.items() if after.get(name) is not part],
            come=[part for name, part in after.items() if held.fragments.get(name) is not part],
        )
        self.held = Held(update.revision, update.hash, after)
        self._unwritten.append(update)
        self._index_probes()

    def write(self) -> None:
        """Make what was merged durable. Raises OSError; what was not written stays due."""
        if not self._unwritten:
            return
        if self._ledger.is_overgrown or any(not update.base for update in self._unwritten):
            held = self.held
            self._ledger.rewrite(wire.update("", held.revision, held.hash, (), tuple(held.fragments.values())))
        else:
            self._ledger.append(self._unwritten)
        self._unwritten.clear()

    def clear(self) -> None:
        """Hold nothing, on disk neither."""
        self._forget()
        self._unwritten.clear()
        self._ledger.clear()

    def _exchange(self, gone: list[Fragment], come: list[Fragment]) -> None:
        released = Counter(identity(item) for part in gone for item in part.objects)
        claimed: dict[Identity, AnyObject] = {}
        claims: Counter[Identity] = Counter()
        for part in come:
            for item in part.objects:
                key = identity(item)
                present = claimed.get(key)
                if present is None and self._wanted_by[key] > released[key]:
                    present = self.objects[key]
                if present is not None and present != item:
                    message = f"{part.id} and another fragment want {' '.join(map(str, key))} differently"
                    raise SuanwangError(CONTRADICTION, message, "the agent keeps the program it has")
                claimed[key] = item
                claims[key] += 1
        for key, item in claimed.items():
            self._wanted_by[key] += claims[key]
            # What stays equal stays the same object, so that drivers see by identity that nothing changed.
            if self.objects.get(key) != item:
                self.objects[key] = item
        for key, count in released.items():
            self._wanted_by[key] -= count
            if not self._wanted_by[key]:
                del self._wanted_by[key]
                del self.objects[key]

    def _index_probes(self) -> None:
        probes: dict[str, Probe] = {}
        responders: dict[str, tuple[Responder, ...]] = {}
        for item in self.objects.values():
            if isinstance(item, Probe):
                probes[item.assertion] = item
            elif isinstance(item, Responder):
                responders[item.assertion] = (*responders.get(item.assertion, ()), item)
        self.probes, self.responders = probes, responders

    def _forget(self) -> None:
        self._wanted_by.clear()
        self.objects.clear()
        self.held = Held()
        self.probes, self.responders = {}, {}


def check_format(number: int, revision: int) -> None:
    """Raises NEWER_PROGRAM for a format that this release does not know."""
    if number > FORMAT:
        message = f"the program of revision {revision} has format {number}, this agent knows formats up to {FORMAT}"
        raise SuanwangError(NEWER_PROGRAM, message, "update Suanwang on this node; until then the node stays as it is")


def _read(raw: msgspec.Raw) -> Fragment:
    try:
        part = wire.decode_fragment(raw)
    except (msgspec.DecodeError, ValueError) as problem:
        message = f"the update holds something that this agent can't read: {problem}"
        raise SuanwangError(UNREADABLE_PROGRAM, message, "are controller and agent of the same release?") from None
    again = fragment(part.owner, part.part, part.objects)
    if again.fingerprint != part.fingerprint:
        message = f"the content of fragment {part.id} is not what its fingerprint says"
        raise SuanwangError(HASH_MISMATCH, message, "the agent asks for the whole program")
    return again
