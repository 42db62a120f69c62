"""Receivers: what arrives is noted and acknowledged, and lets other flows start."""

from __future__ import annotations

from suanwang.compiled import inlined
from suanwang.fabric.packet.events_kernels import schedule_far
from suanwang.fabric.packet.layout import (
    ACK,
    ACK_BYTES,
    ACKS,
    AGAIN,
    ARRIVED_BYTES,
    ASK,
    BEGAN,
    COMPLAINED,
    CONTROL,
    DELIVERED,
    DUPLICATES,
    ENTROPY_MASK,
    ENTROPY_SHIFT,
    EXPECTED,
    EXTRA,
    FIRES,
    FIRST,
    FIRST_WAITING,
    FLOW,
    GO_BACK_N,
    GOT,
    INFO,
    LEFT,
    MARKED,
    NACK,
    NACKS,
    NOW,
    PACKETS,
    PEER,
    PORT,
    RECEIPT_SHIFT,
    RECEIVED,
    RECOVERY,
    SEQUENCE,
    SINCE_ACK,
    SIZE_SHIFT,
    THERE,
    TRIMMED,
    WAITS_NEXT,
)  # fmt: skip
from suanwang.fabric.packet.ports_kernels import enqueue_high, free_packet


@inlined()
def receive(m, packet):  # type: ignore[no-untyped-def]
    """Data, or the header that trimming left of it, is at its destination."""
    flow, sequence, info = m[packet + FLOW], m[packet + SEQUENCE], m[packet + INFO]
    if info & TRIMMED:
        _answer(m, packet, NACK)
        return
    m[ARRIVED_BYTES] += info >> SIZE_SHIFT
    notes = m[flow + FIRST]
    if m[notes + sequence] & THERE:
        m[DUPLICATES] += 1
        _answer(m, packet, ACK)
        return
    if m[RECOVERY] == GO_BACK_N and sequence != m[flow + EXPECTED]:
        if m[flow + COMPLAINED] != 0:
            free_packet(m, packet)
            return
        m[flow + COMPLAINED] = 1
        m[packet + SEQUENCE] = m[flow + EXPECTED]
        _answer(m, packet, NACK)
        return
    m[flow + COMPLAINED] = 0
    m[flow + EXPECTED] += 1
    m[notes + sequence] |= THERE
    m[notes + m[flow + GOT]] |= sequence << RECEIPT_SHIFT
    m[flow + GOT] += 1
    m[DELIVERED] += 1
    m[flow + SINCE_ACK] += info >> SIZE_SHIFT
    whole = m[flow + GOT] == m[flow + PACKETS]
    if whole or info & (MARKED | ASK | AGAIN) or m[flow + SINCE_ACK] >= m[ACK_BYTES]:
        m[flow + SINCE_ACK] = 0
        _answer(m, packet, ACK)
    else:
        free_packet(m, packet)
    if whole:
        m[flow + RECEIVED] = m[NOW]
        _fire(m, m[flow + FIRES])


@inlined()
def _answer(m, packet, kind):  # type: ignore[no-untyped-def]
    """Turn the packet into its answer; it takes time stamp, mark and entropy back, by the cable that it came by."""
    kept = m[packet + INFO] & (MARKED | (ENTROPY_MASK << ENTROPY_SHIFT))
    m[packet + INFO] = kind | kept | (m[CONTROL] << SIZE_SHIFT)
    m[packet + EXTRA] = m[m[packet + FLOW] + GOT]
    m[ACKS if kind == ACK else NACKS] += 1
    enqueue_high(m, m[m[packet + PORT] + PEER], packet)


@inlined()
def _fire(m, trigger):  # type: ignore[no-untyped-def]
    """A flow counts towards its trigger; the last one lets others start."""
    if trigger == 0:
        return
    m[trigger + LEFT] -= 1
    if m[trigger + LEFT] == 0:
        flow = m[trigger + FIRST_WAITING]
        while flow != 0:
            schedule_far(m, flow, m[NOW] + m[flow + BEGAN])
            flow = m[flow + WAITS_NEXT]
