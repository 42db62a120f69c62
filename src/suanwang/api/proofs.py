"""Handlers that say what programs let packets do: proof of everything, and the way of one packet."""

from __future__ import annotations

import asyncio

from suanwang.api.authorization import redacted, require_sight, require_tenant
from suanwang.api.call import Call
from suanwang.api.messages import Found, ProofAnswer, TraceAnswer, TracedWay, TraceRequest, TraceStep
from suanwang.controller.plan import breakage
from suanwang.model.addresses import read_address
from suanwang.model.errors import INVALID, SuanwangError
from suanwang.model.reference import Key
from suanwang.proof.walk import Trace

PORT = "Port"
"""The kind that sends and receives."""


async def prove(call: Call) -> ProofAnswer:
    """Every assertion and tenant isolation, proven on the programs that run."""
    tenant = call.text("tenant")
    require_tenant(call.who, tenant)
    verdict = await asyncio.to_thread(call.services.controller.prove)
    found = [breakage(one) for one in verdict.findings]
    who = call.who
    seen = [one for one in found if who.everywhere or any(f"{name}/" in one.subject for name in who.tenants)]
    if tenant:
        seen = [one for one in seen if f"{tenant}/" in one.subject]
    findings = [
        Found(one.code, redacted(who, one.subject), redacted(who, one.message), one.packet, list(one.steps))
        for one in seen
    ]
    return ProofAnswer(not findings, findings, verdict.assertions, verdict.components)


async def trace(call: Call) -> TraceAnswer:
    """The way of a packet, hop by hop, and of its answer."""
    body: TraceRequest = call.body
    source = Key(PORT, body.tenant, body.port_name)
    require_sight(call.who, source)
    destination: Key | str
    if body.to_name:
        destination = Key(PORT, body.to_tenant or body.tenant, body.to_name)
        require_sight(call.who, destination)
    else:
        try:
            destination = read_address(body.address)
        except ValueError as problem:
            raise SuanwangError(INVALID, str(problem), "name a port or an address to go to") from None
    if body.protocol != "icmp" and not body.port:
        raise SuanwangError(INVALID, f"{body.protocol} needs a destination port", "give one, 443, say")
    controller = call.services.controller
    there, back = await asyncio.to_thread(controller.trace, source, destination, body.protocol, body.port, body.version)
    return TraceAnswer(_way(call, there), _way(call, back) if back is not None else None)


def _way(call: Call, found: Trace) -> TracedWay:
    steps = [
        TraceStep(step.node, step.netns, redacted(call.who, step.what), step.code, step.detail) for step in found.steps
    ]
    return TracedWay(str(found.packet), found.code, found.delivered, found.port, steps)
