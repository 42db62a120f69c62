"""Nodes of Chakra execution traces: what a protobuf message or a JSON object says, as far as a replay needs it.

Schema: et_def.proto of mlcommons/chakra, from 0.0.4 (October 2023) on; those before it number their fields otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

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
    single,
)

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
COMMUNICATION = ("send", "receive", "collective")

UNSAID = "what it sends can't be known without; convert the trace with a Chakra that says so"

LONGEST_LIST_BYTES = 2**24
MOST_OF_A_NODE = 10_000_000
MOST_RANKS = 2**17
LONGEST_DURATION_US = 10**12
LARGEST_BYTES = 2**53

MOST_SEEN = 2**16
LONGEST_SEEN = 64
"""Attributes that are remembered, and of how many bytes; they repeat from node to node."""

Attribute = Value | float | str


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
class Read:
    """A node, who called it (dependencies of control alone), and the text of its inputs, where process groups are."""

    node: Node
    callers: tuple[int, ...]
    text: str = ""


def node_of(message: bytes, start: int, seen: dict[bytes, tuple[str, Attribute]]) -> Read:
    """The node of a message that begins at `start`. Attributes that were `seen` are not read again."""
    number = kind = duration = 0
    name = text = ""
    data: list[int] = []
    control: list[int] = []
    attributes: dict[str, Attribute] = {}
    for field, wire, value, offset in fields(message, start):
        if isinstance(value, bytes):
            if field == 10:
                found = seen.get(value) or _attribute(value, offset)
                attributes[found[0]] = found[1]
                if len(seen) < MOST_SEEN and len(value) <= LONGEST_SEEN:
                    seen[value] = found
            elif field == 2:
                name = bytes(value[:200]).decode("utf-8", "replace")
            elif field in (4, 5):
                if len(value) > LONGEST_LIST_BYTES or len(data) + len(control) > MOST_OF_A_NODE:
                    raise Malformed(f"node {number} depends on more than a trace may have", offset)
                (data if field == 5 else control).extend(numbers(wire, value, offset))
            elif field == 8:
                text = _first_text(value, offset)
        elif wire == VARINT:
            if field == 1:
                number = value
            elif field == 3:
                kind = value
            elif field in (4, 5):
                (data if field == 5 else control).append(value)
            elif field == 7:
                duration = value
    return Read(*build(number, name, kind, data, control, duration, attributes, start), text)


def build(
    number: int,
    name: str,
    kind: int,
    data: list[int],
    control: list[int],
    duration_us: int,
    attributes: Mapping[str, Attribute],
    start: int,
) -> tuple[Node, tuple[int, ...]]:
    """A node of what is said of it, and its callers. Raises Malformed for what can't be."""
    if kind >= len(NODE_TYPES):
        raise Malformed(f"node {number} is of type {kind}, which the schema does not have", start)
    if duration_us > LONGEST_DURATION_US:
        raise Malformed(f"node {number} takes {duration_us} us", start)

    def whole(key: str, default: int = 0, most: int = LARGEST_BYTES, least: int = 0) -> int:
        if key not in attributes:
            return default
        value = attributes[key]
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if not isinstance(value, int) or not least <= value <= most:
            raise Malformed(f"node {number}: {key} is {str(value)[:40]!r}", start)
        return value

    what, host = NODE_TYPES[kind], bool(attributes.get("is_cpu_op", False))
    if what in COMMUNICATION and host and "comm_size" not in attributes:
        what = "compute"  # the host's call, which has a node of its own for what is sent
    memory = what in ("memory load", "memory store", "compute")
    size = whole("tensor_size" if memory else "comm_size")
    collective = _collective(number, whole("comm_type"), attributes, start) if what == "collective" else ""
    sized = what == "send" or (collective in SIMULATED and collective != "barrier")
    if sized and "comm_size" not in attributes:
        raise Malformed(f"node {number}, a {what}, has no comm_size", start, UNSAID)
    node = Node(
        number, name, what, tuple(dict.fromkeys((*control, *data))), duration_us * 10**6, collective, size,
        str(attributes.get("pg_name", ""))[:100], whole("comm_src", -1, MOST_RANKS, -1),
        whole("comm_dst", -1, MOST_RANKS, -1), whole("comm_tag", least=-1), whole("num_ops", most=2**62), host, start,
    )  # fmt: skip
    return node, tuple(set(control) - set(data)) if control else ()


def _collective(number: int, which: int, attributes: Mapping[str, Attribute], start: int) -> str:
    if "comm_type" not in attributes:
        raise Malformed(f"node {number}, a collective, has no comm_type", start, UNSAID)
    if not attributes.get("involved_dim", True):
        raise Malformed(
            f"node {number}: involved_dim leaves out dimensions, which a fabric does not have", start,
            "write a process group (pg_name) in place of involved_dim",
        )  # fmt: skip
    return COLLECTIVES[which] if which < len(COLLECTIVES) else f"type {which}"


def _first_text(message: bytes, start: int) -> str:
    for field, _, value, _ in fields(message, start):
        if field == 1 and isinstance(value, bytes):
            return bytes(value).decode("utf-8", "replace")
    return ""


def _attribute(message: bytes, start: int) -> tuple[str, Attribute]:
    """The name and value of an attribute; of a list of truths, whether all are true; other lists are left out (0)."""
    key = ""
    found: Attribute = 0
    for field, wire, value, offset in fields(message, start):
        if isinstance(value, bytes):
            if field in (1, 29):
                text = bytes(value[:1000]).decode("utf-8", "replace")
                key, found = (text, found) if field == 1 else (key, text)
            elif field == 28:
                truths = (
                    one for at, kind, each, _ in fields(value, offset) if at == 1 for one in numbers(kind, each, offset)
                )
                found = int(all(truths))
        elif wire == VARINT and field in (15, 17):
            found = (value >> 1) ^ -(value & 1)
        elif wire == VARINT and field in (7, 9):
            found = signed(value)
        elif wire == FIXED64 and field == 3:
            found = double(value)
        elif wire == FIXED32 and field == 5:
            found = single(value)
        elif wire == FIXED32 and field == 23:
            found = value - 2**32 if value >> 31 else value
        elif wire == FIXED64 and field == 25:
            found = signed(value)
        else:
            found = value
    return key, found


def outdated(message: bytes, start: int) -> bool:
    """Whether a message is a node of a schema before 0.0.4: attributes are field 11 there, or fields of the node."""
    try:
        for field, wire, value, _ in fields(message, start):
            if (field == 11 and isinstance(value, bytes) and value[:1] == bytes([1 << 3 | BYTES])) or (
                12 <= field <= 20 and wire == VARINT
            ):
                return True
    except Malformed:
        pass
    return False
