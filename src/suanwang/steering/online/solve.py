"""Repair as a solver: what runs now, made right for the problem and the links that are down."""

from __future__ import annotations

import numpy as np

from suanwang.model.errors import SuanwangError
from suanwang.steering.answer import Allocation, Answer, Budget
from suanwang.steering.online.service import Online
from suanwang.steering.paths import Candidates
from suanwang.steering.problem import BAD_PROBLEM, Bools, Problem
from suanwang.steering.value import value_of

SWEEPS = 10
"""How often all demands may be visited."""

LEAST_EFFORT = 200_000


def solve(
    problem: Problem,
    candidates: Candidates | None,
    budget: Budget,
    *,
    failed: Bools | None = None,
    present: Allocation | None = None,
) -> Answer:
    """A feasible answer near what runs now, and a bound by the prices that repair finds. Without `present`, all demands
    come one after the other.
    """
    begun = budget.clock()
    if candidates is None:
        raise SuanwangError(BAD_PROBLEM, "repair needs candidate paths", "find candidates first")
    deadline = begun + budget.seconds
    online = Online(
        problem, candidates, present, failed=failed, effort=LEAST_EFFORT + SWEEPS * len(problem.demands),
        out_of_time=lambda: budget.clock() > deadline, workers=budget.workers,
    )  # fmt: skip
    allocation = online.snapshot()
    ended = budget.clock()
    return Answer(
        method="online",
        problem=problem,
        allocation=allocation,
        value=value_of(problem, allocation, failed, present, online.state.counted()),
        bound=online.bound(),
        bound_over="any path" if candidates.complete else "candidate paths",
        prices=online.prices(),
        failed=np.zeros(len(problem.network.source), bool) if failed is None else failed,
        finished=online.repair.finished,
        seconds={"solve": ended - begun},
    )
