"""Naive answers to what candidate paths should be: all simple paths of small multigraphs, one by one."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
from hypothesis import strategies as st

from suanwang.steering.building import Demand, Endpoint, Link, network, problem
from suanwang.steering.candidates import Kind, build
from suanwang.steering.candidates.build import Built
from suanwang.steering.paths import PathSet
from suanwang.steering.problem import Disjoint, Limits, Network, Problem

Path = tuple[int, ...]


@st.composite
def networks(draw: st.DrawFn) -> Network:
    """Up to 5 nodes, with parallel links; numbers small, so that much is equal to much."""
    nodes = [f"n{at}" for at in range(draw(st.integers(2, 5)))]
    ends = st.tuples(st.sampled_from(nodes), st.sampled_from(nodes)).filter(lambda pair: pair[0] != pair[1])
    links = [
        Link(
            source=pair[0],
            target=pair[1],
            name=f"l{at}",
            capacity=draw(st.sampled_from([0.0, 1.0, 2.5, 3.0, 10.0, math.inf])),
            latency_us=draw(st.sampled_from([0.0, 1.0, 2.0, 2.5, 7.0])),
            jitter_us=draw(st.sampled_from([0.0, 1.0, 4.0])),
            loss=draw(st.sampled_from([0.0, 0.1, 0.25])),
            availability=draw(st.sampled_from([1.0, 0.9, 0.5])),
            cost=draw(st.sampled_from([0.0, 1.0, 0.1])),
            colours=draw(st.sampled_from([frozenset[str](), frozenset({"red"}), frozenset({"red", "blue"})])),
            risks=draw(st.sampled_from([(), ("sea",), ("road",), ("sea", "road")])),
        )
        for at, pair in enumerate(draw(st.lists(ends, min_size=1, max_size=12)))
    ]
    return network(links, dict.fromkeys(nodes, (0, 0)))


limits_of = st.builds(
    Limits,
    latency_us=st.sampled_from([math.inf, 2.0, 5.0, 9.5]),
    jitter_us=st.sampled_from([math.inf, 1.0, 5.0]),
    loss=st.sampled_from([1.0, 0.0, 0.19, 0.4]),
    availability=st.sampled_from([0.0, 0.4, 0.81, 1.0]),
    include=st.sampled_from([frozenset[str](), frozenset[str](), frozenset({"red"})]),
    exclude=st.sampled_from([frozenset[str](), frozenset[str](), frozenset({"blue"})]),
)


def asked(net: Network, limits: Limits, delay: float = 0.0) -> Problem:
    """A demand from every node to every node, each of which takes `delay`."""
    ends = [Endpoint(name=node, node=node, delay_us=delay) for node in net.nodes]
    rows = [Demand(source=one, to=(other,), rate=1.0, limits=limits) for one in net.nodes for other in net.nodes]
    return problem(net, rows, ends)


def built(net: Network, limits: Limits, kind: Kind, count: int, delay: float = 0.0, **more: object) -> Built:
    """The candidates of `asked`, whose only limits are the last."""
    whole = asked(net, limits, delay)
    return build(net, whole.demands, whole.endpoints, kind, count, **more)  # type: ignore[arg-type]


def of_pair(paths: PathSet, source: int, target: int) -> list[Path]:
    rows = np.flatnonzero((paths.source == source) & (paths.target == target))
    return [tuple(paths.links_of(int(row)).tolist()) for row in rows]


def every_path(net: Network, limits: Limits, source: int, target: int, delay: float = 0.0) -> list[Path]:
    """All simple paths that keep the limits, found by following links."""
    admitted = net.admitted(limits) & (net.capacity > 0)
    found = []

    def follow(node: int, seen: set[int], path: Path) -> None:
        if node == target:
            found.append(path)
            return
        for link in np.flatnonzero(admitted & (net.source == node)).tolist():
            there = int(net.target[link])
            if there not in seen:
                follow(there, seen | {there}, (*path, link))

    follow(source, {source}, ())
    return [path for path in found if keeps(net, limits, path, delay)]


def values(net: Network, path: Path, delay: float = 0.0) -> dict[str, float]:
    return {
        "latency_us": sum(net.latency_us[link] for link in path) + delay,
        "jitter_us": sum(net.jitter_us[link] for link in path),
        "loss": 1 - math.prod(1 - net.loss[link] for link in path),
        "availability": math.prod(net.availability[link] for link in path),
    }


def keeps(net: Network, limits: Limits, path: Path, delay: float = 0.0) -> bool:
    has = values(net, path, delay)
    return has["availability"] >= limits.availability - 1e-9 and all(
        has[name] <= getattr(limits, name) + 1e-9 for name in ("latency_us", "jitter_us", "loss")
    )


def rank(net: Network, path: Path) -> tuple[float, float, int]:
    links = list(path)
    return (float(net.latency_us[links].sum()), round(float(net.cost[links].sum()), 6), len(path))


def every_pair(net: Network) -> list[tuple[int, int]]:
    return [(one, other) for one in range(len(net.nodes)) for other in range(len(net.nodes))]


def by_capacity(net: Network, path: Path) -> tuple[Fraction, int, Path]:
    inverse = [Fraction(0) if net.capacity[link] == math.inf else 1 / Fraction(net.capacity[link]) for link in path]
    return sum(inverse, Fraction(0)), len(path), path


def shared(net: Network, one: Path, other: Path, how: Disjoint) -> bool:
    if set(one) & set(other):
        return True
    if how is Disjoint.NODE:
        return bool({int(net.target[link]) for link in one[:-1]} & {int(net.target[link]) for link in other[:-1]})
    risks = [{int(risk) for link in path for risk in net.risks_of(link)} for path in (one, other)]
    return how is Disjoint.RISK and bool(risks[0] & risks[1])


def same(one: PathSet, other: PathSet) -> bool:
    return all(
        np.array_equal(getattr(one, name), getattr(other, name))
        for name in ("source", "target", "first", "links", "main")
    )
