"""The inner loops over trees of paths, compiled."""

from __future__ import annotations

import numpy as np

from suanwang.compiled import njit


@njit()
def grow(runs, first, links, leaf):  # type: ignore[no-untyped-def]
    """The tree of the paths `first`, `links`; those from `runs[n]` to `runs[n + 1]` share their beginnings. Fills in at
    which node each path ends; returns parents, links and where each run starts.
    """
    size = max(1024, 2 * len(leaf))
    parent, link = np.zeros(size, np.int32), np.full(size, -1, np.int32)
    starts = np.empty(len(runs), np.int64)
    count = 1
    # Children by a hash of node and link; a run has a table of its own.
    table, child = np.full(1024, -1, np.int64), np.zeros(1024, np.int32)
    for run in range(len(runs) - 1):
        starts[run] = count
        table[:] = -1
        for path in range(runs[run], runs[run + 1]):
            node = np.int64(0)
            for at in range(first[path], first[path + 1]):
                key = (node << 32) | np.int64(links[at])
                slot = _slot(table, key)
                if table[slot] < 0:
                    if count == len(parent):
                        more = np.zeros(count, np.int32)
                        parent, link = np.concatenate((parent, more)), np.concatenate((link, more))
                    parent[count] = node
                    link[count] = links[at]
                    table[slot] = key
                    child[slot] = count
                    count += 1
                    if 2 * (count - starts[run]) > len(table):
                        table, child = np.full(4 * len(table), -1, np.int64), np.zeros(4 * len(table), np.int32)
                        for old in range(starts[run], count):
                            key = (np.int64(parent[old]) << 32) | np.int64(link[old])
                            slot = _slot(table, key)
                            table[slot] = key
                            child[slot] = old
                    node = np.int64(count - 1)
                else:
                    node = np.int64(child[slot])
            leaf[path] = node
    starts[-1] = count
    return parent[:count].copy(), link[:count].copy(), starts


@njit(inline="always")
def _slot(table, key):  # type: ignore[no-untyped-def]
    """Where in the table a key stands, or would."""
    mask = len(table) - 1
    mixed = np.uint64(key) * np.uint64(0x9E3779B97F4A7C15)
    slot = np.int64(mixed >> np.uint64(32)) & mask
    while table[slot] >= 0 and table[slot] != key:
        slot = (slot + 1) & mask
    return slot


@njit()
def add_down(low, high, parent, link, value, total):  # type: ignore[no-untyped-def]
    """`total[n]`: the sum of the links' values from the root to node n."""
    for node in range(low, high):
        total[node] = total[parent[node]] + value[link[node]]


@njit()
def least_down(low, high, parent, link, value, lowest):  # type: ignore[no-untyped-def]
    """`lowest[n]`: the least of the links' values from the root to node n."""
    for node in range(low, high):
        lowest[node] = min(lowest[parent[node]], value[link[node]])


@njit()
def load_up(low, high, parent, link, flow, load):  # type: ignore[no-untyped-def]
    """Add to `load` what goes over each link, and to each node's flow that of all beneath it."""
    for node in range(high - 1, low - 1, -1):
        through = flow[node]
        if through != 0.0:
            load[link[node]] += through
            if parent[node] > 0:
                flow[parent[node]] += through


@njit()
def mark_up(parent, keep):  # type: ignore[no-untyped-def]
    """Keep all above a node that is kept."""
    for node in range(len(parent) - 1, 0, -1):
        if keep[node]:
            keep[parent[node]] = True


@njit()
def contract(parent, link, starts, place, keep):  # type: ignore[no-untyped-def]
    """The tree of the nodes that are kept, without links that have no place; which node each has become; its starts."""
    now = np.zeros(len(parent), np.int64)
    count = 1
    for node in range(1, len(parent)):
        if keep[node] and place[link[node]] >= 0:
            count += 1
    new_parent, new_link = np.zeros(count, np.int32), np.full(count, -1, np.int32)
    new_starts = np.empty(len(starts), np.int64)
    count = 1
    run = 0
    for node in range(1, len(parent)):
        while run < len(starts) and starts[run] <= node:
            new_starts[run] = count
            run += 1
        if keep[node] and place[link[node]] >= 0:
            now[node] = count
            new_parent[count] = now[parent[node]]
            new_link[count] = place[link[node]]
            count += 1
        else:
            now[node] = now[parent[node]]
    while run < len(starts):
        new_starts[run] = count
        run += 1
    return new_parent, new_link, now, new_starts


@njit()
def unroll(leaf, parent, link, first, out):  # type: ignore[no-untyped-def]
    """The links from the root to each of the nodes `leaf`, one node's after another's."""
    for path in range(len(leaf)):
        node = leaf[path]
        at = first[path + 1]
        while node > 0:
            at -= 1
            out[at] = link[node]
            node = parent[node]
