"""Aims about the worst: the least that a demand gets, or the fullest link."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from suanwang.steering.answer import Budget
from suanwang.steering.fast.descent import prices
from suanwang.steering.fast.finishing import fewest_alike, filled, scale
from suanwang.steering.fast.parted import part
from suanwang.steering.fast.sums import TINY
from suanwang.steering.paths import tally
from suanwang.steering.problem import Aim, Bools, Floats
from suanwang.steering.rows import Rows

FINE = 0.5
"""Smoothness at the end, as a share of the gap asked for and the mean price of a path."""

ROUNDS = 8
"""How often what can still grow is looked for, where the least is to be great."""


def worst(rows: Rows, budget: Budget, out_of_time: Callable[[], bool]) -> tuple[Floats, float, Floats, Floats]:
    """Rates of rows (N,), the bound, prices of links (L,) and endpoints (E,)."""
    keep = _useful(rows)
    if keep.all():
        return _worst(rows, budget, out_of_time)
    rate = np.zeros(len(rows))
    rate[keep], bound, link, end = _worst(rows.only(keep), budget, out_of_time)
    return rate, bound, link, end


def _useful(rows: Rows) -> Bools:
    """(N,) rows that need nothing of what is limited, of demands that have one; all others' rows."""
    ends, work = rows.problem.endpoints, rows.problem.demands.work
    nothing = (np.diff(rows.paths.first) == 0)[rows.path]
    nothing &= np.isinf(ends.free)[rows.endpoint] | (work[rows.demand] == 0)
    return np.asarray(nothing | (np.bincount(rows.demand[nothing], minlength=len(work)) == 0)[rows.demand])


def _worst(rows: Rows, budget: Budget, out_of_time: Callable[[], bool]) -> tuple[Floats, float, Floats, Floats]:
    aim, demands = rows.problem.aim, rows.problem.demands
    rate = np.zeros(len(rows))
    link, end = np.zeros(len(rows.capacity)), np.zeros(len(rows.problem.endpoints.node))
    counted = rows.counted if aim is not Aim.MAX_MIN else rows.counted & (demands.weight > 0)
    bound = 0.0
    for number in np.unique(rows.classes[counted]):
        mine = counted & (rows.classes == number)
        share, level, link, end = _alike(rows, budget, out_of_time, mine, rate)
        if aim is Aim.MIN_MLU:
            rate, bound = rate + share, level
            continue
        most, bound = scale(rows, share, rate), 1.0 / level if level > 0 else np.inf
        if aim is Aim.MAX_MIN:
            all_served = 1.0 / float(demands.weight[mine].max())
            bound, most = min(bound, all_served), min(most, all_served)
        rate = rate + share * (min(most, 1.0) if aim is Aim.CONCURRENT else most)
        if aim is Aim.MAX_MIN:
            rate = _grown(rows, budget, out_of_time, rate, mine)
    if aim is not Aim.MIN_MLU:
        rate = rows.feasible(rate)
    if int(rows.classes.max(initial=0)):
        bound = 0.0 if aim is Aim.MIN_MLU else np.inf
    return rate, bound, link, end


def _alike(
    rows: Rows, budget: Budget, out_of_time: Callable[[], bool], mine: Bools, taken: Floats
) -> tuple[Floats, float, Floats, Floats]:
    """Rates that serve the demands `mine` as weight and rate say, spread so that the greatest utilisation is least;
    a bound on that; prices of links and endpoints.
    """
    growing, free = rows.problem.aim is Aim.MIN_MLU, rows.problem.endpoints.free
    parted = part(rows, mine, taken * (not growing), budget.workers)
    table = parted.table
    links, ends = rows.loads(taken * growing)
    ends = np.where(free > 0, ends, 0.0)
    base = np.concatenate([np.where(rows.capacity > 0, links, 0.0), ends[parted.endpoint]])
    found = prices(table, False, FINE * budget.gap, budget.gap / 4, budget.seed, out_of_time, base)
    share = np.where(table.share < TINY, 0.0, table.share)
    share /= table.of_rows(np.maximum(np.add.reduceat(share, table.first[:-1]), 1e-300))
    rate = tally(parted.row, share * table.of_rows(table.rate), len(rows))
    rate = fewest_alike(rows, rate, mine, taken)
    worth = float(table.capacity @ found.link) + float(table.room @ found.end)
    least = -table.exactly(np.zeros(len(parted.row)), found.link, found.end, slack=False)
    level = (least + float(base @ np.concatenate([found.link, found.end]))) / worth
    end = np.zeros(len(ends))
    end[parted.endpoint] = found.end
    return rate, level, found.link, end


def _grown(rows: Rows, budget: Budget, out_of_time: Callable[[], bool], rate: Floats, mine: Bools) -> Floats:
    """Rates beyond the least level: those that can still grow grow alike, round after round; then all that fits."""
    demands, free = rows.problem.demands, rows.problem.endpoints.free
    work = demands.work[rows.demand]
    free_to_split = demands.splittable & (demands.most_paths == 0)
    bound_to_others = np.zeros(len(demands), bool)
    for one in rows.conflicts:
        bound_to_others[rows.demand[one]] = True
    for _ in range(ROUNDS):
        links, ends = rows.loads(rate)
        room = rows.paths.least(rows.capacity - links * (1 + 1e-9))[rows.path]
        room = np.minimum(room, np.where(work > 0, (free - ends)[rows.endpoint], np.inf))
        missing = demands.rate - tally(rows.demand, rate, len(demands))
        open_ = np.zeros(len(demands), bool)
        open_[rows.demand[room > 1e-6 * demands.rate[rows.demand]]] = True
        able = mine & ~bound_to_others & free_to_split & open_ & (missing > 1e-6 * demands.rate)
        if not able.any() or out_of_time():
            break
        share, _, _, _ = _alike(rows, budget, out_of_time, able, rate)
        wanted = tally(rows.demand, share, len(demands))
        most = np.min(missing[able] / np.maximum(wanted[able], 1e-300))
        rate = rate + share * min(scale(rows, share, rate), float(most))
    return filled(rows, np.zeros(len(rows)), rate, mine)
