"""The kernel's message language: netlink sockets, messages and attributes (RFC 3549).

Why not a library: a node's first program is some ten thousand messages, and general codecs need 50 to 100 µs for each
in Python. Here a message is a few `struct` calls, a batch is one system call for a hundred messages, and only the
last of them asks for an acknowledgement: the kernel works through a batch in order and always reports errors, so
whatever did not fail by then is done.
"""

from __future__ import annotations

import errno
import itertools
import os
import secrets
import socket
import struct
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Final, NamedTuple

ROUTE: Final = 0
NETFILTER: Final = 12

REQUEST, ACKNOWLEDGE, DUMP = 0x1, 0x4, 0x300
REPLACE, EXCLUSIVE, CREATE, APPEND = 0x100, 0x200, 0x400, 0x800

_ERROR, _DONE = 2, 3
_CAPPED, _EXTENDED = 0x100, 0x200
_SOL_NETLINK, _CAP_ACK, _EXT_ACK, _STRICT = 270, 10, 11, 12
_SO_RCVBUFFORCE = 33
_BATCH_MESSAGES, _BATCH_BYTES = 100, 60_000
_RECEIVE_BYTES = 1 << 18

OWN_MASK: Final = 0xFFFFF000
OWN_PORTS: Final = 0x4000_0000 | secrets.randbits(30) & OWN_MASK
"""The first of the port numbers of this process's sockets: by them its own doing is told from that of others.

Between the kernel's own choices: numbers of processes, and those just below 2^32.
"""

_next_port = itertools.count()

_header = struct.Struct("=IHHII")
_attribute = struct.Struct("=HH")


class Message(NamedTuple):
    """A request: message type, flags beyond REQUEST, and the body (family header and attributes)."""

    kind: int
    flags: int
    body: bytes


class Problem(NamedTuple):
    """The kernel's refusal of one message: error number and what it said, e.g. `Invalid argument: MTU too large`."""

    number: int
    message: str


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute, padded to four bytes."""
    size = len(value) + 4
    return _attribute.pack(size, kind) + value + b"\0" * (-size & 3)


def text(kind: int, value: str) -> bytes:
    """An attribute that holds a zero-terminated string."""
    return attribute(kind, value.encode() + b"\0")


def number(kind: int, value: int) -> bytes:
    """An attribute that holds an unsigned 32-bit number."""
    return struct.pack("=HHI", 8, kind, value)


def byte(kind: int, value: int) -> bytes:
    """An attribute that holds one byte."""
    return struct.pack("=HHB3x", 5, kind, value)


def attributes(body: bytes, offset: int) -> dict[int, bytes]:
    """The attributes of a message from `offset` on, by type, without the flag bits; of repeated ones the last."""
    found: dict[int, bytes] = {}
    end = len(body)
    unpack = _attribute.unpack_from
    while offset + 4 <= end:
        size, kind = unpack(body, offset)
        if size < 4:
            break
        found[kind & 0x3FFF] = body[offset + 4 : offset + size]
        offset += (size + 3) & ~3
    return found


class Socket:
    """A netlink socket of the namespace in which the calling thread is when it makes it; it stays in that namespace."""

    def __init__(self, protocol: int = ROUTE) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        for option in (_CAP_ACK, _EXT_ACK, _STRICT):
            self._socket.setsockopt(_SOL_NETLINK, option, 1)
        # A batch of which every message fails must not lose acknowledgements.
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 1 << 21)
        self._socket.settimeout(30)
        self._bind()
        self._sequence = 0

    def _bind(self) -> None:
        for _ in range(8):
            try:
                self._socket.bind((OWN_PORTS | next(_next_port) & ~OWN_MASK, 0))
                return
            except OSError as problem:
                if problem.errno != errno.EADDRINUSE:
                    raise
        # Any other will do: what is done by it looks like somebody else's doing, and is looked at.
        self._socket.bind((0, 0))

    def __enter__(self) -> Socket:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Give the descriptor back."""
        self._socket.close()

    def batch(self, messages: Sequence[Message]) -> tuple[dict[int, Problem], dict[int, bytes]]:
        """Carry out messages in order; a failure does not stop the rest.

        Gives what failed and what was answered (to requests that read one thing), both by position in `messages`.
        """
        problems: dict[int, Problem] = {}
        answers: dict[int, bytes] = {}
        start = 0
        while start < len(messages):
            end, size = start, 0
            while end < len(messages) and end - start < _BATCH_MESSAGES and size < _BATCH_BYTES:
                size += len(messages[end].body) + 20
                end += 1
            self._exchange(messages, start, end, problems, answers)
            start = end
        return problems, answers

    def _exchange(
        self,
        messages: Sequence[Message],
        start: int,
        end: int,
        problems: dict[int, Problem],
        answers: dict[int, bytes],
    ) -> None:
        base = self._sequence + 1 - start
        self._sequence += end - start
        parts: list[bytes] = []
        for position in range(start, end):
            kind, flags, body = messages[position]
            flags |= REQUEST | (ACKNOWLEDGE if position == end - 1 else 0)
            parts += (_header.pack(16 + len(body), kind, flags, base + position, 0), body, b"\0" * (-len(body) & 3))
        self._socket.send(b"".join(parts))
        while True:
            for kind, flags, sequence, body in self._receive():
                position = sequence - base
                if not start <= position < end:
                    continue
                if kind != _ERROR:
                    answers[position] = body
                    continue
                problem = _problem(flags, body)
                if problem is not None:
                    problems[position] = problem
                if position == end - 1:
                    return

    def dump(self, kind: int, body: bytes) -> Iterator[bytes]:
        """The bodies of all objects of a kind. Raises OSError where the kernel refuses."""
        self._sequence += 1
        sequence = self._sequence
        self._socket.send(_header.pack(16 + len(body), kind, REQUEST | DUMP, sequence, 0) + body)
        done = False
        found: list[bytes] = []
        while not done:
            for kind_, flags, sequence_, part in self._receive():
                if sequence_ != sequence:
                    continue
                if kind_ == _DONE:
                    done = True
                elif kind_ == _ERROR:
                    problem = _problem(flags, part)
                    if problem is not None:
                        raise OSError(problem.number, problem.message)
                    done = True
                else:
                    found.append(part)
        return iter(found)

    def _receive(self) -> Iterator[tuple[int, int, int, bytes]]:
        data = self._socket.recv(_RECEIVE_BYTES)
        offset, end = 0, len(data)
        while offset + 16 <= end:
            size, kind, flags, sequence, _ = _header.unpack_from(data, offset)
            yield kind, flags, sequence, data[offset + 16 : offset + size]
            offset += (size + 3) & ~3


def _problem(flags: int, body: bytes) -> Problem | None:
    (code,) = struct.unpack_from("=i", body)
    if code == 0:
        return None
    said = ""
    if flags & _EXTENDED:
        # The offending request comes back before the attributes unless the answer is capped to its header.
        offset = 20 if flags & _CAPPED else 4 + struct.unpack_from("=I", body, 4)[0]
        said = attributes(body, offset).get(1, b"").rstrip(b"\0").decode(errors="replace")
    plain = os.strerror(-code)
    return Problem(-code, f"{plain}: {said}" if said else plain)
