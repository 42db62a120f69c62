"""The one shortest path of many pairs, and the load that it would bring."""

from __future__ import annotations

from typing import Any

import numpy as np

from suanwang.steering.candidates.heap import distances, kernel, longer

NEVER = np.int64(1 << 62)


@kernel
def routed(graph: Any, weight: Any, pair_source: Any, pair_target: Any, amount: Any) -> Any:
    """For pairs sorted by target: (paths of each pair: 1 or 0, load of each link when `amount` flows, links of each
    path, all links).
    """
    nodes = len(graph.out_first) - 1
    keys = np.empty(len(graph.out_link) + 2, np.int64)
    items = np.empty(len(graph.out_link) + 2, np.int64)
    rest = np.empty(nodes, np.int64)
    counts = np.zeros(len(pair_source), np.int64)
    sizes = np.empty(len(pair_source), np.int64)
    links = np.empty(len(pair_source) * 8 + 16, np.int32)
    load = np.zeros(len(weight))
    filled = 0
    paths = 0
    goal = -1
    for pair in range(len(pair_source)):
        node = pair_source[pair]
        target = pair_target[pair]
        if target != goal:
            goal = target
            rest[:] = NEVER
            distances(graph.in_first, graph.in_link, graph.tail, weight, target, keys, items, rest)
        if rest[node] == NEVER:
            continue
        begin = filled
        while node != target:
            for at in range(graph.out_first[node], graph.out_first[node + 1]):
                one = graph.out_link[at]
                if rest[graph.head[one]] < NEVER and weight[one] + rest[graph.head[one]] == rest[node]:
                    break
            links = longer(links, filled + 1)
            links[filled] = one
            load[one] += amount[pair]
            filled += 1
            node = graph.head[one]
        sizes[paths] = filled - begin
        paths += 1
        counts[pair] = 1
    return counts, load, sizes[:paths], links[:filled]
