"""Sprayed flows on a Clos network by coordinates alone: no ports, no routes, so a million endpoints are no trouble.

All cables up from the block of endpoints below a switch are alike to sprayed flows, and so are all down to it. They are
one resource, with the capacity of all of them.
"""

from __future__ import annotations

import numpy as np

from suanwang.fabric.clos import Clos
from suanwang.fabric.flow.classes import Integers, below, cables_up, latency_ps
from suanwang.fabric.flow.maxmin import Usage
from suanwang.fabric.flow.paths import Paths


def clos_paths(clos: Clos, source: Integers, target: Integers) -> Paths:
    """What `find_paths` finds with "spray" on the whole network, for flows between those endpoints.

    Its "ports", for which `FlowResult.port_bytes` counts, are all cables up from each block, then all down to each,
    tier by tier from the endpoints up. A flow whose ends never meet has no path.
    """
    here, there = clos.position(source), clos.position(target)
    hops = clos.hops(source, target)
    top = np.maximum(hops, 0) // 2
    first = np.concatenate([[0], np.cumsum(2 * top)])
    resource = np.empty(first[-1], np.int64)
    capacity, before = [], 0
    for tier in range(clos.height):
        size, blocks = below(clos, tier), clos.endpoints // below(clos, tier)
        climbing = top > tier
        resource[first[:-1][climbing] + tier] = before + here[climbing] // size
        resource[first[1:][climbing] - 1 - tier] = before + blocks + there[climbing] // size
        capacity.append(np.full(2 * blocks, float(cables_up(clos, tier) * clos.tiers[tier].rate_bps)))
        before += 2 * blocks
    latency = np.array([latency_ps(clos, tier) for tier in range(clos.height + 1)])
    bits = [(latency_ps(clos, tier, 10**9) - latency_ps(clos, tier)) / 8e9 for tier in range(clos.height + 1)]
    usage = Usage(first, resource, np.ones(len(resource)), np.concatenate(capacity))
    return Paths(usage, np.arange(before), latency[top], np.array(bits)[top])
