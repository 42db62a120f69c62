"""Execution traces of MLCommons Chakra: one file a rank, `NAME.RANK.et`, of length-delimited protobuf messages.

The first is the metadata, each other one a node: what it is, what it depends on, and how long it took or how much it
computes or sends. Files may be compressed with gzip, as Chakra's own tools take them. `NAME.RANK.json` is the form of
its feeder: {"workload_graph": [...]}.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

from suanwang.fabric.workload.nodes import MOST_RANKS, SIMULATED, Attribute, Node, Read, node_of, outdated
from suanwang.fabric.workload.nodes_json import read_graph
from suanwang.fabric.workload.wire import BYTES, Malformed, fields, varint
from suanwang.model.errors import INVALID, Place, SuanwangError
from suanwang.model.reading import TOO_LARGE, UNREADABLE

MOST_NODES = 2_000_000
MOST_DEPENDENCIES = 10_000_000
LARGEST_FILE_BYTES = 2**30
LARGEST_MESSAGE_BYTES = 2**26
MOST_GROUP_TEXT = 2**26
LOOKED_INTO = 64
"""Messages that are looked into for a schema of old."""
GZIP = b"\x1f\x8b"

_NAME = re.compile(r"^(?P<prefix>.+)\.(?P<rank>[0-9]{1,7})\.(?P<form>et|et\.gz|json)$")


@dataclass(frozen=True, slots=True)
class RankTrace:
    """The nodes of one rank, and the ranks of the process groups that it knows by name; none stands for all ranks.

    `callers_left_out` counts dependencies of control that were not kept: on nodes that are not there, or all of them
    where they contradict those of data.
    """

    rank: int
    file: str
    nodes: tuple[Node, ...]
    groups: dict[str, tuple[int, ...]]
    callers_left_out: int = 0

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

    Files that are equal are read once.

    Raises:
        SuanwangError: INVALID, TOO_LARGE or UNREADABLE, with file and byte, for anything that is not a trace.
    """
    name, files = _files(path)
    if odd := [file for file in files.values() if not file.is_file()]:
        raise SuanwangError(UNREADABLE, "this is no file", "a trace is a file for each rank", Place(str(odd[0])))
    size = sum(file.stat().st_size for file in files.values())
    if size > LARGEST_FILE_BYTES:
        raise _too_large(f"traces of {size / 2**30:.1f} GiB; at most {LARGEST_FILE_BYTES >> 30} GiB are read", path)
    beside = _groups_beside(path if path.is_dir() else path.parent, name)
    ranks: list[RankTrace] = []
    known: dict[bytes, RankTrace] = {}
    nodes = dependencies = unpacked = read = 0
    _foresee(files)
    for rank, file in sorted(files.items()):
        packed = file.read_bytes()
        digest = sha256(packed).digest()
        read += len(packed)
        if digest not in known:
            data = _unpacked(packed, LARGEST_FILE_BYTES - unpacked, file)
            unpacked += len(data)
            of_one = _read_json if file.suffix == ".json" else read_rank
            trace = of_one(rank, str(file), data, beside, MOST_NODES - nodes, MOST_DEPENDENCIES - dependencies)
            nodes += len(trace.nodes)
            dependencies += sum(len(node.after) for node in trace.nodes)
            known[digest] = trace
        ranks.append(replace(known[digest], rank=rank, file=str(file)))
        if progress:
            progress(read / max(1, size))
    if not nodes:
        raise SuanwangError(INVALID, "the trace has no nodes", "was it written to the end?", Place(str(path)))
    return Trace(name, tuple(ranks))


def _foresee(files: dict[int, Path]) -> None:
    """Refuses more nodes than are read before any is, as far as files are not compressed."""
    count, seen = 0, set[bytes]()
    for file in files.values():
        data = file.read_bytes() if file.suffix == ".et" else b""
        digest = sha256(data).digest()
        if digest not in seen and data[:2] != GZIP:
            count += _count(data)
        seen.add(digest)
    if count > MOST_NODES + len(files):  # with the metadata
        raise _too_large(f"{count:,} nodes; at most {MOST_NODES:,} are read", next(iter(files.values())).parent)


