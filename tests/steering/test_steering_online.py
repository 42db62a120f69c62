"""Repair: what is kept agrees with what it would be if worked out anew, and keeps all limits, whatever happens."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.steering.oracle import candidates_of, check
from tests.steering.random_problems import random_problem

from suanwang.model.errors import SuanwangError
from suanwang.steering import exact, fast
from suanwang.steering.answer import GREATEST, Answer, Budget
from suanwang.steering.building import Demand, Endpoint, Link, network, problem
from suanwang.steering.methods import solver
from suanwang.steering.online import Online, solve
from suanwang.steering.online.kernels import OWNER, RATE
from suanwang.steering.problem import Aim, Demands, Network, Problem, nodes_as_endpoints
from suanwang.steering.value import value_of

seeds = st.integers(0, 10**6)
AIMS = list(Aim)


def budget() -> Budget:
    ticks = itertools.count()
    return Budget(clock=lambda: next(ticks) * 1e-6)


def now(asked: Problem, online: Online) -> Problem:
    """The problem as it is after all changes so far, without what was placed."""
    rate = online.state.asked[: len(asked.demands)]
    capacity = online.state.free + asked.endpoints.load
    capacity = np.where(online.state.free > 0, capacity, np.minimum(asked.endpoints.capacity, asked.endpoints.load))
    return dataclasses.replace(
        asked,
        demands=dataclasses.replace(asked.demands, rate=rate.copy()),
        endpoints=dataclasses.replace(asked.endpoints, capacity=capacity),
    )


def sound(asked: Problem, online: Online) -> None:
    """Loads are the sums of rows; nothing is overfull, and nobody has more than was asked for."""
    state = online.state
    kept = state.load.copy()
    state.add_up()
    np.testing.assert_allclose(kept, state.load, rtol=1e-9, atol=1e-9)
    rows = online.snapshot()
    changed = now(asked, online)
    over = 1.0
    if asked.aim is Aim.MIN_MLU:
        load = rows.link_load(state.links), rows.endpoint_load(changed)
        room = state.room
        over = max([1.0, *(np.concatenate(load)[room > 0] / room[room > 0])])
    check(changed, rows, state.failed, over)


@given(seeds, st.sampled_from(AIMS), st.booleans())
@settings(deadline=None, max_examples=200)
def test_whatever_changes_nothing_is_broken(seed: int, aim: Aim, chosen: bool) -> None:
    asked = random_problem(seed, aim, chosen=chosen, small=True)
    rng = np.random.default_rng(seed)
    first = fast.solve(asked, candidates_of(asked), budget())
    online = Online(asked, candidates_of(asked), first.allocation, first.prices)
    sound(asked, online)
    for _ in range(8):
        link, demand = int(rng.integers(len(asked.network.source))), int(rng.integers(len(asked.demands)))
        match int(rng.integers(4)):
            case 0:
                online.fail(link)
            case 1:
                online.restore(link)
            case 2:
                online.demand(demand, float(rng.choice([0, 0.5, 2, 7])))
            case 3:
                online.endpoint(int(rng.integers(len(asked.endpoints.node))), float(rng.choice([0, 1, 3, np.inf])))
        sound(asked, online)


@given(seeds, st.sampled_from([Aim.TOTAL_FLOW, Aim.MIN_COST, Aim.MIN_LATENCY, Aim.MIN_MLU, Aim.CONCURRENT]))
@settings(deadline=None, max_examples=200)
def test_repair_is_near_the_best_and_never_beyond(seed: int, aim: Aim) -> None:
    asked = dataclasses.replace(random_problem(seed, aim), by_priority=False)
    paths = candidates_of(asked)
    failed = np.zeros(len(asked.network.source), bool)
    failed[np.random.default_rng(seed).integers(len(failed))] = True
    first = exact.solve(asked, paths, budget())
    answer = solve(asked, paths, budget(), failed=failed, present=first.allocation)
    best = exact.solve(asked, paths, budget(), failed=failed)
    side = 1 if aim in GREATEST else -1
    if not np.isfinite(best.value):
        return
    scale = max(abs(best.value), 0.2 if aim is Aim.MIN_MLU else 1e-9)
    if aim in (Aim.MIN_COST, Aim.MIN_LATENCY):
        scale = max(scale, 0.1 * asked.unserved_cost * float(asked.demands.weight @ asked.demands.rate))
    assert side * (answer.value - best.value) <= 1e-6 * scale
    if np.isfinite(answer.bound):
        assert side * (answer.bound - best.value) >= -1e-6 * scale
    assert side * (answer.value - best.value) >= -0.1 * scale


@given(seeds, st.sampled_from(AIMS))
@settings(deadline=None, max_examples=100)
def test_what_is_placed_keeps_limits_and_is_kept_through_failures(seed: int, aim: Aim) -> None:
    asked = random_problem(seed, aim, chosen=True, small=True)
    demands = asked.demands
    rng = np.random.default_rng(seed)
    online = Online(asked, candidates_of(asked))
    order = rng.integers(len(demands), size=4)
    rates = rng.choice([0.5, 1, 3], 4)
    numbers = online.place(
        demands.source[order],
        demands.choice[order],
        rates,
        weight=demands.weight[order],
        limit=demands.limit[order],
        priority=demands.priority[order],
        work=demands.work[order],
    )
    grown = dataclasses.replace(
        asked,
        demands=dataclasses.replace(
            demands,
            names=(),
            **{
                name: np.concatenate([getattr(demands, name), getattr(demands, name)[order]])
                for name in ("source", "choice", "weight", "limit", "priority", "work")
            },
            rate=np.concatenate([demands.rate, rates]),
            splittable=np.concatenate([demands.splittable, np.ones(4, bool)]),
            most_paths=np.concatenate([demands.most_paths, np.zeros(4)]),
            apart=np.concatenate([demands.apart, np.full(4, -1)]),
        ),
    )
    assert numbers.tolist() == [len(demands) + at for at in range(4)]
    sound(grown, online)
    online.fail(int(rng.integers(len(asked.network.source))))
    sound(grown, online)
    served = online.snapshot().served(len(grown.demands))
    for number in numbers.tolist():
        assert online.placed(number)[2].sum() == pytest.approx(served[number], abs=1e-9)
    for number in numbers.tolist():
        online.withdraw(number)
    assert not np.isin(online.snapshot().demand, numbers).any()
    again = online.place(demands.source[order[0]], demands.choice[order[0]], 1.0, limit=demands.limit[order[0]],
                         priority=demands.priority[order[0]])  # fmt: skip
    assert again[0] in numbers


@given(seeds, st.sampled_from([Aim.TOTAL_FLOW, Aim.MIN_COST, Aim.CONCURRENT]))
@settings(deadline=None, max_examples=50)
def test_a_class_does_not_see_later_ones(seed: int, aim: Aim) -> None:
    asked = dataclasses.replace(random_problem(seed, aim), by_priority=True)
    first = asked.demands.priority == asked.demands.priority.min()
    alone = dataclasses.replace(
        asked, demands=dataclasses.replace(asked.demands, rate=np.where(first, asked.demands.rate, 0.0))
    )
    found = []
    for one in (asked, alone):
        online = Online(one, candidates_of(one))
        for link in range(0, len(one.network.source), 2):
            online.fail(link)
        online.restore(0)
        found.append(online.snapshot().served(len(one.demands))[first])
    np.testing.assert_allclose(found[0], found[1], rtol=1e-9, atol=1e-9)


def grid(aim: Aim, side: int = 8, load: float = 1.6) -> Problem:
    """Nodes in a square, every pair a demand, links of one capacity."""
    rng = np.random.default_rng(1)
    at = np.arange(side * side).reshape(side, side)
    one = np.concatenate([at[:, :-1].ravel(), at[:-1].ravel()])
    two = np.concatenate([at[:, 1:].ravel(), at[1:].ravel()])
    count = side * side
    ends, choice_first, choice_of = nodes_as_endpoints(count)
    source, choice = np.nonzero(~np.eye(count, dtype=bool))
    net = Network(
        nodes=tuple(map(str, range(count))),
        source=np.concatenate([one, two]),
        target=np.concatenate([two, one]),
        capacity=np.full(2 * len(one), 100.0),
        cost=rng.integers(1, 5, 2 * len(one)).astype(float),
    )
    rate = load * rng.exponential(1.0, len(source))
    demands = Demands(source=source, choice=choice, rate=rate, choice_first=choice_first, choice_of=choice_of)
    return Problem(network=net, endpoints=ends, demands=demands, aim=aim)


def found_paths(asked: Problem) -> Any:
    from suanwang.steering.candidates import Kind, build

    return build(asked.network, asked.demands, asked.endpoints, Kind.AUTO, 3).candidates


@pytest.mark.parametrize("aim", [Aim.TOTAL_FLOW, Aim.MIN_COST, Aim.MIN_MLU, Aim.CONCURRENT])
def test_a_failed_link_costs_no_more_than_solving_anew_says(aim: Aim) -> None:
    asked = grid(aim)
    paths = found_paths(asked)
    first = fast.solve(asked, paths, budget())
    online = Online(asked, paths, first.allocation, first.prices)
    for link in (30, 100, 7):
        online.fail(link)
    anew = exact.solve(asked, paths, budget(), failed=online.state.failed)
    value = value_of(asked, online.snapshot(), online.state.failed)
    rows = online.snapshot()
    over = max(1.0, value) if aim is Aim.MIN_MLU else 1.0
    capacity = np.where(online.state.failed, 0.0, asked.network.capacity)
    assert (rows.link_load(len(capacity)) <= over * capacity * (1 + 1e-9)).all()
    assert (rows.served(len(asked.demands)) <= asked.demands.rate * (1 + 1e-9)).all()
    assert value == pytest.approx(anew.value, rel=0.01)
    side = 1 if aim in GREATEST else -1
    assert side * (online.bound() - anew.value) >= -1e-6 * anew.value
    assert online.bound() == pytest.approx(anew.value, rel=0.05)
    for link in (30, 100, 7):
        online.restore(link)
    assert value_of(asked, online.snapshot()) == pytest.approx(first.value, rel=0.01)


def answered(asked: Problem) -> Answer:
    return solver("online")(asked, found_paths(asked), budget())


def test_the_same_comes_out_twice() -> None:
    asked = grid(Aim.TOTAL_FLOW, 5)
    one, two = answered(asked), answered(asked)
    assert one.value == two.value
    np.testing.assert_array_equal(one.allocation.rate, two.allocation.rate)


def test_without_a_present_allocation_repair_still_answers_well() -> None:
    asked = grid(Aim.TOTAL_FLOW, 5)
    best = exact.solve(asked, found_paths(asked), budget())
    assert answered(asked).value == pytest.approx(best.value, rel=0.02)
    assert answered(asked).bound >= best.value * (1 - 1e-9)


def test_a_new_demand_goes_where_there_is_room() -> None:
    links = [Link(source="a", target="b", capacity=2), Link(source="a", target="c", capacity=5)]
    ends = [Endpoint(name="near", node="b"), Endpoint(name="far", node="c", capacity=4)]
    asked = problem(network(links), [Demand(source="a", to=("near", "far"), rate=1)], ends)
    online = Online(asked, candidates_of(asked))
    numbers = online.place(0, 0, [2.0, 1.5, 9.0])
    state = online.state
    rate = np.zeros(state.demands)
    np.add.at(rate, state.rows[: state.count, OWNER], state.flow[: state.count, RATE])
    assert rate.sum() == pytest.approx(6.0)  # 2 to near, 4 to far: that is all there is
    assert rate[numbers[0]] == pytest.approx(2.0)
    for number in numbers.tolist():
        assert online.placed(number)[2].sum() == pytest.approx(rate[number])


@pytest.mark.parametrize(
    "wrong",
    [
        lambda online: online.fail(99),
        lambda online: online.restore(-1),
        lambda online: online.demand(5, 1.0),
        lambda online: online.demand(0, float("nan")),
        lambda online: online.endpoint(0, -1.0),
        lambda online: online.endpoint(9, 1.0),
        lambda online: online.place(0, 7, 1.0),
        lambda online: online.place(0, 0, -1.0),
        lambda online: online.place(0.5, 0, 1.0),
        lambda online: online.placed(12),
    ],
)
def test_what_is_not_there_is_refused(wrong: Any) -> None:
    asked = problem(network([Link(source="a", target="b")]), [Demand(source="a", to=("b",), rate=1)])
    online = Online(asked, candidates_of(asked))
    with pytest.raises(SuanwangError, match="BAD_PROBLEM"):
        wrong(online)
    sound(asked, online)
