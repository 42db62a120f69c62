"""Ports: queues, what happens when they are full, and which of several equal ports a packet takes."""

from __future__ import annotations

import numpy as np

from suanwang.compiled import inlined
from suanwang.fabric.packet import layout as at
from suanwang.fabric.packet.events_kernels import schedule


@inlined()
def draw(m):  # type: ignore[no-untyped-def]
    """32 random bits (Marsaglia's xorshift64, with Vigna's multiplier)."""
    value = np.uint64(m[at.RANDOM])
    value ^= value >> np.uint64(12)
    value ^= value << np.uint64(25)
    value ^= value >> np.uint64(27)
    m[at.RANDOM] = np.int64(value)
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
    packet = m[at.FREE_HEAD]
    m[at.FREE_HEAD] = m[packet + at.LINK]
    m[at.FREE_PACKETS] -= 1
    m[at.CREATED] += 1
    return packet


@inlined()
def free_packet(m, packet):  # type: ignore[no-untyped-def]
    """Give a packet's row back."""
    m[packet + at.LINK] = m[at.FREE_HEAD]
    m[at.FREE_HEAD] = packet
    m[at.FREE_PACKETS] += 1


@inlined()
def lose(m, packet):  # type: ignore[no-untyped-def]
    """The packet is gone, unnoticed."""
    info = m[packet + at.INFO]
    m[at.DROPS] += 1
    if info & (at.KIND | at.TRIMMED) == at.DATA:
        m[at.DROPPED_BYTES] += info >> at.SIZE_SHIFT
    free_packet(m, packet)


@inlined()
def transmit(m, port, packet):  # type: ignore[no-untyped-def]
    """Put the packet on the wire, now; it arrives when its last bit does."""
    size = m[packet + at.INFO] >> at.SIZE_SHIFT
    done = m[at.NOW] + ((size * m[port + at.PACE]) >> at.PACE_SHIFT)
    m[port + at.FREE_AT] = done
    m[port + at.SENT] += size
    m[packet + at.PORT] = port
    schedule(m, packet, done + m[port + at.LATENCY])


@inlined()
def arm(m, port):  # type: ignore[no-untyped-def]
    """Look at the port again when it is free."""
    if m[port + at.FLAGS] & at.ARMED == 0:
        m[port + at.FLAGS] |= at.ARMED
        schedule(m, port, max(m[port + at.FREE_AT], m[at.NOW]))


@inlined()
def has_work(m, port):  # type: ignore[no-untyped-def]
    """Whether anything waits at the port that may go; small packets go even where data is paused."""
    return m[port + at.HIGH_HEAD] != 0 or (m[port + at.LOW_HEAD] != 0 and m[port + at.FLAGS] & at.BLOCKED == 0)


@inlined()
def take_high(m, port):  # type: ignore[no-untyped-def]
    """The first small packet of a port."""
    packet = m[port + at.HIGH_HEAD]
    m[port + at.HIGH_HEAD] = m[packet + at.LINK]
    m[port + at.HIGH_BYTES] -= m[packet + at.INFO] >> at.SIZE_SHIFT
    return packet


@inlined()
def enqueue_high(m, port, packet):  # type: ignore[no-untyped-def]
    """Queue a small packet before all data."""
    if m[port + at.PACE] == 0:
        lose(m, packet)
        return
    if m[port + at.HIGH_HEAD] == 0 and m[port + at.FREE_AT] <= m[at.NOW] and m[port + at.FLAGS] & at.ARMED == 0:
        transmit(m, port, packet)
        if has_work(m, port):
            arm(m, port)
        return
    size = m[packet + at.INFO] >> at.SIZE_SHIFT
    if m[port + at.HIGH_BYTES] + size > 2 * m[at.QUEUE]:
        lose(m, packet)
        return
    m[packet + at.LINK] = 0
    if m[port + at.HIGH_HEAD] == 0:
        m[port + at.HIGH_HEAD] = packet
    else:
        m[m[port + at.HIGH_TAIL] + at.LINK] = packet
    m[port + at.HIGH_TAIL] = packet
    m[port + at.HIGH_BYTES] += size
    arm(m, port)


