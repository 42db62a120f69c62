"""What stands on which path, link and endpoint, compiled: indexes, sums, and finding out whom a change concerns."""

from __future__ import annotations

import numpy as np

from suanwang.compiled import njit
from suanwang.steering.online.kernels import (
    END,
    FIRST,
    LEVEL,
    NEXT,
    OWNER,
    PATH,
    RATE,
    ROOM,
    STOP,
    WANTED,
    WORK,
    WORTH,
    Y,
)  # fmt: skip


@njit()
def chain(low, high, rows, head):  # type: ignore[no-untyped-def]
    """Hang rows on to their paths: `head[path]` the first, `after[row]` the next, -1 none."""
    for row in range(low, high):
        rows[row, NEXT] = head[rows[row, PATH]]
        head[rows[row, PATH]] = row


@njit()
def turn_over(first, links, to, of):  # type: ignore[no-untyped-def]
    """From the links of paths, the paths of links; `to[l]` is where those of link l go."""
    for path in range(len(first) - 1):
        for at in range(first[path], first[path + 1]):
            of[to[links[at]]] = path
            to[links[at]] += 1


@njit()
def add_up(starts, links, rows, flow, own, need, count, load):  # type: ignore[no-untyped-def]
    """Add the rows' rates to `load` (classes, R)."""
    for row in range(count):
        rate = flow[row, RATE]
        if rate > 0.0:
            i = rows[row, OWNER]
            level = own[i, LEVEL]
            for at in range(starts[rows[row, PATH]], starts[rows[row, PATH] + 1]):
                load[level, links[at]] += rate
            load[level, rows[row, END]] += rate * need[i, WORK]


@njit()
def alive(starts, links, rows, own, need, room, found):  # type: ignore[no-untyped-def]
    """Which demands have a row over resources that hold something."""
    for i in range(len(found)):
        for row in range(own[i, FIRST], own[i, STOP]):
            open_ = need[i, WORK] <= 0.0 or room[rows[row, END]] > 0.0
            for at in range(starts[rows[row, PATH]], starts[rows[row, PATH] + 1]):
                if room[links[at]] <= 0.0:
                    open_ = False
                    break
            if open_:
                found[i] = True
                break


@njit()
def match(starts, links, rows, flow, own, main, p_first, p_main, p_links, demand, end, path, rate, lost):  # type: ignore[no-untyped-def]
    """Give rows the rates of an allocation's rows that are the same; the demands of others are marked as lost."""
    for n in range(len(demand)):
        i, p = demand[n], path[n]
        size = p_first[p + 1] - p_first[p]
        found = -1
        for row in range(own[i, FIRST], own[i, STOP]):
            q = rows[row, PATH]
            begin = starts[q]
            if rows[row, END] != end[n] or starts[q + 1] - begin != size or main[q] != p_main[p]:
                continue
            same = True
            for at in range(size):
                if links[begin + at] != p_links[p_first[p] + at]:
                    same = False
                    break
            if same:
                found = row
                break
        if found >= 0:
            flow[found, RATE] += max(rate[n], 0.0)
        else:
            lost[i] = True


@njit()
def note(i, mark, stamp, out, count):  # type: ignore[no-untyped-def]
    """Add a demand to `out`, unless it is marked or `out` is full."""
    if mark[i] != stamp and count < len(out):
        mark[i] = stamp
        out[count] = i
        count += 1
    return count


@njit()
def gather(rows, flow, own, need, over_first, crossers, head, link, rising, level, mark, stamp, out, count):  # type: ignore[no-untyped-def]
    """Add to `out` the demands of a class to which a link's price matters: those that are on it when it rose, those
    that could come when it fell; how many are in it then.
    """
    for at in range(over_first[link], over_first[link + 1]):
        row = head[crossers[at]]
        while row >= 0:
            i = rows[row, OWNER]
            if (
                own[i, LEVEL] == level
                and mark[i] != stamp
                and (flow[row, RATE] > 0.0 if rising else flow[row, RATE] < need[i, WANTED])
            ):
                count = note(i, mark, stamp, out, count)
            row = rows[row, NEXT]
    return count


