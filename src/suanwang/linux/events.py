"""What the kernel tells of changes in namespaces: two netlink sockets that hear all of them, and a watch on names.

A socket that listens to all namespaces with a number in its own (`NETLINK_LISTEN_ALL_NSID`) costs two descriptors
however many namespaces there are, where a socket in each would cost descriptors and have the kernel look at every one
of them for every event anywhere on the machine. The sockets stand in a nameless namespace of their own, so the numbers
(RTM_NEWNSID) are seen by nobody else.

What can't matter is dropped by filters in the kernel (classic BPF): what this process asked for itself, routes that the
kernel makes, settings of single devices, and everything of nftables but the new generation number that ends a
transaction. Constants: include/uapi/linux/{netlink,rtnetlink,net_namespace,netconf,inotify}.h, nfnetlink.h.
"""

from __future__ import annotations

import ctypes
import errno
import os
import select
import socket
import struct
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from suanwang.linux import items, netns
from suanwang.linux.netlink import NETFILTER, OWN_MASK, OWN_PORTS, ROUTE, Message, Socket, attributes, number

NEWNSID, DELNSID, GETNSID = 88, 89, 90
NEWNETCONF: Final = 80
NEW_GENERATION: Final = 10 << 8 | 15

_SOL_NETLINK, _ADD_MEMBERSHIP, _LISTEN_ALL = 270, 1, 8
_SO_ATTACH_FILTER, _SO_RCVBUFFORCE = 26, 33
_BUFFER_BYTES: Final = 32 << 20
"""Most that may wait in the kernel; memory is used only for what waits."""

# Links, neighbours, queues, addresses, routes and rules of both versions, numbers of namespaces, settings.
_ROUTE_GROUPS: Final = (1, 3, 4, 5, 7, 8, 9, 11, 19, 28, 24, 25)
_TABLE_GROUPS: Final = (7,)

_TAKEN_AWAY: Final = 0x200 | 0x40
_header = struct.Struct("=IHHII")
_libc = ctypes.CDLL(None, use_errno=True)


class Event(NamedTuple):
    """A netlink notification: the namespace's number, the message's type and its body. Type 0: some were lost."""

    namespace: int
    kind: int
    body: bytes


LOST: Final = Event(-1, 0, b"")


class Listener:
    """Hears of changes. Raises OSError where this kernel, or what we may do in it, does not allow that.

    To be made by a thread of a `netns.Crew`, as it enters another namespace meanwhile.
    """

    def __init__(self) -> None:
        with netns.new():
            self._route = _open(ROUTE, _ROUTE_GROUPS, _route_filter())
            self._tables = _open(NETFILTER, _TABLE_GROUPS, _only(NEW_GENERATION))
            self._asking = Socket()
        self._lock = threading.Lock()
        self._last = 0
        self._names = _watch_names()
        self._woken = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._poll = select.epoll()
        for descriptor in (self._route.fileno(), self._tables.fileno(), self._woken, self._names):
            if descriptor >= 0:
                self._poll.register(descriptor, select.EPOLLIN)

    def close(self) -> None:
        """Give the descriptors back."""
        self._poll.close()
        self._route.close()
        self._tables.close()
        self._asking.close()
        for descriptor in (self._woken, self._names):
            if descriptor >= 0:
                os.close(descriptor)

    def number(self, descriptors: Sequence[int]) -> list[int]:
        """Give namespaces numbers, and hear of them from now on; -1 where that can't be."""
        with self._lock:
            given = list(range(self._last + 1, self._last + 1 + len(descriptors)))
            self._last += len(descriptors)
            head = struct.pack("=B3x", 0)
            pairs = zip(given, descriptors, strict=True)
            asked = [Message(NEWNSID, 0, head + number(1, one) + number(3, descriptor)) for one, descriptor in pairs]
            problems, _ = self._asking.batch(asked)
            for position, problem in problems.items():
                given[position] = -1
                if problem.number == errno.EEXIST:
                    # It has one already.
                    _, answers = self._asking.batch([Message(GETNSID, 0, head + number(3, descriptors[position]))])
                    for body in answers.values():
                        given[position] = int.from_bytes(attributes(body, 4)[1], sys.byteorder, signed=True)
        return given

    def wake(self) -> None:
        """Make `wait` return."""
        os.eventfd_write(self._woken, 1)

    def wait(self, limit_s: float) -> bool:
        """Until something is to be heard, or `wake` was called, or the time is over (-1: never). Whether to listen."""
        found = {descriptor for descriptor, _ in self._poll.poll(limit_s)}
        if self._woken in found:
            os.eventfd_read(self._woken)
            found.remove(self._woken)
        return bool(found)

    def heard(self) -> Iterator[Event]:
        """The events that wait."""
        for waiting in (self._route, self._tables):
            while True:
                try:
                    data, control, _, _ = waiting.recvmsg(65_536, 64, socket.MSG_DONTWAIT)
                except BlockingIOError:
                    break
                except OSError as problem:
                    if problem.errno != errno.ENOBUFS:
                        raise
                    yield LOST
                    continue
                namespace = struct.unpack("=i", control[0][2])[0] if control else -1
                offset, end = 0, len(data)
                while offset + 16 <= end:
                    size, kind, _, _, _ = _header.unpack_from(data, offset)
                    yield Event(namespace, kind, data[offset + 16 : offset + size])
                    offset += max(16, (size + 3) & ~3)

    def names_gone(self) -> Iterator[str]:
        """Names under `/run/netns` that were taken away."""
        if self._names < 0:
            return
        try:
            data = os.read(self._names, 65_536)
        except BlockingIOError:
            return
        offset = 0
        while offset + 16 <= len(data):
            _, _, _, size = struct.unpack_from("=iIII", data, offset)
            yield os.fsdecode(data[offset + 16 : offset + 16 + size].rstrip(b"\0"))
            offset += 16 + size


