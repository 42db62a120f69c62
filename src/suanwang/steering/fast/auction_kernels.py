"""The inner loops of the auction of endpoints' room, compiled.

A lot is what a row carries: room at its endpoint, held up to a `level`, the price a unit of load at which its demand
would rather be elsewhere. The lots at endpoint e stand in a binary heap, the lowest level first:
`heap[start[e]:start[e] + count[e]]`.
"""

from __future__ import annotations

import numpy as np

from suanwang.compiled import njit

TINY = 1e-9
"""What is less than this share of a demand or an endpoint is nothing."""

ROW, PLACE, OWNER, NEXT = range(4)
"""Columns of `lots` (M, 4): its row, where in the heap it is, which of the group owns it, the owner's next."""


@njit()
def sift_up(heap, lots, level, low, at):  # type: ignore[no-untyped-def]
    """Bring the lot at `at` of the heap that starts at `low` up to where it belongs."""
    lot = heap[low + at]
    while at > 0:
        above = (at - 1) // 2
        if level[heap[low + above]] <= level[lot]:
            break
        heap[low + at] = heap[low + above]
        lots[heap[low + at], PLACE] = at
        at = above
    heap[low + at] = lot
    lots[lot, PLACE] = at


@njit()
def sift_down(heap, lots, level, low, count, at):  # type: ignore[no-untyped-def]
    """Bring the lot at `at` down to where it belongs."""
    lot = heap[low + at]
    while True:
        below = 2 * at + 1
        if below >= count:
            break
        if below + 1 < count and level[heap[low + below + 1]] < level[heap[low + below]]:
            below += 1
        if level[heap[low + below]] >= level[lot]:
            break
        heap[low + at] = heap[low + below]
        lots[heap[low + at], PLACE] = at
        at = below
    heap[low + at] = lot
    lots[lot, PLACE] = at


@njit(inline="always")
def enter(heap, lots, level, own, spare, low, count, row, k, height):  # type: ignore[no-untyped-def]
    """Have demand k hold a row up to this level: one lot more, or one that rises. Returns how many there are."""
    lot = own[k]
    while lot >= 0 and lots[lot, ROW] != row:
        lot = lots[lot, NEXT]
    if lot >= 0:
        level[lot] = height
        sift_down(heap, lots, level, low, count, lots[lot, PLACE])
        return count
    # The lots that are free hang together by NEXT, from spare[0]; from spare[1] on none has been used.
    if spare[0] >= 0:
        lot = spare[0]
        spare[0] = lots[lot, NEXT]
    else:
        lot = spare[1]
        spare[1] += 1
    lots[lot, ROW], lots[lot, OWNER], lots[lot, NEXT] = row, k, own[k]
    own[k] = lot
    level[lot] = height
    heap[low + count] = lot
    sift_up(heap, lots, level, low, count)
    return count + 1


@njit(inline="always")
def strike(heap, lots, level, own, spare, low, count):  # type: ignore[no-untyped-def]
    """Strike the lot of the lowest level off. Returns how many stay."""
    lot = heap[low]
    k = lots[lot, OWNER]
    if own[k] == lot:
        own[k] = lots[lot, NEXT]
    else:
        before = own[k]
        while lots[before, NEXT] != lot:
            before = lots[before, NEXT]
        lots[before, NEXT] = lots[lot, NEXT]
    lots[lot, NEXT] = spare[0]
    spare[0] = lot
    if count > 1:
        heap[low] = heap[low + count - 1]
        sift_down(heap, lots, level, low, count - 1, 0)
    return count - 1


@njit(inline="always")
def offers(begin, stop, end, value, offset, price, work):  # type: ignore[no-untyped-def]
    """(the row of a demand that is worth most to it, what it is worth, what the best at another endpoint or not being
    served is worth); row -1 if nothing is worth anything.
    """
    row, at = -1, -1
    best = second = 0.0
    for r in range(begin, stop):
        worth = value[offset + r]
        e = end[r]
        if work > 0.0:
            worth -= price[e] * work
        if worth > best:
            if e != at:
                second = best
            best, row, at = worth, r, e
        elif worth > second and e != at:
            second = worth
    return row, best, second


@njit(inline="always")
def pass_on(path_first, links, left, path, amount):  # type: ignore[no-untyped-def]
    """Take `amount` from what is left of a path's links, if they count."""
    if len(left) > 0:
        for at in range(path_first[path], path_first[path + 1]):
            left[links[at]] -= amount


