"""Senders: windows, entropies, planes, and what acknowledgements and timers tell them."""

from __future__ import annotations

from suanwang.compiled import inlined
from suanwang.fabric.packet import layout as at
from suanwang.fabric.packet.congestion_kernels import on_ack, on_delay, on_trim
from suanwang.fabric.packet.events_kernels import schedule_far
from suanwang.fabric.packet.losses_kernels import declare_lost, give_up_waiting, go_back, notice_gaps, sweep, wire_bytes
from suanwang.fabric.packet.ports_kernels import arm, draw, free_packet, has_work, mix, new_packet, take_high, transmit
from suanwang.fabric.packet.receivers_kernels import fire


@inlined()
def can_send(m, r, flow):  # type: ignore[no-untyped-def]
    """Whether the flow has something to send, and its window room for it; one packet may always be on its way.

    When the window shrank under what is on its way and none of that asks for an answer, one more may go, to ask.
    """
    if m[flow + at.LOST_HEAD] == 0 and m[flow + at.NEXT] >= m[flow + at.PACKETS]:
        return False
    flying = m[flow + at.FLYING]
    return _has_room(m, r, flow) or (flying <= m[flow + at.UNASKED] and flying < m[at.ACK_BYTES])


@inlined()
def _has_room(m, r, flow):  # type: ignore[no-untyped-def]
    flying = m[flow + at.FLYING]
    return flying == 0 or flying + m[at.PAYLOAD] + m[at.HEADER] <= r[m[flow + at.REALS] + at.WINDOW]


@inlined()
def choose_plane(m, flow):  # type: ignore[no-untyped-def]
    """The port by which the flow's next packet leaves its endpoint; 0 if none leads anywhere."""
    count, first = m[flow + at.SOURCE_PORTS], m[flow + at.SOURCE_PORT]
    if count == 1:
        return first if m[flow + at.PLANES] > 0 and m[first + at.PACE] > 0 else 0
    total = 0
    for plane in range(count):
        if m[first + plane * at.PORT_WIDTH + at.PACE] > 0:
            total += m[flow + at.PLANES + plane]
    if total == 0:
        return 0
    balance = m[at.BALANCE]
    if balance not in (at.ECMP, at.FLOWLET, at.FARE):
        return _soonest(m, flow, first, count)
    if balance == at.FARE:
        return _in_turn(m, flow, first, count, total)
    share = (mix((flow << 22) ^ m[flow + at.MIXER] ^ m[at.SALT]) * total) >> 32
    for plane in range(count):
        if m[first + plane * at.PORT_WIDTH + at.PACE] > 0:
            share -= m[flow + at.PLANES + plane]
            if share < 0:
                return first + plane * at.PORT_WIDTH
    return 0


@inlined()
def _in_turn(m, flow, first, count, total):  # type: ignore[no-untyped-def]
    """The port whose turn it is, each as often as its share says and as evenly as can be.

    Of turns 0 .. t the first port takes floor(t * share / total); the others divide what it leaves in the same way.
    """
    turn = m[flow + at.TURN]
    for plane in range(count):
        share = m[flow + at.PLANES + plane]
        if m[first + plane * at.PORT_WIDTH + at.PACE] > 0 and share > 0:
            before = turn * share // total
            if (turn + 1) * share // total > before:
                return first + plane * at.PORT_WIDTH
            turn -= before
            total -= share
    return 0


@inlined()
def _soonest(m, flow, first, count):  # type: ignore[no-untyped-def]
    """Of an endpoint's ports that lead there the one that is free first; of those alike the next one round.

    A port that was told to pause is taken only if all are.
    """
    best, least = 0, at.NO_MORE
    for step in range(count):
        plane = (m[flow + at.TURN] + step) % count
        port = first + plane * at.PORT_WIDTH
        if m[flow + at.PLANES + plane] == 0 or m[port + at.PACE] == 0:
            continue
        wait = max(m[port + at.FREE_AT], m[at.NOW]) if m[port + at.FLAGS] & at.BLOCKED == 0 else at.NO_MORE - 1
        if wait < least:
            best, least = port, wait
    return best


@inlined()
def kick(m, r, flow):  # type: ignore[no-untyped-def]
    """Have the flow wait for its turn at a port, if it can send and does not wait yet."""
    if m[flow + at.QUEUED] != 0 or m[flow + at.STARTED] == 0 or not can_send(m, r, flow):
        return
    port = choose_plane(m, flow)
    if port != 0:
        _wait_at(m, flow, port)
        if m[port + at.FLAGS] & (at.ARMED | at.BLOCKED) == 0:
            if m[port + at.FREE_AT] <= m[at.NOW]:
                serve_endpoint(m, r, port)
            else:
                arm(m, port)


