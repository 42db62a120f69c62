"""What users may write about the infrastructure: the specs of Region, Site, Node, Link and Peer."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from suanwang.model.addresses import Address, Prefix, network
from suanwang.model.registry import Ref, Spec
from suanwang.model.units import Duration, Rate, Ratio, Size

MOST_LOOPBACK_PREFIXES = 16
MOST_SHARED_RISKS = 64
LARGEST_ASN = 2**32 - 2
"""4294967295 is reserved (RFC 7300)."""
LONGEST_INTERFACE_NAME = 15
"""IFNAMSIZ of Linux is 16, and one byte of it is the final zero."""
LONGEST_LATENCY_US = 60_000_000
LARGEST_COST = 2**24 - 1
"""The wide metric of IS-IS (RFC 5305, section 3) has 24 bits; costs beyond it can't be told to any routing protocol."""

# `all` and `default` mean something else in net.ipv*.conf; a dot or slash would be read as a level of the tree there.
INTERFACE = re.compile(r"^(?!(?:lo|all|default)$)[A-Za-z0-9_-]{1,15}$")


def _interface(name: str) -> str:
    if not INTERFACE.match(name):
        raise ValueError(f"{name!r} is no interface name; use at most 15 letters, digits, - and _, as in eth1")
    return name


InterfaceName = Annotated[str, AfterValidator(_interface)]


class AsnRange(Spec):
    """Autonomous system numbers that the system may give to nodes, both ends included."""

    first: int = Field(4_200_000_000, ge=1, le=LARGEST_ASN, description="lowest number")
    last: int = Field(4_294_967_294, ge=1, le=LARGEST_ASN, description="highest number")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.first > self.last:
            raise ValueError(f"first ({self.first}) is above last ({self.last}); swap them")
        return self


class Underlay(Spec):
    """The network below all tenants' networks: how its nodes find each other."""

    routing: Literal["bgp", "ospf"] = Field("bgp", description="the protocol between neighbours")
    metric: Literal["hops", "delay"] = Field(
        "hops", description="which path is best: that of fewest hops, or that of least delay by the links' latency"
    )
    mtu: Size = Field(
        9000,
        ge=1280,
        le=65535,
        description="largest packet on its links, without the link's own header",
        json_schema_extra={"default": "9000B"},
    )
    loopbacks: list[Prefix] = Field(
        default=["10.255.0.0/16"],
        min_length=1,
        max_length=MOST_LOOPBACK_PREFIXES,
        description="ranges for the nodes' own addresses, IPv4 or IPv6; a node gets one of each IP version here",
    )
    asns: AsnRange = Field(default=AsnRange(), description="numbers for the nodes")

    @field_validator("loopbacks")
    @classmethod
    def _disjoint(cls, prefixes: list[str]) -> list[str]:
        for index, one in enumerate(prefixes):
            for other in prefixes[:index]:
                first, second = network(one), network(other)
                if first.version == second.version and first.overlaps(second):
                    raise ValueError(f"{one} overlaps {other}; remove one of them")
        return prefixes


class RegionSpec(Spec):
    """A part of the world with one underlay. A tenant's Vpc lives in regions; nodes of one region reach each other."""

    description: str = Field("", max_length=1000, description="for people")
    underlay: Underlay = Field(default=Underlay(), description="the network below all tenants' networks")


class Location(Spec):
    """A place on the globe, in degrees (WGS 84)."""

    latitude: float = Field(ge=-90, le=90, allow_inf_nan=False, description="degrees north")
    longitude: float = Field(ge=-180, le=180, allow_inf_nan=False, description="degrees east")


class SiteSpec(Spec):
    """A building or city where nodes stand."""

    region: Annotated[str, Ref("Region")] = Field(description="the Region it belongs to")
    location: Location = Field(description="where it is")
    city: str = Field("", max_length=200, description="for people")
    country: str = Field("", max_length=200, description="for people")


class NodeCapacity(Spec):
    """What a node has room for."""

    ports: int = Field(4000, ge=0, le=1_000_000, description="most tenant Ports")
    bandwidth: Rate | None = Field(None, gt=0, description="what it can send and receive in all")
    cpus: int | None = Field(None, ge=0, le=1_000_000, description="processors for workloads")
    memory: Size | None = Field(None, description="memory for workloads")


