"""Accepting resources of this room: what they must agree with, and what is allocated to them.

Everything here runs inside one store transaction. Values that only one resource may have are claims (scope, value) in
that transaction, so two writers can never both get an address, however they race:

| scope | values |
|---|---|
| `vni` | VXLAN network identifiers |
| `vpc/TENANT/NAME/subnets` | ranges of its subnets |
| `vpc/TENANT/NAME/addresses` | addresses of its ports |
| `vpc/TENANT/NAME/macs` | MAC addresses of its ports |
| `vpc/TENANT/NAME/tables` | numbers of its route tables |
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from suanwang.model.addresses import address_from_hex, hex_address, is_ipv6, network, read_address, stable_mac
from suanwang.model.allocation import free_number
from suanwang.model.errors import ALREADY_CLAIMED, EXHAUSTED, SuanwangError, code
from suanwang.model.reference import Key, parse_key, resolve
from suanwang.model.registry import Admission, Resource
from suanwang.vpc.kinds import (
    LARGEST_VNI,
    MOST_SUBNETS,
    PortSpec,
    PrefixListSpec,
    RouteTableSpec,
    SecurityGroupSpec,
    SubnetSpec,
    VpcSpec,
)
from suanwang.vpc.records import table_number

OVERLAP = code("OVERLAP", "two subnets of one VPC have addresses in common")
OUTSIDE = code("OUTSIDE", "an address or range lies outside of what it must be part of")
WRONG_VPC = code("WRONG_VPC", "a resource names another that belongs to a different VPC")
WRONG_ROLE = code("WRONG_ROLE", "a node does not have the role that what is placed on it needs")
IMMUTABLE = code("IMMUTABLE", "a field that can't be changed once others depend on it")
LIMIT = code("LIMIT", "a limit on the number of things is reached")
RESERVED = code("RESERVED", "an address that the system keeps for itself (network, gateway, broadcast)")

Stored = Mapping[str, Any] | None


def admit_vpc(admission: Admission, resource: Resource, before: Stored) -> Mapping[str, Any]:
    """Allocate the VNI. Ranges may grow or shrink, but never away from under a subnet."""
    spec = cast(VpcSpec, resource.spec)
    for value in admission.values(subnets_scope(resource.key), limit=2 * MOST_SUBNETS):
        cidr = _cidr_from_claim(value)
        if not _inside(cidr, spec.cidrs):
            raise SuanwangError(
                OUTSIDE, f"subnet range {cidr} would lie outside of {resource.key}", "keep a range round it"
            )
    if spec.vni is not None:
        _claim(admission, resource.key, "vni", f"{spec.vni:08d}", f"VNI {spec.vni}")
        return {"vni": spec.vni}
    previous = (before or {}).get("allocation", {}).get("vni")
    if type(previous) is int and 1 <= previous <= LARGEST_VNI:
        vni = previous
    else:
        free = free_number(admission, "vni", lambda value: f"{value:08d}", 1, LARGEST_VNI)
        if free is None:
            raise SuanwangError(EXHAUSTED, "all VXLAN network identifiers are taken", "remove VPCs that are not used")
        vni = free
    _claim(admission, resource.key, "vni", f"{vni:08d}", f"VNI {vni}")
    return {"vni": vni}


def admit_subnet(admission: Admission, resource: Resource, before: Stored) -> Mapping[str, Any]:
    """A subnet lies in its VPC, overlaps no other there, and keeps its range while it has ports."""
    spec = cast(SubnetSpec, resource.spec)
    vpc = resolve("Vpc", spec.vpc, resource.key.tenant)
    owner = admission.read(vpc)
    if owner is None:
        return {}
    _table_in_vpc(admission, resource.key, spec.route_table, vpc)
    if (
        before is not None
        and _changed(before, spec, ("vpc", "cidr", "ipv6Cidr"))
        and admission.values(f"ref/{resource.key}")
    ):
        raise SuanwangError(
            IMMUTABLE, f"{resource.key} has ports, so its range and VPC stay", "make another subnet beside it"
        )
    scope = subnets_scope(vpc)
    taken = admission.values(scope, limit=2 * MOST_SUBNETS)
    if len(taken) >= 2 * MOST_SUBNETS:
        raise SuanwangError(LIMIT, f"{vpc} has {MOST_SUBNETS} subnets already", "use larger subnets")
    for cidr in spec.cidrs:
        if not _inside(cidr, owner["spec"]["cidrs"]):
            hint = f"ranges of the VPC: {', '.join(owner['spec']['cidrs'])}"
            raise SuanwangError(OUTSIDE, f"{cidr} lies outside of {vpc}", hint)
        for value in taken:
            other, holder = _cidr_from_claim(value), admission.owner(scope, value)
            if holder != resource.key and _overlap(cidr, other):
                raise SuanwangError(OVERLAP, f"{cidr} overlaps {other} of {holder}", "choose a range that is free")
        admission.claim(scope, _cidr_claim(cidr))
    return {"gateways": [gateway(cidr) for cidr in spec.cidrs]}


def admit_port(admission: Admission, resource: Resource, before: Stored) -> Mapping[str, Any]:
    """Give the port its addresses and MAC; its groups must be of its VPC."""
    spec = cast(PortSpec, resource.spec)
    subnet_key = resolve("Subnet", spec.subnet, resource.key.tenant)
    subnet = admission.read(subnet_key)
    if subnet is None:
        return {}
    vpc = resolve("Vpc", subnet["spec"]["vpc"], subnet_key.tenant)
    node = admission.read(Key("Node", "", spec.node)) if spec.node else None
    if node is not None and "host" not in node["spec"]["roles"]:
        raise SuanwangError(
            WRONG_ROLE, f"{resource.key}: Node/{spec.node} is no host", "place it on a node with role host"
        )
    for name in spec.security_groups:
        group_key = resolve("SecurityGroup", name, resource.key.tenant)
        group = admission.read(group_key)
        if group is not None and resolve("Vpc", group["spec"]["vpc"], group_key.tenant) != vpc:
            raise SuanwangError(WRONG_VPC, f"{group_key} is not of {vpc}", "a port's groups are of its own VPC")
    addresses = _addresses(admission, resource.key, spec, subnet["spec"], vpc, before)
    _stays_next_hop(admission, resource.key, vpc, addresses)
    mac = spec.mac or stable_mac("port", resource.key.tenant, resource.key.name)
    _claim(admission, resource.key, f"vpc/{vpc.title}/macs", mac, f"MAC {mac}")
    return {"addresses": addresses, "mac": mac, "vpc": vpc.title}


def admit_security_group(admission: Admission, resource: Resource, before: Stored) -> Mapping[str, Any]:
    """Groups named in rules are of the same VPC; a group stays in its VPC while ports are in it."""
    spec = cast(SecurityGroupSpec, resource.spec)
    vpc = resolve("Vpc", spec.vpc, resource.key.tenant)
    if before is not None and before["spec"].get("vpc") != spec.vpc and admission.values(f"ref/{resource.key}"):
        raise SuanwangError(IMMUTABLE, f"{resource.key} is in use, so its VPC stays", "make another group")
    for index, rule in enumerate(spec.rules):
        if rule.security_group is None:
            continue
        key = resolve("SecurityGroup", rule.security_group, resource.key.tenant)
        peer = admission.read(key)
        if peer is not None and resolve("Vpc", peer["spec"]["vpc"], key.tenant) != vpc:
            raise SuanwangError(WRONG_VPC, f"rules[{index}]: {key} is not of {vpc}", "name a group of the same VPC")
    return {}


def admit_prefix_list(admission: Admission, resource: Resource, before: Stored) -> Mapping[str, Any]:
    """Nothing to agree with: a list may be used in any VPC of the tenant."""
    assert isinstance(resource.spec, PrefixListSpec)
    return {}


def admit_route_table(admission: Admission, resource: Resource, before: Stored) -> Mapping[str, Any]:
    """Next hops are ports of the same VPC."""
    spec = cast(RouteTableSpec, resource.spec)
    vpc = resolve("Vpc", spec.vpc, resource.key.tenant)
    if before is not None and before["spec"].get("vpc") != spec.vpc and admission.values(f"ref/{resource.key}"):
        raise SuanwangError(IMMUTABLE, f"{resource.key} is in use, so its VPC stays", "make another route table")
    # Numbers come from names; two names that give one are too rare to be worth more than a refusal.
    number = table_number(resource.key.name)
    _claim(admission, resource.key, f"vpc/{vpc.title}/tables", f"{number:010d}", f"the number {number}")
    for index, route in enumerate(spec.routes):
        if route.next_hop.port is None:
            continue
        key = resolve("Port", route.next_hop.port, resource.key.tenant)
        port = admission.read(key)
        if port is None or "vpc" not in port["allocation"]:
            continue  # refused for itself in this very transaction
        if port["allocation"]["vpc"] != vpc.title:
            raise SuanwangError(WRONG_VPC, f"routes[{index}]: {key} is not in {vpc}", "name a port of the same VPC")
        if not _has_version(port["allocation"]["addresses"], route.destination):
            message = f"routes[{index}]: {key} has no {_version(route.destination)} address for {route.destination}"
            raise SuanwangError(WRONG_VPC, message, "use a port whose subnet has that IP version")
    return {}


def _stays_next_hop(admission: Admission, port: Key, vpc: Key, addresses: list[str]) -> None:
    """Route tables that lead to the port, and are not changed together with it, still can."""
    for user in admission.values(f"ref/{port}", "RouteTable/"):
        key = parse_key(user)
        table = admission.read(key) if key.kind == "RouteTable" else None
        if table is None:
            continue
        if resolve("Vpc", table["spec"]["vpc"], key.tenant) != vpc:
            raise SuanwangError(WRONG_VPC, f"routes of {key} lead to {port}, so its VPC stays", "change them too")
        for route in table["spec"].get("routes", ()):
            mine = resolve("Port", route["nextHop"].get("port") or "", key.tenant) == port
            if mine and not _has_version(addresses, route["destination"]):
                message = f"{port} would have no {_version(route['destination'])} address for a route of {key}"
                raise SuanwangError(WRONG_VPC, message, "change the route too")


def _has_version(addresses: list[str], destination: str) -> bool:
    return any(is_ipv6(address) == is_ipv6(destination) for address in addresses)


def _version(destination: str) -> str:
    return "IPv6" if is_ipv6(destination) else "IPv4"


def _claim(admission: Admission, key: Key, scope: str, value: str, what: str) -> None:
    try:
        admission.claim(scope, value)
    except SuanwangError as problem:
        owner = admission.owner(scope, value)
        # What other tenants have, and how they call it, is nobody else's business.
        holder = owner if owner is not None and owner.tenant == key.tenant else "another tenant"
        message = f"{what} of {key} is already {holder}'s"
        raise SuanwangError(ALREADY_CLAIMED, message, "choose another, or none to get a free one") from problem


def subnets_scope(vpc: Key) -> str:
    """Scope of the claims on a VPC's subnet ranges."""
    return f"vpc/{vpc.title}/subnets"


