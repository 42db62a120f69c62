"""Max-min rates again, where something changed: compiled loops of `engine.py`."""

from __future__ import annotations

import numpy as np

from suanwang.compiled import inlined, njit
from suanwang.fabric.flow.fluid_kernels import RUNNING
from suanwang.fabric.flow.maxmin_kernels import sink

NEAR = 1e-9


@inlined()
def find_rates(f, count):  # type: ignore[no-untyped-def]
    """Rates of the chosen flows, and of those that these treat unfairly, until there are none; how many that were."""
    known, tries, running = 0, 0, f.counts[RUNNING]
    while known < count:
        tries += 1
        if tries > 12 or (tries > 1 and 4 * count > running):  # one solve of all is less than several of most
            for index in range(running):
                if not f.inside[f.active[index]]:
                    f.inside[f.active[index]] = True
                    f.chosen[count] = f.active[index]
                    count += 1
        for index in range(known, count):
            f.old[f.chosen[index]] = f.rate[f.chosen[index]]
        known = count
        used = share_out(f, count)
        count = widen(f, count, used)
    return count


@njit()
def share_out(f, count):  # type: ignore[no-untyped-def]
    """Max-min rates of `count` chosen flows in what the others leave; returns how many resources they use."""
    chosen, first, resource, mine, link, touched = f.chosen, f.first, f.resource, f.mine, f.link, f.touched
    weight, limit, rate, held, level, heap = f.weight, f.limit, f.rate, f.held, f.level, f.heap
    resources = 0
    for index in range(count):
        one = chosen[index]
        held[one] = -2
        for entry in range(first[one], first[one + 1]):
            number = resource[entry]
            if mine[number] == -2:
                mine[number] = -1
                touched[resources] = number
                resources += 1
            link[entry] = mine[number]
            mine[number] = entry
    size = 0
    for index in range(resources):
        number = touched[index]
        level[number] = _level(f, number)
        heap[size] = number
        size += 1
    for place in range(size // 2 - 1, -1, -1):
        sink(heap, level, size, place)
    ceilings, bound = np.empty(count), False
    for index in range(count):
        ceilings[index] = limit[chosen[index]] / weight[chosen[index]]
        bound = bound or ceilings[index] < np.inf
    order = np.argsort(ceilings) if bound else np.arange(count)
    limited, left = 0, count
    while left:
        while limited < count and held[chosen[order[limited]]] != -2:
            limited += 1
        number = heap[0] if size else -1
        if size == 0 or ceilings[order[limited]] < level[number]:
            one = chosen[order[limited]]
            held[one] = -1
            rate[one] = limit[one]
            left -= 1
            continue
        now = _level(f, number)
        if now > level[number] * (1 + 1e-13) and now < np.inf:
            level[number] = now
            sink(heap, level, size, 0)
            continue
        if now < np.inf:
            entry = mine[number]
            while entry >= 0:
                one = f.owner[entry]
                if held[one] == -2:
                    held[one] = number
                    rate[one] = min(now * weight[one], limit[one])
                    left -= 1
                entry = link[entry]
        size -= 1
        heap[0] = heap[size]
        sink(heap, level, size, 0)
    for index in range(resources):
        mine[touched[index]] = -2
    return resources


@inlined()
def _level(f, number):  # type: ignore[no-untyped-def]
    """At which rate / weight of flows that still move a resource is full; infinite if none moves."""
    moving, taken = 0.0, 0.0
    entry = f.head[number]
    while entry >= 0:
        one = f.owner[entry]
        if f.inside[one] and f.held[one] == -2:
            moving += f.fraction[entry] * f.weight[one]
        else:
            taken += f.fraction[entry] * f.rate[one]
        entry = f.after[entry]
    return max(0.0, f.capacity[number] - taken) / moving if moving > 0 else np.inf


@njit()
def widen(f, count, resources):  # type: ignore[no-untyped-def]
    """Choose, too, the flows for which the new rates of the chosen ones are unfair; returns how many are chosen then.

    All is fair when every flow is at its limit or on a full resource on which none has more. Only flows that meet a
    chosen one can have lost that.
    """
    chosen, inside, held, rate, weight, owner, after = f.chosen, f.inside, f.held, f.rate, f.weight, f.owner, f.after
    for index in range(resources):
        number = f.touched[index]
        total, top, fixed = 0.0, 0.0, np.inf
        entry = f.head[number]
        while entry >= 0:
            one = owner[entry]
            total += f.fraction[entry] * rate[one]
            ratio = rate[one] / weight[one]
            top = max(top, ratio)
            if inside[one] and held[one] == number:
                fixed = ratio
            entry = after[entry]
        full = total >= f.capacity[number] * (1 - NEAR)
        entry = f.head[number]
        while entry >= 0:
            one = owner[entry]
            if not inside[one]:
                ratio = rate[one] / weight[one]
                robbed = held[one] == number and (not full or top > ratio * (1 + NEAR))
                if robbed or ratio > fixed * (1 + NEAR):
                    inside[one] = True
                    chosen[count] = one
                    count += 1
            entry = after[entry]
    return count