class Position(Spec):
    """A point in a picture, in any unit; y grows downwards."""

    x: float = Field(allow_inf_nan=False, description="to the right")
    y: float = Field(allow_inf_nan=False, description="downwards")


Role = Literal["host", "router", "gateway"]


class NodeSpec(Spec):
    """A machine: it hosts workloads, forwards packets, or joins the region to others."""

    region: Annotated[str, Ref("Region")] = Field(description="the Region it belongs to")
    site: Annotated[str, Ref("Site")] | None = Field(None, description="the Site it stands in, of the same region")
    roles: list[Role] = Field(
        min_length=1,
        max_length=3,
        description="`host` runs workloads, `router` forwards the underlay, `gateway` joins to other networks",
    )
    address: Address | None = Field(
        None,
        description="the node's own address, on its loopback; overlay packets to a host or gateway are sent there. "
        "Allocated from the region's loopbacks when absent",
    )
    asn: int | None = Field(
        None,
        ge=1,
        le=LARGEST_ASN,
        description="autonomous system number; nodes may be given the same. Allocated from the region's when absent",
    )
    capacity: NodeCapacity = Field(default=NodeCapacity(), description="what it has room for")
    position: Position | None = Field(None, description="where pictures show it; default: by its site, or laid out")

    @field_validator("roles")
    @classmethod
    def _once(cls, roles: list[str]) -> list[str]:
        if len(set(roles)) != len(roles):
            raise ValueError("a role is named twice; name each once")
        return roles


class LinkEnd(Spec):
    """One end of a link."""

    node: Annotated[str, Ref("Node")] = Field(description="the Node at this end")
    interface: InterfaceName | None = Field(
        None, description="its interface there, at most 15 characters; named after the far node when absent"
    )


class Reverse(Spec):
    """What differs on the way from b to a. What is absent is as from a to b."""

    capacity: Rate | None = Field(None, gt=0, description="what it carries from b to a")
    latency: Duration | None = Field(None, le=LONGEST_LATENCY_US, description="how long a packet takes from b to a")
    loss: Ratio | None = Field(None, description="share of packets that are lost from b to a")
    cost: int | None = Field(None, ge=1, le=LARGEST_COST, description="cost of its use from b to a")


class LinkSpec(Spec):
    """A link between two nodes, alike both ways unless `reverse` says otherwise. Two nodes may have several."""

    a: LinkEnd = Field(description="one end")
    b: LinkEnd = Field(description="the other end")
    capacity: Rate = Field(
        10 * 10**9, gt=0, description="what it carries in each direction", json_schema_extra={"default": "10Gbps"}
    )
    latency: Duration = Field(
        0, le=LONGEST_LATENCY_US, description="how long a packet takes, one way", json_schema_extra={"default": "0us"}
    )
    loss: Ratio = Field(
        0, description="share of packets that are lost in each direction", json_schema_extra={"default": "0%"}
    )
    cost: int = Field(1, ge=1, le=LARGEST_COST, description="what deciders count for its use")
    reverse: Reverse | None = Field(None, description="what differs on the way from b to a")
    mtu: Size | None = Field(None, ge=1280, le=65535, description="largest packet; default: the underlay's")
    shared_risks: list[Annotated[str, Field(min_length=1, max_length=100)]] = Field(
        default=[],
        max_length=MOST_SHARED_RISKS,
        description="names of what it shares with other links (a duct, a cable); what breaks one breaks all of them",
    )

    @model_validator(mode="after")
    def _two_nodes(self) -> Self:
        if self.a.node == self.b.node:
            raise ValueError(f"both ends are at {self.a.node}; a link joins two different nodes")
        return self


class PeerSpec(Spec):
    """A BGP neighbour outside of the system: a carrier, an exchange, a customer's router."""

    node: Annotated[str, Ref("Node")] = Field(description="the Node that speaks with it")
    asn: int = Field(ge=1, le=LARGEST_ASN, description="its autonomous system number")
    address: Address = Field(description="its address, as seen from the node")
    relationship: Literal["customer", "peer", "provider"] = Field(
        description="what it is to us; decides which routes are told to whom (RFC 9234)"
    )
    description: str = Field("", max_length=1000, description="for people")
