"""Faults put into compiled programs: each must be found, on one node and, where all share the fragment, on all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from suanwang.controller.engine import Controller
from suanwang.model.reading import read_text
from suanwang.model.registry import load
from suanwang.model.resource import read_documents
from suanwang.program import objects
from suanwang.program.fragment import Fragment, fragment
from suanwang.program.objects import AnyObject, FilterRule
from suanwang.proof.prover import Prover
from suanwang.store import SqliteStore

ROOT = Path(__file__).parent.parent.parent
FILES = [
    ROOT / "examples/leaf-spine/region.yaml",
    ROOT / "examples/two-tenants/retail.yaml",
    ROOT / "examples/two-tenants/bank.yaml",
    Path(__file__).parent / "mesh.yaml",
]
ACME, RETAIL, BANK = "vpc/acme/lan", "vpc/retail/shop", "vpc/bank/core"

Places = dict[tuple[str, str], tuple[Fragment, ...]]
Edit = Callable[[Any], "Any"]


@pytest.fixture(scope="module")
def compiled() -> Iterator[Places]:
    """The programs of the examples and of the mesh, by node and owner."""
    registry = load()
    store = SqliteStore(":memory:")
    controller = Controller(store, registry)
    documents = [(str(path), one) for path in FILES for one in read_text(path.read_text(), str(path))]
    controller.apply(controller.plan(read_documents(documents, registry)), "test")
    found: Places = {}
    for node in controller.nodes():
        for part in controller.program(node).fragments:
            found[node, part.owner] = (*found.get((node, part.owner), ()), part)
    yield found
    store.close()


def findings(places: Places) -> set[str]:
    prover = Prover()
    prover.change(places)
    return {f"{one.code} {one.subject}" for one in prover.settle().findings}


def edited(places: Places, owner: str, edit: Edit, node: str = "") -> tuple[Places, int]:
    """The programs with each object of an owner put through `edit` (None: gone), on one node or on all."""
    found, changed = dict(places), 0
    for (on, whose), parts in places.items():
        if whose != owner or node not in ("", on):
            continue
        new = []
        for part in parts:
            items: list[AnyObject] = []
            for item in part.objects:
                made = edit(item)
                changed += made is not item
                items += made if isinstance(made, list) else [] if made is None else [made]
            new.append(fragment(part.owner, part.part, items))
        found[on, whose] = tuple(new)
    return found, changed


def having(kind: type[Any], make: Callable[[Any], Any], **fields: Any) -> Edit:
    """An edit of the objects of a kind that have these field values."""

    def edit(item: Any) -> Any:
        if isinstance(item, kind) and all(getattr(item, name) == value for name, value in fields.items()):
            return make(item)
        return item

    return edit


def gone(kind: type[Any], **fields: Any) -> Edit:
    return having(kind, lambda item: None, **fields)


def given(kind: type[Any], change: dict[str, Any], **fields: Any) -> Edit:
    return having(kind, lambda item: msgspec.structs.replace(item, **change), **fields)


def without_rule(direction: str, **fields: Any) -> Callable[[Any], Any]:
    def make(group: Any) -> Any:
        rules = getattr(group, direction)
        kept = tuple(r for r in rules if not all(getattr(r, name) == value for name, value in fields.items()))
        assert len(kept) < len(rules)
        return msgspec.structs.replace(group, **{direction: kept})

    return make


def rule_given(direction: str, change: dict[str, Any], **fields: Any) -> Callable[[Any], Any]:
    def make(group: Any) -> Any:
        rules = [
            msgspec.structs.replace(r, **change) if all(getattr(r, n) == v for n, v in fields.items()) else r
            for r in getattr(group, direction)
        ]
        assert tuple(rules) != getattr(group, direction)
        return msgspec.structs.replace(group, **{direction: tuple(rules)})

    return make


def with_rule(direction: str, rule: FilterRule) -> Callable[[Any], Any]:
    return lambda group: msgspec.structs.replace(group, **{direction: (*getattr(group, direction), rule)})


def swapped(kind: type[Any], name: str, one: str, other: str) -> Edit:
    """Two values of a field in each other's place."""

    def edit(item: Any) -> Any:
        if isinstance(item, kind) and getattr(item, name) in (one, other):
            return msgspec.structs.replace(item, **{name: other if getattr(item, name) == one else one})
        return item

    return edit


class Facts(NamedTuple):
    """Names that the compiler chose."""

    device: dict[str, str]
    table: int
    hop: dict[str, str]
    mac: dict[str, str]
    endpoint: dict[str, str]
    vni: dict[str, int]
    delivery: str


