"""containerlab topology files (containerlab.dev/manual/topo-def-file): nodes, their kinds, and links.

A node's role is its label `role` (`ROLES`) if it has one; else it is a host when its kind is
`linux` and its image is not that of a routing daemon, and a router otherwise. Properties are inherited as containerlab
does: the node's own word wins, then its group's, its kind's, the defaults'. Links of the types that leave the lab
(`host`, `mgmt-net`, `macvlan`, `vxlan`, `dummy`) are passed over.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NoReturn

from suanwang.model.errors import SuanwangError
from suanwang.model.reading import LocatedDict, line_of, path_text, read_text
from suanwang.topology.importing.published import (
    PublishedLink,
    PublishedNode,
    PublishedTopology,
    check_count,
    refuse,
)
from suanwang.topology.kinds import INTERFACE, Role

ROLES: dict[str, Role] = {
    **dict.fromkeys(("host", "client", "server"), "host"),
    **dict.fromkeys(("router", "leaf", "spine", "superspine", "core", "border"), "router"),
    "gateway": "gateway",
}
"""What labs call nodes by the label `role`, and what they are here."""
ROUTING_IMAGES = ("frr", "bird", "gobgp", "exabgp", "openbgpd", "quagga", "holo", "vyos")
OUTSIDE = frozenset({"host", "mgmt-net", "macvlan"})
"""Names of ends that are no nodes: they stand for the machine or its network."""


def read_containerlab(body: bytes, file: str) -> PublishedTopology:
    """The topology in a containerlab file. Raises BAD_TOPOLOGY."""
    try:
        documents = read_text(body, file)
    except SuanwangError as problem:
        refuse(problem.message, problem.hint, problem.place.file, problem.place.line)
    if len(documents) != 1:
        refuse(f"{len(documents)} documents where one must be", "give a file with one topology", file)
    return _Reader(documents[0], file).topology()


class _Reader:
    """Walks the document; complaints name the line of the value at a path."""

    def __init__(self, document: LocatedDict, file: str) -> None:
        self._document = document
        self._file = file
        self._numbers: dict[str, int] = {}
        self._interfaces: set[tuple[str, str]] = set()

    def topology(self) -> PublishedTopology:
        """All that the file says."""
        nodes = self._mapping(("topology", "nodes"))
        if not nodes:
            self._refuse(("topology", "nodes"), "there is no node in it", "write topology: {nodes: …, links: …}")
        check_count(len(nodes), 0, self._file, self._line(("topology", "nodes")))
        result = PublishedTopology()
        for number, name in enumerate(nodes):
            self._numbers[name] = number
            result.nodes.append(PublishedNode(name, roles=(self._role(name),)))
        links = self._at(("topology", "links"))
        if links is None:
            return result
        if not isinstance(links, list):
            self._refuse(("topology", "links"), "links must be a list", "write - endpoints: [a:eth1, b:eth1]")
        check_count(0, len(links), self._file, self._line(("topology", "links")))
        for index in range(len(links)):
            link = self._link(("topology", "links", index))
            if link is not None:
                result.links.append(link)
        return result

    def _role(self, name: str) -> Role:
        kind = str(self._inherited(name, "kind") or "linux")
        role = self._labels(name).get("role")
        if role is not None:
            if str(role) not in ROLES:
                path = ("topology", "nodes", name)
                self._refuse(path, f"the role of {name} is {str(role)[:60]!r}", f"use {', '.join(ROLES)}")
            return ROLES[str(role)]
        image = str(self._inherited(name, "image") or "").lower()
        return "host" if kind == "linux" and not any(word in image for word in ROUTING_IMAGES) else "router"

    def _sources(self, name: str) -> list[Mapping[str, Any]]:
        """Where a node's properties come from, the nearest first."""
        node = self._mapping(("topology", "nodes", name))
        defaults = self._mapping(("topology", "defaults"))
        group_name = str(node.get("group") or defaults.get("group") or "")
        group = self._mapping(("topology", "groups", group_name)) if group_name else {}
        kind_name = str(node.get("kind") or group.get("kind") or defaults.get("kind") or "")
        kind = self._mapping(("topology", "kinds", kind_name)) if kind_name else {}
        return [node, group, kind, defaults]

    def _inherited(self, name: str, field: str) -> Any:
        return next((source[field] for source in self._sources(name) if source.get(field) is not None), None)

    def _labels(self, name: str) -> dict[str, Any]:
        labels: dict[str, Any] = {}
        for source in reversed(self._sources(name)):
            found = source.get("labels")
            labels |= found if isinstance(found, dict) else {}
        return labels

    def _link(self, path: tuple[str | int, ...]) -> PublishedLink | None:
        link = self._at(path)
        if not isinstance(link, dict):
            self._refuse(path, "a link must be a mapping", "write - endpoints: [a:eth1, b:eth1]")
        if link.get("type", "veth") != "veth":
            return None
        endpoints = link.get("endpoints")
        if not isinstance(endpoints, list) or len(endpoints) != 2:
            self._refuse((*path, "endpoints"), "a link has two endpoints", "write - endpoints: [a:eth1, b:eth1]")
        ends = [self._end((*path, "endpoints", index), endpoint) for index, endpoint in enumerate(endpoints)]
        if any(node in OUTSIDE and node not in self._numbers for node, _ in ends):
            return None
        for index, (node, interface) in enumerate(ends):
            here = (*path, "endpoints", index)
            if node not in self._numbers:
                self._refuse(here, f"there is no node {node[:60]!r}", "correct the name, or add it under nodes")
            if interface and (node, interface) in self._interfaces:
                self._refuse(here, f"{node}:{interface} is in a link already", "use another interface")
            self._interfaces.add((node, interface))
        (a, a_interface), (b, b_interface) = ends
        if a == b:
            self._refuse(path, f"both ends are at {a}", "a link joins two different nodes")
        mtu = link.get("mtu")
        if mtu is not None and not (type(mtu) is int and 1280 <= mtu <= 65535):
            self._refuse((*path, "mtu"), f"an mtu of {str(mtu)[:60]} is out of range", "give 1280 to 65535")
        return PublishedLink(
            self._numbers[a],
            self._numbers[b],
            mtu_bytes=mtu,
            # A name that Linux or our schema would refuse (`ethernet-1/1`) is left to be made by the system.
            a_interface=a_interface if INTERFACE.match(a_interface) else None,
            b_interface=b_interface if INTERFACE.match(b_interface) else None,
        )

    def _end(self, path: tuple[str | int, ...], endpoint: Any) -> tuple[str, str]:
        if isinstance(endpoint, dict):
            node, interface = endpoint.get("node"), endpoint.get("interface", "")
        elif isinstance(endpoint, str):
            match = re.fullmatch(r"([^:]+):(.+)", endpoint)
            node, interface = match.groups() if match else (None, "")
        else:
            node, interface = None, ""
        if node is None:
            self._refuse(path, f"{str(endpoint)[:60]!r} is no endpoint", "write node:interface, as in leaf1:eth1")
        return str(node), str(interface)

    def _at(self, path: tuple[str | int, ...]) -> Any:
        value: Any = self._document
        for step in path:
            if isinstance(value, dict):
                value = value.get(str(step))
            elif isinstance(value, list) and isinstance(step, int):
                value = value[step]
            else:
                return None
        return value

    def _mapping(self, path: tuple[str | int, ...]) -> Mapping[str, Any]:
        value = self._at(path)
        if value is None:
            return {}
        if not isinstance(value, dict):
            self._refuse(path, f"{path[-1]} must be a mapping", "see the format's manual")
        return value

    def _line(self, path: tuple[str | int, ...]) -> int:
        return line_of(self._document, path)

    def _refuse(self, path: tuple[str | int, ...], message: str, hint: str) -> NoReturn:
        refuse(message, hint, self._file, self._line(path), path_text(path))
