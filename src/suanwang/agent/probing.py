"""Probes: assertions tried with real packets from inside the workloads, many at once.

How a probe is tried does not depend on what is expected of it. It counts as answered when packets demonstrably
reached the destination and came back: an echo reply, a completed TCP handshake, a UDP answer, and also a refusal by
the workload itself (a TCP reset, an ICMP port unreachable), because filters drop silently and never refuse. An
answer by the wrong workload is an error, whatever was expected.

Round-trip times are taken by the monotonic clock. What the packet then waited for this busy process is taken off, as
the kernel knows when it came (SO_TIMESTAMPNS; for TCP the kernel's own first estimate, RFC 6298).
"""

from __future__ import annotations

import asyncio
import errno
import functools
import os
import secrets
import socket
import statistics
import struct
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from suanwang.agent import packets
from suanwang.agent.workload_sockets import Sockets, close_all, reset, sender, version_of
from suanwang.measure.figures import Recorder
from suanwang.measure.metrics import AGENT_PROBE_LOSS, AGENT_PROBE_RTT, AGENT_PROBES
from suanwang.program.objects import Probe
from suanwang.program.wire import ProbeResult, RunProbes

COUNT_LIMIT = 100
TIMEOUT_LIMIT_US = 30_000_000
REFUSED = "refused by the workload"

_TCP_INFO_RTT = struct.Struct("=68xI")
_REFUSALS = (errno.ECONNREFUSED, errno.ECONNRESET)


@dataclass(frozen=True, slots=True)
class Try:
    """One packet or connection. `rtt_us` None: not answered. `note`: what is worth telling about it."""

    rtt_us: int | None
    answerer: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Pace:
    """How often, how fast, and how long to wait for each answer."""

    count: int
    interval_us: int
    timeout_us: int


class Budget:
    """Keeps the sockets of all probes together within a limit."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._free = limit
        self._changed = asyncio.Condition()

    async def take(self, count: int) -> None:
        """Wait until that many are free, and take them."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._free >= count)
            self._free -= count

    async def give(self, count: int) -> None:
        """Give them back."""
        async with self._changed:
            self._free += count
            self._changed.notify_all()


class Prober:
    """Tries assertions. At most `socket_limit` sockets are open at once; what is beyond waits its turn."""

    def __init__(self, sockets: Sockets, figures: Recorder, socket_limit: int = 512) -> None:
        self._sockets = sockets
        self._figures = figures
        self._budget = Budget(max(socket_limit, COUNT_LIMIT))

    async def run(self, request: RunProbes, known: Mapping[str, Probe]) -> tuple[ProbeResult, ...]:
        """All assertions of a request at once, results in its order."""
        pace = Pace(
            min(max(request.count, 1), COUNT_LIMIT),
            max(request.interval_us, 0),
            min(max(request.timeout_us, 1), TIMEOUT_LIMIT_US),
        )
        names = dict.fromkeys(request.assertions)
        return tuple(await asyncio.gather(*(self._one(name, known.get(name), pace) for name in names)))

    async def _one(self, assertion: str, item: Probe | None, pace: Pace) -> ProbeResult:
        if item is None:
            return ProbeResult(assertion, "error", 0, 0, detail="this node's program has no probe for it")
        needed = pace.count if item.protocol == "tcp" else 1
        await self._budget.take(needed)
        try:
            result = judged(item, await self._tries(item, pace, needed))
        except OSError as problem:
            result = ProbeResult(assertion, "error", 0, 0, detail=f"can't send from the workload: {_reason(problem)}")
        finally:
            await self._budget.give(needed)
        self._record(result)
        return result

    async def _tries(self, item: Probe, pace: Pace, count: int) -> list[Try]:
        make = functools.partial(sender, item.protocol, item.source, item.destination)  # type: ignore[arg-type]
        opened = await self._sockets.open(item.netns, make, count)
        try:
            if item.protocol == "tcp":
                tries = (_handshake(one, item, pace, number) for number, one in enumerate(opened))
                return list(await asyncio.gather(*tries))
            return await _Exchange(opened[0], item, pace).run()
        finally:
            close_all(opened)

    def _record(self, result: ProbeResult) -> None:
        self._figures.add(AGENT_PROBES, assertion=result.assertion, outcome=result.outcome)
        if result.sent:
            self._figures.set(AGENT_PROBE_LOSS, 1 - result.answered / result.sent, assertion=result.assertion)
        if result.rtt_us:
            median_s = statistics.median(result.rtt_us) / 1e6
            self._figures.set(AGENT_PROBE_RTT, median_s, assertion=result.assertion)

    def forget(self, assertions: Iterable[str]) -> None:
        """Publish nothing more about assertions that are no longer in the program."""
        for assertion in assertions:
            for metric in (AGENT_PROBES, AGENT_PROBE_RTT, AGENT_PROBE_LOSS):
                self._figures.forget(metric, assertion=assertion)


