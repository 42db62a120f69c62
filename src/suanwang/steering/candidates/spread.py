"""Paths that stay good whatever the loads are: each round avoids what many have used before.

Räcke's oblivious routing is a mixture of trees, each the answer to the congestion that those before it caused; SMORE
(Kumar et al., NSDI 2018) takes candidate paths from it. Here shortest-path trees take the place of his: in each round a
random pattern of loads, masses of sources times masses of targets, is put on them, and a link's length grows as the
exponential of the relative load that it has had (Garg and Könemann, Young: multiplicative weights).
"""

from __future__ import annotations

from concurrent.futures import Executor
from typing import Any

import numpy as np

from suanwang.steering.candidates.bulk import chained, in_parts, path_set, ranked
from suanwang.steering.candidates.graph import Graph, lengths
from suanwang.steering.candidates.pairs import Pairs
from suanwang.steering.paths import PathSet
from suanwang.steering.problem import Bools, Floats

STEEPNESS = 2.0
"""A link that was the most loaded one in a round becomes longer by e to this power."""


def spread(
    graph: Graph, links: Bools, inverse: Floats, pairs: Pairs, count: int, seed: int, workers: Executor | None
) -> PathSet:
    """Up to `count` different paths for each pair, from twice as many rounds. `inverse` (L,): 1 / capacity."""
    from suanwang.steering.candidates.spread_kernel import routed

    rng = np.random.default_rng(seed)
    nodes = len(graph.out_first) - 1
    order = np.lexsort((pairs.source, pairs.target))
    source, target = pairs.source[order], pairs.target[order]
    usual = np.where(links, inverse, 0.0)
    usual = np.maximum(usual, 1e-3 * usual.max(initial=0.0))
    strain = np.zeros(len(links))
    rounds: list[PathSet] = []
    for _ in range(2 * count):
        length = lengths(nodes, links, [usual * np.exp(STEEPNESS * (strain - strain.max(initial=0.0)))])
        amount = rng.exponential(size=nodes)[source] * rng.exponential(size=nodes)[target]

        def task(begin: int, end: int, length: Any = length, amount: Floats = amount) -> tuple[Any, ...]:
            counts, load, sizes, flat = routed(graph, length, source[begin:end], target[begin:end], amount[begin:end])
            return counts, load[np.newaxis], sizes, flat

        counts, load, sizes, flat = in_parts(task, len(pairs), workers)
        rounds.append(path_set(np.repeat(source, counts), np.repeat(target, counts), sizes, flat))
        use = load.sum(axis=0) * usual
        strain += use / max(float(use.max(initial=0.0)), 1e-300)
    every = chained(rounds)
    turn = np.repeat(np.arange(len(rounds)), [len(one) for one in rounds])
    return ranked(every, (turn,), count)
