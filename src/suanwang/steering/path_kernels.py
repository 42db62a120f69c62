"""The inner loops over many paths, compiled: each works on a range of paths, so that ranges may run side by side."""

from __future__ import annotations

from suanwang.compiled import njit


@njit()
def copy_paths(low, high, chosen, first, links, new_first, out):  # type: ignore[no-untyped-def]
    """The links of the paths `chosen`, one path's after another's."""
    for n in range(low, high):
        to = new_first[n]
        for at in range(first[chosen[n]], first[chosen[n] + 1]):
            out[to] = links[at]
            to += 1
