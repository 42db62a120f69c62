"""The exact solver and POP: examples worked out by hand, bounds, demands that nobody can serve."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from scipy.optimize import linprog
from tests.steering.oracle import candidates_of, check
from tests.steering.random_problems import random_problem

from suanwang.model.errors import SuanwangError
from suanwang.steering import exact, greedy, pop
from suanwang.steering.answer import GREATEST, Answer, Budget, Solver
from suanwang.steering.building import Demand, Link, network, problem
from suanwang.steering.exact import linear
from suanwang.steering.exact.linear import Highs, Linear, safe_bound
from suanwang.steering.problem import Aim, Problem
from suanwang.steering.value import values_of

seeds = st.integers(0, 10**6)


def budget(seconds: float = np.inf, seed: int = 0) -> Budget:
    ticks = itertools.count()
    return Budget(clock=lambda: next(ticks) * 1e-6, seconds=seconds, seed=seed)


@given(seeds, st.integers(1, 5))
@settings(deadline=None, max_examples=50)
def test_pop_deals_out_all_demands_once(seed: int, parts: int) -> None:
    asked = random_problem(seed, Aim.TOTAL_FLOW, chosen=True)
    dealt = pop.deal(asked, parts, np.random.default_rng(seed))
    total = np.zeros(len(asked.demands))
    for which, share in dealt:
        assert len(set(which.tolist())) == len(which)
        total[which] += share
    assert np.allclose(total, 1)


def test_pop_of_one_part_is_exact() -> None:
    asked = random_problem(4, Aim.TOTAL_FLOW)
    whole = exact.solve(asked, candidates_of(asked), budget())
    assert pop.solve(asked, candidates_of(asked), budget(), parts=1).value == pytest.approx(whole.value)


@given(seeds)
@settings(deadline=None, max_examples=100)
def test_any_duals_give_a_bound(seed: int) -> None:
    rng = np.random.default_rng(seed)
    columns, rows = int(rng.integers(1, 5)), int(rng.integers(1, 5))
    group = rng.integers(-1, 2, columns)
    group_most = rng.integers(1, 4, 2).astype(float)
    matrix = rng.integers(-2, 4, (rows, columns)).astype(float)
    for number in range(2):
        matrix = np.vstack([matrix, group == number])
    upper = np.concatenate([rng.integers(0, 5, rows).astype(float), group_most])
    program = Linear(
        cost=rng.integers(-4, 4, columns).astype(float),
        lower=np.zeros(columns),
        upper=rng.integers(1, 5, columns).astype(float),
        matrix=sparse.csc_matrix(matrix),
        row_lower=np.full(rows + 2, -np.inf),
        row_upper=upper,
        integer=np.zeros(columns, bool),
        group=group,
        group_most=group_most,
    )
    found = linprog(program.cost, A_ub=matrix, b_ub=upper, bounds=[(0, one) for one in program.upper])
    assert found.status == 0
    assert safe_bound(program, -rng.random(rows + 2) * 4) <= found.fun + 1e-9
    assert safe_bound(program, found.ineqlin.marginals) == pytest.approx(found.fun, abs=1e-9)
    assert Highs().solve(program, 10).bound == pytest.approx(found.fun, abs=1e-6)


def square(aim: Aim, demands: list[Demand], **more: Any) -> Problem:
    """a to d by b (2) or by c (1)."""
    hops = [("a", "b", 2.0), ("b", "d", 2.0), ("a", "c", 1.0), ("c", "d", 1.0)]
    links = [Link(source=a, target=b, capacity=size, latency_us=10 / size, cost=size) for a, b, size in hops]
    return problem(network(links), demands, aim=aim, **more)


def answered(asked: Problem, **more: Any) -> Answer:
    return exact.solve(asked, candidates_of(asked), budget(), **more)


def test_examples_worked_out_by_hand() -> None:
    demand = Demand(source="a", to=("d",), rate=4.0)
    assert answered(square(Aim.TOTAL_FLOW, [demand])).value == pytest.approx(3)
    assert answered(square(Aim.CONCURRENT, [demand])).value == pytest.approx(0.75)
    assert answered(square(Aim.MIN_MLU, [demand])).value == pytest.approx(4 / 3)
    one = dataclasses.replace(demand, rate=1.5)
    assert answered(square(Aim.CONCURRENT, [one])).value == pytest.approx(2)
    assert answered(square(Aim.CONCURRENT, [one])).served == pytest.approx([1.5])
    assert answered(square(Aim.MIN_COST, [one])).value == pytest.approx(1 * 2 + 0.5 * 4)
    assert answered(square(Aim.MIN_LATENCY, [one])).value == pytest.approx(1.5 * 10)
    whole = dataclasses.replace(demand, rate=2.5, splittable=False)
    assert answered(square(Aim.TOTAL_FLOW, [whole])).value == pytest.approx(2)


def test_the_first_class_is_served_as_if_alone() -> None:
    first, second = (Demand(source="a", to=("d",), rate=2.0, priority=number, weight=1.0 + number) for number in (0, 1))
    answer = answered(square(Aim.TOTAL_FLOW, [second, first], by_priority=True))
    assert answer.served == pytest.approx([1, 2])
    assert values_of(answer.problem, answer.allocation) == pytest.approx([2, 4])
    assert answered(square(Aim.MAX_MIN, [second, first], by_priority=True)).value == pytest.approx(0.25)
    assert answered(square(Aim.CONCURRENT, [second, first], by_priority=True)).value == pytest.approx(0.5)
    assert answered(square(Aim.MIN_MLU, [second, first], by_priority=True)).value == pytest.approx(4 / 3)


def test_prices_prove_the_total_flow() -> None:
    answer = answered(square(Aim.TOTAL_FLOW, [Demand(source="a", to=("d",), rate=4.0)]))
    assert answer.prices is not None
    assert float(answer.prices.link @ answer.problem.network.capacity) == pytest.approx(3)
    assert answer.bound == pytest.approx(3)


@pytest.mark.parametrize("aim", list(Aim))
def test_what_nobody_can_serve_is_reported_and_does_not_count(aim: Aim) -> None:
    nowhere = Demand(source="d", to=("a",), rate=1.0)
    asked = square(aim, [Demand(source="a", to=("d",), rate=1.0), nowhere])
    answer = answered(asked)
    assert answer.served == pytest.approx([1, 0])
    assert answer.notes == ("demands without a path that can serve them: 1",)
    assert np.isfinite(answer.value)
    none = answered(square(aim, [nowhere]))
    assert len(none.allocation) == 0
    assert none.finished
    assert answered(square(aim, [])).finished
    down = answered(asked, failed=np.ones(4, bool))
    assert len(down.allocation) == 0


@pytest.mark.parametrize("solver", [exact.solve, greedy.solve, pop.solve])
def test_candidates_are_needed(solver: Solver) -> None:
    with pytest.raises(SuanwangError):
        solver(square(Aim.TOTAL_FLOW, []), None, budget())


def test_many_that_can_not_be_split_get_a_greatest_least_share() -> None:
    demands = [Demand(source="a", to=("d",), rate=0.1, splittable=False, name=f"{at}") for at in range(45)]
    answer = answered(square(Aim.MAX_MIN, demands))
    assert answer.finished
    assert answer.value == pytest.approx(3 / 45 / 0.1, rel=1e-6)


@pytest.mark.parametrize("method", ["ipm", "pdlp"])
@pytest.mark.parametrize("aim", list(Aim))
def test_without_crossover_answers_keep_limits_and_come_close(
    aim: Aim, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in range(8):
        asked = random_problem(seed, aim)
        exactly = exact.solve(asked, candidates_of(asked), budget())
        with monkeypatch.context() as patch:
            patch.setattr(linear, "SMALL", 0)
            answer = exact.solve(asked, candidates_of(asked), budget(), method=method)
        if np.isfinite(exactly.value):
            check(asked, answer.allocation, overfull=max(1.0, answer.value) if aim is Aim.MIN_MLU else 1.0)
            assert answer.value == pytest.approx(exactly.value, rel=1e-3, abs=1e-3)
            side = 1 if aim in GREATEST else -1
            assert side * (answer.bound - exactly.value) >= -1e-6 * max(1, abs(exactly.value))


@pytest.mark.parametrize("aim", [Aim.CONCURRENT, Aim.MIN_MLU])
def test_demands_of_very_different_sizes_are_all_served(aim: Aim) -> None:
    """Some are smaller than what a program in the others' unit can tell from nothing."""
    nodes = "abcdefgh"
    random = np.random.default_rng(4)
    hops = [pair for pair in itertools.permutations(nodes, 2) if random.random() < 0.2]
    hops += zip(nodes, nodes[1:] + nodes[:1], strict=True)
    sizes = 10.0 ** random.uniform(-10, 2, 56)
    pairs = itertools.permutations(nodes, 2)
    asked = problem(
        network([Link(source=one, target=other, capacity=100.0) for one, other in dict.fromkeys(hops)]),
        [Demand(source=one, to=(other,), rate=float(size)) for (one, other), size in zip(pairs, sizes, strict=True)],
        aim=aim,
    )
    for method in ("simplex", "ipm"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(linear, "SMALL", 10**9 if method == "simplex" else 0)
            answer = exact.solve(asked, candidates_of(asked), budget())
        assert answer.gap < 1e-5
        check(asked, answer.allocation, None, max(1.0, answer.value))