def _count(data: bytes) -> int:
    """Messages there are, if these are any."""
    at = count = 0
    try:
        while at < len(data):
            size, begin = (data[at], at + 1) if data[at] < 0x80 else varint(data, at)
            at = begin + size
            count += 1
    except Malformed:
        return 0
    return count


def _too_large(message: str, place: Path | str) -> SuanwangError:
    return SuanwangError(TOO_LARGE, message, "trace one iteration, or fewer ranks", Place(str(place)))


def _unpacked(data: bytes, most: int, file: Path) -> bytes:
    """What a file holds, if it is compressed."""
    found = bytearray()
    rest = data
    try:
        while rest[:2] == GZIP:
            reader = zlib.decompressobj(zlib.MAX_WBITS | 16)
            found += reader.decompress(rest, most - len(found) + 1)
            if len(found) > most:
                raise _too_large(f"more than {LARGEST_FILE_BYTES >> 30} GiB when unpacked", file)
            if not reader.eof:
                raise SuanwangError(INVALID, "the compressed file is cut off", "copy it whole", Place(str(file)))
            rest = reader.unused_data
    except zlib.error as problem:
        raise SuanwangError(
            INVALID, f"the compressed file is damaged: {problem}", "pack it anew", Place(str(file))
        ) from None
    if found and rest:
        raise SuanwangError(INVALID, f"{len(rest)} bytes behind the compressed ones", "pack it anew", Place(str(file)))
    return bytes(found) if data[:2] == GZIP else data


def _files(path: Path) -> tuple[str, dict[int, Path]]:
    folder = path if path.is_dir() else path.parent
    match = None if path.is_dir() else _NAME.match(path.name)
    if match is None and path.is_file():
        return path.name.removesuffix(".gz").removesuffix(".et").removesuffix(".json"), {0: path}
    found: dict[tuple[str, str], dict[int, Path]] = {}
    for file in folder.iterdir():
        one = _NAME.match(file.name)
        wanted = one and ((one["form"] != "json") if match is None else _kind(one) == _kind(match))
        if one and wanted:
            found.setdefault(_kind(one), {})[int(one["rank"])] = file
    if len(found) != 1:
        what = "no trace" if not found else f"the traces {', '.join(sorted(prefix for prefix, _ in found)[:5])}"
        raise SuanwangError(UNREADABLE, f"{what} in {folder}", "name one file: NAME.RANK.et", Place(str(path)))
    (((prefix, _), files),) = found.items()
    missing = [rank for rank in range(min(len(files), MOST_RANKS)) if rank not in files]
    if missing or len(files) > MOST_RANKS:
        raise SuanwangError(
            INVALID, f"{len(files)} traces of {prefix}, and none of rank {missing[0] if missing else MOST_RANKS}",
            f"ranks count from 0, up to {MOST_RANKS:,}", Place(str(path)),
        )  # fmt: skip
    return prefix, files


def _kind(match: re.Match[str]) -> tuple[str, str]:
    return match["prefix"], "json" if match["form"] == "json" else "et"


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
    attributes: dict[bytes, tuple[str, Attribute]] = {}

    def nodes() -> Iterable[Read]:
        for number, (at, end) in enumerate(_messages(data)):
            message = data[at:end]
            if number == 0 and _is_metadata(message, at):
                continue
            if number < LOOKED_INTO and outdated(message, at):
                raise Malformed("this node is of a schema before 0.0.4", at, "convert the trace with a later Chakra")
            yield node_of(message, at, attributes)

    return _rank(rank, file, nodes(), groups, most_nodes, most_dependencies)


def _read_json(
    rank: int, file: str, data: bytes, groups: dict[str, tuple[int, ...]], most_nodes: int, most_dependencies: int
) -> RankTrace:
    return _rank(rank, file, read_graph(data), groups, most_nodes, most_dependencies)