def judged(item: Probe, tries: list[Try]) -> ProbeResult:
    """What the tries of a probe come to."""
    answered = [one for one in tries if one.rtt_us is not None]
    rtt_us = tuple(one.rtt_us for one in answered if one.rtt_us is not None)
    answerers = [one.answerer for one in answered if one.answerer]
    wrong = [answerer for answerer in answerers if item.answerer and answerer != item.answerer]
    answerer = (wrong or answerers or [""])[0]
    if wrong:
        detail = f"answered by {answerer}, not by {item.answerer}"
        return ProbeResult(item.assertion, "error", len(tries), len(answered), rtt_us, answerer, detail)
    notes = dict.fromkeys(one.note for one in (answered or tries) if one.note)
    outcome = "allowed" if answered else "denied"
    return ProbeResult(item.assertion, outcome, len(tries), len(answered), rtt_us, answerer, "; ".join(notes))  # type: ignore[arg-type]


def _reason(problem: OSError) -> str:
    return os.strerror(problem.errno) if problem.errno else str(problem)


def _silence(pace: Pace) -> str:
    return f"no answer within {pace.timeout_us / 1000:g} ms"


async def _handshake(one: socket.socket, item: Probe, pace: Pace, number: int) -> Try:
    """One TCP connection: the handshake is timed, then a responder's banner is waited for, as long as time is left."""
    await asyncio.sleep(number * pace.interval_us / 1e6)
    loop = asyncio.get_running_loop()
    ends = loop.time() + pace.timeout_us / 1e6
    sent_ns = time.monotonic_ns()
    try:
        async with asyncio.timeout_at(ends):
            await loop.sock_connect(one, (item.destination, item.port))
    except TimeoutError:
        return Try(None, note=_silence(pace))
    except OSError as problem:
        if problem.errno in _REFUSALS:
            return Try(_elapsed_us(sent_ns), note=REFUSED)
        return Try(None, note=_reason(problem))
    rtt_us = _elapsed_us(sent_ns)
    info = one.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_RTT.size)
    estimate_us = _TCP_INFO_RTT.unpack(info)[0]
    rtt_us = min(rtt_us, estimate_us or rtt_us)
    said = b""
    try:
        async with asyncio.timeout_at(ends):
            while packets.may_become_banner(said):
                part = await loop.sock_recv(one, packets.BANNER_LIMIT_BYTES)
                if not part:
                    break
                said += part
    except (TimeoutError, OSError):
        # A real service that waits for us to speak, or does not like to be left: the handshake was the answer.
        pass
    answerer = packets.banner_identity(said)
    if answerer is not None:
        reset(one)
    return Try(rtt_us, answerer or "")


