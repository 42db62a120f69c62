"""LLDP on real cables: one frame out of every port, and what comes in.

A packet socket belongs to the namespace in which it was opened, whoever uses it later. So all are opened by one visit
to each namespace, and then served side by side.
"""

from __future__ import annotations

import select
import socket
import struct
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv6Address

from suanwang.fabric.cabling import lldp
from suanwang.fabric.cabling.lldp import Advertisement
from suanwang.fabric.cabling.neighbours import End
from suanwang.lab import namespaces
from suanwang.model.errors import SuanwangError

_SOL_PACKET = 263
_PACKET_ADD_MEMBERSHIP = 1
_PACKET_MR_MULTICAST = 0
_PACKET_IGNORE_OUTGOING = 23
_SCOPE_LINK = 0x20


@dataclass(frozen=True, slots=True)
class PortState:
    """What a port has of its own: its MAC address, and its link-local address if it has one."""

    mac: bytes
    link_local: IPv6Address | None


Says = Callable[[End, PortState], Advertisement]
"""What a port says of itself."""


def exchange(
    ports: Mapping[str, Iterable[str]],
    namespace_of: Callable[[str], str],
    says: Says,
    limit_s: float = 2.0,
) -> dict[End, list[Advertisement]]:
    """Send one frame out of each port (by node) and listen until every port has heard one, or `limit_s` is over.

    What each port heard, once each. Frames that are no LLDP are passed over.
    """
    visits = {namespace_of(node): _opener(list(names)) for node, names in ports.items()}
    nodes = {namespace_of(node): node for node in ports}
    sockets: dict[End, tuple[socket.socket, PortState]] = {}
    for namespace, opened in namespaces.run_in_each(visits).items():
        sockets |= {End(nodes[namespace], name): found for name, found in opened.items()}
    heard: dict[End, list[Advertisement]] = {end: [] for end in sockets}
    try:
        waiting = select.epoll()
        ends = {one.fileno(): end for end, (one, _) in sockets.items()}
        for number in ends:
            waiting.register(number, select.EPOLLIN)
        for end, (one, state) in sockets.items():
            one.send(lldp.encode(says(end, state), state.mac))
        deadline = time.monotonic() + limit_s
        while not all(heard.values()) and (left_s := deadline - time.monotonic()) > 0:
            for number, _ in waiting.poll(left_s):
                _hear(sockets[ends[number]][0], heard[ends[number]])
        waiting.close()
    finally:
        for one, _ in sockets.values():
            one.close()
    return heard


def _hear(one: socket.socket, heard: list[Advertisement]) -> None:
    try:
        said = lldp.decode(one.recv(65_536))
    except (SuanwangError, OSError):
        return
    if said not in heard:
        heard.append(said)


def _opener(names: list[str]) -> Callable[[], dict[str, tuple[socket.socket, PortState]]]:
    def opened() -> dict[str, tuple[socket.socket, PortState]]:
        locals_ = _link_locals()
        found = {}
        for name in names:
            one = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, 0)
            one.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
            index = socket.if_nametoindex(name)
            group = struct.pack("iHH8s", index, _PACKET_MR_MULTICAST, 6, lldp.NEAREST_BRIDGE + b"\0\0")
            one.setsockopt(_SOL_PACKET, _PACKET_ADD_MEMBERSHIP, group)
            one.bind((name, lldp.ETHERTYPE))
            found[name] = (one, PortState(bytes(one.getsockname()[4]), locals_.get(name)))
        return found

    return opened


def _link_locals() -> dict[str, IPv6Address]:
    """Link-local addresses by interface, of the calling thread's namespace (proc(5), /proc/net/if_inet6)."""
    found = {}
    with open("/proc/thread-self/net/if_inet6") as table:
        for line in table:
            words = line.split()
            if int(words[3], 16) == _SCOPE_LINK:
                found[words[5]] = IPv6Address(bytes.fromhex(words[0]))
    return found
