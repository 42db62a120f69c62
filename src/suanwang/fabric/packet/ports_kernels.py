"""Ports: queues, what happens when they are full, and which of several equal ports a packet takes."""

from __future__ import annotations

import numpy as np

from suanwang.compiled import inlined
from suanwang.fabric.packet.events_kernels import schedule
from suanwang.fabric.packet.layout import (
    ADAPTIVE,
    ARMED,
    BACKLOG,
    BALANCE,
    BLOCKED,
    CONTROL,
    CREATED,
    DATA,
    DEEPEST,
    DROP,
    DROPPED_BYTES,
    DROPS,
    ENTROPY_MASK,
    ENTROPY_SHIFT,
    EXTRA,
    FLAGS,
    FLOW,
    FREE_AT,
    FREE_HEAD,
    FREE_PACKETS,
    HIGH_BYTES,
    HIGH_HEAD,
    HIGH_TAIL,
    INFO,
    INGRESS,
    KIND,
    LATENCY,
    LINK,
    LOW_HEAD,
    LOW_TAIL,
    MARK_HIGH,
    MARK_LOW,
    MARKED,
    MARKS,
    MODE,
    MOST_SMALL,
    NOW,
    PACE,
    PACE_SHIFT,
    PAUSE,
    PAUSE_FRAMES,
    PAUSES,
    PAUSING,
    PEER,
    PFC,
    PORT,
    QUEUE,
    RANDOM,
    SALT,
    SENT,
    SIZE_SHIFT,
    SWITCH_ADAPTIVE,
    TRIMMED,
    TRIMMED_BYTES,
    TRIMS,
    TURN_UNIT,
    XOFF,
    XON,
)  # fmt: skip


@inlined()
def draw(m):  # type: ignore[no-untyped-def]
    """32 random bits (Marsaglia's xorshift64, with Vigna's multiplier)."""
    value = np.uint64(m[RANDOM])
    value ^= value >> np.uint64(12)
    value ^= value << np.uint64(25)
    value ^= value >> np.uint64(27)
    m[RANDOM] = np.int64(value)
    return np.int64((value * np.uint64(2685821657736338717)) >> np.uint64(32))


@inlined()
def mix(value):  # type: ignore[no-untyped-def]
    """A hash of an integer, as 32 bits (the finaliser of Steele, Lea and Flood's SplitMix)."""
    bits = np.uint64(value)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.int64((bits ^ (bits >> np.uint64(31))) >> np.uint64(32))


@inlined()
def new_packet(m):  # type: ignore[no-untyped-def]
    """A packet's row that is free."""
    packet = m[FREE_HEAD]
    m[FREE_HEAD] = m[packet + LINK]
    m[FREE_PACKETS] -= 1
    m[CREATED] += 1
    return packet


@inlined()
def free_packet(m, packet):  # type: ignore[no-untyped-def]
    """Give a packet's row back."""
    m[packet + LINK] = m[FREE_HEAD]
    m[FREE_HEAD] = packet
    m[FREE_PACKETS] += 1


@inlined()
def lose(m, packet):  # type: ignore[no-untyped-def]
    """The packet is gone, unnoticed."""
    info = m[packet + INFO]
    m[DROPS] += 1
    if info & (KIND | TRIMMED) == DATA:
        m[DROPPED_BYTES] += info >> SIZE_SHIFT
    free_packet(m, packet)


@inlined()
def transmit(m, port, packet):  # type: ignore[no-untyped-def]
    """Put the packet on the wire, now; it arrives when its last bit does."""
    size = m[packet + INFO] >> SIZE_SHIFT
    done = m[NOW] + ((size * m[port + PACE]) >> PACE_SHIFT)
    m[port + FREE_AT] = done
    m[port + SENT] += size
    m[packet + PORT] = port
    schedule(m, packet, done + m[port + LATENCY])


