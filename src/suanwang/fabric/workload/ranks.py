"""What a replay knows of each rank: what waits, what is ready for which stream, what is under way."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from heapq import heapify

from suanwang.fabric.collectives.group import Group
from suanwang.fabric.workload.chakra import RankTrace, Trace
from suanwang.fabric.workload.nodes import Node

HOST, COMPUTING, SENDING, FREE = range(4)

Key = tuple[str, str]
"""Kind and group of communication."""


@dataclass(frozen=True, slots=True)
class Members:
    """A set of ranks that do collectives together; `number` tells it from others."""

    number: int
    ranks: tuple[int, ...]
    group: Group

    @property
    def size(self) -> int:
        """How many they are."""
        return len(self.ranks)


@dataclass(slots=True)
class Rank:
    """One rank while it runs. `busy` has what runs on each stream, `active` the communication that is under way.

    `computing` counts nodes of the accelerator at work, `hosting` others that take time.
    """

    trace: RankTrace
    missing: list[int]
    followers: list[list[int]]
    ready: list[list[tuple[int, int]]]
    busy: list[bool] = field(default_factory=lambda: [False] * 4)
    active: dict[int, Key] = field(default_factory=dict)
    computing: int = 0
    hosting: int = 0
    since: int = 0
    compute_ps: int = 0
    exposed_ps: int = 0
    met: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    groups: dict[str, Members] = field(default_factory=dict)


def at_start(trace: RankTrace) -> Rank:
    """A rank of which nothing is done yet."""
    index = {node.number: at for at, node in enumerate(trace.nodes)}
    followers: list[list[int]] = [[] for _ in trace.nodes]
    ready: list[list[tuple[int, int]]] = [[] for _ in range(4)]
    for at, node in enumerate(trace.nodes):
        for before in node.after:
            followers[index[before]].append(at)
        if not node.after:
            ready[stream_of(node)].append((node.number, at))
    for queue in ready:
        heapify(queue)
    return Rank(trace, [len(node.after) for node in trace.nodes], followers, ready)


def stream_of(node: Node) -> int:
    """What a node runs on. Receives need nothing: they wait."""
    if node.kind in ("receive", "metadata", "invalid"):
        return FREE
    if node.kind in ("collective", "send"):
        return SENDING
    return HOST if node.on_host or node.kind in ("storage", "batch", "checkpoint") else COMPUTING


def do_the_same(trace: Trace) -> bool:
    """Whether all ranks have the same nodes, which concern all ranks: then one of them stands for all."""
    first = trace.ranks[0]
    if any(rank.nodes is not first.nodes for rank in trace.ranks):
        return False
    groups = {node.group for node in first.nodes if node.kind == "collective"}
    everyone = tuple(range(len(trace.ranks)))
    named = (first.groups.get(name, () if name in ("", "0") else None) for name in groups)
    return not any(node.kind in ("send", "receive") for node in first.nodes) and all(
        ranks is not None and tuple(sorted(ranks)) in ((), everyone) for ranks in named
    )
