"""What every switch is told, before it is said in any one language: names, numbers, ports, sessions, policies of FARE.

Ports of a switch count from 1 in the order of `Network`: for a Clos network down first, child by child with its
parallel cables side by side, then up. Interfaces are named after them, `swp1` for FRR.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from suanwang.fabric.clos import Clos
from suanwang.fabric.configure.bandwidths import Policies, Policy, policies, unit_bps
from suanwang.fabric.configure.numbering import Numbering, Place, Pools, ipv4
from suanwang.fabric.configure.sharing import ranks, sharing
from suanwang.fabric.network import Network
from suanwang.model.errors import INVALID, SuanwangError

Integers = NDArray[np.int64]
Sessions = Literal["link", "pair"]
Announce = Literal["leaf", "port"]
Direction = Literal["host", "down", "up", "side"]

MOST_SWITCHES = 20_000
MOST_PORTS_OF_A_SWITCH = 1024
MOST_DESCRIBED = 63

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_STRANGE = re.compile(r"[^A-Za-z0-9._:/\[\]-]")


@dataclass(frozen=True, slots=True)
class Options:
    """What can be chosen.

    `sessions`: one BGP session per link, unnumbered, or one per pair of switches, between their loopbacks. `announce`:
    a leaf announces one prefix for all its hosts, or each port's own, which goes away with the port. `fare`: routes
    carry their bandwidth and are weighted by it. `bfd`: silent failures are found in `bfd_ms` times `bfd_multiplier`.
    `interfaces`: what FRR's interfaces are called, before their number.
    """

    sessions: Sessions = "link"
    announce: Announce = "leaf"
    fare: bool = True
    bfd: bool = True
    bfd_ms: int = 300
    bfd_multiplier: int = 3
    pools: Pools = field(default_factory=Pools)
    interfaces: str = "swp"

    def __post_init__(self) -> None:
        if not 10 <= self.bfd_ms <= 60_000 or not 2 <= self.bfd_multiplier <= 255:
            raise SuanwangError(INVALID, "BFD's interval is 10 to 60,000 ms, and its multiplier 2 to 255")


@dataclass(frozen=True, slots=True)
class Port:
    """One port of a switch. `number` counts from 1; `peer_number` is the port at the other end."""

    number: int
    direction: Direction
    peer: int
    peer_name: str
    peer_number: int
    rate_bps: int


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A switch next to another one, with the ports that lead there, and what it is told of bandwidth (FARE)."""

    name: str
    direction: Direction
    asn: int
    loopback6: str
    link_local: str
    ports: tuple[int, ...]
    rate_bps: int
    policy: Policy

    @property
    def capacity_bps(self) -> int:
        """Of all parallel links together."""
        return self.rate_bps * len(self.ports)


@dataclass(frozen=True, slots=True)
class Switch:
    """All that one switch is told."""

    name: str
    node: int
    place: Place
    asn: int
    loopback4: str
    loopback6: str
    link_local: str
    ports: tuple[Port, ...]
    neighbours: tuple[Neighbour, ...]
    host_bits: int
    prefix4: int | None
    prefix6: str | None

    @property
    def hosts(self) -> tuple[Port, ...]:
        """Ports to endpoints; pair i of the prefixes is that of the i-th."""
        return tuple(port for port in self.ports if port.direction == "host")

    @property
    def announced(self) -> tuple[str, str] | None:
        """The prefixes for hosts, IPv4 and IPv6; None for a switch without hosts."""
        if self.prefix4 is None or self.prefix6 is None:
            return None
        return f"{ipv4(self.prefix4)}/{32 - self.host_bits}", f"{self.prefix6}::/64"

    def gateway(self, index: int) -> tuple[str, str]:
        """The switch's own addresses on its i-th port to a host, /31 and /127; the host has the next one of each."""
        return f"{ipv4((self.prefix4 or 0) + 2 * index)}/31", f"{self.prefix6}::{f'{2 * index:x}' if index else ''}/127"

    def subnet(self, index: int) -> tuple[str, str]:
        """The networks of the i-th port to a host."""
        return f"{ipv4((self.prefix4 or 0) + 2 * index)}/31", self.gateway(index)[1]

    def host(self, index: int) -> tuple[str, str]:
        """The addresses of the endpoint on the i-th port to a host, /31 and /127."""
        return f"{ipv4((self.prefix4 or 0) + 2 * index + 1)}/31", f"{self.prefix6}::{2 * index + 1:x}/127"