@pytest.fixture(scope="module")
def facts(compiled: Places) -> Facts:
    items = [(node, item) for (node, _), parts in compiled.items() for part in parts for item in part.objects]
    ends = {node: item for node, item in items if isinstance(item, objects.Vxlan) and item.netns == ACME}
    hops = {
        node: item.address
        for node, end in ends.items()
        for _, item in items
        if isinstance(item, objects.Neighbour) and item.netns == ACME and item.mac == end.mac
    }
    return Facts(
        {item.title: item.device for _, item in items if isinstance(item, objects.PortDevice)},
        next(item.table for _, item in items if isinstance(item, objects.RouteSelection) and item.netns == ACME),
        hops,
        {node: end.mac for node, end in ends.items()},
        {node: end.local for node, end in ends.items()},
        {item.netns: item.vni for _, item in items if isinstance(item, objects.Vxlan)},
        next(item.mac for _, item in items if isinstance(item, objects.Delivery) and item.netns == ACME),
    )


ONE, ALL = "one node", "all nodes"
GROUP, PORT, FILTER, ROUTE = objects.SecurityGroupFilter, objects.PortDevice, objects.PortFilter, objects.Route
NEIGHBOUR, FDB, VXLAN, DELIVERY = objects.Neighbour, objects.ForwardingEntry, objects.Vxlan, objects.Delivery
SET, ELEMENT, SELECTION, NAMESPACE = (
    objects.AddressSet, objects.AddressSetElement, objects.RouteSelection, objects.Namespace,
)  # fmt: skip

# (name, owner, node of the variant on one node or empty, also on all nodes, the edit, codes of which one must be found)
Fault = tuple[str, str, str, bool, Callable[[Facts], Edit], set[str]]
DISAGREE, ASSERTION, WRONG, MEET = {"NODES_DISAGREE"}, {"ASSERTION_FAILS"}, {"WRONG_DELIVERY"}, {"TENANTS_MEET"}
UNREACHABLE, NOWHERE, INCOMPLETE = {"UNREACHABLE_ADDRESS"}, {"ROUTE_LEADS_NOWHERE"}, {"INCOMPLETE_PROGRAM"}

