"""A sender's congestion control: NSCC, the network signal of Ultra Ethernet's specification 1.0 (section 3.6.13).

Two signals tell four cases apart: whether the packet came marked, and whether its delay is above a target. No mark and
little delay: grow in proportion to what is left to the target, and fast where there is no delay at all. No mark but
delay: grow a little, the queue is going down. Mark and delay: shrink, once a round trip. Mark but little delay: a queue
begins, other paths may do. When trimmed packets show that the network is far too full, the window becomes what got
through in the last round trip ("quick adapt").
"""

from __future__ import annotations

from suanwang.compiled import inlined
from suanwang.fabric.packet import layout as at

REFERENCE_RTT_PS = 12_000_000.0
"""The round trip for which the specification states its constants."""
NO_DELAY_PS = 1_000_000
PROPORTIONAL, FAIR, STEADY, FAST = 4.0, 5.0, 0.15, 0.25
AVERAGING = 0.0125
SHARPEST = 0.8
QUICK_SHARE = 8.0
"""Quick adapt acts when less than a window over this got through."""


@inlined()
def on_delay(m, r, flow, round_trip, marked):  # type: ignore[no-untyped-def]
    """Note a measured round trip; gives the delay above the shortest one."""
    own = m[flow + at.REALS]
    if round_trip < r[own + at.BASE]:
        # The window's limit follows the bandwidth-delay product of this path.
        r[own + at.MOST_WINDOW] *= round_trip / r[own + at.BASE]
        r[own + at.BASE] = round_trip
    delay = round_trip - r[own + at.BASE]
    sample = delay
    if not marked and delay > m[at.TARGET_DELAY]:
        sample = 0.25 * r[own + at.BASE]
    r[own + at.AVERAGE] += AVERAGING * (sample - r[own + at.AVERAGE])
    return delay


@inlined()
def on_ack(m, r, flow, taken, delay, marked):  # type: ignore[no-untyped-def]
    """`taken` bytes arrived, the last of them with `delay` and perhaps marked."""
    own = m[flow + at.REALS]
    now = m[at.NOW]
    m[flow + at.ACHIEVED] += taken
    m[flow + at.SINCE_ADJUST] += taken
    m[flow + at.IGNORED] += taken
    if _quick(m, r, flow, False, marked, delay):
        return
    target = m[at.TARGET_DELAY]
    scale = r[own + at.SCALE]
    payload = m[at.PAYLOAD]
    if marked:
        if delay >= target:
            _shrink(m, r, flow)
    elif delay >= target:
        r[own + at.INCREASE] += FAIR * payload * scale * taken
    else:
        _grow(m, r, flow, taken, delay, scale)
    _bound(m, r, flow)
    every = 8 * (payload + m[at.HEADER])
    if m[flow + at.SINCE_ADJUST] > every or now - m[flow + at.LAST_ADJUST] > m[at.NETWORK_RTT]:
        r[own + at.WINDOW] += r[own + at.INCREASE] / r[own + at.WINDOW]
        if now - m[flow + at.LAST_ADJUST] >= m[at.NETWORK_RTT]:
            r[own + at.WINDOW] += STEADY * payload * scale
            m[flow + at.LAST_ADJUST] = now
        r[own + at.INCREASE] = 0.0
        m[flow + at.SINCE_ADJUST] = 0
        _bound(m, r, flow)


@inlined()
def on_trim(m, r, flow, lost):  # type: ignore[no-untyped-def]
    """`lost` bytes were trimmed."""
    own = m[flow + at.REALS]
    m[flow + at.IGNORED] += lost
    r[own + at.AVERAGE] += AVERAGING * (m[at.NETWORK_RTT] - r[own + at.AVERAGE])
    m[flow + at.TRIGGERED] = 1
    if not _quick(m, r, flow, True, True, 0.0):
        r[own + at.WINDOW] -= lost
        _bound(m, r, flow)


@inlined()
def _quick(m, r, flow, lost, marked, delay):  # type: ignore[no-untyped-def]
    own = m[flow + at.REALS]
    now = m[at.NOW]
    acted = False
    if m[flow + at.IGNORED] < m[flow + at.TO_IGNORE] and marked:
        acted = True
    elif now > m[flow + at.QUICK_END]:
        much = m[flow + at.TRIGGERED] != 0 or lost or delay > 4 * m[at.TARGET_DELAY]
        if m[flow + at.QUICK_END] != 0 and much and m[flow + at.ACHIEVED] < r[own + at.MOST_WINDOW] / QUICK_SHARE:
            r[own + at.WINDOW] = max(m[flow + at.ACHIEVED], m[at.PAYLOAD] + m[at.HEADER])
            m[flow + at.TO_IGNORE] = m[flow + at.FLYING]
            m[flow + at.IGNORED] = 0
            m[flow + at.TRIGGERED] = 0
            acted = True
        m[flow + at.ACHIEVED] = 0
        m[flow + at.QUICK_END] = now + int(r[own + at.BASE]) + m[at.TARGET_DELAY]
    if acted:
        r[own + at.INCREASE] = 0.0
        m[flow + at.SINCE_ADJUST] = 0
    return acted


@inlined()
def _grow(m, r, flow, taken, delay, scale):  # type: ignore[no-untyped-def]
    own = m[flow + at.REALS]
    if delay < NO_DELAY_PS:
        m[flow + at.CALM] += taken
        if m[flow + at.CALM] > r[own + at.WINDOW] or m[flow + at.RISING] != 0:
            r[own + at.WINDOW] += taken * FAST * scale
            m[flow + at.RISING] = 1
            return
    else:
        m[flow + at.CALM] = 0
    m[flow + at.RISING] = 0
    share = (m[at.TARGET_DELAY] - delay) / REFERENCE_RTT_PS
    r[own + at.INCREASE] += PROPORTIONAL * m[at.PAYLOAD] * scale * share * taken


@inlined()
def _shrink(m, r, flow):  # type: ignore[no-untyped-def]
    own = m[flow + at.REALS]
    now = m[at.NOW]
    m[flow + at.RISING] = 0
    m[flow + at.CALM] = 0
    average, target = r[own + at.AVERAGE], m[at.TARGET_DELAY]
    if average > target and now - m[flow + at.LAST_DECREASE] > r[own + at.BASE]:
        r[own + at.WINDOW] *= max(1.0 - SHARPEST * (average - target) / average, 0.5)
        m[flow + at.LAST_DECREASE] = now


@inlined()
def _bound(m, r, flow):  # type: ignore[no-untyped-def]
    own = m[flow + at.REALS]
    least = m[at.PAYLOAD] + m[at.HEADER]
    r[own + at.WINDOW] = min(max(r[own + at.WINDOW], least), r[own + at.MOST_WINDOW])
