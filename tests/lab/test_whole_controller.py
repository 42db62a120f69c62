"""Controllers that are killed, doubled, and run out of room; agents whose certificates are past or revoked."""

from __future__ import annotations

import asyncio
import errno
import http.client
import json
import random
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from suanwang.cli.client import Client
from suanwang.cli.failure import ServerRefusal
from suanwang.cli.whereabouts import Whereabouts
from suanwang.controller.authority import Authority
from suanwang.controller.credentials import Credentials
from suanwang.model.errors import SuanwangError
from suanwang.program import wire
from suanwang.program.program import FORMAT

pytestmark = pytest.mark.root

HOSTS = 3
TENANT = "retail"
KILLS = 8

Documents = list[dict[str, Any]]


@pytest.fixture(scope="module")
def kept(whole: Any, documents: Any) -> Documents:
    """Ports that no test here changes, applied."""
    found: Documents = documents.tenant_network(TENANT, {"one": ("h1", "10.0.0.11"), "two": ("h2", "10.0.0.12")})
    whole.apply(found)
    return found


def ports(whole: Any) -> set[str]:
    with closing(whole.client()) as client:
        return {item["metadata"]["name"] for item in client.items("Port")}


def latest(whole: Any) -> int:
    with closing(whole.client()) as client:
        return int(client.get("/v1/history", {"limit": 1})["commits"][0]["revision"])


@pytest.mark.slow
def test_killed_while_it_applies(whole: Any, kept: Documents, documents: Any) -> None:
    chance = random.Random(4)
    flow = whole.flow(f"port/{TENANT}/one", "10.0.0.12")
    acknowledged = 0
    refusals: list[str] = []

    def others() -> tuple[dict[str, str], Documents]:
        chosen = {f"p{n}": f"10.0.0.{n}" for n in chance.sample(range(20, 60), 20)}
        return chosen, [documents.port(TENANT, name, chance.choice(["h1", "h2"]), at) for name, at in chosen.items()]

    # A controller that has just started takes longer, and so do all here that are killed.
    whole.command("lab", "restart", "--name", whole.name, "controller")
    begun = time.monotonic()
    whole.apply([*kept, *others()[1]], prune=True, wait=False)
    takes = time.monotonic() - begun
    for attempt in range(KILLS):
        chosen, wanted = others()
        before, revision = ports(whole), latest(whole)
        answers: list[int] = []

        def apply(wanted: Documents = wanted, answers: list[int] = answers) -> None:
            try:
                answers.append(whole.apply([*kept, *wanted], prune=True, wait=False))
            except SuanwangError as problem:
                refusals.append(problem.code)

        thread = threading.Thread(target=apply)
        thread.start()
        # Waiting busily would hold up the thread that applies.
        threading.Event().wait(chance.uniform(0.0, 2 * takes))
        whole.lab.kill("controller")
        thread.join()
        whole.command("lab", "restart", "--name", whole.name, "controller")
        after = ports(whole)
        new = {"one", "two", *chosen}
        assert (after, latest(whole)) in ((before, revision), (new, revision + 1)), f"attempt {attempt}: half done"
        if answers:
            acknowledged += 1
            assert (after, latest(whole)) == (new, answers[0]), f"attempt {attempt}: an acknowledged change is lost"
    whole.settle()
    assert set(refusals) <= {"SERVER_AWAY"}
    assert 0 < acknowledged < KILLS, f"the kills say nothing: all came too early or too late for {takes:.3f} s"
    lost, sent, gap_s = flow.stop()
    assert lost == 0, f"{lost} of {sent} lost, longest gap {gap_s:.3f} s"
    whole.apply(kept, prune=True)
    assert [len(whole.made(host)) for host in ("h1", "h2", "h3")] == [2, 2, 0]


def test_agents_work_without_it(whole: Any, kept: Documents, wait_until: Callable[..., Any]) -> None:
    """An agent that starts while the controller is away brings its node up as it was, from its disk."""
    whole.lab.kill("controller")
    before = whole.kernel("h1")
    whole.lab.stop("agent", "h1")
    for name in whole.made("h1"):
        subprocess.run(["ip", "netns", "delete", name], check=True)
    whole.command("lab", "restart", "--name", whole.name, "h1")
    wait_until(lambda: whole.kernel("h1") == before, "the node is as it was")
    assert whole.reaches(f"port/{TENANT}/one", "10.0.0.12")
    whole.command("lab", "restart", "--name", whole.name, "controller")
    whole.settle()


