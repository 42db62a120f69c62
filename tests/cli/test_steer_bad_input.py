"""`suanwang steer` with wrong, cut off, hostile or too large input: a clear error or a right answer, and in time."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from suanwang.cli import output, steer_cache, steer_inputs
from suanwang.cli.main import main
from suanwang.steering import methods
from suanwang.steering.methods import METHODS

LINKS = "src,dst,capacity,latency_us\na,b,10,5\nb,a,10,5\nb,c,4,5\nc,b,4,5\n"
DEMANDS = "source,to,rate\na,c,5\nc,a,3\n"
GRAPH = """NODES 2
label x y
0_A 1.0 2.0
1_B 1.5 2.5

EDGES 2
label src dest weight bw delay
edge_0 0 1 10 1000 1160
edge_1 1 0 10 1000 1160
"""
MATRIX = "DEMANDS 2\nlabel src dest bw\nd_0 0 1 700\nd_1 1 0 30\n"
GRAPHML = """<?xml version="1.0"?>
<graphml xmlns="http://graphml.graphdrawing.org/xmlns"><graph edgedefault="undirected">
<node id="a"/><node id="b"/><edge source="a" target="b"/></graph></graphml>"""
BOMB = (
    '<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "aaaaaaaaaa">'
    + "".join(f'<!ENTITY {chr(98 + at)} "{f"&{chr(97 + at)};" * 10}">' for at in range(9))
    + ']><graphml><graph><node id="&j;"/></graph></graphml>'
)
RUBBISH = bytes(range(256)) * 20


def npy(values: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.asarray(values), allow_pickle=True)
    return stream.getvalue()


def rates(**more: float) -> bytes:
    """A matrix for LINKS, with one entry as given."""
    values = np.full((3, 3), 2.0)
    for value in more.values():
        values[1, 2] = value
    return npy(values)


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(name: str, body: str | bytes) -> str:
    Path(name).write_bytes(body.encode() if isinstance(body, str) else body)
    return name


def solve(*words: str) -> tuple[int, Any]:
    """Exit code and JSON. Whatever is thrown becomes an exit code and an error in JSON, or the test fails here."""
    result = CliRunner().invoke(main, ["steer", "solve", *words, "-o", "json"])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, json.loads(result.stdout or result.stderr)


def refused(*words: str) -> dict[str, Any]:
    code, told = solve(*words)
    assert code == 1
    error: dict[str, Any] = told["error"]
    assert error["code"] in ("BAD_PROBLEM", "BAD_TOPOLOGY", "USAGE", "UNREADABLE", "MALFORMED", "TOO_MANY_PATHS")
    assert "Traceback" not in error["message"]
    return error


@pytest.mark.parametrize(
    ("name", "body", "line", "says"),
    [
        ("l.csv", LINKS.replace("b,c,4", "b,c,-4"), 4, "capacity is '-4'"),
        ("l.csv", LINKS.replace("b,c,4", "b,c,nan"), 4, "capacity is 'nan'"),
        ("l.csv", LINKS.replace("b,c,4,5", "b,c,4,1e13"), 4, "latency_us is '1e13'"),
        ("l.csv", LINKS.replace("b,c,", "c,c,"), 4, "to itself"),
        ("l.csv", LINKS[:-3], 5, "3 fields"),
        ("l.csv", LINKS.split("\n")[0], 0, "no link"),
        ("l.csv", "", 1, "empty"),
        ("l.csv", RUBBISH, 2, "not readable"),
        ("l.csv", b"src,dst,capacity\na,b,\x0010\n", 2, "capacity"),
        ("g.graph", GRAPH[: len(GRAPH) // 2], 7, "columns"),
        ("g.graph", GRAPH[:-24], 9, "announces 2 rows"),
        ("g.graph", GRAPH.replace("NODES 2", "NODES 999999999"), 2, "more than"),
        ("g.graph", RUBBISH, 2, "not readable"),
        ("x.graphml", GRAPHML[:-30], 0, "XML"),
        ("x.graphml", RUBBISH, 0, "XML"),
        ("x.graphml", BOMB, 1, "entities"),
        ("x.graphml", BOMB.replace('"aaaaaaaaaa"', 'SYSTEM "file:///etc/passwd"'), 1, "entities"),
    ],
)  # fmt: skip
def test_wrong_topologies(name: str, body: str | bytes, line: int, says: str) -> None:
    error = refused("--topology", write(name, body), "--demands", write("d.csv", DEMANDS))
    assert error["file"] == name
    assert error["line"] == line or (not line and name == "x.graphml")
    assert says in error["message"]


@pytest.mark.parametrize(
    ("name", "body", "line", "says"),
    [
        ("d.csv", DEMANDS.replace(",3", ",-3"), 3, "rate is '-3'"),
        ("d.csv", DEMANDS.replace(",3", ",nan"), 3, "rate is 'nan'"),
        ("d.csv", DEMANDS.replace(",3", ",inf"), 3, "rate is 'inf'"),
        ("d.csv", DEMANDS.replace(",3", ",1e300"), 3, "rate is '1e300'"),
        ("d.csv", DEMANDS.replace("c,a", "c,zz"), 3, "no node 'zz'"),
        ("d.csv", DEMANDS[:-3], 3, "2 fields"),
        ("d.csv", RUBBISH, 2, "not readable"),
        ("m.npy", rates(one=np.nan), 0, "from node 1 to node 2 the rate is nan"),
        ("m.npy", rates(one=-1), 0, "the rate is -1"),
        ("m.npy", rates(one=np.inf), 0, "the rate is inf"),
        ("m.npy", npy(np.ones((4, 4))), 0, "4 x 4, for 3 nodes"),
        ("m.npy", npy(np.array([[{}] * 3] * 3, object)), 0, "holds"),
        ("m.npy", rates()[:-5], 0, "67 bytes of 72"),
        ("m.npy", rates()[:20], 0, "header"),
        ("m.npy", b"", 0, "header"),
        ("m.npy", RUBBISH, 0, "header"),
        ("m.npy", rates().replace(b"(3, 3)", b"(9**9,"), 0, "NumPy"),
    ],
)  # fmt: skip
def test_wrong_demands(name: str, body: str | bytes, line: int, says: str) -> None:
    error = refused("--topology", write("l.csv", LINKS), "--demands", write(name, body))
    assert (error["file"], error["line"]) == (name, line)
    assert says in error["message"]


CUTTABLE: tuple[tuple[str, bytes], ...] = (
    ("l.csv", LINKS.encode()),
    ("d.csv", DEMANDS.encode()),
    ("m.npy", rates()),
    ("g.graph", GRAPH.encode()),
    ("g.demands", MATRIX.encode()),
    ("x.graphml", GRAPHML.encode()),
)


@pytest.mark.parametrize("which", range(len(CUTTABLE)), ids=[name for name, _ in CUTTABLE])
def test_files_that_are_cut_off_are_refused_or_a_remark_is_made(which: int) -> None:
    name, body = CUTTABLE[which]
    topology, demands = ("g.graph", "g.demands") if name[0] == "g" else ("l.csv", "d.csv")
    for other, whole in CUTTABLE:
        write(other, whole)
    if name == "x.graphml":
        topology, demands = name, write("d.csv", "source,to,rate\na,b,5\n")
    if name == "m.npy":
        demands = name
    for at in range(len(body) - 1):
        write(name, body[:at])
        words = ["steer", "solve", "--topology", topology, "--demands", demands, "--method", "greedy", "--no-cache"]
        result = CliRunner().invoke(main, words)
        assert result.exception is None or isinstance(result.exception, SystemExit), (at, result.exception)
        # A table cut off between rows can't be told from a shorter one; one cut off within a number, by its last line.
        fine = result.exit_code == 1 or body[at - 1 : at] == b"\n" or "cut off" in result.stderr
        assert fine, (at, result.output)


@pytest.mark.parametrize("method", ["exact", "fast", "greedy", "pop", "pdlp"])
@pytest.mark.parametrize("aim", ["total-flow", "max-min", "min-mlu", "min-cost"])
def test_what_nothing_leads_to_is_told_and_stops_nothing_else(method: str, aim: str) -> None:
    write("l.csv", LINKS + "d,e,3,1\ne,d,3,1\na,d,0,1\n")
    write("d.csv", "source,to,rate\na,b,5\na,e,5\nc,d,1\nd,e,2\n")
    code, told = solve("--topology", "l.csv", "--demands", "d.csv", "--method", method, "--objective", aim)
    assert (code, told["feasible"]) == (0, True)
    # POP gives each demand to one of four networks with a quarter of the capacity.
    assert told["served"] == pytest.approx(7, rel=0.01) if method != "pop" else 1 < told["served"] < 8
    reasons = {one["demand"]: one["reasons"][0]["code"] for one in told["unserved"] if one["served"] == 0}
    assert reasons == {"a>e": "no-path", "c>d": "no-path"}


def test_a_network_without_any_capacity_serves_nothing() -> None:
    write("l.csv", "src,dst,capacity\na,b,0\nb,a,0\n")
    write("d.csv", "source,to,rate\na,b,5\n")
    for aim in steer_inputs.OBJECTIVES:
        code, told = solve("--topology", "l.csv", "--demands", "d.csv", "--method", "exact", "--objective", aim)
        assert (code, told["served"], told["paths_used"]) == (0, 0, 0)
        assert told["unserved"][0]["reasons"][0]["code"] == "no-path"


def test_limits_that_nothing_keeps_are_told_with_the_nearest_miss() -> None:
    write("l.csv", LINKS)
    write("d.csv", "source,to,rate,class\na,c,1,quick\na,c,1,sure\na,c,1,\n")
    write("c.yaml", "quick: {latency: 7us}\nsure: {latency: 1ms, backup: link}\n")
    code, told = solve("--topology", "l.csv", "--demands", "d.csv", "--classes", "c.yaml", "--method", "exact")
    assert (code, told["value"]) == (0, 1)
    quick, sure = (one["reasons"][0] for one in told["unserved"])
    assert (quick["code"], quick["binding"]) == ("limits", ["latency_us"])
    assert "10 us" in quick["text"]
    assert "7" in quick["text"]
    assert sure["code"] == "backup"


def test_matrices_of_ten_million_entries() -> None:
    for nodes, fine in ((3162, True), (3163, False)):
        ring = [f"{one},{(one + 1) % nodes},10" for one in range(nodes)]
        write("l.csv", "\n".join(["src,dst,capacity", *ring, ""]))
        values = np.zeros((nodes, nodes), np.int8)
        values[7, [8, 9, 11]] = 2
        write("m.npy", npy(values))
        words = ("--topology", "l.csv", "--demands", "m.npy", "--method", "exact", "--no-cache")
        if fine:
            assert solve(*words)[1]["value"] == 6
        else:
            error = refused(*words)
            assert "10000000" in error["hint"]


def test_paths_that_would_fill_the_memory_are_refused_before_they_are_sought(monkeypatch: pytest.MonkeyPatch) -> None:
    write("l.csv", LINKS)
    write("m.npy", rates())
    monkeypatch.setattr(steer_cache, "FEW_PATHS", 20)
    assert solve("--topology", "l.csv", "--demands", "m.npy", "--method", "greedy")[0] == 0
    monkeypatch.setattr(steer_cache, "PART_OF_MEMORY", 1e-9)
    error = refused("--topology", "l.csv", "--demands", "m.npy", "--method", "greedy")
    assert error["code"] == "TOO_MANY_PATHS"
    assert "each of 6 pairs" in error["message"]
    assert "--paths" in error["hint"]
    assert solve("--topology", "l.csv", "--demands", "m.npy", "--method", "greedy", "--paths", "1")[0] == 0


@pytest.mark.parametrize(
    ("flag", "value", "says"),
    [
        ("--gap", "nan", "no number"),
        ("--gap", "-1", "range"),
        ("--churn", "inf", "no number"),
        ("--unserved-cost", "nan", "no number"),
        ("--time-limit", "5", "no unit"),
        ("--time-limit", "-5s", "no quantity"),
        ("--paths", "0", "range"),
        ("--method", "magic", "magic"),
        ("--objective", "best", "best"),
        ("--plot", "nowhere/p.png", "no folder"),
        ("--plot", "p.gif", ".png or .svg"),
        ("--allocation", "nowhere/a.csv", "no folder"),
        ("--topology", ".", "directory"),
        ("--demands", "nowhere.csv", "nowhere.csv"),
        ("--fail", "a>z", "a>z"),
        ("--map", "l.csv", "no column"),
    ],
)
def test_wrong_flags_are_refused_before_anything_is_solved(flag: str, value: str, says: str) -> None:
    write("l.csv", LINKS)
    write("d.csv", DEMANDS)
    words = {"--topology": "l.csv", "--demands": "d.csv", flag: value}
    error = refused(*(word for pair in words.items() for word in pair))
    assert says in error["message"]
    assert error["hint"]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("aim", steer_inputs.OBJECTIVES)
def test_the_time_limit_holds_for_every_method_and_aim(aim: str, method: str) -> None:
    chance = np.random.default_rng(5)
    ends = {(one, (one + step) % 40) for one in range(40) for step in (1, 7, 39, 33)}
    rows = [f"{one},{other},{chance.integers(1, 9)},{chance.integers(1, 50)}" for one, other in sorted(ends)]
    write("l.csv", "\n".join(["src,dst,capacity,latency_us", *rows, ""]))
    write("m.npy", npy(chance.random((40, 40))))
    words = ("--topology", "l.csv", "--demands", "m.npy", "--objective", aim, "--method", method)
    code, told = solve(*words, "--time-limit", "0.01s")
    assert (code, told["feasible"]) == (0, True), told["certificate"]
    assert told["lower_bound"] is None or told["lower_bound"] <= told["upper_bound"] * (1 + 1e-6)
    assert told["gap"] is None or told["gap"] >= 0
    assert told["served"] > 0
    assert told["seconds"]["solve"] < 20  # compiled code may have to be read first, on a machine that is busy


def test_an_answer_that_does_not_stand_its_check_is_told_and_ends_with_2(monkeypatch: pytest.MonkeyPatch) -> None:
    whole: Callable[..., Any] = methods.solver

    def careless(name: str) -> Callable[..., Any]:
        def twice(*arguments: Any, **more: Any) -> Any:
            answer = whole(name)(*arguments, **more)
            rows = replace(answer.allocation, rate=answer.allocation.rate * 2)
            return replace(answer, allocation=rows, value=answer.value * 2)

        return twice

    monkeypatch.setattr(methods, "solver", careless)
    write("l.csv", LINKS)
    write("d.csv", DEMANDS)
    code, told = solve("--topology", "l.csv", "--demands", "d.csv", "--method", "greedy")
    assert (code, told["feasible"]) == (2, False)
    assert any("b>c" in text for text in told["certificate"]["violations"])


def test_progress_is_for_terminals_only(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for stream, shown in ((Terminal(), True), (io.StringIO(), False)):
        monkeypatch.setattr(sys, "stderr", stream)
        with output.progress("finding paths") as tell:
            tell("still")
        assert ("finding paths" in stream.getvalue()) == shown
        assert stream.getvalue().endswith("\r\x1b[K" if shown else "")