@inlined()
def enqueue_data(m, port, packet, ingress):  # type: ignore[no-untyped-def]
    """Queue data at a switch's port: it may be trimmed, dropped, or have its sender paused."""
    if m[port + at.PACE] == 0:
        lose(m, packet)
        return
    if (
        m[port + at.LOW_HEAD] == 0
        and m[port + at.HIGH_HEAD] == 0
        and m[port + at.FLAGS] & (at.ARMED | at.BLOCKED) == 0
        and m[port + at.FREE_AT] <= m[at.NOW]
    ):
        transmit(m, port, packet)
        return
    info = m[packet + at.INFO]
    size = info >> at.SIZE_SHIFT
    if m[at.MODE] != at.PFC and m[port + at.BACKLOG] + size > _room(m, port):
        if m[at.MODE] == at.DROP:
            lose(m, packet)
            return
        _swap_with_last(m, port, packet)
        info = m[packet + at.INFO]
        size = info >> at.SIZE_SHIFT
        m[at.TRIMS] += 1
        m[at.TRIMMED_BYTES] += size
        m[packet + at.INFO] = (info & ((1 << at.SIZE_SHIFT) - 1)) | at.TRIMMED | (m[at.CONTROL] << at.SIZE_SHIFT)
        enqueue_high(m, port, packet)
        return
    m[packet + at.LINK] = 0
    m[packet + at.EXTRA] = ingress
    if m[port + at.LOW_HEAD] == 0:
        m[port + at.LOW_HEAD] = packet
    else:
        m[m[port + at.LOW_TAIL] + at.LINK] = packet
    m[port + at.LOW_TAIL] = packet
    m[port + at.BACKLOG] += size
    m[at.DEEPEST] = max(m[at.DEEPEST], m[port + at.BACKLOG])
    if m[at.MODE] == at.PFC:
        count_ingress(m, ingress, size)
    if m[port + at.FLAGS] & at.BLOCKED == 0:
        arm(m, port)


@inlined()
def _room(m, port):  # type: ignore[no-untyped-def]
    """Bytes that may wait at a port: less where it is slow, but two packets; all of its memory where it drops."""
    if m[at.MODE] == at.DROP:
        return m[at.QUEUE]
    return max(of_share(m, port, m[at.QUEUE]), 2 * (m[at.PAYLOAD] + m[at.HEADER]))


@inlined()
def of_share(m, port, size):  # type: ignore[no-untyped-def]
    """So much of a size as the port has left of its rate: a slower port has a shorter queue, as long in time."""
    return (size * (m[port + at.NODE] >> at.SHARE_SHIFT)) >> at.SHARE_BITS


@inlined()
def _swap_with_last(m, port, packet):  # type: ignore[no-untyped-def]
    """By a coin the packet takes the place of the last one that waits, if it fits; that one is then trimmed.

    So, of flows whose packets come in step, not always the same is hit (Handley et al., NDP, SIGCOMM 2017).
    """
    last = m[port + at.LOW_TAIL]
    if m[port + at.LOW_HEAD] == 0 or draw(m) & 1 == 0:
        return
    if m[last + at.INFO] >> at.SIZE_SHIFT < m[packet + at.INFO] >> at.SIZE_SHIFT:
        return
    m[port + at.BACKLOG] += (m[packet + at.INFO] >> at.SIZE_SHIFT) - (m[last + at.INFO] >> at.SIZE_SHIFT)
    for field in (at.FLOW, at.SEQUENCE, at.INFO, at.STAMP):
        kept = m[last + field]
        m[last + field] = m[packet + field]
        m[packet + field] = kept


