"""What a solver answers: who goes where by which path, what that is worth, and how far from the best it is at most."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Protocol

import numpy as np

from suanwang.steering.paths import Candidates, PathSet, tally
from suanwang.steering.problem import Aim, Bools, Floats, Ints, Problem

GREATEST = frozenset({Aim.TOTAL_FLOW, Aim.MAX_MIN, Aim.CONCURRENT})
"""Aims whose value shall be great; that of the others shall be small."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Allocation:
    """Rows (demand, endpoint, path, rate), N of them; `path` is a number in `paths`, of which some may be unused."""

    paths: PathSet
    demand: Ints
    endpoint: Ints
    path: Ints
    rate: Floats

    def __len__(self) -> int:
        return len(self.demand)

    def served(self, demands: int) -> Floats:
        """(demands,) the rate that each demand gets."""
        return tally(self.demand, self.rate, demands)

    def link_load(self, links: int) -> Floats:
        """(links,) the load on each link."""
        return self.paths.loads(tally(self.path, self.rate, len(self.paths)), links)

    def endpoint_load(self, problem: Problem) -> Floats:
        """(E,) the load on each endpoint, what was there before not counted."""
        work = self.rate * problem.demands.work[self.demand]
        return tally(self.endpoint, work, len(problem.endpoints.node))


@dataclass(frozen=True, kw_only=True, eq=False)
class Prices:
    """What a solver says a unit of rate on each link (L,) and a unit of load at each endpoint (E,) is worth: from these
    anyone can work out a bound. None are negative.
    """

    link: Floats
    endpoint: Floats


@dataclass(frozen=True, kw_only=True, eq=False)
class Answer:
    """An allocation that keeps all limits, and its certificate.

    `value`: what was reached, see `Aim` (for min-cost and min-latency what is not served is counted at
    `problem.unserved_cost`). `bound`: no allocation can do better; over all paths if `bound_over` is `any path`, over
    the candidates if it is `candidate paths`. `finished`: whether the solver came to its end, not to that of its time.
    """

    method: str
    problem: Problem
    allocation: Allocation
    value: float
    bound: float
    bound_over: str
    prices: Prices | None = None
    failed: Bools = field(default_factory=lambda: np.zeros(0, bool))
    finished: bool = True
    seconds: dict[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def gap(self) -> float:
        """The relative distance between value and bound: 0 is proven best, infinity is nothing known."""
        if not np.isfinite(self.bound):
            return np.inf
        return float(abs(self.bound - self.value) / max(abs(self.bound), abs(self.value), 1e-12))

    @cached_property
    def served(self) -> Floats:
        """(D,) the rate that each demand gets."""
        return self.allocation.served(len(self.problem.demands))

    @cached_property
    def link_load(self) -> Floats:
        """(L,) the load on each link."""
        return self.allocation.link_load(len(self.problem.network.source))

    @cached_property
    def utilisation(self) -> Floats:
        """(L,) load over capacity; 0 for links that carry nothing."""
        return ratio(self.link_load, self.problem.network.capacity)

    def timed(self, **seconds: float) -> Answer:
        """The same answer with more times noted."""
        return replace(self, seconds={**self.seconds, **seconds})


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What a solver may use. `clock` tells seconds; `workers` run the parts of a step side by side (none: one after the
    other), and change nothing in the answer.
    """

    clock: Callable[[], float]
    seconds: float = np.inf
    gap: float = 0.005
    workers: Executor | None = None
    seed: int = 0
    most_paths: int = 4


class Solver(Protocol):
    """A way to solve a problem. It never fails for want of time: it answers with what it has.

    `candidates`: the paths that may be used; None lets the solver find its own. `failed` (L,): links that are down.
    `present`: what runs now, whose change costs `problem.churn`.
    """

    def __call__(
        self,
        problem: Problem,
        candidates: Candidates | None,
        budget: Budget,
        *,
        failed: Bools | None = None,
        present: Allocation | None = None,
    ) -> Answer: ...


def ratio(load: Floats, capacity: Floats) -> Floats:
    """Load over capacity: 0 where nothing flows, infinite where something flows over nothing."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(load > 0, load / capacity, 0.0)
