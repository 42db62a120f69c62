"""Publications: an agent that follows has what the program has, whatever it says that it had before."""

from __future__ import annotations

from typing import Any

import pytest

from suanwang.controller.publication import Publication
from suanwang.program import wire
from suanwang.program.fragment import MODULUS, Fragment, fragment
from suanwang.program.objects import Namespace

MOVE = "{kind: Port, metadata: {name: web-1, tenant: retail}, spec: {subnet: web, node: host-2}}"
BACK = "{kind: Port, metadata: {name: web-1, tenant: retail}, spec: {subnet: web, node: host-1}}"
OTHER = """\
{kind: Vpc, metadata: {name: core, tenant: bank}, spec: {cidrs: [10.0.0.0/16]}}
---
{kind: Subnet, metadata: {name: web, tenant: bank}, spec: {vpc: core, cidr: 10.0.1.0/24}}
---
{kind: Port, metadata: {name: web-1, tenant: bank}, spec: {subnet: web, node: host-1}}
"""


def hello(node: str, have: dict[str, str] | None = None) -> wire.Hello:
    fingerprints = [int(one, 16) for one in (have or {}).values()]
    return wire.Hello(node, "0", 1, f"{sum(fingerprints) % MODULUS:032x}", have or {})


def wanted(world: Any, node: str) -> dict[str, str]:
    return {part.id: f"{part.fingerprint:032x}" for part in world.controller.program(node).fragments}


def applied(have: dict[str, str], update: wire.Update) -> dict[str, str]:
    put = [wire.decode_fragment(raw) for raw in update.put]
    rest = {id: fingerprint for id, fingerprint in have.items() if id not in update.remove}
    return {**rest, **{part.id: f"{part.fingerprint:032x}" for part in put}}


def test_an_agent_with_nothing_is_sent_everything(world: Any) -> None:
    publication = world.controller.publish(hello("host-1"), lambda: None)
    update = world.controller.next_update(publication)
    assert (update.remove, update.base, update.revision) == ((), "0" * 32, world.store.revision)
    assert update.hash == world.controller.hash("host-1")
    assert applied({}, update) == wanted(world, "host-1")
    assert world.controller.next_update(publication) is None


@pytest.mark.parametrize(
    "have",
    [
        {"vpc/retail/gone#common": "1" * 32},
        {"vpc/retail/shop#reach/host-9": "1" * 32},
        {"vpc/retail/shop#common": "1" * 32},
        {"no-such-form": "0", "": "f"},
        {"assertion/x/y#probe": "ab"},
    ],
)
def test_what_an_agent_has_too_much_or_otherwise_is_mended(have: dict[str, str], world: Any) -> None:
    half = dict(list(wanted(world, "host-1").items())[:1])
    have = {**half, **have}
    publication = world.controller.publish(hello("host-1", have), lambda: None)
    update = world.controller.next_update(publication)
    assert applied(have, update) == wanted(world, "host-1")


def test_an_agent_that_has_all_is_sent_nothing_but_the_word(world: Any) -> None:
    have = wanted(world, "host-1")
    update = world.controller.next_update(world.controller.publish(hello("host-1", have), lambda: None))
    assert (update.remove, update.put, update.base) == ((), (), update.hash)


def test_updates_hold_what_changed_only(world: Any) -> None:
    woken: list[int] = []
    publication = world.controller.publish(hello("host-1"), lambda: woken.append(1))
    have = applied({}, world.controller.next_update(publication))
    world.apply(OTHER)
    assert woken == [1]
    update = world.controller.next_update(publication)
    assert {wire.decode_fragment(raw).owner for raw in update.put} == {"vpc/bank/core"}
    have = applied(have, update)
    world.apply(MOVE)
    update = world.controller.next_update(publication)
    assert set(update.remove) == {id for id in have if id.startswith("vpc/retail/shop#")}
    assert applied(have, update) == wanted(world, "host-1")


def test_several_commits_are_one_update_and_back_again_is_none(world: Any) -> None:
    publication = world.controller.publish(hello("host-1"), lambda: None)
    first = world.controller.next_update(publication)
    world.apply(MOVE)
    world.apply(BACK)
    update = world.controller.next_update(publication)
    assert (update.remove, update.put, update.hash) == ((), (), first.hash)


def test_planning_wakes_nobody(world: Any) -> None:
    woken: list[int] = []
    publication = world.controller.publish(hello("host-1"), lambda: woken.append(1))
    world.controller.next_update(publication)
    world.plan(MOVE)
    assert woken == []
    assert world.controller.next_update(publication) is None


def test_who_went_away_is_not_woken(world: Any) -> None:
    woken: list[int] = []
    stays = world.controller.publish(hello("host-1"), lambda: woken.append(1))
    went = world.controller.publish(hello("host-1"), lambda: woken.append(2))
    world.controller.unpublish(went)
    world.controller.unpublish(went)
    world.apply(MOVE)
    assert woken == [1]
    world.controller.unpublish(stays)


def test_a_node_that_is_not_there_has_an_empty_program(world: Any) -> None:
    update = world.controller.next_update(world.controller.publish(hello("nobody"), lambda: None))
    assert (update.put, update.hash) == ((), "0" * 32)


def test_only_marked_owners_are_looked_at() -> None:
    publication = Publication(hello("n"), lambda: None)
    parts = {owner: fragment(owner, "common", [Namespace(owner)]) for owner in ("a", "b")}
    asked: list[frozenset[str] | None] = []

    def present(owners: frozenset[str] | None) -> list[Fragment]:
        asked.append(owners)
        return [part for owner, part in parts.items() if owners is None or owner in owners]

    assert publication.difference(present) == ((), (parts["a"], parts["b"]))
    assert not publication.pending
    publication.mark({"b"})
    parts["b"] = fragment("b", "other", [])
    assert publication.difference(present) == (("b#common",), (parts["b"],))
    publication.mark({"a"})
    del parts["a"]
    assert publication.difference(present) == (("a#common",), ())
    assert asked == [None, {"b"}, {"a"}]
