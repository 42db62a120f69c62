"""Bad input, limits, errors in one form, paging, watch, and the description of it all."""

from __future__ import annotations

import http.client
import json
import re
import ssl
import threading
from collections.abc import Callable
from typing import Any

import pytest

from suanwang.api.openapi import document
from suanwang.api.routes import ROUTES
from suanwang.model.errors import CATALOGUE
from suanwang.model.registry import load

from .conftest import Running, infrastructure, resource, tenant


def assert_problem(answer: Any, status: int, code: str) -> dict[str, Any]:
    assert (answer.status, answer.code) == (status, code), answer.body
    found: dict[str, Any] = answer.json
    assert found["errors"][0] == found["error"]
    assert set(found["error"]) == {"code", "message", "hint", "file", "line", "path"}
    assert found["error"]["code"] in CATALOGUE
    return found


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{", "MALFORMED"),
        (b"\xff\xfe", "MALFORMED"),
        (b'{"documents": [{"a": ' + b"[" * 100_000, "MALFORMED"),
        (b'{"documents": NaN}', "MALFORMED"),
        (b"[]", "INVALID"),
        (b"null", "INVALID"),
        (b'{"documents": {}}', "INVALID"),
        (b'{"documents": [1]}', "INVALID"),
        (b'{"documnets": []}', "INVALID"),
        (b'{"prune": "yes"}', "INVALID"),
        (b'{"set": "Not A Name"}', "INVALID"),
    ],
)
def test_malformed_bodies(running: Running, body: bytes, code: str) -> None:
    assert_problem(running.call("POST", "/v1/plan", body), 400, code)


def test_an_empty_body_is_the_empty_request(running: Running) -> None:
    assert running.call("POST", "/v1/plan").json["changes"] == []


def test_a_body_above_the_limit_is_refused(running: Running) -> None:
    most = running.settings.limits.body_bytes
    assert_problem(running.call("POST", "/v1/plan", b" " * (most + 1)), 413, "TOO_LARGE")
    assert running.call("POST", "/v1/plan", b" " * (most - 2) + b"{}").status == 200


def test_a_compressed_bomb_is_refused(running: Running) -> None:
    import gzip

    connection = http.client.HTTPSConnection("127.0.0.1", running.port, context=running.tls(), timeout=30)
    headers = {"Authorization": f"Bearer {running.admin_token}", "Content-Encoding": "gzip"}
    connection.request("POST", "/v1/plan", gzip.compress(b" " * 50_000_000), headers)
    assert connection.getresponse().status in (400, 413)
    connection.close()


def test_long_headers_are_refused(running: Running) -> None:
    assert running.call("GET", "/v1/nodes?x=" + "a" * 20_000).status == 400
    connection = http.client.HTTPSConnection("127.0.0.1", running.port, context=running.tls(), timeout=30)
    connection.request("GET", "/v1/nodes", headers={"X-Long": "a" * 20_000})
    assert connection.getresponse().status == 400
    connection.close()


def test_unknown_kinds_paths_and_methods(running: Running) -> None:
    assert "Vpc" in assert_problem(running.call("GET", "/v1/resources/Vpcs"), 404, "UNKNOWN_KIND")["error"]["hint"]
    assert_problem(running.call("GET", "/v1/schema/Nothing"), 404, "UNKNOWN_KIND")
    bad = running.call("POST", "/v1/plan", {"documents": [resource("Vpcc", "x", {}, "red")]})
    assert assert_problem(bad, 400, "UNKNOWN_KIND")["error"]["file"] == "documents[0]"
    assert_problem(running.call("GET", "/v1/nothing"), 404, "NO_ROUTE")
    assert_problem(running.call("DELETE", "/v1/nodes"), 405, "NO_ROUTE")
    assert_problem(running.call("GET", "/v1/resources/Vpc/-/shop"), 400, "INVALID")
    assert_problem(running.call("GET", "/v1/resources/Node/red/h1"), 400, "INVALID")
    assert_problem(running.call("GET", "/v1/resources/Vpc/red/none"), 404, "NOT_FOUND")
    assert_problem(running.call("GET", "/v1/nodes/none/program"), 404, "NOT_FOUND")


