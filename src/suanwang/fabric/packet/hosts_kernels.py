"""Senders: windows, entropies, planes, retransmissions."""

from __future__ import annotations

from suanwang.compiled import inlined
from suanwang.fabric.packet.congestion_kernels import on_ack, on_delay, on_trim
from suanwang.fabric.packet.events_kernels import schedule_far
from suanwang.fabric.packet.layout import (
    ACK_BYTES,
    ACKED,
    ADAPTIVE,
    AGAIN,
    ARMED,
    ASK,
    BALANCE,
    BEGAN,
    BLOCKED,
    BYTES,
    CHECKED,
    CONGESTION,
    CUMULATIVE,
    DATA,
    DONE,
    ECMP,
    ENTROPIES,
    ENTROPY_MASK,
    ENTROPY_SHIFT,
    EXTRA,
    FARE,
    FIRST,
    FLAGS,
    FLOW,
    FLOWLET,
    FLOWLET_GAP,
    FLYING,
    FREE_AT,
    FRESH,
    GO_BACK_N,
    HEAD_SAVED,
    HEADER,
    HIGH_HEAD,
    INFO,
    KIND,
    KNOWN,
    LAST_SENT,
    LEAST_PATIENCE,
    LOST_HEAD,
    LOST_SHIFT,
    LOST_TAIL,
    LOW_HEAD,
    LOW_TAIL,
    MARKED,
    MIXER,
    MODE,
    MOST_PATIENCE,
    NACK,
    NEXT,
    NO_CONGESTION_CONTROL,
    NO_MORE,
    NOTE_MASK,
    NOW,
    ON_ITS_WAY,
    OPEN,
    PACE,
    PACKETS,
    PATHS,
    PATIENCE,
    PAYLOAD,
    PFC,
    PLANES,
    PORT_WIDTH,
    PROGRESS,
    QUEUED,
    REALS,
    RECEIPT_SHIFT,
    RECOVERY,
    RESENT,
    RING_NEXT,
    SALT,
    SAVED,
    SAVED_ENTROPIES,
    SELECTIVE,
    SENT_BYTES,
    SEQUENCE,
    SIZE_SHIFT,
    SOURCE_PORT,
    SOURCE_PORTS,
    STAMP,
    STARTED,
    SWEPT,
    SWEPT_AT,
    TIMEOUTS,
    TRIM,
    TURN,
    UNASKED,
    WINDOW,
)  # fmt: skip
from suanwang.fabric.packet.ports_kernels import arm, draw, free_packet, has_work, mix, new_packet, take_high, transmit


@inlined()
def wire_bytes(m, flow, sequence):  # type: ignore[no-untyped-def]
    """Size of a packet of a flow, header included; the last one holds the rest."""
    if sequence == m[flow + PACKETS] - 1:
        return m[flow + BYTES] - sequence * m[PAYLOAD] + m[HEADER]
    return m[PAYLOAD] + m[HEADER]


@inlined()
def can_send(m, r, flow):  # type: ignore[no-untyped-def]
    """Whether the flow has something to send, and its window room for it; one packet may always be on its way.

    When the window shrank under what is on its way and none of that asks for an answer, one more may go, to ask.
    """
    if m[flow + LOST_HEAD] == 0 and m[flow + NEXT] >= m[flow + PACKETS]:
        return False
    flying = m[flow + FLYING]
    return _has_room(m, r, flow) or (flying <= m[flow + UNASKED] and flying < m[ACK_BYTES])


@inlined()
def _has_room(m, r, flow):  # type: ignore[no-untyped-def]
    flying = m[flow + FLYING]
    return flying == 0 or flying + m[PAYLOAD] + m[HEADER] <= r[m[flow + REALS] + WINDOW]


@inlined()
def choose_plane(m, flow):  # type: ignore[no-untyped-def]
    """The port by which the flow's next packet leaves its endpoint; 0 if none leads anywhere."""
    count, first = m[flow + SOURCE_PORTS], m[flow + SOURCE_PORT]
    if count == 1:
        return first if m[flow + PLANES] > 0 and m[first + PACE] > 0 else 0
    total = 0
    for plane in range(count):
        if m[first + plane * PORT_WIDTH + PACE] > 0:
            total += m[flow + PLANES + plane]
    if total == 0:
        return 0
    balance = m[BALANCE]
    if balance not in (ECMP, FLOWLET, FARE):
        return _soonest(m, flow, first, count)
    if balance == FARE:
        return _in_turn(m, flow, first, count, total)
    share = (mix((flow << 22) ^ m[flow + MIXER] ^ m[SALT]) * total) >> 32
    for plane in range(count):
        if m[first + plane * PORT_WIDTH + PACE] > 0:
            share -= m[flow + PLANES + plane]
            if share < 0:
                return first + plane * PORT_WIDTH
    return 0


