"""`suanwang fabric plot`: pictures, cabling lists and exports, and errors with a hint."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from suanwang.cli.main import main

POD = Path(__file__).parent.parent.parent / "examples" / "fabric" / "pod.yaml"
TINY = """Nodes 32
Tiers 2
Podsize 32
Tier 0
Downlink_speed_Gbps 100
Radix_Down 8
Radix_Up 2
Downlink_Latency_ns 1000
Tier 1
Downlink_speed_Gbps 100
Radix_Down 4
Downlink_Latency_ns 1000
"""


@pytest.fixture
def tiny(tmp_path: Path) -> str:
    file = tmp_path / "tiny.topo"
    file.write_text(TINY)
    return str(file)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["fabric", "plot", *arguments])


def told(*arguments: str) -> dict[str, Any]:
    result = run(*arguments, "-o", "json")
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_a_fabric_is_drawn(tmp_path: Path) -> None:
    file = tmp_path / "pod.svg"
    found = told(str(POD), "--to", str(file))
    assert (found["endpoints"], found["switches"]) == (61_440, 544)
    assert found["written"] == [{"what": "picture", "file": str(file), "bytes": file.stat().st_size}]
    assert file.read_bytes().startswith(b"<?xml")


def test_failures_are_drawn(tiny: str, tmp_path: Path) -> None:
    file = tmp_path / "failed.svg"
    assert told(tiny, "--fail", "leaf0-spine1", "--to", str(file))["failed"] == ["leaf0-spine1"]
    assert b"#d7263d" in file.read_bytes()


@pytest.mark.parametrize("form", ["containerlab", "infragraph", "simai", "ns3", "htsim"])
def test_exports_are_read_again(tiny: str, tmp_path: Path, form: str) -> None:
    file = tmp_path / ("again.yaml" if form in ("containerlab", "infragraph") else "again.txt")
    told(tiny, "--export", form, "--to", str(file))
    picture = tmp_path / "again.png"
    found = told(str(file), "--to", str(picture))
    assert (found["endpoints"], found["switches"]) == (32, 6)
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_cabling_and_graph_are_written(tiny: str, tmp_path: Path) -> None:
    cabling, dot = tmp_path / "c.csv", tmp_path / "c.dot"
    found = told(tiny, "--cabling", str(cabling), "--dot", str(dot))
    assert [one["what"] for one in found["written"]] == ["cabling", "dot"]
    lines = cabling.read_text().splitlines()
    assert len(lines) == 41
    assert lines[1].startswith("gpu0,swp1,,leaf0,swp1,,100Gbps,0,1,")
    assert dot.read_text().startswith('graph "tiny" {')
    assert told(str(cabling), "--to", str(tmp_path / "x.svg"))["switches"] == 6


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "say where to"),
        (("--to", "x.pdf"), "is no .svg or .png"),
        (("--export", "ns3"), "say where to"),
        (("--to", "x.svg", "--fail", "leaf0-spin1"), "did you mean spine1?"),
        (("--cabling", "y.csv", "--fail", "nonsense"), "--fail marks links in a picture"),
        (("--export", "ns3", "--to", "y.txt", "--fail", "leaf0-spine1"), "--fail marks links in a picture"),
        (("--to", "x.svg", "--network", "scale-up"), "no scale-up network"),
        (("--to", "/nowhere/x.svg"), "there is no folder"),
    ],
)
def test_mistakes_are_told(
    tiny: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: Any, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(tiny, *arguments)
    assert result.exit_code != 0
    assert words in result.output
    assert not [*tmp_path.glob("*.svg"), *tmp_path.glob("y.*")]


def test_what_is_no_fabric_is_told(tmp_path: Path) -> None:
    file = tmp_path / "x.txt"
    file.write_text("hello\n")
    result = run(str(file), "--to", str(tmp_path / "x.svg"))
    assert result.exit_code == 1
    assert "known are" in result.output
    assert "No such file" in run(str(tmp_path / "none"), "--to", str(tmp_path / "x.svg")).output


def test_type_and_length_of_cables_are_listed(tmp_path: Path) -> None:
    file = tmp_path / "c.csv"
    told(str(POD.parent / "small.yaml"), "--cabling", str(file))
    with file.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    below = {tier: {(row["type"], row["length"]) for row in rows if row["tier"] == tier} for tier in ("1", "2")}
    assert all(len(found) == 1 for found in below.values())
    assert any(kind for found in below.values() for kind, _ in found)
