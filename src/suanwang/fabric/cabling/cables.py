"""The cabling list: a line for each cable, with both ends, as those who lay cables and those who check them need it.

    a_device,a_port,a_rack,b_device,b_port,b_rack,rate,plane,tier,type,length
    gpu0,swp1,,leaf0,swp1,,200Gbps,0,1,,
    leaf0,swp9,,spine0,swp1,,200Gbps,0,2,,

The lower end comes first; `tier` is that of the upper one. Ports are numbered on each device as its cables are, down
before up, so a list made of coordinates (`clos_cables`) and one made of arrays (`network_cables`) are the same. Nothing
is held: a list of millions is written as it is made.

In a list that is read, port names say the order of a device's ports, not lines: `swp2` comes before `swp10`.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from suanwang.fabric.clos import TIER_NAMES, Clos
from suanwang.fabric.exchange.listed import DEFAULT_LATENCY_PS, Integers, links, network_of
from suanwang.fabric.exchange.words import decode, load
from suanwang.fabric.network import Network
from suanwang.model.errors import INVALID, SuanwangError
from suanwang.model.units import RATE_UNITS, parse, rate_text
from suanwang.topology.importing.published import refuse

COLUMNS = ("a_device", "a_port", "a_rack", "b_device", "b_port", "b_rack", "rate", "plane", "tier", "type", "length")
NEEDED = ("a_device", "a_port", "b_device", "b_port")
PORT_NAMES = ("swp", "eth", "Ethernet")
"""swp1, swp2 ... as FRR and Cumulus have them; eth1 ... as Linux and containerlab; Ethernet0 ... as SONiC has them
where each port is of one lane (else it counts lanes)."""
LARGEST_FILE_BYTES = 2**31
LANE_BPS, MOST_LANES = 100 * 10**9, 8
_NUMBERED = re.compile(r"(.*?)([0-9]{1,9})")
_NUMBERS = re.compile(r"([0-9]+)")
LONGEST_NAME = 253
MOST_DRAWN = 20_000
"""Cables that a DOT file may have: Graphviz takes minutes for more."""


@dataclass(frozen=True, slots=True)
class Cable:
    """A cable; what is not known is empty, 0 for the rate, -1 for plane and tier. `length` in metres with its unit."""

    a_device: str
    a_port: str
    b_device: str
    b_port: str
    rate_bps: int = 0
    plane: int = -1
    tier: int = -1
    a_rack: str = ""
    b_rack: str = ""
    type: str = ""
    length: str = ""

    def row(self) -> tuple[str, ...]:
        """The cable as text, in the order of `COLUMNS`."""
        return (
            self.a_device, self.a_port, self.a_rack, self.b_device, self.b_port, self.b_rack,
            rate_text(self.rate_bps) if self.rate_bps else "", str(self.plane) if self.plane >= 0 else "",
            str(self.tier) if self.tier >= 0 else "", self.type, self.length,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Cabling:
    """A cabling list that was read."""

    cables: tuple[Cable, ...]
    file: str = ""

    def network(self) -> Network:
        """The list as a network: devices that are never an upper end are endpoints.

        The ports of a device are in the order of their names. Raises BAD_TOPOLOGY, also where a switch's ports have
        gaps: what numbers ports, as configurations do, would mean others than the list.
        """
        names = list(dict.fromkeys(name for cable in self.cables for name in (cable.a_device, cable.b_device)))
        number = {name: at for at, name in enumerate(names)}
        upper = {cable.b_device for cable in self.cables}
        if missing := next((at for at, cable in enumerate(self.cables) if not cable.rate_bps), None):
            refuse("a cable has no rate", "fill in the column rate, as in 400Gbps", self.file, missing + 2)
        network, placed = network_of(
            names,
            [name in upper for name in names],
            [number[cable.a_device] for cable in self.cables],
            [number[cable.b_device] for cable in self.cables],
            [cable.rate_bps for cable in self.cables],
            DEFAULT_LATENCY_PS,
            self.file,
        )
        self._check_gaps(upper)
        titles = [cable.a_port for cable in self.cables] + [cable.b_port for cable in self.cables]
        ends = [number[cable.a_device] for cable in self.cables] + [number[cable.b_device] for cable in self.cables]
        return _by_port_names(network, placed[ends], titles)

    def _check_gaps(self, switches: set[str]) -> None:
        ports: dict[tuple[str, str], list[tuple[int, int, int]]] = {}
        for line, cable in enumerate(self.cables, 2):
            for device, port in ((cable.a_device, cable.a_port), (cable.b_device, cable.b_port)):
                if device in switches and (found := _NUMBERED.fullmatch(port)):
                    ports.setdefault((device, found[1]), []).append((int(found[2]), cable.rate_bps, line))
        for (device, form), found_ports in ports.items():
            found_ports.sort()
            if (wrong := _gap(found_ports, form == "Ethernet")) is not None:
                at, line = wrong
                refuse(
                    f"{device} has a cable in {form}{at} and none in a port before it",
                    "number the ports of a switch without gaps; leave spare ones to the end",
                    self.file,
                    line,
                )


def _gap(ports: list[tuple[int, int, int]], lanes: bool) -> tuple[int, int] | None:
    """Number and line of the first port that does not follow that before it; `ports` are number, rate and line.

    Where ports are numbered by lanes, as SONiC does, they also go up by any one step, or by lanes of 100 Gbit/s each.
    """
    first, step = ports[0][0], 1
    if lanes and first == 0 and len(ports) > 1:
        step = ports[1][0] - first
        by_rate = 0
        for number, rate, _ in ports:
            if number != by_rate:
                break
            by_rate += min(max(-(-rate // LANE_BPS), 1), MOST_LANES)
        else:
            return None
    if first > 1:
        return first, ports[0][2]
    if step > MOST_LANES:
        return ports[1][0], ports[1][2]
    return next(((at, line) for place, (at, _, line) in enumerate(ports) if at != first + place * step), None)


def _by_port_names(network: Network, ends: Integers, titles: list[str]) -> Network:
    """The network with the ports of each node in the order of their names.

    `ends` and `titles` are node and port of both ends of each cable: first all ends a, then all ends b.
    """
    unique = {title: rank for rank, title in enumerate(sorted(set(titles), key=_natural))}
    ranks = np.array([unique[title] for title in titles], np.int64)
    cables = len(titles) // 2
    here = np.lexsort((np.tile(np.arange(cables), 2), ends))  # the order that `Network.build` gives ports
    order = np.lexsort((ranks[here], network.source))
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    moved = {name: getattr(network, name)[order] for name in ("source", "target", "rate_bps", "latency_ps")}
    moved["peer"] = place[network.peer[order]]
    for array in moved.values():
        array.setflags(write=False)
    return replace(network, **moved)


def _natural(port: str) -> tuple[tuple[int, int | str], ...]:
    """What orders port names: numbers in them count as numbers."""
    return tuple((0, int(part)) if part.isdigit() else (1, part) for part in _NUMBERS.split(port) if part)


def port_namer(form: str = "swp") -> Callable[[int], str]:
    """What port n of a device (from 0) is called. Raises INVALID for a form that is not in `PORT_NAMES`."""
    if form not in PORT_NAMES:
        raise SuanwangError(INVALID, f"ports are not called {form!r} here", f"use one of {', '.join(PORT_NAMES)}")
    first = 0 if form == "Ethernet" else 1
    return lambda number: f"{form}{number + first}"


def clos_cables(
    clos: Clos,
    port: Callable[[int], str] | None = None,
    rack: Callable[[str], str] = lambda _: "",
    kind: Callable[[int], tuple[str, str]] = lambda _: ("", ""),
) -> Iterator[Cable]:
    """All cables of a Clos network, tier by tier and plane by plane.

    `port` names ports (swp1 and on by default), `rack` tells where a device stands, `kind` type and length of the
    cables below a tier.
    """
    port = port or port_namer()
    for block in clos.cables():
        before = f"p{block.plane}-" if clos.planes > 1 else ""
        below = f"{before}{TIER_NAMES[block.tier - 2]}" if block.tier > 1 else "gpu"
        above = f"{before}{TIER_NAMES[block.tier - 1]}"
        rate, what = clos.tiers[block.tier - 1].rate_bps, kind(block.tier)
        columns = (block.lower, block.upper, block.lower_port, block.upper_port)
        for begin in range(0, len(block.lower), 10_000):
            rows = zip(*(column[begin : begin + 10_000].tolist() for column in columns), strict=True)
            for lower, upper, lower_port, upper_port in rows:
                a, b = f"{below}{lower}", f"{above}{upper}"
                yield Cable(
                    a, port(lower_port), b, port(upper_port), rate, block.plane, block.tier, rack(a), rack(b), *what
                )


def network_cables(
    network: Network, port: Callable[[int], str] | None = None, rack: Callable[[str], str] = lambda _: ""
) -> Iterator[Cable]:
    """All cables of a network, each from its lower end; for `port` and `rack` see `clos_cables`."""
    port = port or port_namer()
    found = links(network)
    names = network.names
    columns = (found.node, found.far, found.port, found.far_port, found.rate_bps)
    for begin in range(0, len(found.node), 10_000):
        part = slice(begin, begin + 10_000)
        planes = np.maximum(network.plane[found.node[part]], network.plane[found.far[part]]).tolist()
        tiers = network.tier[found.far[part]].tolist()
        rows = zip(*(column[part].tolist() for column in columns), planes, tiers, strict=True)
        for one, other, here, there, rate, plane, tier in rows:
            a, b = names[one], names[other]
            yield Cable(a, port(here), b, port(there), rate, plane, tier, rack(a), rack(b))


def csv_text(cables: Iterable[Cable]) -> Iterator[str]:
    """The list as CSV (RFC 4180), in pieces."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    for number, cable in enumerate(cables, 1):
        writer.writerow(cable.row())
        if number % 10_000 == 0:
            yield buffer.getvalue()
            buffer.seek(0)
            buffer.truncate()
    yield buffer.getvalue()


