"""Execution traces of MLCommons Chakra: one file a rank, `NAME.RANK.et`, of length-delimited protobuf messages.

The first is the metadata, each other one a node (schema: et_def.proto of mlcommons/chakra, version 0.0.4): what it
is, what it depends on, and how long it took or how much it computes or sends. Only what a replay needs is kept.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from suanwang.fabric.workload.wire import (
    BYTES,
    FIXED32,
    FIXED64,
    VARINT,
    Malformed,
    Value,
    double,
    fields,
    numbers,
    signed,
    varint,
)
from suanwang.model.errors import INVALID, Place, SuanwangError
from suanwang.model.reading import TOO_LARGE, UNREADABLE

NODE_TYPES = (
    "invalid", "metadata", "memory load", "memory store", "compute", "send", "receive", "collective", "storage",
    "batch", "checkpoint",
)  # fmt: skip
COLLECTIVES = (
    "all-reduce", "reduce", "all-gather", "gather", "scatter", "broadcast", "all-to-all", "reduce-scatter",
    "reduce-scatter-block", "barrier",
)  # fmt: skip
SIMULATED = {
    "all-reduce": "all-reduce",
    "all-gather": "all-gather",
    "broadcast": "broadcast",
    "reduce": "broadcast",  # a broadcast with its arrows turned round
    "all-to-all": "all-to-all",
    "reduce-scatter": "reduce-scatter",
    "reduce-scatter-block": "reduce-scatter",
    "barrier": "barrier",
}
MOST_NODES = 2_000_000
MOST_DEPENDENCIES = 10_000_000
LONGEST_LIST_BYTES = 2**24
LARGEST_FILE_BYTES = 2**30
LARGEST_MESSAGE_BYTES = 2**26
MOST_RANKS = 2**17
MOST_GROUP_TEXT = 2**26
LONGEST_DURATION_US = 10**12
LARGEST_BYTES = 2**53

MOST_SEEN = 2**16
LONGEST_SEEN = 64
"""Attributes that are remembered, and of how many bytes; they repeat from node to node."""

Attribute = Value | float | str

_NAME = re.compile(r"^(?P<prefix>.+)\.(?P<rank>[0-9]{1,7})\.et$")


@dataclass(frozen=True, slots=True)
class Node:
    """One node of a trace. `kind` is one of NODE_TYPES, `collective` a key of SIMULATED; `offset` is in the file.

    `size_bytes` is what is sent, or loaded and stored. -1 stands for numbers that the node does not have.
    """

    number: int
    name: str
    kind: str
    after: tuple[int, ...]
    duration_ps: int = 0
    collective: str = ""
    size_bytes: int = 0
    group: str = ""
    source: int = -1
    target: int = -1
    tag: int = 0
    operations: int = 0
    on_host: bool = False
    offset: int = 0


@dataclass(frozen=True, slots=True)
class RankTrace:
    """The nodes of one rank, and the ranks of the process groups that it knows by name."""

    rank: int
    file: str
    nodes: tuple[Node, ...]
    groups: dict[str, tuple[int, ...]]

    def fail(self, node: Node, message: str, hint: str = "") -> SuanwangError:
        """An error that names a node and where it stands."""
        return SuanwangError(
            INVALID, f"node {node.number} ({node.name[:60]}) at byte {node.offset}: {message}", hint, Place(self.file)
        )


@dataclass(frozen=True, slots=True)
class Trace:
    """The traces of a job. A single one may stand for all ranks of a design that do the same."""

    name: str
    ranks: tuple[RankTrace, ...]


def read_chakra(path: Path, progress: Callable[[float], None] | None = None) -> Trace:
    """The trace that `path` belongs to: all files of the same name but for the rank. Or the one in a folder.

    Raises:
        SuanwangError: INVALID, TOO_LARGE or UNREADABLE, with file and byte, for anything that is not a trace.
    """
    name, files = _files(path)
    size = sum(file.stat().st_size for file in files.values())
    if size > LARGEST_FILE_BYTES:
        raise SuanwangError(
            TOO_LARGE, f"traces of {size / 2**30:.1f} GiB; at most {LARGEST_FILE_BYTES >> 30} GiB are read",
            "trace one iteration, or fewer ranks", Place(str(path)),
        )  # fmt: skip
    beside = _groups_beside(path if path.is_dir() else path.parent, name)
    ranks, nodes, dependencies, read = [], 0, 0, 0
    for rank, file in sorted(files.items()):
        data = file.read_bytes()
        trace = read_rank(rank, str(file), data, beside, MOST_NODES - nodes, MOST_DEPENDENCIES - dependencies)
        ranks.append(trace)
        nodes += len(trace.nodes)
        dependencies += sum(len(node.after) for node in trace.nodes)
        read += len(data)
        if progress:
            progress(read / max(1, size))
    return Trace(name, tuple(ranks))


def _files(path: Path) -> tuple[str, dict[int, Path]]:
    folder = path if path.is_dir() else path.parent
    match = None if path.is_dir() else _NAME.match(path.name)
    if match is None and path.suffix == ".et" and path.is_file():
        return path.stem, {0: path}
    found: dict[str, dict[int, Path]] = {}
    for file in folder.iterdir():
        one = _NAME.match(file.name)
        if one and (match is None or one["prefix"] == match["prefix"]):
            found.setdefault(one["prefix"], {})[int(one["rank"])] = file
    if len(found) != 1:
        what = "no trace" if not found else f"the traces {', '.join(sorted(found)[:5])}"
        raise SuanwangError(UNREADABLE, f"{what} in {folder}", "name one file: NAME.RANK.et", Place(str(path)))
    ((prefix, files),) = found.items()
    missing = [rank for rank in range(min(len(files), MOST_RANKS)) if rank not in files]
    if missing or len(files) > MOST_RANKS:
        raise SuanwangError(
            INVALID, f"{len(files)} traces of {prefix}, and none of rank {missing[0] if missing else MOST_RANKS}",
            f"ranks count from 0, up to {MOST_RANKS:,}", Place(str(path)),
        )  # fmt: skip
    return prefix, files


def _groups_beside(folder: Path, name: str) -> dict[str, tuple[int, ...]]:
    """Process groups from `NAME.json` or `comm_group.json` beside the traces, as ASTRA-sim reads them: {"1": [0,
    1]}.
    """
    for file in (folder / f"{name}.json", folder / "comm_group.json"):
        if file.is_file():
            place = Place(str(file))
            if file.stat().st_size > MOST_GROUP_TEXT:
                raise SuanwangError(TOO_LARGE, f"more than {MOST_GROUP_TEXT >> 20} MiB of groups", "", place)
            try:
                found = json.loads(file.read_text("utf-8"))
                return {str(key): _ranks(value) for key, value in found.items()}
            except (ValueError, AttributeError, TypeError, RecursionError):
                raise SuanwangError(
                    INVALID, "these are no process groups", 'write {"1": [0, 1, 2, 3]}', place
                ) from None
    return {}


def _ranks(value: object) -> tuple[int, ...]:
    if not isinstance(value, list) or not value or len(value) > MOST_RANKS:
        raise ValueError("no list of ranks")
    if not all(isinstance(one, int) and not isinstance(one, bool) and 0 <= one < MOST_RANKS for one in value):
        raise ValueError("no ranks")
    if len(set(value)) != len(value):
        raise ValueError("a rank stands twice")
    return tuple(value)


def read_rank(
    rank: int,
    file: str,
    data: bytes,
    groups: dict[str, tuple[int, ...]],
    most_nodes: int = MOST_NODES,
    most_dependencies: int = MOST_DEPENDENCIES,
) -> RankTrace:
    """The trace of one rank from the bytes of its file. Raises SuanwangError with the byte that is wrong."""
    nodes, known, attributes = list[Node](), dict(groups), dict[bytes, tuple[str, Attribute]]()
    try:
        for number, (at, end) in enumerate(_messages(data)):
            message = data[at:end]
            if number == 0 and _is_metadata(message, at):
                continue
            if len(nodes) >= most_nodes:
                raise SuanwangError(
                    TOO_LARGE, f"more than {MOST_NODES:,} nodes", "trace one iteration, or fewer ranks", Place(file)
                )
            node, text = _node(message, at, attributes)
            nodes.append(node)
            most_dependencies -= len(node.after)
            if most_dependencies < 0:
                raise SuanwangError(
                    TOO_LARGE, f"more than {MOST_DEPENDENCIES:,} dependencies", "trace one iteration, or fewer ranks",
                    Place(file),
                )  # fmt: skip
            if node.kind == "metadata" and text:
                known.update(_process_groups(text))
    except Malformed as problem:
        raise SuanwangError(
            INVALID,
            f"byte {problem.offset}: {problem}",
            "is this a Chakra trace, whole and not compressed?",
            Place(file),
        ) from None
    trace = RankTrace(rank, file, tuple(nodes), known)
    _check(trace)
    return trace


def _messages(view: bytes) -> Iterable[tuple[int, int]]:
    at = 0
    while at < len(view):
        size, begin = varint(view, at)
        if size > min(len(view) - begin, LARGEST_MESSAGE_BYTES):
            raise Malformed(f"a message claims {size} bytes, and {len(view) - begin} are left", at)
        yield begin, begin + size
        at = begin + size


def _is_metadata(message: bytes, start: int) -> bool:
    """Whether the first message is the metadata: its field 1 is a text (a node's is a number), or it has only field
    2.
    """
    kinds = {number: kind for number, kind, _, _ in fields(message, start)}
    return kinds.get(1) == BYTES or kinds.keys() <= {2}


def _node(message: bytes, start: int, seen: dict[bytes, tuple[str, Attribute]]) -> tuple[Node, str]:
    """A node, and the text of its inputs (where process groups are). Attributes that were `seen` are not read again."""
    number = kind = duration = 0
    name = text = ""
    after: list[int] = []
    attributes: dict[str, Attribute] = {}
    for field, wire, value, offset in fields(message, start):
        if isinstance(value, bytes):
            if field == 2:
                name = bytes(value[:200]).decode("utf-8", "replace")
            elif field in (4, 5):
                if len(value) > LONGEST_LIST_BYTES or len(after) > MOST_DEPENDENCIES:
                    raise Malformed(f"node {number} depends on more than a trace may have", offset)
                after += numbers(wire, value, offset)
            elif field == 8:
                text = _first_text(value, offset)
            elif field == 10:
                found = seen.get(value) or _attribute(value, offset)
                attributes[found[0]] = found[1]
                if len(seen) < MOST_SEEN and len(value) <= LONGEST_SEEN:
                    seen[value] = found
        elif wire == VARINT:
            if field == 1:
                number = value
            elif field == 3:
                kind = value
            elif field in (4, 5):
                after.append(value)
            elif field == 7:
                duration = value
    if kind >= len(NODE_TYPES):
        raise Malformed(f"node {number} is of type {kind}, which the schema does not have", start)
    if duration > LONGEST_DURATION_US:
        raise Malformed(f"node {number} takes {duration} us", start)

    def whole(key: str, default: int, most: int = LARGEST_BYTES) -> int:
        value = attributes.get(key, default)
        if not isinstance(value, int) or not -1 <= value <= most:
            raise Malformed(f"node {number}: {key} is {str(value)[:40]!r}", start)
        return value

    collective = ""
    if NODE_TYPES[kind] == "collective":
        which = whole("comm_type", 0)
        collective = COLLECTIVES[which] if 0 <= which < len(COLLECTIVES) else f"type {which}"
    memory = NODE_TYPES[kind] in ("memory load", "memory store", "compute")
    node = Node(
        number, name, NODE_TYPES[kind], tuple(dict.fromkeys(after)), duration * 10**6, collective,
        max(0, whole("tensor_size" if memory else "comm_size", 0)), str(attributes.get("pg_name", ""))[:100],
        whole("comm_src", -1, MOST_RANKS), whole("comm_dst", -1, MOST_RANKS), whole("comm_tag", 0),
        max(0, whole("num_ops", 0, 2**62)), bool(attributes.get("is_cpu_op", False)), start,
    )  # fmt: skip
    return node, text


def _first_text(message: bytes, start: int) -> str:
    for field, _, value, _ in fields(message, start):
        if field == 1 and isinstance(value, bytes):
            return bytes(value).decode("utf-8", "replace")
    return ""


def _attribute(message: bytes, start: int) -> tuple[str, Attribute]:
    """The name and value of an attribute; lists are left out (as 0)."""
    key = ""
    found: Attribute = 0
    for field, wire, value, _ in fields(message, start):
        if isinstance(value, bytes):
            if field in (1, 29):
                text = bytes(value[:1000]).decode("utf-8", "replace")
                key, found = (text, found) if field == 1 else (key, text)
        elif wire == VARINT and field in (15, 17):
            found = (value >> 1) ^ -(value & 1)
        elif wire == VARINT and field in (7, 9):
            found = signed(value)
        elif wire == FIXED64 and field == 3:
            found = double(value)
        elif wire == FIXED32 and field == 23:
            found = value - 2**32 if value >> 31 else value
        elif wire == FIXED64 and field == 25:
            found = signed(value)
        elif field != 5:
            found = value
    return key, found


def _process_groups(text: str) -> dict[str, tuple[int, ...]]:
    """Groups that PyTorch notes in a metadata node: a list of {"pg_name": ..., "ranks": [...]}, in quotes of its own.

    Other metadata is left alone; a group without ranks has all.
    """
    begin, end = text.find("[{"), text.rfind("}]")
    if begin < 0 or end < 0:
        return {}
    try:
        listed = json.loads(text[begin : end + 2])
        return {str(one["pg_name"]): _ranks(one["ranks"]) for one in listed if one.get("ranks")}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def _check(trace: RankTrace) -> None:
    """Refuses double nodes, dependencies on what is not there, cycles, and collectives that are not simulated."""
    index: dict[int, int] = {}
    for at, node in enumerate(trace.nodes):
        if node.number in index:
            raise trace.fail(
                node, "another node has this number", f"it is at byte {trace.nodes[index[node.number]].offset}"
            )
        index[node.number] = at
        if node.kind == "collective" and node.collective not in SIMULATED:
            raise trace.fail(
                node, f"the collective {node.collective} is not simulated", f"there are {', '.join(SIMULATED)}"
            )
    followers: list[list[int]] = [[] for _ in trace.nodes]
    missing = [0] * len(trace.nodes)
    for at, node in enumerate(trace.nodes):
        for before in node.after:
            if before not in index:
                raise trace.fail(
                    node, f"it depends on node {before}, which is not in the trace", "was the trace cut off?"
                )
            followers[index[before]].append(at)
        missing[at] = len(node.after)
    ready = [at for at, count in enumerate(missing) if not count]
    for at in ready:
        for follower in followers[at]:
            missing[follower] -= 1
            if not missing[follower]:
                ready.append(follower)
    if len(ready) < len(trace.nodes):
        stuck = next(at for at, count in enumerate(missing) if count)
        raise trace.fail(
            trace.nodes[stuck], f"it depends on itself: {_cycle(trace, index, missing, stuck)}", "break the cycle"
        )


def _cycle(trace: RankTrace, index: dict[int, int], missing: list[int], start: int) -> str:
    """A cycle among nodes that never got ready, as text."""
    seen: dict[int, int] = {}
    way: list[int] = []
    at = start
    while at not in seen:
        seen[at] = len(way)
        way.append(at)
        at = next(index[before] for before in trace.nodes[at].after if missing[index[before]])
    round_trip = [trace.nodes[one].number for one in way[seen[at] :]]
    shown = " <- ".join(str(one) for one in round_trip[:8]) + (" <- ..." if len(round_trip) > 8 else "")
    return f"{shown} <- {round_trip[0]}"
