"""What follows from the numbers of a network beyond its counts: bisection, diameter, what is below and beside a switch.

Bisection bandwidth is the least capacity, in one direction, that must be cut to part the endpoints into two halves
(Dally, Towles: "Principles and practices of interconnection networks", 2004, section 3.2.1), all planes together.

In a folded Clos network traffic spread evenly over equal parents loads all of them alike, so the cut of any set of
endpoints is that of the tree in which equal parents are one (Leiserson: "Fat-trees", IEEE Transactions on Computers
1985). There E(0) is what an endpoint sends, and a subtree of tier t sends E(t) = min(cables up, children x E(t - 1)).
"""

from __future__ import annotations

from functools import cache

from suanwang.fabric.clos import Clos
from suanwang.fabric.dragonfly import Dragonfly


def up_bps(clos: Clos, tier: int) -> int:
    """Capacity up, in one plane, of all switches of `tier` with the same endpoints below them; 0 at the top."""
    return clos.alike(tier) * clos.up_ports(tier) * clos.tiers[tier].rate_bps if tier < clos.height else 0


def diameter(network: Clos | Dragonfly) -> int:
    """Cables on the longest shortest way between endpoints that are joined at all; for a dragonfly at most so many."""
    if isinstance(network, Clos):
        return 2 * network.height if network.endpoints > network.trees else 0
    local, across = network.routers > 1, network.groups > 1
    return 2 + local + across * (1 + local) if network.endpoints > 1 else 0


def bisection_bps(network: Clos | Dragonfly) -> int:
    """Least capacity between two halves of the endpoints; of a dragonfly, that between two halves of its groups, or of
    the routers of its one group, which is no more than an upper bound.
    """
    if isinstance(network, Dragonfly):
        return _between_halves(network)
    sending = [network.up_ports(0) * network.tiers[0].rate_bps]
    for tier in range(1, network.height):
        sending.append(min(up_bps(network, tier), network.tiers[tier - 1].children * sending[-1]))
    sizes = [network.below(tier) for tier in range(network.height + 1)]

    @cache
    def cut(tier: int, apart: int) -> int:
        """Least capacity that parts `apart` endpoints of a subtree from its root, on whose side the others are."""
        whole, part = divmod(apart, sizes[tier - 1])
        cost = whole * sending[tier - 1]
        if part:
            turned = cut(tier - 1, sizes[tier - 1] - part) + up_bps(network, tier - 1)
            cost += min(cut(tier - 1, part), turned)
        return cost

    half = network.endpoints // 2 % sizes[-1]
    if not half:
        return 0
    return network.planes * min(cut(network.height, half), cut(network.height, sizes[-1] - half))


def _between_halves(fabric: Dragonfly) -> int:
    def halves(count: int) -> int:
        return (count // 2) * (count - count // 2)

    if fabric.groups > 1:
        between = halves(fabric.groups) * fabric.bundle * fabric.global_rate_bps
    elif fabric.routers > 1:
        between = halves(fabric.routers) * fabric.local_rate_bps
    else:
        between = fabric.endpoints // 2 * fabric.rate_bps
    return fabric.planes * min(between, fabric.endpoints // 2 * fabric.rate_bps)
