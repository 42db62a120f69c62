"""Handlers that change resources: plan, apply, delete, rollback; and the wait for agents to have carried it out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from dataclasses import replace
from typing import Annotated, Any

import msgspec
from aiohttp import web

from suanwang.api.authorization import concerns, redacted, require_change, require_references
from suanwang.api.call import Call, raw_json
from suanwang.api.messages import (
    AppliedAnswer,
    Body,
    ChangeNote,
    ObjectProblem,
    PlanRequest,
    RollbackRequest,
    Text,
    WaitAnswer,
)
from suanwang.api.resources import Actions
from suanwang.controller.engine import Applied
from suanwang.controller.node_states import Problem
from suanwang.controller.plan import Plan, PlannedChange, read_plan
from suanwang.measure.metrics import CONTROLLER_APPLY, CONTROLLER_COMPILE
from suanwang.model.errors import INVALID, ErrorList, SuanwangError
from suanwang.model.reference import Key, is_name
from suanwang.model.registry import Resource
from suanwang.model.resource import MOST_ERRORS, check, stored_document


class ApplyRequest(Body, frozen=True):
    """A plan as POST /v1/plan gave it, why it is carried out, and subjects of what it may break."""

    plan: dict[str, Any]
    message: Text = ""
    accept: Annotated[tuple[Text, ...], msgspec.Meta(max_length=1000)] = ()


async def plan(call: Call) -> web.Response:
    """What would change, and on which nodes."""
    body: PlanRequest = call.body
    if body.set and not is_name(body.set):
        raise SuanwangError(INVALID, f"{body.set!r} is no name for a set", "use lower-case letters, digits and -")
    made = await asyncio.to_thread(_plan, call, body)
    return raw_json(msgspec.json.encode(made))


def _plan(call: Call, body: PlanRequest) -> Plan:
    services, who = call.services, call.who
    resources = [replace(one, set=body.set) for one in _checked(call, body.documents)]
    deletions = [Key(services.registry.kind(one.kind).name, one.tenant, one.name) for one in body.delete]
    require_change(who, [resource.key for resource in resources])
    require_change(who, deletions)
    for resource in resources:
        require_references(who, services.registry, resource.key, stored_document(resource)["spec"])
    made = services.controller.plan(resources, deletions, prune=body.prune, set_name=body.set, scope=who.changes)
    # What admission adds by itself is held to the same rule.
    require_change(who, [change.key for change in made.changes])
    return made


def _checked(call: Call, documents: list[dict[str, Any]]) -> list[Resource]:
    errors: list[SuanwangError] = []
    resources: dict[Key, Resource] = {}
    for index, document in enumerate(documents):
        at = f"documents[{index}]"
        try:
            resource = check(document, call.services.registry, at)
        except SuanwangError as problem:
            errors += problem.errors if isinstance(problem, ErrorList) else [problem]
            if len(errors) >= MOST_ERRORS:
                break
            continue
        if resource.key in resources:
            errors.append(SuanwangError(INVALID, f"{resource.key} is declared twice", "keep one of the two"))
        resources[resource.key] = resource
    if errors:
        raise errors[0] if len(errors) == 1 else ErrorList(errors[:MOST_ERRORS])
    return list(resources.values())


async def apply(call: Call) -> AppliedAnswer:
    """Carry a plan out verbatim, or refuse it as stale."""
    body: ApplyRequest = call.body
    started = time.monotonic()

    def work() -> Applied:
        made = read_plan(body.plan)
        # The plan comes from outside: its seal is no signature, so all of it is asked again.
        require_change(call.who, [change.key for change in made.changes])
        for change in made.changes:
            if change.after is not None and isinstance(change.after.get("spec"), dict):
                require_references(call.who, call.services.registry, change.key, change.after["spec"])
        return call.services.controller.apply(made, call.who.name, body.message, body.accept)

    applied = await asyncio.to_thread(work)
    return await _answer(call, applied, started, _notes(applied.changes))


async def delete(call: Call) -> AppliedAnswer:
    """Delete one resource."""
    key = call.key()
    require_change(call.who, [key])
    started = time.monotonic()

    def work() -> Applied:
        made = call.services.controller.plan([], [key])
        require_change(call.who, [change.key for change in made.changes])
        return call.services.controller.apply(made, call.who.name, f"delete {key}")

    applied = await asyncio.to_thread(work)
    return await _answer(call, applied, started, _notes(applied.changes))


async def rollback(call: Call) -> AppliedAnswer:
    """Make all resources what they were at a revision. It concerns everyone, so it takes an admin."""
    body: RollbackRequest = call.body
    started = time.monotonic()
    store = call.services.store

    def work() -> tuple[Applied, list[ChangeNote]]:
        applied = call.services.controller.rollback(body.revision, call.who.name, body.message, body.accept)
        commits = store.history(since=applied.revision - 1, limit=1)
        actions = Actions(store)
        return applied, [ChangeNote(actions.of(c, one.revision), *c.key) for one in commits for c in one.changes]

    applied, notes = await asyncio.to_thread(work)
    return await _answer(call, applied, started, notes)


async def _answer(call: Call, applied: Applied, started: float, notes: list[ChangeNote]) -> AppliedAnswer:
    services = call.services
    services.figures.observe(CONTROLLER_APPLY, time.monotonic() - started)
    services.figures.observe(CONTROLLER_COMPILE, applied.compile_us / 1e6)
    # A deleted node's certificate is worth nothing any more when the answer arrives.
    await services.housekeeping.catch_up()
    return AppliedAnswer(applied.revision, list(applied.nodes), notes)


def _notes(changes: Iterable[PlannedChange]) -> list[ChangeNote]:
    return [
        ChangeNote("create" if change.before is None else "delete" if change.after is None else "update", *change.key)
        for change in changes
    ]


async def wait(call: Call) -> WaitAnswer:
    """Until every connected agent whose program changed has applied a revision, or the time is over."""
    revision = int(call.number("revision"))
    found = await call.services.states.wait(revision, call.number("timeout"))
    failed = {node: object_problems(call, problems) for node, problems in found.failed.items()}
    return WaitAnswer(revision, list(found.waiting), failed, list(found.absent))


def object_problems(call: Call, problems: Iterable[Problem]) -> list[ObjectProblem]:
    """Objects' problems that the caller may see: those of its own tenants' objects."""
    return [
        ObjectProblem(item, code, redacted(call.who, message))
        for item, code, message in problems
        if not item or concerns(call.who, item)
    ]
