"""The work by itself, on a data plane in memory that keeps the contract and can be told to fail."""

from __future__ import annotations

import os
from typing import NamedTuple

import msgspec
import pytest

from suanwang.agent.holding import Holding
from suanwang.agent.state import StateDirectory
from suanwang.agent.work import PROBLEM_LIMIT, Work
from suanwang.measure.figures import NoFigures
from suanwang.program import wire
from suanwang.program.fragment import fragment
from suanwang.program.objects import Namespace, Probe
from suanwang.program.program import FORMAT, NodeProgram


class Result(NamedTuple):
    state: str
    reason: str = ""
    message: str = ""


class Memory:
    """Holds objects as a kernel would; `refuses` names namespaces it can't make, `broken` what it raises."""

    def __init__(self):
        self.objects = {}
        self.applied = []
        self.refuses = set()
        self.broken = None

    def _result(self, item):
        return Result("failed", "REFUSED", "no room") if item.netns in self.refuses else Result("done")

    def apply(self, wanted, /):
        if self.broken:
            raise self.broken
        self.applied.append(sorted(item.netns for item in wanted.values()))
        self.wanted = dict(wanted)
        self.objects = {key: item for key, item in wanted.items() if item.netns not in self.refuses}
        return {key: self._result(item) for key, item in wanted.items()}

    def verify(self):
        if self.broken:
            raise self.broken
        missing = {key: item for key, item in self.wanted.items() if key not in self.objects}
        self.objects |= {key: item for key, item in missing.items() if item.netns not in self.refuses}
        return {key: self._result(item) for key, item in missing.items()}

    def listen(self, tell, /):
        self.tell = tell

    def clean_up(self):
        self.objects = {}

    def namespace(self, logical, /):
        return logical


def part(name, *netns):
    return fragment(name, "x", [Namespace(one) for one in netns])


def whole(revision, *parts):
    return wire.update("", revision, NodeProgram("h1", revision, parts).hash, (), parts)


@pytest.fixture
def plane():
    return Memory()


@pytest.fixture
def work(tmp_path, plane):
    state = StateDirectory(tmp_path / "state")
    yield Work(Holding(state), plane, NoFigures())
    state.close()


def test_the_latest_program_wins(work, plane):
    answer = work.take([whole(1, part("a", "n1")), whole(2, part("a", "n2")), whole(3, part("a", "n3"))])
    assert plane.applied == [["n3"]]
    assert answer.report.revision == 3


def test_a_refused_update_does_not_hold_back_the_next(work, plane):
    newer = msgspec.structs.replace(whole(1, part("a", "n1")), format=FORMAT + 1)
    answer = work.take([newer, whole(2, part("a", "n2"))])
    assert [refusal.code for refusal in answer.refusals] == ["NEWER_PROGRAM"]
    assert answer.report.revision == 2
    assert not answer.greet
    only = work.take([msgspec.structs.replace(newer, revision=3)])
    assert only.report is None
    assert plane.applied == [["n2"]]


def test_a_whole_program_that_is_wrong_is_not_asked_for_again_and_again(work):
    answer = work.take([msgspec.structs.replace(whole(1, part("a", "n1")), hash="f" * 32)])
    assert [refusal.code for refusal in answer.refusals] == ["HASH_MISMATCH"]
    assert not answer.greet


def test_probes_are_done_without_the_kernel(work, plane):
    probe = Probe("web", "n1", "icmp", "10.0.0.1", "10.0.0.2", 0, "allowed")
    answer = work.take([whole(1, part("a", "n1"), fragment("p", "x", [probe]))])
    assert (answer.report.done, plane.applied) == (2, [["n1"]])


def test_what_failed_is_named_tried_again_and_told_once(work, plane):
    plane.refuses = {"n2"}
    report = work.take([whole(1, part("a", "n1", "n2"))]).report
    assert (report.done, report.failed) == (1, 1)
    assert report.problems == (("namespace netns=n2", "REFUSED", "no room"),)
    assert work.unfinished
    assert work.retry() is None
    plane.refuses = set()
    assert work.retry().failed == 0
    assert not work.unfinished


def test_repairs_are_counted_and_reported(work, plane):
    work.take([whole(1, part("a", "n1", "n2"))])
    assert work.verify() is None
    del plane.objects["namespace", "n1"]
    report = work.verify()
    assert (report.repaired, report.done, report.failed) == (1, 2, 0)
    assert work.verify() is None


@pytest.mark.parametrize("stage", ["apply", "verify"])
def test_a_data_plane_that_breaks_down_is_reported_and_the_agent_lives(work, plane, stage):
    if stage == "verify":
        work.take([whole(1, part("a", "n1"))])
    plane.broken = OSError("the kernel is out of memory")
    report = work.verify() if stage == "verify" else work.take([whole(1, part("a", "n1"))]).report
    assert report.failed == 1
    assert report.problems[0] == ("program", "APPLY_FAILED", "OSError: the kernel is out of memory")
    assert work.unfinished
    plane.broken = None
    assert work.retry().failed == 0


def test_a_full_disk_is_reported_and_made_good(work, plane, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        report = work.take([whole(1, part("a", "n1"))]).report
    assert plane.applied == [["n1"]]
    assert (report.done, report.failed) == (1, 1)
    assert report.problems[0][1] == "STATE_DIRECTORY"
    assert work.retry().failed == 0


def test_a_report_names_a_limited_number_of_problems(work, plane):
    names = [f"n{number}" for number in range(PROBLEM_LIMIT + 50)]
    plane.refuses = set(names)
    report = work.take([whole(1, part("a", *names))]).report
    assert report.failed == len(names)
    assert len(report.problems) == PROBLEM_LIMIT


def test_nothing_is_known_before_the_first_program(work, plane):
    assert work.adopt() is None
    assert work.verify() is None
    assert plane.applied == []


def test_a_successor_adopts_and_clean_up_forgets(work, plane, tmp_path):
    work.take([whole(4, part("a", "n1"))])
    after = Memory()
    successor = Work(Holding(work.holding._ledger._state), after, NoFigures())
    assert successor.adopt().revision == 4
    assert after.applied == [["n1"]]
    successor.clean_up()
    assert after.objects == {}
    assert Work(Holding(work.holding._ledger._state), Memory(), NoFigures()).adopt() is None
