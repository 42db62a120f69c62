"""Constrained shortest path first: demands one after the other, each on the first rows that have room.

The way routers with RSVP-TE place tunnels (RFC 2702, RFC 3209); it knows no bound. Where the worst demand or link
counts, each demand goes where the links are least full, and rates are then scaled to fit.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from scipy import sparse

from suanwang.model.errors import SuanwangError
from suanwang.steering.answer import Allocation, Answer, Budget
from suanwang.steering.paths import Candidates, Links, tally
from suanwang.steering.problem import BAD_PROBLEM, Aim, Bools, Floats, Ints, Problem
from suanwang.steering.rows import Rows, build, factors
from suanwang.steering.value import WHOLE, value_of

PARTS = 4
"""Into how many parts a demand is cut that goes where links are least full."""


def solve(
    problem: Problem,
    candidates: Candidates | None,
    budget: Budget,
    *,
    failed: Bools | None = None,
    present: Allocation | None = None,
) -> Answer:
    """A feasible answer in one pass over the demands: first class first, then the greatest rate."""
    begun = budget.clock()
    if candidates is None:
        raise SuanwangError(BAD_PROBLEM, "the greedy solver needs candidate paths", "find candidates first")
    rows = build(problem, candidates, failed, present)
    built = budget.clock()
    allocation = rows.allocation(place(rows))
    placed = budget.clock()
    return Answer(
        method="greedy",
        problem=problem,
        allocation=allocation,
        value=value_of(problem, allocation, failed, present, rows.counted),
        bound=np.inf,
        bound_over="candidate paths",
        failed=np.zeros(len(rows.capacity), bool) if failed is None else failed,
        seconds={"build": built - begun, "solve": placed - built},
    )


def place(rows: Rows) -> Floats:
    """(N,) rates that keep all limits (those of capacity excepted for `min-mlu`)."""
    rate = np.zeros(len(rows))
    if not len(rows):
        return rate
    problem = rows.problem
    table = _Table(rows)
    room, free = rows.capacity.copy(), problem.endpoints.free.copy()
    if problem.aim not in WHOLE:
        table.fill(table.order(np.ones(len(rows.counted), bool)), room, free, rate)
        return rate
    for number in np.unique(rows.classes[rows.counted]):
        mine = rows.counted & (rows.classes == number)
        order = table.order(mine)
        if problem.aim is Aim.MIN_MLU:
            room, free = rows.capacity, problem.endpoints.free
            table.spread(order, room, free, rate)
            continue
        before = rate.copy()
        table.spread(order, room, free, rate)
        rate = before + _fitted(rows, rate - before, room, free, mine)
        room = np.maximum(rows.capacity - rows.paths.loads(tally(rows.path, rate, len(rows.paths)), len(room)), 0.0)
        work = rate * problem.demands.work[rows.demand]
        free = np.maximum(problem.endpoints.free - tally(rows.endpoint, work, len(free)), 0.0)
        if problem.aim is Aim.MAX_MIN:
            table.fill(order, room, free, rate)
    return rate


def _fitted(rows: Rows, rate: Floats, room: Floats, free: Floats, mine: Bools) -> Floats:
    """These rates scaled down into the room: all by one factor for `concurrent`, each by its own for `max-min`."""
    demands = rows.problem.demands
    link = factors(rows.paths.loads(tally(rows.path, rate, len(rows.paths)), len(room)), room)
    work = demands.work[rows.demand]
    end = factors(tally(rows.endpoint, rate * work, len(free)), free)
    own = np.minimum(rows.paths.least(link)[rows.path], 1.0)
    own = np.minimum(own, np.where(work > 0, end[rows.endpoint], 1.0))
    if rows.problem.aim is Aim.CONCURRENT:
        return rate * float(own[rate > 0].min(initial=1.0))
    return rate * own


class _Table:
    """The rows as the kernels want them: each demand's best first."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        problem, demands = rows.problem, rows.problem.demands
        self.ranked = np.arange(len(rows))
        self.worth = np.ones(len(rows), bool)
        priced = problem.aim in (Aim.MIN_COST, Aim.MIN_LATENCY)
        if priced or not demands.single or rows.present.any():
            # Else the candidates are in order already.
            cost = rows.cost if priced else rows.delay
            if problem.aim is Aim.MIN_COST:
                cost = cost + problem.endpoints.cost[rows.endpoint] * demands.work[rows.demand]
            hops = np.diff(rows.paths.first)[rows.path]
            self.ranked = np.lexsort((hops, cost, rows.present <= 0, rows.demand))
            if priced:
                self.worth = cost < problem.unserved_cost * demands.weight[rows.demand]
        self.limit = np.where(demands.splittable, demands.most_paths, 1)
        left, right = rows.conflicts
        both = np.concatenate([left, right]), np.concatenate([right, left])
        bars = sparse.csr_matrix((np.ones(len(both[0])), both), shape=(len(rows), len(rows)))
        self.bars = bars.indptr.astype(np.int64), bars.indices.astype(np.int64)
        self.barred = np.zeros(len(rows), bool)

    def order(self, mine: Bools) -> Ints:
        """The demands `mine`, the first class and then the greatest rate first."""
        which = np.flatnonzero(mine)
        return which[np.lexsort((-self.rows.problem.demands.rate[which], self.rows.classes[which]))]

    def fill(self, order: Ints, room: Floats, free: Floats, rate: Floats) -> None:
        """More on the first rows with room, within the rates; `room`, `free` and `rate` are kept up to date."""
        demands = self.rows.problem.demands
        left = demands.rate - tally(self.rows.demand, rate, len(demands))
        _fill(order, *self._arrays(), self.worth, *self.bars, self.barred, left, self.limit, room, free, rate)

    def spread(self, order: Ints, room: Floats, free: Floats, rate: Floats) -> None:
        """All of the rates, each where what is fullest is least full, more than there is room if need be."""
        demands = self.rows.problem.demands
        link_load, end_load = np.zeros(len(room)), np.zeros(len(free))
        if self.rows.problem.aim is Aim.MIN_MLU:
            work = rate * demands.work[self.rows.demand]
            end_load = tally(self.rows.endpoint, work, len(free))
            link_load = self.rows.paths.loads(tally(self.rows.path, rate, len(self.rows.paths)), len(room))
        limits = (demands.rate, self.limit)
        _spread(order, *self._arrays(), *self.bars, self.barred, *limits, room, free, link_load, end_load, rate)

    def _arrays(self) -> tuple[Ints, Ints, Ints, Ints, Ints, Floats, Links]:
        rows = self.rows
        paths = rows.paths
        return rows.first, self.ranked, rows.path, paths.first, rows.endpoint, rows.problem.demands.work, paths.links


