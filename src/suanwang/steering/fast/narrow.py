"""Where demands have very many rows: only those that are worth most at present prices are looked at, and others when
prices make them worth it. This is column generation (Ford and Fulkerson 1958; Desaulniers et al. 2005) with all columns
at hand.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np

from suanwang.steering.fast import narrow_kernels as kernels
from suanwang.steering.fast.descent import Found
from suanwang.steering.fast.table import parts_by_source
from suanwang.steering.problem import Bools, Floats, Ints
from suanwang.steering.rows import Rows

WIDE = 24
"""Rows a demand, on average, from which on not all are looked at."""

MOST = 16
"""Rows of a demand that are looked at."""


def is_wide(rows: Rows) -> bool:
    """Whether it pays to look at some of the rows only."""
    return len(rows) > WIDE * len(rows.problem.demands) and not rows.allowance.any()


class Restless(NamedTuple):
    """Demands that want to move, prices of paths (P,), and what the best of each demand's rows is worth (D,)."""

    demands: Ints
    price: Floats
    best: Floats


@dataclass(frozen=True, eq=False)
class Narrow:
    """All rows of the demands `mine`, with what a unit of rate is worth on each (N,)."""

    rows: Rows
    mine: Bools
    worth: Floats
    workers: Executor | None

    def at(self, link: Floats, end: Floats) -> tuple[Bools, Floats]:
        """(N,) which rows are worth looking at when links and endpoints have these prices (L,), (E,); (D,) what is the
        best that a unit of each demand's rate can do, 0 if that is not to be served.
        """
        rows, demands = self.rows, self.rows.problem.demands
        price = self.of_paths(link)
        keep, best = np.zeros(len(rows), bool), np.zeros(len(demands))

        def look(low: int, high: int) -> None:
            kernels.best_rows(
                low, high, rows.first, rows.path, rows.endpoint, demands.work, self.worth, price, end, MOST, keep, best
            )

        self._in_parts(look)
        if not self.mine.all():
            keep &= self.mine[rows.demand]
            best[~self.mine] = 0.0
        return keep, best

    def restless(self, link: Floats, end: Floats, wanted: Floats, flow: Floats, least: float) -> Restless:
        """The demands of which something would gain more than `least` a unit if it moved, at these prices of links (L,)
        and endpoints (E,), when each wants `wanted` (D,) and its rows have the rates `flow[:, 0]` (N, 2).
        """
        rows, demands = self.rows, self.rows.problem.demands
        price = self.of_paths(link)
        moves, best = np.zeros(len(demands), bool), np.zeros(len(demands))

        def look(low: int, high: int) -> None:
            kernels.restless(
                low, high, rows.first, rows.path, rows.endpoint, wanted, demands.work, self.worth, price, end, flow,
                least, moves, best,
            )  # fmt: skip

        self._in_parts(look)
        return Restless(np.flatnonzero(moves & self.mine), price, np.where(self.mine, best, 0.0))

    def shortlist(self, which: Ints, found: Restless, end: Floats, flow: Floats, margin: float) -> tuple[Ints, Ints]:
        """Of the restless `which`, the rows that carry something or are worth at most `margin` less than the best:
        their numbers, and where those of each demand start.
        """
        rows = self.rows
        numbers = np.empty(int((rows.first[which + 1] - rows.first[which]).sum()), np.int64)
        first = np.empty(len(which) + 1, np.int64)
        kernels.shortlist(
            which, rows.first, rows.path, rows.endpoint, rows.problem.demands.work, self.worth, found.price, end, flow,
            found.best, margin, numbers, first,
        )  # fmt: skip
        return numbers[: first[-1]], first

    def of_paths(self, link: Floats) -> Floats:
        """(P,) the price of each path when links have these (L,)."""
        tree, leaf = self.rows.paths.tree
        return np.asarray(replace(tree, workers=self.workers).sums(link)[leaf])

    def _in_parts(self, work: Callable[[int, int], None]) -> None:
        if self.workers is None:
            work(0, len(self.rows.problem.demands))
        else:
            list(self.workers.map(lambda part: work(*part), self.parts))

    @cached_property
    def parts(self) -> tuple[tuple[int, int], ...]:
        """Ranges of demands that may be looked at side by side."""
        return parts_by_source(np.arange(len(self.rows.problem.demands)), self.rows.first)


def by_endpoint(found: Found, endpoint: Ints, count: int) -> Floats:
    """(count,) prices of all endpoints, from those of the places that have a limit, which belong to these endpoints."""
    end = np.zeros(count)
    np.maximum.at(end, endpoint, found.end)
    return end
