"""Accepting resources of this room: what they must agree with, and what is allocated to them.

Everything here runs inside one store transaction. Values that only one resource may have are claims (scope, value):

| scope | values |
|---|---|
| `underlay/address` | addresses of nodes (`hex_address`) |
| `underlay/asn` | `NUMBER/` for an allocated AS number, `NUMBER/NODE` for one that was fixed by the user |
| `node/NAME/interface` | names of a node's interfaces |
| `node/NAME/peer` | addresses of a node's neighbours |

Addresses and AS numbers are unique over all regions, not within one, because regions are joined by links and tunnels.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any, cast

from suanwang.model.addresses import address_from_hex, hex_address, is_ipv6, network
from suanwang.model.allocation import free_number
from suanwang.model.errors import ALREADY_CLAIMED, EXHAUSTED, SuanwangError, code
from suanwang.model.reference import Key
from suanwang.model.registry import Admission, Resource
from suanwang.topology.kinds import LONGEST_INTERFACE_NAME, LinkSpec, NodeSpec, PeerSpec, SiteSpec

WRONG_REGION = code("WRONG_REGION", "a resource names another that belongs to a different region")

ADDRESSES = "underlay/address"
ASNS = "underlay/asn"

Stored = Mapping[str, Any] | None


def admit_site(admission: Admission, resource: Resource, before: Stored) -> Mapping[str, Any]:
    """A site stays in its region while nodes stand in it."""
    spec = cast(SiteSpec, resource.spec)
    moved = before is not None and before["spec"].get("region", spec.region) != spec.region
    if before is not None and moved and admission.values(f"ref/{resource.key}", limit=1):
        message = f"{resource.key} has nodes of region {before['spec']['region']}, so its region stays"
        raise SuanwangError(WRONG_REGION, message, "make another site beside it")
    return {}


def admit_node(admission: Admission, resource: Resource, before: Stored) -> Mapping[str, Any]:
    """Give the node its addresses and AS number.

    `address` is its own address (the tunnel endpoint of a host), `addresses` has one of each IP version of the region's
    loopbacks, `address` first. What was allocated before is kept while the region still has it.
    """
    spec = cast(NodeSpec, resource.spec)
    region = admission.read(Key("Region", "", spec.region))
    if region is None:
        return {}
    if spec.site is not None:
        site = admission.read(Key("Site", "", spec.site))
        if site is not None and site["spec"]["region"] != spec.region:
            message = f"Site/{spec.site} is in region {site['spec']['region']}, not in {spec.region}"
            raise SuanwangError(WRONG_REGION, message, "name a site of the node's own region")
    underlay = region["spec"]["underlay"]
    kept = (before or {}).get("allocation", {})
    addresses = _addresses(admission, resource.key, spec.address, underlay["loopbacks"], kept.get("addresses", []))
    return {
        "address": addresses[0],
        "addresses": addresses,
        "asn": _asn(admission, resource.key, spec.asn, underlay["asns"], kept.get("asn")),
    }


def admit_link(admission: Admission, resource: Resource, before: Stored) -> Mapping[str, Any]:
    """Name the link's interfaces: as the user says, or after the far node. Names stay when other links come and go."""
    spec = cast(LinkSpec, resource.spec)
    kept = (before or {}).get("allocation", {})
    named = {}
    for side, here, there in (("aInterface", spec.a, spec.b), ("bInterface", spec.b, spec.a)):
        scope = f"node/{here.node}/interface"
        if here.interface is not None:
            admission.claim(scope, here.interface)
            named[side] = here.interface
            continue
        # A name is kept while the link still leads from the same node to the same node.
        ends = (before or {}).get("spec", {})
        same = all(ends[end]["node"] == getattr(spec, end).node for end in ("a", "b") if end in ends)
        before_first = [kept[side]] if same and side in kept else []
        for name in chain(before_first, interface_names(there.node, resource.key.name)):
            if admission.owner(scope, name) in (None, resource.key):
                admission.claim(scope, name)
                named[side] = name
                break
    return named


def admit_peer(admission: Admission, resource: Resource, before: Stored) -> Mapping[str, Any]:
    """A node has one neighbour at an address."""
    spec = cast(PeerSpec, resource.spec)
    admission.claim(f"node/{spec.node}/peer", hex_address(spec.address))
    return {}


