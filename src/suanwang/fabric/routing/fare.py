"""FARE, fully adaptive routing Ethernet with BGP: how much bandwidth a path has, and weights from it.

The rules (draft-xu-idr-fare, now draft-ietf-idr-fare; docs/rooms/fabric.md says which of them could be read there):

* A leaf announces its prefixes with the greatest path bandwidth.
* The path bandwidth through a neighbour is the lesser of all parallel links to it together, and of what it advertises:
  it is counted for nodes, not for sessions or links.
* Several neighbours on equally long paths are all used, in proportion to their path bandwidths. What is advertised
  onward is their sum, as link bandwidths add up (draft-ietf-bess-ebgp-dmz, to which RFC 10005, 3.4, leaves it).
* Parallel links to a neighbour share its weight.

With planes, network interfaces take part: an endpoint weighs the leaves of its planes by the same rule, and may
originate its own prefix, with the bandwidth of its links (`origin` "endpoint").

Paths are those that BGP finds with the AS numbers of RFC 7938 (`configure/numbering.py`): up, then down, never up
again. Where tiers are no layers (dragonfly; `Network.layered`), they are the shortest by hops.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import gcd
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from suanwang.fabric.network import Network
from suanwang.fabric.routing.routes import MOST_ENTRIES, Routes
from suanwang.model.errors import INVALID, SuanwangError

Integers = NDArray[np.int64]
Bools = NDArray[np.bool_]
Origin = Literal["leaf", "endpoint"]

GREATEST = 2**62
"""The bandwidth with which a leaf announces a prefix."""
FRR_WEIGHTS = 100
"""FRR 8.4 puts a path's share into the kernel as a whole percentage, rounded down, at least 1."""


@dataclass(frozen=True)
class Bundles:
    """Parallel links by pairs of nodes: those of node n are `first[n] .. first[n + 1] - 1`, from `middle[n]` on to
    higher tiers.

    `rate_bps` counts ports that are up, `port[port_first[i] : port_first[i + 1]]`; a port that is down has a rate of 0.
    """

    first: Integers
    middle: Integers
    target: Integers
    rate_bps: Integers
    port_first: Integers
    port: Integers
    port_bps: Integers


@dataclass(frozen=True)
class NextHops:
    """Where a node sends: neighbours, the bandwidth of the paths through each, and weights without a common factor."""

    node: Integers
    bandwidth_bps: Integers
    weight: Integers


