"""Proof of an answer by someone else: its rows held against every rule, its value by the definition, and what its
prices prove about all that was not tried. Shares no code with the solvers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from suanwang.steering.answer import GREATEST, Allocation, Answer
from suanwang.steering.duality import bound
from suanwang.steering.inspection import (
    MOST_VIOLATIONS,
    Findings,
    inspect,
    sound,
    up_links,
)
from suanwang.steering.legs import Legs, endpoint_load, link_load
from suanwang.steering.problem import Aim, Bools, Floats, Problem
from suanwang.steering.servable import servable, surely

ABOUT_ALL = frozenset({Aim.MAX_MIN, Aim.CONCURRENT, Aim.MIN_MLU})
"""Aims about every demand that can be served, not about a sum."""

MOST_SEARCHED = 1000
"""Of how many unserved demands with several limits or a backup it is searched whether any row could serve them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """What was found. `violations`: what breaks a rule, at most 100 texts of `broken` in all. `value`: by the
    definition (NaN where the rows can't be read). `bound`: no allocation over any paths passes it; `claimed`: what the
    answer says, over `claimed_over`; `proven`: whether the claim is no better than `bound`. Limits end to end are left
    out of `bound`, so a claim about demands with limits, or about candidates only, may be true and not proven.
    """

    violations: tuple[str, ...]
    broken: int
    value: float
    bound: float
    claimed: float
    claimed_over: str
    proven: bool

    @property
    def feasible(self) -> bool:
        """Whether nothing is broken."""
        return not self.broken

    @property
    def gap(self) -> float:
        """The relative distance between value and bound; infinite where nothing is known."""
        if not (np.isfinite(self.bound) and np.isfinite(self.value)):
            return np.inf
        return float(abs(self.bound - self.value) / max(abs(self.bound), abs(self.value), 1e-12))


def check(answer: Answer, tolerance: float = 1e-6, present: Allocation | None = None) -> Certificate:
    """The certificate of an answer, however wrong it is. `tolerance`: relative, on rates, capacities, limits and value;
    `present`: the allocation that the problem's churn counts from.
    """
    problem = answer.problem
    try:
        wrong = sound(problem, answer.allocation)
        up = up_links(answer)
    except (AttributeError, TypeError, ValueError) as problem_met:
        wrong = f"the answer can't be read: {problem_met}"
    if wrong:
        return _certificate(answer, [wrong], 1, np.nan, _nothing_known(problem))
    rows = answer.allocation
    # A rate that is no number would make every sum one; it is noted by itself.
    clean = np.where(np.isfinite(rows.rate) & (rows.rate > 0), rows.rate, 0.0)
    tidy = Allocation(paths=rows.paths, demand=rows.demand, endpoint=rows.endpoint, path=rows.path, rate=clean)
    scale = answer.value if np.isfinite(answer.value) else 1.0
    found = inspect(problem, rows, up, scale, tolerance)
    served = np.bincount(tidy.demand, weights=tidy.rate, minlength=len(problem.demands)).astype(float)
    counted = _counted(problem, up, served, found)
    if problem.aim is Aim.MIN_MLU:
        missing = np.flatnonzero(counted & (served < problem.demands.rate * (1 - tolerance)))
        found.add(missing, lambda one: f"{problem.demand_name(one)} is not served whole, which {problem.aim} asks for")
    value = _value(problem, tidy, up, served, counted)
    if present is not None and problem.churn:
        moved = problem.churn * _moved(present, tidy)
        value += -moved if problem.aim in GREATEST else moved
    size = max(abs(value), abs(answer.value), 1e-9) if np.isfinite(value) else 1.0
    if not (value == answer.value or abs(value - answer.value) <= 10 * tolerance * size):
        found.say(f"the answer says that its value is {answer.value:.9g}, and its rows are worth {value:.9g}")
    link, endpoint = _prices(answer, found)
    last = _last_class(problem, counted)
    kept = np.where(counted & ~last, served, 0.0)
    highest = bound(problem, up, link, endpoint, counted if problem.aim is Aim.MIN_MLU else last, kept)
    if not counted.any() and problem.aim in ABOUT_ALL:
        highest = 0.0
    if not found.count and _better(problem, value, highest, 100 * tolerance):
        found.say(f"a value of {value:.9g} is better than {highest:.9g}, which the prices prove to be the best")
    return _certificate(answer, found.texts, found.count, value, highest, tolerance)


