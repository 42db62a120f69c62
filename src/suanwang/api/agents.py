"""Agents' streams: each connected agent is told what differs between the program it has and the one it should have.

A session has one reader and one sender. Changes only set the session's flag, so a thousand of them while an agent is
busy make one update, and a slow agent costs the others nothing. One update is under way at a time: the next is worked
out when the agent has reported or refused the last, from what it then holds.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterable
from dataclasses import dataclass, field

import aiohttp
import msgspec
from aiohttp import web

from suanwang.api.settings import Limits
from suanwang.controller.conditions import Conditions
from suanwang.controller.engine import Controller
from suanwang.controller.node_states import NodeStates
from suanwang.controller.probing import AGENT_AWAY
from suanwang.controller.publication import Publication
from suanwang.measure.figures import Recorder
from suanwang.measure.metrics import (
    CONTROLLER_AGENTS,
    CONTROLLER_REFUSALS,
    CONTROLLER_UPDATE_BYTES,
    CONTROLLER_UPDATES,
)
from suanwang.model.errors import CATALOGUE, SuanwangError
from suanwang.program import wire

log = logging.getLogger("suanwang.api.agents")


@dataclass(eq=False, slots=True)
class _Session:
    """One connection."""

    node: str
    serial: str
    socket: web.WebSocketResponse
    hello: wire.Hello
    publication: Publication | None = None
    """What the agent has and still needs; another one after every hello."""
    sent_hash: str = ""
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    settled: asyncio.Event = field(default_factory=asyncio.Event)
    under_way: wire.Update | None = None
    answers: dict[str, asyncio.Future[wire.Armed | wire.ProbeResults]] = field(default_factory=dict)
    sender: asyncio.Task[None] | None = None
    closing: asyncio.Task[bool] | None = None


class Agents:
    """All connected agents. Belongs to the event loop that it is made in."""

    def __init__(
        self, controller: Controller, states: NodeStates, conditions: Conditions, figures: Recorder, limits: Limits
    ) -> None:
        self._controller = controller
        self._states = states
        self._conditions = conditions
        self._figures = figures
        self._limits = limits
        self._sessions: dict[str, _Session] = {}
        self._loop = asyncio.get_running_loop()
        self.noted = asyncio.Event()
        """Set when agents' words made conditions that are to be written."""

    def start(self) -> None:
        """Follow the controller from now on."""
        self._controller.subscribe(self._states.changed)

    async def serve(self, request: web.Request, node: str, serial: str) -> web.WebSocketResponse:
        """Talk with the agent of `node`, which has shown the certificate `serial`, until one side ends it."""
        socket = web.WebSocketResponse(
            heartbeat=self._limits.agent_heartbeat_s, compress=False, max_msg_size=self._limits.agent_message_bytes
        )
        await socket.prepare(request)
        session: _Session | None = None
        try:
            async with asyncio.timeout(self._limits.hello_timeout_s):
                hello = self._read(await socket.receive())
            if not isinstance(hello, wire.Hello):
                raise _Unacceptable("the first message must be hello")
            session = _Session(node, serial, socket, hello)
            await self._greet(session, hello)
            self._enter(session)
            session.sender = asyncio.create_task(self._send(session), name=f"updates to {node}")
            async for message in socket:
                await self._hear(session, self._read(message))
        except TimeoutError:
            await socket.close(code=wire.CLOSED_BAD_MESSAGE, message=b"no hello came in time")
        except _Unacceptable as problem:
            log.warning("agent of %s sent what can't be read: %s", node, problem)
            await socket.close(code=wire.CLOSED_BAD_MESSAGE, message=str(problem).encode()[:120])
        finally:
            if session is not None:
                self._leave(session)
                if session.closing is not None:
                    # The connection goes with this call: not before the farewell is said.
                    await asyncio.wait([session.closing])
        return socket

    async def ask(
        self, node: str, message: wire.ArmResponders | wire.RunProbes, timeout_s: float
    ) -> wire.Armed | wire.ProbeResults:
        """Send a request to an agent and wait for its answer. Raises AGENT_AWAY."""
        session = self._sessions.get(node)
        if session is None:
            raise SuanwangError(AGENT_AWAY, f"the agent of {node} is not connected", "is it running?")
        future: asyncio.Future[wire.Armed | wire.ProbeResults] = asyncio.get_running_loop().create_future()
        session.answers[message.request] = future
        try:
            async with asyncio.timeout(timeout_s):
                await session.socket.send_bytes(wire.encode(message))
                return await future
        except TimeoutError:
            raise SuanwangError(AGENT_AWAY, f"the agent of {node} did not answer in time", "is it well?") from None
        except (ConnectionError, aiohttp.ClientError, RuntimeError):
            raise SuanwangError(AGENT_AWAY, f"the connection to {node} broke", "it connects again by itself") from None
        finally:
            session.answers.pop(message.request, None)

    def drop(self, node: str, serials: Iterable[str] | None = None) -> None:
        """End a node's connection, if it is (with `serials`: by one of those certificates) there."""
        session = self._sessions.get(node)
        if session is not None and (serials is None or session.serial in serials):
            self._end(session, wire.CLOSED_REVOKED, b"revoked")

    def _end(self, session: _Session, code: int, reason: bytes) -> None:
        # The other end may be dead, and nobody shall wait for its farewell: nothing more is sent or heard from now on.
        if session.sender is not None:
            session.sender.cancel()
        session.closing = asyncio.create_task(session.socket.close(code=code, message=reason))

    async def close(self) -> None:
        """End all connections: the server stops. Agents go on with what they have."""
        sockets = [session.socket for session in self._sessions.values()]
        closing = (socket.close(code=aiohttp.WSCloseCode.GOING_AWAY, message=b"server stops") for socket in sockets)
        await asyncio.gather(*closing, return_exceptions=True)

    def _read(self, message: aiohttp.WSMessage) -> wire.FromAgent:
        if message.type not in (aiohttp.WSMsgType.BINARY, aiohttp.WSMsgType.TEXT):
            raise _Unacceptable("the connection ended" if message.type != aiohttp.WSMsgType.ERROR else "a bad frame")
        try:
            return wire.from_agent(message.data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as problem:
            raise _Unacceptable(f"a message is not valid: {problem}") from None

    async def _greet(self, session: _Session, hello: wire.Hello) -> None:
        if hello.node != session.node:
            raise _Unacceptable("the certificate is for another node")
        # Without a program there are no fragments to build on.
        session.hello = hello if hello.hash else msgspec.structs.replace(hello, have={})
        await self._publish(session, session.hello)
        session.under_way = None
        wanted = await asyncio.to_thread(self._controller.hash, session.node)
        self._states.connected(
            session.node,
            hello.agent_version[:100],
            hello.hash[:64],
            wanted_hash=wanted,
            revision=self._controller.revision,
        )
        session.settled.set()
        session.wake.set()

    async def _publish(self, session: _Session, hello: wire.Hello) -> None:
        """Count from what `hello` says the agent has."""
        # The controller's lock may be held for long by a large change: this loop must not wait for it.
        older = session.publication
        session.publication = await asyncio.to_thread(self._controller.publish, hello, lambda: self._wake(session))
        if older is not None:
            await asyncio.to_thread(self._controller.unpublish, older)

    def _wake(self, session: _Session) -> None:
        """There is something to send. Called in the committing thread."""
        # The controller may outlive the loop for a moment when the server stops.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(session.wake.set)

    def _enter(self, session: _Session) -> None:
        older = self._sessions.get(session.node)
        self._sessions[session.node] = session
        self._figures.set(CONTROLLER_AGENTS, len(self._sessions))
        log.info("agent of %s connected", session.node)
        if older is not None:
            self._end(older, wire.CLOSED_REPLACED, b"a newer connection is here")

    def _leave(self, session: _Session) -> None:
        if session.sender is not None:
            session.sender.cancel()
        if session.publication is not None:
            self._loop.run_in_executor(None, self._controller.unpublish, session.publication)
        for future in session.answers.values():
            if not future.done():
                future.set_exception(ConnectionResetError())
        if self._sessions.get(session.node) is session:
            del self._sessions[session.node]
            self._states.disconnected(session.node)
            self._figures.set(CONTROLLER_AGENTS, len(self._sessions))
            log.info("agent of %s disconnected", session.node)

    async def _hear(self, session: _Session, message: wire.FromAgent) -> None:
        node = session.node
        if isinstance(message, wire.Hello):
            await self._greet(session, message)
        elif isinstance(message, wire.Report):
            current = message.hash == session.sent_hash
            self._states.reported(node, message, current=current)
            if session.under_way is not None and current and message.revision >= session.under_way.revision:
                session.under_way = None
                session.settled.set()
            self._note(node, message)
        elif isinstance(message, wire.Refusal):
            await self._refused(session, message)
        else:
            self._states.heard(node)
            future = session.answers.get(message.request)
            if future is not None and not future.done():
                future.set_result(message)

    def _note(self, node: str, report: wire.Report) -> None:
        reason, text = "", ""
        if report.failed:
            total = report.done + report.pending + report.failed
            first = next((problem for problem in report.problems if problem[1] != "PENDING"), ("", "", ""))
            reason = first[1] or "OBJECTS_FAILED"
            text = f"{report.failed} of {total} objects failed" + (f"; {first[0]}: {first[2]}" if first[0] else "")
        self._conditions.programmed(node, reason, text, report.revision)
        if self._conditions.dirty:
            self.noted.set()

    async def _refused(self, session: _Session, refusal: wire.Refusal) -> None:
        log.warning(
            "agent of %s refused revision %d: %s %s", session.node, refusal.revision, refusal.code, refusal.message
        )
        # The code comes from outside: only known ones may become label values.
        known = refusal.code if refusal.code in CATALOGUE else "other"
        self._figures.add(CONTROLLER_REFUSALS, code=known)
        self._states.refused(session.node, refusal.code, refusal.message[:1000])
        self._conditions.programmed(session.node, refusal.code, refusal.message, refusal.revision)
        self.noted.set()
        if session.under_way is not None:
            # The agent keeps what it has, and only it knows what that is: whatever comes next starts from nothing.
            await self._publish(session, msgspec.structs.replace(session.hello, hash="", have={}))
            session.under_way = None
            session.settled.set()

    async def _send(self, session: _Session) -> None:
        try:
            while True:
                await session.wake.wait()
                session.wake.clear()
                publication = session.publication
                assert publication is not None, "a session begins to send after hello"
                update = await asyncio.to_thread(self._controller.next_update, publication)
                if update is None or session.publication is not publication:
                    continue
                data = await asyncio.to_thread(wire.encode, update)
                session.settled.clear()
                session.under_way = update
                session.sent_hash = update.hash
                self._figures.add(CONTROLLER_UPDATES)
                self._figures.add(CONTROLLER_UPDATE_BYTES, len(data))
                await session.socket.send_bytes(data)
                try:
                    async with asyncio.timeout(self._limits.update_timeout_s):
                        await session.settled.wait()
                except TimeoutError:
                    log.warning("agent of %s says nothing of revision %d", session.node, update.revision)
        except (ConnectionError, aiohttp.ClientError) as problem:
            log.info("updates to %s end: %s", session.node, problem)
            await session.socket.close()
        except Exception:
            # The agent connects again and is told everything anew, rather than to stay without updates silently.
            log.exception("updates to %s end", session.node)
            await session.socket.close(code=aiohttp.WSCloseCode.INTERNAL_ERROR)


class _Unacceptable(Exception):
    """An agent does not keep to the protocol."""
