"""Failures: what fails together, how words name it, and that the worst comes first."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from suanwang.model.errors import SuanwangError
from suanwang.steering import exact
from suanwang.steering.answer import Allocation, Answer, Budget
from suanwang.steering.building import Demand, Link, network, problem
from suanwang.steering.candidates import Kind, build
from suanwang.steering.failures import (
    Scenario,
    busiest,
    cables,
    failed_links,
    losses,
    risks,
    single_links,
)
from suanwang.steering.paths import PathSet
from suanwang.steering.problem import Aim, Bools, Network, Problem


def net() -> Network:
    """a, b, c in a row of two-way cables, two between a and b; and one way from a to c."""
    ways = [("a", "b"), ("b", "a"), ("b", "a"), ("a", "b"), ("b", "c"), ("c", "b"), ("a", "c")]
    duct = {0: ("duct",), 4: ("duct", "pole")}
    return network(
        Link(source=one, target=other, capacity=number + 1.0, risks=duct.get(number, ()))
        for number, (one, other) in enumerate(ways)
    )


def test_cables_pair_links_with_those_that_lead_back() -> None:
    assert [one.links for one in cables(net())] == [(0, 1), (2, 3), (4, 5), (6,)]
    assert [one.kind for one in cables(net())] == ["cable", "cable", "cable", "link"]
    assert cables(net())[0].name == "a>b and b>a"
    assert len(single_links(net())) == 7


def test_risks() -> None:
    assert risks(net()) == [Scenario("duct", "risk", (0, 4)), Scenario("pole", "risk", (4,))]


@pytest.mark.parametrize(
    ("word", "links"),
    [
        ("a>b", [0]),
        ("a>b#2", [3]),
        ("a-b", [0, 1, 2, 3]),
        ("risk:duct", [0, 4]),
        ("node:c", [4, 5, 6]),
    ],
)
def test_words_for_failures(word: str, links: list[int]) -> None:
    assert np.flatnonzero(failed_links(net(), [word])).tolist() == links


def test_unknown_words() -> None:
    for word in ("a>z", "risk:x", "node:x", "a-z", ""):
        with pytest.raises(SuanwangError) as caught:
            failed_links(net(), [word])
        assert caught.value.code == "BAD_PROBLEM"
        assert caught.value.hint


def served_directly(made: Problem, failed: Bools) -> Answer:
    """All of a>b on the first of the two links that is up."""
    links = [link for link in (0, 3) if not failed[link]][:1]
    rate = [min(float(made.demands.rate[0]), float(made.network.capacity[link])) for link in links]
    end = made.network.node_numbers["b"]
    allocation = Allocation(
        paths=PathSet.of(made.network, [(0, end, [link]) for link in links]),
        demand=np.zeros(len(links), np.int64),
        endpoint=np.full(len(links), end),
        path=np.arange(len(links)),
        rate=np.array(rate),
    )
    return Answer(
        method="by hand", problem=made, allocation=allocation, value=sum(rate), bound=9, bound_over="any path",
        failed=failed,
    )  # fmt: skip


def test_the_worst_comes_first() -> None:
    made = problem(net(), [Demand(source="a", to=("b",), rate=3)], aim=Aim.TOTAL_FLOW)
    none = np.zeros(7, bool)
    begun = served_directly(made, none)
    assert begun.value == 1
    heard = []
    both = Scenario("both", "risk", (0, 3))
    found, worst = losses(
        begun, [*cables(net()), both], lambda failed: served_directly(made, failed), lambda at, one: heard.append(at)
    )
    assert heard == [0, 1, 2, 3, 4]
    assert (found[0].scenario.name, found[0].lost, found[0].lost_rate, found[0].hit) == ("both", 1, 1, 1)
    assert worst is not None
    assert np.flatnonzero(worst.failed).tolist() == [0, 3]
    assert (found[0].cut_off, found[0].broken) == (3, 0)
    # The other cable is the wider one: without the first, more is served by this simple solver.
    assert (found[-1].scenario.links, found[-1].lost) == ((0, 1), -2)


def test_what_failed_already_stays_down() -> None:
    made = problem(net(), [Demand(source="a", to=("b",), rate=3)])
    down = np.zeros(7, bool)
    down[3] = True
    (found,), worst = losses(
        served_directly(made, down), [Scenario("x", "link", (0,))], lambda one: served_directly(made, one)
    )
    assert found.served == 0
    assert worst is not None
    assert np.flatnonzero(worst.failed).tolist() == [0, 3]


def test_an_answer_that_uses_what_is_down_is_noted() -> None:
    made = problem(net(), [Demand(source="a", to=("b",), rate=3)])
    none = np.zeros(7, bool)
    begun = served_directly(made, none)
    (found,), _ = losses(begun, [Scenario("x", "link", (0,))], lambda failed: replace(begun, failed=failed))
    assert found.broken


def test_what_cuts_demands_off_is_worse_than_what_fills_links() -> None:
    # Without a>c, c is cut off and what is left is better off; without the first a>b, the second is fuller.
    demands = [Demand(source="a", to=("b",), rate=1), Demand(source="a", to=("c",), rate=7)]
    ways = [("a", "b", 4), ("a", "b", 1), ("a", "c", 8)]
    small = network(Link(source=one, target=other, capacity=room) for one, other, room in ways)
    made = problem(small, demands, aim=Aim.MIN_MLU)
    candidates = build(small, made.demands, made.endpoints, Kind.SHORTEST, 4).candidates
    budget = Budget(clock=lambda: 0.0)
    begun = exact.solve(made, candidates, budget)
    found, _ = losses(begun, single_links(small), lambda failed: exact.solve(made, candidates, budget, failed=failed))
    assert [(one.scenario.name, one.cut_off, one.broken) for one in found] == [
        ("a>c", 7, 0), ("a>b", 0, 0), ("a>b#2", 0, 0),
    ]  # fmt: skip
    assert found[0].lost < 0 < found[1].lost


def test_only_the_busiest_are_tried() -> None:
    scenarios = single_links(net())
    load = np.array([0, 5, 1, 0, 7, 0, 0.0])
    assert [one.links for one in busiest(scenarios, load, 2)] == [(1,), (4,)]
