"""GraphML (graphml.graphdrawing.org), as the Internet Topology Zoo (Knight et al., IEEE JSAC 29/9, 2011) writes it.

Read as a stream with expat; document type declarations and entities are refused (defusedxml), so that a hostile file
costs no more than its size.

Attributes that are understood, by the `attr.name` of their key, in any case:

| of | names | meaning |
|---|---|---|
| node | `label`, `name` | name for people; else the node's id |
| node | `Latitude`, `Longitude` | degrees |
| node | `Country` | for people |
| edge | `LinkLabel`, `label` | name for people |
| edge | `LinkSpeedRaw`, `capacity_bps` | capacity in bit/s |
| edge | `LinkSpeed` with `LinkSpeedUnits` | capacity, where there is no raw one |
| edge | `latency_us`, `delay_us`, `latency_ms`, `delay_ms` | delay; `latency` and `delay` with a unit: `5ms` |
| edge | `cost`, `weight` | cost |

Everything else is passed over, and so are edges from a node to itself. Without a delay it is that of light in fibre
between the coordinates.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from io import BytesIO
from typing import Any
from xml.sax import SAXParseException
from xml.sax.handler import ContentHandler
from xml.sax.xmlreader import AttributesImpl, Locator

from defusedxml.common import DefusedXmlException
from defusedxml.sax import make_parser

from suanwang.model.units import DURATION_UNITS, parse
from suanwang.topology.graph import Direction
from suanwang.topology.importing.published import (
    Edge,
    PublishedLink,
    PublishedNode,
    PublishedTopology,
    check_count,
    joined,
    latency_between_us,
    place_on_globe,
    refuse,
    whole_capacity_bps,
    whole_cost,
    whole_latency_us,
)

LONGEST_TEXT = 10_000

_PREFIXES = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


def read_graphml(body: bytes, file: str) -> PublishedTopology:
    """The topology in a GraphML file. Raises BAD_TOPOLOGY."""
    handler = _Handler(file)
    parser = make_parser()
    parser.forbid_dtd = True
    parser.setContentHandler(handler)
    try:
        parser.parse(BytesIO(body))
    except SAXParseException as problem:
        refuse(
            f"not well-formed XML: {problem.getMessage()}", "is the file cut off?", file, problem.getLineNumber() or 0
        )
    except DefusedXmlException:
        refuse("XML with a document type or entities", "remove the DOCTYPE", file, handler.line)
    if not handler.root:
        refuse("not well-formed XML: the file is empty", "is the file cut off?", file, 1)
    return handler.topology()


class _Handler(ContentHandler):
    """Gathers nodes and edges as the parser meets them."""

    def __init__(self, file: str) -> None:
        super().__init__()
        self._file = file
        self._locator: Locator | None = None
        self._keys: dict[tuple[str, str], str] = {}
        self._directed = False
        self._graphs = 0
        self._nodes: dict[str, tuple[int, dict[str, str]]] = {}
        self._edges: list[tuple[str, str, bool, int, dict[str, str]]] = []
        self._open: tuple[str, dict[str, str]] | None = None
        self._data: tuple[str, list[str]] | None = None
        self.root = ""

    @property
    def line(self) -> int:
        """Where the parser is."""
        return (self._locator.getLineNumber() or 0) if self._locator else 0

    def setDocumentLocator(self, locator: Locator) -> None:  # noqa: N802 - the name is xml.sax's
        """xml.sax gives the parser's position."""
        self._locator = locator

    def startElement(self, name: str, attrs: AttributesImpl) -> None:  # noqa: N802
        """An element begins."""
        name = name.rpartition(":")[2]
        if not self.root:
            self.root = name
            if name != "graphml":
                refuse(f"the file is <{name}>, not <graphml>", "name the format", self._file, self.line)
        elif name == "key":
            key = (attrs.get("for", "all"), attrs.get("id", ""))
            self._keys[key] = attrs.get("attr.name", "").lower()
        elif name == "graph":
            self._graphs += 1
            if self._graphs > 1:
                refuse("there is a second <graph>", "split the file; nested graphs are not read", self._file, self.line)
            self._directed = attrs.get("edgedefault") == "directed"
        elif name == "node":
            identity = self._attribute(attrs, "node", "id")
            if identity in self._nodes:
                message = f"node {identity!r} is there twice (first on line {self._nodes[identity][0]})"
                refuse(message, "give each its own id", self._file, self.line)
            self._nodes[identity] = (self.line, {})
            check_count(len(self._nodes), 0, self._file, self.line)
            self._open = ("node", self._nodes[identity][1])
        elif name == "edge":
            ends = (self._attribute(attrs, "edge", "source"), self._attribute(attrs, "edge", "target"))
            directed = {"true": True, "false": False}.get(attrs.get("directed", ""), self._directed)
            values: dict[str, str] = {}
            self._edges.append((*ends, directed, self.line, values))
            check_count(0, len(self._edges), self._file, self.line)
            self._open = ("edge", values)
        elif name in ("hyperedge", "port"):
            refuse(f"<{name}> is not read", "use <edge> between nodes", self._file, self.line)
        elif name == "data" and self._open is not None:
            element = self._open[0]
            key_id = attrs.get("key", "")
            self._data = (self._keys.get((element, key_id)) or self._keys.get(("all", key_id)) or key_id.lower(), [])

    def characters(self, content: str) -> None:
        """Text within an element."""
        if self._data is not None and len(self._data[1]) < LONGEST_TEXT:
            self._data[1].append(content)

    def endElement(self, name: str) -> None:  # noqa: N802
        """An element ends."""
        name = name.rpartition(":")[2]
        if name in ("node", "edge"):
            self._open = None
        elif name == "data":
            if self._data is not None and self._open is not None:
                self._open[1].setdefault(self._data[0], "".join(self._data[1]).strip()[:LONGEST_TEXT])
            self._data = None

    def topology(self) -> PublishedTopology:
        """What was read, checked."""
        numbers = {identity: number for number, identity in enumerate(self._nodes)}
        result = PublishedTopology([self._node(identity, *found) for identity, found in self._nodes.items()])
        directed: list[Edge] = []
        for source, target, one_way, line, values in self._edges:
            for end in (source, target):
                if end not in numbers:
                    refuse(f"an edge ends at {end!r}, and there is no such node", "correct the id", self._file, line)
            if source == target:
                continue
            link = self._link(numbers[source], numbers[target], line, values)
            if one_way:
                latency_us = link.latency_us
                if latency_us is None:
                    latency_us = latency_between_us(result.nodes[link.a], result.nodes[link.b]) or 0
                default = Direction()
                way = Direction(link.capacity_bps or default.capacity_bps, latency_us, cost=link.cost)
                directed.append(Edge(link.a, link.b, link.label, line, way))
            else:
                result.links.append(link)
        result.links += joined(directed, self._file)
        return result

    def _attribute(self, attrs: AttributesImpl, element: str, name: str) -> str:
        value = attrs.get(name)
        if value is None:
            refuse(f"<{element}> has no {name}", f"write <{element} {name}=…>", self._file, self.line)
        return str(value)

    def _node(self, identity: str, line: int, values: Mapping[str, str]) -> PublishedNode:
        place: tuple[float | None, float | None] | None = None
        if values.get("latitude") and values.get("longitude"):
            place = place_on_globe(self._number(values, "latitude", line), self._number(values, "longitude", line))
        label = values.get("label") or values.get("name") or identity
        return PublishedNode(label, *(place or (None, None)), country=values.get("country", ""))

    def _link(self, a: int, b: int, line: int, values: Mapping[str, str]) -> PublishedLink:
        capacity_bps = latency_us = None
        for name in ("linkspeedraw", "capacity_bps"):
            if values.get(name):
                capacity_bps = whole_capacity_bps(self._number(values, name, line), self._file, line)
        if capacity_bps is None and values.get("linkspeed"):
            prefix = values.get("linkspeedunits", "").upper()[:1].removesuffix("B")
            if prefix not in _PREFIXES:
                refuse(f"LinkSpeedUnits {prefix!r} is not known", "use K, M, G or T", self._file, line)
            speed = self._number(values, "linkspeed", line) * _PREFIXES[prefix]
            capacity_bps = whole_capacity_bps(speed, self._file, line)
        for name, factor in (("latency_us", 1), ("delay_us", 1), ("latency_ms", 1000), ("delay_ms", 1000)):
            if values.get(name):
                latency_us = whole_latency_us(self._number(values, name, line) * factor, self._file, line)
        for name in ("latency", "delay"):
            if values.get(name) and latency_us is None:
                latency_us = self._duration(name, values[name], line)
        cost = 1
        for name in ("cost", "weight"):
            if values.get(name):
                cost = whole_cost(self._number(values, name, line), self._file, line)
        label = values.get("linklabel") or values.get("label") or ""
        return PublishedLink(a, b, label, capacity_bps, latency_us, cost)

    def _number(self, values: Mapping[str, Any], name: str, line: int) -> float:
        try:
            number = float(values[name])
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            refuse(f"{name} is {values[name][:60]!r}, which is no number", "write a number", self._file, line)
        return number

    def _duration(self, name: str, text: str, line: int) -> int:
        try:
            duration_us = parse(text, DURATION_UNITS, "5ms")
        except ValueError as problem:
            refuse(
                f"{name}: {problem}", f"write a unit, or name the attribute {name}_us or {name}_ms", self._file, line
            )
        return whole_latency_us(duration_us, self._file, line)
