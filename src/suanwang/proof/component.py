"""The set engine: everything that packets can do within a component, all at once, and what of it is wrong.

A component is a set of spaces that tunnels join: the routers of a VPC on all its nodes, and whatever else has the same
network identifier. Forwarding (`routing`) and filters (`filtering`) are exact: see `atoms`. What must hold of any
network, whoever declared it, is checked here; what the same must be on all its nodes, in `agreement`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Protocol

from suanwang.program.objects import PortDevice, PortFilter
from suanwang.proof import codes
from suanwang.proof.agreement import Agreement
from suanwang.proof.filtering import Filtering, Place
from suanwang.proof.finding import Finding
from suanwang.proof.packet import EPHEMERAL_PORT, Packet
from suanwang.proof.routing import HERE, HOP, PORT, Choices, End, Routing, TunnelEnds, bits, masks, only
from suanwang.proof.space import MAIN_TABLE, Space, SpaceKey
from suanwang.proof.walk import Surroundings, walk


class World(TunnelEnds, Surroundings, Protocol):
    """Where a component finds what lies around it."""


class Component:
    """Spaces joined by tunnels, analysed. `contents`: what fragments say of each; many share the same ones."""

    def __init__(self, contents: Mapping[SpaceKey, Iterable[Space]], world: World) -> None:
        ordered = {key: contents[key] for key in sorted(contents)}
        self.keys = list(ordered)
        self._world = world
        parts = list(masks(ordered))
        self.routing = Routing(self.keys, parts, world)
        guards: dict[str, Choices[PortFilter]] = {}
        self.selected: dict[int, int] = {}
        self._selections: dict[tuple[int, str], int] = {}
        for mask, part in parts:
            for device, guard in part.filters.items():
                guards.setdefault(device, []).append((mask, guard))
            for device, table in part.selections.items():
                for number in bits(mask):
                    self._selections.setdefault((number, device), table)
        for (number, _), table in self._selections.items():
            self.selected[table] = self.selected.get(table, 0) | 1 << number
        self.places = sorted(
            (
                Place(number, port, only(guards.get(device, ()), number))
                for device, choices in self.routing.ports.items()
                for mask, port in choices
                for number in bits(mask)
                if self.routing.port(number, device) is port
            ),
            key=lambda place: (place.space, place.port.device),
        )
        self._by_device = {(place.space, place.port.device): place for place in self.places}
        self._next_hops: dict[tuple[int, int], dict[tuple[int, str], int]] = {}
        self._parts = parts
        self._spaces = _Joined(ordered)
        self.filtering = Filtering(parts, self.routing, self.places, self._spaces)

    def findings(self) -> Iterator[Finding]:
        """All that is wrong within the component, whatever anyone asserted; each thing once."""
        told: set[tuple[str, str]] = set()
        for one in self._all():
            if one.identity not in told:
                told.add(one.identity)
                yield one

    def _all(self) -> Iterator[Finding]:
        agreement = Agreement(self.keys, self._parts, self.places, self.table)
        yield from agreement.findings()
        for version in (4, 6):
            if self.routing.tables(version) or any(_addresses(place.port, version) for place in self.places):
                yield from self._forwarding(version)

    def table(self, place: Place) -> int:
        """The table in which a port's packets are looked up first."""
        return self._selections.get((place.space, place.port.device), MAIN_TABLE)

    def ends(self, version: int, number: int, table: int) -> list[End]:
        """How packets that space `number` looks up in `table` (then in main) end, for each atom of routing."""
        found = []
        for parts in self.routing.ends(version, table):
            end = next(end for mask, end in parts if mask >> number & 1)
            found.append(end._replace(space=number) if end.space == HERE else end)
        return found

    # What is wrong

    def _forwarding(self, version: int) -> Iterator[Finding]:
        tables = {MAIN_TABLE: self.routing.everywhere} | self.selected
        owned = self._owners(version)
        for table in sorted(tables, key=lambda table: (table != MAIN_TABLE, table)):
            for atom, parts in enumerate(self.routing.ends(version, table)):
                yield from self._destination(version, table, tables[table], atom, parts, owned.get(atom, ()))
        for table in sorted({MAIN_TABLE, *self.routing.tables(version)}):
            yield from self._different(version, table)

    def _destination(
        self, version: int, table: int, users: int, atom: int, parts: list[tuple[int, End]], owners: Sequence[Place]
    ) -> Iterator[Finding]:
        """What is wrong with packets to one destination that `users` look up in `table`."""
        for mask, end in parts:
            starts = mask & users
            if not starts:
                continue
            if end.what == PORT:
                target = self._by_device[end.space, end.name]
                if all(owner.port.title != target.port.title for owner in owners) and not self._intended(
                    version, table, atom, target
                ):
                    yield from self._shown(version, starts, table, atom, codes.WRONG_DELIVERY, target)
                if starts & self._strangers(target.tenant):
                    yield from self._shown(version, starts, table, atom, codes.TENANTS_MEET, target)
            elif end.what == codes.CYCLIC_PATH:
                yield from self._shown(version, starts, table, atom, codes.CYCLIC_PATH, None)
        if table == MAIN_TABLE:
            for owner in owners:
                yield from self._unreachable(version, atom, parts, owner)
        yield from self._nowhere(version, table, users, atom, parts, owners)

    def _unreachable(self, version: int, atom: int, parts: list[tuple[int, End]], owner: Place) -> Iterator[Finding]:
        family = self._family[self.keys[owner.space][1]]
        for mask, end in parts:
            if (end.what, end.space, end.name) != (PORT, owner.space, owner.port.device):
                for number in bits(mask & family):
                    address = self.routing.addresses[version].first(atom)
                    node = self.keys[number][0]
                    message = f"{node} does not reach {address} of {owner.port.title}: {_said(end.what)}"
                    subject = f"{node} {owner.port.title} {address}"
                    packet = self._sample(version, number, atom)
                    yield Finding(codes.UNREACHABLE_ADDRESS, subject, message, packet)

    def _nowhere(
        self, version: int, table: int, users: int, atom: int, parts: list[tuple[int, End]], owners: Sequence[Place]
    ) -> Iterator[Finding]:
        """Routes that lead to where packets are dropped, or round by a router that need not be passed."""
        main = self.routing.next(version, MAIN_TABLE)[atom]
        address = self.routing.addresses[version].first(atom)
        for mask, step in self.routing.next(version, table)[atom]:
            if not mask & users or (step.what != HOP and step.what not in _BROKEN):
                continue
            way = self.routing.follow(step, main)
            twice = len(way) > 2 and way[1].what == HOP and way[0].name == way[1].name
            if way[-1].what in (PORT, codes.DELIVERED_TO_ROUTER, codes.CYCLIC_PATH) and not twice:
                continue
            if owners and table == MAIN_TABLE and not twice:
                continue
            code = codes.DETOUR if twice else codes.ROUTE_LEADS_NOWHERE
            for number in bits(mask & users):
                node, netns = self.keys[number]
                message = f"{netns} on {node} has a route for {address}: {_said(code if twice else way[-1].what)}"
                packet = self._sample(version, number, atom)
                yield Finding(code, f"{node} {netns} {address} {table}", message, packet)

    def _different(self, version: int, table: int) -> Iterator[Finding]:
        """The routers of one network are one router, so each sends packets to the same port, or drops them."""
        for atom, parts in enumerate(self.routing.ends(version, table)):
            if len(parts) == 1:
                continue
            for netns, family in self._family.items():
                classes: dict[tuple[str, int, str], int] = {}
                for mask, end in parts:
                    if hit := mask & family:
                        # Not all nodes have all gateway addresses.
                        what = codes.NO_ROUTE_TO_DESTINATION if end.what == codes.DELIVERED_TO_ROUTER else end.what
                        kind = (what, end.space, end.name) if end.what == PORT else (what, HERE, "")
                        classes[kind] = classes.get(kind, 0) | hit
                if len(classes) < 2 or any(end.what == codes.DELIVERED_TO_ROUTER for _, end in parts):
                    continue
                usual = max(classes, key=lambda kind: (classes[kind].bit_count(), kind))
                address = self.routing.addresses[version].first(atom)
                for kind, mask in sorted(classes.items()):
                    if kind == usual:
                        continue
                    for number in bits(mask):
                        node = self.keys[number][0]
                        message = (
                            f"{netns} on {node} does with packets to {address} (table {table}) what other nodes do not:"
                            f" {self._what(kind)}; elsewhere {self._what(usual)}"
                        )
                        packet = self._sample(version, number, atom)
                        yield Finding(codes.NODES_DISAGREE, f"{netns} {address} {table} {node}", message, packet)

    def _what(self, kind: tuple[str, int, str]) -> str:
        what, space, name = kind
        return f"to {self._by_device[space, name].port.title}" if what == PORT else _said(what)

    def _owners(self, version: int) -> dict[int, list[Place]]:
        found: dict[int, list[Place]] = {}
        for place in self.places:
            for address in _addresses(place.port, version):
                found.setdefault(self.routing.addresses[version].of(address), []).append(place)
        return found

    def _intended(self, version: int, table: int, atom: int, target: Place) -> bool:
        """Whether the port's own router makes it the next hop of the destination in that table."""
        known = self._next_hops.get((version, table))
        if known is None:
            known = self._next_hops[version, table] = self._next_hops_of(version, table)
        return bool(known.get((target.space, target.port.device), 0) >> atom & 1)

    def _next_hops_of(self, version: int, table: int) -> dict[tuple[int, str], int]:
        """Ports that their own routers make next hops in a table, with the atoms of these routes as bits."""
        found: dict[tuple[int, str], int] = {}
        routes = self.routing.routes.get((version, table), {}) if table != MAIN_TABLE else {}
        for destination, choices in routes.items():
            low, high = self.routing.addresses[version].span(destination)
            for mask, route in choices:
                for number in bits(mask) if route.device in self.routing.ports else ():
                    place = self._by_device.get((number, route.device))
                    own = {address.partition("/")[0] for address in place.port.addresses} if place else ()
                    if route.via in own and only(choices, number) is route:
                        at = (number, route.device)
                        found[at] = found.get(at, 0) | (1 << high) - (1 << low)
        return found

    @cached_property
    def _family(self) -> dict[str, int]:
        """The spaces of each network, by the name that its namespaces have on all nodes."""
        found: dict[str, int] = {}
        for number, (_, netns) in enumerate(self.keys):
            found[netns] = found.get(netns, 0) | 1 << number
        return found

    @cached_property
    def _tenants(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for place in self.places:
            found[place.tenant] = found.get(place.tenant, 0) | 1 << place.space
        return found

    def _strangers(self, tenant: str) -> int:
        """Spaces with ports of other tenants."""
        if len(self._tenants) == 1:
            return 0
        found = 0
        for other, mask in self._tenants.items():
            if other != tenant:
                found |= mask
        return found

    def _shown(
        self, version: int, starts: int, table: int, atom: int, code: str, target: Place | None
    ) -> Iterator[Finding]:
        """A finding for each sender from which such packets really get there, with one that does."""
        for place in self.places:
            if not starts >> place.space & 1 or self.table(place) != table:
                continue
            if code == codes.TENANTS_MEET and target is not None and place.tenant == target.tenant:
                continue
            packet = self._passing(place, target, version, atom)
            if packet is None:
                continue
            trace = walk(self._world, place.port.workload, packet)
            to = f" {target.port.title}" if target else ""
            message = f"{place.port.title} sends {packet}: {_said(code)}{':' + to if to else ''}"
            yield Finding(code, place.port.title + to, message, packet, trace.steps)

    def _passing(self, place: Place, target: Place | None, version: int, atom: int) -> Packet | None:
        """A packet from a port to an atom of routing that all filters on its way let pass."""
        filtering = self.filtering
        out = filtering.out(place, version)
        into = filtering.into(target, version) if target else None
        fine = filtering.addresses[version]
        sources = filtering.sources(place, version)
        own = {fine.of(bare) for bare in _addresses(place.port, version)}
        for destination in range(*fine.inside(self.routing.addresses[version], atom)):
            # What a workload sends to itself never leaves it.
            if not out[destination] or destination in own:
                continue
            for source in sources:
                services = out[destination] & (into[source] if into is not None else filtering.services.everything)
                example = filtering.services.example(services, version) if services else None
                if example is not None:
                    return self._packet(version, source, destination, example)
        return None

    def _packet(self, version: int, source: int, destination: int, example: tuple[str, int, int, int]) -> Packet:
        protocol, port, icmp_type, icmp_code = example
        atoms = self.filtering.addresses[version]
        source_port = EPHEMERAL_PORT if protocol in ("tcp", "udp") else 0
        return Packet(atoms.first(source), atoms.first(destination), protocol, port, icmp_type, icmp_code, source_port)

    def _sample(self, version: int, number: int, atom: int) -> Packet | None:
        """An echo request to an atom of routing, from some port of a space, if it has any."""
        destination = self.routing.addresses[version].first(atom)
        kind = ("icmpv6", 0, 128, 0) if version == 6 else ("icmp", 0, 8, 0)
        for place in self.places:
            if place.space == number:
                for address in _addresses(place.port, version):
                    return Packet(address, destination, *kind)
        return None


class _Joined(dict[int, Space]):
    """Spaces by number, joined from their parts when first asked for."""

    def __init__(self, contents: Mapping[SpaceKey, Iterable[Space]]) -> None:
        super().__init__()
        self._contents = list(contents.items())

    def __missing__(self, number: int) -> Space:
        key, parts = self._contents[number]
        space = self[number] = Space.joined(key, sorted(parts, key=lambda part: part.node))
        return space


_BROKEN = {
    codes.DEVICE_MISSING,
    codes.NEIGHBOUR_MISSING,
    codes.TUNNEL_ENTRY_MISSING,
    codes.TUNNEL_ENDPOINT_MISSING,
    codes.FRAME_NOT_FOR_ROUTER,
}


def _addresses(port: PortDevice, version: int) -> list[str]:
    """A port's addresses of an IP version, without prefix lengths."""
    return [address.partition("/")[0] for address in port.addresses if (":" in address) == (version == 6)]


def _said(code: str) -> str:
    return codes.REASONS.get(code, "it goes to another port" if code == PORT else code)
