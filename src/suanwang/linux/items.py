"""What a namespace holds, in the kernel's own terms, and the rtnetlink messages that make, change and remove it.

The objects of a program are compiled to these items (`wanted.py`), what the kernel has is read back as these items
(`seen.py`), so applying, adopting and repairing are one comparison. Items name devices; messages need their numbers,
hence `Indexes`.

Everything made here carries our protocol number, so that what others put into a shared namespace is told apart and
left alone. Constants: include/uapi/linux/{rtnetlink,if_link,if_addr,neighbour,fib_rules}.h.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, TypeAlias

from suanwang.linux.netlink import CREATE, EXCLUSIVE, REPLACE, Message, attribute, byte, number, text

Indexes: TypeAlias = Mapping[str, int]
Key: TypeAlias = tuple[str | int, ...]

PROTOCOL: Final = 83
"""Our mark on routes, rules, neighbours and addresses (a number nobody else has in `rt_protos`)."""

RULE_PRIORITY: Final = 1000
"""Of our policy rules: after `local` (0), before main (32766)."""

MAIN_TABLE: Final = 254

UP: Final = 1

OURS: Final = 0x5357_0100
"""Group of devices that we made, plus a number of the node's: in its own namespace others have theirs too."""

_DOOMED: Final = 0x5357_0001
"""Group of devices that are about to be deleted."""

NEWLINK, DELLINK, GETLINK = 16, 17, 18
NEWADDR, DELADDR, GETADDR = 20, 21, 22
NEWROUTE, DELROUTE, GETROUTE = 24, 25, 26
NEWNEIGH, DELNEIGH, GETNEIGH = 28, 29, 30
NEWRULE, DELRULE, GETRULE = 32, 33, 34
NEWQDISC, DELQDISC, GETQDISC = 36, 37, 38
NEWTFILTER, DELTFILTER, GETTFILTER = 44, 45, 46
SETNEIGHTBL = 67

PERMANENT, NOARP, SELF = 0x80, 0x40, 0x02
UNICAST, BLACKHOLE, THROW = 1, 6, 9
ACTIONS: Final = {"forward": UNICAST, "blackhole": BLACKHOLE, "throw": THROW}

link_header = struct.Struct("=BxHiII")
address_header = struct.Struct("=BBBBI")
route_header = struct.Struct("=BBBBBBBBI")
neighbour_header = struct.Struct("=B3xiHBB")
rule_header = struct.Struct("=BBBBBBBBI")


def family(address: str) -> int:
    """AF_INET or AF_INET6, of an address or prefix."""
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def packed(address: str) -> bytes:
    """An address without prefix length as 4 or 16 bytes. Raises OSError where it is none."""
    return socket.inet_pton(family(address), address)


def split(prefix: str) -> tuple[bytes, int]:
    """A prefix as bytes and length; a bare address is a whole one."""
    address, _, length = prefix.partition("/")
    value = packed(address)
    return value, int(length) if length else len(value) * 8


def packed_mac(mac: str) -> bytes:
    """A MAC address as six bytes."""
    return bytes.fromhex(mac.replace(":", ""))


class Link(NamedTuple):
    """A device. Kinds: `vxlan`, `veth` (either end of a pair), `ifb`. An empty `mac` may be any."""

    device: str
    kind: str
    mac: str
    mtu_bytes: int
    alias: str = ""
    vni: int = 0
    local: str = ""
    udp_port: int = 0

    @property
    def key(self) -> Key:
        return ("link", self.device)

    @property
    def mould(self) -> tuple[str | int, ...]:
        """What can't be changed on a living device."""
        return (self.kind, self.vni, self.local, self.udp_port)


class Address(NamedTuple):
    """An address on a device: usable at once (no duplicate detection), without a route to its prefix.

    All that a workload sends goes by the gateway, whose MAC it knows. With a route to its prefix it would ask for every
    neighbour first, and wait a second before it asks again for one that was not there yet.
    """

    device: str
    address: str

    @property
    def key(self) -> Key:
        return ("address", self.device, self.address)

    def _body(self, index: Indexes) -> bytes:
        value, length = split(self.address)
        version = family(self.address)
        head = address_header.pack(version, length, 0, 0, index[self.device])
        where = attribute(1, value) if version == socket.AF_INET6 else attribute(2, value) + attribute(1, value)
        nodad, noprefixroute = (0x02, 0x200) if version == socket.AF_INET6 else (0, 0x200)
        # Answers to link-local neighbours need the route to their prefix.
        flags = number(8, nodad if self.address.startswith("fe80:") else nodad | noprefixroute)
        return head + where + flags + byte(11, PROTOCOL)

    def add(self, index: Indexes) -> Message:
        return Message(NEWADDR, CREATE | REPLACE, self._body(index))

    def remove(self, index: Indexes) -> Message:
        return Message(DELADDR, 0, self._body(index))


