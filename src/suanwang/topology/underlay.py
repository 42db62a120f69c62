"""From declared nodes and links to the plan of an underlay: what must stand on each node so that all find each other.

Pure: from stored documents to plain frozen data. Whoever builds it (a lab, installers of real machines) needs to know
nothing of resources.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from suanwang.model.addresses import host_prefix
from suanwang.model.errors import SuanwangError, code
from suanwang.model.reference import Key
from suanwang.topology.graph import Direction, graph_link
from suanwang.topology.kinds import LinkSpec, NodeSpec, RegionSpec, Role

NOT_ALLOCATED = code("NOT_ALLOCATED", "a resource has not yet been given what the system allocates for it")


@dataclass(frozen=True, slots=True)
class UnderlayInterface:
    """An interface of a node: the link it belongs to, what is at the far end, and what happens to packets sent here."""

    name: str
    link: str
    peer: str
    peer_interface: str
    mtu_bytes: int
    outwards: Direction


@dataclass(frozen=True, slots=True)
class UnderlayNode:
    """A node: `address` is its own (a host's tunnel endpoint); `loopbacks` are /32 and /128 prefixes, its own first."""

    name: str
    region: str
    roles: tuple[Role, ...]
    address: str
    loopbacks: tuple[str, ...]
    asn: int
    routing: Literal["bgp", "ospf"]
    metric: Literal["hops", "delay"]
    interfaces: tuple[UnderlayInterface, ...]


@dataclass(frozen=True, slots=True)
class UnderlayLink:
    """A link: its ends and their interfaces; `forward` from a to b, `backward` from b to a."""

    name: str
    a: str
    a_interface: str
    b: str
    b_interface: str
    mtu_bytes: int
    forward: Direction
    backward: Direction


@dataclass(frozen=True, slots=True)
class UnderlayPlan:
    """Nodes and links, each by name."""

    nodes: tuple[UnderlayNode, ...]
    links: tuple[UnderlayLink, ...]


def underlay_plan(
    documents: Iterable[tuple[Key, Mapping[str, Any]]], regions: frozenset[str] | None = None
) -> UnderlayPlan:
    """The plan for the stored documents of Regions, Nodes and Links; other kinds are passed over.

    With `regions`, only nodes of those; links that leave them are left out. Raises NOT_ALLOCATED for a resource that
    has not been through admission.
    """
    found: dict[str, dict[str, Mapping[str, Any]]] = {"Region": {}, "Node": {}, "Link": {}}
    for key, document in documents:
        if key.kind in found:
            found[key.kind][key.name] = document
    underlays = {
        name: RegionSpec.model_validate(document["spec"]).underlay for name, document in found["Region"].items()
    }
    specs = {
        name: NodeSpec.model_validate(document["spec"])
        for name, document in sorted(found["Node"].items())
        if regions is None or document["spec"]["region"] in regions
    }
    links: list[UnderlayLink] = []
    interfaces: dict[str, list[UnderlayInterface]] = defaultdict(list)
    for name, document in sorted(found["Link"].items()):
        spec = LinkSpec.model_validate(document["spec"])
        if spec.a.node not in specs or spec.b.node not in specs:
            continue
        ends = [underlays[specs[end.node].region] for end in (spec.a, spec.b)]
        link = _link(name, document, spec.mtu or min(end.mtu for end in ends))
        links.append(link)
        a, b = link.a_interface, link.b_interface
        interfaces[link.a].append(UnderlayInterface(a, name, link.b, b, link.mtu_bytes, link.forward))
        interfaces[link.b].append(UnderlayInterface(b, name, link.a, a, link.mtu_bytes, link.backward))
    nodes = []
    for name, node in specs.items():
        allocation, underlay = found["Node"][name].get("allocation", {}), underlays[node.region]
        nodes.append(
            UnderlayNode(
                name=name,
                region=node.region,
                roles=tuple(node.roles),
                address=_allocated(allocation, "address", Key("Node", "", name)),
                loopbacks=tuple(map(host_prefix, _allocated(allocation, "addresses", Key("Node", "", name)))),
                asn=_allocated(allocation, "asn", Key("Node", "", name)),
                routing=underlay.routing,
                metric=underlay.metric,
                interfaces=tuple(sorted(interfaces[name], key=lambda interface: interface.name)),
            )
        )
    return UnderlayPlan(tuple(nodes), tuple(links))


def _link(name: str, document: Mapping[str, Any], mtu_bytes: int) -> UnderlayLink:
    link, allocation = graph_link(name, document["spec"]), document.get("allocation", {})
    a, b = (_allocated(allocation, side, Key("Link", "", name)) for side in ("aInterface", "bInterface"))
    return UnderlayLink(name, link.a, a, link.b, b, mtu_bytes, link.forward, link.backward)


def _allocated(allocation: Mapping[str, Any], what: str, key: Key) -> Any:
    if what not in allocation:
        raise SuanwangError(NOT_ALLOCATED, f"{key} has no {what} yet", "apply it first, with the resources it names")
    return allocation[what]
