"""Compiled loop of `engine.py`: starts, ends and arrivals in the order of their times."""

from __future__ import annotations

import numpy as np

from suanwang.compiled import inlined, njit
from suanwang.fabric.flow.fluid_kernels import (
    CALLED,
    DONE,
    EVENTS,
    LAST,
    PENDING,
    RUNNING,
    SOLVES,
    drop,
    lower,
    push,
    settle,
)
from suanwang.fabric.flow.rates_kernels import find_rates


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
        f.clock[0] = now
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
        if code >= 2 * flows:
            fire(f, code - 2 * flows, time)
            continue
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
    if after >= 0 and f.back[line] < one:
        ahead, after = f.back[line], LAST
    while 0 <= after < one:
        ahead, after = after, f.behind[after]
    f.behind[one] = after
    if after < 0:
        f.back[line] = one
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
    """The last bit is there."""
    f.received[one] = time
    f.counts[DONE] += 1
    if f.answer[one] > 0:
        push(f, time + f.answer[one], 2 * len(f.left) + one)
    else:
        fire(f, one, time)


@inlined()
def fire(f, one, time):  # type: ignore[no-untyped-def]
    """Flows that wait for this one and no other any more start, after their own delay."""
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
