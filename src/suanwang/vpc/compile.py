"""From a VPC's records to fragments: pure functions, one a fragment.

A node's program holds for each VPC present on it
- `common`: the router's namespace, the security groups, the address sets, the routes that are alike everywhere;
- `reach/M` for every other node M of the VPC: how to reach M and the ports there, and M's members of address sets;
- `local`: the tunnel's end on this node and its own ports.
`common` and `reach/M` are made once and shared by all nodes, so a new port costs two fragments, however many nodes
hold the VPC.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from suanwang.model.addresses import host_prefix, is_ipv6, stable_mac
from suanwang.program.fragment import Fragment, fragment
from suanwang.program.objects import (
    AddressSet,
    AddressSetElement,
    AnyObject,
    Delivery,
    ForwardingEntry,
    Namespace,
    Neighbour,
    PortDevice,
    PortFilter,
    Route,
    RouteSelection,
    SecurityGroupFilter,
    Vxlan,
)
from suanwang.vpc.records import ALLOW_ALL, NodeRecord, PortRecord, VpcRecord, link_local, workload_addresses

GATEWAY_MAC = "02:73:77:00:00:01"
"""The router's MAC on every port of every node, so that a workload that moves need not ask for it again."""

GATEWAY_IPV6 = "fe80::1"
"""The router's IPv6 address on every port: link-local, as router advertisements would give it."""

NO_GROUP = "-"
"""The group of ports that are in none: nothing may come in, all may go out. No resource can have this name."""

OVERHEAD_BYTES = {False: 50, True: 70}
"""What VXLAN adds to a packet over IPv4 and over IPv6: outer IP and UDP headers, VXLAN header, inner Ethernet (RFC
7348).
"""


def vxlan_device(vpc: VpcRecord) -> str:
    """The VPC's tunnel device, the same name on all nodes."""
    return f"vxlan{vpc.vni}"


def common(vpc: VpcRecord, prefixes: Callable[[str], tuple[str, ...]]) -> Fragment:
    """What is alike on all nodes. `prefixes` gives a prefix list's content by name."""
    return fragment(vpc.netns, "common", _common(vpc, prefixes))


def reach(vpc: VpcRecord, node: NodeRecord) -> Fragment:
    """How other nodes reach this node's ports of the VPC."""
    return fragment(vpc.netns, f"reach/{node.name}", _reach(vpc, node))


def local(vpc: VpcRecord, node: NodeRecord, underlay_mtu_bytes: int) -> Fragment:
    """The VPC on this node itself."""
    return fragment(vpc.netns, f"local/{node.name}", _local(vpc, node, underlay_mtu_bytes))


def _common(vpc: VpcRecord, prefixes: Callable[[str], tuple[str, ...]]) -> Iterator[AnyObject]:
    netns = vpc.netns
    yield Namespace(netns, forwarding=True, filtered=True)
    yield SecurityGroupFilter(netns, NO_GROUP, egress=ALLOW_ALL)
    lists: set[str] = set()
    for name in sorted(vpc.groups):
        group = vpc.groups[name]
        yield SecurityGroupFilter(netns, name, group.ingress, group.egress)
        lists |= group.lists
    for name in sorted(vpc.peers):
        yield AddressSet(netns, f"group/{name}")
    for name in sorted(lists):
        yield AddressSet(netns, f"list/{name}")
        for prefix in sorted(set(prefixes(name))):
            yield AddressSetElement(netns, f"list/{name}", prefix)
    attached = {port.name: port for ports in vpc.ports.values() for port in ports} if vpc.tables else {}
    for name in sorted(vpc.tables):
        table = vpc.tables[name]
        # Traffic that shall pass a firewall must not go round it while the firewall is nowhere.
        nowhere = [to for to, port in table.next_hops if port not in attached or not _leads(to, attached[port])]
        taken = {*table.blackholes, *(destination for destination, _ in table.next_hops)}
        for destination in (*table.blackholes, *nowhere):
            yield Route(netns, destination, table.number, "blackhole")
        for cidr in vpc.cidrs:
            # The VPC's own ranges are routes too: where none of the table's is longer, the lookup goes on to the ports.
            if cidr not in taken:
                yield Route(netns, cidr, table.number, "throw")


