"""What a picture of a fabric shows, and where: few enough switches to be read, whatever there are.

Of each level of a network the first few and the last are shown, and whatever failed; between them stand dots. Places
are in slots, the room of one switch: all that is shown of one row stands at one height, planes side by side.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from suanwang.model.units import rate_text

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]

SLOTS = 30
"""Switches side by side that can be read."""
ENDPOINTS = 56
"""Endpoints side by side that can be told apart."""
ENOUGH = 9
"""Of alike switches, where not all have room."""
MOST_FORCED = 6
"""Failed links whose switches are shown at any rate."""
GAP, BETWEEN_BLOCKS, BETWEEN_PLANES = 0.8, 0.35, 1.2
"""Slots that dots take, and room between blocks and planes."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A node that is shown: row 0 is that of the endpoints. `rail` and `plane` are -1 where they mean nothing."""

    row: int
    x: float
    text: str
    plane: int = -1
    rail: int = -1


@dataclass(frozen=True, slots=True)
class Stroke:
    """Cables between two marks: how many, how many of them failed, and the greatest share of them that is used."""

    a: int
    b: int
    cables: int
    failed: int = 0
    load: float = -1.0
    rail: int = -1
    plane: int = -1


@dataclass(frozen=True, slots=True)
class Panel:
    """A frame behind rows `low` to `high`. `kind` is plane, block (a pod, a segment) or server."""

    low: int
    high: int
    left: float
    right: float
    text: str
    kind: str
    plane: int = -1


@dataclass(frozen=True, slots=True)
class Facts:
    """What is said beside a row, and of the cables between it and the row below."""

    title: str
    lines: tuple[str, ...]
    cables: tuple[str, ...] = ()


@dataclass(slots=True)
class Sketch:
    """All that a picture shows. `dots` are (row, x) where something is left out."""

    title: str
    told: str
    rows: list[Facts]
    width: float = 1.0
    marks: list[Mark] = field(default_factory=list)
    strokes: list[Stroke] = field(default_factory=list)
    panels: list[Panel] = field(default_factory=list)
    dots: list[tuple[int, float]] = field(default_factory=list)
    rails: int = 1
    planes: int = 1
    failed: int = 0


def few(count: int, most: int, forced: Iterable[int] = ()) -> list[int]:
    """Of 0 .. count - 1 the first and the last, `most` in all and `ENOUGH` if that can't be all, and those forced."""
    if count <= most:
        return list(range(count))
    return sorted({*range(max(min(most, ENOUGH) - 1, 1)), count - 1, *(one for one in forced if 0 <= one < count)})


def spread(numbers: Sequence[int], left: float, right: float, most: float = 1.6) -> tuple[list[float], list[float]]:
    """Places for ascending numbers, evenly in the middle of the room, and for dots where some are left out."""
    if not numbers:
        return [], []
    steps = [GAP if later - former > 1 else 0.0 for former, later in pairwise(numbers)]
    total = len(numbers) + sum(steps)
    unit = min((right - left) / total, most)
    at = (left + right) / 2 - total * unit / 2
    places, dots = [], []
    for number in range(len(numbers)):
        places.append(at + unit / 2)
        at += unit
        if number < len(steps) and steps[number]:
            dots.append(at + steps[number] * unit / 2)
            at += steps[number] * unit
    return places, dots


def slots_of(numbers: Sequence[int]) -> float:
    """The slots that ascending numbers take, with dots between those that do not follow each other."""
    return len(numbers) + sum(GAP for former, later in pairwise(numbers) if later - former > 1)


def count_text(count: int, what: str, many: str = "") -> str:
    """`1 switch`, `1,024 switches`."""
    return f"{count:,} {what if count == 1 else many or what + 's'}"


def short_rate(rate_bps: int) -> str:
    """A rate in few letters: `200G`."""
    return rate_text(rate_bps).removesuffix("bps")


def ratio_text(ratio: float) -> str:
    """An oversubscription: `4:1`, `1.07:1`."""
    return f"{ratio:.2f}".rstrip("0").rstrip(".") + ":1"


def delay_text(latency_ps: int) -> str:
    """A latency in few letters: `500 ns`."""
    for unit, factor in (("µs", 10**6), ("ns", 10**3)):
        if latency_ps >= factor:
            return f"{latency_ps / factor:g} {unit}"
    return f"{latency_ps} ps"
