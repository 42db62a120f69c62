"""Weights in the kernel's routes against those that FARE computes, for every switch and prefix.

FARE weighs neighbours by path bandwidth and shares a neighbour's weight over the parallel links to it. FRR 8.4 has a
path for each session, and puts into the kernel what bgp_zebra.c computes: 100 · bandwidth / sum, rounded down, for each
path whose route came with a link bandwidth. The computed bandwidths go through the same rule, and must then agree to
the digit, or be in the same proportions: FRR leaves weights out (1 each) where all are alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from suanwang.fabric.cabling.cables import Cable
from suanwang.fabric.routing.fare import FareRoutes, frr_weights, path_bandwidth, reduced
from suanwang.lab.fabric_routes import Weights
from suanwang.lab.fabric_setting import Bools, Setting


@dataclass(frozen=True, slots=True)
class Pair:
    """The route of one switch to one prefix: weight by interface, computed and found; empty where there is no way."""

    switch: str
    prefix: str
    computed: Weights
    found: Weights

    @property
    def equal(self) -> bool:
        """Whether both use the same interfaces in the same proportions, in FRR's rounding."""
        if self.computed.keys() != self.found.keys():
            return False
        ports = sorted(self.computed)
        one, other = [self.computed[port] for port in ports], [self.found[port] for port in ports]
        return one == other or reduced(one).tolist() == reduced(other).tolist()

    @property
    def unequal_weights(self) -> bool:
        """Whether the computed weights are not all alike."""
        return len(set(self.computed.values())) > 1

    @property
    def deviation(self) -> float:
        """The largest difference of an interface's share."""
        shares = [
            {port: weight / sum(table.values()) for port, weight in table.items()}
            for table in (self.computed, self.found)
        ]
        return max(
            (abs(shares[0].get(port, 0) - shares[1].get(port, 0)) for port in shares[0] | shares[1]), default=0.0
        )

    def __str__(self) -> str:
        return f"{self.switch} to {self.prefix}: computed {_text(self.computed)}, in the kernel {_text(self.found)}"


@dataclass(frozen=True, slots=True)
class Match:
    """All pairs of a moment."""

    pairs: tuple[Pair, ...]

    @property
    def wrong(self) -> tuple[Pair, ...]:
        """Those that are not as computed."""
        return tuple(pair for pair in self.pairs if not pair.equal)

    @property
    def equal(self) -> int:
        """How many are as computed."""
        return len(self.pairs) - len(self.wrong)

    @property
    def unequal_weights(self) -> int:
        """How many are as computed and have weights that are not all alike."""
        return sum(pair.equal and pair.unequal_weights for pair in self.pairs)


def computed(setting: Setting, cut: Sequence[Cable] = ()) -> dict[tuple[str, str], Weights]:
    """FARE's weights by (switch, prefix of its plane), when these cables are cut.

    Prefixes whose leaf has lost its host are left out, for it announces them all the same.
    """
    up = setting.up(cut)
    routes = path_bandwidth(setting.network, up)
    plane = {switch.name: switch.place.plane for switch in setting.switches}
    return {
        (switch.name, prefix): dict(_ports(setting, routes, up, switch.node, endpoint))
        for prefix, (leaf, endpoint) in setting.prefixes.items()
        if up[setting.network.ports_between(setting.network.node(leaf), endpoint)].all()
        for switch in setting.switches
        if switch.name != leaf and plane[switch.name] == plane[leaf]
    }


def match(wanted: Mapping[tuple[str, str], Weights], found: Mapping[str, Mapping[str, Weights]]) -> Match:
    """What was computed beside what the kernels have."""
    return Match(
        tuple(
            Pair(switch, prefix, weights, dict(found[switch].get(prefix, {})))
            for (switch, prefix), weights in wanted.items()
        )
    )


def _ports(setting: Setting, routes: FareRoutes, up: Bools, node: int, endpoint: int) -> Iterator[tuple[str, int]]:
    net = setting.network
    if int(routes.group[endpoint]) < 0:
        return
    hops = routes.next_hops(node, endpoint)
    ports, bandwidths = [], []
    for peer, bandwidth in zip(hops.node.tolist(), hops.bandwidth_bps.tolist(), strict=True):
        alive = [port for port in net.ports_between(node, peer).tolist() if up[port]]
        ports += alive
        bandwidths += [bandwidth // len(alive)] * len(alive)
    if ports:
        for port, weight in zip(ports, frr_weights(bandwidths).tolist(), strict=True):
            yield f"swp{port - int(net.first_port[node]) + 1}", weight if len(ports) > 1 else 1


def _text(table: Weights) -> str:
    return " ".join(f"{port}={table[port]}" for port in sorted(table)) or "none"
