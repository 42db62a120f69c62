"""What is wrong with routes themselves, whoever may use them: addresses that a node does not reach, routes that lead
nowhere or round by a third node, and routers of one network that do not act as one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from suanwang.proof import codes
from suanwang.proof.filtering import Place, addresses
from suanwang.proof.finding import Finding
from suanwang.proof.journeys import Journeys
from suanwang.proof.matching import MAIN_TABLE
from suanwang.proof.packet import Packet
from suanwang.proof.routing import HERE, HOP, PORT, End, Parts, Routing, bits
from suanwang.proof.space import SpaceKey

_BROKEN = {
    codes.DEVICE_MISSING,
    codes.NEIGHBOUR_MISSING,
    codes.TUNNEL_ENTRY_MISSING,
    codes.TUNNEL_ENDPOINT_MISSING,
    codes.FRAME_NOT_FOR_ROUTER,
}


class RouteChecks:
    """Looks at the routes of a component. What `journeys` has objects for by address may end where no route is."""

    def __init__(
        self, keys: Sequence[SpaceKey], routing: Routing, places: Sequence[Place], journeys: Journeys | None
    ) -> None:
        self._keys = keys
        self._routing = routing
        self._places = places
        self._journeys = journeys
        self._titles = {(place.space, place.port.device): place.port.title for place in places}
        self._family: dict[str, int] = {}
        for number, (_, netns) in enumerate(keys):
            self._family[netns] = self._family.get(netns, 0) | 1 << number

    def findings(
        self, version: int, tables: Mapping[int, int], owned: Mapping[int, Sequence[Place]]
    ) -> Iterator[Finding]:
        """`tables`: those in which packets are looked up first, each with its users; `owned`: ports by address atom."""
        for table in sorted(tables, key=lambda table: (table != MAIN_TABLE, table)):
            for atom, parts in enumerate(self._routing.ends(version, table)):
                owners = owned.get(atom, ())
                if table == MAIN_TABLE:
                    for owner in owners:
                        yield from self._unreachable(version, atom, parts, owner)
                yield from self._nowhere(version, table, tables[table], atom, owners)
        for table in sorted({MAIN_TABLE, *self._routing.tables(version)}):
            yield from self._different(version, table)

    def _unreachable(self, version: int, atom: int, parts: Parts, owner: Place) -> Iterator[Finding]:
        family = self._family[self._keys[owner.space][1]]
        for mask, end in parts:
            if (end.what, end.space, end.name) != (PORT, owner.space, owner.port.device):
                for number in bits(mask & family):
                    address = self._routing.addresses[version].first(atom)
                    node = self._keys[number][0]
                    message = f"{node} does not reach {address} of {owner.port.title}: {said(end.what)}"
                    subject = f"{node} {owner.port.title} {address}"
                    packet = self._sample(version, number, atom)
                    yield Finding(codes.UNREACHABLE_ADDRESS, subject, message, packet)

    def _nowhere(self, version: int, table: int, users: int, atom: int, owners: Sequence[Place]) -> Iterator[Finding]:
        """Routes that lead to where packets are dropped, or round by a router that need not be passed."""
        main = self._routing.next(version, MAIN_TABLE)[atom]
        address = self._routing.addresses[version].first(atom)
        for mask, step in self._routing.next(version, table)[atom]:
            if not mask & users or (step.what != HOP and step.what not in _BROKEN):
                continue
            way = self._routing.follow(step, main)
            twice = len(way) > 2 and way[1].what == HOP and way[0].name == way[1].name
            if way[-1].what in (PORT, codes.DELIVERED_TO_ROUTER, codes.CYCLIC_PATH) and not twice:
                continue
            if owners and table == MAIN_TABLE and not twice:
                continue
            code = codes.DETOUR if twice else codes.ROUTE_LEADS_NOWHERE
            for number in bits(mask & users):
                if self._journeys is not None and self._journeys.names(version, _passed(way) | 1 << number, atom):
                    continue
                node, netns = self._keys[number]
                message = f"{netns} on {node} has a route for {address}: {said(code if twice else way[-1].what)}"
                packet = self._sample(version, number, atom)
                yield Finding(code, f"{node} {netns} {address} {table}", message, packet)

    def _different(self, version: int, table: int) -> Iterator[Finding]:
        """The routers of one network are one router, so each sends packets to the same port, or drops them."""
        for atom, parts in enumerate(self._routing.ends(version, table)):
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
                address = self._routing.addresses[version].first(atom)
                for kind, mask in sorted(classes.items()):
                    if kind == usual:
                        continue
                    for number in bits(mask):
                        node = self._keys[number][0]
                        message = (
                            f"{netns} on {node} does with packets to {address} (table {table}) what other nodes do not:"
                            f" {self._what(kind)}; elsewhere {self._what(usual)}"
                        )
                        packet = self._sample(version, number, atom)
                        yield Finding(codes.NODES_DISAGREE, f"{netns} {address} {table} {node}", message, packet)

    def _what(self, kind: tuple[str, int, str]) -> str:
        what, space, name = kind
        return f"to {self._titles[space, name]}" if what == PORT else said(what)

    def _sample(self, version: int, number: int, atom: int) -> Packet | None:
        """An echo request to an atom of routing, from some port of a space, if it has any."""
        destination = self._routing.addresses[version].first(atom)
        kind = ("icmpv6", 0, 128, 0) if version == 6 else ("icmp", 0, 8, 0)
        for place in self._places:
            if place.space == number:
                for address in addresses(place.port, version):
                    return Packet(address, destination, *kind)
        return None


def _passed(way: Iterable[End]) -> int:
    """The spaces of some steps, but for the first, as bits."""
    found = 0
    for step in way:
        found |= 1 << step.space if step.space != HERE else 0
    return found


def said(code: str) -> str:
    """In words."""
    return codes.REASONS.get(code, "it goes to another port" if code == PORT else code)
