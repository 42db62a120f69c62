"""Quantities with units, as users write them ("10Gbps", "5ms", "1500B", "0.1%") and as the core holds them (integers).

Held: rates in bit/s, durations in microseconds, sizes in bytes, ratios in parts per million. Decimal prefixes (k, M,
G, T)
are powers of 1000, binary ones (Ki, Mi, Gi, Ti) of 1024, as in IEC 80000-13. Written back in the largest unit that is
exact.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

_NUMBER = re.compile(r"^([0-9]+(?:\.[0-9]+)?)\s*([A-Za-zµ%/]*)$")

_DECIMAL = {"": 1, "k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_BINARY = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}

RATE_UNITS = {f"{prefix}{unit}": factor for prefix, factor in _DECIMAL.items() for unit in ("bps", "bit/s")}
DURATION_UNITS = {"us": 1, "µs": 1, "ms": 1000, "s": 10**6, "m": 60 * 10**6, "h": 3600 * 10**6}
SIZE_UNITS = {f"{prefix}B": factor for prefix, factor in {**_DECIMAL, **_BINARY}.items()}
RATIO_UNITS = {"%": 10_000, "ppm": 1}

LARGEST = 2**62
"""No quantity may exceed this, so that sums of two still fit 64 signed bits."""


def parse(text: object, units: dict[str, int], example: str) -> int:
    """The quantity `text` in base units.

    Raises ValueError, with what was expected, for a missing or unknown unit, a value that is not a whole number of base
    units, or one above `LARGEST`.
    """
    match = _NUMBER.match(text.strip()) if isinstance(text, str) else None
    if match is None:
        raise ValueError(f"{text!r} is no quantity; write a number with a unit, as in {example}")
    number, unit = match.groups()
    if not unit and Fraction(number) == 0:
        return 0
    if unit not in units:
        known = ", ".join(units)
        raise ValueError(f"{text!r} has {'no unit' if not unit else f'the unknown unit {unit!r}'}; use one of {known}")
    value = Fraction(number) * units[unit]
    if value.denominator != 1:
        raise ValueError(f"{text!r} is finer than the smallest unit that is kept; round it, as in {example}")
    if value > LARGEST:
        raise ValueError(f"{text!r} is too large")
    return int(value)


def _write(value: int, units: list[tuple[str, int]]) -> str:
    for unit, factor in units:
        if value and value % factor == 0:
            return f"{value // factor}{unit}"
    return f"{value}{units[-1][0]}"


def rate_text(rate_bps: int) -> str:
    """A rate as users write it, e.g. `10Gbps`."""
    return _write(rate_bps, [("Tbps", 10**12), ("Gbps", 10**9), ("Mbps", 10**6), ("kbps", 10**3), ("bps", 1)])


def duration_text(duration_us: int) -> str:
    """A duration as users write it, e.g. `5ms`."""
    return _write(duration_us, [("s", 10**6), ("ms", 1000), ("us", 1)])


def size_text(size_bytes: int) -> str:
    """A size as users write it, e.g. `9000B`."""
    return _write(size_bytes, [("TiB", 2**40), ("GiB", 2**30), ("MiB", 2**20), ("B", 1)])


def ratio_text(ratio_ppm: int) -> str:
    """A ratio as users write it, e.g. `0.1%`."""
    return f"{ratio_ppm / 10_000:g}%" if ratio_ppm % 10 == 0 else f"{ratio_ppm}ppm"


def _ratio(text: object) -> int:
    value = parse(text, RATIO_UNITS, "0.1%")
    if value > 10**6:
        raise ValueError(f"{text!r} is more than 100%")
    return value


def _reader(units: dict[str, int], example: str) -> Any:
    # A bare number reaches `parse` as text without a unit and is refused there: people mean different units by it.
    def read(value: object) -> int:
        return parse(str(value), units, example)

    return BeforeValidator(read)


Rate = Annotated[
    int,
    _reader(RATE_UNITS, "10Gbps"),
    PlainSerializer(rate_text),
    WithJsonSchema({"type": "string", "description": "a rate with its unit", "examples": ["10Gbps", "100Mbps"]}),
]
Duration = Annotated[
    int,
    _reader(DURATION_UNITS, "5ms"),
    PlainSerializer(duration_text),
    WithJsonSchema({"type": "string", "description": "a duration with its unit", "examples": ["5ms", "2088us"]}),
]
Size = Annotated[
    int,
    _reader(SIZE_UNITS, "1500B"),
    PlainSerializer(size_text),
    WithJsonSchema({"type": "string", "description": "a size with its unit", "examples": ["1500B", "64KiB"]}),
]
Ratio = Annotated[
    int,
    BeforeValidator(lambda value: _ratio(str(value))),
    PlainSerializer(ratio_text),
    WithJsonSchema({"type": "string", "description": "a share with its unit", "examples": ["0.1%", "20ppm"]}),
]
