"""Giving and taking within what there is room for, compiled."""

from __future__ import annotations

import numpy as np

from suanwang.compiled import njit
from suanwang.steering.online.kernels import (
    END,
    EXTRA,
    FIRST,
    FROM,
    LOAD,
    MARGIN,
    MOST,
    OWNER,
    PATH,
    RATE,
    ROOM,
    STOP,
    WANTED,
    WORK,
    WORTH,
    barred,
    clear,
    missing,
    net_worth,
    put,
    space,
    visit_all,
)  # fmt: skip


@njit()
def fill(starts, links, rows, flow, m, own, need, bar_first, bars, which, count, slack):  # type: ignore[no-untyped-def]
    """Give demands, in this order, what they miss where there is room, where it is worth most at the prices first."""
    widest = 1
    for at in range(count):
        widest = max(widest, own[which[at], STOP] - own[which[at], FIRST])
    net = np.empty(widest)
    for at in range(count):
        i = which[at]
        begin, stop = own[i, FIRST], own[i, STOP]
        left = missing(own, need, flow, i)
        tiny = 1e-9 * need[i, WANTED]
        if left <= tiny:
            continue
        used = 0
        for row in range(begin, stop):
            if flow[row, RATE] > 0.0:
                used += 1
            net[row - begin] = np.nan
            if space(starts, links, rows, flow, m, row, need[i, WORK]) > tiny:
                net[row - begin] = net_worth(starts, links, rows, flow, m, row, need[i, WORK])
        for _ in range(stop - begin):
            best = -1
            for row in range(begin, stop):
                if net[row - begin] == net[row - begin] and (best < 0 or net[row - begin] > net[best - begin]):
                    best = row
            if best < 0 or left <= tiny:
                break
            net[best - begin] = np.nan
            # What has room is used, whatever its price: unless serving is worth less than it costs.
            cost = 0.0
            if need[i, WORK] > 0.0 and m[LOAD, rows[best, END]] >= m[FROM, rows[best, END]]:
                cost = m[EXTRA, rows[best, END]] * need[i, WORK]
            if flow[best, WORTH] - cost <= slack:
                continue
            if flow[best, RATE] <= 0.0:
                if barred(bar_first, bars, flow, best) or (own[i, MOST] > 0 and used >= own[i, MOST]):
                    continue
                used += 1
            amount = min(left, space(starts, links, rows, flow, m, best, need[i, WORK]))
            if amount > tiny:
                put(starts, links, rows, flow, m, best, amount, need[i, WORK])
                left -= amount


@njit()
def empty(starts, links, rows, flow, m, need, which):  # type: ignore[no-untyped-def]
    """Take everything off these rows."""
    for row in which:
        clear(starts, links, rows, flow, m, row, need[rows[row, OWNER], WORK])


@njit()
def over(starts, links, rows, m, row, work):  # type: ignore[no-untyped-def]
    """By how much a row must come down, at most, until nothing on it is overfull."""
    found = 0.0
    for at in range(starts[rows[row, PATH]], starts[rows[row, PATH] + 1]):
        link = links[at]
        found = max(found, m[LOAD, link] - m[ROOM, link] * (1 - MARGIN))
    if work > 0.0:
        at = rows[row, END]
        found = max(found, (m[LOAD, at] - m[ROOM, at] * (1 - MARGIN)) / work)
    return found


@njit()
def crowded(starts, links, rows, flow, own, need, full, which, found):  # type: ignore[no-untyped-def]
    """Mark in `found` (n,) which of these demands use a resource that is marked in `full` (R,)."""
    for at in range(len(which)):
        i = which[at]
        for row in range(own[i, FIRST], own[i, STOP]):
            if flow[row, RATE] <= 0.0:
                continue
            met = need[i, WORK] > 0.0 and full[rows[row, END]]
            for link in range(starts[rows[row, PATH]], starts[rows[row, PATH] + 1]):
                met = met or full[links[link]]
            if met:
                found[at] = True
                break


@njit()
def trim(starts, links, rows, flow, m, own, need, which):  # type: ignore[no-untyped-def]
    """Take from these demands' rows what overfills their resources, from rows that are worth nothing first."""
    count = 0
    for i in which:
        count += own[i, STOP] - own[i, FIRST]
    later = np.empty(count, np.int64)
    count = 0
    for i in which:
        for row in range(own[i, FIRST], own[i, STOP]):
            if flow[row, RATE] <= 0.0:
                continue
            much = over(starts, links, rows, m, row, need[i, WORK])
            if much <= 0.0:
                continue
            if net_worth(starts, links, rows, flow, m, row, need[i, WORK]) < 0.0:
                take(starts, links, rows, flow, m, row, much, need[i, WORK])
            else:
                later[count] = row
                count += 1
    for at in range(count):
        row = later[at]
        work = need[rows[row, OWNER], WORK]
        much = over(starts, links, rows, m, row, work)
        if much > 0.0:
            take(starts, links, rows, flow, m, row, much, work)


@njit()
def take(starts, links, rows, flow, m, row, much, work):  # type: ignore[no-untyped-def]
    """Take up to `much` from a row."""
    if much >= flow[row, RATE]:
        clear(starts, links, rows, flow, m, row, work)
    else:
        put(starts, links, rows, flow, m, row, -much, work)


