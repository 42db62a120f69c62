"""Demands out of files: traffic matrices (`.npy`), Repetita's `.demands`, and CSV with all that a demand may have."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from suanwang.model.errors import SuanwangError
from suanwang.model.registry import nearest
from suanwang.steering.columns import Part, Table, refuse, text_of
from suanwang.steering.problem import (
    BAD_PROBLEM,
    MOST_DEMANDS,
    NO_LIMITS,
    Demands,
    Disjoint,
    Endpoints,
    Floats,
    Ints,
    Limits,
    Network,
)
from suanwang.steering.reading import SEPARATOR, Places, no_places, node_number
from suanwang.topology.importing.repetita import read_demands as read_repetita

_COLUMNS = {
    **{name: name for name in ("rate", "name", "priority", "weight", "splittable", "most_paths", "work", "apart")},
    **dict.fromkeys(("src", "source"), "source"),
    **dict.fromkeys(("dst", "to", "target", "destination"), "to"),
    **dict.fromkeys(("limits", "class"), "limits"),
}
_TRUTHS = {
    **dict.fromkeys(("", "yes", "true", "1", "y"), 1),
    **dict.fromkeys(("no", "false", "0", "n"), 0),
}
MAGIC = b"\x93NUMPY"
LONGEST_HEADER = 10_000
MOST_LIMITS = 1000
MOST_CHOSEN = 20_000_000
"""Endpoints in all sets to choose from."""


def read_demands(
    body: bytes,
    file: str,
    network: Network,
    places: Places | None = None,
    classes: Mapping[str, Limits] | None = None,
    apart_by: Disjoint = Disjoint.LINK,
) -> tuple[Endpoints, Demands]:
    """Demands, and all endpoints: those of `places`, and every node under its own name if none was given that name.

    Rates of 0, and a matrix's diagonal, are no demands. Raises BAD_PROBLEM, or BAD_TOPOLOGY for `.demands`, with the
    line.
    """
    ends, of_node = _with_nodes(network, places or no_places())
    suffix = file.rpartition(".")[2].lower()
    if suffix == "npy" or body.startswith(MAGIC):
        return ends, _pairs(*_matrix(body, file, len(network.nodes)), of_node)
    if suffix == "demands" or body.removeprefix(b"\xef\xbb\xbf").lstrip()[:8] == b"DEMANDS ":
        rows = read_repetita(text_of(body, file), network.nodes, file)
        number = network.node_numbers
        kept = [(number[one], number[other], rate) for one, other, rate in rows if rate > 0 and one != other]
        source, target, rate = (np.array(column) for column in zip(*kept, strict=True)) if kept else [np.zeros(0)] * 3
        return ends, _pairs(source.astype(np.int64), target.astype(np.int64), rate.astype(float), of_node)
    table = Table.of(text_of(body, file), file, _COLUMNS, ("source", "to", "rate"))
    return ends, _Demands(table, network, ends, of_node, places or no_places(), classes or {}).read(apart_by)


def _with_nodes(network: Network, places: Places) -> tuple[Endpoints, Ints]:
    """All endpoints, and for each node the one of its name."""
    given = places.endpoints
    count = len(given.node)
    if not count:
        return Endpoints(node=np.arange(len(network.nodes))), np.arange(len(network.nodes))
    numbers = {name: at for at, name in enumerate(given.names)}
    more = [at for at, name in enumerate(network.nodes) if name not in numbers]
    of_node = np.empty(len(network.nodes), np.int64)
    of_node[more] = count + np.arange(len(more))
    for at, name in enumerate(network.nodes):
        if name in numbers:
            of_node[at] = numbers[name]
    added = len(more)
    return Endpoints(
        names=(*given.names, *(network.nodes[at] for at in more)),
        node=np.concatenate([given.node, np.array(more, np.int64)]),
        capacity=np.append(given.capacity, np.full(added, np.inf)),
        load=np.append(given.load, np.zeros(added)),
        delay_us=np.append(given.delay_us, np.zeros(added)),
        cost=np.append(given.cost, np.zeros(added)),
        committed=np.append(given.committed, np.zeros(added)),
    ), of_node


def _pairs(source: Ints, target: Ints, rate: Floats, of_node: Ints) -> Demands:
    nodes = len(of_node)
    return Demands(source=source, choice=target, rate=rate, choice_first=np.arange(nodes + 1), choice_of=of_node)


def _header(body: bytes, file: str) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    """What the header of NumPy's format (NEP 1) says: shape, whether by column, type of numbers; and where it ends."""
    width = {1: 2, 2: 4, 3: 4}.get(body[6] if len(body) > 6 else 0, 0)
    begin = 8 + width
    end = begin + int.from_bytes(body[8:begin], "little")
    try:
        if not body.startswith(MAGIC) or not width or end > min(len(body), LONGEST_HEADER):
            raise ValueError("its header is damaged or cut off")
        said = ast.literal_eval(body[begin:end].decode("ascii").strip())
        shape, by_column, kind = said["shape"], said["fortran_order"], said["descr"]
        if not isinstance(shape, tuple) or not all(type(size) is int and size >= 0 for size in shape):
            raise ValueError("its shape is none")
    except (ValueError, SyntaxError, TypeError, KeyError, RecursionError, MemoryError) as problem:
        refuse(f"no NumPy array: {str(problem)[:100]}", "write it with numpy.save", file)
    if not isinstance(kind, str) or not re.fullmatch(r"[<>|=]?([iu][1248]|f[248])", kind):
        refuse(f"the matrix holds {str(kind)[:60]}", "use float32, float64 or integers", file)
    return shape, bool(by_column), np.dtype(kind), end