class Neighbour(NamedTuple):
    """A permanent neighbour."""

    device: str
    address: str
    mac: str

    @property
    def key(self) -> Key:
        return ("neighbour", self.device, self.address)

    def _body(self, index: Indexes) -> bytes:
        head = neighbour_header.pack(family(self.address), index[self.device], PERMANENT, 0, 0)
        return head + attribute(1, packed(self.address)) + attribute(2, packed_mac(self.mac)) + byte(12, PROTOCOL)

    def add(self, index: Indexes) -> Message:
        return Message(NEWNEIGH, CREATE | REPLACE, self._body(index))

    def remove(self, index: Indexes) -> Message:
        return Message(DELNEIGH, 0, self._body(index))


class Forwarding(NamedTuple):
    """An entry of a VXLAN device's forwarding table."""

    device: str
    mac: str
    remote: str

    @property
    def key(self) -> Key:
        return ("forwarding", self.device, self.mac)

    def _body(self, index: Indexes) -> bytes:
        head = neighbour_header.pack(socket.AF_BRIDGE, index[self.device], PERMANENT | NOARP, SELF, 0)
        return head + attribute(2, packed_mac(self.mac)) + attribute(1, packed(self.remote))

    def add(self, index: Indexes) -> Message:
        return Message(NEWNEIGH, CREATE | REPLACE, self._body(index))

    def remove(self, index: Indexes) -> Message:
        return Message(DELNEIGH, 0, self._body(index))


class Path(NamedTuple):
    """A route. `device` and `via` are empty for actions other than `forward`; next hops are on the device's link.

    `metric` 0 is the default of the IP version; ours have no other.
    """

    table: int
    destination: str
    action: str
    via: str
    device: str
    metric: int = 0

    @property
    def key(self) -> Key:
        return ("path", self.table, self.destination, self.metric)

    def _body(self, index: Indexes, scope: int, kind: int, protocol: int = PROTOCOL) -> bytes:
        value, length = split(self.destination)
        version = family(self.destination)
        table = self.table if self.table < 256 else 252
        head = route_header.pack(version, length, 0, 0, table, protocol, scope, kind, 4 if self.via else 0)
        parts = [head, number(15, self.table)]
        if length:
            parts.append(attribute(1, value))
        if self.metric:
            parts.append(number(6, self.metric))
        if self.device:
            parts.append(number(4, index[self.device]))
        if self.via and family(self.via) == version:
            parts.append(attribute(5, packed(self.via)))
        elif self.via:
            parts.append(attribute(18, struct.pack("=H", family(self.via)) + packed(self.via)))
        return b"".join(parts)

    def add(self, index: Indexes) -> Message:
        # IPv4 wants scope "link" where there is no next hop.
        scope = 253 if self.device and not self.via else 0
        return Message(NEWROUTE, CREATE | REPLACE, self._body(index, scope, ACTIONS[self.action]))

    def remove(self, index: Indexes) -> Message:
        return Message(DELROUTE, 0, self._body(index, 255, ACTIONS.get(self.action, 0)))

    def remove_foreign(self, index: Indexes) -> Message:
        """Remove it whoever made it."""
        return Message(DELROUTE, 0, self._body(index, 255, ACTIONS.get(self.action, 0), protocol=0))


class Policy(NamedTuple):
    """A policy rule: packets with this mark are looked up in this table. `version` is an address family."""

    version: int
    mark: int
    table: int

    @property
    def key(self) -> Key:
        return ("policy", self.version, self.mark, self.table)

    def _body(self) -> bytes:
        table = self.table if self.table < 256 else 252
        head = rule_header.pack(self.version, 0, 0, 0, table, 0, 0, 1, 0)
        mark = number(10, self.mark) + number(16, 0xFFFFFFFF)
        return head + number(15, self.table) + number(6, RULE_PRIORITY) + mark + byte(21, PROTOCOL)

    def add(self, index: Indexes) -> Message:
        return Message(NEWRULE, CREATE | EXCLUSIVE, self._body())

    def remove(self, index: Indexes) -> Message:
        return Message(DELRULE, 0, self._body())


