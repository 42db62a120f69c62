"""Handlers about the running network: nodes, their programs, probes, and agents' streams."""

from __future__ import annotations

import asyncio
import ssl

from aiohttp import web

from suanwang.api.authorization import UNAUTHENTICATED, require_sight, require_tenant
from suanwang.api.call import Call, raw_json
from suanwang.api.changes import object_problems
from suanwang.api.messages import Nodes, NodeState, ProbeAnswer, ProbedAssertion, ProbeRequest
from suanwang.api.resources import time_text
from suanwang.controller.authority import REVOKED
from suanwang.controller.conditions import NODE
from suanwang.controller.node_states import NodeState as State
from suanwang.controller.probing import Probed, probe
from suanwang.measure.metrics import CONTROLLER_PROBES
from suanwang.model.errors import NOT_FOUND, SuanwangError
from suanwang.model.reference import Key
from suanwang.model.resource import encode
from suanwang.program.text import lines

ASSERTION = "Assertion"
"""The kind that probes try."""

MOST_PROBED = 10_000


async def nodes(call: Call) -> Nodes:
    """Every node and what its agent last said."""
    services = call.services

    def read() -> Nodes:
        names = sorted({entry.key.name for entry in services.store.list(NODE)} | services.controller.nodes())
        return Nodes([_node(call, services.states.get(name), services.controller.hash(name)) for name in names])

    return await asyncio.to_thread(read)


def _node(call: Call, state: State, program_hash: str) -> NodeState:
    problems = state.problems if state.refusal is None else (("", *state.refusal), *state.problems)
    return NodeState(
        name=state.node,
        connected=state.connected,
        agent_version=state.agent_version,
        program_hash=program_hash,
        applied_hash=state.applied_hash,
        applied_revision=state.applied_revision,
        done=state.done,
        pending=state.pending,
        failed=state.failed,
        repaired=state.repaired,
        problems=object_problems(call, problems),
        last_seen=time_text(state.last_seen_s) if state.last_seen_s else "",
    )


async def program(call: Call) -> web.Response:
    """A node's compiled program, as canonical text or JSON."""
    node = call.part("node")

    def read() -> web.Response:
        controller = call.services.controller
        if call.services.store.get(Key(NODE, "", node)) is None and node not in controller.nodes():
            raise SuanwangError(NOT_FOUND, f"there is no node {node!r}", "see those that are there: suanwang nodes")
        found = controller.program(node)
        if call.text("format") == "text":
            return web.Response(text=found.text())
        listed = list(lines(found.objects.values()))
        fragments = {part.id: f"{part.fingerprint:032x}" for part in found.fragments}
        content = {
            "node": node,
            "revision": found.revision,
            "hash": found.hash,
            "fragments": fragments,
            "objects": list(found.objects.values()),
            "lines": listed,
        }
        return raw_json(encode(content))

    return await asyncio.to_thread(read)


async def probe_assertions(call: Call) -> ProbeAnswer:
    """Try assertions with real packets, from the workloads' own namespaces."""
    body: ProbeRequest = call.body
    services, who = call.services, call.who
    require_tenant(who, body.tenant)
    keys = [Key(ASSERTION, one.tenant, one.name) for one in body.assertions]
    for key in keys:
        require_sight(who, key)

    def choose() -> list[Key]:
        if keys:
            missing = [key for key in keys if services.store.get(key) is None]
            if missing:
                raise SuanwangError(
                    NOT_FOUND, f"there is no {missing[0]}", "see those that are there: suanwang get assertion"
                )
            return list(dict.fromkeys(keys))
        tenants = [body.tenant] if body.tenant else [None] if who.everywhere else sorted(who.tenants)
        return [e.key for tenant in tenants for e in services.store.list(ASSERTION, tenant, limit=MOST_PROBED)]

    chosen = await asyncio.to_thread(choose)
    revision = services.controller.revision
    results = await probe(services.controller, services.agents, chosen, count=body.count)
    for one in results:
        services.figures.add(CONTROLLER_PROBES, outcome=one.result.outcome, holds="yes" if one.holds else "no")
        if one.result.outcome != "error":
            services.conditions.holds(one.key, one.holds, _sentence(one), revision)
    services.agents.noted.set()
    return ProbeAnswer([_result(one) for one in results])


def _sentence(one: Probed) -> str:
    result = one.result
    detail = f": {result.detail}" if result.detail else ""
    return f"expected {one.expect}, found {result.outcome}, {result.answered} of {result.sent} answered{detail}"


def _result(one: Probed) -> ProbedAssertion:
    result = one.result
    return ProbedAssertion(
        tenant=one.key.tenant,
        name=one.key.name,
        expect=one.expect,
        outcome=result.outcome,
        holds=one.holds,
        sent=result.sent,
        answered=result.answered,
        rtt_us=list(result.rtt_us),
        answerer=result.answerer,
        detail=result.detail,
    )


async def node_of(call: Call) -> tuple[str, str]:
    """(node, certificate serial) of the agent that sent a request. Raises UNAUTHENTICATED, REVOKED.

    The certificate is looked up, and so is the node: one that was deleted a moment ago gets in no more.
    """
    connection = call.request.get_extra_info("ssl_object")
    der = connection.getpeercert(binary_form=True) if isinstance(connection, ssl.SSLObject) else None
    if not der:
        raise SuanwangError(UNAUTHENTICATED, "this needs a node's certificate", "enrol the node first")

    def look_up() -> tuple[str, str]:
        node, serial = call.services.authority.node_of(der)
        if call.services.store.get(Key(NODE, "", node)) is None:
            raise SuanwangError(
                REVOKED, "the certificate's node does not exist any more", "declare it, then enrol it again"
            )
        return node, serial

    return await asyncio.to_thread(look_up)


async def agent(call: Call) -> web.StreamResponse:
    """An agent's stream (RFC 6455). Messages are those of suanwang.program.wire, in binary frames."""
    node, serial = await node_of(call)
    older = await asyncio.to_thread(call.services.credentials.used, serial)
    call.services.agents.drop(node, older)
    return await call.services.agents.serve(call.request, node, serial)
