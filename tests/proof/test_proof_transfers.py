"""Transfers, one type at a time: translation of prefixes and ports, balancing, steering. See transfer_types.py."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
import pytest
from tests.proof.transfer_types import Backend, Balancer, PortForward, PrefixNat, Steer

from suanwang.program import objects, wire
from suanwang.program.fragment import Fragment, fragment
from suanwang.program.objects import FilterRule, Object
from suanwang.program.text import lines, parse
from suanwang.proof import codes
from suanwang.proof.packet import Packet
from suanwang.proof.prover import Prover
from suanwang.proof.transfer import ARRIVAL, Scope, transfers
from suanwang.proof.walk import MOST_WAYS, round_trips

NETNS = "vpc/t/v"
VIP = "10.0.9.9"
Places = dict[tuple[str, str], tuple[Fragment, ...]]


def network(
    ports: Sequence[tuple[int, int, str]], extra: dict[int, list[Object]] | None = None, vni: int = 7
) -> Places:
    """A sound VPC of two nodes. `ports`: (node, last byte of its address, tenant); `extra`: objects of a node (2: of
    both). Each node sends to the other what an object there translates."""
    found: Places = {}
    for here, there in ((0, 1), (1, 0)):
        items: list[Object] = [
            objects.Namespace(NETNS, True, True),
            objects.SecurityGroupFilter(NETNS, "all", (FilterRule(),), (FilterRule(),)),
            objects.Vxlan(NETNS, "vx", vni, f"192.0.2.{here + 1}", f"02:00:00:00:00:0{here}", 1400),
            objects.Neighbour(NETNS, "vx", f"fe80::{there + 1}", f"02:00:00:00:00:0{there}"),
            objects.ForwardingEntry(NETNS, "vx", f"02:00:00:00:00:0{there}", f"192.0.2.{there + 1}"),
        ]
        items += [
            objects.Route(
                NETNS,
                getattr(one, "outer", "") or f"{getattr(one, 'address', '')}/32",
                via=f"fe80::{there + 1}",
                device="vx",
            )
            for one in (extra or {}).get(there, ())
            if isinstance(one, Balancer | PortForward | PrefixNat)
        ]
        for node, last, tenant in ports:
            own, device, mac = f"10.0.0.{last}", f"p{last}", f"02:00:00:00:01:{last:02x}"
            if node == here:
                items += [
                    objects.PortDevice(
                        NETNS, device, f"port/{tenant}/{device}", "eth0", mac, "02:00:00:00:ff:01", 1400,
                        (f"{own}/24",), ("10.0.0.1",), f"{tenant}/{device}",
                    ),
                    objects.PortFilter(NETNS, device, mac, (f"{own}/32",), ("all",)),
                    objects.Route(NETNS, f"{own}/32", device=device),
                    objects.Delivery(NETNS, "vx", f"02:00:00:00:02:{last:02x}", device),
                ]  # fmt: skip
            else:
                items += [
                    objects.Route(NETNS, f"{own}/32", via=f"fe80::{there + 1}", device="vx"),
                    objects.Neighbour(NETNS, "vx", f"fe80::2:{last}", f"02:00:00:00:02:{last:02x}"),
                    objects.ForwardingEntry(NETNS, "vx", f"02:00:00:00:02:{last:02x}", f"192.0.2.{there + 1}"),
                ]
        items += [*(extra or {}).get(here, ()), *(extra or {}).get(2, ())]
        found[f"n{here}", NETNS] = (fragment(NETNS, f"local/n{here}", items),)
    return found


def probe(name: str, to: str, port: int, expect: str = "allowed", source: int = 2, answerer: str = "") -> Places:
    item = objects.Probe(name, f"port/t/p{source}", "tcp", f"10.0.0.{source}", to, port, expect, answerer)  # type: ignore[arg-type]
    return {("n0", name): (fragment(name, "probe", [item]),)}


def proven(*places: Places) -> Prover:
    prover = Prover()
    for one in places:
        prover.change(one)
    prover.settle()
    return prover


def found(prover: Prover) -> set[str]:
    return {f"{one.code} {one.subject}" for one in prover.findings()}


def tcp(source: str, destination: str, port: int) -> Packet:
    return Packet(source, destination, "tcp", port, source_port=49_152)


def ends(prover: Prover, packet: Packet, workload: str = "port/t/p2") -> list[tuple[str, str, str]]:
    """Of every way there and back: how it ended there, how back, and where."""
    trips = round_trips(prover, workload, packet)
    return [(there.code, back.code if back else "", there.port) for there, back in trips]


OK = (codes.DELIVERED, codes.DELIVERED)
THREE = ((0, 2, "t"), (0, 3, "t"), (1, 4, "t"))


def balancer(node: int, *lasts: int, address: str = VIP) -> dict[int, list[Object]]:
    backends = [Backend(NETNS, "lb", f"10.0.0.{last}") for last in lasts]
    return {node: [Balancer(NETNS, "lb", address, 80), *backends]}


# --- one to one ------------------------------------------------------------------------------------------------------

NAT = PrefixNat(NETNS, "nat", "10.0.0.0/24", "10.0.9.0/24", "10.0.8.0/24")


def test_prefix_is_translated_there_and_its_answer_back() -> None:
    prover = proven(network(THREE, {0: [NAT]}), probe("a/there", "10.0.9.4", 22, answerer="t/p4"))
    assert found(prover) == set()
    ((there, back),) = round_trips(prover, "port/t/p2", tcp("10.0.0.2", "10.0.9.4", 22))
    assert (there.port, there.arrived.destination) == ("t/p4", "10.0.0.4")
    assert back is not None
    assert (back.code, back.arrived) == (codes.DELIVERED, there.packet.reply())
    assert [step.code for step in back.steps if step.code == codes.TRANSLATED] == [codes.TRANSLATED]


def edited(places: Places, node: str, edit: Callable[[Object], Object | None]) -> Places:
    (part,) = places[node, NETNS]
    items = [made for one in part.objects if (made := edit(one)) is not None]
    return places | {(node, NETNS): (fragment(NETNS, part.part, items),)}


@pytest.mark.parametrize(
    ("lets_in", "expected"),
    [("10.0.9.0/24", OK), ("10.0.0.0/24", (codes.SECURITY_GROUP_DENIES_INGRESS, ""))],
)
def test_source_is_translated_after_filters_of_its_router_and_before_those_of_others(
    lets_in: str, expected: tuple[str, str]
) -> None:
    forward = PortForward(NETNS, "10.0.8.4", 80, "10.0.0.4", 80)
    places = network(((0, 2, "t"), (1, 4, "t")), {0: [NAT], 1: [forward]})
    group = objects.SecurityGroupFilter(NETNS, "all", (FilterRule("tcp", lets_in),), (FilterRule(),))
    places = edited(places, "n1", lambda one: group if isinstance(one, objects.SecurityGroupFilter) else one)
    ((there, back),) = round_trips(proven(places), "port/t/p2", tcp("10.0.0.2", "10.0.8.4", 80))
    assert (there.code, back.code if back else "") == expected
    assert there.arrived.source == "10.0.9.2"


# --- forwarding of ports ---------------------------------------------------------------------------------------------


def test_forwarded_port_arrives_at_another_and_the_rest_does_not() -> None:
    prover = proven(network(THREE, {0: [PortForward(NETNS, VIP, 8080, "10.0.0.4", 80)]}))
    assert found(prover) == set()
    ((there, back),) = round_trips(prover, "port/t/p2", tcp("10.0.0.2", VIP, 8080))
    assert str(there.arrived) == "tcp 10.0.0.2:49152 > 10.0.0.4:80"
    assert back is not None
    assert str(back.arrived) == f"tcp {VIP}:8080 > 10.0.0.2:49152"
    assert ends(prover, tcp("10.0.0.2", VIP, 8081)) == [(codes.NO_ROUTE_TO_DESTINATION, "", "")]


def test_translation_to_an_address_of_nobody_that_a_port_gets_is_wrong_delivery() -> None:
    places = network(THREE, {0: [PortForward(NETNS, VIP, 8080, "10.0.0.77", 80)], 2: [
        objects.Route(NETNS, "10.0.0.77/32", 7, device="p3")]})  # fmt: skip
    assert {one for one in found(proven(places)) if "WRONG" in one} == set()
    main = edited(places, "n0", lambda one: msgspec.structs.replace(one, table=254) if is_route(one, 7) else one)
    prover = proven(main)
    wrong = [one for one in prover.findings() if one.code == codes.WRONG_DELIVERY and one.subject == "t/p2 t/p3"]
    assert wrong
    ((there, _),) = round_trips(prover, "port/t/p2", tcp("10.0.0.2", VIP, 8080))
    assert there.port == "t/p3"


def is_route(one: Object, table: int) -> bool:
    return isinstance(one, objects.Route) and one.table == table


def test_translation_to_another_tenants_port_is_found_with_a_packet() -> None:
    # Only the far router has a route to the bank's port, and nobody but the translation uses it.
    places = network(((0, 2, "t"), (1, 5, "bank")), {1: [PortForward(NETNS, "10.0.8.8", 8080, "10.0.0.5", 80)]})
    places = edited(places, "n0", lambda one: None if getattr(one, "destination", "") == "10.0.0.5/32" else one)
    (meeting,) = [
        one for one in proven(places).findings() if one.code == codes.TENANTS_MEET and "t/p2" in one.subject[:4]
    ]
    assert meeting.subject == "t/p2 bank/p5"
    assert str(meeting.packet) == "tcp 10.0.0.2:49152 > 10.0.8.8:8080"
    assert codes.TRANSLATED in {step.code for step in meeting.steps}


def test_two_translations_that_undo_each_other_make_a_loop() -> None:
    places = network(
        THREE, {0: [PortForward(NETNS, VIP, 80, "10.0.8.8", 81)], 1: [PortForward(NETNS, "10.0.8.8", 81, VIP, 80)]}
    )
    prover = proven(places)
    loops = [one for one in prover.findings() if one.code == codes.CYCLIC_PATH]
    assert {one.subject for one in loops} == {"t/p2", "t/p3", "t/p4"}
    assert all(one.steps[-1].code == codes.CYCLIC_PATH for one in loops)
    assert {ends(prover, tcp("10.0.0.2", VIP, 80))[0][0]} == {codes.CYCLIC_PATH}


# --- balancing -------------------------------------------------------------------------------------------------------


def test_every_backend_is_a_way_and_answers_come_back_from_the_service() -> None:
    prover = proven(network((*THREE, (1, 5, "t")), balancer(0, 3, 4, 5)), probe("a/web", VIP, 80))
    assert found(prover) == set()
    assert ends(prover, tcp("10.0.0.2", VIP, 80)) == [(*OK, "t/p3"), (*OK, "t/p4"), (*OK, "t/p5")]
    there, _ = prover.trace("port/t/p2", "tcp", "10.0.0.2", VIP, 80)
    assert [step.what for step in there.steps if step.code == codes.TRANSLATED] == ["lb: 10.0.0.3 (way 1 of 3)"]


def test_one_dead_backend_breaks_an_assertion_and_trace_shows_it() -> None:
    prover = proven(network(THREE, balancer(0, 3, 4, 6)), probe("a/web", VIP, 80), probe("a/not", VIP, 80, "denied"))
    assert found(prover) == {"ASSERTION_FAILS a/web", "ASSERTION_FAILS a/not"}
    there, _ = prover.trace("port/t/p2", "tcp", "10.0.0.2", VIP, 80)
    assert there.code == codes.NO_ROUTE_TO_DESTINATION
    assert any("10.0.0.6 (way 3 of 3)" in step.what for step in there.steps)


def test_balancer_without_backends_refuses() -> None:
    prover = proven(network(THREE, balancer(0)), probe("a/not", VIP, 80, "denied"))
    assert found(prover) == set()


def test_backend_on_the_clients_own_port_answers_itself() -> None:
    prover = proven(network(THREE, balancer(0, 2)))
    assert ends(prover, tcp("10.0.0.2", VIP, 80)) == [(codes.DELIVERED, codes.ANSWER_NOT_TRANSLATED, "t/p2")]


def test_answer_that_does_not_pass_the_balancer_is_not_taken_for_one() -> None:
    # The balancer stands on node 1, its backend beside the client on node 0: the answer never sees node 1.
    prover = proven(network(THREE, balancer(1, 3, address="10.0.8.8")), probe("a/web", "10.0.8.8", 80))
    assert ends(prover, tcp("10.0.0.2", "10.0.8.8", 80)) == [(codes.DELIVERED, codes.ANSWER_NOT_TRANSLATED, "t/p3")]
    assert found(prover) == {"ASSERTION_FAILS a/web"}


def test_more_ways_than_are_looked_at_prove_nothing() -> None:
    backends = [Backend(NETNS, "lb", f"10.0.{16 + number // 250}.{number % 250}") for number in range(MOST_WAYS + 1)]
    places = network(THREE, {0: [Balancer(NETNS, "lb", VIP, 80), *backends]})
    prover = proven(places, probe("a/not", VIP, 80, "denied"))
    (wrong,) = [one for one in prover.findings() if one.code == codes.ASSERTION_FAILS]
    assert codes.REASONS[codes.TOO_MANY_WAYS] in wrong.message


# --- steering --------------------------------------------------------------------------------------------------------

WEB = FilterRule("tcp", ports=((80, 80),))


def steer(node: int, **fields: object) -> dict[int, list[Object]]:
    known: dict[str, object] = {"source": "10.0.0.2/32", "destination": "10.0.0.4/32", "service": WEB, **fields}
    return {node: [Steer(NETNS, "policy", **known)]}  # type: ignore[arg-type]


def test_some_packets_go_to_a_service_port_first_and_others_do_not() -> None:
    prover = proven(network(THREE, steer(0, incoming="p2", device="p3", meant="10.0.0.3")))
    assert found(prover) == set()
    assert [where for _, _, where in ends(prover, tcp("10.0.0.2", "10.0.0.4", 80))] == ["t/p3"]
    assert [where for _, _, where in ends(prover, tcp("10.0.0.2", "10.0.0.4", 81))] == ["t/p4"]


def test_service_port_on_another_node() -> None:
    fields = {"destination": "10.0.0.3/32", "device": "vx", "via": "fe80::2:4", "meant": "10.0.0.4"}
    prover = proven(network(THREE, steer(0, **fields)))
    assert found(prover) == set()
    assert [where for _, _, where in ends(prover, tcp("10.0.0.2", "10.0.0.3", 80))] == ["t/p4"]


@pytest.mark.parametrize("meant", ["10.0.0.4", ""])
def test_steering_to_the_wrong_port_is_found(meant: str) -> None:
    prover = proven(network(THREE, steer(0, device="p3", meant=meant)))
    (wrong,) = prover.findings()
    assert (wrong.code, wrong.subject) == (codes.WRONG_DELIVERY, "t/p2 t/p3")
    assert str(wrong.packet) == "tcp 10.0.0.2:49152 > 10.0.0.4:80"


def test_steering_by_a_table() -> None:
    table = [objects.Route(NETNS, "10.0.0.4/32", 9, "blackhole")]
    prover = proven(network(THREE, steer(0, table=9) | {2: table}), probe("a/not", "10.0.0.4", 80, "denied"))
    assert ends(prover, tcp("10.0.0.2", "10.0.0.4", 80)) == [(codes.BLACKHOLE_ROUTE, "", "")]
    assert found(prover) == set()


@pytest.mark.parametrize(("via", "expected"), [("10.0.0.3", set()), ("10.0.0.9", {"WRONG_DELIVERY t/p2 t/p3"})])
def test_next_hop_of_a_table_that_packets_are_steered_to_is_meant(via: str, expected: set[str]) -> None:
    here = objects.Route(NETNS, "10.0.0.4/32", 9, via=via, device="p3")
    there = objects.Route(NETNS, "10.0.0.4/32", 9, via="fe80::2:3", device="vx")
    policy = steer(0, table=9)[0]
    prover = proven(network(THREE, {0: [*policy, here], 1: [there]}))
    assert ends(prover, tcp("10.0.0.2", "10.0.0.4", 80))[0][2] == "t/p3"
    assert found(prover) == expected


def test_steering_in_a_circle_is_found() -> None:
    here = Steer(NETNS, "out", "10.0.0.2/32", "10.0.0.3/32", WEB, device="vx", via="fe80::2")
    back = Steer(NETNS, "back", "10.0.0.2/32", "10.0.0.3/32", WEB, device="vx", via="fe80::1")
    prover = proven(network(THREE, {0: [here], 1: [back]}))
    assert found(prover) == {"CYCLIC_PATH t/p2"}


# --- how types come in -----------------------------------------------------------------------------------------------


def test_objects_of_other_rooms_travel_and_are_read_back() -> None:
    items: list[Object] = [NAT, *balancer(0, 3)[0], *steer(0, device="p3")[0], objects.Namespace(NETNS)]
    part = fragment("vpc/t/v", "x", items)
    assert wire.decode_fragment(wire.encode_fragment(part)) == part
    assert sorted(map(repr, parse("\n".join(lines(items))))) == sorted(map(repr, items))


def test_a_tag_is_one_types_alone() -> None:
    class Again(Object, tag="test-steer", frozen=True):
        KEY = ("netns",)
        netns: str

    with pytest.raises(ValueError, match="test-steer is entered twice"):
        objects.enters(Again)


def test_a_type_needs_a_namespace_and_a_key() -> None:
    class Nowhere(Object, tag="test-nowhere", frozen=True):
        KEY = ("name",)
        name: str

    with pytest.raises(ValueError, match="needs a field netns"):
        objects.enters(Nowhere)


def test_one_function_at_a_stage() -> None:
    with pytest.raises(ValueError, match="Steer has two functions on arrival"):
        transfers(Steer, ARRIVAL, lambda item: Scope())(lambda *_: ())


def test_prefixes_of_different_lengths_cannot_be_translated_into_each_other() -> None:
    nat = PrefixNat(NETNS, "nat", "10.0.0.0/24", "10.0.9.0/25", "10.0.8.0/24")
    (wrong,) = proven(network(THREE, {0: [nat]})).findings()
    assert wrong.code == codes.UNREADABLE_PROGRAM
    assert "their lengths differ" in wrong.message


def test_a_change_of_a_transfer_is_proven_anew_and_taken_back() -> None:
    good, bad = network(THREE, balancer(0, 3, 4)), network(THREE, balancer(0, 3, 4, 6))
    prover = proven(good, probe("a/web", VIP, 80))
    for _ in range(2):
        prover.change(bad)
        assert {one.subject for one in prover.settle().findings} == {"a/web"}
        prover.change(good)
        assert prover.settle().findings == ()
    prover.change(dict.fromkeys(good, ()))
    prover.settle()
    assert found(prover) == {"ASSERTION_FAILS a/web"}, "the port is nowhere"
