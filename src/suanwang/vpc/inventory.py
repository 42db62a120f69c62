"""Keeping the records of the VPC room up to date, and knowing what a change touches.

`put` and `delete` take one resource each and note in `touched` which fragments must be made anew: the common one of a
VPC, or
those of one node in it. What can't be placed (its VPC, subnet or node is not there) is put aside as a problem, and
tried again when something of the kind that it lacks appears.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from suanwang.model.errors import INVALID, SuanwangError, code
from suanwang.model.reference import Key
from suanwang.model.units import SIZE_UNITS, parse
from suanwang.vpc.records import (
    GroupRecord,
    NodeRecord,
    PortRecord,
    SubnetRecord,
    TableRecord,
    TenantRecord,
    VpcRecord,
    same_tenant,
    texts,
)

DANGLING_REFERENCE = code("DANGLING_REFERENCE", "a resource names another that does not exist")

DEFAULT_UNDERLAY_MTU_BYTES = 1500

UNREADABLE_DOCUMENT = (AttributeError, LookupError, TypeError, ValueError)
"""What comes of a document that admission would not have let through: written by another release, or by hand."""


def unreadable(key: Key, problem: Exception) -> SuanwangError:
    """The problem of such a document."""
    return SuanwangError(INVALID, f"{key} can't be read: {type(problem).__name__} {problem}", "apply it again")


class Touched:
    """Fragments to make anew: `common` VPCs, and nodes of VPCs (`ports`), where None stands for all nodes of the
    VPC.
    """

    __slots__ = ("common", "everywhere", "nodes", "ports")

    def __init__(self) -> None:
        self.common: set[VpcRecord] = set()
        self.ports: dict[VpcRecord, set[str]] = {}
        self.everywhere: set[VpcRecord] = set()
        self.nodes: set[str] = set()

    def port(self, vpc: VpcRecord, node: str) -> None:
        """The ports of `vpc` on `node` changed."""
        self.ports.setdefault(vpc, set()).add(node)


class Inventory:
    """All records of the room."""

    def __init__(self) -> None:
        self.tenants: dict[str, TenantRecord] = {}
        self.nodes: dict[str, NodeRecord] = {}
        self.mtu_bytes: dict[str, int] = {}
        self.vpcs_on: dict[str, set[VpcRecord]] = {}
        self.problems: dict[Key, SuanwangError] = {}
        self.touched = Touched()
        self._aside: dict[Key, Mapping[str, Any]] = {}
        self._put: dict[str, Callable[[Key, Mapping[str, Any]], None]] = {
            "Region": self._put_region,
            "Node": self._put_node,
            "Vpc": self._put_vpc,
            "PrefixList": self._put_list,
            "SecurityGroup": self._put_group,
            "RouteTable": self._put_table,
            "Subnet": self._put_subnet,
            "Port": self._put_port,
        }
        self._delete: dict[str, Callable[[Key], None]] = {
            "Region": self._delete_region,
            "Node": self._delete_node,
            "Vpc": self._delete_vpc,
            "PrefixList": self._delete_list,
            "SecurityGroup": self._delete_group,
            "RouteTable": self._delete_table,
            "Subnet": self._delete_subnet,
            "Port": self._delete_port,
        }

    KINDS = ("Region", "Node", "Vpc", "PrefixList", "SecurityGroup", "RouteTable", "Subnet", "Port")
    """Kinds in the order in which they lean on each other."""

    def put(self, key: Key, document: Mapping[str, Any]) -> None:
        """Take over a resource's new document; never fails. One that can't be placed leaves the record as it was."""
        self.problems.pop(key, None)
        self._aside.pop(key, None)
        try:
            self._put[key.kind](key, document)
        except SuanwangError as problem:
            self.problems[key] = problem
            self._aside[key] = document
        except UNREADABLE_DOCUMENT as problem:
            self.problems[key] = unreadable(key, problem)
            self._aside[key] = document

    def delete(self, key: Key) -> None:
        """Forget a resource."""
        self.problems.pop(key, None)
        self._aside.pop(key, None)
        self._delete[key.kind](key)

    def retry(self) -> list[Key]:
        """Try again what was put aside; returns what that was."""
        tried = sorted(self._aside, key=lambda key: self.KINDS.index(key.kind))
        for key in tried:
            self.put(key, self._aside[key])
        return tried

    def tenant(self, name: str) -> TenantRecord:
        """The tenant's records, made when first asked for."""
        found = self.tenants.get(name)
        if found is None:
            found = self.tenants[name] = TenantRecord()
        return found

    def port(self, title: str) -> PortRecord | None:
        """The port called `tenant/name`."""
        tenant, _, name = title.partition("/")
        found = self.tenants.get(tenant)
        return found.ports.get(name) if found else None

    def vpc(self, netns: str) -> VpcRecord | None:
        """The VPC whose fragments have this owner (`vpc/TENANT/NAME`)."""
        _, _, title = netns.partition("/")
        tenant, _, name = title.partition("/")
        found = self.tenants.get(tenant)
        return found.vpcs.get(name) if found and netns.startswith("vpc/") else None

    def underlay_mtu_bytes(self, node: NodeRecord) -> int:
        """The largest packet that the underlay of a node's region carries."""
        return self.mtu_bytes.get(node.region, DEFAULT_UNDERLAY_MTU_BYTES)

    def affected(self, key: Key, document: Mapping[str, Any] | None) -> set[VpcRecord]:
        """VPCs, of those that are there, that putting this document (None: deleting) may touch."""
        spec = document.get("spec") if document else None
        spec = spec if isinstance(spec, dict) else {}
        tenant = self.tenant(key.tenant)
        if key.kind in ("Region", "Node"):
            nodes = self._nodes_of_region(key, document) if key.kind == "Region" else self._moved_node(key, document)
            return {vpc for node in nodes for vpc in self.vpcs_on.get(node, ())}
        if key.kind == "Vpc":
            found = [tenant.vpcs.get(key.name)]
        elif key.kind == "PrefixList":
            found = [group.vpc for group in tenant.groups.values() if key.name in group.lists]
        elif key.kind == "Port":
            port, subnet = tenant.ports.get(key.name), tenant.subnets.get(str(spec.get("subnet")))
            found = [port.subnet.vpc if port else None, subnet.vpc if subnet else None]
        else:
            record: SubnetRecord | GroupRecord | TableRecord | None
            if key.kind == "Subnet":
                record = tenant.subnets.get(key.name)
            else:
                record = (tenant.groups if key.kind == "SecurityGroup" else tenant.tables).get(key.name)
            found = [record.vpc if record else None, tenant.vpcs.get(str(spec.get("vpc")))]
        return {vpc for vpc in found if vpc is not None}

    def _moved_node(self, key: Key, document: Mapping[str, Any] | None) -> list[str]:
        old = self.nodes.get(key.name)
        try:
            new = NodeRecord(key.name, document) if document is not None else None
        except UNREADABLE_DOCUMENT:
            return []
        same = old is not None and new is not None and (old.endpoint, old.region) == (new.endpoint, new.region)
        return [] if same else [key.name]

    def _nodes_of_region(self, key: Key, document: Mapping[str, Any] | None) -> list[str]:
        try:
            mtu_bytes = _underlay_mtu_bytes(document) if document is not None else None
        except UNREADABLE_DOCUMENT:
            return []
        if mtu_bytes == self.mtu_bytes.get(key.name):
            return []
        return [node.name for node in self.nodes.values() if node.region == key.name]

    def prefixes(self, tenant: str) -> Callable[[str], tuple[str, ...]]:
        """How to get a prefix list's content within a tenant; one that is missing matches nothing."""
        lists = self.tenant(tenant).lists
        return lambda name: lists.get(name, ())

    # Region and Node: what the overlay takes from the underlay.

    def _put_region(self, key: Key, document: Mapping[str, Any]) -> None:
        mtu_bytes = _underlay_mtu_bytes(document)
        self.touched.nodes.update(self._nodes_of_region(key, document))
        self.mtu_bytes[key.name] = mtu_bytes

    def _delete_region(self, key: Key) -> None:
        self.touched.nodes.update(self._nodes_of_region(key, None))
        self.mtu_bytes.pop(key.name, None)

    def _put_node(self, key: Key, document: Mapping[str, Any]) -> None:
        new = NodeRecord(key.name, document)
        self.touched.nodes.update(self._moved_node(key, document))
        self.nodes[key.name] = new

    def _delete_node(self, key: Key) -> None:
        if self.nodes.pop(key.name, None) is not None:
            self.touched.nodes.add(key.name)

    # Vpc and what is in it.

    def _put_vpc(self, key: Key, document: Mapping[str, Any]) -> None:
        vpcs = self.tenant(key.tenant).vpcs
        present = vpcs.get(key.name)
        if present is None:
            vpcs[key.name] = VpcRecord(key.tenant, key.name, document)
            return
        vni = present.vni
        present.update(document)
        self.touched.common.add(present)
        if vni != present.vni:
            self.touched.everywhere.add(present)

    def _delete_vpc(self, key: Key) -> None:
        vpc = self.tenant(key.tenant).vpcs.pop(key.name, None)
        if vpc is not None:
            for node in list(vpc.ports):
                vpc.ports.pop(node)
                self.vpcs_on[node].discard(vpc)
                self.touched.port(vpc, node)

    def _vpc(self, key: Key, reference: str) -> VpcRecord:
        name = same_tenant(reference, key.tenant)
        vpc = self.tenant(key.tenant).vpcs.get(name or "")
        if vpc is None:
            raise SuanwangError(
                DANGLING_REFERENCE, f"{key} names vpc {reference!r}, which does not exist", "declare it too"
            )
        return vpc

    def _put_list(self, key: Key, document: Mapping[str, Any]) -> None:
        tenant = self.tenant(key.tenant)
        tenant.lists[key.name] = texts(document["spec"]["prefixes"])
        self._touch_list_users(tenant, key.name)

    def _delete_list(self, key: Key) -> None:
        tenant = self.tenant(key.tenant)
        if tenant.lists.pop(key.name, None) is not None:
            self._touch_list_users(tenant, key.name)

    def _touch_list_users(self, tenant: TenantRecord, name: str) -> None:
        for group in tenant.groups.values():
            if name in group.lists:
                self.touched.common.add(group.vpc)

    def _put_group(self, key: Key, document: Mapping[str, Any]) -> None:
        vpc = self._vpc(key, document["spec"]["vpc"])
        tenant = self.tenant(key.tenant)
        new = GroupRecord(key.name, vpc, document)
        present = tenant.groups.get(key.name)
        stays = present is not None and present.vpc is vpc
        if not stays:
            self._drop_group(tenant, key.name)
        tenant.groups[key.name] = vpc.groups[key.name] = new
        self._touch_group(vpc, everyone=not stays)

    def _delete_group(self, key: Key) -> None:
        self._drop_group(self.tenant(key.tenant), key.name)

    def _drop_group(self, tenant: TenantRecord, name: str) -> None:
        present = tenant.groups.pop(name, None)
        if present is not None:
            present.vpc.groups.pop(name, None)
            self._touch_group(present.vpc, everyone=True)

    def _touch_group(self, vpc: VpcRecord, everyone: bool) -> None:
        self.touched.common.add(vpc)
        peers = frozenset().union(*(group.peers for group in vpc.groups.values()))
        if peers != vpc.peers or everyone:
            # Ports tell which groups they are in, and their membership of those that rules name: so when a group comes
            # or goes, or another set of groups is named, it concerns every port.
            vpc.peers = peers
            self.touched.everywhere.add(vpc)

    def _put_table(self, key: Key, document: Mapping[str, Any]) -> None:
        vpc = self._vpc(key, document["spec"]["vpc"])
        tenant = self.tenant(key.tenant)
        new = TableRecord(key.name, vpc, document)
        self._drop_table(tenant, key.name)
        tenant.tables[key.name] = vpc.tables[key.name] = new
        self._touch_table(vpc)

    def _delete_table(self, key: Key) -> None:
        self._drop_table(self.tenant(key.tenant), key.name)

    def _drop_table(self, tenant: TenantRecord, name: str) -> None:
        present = tenant.tables.pop(name, None)
        if present is not None:
            present.vpc.tables.pop(name, None)
            self._touch_table(present.vpc)

    def _touch_table(self, vpc: VpcRecord) -> None:
        self.touched.common.add(vpc)
        self.touched.everywhere.add(vpc)

    def _put_subnet(self, key: Key, document: Mapping[str, Any]) -> None:
        vpc = self._vpc(key, document["spec"]["vpc"])
        subnets = self.tenant(key.tenant).subnets
        present = subnets.get(key.name)
        new = SubnetRecord(key.name, vpc, document)
        if present is None or present.vpc is not vpc:
            # Its ports, which can't but change with it, keep the old record until then: it knows where they are.
            subnets[key.name] = new
            return
        # Ports hold on to the record of their subnet, so it is changed in place.
        for field in SubnetRecord.__slots__:
            setattr(present, field, getattr(new, field))
        self.touched.everywhere.add(vpc)

    def _delete_subnet(self, key: Key) -> None:
        self.tenant(key.tenant).subnets.pop(key.name, None)

    def _put_port(self, key: Key, document: Mapping[str, Any]) -> None:
        tenant = self.tenant(key.tenant)
        subnet = tenant.subnets.get(document["spec"]["subnet"])
        if subnet is None:
            message = f"{key} names subnet {document['spec']['subnet']!r}, which does not exist"
            raise SuanwangError(DANGLING_REFERENCE, message, "declare it too")
        port = PortRecord(key.tenant, key.name, subnet, document)
        self._drop_port(tenant, key.name)
        tenant.ports[key.name] = port
        if port.node:
            vpc = subnet.vpc
            # In order of names, so that fragments are the same whatever came first.
            vpc.ports[port.node] = tuple(sorted((*vpc.ports.get(port.node, ()), port), key=lambda one: one.name))
            if len(vpc.ports[port.node]) == 1:
                self.vpcs_on.setdefault(port.node, set()).add(vpc)
            self._touch_port(vpc, port)

    def _delete_port(self, key: Key) -> None:
        self._drop_port(self.tenant(key.tenant), key.name)

    def _drop_port(self, tenant: TenantRecord, name: str) -> None:
        present = tenant.ports.pop(name, None)
        if present is None or not present.node:
            return
        vpc = present.subnet.vpc
        left = tuple(port for port in vpc.ports.get(present.node, ()) if port is not present)
        if left:
            vpc.ports[present.node] = left
        elif vpc.ports.pop(present.node, None) is not None:
            self.vpcs_on[present.node].discard(vpc)
        self._touch_port(vpc, present)

    def _touch_port(self, vpc: VpcRecord, port: PortRecord) -> None:
        self.touched.port(vpc, port.node)
        if any(name == port.name for table in vpc.tables.values() for _, name in table.next_hops):
            # Routes to a port that is on no node drop what they match, on all nodes.
            self.touched.common.add(vpc)


def _underlay_mtu_bytes(region: Mapping[str, Any]) -> int:
    text = region["spec"].get("underlay", {}).get("mtu")
    return parse(text, SIZE_UNITS, "1500B") if text else DEFAULT_UNDERLAY_MTU_BYTES