def addresses_scope(vpc: Key) -> str:
    """Scope of the claims on a VPC's port addresses."""
    return f"vpc/{vpc.title}/addresses"


def gateway(cidr: str) -> str:
    """The gateway's address in a subnet: the first host address."""
    return str(network(cidr).network_address + 1)


def _addresses(
    admission: Admission, key: Key, spec: PortSpec, subnet: Mapping[str, Any], vpc: Key, before: Stored
) -> list[str]:
    ranges = [subnet["cidr"], *([subnet["ipv6Cidr"]] if subnet.get("ipv6Cidr") else [])]
    # Only what could have been allocated is kept: a plan that brings it comes from outside.
    previous = [one for one in (before or {}).get("allocation", {}).get("addresses", []) if one == _canonical(one)]
    fixed = list(spec.addresses)
    chosen: list[str] = []
    scope = addresses_scope(vpc)
    for cidr in ranges:
        wanted = [address for address in fixed if _contains(cidr, address)]
        if len(wanted) > 1:
            raise SuanwangError(LIMIT, f"{key} asks for {' and '.join(wanted)} in {cidr}", "one address per range")
        kept = [address for address in previous if _contains(cidr, address) and address not in _reserved(cidr)]
        if wanted:
            address = wanted[0]
            if address in _reserved(cidr):
                hint = f"the first two addresses and, in IPv4, the last of {cidr} are kept"
                raise SuanwangError(RESERVED, f"{address} is reserved in {cidr}", hint)
        else:
            address = kept[0] if kept else _free_address(admission, scope, cidr)
        _claim(admission, key, scope, hex_address(address), address)
        chosen.append(address)
    for address in fixed:
        if address not in chosen:
            raise SuanwangError(
                OUTSIDE, f"{address} lies outside of subnet {spec.subnet}", f"ranges: {', '.join(ranges)}"
            )
    return chosen


