"""The fast solver against brute force: answers keep all limits, bounds are true, and the two are close."""

from __future__ import annotations

import dataclasses
import itertools
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.steering.oracle import Oracle, candidates_of, check
from tests.steering.random_problems import random_problem

from suanwang.steering import exact, fast
from suanwang.steering.answer import GREATEST, Answer, Budget
from suanwang.steering.building import Demand, Link, network, problem
from suanwang.steering.fast import exchange, narrow
from suanwang.steering.problem import Aim, Demands, Network, Problem, nodes_as_endpoints

seeds = st.integers(0, 10**6)
SUMS = st.sampled_from([Aim.TOTAL_FLOW, Aim.MIN_COST, Aim.MIN_LATENCY])
WORST = st.sampled_from([Aim.CONCURRENT, Aim.MIN_MLU, Aim.MAX_MIN])


def budget(seconds: float = np.inf, gap: float = 0.005, **others: Any) -> Budget:
    ticks = itertools.count()
    return Budget(clock=lambda: next(ticks) * 1e-6, seconds=seconds, gap=gap, **others)


def judge(asked: Problem, answer: Answer, failed: Any = None) -> None:
    overfull = max(1.0, answer.value) if asked.aim is Aim.MIN_MLU else 1.0
    if np.isfinite(overfull):
        check(asked, answer.allocation, failed, overfull)
    side = 1 if asked.aim in GREATEST else -1
    if np.isfinite(answer.bound):
        assert side * (answer.bound - answer.value) >= -1e-6 * max(1.0, abs(answer.value))


def near(asked: Problem, answer: Answer, best: float, share: float) -> None:
    """Not better than the best, nor further off than that share of it; the bound is on the other side."""
    demands = asked.demands
    scale = max(abs(best), 1.0 if asked.aim is Aim.MIN_MLU else 1e-9)
    if asked.aim in (Aim.MIN_COST, Aim.MIN_LATENCY):
        # What is off is some of what is served, and that counts as if it were not.
        scale = max(scale, 0.1 * asked.unserved_cost * float(demands.weight @ demands.rate))
    side = 1 if asked.aim in GREATEST else -1
    assert side * (answer.value - best) <= 1e-6 * scale
    assert side * (answer.value - best) >= -share * scale
    assert side * (answer.bound - best) >= -1e-6 * scale


@given(seeds, SUMS)
@example(1469, Aim.MIN_COST)
@settings(deadline=None, max_examples=150)
def test_sums_are_close_to_brute_force(seed: int, aim: Aim) -> None:
    asked = dataclasses.replace(random_problem(seed, aim), by_priority=False)
    failed = np.random.default_rng(seed).random(len(asked.network.source)) < 0.1
    answer = fast.solve(asked, candidates_of(asked), budget(), failed=failed)
    judge(asked, answer, failed)
    best = Oracle(asked, failed).value()
    near(asked, answer, best, 0.03)


