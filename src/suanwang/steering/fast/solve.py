"""The fast solver: rows to a table, prices, rates that follow them, and a bound that can be checked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from threadpoolctl import threadpool_limits

from suanwang.steering.answer import GREATEST, Allocation, Answer, Budget, Prices
from suanwang.steering.fast.sums import sums
from suanwang.steering.fast.worst import worst
from suanwang.steering.online.service import Online
from suanwang.steering.paths import Candidates
from suanwang.steering.problem import Aim, Bools, Problem
from suanwang.steering.rows import build
from suanwang.steering.value import WHOLE, better, values_of

MOVED = frozenset({Aim.MIN_MLU, Aim.CONCURRENT})
"""Aims for which demands move at the end if the gap is too wide; they do where endpoints are free up to a load, too."""

SWEEPS = 20
"""How often each may, on average."""

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
    # Systems are small: BLAS threads would only wait busily for each other, on the cores that our own need.
    with threadpool_limits(1, user_api="blas"):
        method = worst if problem.aim in WHOLE else sums
        rate, bound, link, end = method(rows, budget, lambda: budget.clock() > deadline)
    allocation = rows.allocation(rate)
    nothing = np.zeros(len(rows.capacity), bool)
    answer = Answer(
        method="fast",
        problem=problem,
        allocation=allocation,
        value=values_of(problem, allocation, failed, present, rows.counted)[-1],
        bound=bound,
        bound_over="any path" if candidates.complete else "candidate paths",
        prices=Prices(link=link, endpoint=end),
        failed=nothing if failed is None else failed,
    )
    moves = problem.aim in MOVED or rows.allowance.any()
    if moves and not problem.churn and answer.gap > budget.gap and budget.clock() <= deadline:
        answer = _moved(answer, candidates, budget, lambda: budget.clock() > deadline)
    ended = budget.clock()
    return replace(answer, finished=ended <= deadline, seconds={"paths": ready - begun, "solve": ended - ready})


def _moved(answer: Answer, candidates: Candidates, budget: Budget, out_of_time: Callable[[], bool]) -> Answer:
    """The answer after demands have moved, as they do when something has changed; or itself if that is no better."""
    problem = answer.problem
    online = Online(
        problem, candidates, answer.allocation, answer.prices, failed=answer.failed,
        effort=SWEEPS * len(problem.demands), out_of_time=out_of_time, workers=budget.workers,
    )  # fmt: skip
    if problem.aim not in MOVED:
        online.improve()
    allocation = online.snapshot()
    counted = online.state.counted()
    old, new = (values_of(problem, one, answer.failed, None, counted) for one in (answer.allocation, allocation))
    if better(problem, new, old):
        answer = replace(answer, allocation=allocation, value=new[-1])
    bound = online.bound()
    if (bound < answer.bound) == (problem.aim in GREATEST) and np.isfinite(bound):
        answer = replace(answer, bound=bound, prices=online.prices())
    return answer
