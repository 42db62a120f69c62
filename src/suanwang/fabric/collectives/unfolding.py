"""A collective as flows that wait for each other, so that engines can run what `cost.py` works out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from suanwang.fabric.collectives.cost import KINDS, present, schedules
from suanwang.fabric.collectives.group import FabricModel, Group
from suanwang.fabric.collectives.routing import Routing
from suanwang.fabric.collectives.schedule import Schedule
from suanwang.fabric.flow.coordinates import clos_paths
from suanwang.fabric.flow.engine import FlowResult, simulate_paths
from suanwang.fabric.flow.maxmin import Usage
from suanwang.fabric.flow.paths import Paths
from suanwang.fabric.traffic import NONE, Traffic
from suanwang.model.errors import INVALID, SuanwangError

MOST_FLOWS = 2**24
"""Flows that one collective is unfolded into; the classes of `cost.py` know no such limit."""


@dataclass(frozen=True)
class Unfolded:
    """Flows between accelerators; `inside[i]` says that flow i uses the scale-up network.

    Flows of one `connection` are sent one after another, those with the least number first.
    """

    traffic: Traffic
    inside: NDArray[np.bool_]
    connection: NDArray[np.int64]


def unfold(
    kind: str,
    size_bytes: int,
    group: Group,
    fabric: FabricModel,
    algorithm: str,
    chunks: int = 1,
    routing: Routing | None = None,
    moves: Sequence[int] = (0,),
) -> Unfolded:
    """The flows of a collective; arguments are those of `collective_time`.

    A rank sends a chunk in a round once it has received all of that chunk in the round before in which it received
    something. What one rank has for another goes one message after another, earlier chunks first. `moves` has groups
    alike, moved by so many accelerators, do the same at the same time.

    Raises:
        SuanwangError: INVALID for an algorithm that the group can't use, that sums in switches, or too many flows.
    """
    present(group, fabric)
    if kind not in KINDS:
        raise SuanwangError(INVALID, f"no collective is called {kind!r}", hint=f"there are {', '.join(KINDS)}")
    if group.size < 2 or size_bytes < 1:
        raise SuanwangError(INVALID, f"{size_bytes} bytes among {group.size}", hint="two take part, and have a byte")
    if chunks < 1:
        raise SuanwangError(INVALID, f"a buffer can't be cut into {chunks} chunks")
    known = dict(schedules(kind, size_bytes, group, fabric, routing))
    if algorithm not in known:
        raise SuanwangError(INVALID, f"no algorithm {algorithm!r} for {kind}", hint=f"there are {', '.join(known)}")
    schedule = known[algorithm]
    if any(stage.combined for stage in schedule):
        raise SuanwangError(INVALID, "sums made in switches are no flows between accelerators", hint="use its cost")
    per_domain = group.per_domain(fabric.domain)
    count = sum(stage.count(group.size, per_domain) * stage.repeat for stage in schedule if stage.size_bytes)
    if count * chunks * len(moves) > MOST_FLOWS:
        raise SuanwangError(
            INVALID,
            f"the collective is {count * chunks * len(moves):,} flows, more than {MOST_FLOWS:,}",
            hint="use its cost, or fewer chunks",
        )
    flows, triggers = _rounds(schedule, group.size, per_domain, chunks)
    sender, receiver, size, turn, waits, fires = flows
    members = group.accelerators()
    copies = np.arange(len(moves))[:, None]
    source, target = ((members[side] + np.asarray(moves)[:, None]).ravel() for side in (sender, receiver))

    def of_copy(trigger: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.where(trigger == NONE, NONE, trigger + copies * len(triggers)).ravel()

    traffic = Traffic.build(
        fabric.accelerators, source, target, np.tile(size, len(moves)),
        np.tile(turn * fabric.overhead_ps, len(moves)),
        of_copy(waits), of_copy(fires), np.tile(triggers, len(moves)),
    )  # fmt: skip
    inside = source // fabric.domain == target // fabric.domain
    connection = np.unique(source * fabric.accelerators + target, return_inverse=True)[1].reshape(-1)
    return Unfolded(traffic, inside if fabric.scale_up else np.zeros(len(source), np.bool_), connection)


def _rounds(
    schedule: Schedule, size: int, per_domain: int, chunks: int
) -> tuple[list[NDArray[np.int64]], NDArray[np.int64]]:
    """Sender, receiver, bytes, turn, trigger awaited and fired of flows; and how many flows each trigger needs.

    A message's turn is which of its sender's messages of the round it is, from 1.
    """
    columns: list[tuple[NDArray[np.int64], ...]] = []
    counts: list[NDArray[np.int64]] = []
    numbered = 0
    stages = [(stage, *stage.pairs(size, per_domain)) for stage in schedule if stage.size_bytes]
    for chunk in range(chunks):
        latest = np.full(size, NONE, np.int64)
        for stage, sender, receiver in stages:
            received = np.bincount(receiver, minlength=size)
            hit, turn = np.flatnonzero(received), _turns(sender)
            number = np.full(size, NONE, np.int64)
            part = np.full(len(sender), -(-stage.size_bytes // chunks), np.int64)
            for _ in range(stage.repeat):
                number[hit] = numbered + np.arange(len(hit))
                numbered += len(hit)
                counts.append(received[hit])
                turns = turn + np.where(latest[sender] == NONE, chunk * turn.max(), 0)
                columns.append((sender, receiver, part, turns, latest[sender], number[receiver]))
                latest = np.where(received > 0, number, latest)
    return [np.concatenate(column) for column in zip(*columns, strict=True)], np.concatenate(counts)


def _turns(sender: NDArray[np.int64]) -> NDArray[np.int64]:
    """Of each message, how many its sender has started with it."""
    order = np.argsort(sender, kind="stable")
    ordered = sender[order]
    turn = np.empty(len(sender), np.int64)
    turn[order] = np.arange(1, len(sender) + 1) - np.searchsorted(ordered, ordered)
    return turn


def run(unfolded: Unfolded, fabric: FabricModel) -> FlowResult:
    """The flows of a collective on both networks, sprayed; `port_bytes` counts as in `clos_paths`, scale-up first."""
    paths = joint_paths(unfolded, fabric)
    return simulate_paths(paths, unfolded.traffic, packet_bytes=fabric.packet_bytes, line=unfolded.connection)


def joint_paths(unfolded: Unfolded, fabric: FabricModel) -> Paths:
    """The paths of flows on the network that each uses, side by side."""
    traffic, flows = unfolded.traffic, len(unfolded.traffic)
    latency, slowness = np.zeros(flows, np.int64), np.zeros(flows)
    entries = np.zeros(flows, np.int64)
    found: list[tuple[NDArray[np.int64], Usage]] = []
    for net, which in ((fabric.scale_up, unfolded.inside), (fabric.scale_out, ~unfolded.inside)):
        if net is None:
            continue
        chosen = np.flatnonzero(which)
        paths = clos_paths(net, traffic.source[chosen], traffic.target[chosen])
        latency[chosen], slowness[chosen] = paths.latency_ps, paths.ps_per_bit
        entries[chosen] = np.diff(paths.usage.first)
        found.append((chosen, paths.usage))
    first = np.concatenate([[0], np.cumsum(entries)])
    resource, before = np.empty(first[-1], np.int64), 0
    for chosen, usage in found:
        shift = np.repeat(first[chosen] - usage.first[:-1], np.diff(usage.first))
        resource[shift + np.arange(len(usage.resource))] = usage.resource + before
        before += len(usage.capacity)
    capacity = np.concatenate([usage.capacity for _, usage in found])
    return Paths(Usage(first, resource, np.ones(len(resource)), capacity), np.arange(before), latency, slowness)