def _elapsed_us(since_ns: int) -> int:
    return max(1, (time.monotonic_ns() - since_ns) // 1000)


class _Exchange:
    """Echoes or datagrams on one socket: sent at their pace, while answers come in any order."""

    def __init__(self, one: socket.socket, item: Probe, pace: Pace) -> None:
        self._socket = one
        self._pace = pace
        self._nonce = secrets.token_bytes(packets.NONCE_BYTES)
        self._sent_ns: dict[int, int] = {}
        self._tries: dict[int, Try] = {}
        self._complete = asyncio.Event()
        self._target = (item.destination, item.port if item.protocol == "udp" else 0)
        self._make: Callable[[int], bytes]
        self._match: Callable[[bytes], tuple[int, str] | None]
        if item.protocol == "udp":
            self._make = functools.partial(packets.datagram, self._nonce)
            self._match = self._datagram
        else:
            self._version = version_of(item.destination)
            self._identifier = secrets.randbits(16)
            self._make = lambda sequence: packets.echo_request(self._version, self._identifier, sequence, self._nonce)
            self._match = self._echo

    def _echo(self, data: bytes) -> tuple[int, str] | None:
        sequence = packets.echo_reply(self._version, data, self._identifier, self._nonce)
        return None if sequence is None else (sequence, "")

    def _datagram(self, data: bytes) -> tuple[int, str] | None:
        found = packets.datagram_reply(data, self._nonce)
        if found is None and self._sent_ns and not data.startswith(packets.ANSWER):
            # A real service's own words, from the very address and port that were asked: it was reached.
            return max(self._sent_ns), ""
        return found

    async def run(self) -> list[Try]:
        """Send all, wait for the last one's answer or time."""
        loop = asyncio.get_running_loop()
        try:
            self._socket.connect(self._target)
        except OSError as problem:
            return [Try(None, note=_reason(problem))] * self._pace.count
        loop.add_reader(self._socket, self._receive)
        try:
            start = loop.time()
            for sequence in range(self._pace.count):
                await asyncio.sleep(start + sequence * self._pace.interval_us / 1e6 - loop.time())
                self._send(sequence)
            async with asyncio.timeout(self._pace.timeout_us / 1e6):
                await self._complete.wait()
        except TimeoutError:
            pass
        finally:
            loop.remove_reader(self._socket)
        silent = Try(None, note=_silence(self._pace))
        return [self._tries.get(sequence, silent) for sequence in range(self._pace.count)]

    def _send(self, sequence: int) -> None:
        content = self._make(sequence)
        for attempt in range(2):
            self._sent_ns[sequence] = time.monotonic_ns()
            try:
                self._socket.send(content)
                return
            except OSError as problem:
                # The error may belong to a datagram before this one; then this one has not been sent yet.
                if problem.errno in _REFUSALS and attempt == 0:
                    del self._sent_ns[sequence]
                    self._refused()
                else:
                    self._settle(sequence, Try(None, note=_reason(problem)))
                    return

    def _receive(self) -> None:
        try:
            data, ancillary, _, _ = self._socket.recvmsg(2048, 64)
        except BlockingIOError:
            return
        except OSError as problem:
            if problem.errno in _REFUSALS:
                self._refused()
            elif self._sent_ns:
                self._settle(min(self._sent_ns), Try(None, note=_reason(problem)))
            return
        now_ns = time.monotonic_ns()
        found = self._match(data)
        if found is None or found[0] not in self._sent_ns:
            return
        sequence, answerer = found
        rtt_ns = now_ns - self._sent_ns[sequence] - _waited_ns(ancillary)
        # The kernel's time is that of the wall clock; were it set just now, the plain difference is what is left.
        if not 0 < rtt_ns <= now_ns - self._sent_ns[sequence]:
            rtt_ns = now_ns - self._sent_ns[sequence]
        if rtt_ns <= self._pace.timeout_us * 1000:
            self._settle(sequence, Try(max(1, rtt_ns // 1000), answerer))

    def _refused(self) -> None:
        """The workload's kernel says that nobody listens: for the oldest datagram that is not answered yet."""
        if self._sent_ns:
            sequence = min(self._sent_ns)
            self._settle(sequence, Try(_elapsed_us(self._sent_ns[sequence]), note=REFUSED))

    def _settle(self, sequence: int, result: Try) -> None:
        self._sent_ns.pop(sequence, None)
        self._tries[sequence] = result
        if len(self._tries) == self._pace.count:
            self._complete.set()


def _waited_ns(ancillary: list[tuple[int, int, bytes]]) -> int:
    """How long a packet lay in the socket before it was read."""
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == 35 and len(data) >= 16:
            seconds, nanoseconds = struct.unpack_from("=qq", data)
            return max(0, time.time_ns() - (int(seconds) * 10**9 + int(nanoseconds)))
    return 0
