"""The inner loops over rows at given prices, compiled: which are worth most, and who would gain by moving."""

from __future__ import annotations

import numpy as np

from suanwang.compiled import njit


@njit()
def best_rows(  # type: ignore[no-untyped-def]
    low, high, first, node, end, work, value, price, end_price, most, keep, best
):
    """Mark in `keep` the rows of each demand that are worth most at these prices, `most` of them or fewer; `best[i]`:
    what the best of them is worth, or what `best[i]` said if that is more.
    """
    worth = np.empty(most)
    row = np.empty(most, np.int64)
    for i in range(low, high):
        count = 0
        for r in range(first[i], first[i + 1]):
            v = value[r] - price[node[r]]
            if end[r] >= 0:
                v -= end_price[end[r]] * work[i]
            if count == most and v <= worth[count - 1]:
                continue
            at = count if count < most else most - 1
            while at > 0 and worth[at - 1] < v:
                worth[at], row[at] = worth[at - 1], row[at - 1]
                at -= 1
            worth[at], row[at] = v, r
            count = min(count + 1, most)
        for at in range(count):
            keep[row[at]] = True
        if count > 0:
            best[i] = max(best[i], worth[0])


@njit()
def restless(  # type: ignore[no-untyped-def]
    low, high, first, node, end, wanted, work, value, price, end_price, flow, least, moves, best
):
    """`moves[i]`: whether a demand would gain more than `least` a unit if something of it moved at these prices, when
    its rows have the rates `flow[:, 0]`; `best[i]`: what its best row is worth.
    """
    for i in range(low, high):
        highest, lowest = 0.0, np.inf
        lacking = wanted[i]
        for r in range(first[i], first[i + 1]):
            v = value[r] - price[node[r]]
            if work[i] > 0.0:
                v -= end_price[end[r]] * work[i]
            highest = max(highest, v)
            if flow[r, 0] > 0.0:
                lowest = min(lowest, v)
                lacking -= flow[r, 0]
        if lacking > 1e-9 * wanted[i]:
            lowest = min(lowest, 0.0)
        moves[i] = highest > lowest + least
        best[i] = highest


@njit()
def shortlist(which, first, node, end, work, value, price, end_price, flow, best, margin, numbers, new_first):  # type: ignore[no-untyped-def]
    """The rows of the demands `which` that carry something or are worth at most `margin` less than the best: their
    `numbers`, and where each demand's start (`new_first`).
    """
    count = 0
    for n in range(len(which)):
        i = which[n]
        new_first[n] = count
        for r in range(first[i], first[i + 1]):
            v = value[r] - price[node[r]]
            if work[i] > 0.0:
                v -= end_price[end[r]] * work[i]
            if flow[r, 0] > 0.0 or v >= best[i] - margin:
                numbers[count] = r
                count += 1
    new_first[len(which)] = count
