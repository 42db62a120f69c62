"""How long the cables of a design are and what they are made of, by the model of `layout.py`: lots of like cables.

Counts come from coordinates, never from listing cables: all copies of a block are alike.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil

from suanwang.fabric.clos import TIER_NAMES, Clos
from suanwang.fabric.design.design import Design, Which
from suanwang.fabric.design.layout import Medium, stock_mm
from suanwang.fabric.dragonfly import Dragonfly
from suanwang.model.errors import INVALID, SuanwangError


@dataclass(frozen=True, slots=True)
class Lot:
    """`count` cables alike: below a tier of switches, or between routers. `length_mm` is that which is bought."""

    where: str
    medium: Medium
    rate_bps: int
    length_mm: int
    count: int


def lots(design: Design, which: Which) -> list[Lot]:
    """All cables of one network, by place, medium and length. Empty for a network that was read from a list of links.

    Raises:
        SuanwangError: INVALID where no medium is long enough.
    """
    part = design.part(which)
    if part is None:
        return []
    runs = _clos_runs(part, design) if isinstance(part, Clos) else _dragonfly_runs(part, design)
    found: Counter[tuple[int, str, Medium, int, int]] = Counter()
    for number, where, rate, length, count in runs:
        asked = design.media[which][number] if number < len(design.media[which]) else ""
        found[number, where, design.layout.medium(length, asked), rate, stock_mm(length)] += count
    order = sorted(found.items(), key=lambda item: (item[0][0], item[0][4]))
    return [Lot(where, medium, rate, length, count) for (_, where, medium, rate, length), count in order]


_Run = tuple[int, str, int, float, int]
"""Number of the tier from 0, where, rate, length, cables."""


def leaves_in_racks(clos: Clos, design: Design) -> bool:
    """Whether leaves stand in the racks of their servers.

    Raises:
        SuanwangError: INVALID where that is asked for and servers of several racks share a leaf.
    """
    layout = design.layout
    fits = _together(clos, 1) <= layout.servers_per_rack * design.per_server
    if layout.leaves_in_rack and not fits:
        raise SuanwangError(
            INVALID,
            f"leaves of {_together(clos, 1):,} accelerators can't stand in racks of "
            f"{layout.servers_per_rack * design.per_server:,}",
            hint="leave out layout.leavesInRack",
        )
    return fits if layout.leaves_in_rack is None else layout.leaves_in_rack


def _rails(clos: Clos, tier: int) -> int:
    """Rails that have switches of their own in that tier."""
    return clos.rails if tier < clos.joined else 1


def _together(clos: Clos, tier: int) -> int:
    """Accelerators that stand together in one block of that level: all rails of it."""
    return clos.below(tier) * _rails(clos, tier)


def _clos_runs(clos: Clos, design: Design) -> Iterator[_Run]:
    layout, where = design.layout, f"below {TIER_NAMES[0]}"
    together = _together(clos, 1)
    blocks = ceil(clos.endpoints / together)
    each = clos.planes * clos.up_ports(0)
    switches = clos.planes * clos.alike(1) * _rails(clos, 1)
    if leaves_in_racks(clos, design):
        block = layout.racks(together, design.per_server)
        yield 0, where, clos.tiers[0].rate_bps, layout.within_rack_mm, each * clos.endpoints
    else:
        block = layout.racks(together, design.per_server, switches)
        for length, here in layout.to_middle(together, design.per_server, switches).items():
            yield 0, where, clos.tiers[0].rate_bps, length, each * here * blocks
    for tier in range(2, clos.height + 1):
        before, together = together, _together(clos, tier)
        copies = max(together // before, 1)
        switches = clos.planes * clos.alike(tier) * _rails(clos, tier)
        block, lengths = layout.beside(block, copies, switches)
        cables = clos.planes * clos.count(tier) * clos.down_ports(tier)
        for length, count in lengths.items():
            name = f"below {TIER_NAMES[tier - 1]}"
            yield tier - 1, name, clos.tiers[tier - 1].rate_bps, length, cables // copies * count


def _dragonfly_runs(fabric: Dragonfly, design: Design) -> Iterator[_Run]:
    """Routers stand in the middle of their group; cables between groups go from middle to middle."""
    layout = design.layout
    group = fabric.routers * fabric.hosts
    switches = fabric.planes * fabric.routers
    for length, here in layout.to_middle(group, design.per_server, switches).items():
        yield 0, "below routers", fabric.rate_bps, length, fabric.planes * here * fabric.groups
    pairs = fabric.planes * fabric.groups * fabric.routers * (fabric.routers - 1) // 2
    racks = ceil(switches / layout.switches_per_rack)
    across = layout.within_rack_mm if racks == 1 else racks * layout.rack_width_mm / 3 + 2 * layout.rise_mm
    if pairs:
        yield 1, "within groups", fabric.local_rate_bps, across, pairs
    block = layout.racks(group, design.per_server, switches)
    for (x, y), count in _apart(fabric.groups, layout.across(block, fabric.groups)).items():
        apart = x * block.width + y * block.depth + 2 * layout.rise_mm
        yield 2, "between groups", fabric.global_rate_bps, apart, fabric.planes * fabric.bundle * count


def _apart(copies: int, across: int) -> dict[tuple[int, int], int]:
    """How many pairs of places in rows of `across` stand so many columns and rows apart; the last row may be short."""
    found: Counter[tuple[int, int]] = Counter()
    rows, last = divmod(copies, across)
    for x in range(across):
        both = 2 if x else 1
        if x:
            found[x, 0] += rows * (across - x) + max(last - x, 0)
        for y in range(1, rows):
            found[x, y] += both * (across - x) * (rows - y)
        short = sum(0 <= column + side * x < across for column in range(last) for side in ((-1, 1) if x else (1,)))
        for y in range(1, rows + 1):
            found[x, y] += short
    return {place: count for place, count in found.items() if count}
