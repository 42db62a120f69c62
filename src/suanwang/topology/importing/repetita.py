"""Repetita's formats (Gay, Schaus, Vissicchio: "REPETITA: Repeatable Experiments for Performance Evaluation of Traffic
Engineering Algorithms", 2017): `.graph` for topologies, `.demands` for traffic matrices.

    NODES 2                                      DEMANDS 1
    label x y                                    label src dest bw
    0_Harbin 126.65 45.75                        demand_0 0 1 5487
    1_Changchun 125.32 43.88

    EDGES 2
    label src dest weight bw delay
    edge_0 0 1 10 1000000 1160
    edge_1 1 0 10 1000000 1160

x is the longitude and y the latitude, bw is in kbit/s, delay in microseconds, src and dest count nodes from 0. Labels
may hold anything, spaces too: the numbers are taken from the right. Edges are directed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence

from suanwang.topology.graph import Direction
from suanwang.topology.importing.published import (
    Edge,
    PublishedNode,
    PublishedTopology,
    check_count,
    joined,
    place_on_globe,
    refuse,
    whole_capacity_bps,
    whole_cost,
    whole_latency_us,
)

MOST_DEMANDS = 2_000_000

_NUMBER = re.compile(r"[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?")


def read_graph(text: str, file: str) -> PublishedTopology:
    """The topology in the text of a `.graph` file. Raises BAD_TOPOLOGY."""
    lines = _Lines(text, file)
    topology = PublishedTopology()
    count = lines.heading("NODES", ("label", "x", "y"))
    check_count(count, 0, file, lines.number)
    for number in range(count):
        label, (x, y) = lines.row("node", 2)
        place = place_on_globe(y, x)
        topology.nodes.append(PublishedNode(_plain(label, number), *(place or (None, None))))
    count = lines.heading("EDGES", ("label", "src", "dest", "weight", "bw", "delay"))
    check_count(0, count // 2, file, lines.number)
    edges = []
    for _ in range(count):
        label, (source, target, weight, bandwidth, delay) = lines.row("edge", 5)
        at = lines.number
        ends = [_node(end, len(topology.nodes), file, at) for end in (source, target)]
        if ends[0] == ends[1]:
            refuse(f"edge {label!r} leads from node {ends[0]} to itself", "remove it", file, at)
        direction = Direction(
            capacity_bps=whole_capacity_bps(bandwidth * 1000, file, at),
            latency_us=whole_latency_us(delay, file, at),
            cost=whole_cost(weight, file, at),
        )
        edges.append(Edge(ends[0], ends[1], label, at, direction))
    lines.finish()
    topology.links = joined(edges, file)
    return topology


def read_demands(text: str, nodes: Sequence[str], file: str) -> list[tuple[str, str, int]]:
    """The traffic matrix in the text of a `.demands` file: (source, destination, rate in bit/s), in the file's order.

    `nodes` are the names of the nodes in the order of the `.graph` file. Raises BAD_TOPOLOGY.
    """
    lines = _Lines(text, file)
    count = lines.heading("DEMANDS", ("label", "src", "dest", "bw"))
    if count > MOST_DEMANDS:
        refuse(f"more than {MOST_DEMANDS} demands", "read a part of it", file, lines.number)
    found = []
    for _ in range(count):
        _, (source, target, bandwidth) = lines.row("demand", 3)
        at = lines.number
        ends = [nodes[_node(end, len(nodes), file, at)] for end in (source, target)]
        if not 0 <= bandwidth <= 10**15:
            refuse(f"a demand of {bandwidth:g} kbit/s is out of range", "give 0 or more", file, at)
        found.append((ends[0], ends[1], round(bandwidth * 1000)))
    lines.finish()
    return found


class _Lines:
    """Goes through the lines that hold something, and knows the number of the present one."""

    def __init__(self, text: str, file: str) -> None:
        self.number = 0
        self._file = file
        self._rest = self._numbered(text)

    def _numbered(self, text: str) -> Iterator[str]:
        # Not splitlines: labels may hold characters that it takes for line ends.
        for self.number, line in enumerate(text.split("\n"), 1):
            if line := line.strip():
                yield line

    def heading(self, word: str, columns: tuple[str, ...]) -> int:
        """The count in a section's heading, whose second line names the columns."""
        line = next(self._rest, "")
        parts = line.split()
        if len(parts) != 2 or parts[0] != word or not re.fullmatch(r"[0-9]{1,9}", parts[1]):
            refuse(f"{_shown(line)} where {word} and a number must be", f"as in: {word} 42", self._file, self.number)
        count, at = int(parts[1]), self.number
        line = next(self._rest, "")
        if tuple(line.split()) != columns:
            wanted = " ".join(columns)
            refuse(f"{_shown(line)} where the columns must be named", f"write: {wanted}", self._file, self.number)
        # Kept for messages about the count.
        self._section, self._count, self._left, self._at = word, count, count, at
        return count

    def row(self, what: str, numbers: int) -> tuple[str, list[float]]:
        """The label of the next row, and the numbers that stand right of it."""
        line = next(self._rest, "")
        parts = line.rsplit(None, numbers)
        if not line or parts[0] in ("EDGES", "NODES", "DEMANDS"):
            message = f"{self._section} announces {self._count} rows, and there are {self._count - self._left}"
            refuse(message, "is the file cut off?", self._file, self.number)
        if len(parts) != numbers + 1 or not all(_NUMBER.fullmatch(part) for part in parts[1:]):
            refuse(f"{_shown(line)} is no {what}", f"write a label and {numbers} numbers", self._file, self.number)
        values = [float(part) for part in parts[1:]]
        if not all(map(math.isfinite, values)):
            refuse(f"{_shown(line)} holds a number that is too large", "use smaller numbers", self._file, self.number)
        self._left -= 1
        return parts[0], values

    def finish(self) -> None:
        """Nothing may follow."""
        line = next(self._rest, "")
        if line:
            message = f"{_shown(line)} after the {self._count} rows that {self._section} announces"
            refuse(message, f"correct the count on line {self._at}", self._file, self.number)


def _shown(line: str) -> str:
    return repr(line if len(line) <= 60 else f"{line[:57]}...") if line else "the file ends"


def _plain(label: str, number: int) -> str:
    # Files made from the Topology Zoo number their labels.
    return label.removeprefix(f"{number}_") or label


def _node(value: float, count: int, file: str, line: int) -> int:
    if value != int(value) or not 0 <= value < count:
        refuse(f"there is no node {value:g}", f"nodes count from 0 to {count - 1}", file, line)
    return int(value)
