"""Who may do what: every route with every kind of token, and everything that one tenant must not get of another."""

from __future__ import annotations

import http.client
import json
from typing import Any

import pytest

from suanwang.api.authorization import ROLES, Principal, concerns, redacted, visible
from suanwang.api.call import Route
from suanwang.api.routes import ROUTES

from .conftest import Answer, Running, infrastructure, resource, tenant

PARTS = {"kind": "Vpc", "tenant": "red", "name": "shop", "node": "h1"}
BODIES: dict[str, Any] = {
    "plan": {"documents": []},
    "apply": {"plan": {}},
    "rollback": {"revision": 2**40},
    "probe": {"tenant": "red"},
    "createToken": {"name": "NOT A NAME", "role": "viewer"},
    "createEnrolmentToken": {"node": "no-such-node"},
    "enrol": {"node": "h1", "token": "swe_wrong", "csr": ""},
    "renew": {"csr": ""},
}


@pytest.fixture(scope="module")
def tokens(running: Running) -> dict[str, str]:
    return {
        "": "",
        "wrong": "sw_" + "A" * 43,
        "viewer": running.token("red-viewer", "viewer", ["red"]),
        "operator": running.token("red-operator", "operator", ["red"]),
        "admin": running.admin_token,
    }


def status_of(running: Running, route: Route, token: str) -> tuple[int, dict[str, Any]]:
    path = route.path.format(**PARTS)
    if route.name == "deleteResource":
        path = path.replace("shop", "no-such-thing")
    if route.name == "deleteToken":
        path = "/v1/tokens/no-such-token"
    with running.open(route.method, path, BODIES.get(route.name), token) as response:
        if response.status < 400:
            return response.status, {}
        return response.status, json.loads(response.read())["error"]


@pytest.mark.parametrize("route", ROUTES, ids=[f"{route.method} {route.path}" for route in ROUTES])
@pytest.mark.parametrize("who", ["", "wrong", "viewer", "operator", "admin"])
def test_every_route_lets_in_just_whom_its_access_says(
    running: Running, tokens: dict[str, str], route: Route, who: str
) -> None:
    status, error = status_of(running, route, tokens[who])
    if route.access == "public":
        assert status not in (401,)
        assert error.get("code") != "FORBIDDEN"
    elif route.access == "agent":
        assert (status, error["code"]) == (401, "UNAUTHENTICATED")  # no token stands in for a certificate
    elif who == "wrong" or (who == "" and route.access != "local"):
        assert (status, error["code"]) == (401, "UNAUTHENTICATED")
    elif route.access == "local":
        assert status == (403 if who in ("viewer", "operator") else 200)
    elif who in ROLES[route.access]:
        assert status not in (401, 403), error
    else:
        assert (status, error["code"]) == (403, "FORBIDDEN")
        assert route.name in error["message"]


def test_a_refusal_says_how_to_authenticate(running: Running) -> None:
    answer = running.call("GET", "/v1/nodes", token="")
    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("header", ["Basic YWRtaW46", "Bearer", "Bearer ", "sw_x", "Bearer sw_\x80", "bearer  x y"])
def test_other_authorization_headers_are_refused(running: Running, header: str) -> None:
    connection = http.client.HTTPSConnection("127.0.0.1", running.port, context=running.tls(), timeout=10)
    connection.request("GET", "/v1/nodes", headers={"Authorization": header})
    assert connection.getresponse().status == 401
    connection.close()


def test_a_token_sees_its_tenants_only(running: Running, tokens: dict[str, str]) -> None:
    def names(path: str, token: str) -> set[tuple[str, str]]:
        items = running.call("GET", path, token=token).json["items"]
        return {(item["metadata"].get("tenant", ""), item["metadata"]["name"]) for item in items}

    assert names("/v1/resources/Port", tokens["viewer"]) == {("red", "web-1"), ("red", "web-2")}
    assert names("/v1/resources/Port?tenant=red", tokens["operator"]) == {("red", "web-1"), ("red", "web-2")}
    assert names("/v1/resources/Port", tokens["admin"]) == {(t, p) for t in ("red", "blue") for p in ("web-1", "web-2")}
    assert names("/v1/resources/Tenant", tokens["viewer"]) == {("", "red")}
    assert names("/v1/resources/Link", tokens["viewer"]) == set()
    assert names("/v1/resources/Node", tokens["viewer"]) == {("", "h1"), ("", "h2")}


