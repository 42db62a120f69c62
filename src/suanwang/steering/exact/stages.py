"""One class of demands at a time: the program of an aim, and the rates that follow from its solution."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse

from suanwang.steering.answer import ratio
from suanwang.steering.exact.frame import (
    Frame,
    Past,
    cumulative_cost,
    excess_block,
    frame,
    moved_at,
    served_at,
    slack,
)
from suanwang.steering.exact.linear import Highs, Linear, Solution
from suanwang.steering.paths import tally
from suanwang.steering.problem import Aim, Bools, Floats, Ints
from suanwang.steering.rows import Rows

NEARLY = 1e-5
"""The part of a demand up to which what is not served is put down to tolerance."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """What came of one class: `rate` (N,), None if there is nothing; `bound` on the aim's value; prices."""

    rate: Floats | None
    bound: float
    link: Floats
    endpoint: Floats
    finished: bool
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Run:
    """The means: a table, HiGHS, and what is left of the time."""

    rows: Rows
    highs: Highs
    left: Callable[[], float]

    def solve(self, program: Linear, frame: Frame) -> tuple[Solution, Solution]:
        """The solution, and that of the program without whole numbers (the same where there are none).

        The mixed-integer program only chooses rows; their rates come from a linear program over the chosen.
        """
        relaxed = self.highs.solve(program.relaxed, self.left())
        if not program.integer.any() or relaxed.infeasible:
            return relaxed, relaxed
        whole = self.highs.solve(program, self.left())
        bound = max(whole.bound, relaxed.bound)
        if whole.x is None:
            return replace(whole, bound=bound), relaxed
        upper = program.upper.copy()
        upper[frame.used_rows[whole.x[frame.used] < 0.5]] = 0.0
        integers = np.flatnonzero(program.integer)
        upper[integers] = lower = np.round(whole.x[integers])
        lowest = program.lower.copy()
        lowest[integers] = lower
        polished = self.highs.solve(replace(program.relaxed, upper=upper, lower=lowest), self.left())
        x = polished.x if polished.optimal and polished.x is not None else whole.x * (upper > 0)
        return Solution(x=x, dual=relaxed.dual, bound=bound, optimal=whole.optimal), relaxed


def sums(run: Run, among: Bools, past: list[Past]) -> Stage:
    """Total flow, cost, latency: the sum over all classes so far, where those before keep theirs."""
    rows = run.rows
    fr = frame(rows, among)
    build, unit = fr.build, fr.unit
    cost, ends, spare = cumulative_cost(rows)
    scale = _scale(rows.cost, cost)
    price = rows.problem.endpoints.cost[ends]
    last = None
    for one in [*past, None]:
        mine = among if one is None else one.among
        excess = build.add_columns(len(ends), 0.0, 0.0, _most_excess(rows, ends, mine) / unit)
        if len(ends):
            at = np.arange(len(ends))
            build.add_rows(excess_block(rows, ends, mine), -np.inf, spare[ends] / unit, (at, excess, -1.0))
        moved = mine[rows.demand[fr.moved_rows]]
        if one is None:
            last = excess
            break
        row = sparse.csr_matrix(np.where(mine[rows.demand], cost / scale, 0.0))
        more = (
            (0, excess, price / scale),
            (0, fr.moved[moved], rows.problem.churn / scale),
        )
        limit = _signed(rows, one.value) - _constant(rows, one.among)
        build.add_rows(row, -np.inf, slack(limit) / unit / scale, *(part for part in more if len(part[1])))
    program = build.program()
    program.cost[: build.count] = np.where(among[rows.demand], cost / scale, 0.0)
    program.cost[last] = price / scale
    program.cost[fr.moved] = rows.problem.churn / scale
    solution, relaxed = run.solve(program, fr)
    rate = None if solution.x is None else _completed(rows, solution.x[: len(rows)] * unit)
    bound = solution.bound * unit * scale + _constant(rows, among)
    link, end = fr.prices(relaxed.dual, scale)
    return Stage(rate=rate, bound=_signed(rows, bound), link=link, endpoint=end, finished=solution.optimal)


def _completed(rows: Rows, rate: Floats) -> Floats:
    """The rates made feasible, where what lacks to a whole demand by tolerance only is served: it may count much."""
    rate = rows.feasible(rate)
    served, wanted = served_at(rows, rate), rows.problem.demands.rate
    nearly = (served < wanted) & (served > wanted * (1 - NEARLY))
    return rows.feasible(rate * np.where(nearly, wanted / np.maximum(served, 1e-300), 1.0)[rows.demand])


def _scale(*sizes: Floats) -> float:
    """The median of what is not 0 in the first of these that has such."""
    for size in sizes:
        if (size != 0).any():
            return float(np.median(np.abs(size[size != 0])))
    return 1.0


