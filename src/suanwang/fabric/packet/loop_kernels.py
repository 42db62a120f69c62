"""The loop: take the next event, let it happen, until there is a reason to come back."""

from __future__ import annotations

import numpy as np

from suanwang.compiled import inlined, njit
from suanwang.fabric.packet import layout as at
from suanwang.fabric.packet.events_kernels import next_time, take
from suanwang.fabric.packet.ports_kernels import (
    arm,
    choose,
    count_ingress,
    draw,
    enqueue_data,
    enqueue_high,
    free_packet,
    has_work,
    lose,
    serve_switch,
)  # fmt: skip
from suanwang.fabric.packet.receivers_kernels import receive
from suanwang.fabric.packet.senders_kernels import hear, kick, on_timer, serve_endpoint
from suanwang.fabric.routing.sets_kernels import ATTACHED

SPARE_PACKETS = 16
"""Rows that one event may need: pause frames, and a packet or two for each port of an endpoint."""


@inlined()
def _arrive(m, r, table, sets, turn, packet):  # type: ignore[no-untyped-def]
    port, info = m[packet + at.PORT], m[packet + at.INFO]
    kind = info & at.KIND
    if kind == at.PAUSE:
        _pause(m, m[port + at.PEER], packet)
        return
    if m[port + at.PACE] == 0:
        lose(m, packet)
        return
    # A port's NODE is the one that it belongs to, so the packet is at the peer's.
    node = m[m[port + at.PEER] + at.NODE] & at.NODE_MASK
    if node < m[at.ENDPOINTS]:
        if kind != at.DATA:
            hear(m, r, packet)
        elif m[at.LOSS] > 0 and draw(m) < m[at.LOSS]:
            m[at.LOSSES] += 1
            lose(m, packet)
        else:
            receive(m, packet)
        return
    out = _next_port(m, table, sets, turn, node - m[at.ENDPOINTS], node, packet)
    if out == 0:
        lose(m, packet)
    elif info & (at.KIND | at.TRIMMED) == at.DATA:
        enqueue_data(m, out, packet, port)
    else:
        enqueue_high(m, out, packet)


@inlined()
def _pause(m, port, packet):  # type: ignore[no-untyped-def]
    if m[packet + at.EXTRA] != 0:
        m[port + at.FLAGS] |= at.BLOCKED
    else:
        m[port + at.FLAGS] &= ~at.BLOCKED
        if has_work(m, port):
            arm(m, port)
    free_packet(m, packet)


@inlined()
def _next_port(m, table, sets, turn, switch, node, packet):  # type: ignore[no-untyped-def]
    flow = m[packet + at.FLOW]
    forth = m[packet + at.INFO] & at.KIND == at.DATA
    group = m[flow + (at.GOAL_GROUP if forth else at.SOURCE_GROUP)]
    if group < 0:
        return 0
    entry = table[switch, group]
    if entry >= 0:
        return choose(m, sets, turn, entry, switch, group, packet)
    if entry != ATTACHED:
        return 0
    # Of several cables to the endpoint, the one with the least to send.
    first = m[flow + (at.GOAL_PORT if forth else at.SOURCE_PORT)]
    count = m[flow + (at.GOAL_PORTS if forth else at.SOURCE_PORTS)]
    best = 0
    for place in range(count):
        down = m[first + place * at.PORT_WIDTH + at.PEER]
        if (
            m[down + at.NODE] & at.NODE_MASK == node
            and m[down + at.PACE] > 0
            and (best == 0 or m[down + at.BACKLOG] < m[best + at.BACKLOG])
        ):
            best = down
    return best


@njit()
def run(m, r, table, sets, turn, until, most_events):  # type: ignore[no-untyped-def]
    """Go on until all flows are done, time is `until`, `most_events` happened, or packets need more room."""
    parts = np.zeros(48, np.int64)
    last = m[at.EVENTS] + most_events
    while m[at.OPEN] > 0:
        if m[at.FREE_PACKETS] < SPARE_PACKETS:
            return at.NO_ROOM
        if m[at.EVENTS] >= last:
            return at.ENOUGH_EVENTS
        when = next_time(m, parts)
        if when > until:
            return at.STALLED if when == at.NO_MORE else at.TIME_UP
        thing = take(m, when)
        m[at.EVENTS] += 1
        if thing >= m[at.PACKETS_AT]:
            _arrive(m, r, table, sets, turn, thing)
        elif thing >= m[at.FLOWS_AT]:
            on_timer(m, r, thing)
        elif m[thing + at.NODE] & at.NODE_MASK < m[at.ENDPOINTS]:
            serve_endpoint(m, r, thing)
        else:
            serve_switch(m, thing)
    return at.FINISHED


@njit()
def flush(m, r, port):  # type: ignore[no-untyped-def]
    """A port is cut: what waits there is lost; at an endpoint, flows look for another."""
    packet = m[port + at.HIGH_HEAD]
    m[port + at.HIGH_HEAD] = 0
    m[port + at.HIGH_BYTES] = 0
    while packet != 0:
        following = m[packet + at.LINK]
        lose(m, packet)
        packet = following
    waiting = m[port + at.LOW_HEAD]
    m[port + at.LOW_HEAD] = 0
    m[port + at.BACKLOG] = 0
    m[port + at.FLAGS] &= ~at.BLOCKED
    while waiting != 0:
        if m[port + at.NODE] & at.NODE_MASK < m[at.ENDPOINTS]:
            following = m[waiting + at.RING_NEXT]
            m[waiting + at.QUEUED] = 0
            kick(m, r, waiting)
        else:
            following = m[waiting + at.LINK]
            if m[at.MODE] == at.PFC:
                count_ingress(m, m[waiting + at.EXTRA], -(m[waiting + at.INFO] >> at.SIZE_SHIFT))
            lose(m, waiting)
        waiting = following


@njit()
def wake(m, port):  # type: ignore[no-untyped-def]
    """A port works again, or at another rate."""
    if has_work(m, port):
        arm(m, port)


@njit()
def wake_flows(m, r, first, count):  # type: ignore[no-untyped-def]
    """Routes changed: flows that had no way look again."""
    for flow in range(first, first + count * at.FLOW_WIDTH, at.FLOW_WIDTH):
        if m[flow + at.DONE] < 0:
            kick(m, r, flow)


@njit()
def free_list(m, packet, count, busy, first, width):  # type: ignore[no-untyped-def]
    """Clear `busy` for each row in the list of free packets."""
    for _ in range(count):
        busy[(packet - first) // width] = False
        packet = m[packet + at.LINK]
