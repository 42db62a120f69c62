"""Compiled loops of `engine.py`. Times in picoseconds, sizes in bits, capacity and limits in bits a picosecond."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from suanwang.compiled import inlined, njit
from suanwang.fabric.maxmin_kernels import sink

Integers = NDArray[np.int64]
Shorts = NDArray[np.int32]
Floats = NDArray[np.float64]

NEAR = 1e-9

LAST, CALLED = -1, -2
"""In `Fluid.behind`: nobody is; and its turn has come, so whoever is doesn't matter any more."""

RUNNING, PENDING, DONE, SOLVES, EVENTS = range(5)
"""Places in `Fluid.counts`: flows that send, events on the heap, flows that are done, solves and events so far."""


class Fluid(NamedTuple):
    """Everything about flows on their way. Flow f uses `resource[first[f] : first[f + 1]]`, each a `fraction` of it.

    `active` is a heap of the running flows by `due`, `times` and `codes` one of starts and arrivals (code: flow, or
    flow + flows). Uses of one resource by running flows are a list: `head` of the resource, `after`, `before` of uses.
    Flow f's rate is `held` by that resource, or by its own limit (-1). Of a line one flow is sent, while it is `busy`;
    those that wait are a list: `front` of the line, `behind` of flows. The last five are scratch.
    """

    first: Integers
    resource: Shorts
    fraction: Floats
    owner: Shorts
    capacity: Floats
    weight: Floats
    limit: Floats
    begin: Floats
    waits_for: Integers
    fires: Integers
    line: Integers
    busy: NDArray[np.bool_]
    front: Integers
    behind: Integers
    waiting: Integers
    queue_first: Integers
    queue: Integers
    extra: Floats
    started: Floats
    sent: Floats
    received: Floats
    left: Floats
    since: Floats
    due: Floats
    rate: Floats
    old: Floats
    held: Integers
    inside: NDArray[np.bool_]
    active: Integers
    where: Integers
    chosen: Integers
    gone: Integers
    times: Floats
    codes: Integers
    counts: Integers
    head: Integers
    after: Shorts
    before: Shorts
    mine: Integers
    link: Shorts
    touched: Integers
    level: Floats
    heap: Integers


@inlined()
def push(f, time, code):  # type: ignore[no-untyped-def]
    """Put an event on the heap, earliest first, then least code. There is room: a flow has one event there at most."""
    times, codes, place = f.times, f.codes, f.counts[PENDING]
    f.counts[PENDING] += 1
    while place:
        above = (place - 1) >> 1
        if times[above] < time or (times[above] == time and codes[above] <= code):
            break
        times[place], codes[place] = times[above], codes[above]
        place = above
    times[place], codes[place] = time, code


@inlined()
def drop(f):  # type: ignore[no-untyped-def]
    """Take the earliest event off the heap."""
    f.counts[PENDING] -= 1
    times, codes, size = f.times, f.codes, f.counts[PENDING]
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


@njit()
def begin(f):  # type: ignore[no-untyped-def]
    """Note whose each use of a resource is, and the starts of flows that wait for nothing."""
    for one in range(len(f.left)):
        f.owner[f.first[one] : f.first[one + 1]] = one
        if f.waits_for[one] < 0:
            push(f, f.begin[one], np.int64(one))


@njit()
def advance(f, until, most_events):  # type: ignore[no-untyped-def]
    """Go on until all is done, time is up or there were enough events; True if there is more to do.

    What happens within a picosecond happens at once, however many events that are.
    """
    enough = f.counts[EVENTS] + most_events
    while f.counts[EVENTS] < enough:
        now = next_time(f)
        if now == np.inf or now > until:
            return False
        count, leaving = happen(f, now)
        if count + leaving:
            f.counts[SOLVES] += 1
            count = depart(f, count, leaving)
            count = find_rates(f, count)
            set_due(f, now, count)
    return True


@inlined()
def next_time(f):  # type: ignore[no-untyped-def]
    """When the next thing happens; infinite when nothing will."""
    pending = f.times[0] if f.counts[PENDING] else np.inf
    return min(pending, f.due[f.active[0]]) if f.counts[RUNNING] else pending


