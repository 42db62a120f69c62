"""Who may do what. The whole of it is in this file: two tables and the few questions that handlers ask.

A token has a role and tenants. `admin` does everything everywhere. `operator` reads and changes its tenants' resources.
`viewer` reads them. Of infrastructure a tenant's token sees what it needs to place ports (`VISIBLE_INFRASTRUCTURE`) and
no more; a token for all tenants (`*`) that is not an admin's sees all of it, and changes none.

Refusals name the kind and the tenant that was asked for, whether it exists or not.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from suanwang.controller.credentials import Role, Token
from suanwang.model.errors import SuanwangError, code
from suanwang.model.reference import Key, resolve
from suanwang.model.registry import Registry, references

FORBIDDEN = code("FORBIDDEN", "the token does not allow that")
UNAUTHENTICATED = code("UNAUTHENTICATED", "the request has no valid token or certificate")

Access = Literal["public", "local", "viewer", "operator", "admin", "agent"]
"""What a route asks for. `public`: nothing. `local`: a connection from this machine, or a token that sees everything.
`viewer`, `operator`, `admin`: a token of at least that role. `agent`: a node's client certificate."""

ROLES: Mapping[str, tuple[Role, ...]] = {
    "viewer": ("viewer", "operator", "admin"),
    "operator": ("operator", "admin"),
    "admin": ("admin",),
}
"""Access that a route asks for -> roles that have it."""

VISIBLE_INFRASTRUCTURE: Mapping[str, tuple[str, ...]] = {
    "Region": (),
    "Site": ("region",),
    "Node": ("region", "site", "roles"),
}
"""Infrastructure kinds that tenants' tokens see -> the fields of their spec that they see, beside the name."""

TENANT = "Tenant"
"""The kind whose names are tenants: a token sees those of its own."""

EVERY = "*"

# Keys and namespaces as messages name them: `Vpc/retail/shop`, `vpc/retail/shop`.
_NAMED = re.compile(r"\b([A-Za-z][A-Za-z0-9-]*)/([a-z0-9][-a-z0-9.]*)/([a-z0-9][-a-z0-9./]*)")


@dataclass(frozen=True, slots=True)
class Principal:
    """Whoever sent a request, by its token."""

    name: str
    role: Role
    tenants: frozenset[str]

    @classmethod
    def of(cls, token: Token) -> Principal:
        """The holder of a token."""
        return cls(token.name, token.role, frozenset(token.tenants))

    @property
    def everywhere(self) -> bool:
        """Whether all tenants and all infrastructure are in sight."""
        return self.role == "admin" or EVERY in self.tenants

    def covers(self, tenant: str) -> bool:
        """Whether a tenant is one of the token's."""
        return self.everywhere or (tenant != "" and tenant in self.tenants)

    def has(self, access: Access) -> bool:
        """Whether the role suffices for a route."""
        return access in ("public", "local") or self.role in ROLES.get(access, ())

    def sees(self, key: Key) -> bool:
        """Whether a resource may be read, at least in part."""
        if self.everywhere:
            return True
        if key.tenant:
            return key.tenant in self.tenants
        return key.kind in VISIBLE_INFRASTRUCTURE or (key.kind == TENANT and key.name in self.tenants)

    def changes(self, key: Key) -> bool:
        """Whether a resource may be created, changed or deleted."""
        if self.role == "admin":
            return True
        return self.role == "operator" and bool(key.tenant) and self.covers(key.tenant)


def require_sight(principal: Principal, key: Key) -> None:
    """Raises FORBIDDEN unless `key` may be read."""
    if not principal.sees(key):
        raise _forbidden("read", key)


def require_change(principal: Principal, keys: Iterable[Key]) -> None:
    """Raises FORBIDDEN unless all of `keys` may be changed."""
    for key in keys:
        if not principal.changes(key):
            raise _forbidden("change", key)


def require_references(principal: Principal, registry: Registry, key: Key, spec: Mapping[str, Any]) -> None:
    """Raises FORBIDDEN when a spec names something of a tenant that is not the token's.

    It is asked before anything is looked up, so the answer is the same whether the thing exists or not.
    """
    if principal.everywhere:
        return
    for path, kind, reference in references(registry.kind(key.kind).spec, spec):
        if not isinstance(reference, str) or kind not in registry or registry.kind(kind).scope != "tenant":
            continue
        target = resolve(kind, reference, key.tenant)
        if not principal.covers(target.tenant):
            message = f"{key}: {path} names a {kind} of tenant {target.tenant!r}, which is not this token's"
            raise SuanwangError(FORBIDDEN, message, "name resources of your own tenants")


def require_tenant(principal: Principal, tenant: str) -> None:
    """Raises FORBIDDEN unless the tenant is the token's. An empty name stands for all that the token sees."""
    if tenant and not principal.covers(tenant):
        raise SuanwangError(
            FORBIDDEN, f"tenant {tenant!r} is not this token's", "ask an admin for a token of that tenant"
        )


def visible(principal: Principal, document: dict[str, Any]) -> dict[str, Any]:
    """The part of a shown document that the principal may see; `sees` has said yes before."""
    metadata = document["metadata"]
    if principal.everywhere or metadata.get("tenant") or document["kind"] == TENANT:
        return document
    fields = VISIBLE_INFRASTRUCTURE[document["kind"]]
    spec = {name: value for name, value in document["spec"].items() if name in fields}
    names = {name: metadata[name] for name in ("name", "revision") if name in metadata}
    return {**{name: document[name] for name in ("apiVersion", "kind")}, "metadata": names, "spec": spec}


def redacted(principal: Principal, text: str) -> str:
    """A message without the names of other tenants' resources in it."""
    if principal.everywhere:
        return text

    def name(match: re.Match[str]) -> str:
        return match[0] if match[2] in principal.tenants else f"{match[1]} of another tenant"

    return _NAMED.sub(name, text)


def concerns(principal: Principal, text: str) -> bool:
    """Whether an object of a program, as text, belongs to the principal's tenants alone."""
    if principal.everywhere:
        return True
    named = {match[2] for match in _NAMED.finditer(text)}
    return bool(named) and named <= principal.tenants


def _forbidden(what: str, key: Key) -> SuanwangError:
    where = f" of tenant {key.tenant!r}" if key.tenant else ""
    message = f"this token may not {what} {key.kind} resources{where}"
    return SuanwangError(FORBIDDEN, message, "ask an admin for a token with that role and tenant")