def interface_names(far_node: str, link: str) -> Iterator[str]:
    """Names for the interface to `far_node`, best first: its own if that fits, else its head and a digest.

    Endless, so that a free one is always found; the same on every machine.
    """
    plain = far_node.replace(".", "-")
    if len(plain) <= LONGEST_INTERFACE_NAME and plain not in {"lo", "all", "default"}:
        yield plain
    number = 0
    while True:
        digest = hashlib.blake2b(f"{link}\0{far_node}\0{number}".encode(), digest_size=2).hexdigest()
        yield f"{plain[: LONGEST_INTERFACE_NAME - 5]}-{digest}"
        number += 1


def _addresses(admission: Admission, key: Key, fixed: str | None, loopbacks: list[str], kept: list[str]) -> list[str]:
    chosen = []
    if fixed is not None:
        try:
            admission.claim(ADDRESSES, hex_address(fixed))
        except SuanwangError as problem:
            holder = admission.owner(ADDRESSES, hex_address(fixed))
            message = f"{fixed} of {key} is already {holder}'s"
            raise SuanwangError(ALREADY_CLAIMED, message, "choose another, or none to get a free one") from problem
        chosen.append(fixed)
    for ipv6 in dict.fromkeys(is_ipv6(prefix) for prefix in loopbacks):
        if fixed is not None and is_ipv6(fixed) == ipv6:
            continue
        prefixes = [prefix for prefix in loopbacks if is_ipv6(prefix) == ipv6]
        before = next((address for address in kept if any(_contains(prefix, address) for prefix in prefixes)), None)
        free = before or _free_address(admission, prefixes)
        admission.claim(ADDRESSES, hex_address(free))
        chosen.append(free)
    return chosen


def _free_address(admission: Admission, prefixes: list[str]) -> str:
    for prefix in prefixes:
        net = network(prefix)
        digits = 8 if net.version == 4 else 32
        # A range's first address is an anycast one in IPv6 (RFC 4291, section 2.6.1), its last a broadcast one in IPv4.
        wide = net.num_addresses > 2
        first = int(net.network_address) + wide
        last = int(net.broadcast_address) - (wide and net.version == 4)
        number = free_number(admission, ADDRESSES, lambda n, d=digits, v=net.version: f"{v}:{n:0{d}x}", first, last)  # type: ignore[misc]
        if number is not None:
            return address_from_hex(f"{net.version}:{number:0{digits}x}")
    message = f"no address is free in {', '.join(prefixes)}"
    raise SuanwangError(EXHAUSTED, message, "add a range to the region's underlay.loopbacks")


def _asn(admission: Admission, key: Key, fixed: int | None, asns: Mapping[str, int], kept: int | None) -> int:
    if fixed is not None:
        holder = admission.owner(ASNS, f"{fixed:010d}/")
        if holder not in (None, key):
            message = f"AS {fixed} of {key} was allocated to {holder}"
            raise SuanwangError(ALREADY_CLAIMED, message, f"fix it there too to share it, or avoid {_range(asns)}")
        admission.claim(ASNS, f"{fixed:010d}/{key.name}")
        return fixed
    if kept is not None and asns["first"] <= kept <= asns["last"]:
        # What was fixed before and shared may be another's by now.
        claims = [value for value in admission.values(ASNS, f"{kept:010d}", 2) if value.startswith(f"{kept:010d}/")]
        owners = {admission.owner(ASNS, value) for value in claims}
        if owners <= {key}:
            admission.claim(ASNS, f"{kept:010d}/")
            return kept
    number = free_number(admission, ASNS, lambda n: f"{n:010d}", asns["first"], asns["last"])
    if number is None:
        message = f"no AS number is free in {_range(asns)}"
        raise SuanwangError(EXHAUSTED, message, "widen the region's underlay.asns")
    admission.claim(ASNS, f"{number:010d}/")
    return number


def _range(asns: Mapping[str, int]) -> str:
    return f"{asns['first']}-{asns['last']}"


def _contains(prefix: str, address: str) -> bool:
    if is_ipv6(prefix) != is_ipv6(address):
        return False
    outer, inner = network(prefix), network(address)
    return inner.subnet_of(outer)  # type: ignore[arg-type]