@dataclass(frozen=True)
class FareRoutes:
    """What all switches know of all groups of endpoints. Group -1: cut off.

    `advertised_bps[g, s]`: the path bandwidth that switch s (its node less `endpoints`) advertises for group g; 0 is no
    route, GREATEST that the group hangs on it. `kind`: 0 no route, 1 attached, 2 through below, 3 through above.
    """

    network: Network
    group: Integers
    bundles: Bundles
    advertised_bps: Integers
    kind: NDArray[np.int8]
    away: NDArray[np.int32]
    layers: bool

    @property
    def groups(self) -> int:
        """How many groups of endpoints there are."""
        return len(self.kind)

    def next_hops(self, node: int, endpoint: int) -> NextHops:
        """Where a switch, or an endpoint, sends what is for `endpoint`; empty if there is no way or it hangs there."""
        nodes, rates = self._bundles_of(node)
        group, base = int(self.group[endpoint]), self.network.endpoints
        if group < 0 or not len(nodes):
            return _none()
        kind, away, known = self.kind[group, nodes - base], self.away[group, nodes - base], self.advertised_bps[group]
        used = kind > 0
        if node >= base:
            own = int(self.kind[group, node - base])
            used &= (own >= 2) & (away + 1 == self.away[group, node - base])
            if self.layers:
                tiers = self.network.tier[nodes]
                upwards = tiers > self.network.tier[node]
                used &= upwards if own == 3 else (tiers < self.network.tier[node]) & (kind != 3)
        elif used.any():
            used &= away == away[used].min()
        bandwidth = np.minimum(rates[used], known[nodes[used] - base])
        return NextHops(nodes[used], bandwidth, reduced(bandwidth)) if used.any() else _none()

    def _bundles_of(self, node: int) -> tuple[Integers, Integers]:
        """A node's neighbours among the switches over links that are up, and the bandwidths of those links."""
        first, last = int(self.bundles.first[node]), int(self.bundles.first[node + 1])
        target, rate = self.bundles.target[first:last], self.bundles.rate_bps[first:last]
        there = (target >= self.network.endpoints) & (rate > 0)
        return target[there], rate[there]

    def routes(self) -> Routes:
        """Sets of ports with weights, for engines."""
        from suanwang.fabric.routing.fare_kernels import next_hops, split

        b, base = self.bundles, self.network.endpoints
        table_of, first, hops, bandwidth = next_hops(
            b.first, b.middle, b.target, b.rate_bps, base, self.layers, self.kind, self.away, self.advertised_bps
        )
        # In units, so that products of three of them stay whole.
        unit = self._unit
        rates = np.maximum(b.port_bps // unit, b.port_bps > 0)
        sums = np.add.reduceat(rates, b.port_first[:-1]) if len(rates) else rates
        through = np.maximum(bandwidth // unit, 1)
        set_first, port, weight = split(first, hops, through, sums, b.port_first, b.port, rates)
        return Routes(self.group, table_of, set_first, port, weight, self._reach())

    def _reach(self) -> NDArray[np.float64] | None:
        """What an endpoint weighs planes by: of each switch and group, the least of its link and the path beyond."""
        net, links = self.network, int(self.bundles.first[self.network.endpoints])
        if links <= net.endpoints:
            return None
        link = np.zeros(net.switches, np.int64)
        np.maximum.at(link, self.bundles.target[:links] - net.endpoints, self.bundles.rate_bps[:links])
        return np.minimum(self.advertised_bps.T, np.where(link > 0, link, GREATEST)[:, None]).astype(np.float64)

    @cached_property
    def _unit(self) -> int:
        """A bandwidth that all are multiples of, or of which the greatest is about a million."""
        rates = self.bundles.port_bps[self.bundles.port_bps > 0]
        unit = int(np.gcd.reduce(rates)) if len(rates) else 1
        return unit if int(rates.max(initial=1)) // unit <= 2**20 else max(1, int(rates.min()) >> 10)


def path_bandwidth(
    network: Network, up: Bools | None = None, rate_bps: Integers | None = None, origin: Origin = "leaf"
) -> FareRoutes:
    """FARE's routes on any network. `up` and `rate_bps` are one a port: what has failed, what is degraded.

    A link is up if both its ports are, with rates above 0. `origin`: who announces endpoints; see the module.

    Raises:
        SuanwangError: INVALID for arrays of another length, negative rates, or tables beyond what memory is meant for.
    """
    from suanwang.fabric.routing.fare_kernels import solve

    bundles = _bundles(network, _rates(network, up, rate_bps))
    base = network.endpoints
    inner = bundles.target >= base
    sources = np.repeat(np.arange(network.nodes), np.diff(bundles.first))
    if bool((sources[~inner] < base).any()):
        raise SuanwangError(INVALID, "an endpoint is joined with an endpoint", hint="put a switch between them")
    group, start, leaf, rate = _attached(network, bundles, origin)
    groups, switches = len(start) - 1, network.switches
    if groups * switches > MOST_ENTRIES // 4:
        raise SuanwangError(
            INVALID,
            f"routes of {switches:,} switches to {groups:,} groups of endpoints need "
            f"{groups * switches * 13 / 2**30:.0f} GiB",
            hint="let leaves announce endpoints, or take a smaller part",
        )
    kind, away = np.zeros((groups, switches), np.int8), np.zeros((groups, switches), np.int32)
    advertised = np.zeros((groups, switches), np.int64)
    order, layers = np.argsort(network.tier[base:], kind="stable"), network.layered
    solve(bundles.first, bundles.middle, bundles.target, bundles.rate_bps, base, order, layers, start, leaf, rate, kind,
          away, advertised)  # fmt: skip
    return FareRoutes(network, group, bundles, advertised, kind, away, layers)


def reduced(bandwidth_bps: Sequence[int] | Integers) -> Integers:
    """Weights in proportion to bandwidths, without a common factor."""
    values = np.asarray(bandwidth_bps, np.int64)
    common = gcd(*(int(value) for value in values))
    return values // common if common else values


def frr_weights(bandwidth_bps: Sequence[int] | Integers) -> Integers:
    """What FRR puts into the kernel for paths of these bandwidths: whole percentages, rounded down, at least 1.

    So tried with 8.4.4. From 10.0 on, bgpd hands bandwidths over as they are and zebra scales them: not tried.
    """
    values = np.asarray(bandwidth_bps, np.int64)
    total = int(values.sum())
    return np.array([max(1, int(value) * FRR_WEIGHTS // total) for value in values], np.int64)


def _none() -> NextHops:
    nothing = np.empty(0, np.int64)
    return NextHops(nothing, nothing, nothing)


def _rates(network: Network, up: Bools | None, rate_bps: Integers | None) -> Integers:
    """The rate of each port, 0 where its link is not up."""
    for name, array in (("up", up), ("rate_bps", rate_bps)):
        if array is not None and array.shape != (network.ports,):
            raise SuanwangError(
                INVALID, f"{name} has {array.shape} entries, for {network.ports} ports", "give one a port"
            )
    rates = np.array(network.rate_bps if rate_bps is None else rate_bps, np.int64)
    if len(rates) and rates.min() < 0:
        raise SuanwangError(INVALID, "a port has a rate below 0", hint="0 is a link that is down")
    alive = (rates > 0) if up is None else (rates > 0) & up
    rates[~(alive & alive[network.peer])] = 0
    return rates


def _bundles(network: Network, rates: Integers) -> Bundles:
    order = np.lexsort((network.target, network.tier[network.target], network.source))
    key = network.source[order] * np.int64(network.nodes) + network.target[order]
    starts = np.flatnonzero(np.diff(key, prepend=-1))
    source, target = network.source[order[starts]], network.target[order[starts]]
    first = np.zeros(network.nodes + 1, np.int64)
    np.cumsum(np.bincount(source, minlength=network.nodes), out=first[1:])
    upwards = np.bincount(source[network.tier[target] > network.tier[source]], minlength=network.nodes)
    sums = np.add.reduceat(rates[order], starts) if len(starts) else np.empty(0, np.int64)
    return Bundles(first, first[1:] - upwards, target, sums, np.append(starts, len(order)), order, rates[order])


def _attached(network: Network, bundles: Bundles, origin: Origin) -> tuple[Integers, Integers, Integers, Integers]:
    """The group of each endpoint, and where each group hangs: `start`, switches and the bandwidths they begin with."""
    ends, links = network.endpoints, int(bundles.first[network.endpoints])
    source = np.repeat(np.arange(ends), np.diff(bundles.first[: ends + 1]))
    leaf, rate = bundles.target[:links] - ends, bundles.rate_bps[:links]
    alive = rate > 0
    most = int(np.diff(bundles.first[: ends + 1]).max(initial=1))
    slot = np.arange(links) - bundles.first[source]
    rows = np.full((ends, 2 * most), -1, np.int64)
    rows[source[alive], slot[alive]] = leaf[alive]
    if origin == "endpoint":
        rows[source[alive], most + slot[alive]] = rate[alive]
    kinds, inverse = np.unique(rows, axis=0, return_inverse=True)
    there = kinds[:, :most] >= 0
    number = np.where(there.any(axis=1), np.cumsum(there.any(axis=1)) - 1, -1)
    kept = kinds[there.any(axis=1)]
    where = kept[:, :most] >= 0
    start = np.zeros(len(kept) + 1, np.int64)
    np.cumsum(where.sum(axis=1), out=start[1:])
    rates = kept[:, most:][where] if origin == "endpoint" else np.full(int(start[-1]), GREATEST, np.int64)
    return number[inverse.reshape(-1)], start, kept[:, :most][where], rates
