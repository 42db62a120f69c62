"""The inner loops over many paths, compiled: each works on a range of paths, so that ranges may run side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    def njit(**_: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """What numba compiles, as its callers see it."""
else:
    from numba import njit


@njit(cache=True, nogil=True, fastmath=True)
def price_paths(low, high, first, links, price, out):  # type: ignore[no-untyped-def]
    """`out[p]`: the sum of the links' prices along path p."""
    for path in range(low, high):
        total = 0.0
        for at in range(first[path], first[path + 1]):
            total += price[links[at]]
        out[path] = total


@njit(cache=True, nogil=True)
def least_along(low, high, first, links, value, out):  # type: ignore[no-untyped-def]
    """`out[p]`: the least of the links' values along path p; infinity where it has none."""
    for path in range(low, high):
        lowest = np.inf
        for at in range(first[path], first[path + 1]):
            lowest = min(lowest, value[links[at]])
        out[path] = lowest


@njit(cache=True, nogil=True)
def copy_paths(low, high, chosen, first, links, new_first, out):  # type: ignore[no-untyped-def]
    """The links of the paths `chosen`, one path's after another's."""
    for n in range(low, high):
        to = new_first[n]
        for at in range(first[chosen[n]], first[chosen[n] + 1]):
            out[to] = links[at]
            to += 1


@njit(cache=True, nogil=True)
def count_links(low, high, first, links, place, out):  # type: ignore[no-untyped-def]
    """`out[p + 1]`: how many links of path p have a place."""
    for path in range(low, high):
        count = 0
        for at in range(first[path], first[path + 1]):
            if place[links[at]] >= 0:
                count += 1
        out[path + 1] = count


@njit(cache=True, nogil=True)
def keep_links(low, high, first, links, place, new_first, out):  # type: ignore[no-untyped-def]
    """The places of those links that have one, path by path, from `new_first[p]` on."""
    for path in range(low, high):
        to = new_first[path]
        for at in range(first[path], first[path + 1]):
            if place[links[at]] >= 0:
                out[to] = place[links[at]]
                to += 1


@njit(cache=True, nogil=True)
def load_paths(low, high, first, links, flow, load):  # type: ignore[no-untyped-def]
    """Add the flow of each path to the load of its links."""
    for path in range(low, high):
        rate = flow[path]
        if rate > 0.0:
            for at in range(first[path], first[path + 1]):
                load[links[at]] += rate