@inlined()
def _in_turn(m, flow, first, count, total):  # type: ignore[no-untyped-def]
    """The port whose turn it is, each as often as its share says and as evenly as can be.

    Of turns 0 .. t the first port takes floor(t * share / total); the others divide what it leaves in the same way.
    """
    turn = m[flow + TURN]
    for plane in range(count):
        share = m[flow + PLANES + plane]
        if m[first + plane * PORT_WIDTH + PACE] > 0 and share > 0:
            before = turn * share // total
            if (turn + 1) * share // total > before:
                return first + plane * PORT_WIDTH
            turn -= before
            total -= share
    return 0


@inlined()
def _soonest(m, flow, first, count):  # type: ignore[no-untyped-def]
    """Of an endpoint's ports that lead there the one that is free first; of those alike the next one round.

    A port that was told to pause is taken only if all are.
    """
    best, least = 0, NO_MORE
    for step in range(count):
        plane = (m[flow + TURN] + step) % count
        port = first + plane * PORT_WIDTH
        if m[flow + PLANES + plane] == 0 or m[port + PACE] == 0:
            continue
        wait = max(m[port + FREE_AT], m[NOW]) if m[port + FLAGS] & BLOCKED == 0 else NO_MORE - 1
        if wait < least:
            best, least = port, wait
    return best


@inlined()
def kick(m, r, flow):  # type: ignore[no-untyped-def]
    """Have the flow wait for its turn at a port, if it can send and does not wait yet."""
    if m[flow + QUEUED] != 0 or m[flow + STARTED] == 0 or not can_send(m, r, flow):
        return
    port = choose_plane(m, flow)
    if port != 0:
        _wait_at(m, flow, port)
        if m[port + FLAGS] & (ARMED | BLOCKED) == 0:
            if m[port + FREE_AT] <= m[NOW]:
                serve_endpoint(m, r, port)
            else:
                arm(m, port)


@inlined()
def _wait_at(m, flow, port):  # type: ignore[no-untyped-def]
    m[flow + QUEUED] = 1
    m[flow + RING_NEXT] = 0
    if m[port + LOW_HEAD] == 0:
        m[port + LOW_HEAD] = flow
    else:
        m[m[port + LOW_TAIL] + RING_NEXT] = flow
    m[port + LOW_TAIL] = flow


@inlined()
def serve_endpoint(m, r, port):  # type: ignore[no-untyped-def]
    """An endpoint's port is free: acknowledgements first, then the next flow in turn."""
    m[port + FLAGS] &= ~ARMED
    if m[port + HIGH_HEAD] != 0:
        transmit(m, port, take_high(m, port))
    elif m[port + FLAGS] & BLOCKED == 0:
        sent = False
        while m[port + LOW_HEAD] != 0 and not sent:
            flow = m[port + LOW_HEAD]
            m[port + LOW_HEAD] = m[flow + RING_NEXT]
            m[flow + QUEUED] = 0
            sent = can_send(m, r, flow) and _send(m, r, flow, port)
            if sent and can_send(m, r, flow):
                again = choose_plane(m, flow)
                if again != 0:
                    _wait_at(m, flow, again)
                    if again != port and m[again + FLAGS] & BLOCKED == 0:
                        arm(m, again)
    if has_work(m, port):
        arm(m, port)


@inlined()
def _send(m, r, flow, port):  # type: ignore[no-untyped-def]
    """Send the flow's next packet; False if there was none after all."""
    sequence, flags, notes = -1, 0, m[flow + FIRST]
    while m[flow + LOST_HEAD] != 0 and sequence < 0:
        note = notes + m[flow + LOST_HEAD] - 1
        if m[note] & KNOWN == 0:
            sequence, flags = m[flow + LOST_HEAD] - 1, AGAIN
        m[flow + LOST_HEAD] = (m[note] >> LOST_SHIFT) & NOTE_MASK
    if sequence < 0:
        if m[flow + NEXT] >= m[flow + PACKETS]:
            return False
        sequence = m[flow + NEXT]
        m[flow + NEXT] += 1
        if sequence < m[flow + RESENT]:
            flags = AGAIN
        m[flow + RESENT] = max(m[flow + RESENT], sequence + 1)
    size = wire_bytes(m, flow, sequence)
    packet = new_packet(m)
    m[notes + sequence] |= ON_ITS_WAY | (FRESH if flags & AGAIN else 0)
    m[flow + FLYING] += size
    m[SENT_BYTES] += size
    m[flow + UNASKED] += size
    if not _has_room(m, r, flow) or (m[flow + LOST_HEAD] == 0 and m[flow + NEXT] >= m[flow + PACKETS]):
        flags |= ASK
        m[flow + UNASKED] = 0
    m[packet + FLOW] = flow
    m[packet + SEQUENCE] = sequence
    m[packet + INFO] = DATA | flags | (_entropy(m, flow) << ENTROPY_SHIFT) | (size << SIZE_SHIFT)
    m[packet + STAMP] = m[NOW]
    m[flow + LAST_SENT] = m[NOW]
    transmit(m, port, packet)
    return True