@inlined()
def _wait_at(m, flow, port):  # type: ignore[no-untyped-def]
    m[flow + at.QUEUED] = 1
    m[flow + at.RING_NEXT] = 0
    if m[port + at.LOW_HEAD] == 0:
        m[port + at.LOW_HEAD] = flow
    else:
        m[m[port + at.LOW_TAIL] + at.RING_NEXT] = flow
    m[port + at.LOW_TAIL] = flow


@inlined()
def serve_endpoint(m, r, port):  # type: ignore[no-untyped-def]
    """An endpoint's port is free: acknowledgements first, then the next flow in turn."""
    m[port + at.FLAGS] &= ~at.ARMED
    if m[port + at.HIGH_HEAD] != 0:
        transmit(m, port, take_high(m, port))
    elif m[port + at.FLAGS] & at.BLOCKED == 0:
        sent = False
        while m[port + at.LOW_HEAD] != 0 and not sent:
            flow = m[port + at.LOW_HEAD]
            m[port + at.LOW_HEAD] = m[flow + at.RING_NEXT]
            m[flow + at.QUEUED] = 0
            sent = can_send(m, r, flow) and _send(m, r, flow, port)
            if sent and can_send(m, r, flow):
                again = choose_plane(m, flow)
                if again != 0:
                    _wait_at(m, flow, again)
                    if again != port and m[again + at.FLAGS] & at.BLOCKED == 0:
                        arm(m, again)
    if has_work(m, port):
        arm(m, port)


@inlined()
def _send(m, r, flow, port):  # type: ignore[no-untyped-def]
    """Send the flow's next packet; False if there was none after all."""
    sequence, flags, notes = -1, 0, m[flow + at.FIRST]
    while m[flow + at.LOST_HEAD] != 0 and sequence < 0:
        note = notes + m[flow + at.LOST_HEAD] - 1
        if m[note] & at.KNOWN == 0:
            sequence, flags = m[flow + at.LOST_HEAD] - 1, at.AGAIN
        m[flow + at.LOST_HEAD] = (m[note] >> at.LOST_SHIFT) & at.NOTE_MASK
    if sequence < 0:
        if m[flow + at.NEXT] >= m[flow + at.PACKETS]:
            return False
        sequence = m[flow + at.NEXT]
        m[flow + at.NEXT] += 1
        if sequence < m[flow + at.RESENT]:
            flags = at.AGAIN
        m[flow + at.RESENT] = max(m[flow + at.RESENT], sequence + 1)
    size = wire_bytes(m, flow, sequence)
    packet = new_packet(m)
    m[notes + sequence] |= at.ON_ITS_WAY | (at.FRESH if flags & at.AGAIN else 0)
    m[flow + at.FLYING] += size
    m[at.SENT_BYTES] += size
    m[flow + at.UNASKED] += size
    if not _has_room(m, r, flow) or (m[flow + at.LOST_HEAD] == 0 and m[flow + at.NEXT] >= m[flow + at.PACKETS]):
        flags |= at.ASK
        m[flow + at.UNASKED] = 0
    m[packet + at.FLOW] = flow
    m[packet + at.SEQUENCE] = sequence
    m[packet + at.INFO] = at.DATA | flags | (_entropy(m, flow) << at.ENTROPY_SHIFT) | (size << at.SIZE_SHIFT)
    m[packet + at.STAMP] = m[at.NOW]
    m[flow + at.LAST_SENT] = m[at.NOW]
    transmit(m, port, packet)
    return True


@inlined()
def _entropy(m, flow):  # type: ignore[no-untyped-def]
    """The value in a packet's header that switches hash to choose a path."""
    balance = m[at.BALANCE]
    m[flow + at.TURN] += 1
    if balance == at.ECMP:
        return 0
    if balance == at.FLOWLET:
        if m[at.NOW] - m[flow + at.LAST_SENT] > m[at.FLOWLET_GAP]:
            m[flow + at.MIXER] = draw(m) & at.ENTROPY_MASK
        return m[flow + at.MIXER]
    if balance == at.ADAPTIVE:
        # REPS (Bonato et al.): what came back unmarked is used again, once, oldest first.
        if m[flow + at.SAVED] > 0:
            place = (m[flow + at.HEAD_SAVED] - m[flow + at.SAVED]) % at.SAVED_ENTROPIES
            m[flow + at.SAVED] -= 1
            return m[flow + at.ENTROPIES + place]
        return (draw(m) * m[at.PATHS]) >> 32
    return (m[flow + at.TURN] + m[flow + at.MIXER]) % m[at.PATHS]


