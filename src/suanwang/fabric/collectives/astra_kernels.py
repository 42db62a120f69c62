"""Compiled loop of `astra.py`."""

from __future__ import annotations

import numpy as np

from suanwang.compiled import njit


@njit()
def around(chunks, steps, summed, wire, trip, endpoint, work):  # type: ignore[no-untyped-def]
    """When the last of the ranks is done; a single lane stands for all ranks."""
    ranks = len(wire)
    ready = np.zeros(ranks, np.int64)
    free = np.zeros(ranks, np.int64)
    arrival = np.zeros(ranks, np.int64)
    for _ in range(chunks):
        ready += endpoint
        for step in range(steps):
            for rank in range(ranks):
                start = max(ready[rank], free[rank])
                free[rank] = start + wire[rank]
                arrival[rank + 1 if rank + 1 < ranks else 0] = start + trip[rank]
            after = endpoint + (work if step < summed else 0)
            for rank in range(ranks):
                ready[rank] = max(ready[rank], arrival[rank]) + after
    return ready.max()
