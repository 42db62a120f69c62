"""Documents in the store that admission would not have let through: of another release, or written by hand.

Each becomes a problem of its resource. Nothing else stops, and applying the resource anew mends it.
"""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest

from suanwang.model.errors import SuanwangError
from suanwang.model.reading import read_text
from suanwang.model.reference import Key
from suanwang.model.resource import check, encode, stored_document
from suanwang.program import wire

GOOD = """\
{apiVersion: suanwang/v1, kind: Region, metadata: {name: east}, spec: {}}
---
{apiVersion: suanwang/v1, kind: Node, metadata: {name: host-1}, spec: {region: east, roles: [host], address: 192.0.2.1}}
---
{apiVersion: suanwang/v1, kind: Node, metadata: {name: host-2}, spec: {region: east, roles: [host], address: 192.0.2.2}}
---
{apiVersion: suanwang/v1, kind: Tenant, metadata: {name: retail}}
---
{apiVersion: suanwang/v1, kind: Vpc, metadata: {name: shop, tenant: retail}, spec: {cidrs: [10.0.0.0/16]}}
---
{apiVersion: suanwang/v1, kind: Subnet, metadata: {name: web, tenant: retail}, spec: {vpc: shop, cidr: 10.0.1.0/24}}
---
{apiVersion: suanwang/v1, kind: Port, metadata: {name: web-1, tenant: retail}, spec: {subnet: web, node: host-1}}
"""
VICTIMS = {
    "Vpc": "{cidrs: [10.0.0.0/16]}",
    "PrefixList": "{prefixes: [10.0.0.0/8]}",
    "SecurityGroup": "{vpc: shop, rules: [{direction: ingress, cidr: 10.0.0.0/8}]}",
    "RouteTable": "{vpc: shop, routes: [{destination: 10.9.0.0/16, nextHop: {port: web-1}}]}",
    "Subnet": "{vpc: shop, cidr: 10.0.2.0/24}",
    "Port": "{subnet: web, node: host-2, bandwidthIn: 1Gbps, allowedAddressPairs: [{prefix: 10.0.9.0/24}]}",
    "Assertion": "{from: {port: web-1}, to: {address: 10.0.1.9}}",
}
EMPTY: dict[str, Any] = {"labels": {}, "spec": {}, "allocation": {}}


def victim(world: Any, kind: str) -> Any:
    text = f"{{apiVersion: suanwang/v1, kind: {kind}, metadata: {{name: bad, tenant: retail}}, spec: {VICTIMS[kind]}}}"
    return check(read_text(text, "f")[0], world.registry)


def bodies(world: Any, kind: str) -> list[bytes]:
    """Bodies that are no resource, and the good one with one value after the other replaced by what it can't be."""
    whole = json.loads(encode({**stored_document(victim(world, kind)), "allocation": allocation(kind)}))
    found = [b"", b"not json", b"[]", b"5", b"{}", encode(EMPTY), b'{"labels":{},"spec":5,"allocation":{}}']
    for part in ("spec", "allocation"):
        for field in whole[part]:
            rest = {name: value for name, value in whole[part].items() if name != field}
            found.append(encode({**whole, part: rest}))
            found += [encode({**whole, part: {**rest, field: odd}}) for odd in (5, None, [5], {"a": 1}, "?", [], True)]
    return found


def allocation(kind: str) -> dict[str, Any]:
    port = {"addresses": ["10.0.1.77"], "mac": "02:00:00:00:00:77", "vpc": "retail/shop"}
    return {"Vpc": {"vni": 7}, "Subnet": {"gateways": ["10.0.2.1"]}, "Port": port}.get(kind, {})


def decodable(world: Any, node: str) -> None:
    for part in world.controller.program(node).fragments:
        assert wire.decode_fragment(wire.encode_fragment(part)) == part


@pytest.mark.parametrize("kind", VICTIMS)
def test_a_foreign_document_stops_nothing_else(kind: str, world: Any) -> None:
    key = Key(kind, "retail", "bad")
    world.apply(GOOD)
    healthy = world.text("host-1")
    told = 0
    for body in bodies(world, kind):
        with world.store.begin("another release") as transaction:
            transaction.put(key, body)
        world.controller.catch_up()
        told += key in world.controller.problems()
        assert set(world.controller.problems()) <= {key}
        for node in ("host-1", "host-2"):
            decodable(world, node)
        # Others can go on, and be added.
        port = GOOD.rpartition("---\n")[2].replace("web-1", "web-2").replace("host-1", "host-2")
        assert "host-2" in world.apply(port).nodes
        assert "retail/web-2" in world.text("host-2")
        world.apply(delete=[Key("Port", "retail", "web-2")])
        fresh = type(world.controller)(world.store, world.registry)
        assert set(fresh.problems()) <= {key}
        fresh.program("host-2").text()
    assert told >= 7
    plan = world.controller.plan([victim(world, kind)])
    world.carry_out(plan)
    assert world.controller.problems() == {}
    world.apply(delete=[key])
    assert world.text("host-1") == healthy