def _matrix(body: bytes, file: str, nodes: int) -> tuple[Ints, Ints, Floats]:
    """The entries of a traffic matrix: (row, column, rate). Nothing is unpickled, and nothing allocated before the
    header is checked.
    """
    shape, by_column, kind, begin = _header(body, file)
    if shape != (nodes, nodes):
        told = " x ".join(map(str, shape)) or "one number"
        refuse(f"the matrix is {told}, for {nodes} nodes", "a row and a column for each node, in their order", file)
    if nodes * nodes > MOST_DEMANDS:
        refuse(f"a matrix of {nodes * nodes} entries", f"at most {MOST_DEMANDS}; give a CSV of those above 0", file)
    left = len(body) - begin
    if left != nodes * nodes * kind.itemsize:
        refuse(f"{left} bytes of {nodes * nodes * kind.itemsize}", "is the file cut off?", file)
    values = np.frombuffer(body, kind, offset=begin).reshape(shape, order="F" if by_column else "C")
    flat = values.astype(np.float64, order="C").ravel()
    wrong = ~((flat >= 0) & (flat < np.inf))
    if wrong.any():
        at = int(np.flatnonzero(wrong)[0])
        refuse(f"from node {at // nodes} to node {at % nodes} the rate is {flat[at]:g}", "rates are 0 or more", file)
    at_all = np.flatnonzero(flat > 0)
    source, target = np.divmod(at_all, nodes)
    kept = source != target
    return source[kept], target[kept], flat[at_all[kept]]


