"""Compiled loops of `routes.py`."""

from __future__ import annotations

import numpy as np

from suanwang.compiled import njit
from suanwang.fabric.routing.sets_kernels import ATTACHED, UNREACHABLE, begin_switch, keep


@njit()
def distances(endpoints, first_port, target, alive, sample, tier, order, layered):  # type: ignore[no-untyped-def]
    """Twice the hops from each switch to each group, plus 1 if the way begins upwards; -1 where there is none."""
    groups, switches = len(sample), len(tier)
    distance = np.full((groups, switches), -1, np.int32)
    queue = np.empty(switches, np.int64)
    for group in range(groups):
        near = distance[group]
        tail = 0
        endpoint = sample[group]
        for port in range(first_port[endpoint], first_port[endpoint + 1]):
            leaf = target[port] - endpoints
            if alive[port] and near[leaf] < 0:
                near[leaf] = 0
                queue[tail] = leaf
                tail += 1
        if layered:
            for switch in order:
                if near[switch] < 0:
                    near[switch] = _nearest(endpoints, first_port, target, alive, tier, near, switch, False)
            for switch in order[::-1]:
                if near[switch] < 0:
                    near[switch] = _nearest(endpoints, first_port, target, alive, tier, near, switch, True)
        else:
            _spread(endpoints, first_port, target, alive, near, queue, tail)
    return distance


@njit()
def _nearest(endpoints, first_port, target, alive, tier, near, switch, upwards):  # type: ignore[no-untyped-def]
    """A switch's distance over its neighbours below, whose ways lead down, or above."""
    best = -1
    for port in range(first_port[endpoints + switch], first_port[endpoints + switch + 1]):
        other = target[port] - endpoints
        if other < 0 or not alive[port] or near[other] < 0 or (tier[other] > tier[switch]) != upwards:
            continue
        away = (near[other] | 1) + 2 if upwards else near[other] + 2
        if (upwards or near[other] & 1 == 0) and (best < 0 or away < best):
            best = away
    return best


@njit()
def _spread(endpoints, first_port, target, alive, near, queue, tail):  # type: ignore[no-untyped-def]
    """Distances by hops alone, from the `tail` switches in the queue on."""
    head = 0
    while head < tail:
        switch = queue[head]
        head += 1
        for port in range(first_port[endpoints + switch], first_port[endpoints + switch + 1]):
            other = target[port] - endpoints
            if other >= 0 and alive[port] and near[other] < 0:
                near[other] = near[switch] + 2
                queue[tail] = other
                tail += 1


@njit()
def next_hop_sets(  # type: ignore[no-untyped-def]
    endpoints, first_port, target, alive, tier, layered, distance, table, sets, begin, end
):
    """Fill the rows of switches `begin` to `end` of the table with the numbers of sets; returns the sets.

    Those of one switch that are alike are one set.
    """
    widest = np.diff(first_port[endpoints:]).max() if len(tier) else 0
    ports = np.empty(widest, np.int64)
    for switch in range(begin, end):
        begin_switch(sets)
        for group in range(len(distance)):
            away = distance[group, switch]
            if away <= 0:
                table[switch, group] = ATTACHED if away == 0 else UNREACHABLE
                continue
            count = 0
            for port in range(first_port[endpoints + switch], first_port[endpoints + switch + 1]):
                other = target[port] - endpoints
                if other < 0 or not alive[port]:
                    continue
                if layered and (tier[other] > tier[switch]) != (away & 1 == 1):
                    continue
                beyond = distance[group, other]
                if beyond >= 0 and (beyond >> 1) + 1 == away >> 1 and (not layered or beyond & 1 <= away & 1):
                    ports[count] = port
                    count += 1
            sets, number = keep(sets, ports, count)
            table[switch, group] = number
    return sets


@njit()
def rounds(first, port, weight, most):  # type: ignore[no-untyped-def]
    """Rounds of ports by weight, smoothly: each slot goes to the port that is most behind its share."""
    sets = len(first) - 1
    lengths = np.empty(sets + 1, np.int64)
    scaled = np.empty(len(port), np.int64)
    lengths[0] = 0
    for entry in range(sets):
        begin, end = first[entry], first[entry + 1]
        total, divisor = 0, 0
        for place in range(begin, end):
            total += weight[place]
            a, b = weight[place], divisor
            while b:
                a, b = b, a % b
            divisor = a
        divisor = max(divisor, 1)
        length = total // divisor
        limit = max(most, end - begin)
        if length > limit:
            length = 0
            for place in range(begin, end):
                scaled[place] = (weight[place] * limit + total // 2) // total
                length += scaled[place]
        else:
            for place in range(begin, end):
                scaled[place] = weight[place] // divisor
        lengths[entry + 1] = lengths[entry] + length
    slots = np.empty(lengths[sets], np.int64)
    credit = np.zeros(len(port), np.int64)
    for entry in range(sets):
        begin, end = first[entry], first[entry + 1]
        total = lengths[entry + 1] - lengths[entry]
        for slot in range(lengths[entry], lengths[entry + 1]):
            best = begin
            for place in range(begin, end):
                credit[place] += scaled[place]
                if credit[place] > credit[best]:
                    best = place
            credit[best] -= total
            slots[slot] = port[best]
    return lengths, slots
