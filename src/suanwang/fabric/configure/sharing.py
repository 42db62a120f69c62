"""Which switches share an AS number, and how switches are counted."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from suanwang.fabric.network import Network

Integers = NDArray[np.int64]


def sharing(network: Network, tier: Integers, number: Integers) -> Integers:
    """For each switch the number of the first that shares its AS number (RFC 7938, section 5.2.1).

    Leaves are alone. Above, switches of a tier that hang together through lower tiers share one: the spines of a pod,
    all cores of a plane. Where cables join switches of one tier, every switch is alone.
    """
    base = network.endpoints
    between = (network.source >= base) & (network.target >= base)
    source, target = network.source[between] - base, network.target[between] - base
    first = number.copy()
    if (tier[source] == tier[target]).any():
        return first
    part = np.arange(len(tier))
    for one in range(2, int(tier.max()) + 1):
        inside = (tier[source] <= one) & (tier[target] <= one)
        part = _together(part, source[inside], target[inside])
        here = tier == one
        lowest = np.full(len(tier), len(tier), np.int64)
        np.minimum.at(lowest, part[here], number[here])
        first[here] = lowest[part[here]]
    return first


def ranks(kinds: Integers) -> Integers:
    """The rank of each entry among those of its kind, in order."""
    order = np.argsort(kinds, kind="stable")
    new = np.flatnonzero(np.diff(kinds[order], prepend=-1))
    found = np.empty(len(kinds), np.int64)
    found[order] = np.arange(len(kinds)) - np.repeat(new, np.diff(np.append(new, len(kinds))))
    return found


def _together(part: Integers, source: Integers, target: Integers) -> Integers:
    """The lowest label that each switch reaches over the cables, beginning with labels `part`."""
    while True:
        lower = part.copy()
        np.minimum.at(lower, source, part[target])
        lower = lower[lower]
        if (lower == part).all():
            return part
        part = lower
