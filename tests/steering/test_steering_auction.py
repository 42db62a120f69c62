"""The auction of endpoints' room, against a linear programme; and answers that start from it."""

from __future__ import annotations

import dataclasses
import itertools
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog
from tests.steering.oracle import candidates_of as simple_paths
from tests.steering.oracle import check
from tests.steering.random_problems import random_problem

from suanwang.steering import exact, fast
from suanwang.steering.answer import GREATEST, Budget
from suanwang.steering.candidates import Kind
from suanwang.steering.candidates import build as find
from suanwang.steering.certificate import check as certificate
from suanwang.steering.fast import auction, exchange, narrow, sums
from suanwang.steering.fast.auction import Auction
from suanwang.steering.fast.narrow import Narrow
from suanwang.steering.online import Online, repair
from suanwang.steering.paths import Candidates
from suanwang.steering.problem import Aim, Demands, Endpoints, Network, Problem
from suanwang.steering.rows import Rows, build
from suanwang.steering.value import values_of

seeds = st.integers(0, 10**6)
GROUPS, EACH = 3, 13


def budget(gap: float = 0.01, **others: Any) -> Budget:
    ticks = itertools.count()
    return Budget(clock=lambda: next(ticks) * 1e-6, gap=gap, **others)


def services(seed: int, aim: Aim, demands: int = 40, links: float = 1.0, room: float = 1.1) -> Problem:
    """A ring of sites with chords, services with `EACH` instances that together have `room` times what is wanted;
    `links`: their capacity, in all that is wanted.
    """
    random = np.random.default_rng(seed)
    sites, count = 8, GROUPS * EACH
    ring = np.arange(sites)
    source = np.concatenate([ring, (ring + 1) % sites, ring, (ring + 3) % sites])
    target = np.concatenate([(ring + 1) % sites, ring, (ring + 3) % sites, ring])
    rate, work = random.lognormal(0, 1, demands), random.choice([0.0, 0.5, 2.0], demands, p=[0.1, 0.5, 0.4])
    choice = random.integers(0, GROUPS, demands)
    need = np.bincount(choice, weights=rate * work, minlength=GROUPS) + 0.1
    share = random.lognormal(0, 0.7, (GROUPS, EACH))
    capacity = (room * share * (need / share.sum(axis=1))[:, None]).ravel()
    capacity[random.random(count) < 0.1] = np.inf
    return Problem(
        network=Network(
            nodes=tuple("abcdefgh"),
            source=source,
            target=target,
            capacity=links * rate.sum() * random.uniform(0.5, 1.5, len(source)),
            latency_us=random.uniform(1.0, 9.0, len(source)),
            cost=random.uniform(0.0, 2.0, len(source)),
        ),
        endpoints=Endpoints(
            node=random.integers(0, sites, count),
            capacity=capacity,
            delay_us=random.uniform(0.0, 9.0, count),
            cost=random.uniform(0.0, 5.0, count),
        ),
        demands=Demands(
            source=random.integers(0, sites, demands),
            choice=choice,
            rate=rate,
            work=work,
            weight=random.uniform(0.5, 2.0, demands),
            priority=random.integers(0, 2, demands),
            choice_first=np.arange(GROUPS + 1) * EACH,
            choice_of=np.arange(count),
        ),
        aim=aim,
        unserved_cost=60.0,
    )


def candidates_of(asked: Problem) -> Candidates:
    return find(asked.network, asked.demands, asked.endpoints, Kind.SPREAD, 3).candidates


def auction_of(asked: Problem, workers: ThreadPoolExecutor | None = None) -> tuple[Rows, Auction]:
    rows = build(asked, candidates_of(asked))
    worth = sums._worth(rows, slice(None), None)
    every = Narrow(rows, np.ones(len(asked.demands), bool), worth, workers)
    return rows, Auction(every, np.zeros(len(rows)))