def _open(protocol: int, groups: tuple[int, ...], program: list[bytes]) -> socket.socket:
    found = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
    try:
        buffer = ctypes.create_string_buffer(b"".join(program))
        where = struct.pack("@HP", len(program), ctypes.addressof(buffer))
        found.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, where)
        found.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER_BYTES)
        found.setsockopt(_SOL_NETLINK, _LISTEN_ALL, 1)
        found.bind((0, 0))
        for group in groups:
            found.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, group)
    except BaseException:
        found.close()
        raise
    return found


def _watch_names() -> int:
    """An inotify descriptor for names taken away under `/run/netns`; -1 where there can't be one (then by scanning)."""
    descriptor = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    if descriptor < 0:
        return -1
    if _libc.inotify_add_watch(descriptor, os.fsencode(netns.DIRECTORY), _TAKEN_AWAY) < 0:
        os.close(descriptor)
        return -1
    return int(descriptor)


# Classic BPF loads big-endian, netlink writes in the machine's order: constants are turned instead of loads.
_LOAD_WORD, _LOAD_HALF, _LOAD_BYTE, _AND, _EQUAL, _RETURN = 0x20, 0x28, 0x30, 0x54, 0x15, 0x06
_TAKE: Final = 0xFFFF_FFFF


class _Program:
    """A filter under construction: tests that lead to `take` or `drop`, or on to the next step."""

    def __init__(self) -> None:
        self._steps: list[tuple[int, int, str, str]] = []
        self._labels: dict[str, int] = {}

    def load(self, operation: int, offset: int) -> None:
        self._steps.append((operation, offset, "", ""))

    def label(self, name: str) -> None:
        self._labels[name] = len(self._steps)

    def equal(self, value: int, then: str, otherwise: str = "") -> None:
        """Go to a label; empty: on to the next step."""
        self._steps.append((_EQUAL, value, then, otherwise))

    def assembled(self) -> list[bytes]:
        count = len(self._steps)
        labels = self._labels | {"take": count, "drop": count + 1}
        made = []
        for position, (operation, value, then, otherwise) in enumerate(self._steps):
            jumps = [labels[name] - position - 1 if name else 0 for name in (then, otherwise)]
            made.append(struct.pack("=HBBI", operation, *jumps, value))
        return [*made, struct.pack("=HBBI", _RETURN, 0, 0, _TAKE), struct.pack("=HBBI", _RETURN, 0, 0, 0)]


def _word(value: int) -> int:
    return int.from_bytes(struct.pack("=I", value), "big")


def _half(value: int) -> int:
    return int.from_bytes(struct.pack("=H", value), "big")


def _only(kind: int) -> list[bytes]:
    program = _Program()
    program.load(_LOAD_HALF, 4)
    program.equal(_half(kind), "take", "drop")
    return program.assembled()


def _route_filter() -> list[bytes]:
    """Drop what we asked for ourselves and what no program can want or not want."""
    program = _Program()
    program.load(_LOAD_WORD, 12)
    program.load(_AND, _word(OWN_MASK))
    program.equal(_word(OWN_PORTS), "drop")
    program.load(_LOAD_HALF, 4)
    program.equal(_half(NEWNSID), "drop")
    for kind, label in (
        (NEWNETCONF, "setting"),
        (items.NEWROUTE, "route"),
        (items.DELROUTE, "route"),
        (items.NEWNEIGH, "neighbour"),
        (items.DELNEIGH, "neighbour"),
        (items.NEWADDR, "address"),
    ):
        program.equal(_half(kind), label)
    program.equal(_half(items.DELADDR), "address", "take")
    # Of all devices (-1), not of one.
    program.label("setting")
    program.load(_LOAD_WORD, 24)
    program.equal(0xFFFF_FFFF, "take", "drop")
    # Made by the kernel itself.
    program.label("route")
    program.load(_LOAD_BYTE, 21)
    program.equal(2, "drop", "take")
    # Groups, which every device has, and what the kernel learns by itself (incomplete, stale, delay, probe).
    program.label("neighbour")
    program.load(_LOAD_HALF, 24)
    for state in (items.NOARP, 0x01, 0x04, 0x08):
        program.equal(_half(state), "drop")
    program.equal(_half(0x10), "drop", "take")
    # The loopback device's, which has number 1 in every namespace.
    program.label("address")
    program.load(_LOAD_WORD, 20)
    program.equal(_word(1), "drop", "take")
    return program.assembled()
