"""The server: builds what serves a data directory, listens, and takes it all down again in order."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import ssl
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from suanwang.api.agents import Agents
from suanwang.api.connections import Connections
from suanwang.api.gate import Gate, WebHandler, plain_errors
from suanwang.api.housekeeping import Housekeeping
from suanwang.api.openapi import PATH, document
from suanwang.api.routes import ROUTES
from suanwang.api.services import Services
from suanwang.api.settings import Settings
from suanwang.controller.authority import Authority, write_file
from suanwang.controller.conditions import Conditions
from suanwang.controller.credentials import Credentials
from suanwang.controller.engine import Controller
from suanwang.controller.node_states import NodeStates
from suanwang.measure.figures import Figures
from suanwang.measure.metrics import CONTROLLER
from suanwang.model.errors import SuanwangError, code
from suanwang.model.registry import Registry
from suanwang.store import SqliteStore

CANT_LISTEN = code("CANT_LISTEN", "the server can't listen on its address")
BAD_DIRECTORY = code("BAD_DIRECTORY", "the data directory can't be made or used")

ADMIN = "admin"
ADMIN_TOKEN = "admin.token"  # a file's name
NOTE = "server.json"
STORE = "store.db"
SECRETS = "secrets.db"

THREADS = 32
"""For calls of controller and store, which may wait for each other's locks."""
CERTIFICATE_CHECK_S = 86_400.0

Streams = set[asyncio.Task[Any]]

log = logging.getLogger("suanwang.api")


class Server:
    """Serves one data directory from `start` to `close`. Belongs to one event loop."""

    def __init__(self, settings: Settings, registry: Registry) -> None:
        self._settings = settings
        self._registry = registry
        self._runner: web.AppRunner | None = None
        self._listener: asyncio.Server | None = None
        self._stack = contextlib.AsyncExitStack()
        self._context: ssl.SSLContext | None = None
        self.services: Services | None = None
        """There from `start` on."""
        self.url = ""
        """Where it listens; the port is a real one even when 0 was asked for."""

    async def start(self) -> None:
        """Open the store, compile everything, listen. Raises BAD_DIRECTORY, CANT_LISTEN and what the store raises."""
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(THREADS, thread_name_prefix="call"))
        try:
            services = await self._build()
            self.services = services
            await self._listen(services)
        except BaseException:
            await self._stack.aclose()
            raise

    async def close(self) -> None:
        """Refuse new connections, let running requests end, close streams, then the store."""
        await self._stack.aclose()

    async def _build(self) -> Services:
        settings, stack = self._settings, self._stack
        directory = prepare(settings.data_directory)
        # The store is opened first: its lock keeps a second server from touching anything else here.
        store = await asyncio.to_thread(SqliteStore, directory / STORE)
        stack.callback(store.close)
        credentials = await asyncio.to_thread(Credentials, directory / SECRETS)
        stack.callback(credentials.close)
        authority = await asyncio.to_thread(Authority, directory, credentials, agent_life_s=settings.agent_life_s)
        await asyncio.to_thread(_admin_token, directory, credentials)
        log.info("loading the store at revision %d", store.revision)
        controller = await asyncio.to_thread(Controller, store, self._registry)
        figures = Figures(CONTROLLER)
        states = NodeStates()
        conditions = await asyncio.to_thread(Conditions, store)
        agents = Agents(controller, states, conditions, figures, settings.limits)
        housekeeping = Housekeeping(
            store, controller, credentials, states, conditions, figures, agents.noted, agents.drop
        )
        agents.start()
        await housekeeping.start()
        stack.push_async_callback(housekeeping.close)
        stack.push_async_callback(agents.close)
        self._context = await asyncio.to_thread(authority.server_context, self._names())
        return Services(
            settings, store, self._registry, controller, credentials, authority, states, conditions, agents,
            housekeeping, figures,
        )  # fmt: skip

    def _names(self) -> set[str]:
        host = self._settings.host
        return {*self._settings.names, *({host} if host not in ("", "0.0.0.0", "::") else ())}

    async def _listen(self, services: Services) -> None:
        settings = self._settings
        limits = settings.limits
        streams: Streams = set()
        asked: list[Callable[[web.Request], None]] = []
        app = application(services, streams, asked)
        runner = web.AppRunner(
            app,
            access_log=None,
            handle_signals=False,
            keepalive_timeout=limits.idle_timeout_s,
            max_line_size=limits.header_bytes,
            max_field_size=limits.header_bytes,
            shutdown_timeout=limits.shutdown_s,
        )
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        assert runner.server is not None
        connections = Connections(runner.server, limits.first_request_timeout_s)
        asked.append(connections.asked)
        sweeping = asyncio.create_task(connections.sweep())
        self._stack.callback(sweeping.cancel)
        try:
            # Not through a web.TCPSite, which can't bound the TLS handshake.
            listener = await asyncio.get_running_loop().create_server(
                runner.server,
                settings.host or None,
                settings.port,
                ssl=self._context,
                ssl_handshake_timeout=limits.handshake_timeout_s,
                ssl_shutdown_timeout=limits.handshake_timeout_s,
                backlog=1024,
            )
        except (OSError, OverflowError) as problem:
            reason = getattr(problem, "strerror", None) or str(problem)
            message = f"can't listen on {settings.host}:{settings.port}: {reason}"
            raise SuanwangError(CANT_LISTEN, message, "choose another address: --listen HOST:PORT") from None
        # Streams end before the runner waits for running requests, and nobody new comes before that.
        self._stack.push_async_callback(_end_streams, services, streams)
        self._stack.callback(listener.close)
        port = listener.sockets[0].getsockname()[1]
        host = settings.host if settings.host not in ("", "0.0.0.0", "::") else "127.0.0.1"
        self.url = f"https://{f'[{host}]' if ':' in host else host}:{port}"
        self._note_down()
        renewing = asyncio.create_task(self._renew_certificate(services))
        self._stack.callback(renewing.cancel)

    def _note_down(self) -> None:
        directory = self._settings.data_directory.resolve()
        note = {
            "url": self.url,
            "pid": os.getpid(),
            "ca": str(directory / "ca.pem"),
            "tokenFile": str(directory / ADMIN_TOKEN),
        }
        path = directory / NOTE
        write_file(path, msgspec.json.format(msgspec.json.encode(note)) + b"\n", 0o600)
        self._stack.callback(path.unlink, missing_ok=True)

    async def _renew_certificate(self, services: Services) -> None:
        assert self._context is not None
        while True:
            await asyncio.sleep(CERTIFICATE_CHECK_S)
            try:
                if await asyncio.to_thread(services.authority.refresh_server, self._names()):
                    services.authority.load_server(self._context)
                    log.info("the server's certificate was renewed")
            except Exception:
                log.exception("the server's certificate can't be renewed")


