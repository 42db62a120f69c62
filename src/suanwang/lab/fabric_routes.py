"""Multipath routes as the kernel has them, and when they change.

The kernel's own notices (rtnetlink(7)) are gathered from all namespaces in one thread, each with the time at which it
came. So nobody looks at routes while nothing changes, and the time of the last change is known.
"""

from __future__ import annotations

import select
import socket
import struct
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from types import TracebackType

from pyroute2 import IPRoute

from suanwang.lab import namespaces

_BGP = 186
"""Routes that FRR's bgpd asked for (rtnetlink's RTPROT_BGP)."""
_RTMGRP_IPV4_ROUTE, _RTMGRP_IPV6_ROUTE, _RTNLGRP_NEXTHOP = 0x40, 0x400, 32
_NEW_ROUTE, _DELETE_ROUTE, _NEW_NEXTHOP, _DELETE_NEXTHOP = 24, 25, 104, 105
_RECEIVE_BYTES = 4 << 20
_DEAD = 1 | 16
"""RTNH_F_DEAD and RTNH_F_LINKDOWN: next hops that are not used."""

Weights = dict[str, int]
"""Weight by interface; one interface alone has weight 1."""


def weights(
    namespace_of: Mapping[str, str], families: Iterable[int] = (socket.AF_INET,)
) -> dict[str, dict[str, Weights]]:
    """Of each node (name -> namespace): its BGP routes, prefix -> weight by interface. Dead next hops are left out."""
    families = tuple(families)
    nodes = {namespace: node for node, namespace in namespace_of.items()}
    found = namespaces.run_in_each({namespace: partial(_weights_here, families) for namespace in nodes})
    return {nodes[namespace]: table for namespace, table in found.items()}


def _weights_here(families: tuple[int, ...]) -> dict[str, Weights]:
    found: dict[str, Weights] = {}
    with IPRoute() as kernel:
        names = {link["index"]: link.get_attr("IFLA_IFNAME") for link in kernel.get_links()}
        for family in families:
            for route in kernel.get_routes(family=family, proto=_BGP):
                prefix = f"{route.get_attr('RTA_DST')}/{route['dst_len']}"
                several = route.get_attr("RTA_MULTIPATH")
                if several is None:
                    if not route["flags"] & _DEAD:
                        found[prefix] = {names[route.get_attr("RTA_OIF")]: 1}
                    continue
                table = found.setdefault(prefix, {})
                for hop in several:
                    if not hop["flags"] & _DEAD:
                        table[names[hop["oif"]]] = hop["hops"] + 1
    return found


@dataclass(frozen=True, slots=True)
class Change:
    """A route or next hop of a node changed, at this time of `time.monotonic`."""

    at_s: float
    node: str


class RouteWatch:
    """Notices of changed routes, from the moment it is entered until it is left."""

    def __init__(self, namespace_of: Mapping[str, str]) -> None:
        self._namespaces = dict(namespace_of)
        self._news = threading.Condition()
        self._last: Change | None = None
        self._count = 0
        self._sockets: dict[int, tuple[socket.socket, str]] = {}
        self._end, self._ender = socket.socketpair()
        self._thread = threading.Thread(target=self._listen, name="route-watch", daemon=True)

    def __enter__(self) -> RouteWatch:
        opened = namespaces.run_in_each(dict.fromkeys(self._namespaces.values(), _notices))
        for node, namespace in self._namespaces.items():
            self._sockets[opened[namespace].fileno()] = (opened[namespace], node)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ender.send(b"x")
        self._thread.join()
        for one, _ in self._sockets.values():
            one.close()
        self._end.close()
        self._ender.close()

    @property
    def count(self) -> int:
        """How many changes there were so far."""
        with self._news:
            return self._count

    @property
    def last(self) -> Change | None:
        """The latest change."""
        with self._news:
            return self._last

    def wait(self, seen: int, limit_s: float) -> int:
        """Wait until there are more changes than `seen`, or `limit_s` is over; how many there are."""
        with self._news:
            self._news.wait_for(lambda: self._count > seen, limit_s)
            return self._count

    def _listen(self) -> None:
        waiting = select.epoll()
        waiting.register(self._end.fileno(), select.EPOLLIN)
        for number in self._sockets:
            waiting.register(number, select.EPOLLIN)
        while True:
            for number, _ in waiting.poll():
                if number == self._end.fileno():
                    waiting.close()
                    return
                one, node = self._sockets[number]
                if changes := _read(one):
                    with self._news:
                        self._count += changes
                        self._last = Change(time.monotonic(), node)
                        self._news.notify_all()


def _notices() -> socket.socket:
    one = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, 0)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BYTES)
    one.bind((0, _RTMGRP_IPV4_ROUTE | _RTMGRP_IPV6_ROUTE | 1 << (_RTNLGRP_NEXTHOP - 1)))
    return one


def _read(one: socket.socket) -> int:
    """How many routes and next hops the waiting notices are about. An overrun counts as one: something changed."""
    try:
        data = one.recv(65_536)
    except BlockingIOError:
        return 0
    except OSError:
        return 1
    found = place = 0
    while place + 16 <= len(data):
        size, kind = struct.unpack_from("=IH", data, place)
        found += kind in (_NEW_ROUTE, _DELETE_ROUTE, _NEW_NEXTHOP, _DELETE_NEXTHOP)
        place += max(16, size + 3 & ~3)
    return found
