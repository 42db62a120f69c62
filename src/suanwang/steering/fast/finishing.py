"""From shares to rates that keep all limits: scaled down to what there is room for, filled up where some is left."""

from __future__ import annotations

import numpy as np

from suanwang.steering.answer import ratio
from suanwang.steering.fast import kernels
from suanwang.steering.paths import tally
from suanwang.steering.problem import Aim, Bools, Floats
from suanwang.steering.rows import Rows


def scale(rows: Rows, rate: Floats, taken: Floats) -> float:
    """By what `rate` may be multiplied on what `taken` leaves."""
    links, ends = rows.loads(rate)
    used_links, used_ends = rows.loads(taken)
    full = ratio(links, np.maximum(rows.capacity - used_links, 0.0)).max(initial=0.0)
    full = max(full, ratio(ends, np.maximum(rows.problem.endpoints.free - used_ends, 0.0)).max(initial=0.0))
    return 1.0 / float(full) if full > 0 else np.inf


def fewest(rows: Rows, rate: Floats) -> Floats:
    """Only as many rows as each demand may have, those that carry most."""
    demands = rows.problem.demands
    most = np.where(demands.splittable, demands.most_paths, 1)
    order = np.lexsort((-rate, rows.demand))
    rank = np.empty(len(rows), np.int64)
    rank[order] = np.arange(len(rows)) - rows.first[rows.demand[order]]
    return np.where((most[rows.demand] > 0) & (rank >= most[rows.demand]), 0.0, rate)


def fewest_alike(rows: Rows, rate: Floats, mine: Bools, taken: Floats) -> Floats:
    """As few rows as demands may have, at the same rates of demands."""
    demands = rows.problem.demands
    before = tally(rows.demand, rate, len(demands))
    if not demands.splittable[mine].all() or demands.most_paths[mine].any():
        rate = fewest(rows, rate)
    rate = apart(rows, rate, taken)
    after = tally(rows.demand, rate, len(demands))
    return rate * np.divide(before, after, out=np.zeros(len(demands)), where=after > 0)[rows.demand]


def apart(rows: Rows, rate: Floats, taken: Floats) -> Floats:
    """Of rows that must not be used together, those that carry more; none that may not go with what is `taken`."""
    left, right = rows.conflicts
    for one, other in zip(left.tolist(), right.tolist(), strict=True):
        if taken[one] > 0:
            rate[other] = 0.0
        elif taken[other] > 0:
            rate[one] = 0.0
        elif rate[one] > 0 and rate[other] > 0:
            rate[other if rate[one] >= rate[other] else one] = 0.0
    return rate


def barred_by(rows: Rows, taken: Floats) -> Bools:
    """(N,) rows that may not go with what is `taken`."""
    left, right = rows.conflicts
    barred = np.zeros(len(rows), bool)
    barred[right[taken[left] > 0]] = barred[left[taken[right] > 0]] = True
    return barred


def filled(rows: Rows, rate: Floats, taken: Floats, mine: Bools) -> Floats:
    """Rates beside those that are `taken`: scaled down to what there is room for, then up where some is left."""
    demands, free = rows.problem.demands, rows.problem.endpoints.free
    rate = rows.feasible(rate, taken) + taken
    links, ends = rows.loads(rate)
    missing = demands.rate - tally(rows.demand, rate, len(demands))
    most = np.where(demands.splittable, demands.most_paths, 1)
    link_room, end_room = np.maximum(rows.capacity - links, 0.0), np.maximum(free - ends, 0.0)
    wish = _wish(rows, rate)

    def fill(some: Bools, again: bool) -> None:
        kernels.fill(
            np.flatnonzero(some), rows.first, rows.path, rows.endpoint, missing, demands.work, wish, most,
            rows.paths.first, rows.paths.links, link_room, end_room, rate, again,
        )  # fmt: skip

    # What smoothness left on rows that cost more goes to better ones; what is then free goes to who lacks it.
    if rows.problem.aim in (Aim.MIN_COST, Aim.MIN_LATENCY) and not rows.allowance.any():
        fill(mine, True)
    room = (end_room[rows.endpoint] > 0) | (demands.work[rows.demand] == 0)
    open_ = rows.demand[room & (rows.paths.least(link_room)[rows.path] > 0)]
    fill(mine & (np.bincount(open_, minlength=len(demands)) > 0), False)
    return rate


def _wish(rows: Rows, rate: Floats) -> Floats:
    """(N,) how gladly each row is filled up: not at all where that serves nothing or brings together what must be
    apart.
    """
    problem = rows.problem
    weight = problem.demands.weight[rows.demand]
    if problem.aim in (Aim.TOTAL_FLOW, Aim.MAX_MIN):
        wish = weight - 1e-6 * weight * np.diff(rows.paths.first)[rows.path] / (1 + len(rows.capacity))
    else:
        paid = problem.endpoints.cost[rows.endpoint] * problem.demands.work[rows.demand]
        wish = problem.unserved_cost * weight - rows.cost - paid
    left, right = rows.conflicts
    for one in (left, right):
        wish[one[rate[one] <= 0]] = -1.0
    return np.asarray(wish)