@inlined()
def _entropy(m, flow):  # type: ignore[no-untyped-def]
    """The value in a packet's header that switches hash to choose a path."""
    balance = m[BALANCE]
    m[flow + TURN] += 1
    if balance == ECMP:
        return 0
    if balance == FLOWLET:
        if m[NOW] - m[flow + LAST_SENT] > m[FLOWLET_GAP]:
            m[flow + MIXER] = draw(m) & ENTROPY_MASK
        return m[flow + MIXER]
    if balance == ADAPTIVE:
        # REPS (Bonato et al.): what came back unmarked is used again, once, oldest first.
        if m[flow + SAVED] > 0:
            place = (m[flow + HEAD_SAVED] - m[flow + SAVED]) % SAVED_ENTROPIES
            m[flow + SAVED] -= 1
            return m[flow + ENTROPIES + place]
        return (draw(m) * m[PATHS]) >> 32
    return (m[flow + TURN] + m[flow + MIXER]) % m[PATHS]


@inlined()
def hear(m, r, packet):  # type: ignore[no-untyped-def]
    """An acknowledgement, good or bad, is back at the sender."""
    flow, info = m[packet + FLOW], m[packet + INFO]
    if m[flow + DONE] < 0:
        taken = _learn(m, flow, m[packet + EXTRA])
        if taken > 0 or info & KIND == NACK:  # a header that came through shows that packets do
            m[flow + PROGRESS] = m[NOW]
            m[flow + PATIENCE] = 0
        if info & KIND == NACK:
            _hear_bad(m, r, flow, m[packet + SEQUENCE])
        else:
            _hear_good(m, r, flow, taken, m[NOW] - m[packet + STAMP], info)
            if m[BALANCE] <= FLOWLET and m[RECOVERY] == SELECTIVE and m[MODE] != TRIM:
                _notice_gaps(m, flow, m[packet + SEQUENCE])
        if m[flow + ACKED] == m[flow + PACKETS]:
            m[flow + DONE] = m[NOW]
            m[OPEN] -= 1
        else:
            kick(m, r, flow)
    free_packet(m, packet)


@inlined()
def _learn(m, flow, receipts):  # type: ignore[no-untyped-def]
    """The first `receipts` packets that arrived are known to have; gives their bytes."""
    notes, taken = m[flow + FIRST], 0
    for place in range(m[flow + ACKED], receipts):
        sequence = m[notes + place] >> RECEIPT_SHIFT
        size = wire_bytes(m, flow, sequence)
        taken += size
        if m[notes + sequence] & ON_ITS_WAY:
            m[flow + FLYING] -= size
        m[notes + sequence] = (m[notes + sequence] | KNOWN) & ~ON_ITS_WAY
    m[flow + ACKED] = max(m[flow + ACKED], receipts)
    m[flow + NEXT] = max(m[flow + NEXT], m[flow + ACKED])
    return taken


@inlined()
def _hear_good(m, r, flow, taken, round_trip, info):  # type: ignore[no-untyped-def]
    marked = info & MARKED != 0
    if m[CONGESTION] != NO_CONGESTION_CONTROL:
        delay = on_delay(m, r, flow, round_trip, marked)
        if taken > 0 or info & KIND == NACK:  # a header that came through shows that packets do
            on_ack(m, r, flow, taken, delay, marked)
    if m[BALANCE] == ADAPTIVE and not marked:
        m[flow + ENTROPIES + m[flow + HEAD_SAVED]] = (info >> ENTROPY_SHIFT) & ENTROPY_MASK
        m[flow + HEAD_SAVED] = (m[flow + HEAD_SAVED] + 1) % SAVED_ENTROPIES
        m[flow + SAVED] = min(m[flow + SAVED] + 1, SAVED_ENTROPIES)


@inlined()
def _hear_bad(m, r, flow, sequence):  # type: ignore[no-untyped-def]
    if m[RECOVERY] == GO_BACK_N:
        _go_back(m, flow, sequence)
    elif m[m[flow + FIRST] + sequence] & ON_ITS_WAY:
        _declare_lost(m, flow, sequence)
        if m[CONGESTION] != NO_CONGESTION_CONTROL:
            on_trim(m, r, flow, wire_bytes(m, flow, sequence))


