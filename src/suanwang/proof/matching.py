"""What one packet matches: routes, prefixes, the rules of groups."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from suanwang.program.objects import FilterRule, PortFilter, Route, SecurityGroupFilter
from suanwang.proof.atoms import bounds
from suanwang.proof.packet import Packet, matches_protocol

if TYPE_CHECKING:
    from suanwang.proof.space import Space

MAIN_TABLE = 254

_PORTED = ("tcp", "udp")


def lookup(space: Space, destination: str, table: int | None) -> Route | None:
    """The route that decides: of `table` if one is given and it does not pass the lookup on, else of main."""
    for number in (table, MAIN_TABLE):
        if number is None:
            continue
        best = longest(space.tables.get(number, {}), destination)
        if best is not None and best.action != "throw":
            return best
    return None


def longest(routes: Mapping[str, Route], destination: str) -> Route | None:
    """The route with the longest matching prefix."""
    matching = [route for prefix, route in routes.items() if contains(prefix, destination)]
    return max(matching, key=lambda route: int(route.destination.rpartition("/")[2]), default=None)


def contains(prefix: str, address: str) -> bool:
    """Whether an address lies in a prefix; never across IP versions."""
    if (":" in prefix) != (":" in address):
        return False
    start, end = bounds(prefix)
    return start <= bounds(address)[0] < end


def allowing(space: Space, guard: PortFilter, direction: str, packet: Packet) -> str | None:
    """The name of a group that lets the packet pass in this direction, or None."""
    for name in guard.groups:
        group = space.groups.get(name)
        if group is not None and group_allows(space, group, direction, packet):
            return name
    return None


def group_allows(space: Space, group: SecurityGroupFilter, direction: str, packet: Packet) -> bool:
    """Whether a rule of the group matches."""
    rules = group.ingress if direction == "ingress" else group.egress
    peer = packet.source if direction == "ingress" else packet.destination
    return any(rule_matches(space, rule, peer, packet) for rule in rules)


def rule_matches(space: Space, rule: FilterRule, peer: str, packet: Packet) -> bool:
    """Whether one rule speaks of this packet."""
    if not service_matches(rule, packet):
        return False
    if rule.peer == "any":
        return True
    if rule.peer.startswith("@"):
        return any(contains(prefix, peer) for prefix in space.set_members(rule.peer[1:]))
    return contains(rule.peer, peer)


def service_matches(rule: FilterRule, packet: Packet) -> bool:
    """Whether a rule speaks of the packet's protocol, port and ICMP type."""
    if not matches_protocol(rule.protocol, packet.protocol):
        return False
    if rule.ports and (
        packet.protocol not in _PORTED or not any(first <= packet.port <= last for first, last in rule.ports)
    ):
        return False
    if rule.icmp_type >= 0 and rule.icmp_type != packet.icmp_type:
        return False
    return rule.icmp_code < 0 or rule.icmp_code == packet.icmp_code
