"""Shortest paths against Bellman and Ford's slow way, masks, and independence of order."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from suanwang.model.errors import SuanwangError
from suanwang.model.reference import Key
from suanwang.topology.graph import Direction, Graph, GraphLink, Path, graph_of

WEIGHTS = ("latency_us", "cost", "hops")


@st.composite
def networks(draw: st.DrawFn) -> tuple[list[str], list[GraphLink]]:
    nodes = [f"n{number}" for number in range(draw(st.integers(1, 8)))]
    directions = st.builds(Direction, latency_us=st.integers(0, 5), cost=st.integers(1, 4))
    links = []
    for number in range(draw(st.integers(0, 16)) if len(nodes) > 1 else 0):
        a, b = draw(st.lists(st.sampled_from(nodes), min_size=2, max_size=2, unique=True))
        links.append(GraphLink(f"l{number}", a, b, draw(directions), draw(directions)))
    return nodes, links


def weight_of(direction: Direction, weight: str) -> int:
    return 1 if weight == "hops" else int(getattr(direction, weight))


def bellman_ford(nodes: list[str], links: list[GraphLink], source: str, weight: str) -> dict[str, int]:
    distances = {source: 0}
    for _ in nodes:
        for link in links:
            for a, b, direction in ((link.a, link.b, link.forward), (link.b, link.a, link.backward)):
                if a in distances:
                    reached = distances[a] + weight_of(direction, weight)
                    distances[b] = min(reached, distances.get(b, reached))
    return distances


@given(networks(), st.sampled_from(WEIGHTS), st.data())
@settings(max_examples=300, deadline=None)
def test_distances_are_those_of_the_oracle_under_any_mask(
    network: tuple[list[str], list[GraphLink]], weight: str, data: st.DataObject
) -> None:
    nodes, links = network
    without = frozenset(data.draw(st.sets(st.sampled_from([link.name for link in links])))) if links else frozenset()
    graph = Graph(nodes, links)
    left = [link for link in links if link.name not in without]
    paths = graph.shortest_paths(nodes[0], weight, without)  # type: ignore[arg-type]
    assert paths.distances() == bellman_ford(nodes, left, nodes[0], weight)
    by_name = {link.name: link for link in left}
    for node, distance in paths.distances().items():
        path = paths.path(node)
        assert path is not None
        assert (path.nodes[0], path.nodes[-1], path.weight) == (nodes[0], node, distance)
        total = 0
        for here, there, name in zip(path.nodes[:-1], path.nodes[1:], path.links, strict=True):
            link = by_name[name]
            assert {here, there} == {link.a, link.b}
            total += weight_of(link.forward if here == link.a else link.backward, weight)
        assert total == distance


@given(networks(), st.randoms(use_true_random=False))
@settings(deadline=None)
def test_the_order_of_declaration_decides_nothing(network: tuple[list[str], list[GraphLink]], random: object) -> None:
    nodes, links = network
    shuffled_nodes, shuffled_links = list(nodes), list(links)
    random.shuffle(shuffled_nodes)  # type: ignore[attr-defined]
    random.shuffle(shuffled_links)  # type: ignore[attr-defined]
    one, other = Graph(nodes, links), Graph(shuffled_nodes, shuffled_links)
    assert [one.path(nodes[0], node) for node in nodes] == [other.path(nodes[0], node) for node in nodes]


SQUARE = [
    GraphLink("ab", "a", "b", Direction(latency_us=1), Direction(latency_us=1), ("duct",)),
    GraphLink("bd", "b", "d", Direction(latency_us=1), Direction(latency_us=9)),
    GraphLink("ac", "a", "c", Direction(latency_us=2), Direction(latency_us=2), ("duct",)),
    GraphLink("cd", "c", "d", Direction(latency_us=2), Direction(latency_us=2)),
]


def test_a_failure_is_a_mask() -> None:
    graph = Graph("abcd", SQUARE)
    assert graph.path("a", "d") == Path(("a", "b", "d"), ("ab", "bd"), 2)
    assert graph.path("d", "a") == Path(("d", "c", "a"), ("cd", "ac"), 4)
    assert graph.path("a", "d", without={"bd"}) == Path(("a", "c", "d"), ("ac", "cd"), 4)
    assert graph.path("a", "d", without_nodes={"b"}) == Path(("a", "c", "d"), ("ac", "cd"), 4)
    assert graph.path("a", "d", without=graph.sharing("duct")) is None
    assert graph.path("a", "d", without_nodes={"a"}) is None
    assert graph.path("a", "a") == Path(("a",), (), 0)
    assert graph.path("a", "d") == Path(("a", "b", "d"), ("ab", "bd"), 2)


def test_ties_go_to_fewer_hops_then_to_names() -> None:
    links = [GraphLink(name, *name) for name in ("ab", "bd", "ac", "cd", "ad")]
    assert Graph("abcd", links).path("a", "d") == Path(("a", "d"), ("ad",), 0)
    assert Graph("abcd", links[:4]).path("a", "d") == Path(("a", "b", "d"), ("ab", "bd"), 0)


def test_ends_are_seen_from_the_sender() -> None:
    ends = {end.target: end for end in Graph("abcd", SQUARE).ends("d")}
    assert ends["b"].direction.latency_us == 9
    assert (ends["b"].link, ends["b"].source) == ("bd", "d")


def test_errors_name_what_is_wrong() -> None:
    with pytest.raises(SuanwangError, match="no node 'x'"):
        Graph("a", []).path("a", "x")
    with pytest.raises(SuanwangError, match="no node 'b'"):
        Graph("a", [GraphLink("l", "a", "b")])
    with pytest.raises(ValueError, match="twice"):
        Graph("ab", [GraphLink("l", "a", "b"), GraphLink("l", "a", "b")])


LATENCIES = {"latency": "3ms", "reverse": {"latency": "4ms"}}


def test_a_graph_of_documents() -> None:
    documents = [
        (Key("Node", "", "a"), {"spec": {"region": "r"}}),
        (Key("Node", "", "b"), {"spec": {"region": "r"}}),
        (Key("Node", "", "c"), {"spec": {"region": "q"}}),
        (Key("Link", "", "ab"), {"spec": {"a": {"node": "a"}, "b": {"node": "b"}, **LATENCIES}}),
        (Key("Link", "", "bc"), {"spec": {"a": {"node": "b"}, "b": {"node": "c"}, "cost": 7}}),
    ]  # fmt: skip
    whole = graph_of(documents)
    assert whole.path("b", "a") == Path(("b", "a"), ("ab",), 4000)
    assert whole.path("a", "c", "cost") == Path(("a", "b", "c"), ("ab", "bc"), 8)
    part = graph_of(documents, lambda region: region == "r")
    assert (part.nodes, [link.name for link in part.links]) == (("a", "b"), ["ab"])
