"""Paths cut into legs, and what they load: plain sums for certificates, that share nothing with the solvers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from suanwang.steering.answer import Allocation
from suanwang.steering.problem import Bools, Floats, Ints, Problem

CHUNK = 1_000_000
"""How many links of paths are looked at at once: what fits a cache."""


@dataclass(frozen=True, eq=False)
class Legs:
    """The paths cut into legs: the used path of each, and its backup where it has one. Legs have at least one link."""

    first: Ints
    size: Ints
    path: Ints
    backup: Bools

    @classmethod
    def of(cls, starts: Ints, main: Ints) -> Legs:
        """The legs of paths that begin at `starts` and have `main` links before their backup."""
        count = len(main)
        begin = np.stack([starts[:-1], starts[:-1] + main], axis=1).ravel()
        end = np.stack([starts[:-1] + main, starts[1:]], axis=1).ravel()
        kept = end > begin
        path, backup = np.repeat(np.arange(count), 2), np.tile([False, True], count)
        return cls(begin[kept], (end - begin)[kept], path[kept], backup[kept])

    def sums(self, values: Floats, links: NDArray[np.int32], paths: int, backup: bool) -> Floats:
        """(paths,) the sum of links' `values` along the used path, or along the backup, of each."""
        total = np.zeros(paths)
        mine = self.backup == backup
        if len(self.first):
            total[self.path[mine]] = np.add.reduceat(values[links], self.first)[mine]
        return total


def link_load(problem: Problem, rows: Allocation) -> Floats:
    """(L,) the load on each link."""
    paths, count = rows.paths, len(problem.network.source)
    on_path = np.bincount(rows.path, weights=rows.rate, minlength=len(paths.source))
    sizes, load = np.diff(paths.first), np.zeros(count)
    begin = 0
    while begin < len(sizes):
        end = max(int(np.searchsorted(paths.first, paths.first[begin] + CHUNK, "right")) - 1, begin + 1)
        each = np.repeat(on_path[begin:end], sizes[begin:end])
        load += np.bincount(paths.links[paths.first[begin] : paths.first[end]], weights=each, minlength=count)
        begin = end
    return load


def endpoint_load(problem: Problem, rows: Allocation) -> Floats:
    """(E,) the new load on each endpoint."""
    work = rows.rate * problem.demands.work[rows.demand]
    return np.bincount(rows.endpoint, weights=work, minlength=len(problem.endpoints.node)).astype(float)
