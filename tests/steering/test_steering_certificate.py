"""Certificates: right answers pass, every kind of wrong one is named, bounds hold against linear programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from suanwang.steering import building
from suanwang.steering.answer import GREATEST, Allocation, Answer, Prices
from suanwang.steering.building import network, problem
from suanwang.steering.certificate import Certificate, check, with_proof
from suanwang.steering.paths import PathSet
from suanwang.steering.problem import Aim, Disjoint, Limits, Network, Problem

Row = tuple[int, int, Sequence[int], float]


def Link(source: str, target: str, capacity: float = 1.0, **more: Any) -> building.Link:
    return building.Link(source=source, target=target, capacity=capacity, **more)


def Demand(source: str, to: tuple[str, ...], rate: float, **more: Any) -> building.Demand:
    return building.Demand(source=source, to=to, rate=rate, **more)


def Endpoint(name: str, node: str, **more: Any) -> building.Endpoint:
    return building.Endpoint(name=name, node=node, **more)


def answer(
    made: Problem,
    rows: Sequence[Row],
    value: float,
    bound: float = np.inf,
    prices: Prices | None = None,
    backups: dict[int, Sequence[int]] | None = None,
    **settings: Any,
) -> Answer:
    """An answer written out: rows (demand, endpoint, links, rate); `backups`: row -> links of its backup."""
    backups = backups or {}
    paths = PathSet.of(
        made.network,
        [
            (
                int(made.demands.source[demand]),
                int(made.endpoints.node[endpoint]),
                [*links, *backups.get(number, ())],
            )
            for number, (demand, endpoint, links, _) in enumerate(rows)
        ],
    )
    paths = replace(paths, main=np.array([len(links) for _, _, links, _ in rows], np.int64))
    return Answer(
        method="by hand",
        problem=made,
        allocation=Allocation(
            paths=paths,
            demand=np.array([row[0] for row in rows], np.int64),
            endpoint=np.array([row[1] for row in rows], np.int64),
            path=np.arange(len(rows)),
            rate=np.array([row[3] for row in rows], float),
        ),
        value=value,
        bound=bound,
        bound_over="any path",
        prices=prices,
        **settings,
    )


def square(**more: Any) -> Network:
    """a to d by b (links 0, 1) and by c (links 2, 3), b and c joined (4)."""
    values = {"ab": {}, "bd": {}, "ac": {}, "cd": {}, "bc": {}} | more
    return network(Link(name[0], name[1], **{"capacity": 10.0, **settings}) for name, settings in values.items())


def one_demand(net: Network, rate: float = 15.0, aim: Aim = Aim.TOTAL_FLOW, **more: Any) -> Problem:
    return problem(net, [Demand("a", ("d",), rate, name="big", **more)], aim=aim)


def end(made: Problem, node: str) -> int:
    return made.network.node_numbers[node]


def told(certificate: Certificate, *words: str) -> None:
    assert not certificate.feasible
    assert any(all(word in text for word in words) for text in certificate.violations), certificate.violations


def test_a_right_answer_is_proven() -> None:
    made = one_demand(square())
    d = end(made, "d")
    found = check(answer(made, [(0, d, (0, 1), 9), (0, d, (2, 3), 6)], 15, 15))
    assert found.feasible
    assert found.violations == ()
    assert (found.value, found.bound, found.gap, found.proven) == (15, 15, 0, True)


def test_prices_prove_a_cut() -> None:
    made = one_demand(square(), 50)
    d = end(made, "d")
    prices = Prices(link=np.array([1.0, 0, 1, 0, 0]), endpoint=np.zeros(4))
    rows = [(0, d, (0, 1), 10.0), (0, d, (2, 3), 10.0)]
    assert check(answer(made, rows, 20, 20, prices)).bound == pytest.approx(20)
    # Without prices nothing is known but what is asked for, and the claim is no more than a claim.
    found = check(answer(made, rows, 20, 20))
    assert (found.feasible, found.bound, found.proven) == (True, 50, False)


def test_the_tighter_bound_is_the_answers() -> None:
    d = 3
    prices = Prices(link=np.array([1.0, 0, 1, 0, 0]), endpoint=np.zeros(4))
    rows = [(0, d, (0, 1), 10.0), (0, d, (2, 3), 9.0)]
    made = one_demand(square(), 50)
    for claim, best in ((np.inf, 20), (30, 20), (19.5, 19.5)):
        given = answer(made, rows, 19, claim, prices)
        better = with_proof(given, check(given))
        assert better.bound == pytest.approx(best)
        assert (better is given) == (claim == best)
    made = one_demand(square(), 20, Aim.MIN_MLU)
    given = answer(made, [(0, d, (0, 1), 10.0), (0, d, (2, 3), 10.0)], 1, 0.5, prices)
    assert with_proof(given, check(given)).bound == pytest.approx(1)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([(0, "d", (0, 1), 11.0)], ("link a>b", "11", "10")),
        ([(0, "d", (0, 1), 8.0), (0, "d", (2, 3), 8.0)], ("big", "16", "15")),
        ([(0, "d", (0, 3), 1.0)], ("not connected",)),
        ([(0, "d", (0,), 1.0)], ("does not lead",)),
        ([(0, "b", (0,), 1.0)], ("not of its choice",)),
        ([(0, "d", (), 1.0)], ("no links",)),
        ([(0, "d", (0, 1), -1.0)], ("rate -1",)),
        ([(0, "d", (0, 1), np.nan)], ("rate nan",)),
    ],
)
def test_what_is_wrong_is_named(rows: list[tuple[int, str, Sequence[int], float]], words: tuple[str, ...]) -> None:
    made = one_demand(square())
    written = [(demand, end(made, node), links, rate) for demand, node, links, rate in rows]
    told(check(answer(made, written, sum(row[3] for row in written))), *words)


def test_a_value_that_the_rows_do_not_make_is_named() -> None:
    made = one_demand(square())
    told(check(answer(made, [(0, end(made, "d"), (0, 1), 9.0)], 15)), "15", "9")


def test_paths_that_visit_a_node_twice() -> None:
    net = network([Link("a", "b"), Link("b", "c"), Link("c", "b"), Link("b", "d")])
    made = one_demand(net, 1)
    told(check(answer(made, [(0, end(made, "d"), (0, 1, 2, 3), 1.0)], 1)), "visits a node twice")


def test_links_that_are_down() -> None:
    made = one_demand(square())
    failed = np.array([True, False, False, False, False])
    told(check(answer(made, [(0, end(made, "d"), (0, 1), 5.0)], 5, failed=failed)), "a>b", "down")


def test_colours_and_sums_along_paths() -> None:
    net = square(
        ab={"colours": frozenset({"sea"}), "latency_us": 10},
        bd={"latency_us": 10, "loss": 0.1, "availability": 0.5},
        ac={"latency_us": 1},
        cd={"latency_us": 1},
    )
    for limits, fine in (
        (Limits(exclude=frozenset({"sea"})), False),
        (Limits(include=frozenset({"sea"})), False),
        (Limits(include=frozenset({"nobody has it"})), False),
        (Limits(exclude=frozenset({"nobody has it"})), True),
        (Limits(latency_us=20), True),
        (Limits(latency_us=19), False),
        (Limits(loss=0.1), True),
        (Limits(loss=0.09), False),
        (Limits(availability=0.5), True),
        (Limits(availability=0.51), False),
    ):
        made = one_demand(net, limits=limits)
        found = check(answer(made, [(0, end(made, "d"), (0, 1), 5.0)], 5))
        assert found.feasible == fine, (limits, found.violations)


def test_the_delay_of_the_endpoint_counts() -> None:
    net = square(ab={"latency_us": 10}, bd={"latency_us": 10})
    for delay, fine in ((5, True), (6, False)):
        ends = [Endpoint("server", "d", delay_us=delay)]
        made = problem(net, [Demand("a", ("server",), 5, limits=Limits(latency_us=25))], ends)
        assert check(answer(made, [(0, 0, (0, 1), 5.0)], 5)).feasible == fine


def test_backups_must_be_there_and_apart() -> None:
    net = square(ab={"risks": ("duct",)}, cd={"risks": ("duct",)})
    rows = {"none": None, "same": {0: (0, 1)}, "other": {0: (2, 3)}, "half": {0: (0, 4, 3)}}
    for kind, good in (
        (Disjoint.NONE, {"none", "same", "other", "half"}),
        (Disjoint.LINK, {"other"}),
        (Disjoint.NODE, {"other"}),
        (Disjoint.RISK, set()),
    ):
        made = one_demand(net, limits=Limits(backup=kind))
        for name, backup in rows.items():
            found = check(answer(made, [(0, end(made, "d"), (0, 1), 5.0)], 5, backups=backup))
            assert found.feasible == (name in good), (kind, name, found.violations)


def test_a_backup_counts_on_its_links() -> None:
    made = problem(square(), [Demand("a", ("d",), 20, limits=Limits(backup=Disjoint.LINK)), Demand("a", ("c",), 9)])
    rows: list[Row] = [(0, end(made, "d"), (0, 1), 5.0), (1, end(made, "c"), (2,), 6.0)]
    told(check(answer(made, rows, 11, backups={0: (2, 3)})), "link a>c", "11")


def test_apart_demands_share_nothing() -> None:
    net = network([Link("a", "b"), Link("b", "d"), Link("a", "c"), Link("c", "d"), Link("c", "b"), Link("b", "e")])
    for kind, links, fine in (
        (Disjoint.LINK, (2, 3), True),
        (Disjoint.LINK, (2, 4, 1), False),
        (Disjoint.NODE, (2, 4, 5), False),
        (Disjoint.NODE, (2, 3), True),
    ):
        goal = "e" if links[-1] == 5 else "d"
        made = problem(
            net, [Demand("a", ("d",), 0.5, name="one"), Demand("a", (goal,), 0.5, apart_from="one")], apart_by=kind
        )
        rows: list[Row] = [(0, end(made, "d"), (0, 1), 0.5), (1, end(made, goal), links, 0.5)]
        found = check(answer(made, rows, 1))
        assert found.feasible == fine, (kind, links, found.violations)


def test_how_many_rows_a_demand_may_have() -> None:
    rows: list[tuple[Sequence[int], float]] = [((0, 1), 5), ((2, 3), 5), ((0, 4, 3), 2)]
    for more, fine in (({"splittable": False}, 1), ({"most_paths": 2}, 2), ({"most_paths": 3}, 3), ({}, 3)):
        made = one_demand(square(), **more)
        for count in (1, 2, 3):
            chosen = [(0, end(made, "d"), links, rate) for links, rate in rows[:count]]
            assert check(answer(made, chosen, sum(row[3] for row in chosen))).feasible == (count <= fine)


def test_endpoints_have_room_for_what_is_free() -> None:
    ends = [Endpoint("server", "d", capacity=10, load=4)]
    for work, rate, fine in ((2, 3, True), (2, 3.1, False), (0, 9, True)):
        made = problem(square(), [Demand("a", ("server",), 20, work=work)], ends)
        assert check(answer(made, [(0, 0, (0, 1), rate)], rate)).feasible == fine


def test_aims_have_their_values() -> None:
    net = square(ab={"cost": 2, "latency_us": 5}, bd={"cost": 1, "latency_us": 7})
    ends = [Endpoint("server", "d", load=3, committed=5, cost=10, delay_us=100)]
    for aim, value in (
        (Aim.TOTAL_FLOW, 4.0),
        (Aim.MAX_MIN, 0.5),
        (Aim.CONCURRENT, 0.5 / 0.4),
        (Aim.MIN_COST, 12 + 20 + 1000 * 4),
        (Aim.MIN_LATENCY, 4 * 112 + 1000 * 4),
    ):
        made = replace(problem(net, [Demand("a", ("server",), 8)], ends, aim), unserved_cost=1000.0)
        found = check(answer(made, [(0, 0, (0, 1), 4.0)], value))
        assert found.feasible, (aim, found.violations)
        assert found.value == pytest.approx(value)


def test_utilisation_may_pass_one_and_then_all_is_served() -> None:
    made = one_demand(square(), 30, Aim.MIN_MLU)
    d = end(made, "d")
    prices = Prices(link=np.array([1.0, 0, 1, 0, 0]), endpoint=np.zeros(4))
    found = check(answer(made, [(0, d, (0, 1), 15.0), (0, d, (2, 3), 15.0)], 1.5, 1.5, prices))
    assert found.feasible
    assert (found.value, found.bound, found.proven) == (1.5, 1.5, True)
    told(check(answer(made, [(0, d, (0, 1), 10.0), (0, d, (2, 3), 10.0)], 1.0)), "not served whole")


def test_demands_that_nothing_can_serve_do_not_count() -> None:
    net = network([Link("a", "b", 10, latency_us=50, jitter_us=1), Link("a", "b", 10, latency_us=1, jitter_us=50)])
    for limits, possible in (
        (Limits(latency_us=40), True),
        (Limits(latency_us=0.5), False),
        (Limits(latency_us=40, jitter_us=40), False),  # each can be kept, both can't
        (Limits(latency_us=51, jitter_us=2), True),
        (Limits(backup=Disjoint.LINK), True),
        (Limits(backup=Disjoint.LINK, latency_us=40), False),
    ):
        made = problem(net, [Demand("a", ("b",), 5), Demand("a", ("b",), 5, limits=limits)], aim=Aim.MAX_MIN)
        value = 0.0 if possible else 1.0
        assert check(answer(made, [(0, 1, (0,), 5.0)], value)).feasible, limits
        assert not check(answer(made, [(0, 1, (0,), 5.0)], 1 - value)).feasible, limits


def test_thousands_that_nothing_can_serve_do_not_count_either() -> None:
    islands = [[f"{island}{number}" for number in range(30)] for island in "xy"]
    rings = [Link(one, other, 5, latency_us=7) for isle in islands for one, other in pairwise([*isle, isle[0]])]
    apart = [Demand(one, (other,), 1) for one in islands[0] for other in islands[1]]
    far = [Demand("x0", ("x9",), 1, limits=Limits(latency_us=60)) for _ in range(1500)]
    closed = [Demand("x3", ("shut",), 1) for _ in range(1500)]
    ends = [Endpoint("shut", "x1", capacity=2, load=2)]
    made = problem(network(rings), [Demand("x0", ("x1",), 2), *apart, *far, *closed], ends, aim=Aim.CONCURRENT)
    x1 = next(at for at, node in enumerate(made.endpoints.node) if node == 1 and at > 0)
    prices = Prices(link=np.eye(60)[0], endpoint=np.zeros(len(made.endpoints.node)))
    found = check(answer(made, [(0, x1, (0,), 2.0)], 2.5, 2.5, prices))
    assert found.feasible, found.violations
    assert found.bound == pytest.approx(2.5)
    near = replace(made, demands=replace(made.demands, limits=(Limits(), Limits(latency_us=63))))
    # Now they could be served, and are not: so the least is 0.
    told(check(answer(near, [(0, x1, (0,), 2.0)], 2.5, 2.5, prices)), "2.5", "0")


def test_priorities_make_the_last_class_the_value() -> None:
    net = network([Link("a", "b", 10)])
    demands = [Demand("a", ("b",), 8, priority=0), Demand("a", ("b",), 8, priority=1)]
    prices = Prices(link=np.array([1.0]), endpoint=np.zeros(2))
    for aim in (Aim.MAX_MIN, Aim.CONCURRENT):
        made = problem(net, demands, aim=aim, by_priority=True)
        found = check(answer(made, [(0, 1, (0,), 8.0), (1, 1, (0,), 2.0)], 0.25, 0.25, prices))
        assert found.feasible, found.violations
        assert found.bound == pytest.approx(0.25)


def test_churn_is_taken_off() -> None:
    made = replace(one_demand(square()), churn=0.5)
    d = end(made, "d")
    present = answer(made, [(0, d, (0, 1), 8.0)], 8).allocation
    moved = answer(made, [(0, d, (0, 1), 5.0), (0, d, (2, 3), 3.0)], 8 - 0.5 * 3)
    assert check(moved, present=present).feasible
    assert not check(moved).feasible


@pytest.mark.parametrize(
    "spoil",
    [
        lambda rows: replace(rows, rate=rows.rate[:0]),
        lambda rows: replace(rows, demand=rows.demand + 7),
        lambda rows: replace(rows, endpoint=rows.endpoint - 7),
        lambda rows: replace(rows, path=rows.path.astype(float)),
        lambda rows: replace(rows, rate=None),
        lambda rows: replace(rows, paths=replace(rows.paths, links=rows.paths.links + 5)),
        lambda rows: replace(rows, paths=replace(rows.paths, first=rows.paths.first[::-1])),
        lambda rows: replace(rows, paths=replace(rows.paths, main=rows.paths.main + 1)),
    ],
)
def test_what_can_not_be_read_is_a_violation(spoil: Any) -> None:
    made = one_demand(square())
    good = answer(made, [(0, end(made, "d"), (0, 1), 5.0)], 5)
    found = check(replace(good, allocation=spoil(good.allocation)))
    assert not found.feasible
    assert np.isnan(found.value)


def test_wrong_prices_and_claims_are_violations_or_not_proven() -> None:
    made = one_demand(square(), 50)
    rows: list[Row] = [(0, end(made, "d"), (0, 1), 10.0), (0, end(made, "d"), (2, 3), 10.0)]
    for link in (np.full(5, np.nan), np.full(5, -1.0), np.zeros(4), np.array(["x"] * 5)):
        found = check(answer(made, rows, 20, 20, Prices(link=link, endpoint=np.zeros(4))))
        told(found, "price")
        assert found.bound == 50
    assert not check(answer(made, rows, 20, 20, failed=np.zeros(3, bool))).feasible
    assert not check(answer(made, rows, 20, np.nan)).proven
    assert not check(answer(made, rows, np.nan, 20)).feasible


def test_at_most_a_hundred_are_told() -> None:
    net = network([Link("a", "b", 1e-3)])
    made = problem(net, [Demand("a", ("b",), 1) for _ in range(300)])
    found = check(answer(made, [(number, 1, (0,), 2.0) for number in range(300)], 600))
    assert len(found.violations) == 100
    assert found.broken == 301


# --- bounds against linear programs -----------------------------------------------------------------------------------

NODES = "abcd"


@st.composite
def small(draw: st.DrawFn) -> Problem:
    pairs = draw(st.lists(st.tuples(st.sampled_from(NODES), st.sampled_from(NODES)), min_size=3, max_size=8))
    number = st.integers(1, 8)
    links = [
        Link(one, other, draw(number), latency_us=draw(number), cost=draw(number))
        for one, other in pairs
        if one != other
    ]
    ends = [
        Endpoint(
            f"e{at}",
            draw(st.sampled_from(NODES)),
            capacity=draw(st.sampled_from([4.0, 9.0, np.inf])),
            load=draw(st.integers(0, 3)),
            delay_us=draw(number),
            cost=draw(st.integers(0, 4)),
            committed=draw(st.integers(0, 6)),
        )
        for at in range(draw(st.integers(1, 3)))
    ]
    choices = st.lists(st.sampled_from([one.name for one in ends] + ["d"]), min_size=1, max_size=2, unique=True)
    demands = [
        Demand(
            draw(st.sampled_from(NODES)),
            tuple(draw(choices)),
            draw(number),
            weight=draw(st.integers(1, 3)),
            work=draw(st.integers(0, 2)),
        )
        for _ in range(draw(st.integers(1, 3)))
    ]
    net = network(links, dict.fromkeys(NODES, (0.0, 0.0)))
    return problem(net, demands, ends, draw(st.sampled_from(list(Aim))))


def simple_paths(net: Network, source: int, target: int) -> list[list[int]]:
    found, stack = [], [(source, [], {source})]
    while stack:
        node, path, seen = stack.pop()
        if node == target:
            found.append(path)
            continue
        for link in np.flatnonzero(net.source == node).tolist():
            head = int(net.target[link])
            if head not in seen:
                stack.append((head, [*path, link], seen | {head}))
    return found


def optimum(made: Problem) -> tuple[float, Prices, list[Row]] | None:
    """Best value over all simple paths by scipy's linear programs, prices from its dual values, and the rows."""
    net, ends, demands, aim = made.network, made.endpoints, made.demands, made.aim
    rows = [
        (demand, endpoint, path)
        for demand in range(len(demands))
        for endpoint in demands.endpoints_of(demand).tolist()
        if ends.free[endpoint] > 0 or demands.work[demand] == 0
        for path in simple_paths(net, int(demands.source[demand]), int(ends.node[endpoint]))
    ]
    count, links, places = len(rows), len(net.source), len(ends.node)
    if not count:
        return None
    # Columns: rows, then what endpoints pay beyond committed, then one for theta or lambda.
    wide = count + places + 1
    over = np.zeros((links + places, wide))
    asked = np.zeros((len(demands), wide))
    cost = np.zeros(wide)
    for at, (demand, endpoint, path) in enumerate(rows):
        over[path, at] = 1
        over[links + endpoint, at] = demands.work[demand]
        asked[demand, at] = 1
        if aim is Aim.MIN_COST:
            cost[at] = net.cost[path].sum() - made.unserved_cost * demands.weight[demand]
        elif aim is Aim.MIN_LATENCY:
            cost[at] = net.latency_us[path].sum() + ends.delay_us[endpoint]
            cost[at] -= made.unserved_cost * demands.weight[demand]
        elif aim is Aim.TOTAL_FLOW:
            cost[at] = -demands.weight[demand]
    room = np.concatenate([net.capacity, ends.free])
    extra, extra_room = np.zeros((places, wide)), np.full(places, np.inf)
    if aim is Aim.MIN_COST:
        cost[count : count + places] = ends.cost
        extra = np.hstack([over[links:, :count], -np.eye(places), np.zeros((places, 1))])
        extra_room = np.maximum(ends.committed - ends.load, 0)
    can = asked.any(axis=1)
    equal = equals = None
    if aim in (Aim.MAX_MIN, Aim.CONCURRENT):
        share = demands.rate * (demands.weight if aim is Aim.MAX_MIN else 1)
        equal, equals = asked[can].copy(), np.zeros(can.sum())
        equal[:, -1] = -share[can]
        cost[-1] = -1
    elif aim is Aim.MIN_MLU:
        equal, equals = asked[can].copy(), demands.rate[can]
        finite = np.isfinite(room)
        over[finite, -1] = -room[finite]
        room = np.where(finite, 0.0, np.inf)
        cost[-1] = 1
    rate_room = demands.rate if aim not in (Aim.CONCURRENT,) else np.full(len(demands), np.inf)
    matrix = np.vstack([over, asked, extra])
    limit = np.concatenate([room, rate_room, extra_room])
    finite = np.isfinite(limit)
    found = linprog(cost, matrix[finite], limit[finite], equal, equals, method="highs")
    if not found.success:
        return None
    dual = np.zeros(len(limit))
    dual[finite] = np.maximum(-found.ineqlin.marginals, 0)
    constant = made.unserved_cost * float(demands.weight @ demands.rate)
    value = {True: -found.fun, False: found.fun}[aim in GREATEST]
    if aim in (Aim.MIN_COST, Aim.MIN_LATENCY):
        value += constant
    scale = 1 / max(value, 1) if aim is Aim.CONCURRENT else 1.0
    carried = [(*row, rate * scale) for row, rate in zip(rows, found.x[:count].tolist(), strict=True) if rate > 1e-9]
    return value, Prices(link=dual[:links], endpoint=dual[links : links + places]), carried