@inlined()
def arm(m, port):  # type: ignore[no-untyped-def]
    """Look at the port again when it is free."""
    if m[port + FLAGS] & ARMED == 0:
        m[port + FLAGS] |= ARMED
        schedule(m, port, max(m[port + FREE_AT], m[NOW]))


@inlined()
def has_work(m, port):  # type: ignore[no-untyped-def]
    """Whether anything waits at the port that may go; small packets go even where data is paused."""
    return m[port + HIGH_HEAD] != 0 or (m[port + LOW_HEAD] != 0 and m[port + FLAGS] & BLOCKED == 0)


@inlined()
def take_high(m, port):  # type: ignore[no-untyped-def]
    """The first small packet of a port."""
    packet = m[port + HIGH_HEAD]
    m[port + HIGH_HEAD] = m[packet + LINK]
    m[port + HIGH_BYTES] -= m[packet + INFO] >> SIZE_SHIFT
    return packet


@inlined()
def enqueue_high(m, port, packet):  # type: ignore[no-untyped-def]
    """Queue a small packet before all data."""
    if m[port + PACE] == 0:
        lose(m, packet)
        return
    if m[port + HIGH_HEAD] == 0 and m[port + FREE_AT] <= m[NOW] and m[port + FLAGS] & ARMED == 0:
        transmit(m, port, packet)
        if has_work(m, port):
            arm(m, port)
        return
    size = m[packet + INFO] >> SIZE_SHIFT
    if m[port + HIGH_BYTES] + size > 2 * m[QUEUE]:
        lose(m, packet)
        return
    m[packet + LINK] = 0
    if m[port + HIGH_HEAD] == 0:
        m[port + HIGH_HEAD] = packet
    else:
        m[m[port + HIGH_TAIL] + LINK] = packet
    m[port + HIGH_TAIL] = packet
    m[port + HIGH_BYTES] += size
    arm(m, port)


@inlined()
def enqueue_data(m, port, packet, ingress):  # type: ignore[no-untyped-def]
    """Queue data at a switch's port: it may be trimmed, dropped, or have its sender paused."""
    if m[port + PACE] == 0:
        lose(m, packet)
        return
    if (
        m[port + LOW_HEAD] == 0
        and m[port + HIGH_HEAD] == 0
        and m[port + FLAGS] & (ARMED | BLOCKED) == 0
        and m[port + FREE_AT] <= m[NOW]
    ):
        transmit(m, port, packet)
        return
    info = m[packet + INFO]
    size = info >> SIZE_SHIFT
    if m[port + BACKLOG] + size > m[QUEUE] and m[MODE] != PFC:
        if m[MODE] == DROP:
            lose(m, packet)
            return
        m[TRIMS] += 1
        m[TRIMMED_BYTES] += size
        m[packet + INFO] = (info & ((1 << SIZE_SHIFT) - 1)) | TRIMMED | (m[CONTROL] << SIZE_SHIFT)
        enqueue_high(m, port, packet)
        return
    m[packet + LINK] = 0
    m[packet + EXTRA] = ingress
    if m[port + LOW_HEAD] == 0:
        m[port + LOW_HEAD] = packet
    else:
        m[m[port + LOW_TAIL] + LINK] = packet
    m[port + LOW_TAIL] = packet
    m[port + BACKLOG] += size
    m[DEEPEST] = max(m[DEEPEST], m[port + BACKLOG])
    if m[MODE] == PFC:
        count_ingress(m, ingress, size)
    if m[port + FLAGS] & BLOCKED == 0:
        arm(m, port)


@inlined()
def count_ingress(m, ingress, size):  # type: ignore[no-untyped-def]
    """Priority flow control (IEEE 802.1Qbb): pause the sender when too much of what it sent waits here."""
    m[ingress + INGRESS] += size
    if m[ingress + INGRESS] > m[XOFF] and m[ingress + FLAGS] & PAUSING == 0:
        m[ingress + FLAGS] |= PAUSING
        _tell_pause(m, ingress, 1)
    elif m[ingress + INGRESS] < m[XON] and m[ingress + FLAGS] & PAUSING:
        m[ingress + FLAGS] &= ~PAUSING
        _tell_pause(m, ingress, 0)


