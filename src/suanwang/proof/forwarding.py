"""One router's step with one packet: where it is sent, and where a tunnel leads it."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from suanwang.program.objects import PortDevice, Vxlan
from suanwang.proof import codes
from suanwang.proof.matching import MAIN_TABLE, lookup
from suanwang.proof.packet import Packet
from suanwang.proof.space import Space
from suanwang.proof.transfer import Turn


class Surroundings(Protocol):
    """Where spaces are found."""

    def attachment(self, workload: str) -> tuple[Space, PortDevice] | None:
        """The space and port device that a workload hangs on."""

    def tunnel_end(self, endpoint: str, udp_port: int, vni: int) -> tuple[Space, str] | None:
        """The space and tunnel device that receive what is sent to an endpoint with a network identifier."""


class Drop(NamedTuple):
    """The end of a packet: where, why, and in words; and the table of the route that decided, if one did."""

    space: Space
    code: str
    how: str
    table: int = MAIN_TABLE


class Crossing(NamedTuple):
    """Where a tunnel leads: space and device, and the port's device if the frame is for a port of it."""

    there: Space
    device: str
    frame: str
    remote: str


def cross(world: Surroundings, space: Space, tunnel: Vxlan, next_hop: str, version: int) -> Crossing | Drop:
    """What becomes of a packet of an IP version that a space sends into a tunnel, to a next hop."""
    mac = space.neighbours.get((tunnel.device, next_hop))
    if mac is None:
        return Drop(space, codes.NEIGHBOUR_MISSING, f"next hop {next_hop} is not known")
    remote = space.fdb.get((tunnel.device, mac))
    if remote is None:
        return Drop(space, codes.TUNNEL_ENTRY_MISSING, f"no entry for {mac}")
    end = world.tunnel_end(remote, tunnel.udp_port, tunnel.vni)
    if end is None:
        return Drop(space, codes.TUNNEL_ENDPOINT_MISSING, f"nobody at {remote} has network {tunnel.vni}")
    there, device = end
    port = there.ports.get(there.deliveries.get((device, mac), ""))
    if port is None and there.tunnels[device].mac != mac:
        return Drop(there, codes.FRAME_NOT_FOR_ROUTER, f"frame for {mac}")
    # A port takes packets of its IP versions only; others are the router's.
    return Crossing(there, device, port.device if port is not None and _has_version(port, version) else "", remote)


class Exit(NamedTuple):
    """How a packet leaves a router: by a device, to a next hop; `how` is a phrase, `table` the route's."""

    device: str
    next_hop: str
    how: str
    table: int = MAIN_TABLE


def choose_exit(space: Space, packet: Packet, frame: str, table: int | None, turn: Turn | None) -> Exit | Drop | None:
    """Where a router sends a packet, filters left aside; None: it is for the router itself.

    `frame` is the port that a frame was addressed to, `turn` what redirects the packet, if anything does.
    """
    # The router's own addresses come before all else.
    if packet.destination in space.gateways:
        return None
    if turn is None and frame:
        return Exit(frame, "", "the frame is addressed to this port")
    if not space.forwarding:
        return Drop(space, codes.NOT_FORWARDING, "does not forward")
    device, via, how, number = "", "", "steered", MAIN_TABLE
    if turn is not None and turn.device:
        device, via = turn.device, turn.via
    else:
        route = lookup(space, packet.destination, turn.table if turn is not None else table)
        if route is None:
            return Drop(space, codes.NO_ROUTE_TO_DESTINATION, f"no route to {packet.destination}")
        device, via, how, number = route.device, route.via, f"route {route.destination}", route.table
        if route.action == "blackhole":
            return Drop(space, codes.BLACKHOLE_ROUTE, f"{how} drops", number)
    if device not in space.ports and device not in space.tunnels:
        return Drop(space, codes.DEVICE_MISSING, f"{how} names {device}", number)
    return Exit(device, via or packet.destination, how, number)


def _has_version(port: PortDevice, version: int) -> bool:
    return any((":" in address) == (version == 6) for address in port.addresses)
