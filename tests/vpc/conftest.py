from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from suanwang.controller.engine import Applied, Controller
from suanwang.controller.plan import Plan
from suanwang.model.reading import read_text
from suanwang.model.reference import Key
from suanwang.model.registry import Resource, load
from suanwang.model.resource import read_documents
from suanwang.store import SqliteStore


class Everything(frozenset[str]):
    """Accepts whatever breaks: what assertions expect is not what these tests are about."""

    def __contains__(self, subject: object) -> bool:
        return True


class World:
    """A controller over a store in memory, told what to do by YAML."""

    def __init__(self) -> None:
        self.registry = load()
        self.store = SqliteStore(":memory:")
        self.controller = Controller(self.store, self.registry)

    def restart(self) -> None:
        """Another controller process on the same store."""
        self.controller = Controller(self.store, self.registry)

    def read(self, text: str) -> list[Resource]:
        return read_documents([("world.yaml", one) for one in read_text(text, "world.yaml")], self.registry)

    def apply(self, text: str = "", delete: Iterable[Key] = (), **options: Any) -> Applied:
        return self.carry_out(self.controller.plan(self.read(text), delete, **options))

    def carry_out(self, plan: Plan) -> Applied:
        """Apply a plan whatever it breaks."""
        return self.controller.apply(plan, "test", accept=Everything())

    def roll_back(self, revision: int) -> Applied:
        """Go back to a revision whatever that breaks."""
        return self.controller.rollback(revision, "test", accept=Everything())

    def text(self, node: str) -> str:
        return self.controller.program(node).text()


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.store.close()
