"""What programs say twice must be the same both times.

A network's groups, sets and flags stand on all its nodes; a port's addresses stand in its device and in its filter; the
ports of one subnet have one gateway and one route table. No assertion is needed to tell that something is wrong there.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from ipaddress import ip_network

from suanwang.program.objects import SecurityGroupFilter
from suanwang.proof import codes
from suanwang.proof.atoms import host
from suanwang.proof.filtering import Place
from suanwang.proof.finding import Finding
from suanwang.proof.routing import bits, split
from suanwang.proof.space import Space, SpaceKey


class Agreement:
    """Looks at the parts of a component's spaces, each with the spaces that hold it as bits."""

    def __init__(
        self,
        keys: Sequence[SpaceKey],
        parts: Iterable[tuple[int, Space]],
        places: Sequence[Place],
        table: Callable[[Place], int],
    ) -> None:
        self._keys = keys
        self._places = places
        self._table = table
        self._forwarding = self._filtered = self._guarded = 0
        self._groups: dict[str, list[tuple[int, SecurityGroupFilter]]] = {}
        self._declared: dict[str, int] = {}
        self._members: dict[tuple[str, str], int] = {}
        self._tunnels: dict[str, int] = {}
        self._deliveries: list[tuple[int, str, str, str]] = []
        self._tunnel_ids: dict[tuple[str, str, int, int], int] = {}
        self._twice: list[tuple[int, int, int]] = []
        for mask, part in parts:
            self._take(mask, part)

    def _take(self, mask: int, part: Space) -> None:
        self._forwarding |= mask if part.forwarding else 0
        self._filtered |= mask if part.filtered else 0
        self._guarded |= mask if part.filters or part.groups else 0
        for name, group in part.groups.items():
            self._groups.setdefault(name, []).append((mask, group))
        for name in part.declared:
            self._declared[name] = self._declared.get(name, 0) | mask
        for name, prefixes in part.members.items():
            for prefix in prefixes:
                self._members[name, prefix] = self._members.get((name, prefix), 0) | mask
        for device, tunnel in part.tunnels.items():
            self._tunnels[device] = self._tunnels.get(device, 0) | mask
            for number in bits(mask):
                self._tunnel(number, tunnel.local, tunnel.udp_port, tunnel.vni)
        for (device, mac), port in part.deliveries.items():
            self._deliveries.append((mask, device, mac, port))

    def _tunnel(self, number: int, local: str, udp_port: int, vni: int) -> None:
        # One node can have an identifier once, whatever its endpoint; an endpoint is one node's.
        for at in (("node", self._keys[number][0]), ("endpoint", local)):
            other = self._tunnel_ids.setdefault((*at, udp_port, vni), number)
            if other != number:
                self._twice.append((other, number, vni))

    def findings(self) -> Iterator[Finding]:
        """All that contradicts or lacks something."""
        yield from self._tunnels_twice()
        yield from self._ports()
        yield from self._rules()
        yield from self._delivered()
        families: dict[str, int] = {}
        for number, (_, netns) in enumerate(self._keys):
            families[netns] = families.get(netns, 0) | 1 << number
        for netns, family in families.items():
            yield from self._family(netns, family)
        yield from self._subnets()

    def _where(self, number: int) -> str:
        node, netns = self._keys[number]
        return f"{netns} on {node}"

    def _tunnels_twice(self) -> Iterator[Finding]:
        for one, other, vni in self._twice:
            message = f"{self._where(one)} and {self._where(other)} take the same packets of network {vni}"
            yield Finding(codes.DUPLICATE_TUNNEL, f"{self._where(one)} {self._where(other)}", message)

    def _ports(self) -> Iterator[Finding]:
        guarded = self._guarded | self._filtered
        for place in self._places:
            port, guard, where = place.port, place.guard, self._where(place.space)
            if guard is None:
                if guarded >> place.space & 1:
                    message = f"{port.title} has no filter in {where}, so nothing passes"
                    yield Finding(codes.PORT_HAS_NO_FILTER, port.title, message)
                continue
            own = guard.sources if guard.mac == port.mac else ()
            for address in port.addresses:
                bare = address.partition("/")[0]
                if host(bare) not in own:
                    message = f"the filter of {port.title} in {where} does not name its address {bare} with its MAC"
                    yield Finding(codes.SOURCE_ADDRESS_NOT_ALLOWED, f"{port.title} {bare}", message)
            for name in guard.groups:
                if not any(mask >> place.space & 1 for mask, _ in self._groups.get(name, ())):
                    message = f"{port.title} is in group {name}, which {where} does not have"
                    yield Finding(codes.INCOMPLETE_PROGRAM, f"{port.title} {name}", message)

    def _rules(self) -> Iterator[Finding]:
        for name, choices in self._groups.items():
            for mask, group in choices:
                named = {rule.peer[1:] for rule in (*group.ingress, *group.egress) if rule.peer.startswith("@")}
                for wanted in sorted(named):
                    for number in bits(mask & ~self._declared.get(wanted, 0)):
                        message = f"group {name} names set {wanted}, which {self._where(number)} does not have"
                        yield Finding(codes.INCOMPLETE_PROGRAM, f"{self._where(number)} @{wanted}", message)

    def _delivered(self) -> Iterator[Finding]:
        ports = {(place.space, place.port.device) for place in self._places}
        for mask, device, mac, port in self._deliveries:
            for number in bits(mask):
                if (number, port) not in ports or not self._tunnels.get(device, 0) >> number & 1:
                    message = f"frames for {mac} shall go to {port} in {self._where(number)}, which is not there"
                    yield Finding(codes.INCOMPLETE_PROGRAM, f"{self._where(number)} {mac}", message)

    def _family(self, netns: str, family: int) -> Iterator[Finding]:
        """One network's namespaces on all nodes."""
        for number in bits(family & self._guarded & ~self._filtered):
            message = f"{self._where(number)} has filters, but is open until they stand"
            yield Finding(codes.INCOMPLETE_PROGRAM, f"{self._where(number)} filtered", message)
        if family & family - 1 == 0:
            return
        same = [("forwarding", "", self._forwarding), ("filtered", "", self._filtered)]
        same += [("set", name, mask) for name, mask in self._declared.items()]
        same += [("set", f"{name} ({prefix})", mask) for (name, prefix), mask in self._members.items()]
        for what, name, mask in same:
            if (having := mask & family) and having != family:
                yield from self._differing(netns, f"{what} {name}".strip(), [having, family ^ having])
        for name, choices in self._groups.items():
            classes: dict[SecurityGroupFilter | None, int] = {}
            for mask, group in split(choices, family):
                classes[group] = classes.get(group, 0) | mask
            if len(classes) > 1:
                yield from self._differing(netns, f"group {name}", list(classes.values()))

    def _differing(self, netns: str, what: str, classes: list[int]) -> Iterator[Finding]:
        usual = max(classes, key=lambda mask: (mask.bit_count(), mask & -mask))
        for mask in classes:
            if mask != usual:
                for number in bits(mask):
                    node = self._keys[number][0]
                    message = f"{what} of {netns} is not on {node} what it is on other nodes"
                    yield Finding(codes.NODES_DISAGREE, f"{netns} {what} {node}", message)

    def _subnets(self) -> Iterator[Finding]:
        """Ports of one subnet have the same gateway, the same MAC of it, and the same route table."""
        first: dict[tuple[str, str, str], tuple[Hashable, Place]] = {}
        for place in self._places:
            netns = self._keys[place.space][1]
            gateways = {":" in gateway: gateway for gateway in place.port.gateways}
            facts: list[tuple[str, str, Hashable]] = [("", "gateway MAC", place.port.gateway_mac)]
            for address in place.port.addresses:
                version, subnet = ":" in address, _subnet(address)
                facts.append((subnet, "gateway", gateways.get(version)))
                facts.append((subnet, "route table", self._table(place)))
            for subnet, what, value in facts:
                known, other = first.setdefault((netns, subnet, what), (value, place))
                if known != value:
                    message = f"{place.port.title} and {other.port.title} are in one subnet, but their {what} differs"
                    yield Finding(codes.NODES_DISAGREE, f"{place.port.title} {what}", message)


_SUBNETS: dict[str, str] = {}


def _subnet(address: str) -> str:
    found = _SUBNETS.get(address)
    if found is None:
        if len(_SUBNETS) > 1_000_000:
            _SUBNETS.clear()
        found = _SUBNETS[address] = str(ip_network(address, strict=False))
    return found
