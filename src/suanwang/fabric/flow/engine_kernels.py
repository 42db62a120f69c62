"""Compiled loops of `engine.py`."""

from __future__ import annotations

import numpy as np

from suanwang.compiled import njit
from suanwang.fabric.maxmin_kernels import sink

NEAR = 1e-9


@njit()
def push(times, codes, size, time, code):  # type: ignore[no-untyped-def]
    """Put an event on the heap, earliest first, then least code; returns the arrays, which may have grown."""
    if size == len(times):
        longer, more = np.empty(2 * size + 64), np.empty(2 * size + 64, np.int64)
        longer[:size] = times[:size]
        more[:size] = codes[:size]
        times, codes = longer, more
    place = size
    while place:
        above = (place - 1) >> 1
        if times[above] < time or (times[above] == time and codes[above] <= code):
            break
        times[place], codes[place] = times[above], codes[above]
        place = above
    times[place], codes[place] = time, code
    return times, codes


@njit()
def drop(times, codes, size):  # type: ignore[no-untyped-def]
    """Take the earliest event off a heap of `size`."""
    size -= 1
    time, code = times[size], codes[size]
    place = 0
    while True:
        child = 2 * place + 1
        if child >= size:
            break
        other = child + 1
        if other < size and (
            times[other] < times[child] or (times[other] == times[child] and codes[other] < codes[child])
        ):
            child = other
        if times[child] > time or (times[child] == time and codes[child] >= code):
            break
        times[place], codes[place] = times[child], codes[child]
        place = child
    times[place], codes[place] = time, code


@njit()
def lower(active, where, due, running, place):  # type: ignore[no-untyped-def]
    """Let the flow at `place` of the heap of running flows, first due first, down to where it belongs."""
    one = active[place]
    while True:
        child = 2 * place + 1
        if child >= running:
            break
        if child + 1 < running:
            left, right = active[child], active[child + 1]
            if due[right] < due[left] or (due[right] == due[left] and right < left):
                child += 1
        below = active[child]
        if due[below] > due[one] or (due[below] == due[one] and below > one):
            break
        active[place], where[below] = below, place
        place = child
    active[place], where[one] = one, place


@njit()
def settle(active, where, due, running, place):  # type: ignore[no-untyped-def]
    """Let it up or down."""
    one = active[place]
    while place:
        above = active[(place - 1) >> 1]
        if due[above] < due[one] or (due[above] == due[one] and above <= one):
            break
        active[place], where[above] = above, place
        place = (place - 1) >> 1
    active[place], where[one] = one, place
    lower(active, where, due, running, place)


@njit()
def share_out(  # type: ignore[no-untyped-def]
    chosen, count, first, resource, fraction, owner, capacity, weight, limit, inside, rate, held, head, after,
    touched, mine, link, level, heap,
):  # fmt: skip
    """Max-min rates of `count` chosen flows in what the others leave; returns how many resources they use."""
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
        level[number] = _level(number, capacity, fraction, owner, weight, rate, held, inside, head, after)
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
        now = _level(number, capacity, fraction, owner, weight, rate, held, inside, head, after)
        if now > level[number] * (1 + 1e-13) and now < np.inf:
            level[number] = now
            sink(heap, level, size, 0)
            continue
        if now < np.inf:
            entry = mine[number]
            while entry >= 0:
                one = owner[entry]
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


@njit()
def _level(number, capacity, fraction, owner, weight, rate, held, inside, head, after):  # type: ignore[no-untyped-def]
    """At which rate / weight of flows that still move a resource is full; infinite if none moves."""
    moving, taken = 0.0, 0.0
    entry = head[number]
    while entry >= 0:
        one = owner[entry]
        if inside[one] and held[one] == -2:
            moving += fraction[entry] * weight[one]
        else:
            taken += fraction[entry] * rate[one]
        entry = after[entry]
    return max(0.0, capacity[number] - taken) / moving if moving > 0 else np.inf


@njit()
def widen(chosen, count, touched, resources, fraction, owner, capacity, weight, inside, rate, held, head, after):  # type: ignore[no-untyped-def]
    """Choose, too, the flows for which the new rates of the chosen ones are unfair; returns how many are chosen then.

    All is fair when every flow is at its limit or on a full resource on which none has more. Only flows that meet a
    chosen one can have lost that.
    """
    for index in range(resources):
        number = touched[index]
        total, top, fixed = 0.0, 0.0, np.inf
        entry = head[number]
        while entry >= 0:
            one = owner[entry]
            total += fraction[entry] * rate[one]
            ratio = rate[one] / weight[one]
            top = max(top, ratio)
            if inside[one] and held[one] == number:
                fixed = ratio
            entry = after[entry]
        full = total >= capacity[number] * (1 - NEAR)
        entry = head[number]
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


