"""Messages between controller and agents, as JSON over one WebSocket (RFC 6455) on mutual TLS.

The agent speaks first (`Hello`: what it has), the controller answers with what differs (`Update`), and sends more
whenever the
node's program changes. Everything an agent has applied survives the connection; nothing here is a step, all is state.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Literal

import msgspec

from suanwang.program.fragment import Fragment
from suanwang.program.objects import AnyObject, entered
from suanwang.program.program import FORMAT

CLOSED_BAD_MESSAGE, CLOSED_REPLACED, CLOSED_REVOKED = 4000, 4001, 4003
"""Why the controller ended a connection: what came was no message; a newer connection of the node is there; the node's
certificate is revoked. From the range that RFC 6455, section 7.4.2, leaves to applications."""


class Hello(msgspec.Struct, tag="hello", frozen=True):
    """First message of an agent. `have` maps fragment ids to fingerprints (32 hex digits) of the program it holds."""

    node: str
    agent_version: str
    format: int
    hash: str
    have: dict[str, str]


class Report(msgspec.Struct, tag="report", frozen=True):
    """What came of a program: counts by state, and each object that failed or is pending (as text, code, message)."""

    revision: int
    hash: str
    done: int
    pending: int
    failed: int
    problems: tuple[tuple[str, str, str], ...] = ()
    repaired: int = 0
    apply_us: int = 0


class Refusal(msgspec.Struct, tag="refusal", frozen=True):
    """The agent can't take an update (a newer format, a missing base, an unreadable object); it keeps what it has."""

    revision: int
    code: str
    message: str


class ProbeResult(msgspec.Struct, frozen=True):
    """What came of trying one assertion. Round-trip times are in microseconds, of answered tries only."""

    assertion: str
    outcome: Literal["allowed", "denied", "error"]
    sent: int
    answered: int
    rtt_us: tuple[int, ...] = ()
    answerer: str = ""
    detail: str = ""


class ProbeResults(msgspec.Struct, tag="probe-results", frozen=True):
    """Answer to `RunProbes`."""

    request: str
    results: tuple[ProbeResult, ...]


class Armed(msgspec.Struct, tag="armed", frozen=True):
    """Answer to `ArmResponders`: per assertion that could not be armed, why."""

    request: str
    problems: dict[str, str] = {}


class Update(msgspec.Struct, tag="update", frozen=True):
    """The way to the node's program at `revision`, from the one whose hash is `base` (empty: from nothing).

    `put` holds fragments as raw JSON, so that an agent can read `format` before it meets an object it does not know.
    """

    format: int
    revision: int
    base: str
    hash: str
    remove: tuple[str, ...]
    put: tuple[msgspec.Raw, ...]


class ArmResponders(msgspec.Struct, tag="arm", frozen=True):
    """Answer on the `Responder`s of these assertions for `duration_us`, then stop."""

    request: str
    assertions: tuple[str, ...]
    duration_us: int


class RunProbes(msgspec.Struct, tag="probe", frozen=True):
    """Try these assertions, `count` times each at `interval_us`, waiting `timeout_us` for each answer."""

    request: str
    assertions: tuple[str, ...]
    count: int = 3
    interval_us: int = 20_000
    timeout_us: int = 1_000_000


FromAgent = Hello | Report | Refusal | ProbeResults | Armed
FromController = Update | ArmResponders | RunProbes

_encode = msgspec.json.Encoder().encode
_from_agent: msgspec.json.Decoder[FromAgent] = msgspec.json.Decoder(FromAgent)
_from_controller: msgspec.json.Decoder[FromController] = msgspec.json.Decoder(FromController)


@cache
def _raw_fragment(kinds: Any) -> msgspec.json.Decoder[tuple[str, str, tuple[AnyObject, ...], str]]:
    return msgspec.json.Decoder(tuple[str, str, tuple[kinds, ...], str])


def encode(message: FromAgent | FromController) -> bytes:
    """A message as JSON."""
    return _encode(message)


def from_agent(data: bytes | str) -> FromAgent:
    """Read an agent's message. Raises msgspec.ValidationError / DecodeError."""
    return _from_agent.decode(data)


def from_controller(data: bytes | str) -> FromController:
    """Read a controller's message. Raises msgspec.ValidationError / DecodeError."""
    return _from_controller.decode(data)


def encode_fragment(part: Fragment) -> msgspec.Raw:
    """A fragment as raw JSON. The fingerprint exceeds 64 bits, so it travels as hexadecimal text."""
    return msgspec.Raw(_encode((part.owner, part.part, part.objects, f"{part.fingerprint:032x}")))


def decode_fragment(raw: msgspec.Raw) -> Fragment:
    """The inverse of `encode_fragment`. Raises msgspec.ValidationError for objects this release does not know."""
    owner, part, objects, fingerprint = _raw_fragment(entered()).decode(raw)
    return Fragment(owner, part, objects, int(fingerprint, 16))


def update(base: str, revision: int, new_hash: str, remove: tuple[str, ...], put: tuple[Fragment, ...]) -> Update:
    """An update from the program with hash `base`."""
    return Update(FORMAT, revision, base, new_hash, remove, tuple(encode_fragment(part) for part in put))