def _most_excess(rows: Rows, ends: Ints, among: Bools) -> Floats:
    demands = rows.problem.demands
    work = np.where(among[rows.demand], demands.rate[rows.demand] * demands.work[rows.demand], 0.0)
    return np.asarray(tally(rows.endpoint, work, len(rows.problem.endpoints.node))[ends])


def _signed(rows: Rows, value: float) -> float:
    """From the aim's value to what is minimised, and back."""
    return -value if rows.problem.aim is Aim.TOTAL_FLOW else value


def _constant(rows: Rows, among: Bools) -> float:
    """What counts in sums whatever is done."""
    problem = rows.problem
    moved = problem.churn * float(rows.gone[among].sum())
    if problem.aim is Aim.TOTAL_FLOW:
        return moved
    wanted = np.where(among, problem.demands.weight * problem.demands.rate, 0.0)
    return moved + problem.unserved_cost * float(wanted.sum())


def concurrent(run: Run, among: Bools, past: list[Past]) -> Stage:
    """Greatest λ with x(i) = λ rate(i) for all of the last class."""
    rows, problem = run.rows, run.rows.problem
    mine = last_class(among, past) & rows.counted
    room = tally(rows.demand, rows.bottleneck, len(mine))
    with np.errstate(divide="ignore"):
        highest = float((room / np.maximum(problem.demands.rate, 1e-300))[mine].min(initial=np.inf))
    endless = not np.isfinite(highest)
    # Twice what can be, so that the bound of the column does not take the duals that are prices.
    highest = 1.0 if endless else 2 * highest
    most = np.where(mine, highest, 1.0)
    fr = frame(rows, among, most=most)
    build = fr.build
    if endless and not len(rows.conflicts[0]):
        build.upper[0] = np.where(mine[rows.demand] & np.isfinite(rows.bottleneck), 0.0, build.upper[0])
    share = build.add_columns(1, -highest, 0.0, 1.0)[0]
    which = np.flatnonzero(mine)
    size = problem.demands.rate[which] * highest / fr.unit
    build.add_rows(rows.of_demands[which], 0.0, 0.0, (np.arange(len(which)), share, -size))
    keep(fr, past)
    program = build.program()
    program.cost[fr.moved] = fr.churn
    solution, relaxed = run.solve(program, fr)
    found = [_settled(fr, solution, int(share), highest, mine)]
    if problem.churn and found[0][1] > 1 and len(fr.moved):
        # Above 1, moves are counted after rows are scaled down, and that is not linear: so see what 1 itself is worth.
        program.upper[share] = min(1.0, 1 / highest)
        found.append(_settled(fr, run.solve(program, fr)[0], int(share), highest, mine))

    def worth(one: tuple[Floats | None, float]) -> float:
        return -np.inf if one[0] is None else one[1] - problem.churn * moved_at(rows, one[0], among)

    rate, _ = max(found, key=worth)
    lost = problem.churn * float(rows.gone[among].sum())
    bound = (np.inf if endless else -solution.bound - lost) if mine.any() else -lost
    link, end = fr.prices(relaxed.dual, 1.0 / fr.unit)
    return Stage(rate=rate, bound=bound, link=link, endpoint=end, finished=solution.optimal)


def _settled(fr: Frame, solution: Solution, share: int, highest: float, mine: Bools) -> tuple[Floats | None, float]:
    """The rates of a solution, those of the last class scaled to what λ = 1 takes at most, and λ."""
    if solution.x is None:
        return None, 0.0
    rows = fr.rows
    found = float(solution.x[share]) * highest
    wanted = np.where(mine, found * rows.problem.demands.rate, 0.0)
    rate = _topped(rows, _tidy(rows, solution.x[: len(rows)] * fr.unit), wanted, fr.unit)
    rate = np.where(mine[rows.demand], rate / max(found, 1.0), rate)
    return level(rows, rows.feasible(rate), mine), found


