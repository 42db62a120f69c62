"""The fast solver: rows to a table, prices, rates that follow them, and a bound that can be checked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from threadpoolctl import threadpool_limits

from suanwang.steering.answer import Allocation, Answer, Budget, Prices, ratio
from suanwang.steering.fast import kernels
from suanwang.steering.fast.descent import Found, prices
from suanwang.steering.fast.table import Table, parts_by_source
from suanwang.steering.paths import Candidates, tally
from suanwang.steering.problem import Aim, Bools, Floats, Ints, Problem
from suanwang.steering.rows import Rows, build
from suanwang.steering.value import WHOLE, values_of

FINE = 0.1
"""Smoothness at the end, as a share of the gap asked for and the mean worth of a unit of rate."""

OVER = 0.005
"""By what share prices may overload a link in the end; rates are scaled down by as much."""

FINE_ALIKE = 0.1
"""The same where all are served, as a share of the mean price of a path."""

SHORTER = 3e-3
"""What the longest path is worth less than one without links, as a share: of paths equally good, the short are taken.
"""

TINY = 1e-3
"""Shares of a demand below this are given to its other rows."""

ROUNDS = 8
"""How often what can still grow is looked for, where the least is to be great."""

RESERVE = 0.75
"""The share of the time after which prices are taken as they are."""


def solve(
    problem: Problem,
    candidates: Candidates | None,
    budget: Budget,
    *,
    failed: Bools | None = None,
    present: Allocation | None = None,
) -> Answer:
    """An answer near the best, with its bound. Method and sources: docs/rooms/steering.md."""
    begun = budget.clock()
    if candidates is None:
        from suanwang.steering.candidates import Kind
        from suanwang.steering.candidates import build as find

        found = find(
            problem.network, problem.demands, problem.endpoints, Kind.AUTO, budget.most_paths, failed=failed,
            workers=budget.workers,
        )  # fmt: skip
        candidates = found.candidates
    ready = budget.clock()
    rows = build(problem, candidates, failed, present)
    deadline = begun + RESERVE * budget.seconds
    work = _Work(rows, budget, lambda: budget.clock() > deadline)
    # Systems are small: BLAS threads would only wait busily for each other, on the cores that our own need.
    with threadpool_limits(1, user_api="blas"):
        rate, bound, link, end = work.whole() if problem.aim in WHOLE else work.sums()
    allocation = rows.allocation(rate)
    value = values_of(problem, allocation, failed, present, rows.counted)[-1]
    ended = budget.clock()
    return Answer(
        method="fast",
        problem=problem,
        allocation=allocation,
        value=value,
        bound=bound,
        bound_over="any path" if candidates.complete else "candidate paths",
        prices=Prices(link=link, endpoint=end),
        failed=np.zeros(len(rows.capacity), bool) if failed is None else failed,
        finished=budget.clock() <= deadline,
        seconds={"paths": ready - begun, "solve": ended - ready},
    )


@dataclass
class _Parted:
    """A table, and how it hangs together with rows: `row` (N,) its row, `demand` (D,) its demand."""

    table: Table
    row: Ints
    demand: Ints
    endpoint: Ints
    """(R,) the endpoint of each limited place; one may have two, a free and a paid one."""


class _Work:
    def __init__(self, rows: Rows, budget: Budget, out_of_time: Callable[[], bool]) -> None:
        self.rows, self.budget, self.out_of_time = rows, budget, out_of_time
        self.problem = rows.problem
        self.demands = rows.problem.demands
        self.ends = rows.problem.endpoints
        self.work = self.demands.work[rows.demand]

    # Sums: what is not served costs, or is worth nothing

    def sums(self) -> tuple[Floats, float, Floats, Floats]:
        """Rates of rows (N,), the bound, prices of links and endpoints."""
        classes = self.rows.classes
        rate = np.zeros(len(self.rows))
        last = int(classes.max(initial=0))
        for number in range(last + 1):
            mine = (classes == number) & self.rows.counted
            if not mine.any():
                continue
            parted, found = self._priced(mine, rate)
            rate = self._filled(self._apart(self._rates(parted, mine), rate), rate, mine)
        if not self.rows.counted.any():
            return rate, self._signed(0.0), np.zeros(len(self.rows.capacity)), np.zeros(len(self.ends.node))
        if last:
            # What all could get together, classes or not, no order of theirs can pass.
            parted, found = self._priced(self.rows.counted, np.zeros(len(self.rows)))
        exact = parted.table.exactly(self._worth(parted), found.link, found.end)
        bound = exact + float(parted.table.capacity @ found.link) + float(parted.table.room @ found.end)
        end = np.zeros(len(self.ends.node))
        np.maximum.at(end, parted.endpoint, found.end)
        return rate, self._signed(bound), found.link, end

    def _signed(self, bound: float) -> float:
        """The bound on the aim's value, from that on what serving is worth."""
        problem, demands = self.problem, self.demands
        churn = problem.churn * float(self.rows.present.sum() + self.rows.gone.sum())
        if problem.aim is Aim.TOTAL_FLOW:
            return bound - churn
        return problem.unserved_cost * float(demands.weight @ demands.rate) - bound + churn

    def _worth(self, parted: _Parted) -> Floats:
        """(N of the table,) what a unit of rate on each row is worth: serving it, less what it costs."""
        problem, rows, row = self.problem, self.rows, parted.row
        weight = self.demands.weight[rows.demand[row]]
        value = weight * (1.0 if problem.aim is Aim.TOTAL_FLOW else problem.unserved_cost) - rows.cost[row]
        if problem.aim is Aim.MIN_COST:
            cost = self.ends.cost[rows.endpoint[row]] * self.work[row]
            free = parted.table.end >= 0
            if self._allowance.any():
                free &= self._is_free(parted)
                cost = np.where(free, 0.0, cost)
            value = value - cost
        return np.asarray(value + problem.churn * (rows.present[row] > 0))

    @property
    def _allowance(self) -> Floats:
        """(E,) load at each endpoint that costs nothing though the endpoint has a price."""
        ends = self.ends
        if self.problem.aim is not Aim.MIN_COST:
            return np.zeros(len(ends.node))
        return np.where(ends.cost > 0, np.minimum(np.maximum(ends.committed - ends.load, 0.0), ends.free), 0.0)

    def _is_free(self, parted: _Parted) -> Bools:
        marks = np.zeros(len(parted.endpoint) + 1, bool)
        _, index = np.unique(parted.endpoint, return_index=True)
        twice = np.bincount(parted.endpoint, minlength=len(self.ends.node))[parted.endpoint] > 1
        first = np.zeros(len(parted.endpoint), bool)
        first[index] = True
        marks[:-1] = first & twice
        return np.asarray(marks[parted.table.end])

    def _priced(self, mine: Bools, taken: Floats) -> tuple[_Parted, Found]:
        parted = self.table(mine, taken, self._allowance)
        value = self._worth(parted)
        length = np.diff(self.rows.paths.first)[self.rows.path[parted.row]]
        shorter = SHORTER * float(value.max(initial=0.0)) * length / max(int(length.max(initial=1)), 1)
        costs = self.problem.aim is not Aim.TOTAL_FLOW
        parted.table = replace(parted.table, value=value if costs else value - shorter)
        mean = float(np.average(self._best(parted, value), weights=np.maximum(parted.table.rate, 1e-300)))
        if costs:
            weight = self.demands.weight[self.rows.demand[parted.row]] * self.problem.unserved_cost
            paid = self._best(parted, value - weight)
            mean = float(np.average(-paid, weights=np.maximum(parted.table.rate, 1e-300))) or mean
        last = FINE * self.budget.gap * max(abs(mean), 1e-9)
        return parted, prices(parted.table, True, last, OVER, self.budget.seed, self.out_of_time)

    def _best(self, parted: _Parted, value: Floats) -> Floats:
        return np.maximum.reduceat(value, parted.table.first[:-1])

    # The worst: all are served alike

    def whole(self) -> tuple[Floats, float, Floats, Floats]:
        """As `sums`, for aims about the worst-served demand or the fullest link."""
        rows, aim = self.rows, self.problem.aim
        rate = np.zeros(len(rows))
        link, end = np.zeros(len(rows.capacity)), np.zeros(len(self.ends.node))
        counted = rows.counted if aim is not Aim.MAX_MIN else rows.counted & (self.demands.weight > 0)
        bound = 0.0
        for number in np.unique(rows.classes[counted]):
            mine = counted & (rows.classes == number)
            share, level, link, end = self._alike(mine, rate)
            if aim is Aim.MIN_MLU:
                rate, bound = rate + share, level
                continue
            scale, bound = self._scale(share, rate), 1.0 / level if level > 0 else np.inf
            if aim is Aim.MAX_MIN:
                most = 1.0 / float(self.demands.weight[mine].max())
                bound, scale = min(bound, most), min(scale, most)
            rate = rate + share * min(scale, 1.0 if aim is Aim.CONCURRENT else scale)
            if aim is Aim.MAX_MIN:
                rate = self._grown(rate, mine)
        if aim is not Aim.MIN_MLU:
            self._shrink(rate, np.zeros(len(rows)))
        if int(rows.classes.max(initial=0)):
            bound = 0.0 if aim is Aim.MIN_MLU else np.inf
        return rate, bound, link, end

    def _alike(self, mine: Bools, taken: Floats) -> tuple[Floats, float, Floats, Floats]:
        """Rates that serve the demands `mine` as weight and rate say, spread so that the greatest utilisation is least;
        a bound on that; prices of links and endpoints.
        """
        rows, problem = self.rows, self.problem
        growing = problem.aim is Aim.MIN_MLU
        parted = self.table(mine, taken * (not growing), np.zeros(len(self.ends.node)))
        table = parted.table
        links, ends = self._loads(taken) if growing else (np.zeros(len(rows.capacity)), np.zeros(len(self.ends.node)))
        ends = np.where(self.ends.free > 0, ends, 0.0)
        base = np.concatenate([np.where(rows.capacity > 0, links, 0.0), ends[parted.endpoint]])
        found = prices(
            table, False, FINE_ALIKE * self.budget.gap, self.budget.gap / 4, self.budget.seed, self.out_of_time, base
        )
        share = np.where(table.share < TINY, 0.0, table.share)
        share /= table.of_rows(np.maximum(np.add.reduceat(share, table.first[:-1]), 1e-300))
        rate = tally(parted.row, share * table.of_rows(table.rate), len(rows))
        rate = self._fewest_alike(rate, mine, taken)
        worth = float(table.capacity @ found.link) + float(table.room @ found.end)
        least = -table.exactly(np.zeros(len(parted.row)), found.link, found.end, slack=False)
        level = (least + float(base @ np.concatenate([found.link, found.end]))) / worth
        end = np.zeros(len(self.ends.node))
        end[parted.endpoint] = found.end
        return rate, level, found.link, end

    def _fewest_alike(self, rate: Floats, mine: Bools, taken: Floats) -> Floats:
        """As few rows as demands may have, at the same rates of demands."""
        demands, rows = self.demands, self.rows
        before = tally(rows.demand, rate, len(demands))
        if not demands.splittable[mine].all() or demands.most_paths[mine].any():
            rate = self._fewest(rate)
        rate = self._apart(rate, taken)
        after = tally(rows.demand, rate, len(demands))
        return rate * np.divide(before, after, out=np.zeros(len(demands)), where=after > 0)[rows.demand]

    def _scale(self, rate: Floats, taken: Floats) -> float:
        """By what `rate` may be multiplied on what `taken` leaves."""
        links, ends = self._loads(rate)
        used_links, used_ends = self._loads(taken)
        full = ratio(links, np.maximum(self.rows.capacity - used_links, 0.0)).max(initial=0.0)
        full = max(full, ratio(ends, np.maximum(self.ends.free - used_ends, 0.0)).max(initial=0.0))
        return 1.0 / float(full) if full > 0 else np.inf

    def _grown(self, rate: Floats, mine: Bools) -> Floats:
        """Rates beyond the least level: those that can still grow grow alike, round after round; then all that fits."""
        rows, demands = self.rows, self.demands
        bound_to_others = np.zeros(len(demands), bool)
        for one in rows.conflicts:
            bound_to_others[rows.demand[one]] = True
        for _ in range(ROUNDS):
            links, ends = self._loads(rate)
            room = rows.paths.least(rows.capacity - links * (1 + 1e-9))[rows.path]
            room = np.minimum(room, np.where(self.work > 0, (self.ends.free - ends)[rows.endpoint], np.inf))
            missing = demands.rate - tally(rows.demand, rate, len(demands))
            open_ = np.zeros(len(demands), bool)
            open_[rows.demand[room > 1e-6 * demands.rate[rows.demand]]] = True
            able = mine & ~bound_to_others & open_ & (missing > 1e-6 * demands.rate)
            if not able.any() or self.out_of_time():
                break
            share, _, _, _ = self._alike(able, rate)
            wanted = tally(rows.demand, share, len(demands))
            most = np.min(missing[able] / np.maximum(wanted[able], 1e-300))
            rate = rate + share * min(self._scale(share, rate), float(most))
        if demands.splittable[mine].all() and not demands.most_paths[mine].any():
            return self._filled(np.zeros(len(rows)), rate, mine)
        return rate

    # Tables

    def table(self, mine: Bools, taken: Floats, allowance: Floats) -> _Parted:
        """The table of the demands `mine` on what rows at rates `taken` leave."""
        rows, demands = self.rows, self.demands
        used_links, used_ends = self._loads(taken)
        total = float(demands.rate[mine].sum()) + 1.0
        room = self.ends.free - used_ends
        limited = np.isfinite(room)
        order = np.flatnonzero(mine)
        source = demands.source[order]
        if (np.diff(source) < 0).any():
            order = order[np.argsort(source, kind="stable")]
            source = demands.source[order]
        sizes = np.diff(rows.first)[order]
        first = np.concatenate(([0], np.cumsum(sizes)))
        row = np.repeat(rows.first[order] - first[:-1], sizes) + np.arange(first[-1])
        place = np.full(len(room), -1)
        split = np.flatnonzero(allowance > 0)
        places = np.flatnonzero(limited | (allowance > 0))
        place[places] = np.arange(len(places))
        end = place[rows.endpoint[row]]
        rooms = np.where(limited, np.maximum(room, 0.0), np.inf)[places]
        if len(split):
            # An endpoint of which some load is free is two: rows to it stand twice.
            twice = allowance[rows.endpoint[row]] > 0
            again = np.full(len(room), -1)
            again[split] = len(places) + np.arange(len(split))
            count = 1 + twice.astype(np.int64)
            wide = np.concatenate(([0], np.cumsum(count)))
            paid = np.zeros(wide[-1], bool)
            paid[wide[1:][twice] - 1] = True
            row = np.repeat(row, count)
            end = np.where(paid, again[rows.endpoint[row]], np.repeat(end, count))
            first = wide[first]
            rest = rooms[place[split]] - allowance[split]
            rooms[place[split]] = allowance[split]
            rooms = np.concatenate([rooms, rest])
            places = np.concatenate([places, split])
        work = demands.work[order]
        capacity = np.maximum(rows.capacity - used_links, 0.0)
        top = 10.0 * total * max(1.0, float(work.max(initial=1.0)))
        # What has no room at all carries no row; any number will do for it.
        least = 1e-9 * total
        capacity = np.where(rows.capacity > 0, np.clip(capacity, least, top), top)
        rooms = np.where(rooms > 0, np.minimum(rooms, top), np.where(self.ends.free[places] > 0, least, top))
        most = np.add.reduceat(np.minimum(rows.paths.least(capacity)[rows.path[row]], top), first[:-1])
        rate = demands.rate[order] * (demands.weight[order] if self.problem.aim is Aim.MAX_MIN else 1.0)
        table = Table(
            first=first,
            path=rows.path[row],
            end=end,
            value=np.zeros(len(row)),
            rate=rate if self.problem.aim in WHOLE else np.minimum(rate, most),
            work=work,
            path_first=rows.paths.first,
            links=rows.paths.links,
            capacity=capacity,
            room=rooms,
            parts=parts_by_source(source, first),
            workers=self.budget.workers,
        )
        return _Parted(table, row, order, places)

    def _loads(self, rate: Floats) -> tuple[Floats, Floats]:
        rows = self.rows
        if not rate.any():
            return np.zeros(len(rows.capacity)), np.zeros(len(self.ends.node))
        flow = tally(rows.path, rate, len(rows.paths))
        return rows.paths.loads(flow, len(rows.capacity)), tally(rows.endpoint, rate * self.work, len(self.ends.node))

    # From shares to rates that keep all limits

    def _rates(self, parted: _Parted, mine: Bools) -> Floats:
        table = parted.table
        share = np.where(table.share < TINY, 0.0, table.share)
        rate = tally(parted.row, share * table.of_rows(table.rate), len(self.rows))
        if not self.demands.splittable[mine].all() or self.demands.most_paths[mine].any():
            rate = self._fewest(rate)
        return rate

    def _fewest(self, rate: Floats) -> Floats:
        """Only as many rows as each demand may have, those that carry most."""
        rows, demands = self.rows, self.demands
        most = np.where(demands.splittable, demands.most_paths, 1)
        order = np.lexsort((-rate, rows.demand))
        rank = np.empty(len(rows), np.int64)
        rank[order] = np.arange(len(rows)) - rows.first[rows.demand[order]]
        return np.where((most[rows.demand] > 0) & (rank >= most[rows.demand]), 0.0, rate)

    def _apart(self, rate: Floats, taken: Floats) -> Floats:
        """Of rows that must not be used together, those that carry more; none that may not go with what is `taken`."""
        left, right = self.rows.conflicts
        for one, other in zip(left.tolist(), right.tolist(), strict=True):
            if taken[one] > 0:
                rate[other] = 0.0
            elif taken[other] > 0:
                rate[one] = 0.0
            elif rate[one] > 0 and rate[other] > 0:
                rate[other if rate[one] >= rate[other] else one] = 0.0
        return rate

    def _filled(self, rate: Floats, taken: Floats, mine: Bools) -> Floats:
        """Rates beside those that are `taken`: scaled down to what there is room for, then up where some is left."""
        rows, demands = self.rows, self.demands
        self._shrink(rate, taken)
        rate += taken
        links, ends = self._loads(rate)
        missing = demands.rate - tally(rows.demand, rate, len(demands))
        most = np.where(demands.splittable, demands.most_paths, 1)
        link_room, end_room = np.maximum(rows.capacity - links, 0.0), np.maximum(self.ends.free - ends, 0.0)
        wish, order = self._wish(rate), np.flatnonzero(mine)
        # What smoothness left on rows that cost more goes to better ones; what is then free goes to who lacks it.
        costs = self.problem.aim in (Aim.MIN_COST, Aim.MIN_LATENCY) and not self._allowance.any()
        for again in (costs, False):
            kernels.fill(
                order, rows.first, rows.path, rows.endpoint, missing, demands.work, wish, most, rows.paths.first,
                rows.paths.links, link_room, end_room, rate, again,
            )  # fmt: skip
        return rate

    def _shrink(self, rate: Floats, taken: Floats) -> None:
        """Scale rows down to what their demands, links and endpoints have room for beside what is `taken`."""
        rows, demands = self.rows, self.demands
        served, before = tally(rows.demand, rate, len(demands)), tally(rows.demand, taken, len(demands))
        rate *= _factor(served, demands.rate - before)[rows.demand]
        links, ends = self._loads(rate)
        used_links, used_ends = self._loads(taken)
        link, end = _factor(links, rows.capacity - used_links), _factor(ends, self.ends.free - used_ends)
        if (link < 1).any() or (end < 1).any():
            kernels.shrink(
                0, len(demands), rows.first, rows.path, rows.endpoint, rows.paths.first, rows.paths.links, link, end,
                rate,
            )  # fmt: skip

    def _wish(self, rate: Floats) -> Floats:
        """(N,) how gladly each row is filled up: not at all where that serves nothing or brings together what must be
        apart.
        """
        problem, rows = self.problem, self.rows
        weight = self.demands.weight[rows.demand]
        if problem.aim in (Aim.TOTAL_FLOW, Aim.MAX_MIN):
            wish = weight - 1e-6 * weight * np.diff(rows.paths.first)[rows.path] / (1 + len(rows.capacity))
        else:
            wish = problem.unserved_cost * weight - rows.cost - self.ends.cost[rows.endpoint] * self.work
        left, right = rows.conflicts
        for one in (left, right):
            wish[one[rate[one] <= 0]] = -1.0
        return np.asarray(wish)


def _factor(load: Floats, room: Floats) -> Floats:
    """By what to multiply loads so that they keep within their room: 1 or less."""
    room = np.maximum(room, 0.0)
    return np.divide(room, load, out=np.ones(len(load)), where=load > room)
