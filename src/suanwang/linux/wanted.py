"""The objects of one namespace, compiled to what its kernel shall hold. Pure: no system calls."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from suanwang.linux import filters, shaping
from suanwang.linux.filters import Identity, Parts, device_name
from suanwang.linux.items import MAIN_TABLE, Address, Forwarding, Key, Link, Neighbour, Path, Policy, packed_mac, split
from suanwang.linux.seen import Item
from suanwang.linux.tables import Table
from suanwang.program import objects
from suanwang.program.objects import AnyObject, identity

DELIVERY_BIT: Final = 0x4000_0000
"""Set in marks and table numbers of deliveries, clear in those of route selection."""

LOOPBACK_MTU_BYTES: Final = 65536

# Few, as each is a file that costs 0.2 ms to open in a new namespace.
_ROUTER = {
    "ipv6/conf/default/addr_gen_mode": "1",
    "ipv4/conf/all/rp_filter": "0",
    "ipv4/conf/default/rp_filter": "0",
    "ipv4/conf/default/proxy_arp": "1",
    "ipv4/conf/all/send_redirects": "0",
    "ipv4/conf/default/send_redirects": "0",
}
_FORWARDING = {"ipv4/ip_forward": "1", "ipv6/conf/all/forwarding": "1"}


@dataclass(slots=True)
class Wanted:
    """What a namespace shall hold.

    `ends`: for each pair made here, its other end and the logical namespace of that. `given`: devices that are made
    from elsewhere. `whole`: the namespace is ours alone, so whatever else is found in it goes. `settings` are needed
    before there are devices, `last` must wait until devices and filters stand.
    """

    items: dict[Key, Item] = field(default_factory=dict)
    owners: dict[Key, Identity] = field(default_factory=dict)
    ends: dict[str, tuple[Link, str]] = field(default_factory=dict)
    given: set[str] = field(default_factory=set)
    settings: dict[str, str] = field(default_factory=dict)
    last: dict[str, str] = field(default_factory=dict)
    inet: Table = field(default_factory=lambda: Table("inet"))
    netdev: Table = field(default_factory=lambda: Table("netdev"))
    wrong: dict[Identity, str] = field(default_factory=dict)
    whole: bool = False

    def put(self, item: Item, owner: Identity) -> None:
        """Want an item, unless another object does already."""
        if item.key not in self.items:
            self.items[item.key] = item
            self.owners[item.key] = owner


def canonical(address: str) -> str:
    """An address or prefix in the form in which the kernel's are read back."""
    value, length = split(address)
    text = socket.inet_ntop(socket.AF_INET if len(value) == 4 else socket.AF_INET6, value)
    return f"{text}/{length}" if "/" in address else text


def compile_namespace(own: Iterable[AnyObject], attached: Iterable[objects.PortDevice]) -> Wanted:
    """`own` are the objects with this `netns`; `attached` the ports whose workload this is."""
    wanted = Wanted()
    parts = Parts()
    ports: dict[str, objects.PortDevice] = {}
    late: list[AnyObject] = []
    for item in own:
        match item:
            case objects.Neighbour() | objects.PortDevice():
                # Explicit neighbours go before those that ports imply.
                late.insert(0, item) if isinstance(item, objects.Neighbour) else late.append(item)
                if isinstance(item, objects.PortDevice):
                    ports[item.device] = item
            case objects.Delivery():
                late.append(item)
            case objects.SecurityGroupFilter():
                parts.groups.append(item)
            case objects.AddressSet():
                parts.sets.append(item)
            case objects.AddressSetElement():
                parts.elements.append(item)
            case objects.PortFilter():
                parts.ports.append(item)
            case objects.Probe() | objects.Responder():
                pass
            case _:
                _guard(wanted, parts, ports, item)
    for item in late:
        _guard(wanted, parts, ports, item)
    for port in attached:
        try:
            _workload(wanted, port)
        except (ValueError, OSError) as problem:
            wanted.wrong[identity(port)] = str(problem)
    wanted.inet, wanted.netdev, wrong = filters.render(parts)
    wanted.wrong |= wrong
    return wanted


def _guard(wanted: Wanted, parts: Parts, ports: dict[str, objects.PortDevice], item: AnyObject) -> None:
    try:
        _enter(wanted, parts, ports, item)
    except (ValueError, OSError) as problem:
        wanted.wrong[identity(item)] = str(problem)