@inlined()
def happen(f, now):  # type: ignore[no-untyped-def]
    """Starts, ends and arrivals up to now; returns how many flows are chosen, as started, and how many are gone."""
    flows, count, leaving = len(f.left), 0, 0
    while True:
        time = f.due[f.active[0]] if f.counts[RUNNING] else np.inf
        pending = f.counts[PENDING] > 0 and (f.times[0] < time or (f.times[0] == time and f.codes[0] < flows))
        if pending:
            time = f.times[0]
        if time > now + 1.0:
            return count, leaving
        f.counts[EVENTS] += 1
        if not pending:
            f.gone[leaving] = end_first(f, time)
            leaving += 1
            continue
        code = f.codes[0]
        drop(f)
        if code >= flows:
            arrive(f, code - flows, time)
            continue
        if f.line[code] >= 0 and f.behind[code] != CALLED:
            if f.busy[f.line[code]]:
                stand(f, code)
                continue
            f.busy[f.line[code]] = True
        f.started[code], f.since[code] = time, time
        if f.first[code + 1] > f.first[code]:  # without a path it never ends
            f.chosen[count], f.inside[code] = code, True
            count += 1
            join(f, code)


@inlined()
def end_first(f, time):  # type: ignore[no-untyped-def]
    """The running flow that is due first has sent its last bit."""
    one = f.active[0]
    f.counts[RUNNING] -= 1
    running = f.counts[RUNNING]
    f.active[0] = f.active[running]
    if running:
        lower(f.active, f.where, f.due, running, 0)
    f.sent[one], f.due[one] = time, np.inf
    push(f, time + f.extra[one], len(f.left) + one)
    if f.line[one] >= 0:
        call(f, f.line[one], time)
    return one


@inlined()
def stand(f, one):  # type: ignore[no-untyped-def]
    """Wait in a line, before those with greater numbers."""
    line = f.line[one]
    ahead, after = LAST, f.front[line]
    while 0 <= after < one:
        ahead, after = after, f.behind[after]
    f.behind[one] = after
    if ahead < 0:
        f.front[line] = one
    else:
        f.behind[ahead] = one


@inlined()
def call(f, line, time):  # type: ignore[no-untyped-def]
    """The next in a line may start."""
    one = f.front[line]
    f.busy[line] = one >= 0
    if one >= 0:
        f.front[line], f.behind[one] = f.behind[one], CALLED
        push(f, time, one)


@inlined()
def arrive(f, one, time):  # type: ignore[no-untyped-def]
    """The last bit is there; flows that wait for it start, after their own delay."""
    f.received[one] = time
    f.counts[DONE] += 1
    trigger = f.fires[one]
    if trigger >= 0:
        f.waiting[trigger] -= 1
        if f.waiting[trigger] == 0:
            for index in range(f.queue_first[trigger], f.queue_first[trigger + 1]):
                push(f, time + f.begin[f.queue[index]], f.queue[index])


@inlined()
def join(f, one):  # type: ignore[no-untyped-def]
    """A flow that started is among those running, and at its resources."""
    running = f.counts[RUNNING]
    f.active[running] = one
    f.counts[RUNNING] += 1
    settle(f.active, f.where, f.due, running + 1, running)
    for entry in range(f.first[one], f.first[one + 1]):
        number = f.resource[entry]
        f.after[entry], f.before[entry] = f.head[number], -1
        if f.head[number] >= 0:
            f.before[f.head[number]] = entry
        f.head[number] = entry


@inlined()
def depart(f, count, leaving):  # type: ignore[no-untyped-def]
    """Flows that are gone leave their resources; those that were held back there are chosen."""
    for index in range(leaving):
        one = f.gone[index]
        for entry in range(f.first[one], f.first[one + 1]):
            if f.before[entry] >= 0:
                f.after[f.before[entry]] = f.after[entry]
            else:
                f.head[f.resource[entry]] = f.after[entry]
            if f.after[entry] >= 0:
                f.before[f.after[entry]] = f.before[entry]
    for index in range(leaving):
        one = f.gone[index]
        for entry in range(f.first[one], f.first[one + 1]):
            number = f.resource[entry]
            other = f.head[number]
            while other >= 0:
                if f.held[f.owner[other]] == number and not f.inside[f.owner[other]]:
                    f.inside[f.owner[other]] = True
                    f.chosen[count] = f.owner[other]
                    count += 1
                other = f.after[other]
    return count


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


@inlined()
def set_due(f, now, count):  # type: ignore[no-untyped-def]
    """When flows with new rates will have sent all."""
    running = f.counts[RUNNING]
    most = 8 * count > running  # then one heap made anew is less than each flow moved in it
    for index in range(count):
        one = f.chosen[index]
        f.inside[one] = False
        if f.rate[one] != f.old[one] or f.due[one] == np.inf:
            f.left[one] = max(0.0, f.left[one] - f.old[one] * (now - f.since[one]))
            f.since[one] = now
            f.due[one] = now + f.left[one] / f.rate[one] if f.rate[one] > 0 else np.inf
            if not most:
                settle(f.active, f.where, f.due, running, f.where[one])
    if most:
        for index in range(running // 2 - 1, -1, -1):
            lower(f.active, f.where, f.due, running, index)