def with_proof(answer: Answer, proof: Certificate) -> Answer:
    """The answer with what is proven over any path as its bound, where that is tighter than its own: what holds for all
    paths holds for the candidates too.
    """
    great = answer.problem.aim in GREATEST
    tighter = proof.bound < answer.bound if great else proof.bound > answer.bound
    if not np.isfinite(proof.bound) or (np.isfinite(answer.bound) and not tighter):
        return answer
    return replace(answer, bound=proof.bound, bound_over="any path")


def _certificate(
    answer: Answer, texts: list[str], count: int, value: float, proven: float, tolerance: float = 0.0
) -> Certificate:
    return Certificate(
        violations=tuple(texts[:MOST_VIOLATIONS]),
        broken=count,
        value=value,
        bound=proven,
        claimed=answer.bound,
        claimed_over=answer.bound_over,
        # An infinite claim is none.
        proven=bool(
            np.isinf(answer.bound)
            or (np.isfinite(answer.bound) and not _better(answer.problem, proven, answer.bound, tolerance))
        ),
    )


def _nothing_known(problem: Problem) -> float:
    return np.inf if problem.aim in GREATEST else -np.inf


def _better(problem: Problem, one: float, other: float, tolerance: float) -> bool:
    """Whether value `one` is better than `other` by more than the tolerance."""
    if np.isinf(one) or np.isinf(other):
        return one > other if problem.aim in GREATEST else one < other
    slack = tolerance * max(abs(one), abs(other), 1e-9)
    return one > other + slack if problem.aim in GREATEST else one < other - slack


def _counted(problem: Problem, up: Bools, served: Floats, found: Findings) -> Bools:
    """(D,) the demands that aims about all are about: those that some row can serve."""
    counted: Bools = problem.demands.rate > 0
    if problem.aim not in ABOUT_ALL:
        return counted
    unserved = np.flatnonzero(counted & (served <= 0))
    can, settled = surely(problem, up, unserved)
    counted[unserved] = can
    unserved = unserved[~settled]
    for number in unserved[:MOST_SEARCHED].tolist():
        possible = servable(problem, up, number)
        if possible is None:
            found.say(f"whether {problem.demand_name(number)} can be served could not be found out")
        counted[number] = bool(possible)
    left = len(unserved) - MOST_SEARCHED
    if left > 0:
        # A wrong answer must not pass because there is too much of it.
        found.say(f"{left} more demands with several limits or a backup are not served, and were not looked at")
    return counted


def _last_class(problem: Problem, counted: Bools) -> Bools:
    """(D,) the counted demands of the last class, whose value is the answer's."""
    if not problem.by_priority or not counted.any():
        return counted
    last: Bools = counted & (problem.demands.priority == problem.demands.priority[counted].max())
    return last


