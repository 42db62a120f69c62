"""Miscabling: found, named, and mended by what the remedies say; sessions from what neighbours say of themselves."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suanwang.fabric.cabling.cables import Cable
from suanwang.fabric.cabling.lldp import Advertisement
from suanwang.fabric.cabling.lldp_bgp import BgpInformation, PeeringAddress, SessionCapability
from suanwang.fabric.cabling.neighbours import Comparison, End, Remedy, Sighting, compare, ends
from suanwang.fabric.cabling.sessions import discover
from suanwang.model.errors import SuanwangError


def grid(leaves: int, spines: int, rate_bps: int = 0) -> list[Cable]:
    """Every leaf with every spine."""
    return [
        Cable(f"leaf{leaf}", f"up{spine}", f"spine{spine}", f"down{leaf}", rate_bps)
        for leaf in range(leaves)
        for spine in range(spines)
    ]


class Room:
    """Cables as they lie: the two plugs of each physical cable, and where they are. It knows nothing of the list."""

    def __init__(self, plugs: dict[End, End]) -> None:
        self.plugs = plugs

    @classmethod
    def of(cls, cables: Sequence[Cable], places: Sequence[End]) -> Room:
        """Cables whose ends, in the order of the list, are in these ports."""
        plugs: dict[End, End] = {}
        for number in range(len(cables)):
            one, other = places[2 * number], places[2 * number + 1]
            plugs[one], plugs[other] = other, one
        return cls(plugs)

    def carry_out(self, remedy: Remedy) -> None:
        """Exchange what is in two ports, or move the plug of the first to the second."""
        one, other = remedy.at
        assert one in self.plugs
        assert (other in self.plugs) == (len(remedy.cables) == 2)
        swap = {one: other, other: one}
        self.plugs = {swap.get(a, a): swap.get(b, b) for a, b in self.plugs.items()}

    def sightings(self) -> list[Sighting]:
        return [Sighting(one, other) for one, other in self.plugs.items()]


@given(st.integers(1, 5), st.integers(1, 4), st.data())
def test_remedies_mend_any_exchange_of_plugs(leaves: int, spines: int, data: st.DataObject) -> None:
    cables = grid(leaves, spines)
    ports = [end for cable in cables for end in ends(cable)]
    room = Room.of(cables, data.draw(st.permutations(ports)))
    before = compare(cables, room.sightings())
    wrong = sum(room.plugs[ends(cable)[0]] != ends(cable)[1] for cable in cables)
    assert len(before.right) == len(cables) - wrong
    assert before.clean == (wrong == 0)
    assert len(before.remedies) <= max(0, wrong - 1)
    for remedy in before.remedies:
        room.carry_out(remedy)
    assert compare(cables, room.sightings()).clean


@given(st.integers(1, 4), st.integers(1, 4), st.data())
def test_remedies_mend_what_can_be_mended(leaves: int, spines: int, data: st.DataObject) -> None:
    """Some cables are missing, some plugs are in ports of the same devices that no cable should have."""
    cables = grid(leaves, spines)
    ports = [end for cable in cables for end in ends(cable)]
    free = [End(f"leaf{leaf}", "spare") for leaf in range(leaves)]
    lying = data.draw(st.integers(0, len(cables)))
    places = data.draw(st.permutations([*ports, *free]))[: 2 * lying]
    room = Room.of(cables[:lying], places)
    found = compare(cables, room.sightings())
    for remedy in found.remedies:
        room.carry_out(remedy)
    after = compare(cables, room.sightings())
    assert after.remedies == ()
    assert len(after.right) >= len(found.right)
    assert {one.kind for one in after.findings} <= {"missing", "unexpected", "wrong"}


def heard(cables: Sequence[Cable], **changes: str) -> list[Sighting]:
    """Everything as listed, but for ports `NODE_PORT` that hear `NODE PORT` instead, or nothing."""
    found = []
    for cable in cables:
        for end, far in (ends(cable), ends(cable)[::-1]):
            told = changes.get(f"{end.node}_{end.port}", f"{far.node} {far.port}")
            if told:
                found.append(Sighting(end, End(*told.split()), cable.rate_bps))
    return found


def kinds(found: Comparison) -> list[tuple[str, str]]:
    return [(one.kind, str(one.at)) for one in found.findings]


def test_two_exchanged_cables_are_named() -> None:
    cables = grid(2, 2)
    found = compare(
        cables,
        heard(
            cables, leaf0_up0="spine1 down0", leaf0_up1="spine0 down0", spine0_down0="leaf0 up1",
            spine1_down0="leaf0 up0",
        ),
    )  # fmt: skip
    assert found.text() == (
        "2 of 4 cables are as listed\n"
        "  wrong: leaf0 up0 leads to spine1 down0; it should lead to spine0 down0\n"
        "  wrong: spine0 down0 leads to leaf0 up1; it should lead to leaf0 up0\n"
        "  wrong: leaf0 up1 leads to spine0 down0; it should lead to spine1 down0\n"
        "  wrong: spine1 down0 leads to leaf0 up0; it should lead to leaf0 up1\n"
        "  to do: exchange the plugs in leaf0 up0 and leaf0 up1: "
        "cables leaf0 up0 - spine0 down0 and leaf0 up1 - spine1 down0"
    )
    told = json.loads(json.dumps(found.as_dict()))
    assert told["remedies"][0]["at"] == [{"node": "leaf0", "port": "up0"}, {"node": "leaf0", "port": "up1"}]


def test_each_kind_of_trouble() -> None:
    cables = grid(2, 2, 200 * 10**9)
    assert compare(cables, heard(cables)).clean
    assert kinds(compare(cables, heard(cables, leaf0_up0="", spine0_down0=""))) == [("missing", "leaf0 up0")]
    assert kinds(compare(cables, heard(cables, spine0_down0=""))) == [("one-way", "leaf0 up0")]
    assert kinds(compare(cables, heard(cables, leaf0_up0="printer e0"))) == [("unknown", "leaf0 up0")]
    moved = compare(cables, heard(cables, leaf0_up0="spine0 down9", spine0_down0=""))
    assert kinds(moved) == [("wrong", "leaf0 up0"), ("missing", "spine0 down0")]
    assert str(moved.remedies[0]) == ("move the plug in spine0 down9 to spine0 down0: cable leaf0 up0 - spine0 down0")
    both = [*heard(cables), Sighting(End("leaf0", "up0"), End("phone", "e0"))]
    assert ("shared", "leaf0 up0") in kinds(compare(cables, both))
    extra = [*heard(cables), Sighting(End("leaf0", "e9"), End("phone", "e0"))]
    assert kinds(compare(cables, extra)) == [("unexpected", "leaf0 e9")]


def test_a_slow_cable_is_in_place_but_not_right() -> None:
    cables = grid(1, 1, 200 * 10**9)
    a, b = ends(cables[0])
    found = compare(cables, [Sighting(a, b, 100 * 10**9), Sighting(b, a)])
    assert [str(one) for one in found.findings] == ["leaf0 up0 runs at 100Gbps; it should run at 200Gbps"]
    assert len(found.right) == 1
    assert not found.clean


def test_nodes_that_do_not_listen_are_believed_by_others() -> None:
    cables = grid(1, 2)
    assert compare(cables, [Sighting(*ends(cable)) for cable in cables]).clean


@pytest.mark.parametrize("cables", [grid(1, 1) * 2, [Cable("a", "1", "a", "1")]])
def test_impossible_lists_are_refused(cables: list[Cable]) -> None:
    with pytest.raises(SuanwangError, match="the cabling list"):
        compare(cables, [])


# Sessions


def speaker(asn: int, *addresses: str, **more: Any) -> BgpInformation:
    return BgpInformation(tuple(PeeringAddress(ip_address(one)) for one in addresses), (asn,), **more)


def saying(node: str, port: str, bgp: BgpInformation | None) -> Advertisement:
    return Advertisement("02:00:00:00:00:01", port, system_name=node, bgp=bgp)


A, B = End("leaf0", "swp1"), End("leaf0", "swp2")


def test_link_local_addresses_give_a_session_for_each_cable() -> None:
    own = {A: speaker(65001, "fe80::1"), B: speaker(65001, "fe80::2")}
    said = {A: [saying("spine0", "swp1", speaker(65100, "fe80::a"))],
            B: [saying("spine0", "swp2", speaker(65100, "fe80::b"))]}  # fmt: skip
    found = discover(own, said)
    assert found.text() == (
        "leaf0 AS 65001 -> spine0 AS 65100 external fe80::a%swp1 over swp1 families all\n"
        "leaf0 AS 65001 -> spine0 AS 65100 external fe80::b%swp2 over swp2 families all"
    )
    assert json.loads(json.dumps(found.as_dict()))["sessions"][1]["address"] == "fe80::b"


def test_loopbacks_give_one_session_for_all_cables() -> None:
    own = {A: speaker(65001, "10.0.0.1"), B: speaker(65001, "10.0.0.1")}
    said = {end: [saying("spine0", end.port, speaker(65001, "10.0.0.9"))] for end in (A, B)}
    found = discover(own, said)
    assert found.text() == "leaf0 AS 65001 -> spine0 AS 65001 internal 10.0.0.9 over swp1,swp2 families all"


@pytest.mark.parametrize(
    ("ours", "theirs", "reason"),
    [
        (speaker(1, "fe80::1", group=1), speaker(2, "fe80::2", group=2), "session group 2"),
        (speaker(1, "fe80::1"), BgpInformation((PeeringAddress(ip_address("fe80::2")),)), "AS numbers"),
        (speaker(1, "fe80::1"), speaker(2), "offers no address"),
        (speaker(1, "fe80::1", key_chain="red"), speaker(2, "fe80::2", key_chain="blue"), "key chain 'blue'"),
        (speaker(1, "fe80::1", key_chain="red"), speaker(2, "fe80::2", key_chain="red"), "no way of using keys"),
    ],
)
def test_who_disagrees_gets_no_session(ours: BgpInformation, theirs: BgpInformation, reason: str) -> None:
    found = discover({A: ours}, {A: [saying("spine0", "swp1", theirs)]})
    assert found.sessions == ()
    assert reason in found.text()


def test_a_wrong_cable_gets_no_session() -> None:
    own = {A: speaker(65001, "fe80::1"), B: speaker(65001, "fe80::2")}
    said = {end: [saying("spine0", end.port, speaker(65100, "fe80::a"))] for end in (A, B)}
    found = discover(own, said, wrong={A})
    assert [one.ports for one in found.sessions] == [("swp2",)]
    assert found.refused[0][0] == A
    assert discover(own, {A: [saying("printer", "e0", None)]}) == discover({}, {})


def test_families_and_security_are_what_both_have() -> None:
    both = SessionCapability.MD5 | SessionCapability.TTL_SECURITY
    ours = replace(speaker(1, "fe80::1", capabilities=both, key_chain="red"),
                   addresses=(PeeringAddress(ip_address("fe80::1"), ((1, 1), (2, 1))),))  # fmt: skip
    theirs = replace(speaker(2, "fe80::2", capabilities=SessionCapability.MD5, key_chain="red"),
                     addresses=(PeeringAddress(ip_address("fe80::2"), ((2, 1), (25, 70))),))  # fmt: skip
    (session,) = discover({A: ours}, {A: [saying("spine0", "swp1", theirs)]}).sessions
    assert session.families == ((2, 1),)
    assert session.capabilities == SessionCapability.MD5
    assert str(session).endswith("families ipv6 key-chain red")