@inlined()
def _declare_lost(m, flow, sequence):  # type: ignore[no-untyped-def]
    """A packet on its way is given up; it will be sent again before anything new."""
    note = m[flow + FIRST] + sequence
    m[flow + FLYING] -= wire_bytes(m, flow, sequence)
    m[note] &= ~(ON_ITS_WAY | FRESH | (NOTE_MASK << LOST_SHIFT))
    if m[flow + LOST_HEAD] == 0:
        m[flow + LOST_HEAD] = sequence + 1
    else:
        m[m[flow + FIRST] + m[flow + LOST_TAIL] - 1] |= (sequence + 1) << LOST_SHIFT
    m[flow + LOST_TAIL] = sequence + 1


@inlined()
def _notice_gaps(m, flow, sequence):  # type: ignore[no-untyped-def]
    """Where packets keep their order, those sent before one that arrived have arrived too, or are lost.

    A sprayed packet may still come, and one that was trimmed is told of: there, only timers find what was lost.
    """
    for earlier in range(m[flow + CHECKED], sequence):
        if m[m[flow + FIRST] + earlier] & ON_ITS_WAY:
            _declare_lost(m, flow, earlier)
    m[flow + CHECKED] = max(m[flow + CHECKED], sequence + 1)


@inlined()
def _go_back(m, flow, sequence):  # type: ignore[no-untyped-def]
    if sequence < m[flow + ACKED]:
        return  # what it complains of has come since
    for other in range(sequence, m[flow + NEXT]):
        m[m[flow + FIRST] + other] &= ~ON_ITS_WAY
    m[flow + FLYING] = 0
    m[flow + NEXT] = sequence


@inlined()
def on_timer(m, r, flow):  # type: ignore[no-untyped-def]
    """A flow starts, or has waited for an acknowledgement long enough."""
    now = m[NOW]
    if m[flow + STARTED] == 0:
        m[flow + STARTED] = 1
        m[flow + BEGAN] = now
        m[flow + PROGRESS] = now
        m[flow + LAST_SENT] = now
        kick(m, r, flow)
    if m[flow + DONE] >= 0:
        return
    if now - m[flow + PROGRESS] >= m[LEAST_PATIENCE] << m[flow + PATIENCE]:
        _give_up_waiting(m, flow)
        m[flow + PROGRESS] = now
        m[flow + PATIENCE] = min(m[flow + PATIENCE] + 1, MOST_PATIENCE)
        kick(m, r, flow)
    elif m[RECOVERY] == SELECTIVE and m[MODE] != PFC and now - r[m[flow + REALS] + SWEPT_AT] >= 2 * m[LEAST_PATIENCE]:
        _sweep(m, r, flow)
        kick(m, r, flow)
    schedule_far(m, flow, m[flow + PROGRESS] + (m[LEAST_PATIENCE] << m[flow + PATIENCE]))


@inlined()
def _give_up_waiting(m, flow):  # type: ignore[no-untyped-def]
    notes = m[flow + FIRST]
    m[TIMEOUTS] += 1
    if m[RECOVERY] == GO_BACK_N:
        _go_back(m, flow, m[flow + ACKED])
        return
    _skip_known(m, flow)
    for sequence in range(m[flow + CUMULATIVE], m[flow + NEXT]):
        if m[notes + sequence] & ON_ITS_WAY:
            _declare_lost(m, flow, sequence)
    m[flow + SAVED] = 0


@inlined()
def _sweep(m, r, flow):  # type: ignore[no-untyped-def]
    """Give up what was sent before the last sweep and still is on its way, while other packets get through.

    Without it, packets lost on one of many paths would fill the window until nothing else moves.
    """
    notes, own = m[flow + FIRST], m[flow + REALS]
    _skip_known(m, flow)
    for sequence in range(m[flow + CUMULATIVE], int(r[own + SWEPT])):
        if m[notes + sequence] & FRESH:
            m[notes + sequence] &= ~FRESH
        elif m[notes + sequence] & ON_ITS_WAY:
            _declare_lost(m, flow, sequence)
    r[own + SWEPT] = m[flow + NEXT]
    r[own + SWEPT_AT] = m[NOW]


@inlined()
def _skip_known(m, flow):  # type: ignore[no-untyped-def]
    while m[flow + CUMULATIVE] < m[flow + NEXT] and m[m[flow + FIRST] + m[flow + CUMULATIVE]] & KNOWN:
        m[flow + CUMULATIVE] += 1
