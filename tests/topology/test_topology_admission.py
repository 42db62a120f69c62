"""What is allocated to nodes and links: unique, kept, and found quickly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from suanwang.model.allocation import free_number
from suanwang.model.errors import ALREADY_CLAIMED, EXHAUSTED, SuanwangError
from suanwang.model.reference import Key
from suanwang.topology.admission import WRONG_REGION
from suanwang.topology.kinds import LONGEST_INTERFACE_NAME

Make = Callable[..., dict[str, Any]]


class Declared(Protocol):
    def apply(self, *documents: dict[str, Any], delete: tuple[Key, ...] = ()) -> list[Any]: ...

    def allocation(self, kind: str, name: str) -> dict[str, Any]: ...


def region(document: Make, name: str = "r", **underlay: Any) -> dict[str, Any]:
    return document("Region", name, underlay=underlay)


def node(document: Make, name: str, **spec: Any) -> dict[str, Any]:
    return document("Node", name, **{"region": "r", "roles": ["host"], **spec})


def test_nodes_get_an_address_of_each_version_and_a_number(declared: Declared, document: Make) -> None:
    asns = {"first": 65001, "last": 65009}
    declared.apply(
        region(document, loopbacks=["10.1.0.0/24", "fd00::/64"], asns=asns), node(document, "a"), node(document, "b")
    )
    assert declared.allocation("Node", "a") == {
        "address": "10.1.0.1",
        "addresses": ["10.1.0.1", "fd00::1"],
        "asn": 65001,
    }
    assert declared.allocation("Node", "b")["addresses"] == ["10.1.0.2", "fd00::2"]
    assert declared.allocation("Node", "b")["asn"] == 65002


def test_what_was_allocated_is_kept_when_the_node_changes(declared: Declared, document: Make) -> None:
    declared.apply(region(document), node(document, "a"), node(document, "b"))
    before = declared.allocation("Node", "b")
    declared.apply(delete=(Key("Node", "", "a"),))
    declared.apply(node(document, "b", capacity={"ports": 7}))
    assert declared.allocation("Node", "b") == before


def test_what_a_deleted_node_had_is_free_again(declared: Declared, document: Make) -> None:
    declared.apply(region(document, loopbacks=["10.1.0.0/30"]), node(document, "a"), node(document, "b"))
    with pytest.raises(SuanwangError) as caught:
        declared.apply(node(document, "c"))
    assert caught.value.code == EXHAUSTED
    declared.apply(node(document, "c"), delete=(Key("Node", "", "a"),))
    assert declared.allocation("Node", "c")["address"] == "10.1.0.1"


def test_a_second_range_is_used_when_the_first_is_full(declared: Declared, document: Make) -> None:
    declared.apply(region(document, loopbacks=["10.1.0.0/31", "10.2.0.0/24"]))
    declared.apply(*(node(document, name) for name in "abc"))
    assert [declared.allocation("Node", name)["address"] for name in "abc"] == ["10.1.0.0", "10.1.0.1", "10.2.0.1"]


def test_regions_that_share_a_range_do_not_share_addresses(declared: Declared, document: Make) -> None:
    declared.apply(region(document), region(document, "q"), node(document, "a"), node(document, "b", region="q"))
    assert declared.allocation("Node", "a")["address"] != declared.allocation("Node", "b")["address"]
    assert declared.allocation("Node", "a")["asn"] != declared.allocation("Node", "b")["asn"]


def test_a_fixed_address_wins_and_is_unique(declared: Declared, document: Make) -> None:
    fixed = "192.0.2.7"
    declared.apply(region(document), node(document, "a", address=fixed), node(document, "b", address="10.255.0.1"))
    declared.apply(node(document, "c"))
    assert declared.allocation("Node", "a")["addresses"] == [fixed]
    assert declared.allocation("Node", "c")["address"] == "10.255.0.2"
    with pytest.raises(SuanwangError, match="already Node/a's") as caught:
        declared.apply(node(document, "d", address=fixed))
    assert caught.value.code == ALREADY_CLAIMED


def test_fixed_numbers_may_be_shared_but_never_with_an_allocated_one(declared: Declared, document: Make) -> None:
    asns = {"first": 65000, "last": 65010}
    declared.apply(region(document, asns=asns), *(node(document, name, asn=65000) for name in "ab"))
    declared.apply(node(document, "c"))
    declared.apply(delete=(Key("Node", "", "a"),))
    declared.apply(node(document, "d"))
    assert [declared.allocation("Node", name)["asn"] for name in "bcd"] == [65000, 65001, 65002]
    with pytest.raises(SuanwangError, match="was allocated to Node/c"):
        declared.apply(node(document, "e", asn=65001))


def test_a_shared_number_is_not_kept_by_a_node_that_no_longer_fixes_it(declared: Declared, document: Make) -> None:
    declared.apply(region(document, asns={"first": 1, "last": 9}), *(node(document, name, asn=1) for name in "ab"))
    declared.apply(node(document, "a"))
    assert [declared.allocation("Node", name)["asn"] for name in "ab"] == [2, 1]


def test_no_number_left(declared: Declared, document: Make) -> None:
    declared.apply(region(document, asns={"first": 5, "last": 6}), node(document, "a"), node(document, "b"))
    with pytest.raises(SuanwangError, match="no AS number is free in 5-6"):
        declared.apply(node(document, "c"))


def test_a_site_is_of_the_nodes_region(declared: Declared, document: Make) -> None:
    place = {"latitude": 1, "longitude": 2}
    declared.apply(region(document), region(document, "q"), document("Site", "s", region="q", location=place))
    with pytest.raises(SuanwangError) as caught:
        declared.apply(node(document, "a", site="s"))
    assert caught.value.code == WRONG_REGION
    declared.apply(node(document, "a", site="s", region="q"))
    with pytest.raises(SuanwangError) as caught:
        declared.apply(document("Site", "s", region="r", location=place))
    assert caught.value.code == WRONG_REGION


def link(document: Make, name: str, a: str, b: str, **spec: Any) -> dict[str, Any]:
    return document("Link", name, a={"node": a}, b={"node": b}, **spec)


def test_interfaces_are_named_after_the_far_node_and_stay(declared: Declared, document: Make) -> None:
    declared.apply(region(document), *(node(document, name) for name in ("a", "b", "international-link-1")))
    declared.apply(link(document, "one", "a", "b"), link(document, "two", "a", "b"))
    declared.apply(link(document, "far", "a", "international-link-1"))
    assert declared.allocation("Link", "one") == {"aInterface": "b", "bInterface": "a"}
    second = declared.allocation("Link", "two")
    assert second["aInterface"].startswith("b-")
    assert len(declared.allocation("Link", "far")["aInterface"]) == LONGEST_INTERFACE_NAME
    declared.apply(delete=(Key("Link", "", "one"),))
    declared.apply(link(document, "two", "a", "b", latency="3ms"))
    assert declared.allocation("Link", "two") == second


def test_an_interface_is_of_one_link(declared: Declared, document: Make) -> None:
    declared.apply(region(document), *(node(document, name) for name in "abc"))
    fixed = {"node": "a", "interface": "eth1"}
    declared.apply(document("Link", "one", a=fixed, b={"node": "b"}))
    with pytest.raises(SuanwangError) as caught:
        declared.apply(document("Link", "two", a=fixed, b={"node": "c"}))
    assert caught.value.code == ALREADY_CLAIMED


def test_a_fixed_interface_is_admitted_before_one_that_is_made(declared: Declared, document: Make) -> None:
    declared.apply(region(document), *(node(document, name) for name in "abc"))
    declared.apply(
        link(document, "one", "a", "b"),
        document("Link", "two", a={"node": "a", "interface": "b"}, b={"node": "c"}),
    )
    assert declared.allocation("Link", "two")["aInterface"] == "b"
    assert declared.allocation("Link", "one")["aInterface"] != "b"


def test_a_node_has_one_peer_at_an_address(declared: Declared, document: Make) -> None:
    declared.apply(region(document), node(document, "a"), node(document, "b"))
    peer = {"asn": 64500, "address": "192.0.2.1", "relationship": "provider"}
    declared.apply(document("Peer", "p", node="a", **peer), document("Peer", "q", node="b", **peer))
    with pytest.raises(SuanwangError) as caught:
        declared.apply(document("Peer", "s", node="a", **peer))
    assert caught.value.code == ALREADY_CLAIMED


class Claims:
    """Sorted claims, and how often they were looked at."""

    def __init__(self, taken: set[int]) -> None:
        self.taken = sorted(f"{number:06d}/" for number in taken)
        self.asked = 0

    def values(self, scope: str, start: str = "", limit: int = 1000) -> list[str]:
        self.asked += 1
        return [value for value in self.taken if value >= start][:limit]


@given(st.sets(st.integers(0, 40)), st.integers(0, 40), st.integers(0, 40))
@settings(max_examples=300)
def test_the_search_finds_a_free_number_whenever_there_is_one(taken: set[int], first: int, size: int) -> None:
    last = first + size
    found = free_number(Claims(taken), "s", lambda n: f"{n:06d}", first, last)  # type: ignore[arg-type]
    free = set(range(first, last + 1)) - taken
    assert found in free if free else found is None


def test_the_search_is_short_among_many() -> None:
    claims = Claims(set(range(20_000)))
    assert free_number(claims, "s", lambda n: f"{n:06d}", 0, 65_535) == 20_000  # type: ignore[arg-type]
    assert claims.asked < 40
