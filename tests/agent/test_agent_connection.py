"""The connection by itself, without root: its delays, its heartbeat, its words."""

from __future__ import annotations

import asyncio
import contextlib
import random

import pytest

from suanwang.agent.connection import Connection, delays
from suanwang.agent.identity import Endpoint, Identity, JoinToken
from suanwang.agent.state import StateDirectory
from suanwang.measure.figures import Figures
from suanwang.measure.metrics import AGENT
from suanwang.program import wire


def test_delays_double_up_to_a_limit_and_are_spread():
    for seed in range(50):
        following = delays(random.Random(seed), 0.05, 10)
        found = [following() for _ in range(12)]
        bounds = [min(10, 0.05 * 2**number) for number in range(12)]
        assert all(bound / 2 <= delay <= bound for delay, bound in zip(found, bounds, strict=True))
    assert len({delays(random.Random(seed))() for seed in range(50)}) == 50


@pytest.fixture
def identity(tmp_path, peer):
    state = StateDirectory(tmp_path / "state")
    found = Identity(state)
    found.enrol(Endpoint.parse(peer.url), JoinToken.parse(peer.authority.enrolment_token("h1")))
    yield found
    state.close()


def connection(identity, peer, figures, received, **settings):
    def hello():
        return wire.Hello("h1", "0", 1, "", {})

    return Connection(Endpoint.parse(peer.url), identity, hello, received.append, figures, random.Random(1), **settings)


async def eventually(condition, limit_s=20.0):
    async with asyncio.timeout(limit_s):
        while not condition():  # noqa: ASYNC110, conditions of other threads set no event
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def running(one, peer):
    task = asyncio.create_task(one.run())
    try:
        yield one
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        # TLS says goodbye after the socket is closed for us; the loop must live until then.
        await asyncio.to_thread(peer.stop)
        await eventually(lambda: not _open_transports())
        peer.start()


def _open_transports():
    loop = asyncio.get_running_loop()
    return [one for one in loop._transports.values() if not one.is_closing()]


def test_a_controller_that_falls_silent_is_left(identity, peer):
    """The connection stands, but nothing comes through it, not even heartbeats."""
    figures = Figures(AGENT)

    async def scenario():
        async with running(connection(identity, peer, figures, [], heartbeat_s=0.3), peer):
            await eventually(lambda: peer.of(wire.Hello))
            await eventually(lambda: b"suanwang_agent_connected 1.0" in figures.text())
            transport = peer.sockets[-1]._req.transport
            peer.loop.call_soon_threadsafe(transport.pause_reading)
            await eventually(lambda: peer.connections > 1)
            # A transport that reads nothing does not notice that its other end is gone.
            peer.loop.call_soon_threadsafe(transport.abort)

    asyncio.run(scenario())


def test_messages_reach_both_ends_and_the_last_report_is_said_again(identity, peer):
    received: list[wire.FromController] = []
    figures = Figures(AGENT)

    async def scenario():
        async with running(connection(identity, peer, figures, received), peer) as one:
            await eventually(lambda: peer.of(wire.Hello))
            one.report(wire.Report(1, "a", 1, 0, 0))
            one.report(wire.Report(2, "b", 1, 0, 0))
            peer_says = asyncio.to_thread(peer.say, wire.ArmResponders("r", ("x",), 1))
            await peer_says
            await eventually(lambda: received)
            await eventually(lambda: len(peer.of(wire.Report)) == 2)
            one.restart()
            await eventually(lambda: len(peer.of(wire.Hello)) == 2)
            await eventually(lambda: len(peer.of(wire.Report)) == 3)
            assert [report.revision for report in peer.of(wire.Report)] == [1, 2, 2]

    asyncio.run(scenario())
    assert received == [wire.ArmResponders("r", ("x",), 1)]
    assert b"suanwang_agent_reconnects_total 1.0" in figures.text()
    assert b"suanwang_agent_connected 0.0" in figures.text()