def test_a_second_one_is_refused(whole: Any) -> None:
    data = whole.lab.controller_directory
    note = (data / "server.json").read_text()
    done = whole.command("-o", "json", "server", "--data-directory", str(data), "--listen", "127.0.0.1:0", check=False)
    assert done.returncode == 1
    error = json.loads(done.stderr.splitlines()[-1])["error"]
    assert error["code"] == "STORE_LOCKED"
    assert error["hint"]
    assert (data / "server.json").read_text() == note
    assert whole.converged()
    done = whole.command("lab", "restart", "--name", whole.name, "nobody", check=False)
    assert "NOT_FOUND" in done.stderr
    with pytest.raises(SuanwangError, match="runs already"):
        whole.lab.start_server()
    assert (data / "server.json").read_text() == note


# --- agents' certificates ---


def certificate(whole: Any, node: str, folder: Path, life_s: float) -> ssl.SSLContext:
    """A fresh certificate of a node by the lab's own authority, that lives `life_s`, in a context that shows it."""
    data = whole.lab.controller_directory
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, node)])
    csr = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    credentials = Credentials(data / "secrets.db")
    try:
        authority = Authority(data, credentials, agent_life_s=life_s)
        secret = authority.enrolment_token(node).split(".")[1]
        issued = authority.enrol(node, secret, csr.public_bytes(serialization.Encoding.PEM).decode())
    finally:
        credentials.close()
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    (folder / "certificate.pem").write_text(issued.certificate)
    return shown(folder, data / "ca.pem")


def shown(folder: Path, authority: Path) -> ssl.SSLContext:
    """A context that trusts the authority and shows the certificate in `folder`."""
    context = ssl.create_default_context(cafile=str(authority))
    context.load_cert_chain(folder / "certificate.pem", folder / "key.pem")
    return context


def address(whole: Any) -> str:
    note = json.loads((whole.lab.controller_directory / "server.json").read_text())
    return str(note["url"])


def status(whole: Any, context: ssl.SSLContext, path: str) -> int:
    """The status of the answer to whoever shows a certificate and no token."""
    place = urlsplit(address(whole))
    with closing(http.client.HTTPSConnection(place.hostname or "", place.port, context=context, timeout=10)) as made:
        made.request("GET", path)
        return made.getresponse().status


async def greet(url: str, context: ssl.SSLContext, node: str) -> aiohttp.WSMessage:
    """Say hello as a node; gives what the controller answers."""
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{url}/v1/agent", ssl=context) as socket:
        raw = socket.get_extra_info("socket")
        await socket.send_str(wire.encode(wire.Hello(node, "test", FORMAT, "", {})).decode())
        answer = await socket.receive(timeout=10)
    async with asyncio.timeout(10):
        # TLS has its own farewell, for which aiohttp does not wait.
        while raw.fileno() != -1:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return answer


def test_another_nodes_program_is_not_told(whole: Any, kept: Documents) -> None:
    """h1's own certificate: neither the stream nor the API tells it what h2 is to be."""
    context = shown(whole.lab.agent_directory("h1"), whole.lab.controller_directory / "ca.pem")
    answer = asyncio.run(greet(address(whole), context, "h2"))
    assert answer.type == aiohttp.WSMsgType.CLOSE
    assert "another node" in answer.extra
    for path in ("/v1/nodes/h2/program", "/v1/nodes/h1/program", "/v1/resources/Port", "/v1/nodes"):
        assert status(whole, context, path) == 401, path
    assert whole.converged(), "the node's own agent is not disturbed"


