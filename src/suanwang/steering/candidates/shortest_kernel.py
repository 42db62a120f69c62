"""The k shortest simple paths that keep limits, of many pairs: Lawler's partition over a label-setting search.

The paths found so far of a pair make a tree that grows from the source. Each of its nodes x stands for the paths that
follow the tree to x and leave it there: these are disjoint sets, and together all the rest. A heap holds for each x a
lower bound, from the distances to the target, or, once it was the least and has been searched, its best path. So what
comes off the heap as a path is the next best of all (Lawler 1972, with the searches put off as long as can be).

A search may reach a node by several labels, none of which is better in length and in all that is limited. That a label
worse in everything can be dropped holds for the single best path only, which is why each set is searched by itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from suanwang.steering.candidates.heap import distances, kernel, longer, pop, push
from suanwang.steering.candidates.search_kernel import (
    ABOVE,
    BESIDE,
    CHILD,
    LENGTH,
    LINK,
    NEVER,
    NODE,
    search,
    within,
)

MORE, ALL, CUT = 0, 1, 2
"""What is known of a pair: there may be more paths; these are all; the work for it was used up."""


@kernel
def _wider(values: Any, rows: int) -> Any:
    """The same table with room for so many rows at least."""
    if rows <= len(values):
        return values
    more = np.empty((max(rows, 2 * len(values)), values.shape[1]), values.dtype)
    more[: len(values)] = values
    return more


@kernel
def _bar(links: Any, groups: Any, target: int, barred: Any, turn: int) -> None:
    """Bar links and the members of their groups, where groups are nodes but for those into the target."""
    group_first, group_of, member_first, member_of, nodes = groups
    for one in links:
        barred[one] = turn
        for at in range(group_first[one], group_first[one + 1]):
            if nodes and group_of[at] == target:
                continue
            for member in range(member_first[group_of[at]], member_first[group_of[at] + 1]):
                barred[member_of[member]] = turn


@kernel
def shortest_paths(
    graph: Any,
    weight: Any,
    extra: Any,
    pair_source: Any,
    pair_target: Any,
    pair_bound: Any,
    avoid_first: Any,
    avoid_link: Any,
    groups: Any,
    count: int,
    disjoint: bool,
    most_labels: int,
) -> Any:
    """Up to `count` paths for each of the pairs, which are sorted by target, best first.

    `weight` (L,): whole numbers from 1; `extra` (L, R): what each link adds to each limited quantity; `pair_bound`
    (pairs, R): how much of it there may be. Pair p avoids the links `avoid_link[avoid_first[p]:avoid_first[p + 1]]` and
    the members of their `groups` (group_first, group_of, member_first, member_of, whether groups are nodes). With
    `disjoint` each path avoids the links of those before it. Returns (paths of each pair, what is known of each, links
    of each path, all links).
    """
    nodes = len(graph.out_first) - 1
    kinds = extra.shape[1]
    pairs = len(pair_source)
    counts = np.zeros(pairs, np.int64)
    known = np.full(pairs, MORE, np.int8)
    sizes = np.empty(pairs + 16, np.int64)
    links = np.empty(pairs * 4 + 16, np.int32)
    paths = 0
    filled = 0

    room = len(graph.out_link) + 2
    keys = np.empty(room, np.int64)
    real_keys = np.empty(room, np.float64)
    items = np.empty(room, np.int64)
    rest = np.empty(nodes, np.int64)
    rest_of = np.empty((kinds, nodes), np.float64)
    extra_of = np.ascontiguousarray(extra.T)

    # The tree of found paths, and what was spent to get to each of its rows.
    tree = np.empty((64, 6), np.int64)
    tree_spent = np.empty((64, kinds), np.float64)
    # What waits: node x of the tree with a bound is item 2x, best path y is item 2y + 1.
    wait_keys = np.empty(64, np.int64)
    wait_items = np.empty(64, np.int64)
    best_leave = np.empty(16, np.int64)
    best_first = np.zeros(17, np.int64)
    best_links = np.empty(64, np.int64)
    # Memory that is never touched is never taken.
    table = np.empty((most_labels, 5), np.int64)
    spent = np.empty((most_labels, kinds), np.float64)
    open_keys = np.empty(most_labels, np.int64)
    open_items = np.empty(most_labels, np.int64)
    standing = np.empty(nodes, np.int64)
    stood = np.zeros(nodes, np.int64)
    barred = np.zeros(len(weight), np.int64)
    taken = np.zeros(len(weight), np.int64)
    on_tree = np.zeros(nodes, np.int64)
    mark = 0
    goal = -1

    for pair in range(pairs):
        source = pair_source[pair]
        target = pair_target[pair]
        bound = pair_bound[pair]
        turn = pair + 1
        if target != goal:
            goal = target
            rest[:] = NEVER
            rest_of[:] = np.inf
            distances(graph.in_first, graph.in_link, graph.tail, weight, target, keys, items, rest)
            for kind in range(kinds):
                distances(
                    graph.in_first, graph.in_link, graph.tail, extra_of[kind], target, real_keys, items, rest_of[kind]
                )
        fine = rest[source] < NEVER
        for kind in range(kinds):
            fine = fine and rest_of[kind, source] <= bound[kind]
        if not fine or source == target:
            known[pair] = ALL
            if fine:
                sizes = longer(sizes, paths + 1)
                sizes[paths] = 0
                paths += 1
                counts[pair] = 1
            continue
        _bar(avoid_link[avoid_first[pair] : avoid_first[pair + 1]], groups, target, barred, turn)

        tree[0, NODE] = source
        tree[0, ABOVE] = -1
        tree[0, CHILD] = -1
        tree[0, LENGTH] = 0
        tree_spent[0] = 0.0
        grown = 1
        best = 0
        waiting = push(wait_keys, wait_items, 0, rest[source], 0)
        work = 0
        while counts[pair] < count:
            if waiting == 0:
                known[pair] = ALL
                break
            item = wait_items[0]
            waiting = pop(wait_keys, wait_items, waiting)
            mark += 1
            if item & 1 == 0:
                # Search the paths that leave the tree at x.
                x = item >> 1
                child = tree[x, CHILD]
                while child >= 0:
                    taken[tree[child, LINK]] = mark
                    child = tree[child, BESIDE]
                table[0, NODE] = tree[x, NODE]
                table[0, LENGTH] = tree[x, LENGTH]
                spent[0] = tree_spent[x]
                above = x
                while above >= 0:
                    on_tree[tree[above, NODE]] = mark
                    above = tree[above, ABOVE]
                found, made = search(
                    graph,
                    weight,
                    extra,
                    rest,
                    rest_of,
                    bound,
                    target,
                    table,
                    spent,
                    open_keys,
                    open_items,
                    standing,
                    stood,
                    barred,
                    turn,
                    taken,
                    on_tree,
                    mark,
                    most_labels - work,
                )
                work += made
                if work >= most_labels:
                    known[pair] = CUT
                    break
                if found < 0:
                    continue
                hops = 0
                label = found
                while label > 0:
                    hops += 1
                    label = table[label, ABOVE]
                end = best_first[best] + hops
                best_leave = longer(best_leave, best + 1)
                best_first = longer(best_first, best + 2)
                best_links = longer(best_links, end)
                best_leave[best] = x
                best_first[best + 1] = end
                label = found
                while label > 0:
                    end -= 1
                    best_links[end] = table[label, LINK]
                    label = table[label, ABOVE]
                wait_keys = longer(wait_keys, waiting + 1)
                wait_items = longer(wait_items, waiting + 1)
                waiting = push(wait_keys, wait_items, waiting, table[found, LENGTH], 2 * best + 1)
                best += 1
                continue

            # The next best path: first along the tree, then by links of its own.
            x = best_leave[item >> 1]
            tail = best_links[best_first[item >> 1] : best_first[(item >> 1) + 1]]
            depth = 0
            above = x
            while tree[above, ABOVE] >= 0:
                depth += 1
                above = tree[above, ABOVE]
            begin = filled
            filled += depth + len(tail)
            sizes = longer(sizes, paths + 1)
            sizes[paths] = filled - begin
            paths += 1
            counts[pair] += 1
            links = longer(links, filled)
            links[begin + depth : filled] = tail
            above = x
            while above >= 0:
                on_tree[tree[above, NODE]] = mark
                if tree[above, ABOVE] >= 0:
                    depth -= 1
                    links[begin + depth] = tree[above, LINK]
                above = tree[above, ABOVE]
            if counts[pair] == count:
                break
            if disjoint:
                barred[links[begin:filled]] = turn
                tree[0, CHILD] = -1
                grown = 1
                best = 0
                waiting = push(wait_keys, wait_items, 0, rest[source], 0)
                continue
            # The tree grows by it; what leaves it anywhere along the new part is a set of its own.
            tree = _wider(tree, grown + len(tail))
            tree_spent = _wider(tree_spent, grown + len(tail))
            wait_keys = longer(wait_keys, waiting + len(tail) + 1)
            wait_items = longer(wait_items, waiting + len(tail) + 1)
            for one in tail:
                tree[grown, NODE] = graph.head[one]
                tree[grown, LINK] = one
                tree[grown, ABOVE] = x
                tree[grown, CHILD] = -1
                tree[grown, BESIDE] = tree[x, CHILD]
                tree[x, CHILD] = grown
                tree[grown, LENGTH] = tree[x, LENGTH] + weight[one]
                tree_spent[grown] = tree_spent[x] + extra[one]
                child = grown
                while child >= 0:
                    taken[tree[child, LINK]] = mark
                    child = tree[child, BESIDE]
                on_tree[tree[x, NODE]] = mark
                least = NEVER
                for at in range(graph.out_first[tree[x, NODE]], graph.out_first[tree[x, NODE] + 1]):
                    other = graph.out_link[at]
                    there = graph.head[other]
                    if barred[other] == turn or taken[other] == mark or on_tree[there] == mark or rest[there] == NEVER:
                        continue
                    if within(tree_spent, x, extra, other, rest_of, there, bound):
                        least = min(least, tree[x, LENGTH] + weight[other] + rest[there])
                if least < NEVER:
                    waiting = push(wait_keys, wait_items, waiting, least, 2 * x)
                x = grown
                grown += 1
    return counts, known, sizes[:paths], links[:filled]
