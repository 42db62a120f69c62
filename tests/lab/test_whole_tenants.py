"""What tenants do with their networks: ports that move, networks that go, and tokens that reach no further."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from suanwang.cli.failure import ServerRefusal

pytestmark = pytest.mark.root

TENANT = "red"
INTERRUPTION_LIMIT_S = 1.0


@pytest.fixture(scope="module")
def tenants(whole: Any, documents: Any) -> None:
    places = {"one": ("h1", "10.0.0.11"), "two": ("h2", "10.0.0.12")}
    for tenant in (TENANT, "blue"):
        assertion = documents.make("Assertion", "meet", tenant, **{"from": {"port": "one"}, "to": {"port": "two"}})
        whole.apply([*documents.tenant_network(tenant, places), assertion])


def names(whole: Any, host: str) -> list[str]:
    return [name.removeprefix(whole.lab.prefix(host)) for name in whole.made(host)]


def test_a_port_moves_while_it_is_pinged(
    whole: Any, tenants: None, documents: Any, wait_until: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    target = "10.0.0.20"
    whole.apply([documents.port(TENANT, "mover", "h1", target)])
    gaps_s = []
    for there, source in (("h2", "one"), ("h1", "two"), ("h2", "two")):
        steady = whole.flow(f"port/{TENANT}/one", "10.0.0.12")
        flow = whole.flow(f"port/{TENANT}/{source}", target)
        whole.apply([documents.port(TENANT, "mover", there, target)])
        flow.go_on()
        lost, _, gap_s = flow.stop()
        gaps_s.append(gap_s)
        assert gap_s < INTERRUPTION_LIMIT_S, f"{lost} lost"
        assert steady.stop()[0] == 0, "a move costs others nothing"
        elsewhere = "h1" if there == "h2" else "h2"
        assert f"port.{TENANT}.mover" in names(whole, there)
        assert f"port.{TENANT}.mover" not in names(whole, elsewhere)
    with capsys.disabled():
        print(f" interrupted for {', '.join(f'{gap_s * 1000:.0f} ms' for gap_s in gaps_s)}", end="")
    whole.delete(("Port", TENANT, "mover"))
    wait_until(lambda: f"port.{TENANT}.mover" not in names(whole, "h2"), "the port is gone")
    assert not whole.reaches(f"port/{TENANT}/one", target)
    # An unattached port, and one that comes back.
    whole.apply([documents.port(TENANT, "mover", None, target)])
    assert not whole.reaches(f"port/{TENANT}/one", target)
    whole.apply([documents.port(TENANT, "mover", "h1", target)])
    assert whole.reaches(f"port/{TENANT}/one", target)
    whole.delete(("Port", TENANT, "mover"))


@pytest.fixture(scope="module")
def operator(whole: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The token of an operator of one tenant, in a file."""
    with closing(whole.client()) as client:
        answer = client.post("/v1/tokens", {"name": "red-op", "role": "operator", "tenants": [TENANT]})
    path: Path = tmp_path_factory.mktemp("token") / "red.token"
    path.write_text(answer["token"])
    path.chmod(0o600)
    return path


def refusal(call: Callable[[], Any]) -> ServerRefusal:
    with pytest.raises(ServerRefusal) as refused:
        call()
    return refused.value


def test_an_operator_sees_its_tenant_only(whole: Any, tenants: None, operator: Path) -> None:
    flags = ("--lab", whole.name, "--token-file", str(operator), "-o", "json")
    found = json.loads(whole.command("get", "port", "-A", *flags).stdout)
    assert {item["metadata"]["tenant"] for item in found} == {TENANT}
    probed = json.loads(whole.command("probe", "--count", "1", *flags).stdout)
    assert [(one["tenant"], one["name"], one["holds"]) for one in probed] == [(TENANT, "meet", True)]
    assert "blue" not in whole.command("history", *flags).stdout
    assert "FORBIDDEN" in whole.command("program", "h1", *flags, check=False).stderr
    token = operator.read_text()
    with closing(whole.client(token)) as client:
        for path in (
            "/v1/resources/Port/blue/one",
            "/v1/resources/Port/blue/nobody",
            "/v1/resources/Port?tenant=blue",
            "/v1/history?tenant=blue",
            "/v1/tokens",
            "/v1/nodes/h1/program",
        ):
            assert refusal(lambda path=path: client.get(path)).code == "FORBIDDEN", path
        assert [item["metadata"]["name"] for item in client.items("Tenant")] == [TENANT]
        assert list(client.items("Link")) == []
        nodes = client.get("/v1/nodes")
        assert "blue" not in json.dumps(nodes)
        assert refusal(lambda: client.post("/v1/probe", {"assertions": [], "tenant": "blue", "count": 1})).status == 403
        named = {"assertions": [{"tenant": "blue", "name": "meet"}], "tenant": "", "count": 1}
        assert refusal(lambda: client.post("/v1/probe", named)).code == "FORBIDDEN"


