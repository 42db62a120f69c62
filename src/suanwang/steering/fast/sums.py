"""Aims that are sums: what is not served costs, or is worth nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from suanwang.steering.answer import Budget
from suanwang.steering.fast.descent import FIRST, Found, prices
from suanwang.steering.fast.finishing import apart, fewest, filled
from suanwang.steering.fast.narrow import Narrow, by_endpoint, is_wide
from suanwang.steering.fast.parted import Parted, part
from suanwang.steering.paths import tally
from suanwang.steering.problem import Aim, Bools, Floats, Ints
from suanwang.steering.rows import Rows

FINE = 0.1
"""Smoothness at the end, as a share of the gap asked for and the mean worth of a unit of rate."""

OVER = 0.01
"""By what share prices may overload a link in the end; rates are scaled down by as much."""

SHORTER = 3e-3
"""What the longest path is worth less than one without links, as a share: of paths equally good, the short are taken.
"""

NARROWING = (FIRST, 0.02), (0.02, 0.002), (0.002, 0.0)
"""Where not all rows are looked at: smoothness at the beginning and the end of each round, after which others are."""

TINY = 1e-3
"""Shares of a demand below this are given to its other rows."""


def sums(rows: Rows, budget: Budget, out_of_time: Callable[[], bool]) -> tuple[Floats, float, Floats, Floats]:
    """Rates of rows (N,), the bound, prices of links (L,) and endpoints (E,)."""
    rate = np.zeros(len(rows))
    classes = np.unique(rows.classes[rows.counted])
    if not len(classes):
        return rate, _signed(rows, 0.0), np.zeros(len(rows.capacity)), np.zeros(len(rows.problem.endpoints.node))
    for number in classes:
        mine = (rows.classes == number) & rows.counted
        chosen = _chosen(rows, budget, out_of_time, mine, rate)
        some, taken = chosen.rows, rate[chosen.numbers]
        rate[chosen.numbers] = filled(some, apart(some, _rates(chosen, mine), taken), taken, mine)
    if len(classes) > 1:
        # What all could get together, classes or not, no order of theirs can pass.
        chosen = _chosen(rows, budget, out_of_time, rows.counted, np.zeros(len(rows)))
    return rate, _signed(rows, chosen.bound), chosen.found.link, chosen.end


class _Chosen(NamedTuple):
    """The rows that were looked at and their numbers; their table, prices, those of all endpoints; a bound on what all
    is worth.
    """

    rows: Rows
    numbers: Ints
    parted: Parted
    found: Found
    end: Floats
    bound: float


def _chosen(rows: Rows, budget: Budget, out_of_time: Callable[[], bool], mine: Bools, taken: Floats) -> _Chosen:
    """Prices for the demands `mine` on what is not `taken`."""
    ends = len(rows.problem.endpoints.node)
    if not is_wide(rows):
        parted, found = _priced(rows, budget, out_of_time, mine, taken)
        table = parted.table
        exact = table.exactly(_worth(rows, parted.row, parted.free()), found.link, found.end)
        bound = exact + float(table.capacity @ found.link) + float(table.room @ found.end)
        return _Chosen(rows, np.arange(len(rows)), parted, found, by_endpoint(found, parted.endpoint, ends), bound)
    narrow = Narrow(rows, mine, _worth(rows, slice(None), None), budget.workers)
    chosen = None
    keep, _ = narrow.at(np.zeros(len(rows.capacity)), np.zeros(ends))
    for first, least in NARROWING:
        keep |= taken > 0
        some, index = rows.only(keep), np.flatnonzero(keep)
        start = None if chosen is None else chosen.found
        parted, found = _priced(some, budget, out_of_time, mine, taken[index], start, first, least)
        end = by_endpoint(found, parted.endpoint, ends)
        more, best = narrow.at(found.link, end)
        bound = float(rows.problem.demands.rate @ best)
        bound += float(parted.table.capacity @ found.link) + float(parted.table.room @ found.end)
        chosen = _Chosen(some, index, parted, found, end, bound)
        if out_of_time():
            break
        used = np.zeros(len(rows), bool)
        used[index[parted.row[parted.table.share > TINY]]] = True
        keep = more | used
    assert chosen is not None
    return chosen


def _signed(rows: Rows, bound: float) -> float:
    """The bound on the aim's value, from that on what serving is worth."""
    problem, demands = rows.problem, rows.problem.demands
    churn = problem.churn * float(rows.present.sum() + rows.gone.sum())
    if problem.aim is Aim.TOTAL_FLOW:
        return bound - churn
    return problem.unserved_cost * float(demands.weight @ demands.rate) - bound + churn


def _worth(rows: Rows, row: Ints | slice, free: Bools | None) -> Floats:
    """(N of these rows,) what a unit of rate on each is worth: serving it, less what it costs; `free`: where endpoints
    are free of charge.
    """
    problem, demands = rows.problem, rows.problem.demands
    weight = demands.weight[rows.demand[row]]
    value = weight * (1.0 if problem.aim is Aim.TOTAL_FLOW else problem.unserved_cost) - rows.cost[row]
    if problem.aim is Aim.MIN_COST:
        cost = problem.endpoints.cost[rows.endpoint[row]] * demands.work[rows.demand[row]]
        value = value - (cost if free is None else np.where(free, 0.0, cost))
    return np.asarray(value + problem.churn * (rows.present[row] > 0))


def _priced(
    rows: Rows,
    budget: Budget,
    out_of_time: Callable[[], bool],
    mine: Bools,
    taken: Floats,
    start: Found | None = None,
    first: float = FIRST,
    least: float = 0.0,
) -> tuple[Parted, Found]:
    """The table of the demands `mine` on what is not `taken`, and prices for it: from the smoothness `first` down to
    what the gap asks for, but not below `least`, both as shares of the greatest worth.
    """
    parted = part(rows, mine, taken, budget.workers)
    value, rate = _worth(rows, parted.row, parted.free()), np.maximum(parted.table.rate, 1e-300)
    length = np.diff(rows.paths.first)[rows.path[parted.row]]
    shorter = SHORTER * float(value.max(initial=0.0)) * length / max(int(length.max(initial=1)), 1)
    costs = rows.problem.aim is not Aim.TOTAL_FLOW
    parted.table = replace(parted.table, value=value if costs else value - shorter)
    starts = parted.table.first[:-1]
    mean = float(np.average(np.maximum.reduceat(value, starts), weights=rate))
    if costs:
        weight = rows.problem.demands.weight[rows.demand[parted.row]] * rows.problem.unserved_cost
        mean = -float(np.average(np.maximum.reduceat(value - weight, starts), weights=rate)) or mean
    last = max(FINE * budget.gap * max(abs(mean), 1e-9), least * float(value.max(initial=0.0)))
    return parted, prices(parted.table, True, last, OVER, budget.seed, out_of_time, None, start, first)


def _rates(chosen: _Chosen, mine: Bools) -> Floats:
    rows, parted = chosen.rows, chosen.parted
    table, demands = parted.table, rows.problem.demands
    share = np.where(table.share < TINY, 0.0, table.share)
    rate = tally(parted.row, share * table.of_rows(table.rate), len(rows))
    if not demands.splittable[mine].all() or demands.most_paths[mine].any():
        rate = fewest(rows, rate)
    return rate
