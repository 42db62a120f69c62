"""The k shortest simple paths that keep limits, exactly."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

import numpy as np

from suanwang.steering.candidates.bulk import in_parts, path_set, taken
from suanwang.steering.candidates.graph import Graph
from suanwang.steering.candidates.pairs import Pairs
from suanwang.steering.paths import PathSet
from suanwang.steering.problem import Floats, Ints

MOST_LABELS = 200_000
"""Labels in the searches for one pair; hardly one pair in a million needs a tenth of that."""

Groups = tuple[Ints, Ints, Ints, Ints, bool]


@dataclass(frozen=True, eq=False)
class Search:
    """What is the same for all pairs: the graph, (L,) whole lengths, (L, R) what links spend of limited quantities."""

    graph: Graph
    length: Ints
    spent: Floats
    most_labels: int = MOST_LABELS


@dataclass(frozen=True, eq=False)
class Found:
    """Paths, best first for each pair, and for each pair how many, and whether these are all, or its search was cut."""

    paths: PathSet
    counts: Ints
    all: Any
    cut: Any


def shortest(
    search: Search,
    pairs: Pairs,
    bound: Floats,
    count: int,
    workers: Executor | None,
    *,
    disjoint: bool = False,
    avoid: PathSet | None = None,
    groups: Groups | None = None,
) -> Found:
    """Up to `count` paths for each pair within its `bound` (pairs, R).

    With `disjoint`, each path of a pair avoids the links of those before it. With `avoid`, pair p avoids the links of
    path p of it, and their groups' links.
    """
    from suanwang.steering.candidates.shortest_kernel import ALL, CUT, shortest_paths

    order = np.lexsort((pairs.source, pairs.target))
    source, target, bound = pairs.source[order], pairs.target[order], np.ascontiguousarray(bound[order])
    avoided = path_set(source, target, np.zeros(len(pairs), np.int64), np.zeros(0, np.int32))
    if avoid is not None:
        avoided = taken(avoid, order)
    nothing: Sequence[Ints] = (np.zeros(len(search.length) + 1, np.int64), np.zeros(0, np.int64))
    grouped = groups or (*nothing, *nothing, False)

    def task(begin: int, end: int) -> tuple[Any, ...]:
        return tuple(
            shortest_paths(
                search.graph,
                search.length,
                search.spent,
                source[begin:end],
                target[begin:end],
                bound[begin:end],
                avoided.first[begin : end + 1],
                avoided.links,
                grouped,
                count,
                disjoint,
                search.most_labels,
            )
        )

    counts, known, sizes, links = in_parts(task, len(pairs), workers)
    pair = np.repeat(order, counts)
    paths = path_set(np.repeat(source, counts), np.repeat(target, counts), sizes, links)
    back = np.argsort(order)
    return Found(taken(paths, np.argsort(pair, kind="stable")), counts[back], known[back] == ALL, known[back] == CUT)
