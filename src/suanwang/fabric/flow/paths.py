"""Which share of a flow goes over which port: one path chosen by hashes, or spread over all by weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from suanwang.fabric.flow.maxmin import Usage, collapsed
from suanwang.fabric.network import Network
from suanwang.fabric.routing.routes import Routes
from suanwang.fabric.routing.sets_kernels import ATTACHED, UNREACHABLE
from suanwang.fabric.traffic import Traffic
from suanwang.model.errors import INVALID, SuanwangError

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

Balance = Literal["ecmp", "spray"]
MOST_ENTRIES = 2**28
"""Shares of flows on ports that are held at once; 16 bytes each."""


@dataclass(frozen=True)
class Paths:
    """What flows use, over classes of ports alike.

    `klass[p]` is the resource of port p in `usage`, -1 if no flow uses it. The last bit of flow i arrives
    `latency_ps[i]` after it was sent, and `ps_per_bit[i]` later for each bit that switches store before they send on.
    A flow without entries has no path.
    """

    usage: Usage
    klass: Integers
    latency_ps: Integers
    ps_per_bit: Floats


def find_paths(
    network: Network,
    routes: Routes,
    traffic: Traffic,
    balance: Balance = "spray",
    seed: int = 0,
    up: Bools | None = None,
    rate_bps: Integers | None = None,
) -> Paths:
    """The paths of all flows.

    Args:
        balance: "spray" divides each flow at every switch by the weights of its next hops, and at the sender over its
            ports that lead there, evenly or by `routes.reach` (FARE is this with FARE's weights in `routes`); "ecmp"
            has each switch pick one next hop for a flow, by a hash of the seed, the flow's ends and number and the
            switch, in proportion to weights.
        up: ports that work. Where `routes` were found with others, flows over ports that do not never end.
        rate_bps: rates of ports in place of the network's, for degraded ones.

    Raises:
        SuanwangError: INVALID for rates or weights out of range, or more than `MOST_ENTRIES` shares to be held.
    """
    alive = np.ones(network.ports, np.bool_) if up is None else up & up[network.peer]
    rates = (network.rate_bps if rate_bps is None else rate_bps).astype(np.int64)
    if len(rates) != network.ports or (rates < 0).any():
        raise SuanwangError(INVALID, f"there are {network.ports} ports, each with a rate of 0 or more")
    rates = np.where(alive, rates, 0)
    if (routes.weight < 0).any() or (len(routes.port) and not np.add.reduceat(routes.weight, routes.first[:-1]).all()):
        raise SuanwangError(INVALID, "a set of next hops has no weight", hint="leave it out: then there is no way")
    if balance == "ecmp":
        return _hashed(network, routes, traffic, alive, rates, seed)
    return _sprayed(network, routes, traffic, alive, rates)


def _hashed(network: Network, routes: Routes, traffic: Traffic, alive: Bools, rates: Integers, seed: int) -> Paths:
    from suanwang.fabric.flow.paths_kernels import walk

    offset, ports = walk(
        network.endpoints, network.first_port, network.target, network.peer, alive, routes.group, routes.table,
        routes.first, routes.port, routes.weight, traffic.source, traffic.target, seed,
    )  # fmt: skip
    usage = Usage(offset, ports, np.ones(len(ports)), rates.astype(np.float64))
    there = np.diff(offset) > 0
    latency, slowness = np.zeros(len(traffic), np.int64), np.zeros(len(traffic))
    starts = offset[:-1][there]
    latency[there] = np.add.reduceat(network.latency_ps[ports], starts) if len(starts) else 0
    if len(starts):
        inverse = 1e12 / np.maximum(rates, 1)[ports]
        slowness[there] = np.add.reduceat(inverse, starts) - inverse[starts]
    fewer, klass = collapsed(usage)
    return Paths(fewer, klass, latency, slowness)


def _sprayed(network: Network, routes: Routes, traffic: Traffic, alive: Bools, rates: Integers) -> Paths:
    from suanwang.fabric.flow.paths_kernels import assemble, spread

    lane_offset, lane_port, lane_share, leaf, to = _lanes(network, routes, traffic, alive, rates)
    pairs, lane_pair = np.unique(leaf * max(routes.groups, 1) + to, return_inverse=True)
    known = np.maximum(rates, 1)
    offset, ports, fractions, *outs = spread(
        network.endpoints, network.target, known, network.latency_ps, routes.table, routes.first, routes.port,
        routes.weight, pairs // max(routes.groups, 1), pairs % max(routes.groups, 1),
    )  # fmt: skip
    # Ports between leaves that all pairs use alike are one resource from here on; the endpoints' own follow them.
    middle, klass = collapsed(Usage(offset, ports, fractions, rates.astype(np.float64)))
    own = len(middle.capacity) + np.arange(network.ports)
    entries = int((np.diff(middle.first)[lane_pair] + 2).sum())
    if entries > MOST_ENTRIES:
        raise SuanwangError(
            INVALID,
            f"the paths of {len(traffic):,} flows need {entries * 16 / 2**30:.0f} GiB",
            hint="simulate fewer flows at once, or use classes for symmetric traffic",
        )
    first, resource, fraction, latency, slowness = assemble(
        network.first_port, network.target, network.peer, known, network.latency_ps, alive, traffic.source,
        traffic.target, lane_offset, lane_port, lane_share, lane_pair, middle.first, middle.resource, middle.fraction,
        *outs, own, network.endpoints,
    )  # fmt: skip
    whole = Usage(first, resource, fraction, np.concatenate([middle.capacity, rates.astype(np.float64)]))
    fewer, again = collapsed(whole)
    return Paths(fewer, np.where(klass >= 0, again[klass], again[own]), latency, slowness)


def _lanes(
    network: Network, routes: Routes, traffic: Traffic, alive: Bools, rates: Integers
) -> tuple[Integers, Integers, Floats, Integers, Integers]:
    """Ports by which each flow leaves its sender: offsets, ports, shares, and the leaves and groups they lead to."""
    degree = np.diff(network.first_port)[traffic.source]
    offset = np.concatenate([[0], np.cumsum(degree)])
    flow = np.repeat(np.arange(len(traffic)), degree)
    port = network.first_port[traffic.source][flow] + np.arange(len(flow)) - offset[flow]
    leaf = network.target[port] - network.endpoints
    to = routes.group[traffic.target][flow]
    usable = alive[port] & (rates[port] > 0) & (to >= 0)
    usable[usable] = routes.table[leaf[usable], to[usable]] != UNREACHABLE
    flow, port, leaf, to = flow[usable], port[usable], leaf[usable], to[usable]
    carried = np.ones(len(port))
    if routes.reach is not None:
        beyond = np.where(routes.table[leaf, to] == ATTACHED, np.inf, routes.reach[leaf, to])
        carried = np.minimum(rates[port], beyond)
    kept = np.concatenate([[0], np.cumsum(np.bincount(flow, minlength=len(traffic)))])
    return kept, port, carried / np.bincount(flow, carried, len(traffic))[flow], leaf, to
