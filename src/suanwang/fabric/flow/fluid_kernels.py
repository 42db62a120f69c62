"""Flows on their way, as arrays, and what happens to them next. Times in picoseconds, sizes in bits."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from suanwang.compiled import inlined, njit

Integers = NDArray[np.int64]
Shorts = NDArray[np.int32]
Floats = NDArray[np.float64]

LAST, CALLED = -1, -2
"""In `Fluid.behind`: nobody is; and its turn has come, so whoever is doesn't matter any more."""

RUNNING, PENDING, DONE, SOLVES, EVENTS = range(5)
"""Places in `Fluid.counts`: flows that send, events on the heap, flows that are done, solves and events so far."""


class Fluid(NamedTuple):
    """Everything about flows on their way. Flow f uses `resource[first[f] : first[f + 1]]`, each a `fraction` of it.

    `active` is a heap of the running flows by `due`, `times` and `codes` one of starts, arrivals and answers (code:
    flow, flow + flows, flow + 2 flows). A sender hears of an arrival `answer` later, if a trigger waits for that (else
    0). Uses of one resource by running flows are a list: `head` of the resource, `after`, `before` of uses. Flow f's
    rate is `held` by that resource, or by its own limit (-1). Of a line one flow is sent, while it is `busy`; those
    that wait are a list from `front` to `back` of the line, with `behind` of flows. `clock` is the time. Capacity and
    limits: bits a picosecond. The last five are scratch.
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
    back: Integers
    behind: Integers
    waiting: Integers
    queue_first: Integers
    queue: Integers
    extra: Floats
    answer: Floats
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
    clock: Floats
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
