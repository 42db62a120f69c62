"""What a namespace really holds, read back from the kernel as items."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from suanwang.linux import items, shaping
from suanwang.linux.items import Address, Forwarding, Key, Link, Neighbour, Path, Policy
from suanwang.linux.netlink import Socket, attributes, number

Item: TypeAlias = Link | Address | Neighbour | Forwarding | Path | Policy | shaping.Limit | shaping.Redirect

Devices: TypeAlias = Mapping[int, str]

_KERNEL_PROTOCOL = 2
_ANYWHERE = {int(socket.AF_INET): "0.0.0.0", int(socket.AF_INET6): "::"}
_DEFAULT_METRIC = {int(socket.AF_INET): 0, int(socket.AF_INET6): 1024}
_OWN_MAC = ("veth", "vxlan")
_ACTIONS = {kind: name for name, kind in items.ACTIONS.items()}


class Found(NamedTuple):
    """An item, and who made it: the kernel's number of its origin, `items.PROTOCOL` for ours."""

    item: Item
    protocol: int


@dataclass(slots=True)
class Seen:
    """The items of a namespace by key, its devices' numbers and, for ends of pairs, the number of the other end.

    `foreign` are keys of what neither we nor the kernel made; `groups` are those of devices that are in one.
    """

    items: dict[Key, Item] = field(default_factory=dict)
    indexes: dict[str, int] = field(default_factory=dict)
    peers: dict[str, int] = field(default_factory=dict)
    foreign: set[Key] = field(default_factory=set)
    groups: dict[str, int] = field(default_factory=dict)

    def forget_devices(self, devices: Iterable[str]) -> None:
        """Drop these devices and all that stood on them, as the kernel does."""
        gone = set(devices)
        for key in [key for key, item in self.items.items() if getattr(item, "device", "") in gone]:
            del self.items[key]
        for device in gone:
            self.indexes.pop(device, None)
            self.peers.pop(device, None)
            self.groups.pop(device, None)


def read(route: Socket, router: bool = True) -> Seen:
    """Read a namespace through a socket in it; policy rules and queues only where it is a router."""
    seen = Seen()
    # Statistics would be half of every answer.
    for part in route.dump(items.GETLINK, items.link_header.pack(0, 0, 0, 0, 0) + number(29, 1 << 3)):
        note_link(seen, part)
    devices = {index: name for name, index in seen.indexes.items()}
    for part in route.dump(items.GETADDR, items.address_header.pack(0, 0, 0, 0, 0)):
        _note(seen, address(part, devices))
    for part in route.dump(items.GETROUTE, items.route_header.pack(0, 0, 0, 0, 0, 0, 0, 0, 0)):
        _note(seen, path(part, devices))
    tunnels = any(isinstance(item, Link) and item.kind == "vxlan" for item in seen.items.values())
    for version in (0, int(socket.AF_BRIDGE)) if tunnels else (0,):
        for part in route.dump(items.GETNEIGH, items.neighbour_header.pack(version, 0, 0, 0, 0)):
            _note(seen, neighbour(part, devices, seen))
    if router:
        for part in route.dump(items.GETRULE, items.rule_header.pack(0, 0, 0, 0, 0, 0, 0, 0, 0)):
            found = policy(part)
            if found is not None and found.protocol == items.PROTOCOL:
                seen.items[found.item.key] = found.item
        for item in shaping.read(route, devices):
            seen.items[item.key] = item
    return seen


def tunnels(route: Socket) -> list[int]:
    """The numbers of a namespace's tunnels."""
    seen = Seen()
    for part in route.dump(items.GETLINK, items.link_header.pack(0, 0, 0, 0, 0) + number(29, 1 << 3)):
        note_link(seen, part)
    links = [item for item in seen.items.values() if isinstance(item, Link)]
    return [seen.indexes[link.device] for link in links if link.kind == "vxlan"]


def _note(seen: Seen, found: Found | None) -> None:
    if found is None:
        return
    key = found.item.key
    seen.items[key] = found.item
    if found.protocol != items.PROTOCOL:
        seen.foreign.add(key)


def _mac(value: bytes) -> str:
    return value.hex(":")


def _text(value: bytes) -> str:
    return value.rstrip(b"\0").decode(errors="replace")


def _ip(value: bytes) -> str:
    return socket.inet_ntop(socket.AF_INET if len(value) == 4 else socket.AF_INET6, value)


def _number(value: bytes) -> int:
    return int.from_bytes(value, sys.byteorder)


def note_link(seen: Seen, part: bytes) -> Link:
    """Enter a device, its number and that of its other end."""
    _, _, index, flags, _ = items.link_header.unpack_from(part)
    found = attributes(part, 16)
    name = _text(found[3])
    seen.indexes[name] = index
    if 5 in found:
        seen.peers[name] = _number(found[5])
    if group := _number(found.get(27, b"")):
        seen.groups[name] = group
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
    return link


def address(part: bytes, devices: Devices) -> Found | None:
    """An address that somebody gave a device; None for the kernel's own."""
    _, length, _, _, index = items.address_header.unpack_from(part)
    found = attributes(part, 8)
    device = devices.get(index, "")
    protocol = found.get(11, b"\0")[0]
    if device in ("", "lo") or 0 < protocol < 4:
        return None
    return Found(Address(device, f"{_ip(found.get(2) or found[1])}/{length}"), protocol)


def path(part: bytes, devices: Devices) -> Found | None:
    """A route that somebody made; None for the kernel's own."""
    version, length, _, _, _, protocol, _, kind, flags = items.route_header.unpack_from(part)
    # Clones (0x200) are the kernel's cache of path MTUs and redirects.
    if protocol == _KERNEL_PROTOCOL or flags & 0x200 or version not in _ANYWHERE:
        return None
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
    return Found(item, protocol)


def neighbour(part: bytes, devices: Devices, seen: Seen, lasting: bool = True) -> Found | None:
    """A neighbour, or an entry of a tunnel's forwarding table; `lasting`: only what the kernel did not learn by itself.

    None for what is neither.
    """
    version, index, state, _, _ = items.neighbour_header.unpack_from(part)
    if index not in devices or (lasting and not state & items.PERMANENT):
        return None
    device = devices[index]
    found = attributes(part, 12)
    if 1 not in found or (lasting and 2 not in found):
        return None
    mac = _mac(found.get(2, b"")) if state & items.PERMANENT else ""
    if version == socket.AF_BRIDGE:
        link = seen.items.get(("link", device))
        if not isinstance(link, Link) or link.kind != "vxlan":
            return None
        # These carry no protocol; nobody but us makes them in a router.
        return Found(Forwarding(device, _mac(found.get(2, b"")), _ip(found[1])), items.PROTOCOL)
    return Found(Neighbour(device, _ip(found[1]), mac), found.get(12, b"\0")[0])


def policy(part: bytes) -> Found | None:
    """A policy rule that picks packets by their mark."""
    version = items.rule_header.unpack_from(part)[0]
    found = attributes(part, 12)
    if 10 not in found or 15 not in found:
        return None
    return Found(Policy(version, _number(found[10]), _number(found[15])), found.get(21, b"\0")[0])
