"""The runs behind bench/steering.py, each in a process of its own, so that its memory is its own, and what fills it or
hangs is ended without the others.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import platform
import resource
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from steering_worlds import Instance, Size, made, problem_of, services

from suanwang.steering.answer import Answer, Budget
from suanwang.steering.candidates import Kind, build
from suanwang.steering.candidates.cache import Unusable, from_bytes, key, to_bytes
from suanwang.steering.certificate import check
from suanwang.steering.methods import solver
from suanwang.steering.online import Online
from suanwang.steering.paths import Candidates
from suanwang.steering.problem import Aim, Problem
from suanwang.steering.value import value_of

PATHS = 4
PATHS_TO_INSTANCES = 2
BATCH = 1000
THREADS = 2
CONTEXT = multiprocessing.get_context("spawn")

Found = dict[str, Any]


def apart(function: Callable[..., Any], *arguments: Any, seconds: float | None = None) -> Any:
    """What the function returns in a process of its own; None where that ends without an answer, or takes longer."""
    receiver, sender = CONTEXT.Pipe(duplex=False)
    process = CONTEXT.Process(target=_call, args=(sender, function, arguments))
    process.start()
    sender.close()
    try:
        return receiver.recv() if receiver.poll(seconds) else None
    except EOFError:
        return None
    finally:
        process.kill()
        process.join()


def _call(sender: Any, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    # What needs more than there is fails here, and takes nobody else with it.
    most = int(0.8 * os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    sender.send(function(*arguments))


def machine() -> dict[str, Any]:
    """Where this runs, and what else runs there."""
    named = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "processor": named[0].partition(":")[2].strip() if named else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "threads": THREADS,
        "memory_gb": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30,
        "load": os.getloadavg()[0],
        "python": platform.python_version(),
    }


def plain(found: Any) -> Any:
    """The same without what JSON has no word for."""
    if isinstance(found, dict):
        return {name: plain(one) for name, one in found.items()}
    if isinstance(found, list):
        return [plain(one) for one in found]
    return None if isinstance(found, float) and not math.isfinite(found) else found


def peak_gb() -> float:
    """The most memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


@dataclass(frozen=True)
class Bench:
    """What all runs need: where matrices are, where candidates are kept, and how long a solver may take."""

    data: Path
    cache: Path
    seconds: float

    def candidates(self, problem: Problem, kind: str, count: int, workers: ThreadPoolExecutor) -> Candidates:
        """Found anew, or as they were kept, with their tree."""
        given = problem.network, problem.demands, problem.endpoints, Kind(kind), count
        name = key(*given)
        path = self.cache / f"{name.hex()}.paths"
        try:
            return from_bytes(path.read_bytes(), name, problem.network)
        except (OSError, Unusable):
            found = build(*given, workers=workers).candidates
            path.write_bytes(to_bytes(found, name))
            return found


def solved(
    bench: Bench, instances: list[Instance], kind: str, aim: str, method: str, gap: float, times: int
) -> list[Found]:
    """Each instance solved `times` times; its answer checked when all are, so that memory is that of solving."""
    found: list[Found] = []
    answers: list[Answer] = []
    with ThreadPoolExecutor(THREADS) as workers:
        budget = Budget(clock=time.perf_counter, seconds=bench.seconds, gap=gap, workers=workers)
        solve = solver(method)
        _warm(solve, Aim(aim), kind, budget)
        for instance in instances:
            problem = problem_of(instance, bench.data, Aim(aim))
            candidates = bench.candidates(problem, kind, PATHS, workers)
            candidates.joined[0].tree  # noqa: B018 - it comes with what was kept, and is no part of solving
            took = []
            for _ in range(times):
                begun = time.perf_counter()
                answer = solve(problem, candidates, budget)
                took.append(time.perf_counter() - begun)
            answers.append(answer)
            found.append({"instance": instance.name, "set": kind, "aim": aim, "method": answer.method, "all": took})
    memory = peak_gb()
    for answer, one in zip(answers, found, strict=True):
        one |= {"seconds": min(one["all"]), "peak_gb": memory, **_said(answer)}
    return found


def _said(answer: Answer) -> Found:
    """What an answer says, and what the certificate, which shares no code with solvers, says of it."""
    proof = check(answer, tolerance=1e-6)
    return {
        "value": answer.value,
        "bound": answer.bound,
        "gap": answer.gap,
        "finished": answer.finished,
        "rows": len(answer.allocation),
        "broken": proof.broken,
        "violations": list(proof.violations[:3]),
        "any_path_bound": proof.bound,
    }


def _warm(solve: Any, aim: Aim, kind: str, budget: Budget) -> None:
    """Have compiled what a solver needs."""
    little = made(20, 0.6, aim)
    paths = build(little.network, little.demands, little.endpoints, Kind(kind), PATHS, workers=budget.workers)
    solve(little, paths.candidates, replace(budget, seconds=60.0))


