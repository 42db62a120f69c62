"""Solving: the fewest tiers and switches against a search through shapes, and the nearest possible where none is."""

from __future__ import annotations

from fractions import Fraction
from itertools import product
from math import prod

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from suanwang.fabric.clos import Clos, Tier
from suanwang.fabric.design.chip import Chip, check_ports
from suanwang.fabric.design.solving import Solution, leaf_ports, nearest_split, solve
from suanwang.fabric.kinds import SolveSpec
from suanwang.model.errors import SuanwangError

RATE = 400 * 10**9


def solved(
    endpoints: int, radix: int, over: str = "1", rails: int = 1, joined: int = 1, tiers: int | None = None
) -> Solution:
    spec = SolveSpec.model_validate({"endpoints": endpoints, "oversubscription": over, "tiers": tiers})
    return solve(spec, Chip("small", radix, RATE, 1.0), rails, joined)


def clos_of(found: Solution, rails: int = 1, joined: int = 1) -> Clos:
    return Clos(found.tiers, found.trees, 1, rails, joined)


def possible(
    endpoints: int, radix: int, over: str = "1", rails: int = 1, joined: int = 1
) -> tuple[Solution | None, str]:
    """What is found, or the hint where nothing is."""
    try:
        return solved(endpoints, radix, over, rails, joined), ""
    except SuanwangError as problem:
        return None, problem.hint


RATIOS = st.sampled_from(["1", "2", "3", "3:2", "1:2"])


@given(st.integers(1, 2000), st.integers(2, 16), RATIOS, st.sampled_from([1, 2, 4]))
def test_what_is_found_is_what_was_asked(endpoints: int, radix: int, over: str, rails: int) -> None:
    joined = 2 if rails > 1 else 1
    found, hint = possible(endpoints, radix, over, rails, joined)
    if found is None:
        assert "nearest possible" in hint
        return
    clos = clos_of(found, rails, joined)
    check_ports(clos, Chip("small", radix, RATE, 1.0))
    assert clos.endpoints >= endpoints
    if clos.height > 1:
        down, up = (int(part) for part in f"{over}:1".split(":")[:2])
        assert Fraction(clos.down_ports(1), clos.up_ports(1)) == Fraction(down, up)
    for tier in range(2, clos.height):
        assert clos.down_ports(tier) == clos.up_ports(tier)
    if joined == 2 and clos.height >= 2:
        assert clos.tiers[1].children % rails == 0


@given(st.integers(2, 40), st.integers(3, 8))
def test_no_two_tiers_have_fewer_switches(endpoints: int, radix: int) -> None:
    found, _ = possible(endpoints, radix)
    assume(found is not None and len(found.tiers) == 2)
    assert found is not None
    best = clos_of(found).switches
    for down, top in product(range(1, radix // 2 + 1), range(1, radix + 1)):
        if down * top < endpoints:
            continue
        for bundle in (one for one in range(1, down + 1) if down % one == 0 and one * top <= radix):
            other = Clos((Tier(down, 1, RATE), Tier(top, down // bundle, RATE, bundle=bundle)))
            assert other.switches >= best


@given(st.integers(1, 5000), st.integers(2, 12))
def test_fewer_tiers_would_not_do(endpoints: int, radix: int) -> None:
    found, _ = possible(endpoints, radix)
    assume(found is not None)
    assert found is not None
    height = len(found.tiers) - 1
    if height == 1:
        assert radix < endpoints
    elif height > 1:
        assert (radix // 2) ** (height - 1) * radix < endpoints


def test_known_sizes() -> None:
    # A fat tree of radix k joins k^3 / 4 endpoints on 5 k^2 / 4 switches (Al-Fares et al., SIGCOMM 2008).
    for k in (4, 8, 16, 48):
        clos = clos_of(solved(k**3 // 4, k))
        assert (clos.height, clos.switches) == (3, 5 * k**2 // 4)
    assert clos_of(solved(1000, 64, "2")).endpoints == 1000


def test_rails_that_never_meet() -> None:
    found = solved(16_384, 64, rails=8, joined=3, tiers=2)
    assert (found.trees, prod(tier.children for tier in found.tiers)) == (8, 2048)


@given(st.integers(2, 64), st.fractions(Fraction(1, 100), 100))
def test_the_nearest_split_is_nearest(radix: int, over: Fraction) -> None:
    down, up = nearest_split(radix, over)
    assert 2 <= down + up <= radix
    every = (Fraction(d, u) for u in range(1, radix) for d in range(1, radix - u + 1))
    assert abs(Fraction(down, up) - over) == min(abs(one - over) for one in every)


@pytest.mark.parametrize(
    ("endpoints", "radix", "over", "message", "hint"),
    [
        (1024, 64, "200:1", "64 ports can't be split 200:1", "nearest possible: 63:1"),
        (1024, 64, "1.37", "can't be split 137:100", "nearest possible: 37:27"),
        (10**6, 4, "1", "5 tiers of radix 4 join at most 64 endpoints", "nearest possible: 64 endpoints, or radix 28"),
        (2, 1, "1", "makes no network", "nearest possible: 2 ports"),
    ],
)
def test_the_impossible(endpoints: int, radix: int, over: str, message: str, hint: str) -> None:
    with pytest.raises(SuanwangError) as caught:
        solved(endpoints, radix, over)
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_rails_that_can_not_be_joined() -> None:
    with pytest.raises(SuanwangError, match="can't join 9 rails") as caught:
        solved(100, 8, rails=9, joined=2, tiers=2)
    assert caught.value.hint == "nearest possible: 8 rails, or radix 9"
    assert solved(32, 8, rails=8, joined=2, tiers=2)
    assert solved(36, 9, rails=9, joined=2, tiers=2)
    with pytest.raises(SuanwangError, match="joined at tier 3, of 1 tiers"):
        solved(4, 8, rails=2, joined=3, tiers=1)


def test_leaf_ports_are_as_many_as_can_be() -> None:
    assert leaf_ports(256, Fraction(15)) == (240, 16)
    assert leaf_ports(64, Fraction(3, 2)) == (36, 24)
