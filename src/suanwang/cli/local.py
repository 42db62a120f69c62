"""The controller in process, over a store in memory: for commands that compile files without a server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from suanwang.cli.sources import Declared
from suanwang.controller.engine import Controller
from suanwang.model.registry import load
from suanwang.store.sqlite import SqliteStore


@contextmanager
def controller() -> Iterator[Controller]:
    """A controller with nothing declared; gone afterwards."""
    with SqliteStore(":memory:") as store:
        yield Controller(store, load())


def plan_alone(declared: Declared, set_name: str) -> dict[str, Any]:
    """The plan that the files make of nothing, as the server would answer it."""
    with controller() as alone:
        plan = alone.plan(declared.resources, set_name=set_name, places=declared.places)
        return dict(msgspec.to_builtins(plan))


@contextmanager
def applied(declared: Declared) -> Iterator[Controller]:
    """A controller that holds just what the files declare."""
    with controller() as alone:
        plan = alone.plan(declared.resources, places=declared.places)
        alone.apply(plan, "files")
        yield alone