@njit(cache=True)
def _room(row, path, starts, links, work, endpoint, room, free):  # type: ignore[no-untyped-def]
    """How much more fits on a row."""
    found = np.inf
    for at in range(starts[path[row]], starts[path[row] + 1]):
        found = min(found, room[links[at]])
    if work > 0:
        found = min(found, free[endpoint[row]] / work)
    return found


@njit(cache=True)
def _take(row, amount, path, starts, links, work, endpoint, room, free, rate, bar_first, bars, barred):  # type: ignore[no-untyped-def]
    """Put this much on a row."""
    rate[row] += amount
    for at in range(starts[path[row]], starts[path[row] + 1]):
        room[links[at]] = max(room[links[at]] - amount, 0.0)
    if work > 0:
        free[endpoint[row]] = max(free[endpoint[row]] - amount * work, 0.0)
    for at in range(bar_first[row], bar_first[row + 1]):
        barred[bars[at]] = True


@njit(cache=True)
def _fill(  # type: ignore[no-untyped-def]
    order,
    first,
    ranked,
    path,
    starts,
    endpoint,
    works,
    links,
    worth,
    bar_first,
    bars,
    barred,
    left,
    limit,
    room,
    free,
    rate,
):
    for demand in order:
        work = works[demand]
        need = left[demand]
        least = 1e-9 * need
        used = 0
        for at in range(first[demand], first[demand + 1]):
            row = ranked[at]
            if rate[row] > 0:
                used += 1
                amount = min(need, _room(row, path, starts, links, work, endpoint, room, free))
                if amount > least:
                    _take(row, amount, path, starts, links, work, endpoint, room, free, rate, bar_first, bars, barred)
                    need -= amount
        while need > least and (limit[demand] == 0 or used < limit[demand]):
            last = limit[demand] > 0 and used == limit[demand] - 1
            best, most = -1, least
            for at in range(first[demand], first[demand + 1]):
                row = ranked[at]
                if rate[row] > 0 or barred[row] or not worth[row]:
                    continue
                fits = _room(row, path, starts, links, work, endpoint, room, free)
                if fits > most:
                    best, most = row, min(fits, need)
                    if not last or fits >= need:
                        break
            if best < 0:
                break
            amount = min(need, most)
            _take(best, amount, path, starts, links, work, endpoint, room, free, rate, bar_first, bars, barred)
            need -= amount
            used += 1


@njit(cache=True)
def _spread(  # type: ignore[no-untyped-def]
    order,
    first,
    ranked,
    path,
    starts,
    endpoint,
    works,
    links,
    bar_first,
    bars,
    barred,
    rates,
    limit,
    room,
    free,
    link_load,
    end_load,
    rate,
):
    for demand in order:
        work = works[demand]
        parts = PARTS if limit[demand] == 0 else min(PARTS, limit[demand])
        amount = rates[demand] / parts
        for _ in range(parts):
            best, fullest, hops = -1, np.inf, 0
            for at in range(first[demand], first[demand + 1]):
                row = ranked[at]
                if barred[row]:
                    continue
                full = 0.0
                for hop in range(starts[path[row]], starts[path[row] + 1]):
                    link = links[hop]
                    load = link_load[link] + amount
                    full = max(full, load / room[link] if room[link] > 0 else np.inf)
                if work > 0:
                    load = end_load[endpoint[row]] + amount * work
                    full = max(full, load / free[endpoint[row]] if free[endpoint[row]] > 0 else np.inf)
                count = starts[path[row] + 1] - starts[path[row]]
                if best < 0 or full < fullest or (full == fullest and count < hops):
                    best, fullest, hops = row, full, count
            if best < 0:
                break
            rate[best] += amount
            for hop in range(starts[path[best]], starts[path[best] + 1]):
                link_load[links[hop]] += amount
            if work > 0:
                end_load[endpoint[best]] += amount * work
            for at in range(bar_first[best], bar_first[best + 1]):
                barred[bars[at]] = True
