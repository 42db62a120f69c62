"""Resources: from what a user wrote to what is stored and shown, and back."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suanwang.model.errors import ErrorList, SuanwangError
from suanwang.model.reading import read_text
from suanwang.model.reference import Key, is_name, parse_key, resolve
from suanwang.model.registry import load
from suanwang.model.resource import check, decode, encode, read_documents, shown_document, stored_document

NAMES = st.from_regex(r"[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?", fullmatch=True)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text(max_size=6) | st.floats(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)


def declared(text: str) -> Any:
    (document,) = read_text(text, "f.yaml")
    return document


@pytest.mark.parametrize("kind", list(load()), ids=lambda kind: kind.name)
def test_stored_documents_check_as_themselves(kind: Any) -> None:
    registry = load()
    document = declared(kind.example)
    stored = stored_document(check(document, registry))
    again = check({**document, "spec": stored["spec"]}, registry)
    assert stored_document(again) == stored
    assert decode(encode(stored)) == stored


@pytest.mark.parametrize("kind", list(load()), ids=lambda kind: kind.name)
def test_what_is_shown_can_be_applied_again(kind: Any) -> None:
    registry = load()
    resource = check(declared(kind.example), registry)
    body = encode({**stored_document(resource), "allocation": {"vni": 7}})
    shown = shown_document(resource.key, body, encode({"conditions": []}), 12)
    assert shown["metadata"]["revision"] == 12
    assert shown["status"] == {"vni": 7, "conditions": []}
    assert check(shown, registry) == resource


@given(st.sampled_from([kind.name for kind in load()]), JSON, JSON)
def test_any_document_is_checked_or_refused(kind: str, metadata: Any, spec: Any) -> None:
    with pytest.raises(SuanwangError) as caught:
        check({"apiVersion": "suanwang/v1", "kind": kind, "metadata": metadata, "spec": spec, "extra": spec}, load())
    assert str(caught.value)


@given(JSON)
def test_any_spec_is_checked_or_refused_with_a_path(spec: Any) -> None:
    document = {"apiVersion": "suanwang/v1", "kind": "Port", "metadata": {"name": "a", "tenant": "t"}, "spec": spec}
    with pytest.raises(SuanwangError) as caught:
        check(document, load())
    problem = caught.value
    for one in problem.errors if isinstance(problem, ErrorList) else [problem]:
        assert one.place.path.startswith("spec")
        assert len(one.message) <= 500


def test_references_into_the_own_tenant_are_stored_bare() -> None:
    document = declared("""\
apiVersion: suanwang/v1
kind: Port
metadata: {name: web-1, tenant: retail}
spec: {subnet: retail/web, securityGroups: [retail/open, bank/open, retail/retail/odd, plain]}
""")
    spec = stored_document(check(document, load()))["spec"]
    assert spec["subnet"] == "web"
    assert spec["securityGroups"] == ["open", "bank/open", "retail/retail/odd", "plain"]
    document = declared("""\
apiVersion: suanwang/v1
kind: RouteTable
metadata: {name: out, tenant: retail}
spec: {vpc: retail/shop, routes: [{destination: 10.0.0.0/8, nextHop: {port: retail/fw}},
  {destination: 10.0.0.0/9, nextHop: {blackhole: true}}]}
""")
    spec = stored_document(check(document, load()))["spec"]
    assert spec["vpc"] == "shop"
    assert [route["nextHop"] for route in spec["routes"]] == [{"port": "fw"}, {"blackhole": True}]


def test_equal_documents_are_equal_bytes() -> None:
    assert encode({"b": 1, "a": {"d": 2, "c": 3}}) == encode({"a": {"c": 3, "d": 2}, "b": 1})


def test_most_errors_of_many_are_told() -> None:
    bad = "{apiVersion: suanwang/v1, kind: Tenant, metadata: {name: BAD}}\n---\n" * 200
    with pytest.raises(ErrorList) as caught:
        read_documents([("f", document) for document in read_text(bad, "f")], load())
    assert [problem.place.line for problem in caught.value.errors] == [2 * n + 1 for n in range(50)]


@given(NAMES, NAMES)
def test_keys_read_back(tenant: str, name: str) -> None:
    for key in (Key("Vpc", tenant, name), Key("Node", "", name)):
        assert parse_key(str(key)) == key
    assert resolve("Vpc", name, tenant) == resolve("Vpc", f"{tenant}/{name}", "other") == Key("Vpc", tenant, name)
    assert is_name(name)


@pytest.mark.parametrize("name", ["", "-a", "a-", "A", "a_b", "a/b", "a#b", "a b", "a\n", "é", "a" * 64])
def test_what_is_no_name(name: str) -> None:
    assert not is_name(name)
