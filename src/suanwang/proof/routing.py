"""Where packets go, for all spaces of a component at once.

For each destination atom the spaces are parted by what they do with it: a route that stands in a fragment holds for the
spaces that have the fragment, and sets of spaces are the bits of an integer. The routers of one network hold mostly the
same fragments, so there are a handful of parts however many nodes there are. For each space and destination there is
one
thing that happens next, so forwarding is a function, and following it to its end settles all packets to that
destination.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol, TypeVar

from suanwang.program.objects import PortDevice, Route
from suanwang.proof import codes
from suanwang.proof.atoms import Addresses, host
from suanwang.proof.matching import MAIN_TABLE
from suanwang.proof.space import Space, SpaceKey

Value = TypeVar("Value")

Choices = list[tuple[int, Value]]
"""What some spaces (bits) have under one key; earlier ones count before later ones."""

PORT = "port"
HOP = "hop"
HERE = -1


class End(NamedTuple):
    """What becomes of packets: `what` is `port` or a reason (or `hop`, while they are on their way).

    `space` is where, `HERE` being the space where they were looked up. `name` is the port's device, or, of a hop, the
    tunnel's identifiers.
    """

    what: str
    space: int
    name: str = ""


Parts = list[tuple[int, End]]
"""Spaces, parted by what becomes of packets that they look up."""

NO_ROUTE = End(codes.NO_ROUTE_TO_DESTINATION, HERE)
NOT_FORWARDING = End(codes.NOT_FORWARDING, HERE)
BLACKHOLE = End(codes.BLACKHOLE_ROUTE, HERE)
TO_ROUTER = End(codes.DELIVERED_TO_ROUTER, HERE)


class TunnelEnds(Protocol):
    """Where the ends of tunnels are found."""

    def tunnel_place(self, endpoint: str, udp_port: int, vni: int) -> tuple[SpaceKey, str] | None:
        """The space and tunnel device that receive what is sent to an endpoint with a network identifier."""


class Routing:
    """Routes, neighbours, forwarding entries, tunnels and deliveries of the spaces of a component.

    `parts`: what fragments say, each with the spaces that hold it, the more important first.
    """

    def __init__(self, keys: Sequence[SpaceKey], parts: Iterable[tuple[int, Space]], world: TunnelEnds) -> None:
        self._world = world
        self.number = {key: number for number, key in enumerate(keys)}
        self.everywhere = (1 << len(keys)) - 1
        self.forwarding = 0
        self.gateways: dict[str, int] = {}
        self.routes: dict[tuple[int, int], dict[str, Choices[Route]]] = {}
        self.ports: dict[str, Choices[PortDevice]] = {}
        self._neighbours: dict[tuple[str, str], Choices[str]] = {}
        self._fdb: dict[tuple[str, str], Choices[str]] = {}
        self._tunnels: dict[str, dict[tuple[int, int], int]] = {}
        self._tunnel_macs: dict[str, Choices[str]] = {}
        self._deliveries: dict[tuple[str, str], Choices[str]] = {}
        for mask, part in parts:
            self._take(mask, part)
        self.prefixes = self._prefixes()
        self.addresses = {version: Addresses(version, self.prefixes[version]) for version in (4, 6)}
        self._next: dict[tuple[int, int], list[Parts]] = {}
        self._ends: dict[tuple[int, int], list[Parts]] = {}
        self._acts: dict[tuple[str, str, int, int], Parts] = {}

    def _take(self, mask: int, part: Space) -> None:
        if part.forwarding:
            self.forwarding |= mask
        for gateway in part.gateways:
            self.gateways[gateway] = self.gateways.get(gateway, 0) | mask
        for table, routes in part.tables.items():
            for destination, route in routes.items():
                version = 6 if ":" in destination else 4
                self.routes.setdefault((version, table), {}).setdefault(destination, []).append((mask, route))
        for device, port in part.ports.items():
            self.ports.setdefault(device, []).append((mask, port))
        for at, mac in part.neighbours.items():
            self._neighbours.setdefault(at, []).append((mask, mac))
        for frame, remote in part.fdb.items():
            self._fdb.setdefault(frame, []).append((mask, remote))
        for device, tunnel in part.tunnels.items():
            kinds = self._tunnels.setdefault(device, {})
            kind = (tunnel.udp_port, tunnel.vni)
            kinds[kind] = kinds.get(kind, 0) | mask
            self._tunnel_macs.setdefault(device, []).append((mask, tunnel.mac))
        for frame, device in part.deliveries.items():
            self._deliveries.setdefault(frame, []).append((mask, device))

    def _prefixes(self) -> dict[int, set[str]]:
        found: dict[int, set[str]] = {4: set(), 6: set()}
        for (version, _), routes in self.routes.items():
            found[version].update(routes)
        hosts = set(self.gateways)
        if any(
            self._is_direct(route)
            for table in self.routes.values()
            for choices in table.values()
            for _, route in choices
        ):
            # What is its own next hop is looked up among the neighbours, so those are told apart.
            hosts.update(address for _, address in self._neighbours)
        for choices in self.ports.values():
            for _, port in choices:
                hosts.update(address.partition("/")[0] for address in port.addresses)
        for address in hosts:
            found[6 if ":" in address else 4].add(host(address))
        return found

    def _is_direct(self, route: Route) -> bool:
        return route.action == "forward" and not route.via and route.device not in self.ports

    def next_hops(self) -> set[str]:
        """All neighbours' addresses, as prefixes."""
        return {host(address) for _, address in self._neighbours}

    def tables(self, version: int) -> set[int]:
        """Tables that have routes of an IP version."""
        return {table for of, table in self.routes if of == version}

    def port(self, space: int, device: str) -> PortDevice | None:
        """A port by its space's number and its device."""
        return only(self.ports.get(device, ()), space)

    def passed(self, version: int, table: int, atom: int, space: int) -> int:
        """The spaces by which packets of an atom go that `space` looks up in `table`, itself among them."""
        step = at(self.next(version, table)[atom], space)
        steps = self.follow(step, self.next(version, MAIN_TABLE)[atom])
        found = 1 << space
        for one in steps:
            if one.space != HERE:
                found |= 1 << one.space
        return found

    def ends(self, version: int, table: int) -> list[Parts]:
        """How packets end that are looked up in `table` and then in main, for each destination atom."""
        found = self._ends.get((version, table))
        if found is None:
            first, main = self.next(version, table), self.next(version, MAIN_TABLE)
            found = [self._followed(one, other) for one, other in zip(first, main, strict=True)]
            self._ends[version, table] = found
        return found

    def _followed(self, first: Parts, main: Parts) -> Parts:
        if not any(step.what == HOP for _, step in first):
            return first
        return [(mask, self.follow(step, main)[-1]) for mask, step in first]

    @staticmethod
    def follow(step: End, main: Parts) -> list[End]:
        """A step, those after it in other spaces, and the end."""
        steps = [step]
        seen = 0
        while step.what == HOP:
            there = step.space
            if seen >> there & 1:
                steps.append(End(codes.CYCLIC_PATH, there))
                break
            seen |= 1 << there
            step = at(main, there)
            if step.space == HERE:
                step = step._replace(space=there)
            steps.append(step)
        return steps

    def next(self, version: int, table: int) -> list[Parts]:
        """What happens next in each space, for each destination atom."""
        found = self._next.get((version, table))
        if found is None:
            found = self._next[version, table] = self._steps(version, table)
        return found

    def _steps(self, version: int, table: int) -> list[Parts]:
        atoms = self.addresses[version]
        routes = self.routes.get((version, table), {})
        layers: list[list[str]] = [[] for _ in range(len(atoms))]
        for destination in sorted(routes, key=length):
            low, high = atoms.span(destination)
            for atom in range(low, high):
                layers[atom].append(destination)
        local: dict[int, int] = {}
        for gateway, mask in self.gateways.items():
            if (":" in gateway) == (version == 6):
                local[atoms.of(gateway)] = mask
        if table == MAIN_TABLE:
            below: list[Parts] = [[(self.forwarding, NO_ROUTE)]] * len(atoms)
        else:
            below = self.next(version, MAIN_TABLE)
        found = []
        for atom, destinations in enumerate(layers):
            parts: Parts = []
            rest = self.forwarding
            if mask := local.get(atom, 0):
                # The router's own addresses come before all routes, and whether it forwards is no matter.
                parts.append((mask, TO_ROUTER))
                rest &= ~mask
            if idle := self.everywhere & ~self.forwarding & ~mask:
                parts.append((idle, NOT_FORWARDING))
            for destination in reversed(destinations):
                if not rest:
                    break
                rest = self._routed(version, atom, routes[destination], rest, parts, below[atom])
            if rest:
                parts += within(below[atom], rest)
            if mask:
                # A frame may be for a port's MAC, but the router takes packets to its own addresses for itself.
                parts = [
                    (on, _routed_there(end) if end.what == PORT and mask >> end.space & 1 else end) for on, end in parts
                ]
            found.append(merged(parts))
        return found

    def _routed(self, version: int, atom: int, choices: Choices[Route], rest: int, parts: Parts, below: Parts) -> int:
        """Add what the routes to one destination do in the spaces `rest`; returns the spaces that have none."""
        for mask, route in choices:
            if hit := rest & mask:
                rest ^= hit
                if route.action == "throw":
                    parts += within(below, hit)
                elif route.action == "blackhole":
                    parts.append((hit, BLACKHOLE))
                else:
                    parts += self._act(version, atom, route, hit)
        return rest

    def _act(self, version: int, atom: int, route: Route, spaces: int) -> Parts:
        next_hop = route.via or self.addresses[version].first(atom)
        key = (route.device, next_hop, spaces, version)
        found = self._acts.get(key)
        if found is None:
            found = self._acts[key] = list(self._sent(version, route.device, next_hop, spaces))
        return found

    def _sent(self, version: int, device: str, next_hop: str, spaces: int) -> Iterator[tuple[int, End]]:
        for mask, _ in self.ports.get(device, ()):
            if hit := spaces & mask:
                spaces ^= hit
                for number in bits(hit):
                    yield 1 << number, End(PORT, number, device)
        for (udp_port, vni), mask in self._tunnels.get(device, {}).items():
            hit = spaces & mask
            spaces ^= hit
            for known, mac in split(self._neighbours.get((device, next_hop), ()), hit):
                if mac is None:
                    yield known, End(codes.NEIGHBOUR_MISSING, HERE)
                    continue
                for mapped, remote in split(self._fdb.get((device, mac), ()), known):
                    if remote is None:
                        yield mapped, End(codes.TUNNEL_ENTRY_MISSING, HERE)
                    else:
                        yield mapped, self._arrived(version, remote, udp_port, vni, mac)
        if spaces:
            yield spaces, End(codes.DEVICE_MISSING, HERE)

    def _arrived(self, version: int, endpoint: str, udp_port: int, vni: int, mac: str) -> End:
        place = self._world.tunnel_place(endpoint, udp_port, vni)
        if place is None:
            return End(codes.TUNNEL_ENDPOINT_MISSING, HERE)
        key, device = place
        there = self.number[key]
        delivered = only(self._deliveries.get((device, mac), ()), there)
        port = self.port(there, delivered) if delivered is not None else None
        if port is not None and delivered is not None:
            if any((":" in address) == (version == 6) for address in port.addresses):
                return End(PORT, there, delivered)
        elif only(self._tunnel_macs.get(device, ()), there) != mac:
            return End(codes.FRAME_NOT_FOR_ROUTER, there)
        return End(HOP, there, f"{udp_port}/{vni}")


