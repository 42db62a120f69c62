"""`suanwang fabric lab`: what it asks for, what it refuses, and what it tells of real routers."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from suanwang.cli import fabric_lab
from suanwang.cli.main import main
from suanwang.fabric.cabling.neighbours import Comparison
from suanwang.fabric.cabling.sessions import Discovery
from suanwang.fabric.clos import Clos, Tier
from suanwang.fabric.configure.plan import Options
from suanwang.lab import namespaces
from suanwang.lab.fabric_cabling import Survey
from suanwang.lab.fabric_setting import Setting
from suanwang.lab.fabric_trial import Outcome, Phase
from suanwang.lab.fabric_weights import Match
from suanwang.lab.state import LabDirectory

SMALL = """apiVersion: suanwang/v1
kind: Fabric
metadata: {name: two}
spec:
  scaleOut:
    tiers:
      - {children: 1, rate: 200Gbps}
      - {children: 2, parents: 2, rate: 200Gbps}
    switch: {ports: 16, portRate: 200Gbps}
"""
NOBODY = "import os; os.geteuid = lambda: 1000; from suanwang.cli.main import main; main()"


def test_help_says_what_it_does() -> None:
    result = CliRunner().invoke(main, ["fabric", "lab", "--help"])
    assert result.exit_code == 0
    for word in ("--cut", "--miscable", "--keep", "--output", "Examples", "NODE:PORT", "Needs root"):
        assert word in result.output.replace("\n  ", " ")


def test_a_repair_after_which_nothing_passes_is_told() -> None:
    setting = Setting(Clos((Tier(1, 1, 10**9), Tier(2, 2, 10**9))).network(), Options(bfd=False))
    heard = Survey(0, 0, Comparison(0, (), (), ()), Discovery((), ()))
    healed = Phase("heal spine0", (), Match(()), 12.0, 1, None, passing=False)
    outcome = Outcome(setting, surveys=[heard], phases=[replace(healed, name="cut", passing=True), healed])
    told = fabric_lab.fields(outcome)
    assert [phase["passing"] for phase in told["phases"]] == [True, False]
    assert not told["good"]
    lines = fabric_lab.text(outcome).splitlines()
    assert "heal spine0: packets do not pass in every plane again" in lines
    assert sum("do not pass" in line for line in lines) == 1


def test_it_needs_root() -> None:
    words = [sys.executable, "-c", NOBODY, "fabric", "lab", "-o", "json"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    error = json.loads(done.stderr)["error"]
    assert error["code"] == "LAB_NEEDS"
    assert "sudo" in error["hint"]


@pytest.fixture
def name() -> str:
    if shutil.which("vtysh") is None:
        pytest.skip("needs FRR (package frr)")
    return f"c{os.getpid()}"


@pytest.mark.root
@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("--cut", "leaf9:swp1"), "NOT_FOUND"),
        (("--miscable", "p0-leaf0:swp2", "p0-leaf0:swp2"), "INVALID"),
        (("--miscable", "p0-leaf0", "p0-leaf1:swp2"), "INVALID"),
        (("--name", "no/name"), "LAB_NAME"),
    ],
)
def test_what_can_not_be_is_refused(name: str, words: tuple[str, ...], code: str) -> None:
    result = CliRunner().invoke(main, ["fabric", "lab", "-o", "json", "--name", name, *words])
    assert result.exit_code == 1
    assert json.loads(result.stderr.splitlines()[-1])["error"]["code"] == code
    assert namespaces.existing(f"{name}.") == []
    assert not LabDirectory(name).path.exists()


@pytest.mark.root
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_file_of_ones_own_with_exchanged_cables_is_kept(name: str, tmp_path: Path) -> None:
    file = tmp_path / "two.yaml"
    file.write_text(SMALL)
    words = [
        "fabric",
        "lab",
        str(file),
        "--name",
        name,
        "--cut",
        "leaf0/spine0",
        "--miscable",
        "leaf0:swp2",
        "leaf0:swp3",
    ]
    try:
        result = CliRunner().invoke(main, [*words, "--keep", "-o", "json"])
        # The cables were not as listed, and that is told, though they were found, named and put right.
        assert result.exit_code == 2, result.stderr
        told = json.loads(result.stdout)
        assert told["built"]["switches"] == 4
        assert told["cabling"][0]["remedies"][0]["text"] == (
            "exchange the plugs in leaf0 swp2 and leaf0 swp3: "
            "cables leaf0 swp2 - spine0 swp1 and leaf0 swp3 - spine1 swp1"
        )
        assert told["cabling"][1]["findings"] == []
        assert told["sessions"] == {"discovered": 8, "established": 8, "missing": [], "different": []}
        assert [phase["name"] for phase in told["phases"]] == ["start", "cut leaf0/spine0", "heal leaf0/spine0"]
        assert all(phase["equal"] == phase["weights"] == 6 for phase in told["phases"])
        assert all(phase["convergence_ms"] > 0 for phase in told["phases"])
        assert told["phases"][1]["sent"] > 0
        assert len(namespaces.existing(f"{name}.")) == 6
    finally:
        done = CliRunner().invoke(main, ["lab", "down", "--name", name])
        assert done.exit_code == 0
    assert namespaces.existing(f"{name}.") == []
