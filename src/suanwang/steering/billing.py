"""Exits billed by the 95th percentile: how to send a billing period's traffic so that the bill is least.

An exit's bill is its price times the load that all but the greatest 5 % of its intervals keep to: those go free. Which
they are is a choice of 0 or 1 for each interval and exit. Source: Singh et al., Cost-effective cloud edge traffic
engineering with Cascara, NSDI 2021, section 4.1 (the exact, offline program).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse

from suanwang.model.errors import SuanwangError
from suanwang.steering.answer import Budget
from suanwang.steering.exact.linear import Builder, Highs
from suanwang.steering.problem import BAD_PROBLEM, Floats

PERCENTILE = 0.95
MOST_CELLS = 1_000_000


@dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """`rate` (T, E): what each exit carries in each interval; `billed` (E,): its percentile; `cost`: the bill; `bound`:
    no plan can cost less. Infinite `cost`: the exits together are too small in some interval.
    """

    rate: Floats
    billed: Floats
    cost: float
    bound: float
    finished: bool


def free_intervals(intervals: int) -> int:
    """How many of so many intervals go free."""
    return int(np.floor(intervals * (1 - PERCENTILE) + 1e-9))


def billed_rate(rate: ArrayLike) -> Floats:
    """(E,) the greatest load of each exit once its free intervals are left out; `rate` is (T, E)."""
    given = np.sort(np.asarray(rate, float), axis=0)
    return np.asarray(given[len(given) - 1 - free_intervals(len(given))])


def plan(wanted: ArrayLike, price: ArrayLike, capacity: ArrayLike, budget: Budget) -> Plan:
    """The cheapest plan for `wanted` (T,) over exits with `price` (E,) per unit and `capacity` (E,).

    Raises BAD_PROBLEM for what is negative, no number, or more than 1 000 000 intervals times exits.
    """
    begun = budget.clock()
    rates, prices, sizes = (np.asarray(one, float) for one in (wanted, price, capacity))
    _check(rates, prices, sizes)
    intervals, exits = len(rates), len(prices)
    if (rates > sizes.sum()).any():
        none = np.zeros((intervals, exits))
        return Plan(rate=none, billed=np.zeros(exits), cost=np.inf, bound=np.inf, finished=True)
    unit = float(rates.max()) or 1.0
    # Column t * exits + e is what exit e carries in interval t.
    demand, size = rates / unit, np.minimum(sizes, unit) / unit
    cells = intervals * exits
    build = Builder(np.tile(size, intervals), np.repeat(np.arange(intervals), exits), demand)
    billed = build.add_columns(exits, prices, 0.0, size)
    free = build.add_columns(cells, 0.0, 0.0, 1.0, integer=True)
    every = np.arange(cells)
    per_interval = sparse.csr_matrix((np.ones(cells), every, np.arange(0, cells + 1, exits)), shape=(intervals, cells))
    build.add_rows(per_interval, demand, demand)
    exit_of = np.tile(np.arange(exits), intervals)
    build.add_rows(build.only(every), -np.inf, 0.0, (every, billed[exit_of], -1.0), (every, free, -size[exit_of]))
    build.add_rows(build.nothing(exits), -np.inf, free_intervals(intervals), (exit_of, free, 1.0))
    program = build.program()
    highs = Highs(gap=min(budget.gap, 1e-6))
    solution = highs.solve(program, begun + budget.seconds - budget.clock())
    rate = _by_price(rates, prices, sizes) if solution.x is None else _exactly(solution.x[:cells] * unit, rates, sizes)
    found = billed_rate(rate)
    cost = float(prices @ found)
    return Plan(
        rate=rate,
        billed=found,
        cost=cost,
        bound=min(max(solution.bound * unit, 0.0), cost),
        finished=solution.optimal,
    )


def _by_price(rates: Floats, prices: Floats, sizes: Floats) -> Floats:
    """The cheapest exits filled first."""
    order = np.argsort(prices, kind="stable")
    below = np.concatenate(([0.0], np.cumsum(sizes[order])))[:-1]
    rate = np.zeros((len(rates), len(prices)))
    rate[:, order] = np.clip(rates[:, None] - below, 0.0, sizes[order])
    return rate


def _exactly(flat: Floats, rates: Floats, sizes: Floats) -> Floats:
    """What the solver found, true to rates and sizes: what tolerance took away goes where there is room."""
    rate = np.clip(flat.reshape(len(rates), -1), 0.0, sizes)
    for exit_ in range(rate.shape[1]):
        missing = rates - rate.sum(axis=1)
        rate[:, exit_] = np.clip(rate[:, exit_] + missing, 0.0, sizes[exit_])
    return rate


def _check(rates: Floats, prices: Floats, sizes: Floats) -> None:
    fine = rates.ndim == prices.ndim == sizes.ndim == 1 and len(prices) == len(sizes) and len(rates) and len(prices)
    if not fine:
        raise SuanwangError(BAD_PROBLEM, "a bill needs a rate for each interval, a price and a capacity for each exit")
    if len(rates) * len(prices) > MOST_CELLS:
        raise SuanwangError(BAD_PROBLEM, f"more than {MOST_CELLS} intervals times exits", "take longer intervals")
    for values, what in ((rates, "rate"), (prices, "price"), (sizes, "capacity")):
        if not (values >= 0).all() or (what != "capacity" and not np.isfinite(values).all()):
            raise SuanwangError(BAD_PROBLEM, f"a {what} is negative or no number")
