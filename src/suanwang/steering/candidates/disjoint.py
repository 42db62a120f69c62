"""Edge-disjoint paths, by taking the shortest again and again."""

from __future__ import annotations

from concurrent.futures import Executor
from typing import Any

import numpy as np

from suanwang.steering.candidates.bulk import in_parts, path_set
from suanwang.steering.candidates.graph import Graph
from suanwang.steering.candidates.pairs import Pairs
from suanwang.steering.paths import PathSet
from suanwang.steering.problem import Ints


def edge_disjoint(graph: Graph, length: Ints, pairs: Pairs, count: int, workers: Executor | None) -> PathSet:
    """For each pair its shortest path, then the shortest without its links, and so on, up to `count`."""
    from suanwang.steering.candidates import disjoint_kernel

    def task(begin: int, end: int) -> tuple[Any, ...]:
        return tuple(
            disjoint_kernel.edge_disjoint(graph, length, pairs.source[begin:end], pairs.target[begin:end], count)
        )

    counts, sizes, links = in_parts(task, len(pairs), workers)
    return path_set(np.repeat(pairs.source, counts), np.repeat(pairs.target, counts), sizes, links)
