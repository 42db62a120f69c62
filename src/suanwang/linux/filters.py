"""Filters, route selection and delivery of one namespace, as nftables tables.

The way of a packet through the router's table `inet suanwang`:

    prerouting (raw)      sources     from a port's device: only with that port's MAC and addresses
    prerouting (mangle)   selection   marks what enters by devices that have a route table of their own
    forward (filter - 1)  from_port   what the sender's groups allow; what comes from a tunnel passes
    forward (filter)      to_port     what the receiver's groups allow; what leaves by a tunnel passes
    input                 to_router   echo requests and neighbour discovery

`accept` ends one hook's chain only, so a packet between two ports of a node passes both. Answers pass by conntrack.
Chains `out_…`/`in_…` are security groups; `from_…`/`to_…` one for each combination of groups in use, found from the
device by a verdict map, so cost does not grow with ports. Names of groups and sets are users' words: they enter as a
readable part and a hash. The table `netdev suanwang` marks frames that come by a tunnel to a port's own MAC
(`Delivery`).
"""

from __future__ import annotations

import hashlib
import re
import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from suanwang.linux.items import packed_mac, split
from suanwang.linux.tables import Chain, Elements, Table
from suanwang.program import objects
from suanwang.program.objects import FilterRule, identity

_DEVICE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}")
_SPOKEN = re.compile(r"[^a-zA-Z0-9]+")
_WORDS = {4: "ip", 6: "ip6"}
_PORTED = {"tcp", "udp", "sctp", "dccp", "udplite"}
_NAMED = {"icmp": 4, "icmpv6": 6}

Identity = tuple[str | int, ...]


@dataclass(slots=True)
class Parts:
    """The objects of one namespace that filters are made of."""

    filtered: bool = False
    tunnels: list[str] = field(default_factory=list)
    groups: list[objects.SecurityGroupFilter] = field(default_factory=list)
    sets: list[objects.AddressSet] = field(default_factory=list)
    elements: list[objects.AddressSetElement] = field(default_factory=list)
    ports: list[objects.PortFilter] = field(default_factory=list)
    selections: list[objects.RouteSelection] = field(default_factory=list)
    deliveries: list[tuple[objects.Delivery, int]] = field(default_factory=list)
    """Each with its mark."""


def chain_name(word: str, *names: str) -> str:
    """An nft identifier: a word, something readable of the names, and a hash that tells them apart."""
    spoken = _SPOKEN.sub("_", "_".join(names))[:40].strip("_")
    digest = hashlib.blake2b("\0".join(names).encode(), digest_size=5).hexdigest()
    return f"{word}_{spoken}_{digest}"


def device_name(name: str) -> str:
    """A device's name, quoted. Raises ValueError for what the kernel or nft would take differently."""
    if not _DEVICE.fullmatch(name):
        raise ValueError(f"{name!r} is no device name: 1 to 15 of letters, digits, '_', '-', '.'")
    return f'"{name}"'


def render(parts: Parts) -> tuple[Table, Table, dict[Identity, str]]:
    """The `inet` and `netdev` tables, and what is wrong with objects that were left out of them."""
    wrong: dict[Identity, str] = {}
    inet, netdev = Table("inet"), Table("netdev")
    if parts.filtered or parts.ports or parts.groups:
        _filters(parts, inet, wrong)
    if parts.selections:
        _selection(parts, inet, wrong)
    if parts.deliveries:
        _delivery(parts, netdev, wrong)
    return inet, netdev, wrong


def _filters(parts: Parts, table: Table, wrong: dict[Identity, str]) -> None:
    versions = _address_sets(parts, table, wrong)
    for group in parts.groups:
        for word, side, rules in (("in", "saddr", group.ingress), ("out", "daddr", group.egress)):
            lines: list[str] = []
            for rule in rules:
                try:
                    lines += rule_lines(rule, side, versions)
                except (ValueError, OSError) as problem:
                    wrong[identity(group)] = str(problem)
            table.chains[chain_name(word, group.name)] = Chain("", tuple(lines))
    _ports(parts, table, wrong)
    _base_chains(parts, table)


def _base_chains(parts: Parts, table: Table) -> None:
    table.sets["tunnels"] = Elements("set type ifname;", frozenset(map(device_name, parts.tunnels)))
    table.chains["sources"] = Chain(
        "type filter hook prerouting priority raw; policy accept;",
        (
            "iifname != @ports accept",
            "iifname . ether saddr . ip saddr @sources_4 accept",
            "iifname . ether saddr . ip6 saddr @sources_6 accept",
            "iifname vmap @wide_sources",
            "iifname . ether saddr @port_macs ip6 saddr { ::, fe80::/10 } ip6 daddr { fe80::/10, ff02::/16 } "
            "icmpv6 type { echo-request, nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert } accept",
            "drop",
        ),
    )
    answers = ("ct state established,related accept", "ct state invalid drop")
    table.chains["from_port"] = Chain(
        "type filter hook forward priority -1; policy drop;",
        (*answers, "iifname vmap @port_egress", "iifname @tunnels accept"),
    )
    table.chains["to_port"] = Chain(
        "type filter hook forward priority 0; policy drop;",
        (answers[0], "oifname vmap @port_ingress", "oifname @tunnels accept"),
    )
    table.chains["to_router"] = Chain(
        "type filter hook input priority 0; policy drop;",
        (
            answers[0],
            'iifname "lo" accept',
            "icmp type echo-request accept",
            "icmpv6 type { echo-request, nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert } accept",
        ),
    )


