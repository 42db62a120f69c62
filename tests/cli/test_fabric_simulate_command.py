"""`suanwang fabric simulate`: the fields it promises, exit codes, and errors with hints."""

from __future__ import annotations

import csv
import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from suanwang.cli import fabric_inputs
from suanwang.cli.main import main

EXAMPLES = Path(__file__).parent.parent.parent / "examples" / "fabric"
TOPOLOGY = """Nodes 32
Tiers 2
Podsize 32
Tier 0
Downlink_speed_Gbps 100
Radix_Down 8
Radix_Up 8
Downlink_Latency_ns 1000
Tier 1
Downlink_speed_Gbps 100
Radix_Down 4
Downlink_Latency_ns 1000
"""
MATRIX = """Nodes 32
Connections 4
0->9 id 1 start 0 size 200000
1->17 id 2 start 5 size 50000 send_done_trigger 1
2->3 id 3 start 0 size 4096
3->2 id 4 trigger 1 size 4096
Triggers 1
trigger id 1 oneshot
"""
FABRIC = """apiVersion: suanwang/v1
kind: Fabric
metadata: {name: tiny}
spec:
  accelerators: {perServer: 4, rails: 4}
  scaleOut:
    planes: 2
    tiers:
      - {children: 4, rate: 200Gbps, latency: 500ns}
      - {children: 4, parents: 4, rate: 200Gbps, latency: 500ns}
    switch: {ports: 16, portRate: 200Gbps}
"""
BALANCES = ("ecmp", "flowlet", "spray", "adaptive", "switch-adaptive", "fare")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a small fabric, in which commands run."""
    (tmp_path / "tiny.topo").write_text(TOPOLOGY)
    (tmp_path / "tiny.cm").write_text(MATRIX)
    (tmp_path / "tiny.yaml").write_text(FABRIC)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["fabric", "simulate", *arguments])


def told(*arguments: str, exit_code: int = 0) -> dict[str, Any]:
    result = run(*arguments, "-o", "json")
    assert result.exit_code == exit_code, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


@pytest.mark.parametrize("engine", ["packet", "flow"])
@pytest.mark.parametrize("balance", BALANCES)
@pytest.mark.parametrize("cc", ["sender", "none"])
def test_the_contract(engine: str, balance: str, cc: str) -> None:
    found = told(
        "--topo", "tiny.topo", "--cm", "tiny.cm", "--engine", engine, "--balance", balance, "--cc", cc,
        "--mtu", "4096", "--seed", "3",
    )  # fmt: skip
    assert found["engine"] == engine
    assert found["balance"] == balance
    assert found["seed"] == 3
    assert found["flows"] == found["done"] == 4
    assert found["unfinished"] == ""
    assert list(found["fct_us"]) == ["min", "mean", "p50", "p99", "max"]
    times = found["fct_us"]
    assert 0 < times["min"] <= times["p50"] <= times["p99"] <= times["max"]
    assert 0 < found["utilisation"] <= 1
    assert found["packets"] == 49 + 13 + 1 + 1
    assert found["events"] > 0
    assert found["seconds"] >= 0
    assert found["peak_memory_mb"] > 10
    # The last flow waits for the second, which starts at 5 us.
    assert found["simulated_us"] >= max(times["max"], 5 + times["min"])


def test_equal_calls_have_equal_results_and_seeds_matter() -> None:
    def times(seed: int) -> dict[str, float]:
        arguments = ("--topo", "tiny.topo", "--permutation", "200kB", "--balance", "ecmp", "--seed", str(seed))
        found: dict[str, float] = told(*arguments)["fct_us"]
        return found

    assert times(3) == times(3)
    assert len({tuple(times(seed).values()) for seed in range(4)}) > 1


@pytest.mark.parametrize("engine", ["packet", "flow"])
@pytest.mark.parametrize(
    ("pattern", "flows"), [(("--permutation", "50kB"), 32), (("--all-to-all", "5kB"), 992), (("--incast", "7:20kB"), 7)]
)
def test_patterns_say_who_sends(engine: str, pattern: tuple[str, str], flows: int) -> None:
    found = told("tiny.topo", *pattern, "--engine", engine)
    assert found["flows"] == found["done"] == flows


def test_both_engines_agree_on_long_flows() -> None:
    arguments = ("--topo", "tiny.topo", "--permutation", "4MB", "--balance", "fare")
    packets, fluids = told(*arguments), told(*arguments, "--engine", "flow")
    assert packets["fct_us"]["mean"] == pytest.approx(fluids["fct_us"]["mean"], rel=0.04)
    assert packets["utilisation"] > 0.95


def test_failures_and_degraded_cables() -> None:
    common = ("--topo", "tiny.topo", "--permutation", "1MB", "--balance", "fare")
    whole = told(*common)["fct_us"]["max"]
    spines = [part for one in (1, 2, 5, 6) for part in ("--fail", f"leaf0-spine{one}")]
    assert 1.2 * whole < told(*common, *spines)["fct_us"]["max"] < 2.5 * whole
    weak = told(*common, "--degrade", "leaf0-spine1=0.1")["fct_us"]["max"]
    blind = told(*common[:-1], "spray", "--degrade", "leaf0-spine1=0.1")["fct_us"]["max"]
    assert 0.98 * whole < weak < blind
    cut = told(*common, "--fail", "leaf0-spine1@20us", "--fail", "node:spine2@30us", "--reconvergence", "20us")
    healed = told(*common, "--fail", "leaf0-spine1@20us", "--heal", "leaf0-spine1@40us", "--reconvergence", "20us")
    assert cut["done"] == healed["done"] == 32
    assert cut["counts"]["drops"] > 0
    straggler = told(*common, "--degrade", "node:gpu3=0.5")["fct_us"]["max"]
    assert straggler > 1.8 * whole


def test_planes_of_a_fabric_carry_more_and_one_may_fail() -> None:
    common = ("tiny.yaml", "--permutation", "2MB", "--balance", "switch-adaptive")
    assert told(*common)["flows"] == 16
    whole = told(*common)["fct_us"]["mean"]
    halved = told(*common, *(part for one in range(4) for part in ("--fail", f"node:p1-leaf{one}")))["fct_us"]["mean"]
    assert 1.8 < halved / whole < 2.2


def test_what_a_full_queue_does() -> None:
    common = ("--topo", "tiny.topo", "--incast", "20:200kB", "--cc", "none", "--balance", "spray")
    counts = {full: told(*common, "--full", full)["counts"] for full in ("trim", "drop", "pfc")}
    assert counts["trim"]["trims"] > 0
    assert counts["drop"]["drops"] > 0
    assert counts["pfc"]["pauses"] > 0
    assert counts["pfc"]["drops"] == counts["pfc"]["trims"] == counts["trim"]["drops"] == counts["drop"]["trims"] == 0
    small = told(*common, "--queue", "20kB")["counts"]
    assert small["deepest_queue_bytes"] <= 20_000 < counts["trim"]["deepest_queue_bytes"]
    lossy = told(*common, "--full", "drop", "--recovery", "go-back-n", "--loss", "0.01")
    assert lossy["counts"]["losses"] > 0
    assert lossy["done"] == 20


def test_a_collective_is_flows_that_wait_for_each_other(folder: Path) -> None:
    """What is saved as a matrix and read again takes as long."""
    saved = folder / "ring.cm"
    pattern = ("--topo", "tiny.topo", "--balance", "fare")
    first = told(*pattern, "--collective", "all-reduce:320KB:ring", "--save-cm", str(saved))
    assert first["flows"] == 32 * 62
    assert first["done"] == first["flows"]
    assert told(*pattern, "--cm", str(saved))["fct_us"] == first["fct_us"]
    quickest = told(*pattern, "--collective", "all-reduce:320KB")
    assert quickest["simulated_us"] <= first["simulated_us"]


@pytest.mark.parametrize(
    ("text", "words"), [("all-reduce", "KIND:SIZE"), ("all-sing:1MB", "all-reduce"), ("all-reduce:1MB:tango", "tango")]
)
def test_collectives_that_are_none(folder: Path, text: str, words: str) -> None:
    found = run("--topo", "tiny.topo", "--collective", text)
    assert found.exit_code == 1
    assert words in found.output


def test_flows_are_written_as_csv(folder: Path) -> None:
    found = told("--topo", "tiny.topo", "--cm", "tiny.cm", "--flows", "flows.csv")
    with (folder / "flows.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["source"], row["target"], row["size_bytes"]) for row in rows][:2] == [
        ("0", "9", "200000"),
        ("1", "17", "50000"),
    ]
    assert max(float(row["fct_us"]) for row in rows) == found["fct_us"]["max"]


@pytest.mark.parametrize("arguments", [("--until", "10us"), ("--fail", "node:gpu0@2us")])
def test_flows_that_were_not_done_are_told_by_the_exit_code(folder: Path, arguments: tuple[str, str]) -> None:
    found = told("--topo", "tiny.topo", "--cm", "tiny.cm", *arguments, "--flows", "flows.csv", exit_code=2)
    assert found["done"] < found["flows"]
    assert "not done" in found["unfinished"]
    assert "0,9,200000,,0.000\n" in (folder / "flows.csv").read_text()


def test_text_for_people() -> None:
    result = run("--topo", "tiny.topo", "--cm", "tiny.cm")
    assert result.exit_code == 0
    assert result.stdout.startswith("4 flows, adaptive, packet engine, seed 1\n")
    assert "completion (us)" in result.stdout
    assert "utilisation" in result.stdout
    assert run("--topo", "tiny.topo", "--cm", "tiny.cm", "-o", "yaml").stdout.startswith("engine: packet\n")


def test_start_times_have_units(folder: Path) -> None:
    (folder / "late.cm").write_text("Nodes 32\nConnections 1\n0->9 id 1 start 7 size 1000\n")
    assert told("tiny.topo", "--cm", "late.cm")["simulated_us"] > 7
    assert told("tiny.topo", "--cm", "late.cm", "--start-unit", "ps")["simulated_us"] < 7 + 5


def test_a_training_step_of_an_example() -> None:
    found = told(str(EXAMPLES / "pod.yaml"), "--workload", str(EXAMPLES / "workloads" / "dense-405b.yaml"))
    assert found
    text = run(str(EXAMPLES / "pod.yaml"), "--workload", str(EXAMPLES / "workloads" / "dense-405b.yaml"))
    assert text.exit_code == 0
    assert "exposed" in text.stdout


def test_flags_of_training_steps() -> None:
    common = (str(EXAMPLES / "pod.yaml"), "--workload", str(EXAMPLES / "workloads" / "dense-405b.yaml"))
    whole = told(*common)["step_ms"]
    for flags in (("--degrade", "scale-out=0.5"), ("--degrade", "scale-up/1=0.5"), ("--slow", "17=1.5")):
        assert told(*common, *flags)["step_ms"] > 1.02 * whole
    for flags, words in (
        (("--degrade", "scale-out"), "NETWORK=SHARE"),
        (("--degrade", "scale-out=0.5", "--degrade", "scale-out=0.6"), "twice"),
        (("--degrade", "leaf0-spine1=0.5"), "there are scale-out/1"),
        (("--peak", "989"), "no unit"),
        (("--peak", "989TFLOPS"), "go with Chakra traces"),
        (("--memory-rate", "3TB/s"), "go with Chakra traces"),
        (("--fail", "leaf0-spine1"), "--fail does not go with --workload"),
    ):
        result = run(*common, *flags)
        assert result.exit_code == 1
        assert words in result.output


def test_rates_time_traces(folder: Path) -> None:
    """Metadata, then one node that computes (type 4) with num_ops 2 * 10^9, as a trace of one rank."""
    count = bytes([10, 7]) + b"num_ops" + bytes([72, 128, 168, 214, 185, 7])
    body = bytes([8, 1, 24, 4, 82, len(count)]) + count
    (folder / "job.0.et").write_bytes(bytes([7, 10, 5]) + b"0.0.4" + bytes([len(body)]) + body)
    common = ("tiny.yaml", "--workload", "job.0.et")
    assert told(*common)["step_ms"] == 0
    assert told(*common, "--peak", "1TFLOPS")["step_ms"] == pytest.approx(2)
    assert told(*common, "--peak", "1TFLOPS", "--slow", "9=1.5")["step_ms"] == pytest.approx(3)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--topo", "tiny.topo"), "say who sends"),
        (("--topo", "tiny.topo", "--cm", "tiny.cm", "--incast", "2:1MB"), "say who sends"),
        (("--cm", "tiny.cm"), "name FILE"),
        (("tiny.yaml", "--topo", "tiny.topo", "--cm", "tiny.cm"), "name FILE"),
        (("--topo", "none.topo", "--cm", "tiny.cm"), "No such file or directory: none.topo"),
        (("--topo", "tiny.topo", "--cm", "none.cm"), "No such file or directory: none.cm"),
        (("--topo", "tiny.cm", "--cm", "tiny.cm"), "give it as --cm"),
        (("--topo", "tiny.topo", "--cm", "tiny.topo"), "is not known here"),
        (("tiny.topo", "--cm", "tiny.cm", "--fail", "leaf0-spine9"), "did you mean spine"),
        (("tiny.topo", "--cm", "tiny.cm", "--fail", "leaf0-leaf1"), "leaf0 is joined with"),
        (("tiny.topo", "--cm", "tiny.cm", "--fail", "leaf0"), "A-B"),
        (("tiny.topo", "--cm", "tiny.cm", "--fail", "leaf0-spine1#7"), "they count from 0"),
        (("tiny.topo", "--cm", "tiny.cm", "--fail", "leaf0-spine1@5"), "has no unit"),
        (("tiny.topo", "--cm", "tiny.cm", "--fail", "leaf0-spine1@soon"), "soon"),
        (("tiny.topo", "--cm", "tiny.cm", "--fail", "node:gpu0"), "[DISCONNECTED]"),
        (("tiny.topo", "--cm", "tiny.cm", "--degrade", "leaf0-spine1"), "LINK=SHARE"),
        (("tiny.topo", "--cm", "tiny.cm", "--degrade", "leaf0-spine1=x"), "is no share"),
        (("tiny.topo", "--cm", "tiny.cm", "--degrade", "leaf0-spine1=2"), "give 0 to 1"),
        (("tiny.topo", "--cm", "tiny.cm", "--degrade", "leaf0-spine1=nan"), "give 0 to 1"),
        (("tiny.topo", "--cm", "tiny.cm", "--heal", "leaf0-spine1"), "has no time"),
        (("tiny.topo", "--cm", "tiny.cm", "--engine", "flow", "--fail", "leaf0-spine1@5us"), "leave the time out"),
        (("tiny.topo", "--cm", "tiny.cm", "--mtu", "3"), "from 64"),
        (("tiny.topo", "--cm", "tiny.cm", "--mtu", "4xb"), "unknown unit"),
        (("tiny.topo", "--cm", "tiny.cm", "--recovery", "go-back-n"), "choose drop or pfc"),
        (("tiny.topo", "--cm", "tiny.cm", "--loss", "1"), "--loss"),
        (("tiny.topo", "--cm", "tiny.cm", "--balance", "best"), "ecmp"),
        (("tiny.topo", "--cm", "tiny.cm", "--seed", "-1"), "--seed"),
        (("tiny.topo", "--cm", "tiny.cm", "--network", "scale-up"), "no scale-up network"),
        (("tiny.topo", "--incast", "4"), "N:SIZE"),
        (("tiny.topo", "--incast", "0:1MB"), "0 endpoints can't send"),
        (("tiny.topo", "--permutation", "0"), "has no bytes"),
        (("tiny.topo", "--permutation", "1 parsec"), "--permutation"),
        (("tiny.topo", "--all-to-all", "1GB", "--memory", "10MB"), "[TOO_LARGE]"),
        (("tiny.topo", "--cm", "tiny.cm", "--flows", "flows.txt"), ".csv"),
        (("tiny.topo", "--workload", "none.yaml"), "none.yaml"),
        (("tiny.topo", "--workload", "tiny.yaml", "--slow", "x"), "N=FACTOR"),
    ],
)
def test_mistakes_are_told(folder: Path, arguments: tuple[str, ...], words: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 1, result.output
    assert words in result.output
    assert "Traceback" not in result.output
    as_json = json.loads(run(*arguments, "-o", "json").stderr)
    assert as_json["errors"][0]["code"] != "DEFECT"
    assert {one.name for one in folder.iterdir()} <= {"tiny.topo", "tiny.cm", "tiny.yaml", "config", "no-server"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Nodes 32\nConnections 1\n5->5 id 1 start 0 size 1000\n", "itself"),
        ("Nodes 32\nConnections 1\n0->32 id 1 start 0 size 1000\n", "32"),
        ("Nodes 32\nConnections 1\n0->1 id 1 start 0 size 0\n", "size"),
        ("Nodes 32\nConnections 2\n0->1 id 1 start 0 size 10\n", "2"),
        ("Nodes 32\nConnections 1\n0->1 id 1 start -5 size 10\n", "start"),
        ("Nodes 32\nConnections 1\n0->1 id 1 trigger 4 size 10\n", "4"),
        ("Nodes 64\nConnections 1\n0->40 id 1 start 0 size 10\n", "64"),
        ("Nodes 32\nConnections 1\nzero->1 id 1 start 0 size 10\n", "broken.cm:3"),
        ("", "broken.cm"),
    ],
)
def test_matrices_that_make_no_sense_are_refused(folder: Path, text: str, words: str) -> None:
    (folder / "broken.cm").write_text(text)
    result = run("tiny.topo", "--cm", "broken.cm")
    assert result.exit_code == 1, result.output
    assert words in result.output
    assert "DEFECT" not in result.output


NS3 = "8 4 2 8\n4 5 6 7\n" + "".join(
    f"{a} {b} {rate} 1us 0\n"
    for a, b, rate in (
        (0, 4, "25000000000.0"), (1, 4, "25Gbps"), (2, 5, "25Gbps"), (3, 5, "25Gbps"),
        (4, 6, "40Gbps"), (4, 7, "40Gbps"), (5, 6, "40Gbps"), (5, 7, "40Gbps"),
    )
)  # fmt: skip
SIMAI = "10 2 2 4 16 H100\n4 5 6 7 8 9\n" + "".join(
    f"{a} {b} {rate} 0.0005ms 0\n"
    for a, b, rate in (
        (0, 4, "2880Gbps"), (1, 4, "2880Gbps"), (2, 5, "2880Gbps"), (3, 5, "2880Gbps"),
        *((gpu, leaf, "200Gbps") for gpu in range(4) for leaf in (6, 7)),
        (6, 8, "400Gbps"), (6, 8, "400Gbps"), (7, 9, "400Gbps"), (7, 9, "400Gbps"),
    )
)  # fmt: skip
CONTAINERLAB = """name: lab
topology:
  kinds: {linux: {image: alpine}, nokia_srlinux: {image: srl}}
  groups: {leaves: {kind: nokia_srlinux, labels: {tier: 1, plane: 0}}}
  nodes: {h1: {}, h2: {}, h3: {}, leaf-1: {group: leaves}, leaf-2: {group: leaves}}
  links:
    - endpoints: [h1:eth1, leaf-1:e1-1]
    - endpoints: [h2:eth1, leaf-1:e1-2]
    - endpoints: [h3:eth1, leaf-2:e1-1]
    - {type: veth, endpoints: [{node: leaf-1, interface: e1-9}, {node: leaf-2, interface: e1-9}]}
    - {type: veth, endpoints: [{node: leaf-1, interface: e1-10}, {node: leaf-2, interface: e1-10}]}
