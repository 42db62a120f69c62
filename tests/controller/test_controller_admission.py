"""Admission from the controller's side: races, pruning, limits, and that what is refused leaves nothing behind."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from suanwang.controller.engine import Controller
from suanwang.model.errors import ErrorList, Place, SuanwangError
from suanwang.model.reference import Key
from suanwang.model.registry import Resource
from suanwang.store import SqliteStore

SMALL = "{kind: Subnet, metadata: {name: small, tenant: retail}, spec: {vpc: shop, cidr: 10.0.9.0/27}}"


def port(name: str, more: str = "") -> str:
    return f"{{kind: Port, metadata: {{name: {name}, tenant: retail}}, spec: {{subnet: small{more}}}}}\n"


def codes(problem: SuanwangError) -> list[str]:
    return [one.code for one in (problem.errors if isinstance(problem, ErrorList) else [problem])]


# --- races ---


@pytest.mark.parametrize("controllers", [1, 2])
def test_threads_that_race_for_the_last_addresses(controllers: int, world: Any, tmp_path: Path) -> None:
    """29 addresses, 40 ports asked for by 8 threads: 29 get one each, 11 are told that none is left."""
    with SqliteStore(tmp_path / "store.db") as store:
        racing = [Controller(store, world.registry) for _ in range(controllers)]
        base = [Resource(entry.key, *_parts(world, entry.key)) for entry in world.store.list()]
        racing[0].apply(racing[0].plan([*base, *world.read(SMALL)]), "test")
        outcomes: list[str] = []
        start = threading.Barrier(8)

        def ask(number: int) -> None:
            controller = racing[number % controllers]
            start.wait(10)
            for index in range(5):
                (wanted,) = world.read(port(f"p{number}-{index}"))
                while True:
                    try:
                        controller.apply(controller.plan([wanted]), "test")
                        outcomes.append("given")
                    except SuanwangError as problem:
                        if problem.code in {"STALE_PLAN", "ALREADY_CLAIMED"}:
                            continue  # another was faster: plan again, as users do
                        outcomes.append(problem.code)
                    break

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert sorted(outcomes) == ["EXHAUSTED"] * 11 + ["given"] * 29
        claims = [claim for entry in store.list("Port", "retail") for claim in store.claims(entry.key)]
        values = [claim.value for claim in claims if claim.scope == "vpc/retail/shop/addresses"]
        assert len(values) == len(set(values)) == 30
        racing[0].catch_up()
        assert racing[0].hash("host-1") == Controller(store, world.registry).hash("host-1")


def _parts(world: Any, key: Key) -> tuple[Any, Any]:
    document = world.stored(*key)
    return world.registry.kind(key.kind).spec.model_validate(document["spec"]), document["labels"]


# --- sets and pruning ---


def in_set(world: Any, name: str, text: str) -> list[Resource]:
    return [replace(resource, set=name) for resource in world.read(text)]


def test_pruning_removes_what_left_its_set(world: Any) -> None:
    controller = world.controller
    first = in_set(world, "shop", SMALL + "\n---\n" + port("a") + "---\n" + port("b"))
    controller.apply(controller.plan(first), "test")
    controller.apply(controller.plan(in_set(world, "other", port("c"))), "test")
    plan = controller.plan(in_set(world, "shop", SMALL + "\n---\n" + port("a")), prune=True, set_name="shop")
    assert [(change.action, str(change.key)) for change in plan.changes] == [("delete", "Port/retail/b")]
    controller.apply(plan, "test")
    assert world.store.get(Key("Port", "retail", "c")) is not None
    # Applied without a set it stays in its own; with another one it moves there.
    controller.apply(controller.plan(world.read(port("a", ", node: host-1"))), "test")
    assert world.stored("Port", "retail", "a")["set"] == "shop"
    plan = controller.plan(in_set(world, "other", port("a", ", node: host-1")))
    assert plan.changes[0].fields == ('set: "shop" -> "other"',)
    controller.apply(plan, "test")
    assert controller.plan(in_set(world, "shop", SMALL), prune=True, set_name="shop").changes == ()


def test_pruning_stays_within_what_the_caller_may_change(world: Any) -> None:
    controller = world.controller
    mine = SMALL + "\n---\n" + port("a")
    others = "{kind: Vpc, metadata: {name: core, tenant: bank}, spec: {cidrs: [10.0.0.0/16]}}"
    controller.apply(controller.plan(in_set(world, "shared", mine + "---\n" + others)), "test")
    plan = controller.plan([], prune=True, set_name="shared", scope=lambda key: key.tenant == "retail")
    assert {str(change.key) for change in plan.changes} == {"Subnet/retail/small", "Port/retail/a"}


def test_pruning_what_others_lean_on_is_refused(world: Any) -> None:
    world.controller.apply(world.controller.plan(in_set(world, "s", SMALL)), "test")
    world.apply(port("a"))
    before = world.everything()
    with pytest.raises(SuanwangError) as caught:
        world.controller.plan([], prune=True, set_name="s")
    assert caught.value.code == "IN_USE"
    assert world.everything() == before


def test_pruning_needs_a_set(world: Any) -> None:
    with pytest.raises(SuanwangError, match="which set"):
        world.controller.plan([], prune=True)


# --- many, and all of them ---


def test_all_that_is_wrong_is_told_with_its_place(world: Any) -> None:
    before = world.everything()
    bad = [SMALL, *(port(f"p{number}", ", node: gone") for number in range(60))]
    resources = world.read("\n---\n".join(bad))
    places = {resource.key: Place("f.yaml", number) for number, resource in enumerate(resources, 1)}
    with pytest.raises(ErrorList) as caught:
        world.controller.plan(resources, places=places)
    assert codes(caught.value) == ["DANGLING_REFERENCE"] * 50
    assert str(caught.value.errors[0]).startswith("f.yaml:2: Port/retail/p0: spec.node names Node 'gone'")
    assert world.everything() == before


def test_a_vpc_has_a_limit_of_subnets(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("suanwang.vpc.admission.MOST_SUBNETS", 2)
    text = "{kind: Subnet, metadata: {name: s%d, tenant: retail}, spec: {vpc: shop, cidr: 10.0.%d.0/24}}"
    with pytest.raises(SuanwangError) as caught:
        world.apply("\n---\n".join(text % (number, number) for number in range(10, 15)))
    assert set(codes(caught.value)) == {"LIMIT"}


def test_vnis_run_out(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("suanwang.vpc.admission.LARGEST_VNI", 3)
    text = "{kind: Vpc, metadata: {name: v%d, tenant: bank}, spec: {cidrs: [10.0.0.0/16]}}"
    world.apply("\n---\n".join(text % number for number in range(3)))
    vnis = {world.stored("Vpc", "bank", f"v{number}")["allocation"]["vni"] for number in range(3)}
    assert vnis == {1, 2, 3}
    with pytest.raises(SuanwangError) as caught:
        world.apply(text % 3)
    assert codes(caught.value) == ["EXHAUSTED"]


def test_addresses_are_given_without_gaps_and_given_again(world: Any) -> None:
    world.apply(SMALL + "\n---\n" + "---\n".join(port(f"p{number:02}") for number in range(29)))
    given = [world.stored("Port", "retail", f"p{number:02}")["allocation"]["addresses"] for number in range(29)]
    assert given == [[f"10.0.9.{number}"] for number in range(2, 31)]
    world.apply(delete=["Port/retail/p07", "Port/retail/p21"])
    world.apply(port("new-1") + "---\n" + port("new-2"))
    assert world.stored("Port", "retail", "new-1")["allocation"]["addresses"] == ["10.0.9.9"]
    assert world.stored("Port", "retail", "new-2")["allocation"]["addresses"] == ["10.0.9.23"]


def test_a_whole_tenant_may_go_in_one_go(world: Any) -> None:
    with pytest.raises(SuanwangError) as caught:
        world.apply(delete=["Tenant/retail"])
    assert caught.value.code == "IN_USE"
    world.apply(delete=["Tenant/retail", "Vpc/retail/shop", "Subnet/retail/web", "Port/retail/web-1"])
    assert [entry.key for entry in world.store.list(tenant="retail")] == []
    assert world.controller.nodes() == set()
    assert world.store.owner("vni", "00000100") is None


def test_a_reference_by_the_own_tenant_is_the_same_as_a_bare_one(world: Any) -> None:
    bare = world.controller.hash("host-1")
    text = "{kind: Port, metadata: {name: web-1, tenant: retail}, spec: {subnet: retail/web, node: host-1}}"
    assert world.plan(text).changes == ()
    world.apply(text)
    assert world.controller.hash("host-1") == bare


def test_commits_of_others_are_caught_up_with_before_planning(world: Any) -> None:
    other = Controller(world.store, world.registry)
    other.apply(other.plan(world.read(SMALL)), "other")
    plan = world.plan(port("a", ", node: host-2"))
    assert plan.nodes == ("host-1", "host-2")
    assert world.controller.apply(plan, "test").nodes == ("host-1", "host-2")


def test_subscribers_hear_of_changed_nodes_only(world: Any) -> None:
    heard: list[tuple[frozenset[str], int]] = []
    world.controller.subscribe(lambda nodes, revision: heard.append((nodes, revision)))
    world.plan(SMALL + "\n---\n" + port("a", ", node: host-2"))
    world.apply("{kind: Tenant, metadata: {name: third}}")
    assert heard == []
    world.apply(SMALL + "\n---\n" + port("a", ", node: host-2"))
    assert heard == [(frozenset({"host-1", "host-2"}), world.store.revision)]


def test_ports_are_placed_on_hosts_only(world: Any) -> None:
    world.apply("{kind: Node, metadata: {name: leaf-1}, spec: {region: east, roles: [router]}}")
    with pytest.raises(SuanwangError, match="Node/leaf-1 is no host") as refused:
        world.plan("{kind: Port, metadata: {name: p, tenant: retail}, spec: {subnet: web, node: leaf-1}}")
    assert refused.value.code == "WRONG_ROLE"