def test_an_expired_certificate(whole: Any, kept: Documents, wait_until: Callable[..., Any]) -> None:
    """The controller refuses it in the handshake; the agent says so, with what to do, and its node goes on."""
    agent = whole.lab.agent_directory("h2")
    flow = whole.flow(f"port/{TENANT}/one", "10.0.0.12")
    whole.lab.stop("agent", "h2")
    context = certificate(whole, "h2", agent, 1.0)
    since = time.monotonic()
    wait_until(lambda: time.monotonic() > since + 1.1, "the certificate is past")
    with pytest.raises((http.client.RemoteDisconnected, ssl.SSLError, ConnectionError)):
        status(whole, context, "/v1/agent")
    said = len(whole.agent_log("h2"))
    whole.command("lab", "restart", "--name", whole.name, "h2")
    wait_until(lambda: "connection-failed" in whole.agent_log("h2")[said:], "the agent says why")
    log = whole.agent_log("h2")[said:]
    assert "CERTIFICATE_EXPIRED" in log
    assert "suanwang agent --token" in log
    assert not whole.nodes()["h2"]["connected"]
    assert flow.stop()[0] == 0
    whole.lab.stop("agent", "h2")
    certificate(whole, "h2", agent, 3600.0)
    whole.command("lab", "restart", "--name", whole.name, "h2")
    whole.settle()


def test_a_deleted_node_is_cut_off(whole: Any, kept: Documents, wait_until: Callable[..., Any]) -> None:
    context = shown(whole.lab.agent_directory("h3"), whole.lab.controller_directory / "ca.pem")
    assert whole.nodes()["h3"]["connected"]
    said = len(whole.agent_log("h3"))
    with pytest.raises(ServerRefusal, match=r"Port/retail/one"):
        whole.delete(("Node", "", "h1"), ("Link", "", "h1-h2"))
    whole.delete(("Node", "", "h3"), ("Link", "", "h2-h3"))
    wait_until(lambda: "has revoked" in whole.agent_log("h3")[said:], "the agent says that it is cut off")
    assert "suanwang agent --token" in whole.agent_log("h3")[said:]
    assert status(whole, context, "/v1/agent") == 403
    assert whole.converged()


# --- a full disk ---


@pytest.fixture
def tiny(tmp_path: Path, wait_until: Callable[..., Any]) -> Iterator[tuple[Client, Path]]:
    """A server whose data directory is a file system of 4 MiB that only it sees; its client, and that directory."""
    script = 'mount -t tmpfs -o size=4m tmpfs "$0" && exec "$@"'
    command = [sys.executable, "-m", "suanwang", "server", "--data-directory", str(tmp_path), "--listen", "127.0.0.1:0"]
    with (tmp_path.parent / "tiny.log").open("wb") as log:
        line = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, str(tmp_path), *command]
        server = subprocess.Popen(line, stdout=log, stderr=log)
    try:
        inside = Path(f"/proc/{server.pid}/root{tmp_path}")
        wait_until(lambda: (inside / "server.json").exists() and server.poll() is None, "the server listens")
        place = urlsplit(json.loads((inside / "server.json").read_text())["url"])
        token = (inside / "admin.token").read_text().strip()
        assert place.hostname
        assert place.port
        client = Client(Whereabouts(place.hostname, place.port, (inside / "ca.pem").read_text(), token, "test"))
        yield client, inside
        client.close()
        assert server.poll() is None, "the server has ended"
    finally:
        server.send_signal(signal.SIGTERM)
        assert server.wait(20) == 0
    assert list(tmp_path.iterdir()) == []


def fill(file: Any) -> None:
    """Write until there is no room."""
    try:
        while True:
            file.write(bytes(4096))
    except OSError as problem:
        if problem.errno != errno.ENOSPC:
            raise


def test_no_room_is_left(tiny: tuple[Client, Path], documents: Any) -> None:
    client, folder = tiny

    def apply(found: Documents) -> Any:
        plan = client.post("/v1/plan", {"documents": found, "delete": [], "prune": False, "set": ""})
        return client.post("/v1/apply", {"plan": plan})

    apply([*documents.small_network(1), *documents.tenant_network(TENANT, {"one": ("h1", "10.0.0.11")})])
    before = client.get("/v1/history")
    with (folder / "filler").open("wb", buffering=0) as filler:
        fill(filler)
    text = "x" * 900
    many = [documents.make("Tenant", f"t{n}", description=text) for n in range(400)]
    for _ in range(3):
        with pytest.raises(ServerRefusal) as refused:
            apply(many)
        assert refused.value.code == "STORE_FULL", refused.value.errors
        assert refused.value.errors[0]["hint"]
    assert client.get("/v1/history") == before
    assert [item["metadata"]["name"] for item in client.items("Tenant")] == [TENANT]
    (folder / "filler").unlink()
    assert apply(many)["revision"] == before["commits"][0]["revision"] + 1
    assert len(list(client.items("Tenant"))) == 401
