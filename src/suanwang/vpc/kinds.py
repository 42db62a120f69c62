"""The kinds of the VPC room: what users may write."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from suanwang.model.addresses import Address, Mac, Prefix, is_ipv6, network
from suanwang.model.registry import Ref, Spec
from suanwang.model.units import Rate

MOST_SUBNETS = 1000
MOST_CIDRS = 64
MOST_RULES = 1000
MOST_PREFIXES = 10_000
MOST_ROUTES = 1000
LARGEST_VNI = 2**24 - 1

_PORTS = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")


class TenantSpec(Spec):
    """A customer, department or project. Tenants never meet unless a declared resource lets them."""

    description: str = Field("", max_length=1000, description="for people")


class VpcSpec(Spec):
    """A private network with its own addresses, free to overlap with any other VPC's."""

    cidrs: list[Prefix] = Field(min_length=1, max_length=MOST_CIDRS, description="address ranges, IPv4 and IPv6")
    vni: int | None = Field(None, ge=1, le=LARGEST_VNI, description="VXLAN network identifier; allocated when absent")

    @field_validator("cidrs")
    @classmethod
    def _disjoint(cls, cidrs: list[str]) -> list[str]:
        for index, one in enumerate(cidrs):
            for other in cidrs[:index]:
                first, second = network(one), network(other)
                if first.version == second.version and first.overlaps(second):
                    raise ValueError(f"{one} overlaps {other}; ranges of one VPC must be disjoint")
        return cidrs


class SubnetSpec(Spec):
    """A part of a VPC's addresses. The first host address is the gateway's, the same on every node."""

    vpc: Annotated[str, Ref("Vpc")] = Field(description="the Vpc it belongs to")
    cidr: Prefix = Field(description="its range, inside one of the VPC's; IPv4 or, for an IPv6-only subnet, IPv6")
    ipv6_cidr: Prefix | None = Field(None, description="a second range, so that its ports have both IP versions")
    route_table: Annotated[str, Ref("RouteTable")] | None = Field(
        None, description="RouteTable for what its ports send; default: the VPC's own routes only"
    )

    @field_validator("cidr", "ipv6_cidr")
    @classmethod
    def _room_for_hosts(cls, cidr: str | None) -> str | None:
        if cidr is not None:
            longest = 126 if is_ipv6(cidr) else 30
            if network(cidr).prefixlen > longest:
                raise ValueError(f"{cidr} has no room for a gateway and a port; use /{longest} or shorter")
        return cidr

    @model_validator(mode="after")
    def _one_of_each(self) -> Self:
        if self.ipv6_cidr is not None and (not is_ipv6(self.ipv6_cidr) or is_ipv6(self.cidr)):
            raise ValueError("ipv6Cidr is an IPv6 range beside an IPv4 cidr; for IPv6 only, write cidr alone")
        return self

    @property
    def cidrs(self) -> tuple[str, ...]:
        """Its ranges, IPv4 first."""
        return (self.cidr,) if self.ipv6_cidr is None else (self.cidr, self.ipv6_cidr)


class AllowedAddressPair(Spec):
    """Addresses that a port may send from besides its own (a virtual router, a floating address)."""

    prefix: Prefix = Field(description="source addresses")
    mac: Mac | None = Field(None, description="source MAC; default: the port's")


class PortSpec(Spec):
    """A workload's attachment to a subnet, on a node."""

    subnet: Annotated[str, Ref("Subnet")] = Field(description="the Subnet it has addresses in")
    node: Annotated[str, Ref("Node")] | None = Field(None, description="the Node it runs on; absent: not attached")
    addresses: list[Address] = Field(
        default_factory=list,
        max_length=2,
        description="fixed addresses, one per range of the subnet; those absent are allocated",
    )
    mac: Mac | None = Field(None, description="its MAC address; derived from the name when absent")
    security_groups: list[Annotated[str, Ref("SecurityGroup")]] = Field(
        default_factory=list, max_length=16, description="SecurityGroups; none: nothing may come in, all may go out"
    )
    allowed_address_pairs: list[AllowedAddressPair] = Field(
        default_factory=list, max_length=64, description="further source addresses, as virtual routers need"
    )
    bandwidth_in: Rate | None = Field(None, description="limit on what the workload receives")
    bandwidth_out: Rate | None = Field(None, description="limit on what the workload sends")

    @field_validator("bandwidth_in", "bandwidth_out")
    @classmethod
    def _sensible(cls, rate_bps: int | None) -> int | None:
        if rate_bps is not None and rate_bps < 64_000:
            raise ValueError("a limit below 64kbps would stop everything; leave it out, or move the port off its node")
        return rate_bps