@njit()
def force(starts, links, rows, flow, m, own, need, bar_first, bars, which):  # type: ignore[no-untyped-def]
    """Put what these demands miss where it is worth most, whether there is room or not; what is too much goes."""
    for i in which:
        if need[i, WANTED] <= 0.0:
            for row in range(own[i, FIRST], own[i, STOP]):
                if flow[row, RATE] > 0.0:
                    clear(starts, links, rows, flow, m, row, need[i, WORK])
            continue
        left = missing(own, need, flow, i)
        if left < 0.0:
            for row in range(own[i, FIRST], own[i, STOP]):
                less = min(-left, flow[row, RATE])
                left += less
                if less > 0.0 and less == flow[row, RATE]:
                    clear(starts, links, rows, flow, m, row, need[i, WORK])
                elif less > 0.0:
                    put(starts, links, rows, flow, m, row, -less, need[i, WORK])
            continue
        if left <= 1e-9 * need[i, WANTED]:
            continue
        used = 0
        for row in range(own[i, FIRST], own[i, STOP]):
            used += flow[row, RATE] > 0.0
        best, highest = -1, -np.inf
        for row in range(own[i, FIRST], own[i, STOP]):
            new = flow[row, RATE] <= 0.0
            if new and (barred(bar_first, bars, flow, row) or (own[i, MOST] > 0 and used >= own[i, MOST])):
                continue
            net = net_worth(starts, links, rows, flow, m, row, need[i, WORK])
            if net > highest:
                best, highest = row, net
        if best >= 0:
            put(starts, links, rows, flow, m, best, left, need[i, WORK])


@njit()
def reduce_all(starts, links, rows, flow, m, own, need, which):  # type: ignore[no-untyped-def]
    """Take from these demands what they have beyond what they want, where it is worth least first."""
    for i in which:
        for _ in range(own[i, STOP] - own[i, FIRST]):
            left = -missing(own, need, flow, i)
            if left <= 0.0:
                break
            worst, lowest = -1, np.inf
            for row in range(own[i, FIRST], own[i, STOP]):
                if flow[row, RATE] > 0.0:
                    net = net_worth(starts, links, rows, flow, m, row, need[i, WORK])
                    if net < lowest or worst < 0:
                        worst, lowest = row, net
            if worst < 0:
                break
            if left >= flow[worst, RATE]:
                clear(starts, links, rows, flow, m, worst, need[i, WORK])
            else:
                put(starts, links, rows, flow, m, worst, -left, need[i, WORK])


@njit()
def place(starts, links, rows, flow, m, own, need, bar_first, bars, which, slack):  # type: ignore[no-untyped-def]
    """Place new demands one after the other, each whole where that is worth most at the prices, if it fits somewhere;
    else in parts, or as much as fits. Where all must be served (`slack` minus infinity) there is always room.
    """
    one = np.empty(1, np.int64)
    for i in which:
        one[0] = i
        if slack == -np.inf:
            force(starts, links, rows, flow, m, own, need, bar_first, bars, one)
            visit_all(starts, links, rows, flow, m, own, need, bar_first, bars, one, 1, slack, 0.0)
            continue
        best, highest = -1, slack
        for row in range(own[i, FIRST], own[i, STOP]):
            if space(starts, links, rows, flow, m, row, need[i, WORK]) < need[i, WANTED]:
                continue
            net = net_worth(starts, links, rows, flow, m, row, need[i, WORK])
            if net > highest and not barred(bar_first, bars, flow, row):
                best, highest = row, net
        if best >= 0:
            put(starts, links, rows, flow, m, best, need[i, WANTED], need[i, WORK])
        else:
            fill(starts, links, rows, flow, m, own, need, bar_first, bars, one, 1, slack)


@njit()
def level_off(starts, links, rows, flow, m, own, need, fair, which, at, room):  # type: ignore[no-untyped-def]
    """Bring the load of resource `at` down to `room`, by a ceiling on what each of its demands has, as a share of
    `fair` (D,); `which`: the rows on it.
    """
    served = np.empty(len(which))
    high = 0.0
    for n in range(len(which)):
        i = rows[which[n], OWNER]
        served[n] = need[i, WANTED] - missing(own, need, flow, i)
        if fair[i] > 0.0:
            high = max(high, served[n] / fair[i])
    low = 0.0
    for _ in range(60):
        middle = (low + high) / 2
        load = 0.0
        for n in range(len(which)):
            i = rows[which[n], OWNER]
            weight = need[i, WORK] if at == rows[which[n], END] else 1.0
            load += weight * max(0.0, flow[which[n], RATE] - max(0.0, served[n] - middle * fair[i]))
        if load > room:
            high = middle
        else:
            low = middle
    for n in range(len(which)):
        row = which[n]
        i = rows[row, OWNER]
        less = served[n] - low * fair[i]
        if less >= flow[row, RATE]:
            clear(starts, links, rows, flow, m, row, need[i, WORK])
        elif less > 0.0:
            put(starts, links, rows, flow, m, row, -less, need[i, WORK])


@njit()
def all_missing(own, need, flow, which):  # type: ignore[no-untyped-def]
    """(len(which),) what each of these demands wants beyond what it has."""
    out = np.empty(len(which))
    for at in range(len(which)):
        out[at] = missing(own, need, flow, which[at])
    return out
