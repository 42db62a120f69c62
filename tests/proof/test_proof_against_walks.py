"""The set engine against walks of single packets, and both against a third, naive reading of programs."""

from __future__ import annotations

import random
from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from suanwang.program import objects
from suanwang.proof import codes
from suanwang.proof.component import Component
from suanwang.proof.filtering import Place
from suanwang.proof.packet import EPHEMERAL_PORT, NUMBERS, Packet
from suanwang.proof.prover import Prover
from suanwang.proof.walk import Trace, walk

MANY = settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
BEFORE_THE_FILTER = {
    codes.NO_ROUTE_TO_DESTINATION, codes.BLACKHOLE_ROUTE, codes.NOT_FORWARDING, codes.DEVICE_MISSING,
    codes.ROUTER_REFUSES, codes.DELIVERED_TO_ROUTER,
}  # fmt: skip
REFUSED = {codes.SECURITY_GROUP_DENIES_EGRESS, codes.SECURITY_GROUP_DENIES_INGRESS, codes.PORT_HAS_NO_FILTER}


def proven(places: Any) -> Prover:
    prover = Prover()
    prover.change(places)
    prover.settle()
    return prover


def packets(
    component: Component, place: Place, version: int, chance: random.Random, samples: int
) -> Iterator[tuple[Packet, int, int, int]]:
    """To every destination atom, from some source atoms, of some services: (packet, source, destination, service)."""
    filtering = component.filtering
    atoms = filtering.addresses[version]
    bits = [bit for bit in range(64) if filtering.services.everything >> bit & 1]
    own = filtering.sources(place, version)
    for destination in range(len(atoms)):
        sources = chance.sample(range(len(atoms)), min(samples, len(atoms)))
        sources += chance.sample(own, min(samples, len(own)))
        for source in dict.fromkeys(sources):
            for bit in chance.sample(bits, min(samples, len(bits))):
                example = filtering.services.example(1 << bit, version)
                if example is None:
                    continue
                source_port = EPHEMERAL_PORT if example[0] in ("tcp", "udp") else 0
                packet = Packet(atoms.first(source), atoms.first(destination), *example, source_port)
                yield packet, source, destination, 1 << bit


@given(st.integers(0, 2**32))
@MANY
def test_engine_agrees_with_walks(maker: Any, seed: int) -> None:
    prover = proven(maker(seed).places())
    chance = random.Random(seed)
    for component in prover.components():
        for version in (4, 6):
            coarse = component.routing.addresses[version]
            for place in component.places:
                ends = component.ends(version, place.space, component.table(place))
                sources = set(component.filtering.sources(place, version))
                out = component.filtering.out(place, version)
                for packet, source, destination, service in packets(component, place, version, chance, 2):
                    trace = walk(prover, place.port.workload, packet)
                    end = ends[coarse.of(packet.destination)]
                    if packet.destination in own_addresses(place.port):
                        assert trace.port == place.port.title
                    elif source not in sources:
                        assert trace.code == codes.SOURCE_ADDRESS_NOT_ALLOWED, packet
                    elif end.what == codes.DELIVERED_TO_ROUTER and end.space == place.space:
                        assert trace.code in (codes.DELIVERED_TO_ROUTER, codes.ROUTER_REFUSES), packet
                    elif not out[destination] & service:
                        assert trace.code in REFUSED | BEFORE_THE_FILTER, packet
                    elif end.what == "port":
                        target = next(p for p in component.places if p.space == end.space and p.port.device == end.name)
                        tunnelled = end.space != place.space
                        let_in = component.filtering.into(target, version)[source] & service
                        if let_in or trace.delivered:
                            assert (trace.port, bool(let_in)) == (target.port.title, True), (packet, tunnelled)
                        else:
                            assert trace.code in REFUSED, packet
                    elif end.what == codes.DELIVERED_TO_ROUTER:
                        assert trace.code in (codes.DELIVERED_TO_ROUTER, codes.ROUTER_REFUSES), packet
                    else:
                        assert trace.code == end.what, packet


def own_addresses(port: objects.PortDevice) -> set[str]:
    return {address.partition("/")[0] for address in port.addresses}


@given(st.integers(0, 2**32))
@MANY
def test_findings_are_complete_and_sound(maker: Any, seed: int) -> None:
    prover = proven(maker(seed, 0.08).places())
    chance = random.Random(seed)
    for component in prover.components():
        told = {
            (one.code, one.subject): one
            for one in component.findings()
            if one.code in (codes.WRONG_DELIVERY, codes.TENANTS_MEET, codes.CYCLIC_PATH)
        }
        senders = {place.port.title: place for place in component.places}
        for (code, subject), finding in told.items():
            assert finding.packet is not None
            sender = senders[subject.split()[0]]
            trace = walk(prover, sender.port.workload, finding.packet)
            assert (code, subject) in set(shown(component, sender, trace)), finding
            assert finding.steps == trace.steps
        for place in component.places:
            for version in (4, 6):
                for packet, *_ in packets(component, place, version, chance, 4):
                    trace = walk(prover, place.port.workload, packet)
                    for what in shown(component, place, trace):
                        assert what in told, packet


