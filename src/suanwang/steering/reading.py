"""Files as networks, endpoints and classes of limits; `reading_demands` and `telemetry` read the rest. Bytes come in:
opening files is the caller's. docs/rooms/steering.md has the columns of each.

Rates and capacities are in the unit of the file: bit/s in GraphML and `.graph`, whatever one likes in CSV.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from suanwang.model.errors import Place, SuanwangError
from suanwang.model.reading import line_of, read_text
from suanwang.model.registry import nearest
from suanwang.model.units import DURATION_UNITS, RATIO_UNITS, parse
from suanwang.steering.columns import Part, Table, refuse, text_of
from suanwang.steering.problem import (
    ABSENT,
    BAD_PROBLEM,
    MOST_ENDPOINTS,
    MOST_LINKS,
    MOST_NODES,
    Disjoint,
    Endpoints,
    Floats,
    Ints,
    Limits,
    Network,
)
from suanwang.topology.graph import Direction
from suanwang.topology.importing.graphml import read_graphml
from suanwang.topology.importing.published import PublishedTopology, latency_between_us
from suanwang.topology.importing.repetita import read_graph

SEPARATOR = "|"
"""Between names in one field: colours, risks, endpoints to choose from."""

GREATEST = 1e12
"""Of latencies in microseconds and of costs."""

LINK_VALUES = {"latency_us": 0.0, "jitter_us": 0.0, "loss": 0.0, "availability": 1.0, "cost": 0.0}
_LINK_COLUMNS = {
    **{name: name for name in ("capacity", *LINK_VALUES, "name", "domain", "colours", "risks")},
    **dict.fromkeys(("src", "source"), "src"),
    **dict.fromkeys(("dst", "target", "destination"), "dst"),
}
_ENDPOINT_COLUMNS = {
    **{name: name for name in ("name", "node", "capacity", "load", "delay", "cost", "committed", "service")},
    "delay_us": "delay",
}
_MAP_COLUMNS = {"node": "node", "name": "node", **{word: word for word in ("longitude", "latitude")}}
_MAP_COLUMNS |= {"lon": "longitude", "x": "longitude", "lat": "latitude", "y": "latitude"}


def read_topology(body: bytes, file: str) -> Network:
    """The network in a `.graph` (Repetita), GraphML or CSV file, told by the suffix or by how it begins.

    Raises BAD_PROBLEM, or BAD_TOPOLOGY for published formats, with the line.
    """
    suffix = file.rpartition(".")[2].lower()
    begin = body[:4096].removeprefix(b"\xef\xbb\xbf").lstrip()
    if suffix == "graph" or (suffix != "csv" and begin.startswith(b"NODES")):
        return _published(read_graph(text_of(body, file), file), file)
    if suffix in ("graphml", "xml") or begin.startswith(b"<"):
        return _published(read_graphml(body, file), file)
    return _links(text_of(body, file), file)


def _published(found: PublishedTopology, file: str) -> Network:
    if not found.nodes:
        refuse("there is no node in it", "is it the right file?", file)
    default = Direction()
    ways = []
    for link in found.links:
        latency = link.latency_us
        if latency is None:
            latency = latency_between_us(found.nodes[link.a], found.nodes[link.b]) or 0
        there = Direction(link.capacity_bps or default.capacity_bps, latency, cost=link.cost)
        ways += [(link.a, link.b, there), (link.b, link.a, link.backward or there)]
    places = [
        (np.nan if node.longitude is None else node.longitude, np.nan if node.latitude is None else node.latitude)
        for node in found.nodes
    ]
    return Network(
        nodes=_unique(node.label for node in found.nodes),
        source=np.array([way[0] for way in ways], np.int64),
        target=np.array([way[1] for way in ways], np.int64),
        capacity=np.array([way[2].capacity_bps for way in ways], float),
        latency_us=np.array([way[2].latency_us for way in ways], float),
        loss=np.array([way[2].loss_ppm / 1e6 for way in ways], float),
        cost=np.array([way[2].cost for way in ways], float),
        position=np.array(places, float),
    )


def _unique(labels: Iterable[str]) -> tuple[str, ...]:
    """Names of nodes: a label that is there already gets a number."""
    taken: set[str] = set()
    names = []
    for label in labels:
        name, number = label, 1
        while name in taken:
            number += 1
            name = f"{label}#{number}"
        taken.add(name)
        names.append(name)
    return tuple(names)


def _links(text: str, file: str) -> Network:
    table = Table.of(text, file, _LINK_COLUMNS, ("src", "dst", "capacity"))
    codes: dict[str, int] = {}
    parts: dict[str, list[Any]] = {}
    domains: dict[str, int] = {}
    groups: dict[str, dict[str, int]] = {"colours": {}, "risks": {}}
    lists: dict[str, list[list[int]]] = {"colours": [], "risks": []}
    for part in table.parts(MOST_LINKS):
        for end in ("src", "dst"):
            parts.setdefault(end, []).append(part.coded(end, codes, lambda name: _entered(name, codes, MOST_NODES)))
        loops = np.flatnonzero(parts["src"][-1] == parts["dst"][-1])
        if len(loops):
            part.refuse(int(loops[0]), "a link leads from a node to itself", "remove it")
        parts.setdefault("capacity", []).append(part.numbers("capacity", infinite=True))
        for name, default in LINK_VALUES.items():
            if name in part.columns:
                values = part.numbers(name, default=default, most=GREATEST)
                if name in ("loss", "availability") and (values > 1).any():
                    at = int(np.flatnonzero(values > 1)[0])
                    part.refuse(at, f"{name} is {values[at]:g}", "write a fraction of 1, as in 0.001")
                parts.setdefault(name, []).append(values)
        if "domain" in part.columns:
            parts.setdefault("domain", []).append(
                part.coded("domain", domains, lambda name: _entered(name, domains, MOST_LINKS))
            )
        if "name" in part.columns:
            parts.setdefault("name", []).append(np.array(part.columns["name"], object))
        for name, known in groups.items():
            for field_text in part.columns.get(name, ()):
                words = [word.strip() for word in field_text.split(SEPARATOR) if word.strip()]
                lists[name].append([known.setdefault(word, len(known)) for word in dict.fromkeys(words)])
    if not parts:
        refuse("there is no link in it", "is it the right file?", file)
    if len(groups["colours"]) > 62:
        refuse(f"{len(groups['colours'])} colours are more than 62", "use fewer", file)
    whole = {name: np.concatenate(values) for name, values in parts.items()}
    nodes, number = _numbered(codes)
    names = tuple(str(name) for name in whole.pop("name", ()))
    colours = [sum(1 << colour for colour in one) for one in lists["colours"]]
    risks = lists["risks"]
    return Network(
        nodes=nodes,
        source=number[whole.pop("src")],
        target=number[whole.pop("dst")],
        names=_link_names(names, table),
        domains=tuple(domains) or ("",),
        colours=tuple(groups["colours"]),
        colour=np.array(colours, np.int64) if colours else ABSENT,
        risks=tuple(groups["risks"]),
        risk_first=np.cumsum([0, *map(len, risks)], dtype=np.int64) if risks else ABSENT,
        risk_of=np.array([one for each in risks for one in each], np.int64) if risks else ABSENT,
        **whole,
    )


def _link_names(names: tuple[str, ...], table: Table) -> tuple[str, ...]:
    if not any(names):
        return ()
    seen: set[str] = set()
    for row, name in enumerate(names):
        if not name or name in seen:
            table.refuse(row, f"the link's name {name!r} is there twice" if name else "the link has no name",
                         "give each link its own name, or leave out the column")  # fmt: skip
        seen.add(name)
    return names


def _entered(name: str, codes: Mapping[str, int], most: int) -> int:
    if not name:
        raise SuanwangError(BAD_PROBLEM, "a name is missing", "fill in the field")
    if len(codes) >= most:
        raise SuanwangError(BAD_PROBLEM, f"there are more than {most} of them", "read a part of it")
    return len(codes)


def _numbered(codes: Mapping[str, int]) -> tuple[tuple[str, ...], Ints]:
    """Nodes' names, and what number each code becomes.

    Names that are whole numbers are the nodes' numbers, as traffic matrices count them (so a node without links has its
    place), unless most of the numbers up to the highest are missing; then, as other names, they count as they come.
    """
    names = list(codes)
    if all(name.isascii() and name.isdigit() and len(name) < 8 for name in names):
        numbers = np.array([int(name) for name in names], np.int64)
        count = int(numbers.max()) + 1
        if count <= 2 * len(names) + 10 and len(np.unique(numbers)) == len(names):
            return tuple(map(str, range(count))), numbers
    return tuple(names), np.arange(len(names))


@dataclass(frozen=True, eq=False)
class Places:
    """Endpoints as a file gives them, and which of them each service has."""

    endpoints: Endpoints
    services: dict[str, list[int]] = field(default_factory=dict)


def no_places() -> Places:
    """No endpoints but the nodes themselves."""
    return Places(Endpoints(node=np.zeros(0, np.int64)))


def read_endpoints(body: bytes, file: str, network: Network) -> Places:
    """Endpoints, `name,node` with any of `capacity,load,delay,cost,committed,service`. Raises BAD_PROBLEM."""
    table = Table.of(text_of(body, file), file, _ENDPOINT_COLUMNS, ("name", "node"))
    nodes: dict[str, int] = {}
    names: dict[str, int] = {}
    services: dict[str, list[int]] = {}
    columns: dict[str, list[Any]] = {}
    for part in table.parts(MOST_ENDPOINTS):
        columns.setdefault("node", []).append(part.coded("node", nodes, lambda name: node_number(name, network)))
        for row, name in enumerate(part.columns["name"]):
            if not name or name in names or SEPARATOR in name:
                part.refuse(row, f"{name!r} can't be this endpoint's name", f"a new one, without {SEPARATOR}")
            names[name] = len(names)
        columns.setdefault("capacity", []).append(part.numbers("capacity", default=np.inf, infinite=True))
        columns.setdefault("committed", []).append(part.numbers("committed", default=0.0, infinite=True))
        columns.setdefault("delay_us", []).append(_delays(part))
        for name, most in (("load", 1e30), ("cost", GREATEST)):
            columns.setdefault(name, []).append(part.numbers(name, default=0.0, most=most))
        for row, service in enumerate(part.columns.get("service", ())):
            if service:
                services.setdefault(service, []).append(part.first + row)
    if not names:
        refuse("there is no endpoint in it", "is it the right file?", file)
    whole = {name: np.concatenate(values) for name, values in columns.items()}
    return Places(Endpoints(names=tuple(names), **whole), services)


def _delays(part: Part) -> Floats:
    """Delays in microseconds, or with a unit."""
    texts = part.columns.get("delay")
    if texts is None or not any(text[-1:].isalpha() for text in texts):
        return part.numbers("delay", default=0.0, most=GREATEST)
    values = np.zeros(len(part))
    for row, text in enumerate(texts):
        try:
            values[row] = parse(text, DURATION_UNITS, "5ms") if text[-1:].isalpha() else float(text or 0)
            if not 0 <= values[row] <= GREATEST:
                raise ValueError(f"{text!r} is not from 0 to {GREATEST:g} us")
        except ValueError as problem:
            part.refuse(row, f"delay: {problem}", "write a duration, as in 5ms, or microseconds")
    return values


def with_map(body: bytes, file: str, network: Network) -> Network:
    """The network with the places of nodes that a table says: `node,longitude,latitude`. Raises BAD_PROBLEM."""
    table = Table.of(text_of(body, file), file, _MAP_COLUMNS, ("node", "longitude", "latitude"))
    nodes: dict[str, int] = {}
    position = network.position.copy()
    for part in table.parts(MOST_NODES):
        at = part.coded("node", nodes, lambda name: node_number(name, network))
        for axis, name in enumerate(("longitude", "latitude")):
            position[at, axis] = part.numbers(name, least=-1e9, most=1e9)
    return replace(network, position=position)


def node_number(name: str, network: Network) -> int:
    """The node of a name, or of a number. Raises BAD_PROBLEM."""
    number = network.node_numbers.get(name)
    if number is None and name.isascii() and name.isdigit() and int(name[:9]) < len(network.nodes) and len(name) < 9:
        number = int(name)
    if number is None:
        raise SuanwangError(
            BAD_PROBLEM, f"there is no node {name[:60]!r}", nearest(name, network.node_numbers, "nodes")
        )
    return number


def read_classes(body: bytes, file: str) -> dict[str, Limits]:
    """Classes of limits in YAML: name -> latency, jitter, loss, availability, include, exclude, backup. Raises
    BAD_PROBLEM, MALFORMED.
    """
    try:
        documents = read_text(text_of(body, file), file)
    except SuanwangError as problem:
        # The reader is that of resources: what it advises is about those.
        hint = problem.hint if "apiVersion" not in problem.hint else "write gold: {latency: 20ms}"
        raise SuanwangError(problem.code, problem.message, hint, problem.place) from None
    if len(documents) != 1:
        refuse(f"{len(documents)} documents where one must be", "write gold: {latency: 20ms}", file)
    found = {}
    for name, given in documents[0].items():

        def fail(field_name: str, message: str, hint: str, name: str = name) -> None:
            line = line_of(documents[0], (name, field_name))
            raise SuanwangError(BAD_PROBLEM, message, hint, Place(file, line, f"{name}.{field_name}".rstrip(".")))

        if not isinstance(given, dict):
            fail("", "a class must be a mapping", "write gold: {latency: 20ms}")
        values: dict[str, Any] = {}
        for key, value in given.items():
            try:
                values |= _limit(key, value)
            except (ValueError, TypeError) as problem:
                fail(key, f"{key}: {problem}", "as in latency: 20ms, loss: 0.1%, include: [blue], backup: node")
            except KeyError:
                fail(key, f"there is no limit {key[:60]!r}", nearest(key, _LIMITS, "limits"))
        found[name] = Limits(**values)
    return found


_LIMITS = ("latency", "jitter", "loss", "availability", "include", "exclude", "backup")


def _limit(key: str, value: Any) -> dict[str, Any]:
    if key in ("latency", "jitter"):
        return {f"{key}_us": float(parse(str(value), DURATION_UNITS, "20ms"))}
    if key in ("loss", "availability"):
        share = parse(str(value), RATIO_UNITS, "0.1%") / 1e6
        if share > 1:
            raise ValueError(f"{value!r} is more than 100%")
        return {key: share}
    if key in ("include", "exclude"):
        words = [value] if isinstance(value, str) else value
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise ValueError(f"{str(value)[:60]!r} is no list of colours")
        return {key: frozenset(words)}
    if key == "backup":
        return {key: Disjoint(str(value).lower())}
    raise KeyError(key)
