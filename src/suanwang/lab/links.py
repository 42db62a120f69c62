"""Links between nodes: veth pairs, and how they are cut, healed and impaired.

A plain link is one veth pair, made with both ends in their final namespaces: moving an interface later costs thirty
times as much. An emulated link is impaired by the kernel's netem where it exists. Elsewhere it is two veth pairs that
meet in the relay's namespace (see `relay`), and the nodes' ends have their offloads switched off, for what the relay
sees must be frames as a wire would carry them.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import socket
import struct
import subprocess
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from functools import partial

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from suanwang.lab import namespaces
from suanwang.lab.description import Impairment, LinkDescription
from suanwang.lab.emulation import Order
from suanwang.model.errors import SuanwangError, code

IMPAIR_FAILED = code("IMPAIR_FAILED", "a link of the lab can not be given the delay, loss or rate that was asked for")

INTERFACE_NAME_LIMIT = 15
"""IFNAMSIZ less the closing zero."""

_SIOCGIFFLAGS = 0x8913
_SIOCSIFFLAGS = 0x8914
_SIOCETHTOOL = 0x8946
_IFF_UP = 1
_ETHTOOL_STXCSUM = 0x17
_ETHTOOL_SSG = 0x19
_ETHTOOL_STSO = 0x1F
_ETHTOOL_SGSO = 0x24


@dataclass(frozen=True, slots=True)
class LinkEnd:
    """A node's interface on a link. `relay_interface` is the other end of its pair where the relay carries the link."""

    namespace: str
    interface: str
    relay_interface: str = ""


@dataclass(frozen=True, slots=True)
class PlannedLink:
    """A link with everything named. `relayed` says that frames pass through the relay."""

    description: LinkDescription
    ends: tuple[LinkEnd, LinkEnd]
    relayed: bool

    def relay_order(self) -> Order:
        """What the relay is told to carry this link."""
        impairment = self.description.impairment
        return {
            "do": "add",
            "link": self.description.name,
            "ends": [end.relay_interface for end in self.ends],
            "mtu_bytes": self.description.mtu_bytes,
            "delay_us": impairment.delay_us,
            "loss": impairment.loss,
            "rate_bps": impairment.rate_bps,
        }


def plan(
    links: Iterable[LinkDescription], namespace_of: Callable[[str], str], relayed: Collection[str] = ()
) -> list[PlannedLink]:
    """Name the ends of all links: `to-NODE` where that is short enough and free, else `link-N`.

    `relayed` names the links that pass through the relay.
    """
    taken: set[tuple[str, str]] = set()
    planned: list[PlannedLink] = []
    for number, link in enumerate(links):
        carried = link.name in relayed

        def end(node: str, far: str, wish: str, side: str, number: int = number, carried: bool = carried) -> LinkEnd:
            name = wish or f"to-{far}"
            if not wish and (len(name) > INTERFACE_NAME_LIMIT or (node, name) in taken):
                name = f"link-{number}"
            taken.add((node, name))
            return LinkEnd(namespace_of(node), name, f"r{number}{side}" if carried else "")

        ends = (end(link.a, link.b, link.a_interface, "a"), end(link.b, link.a, link.b_interface, "b"))
        planned.append(PlannedLink(link, ends, carried))
    return planned


def create(links: Iterable[PlannedLink], relay_namespace: str) -> None:
    """Make the links' veth pairs, all ends down. The namespaces must exist."""
    links = list(links)
    names = {end.namespace for link in links for end in link.ends}
    if any(link.relayed for link in links):
        names.add(relay_namespace)
    if not links:
        return

    with namespaces.opened(names) as descriptors:

        def make() -> None:
            with IPRoute() as kernel:
                for link in links:
                    mtu = link.description.mtu_bytes
                    a, b = link.ends
                    if link.relayed:
                        _veth(kernel, mtu, descriptors, a.namespace, a.interface, relay_namespace, a.relay_interface)
                        _veth(kernel, mtu, descriptors, b.namespace, b.interface, relay_namespace, b.relay_interface)
                    else:
                        _veth(kernel, mtu, descriptors, a.namespace, a.interface, b.namespace, b.interface)

        namespaces.run_inside(next(iter(names)), make)


