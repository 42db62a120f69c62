"""The graph that all deciders read: nodes and links, and shortest paths over them.

A graph never changes. To try something, a failure say, the caller passes a mask: the names of links and nodes that are
to be taken as absent. Building a graph sorts everything by name, so that the order of declaration decides nothing.

Held in compressed rows: all directed ends of a node lie side by side in flat arrays of integers.
"""

from __future__ import annotations

import heapq
from array import array
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from suanwang.model.errors import SuanwangError, code
from suanwang.model.reference import Key
from suanwang.topology.kinds import LinkSpec

UNKNOWN_NODE = code("UNKNOWN_NODE", "the topology has no node of that name")

Weight = Literal["latency_us", "cost", "hops"]

NOTHING: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Direction:
    """What a link does to packets in one direction."""

    capacity_bps: int = 10 * 10**9
    latency_us: int = 0
    loss_ppm: int = 0
    cost: int = 1


@dataclass(frozen=True, slots=True)
class GraphLink:
    """A link between nodes `a` and `b`: `forward` from a to b, `backward` from b to a."""

    name: str
    a: str
    b: str
    forward: Direction = Direction()
    backward: Direction = Direction()
    shared_risks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class End:
    """A link as seen from the node that sends over it."""

    link: str
    source: str
    target: str
    direction: Direction


@dataclass(frozen=True, slots=True)
class Path:
    """A way through the graph: n links and the n + 1 nodes they join, and its whole weight."""

    nodes: tuple[str, ...]
    links: tuple[str, ...]
    weight: int


class Graph:
    """Nodes and links, as of one moment."""

    __slots__ = ("_first", "_index", "_links", "_target", "_values", "nodes")

    def __init__(self, nodes: Iterable[str], links: Iterable[GraphLink]) -> None:
        """Raises UNKNOWN_NODE for a link that ends nowhere, ValueError for a link name that is there twice."""
        self.nodes: tuple[str, ...] = tuple(sorted(set(nodes)))
        self._index = {name: number for number, name in enumerate(self.nodes)}
        self._links = tuple(sorted(links, key=lambda link: link.name))
        for one, other in zip(self._links, self._links[1:], strict=False):
            if one.name == other.name:
                raise ValueError(f"link {one.name} is there twice")
        rows: list[list[int]] = [[] for _ in self.nodes]
        for number, link in enumerate(self._links):
            # An end is named by twice its link's number, plus one for the direction from b to a.
            rows[self._number(link.a)].append(2 * number)
            rows[self._number(link.b)].append(2 * number + 1)
        self._first = array("q", [0])
        self._target = array("q")
        self._values: Mapping[str, array[int]] = {name: array("q") for name in ("end", "latency_us", "cost", "hops")}
        for row in rows:
            for end in row:
                link = self._links[end >> 1]
                direction = link.backward if end & 1 else link.forward
                self._target.append(self._index[link.a if end & 1 else link.b])
                self._values["end"].append(end)
                self._values["latency_us"].append(direction.latency_us)
                self._values["cost"].append(direction.cost)
                self._values["hops"].append(1)
            self._first.append(len(self._target))

    def __contains__(self, node: str) -> bool:
        return node in self._index

    @property
    def links(self) -> tuple[GraphLink, ...]:
        """All links, by name."""
        return self._links

    def ends(self, node: str) -> Iterator[End]:
        """What `node` can send over, by the links' names."""
        number = self._number(node)
        for position in range(self._first[number], self._first[number + 1]):
            end = self._values["end"][position]
            link = self._links[end >> 1]
            yield End(link.name, node, self.nodes[self._target[position]], link.backward if end & 1 else link.forward)

    def sharing(self, risk: str) -> frozenset[str]:
        """The links that fail together when what `risk` names fails: a mask."""
        return frozenset(link.name for link in self._links if risk in link.shared_risks)

    def shortest_paths(
        self,
        source: str,
        weight: Weight = "latency_us",
        without: Collection[str] = NOTHING,
        without_nodes: Collection[str] = NOTHING,
    ) -> ShortestPaths:
        """Shortest paths from `source` to all that can be reached, `without` those links and nodes.

        Dijkstra's algorithm (Numerische Mathematik 1, 1959) with a binary heap. Of paths of equal weight the one of
        fewer hops is taken, then the one whose last nodes and links come first by name: so the answer does not depend
        on the order of declaration. Raises UNKNOWN_NODE.
        """
        absent = _members(without)
        blocked = {self._index[name] for name in without_nodes if name in self._index}
        first, target, weights, ends = self._first, self._target, self._values[weight], self._values["end"]
        start = self._number(source)
        best: dict[int, tuple[int, int]] = {}
        via: dict[int, int] = {}
        queue = [] if start in blocked else [(0, 0, start)]
        if queue:
            best[start] = (0, 0)
        done: set[int] = set()
        while queue:
            distance, hops, here = heapq.heappop(queue)
            if here in done:
                continue
            done.add(here)
            for position in range(first[here], first[here + 1]):
                there = target[position]
                if there in done or there in blocked or (absent and self._links[ends[position] >> 1].name in absent):
                    continue
                reached = (distance + weights[position], hops + 1)
                if there not in best or reached < best[there]:
                    best[there] = reached
                    via[there] = ends[position]
                    heapq.heappush(queue, (*reached, there))
        return ShortestPaths(self, start, {node: distance for node, (distance, _) in best.items()}, via)

    def path(
        self,
        source: str,
        target: str,
        weight: Weight = "latency_us",
        without: Collection[str] = NOTHING,
        without_nodes: Collection[str] = NOTHING,
    ) -> Path | None:
        """The shortest path from `source` to `target`, or None when there is none. Raises UNKNOWN_NODE."""
        self._number(target)
        return self.shortest_paths(source, weight, without, without_nodes).path(target)

    def _number(self, node: str) -> int:
        number = self._index.get(node)
        if number is None:
            from suanwang.model.registry import nearest  # only needed when something went wrong

            raise SuanwangError(UNKNOWN_NODE, f"there is no node {node!r}", nearest(node, self.nodes, "nodes"))
        return number