def _canonical(text: object) -> str | None:
    """The canonical text of an address, or None for what is none."""
    try:
        return read_address(text)
    except ValueError:
        return None


def _free_address(admission: Admission, scope: str, cidr: str) -> str:
    net = network(cidr)
    digits = 8 if net.version == 4 else 32
    # Network and gateway stand before, and in IPv4 the broadcast address after, what ports may have.
    first, last = int(net.network_address) + 2, int(net.broadcast_address) - (net.version == 4)
    number = free_number(admission, scope, lambda value: f"{net.version}:{value:0{digits}x}", first, last)
    if number is None:
        raise SuanwangError(EXHAUSTED, f"no address is free in {cidr}", "make a further subnet, or remove ports")
    return address_from_hex(f"{net.version}:{number:0{digits}x}")


def _reserved(cidr: str) -> frozenset[str]:
    net = network(cidr)
    kept = {str(net.network_address), gateway(cidr)}
    if net.version == 4:
        kept.add(str(net.broadcast_address))
    return frozenset(kept)


def _table_in_vpc(admission: Admission, key: Key, name: str | None, vpc: Key) -> None:
    if name is None:
        return
    table_key = resolve("RouteTable", name, key.tenant)
    table = admission.read(table_key)
    if table is not None and resolve("Vpc", table["spec"]["vpc"], table_key.tenant) != vpc:
        raise SuanwangError(WRONG_VPC, f"{table_key} is not of {vpc}", "name a route table of the same VPC")


def _changed(before: Mapping[str, Any], spec: SubnetSpec, fields: tuple[str, ...]) -> bool:
    now = spec.model_dump(mode="json", by_alias=True)
    return any(before["spec"].get(field) != now.get(field) for field in fields)


def _cidr_claim(cidr: str) -> str:
    address, _, length = cidr.partition("/")
    return f"{hex_address(address)}/{length}"


def _cidr_from_claim(value: str) -> str:
    address, _, length = value.partition("/")
    return f"{address_from_hex(address)}/{length}"


def _contains(cidr: str, address: str) -> bool:
    if is_ipv6(cidr) != is_ipv6(address):
        return False
    return _overlap(cidr, f"{address}/128" if is_ipv6(address) else f"{address}/32")


def _overlap(one: str, other: str) -> bool:
    first, second = network(one), network(other)
    return first.version == second.version and first.overlaps(second)


def _inside(cidr: str, ranges: list[str]) -> bool:
    inner = network(cidr)
    for text in ranges:
        outer = network(text)
        if outer.version == inner.version and inner.subnet_of(outer):  # type: ignore[arg-type]
            return True
    return False
