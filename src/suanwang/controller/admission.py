"""Admission: from checked resources to changes of the store, inside one transaction.

For every resource: its references lead somewhere and stay within the tenant, its kind's own rules hold, and what is
allocated
to it is claimed. Everything that the changed resources held before is released first, so two of them may swap values
in one go; then those that keep or ask for particular values come before those that take what is free.

A reference is itself a claim (scope `ref/TARGET`, value: who refers), so whether something is in use is one look-up.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from suanwang.model.errors import INVALID, NOT_FOUND, ErrorList, Place, SuanwangError, code
from suanwang.model.reference import Key
from suanwang.model.registry import Registry, Resource, references, target
from suanwang.model.resource import API_VERSION, MOST_ERRORS, check, decode, encode, stored_document
from suanwang.store.interface import Transaction

DANGLING = "DANGLING_REFERENCE"
FOREIGN_REFERENCE = code("FOREIGN_REFERENCE", "a resource names another tenant's, which nothing allows")
IN_USE = code("IN_USE", "the resource can't be deleted while others name it")

TENANT = "Tenant"
"""The one kind that the machinery itself knows: whoever owns tenant resources."""


@dataclass(frozen=True, slots=True)
class Change:
    """One resource before and after, as stored documents (None: not there). `expect` is the revision of `before`, or
    0.
    """

    key: Key
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    expect: int

    @property
    def action(self) -> str:
        """`create`, `update` or `delete`."""
        return "create" if self.before is None else "delete" if self.after is None else "update"


def admit(
    transaction: Transaction,
    registry: Registry,
    resources: Sequence[Resource],
    deletions: Iterable[Key],
    places: Mapping[Key, Place] | None = None,
    anew: Container[Key] = (),
) -> list[Change]:
    """Check and write all; returns what really changes. Raises one error, or an ErrorList of all that is wrong.

    What is declared as it stands is passed over, but for the keys in `anew`: with them something is wrong.
    """
    return _Admitting(transaction, registry, places or {}).run(resources, list(deletions), anew)


class _Admitting:
    def __init__(self, transaction: Transaction, registry: Registry, places: Mapping[Key, Place]) -> None:
        self.transaction = transaction
        self.registry = registry
        self.places = places
        self.pending: dict[Key, dict[str, Any] | None] = {}
        self.errors: list[SuanwangError] = []

    def run(self, resources: Sequence[Resource], deletions: list[Key], anew: Container[Key]) -> list[Change]:
        before: dict[Key, tuple[dict[str, Any] | None, int]] = {}
        for key in [*deletions, *(resource.key for resource in resources)]:
            entry = self.transaction.get(key)
            before[key] = (stored(entry.body), entry.revision) if entry else (None, 0)
        for key in deletions:
            if before[key][0] is None:
                self._complain(key, SuanwangError(NOT_FOUND, f"{key} does not exist", "see `suanwang get`"))
            self.pending[key] = None
        # Applied without naming a set, a resource stays in the one that it is in.
        resources = [
            resource if resource.set else replace(resource, set=(before[resource.key][0] or {}).get("set", ""))
            for resource in resources
        ]
        changing = [one for one in resources if one.key in anew or self._differs(one, before[one.key][0])]
        for resource in changing:
            present = before[resource.key][0]
            allocation = resource.allocation or (present or {}).get("allocation", {})
            self.pending[resource.key] = {**stored_document(resource), "allocation": allocation}
        for key in [*deletions, *(resource.key for resource in changing)]:
            if before[key][0] is not None:
                self.transaction.release(key)
        changes = [self._admit(resource, *before[resource.key]) for resource in self._ordered(changing, before)]
        for key in deletions:
            if before[key][0] is not None:
                self.transaction.delete(key)
                changes.append(Change(key, before[key][0], None, before[key][1]))
        for key in deletions:
            self._refuse_if_in_use(key)
        if self.errors:
            raise self.errors[0] if len(self.errors) == 1 else ErrorList(self.errors[:MOST_ERRORS])
        return [change for change in changes if change is not None and change.before != change.after]

    @staticmethod
    def _differs(resource: Resource, present: dict[str, Any] | None) -> bool:
        if present is None:
            return True
        document = stored_document(resource)
        if resource.allocation and resource.allocation != present.get("allocation", {}):
            return True
        return any(document.get(part) != present.get(part) for part in ("labels", "spec", "set"))

    def _ordered(
        self, resources: list[Resource], before: Mapping[Key, tuple[dict[str, Any] | None, int]]
    ) -> list[Resource]:
        def rank(resource: Resource) -> tuple[int, int, int, Key]:
            kind = self.registry.kind(resource.key.kind)
            keeps = 0 if before[resource.key][0] is not None or resource.allocation else 1
            return kind.order, kind.precedence(resource.spec), keeps, resource.key

        return sorted(resources, key=rank)

    def _admit(self, resource: Resource, present: dict[str, Any] | None, revision: int) -> Change | None:
        key = resource.key
        kind = self.registry.kind(key.kind)
        held = present
        if resource.allocation:
            # A saved plan brings what was allocated when it was made; it is kept where it is still free.
            held = {**(present or {"spec": {}}), "allocation": dict(resource.allocation)}
        try:
            self._check_tenant(key)
            self._claim_references(resource)
            if resource.set:
                self.transaction.claim(f"set/{resource.set}", str(key), key)
            allocation = kind.admit(_Scoped(self, key), resource, held) if kind.admit else {}
        except SuanwangError as problem:
            self._complain(key, problem)
            return None
        except (AttributeError, LookupError, TypeError, ValueError) as problem:
            # Specs are checked; an allocation that a plan brings, and documents of other releases, may be anything.
            message = f"{key}: what was allocated, or what it names, can't be read ({type(problem).__name__} {problem})"
            self._complain(key, SuanwangError(INVALID, message, "make the plan again, or apply anew what it names"))
            return None
        document = stored_document(replace(resource, allocation=allocation))
        self.pending[key] = document
        self.transaction.put(key, encode(document))
        return Change(key, present, document, revision)

    def _check_tenant(self, key: Key) -> None:
        if key.tenant and self.read(Key(TENANT, "", key.tenant)) is None:
            message = f"{key} is of tenant {key.tenant!r}, which does not exist"
            raise SuanwangError(DANGLING, message, f"declare kind: Tenant, metadata: {{name: {key.tenant}}}")

    def _claim_references(self, resource: Resource) -> None:
        spec = self.pending[resource.key]
        assert spec is not None
        errors = []
        for path, kind, reference in references(type(resource.spec), spec["spec"]):
            key = target(self.registry, kind, reference, resource.key.tenant)
            if key.tenant and key.tenant != resource.key.tenant:
                message = f"{path} names {key.title} of another tenant"
                errors.append(SuanwangError(FOREIGN_REFERENCE, message, "name one of your own"))
            elif self.read(key) is None:
                hint = f"declare it too, or see `suanwang get {kind.lower()}`"
                errors.append(SuanwangError(DANGLING, f"{path} names {kind} {reference!r}, which does not exist", hint))
            else:
                self.transaction.claim(f"ref/{key}", str(resource.key), resource.key)
        if errors:
            raise errors[0] if len(errors) == 1 else ErrorList(errors)

    def _refuse_if_in_use(self, key: Key) -> None:
        users = self.transaction.values(f"ref/{key}", limit=4)
        if key.kind == TENANT:
            users = [str(entry.key) for entry in self.transaction.list(tenant=key.name, limit=4)]
        if users:
            more = " and others" if len(users) > 3 else ""
            message = f"{key} is named by {', '.join(users[:3])}{more}"
            self._complain(key, SuanwangError(IN_USE, message, "delete or change those first, or in the same go"))

    def _complain(self, key: Key, problem: SuanwangError) -> None:
        for one in problem.errors if isinstance(problem, ErrorList) else [problem]:
            place = self.places.get(key)
            message = one.message if str(key) in one.message else f"{key}: {one.message}"
            self.errors.append(SuanwangError(one.code, message, one.hint, place or one.place))

    def read(self, key: Key) -> dict[str, Any] | None:
        """A stored document as it will be after this transaction."""
        if key in self.pending:
            return self.pending[key]
        entry = self.transaction.get(key)
        return stored(entry.body) if entry else None


class _Scoped:
    """`model.registry.Admission` for one resource."""

    def __init__(self, admitting: _Admitting, owner: Key) -> None:
        self._admitting = admitting
        self._transaction = admitting.transaction
        self._owner = owner

    def read(self, key: Key) -> Mapping[str, Any] | None:
        return self._admitting.read(key)

    def claim(self, scope: str, value: str) -> None:
        self._transaction.claim(scope, value, self._owner)

    def owner(self, scope: str, value: str) -> Key | None:
        return self._transaction.owner(scope, value)

    def values(self, scope: str, start: str = "", limit: int = 1000) -> list[str]:
        return self._transaction.values(scope, start, limit=limit)


def stored(body: bytes) -> dict[str, Any]:
    """A stored document; one that can't be read (written by another release, or by hand) as an empty one."""
    try:
        document = decode(body)
    except msgspec.DecodeError:
        document = {}
    parts = (
        {part: document.get(part) for part in ("labels", "spec", "allocation")} if isinstance(document, dict) else {}
    )
    if all(isinstance(parts.get(part), dict) for part in ("labels", "spec", "allocation")):
        return document
    return {"labels": {}, "spec": {}, "allocation": {}}


def resource_from(key: Key, document: Mapping[str, Any], registry: Registry) -> Resource:
    """A stored document as a resource again, checked anew: a plan comes from outside. Raises what `check` raises."""
    metadata = {"name": key.name, "tenant": key.tenant} if key.tenant else {"name": key.name}
    labels, allocation, set_name = document.get("labels", {}), document.get("allocation", {}), document.get("set", "")
    if not isinstance(allocation, dict) or not isinstance(set_name, str):
        raise SuanwangError(INVALID, f"{key}: its allocation or set can't be read", "make the plan again")
    declared = {"kind": key.kind, "metadata": {**metadata, "labels": labels}, "spec": document.get("spec")}
    resource = check({"apiVersion": API_VERSION, **declared}, registry)
    return replace(resource, allocation=allocation, set=set_name)
