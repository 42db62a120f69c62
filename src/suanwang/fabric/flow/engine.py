"""Flows as fluids: each gets its max-min fair rate at every moment, found anew when one starts or ends.

What a flow takes is three times in a row: waiting for its start or trigger; sending, size / rate while rates change;
and the last bit's way: the latency of all cables, and what each switch takes to send on the last packet. Queues, losses
and congestion control's search for the fair rate are left out: that is what the packet engine is for.

After a flow starts or ends, most others keep their rate. Only flows held back where something changed are looked at,
then those that the new rates treat unfairly, until there are none: every flow is at its limit or at a full resource
where none has more, and the rates with that property are unique.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from suanwang.fabric.flow.maxmin import checked
from suanwang.fabric.flow.paths import Balance, Bools, Paths, find_paths
from suanwang.fabric.network import Network
from suanwang.fabric.routing.routes import Routes
from suanwang.fabric.traffic import FOREVER_PS, NONE, Traffic
from suanwang.model.errors import INVALID, SuanwangError

if TYPE_CHECKING:
    from suanwang.fabric.flow.fluid_kernels import Fluid

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]

Progress = Callable[[int, int], bool]
"""Told how many flows are done of how many; says whether to go on."""

SLICE_EVENTS = 2**14
"""Between two calls of `progress`."""


@dataclass(frozen=True)
class FlowResult:
    """What became of flows; times in picoseconds, -1 for a flow that never starts or ends.

    `fct_ps` counts from a flow's own start to its last byte's arrival. `port_bytes[p]` is what port p sent in all.
    `now_ps` is when the run ended. `solves` is how often rates were found, `events` how many starts, ends, arrivals
    and answers there were, and turns that came in lines.
    """

    start_ps: Integers
    finish_ps: Integers
    fct_ps: Integers
    port_bytes: Floats
    now_ps: int
    solves: int
    events: int

    @property
    def unfinished(self) -> Integers:
        """Flows that did not end: for want of time, of a path, or of ports with a rate; or they wait for such ones."""
        return np.flatnonzero(self.finish_ps < 0)


def simulate_flows(
    network: Network,
    routes: Routes,
    traffic: Traffic,
    balance: Balance = "spray",
    *,
    seed: int = 0,
    packet_bytes: int = 0,
    up: Bools | None = None,
    rate_bps: Integers | None = None,
    weight: ArrayLike = 1.0,
    limit_bps: ArrayLike = np.inf,
    until_ps: int = FOREVER_PS,
    progress: Progress | None = None,
) -> FlowResult:
    """All flows of `traffic` to their ends. For `balance`, `seed`, `up` and `rate_bps` see `find_paths`.

    Args:
        routes: next hops, over the ports that are up.
        packet_bytes: what switches store before they send on; 0 is cut-through.
        weight: of flows, for weighted fairness.
        limit_bps: the most that each flow may send.
        until_ps: what would happen later does not.
        progress: called now and then; the run stops when it returns False.

    Raises:
        SuanwangError: INVALID for values out of range.
    """
    paths = find_paths(network, routes, traffic, balance, seed, up, rate_bps)
    return simulate_paths(
        paths, traffic, packet_bytes=packet_bytes, weight=weight, limit_bps=limit_bps, until_ps=until_ps,
        progress=progress,
    )  # fmt: skip


def simulate_paths(
    paths: Paths,
    traffic: Traffic,
    *,
    packet_bytes: int = 0,
    weight: ArrayLike = 1.0,
    limit_bps: ArrayLike = np.inf,
    until_ps: int = FOREVER_PS,
    progress: Progress | None = None,
    line: ArrayLike = NONE,
) -> FlowResult:
    """The same over paths found before.

    Flows of the same `line` are sent one after another, as messages on one connection are: of those that wait, the one
    with the least number goes first. -1 is none. A flow starts when its turn has come.
    """
    from suanwang.fabric.flow.engine_kernels import advance, begin
    from suanwang.fabric.flow.fluid_kernels import DONE, EVENTS, SOLVES

    if len(paths.usage) != len(traffic):
        raise SuanwangError(INVALID, f"there are paths for {len(paths.usage)} flows, and {len(traffic)} flows")
    weights = np.ascontiguousarray(np.broadcast_to(np.asarray(weight, np.float64), (len(traffic),)))
    limits = np.ascontiguousarray(np.broadcast_to(np.asarray(limit_bps, np.float64), (len(traffic),)))
    checked(weights, limits)
    if packet_bytes < 0:
        raise SuanwangError(INVALID, f"a packet of {packet_bytes} bytes makes no sense")
    lines = np.ascontiguousarray(np.broadcast_to(np.asarray(line, np.int64), (len(traffic),)))
    if len(lines) and (lines.min() < NONE or lines.max() >= len(traffic)):
        raise SuanwangError(INVALID, f"lines of {len(traffic)} flows count from 0 to {len(traffic) - 1}; -1 is none")
    fluid = _fluid(paths, traffic, packet_bytes, weights, limits / 1e12, lines)
    begin(fluid)
    stopped = False
    while not stopped and advance(fluid, float(until_ps), SLICE_EVENTS):
        stopped = progress is not None and not progress(int(fluid.counts[DONE]), len(traffic))
    ended = fluid.received >= 0
    finish = np.where(ended, np.ceil(fluid.received - 1e-3), -1).astype(np.int64)
    start = np.round(fluid.started).astype(np.int64)
    time_up = until_ps < FOREVER_PS and not stopped and not ended.all()
    now = until_ps if time_up else max(int(fluid.clock[0]), int(finish.max(initial=0)))
    return FlowResult(
        start_ps=start,
        finish_ps=finish,
        fct_ps=np.where(ended, finish - start, -1),
        port_bytes=_carried(paths, fluid, traffic, now),
        now_ps=now,
        solves=int(fluid.counts[SOLVES]),
        events=int(fluid.counts[EVENTS]),
    )


def _fluid(paths: Paths, traffic: Traffic, packet_bytes: int, weight: Floats, limit: Floats, line: Integers) -> Fluid:
    """All flows before their start."""
    from suanwang.fabric.flow.fluid_kernels import EVENTS, LAST, Fluid

    usage, flows = paths.usage, len(traffic)
    uses, resources = len(usage.resource), len(usage.capacity)
    stored = np.minimum(packet_bytes, traffic.size_bytes) * 8
    waiting = np.flatnonzero(traffic.waits_for >= 0)
    by_trigger = np.bincount(traffic.waits_for[waiting], minlength=len(traffic.trigger_count))
    fluid = Fluid(
        first=usage.first,
        resource=usage.resource.astype(np.int32),
        fraction=usage.fraction,
        owner=np.empty(uses, np.int32),
        capacity=usage.capacity / 1e12,
        weight=weight,
        limit=limit,
        begin=traffic.start_ps.astype(np.float64),
        waits_for=traffic.waits_for,
        fires=traffic.fires,
        line=line,
        busy=np.zeros(int(line.max(initial=-1)) + 1, np.bool_),
        front=np.full(int(line.max(initial=-1)) + 1, LAST),
        back=np.full(int(line.max(initial=-1)) + 1, LAST),
        behind=np.full(flows, LAST),
        waiting=traffic.trigger_count.copy(),
        queue_first=np.concatenate(([0], np.cumsum(by_trigger))),
        queue=waiting[np.argsort(traffic.waits_for[waiting], kind="stable")],
        answer=np.where(traffic.at_sender & (traffic.fires >= 0), paths.latency_ps, 0).astype(np.float64),
        extra=np.asarray(paths.latency_ps + np.ceil(stored * paths.ps_per_bit), np.float64),
        started=np.full(flows, -1.0),
        sent=np.full(flows, -1.0),
        received=np.full(flows, -1.0),
        left=traffic.size_bytes.astype(np.float64) * 8,
        since=np.zeros(flows),
        due=np.full(flows, np.inf),
        rate=np.zeros(flows),
        old=np.zeros(flows),
        held=np.full(flows, -1),
        inside=np.zeros(flows, np.bool_),
        active=np.empty(flows, np.int64),
        where=np.full(flows, -1),
        chosen=np.empty(flows, np.int64),
        gone=np.empty(flows, np.int64),
        times=np.empty(flows),
        codes=np.empty(flows, np.int64),
        counts=np.zeros(EVENTS + 1, np.int64),
        clock=np.zeros(1),
        head=np.full(resources, -1),
        after=np.full(uses, -1, np.int32),
        before=np.full(uses, -1, np.int32),
        mine=np.full(resources, -2),
        link=np.empty(uses, np.int32),
        touched=np.empty(resources, np.int64),
        level=np.empty(resources),
        heap=np.empty(resources, np.int64),
    )
    owned: list[Any] = [np.require(array, requirements=("C", "W")) for array in fluid]
    return Fluid(*owned)  # all writable, whosever they were, so that the loops are compiled once


def _carried(paths: Paths, fluid: Fluid, traffic: Traffic, now_ps: int) -> Floats:
    """Bytes that each port sent."""
    usage = paths.usage
    if not len(usage.capacity):
        return np.zeros(len(paths.klass))
    running = (fluid.started >= 0) & (fluid.sent < 0) & (np.diff(usage.first) > 0)
    left = np.where(fluid.started < 0, fluid.left, 0.0) + np.where(
        running, np.maximum(0.0, fluid.left - fluid.rate * np.maximum(0.0, now_ps - fluid.since)), 0.0
    )
    sent = traffic.size_bytes - left / 8
    by_class = np.bincount(
        usage.resource, np.repeat(sent, np.diff(usage.first)) * usage.fraction, minlength=len(usage.capacity)
    )
    found: Floats = np.where(paths.klass >= 0, by_class[paths.klass], 0.0)
    return found