@njit()
def gather_at(low, high, rows, flow, own, need, end, rising, level, mark, stamp, out, count):  # type: ignore[no-untyped-def]
    """As `gather`, for an endpoint's resource, over a range of rows."""
    for row in range(low, high):
        i = rows[row, OWNER]
        if rows[row, END] != end or own[i, LEVEL] != level or need[i, WORK] <= 0.0:
            continue
        if flow[row, RATE] > 0.0 if rising else flow[row, RATE] < need[i, WANTED]:
            count = note(i, mark, stamp, out, count)
    return count


@njit()
def best_of_all(starts, links, rows, flow, m, own, need, count, slack):  # type: ignore[no-untyped-def]
    """The sum over demands of rate times the best net worth of a unit at the multipliers alone."""
    total = 0.0
    for i in range(count):
        best = slack
        for row in range(own[i, FIRST], own[i, STOP]):
            paid = 0.0
            for at in range(starts[rows[row, PATH]], starts[rows[row, PATH] + 1]):
                link = links[at]
                paid += m[Y, link] if m[ROOM, link] > 0.0 else np.inf
            if need[i, WORK] > 0.0:
                at = rows[row, END]
                paid += need[i, WORK] * (m[Y, at] if m[ROOM, at] > 0.0 else np.inf)
            best = max(best, flow[row, WORTH] - paid)
        if best > -np.inf:
            total += need[i, WANTED] * best
    return total


@njit()
def distinct(which, mark, stamp):  # type: ignore[no-untyped-def]
    """Each demand once, in the order in which they come first."""
    out = np.empty(len(which), np.int64)
    count = 0
    for i in which:
        if mark[i] != stamp:
            mark[i] = stamp
            out[count] = i
            count += 1
    return out[:count]


@njit()
def rows_on(count, links, rows, flow, own, over_first, crossers, head, at, level):  # type: ignore[no-untyped-def]
    """The rows of a class that carry something over a resource; `links`: how many resources are links."""
    out = np.empty(count, np.int64)
    found = 0
    if at >= links:
        for row in range(count):
            if rows[row, END] == at and flow[row, RATE] > 0.0 and own[rows[row, OWNER], LEVEL] == level:
                out[found] = row
                found += 1
        return out[:found].copy()
    for n in range(over_first[at], over_first[at + 1]):
        row = head[crossers[n]]
        while row >= 0:
            if flow[row, RATE] > 0.0 and own[rows[row, OWNER], LEVEL] == level:
                out[found] = row
                found += 1
            row = rows[row, NEXT]
    return out[:found].copy()


@njit()
def find(keys, low, high, key):  # type: ignore[no-untyped-def]
    """The first place from `low` to `high` where the sorted keys are `key` or more."""
    while low < high:
        middle = (low + high) // 2
        if keys[middle] < key:
            low = middle + 1
        else:
            high = middle
    return low


@njit()
def new_rows(  # type: ignore[no-untyped-def]
    number, source, choice, limit, weight, keys, offset, choice_first, choice_of, end_node, end_delay, slow, slowest,
    path_cost, end_cost, unit, resource, row, rows, flow, own, write,
):  # fmt: skip
    """The rows of new demands, from row number `row` on, by all endpoints and candidates; how many they are."""
    begun = row
    for n in range(len(source)):
        begin = row
        for at in range(choice_first[choice[n]], choice_first[choice[n] + 1]):
            end = choice_of[at]
            key = (source[n] << 32) | end_node[end]
            low, high = offset[limit[n]], offset[limit[n] + 1]
            path = find(keys, low, high, key)
            while path < high and keys[path] == key:
                if len(slow) == 0 or slow[path] + end_delay[end] <= slowest[limit[n]] * (1 + 1e-9):
                    if write:
                        rows[row, PATH], rows[row, END], rows[row, OWNER] = path, resource + end, number[n]
                        flow[row, RATE] = 0.0
                        flow[row, WORTH] = weight[n] * unit - path_cost[path] - end_cost[end]
                    row += 1
                path += 1
        if write:
            own[number[n], FIRST], own[number[n], STOP] = begin, row
    return row - begun
