"""Bandwidths as FRR can be told: what switches advertise when nothing is down, and the unit that fits FRR's field."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from suanwang.fabric.network import Network
from suanwang.model.errors import INVALID, SuanwangError

Integers = NDArray[np.int64]

MOST_VALUE = 25_600
"""FRR 8.4 takes `set extcommunity bandwidth` from 1 to 25600, in Mbit/s."""
MOST_SUM = 34_000
"""FRR 8.4 keeps a route's bandwidth, and the sum over its paths, as bytes/s in 32 bits: 34,359 Mbit/s."""


def advertised(network: Network) -> list[tuple[int, int]]:
    """Of each switch with all links up: the greatest path bandwidth it advertises for what is below it, in bit/s (0: a
    leaf, no limit), and for what it reaches through switches above.
    """
    base, switches = network.endpoints, network.switches
    between = (network.source >= base) & (network.target >= base)
    tier = network.tier[base:]
    pairs = (network.source[between] - base) * np.int64(switches) + network.target[between] - base
    pair, inverse = np.unique(pairs, return_inverse=True)
    bundle = np.bincount(inverse.reshape(-1), network.rate_bps[between]).astype(np.int64)
    here, there = pair // switches, pair % switches

    def of(chosen: NDArray[np.bool_]) -> Iterator[tuple[int, int, int]]:
        return zip(here[chosen].tolist(), there[chosen].tolist(), bundle[chosen].tolist(), strict=True)

    below, above = [0] * switches, [0] * switches
    for one in range(2, int(tier.max()) + 1):
        for switch, other, rate in of((tier[here] == one) & (tier[there] < one)):
            below[switch] = max(below[switch], min(rate, below[other] or rate))
    for one in range(int(tier.max()) - 1, 0, -1):
        for switch, other, rate in of((tier[here] == one) & (tier[there] > one)):
            above[switch] += min(rate, max(below[other], above[other]) or rate)
    return list(zip(below, above, strict=True))


def unit_bps(network: Network) -> int:
    """What one unit of FRR's `bandwidth` stands for: 1 Gbit/s, or the rates' common measure where sums would not fit.

    Only proportions count, so one unit for a whole fabric changes nothing.

    Raises:
        SuanwangError: INVALID where rates are too unlike to be told apart.
    """
    between = (network.source >= network.endpoints) & (network.target >= network.endpoints)
    rates = network.rate_bps[between]
    if not len(rates):
        return 10**9
    common = int(np.gcd.reduce(rates))
    upwards = between & (network.tier[network.target] > network.tier[network.source])
    most = int(np.bincount(network.source[upwards], network.rate_bps[upwards]).max(initial=int(rates.max())))
    pairs = network.source[between] * np.int64(network.nodes) + network.target[between]
    bundle = int(np.unique(pairs, return_counts=True)[1].max())
    # With a session per parallel link, each advertises the sum that the other end has: it is counted once for each.
    times = bundle ** int(network.tier.max() - 1)
    for unit in (10**9, common):
        if common % unit == 0 and rates.max() // unit <= MOST_VALUE and most // unit * times <= MOST_SUM:
            return unit
    raise SuanwangError(
        INVALID,
        f"bandwidths of links, in units of {common} bit/s, do not fit FRR's 1 to {MOST_VALUE:,}",
        hint="configure without FARE, or with rates that are multiples of a larger one",
    )
