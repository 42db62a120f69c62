"""Reading YAML and JSON: values, the lines that they stand on, and what hostile input comes to."""

from __future__ import annotations

import io
import json
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suanwang.model.errors import ErrorList, SuanwangError
from suanwang.model.reading import line_of, path_text, read_path, read_text
from suanwang.model.registry import load
from suanwang.model.resource import read_documents

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.text(max_size=8) | st.floats(-1e9, 1e9, width=32),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


def one(text: str | bytes) -> Any:
    (document,) = read_text(text, "f.yaml")
    return document


def refused(text: str | bytes) -> SuanwangError:
    with pytest.raises(SuanwangError) as caught:
        read_text(text, "f.yaml")
    return caught.value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on", "on"), ("yes", "yes"), ("No", "No"), ("12:30", "12:30"), ("1_000", "1_000"),
        ("2026-01-01", "2026-01-01"),
        ("true", True), ("False", False), ("null", None), ("~", None), ("", None), ("12", 12), ("-3", -3), ("+3", 3),
        ("007", 7), ("1.5", 1.5), ("1e3", 1000.0), (".5", 0.5), ("'12'", "12"), ('"true"', "true"), ("!!str 12", "12"),
        ("0x1f", "0x1f"), ("10.0.0.1", "10.0.0.1"), ("fd00::1", "fd00::1"), (".", "."), ("'-'", "-"),
        ("1.2.3", "1.2.3"),
    ],
)  # fmt: skip
def test_scalars_are_those_of_yaml_1_2(text: str, value: object) -> None:
    read = one(f"a: {text}")["a"]
    assert read == value
    assert type(read) is type(value)


@given(st.dictionaries(st.text(max_size=5), PLAIN, max_size=5))
def test_all_json_reads_as_itself(document: dict[str, Any]) -> None:
    assert one(json.dumps(document)) == document


@given(st.dictionaries(st.text("ab\U0001f600\u2028\x85", max_size=5), PLAIN, max_size=5), st.booleans())
def test_json_of_any_alphabet_reads_as_itself(document: dict[str, Any], ascii_only: bool) -> None:
    assert one(json.dumps(document, ensure_ascii=True, indent="\t" if ascii_only else None)) == document


def test_every_value_knows_its_line() -> None:
    document = one("a: 1\nb:\n  c:\n  - x\n  - {d: 1,\n     e: 2}\n")
    assert line_of(document, ("b", "c", 0)) == 4
    assert line_of(document, ("b", "c", 1, "e")) == 6
    assert line_of(document, ("b", "gone", 1)) == 2
    assert line_of(document, ("gone",)) == 1
    assert path_text(("b", "c", 1, "e")) == "b.c[1].e"


@pytest.mark.parametrize("text", ["a: 1\nb: 2\na: 3\n", "{a: 1, b: 2, a: 3}", "x: {a: 1,\n a: 2}"])
def test_a_key_that_stands_twice_is_refused(text: str) -> None:
    problem = refused(text)
    assert (problem.code, problem.message.split(" (")[0]) == ("MALFORMED", "key 'a' stands twice")


def test_merge_keys_give_defaults_that_may_be_overridden() -> None:
    document = one("base: &b {x: 1, y: 2}\nhere:\n  <<: *b\n  y: 3\nthere:\n  y: 4\n  <<: *b\n")
    assert document["here"] == {"x": 1, "y": 3}
    assert document["there"] == {"x": 1, "y": 4}
    assert refused("a: {<<: {x: 1}, x: 2, x: 3}").message.startswith("key 'x' stands twice")


def test_several_documents_lists_and_empty_ones() -> None:
    assert read_text("---\na: 1\n---\n---\n# nothing\n---\nb: 2\n...\n", "f") == [{"a": 1}, {"b": 2}]
    assert read_text('[{"a": 1}, {"b": 2}]', "f") == [{"a": 1}, {"b": 2}]
    assert read_text("kind: List\nitems:\n- a: 1\n- b: 2\n", "f") == [{"a": 1}, {"b": 2}]
    assert read_text("", "f") == []


@pytest.mark.parametrize(("text", "line"), [("just text", 1), ("\n\n- a: 1\n- 5\n", 4), ("kind: List\nitems: [1]", 2)])
def test_a_document_is_a_mapping(text: str, line: int) -> None:
    problem = refused(text)
    assert (problem.message, problem.place.line) == ("a document must be a mapping", line)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: 1\n\tb: 2\n", 2),
        ("a: [1, 2\nb: 3\n", 2),
        ("a: 1\n b: 2\n", 2),
        ('a: "unfinished\n', 2),
        ("a: *nothing\n", 1),
        ("a: &x [*x]\n", 1),
        ("? [complex]\n: 1\n", 1),
        ("a: @b\n", 1),
        ('{"a": 1,,}', 1),
    ],
)
def test_malformed_text_is_refused_with_its_line(text: str, line: int) -> None:
    problem = refused(text)
    assert (problem.code, problem.place.file, problem.place.line) == ("MALFORMED", "f.yaml", line)
    assert problem.message


