"""Made-up worlds for benchmarks: regions full of VPCs, as user documents, always the same for the same numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

API = "suanwang/v1"

Document = dict[str, Any]


def resource(kind: str, name: str, spec: dict[str, Any], tenant: str = "") -> Document:
    """A user document."""
    metadata = {"name": name, "tenant": tenant} if tenant else {"name": name}
    return {"apiVersion": API, "kind": kind, "metadata": metadata, "spec": spec}


def infrastructure(nodes: int) -> Iterator[Document]:
    """A region and its hosts."""
    yield resource("Region", "r1", {"underlay": {"loopbacks": ["10.128.0.0/9"], "mtu": "9000B"}})
    for number in range(nodes):
        yield resource("Node", f"node-{number}", {"region": "r1", "roles": ["host"]})


def tenant_of(vpc: int, vpcs_a_tenant: int = 10) -> str:
    """The tenant of a VPC by number."""
    return f"t{vpc // vpcs_a_tenant}"


def vpc_documents(vpc: int, ports: int, nodes: int) -> Iterator[Document]:
    """One VPC: a subnet, a group of five rules (one by membership), and ports spread over nodes, a few on each."""
    tenant = tenant_of(vpc)
    yield resource("Vpc", f"v{vpc}", {"cidrs": ["10.0.0.0/16"]}, tenant)
    rules: list[dict[str, Any]] = [
        {"direction": "ingress", "protocol": "tcp", "ports": [80, 443]},
        {"direction": "ingress", "protocol": "icmp"},
        {"direction": "ingress", "protocol": "tcp", "ports": ["8000-8099"], "cidr": "10.0.0.0/24"},
        {"direction": "ingress", "securityGroup": f"g{vpc}"},
        {"direction": "egress", "cidr": "10.0.0.0/8"},
    ]
    yield resource("SecurityGroup", f"g{vpc}", {"vpc": f"v{vpc}", "rules": rules}, tenant)
    yield resource("Subnet", f"s{vpc}", {"vpc": f"v{vpc}", "cidr": "10.0.0.0/20"}, tenant)
    for number in range(ports):
        yield port(vpc, number, nodes)


def port(vpc: int, number: int, nodes: int) -> Document:
    """A port of a VPC; where it is follows from its number."""
    # A stride that shares no factor with usual node counts, so that VPCs meet different neighbours on every node.
    node = (vpc * 37 + number * 101) % nodes
    spec = {"subnet": f"s{vpc}", "node": f"node-{node}", "securityGroups": [f"g{vpc}"]}
    return resource("Port", f"p{vpc}-{number}", spec, tenant_of(vpc))


def tenants(vpcs: int) -> Iterator[Document]:
    """The tenants of that many VPCs."""
    for name in sorted({tenant_of(vpc) for vpc in range(vpcs)}):
        yield resource("Tenant", name, {})
