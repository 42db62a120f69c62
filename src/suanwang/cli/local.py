"""The controller in process, over a store in memory: for commands that compile files without a server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from suanwang.cli.sources import Declared
from suanwang.controller.engine import Controller
from suanwang.model.addresses import read_address
from suanwang.model.reference import Key
from suanwang.model.registry import load
from suanwang.proof.walk import Trace
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
        # Nothing runs here, so nothing can be broken: whoever asks wants to see how it is.
        alone.apply(plan, "files", accept={one.subject for one in plan.broken})
        yield alone


def prove_alone(declared: Declared, tenant: str) -> dict[str, Any]:
    """The proof of what the files declare, as the server would answer it."""
    with controller() as alone:
        plan = alone.plan(declared.resources, places=declared.places)
        found = [one for one in plan.broken if not tenant or f"{tenant}/" in one.subject]
        return {
            "proven": not found,
            "findings": msgspec.to_builtins(found),
            "assertions": plan.assertions_proven,
            "components": plan.networks_proven,
        }


def trace_alone(declared: Declared, body: dict[str, Any]) -> dict[str, Any]:
    """The way of a packet in what the files declare, as the server would answer it."""
    source = Key("Port", body["tenant"], body["portName"])
    named = body.get("toName")
    destination = Key("Port", body["toTenant"], named) if named else read_address(body["address"])
    with applied(declared) as alone:
        there, back = alone.trace(source, destination, body["protocol"], body["port"], body["version"])
        return {"there": way(there), "back": way(back) if back is not None else None}


def way(found: Trace) -> dict[str, Any]:
    """A packet's way in stable fields."""
    steps = [
        {"node": step.node, "netns": step.netns, "what": step.what, "code": step.code, "detail": step.detail}
        for step in found.steps
    ]
    ended = {"packet": str(found.packet), "code": found.code, "delivered": found.delivered, "port": found.port}
    return {**ended, "steps": steps}
