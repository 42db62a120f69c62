"""The VPC room's compiler: the inventory, the fragments made from it, and sums that follow changes in constant time.

What a node's program holds of this room has a fingerprint that is a sum, so when one fragment of a VPC changes, every
node of
the VPC follows by one addition. A VPC is compiled when a change touches it or a node with it is asked for, not before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Set
from typing import Any

from suanwang.model.errors import SuanwangError
from suanwang.model.reference import Key
from suanwang.model.registry import Endpoint
from suanwang.program.fragment import MODULUS, Fragment
from suanwang.vpc.assertions import Assertions
from suanwang.vpc.compile import common, local, reach
from suanwang.vpc.inventory import Inventory, Touched
from suanwang.vpc.records import VpcRecord

_RANK = {kind: rank for rank, kind in enumerate((*Inventory.KINDS, "Assertion"))}


class VpcCompiler:
    """Implements `model.registry.Compiler` for VPCs."""

    def __init__(self) -> None:
        self.inventory = Inventory()
        self.assertions = Assertions(self.inventory)
        self._noted: dict[Key, Mapping[str, Any] | None] = {}
        self._sums: dict[str, int] = {}

    def load(self, key: Key, document: Mapping[str, Any]) -> None:
        """Take over a resource at start; kinds must come in the order in which they lean on each other."""
        if key.kind == "Assertion":
            self.assertions.put(key, document)
        elif key.kind in _RANK:
            self.inventory.put(key, document)

    def loaded(self) -> None:
        """All resources are there: nothing is compiled, so nothing is touched."""
        self.inventory.retry()
        self.inventory.touched = Touched()
        self.assertions.settle()

    def change(self, key: Key, document: Mapping[str, Any] | None) -> None:
        """Take note of a change."""
        if key.kind in _RANK:
            self._noted[key] = document

    def settle(self) -> dict[str, set[str]]:
        """Bring inventory and fragments up to date; returns, by node, the owners whose fragments changed."""
        self._absorb()
        touched, self.inventory.touched = self.inventory.touched, Touched()
        changed: dict[str, set[str]] = {}
        for node in touched.nodes:
            for vpc in self.inventory.vpcs_on.get(node, ()):
                touched.port(vpc, node)
        for vpc in touched.everywhere:
            touched.ports.setdefault(vpc, set()).update(vpc.ports)
        for vpc in touched.ports.keys() | touched.common:
            for node, delta in self._compile(vpc, vpc in touched.common, touched.ports.get(vpc, set())):
                self._move(node, vpc.netns, delta, changed)
        for (node, owner), delta in self.assertions.settle().items():
            self._move(node, owner, delta, changed)
        return changed

    def fragments(self, node: str, owners: Set[str] | None = None) -> Iterator[Fragment]:
        """The fragments of a node's program, or those of some owners."""
        vpcs = self.inventory.vpcs_on.get(node, set())
        if owners is None:
            present = sorted(vpcs, key=lambda vpc: vpc.netns)
        else:
            present = [vpc for vpc in map(self.inventory.vpc, owners) if vpc in vpcs]
        for vpc in present:
            assert vpc is not None
            self._ensure(vpc)
            if node not in vpc.local:
                continue
            assert vpc.common is not None
            yield vpc.common
            yield vpc.local[node]
            for other, part in vpc.reach.items():
                if other != node:
                    yield part
        yield from self.assertions.fragments(node, owners)

    def owners(self) -> Iterator[str]:
        """All VPCs with ports on nodes, and all assertions that are compiled."""
        for vpc in {vpc for vpcs in self.inventory.vpcs_on.values() for vpc in vpcs}:
            yield vpc.netns
        yield from self.assertions.owners()

    def nodes_of(self, owner: str) -> list[str]:
        """Nodes with ports of a VPC, or with the probe or responder of an assertion."""
        vpc = self.inventory.vpc(owner)
        return list(vpc.ports) if vpc is not None else self.assertions.nodes_of(owner)

    def related(self, owner: str) -> set[str]:
        """Of a VPC the assertions that name its ports; of an assertion the VPCs of the ports that it names."""
        vpc = self.inventory.vpc(owner)
        if vpc is None:
            return self.assertions.networks_of(owner)
        titles = (port.title for ports in vpc.ports.values() for port in ports)
        return {name for title in titles for name in self.assertions.naming(title)}

    def endpoint(self, key: Key) -> Endpoint | None:
        """A port's workload."""
        port = self.inventory.port(key.title) if key.kind == "Port" else None
        return Endpoint(port.subnet.vpc.netns, f"port/{port.title}", port.addresses) if port is not None else None

    def fingerprint(self, node: str) -> int:
        """Sum of the fingerprints of `fragments(node)`."""
        known = self._sums.get(node)
        if known is None:
            known = sum(part.fingerprint for part in self.fragments(node)) % MODULUS
            self._sums[node] = known
        return known

    def problems(self) -> Mapping[Key, SuanwangError]:
        """Resources that could not be placed or compiled."""
        return {**self.inventory.problems, **self.assertions.problems}

    def placed(self, key: Key) -> Iterable[tuple[str, Fragment]]:
        """Fragments of an assertion's own: its probe and its responder."""
        return self.assertions.placed(key)

    def nodes(self) -> Iterable[str]:
        """Nodes that have a port or a probe."""
        return {node for node, vpcs in self.inventory.vpcs_on.items() if vpcs} | self.assertions.nodes()

    def _absorb(self) -> None:
        noted, self._noted = self._noted, {}
        ordered = sorted(noted, key=lambda key: _RANK[key.kind])
        for key in ordered:
            if key.kind != "Assertion":
                # What a node had before decides whether its program changes, so it is made first if nobody asked yet.
                for vpc in self.inventory.affected(key, noted[key]):
                    self._ensure(vpc)
        appeared = False
        for key in ordered:
            document = noted[key]
            if document is None:
                continue
            if key.kind == "Assertion":
                self.assertions.put(key, document)
            else:
                self.inventory.put(key, document)
                appeared = appeared or key.kind != "Port"
        for key in reversed(ordered):
            if noted[key] is None:
                if key.kind == "Assertion":
                    self.assertions.delete(key)
                else:
                    self.inventory.delete(key)
        if appeared:
            ordered += self.inventory.retry()
        for key in ordered:
            if key.kind == "Port":
                self.assertions.port_changed(key)

    def _ensure(self, vpc: VpcRecord) -> None:
        if vpc.common is None:
            for _ in self._compile(vpc, True, set(vpc.ports)):
                pass

    def _compile(self, vpc: VpcRecord, common_too: bool, nodes: set[str]) -> Iterator[tuple[str, int]]:
        """Make the VPC's fragments anew: of `nodes`, and the common one if asked.

        Yields each node whose program changed, with the change of its fingerprint. A node's share in a VPC is
        common + sum of all reaches - its own reach + its local.
        """
        inventory = self.inventory
        if vpc.common is None:
            common_too, nodes = True, nodes | set(vpc.ports)
        old_common, old_sum = vpc.common.fingerprint if vpc.common else 0, vpc.reach_sum
        if common_too:
            vpc.common = common(vpc, inventory.prefixes(vpc.tenant))
        assert vpc.common is not None
        before = set(vpc.local)
        old_own: dict[str, int] = {}
        for node in nodes:
            old_local, old_reach = vpc.local.pop(node, None), vpc.reach.pop(node, None)
            if old_local is not None and old_reach is not None:
                old_own[node] = old_local.fingerprint - old_reach.fingerprint
                vpc.reach_sum -= old_reach.fingerprint
            record = inventory.nodes.get(node)
            if record is not None and node in vpc.ports:
                vpc.local[node] = local(vpc, record, inventory.underlay_mtu_bytes(record))
                vpc.reach[node] = reach(vpc, record)
                vpc.reach_sum += vpc.reach[node].fingerprint
        everyone = vpc.common.fingerprint + vpc.reach_sum - old_common - old_sum
        for node in before | vpc.local.keys():
            present = vpc.local.get(node)
            own = present.fingerprint - vpc.reach[node].fingerprint if present else 0
            if present is None:
                yield node, -(old_common + old_sum + old_own[node])
            elif node not in before:
                yield node, vpc.common.fingerprint + vpc.reach_sum + own
            else:
                yield node, everyone + (own - old_own[node] if node in old_own else 0)

    def _move(self, node: str, owner: str, delta: int, changed: dict[str, set[str]]) -> None:
        if delta % MODULUS:
            changed.setdefault(node, set()).add(owner)
            if node in self._sums:
                self._sums[node] = (self._sums[node] + delta) % MODULUS