def application(services: Services, streams: Streams, asked: list[Callable[[web.Request], None]]) -> web.Application:
    """The routes as an aiohttp application. `streams` are those that run; each of `asked` hears of every request."""

    @web.middleware
    async def hear(request: web.Request, handler: WebHandler) -> web.StreamResponse:
        for function in asked:
            function(request)
        return await handler(request)

    app = web.Application(middlewares=[hear, plain_errors], client_max_size=services.settings.limits.body_bytes)
    gate = Gate(services)
    for route in ROUTES:
        app.router.add_route(
            route.method, route.path, _tracked(streams, gate.handler(route)) if route.streams else gate.handler(route)
        )
    described = msgspec.json.encode(document(ROUTES, services.registry))

    async def describe(request: web.Request) -> web.Response:
        return web.Response(body=described, content_type="application/json", charset="utf-8")

    app.router.add_route("GET", PATH, describe)
    app.on_response_prepare.append(_harden)
    return app


def _tracked(streams: Streams, handler: WebHandler) -> WebHandler:
    """The handler, remembered while it runs: streams have no end of their own, the server ends them when it stops."""

    async def handle(request: web.Request) -> web.StreamResponse:
        task = asyncio.current_task()
        assert task is not None
        streams.add(task)
        try:
            return await handler(request)
        finally:
            streams.discard(task)

    return handle


async def _end_streams(services: Services, streams: Streams) -> None:
    await services.agents.close()
    for task in list(streams):
        task.cancel()


async def _harden(request: web.Request, response: web.StreamResponse) -> None:
    response.headers.setdefault("Cache-Control", "no-store")
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Server"] = "suanwang"


def prepare(directory: Path) -> Path:
    """Make the data directory, closed to others. Raises BAD_DIRECTORY."""
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        directory.chmod(0o700)
    except OSError as problem:
        message = f"can't use {directory} as data directory: {problem.strerror}"
        raise SuanwangError(BAD_DIRECTORY, message, "choose another: --data-directory PATH") from None
    return directory


def _admin_token(directory: Path, credentials: Credentials) -> None:
    """Write the first admin's token. When its file is gone, a new one is made and the old one is void."""
    path = directory / ADMIN_TOKEN
    if path.exists():
        secret = path.read_text(encoding="ascii", errors="replace").strip()
        token = credentials.token_of(secret)
        if token is not None or any(one.role == ADMIN for one in credentials.tokens()):
            return
    secret, _ = credentials.add_token(ADMIN, "admin", ("*",), replace=True)
    write_file(path, secret.encode() + b"\n", 0o600)
    log.info("the admin's token is in %s", path)
