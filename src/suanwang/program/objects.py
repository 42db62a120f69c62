"""What a NodeProgram is made of. Every object says *what* shall be there; drivers know *how* on their platform.

Conventions. `netns` is a logical name (`vpc/retail/shop`, `port/retail/web-1`; empty: the node's own), which the
agent maps to
a real namespace. Addresses and prefixes are canonical text. Objects are identified by type and `KEY` fields: two
fragments
that hold different objects of one identity contradict each other. Field order is the order of the canonical text.
`enters` lets another room bring a type of its own.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar, Union

import msgspec


class Object(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Base of all objects of a program."""

    KEY: ClassVar[tuple[str, ...]] = ()

    if TYPE_CHECKING:

        @property
        def netns(self) -> str:
            """The namespace that it stands in: a field of all types, though not the first of each."""


Item = TypeVar("Item", bound=Object)


class Namespace(Object, tag="namespace", frozen=True):
    """A network namespace: a VPC's distributed router on this node, or a workload.

    `forwarding`: packets are routed between its devices (IPv4 and IPv6). `filtered`: its table of filters
    (`PortFilter`,
    `SecurityGroupFilter`) stands even when no rule is there yet, so that everything not allowed is dropped from the
    start.
    """

    KEY = ("netns",)
    netns: str
    forwarding: bool = False
    filtered: bool = False


class Vxlan(Object, tag="vxlan", frozen=True):
    """A VXLAN device (RFC 7348) whose encapsulated packets use the node's own namespace. No learning, no flooding."""

    KEY = ("netns", "device")
    netns: str
    device: str
    vni: int
    local: str
    mac: str
    mtu_bytes: int
    udp_port: int = 4789


class PortDevice(Object, tag="port", frozen=True):
    """A port: a veth pair between a router namespace (`device`) and a workload (`workload`, `workload_device`).

    `addresses` are the workload's, with prefix length; `gateways` the router's on this port, one per IP version,
    shared by
    all nodes as is `gateway_mac`. `rate_in_bps` limits what the workload receives, `rate_out_bps` what it sends; 0: no
    limit. `title` is the port's name for people (`retail/web-1`).
    """

    KEY = ("netns", "device")
    netns: str
    device: str
    workload: str
    workload_device: str
    mac: str
    gateway_mac: str
    mtu_bytes: int
    addresses: tuple[str, ...]
    gateways: tuple[str, ...]
    title: str
    rate_in_bps: int = 0
    rate_out_bps: int = 0


RouteAction = Literal["forward", "blackhole", "throw"]


class Route(Object, tag="route", frozen=True):
    """A route. `table` 254 is main. `throw` ends the lookup in this table and goes on with the next.

    A `forward` route has a `device`, and `via` where the next hop is not the destination itself; next hops are taken
    to be on
    the device's link (`onlink`). An IPv4 destination may have an IPv6 next hop (RTA_VIA, RFC 5549): overlays use
    link-local next hops throughout, which no tenant's address can collide with.
    """

    KEY = ("netns", "table", "destination")
    netns: str
    destination: str
    table: int = 254
    action: RouteAction = "forward"
    via: str = ""
    device: str = ""


class Neighbour(Object, tag="neighbour", frozen=True):
    """A permanent neighbour entry: `address` is at `mac` on `device`."""

    KEY = ("netns", "device", "address")
    netns: str
    device: str
    address: str
    mac: str


class ForwardingEntry(Object, tag="fdb", frozen=True):
    """A VXLAN forwarding entry: frames to `mac` go to the tunnel endpoint `remote`."""

    KEY = ("netns", "device", "mac")
    netns: str
    device: str
    mac: str
    remote: str


class RouteSelection(Object, tag="route-selection", frozen=True):
    """Packets that enter the router by `device` are looked up in `table` first, then in main."""

    KEY = ("netns", "device")
    netns: str
    device: str
    table: int


class Delivery(Object, tag="delivery", frozen=True):
    """Frames that come to `mac` on the VXLAN device `device` go to the port `port`, whatever their IP destination.

    This is how a route's next hop may be a port on another node: the sender addresses the frame to the port's own MAC.
    """

    KEY = ("netns", "device", "mac")
    netns: str
    device: str
    mac: str
    port: str