@settings(deadline=None, max_examples=60)
@given(small(), st.randoms(use_true_random=False))
def test_bounds_meet_the_optimum_and_no_prices_prove_less_than_the_truth(made: Problem, chance: Any) -> None:
    best = optimum(made)
    if best is None:
        return
    value, prices, rows = best
    found = check(answer(made, rows, value, value, prices), tolerance=1e-5)
    assert found.feasible, found.violations
    assert found.value == pytest.approx(value, rel=1e-5, abs=1e-6)
    spare = (made.endpoints.committed > made.endpoints.load) & (made.endpoints.cost > 0)
    if made.aim is not Aim.MIN_COST or spare.sum() <= 1:
        # The prices of several endpoints beyond what is committed are tuned one by one, which may stop short.
        assert found.bound == pytest.approx(value, rel=1e-5, abs=1e-6)
    wild = Prices(
        link=np.array([chance.choice([0.0, 0.3, 1.0, 7.0]) for _ in prices.link]),
        endpoint=np.array([chance.choice([0.0, 0.3, 1.0, 7.0]) for _ in prices.endpoint]),
    )
    loose = check(answer(made, rows, value, value, wild), tolerance=1e-5)
    assert loose.feasible, loose.violations
    slack = 1e-5 * max(abs(value), 1)
    assert loose.bound >= value - slack if made.aim in GREATEST else loose.bound <= value + slack
