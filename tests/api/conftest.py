"""A real server, on loopback with real TLS, in a thread of its own; and a client with nothing of the product in it."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from suanwang.api.server import Server
from suanwang.api.settings import Limits, Settings
from suanwang.model.registry import load

LIMITS = Limits(refused_delay_s=0.01, body_bytes=300_000, watch_heartbeat_s=0.5, shutdown_s=2.0)


class Answer:
    """Status, headers and body of an answer."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        return str(self.json["error"]["code"])


class Running:
    """A server in a thread."""

    def __init__(self, directory: Path, limits: Limits = LIMITS, **settings: Any) -> None:
        self.directory = directory
        self.settings = Settings(directory, port=0, limits=limits, **settings)
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._main, name="server", daemon=True)
        self.server: Server
        self.loop: asyncio.AbstractEventLoop

    def _main(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as problem:
            self._failure = problem
            self._ready.set()

    async def _serve(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self.server = Server(self.settings, load())
        await self.server.start()
        self._ready.set()
        await self._stop.wait()
        await self.server.close()

    def __enter__(self) -> Running:
        self._thread.start()
        assert self._ready.wait(60)
        if self._failure is not None:
            raise self._failure
        return self

    def __exit__(self, *exception: object) -> None:
        self.loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(30)
        assert not self._thread.is_alive()
        if self._failure is not None:
            raise self._failure

    @property
    def port(self) -> int:
        return int(self.server.url.rpartition(":")[2])

    @property
    def admin_token(self) -> str:
        return (self.directory / "admin.token").read_text().strip()

    def tls(self, certificate: tuple[Path, Path] | None = None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.directory / "ca.pem"))
        if certificate is not None:
            context.load_cert_chain(*certificate)
        return context

    @contextlib.contextmanager
    def open(
        self, method: str, path: str, body: Any = None, token: str = "", context: ssl.SSLContext | None = None
    ) -> Iterator[http.client.HTTPResponse]:
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, context=context or self.tls(), timeout=30)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        try:
            connection.request(method, path, data, headers)
            with connection.getresponse() as response:
                yield response
        finally:
            connection.close()

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str | None = None,
        context: ssl.SSLContext | None = None,
    ) -> Answer:
        used = self.admin_token if token is None else token
        with self.open(method, path, body, used, context) as response:
            return Answer(response)

    def apply(self, *documents: dict[str, Any], token: str | None = None, **more: Any) -> dict[str, Any]:
        plan = self.call("POST", "/v1/plan", {"documents": list(documents), **more}, token=token)
        assert plan.status == 200, plan.body
        # What assertions expect is not what these tests are about.
        accept = [one["subject"] for one in plan.json["broken"]]
        applied = self.call("POST", "/v1/apply", {"plan": plan.json, "accept": accept}, token=token)
        assert applied.status == 200, applied.body
        found: dict[str, Any] = applied.json
        return found

    def token(self, name: str, role: str, tenants: list[str], ttl: float | None = None) -> str:
        answer = self.call("POST", "/v1/tokens", {"name": name, "role": role, "tenants": tenants, "ttl": ttl})
        assert answer.status == 200, answer.body
        return str(answer.json["token"])

    def enrol(self, node: str, folder: Path) -> tuple[Path, Path]:
        """Get a certificate for a node: (certificate file, key file)."""
        token = self.call("POST", "/v1/enrolment-tokens", {"node": node}).json["token"]
        named, secret, _ = token.rsplit(".", 2)
        key, csr = signing_request()
        answer = self.call("POST", "/v1/enrol", {"node": named, "token": secret, "csr": csr}, token="")
        assert answer.status == 200, answer.body
        return save_certificate(folder / f"{node}-{time.monotonic_ns()}", answer.json["certificate"], key)

    def until(self, condition: Callable[[], bool], limit_s: float = 20) -> None:
        deadline = time.monotonic() + limit_s
        while not condition():
            assert time.monotonic() < deadline, "it did not come true in time"
            time.sleep(0.01)


def signing_request(key: Any = None) -> tuple[Any, str]:
    """A key and a request for it whose subject lies."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "another-node")])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return key, request.public_bytes(serialization.Encoding.PEM).decode()


def save_certificate(path: Path, certificate: str, key: Any) -> tuple[Path, Path]:
    names = path.with_suffix(".pem"), path.with_suffix(".key")
    names[0].write_text(certificate)
    names[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return names


def resource(kind: str, name: str, spec: dict[str, Any], tenant: str = "") -> dict[str, Any]:
    metadata = {"name": name, "tenant": tenant} if tenant else {"name": name}
    return {"apiVersion": "suanwang/v1", "kind": kind, "metadata": metadata, "spec": spec}


def infrastructure() -> list[dict[str, Any]]:
    """A region, a site and two hosts."""
    return [
        resource("Region", "north", {}),
        resource("Site", "one", {"region": "north", "location": {"latitude": 1, "longitude": 2}}),
        *(resource("Node", name, {"region": "north", "site": "one", "roles": ["host"]}) for name in ("h1", "h2")),
    ]


def tenant(name: str) -> list[dict[str, Any]]:
    """A tenant with one VPC and a port on each host."""
    return [
        resource("Tenant", name, {}),
        resource("Vpc", "shop", {"cidrs": ["10.0.0.0/16"]}, name),
        resource("Subnet", "web", {"vpc": "shop", "cidr": "10.0.1.0/24"}, name),
        resource("Port", "web-1", {"subnet": "web", "node": "h1"}, name),
        resource("Port", "web-2", {"subnet": "web", "node": "h2"}, name),
    ]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server with two hosts and the tenants `red` and `blue`, for tests that leave it as it was."""
    with Running(tmp_path_factory.mktemp("server") / "data") as server:
        server.apply(*infrastructure(), *tenant("red"), *tenant("blue"))
        yield server


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Running]:
    """An empty server for one test."""
    with Running(tmp_path / "data") as server:
        yield server


@pytest.fixture
def start(tmp_path: Path) -> Callable[..., Running]:
    """Makes servers with limits and settings of the test's own; use as context manager."""

    def make(name: str = "data", limits: dict[str, Any] | None = None, **settings: Any) -> Running:
        return Running(tmp_path / name, replace(LIMITS, **(limits or {})), **settings)

    return make