Protocol = Literal["any", "tcp", "udp", "icmp", "icmpv6"]


class Rule(Spec):
    """One permission. Who: a CIDR, a PrefixList or the members of a SecurityGroup; none of them: anyone."""

    direction: Literal["ingress", "egress"] = Field(description="seen from the port")
    protocol: Protocol | Annotated[int, Field(ge=0, le=255)] = Field("any", description="name or IP protocol number")
    ports: list[str | int] = Field(
        default_factory=list, max_length=64, description='destination ports: 443, "8000-8099"; none: all'
    )
    icmp_type: int | None = Field(None, ge=0, le=255, description="for icmp and icmpv6; absent: all")
    icmp_code: int | None = Field(None, ge=0, le=255, description="with icmpType; absent: all")
    cidr: Prefix | None = Field(None, description="the other side's addresses")
    prefix_list: Annotated[str, Ref("PrefixList")] | None = Field(None, description="the other side, as a PrefixList")
    security_group: Annotated[str, Ref("SecurityGroup")] | None = Field(
        None, description="the other side is any port in this group of the same VPC"
    )

    @field_validator("ports")
    @classmethod
    def _ranges(cls, ports: list[str | int]) -> list[str | int]:
        for text in ports:
            port_range(text)
        return ports

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if sum(peer is not None for peer in (self.cidr, self.prefix_list, self.security_group)) > 1:
            raise ValueError("give at most one of cidr, prefixList and securityGroup; write several rules instead")
        if self.ports and self.protocol not in ("tcp", "udp"):
            raise ValueError(f"{self.protocol} has no ports; choose tcp or udp")
        if self.icmp_type is not None and self.protocol not in ("icmp", "icmpv6"):
            raise ValueError("icmpType goes with protocol icmp or icmpv6; change the protocol")
        if self.icmp_code is not None and self.icmp_type is None:
            raise ValueError("icmpCode needs an icmpType; add it")
        return self


def port_range(text: str | int) -> tuple[int, int]:
    """`443` or `"8000-8099"` as inclusive bounds. Raises ValueError."""
    match = _PORTS.fullmatch(str(text))
    low, high = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if not 1 <= low <= high <= 65535:
        raise ValueError(f'{text!r} is no port or range; write 443 or "8000-8099"')
    return low, high


class SecurityGroupSpec(Spec):
    """A stateful firewall for ports: what is not allowed in is dropped; without egress rules all may go out."""

    vpc: Annotated[str, Ref("Vpc")] = Field(description="the Vpc whose ports may be in it")
    rules: list[Rule] = Field(
        default_factory=list, max_length=MOST_RULES, description="permissions; order is no matter"
    )


class PrefixListSpec(Spec):
    """A named list of prefixes for rules."""

    prefixes: list[Prefix] = Field(max_length=MOST_PREFIXES, description="IPv4 and IPv6 prefixes")


class NextHop(Spec):
    """Where a route leads."""

    port: Annotated[str, Ref("Port")] | None = Field(None, description="a Port of the same VPC, a virtual router, say")
    blackhole: Literal[True] | None = Field(None, description="drop what matches")

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.port is None) == (self.blackhole is None):
            raise ValueError("give either port or blackhole; one next hop per route")
        return self


class StaticRoute(Spec):
    """One route."""

    destination: Prefix = Field(description="what it matches")
    next_hop: NextHop = Field(description="where it leads")


class RouteTableSpec(Spec):
    """Routes for the subnets that name it. The longest match wins; a VPC's own ranges count as routes to its ports."""

    vpc: Annotated[str, Ref("Vpc")] = Field(description="the Vpc it belongs to")
    routes: list[StaticRoute] = Field(default_factory=list, max_length=MOST_ROUTES, description="the routes")

    @field_validator("routes")
    @classmethod
    def _once(cls, routes: list[StaticRoute]) -> list[StaticRoute]:
        seen: set[str] = set()
        for route in routes:
            if route.destination in seen:
                raise ValueError(f"{route.destination} has two routes; keep one")
            seen.add(route.destination)
        return routes