def dot_text(cables: Iterable[Cable], name: str = "fabric") -> Iterator[str]:
    """The list as a DOT graph (graphviz.org), in pieces: endpoints below, a rank for each tier.

    Raises:
        SuanwangError: INVALID above `MOST_DRAWN` cables.
    """
    yield f"graph {_quoted(name)} {{\n  rankdir=BT;\n  node [shape=box, fontname=Helvetica];\n"
    ranks: dict[int, dict[str, None]] = {}
    for number, cable in enumerate(cables):
        if number == MOST_DRAWN:
            raise SuanwangError(
                INVALID, f"more than {MOST_DRAWN:,} cables are too many for a DOT graph", "write the list as CSV"
            )
        if cable.tier >= 0:
            ranks.setdefault(cable.tier, {})[cable.b_device] = None
        ends = f"{_quoted(cable.a_device)} -- {_quoted(cable.b_device)}"
        ports = f"taillabel={_quoted(cable.a_port)}, headlabel={_quoted(cable.b_port)}"
        rate = f", label={_quoted(rate_text(cable.rate_bps))}" if cable.rate_bps else ""
        yield f"  {ends} [{ports}{rate}, fontsize=8];\n"
    for members in ranks.values():
        yield "  { rank=same; " + "; ".join(map(_quoted, members)) + " }\n"
    yield "}\n"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def read_cabling(path: Path | str) -> Cabling:
    """The cabling list in a CSV file. Raises BAD_TOPOLOGY with the line, UNREADABLE."""
    return parse_cabling(decode(load(path, LARGEST_FILE_BYTES), str(path)), str(path))


