"""The registry: every capability's kinds, their examples, their schemas and where they refer to each other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from suanwang.model.errors import SuanwangError
from suanwang.model.reading import read_text
from suanwang.model.registry import Kind, Registry, load, nearest, reference_paths, references
from suanwang.model.resource import check, stored_document
from suanwang.model.schema import schema

KINDS = list(load())
each_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)

REFERENCES = {
    "Assertion": {("from.port", "Port"), ("to.port", "Port")},
    "Link": {("a.node", "Node"), ("b.node", "Node")},
    "Node": {("region", "Region"), ("site", "Site")},
    "Peer": {("node", "Node")},
    "Port": {("subnet", "Subnet"), ("node", "Node"), ("securityGroups.*", "SecurityGroup")},
    "RouteTable": {("vpc", "Vpc"), ("routes.*.nextHop.port", "Port")},
    "SecurityGroup": {
        ("vpc", "Vpc"),
        ("rules.*.prefixList", "PrefixList"),
        ("rules.*.securityGroup", "SecurityGroup"),
    },
    "Site": {("region", "Region")},
    "Subnet": {("vpc", "Vpc"), ("routeTable", "RouteTable")},
}


def example(kind: Kind) -> Any:
    (document,) = read_text(kind.example, kind.name)
    return document


@each_kind
def test_examples_are_accepted(kind: Kind) -> None:
    resource = check(example(kind), load(), kind.name)
    assert resource.key.kind == kind.name
    assert bool(resource.key.tenant) == (kind.scope == "tenant")


@each_kind
def test_references_are_found(kind: Kind) -> None:
    found = {(".".join(path), name) for path, name in reference_paths(kind.spec)}
    assert found == REFERENCES.get(kind.name, set())
    assert all(name in load() for _, name in found)


@each_kind
def test_columns_lead_somewhere(kind: Kind) -> None:
    fields = {field.alias or name for name, field in kind.spec.model_fields.items()}
    for path in kind.columns.values():
        part, _, rest = path.partition(".")
        assert part in {"spec", "status", "metadata"}
        if part == "spec":
            assert rest.split(".")[0] in fields


@each_kind
def test_everything_is_described(kind: Kind) -> None:
    definitions = schema(kind)
    assert kind.summary.endswith(".")
    for model in (definitions["properties"]["spec"], *definitions["$defs"].values()):
        assert model["description"]
        assert [name for name, field in model.get("properties", {}).items() if "description" not in field] == []


@each_kind
def test_schemas_accept_what_is_accepted(kind: Kind) -> None:
    whole = schema(kind)
    document = example(kind)
    stored = stored_document(check(document, load()))
    assert [*faults(document, whole, whole)] == []
    assert [*faults({**document, "spec": stored["spec"]}, whole, whole)] == []


@each_kind
def test_schemas_refuse_unknown_and_missing_fields(kind: Kind) -> None:
    whole = schema(kind)
    document = example(kind)
    assert [*faults({**document, "metadata": {}}, whole, whole)]
    assert [*faults({**document, "spec": {**document["spec"], "surprise": 1}}, whole, whole)]
    assert [*faults({**document, "kind": "Other"}, whole, whole)]


def faults(value: Any, part: Any, whole: Any, path: str = "") -> Iterator[str]:
    """What JSON Schema says against a value, for the part of JSON Schema that our schemas use."""
    if "$ref" in part:
        yield from faults(value, whole["$defs"][part["$ref"].rpartition("/")[2]], whole, path)
    if "anyOf" in part and all([*faults(value, choice, whole, path)] for choice in part["anyOf"]):
        yield f"{path}: none of {len(part['anyOf'])}"
    if "const" in part and value != part["const"]:
        yield f"{path}: is not {part['const']!r}"
    if "enum" in part and value not in part["enum"]:
        yield f"{path}: is none of {part['enum']}"
    types = {"object": dict, "array": list, "string": str, "integer": int, "number": (int, float), "null": type(None)}
    types["boolean"] = bool
    if "type" in part and not isinstance(value, types[part["type"]]):
        yield f"{path}: {value!r} is no {part['type']}"
        return
    if isinstance(value, dict):
        properties = part.get("properties", {})
        yield from (f"{path}: lacks {name}" for name in part.get("required", ()) if name not in value)
        for name, inner in value.items():
            rest = part.get("additionalProperties", True)
            if name in properties:
                yield from faults(inner, properties[name], whole, f"{path}.{name}")
            elif rest is False:
                yield f"{path}: {name} is unknown"
            elif isinstance(rest, dict):
                yield from faults(inner, rest, whole, f"{path}.{name}")
    if isinstance(value, list):
        if not part.get("minItems", 0) <= len(value) <= part.get("maxItems", len(value)):
            yield f"{path}: has {len(value)} items"
        for index, inner in enumerate(value):
            yield from faults(inner, part.get("items", {}), whole, f"{path}[{index}]")


def test_references_of_a_document() -> None:
    table = load().kind("RouteTable").spec
    spec = {"vpc": "shop", "routes": [{"nextHop": {"blackhole": True}}, {"nextHop": {"port": "fw"}}]}
    assert [*references(table, spec)] == [("spec.vpc", "Vpc", "shop"), ("spec.routes[1].nextHop.port", "Port", "fw")]


def test_kinds_come_by_order_and_lean_backwards() -> None:
    order = {kind.name: kind.order for kind in KINDS}
    assert [kind.order for kind in KINDS] == sorted(order.values())
    # A route table is admitted after the ports that it leads to; subnets name tables that may come later.
    allowed = {("Subnet", "RouteTable"), ("SecurityGroup", "SecurityGroup")}
    for kind in KINDS:
        for _, name in reference_paths(kind.spec):
            assert order[name] < kind.order or (kind.name, name) in allowed


@pytest.mark.parametrize("word", ["vpc", "VPCs", "SecurityGroups", "sg", "prefixlists", "pl", "Subnet"])
def test_spoken_names(word: str) -> None:
    assert load().spoken(word).name.lower()[0] == {"sg": "s", "pl": "p"}.get(word, word.lower()[0])


def test_unknown_names_give_the_nearest() -> None:
    for ask in (load().spoken, load().kind):
        with pytest.raises(SuanwangError, match="there is no kind") as caught:
            ask("SecurtyGroup")
        assert caught.value.hint == "did you mean 'SecurityGroup'?"
    assert nearest("zzz", ["a", "b"]) == "known names: a, b"
    assert nearest("zzz", map(str, range(50))) == ""


def test_a_kind_is_entered_once() -> None:
    capability = load().capabilities[0]
    with pytest.raises(ValueError, match="entered twice"):
        Registry([capability, capability])
