"""What is kept between repairs: all rows that may ever carry something, and loads."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import Any

import numpy as np

from suanwang.model.errors import SuanwangError
from suanwang.steering.answer import Allocation, Prices
from suanwang.steering.online import upkeep
from suanwang.steering.online.kernels import END, LEVEL, MOST, OWNER, PATH, RATE, WANTED, WORK, WORTH
from suanwang.steering.paths import Candidates, tally
from suanwang.steering.problem import BAD_PROBLEM, MOST_DEMANDS, Aim, Bools, Floats, Ints, Problem
from suanwang.steering.rows import MOST_ROWS, Rows, build, main_sums
from suanwang.steering.value import WHOLE

MOST_CLASSES = 64
HEADROOM = 1024


class State:
    """The rows of a problem over N rows, D demands, L links and E endpoints; resources are links, then endpoints.

    `room` (L + E,): capacities and what is free at endpoints, 0 where failed; `load`, `y` (classes, L + E): loads and
    prices of each class; `rows`, `flow`, `own`, `need`: rows and demands, see `kernels`. Rows stand here over failed
    links and of demands of rate 0 too, since these may come back. Arrays of rows and demands are longer than `count`
    and `demands` say, so that more may come.
    """

    def __init__(
        self, problem: Problem, candidates: Candidates, present: Allocation | None, prices: Prices | None
    ) -> None:
        self.problem, self.candidates = problem, candidates
        demands, ends, network = problem.demands, problem.endpoints, problem.network
        self.links = len(network.source)
        anything = replace(
            problem,
            demands=replace(demands, rate=np.where(demands.rate > 0, demands.rate, 1.0)),
            endpoints=replace(ends, capacity=np.full(len(ends.node), np.inf)),
            network=replace(network, capacity=np.where(network.capacity > 0, network.capacity, 1.0)),
        )
        rows = build(anything, candidates)
        self.paths, self.levels = rows.paths, np.unique(demands.priority) if problem.by_priority else np.zeros(1, int)
        if len(self.levels) > MOST_CLASSES:
            raise SuanwangError(BAD_PROBLEM, f"{len(self.levels)} priorities", f"repair takes up to {MOST_CLASSES}")
        self.failed = np.zeros(self.links, bool)
        self.free = ends.free.copy()
        self._costs()
        self._lay_out(rows)
        lost = demands.rate > 0
        if present is not None:
            lost[:] = False
            of = present.paths
            upkeep.match(
                self.starts, self.through, self.rows, self.flow, self.own, rows.paths.main, of.first, of.main, of.links,
                present.demand, present.endpoint + self.links, present.path, present.rate, lost,
            )  # fmt: skip
            self._keep_most(lost)
            if problem.churn and problem.aim not in WHOLE:
                self.flow[:, WORTH] += problem.churn * (self.flow[:, RATE] > 0)
        self.lost = np.flatnonzero(lost)
        self.load = np.zeros((len(self.total), len(self.room)))
        self.y = np.zeros(self.load.shape)
        if prices is not None:
            self.y[-1] = np.where(np.isfinite(self.room), np.concatenate([prices.link, prices.endpoint]), 0.0)
        self.add_up()

    def _keep_most(self, lost: Bools) -> None:
        """Of demands on more rows than they may have, those that carry most."""
        most, owner, rate = self.own[:, MOST], self.rows[:, OWNER], self.flow[:, RATE]
        some = np.flatnonzero((rate > 0) & (most[owner] > 0))
        some = some[np.lexsort((-rate[some], owner[some]))]
        rank = np.arange(len(some)) - np.searchsorted(owner[some], owner[some])
        extra = some[rank >= most[owner[some]]]
        self.flow[extra, RATE] = 0.0
        lost[owner[extra]] = True

    def _costs(self) -> None:
        problem, ends = self.problem, self.problem.endpoints
        self.path_cost, self.end_cost = np.zeros(len(self.paths)), np.zeros(len(ends.node))
        self.extra, self.extra_from = np.zeros(len(self.room)), np.zeros(len(self.room))
        if problem.aim is Aim.MIN_LATENCY:
            self.path_cost, self.end_cost = main_sums(self.paths, problem.network.latency_us), ends.delay_us
        elif problem.aim is Aim.MIN_COST:
            self.path_cost = self.paths.sums(problem.network.cost)
            self.extra[self.links :] = ends.cost
            self.extra_from[self.links :] = np.maximum(ends.committed - ends.load, 0.0)
        mean = float(self.path_cost.mean() + self.end_cost.mean()) if len(self.paths) and len(self.end_cost) else 0.0
        self.mean_cost = mean if mean > 0 else np.inf
        self.slowest = np.array([one.latency_us for one in problem.demands.limits])
        self.slow = np.zeros(0)
        if np.isfinite(self.slowest).any():
            main = main_sums(self.paths, problem.network.latency_us)
            self.slow = np.maximum(main, self.paths.sums(problem.network.latency_us) - main)

    def _lay_out(self, rows: Rows) -> None:
        demands, paths = self.problem.demands, rows.paths
        self.count, self.demands = len(rows), len(demands)
        self._asked, self._weight = demands.rate.copy(), demands.weight.copy()
        self.source, self.choice, self.limit = demands.source.copy(), demands.choice.copy(), demands.limit.copy()
        self.starts, self.through = paths.first, paths.links
        self.over_first, self.over = crossing(paths.first, paths.links, self.links)
        self.rows = np.empty((self.count, 4), np.int32)
        self.rows[:, PATH], self.rows[:, END] = rows.path, rows.endpoint + self.links
        self.rows[:, OWNER] = rows.demand
        self.head = np.full(len(paths), -1, np.int32)
        upkeep.chain(0, self.count, self.rows, self.head)
        worth = np.zeros(self.count)
        if self.problem.aim not in WHOLE:
            worth = demands.weight[rows.demand] * self.unit - self.path_cost[rows.path] - self.end_cost[rows.endpoint]
        self.flow = np.stack([np.zeros(self.count), worth], axis=1)
        most = np.where(demands.splittable, demands.most_paths, 1)
        level = (
            np.searchsorted(self.levels, demands.priority) if self.problem.by_priority else np.zeros(len(demands), int)
        )
        classes = max(len(self.levels), 1)
        self.total = tally(level, demands.rate, classes)
        worth_of = tally(level, demands.rate * demands.weight, classes)
        self.mean_weight = np.divide(worth_of, self.total, out=np.ones(classes), where=self.total > 0)
        self.own = np.stack([rows.first[:-1], rows.first[1:], most, level], axis=1).astype(np.int32)
        self.need = np.stack([demands.rate, demands.work], axis=1)
        left, right = rows.conflicts
        both = np.concatenate([left, right]), np.concatenate([right, left])
        order = np.argsort(both[0], kind="stable")
        self.bar_first = np.searchsorted(both[0][order], np.arange(self.count + 1))
        self.bars = both[1][order]
        self.keys = (paths.source << 32) | paths.target
        self.offset = np.cumsum([0, *(len(one) for one in self.candidates.sets)])
        self.unused: defaultdict[tuple[int, int, int], list[int]] = defaultdict(list)

    @property
    def asked(self) -> Floats:
        """(D,) the rate that each demand asks for."""
        return self._asked[: self.demands]

    @property
    def weight(self) -> Floats:
        """(D,) what a unit of each demand counts."""
        return self._weight[: self.demands]

    @property
    def unit(self) -> float:
        """What a unit of rate of weight 1 is worth, costs left out."""
        return self.problem.unserved_cost if self.problem.aim in (Aim.MIN_COST, Aim.MIN_LATENCY) else 1.0

    @property
    def choices(self) -> tuple[int, int]:
        """How many sets of endpoints and how many limits there are."""
        return len(self.problem.demands.choice_first) - 1, len(self.problem.demands.limits)

    def level_of(self, priority: Any) -> Ints:
        """The class of each of these priorities."""
        if not self.problem.by_priority:
            return np.zeros(len(priority), np.int64)
        level = np.minimum(np.searchsorted(self.levels, priority), len(self.levels) - 1)
        if (self.levels[level] != priority).any():
            raise SuanwangError(BAD_PROBLEM, "a priority that no demand has yet", "take one of the problem's")
        return np.asarray(level, np.int64)

    @property
    def room(self) -> Floats:
        """(L + E,) what the resources hold."""
        links = np.where(self.failed, 0.0, self.problem.network.capacity)
        return np.concatenate([links, self.free])

    @property
    def bars_of(self) -> tuple[Any, Any]:
        """Which rows must not be used together, for the kernels."""
        return self.bar_first, self.bars

    def base(self, market: Floats) -> tuple[Any, ...]:
        """What the kernels that move demands work on."""
        return self.starts, self.through, self.rows, self.flow, market, self.own, self.need

    def add_up(self) -> None:
        """Loads from the rows, from nothing."""
        self.load[:] = 0.0
        upkeep.add_up(self.starts, self.through, self.rows, self.flow, self.own, self.need, self.count, self.load)

    def served(self) -> Floats:
        """(D,) the rate that each demand has."""
        return tally(self.rows[: self.count, OWNER], self.flow[: self.count, RATE], self.demands)

    def counted(self) -> Bools:
        """(D,) the demands that have a row that can carry something."""
        found = np.zeros(self.demands, bool)
        upkeep.alive(self.starts, self.through, self.rows, self.own, self.need, self.room, found)
        return found & (self.asked > 0)

    def allocation(self, scale: Floats) -> Allocation:
        """The rows that carry something, those of each class by this factor."""
        flow, rows = self.flow[: self.count, RATE], self.rows[: self.count]
        asked = self.asked[rows[:, OWNER]]
        used = np.flatnonzero((flow > 1e-12 * asked) & (asked > 0))
        demand = rows[used, OWNER].astype(np.int64)
        seen = np.zeros(len(self.paths), bool)
        seen[rows[used, PATH]] = True
        number = np.cumsum(seen) - 1
        return Allocation(
            paths=self.paths.taken(np.flatnonzero(seen)),
            demand=demand,
            endpoint=rows[used, END].astype(np.int64) - self.links,
            path=number[rows[used, PATH]],
            rate=flow[used] * scale[self.own[demand, LEVEL]],
        )

    # What is new

    def admit(
        self,
        source: Ints,
        choice: Ints,
        limit: Ints,
        rate: Floats,
        weight: Floats,
        work: Floats,
        level: Ints,
        most: Ints,
    ) -> Ints:
        """Enter new demands, with all their rows; their numbers. Numbers of withdrawn ones are used again."""
        number = np.full(len(source), -1)
        for at, key in enumerate(zip(source.tolist(), choice.tolist(), limit.tolist(), strict=True)):
            if self.unused.get(key):
                number[at] = self.unused[key].pop()
        old, new = np.flatnonzero(number >= 0), np.flatnonzero(number < 0)
        again = number[old]
        for one, now in zip(again.tolist(), (weight[old] - self.weight[again]).tolist(), strict=True):
            if now and self.problem.aim not in WHOLE:
                self.flow[self.own[one, 0] : self.own[one, 1], WORTH] += now * self.unit
        number[new] = self.demands + np.arange(len(new))
        given = self.problem.demands
        asked = (
            number[new], source[new], choice[new], limit[new], weight[new] * (self.problem.aim not in WHOLE), self.keys,
            self.offset, given.choice_first, given.choice_of, self.problem.endpoints.node,
            self.problem.endpoints.delay_us, self.slow, self.slowest, self.path_cost, self.end_cost, self.unit,
            self.links,
        )  # fmt: skip
        more = upkeep.new_rows(*asked, self.count, self.rows, self.flow, self.own, False)
        self._make_room(self.count + more, self.demands + len(new))
        upkeep.new_rows(*asked, self.count, self.rows, self.flow, self.own, True)
        upkeep.chain(self.count, self.count + more, self.rows, self.head)
        self.count, self.demands = self.count + more, self.demands + len(new)
        self.source[number], self.choice[number], self.limit[number] = source, choice, limit
        self.total += tally(level, rate, len(self.total))
        self.asked[number], self.weight[number] = rate, weight
        self.need[number, WANTED], self.need[number, WORK] = rate, work
        self.own[number, MOST], self.own[number, LEVEL] = most, level
        return number

    def _make_room(self, count: int, demands: int) -> None:
        if count > MOST_ROWS or demands > MOST_DEMANDS:
            raise SuanwangError(BAD_PROBLEM, f"{demands} demands with {count} rows are too many", "withdraw some first")
        if count > len(self.rows):
            size = count + count // 8 + HEADROOM
            self.rows, self.flow = longer(self.rows, size), longer(self.flow, size)
            self.bar_first = np.concatenate([self.bar_first, np.full(size + 1 - len(self.bar_first), len(self.bars))])
        if demands > len(self.own):
            size = demands + demands // 8 + HEADROOM
            for name in ("own", "need", "_asked", "_weight", "source", "choice", "limit"):
                setattr(self, name, longer(getattr(self, name), size))


def longer(values: Any, size: int) -> Any:
    """The same array, with zeros up to this many entries."""
    out = np.zeros((size, *values.shape[1:]), values.dtype)
    out[: len(values)] = values
    return out


def crossing(first: Ints, links: Any, count: int) -> tuple[Ints, Any]:
    """For each link the paths over it: `of[starts[l]:starts[l + 1]]`."""
    starts = np.zeros(count + 1, np.int64)
    np.cumsum(np.bincount(links, minlength=count), out=starts[1:])
    of = np.empty(len(links), np.int32)
    upkeep.turn_over(first, links, starts[:-1].copy(), of)
    return starts, of