def _ports(parts: Parts, table: Table, wrong: dict[Identity, str]) -> None:
    known = {group.name for group in parts.groups}
    filled: dict[str, set[str]] = {
        "ports": set(),
        "port_macs": set(),
        "sources_4": set(),
        "sources_6": set(),
        "wide_sources": set(),
        "port_egress": set(),
        "port_ingress": set(),
    }
    for port in parts.ports:
        try:
            device = device_name(port.device)
            mac = packed_mac(port.mac).hex(":")
            hosts, wide = _sources([*((mac, prefix) for prefix in port.sources), *port.pairs])
        except (ValueError, OSError) as problem:
            wrong[identity(port)] = str(problem)
            continue
        absent = [name for name in port.groups if name not in known]
        if absent:
            wrong[identity(port)] = f"security groups {', '.join(absent)} are not in the program"
        groups = tuple(name for name in port.groups if name in known)
        filled["ports"].add(device)
        filled["port_macs"].add(f"{device} . {mac}")
        for version, owner, address in hosts:
            filled[f"sources_{version}"].add(f"{device} . {owner} . {address}")
        if wide:
            name = chain_name("sources", port.device)
            rules = tuple(
                f"ether saddr {owner} {_WORDS[version]} saddr {prefix} accept" for version, owner, prefix in wide
            )
            table.chains[name] = Chain("", rules)
            filled["wide_sources"].add(f"{device} : jump {name}")
        for word, inner, where in (("from", "out", "port_egress"), ("to", "in", "port_ingress")):
            name = chain_name(word, *groups)
            jumps = tuple(f"jump {chain_name(inner, group)}" for group in groups)
            table.chains.setdefault(name, Chain("", (*jumps, "drop")))
            filled[where].add(f"{device} : jump {name}")
    kinds = {
        "ports": "set type ifname;",
        "port_macs": "set type ifname . ether_addr;",
        "sources_4": "set type ifname . ether_addr . ipv4_addr;",
        "sources_6": "set type ifname . ether_addr . ipv6_addr;",
        "wide_sources": "map type ifname : verdict;",
        "port_egress": "map type ifname : verdict;",
        "port_ingress": "map type ifname : verdict;",
    }
    for name, declaration in kinds.items():
        table.sets[name] = Elements(declaration, frozenset(filled[name]))


def _sources(pairs: Iterable[tuple[str, str]]) -> tuple[list[tuple[int, str, str]], list[tuple[int, str, str]]]:
    """Pairs of MAC and prefix as (IP version, MAC, address) of hosts, and (IP version, MAC, prefix) of the others."""
    hosts: list[tuple[int, str, str]] = []
    wide: list[tuple[int, str, str]] = []
    for mac, source in pairs:
        owner = packed_mac(mac).hex(":")
        value, length = split(source)
        version = 4 if len(value) == 4 else 6
        if length == len(value) * 8:
            hosts.append((version, owner, _ip(value)))
        else:
            wide.append((version, owner, f"{_ip(value)}/{length}"))
    return hosts, wide


def _ip(value: bytes) -> str:
    return socket.inet_ntop(socket.AF_INET if len(value) == 4 else socket.AF_INET6, value)


def _address_sets(parts: Parts, table: Table, wrong: dict[Identity, str]) -> dict[str, dict[int, str]]:
    """Enter the address sets; gives their nft names by name and IP version.

    A set of whole addresses is a hash; one with prefixes an interval set, in which nothing may overlap: prefixes inside
    others are left out (two prefixes are nested or apart).
    """
    members: dict[str, dict[int, set[tuple[bytes, int]]]] = {item.name: {4: set(), 6: set()} for item in parts.sets}
    for element in parts.elements:
        try:
            value, length = split(element.prefix)
        except (ValueError, OSError):
            wrong[identity(element)] = f"{element.prefix!r} is no prefix"
            continue
        if element.set not in members:
            wrong[identity(element)] = f"address set {element.set} is not in the program"
            continue
        members[element.set][4 if len(value) == 4 else 6].add((value, length))
    names: dict[str, dict[int, str]] = {}
    for name, by_version in members.items():
        names[name] = {}
        for version, prefixes in by_version.items():
            whole = 32 if version == 4 else 128
            names[name][version] = full = chain_name(f"set{version}", name)
            if all(length == whole for _, length in prefixes):
                elements = frozenset(_ip(value) for value, _ in prefixes)
                table.sets[full] = Elements(f"set type ipv{version}_addr;", elements)
            else:
                elements = frozenset(f"{_ip(value)}/{length}" for value, length in outermost(prefixes))
                table.sets[full] = Elements(f"set type ipv{version}_addr; flags interval;", elements)
    return names


