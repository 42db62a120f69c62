"""The gate that every request passes: who is it, may it, is there room, is its body whole; and errors in one form.

What goes wrong is told in the form of `messages.Problems`. What nobody foresaw becomes a 500 with an opaque number that
stands in the log beside the traceback. Nothing that a client sent is logged but method, path and the token's name.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import secrets
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import msgspec
from aiohttp import web

from suanwang.api.authorization import FORBIDDEN, UNAUTHENTICATED, Principal, redacted
from suanwang.api.call import Call, Route, raw_json
from suanwang.api.messages import Problem, Problems
from suanwang.api.services import Services
from suanwang.controller.admission import IN_USE
from suanwang.controller.authority import REVOKED
from suanwang.controller.credentials import BAD_ENROLMENT, LAST_ADMIN, NAME_TAKEN
from suanwang.controller.engine import PROOF_FAILS
from suanwang.controller.plan import STALE_PLAN
from suanwang.controller.probing import AGENT_AWAY
from suanwang.measure.metrics import CONTROLLER_REFUSED, CONTROLLER_REQUEST, CONTROLLER_REQUESTS
from suanwang.model.errors import (
    ALREADY_CLAIMED,
    CONFLICT,
    EXHAUSTED,
    INVALID,
    NOT_FOUND,
    ErrorList,
    Place,
    SuanwangError,
    code,
)
from suanwang.model.reading import MALFORMED, TOO_LARGE
from suanwang.model.registry import UNKNOWN_KIND
from suanwang.store.faults import COMPACTED, STORE_FULL, STORE_LOCKED, STORE_UNREADABLE

INTERNAL = code("INTERNAL", "the server failed in a way that nobody foresaw; its log says more")
TOO_MANY = code("TOO_MANY", "too many requests at once")
NO_ROUTE = code("NO_ROUTE", "the API has no such path or method")

STATUS = {
    UNAUTHENTICATED: 401,
    FORBIDDEN: 403,
    REVOKED: 403,
    BAD_ENROLMENT: 403,
    NOT_FOUND: 404,
    NO_ROUTE: 404,
    CONFLICT: 409,
    STALE_PLAN: 409,
    PROOF_FAILS: 409,
    ALREADY_CLAIMED: 409,
    EXHAUSTED: 409,
    IN_USE: 409,
    NAME_TAKEN: 409,
    LAST_ADMIN: 409,
    COMPACTED: 410,
    TOO_LARGE: 413,
    TOO_MANY: 429,
    INTERNAL: 500,
    AGENT_AWAY: 503,
    STORE_LOCKED: 503,
    STORE_UNREADABLE: 503,
    STORE_FULL: 507,
}
"""HTTP status of an error code; 400 for those not listed."""

LARGE_BODY_BYTES = 100_000
"""Larger ones are read beside the event loop, so that other requests go on meanwhile."""

log = logging.getLogger("suanwang.api")
access_log = logging.getLogger("suanwang.api.access")

WebHandler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Gate:
    """Makes aiohttp handlers of routes."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._limits = services.settings.limits
        self._requests: Counter[str] = Counter()
        self._streams: Counter[str] = Counter()
        self._refusing = 0

    def handler(self, route: Route) -> WebHandler:
        """What aiohttp calls for a route."""

        async def handle(request: web.Request) -> web.StreamResponse:
            started = time.monotonic()
            principal: Principal | None = None
            status = 499
            try:
                principal = await self._admit(route, request)
                response = await self._answer(route, request, principal)
                status = response.status
                return response
            except SuanwangError as problem:
                response = self._refuse(route, problem, principal)
                status = response.status
                return response
            except (ConnectionError, asyncio.CancelledError):
                # The client has gone, or the server stops: there is nobody to answer.
                raise
            except Exception:
                response = failure()
                status = response.status
                return response
            finally:
                self._note(route, request, principal, status, time.monotonic() - started)

        return handle

    async def _admit(self, route: Route, request: web.Request) -> Principal | None:
        """Who sent it. Raises UNAUTHENTICATED, FORBIDDEN, TOO_MANY."""
        if route.access in ("public", "agent"):
            return None
        scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
        if not secret:
            if route.access == "local" and (self._services.settings.metrics_open or _is_local(request)):
                return None
            raise SuanwangError(UNAUTHENTICATED, "the request has no token", "send Authorization: Bearer TOKEN")
        token = self._services.credentials.token_of(secret.strip()) if scheme.lower() == "bearer" else None
        if token is None:
            await self._delay()
            raise SuanwangError(UNAUTHENTICATED, "the token is not valid", "ask an admin for one that is")
        principal = Principal.of(token)
        allowed = principal.everywhere if route.access == "local" else principal.has(route.access)
        if not allowed:
            wanted = "that sees all tenants" if route.access == "local" else f"of role {route.access}"
            message = f"this token is of role {principal.role}; {route.name} takes one {wanted}"
            raise SuanwangError(FORBIDDEN, message, "ask an admin for such a token")
        return principal

    async def _delay(self) -> None:
        """Make guessing slow, without letting those who guess fill the memory with waiting requests."""
        if self._refusing >= self._limits.refused_at_once:
            raise SuanwangError(TOO_MANY, "too many requests with wrong tokens", "try again later")
        self._refusing += 1
        try:
            await asyncio.sleep(self._limits.refused_delay_s)
        finally:
            self._refusing -= 1

    async def _answer(self, route: Route, request: web.Request, principal: Principal | None) -> web.StreamResponse:
        with self._room(route, principal):
            query = {query.name: query.read(request.query.get(query.name)) for query in route.query}
            unknown = sorted(request.query.keys() - query.keys())
            if unknown:
                hint = f"it has: {', '.join(query)}" if query else "it has none"
                message = f"{route.name} has no parameter {unknown[0][:100]!r}"
                raise SuanwangError(INVALID, message, hint, Place(path=unknown[0][:100]))
            body = await self._body(route, request)
            answer = await route.handler(Call(self._services, request, principal, query, body))
            if isinstance(answer, web.StreamResponse):
                return answer
            return raw_json(msgspec.json.encode(answer))

    @contextmanager
    def _room(self, route: Route, principal: Principal | None) -> Iterator[None]:
        if route.access == "agent":
            # One connection a node: the newer replaces the older.
            yield
            return
        counter = self._streams if route.streams else self._requests
        name = principal.name if principal else ""
        most = self._limits.streams_per_token if route.streams else self._limits.requests_per_token
        if principal is None:
            most = self._limits.anonymous_requests
        if counter[name] >= most:
            raise SuanwangError(
                TOO_MANY, f"more than {most} requests of this kind at once", "wait for some of them to end"
            )
        counter[name] += 1
        try:
            yield
        finally:
            counter[name] -= 1
            if not counter[name]:
                del counter[name]

    async def _body(self, route: Route, request: web.Request) -> msgspec.Struct | None:
        if route.body is None:
            return None
        try:
            async with asyncio.timeout(self._limits.body_timeout_s):
                data = await request.read()
        except web.HTTPRequestEntityTooLarge:
            most = self._limits.body_bytes
            raise SuanwangError(TOO_LARGE, f"the body has more than {most} bytes", "send it in parts") from None
        except TimeoutError:
            raise SuanwangError(TOO_LARGE, "the body did not come in time", "send it in parts") from None
        except (ValueError, web.RequestPayloadError) as problem:
            raise SuanwangError(MALFORMED, f"the body can't be read: {problem}", "") from None
        if len(data) < LARGE_BODY_BYTES:
            return _decode(data, route.body)
        return await asyncio.to_thread(_decode, data, route.body)

    def _refuse(self, route: Route, problem: SuanwangError, principal: Principal | None) -> web.Response:
        status = STATUS.get(problem.code, 400)
        if problem.code == UNKNOWN_KIND and route.body is None:
            status = 404
        if status in (401, 403, 429):
            self._services.figures.add(CONTROLLER_REFUSED, code=problem.code)
        return refusal(problem, status, principal)

    def _note(
        self, route: Route, request: web.Request, principal: Principal | None, status: int, elapsed_s: float
    ) -> None:
        figures = self._services.figures
        figures.add(CONTROLLER_REQUESTS, method=route.method, route=route.path, status=str(status))
        if not route.streams:
            figures.observe(CONTROLLER_REQUEST, elapsed_s, route=route.path)
        who = principal.name if principal else "-"
        path = request.path[:300]
        access_log.info("%s %r %d %s %.1fms from %s", route.method, path, status, who, elapsed_s * 1e3, request.remote)


