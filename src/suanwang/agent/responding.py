"""The answering ends of probes: for a limited time the agent answers in workloads, with the identity that the program
gives.

Where a real service already has the port, that service answers, and the agent stays out of its way. ICMP needs no
responder: the workload's kernel answers.
"""

from __future__ import annotations

import asyncio
import errno
import functools
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from socket import socket

from suanwang.agent.packets import UDP_BYTES, banner, datagram_answer
from suanwang.agent.workload_sockets import Sockets, receiver, reset
from suanwang.program.objects import Responder

ENDPOINT_LIMIT = 4096
"""Most sockets that answer at once."""
DURATION_LIMIT_US = 600_000_000
_CONNECTION_LIMIT = 256
_CONNECTION_S = 5.0

_Place = tuple[str, str, str, int]


@dataclass(slots=True)
class _Endpoint:
    """A socket that answers; TCP connections that have been told who is here wait for their other end to leave."""

    listener: socket
    identity: str
    ends: asyncio.TimerHandle
    connections: set[socket] = field(default_factory=set)


class Responders:
    """Answering ends that are armed now."""

    def __init__(self, sockets: Sockets) -> None:
        self._sockets = sockets
        self._armed: dict[_Place, _Endpoint] = {}
        self._lock = asyncio.Lock()

    async def arm(
        self, assertions: Iterable[str], known: Mapping[str, tuple[Responder, ...]], duration_us: int
    ) -> dict[str, str]:
        """Answer for these assertions. Returns those for which that is not possible, and why."""
        problems: dict[str, str] = {}
        duration_s = min(duration_us, DURATION_LIMIT_US) / 1e6
        # One request after the other, so that two of them never open one place twice.
        async with self._lock:
            for assertion in assertions:
                if assertion not in known:
                    problems[assertion] = "this node's program has no answering end for it"
                for item in known.get(assertion, ()):
                    if problem := await self._arm(item, duration_s):
                        problems[assertion] = problem
        return problems

    async def _arm(self, item: Responder, duration_s: float) -> str:
        if item.protocol not in ("tcp", "udp"):
            return ""
        place = (item.netns, item.protocol, item.address, item.port)
        loop = asyncio.get_running_loop()
        if present := self._armed.get(place):
            if present.identity != item.identity:
                return f"{item.address} port {item.port} already answers as {present.identity}"
            if loop.time() + duration_s > present.ends.when():
                present.ends.cancel()
                present.ends = loop.call_later(duration_s, self._disarm, place)
            return ""
        if len(self._armed) >= ENDPOINT_LIMIT:
            return f"{ENDPOINT_LIMIT} probes are being answered already"
        make = functools.partial(receiver, item.protocol, item.address, item.port)  # type: ignore[arg-type]
        try:
            (one,) = await self._sockets.open(item.netns, make)
        except OSError as problem:
            if problem.errno == errno.EADDRINUSE:
                return ""
            reason = os.strerror(problem.errno) if problem.errno else str(problem)
            return f"can't answer at {item.address} port {item.port}: {reason}"
        endpoint = _Endpoint(one, item.identity, loop.call_later(duration_s, self._disarm, place))
        self._armed[place] = endpoint
        loop.add_reader(one, self._accept if item.protocol == "tcp" else self._answer, endpoint)
        return ""

    def close(self) -> None:
        """Answer no more."""
        for place in list(self._armed):
            self._disarm(place)

    def _disarm(self, place: _Place) -> None:
        endpoint = self._armed.pop(place)
        endpoint.ends.cancel()
        asyncio.get_running_loop().remove_reader(endpoint.listener)
        endpoint.listener.close()
        for connection in list(endpoint.connections):
            self._hang_up(endpoint, connection)

    def _accept(self, endpoint: _Endpoint) -> None:
        try:
            connection, _ = endpoint.listener.accept()
        except OSError:
            # Taken back by the other end, or no descriptor is free: the next one may fare better.
            return
        connection.setblocking(False)
        try:
            connection.send(banner(endpoint.identity))
        except OSError:
            reset(connection)
            return
        if len(endpoint.connections) >= _CONNECTION_LIMIT:
            connection.close()
            return
        endpoint.connections.add(connection)
        loop = asyncio.get_running_loop()
        # Whatever comes from the other end now, a goodbye or a request meant for a service, the talk is over.
        loop.add_reader(connection, self._hang_up, endpoint, connection)
        loop.call_later(_CONNECTION_S, self._hang_up, endpoint, connection)

    def _hang_up(self, endpoint: _Endpoint, connection: socket) -> None:
        if connection in endpoint.connections:
            endpoint.connections.remove(connection)
            asyncio.get_running_loop().remove_reader(connection)
            reset(connection)

    def _answer(self, endpoint: _Endpoint) -> None:
        try:
            request, source = endpoint.listener.recvfrom(UDP_BYTES)
            if answer := datagram_answer(request, endpoint.identity):
                endpoint.listener.sendto(answer, source)
        except OSError:
            # A late ICMP error, or a full buffer: to the one who asks that is a lost packet.
            pass