def paths(bench: Bench, instance: Instance, kind: str) -> Found:
    """Seconds for candidates, found and read back."""
    with ThreadPoolExecutor(THREADS) as workers:
        little = made(20, 0.6, Aim.TOTAL_FLOW)
        to_bytes(build(little.network, little.demands, little.endpoints, Kind(kind), PATHS).candidates, b"")
        problem = problem_of(instance, bench.data, Aim.TOTAL_FLOW)
        given = problem.network, problem.demands, problem.endpoints, Kind(kind), PATHS
        begun = time.perf_counter()
        found = build(*given, workers=workers).candidates
        first = time.perf_counter() - begun
        memory = peak_gb()
    name = key(*given)
    body = to_bytes(found, name)
    (bench.cache / f"{name.hex()}.paths").write_bytes(body)
    begun = time.perf_counter()
    from_bytes(body, key(*given), problem.network)
    again = time.perf_counter() - begun
    return {
        "instance": instance.name,
        "set": kind,
        "first": first,
        "cached": again,
        "paths": len(found.sets[0]),
        "pairs": len(problem.demands),
        "bytes": len(body),
        "peak_gb": memory,
    }


def failures(bench: Bench, instance: Instance, count: int, seed: int = 1) -> list[Found]:
    """Links that are half full at least, drawn at random, fail and return, one after the other; each time what repair
    reaches is held against solving anew.
    """
    with ThreadPoolExecutor(THREADS) as workers:
        budget = Budget(clock=time.perf_counter, workers=workers)
        candidates, first = _present(bench, instance, budget)
        little = made(20, 0.6, Aim.TOTAL_FLOW)
        few = build(little.network, little.demands, little.endpoints, Kind.EDGE_DISJOINT, PATHS).candidates
        list(_failed(solver("fast")(little, few, budget), few, budget, [0]))
        loaded = np.flatnonzero(first.utilisation >= 0.5)
        links = np.random.default_rng(seed).permutation(loaded)[:count].tolist()
        return [{"instance": instance.name, **one} for one in _failed(first, candidates, budget, links)]


def _present(bench: Bench, instance: Instance, budget: Budget) -> tuple[Candidates, Answer]:
    """What runs before anything changes."""
    problem = problem_of(instance, bench.data, Aim.TOTAL_FLOW)
    assert isinstance(budget.workers, ThreadPoolExecutor)
    candidates = bench.candidates(problem, "edge-disjoint", PATHS, budget.workers)
    return candidates, solver("fast")(problem, candidates, budget)


def _failed(first: Answer, candidates: Candidates, budget: Budget, links: list[int]) -> Iterator[Found]:
    problem, solve = first.problem, solver("fast")
    capacity = problem.network.capacity
    online = Online(problem, candidates, first.allocation, first.prices, workers=budget.workers)
    for link in links:
        begun = time.perf_counter()
        online.fail(link)
        repaired = time.perf_counter()
        rows = online.snapshot()
        told = time.perf_counter()
        failed = online.state.failed.copy()
        anew = solve(problem, candidates, budget, failed=failed)
        over = rows.link_load(len(capacity)) - np.where(failed, 0.0, capacity)
        more = rows.served(len(problem.demands)) - problem.demands.rate
        restoring = time.perf_counter()
        online.restore(link)
        back = time.perf_counter()
        kept = value_of(problem, online.snapshot()) / first.value
        improving = time.perf_counter()
        # As where there is time until the next failure.
        online.improve()
        improved = time.perf_counter()
        yield {
            "link": problem.network.names[link],
            "utilisation": float(first.utilisation[link]),
            "repair_ms": (repaired - begun) * 1e3,
            "snapshot_ms": (told - repaired) * 1e3,
            "restore_ms": (back - restoring) * 1e3,
            "kept": kept,
            "improve_ms": (improved - improving) * 1e3,
            "improved": value_of(problem, online.snapshot()) / first.value,
            "value": value_of(problem, rows, failed),
            "anew": anew.value,
            "anew_ms": anew.seconds["solve"] * 1e3,
            "overfull": max(float((over / capacity.clip(1e-300)).max()), float((more / problem.demands.rate).max())),
        }


def decisions(bench: Bench, instance: Instance | Size, seed: int = 1) -> Found:
    """New demands, like those that are there, in batches and alone, beside all that runs."""
    rng = np.random.default_rng(seed)
    with ThreadPoolExecutor(THREADS) as workers:
        budget = Budget(clock=time.perf_counter, gap=0.01, workers=workers)
        if isinstance(instance, Instance):
            candidates, first = _present(bench, instance, budget)
        else:
            problem = services(instance)
            candidates = bench.candidates(problem, "spread", PATHS_TO_INSTANCES, workers)
            first = solver("fast")(problem, candidates, budget)
    demands = first.problem.demands
    online = Online(first.problem, candidates, first.allocation, first.prices)

    def placed(count: int) -> float:
        like = rng.integers(len(demands), size=count)
        begun = time.perf_counter()
        online.place(demands.source[like], demands.choice[like], demands.rate[like])
        return time.perf_counter() - begun

    placed(BATCH)
    placed(1)
    batches = [placed(BATCH) / BATCH for _ in range(10)]
    alone = [placed(1) for _ in range(1000)]
    return {
        "instance": instance.name if isinstance(instance, Instance) else str(instance),
        "batch_us": float(np.mean(batches)) * 1e6,
        "alone_ms": float(np.mean(alone)) * 1e3,
        "alone_p99_ms": float(np.quantile(alone, 0.99)) * 1e3,
    }
