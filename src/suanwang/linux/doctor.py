"""What this machine's kernel and programs can do, and what follows where they can't.

Every kernel feature is tried for real, in a namespace that is made for it and vanishes with it, so nothing of the
machine is changed (a kernel may load a module on first use, as it would when the feature is used in earnest).
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import struct
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from suanwang.linux import items, netns, nft, shaping
from suanwang.linux.items import Link
from suanwang.linux.netlink import CREATE, EXCLUSIVE, Message, Socket, attribute, number, text

State = Literal["ok", "degraded", "missing"]


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that was tried. `consequence` and `remedy` are for people, empty when all is well."""

    name: str
    state: State
    detail: str = ""
    consequence: str = ""
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class _Feature:
    """A kernel feature: how to try it, how bad its absence is, what follows, what helps."""

    name: str
    without: State
    consequence: str
    remedy: str
    attempt: Callable[[Socket], None]


_MODULES: Final = "use a kernel with this module: the stock kernels of Debian and Ubuntu have it (linux-modules-extra)"
_FRR: Final = Path("/usr/lib/frr")
_DAEMONS: Final = ("zebra", "bgpd", "ospfd", "isisd", "bfdd", "pathd")
_TUN: Final = 0x400454CA


def facts() -> list[Fact]:
    """Try everything. Changes nothing; without root only programs can be looked for."""
    return [*_kernel(), *_programs()]


def _kernel() -> list[Fact]:
    if os.geteuid() != 0:
        remedy = "run it as root, or with sudo"
        return [Fact("root", "missing", "", "kernel features can't be tried, labs and agents can't run", remedy)]
    crew = netns.Crew(1)
    try:
        return crew.submit(_try_all).result()
    finally:
        crew.close()


def _try_all() -> list[Fact]:
    found: list[Fact] = []
    try:
        with netns.new(), Socket() as route:
            found.append(Fact("network namespaces", "ok", f"Linux {os.uname().release}"))
            route.batch([items.change(None, Link("lo", "", "", 65536))])
            found += [_try(feature, route) for feature in _FEATURES]
    except OSError as problem:
        consequence = "nothing runs: a tenant network on a node is a namespace"
        remedy = "give the container or user CAP_SYS_ADMIN and CAP_NET_ADMIN"
        found.append(Fact("network namespaces", "missing", str(problem), consequence, remedy))
    return found


def _try(feature: _Feature, route: Socket) -> Fact:
    try:
        feature.attempt(route)
    except (OSError, nft.TransactionError, KeyError) as problem:
        said = problem.strerror if isinstance(problem, OSError) and problem.strerror else str(problem)
        return Fact(feature.name, feature.without, said, feature.consequence, feature.remedy)
    return Fact(feature.name, "ok")


def _send(route: Socket, *messages: Message) -> None:
    problems, _ = route.batch(messages)
    for problem in problems.values():
        raise OSError(problem.number, problem.message)


def _device(kind: str, data: bytes = b"") -> Callable[[Socket], None]:
    name = f"try-{kind}"[:15]
    info = attribute(18, text(1, kind) + (attribute(2, data) if data else b""))
    message = Message(items.NEWLINK, CREATE | EXCLUSIVE, items.link_header.pack(0, 0, 0, 0, 0) + text(3, name) + info)
    return lambda route: _send(route, message, items.delete(name))


def _vxlan(route: Socket) -> None:
    link = Link("try-vxlan", "vxlan", "02:00:00:00:00:01", 1400, "", 1, "127.0.0.1", 4789)
    here = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        _send(route, items.create_vxlan(link, here), items.delete(link.device))
    finally:
        os.close(here)


def _queue(kind: str, options: bytes = b"") -> Callable[[Socket], None]:
    def attempt(route: Socket) -> None:
        head = struct.pack("=BxxxiIII", 0, 1, 0x10000, 0xFFFFFFFF, 0)
        body = head + text(1, kind) + (attribute(2, options) if options else b"")
        _send(route, Message(items.NEWQDISC, CREATE | EXCLUSIVE, body))
        _send(route, Message(items.DELQDISC, 0, head))

    return attempt


def _token_bucket(route: Socket) -> None:
    limit = shaping.Limit("lo", 8_000_000)
    _send(route, limit.add({"lo": 1}), limit.remove({"lo": 1}))


def _redirect(route: Socket) -> None:
    redirect = shaping.Redirect("lo", "lo")
    _send(route, redirect.add({"lo": 1}), redirect.fill({"lo": 1}), redirect.remove({"lo": 1}))


def _rules(*lines: str) -> Callable[[Socket], None]:
    def attempt(_: Socket) -> None:
        try:
            nft.run(["add table inet try", "add table netdev try", *lines])
        finally:
            nft.run(["add table inet try", "add table netdev try", "delete table inet try", "delete table netdev try"])

    return attempt


def _encapsulated(kind: int, encapsulation: bytes) -> Callable[[Socket], None]:
    def attempt(route: Socket) -> None:
        head = items.route_header.pack(socket.AF_INET6, 128, 0, 0, 254, 4, 0, 1, 0)
        where = attribute(1, socket.inet_pton(socket.AF_INET6, "fd00:1::1")) + number(4, 1)
        how = struct.pack("=HHH2x", 6, 21, kind) + attribute(22, encapsulation)
        _send(route, Message(items.NEWROUTE, CREATE, head + where + how))

    return attempt


