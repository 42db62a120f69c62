"""Ends connections on which no whole request comes: whoever holds thousands of them open must not keep others out.

aiohttp bounds the wait for the next request of a kept connection, but not for the first one's headers.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from aiohttp import web

SWEEPS = 4
"""Looks within the time that is allowed, so that a connection ends at most a quarter of it late."""


class Connections:
    """Watches the connections of one server."""

    def __init__(self, server: web.Server, first_request_timeout_s: float) -> None:
        self._server = server
        self._timeout_s = first_request_timeout_s
        self._asked: set[Any] = set()
        self._silent_since: dict[Any, float] = {}

    def asked(self, request: web.Request) -> None:
        """A whole request's headers have come on its connection."""
        self._asked.add(request.protocol)

    async def sweep(self) -> None:
        """End silent connections, for ever."""
        while True:
            await asyncio.sleep(self._timeout_s / SWEEPS)
            present = set(self._server.connections)
            self._asked &= present
            now = time.monotonic()
            silent = {one: self._silent_since.get(one, now) for one in present - self._asked}
            for connection, since in silent.items():
                if now - since >= self._timeout_s:
                    connection.force_close()
            self._silent_since = silent