@inlined()
def hear(m, r, packet):  # type: ignore[no-untyped-def]
    """An acknowledgement, good or bad, is back at the sender."""
    flow, info = m[packet + at.FLOW], m[packet + at.INFO]
    if m[flow + at.DONE] < 0:
        taken = _learn(m, flow, m[packet + at.EXTRA])
        if taken > 0 or info & at.KIND == at.NACK:  # a header that came through shows that packets do
            m[flow + at.PROGRESS] = m[at.NOW]
            m[flow + at.PATIENCE] = 0
        if info & at.KIND == at.NACK:
            _hear_bad(m, r, flow, m[packet + at.SEQUENCE])
        else:
            _hear_good(m, r, flow, taken, m[at.NOW] - m[packet + at.STAMP], info)
            if m[at.BALANCE] <= at.FLOWLET and m[at.RECOVERY] == at.SELECTIVE and m[at.MODE] != at.TRIM:
                notice_gaps(m, flow, m[packet + at.SEQUENCE])
        if m[flow + at.ACKED] == m[flow + at.PACKETS]:
            m[flow + at.DONE] = m[at.NOW]
            m[at.OPEN] -= 1
            if m[flow + at.FIRES] < 0:
                fire(m, -m[flow + at.FIRES])
        else:
            kick(m, r, flow)
    free_packet(m, packet)


@inlined()
def _learn(m, flow, receipts):  # type: ignore[no-untyped-def]
    """The first `receipts` packets that arrived are known to have; gives their bytes."""
    notes, taken = m[flow + at.FIRST], 0
    for place in range(m[flow + at.ACKED], receipts):
        sequence = m[notes + place] >> at.RECEIPT_SHIFT
        size = wire_bytes(m, flow, sequence)
        taken += size
        if m[notes + sequence] & at.ON_ITS_WAY:
            m[flow + at.FLYING] -= size
        m[notes + sequence] = (m[notes + sequence] | at.KNOWN) & ~at.ON_ITS_WAY
    m[flow + at.ACKED] = max(m[flow + at.ACKED], receipts)
    m[flow + at.NEXT] = max(m[flow + at.NEXT], m[flow + at.ACKED])
    return taken


@inlined()
def _hear_good(m, r, flow, taken, round_trip, info):  # type: ignore[no-untyped-def]
    marked = info & at.MARKED != 0
    if m[at.CONGESTION] != at.NO_CONGESTION_CONTROL:
        delay = on_delay(m, r, flow, round_trip, marked)
        if taken > 0:
            on_ack(m, r, flow, taken, delay, marked)
    if m[at.BALANCE] == at.ADAPTIVE and not marked:
        m[flow + at.ENTROPIES + m[flow + at.HEAD_SAVED]] = (info >> at.ENTROPY_SHIFT) & at.ENTROPY_MASK
        m[flow + at.HEAD_SAVED] = (m[flow + at.HEAD_SAVED] + 1) % at.SAVED_ENTROPIES
        m[flow + at.SAVED] = min(m[flow + at.SAVED] + 1, at.SAVED_ENTROPIES)


@inlined()
def _hear_bad(m, r, flow, sequence):  # type: ignore[no-untyped-def]
    if m[at.RECOVERY] == at.GO_BACK_N:
        go_back(m, flow, sequence)
    elif m[m[flow + at.FIRST] + sequence] & at.ON_ITS_WAY:
        declare_lost(m, flow, sequence)
        if m[at.CONGESTION] != at.NO_CONGESTION_CONTROL:
            on_trim(m, r, flow, wire_bytes(m, flow, sequence))


@inlined()
def on_timer(m, r, flow):  # type: ignore[no-untyped-def]
    """A flow starts, or has waited for an acknowledgement long enough."""
    now = m[at.NOW]
    if m[flow + at.STARTED] == 0:
        m[flow + at.STARTED] = 1
        m[flow + at.BEGAN] = now
        m[flow + at.PROGRESS] = now
        m[flow + at.LAST_SENT] = now
        kick(m, r, flow)
    if m[flow + at.DONE] >= 0:
        return
    if now - m[flow + at.PROGRESS] >= m[at.LEAST_PATIENCE] << m[flow + at.PATIENCE]:
        give_up_waiting(m, flow)
        m[flow + at.PROGRESS] = now
        m[flow + at.PATIENCE] = min(m[flow + at.PATIENCE] + 1, at.MOST_PATIENCE)
        kick(m, r, flow)
    elif (
        m[at.RECOVERY] == at.SELECTIVE
        and m[at.MODE] != at.PFC
        and now - r[m[flow + at.REALS] + at.SWEPT_AT] >= 2 * m[at.LEAST_PATIENCE]
    ):
        sweep(m, r, flow)
        kick(m, r, flow)
    schedule_far(m, flow, m[flow + at.PROGRESS] + (m[at.LEAST_PATIENCE] << m[flow + at.PATIENCE]))