def test_of_infrastructure_a_tenant_sees_what_it_needs_to_place_ports(running: Running, tokens: dict[str, str]) -> None:
    mine = running.call("GET", "/v1/resources/Node/-/h1", token=tokens["operator"]).json
    whole = running.call("GET", "/v1/resources/Node/-/h1").json
    assert set(mine["spec"]) == {"region", "site", "roles"}
    assert "status" not in mine
    assert set(mine["metadata"]) <= {"name", "revision"}
    assert "capacity" in whole["spec"]
    assert running.call("GET", "/v1/resources/Link/-/any", token=tokens["operator"]).status == 403
    assert running.call("GET", "/v1/resources/Tenant/-/blue", token=tokens["operator"]).status == 403
    assert running.call("GET", "/v1/resources/Tenant/-/red", token=tokens["operator"]).status == 200


def test_the_answer_does_not_tell_whether_another_tenants_resource_exists(
    running: Running, tokens: dict[str, str]
) -> None:
    def answers(kind: str, name: str) -> list[tuple[int, Any]]:
        made = [
            running.call("GET", f"/v1/resources/{kind}/blue/{name}", token=tokens["operator"]),
            running.call("DELETE", f"/v1/resources/{kind}/blue/{name}", token=tokens["operator"]),
            running.call("GET", f"/v1/history?kind={kind}&tenant=blue&name={name}", token=tokens["operator"]),
            running.call(
                "POST",
                "/v1/plan",
                {"delete": [{"kind": kind, "tenant": "blue", "name": name}]},
                token=tokens["operator"],
            ),
        ]
        return [(answer.status, json.loads(answer.body.replace(name.encode(), b"NAME"))) for answer in made]

    there, absent = answers("Vpc", "shop"), answers("Vpc", "no-such-vpc")
    assert there == absent
    assert [status for status, _ in there] == [403] * 4
    assert "Vpc" in there[0][1]["error"]["message"]


def test_a_tenants_operator_changes_its_tenant_and_no_other(running: Running, tokens: dict[str, str]) -> None:
    port = {"subnet": "web", "node": "h1"}
    applied = running.apply(resource("Port", "web-9", port, "red"), token=tokens["operator"])
    assert [(change["action"], change["tenant"]) for change in applied["changes"]] == [("create", "red")]
    assert running.call("DELETE", "/v1/resources/Port/red/web-9", token=tokens["operator"]).status == 200

    for document in (
        resource("Port", "web-9", port, "blue"),
        resource("Port", "web-9", port, "no-such-tenant"),
        resource("Tenant", "red", {}),
        resource("Node", "h9", {"region": "north", "roles": ["host"]}),
    ):
        for body in ({"documents": [document]}, {"documents": [resource("Port", "web-9", port, "red"), document]}):
            refused = running.call("POST", "/v1/plan", body, token=tokens["operator"])
            assert (refused.status, refused.code) == (403, "FORBIDDEN")
            assert document["kind"] in refused.json["error"]["message"]


def test_a_plan_made_by_an_admin_can_not_be_applied_by_an_operator(running: Running, tokens: dict[str, str]) -> None:
    spec = {"subnet": "web", "node": "h1"}
    plan = running.call("POST", "/v1/plan", {"documents": [resource("Port", "web-9", spec, "blue")]}).json
    refused = running.call("POST", "/v1/apply", {"plan": plan}, token=tokens["operator"])
    assert (refused.status, refused.code) == (403, "FORBIDDEN")
    assert running.call("GET", "/v1/resources/Port/blue/web-9").status == 404


