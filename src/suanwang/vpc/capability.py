"""What the VPC room enters in the registry: its kinds and its compiler."""

from __future__ import annotations

from suanwang.model.registry import Capability, Kind
from suanwang.vpc import admission, kinds
from suanwang.vpc.compiler import VpcCompiler

TENANT = Kind(
    name="Tenant",
    scope="infrastructure",
    spec=kinds.TenantSpec,
    summary="A customer, department or project, whose resources no other tenant sees.",
    example="""\
apiVersion: suanwang/v1
kind: Tenant
metadata: {name: retail}
spec: {description: the shops}
""",
    columns={"DESCRIPTION": "spec.description"},
    order=5,
)

VPC = Kind(
    name="Vpc",
    scope="tenant",
    spec=kinds.VpcSpec,
    summary="A private network with addresses of its own, on whatever nodes its ports are.",
    example="""\
apiVersion: suanwang/v1
kind: Vpc
metadata: {name: shop, tenant: retail}
spec:
  cidrs: [10.0.0.0/16, "fd00:10::/48"]
""",
    admit=admission.admit_vpc,
    precedence=lambda spec: 0 if spec.vni else 1,
    columns={"CIDRS": "spec.cidrs", "VNI": "status.vni"},
    order=50,
)

PREFIX_LIST = Kind(
    name="PrefixList",
    scope="tenant",
    spec=kinds.PrefixListSpec,
    summary="A named list of prefixes that rules of security groups refer to.",
    example="""\
apiVersion: suanwang/v1
kind: PrefixList
metadata: {name: offices, tenant: retail}
spec:
  prefixes: [192.0.2.0/24, 198.51.100.0/24]
""",
    admit=admission.admit_prefix_list,
    columns={"PREFIXES": "spec.prefixes"},
    short_names=("pl",),
    order=51,
)

SECURITY_GROUP = Kind(
    name="SecurityGroup",
    scope="tenant",
    spec=kinds.SecurityGroupSpec,
    summary="A stateful firewall for ports: ingress is denied unless allowed, egress allowed unless rules narrow it.",
    example="""\
apiVersion: suanwang/v1
kind: SecurityGroup
metadata: {name: web, tenant: retail}
spec:
  vpc: shop
  rules:
    - {direction: ingress, protocol: tcp, ports: [80, 443]}
    - {direction: ingress, protocol: icmp, cidr: 10.0.0.0/16}
""",
    admit=admission.admit_security_group,
    columns={"VPC": "spec.vpc", "RULES": "spec.rules.length"},
    short_names=("sg",),
    order=52,
)

ROUTE_TABLE = Kind(
    name="RouteTable",
    scope="tenant",
    spec=kinds.RouteTableSpec,
    summary="Routes for what the ports of some subnets send: to a port (a virtual router), or to nowhere.",
    example="""\
apiVersion: suanwang/v1
kind: RouteTable
metadata: {name: inspected, tenant: retail}
spec:
  vpc: shop
  routes:
    - {destination: 0.0.0.0/0, nextHop: {port: firewall-1}}
    - {destination: 10.0.9.0/24, nextHop: {blackhole: true}}
""",
    admit=admission.admit_route_table,
    columns={"VPC": "spec.vpc", "ROUTES": "spec.routes.length"},
    short_names=("rt",),
    order=70,
)

SUBNET = Kind(
    name="Subnet",
    scope="tenant",
    spec=kinds.SubnetSpec,
    summary="A range of a VPC's addresses, with a gateway; its ports may be on any node.",
    example="""\
apiVersion: suanwang/v1
kind: Subnet
metadata: {name: web, tenant: retail, labels: {tier: front}}
spec: {vpc: shop, cidr: 10.0.1.0/24, ipv6Cidr: "fd00:10:0:1::/64"}
""",
    admit=admission.admit_subnet,
    columns={"VPC": "spec.vpc", "CIDR": "spec.cidr", "IPV6": "spec.ipv6Cidr", "ROUTES": "spec.routeTable"},
    order=53,
)

PORT = Kind(
    name="Port",
    scope="tenant",
    spec=kinds.PortSpec,
    summary="A workload's attachment to a subnet: its addresses, the node it runs on, and what may pass.",
    example="""\
apiVersion: suanwang/v1
kind: Port
metadata: {name: web-1, tenant: retail}
spec:
  subnet: web
  node: host-1
  securityGroups: [web]
  bandwidthOut: 1Gbps
""",
    admit=admission.admit_port,
    precedence=lambda spec: 0 if spec.addresses else 1,
    columns={
        "SUBNET": "spec.subnet",
        "NODE": "spec.node",
        "ADDRESSES": "status.addresses",
        "GROUPS": "spec.securityGroups",
    },
    order=60,
)

CAPABILITY = Capability(
    name="vpc",
    kinds=(TENANT, VPC, PREFIX_LIST, SECURITY_GROUP, ROUTE_TABLE, SUBNET, PORT),
    compiler=VpcCompiler,
    watches=("Region", "Node", "Assertion"),
)
