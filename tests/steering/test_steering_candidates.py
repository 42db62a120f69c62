"""Candidate paths against plain enumeration of all simple paths on small multigraphs."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tests.steering.candidate_oracle import (
    Path,
    built,
    by_capacity,
    every_pair,
    every_path,
    keeps,
    limits_of,
    networks,
    of_pair,
    rank,
    same,
    shared,
    values,
)

from suanwang.model.errors import SuanwangError
from suanwang.steering.building import Demand, Endpoint, Link, network, problem
from suanwang.steering.candidates import Kind, build, bulk, nearest_miss, pairs
from suanwang.steering.candidates.graph import lengths
from suanwang.steering.candidates.miss import Miss
from suanwang.steering.paths import PathSet
from suanwang.steering.problem import NO_LIMITS, Disjoint, Limits, Network

calm = settings(deadline=None, max_examples=60)


@calm
@given(networks(), limits_of, st.integers(1, 12), st.sampled_from([0.0, 1.5]))
def test_shortest_paths_are_the_first_of_all(net: Network, limits: Limits, count: int, delay: float) -> None:
    result = built(net, limits, Kind.SHORTEST, count, delay)
    paths = result.candidates.sets[-1]
    fewer = True
    for source, target in every_pair(net):
        found, expected = of_pair(paths, source, target), every_path(net, limits, source, target, delay)
        fewer = fewer and len(expected) < count
        assert len(set(found)) == len(found)
        assert set(found) <= set(expected)
        assert [rank(net, path) for path in found] == sorted(rank(net, path) for path in expected)[:count]
        if result.candidates.complete:
            assert set(found) == set(expected)
    assert result.candidates.complete or not fewer
    assert not any(len(cut) for cut in result.cut)


@calm
@given(networks(), st.data())
def test_shortest_by_another_weight(net: Network, data: st.DataObject) -> None:
    weight = np.array(data.draw(st.lists(st.integers(0, 9), min_size=len(net.source), max_size=len(net.source))), float)
    paths = built(net, NO_LIMITS, Kind.SHORTEST, 4, weight=weight).candidates.sets[-1]
    for source, target in every_pair(net):
        best = sorted((weight[list(path)].sum(), len(path)) for path in every_path(net, NO_LIMITS, source, target))
        assert [(weight[list(path)].sum(), len(path)) for path in of_pair(paths, source, target)] == best[:4]


@calm
@given(networks(), st.integers(1, 4))
def test_edge_disjoint_takes_the_shortest_and_removes_it(net: Network, count: int) -> None:
    paths = built(net, NO_LIMITS, Kind.EDGE_DISJOINT, count).candidates.sets[-1]
    for source, target in every_pair(net):
        left, expected = every_path(net, NO_LIMITS, source, target), []
        while left and len(expected) < (count if source != target else 1):
            expected.append(min(left, key=lambda path: by_capacity(net, path)))
            left = [path for path in left if not set(path) & set(expected[-1])]
        assert of_pair(paths, source, target) == expected


@calm
@given(networks(), limits_of)
def test_edge_disjoint_under_limits(net: Network, limits: Limits) -> None:
    assume(limits.additive)
    paths = built(net, limits, Kind.EDGE_DISJOINT, 3).candidates.sets[-1]
    for source, target in every_pair(net):
        left = every_path(net, limits, source, target)
        found = of_pair(paths, source, target)
        for path in found:
            assert path in left
            assert by_capacity(net, path)[:2] == min(by_capacity(net, one)[:2] for one in left)
            left = [one for one in left if not set(path) & set(one)]
        assert len(found) == 3 or not left or source == target


@calm
@given(networks(), limits_of, st.sampled_from([Disjoint.LINK, Disjoint.NODE, Disjoint.RISK]), st.sampled_from([1, 60]))
def test_backups_share_nothing(net: Network, limits: Limits, how: Disjoint, count: int) -> None:
    whole = replace(limits, backup=how)
    result = built(net, whole, Kind.SHORTEST, count)
    paths = result.candidates.sets[-1]
    length = lengths(len(net.nodes), np.ones(len(net.source), bool), [net.latency_us, net.cost])
    for source, target in every_pair(net):
        every = every_path(net, limits, source, target)
        rows = np.flatnonzero((paths.source == source) & (paths.target == target)).tolist()
        got = [(tuple(paths.main_of(row).tolist()), tuple(paths.backup_of(row).tolist())) for row in rows]
        if source == target:
            assert got == ([((), ())] if every else [])
            continue
        assert len(set(got)) == len(got) <= count
        able = [(one, other) for one in every for other in every if not shared(net, one, other, how)]
        assert bool(able) == bool(got)
        assert set(got) <= set(able)
        together = [int(length[list(one + other)].sum()) for one, other in got]
        assert together == sorted(together)
        assert all(length[list(one)].sum() <= length[list(other)].sum() for one, other in got)
        if able and (count == 60 or (not limits.additive and how is not Disjoint.RISK)):
            assert together[0] == min(int(length[list(one + other)].sum()) for one, other in able)
        if count == 60:
            mains = {one for one, other in able if length[list(one)].sum() < length[list(other)].sum()}
            best = {one for one, _ in got}
            assert {one for one in mains if _best_backup_is_longer(net, one, able, length)} <= best
    assert not any(len(cut) for cut in result.cut)


def _best_backup_is_longer(net: Network, main: Path, able: list[tuple[Path, Path]], length: np.ndarray) -> bool:
    least = min(int(length[list(other)].sum()) for one, other in able if one == main)
    return least > int(length[list(main)].sum())


def test_two_paths_where_the_shortest_is_in_the_way() -> None:
    links = [("s", "a", 1), ("a", "b", 1), ("b", "t", 1), ("s", "b", 9), ("a", "t", 9)]
    net = network(Link(source=one, target=other, latency_us=latency) for one, other, latency in links)
    paths = built(net, Limits(backup=Disjoint.LINK), Kind.SHORTEST, 1).candidates.sets[-1]
    source, target = net.node_numbers["s"], net.node_numbers["t"]
    assert of_pair(paths, source, target) == [(0, 4, 3, 2)]
    assert paths.main[(paths.source == source) & (paths.target == target)].tolist() == [2]


def test_what_is_stopped_is_named() -> None:
    """Each step doubles the labels: none of 2^n ways is better than another in latency and in jitter."""
    links = []
    for at in range(14):
        links += [
            Link(source=f"n{at}", target=f"n{at + 1}", latency_us=2.0**at, jitter_us=0, name=f"slow{at}"),
            Link(source=f"n{at}", target=f"n{at + 1}", latency_us=0, jitter_us=2.0**at, name=f"shaky{at}"),
        ]
    net = network(links)
    whole = problem(net, [Demand(source="n0", to=("n14",), rate=1, limits=Limits(latency_us=8191.5, jitter_us=8191.5))])
    result = build(net, whole.demands, whole.endpoints, Kind.SHORTEST, 4, most_labels=2000)
    assert [cut.tolist() for cut in result.cut] == [[], [[0, 14]]]
    assert not result.candidates.complete
    assert len(result.candidates.sets[-1]) == 0
    least = Limits(latency_us=8191.5, jitter_us=8192.5)
    whole = problem(net, [Demand(source="n0", to=("n14",), rate=1, limits=least)])
    result = build(net, whole.demands, whole.endpoints, Kind.SHORTEST, 4)
    assert not any(len(cut) for cut in result.cut)
    assert {tuple(values(net, path).values())[:2] for path in of_pair(result.candidates.sets[-1], 0, 14)} == {
        (8191.0, 8192.0)
    }


@pytest.mark.parametrize("kind", list(Kind))
def test_workers_and_parts_change_nothing(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(7)
    links = [
        Link(
            source=f"n{one}",
            target=f"n{other}",
            name=str(at),
            latency_us=float(rng.integers(9)),
            capacity=float(rng.integers(9)),
        )
        for at, (one, other) in enumerate(rng.integers(12, size=(60, 2)).tolist())
        if one != other
    ]
    net = network(links)
    failed = rng.random(len(net.source)) < 0.2
    # Spread adds up the loads of the parts, so that other parts may round otherwise.
    for limits in (NO_LIMITS, Limits(latency_us=12.0), Limits(backup=Disjoint.NODE)):
        monkeypatch.setattr(bulk, "PART", 10)
        one = built(net, limits, kind, 3, failed=failed).candidates.sets[-1]
        with ThreadPoolExecutor(3) as workers:
            many = built(net, limits, kind, 3, failed=failed, workers=workers).candidates.sets[-1]
        assert same(one, many)
        assert not failed[one.links].any()
        assert (net.capacity[one.links] > 0).all()
        monkeypatch.setattr(bulk, "PART", 4096)
        assert kind is Kind.SPREAD or same(one, built(net, limits, kind, 3, failed=failed).candidates.sets[-1])


@calm
@given(networks(), limits_of, st.sampled_from([Kind.SPREAD, Kind.AUTO]), st.integers(1, 3))
def test_other_kinds_hold_different_paths_that_keep_limits(
    net: Network, limits: Limits, kind: Kind, count: int
) -> None:
    result = built(net, limits, kind, count)
    paths = result.candidates.sets[-1]
    order = [(int(one), int(other)) for one, other in zip(paths.source, paths.target, strict=True)]
    assert order == sorted(order)
    parts = [built(net, limits, one, count).candidates.sets[-1] for one in (Kind.EDGE_DISJOINT, Kind.SHORTEST)]
    for source, target in every_pair(net):
        found, every = of_pair(paths, source, target), every_path(net, limits, source, target)
        assert len(set(found)) == len(found)
        assert set(found) <= set(every)
        assert bool(found) == bool(every)
        if result.candidates.complete:
            assert set(found) == set(every)
        if kind is Kind.AUTO:
            assert set(found) == {path for part in parts for path in of_pair(part, source, target)}
            assert [rank(net, path) for path in found] == sorted(rank(net, path) for path in found)


def test_spread_uses_what_there_is() -> None:
    net = network(Link(source="a", target="b", name=str(at), capacity=4 + at) for at in range(4))
    paths = built(net, NO_LIMITS, Kind.SPREAD, 4).candidates.sets[-1]
    assert sorted(of_pair(paths, 0, 1)) == [(0,), (1,), (2,), (3,)]
    assert same(paths, built(net, NO_LIMITS, Kind.SPREAD, 4).candidates.sets[-1])


def test_each_limit_has_its_pairs_with_the_quickest_endpoint() -> None:
    net = network(Link(source=one, target=other, latency_us=5) for one, other in ("ab", "bc", "ca"))
    ends = [
        Endpoint(name="slow", node="c", delay_us=9),
        Endpoint(name="quick", node="c", delay_us=1),
        Endpoint(name="near", node="b", delay_us=7),
    ]
    tight = Limits(latency_us=11)
    rows = [
        Demand(source="a", to=("slow", "near"), rate=1, limits=tight),
        Demand(source="a", to=("quick",), rate=1, limits=tight),
        Demand(source="b", to=("near",), rate=1, limits=tight),
        Demand(source="b", to=("slow",), rate=1, limits=tight),
        Demand(source="c", to=("near",), rate=1),
    ]
    whole = problem(net, rows, ends)
    free, close = build(net, whole.demands, whole.endpoints, Kind.SHORTEST, 2).candidates.sets
    assert [(int(s), int(t)) for s, t in zip(free.source, free.target, strict=True)] == [(2, 1)]
    assert [(int(s), int(t)) for s, t in zip(close.source, close.target, strict=True)] == [(0, 2), (1, 1)]
    assert [close.links_of(row).tolist() for row in range(2)] == [[0, 1], []]


@calm
@given(networks(), limits_of, st.sampled_from([0.0, 1.5]))
def test_nearest_miss(net: Network, limits: Limits, delay: float) -> None:
    nodes = np.arange(1, len(net.nodes))
    miss = nearest_miss(net, limits, 0, nodes, np.full(len(nodes), delay))
    free = Limits(include=limits.include, exclude=limits.exclude)
    every = [path for node in nodes.tolist() for path in every_path(net, free, 0, node)]
    assert miss.reachable == bool(every)
    assert miss.kept == any(keeps(net, limits, path, delay) for path in every)
    for name in ("latency_us", "jitter_us", "loss", "availability"):
        best = max if name == "availability" else min
        unlimited = replace(limits, **{name: getattr(NO_LIMITS, name)})
        if unlimited == limits:
            assert name not in miss.alone
            continue
        others = [path for path in every if keeps(net, unlimited, path, delay)]
        assert (name in miss.alone) == bool(every)
        assert (name in miss.others) == bool(others)
        if every:
            assert miss.alone[name] == pytest.approx(best(values(net, path, delay)[name] for path in every), abs=1e-9)
            only = replace(free, **{name: getattr(limits, name)})
            assert (name in miss.beyond) == (not any(keeps(net, only, path, delay) for path in every))
        if others:
            assert miss.others[name] == pytest.approx(best(values(net, path, delay)[name] for path in others), abs=1e-9)


def test_two_limits_that_can_be_kept_one_at_a_time() -> None:
    ways = {"calm": (9, 1), "fast": (1, 9)}
    net = network(
        Link(source="a", target="b", name=name, latency_us=latency, jitter_us=jitter)
        for name, (latency, jitter) in ways.items()
    )
    miss = nearest_miss(net, Limits(latency_us=5, jitter_us=5), 0, np.array([1]), np.zeros(1))
    assert miss == Miss(
        reachable=True,
        alone={"latency_us": 1.0, "jitter_us": 1.0},
        others={"latency_us": 9.0, "jitter_us": 9.0},
        beyond=(),
        kept=False,
    )


@calm
@given(
    st.lists(st.floats(0, 1e12), min_size=1, max_size=30),
    st.lists(st.floats(0, 1e12), min_size=30, max_size=30),
    st.integers(2, 100_000),
)
def test_lengths_never_overflow(first: list[float], second: list[float], nodes: int) -> None:
    order = [np.array(first), np.array(second[: len(first)])]
    length = lengths(nodes, np.ones(len(first), bool), order)
    assert (length >= 1).all()
    assert sum(sorted(map(int, length), reverse=True)[: nodes - 1]) < 1 << 62
    for one in range(len(first)):
        for other in range(len(first)):
            if first[one] > first[other] + max(1e-4 * max(first), 1e-200):
                assert length[one] > length[other]


def test_too_much_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    net = network([Link(source="a", target="b"), Link(source="b", target="a")])
    with pytest.raises(SuanwangError, match="candidate paths"):
        built(net, NO_LIMITS, Kind.SHORTEST, 0)
    monkeypatch.setattr(bulk, "MOST_ENTRIES", 1)
    with pytest.raises(SuanwangError, match="2 links in candidate paths are more than 1"):
        built(net, NO_LIMITS, Kind.SHORTEST, 1)
    monkeypatch.setattr(pairs.fit, "__defaults__", (3,))
    with pytest.raises(SuanwangError, match="4 pairs of a source and an endpoint are more than 3"):
        built(net, NO_LIMITS, Kind.SHORTEST, 1)


@calm
@given(st.lists(st.lists(st.integers(0, 1), max_size=3), max_size=12), st.integers(1, 8))
def test_each_path_is_kept_once(rows: list[list[int]], block: int) -> None:
    net = network([Link(source="a", target="b"), Link(source="b", target="a")])
    paths = PathSet.of(net, [(0, len(row) % 2, row) for row in rows])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bulk, "BLOCK", block)
        found = bulk.ranked(paths, ())
    expected = sorted(dict.fromkeys(map(tuple, rows)), key=lambda row: len(row) % 2)
    assert [tuple(found.links_of(row).tolist()) for row in range(len(found))] == expected


def test_numba_is_imported_late() -> None:
    told = "import sys, suanwang.steering.candidates; print('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True).stdout == "False\n"


@pytest.mark.parametrize("how", [Disjoint.LINK, Disjoint.NODE, Disjoint.RISK])
def test_from_a_node_to_itself_leads_one_path_with_or_without_backup(how: Disjoint) -> None:
    ways = [("a", "b"), ("b", "a"), ("a", "c"), ("c", "a")]
    net = network([Link(source=one, target=other, capacity=1) for one, other in ways])
    made = problem(net, [Demand(source="a", to=("a",), rate=1, limits=Limits(backup=how))])
    for kind in Kind:
        paths = build(net, made.demands, made.endpoints, kind, 4).candidates.sets[-1]
        assert [len(paths.links_of(path)) for path in range(len(paths))] == [0]
