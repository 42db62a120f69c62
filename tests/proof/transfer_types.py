"""Types of objects as capabilities may bring them: each enters itself and what it does, and edits no other file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from suanwang.program.objects import FilterRule, Object, enters
from suanwang.proof import codes
from suanwang.proof.atoms import moved
from suanwang.proof.packet import Packet
from suanwang.proof.space import Space
from suanwang.proof.transfer import ARRIVAL, DEPARTURE, Scope, Turn, keeps, transfers

# One to one: a prefix for another


@enters
class PrefixNat(Object, tag="test-prefix-nat", frozen=True):
    """Inside, `inner`; to those in `outside`, and from them, `outer`."""

    KEY = ("netns", "name")
    netns: str
    name: str
    inner: str
    outer: str
    outside: str


@transfers(PrefixNat, ARRIVAL, lambda item: Scope(destinations=(item.outer,), moves=((item.outer, item.inner),)))
def _to_inner(_: Space, item: PrefixNat, packet: Packet, device: str) -> Sequence[Turn]:
    inner = moved(packet.destination, item.outer, item.inner)
    return [Turn(f"to {inner}", codes.TRANSLATED, replace(packet, destination=inner))]


@transfers(PrefixNat, DEPARTURE, lambda item: Scope((item.inner,), (item.outside,), moves=((item.inner, item.outer),)))
def _from_outer(_: Space, item: PrefixNat, packet: Packet, device: str) -> Sequence[Turn]:
    outer = moved(packet.source, item.inner, item.outer)
    return [Turn(f"from {outer}", codes.TRANSLATED, replace(packet, source=outer))]


# A port of one address, forwarded to a port of another


@enters
class PortForward(Object, tag="test-port-forward", frozen=True):
    """Packets to a port of `address` go to `to`, by the port that they call `to_port` there."""

    KEY = ("netns", "address", "port")
    netns: str
    address: str
    port: int
    to: str
    to_port: int


@transfers(
    PortForward,
    ARRIVAL,
    lambda item: Scope(
        destinations=(item.address,),
        services=(FilterRule("tcp", ports=((item.port, item.port),)),),
        cuts=(item.to,),
        service_cuts=(FilterRule("tcp", ports=((item.to_port, item.to_port),)),),
    ),
)
def _forward(_: Space, item: PortForward, packet: Packet, device: str) -> Sequence[Turn]:
    made = replace(packet, destination=item.to, port=item.to_port)
    return [Turn(f"forwarded to {item.to}:{item.to_port}", codes.TRANSLATED, made)]


# A balancer, its backends objects of their own


@enters
class Balancer(Object, tag="test-balancer", frozen=True):
    """Connections to a TCP port of `address` go to one of its backends; none are there: refused."""

    KEY = ("netns", "name")
    netns: str
    name: str
    address: str
    port: int


@enters
class Backend(Object, tag="test-backend", frozen=True):
    """One that a balancer may choose."""

    KEY = ("netns", "balancer", "address")
    netns: str
    balancer: str
    address: str


keeps(Backend, lambda item: Scope(cuts=(item.address,)))


@transfers(
    Balancer,
    ARRIVAL,
    lambda item: Scope(destinations=(item.address,), services=(FilterRule("tcp", ports=((item.port, item.port),)),)),
)
def _balance(space: Space, item: Balancer, packet: Packet, device: str) -> Sequence[Turn]:
    backends = sorted(one.address for one in space.of(Backend) if one.balancer == item.name)
    if not backends:
        return [Turn(f"{item.name} has no backend", codes.NO_ROUTE_TO_DESTINATION, drops=True)]
    return [Turn(f"{item.name}: {one}", codes.TRANSLATED, replace(packet, destination=one)) for one in backends]


# A policy: some packets go to a port that is not their destination's


@enters
class Steer(Object, tag="test-steer", frozen=True):
    """Packets of a service from `source` to `destination` that come by `incoming` (any, if empty) go out by `device`,
    to the next hop `via`, where a port with the address `meant` takes them; or are looked up in `table`."""

    KEY = ("netns", "name")
    netns: str
    name: str
    source: str
    destination: str
    service: FilterRule = FilterRule()
    incoming: str = ""
    device: str = ""
    via: str = ""
    meant: str = ""
    table: int = 0


@transfers(
    Steer,
    ARRIVAL,
    lambda item: Scope((item.source,), (item.destination,), (item.service,), (item.incoming,) if item.incoming else ()),
    order=10,
    connections=False,
)
def _steer(_: Space, item: Steer, packet: Packet, device: str) -> Sequence[Turn]:
    return [Turn("steered", codes.STEERED, table=item.table, device=item.device, via=item.via, meant=item.meant)]