class ShortestPaths:
    """The shortest paths from one node, as a tree."""

    __slots__ = ("_distance", "_graph", "_start", "_via")

    def __init__(self, graph: Graph, start: int, distance: dict[int, int], via: dict[int, int]) -> None:
        self._graph = graph
        self._start = start
        self._distance = distance
        self._via = via

    @property
    def source(self) -> str:
        """Where the paths begin."""
        return self._graph.nodes[self._start]

    def distance(self, target: str) -> int | None:
        """Weight of the path to `target`, None where there is none. Raises UNKNOWN_NODE."""
        return self._distance.get(self._graph._number(target))

    def distances(self) -> dict[str, int]:
        """Weight of the path to every node that can be reached, the source included."""
        names = self._graph.nodes
        return {names[node]: distance for node, distance in sorted(self._distance.items())}

    def predecessor(self, target: str) -> End | None:
        """The last step of the path to `target`; None for the source and for what can't be reached."""
        end = self._via.get(self._graph._number(target))
        if end is None:
            return None
        link = self._graph._links[end >> 1]
        if end & 1:
            return End(link.name, link.b, link.a, link.backward)
        return End(link.name, link.a, link.b, link.forward)

    def path(self, target: str) -> Path | None:
        """The path to `target`, or None when there is none. Raises UNKNOWN_NODE."""
        weight = self.distance(target)
        if weight is None:
            return None
        nodes, links = [target], []
        while (step := self.predecessor(nodes[-1])) is not None:
            nodes.append(step.source)
            links.append(step.link)
        return Path(tuple(reversed(nodes)), tuple(reversed(links)), weight)


def graph_link(name: str, spec: Mapping[str, Any]) -> GraphLink:
    """The link that a document of kind Link declares; `spec` is its spec."""
    link = LinkSpec.model_validate(spec)
    forward = Direction(link.capacity, link.latency, link.loss, link.cost)
    backward = forward
    if link.reverse is not None:
        back = link.reverse
        backward = Direction(
            forward.capacity_bps if back.capacity is None else back.capacity,
            forward.latency_us if back.latency is None else back.latency,
            forward.loss_ppm if back.loss is None else back.loss,
            forward.cost if back.cost is None else back.cost,
        )
    return GraphLink(name, link.a.node, link.b.node, forward, backward, tuple(link.shared_risks))


def graph_of(
    documents: Iterable[tuple[Key, Mapping[str, Any]]], wanted: Callable[[str], bool] = lambda region: True
) -> Graph:
    """The graph of stored documents (those that are no Node or Link are passed over), of the regions that are `wanted`.

    A link with an end outside of those regions is left out.
    """
    nodes: set[str] = set()
    links: list[tuple[str, Mapping[str, Any]]] = []
    for key, document in documents:
        if key.kind == "Node" and wanted(document["spec"]["region"]):
            nodes.add(key.name)
        elif key.kind == "Link":
            links.append((key.name, document["spec"]))
    inside = ((name, spec) for name, spec in links if spec["a"]["node"] in nodes and spec["b"]["node"] in nodes)
    return Graph(nodes, (graph_link(name, spec) for name, spec in inside))


def _members(names: Collection[str]) -> Collection[str]:
    return names if isinstance(names, set | frozenset) else frozenset(names)
