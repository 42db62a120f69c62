"""The server as the commands see it: HTTPS with JSON, on the standard library alone so that commands start at once."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlencode

from suanwang import __version__
from suanwang.cli.failure import ServerRefusal
from suanwang.cli.whereabouts import Whereabouts
from suanwang.model.errors import SuanwangError, code
from suanwang.model.reference import Key

SERVER_AWAY = code("SERVER_AWAY", "the server can't be reached")
SERVER_UNTRUSTED = code("SERVER_UNTRUSTED", "the server's certificate is not from the authority that was expected")
BAD_ANSWER = code("BAD_ANSWER", "the server's answer is not of the form that was expected")

TIMEOUT_S = 60.0
CONNECT_TIMEOUT_S = 5.0
STREAM_TIMEOUT_S = 90.0
"""Longest silence on a stream; the server sends an empty line more often than that."""
PAGE = 1000


class Client:
    """One server. Connections are made when first needed and kept."""

    def __init__(self, whereabouts: Whereabouts) -> None:
        self.whereabouts = whereabouts
        self._kept: http.client.HTTPSConnection | None = None

    def get(self, path: str, query: Mapping[str, Any] | None = None, timeout_s: float = TIMEOUT_S) -> Any:
        """The JSON at a path. `None` and empty values of the query are left out. Raises ServerRefusal."""
        return self._json(self._send("GET", path, query, None, timeout_s))

    def text(self, path: str, query: Mapping[str, Any] | None = None) -> str:
        """The text at a path."""
        return self._send("GET", path, query, None, TIMEOUT_S).decode("utf-8", "replace")

    def post(self, path: str, body: Any, timeout_s: float = TIMEOUT_S) -> Any:
        """Post JSON, get JSON."""
        return self._json(self._send("POST", path, None, body, timeout_s))

    def delete(self, path: str) -> Any:
        """Delete what is at a path."""
        return self._json(self._send("DELETE", path, None, None, TIMEOUT_S))

    def items(self, kind: str, tenant: str = "", most: int | None = None) -> Iterator[dict[str, Any]]:
        """All resources of a kind, page by page, at most `most`."""
        after, left = "", most
        while left is None or left > 0:
            limit = PAGE if left is None else min(PAGE, left)
            page = self.get(f"/v1/resources/{quote(kind)}", {"tenant": tenant, "limit": limit, "after": after})
            yield from page["items"]
            left = None if left is None else left - len(page["items"])
            after = page.get("next") or ""
            if not after:
                return

    def item(self, key: Key) -> dict[str, Any]:
        """One resource. Raises ServerRefusal with NOT_FOUND."""
        found: dict[str, Any] = self.get(resource_path(key))
        return found

    def stream(self, path: str, query: Mapping[str, Any] | None = None) -> Iterator[dict[str, Any]]:
        """Objects of an endless stream of JSON lines. It has its own connection, so that others can be asked meanwhile.

        Raises SERVER_AWAY when the server ends it.
        """
        connection = self._connect(STREAM_TIMEOUT_S)
        try:
            response = self._exchange(connection, "GET", path, query, None)
            if response.status >= 400:
                raise self._refusal(response.status, response.read())
            while line := response.readline():
                if line.strip():
                    yield self._json(line)
            raise SuanwangError(SERVER_AWAY, f"{self.whereabouts.url} has ended the stream", "was it stopped?")
        except (OSError, http.client.HTTPException) as problem:
            raise self._away(problem) from None
        finally:
            connection.close()

    def close(self) -> None:
        """End the connection that is kept."""
        if self._kept is not None:
            self._kept.close()
            self._kept = None

    def _send(self, method: str, path: str, query: Mapping[str, Any] | None, body: Any, timeout_s: float) -> bytes:
        for attempt in (1, 2):
            fresh = self._kept is None
            connection = self._kept = self._kept or self._connect(timeout_s)
            if connection.sock is not None:
                connection.sock.settimeout(timeout_s)
            try:
                response = self._exchange(connection, method, path, query, body)
                answer = response.read()
                break
            except (OSError, http.client.HTTPException) as problem:
                connection.close()
                self._kept = None
                # A kept connection may have been closed by the server meanwhile: then nothing was done yet.
                if attempt == 1 and not fresh and isinstance(problem, http.client.RemoteDisconnected):
                    continue
                raise self._away(problem) from None
        if response.status >= 400:
            raise self._refusal(response.status, answer)
        return answer

    def _connect(self, timeout_s: float) -> http.client.HTTPSConnection:
        at = self.whereabouts
        try:
            tls = ssl.create_default_context(cadata=at.authority or None)
        except (ssl.SSLError, ValueError) as problem:
            hint = "it must hold certificates in PEM form"
            raise SuanwangError(
                SERVER_UNTRUSTED, f"the authority's certificate can't be read: {problem}", hint
            ) from None
        connection = http.client.HTTPSConnection(at.host, at.port, timeout=CONNECT_TIMEOUT_S, context=tls)
        try:
            connection.connect()
        except OSError as problem:
            connection.close()
            raise self._away(problem) from None
        connection.sock.settimeout(timeout_s)
        return connection

    def _exchange(
        self,
        connection: http.client.HTTPSConnection,
        method: str,
        path: str,
        query: Mapping[str, Any] | None,
        body: Any,
    ) -> http.client.HTTPResponse:
        headers = {"Accept": "application/json", "User-Agent": f"suanwang/{__version__}"}
        if self.whereabouts.token:
            headers["Authorization"] = f"Bearer {self.whereabouts.token}"
        data = None
        if body is not None:
            data = json.dumps(body, ensure_ascii=False).encode()
            headers["Content-Type"] = "application/json"
        wanted = {name: value for name, value in (query or {}).items() if value not in (None, "")}
        connection.request(method, f"{path}?{urlencode(wanted)}" if wanted else path, data, headers)
        return connection.getresponse()

    def _json(self, data: bytes) -> Any:
        try:
            return json.loads(data) if data.strip() else None
        except ValueError:
            raise SuanwangError(
                BAD_ANSWER, f"{self.whereabouts.url} did not answer in JSON", "is it Suanwang?"
            ) from None

    def _refusal(self, status: int, data: bytes) -> Exception:
        try:
            body = json.loads(data)
            errors = body.get("errors") or [body["error"]]
        except (ValueError, KeyError, AttributeError, TypeError):
            text = data[:200].decode("utf-8", "replace")
            return SuanwangError(
                BAD_ANSWER, f"{self.whereabouts.url} answered with status {status}: {text}", "is it Suanwang?"
            )
        if status == 401 and not self.whereabouts.token:
            errors[0]["hint"] = "name a file with a token by --token-file, or put the token in SUANWANG_TOKEN"
        return ServerRefusal(status, errors)

    def _away(self, problem: Exception) -> SuanwangError:
        at = self.whereabouts
        if isinstance(problem, ssl.SSLCertVerificationError):
            return SuanwangError(
                SERVER_UNTRUSTED,
                f"the certificate of {at.url} is not to be trusted: {problem.verify_message}",
                f"give the server's authority by --ca; now it came from {at.source}"
                if at.authority
                else "give the certificate of the server's authority by --ca",
            )
        if isinstance(problem, ConnectionRefusedError):
            reason = "nothing listens there"
        elif isinstance(problem, TimeoutError):
            reason = "it does not answer in time"
        elif isinstance(problem, socket.gaierror):
            reason = "there is no host of that name"
        else:
            reason = str(problem) or type(problem).__name__
        hint = f"is it running? the address came from {at.source}"
        return SuanwangError(SERVER_AWAY, f"can't reach the server at {at.url}: {reason}", hint)


def resource_path(key: Key) -> str:
    """Where the API has a resource."""
    return f"/v1/resources/{quote(key.kind)}/{quote(key.tenant or '-', safe='')}/{quote(key.name, safe='')}"