@njit()
def run(first, resource, fraction, capacity, weight, limit, bits, begin, waits, fires, needed, extra, most_events):  # type: ignore[no-untyped-def]
    """All flows to their ends. Times in picoseconds, sizes in bits, capacity and limits in bits a picosecond.

    Returns when each flow started, was sent whole and was received whole (-1: never), and how often rates were found.
    """
    flows, resources = len(bits), len(capacity)
    owner = np.empty(len(resource), np.int32)
    for one in range(flows):
        owner[first[one] : first[one + 1]] = one
    head, mine = np.full(resources, -1, np.int64), np.full(resources, -2, np.int64)
    after, before = np.full(len(resource), -1, np.int32), np.full(len(resource), -1, np.int32)
    link = np.empty(len(resource), np.int32)
    touched, level, heap = np.empty(resources, np.int64), np.empty(resources), np.empty(resources, np.int64)
    rate, held, inside = np.zeros(flows), np.full(flows, -1, np.int64), np.zeros(flows, np.bool_)
    started, sent, received = np.full(flows, -1.0), np.full(flows, -1.0), np.full(flows, -1.0)
    left, since, due = bits.copy(), np.zeros(flows), np.full(flows, np.inf)
    chosen, gone = np.empty(flows, np.int64), np.empty(flows, np.int64)
    old, active, where = np.zeros(flows), np.empty(flows, np.int64), np.full(flows, -1, np.int64)
    waiting = needed.copy()
    # Flows by the trigger that they wait for.
    queue_first = np.zeros(len(needed) + 1, np.int64)
    for one in range(flows):
        if waits[one] >= 0:
            queue_first[waits[one] + 1] += 1
    queue_first = np.cumsum(queue_first)
    queue, place = np.empty(queue_first[-1], np.int64), queue_first.copy()
    times, codes, size = np.empty(flows + 64), np.empty(flows + 64, np.int64), 0
    for one in range(flows):
        if waits[one] >= 0:
            queue[place[waits[one]]] = one
            place[waits[one]] += 1
        else:
            times, codes = push(times, codes, size, begin[one], np.int64(one))
            size += 1
    running, rounds, events = 0, 0, 0
    while events < most_events:
        now = min(times[0] if size else np.inf, due[active[0]] if running else np.inf)
        if now == np.inf:
            break
        count = leaving = 0
        while True:
            time = due[active[0]] if running else np.inf
            start = size > 0 and (times[0] < time or (times[0] == time and codes[0] < flows))
            if start:
                time = times[0]
            if time > now + 1.0:
                break
            events += 1
            if not start:
                one = active[0]
                running -= 1
                active[0] = active[running]
                if running:
                    lower(active, where, due, running, 0)
                sent[one], due[one] = time, np.inf
                gone[leaving] = one
                leaving += 1
                times, codes = push(times, codes, size, time + extra[one], flows + one)
                size += 1
                continue
            code = codes[0]
            drop(times, codes, size)
            size -= 1
            one = code % flows
            if code < flows:
                started[one], since[one] = time, time
                if first[one + 1] == first[one]:
                    continue  # no path: it never ends
                chosen[count], inside[one] = one, True
                count += 1
                active[running] = one
                running += 1
                settle(active, where, due, running, running - 1)
                for entry in range(first[one], first[one + 1]):
                    number = resource[entry]
                    after[entry], before[entry] = head[number], -1
                    if head[number] >= 0:
                        before[head[number]] = entry
                    head[number] = entry
            else:
                received[one] = time
                trigger = fires[one]
                if trigger >= 0:
                    waiting[trigger] -= 1
                    if waiting[trigger] == 0:
                        for index in range(queue_first[trigger], queue_first[trigger + 1]):
                            times, codes = push(times, codes, size, time + begin[queue[index]], queue[index])
                            size += 1
        if count + leaving == 0:
            continue
        rounds += 1
        for index in range(leaving):
            one = gone[index]
            for entry in range(first[one], first[one + 1]):
                number = resource[entry]
                if before[entry] >= 0:
                    after[before[entry]] = after[entry]
                else:
                    head[number] = after[entry]
                if after[entry] >= 0:
                    before[after[entry]] = before[entry]
        for index in range(leaving):
            one = gone[index]
            for entry in range(first[one], first[one + 1]):
                other = head[resource[entry]]
                while other >= 0:
                    if held[owner[other]] == resource[entry] and not inside[owner[other]]:
                        inside[owner[other]] = True
                        chosen[count] = owner[other]
                        count += 1
                    other = after[other]
        known, tries = 0, 0
        while known < count:
            tries += 1
            if tries > 12 or (tries > 1 and 4 * count > running):  # one solve of all is less than several of most
                for index in range(running):
                    if not inside[active[index]]:
                        inside[active[index]] = True
                        chosen[count] = active[index]
                        count += 1
            for index in range(known, count):
                old[chosen[index]] = rate[chosen[index]]
            known = count
            used = share_out(
                chosen, count, first, resource, fraction, owner, capacity, weight, limit, inside, rate, held, head,
                after, touched, mine, link, level, heap,
            )  # fmt: skip
            count = widen(
                chosen, count, touched, used, fraction, owner, capacity, weight, inside, rate, held, head, after
            )
        most = 8 * count > running  # then one heap made anew is less than each flow moved in it
        for index in range(count):
            one = chosen[index]
            inside[one] = False
            if rate[one] != old[one] or due[one] == np.inf:
                left[one] = max(0.0, left[one] - old[one] * (now - since[one]))
                since[one] = now
                due[one] = now + left[one] / rate[one] if rate[one] > 0 else np.inf
                if not most:
                    settle(active, where, due, running, where[one])
        if most:
            for index in range(running // 2 - 1, -1, -1):
                lower(active, where, due, running, index)
    return started, sent, received, rounds, events