def create_vxlan(link: Link, namespace: int, group: int = 0) -> Message:
    """Create a VXLAN device in the namespace of the descriptor, with its tunnel socket where the message is sent."""
    local = packed(link.local)
    data = b"".join(
        (
            number(1, link.vni),
            attribute(4 if len(local) == 4 else 17, local),
            byte(5, 64),
            byte(7, 0),
            attribute(15, struct.pack("!H", link.udp_port)),
            byte(18, 1),
            byte(19, 0),
            byte(20, 0),
        )
    )
    return Message(NEWLINK, CREATE | EXCLUSIVE, _device(link, group) + number(28, namespace) + _info("vxlan", data))


def create_pair(link: Link, end: Link, namespace: int, group: int = 0) -> Message:
    """Create a veth pair: `link` where the message is sent, `end` in the namespace of the descriptor, still down."""
    # The kernel makes the far end first, and an end that has no other yet can't be taken up.
    down = link_header.pack(0, 0, 0, 0, 0)
    peer = attribute(1, down + _device(end, group)[16:] + number(28, namespace))
    return Message(NEWLINK, CREATE | EXCLUSIVE, _device(link, group) + _info("veth", peer))


def create_ifb(link: Link, group: int = 0) -> Message:
    """Create an intermediate device, by which what enters another device can be shaped."""
    return Message(NEWLINK, CREATE | EXCLUSIVE, _device(link, group) + _info("ifb", b""))


def change(old: Link | None, new: Link) -> Message:
    """Set what is different on a living device and take it up; also its title, which a creation can't set.

    Only what is different: a MAC that is set, be it the same, makes the kernel forget the device's neighbours.
    """
    mac = attribute(1, packed_mac(new.mac)) if new.mac and (old is None or old.mac != new.mac) else b""
    mtu = number(4, new.mtu_bytes) if old is None or old.mtu_bytes != new.mtu_bytes else b""
    head = link_header.pack(0, 0, 0, UP, UP) + text(3, new.device)
    return Message(NEWLINK, 0, head + mac + mtu + attribute(20, new.alias.encode()[:255]))


def no_own_address(device: str) -> Message:
    """Have the kernel give a device, while it is down, no link-local address by itself (IFLA_INET6_ADDR_GEN_MODE none).

    As a setting of the namespace it would be a file that costs 0.2 ms to open in a new one.
    """
    version = attribute(socket.AF_INET6, byte(8, 1))
    return Message(NEWLINK, 0, link_header.pack(0, 0, 0, 0, 0) + text(3, device) + attribute(26, version))


def answer_at_once(index: int) -> Message:
    """Have a device's proxied ARP answers not held back (`proxy_delay` 0; RTM_SETNEIGHTBL).

    Namespaces have no default of their own for this: they would come up to 0.8 s late.
    """
    parameters = number(1, index) + struct.pack("=HHQ", 12, 13, 0)
    head = struct.pack("=B3x", socket.AF_INET)
    return Message(SETNEIGHTBL, 0, head + text(1, "arp_cache") + attribute(6, parameters))


def delete(device: str) -> Message:
    """Delete a device."""
    return Message(DELLINK, 0, link_header.pack(0, 0, 0, 0, 0) + text(3, device))


def delete_all(indexes: Sequence[int]) -> list[Message]:
    """Delete devices together: the kernel waits for its readers once a group, but once for each single device."""
    if len(indexes) < 2:
        return [Message(DELLINK, 0, link_header.pack(0, 0, index, 0, 0)) for index in indexes]
    group = number(27, _DOOMED)
    doom = [Message(NEWLINK, 0, link_header.pack(0, 0, index, 0, 0) + group) for index in indexes]
    return [*doom, Message(DELLINK, 0, link_header.pack(0, 0, 0, 0, 0) + group)]


def find(device: str) -> Message:
    """Ask for a device (its index stands in the answer)."""
    return Message(GETLINK, 0, link_header.pack(0, 0, 0, 0, 0) + number(29, 1 << 3) + text(3, device))


def _device(link: Link, group: int) -> bytes:
    mac = attribute(1, packed_mac(link.mac)) if link.mac else b""
    head = link_header.pack(0, 0, 0, UP, UP) + text(3, link.device)
    return head + mac + number(4, link.mtu_bytes) + number(27, group)


def _info(kind: str, data: bytes) -> bytes:
    return attribute(18, text(1, kind) + attribute(2, data))