@given(seeds, SUMS)
@settings(deadline=None, max_examples=80)
def test_a_few_rows_at_a_time_lead_to_the_same(seed: int, aim: Aim) -> None:
    """As for demands with dozens of rows: two at a time, and of these those near the best."""
    asked = dataclasses.replace(random_problem(seed, aim), by_priority=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(narrow, "WIDE", 0)
        patch.setattr(narrow, "MOST", 2)
        patch.setattr(exchange, "MANY", 0)
        answer = fast.solve(asked, candidates_of(asked), budget())
    judge(asked, answer)
    near(asked, answer, Oracle(asked).value(), 0.05)


@given(seeds, WORST)
@example(123, Aim.MIN_MLU)
@settings(deadline=None, max_examples=150)
def test_the_worst_is_close_to_brute_force(seed: int, aim: Aim) -> None:
    asked = dataclasses.replace(random_problem(seed, aim), by_priority=False)
    answer = fast.solve(asked, candidates_of(asked), budget())
    judge(asked, answer)
    reference = exact.solve(asked, candidates_of(asked), budget())
    if np.isfinite(reference.value):
        near(asked, answer, reference.value, 0.03)


@given(seeds, st.sampled_from(list(Aim)))
@settings(deadline=None, max_examples=150)
def test_whatever_is_asked_is_kept(seed: int, aim: Aim) -> None:
    """Whole demands, few paths, disjoint demands, classes, backups: no bound on how good, but no limit is broken."""
    asked = random_problem(seed, aim, chosen=True, small=True)
    judge(asked, fast.solve(asked, candidates_of(asked), budget()))


@given(seeds, st.sampled_from(list(Aim)), st.sampled_from([0.0, 2e-6, 5e-6, 2e-5]))
@settings(deadline=None, max_examples=60)
def test_short_of_time_the_answer_still_holds(seed: int, aim: Aim, seconds: float) -> None:
    asked = random_problem(seed, aim)
    answer = fast.solve(asked, candidates_of(asked), budget(seconds))
    judge(asked, answer)


def gravity(nodes: int, seed: int, aim: Aim) -> Problem:
    """A ring with chords, and demands between all its nodes."""
    random = np.random.default_rng(seed)
    ring = np.arange(nodes)
    chords = random.integers(0, nodes, (nodes // 2, 2))
    chords = chords[chords[:, 0] != chords[:, 1]]
    one = np.concatenate([ring, chords[:, 0]])
    other = np.concatenate([(ring + 1) % nodes, chords[:, 1]])
    endpoints, first, of = nodes_as_endpoints(nodes)
    source, target = np.nonzero(~np.eye(nodes, dtype=bool))
    mass = random.random(nodes) ** 3
    return Problem(
        network=Network(
            nodes=tuple(f"n{number}" for number in range(nodes)),
            source=np.concatenate([one, other]),
            target=np.concatenate([other, one]),
            capacity=np.full(2 * len(one), 10.0),
        ),
        endpoints=endpoints,
        demands=Demands(
            source=source, choice=target, rate=mass[source] * mass[target] * 4 + 1e-3, choice_first=first, choice_of=of
        ),
        aim=aim,
    )


@pytest.mark.parametrize("aim", [Aim.TOTAL_FLOW, Aim.MIN_MLU, Aim.CONCURRENT])
def test_a_larger_network_is_within_the_gap_of_the_exact_answer(aim: Aim) -> None:
    asked = gravity(40, 1, aim)
    from suanwang.steering.candidates import Kind, build

    candidates = build(asked.network, asked.demands, asked.endpoints, Kind.EDGE_DISJOINT, 4).candidates
    answer = fast.solve(asked, candidates, budget())
    reference = exact.solve(asked, candidates, budget())
    assert answer.value == pytest.approx(reference.value, rel=0.01)
    assert answer.gap < 0.012


def test_workers_and_the_same_seed_change_nothing() -> None:
    asked = gravity(30, 2, Aim.TOTAL_FLOW)
    with ThreadPoolExecutor(3) as workers:
        answers = [fast.solve(asked, None, budget(workers=one)) for one in (None, workers, workers)]
    rates = [answer.allocation.rate for answer in answers]
    assert np.array_equal(rates[0], rates[1])
    assert np.array_equal(rates[1], rates[2])


def test_a_sample_of_the_demands_leads_to_the_same_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = gravity(40, 3, Aim.TOTAL_FLOW)
    whole = fast.solve(asked, None, budget())
    monkeypatch.setattr("suanwang.steering.fast.descent.SAMPLE", 150)
    sampled = fast.solve(asked, None, budget())
    assert sampled.value == pytest.approx(whole.value, rel=0.01)


def test_without_demands_or_ways_there_is_nothing_to_do() -> None:
    net = network([Link(source="a", target="b", capacity=0.0), Link(source="b", target="c")])
    for aim in Aim:
        for demands in ([], [Demand(source="c", to=("a",), rate=1.0)], [Demand(source="a", to=("b",), rate=0.0)]):
            answer = fast.solve(problem(net, demands, aim=aim), None, budget())
            assert len(answer.allocation) == 0
