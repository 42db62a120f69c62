"""What a sender takes for lost, and when: it will be sent again before anything new."""

from __future__ import annotations

from suanwang.compiled import inlined
from suanwang.fabric.packet import layout as at


@inlined()
def wire_bytes(m, flow, sequence):  # type: ignore[no-untyped-def]
    """Size of a packet of a flow, header included; the last one holds the rest."""
    if sequence == m[flow + at.PACKETS] - 1:
        return m[flow + at.BYTES] - sequence * m[at.PAYLOAD] + m[at.HEADER]
    return m[at.PAYLOAD] + m[at.HEADER]


@inlined()
def declare_lost(m, flow, sequence):  # type: ignore[no-untyped-def]
    """A packet on its way is given up; it will be sent again before anything new."""
    note = m[flow + at.FIRST] + sequence
    m[flow + at.FLYING] -= wire_bytes(m, flow, sequence)
    m[note] &= ~(at.ON_ITS_WAY | at.FRESH | (at.NOTE_MASK << at.LOST_SHIFT))
    if m[flow + at.LOST_HEAD] == 0:
        m[flow + at.LOST_HEAD] = sequence + 1
    else:
        m[m[flow + at.FIRST] + m[flow + at.LOST_TAIL] - 1] |= (sequence + 1) << at.LOST_SHIFT
    m[flow + at.LOST_TAIL] = sequence + 1


@inlined()
def notice_gaps(m, flow, sequence):  # type: ignore[no-untyped-def]
    """Where packets keep their order, those sent before one that arrived have arrived too, or are lost.

    A sprayed packet may still come, and one that was trimmed is told of: there, only timers find what was lost.
    """
    for earlier in range(m[flow + at.CHECKED], sequence):
        if m[m[flow + at.FIRST] + earlier] & at.ON_ITS_WAY:
            declare_lost(m, flow, earlier)
    m[flow + at.CHECKED] = max(m[flow + at.CHECKED], sequence + 1)


@inlined()
def go_back(m, flow, sequence):  # type: ignore[no-untyped-def]
    """Send everything from `sequence` on again."""
    if sequence < m[flow + at.ACKED]:
        return  # what it complains of has come since
    for other in range(sequence, m[flow + at.NEXT]):
        m[m[flow + at.FIRST] + other] &= ~at.ON_ITS_WAY
    m[flow + at.FLYING] = 0
    m[flow + at.NEXT] = sequence


@inlined()
def give_up_waiting(m, flow):  # type: ignore[no-untyped-def]
    """No acknowledgement for too long: all that is on its way counts as lost."""
    notes = m[flow + at.FIRST]
    m[at.TIMEOUTS] += 1
    if m[at.RECOVERY] == at.GO_BACK_N:
        go_back(m, flow, m[flow + at.ACKED])
        return
    _skip_known(m, flow)
    for sequence in range(m[flow + at.CUMULATIVE], m[flow + at.NEXT]):
        if m[notes + sequence] & at.ON_ITS_WAY:
            declare_lost(m, flow, sequence)
    m[flow + at.SAVED] = 0


@inlined()
def sweep(m, r, flow):  # type: ignore[no-untyped-def]
    """Give up what was sent before the last sweep and still is on its way, while other packets get through.

    Without it, packets lost on one of many paths would fill the window until nothing else moves.
    """
    notes, own = m[flow + at.FIRST], m[flow + at.REALS]
    _skip_known(m, flow)
    for sequence in range(m[flow + at.CUMULATIVE], int(r[own + at.SWEPT])):
        if m[notes + sequence] & at.FRESH:
            m[notes + sequence] &= ~at.FRESH
        elif m[notes + sequence] & at.ON_ITS_WAY:
            declare_lost(m, flow, sequence)
    r[own + at.SWEPT] = m[flow + at.NEXT]
    r[own + at.SWEPT_AT] = m[at.NOW]


@inlined()
def _skip_known(m, flow):  # type: ignore[no-untyped-def]
    while m[flow + at.CUMULATIVE] < m[flow + at.NEXT] and m[m[flow + at.FIRST] + m[flow + at.CUMULATIVE]] & at.KNOWN:
        m[flow + at.CUMULATIVE] += 1
