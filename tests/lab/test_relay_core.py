"""What the relay decides, without sockets: when a frame leaves, when it is dropped, and which end is switched off."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suanwang.lab.emulation import QUEUE_BYTES, Direction, End, Link

MS = 1_000_000


class Wire:
    """Collects what a direction sends, or refuses it."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.down = False

    def send(self, frame: bytes) -> int:
        if self.down:
            raise OSError("down")
        self.frames.append(frame)
        return len(frame)


def direction() -> tuple[Direction, Wire]:
    wire = Wire()
    return Direction(cast(End, None), cast(End, SimpleNamespace(socket=wire))), wire


def test_frames_leave_when_their_delay_is_over_and_not_before() -> None:
    way, wire = direction()
    way.set({"delay_us": 20_000})
    way.admit(b"a", 0, 1.0)
    way.admit(b"b", 1 * MS, 1.0)
    way.release(20 * MS - 1)
    assert wire.frames == []
    way.release(20 * MS)
    assert wire.frames == [b"a"]
    way.release(21 * MS)
    assert wire.frames == [b"a", b"b"]
    assert way.queued_bytes == 0


def test_a_shorter_delay_overtakes_nothing() -> None:
    way, wire = direction()
    way.set({"delay_us": 20_000})
    way.admit(b"old", 0, 1.0)
    way.set({"delay_us": 0})
    way.admit(b"new", 1 * MS, 1.0)
    way.release(1 * MS)
    assert wire.frames == []
    way.release(20 * MS)
    assert wire.frames == [b"old", b"new"]


def test_loss_is_the_share_asked_for() -> None:
    way, _ = direction()
    way.set({"loss": 0.1})
    draw = random.Random(7).random
    for _ in range(10_000):
        way.admit(b"x", 0, draw())
    assert way.lost == pytest.approx(1_000, rel=0.1)


def test_rate_spaces_frames_and_drops_at_the_tail() -> None:
    way, wire = direction()
    way.set({"rate_bps": 8_000_000})
    for _ in range(100):
        way.admit(bytes(1_000), 0, 1.0)
    # A frame takes 1 ms; those that would wait more than 50 ms are dropped.
    assert way.overflowed == 49
    way.release(10 * MS)
    assert len(wire.frames) == 10


def test_what_waits_is_bounded() -> None:
    way, _ = direction()
    way.set({"delay_us": 10_000_000})
    for _ in range(2 * QUEUE_BYTES // 9_000):
        way.admit(bytes(9_000), 0, 1.0)
    assert way.queued_bytes <= QUEUE_BYTES
    assert way.overflowed > 0


def test_frames_to_a_dead_end_are_counted() -> None:
    way, wire = direction()
    way.admit(b"x", 0, 1.0)
    wire.down = True
    way.release(0)
    assert (way.sent, way.unsent) == (0, 1)


def _link() -> Link:
    link = Link.__new__(Link)
    link.name = "l"
    link.ends = cast(tuple[End, End], tuple(SimpleNamespace(name=name, link=link) for name in "ab"))
    link.blocked = None
    return link


@given(st.lists(st.tuples(st.integers(0, 1), st.booleans()), max_size=30))
def test_a_node_sees_carrier_exactly_when_both_nodes_are_on(steps: list[tuple[int, bool]]) -> None:
    """Plays the kernel, which tells of an end when the end is switched on and when its node's interface is switched."""
    link = _link()
    node_on = [True, True]
    end_on = [True, True]
    for side, on in steps:
        node_on[side] = on
        told = [side]
        for _ in range(10):
            if not told:
                break
            number = told.pop(0)
            if not end_on[number]:
                continue
            switched = link.carrier_seen(link.ends[number], node_on[number])
            if switched is not None:
                end_on[link.ends.index(switched)] = switched is not link.blocked
                told.append(link.ends.index(switched))
        else:
            pytest.fail("the two ends never settle")
        assert [node_on[i] and end_on[i] for i in (0, 1)] == [all(node_on)] * 2
