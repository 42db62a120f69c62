"""The loop: take the next event, let it happen, until there is a reason to come back."""

from __future__ import annotations

import numpy as np

from suanwang.compiled import inlined, njit
from suanwang.fabric.packet.events_kernels import next_time, take
from suanwang.fabric.packet.hosts_kernels import hear, kick, on_timer, serve_endpoint
from suanwang.fabric.packet.layout import (
    ATTACHED,
    BACKLOG,
    BLOCKED,
    DATA,
    DONE,
    ENDPOINTS,
    ENOUGH_EVENTS,
    EVENTS,
    EXTRA,
    FINISHED,
    FLAGS,
    FLOW,
    FLOW_WIDTH,
    FLOWS_AT,
    FREE_PACKETS,
    GOAL_GROUP,
    GOAL_PORT,
    GOAL_PORTS,
    HIGH_BYTES,
    HIGH_HEAD,
    INFO,
    KIND,
    LINK,
    LOSS,
    LOSSES,
    LOW_HEAD,
    MODE,
    NO_MORE,
    NO_ROOM,
    NODE,
    OPEN,
    PACE,
    PACKETS_AT,
    PAUSE,
    PEER,
    PFC,
    PORT,
    PORT_WIDTH,
    QUEUED,
    RING_NEXT,
    SIZE_SHIFT,
    SOURCE_GROUP,
    SOURCE_PORT,
    SOURCE_PORTS,
    STALLED,
    TIME_UP,
    TRIMMED,
)  # fmt: skip
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

SPARE_PACKETS = 16
"""Rows that one event may need: pause frames, and a packet or two for each port of an endpoint."""


@inlined()
def _arrive(m, r, table, sets, turn, packet):  # type: ignore[no-untyped-def]
    port, info = m[packet + PORT], m[packet + INFO]
    kind = info & KIND
    if kind == PAUSE:
        _pause(m, m[port + PEER], packet)
        return
    if m[port + PACE] == 0:
        lose(m, packet)
        return
    # A port's NODE is the one that it belongs to, so the packet is at the peer's.
    node = m[m[port + PEER] + NODE]
    if node < m[ENDPOINTS]:
        if kind != DATA:
            hear(m, r, packet)
        elif m[LOSS] > 0 and draw(m) < m[LOSS]:
            m[LOSSES] += 1
            lose(m, packet)
        else:
            receive(m, packet)
        return
    out = _next_port(m, table, sets, turn, node - m[ENDPOINTS], node, packet)
    if out == 0:
        lose(m, packet)
    elif info & (KIND | TRIMMED) == DATA:
        enqueue_data(m, out, packet, port)
    else:
        enqueue_high(m, out, packet)


@inlined()
def _pause(m, port, packet):  # type: ignore[no-untyped-def]
    if m[packet + EXTRA] != 0:
        m[port + FLAGS] |= BLOCKED
    else:
        m[port + FLAGS] &= ~BLOCKED
        if has_work(m, port):
            arm(m, port)
    free_packet(m, packet)


@inlined()
def _next_port(m, table, sets, turn, switch, node, packet):  # type: ignore[no-untyped-def]
    flow = m[packet + FLOW]
    forth = m[packet + INFO] & KIND == DATA
    group = m[flow + (GOAL_GROUP if forth else SOURCE_GROUP)]
    if group < 0:
        return 0
    entry = table[switch, group]
    if entry >= 0:
        return choose(m, sets, turn, entry, switch, group, packet)
    if entry != ATTACHED:
        return 0
    # Of several cables to the endpoint, the one with the least to send.
    first = m[flow + (GOAL_PORT if forth else SOURCE_PORT)]
    count = m[flow + (GOAL_PORTS if forth else SOURCE_PORTS)]
    best = 0
    for place in range(count):
        down = m[first + place * PORT_WIDTH + PEER]
        if m[down + NODE] == node and m[down + PACE] > 0 and (best == 0 or m[down + BACKLOG] < m[best + BACKLOG]):
            best = down
    return best


@njit()
def run(m, r, table, sets, turn, until, most_events):  # type: ignore[no-untyped-def]
    """Go on until all flows are done, time is `until`, `most_events` happened, or packets need more room."""
    parts = np.zeros(48, np.int64)
    last = m[EVENTS] + most_events
    while m[OPEN] > 0:
        if m[FREE_PACKETS] < SPARE_PACKETS:
            return NO_ROOM
        if m[EVENTS] >= last:
            return ENOUGH_EVENTS
        when = next_time(m, parts)
        if when > until:
            return STALLED if when == NO_MORE else TIME_UP
        thing = take(m, when)
        m[EVENTS] += 1
        if thing >= m[PACKETS_AT]:
            _arrive(m, r, table, sets, turn, thing)
        elif thing >= m[FLOWS_AT]:
            on_timer(m, r, thing)
        elif m[thing + NODE] < m[ENDPOINTS]:
            serve_endpoint(m, r, thing)
        else:
            serve_switch(m, thing)
    return FINISHED


@njit()
def flush(m, r, port):  # type: ignore[no-untyped-def]
    """A port is cut: what waits there is lost; at an endpoint, flows look for another."""
    packet = m[port + HIGH_HEAD]
    m[port + HIGH_HEAD] = 0
    m[port + HIGH_BYTES] = 0
    while packet != 0:
        following = m[packet + LINK]
        lose(m, packet)
        packet = following
    waiting = m[port + LOW_HEAD]
    m[port + LOW_HEAD] = 0
    m[port + BACKLOG] = 0
    m[port + FLAGS] &= ~BLOCKED
    while waiting != 0:
        if m[port + NODE] < m[ENDPOINTS]:
            following = m[waiting + RING_NEXT]
            m[waiting + QUEUED] = 0
            kick(m, r, waiting)
        else:
            following = m[waiting + LINK]
            if m[MODE] == PFC:
                count_ingress(m, m[waiting + EXTRA], -(m[waiting + INFO] >> SIZE_SHIFT))
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
    for flow in range(first, first + count * FLOW_WIDTH, FLOW_WIDTH):
        if m[flow + DONE] < 0:
            kick(m, r, flow)


@njit()
def free_list(m, packet, count, busy, first, width):  # type: ignore[no-untyped-def]
    """Clear `busy` for each row in the list of free packets."""
    for _ in range(count):
        busy[(packet - first) // width] = False
        packet = m[packet + LINK]