def _segments() -> bytes:
    # One segment, inline (RFC 8754 section 2): mode, then the routing header.
    address = socket.inet_pton(socket.AF_INET6, "fd00:2::1")
    header = struct.pack("!BBBBBBH", 0, 4, 4, 1, 1, 0, 0) + bytes(16) + address
    return attribute(1, struct.pack("=i", 0) + header)


def _tun(_: Socket) -> None:
    import fcntl

    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.ioctl(descriptor, _TUN, struct.pack("16sH22x", b"try-tap", 0x1002))
    finally:
        os.close(descriptor)


_FEATURES: Final = (
    _Feature("veth", "missing", "no port can be attached", _MODULES, _device("veth")),
    _Feature("vxlan", "missing", "tenant networks can't span nodes", _MODULES, _vxlan),
    _Feature("bridge", "degraded", "no L2 extensions", _MODULES, _device("bridge")),
    _Feature(
        "nftables",
        "missing",
        "no security groups, so no tenant network",
        "apt install libnftables1 (or nftables); " + _MODULES,
        _rules(
            "add map inet try m { type ifname : verdict; }",
            "add chain inet try c { type filter hook forward priority 0; }",
            "add rule inet try c ct state established,related accept",
            "add rule inet try c iifname vmap @m",
        ),
    ),
    _Feature(
        "nftables interval sets",
        "missing",
        "no prefixes in address sets",
        _MODULES,
        _rules("add set inet try s { type ipv6_addr; flags interval; }", "add element inet try s { fd00::/8 }"),
    ),
    _Feature(
        "nftables ingress",
        "degraded",
        "routes can't have a port on another node as next hop",
        _MODULES,
        _rules(
            'add chain netdev try c { type filter hook ingress device "lo" priority 0; }',
            "add rule netdev try c ether daddr 02:00:00:00:00:01 meta mark set 1 meta pkttype set host",
        ),
    ),
    _Feature(
        "nftables NAT",
        "degraded",
        "no NAT gateways",
        _MODULES,
        _rules(
            "add chain inet try c { type nat hook postrouting priority 100; }",
            "add rule inet try c meta mark 1 masquerade",
        ),
    ),
    _Feature("tbf", "degraded", "no rate limits of ports", _MODULES, _token_bucket),
    _Feature("ifb", "degraded", "no rate limits on what ports send", _MODULES, _device("ifb")),
    _Feature("u32 and mirred", "degraded", "no rate limits on what ports send", _MODULES, _redirect),
    _Feature(
        "htb",
        "degraded",
        "no rate classes",
        _MODULES,
        _queue("htb", attribute(2, struct.pack("=IIIII", 3, 10, 0, 0, 0))),
    ),
    _Feature(
        "netem",
        "degraded",
        "delay and loss of lab links are made by a userspace relay: less throughput",
        _MODULES,
        _queue("netem", struct.pack("=IIIIII", 0, 1000, 0, 0, 0, 0)),
    ),
    _Feature("vrf", "degraded", "none: namespaces stand in", _MODULES, _device("vrf", number(1, 10))),
    _Feature(
        "wireguard",
        "degraded",
        "WireGuard tunnels need the program wireguard-go",
        "apt install wireguard-go; " + _MODULES,
        _device("wireguard"),
    ),
    _Feature("segment routing (seg6)", "degraded", "no SRv6 paths", _MODULES, _encapsulated(5, _segments())),
    _Feature("segment routing (seg6local)", "degraded", "no SRv6 endpoints", _MODULES, _encapsulated(7, number(1, 1))),
    _Feature("tun/tap", "degraded", "no userspace tunnels and relays", "mknod /dev/net/tun c 10 200", _tun),
)


def _programs() -> Iterator[Fact]:
    yield from _frr()
    wanted: tuple[tuple[str, str, State, str], ...] = (
        ("ip", "iproute2", "degraded", "people have no command to look into namespaces with"),
        ("nft", "nftables", "degraded", "people have no command to look at filters with"),
        ("ping", "iputils-ping", "degraded", "examples that use ping don't run"),
        ("iperf3", "iperf3", "degraded", "throughput can't be measured"),
        ("tcpdump", "tcpdump", "degraded", "packets can't be looked at"),
        ("ethtool", "ethtool", "degraded", "offloads can't be looked at"),
    )
    for name, package, state, consequence in wanted:
        path = shutil.which(name)
        if path:
            yield Fact(name, "ok", path)
        else:
            yield Fact(name, state, "not found", consequence, f"apt install {package}")
    # Where the library is missing the program does, more slowly.
    if nft.library() is not None:
        yield Fact("libnftables", "ok")
    else:
        state = "degraded" if shutil.which("nft") else "missing"
        yield Fact(
            "libnftables", state, "not found", "filters are loaded by the program nft", "apt install libnftables1"
        )


def _frr() -> Iterator[Fact]:
    there = [name for name in _DAEMONS if (_FRR / name).exists() or shutil.which(name)]
    absent = [name for name in ("zebra", "bgpd") if name not in there]
    if absent:
        yield Fact("FRR", "missing", f"no {' or '.join(absent)}", "no routed underlay in labs", "apt install frr")
        return
    zebra = _FRR / "zebra"
    command = [str(zebra if zebra.exists() else shutil.which("zebra")), "--version"]
    said = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False).stdout
    version = re.search(r"version ([0-9][^\s)]*)", said)
    yield Fact("FRR", "ok", f"{version[1] if version else 'unknown version'}: {', '.join(there)}")