"""


@pytest.mark.parametrize("engine", ["packet", "flow"])
@pytest.mark.parametrize(
    ("text", "endpoints", "link"),
    [(NS3, 4, "switch4-switch6"), (SIMAI, 4, "gpu0-switch6"), (CONTAINERLAB, 3, "leaf-1-leaf-2#1")],
)
def test_topologies_of_others_carry_flows(folder: Path, text: str, endpoints: int, link: str, engine: str) -> None:
    (folder / "theirs").write_bytes(b"\xef\xbb\xbf" + text.replace("\n", " \r\n").encode())
    for balance in BALANCES:
        common = ("--topo", "theirs", "--all-to-all", "100KB", "--engine", engine, "--balance", balance)
        whole = told(*common)
        assert whole["done"] == whole["flows"] == endpoints * (endpoints - 1)
        cut = told(*common, "--fail", link, "--degrade", f"node:{'h1' if 'name' in text else 'gpu1'}=0.5")
        assert cut["done"] == cut["flows"]
        assert cut["fct_us"]["max"] > whole["fct_us"]["max"]


@pytest.mark.parametrize("engine", ["packet", "flow"])
def test_ctrl_c_ends_a_run_and_tells_what_was_done(monkeypatch: pytest.MonkeyPatch, engine: str) -> None:
    asked: list[int] = []

    @contextmanager
    def bar(_what: str) -> Iterator[Callable[[int, int], bool]]:
        def tell(done: int, _flows: int) -> bool:
            asked.append(done)
            os.kill(os.getpid(), signal.SIGINT)
            return True

        yield tell

    monkeypatch.setattr(fabric_inputs, "bar", bar)
    size = "1MB" if engine == "packet" else "100KB"
    words = ["--topo", "tiny.topo", "--collective", f"all-reduce:{size}:ring", "--engine", engine, "-o", "json"]
    monkeypatch.setattr("suanwang.fabric.packet.engine.SLICE_EVENTS", 5000)
    monkeypatch.setattr("suanwang.fabric.flow.engine.SLICE_EVENTS", 50)
    result = CliRunner().invoke(main, ["fabric", "simulate", *words])
    told = json.loads(result.stdout)
    assert result.exit_code == 2
    assert told["unfinished"].endswith("not done when stopped")
    assert len(asked) == 1
    assert told["done"] == asked[0] < told["flows"]


def test_ctrl_c_pressed_twice_stops_everything() -> None:
    with fabric_inputs.interruptible() as pressed:
        assert not pressed()
        os.kill(os.getpid(), signal.SIGINT)
        assert pressed()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_ctrl_c_that_is_ignored_stays_so() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with fabric_inputs.interruptible() as pressed:
            os.kill(os.getpid(), signal.SIGINT)
            assert not pressed()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_what_a_file_says_and_no_engine_takes_is_told(folder: Path) -> None:
    (folder / "lossy.txt").write_text("3 1 2\n2\n0 2 100Gbps 1us 0.01\n1 2 100Gbps 1us 0\n")
    result = CliRunner().invoke(main, ["fabric", "simulate", "--topo", "lossy.txt", "--permutation", "10KB"])
    assert result.exit_code == 0
    assert "lossy.txt lose up to 0.01 of their packets: not simulated; --loss gives" in result.stderr


@pytest.mark.parametrize("engine", ["packet", "flow"])
def test_how_long_a_collective_takes_is_told(engine: str) -> None:
    words = ["--topo", "tiny.topo", "--collective", "all-reduce:1MB", "--engine", engine]
    told = json.loads(CliRunner().invoke(main, ["fabric", "simulate", *words, "-o", "json"]).stdout)
    said = told["collective"]
    assert (said["kind"], said["bytes"], said["time_us"]) == ("all-reduce", 1_000_000, told["simulated_us"])
    assert said["time_us"] > told["fct_us"]["max"]
    text = CliRunner().invoke(main, ["fabric", "simulate", *words]).stdout
    assert f"us for 1,000,000 bytes, {said['algorithm']}" in text
    table = CliRunner().invoke(main, ["fabric", "compare", *words, "--balance", "spray", "--seeds", "2"]).stdout
    assert table.splitlines()[0].endswith("ALL-REDUCE")
    assert table.splitlines()[1].endswith(f" us, {said['algorithm']}")


def test_flags_of_packets_are_noted_where_there_are_none() -> None:
    words = ["fabric", "simulate", "--topo", "tiny.topo", "--permutation", "1KB", "--engine", "flow"]
    result = CliRunner().invoke(main, [*words, "--loss", "0.1", "--queue", "64KB"])
    assert result.exit_code == 0
    assert "the flow engine knows no packets: --loss, --queue says nothing to it" in result.stderr
    assert not CliRunner().invoke(main, words).stderr
