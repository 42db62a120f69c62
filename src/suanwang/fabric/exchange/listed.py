"""Networks that a file lists link by link: what is an endpoint, which tier a switch is on, which plane it belongs to.

Formats of simulators and labs say which nodes are switches, and no more. The tier of a switch is its distance from the
nearest endpoint. Planes are the parts into which the switches fall apart when the endpoints are taken away, where each
part has as many endpoints as all of them; else all is one plane.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array

from suanwang.fabric.clos import Clos
from suanwang.fabric.network import Network
from suanwang.topology.importing.published import refuse

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

DEFAULT_LATENCY_PS = 1_000_000
"""Of a cable whose format says none; that of `clos.Tier`."""
MOST_NODES = 2**25


@dataclass(frozen=True)
class Imported:
    """A fabric that was read. `clos` where the format has coordinates, else `listed`.

    `scale_up` joins the accelerators of servers, numbered alike, where the file lists that as well; `per_server` is how
    many a server has, 0 where the file does not say. `loss` is the share of packets that each port of the network
    loses, None where none does; no engine here takes it, and designs say so in their notes.
    """

    format: str
    per_server: int = 0
    clos: Clos | None = None
    listed: Network | None = None
    scale_up: Network | None = None
    loss: Floats | None = None

    def network(self) -> Network:
        """The scale-out network as arrays."""
        if self.listed is not None:
            return self.listed
        assert self.clos is not None
        return self.clos.network()


def network_of(
    names: Sequence[str],
    switch: ArrayLike,
    a: ArrayLike,
    b: ArrayLike,
    rate_bps: ArrayLike,
    latency_ps: ArrayLike,
    file: str = "",
    tier: ArrayLike | None = None,
    plane: ArrayLike | None = None,
) -> tuple[Network, Integers]:
    """The network of nodes, of which some are switches, and the cables `a[i]` - `b[i]`; and each node's number in it.

    Endpoints keep their order, and so do switches behind them. Raises BAD_TOPOLOGY without endpoints or cables, for a
    cable that ends at no node or joins endpoints, an endpoint without cable, and a name that can't be printed.
    """
    switches = np.asarray(switch, bool)
    if not 1 <= len(switches) <= MOST_NODES:
        refuse(f"{len(switches):,} nodes", f"1 to {MOST_NODES:,} are possible", file)
    order = np.argsort(switches, kind="stable")
    number = np.empty(len(order), np.int64)
    number[order] = np.arange(len(order))
    endpoints = int((~switches).sum())
    one, other = number[np.asarray(a, np.int64)], number[np.asarray(b, np.int64)]
    if endpoints < 2 or not len(one):
        refuse(f"endpoints: {endpoints}, links: {len(one)}", "a fabric has two endpoints and a link at least", file)
    sorted_names = [names[node] for node in order.tolist()]
    _check_names(sorted_names, file)
    _check_endpoints(sorted_names, endpoints, one, other, file)
    tiers = _tiers(len(order), endpoints, one, other) if tier is None else np.asarray(tier, np.int64)[order]
    planes = _planes(len(order), endpoints, one, other) if plane is None else np.asarray(plane, np.int64)[order]
    return Network.build(endpoints, one, other, rate_bps, latency_ps, tiers, sorted_names, planes), number


def _check_names(names: Sequence[str], file: str) -> None:
    if "".join(names).isprintable() and all(names):
        return
    bad = next(name for name in names if not (name and name.isprintable()))
    refuse(f"a node is named {bad[:40]!r}", "a name has letters, digits and signs, no line breaks", file)


def _check_endpoints(names: Sequence[str], endpoints: int, one: Integers, other: Integers, file: str) -> None:
    """Endpoints are joined with switches only, and each of them is."""
    if len(direct := np.flatnonzero((one < endpoints) & (other < endpoints))):
        a, b = names[one[direct[0]]], names[other[direct[0]]]
        refuse(
            f"{a} is joined with {b}, and both are endpoints", "join them by a switch, or list one as a switch", file
        )
    cables = np.bincount(np.concatenate([one, other]), minlength=endpoints)[:endpoints]
    if len(alone := np.flatnonzero(cables == 0)):
        more = f", and so have {len(alone) - 1:,} more" if len(alone) > 1 else ""
        refuse(f"endpoint {names[alone[0]]} has no cable{more}", "join it with a switch, or take it out", file)


def _tiers(nodes: int, endpoints: int, one: Integers, other: Integers) -> Integers:
    """Distance from the nearest endpoint; switches that none reaches are one above all others."""
    from scipy.sparse.csgraph import dijkstra

    distance = dijkstra(_graph(nodes, one, other), False, np.arange(endpoints), unweighted=True, min_only=True)
    reached = np.isfinite(distance)
    return np.asarray(np.where(reached, distance, distance[reached].max() + 1), np.int64)


def _planes(nodes: int, endpoints: int, one: Integers, other: Integers) -> Integers:
    """-1 for endpoints; of switches, the number of their part where each part meets all endpoints, else 0."""
    from scipy.sparse.csgraph import connected_components

    planes = np.where(np.arange(nodes) < endpoints, -1, 0)
    within = (one >= endpoints) & (other >= endpoints)
    parts, part = connected_components(_graph(nodes, one[within], other[within]), directed=False)
    used = np.unique(part[endpoints:])
    ends, switches = np.minimum(one, other), np.maximum(one, other)
    meets = (ends < endpoints) & (switches >= endpoints)
    met = np.unique(ends[meets] * np.int64(parts) + part[switches[meets]])
    if len(used) > 1 and len(met) == len(np.unique(ends[meets])) * len(used):
        planes[endpoints:] = np.searchsorted(used, part[endpoints:])
    return planes


def _graph(nodes: int, one: Integers, other: Integers) -> csr_array:
    return csr_array((np.ones(len(one), np.int8), (one, other)), shape=(nodes, nodes))


@dataclass(frozen=True)
class Links:
    """All cables of a network, one entry each: the lower end (or the one numbered lower) first.

    `port` and `far_port` number the ports of either node from 0.
    """

    node: Integers
    far: Integers
    port: Integers
    far_port: Integers
    rate_bps: Integers
    latency_ps: Integers


def links(network: Network) -> Links:
    """The cables of a network, ordered by their lower ends and ports."""
    ports = np.arange(network.ports)
    tier_here, tier_there = network.tier[network.source], network.tier[network.target]
    lower = (tier_here < tier_there) | ((tier_here == tier_there) & (network.source < network.target))
    mine = ports[lower]
    far = network.peer[mine]
    return Links(
        network.source[mine],
        network.target[mine],
        mine - network.first_port[network.source[mine]],
        far - network.first_port[network.target[mine]],
        network.rate_bps[mine],
        network.latency_ps[mine],
    )
