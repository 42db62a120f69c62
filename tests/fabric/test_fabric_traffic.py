"""Flows: what is refused, and the usual patterns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from suanwang.fabric.traffic import Traffic, all_to_all, incast, permutation
from suanwang.model.errors import INVALID, SuanwangError


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        (([0, 3], [1, 3], 10), "flow 1 (3->3) goes to itself"),
        (([0], [4], 10), "outside of 0 to 3"),
        (([-1], [1], 10), "outside of 0 to 3"),
        (([0, 1, 2], [1, 2, 3], [5, 0, -1]), "flow 1 (1->2) has no bytes (and 1 more)"),
        (([0], [1], 10, -1), "starts before time 0"),
        (([0], [1], 10, 0, 0), "names a trigger that is not there"),
        (([0], [1], 10, 0, -1, 2, [1]), "names a trigger that is not there"),
        (([0], [1], 10, 0, -2), "names a trigger that is not there"),
        (([0, 1], [1, 2], 10, 0, [-1, 0], [0, -1], [2]), "trigger 0 waits for 2 flows, and 1 fire it"),
        (([0, 1], [1, 2], 10, 0, [-1, 0], [0, -1], [0]), "a trigger needs at least one flow"),
        (([], [], 10), "0 flows; from 1"),
    ],
)
def test_flows_that_make_no_sense_are_refused(columns: Any, words: str) -> None:
    with pytest.raises(SuanwangError) as refused:
        Traffic.build(4, *columns)
    assert refused.value.code == INVALID
    assert words in f"{refused.value} {refused.value.hint}"


def test_single_values_stand_for_all_flows_and_arrays_are_kept_from_harm() -> None:
    traffic = Traffic.build(8, [0, 1, 2], 7, 10, 5)
    assert traffic.target.tolist() == [7, 7, 7]
    assert traffic.start_ps.tolist() == [5, 5, 5]
    assert len(traffic) == 3
    for array in (traffic.source, traffic.target, traffic.size_bytes, traffic.trigger_count):
        assert not array.flags.writeable


@given(endpoints=st.integers(2, 200), seed=st.integers(0, 100))
def test_in_a_permutation_everyone_sends_and_receives_once(endpoints: int, seed: int) -> None:
    traffic = permutation(endpoints, 5, np.random.default_rng(seed))
    assert sorted(traffic.source) == sorted(traffic.target) == list(range(endpoints))
    assert permutation(endpoints, 5, np.random.default_rng(seed)).source.tolist() == traffic.source.tolist()


@given(endpoints=st.integers(2, 40), data=st.data())
def test_patterns_hold_the_pairs_they_are_named_for(endpoints: int, data: st.DataObject) -> None:
    target, senders = data.draw(st.integers(0, endpoints - 1)), data.draw(st.integers(1, endpoints + 3))
    many = incast(endpoints, senders, target, 7)
    assert len(many) == len(set(many.source.tolist())) == min(senders, endpoints - 1)
    assert set(many.target.tolist()) == {target}
    everyone = all_to_all(endpoints, 7)
    pairs = set(zip(everyone.source.tolist(), everyone.target.tolist(), strict=True))
    assert len(everyone) == len(pairs) == endpoints * (endpoints - 1)
