"""The NodeProgram itself: join of fragments, canonical text, difference."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

from suanwang.model.errors import SuanwangError, code
from suanwang.program.fragment import MODULUS, Fragment
from suanwang.program.objects import AnyObject, identity
from suanwang.program.text import lines

FORMAT = 1
"""Version of the program format. An agent refuses a program of a newer format than it knows."""

CONTRADICTION = code("CONTRADICTION", "two owners want different things of one object (an address, a device, a VNI)")


@dataclass(frozen=True)
class NodeProgram:
    """The whole desired state of one node at a store revision. Equal content means equal `hash`, at whatever
    revision.
    """

    node: str
    revision: int
    fragments: tuple[Fragment, ...]

    @cached_property
    def hash(self) -> str:
        """Content hash, 32 hexadecimal digits."""
        return f"{sum(part.fingerprint for part in self.fragments) % MODULUS:032x}"

    @cached_property
    def objects(self) -> dict[tuple[str | int, ...], AnyObject]:
        """All objects by identity. Raises CONTRADICTION where two fragments disagree."""
        return join(self.fragments)

    def text(self) -> str:
        """The canonical text: equal programs give equal text, whatever fragments they were made of."""
        head = f"program {self.node} format={FORMAT}\n"
        return head + "\n".join(lines(self.objects.values())) + "\n"


def join(fragments: Iterable[Fragment]) -> dict[tuple[str | int, ...], AnyObject]:
    """Objects of all fragments by identity. The same object twice is fine, a different one is a CONTRADICTION."""
    found: dict[tuple[str | int, ...], AnyObject] = {}
    owners: dict[tuple[str | int, ...], str] = {}
    for part in fragments:
        for item in part.objects:
            key = identity(item)
            present = found.setdefault(key, item)
            if present is not item and present != item:
                what = " ".join(map(str, key))
                message = f"{owners[key]} and {part.id} both want {what}, differently"
                raise SuanwangError(CONTRADICTION, message, "change one of the two resources")
            owners.setdefault(key, part.id)
    return found


@dataclass(frozen=True, slots=True)
class Difference:
    """What leads from one program to another: objects to remove, to add, and to change (old, new)."""

    removed: tuple[AnyObject, ...]
    added: tuple[AnyObject, ...]
    changed: tuple[tuple[AnyObject, AnyObject], ...]

    def __bool__(self) -> bool:
        return bool(self.removed or self.added or self.changed)

    def lines(self) -> Iterator[str]:
        """The difference as text: `-`, `+` and, for a change, both."""
        yield from (f"- {line}" for line in lines(self.removed))
        yield from (f"+ {line}" for line in lines(self.added))
        for old, new in self.changed:
            yield from (f"- {line}" for line in lines([old]))
            yield from (f"+ {line}" for line in lines([new]))


def difference(old: NodeProgram, new: NodeProgram) -> Difference:
    """What changes from `old` to `new`."""
    before, after = old.objects, new.objects
    return Difference(
        tuple(item for key, item in before.items() if key not in after),
        tuple(item for key, item in after.items() if key not in before),
        tuple((before[key], item) for key, item in after.items() if key in before and before[key] != item),
    )
