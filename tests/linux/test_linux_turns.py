"""When namespaces are looked at, by a clock of the test's own."""

from __future__ import annotations

from itertools import pairwise

from suanwang.linux.turns import EVERY_S, LOOKS_AT_ONCE, PAUSE_S, TURN_S, Turns


def test_each_has_its_turn_once_a_minute_and_they_are_spread() -> None:
    names = [f"n{number}" for number in range(100)]
    turns = Turns(0.0)
    turns.keep(names, 0.0)
    looked: list[str] = []
    for second in range(2, int(TURN_S) + 1, 2):
        share = turns.share(second)
        assert 3 <= len(share) <= 4
        turns.looked(share, second)
        looked += share
    assert sorted(looked) == sorted(names)


def test_the_longest_not_looked_at_comes_first() -> None:
    turns = Turns(0.0)
    turns.keep(["a", "b", "c"], 0.0)
    turns.mark("a", 1.0)
    turns.looked(turns.due(1.0), 1.0)
    assert turns.share(TURN_S / 3 + 1) == ["b"]


def test_what_was_heard_of_is_due_at_once() -> None:
    turns = Turns(0.0)
    turns.keep(["a", "b"], 0.0)
    turns.mark("a", 5.0)
    turns.mark("stranger", 5.0)
    assert (turns.due(5.0), turns.next_s()) == ({"a"}, 5.0)
    turns.looked({"a"}, 5.0)
    assert (turns.due(5.0), turns.next_s()) == (set(), None)


def test_who_fights_has_to_wait() -> None:
    turns = Turns(0.0)
    turns.keep(["a"], 0.0)
    now = 0.0
    looks: list[float] = []
    while now < 60:
        turns.mark("a", now)
        now = turns.next_s() or now
        assert turns.due(now) == {"a"}
        looks.append(now)
        turns.looked({"a"}, now)
    pauses = [after - before for before, after in pairwise(looks)]
    assert min(pauses) >= PAUSE_S - 1e-9
    assert max(pauses) <= EVERY_S + 1e-9
    assert LOOKS_AT_ONCE + 55 < len(looks) < LOOKS_AT_ONCE + 65
    later = now + LOOKS_AT_ONCE * EVERY_S
    turns.mark("a", later)
    assert turns.due(later) == {"a"}, "after a calm it begins anew"


def test_what_is_gone_is_forgotten() -> None:
    turns = Turns(0.0)
    turns.keep(["a", "b"], 0.0)
    turns.mark("a", 1.0)
    turns.keep(["b"], 2.0)
    assert turns.due(9.0) == set()
    assert turns.share(2 * TURN_S) == ["b"]