@pytest.mark.parametrize(
    "path",
    [
        "/v1/resources/Vpc?limit=0",
        "/v1/resources/Vpc?limit=x",
        "/v1/resources/Vpc?after=%00",
        "/v1/resources/Vpc?limits=3",
        "/v1/nodes/h1/program?format=yaml",
        "/v1/wait?revision=-1",
        "/v1/wait?timeout=nan",
        "/v1/wait?timeout=1e9",
        "/v1/history?limit=99999999",
        "/v1/watch?since=99999999",
    ],
)
def test_bad_parameters(running: Running, path: str) -> None:
    assert_problem(running.call("GET", path), 400, "INVALID")


def test_every_error_of_a_plan_is_told_with_its_place(running: Running) -> None:
    documents = [
        resource("Vpc", "one", {"cidrs": ["10.0.0.1/16"]}, "red"),
        resource("Vpc", "two", {"cidrs": ["10.0.0.0/16"], "colour": "red"}, "red"),
    ]
    found = assert_problem(running.call("POST", "/v1/plan", {"documents": documents}), 400, "INVALID")
    assert [(one["code"], one["file"], one["path"]) for one in found["errors"]] == [
        ("INVALID", "documents[0]", "spec.cidrs[0]"),
        ("UNKNOWN_FIELD", "documents[1]", "spec.colour"),
    ]


def test_dangling_references_and_twice_declared(running: Running) -> None:
    subnet = resource("Subnet", "lost", {"vpc": "nowhere", "cidr": "10.0.0.0/24"}, "red")
    assert_problem(running.call("POST", "/v1/plan", {"documents": [subnet]}), 400, "DANGLING_REFERENCE")
    vpc = resource("Vpc", "twin", {"cidrs": ["10.0.0.0/16"]}, "red")
    assert_problem(running.call("POST", "/v1/plan", {"documents": [vpc, vpc]}), 400, "INVALID")


def test_a_stale_plan_is_refused(fresh: Running) -> None:
    fresh.apply(*infrastructure(), *tenant("red"))
    port = resource("Port", "late", {"subnet": "web", "node": "h1"}, "red")
    plan = fresh.call("POST", "/v1/plan", {"documents": [port]}).json
    fresh.apply(port)
    assert_problem(fresh.call("POST", "/v1/apply", {"plan": plan}), 409, "STALE_PLAN")


def test_deleting_what_is_in_use_is_a_conflict(running: Running) -> None:
    assert_problem(running.call("DELETE", "/v1/resources/Vpc/red/shop"), 409, "IN_USE")


@pytest.mark.parametrize("who", ["admin", "tenant"])
def test_pages_are_whole_and_do_not_overlap(running: Running, who: str) -> None:
    token = running.token(f"pager-{who}", "viewer", ["*"] if who == "admin" else ["blue", "red"])
    for kind in ("Port", "Node"):
        whole = running.call("GET", f"/v1/resources/{kind}", token=token).json["items"]
        found: list[Any] = []
        after = ""
        for _ in range(10):
            page = running.call("GET", f"/v1/resources/{kind}?limit=1&after={after}", token=token).json
            found += page["items"]
            after = page["next"]
            if after is None:
                break
        assert found == whole
        assert len(found) == (4 if kind == "Port" else 2)


def test_history_knows_create_update_and_delete(fresh: Running) -> None:
    fresh.apply(*infrastructure(), *tenant("red"))
    spec = {"subnet": "web", "node": "h1"}
    fresh.apply(resource("Port", "p", spec, "red"))
    fresh.apply(resource("Port", "p", {**spec, "node": "h2"}, "red"))
    fresh.call("DELETE", "/v1/resources/Port/red/p")
    fresh.apply(resource("Port", "p", spec, "red"))
    commits = fresh.call("GET", "/v1/history?kind=Port&tenant=red&name=p").json["commits"]
    told = [(commit["revision"], commit["changes"][0]["action"]) for commit in commits]
    assert told == [(5, "create"), (4, "delete"), (3, "update"), (2, "create")]
    assert [c["revision"] for c in fresh.call("GET", "/v1/history?limit=2").json["commits"]] == [5, 4]