def test_an_operator_changes_its_tenant_only(whole: Any, tenants: None, operator: Path, documents: Any) -> None:
    token = operator.read_text()
    make, port = documents.make, documents.port
    before = whole.kernel("h1")
    foreign = [
        port("blue", "new", "h1", "10.0.0.30"),
        make("Tenant", TENANT, description="mine"),
        make("Tenant", "green"),
        make("Node", "h1", region="east", roles=["host"], address="10.255.0.9"),
        port(TENANT, "new", "h1", "10.0.0.30", subnet="blue/all"),
        port(TENANT, "new", "h1", "10.0.0.30", securityGroups=["blue/open"]),
        port(TENANT, "new", "h1", "10.0.0.30", subnet="blue/nothing"),
        make("Subnet", "far", TENANT, vpc="blue/net", cidr="10.0.9.0/24"),
        make("Assertion", "far", TENANT, **{"from": {"port": "one"}, "to": {"port": "blue/one"}}),
    ]
    for document in foreign:
        assert refusal(lambda document=document: whole.apply([document], token=token)).code == "FORBIDDEN", document
    for key in (("Port", "blue", "one"), ("Port", "blue", "nobody"), ("Tenant", "", TENANT), ("Node", "", "h1")):
        assert refusal(lambda key=key: whole.delete(key, token=token)).code == "FORBIDDEN", key
    # A plan that someone else made is judged by who carries it out.
    with closing(whole.client()) as admin, closing(whole.client(token)) as client:
        body = {"documents": [foreign[0]], "delete": [], "prune": False, "set": ""}
        plan = admin.post("/v1/plan", body)
        assert refusal(lambda: client.post("/v1/apply", {"plan": plan})).code == "FORBIDDEN"
        assert refusal(lambda: client.post("/v1/rollback", {"revision": 1, "message": ""})).code == "FORBIDDEN"
    assert whole.kernel("h1") == before
    whole.apply([port(TENANT, "new", "h1", "10.0.0.30")], token=token)
    assert whole.reaches(f"port/{TENANT}/two", "10.0.0.30")
    whole.delete(("Port", TENANT, "new"), token=token)


def test_even_an_administrator_joins_no_tenants(whole: Any, tenants: None, documents: Any) -> None:
    for document in (
        documents.port(TENANT, "new", "h1", "10.0.0.30", securityGroups=["blue/open"]),
        documents.port(TENANT, "new", "h1", "10.0.0.30", subnet="blue/all"),
    ):
        refused = refusal(lambda document=document: whole.apply([document]))
        assert refused.code == "FOREIGN_REFERENCE", refused.errors
        assert refused.errors[0]["hint"]


def test_an_operator_watches_its_tenant_only(whole: Any, tenants: None, operator: Path, documents: Any) -> None:
    heard: queue.Queue[Any] = queue.Queue()

    def watch() -> None:
        with closing(whole.client(operator.read_text())) as client:
            for commit in client.stream("/v1/watch", {"since": since}):
                heard.put(commit)
                if "last" in json.dumps(commit):
                    return

    with closing(whole.client()) as client:
        since = client.get("/v1/history", {"limit": 1})["commits"][0]["revision"]
    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        whole.apply([documents.port("blue", "secret", "h1", "10.0.0.40")])
        whole.delete(("Port", "blue", "secret"))
    finally:
        whole.apply([documents.port(TENANT, "last", "h2", "10.0.0.41")])
        watcher.join(20)
    assert not watcher.is_alive()
    said = [heard.get_nowait() for _ in range(heard.qsize())]
    assert "secret" not in json.dumps(said)
    assert "blue" not in json.dumps(said)
    assert "last" in json.dumps(said)


def test_whole_tenants_go(whole: Any, tenants: None, wait_until: Callable[..., Any]) -> None:
    """What is left on the hosts when nothing is declared any more is the underlay."""

    def underlay(host: str) -> list[str]:
        words = (("ip", "-j", "link"), ("ip", "-j", "rule"), ("nft", "list", "ruleset"))
        return [whole.inside(host, *line).stdout for line in words]

    whole.apply([], prune=True)
    with closing(whole.client()) as client:
        left = [
            (kind, item["metadata"].get("tenant", ""), item["metadata"]["name"])
            for kind in ("Assertion", "Port", "SecurityGroup", "Subnet", "Vpc", "Tenant")
            for item in client.items(kind)
        ]
    if left:
        whole.delete(*left)
    wait_until(lambda: whole.made("h1") == whole.made("h2") == [], "nothing but the underlay is left")
    assert whole.converged()
    for host in ("h1", "h2"):
        found = underlay(host)
        assert "vxlan" not in found[0]
        assert found[2] == ""
    assert whole.inside("h1", "ping", "-c", "1", "-W", "1", "10.255.0.2").returncode == 0
