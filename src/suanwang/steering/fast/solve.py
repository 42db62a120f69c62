"""The fast solver: rows to a table, prices, rates that follow them, and a bound that can be checked."""

from __future__ import annotations

import numpy as np
from threadpoolctl import threadpool_limits

from suanwang.steering.answer import Allocation, Answer, Budget, Prices
from suanwang.steering.fast.sums import sums
from suanwang.steering.fast.worst import worst
from suanwang.steering.paths import Candidates
from suanwang.steering.problem import Bools, Problem
from suanwang.steering.rows import build
from suanwang.steering.value import WHOLE, values_of

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
