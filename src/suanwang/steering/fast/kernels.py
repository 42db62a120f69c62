"""The inner loops, compiled: choices at prices, how they answer to prices, and filling up.

Most work on a range of demands, so that ranges may run side by side; what they add up, each adds up in an
array of its own.
"""

from __future__ import annotations

import numpy as np

from suanwang.compiled import njit

NEGLIGIBLE = 1e-7
"""A share of a demand that is taken for nothing."""

SLIGHT = 1e-6
"""Of how a demand answers to prices, a share that is left out: slopes need not be exact."""

CLOSE = 1e-5
"""The last step of that search, as a share; what remains is its square."""

GOLDEN = 0.6180339887498949
"""Multiples of this, modulo 1, are spread evenly (van der Corput 1935; Weyl 1916)."""

MOST_STEPS = 60
"""Of the search for one demand's worth; it ends after four or five."""


@njit(fastmath=True)
def choose(  # type: ignore[no-untyped-def]
    low,
    high,
    first,
    node,
    end,
    rate,
    work,
    value,
    price,
    end_price,
    smooth,
    slack,
    share,
    worth,
    flow,
    end_load,
    out,
):
    """What each demand does at these prices.

    Demand i shares itself out over its rows r and, if `slack`, over not being served, so as to make the sum of share x
    (value - price) + smooth x log(share) greatest: share[r] = smooth / (worth[i] - v[r]), where worth[i] is such that
    the shares add up to 1. Adds rates to `flow` (by node of the tree of paths) and `end_load`; `out` gets the sum of
    the smoothed optima.
    """
    smoothed = 0.0
    for i in range(low, high):
        begin, stop = first[i], first[i + 1]
        if begin == stop:
            continue
        best = 0.0 if slack else -1e300
        second = -1e300
        for r in range(begin, stop):
            v = value[r] - price[node[r]]
            if end[r] >= 0:
                v -= end_price[end[r]] * work[i]
            share[r] = v
            if v > best:
                best, second = v, best
            else:
                second = max(second, v)
        # With two choices there is a formula; with more, the two best are a start from below.
        over = smooth
        if second > -1e300:
            over -= 0.5 * (best - second)
            over += np.sqrt(smooth * smooth + 0.25 * (best - second) * (best - second))
        for _ in range(MOST_STEPS if stop - begin + slack > 2 else 0):
            total = slope = 0.0
            if slack:
                inverse = 1.0 / (best + over)
                total = smooth * inverse
                slope = total * inverse
            for r in range(begin, stop):
                inverse = 1.0 / (best - share[r] + over)
                total += smooth * inverse
                slope += smooth * inverse * inverse
            step = (total - 1.0) * total / slope
            over += step
            if step < CLOSE * over:
                break
        worth[i] = best + over
        # Sum of share x v + smooth x log(share), with one logarithm for many rows.
        here = best + over - smooth * (stop - begin)
        product = 1.0
        if slack:
            here -= smooth
            product = smooth / (best + over)
        for r in range(begin, stop):
            q = smooth / (best - share[r] + over)
            share[r] = q
            product *= q
            if product < 1e-200:
                here += smooth * np.log(product)
                product = 1.0
            if q > NEGLIGIBLE:
                x = rate[i] * q
                flow[node[r]] += x
                if end[r] >= 0:
                    end_load[end[r]] += x * work[i]
        here += smooth * np.log(product)
        smoothed += rate[i] * here
    out[0] += smoothed


@njit()
def answer(low, high, first, rate, share, worth, smooth, slack, out):  # type: ignore[no-untyped-def]
    """`out[i]`: how much demand i answers to prices; next to nothing where its choice is clear."""
    for i in range(low, high):
        rest = smooth / worth[i] if slack else 0.0
        whole = rest * rest
        fourth = whole * whole
        for r in range(first[i], first[i + 1]):
            square = share[r] * share[r]
            whole += square
            fourth += square * square
        out[i] = rate[i] * (whole * whole - fourth) / whole if whole > 0.0 else 0.0