def test_an_altered_plan_is_refused(running: Running, tokens: dict[str, str]) -> None:
    spec = {"subnet": "web", "node": "h1"}
    document = resource("Port", "web-9", spec, "red")
    plan = running.call("POST", "/v1/plan", {"documents": [document]}, token=tokens["operator"]).json
    plan["changes"][0]["tenant"] = "blue"
    refused = running.call("POST", "/v1/apply", {"plan": plan}, token=tokens["operator"])
    assert (refused.status, refused.code) == (400, "BAD_PLAN")


@pytest.mark.parametrize("name", ["shop", "no-such-vpc"])
def test_references_across_tenants_are_refused_before_they_are_looked_up(
    running: Running, tokens: dict[str, str], name: str
) -> None:
    document = resource("Subnet", "sly", {"vpc": f"blue/{name}", "cidr": "10.0.9.0/24"}, "red")
    refused = running.call("POST", "/v1/plan", {"documents": [document]}, token=tokens["operator"])
    assert (refused.status, refused.code) == (403, "FORBIDDEN")
    assert "spec.vpc" in refused.json["error"]["message"]


def test_errors_of_admission_do_not_name_other_tenants_resources(running: Running, tokens: dict[str, str]) -> None:
    running.apply(resource("Vpc", "numbered", {"cidrs": ["10.9.0.0/16"], "vni": 4242}, "blue"))
    clash = resource("Vpc", "clash", {"cidrs": ["10.9.0.0/16"], "vni": 4242}, "red")
    refused = running.call("POST", "/v1/plan", {"documents": [clash]}, token=tokens["operator"])
    assert (refused.status, refused.code) == (409, "ALREADY_CLAIMED")
    assert b"blue" not in refused.body
    assert b"numbered" not in refused.body


def test_pruning_leaves_other_tenants_alone(running: Running, tokens: dict[str, str]) -> None:
    """Two tenants may use one name for their sets."""
    spec = {"subnet": "web", "node": "h1"}
    running.apply(resource("Port", "pruned", spec, "red"), set="shared")
    running.apply(resource("Port", "kept", spec, "blue"), set="shared")
    applied = running.apply(prune=True, set="shared", token=tokens["operator"])
    assert [(c["action"], c["tenant"], c["name"]) for c in applied["changes"]] == [("delete", "red", "pruned")]
    assert running.call("DELETE", "/v1/resources/Port/blue/kept").status == 200


def test_history_shows_a_tenant_its_own_changes(running: Running, tokens: dict[str, str]) -> None:
    commits = running.call("GET", "/v1/history", token=tokens["viewer"]).json["commits"]
    assert commits
    assert {change["tenant"] for commit in commits for change in commit["changes"]} == {"red"}
    everything = running.call("GET", "/v1/history").json["commits"]
    assert {change["tenant"] for commit in everything for change in commit["changes"]} == {"red", "blue", ""}


def test_wait_and_nodes_show_a_tenant_no_objects_of_others() -> None:
    red = Principal("r", "viewer", frozenset({"red"}))
    assert concerns(red, "port netns=vpc/red/shop device=p1 title=red/web-1")
    assert not concerns(red, "port netns=vpc/blue/shop device=p1")
    assert not concerns(red, "route netns=vpc/red/shop from=vpc/blue/shop")
    assert not concerns(red, "vxlan device=x")
    assert (
        redacted(red, "Vpc/blue/shop owns 7; vpc/red/shop wants it")
        == "Vpc of another tenant owns 7; vpc/red/shop wants it"
    )


def test_what_is_seen_of_infrastructure_is_an_allow_list() -> None:
    red = Principal("r", "operator", frozenset({"red"}))
    node = {
        "kind": "Node",
        "apiVersion": "v",
        "metadata": {"name": "h1", "labels": {"secret": "x"}},
        "spec": {"new": 1},
    }
    assert visible(red, node) == {"kind": "Node", "apiVersion": "v", "metadata": {"name": "h1"}, "spec": {}}


