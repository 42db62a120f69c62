"""JSON Schema of kinds, as editors and API users need it."""

from __future__ import annotations

from typing import Any

from suanwang.model.reference import NAME_PATTERN
from suanwang.model.registry import Kind
from suanwang.model.resource import API_VERSION


def schema(kind: Kind) -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a whole resource of `kind`."""
    spec = kind.spec.model_json_schema(by_alias=True, ref_template="#/$defs/{model}")
    definitions = spec.pop("$defs", {})
    name = {"type": "string", "pattern": NAME_PATTERN}
    metadata: dict[str, Any] = {"name": name, "labels": {"type": "object", "additionalProperties": {"type": "string"}}}
    required = ["name"]
    if kind.scope == "tenant":
        metadata["tenant"] = name
        required.append("tenant")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": kind.name,
        "description": kind.summary,
        "type": "object",
        "properties": {
            "apiVersion": {"const": API_VERSION},
            "kind": {"const": kind.name},
            "metadata": {
                "type": "object",
                "properties": metadata,
                "required": required,
                "additionalProperties": False,
            },
            "spec": spec,
        },
        "required": ["apiVersion", "kind", "metadata", "spec"],
        "additionalProperties": False,
        "$defs": definitions,
    }