@inlined()
def _tell_pause(m, ingress, pause):  # type: ignore[no-untyped-def]
    # The frame goes back over the same cable; it waits for no queue.
    packet = new_packet(m)
    back = m[ingress + PEER]
    m[packet + FLOW] = 0
    m[packet + INFO] = PAUSE
    m[packet + PORT] = back
    m[packet + EXTRA] = pause
    m[PAUSES] += pause
    m[PAUSE_FRAMES] += 1
    schedule(m, packet, m[NOW] + ((m[CONTROL] * m[back + PACE]) >> PACE_SHIFT) + m[back + LATENCY])


@inlined()
def serve_switch(m, port):  # type: ignore[no-untyped-def]
    """A switch's port is free: send what is next."""
    m[port + FLAGS] &= ~ARMED
    data = m[port + LOW_HEAD] != 0 and m[port + FLAGS] & BLOCKED == 0
    if m[port + HIGH_HEAD] != 0 and not (data and m[port + FLAGS] >= MOST_SMALL * TURN_UNIT):
        if data:
            m[port + FLAGS] += TURN_UNIT
        transmit(m, port, take_high(m, port))
    elif data:
        m[port + FLAGS] &= TURN_UNIT - 1
        packet = m[port + LOW_HEAD]
        m[port + LOW_HEAD] = m[packet + LINK]
        size = m[packet + INFO] >> SIZE_SHIFT
        m[port + BACKLOG] -= size
        if m[MODE] == PFC:
            count_ingress(m, m[packet + EXTRA], -size)
        _mark(m, m[port + BACKLOG], packet)
        transmit(m, port, packet)
    if has_work(m, port):
        arm(m, port)


@inlined()
def _mark(m, depth, packet):  # type: ignore[no-untyped-def]
    """Mark congestion on a packet that leaves: surely above one depth, with a rising chance from another one on."""
    low, high = m[MARK_LOW], m[MARK_HIGH]
    if depth > low and (depth > high or (draw(m) * (high - low)) >> 32 < depth - low):
        m[packet + INFO] |= MARKED
        m[MARKS] += 1


@inlined()
def choose(m, sets, turn, entry, switch, group, packet):  # type: ignore[no-untyped-def]
    """Which port of the set at `entry` the packet takes at `switch` (counted without endpoints) towards `group`."""
    count = sets[entry]
    first = entry + 1
    if count == 1:
        return sets[first]
    info = m[packet + INFO]
    balance = m[BALANCE]
    if info & (KIND | TRIMMED) != DATA or balance <= ADAPTIVE:
        entropy = (info >> ENTROPY_SHIFT) & ENTROPY_MASK
        label = (m[packet + FLOW] << 22) ^ (entropy << 1) ^ (switch << 44) ^ (info & KIND)
        return sets[first + ((mix(label ^ m[SALT]) * count) >> 32)]
    start = turn[switch, group]
    if start >= count:
        start %= count
    best = start
    if balance == SWITCH_ADAPTIVE:
        best = _shortest(m, sets, first, count, start)
    turn[switch, group] = best + 1
    return sets[first + best]


@inlined()
def _shortest(m, sets, first, count, start):  # type: ignore[no-untyped-def]
    """The port with the least to send, in bands as deep as marking begins; of those alike the next one round.

    Switches tell loads by such bands (dynamic load balancing). Finer ones would have every packet flee the shortest
    wait here, whatever it does to the evenness that its destination needs.
    """
    best, least = start, np.int64(1) << 62
    for step in range(count):
        index = start + step
        if index >= count:
            index -= count
        band = m[sets[first + index] + BACKLOG] // m[MARK_LOW]
        if band == 0:
            return index
        if band < least:
            best, least = index, band
    return best
