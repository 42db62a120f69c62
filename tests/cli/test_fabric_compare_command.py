"""`suanwang fabric compare`: policies, seeds and fabrics side by side."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from suanwang.cli.main import main

FABRIC = """apiVersion: suanwang/v1
kind: Fabric
metadata: {{name: {name}}}
spec:
  accelerators: {{perServer: 4, rails: {rails}}}
  scaleOut:
    railsJoinedAt: {joined}
    tiers:
      - {{children: 4, rate: 100Gbps, latency: 500ns}}
      - {{children: 4, parents: {parents}, rate: 100Gbps, latency: 500ns}}
    switch: {{ports: 16, portRate: 100Gbps}}
"""
FIELDS = {"flows", "done", "unfinished", "fct_us", "utilisation", "packets", "events", "seconds", "peak_memory_mb"}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, rails, joined, parents in (("rails", 4, 2, 4), ("plain", 1, 1, 4), ("thin", 1, 1, 1)):
        text = FABRIC.format(name=name, rails=rails, joined=joined, parents=parents)
        (tmp_path / f"{name}.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["fabric", "compare", *arguments])


def told(*arguments: str, exit_code: int = 0) -> dict[str, Any]:
    result = run(*arguments, "-o", "json")
    assert result.exit_code == exit_code, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_all_policies_stand_side_by_side() -> None:
    found = told("plain.yaml", "--permutation", "1MB")
    runs = {row["run"]: row for row in found["runs"]}
    assert list(runs) == ["ecmp", "flowlet", "spray", "adaptive", "switch-adaptive", "fare"]
    assert all(row.keys() >= FIELDS for row in runs.values())
    assert all(row["done"] == row["flows"] == 16 for row in runs.values())
    assert runs["ecmp"]["fct_us"]["max"] > 1.5 * runs["fare"]["fct_us"]["max"]
    assert runs["fare"]["utilisation"] > 0.95 > runs["ecmp"]["utilisation"]


def test_a_run_is_what_simulate_tells() -> None:
    arguments = ["plain.yaml", "--permutation", "300kB", "--balance", "adaptive", "--seed", "5", "-o", "json"]
    alone = json.loads(CliRunner().invoke(main, ["fabric", "simulate", *arguments]).stdout)
    row = told(*arguments[:-2])["runs"][0]
    changing = {"seconds", "peak_memory_mb"}
    assert {name: row[name] for name in FIELDS - changing} == {name: alone[name] for name in FIELDS - changing}


def test_flows_of_several_seeds_are_taken_together() -> None:
    found = told("plain.yaml", "--permutation", "100kB", "--balance", "ecmp", "--balance", "fare", "--seeds", "3")
    assert found["seeds"] == 3
    assert [row["flows"] for row in found["runs"]] == [48, 48]
    one = told("plain.yaml", "--permutation", "100kB", "--balance", "ecmp", "--seed", "2")["runs"][0]
    assert found["runs"][0]["fct_us"]["max"] >= one["fct_us"]["max"]
    assert found["runs"][0]["packets"] > 2 * one["packets"]


def test_fabrics_stand_side_by_side() -> None:
    found = told("plain.yaml", "--with", "thin.yaml", "--with", "rails.yaml", "--permutation", "500kB",
                 "--balance", "fare")  # fmt: skip
    times = {row["run"]: row["fct_us"]["mean"] for row in found["runs"]}
    assert list(times) == ["plain fare", "thin fare", "rails fare"]
    assert times["thin fare"] > 2 * times["plain fare"]


@pytest.mark.parametrize(("form", "magic"), [("png", b"\x89PNG"), ("svg", b"<?xml")])
@pytest.mark.parametrize("engine", ["packet", "flow"])
def test_a_picture_is_drawn(folder: Path, form: str, magic: bytes, engine: str) -> None:
    told("plain.yaml", "--permutation", "100kB", "--engine", engine, "--balance", "ecmp", "--balance", "fare",
         "--plot", f"times.{form}")  # fmt: skip
    assert (folder / f"times.{form}").read_bytes().startswith(magic)


def test_text_for_people() -> None:
    result = run("plain.yaml", "--permutation", "100kB", "--balance", "ecmp", "--balance", "fare")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["RUN", "MIN", "MEAN", "P50", "P99", "MAX", "UTILISATION", "DONE", "SECONDS"]
    assert [line.split()[0] for line in lines[1:3]] == ["ecmp", "fare"]
    assert lines[1].split()[7] == "16/16"


def test_flows_that_were_not_done_are_told_by_the_exit_code(folder: Path) -> None:
    arguments = ("plain.yaml", "--permutation", "1MB", "--balance", "fare", "--until", "3us")
    row = told(*arguments, "--plot", "times.svg", exit_code=2)["runs"][0]
    assert row["done"] == 0
    assert row["fct_us"]["mean"] is None
    assert not (folder / "times.svg").exists()
    assert run(*arguments).exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("plain.yaml", "--permutation", "1MB", "--plot", "times.pdf"), ".svg"),
        (("plain.yaml", "--permutation", "1MB", "--plot", "nowhere/times.svg"), "there is no folder"),
        (("plain.yaml", "--permutation", "1MB", "--balance", "best"), "ecmp"),
        (("plain.yaml", "--permutation", "1MB", "--balance", "ecmp", "--balance", "ecmp"), "stands twice"),
        (("plain.yaml", "--permutation", "1MB", "--with", "plain.yaml", "--balance", "ecmp"), "stands twice"),
        (("plain.yaml", "--permutation", "1MB", "--with", "none.yaml"), "none.yaml"),
        (("plain.yaml", "--permutation", "1MB", "--seeds", "0"), "--seeds"),
        (("plain.yaml",), "say who sends"),
    ],
)
def test_mistakes_are_told(folder: Path, arguments: tuple[str, ...], words: str) -> None:
    before = set(folder.iterdir())
    result = run(*arguments)
    assert result.exit_code == 1, result.output
    assert words in result.output
    assert "DEFECT" not in result.output
    assert set(folder.iterdir()) == before
