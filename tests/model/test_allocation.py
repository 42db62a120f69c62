"""Finding free numbers, against the naive way: look at each."""

from __future__ import annotations

from bisect import bisect_left
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from suanwang.model.allocation import free_number
from suanwang.model.registry import Admission


class Claims:
    """Claimed values in order, as a transaction gives them; counts how often it is asked."""

    def __init__(self, values: set[str]) -> None:
        self.sorted = sorted(values)
        self.asked = 0

    def values(self, scope: str, start: str = "", limit: int = 1000) -> list[str]:
        self.asked += 1
        first = bisect_left(self.sorted, start)
        return self.sorted[first : first + limit]


def text(number: int) -> str:
    return f"{number:04d}"


def free(claims: Claims, first: int, last: int) -> int | None:
    return free_number(cast(Admission, cast(Any, claims)), "scope", text, first, last)


@given(st.sets(st.integers(0, 60)), st.integers(0, 60), st.integers(0, 60), st.sampled_from(["", "/", "/a"]))
def test_what_is_found_is_free_and_what_is_not_is_full(taken: set[int], first: int, last: int, suffix: str) -> None:
    claims = Claims(
        {f"{text(number)}{suffix}" for number in taken} | {f"{text(number)}/b" for number in taken if suffix}
    )
    found = free(claims, first, last)
    if first > last:
        return
    if found is None:
        assert taken >= set(range(first, last + 1))
    else:
        assert first <= found <= last
        assert found not in taken


def test_large_ranges_with_one_gap() -> None:
    for gap in (0, 1, 999, 1000, 1001, 2500, 4999):
        assert free(Claims({text(number) for number in range(5000) if number != gap}), 0, 4999) == gap
    assert free(Claims({text(number) for number in range(5000)}), 0, 4999) is None


def test_a_long_row_of_taken_numbers_is_not_walked() -> None:
    claims = Claims({text(number) for number in range(5000)})
    assert free(claims, 0, 9999) == 5000
    assert claims.asked < 40