@njit()
def curve(  # type: ignore[no-untyped-def]
    low,
    high,
    first,
    node,
    end,
    rate,
    work,
    share,
    worth,
    smooth,
    slack,
    answers,
    level,
    parent,
    link,
    link_place,
    end_place,
    links,
    crossed,
    ends,
):
    """Add how loads fall as prices rise: to the lower half of `links`, for links that have a place; to `crossed`, of
    links at endpoints' prices; to `ends[e]`, of endpoint e at the prices of those in its block, by their places there.

    Demands that answer less than `level` stand for others like them: each is taken with a chance in proportion to its
    answer, and counts as much more.
    """
    width = links.shape[0]
    amount, touched = np.zeros(width), np.empty(width, np.int64)
    at_end, met = np.zeros(len(ends)), np.empty(len(ends), np.int64)
    place = np.empty(width + 1, np.int64)
    for i in range(low, high):
        if answers[i] <= 0.0 or answers[i] < level * ((i * GOLDEN) % 1.0):
            continue
        amplified = rate[i] * max(1.0, level / answers[i]) / smooth
        whole = 0.0
        if slack:
            rest = smooth / worth[i]
            whole = rest * rest
        for r in range(first[i], first[i + 1]):
            whole += share[r] * share[r]
        seen = visited = 0
        for r in range(first[i], first[i + 1]):
            square = share[r] * share[r]
            if square < SLIGHT * whole:
                continue
            count = 0
            at = node[r]
            while at > 0:
                number = link_place[link[at]]
                if number >= 0:
                    place[count] = number
                    count += 1
                at = parent[at]
            weight = amplified * square
            for x in range(count):
                a = place[x]
                if amount[a] == 0.0:
                    touched[seen] = a
                    seen += 1
                amount[a] += square
                for y in range(x + 1):
                    b = place[y]
                    if a >= b:
                        links[a, b] += weight
                    else:
                        links[b, a] += weight
            e = end[r]
            if e >= 0:
                if at_end[e] == 0.0:
                    met[visited] = e
                    visited += 1
                at_end[e] += square * work[i]
                for y in range(count):
                    crossed[place[y], e] += weight * work[i]
                ends[e, end_place[e]] += weight * work[i] * work[i]
        weight = amplified / whole
        for x in range(seen):
            a = touched[x]
            scaled = amount[a] * weight
            for y in range(x + 1):
                b = touched[y]
                if a >= b:
                    links[a, b] -= scaled * amount[b]
                else:
                    links[b, a] -= scaled * amount[b]
            for y in range(visited):
                crossed[a, met[y]] -= scaled * at_end[met[y]]
        for x in range(visited):
            for y in range(visited):
                ends[met[x], end_place[met[y]]] -= weight * at_end[met[x]] * at_end[met[y]]
        for x in range(seen):
            amount[touched[x]] = 0.0
        for x in range(visited):
            at_end[met[x]] = 0.0


@njit()
def together(first, end, leader):  # type: ignore[no-untyped-def]
    """Make `leader[e]` the same for endpoints between which demands choose, directly or by way of others."""
    for e in range(len(leader)):
        leader[e] = e
    for i in range(len(first) - 1):
        one = -1
        for r in range(first[i], first[i + 1]):
            if end[r] < 0:
                continue
            other = end[r]
            while leader[other] != other:
                leader[other] = leader[leader[other]]
                other = leader[other]
            if one < 0:
                one = other
            elif one != other:
                low = min(one, other)
                leader[max(one, other)] = low
                one = low
    for e in range(len(leader)):
        leader[e] = leader[leader[e]]


@njit()
def load_row(row, rate, work, path, end, path_first, links, link_room, end_room):  # type: ignore[no-untyped-def]
    """Take what a row at this rate needs from the rooms."""
    if end[row] >= 0:
        end_room[end[row]] -= rate * work
    for e in range(path_first[path[row]], path_first[path[row] + 1]):
        link_room[links[e]] -= rate


@njit()
def fill(  # type: ignore[no-untyped-def]
    order, first, path, end, missing, work, worth, most, path_first, links, link_room, end_room, rate, again
):
    """Give demands, in this order, what they miss where there is room, on the rows of greatest worth first.

    `most[i]`: how many rows it may use (0: any number). `again`: what a demand has is taken back first, and given again
    only if that is worth as much. Changes `missing`, the rooms and `rate`.
    """
    widest = 0
    for at in range(len(order)):
        widest = max(widest, first[order[at] + 1] - first[order[at]])
    before = np.empty(widest)
    for at in range(len(order)):
        i = order[at]
        begin, stop = first[i], first[i + 1]
        if missing[i] <= 0.0 and not again:
            continue
        used = 0
        value = 0.0
        owed = missing[i]
        for r in range(begin, stop):
            before[r - begin] = rate[r]
            if rate[r] > 0.0:
                if again:
                    load_row(r, -rate[r], work[i], path, end, path_first, links, link_room, end_room)
                    missing[i] += rate[r]
                    value += rate[r] * worth[r]
                    rate[r] = 0.0
                else:
                    used += 1
        last = np.inf
        last_row = -1
        for _ in range(stop - begin):
            if missing[i] <= 0.0:
                break
            row = -1
            for r in range(begin, stop):
                later = worth[r] < last or (worth[r] == last and r > last_row)
                if later and (row < 0 or worth[r] > worth[row]):
                    row = r
            if row < 0 or worth[row] <= 0.0:
                break
            last = worth[row]
            last_row = row
            if most[i] > 0 and rate[row] == 0.0 and used >= most[i]:
                continue
            room = missing[i]
            if end[row] >= 0 and work[i] > 0.0:
                room = min(room, end_room[end[row]] / work[i])
            for e in range(path_first[path[row]], path_first[path[row] + 1]):
                room = min(room, link_room[links[e]])
                if room <= 0.0:
                    break
            if room <= 0.0:
                continue
            if rate[row] == 0.0:
                used += 1
            rate[row] += room
            missing[i] -= room
            value -= room * worth[row]
            load_row(row, room, work[i], path, end, path_first, links, link_room, end_room)
        if again and value > 0.0:
            for r in range(begin, stop):
                if rate[r] != before[r - begin]:
                    change = before[r - begin] - rate[r]
                    load_row(r, change, work[i], path, end, path_first, links, link_room, end_room)
                    rate[r] = before[r - begin]
            missing[i] = owed
