"""The plan of an underlay: every end of a link with its names, addresses and what happens to its packets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import pytest

from suanwang.model.errors import SuanwangError
from suanwang.model.reference import Key
from suanwang.topology.graph import Direction
from suanwang.topology.importing import import_topology
from suanwang.topology.kinds import INTERFACE
from suanwang.topology.underlay import NOT_ALLOCATED, UnderlayInterface, UnderlayLink, underlay_plan

BACKBONE = Path(__file__).parent.parent.parent / "examples" / "backbone" / "backbone.graph"


BOTH = ["10.1.0.0/24", "fd00::/64"]


class Declared(Protocol):
    def apply(self, *documents: dict[str, Any]) -> list[Any]: ...

    def documents(self) -> list[tuple[Key, dict[str, Any]]]: ...


def small(document: Callable[..., dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        document("Region", "r", underlay={"mtu": "1600B", "metric": "delay", "loopbacks": BOTH}),
        document("Region", "q", underlay={"routing": "ospf", "loopbacks": ["10.2.0.0/24"]}),
        document("Node", "a", region="r", roles=["host"]),
        document("Node", "b", region="r", roles=["router", "gateway"], asn=65000),
        document("Node", "c", region="q", roles=["router"]),
        document("Link", "ab", a={"node": "a", "interface": "eth1"}, b={"node": "b"}, capacity="1Gbps", latency="3ms",
                 loss="0.1%", reverse={"latency": "4ms"}),
        document("Link", "bc", a={"node": "b"}, b={"node": "c"}),
    ]  # fmt: skip


def test_a_plan_says_all_that_must_be_built(declared: Declared, document: Callable[..., dict[str, Any]]) -> None:
    declared.apply(*small(document))
    plan = underlay_plan(declared.documents())
    a, b, c = plan.nodes
    there = Direction(capacity_bps=10**9, latency_us=3000, loss_ppm=1000)
    back = Direction(capacity_bps=10**9, latency_us=4000, loss_ppm=1000)
    assert plan.links[0] == UnderlayLink("ab", "a", "eth1", "b", "a", 1600, there, back)
    assert a.interfaces == (UnderlayInterface("eth1", "ab", "b", "a", 1600, there),)
    # What b asks for comes first, so it has the first address too.
    assert (a.address, a.loopbacks, a.roles) == ("10.1.0.2", ("10.1.0.2/32", "fd00::2/128"), ("host",))
    assert [interface.outwards for interface in b.interfaces] == [back, Direction()]
    assert (b.asn, b.routing, b.metric) == (65000, "bgp", "delay")
    assert (c.region, c.routing, c.metric) == ("q", "ospf", "hops")
    # A link between regions carries what the smaller underlay does.
    assert plan.links[1].mtu_bytes == 1600


def test_links_that_leave_the_wanted_regions_are_left_out(
    declared: Declared, document: Callable[..., dict[str, Any]]
) -> None:
    declared.apply(*small(document))
    plan = underlay_plan(declared.documents(), frozenset({"r"}))
    assert ([node.name for node in plan.nodes], [link.name for link in plan.links]) == (["a", "b"], ["ab"])


def test_what_was_not_admitted_is_refused(declared: Declared, document: Callable[..., dict[str, Any]]) -> None:
    documents = [(Key(d["kind"], "", d["metadata"]["name"]), {"spec": d["spec"]}) for d in small(document)]
    with pytest.raises(SuanwangError) as caught:
        underlay_plan(documents)
    assert caught.value.code == NOT_ALLOCATED


def test_an_imported_backbone_can_be_built(declared: Declared) -> None:
    declared.apply(*import_topology(BACKBONE, region="isle"))
    plan = underlay_plan(declared.documents())
    assert (len(plan.nodes), len(plan.links)) == (12, 17)
    assert len({node.address for node in plan.nodes}) == len({node.asn for node in plan.nodes}) == 12
    for node in plan.nodes:
        names = [interface.name for interface in node.interfaces]
        assert len(set(names)) == len(names)
        assert all(INTERFACE.match(name) for name in names)
        assert node.metric == "delay"
    assert plan == underlay_plan(reversed(declared.documents()))
