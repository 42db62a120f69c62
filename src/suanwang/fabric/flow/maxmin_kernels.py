"""Compiled loops of `maxmin.py`."""

from __future__ import annotations

import numpy as np

from suanwang.compiled import njit


@njit()
def transpose(first, resource, active, resources):  # type: ignore[no-untyped-def]
    """For each resource, the entries of the active flows on it: offsets, flows, entry numbers."""
    offset = np.zeros(resources + 1, np.int64)
    for index in range(len(active)):
        for entry in range(first[active[index]], first[active[index] + 1]):
            offset[resource[entry] + 1] += 1
    for number in range(resources):
        offset[number + 1] += offset[number]
    flow = np.empty(offset[resources], np.int32)
    entries = np.empty(offset[resources], np.int64)
    place = offset[:-1].copy()
    for index in range(len(active)):
        for entry in range(first[active[index]], first[active[index] + 1]):
            at = place[resource[entry]]
            flow[at] = active[index]
            entries[at] = entry
            place[resource[entry]] = at + 1
    return offset, flow, entries


@njit()
def sink(heap, key, size, place):  # type: ignore[no-untyped-def]
    """Let the item at `place` of a heap of resources, least key first, down to where it belongs."""
    item = heap[place]
    while True:
        child = 2 * place + 1
        if child >= size:
            break
        if child + 1 < size and key[heap[child + 1]] < key[heap[child]]:
            child += 1
        if key[heap[child]] >= key[item]:
            break
        heap[place] = heap[child]
        place = child
    heap[place] = item


@njit()
def fill(first, resource, fraction, capacity, weight, limit, active, rate):  # type: ignore[no-untyped-def]
    """Progressive filling: one level rises for all; a resource that is full, or a limit, fixes flows where they are.

    The level at which a resource fills only rises as flows are fixed below it, so its key in the heap may be out of
    date but is never too great: it is worked out anew, from the flows, when it comes up.
    """
    resources = len(capacity)
    offset, flow, entries = transpose(first, resource, active, resources)
    slope = np.zeros(resources)
    moving = np.zeros(len(weight), np.bool_)
    for index in range(len(active)):
        one = active[index]
        moving[one] = True
        for entry in range(first[one], first[one + 1]):
            slope[resource[entry]] += fraction[entry] * weight[one]
    heap = np.empty(resources, np.int64)
    key = np.empty(resources)
    size = 0
    for number in range(resources):
        if slope[number] > 0:
            key[number] = capacity[number] / slope[number]
            heap[size] = number
            size += 1
    for place in range(size // 2 - 1, -1, -1):
        sink(heap, key, size, place)
    by_limit = active[np.argsort(limit[active] / weight[active])]
    limited = 0
    left = len(active)
    while left:
        while limited < len(by_limit) and not moving[by_limit[limited]]:
            limited += 1
        ceiling = limit[by_limit[limited]] / weight[by_limit[limited]] if limited < len(by_limit) else np.inf
        number = heap[0] if size else -1
        if size == 0 or ceiling < key[number]:
            one = by_limit[limited]  # the limit comes first, or nothing else holds the flow
            moving[one] = False
            left -= 1
            rate[one] = limit[one]
            continue
        sum_of, taken = 0.0, 0.0
        for at in range(offset[number], offset[number + 1]):
            if moving[flow[at]]:
                sum_of += fraction[entries[at]] * weight[flow[at]]
            else:
                taken += fraction[entries[at]] * rate[flow[at]]
        if sum_of == 0.0:
            size -= 1
            heap[0] = heap[size]
            sink(heap, key, size, 0)
            continue
        level = max(0.0, (capacity[number] - taken) / sum_of)
        if level > key[number] * (1 + 1e-13):
            key[number] = level
            sink(heap, key, size, 0)
            continue
        for at in range(offset[number], offset[number + 1]):
            one = flow[at]
            if moving[one]:
                moving[one] = False
                left -= 1
                rate[one] = min(level * weight[one], limit[one])
        size -= 1
        heap[0] = heap[size]
        sink(heap, key, size, 0)


@njit()
def fingerprints(first, resource, fraction, resources):  # type: ignore[no-untyped-def]
    """A number for each resource that is the same where all flows use two resources alike; 0 where none does."""
    found = np.zeros(resources, np.uint64)
    bits = fraction.view(np.uint64)
    for one in range(len(first) - 1):
        mixed = (np.uint64(one) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        for entry in range(first[one], first[one + 1]):
            both = (mixed ^ bits[entry]) * np.uint64(0xD6E8FEB86659FD93)
            found[resource[entry]] += both ^ (both >> np.uint64(32))
    return found


@njit()
def only(first, resource, fraction, keep):  # type: ignore[no-untyped-def]
    """The entries of resources that have a new number in `keep`; -1 leaves one out."""
    offset = np.zeros(len(first), np.int64)
    count = 0
    for one in range(len(first) - 1):
        for entry in range(first[one], first[one + 1]):
            count += keep[resource[entry]] >= 0
        offset[one + 1] = count
    numbers = np.empty(count, np.int64)
    fractions = np.empty(count)
    at = 0
    for entry in range(len(resource)):
        new = keep[resource[entry]]
        if new >= 0:
            numbers[at] = new
            fractions[at] = fraction[entry]
            at += 1
    return offset, numbers, fractions
