"""Dragonflies by coordinates: groups of routers, all joined within a group, and groups joined with each other.

Kim, Dally, Scott, Abts: "Technology-driven, highly-scalable dragonfly topology", ISCA 2008. Router r of a group has
`global_ports` cables to other groups; together a group has channels c = r x global_ports + port. They lead to all other
groups in their order, round after round (the absolute arrangement of Camarero, Vallejo, Beivide: "Topological
characterization of Hamming and dragonfly networks and its implications on routing", TACO 2014). Only whole rounds are
used, so every pair of groups has the same number of cables.

Ports of a router are numbered: its endpoints, the other routers of its group in order, its channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from suanwang.fabric.clos import MOST_ENDPOINTS
from suanwang.fabric.network import Network
from suanwang.model.errors import INVALID, SuanwangError

Integers = NDArray[np.int64]

MOST_ROUTERS = 4096
"""Routers of one group: it holds all their pairs."""


@dataclass(frozen=True)
class Dragonfly:
    """A dragonfly. Endpoint e is at router e // hosts, router n in group n // routers; `planes` copies, as in Clos.

    Raises:
        SuanwangError: INVALID when the numbers do not make a network, with the nearest that do.
    """

    groups: int
    routers: int
    hosts: int
    global_ports: int
    rate_bps: int
    local_rate_bps: int
    global_rate_bps: int
    latency_ps: int = 1_000_000
    global_latency_ps: int = 1_000_000
    planes: int = 1

    def __post_init__(self) -> None:
        counts = (self.groups, self.routers, self.hosts, self.planes)
        rates = (self.rate_bps, self.local_rate_bps, self.global_rate_bps)
        if min(*counts, *rates) < 1 or min(self.global_ports, self.latency_ps, self.global_latency_ps) < 0:
            raise SuanwangError(INVALID, f"a dragonfly has a count or rate below 1: {self}")
        most = self.routers * self.global_ports + 1
        if self.groups > most:
            raise SuanwangError(
                INVALID,
                f"{self.groups:,} groups, of which each has {most - 1:,} cables to others",
                hint=f"nearest possible: {most:,} groups",
            )
        if self.routers > MOST_ROUTERS or self.endpoints > MOST_ENDPOINTS:
            raise SuanwangError(
                INVALID,
                f"{self.routers:,} routers a group, {self.endpoints:,} endpoints",
                hint=f"at most {MOST_ROUTERS:,} and {MOST_ENDPOINTS:,} are supported",
            )

    # Counts

    @property
    def endpoints(self) -> int:
        """Endpoints, each with one port a plane."""
        return self.groups * self.routers * self.hosts

    @property
    def switches(self) -> int:
        """Routers of all planes."""
        return self.planes * self.groups * self.routers

    @cached_property
    def bundle(self) -> int:
        """Cables between each pair of groups."""
        return self.routers * self.global_ports // (self.groups - 1) if self.groups > 1 else 0

    @property
    def global_used(self) -> int:
        """Most ports to other groups that any router uses."""
        return min(self.global_ports, self.bundle * (self.groups - 1))

    # Coordinates

    def channel(self, group: int, number: int) -> tuple[int, int] | None:
        """Where channel `number` of a group leads: (group, channel there); None if it is not used."""
        others = self.groups - 1
        if number >= self.bundle * others:
            return None
        copy, index = divmod(number, others)
        target = index + (index >= group)
        return target, copy * others + group - (group > target)

    def channels(self, group: int, target: int) -> range:
        """The channels of a group that lead to another."""
        others = self.groups - 1
        return range(target - (target > group), self.bundle * others, others)

    def local_port(self, router: int, other: int) -> int:
        """The port of a router to another of its group, both numbered within it."""
        return self.hosts + other - (other > router)

    def global_port(self, number: int) -> int:
        """The port, on its router, of a channel."""
        return self.hosts + self.routers - 1 + number % self.global_ports

    def next_hops(self, router: int, endpoint: int, via: int | None = None) -> tuple[int, ...]:
        """Ports of a router that lead to an endpoint over fewest cables, of which one at most is between groups.

        `via` is Valiant's detour (Valiant, SIAM J. Computing 1982): first to any router of that group; whoever routes
        chooses it at random, and leaves it out once the packet has been there.
        """
        target, host = divmod(endpoint, self.hosts)
        group, here = divmod(router, self.routers)
        if via is not None and via != group:
            return self._across(group, here, via, None)
        target_group, there = divmod(target, self.routers)
        if target_group != group:
            return self._across(group, here, target_group, there)
        return (host,) if here == there else (self.local_port(here, there),)

    def _across(self, group: int, here: int, target: int, there: int | None) -> tuple[int, ...]:
        """Ports on the shortest ways from a router to a group, and in it to router `there`, if one is asked for."""
        best, found = 4, set[int]()
        for number in self.channels(group, target):
            arrival = self.channel(group, number)
            leaves = number // self.global_ports
            lands = arrival[1] // self.global_ports if arrival else 0
            length = 1 + (leaves != here) + (there is not None and lands != there)
            port = self.global_port(number) if leaves == here else self.local_port(here, leaves)
            if length < best:
                best, found = length, set()
            if length == best:
                found.add(port)
        return tuple(sorted(found))

    # The network as arrays

    def names(self) -> list[str]:
        """Names of all nodes, in their order: `gpu0`, `router0`, with several planes `p0-router0`."""
        found = [f"gpu{number}" for number in range(self.endpoints)]
        for plane in range(self.planes):
            before = f"p{plane}-" if self.planes > 1 else ""
            found += [f"{before}router{number}" for number in range(self.groups * self.routers)]
        return found

    def network(self) -> Network:
        """All of it as arrays; a router's ports are in the order of `next_hops`. All routers are of tier 1."""
        routers = self.groups * self.routers
        blocks = (self._to_hosts(), self._within_groups(), self._between_groups())
        rates = (self.rate_bps, self.local_rate_bps, self.global_rate_bps)
        latencies = (self.latency_ps, self.latency_ps, self.global_latency_ps)
        lower, upper = [], []
        for plane in range(self.planes):
            first = self.endpoints + plane * routers
            lower += [blocks[0][0], *(first + one for one, _ in blocks[1:])]
            upper += [first + other for _, other in blocks]
        sizes = [len(one) for one, _ in blocks]
        return Network.build(
            self.endpoints,
            np.concatenate(lower),
            np.concatenate(upper),
            np.tile(np.repeat(rates, sizes), self.planes),
            np.tile(np.repeat(latencies, sizes), self.planes),
            np.repeat([0, 1], [self.endpoints, self.switches]),
            self.names(),
            np.concatenate([np.full(self.endpoints, -1), np.repeat(np.arange(self.planes), routers)]),
        )

    def _to_hosts(self) -> tuple[Integers, Integers]:
        number = np.arange(self.endpoints)
        return number, number // self.hosts

    def _within_groups(self) -> tuple[Integers, Integers]:
        one, other = np.triu_indices(self.routers, 1)
        first = np.arange(self.groups)[:, None] * self.routers
        return (first + one).ravel(), (first + other).ravel()

    def _between_groups(self) -> tuple[Integers, Integers]:
        one, other = np.triu_indices(self.groups, 1)
        first = np.arange(self.bundle)[:, None] * (self.groups - 1)
        near, far = first + other - 1, first + one

        def router(group: Integers, channel: Integers) -> Integers:
            return (group * self.routers + channel // self.global_ports).ravel()

        if not self.bundle:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        return router(one, near), router(other, far)
