"""`suanwang server`: run the server in the foreground until it is told to stop."""

from __future__ import annotations

import asyncio
import logging
import re
import signal
import sys
import time

from suanwang.api.server import Server
from suanwang.api.settings import Settings
from suanwang.model.registry import load

log = logging.getLogger("suanwang.api")

_SECRET = re.compile(r"\b(swe?_)[A-Za-z0-9_-]{20,}")


class Redaction(logging.Filter):
    """Blots out anything that looks like a token. Nothing should log one; this is for the day when something does."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass, without secrets."""
        message = record.getMessage()
        clean = _SECRET.sub(r"\1***", message)
        if clean != message:
            record.msg, record.args = clean, None
        if record.exc_info and not record.exc_text:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        if record.exc_text:
            record.exc_text = _SECRET.sub(r"\1***", record.exc_text)
        return True


def configure_logging(level: str) -> None:
    """Log to standard error: one line a record, times in UTC."""
    handler = logging.StreamHandler(sys.stderr)
    formatter = logging.Formatter("%(asctime)sZ %(levelname)-7s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    handler.addFilter(Redaction())
    root = logging.getLogger("suanwang")
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    root.propagate = False


def run(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit code. Raises SuanwangError when it can't start."""
    configure_logging(settings.log_level)
    return asyncio.run(_run(settings))


async def _run(settings: Settings) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    server = Server(settings, load())
    await server.start()
    assert server.services is not None
    log.info(
        "ready at %s, revision %d, data in %s", server.url, server.services.store.revision, settings.data_directory
    )
    await stop.wait()
    log.info("stopping")
    await server.close()
    log.info("stopped")
    return 0
