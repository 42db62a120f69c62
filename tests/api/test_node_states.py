"""What the controller knows of agents, and conditions: alone, without a server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from suanwang.controller.conditions import Conditions
from suanwang.controller.node_states import NodeStates
from suanwang.model.conditions import Status
from suanwang.model.errors import INVALID, SuanwangError
from suanwang.model.reference import Key
from suanwang.program.wire import Report
from suanwang.store import SqliteStore


def connected(*nodes: str) -> NodeStates:
    states = NodeStates()
    for node in nodes:
        states.connected(node, "1", "same", wanted_hash="same", revision=0)
    return states


def report(revision: int, *, pending: int = 0, failed: int = 0) -> Report:
    return Report(revision, "h", 1, pending, failed, (("object", "CODE", "why"),) if failed else ())


def test_a_node_is_behind_until_it_reports() -> None:
    states = connected("a", "b")
    states.changed(["a"], 5)
    assert states.behind(5).waiting == ("a",)
    assert states.behind(4).waiting == ()  # nothing that this revision changed is missing
    states.reported("a", report(5, pending=1), current=True)
    assert states.behind(5).waiting == ("a",)
    states.reported("a", report(5), current=True)
    assert states.behind(5) == states.behind(0)


def test_a_report_of_another_program_counts_for_nothing() -> None:
    """After the store was made anew, an agent may report a far greater revision than the present one."""
    states = connected("a")
    states.changed(["a"], 5)
    states.reported("a", report(900), current=False)
    assert states.behind(5).waiting == ("a",)


def test_a_report_in_between_settles_what_it_covers() -> None:
    states = connected("a")
    for revision in (5, 6, 7):
        states.changed(["a"], revision)
    states.reported("a", report(6), current=True)
    assert states.behind(5).waiting == ()
    assert states.behind(7).waiting == ("a",)


def test_who_is_away_is_absent_and_who_refuses_fails() -> None:
    states = connected("a", "b")
    states.changed(["a", "b", "c"], 5)
    states.disconnected("b")
    states.refused("a", "NEWER_PROGRAM", "too new")
    found = states.behind(5)
    assert (found.waiting, found.absent) == ((), ("b", "c"))
    assert found.failed == {"a": (("", "NEWER_PROGRAM", "too new"),)}
    states.forget("c")
    assert states.behind(5).absent == ("b",)


def test_a_node_that_failed_is_named_for_the_revisions_that_touched_it() -> None:
    states = connected("a", "b")
    states.changed(["a"], 5)
    states.reported("a", report(5, failed=1), current=True)
    states.changed(["b"], 6)
    states.reported("b", report(6), current=True)
    assert list(states.behind(5).failed) == ["a"]
    assert list(states.behind(6).failed) == []
    assert list(states.behind(1).failed) == ["a"]  # unknown: rather too much than too little


def test_an_agent_that_connects_with_another_program_is_behind() -> None:
    states = NodeStates()
    states.connected("a", "1", "old", wanted_hash="new", revision=9)
    assert states.behind(9).waiting == ("a",)
    assert states.count_connected() == 1


def test_waits_sleep_until_something_happens() -> None:
    async def main() -> None:
        states = connected("a", "b")
        states.changed(["a", "b"], 5)
        waits = [asyncio.create_task(states.wait(5, 20)) for _ in range(3)]
        await asyncio.to_thread(states.reported, "a", report(5), current=True)
        await asyncio.sleep(0)
        assert not any(wait.done() for wait in waits)
        await asyncio.to_thread(states.reported, "b", report(5), current=True)
        assert [(await wait).waiting for wait in waits] == [()] * 3
        states.changed(["a"], 6)
        assert (await states.wait(6, 0.01)).waiting == ("a",)
        states.disconnected("a")
        assert (await states.wait(6, 20)).absent == ("a",)

    asyncio.run(main())


@given(st.lists(st.tuples(st.sampled_from("cr"), st.sampled_from("ab")), max_size=40))
def test_behind_agrees_with_an_oracle(events: list[tuple[str, str]]) -> None:
    """Each event is a commit that changes a node, or a report of that node that it has everything so far."""
    states = connected("a", "b")
    missing: dict[str, set[int]] = {"a": set(), "b": set()}
    revision = 0
    for what, node in events:
        if what == "c":
            revision += 1
            states.changed([node], revision)
            missing[node].add(revision)
        else:
            states.reported(node, report(revision), current=True)
            missing[node].clear()
        for asked in range(revision + 1):
            wanted = tuple(one for one in "ab" if any(missed <= asked for missed in missing[one]))
            assert states.behind(asked).waiting == wanted


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    with SqliteStore(tmp_path / "store.db") as made, made.begin("test") as transaction:
        for key in (PORT, NODE):
            transaction.put(key, b"{}")
    with SqliteStore(tmp_path / "store.db") as made:
        yield made


PORT = Key("Port", "red", "web")
NODE = Key("Node", "", "h1")


def conditions_of(store: SqliteStore, key: Key) -> dict[str, tuple[str, str]]:
    body = store.status(key)
    found = msgspec.json.decode(body, type=Status).conditions if body else ()
    return {one.type: (one.status, one.reason) for one in found}


def test_conditions_are_written_when_they_change_and_not_otherwise(store: SqliteStore) -> None:
    conditions = Conditions(store)
    bad = {PORT: SuanwangError(INVALID, "bad")}
    conditions.compiled(bad, 1)
    assert conditions.flush() == 1
    assert conditions_of(store, PORT) == {"Compiled": ("False", "INVALID")}
    conditions.compiled(bad, 2)
    assert conditions.flush() == 0  # the same finding is no news
    conditions.compiled({}, 3)
    assert conditions.flush() == 1
    assert conditions_of(store, PORT) == {"Compiled": ("True", "Compiled")}
    conditions.compiled({}, 4)
    assert not conditions.dirty


def test_good_nodes_cost_nothing(store: SqliteStore) -> None:
    conditions = Conditions(store)
    conditions.programmed("h1", "", "", 1)
    assert not conditions.dirty
    conditions.programmed("h1", "NO_DEVICE", "none", 2)
    conditions.programmed("h1", "", "", 3)
    conditions.flush()
    assert conditions_of(store, NODE) == {"Programmed": ("True", "Programmed")}


def test_a_problem_from_before_a_restart_is_mended(store: SqliteStore) -> None:
    before = Conditions(store)
    before.compiled({PORT: SuanwangError(INVALID, "bad")}, 1)
    before.programmed("h1", "NO_DEVICE", "none", 1)
    before.flush()
    after = Conditions(store)
    after.compiled({}, 2)
    after.programmed("h1", "", "", 2)
    assert after.flush() == 2
    assert conditions_of(store, PORT)["Compiled"][0] == "True"
    assert conditions_of(store, NODE)["Programmed"][0] == "True"


def test_conditions_of_several_types_stand_side_by_side(store: SqliteStore) -> None:
    conditions = Conditions(store)
    conditions.compiled({PORT: SuanwangError(INVALID, "bad")}, 1)
    conditions.flush()
    conditions.holds(PORT, False, "lost", 1)
    conditions.flush()
    assert conditions_of(store, PORT) == {"Compiled": ("False", "INVALID"), "Holds": ("False", "ProbeContradicts")}


def test_what_could_not_be_written_is_kept(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    conditions = Conditions(store)
    conditions.holds(PORT, True, "", 1)

    def full(items: object) -> None:
        raise SuanwangError("STORE_FULL", "no room")

    with monkeypatch.context() as patch:
        patch.setattr(store, "set_status", full)
        with pytest.raises(SuanwangError):
            conditions.flush()
    assert conditions.flush() == 1
    assert conditions_of(store, PORT) == {"Holds": ("True", "Probed")}


def test_conditions_of_what_is_gone_are_passed_over(store: SqliteStore) -> None:
    conditions = Conditions(store)
    conditions.holds(Key("Assertion", "red", "gone"), True, "", 1)
    conditions.flush()
    assert store.status(Key("Assertion", "red", "gone")) is None
