"""Edge-disjoint paths of many pairs: shortest, then shortest without its links, and so on."""

from __future__ import annotations

from typing import Any

import numpy as np

from suanwang.steering.candidates.heap import distances, kernel, longer, pop, push

NEVER = np.int64(1 << 62)
CLOSED = 24


@kernel
def edge_disjoint(
    graph: Any,
    weight: Any,
    pair_source: Any,
    pair_target: Any,
    count: int,
) -> Any:
    """For pairs sorted by source, up to `count` paths each: (paths of each pair, links of each path, all links).

    Each path is the shortest by `weight` (whole numbers from 1) that uses none of the links of those before it; of
    equal ones that with the least list of links. The search goes from target to source, guided by the distances from
    the source in the whole network, so it sees little but the path.
    """
    out_first, out_link, in_first, in_link, tail, head = graph
    nodes = len(out_first) - 1
    pairs = len(pair_source)
    keys = np.empty(len(out_link) + 2, np.int64)
    items = np.empty(len(out_link) + 2, np.int64)
    away = np.empty(nodes, np.int64)
    reached = np.empty(nodes, np.int64)
    after = np.empty(nodes, np.int64)
    seen = np.zeros(nodes, np.int64)
    closed = np.empty(CLOSED + 1, np.int64)
    search = 0
    used = np.zeros(len(tail), np.bool_)
    counts = np.zeros(pairs, np.int64)
    sizes = np.empty(pairs * count, np.int64)
    links = np.empty(pairs * 16 + 16, np.int32)
    paths = 0
    filled = 0
    root = -1
    for pair in range(pairs):
        source = pair_source[pair]
        target = pair_target[pair]
        if source == target:
            counts[pair] = 1
            sizes[paths] = 0
            paths += 1
            continue
        if source != root:
            root = source
            away[:] = NEVER
            distances(out_first, out_link, head, weight, source, keys, items, away)
        if away[target] == NEVER:
            continue
        start = filled
        while counts[pair] < count:
            if counts[pair] > 0:
                # Most searches that would find nothing end here: a few nodes around the source have no way out.
                search += 1
                closed[0] = source
                seen[source] = search
                begun = 0
                ended = 1
                met = False
                while begun < ended and ended <= CLOSED and not met:
                    node = closed[begun]
                    begun += 1
                    for at in range(out_first[node], out_first[node + 1]):
                        one = out_link[at]
                        if used[one] or seen[head[one]] == search:
                            continue
                        if head[one] == target or ended == CLOSED:
                            met = True
                            break
                        seen[head[one]] = search
                        closed[ended] = head[one]
                        ended += 1
                if not met:
                    break
            search += 1
            best = NEVER
            reached[target] = 0
            seen[target] = search
            size = push(keys, items, 0, away[target], target)
            while size > 0:
                key = keys[0]
                node = items[0]
                if key > best:
                    break
                size = pop(keys, items, size)
                so_far = reached[node]
                if node == source or key != so_far + away[node]:
                    continue
                for at in range(in_first[node], in_first[node + 1]):
                    one = in_link[at]
                    there = tail[one]
                    if used[one] or away[there] == NEVER:
                        continue
                    length = so_far + weight[one]
                    if seen[there] != search or length < reached[there]:
                        if length + away[there] > best:
                            continue
                        seen[there] = search
                        reached[there] = length
                        after[there] = one
                        size = push(keys, items, size, length + away[there], there)
                        if there == source:
                            best = length
                    elif length == reached[there] and one < after[there]:
                        after[there] = one
            if best == NEVER:
                break
            begin = filled
            node = source
            while node != target:
                one = after[node]
                links = longer(links, filled + 1)
                links[filled] = one
                filled += 1
                used[one] = True
                node = head[one]
            sizes[paths] = filled - begin
            paths += 1
            counts[pair] += 1
        for at in range(start, filled):
            used[links[at]] = False
    return counts, sizes[:paths], links[:filled]