def test_watch_tells_every_commit_that_the_token_sees(fresh: Running) -> None:
    fresh.apply(*infrastructure(), *tenant("red"), *tenant("blue"))
    token = fresh.token("red", "viewer", ["red"])
    port = {"subnet": "web", "node": "h1"}
    with fresh.open("GET", "/v1/watch?since=1&kind=Port", token=token) as stream:
        assert stream.status == 200
        assert stream.headers["Content-Type"] == "application/x-ndjson"
        fresh.apply(resource("Port", "p", port, "blue"))
        fresh.apply(resource("Port", "p", port, "red"))
        fresh.call("DELETE", "/v1/resources/Port/red/p")
        told = (line for line in iter(stream.readline, b"") if line.strip())
        lines = [next(told), next(told)]
    first, second = map(json.loads, lines)
    assert (first["revision"], first["changes"][0]["action"], first["changes"][0]["tenant"]) == (3, "create", "red")
    assert first["changes"][0]["document"]["spec"]["node"] == "h1"
    assert (second["revision"], second["changes"][0]["action"]) == (4, "delete")
    assert second["changes"][0]["document"] is None


def test_a_quiet_watch_shows_that_it_lives(running: Running) -> None:
    with running.open("GET", "/v1/watch", token=running.admin_token) as stream:
        assert [stream.readline() for _ in range(3)] == [b"\n"] * 3


def test_a_watch_ends_with_its_token(running: Running) -> None:
    token = running.token("doomed", "viewer", ["red"])
    with running.open("GET", "/v1/watch", token=token) as stream:
        assert stream.readline() == b"\n"
        running.call("DELETE", "/v1/tokens/doomed")
        assert set(iter(stream.readline, b"")) <= {b"\n"}  # and then it ends


def test_a_connection_without_a_request_is_ended(start: Callable[..., Running]) -> None:
    import socket

    with start(limits={"first_request_timeout_s": 0.2, "idle_timeout_s": 30.0}) as server:
        address = ("127.0.0.1", server.port)
        raw = socket.create_connection(address, 10)
        with server.tls().wrap_socket(raw, server_hostname="127.0.0.1") as silent:
            silent.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n")
            assert silent.recv(100) == b""
        connection = http.client.HTTPSConnection(*address, context=server.tls(), timeout=10)
        connection.request("GET", "/healthz")
        assert connection.getresponse().read()
        with server.open("GET", "/v1/watch", token=server.admin_token) as stream:
            # A connection that has asked is kept, while the silent ones go.
            assert [stream.readline() for _ in range(3)] == [b"\n"] * 3
        connection.request("GET", "/healthz")
        assert connection.getresponse().status == 200
        connection.close()


def test_streams_and_requests_of_a_token_are_limited(start: Callable[..., Running]) -> None:
    with start(limits={"streams_per_token": 1}) as server:
        token = server.token("second", "viewer", ["*"])
        with server.open("GET", "/v1/watch", token=token) as stream:
            stream.readline()
            refused = server.call("GET", "/v1/watch", token=token)
            assert_problem(refused, 429, "TOO_MANY")
            assert refused.headers["Retry-After"] == "1"
            # Other tokens and other requests are not concerned.
            assert server.call("GET", "/v1/nodes", token=token).status == 200
            assert server.call("GET", "/v1/wait?timeout=0").status == 200


