"""The OpenAPI 3.1 document, made from the table of routes, the bodies' structs and the kinds' schemas."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import msgspec

from suanwang import __version__
from suanwang.api.call import Route
from suanwang.api.messages import Problems
from suanwang.model.registry import Registry
from suanwang.model.schema import schema

PATH = "/openapi.json"

_REFERENCE = "#/components/schemas/"
_PART = re.compile(r"\{(\w+)\}")
_PARTS = {
    "kind": "kind of resource, e.g. Vpc",
    "tenant": "the resource's tenant, or - for infrastructure",
    "name": "name",
    "node": "name of a Node",
}
_ACCESS = {
    "public": "Needs no token.",
    "local": "From this machine without a token; from elsewhere with one that sees all tenants.",
    "viewer": "Any token; it sees its own tenants.",
    "operator": "A token of role operator or admin; an operator's reaches its own tenants.",
    "admin": "A token of role admin.",
    "agent": "A node's client certificate.",
}
# Fields that hold resources or plans in whatever kind: described here by what they really are.
_OVERRIDES = {
    ("Items", "items"): {"type": "array", "items": {"$ref": _REFERENCE + "Resource"}},
    ("PlanRequest", "documents"): {"type": "array", "items": {"$ref": _REFERENCE + "Resource"}},
    ("ApplyRequest", "plan"): {"$ref": _REFERENCE + "Plan"},
    ("WatchedChange", "document"): {"anyOf": [{"$ref": _REFERENCE + "Resource"}, {"type": "null"}]},
}


def document(routes: Iterable[Route], registry: Registry) -> dict[str, Any]:
    """The whole document."""
    routes = list(routes)
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Suanwang",
            "version": __version__,
            "summary": "Declare networks, see what would change, apply it, watch it.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "a user's token, sw_…"},
                "certificate": {
                    "type": "mutualTLS",
                    "description": "a node's certificate of the controller's authority",
                },
            },
            "schemas": {**_bodies(routes), **_kinds(registry)},
        },
    }


def _operation(route: Route) -> dict[str, Any]:
    security: dict[str, Any] = {"public": [], "local": [{}, {"token": []}], "agent": [{"certificate": []}]}
    operation: dict[str, Any] = {
        "operationId": route.name,
        "summary": route.summary,
        "description": _ACCESS[route.access],
        "tags": [route.path.removeprefix("/v1").split("/")[1]],
        "security": security.get(route.access, [{"token": []}]),
        "parameters": [*_path_parameters(route), *_query_parameters(route)],
        "responses": {"200": _answer(route), "default": _failure()},
    }
    if route.name == "agent":
        operation["responses"] = {"101": {"description": "the WebSocket begins"}, "default": _failure()}
    if route.body is not None:
        content = {"application/json": {"schema": {"$ref": _REFERENCE + route.body.__name__}}}
        operation["requestBody"] = {"required": True, "content": content}
    return operation


def _path_parameters(route: Route) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "description": _PARTS[name], "schema": {"type": "string"}}
        for name in _PART.findall(route.path)
    ]


def _query_parameters(route: Route) -> list[dict[str, Any]]:
    found = []
    for query in route.query:
        described: dict[str, Any] = {"type": query.type, "default": query.default}
        if query.least is not None:
            described["minimum"] = query.least
        if query.most is not None:
            described["maximum"] = query.most
        if query.choices:
            described["enum"] = list(query.choices)
        found.append({"name": query.name, "in": "query", "description": query.description, "schema": described})
    return found


def _answer(route: Route) -> dict[str, Any]:
    if isinstance(route.answer, str):
        return {"description": "done", "content": {route.answer: {}}}
    content = {"schema": {"$ref": _REFERENCE + route.answer.__name__}}
    media = "application/x-ndjson" if route.name == "watch" else "application/json"
    return {"description": "done", "content": {media: content}}


def _failure() -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": _REFERENCE + Problems.__name__}}}
    return {"description": "refused or failed", "content": content}


def _bodies(routes: list[Route]) -> dict[str, Any]:
    types: set[type[msgspec.Struct]] = {Problems}
    for route in routes:
        types |= {one for one in (route.body, route.answer) if one is not None and not isinstance(one, str)}
    ordered = sorted(types, key=lambda struct: struct.__name__)
    _, components = msgspec.json.schema_components(ordered, ref_template=_REFERENCE + "{name}")
    for (name, field), override in _OVERRIDES.items():
        components[name]["properties"][field] = override
    return components


def _kinds(registry: Registry) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for kind in registry:
        whole = schema(kind)
        definitions = whole.pop("$defs", {})
        whole.pop("$schema", None)
        for name, part in {"": whole, **definitions}.items():
            found[f"{kind.name}.{name}" if name else kind.name] = _moved(part, kind.name)
    names = [kind.name for kind in registry]
    found["Resource"] = {
        "oneOf": [{"$ref": _REFERENCE + name} for name in names],
        "discriminator": {"propertyName": "kind", "mapping": {name: _REFERENCE + name for name in names}},
    }
    return found


def _moved(value: Any, kind: str) -> Any:
    """A schema whose references lead to components instead of to its own definitions."""
    if isinstance(value, dict):
        return {
            name: f"{_REFERENCE}{kind}.{inner.removeprefix('#/$defs/')}"
            if name == "$ref" and isinstance(inner, str)
            else _moved(inner, kind)
            for name, inner in value.items()
        }
    if isinstance(value, list):
        return [_moved(item, kind) for item in value]
    return value
