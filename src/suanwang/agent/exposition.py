"""`GET /metrics` of an agent, on an address of the operator's choice; nothing listens unless asked for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from suanwang.measure.figures import Figures
from suanwang.model.errors import SuanwangError, code

LISTEN_FAILED = code("LISTEN_FAILED", "the program can't listen on an address that it was given")


def split(listen: str) -> tuple[str, int]:
    """`HOST:PORT` or `[HOST]:PORT`. Raises LISTEN_FAILED."""
    host, colon, port = listen.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65535:
        raise SuanwangError(
            LISTEN_FAILED, f"{listen!r} is no address to listen on", "give HOST:PORT, say 127.0.0.1:9473"
        )
    return host.strip("[]") or "127.0.0.1", int(port)


@asynccontextmanager
async def serve(listen: str, figures: Figures) -> AsyncIterator[int]:
    """Answer `GET /metrics` for the length of the block; gives the port. Raises LISTEN_FAILED."""
    from aiohttp import web

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=figures.text(), headers={"Content-Type": figures.content_type})

    host, port = split(listen)
    application = web.Application()
    application.router.add_get("/metrics", metrics)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        try:
            site = web.TCPSite(runner, host, port)
            await site.start()
        except OSError as problem:
            message = f"can't listen on {listen}: {problem.strerror}"
            raise SuanwangError(LISTEN_FAILED, message, "choose another address with --metrics-listen") from None
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()
