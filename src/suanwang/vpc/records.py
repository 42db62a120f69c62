"""The inventory of the VPC room: lean records of resources, made from stored documents.

A region holds a million VPCs and two million ports, so records have slots, share strings, and hold only what
compiling needs. Records know each other by name, not by pointer, except that a port knows its VPC.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from sys import intern
from typing import Any

from suanwang.model.addresses import host_prefix, is_ipv6
from suanwang.model.reference import resolve
from suanwang.model.units import RATE_UNITS, parse
from suanwang.program.fragment import Fragment
from suanwang.program.objects import FilterRule
from suanwang.vpc.kinds import port_range


class NodeRecord:
    """What a node's overlay needs to know: where its tunnels end and how large an underlay packet may be."""

    __slots__ = ("endpoint", "mac", "name", "next_hop", "region")

    def __init__(self, name: str, document: Mapping[str, Any]) -> None:
        self.name = intern(name)
        self.region: str = intern(document["spec"]["region"])
        self.endpoint = text(document.get("allocation", {}).get("address") or document["spec"]["address"])
        self.mac, self.next_hop = tunnel_identity(self.endpoint)


class SubnetRecord:
    """A subnet: its ranges as (prefix length, gateway) by IP version, and its route table."""

    __slots__ = ("cidrs", "gateways", "name", "table", "vpc")

    def __init__(self, name: str, vpc: VpcRecord, document: Mapping[str, Any]) -> None:
        spec = document["spec"]
        self.name = intern(name)
        self.vpc = vpc
        self.cidrs = texts([spec["cidr"], *([spec["ipv6Cidr"]] if spec.get("ipv6Cidr") else [])])
        self.gateways = texts(document["allocation"]["gateways"])
        self.table: str = intern(spec.get("routeTable") or "")


class PortRecord:
    """A port. `addresses` are bare; `pairs` are (prefix, mac or empty)."""

    __slots__ = (
        "addresses", "device", "groups", "mac", "name", "node", "pairs", "rate_in_bps", "rate_out_bps", "subnet",
        "tenant",
    )  # fmt: skip

    def __init__(self, tenant: str, name: str, subnet: SubnetRecord, document: Mapping[str, Any]) -> None:
        spec, allocation = document["spec"], document["allocation"]
        self.tenant = tenant
        self.name = name
        self.subnet = subnet
        self.node: str = intern(spec.get("node") or "")
        self.addresses = texts(allocation["addresses"])
        versions = {is_ipv6(cidr) for cidr in subnet.cidrs}
        if any(is_ipv6(address) not in versions for address in self.addresses):
            raise ValueError(f"an address of {', '.join(self.addresses)} is of another IP version than {subnet.name}")
        self.mac = text(allocation["mac"])
        self.device = port_device(tenant, name)
        self.groups: tuple[str, ...] = tuple(intern(group) for group in dict.fromkeys(spec.get("securityGroups", ())))
        self.pairs: tuple[tuple[str, str], ...] = tuple(
            (text(pair["prefix"]), text(pair.get("mac") or "")) for pair in spec.get("allowedAddressPairs", ())
        )
        self.rate_in_bps = parse(spec["bandwidthIn"], RATE_UNITS, "1Gbps") if spec.get("bandwidthIn") else 0
        self.rate_out_bps = parse(spec["bandwidthOut"], RATE_UNITS, "1Gbps") if spec.get("bandwidthOut") else 0

    @property
    def title(self) -> str:
        """`tenant/name`."""
        return f"{self.tenant}/{self.name}"


class GroupRecord:
    """A security group: its rules as programs hold them, and the groups and prefix lists that they name."""

    __slots__ = ("egress", "ingress", "lists", "name", "peers", "vpc")

    def __init__(self, name: str, vpc: VpcRecord, document: Mapping[str, Any]) -> None:
        self.name = intern(name)
        self.vpc = vpc
        rules = document["spec"].get("rules", ())
        self.ingress = tuple(filter_rule(rule) for rule in rules if rule["direction"] == "ingress")
        self.egress = tuple(filter_rule(rule) for rule in rules if rule["direction"] == "egress")
        if not self.egress:
            # As in every public cloud: a group that says nothing of what may leave lets everything leave.
            self.egress = ALLOW_ALL
        self.peers = frozenset(rule["securityGroup"] for rule in rules if rule.get("securityGroup"))
        self.lists = frozenset(rule["prefixList"] for rule in rules if rule.get("prefixList"))


class TableRecord:
    """A route table: destinations that are dropped, and destinations that go to a port."""

    __slots__ = ("blackholes", "name", "next_hops", "number", "vpc")

    def __init__(self, name: str, vpc: VpcRecord, document: Mapping[str, Any]) -> None:
        routes = document["spec"].get("routes", ())
        self.name = intern(name)
        self.vpc = vpc
        self.number = table_number(name)
        self.blackholes = texts(route["destination"] for route in routes if route["nextHop"].get("blackhole"))
        self.next_hops = tuple(
            (text(route["destination"]), text(route["nextHop"]["port"]))
            for route in routes
            if route["nextHop"].get("port")
        )


