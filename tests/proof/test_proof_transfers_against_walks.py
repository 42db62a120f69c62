"""Random programs with random transfers: the set engine and the walk against a naive reading that knows neither."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace as replace_object
from tests.proof.test_proof_against_walks import Naive, found, own_addresses, proven
from tests.proof.transfer_types import Backend, Balancer, PortForward, PrefixNat, Steer

from suanwang.program import objects
from suanwang.program.fragment import Fragment, fragment
from suanwang.program.objects import FilterRule
from suanwang.proof import codes
from suanwang.proof.component import Component
from suanwang.proof.filtering import Place
from suanwang.proof.packet import Packet
from suanwang.proof.walk import ways

MANY = settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
JUDGED = (codes.WRONG_DELIVERY, codes.TENANTS_MEET, codes.CYCLIC_PATH)
HOSTS = [f"10.0.0.{last}" for last in (2, 3, 4, 5, 6, 10, 200)]
SERVICES = [FilterRule(), FilterRule("tcp", ports=((80, 80),)), FilterRule("icmp", icmp_type=8), FilterRule("udp")]
NATS = [("10.0.0.0/29", "10.0.0.8/29"), ("10.0.0.4/30", "10.0.0.200/30"), ("fd00::/126", "fd00::8/126"),
        ("10.0.0.8/30", "10.0.0.0/30"), ("10.0.0.2/31", "10.0.0.202/31")]  # fmt: skip
OUTSIDE = ["0.0.0.0/0", "10.0.0.0/30", "::/0"]
TABLE = 7


def with_transfers(maker: Any, seed: int, fault: float = 0.03) -> Any:
    """A random world, with transfers in some of its spaces and ways to what they translate."""
    made = maker(seed, fault)
    chance, places = made.random, made.places()
    is_open = chance.random() < 0.7
    for (node, netns), parts in list(places.items()):
        items = [random_transfer(chance, netns, number, made.nodes) for number in range(chance.choice([0, 1, 2, 4]))]
        items += [Backend(netns, "lb", one) for one in chance.sample(HOSTS, chance.randint(0, 3))]
        for to in ("10.0.0.10/32", "10.0.0.200/30", "10.0.0.8/29", "fd00::8/126"):
            if chance.random() < 0.3:
                items.append(objects.Route(netns, to, via=f"fe80::{chance.randint(1, made.nodes)}", device="vx"))
        kept = tuple(opened(part) if is_open else part for part in parts)
        places[node, netns] = (*kept, fragment(netns, f"transfers/{node}", items))
    return places


def opened(part: Fragment) -> Fragment:
    """With groups that let most pass."""
    groups = [one for one in part.objects if isinstance(one, objects.SecurityGroupFilter)]
    wide = [replace_object(one, ingress=(*one.ingress, *SERVICES[1:]), egress=(FilterRule(),)) for one in groups]
    return fragment(part.owner, part.part, [*(one for one in part.objects if one not in groups), *wide])


def random_transfer(chance: random.Random, netns: str, number: int, nodes: int) -> objects.Object:
    name = f"{number}"
    match chance.randrange(4):
        case 0:
            return PrefixNat(netns, name, *chance.choice(NATS), chance.choice(OUTSIDE))
        case 1:
            return PortForward(netns, chance.choice(HOSTS), 80, chance.choice(HOSTS), chance.choice([80, 443, 22]))
        case 2:
            return Balancer(netns, "lb", chance.choice(HOSTS), chance.choice([80, 443]))
    to = {"table": TABLE} if chance.random() < 0.3 else {"device": chance.choice(["vx", "vx", "p1", "p2", "p3"])}
    via = chance.choice(
        ["", "fe80::2:2", "fe80::2:3", *(f"fe80::{node + 1}" for node in range(nodes)), "fe80::1", "fe80::2"]
    )
    return Steer(
        netns, name, chance.choice(["0.0.0.0/0", "10.0.0.0/29", "::/0"]),
        chance.choice([*HOSTS, "10.0.0.0/24", "fd00::/64"]),
        chance.choice(SERVICES), chance.choice(["", "", "vx", "p1"]), via=via, meant=chance.choice(["", *HOSTS]), **to,
    )  # fmt: skip


def shifted(address: str, before: str, after: str) -> str:
    """An address of one prefix at the same place of another."""
    offset = int(ip_address(address)) - int(ip_network(before)[0])
    return str(ip_network(after)[0] + offset)


class Fate(NamedTuple):
    """What became of a packet: `port` its title, or empty; `table` the one chosen last."""

    loops: bool
    port: str
    packet: Packet
    table: int
    meant: str


class NaiveWays(Naive):
    """All ways of a packet, read straight off the objects."""

    def fates(self, key: tuple[str, str], device: str, packet: Packet) -> set[Fate]:
        selected = [item.table for item in self.of(key, objects.RouteSelection, device=device)]
        fates: set[Fate] = set()
        self.go(fates, frozenset(), key, device, "", packet, selected[0] if selected else 254, "", True)
        return fates

    def go(
        self, fates: set[Fate], seen: frozenset[Any], key: Any, device: str, frame: str, packet: Packet, table: int,
        meant: str, first: bool,
    ) -> None:  # fmt: skip
        here = (key, device, frame, packet)
        if here in seen:
            fates.add(Fate(True, "", packet, table, meant))
            return
        for arrived, steer in self.arrivals(key, device, packet):
            gateways = {g.partition("/")[0] for port in self.of(key, objects.PortDevice) for g in port.gateways}
            if arrived.destination in gateways:
                continue
            tables, wanted, owner = [table, 254] if first else [254], table, meant if frame else ""
            out, hop = frame, ""
            if steer is not None:
                out, hop, owner = steer.device, steer.via, steer.meant
                if steer.table:
                    tables, wanted = [steer.table, 254], steer.table
            if (not frame or steer is not None) and not self.of(key, objects.Namespace, forwarding=True):
                continue
            if not out:
                route = self.route(key, arrived.destination, tables)
                if route is None or route.action == "blackhole":
                    continue
                out, hop = route.device, route.via
            self.leave(fates, seen | {here}, key, device, out, hop or arrived.destination, arrived, wanted, owner)

    def leave(
        self, fates: set[Fate], seen: frozenset[Any], key: Any, device: str, out: str, hop: str, packet: Packet,
        table: int, meant: str,
    ) -> None:  # fmt: skip
        ports = self.of(key, objects.PortDevice, device=out)
        if self.of(key, objects.PortDevice, device=device) and not self.passes(key, device, "egress", packet):
            return
        if ports and not self.passes(key, out, "ingress", packet):
            return
        packet = self.departing(key, packet)
        if ports:
            fates.add(Fate(False, ports[0].title, packet, table, meant))
            return
        for tunnel in self.of(key, objects.Vxlan, device=out):
            for neighbour in self.of(key, objects.Neighbour, device=out, address=hop):
                for entry in self.of(key, objects.ForwardingEntry, device=out, mac=neighbour.mac):
                    if (found := self.receiver(entry.remote, tunnel.vni)) is not None:
                        there, end = found
                        named = self.of(there, objects.Delivery, device=end.device, mac=neighbour.mac)
                        taking = [p for one in named for p in self.of(there, objects.PortDevice, device=one.port)]
                        fits = taking and (":" in packet.destination) in {":" in one for one in taking[0].addresses}
                        if taking or end.mac == neighbour.mac:
                            frame = taking[0].device if fits else ""
                            self.go(fates, seen, there, end.device, frame, packet, table, meant, False)

    def arrivals(self, key: Any, device: str, packet: Packet) -> Iterator[tuple[Packet, Steer | None]]:
        made = [packet]
        for balancer in self.of(key, Balancer):
            if self.is_for(packet, balancer):
                backends = self.of(key, Backend, balancer=balancer.name)
                made = [replace(packet, destination=one.address) for one in backends]
        for one in made:
            hits = [item for item in self.of(key, PortForward) if self.is_for(one, item)]
            changed = replace(one, destination=hits[0].to, port=hits[0].to_port) if hits else one
            for nat in sorted(self.of(key, PrefixNat), key=lambda item: item.name):
                if ip_address(changed.destination) in ip_network(nat.outer):
                    changed = replace(changed, destination=shifted(changed.destination, nat.outer, nat.inner))
                    break
            steers = [item for item in self.of(key, Steer) if self.steers(key, item, device, changed)]
            yield changed, min(steers, key=lambda item: item.name, default=None)

    @staticmethod
    def is_for(packet: Packet, item: Any) -> bool:
        return (packet.protocol, packet.destination, packet.port) == ("tcp", item.address, item.port)

    def steers(self, key: Any, item: Steer, device: str, packet: Packet) -> bool:
        return (
            item.incoming in ("", device)
            and ip_address(packet.source) in ip_network(item.source)
            and ip_address(packet.destination) in ip_network(item.destination)
            and self.matches(key, item.service, "", packet)
        )

    def departing(self, key: Any, packet: Packet) -> Packet:
        for nat in sorted(self.of(key, PrefixNat), key=lambda item: item.name):
            is_out = ip_address(packet.destination) in ip_network(nat.outside)
            if is_out and ip_address(packet.source) in ip_network(nat.inner):
                return replace(packet, source=shifted(packet.source, nat.inner, nat.outer))
        return packet

    def wrongs(self, ports: dict[str, Any], sender: str, fate: Fate) -> Iterator[tuple[str, str]]:
        """What is wrong with a fate: (code, subject)."""
        if fate.loops:
            yield codes.CYCLIC_PATH, sender
        if not fate.port:
            return
        key, target = ports[fate.port]
        subject = f"{sender} {fate.port}"
        if sender.partition("/")[0] != fate.port.partition("/")[0]:
            yield codes.TENANTS_MEET, subject
        meant = fate.table != 254 and any(
            route.device == target.device
            and route.via in own_addresses(target)
            and ip_address(fate.packet.destination) in ip_network(route.destination)
            for route in self.of(key, objects.Route, table=fate.table)
        )
        if (fate.meant or fate.packet.destination) not in own_addresses(target) and (fate.meant or not meant):
            yield codes.WRONG_DELIVERY, subject


def anywhere(chance: random.Random, version: int) -> str:
    if version == 6:
        return f"fd00::{chance.randrange(16):x}"
    return f"10.0.0.{chance.choice([*range(2, 16), *range(198, 206)])}"


def packets(component: Component, place: Place, chance: random.Random, samples: int) -> Iterator[Packet]:
    """From where the port may send, to anywhere: not only the first addresses of atoms."""
    filtering = component.filtering
    for version in (4, 6):
        sources = set(filtering.sources(place, version))
        for _ in range(samples):
            source, destination = anywhere(chance, version), anywhere(chance, version)
            if chance.random() < 0.6:
                source = next((a for a in own_addresses(place.port) if (":" in a) == (version == 6)), source)
            if filtering.addresses[version].of(source) not in sources or destination in own_addresses(place.port):
                continue
            icmp = "icmp" if version == 4 else "icmpv6"
            what = [("tcp", port, -1, -1) for port in (22, 79, 80, 80, 80, 443)] + [
                ("udp", 53, -1, -1),
                ("47", 0, -1, -1),
            ]
            what += [(icmp, 0, 8 if version == 4 else 128, 0), (icmp, 0, 3, 1)]
            protocol, port, kind, code = chance.choice(what)
            source_port = 49_152 if protocol in ("tcp", "udp") else 0
            yield Packet(source, destination, protocol, port, kind, code, source_port)


def all_ports(naive: Naive) -> dict[str, Any]:
    return {port.title: (key, port) for key in naive.spaces for port in naive.of(key, objects.PortDevice)}


@given(st.integers(0, 2**32))
@MANY
def test_walks_agree_with_a_naive_reading(maker: Any, seed: int) -> None:
    places = with_transfers(maker, seed)
    prover, naive, chance = proven(places), NaiveWays(places), random.Random(seed)
    for component in prover.components():
        for place in component.places:
            key = component.keys[place.space]
            for packet in packets(component, place, chance, 40):
                there = list(ways(prover, place.port.workload, packet))
                told = {(one.code == codes.CYCLIC_PATH, one.port, one.arrived if one.port else None) for one in there}
                told = {one for one in told if one[0] or one[1]}
                fates = naive.fates(key, place.port.device, packet)
                assert told == {(one.loops, one.port, one.packet if one.port else None) for one in fates}, packet


@given(st.integers(0, 2**32))
@MANY
def test_findings_are_complete_and_sound(maker: Any, seed: int) -> None:
    places = with_transfers(maker, seed, 0.06)
    prover, naive, chance = proven(places), NaiveWays(places), random.Random(seed)
    ports = all_ports(naive)
    for component in prover.components():
        told = {(one.code, one.subject): one for one in component.findings() if one.code in JUDGED}
        senders = {place.port.title: place for place in component.places}
        for what, finding in told.items():
            sender = senders[finding.subject.split()[0]]
            assert finding.packet is not None
            fates = naive.fates(component.keys[sender.space], sender.port.device, finding.packet)
            assert what in {one for fate in fates for one in naive.wrongs(ports, sender.port.title, fate)}, finding
            assert finding.steps[-1].code in (codes.DELIVERED, codes.CYCLIC_PATH), finding
        for place in component.places:
            for packet in packets(component, place, chance, 60):
                for fate in naive.fates(component.keys[place.space], place.port.device, packet):
                    for what in naive.wrongs(ports, place.port.title, fate):
                        assert what in told, packet


@given(st.lists(st.integers(0, 2**32), min_size=2, max_size=4), st.randoms(use_true_random=False))
@settings(MANY, max_examples=40)
def test_proving_changes_gives_what_proving_from_nothing_gives(
    maker: Any, seeds: list[int], chance: random.Random
) -> None:
    prover, present = proven({}), dict[Any, Any]()
    for seed in seeds:
        wanted = with_transfers(maker, seed)
        places = sorted({*present, *wanted})
        step = {
            place: wanted.get(place, ())
            for place in chance.sample(places, chance.randint(min(1, len(places)), len(places)))
        }
        prover.change(step)
        prover.settle()
        present |= step
        assert found(prover) == found(proven(present))


@pytest.mark.parametrize("code", JUDGED)
def test_transfers_make_faults_of_each_kind(maker: Any, code: str) -> None:
    def made_by_transfers(seed: int) -> bool:
        findings = proven(with_transfers(maker, seed)).findings()
        marks = {codes.TRANSLATED, codes.STEERED}
        return any(one.code == code and marks & {step.code for step in one.steps} for one in findings)

    assert any(made_by_transfers(seed) for seed in range(100))