def _veth(
    kernel: IPRoute, mtu: int, descriptors: dict[str, int], near: str, name: str, far: str, far_name: str
) -> None:
    kernel.link(
        "add",
        kind="veth",
        ifname=name,
        mtu=mtu,
        net_ns_fd=descriptors[near],
        peer={"ifname": far_name, "mtu": mtu, "net_ns_fd": descriptors[far]},
    )


def switch_on(links: Iterable[PlannedLink], relay_namespace: str) -> None:
    """Bring every end of the links up, the relay's first, and prepare the ends of relayed links."""
    links = list(links)
    relay_interfaces = [end.relay_interface for link in links for end in link.ends if link.relayed]
    plain: dict[str, list[str]] = {}
    relayed: dict[str, list[str]] = {}
    for link in links:
        for end in link.ends:
            (relayed if link.relayed else plain).setdefault(end.namespace, []).append(end.interface)

    def relay_end() -> None:
        for name in relay_interfaces:
            set_up(name, True)

    def node_end(namespace: str) -> None:
        for name in relayed.get(namespace, ()):
            switch_offloads_off(name)
        for name in (*relayed.get(namespace, ()), *plain.get(namespace, ())):
            set_up(name, True)

    visits: dict[str, Callable[[], None]] = {relay_namespace: relay_end} if relay_interfaces else {}
    visits |= {namespace: partial(node_end, namespace) for namespace in sorted(plain.keys() | relayed.keys())}
    namespaces.run_in_each(visits)


def set_up(interface: str, up: bool) -> None:
    """Switch an interface of the calling thread's namespace on or off; call it by `namespaces.run_inside` only."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as through:
        request = struct.pack("16sH14x", interface.encode(), 0)
        flags = struct.unpack_from("16xH", fcntl.ioctl(through, _SIOCGIFFLAGS, request))[0]
        flags = flags | _IFF_UP if up else flags & ~_IFF_UP
        fcntl.ioctl(through, _SIOCSIFFLAGS, struct.pack("16sH14x", interface.encode(), flags))


def switch_offloads_off(interface: str) -> None:
    """Let every frame leave the interface no bigger than its MTU and with its checksums filled in."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as through:
        for command in (_ETHTOOL_SGSO, _ETHTOOL_STSO, _ETHTOOL_SSG, _ETHTOOL_STXCSUM):
            value = bytearray(struct.pack("II", command, 0))
            address = _address_of(value)
            try:
                fcntl.ioctl(through, _SIOCETHTOOL, struct.pack("16sP16x", interface.encode(), address)[:40])
            except OSError as error:
                # Switching checksums off takes scatter-gather and segmentation with it, so these may be gone already.
                if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                    raise


def _address_of(value: bytearray) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(value))


def set_state(link: PlannedLink, up: bool) -> None:
    """Cut a link (both ends down) or heal it (both ends up)."""
    namespaces.run_in_each({end.namespace: partial(set_up, end.interface, up) for end in link.ends})


def has_netem() -> bool:
    """Whether this kernel can impair links itself, tried in a namespace of its own that is gone afterwards."""

    def attempt() -> bool:
        with IPRoute() as kernel:
            try:
                kernel.tc("add", kind="netem", index=1, handle="1:", delay=1000)
            except NetlinkError:
                return False
        return True

    return namespaces.run_in_new(attempt)


def impair_by_netem(link: PlannedLink, impairment: Impairment) -> None:
    """Give both directions of a link this delay, loss and rate, or none of them. Raises IMPAIR_FAILED."""
    for end in link.ends:
        words = _netem_words(end.interface, impairment)
        argv = ["nsenter", f"--net={namespaces.path_of(end.namespace)}", "--", "tc", *words]
        answer = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        # Taking away what is not there is no error.
        if answer.returncode != 0 and impairment:
            raise SuanwangError(IMPAIR_FAILED, f"tc refused to impair {link.description.name}: {answer.stderr.strip()}")


def _netem_words(interface: str, impairment: Impairment) -> list[str]:
    if not impairment:
        return ["qdisc", "del", "dev", interface, "root"]
    words = ["qdisc", "replace", "dev", interface, "root", "netem", "limit", "100000"]
    if impairment.delay_us:
        words += ["delay", f"{impairment.delay_us}us"]
    if impairment.loss:
        words += ["loss", f"{impairment.loss * 100:.6f}%"]
    if impairment.rate_bps:
        words += ["rate", f"{impairment.rate_bps}bit"]
    return words