def _routed_there(end: End) -> End:
    return End(HOP, end.space)


def only(choices: Sequence[tuple[int, Value]], space: int) -> Value | None:
    """What one space has under a key."""
    bit = 1 << space
    for mask, value in choices:
        if mask & bit:
            return value
    return None


def split(choices: Sequence[tuple[int, Value]], spaces: int) -> Iterator[tuple[int, Value | None]]:
    """Part spaces by what they have under one key; None for those that have nothing."""
    for mask, value in choices:
        if hit := spaces & mask:
            spaces ^= hit
            yield hit, value
    if spaces:
        yield spaces, None


def within(parts: Parts, spaces: int) -> Parts:
    """The parts of some spaces only."""
    return [(hit, end) for mask, end in parts if (hit := mask & spaces)]


def merged(parts: Parts) -> Parts:
    """The same with one part for each end."""
    if len(parts) < 2:
        return parts
    found: dict[End, int] = {}
    for mask, end in parts:
        found[end] = found.get(end, 0) | mask
    return [(mask, end) for end, mask in found.items()]


def at(parts: Parts, space: int) -> End:
    """What becomes of packets in one space."""
    return next(end for mask, end in parts if mask >> space & 1)


def bits(mask: int) -> Iterator[int]:
    """Numbers of the bits that are set."""
    while mask:
        lowest = mask & -mask
        yield lowest.bit_length() - 1
        mask ^= lowest


def length(prefix: str) -> int:
    """The length of a prefix."""
    return int(prefix.rpartition("/")[2])


def masks(contents: Mapping[SpaceKey, Iterable[Space]]) -> Iterator[tuple[int, Space]]:
    """Each part, with the spaces that hold it as bits in the order of the mapping; the later by name comes first."""
    holders: dict[int, int] = {}
    known: dict[int, Space] = {}
    for number, parts in enumerate(contents.values()):
        bit = 1 << number
        for part in parts:
            holders[id(part)] = holders.get(id(part), 0) | bit
            known[id(part)] = part
    for part in sorted(known.values(), key=lambda part: part.node, reverse=True):
        yield holders[id(part)], part
