"""The present allocation, kept right through one change after the other."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from suanwang.model.errors import SuanwangError
from suanwang.steering.answer import Allocation, Prices
from suanwang.steering.online import kernels, upkeep
from suanwang.steering.online.kernels import END, LEVEL, PATH, RATE, ROOM, WANTED, Y
from suanwang.steering.online.level import WIDE
from suanwang.steering.online.repair import Repair
from suanwang.steering.online.state import State
from suanwang.steering.paths import Candidates
from suanwang.steering.problem import BAD_PROBLEM, Aim, Bools, Floats, Ints, Problem
from suanwang.steering.value import WHOLE

NOBODY = np.zeros(0, np.int64)

SMALL = 0.04
"""The share of the effort of a repair that the change of one demand is worth."""


class Online:
    """An allocation that is kept right while things change. It is feasible after each operation.

    `present`: what runs now (none: nothing); `prices`: those of the solver that made it, without which the first repair
    is worth less; `failed` (L,): links that are down; `effort`: how many demands a repair visits, about (none: so many
    as take a tenth of a second); `out_of_time` ends it sooner; `workers`: two that do it faster, with the same result.
    Not for several threads at once. Raises BAD_PROBLEM for what is not there, and where there are more priorities than
    64.
    """

    def __init__(
        self,
        problem: Problem,
        candidates: Candidates,
        present: Allocation | None = None,
        prices: Prices | None = None,
        *,
        failed: Bools | None = None,
        effort: int | None = None,
        out_of_time: Callable[[], bool] = lambda: False,
        workers: Executor | None = None,
    ) -> None:
        self.state = State(problem, candidates, present, prices)
        if failed is not None:
            self.state.failed[:] = failed
        self.repair = Repair(self.state, effort, out_of_time, workers)
        self.aim = problem.aim
        self._repair(self.state.lost)

    def improve(self) -> None:
        """All demands choose anew, at the prices that there are."""
        self._repair(np.arange(self.state.demands))

    def fail(self, *links: int) -> None:
        """Links go down; what they carried goes elsewhere as far as there is room."""
        self._switch(links, True)

    def restore(self, *links: int) -> None:
        """Links come up again."""
        self._switch(links, False)

    def demand(self, number: int, rate: float) -> None:
        """A demand's rate changes."""
        self._known(number, self.state.demands, "demand")
        if not 0 <= rate <= 1e30:
            raise SuanwangError(BAD_PROBLEM, f"a rate of {rate}", "it must be from 0 to 1e30")
        state = self.state
        old, state.asked[number] = float(state.asked[number]), rate
        state.total[state.own[number, LEVEL]] += rate - old
        share = rate / old if self.aim is Aim.MAX_MIN and old > 0 else 0.0
        state.need[number, WANTED] = rate if self.aim is not Aim.MAX_MIN else share * state.need[number, WANTED] or rate
        self.repair.run(np.array([number], np.int64), NOBODY, SMALL)

    def withdraw(self, number: int) -> None:
        """A demand goes. If it was placed here, its number may be used again."""
        self.demand(number, 0.0)
        state = self.state
        if number >= len(state.problem.demands):
            key = int(state.source[number]), int(state.choice[number]), int(state.limit[number])
            if number not in state.unused[key]:
                state.unused[key].append(number)

    def place(
        self,
        source: ArrayLike,
        choice: ArrayLike,
        rate: ArrayLike,
        *,
        weight: ArrayLike = 1.0,
        limit: ArrayLike = 0,
        priority: ArrayLike = 0,
        work: ArrayLike = 1.0,
        splittable: ArrayLike = True,
    ) -> Ints:
        """New demands, one or many (n,), one after the other; their numbers. Each gets an endpoint of its `choice` and
        a candidate path at once, by prices and room; see `placed`. `choice`, `limit` and `priority` are some of the
        problem's, the rest as in `Demands`. Where there are no candidates for a pair, nothing is placed.
        """
        state = self.state
        nodes, choices, limits = len(state.problem.network.nodes), *state.choices
        values = np.broadcast_arrays(
            *map(np.atleast_1d, (source, choice, limit, rate, weight, work, priority, splittable))
        )
        level = state.level_of(values[6])
        found = state.admit(
            _whole(values[0], nodes),
            _whole(values[1], choices),
            _whole(values[2], limits),
            _real(values[3], 1e30),
            _real(values[4], 1e9),
            _real(values[5], 1e12),
            level,
            np.where(values[7], 0, 1),
        )
        for number in np.unique(level).tolist():
            self.repair.place(number, found[level == number])
        if self.aim is Aim.MAX_MIN:
            self._repair(found)
        elif len(state.load) > 1:
            # Those of later classes may have to give way.
            self._repair(NOBODY)
        return found

    def placed(self, number: int) -> tuple[Ints, Ints, Floats]:
        """Where a demand goes: (endpoints, paths, rates) of its rows; paths are numbers in `state.paths`."""
        self._known(number, self.state.demands, "demand")
        state = self.state
        rows = np.arange(state.own[number, kernels.FIRST], state.own[number, kernels.STOP])
        rows = rows[state.flow[rows, RATE] > 0]
        rate = state.flow[rows, RATE] * self.repair.scale[state.own[number, LEVEL]]
        return state.rows[rows, END].astype(np.int64) - state.links, state.rows[rows, PATH].astype(np.int64), rate

    def endpoint(self, number: int, capacity: float) -> None:
        """An endpoint's capacity changes."""
        self._known(number, len(self.state.free), "endpoint")
        if not capacity >= 0:
            raise SuanwangError(BAD_PROBLEM, f"a capacity of {capacity}", "it must be 0 or more")
        self.state.free[number] = max(capacity - self.state.problem.endpoints.load[number], 0.0)
        self._repair(NOBODY, np.array([self.state.links + number]))

    def snapshot(self) -> Allocation:
        """What is allocated now."""
        return self.state.allocation(self.repair.scale)

    def prices(self) -> Prices:
        """The last class's prices."""
        state = self.state
        y = np.where(np.isfinite(state.room), state.y[-1], 0.0)
        return Prices(link=y[: state.links].copy(), endpoint=y[state.links :].copy())

    def bound(self) -> float:
        """What no allocation over the candidates can pass, from the prices by duality; infinite where classes count."""
        state = self.state
        none = -np.inf if self.aim in (Aim.MIN_COST, Aim.MIN_LATENCY, Aim.MIN_MLU) else np.inf
        if len(state.load) > 1 or state.problem.churn:
            return none
        market = self.repair.market(0)
        room = np.where(market[ROOM] < WIDE, market[ROOM], 0.0)
        worth = float(room @ market[Y])
        need = state.need[: state.demands].copy()
        need[:, WANTED] = state.asked * (state.weight if self.aim is Aim.MAX_MIN else 1.0)
        if self.aim is Aim.MIN_COST:
            market[Y, state.links :] += np.where(state.extra_from > 0, 0.0, state.extra)[state.links :]
        flow = state.flow
        if self.aim in WHOLE:
            flow = flow.copy()
            flow[:, kernels.WORTH] = 0.0
        slack = -np.inf if self.aim in WHOLE else 0.0
        best = upkeep.best_of_all(
            state.starts, state.through, state.rows, flow, market, state.own, need, state.demands, slack
        )
        if self.aim is Aim.TOTAL_FLOW:
            return float(worth + best)
        if self.aim not in WHOLE:
            return float(state.unit * float(state.weight @ state.asked) - worth - best)
        if worth <= 0 or best >= 0:
            return none
        if self.aim is Aim.MIN_MLU:
            return float(-best / worth)
        most = float(worth / -best)
        if self.aim is Aim.MAX_MIN:
            most = min(most, 1.0 / float(state.weight[state.counted()].max()))
        return most

    def _switch(self, links: tuple[int, ...], down: bool) -> None:
        for link in links:
            self._known(link, self.state.links, "link")
        changed = np.unique(np.array(links, np.int64))
        changed = changed[self.state.failed[changed] != down]
        self.state.failed[changed] = down
        self._repair(NOBODY, changed)

    def _known(self, number: int, count: int, what: str) -> None:
        if not 0 <= number < count:
            raise SuanwangError(BAD_PROBLEM, f"there is no {what} {number}", f"they are numbered from 0 to {count - 1}")

    def _repair(self, seeds: Ints, changed: Ints = NOBODY) -> None:
        self.repair.run(seeds, changed)


def _whole(values: np.ndarray[Any, Any], limit: int) -> Ints:
    found = np.asarray(values).astype(np.int64)
    if ((found != values) | (found < 0) | (found >= limit)).any():
        raise SuanwangError(BAD_PROBLEM, "a node, choice or limit is none of the problem's", f"numbers below {limit}")
    return found


def _real(values: np.ndarray[Any, Any], most: float) -> Floats:
    found = np.asarray(values, np.float64)
    if not ((found >= 0) & (found <= most)).all():
        raise SuanwangError(BAD_PROBLEM, "a rate, weight or work is out of range", f"from 0 to {most:g}")
    return found
