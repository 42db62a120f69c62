"""What users may write about the infrastructure, and how they are told what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import yaml

from suanwang.model.errors import SuanwangError
from suanwang.model.registry import Registry
from suanwang.model.resource import check, stored_document
from suanwang.model.schema import schema

Make = Callable[..., dict[str, Any]]


def test_every_example_is_valid_and_canonical(registry: Registry) -> None:
    for kind in registry:
        resource = check(yaml.safe_load(kind.example), registry)
        stored = stored_document(resource)
        again = kind.spec.model_validate(stored["spec"])
        assert again == resource.spec


def test_every_field_is_described(registry: Registry) -> None:
    for kind in registry:
        whole = schema(kind)
        bare = [
            f"{title}.{name}"
            for title, part in {"spec": whole["properties"]["spec"], **whole["$defs"]}.items()
            for name, field in part.get("properties", {}).items()
            if not field.get("description")
        ]
        assert bare == []


@pytest.mark.parametrize(
    ("kind", "spec", "path", "message"),
    [
        ("Region", {"underlay": {"loopbacks": []}}, "spec.underlay.loopbacks", "at least 1"),
        ("Region", {"underlay": {"loopbacks": ["10.0.0.0/8", "10.1.0.0/16"]}}, "spec.underlay.loopbacks", "overlaps"),
        ("Region", {"underlay": {"asns": {"first": 9, "last": 8}}}, "spec.underlay.asns", "above last"),
        ("Region", {"underlay": {"mtu": "1000B"}}, "spec.underlay.mtu", "greater than or equal to 1280"),
        (
            "Site",
            {"region": "r", "location": {"latitude": 91, "longitude": 0}},
            "spec.location.latitude",
            "equal to 90",
        ),
        ("Node", {"region": "r", "roles": []}, "spec.roles", "at least 1"),
        ("Node", {"region": "r", "roles": ["host", "host"]}, "spec.roles", "named twice"),
        ("Node", {"region": "r", "roles": ["spine"]}, "spec.roles[0]", "'host', 'router' or 'gateway'"),
        ("Node", {"region": "r", "roles": ["host"], "asn": 0}, "spec.asn", "greater than or equal to 1"),
        ("Link", {"a": {"node": "x"}, "b": {"node": "x"}}, "spec", "two different nodes"),
        ("Link", {"a": {"node": "x", "interface": "a/b"}, "b": {"node": "y"}}, "spec.a.interface", "no interface name"),
        ("Link", {"a": {"node": "x", "interface": "all"}, "b": {"node": "y"}}, "spec.a.interface", "no interface name"),
        ("Link", {"a": {"node": "x"}, "b": {"node": "y"}, "capacity": "0bps"}, "spec.capacity", "greater than 0"),
        ("Link", {"a": {"node": "x"}, "b": {"node": "y"}, "latency": "5"}, "spec.latency", "no unit"),
        ("Peer", {"node": "x", "asn": 1, "address": "x", "relationship": "peer"}, "spec.address", "no IP address"),
    ],
)
def test_bad_values_are_refused(
    registry: Registry, document: Make, kind: str, spec: dict[str, Any], path: str, message: str
) -> None:
    with pytest.raises(SuanwangError) as caught:
        check(document(kind, "one", **spec), registry)
    assert caught.value.place.path == path
    assert message in f"{caught.value.message}; {caught.value.hint}"
