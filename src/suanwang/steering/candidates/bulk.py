"""Kernels over many pairs: in fixed parts, so that workers change nothing, and back into sets of paths."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from typing import Any

import numpy as np

from suanwang.steering.candidates.pairs import fit, ranges
from suanwang.steering.paths import PathSet
from suanwang.steering.problem import Ints

PART = 4096
BLOCK = 1 << 21
MOST_ENTRIES = 500_000_000
"""Links in all paths together; they take 4 bytes each."""

Part = tuple[Any, ...]


def in_parts(task: Callable[[int, int], Part], count: int, workers: Executor | None) -> list[Any]:
    """What `task(begin, end)` returns for all parts of `count` rows, array by array, put together."""
    starts = range(0, max(count, 1), PART)
    ends = [min(start + PART, count) for start in starts]
    parts: list[Part] = []
    entries = 0
    for part in (workers.map if workers else map)(task, starts, ends):
        entries += len(part[-1])
        fit(entries, "links in candidate paths", MOST_ENTRIES)
        parts.append(part)
    return [np.concatenate(arrays) for arrays in zip(*parts, strict=True)]


def path_set(source: Ints, target: Ints, sizes: Ints, links: Any) -> PathSet:
    """Paths of these sizes, their links one after the other."""
    return PathSet(source=source, target=target, first=np.concatenate(([0], np.cumsum(sizes))), links=links)


def none() -> PathSet:
    """No paths."""
    empty = np.zeros(0, np.int64)
    return path_set(empty, empty, empty, np.zeros(0, np.int32))


def side_by_side(mains: PathSet, backups: PathSet) -> PathSet:
    """Each of the main paths with the backup of the same number."""
    sizes, others = np.diff(mains.first), np.diff(backups.first)
    first = np.concatenate(([0], np.cumsum(sizes + others)))
    links = np.empty(first[-1], np.int32)
    links[ranges(first[:-1], sizes)] = mains.links
    links[ranges(first[:-1] + sizes, others)] = backups.links
    return PathSet(source=mains.source, target=mains.target, first=first, links=links, main=sizes)


def blocks(first: Ints) -> Iterator[tuple[int, int]]:
    """Rows [begin, end) of lists that start at `first`, few enough for what is worked out on the way to stay small."""
    begin, rows = 0, len(first) - 1
    while begin < rows:
        end = max(int(np.searchsorted(first, first[begin] + BLOCK, "right")) - 1, begin + 1)
        yield begin, end
        begin = end


def taken(paths: PathSet, chosen: Ints) -> PathSet:
    """The paths with these numbers only, in this order."""
    sizes = np.diff(paths.first)[chosen]
    first = np.concatenate(([0], np.cumsum(sizes)))
    links = np.empty(first[-1], np.int32)
    for begin, end in blocks(first):
        links[first[begin] : first[end]] = paths.links[ranges(paths.first[chosen[begin:end]], sizes[begin:end])]
    return PathSet(
        source=paths.source[chosen], target=paths.target[chosen], first=first, links=links, main=paths.main[chosen]
    )


def summed(paths: PathSet, length: Ints) -> Ints:
    """(P,) the length of each path; sums over all paths may overflow, their differences are right."""
    return np.asarray(_sums(paths, lambda begin, end: length[paths.links[paths.first[begin] : paths.first[end]]]))


def _sums(paths: PathSet, values: Callable[[int, int], Any]) -> Any:
    """(P,) the sums over each path of `values(begin, end)`, one for each link of these paths, modulo 2^64."""
    sums = []
    for begin, end in blocks(paths.first):
        block = values(begin, end)
        total = np.concatenate((np.zeros(1, block.dtype), np.cumsum(block)))
        at = paths.first[begin : end + 1] - paths.first[begin]
        sums.append(total[at[1:]] - total[at[:-1]])
    return np.concatenate(sums) if sums else np.zeros(0, np.int64)


def chained(sets: list[PathSet]) -> PathSet:
    """All paths of some sets, one set after the other."""
    sizes = np.concatenate([np.diff(paths.first) for paths in sets])
    return PathSet(
        source=np.concatenate([paths.source for paths in sets]),
        target=np.concatenate([paths.target for paths in sets]),
        first=np.concatenate(([0], np.cumsum(sizes))),
        links=np.concatenate([paths.links for paths in sets]),
        main=np.concatenate([paths.main for paths in sets]),
    )


def ranked(paths: PathSet, rank: tuple[Ints, ...], most: int | None = None) -> PathSet:
    """The same paths sorted by source, target and then `rank`, earlier ones first where all is equal; each once, the
    first `most` of each pair.
    """
    if not len(paths):
        return paths
    order = np.lexsort((*reversed(rank), paths.target, paths.source))
    order = order[~_repeated(paths, order)]
    if most is not None:
        key = paths.source[order] << 32 | paths.target[order]
        place = np.arange(len(order)) - np.searchsorted(key, key, "left")
        order = order[place < most]
    if len(order) == len(paths) and (np.diff(order) == 1).all():
        return paths
    return taken(paths, order)


def _repeated(paths: PathSet, order: Ints) -> Any:
    """(P,) which paths, in that order, stand before already."""
    # A sum over links, mixed with their places, tells paths apart; where it says equal, links are compared.
    sizes = np.diff(paths.first)
    digest = _sums(paths, lambda begin, end: _mixed(paths, begin, end))
    at = np.empty(len(order), np.int64)
    at[order] = np.arange(len(order))
    by_content = np.lexsort((at, paths.main, sizes, digest, paths.target, paths.source))
    one, other = by_content[:-1], by_content[1:]
    same = (
        (paths.source[one] == paths.source[other])
        & (paths.target[one] == paths.target[other])
        & (digest[one] == digest[other])
        & (sizes[one] == sizes[other])
        & (paths.main[one] == paths.main[other])
    )
    one, other = one[same], other[same]
    first = np.concatenate(([0], np.cumsum(sizes[one])))
    repeated = np.zeros(len(order), bool)
    repeated[at[other]] = True
    for begin, end in blocks(first):
        size = sizes[one[begin:end]]
        left = paths.links[ranges(paths.first[one[begin:end]], size)]
        differ = np.flatnonzero(left != paths.links[ranges(paths.first[other[begin:end]], size)])
        really = np.searchsorted(first[begin : end + 1], differ + first[begin], "right") - 1
        repeated[at[other[begin:end][really]]] = False
    return repeated


def _mixed(paths: PathSet, begin: int, end: int) -> Any:
    size = np.diff(paths.first[begin : end + 1])
    place = ranges(np.zeros(end - begin, np.int64), size).astype(np.uint64)
    links = paths.links[paths.first[begin] : paths.first[end]].astype(np.uint64)
    mixed = (links + np.uint64(1)) * (place * np.uint64(2) + np.uint64(0x9E3779B97F4A7C15))
    return (mixed ^ (mixed >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