@given(seeds, st.sampled_from([0.5, 0.9, 1.1, 3.0]), st.sampled_from([0.05, 1.0]))
@settings(deadline=None, max_examples=60)
def test_room_is_sold_as_well_as_bids_allow(seed: int, room: float, bid: float) -> None:
    asked = services(seed, Aim.MIN_LATENCY, room=room)
    rows, sale = auction_of(asked)
    demands, ends = asked.demands, asked.endpoints
    path_price = np.random.default_rng(seed).uniform(0, 20, len(rows.paths))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(auction, "MOST_BIDS", 10**6)
        rate, price = sale.sell(path_price, bid)
    worth = sale.narrow.worth - path_price[rows.path]
    served = np.bincount(rows.demand, weights=rate, minlength=len(demands))
    load = np.bincount(rows.endpoint, weights=rate * demands.work[rows.demand], minlength=len(ends.node))
    assert (rate >= 0).all()
    assert (served <= demands.rate * (1 + 1e-9)).all()
    assert (load <= ends.free * (1 + 1e-9)).all()
    # No demand would gain more than a bid by being elsewhere, and what costs something is sold.
    net = worth - price[rows.endpoint] * demands.work[rows.demand]
    best = np.maximum(np.maximum.reduceat(net, rows.first[:-1][rows.counted]), 0.0)
    slack = bid * demands.work[rows.demand] * (1 + 1e-6) + 1e-6
    top = np.zeros(len(demands))
    top[rows.counted] = best
    assert (net >= top[rows.demand] - slack)[rate > 1e-6 * demands.rate[rows.demand]].all()
    assert (load >= ends.free * (1 - 1e-6))[(price > 0) & np.isfinite(ends.free)].all()
    # And so it comes as near to the best as that.
    limited = np.isfinite(ends.free)
    reference = linprog(
        -worth,
        A_ub=np.concatenate([rows.of_demands.toarray(), rows.at_endpoints.toarray()[limited]]),
        b_ub=np.concatenate([demands.rate, ends.free[limited]]),
    )
    total = float(bid * demands.work @ demands.rate)
    assert worth @ rate <= -reference.fun * (1 + 1e-7)
    assert worth @ rate >= -reference.fun - total - 1e-6 * abs(reference.fun)


@given(seeds)
@settings(deadline=None, max_examples=40)
def test_what_is_too_much_is_settled(seed: int) -> None:
    asked = services(seed, Aim.MIN_LATENCY, links=0.1)
    rows, sale = auction_of(asked)
    random = np.random.default_rng(seed)
    rate = np.where(random.random(len(rows)) < 0.1, random.random(len(rows)), 0.0) * asked.demands.rate[rows.demand]
    served = np.bincount(rows.demand, weights=rate, minlength=len(asked.demands))
    rate /= np.maximum(served / asked.demands.rate, 1.0)[rows.demand]
    settled = sale.settle(rate, np.zeros(len(rows.paths)), random.uniform(0, 20, len(asked.endpoints.node)), 0.1)
    check(asked, rows.allocation(settled))


@pytest.mark.parametrize("aim", [Aim.TOTAL_FLOW, Aim.MIN_LATENCY, Aim.MIN_COST])
@pytest.mark.parametrize("by_priority", [False, True])
@pytest.mark.parametrize(("links", "room"), [(1.0, 1.1), (0.05, 1.1), (1.0, 0.6), (0.05, 5.0)])
def test_answers_are_near_the_best(aim: Aim, by_priority: bool, links: float, room: float) -> None:
    asked = dataclasses.replace(services(7, aim, 120, links, room), by_priority=by_priority)
    candidates = candidates_of(asked)
    assert narrow.is_wide(build(asked, candidates))
    assert auction.is_sold(build(asked, candidates), np.ones(len(asked.demands), bool))
    answer = fast.solve(asked, candidates, budget(0.002))
    found = certificate(answer)
    assert not found.broken
    reference = exact.solve(asked, candidates, budget(1e-6))
    best = reference.value
    side = 1 if aim in GREATEST else -1
    assert side * (answer.bound - best) >= -1e-6 * abs(best)
    if by_priority:
        one, other = (values_of(asked, found.allocation)[0] for found in (answer, reference))
        assert abs(one - other) <= 0.003 * abs(other)
    else:
        # With classes, what the first leaves undone may serve the second.
        assert side * (answer.value - best) <= 1e-6 * abs(best)
        assert answer.gap < 0.002
        assert abs(answer.value - best) <= 0.002 * abs(best)


