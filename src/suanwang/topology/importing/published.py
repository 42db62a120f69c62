"""What the published formats have in common, and the way from there to resources.

A reader of a format makes a `PublishedTopology`; `documents` makes resources of it, with names that may name resources.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import defaultdict, deque
from dataclasses import dataclass, field
from typing import Any, NoReturn

from suanwang.model.errors import Place, SuanwangError, code
from suanwang.model.resource import API_VERSION
from suanwang.model.units import duration_text, rate_text, ratio_text, size_text
from suanwang.topology.graph import Direction
from suanwang.topology.kinds import LARGEST_COST, LONGEST_LATENCY_US, Role

BAD_TOPOLOGY = code("BAD_TOPOLOGY", "a topology or demand file is not of its format, or exceeds a limit")

LARGEST_FILE_BYTES = 64 * 2**20
MOST_NODES = 20_000
MOST_LINKS = 1_000_000
LONGEST_NAME = 63
LARGEST_CAPACITY_BPS = 10**18

EARTH_RADIUS_KM = 6371.0088
"""Mean radius (IUGG, GRS 80)."""
SPEED_OF_LIGHT_KM_PER_S = 299_792.458
FIBRE_SHARE_OF_LIGHT = 2 / 3
"""Light in glass of refractive index 1.5 (ITU-T G.652 fibre has 1.467)."""


@dataclass(frozen=True, slots=True)
class PublishedNode:
    """A node as published. `label` is its name for people; coordinates are degrees, or None where unknown."""

    label: str
    latitude: float | None = None
    longitude: float | None = None
    roles: tuple[Role, ...] = ("router",)
    country: str = ""


@dataclass(frozen=True, slots=True)
class PublishedLink:
    """A link between the nodes numbered `a` and `b`. What is None was not published: it is derived, or the default."""

    a: int
    b: int
    label: str = ""
    capacity_bps: int | None = None
    latency_us: int | None = None
    cost: int = 1
    mtu_bytes: int | None = None
    a_interface: str | None = None
    b_interface: str | None = None
    backward: Direction | None = None
    """What holds from b to a, where that differs."""


@dataclass(frozen=True, slots=True)
class Edge:
    """One direction of a link, as formats with directed edges publish it. `line` is where."""

    source: int
    target: int
    label: str
    line: int
    direction: Direction


@dataclass(slots=True)
class PublishedTopology:
    """All that a file says, in its order."""

    nodes: list[PublishedNode] = field(default_factory=list)
    links: list[PublishedLink] = field(default_factory=list)


def refuse(message: str, hint: str, file: str, line: int = 0, path: str = "") -> NoReturn:
    """Raise BAD_TOPOLOGY."""
    raise SuanwangError(BAD_TOPOLOGY, message, hint, Place(file, line, path))


def check_count(nodes: int, links: int, file: str, line: int) -> None:
    """Raises BAD_TOPOLOGY when there are more than the limits."""
    if nodes > MOST_NODES:
        refuse(f"more than {MOST_NODES} nodes", "import a part of it", file, line)
    if links > MOST_LINKS:
        refuse(f"more than {MOST_LINKS} links", "import a part of it", file, line)


def joined(edges: list[Edge], file: str) -> list[PublishedLink]:
    """Directed edges as links: each edge with one that leads back, alike ones first, else in the order of the file.

    Raises BAD_TOPOLOGY for an edge that has none: a link that carries packets one way only can't be built.
    """
    ways: dict[tuple[int, int], list[Edge]] = defaultdict(list)
    for edge in edges:
        ways[edge.source, edge.target].append(edge)
    pairs: list[tuple[Edge, Edge]] = []
    for (source, target), there in ways.items():
        back = ways.get((target, source), [])
        if len(back) < len(there):
            extra = there[len(back)]
            message = f"edge {extra.label!r} from node {source} to node {target} has no edge back"
            refuse(message, "add the opposite direction", file, extra.line)
    for (source, target), there in ways.items():
        if source > target:
            continue
        waiting: dict[Direction, deque[Edge]] = defaultdict(deque)
        for edge in ways[target, source]:
            waiting[edge.direction].append(edge)
        unlike: list[Edge] = []
        for edge in there:
            if waiting[edge.direction]:
                pairs.append((edge, waiting[edge.direction].popleft()))
            else:
                unlike.append(edge)
        left = sorted((edge for edges in waiting.values() for edge in edges), key=lambda edge: edge.line)
        pairs += zip(unlike, left, strict=True)
    # A link leads the way that the file names first.
    ordered = [(one, other) if one.line < other.line else (other, one) for one, other in pairs]
    ordered.sort(key=lambda pair: pair[0].line)
    return [_link(edge, back) for edge, back in ordered]


def _link(edge: Edge, back: Edge) -> PublishedLink:
    way = edge.direction
    backward = None if back.direction == way else back.direction
    return PublishedLink(
        edge.source, edge.target, edge.label, way.capacity_bps, way.latency_us, way.cost, backward=backward
    )


def latency_between_us(one: PublishedNode, other: PublishedNode) -> int | None:
    """Time of light in fibre along the great circle (haversine formula), in whole microseconds.

    None if a place is unknown. Fibres run longer than the great circle, so this is a lower bound.
    """
    if one.latitude is None or one.longitude is None or other.latitude is None or other.longitude is None:
        return None
    latitude, other_latitude = math.radians(one.latitude), math.radians(other.latitude)
    half_east = math.radians(other.longitude - one.longitude) / 2
    chord = (
        math.sin((other_latitude - latitude) / 2) ** 2
        + math.cos(latitude) * math.cos(other_latitude) * math.sin(half_east) ** 2
    )
    distance_km = 2 * EARTH_RADIUS_KM * math.asin(min(1.0, math.sqrt(chord)))
    return round(distance_km / (SPEED_OF_LIGHT_KM_PER_S * FIBRE_SHARE_OF_LIGHT) * 10**6)


def documents(topology: PublishedTopology, region: str, file: str) -> list[dict[str, Any]]:
    """User documents of a Region, and its Sites (one for each node whose place is known), Nodes and Links.

    Published names become names of resources (lower case, no accents, unique by a number at the end); the label
    `imported-name` keeps the original. Where latencies are known, the region's routing goes by delay.
    """
    if not topology.nodes:
        refuse("there is no node in it", "is it the right file?", file)
    names = _Names()
    node_names = [names.new(node.label, f"node-{number}") for number, node in enumerate(topology.nodes)]
    sites: list[dict[str, Any]] = []
    nodes: list[dict[str, Any]] = []
    for name, node in zip(node_names, topology.nodes, strict=True):
        spec: dict[str, Any] = {"region": region, "roles": list(node.roles)}
        if node.latitude is not None and node.longitude is not None:
            spec["site"] = name
            location = {"latitude": node.latitude, "longitude": node.longitude}
            site = {"region": region, "location": location, "city": node.label[:200], "country": node.country[:200]}
            sites.append(_document("Site", name, {key: value for key, value in site.items() if value != ""}))
        nodes.append(_document("Node", name, spec, node.label))
    names = _Names()
    links = [_link_document(link, topology.nodes, node_names, names, file) for link in topology.links]
    metric = "delay" if any("latency" in link["spec"] for link in links) else "hops"
    return [_document("Region", region, {"underlay": {"metric": metric}}), *sites, *nodes, *links]


def _link_document(
    link: PublishedLink, nodes: list[PublishedNode], node_names: list[str], names: _Names, file: str
) -> dict[str, Any]:
    a, b = node_names[link.a], node_names[link.b]
    latency_us = link.latency_us
    if latency_us is None:
        latency_us = latency_between_us(nodes[link.a], nodes[link.b])
    spec: dict[str, Any] = {"a": {"node": a}, "b": {"node": b}}
    if link.a_interface is not None:
        spec["a"]["interface"] = link.a_interface
    if link.b_interface is not None:
        spec["b"]["interface"] = link.b_interface
    if link.capacity_bps is not None:
        spec["capacity"] = rate_text(link.capacity_bps)
    if latency_us is not None:
        spec["latency"] = duration_text(latency_us)
    if link.cost != 1:
        spec["cost"] = link.cost
    if link.mtu_bytes is not None:
        spec["mtu"] = size_text(link.mtu_bytes)
    if link.backward is not None:
        back = link.backward
        spec["reverse"] = {
            "capacity": rate_text(back.capacity_bps),
            "latency": duration_text(back.latency_us),
            "loss": ratio_text(back.loss_ppm),
            "cost": back.cost,
        }
    return _document("Link", names.new(f"{a}-{b}", "link"), spec, link.label)


def _document(kind: str, name: str, spec: dict[str, Any], imported_name: str = "") -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name}
    if imported_name:
        metadata["labels"] = {"imported-name": imported_name[:253]}
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": spec}


class _Names:
    """Makes names of resources out of any text, each once."""

    def __init__(self) -> None:
        self._taken: dict[str, int] = {}

    def new(self, text: str, otherwise: str) -> str:
        """A name like `text`, or like `otherwise` when nothing of the text can stand in a name."""
        plain = unicodedata.normalize("NFKD", text)
        plain = "".join(letter for letter in plain if not unicodedata.combining(letter)).lower()
        stem = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:LONGEST_NAME].rstrip("-") or otherwise
        name, number = stem, self._taken.get(stem, 1)
        while name in self._taken:
            number += 1
            ending = f"-{number}"
            name = stem[: LONGEST_NAME - len(ending)].rstrip("-") + ending
        self._taken[stem] = number
        self._taken.setdefault(name, 1)
        return name


def whole_latency_us(value: float, file: str, line: int) -> int:
    """A latency in whole microseconds. Raises BAD_TOPOLOGY outside of 0 to `LONGEST_LATENCY_US`."""
    if not 0 <= value <= LONGEST_LATENCY_US:
        refuse(f"a delay of {value:g} us is out of range", f"give 0 to {LONGEST_LATENCY_US} us", file, line)
    return round(value)


def whole_capacity_bps(value: float, file: str, line: int) -> int:
    """A capacity in whole bits a second. Raises BAD_TOPOLOGY for less than 1 or more than can be."""
    if not 1 <= value <= LARGEST_CAPACITY_BPS:
        refuse(f"a capacity of {value:g} bit/s is out of range", f"give 1 to {LARGEST_CAPACITY_BPS:g}", file, line)
    return round(value)


def whole_cost(value: float, file: str, line: int) -> int:
    """A cost. Raises BAD_TOPOLOGY when it is no whole number of 1 to `LARGEST_COST`."""
    if not 1 <= value <= LARGEST_COST or value != int(value):
        refuse(f"a weight of {value:g} is no whole number of 1 to {LARGEST_COST}", "scale the weights", file, line)
    return int(value)


def place_on_globe(latitude: float, longitude: float) -> tuple[float, float] | None:
    """The place, or None where it is none: out of range, or 0 and 0, which files write for "unknown"."""
    if (latitude, longitude) == (0, 0) or not (abs(latitude) <= 90 and abs(longitude) <= 180):
        return None
    return latitude, longitude
