"""Quantities of fabrics: what is written is read back, and what is no quantity is refused."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suanwang.fabric.units import (
    LENGTH_UNITS,
    POWER_UNITS,
    latency_ps,
    latency_text,
    length_text,
    power_text,
    ratio,
    ratio_text,
)
from suanwang.model.units import parse


@given(st.integers(0, 2**60))
def test_latencies_are_read_back(latency: int) -> None:
    assert latency_ps(latency_text(latency)) == latency


@given(st.integers(0, 10**9))
def test_lengths_and_powers_are_read_back(value: int) -> None:
    assert parse(length_text(value), LENGTH_UNITS, "3m") == value
    assert parse(power_text(value), POWER_UNITS, "3W") == value


@given(st.fractions(Fraction(1, 1000), 1000, max_denominator=1000))
def test_ratios_are_read_back(value: Fraction) -> None:
    assert ratio(ratio_text(value)) == value


def test_as_users_write_them() -> None:
    assert [latency_ps(text) for text in ("500ns", "1us", "300ps", "0.5ns", "0")] == [500_000, 1_000_000, 300, 500, 0]
    assert [latency_text(ps) for ps in (500_000, 1_500, 0)] == ["500ns", "1500ps", "0ps"]
    assert [ratio(text) for text in ("15:1", "1.5", 3)] == [15, Fraction(3, 2), 3]


@pytest.mark.parametrize("text", ["500", "-1ns", "1 parsec", "0.1ps", "", None, "1e3ns", "99999999s"])
def test_what_is_no_latency(text: object) -> None:
    with pytest.raises(ValueError, match=r"500ns|unit|too large"):
        latency_ps(text)


@pytest.mark.parametrize("text", ["0", "1:0", "-1", "15:1:1", "nan", "inf", ""])
def test_what_is_no_ratio(text: str) -> None:
    with pytest.raises(ValueError, match="1"):
        ratio(text)