class _Demands:
    """Reads a table of demands."""

    def __init__(
        self,
        table: Table,
        network: Network,
        ends: Endpoints,
        of_node: Ints,
        places: Places,
        classes: Mapping[str, Limits],
    ) -> None:
        self.table, self.network, self.classes, self.services = table, network, classes, places.services
        self.numbers = {name: at for at, name in enumerate(places.endpoints.names)}
        self.of_node = of_node
        self.ends = ends
        self.nodes: dict[str, int] = {}
        self.choices: dict[str, int] = {}
        self.chosen: list[list[int]] = []
        self.chosen_count = 0
        self.limits: dict[str, int] = {"": 0}
        self.truths = dict(_TRUTHS)

    def read(self, apart_by: Disjoint) -> Demands:
        """All demands of the table."""
        columns: dict[str, list[Any]] = {}
        for part in self.table.parts(MOST_DEMANDS):
            for name, values in self._part(part).items():
                columns.setdefault(name, []).append(values)
        if not columns:
            refuse("there is no demand in it", "is it the right file?", self.table.file)
        whole = {name: np.concatenate(values) for name, values in columns.items()}
        names = tuple(whole.pop("names", np.zeros(0, object)).tolist())
        apart = whole.pop("apart", None)
        if apart is not None:
            whole["apart"] = self._apart(apart, names)
        if names:
            texts = list(self.choices)
            names = tuple(
                name or f"{self.network.nodes[source]}>{texts[choice]}"
                for name, source, choice in zip(names, whole["source"].tolist(), whole["choice"].tolist(), strict=True)
            )
        return Demands(
            names=names,
            choices=tuple(self.choices),
            choice_first=np.cumsum([0, *map(len, self.chosen)], dtype=np.int64),
            choice_of=np.array([one for each in self.chosen for one in each], np.int64),
            limits=(NO_LIMITS, *(self.classes[name] for name in self.limits if name)),
            apart_by=apart_by,
            **whole,
        )

    def _part(self, part: Part) -> dict[str, Any]:
        found: dict[str, Any] = {
            "source": part.coded("source", self.nodes, lambda name: node_number(name, self.network)),
            "choice": part.coded("to", self.choices, self._choice),
            "rate": part.numbers("rate"),
        }
        if "name" in part.columns:
            found["names"] = np.array(part.columns["name"], object)
        if "apart" in part.columns:
            found["apart"] = np.array(part.columns["apart"], object)
        for name, most in (("priority", 1 << 15), ("most_paths", 1 << 15)):
            if name in part.columns:
                values = part.numbers(name, default=0.0)
                wrong = np.flatnonzero((values != np.floor(values)) | (values >= most))
                if len(wrong):
                    at = int(wrong[0])
                    part.refuse(at, f"{name} is {part.columns[name][at]!r}", f"a whole number below {most}")
                found[name] = values.astype(np.int64)
        for name, greatest in (("weight", 1e9), ("work", 1e12)):
            if name in part.columns:
                found[name] = part.numbers(name, default=1.0, most=greatest)
        if "splittable" in part.columns:
            found["splittable"] = part.coded("splittable", self.truths, _truth) == 1
        if "limits" in part.columns:
            found["limit"] = part.coded("limits", self.limits, self._limit)
        return found

    def _choice(self, text: str) -> int:
        """A new set of endpoints: a service, or names of endpoints or nodes."""
        words = [word.strip() for word in text.split(SEPARATOR)]
        ends = [end for word in words for end in self._ends(word)]
        self.chosen_count += len(ends)
        if self.chosen_count > MOST_CHOSEN:
            raise SuanwangError(BAD_PROBLEM, f"more than {MOST_CHOSEN} endpoints to choose from", "use services")
        self.chosen.append(list(dict.fromkeys(ends)))
        return len(self.choices)

    def _ends(self, name: str) -> list[int]:
        if name in self.services:
            return self.services[name]
        if name in self.numbers:
            return [self.numbers[name]]
        try:
            return [int(self.of_node[node_number(name, self.network)])]
        except SuanwangError as problem:
            known = [*self.services, *self.numbers, *self.network.nodes]
            what = "node, endpoint or service" if self.numbers else "node"
            hint = nearest(name, known, f"{what}s") if self.numbers else problem.hint
            raise SuanwangError(BAD_PROBLEM, f"there is no {what} {name[:60]!r}", hint) from None

    def _limit(self, name: str) -> int:
        if name not in self.classes:
            hint = nearest(name, self.classes, "classes") if self.classes else "name them in a file: --classes FILE"
            raise SuanwangError(BAD_PROBLEM, f"there is no class {name[:60]!r}", hint)
        if len(self.limits) >= MOST_LIMITS:
            raise SuanwangError(BAD_PROBLEM, f"more than {MOST_LIMITS} classes", "use fewer")
        return len(self.limits)

    def _apart(self, wanted: Any, names: tuple[str, ...]) -> Ints:
        numbers = {name: at for at, name in reversed(list(enumerate(names))) if name}
        found = np.full(len(wanted), -1)
        for row, name in enumerate(wanted.tolist()):
            if name:
                at = numbers.get(name, row)
                if at == row:
                    what = "is apart from itself" if name in numbers else f"there is no demand {name[:60]!r}"
                    self.table.refuse(row, what, "apart holds the name of another demand")
                found[row] = at
        return found


def _truth(text: str) -> int:
    known = _TRUTHS.get(text.lower())
    if known is None:
        raise SuanwangError(BAD_PROBLEM, f"splittable is {text[:60]!r}", "write yes or no")
    return known
