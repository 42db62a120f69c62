"""Aims that are sums: what is not served costs, or is worth nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from suanwang.steering.answer import Budget
from suanwang.steering.fast.auction import Auction, is_sold
from suanwang.steering.fast.descent import Found, prices
from suanwang.steering.fast.exchange import Exchanged, exchange
from suanwang.steering.fast.finishing import apart, barred_by, fewest, filled
from suanwang.steering.fast.narrow import Narrow, by_endpoint, is_wide
from suanwang.steering.fast.opening import opening
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

NEARLY = 0.02, 0.4
"""Smoothness at which prices are good enough to start moving demands, as a share of what a unit is worth or costs; the
second where not all rows are looked at.
"""

ATTEMPTS = 4
"""How often, where not all rows are looked at, others are."""

TINY = 1e-3
"""Shares of a demand below this are given to its other rows."""


def sums(rows: Rows, budget: Budget, out_of_time: Callable[[], bool]) -> tuple[Floats, float, Floats, Floats]:
    """Rates of rows (N,), the bound, prices of links (L,) and endpoints (E,)."""
    rate = np.zeros(len(rows))
    classes = np.flatnonzero(np.bincount(rows.classes[rows.counted]))
    if not len(classes):
        return rate, _signed(rows, 0.0), np.zeros(len(rows.capacity)), np.zeros(len(rows.problem.endpoints.node))
    for number in classes:
        mine = (rows.classes == number) & rows.counted
        found = _solved(rows, budget, out_of_time, mine, rate)
        rate = found.rate
    if len(classes) > 1:
        # What all could get together, classes or not, no order of theirs can pass.
        found = _solved(rows, budget, out_of_time, rows.counted, np.zeros(len(rows)))
    return rate, _signed(rows, found.bound), found.link, found.end


def _solved(rows: Rows, budget: Budget, out_of_time: Callable[[], bool], mine: Bools, taken: Floats) -> Exchanged:
    """Rates of the demands `mine` beside those that are `taken`, the latter included."""
    ends = len(rows.problem.endpoints.node)
    if rows.allowance.any():
        parted, found, _ = _priced(rows, budget, out_of_time, mine, taken, 0.0)
        table = parted.table
        exact = table.exactly(_worth(rows, parted.row, parted.free()), found.link, found.end)
        bound = exact + float(table.capacity @ found.link) + float(table.room @ found.end)
        rate = filled(rows, apart(rows, _rates(rows, parted, mine), taken), taken, mine)
        # The price of a place without room says nothing of the endpoint's other place.
        wide = table.room > 1e-6 * np.minimum(rows.problem.endpoints.free[parted.endpoint], table.room.max(initial=0.0))
        end = by_endpoint(found._replace(end=found.end[wide]), parted.endpoint[wide], ends)
        return Exchanged(rate, found.link, end, bound)
    total = rows.problem.unserved_cost * float(rows.problem.demands.weight[mine] @ rows.problem.demands.rate[mine])

    def missed(value: float, bound: float) -> float:
        if rows.problem.aim is not Aim.TOTAL_FLOW:
            value, bound = total - bound, total - value
        return (bound - value) / max(abs(bound), abs(value), 1e-300)

    every = Narrow(rows, mine, _worth(rows, slice(None), None), budget.workers)
    wide = is_wide(rows)
    sold, unit, value = wide and is_sold(rows, mine), 0.0, 0.0
    answer = Exchanged(taken, np.zeros(len(rows.capacity)), np.zeros(ends), np.inf)
    if sold:
        unit = _unit(rows, every.worth, rows.demand, rows.first, rows.problem.demands.rate * mine)
        start = opening(every, taken, unit, budget, out_of_time)
        answer = start._replace(rate=start.rate + taken)
    keep = every.at(answer.link, answer.end)[0] if wide else mine[rows.demand]
    barred = barred_by(rows, taken)
    room = np.concatenate([rows.capacity, rows.problem.endpoints.free]) - np.concatenate(rows.loads(taken))
    room = np.maximum(room, 0.0)
    for attempt in range(ATTEMPTS):
        keep = (keep | (answer.rate > 0)) & ~barred
        some, numbers = rows.only(keep), np.flatnonzero(keep)
        if not (mine & some.counted).any():
            break
        narrow = Narrow(some, mine, every.worth[numbers], budget.workers)
        start = Exchanged((answer.rate - taken)[numbers], answer.link, answer.end, np.inf)
        if not wide or (not attempt and not sold):
            # With all rows at hand, a second attempt is one with prices as good as smoothing makes them.
            parted, found, unit = _priced(
                some, budget, out_of_time, mine, taken[numbers], 0.0 if attempt else NEARLY[wide]
            )
            rate = apart(some, _rates(some, parted, mine), taken[numbers])
            start = Exchanged(rate, found.link, by_endpoint(found, parted.endpoint, ends), np.inf)
        auction = Auction(narrow, taken[numbers]) if sold else None
        new = exchange(narrow, start, taken[numbers], unit, missed, budget.gap, out_of_time, auction)
        more, best = every.at(new.link, new.end)
        # The bound over all rows: those that were not looked at may be worth more.
        price = np.concatenate([new.link, new.end])
        bound = float(rows.problem.demands.rate @ best) + float(room[price > 0] @ price[price > 0])
        worth = float((new.rate - taken[numbers]) @ narrow.worth)
        if worth > value or not attempt:
            whole, value = np.zeros(len(rows)), worth
            whole[numbers] = new.rate
            answer = answer._replace(rate=whole)
        if bound < answer.bound:
            answer = new._replace(rate=answer.rate, bound=bound)
        if out_of_time() or missed(value, answer.bound) < budget.gap or (attempt and not wide):
            break
        keep = more if wide else keep
    return answer


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


def _unit(rows: Rows, worth: Floats, demand: Ints, first: Ints, rate: Floats) -> float:
    """What a unit of rate is worth, or costs, on average: at the best of each demand's rows, which are worth this, of
    these demands, and start at `first` (D + 1,); demands count by their rates (D,).
    """
    some = np.diff(first) > 0
    starts, weight = first[:-1][some], np.maximum(rate[some], 1e-300)
    mean = 0.0
    if rows.problem.aim is not Aim.TOTAL_FLOW:
        cost = rows.problem.demands.weight[demand] * rows.problem.unserved_cost - worth
        mean = float(np.average(np.minimum.reduceat(cost, starts), weights=weight))
    mean = mean or float(np.average(np.maximum.reduceat(worth, starts), weights=weight))
    return max(abs(mean), 1e-9)


def _priced(
    rows: Rows,
    budget: Budget,
    out_of_time: Callable[[], bool],
    mine: Bools,
    taken: Floats,
    least: float,
) -> tuple[Parted, Found, float]:
    """The table of the demands `mine` on what is not `taken`, prices for it, and what a unit of rate is worth or costs:
    smoothness goes down to what the gap asks for, but not below `least`, as a share of that.
    """
    parted = part(rows, mine, taken, budget.workers)
    value, rate = _worth(rows, parted.row, parted.free()), np.maximum(parted.table.rate, 1e-300)
    length = np.diff(rows.paths.first)[rows.path[parted.row]]
    shorter = SHORTER * float(value.max(initial=0.0)) * length / max(int(length.max(initial=1)), 1)
    costs = rows.problem.aim is not Aim.TOTAL_FLOW
    parted.table = replace(parted.table, value=value if costs else value - shorter)
    mean = _unit(rows, value, rows.demand[parted.row], parted.table.first, rate)
    last = max(FINE * budget.gap, least) * mean
    return parted, prices(parted.table, True, last, OVER, budget.seed, out_of_time), mean


def _rates(rows: Rows, parted: Parted, mine: Bools) -> Floats:
    table, demands = parted.table, rows.problem.demands
    share = np.where(table.share < TINY, 0.0, table.share)
    share /= table.of_rows(np.maximum(np.add.reduceat(share, table.first[:-1]), 1.0))
    rate = tally(parted.row, share * table.of_rows(table.rate), len(rows))
    if not demands.splittable[mine].all() or demands.most_paths[mine].any():
        rate = fewest(rows, rate)
    return rate
