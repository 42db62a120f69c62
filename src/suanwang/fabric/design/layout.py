"""Where racks stand, how long cables become and what they are then made of.

A model, so that lengths can be estimated before a room is drawn; every number of it can be given in the file. Racks of
servers stand in rows, those below one group of leaves in a block. Blocks below one group of upper switches stand side
by side, as squarely as can be, and so on up; the switches of each level stand in the middle of their block. A cable
goes up to the tray, along rows and across them, and down. So each level needs one look at its children, whatever
their number is worth.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil, sqrt

import numpy as np
from numpy.typing import NDArray

from suanwang.fabric.kinds import LayoutSpec
from suanwang.model.errors import INVALID, NOT_FOUND, SuanwangError
from suanwang.model.registry import nearest

STOCK_MM = (
    500, 1000, 1500, 2000, 2500, 3000, 5000, 7000, 10_000, 15_000, 20_000, 30_000, 50_000, 75_000, 100_000, 150_000,
    200_000, 300_000, 500_000, 750_000, 1_000_000, 1_500_000, 2_000_000, 5_000_000, 10_000_000,
)  # fmt: skip
"""Lengths that cables are bought in; what lies between is rounded up."""


@dataclass(frozen=True, slots=True)
class Medium:
    """A kind of cable: its greatest length, power of each end for each 100 Gbit/s, and whether ends are pluggable."""

    name: str
    reach_mm: int
    power_w: float
    transceivers: bool


MEDIA = (
    Medium("DAC", 2_000, 0.0, False),
    Medium("AEC", 7_000, 1.5, False),
    Medium("AOC", 30_000, 2.0, False),
    Medium("SR", 100_000, 2.0, True),
    Medium("DR", 500_000, 2.0, True),
    Medium("CPO", 500_000, 0.7, False),
    Medium("FR", 2_000_000, 2.5, True),
    Medium("LR", 10_000_000, 3.0, True),
)
"""Reaches are those of IEEE 802.3 (ck, db, bs, cu); powers are typical. Sources: docs/rooms/fabric.md, Design."""


Lengths = dict[int, int]
"""How many there are of each length in millimetres."""


@dataclass(frozen=True, slots=True)
class Block:
    """A part of the floor, in millimetres."""

    width: float
    depth: float


@dataclass(frozen=True, slots=True)
class Layout:
    """Racks, rows and media; the fields are those of the file, with defaults."""

    servers_per_rack: int = 4
    switches_per_rack: int = 16
    rack_width_mm: int = 600
    row_depth_mm: int = 2400
    racks_per_row: int = 16
    rise_mm: int = 1500
    within_rack_mm: int = 2000
    leaves_in_rack: bool | None = None
    media: tuple[Medium, ...] = MEDIA
    rack_power_w: float = 0.0
    nic_power_w: float = 5.0

    def medium(self, length_mm: float, asked: str = "") -> Medium:
        """What a cable of that length is made of: what was asked for, or else the first that reaches so far.

        Raises:
            SuanwangError: INVALID where none reaches.
        """
        fitting = [one for one in self.media if one.name == asked or (not asked and one.reach_mm >= length_mm)]
        if not fitting or fitting[0].reach_mm < length_mm:
            far = max(self.media, key=lambda one: one.reach_mm) if not fitting else fitting[0]
            raise SuanwangError(
                INVALID,
                f"cables of {length_mm / 1000:g} m, and {far.name} reaches {far.reach_mm / 1000:g} m",
                hint="name another medium for the tier, enter one in layout.media, or put more racks in a row",
            )
        return fitting[0]

    def racks(self, endpoints: int, per_server: int, switches: int = 0) -> Block:
        """The block of that many accelerators, with their switches in it; parts of a rack are parts of its width."""
        servers = endpoints / per_server / self.servers_per_rack
        racks = (ceil(servers) if servers > 1 else servers) + ceil(switches / self.switches_per_rack)
        rows = ceil(racks / self.racks_per_row)
        return Block(min(racks, self.racks_per_row) * self.rack_width_mm, rows * self.row_depth_mm)

    def to_middle(self, endpoints: int, per_server: int, switches: int) -> Lengths:
        """Lengths of cables from the racks of a block to its middle, and how many accelerators have each."""
        block, full = self.racks(endpoints, per_server, switches), self.servers_per_rack * per_server
        row, column = np.divmod(np.arange(ceil(endpoints / full)), self.racks_per_row)
        x, y = (column + 0.5) * self.rack_width_mm, (row + 0.5) * self.row_depth_mm
        lengths = np.abs(x - block.width / 2) + np.abs(y - block.depth / 2) + 2 * self.rise_mm
        here = np.full(len(lengths), full)
        here[-1] = endpoints - full * (len(lengths) - 1)
        return _counted(lengths, here)

    def across(self, block: Block, copies: int) -> int:
        """How many copies of a block stand in a row, so that the whole is as square as can be."""
        return max(1, min(copies, round(sqrt(copies * block.depth / block.width))))

    def beside(self, block: Block, copies: int, switches: int) -> tuple[Block, Lengths]:
        """Copies of a block side by side, with so many switches in the middle: the whole, and the lengths of cables
        from the middles of copies to the middle of the whole, with how many copies have each.
        """
        across = self.across(block, copies)
        deep = ceil(copies / across)
        racks = ceil(switches / self.switches_per_rack)
        aisle = ceil(racks * self.rack_width_mm / (across * block.width)) * self.row_depth_mm
        whole = Block(across * block.width, deep * block.depth + aisle)
        row, column = np.divmod(np.arange(copies), across)
        x, y = (column + 0.5) * block.width, (row + 0.5) * block.depth
        y += np.where(y > deep * block.depth / 2, aisle, 0)
        lengths = np.abs(x - whole.width / 2) + np.abs(y - whole.depth / 2) + 2 * self.rise_mm
        return whole, _counted(lengths, np.ones(copies, np.int64))


def _counted(lengths: NDArray[np.float64], counts: NDArray[np.int64]) -> Lengths:
    """Counts by length, to a millimetre."""
    found, which = np.unique(np.ceil(lengths - 1e-6).astype(np.int64), return_inverse=True)
    sums = np.bincount(which, weights=counts).astype(np.int64)
    return dict(zip(found.tolist(), sums.tolist(), strict=True))


def stock_mm(length_mm: float) -> int:
    """The length that a cable is bought in."""
    return next((one for one in STOCK_MM if one >= length_mm), ceil(length_mm / 1000) * 1000)


def layout_of(spec: LayoutSpec | None, asked: Iterable[str] = ()) -> Layout:
    """The layout that a spec describes, with defaults for what it leaves out; `asked` are media that tiers name.

    Raises:
        SuanwangError: INVALID for two media of one name, NOT_FOUND for a medium that is not there.
    """
    spec = spec or LayoutSpec()
    media = MEDIA if spec.media is None else tuple(
        Medium(one.name, one.reach, (one.power or 0) / 1000, bool(one.transceivers)) for one in spec.media
    )  # fmt: skip
    names = [one.name for one in media]
    if len(set(names)) < len(names):
        raise SuanwangError(INVALID, "two media have the same name", "name each once")
    for name in asked:
        if name and name not in names:
            raise SuanwangError(NOT_FOUND, f"there is no medium {name!r}", nearest(name, names, "media"))
    default = Layout()
    return Layout(
        servers_per_rack=spec.servers_per_rack or default.servers_per_rack,
        switches_per_rack=spec.switches_per_rack or default.switches_per_rack,
        rack_width_mm=spec.rack_width or default.rack_width_mm,
        row_depth_mm=spec.row_depth or default.row_depth_mm,
        racks_per_row=spec.racks_per_row or default.racks_per_row,
        rise_mm=_or(spec.rise, default.rise_mm),
        within_rack_mm=_or(spec.within_rack, default.within_rack_mm),
        leaves_in_rack=spec.leaves_in_rack,
        media=_by_reach(media),
        rack_power_w=_or(spec.rack_power, 0) / 1000,
        nic_power_w=default.nic_power_w if spec.nic_power is None else spec.nic_power / 1000,
    )


def _or(value: int | None, default: int) -> int:
    return default if value is None else value


def _by_reach(media: Sequence[Medium]) -> tuple[Medium, ...]:
    return tuple(sorted(media, key=lambda one: one.reach_mm))