def _reach(vpc: VpcRecord, node: NodeRecord) -> Iterator[AnyObject]:
    netns, device = vpc.netns, vxlan_device(vpc)
    yield Neighbour(netns, device, node.next_hop, node.mac)
    yield ForwardingEntry(netns, device, node.mac, node.endpoint)
    hops = _next_hops(vpc)
    for port in vpc.ports[node.name]:
        for address in port.addresses:
            yield Route(netns, host_prefix(address), via=node.next_hop, device=device)
        yield from _memberships(vpc, port)
        routes = [(table, to) for table, to in hops.get(port.name, ()) if _leads(to, port)]
        if routes:
            mac = delivery_mac(port)
            yield Neighbour(netns, device, link_local(mac), mac)
            yield ForwardingEntry(netns, device, mac, node.endpoint)
            for table, destination in routes:
                yield Route(netns, destination, table, via=link_local(mac), device=device)


def _local(vpc: VpcRecord, node: NodeRecord, underlay_mtu_bytes: int) -> Iterator[AnyObject]:
    netns, device = vpc.netns, vxlan_device(vpc)
    mtu_bytes = underlay_mtu_bytes - OVERHEAD_BYTES[is_ipv6(node.endpoint)]
    yield Vxlan(netns, device, vpc.vni, node.endpoint, node.mac, mtu_bytes)
    hops = _next_hops(vpc)
    for port in vpc.ports[node.name]:
        workload = f"port/{port.title}"
        yield Namespace(workload)
        gateways = tuple(GATEWAY_IPV6 if is_ipv6(gateway) else gateway for gateway in port.subnet.gateways)
        yield PortDevice(
            netns, port.device, workload, "eth0", port.mac, GATEWAY_MAC, mtu_bytes, workload_addresses(port), gateways,
            port.title, port.rate_in_bps, port.rate_out_bps,
        )  # fmt: skip
        yield from _filters(vpc, port)
        for address in port.addresses:
            yield Route(netns, host_prefix(address), device=port.device)
        yield from _memberships(vpc, port)
        table = vpc.tables.get(port.subnet.table)
        if table is not None:
            yield RouteSelection(netns, port.device, table.number)
        routes = [(number, to) for number, to in hops.get(port.name, ()) if _leads(to, port)]
        if routes:
            yield Delivery(netns, device, delivery_mac(port), port.device)
            for number, destination in routes:
                via = next(address for address in port.addresses if is_ipv6(address) == is_ipv6(destination))
                yield Route(netns, destination, number, via=via, device=port.device)


def _filters(vpc: VpcRecord, port: PortRecord) -> Iterator[AnyObject]:
    sources = [host_prefix(address) for address in port.addresses]
    sources += [prefix for prefix, mac in port.pairs if not mac]
    pairs = tuple((mac, prefix) for prefix, mac in port.pairs if mac)
    # A group that can't be read allows nothing; only a port that names none at all is in the open one.
    groups = tuple(sorted(group for group in port.groups if group in vpc.groups)) if port.groups else (NO_GROUP,)
    yield PortFilter(vpc.netns, port.device, port.mac, tuple(sources), groups, pairs)


def _memberships(vpc: VpcRecord, port: PortRecord) -> Iterator[AnyObject]:
    for group in port.groups:
        if group in vpc.peers:
            for address in port.addresses:
                yield AddressSetElement(vpc.netns, f"group/{group}", host_prefix(address))


def _next_hops(vpc: VpcRecord) -> dict[str, list[tuple[int, str]]]:
    """Ports that routes lead to: port name -> [(table number, destination)]."""
    hops: dict[str, list[tuple[int, str]]] = {}
    for name in sorted(vpc.tables):
        table = vpc.tables[name]
        for destination, port in table.next_hops:
            hops.setdefault(port, []).append((table.number, destination))
    return hops


def _leads(destination: str, port: PortRecord) -> bool:
    """Whether the port has an address of the destination's IP version."""
    return any(is_ipv6(address) == is_ipv6(destination) for address in port.addresses)


def delivery_mac(port: PortRecord) -> str:
    """The MAC by which other nodes address frames to a port itself, whatever their IP destination."""
    return stable_mac("delivery", port.tenant, port.name)
