"""Handlers about who gets in: users' tokens, nodes' enrolment and certificates."""

from __future__ import annotations

import asyncio
import time

from aiohttp import web

from suanwang.api.authorization import EVERY
from suanwang.api.call import Call
from suanwang.api.messages import (
    EnrolmentAnswer,
    EnrolmentRequest,
    EnrolRequest,
    Health,
    IssuedAnswer,
    RenewRequest,
    TokenAnswer,
    TokenNote,
    TokenRequest,
    Tokens,
)
from suanwang.api.operations import node_of
from suanwang.api.resources import time_text
from suanwang.controller.conditions import NODE
from suanwang.model.errors import INVALID, NOT_FOUND, SuanwangError
from suanwang.model.reference import Key, is_name


async def create_token(call: Call) -> TokenAnswer:
    """Make a user's token. It is in this answer and nowhere else: the server keeps its hash."""
    body: TokenRequest = call.body
    if not is_name(body.name):
        raise SuanwangError(INVALID, f"{body.name!r} is no name", "use lower-case letters, digits, - and .")
    for tenant in body.tenants:
        if tenant != EVERY and not is_name(tenant):
            raise SuanwangError(INVALID, f"{tenant!r} is no tenant's name", "name tenants, or * for all")
    if body.role == "operator" and EVERY in body.tenants:
        raise SuanwangError(INVALID, "an operator is one of named tenants", "name them, or make an admin token")
    if body.role != "admin" and not body.tenants:
        raise SuanwangError(INVALID, f"a token of role {body.role} needs tenants", "name at least one")
    tenants = (EVERY,) if body.role == "admin" else tuple(sorted(set(body.tenants)))
    credentials = call.services.credentials
    secret, token = await asyncio.to_thread(credentials.add_token, body.name, body.role, tenants, body.ttl)
    return TokenAnswer(secret, token.name, token.role, list(token.tenants), _moment(token.expires))


async def tokens(call: Call) -> Tokens:
    """What tokens there are."""
    return Tokens(
        [
            TokenNote(token.name, token.role, list(token.tenants), time_text(token.created), _moment(token.expires))
            for token in call.services.credentials.tokens()
        ]
    )


async def delete_token(call: Call) -> Health:
    """Make a token void at once."""
    await asyncio.to_thread(call.services.credentials.delete_token, call.part("name"))
    return Health("deleted")


def _moment(time_s: float | None) -> str | None:
    return None if time_s is None else time_text(time_s)


async def create_enrolment(call: Call) -> EnrolmentAnswer:
    """Make a one-time token with which a node gets its certificate."""
    body: EnrolmentRequest = call.body
    if await asyncio.to_thread(call.services.store.get, Key(NODE, "", body.node)) is None:
        raise SuanwangError(NOT_FOUND, f"there is no Node {body.node!r}", "declare it first")
    token = await asyncio.to_thread(call.services.authority.enrolment_token, body.node, body.ttl)
    return EnrolmentAnswer(token, body.node, time_text(time.time() + body.ttl))


async def authority(call: Call) -> web.Response:
    """The authority's certificate. Who fetches it checks its SHA-256 against the enrolment token before trusting it."""
    return web.Response(text=call.services.authority.ca_pem, content_type="application/x-pem-file")


async def enrol(call: Call) -> IssuedAnswer:
    """A node's first certificate, in exchange for its enrolment token; the node's earlier ones are revoked."""
    body: EnrolRequest = call.body
    issued = await asyncio.to_thread(call.services.authority.enrol, body.node, body.token, body.csr)
    call.services.agents.drop(body.node)
    return IssuedAnswer(issued.certificate, issued.ca)


async def renew(call: Call) -> IssuedAnswer:
    """The next certificate of the node whose certificate secures this connection."""
    body: RenewRequest = call.body
    node, serial = await node_of(call)
    issued = await asyncio.to_thread(call.services.authority.renew, node, serial, body.csr)
    return IssuedAnswer(issued.certificate, issued.ca)