@njit()
def assign(  # type: ignore[no-untyped-def]
    which, first, path, end, worth, path_price, rate, work, start, count, size, room, price, held, flow, missing,
    path_first, links, left, bid, most
):  # fmt: skip
    """Demands bid for room at endpoints until all have what they want at the prices, or nothing is worth it to them;
    returns how many bids there were, `most` or fewer.

    `held`: what rows `flow` carry holds room already. `count`: nought for each endpoint. `room`: what is left at
    endpoints of `size`, less than nothing where they are overfull; `left`: of links, empty if these don't count;
    `missing`: what demands have not. Each bid raises a price by `bid` at least. The demands `which` share no endpoint
    with others.
    """
    offset = np.empty(len(which), np.int64)
    rows, base = 0, np.int64(1 << 62)
    for k in range(len(which)):
        offset[k] = rows - first[which[k]]
        rows += first[which[k] + 1] - first[which[k]]
        for r in range(first[which[k]], first[which[k] + 1]):
            if size[end[r]] < np.inf:
                base = min(base, start[end[r]])
    value, level = np.empty(rows), np.empty(rows)
    lots, heap = np.empty((rows, 4), np.int32), np.empty(rows, np.int32)
    own, spare = np.full(len(which), -1, np.int32), np.array([-1, 0])
    queue, queued = np.empty(len(which) + 1, np.int64), np.zeros(len(which), np.bool_)
    for k in range(len(which)):
        i = which[k]
        for r in range(first[i], first[i + 1]):
            value[offset[k] + r] = worth[r] - path_price[path[r]]
        if held and work[i] > 0.0:
            row, best, second = offers(first[i], first[i + 1], end, value, offset[k], price, work[i])
            for r in range(first[i], first[i + 1]):
                e = end[r]
                if flow[r] > 0.0 and room[e] < np.inf:
                    other = second if row >= 0 and e == end[row] else best
                    height = (value[offset[k] + r] - other) / work[i] + bid
                    count[e] = enter(heap, lots, level, own, spare, start[e] - base, count[e], r, k, height)
    begin = waiting = bids = 0
    for k in range(len(which) if held else 0):
        i = which[k]
        for r in range(first[i], first[i + 1]):
            e = end[r]
            while room[e] < 0.0 and count[e] > 0:
                lot = heap[start[e] - base]
                row, loser = lots[lot, ROW], which[lots[lot, OWNER]]
                amount = min(flow[row], -room[e] / work[loser])
                if flow[row] - amount <= TINY * rate[loser]:
                    amount = flow[row]
                    count[e] = strike(heap, lots, level, own, spare, start[e] - base, count[e])
                flow[row] -= amount
                room[e] = 0.0 if amount * work[loser] >= -room[e] * (1 - 1e-12) else room[e] + amount * work[loser]
                missing[loser] += amount
                pass_on(path_first, links, left, path[row], -amount)
    for k in range(len(which)):
        if missing[which[k]] > TINY * rate[which[k]]:
            queue[waiting] = k
            queued[k] = True
            waiting += 1
    while waiting > 0 and bids < most:
        k = queue[begin]
        begin = (begin + 1) % len(queue)
        waiting -= 1
        queued[k] = False
        i = which[k]
        while missing[i] > TINY * rate[i] and bids < most:
            bids += 1
            row, best, second = offers(first[i], first[i + 1], end, value, offset[k], price, work[i])
            if row < 0:
                break
            amount = missing[i]
            if len(left) > 0:
                for at in range(path_first[path[row]], path_first[path[row] + 1]):
                    amount = min(amount, left[links[at]])
                if amount <= TINY * rate[i]:
                    value[offset[k] + row] = -np.inf
                    continue
            e = end[row]
            if work[i] > 0.0 and room[e] < np.inf:
                low, wanted = start[e] - base, amount * work[i]
                height = price[e] + (best - second) / work[i] + bid
                found = min(wanted, max(room[e], 0.0))
                room[e] -= found
                while found < wanted and count[e] > 0 and level[heap[low]] < height:
                    lot = heap[low]
                    lost, other = lots[lot, ROW], lots[lot, OWNER]
                    loser = which[other]
                    amount = min(flow[lost], (wanted - found) / work[loser])
                    if flow[lost] - amount <= TINY * rate[loser]:
                        amount = flow[lost]
                        count[e] = strike(heap, lots, level, own, spare, low, count[e])
                    flow[lost] -= amount
                    found += amount * work[loser]
                    missing[loser] += amount
                    pass_on(path_first, links, left, path[lost], -amount)
                    if other != k and not queued[other]:
                        queued[other] = True
                        queue[(begin + waiting) % len(queue)] = other
                        waiting += 1
                if found > wanted:
                    room[e] += found - wanted
                    found = wanted
                if found <= 0.0:
                    price[e] = level[heap[low]] if count[e] > 0 else height
                    continue
                amount = found / work[i]
                count[e] = enter(heap, lots, level, own, spare, low, count[e], row, k, height)
                if room[e] <= TINY * size[e]:
                    price[e] = max(price[e], level[heap[low]])
            flow[row] += amount
            missing[i] -= amount
            pass_on(path_first, links, left, path[row], amount)
    return bids


@njit()
def assign_all(  # type: ignore[no-untyped-def]
    which, cuts, first, path, end, worth, path_price, rate, work, start, count, size, room, price, held, flow,
    missing, path_first, links, left, bid, most
):  # fmt: skip
    """`assign` for one group of demands after the other, which stand from `cuts[n]` to `cuts[n + 1]`; `most`: bids for
    each demand, on average.
    """
    for n in range(len(cuts) - 1):
        group = which[cuts[n] : cuts[n + 1]]
        assign(
            group, first, path, end, worth, path_price, rate, work, start, count, size, room, price, held, flow,
            missing, path_first, links, left, bid, most * len(group),
        )  # fmt: skip
