"""Compiled loops of `routes.py`."""

from __future__ import annotations

import numpy as np

from suanwang.compiled import njit


@njit()
def next_hop_sets(endpoints, first_port, target, alive, sample):  # type: ignore[no-untyped-def]
    """The table of sets, and the sets; those of one switch that are alike are one set."""
    nodes = len(first_port) - 1
    switches, groups = nodes - endpoints, len(sample)
    table = np.full((switches, groups), -1, np.int32)
    distance = np.empty((groups, switches), np.int16)
    queue = np.empty(switches, np.int64)
    for group in range(groups):
        near = distance[group]
        near[:] = -1
        head = tail = 0
        endpoint = sample[group]
        for port in range(first_port[endpoint], first_port[endpoint + 1]):
            leaf = target[port] - endpoints
            if alive[port] and near[leaf] < 0:
                near[leaf] = 0
                queue[tail] = leaf
                tail += 1
        while head < tail:
            switch = queue[head]
            head += 1
            for port in range(first_port[endpoints + switch], first_port[endpoints + switch + 1]):
                other = target[port] - endpoints
                if other >= 0 and alive[port] and near[other] < 0:
                    near[other] = near[switch] + 1
                    queue[tail] = other
                    tail += 1
    # At each switch: groups whose next hops are alike share a set, found by a hash and then compared.
    capacity = 1024
    ports = np.empty(capacity, np.int64)
    firsts = np.empty(1024, np.int64)
    sets = used = 0
    buckets = np.empty(1024, np.int64)
    chain = np.empty(1024, np.int64)
    for switch in range(switches):
        begin, end = first_port[endpoints + switch], first_port[endpoints + switch + 1]
        buckets[:] = -1
        for group in range(groups):
            away = distance[group, switch]
            if away <= 0:
                if away == 0:
                    table[switch, group] = -2
                continue
            if used + end - begin > capacity:
                capacity = 2 * (capacity + end - begin)
                grown = np.empty(capacity, np.int64)
                grown[:used] = ports[:used]
                ports = grown
            count, mixed = 0, np.uint64(1469598103934665603)
            for port in range(begin, end):
                other = target[port] - endpoints
                if other >= 0 and alive[port] and distance[group, other] == away - 1:
                    ports[used + count] = port
                    count += 1
                    mixed = (mixed ^ np.uint64(port)) * np.uint64(1099511628211)
            place = int((mixed ^ (mixed >> np.uint64(32))) & np.uint64(1023))
            found = buckets[place]
            while found >= 0:
                same = (firsts[found + 1] if found + 1 < sets else used) - firsts[found] == count
                if same:
                    for index in range(count):
                        if ports[firsts[found] + index] != ports[used + index]:
                            same = False
                            break
                if same:
                    break
                found = chain[found]
            if found < 0:
                if sets + 1 >= len(firsts):
                    more = np.empty(2 * len(firsts), np.int64)
                    more[:sets] = firsts[:sets]
                    firsts = more
                    longer = np.empty(2 * len(chain), np.int64)
                    longer[:sets] = chain[:sets]
                    chain = longer
                firsts[sets] = used
                chain[sets] = buckets[place]
                buckets[place] = sets
                found = sets
                sets += 1
                used += count
            table[switch, group] = found
    first = np.empty(sets + 1, np.int64)
    first[:sets] = firsts[:sets]
    first[sets] = used
    return table, first, ports[:used].copy()


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
