"""What bench/fabric.py sends through the packet engine: fabrics and traffic, and runs in processes of their own.

With `--data` the matrices that htsim was timed on, from its own files; without it the same shapes, drawn under a seed.
"""

from __future__ import annotations

import multiprocessing
import re
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from suanwang.fabric.clos import Clos, Tier
from suanwang.fabric.design.opening import read_design
from suanwang.fabric.exchange.htsim import read_topology
from suanwang.fabric.exchange.matrix import read_matrix
from suanwang.fabric.packet.settings import Settings
from suanwang.fabric.traffic import Traffic, permutation
from suanwang.fabric.trial import Trial, run

G = 10**9
TOPOLOGY, MATRIX = "leaf_spine_1024.topo", "perm_1024n_1024c_0u_2000000b.cm"
PRESET = "apiVersion: suanwang/v1\nkind: Fabric\nmetadata: {{name: {name}}}\nspec: {{preset: {name}}}\n"

SHAPES: dict[str, tuple[Clos, int]] = {
    "128 hosts": (Clos((Tier(16, 1, 100 * G), Tier(8, 16, 100 * G))), 500_000),
    "1,024 hosts": (Clos((Tier(32, 1, 100 * G), Tier(32, 32, 100 * G))), 2_000_000),
    "8,192 hosts": (Clos((Tier(64, 1, 400 * G), Tier(128, 64, 400 * G))), 1_000_000),
    "61,440 hosts": (Clos((Tier(128, 1, 200 * G), Tier(480, 128, 200 * G))), 256_000),
}
"""Leaves and spines, and what everyone sends to someone else."""
LARGEST = 256_000

Found = dict[str, Any]


@dataclass(frozen=True)
class World:
    """A fabric and who sends; `folder` has htsim's own files."""

    name: str
    folder: Path | None = None

    @property
    def published(self) -> bool:
        """Whether this is the very matrix that published figures are for."""
        return self.folder is not None

    def made(self) -> tuple[Clos, Traffic]:
        """Coordinates and flows."""
        if self.folder is not None:
            clos = read_topology(self.folder / TOPOLOGY).clos
            return clos, read_matrix(self.folder / MATRIX, clos.endpoints).traffic
        if self.name in SHAPES:
            clos, size = SHAPES[self.name]
        else:
            design = read_design(PRESET.format(name=self.name))
            assert isinstance(design.scale_out, Clos)
            clos, size = design.scale_out, LARGEST
        return clos, permutation(clos.endpoints, size, np.random.default_rng(1))


def thousand(data: Path) -> World:
    """1,024 hosts: htsim's files where the folder has them."""
    for folder in (data / "packet", data):
        if (folder / TOPOLOGY).is_file() and (folder / MATRIX).is_file():
            return World("1,024 hosts", folder)
    return World("1,024 hosts")


def apart(function: Callable[..., Found], *arguments: Any) -> Found | None:
    """What the function returns in a process of its own; None where that was ended for want of memory."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        try:
            return process.submit(function, *arguments).result()
        except (BrokenProcessPool, MemoryError) as problem:
            print(f"    {type(problem).__name__}: {problem}")
            return None


def timed(world: World, balance: Any, times: int) -> Found:
    """The best of some runs of the whole simulation, routes included, after one on 128 hosts that compiles or loads.

    The memory is that of the process after the first run, with all that it has loaded.
    """
    send(World("128 hosts"), balance, 1)
    begun = time.perf_counter()
    clos, traffic = world.made()
    network = clos.network()
    building = time.perf_counter() - begun
    seconds: list[float] = []
    processor: list[float] = []
    peak = 0.0
    for _ in range(times):
        begun, used = time.perf_counter(), time.process_time()
        outcome = run(Trial(network, traffic, Settings(balance=balance)))
        seconds.append(time.perf_counter() - begun)
        processor.append(time.process_time() - used)
        peak = peak or peak_gb()
    best = {"all": seconds, "seconds": min(seconds), "cpu": min(processor), "peak_gb": peak, "building": building}
    return {**outcome.fields(), **best}


def send(world: World, balance: Any, seeds: int) -> list[Found]:
    """The fields of runs under seeds 1, 2, ..."""
    clos, traffic = world.made()
    network = clos.network()
    return [run(Trial(network, traffic, Settings(balance=balance, seed=seed))).fields() for seed in range(1, seeds + 1)]


def peak_gb() -> float:
    """The most memory that this process has had, without what its parent had."""
    found = re.search(r"^VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.M)
    return int(found[1]) / 2**20 if found else float("nan")
