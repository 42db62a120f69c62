"""The reference: exact answers over the candidate paths, by linear and mixed-integer programs and HiGHS.

For total flow, fairness, utilisation, cost and latency alike; classes one after the other. Slower than the other
solvers, and the one by which they are judged.
"""

from __future__ import annotations

import numpy as np

from suanwang.model.errors import SuanwangError
from suanwang.steering.answer import GREATEST, Allocation, Answer, Budget, Prices
from suanwang.steering.exact.fair import max_min
from suanwang.steering.exact.frame import Past
from suanwang.steering.exact.linear import Highs
from suanwang.steering.exact.stages import Run, Stage, concurrent, least_utilisation, past_of, sums
from suanwang.steering.greedy import place
from suanwang.steering.paths import Candidates
from suanwang.steering.problem import BAD_PROBLEM, Aim, Bools, Floats, Problem
from suanwang.steering.rows import Rows, build
from suanwang.steering.value import WHOLE, better, values_of

AIMS = {
    Aim.TOTAL_FLOW: sums,
    Aim.MIN_COST: sums,
    Aim.MIN_LATENCY: sums,
    Aim.MAX_MIN: max_min,
    Aim.CONCURRENT: concurrent,
    Aim.MIN_MLU: least_utilisation,
}
METHODS = ("auto", "ipm", "pdlp", "simplex")


def solve(
    problem: Problem,
    candidates: Candidates | None,
    budget: Budget,
    *,
    failed: Bools | None = None,
    present: Allocation | None = None,
    method: str = "auto",
) -> Answer:
    """The best over the candidates; when time is short, the best that was found, and a bound that holds all the same.

    `method`: how HiGHS solves linear programs: `ipm` (interior points; without crossover, unless
    the program is small), `pdlp`, `simplex`, or `auto`.
    Source: what is solved is in docs/rooms/steering.md.
    """
    begun = budget.clock()
    if method not in METHODS:
        raise SuanwangError(BAD_PROBLEM, f"there is no method {method!r}", f"one of {', '.join(METHODS)}")
    if candidates is None:
        raise SuanwangError(BAD_PROBLEM, "the exact solver needs candidate paths", "find candidates first")
    rows = build(problem, candidates, failed, present)
    built = budget.clock()
    run = Run(
        rows=rows,
        highs=Highs(method=method, gap=min(budget.gap, 1e-7)),
        left=lambda: begun + budget.seconds - budget.clock(),
    )
    stages, rate = _classes(run, failed, present)
    last = stages[-1]
    finished = all(stage.finished for stage in stages)
    allocation, values = _best(rows, rate, finished, failed, present)
    notes = tuple(note for stage in stages for note in stage.notes)
    unserved = int(np.count_nonzero(~rows.counted & (problem.demands.rate > 0)))
    if unserved:
        notes = (*notes, f"demands without a path that can serve them: {unserved}")
    known = all(stage.finished for stage in stages[:-1]) or problem.aim not in WHOLE
    ended = budget.clock()
    return Answer(
        method="exact",
        problem=problem,
        allocation=allocation,
        value=values[-1],
        bound=_bound(problem, last.bound, values[-1]) if known else np.inf,
        bound_over="any path" if candidates.complete else "candidate paths",
        prices=Prices(link=last.link, endpoint=last.endpoint),
        failed=np.zeros(len(rows.capacity), bool) if failed is None else failed,
        finished=finished,
        seconds={"build": built - begun, "solve": ended - built},
        notes=notes,
    )


def _classes(run: Run, failed: Bools | None, present: Allocation | None) -> tuple[list[Stage], Floats | None]:
    """Every class's stage, until one does not finish, and the rates of the last that has any."""
    rows, problem = run.rows, run.rows.problem
    stages: list[Stage] = []
    past: list[Past] = []
    rate: Floats | None = None
    # In aims about the worst demand, a class that nothing serves has no value.
    classes = rows.classes[rows.counted] if problem.aim in WHOLE and rows.counted.any() else rows.classes
    for number in np.unique(classes) if len(classes) else [0]:
        among = rows.classes <= number
        stage = AIMS[problem.aim](run, among, past)
        stages.append(stage)
        if stage.rate is not None:
            rate = stage.rate
        if stage.rate is None or not stage.finished:
            unbounded = Stage(**{**stage.__dict__, "bound": np.inf, "finished": False})
            if number != classes.max(initial=0):
                stages.append(unbounded)
            break
        values = values_of(problem, rows.allocation(stage.rate), failed, present, rows.counted)
        past.append(past_of(rows, among, values[len(past)], stage.rate))
    return stages, rate


def _best(
    rows: Rows, rate: Floats | None, finished: bool, failed: Bools | None, present: Allocation | None
) -> tuple[Allocation, list[float]]:
    """What was found; where it may not be the best, what `greedy` finds if that is worth more."""
    problem = rows.problem
    found = None
    if rate is not None:
        allocation = rows.allocation(rate)
        found = allocation, values_of(problem, allocation, failed, present, rows.counted)
        if finished:
            return found
    placed = place(rows)
    allocation = rows.allocation(placed)
    other = allocation, values_of(problem, allocation, failed, present, rows.counted)
    if other[1][-1] == np.inf and problem.aim is Aim.MIN_MLU:
        # Not all can be served, whatever the utilisation: so at least nothing is overfull.
        other = rows.allocation(rows.feasible(placed)), other[1]
    return other if found is None or better(problem, other[1], found[1]) else found


def _bound(problem: Problem, bound: float, value: float) -> float:
    """The bound; infinite where none is known. Where rounding puts it on the wrong side of the value, the value."""
    if not np.isfinite(bound):
        return np.inf
    wrong = bound < value if problem.aim in GREATEST else bound > value
    return value if wrong and abs(bound - value) <= 1e-7 * abs(value) else bound