def _rank(
    rank: int,
    file: str,
    found: Iterable[Read],
    groups: dict[str, tuple[int, ...]],
    most_nodes: int,
    most_dependencies: int,
) -> RankTrace:
    nodes, callers, known = list[Node](), dict[int, tuple[int, ...]](), dict(groups)
    try:
        for one in found:
            if len(nodes) >= most_nodes:
                raise _too_large(f"more than {MOST_NODES:,} nodes", file)
            most_dependencies -= len(one.node.after)
            if most_dependencies < 0:
                raise _too_large(f"more than {MOST_DEPENDENCIES:,} dependencies", file)
            if one.callers:
                callers[len(nodes)] = one.callers
            if one.node.kind == "metadata" and one.text:
                known.update(_process_groups(one.text))
            nodes.append(one.node)
    except Malformed as problem:
        hint = problem.hint or "is this a Chakra trace, whole?"
        where = f"byte {problem.offset}: " if problem.offset >= 0 else ""
        raise SuanwangError(INVALID, f"{where}{problem}", hint, Place(file)) from None
    numbers = {node.number for node in nodes}
    left_out = _leave_out(nodes, {at: set(those) - numbers for at, those in callers.items()})
    trace = RankTrace(rank, file, tuple(nodes), known, left_out)
    index = _index(trace)
    stuck = _stuck(trace, index)
    if stuck and callers:  # a call stack, whose callers end after those that they call: data alone says the order
        left_out += _leave_out(nodes, {at: set(those) & numbers for at, those in callers.items()})
        trace = RankTrace(rank, file, tuple(nodes), known, left_out)
        stuck = _stuck(trace, index)
    if stuck:
        first = min(stuck)
        raise trace.fail(trace.nodes[first], f"it depends on itself: {_cycle(trace, index, stuck)}", "break the cycle")
    return trace


def _leave_out(nodes: list[Node], what: dict[int, set[int]]) -> int:
    """Takes dependencies away from the nodes at some places; says how many."""
    for at, those in what.items():
        if those:
            nodes[at] = replace(nodes[at], after=tuple(one for one in nodes[at].after if one not in those))
    return sum(map(len, what.values()))


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


def _process_groups(text: str) -> dict[str, tuple[int, ...]]:
    """Groups that PyTorch notes in a metadata node: a list of {"pg_name": ..., "ranks": [...]}, in quotes of its own.

    Other metadata is left alone; a group without ranks has all.
    """
    begin, end = text.find("[{"), text.rfind("}]")
    if begin < 0 or end < 0:
        return {}
    try:
        listed = json.loads(text[begin : end + 2])
        return {str(one["pg_name"]): _ranks(one["ranks"]) if one.get("ranks") else () for one in listed}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def _index(trace: RankTrace) -> dict[int, int]:
    """Where each node is. Refuses double nodes, dependencies on nothing, and collectives that are not simulated."""
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
    for node in trace.nodes:
        for before in node.after:
            if before not in index:
                raise trace.fail(
                    node, f"it depends on node {before}, which is not in the trace", "was the trace cut off?"
                )
    return index


def _stuck(trace: RankTrace, index: dict[int, int]) -> set[int]:
    """The places of nodes that are in a circle of dependencies, or behind one."""
    followers: list[list[int]] = [[] for _ in trace.nodes]
    missing = [len(node.after) for node in trace.nodes]
    for at, node in enumerate(trace.nodes):
        for before in node.after:
            followers[index[before]].append(at)
    ready = [at for at, count in enumerate(missing) if not count]
    for at in ready:
        for follower in followers[at]:
            missing[follower] -= 1
            if not missing[follower]:
                ready.append(follower)
    return {at for at, count in enumerate(missing) if count}


def _cycle(trace: RankTrace, index: dict[int, int], stuck: set[int]) -> str:
    """A cycle among nodes that never got ready, as text."""
    seen: dict[int, int] = {}
    way: list[int] = []
    at = min(stuck)
    while at not in seen:
        seen[at] = len(way)
        way.append(at)
        at = next(index[before] for before in trace.nodes[at].after if index[before] in stuck)
    round_trip = [trace.nodes[one].number for one in way[seen[at] :]]
    shown = " <- ".join(str(one) for one in round_trip[:8]) + (" <- ..." if len(round_trip) > 8 else "")
    return f"{shown} <- {round_trip[0]}"
