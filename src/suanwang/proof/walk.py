"""The way of one packet through programs, hop by hop, with a reason at each: what `trace` shows.

It follows the data plane as docs/rooms/linux.md describes it, one step at a time, and is deliberately plain: the set
engine in
`component.py` is checked against it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from suanwang.program.objects import FilterRule, PortDevice, PortFilter, Route, SecurityGroupFilter
from suanwang.proof import codes
from suanwang.proof.atoms import bounds
from suanwang.proof.packet import Packet, matches_protocol
from suanwang.proof.space import MAIN_TABLE, Space, SpaceKey

MOST_HOPS = 64
"""The initial hop limit of Linux: no packet passes more routers."""


_TRACKED = ("icmp", "icmpv6", "tcp")
"""Protocols whose answers are invalid to connection tracking where it did not see what they answer."""


_PORTED = ("tcp", "udp")


@dataclass(frozen=True, slots=True)
class Step:
    """What happened in one place: `what` is a short phrase, `code` a reason, `detail` names the object that decided."""

    node: str
    netns: str
    what: str
    code: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Trace:
    """A packet's way. `code` says how it ended; `port` (`tenant/name`) where, if it was delivered."""

    packet: Packet
    code: str
    port: str
    steps: tuple[Step, ...]
    spaces: tuple[SpaceKey, ...]

    @property
    def delivered(self) -> bool:
        """Whether it reached a port."""
        return self.code == codes.DELIVERED


class Surroundings(Protocol):
    """Where spaces are found."""

    def attachment(self, workload: str) -> tuple[Space, PortDevice] | None:
        """The space and port device that a workload hangs on."""

    def tunnel_end(self, endpoint: str, udp_port: int, vni: int) -> tuple[Space, str] | None:
        """The space and tunnel device that receive what is sent to an endpoint with a network identifier."""


def round_trip(world: Surroundings, workload: str, packet: Packet) -> tuple[Trace, Trace | None]:
    """The way there, and, if it arrives, the way of the answer (connections that were let through are known)."""
    there = walk(world, workload, packet)
    if not there.delivered:
        return there, None
    return there, walk(world, f"port/{there.port}", packet.reply(), frozenset(there.spaces))


def walk(world: Surroundings, workload: str, packet: Packet, established: frozenset[SpaceKey] | None = None) -> Trace:
    """Follow a packet from a workload. An answer is known in the spaces `established`, which saw what it answers."""
    return _Walk(world, packet, established).run(workload)