def parse_cabling(text: str, file: str = "") -> Cabling:
    """The cabling list in a CSV text. Columns may stand in any order; only devices and ports must be there."""
    reader = csv.reader(io.StringIO(text), strict=True)
    cables: list[Cable] = []
    taken: set[tuple[str, str]] = set()
    try:
        head = [column.strip().lower() for column in next(reader, [])]
        _check_head(head, file)
        for row in reader:
            if not any(row):
                continue
            if len(row) != len(head):
                refuse(
                    f"{len(row)} fields where {len(head)} must be",
                    "each line has the columns of the first",
                    file,
                    reader.line_num,
                )
            cable = _cable(dict(zip(head, (word.strip() for word in row), strict=True)), file, reader.line_num)
            for end in ((cable.a_device, cable.a_port), (cable.b_device, cable.b_port)):
                if end in taken:
                    refuse(f"{end[0]} {end[1]} has two cables", "a port takes one", file, reader.line_num)
                taken.add(end)
            cables.append(cable)
    except csv.Error as problem:
        refuse(f"not readable as CSV: {problem}", "quote fields that hold a comma", file, reader.line_num)
    if not cables:
        refuse("there is no cable in the list", "write one in each line", file)
    return Cabling(tuple(cables), file)


def _check_head(head: list[str], file: str) -> None:
    for column in NEEDED:
        if column not in head:
            refuse(f"there is no column {column}", f"begin with {','.join(COLUMNS)}", file, 1)
    for column in head:
        if column not in COLUMNS or head.count(column) > 1:
            refuse(f"the column {column[:40]!r} is unknown or twice", f"columns are {', '.join(COLUMNS)}", file, 1)


def _cable(row: dict[str, str], file: str, line: int) -> Cable:
    for column in NEEDED:
        if not 0 < len(row[column]) <= LONGEST_NAME:
            refuse(f"{column} is {row[column][:20]!r}", f"give a name of 1 to {LONGEST_NAME} letters", file, line)
    for column, said in row.items():
        if not said.isprintable():
            refuse(f"{column} is {said[:40]!r}", "write it in one line, without control characters", file, line)
    if row["a_device"] == row["b_device"]:
        refuse(f"both ends are at {row['a_device']}", "a cable joins two devices", file, line)
    numbers = {}
    for column in ("plane", "tier"):
        said = row.get(column, "")
        if said and not (said.isascii() and said.isdigit() and len(said) < 10):
            refuse(f"{column} is {said[:20]!r}", "give a whole number, or leave it empty", file, line)
        numbers[column] = int(said) if said else -1
    try:
        rate = parse(row["rate"], RATE_UNITS, "400Gbps") if row.get("rate") else 0
    except ValueError as problem:
        refuse(str(problem), "write it as in 400Gbps", file, line)
    return Cable(
        row["a_device"], row["a_port"], row["b_device"], row["b_port"], rate, numbers["plane"], numbers["tier"],
        row.get("a_rack", ""), row.get("b_rack", ""), row.get("type", ""), row.get("length", ""),
    )  # fmt: skip
