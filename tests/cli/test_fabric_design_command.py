"""`suanwang fabric design`: text for people, stable fields for programs, errors with a hint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from suanwang.cli.main import main

EXAMPLES = Path(__file__).parent.parent.parent / "examples" / "fabric"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["fabric", "design", *arguments])


def fields(*arguments: str) -> dict[str, Any]:
    result = run(*arguments, "-o", "json")
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_fields_are_stable() -> None:
    found = fields(str(EXAMPLES / "pod.yaml"))
    assert set(found) == {
        "name", "preset", "accelerators", "servers", "accelerators_per_server", "networks", "power_w",
    }  # fmt: skip
    (network,) = found["networks"]
    assert set(network) == {
        "network", "switch", "endpoints", "endpoint_bps", "planes", "trees", "rails", "rails_joined_at", "switches",
        "tiers", "cables", "transceivers", "cables_by_length", "bisection_bps", "bisection_within_trees_bps",
        "diameter_cables", "failure_domains",
    }  # fmt: skip
    assert (network["switches"], network["cables"], network["bisection_bps"]) == (544, 131_072, 819_200_000_000_000)
    assert network["tiers"][0]["oversubscription"] == 15
    assert sum(lot["count"] for lot in network["cables_by_length"]) == network["cables"]


def test_price_derivation_and_latency_are_added() -> None:
    prices = str(EXAMPLES / "prices.yaml")
    found = fields("--preset", "fused-1048576", "--prices", prices, "--derive", "--latency")
    assert found["accelerators"] == 1_048_576
    assert found["price"]["currency"] == "USD"
    assert found["price"]["total"] == pytest.approx(sum(line["total"] for line in found["price"]["lines"]))
    assert any("1,048,576 / 32,768 = 32" in line for line in found["derivation"])
    assert {budget["target_ns"] for budget in found["latency"]} == {300, 10_000}


def test_text_for_people() -> None:
    text = run("--preset", "cmcc-61440", "--derive", "--latency", "--prices", str(EXAMPLES / "prices.yaml")).stdout
    for part in ("61,440 accelerators", "15:1", "bisection 819.2 Tbit/s", "WHAT FAILS", "USD in all", "SOURCE",
                 "256 x 240 = 61,440"):  # fmt: skip
        assert part in text


@pytest.mark.parametrize("name", ["pod.yaml", "solved.yaml", "supernodes.yaml"])
def test_examples(name: str) -> None:
    assert run(str(EXAMPLES / name), "--prices", str(EXAMPLES / "prices.yaml"), "--latency").exit_code == 0


def test_presets_are_listed() -> None:
    assert "mpft-16384" in run("--list").stdout
    assert json.loads(run("--list", "-o", "json").stdout)[0]["name"] == "leaf-spine"


def test_a_topology_of_another_program(tmp_path: Path) -> None:
    (tmp_path / "Small_1.topo").write_text("Nodes 4\nTiers 2\nPodsize 4\n"
        "Tier 0\nDownlink_speed_Gbps 100\nRadix_Down 2\nRadix_Up 2\nDownlink_Latency_ns 1000\n"
        "Tier 1\nDownlink_speed_Gbps 100\nRadix_Down 2\nDownlink_Latency_ns 1000\n")  # fmt: skip
    (tmp_path / "four.txt").write_text("5 1 4\n4\n" + "".join(f"{n} 4 100Gbps 0.001ms 0\n" for n in range(4)))
    assert fields(str(tmp_path / "Small_1.topo"))["networks"][0]["switches"] == 4
    listed = fields(str(tmp_path / "four.txt"), "--latency")["networks"][0]
    assert (listed["switches"], listed["cables"], listed["bisection_bps"]) == (1, 4, None)
    assert run(str(tmp_path / "four.txt"), "--derive").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name FILE or give --preset"),
        (["--preset", "cmcc"], "there is no preset 'cmcc'"),
        (["--preset", "rack-32", str(EXAMPLES / "pod.yaml")], "one of both"),
        ([str(EXAMPLES / "prices.yaml")], "no resource of kind Fabric"),
        ([str(EXAMPLES / "pod.yaml"), "--prices", str(EXAMPLES / "pod.yaml")], "there is no field 'apiVersion' here"),
    ],
)
def test_mistakes(arguments: list[str], message: str) -> None:
    result = run(*arguments)
    assert result.exit_code != 0
    assert message in result.stderr if result.stderr else message in str(result.exception)
