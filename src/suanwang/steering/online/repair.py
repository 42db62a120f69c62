"""Repair after one change: demands that it touches, and then those of links whose prices moved, choose anew in turn.

After a change its demands answer to the prices of the last solve. Where prices move, the demands of those links answer
to that, the greatest change first, and so on until nothing moves that counts or `effort` demands have been visited:
coordinate descent on an augmented Lagrangian whose multipliers are the prices (see `kernels`). What then overfills a
link is taken off again, and what has room is filled. Classes go one after the other, so that none loses to a later one.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor

import numpy as np

from suanwang.steering.answer import ratio
from suanwang.steering.online import filling, kernels, upkeep
from suanwang.steering.online.kernels import (
    EXTRA,
    FROM,
    LEVEL,
    LOAD,
    OWNER,
    PRICE,
    RATE,
    ROOM,
    STIFF,
    WANTED,
    Y,
)
from suanwang.steering.online.level import WIDE, Level
from suanwang.steering.online.sides import BLOCK, CROWD, on_two_sides
from suanwang.steering.online.state import State, longer
from suanwang.steering.problem import Aim, Floats, Ints
from suanwang.steering.value import WHOLE

WORK = 5_000_000
"""How many links of paths one repair looks at, about, beyond those of the demands that the change touches."""

WORK_ALIKE = 16_000_000
"""The same where all must be served: fewer demands count there, and these come again and again."""

TIGHT = 0.2
"""By what share a link is overfull when its price has risen by the worth of a unit."""

LEAST = 0.01
"""What a move must gain, and by what a price must move to be answered to, as a share of the worth of a unit."""

TUNINGS = 5
"""How often multipliers are tuned in one repair."""

FULL = 0.999
"""From which utilisation on a resource counts as full."""

SLACK = 1e-3
"""By what share something may be overfull before they are."""

AT_ONCE = 4
"""Of how many links the demands answer in one round."""

LEVELS = 16
"""In how many steps fairness fills up."""


class Repair:
    """Repairs of a state. `scale` (classes,): by what the rates of a class are multiplied, see `Aim.CONCURRENT`, where
    rows are kept as if all were served whole; `finished`: whether the last one came to its end, not to that of its
    `effort` or time.
    """

    def __init__(
        self, state: State, effort: int | None, out_of_time: Callable[[], bool], workers: Executor | None
    ) -> None:
        self.state, self.out_of_time, self.workers = state, out_of_time, workers
        self.aim = state.problem.aim
        self.alike = self.aim in (Aim.MIN_MLU, Aim.CONCURRENT)
        links = len(state.through) / max(state.demands, 1)
        self.effort = int((WORK_ALIKE if self.alike else WORK) / max(links, 1.0)) if effort is None else effort
        self.left = self.effort
        self.mark = np.zeros(len(state.own), np.int64)
        self.stamp = 0
        self.scale = np.ones(len(state.load))
        self.finished = True
        if self.aim is Aim.CONCURRENT:
            self._stretch()

    def run(self, seeds: Ints, changed: Ints, share: float = 1.0) -> None:
        """Bring everything in order: `seeds`, demands that must choose anew, and resources that `changed`."""
        state = self.state
        self.finished = True
        self.left = int(share * self.effort)
        if len(self.mark) < len(state.own):
            self.mark = longer(self.mark, len(state.own))
        lower = np.zeros(len(state.extra))
        for level in range(len(state.load)):
            mine = seeds[state.own[seeds, LEVEL] == level]
            self._repair_class(level, mine, changed, lower)
            if self.aim is Aim.CONCURRENT:
                self._rescale(level, lower)
            lower += state.load[level] * self.scale[level]

    def _rescale(self, level: int, lower: Floats) -> None:
        """By what all of a class is multiplied to keep within what lower ones leave."""
        load, room = self.state.load[level], np.maximum(self.state.room - lower, 0.0)
        full = float(ratio(load, room).max(initial=0.0))
        self.scale[level] = 1.0 if full <= 1 else (1.0 - 1e-12) / full

    def place(self, level: int, which: Ints) -> None:
        """Put new demands of one class where they are worth most, one after the other."""
        state = self.state
        lower = (state.load[:level] * self.scale[:level, None]).sum(axis=0)
        market = self.market(level, lower)
        self._stiffen(market, level)
        kernels.price_all(market)
        filling.place(*state.base(market), *state.bars_of, which, -np.inf if self.alike else 0.0)
        state.load[level] = np.maximum(market[LOAD] - (lower if self.aim is Aim.MIN_MLU else 0.0), 0.0)
        if self.aim is Aim.CONCURRENT:
            self._rescale(level, lower)

    def _stiffen(self, market: Floats, number: int) -> tuple[Level | None, float]:
        """How fast prices rise; the level of those that are all served; what counts little."""
        state = self.state
        if self.alike:
            level = Level(market, market[ROOM].copy())
            return level, level.unit(float(state.total[number]))
        worth = state.unit * float(state.mean_weight[number])
        some = (market[ROOM] < WIDE) & (market[ROOM] > 0)
        market[STIFF, some] = worth / (TIGHT * market[ROOM, some])
        unit = min(worth, state.mean_cost)
        # What is full has a price, so that it is seen when room comes free there.
        full = some & (market[LOAD] > FULL * market[ROOM])
        market[Y, full] = np.maximum(market[Y, full], 2 * LEAST * unit)
        return None, unit

    def market(self, level: int, lower: Floats | float = 0.0) -> Floats:
        """The resources as one class sees them, see `kernels`."""
        state = self.state
        room = np.minimum(state.room, WIDE)
        market = np.zeros((7, len(room)))
        market[LOAD], market[Y] = state.load[level], state.y[level]
        if self.aim is Aim.MIN_MLU:
            market[LOAD] += lower
            market[ROOM] = room
        else:
            market[ROOM] = np.where(room < WIDE, np.maximum(room - lower, 0.0), WIDE)
        market[FROM] = np.maximum(state.extra_from - lower, 0.0)
        market[EXTRA] = state.extra
        market[Y, room >= WIDE] = 0.0
        return market

    def _repair_class(self, level: int, seeds: Ints, changed: Ints, lower: Floats) -> None:
        state = self.state
        market = self.market(level, lower)
        capacity = market[ROOM].copy()
        theta, unit = self._stiffen(market, level)
        kernels.price_all(market)
        excess = np.maximum(market[LOAD] - market[ROOM], 0.0)
        known = np.where(capacity > 0, market[PRICE] - market[STIFF] * excess, np.inf)
        # What is overfull, or can carry nothing, is left first.
        full = np.flatnonzero(market[LOAD] > capacity * (1 + 1e-12)) if not self.alike else np.zeros(0, np.int64)
        full = np.union1d(full, np.flatnonzero((capacity <= 0) & (market[LOAD] > 0)))
        first = self._gathered(level, np.union1d(full, changed), market, known, len(state.own), seeds)
        work = state.base(market)
        for at in np.flatnonzero((capacity <= 0) & (market[LOAD] > 0)).tolist():
            filling.empty(*work[:5], work[6], self._rows_on(at, level))
        slack = -np.inf if self.aim in WHOLE else 0.0
        if self.aim in WHOLE:
            filling.force(*work, *state.bars_of, first)
        else:
            filling.reduce_all(*work, first)
        visited, left, hot = [first], max(self.left - len(first), self.left // 2), np.zeros(0, np.int64)
        if theta is not None:
            theta.settle()
            kernels.price_all(market)
        self._visit(market, first, slack, LEAST * unit)
        tuned = 0
        while True:
            if theta is not None:
                # The level falls as loads do: then prices rise again, and the same demands answer to that.
                known[hot] = market[PRICE, hot]
                theta.settle()
                kernels.price_all(market)
            if left <= 0 or self.out_of_time():
                self.finished = False
                break
            hot = self._hot(market, known, capacity, LEAST * unit)
            if not len(hot) and theta is None and tuned < TUNINGS:
                # At rest, but overfull: multipliers rise until there is no more need for that.
                tuned += 1
                over = np.flatnonzero((market[LOAD] > (1 + SLACK) * capacity) & (capacity > 0))
                market[Y, over] += market[STIFF, over] * (market[LOAD, over] - capacity[over])
                kernels.price_all(market)
                hot = self._hot(market, known, capacity, LEAST * unit)
            if not len(hot):
                break
            visited.append(self._gathered(level, hot, market, known, max(left, 0)))
            left -= len(visited[-1])
            self._visit(market, visited[-1], slack, LEAST * unit)
        self.stamp += 1
        everyone = upkeep.distinct(np.concatenate(visited), self.mark, self.stamp)
        prices = np.where(capacity > 0, market[PRICE], 0.0)
        if self.aim is Aim.MAX_MIN:
            self._level_out(level, market, everyone)
        elif not self.alike:
            filling.trim(*work, self._crowded(market, everyone))
            filling.fill(*work, *state.bars_of, everyone, len(everyone), slack)
        prices = np.where(market[EXTRA] > 0, market[Y], prices)
        state.load[level] = market[LOAD] - (lower if self.aim is Aim.MIN_MLU else 0.0)
        # Rounding may leave a trace of what is gone.
        state.load[level] = np.where(capacity > 0, np.maximum(state.load[level], 0.0), 0.0)
        state.y[level] = np.where(np.isfinite(prices), prices, 0.0)

    def _visit(self, market: Floats, which: Ints, slack: float, least: float) -> None:
        """These demands move."""
        state = self.state
        bars = state.bars_of

        def visit(some: Ints, market: Floats) -> None:
            kernels.visit_all(*state.base(market), *bars, some, len(some), slack, least)

        if len(which) < CROWD or self.alike or len(bars[1]) or market[EXTRA].any():
            visit(which, market)
            return
        shared = np.flatnonzero((market[ROOM] > 0) & (market[ROOM] < WIDE))
        side = which // BLOCK % 2 == 0
        on_two_sides(market, shared, (which[side], which[~side]), visit, self.workers)

    def _crowded(self, market: Floats, which: Ints) -> Ints:
        """Those of the demands that use what is overfull."""
        starts, links, rows, flow, _, own, need = self.state.base(market)
        over = market[LOAD] > market[ROOM] * (1 - kernels.MARGIN)
        found = np.zeros(len(which), bool)

        def look(low: int, high: int) -> None:
            filling.crowded(starts, links, rows, flow, own, need, over, which[low:high], found[low:high])

        middle = len(which) // 2
        if self.workers is None:
            look(0, len(which))
        else:
            list(self.workers.map(look, (0, middle), (middle, len(which))))
        return which[found]

    def _hot(self, market: Floats, known: Floats, capacity: Floats, least: float) -> Ints:
        """The resources whose prices moved most since their demands answered."""
        with np.errstate(invalid="ignore"):
            moved = np.abs(np.where(capacity > 0, market[PRICE] - known, 0.0))
        weight = np.where((moved > least) & (capacity < WIDE), moved * capacity, 0.0)
        order = np.argsort(-weight, kind="stable")[:AT_ONCE]
        return np.asarray(order[weight[order] > 0], np.int64)

    def _gathered(
        self, level: int, resources: Ints, market: Floats, known: Floats, most: int, more: Ints | None = None
    ) -> Ints:
        """The demands of a class to which the prices of these resources matter, and `more`; `known` is kept."""
        state = self.state
        self.stamp += 1
        out = np.empty(min(most, state.demands) + (0 if more is None else len(more)), np.int64)
        count = 0
        if more is not None:
            out[: len(more)] = more
            self.mark[more] = self.stamp
            count = len(more)
        for at in resources.tolist():
            price = market[PRICE, at]
            if price == np.inf:
                both: tuple[bool, ...] = (True,)
            else:
                both = (price > known[at],) if price != known[at] else (True, False)
            for way in both:
                if at < state.links:
                    count = upkeep.gather(
                        state.rows, state.flow, state.own, state.need, state.over_first, state.over, state.head, at,
                        way, level, self.mark, self.stamp, out, count,
                    )  # fmt: skip
                else:
                    count = upkeep.gather_at(
                        0, state.count, state.rows, state.flow, state.own, state.need, at, way, level, self.mark,
                        self.stamp, out, count,
                    )  # fmt: skip
            known[at] = price
        return out[:count].copy()

    def _rows_on(self, at: int, level: int) -> Ints:
        """The rows of a class that carry something over a resource."""
        state = self.state
        found: Ints = upkeep.rows_on(
            state.count, state.links, state.rows, state.flow, state.own, state.over_first, state.over, state.head,
            at, level,
        )  # fmt: skip
        return found

    def _level_out(self, level: int, market: Floats, who: Ints) -> None:
        """Fairness: those that have most give what is too much; then all fill up by steps."""
        state = self.state
        work = state.base(market)
        fair = state.asked * state.weight
        room = market[ROOM] * (1 - kernels.MARGIN)
        for at in np.flatnonzero(market[LOAD] > room).tolist():
            on_it = self._rows_on(at, level)
            filling.level_off(*work, fair, on_it, at, room[at])
            who = np.concatenate([who, np.asarray(state.rows[on_it, OWNER], np.int64)])
        self.stamp += 1
        who = upkeep.distinct(who, self.mark, self.stamp)
        who = who[fair[who] > 0]
        if not len(who):
            return
        state.need[who, WANTED] = state.asked[who]
        short = filling.all_missing(state.own, state.need, state.flow, who)
        share = (state.asked[who] - short) / fair[who]
        who, share = who[short > 1e-9 * state.asked[who]], share[short > 1e-9 * state.asked[who]]
        if len(who):
            who = who[np.argsort(share, kind="stable")]
            for step in np.linspace(share.min(), (state.asked[who] / fair[who]).max(), LEVELS + 1)[1:]:
                state.need[who, WANTED] = np.minimum(state.asked[who], step * fair[who])
                filling.fill(*work, *state.bars_of, who, len(who), -np.inf)
            got = state.need[who, WANTED] - filling.all_missing(state.own, state.need, state.flow, who)
            # What a demand has is what it keeps while others move; one that has nothing asks for all.
            state.need[who, WANTED] = np.where(got > 0, got, state.asked[who])

    def _stretch(self) -> None:
        """Where all are served alike: rows as if all were served whole."""
        state = self.state
        served = state.served()
        some = served > 0
        factor = np.where(some, state.asked / np.where(some, served, 1.0), 1.0)
        state.flow[: state.count, RATE] *= factor[state.rows[: state.count, OWNER]]
        state.add_up()
