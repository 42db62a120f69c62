"""A route and a call of it: what a handler is declared with, and what it is given."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec
from aiohttp import web

from suanwang.api.authorization import Access, Principal
from suanwang.api.services import Services
from suanwang.model.errors import INVALID, Place, SuanwangError
from suanwang.model.reference import Key

Value = str | int | float


@dataclass(frozen=True, slots=True)
class Query:
    """A parameter after the question mark. Without a value it is `default`."""

    name: str
    type: Literal["string", "integer", "number"]
    description: str
    default: Value = ""
    least: float | None = None
    most: float | None = None
    choices: tuple[str, ...] = ()

    def read(self, text: str | None) -> Value:
        """The value that was given. Raises INVALID."""
        if text is None or (text == "" and self.type != "string"):
            return self.default
        try:
            value: Value = {"string": str, "integer": int, "number": float}[self.type](text)
        except ValueError:
            raise self._bad(text, f"give an {self.type}" if self.type == "integer" else "give a number") from None
        if self.choices and value not in self.choices:
            raise self._bad(text, f"give one of {', '.join(self.choices)}")
        if not isinstance(value, str):
            low, high = self.least, self.most
            # Written so that NaN, which compares with nothing, is refused too.
            if not ((low is None or value >= low) and (high is None or value <= high) and value == value):
                raise self._bad(text, f"it must be between {low} and {high}" if high is not None else f"at least {low}")
        return value

    def _bad(self, text: str, hint: str) -> SuanwangError:
        return SuanwangError(INVALID, f"{self.name}={text[:100]!r} is not valid", hint, Place(path=self.name))


@dataclass(frozen=True, slots=True)
class Call:
    """One request, admitted and read. `principal` is there on every route that asks for a token."""

    services: Services
    request: web.Request
    principal: Principal | None
    query: dict[str, Value]
    body: Any

    @property
    def who(self) -> Principal:
        """Whose token it is."""
        assert self.principal is not None, "the route's access lets nobody through without a token"
        return self.principal

    def part(self, name: str) -> str:
        """A part of the path."""
        return self.request.match_info[name]

    def text(self, name: str) -> str:
        """A query parameter that is text."""
        return str(self.query[name])

    def number(self, name: str) -> float:
        """A query parameter that is a number."""
        return float(self.query[name])

    def key(self) -> Key:
        """The resource that the path names. Raises UNKNOWN_KIND, and INVALID where the tenant does not fit the kind."""
        kind = self.services.registry.kind(self.part("kind"))
        tenant = self.part("tenant")
        if (tenant == "-") != (kind.scope == "infrastructure"):
            hint = "write - for its tenant" if kind.scope == "infrastructure" else "name its tenant"
            raise SuanwangError(INVALID, f"{kind.name} is of scope {kind.scope}", hint)
        return Key(kind.name, "" if tenant == "-" else tenant, self.part("name"))


Answer = msgspec.Struct | web.StreamResponse
Handler = Callable[[Call], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class Route:
    """One operation of the API. `answer` is a struct, or a media type for what is not JSON."""

    method: Literal["GET", "POST", "DELETE"]
    path: str
    name: str
    access: Access
    summary: str
    handler: Handler
    query: tuple[Query, ...] = ()
    body: type[msgspec.Struct] | None = None
    answer: type[msgspec.Struct] | str = "application/json"
    streams: bool = field(default=False)
    """The answer may take long by intent: it counts against the token's streams, not its requests."""


def raw_json(data: bytes, status: int = 200) -> web.Response:
    """JSON that is written already."""
    return web.Response(body=data, status=status, content_type="application/json", charset="utf-8")
