"""Conditions on resources, written sparsely: only what differs from what was last written, many at a time.

A resource without a condition of a type has no known problem of that type, so that millions of good ones cost nothing:
`Compiled` and `Programmed` appear when something fails, and turn to True when it is mended. `Holds` is written for each
probed Assertion.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping

import msgspec

from suanwang.model.conditions import Condition, Status
from suanwang.model.errors import SuanwangError
from suanwang.model.reference import Key
from suanwang.store.interface import Store

_decode = msgspec.json.Decoder(Status).decode
_encode = msgspec.json.Encoder().encode

NODE = "Node"
"""The kind whose resources agents speak for."""

LONGEST_MESSAGE = 1000


class Conditions:
    """Collects conditions and writes them to the store's statuses. Thread-safe."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._bad: dict[str, set[Key]] = {}
        self._dirty: dict[tuple[Key, str], Condition] = {}
        for key, body in store.statuses():
            for condition in _read(body).conditions:
                if condition.status == "False":
                    self._bad.setdefault(condition.type, set()).add(key)

    def compiled(self, problems: Mapping[Key, SuanwangError], revision: int) -> None:
        """All resources that can't be compiled at `revision`; those that could not before now can."""
        with self._lock:
            mended = self._bad.get("Compiled", set()) - problems.keys()
            for key, problem in problems.items():
                message = _short(problem.message + (f" ({problem.hint})" if problem.hint else ""))
                self._note(key, Condition("Compiled", "False", problem.code, message, revision))
            for key in mended:
                self._note(key, Condition("Compiled", "True", "Compiled", "", revision))

    def programmed(self, node: str, reason: str, message: str, revision: int) -> None:
        """What an agent says of its node's program; an empty `reason`: all of it stands."""
        key = Key(NODE, "", node)
        with self._lock:
            if reason:
                self._note(key, Condition("Programmed", "False", reason, _short(message), revision))
            elif key in self._bad.get("Programmed", ()):
                self._note(key, Condition("Programmed", "True", "Programmed", "", revision))

    def holds(self, assertion: Key, truth: bool, message: str, revision: int) -> None:
        """What a probe found of an Assertion."""
        reason = "Probed" if truth else "ProbeContradicts"
        with self._lock:
            self._note(assertion, Condition("Holds", "True" if truth else "False", reason, _short(message), revision))

    def _note(self, key: Key, condition: Condition) -> None:
        bad = self._bad.setdefault(condition.type, set())
        (bad.add if condition.status == "False" else bad.discard)(key)
        self._dirty[key, condition.type] = condition

    @property
    def dirty(self) -> bool:
        """Whether `flush` has anything to do."""
        return bool(self._dirty)

    def flush(self) -> int:
        """Write what is new, in one batch; returns how many resources it was. Raises STORE_FULL: then it is kept for
        later."""
        with self._writing:
            with self._lock:
                dirty, self._dirty = self._dirty, {}
            try:
                return self._write(dirty)
            except BaseException:
                with self._lock:
                    self._dirty = {**dirty, **self._dirty}
                raise

    def _write(self, dirty: Mapping[tuple[Key, str], Condition]) -> int:
        changes: dict[Key, dict[str, Condition]] = {}
        for (key, kind), condition in dirty.items():
            changes.setdefault(key, {})[kind] = condition
        items: list[tuple[Key, bytes | None]] = []
        for key, conditions in changes.items():
            status = _read(self._store.status(key))
            merged = {one.type: one for one in status.conditions}
            present = {one: _timeless(condition) for one, condition in merged.items()}
            new = {kind: one for kind, one in conditions.items() if present.get(kind) != _timeless(one)}
            if not new:
                continue
            merged.update(new)
            revision = max(one.revision for one in merged.values())
            ordered = tuple(merged[kind] for kind in sorted(merged))
            items.append((key, _encode(Status(max(status.observed_revision, revision), ordered))))
        if items:
            self._store.set_status(items)
        return len(items)


def _read(body: bytes | None) -> Status:
    if not body:
        return Status()
    try:
        return _decode(body)
    except (msgspec.DecodeError, msgspec.ValidationError):
        # Written by another release in a form that this one does not know: it is found out anew.
        return Status()


def _timeless(condition: Condition) -> tuple[str, str, str]:
    # The same finding at a later revision is no news.
    return condition.status, condition.reason, condition.message


def _short(message: str) -> str:
    return message if len(message) <= LONGEST_MESSAGE else f"{message[: LONGEST_MESSAGE - 1]}…"