def test_probing_is_for_ones_own_assertions(running: Running, tokens: dict[str, str]) -> None:
    for body in ({"tenant": "blue"}, {"assertions": [{"tenant": "blue", "name": "any"}]}):
        assert running.call("POST", "/v1/probe", body, token=tokens["operator"]).status == 403
    assert running.call("POST", "/v1/probe", {}, token=tokens["operator"]).json == {"results": []}


def test_a_global_viewer_sees_everything_and_changes_nothing(running: Running) -> None:
    token = running.token("auditor", "viewer", ["*"])
    assert len(running.call("GET", "/v1/resources/Port", token=token).json["items"]) == 4
    assert "capacity" in running.call("GET", "/v1/resources/Node/-/h1", token=token).json["spec"]
    assert running.call("GET", "/metrics", token=token).status == 200
    assert running.call("DELETE", "/v1/resources/Port/red/web-1", token=token).status == 403
    assert running.call("GET", "/v1/nodes/h1/program", token=token).status == 403


@pytest.mark.parametrize(
    "request_",
    [
        {"name": "x", "role": "operator", "tenants": ["*"]},
        {"name": "x", "role": "operator", "tenants": []},
        {"name": "x", "role": "viewer"},
        {"name": "x", "role": "root", "tenants": ["red"]},
        {"name": "X", "role": "admin"},
        {"name": "x", "role": "viewer", "tenants": ["../red"]},
        {"name": "x", "role": "viewer", "tenants": ["red"], "ttl": -1},
        {"name": "x", "role": "viewer", "tenants": ["red"], "extra": 1},
    ],
)
def test_tokens_that_make_no_sense_are_refused(running: Running, request_: dict[str, Any]) -> None:
    assert running.call("POST", "/v1/tokens", request_).status == 400


def test_a_deleted_token_is_void_at_once(running: Running) -> None:
    token = running.token("brief", "viewer", ["red"])
    assert running.call("GET", "/v1/nodes", token=token).status == 200
    assert running.call("DELETE", "/v1/tokens/brief").status == 200
    assert running.call("GET", "/v1/nodes", token=token).status == 401


def test_the_list_of_tokens_holds_no_secret(running: Running) -> None:
    token = running.token("listed", "viewer", ["red"], ttl=100)
    listed = running.call("GET", "/v1/tokens")
    note = next(one for one in listed.json["tokens"] if one["name"] == "listed")
    assert (note["role"], note["tenants"], bool(note["expires"])) == ("viewer", ["red"], True)
    assert token[3:].encode() not in listed.body
    taken = running.call("POST", "/v1/tokens", {"name": "listed", "role": "viewer", "tenants": ["red"]})
    assert (taken.status, taken.code) == (409, "NAME_TAKEN")


def test_the_last_admin_stays(fresh: Running) -> None:
    refused = fresh.call("DELETE", "/v1/tokens/admin")
    assert (refused.status, refused.code) == (409, "LAST_ADMIN")
    other = fresh.token("second", "admin", [])
    assert fresh.call("DELETE", "/v1/tokens/admin", token=other).status == 200
    assert fresh.call("GET", "/v1/tokens", token=fresh.admin_token).status == 401


def test_rollback_is_answered_with_what_changed(fresh: Running) -> None:
    fresh.apply(*infrastructure(), *tenant("red"))
    fresh.apply(resource("Port", "web-3", {"subnet": "web", "node": "h1"}, "red"))
    answer: Answer = fresh.call("POST", "/v1/rollback", {"revision": 1, "message": "it broke the till"})
    assert answer.status == 200, answer.body
    assert answer.json["revision"] == 3
    assert answer.json["changes"] == [{"action": "delete", "kind": "Port", "tenant": "red", "name": "web-3"}]
    assert "h1" in answer.json["nodes"]
    newest = fresh.call("GET", "/v1/history?limit=1").json["commits"][0]
    assert (newest["revision"], newest["message"]) == (3, "it broke the till")
