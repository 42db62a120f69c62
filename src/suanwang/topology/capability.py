"""What the topology room enters in the registry."""

from __future__ import annotations

from suanwang.model.registry import Capability, Kind
from suanwang.topology import admission, kinds

REGION = Kind(
    name="Region",
    scope="infrastructure",
    spec=kinds.RegionSpec,
    summary="A part of the world with one underlay network; nodes of one region reach each other through it.",
    example="""\
apiVersion: suanwang/v1
kind: Region
metadata: {name: north}
spec:
  description: the northern cities
  underlay:
    routing: bgp
    mtu: 9000B
    loopbacks: [10.255.0.0/16, "fd00:255::/64"]
    asns: {first: 4200000000, last: 4200099999}
""",
    columns={"ROUTING": "spec.underlay.routing", "MTU": "spec.underlay.mtu", "LOOPBACKS": "spec.underlay.loopbacks"},
    order=10,
)

SITE = Kind(
    name="Site",
    scope="infrastructure",
    spec=kinds.SiteSpec,
    summary="A building or city where nodes stand.",
    example="""\
apiVersion: suanwang/v1
kind: Site
metadata: {name: harbin}
spec:
  region: north
  location: {latitude: 45.75, longitude: 126.65}
  city: Harbin
  country: China
""",
    columns={"REGION": "spec.region", "CITY": "spec.city", "COUNTRY": "spec.country"},
    admit=admission.admit_site,
    order=20,
)

NODE = Kind(
    name="Node",
    scope="infrastructure",
    spec=kinds.NodeSpec,
    summary="A machine that hosts workloads, forwards packets, or joins the region to other networks.",
    example="""\
apiVersion: suanwang/v1
kind: Node
metadata: {name: harbin-host-1}
spec:
  region: north
  site: harbin
  roles: [host]
  capacity: {ports: 4000, bandwidth: 25Gbps, cpus: 64, memory: 256GiB}
""",
    columns={"REGION": "spec.region", "SITE": "spec.site", "ROLES": "spec.roles", "ADDRESS": "status.address"},
    admit=admission.admit_node,
    precedence=lambda spec: 0 if spec.address or spec.asn else 1,
    short_names=("no",),
    order=30,
)

LINK = Kind(
    name="Link",
    scope="infrastructure",
    spec=kinds.LinkSpec,
    summary="A link between two nodes, with what it carries and how long it takes.",
    example="""\
apiVersion: suanwang/v1
kind: Link
metadata: {name: harbin-changchun}
spec:
  a: {node: harbin-router}
  b: {node: changchun-router}
  capacity: 100Gbps
  latency: 1160us
  sharedRisks: [railway-duct-7]
""",
    columns={
        "A": "spec.a.node",
        "B": "spec.b.node",
        "CAPACITY": "spec.capacity",
        "LATENCY": "spec.latency",
        "COST": "spec.cost",
    },
    admit=admission.admit_link,
    precedence=lambda spec: 0 if spec.a.interface or spec.b.interface else 1,
    order=40,
)

PEER = Kind(
    name="Peer",
    scope="infrastructure",
    spec=kinds.PeerSpec,
    summary="A BGP neighbour outside of the system: a carrier, an exchange, a customer's router.",
    example="""\
apiVersion: suanwang/v1
kind: Peer
metadata: {name: carrier-a}
spec:
  node: harbin-gateway
  asn: 64500
  address: 192.0.2.1
  relationship: provider
  description: transit, contract 17
""",
    columns={
        "NODE": "spec.node",
        "ASN": "spec.asn",
        "ADDRESS": "spec.address",
        "RELATIONSHIP": "spec.relationship",
    },
    admit=admission.admit_peer,
    order=40,
)

CAPABILITY = Capability(name="topology", kinds=(REGION, SITE, NODE, LINK, PEER))
