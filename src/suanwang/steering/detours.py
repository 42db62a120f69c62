"""Candidates for when links are down: those that there are, and new ones for demands that have none left."""

from __future__ import annotations

from concurrent.futures import Executor
from dataclasses import replace

import numpy as np

from suanwang.steering.candidates import Kind, build
from suanwang.steering.candidates.bulk import chained, ranked
from suanwang.steering.paths import Candidates
from suanwang.steering.problem import Bools, Ints, Problem


def stranded(problem: Problem, candidates: Candidates, failed: Bools) -> Ints:
    """The demands of whose candidates none is left when these links (L,) are down, though they had some."""
    demands, ends = problem.demands, problem.endpoints
    sizes = np.diff(demands.choice_first)[demands.choice]
    owner = np.repeat(np.arange(len(demands)), sizes)
    at = np.arange(len(owner)) + np.repeat(demands.choice_first[demands.choice] - (np.cumsum(sizes) - sizes), sizes)
    nodes = ends.node[demands.choice_of[at]]
    had, left = np.zeros(len(demands), np.int64), np.zeros(len(demands), np.int64)
    for limit, paths in enumerate(candidates.sets):
        mine = np.flatnonzero(demands.limit[owner] == limit)
        down = np.concatenate(([0], np.cumsum(failed[paths.links])))
        alive = np.concatenate(([0], np.cumsum(down[paths.first[1:]] == down[paths.first[:-1]])))
        first, last = candidates.between(limit, demands.source[owner[mine]], nodes[mine])
        had += np.bincount(owner[mine], last - first, len(demands)).astype(np.int64)
        left += np.bincount(owner[mine], alive[last] - alive[first], len(demands)).astype(np.int64)
    return np.flatnonzero((had > 0) & (left == 0) & (demands.rate > 0))


def with_detours(
    problem: Problem, candidates: Candidates, failed: Bools, kind: Kind, count: int, workers: Executor | None = None
) -> Candidates:
    """The candidates, and up to `count` new ones for each pair of a demand that failed links leave without any."""
    lost = stranded(problem, candidates, failed)
    if not len(lost):
        return candidates
    demands = problem.demands
    few = replace(
        demands,
        source=demands.source[lost],
        choice=demands.choice[lost],
        rate=demands.rate[lost],
        names=(),
        priority=demands.priority[lost],
        weight=demands.weight[lost],
        limit=demands.limit[lost],
        splittable=demands.splittable[lost],
        most_paths=demands.most_paths[lost],
        work=demands.work[lost],
        apart=np.full(len(lost), -1),
    )
    more = build(problem.network, few, problem.endpoints, kind, count, failed=failed, workers=workers).candidates
    # Old ones first, so that they stay in the order in which they were found.
    sets = tuple(
        ranked(chained([old, new]), ()) if len(new) else old
        for old, new in zip(candidates.sets, more.sets, strict=True)
    )
    return Candidates(sets=sets, complete=False)