def _decode(data: bytes, type: type[msgspec.Struct]) -> msgspec.Struct:
    try:
        return msgspec.json.decode(data or b"{}", type=type)
    except msgspec.ValidationError as problem:
        message, _, path = str(problem).partition(" - at `$.")
        raise SuanwangError(
            INVALID, f"the body is not as it must be: {message}", "", Place(path=path.rstrip("`"))
        ) from None
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as problem:
        raise SuanwangError(MALFORMED, f"the body is not JSON: {problem}", "send a JSON object") from None


def refusal(problem: SuanwangError, status: int, principal: Principal | None) -> web.Response:
    """An error as an answer. What names another tenant's resources is blotted out."""

    def text(message: str) -> str:
        return redacted(principal, message) if principal is not None else message

    errors = [
        Problem(one.code, text(one.message), text(one.hint), one.place.file, one.place.line, one.place.path)
        for one in (problem.errors if isinstance(problem, ErrorList) else [problem])
    ]
    response = raw_json(msgspec.json.encode(Problems(errors[0], errors)), status)
    if status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    if status == 429:
        response.headers["Retry-After"] = "1"
    return response


def failure() -> web.Response:
    """The answer to what nobody foresaw; call it where the exception is handled."""
    number = secrets.token_hex(6)
    log.exception("internal error %s", number)
    message = f"the server failed (error {number})"
    return refusal(SuanwangError(INTERNAL, message, "an administrator finds that number in the log"), 500, None)


@web.middleware
async def plain_errors(request: web.Request, handler: WebHandler) -> web.StreamResponse:
    """Gives aiohttp's own refusals (no such path, no such method) the form of all others."""
    try:
        return await handler(request)
    except web.HTTPException as problem:
        if problem.status < 400:
            raise
        message = f"{request.method} {request.path[:300]}: {problem.reason}"
        response = refusal(SuanwangError(NO_ROUTE, message, "see /openapi.json"), problem.status, None)
        if "Allow" in problem.headers:
            response.headers["Allow"] = problem.headers["Allow"]
        return response


def _is_local(request: web.Request) -> bool:
    try:
        return ipaddress.ip_address(request.remote or "").is_loopback
    except ValueError:
        return False
