"""Each reason why a demand is not served, on networks small enough to see it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from suanwang.steering.answer import Allocation, Answer
from suanwang.steering.building import Demand, Endpoint, Link, network, problem
from suanwang.steering.explain import REASONS, Explainer, Reason
from suanwang.steering.paths import PathSet
from suanwang.steering.problem import Aim, Disjoint, Limits, Network, Problem


def net(*more: Link) -> Network:
    """a to d by b (5 us a hop), and by c (1 us a hop, by sea)."""
    sea = frozenset({"sea"})
    return network(
        [
            Link(source="a", target="b", capacity=10, latency_us=5),
            Link(source="b", target="d", capacity=10, latency_us=5),
            Link(source="a", target="c", capacity=4, latency_us=1, colours=sea),
            Link(source="c", target="d", capacity=4, latency_us=1, colours=sea),
            Link(source="d", target="e", capacity=100),
            *more,
        ]
    )


def explainer(made: Problem, rows: Sequence[tuple[int, int, Sequence[int], float]], **more: Any) -> Explainer:
    paths = [(int(made.demands.source[demand]), int(made.endpoints.node[end]), links) for demand, end, links, _ in rows]
    allocation = Allocation(
        paths=PathSet.of(made.network, paths),
        demand=np.array([row[0] for row in rows], np.int64),
        endpoint=np.array([row[1] for row in rows], np.int64),
        path=np.arange(len(rows)),
        rate=np.array([row[3] for row in rows], float),
    )
    return Explainer(
        Answer(method="by hand", problem=made, allocation=allocation, value=0, bound=0, bound_over="any path", **more)
    )


def reasons(made: Problem, rows: Sequence[Any] = (), **more: Any) -> tuple[Reason, ...]:
    return explainer(made, rows, **more).reasons(0)


def one(to: str = "d", rate: float = 30.0, ends: Sequence[Endpoint] = (), **more: Any) -> Problem:
    return problem(net(), [Demand(source="a", to=(to,), rate=rate, **more)], ends)


def test_ways_are_told_with_their_tightest_link() -> None:
    made = one(rate=14)
    d = made.network.node_numbers["d"]
    found = explainer(made, [(0, d, (2, 3), 3.0), (0, d, (0, 1), 9.0)]).explain(0)
    assert (found.rate, found.served) == (14, 12)
    assert [way.nodes for way in found.ways] == [("a", "b", "d"), ("a", "c", "d")]
    assert [(way.tightest, way.utilisation, way.delay_us) for way in found.ways] == [("a>b", 0.9, 10), ("a>c", 0.75, 2)]


def test_what_is_served_whole_needs_no_reason() -> None:
    made = one(rate=4)
    assert reasons(made, [(0, made.network.node_numbers["d"], (2, 3), 4.0)]) == ()


def test_no_rate_no_path_and_links_that_are_down() -> None:
    assert [one.code for one in reasons(one(rate=0))] == ["no-rate"]
    assert [one.code for one in reasons(problem(net(), [Demand(source="e", to=("a",), rate=1)]))] == ["no-path"]
    (found,) = reasons(one(), failed=np.array([True, False, True, False, False]))
    assert found.code == "no-path"
    assert "down" in found.text


def test_colours() -> None:
    (found,) = reasons(one(limits=Limits(include=frozenset({"gold"}))))
    assert found.code == "colours"


def test_limits_tell_the_nearest_miss() -> None:
    (found,) = reasons(one(limits=Limits(latency_us=1.5)))
    assert found.code == "limits"
    assert "2 us" in found.text
    assert "1.5" in found.text
    (found,) = reasons(one(limits=Limits(latency_us=9, exclude=frozenset({"sea"}))))
    assert "10 us" in found.text


def test_backups() -> None:
    (found,) = reasons(one("e", limits=Limits(backup=Disjoint.LINK)))
    assert found.code == "backup"


def test_full_links_are_those_of_the_cut() -> None:
    made = one()
    d = made.network.node_numbers["d"]
    (found,) = reasons(made, [(0, d, (0, 1), 10.0), (0, d, (2, 3), 4.0)])
    assert found.code == "links-full"
    assert found.binding == ("a>b", "a>c")
    assert "a>b, a>c" in found.text


def test_full_endpoints() -> None:
    made = one("s", ends=[Endpoint(name="s", node="d", capacity=8, load=3)])
    (found,) = reasons(made, [(0, 0, (0, 1), 5.0)])
    assert (found.code, found.binding) == ("endpoints-full", ("s",))


def test_ways_with_room_that_are_too_slow() -> None:
    made = one(limits=Limits(latency_us=5))
    (found,) = reasons(made, [(0, made.network.node_numbers["d"], (2, 3), 4.0)])
    assert found.code == "limits-full"
    assert "10 us" in found.text
    assert set(found.binding) == {"a>c", "c>d"}


def test_room_that_is_left() -> None:
    for more, word in (({"splittable": False}, "split"), ({"most_paths": 2}, "2 paths"), ({}, "tried")):
        made = one(**more)
        (found,) = reasons(made, [(0, made.network.node_numbers["d"], (2, 3), 4.0)])
        assert found.code == "left"
        assert word in found.text
    made = problem(net(), [Demand(source="a", to=("d",), rate=3)], aim=Aim.CONCURRENT)
    (found,) = reasons(made)
    assert "held back" in found.text


def test_only_what_costs_more_than_to_leave_it_is_called_dear() -> None:
    priced = [
        Link(source="a", target="b", capacity=10, cost=3, latency_us=3),
        Link(source="b", target="d", capacity=10, cost=4, latency_us=4),
    ]
    for aim in (Aim.MIN_COST, Aim.MIN_LATENCY):
        for unserved, dear in ((6.0, True), (8.0, False)):
            made = problem(network(priced), [Demand(source="a", to=("d",), rate=3)], aim=aim)
            (found,) = reasons(replace(made, unserved_cost=unserved))
            assert found.code == "left"
            assert ("costs more" in found.text) == dear


def test_above_full_use_the_factor_counts() -> None:
    made = problem(net(), [Demand(source="a", to=("d",), rate=3)], aim=Aim.MIN_MLU)
    assert Explainer(explainer(made, []).answer).reasons(0)[0].code in REASONS