def _value(problem: Problem, rows: Allocation, up: Bools, served: Floats, counted: Bools) -> float:
    """The value of the rows by the definition of the aim, churn left out."""
    demands, ends = problem.demands, problem.endpoints
    if problem.aim is Aim.TOTAL_FLOW:
        return float((demands.weight * served).sum())
    if problem.aim in (Aim.MIN_COST, Aim.MIN_LATENCY):
        missing = np.maximum(demands.rate - served, 0.0)
        return _expense(problem, rows) + float(problem.unserved_cost * (demands.weight * missing).sum())
    if not counted.any():
        return 0.0
    last = _last_class(problem, counted)
    share = served[last] / demands.rate[last]
    if problem.aim is Aim.MAX_MIN:
        weight = demands.weight[last]
        return float((share[weight > 0] / weight[weight > 0]).min()) if (weight > 0).any() else 0.0
    links, room = link_load(problem, rows), ends.free
    capacity = np.where(up, problem.network.capacity, 0.0)
    ends_load = endpoint_load(problem, rows)
    if problem.aim is Aim.CONCURRENT and not last.all():
        mine = last[rows.demand]
        own = Allocation(
            paths=rows.paths,
            demand=rows.demand[mine],
            endpoint=rows.endpoint[mine],
            path=rows.path[mine],
            rate=rows.rate[mine],
        )
        before, taken = links - link_load(problem, own), ends_load - endpoint_load(problem, own)
        capacity, room = np.maximum(capacity - before, 0.0), np.maximum(room - taken, 0.0)
        links, ends_load = links - before, ends_load - taken
    with np.errstate(divide="ignore", invalid="ignore"):
        fullest = max(
            np.where(links > 0, links / capacity, 0.0).max(initial=0.0),
            np.where(ends_load > 0, ends_load / room, 0.0).max(initial=0.0),
        )
    if problem.aim is Aim.MIN_MLU:
        return float(fullest)
    least = float(share.min())
    # The rows may grow together until they fill something: so a lambda above 1 shows in rows that hold what 1 takes.
    return least / float(fullest) if fullest > 0 else np.inf if least > 0 else 0.0


def _expense(problem: Problem, rows: Allocation) -> float:
    network, ends, paths = problem.network, problem.endpoints, rows.paths
    if problem.aim is Aim.MIN_LATENCY:
        legs = Legs.of(paths.first, paths.main)
        latency = legs.sums(network.latency_us, paths.links, len(paths.source), backup=False)
        return float((rows.rate * (latency[rows.path] + ends.delay_us[rows.endpoint])).sum())
    paid = ends.load + endpoint_load(problem, rows) - np.maximum(ends.load, ends.committed)
    return float((network.cost * link_load(problem, rows)).sum() + (ends.cost * np.maximum(paid, 0.0)).sum())


def _moved(present: Allocation, rows: Allocation) -> float:
    """How much of the present rows is no longer there: rows are the same by demand, endpoint and links."""

    def keyed(one: Allocation) -> dict[tuple[int, int, bytes, int], float]:
        amounts: dict[tuple[int, int, bytes, int], float] = {}
        first, main, links = one.paths.first, one.paths.main, one.paths.links
        text = {path: links[first[path] : first[path + 1]].tobytes() for path in np.unique(one.path).tolist()}
        for demand, endpoint, path, rate in zip(
            one.demand.tolist(), one.endpoint.tolist(), one.path.tolist(), one.rate.tolist(), strict=True
        ):
            key = (demand, endpoint, text[path], int(main[path]))
            amounts[key] = amounts.get(key, 0.0) + rate
        return amounts

    now = keyed(rows)
    return sum(max(was - now.get(key, 0.0), 0.0) for key, was in keyed(present).items())


def _prices(answer: Answer, found: Findings) -> tuple[Floats, Floats]:
    """The answer's prices; where they are none, or wrong, all are 0, from which a bound follows too."""
    count = len(answer.problem.network.source), len(answer.problem.endpoints.node)
    none = np.zeros(count[0]), np.zeros(count[1])
    if answer.prices is None:
        return none
    given = np.asarray(answer.prices.link), np.asarray(answer.prices.endpoint)
    for what, values, length in zip(("links", "endpoints"), given, count, strict=True):
        if values.shape != (length,) or values.dtype.kind not in "iuf":
            found.say(f"there are {values.shape} prices of {what}, for {length}")
            return none
        wrong = np.flatnonzero(~((values >= 0) & np.isfinite(values)))
        if len(wrong):
            found.say(f"the price of number {wrong[0]} of the {what} is {values[wrong[0]]:g}")
            return none
    return given[0].astype(float), given[1].astype(float)
