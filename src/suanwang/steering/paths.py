"""Paths, many at once: flat arrays of links, those of one pair of nodes side by side."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from suanwang.steering.problem import ABSENT, Floats, Ints, Network

if TYPE_CHECKING:
    from suanwang.steering.tree import Tree

Links = NDArray[np.int32]


@dataclass(frozen=True, kw_only=True, eq=False)
class PathSet:
    """P paths. Path p leads from node `source[p]` to `target[p]` by `links[first[p]:first[p + 1]]`; from a node to
    itself leads the path without links.

    Where paths are protected, the links of the path that is used come first, `main[p]` of them, those of its backup
    follow; else `main[p]` is the number of all.
    """

    source: Ints
    target: Ints
    first: Ints
    links: Links
    main: Ints = ABSENT

    def __post_init__(self) -> None:
        if self.main is ABSENT:
            object.__setattr__(self, "main", np.diff(self.first))

    def __len__(self) -> int:
        return len(self.source)

    @classmethod
    def of(cls, network: Network, paths: Iterable[tuple[int, int, Sequence[int]]]) -> PathSet:
        """Paths that were written out: (source, target, links) each."""
        rows = list(paths)
        first = np.concatenate(([0], np.cumsum([len(links) for _, _, links in rows], dtype=np.int64))).astype(np.int64)
        flat = [link for _, _, links in rows for link in links]
        return cls(
            source=np.array([source for source, _, _ in rows], np.int64),
            target=np.array([target for _, target, _ in rows], np.int64),
            first=first,
            links=np.array(flat, np.int32),
        )

    def links_of(self, path: int) -> Links:
        """All links of a path, its backup's included."""
        return self.links[self.first[path] : self.first[path + 1]]

    def main_of(self, path: int) -> Links:
        """The links of the path that is used."""
        return self.links[self.first[path] : self.first[path] + self.main[path]]

    def backup_of(self, path: int) -> Links:
        """The links of the backup; none where the path is not protected."""
        return self.links[self.first[path] + self.main[path] : self.first[path + 1]]

    def nodes_of(self, network: Network, path: int) -> list[int]:
        """The nodes that the used path visits, both ends included."""
        return [int(self.source[path]), *network.target[self.main_of(path)].tolist()]

    @cached_property
    def entries(self) -> Ints:
        """(len(links),) the path to which each entry of `links` belongs."""
        return np.repeat(np.arange(len(self)), np.diff(self.first))

    @cached_property
    def tree(self) -> tuple[Tree, Ints]:
        """What the paths share stands once: a tree of beginnings, and the node (P,) at which each path ends."""
        from suanwang.steering.tree import Tree  # what is compiled is loaded when it is needed

        return Tree.of(self.source, self.first, self.links)

    def sums(self, values: Floats) -> Floats:
        """(P,) the sum of links' `values` (L,) along each path, backup included."""
        tree, leaf = self.tree
        return np.asarray(tree.sums(values)[leaf])

    def least(self, values: Floats) -> Floats:
        """(P,) the least of the links' `values` (L,) along each path, backup included; infinity for one of no links."""
        tree, leaf = self.tree
        return np.asarray(tree.least(values)[leaf])

    def loads(self, rates: Floats, links: int) -> Floats:
        """(links,) the load of each link when `rates` (P,) flow on the paths."""
        tree, leaf = self.tree
        return tree.loads(tally(leaf, rates, len(tree)), links)

    def taken(self, chosen: Ints) -> PathSet:
        """The paths with these numbers only, in this order."""
        from suanwang.steering import path_kernels

        first = np.concatenate(([0], np.cumsum(np.diff(self.first)[chosen])))
        links = np.empty(first[-1], self.links.dtype)
        path_kernels.copy_paths(0, len(chosen), chosen, self.first, self.links, first, links)
        found = PathSet(
            source=self.source[chosen],
            target=self.target[chosen],
            first=first,
            links=links,
            main=self.main[chosen],
        )
        if "tree" in self.__dict__:
            tree, leaf = self.tree
            found.__dict__["tree"] = tree, leaf[chosen]
        return found


@dataclass(frozen=True, kw_only=True, eq=False)
class Candidates:
    """The paths that may be used: one set for each of the demands' limits, since not each path keeps each.

    Paths of a set are sorted by (source, target), best first within. `complete`: whether these are all the simple paths
    that keep the limits, so that a bound over them is a bound over everything.
    """

    sets: tuple[PathSet, ...]
    complete: bool = False

    @cached_property
    def joined(self) -> tuple[PathSet, Ints]:
        """All sets in one, and the number there of each set's first path."""
        sets = self.sets
        offset = np.concatenate(([0], np.cumsum([len(one) for one in sets]))).astype(np.int64)
        if len(sets) == 1:
            return sets[0], offset
        starts = np.cumsum([0, *(len(one.links) for one in sets)])
        firsts = [one.first[:-1] + start for one, start in zip(sets, starts[:-1], strict=True)]
        return PathSet(
            source=np.concatenate([one.source for one in sets]),
            target=np.concatenate([one.target for one in sets]),
            first=np.concatenate([*firsts, starts[-1:]]),
            links=np.concatenate([one.links for one in sets]),
            main=np.concatenate([one.main for one in sets]),
        ), offset

    @cached_property
    def _keys(self) -> tuple[Ints, ...]:
        return tuple((paths.source << 32) | paths.target for paths in self.sets)

    def between(self, limit: int, source: Ints, target: Ints) -> tuple[Ints, Ints]:
        """For pairs of nodes, the first of their paths in set `limit` and the one after the last."""
        wanted = (np.asarray(source, np.int64) << 32) | np.asarray(target, np.int64)
        keys = self._keys[limit]
        return np.searchsorted(keys, wanted, "left"), np.searchsorted(keys, wanted, "right")


def tally(numbers: NDArray[np.integer[Any]], amounts: Floats, count: int) -> Floats:
    """(count,) the sum of the amounts at each number."""
    return np.bincount(numbers, weights=amounts, minlength=count).astype(np.float64, copy=False)