def shown(component: Component, sender: Place, trace: Trace) -> Iterator[tuple[str, str]]:
    """What is wrong, judged by one packet's way."""
    if trace.code == codes.CYCLIC_PATH:
        yield codes.CYCLIC_PATH, sender.port.title
    if not trace.delivered or trace.packet.destination in own_addresses(sender.port):
        return
    target = next(place for place in component.places if place.port.title == trace.port)
    pair = f"{sender.port.title} {target.port.title}"
    if sender.tenant != target.tenant:
        yield codes.TENANTS_MEET, pair
    if trace.packet.destination in own_addresses(target.port):
        return
    space = component.filtering._spaces[target.space]
    table = component.table(sender)
    meant = table != 254 and any(
        route.device == target.port.device
        and route.via in own_addresses(target.port)
        and ip_address(trace.packet.destination) in ip_network(route.destination)
        for route in space.tables.get(table, {}).values()
    )
    if not meant:
        yield codes.WRONG_DELIVERY, pair


# --- the third reading: straight over a program's objects ------------------------------------------------------------


class Naive:
    """Programs as lists of objects; nothing is indexed, nothing remembered."""

    def __init__(self, places: Any) -> None:
        self.spaces: dict[tuple[str, str], list[Any]] = {}
        for (node, _), parts in places.items():
            for part in sorted(parts, key=lambda part: part.id):
                for item in part.objects:
                    self.spaces.setdefault((node, item.netns), []).append(item)
        for key, items in self.spaces.items():
            # Of two objects of one identity the later counts.
            self.spaces[key] = list({objects.identity(item): item for item in items}.values())

    def of(self, key: tuple[str, str], kind: type[Any], **fields: Any) -> list[Any]:
        return [
            item
            for item in self.spaces.get(key, [])
            if isinstance(item, kind) and all(getattr(item, name) == value for name, value in fields.items())
        ]

    def route(self, key: tuple[str, str], destination: str, tables: list[int]) -> Any:
        for table in tables:
            for route in sorted(
                self.of(key, objects.Route, table=table), key=lambda r: -ip_network(r.destination).prefixlen
            ):
                if ip_address(destination) in ip_network(route.destination):
                    if route.action == "throw":
                        break
                    return route
        return None

    def way(self, key: tuple[str, str], device: str, packet: Packet) -> str:
        """The port that a packet is routed to, or empty; filters left aside."""
        selected = [item.table for item in self.of(key, objects.RouteSelection, device=device)]
        tables = [*selected, 254]
        for _ in range(64):
            gateways = {g.partition("/")[0] for port in self.of(key, objects.PortDevice) for g in port.gateways}
            if packet.destination in gateways or not self.of(key, objects.Namespace, forwarding=True):
                return ""
            route = self.route(key, packet.destination, tables)
            if route is None or route.action == "blackhole":
                return ""
            tables = [254]
            if ports := self.of(key, objects.PortDevice, device=route.device):
                return str(ports[0].title)
            next_key = None
            for tunnel in self.of(key, objects.Vxlan, device=route.device):
                hop = route.via or packet.destination
                for neighbour in self.of(key, objects.Neighbour, device=route.device, address=hop):
                    for entry in self.of(key, objects.ForwardingEntry, device=route.device, mac=neighbour.mac):
                        next_key = self.receiver(entry.remote, tunnel.vni)
            if next_key is None:
                return ""
            key, end = next_key
            gateways = {g.partition("/")[0] for port in self.of(key, objects.PortDevice) for g in port.gateways}
            delivered = [
                port
                for delivery in self.of(key, objects.Delivery, device=end.device, mac=neighbour.mac)
                for port in self.of(key, objects.PortDevice, device=delivery.port)
            ]
            if not delivered and end.mac != neighbour.mac:
                return ""
            if delivered and packet.destination not in gateways:
                versions = {":" in address for address in delivered[0].addresses}
                if (":" in packet.destination) in versions:
                    return str(delivered[0].title)
        return ""

    def receiver(self, remote: str, vni: int) -> Any:
        for key in sorted(self.spaces):
            for end in self.of(key, objects.Vxlan, local=remote, vni=vni):
                return key, end
        return None

    def passes(self, key: tuple[str, str], device: str, direction: str, packet: Packet) -> bool:
        if not (
            self.of(key, objects.Namespace, filtered=True)
            or self.of(key, objects.PortFilter)
            or self.of(key, objects.SecurityGroupFilter)
        ):
            return True
        for guard in self.of(key, objects.PortFilter, device=device):
            for name in guard.groups:
                for group in self.of(key, objects.SecurityGroupFilter, name=name):
                    for rule in getattr(group, direction):
                        peer = packet.source if direction == "ingress" else packet.destination
                        if self.matches(key, rule, peer, packet):
                            return True
        return False

    def matches(self, key: tuple[str, str], rule: objects.FilterRule, peer: str, packet: Packet) -> bool:
        protocol = NUMBERS.get(packet.protocol) or int(packet.protocol)
        if rule.protocol != "any" and (NUMBERS.get(rule.protocol) or int(rule.protocol)) != protocol:
            return False
        if rule.ports and (protocol not in (6, 17) or all(not a <= packet.port <= b for a, b in rule.ports)):
            return False
        if rule.icmp_type not in (-1, packet.icmp_type) or rule.icmp_code not in (-1, packet.icmp_code):
            return False
        if rule.peer == "any":
            return True
        peers = [rule.peer]
        if rule.peer.startswith("@"):
            name = rule.peer[1:]
            declared = self.of(key, objects.AddressSet, name=name)
            peers = [e.prefix for e in self.of(key, objects.AddressSetElement, set=name)] if declared else []
        return any(ip_address(peer) in ip_network(prefix) for prefix in peers)


