from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from suanwang.controller.admission import Change, admit
from suanwang.model.reference import Key
from suanwang.model.registry import Registry
from suanwang.model.resource import API_VERSION, check, decode
from suanwang.store import SqliteStore
from suanwang.topology.capability import CAPABILITY

REGISTRY = Registry([CAPABILITY])


class Declared:
    """A store into which documents are admitted as the controller does it."""

    def __init__(self, store: SqliteStore) -> None:
        self.store = store

    def apply(self, *documents: dict[str, Any], delete: tuple[Key, ...] = ()) -> list[Change]:
        resources = [check(document, REGISTRY) for document in documents]
        with self.store.begin("test") as transaction:
            return admit(transaction, REGISTRY, resources, delete)

    def allocation(self, kind: str, name: str) -> dict[str, Any]:
        entry = self.store.get(Key(kind, "", name))
        assert entry is not None
        return decode(entry.body)["allocation"]

    def documents(self) -> list[tuple[Key, dict[str, Any]]]:
        return [(entry.key, decode(entry.body)) for entry in self.store.list()]


@pytest.fixture
def registry() -> Registry:
    return REGISTRY


@pytest.fixture
def declared() -> Iterator[Declared]:
    with SqliteStore(":memory:") as store:
        yield Declared(store)


@pytest.fixture
def document() -> Callable[..., dict[str, Any]]:
    def make(kind: str, name: str, **spec: Any) -> dict[str, Any]:
        return {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec}

    return make