def outermost(prefixes: Iterable[tuple[bytes, int]]) -> list[tuple[bytes, int]]:
    """Those prefixes, of one IP version, that no other contains."""
    found: list[tuple[bytes, int]] = []
    end = -1
    for value, length in sorted(prefixes, key=lambda prefix: (prefix[0], prefix[1])):
        first = int.from_bytes(value, "big")
        if first > end:
            found.append((value, length))
            end = first + (1 << (len(value) * 8 - length)) - 1
    return found


def rule_lines(rule: FilterRule, side: str, sets: Mapping[str, Mapping[int, str]]) -> list[str]:
    """A rule as nft rules, one for each IP version where peers are a set. Raises ValueError where it makes no sense."""
    what = _protocol(rule)
    only = _NAMED.get(rule.protocol)
    if rule.peer == "any":
        peers = [""]
    elif rule.peer.startswith("@"):
        if rule.peer[1:] not in sets:
            raise ValueError(f"address set {rule.peer[1:]} is not in the program")
        named = sets[rule.peer[1:]]
        peers = [f"{_WORDS[version]} {side} @{named[version]}" for version in (4, 6) if only in (None, version)]
    else:
        value, length = split(rule.peer)
        version = 4 if len(value) == 4 else 6
        if only not in (None, version):
            raise ValueError(f"{rule.protocol} has no peers in {rule.peer}")
        everyone = f"meta nfproto ipv{version}"
        peers = [f"{_WORDS[version]} {side} {_ip(value)}/{length}" if length else everyone]
    return [" ".join(part for part in (peer, what, "accept") if part) for peer in peers]


def _protocol(rule: FilterRule) -> str:
    protocol = rule.protocol
    if protocol in _NAMED:
        if rule.icmp_type < 0:
            return f"meta l4proto {'icmp' if protocol == 'icmp' else 'ipv6-icmp'}"
        code = f" {protocol} code {rule.icmp_code}" if rule.icmp_code >= 0 else ""
        return f"{protocol} type {rule.icmp_type}{code}"
    if not (protocol == "any" or protocol in _PORTED or (protocol.isdigit() and int(protocol) < 256)):
        raise ValueError(f"{protocol!r} is no protocol")
    ports = _ranges(rule.ports)
    if not ports:
        return "" if protocol == "any" else f"meta l4proto {protocol}"
    if protocol in ("tcp", "udp"):
        return f"{protocol} dport {{ {ports} }}"
    carried = "{ tcp, udp }" if protocol == "any" else protocol
    return f"meta l4proto {carried} th dport {{ {ports} }}"


def _ranges(ports: Sequence[tuple[int, int]]) -> str:
    """Port ranges for an anonymous set: sorted, joined where they touch, as nft refuses overlaps."""
    joined: list[list[int]] = []
    for first, last in sorted(ports):
        if not 0 <= first <= last <= 65535:
            raise ValueError(f"{first}-{last} is no range of ports")
        if joined and first <= joined[-1][1] + 1:
            joined[-1][1] = max(joined[-1][1], last)
        else:
            joined.append([first, last])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in joined)


def _selection(parts: Parts, table: Table, wrong: dict[Identity, str]) -> None:
    elements: set[str] = set()
    for item in parts.selections:
        try:
            elements.add(f"{device_name(item.device)} : {item.table}")
        except ValueError as problem:
            wrong[identity(item)] = str(problem)
    table.sets["selection"] = Elements("map type ifname : mark;", frozenset(elements))
    table.chains["selection"] = Chain(
        "type filter hook prerouting priority mangle; policy accept;",
        ("meta mark 0 meta mark set iifname map @selection",),
    )


def _delivery(parts: Parts, table: Table, wrong: dict[Identity, str]) -> None:
    elements: dict[str, set[str]] = {}
    for item, mark in parts.deliveries:
        try:
            device_name(item.device)
            elements.setdefault(item.device, set()).add(f"{packed_mac(item.mac).hex(':')} : {mark}")
        except ValueError as problem:
            wrong[identity(item)] = str(problem)
    for device, marks in elements.items():
        name = chain_name("delivery", device)
        table.sets[name] = Elements("map type ether_addr : mark;", frozenset(marks))
        # The tunnel's device has a MAC of its own, so the kernel would take these frames for somebody else's.
        rule = f"meta mark set ether daddr map @{name} meta pkttype set host"
        hook = f"type filter hook ingress device {device_name(device)} priority 0; policy accept;"
        table.chains[name] = Chain(hook, (rule,))
