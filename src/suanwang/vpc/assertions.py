"""Assertions between ports, compiled to probes on the sender's node and responders on the receiver's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from typing import Any

from suanwang.model.addresses import is_ipv6
from suanwang.model.errors import SuanwangError, code
from suanwang.model.reference import Key, resolve
from suanwang.program.fragment import Fragment, fragment
from suanwang.program.objects import Probe, Responder
from suanwang.vpc.inventory import DANGLING_REFERENCE, UNREADABLE_DOCUMENT, Inventory, unreadable
from suanwang.vpc.records import PortRecord, text

NOT_ATTACHED = code("NOT_ATTACHED", "a port that must send or receive is on no node")
NO_COMMON_VERSION = code("NO_COMMON_VERSION", "the two ends have no address of the same IP version")


class Assertions:
    """The assertions of all tenants and their fragments."""

    def __init__(self, inventory: Inventory) -> None:
        self._inventory = inventory
        self._documents: dict[Key, Mapping[str, Any]] = {}
        self._by_port: dict[str, set[Key]] = {}
        self._ports_of: dict[Key, tuple[str, ...]] = {}
        self._dirty: set[Key] = set()
        self._placed: dict[Key, tuple[tuple[str, Fragment], ...]] = {}
        self._on_node: dict[str, dict[str, dict[str, Fragment]]] = {}
        self.problems: dict[Key, SuanwangError] = {}

    def put(self, key: Key, document: Mapping[str, Any]) -> None:
        """Take over an assertion; never fails."""
        self._forget_ports(key)
        self._documents[key] = document
        try:
            spec = document["spec"]
            ends = [spec["from"]["port"], spec["to"].get("port")]
            titles = tuple(resolve("Port", end, key.tenant).title for end in ends if end)
        except UNREADABLE_DOCUMENT:
            titles = ()  # `settle` finds it out again and tells
        self._ports_of[key] = titles
        for title in titles:
            self._by_port.setdefault(title, set()).add(key)
        self._dirty.add(key)

    def delete(self, key: Key) -> None:
        """Forget an assertion."""
        self._forget_ports(key)
        self._documents.pop(key, None)
        self._dirty.add(key)

    def port_changed(self, key: Key) -> None:
        """A port that an assertion may name was changed or deleted."""
        self._dirty |= self._by_port.get(key.title, set())

    def settle(self) -> dict[tuple[str, str], int]:
        """Compile what changed; returns by how much a node's fingerprint moves for an owner: {(node, owner): delta}."""
        deltas: dict[tuple[str, str], int] = {}
        for key in sorted(self._dirty):
            for node, part in self._placed.pop(key, ()):
                owned = self._on_node[node][part.owner]
                del owned[part.part]
                if not owned:
                    del self._on_node[node][part.owner]
                deltas[node, part.owner] = deltas.get((node, part.owner), 0) - part.fingerprint
            self.problems.pop(key, None)
            if key not in self._documents:
                continue
            try:
                placed = tuple(self._compile(key, self._documents[key]["spec"]))
            except SuanwangError as problem:
                self.problems[key] = problem
                continue
            except UNREADABLE_DOCUMENT as problem:
                self.problems[key] = unreadable(key, problem)
                continue
            self._placed[key] = placed
            for node, part in placed:
                self._on_node.setdefault(node, {}).setdefault(part.owner, {})[part.part] = part
                deltas[node, part.owner] = deltas.get((node, part.owner), 0) + part.fingerprint
        self._dirty.clear()
        return deltas

    def fragments(self, node: str, owners: Set[str] | None) -> Iterator[Fragment]:
        """The probes and responders of a node."""
        present = self._on_node.get(node, {})
        for owner in present if owners is None else owners:
            yield from present.get(owner, {}).values()

    def placed(self, key: Key) -> tuple[tuple[str, Fragment], ...]:
        """(node, fragment) of an assertion."""
        return self._placed.get(key, ())

    def owners(self) -> Iterator[str]:
        """Owners of all fragments."""
        for key in self._placed:
            yield _owner(key)

    def nodes_of(self, owner: str) -> list[str]:
        """Nodes with the probe or responder of an assertion."""
        return list(dict.fromkeys(node for node, _ in self._placed.get(_key(owner), ())))

    def naming(self, title: str) -> list[str]:
        """Owners of the assertions that name a port."""
        return [_owner(key) for key in self._by_port.get(title, ())]

    def networks_of(self, owner: str) -> set[str]:
        """Owners of the VPCs of the ports that an assertion names."""
        ports = (self._inventory.port(title) for title in self._ports_of.get(_key(owner), ()))
        return {port.subnet.vpc.netns for port in ports if port is not None}

    def nodes(self) -> set[str]:
        """Nodes with a probe or a responder."""
        return {node for node, parts in self._on_node.items() if parts}

    def _forget_ports(self, key: Key) -> None:
        for title in self._ports_of.pop(key, ()):
            self._by_port[title].discard(key)

    def _port(self, key: Key, reference: str) -> PortRecord:
        title = resolve("Port", reference, key.tenant).title
        port = self._inventory.port(title)
        if port is None:
            raise SuanwangError(
                DANGLING_REFERENCE, f"{key} names port {title!r}, which does not exist", "declare it too"
            )
        if not port.node:
            raise SuanwangError(NOT_ATTACHED, f"port {title} of {key} is on no node", "give the port a node")
        return port

    def _compile(self, key: Key, spec: Mapping[str, Any]) -> Iterator[tuple[str, Fragment]]:
        source = self._port(key, spec["from"]["port"])
        target = self._port(key, spec["to"]["port"]) if spec["to"].get("port") else None
        candidates = target.addresses if target else (text(spec["to"]["address"]),)
        wanted = spec.get("version")
        for destination in candidates:
            version = 6 if is_ipv6(destination) else 4
            own = next((address for address in source.addresses if is_ipv6(address) == is_ipv6(destination)), None)
            if own is not None and wanted in (None, version):
                break
        else:
            what = f"IPv{wanted}" if wanted else "IP version"
            message = f"{key}: {source.title} and {', '.join(candidates)} share no {what}"
            raise SuanwangError(NO_COMMON_VERSION, message, "give both ports' subnets the same IP version")
        protocol, number, expect = (
            text(spec.get("protocol", "icmp")),
            spec.get("port") or 0,
            spec.get("expect", "allowed"),
        )
        if type(number) is not int or expect not in ("allowed", "denied"):
            raise ValueError(f"port {number!r}, expect {expect!r}")
        owner = _owner(key)
        answerer = target.title if target and protocol != "icmp" else ""
        probe = Probe(key.title, f"port/{source.title}", protocol, own or "", destination, number, expect, answerer)
        yield source.node, fragment(owner, "probe", [probe])
        if target is not None and protocol != "icmp":
            netns = f"port/{target.title}"
            responder = Responder(key.title, netns, protocol, destination, number, target.title)
            yield target.node, fragment(owner, "responder", [responder])


def _owner(key: Key) -> str:
    return f"assertion/{key.title}"


def _key(owner: str) -> Key:
    _, tenant, name = (*owner.split("/", 2), "", "")[:3]
    return Key("Assertion", tenant, name)
