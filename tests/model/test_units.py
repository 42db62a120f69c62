"""Quantities: what is read, what is refused, and that what is written reads back."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suanwang.model import units

ROUND_TRIPS = {
    "rate": (units.rate_text, units.RATE_UNITS),
    "duration": (units.duration_text, units.DURATION_UNITS),
    "size": (units.size_text, units.SIZE_UNITS),
    "ratio": (units.ratio_text, units.RATIO_UNITS),
}


@pytest.mark.parametrize("what", ["rate", "duration", "size"])
@given(st.one_of(st.integers(0, units.LARGEST), st.integers(0, 999).map(lambda n: n * 10**9)))
def test_what_is_written_reads_back(what: str, value: int) -> None:
    write, known = ROUND_TRIPS[what]
    assert units.parse(write(value), known, "") == value


@given(st.integers(0, 10**6))
def test_every_ratio_reads_back(value: int) -> None:
    assert units.parse(units.ratio_text(value), units.RATIO_UNITS, "") == value


@pytest.mark.parametrize(
    ("text", "known", "value"),
    [
        ("10Gbps", units.RATE_UNITS, 10_000_000_000),
        ("1.5Mbit/s", units.RATE_UNITS, 1_500_000),
        ("64kbps", units.RATE_UNITS, 64_000),
        ("5ms", units.DURATION_UNITS, 5000),
        ("0.25 ms", units.DURATION_UNITS, 250),
        ("2h", units.DURATION_UNITS, 7_200_000_000),
        ("1500B", units.SIZE_UNITS, 1500),
        ("1KiB", units.SIZE_UNITS, 1024),
        ("1kB", units.SIZE_UNITS, 1000),
        ("0.1%", units.RATIO_UNITS, 1000),
        ("0", units.RATE_UNITS, 0),
    ],
)
def test_units_are_those_of_the_standards(text: str, known: dict[str, int], value: int) -> None:
    assert units.parse(text, known, "") == value


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("10", "has no unit"),
        ("10Gbs", "unknown unit 'Gbs'"),
        ("-1Gbps", "is no quantity"),
        ("1e9bps", "unknown unit|is no quantity"),
        ("", "is no quantity"),
        ("0.1bps", "finer than the smallest unit"),
        ("9999999999Tbps", "too large"),
        (10, "is no quantity"),
        (None, "is no quantity"),
        ("10Gbps\n10Gbps", "is no quantity"),
    ],
)
def test_what_is_refused_says_why(text: object, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        units.parse(text, units.RATE_UNITS, "10Gbps")


@given(st.text(max_size=20))
def test_any_text_is_read_or_refused(text: str) -> None:
    with suppress(ValueError):
        assert units.parse(text, units.RATE_UNITS, "10Gbps") >= 0