FAULTS: list[Fault] = [
    ("ingress rule dropped", ACME, "host-3", True,
     lambda f: having(GROUP, without_rule("ingress", protocol="tcp"), name="db"), DISAGREE | ASSERTION),
    ("egress rule dropped", ACME, "host-1", True,
     lambda f: having(GROUP, without_rule("egress", protocol="udp"), name="web"), DISAGREE | ASSERTION),
    ("rule open to all protocols", ACME, "host-3", True,
     lambda f: having(GROUP, with_rule("ingress", FilterRule()), name="db"), DISAGREE | ASSERTION),
    ("egress rule too many", ACME, "host-1", True,
     lambda f: having(GROUP, with_rule("egress", FilterRule("tcp")), name="web"), DISAGREE | ASSERTION),
    ("rule's ports widened", ACME, "host-3", True,
     lambda f: having(GROUP, rule_given("ingress", {"ports": ((9000, 9010),)}, ports=((9000, 9009),)), name="db"),
     DISAGREE | ASSERTION),
    ("rule's ports narrowed", ACME, "host-3", True,
     lambda f: having(GROUP, rule_given("ingress", {"ports": ((9000, 9008),)}, ports=((9000, 9009),)), name="db"),
     DISAGREE | ASSERTION),
    ("rule's peer widened from a group to anyone", ACME, "host-3", True,
     lambda f: having(GROUP, rule_given("ingress", {"peer": "any"}, protocol="tcp"), name="db"),
     DISAGREE | ASSERTION),
    ("rule's prefix widened", ACME, "host-3", True,
     lambda f: having(GROUP, rule_given("ingress", {"peer": "10.0.1.0/27"}, ports=((7000, 7000),)), name="db"),
     DISAGREE | ASSERTION),
    ("rule's protocol wrong", ACME, "host-3", True,
     lambda f: having(GROUP, rule_given("ingress", {"protocol": "udp"}, protocol="tcp"), name="db"),
     DISAGREE | ASSERTION),
    ("rule's ICMP type wrong", ACME, "host-1", True,
     lambda f: having(GROUP, rule_given("ingress", {"icmp_type": 13}, protocol="icmp"), name="web"),
     DISAGREE | ASSERTION),
    ("prefix of a list widened", ACME, "host-3", True,
     lambda f: given(ELEMENT, {"prefix": "10.0.1.0/24"}, prefix="10.0.1.0/28"), DISAGREE | ASSERTION),
    ("prefix missing from a list", ACME, "host-3", True,
     lambda f: gone(ELEMENT, prefix="10.0.1.0/28"), DISAGREE | ASSERTION),
    ("member missing from a group's set", ACME, "host-3", True,
     lambda f: gone(ELEMENT, set="group/web", prefix="10.0.1.10/32"), DISAGREE | ASSERTION),
    ("member too many in a group's set", ACME, "host-3", True,
     lambda f: having(ELEMENT, lambda e: [e, msgspec.structs.replace(e, prefix="10.0.9.10/32")],
                      set="group/web", prefix="10.0.1.30/32"), DISAGREE | ASSERTION),
    ("address set missing", ACME, "host-3", True, lambda f: gone(SET, name="group/web"), INCOMPLETE),
    ("security group missing", ACME, "host-3", True, lambda f: gone(GROUP, name="db"), INCOMPLETE),
    ("group of nobody there missing", ACME, "host-3", False, lambda f: gone(GROUP, name="web"), DISAGREE),
    ("port filter missing", ACME, "", True,
     lambda f: gone(FILTER, device=f.device["acme/back-1"]), {"PORT_HAS_NO_FILTER"}),
    ("port filter in the open group", ACME, "", True,
     lambda f: given(FILTER, {"groups": ("open",)}, device=f.device["acme/back-1"]), ASSERTION),
    ("port filter in no group", ACME, "", True,
     lambda f: given(FILTER, {"groups": ()}, device=f.device["acme/back-1"]), ASSERTION),
    ("source widened", ACME, "", True,
     lambda f: having(FILTER, lambda p: msgspec.structs.replace(p, sources=("10.0.1.0/24", *p.sources[1:])),
                      device=f.device["acme/front-1"]), {"SOURCE_ADDRESS_NOT_ALLOWED"}),
    ("source missing", ACME, "", True,
     lambda f: having(FILTER, lambda p: msgspec.structs.replace(p, sources=p.sources[:1]),
                      device=f.device["acme/front-1"]), {"SOURCE_ADDRESS_NOT_ALLOWED"}),
    ("source of another port", ACME, "", True,
     lambda f: having(FILTER, lambda p: msgspec.structs.replace(p, sources=("10.0.1.20/32", *p.sources[1:])),
                      device=f.device["acme/front-1"]), {"SOURCE_ADDRESS_NOT_ALLOWED"}),
    ("filter's MAC wrong", ACME, "", True,
     lambda f: given(FILTER, {"mac": "02:00:00:00:00:99"}, device=f.device["acme/front-1"]),
     {"SOURCE_ADDRESS_NOT_ALLOWED"}),
    ("port's MAC wrong", ACME, "", True,
     lambda f: given(PORT, {"mac": "02:00:00:00:00:99"}, device=f.device["acme/front-1"]),
     {"SOURCE_ADDRESS_NOT_ALLOWED"}),
    ("port's address wrong", ACME, "", True,
     lambda f: given(PORT, {"addresses": ("10.0.1.11/24",)}, device=f.device["acme/front-1"]), WRONG | UNREACHABLE),
    ("gateway wrong", ACME, "", True,
     lambda f: given(PORT, {"gateways": ("10.0.1.20", "fe80::1")}, device=f.device["acme/front-1"]), DISAGREE),
    ("gateway's MAC wrong", ACME, "", True,
     lambda f: given(PORT, {"gateway_mac": "02:00:00:00:00:98"}, device=f.device["acme/front-1"]), DISAGREE),
    ("network identifier of nobody", ACME, "host-3", True,
     lambda f: having(VXLAN, lambda v: msgspec.structs.replace(v, vni=v.vni + 999) if v.local == f.endpoint["host-3"]
                      else v), UNREACHABLE | NOWHERE),
    ("network identifier of another tenant", ACME, "host-3", True,
     lambda f: given(VXLAN, {"vni": f.vni[BANK]}), {"DUPLICATE_TUNNEL"} | NOWHERE | MEET),
    ("UDP port wrong", ACME, "host-3", False, lambda f: given(VXLAN, {"udp_port": 4790}), NOWHERE),
    ("tunnel endpoint wrong", ACME, "host-3", False,
     lambda f: given(VXLAN, {"local": "192.0.2.250"}), UNREACHABLE | NOWHERE),
    ("tunnel's MAC wrong", ACME, "host-3", False,
     lambda f: given(VXLAN, {"mac": "02:00:00:00:00:97"}), UNREACHABLE | NOWHERE),
    ("tunnel missing", ACME, "host-3", True, lambda f: gone(VXLAN), UNREACHABLE | NOWHERE),
    ("next hops swapped", ACME, "host-1", True,
     lambda f: swapped(ROUTE, "via", f.hop["host-3"], f.hop["host-4"]), {"DETOUR"} | UNREACHABLE),
    ("forwarding entries swapped", ACME, "host-1", True,
     lambda f: swapped(FDB, "remote", f.endpoint["host-3"], f.endpoint["host-4"]), UNREACHABLE),
    ("neighbours swapped", ACME, "host-1", True,
     lambda f: swapped(NEIGHBOUR, "mac", f.mac["host-3"], f.mac["host-4"]), {"DETOUR"} | UNREACHABLE),
    ("neighbour's MAC wrong", ACME, "host-1", True,
     lambda f: given(NEIGHBOUR, {"mac": "02:00:00:00:00:96"}, mac=f.mac["host-3"]), UNREACHABLE),
    ("neighbour missing", ACME, "host-1", True, lambda f: gone(NEIGHBOUR, mac=f.mac["host-3"]), UNREACHABLE),
    ("forwarding entry missing", ACME, "host-1", True, lambda f: gone(FDB, mac=f.mac["host-3"]), UNREACHABLE),
    ("remote route missing", ACME, "host-1", True,
     lambda f: gone(ROUTE, destination="10.0.2.10/32", table=254), UNREACHABLE),
    ("IPv6 route missing", ACME, "host-1", True,
     lambda f: having(ROUTE, lambda r: None if ":" in r.destination and r.table == 254 else r), UNREACHABLE),
    ("remote route widened", ACME, "host-1", True,
     lambda f: given(ROUTE, {"destination": "10.0.2.8/29"}, destination="10.0.2.10/32"), NOWHERE | WRONG),
    ("local route widened", ACME, "", True,
     lambda f: given(ROUTE, {"destination": "10.0.1.20/30"}, destination="10.0.1.20/32",
                     device=f.device["acme/front-2"]), WRONG),
    ("local route missing", ACME, "", True,
     lambda f: gone(ROUTE, destination="10.0.1.20/32", device=f.device["acme/front-2"]), UNREACHABLE),
    ("route to the wrong port of the node", ACME, "", True,
     lambda f: given(ROUTE, {"device": f.device["acme/front-2"]}, destination="10.0.1.10/32",
                     device=f.device["acme/front-1"]), WRONG),
    ("route to a device that is not there", ACME, "host-1", True,
     lambda f: given(ROUTE, {"device": "vxlan0"}, destination="10.0.2.10/32", table=254), UNREACHABLE),
    ("route that drops", ACME, "host-1", True,
     lambda f: given(ROUTE, {"action": "blackhole"}, destination="10.0.2.10/32", table=254), UNREACHABLE),
    ("next hop of a table missing", ACME, "host-1", True,
     lambda f: gone(ROUTE, destination="0.0.0.0/0", table=f.table), DISAGREE | ASSERTION),
    ("next hop of a table to another node's router", ACME, "host-1", False,
     lambda f: given(ROUTE, {"via": f.hop["host-3"]}, destination="0.0.0.0/0", table=f.table), DISAGREE | NOWHERE),
    ("next hop of a table to another port", ACME, "host-2", False,
     lambda f: given(ROUTE, {"device": f.device["acme/front-3"]}, destination="0.0.0.0/0", table=f.table),
     DISAGREE | WRONG),
    ("next hop's neighbour missing", ACME, "host-1", True, lambda f: gone(NEIGHBOUR, mac=f.delivery), DISAGREE),
    ("next hop's forwarding entry wrong", ACME, "host-1", True,
     lambda f: given(FDB, {"remote": f.endpoint["host-3"]}, mac=f.delivery), DISAGREE | NOWHERE),
    ("delivery to another port", ACME, "", True,
     lambda f: given(DELIVERY, {"port": f.device["acme/front-3"]}), DISAGREE | WRONG),
    ("delivery to a port that is not there", ACME, "", True, lambda f: given(DELIVERY, {"port": "p-0"}), INCOMPLETE),
    ("delivery missing", ACME, "", True, lambda f: gone(DELIVERY), NOWHERE | DISAGREE),
    ("route selection missing", ACME, "", True,
     lambda f: gone(SELECTION, device=f.device["acme/front-1"]), DISAGREE | ASSERTION),
    ("route selection of a table that is not there", ACME, "", True,
     lambda f: given(SELECTION, {"table": 9999}, device=f.device["acme/front-1"]), DISAGREE | ASSERTION),
    ("route selection missing for a whole subnet", BANK, "", True, lambda f: gone(SELECTION), ASSERTION),
    ("blackhole removed", ACME, "host-1", True,
     lambda f: gone(ROUTE, action="blackhole"), DISAGREE | ASSERTION),
    ("blackhole narrowed", ACME, "host-1", True,
     lambda f: given(ROUTE, {"destination": "10.0.2.248/29"}, action="blackhole"), DISAGREE | ASSERTION),
    ("throw removed", ACME, "host-1", True, lambda f: gone(ROUTE, action="throw"), DISAGREE | ASSERTION),
    ("namespace not filtered", ACME, "host-3", True, lambda f: given(NAMESPACE, {"filtered": False}, netns=ACME),
     DISAGREE | INCOMPLETE),
    ("namespace not forwarding", ACME, "host-3", True, lambda f: given(NAMESPACE, {"forwarding": False}, netns=ACME),
     UNREACHABLE),
    ("all filters gone", ACME, "host-3", True,
     lambda f: lambda item: None if isinstance(item, (GROUP, FILTER)) else
     msgspec.structs.replace(item, filtered=False) if isinstance(item, NAMESPACE) else item, DISAGREE | ASSERTION),
]  # fmt: skip

