"""Workloads' numbers: full training steps on 61,440 accelerators, traces and texts; asked and measured.

`lines()` gives (what, measured, asked, kept, note), for bench/fabric.py. Published figures stand beside ours where
there are some; what large matrix products reach (efficiency) is an assumption of the description, not a result.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import yaml

from suanwang.fabric.collectives import cost
from suanwang.fabric.design.opening import read_design
from suanwang.fabric.workload.forms import read_workload, run_step
from suanwang.fabric.workload.result import StepResult
from suanwang.fabric.workload.wire import write_field, write_varint

EXAMPLES = Path(__file__).parents[1] / "examples/fabric/workloads"
FABRIC = "apiVersion: suanwang/v1\nkind: Fabric\nmetadata: {{name: {name}}}\nspec: {{preset: {name}}}\n"
ASKED_S = 10.0
RANKS, NODES = 256, 500

Line = tuple[str, str, str, bool | None, str]


def forget() -> None:
    """Empties what collectives remember, so that each step is timed from nothing."""
    for name in ("_quickest", "_profile", "_of_all_rails", "_split"):
        cached = getattr(cost, name, None)
        if cached is not None and hasattr(cached, "cache_clear"):
            cached.cache_clear()


def step(path: Path, preset: str) -> tuple[StepResult, float]:
    """The result and the seconds that reading and running took."""
    forget()
    start = time.perf_counter()
    design = read_design(FABRIC.format(name=preset))
    return run_step(read_workload(path), design), time.perf_counter() - start


def full_steps() -> Iterator[Line]:
    """The dense and the MoE example on the pod of 61,440."""
    for name in ("dense-405b", "moe-671b"):
        result, seconds = step(EXAMPLES / f"{name}.yaml", "cmcc-61440")
        note = f"{result.step_ps / 10**12:.2f} s a step, MFU {result.utilisation:.1%}"
        if routed := sum(use.exposed_ps for use in result.collectives if use.kind.startswith("moe-")):
            note += f"; {routed / result.step_ps:.0%} of it all-to-all, which DualPipe (not simulated) would hide"
        yield f"{name} on 61,440 accelerators", f"{seconds:.2f} s", f"<= {ASKED_S:g} s", seconds <= ASKED_S, note
        print(result.text(), "\n")


def llama() -> Iterator[Line]:
    """Llama 3 (2024), table 4: 405B on 8,192 and 16,384 GPUs with one batch reaches 430 and 400 TFLOPS each."""
    document = yaml.safe_load((EXAMPLES / "dense-405b.yaml").read_text())
    spec = document["spec"]
    spec["batch"]["global"] = 2048
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for data in (64, 128):
            layout = [0, *[1] * 126, 0]
            spec["parallelism"] = {"tensor": 8, "pipeline": 16, "interleaving": 8, "data": data, "layout": layout}
            file = Path(folder) / "llama.yaml"
            file.write_text(yaml.safe_dump(document))
            result, _ = step(file, "three-tier")
            found.append(result.utilisation * 989)
    note = f"published 430 and 400: {430 / 400:.3f}; the efficiency is assumed"
    yield "Llama 3 405B, TFLOPS on 8,192 over 16,384", f"{found[0]:.0f} / {found[1]:.0f}", "", None, note
    yield "  ratio", f"{found[0] / found[1]:.3f}", "", None, note


def written(folder: Path) -> None:
    """A trace of computing and all-reduces in turns, a file for each rank."""

    def message(body: bytes) -> bytes:
        return write_varint(len(body)) + body

    def attribute(name: str, value: int) -> bytes:
        return write_field(10, write_field(1, name) + write_field(9, value))

    whole = message(write_field(1, "0.0.4"))
    for at in range(NODES):
        body = write_field(1, at) + write_field(2, f"node {at}") + write_field(3, 7 if at % 2 else 4)
        body += write_field(5, at - 1) if at else b""
        body += attribute("comm_type", 0) + attribute("comm_size", 2**20) if at % 2 else write_field(7, 50)
        whole += message(body)
    for rank in range(RANKS):
        (folder / f"made.{rank}.et").write_bytes(whole)


def traces() -> Iterator[Line]:
    """Reading traces and doing them again."""
    with tempfile.TemporaryDirectory() as folder:
        written(Path(folder))
        design = read_design(FABRIC.format(name="leaf-spine"))
        start = time.perf_counter()
        workload = read_workload(folder)
        middle = time.perf_counter()
        result = run_step(workload, design)
        end = time.perf_counter()
    nodes = RANKS * NODES
    yield f"Chakra: {nodes:,} nodes of {RANKS} ranks read", f"{middle - start:.2f} s", "", None, ""
    yield "Chakra: done again", f"{end - middle:.2f} s", "", None, f"{result.step_ps / 10**9:.2f} ms simulated"


def lines() -> Iterator[Line]:
    """All of it."""
    yield from full_steps()
    yield from llama()
    yield from traces()
