"""The set engine: everything that packets can do within a component, all at once, and what of it is wrong.

A component is a set of spaces that tunnels join: the routers of a VPC on all its nodes, and whatever else has the same
network identifier. Forwarding (`routing`) and filters (`filtering`) are exact: see `atoms`. What must hold of any
network, whoever declared it, is checked here; what the same must be on all its nodes, in `agreement`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Protocol

from suanwang.program.objects import PortFilter
from suanwang.proof import codes
from suanwang.proof.agreement import Agreement
from suanwang.proof.filtering import Filtering, Place, addresses
from suanwang.proof.finding import Finding
from suanwang.proof.forwarding import Surroundings
from suanwang.proof.journeys import Journey, Journeys
from suanwang.proof.matching import MAIN_TABLE
from suanwang.proof.packet import Packet
from suanwang.proof.route_checks import RouteChecks, said
from suanwang.proof.routing import HERE, PORT, Choices, End, Routing, TunnelEnds, bits, masks, only
from suanwang.proof.space import Space, SpaceKey
from suanwang.proof.walk import walk, ways


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
        holders = 0
        for mask, part in parts:
            holders |= mask if part.kept else 0
        self.journeys: Journeys | None = None
        if holders:
            self.journeys = Journeys(world, self.routing, self.filtering, self._by_device, self._spaces, holders)

    def findings(self) -> Iterator[Finding]:
        """All that is wrong within the component, whatever anyone asserted; each thing once."""
        told: set[tuple[str, str]] = set()
        for one in self._all():
            if one.identity not in told:
                told.add(one.identity)
                yield one

    def _all(self) -> Iterator[Finding]:
        versions = [
            version
            for version in (4, 6)
            if self.routing.tables(version) or any(addresses(place.port, version) for place in self.places)
        ]
        tables = {MAIN_TABLE: self.routing.everywhere} | self.selected
        owners = {version: self._owners(version) for version in versions}
        # Where packets arrive comes first: of what is wrong, only so much is told.
        for version in versions:
            yield from self._forwarded(version, tables, owners[version])
            yield from self._transferred(version)
        yield from Agreement(self.keys, self._parts, self.places, self.table).findings()
        checks = RouteChecks(self.keys, self.routing, self.places, self.journeys)
        for version in versions:
            yield from checks.findings(version, tables, owners[version])

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

    def _forwarded(
        self, version: int, tables: Mapping[int, int], owned: Mapping[int, Sequence[Place]]
    ) -> Iterator[Finding]:
        """What is wrong with packets that go by routes alone; `tables` come with their users, `owned` by atom."""
        for table in sorted(tables, key=lambda table: (table != MAIN_TABLE, table)):
            for atom, parts in enumerate(self.routing.ends(version, table)):
                owners = owned.get(atom, ())
                for mask, end in parts:
                    if not (starts := mask & tables[table]):
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

    def _owners(self, version: int) -> dict[int, list[Place]]:
        found: dict[int, list[Place]] = {}
        for place in self.places:
            for address in addresses(place.port, version):
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
            message = f"{place.port.title} sends {packet}: {said(code)}{':' + to if to else ''}"
            yield Finding(code, place.port.title + to, message, packet, trace.steps)

    def _transferred(self, version: int) -> Iterator[Finding]:
        """What is wrong with packets that objects change or send another way."""
        if self.journeys is None:
            return
        told: set[tuple[str, str]] = set()
        for place in self.places:
            for journey in self.journeys.of(place, self.table(place), version):
                to = f" {journey.target.port.title}" if journey.target is not None else ""
                subject = place.port.title + to
                for code in self._faults(place, journey):
                    packet = self.filtering.packet(*journey.first[:4])
                    if (code, subject) in told or packet is None:
                        continue
                    told.add((code, subject))
                    way = next(
                        (one for one in ways(self._world, place.port.workload, packet) if journey.is_(one)), None
                    )
                    message = f"{place.port.title} sends {packet}: {said(code)}{':' + to if to else ''}"
                    yield Finding(code, subject, message, packet, way.steps if way is not None else ())

    def _faults(self, place: Place, journey: Journey) -> Iterator[str]:
        target, version, atom = journey.target, journey.flow.version, journey.flow.destination
        if target is None:
            yield journey.code
            return
        address = journey.meant or self.filtering.addresses[version].first(atom)
        coarse = self.routing.addresses[version].of(self.filtering.addresses[version].first(atom))
        if address not in addresses(target.port, 6 if ":" in address else 4) and (
            journey.meant or not self._intended(version, journey.lookup, coarse, target)
        ):
            yield codes.WRONG_DELIVERY
        if place.tenant != target.tenant:
            yield codes.TENANTS_MEET

    def _passing(self, place: Place, target: Place | None, version: int, atom: int) -> Packet | None:
        """A packet from a port to an atom of routing that all filters on its way let pass."""
        filtering = self.filtering
        out = filtering.out(place, version)
        into = filtering.into(target, version) if target else None
        fine = filtering.addresses[version]
        sources = filtering.sources(place, version)
        own = {fine.of(bare) for bare in addresses(place.port, version)}
        for destination in range(*fine.inside(self.routing.addresses[version], atom)):
            # What a workload sends to itself never leaves it.
            if not out[destination] or destination in own:
                continue
            for source in sources:
                services = out[destination] & (into[source] if into is not None else filtering.services.everything)
                if self.journeys is not None:
                    services &= ~self.journeys.concerned(place, self.table(place), version, source, destination)
                packet = filtering.packet(version, source, destination, services)
                if packet is not None:
                    return packet
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