VARIANTS = [(fault, node) for fault in FAULTS for node in ([fault[2]] if fault[2] else []) + ([""] if fault[3] else [])]


@pytest.mark.parametrize(
    ("fault", "node"), VARIANTS, ids=[f"{fault[0]}, {node or 'everywhere'}" for fault, node in VARIANTS]
)
def test_fault_is_found(fault: Fault, node: str, compiled: Places, facts: Facts) -> None:
    _, owner, _, _, edit, codes = fault
    places, changed = edited(compiled, owner, edit(facts), node)
    assert changed, "the fault is not in the programs"
    found = findings(places)
    assert {one.split()[0] for one in found} & codes, found


def test_without_faults_nothing_is_found(compiled: Places) -> None:
    assert findings(compiled) == set()


def test_there_are_enough_faults() -> None:
    assert len(FAULTS) >= 25


def moved(compiled: Places, title: str, owner: str, to: str, node: str) -> Places:
    """All that a port consists of on its node, put into another network's namespace there."""
    found = dict(compiled)
    taken: list[AnyObject] = []
    kept: list[Fragment] = []
    for part in compiled[node, owner]:
        device = next((i.device for i in part.objects if isinstance(i, PORT) and i.title == title), "")
        belong = [item for item in part.objects if device and device in (getattr(item, "device", ""),)]
        kept.append(fragment(part.owner, part.part, [item for item in part.objects if item not in belong]))
        taken += [msgspec.structs.replace(item, netns=to) for item in belong]  # type: ignore[type-var]
    assert taken
    found[node, owner] = tuple(kept)
    found[node, to] = (*compiled[node, to], fragment(to, "stray", taken))
    return found


