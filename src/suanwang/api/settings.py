"""What the server can be told: each setting with its default and its meaning, and the limits that it keeps."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from suanwang.controller.authority import AGENT_LIFE_S
from suanwang.model.errors import INVALID, SuanwangError

DEFAULT_PORT = 7443


@dataclass(frozen=True, slots=True)
class Limits:
    """What one client may take. Every queue, wait and size has one of these."""

    body_bytes: int = 64 * 2**20
    header_bytes: int = 8190
    """Of one header or of the request line."""
    requests_per_token: int = 32
    streams_per_token: int = 16
    """Watches and waits that are open at once."""
    anonymous_requests: int = 64
    """Requests without a token at once, all clients together."""
    refused_delay_s: float = 0.25
    """How long the answer to a wrong token takes."""
    refused_at_once: int = 64
    body_timeout_s: float = 120.0
    write_timeout_s: float = 60.0
    """Until a watch whose client reads nothing is ended."""
    idle_timeout_s: float = 75.0
    """Of a kept connection without requests."""
    handshake_timeout_s: float = 10.0
    first_request_timeout_s: float = 20.0
    """Of a new connection, until its first request's headers are there."""
    hello_timeout_s: float = 10.0
    agent_heartbeat_s: float = 10.0
    agent_message_bytes: int = 64 * 2**20
    update_timeout_s: float = 30.0
    """Until an agent that says nothing of an update is sent a newer one."""
    watch_heartbeat_s: float = 30.0
    """An empty line keeps a quiet watch alive."""
    longest_wait_s: float = 600.0
    shutdown_s: float = 10.0


@dataclass(frozen=True, slots=True)
class Settings:
    """How a server is to run.

    `names` are further names and addresses at which it is reached; its certificate is made for them, this machine's
    own, and the address it listens on. `metrics_open` publishes /metrics to everyone, else only to this machine and to
    tokens that see everything.
    """

    data_directory: Path
    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    names: tuple[str, ...] = ()
    log_level: str = "info"
    metrics_open: bool = False
    agent_life_s: float = AGENT_LIFE_S
    limits: Limits = field(default_factory=Limits)


def read_listen(text: str) -> tuple[str, int]:
    """Host and port of `HOST:PORT`, `[IPV6]:PORT` or `HOST`. Raises INVALID."""
    host, separator, port = text.rpartition(":")
    bare_ipv6 = ":" in host and not host.startswith("[")
    if not separator or bare_ipv6 or text.endswith("]"):
        host, port = text, str(DEFAULT_PORT)
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdigit() or int(port) > 65535:
        raise SuanwangError(INVALID, f"{text!r} is no address to listen on", "write HOST:PORT, as in 127.0.0.1:7443")
    return host, int(port)