@pytest.mark.parametrize("text", [b"\x00\x01\x02", b"a: \xff\xfe", b"\x7fELF\x02\x01", b"a: \xed\xa0\x80", "a: \ud800"])
def test_what_is_no_text_is_refused(text: str | bytes) -> None:
    assert refused(text).code == "MALFORMED"


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with suppress(SuanwangError):
        read_text(data, "f")


@given(st.text("ab:-[]{}&*<!|>'\"#%@`,? \n\t", max_size=40))
def test_any_punctuation_is_read_or_refused(text: str) -> None:
    with suppress(SuanwangError):
        read_text(text, "f")


def test_an_alias_bomb_is_refused_at_once() -> None:
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]\n" for level in range(1, 12)
    )
    started = time.monotonic()
    problem = refused(bomb)
    assert (problem.code, problem.place.line) == ("TOO_LARGE", 5)
    assert time.monotonic() - started < 2


def test_honest_aliases_are_read() -> None:
    shared = "base: &groups [" + ", ".join(f"g{n}" for n in range(16)) + "]\n"
    text = shared + "".join(f"p{n}: {{groups: *groups, a: 1, b: 2}}\n" for n in range(20_000))
    assert len(one(text)) == 20_001


def test_depth_is_bounded() -> None:
    assert one("a: " + "[" * 60 + "]" * 60)
    assert refused("a: " + "[" * 5000 + "]" * 5000).code == "TOO_LARGE"
    assert refused("".join(f"{'  ' * level}a:\n" for level in range(500))).code == "TOO_LARGE"


def test_size_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("suanwang.model.reading.LARGEST_INPUT_BYTES", 100)
    assert refused("a: " + "x" * 100).code == "TOO_LARGE"
    monkeypatch.setattr("suanwang.model.reading.MOST_NODES", 10)
    assert refused("a: [1,2,3,4,5,6,7,8,9,10,11]").code == "TOO_LARGE"


def test_a_fault_on_the_last_of_100_000_lines_is_found_there() -> None:
    port = (
        "apiVersion: suanwang/v1\nkind: Port\nmetadata:\n  name: p%d\n  tenant: t\nspec:\n  subnet: s\n  node: n\n---\n"
    )
    text = "".join(port % number for number in range(11_111))
    text += "{apiVersion: suanwang/v1, kind: Port, metadata: {name: last, tenant: t}, spec: {subnet: s, nod: n}}\n"
    assert text.count("\n") == 100_000
    started = time.monotonic()
    with pytest.raises(SuanwangError) as caught:
        read_documents([("big.yaml", document) for document in read_text(text, "big.yaml")], load())
    took_s = time.monotonic() - started
    assert str(caught.value) == (
        "big.yaml:100000 spec.nod: there is no field 'nod' here [UNKNOWN_FIELD]\n  hint: did you mean 'node'?"
    )
    assert took_s < 20


def test_folders_files_and_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "b.yml").write_text("b: 2")
    (tmp_path / "a.yaml").write_text("a: 1")
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "c.json").write_text('{"c": 3}')
    (tmp_path / "notes.txt").write_text(": not read")
    found = read_path(str(tmp_path))
    assert [(Path(name).name, document) for name, document in found] == [
        ("a.yaml", {"a": 1}),
        ("b.yml", {"b": 2}),
        ("c.json", {"c": 3}),
    ]
    assert read_path(str(tmp_path / "b.yml")) == [(str(tmp_path / "b.yml"), {"b": 2})]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"d: 4")))
    assert read_path("-") == [("<stdin>", {"d": 4})]


def test_all_bad_files_of_a_folder_are_told(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("a: [")
    (tmp_path / "b.yaml").write_text("b: 1")
    (tmp_path / "c.yaml").write_bytes(b"\x00")
    with pytest.raises(ErrorList) as caught:
        read_path(str(tmp_path))
    assert [Path(problem.place.file).name for problem in caught.value.errors] == ["a.yaml", "c.yaml"]


def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "gone.yaml"):
        with pytest.raises(SuanwangError) as caught:
            read_path(str(path))
        assert caught.value.code == "UNREADABLE"
