"""Bills by the 95th percentile against brute force over which intervals go free."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from suanwang.model.errors import SuanwangError
from suanwang.steering.answer import Budget
from suanwang.steering.billing import billed_rate, free_intervals, plan

BUDGET = Budget(clock=lambda: 0.0)


def cheapest(wanted: list[float], price: list[float], capacity: list[float]) -> float:
    """The least bill, over all ways to choose the free intervals."""
    intervals, exits = len(wanted), len(price)
    ways = list(itertools.combinations(range(intervals), free_intervals(intervals)))
    best = np.inf
    for choice in itertools.product(ways, repeat=exits):
        # x(t, e), then what is billed of e
        count = intervals * exits + exits
        above = []
        for t, e in itertools.product(range(intervals), range(exits)):
            if t not in choice[e]:
                line = np.zeros(count)
                line[t * exits + e], line[intervals * exits + e] = 1, -1
                above.append(line)
        equal = np.zeros((intervals, count))
        for t in range(intervals):
            equal[t, t * exits : (t + 1) * exits] = 1
        found = linprog(
            [0.0] * intervals * exits + price,
            A_ub=np.array(above).reshape(-1, count),
            b_ub=np.zeros(len(above)),
            A_eq=equal,
            b_eq=wanted,
            bounds=[(0, size) for _ in wanted for size in capacity] + [(0, None)] * exits,
        )
        if found.status == 0:
            best = min(best, found.fun)
    return best


@given(st.integers(0, 10**6))
@settings(deadline=None, max_examples=8)
def test_plans_cost_what_brute_force_finds(seed: int) -> None:
    rng = np.random.default_rng(seed)
    # The peaks are the only intervals worth going free: of 20 intervals one does for each exit.
    wanted = [*rng.choice([0.0, 1, 2, 3], 19), 4.0]
    price, capacity = [1.0, float(rng.choice([1, 2, 5]))], rng.choice([2.0, 3, 4], 2).tolist()
    found = plan(wanted, price, capacity, BUDGET)
    assert found.finished
    assert np.allclose(found.rate.sum(axis=1), wanted)
    assert (found.rate <= np.array(capacity) + 1e-9).all()
    assert found.cost == pytest.approx(float(np.dot(price, billed_rate(found.rate))))
    assert found.bound <= found.cost
    assert found.cost == pytest.approx(cheapest(wanted, price, capacity), abs=1e-6)


def test_one_interval_in_twenty_goes_free() -> None:
    found = plan([1.0] * 19 + [9.0], [1.0], [10.0], BUDGET)
    assert found.cost == pytest.approx(1.0)
    assert billed_rate(np.arange(20.0)[:, None]) == [18.0]


def test_too_small_exits_are_told() -> None:
    assert plan([3.0], [1.0], [2.0], BUDGET).cost == np.inf


def test_without_time_there_is_a_plan_all_the_same() -> None:
    found = plan([1.0, 2.0], [2.0, 1.0], [2.0, 1.0], Budget(clock=lambda: 0.0, seconds=0))
    assert not found.finished
    assert np.allclose(found.rate.sum(axis=1), [1, 2])
    assert found.bound <= found.cost


@pytest.mark.parametrize("wanted", [[], [-1.0], [np.nan], [np.inf]])
def test_bad_rates_are_refused(wanted: list[float]) -> None:
    with pytest.raises(SuanwangError):
        plan(wanted, [1.0], [1.0], BUDGET)
