"""What the kernels share: how they are compiled, a binary heap, and shortest distances.

Only modules named `*_kernel` import this one, and they are imported when something is computed, since numba takes a
while to load. Kernels let other threads run meanwhile; numba compiles them once and keeps them on disk. It compiles one
anew when its own file changes, not when a file changes from which it calls something: after a change here or in
`search_kernel` the other kernels' files have to be touched too.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from suanwang.compiled import njit

kernel = njit()
"""Marks a function that numba compiles."""


@kernel
def push(keys: Any, items: Any, size: int, key: Any, item: int) -> int:
    """Put an item on a heap, which has room for it; its new size."""
    at = size
    while at > 0:
        above = (at - 1) >> 1
        if keys[above] <= key:
            break
        keys[at] = keys[above]
        items[at] = items[above]
        at = above
    keys[at] = key
    items[at] = item
    return size + 1


@kernel
def pop(keys: Any, items: Any, size: int) -> int:
    """Take the least off a heap of `size` > 0, after it was read at 0; its new size."""
    size -= 1
    key = keys[size]
    item = items[size]
    at = 0
    while True:
        below = 2 * at + 1
        if below >= size:
            break
        if below + 1 < size and keys[below + 1] < keys[below]:
            below += 1
        if keys[below] >= key:
            break
        keys[at] = keys[below]
        items[at] = items[below]
        at = below
    keys[at] = key
    items[at] = item
    return size


@kernel
def distances(first: Any, link: Any, end: Any, weight: Any, root: int, keys: Any, items: Any, out: Any) -> None:
    """Shortest distances from `root`, into `out` (nodes,), which holds at the others what stands for "never".

    The links of node u are `link[first[u]:first[u + 1]]`, they lead to `end`. The heap has room for all links and one.
    """
    out[root] = 0
    size = push(keys, items, 0, out[root], root)
    while size > 0:
        key = keys[0]
        node = items[0]
        size = pop(keys, items, size)
        if key > out[node]:
            continue
        for at in range(first[node], first[node + 1]):
            one = link[at]
            there = key + weight[one]
            if there < out[end[one]]:
                out[end[one]] = there
                size = push(keys, items, size, there, end[one])


@kernel
def longer(values: Any, needed: int) -> Any:
    """The same values with room for `needed` at least."""
    if needed <= len(values):
        return values
    more = np.empty(max(needed, 2 * len(values)), values.dtype)
    more[: len(values)] = values
    return more