@inlined()
def count_ingress(m, ingress, size):  # type: ignore[no-untyped-def]
    """Priority flow control (IEEE 802.1Qbb): pause the sender when too much of what it sent waits here."""
    m[ingress + at.INGRESS] += size
    if m[ingress + at.INGRESS] > m[at.XOFF] and m[ingress + at.FLAGS] & at.PAUSING == 0:
        m[ingress + at.FLAGS] |= at.PAUSING
        _tell_pause(m, ingress, 1)
    elif m[ingress + at.INGRESS] < m[at.XON] and m[ingress + at.FLAGS] & at.PAUSING:
        m[ingress + at.FLAGS] &= ~at.PAUSING
        _tell_pause(m, ingress, 0)


@inlined()
def _tell_pause(m, ingress, pause):  # type: ignore[no-untyped-def]
    # The frame goes back over the same cable; it waits for no queue.
    packet = new_packet(m)
    back = m[ingress + at.PEER]
    m[packet + at.FLOW] = 0
    m[packet + at.INFO] = at.PAUSE
    m[packet + at.PORT] = back
    m[packet + at.EXTRA] = pause
    m[at.PAUSES] += pause
    m[at.PAUSE_FRAMES] += 1
    schedule(m, packet, m[at.NOW] + ((m[at.CONTROL] * m[back + at.PACE]) >> at.PACE_SHIFT) + m[back + at.LATENCY])


@inlined()
def serve_switch(m, port):  # type: ignore[no-untyped-def]
    """A switch's port is free: send what is next."""
    m[port + at.FLAGS] &= ~at.ARMED
    data = m[port + at.LOW_HEAD] != 0 and m[port + at.FLAGS] & at.BLOCKED == 0
    if m[port + at.HIGH_HEAD] != 0 and not (data and m[port + at.FLAGS] >= at.MOST_SMALL * at.TURN_UNIT):
        if data:
            m[port + at.FLAGS] += at.TURN_UNIT
        transmit(m, port, take_high(m, port))
    elif data:
        m[port + at.FLAGS] &= at.TURN_UNIT - 1
        packet = m[port + at.LOW_HEAD]
        m[port + at.LOW_HEAD] = m[packet + at.LINK]
        size = m[packet + at.INFO] >> at.SIZE_SHIFT
        m[port + at.BACKLOG] -= size
        if m[at.MODE] == at.PFC:
            count_ingress(m, m[packet + at.EXTRA], -size)
        _mark(m, port, packet)
        transmit(m, port, packet)
    if has_work(m, port):
        arm(m, port)


@inlined()
def _mark(m, port, packet):  # type: ignore[no-untyped-def]
    """Mark congestion on a packet that leaves: surely above one depth, with a rising chance from another one on."""
    depth, low, high = m[port + at.BACKLOG], of_share(m, port, m[at.MARK_LOW]), of_share(m, port, m[at.MARK_HIGH])
    if depth > low and (depth > high or (draw(m) * (high - low)) >> 32 < depth - low):
        m[packet + at.INFO] |= at.MARKED
        m[at.MARKS] += 1


@inlined()
def choose(m, sets, turn, entry, switch, group, packet):  # type: ignore[no-untyped-def]
    """Which port of the set at `entry` the packet takes at `switch` (counted without endpoints) towards `group`."""
    count = sets[entry]
    first = entry + 1
    if count == 1:
        return sets[first]
    info = m[packet + at.INFO]
    balance = m[at.BALANCE]
    if info & (at.KIND | at.TRIMMED) != at.DATA or balance <= at.ADAPTIVE:
        entropy = (info >> at.ENTROPY_SHIFT) & at.ENTROPY_MASK
        label = (m[packet + at.FLOW] << 22) ^ (entropy << 1) ^ (switch << 44) ^ (info & at.KIND)
        return sets[first + ((mix(label ^ m[at.SALT]) * count) >> 32)]
    start = turn[switch, group]
    if start >= count:
        start %= count
    best = start
    if balance == at.SWITCH_ADAPTIVE:
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
        port = sets[first + index]
        band = m[port + at.BACKLOG] // max(1, of_share(m, port, m[at.MARK_LOW]))
        if band == 0:
            return index
        if band < least:
            best, least = index, band
    return best
