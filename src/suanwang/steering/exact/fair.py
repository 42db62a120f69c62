"""Max-min fairness: level after level, in the order of what is least.

Where rates can be split, a demand whose floor has a dual above 0 can't grow in any solution of that level, by
complementary slackness, so it is fixed there (Nace and Pióro, IEEE Commun. Surveys 10/4, 2008). Where they can't, the
sum of the k least is made great, for k = 1, 2, ... (Ogryczak and Śliwiński, Computers & OR 33, 2006).
"""

from __future__ import annotations

import numpy as np

from suanwang.steering.exact.frame import Frame, Past, frame, slack
from suanwang.steering.exact.linear import Linear, Solution
from suanwang.steering.exact.stages import Run, Stage, keep, last_class
from suanwang.steering.paths import tally
from suanwang.steering.problem import Bools, Floats, Ints

MOST_ORDERED = 40
"""With more demands that can't be split, only the least is made great, and then the sum."""

BLOCKED = 1e-3
"""The part of an average share of the duals from which on a demand counts as blocked."""


def max_min(run: Run, among: Bools, past: list[Past]) -> Stage:
    """The least x(i) / (weight(i) rate(i)) as great as can be, then the next."""
    rows, demands = run.rows, run.rows.problem.demands
    active = np.flatnonzero(last_class(among, past) & rows.counted & (demands.weight > 0))
    lost = rows.problem.churn * float(rows.gone[among].sum())
    fixed = np.full(len(demands), -1.0)
    rate, bound, finished = None, np.inf, False
    link, end = np.zeros(len(rows.capacity)), np.zeros(len(rows.problem.endpoints.node))
    moves, lowest = np.inf, 0.0
    first = True
    while first or len(active):
        share = demands.weight[active] * demands.rate[active]
        room = tally(rows.demand, rows.bottleneck, len(demands))[active]
        whole = float((1 / demands.weight[active]).min(initial=np.inf))
        level = min(whole, float((room / share).min(initial=np.inf)))
        level = level if np.isfinite(level) and level > 0 else 1.0
        fr, floors, column = _frame(run, among, past, active, fixed, level, moves)
        top = min(whole / level, 2.0) if len(active) else 0.0
        fr.build.upper[-1][:] = top
        fr.build.lower[-1][:] = min(lowest / level * (1 - 1e-9), top)
        program = fr.build.program()
        program.cost[column] = -level
        program.cost[fr.moved] = fr.churn if first else 0.0
        if program.integer.any():
            return _ordered(run, fr, program, active, column, level, lost)
        solution, _ = run.solve(program, fr)
        if first:
            bound = -solution.bound - lost
            link, end = fr.prices(solution.dual, 1.0 / fr.unit)
        if solution.x is None or not solution.optimal:
            if first and solution.x is not None:
                rate = rows.feasible(solution.x[: len(rows)] * fr.unit)
            break
        rate = rows.feasible(solution.x[: len(rows)] * fr.unit)
        lowest = max(lowest, float(solution.x[column]) * level)
        if first and rows.problem.churn:
            moves = float(solution.x[fr.moved].sum()) * fr.unit
        first = False
        if not len(active):
            finished = True
            break
        done = _blocked(solution, floors, share, lowest, demands.weight[active])
        fixed[active[done]] = np.minimum(lowest * share[done], demands.rate[active[done]])
        active = active[~done]
        finished = not len(active)
    return Stage(rate=rate, bound=bound, link=link, endpoint=end, finished=finished)


def _frame(
    run: Run, among: Bools, past: list[Past], active: Ints, fixed: Floats, level: float, moves: float
) -> tuple[Frame, Ints, int]:
    """The program of a level, the rows that are the floors of active demands, and the column of the level."""
    rows, demands = run.rows, run.rows.problem.demands
    fr = frame(rows, among)
    build = fr.build
    held = np.flatnonzero(fixed >= 0)
    build.add_rows(rows.of_demands[held], fixed[held] / fr.unit * (1 - 1e-9), np.inf)
    if np.isfinite(moves) and len(fr.moved):
        build.add_rows(build.nothing(1), -np.inf, slack(moves) / fr.unit, (0, fr.moved, 1.0))
    keep(fr, past)
    column = build.add_columns(1, 0.0, 0.0, 1.0)[0]
    size = demands.weight[active] * demands.rate[active] * level / fr.unit
    floors = build.add_rows(rows.of_demands[active], 0.0, np.inf, (np.arange(len(active)), column, -size))
    return fr, floors, int(column)


def _blocked(solution: Solution, floors: Ints, share: Floats, lowest: float, weight: Floats) -> Bools:
    """Which of the active demands can't get more than they have at this level."""
    part = np.maximum(solution.dual[floors], 0.0) * share
    total = float(part.sum())
    done = lowest * weight >= 1 - 1e-9
    if total > 0 and not done.any():
        done |= part > BLOCKED * total / len(part)
    if not done.any():
        done[np.argmax(part)] = True
    return np.asarray(done)


def _ordered(run: Run, fr: Frame, program: Linear, active: Ints, column: int, level: float, lost: float) -> Stage:
    """Levels where rows are chosen: sums of the least shares, one after the other."""
    rows, demands, build, unit = run.rows, run.rows.problem.demands, fr.build, fr.unit
    solution, relaxed = run.solve(program, fr)
    bound = -solution.bound - lost
    link, end = fr.prices(relaxed.dual, 1.0 / unit)
    stage = Stage(rate=None, bound=bound, link=link, endpoint=end, finished=False)
    if solution.x is None:
        return stage
    best = solution.x
    finished = solution.optimal
    if finished and len(fr.moved):
        moved = float(best[fr.moved].sum())
        build.add_rows(build.nothing(1), -np.inf, slack(moved), (0, fr.moved, 1.0))
    build.lower[-1][:] = float(best[column]) * (1 - 1e-9)
    size = demands.weight[active] * demands.rate[active] / unit * level
    goals = len(active) if len(active) <= MOST_ORDERED else 0
    short = np.zeros(0, np.int64)
    for least in range(2, goals + 1):
        # sum of the `least` smallest shares = max of least * pivot - sum of what shares lack of the pivot
        pivot = build.add_columns(1, 0.0, 0.0, 1.0 / level / demands.weight[active].min())
        short = build.add_columns(len(active), 0.0, 0.0, 1.0 / level / demands.weight[active].min())
        at = np.arange(len(active))
        build.add_rows(rows.of_demands[active], 0.0, np.inf, (at, pivot[0], -size), (at, short, size))
        program = build.program()
        program.cost[:] = 0.0
        program.cost[pivot], program.cost[short] = -least, 1.0
        solution, _ = run.solve(program, fr)
        if solution.x is None or not solution.optimal:
            finished = False
            break
        best = solution.x
        reached = float(least * best[pivot[0]] - best[short].sum())
        more = ((0, pivot, float(least)), (0, short, -1.0))
        build.add_rows(build.nothing(1), reached - 1e-8 * abs(reached), np.inf, *more)
    notes: tuple[str, ...] = ()
    if not goals and finished:
        program = build.program()
        program.cost[:] = 0.0
        program.cost[: build.count] = -1 / (demands.weight * demands.rate).clip(1e-300)[rows.demand] * unit
        solution, _ = run.solve(program, fr)
        best = best if solution.x is None else solution.x
        notes = ("the least share is the greatest; above it, the sum of shares is",)
    rate = rows.feasible(best[: len(rows)] * unit)
    return Stage(rate=rate, bound=bound, link=link, endpoint=end, finished=finished, notes=notes)