def test_wrong_tokens_are_answered_late_and_not_without_bound(start: Callable[..., Running]) -> None:
    with start(limits={"refused_at_once": 1, "refused_delay_s": 2.0}) as server:
        statuses: list[int] = []

        def guess() -> None:
            statuses.append(server.call("GET", "/v1/nodes", token="sw_guess").status)

        threads = [threading.Thread(target=guess) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(statuses) == [401, 429, 429]


def test_metrics_are_for_this_machine_and_count(running: Running) -> None:
    answer = running.call("GET", "/metrics", token="")
    assert answer.status == 200
    text = answer.body.decode()
    assert re.search(r"^suanwang_controller_revision [1-9]", text, re.M)
    assert "suanwang_controller_requests_total{" in text
    assert "suanwang_controller_compile_seconds_count" in text


def test_health(running: Running) -> None:
    assert running.call("GET", "/healthz", token="").json == {"status": "ok"}
    assert running.call("GET", "/readyz", token="").json == {"status": "ok"}


def test_a_program_is_served_as_text_and_json(running: Running) -> None:
    text = running.call("GET", "/v1/nodes/h1/program").body.decode()
    assert text.startswith("program h1 format=1\n")
    assert "red/web-1" in text
    found = running.call("GET", "/v1/nodes/h1/program?format=json").json
    assert found["node"] == "h1"
    assert "\n".join(found["lines"]) in text
    state = next(node for node in running.call("GET", "/v1/nodes").json["nodes"] if node["name"] == "h1")
    assert state["programHash"] == found["hash"]


def test_answers_are_not_cached(running: Running) -> None:
    answer = running.call("GET", "/v1/nodes")
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Server"] == "suanwang"


def test_the_description_and_the_routes_are_the_same(running: Running) -> None:
    served = running.call("GET", "/openapi.json", token="").json
    described = {(method.upper(), path) for path, item in served["paths"].items() for method in item}
    assert described == {(route.method, route.path) for route in ROUTES}
    names = [operation["operationId"] for item in served["paths"].values() for operation in item.values()]
    assert len(names) == len(set(names))
    assert served == json.loads(json.dumps(document(ROUTES, load())))


def test_every_reference_in_the_description_leads_somewhere(running: Running) -> None:
    served = running.call("GET", "/openapi.json", token="").json
    references = set(re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(served)))
    assert references <= set(served["components"]["schemas"])
    assert {kind.name for kind in load()} <= references
    assert {"Plan", "Problems", "AppliedAnswer"} <= references
    assert "$defs" not in json.dumps(served)


def test_every_parameter_in_a_path_is_described() -> None:
    for path, item in document(ROUTES, load())["paths"].items():
        for operation in item.values():
            named = {one["name"] for one in operation["parameters"] if one["in"] == "path"}
            assert named == set(re.findall(r"\{(\w+)\}", path))


def test_schemas_are_served(running: Running) -> None:
    assert set(running.call("GET", "/v1/schema", token="").json) == {kind.name for kind in load()}
    assert running.call("GET", "/v1/schema/Vpc", token="").json["title"] == "Vpc"


def test_what_nobody_foresaw_becomes_a_number(running: Running, caplog: pytest.LogCaptureFixture) -> None:
    assert running.server.services is not None
    controller = running.server.services.controller
    original = controller.problems

    def broken(*arguments: object) -> None:
        raise RuntimeError("boom sw_" + "S" * 43)

    controller.hash = broken  # type: ignore[method-assign, assignment]
    try:
        answer = running.call("GET", "/v1/nodes")
    finally:
        del controller.hash  # type: ignore[method-assign]
    assert controller.problems == original
    problem = assert_problem(answer, 500, "INTERNAL")["error"]
    assert "boom" not in answer.body.decode()
    number = re.search(r"error ([0-9a-f]{12})", problem["message"])
    assert number is not None
    assert any(number[1] in record.getMessage() for record in caplog.records)
    assert running.call("GET", "/v1/nodes").status == 200


def test_plain_http_gets_nothing(running: Running) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=10)
    connection.request("GET", "/healthz")
    with pytest.raises((http.client.HTTPException, ConnectionError, ssl.SSLError)):
        connection.getresponse()
    connection.close()
