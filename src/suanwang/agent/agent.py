"""The agent: the connection, the work and the probes, brought together.

One event loop speaks with the controller and probes; one thread works on the kernel. Neither waits for the other:
updates that come while the kernel is busy are gathered, and the latest program wins.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from suanwang import __version__
from suanwang.agent.connection import Connection, delays
from suanwang.agent.identity import Endpoint, Identity, seconds_until, utc_now
from suanwang.agent.journal import event
from suanwang.agent.probing import Prober
from suanwang.agent.responding import Responders
from suanwang.agent.work import Work
from suanwang.agent.workload_sockets import Sockets
from suanwang.measure.figures import Recorder
from suanwang.measure.metrics import AGENT_CERTIFICATE
from suanwang.model.errors import SuanwangError
from suanwang.program import wire
from suanwang.program.program import FORMAT

RETRY_FIRST_S, RETRY_LONGEST_S = 0.5, 30.0
RENEWAL_RETRY_S = 60.0
SETTLE_S = 5.0
"""How long a request to probe waits for updates that came before it."""

log = logging.getLogger("suanwang.agent")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Timing:
    """Settings that are times."""

    verify_interval_us: int = 2_000_000


class Agent:
    """One node's agent, from start to stop. What it made in the kernel stays when it stops."""

    def __init__(
        self,
        node: str,
        endpoint: Endpoint,
        identity: Identity,
        work: Work,
        figures: Recorder,
        generator: random.Random,
        timing: Timing,
        socket_limit: int,
    ) -> None:
        self._node = node
        self._endpoint = endpoint
        self._identity = identity
        self._work = work
        self._figures = figures
        self._random = generator
        self._timing = timing
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="work")
        self._updates: list[wire.Update] = []
        self._disturbed = False
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._applied = asyncio.Event()
        self._sockets = Sockets(work.namespace)
        self._prober = Prober(self._sockets, figures, socket_limit)
        self._responders = Responders(self._sockets)
        self._asked: set[asyncio.Task[None]] = set()
        self._known_probes: frozenset[str] = frozenset()
        self.report: wire.Report | None = None
        self.refused = False
        """Whether the last update was refused."""
        self.connection = Connection(endpoint, identity, self._hello, self._receive, figures, generator)

    def _hello(self) -> wire.Hello:
        held = self._work.holding.held
        return wire.Hello(self._node, __version__, FORMAT, held.hash, held.have)

    async def run(self, *, once: bool = False) -> None:
        """Work until cancelled; `once`: until an update from the controller is applied and reported, or refused.

        The held program is applied before anyone is asked, so a node comes up as it was when the controller is away.
        """
        loop = asyncio.get_running_loop()

        def tell() -> None:
            loop.call_soon_threadsafe(self._disturb)

        self._work.listen(tell)
        await self._tell(await self._in_thread(self._work.adopt))
        tasks = [
            asyncio.create_task(self.connection.run()),
            asyncio.create_task(self._keep()),
            asyncio.create_task(self._renew()),
        ]
        if once:
            tasks.append(asyncio.create_task(self._until_applied()))
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            await self._stop([*tasks, *self._asked])

    async def _stop(self, tasks: list[asyncio.Task[None]]) -> None:
        self._work.listen(lambda: None)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._responders.close()
        self._sockets.close()
        # What is under way in the kernel comes to its end; nothing is left half done by an orderly stop.
        self._thread.shutdown(wait=True)

    async def _in_thread(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)

    async def _tell(self, report: wire.Report | None) -> None:
        if report is not None:
            self.report = report
            self.connection.report(report)
            known = frozenset(self._work.holding.probes)
            self._prober.forget(self._known_probes - known)
            self._known_probes = known

    def _receive(self, message: wire.FromController) -> None:
        if isinstance(message, wire.Update):
            self._updates.append(message)
            self._idle.clear()
            self._wake.set()
        else:
            task = asyncio.create_task(self._answer(message))
            self._asked.add(task)
            task.add_done_callback(self._answered)

    def _answered(self, task: asyncio.Task[None]) -> None:
        self._asked.discard(task)
        if not task.cancelled() and (problem := task.exception()) is not None:
            # The controller sees no answer in time; everything else goes on.
            log.error("not-answered", exc_info=problem, extra={"fields": {}})

    def _disturb(self) -> None:
        self._disturbed = True
        self._wake.set()

    async def _keep(self) -> None:
        """Take updates as they come; between them, verify when others changed something, and try again what failed."""
        loop = asyncio.get_running_loop()
        interval_s = self._timing.verify_interval_us / 1e6
        verify_at = loop.time() + interval_s
        retry_at, following = self._next_retry(None)
        while True:
            self._idle.set()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(min(verify_at, retry_at)):
                    await self._wake.wait()
            self._wake.clear()
            if self._updates:
                await self._take()
                retry_at, following = self._next_retry(None)
                if self._disturbed:
                    self._wake.set()
            elif loop.time() >= retry_at and not self._disturbed:
                await self._tell(await self._in_thread(self._work.retry))
                retry_at, following = self._next_retry(following)
            else:
                self._disturbed = False
                await self._tell(await self._in_thread(self._work.verify))
                verify_at = loop.time() + interval_s
                if retry_at == float("inf"):
                    retry_at, following = self._next_retry(None)

    def _next_retry(self, following: Callable[[], float] | None) -> tuple[float, Callable[[], float]]:
        """When to try again, and how the delays go on from there."""
        following = following or delays(self._random, RETRY_FIRST_S, RETRY_LONGEST_S)
        if not self._work.unfinished:
            return float("inf"), following
        return asyncio.get_running_loop().time() + following(), following

    async def _take(self) -> None:
        updates, self._updates = self._updates, []
        answer = await self._in_thread(lambda: self._work.take(updates))
        for refusal in answer.refusals:
            self.connection.send(refusal)
        await self._tell(answer.report)
        if answer.greet:
            self.connection.greet(empty=answer.empty)
        self.refused = bool(answer.refusals)
        if answer.report is not None or not answer.greet:
            self._applied.set()

    async def _until_applied(self) -> None:
        await self._applied.wait()
        await self.connection.flushed()

    async def _answer(self, message: wire.ArmResponders | wire.RunProbes) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SETTLE_S):
                await self._idle.wait()
        holding = self._work.holding
        if isinstance(message, wire.ArmResponders):
            problems = await self._responders.arm(message.assertions, holding.responders, message.duration_us)
            self.connection.send(wire.Armed(message.request, problems))
        else:
            results = await self._prober.run(message, holding.probes)
            self.connection.send(wire.ProbeResults(message.request, results))
            holds = sum(
                one.outcome == holding.probes[one.assertion].expect
                for one in results
                if one.assertion in holding.probes
            )
            event(log, logging.INFO, "probed", request=message.request, tried=len(results), as_expected=holds)

    async def _renew(self) -> None:
        """Renew the certificate when two thirds of its life are over, and connect with the new one."""
        while True:
            certificate = await self._in_thread(self._identity.certificate)
            if certificate is None:
                return
            self._figures.set(AGENT_CERTIFICATE, certificate.not_after.timestamp())
            # In bounded steps: a machine's clock may be set, and timers do not run while it sleeps.
            left_s = seconds_until(certificate.renew_at, utc_now())
            if left_s > 0:
                await asyncio.sleep(min(left_s, 3600.0))
                continue
            try:
                certificate.check(utc_now())
                renewed = await asyncio.to_thread(self._identity.renew, self._endpoint, self._node)
            except SuanwangError as problem:
                event(log, logging.WARNING, "not-renewed", code=problem.code, reason=problem.message, hint=problem.hint)
                await asyncio.sleep(self._random.uniform(0.5, 1.0) * RENEWAL_RETRY_S)
            else:
                event(log, logging.INFO, "renewed", not_after=renewed.not_after.isoformat())
                self.connection.restart()
