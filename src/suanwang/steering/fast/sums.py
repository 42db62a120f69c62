"""Aims that are sums: what is not served costs, or is worth nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from suanwang.steering.answer import Budget
from suanwang.steering.fast.descent import Found, prices
from suanwang.steering.fast.finishing import apart, fewest, filled
from suanwang.steering.fast.parted import Parted, part
from suanwang.steering.paths import tally
from suanwang.steering.problem import Aim, Bools, Floats
from suanwang.steering.rows import Rows

FINE = 0.1
"""Smoothness at the end, as a share of the gap asked for and the mean worth of a unit of rate."""

OVER = 0.01
"""By what share prices may overload a link in the end; rates are scaled down by as much."""

SHORTER = 3e-3
"""What the longest path is worth less than one without links, as a share: of paths equally good, the short are taken.
"""

TINY = 1e-3
"""Shares of a demand below this are given to its other rows."""


def sums(rows: Rows, budget: Budget, out_of_time: Callable[[], bool]) -> tuple[Floats, float, Floats, Floats]:
    """Rates of rows (N,), the bound, prices of links (L,) and endpoints (E,)."""
    rate, nothing = np.zeros(len(rows)), np.zeros(len(rows))
    ends = rows.problem.endpoints
    classes = np.unique(rows.classes[rows.counted])
    if not len(classes):
        return rate, _signed(rows, 0.0), np.zeros(len(rows.capacity)), np.zeros(len(ends.node))
    for number in classes:
        mine = (rows.classes == number) & rows.counted
        parted, found = _priced(rows, budget, out_of_time, mine, rate)
        rate = filled(rows, apart(rows, _rates(rows, parted, mine), rate), rate, mine)
    if len(classes) > 1:
        # What all could get together, classes or not, no order of theirs can pass.
        parted, found = _priced(rows, budget, out_of_time, rows.counted, nothing)
    bound = parted.table.exactly(_worth(rows, parted), found.link, found.end)
    bound += float(parted.table.capacity @ found.link) + float(parted.table.room @ found.end)
    end = np.zeros(len(ends.node))
    np.maximum.at(end, parted.endpoint, found.end)
    return rate, _signed(rows, bound), found.link, end


def _signed(rows: Rows, bound: float) -> float:
    """The bound on the aim's value, from that on what serving is worth."""
    problem, demands = rows.problem, rows.problem.demands
    churn = problem.churn * float(rows.present.sum() + rows.gone.sum())
    if problem.aim is Aim.TOTAL_FLOW:
        return bound - churn
    return problem.unserved_cost * float(demands.weight @ demands.rate) - bound + churn


def _worth(rows: Rows, parted: Parted) -> Floats:
    """(N of the table,) what a unit of rate on each row is worth: serving it, less what it costs."""
    problem, demands, row = rows.problem, rows.problem.demands, parted.row
    weight = demands.weight[rows.demand[row]]
    value = weight * (1.0 if problem.aim is Aim.TOTAL_FLOW else problem.unserved_cost) - rows.cost[row]
    if problem.aim is Aim.MIN_COST:
        cost = problem.endpoints.cost[rows.endpoint[row]] * demands.work[rows.demand[row]]
        value = value - np.where(parted.free(), 0.0, cost)
    return np.asarray(value + problem.churn * (rows.present[row] > 0))


def _priced(
    rows: Rows, budget: Budget, out_of_time: Callable[[], bool], mine: Bools, taken: Floats
) -> tuple[Parted, Found]:
    """The table of the demands `mine` on what is not `taken`, and prices for it."""
    parted = part(rows, mine, taken, budget.workers)
    value, rate = _worth(rows, parted), np.maximum(parted.table.rate, 1e-300)
    length = np.diff(rows.paths.first)[rows.path[parted.row]]
    shorter = SHORTER * float(value.max(initial=0.0)) * length / max(int(length.max(initial=1)), 1)
    costs = rows.problem.aim is not Aim.TOTAL_FLOW
    parted.table = replace(parted.table, value=value if costs else value - shorter)
    first = parted.table.first[:-1]
    mean = float(np.average(np.maximum.reduceat(value, first), weights=rate))
    if costs:
        weight = rows.problem.demands.weight[rows.demand[parted.row]] * rows.problem.unserved_cost
        mean = -float(np.average(np.maximum.reduceat(value - weight, first), weights=rate)) or mean
    last = FINE * budget.gap * max(abs(mean), 1e-9)
    return parted, prices(parted.table, True, last, OVER, budget.seed, out_of_time)


def _rates(rows: Rows, parted: Parted, mine: Bools) -> Floats:
    table, demands = parted.table, rows.problem.demands
    share = np.where(table.share < TINY, 0.0, table.share)
    rate = tally(parted.row, share * table.of_rows(table.rate), len(rows))
    if not demands.splittable[mine].all() or demands.most_paths[mine].any():
        rate = fewest(rows, rate)
    return rate
