"""Quantities of fabrics with units, as users write them ("500ns", "2.5m", "18W") and as they are held (integers).

Held: latencies in picoseconds, lengths in millimetres, power in milliwatts, ratios of bandwidth ("15:1") as fractions.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from suanwang.model.units import parse

LATENCY_UNITS = {"ps": 1, "ns": 10**3, "us": 10**6, "µs": 10**6, "ms": 10**9, "s": 10**12}
LENGTH_UNITS = {"mm": 1, "cm": 10, "m": 10**3, "km": 10**6}
POWER_UNITS = {"mW": 1, "W": 10**3, "kW": 10**6, "MW": 10**9}

_RATIO = re.compile(r"^([0-9]{1,9}(?:\.[0-9]{1,9})?)(?:\s*:\s*([0-9]{1,9}(?:\.[0-9]{1,9})?))?$")


def latency_ps(text: object) -> int:
    """The latency `text` in picoseconds. Raises ValueError that says what would be right."""
    return parse(text, LATENCY_UNITS, "500ns")


def latency_text(latency: int) -> str:
    """A latency as users write it, e.g. `500ns`, in the largest unit that keeps it whole."""
    fits = [unit for unit, factor in LATENCY_UNITS.items() if latency % factor == 0 and latency]
    unit = max(fits, key=LATENCY_UNITS.__getitem__, default="ps")
    return f"{latency // LATENCY_UNITS[unit]}{unit}"


def length_text(length_mm: int) -> str:
    """A length as users write it, e.g. `2.5m`."""
    return f"{length_mm / 1000:.12g}m"


def power_text(power_mw: int) -> str:
    """A power as users write it, e.g. `500W`."""
    return f"{power_mw / 1000:.12g}W"


def ratio(text: object) -> Fraction:
    """An oversubscription, `15:1`, `15` or `1.5`, as a fraction above 0. Raises ValueError with what would be right."""
    match = _RATIO.match(str(text).strip())
    if match is None:
        raise ValueError(f"{text!r} is no ratio; write 15:1, say, or 1 for none")
    down, up = Fraction(match[1]), Fraction(match[2] or 1)
    if not down or not up:
        raise ValueError(f"{text!r} has a zero in it; write 1 for bandwidth up equal to that down")
    return down / up


def ratio_text(value: Fraction) -> str:
    """A ratio as users write it, e.g. `15:1`."""
    return f"{value.numerator}:{value.denominator}"


def _quantity(units: dict[str, int], write: Callable[[int], str], example: str, what: str) -> Any:
    return (
        BeforeValidator(lambda value: parse(str(value), units, example)),
        PlainSerializer(write),
        WithJsonSchema({"type": "string", "description": f"{what} with its unit", "examples": [example]}),
    )


Latency = Annotated[int, *_quantity(LATENCY_UNITS, latency_text, "500ns", "a latency")]
Length = Annotated[int, *_quantity(LENGTH_UNITS, length_text, "3m", "a length")]
Power = Annotated[int, *_quantity(POWER_UNITS, power_text, "500W", "a power")]
Oversubscription = Annotated[
    Fraction,
    BeforeValidator(lambda value: ratio(value if not isinstance(value, Fraction) else ratio_text(value))),
    PlainSerializer(ratio_text),
    WithJsonSchema({"anyOf": [{"type": "string", "examples": ["15:1"]}, {"type": "number", "exclusiveMinimum": 0}]}),
]
