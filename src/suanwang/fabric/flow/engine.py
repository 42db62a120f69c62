"""Flows as fluids: each gets its max-min fair rate at every moment, found anew when one starts or ends.

What a flow takes is three times in a row: waiting for its start or trigger; sending, size / rate while rates change;
and the last bit's way: the latency of all cables, and what each switch takes to send on the last packet. Queues, losses
and congestion control's search for the fair rate are left out: that is what the packet engine is for.

After a flow starts or ends, most others keep their rate. Only flows held back where something changed are looked at,
then those that the new rates treat unfairly, until there are none: every flow is at its limit or at a full resource
where none has more, and the rates with that property are unique.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from suanwang.fabric.flow.paths import Balance, Bools, Paths, find_paths
from suanwang.fabric.maxmin import checked
from suanwang.fabric.network import Network
from suanwang.fabric.routes import Routes
from suanwang.fabric.traffic import Traffic
from suanwang.model.errors import INVALID, SuanwangError

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]

MOST_EVENTS = 2**40


@dataclass(frozen=True)
class FlowResult:
    """What became of flows; times in picoseconds, -1 for a flow that never starts or ends.

    `fct_ps` counts from a flow's own start to its last byte's arrival. `port_bytes[p]` is what port p sent in all, for
    flows that ended. `solves` is how often rates were found, `events` how many starts, ends and arrivals there were.
    """

    start_ps: Integers
    finish_ps: Integers
    fct_ps: Integers
    port_bytes: Floats
    solves: int
    events: int

    @property
    def unfinished(self) -> Integers:
        """Flows that never ended: they have no path, only ports without rate, or wait for such ones."""
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
) -> FlowResult:
    """All flows of `traffic` to their ends. For `balance`, `seed`, `up` and `rate_bps` see `find_paths`.

    Args:
        routes: next hops, over the ports that are up.
        packet_bytes: what switches store before they send on; 0 is cut-through.
        weight: of flows, for weighted fairness.
        limit_bps: the most that each flow may send.

    Raises:
        SuanwangError: INVALID for values out of range.
    """
    paths = find_paths(network, routes, traffic, balance, seed, up, rate_bps)
    return simulate_paths(paths, traffic, packet_bytes=packet_bytes, weight=weight, limit_bps=limit_bps)


def simulate_paths(
    paths: Paths,
    traffic: Traffic,
    *,
    packet_bytes: int = 0,
    weight: ArrayLike = 1.0,
    limit_bps: ArrayLike = np.inf,
) -> FlowResult:
    """The same over paths found before."""
    from suanwang.fabric.flow.engine_kernels import run

    if len(paths.usage) != len(traffic):
        raise SuanwangError(INVALID, f"there are paths for {len(paths.usage)} flows, and {len(traffic)} flows")
    weights = np.ascontiguousarray(np.broadcast_to(np.asarray(weight, np.float64), (len(traffic),)))
    limits = np.ascontiguousarray(np.broadcast_to(np.asarray(limit_bps, np.float64), (len(traffic),)))
    checked(weights, limits)
    if packet_bytes < 0:
        raise SuanwangError(INVALID, f"a packet of {packet_bytes} bytes makes no sense")
    stored = np.minimum(packet_bytes, traffic.size_bytes) * 8
    extra = paths.latency_ps + np.ceil(stored * paths.ps_per_bit)
    usage = paths.usage
    started, _, received, solves, events = run(
        usage.first, usage.resource.astype(np.int32), usage.fraction, usage.capacity / 1e12, weights, limits / 1e12,
        traffic.size_bytes * 8.0, traffic.start_ps.astype(np.float64), traffic.waits_for, traffic.fires,
        traffic.trigger_count, extra, MOST_EVENTS,
    )  # fmt: skip
    ended = received >= 0
    finish = np.where(ended, np.ceil(received - 1e-3), -1).astype(np.int64)
    start = np.round(started).astype(np.int64)
    carried = np.repeat(np.where(ended, traffic.size_bytes, 0), np.diff(usage.first)) * usage.fraction
    by_class = np.bincount(usage.resource, carried, minlength=len(usage.capacity))
    return FlowResult(
        start_ps=start,
        finish_ps=finish,
        fct_ps=np.where(ended, finish - start, -1),
        port_bytes=np.where(paths.klass >= 0, by_class[paths.klass], 0.0)
        if len(by_class)
        else np.zeros(len(paths.klass)),
        solves=int(solves),
        events=int(events),
    )
