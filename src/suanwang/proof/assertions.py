"""Assertions: what somebody expects of one packet, held against every way that it may take."""

from __future__ import annotations

from suanwang.program.objects import Probe
from suanwang.proof import codes
from suanwang.proof.finding import Finding
from suanwang.proof.forwarding import Surroundings
from suanwang.proof.packet import probe_packet
from suanwang.proof.walk import Trace, round_trips


def judge(world: Surroundings, probe: Probe) -> Finding | None:
    """What is wrong with an assertion, or None when it holds: `allowed` on all ways, `denied` on none."""
    packet = probe_packet(probe.protocol, probe.source, probe.destination, probe.port)
    for there, back in round_trips(world, probe.netns, packet):
        message = _denied(probe, there) if probe.expect == "denied" else _allowed(probe, there, back)
        if message:
            steps = (*there.steps, *back.steps) if back is not None and probe.expect == "allowed" else there.steps
            return Finding(codes.ASSERTION_FAILS, probe.assertion, f"{packet} {message}", packet, steps)
    return None


def _arrived(probe: Probe, there: Trace) -> bool:
    return _at_router(probe, there) or (there.delivered and (not probe.answerer or there.port == probe.answerer))


def _at_router(probe: Probe, there: Trace) -> bool:
    return there.code == codes.DELIVERED_TO_ROUTER and not probe.answerer


def _denied(probe: Probe, there: Trace) -> str:
    if there.code == codes.TOO_MANY_WAYS:
        return f"may arrive: {codes.REASONS[there.code]}"
    return f"is let through to {there.port or 'the router'}" if _arrived(probe, there) else ""


def _allowed(probe: Probe, there: Trace, back: Trace | None) -> str:
    if not (there.delivered or _at_router(probe, there)):
        return f"does not arrive: {codes.REASONS.get(there.code, there.code)}"
    if not _arrived(probe, there):
        return f"arrives at {there.port} instead of {probe.answerer}"
    if back is None or (back.delivered and f"port/{back.port}" == probe.netns):
        return ""
    return f"arrives, its answer does not come back: {codes.REASONS.get(back.code, back.code)}"
