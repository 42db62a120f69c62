"""What filters let pass, as bits of services for each address atom.

Everything here is worked out when it is first asked for: where forwarding brings packets to the right ports, and no
assertion asks, what the groups of a network allow is of no consequence to isolation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

from suanwang.program.objects import FilterRule, PortDevice, PortFilter
from suanwang.proof.atoms import Addresses, Services, host, pulled_back
from suanwang.proof.packet import EPHEMERAL_PORT, Packet
from suanwang.proof.routing import Routing
from suanwang.proof.space import Space


class Place(NamedTuple):
    """A port: the number of its space, its device, and what it is in the program."""

    space: int
    port: PortDevice
    guard: PortFilter | None

    @property
    def tenant(self) -> str:
        """Whose it is."""
        return self.port.title.partition("/")[0]


class Filtering:
    """The groups and sets of a component's spaces. `spaces` gives a space by its number, joined."""

    def __init__(
        self, parts: Iterable[tuple[int, Space]], routing: Routing, places: Sequence[Place], spaces: Mapping[int, Space]
    ) -> None:
        self._parts = list(parts)
        self._routing = routing
        self._places = places
        self._spaces = spaces
        self._allowed: dict[tuple[object, ...], list[int]] = {}
        self._set_keys: dict[tuple[int, str], frozenset[str]] = {}
        self._prefix_atoms: dict[tuple[int, tuple[str, ...]], set[int]] = {}
        self._scopes = [scope for _, part in self._parts if part.kept for scope in part.scopes()]

    @cached_property
    def rules(self) -> dict[FilterRule, int]:
        """All rules, each with the services that it speaks of."""
        unique = {
            rule
            for _, part in self._parts
            for group in part.groups.values()
            for rule in (*group.ingress, *group.egress)
        }
        return {rule: self.services.mask(rule) for rule in unique}

    @cached_property
    def services(self) -> Services:
        """The atoms of services."""
        rules = [rule for scope in self._scopes for rule in (*scope.services, *scope.service_cuts)]
        for _, part in self._parts:
            for group in part.groups.values():
                rules += (*group.ingress, *group.egress)
        return Services(rules)

    @cached_property
    def addresses(self) -> dict[int, Addresses]:
        """Address atoms by IP version, at least as fine as those of routing."""
        found = {version: set(self._routing.prefixes[version]) for version in (4, 6)}

        def add(prefix: str) -> None:
            found[6 if ":" in prefix else 4].add(prefix)

        for _, part in self._parts:
            for members in part.members.values():
                for prefix in members:
                    add(prefix)
        for rule in self.rules:
            if rule.peer not in ("any", "") and not rule.peer.startswith("@"):
                add(rule.peer)
        for place in self._places:
            if place.guard is not None:
                for prefix in (*place.guard.sources, *(prefix for _, prefix in place.guard.pairs)):
                    add(prefix if "/" in prefix else host(prefix))
        if self._scopes:
            for prefix in self._translated([*found[4], *found[6]]):
                add(prefix)
        return {version: Addresses(version, prefixes) for version, prefixes in found.items()}

    def _translated(self, prefixes: Iterable[str]) -> Iterable[str]:
        """What transfers tell apart or write, and what they make of the other prefixes."""
        named = [prefix for one in self._scopes for prefix in (*one.sources, *one.destinations, *one.cuts)]
        hosts = [prefix if "/" in prefix else host(prefix) for prefix in named]
        return pulled_back(
            [*prefixes, *hosts, *self._routing.next_hops()], [move for one in self._scopes for move in one.moves]
        )

    def atoms(self, version: int, prefixes: Sequence[str]) -> set[int]:
        """The atoms of prefixes that a scope names."""
        key = (version, tuple(prefixes))
        found = self._prefix_atoms.get(key)
        if found is None:
            found = self._prefix_atoms[key] = set()
            for prefix in prefixes:
                if (":" in prefix) == (version == 6):
                    found.update(range(*self.addresses[version].span(prefix)))
        return found

    def packet(self, version: int, source: int, destination: int, services: int) -> Packet | None:
        """A packet of some of these services, between two atoms; None where none occurs in the IP version."""
        example = self.services.example(services, version) if services else None
        if example is None:
            return None
        atoms = self.addresses[version]
        source_port = EPHEMERAL_PORT if example[0] in ("tcp", "udp") else 0
        return Packet(atoms.first(source), atoms.first(destination), *example, source_port)

    def out(self, place: Place, version: int) -> list[int]:
        """Services that a port's groups let out, for each destination atom."""
        return self._through(place, "egress", version)

    def into(self, place: Place, version: int) -> list[int]:
        """Services that a port's groups let in, for each source atom."""
        return self._through(place, "ingress", version)

    def sources(self, place: Place, version: int) -> list[int]:
        """Atoms that a port may send from."""
        atoms, guard = self.addresses[version], place.guard
        if guard is None or not self._spaces[place.space].guarded:
            return list(range(len(atoms)))
        found: set[int] = set()
        for prefix in allowed_sources(guard, place.port):
            if (":" in prefix) == (version == 6):
                found.update(range(*atoms.span(prefix)))
        return sorted(found)

    def _through(self, place: Place, direction: str, version: int) -> list[int]:
        space, atoms = self._spaces[place.space], self.addresses[version]
        if not space.guarded:
            return [self.services.everything] * len(atoms)
        if place.guard is None:
            return [0] * len(atoms)
        groups = [space.groups[name] for name in place.guard.groups if name in space.groups]
        rules = [rule for group in groups for rule in (group.ingress if direction == "ingress" else group.egress)]
        named = sorted({rule.peer[1:] for rule in rules if rule.peer.startswith("@")})
        key = (direction, version, tuple(rules), tuple((name, self._set_key(place.space, name)) for name in named))
        cached = self._allowed.get(key)
        if cached is None:
            cached = self._allowed[key] = self._matrix(space, rules, version)
        return cached

    def _set_key(self, number: int, name: str) -> frozenset[str]:
        found = self._set_keys.get((number, name))
        if found is None:
            found = self._set_keys[number, name] = frozenset(self._spaces[number].set_members(name))
        return found

    def _matrix(self, space: Space, rules: Iterable[FilterRule], version: int) -> list[int]:
        atoms = self.addresses[version]
        everywhere = 0
        found = [0] * len(atoms)
        for rule in rules:
            services = self.rules[rule]
            if rule.peer == "any":
                everywhere |= services
                continue
            prefixes = space.set_members(rule.peer[1:]) if rule.peer.startswith("@") else {rule.peer}
            for prefix in prefixes:
                if (":" in prefix) == (version == 6):
                    low, high = atoms.span(prefix)
                    for atom in range(low, high):
                        found[atom] |= services
        return [services | everywhere for services in found] if everywhere else found


def allowed_sources(guard: PortFilter, port: PortDevice) -> list[str]:
    """Prefixes that a port may send from. Which of the MACs of its pairs it uses is the sender's choice."""
    own = guard.sources if guard.mac == port.mac else ()
    return [*own, *(prefix for _, prefix in guard.pairs)]


def addresses(port: PortDevice, version: int) -> list[str]:
    """A port's addresses of an IP version, without prefix lengths."""
    return [address.partition("/")[0] for address in port.addresses if (":" in address) == (version == 6)]
