"""Sockets inside workloads: a thread enters the namespace, opens them and comes home; they stay there."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import Callable
from ipaddress import ip_address
from typing import Literal

from suanwang.linux import netns

Protocol = Literal["icmp", "tcp", "udp"]

_SOL_RAW, _ICMP_FILTER = 255, 1
_ICMP6_FILTER = 1
_SO_TIMESTAMPNS = 35


class Sockets:
    """Opens sockets in namespaces. `namespace` gives the real name of a program's namespace."""

    def __init__(self, namespace: Callable[[str], str]) -> None:
        self._namespace = namespace
        self._crew = netns.Crew(1)

    async def open(self, where: str, make: Callable[[], socket.socket], count: int = 1) -> list[socket.socket]:
        """`count` sockets made by `make` in the program's namespace `where`. Raises OSError, and leaves none open."""
        name = self._namespace(where)

        def work() -> list[socket.socket]:
            made: list[socket.socket] = []
            descriptor = netns.open_named(name)
            try:
                with netns.inside(descriptor):
                    for _ in range(count):
                        made.append(make())
            except OSError:
                close_all(made)
                raise
            finally:
                os.close(descriptor)
            return made

        return await asyncio.wrap_future(self._crew.submit(work))

    def close(self) -> None:
        """End the thread."""
        self._crew.close()


def close_all(sockets: list[socket.socket]) -> None:
    """Close them."""
    for one in sockets:
        one.close()


def reset(one: socket.socket) -> None:
    """Close a TCP connection by RST: neither end stays in TIME_WAIT, so the port is free at once for a service."""
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    except OSError:
        pass
    one.close()


def version_of(address: str) -> int:
    """4 or 6."""
    return ip_address(address).version


def sender(protocol: Protocol, source: str, destination: str) -> socket.socket:
    """A non-blocking socket that sends from `source` (empty: as routes say) to `destination`."""
    version = version_of(destination)
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    if protocol == "tcp":
        one = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    elif protocol == "udp":
        one = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    else:
        number = socket.IPPROTO_ICMP if version == 4 else socket.IPPROTO_ICMPV6
        one = socket.socket(family, socket.SOCK_RAW | socket.SOCK_NONBLOCK, number)
        _only_echo_replies(one, version)
    try:
        if protocol != "tcp":
            one.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        if source:
            one.bind((source, 0))
    except OSError:
        one.close()
        raise
    return one


def receiver(protocol: Protocol, address: str, port: int) -> socket.socket:
    """A non-blocking socket that answers on `address` and `port`. Raises OSError (EADDRINUSE: a service is there)."""
    family = socket.AF_INET if version_of(address) == 4 else socket.AF_INET6
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    one = socket.socket(family, kind | socket.SOCK_NONBLOCK)
    try:
        if family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if protocol == "tcp":
            # Only so that connections of an earlier service, in TIME_WAIT, don't count as one that is there.
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.bind((address, port))
        if protocol == "tcp":
            one.listen(128)
    except OSError:
        one.close()
        raise
    return one


def _only_echo_replies(one: socket.socket, version: int) -> None:
    """Have the kernel keep back all but echo replies (a set bit blocks a type): a busy workload does no harm."""
    if version == 4:
        one.setsockopt(_SOL_RAW, _ICMP_FILTER, struct.pack("=I", 0xFFFFFFFF & ~(1 << 0)))
    else:
        blocked = [0xFFFFFFFF] * 8
        blocked[129 >> 5] &= ~(1 << (129 & 31)) & 0xFFFFFFFF
        one.setsockopt(socket.IPPROTO_ICMPV6, _ICMP6_FILTER, struct.pack("=8I", *blocked))