class _Walk:
    def __init__(self, world: Surroundings, packet: Packet, established: frozenset[SpaceKey] | None) -> None:
        self._world = world
        self._packet = packet
        self._is_answer = established is not None
        self._established = established or frozenset()
        self._steps: list[Step] = []
        self._spaces: list[SpaceKey] = []

    def run(self, workload: str) -> Trace:
        found = self._world.attachment(workload)
        if found is None:
            return self._end(codes.NOT_ATTACHED)
        space, port = found
        self._spaces.append(space.key)
        self._say(space, f"sent by {port.title}")
        if self._packet.destination in {address.partition("/")[0] for address in port.addresses}:
            # A workload's own addresses are local to it: such packets never come out of it.
            self._say(space, "stays within the workload", codes.DELIVERED)
            return self._end(codes.DELIVERED, port.title)
        if (refused := self._source_refused(space, port)) is not None:
            return refused
        table = space.selections.get(port.device)
        incoming = port.device
        for _ in range(MOST_HOPS):
            ended = self._router(space, incoming, table)
            if isinstance(ended, Trace):
                return ended
            space, incoming, delivery = ended
            self._spaces.append(space.key)
            table = None
            if delivery is not None:
                return self._to_port(space, incoming, space.ports[delivery], "the frame is addressed to this port")
        self._say(space, "goes round and round", codes.CYCLIC_PATH)
        return self._end(codes.CYCLIC_PATH)

    def _source_refused(self, space: Space, port: PortDevice) -> Trace | None:
        guard = space.filters.get(port.device)
        if guard is None or not space.guarded:
            return None
        source = self._packet.source
        # Which of the MACs that it may use a workload uses is its own choice.
        own = guard.sources if guard.mac == port.mac else ()
        if any(contains(prefix, source) for prefix in (*own, *(prefix for _, prefix in guard.pairs))):
            return None
        self._say(space, f"{source} is no source address of {port.title}", codes.SOURCE_ADDRESS_NOT_ALLOWED)
        return self._end(codes.SOURCE_ADDRESS_NOT_ALLOWED)

    def _router(self, space: Space, incoming: str, table: int | None) -> Trace | tuple[Space, str, str | None]:
        """Route and filter once. A Trace when that is the end, else the next space, device and port to deliver to."""
        packet = self._packet
        if packet.destination in space.gateways:
            return self._to_router(space)
        if not space.forwarding:
            return self._stop(space, "does not forward", codes.NOT_FORWARDING)
        route = lookup(space, packet.destination, table)
        if route is None:
            return self._stop(space, f"no route to {packet.destination}", codes.NO_ROUTE_TO_DESTINATION)
        if route.table != MAIN_TABLE:
            self._say(space, f"route {route.destination}", codes.SUBNET_ROUTE_TABLE, f"table {route.table}")
        if route.action == "blackhole":
            return self._stop(space, f"route {route.destination} drops", codes.BLACKHOLE_ROUTE)
        if route.device in space.ports:
            return self._to_port(space, incoming, space.ports[route.device], f"route {route.destination}")
        tunnel = space.tunnels.get(route.device)
        if tunnel is None:
            return self._stop(space, f"route {route.destination} names {route.device}", codes.DEVICE_MISSING)
        if (refused := self._from_port(space, incoming)) is not None:
            return refused
        next_hop = route.via or packet.destination
        mac = space.neighbours.get((tunnel.device, next_hop))
        if mac is None:
            return self._stop(space, f"next hop {next_hop} is not known", codes.NEIGHBOUR_MISSING)
        remote = space.fdb.get((tunnel.device, mac))
        if remote is None:
            return self._stop(space, f"no entry for {mac}", codes.TUNNEL_ENTRY_MISSING)
        end = self._world.tunnel_end(remote, tunnel.udp_port, tunnel.vni)
        if end is None:
            message = f"nobody at {remote} has network {tunnel.vni}"
            return self._stop(space, message, codes.TUNNEL_ENDPOINT_MISSING)
        self._say(space, f"route {route.destination}, by tunnel {tunnel.vni} to {remote}")
        there, device = end
        name = there.deliveries.get((device, mac))
        port = there.ports.get(name) if name is not None else None
        if port is None and there.tunnels[device].mac != mac:
            return self._stop(there, f"frame for {mac}", codes.FRAME_NOT_FOR_ROUTER)
        # The router's own addresses come before all else, and a port takes packets of its IP versions only.
        if port is None or packet.destination in there.gateways or not _has_version(port, packet.version):
            return there, device, None
        return there, device, port.device

    def _to_router(self, space: Space) -> Trace:
        echo = {"icmp": 8, "icmpv6": 128}.get(self._packet.protocol)
        if not space.guarded or self._packet.icmp_type == echo:
            self._say(space, "for the router itself", codes.DELIVERED_TO_ROUTER)
            return self._end(codes.DELIVERED_TO_ROUTER)
        return self._stop(space, "for the router itself", codes.ROUTER_REFUSES)

    def _from_port(self, space: Space, incoming: str) -> Trace | None:
        if not space.guarded or space.key in self._established:
            return None
        if self._is_answer and self._packet.protocol in _TRACKED:
            return self._stop(space, "an answer to nothing that was seen here", codes.CONNECTION_UNKNOWN)
        if incoming in space.tunnels:
            return None
        guard = space.filters.get(incoming)
        if guard is None:
            return self._stop(space, f"{incoming} has no filter", codes.PORT_HAS_NO_FILTER)
        by = allowing(space, guard, "egress", self._packet)
        if by is None:
            message = f"groups {', '.join(guard.groups)} let nothing like this out"
            return self._stop(space, message, codes.SECURITY_GROUP_DENIES_EGRESS)
        self._say(space, f"let out by group {by}")
        return None

    def _to_port(self, space: Space, incoming: str, port: PortDevice, how: str) -> Trace:
        if (refused := self._from_port(space, incoming)) is not None:
            return refused
        if space.guarded and space.key not in self._established:
            guard = space.filters.get(port.device)
            if guard is None:
                return self._stop(space, f"{port.title} has no filter", codes.PORT_HAS_NO_FILTER)
            by = allowing(space, guard, "ingress", self._packet)
            if by is None:
                message = f"groups {', '.join(guard.groups)} of {port.title} let nothing like this in"
                return self._stop(space, message, codes.SECURITY_GROUP_DENIES_INGRESS)
            self._say(space, f"let in by group {by}")
        self._say(space, f"{how}: to {port.title}", codes.DELIVERED)
        return self._end(codes.DELIVERED, port.title)

    def _say(self, space: Space, what: str, code: str = "", detail: str = "") -> None:
        self._steps.append(Step(space.node, space.netns, what, code, detail))

    def _stop(self, space: Space, what: str, code: str) -> Trace:
        self._say(space, what, code)
        return self._end(code)

    def _end(self, code: str, port: str = "") -> Trace:
        return Trace(self._packet, code, port, tuple(self._steps), tuple(self._spaces))


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
    if not matches_protocol(rule.protocol, packet.protocol):
        return False
    if rule.ports and (
        packet.protocol not in _PORTED or not any(first <= packet.port <= last for first, last in rule.ports)
    ):
        return False
    if rule.icmp_type >= 0 and rule.icmp_type != packet.icmp_type:
        return False
    if rule.icmp_code >= 0 and rule.icmp_code != packet.icmp_code:
        return False
    if rule.peer == "any":
        return True
    if rule.peer.startswith("@"):
        return any(contains(prefix, peer) for prefix in space.set_members(rule.peer[1:]))
    return contains(rule.peer, peer)


def _has_version(port: PortDevice, version: int) -> bool:
    return any((":" in address) == (version == 6) for address in port.addresses)