class VpcRecord:
    """A VPC with everything in it, and its compiled fragments.

    `ports` maps a node to the ports on it. `reach` and `local` hold, for each of those nodes, the fragment that tells
    others how to reach its ports, and the one that makes them on the node itself; `common` goes to all of them.
    """

    __slots__ = (
        "cidrs", "common", "groups", "local", "name", "peers", "ports", "reach", "reach_sum", "tables", "tenant", "vni",
    )  # fmt: skip

    def __init__(self, tenant: str, name: str, document: Mapping[str, Any]) -> None:
        self.tenant = tenant
        self.name = name
        self.groups: dict[str, GroupRecord] = {}
        self.tables: dict[str, TableRecord] = {}
        self.ports: dict[str, tuple[PortRecord, ...]] = {}
        self.peers: frozenset[str] = frozenset()
        self.common: Fragment | None = None
        self.reach: dict[str, Fragment] = {}
        self.local: dict[str, Fragment] = {}
        self.reach_sum = 0
        self.update(document)

    def update(self, document: Mapping[str, Any]) -> None:
        """Take over a changed document."""
        vni, self.cidrs = document["allocation"]["vni"], texts(document["spec"]["cidrs"])
        if type(vni) is not int:
            raise TypeError(f"{vni!r} is no VNI")
        self.vni: int = vni

    @property
    def title(self) -> str:
        """`tenant/name`."""
        return f"{self.tenant}/{self.name}"

    @property
    def netns(self) -> str:
        """The logical name of its router's namespace."""
        return f"vpc/{self.tenant}/{self.name}"


class TenantRecord:
    """A tenant's resources by kind and name."""

    __slots__ = ("groups", "lists", "ports", "subnets", "tables", "vpcs")

    def __init__(self) -> None:
        self.vpcs: dict[str, VpcRecord] = {}
        self.subnets: dict[str, SubnetRecord] = {}
        self.ports: dict[str, PortRecord] = {}
        self.groups: dict[str, GroupRecord] = {}
        self.tables: dict[str, TableRecord] = {}
        self.lists: dict[str, tuple[str, ...]] = {}


ALLOW_ALL = (FilterRule(),)


def filter_rule(rule: Mapping[str, Any]) -> FilterRule:
    """A rule as programs hold it."""
    peer = text(rule.get("cidr") or "any")
    if rule.get("securityGroup"):
        peer = f"@group/{rule['securityGroup']}"
    elif rule.get("prefixList"):
        peer = f"@list/{rule['prefixList']}"
    ports = tuple(sorted({port_range(text) for text in rule.get("ports", ())}))
    return FilterRule(str(rule.get("protocol", "any")), peer, ports, rule.get("icmpType", -1), rule.get("icmpCode", -1))


def text(value: object) -> str:
    """A text of a stored document. Raises TypeError: what is none, an agent would refuse with the whole program."""
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def texts(values: Iterable[object]) -> tuple[str, ...]:
    """Texts of a stored document. Raises TypeError."""
    return tuple(text(value) for value in values)


def port_device(tenant: str, name: str) -> str:
    """The router's device for a port: stable, at most 15 characters, no two alike but for a 48-bit accident."""
    return "p" + hashlib.blake2b(f"{tenant}/{name}".encode(), digest_size=6).hexdigest()


def table_number(name: str) -> int:
    """A route table's number in the kernel, from its name so that other tables never change it: 28 bits above 2**16."""
    return 2**16 + int.from_bytes(hashlib.blake2b(name.encode(), digest_size=4).digest(), "big") % 2**28


def tunnel_identity(endpoint: str) -> tuple[str, str]:
    """(MAC, IPv6 link-local address) of a tunnel endpoint's VXLAN devices.

    An IPv4 endpoint is embedded whole, so no two can collide; an IPv6 one by 32 bits of its hash.
    """
    if is_ipv6(endpoint):
        number = hashlib.blake2b(endpoint.encode(), digest_size=4).digest()
        prefix = "02:56:"
    else:
        number = bytes(int(part) for part in endpoint.split("."))
        prefix = "02:54:"
    mac = prefix + ":".join(f"{byte:02x}" for byte in number)
    return mac, link_local(mac)


def link_local(mac: str) -> str:
    """The IPv6 link-local address made from a MAC (RFC 4291, appendix A)."""
    from ipaddress import IPv6Address

    raw = bytes.fromhex(mac.replace(":", ""))
    return str(IPv6Address(b"\xfe\x80" + bytes(6) + bytes([raw[0] ^ 2]) + raw[1:3] + b"\xff\xfe" + raw[3:]))


def workload_addresses(port: PortRecord) -> tuple[str, ...]:
    """The port's addresses as the workload has them: IPv4 with its subnet's length, IPv6 alone (no neighbour is on
    its link).
    """
    lengths = {is_ipv6(cidr): cidr.rpartition("/")[2] for cidr in port.subnet.cidrs}
    return tuple(
        host_prefix(address) if is_ipv6(address) else f"{address}/{lengths[False]}" for address in port.addresses
    )


def same_tenant(reference: str, tenant: str) -> str | None:
    """The bare name if `reference` stays within `tenant`, else None."""
    key = resolve("", reference, tenant)
    return key.name if key.tenant == tenant else None
