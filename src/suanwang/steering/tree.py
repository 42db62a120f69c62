"""Paths as a tree of beginnings: what paths from one node have in common stands once.

Paths between all pairs of a network share most of their links: the million paths of a network of 754 nodes have thirty
million links, their tree has less than two. Sums along all paths, and the load of all links, are one walk over it.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from suanwang.steering import tree_kernels
from suanwang.steering.problem import Bools, Floats, Ints

PARTS = 4
"""Ranges that may be walked side by side. The number is fixed, so that sums don't depend on how many are."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Tree:
    """M nodes. Node n > 0 stands for the beginning of a path that goes on from that of node `parent[n]` < n by the link
    `link[n]`; node 0 is the beginning of all, without a link. `starts`: from each of these numbers to the next, nodes
    are descendants of each other and of node 0 only; the last is M.
    """

    parent: NDArray[np.int32]
    link: NDArray[np.int32]
    starts: Ints
    workers: Executor | None = None

    def __len__(self) -> int:
        return len(self.parent)

    @classmethod
    def of(cls, source: Ints, first: Ints, links: NDArray[Any]) -> tuple[Tree, Ints]:
        """The tree of paths (see `PathSet`), and at which node each ends (P,)."""
        turns = np.flatnonzero(np.diff(source)) + 1
        runs = np.concatenate(([0], turns, [len(source)])).astype(np.int64)
        leaf = np.zeros(len(source), np.int64)
        parent, link, starts = tree_kernels.grow(runs, first, links, leaf)
        return cls(parent=parent, link=link, starts=starts), leaf

    def sound(self) -> bool:
        """Whether nodes come after their parents, within their range of `starts`, and all but the root have a link."""
        size, starts = len(self), self.starts
        if not size or not len(starts) or starts[0] != 1 or starts[-1] != size or (np.diff(starts) < 0).any():
            return False
        begin = np.repeat(starts[:-1], np.diff(starts))
        parent = self.parent[1:]
        inside = (parent == 0) | ((parent >= begin) & (parent < np.arange(1, size)))
        return bool(inside.all() and (self.link[1:] >= 0).all())

    def unrolled(self, leaf: Ints) -> tuple[Ints, NDArray[np.int32]]:
        """The paths that end at these nodes (P,), written out: `first` and `links` as in a PathSet."""
        depth = self.sums(np.ones(int(self.link.max(initial=0)) + 1)).astype(np.int64)
        first = np.concatenate(([0], np.cumsum(depth[leaf])))
        links = np.empty(first[-1], np.int32)
        tree_kernels.unroll(leaf, self.parent, self.link, first, links)
        return first, links

    def sums(self, values: Floats) -> Floats:
        """(M,) the sum of links' `values` (L,) from the root to each node."""
        total = np.zeros(len(self))
        self._walk(lambda _, low, high: tree_kernels.add_down(low, high, self.parent, self.link, values, total))
        return total

    def least(self, values: Floats) -> Floats:
        """(M,) the least of links' `values` (L,) from the root to each node; infinity at the root."""
        lowest = np.full(len(self), np.inf)
        self._walk(lambda _, low, high: tree_kernels.least_down(low, high, self.parent, self.link, values, lowest))
        return lowest

    def loads(self, flow: Floats, links: int) -> Floats:
        """(links,) the load of each link when `flow` (M,) goes from the root to each node. Changes `flow`."""
        load = np.zeros((PARTS, links))
        self._walk(lambda part, low, high: tree_kernels.load_up(low, high, self.parent, self.link, flow, load[part]))
        return np.asarray(load.sum(axis=0))

    def only(self, place: NDArray[np.int32], used: Bools | None = None) -> tuple[Tree, Ints]:
        """The tree without links whose `place` (L,) is negative, others numbered by their place, and which node stands
        for each of the nodes now (M,). Of nodes beneath which none is `used` (M,), nothing stays.
        """
        keep = np.zeros(len(self), bool) if used is not None else np.ones(len(self), bool)
        if used is not None:
            keep[:] = used
            tree_kernels.mark_up(self.parent, keep)
        parent, link, now, starts = tree_kernels.contract(self.parent, self.link, self.starts, place, keep)
        return replace(self, parent=parent, link=link, starts=starts), now

    def _walk(self, work: Callable[[int, int, int], None]) -> None:
        """Have `work(part, low, high)` done for ranges that don't depend on each other."""
        marks = np.searchsorted(self.starts, np.linspace(0, len(self), PARTS + 1)[1:-1])
        cuts = [1, *np.maximum(self.starts[np.minimum(marks, len(self.starts) - 1)], 1).tolist(), len(self)]
        parts = [(part, low, high) for part, (low, high) in enumerate(pairwise(cuts)) if low < high]
        if self.workers is None:
            for part in parts:
                work(*part)
        else:
            list(self.workers.map(lambda part: work(*part), parts))