def test_answers_do_not_depend_on_workers() -> None:
    asked = services(3, Aim.MIN_LATENCY, 200, links=0.1)
    candidates = candidates_of(asked)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exchange, "CROWD", 1)
        answers = [fast.solve(asked, candidates, budget())]
        for count in (1, 2):
            with ThreadPoolExecutor(count) as workers:
                answers.append(fast.solve(asked, candidates, budget(workers=workers)))
    for answer in answers:
        assert not certificate(answer).broken
        assert answer.gap < 0.01
        assert np.array_equal(answer.allocation.rate, answers[0].allocation.rate)
        assert answer.bound == pytest.approx(answers[0].bound, rel=1e-12)


@pytest.mark.parametrize("change", ["one worker and no links", "great rates", "one service", "no gap"])
def test_answers_where_something_is_special(change: str) -> None:
    asked, gap = services(5, Aim.MIN_LATENCY, 100), 0.01
    demands, network = asked.demands, asked.network
    if change == "one worker and no links":
        alone = Network(nodes=("a",), source=np.zeros(0, int), target=np.zeros(0, int), capacity=np.zeros(0))
        ends = dataclasses.replace(asked.endpoints, node=np.zeros(len(asked.endpoints.node), int))
        here = dataclasses.replace(demands, source=np.zeros(len(demands), int))
        asked = dataclasses.replace(asked, network=alone, endpoints=ends, demands=here)
    elif change == "great rates":
        asked = dataclasses.replace(
            asked,
            network=dataclasses.replace(network, capacity=1e9 * network.capacity),
            endpoints=dataclasses.replace(asked.endpoints, capacity=1e9 * asked.endpoints.capacity),
            demands=dataclasses.replace(demands, rate=1e9 * demands.rate),
        )
    elif change == "one service":
        asked = dataclasses.replace(asked, demands=dataclasses.replace(demands, choice=np.zeros(len(demands), int)))
    else:
        gap = 0.0
    candidates = candidates_of(asked)
    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(1) as workers:
        patch.setattr(narrow, "WIDE", 4)
        patch.setattr(exchange, "CROWD", 1)
        answer = fast.solve(asked, candidates, budget(gap, workers=workers))
    assert not certificate(answer).broken
    best = exact.solve(asked, candidates, budget(1e-6)).value
    assert answer.bound <= best * (1 + 1e-6)
    assert best * (1 - 1e-6) <= answer.value <= best * 1.011


@given(seeds, st.sampled_from([Aim.TOTAL_FLOW, Aim.MIN_COST, Aim.MIN_LATENCY]))
@settings(deadline=None, max_examples=40)
def test_two_sides_keep_what_one_keeps(seed: int, aim: Aim) -> None:
    """Also where demands are to be apart; and what is repaired on two sides does not depend on threads."""
    asked = dataclasses.replace(random_problem(seed, aim, chosen=True, small=True), by_priority=False)
    candidates = simple_paths(asked)
    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(2) as workers:
        for room in (exchange, repair):
            patch.setattr(room, "CROWD", 1)
        for room in (exchange, repair):
            patch.setattr(room, "BLOCK", 1)
        found = [fast.solve(asked, candidates, budget(workers=one)) for one in (None, workers)]
        check(asked, found[0].allocation)
        assert np.array_equal(found[0].allocation.rate, found[1].allocation.rate)
        states = []
        for one in (None, workers):
            online = Online(asked, candidates, found[0].allocation, found[0].prices, workers=one)
            if len(asked.network.source):
                online.fail(0)
                check(asked, online.snapshot(), online.state.failed)
                online.restore(0)
            online.improve()
            check(asked, online.snapshot())
            states.append(online.snapshot())
        assert np.array_equal(states[0].rate, states[1].rate)