@given(st.integers(0, 2**32))
@MANY
def test_walks_agree_with_a_naive_reading(maker: Any, seed: int) -> None:
    places = maker(seed).places()
    prover, naive = proven(places), Naive(places)
    chance = random.Random(seed)
    attached = {port.title: (key, port) for key in naive.spaces for port in naive.of(key, objects.PortDevice)}
    for component in prover.components():
        for place in component.places:
            key = component.keys[place.space]
            for version in (4, 6):
                for packet, *_ in packets(component, place, version, chance, 1):
                    trace = walk(prover, place.port.workload, packet)
                    if trace.code == codes.SOURCE_ADDRESS_NOT_ALLOWED or packet.destination in own_addresses(
                        place.port
                    ):
                        continue
                    to = naive.way(key, place.port.device, packet)
                    if to:
                        there, port = attached[to]
                        let = naive.passes(key, place.port.device, "egress", packet)
                        let = let and naive.passes(there, port.device, "ingress", packet)
                        to = to if let else ""
                    assert trace.port == to, (packet, trace)


@given(st.integers(0, 2**32))
@MANY
def test_unreachable_addresses_are_those_that_routing_does_not_lead_to(maker: Any, seed: int) -> None:
    places = maker(seed).places()
    prover, naive = proven(places), Naive(places)
    for component in prover.components():
        told = {one.subject for one in component.findings() if one.code == codes.UNREACHABLE_ADDRESS}
        meant = set()
        for node, netns in component.keys:
            for place in component.places:
                if component.keys[place.space][1] == netns:
                    for address in own_addresses(place.port):
                        packet = Packet("10.0.0.99", address, "udp", 9)
                        if naive.way((node, netns), "none", packet) != place.port.title:
                            meant.add(f"{node} {place.port.title} {address}")
        assert told == meant


# --- changes ---------------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 2**32), min_size=2, max_size=6), st.randoms(use_true_random=False))
@MANY
def test_proving_changes_gives_what_proving_from_nothing_gives(
    maker: Any, seeds: list[int], chance: random.Random
) -> None:
    prover = Prover()
    present: dict[Any, Any] = {}
    for seed in seeds:
        wanted = maker(seed, 0.03).places()
        probes = objects.Probe(
            "t0/a", "port/t0/p1", "tcp", "10.0.0.2", "10.0.0.3", 80, chance.choice(["allowed", "denied"])
        )
        if chance.random() < 0.7:
            from suanwang.program.fragment import fragment

            wanted["n0", "assertion/t0/a"] = (fragment("assertion/t0/a", "probe", [probes]),)
        places = sorted({*present, *wanted})
        step = {
            place: wanted.get(place, ())
            for place in chance.sample(places, chance.randint(min(1, len(places)), len(places)))
        }
        before = prover.present(step)
        was = found(prover)
        if chance.random() < 0.5:
            prover.change(step)
            prover.settle()
            prover.change(before)
            prover.settle()
            assert found(prover) == was, "trying and undoing leaves no trace"
        prover.change(step)
        prover.settle()
        present |= step
        assert found(prover) == found(proven(present))
        assert prover.assertions == proven(present).assertions
    prover.change(dict.fromkeys(present, ()))
    prover.settle()
    assert found(prover) == set()
    assert [prover._held, prover._splits, prover._tunnel_ends, prover._by_tunnel, prover._attached] == [{}] * 5


def found(prover: Prover) -> set[Any]:
    return {(one.code, one.subject, one.message, one.packet) for one in prover.findings()}


@pytest.mark.parametrize("code", [codes.WRONG_DELIVERY, codes.TENANTS_MEET, codes.CYCLIC_PATH])
def test_random_networks_have_faults_of_each_kind(maker: Any, code: str) -> None:
    assert any(any(one.code == code for one in proven(maker(seed, 0.08).places()).findings()) for seed in range(300))
