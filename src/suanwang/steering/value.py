"""What an allocation is worth, worked out from its rows by the definition of the aim (docs/rooms/steering.md)."""

from __future__ import annotations

import numpy as np

from suanwang.steering.answer import GREATEST, Allocation, ratio
from suanwang.steering.paths import tally
from suanwang.steering.problem import Aim, Bools, Floats, Ints, Problem
from suanwang.steering.rows import main_sums, overlap

WHOLE = frozenset({Aim.MAX_MIN, Aim.CONCURRENT, Aim.MIN_MLU})
"""Aims about the worst demand or link, not about sums."""


def value_of(
    problem: Problem,
    allocation: Allocation,
    failed: Bools | None = None,
    present: Allocation | None = None,
    counted: Bools | None = None,
) -> float:
    """The value of an allocation. `counted` (D,): demands that some row could serve (by default all of a rate above 0);
    only they count in `max-min`, `concurrent` and `min-mlu`, whose value is 0 where nobody counts.

    `concurrent` and `min-mlu` are taken at the scale at which the rows just fill capacities, or just serve all: so λ
    above 1 is seen although rows hold what λ = 1 takes.
    """
    return values_of(problem, allocation, failed, present, counted)[-1]


def values_of(
    problem: Problem,
    allocation: Allocation,
    failed: Bools | None = None,
    present: Allocation | None = None,
    counted: Bools | None = None,
) -> list[float]:
    """The value of what classes up to the first, the second ... last get: one entry, unless priorities count."""
    demands = problem.demands
    counted = demands.rate > 0 if counted is None else counted & (demands.rate > 0)
    moved = np.zeros(len(demands))
    if present is not None and problem.churn:
        moved = moved_of(present, allocation, len(demands))
    if not problem.by_priority or not len(demands):
        return [_value(problem, allocation, np.ones(len(demands), bool), None, failed, moved, counted)]
    values = []
    before: Bools | None = None
    whole = problem.aim in WHOLE
    for number in np.unique(demands.priority[counted] if whole and counted.any() else demands.priority):
        among = demands.priority <= number
        values.append(_value(problem, allocation, among, before, failed, moved, counted))
        before = among
    return values


def better(problem: Problem, one: list[float], other: list[float]) -> bool:
    """Whether values `one` are worth more than `other`, the first class first."""
    for left, right in zip(one, other, strict=True):
        if not np.isclose(left, right, rtol=1e-9, atol=1e-12):
            return (left > right) == (problem.aim in GREATEST)
    return False


def moved_of(present: Allocation, allocation: Allocation, demands: int) -> Floats:
    """(demands,) how much of each demand's present rows is no longer there."""
    one = allocation
    was, gone = overlap(present, one.paths, one.demand, one.endpoint, one.path)
    # Rows that stand in the allocation twice are found once, with all of what is present.
    return tally(one.demand, np.maximum(was - one.rate, 0), demands) + tally(present.demand, gone, demands)


def _value(
    problem: Problem,
    allocation: Allocation,
    among: Bools,
    before: Bools | None,
    failed: Bools | None,
    moved: Floats,
    counted: Bools,
) -> float:
    """The value for the demands `among`, those `before` having been served first."""
    demands, aim = problem.demands, problem.aim
    churn = problem.churn * float(moved[among].sum())
    mine = among if before is None else among & ~before
    counted = counted & mine
    rows = _only(allocation, among)
    served = rows.served(len(demands))
    if aim is Aim.TOTAL_FLOW:
        return float(demands.weight @ served) - churn
    if aim in (Aim.MIN_COST, Aim.MIN_LATENCY):
        missing = np.where(among, np.maximum(demands.rate - served, 0.0), 0.0)
        return _expense(problem, rows) + problem.unserved_cost * float(demands.weight @ missing) + churn
    share = ratio(served, demands.rate)[counted]
    if aim is Aim.MAX_MIN:
        weight = demands.weight[counted]
        share = share[weight > 0] / weight[weight > 0]
        return float(share.min(initial=np.inf)) - churn if len(share) else -churn
    if not len(share):
        return churn if aim is Aim.MIN_MLU else -churn
    least = float(share.min())
    if aim is Aim.MIN_MLU:
        return (_utilisation(problem, rows, failed, least) if least > 0 else np.inf) + churn
    taken = np.zeros(len(demands), bool) if before is None else before
    fullest = _filling(problem, _only(allocation, mine), _only(allocation, taken), failed)
    return (least / fullest if fullest > 0 else np.inf if least > 0 else 0.0) - churn


def _only(allocation: Allocation, among: Bools) -> Allocation:
    if among.all():
        return allocation
    at: Ints = np.flatnonzero(among[allocation.demand])
    return Allocation(
        paths=allocation.paths,
        demand=allocation.demand[at],
        endpoint=allocation.endpoint[at],
        path=allocation.path[at],
        rate=allocation.rate[at],
    )


def _expense(problem: Problem, rows: Allocation) -> float:
    ends = problem.endpoints
    if problem.aim is Aim.MIN_LATENCY:
        from_main = main_sums(rows.paths, problem.network.latency_us)[rows.path]
        return float(rows.rate @ (from_main + ends.delay_us[rows.endpoint]))
    paid_from = np.maximum(ends.load, ends.committed)
    paid = np.maximum(ends.load + rows.endpoint_load(problem) - paid_from, 0.0)
    return float(problem.network.cost @ rows.link_load(len(problem.network.source)) + ends.cost @ paid)


def _utilisation(problem: Problem, rows: Allocation, failed: Bools | None, least: float) -> float:
    """The greatest share taken of a link or of what is free at an endpoint, the rows scaled up to serve all."""
    on_links = ratio(rows.link_load(len(problem.network.source)) / least, _capacity(problem, failed))
    at_ends = ratio(rows.endpoint_load(problem) / least, problem.endpoints.free)
    return float(max(on_links.max(initial=0.0), at_ends.max(initial=0.0)))


def _filling(problem: Problem, rows: Allocation, taken: Allocation, failed: Bools | None) -> float:
    """The greatest share that the rows take of what `taken` leaves of a link or endpoint."""
    links = len(problem.network.source)
    room = np.maximum(_capacity(problem, failed) - taken.link_load(links), 0.0)
    free = np.maximum(problem.endpoints.free - taken.endpoint_load(problem), 0.0)
    on_links = _filled(rows.link_load(links), room, _capacity(problem, failed))
    at_ends = _filled(rows.endpoint_load(problem), free, problem.endpoints.free)
    return float(max(on_links.max(initial=0.0), at_ends.max(initial=0.0)))


def _filled(load: Floats, room: Floats, capacity: Floats) -> Floats:
    """Load over room; what passes the room by no more than rounding just fills it."""
    return np.where(load <= room + 1e-9 * capacity, np.minimum(ratio(load, room), 1.0), ratio(load, room))


def _capacity(problem: Problem, failed: Bools | None) -> Floats:
    capacity = problem.network.capacity
    return capacity if failed is None else np.where(failed, 0.0, capacity)
