"""Folded Clos networks of any number of tiers, by coordinates: no table of paths, no search.

The form is the extended generalised fat tree (Öhring, Ibel, Das, Kumar: "On generalized fat trees", IPPS 1995), with
planes, rails and parallel cables. A node of tier t has one digit for each tier: of the tiers above t, which child it or
its ancestors are; of the tiers up to t, which of the equal parents it is:

    (x_h, ..., x_t+1 | y_t, ..., y_1)        x_i < children[i], y_i < parents[i]

It is joined with the node of tier t + 1 whose digits agree in all places but x_t+1, which that node lacks, and y_t+1,
which it has more. So a packet goes up, anywhere, until the digits above agree with those of its destination, and then
down, by the destination's digits. Every property of the network follows from these numbers.

`planes` are copies of the whole; every endpoint has a port in each. `rails` say which endpoint stands where: of a
server with R accelerators, accelerator r is on rail r, and up to tier `joined` - 1 each rail has switches of its own.
`joined` 1 is a plain network, 2 a rail-optimised one (a leaf for each rail), tiers + 1 a rail-only one: rails never
meet.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod

import numpy as np
from numpy.typing import NDArray

from suanwang.fabric.network import Network
from suanwang.model.errors import INVALID, SuanwangError
from suanwang.model.reading import TOO_LARGE

Integers = NDArray[np.int64]

TIER_NAMES = ("leaf", "spine", "core", "super", "top")
MOST_TIERS = len(TIER_NAMES)
MOST_ENDPOINTS = 2**24
MOST_SWITCHES = 2**26
MOST_BYTES = 2**34
"""What the arrays of a network may take."""
_CABLE_BYTES, _NODE_BYTES = 120, 100


@dataclass(frozen=True, slots=True)
class Tier:
    """One tier of switches and the cables below it.

    `children` and `parents`: of each switch, how many nodes of the tier below it is joined with; of each node below,
    with how many switches of this tier. `bundle` cables join each pair, each of `rate_bps` and `latency_ps`.
    `spare` ports are kept free on each switch.
    """

    children: int
    parents: int
    rate_bps: int
    latency_ps: int = 1_000_000
    bundle: int = 1
    spare: int = 0


@dataclass(frozen=True, slots=True)
class Cables:
    """Cables alike of one tier of one plane: `lower[i]` is joined with `upper[i]`, both numbered within their tiers.

    `lower_port` and `upper_port` are the port numbers on either node; an endpoint's are numbered plane by plane.
    """

    plane: int
    tier: int
    lower: Integers
    upper: Integers
    lower_port: Integers
    upper_port: Integers


@dataclass(frozen=True)
class Clos:
    """A folded Clos network. `tiers` from the leaves up; `trees` disjoint ones side by side (above all tiers).

    Raises:
        SuanwangError: INVALID when the numbers do not make a network.
    """

    tiers: tuple[Tier, ...]
    trees: int = 1
    planes: int = 1
    rails: int = 1
    joined: int = 1

    def __post_init__(self) -> None:
        if not 1 <= len(self.tiers) <= MOST_TIERS:
            raise SuanwangError(INVALID, f"{len(self.tiers)} tiers; a Clos network here has 1 to {MOST_TIERS}")
        for number, tier in enumerate(self.tiers, 1):
            if min(tier.children, tier.parents, tier.bundle, tier.rate_bps) < 1 or min(tier.latency_ps, tier.spare) < 0:
                raise SuanwangError(INVALID, f"tier {number} has a count or rate below 1: {tier}")
        if min(self.trees, self.planes, self.rails) < 1 or not 1 <= self.joined <= len(self.tiers) + 1:
            raise SuanwangError(INVALID, "trees, planes and rails are at least 1, and rails join at one of the tiers")
        if self.endpoints > MOST_ENDPOINTS:
            raise SuanwangError(INVALID, f"{self.endpoints:,} endpoints; at most {MOST_ENDPOINTS:,} are supported")
        if self.switches > MOST_SWITCHES:
            raise SuanwangError(INVALID, f"{self.switches:,} switches; at most {MOST_SWITCHES:,} are supported")
        if (self.endpoints // self.below(self.joined - 1)) % self.rails:
            raise SuanwangError(
                INVALID,
                f"{self.rails} rails do not share out the {self.endpoints // self.below(self.joined - 1)} groups "
                f"below tier {self.joined}",
                hint="choose a number of leaves that is a multiple of the rails",
            )

    # Counts

    @property
    def height(self) -> int:
        """How many tiers of switches."""
        return len(self.tiers)

    def below(self, tier: int) -> int:
        """Endpoints below one switch of `tier`; 1 for tier 0."""
        return prod(one.children for one in self.tiers[:tier])

    def alike(self, tier: int) -> int:
        """Switches of `tier` that have the same endpoints below them, in one plane."""
        return prod(one.parents for one in self.tiers[:tier])

    @cached_property
    def endpoints(self) -> int:
        """Endpoints, each with one port a plane and parent."""
        return self.trees * self.below(self.height)

    def count(self, tier: int) -> int:
        """Switches of `tier` (1 is the leaves) in one plane; for tier 0, endpoints."""
        return self.endpoints // self.below(tier) * self.alike(tier)

    @cached_property
    def switches(self) -> int:
        """Switches of all tiers and planes."""
        return self.planes * sum(self.count(tier) for tier in range(1, self.height + 1))

    @property
    def cable_count(self) -> int:
        """Cables of all tiers and planes."""
        return self.planes * sum(self.count(tier) * self.down_ports(tier) for tier in range(1, self.height + 1))

    def down_ports(self, tier: int) -> int:
        """Ports of a switch of `tier` that lead down."""
        return self.tiers[tier - 1].children * self.tiers[tier - 1].bundle

    def up_ports(self, tier: int) -> int:
        """Ports of a switch of `tier` that lead up; of an endpoint (tier 0) in one plane."""
        return self.tiers[tier].parents * self.tiers[tier].bundle if tier < self.height else 0

    def oversubscription(self, tier: int) -> float:
        """Bandwidth of a switch's ports down over that of its ports up; ports kept spare at the top count as up."""
        down = self.down_ports(tier) * self.tiers[tier - 1].rate_bps
        if tier < self.height:
            return down / (self.up_ports(tier) * self.tiers[tier].rate_bps)
        spare = self.tiers[tier - 1].spare
        return down / (spare * self.tiers[tier - 1].rate_bps) if spare else 1.0

    # Coordinates

    def position(self, endpoint: Integers | int) -> Integers:
        """Where an endpoint stands: its leaf is `position // children`. Endpoints count accelerators of a server first.

        With rails, server s of a group of `below(joined - 1)` servers and rail r stands at r * below + s in the group.
        """
        number = np.asarray(endpoint, np.int64)
        below = self.below(self.joined - 1)
        if self.rails == 1 or below == 1:
            return number
        group, within = np.divmod(number, below * self.rails)
        server, rail = np.divmod(within, self.rails)
        return (group * self.rails + rail) * below + server

    def endpoint(self, position: Integers | int) -> Integers:
        """The endpoint that stands at `position`."""
        number = np.asarray(position, np.int64)
        below = self.below(self.joined - 1)
        if self.rails == 1 or below == 1:
            return number
        group, within = np.divmod(number, below * self.rails)
        rail, server = np.divmod(within, below)
        found: Integers = group * self.rails * below + server * self.rails + rail
        return found

    def under(self, tier: int, switch: Integers | int) -> Integers:
        """Which block of endpoints, `below(tier)` positions long, is under a switch: its digits x."""
        return np.asarray(switch, np.int64) // self.alike(tier)

    def next_hops(self, tier: int, switch: int, endpoint: int) -> tuple[int, ...]:
        """Ports of a switch that lead to an endpoint on a shortest path, by arithmetic alone; () if none does.

        Ports are numbered down first (child by child, bundle within), then up.
        """
        place = int(self.position(endpoint))
        block, within = divmod(place, self.below(tier))
        ours = int(self.under(tier, switch))
        bundle = self.tiers[tier - 1].bundle
        if block == ours:
            child = within // self.below(tier - 1)
            return tuple(range(child * bundle, (child + 1) * bundle))
        if place // self.below(self.height) != ours // (self.below(self.height) // self.below(tier)):
            return ()
        return tuple(range(self.down_ports(tier), self.down_ports(tier) + self.up_ports(tier)))

    def hops(self, one: Integers | int, other: Integers | int) -> Integers:
        """Cables on a shortest path between endpoints; -1 where rails or trees never meet."""
        a, b = self.position(one), self.position(other)
        found = np.where(a == b, 0, -1)
        for tier in range(self.height, 0, -1):
            below = self.below(tier)
            found = np.where((a != b) & (a // below == b // below), 2 * tier, found)
        return found

    def cables(self) -> Iterator[Cables]:
        """All cables, tier by tier and plane by plane; cables of a switch in the order of its ports."""
        for plane in range(self.planes):
            for number, tier in enumerate(self.tiers, 1):
                upper, child, lane = (
                    grid.ravel()
                    for grid in np.meshgrid(
                        np.arange(self.count(number)), np.arange(tier.children), np.arange(tier.bundle), indexing="ij"
                    )
                )
                alike, below = self.alike(number), self.alike(number - 1)
                block, digits = np.divmod(upper, alike)
                y, rest = np.divmod(digits, below)
                lower = (block * tier.children + child) * below + rest
                lower_port = y * tier.bundle + lane
                if number > 1:
                    lower_port = lower_port + self.down_ports(number - 1)
                else:
                    lower, lower_port = self.endpoint(lower), plane * self.up_ports(0) + lower_port
                yield Cables(plane, number, lower, upper, lower_port, child * tier.bundle + lane)

    # The network as arrays

    def first(self, plane: int, tier: int) -> int:
        """Node number of switch 0 of that tier and plane; tier 0 gives that of endpoint 0."""
        if tier == 0:
            return 0
        before = sum(self.count(one) for one in range(1, self.height + 1)) * plane
        return self.endpoints + before + sum(self.count(one) for one in range(1, tier))

    def names(self) -> list[str]:
        """Names of all nodes, in their order: `gpu0`, `leaf0`, with several planes `p0-leaf0`."""
        found = [f"gpu{number}" for number in range(self.endpoints)]
        for plane in range(self.planes):
            before = f"p{plane}-" if self.planes > 1 else ""
            for tier in range(1, self.height + 1):
                found += [f"{before}{TIER_NAMES[tier - 1]}{number}" for number in range(self.count(tier))]
        return found

    def network(self) -> Network:
        """All of it as arrays. Memory: about 60 bytes a port and 100 a node.

        Raises:
            SuanwangError: TOO_LARGE when that would be too much.
        """
        needed = _CABLE_BYTES * self.cable_count + _NODE_BYTES * (self.endpoints + self.switches)
        if needed > MOST_BYTES:
            raise SuanwangError(
                TOO_LARGE,
                f"{self.cable_count:,} cables of {self.endpoints + self.switches:,} nodes need about "
                f"{needed / 2**30:,.1f} GiB of memory; {MOST_BYTES / 2**30:.0f} GiB are allowed",
                hint="describe fewer endpoints, planes or parallel cables; `fabric design` needs no arrays",
            )
        blocks = list(self.cables())
        lower = [self.first(block.plane, block.tier - 1) + block.lower for block in blocks]
        upper = [self.first(block.plane, block.tier) + block.upper for block in blocks]
        sizes = [len(block.lower) for block in blocks]

        def of_tiers(values: Sequence[int]) -> Integers:
            return np.repeat([values[block.tier - 1] for block in blocks], sizes)

        per_plane = [self.count(tier) for tier in range(1, self.height + 1)]
        tiers = np.tile(np.repeat(np.arange(1, self.height + 1), per_plane), self.planes)
        return Network.build(
            self.endpoints,
            np.concatenate(lower),
            np.concatenate(upper),
            of_tiers([tier.rate_bps for tier in self.tiers]),
            of_tiers([tier.latency_ps for tier in self.tiers]),
            np.concatenate([np.zeros(self.endpoints, np.int64), tiers]),
            self.names(),
            np.concatenate([np.full(self.endpoints, -1), np.repeat(np.arange(self.planes), sum(per_plane))]),
            folded=True,
        )
