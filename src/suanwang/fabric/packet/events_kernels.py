"""The calendar of events: a ring of short buckets, the sorted list of the bucket at hand, a heap of what is far off.

Nearly all events lie within a few microseconds and go into the ring, in constant time (Brown: "Calendar queues", CACM
31(10), 1988). A bucket is a list in no order until its turn comes; then it is sorted in place. Timers and what slow
ports send are far off. Events of one time come in the order of their addresses, so a run is the same every time.
"""

from __future__ import annotations

from suanwang.compiled import inlined
from suanwang.fabric.packet.layout import (
    BUCKET,
    BUCKET_SHIFT,
    BUCKETS,
    CURRENT,
    FAR,
    FAR_AT,
    LINK,
    NO_MORE,
    NOW,
    RING_AT,
    WAITING,
    WHEN,
)


@inlined()
def schedule(m, thing, when):  # type: ignore[no-untyped-def]
    """Let a port or packet happen at `when`."""
    m[thing + WHEN] = when
    bucket = when >> m[BUCKET_SHIFT]
    ahead = bucket - m[BUCKET]
    if ahead <= 0:
        _insert(m, thing, when)
        return
    if ahead >= m[BUCKETS]:
        schedule_far(m, thing, when)
        return
    m[WAITING] += 1
    place = m[RING_AT] + (bucket & (m[BUCKETS] - 1))
    m[thing + LINK] = m[place]
    m[place] = thing


@inlined()
def _insert(m, thing, when):  # type: ignore[no-untyped-def]
    """Into the list at hand, by time and address."""
    before, other = 0, m[CURRENT]
    while other != 0 and (m[other + WHEN] < when or (m[other + WHEN] == when and other < thing)):
        before, other = other, m[other + LINK]
    m[thing + LINK] = other
    if before == 0:
        m[CURRENT] = thing
    else:
        m[before + LINK] = thing


@inlined()
def _merge(m, one, other):  # type: ignore[no-untyped-def]
    """Two sorted lists as one."""
    head = tail = 0
    while one != 0 and other != 0:
        if m[other + WHEN] < m[one + WHEN] or (m[other + WHEN] == m[one + WHEN] and other < one):
            first = other
            other = m[other + LINK]
        else:
            first = one
            one = m[one + LINK]
        if head == 0:
            head = first
        else:
            m[tail + LINK] = first
        tail = first
    rest = one if one != 0 else other
    if head == 0:
        return rest
    m[tail + LINK] = rest
    return head


@inlined()
def _sorted(m, thing, parts):  # type: ignore[no-untyped-def]
    """The list sorted, by merging: part i holds 2^i of it, or nothing."""
    parts[:] = 0
    while thing != 0:
        following = m[thing + LINK]
        m[thing + LINK] = 0
        place = 0
        while parts[place] != 0:
            thing = _merge(m, parts[place], thing)
            parts[place] = 0
            place += 1
        parts[place] = thing
        m[WAITING] -= 1
        thing = following
    result = 0
    for place in range(len(parts)):
        if parts[place] != 0:
            result = _merge(m, parts[place], result)
    return result


@inlined()
def schedule_far(m, thing, when):  # type: ignore[no-untyped-def]
    """Let a thing happen at `when` that may be far off: a flow's timer (each has at most one), a slow port."""
    place = m[FAR]
    m[FAR] += 1
    base = m[FAR_AT]
    while place > 0:
        above = (place - 1) >> 1
        if m[base + 2 * above] < when or (m[base + 2 * above] == when and m[base + 2 * above + 1] < thing):
            break
        m[base + 2 * place] = m[base + 2 * above]
        m[base + 2 * place + 1] = m[base + 2 * above + 1]
        place = above
    m[base + 2 * place] = when
    m[base + 2 * place + 1] = thing


@inlined()
def take_far(m):  # type: ignore[no-untyped-def]
    """What is the first that is far off; it is taken from there."""
    base = m[FAR_AT]
    taken = m[base + 1]
    m[FAR] -= 1
    last = m[FAR]
    when, thing = m[base + 2 * last], m[base + 2 * last + 1]
    place = 0
    while True:
        child = 2 * place + 1
        if child >= last:
            break
        left, right = base + 2 * child, base + 2 * child + 2
        if child + 1 < last and (m[right] < m[left] or (m[right] == m[left] and m[right + 1] < m[left + 1])):
            child, left = child + 1, right
        if when < m[left] or (when == m[left] and thing < m[left + 1]):
            break
        m[base + 2 * place] = m[left]
        m[base + 2 * place + 1] = m[left + 1]
        place = child
    m[base + 2 * place] = when
    m[base + 2 * place + 1] = thing
    return taken


@inlined()
def advance(m, parts):  # type: ignore[no-untyped-def]
    """Bring the next bucket that holds anything to hand, but none later than what is the first far off."""
    mask, shift, ring = m[BUCKETS] - 1, m[BUCKET_SHIFT], m[RING_AT]
    bucket = m[BUCKET] + 1
    last = m[m[FAR_AT]] >> shift if m[FAR] > 0 else NO_MORE
    while bucket < last and m[ring + (bucket & mask)] == 0:
        bucket += 1
    m[BUCKET] = bucket
    thing = m[ring + (bucket & mask)]
    m[ring + (bucket & mask)] = 0
    m[CURRENT] = _sorted(m, thing, parts)


@inlined()
def next_time(m, parts):  # type: ignore[no-untyped-def]
    """When the next event is, or NO_MORE."""
    while m[CURRENT] == 0 and m[WAITING] > 0:
        if m[FAR] > 0 and m[m[FAR_AT]] >> m[BUCKET_SHIFT] <= m[BUCKET]:
            break
        advance(m, parts)
    timer = m[m[FAR_AT]] if m[FAR] > 0 else NO_MORE
    return min(timer, m[m[CURRENT] + WHEN]) if m[CURRENT] != 0 else timer


@inlined()
def take(m, when):  # type: ignore[no-untyped-def]
    """The address of what happens at `when`, the next time there is: a port, a packet, or a flow for its timer."""
    m[NOW] = when
    thing = m[CURRENT]
    if thing != 0 and m[thing + WHEN] == when:
        m[CURRENT] = m[thing + LINK]
        return thing
    # Without anything in the ring, time jumps, and the ring follows.
    if thing == 0 and m[WAITING] == 0:
        m[BUCKET] = max(m[BUCKET], when >> m[BUCKET_SHIFT])
    return take_far(m)