@dataclass(frozen=True)
class SessionCount:
    """BGP sessions of a fabric: one per cable and address family, one per cable, one per pair of switches."""

    cables_and_families: int
    cables: int
    pairs: int

    def saved(self, sessions: Sessions) -> int:
        """How many fewer than one per cable."""
        return self.cables - (self.cables if sessions == "link" else self.pairs)


class Plan:
    """The plan of a fabric; `switches()` gives one switch after another.

    Raises:
        SuanwangError: INVALID for a network without switches, too large, or with names that are no host names.
    """

    def __init__(self, network: Network | Clos, options: Options | None = None) -> None:
        self.network = network.network() if isinstance(network, Clos) else network
        self.options = options or Options()
        self._check()
        net, base = self.network, self.network.endpoints
        self._tier = net.tier[base:]
        self._plane = np.maximum(net.plane[base:], 0)
        self._number = ranks(self._plane * 64 + self._tier)
        self._between = (net.source >= base) & (net.target >= base)
        self.numbering = Numbering(self.options.pools, self._most_hosts())
        self._places = [
            Place(*one) for one in zip(self._plane.tolist(), self._tier.tolist(), self._number.tolist(), strict=True)
        ]
        self._tiers: list[int] = net.tier.tolist()
        hosting = np.unique(net.target[: int(net.first_port[base])])
        self._host_rank = dict(zip(hosting.tolist(), ranks(self._plane[hosting - base]).tolist(), strict=True))

    def _check(self) -> None:
        net = self.network
        if not 1 <= net.switches <= MOST_SWITCHES:
            raise SuanwangError(INVALID, f"{net.switches:,} switches; 1 to {MOST_SWITCHES:,} can be configured at once")
        if int(np.diff(net.first_port[net.endpoints :]).max()) > MOST_PORTS_OF_A_SWITCH:
            raise SuanwangError(INVALID, f"a switch has more than {MOST_PORTS_OF_A_SWITCH} ports")
        names = [net.names[node] for node in range(net.endpoints, net.nodes)]
        for name in names:
            if not _NAME.fullmatch(name):
                raise SuanwangError(
                    INVALID, f"{name!r} can't be a switch's name", "use letters, digits, - _ and . only"
                )
        if len(set(names)) < len(names):
            raise SuanwangError(INVALID, "two switches have the same name", "name them apart")

    def _most_hosts(self) -> int:
        hosts = self.network.target[: int(self.network.first_port[self.network.endpoints])]
        return int(np.bincount(hosts - self.network.endpoints).max()) if len(hosts) else 1

    @cached_property
    def _asn(self) -> list[int]:
        first = sharing(self.network, self._tier, self._number)
        return [self.numbering.asn(place, one) for place, one in zip(self._places, first.tolist(), strict=True)]

    def place(self, node: int) -> Place:
        """Where a switch stands."""
        return self._places[node - self.network.endpoints]

    @cached_property
    def _far(self) -> list[tuple[int, str, str]]:
        """AS number, loopback and link-local address of each switch, as its neighbours need them."""
        number = self.numbering
        return [
            (asn, number.loopback6(place), number.link_local(place))
            for asn, place in zip(self._asn, self._places, strict=True)
        ]

    @property
    def asns(self) -> int:
        """How many AS numbers are in use."""
        return len(set(self._asn))

    @cached_property
    def sessions(self) -> SessionCount:
        """How many sessions the fabric has."""
        net = self.network
        source, target = net.source[self._between], net.target[self._between]
        pairs = len(np.unique(source * net.nodes + target)) // 2
        return SessionCount(len(source), len(source) // 2, pairs)

    @cached_property
    def unit_bps(self) -> int:
        """What one unit of FRR's `bandwidth` stands for in this fabric. Raises INVALID where none does."""
        return unit_bps(self.network, self._policies)

    def link_address(self, node: int, port: Port, far: bool = False) -> str:
        """The IPv6 address of a switch on a link to another, or of the one at the other end (`far`).

        Each link has a /127 for languages that know no unnumbered sessions; the end on the lower tier has the even one.
        """
        ours = (self._tiers[node], node) < (self._tiers[port.peer], port.peer)
        place, number = (self.place(node), port.number) if ours else (self.place(port.peer), port.peer_number)
        return self.numbering.link(place, 2 * number + (ours == far))

    def switches(self) -> Iterator[Switch]:
        """All switches, in the order of the network."""
        for node in range(self.network.endpoints, self.network.nodes):
            yield self.switch(node)

    def switch(self, node: int) -> Switch:
        """What the switch of that node number is told."""
        place, numbering = self.place(node), self.numbering
        ports = self._ports(node)
        rank = self._host_rank.get(node)
        return Switch(
            name=self.network.names[node],
            node=node,
            place=place,
            asn=self._asn[node - self.network.endpoints],
            loopback4=numbering.loopback4(place),
            loopback6=self._far[node - self.network.endpoints][1],
            link_local=self._far[node - self.network.endpoints][2],
            ports=ports,
            neighbours=self._neighbours(node, ports),
            host_bits=numbering.host_bits,
            prefix4=numbering.prefix4(place, rank) if rank is not None else None,
            prefix6=numbering.prefix6(place, rank) if rank is not None else None,
        )

    def _ports(self, node: int) -> tuple[Port, ...]:
        net = self.network
        first, last = int(net.first_port[node]), int(net.first_port[node + 1])
        own = int(net.tier[node])
        peers = net.target[first:last]
        back = (net.peer[first:last] - net.first_port[peers] + 1).tolist()
        found = []
        names = net.names
        for number, (peer, tier, rate, at) in enumerate(
            zip(peers.tolist(), net.tier[peers].tolist(), net.rate_bps[first:last].tolist(), back, strict=True), 1
        ):
            direction: Direction = "side" if tier == own else "up" if tier > own else "down"
            name = names[peer]
            if peer < net.endpoints:
                # An endpoint is only described: what its name has beyond letters would be read as something else.
                direction, name = "host", _STRANGE.sub("_", name[:MOST_DESCRIBED])
            found.append(Port(number, direction, peer, name, at, rate))
        return tuple(found)

    def _neighbours(self, node: int, ports: tuple[Port, ...]) -> tuple[Neighbour, ...]:
        together: dict[int, list[Port]] = {}
        for port in ports:
            if port.direction != "host":
                together.setdefault(port.peer, []).append(port)
        found = []
        for peer, bundle in together.items():
            rate = bundle[0].rate_bps
            asn, loopback6, link_local = self._far[peer - self.network.endpoints]
            if any(port.rate_bps != rate for port in bundle):
                raise SuanwangError(
                    INVALID,
                    f"parallel links between {self.network.names[node]} and {bundle[0].peer_name} differ in rate",
                    hint="FARE shares a node's weight evenly over its parallel links; make them alike",
                )
            found.append(
                Neighbour(
                    name=bundle[0].peer_name,
                    direction=bundle[0].direction,
                    asn=asn,
                    loopback6=loopback6,
                    link_local=link_local,
                    ports=tuple(port.number for port in bundle),
                    rate_bps=rate,
                    policy=self._policies.of[node - self.network.endpoints, peer - self.network.endpoints],
                )
            )
        return tuple(found)

    @cached_property
    def _policies(self) -> Policies:
        return policies(self.network, one_session=self.options.sessions == "pair")
