"""The calendar of events: a ring of short buckets, the sorted list of the bucket at hand, a heap of what is far off.

Nearly all events lie within a few microseconds and go into the ring, in constant time (Brown: "Calendar queues", CACM
31(10), 1988). A bucket is a list in no order until its turn comes; then it is sorted in place. Timers and what slow
ports send are far off. Events of one time come in the order of their addresses, so a run is the same every time.
"""

from __future__ import annotations

from suanwang.compiled import inlined
from suanwang.fabric.packet import layout as at


@inlined()
def schedule(m, thing, when):  # type: ignore[no-untyped-def]
    """Let a port or packet happen at `when`."""
    m[thing + at.WHEN] = when
    bucket = when >> m[at.BUCKET_SHIFT]
    ahead = bucket - m[at.BUCKET]
    if ahead <= 0:
        _insert(m, thing, when)
        return
    if ahead >= m[at.BUCKETS]:
        schedule_far(m, thing, when)
        return
    m[at.WAITING] += 1
    place = m[at.RING_AT] + (bucket & (m[at.BUCKETS] - 1))
    m[thing + at.LINK] = m[place]
    m[place] = thing


@inlined()
def _insert(m, thing, when):  # type: ignore[no-untyped-def]
    """Into the list at hand, by time and address."""
    before, other = 0, m[at.CURRENT]
    while other != 0 and (m[other + at.WHEN] < when or (m[other + at.WHEN] == when and other < thing)):
        before, other = other, m[other + at.LINK]
    m[thing + at.LINK] = other
    if before == 0:
        m[at.CURRENT] = thing
    else:
        m[before + at.LINK] = thing


@inlined()
def _merge(m, one, other):  # type: ignore[no-untyped-def]
    """Two sorted lists as one."""
    head = tail = 0
    while one != 0 and other != 0:
        if m[other + at.WHEN] < m[one + at.WHEN] or (m[other + at.WHEN] == m[one + at.WHEN] and other < one):
            first = other
            other = m[other + at.LINK]
        else:
            first = one
            one = m[one + at.LINK]
        if head == 0:
            head = first
        else:
            m[tail + at.LINK] = first
        tail = first
    rest = one if one != 0 else other
    if head == 0:
        return rest
    m[tail + at.LINK] = rest
    return head


@inlined()
def _sorted(m, thing, parts):  # type: ignore[no-untyped-def]
    """The list sorted, by merging: part i holds 2^i of it, or nothing."""
    parts[:] = 0
    while thing != 0:
        following = m[thing + at.LINK]
        m[thing + at.LINK] = 0
        place = 0
        while parts[place] != 0:
            thing = _merge(m, parts[place], thing)
            parts[place] = 0
            place += 1
        parts[place] = thing
        m[at.WAITING] -= 1
        thing = following
    result = 0
    for place in range(len(parts)):
        if parts[place] != 0:
            result = _merge(m, parts[place], result)
    return result


@inlined()
def schedule_far(m, thing, when):  # type: ignore[no-untyped-def]
    """Let a thing happen at `when` that may be far off: a flow's timer (each has at most one), a slow port."""
    place = m[at.FAR]
    m[at.FAR] += 1
    base = m[at.FAR_AT]
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
    base = m[at.FAR_AT]
    taken = m[base + 1]
    m[at.FAR] -= 1
    last = m[at.FAR]
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
    mask, shift, ring = m[at.BUCKETS] - 1, m[at.BUCKET_SHIFT], m[at.RING_AT]
    bucket = m[at.BUCKET] + 1
    last = m[m[at.FAR_AT]] >> shift if m[at.FAR] > 0 else at.NO_MORE
    while bucket < last and m[ring + (bucket & mask)] == 0:
        bucket += 1
    m[at.BUCKET] = bucket
    thing = m[ring + (bucket & mask)]
    m[ring + (bucket & mask)] = 0
    m[at.CURRENT] = _sorted(m, thing, parts)


@inlined()
def next_time(m, parts):  # type: ignore[no-untyped-def]
    """When the next event is, or NO_MORE."""
    while m[at.CURRENT] == 0 and m[at.WAITING] > 0:
        if m[at.FAR] > 0 and m[m[at.FAR_AT]] >> m[at.BUCKET_SHIFT] <= m[at.BUCKET]:
            break
        advance(m, parts)
    timer = m[m[at.FAR_AT]] if m[at.FAR] > 0 else at.NO_MORE
    return min(timer, m[m[at.CURRENT] + at.WHEN]) if m[at.CURRENT] != 0 else timer


@inlined()
def take(m, when):  # type: ignore[no-untyped-def]
    """The address of what happens at `when`, the next time there is: a port, a packet, or a flow for its timer."""
    m[at.NOW] = when
    thing = m[at.CURRENT]
    if thing != 0 and m[thing + at.WHEN] == when:
        m[at.CURRENT] = m[thing + at.LINK]
        return thing
    # Without anything in the ring, time jumps, and the ring follows.
    if thing == 0 and m[at.WAITING] == 0:
        m[at.BUCKET] = max(m[at.BUCKET], when >> m[at.BUCKET_SHIFT])
    return take_far(m)
