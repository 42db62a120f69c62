"""Chakra traces as its feeder's JSON: {"workload_graph": [{"Id": 1, "NodeType": 7, "data_deps": [], ...}, ...]}."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from suanwang.fabric.workload.nodes import MOST_OF_A_NODE, Attribute, Read, build
from suanwang.fabric.workload.wire import Malformed

GRAPH = "workload_graph"
NOWHERE = -1
"""No place in bytes."""
ATTRIBUTES = (
    "is_cpu_op", "tensor_size", "num_ops", "comm_type", "comm_size", "comm_src", "comm_dst", "comm_tag", "pg_name",
    "involved_dim",
)  # fmt: skip


def read_graph(data: bytes) -> Iterator[Read]:
    """The nodes of a JSON trace. Raises Malformed with the node's place in its list, or the byte of a syntax error."""
    try:
        whole = json.loads(data)
    except json.JSONDecodeError as problem:
        raise Malformed(f"this is no JSON: {problem.msg}", problem.pos) from None
    except (ValueError, RecursionError):
        raise Malformed("this is no JSON", NOWHERE) from None
    graph = whole.get(GRAPH) if isinstance(whole, dict) else None
    if not isinstance(graph, list):
        raise Malformed(f"there is no list {GRAPH}", NOWHERE, 'Chakra\'s feeder takes {"workload_graph": [...]}')
    for at, one in enumerate(graph):
        if not isinstance(one, dict):
            raise Malformed(f"{GRAPH}[{at}] is no node", NOWHERE)
        yield _node(one, at)


def _node(one: dict[str, Any], at: int) -> Read:
    def whole(key: str, default: int | None = None) -> int:
        value = one.get(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**64:
            raise Malformed(f"{key} is {str(value)[:40]!r}", NOWHERE, f"give every node {key}, a whole number")
        return value

    def numbers(*keys: str) -> list[int]:
        value: Any = next((one[key] for key in keys if key in one), [])
        good = isinstance(value, list) and len(value) <= MOST_OF_A_NODE
        if not good or not all(isinstance(each, int) and not isinstance(each, bool) and each >= 0 for each in value):
            raise Malformed(f"{keys[0]} is no list of nodes", NOWHERE)
        return list(value)

    attributes: dict[str, Attribute] = {
        key: value for key in ATTRIBUTES if isinstance(value := one.get(key), (int, float, str))
    }
    if isinstance(dimensions := one.get("involved_dim"), list):
        attributes["involved_dim"] = int(all(dimensions))
    try:
        name = str(one.get("Name", ""))[:200]
        found = build(
            whole("Id"), name, whole("NodeType"), numbers("data_deps"), numbers("ctrl_deps", "ctrlDeps"),
            whole("runtime", 0), attributes, NOWHERE,
        )  # fmt: skip
    except Malformed as problem:
        raise Malformed(f"{GRAPH}[{at}]: {problem}", problem.offset, problem.hint) from None
    return Read(*found)
