"""Compiled loops of `fare.py`. Arrays of bundles: those of node n are `first[n] .. first[n + 1] - 1`, each to one node.

They are sorted by the tier of that node; `middle[n]` is the first that leads up.
"""

from __future__ import annotations

import numpy as np

from suanwang.compiled import njit
from suanwang.fabric.routing.sets_kernels import ATTACHED as HANGS_HERE
from suanwang.fabric.routing.sets_kernels import UNREACHABLE, begin_switch, keep, no_sets

NONE, ATTACHED, BELOW, ABOVE = 0, 1, 2, 3
MOST_COMMON = 2**20
"""Of the least common multiple of bandwidths of parallel links; above it, weights are rounded to 1/256."""


@njit()
def _gather(first, last, target, rate, base, kind, away, advertised, switch, upwards):  # type: ignore[no-untyped-def]
    """One switch takes the shortest of what its neighbours on one side advertise, and adds up their bandwidths."""
    best, total = np.int64(1 << 30), np.int64(0)
    for bundle in range(first, last):
        other = target[bundle] - base
        if other < 0 or rate[bundle] == 0 or kind[other] == NONE or (kind[other] == ABOVE and not upwards):
            continue
        if away[other] + 1 < best:
            best, total = away[other] + 1, np.int64(0)
        if away[other] + 1 == best:
            total += min(rate[bundle], advertised[other])
    if total > 0:
        kind[switch] = ABOVE if upwards else BELOW
        away[switch] = best
        advertised[switch] = total


@njit()
def _layered(first, middle, target, rate, base, order, kind, away, advertised):  # type: ignore[no-untyped-def]
    """Paths free of valleys, for one group: `order` holds the switches by tier. Attached ones are set already."""
    for switch in order:
        if kind[switch] == NONE:
            node = base + switch
            _gather(first[node], middle[node], target, rate, base, kind, away, advertised, switch, False)
    for switch in order[::-1]:
        if kind[switch] == NONE:
            node = base + switch
            _gather(middle[node], first[node + 1], target, rate, base, kind, away, advertised, switch, True)


@njit()
def _flat(first, target, rate, base, kind, away, advertised, queue):  # type: ignore[no-untyped-def]
    """Shortest paths by hops, for one group, where tiers say nothing."""
    head = tail = 0
    for switch in range(len(kind)):
        if kind[switch] == 1:
            queue[tail] = switch
            tail += 1
    while head < tail:
        switch = queue[head]
        head += 1
        if kind[switch] != 1:
            total = np.int64(0)
            for bundle in range(first[base + switch], first[base + switch + 1]):
                other = target[bundle] - base
                if other >= 0 and rate[bundle] > 0 and kind[other] > 0 and away[other] == away[switch] - 1:
                    total += min(rate[bundle], advertised[other])
            advertised[switch] = total
        for bundle in range(first[base + switch], first[base + switch + 1]):
            other = target[bundle] - base
            if other >= 0 and rate[bundle] > 0 and kind[other] == 0:
                kind[other], away[other] = 2, away[switch] + 1
                queue[tail] = other
                tail += 1


@njit()
def solve(first, middle, target, rate, base, order, layers, start, leaf, origin, kind, away, advertised):  # type: ignore[no-untyped-def]  # fmt: skip
    """All groups. Group g hangs on switches `leaf[start[g] : start[g + 1]]`, which begin with bandwidths `origin`."""
    queue = np.empty(len(order), np.int64)
    for group in range(len(start) - 1):
        for index in range(start[group], start[group + 1]):
            kind[group, leaf[index]] = ATTACHED
            advertised[group, leaf[index]] = origin[index]
        if layers:
            _layered(first, middle, target, rate, base, order, kind[group], away[group], advertised[group])
        else:
            _flat(first, target, rate, base, kind[group], away[group], advertised[group], queue)


@njit()
def _gcd(a, b):  # type: ignore[no-untyped-def]
    while b:
        a, b = b, a % b
    return a


@njit()
def _reduced(weights):  # type: ignore[no-untyped-def]
    common = weights[0]
    for index in range(1, len(weights)):
        common = _gcd(common, weights[index])
    for index in range(len(weights)):
        weights[index] //= common


@njit()
def _next_hops(first, last, target, rate, base, kind, away, advertised, switch, hops):  # type: ignore[no-untyped-def]
    """Bundles of a switch that lead to a group, each with its path bandwidth; how many words that is."""
    count = 0
    below = kind[switch] == BELOW
    for bundle in range(first, last):
        other = target[bundle] - base
        if other < 0 or rate[bundle] == 0 or kind[other] == NONE or away[other] + 1 != away[switch]:
            continue
        if below and kind[other] == ABOVE:
            continue
        hops[count], hops[count + 1] = bundle, min(rate[bundle], advertised[other])
        count += 2
    return count


@njit()
def next_hops(first, middle, target, rate, base, layers, kind, away, advertised):  # type: ignore[no-untyped-def]
    """Sets of next hops of all switches and groups: bundles and path bandwidths; a switch's equal ones are one set."""
    groups, switches = kind.shape
    table = np.empty((switches, groups), np.int32)
    widest = np.diff(first[base:]).max() if switches else 0
    sets, hops = no_sets(), np.empty(2 * widest, np.int64)
    for switch in range(switches):
        begin_switch(sets)
        node = base + switch
        for group in range(groups):
            own = kind[group, switch]
            if own in (NONE, ATTACHED):
                table[switch, group] = HANGS_HERE if own == ATTACHED else UNREACHABLE
                continue
            lowest = middle[node] if layers and own == ABOVE else first[node]
            highest = middle[node] if layers and own == BELOW else first[node + 1]
            count = _next_hops(lowest, highest, target, rate, base, kind[group], away[group], advertised[group],
                               switch, hops)  # fmt: skip
            sets, number = keep(sets, hops, count)
            table[switch, group] = number
    found, used = sets.counts
    return table, sets.first[: found + 1] // 2, sets.word[:used:2].copy(), sets.word[1:used:2].copy()


@njit()
def split(set_first, bundles, bandwidths, rate, port_first, port, port_rate):  # type: ignore[no-untyped-def]
    """Sets of ports with whole weights, from sets of bundles: a node's bandwidth is split over its parallel links."""
    length = 0
    for bundle in bundles:
        length += port_first[bundle + 1] - port_first[bundle]
    first = np.zeros(len(set_first), np.int64)
    ports, weights = np.empty(length, np.int64), np.empty(length, np.int64)
    used = 0
    for number in range(len(set_first) - 1):
        begin, lcm = used, np.int64(1)
        for index in range(set_first[number], set_first[number + 1]):
            if lcm < MOST_COMMON:
                lcm = lcm // _gcd(lcm, rate[bundles[index]]) * rate[bundles[index]]
        for index in range(set_first[number], set_first[number + 1]):
            bundle = bundles[index]
            for place in range(port_first[bundle], port_first[bundle + 1]):
                if port_rate[place] == 0:
                    continue
                ports[used] = port[place]
                if lcm < MOST_COMMON:
                    weights[used] = bandwidths[index] * port_rate[place] * (lcm // rate[bundle])
                else:
                    weights[used] = max(1, round(bandwidths[index] * 256.0 * port_rate[place] / rate[bundle]))
                used += 1
        if used > begin:
            _reduced(weights[begin:used])
        first[number + 1] = used
    return first, ports[:used].copy(), weights[:used].copy()
