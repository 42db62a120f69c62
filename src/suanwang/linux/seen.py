"""What a namespace really holds, read back from the kernel as items."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeAlias

from suanwang.linux import items, shaping
from suanwang.linux.items import Address, Forwarding, Key, Link, Neighbour, Path, Policy
from suanwang.linux.netlink import Socket, attributes, number

Item: TypeAlias = Link | Address | Neighbour | Forwarding | Path | Policy | shaping.Limit | shaping.Redirect

_KERNEL_PROTOCOL = 2
_ANYWHERE = {int(socket.AF_INET): "0.0.0.0", int(socket.AF_INET6): "::"}
_DEFAULT_METRIC = {int(socket.AF_INET): 0, int(socket.AF_INET6): 1024}
_OWN_MAC = ("veth", "vxlan")
_ACTIONS = {kind: name for name, kind in items.ACTIONS.items()}


@dataclass(slots=True)
class Seen:
    """The items of a namespace by key, its devices' numbers and, for ends of pairs, the number of the other end.

    `foreign` are keys of what neither we nor the kernel made.
    """

    items: dict[Key, Item] = field(default_factory=dict)
    indexes: dict[str, int] = field(default_factory=dict)
    peers: dict[str, int] = field(default_factory=dict)
    foreign: set[Key] = field(default_factory=set)

    def forget_devices(self, devices: Iterable[str]) -> None:
        """Drop these devices and all that stood on them, as the kernel does."""
        gone = set(devices)
        for key in [key for key, item in self.items.items() if getattr(item, "device", "") in gone]:
            del self.items[key]
        for device in gone:
            self.indexes.pop(device, None)
            self.peers.pop(device, None)


def read(route: Socket, router: bool = True) -> Seen:
    """Read a namespace through a socket in it; policy rules and queues only where it is a router."""
    seen = Seen()
    _links(route, seen)
    devices = {index: name for name, index in seen.indexes.items()}
    _addresses(route, seen, devices)
    _routes(route, seen, devices)
    _neighbours(route, seen, devices)
    if router:
        _policies(route, seen)
        for item in shaping.read(route, devices):
            seen.items[item.key] = item
    return seen


def _mac(value: bytes) -> str:
    return value.hex(":")


def _text(value: bytes) -> str:
    return value.rstrip(b"\0").decode(errors="replace")


def _ip(value: bytes) -> str:
    return socket.inet_ntop(socket.AF_INET if len(value) == 4 else socket.AF_INET6, value)


def _number(value: bytes) -> int:
    return int.from_bytes(value, sys.byteorder)


def _links(route: Socket, seen: Seen) -> None:
    # Statistics would be half of every answer.
    body = items.link_header.pack(0, 0, 0, 0, 0) + number(29, 1 << 3)
    for part in route.dump(items.GETLINK, body):
        _, _, index, flags, _ = items.link_header.unpack_from(part)
        found = attributes(part, 16)
        name = _text(found[3])
        seen.indexes[name] = index
        if 5 in found:
            seen.peers[name] = _number(found[5])
        info = attributes(found[18], 0) if 18 in found else {}
        kind = _text(info.get(1, b""))
        data = attributes(info[2], 0) if kind == "vxlan" else {}
        # A device that was taken down is as good as changed: its mtu is never 0.
        mtu = _number(found[4]) if flags & items.UP else 0
        local = data.get(4) or data.get(17)
        link = Link(
            name,
            kind,
            _mac(found.get(1, b"")) if kind in _OWN_MAC else "",
            mtu,
            _text(found.get(20, b"")),
            _number(data[1]) if 1 in data else 0,
            _ip(local) if local else "",
            int.from_bytes(data[15], "big") if 15 in data else 0,
        )
        seen.items[link.key] = link


def _addresses(route: Socket, seen: Seen, devices: dict[int, str]) -> None:
    for part in route.dump(items.GETADDR, items.address_header.pack(0, 0, 0, 0, 0)):
        _, length, _, _, index = items.address_header.unpack_from(part)
        found = attributes(part, 8)
        device = devices.get(index, "")
        protocol = found.get(11, b"\0")[0]
        if device in ("", "lo") or 0 < protocol < 4:
            continue
        item = Address(device, f"{_ip(found.get(2) or found[1])}/{length}")
        seen.items[item.key] = item
        if protocol != items.PROTOCOL:
            seen.foreign.add(item.key)


def _routes(route: Socket, seen: Seen, devices: dict[int, str]) -> None:
    for part in route.dump(items.GETROUTE, items.route_header.pack(0, 0, 0, 0, 0, 0, 0, 0, 0)):
        version, length, _, _, _, protocol, _, kind, flags = items.route_header.unpack_from(part)
        # Clones (0x200) are the kernel's cache of path MTUs and redirects.
        if protocol == _KERNEL_PROTOCOL or flags & 0x200 or version not in _ANYWHERE:
            continue
        found = attributes(part, 12)
        action = _ACTIONS.get(kind, str(kind))
        forward = action == "forward"
        via = found.get(5) or found.get(18, b"")[2:]
        destination = _ip(found[1]) if 1 in found else _ANYWHERE[version]
        metric = _number(found[6]) if 6 in found else 0
        item = Path(
            _number(found[15]),
            f"{destination}/{length}",
            action,
            _ip(via) if via and forward else "",
            devices.get(_number(found[4]), "") if 4 in found and forward else "",
            0 if metric == _DEFAULT_METRIC[version] else metric,
        )
        seen.items[item.key] = item
        if protocol != items.PROTOCOL:
            seen.foreign.add(item.key)


def _neighbours(route: Socket, seen: Seen, devices: dict[int, str]) -> None:
    tunnels = any(isinstance(item, Link) and item.kind == "vxlan" for item in seen.items.values())
    for version in (0, int(socket.AF_BRIDGE)) if tunnels else (0,):
        for part in route.dump(items.GETNEIGH, items.neighbour_header.pack(version, 0, 0, 0, 0)):
            _, index, state, _, _ = items.neighbour_header.unpack_from(part)
            if not state & items.PERMANENT or index not in devices:
                continue
            device = devices[index]
            found = attributes(part, 12)
            if version == 0:
                if 1 not in found or 2 not in found:
                    continue
                item: Item = Neighbour(device, _ip(found[1]), _mac(found[2]))
                if found.get(12, b"\0")[0] != items.PROTOCOL:
                    seen.foreign.add(item.key)
            else:
                link = seen.items.get(("link", device))
                if 1 not in found or not isinstance(link, Link) or link.kind != "vxlan":
                    continue
                item = Forwarding(device, _mac(found[2]), _ip(found[1]))
            seen.items[item.key] = item


def _policies(route: Socket, seen: Seen) -> None:
    for part in route.dump(items.GETRULE, items.rule_header.pack(0, 0, 0, 0, 0, 0, 0, 0, 0)):
        version = items.rule_header.unpack_from(part)[0]
        found = attributes(part, 12)
        if found.get(21, b"\0")[0] != items.PROTOCOL or 10 not in found:
            continue
        item = Policy(version, _number(found[10]), _number(found[15]))
        seen.items[item.key] = item
