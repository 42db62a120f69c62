"""Whether every node has a route to every loopback, read from the kernel's own tables."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable, Iterable
from functools import partial
from ipaddress import ip_interface

from suanwang.lab import namespaces
from suanwang.lab.description import NodeDescription
from suanwang.model.errors import SuanwangError, code

LAB_NOT_CONVERGED = code("LAB_NOT_CONVERGED", "routing daemons run but some routes did not appear in time")

_RTF_UP = 0x1
_RTF_REJECT = 0x200

Destination = tuple[str, int]
"""An address in the kernel's spelling and a prefix length."""


def routes_here() -> set[Destination]:
    """Destinations the calling thread's namespace has usable routes to; call it by `namespaces.run_inside` only.

    The kernel's text tables (proc(5), `/proc/net/route` and `/proc/net/ipv6_route`) need no socket and are read in
    microseconds, which matters when fifty nodes are watched at once. Addresses on the node itself count.
    """
    found: set[Destination] = set()
    with open("/proc/thread-self/net/route") as table:
        next(table)
        for line in table:
            words = line.split()
            flags = int(words[3], 16)
            if flags & _RTF_UP and not flags & _RTF_REJECT:
                address = socket.inet_ntop(socket.AF_INET, struct.pack("=I", int(words[1], 16)))
                found.add((address, int(words[7], 16).bit_count()))
    try:
        with open("/proc/thread-self/net/ipv6_route") as table:
            for line in table:
                words = line.split()
                flags = int(words[8], 16)
                if flags & _RTF_UP and not flags & _RTF_REJECT:
                    found.add((socket.inet_ntop(socket.AF_INET6, bytes.fromhex(words[0])), int(words[1], 16)))
    except FileNotFoundError:
        # A kernel without IPv6.
        pass
    return found


def destination(loopback: str) -> Destination:
    """The destination that stands for a loopback address in the kernel's tables."""
    network = ip_interface(loopback).network
    return str(network.network_address), network.prefixlen


def missing_routes(nodes: Iterable[NodeDescription], namespace_of: Callable[[str], str]) -> dict[str, list[str]]:
    """For each node the loopbacks of other nodes it has no route to; nodes that lack nothing are left out."""
    nodes = list(nodes)
    wanted = {(node.name, text): destination(text) for node in nodes for text in node.loopbacks}
    tables = namespaces.run_in_each({namespace_of(node.name): routes_here for node in nodes})
    missing: dict[str, list[str]] = {}
    for node in nodes:
        table = tables[namespace_of(node.name)]
        lacking = [
            f"{owner} {text}" for (owner, text), place in wanted.items() if owner != node.name and place not in table
        ]
        if lacking:
            missing[node.name] = lacking
    return missing


def wait(
    nodes: Iterable[NodeDescription],
    namespace_of: Callable[[str], str],
    limit_s: float,
    progress: Callable[[str], None] = lambda text: None,
) -> float:
    """Wait until no node lacks a route; the answer is how long it took, in seconds. Raises LAB_NOT_CONVERGED."""
    nodes = list(nodes)
    started = time.monotonic()
    look = partial(missing_routes, nodes, namespace_of)
    told: int | None = None
    while missing := look():
        waited_s = time.monotonic() - started
        if waited_s > limit_s:
            name, lacking = next(iter(missing.items()))
            raise SuanwangError(
                LAB_NOT_CONVERGED,
                f"after {limit_s:.0f} s {len(missing)} of {len(nodes)} nodes lack routes; "
                f"{name} has none to {', '.join(lacking[:3])}" + (" and others" if len(lacking) > 3 else ""),
                "look at the routing daemons' logs in the lab's run directory; a busy machine may need a longer limit",
            )
        if told != len(missing):
            told = len(missing)
            progress(f"routes: {len(nodes) - told} of {len(nodes)} nodes reach all others")
        time.sleep(0.05)
    return time.monotonic() - started
