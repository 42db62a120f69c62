"""nftables tables as values, and the shortest transaction that leads from one to another.

A table is sets (and maps) with elements, and chains with rules. Its text is nft's own language, which libnftables
reads about as fast as it would JSON, and which people can read in `nft list ruleset` as it was written. Membership
changes are element changes only; a changed chain is flushed and refilled; a changed declaration replaces the whole
table. Whichever it is goes to the kernel as one transaction, so no packet ever sees half of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

NAME = "suanwang"
"""Of every table made here."""


@dataclass(frozen=True, slots=True)
class Elements:
    """A set or map: its declaration (`set NAME { type …; }`) and elements (`key` or `key : value`)."""

    declaration: str
    elements: frozenset[str]


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain: the declaration of its hook (empty for one that is jumped to) and its rules in order."""

    hook: str
    rules: tuple[str, ...]


@dataclass(slots=True)
class Table:
    """A table of a family (`inet`, `netdev`)."""

    family: str
    sets: dict[str, Elements] = field(default_factory=dict)
    chains: dict[str, Chain] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.sets or self.chains)


def _elements(verb: str, where: str, name: str, elements: Iterable[str]) -> Iterator[str]:
    ordered = sorted(elements)
    if ordered:
        yield f"{verb} element {where} {name} {{ {', '.join(ordered)} }}"


def _fill(where: str, name: str, chain: Chain) -> Iterator[str]:
    yield from (f"add rule {where} {name} {rule}" for rule in chain.rules)


def _declare(where: str, name: str, chain: Chain) -> str:
    return f"add chain {where} {name}" + (f" {{ {chain.hook} }}" if chain.hook else "")


def _declare_set(where: str, name: str, declaration: str) -> str:
    kind, _, body = declaration.partition(" ")
    return f"add {kind} {where} {name} {{ {body} }}"


def whole(table: Table) -> list[str]:
    """The transaction that puts the table in the place of whatever has its name."""
    where = f"{table.family} {NAME}"
    # Adding first makes the deletion succeed in any case.
    return [f"add table {where}", f"delete table {where}", *first(table)]


def first(table: Table) -> list[str]:
    """The transaction that makes the table where there is none; a deletion in it would cost the kernel 15 ms."""
    if not table:
        return []
    where = f"{table.family} {NAME}"
    lines = [f"add table {where}"]
    lines += [_declare_set(where, name, block.declaration) for name, block in table.sets.items()]
    lines += [_declare(where, name, chain) for name, chain in table.chains.items()]
    for name, chain in table.chains.items():
        lines += _fill(where, name, chain)
    for name, block in table.sets.items():
        lines += _elements("add", where, name, block.elements)
    return lines


def change(old: Table, new: Table) -> list[str]:
    """The transaction that leads from `old`, which is what the kernel has, to `new`; empty where they are equal."""
    if old == new:
        return []
    if not old:
        return first(new)
    if not new or _declared_anew(old, new):
        return whole(new)
    where = f"{new.family} {NAME}"
    lines = [_declare_set(where, name, new.sets[name].declaration) for name in new.sets if name not in old.sets]
    lines += [_declare(where, name, new.chains[name]) for name in new.chains if name not in old.chains]
    nothing = Elements("", frozenset())
    for name, block in old.sets.items():
        lines += _elements("delete", where, name, block.elements - new.sets.get(name, nothing).elements)
    gone = [name for name in old.chains if name not in new.chains]
    altered = [name for name in new.chains if old.chains.get(name) != new.chains[name]]
    lines += [f"flush chain {where} {name}" for name in [*gone, *altered] if name in old.chains]
    for name in altered:
        lines += _fill(where, name, new.chains[name])
    for name, block in new.sets.items():
        lines += _elements("add", where, name, block.elements - old.sets.get(name, nothing).elements)
    lines += [f"delete chain {where} {name}" for name in gone]
    gone_sets = [(name, block) for name, block in old.sets.items() if name not in new.sets]
    lines += [f"delete {block.declaration.partition(' ')[0]} {where} {name}" for name, block in gone_sets]
    return lines


def _declared_anew(old: Table, new: Table) -> bool:
    return any(
        old.sets[name].declaration != block.declaration for name, block in new.sets.items() if name in old.sets
    ) or any(old.chains[name].hook != chain.hook for name, chain in new.chains.items() if name in old.chains)
