"""The fluid engine's and the collectives' numbers, as lines of bench/fabric.py: what, measured, asked, kept, note."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import numpy as np

from suanwang.fabric.clos import Clos, Tier
from suanwang.fabric.collectives.astra import Ring, ring_time_ns
from suanwang.fabric.collectives.cost import FabricModel, Group, collective_time
from suanwang.fabric.collectives.unfolding import run, unfold
from suanwang.fabric.flow.engine import simulate_paths
from suanwang.fabric.flow.maxmin import Usage, max_min
from suanwang.fabric.flow.paths import find_paths
from suanwang.fabric.routing.routes import shortest
from suanwang.fabric.traffic import permutation

G = 10**9
RUNS = 5
FLOWS = 65_536
PRINTED = {
    "all-reduce": {4: 43_000, 8: 64_440, 16: 99_640},
    "all-gather": {4: 64_744, 8: 151_016, 16: 323_560},
    "reduce-scatter": {4: 22_240, 8: 33_080, 16: 50_740},
}
Found = TypeVar("Found")
Line = tuple[str, str, str, bool | None, str]


def line(what: str, measured: str, asked: str = "", kept: bool | None = None, note: str = "") -> Line:
    """A line; nothing asked, nothing kept."""
    return what, measured, asked, kept, note


def timed(work: Callable[[], Found], runs: int = RUNS) -> tuple[Found, float]:
    """The result, and the median of the seconds without the first run, which may compile."""
    found, taken = work(), []
    for _ in range(runs):
        start = time.perf_counter()
        found = work()
        taken.append(time.perf_counter() - start)
    return found, sorted(taken)[len(taken) // 2]


def shared_leaves(hops: int, leaves: int = 512, random: np.random.Generator | None = None) -> Usage:
    """A permutation of 65,536 endpoints on two tiers: sprayed over `hops` spines, or with one of them each."""
    order = np.random.default_rng(1).permutation(FLOWS)
    source, target = order, np.roll(order, -1)
    here, there = source * leaves // FLOWS, target * leaves // FLOWS
    spines = np.arange(hops)[None, :] if random is None else random.integers(0, hops, (FLOWS, 1))
    columns = [source[:, None], FLOWS + here[:, None] * hops + spines]
    columns += [FLOWS + leaves * hops + there[:, None] * hops + spines, FLOWS + 2 * leaves * hops + target[:, None]]
    width = columns[1].shape[1]
    fraction = np.tile(np.concatenate([[1.0], np.full(2 * width, 1 / width), [1.0]]), FLOWS)
    resources = np.concatenate(columns, axis=1)
    return Usage.build(
        np.arange(FLOWS + 1) * resources.shape[1],
        resources.ravel(),
        fraction,
        np.full(2 * FLOWS + 2 * leaves * hops, 400.0),
    )


def solves() -> Iterator[Line]:
    """One solve of max-min fairness."""
    for name, usage in (
        ("sprayed over 32 spines each", shared_leaves(32)),
        ("ECMP, 128 spines", shared_leaves(128, random=np.random.default_rng(2))),
    ):
        _, seconds = timed(lambda usage=usage: max_min(usage))  # type: ignore[misc]
        what = f"max-min, {FLOWS:,} flows, {name} ({len(usage.resource):,} shares)"
        yield line(what, f"{seconds * 1000:.0f} ms", "<= 100 ms", seconds <= 0.1)


def collectives() -> Iterator[Line]:
    """1,024 ranks by classes, as flows, and by ASTRA-sim's definitions."""
    fabric = FabricModel(Clos((Tier(32, 1, 400 * G, 500_000), Tier(32, 32, 400 * G, 500_000))))
    for kind, algorithm, theirs in (("all-reduce", "ring", "55 s"), ("all-to-all", "direct", "> 400 s")):
        size = 2**20
        start = time.perf_counter()
        cost = collective_time(kind, size, Group(1024), fabric, algorithm, 1)
        seconds = time.perf_counter() - start
        note = f"ASTRA-sim {theirs}; the collective takes {cost.time_ps / 1e6:,.1f} us"
        yield line(
            f"1,024 ranks, {kind}, {algorithm}, by classes", f"{seconds * 1000:.1f} ms", "<= 1 s", seconds <= 1, note
        )
        unfolded = unfold(kind, size, Group(1024), fabric, algorithm)
        result, seconds = timed(lambda unfolded=unfolded: run(unfolded, fabric), 1)  # type: ignore[misc]
        off = cost.time_ps / result.finish_ps.max() - 1
        yield line(
            f"  the same as {len(unfolded.traffic):,} flows", f"{seconds:.1f} s", note=f"classes are {off:+.2%} off"
        )
    for kind in ("all-reduce", "all-to-all"):
        value, seconds = timed(lambda kind=kind: ring_time_ns(kind, 2**20, Ring(1024)), 1)  # type: ignore[misc]
        what = f"1,024 ranks, {kind}, ring by ASTRA-sim's definitions"
        yield line(what, f"{seconds * 1000:.1f} ms", "<= 1 s", seconds <= 1, f"{value:,} ns; ranks alike are one")
        each = Ring(1024, bandwidth=(50.0,) * 1024)
        value, seconds = timed(lambda kind=kind, each=each: ring_time_ns(kind, 2**20, each), 1)  # type: ignore[misc]
        yield line("  the same, each rank followed", f"{seconds * 1000:.0f} ms", note=f"{value:,} ns")
    million = FabricModel(Clos((Tier(1024, 1, 200 * G), Tier(1024, 64, 400 * G)), planes=2))
    start = time.perf_counter()
    collective_time("all-reduce", 2**30, Group(2**20), million, "ring", 1)
    yield line("1,048,576 ranks, all-reduce, ring, by classes", f"{(time.perf_counter() - start) * 1e6:.0f} us")


def astra() -> Iterator[Line]:
    """What ASTRA-sim's examples print."""
    for kind, of_ranks in PRINTED.items():
        for ranks, asked in of_ranks.items():
            found = ring_time_ns(kind, 2**20, Ring(ranks))
            yield line(f"ring of {ranks}, {kind}, 1 MB, 4 chunks", f"{found:,} ns", f"{asked:,} ns", found == asked)


def engine() -> Iterator[Line]:
    """A permutation as fluid."""
    clos = Clos((Tier(32, 1, 100 * G, 1_000_000), Tier(32, 32, 100 * G, 1_000_000)))
    network = clos.network()
    traffic = permutation(1024, 2_000_000, np.random.default_rng(1))
    routes = shortest(network)
    for balance in ("spray", "ecmp"):
        paths = find_paths(network, routes, traffic, balance, seed=1)
        result, seconds = timed(lambda paths=paths: simulate_paths(paths, traffic, packet_bytes=4096))  # type: ignore[misc]
        fct = result.fct_ps / 1e6
        yield line(
            f"1,024 hosts, permutation of 2 MB, fluid, {balance}", f"{seconds * 1000:.1f} ms",
            note=f"completion min {fct.min():.1f}, mean {fct.mean():.1f}, p99 {np.percentile(fct, 99):.1f}, "
            f"max {fct.max():.1f} us; {result.solves} solves",
        )  # fmt: skip
