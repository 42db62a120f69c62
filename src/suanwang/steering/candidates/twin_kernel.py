"""Two disjoint paths of least length together, of many pairs."""

from __future__ import annotations

from typing import Any

import numpy as np

from suanwang.steering.candidates.heap import distances, kernel, longer, pop, push

NEVER = np.int64(1 << 62)


@kernel
def twins(graph: Any, weight: Any, pair_source: Any, pair_target: Any, real: int) -> Any:
    """For pairs sorted by source two paths that share no link: (how often two each: 1 or 0, links of each path, all
    links). Links from `real` on count but are not written.

    Suurballe and Tarjan 1984: a shortest path; then one in the rest, where lengths are reduced by the distances from
    the source and links of the first path may be gone back, which takes them out.
    """
    nodes = len(graph.out_first) - 1
    room = 2 * len(graph.out_link) + 2
    keys = np.empty(room, np.int64)
    items = np.empty(room, np.int64)
    away = np.empty(nodes, np.int64)
    reduced = np.empty(nodes, np.int64)
    via = np.empty(nodes, np.int64)
    into = np.full(nodes, -1, np.int64)
    chosen = np.zeros(len(weight), np.bool_)
    counts = np.zeros(len(pair_source), np.int64)
    sizes = np.empty(2 * len(pair_source), np.int64)
    links = np.empty(len(pair_source) * 16 + 16, np.int32)
    paths = 0
    filled = 0
    root = -1
    for pair in range(len(pair_source)):
        source = pair_source[pair]
        target = pair_target[pair]
        if source != root:
            root = source
            away[:] = NEVER
            distances(graph.out_first, graph.out_link, graph.head, weight, source, keys, items, away)
        if away[target] == NEVER or source == target:
            continue
        # The first path: `into` is its link into each of its nodes.
        node = target
        while node != source:
            for at in range(graph.in_first[node], graph.in_first[node + 1]):
                one = graph.in_link[at]
                there = graph.tail[one]
                if away[there] < NEVER and away[there] + weight[one] == away[node]:
                    break
            into[node] = one
            chosen[one] = True
            node = there
        reduced[:] = NEVER
        reduced[source] = 0
        size = push(keys, items, 0, 0, source)
        while size > 0:
            key = keys[0]
            node = items[0]
            size = pop(keys, items, size)
            if node == target:
                break
            if key > reduced[node]:
                continue
            for at in range(graph.out_first[node], graph.out_first[node + 1]):
                one = graph.out_link[at]
                there = graph.head[one]
                length = key + weight[one] + away[node] - away[there]
                if not chosen[one] and length < reduced[there]:
                    reduced[there] = length
                    via[there] = one
                    size = push(keys, items, size, length, there)
            one = into[node]
            if one >= 0 and key < reduced[graph.tail[one]]:
                reduced[graph.tail[one]] = key
                via[graph.tail[one]] = ~one
                size = push(keys, items, size, key, graph.tail[one])
        first = filled
        node = target
        while node != source:
            one = into[node]
            into[node] = -1
            if reduced[target] == NEVER:
                chosen[one] = False
            node = graph.tail[one]
        if reduced[target] == NEVER:
            continue
        # The second path's links join those of the first, or take them out.
        node = target
        while node != source:
            one = via[node]
            if one >= 0:
                chosen[one] = True
                node = graph.tail[one]
            else:
                chosen[~one] = False
                node = graph.head[~one]
        counts[pair] = 1
        for _ in range(2):
            node = source
            while node != target:
                for at in range(graph.out_first[node], graph.out_first[node + 1]):
                    one = graph.out_link[at]
                    if chosen[one]:
                        break
                chosen[one] = False
                if one < real:
                    links = longer(links, filled + 1)
                    links[filled] = one
                    filled += 1
                node = graph.head[one]
            sizes[paths] = filled - first
            first = filled
            paths += 1
    return counts, sizes[:paths], links[:filled]
