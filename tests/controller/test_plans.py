"""Plans: what they say, that they are carried out verbatim or not at all, and what comes of plans made by others."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import msgspec
import pytest

from suanwang.controller.plan import Plan, PlannedChange, read_plan, seal
from suanwang.model.errors import SuanwangError

TWO = """\
{kind: Port, metadata: {name: web-1, tenant: retail, labels: {tier: front}}, spec: {subnet: web, node: host-2}}
---
{kind: Port, metadata: {name: web-2, tenant: retail}, spec: {subnet: web, node: host-2}}
"""


def refused(plan: Plan, world: Any) -> str:
    before = world.everything()
    with pytest.raises(SuanwangError) as caught:
        world.controller.apply(plan, "test")
    assert world.everything() == before
    return caught.value.code


def carried(plan: Plan) -> Plan:
    """As it is saved to a file and read again."""
    return read_plan(msgspec.json.encode(plan))


# --- what a plan says ---


def test_a_plan_says_what_would_change(world: Any) -> None:
    before = world.everything()
    plan = world.plan(TWO, ["Port/retail/web-1"][:0])
    assert world.everything() == before
    assert [(change.action, str(change.key), change.fields) for change in plan.changes] == [
        ("update", "Port/retail/web-1", ('labels.tier: (none) -> "front"', 'spec.node: "host-1" -> "host-2"')),
        ("create", "Port/retail/web-2", ()),
    ]
    assert plan.nodes == ("host-1", "host-2")
    assert plan.base_revision == world.store.revision
    created = plan.changes[1]
    assert (created.before, created.expect) == (None, 0)
    assert created.after["allocation"]["addresses"] == ["10.0.1.3"]


def test_a_deletion_says_what_goes(world: Any) -> None:
    plan = world.plan(delete=["Port/retail/web-1"])
    (change,) = plan.changes
    assert (change.action, change.after, change.fields) == ("delete", None, ())
    assert change.before["spec"]["subnet"] == "web"
    assert plan.nodes == ("host-1",)


def test_nothing_to_do_is_an_empty_plan(world: Any) -> None:
    plan = world.plan("{kind: Port, metadata: {name: web-1, tenant: retail}, spec: {subnet: web, node: host-1}}")
    assert (plan.changes, plan.nodes) == ((), ())
    revision = world.store.revision
    assert world.controller.apply(plan, "test").revision == revision


def test_labels_alone_touch_no_node(world: Any) -> None:
    text = "{kind: Port, metadata: {name: web-1, tenant: retail, labels: {a: b}}, spec: {subnet: web, node: host-1}}"
    plan = world.plan(text)
    assert [change.action for change in plan.changes] == ["update"]
    assert plan.nodes == ()


def test_equal_plans_have_equal_names_and_others_have_others(world: Any) -> None:
    assert world.plan(TWO).id == world.plan(TWO).id != world.plan(delete=["Port/retail/web-1"]).id


# --- carrying out ---


def test_a_saved_plan_is_carried_out_verbatim(world: Any) -> None:
    plan = carried(world.plan(TWO))
    applied = world.controller.apply(plan, "ann", "two ports")
    assert (applied.nodes, applied.changes) == (plan.nodes, plan.changes)
    assert world.stored("Port", "retail", "web-2") == plan.changes[1].after
    (commit,) = world.store.history(limit=1)
    assert (commit.author, commit.message, commit.revision) == ("ann", "two ports", applied.revision)


def test_what_was_promised_is_kept_while_it_is_free(world: Any) -> None:
    plan = world.plan("{kind: Port, metadata: {name: late, tenant: retail}, spec: {subnet: web}}")
    assert plan.changes[0].after["allocation"]["addresses"] == ["10.0.1.3"]
    world.apply("{kind: Port, metadata: {name: early, tenant: retail}, spec: {subnet: web, addresses: [10.0.1.4]}}")
    world.apply(delete=["Port/retail/web-1"])
    world.controller.apply(plan, "test")
    # 10.0.1.2 is free by now and would be given today; the plan said otherwise.
    assert world.stored("Port", "retail", "late")["allocation"]["addresses"] == ["10.0.1.3"]


def test_a_second_time_it_is_stale(world: Any) -> None:
    plan = world.plan(TWO)
    world.controller.apply(plan, "test")
    assert refused(plan, world) == "STALE_PLAN"


LATER: dict[str, tuple[str, list[str]]] = {
    "updated": ("{kind: Port, metadata: {name: web-1, tenant: retail}, spec: {subnet: web}}", []),
    "deleted": ("", ["Port/retail/web-1"]),
    "created": ("{kind: Port, metadata: {name: web-2, tenant: retail}, spec: {subnet: web}}", []),
}


@pytest.mark.parametrize("later", LATER)
def test_a_plan_is_stale_when_what_it_changes_was(later: str, world: Any) -> None:
    plan = world.plan(TWO)
    world.apply(*LATER[later])
    assert refused(plan, world) == "STALE_PLAN"


def test_a_plan_is_refused_when_what_it_was_promised_is_taken(world: Any) -> None:
    plan = world.plan(TWO)
    world.apply("{kind: Port, metadata: {name: thief, tenant: retail}, spec: {subnet: web, addresses: [10.0.1.3]}}")
    assert refused(plan, world) == "ALREADY_CLAIMED"


def test_a_plan_is_refused_when_what_it_names_is_gone(world: Any) -> None:
    plan = world.plan(TWO)
    world.apply(delete=["Port/retail/web-1", "Node/host-2"])
    assert refused(plan, world) == "STALE_PLAN"
    plan = world.plan("{kind: Subnet, metadata: {name: db, tenant: retail}, spec: {vpc: shop, cidr: 10.0.2.0/24}}")
    world.apply(delete=["Subnet/retail/web", "Vpc/retail/shop"])
    assert refused(plan, world) == "DANGLING_REFERENCE"


def test_a_deletion_is_refused_when_someone_leans_on_it_by_now(world: Any) -> None:
    world.apply("{kind: SecurityGroup, metadata: {name: open, tenant: retail}, spec: {vpc: shop}}")
    plan = world.plan(delete=["SecurityGroup/retail/open"])
    world.apply("{kind: Port, metadata: {name: web-2, tenant: retail}, spec: {subnet: web, securityGroups: [open]}}")
    assert refused(plan, world) == "IN_USE"


def test_changes_elsewhere_do_not_make_a_plan_stale(world: Any) -> None:
    plan = world.plan(TWO)
    world.apply("{kind: Vpc, metadata: {name: other, tenant: bank}, spec: {cidrs: [10.0.0.0/16]}}")
    assert world.controller.apply(plan, "test").nodes == ("host-1", "host-2")


# --- plans made by others ---


def test_an_altered_plan_is_refused(world: Any) -> None:
    whole = msgspec.to_builtins(world.plan(TWO))
    for path, value in {
        ("nodes",): [],
        ("changes", 0, "expect"): 0,
        ("baseRevision",): 77,
        ("warnings",): ["x"],
    }.items():
        copy = msgspec.json.decode(msgspec.json.encode(whole))
        inner: Any = copy
        for step in path[:-1]:
            inner = inner[step]
        inner[path[-1]] = value
        with pytest.raises(SuanwangError, match="altered") as caught:
            read_plan(copy)
        assert caught.value.code == "BAD_PLAN"


@pytest.mark.parametrize(
    "data",
    [b"", b"{}", b"[]", b"null", b'{"format": 1}', b"\xff", b"[" * 100_000, b'{"a":' * 100_000,
     b'{"format":99,"baseRevision":1,"changes":[],"nodes":[],"id":""}',
     b'{"format":1,"baseRevision":"x","changes":[],"nodes":[]}',
     b'{"format":1,"baseRevision":99999999999999999999999999,"changes":[],"nodes":[]}'],
)  # fmt: skip
def test_what_is_no_plan_is_refused(data: bytes) -> None:
    with pytest.raises(SuanwangError) as caught:
        read_plan(data)
    assert caught.value.code == "BAD_PLAN"


Forge = Callable[[dict[str, Any]], object]


def forged(world: Any, forge: Forge, text: str = TWO) -> Plan:
    """A plan whose last change was altered by someone who knows how to make its name good again."""
    whole = msgspec.to_builtins(world.plan(text))
    forge(whole["changes"][-1])
    return read_plan(msgspec.to_builtins(seal(msgspec.convert(whole, Plan))))


def allocated(**fields: Any) -> Forge:
    return lambda change: change["after"]["allocation"].update(fields)


def specified(**fields: Any) -> Forge:
    return lambda change: change["after"]["spec"].update(fields)


FORGED: dict[str, Forge] = {
    "an address outside": allocated(addresses=["10.0.9.9"]),
    "another's address": allocated(addresses=["10.0.1.2"]),
    "a reserved address": allocated(addresses=["10.0.1.1"]),
    "the broadcast address": allocated(addresses=["10.0.1.255"]),
    "two addresses": allocated(addresses=["10.0.1.3", "10.0.1.4"]),
    "no address": allocated(addresses=[]),
    "an address that is none": allocated(addresses=["10.0.1.3; drop"]),
    "an address with a line": allocated(addresses=["10.0.1.3\n"]),
    "an address of another type": allocated(addresses=[5]),
    "addresses of another type": allocated(addresses=5),
    "nested addresses": allocated(addresses=[["10.0.1.3"]]),
    "another MAC": allocated(mac="02:00:00:00:00:99"),
    "another VPC": allocated(vpc="bank/core"),
    "something more": allocated(surprise={"a": 1}),
    "an allocation that is none": lambda change: change["after"].update(allocation=[1]),
    "no spec": lambda change: change["after"].pop("spec"),
    "a spec that is none": lambda change: change["after"].update(spec=[1]),
    "an unknown field": specified(surprise=1),
    "a wrong value": specified(mac="not a MAC"),
    "a reference that leads nowhere": specified(subnet="gone"),
    "another tenant's subnet": specified(subnet="bank/web"),
    "a reference that is none": specified(subnet={"a": 1}),
    "labels that are none": lambda change: change["after"].update(labels={"a": [1]}),
    "many labels": lambda change: change["after"].update(labels={str(n): "x" for n in range(10_000)}),
    "a long label": lambda change: change["after"].update(labels={"a": "x" * 10**6}),
    "more parts": lambda change: change["after"].update(status={"conditions": []}),
    "a set that is none": lambda change: change["after"].update(set=["a"]),
    "an unknown kind": lambda change: change.update(kind="Surprise"),
    "another kind": lambda change: change.update(kind="Node"),
    "no tenant": lambda change: change.update(tenant=""),
    "a tenant that is not there": lambda change: change.update(tenant="nobody"),
    "a tenant that is none": lambda change: change.update(tenant="../retail"),
    "a name that is none": lambda change: change.update(name="web#1\nroute"),
    "an endless name": lambda change: change.update(name="a" * 10**6),
    "a revision of the future": lambda change: change.update(expect=10**6),
    "a negative revision": lambda change: change.update(expect=-1),
    "nothing at all": lambda change: change.update(after=None),
    "nothing at all of an unknown kind": lambda change: change.update(after=None, kind="Surprise"),
}  # fmt: skip


@pytest.mark.parametrize("what", FORGED)
def test_a_forged_plan_is_refused(what: str, world: Any) -> None:
    plan = forged(world, FORGED[what])
    assert refused(plan, world)
    assert world.controller.problems() == {}


VPC = "{kind: Vpc, metadata: {name: other, tenant: bank}, spec: {cidrs: [10.0.0.0/16]}}"


@pytest.mark.parametrize("vni", [0, -1, 2**24, 2**63, 1.5, "7", None, [7], 100])
def test_a_forged_vni_is_refused(vni: Any, world: Any) -> None:
    assert refused(forged(world, allocated(vni=vni), VPC), world) in {"STALE_PLAN", "ALREADY_CLAIMED"}


@pytest.mark.parametrize(
    "address", ["FD00:10:0:1::2", "fd00:10:0:1:0:0:0:2", "fd00:10:0:1::2%eth0", "fd00:10:0:1::2%x y"]
)
def test_an_address_has_one_text_only(address: str, world: Any) -> None:
    world.apply("""\
{kind: Vpc, metadata: {name: six, tenant: retail}, spec: {cidrs: ["fd00:10::/48"]}}
---
{kind: Subnet, metadata: {name: six, tenant: retail}, spec: {vpc: six, cidr: "fd00:10:0:1::/64"}}
""")
    text = "{kind: Port, metadata: {name: six-1, tenant: retail}, spec: {subnet: six, node: host-1}}"
    assert world.plan(text).changes[0].after["allocation"]["addresses"] == ["fd00:10:0:1::2"]
    assert refused(forged(world, allocated(addresses=[address]), text), world) == "STALE_PLAN"


def test_a_truth_is_no_number(world: Any) -> None:
    # To Python, 1 and True are equal: so what is stored is looked at.
    with suppress(SuanwangError):
        world.controller.apply(forged(world, allocated(vni=True), VPC), "test")
        assert type(world.stored("Vpc", "bank", "other")["allocation"]["vni"]) is int


def test_a_forged_gateway_is_refused(world: Any) -> None:
    text = "{kind: Subnet, metadata: {name: db, tenant: retail}, spec: {vpc: shop, cidr: 10.0.2.0/24}}"
    assert refused(forged(world, allocated(gateways=["10.0.2.7"]), text), world) == "STALE_PLAN"


@pytest.mark.parametrize("addresses", [["192.0.2.1"], [5], 5, ["x"], [None], {"a": 1}])
def test_a_forged_node_is_refused(addresses: Any, world: Any) -> None:
    text = "{kind: Node, metadata: {name: host-9}, spec: {region: east, roles: [host]}}"
    assert refused(forged(world, allocated(addresses=addresses), text), world)


def test_what_a_plan_says_of_before_and_of_nodes_counts_for_nothing(world: Any) -> None:
    def lie(change: dict[str, Any]) -> None:
        change.update(before={"spec": {"node": "host-9"}}, action="delete", fields=["nothing"])

    plan = msgspec.structs.replace(forged(world, lie), nodes=())
    assert world.controller.apply(plan, "test").nodes == ("host-1", "host-2")
    assert world.stored("Port", "retail", "web-2")["spec"]["node"] == "host-2"


def test_a_plan_that_names_a_resource_twice_is_refused(world: Any) -> None:
    plan = world.plan(TWO)
    for again in (plan.changes[-1], msgspec.structs.replace(plan.changes[0], after=None)):
        twice = seal(msgspec.structs.replace(plan, changes=(*plan.changes, again)))
        assert refused(twice, world) in {"BAD_PLAN", "STALE_PLAN"}


def test_a_huge_plan_is_refused_whole(world: Any) -> None:
    one = world.plan(TWO).changes[-1]
    many = tuple(msgspec.structs.replace(one, name=f"p{number}") for number in range(2000))
    assert refused(seal(Plan(1, world.store.revision, many, ())), world)
    after = {**(one.after or {}), "spec": {"subnet": "web", "securityGroups": ["x" * 1000] * 10_000}}
    large = PlannedChange("create", "Port", "retail", "large", 0, None, after)
    assert refused(seal(Plan(1, world.store.revision, (large,), ())), world)


# --- rollback ---


def test_a_rollback_brings_back_resources_claims_and_programs(world: Any) -> None:
    revision = world.controller.revision
    _, entries, claims, hashes = world.everything()
    world.apply(TWO)
    world.apply(delete=["Port/retail/web-1"])
    world.apply("{kind: Port, metadata: {name: thief, tenant: retail}, spec: {subnet: web, addresses: [10.0.1.2]}}")
    applied = world.controller.rollback(revision, "ann", "back")
    assert applied.revision == world.store.revision == revision + 4
    assert applied.nodes == ("host-1", "host-2")
    _, entries_now, claims_now, hashes_now = world.everything()
    assert [(entry.key, entry.body) for entry in entries_now] == [(entry.key, entry.body) for entry in entries]
    assert (claims_now, hashes_now) == (claims, hashes)
    assert world.store.history(limit=1)[0].message == "back"


def test_a_rollback_into_the_future_is_refused(world: Any) -> None:
    before = world.everything()
    with pytest.raises(SuanwangError):
        world.controller.rollback(world.store.revision + 1, "ann")
    assert world.everything() == before
