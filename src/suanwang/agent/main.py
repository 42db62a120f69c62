"""`suanwang agent`: from settings to a running agent, and back to an exit code.

Kept light: several agents may start on one small machine at once, so what only some runs need is imported by those.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import resource
import signal
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from suanwang import __version__
from suanwang.agent import journal
from suanwang.agent.identity import (
    CERTIFICATE_EXPIRED,
    CONTROLLER_AWAY,
    ENROL_AGAIN,
    JOIN_TOKEN_INVALID,
    NOT_ENROLLED,
    Endpoint,
    Identity,
    JoinToken,
    utc_now,
)
from suanwang.agent.journal import event
from suanwang.agent.state import StateDirectory
from suanwang.model.errors import SuanwangError

if TYPE_CHECKING:
    from suanwang.agent.work import DataPlane

log = logging.getLogger("suanwang.agent")

DESCRIPTOR_LIMIT = 16_384


@dataclass(frozen=True, slots=True)
class Settings:
    """What `suanwang agent` is told. `token` is a join token, `token_file` a file that holds one.

    `underlay` names the namespace that stands for the node (None: the machine's own), `prefix` begins the names of all
    namespaces that this agent makes.
    """

    controller: str
    node: str
    state_directory: Path
    token: str | None = field(default=None, repr=False)
    token_file: Path | None = None
    underlay: str | None = None
    prefix: str = "sw."
    metrics_listen: str | None = None
    verify_interval_us: int = 2_000_000
    once: bool = False
    clean_up: bool = False
    log_level: int = logging.INFO


def run(settings: Settings) -> int:
    """Be the agent until SIGTERM or SIGINT, which leave the data plane as it is. Gives the exit code: 0 done, 1 error.

    With `clean_up`: remove everything that an agent with this prefix and state directory made on this node, and end.
    With `once`: end when the controller's program is applied; 1 if something of it failed.
    Raises SuanwangError for what the user has to put right.
    """
    journal.start(settings.log_level)
    state = StateDirectory(settings.state_directory)
    try:
        if settings.clean_up:
            return _clean_up(settings, state)
        return asyncio.run(_run(settings, state))
    finally:
        state.close()


def _plane(settings: Settings) -> DataPlane:
    from suanwang.linux.kernel import Kernel

    return Kernel(underlay=settings.underlay, prefix=settings.prefix)


def _clean_up(settings: Settings, state: StateDirectory) -> int:
    from suanwang.agent.holding import Holding
    from suanwang.agent.work import Work
    from suanwang.measure.figures import NoFigures

    Work(Holding(state), _plane(settings), NoFigures()).clean_up()
    return 0


async def _run(settings: Settings, state: StateDirectory) -> int:
    from suanwang.agent.agent import Agent, Timing
    from suanwang.agent.holding import Holding
    from suanwang.agent.work import Work
    from suanwang.measure.figures import Figures, NoFigures

    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    event(log, logging.INFO, "started", node=settings.node, version=__version__, controller=settings.controller)
    endpoint = Endpoint.parse(settings.controller)
    identity = Identity(state)
    generator = random.Random()
    figures: Figures | NoFigures = NoFigures()
    async with contextlib.AsyncExitStack() as stack:
        if settings.metrics_listen:
            from suanwang.agent.exposition import serve
            from suanwang.measure.metrics import AGENT

            figures = Figures(AGENT)
            await stack.enter_async_context(serve(settings.metrics_listen, figures))
        admitted = asyncio.create_task(_admitted(settings, endpoint, identity, state, generator))
        if not await _first(admitted, stopping):
            return 0
        work = Work(Holding(state), _plane(settings), figures)
        timing = Timing(settings.verify_interval_us)
        agent = Agent(settings.node, endpoint, identity, work, figures, generator, timing, _socket_limit())
        await _first(asyncio.create_task(agent.run(once=settings.once)), stopping)
    event(log, logging.INFO, "stopped", node=settings.node)
    report = agent.report
    finished = report is not None and not (report.failed or report.pending or agent.refused)
    return 1 if settings.once and not finished else 0


async def _first(task: asyncio.Task[None], stopping: asyncio.Event) -> bool:
    """Wait for the task, or for the signal to stop, which cancels it. True: the task came to its end by itself."""
    stop = asyncio.create_task(stopping.wait())
    await asyncio.wait([task, stop], return_when=asyncio.FIRST_COMPLETED)
    stop.cancel()
    if task.done():
        task.result()
        return True
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    return False


async def _admitted(
    settings: Settings, endpoint: Endpoint, identity: Identity, state: StateDirectory, generator: random.Random
) -> None:
    """See to it that the node has a certificate; with a join token not used before, get one, however long that takes.

    A node that holds a program goes on without a valid certificate: its data plane is worth more than its connection.
    """
    certificate = identity.certificate()
    trouble: SuanwangError | None = None
    if certificate is None:
        message = f"node {settings.node} is not enrolled with a controller yet"
        trouble = SuanwangError(NOT_ENROLLED, message, ENROL_AGAIN)
    elif certificate.node != settings.node:
        message = f"the state directory belongs to node {certificate.node}, not to {settings.node}"
        raise SuanwangError(NOT_ENROLLED, message, "give this node a state directory of its own")
    else:
        try:
            certificate.check(utc_now())
        except SuanwangError as problem:
            trouble = problem
    text = _token(settings)
    if text is None:
        if trouble is None:
            return
        if trouble.code == CERTIFICATE_EXPIRED and state.read("program.log"):
            event(
                log, logging.ERROR, "certificate-expired", code=trouble.code, reason=trouble.message, hint=trouble.hint
            )
            return
        raise trouble
    token = JoinToken.parse(text)
    if token.node != settings.node:
        message = f"the join token is for node {token.node}, not for {settings.node}"
        raise SuanwangError(JOIN_TOKEN_INVALID, message, "make a token for this node")
    if trouble is None and identity.was_used(token):
        return
    try:
        await _enrol(identity, endpoint, token, generator, once=settings.once)
    except SuanwangError as problem:
        if trouble is not None:
            raise
        # The token is new, so a new certificate was asked for; but there is a good one to go on with.
        event(log, logging.ERROR, "not-enrolled-anew", code=problem.code, reason=problem.message, hint=problem.hint)


async def _enrol(
    identity: Identity, endpoint: Endpoint, token: JoinToken, generator: random.Random, *, once: bool
) -> None:
    from suanwang.agent.connection import delays

    following = delays(generator)
    said = ""
    while True:
        try:
            certificate = await asyncio.to_thread(identity.enrol, endpoint, token)
        except SuanwangError as problem:
            if problem.code != CONTROLLER_AWAY or once:
                raise
            if problem.message != said:
                said = problem.message
                event(log, logging.WARNING, "enrolment-waits", code=problem.code, reason=said)
            await asyncio.sleep(following())
        else:
            event(log, logging.INFO, "enrolled", node=token.node, not_after=certificate.not_after.isoformat())
            return


def _token(settings: Settings) -> str | None:
    if settings.token_file is None:
        return settings.token
    try:
        return settings.token_file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        message = f"{settings.token_file} can't be read"
        raise SuanwangError(JOIN_TOKEN_INVALID, message, "give a file that holds the join token") from None


def _socket_limit() -> int:
    """Raise this process's limit of open files to what is allowed (but not without end); half of it is for probes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTOR_LIMIT if hard == resource.RLIM_INFINITY else min(hard, DESCRIPTOR_LIMIT)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    return (DESCRIPTOR_LIMIT if soft == resource.RLIM_INFINITY else soft) // 2