def least_utilisation(run: Run, among: Bools, past: list[Past]) -> Stage:
    """Least θ with loads of all classes so far within θ times capacity, all served."""
    rows, problem = run.rows, run.rows.problem
    counted = among & rows.counted
    wanted = np.where(counted, problem.demands.rate, 0.0)[rows.demand]
    on_links = ratio(rows.over_links @ wanted, rows.capacity)
    at_ends = ratio(rows.at_endpoints @ wanted, problem.endpoints.free)
    highest = max(float(on_links.max(initial=0.0)), float(at_ends.max(initial=0.0)), 1e-30)
    theta = highest / max(len(rows), 1)
    fr = frame(rows, among, theta=theta)
    build = fr.build
    build.upper[1][:] = highest / theta
    build.cost[1][:] = theta
    which = np.flatnonzero(counted)
    rate = problem.demands.rate[which] / fr.unit
    build.add_rows(rows.of_demands[which], rate, rate)
    for one in past:
        _within(fr, one)
    program = build.program()
    program.cost[fr.moved] = fr.churn
    solution, relaxed = run.solve(program, fr)
    found = None
    if solution.x is not None:
        rate = np.where(counted, problem.demands.rate, 0.0)
        found = full(rows, _topped(rows, _tidy(rows, solution.x[: len(rows)] * fr.unit), rate, fr.unit), counted)
    lost = problem.churn * float(rows.gone[among].sum())
    bound = np.inf if solution.infeasible else solution.bound + lost
    link, end = fr.prices(relaxed.dual, 1.0 / fr.unit)
    notes = ("some demands can't be served together",) if solution.infeasible else ()
    done = solution.optimal or solution.infeasible
    return Stage(rate=found, bound=bound, link=link, endpoint=end, finished=done, notes=notes)


def _within(fr: Frame, one: Past) -> None:
    """A class before, and those before it, keep the utilisation that they got, moves counted."""
    rows, build = fr.rows, fr.build
    if not np.isfinite(one.value):
        return
    mine = one.among[rows.demand].astype(float)
    capacity, ends = rows.capacity[fr.links] / fr.unit, rows.problem.endpoints
    theta = build.add_columns(1, 0.0, 0.0, slack(one.value))[0]
    links = rows.over_links[fr.links].multiply(mine).tocsr()
    build.add_rows(links, -np.inf, 0.0, (np.arange(len(fr.links)), theta, -capacity))
    at_ends = rows.at_endpoints[fr.ends].multiply(mine).tocsr()
    more = (np.arange(len(fr.ends)), theta, -ends.free[fr.ends] / fr.unit)
    build.add_rows(at_ends, -np.inf, 0.0, more)
    moved = fr.moved[one.among[rows.demand[fr.moved_rows]]]
    limit = slack(one.value) - rows.problem.churn * float(rows.gone[one.among].sum())
    build.add_rows(build.nothing(1), -np.inf, limit, (0, theta, 1.0), (0, moved, fr.churn))


def keep(fr: Frame, past: list[Past]) -> None:
    """Classes before keep the rates that they got, and move no more."""
    if not past:
        return
    which = np.flatnonzero(past[-1].among & fr.rows.counted)
    got = past[-1].served[which] / fr.unit
    fr.build.add_rows(fr.rows.of_demands[which], got * (1 - 1e-9), np.inf)
    for one in past:
        fr.moves_within(one)


def last_class(among: Bools, past: list[Past]) -> Bools:
    """(D,) the demands that are not in a class before."""
    return among & ~past[-1].among if past else among


def _tidy(rows: Rows, rate: Floats) -> Floats:
    """Without what is noise."""
    served = served_at(rows, np.maximum(rate, 0.0))
    return np.where(rate > 1e-9 * served[rows.demand], rate, 0.0)


def _topped(rows: Rows, rate: Floats, wanted: Floats, unit: float) -> Floats:
    """The rates with what demands lack of `wanted` (D,), where that is less than a program in this unit can tell."""
    served = served_at(rows, rate)
    lacking = rows.counted & (wanted <= NEARLY * unit) & (served < wanted)
    if not lacking.any() or len(rows.conflicts[0]):
        return rate
    rate = rate * np.where(lacking & (served > 0), wanted / np.maximum(served, 1e-300), 1.0)[rows.demand]
    none = np.flatnonzero(lacking & (served <= 0))
    rate[rows.first[none]] = wanted[none]
    return rate


def level(rows: Rows, rate: Floats, mine: Bools) -> Floats:
    """The demands `mine` scaled down to the least share of their rate that one of them has."""
    served = served_at(rows, rate)
    wanted = rows.problem.demands.rate
    share = float((served[mine] / wanted[mine]).min(initial=1.0))
    factor = np.where(mine & (served > 0), share * wanted / np.maximum(served, 1e-300), 1.0)
    return rate * factor[rows.demand]


def full(rows: Rows, rate: Floats, mine: Bools) -> Floats | None:
    """The demands `mine` scaled to their whole rate; None where one has nothing."""
    served = served_at(rows, rate)
    if (served[mine] <= 0).any():
        return None
    factor = np.where(mine, rows.problem.demands.rate / np.maximum(served, 1e-300), 0.0)
    return rate * factor[rows.demand]


def past_of(rows: Rows, among: Bools, value: float, rate: Floats) -> Past:
    """What a class has got."""
    return Past(among=among, value=value, served=served_at(rows, rate), moved=moved_at(rows, rate, among))
