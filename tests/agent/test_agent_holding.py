"""The held program: merging updates, and the log on disk under every kind of crash."""

from __future__ import annotations

import os

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from suanwang.agent.holding import Holding
from suanwang.agent.ledger import Ledger
from suanwang.agent.state import StateDirectory
from suanwang.model.errors import SuanwangError
from suanwang.program import wire
from suanwang.program.fragment import fragment
from suanwang.program.objects import Namespace, Probe, Route
from suanwang.program.program import FORMAT, NodeProgram, join


def total(parts):
    return NodeProgram("h1", 1, tuple(parts)).hash


def whole(revision, *parts):
    return wire.update("", revision, total(parts), (), parts)


def step(old, new, revision):
    """The update from one set of fragments, by id, to another."""
    put = tuple(part for name, part in new.items() if old.get(name) != part)
    return wire.update(total(old.values()), revision, total(new.values()), tuple(set(old) - set(new)), put)


def part(name, *netns):
    return fragment(name, "x", [Namespace(one) for one in netns])


@pytest.fixture
def state(tmp_path):
    found = StateDirectory(tmp_path / "state")
    yield found
    found.close()


def refused(holding, update):
    before = (holding.held, dict(holding.objects))
    with pytest.raises(SuanwangError) as caught:
        holding.merge(update)
    assert (holding.held, holding.objects) == before
    return caught.value.code


def test_refusals_change_nothing(state):
    holding = Holding(state)
    holding.merge(whole(1, part("a", "n1", "n2")))
    assert refused(holding, msgspec.structs.replace(whole(2, part("b")), format=FORMAT + 1)) == "NEWER_PROGRAM"
    assert refused(holding, msgspec.structs.replace(whole(2, part("b")), base="f" * 32)) == "BASE_MISMATCH"
    assert refused(holding, msgspec.structs.replace(whole(2, part("b")), hash="f" * 32)) == "HASH_MISMATCH"
    unknown = msgspec.Raw(b'["b", "x", [{"type": "from-the-future"}], "00"]')
    assert refused(holding, wire.Update(FORMAT, 2, "", "f" * 32, (), (unknown,))) == "UNREADABLE_PROGRAM"
    one = fragment("b", "x", [Route("n", "10.0.0.0/8", action="blackhole")])
    two = fragment("c", "x", [Route("n", "10.0.0.0/8", action="throw")])
    assert refused(holding, whole(2, one, two)) == "CONTRADICTION"


def test_an_object_stays_while_one_fragment_wants_it_and_keeps_its_identity(state):
    holding = Holding(state)
    parts = {"a#x": part("a", "n1", "n2"), "b#x": part("b", "n2", "n3")}
    holding.merge(whole(1, *parts.values()))
    kept = holding.objects["namespace", "n2"]
    fewer = {"b#x": parts["b#x"]}
    holding.merge(step(parts, fewer, 2))
    assert set(holding.objects) == {("namespace", "n2"), ("namespace", "n3")}
    moved = {"b#x": part("b", "n2", "n4")}
    holding.merge(step(fewer, moved, 3))
    assert set(holding.objects) == {("namespace", "n2"), ("namespace", "n4")}
    assert holding.objects["namespace", "n2"] is kept


def test_the_same_program_again_is_only_a_new_revision(state):
    holding = Holding(state)
    holding.merge(whole(1, part("a", "n1")))
    holding.merge(msgspec.structs.replace(whole(9, part("a", "n1")), base="f" * 32))
    assert holding.held.revision == 9


def test_probes_are_found_by_assertion(state):
    holding = Holding(state)
    item = Probe("web", "port/a", "tcp", "10.0.0.1", "10.0.0.2", 80, "allowed")
    holding.merge(whole(1, fragment("p", "x", [item])))
    assert holding.probes == {"web": item}
    holding.merge(whole(2))
    assert holding.probes == {}


names = st.sampled_from(["n1", "n2", "n3", "n4"])
programs = st.dictionaries(st.sampled_from(["a", "b", "c"]), st.lists(names, max_size=4))


@settings(max_examples=60, deadline=None)
@given(st.lists(programs, max_size=8))
def test_any_way_leads_to_what_the_fragments_say(tmp_path_factory, way):
    state = StateDirectory(tmp_path_factory.mktemp("state"))
    holding = Holding(state)
    old = {}
    for revision, program in enumerate(way, 1):
        new = {f"{name}#x": part(name, *content) for name, content in program.items()}
        holding.merge(step(old, new, revision) if revision > 1 else whole(revision, *new.values()))
        holding.write()
        assert holding.objects == join(new.values())
        old = new
    again = Holding(state)
    assert again.load() == bool(way)
    assert again.objects == holding.objects
    assert again.held.have == holding.held.have
    state.close()


def test_a_log_torn_at_any_byte_gives_the_last_whole_program(state, tmp_path):
    holding = Holding(state)
    chain = [{}, *({"a#x": part("a", *(f"n{n}" for n in range(count)))} for count in range(1, 4))]
    ends = []
    for revision, program in enumerate(chain):
        previous = chain[revision - 1]
        holding.merge(step(previous, program, revision) if revision else whole(revision))
        holding.write()
        ends.append((state.path / "program.log").stat().st_size)
    content = (state.path / "program.log").read_bytes()
    other = StateDirectory(tmp_path / "torn")
    for cut in range(len(content)):
        for damage in (content[:cut], content[:cut] + bytes([content[cut] ^ 0x20]) + content[cut + 1 :]):
            (other.path / "program.log").write_bytes(damage)
            torn = Holding(other)
            good = sum(end <= cut for end in ends)
            assert torn.load() == bool(good)
            assert torn.held.revision == max(good - 1, 0)
            if cut % 50:
                continue
            # And it goes on from there.
            torn.merge(whole(99, part("z", "n")))
            torn.write()
            reread = Holding(other)
            reread.load()
            assert reread.held.revision == 99
    other.close()


def test_the_log_is_written_anew_before_it_grows_large(state):
    holding = Holding(state)
    big = {"a#x": part("a", *(f"vpc/tenant/{number}" for number in range(5000)))}
    holding.merge(whole(1, *big.values()))
    holding.write()
    first = (state.path / "program.log").stat().st_size
    old = big
    for revision in range(2, 60):
        new = {"a#x": part("a", *(f"vpc/tenant/{number}" for number in range(revision, 5000)))}
        holding.merge(step(old, new, revision))
        holding.write()
        assert (state.path / "program.log").stat().st_size < 5 * first + (1 << 20)
        old = new
    again = Holding(state)
    assert again.load()
    assert again.held.revision == 59


def test_what_could_not_be_written_stays_due(state, monkeypatch):
    holding = Holding(state)
    holding.merge(whole(1, part("a", "n1")))
    holding.write()
    holding.merge(whole(2, part("a", "n2")))

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            holding.write()
    assert Ledger(state).load()[-1].revision == 1
    holding.write()
    assert Ledger(state).load()[-1].revision == 2


def test_a_held_program_of_another_release_is_not_used(state):
    record = Ledger(state)
    unknown = msgspec.Raw(b'["b", "x", [{"type": "from-the-future"}], "00"]')
    record.rewrite(wire.Update(FORMAT, 2, "", "f" * 32, (), (unknown,)))
    holding = Holding(state)
    with pytest.raises(SuanwangError) as caught:
        holding.load()
    assert caught.value.code == "UNREADABLE_PROGRAM"
    assert holding.held.hash == ""