@pytest.mark.parametrize("kind", ["Vpc", "Subnet", "SecurityGroup", "RouteTable", "Port"])
def test_what_names_a_foreign_document_is_refused_with_a_code(kind: str, world: Any) -> None:
    users = {
        "Vpc": ("Subnet", "{vpc: bad, cidr: 10.0.5.0/24}"),
        "Subnet": ("Port", "{subnet: bad, node: host-1}"),
        "SecurityGroup": ("Port", "{subnet: web, node: host-1, securityGroups: [bad]}"),
        "RouteTable": ("Subnet", "{vpc: shop, cidr: 10.0.5.0/24, routeTable: bad}"),
        "Port": ("RouteTable", "{vpc: shop, routes: [{destination: 10.9.0.0/16, nextHop: {port: bad}}]}"),
    }
    world.apply(GOOD)
    user, spec = users[kind]
    text = f"{{apiVersion: suanwang/v1, kind: {user}, metadata: {{name: user, tenant: retail}}, spec: {spec}}}"
    resource = check(read_text(text, "f")[0], world.registry)
    for body in bodies(world, kind):
        if b'"cidr":true' in body:
            continue  # Python takes it for 0.0.0.1, with a warning that is an error in tests
        with world.store.begin("another release") as transaction:
            transaction.put(Key(kind, "retail", "bad"), body)
        world.controller.catch_up()
        with suppress(SuanwangError):
            world.controller.plan([resource])


def test_what_was_put_aside_comes_back_with_what_it_lacked(world: Any) -> None:
    world.apply(GOOD)
    assertion = """\
{apiVersion: suanwang/v1, kind: Assertion, metadata: {name: a, tenant: retail},
 spec: {from: {port: lost}, to: {port: web-1}}}"""
    subnet = check(read_text(GOOD.split("---\n")[5], "f")[0], world.registry)
    lost = stored_document(check(read_text(GOOD.rpartition("---\n")[2], "f")[0], world.registry))
    lost = {**lost, "spec": {**lost["spec"], "subnet": "late"}, "allocation": allocation("Port")}
    probe = stored_document(check(read_text(assertion, "f")[0], world.registry))
    with world.store.begin("another release") as transaction:
        transaction.put(Key("Port", "retail", "lost"), encode(lost))
        transaction.put(Key("Assertion", "retail", "a"), encode(probe))
    world.controller.catch_up()
    assert {key.name for key in world.controller.problems()} == {"lost", "a"}
    with world.store.begin("another release") as transaction:
        late = {**stored_document(subnet), "allocation": {"gateways": ["10.0.1.1"]}}
        transaction.put(Key("Subnet", "retail", "late"), encode(late))
    assert world.controller.catch_up()[0] == {"host-1"}
    assert world.controller.problems() == {}
    assert "retail/lost" in world.text("host-1")
    assert "probe assertion=retail/a" in world.text("host-1")


def test_what_can_not_be_carried_out_closes_and_does_not_open(world: Any) -> None:
    """A next hop of the other IP version, and a port in a group that is not there."""
    world.apply(GOOD)
    table = {"vpc": "shop", "routes": [{"destination": "::/0", "nextHop": {"port": "web-1"}}]}
    port = {"subnet": "web", "node": "host-2", "securityGroups": ["gone"]}
    with world.store.begin("another release") as transaction:
        transaction.put(Key("RouteTable", "retail", "six"), encode({**EMPTY, "spec": table}))
        body = encode({**EMPTY, "spec": port, "allocation": allocation("Port")})
        transaction.put(Key("Port", "retail", "lone"), body)
    assert world.controller.catch_up()[0] == {"host-1", "host-2"}
    for node in ("host-1", "host-2"):
        routes = [line for line in world.text(node).splitlines() if "destination=::/0" in line]
        assert [line.rpartition(" ")[2] for line in routes] == ["action=blackhole"]
    assert "groups=[]" in next(line for line in world.text("host-2").splitlines() if line.startswith("port-filter"))
