"""Receivers: what arrives is noted and acknowledged, and lets other flows start."""

from __future__ import annotations

from suanwang.compiled import inlined
from suanwang.fabric.packet import layout as at
from suanwang.fabric.packet.events_kernels import schedule_far
from suanwang.fabric.packet.ports_kernels import enqueue_high, free_packet


@inlined()
def receive(m, packet):  # type: ignore[no-untyped-def]
    """Data, or the header that trimming left of it, is at its destination."""
    flow, sequence, info = m[packet + at.FLOW], m[packet + at.SEQUENCE], m[packet + at.INFO]
    if info & at.TRIMMED:
        _answer(m, packet, at.NACK)
        return
    m[at.ARRIVED_BYTES] += info >> at.SIZE_SHIFT
    notes = m[flow + at.FIRST]
    if m[notes + sequence] & at.THERE:
        m[at.DUPLICATES] += 1
        _answer(m, packet, at.ACK)
        return
    if m[at.RECOVERY] == at.GO_BACK_N and sequence != m[flow + at.EXPECTED]:
        if m[flow + at.COMPLAINED] != 0:
            free_packet(m, packet)
            return
        m[flow + at.COMPLAINED] = 1
        m[packet + at.SEQUENCE] = m[flow + at.EXPECTED]
        _answer(m, packet, at.NACK)
        return
    m[flow + at.COMPLAINED] = 0
    m[flow + at.EXPECTED] += 1
    m[notes + sequence] |= at.THERE
    m[notes + m[flow + at.GOT]] |= sequence << at.RECEIPT_SHIFT
    m[flow + at.GOT] += 1
    m[at.DELIVERED] += 1
    m[flow + at.SINCE_ACK] += info >> at.SIZE_SHIFT
    whole = m[flow + at.GOT] == m[flow + at.PACKETS]
    if whole or info & (at.MARKED | at.ASK | at.AGAIN) or m[flow + at.SINCE_ACK] >= m[at.ACK_BYTES]:
        m[flow + at.SINCE_ACK] = 0
        _answer(m, packet, at.ACK)
    else:
        free_packet(m, packet)
    if whole:
        m[flow + at.RECEIVED] = m[at.NOW]
        if m[flow + at.FIRES] > 0:
            fire(m, m[flow + at.FIRES])


@inlined()
def _answer(m, packet, kind):  # type: ignore[no-untyped-def]
    """Turn the packet into its answer; it takes time stamp, mark and entropy back, by the cable that it came by."""
    kept = m[packet + at.INFO] & (at.MARKED | (at.ENTROPY_MASK << at.ENTROPY_SHIFT))
    m[packet + at.INFO] = kind | kept | (m[at.CONTROL] << at.SIZE_SHIFT)
    m[packet + at.EXTRA] = m[m[packet + at.FLOW] + at.GOT]
    m[at.ACKS if kind == at.ACK else at.NACKS] += 1
    enqueue_high(m, m[m[packet + at.PORT] + at.PEER], packet)


@inlined()
def fire(m, trigger):  # type: ignore[no-untyped-def]
    """A flow counts towards its trigger; the last one lets others start."""
    m[trigger + at.LEFT] -= 1
    if m[trigger + at.LEFT] == 0:
        flow = m[trigger + at.FIRST_WAITING]
        while flow != 0:
            schedule_far(m, flow, m[at.NOW] + m[flow + at.BEGAN])
            flow = m[flow + at.WAITS_NEXT]
