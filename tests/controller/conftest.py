from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from suanwang.controller.engine import Applied, Controller
from suanwang.controller.plan import Plan
from suanwang.model.reading import read_text
from suanwang.model.reference import Key
from suanwang.model.registry import Resource, load
from suanwang.model.resource import decode, read_documents
from suanwang.store import SqliteStore

BASE = """\
{kind: Region, metadata: {name: east}, spec: {}}
---
{kind: Node, metadata: {name: host-1}, spec: {region: east, roles: [host], address: 192.0.2.1}}
---
{kind: Node, metadata: {name: host-2}, spec: {region: east, roles: [host], address: 192.0.2.2}}
---
{kind: Tenant, metadata: {name: retail}}
---
{kind: Tenant, metadata: {name: bank}}
---
{kind: Vpc, metadata: {name: shop, tenant: retail}, spec: {cidrs: [10.0.0.0/16], vni: 100}}
---
{kind: Subnet, metadata: {name: web, tenant: retail}, spec: {vpc: shop, cidr: 10.0.1.0/24}}
---
{kind: Port, metadata: {name: web-1, tenant: retail}, spec: {subnet: web, node: host-1}}
"""


class World:
    """A controller over a store in memory, told what to do by YAML (its `apiVersion` is added)."""

    def __init__(self) -> None:
        self.registry = load()
        self.store = SqliteStore(":memory:")
        self.controller = Controller(self.store, self.registry)
        self.apply(BASE)

    def read(self, text: str) -> list[Resource]:
        documents = read_text(text, "world.yaml")
        for document in documents:
            document["apiVersion"] = "suanwang/v1"
        return read_documents([("world.yaml", one) for one in documents], self.registry)

    def plan(self, text: str = "", delete: Iterable[str] = (), **options: Any) -> Plan:
        keys = [
            Key(*name.split("/")) if name.count("/") == 2 else Key(*name.replace("/", "//").split("/"))
            for name in delete
        ]
        return self.controller.plan(self.read(text), keys, **options)

    def apply(self, text: str = "", delete: Iterable[str] = (), **options: Any) -> Applied:
        return self.controller.apply(self.plan(text, delete, **options), "test")

    def stored(self, kind: str, tenant: str, name: str) -> dict[str, Any]:
        entry = self.store.get(Key(kind, tenant, name))
        assert entry is not None
        return decode(entry.body)

    def everything(self) -> tuple[Any, ...]:
        """All that the store and the controller hold, to see that nothing changed."""
        entries = tuple(self.store.list())
        claims = tuple(tuple(self.store.claims(entry.key)) for entry in entries)
        hashes = tuple(self.controller.hash(node) for node in ("host-1", "host-2"))
        return self.store.revision, entries, claims, hashes


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.store.close()
