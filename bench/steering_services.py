"""Endpoint and path chosen together, and one after the other as is usual, on the same world."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
from steering_runs import PATHS_TO_INSTANCES, THREADS, Bench, Found, peak_gb
from steering_worlds import Size, services

from suanwang.steering.answer import Answer, Budget, ratio
from suanwang.steering.candidates import Kind, build
from suanwang.steering.certificate import check
from suanwang.steering.methods import solver
from suanwang.steering.paths import Candidates
from suanwang.steering.problem import Demands, Floats, Problem

PORTION = 0.005
"""The largest share of a service's rates for which an endpoint is chosen at once."""

Score = Callable[[Floats, Floats, Floats], Floats]
"""(delay to each instance and in it; the same without the instance's; its utilisation with this demand) -> least is
chosen.
"""


def _by_delay_and_load(delay: Floats, way: Floats, used: Floats) -> Floats:
    """The way, and what an instance's delay becomes at its utilisation in an M/M/1 queue; full ones come last."""
    inside = (delay - way) / np.maximum(1.0 - used, 1e-9)
    return np.where(used < 1.0, way + inside, 1e12 * used)


CHOICES: dict[str, Score] = {
    "nearest endpoint": lambda delay, way, used: delay,
    "least loaded endpoint": lambda delay, way, used: used,
    "delay + load score": _by_delay_and_load,
}


def compared(bench: Bench, size: Size, gap: float) -> list[Found]:
    """The joint choice, then each of `CHOICES` with its paths by the same solver over the same candidates.

    Endpoints are chosen for one demand after the other, as they come (in no order that means anything), each seeing the
    load of those before; large demands in portions. Then each portion has one endpoint only, and the solver finds paths
    and rates.
    """
    with ThreadPoolExecutor(THREADS) as workers:
        budget = Budget(clock=time.perf_counter, seconds=bench.seconds, gap=gap, workers=workers)
        solve = solver("fast")
        little = services(Size(30, 4, 3, 60))
        few = build(little.network, little.demands, little.endpoints, Kind.SPREAD, PATHS_TO_INSTANCES).candidates
        solve(little, few, budget)
        problem = services(size)
        begun = time.perf_counter()
        candidates = bench.candidates(problem, "spread", PATHS_TO_INSTANCES, workers)
        ready = time.perf_counter() - begun
        took = []
        for _ in range(3):
            begun = time.perf_counter()
            answer = solve(problem, candidates, budget)
            took.append(time.perf_counter() - begun)
        memory = peak_gb()
        joint = {**_told("joint", answer), "seconds": min(took), "all": took, "paths_seconds": ready}
        joint |= {"peak_gb": memory, "broken": check(answer).broken}
        found = [joint]
        for name, score in CHOICES.items():
            begun = time.perf_counter()
            chosen = _chosen(problem, candidates, score)
            choosing = time.perf_counter() - begun
            alone = replace(problem, demands=chosen)
            begun = time.perf_counter()
            answer = solve(alone, candidates, budget)
            seconds = time.perf_counter() - begun
            found.append({**_told(name, answer), "seconds": seconds, "choosing_seconds": choosing})
    return found


def _told(name: str, answer: Answer) -> Found:
    problem, rows = answer.problem, answer.allocation
    served = float(rows.rate.sum())
    missing = float(problem.demands.rate.sum()) - served
    load = ratio(rows.endpoint_load(problem), problem.endpoints.capacity)
    return {
        "choice": name,
        "value": answer.value,
        "bound": answer.bound,
        "gap": answer.gap,
        "served": served / float(problem.demands.rate.sum()),
        "mean_delay_ms": (answer.value - problem.unserved_cost * missing) / served / 1e3,
        "fullest_endpoint": float(load.max()),
        "full_endpoints": float((load > 0.999).mean()),
        "fullest_link": float(answer.utilisation.max()),
    }


def _chosen(problem: Problem, candidates: Candidates, score: Score) -> Demands:
    """The demands in portions, each with one endpoint only."""
    demands, ends, paths = problem.demands, problem.endpoints, candidates.sets[0]
    nodes, count = len(problem.network.nodes), len(ends.node)
    quickest = np.full(nodes * nodes, np.inf)
    np.minimum.at(quickest, paths.source * nodes + paths.target, paths.sums(problem.network.latency_us))
    all_of = np.bincount(demands.choice, weights=demands.rate)[demands.choice]
    pieces = np.ceil(demands.rate / (PORTION * all_of)).astype(np.int64)
    portion = np.repeat(np.arange(len(demands)), pieces)
    rate = (demands.rate / pieces)[portion]
    load = ends.load.copy()
    chosen = np.zeros(len(portion), np.int64)
    for at, demand in enumerate(portion.tolist()):
        may = demands.endpoints_of(demand)
        way = quickest[demands.source[demand] * nodes + ends.node[may]]
        used = (load[may] + rate[at]) / ends.capacity[may]
        chosen[at] = may[np.argmin(score(way + ends.delay_us[may], way, used))]
        load[chosen[at]] += rate[at]
    every = np.arange(count)
    return Demands(
        source=demands.source[portion], choice=chosen, rate=rate, choice_first=np.arange(count + 1), choice_of=every
    )