def test_port_in_another_tenants_namespace(compiled: Places) -> None:
    places = moved(compiled, "bank/counter-1", BANK, RETAIL, "host-1")
    places, _ = edited(places, RETAIL, given(FILTER, {"groups": ("web",)}, groups=("open",)))
    found = findings(places)
    assert {one.split()[0] for one in found} & MEET, found


def test_network_identifier_of_another_tenant_everywhere_lets_them_meet_nowhere_unseen(
    compiled: Places, facts: Facts
) -> None:
    places, _ = edited(compiled, ACME, given(VXLAN, {"vni": facts.vni[BANK]}))
    places = {place: parts for place, parts in places.items() if not (place[0] == "host-3" and place[1] == BANK)}
    assert any(one.startswith("DUPLICATE_TUNNEL") for one in findings(places))


def test_finding_shows_the_packet_and_its_way(compiled: Places, facts: Facts) -> None:
    edit = having(GROUP, rule_given("ingress", {"peer": "any"}, protocol="tcp"), name="db")
    places, _ = edited(compiled, ACME, edit)
    prover = Prover()
    prover.change(places)
    one = next(f for f in prover.settle().findings if f.subject == "acme/no-sql-between-dbs")
    assert str(one.packet) == "tcp 10.0.2.200:49152 > 10.0.2.10:5432"
    assert [(step.node, step.code) for step in one.steps][-1] == ("host-3", "DELIVERED")
