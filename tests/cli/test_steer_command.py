"""`suanwang steer` from files to JSON, tables and pictures."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner, Result
from defusedxml.ElementTree import parse

from suanwang.cli import steer_cache, steer_inputs
from suanwang.cli.main import main
from suanwang.cli.steer import steer
from suanwang.steering.methods import METHODS

LINKS = """src,dst,capacity,latency_us,cost,risks
a,b,10,5,1,duct
b,a,10,5,1,duct
b,d,10,5,1,
d,b,10,5,1,
a,c,4,1,9,
c,a,4,1,9,
c,d,4,1,9,duct
d,c,4,1,9,duct
"""
DEMANDS = "source,to,rate,name,class\na,d,20,big,\na,web,3,page,quick\nd,a,2,back,\n"
ENDPOINTS = "name,node,capacity,load,delay,service\nw1,b,4,2,2,web\nw2,c,9,0,4,web\n"
CLASSES = "quick: {latency: 7us}\n"

EXAMPLE = Path(__file__).parents[2] / "examples" / "steering"

AIMS = ("total-flow", "max-min", "concurrent", "min-mlu", "min-cost", "min-latency")


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    for name, text in (("l.csv", LINKS), ("d.csv", DEMANDS), ("e.csv", ENDPOINTS), ("c.yaml", CLASSES)):
        (tmp_path / name).write_text(text)
    return tmp_path


INPUTS = ("--topology", "l.csv", "--demands", "d.csv", "--endpoints", "e.csv", "--classes", "c.yaml")


def call(*words: str, code: int = 0) -> Result:
    result = CliRunner().invoke(main, ["steer", *words])
    assert result.exit_code == code, result.output
    return result


def told(*words: str, code: int = 0) -> Any:
    return json.loads(call(*words, "-o", "json", code=code).stdout)


@pytest.mark.parametrize("aim", AIMS)
@pytest.mark.parametrize("method", ["exact", "fast", "greedy"])
def test_every_aim_is_answered_and_checked(aim: str, method: str) -> None:
    found = told("solve", *INPUTS, "--objective", aim, "--method", method, "--unserved-cost", "1000")
    assert found["feasible"], found["certificate"]
    assert found["objective"] == aim
    assert found["lower_bound"] <= found["upper_bound"] * (1 + 1e-6)
    assert {"load", "paths", "solve", "check"} <= set(found["seconds"])
    assert found["demanded"] == 25
    assert found["served"] <= 25
    assert len(found["unserved"]) == found["unserved_count"]
    if method != "greedy":
        assert found["gap"] < 0.02


def test_total_flow_by_hand() -> None:
    # 14 leave a, and 2 leave d; the page can go to b (2 left there) or c.
    found = told("solve", *INPUTS, "--method", "exact")
    assert found["value"] == pytest.approx(16)
    assert found["upper_bound"] == pytest.approx(16)
    assert found["max_utilisation"] == pytest.approx(1)
    missing = {one["demand"]: one for one in found["unserved"]}
    assert set(missing) <= {"big", "page"}
    assert found["unserved_total"] == pytest.approx(9)
    assert missing["big"]["reasons"][0]["code"] == "links-full"
    assert set(missing["big"]["reasons"][0]["binding"]) == {"a>b", "a>c"}


def test_text_of_an_answer() -> None:
    text = call("solve", *INPUTS, "--method", "exact").stdout
    assert "total-flow: 16" in text
    assert "feasible" in text
    assert "NOT SERVED" in text


def test_failures_and_telemetry_change_the_problem(files: Path) -> None:
    assert told("solve", *INPUTS, "--method", "exact", "--fail", "a>b")["value"] == pytest.approx(6)
    found = told("solve", *INPUTS, "--method", "exact", "--fail", "risk:duct")
    assert found["links_down"] == 4
    (files / "t.csv").write_text("link,capacity\na>b,1\n")
    assert told("solve", *INPUTS, "--method", "exact", "--telemetry", "t.csv")["value"] == pytest.approx(7)


def test_a_matrix_and_a_picture(files: Path) -> None:
    stream = io.BytesIO()
    np.save(stream, np.full((4, 4), 2.0, np.float32))
    (files / "m.npy").write_bytes(stream.getvalue())
    words = ("solve", "--topology", "l.csv", "--demands", "m.npy", "--method", "exact")
    found = told(*words, "--plot", "out.svg", "--highlight", "a>d")
    assert found["demands"] == 12
    assert parse(files / "out.svg").getroot().tag.endswith("svg")
    told(*words, "--plot", "out.png")
    assert (files / "out.png").read_bytes().startswith(b"\x89PNG")
    before = sorted(files.iterdir())
    call(*words, "--plot", "out.gif", code=1)
    assert sorted(files.iterdir()) == before


def test_rows_are_kept_and_given_back(files: Path) -> None:
    first = told("solve", *INPUTS, "--method", "exact", "--allocation", "rows.csv")
    rows = (files / "rows.csv").read_text().splitlines()
    assert rows[0] == "demand,endpoint,rate,delay_us,links,backup"
    assert len(rows) == first["rows"] + 1
    again = told("solve", *INPUTS, "--method", "exact", "--present", "rows.csv", "--churn", "0.5")
    # Nothing need move, so nothing is taken off.
    assert again["value"] == pytest.approx(first["value"])
    (files / "rows.csv").write_text("demand,endpoint,rate,links\nbig,d,1,a>b\n")
    assert "rows.csv:2" in call("solve", *INPUTS, "--present", "rows.csv", code=1).stderr


def test_candidates_are_kept_and_a_damaged_file_is_made_anew(files: Path) -> None:
    call("solve", *INPUTS, "--method", "greedy")
    (kept,) = steer_cache.directory().iterdir()
    whole = kept.read_bytes()
    assert kept.is_relative_to(files / "cache")
    kept.write_bytes(whole[:-7])
    call("solve", *INPUTS, "--method", "greedy")
    assert kept.read_bytes() == whole
    call("solve", *INPUTS, "--method", "greedy", "--no-cache", "--paths", "3")
    assert list(steer_cache.directory().iterdir()) == [kept]


def test_a_cache_that_can_not_be_written_is_done_without(files: Path) -> None:
    (files / "cache").write_text("a file where a folder must be")
    result = call("solve", *INPUTS, "--method", "greedy")
    assert "not kept" in result.stderr


def test_paths_with_what_they_do() -> None:
    found = told("paths", "a", "d", "--topology", "l.csv", "--path-set", "shortest")
    assert [one["nodes"] for one in found["paths"]] == [["a", "c", "d"], ["a", "b", "d"]]
    assert found["paths"][1]["latency_us"] == 10
    assert found["complete"] is True
    everything = told("paths", *INPUTS, "--most", "1")
    assert (len(everything["paths"]), everything["count"] > 1) == (1, True)


def test_explain_tells_the_nearest_miss(files: Path) -> None:
    (files / "c.yaml").write_text("quick: {latency: 3us}\n")
    found = told("explain", "page", *INPUTS, "--method", "exact")
    assert found["served"] == 0
    assert found["reasons"][0]["code"] == "limits"
    assert "5 us" in found["reasons"][0]["text"]
    assert "5 us" in call("explain", "page", *INPUTS, "--method", "exact").stdout


def test_compare_lists_every_method() -> None:
    rows = told("compare", *INPUTS, "--method", "exact", "--method", "greedy")
    assert [row["method"] for row in rows] == ["exact", "greedy"]
    assert rows[0]["value"] >= rows[1]["value"] - 1e-9
    assert rows[0]["shared_gap"] == pytest.approx(0, abs=1e-6)
    # What one of them proves holds for the other too.
    assert rows[1]["shared_gap"] == pytest.approx(1 - rows[1]["value"] / rows[0]["value"], abs=1e-6)
    assert rows[1]["shared_gap"] <= rows[1]["gap"]
    text = call("compare", *INPUTS, "--method", "exact", "--method", "greedy").stdout
    assert text.splitlines()[0].split()[:3] == ["METHOD", "VALUE", "GAP"]


def test_failures_are_told_worst_first() -> None:
    found = told("failures", *INPUTS, "--method", "exact", "--anew")
    lost = [one["lost"] for one in found["failures"]]
    assert lost == sorted(lost, reverse=True)
    assert {one["kind"] for one in found["failures"]} == {"cable", "risk"}
    assert found["failures"][0]["links"]
    assert len(told("failures", *INPUTS, "--method", "exact", "--anew", "--most", "2")["failures"]) == 2
    single = told("failures", *INPUTS, "--method", "exact", "--anew", "--one-way")
    assert "link" in {one["kind"] for one in single["failures"]}


def test_a_failure_that_takes_all_candidates_gets_new_ones() -> None:
    # With one candidate a pair, what uses it would seem lost although another path is there.
    found = told("failures", *INPUTS, "--method", "exact", "--anew", "--paths", "1", "--path-set", "edge-disjoint")
    by_name = {one["failure"]: one for one in found["failures"]}
    assert by_name["a>b and b>a"]["served"] > 4


def test_the_time_limit_holds() -> None:
    found = told("solve", *INPUTS, "--method", "exact", "--time-limit", "1us")
    assert found["feasible"]
    assert found["seconds"]["solve"] < 5


def test_the_same_seed_gives_the_same_answer() -> None:
    one, other = (told("solve", *INPUTS, "--method", "pop", "--seed", "7") for _ in range(2))
    for found in (one, other):
        del found["seconds"], found["steps"]
    assert one == other


def test_every_method_of_the_command_is_in_the_table() -> None:
    assert set(steer_inputs.METHODS) == set(METHODS)


def test_a_map_places_nodes(files: Path) -> None:
    (files / "map.csv").write_text("node,longitude,latitude\na,1,1\nb,2,1\nc,2,2\nd,3,1.5\n")
    words = ("solve", *INPUTS, "--method", "exact", "--highlight", "big")
    call(*words, "--plot", "plain.svg")
    call(*words, "--map", "map.csv", "--plot", "placed.svg")
    assert (files / "plain.svg").read_bytes() != (files / "placed.svg").read_bytes()
    (files / "map.csv").write_text("node,longitude,latitude\nz,1,1\n")
    assert "map.csv:2: there is no node 'z'" in call(*words, "--map", "map.csv", code=1).stderr


def test_the_example_is_solved_as_its_page_says(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(EXAMPLE)
    words = [word.replace("l.csv", "links.csv").replace("d.csv", "demands.csv") for word in INPUTS]
    words = [word.replace("e.csv", "endpoints.csv").replace("c.yaml", "classes.yaml") for word in words]
    words += ["--method", "exact", "--map", "map.csv"]
    found = told("solve", *words)
    assert found["feasible"]
    assert found["gap"] < 1e-6
    missing = {one["demand"]: one for one in found["unserved"]}
    assert missing["bank-main"]["served"] == 0
    assert missing["trading-far"]["reasons"][0]["binding"] == ["latency_us"]
    by_priority = told("solve", *words, "--by-priority", "--plot", str(files / "example.png"))
    assert (by_priority["feasible"], by_priority["gap"] < 1e-6) == (True, True)
    assert {one["demand"] for one in by_priority["unserved"]} & {"bank-main", "trading-far"} == {"trading-far"}
    assert by_priority["value"] < found["value"]
    worst = told("failures", *words, "--anew")["failures"][:3]
    assert {one["failure"] for one in worst} == {"river-bridge", "capital-north", "capital-east"}


def test_an_overfull_network_is_called_so() -> None:
    text = call("solve", *INPUTS, "--method", "exact", "--objective", "min-mlu").stdout
    assert "overfull" in text
    assert "overfull" not in call("solve", *INPUTS, "--method", "exact").stdout


def test_help_comes_without_the_libraries_that_take_long() -> None:
    script = (
        "import sys; from suanwang.cli.main import main\n"
        "for words in (['steer'], *(['steer', name] for name in sys.argv[1:])):\n"
        "    main([*words, '--help'], standalone_mode=False)\n"
        "print(sorted({'numpy', 'scipy', 'numba', 'matplotlib', 'highspy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script, *steer.commands], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("name", steer.commands)
def test_help_has_examples_that_can_be_typed(name: str, files: Path) -> None:
    command = steer.commands[name]
    text = str(command.epilog).replace("\\\n", " ")
    examples = [line.split() for line in text.splitlines() if line.strip().startswith("suanwang")]
    assert examples
    for _, group, mine, *words in examples:
        assert (group, mine) == ("steer", name)
        plain = [word.strip("'") for word in words]
        command.make_context(name, plain)


@pytest.mark.parametrize(
    ("words", "begun", "offered"),
    [
        (["steer"], "co", {"compare"}),
        (["steer", "solve", "--method"], "p", {"pop", "pdlp"}),
        (["steer", "solve", "--objective"], "min", {"min-mlu", "min-cost", "min-latency"}),
        (["steer", "explain", "--path-set"], "s", {"shortest", "spread"}),
        (["steer", "failures"], "--ane", {"--anew"}),
    ],
)
def test_a_shell_completes_what_can_be_chosen(words: list[str], begun: str, offered: set[str]) -> None:
    shell = ShellComplete(main, {}, "suanwang", "_SUANWANG_COMPLETE")
    assert {one.value for one in shell.get_completions(words, begun)} == offered


@pytest.mark.parametrize("flag", ["--topology", "--demands", "--classes", "--plot", "--allocation", "--map"])
def test_a_shell_completes_files(flag: str) -> None:
    shell = ShellComplete(main, {}, "suanwang", "_SUANWANG_COMPLETE")
    assert [one.type for one in shell.get_completions(["steer", "solve", flag], "x")] == ["file"]
