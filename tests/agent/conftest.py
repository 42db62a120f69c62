"""A controller's end of the wire for the agent's tests: real TLS with the real authority, and scripted words."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest
from aiohttp import web

from suanwang.controller.authority import Authority
from suanwang.controller.credentials import Credentials
from suanwang.model.errors import SuanwangError
from suanwang.program import wire
from suanwang.program.fragment import Fragment

T = TypeVar("T")
LIMIT_S = 30.0


def until(condition: Callable[[], T], limit_s: float = LIMIT_S) -> T:
    """Wait until the condition gives something true, and return that."""
    ends = time.monotonic() + limit_s
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < ends, f"not so within {limit_s:g} s"
        threading.Event().wait(0.01)


class Peer:
    """Speaks the controller's side, from a thread of its own. `heard` holds all messages of agents in their order."""

    def __init__(self, directory: Path, agent_life_s: float = 86_400) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.credentials = Credentials(directory / "credentials.sqlite")
        self.authority = Authority(directory, self.credentials, agent_life_s=agent_life_s)
        self.context = self.authority.server_context(())
        self.heard: list[wire.FromAgent] = []
        self.enrolments: list[dict[str, str]] = []
        self.sockets: list[web.WebSocketResponse] = []
        self.connections = 0
        self.port = 0
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._thread.start()
        self.start()

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(LIMIT_S)

    def start(self) -> None:
        """Listen; after `stop`, on the same port again."""
        self.do(self._start())

    async def _start(self) -> None:
        application = web.Application()
        application.router.add_post("/v1/enrol", self._enrol)
        application.router.add_post("/v1/renew", self._renew)
        application.router.add_get("/v1/agent", self._agent)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, ssl_context=self.context, reuse_address=True).start()
        self.port = self._runner.addresses[0][1]

    def stop(self) -> None:
        """Vanish."""
        self.do(self._stop())

    async def _stop(self) -> None:
        for socket in self.sockets:
            await socket.close()
        self.sockets.clear()
        await self._runner.cleanup()

    def close(self) -> None:
        self.stop()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()
        self.credentials.close()

    async def _enrol(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.enrolments.append(body)
        try:
            issued = self.authority.enrol(body["node"], body["token"], body["csr"])
        except SuanwangError as problem:
            # As an unkind server would: it quotes the secret.
            message = f"{problem.message} (token {body['token']})"
            return web.json_response({"error": {"code": problem.code, "message": message}}, status=403)
        return web.json_response({"certificate": issued.certificate, "ca": issued.ca})

    async def _renew(self, request: web.Request) -> web.Response:
        assert request.transport is not None
        certificate = request.transport.get_extra_info("ssl_object").getpeercert(True)
        node, serial = self.authority.node_of(certificate)
        issued = self.authority.renew(node, serial, (await request.json())["csr"])
        return web.json_response({"certificate": issued.certificate, "ca": issued.ca})

    async def _agent(self, request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        if not request.transport.get_extra_info("ssl_object").getpeercert(True):
            raise web.HTTPUnauthorized
        socket = web.WebSocketResponse(heartbeat=5.0, max_msg_size=64 << 20)
        await socket.prepare(request)
        self.sockets.append(socket)
        self.connections += 1
        async for message in socket:
            self.heard.append(wire.from_agent(message.data))
        return socket

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def say(self, message: wire.FromController | bytes) -> None:
        data = message if isinstance(message, bytes) else wire.encode(message)
        self.do(self.sockets[-1].send_bytes(data))

    def publish(self, revision: int, *parts: Fragment) -> str:
        """Send fragments as a whole program; returns its hash."""
        total = program_hash(*parts)
        self.say(wire.update("", revision, total, (), parts))
        return total

    def of(self, kind: type[T]) -> list[T]:
        return [message for message in self.heard if isinstance(message, kind)]

    def wait_for(self, kind: type[T], fits: Callable[[T], bool] = lambda _: True, limit_s: float = LIMIT_S) -> T:
        """The latest message of that kind that fits, once there is one."""
        return until(lambda: next((one for one in reversed(self.of(kind)) if fits(one)), None), limit_s)

    def applied(self, total: str, limit_s: float = LIMIT_S) -> wire.Report:
        return self.wait_for(wire.Report, lambda report: report.hash == total, limit_s)


def program_hash(*parts: Fragment) -> str:
    return f"{sum(part.fingerprint for part in parts) % 2**128:032x}"


class Process:
    """An agent as a process of its own, with its log."""

    def __init__(self, directory: Path, **settings: Any) -> None:
        self.settings = settings
        self.log = directory / f"agent-{time.monotonic_ns()}.log"
        code = (
            "import sys, msgspec; from suanwang.agent.main import Settings, run\n"
            "from suanwang.model.errors import SuanwangError\n"
            "given = msgspec.json.decode(sys.argv[1])\n"
            "try: sys.exit(run(msgspec.convert(given, Settings, dec_hook=lambda kind, value: kind(value))))\n"
            "except SuanwangError as problem: print(problem, file=sys.stderr); sys.exit(1)\n"
        )
        with self.log.open("w") as log:
            arguments = msgspec.json.encode({name: value for name, value in settings.items() if value is not None})
            self.process = subprocess.Popen(
                [sys.executable, "-W", "error", "-c", code, arguments.decode()], stdout=log, stderr=log
            )

    @property
    def output(self) -> str:
        return self.log.read_text()

    def end(self, number: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(LIMIT_S)


@pytest.fixture
def peer(tmp_path: Path) -> Iterator[Peer]:
    found = Peer(tmp_path / "controller")
    yield found
    found.close()


class Node:
    """A node of this machine: a namespace as its underlay, and whatever agents run on it."""

    def __init__(self, directory: Path, name: str, peer: Peer) -> None:
        self.name = name
        self.peer = peer
        self.directory = directory
        self.state = directory / f"state-{name}"
        self.underlay = f"swa{os.getpid()}.{name}"
        self.prefix = f"{self.underlay}."
        self.processes: list[Process] = []

    def token(self) -> str:
        return self.peer.authority.enrolment_token(self.name)

    def settings(self, **changes: Any) -> dict[str, Any]:
        return {
            "controller": self.peer.url,
            "node": self.name,
            "state_directory": str(self.state),
            "underlay": self.underlay,
            "prefix": self.prefix,
            "verify_interval_us": 300_000,
            **changes,
        }

    def agent(self, **changes: Any) -> Process:
        process = Process(self.directory, **self.settings(**changes))
        self.processes.append(process)
        return process

    def joined(self, **changes: Any) -> Process:
        """An agent that has enrolled and said hello."""
        process = self.agent(token=self.token(), **changes)
        until(lambda: self.peer.of(wire.Hello) or process.process.poll() is not None)
        assert self.peer.of(wire.Hello), process.output
        return process

    def namespace(self, logical: str) -> str:
        return self.prefix + logical.replace("/", ".")

    def inside(self, logical: str, *command: str) -> str:
        done = subprocess.run(
            ["ip", "netns", "exec", self.namespace(logical), *command], capture_output=True, text=True, timeout=30
        )
        return done.stdout

    def made(self) -> list[str]:
        """Namespaces that the agent made."""
        return [name for name in os.listdir("/run/netns") if name.startswith(self.prefix)]

    def close(self) -> None:
        for process in self.processes:
            process.end(signal.SIGKILL)
        ending = Process(self.directory, **self.settings(clean_up=True))
        assert ending.process.wait(LIMIT_S) == 0, ending.output
        assert self.made() == []


@pytest.fixture
def node(tmp_path: Path, peer: Peer) -> Iterator[Node]:
    found = Node(tmp_path, "h1", peer)
    subprocess.run(["ip", "netns", "add", found.underlay], check=True)
    try:
        yield found
        found.close()
    finally:
        for process in found.processes:
            process.end(signal.SIGKILL)
        subprocess.run(["ip", "netns", "del", found.underlay], check=True)


@pytest.fixture(name="until")
def until_fixture() -> Callable[..., Any]:
    """`until(condition, limit_s)` waits."""
    return until


@pytest.fixture
def start_agent(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """`start_agent(**settings)` starts an agent process."""
    started: list[Process] = []

    def start(**settings: Any) -> Process:
        started.append(Process(tmp_path, **settings))
        return started[-1]

    yield start
    for process in started:
        process.end(signal.SIGKILL)
