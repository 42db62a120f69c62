"""The gate: what breaks a promise is refused with a packet that shows it; nothing else is."""

from __future__ import annotations

from typing import Any

import pytest

from suanwang.controller.engine import Controller
from suanwang.model.errors import SuanwangError
from suanwang.model.reference import Key

NETWORK = """\
{kind: SecurityGroup, metadata: {name: web, tenant: retail}, spec: {vpc: shop, rules: [
  {direction: ingress, protocol: tcp, ports: [443]}]}}
---
{kind: Port, metadata: {name: web-2, tenant: retail}, spec: {subnet: web, node: host-2, securityGroups: [web]}}
---
{kind: Assertion, metadata: {name: https, tenant: retail}, spec: {
  from: {port: web-1}, to: {port: web-2}, protocol: tcp, port: 443}}
---
{kind: Assertion, metadata: {name: no-ssh, tenant: retail}, spec: {
  from: {port: web-1}, to: {port: web-2}, protocol: tcp, port: 22, expect: denied}}
"""

OPENED = NETWORK.replace("ports: [443]", "ports: [22, 443]").split("---")[0]
CLOSED = NETWORK.replace("ports: [443]", "ports: [80]").split("---")[0]


def test_a_good_plan_is_proven(world: Any) -> None:
    plan = world.plan(NETWORK)
    assert (plan.broken, plan.assertions_proven, plan.networks_proven) == ((), 2, 1)
    world.apply(NETWORK)
    verdict = world.controller.prove()
    assert verdict.proven
    assert verdict.assertions == 2


@pytest.mark.parametrize(
    ("change", "subject", "packet"),
    [
        (CLOSED, "retail/https", "tcp 10.0.1.2:49152 > 10.0.1.3:443"),
        (OPENED, "retail/no-ssh", "tcp 10.0.1.2:49152 > 10.0.1.3:22"),
    ],
)
def test_what_breaks_an_assertion_is_refused_with_a_packet(world: Any, change: str, subject: str, packet: str) -> None:
    world.apply(NETWORK)
    before = world.controller.hash("host-2")
    plan = world.plan(change)
    assert [(one.subject, one.packet) for one in plan.broken] == [(subject, packet)]
    with pytest.raises(SuanwangError, match=packet.replace(".", r"\.")) as refused:
        world.controller.apply(plan, "ann")
    assert refused.value.code == "PROOF_FAILS"
    assert f"--accept {subject}" in refused.value.hint
    assert (world.controller.hash("host-2"), world.store.revision) == (before, world.controller.revision)


def test_what_is_accepted_is_carried_out_and_stays_known(world: Any) -> None:
    world.apply(NETWORK)
    world.controller.apply(world.plan(CLOSED), "ann", accept={"retail/https"})
    assert [one.subject for one in world.controller.prove().findings] == ["retail/https"]
    # It was broken before, so the next change, which has nothing to do with it, is not blamed.
    other = "{kind: Port, metadata: {name: web-3, tenant: retail}, spec: {subnet: web, node: host-1}}"
    assert world.plan(other).broken == ()
    mending = world.plan(NETWORK.split("---")[0])
    assert [one.subject for one in mending.mended] == ["retail/https"]
    world.controller.apply(mending, "ann")
    assert world.controller.prove().proven


def test_accepting_something_else_does_not_help(world: Any) -> None:
    world.apply(NETWORK)
    with pytest.raises(SuanwangError) as refused:
        world.controller.apply(world.plan(CLOSED), "ann", accept={"retail/no-ssh"})
    assert refused.value.code == "PROOF_FAILS"


def test_a_change_elsewhere_may_break_it_too(world: Any) -> None:
    world.apply(NETWORK)
    plan = world.plan(delete=["Assertion/retail/https"])
    assert plan.broken == ()
    unplaced = "{kind: Port, metadata: {name: web-2, tenant: retail}, spec: {subnet: web, securityGroups: [web]}}"
    # A port that is on no node has no probe: that is a condition on the assertion, not a broken promise of programs.
    assert world.plan(unplaced).broken == ()
    table = """\
{kind: RouteTable, metadata: {name: dark, tenant: retail}, spec: {vpc: shop, routes: [
  {destination: 10.0.1.0/24, nextHop: {blackhole: true}}]}}
---
{kind: Subnet, metadata: {name: web, tenant: retail}, spec: {vpc: shop, cidr: 10.0.1.0/24, routeTable: dark}}
"""
    broken = world.plan(table).broken
    assert [(one.code, one.subject) for one in broken] == [("ASSERTION_FAILS", "retail/https")]
    assert any("drops" in step for step in broken[0].steps)


def test_a_rollback_is_judged_too(world: Any) -> None:
    world.apply(NETWORK)
    world.controller.apply(world.plan(CLOSED), "ann", accept={"retail/https"})
    broken = world.store.revision
    world.controller.apply(world.plan(NETWORK.split("---")[0]), "ann")
    with pytest.raises(SuanwangError) as refused:
        world.controller.rollback(broken, "ann")
    assert refused.value.code == "PROOF_FAILS"
    world.controller.rollback(broken, "ann", accept={"retail/https"})


def test_a_new_controller_judges_the_same(world: Any) -> None:
    world.apply(NETWORK)
    again = Controller(world.store, world.registry)
    plan = again.plan(world.read(CLOSED))
    assert [one.subject for one in plan.broken] == ["retail/https"]
    assert again.prove().proven


def test_planning_leaves_no_trace(world: Any) -> None:
    world.apply(NETWORK)
    hashes = {node: world.controller.hash(node) for node in world.controller.nodes()}
    for _ in range(3):
        world.plan(CLOSED)
        world.plan(OPENED)
        world.plan(delete=["Assertion/retail/https", "Assertion/retail/no-ssh", "Port/retail/web-2"])
    assert {node: world.controller.hash(node) for node in world.controller.nodes()} == hashes
    assert world.plan(NETWORK).changes == ()
    assert world.controller.prove().proven


def test_the_way_of_a_packet(world: Any) -> None:
    world.apply(NETWORK)
    source, target = Key("Port", "retail", "web-1"), Key("Port", "retail", "web-2")
    there, back = world.controller.trace(source, target, "tcp", 443)
    assert (there.code, there.port) == ("DELIVERED", "retail/web-2")
    assert back is not None
    assert back.port == "retail/web-1"
    assert {step.node for step in there.steps} == {"host-1", "host-2"}
    there, back = world.controller.trace(source, target, "tcp", 22)
    assert (there.code, back) == ("SECURITY_GROUP_DENIES_INGRESS", None)
    there, _ = world.controller.trace(source, "10.0.9.9", "icmp", 0)
    assert there.code == "NO_ROUTE_TO_DESTINATION"
    with pytest.raises(SuanwangError, match="no Port/retail/nobody"):
        world.controller.trace(Key("Port", "retail", "nobody"), target, "icmp", 0)
    with pytest.raises(SuanwangError, match="no address of the IP version"):
        world.controller.trace(source, "fd00::1", "icmp", 0)