class FilterRule(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """One rule of a security group; it allows what matches.

    `protocol`: `any`, `tcp`, `udp`, `icmp`, `icmpv6` or a number as text. `peer`: `any`, a prefix, or `@NAME` of an
    address
    set: the source of ingress rules, the destination of egress rules. `ports`: inclusive ranges of destination ports,
    empty for all. `icmp_type`, `icmp_code`: -1 for all.
    """

    protocol: str = "any"
    peer: str = "any"
    ports: tuple[tuple[int, int], ...] = ()
    icmp_type: int = -1
    icmp_code: int = -1


class SecurityGroupFilter(Object, tag="security-group", frozen=True):
    """A stateful security group: what its rules allow, in each direction, and the answers to that."""

    KEY = ("netns", "name")
    netns: str
    name: str
    ingress: tuple[FilterRule, ...] = ()
    egress: tuple[FilterRule, ...] = ()


class AddressSet(Object, tag="address-set", frozen=True):
    """A named set of prefixes for `FilterRule.peer`; both IP versions. Its elements are `AddressSetElement`s."""

    KEY = ("netns", "name")
    netns: str
    name: str


class AddressSetElement(Object, tag="address-set-element", frozen=True):
    """One prefix in an address set."""

    KEY = ("netns", "set", "prefix")
    netns: str
    set: str
    prefix: str


class PortFilter(Object, tag="port-filter", frozen=True):
    """What may pass a port: frames from the workload must come from `mac` and a prefix of `sources` (or from one of the
    `pairs` of MAC and prefix), and be allowed by the egress rules of one of `groups`; packets to it must be allowed
    by the ingress rules of one of them; where there is none, nothing passes."""

    KEY = ("netns", "device")
    netns: str
    device: str
    mac: str
    sources: tuple[str, ...]
    groups: tuple[str, ...]
    pairs: tuple[tuple[str, str], ...] = ()


class Probe(Object, tag="probe", frozen=True):
    """A way to try an assertion from a workload on this node, run when asked: `expect` says what must come out.

    `protocol` is `icmp`, `tcp` or `udp`. `answerer` is the identity that the answer must carry (empty: any).
    """

    KEY = ("assertion",)
    assertion: str
    netns: str
    protocol: str
    source: str
    destination: str
    port: int
    expect: Literal["allowed", "denied"]
    answerer: str = ""


class Responder(Object, tag="responder", frozen=True):
    """The answering end of a probe: while it is armed, answers on `port` in the workload with `identity`."""

    KEY = ("assertion", "netns")
    assertion: str
    netns: str
    protocol: str
    address: str
    port: int
    identity: str


ORDER: tuple[type[Object], ...] = (
    Namespace,
    Vxlan,
    PortDevice,
    Route,
    Neighbour,
    ForwardingEntry,
    RouteSelection,
    Delivery,
    SecurityGroupFilter,
    AddressSet,
    AddressSetElement,
    PortFilter,
    Probe,
    Responder,
)
"""Types of this room, in the order in which the canonical text lists them within a namespace."""

AnyObject = Object
"""Whatever may stand in a program: the types of `ORDER`, and those that other rooms enter."""

_ENTERED: dict[str, type[Object]] = {str(kind.__struct_config__.tag): kind for kind in ORDER}


def enters(kind: type[Item]) -> type[Item]:
    """Class decorator: objects of this type may stand in programs. Raises ValueError where its tag is another's.

    Whoever reads programs, agents too, must have imported the module that enters it.
    """
    tag = str(kind.__struct_config__.tag)
    if "netns" not in kind.__struct_fields__ or not set(kind.KEY) <= set(kind.__struct_fields__) or not kind.KEY:
        raise ValueError(f"{kind.__name__} needs a field netns, and a KEY of its fields")
    if _ENTERED.setdefault(tag, kind) is not kind:
        raise ValueError(f"{tag} is entered twice, by {kind.__name__} and {_ENTERED[tag].__name__}")
    entered.cache_clear()
    return kind


@cache
def entered() -> Any:
    """The union of all types that may stand in programs, to decode by."""
    return Union[tuple(_ENTERED.values())]  # noqa: UP007


def identity(item: Object) -> tuple[str | int, ...]:
    """What makes an object that object: its type and key fields."""
    return (item.__struct_config__.tag, *(getattr(item, name) for name in item.KEY))
