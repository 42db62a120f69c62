from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from suanwang.cli.table import Styled, cell, printable, table, width


def test_wide_characters_take_two_columns() -> None:
    assert width("算网") == 4
    assert width("e\u0301") == 1
    text = table(("NAME", "CITY"), [("a", "x"), ("哈尔滨", "y")])
    assert text.splitlines()[1:] == ["a       x", "哈尔滨  y"]


def test_numbers_to_the_right_and_nothing_as_a_dash() -> None:
    text = table(("NAME", "DONE"), [("a", 7), ("b", 1234), ("c", None)], right=("DONE",))
    assert text.splitlines()[1:] == ["a        7", "b     1234", "c        -"]


def test_values_of_documents() -> None:
    assert cell(["10.0.0.0/16", "fd00::/64"]) == "10.0.0.0/16, fd00::/64"
    assert cell([1, 2, 3, 4, 5]) == "1, 2, 3, 4, … (5)"
    assert cell({"port": "web-1"}) == "port=web-1"
    assert cell(True) == "yes"
    assert cell(0) == "0"


def test_nothing_that_a_terminal_would_obey_is_passed_on() -> None:
    assert printable("a\x1b[31mb\nc") == "a\\x1b[31mb\\x0ac"
    assert "\x1b]0;" not in table(("NAME",), [("\x1b]0;title\x07",)])
    assert Styled("\x1b[2J", "red") == "\\x1b[2J"


@given(st.lists(st.tuples(st.text(max_size=8).filter(lambda text: "|" not in text), st.text(max_size=8)), max_size=6))
def test_second_columns_stand_under_each_other(rows: list[tuple[str, str]]) -> None:
    lines = table(("A", "B"), [(first, f"|{second}") for first, second in rows]).splitlines()
    assert len(lines) == len(rows) + 1
    assert len({width(line.partition("|")[0]) for line in lines[1:]}) <= 1