def _enter(wanted: Wanted, parts: Parts, ports: dict[str, objects.PortDevice], item: AnyObject) -> None:
    owner = identity(item)
    match item:
        case objects.Namespace():
            wanted.whole = item.forwarding
            wanted.settings = _ROUTER if item.forwarding else {}
            wanted.last |= _FORWARDING if item.forwarding else {}
            wanted.put(Link("lo", "", "", LOOPBACK_MTU_BYTES), owner)
            parts.filtered = item.filtered
        case objects.Vxlan():
            device_name(item.device)
            mac, local = _mac(item.mac), canonical(item.local)
            wanted.put(Link(item.device, "vxlan", mac, item.mtu_bytes, "", item.vni, local, item.udp_port), owner)
            parts.tunnels.append(item.device)
        case objects.PortDevice():
            _port(wanted, item)
        case objects.Route():
            via = canonical(item.via) if item.via else ""
            forward = item.action == "forward"
            path = Path(item.table, canonical(item.destination), item.action, via, item.device)
            if forward and not item.device:
                raise ValueError("a route that forwards needs a device")
            wanted.put(path if forward else path._replace(via="", device=""), owner)
        case objects.Neighbour():
            wanted.put(Neighbour(item.device, canonical(item.address), _mac(item.mac)), owner)
        case objects.ForwardingEntry():
            wanted.put(Forwarding(item.device, _mac(item.mac), canonical(item.remote)), owner)
        case objects.RouteSelection():
            if not 0 < item.table < DELIVERY_BIT:
                raise ValueError(f"{item.table} is no table for route selection: 1 to {DELIVERY_BIT - 1}")
            for version in (socket.AF_INET, socket.AF_INET6):
                wanted.put(Policy(int(version), item.table, item.table), owner)
            parts.selections.append(item)
        case objects.Delivery():
            _deliver(wanted, parts, ports, item)
        case _:
            raise ValueError(f"this agent does not know what {type(item).__name__} is")


def _mac(mac: str) -> str:
    value = packed_mac(mac)
    if len(value) != 6:
        raise ValueError(f"{mac!r} is no MAC address")
    return value.hex(":")


def _port(wanted: Wanted, port: objects.PortDevice) -> None:
    owner = identity(port)
    device_name(port.device)
    gateways = [canonical(address.partition("/")[0]) for address in port.gateways]
    mac = _mac(port.mac)
    own = [canonical(address.partition("/")[0]) for address in port.addresses]
    wanted.put(Link(port.device, "veth", _mac(port.gateway_mac), port.mtu_bytes, port.title), owner)
    wanted.ends[port.device] = (_end(port), port.workload)
    for gateway in gateways:
        wanted.put(Address(port.device, f"{gateway}/{_host_length(gateway)}"), owner)
    for address in own:
        wanted.put(Neighbour(port.device, address, mac), owner)
    if port.rate_in_bps:
        wanted.put(shaping.Limit(port.device, port.rate_in_bps // 8 * 8), owner)
    if port.rate_out_bps:
        between = shaping.shaper(port.device)
        wanted.put(Link(between, "ifb", "", port.mtu_bytes), owner)
        wanted.put(shaping.Limit(between, port.rate_out_bps // 8 * 8), owner)
        wanted.put(shaping.Redirect(port.device, between), owner)


def _host_length(address: str) -> int:
    if ":" not in address:
        return 32
    return 64 if address.startswith("fe80:") else 128


def _end(port: objects.PortDevice) -> Link:
    device_name(port.workload_device)
    return Link(port.workload_device, "veth", _mac(port.mac), port.mtu_bytes, port.title)


def _workload(wanted: Wanted, port: objects.PortDevice) -> None:
    owner = identity(port)
    end = _end(port)
    wanted.put(end, owner)
    wanted.given.add(end.device)
    versions = set()
    # The kernel would keep the link-local address of a former MAC, and try a new one for a second.
    wanted.put(Address(end.device, f"{link_local(end.mac)}/64"), owner)
    for address in port.addresses:
        whole = address if "/" in address else f"{address}/{128 if ':' in address else 32}"
        wanted.put(Address(end.device, canonical(whole)), owner)
        versions.add(":" in address)
    gateway_mac = _mac(port.gateway_mac)
    for gateway in port.gateways:
        next_hop = canonical(gateway.partition("/")[0])
        wanted.put(Neighbour(end.device, next_hop, gateway_mac), owner)
        if (":" in next_hop) in versions:
            anywhere = "::/0" if ":" in next_hop else "0.0.0.0/0"
            wanted.put(Path(MAIN_TABLE, anywhere, "forward", next_hop, end.device), owner)


def link_local(mac: str) -> str:
    """The IPv6 link-local address that goes with a MAC (RFC 4291 appendix A)."""
    value = packed_mac(mac)
    whole = b"\xfe\x80" + bytes(6) + bytes([value[0] ^ 2]) + value[1:3] + b"\xff\xfe" + value[3:]
    return socket.inet_ntop(socket.AF_INET6, whole)


def _deliver(wanted: Wanted, parts: Parts, ports: dict[str, objects.PortDevice], item: objects.Delivery) -> None:
    owner = identity(item)
    port = ports.get(item.port)
    if port is None:
        raise ValueError(f"port {item.port} is not in the program")
    mark = delivery_mark(item.port)
    parts.deliveries.append((item, mark))
    towards = {":" in address: canonical(address.partition("/")[0]) for address in reversed(port.addresses)}
    for newer, address in towards.items():
        anywhere = "::/0" if newer else "0.0.0.0/0"
        wanted.put(Path(mark, anywhere, "forward", address, item.port), owner)
        wanted.put(Policy(socket.AF_INET6 if newer else socket.AF_INET, mark, mark), owner)


def delivery_mark(device: str) -> int:
    """Mark and table of what is delivered to a port: from its name, so that it stays over restarts."""
    digest = hashlib.blake2b(device.encode(), digest_size=4).digest()
    return DELIVERY_BIT | int.from_bytes(digest, "big") & 0x3FFF_FFFF
