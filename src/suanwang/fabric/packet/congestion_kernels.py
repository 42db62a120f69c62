"""A sender's congestion control: NSCC, the network signal of Ultra Ethernet's specification 1.0 (section 3.6.13).

Two signals tell four cases apart: whether the packet came marked, and whether its delay is above a target. No mark and
little delay: grow in proportion to what is left to the target, and fast where there is no delay at all. No mark but
delay: grow a little, the queue is going down. Mark and delay: shrink, once a round trip. Mark but little delay: a queue
begins, other paths may do. When trimmed packets show that the network is far too full, the window becomes what got
through in the last round trip ("quick adapt").
"""

from __future__ import annotations

from suanwang.compiled import inlined
from suanwang.fabric.packet.layout import (
    ACHIEVED,
    AVERAGE,
    BASE,
    CALM,
    FLYING,
    HEADER,
    IGNORED,
    INCREASE,
    LAST_ADJUST,
    LAST_DECREASE,
    MOST_WINDOW,
    NETWORK_RTT,
    NOW,
    PAYLOAD,
    QUICK_END,
    REALS,
    RISING,
    SCALE,
    SINCE_ADJUST,
    TARGET_DELAY,
    TO_IGNORE,
    TRIGGERED,
    WINDOW,
)  # fmt: skip

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
    own = m[flow + REALS]
    if round_trip < r[own + BASE]:
        # The window's limit follows the bandwidth-delay product of this path.
        r[own + MOST_WINDOW] *= round_trip / r[own + BASE]
        r[own + BASE] = round_trip
    delay = round_trip - r[own + BASE]
    sample = delay
    if not marked and delay > m[TARGET_DELAY]:
        sample = 0.25 * r[own + BASE]
    r[own + AVERAGE] += AVERAGING * (sample - r[own + AVERAGE])
    return delay


@inlined()
def on_ack(m, r, flow, taken, delay, marked):  # type: ignore[no-untyped-def]
    """`taken` bytes arrived, the last of them with `delay` and perhaps marked."""
    own = m[flow + REALS]
    now = m[NOW]
    m[flow + ACHIEVED] += taken
    m[flow + SINCE_ADJUST] += taken
    m[flow + IGNORED] += taken
    if _quick(m, r, flow, False, marked, delay):
        return
    target = m[TARGET_DELAY]
    scale = r[own + SCALE]
    payload = m[PAYLOAD]
    if marked:
        if delay >= target:
            _shrink(m, r, flow)
    elif delay >= target:
        r[own + INCREASE] += FAIR * payload * scale * taken
    else:
        _grow(m, r, flow, taken, delay, scale)
    _bound(m, r, flow)
    every = 8 * (payload + m[HEADER])
    if m[flow + SINCE_ADJUST] > every or now - m[flow + LAST_ADJUST] > m[NETWORK_RTT]:
        r[own + WINDOW] += r[own + INCREASE] / r[own + WINDOW]
        if now - m[flow + LAST_ADJUST] >= m[NETWORK_RTT]:
            r[own + WINDOW] += STEADY * payload * scale
            m[flow + LAST_ADJUST] = now
        r[own + INCREASE] = 0.0
        m[flow + SINCE_ADJUST] = 0
        _bound(m, r, flow)


@inlined()
def on_trim(m, r, flow, lost):  # type: ignore[no-untyped-def]
    """`lost` bytes were trimmed."""
    own = m[flow + REALS]
    m[flow + IGNORED] += lost
    r[own + AVERAGE] += AVERAGING * (m[NETWORK_RTT] - r[own + AVERAGE])
    m[flow + TRIGGERED] = 1
    if not _quick(m, r, flow, True, True, 0.0):
        r[own + WINDOW] -= lost
        _bound(m, r, flow)


@inlined()
def _quick(m, r, flow, lost, marked, delay):  # type: ignore[no-untyped-def]
    own = m[flow + REALS]
    now = m[NOW]
    acted = False
    if m[flow + IGNORED] < m[flow + TO_IGNORE] and marked:
        acted = True
    elif now > m[flow + QUICK_END]:
        much = m[flow + TRIGGERED] != 0 or lost or delay > 4 * m[TARGET_DELAY]
        if m[flow + QUICK_END] != 0 and much and m[flow + ACHIEVED] < r[own + MOST_WINDOW] / QUICK_SHARE:
            r[own + WINDOW] = max(m[flow + ACHIEVED], m[PAYLOAD] + m[HEADER])
            m[flow + TO_IGNORE] = m[flow + FLYING]
            m[flow + IGNORED] = 0
            m[flow + TRIGGERED] = 0
            acted = True
        m[flow + ACHIEVED] = 0
        m[flow + QUICK_END] = now + int(r[own + BASE]) + m[TARGET_DELAY]
    if acted:
        r[own + INCREASE] = 0.0
        m[flow + SINCE_ADJUST] = 0
    return acted


@inlined()
def _grow(m, r, flow, taken, delay, scale):  # type: ignore[no-untyped-def]
    own = m[flow + REALS]
    if delay < NO_DELAY_PS:
        m[flow + CALM] += taken
        if m[flow + CALM] > r[own + WINDOW] or m[flow + RISING] != 0:
            r[own + WINDOW] += taken * FAST * scale
            m[flow + RISING] = 1
            return
    else:
        m[flow + CALM] = 0
    m[flow + RISING] = 0
    share = (m[TARGET_DELAY] - delay) / REFERENCE_RTT_PS
    r[own + INCREASE] += PROPORTIONAL * m[PAYLOAD] * scale * share * taken


@inlined()
def _shrink(m, r, flow):  # type: ignore[no-untyped-def]
    own = m[flow + REALS]
    now = m[NOW]
    m[flow + RISING] = 0
    m[flow + CALM] = 0
    average, target = r[own + AVERAGE], m[TARGET_DELAY]
    if average > target and now - m[flow + LAST_DECREASE] > r[own + BASE]:
        r[own + WINDOW] *= max(1.0 - SHARPEST * (average - target) / average, 0.5)
        m[flow + LAST_DECREASE] = now


@inlined()
def _bound(m, r, flow):  # type: ignore[no-untyped-def]
    own = m[flow + REALS]
    least = m[PAYLOAD] + m[HEADER]
    r[own + WINDOW] = min(max(r[own + WINDOW], least), r[own + MOST_WINDOW])
