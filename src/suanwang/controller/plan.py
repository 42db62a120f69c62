"""Plans: what would change, worked out by the very admission that will carry it out, then undone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from suanwang.controller.admission import Change
from suanwang.controller.gate import Judgement
from suanwang.model.errors import SuanwangError, code
from suanwang.model.reference import Key
from suanwang.proof.finding import Finding

STALE_PLAN = code("STALE_PLAN", "what the plan was made from has changed since")
BAD_PLAN = code("BAD_PLAN", "a saved plan can't be read, or was altered")

PLAN_FORMAT = 1


class PlannedChange(msgspec.Struct, frozen=True, rename="camel"):
    """One change of a plan. Documents are stored documents; `fields` says in words what differs."""

    action: str
    kind: str
    tenant: str
    name: str
    expect: int
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    fields: tuple[str, ...] = ()

    @property
    def key(self) -> Key:
        """Whose change it is."""
        return Key(self.kind, self.tenant, self.name)


class Breakage(msgspec.Struct, frozen=True, rename="camel"):
    """Something that a plan would break: a reason, what it is about, and a packet with its way that shows it."""

    code: str
    subject: str
    message: str
    packet: str = ""
    steps: tuple[str, ...] = ()


class Plan(msgspec.Struct, frozen=True, rename="camel"):
    """Changes that are applied together, verbatim, or not at all. `nodes` are those whose programs change."""

    format: int
    base_revision: int
    changes: tuple[PlannedChange, ...]
    nodes: tuple[str, ...]
    id: str = ""
    warnings: tuple[str, ...] = ()
    broken: tuple[Breakage, ...] = ()
    mended: tuple[Breakage, ...] = ()
    assertions_proven: int = 0
    networks_proven: int = 0


def breakage(finding: Finding) -> Breakage:
    """A finding as plans and users read it."""
    steps = tuple(f"{step.node} {step.netns}: {step.what}" for step in finding.steps)
    packet = str(finding.packet) if finding.packet else ""
    return Breakage(finding.code, finding.subject, finding.message, packet, steps)


def make_plan(base_revision: int, changes: list[Change], judgement: Judgement, warnings: tuple[str, ...] = ()) -> Plan:
    """A plan with its identity and the proof's verdict."""
    planned = tuple(
        PlannedChange(
            change.action, change.key.kind, change.key.tenant, change.key.name, change.expect, change.before,
            change.after, tuple(_differences(change.before, change.after)),
        )
        for change in changes
    )  # fmt: skip
    broken, mended = (tuple(map(breakage, found)) for found in (judgement.broken, judgement.mended))
    nodes = tuple(sorted(judgement.nodes))
    return seal(
        Plan(
            PLAN_FORMAT,
            base_revision,
            planned,
            nodes,
            warnings=warnings,
            broken=broken,
            mended=mended,
            assertions_proven=judgement.assertions,
            networks_proven=judgement.components,
        )
    )


def seal(plan: Plan) -> Plan:
    """The plan with the hash of its content as `id`."""
    content = msgspec.json.encode(msgspec.structs.replace(plan, id=""), order="sorted")
    return msgspec.structs.replace(plan, id=hashlib.blake2b(content, digest_size=16).hexdigest())


def read_plan(data: bytes | Mapping[str, Any]) -> Plan:
    """A saved plan. Raises BAD_PLAN when it can't be read, is of a newer format or was altered."""
    try:
        plan = msgspec.json.decode(data, type=Plan) if isinstance(data, bytes) else msgspec.convert(data, Plan)
        id = seal(plan).id
    except (msgspec.MsgspecError, RecursionError, OverflowError, UnicodeError) as problem:
        raise SuanwangError(
            BAD_PLAN, f"not a plan: {problem}", "make it with `suanwang plan -f … --out FILE`"
        ) from None
    if plan.format > PLAN_FORMAT:
        raise SuanwangError(BAD_PLAN, f"the plan is of format {plan.format}, newer than this release", "make it again")
    if id != plan.id:
        raise SuanwangError(BAD_PLAN, "the plan was altered after it was made", "make it again")
    return plan


def _differences(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> Iterator[str]:
    if before is None or after is None:
        return
    for part in ("labels", "spec", "allocation", "set"):
        yield from _compare(part, before.get(part), after.get(part))


def _compare(path: str, old: Any, new: Any) -> Iterator[str]:
    if old == new:
        return
    if isinstance(old, dict) and isinstance(new, dict):
        for name in sorted({*old, *new}):
            yield from _compare(f"{path}.{name}", old.get(name), new.get(name))
        return
    yield f"{path}: {_shown(old)} -> {_shown(new)}"


def _shown(value: Any) -> str:
    text = "(none)" if value is None else msgspec.json.encode(value).decode()
    return text if len(text) <= 200 else f"{text[:197]}…"
