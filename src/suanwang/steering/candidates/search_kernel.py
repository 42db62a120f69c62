"""The single best path that keeps limits: a label-setting search, guided by the distances to the target."""

from __future__ import annotations

from typing import Any

import numpy as np

from suanwang.steering.candidates.heap import kernel, pop, push

NEVER = np.int64(1 << 62)
NODE, LINK, ABOVE, LENGTH, BESIDE, CHILD = 0, 1, 2, 3, 4, 5
"""Columns of a table of labels, or of a tree: the node, the link by which it was reached, the row from where, the
length so far; another label at the same node, or row with the same parent; the first child, in a tree.
"""


@kernel
def within(spent: Any, at: int, extra: Any, link: int, rest: Any, node: int, bound: Any) -> bool:
    """Whether going on by a link to a node can still keep the limits."""
    for kind in range(len(bound)):  # noqa: SIM110
        if spent[at, kind] + extra[link, kind] + rest[kind, node] > bound[kind]:
            return False
    return True


@kernel
def _dominated(table: Any, spent: Any, other: int, at: int, extra: Any, link: int) -> bool:
    """Whether label `other` or one beside it has spent no more of anything than label `at` and a link (-1: none)."""
    while other >= 0:
        worse = True
        for kind in range(spent.shape[1]):
            here = spent[at, kind] + (extra[link, kind] if link >= 0 else 0.0)
            if spent[other, kind] > here:
                worse = False
                break
        if worse:
            return True
        other = table[other, BESIDE]
    return False


@kernel
def search(
    graph: Any,
    weight: Any,
    extra: Any,
    rest: Any,
    rest_of: Any,
    bound: Any,
    target: int,
    table: Any,
    spent: Any,
    keys: Any,
    items: Any,
    standing: Any,
    stood: Any,
    barred: Any,
    turn: int,
    taken: Any,
    on_tree: Any,
    mark: int,
    most: int,
) -> Any:
    """From label 0, not by links `taken`, the best path to the target: (its label or -1, labels made).

    More labels than `most` end the search.
    """
    made = 1
    size = push(keys, items, 0, table[0, LENGTH] + rest[table[0, NODE]], 0)
    while size > 0:
        label = items[0]
        size = pop(keys, items, size)
        node = table[label, NODE]
        if node == target:
            return label, made
        if stood[node] == mark and _dominated(table, spent, standing[node], label, extra, -1):
            continue
        table[label, BESIDE] = standing[node] if stood[node] == mark else -1
        stood[node] = mark
        standing[node] = label
        for at in range(graph.out_first[node], graph.out_first[node + 1]):
            one = graph.out_link[at]
            there = graph.head[one]
            if barred[one] == turn or on_tree[there] == mark or rest[there] == NEVER:
                continue
            if label == 0 and taken[one] == mark:
                continue
            if not within(spent, label, extra, one, rest_of, there, bound):
                continue
            if stood[there] == mark and _dominated(table, spent, standing[there], label, extra, one):
                continue
            if made == most:
                return -1, made + 1
            table[made, NODE] = there
            table[made, LINK] = one
            table[made, ABOVE] = label
            table[made, LENGTH] = table[label, LENGTH] + weight[one]
            for kind in range(len(bound)):
                spent[made, kind] = spent[label, kind] + extra[one, kind]
            size = push(keys, items, size, table[made, LENGTH] + rest[there], made)
            made += 1
    return -1, made
