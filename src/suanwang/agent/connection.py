"""The one long-lived connection to the controller: a WebSocket on mutual TLS, made anew for ever when it breaks.

While it is down nothing else stops: the node goes on with the program it holds (fail-static). Both ends send
heartbeats (pings of the WebSocket), so that a silent break is noticed within `HEARTBEAT_S` and a half.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import ssl
import time
from collections.abc import Callable
from datetime import datetime

import aiohttp
import msgspec

from suanwang.agent.holding import UNREADABLE_PROGRAM, check_format
from suanwang.agent.identity import (
    CERTIFICATE_EXPIRED,
    CONTROLLER_AWAY,
    ENROL_AGAIN,
    WRONG_CONTROLLER,
    Endpoint,
    Identity,
    utc_now,
)
from suanwang.agent.journal import event
from suanwang.measure.figures import Recorder
from suanwang.measure.metrics import AGENT_CONNECTED, AGENT_RECONNECTS, AGENT_REFUSALS
from suanwang.model.errors import SuanwangError, code
from suanwang.program import wire

NOT_ADMITTED = code("NOT_ADMITTED", "the controller does not admit this node's certificate")

HEARTBEAT_S = 10.0
FIRST_DELAY_S, LONGEST_DELAY_S = 0.05, 10.0
_CONNECT_S = 10.0
_FLUSH_S = 5.0
_MESSAGE_LIMIT_BYTES = 256 << 20
_QUEUE_LIMIT = 1000
_STEADY_S = 2.0
"""A connection that lasted this long was a good one: the next try comes soon. Shorter ones must not become a storm."""

log = logging.getLogger("suanwang.agent.connection")


class _Shape(msgspec.Struct):
    """What every update has had, in any format."""

    type: str
    format: int = 0
    revision: int = 0


def delays(
    generator: random.Random, first_s: float = FIRST_DELAY_S, longest_s: float = LONGEST_DELAY_S
) -> Callable[[], float]:
    """Delays before tries: doubling up to `longest_s`, each a random part between a half and the whole of that."""
    reached = first_s / 2

    def following() -> float:
        nonlocal reached
        reached = min(longest_s, reached * 2)
        return generator.uniform(reached / 2, reached)

    return following


class Connection:
    """Keeps the connection. `hello` says what the agent holds; `receive` takes each message, and must be quick."""

    def __init__(
        self,
        endpoint: Endpoint,
        identity: Identity,
        hello: Callable[[], wire.Hello],
        receive: Callable[[wire.FromController], None],
        figures: Recorder,
        generator: random.Random,
        now: Callable[[], datetime] = utc_now,
        heartbeat_s: float = HEARTBEAT_S,
    ) -> None:
        self._endpoint = endpoint
        self._identity = identity
        self._hello = hello
        self._receive = receive
        self._figures = figures
        self._random = generator
        self._now = now
        self._heartbeat_s = heartbeat_s
        self._report: wire.Report | None = None
        self._outgoing: asyncio.Queue[wire.FromAgent] | None = None
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._closing: asyncio.Task[bool] | None = None
        self._connections = 0
        self._since = float("inf")
        self._said = ""
        self.problem: SuanwangError | None = None

    @property
    def connected(self) -> bool:
        """Whether the controller is there now."""
        return self._outgoing is not None

    def report(self, report: wire.Report) -> None:
        """Send what came of the program; the latest report is sent again on every new connection."""
        self._report = report
        self.send(report)

    def send(self, message: wire.FromAgent) -> None:
        """Send if connected. Otherwise the message is void: what it answers ended with the connection."""
        if self._outgoing is None:
            return
        try:
            self._outgoing.put_nowait(message)
        except asyncio.QueueFull:
            # The controller reads nothing: begin anew rather than grow.
            self.restart()

    async def flushed(self) -> None:
        """Wait, for some seconds at most, until what was sent has left this process."""
        if self._outgoing is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_FLUSH_S):
                    await self._outgoing.join()

    def greet(self, *, empty: bool = False) -> None:
        """Say again what the agent holds; `empty`: nothing, so that the whole program comes."""
        hello = self._hello()
        self.send(msgspec.structs.replace(hello, hash="", have={}) if empty else hello)

    def restart(self) -> None:
        """Connect anew, for example with a new certificate."""
        if self._socket is not None and self._closing is None:
            self._closing = asyncio.create_task(self._socket.close())

    async def run(self) -> None:
        """Connect, and again whenever the connection ends. Never returns."""
        following = delays(self._random)
        while True:
            self._since = float("inf")
            try:
                await self._session()
            except SuanwangError as problem:
                self._complain(problem)
            except Exception:
                # Whatever it is, the node is better off with an agent that tries again than with none.
                log.exception("connection-broke", extra={"fields": {"controller": self._endpoint}})
            if time.monotonic() - self._since > _STEADY_S:
                following = delays(self._random)
            await asyncio.sleep(following())

    def _complain(self, problem: SuanwangError) -> None:
        """Log a problem once, however often it comes in a row."""
        self.problem = problem
        level = logging.DEBUG if self._said == problem.message else logging.WARNING
        self._said = problem.message
        event(log, level, "connection-failed", code=problem.code, reason=problem.message, hint=problem.hint)

    async def _session(self) -> None:
        """One connection, from its making to its end. Raises SuanwangError."""
        certificate = self._identity.certificate()
        if certificate is not None:
            certificate.check(self._now())
        context = self._identity.context()
        try:
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S)
            async with aiohttp.ClientSession(timeout=timeout) as session:
                url = f"wss://{self._endpoint}/v1/agent"
                connecting = session.ws_connect(
                    url,
                    ssl=context,
                    heartbeat=self._heartbeat_s,
                    max_msg_size=_MESSAGE_LIMIT_BYTES,
                    # The close code is read here: answering first may fail, and the code would be lost with that.
                    autoclose=False,
                )
                # Not `wait_for`: until Python 3.12 it forgets a cancellation that comes as the connection does.
                async with asyncio.timeout(_CONNECT_S):
                    made = await connecting
                async with made as socket:
                    await self._talk(socket)
        except (aiohttp.ClientError, OSError, TimeoutError, ssl.SSLError) as problem:
            raise self._explained(problem) from None

    async def _talk(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._outgoing = asyncio.Queue(_QUEUE_LIMIT)
        self.greet()
        if self._report is not None:
            self.send(self._report)
        writer = asyncio.create_task(self._write(socket, self._outgoing))
        self._figures.set(AGENT_CONNECTED, 1)
        self._connections += 1
        if self._connections > 1:
            self._figures.add(AGENT_RECONNECTS)
        self._said, self.problem = "", None
        event(log, logging.INFO, "connected", controller=self._endpoint)
        self._since = time.monotonic()
        try:
            received = await socket.receive()
            while received.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                self._hear(received.data)
                received = await socket.receive()
            number = received.data if received.type == aiohttp.WSMsgType.CLOSE else socket.close_code
        finally:
            restarting = self._closing is not None
            self._socket = self._outgoing = self._closing = None
            self._figures.set(AGENT_CONNECTED, 0)
            writer.cancel()
            if not restarting:
                lasted_s = time.monotonic() - self._since
                event(log, logging.WARNING, "disconnected", controller=self._endpoint, after_s=lasted_s)
        if not restarting:
            raise self._dismissed(number)

    async def _write(self, socket: aiohttp.ClientWebSocketResponse, outgoing: asyncio.Queue[wire.FromAgent]) -> None:
        try:
            while True:
                await socket.send_str(wire.encode(await outgoing.get()).decode())
                outgoing.task_done()
        except (ConnectionError, aiohttp.ClientError):
            # The reader sees the end of the connection as well, and reports it.
            pass

    def _hear(self, data: str | bytes) -> None:
        try:
            message = wire.from_controller(data)
        except (msgspec.DecodeError, UnicodeDecodeError) as problem:
            self._refuse(data, problem)
            return
        self._receive(message)

    def _refuse(self, data: str | bytes, problem: Exception) -> None:
        """A message of a form that this release does not know: an update of a newer format is told apart."""
        revision, refusal = 0, SuanwangError(UNREADABLE_PROGRAM, f"a message can't be read: {problem}")
        try:
            shape = msgspec.json.decode(data, type=_Shape)
            revision = shape.revision
            if shape.type == "update":
                check_format(shape.format, revision)
        except SuanwangError as newer:
            refusal = newer
        except (msgspec.DecodeError, UnicodeDecodeError):
            pass
        event(log, logging.WARNING, "refused", code=refusal.code, reason=refusal.message)
        self._figures.add(AGENT_REFUSALS, code=refusal.code)
        self.send(wire.Refusal(revision, refusal.code, refusal.message))

    def _dismissed(self, number: int | None) -> SuanwangError:
        """The user's view of a connection that the controller ended with a WebSocket close code."""
        if number == wire.CLOSED_REVOKED:
            message = f"the controller at {self._endpoint} has revoked this node's certificate"
            return SuanwangError(NOT_ADMITTED, message, ENROL_AGAIN)
        if number == wire.CLOSED_REPLACED:
            message = "another agent has connected as this node"
            return SuanwangError(NOT_ADMITTED, message, "run one agent a node, with a state directory of its own")
        message = f"the controller at {self._endpoint} closed the connection (code {number})"
        return SuanwangError(CONTROLLER_AWAY, message, "the agent goes on with the program it holds")

    def _explained(self, problem: BaseException) -> SuanwangError:
        """The user's view of what went wrong on the way to the controller."""
        text = f"{problem} {problem.__cause__ or ''}".upper()
        if "CERTIFICATE_EXPIRED" in text or "CERTIFICATE EXPIRED" in text:
            message = f"the controller at {self._endpoint} says that this node's certificate is past its end"
            return SuanwangError(CERTIFICATE_EXPIRED, message, ENROL_AGAIN)
        if isinstance(problem, (aiohttp.ClientConnectorCertificateError, ssl.SSLCertVerificationError)):
            message = f"the server at {self._endpoint} has no certificate by this node's CA, or one for another name"
            return SuanwangError(WRONG_CONTROLLER, message, "check the address, or enrol anew")
        refused = isinstance(problem, aiohttp.WSServerHandshakeError) and problem.status in (401, 403)
        if refused or "ALERT" in text:
            message = f"the controller at {self._endpoint} does not admit this node"
            return SuanwangError(NOT_ADMITTED, message, ENROL_AGAIN)
        if isinstance(problem, (aiohttp.ServerDisconnectedError, ConnectionResetError)) or "RESET" in text:
            # With TLS 1.3 a server judges our certificate after we are done, and asyncio's then goes without a word.
            message = f"the controller at {self._endpoint} hung up before it answered"
            hint = f"it stops, or refuses this node's certificate (is this node's clock right?); then {ENROL_AGAIN}"
            return SuanwangError(CONTROLLER_AWAY, message, hint)
        reason = str(problem) or type(problem).__name__
        return SuanwangError(CONTROLLER_AWAY, f"no controller at {self._endpoint}: {reason}", "is it running there?")
