"""The server as a process: how it starts, what it says, what it leaves, how it ends."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from suanwang.api.main import Redaction
from suanwang.api.settings import read_listen
from suanwang.model.errors import SuanwangError

from .conftest import Running, infrastructure, resource, signing_request, tenant

PROGRAM = """
import sys
from pathlib import Path
from suanwang.api.main import run
from suanwang.api.settings import Settings
from suanwang.model.errors import SuanwangError
try:
    sys.exit(run(Settings(Path(sys.argv[1]), port=0, log_level="debug")))
except SuanwangError as problem:
    print(problem, file=sys.stderr)
    sys.exit(1)
"""


class Process(Running):
    """A server in a process; the calls of `Running` reach it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(directory)], stderr=subprocess.PIPE, text=True
        )
        self._heard = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._heard:
                self.lines.append(line)
                self._heard.notify_all()
        with self._heard:
            self._heard.notify_all()

    def hears(self, pattern: str) -> str:
        """The first line that matches."""
        with self._heard:
            for _ in range(200):
                for line in self.lines:
                    if re.search(pattern, line):
                        return line
                assert self._heard.wait(20), self.lines
        raise AssertionError(self.lines)

    @property
    def note(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.directory / "server.json").read_text())
        return found

    @property
    def port(self) -> int:
        return int(self.note["url"].rpartition(":")[2])

    def end(self, number: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(30)
        self._reader.join(10)
        assert self.process.stderr is not None
        self.process.stderr.close()
        return code

    def __exit__(self, *exception: object) -> None:
        self.end()


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Callable[[], Process]]:
    started: list[Process] = []

    def start() -> Process:
        started.append(Process(tmp_path / "data"))
        return started[-1]

    yield start
    for process in started:
        if process.process.poll() is None:
            process.end(signal.SIGKILL)


def test_it_says_when_it_is_ready_and_ends_cleanly(launch: Callable[[], Process]) -> None:
    server = launch()
    line = server.hears("ready at")
    assert server.note["url"] in line
    assert server.note["pid"] == server.process.pid
    assert Path(server.note["ca"]).read_text().startswith("-----BEGIN CERTIFICATE")
    assert Path(server.note["tokenFile"]).read_text().strip() == server.admin_token
    assert server.call("GET", "/readyz").status == 200
    assert server.end() == 0
    assert sum("ready at" in line for line in server.lines) == 1
    assert "stopped" in server.lines[-1]
    assert not (server.directory / "server.json").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_in_time_while_streams_are_open(launch: Callable[[], Process], number: int) -> None:
    server = launch()
    server.hears("ready at")
    with server.open("GET", "/v1/watch", token=server.admin_token) as stream:
        stream.readline()
        assert server.end(number) == 0


def test_what_was_answered_survives_a_kill(launch: Callable[[], Process]) -> None:
    first = launch()
    first.hears("ready at")
    first.apply(*infrastructure(), *tenant("red"))
    token = first.token("kept", "viewer", ["red"])
    programs = {n["name"]: n["programHash"] for n in first.call("GET", "/v1/nodes").json["nodes"]}
    first.end(signal.SIGKILL)
    second = launch()
    second.hears("ready at.*revision 1")
    assert {n["name"]: n["programHash"] for n in second.call("GET", "/v1/nodes").json["nodes"]} == programs
    assert len(second.call("GET", "/v1/resources/Port", token=token).json["items"]) == 2


def test_a_second_server_on_the_same_data_is_refused_and_spoils_nothing(launch: Callable[[], Process]) -> None:
    first = launch()
    first.hears("ready at")
    token = first.admin_token
    second = launch()
    assert second.process.wait(30) == 1
    assert "STORE_LOCKED" in second.hears("STORE_LOCKED")
    second.end()
    assert first.note["pid"] == first.process.pid
    assert first.admin_token == token
    assert first.call("GET", "/v1/nodes").status == 200


def test_a_lost_admin_token_is_made_anew(launch: Callable[[], Process]) -> None:
    first = launch()
    first.hears("ready at")
    old = first.admin_token
    first.end()
    (first.directory / "admin.token").unlink()
    second = launch()
    second.hears("ready at")
    assert second.admin_token != old
    assert second.call("GET", "/v1/tokens").status == 200
    assert second.call("GET", "/v1/tokens", token=old).status == 401


def test_no_secret_is_ever_logged(launch: Callable[[], Process]) -> None:
    server = launch()
    server.hears("ready at")
    server.apply(*infrastructure(), *tenant("red"))
    token = server.token("someone", "operator", ["red"])
    enrolment = server.call("POST", "/v1/enrolment-tokens", {"node": "h1"}).json["token"]
    secret = enrolment.rsplit(".", 2)[1]
    body = {"node": "h1", "token": secret, "csr": signing_request()[1]}
    assert server.call("POST", "/v1/enrol", {**body, "node": "h2"}, token="").status == 403
    assert server.call("POST", "/v1/enrol", body, token="").status == 200
    assert server.call("POST", "/v1/enrol", {**body, "extra": secret}, token="").status == 400
    assert server.call("GET", f"/v1/resources/Vpc?token={token}", token=token).status == 400
    assert server.call("GET", f"/v1/nothing/{token}", token=token).status == 404
    assert server.call("DELETE", f"/v1/tokens/{token}").status == 404
    wrong = "sw_" + "w" * 43
    assert server.call("GET", "/v1/nodes", token=wrong).status == 401
    port = resource("Port", "odd", {"subnet": "web", "node": token}, "red")
    assert server.call("POST", "/v1/plan", {"documents": [port]}, token=token).status == 400
    server.end()
    logged = "".join(server.lines)
    assert "/v1/tokens" in logged
    for one in (server.admin_token, token, secret, wrong):
        assert one not in logged
        assert one[4:30] not in logged


def test_what_looks_like_a_token_is_blotted_out() -> None:
    import logging

    secret = "sw_" + "x" * 43
    try:
        raise RuntimeError(secret)
    except RuntimeError:
        record = logging.LogRecord("n", logging.ERROR, "p", 1, "got %s", (secret,), sys.exc_info())
    assert Redaction().filter(record)
    assert "x" * 20 not in logging.Formatter().format(record)


def test_an_address_in_use_is_said_plainly(running: Running, start: Callable[..., Running]) -> None:
    other = start("other")
    object.__setattr__(other.settings, "port", running.port)
    with pytest.raises(SuanwangError) as refused, other:
        pass
    assert refused.value.code == "CANT_LISTEN"
    # Everything is let go of again.
    object.__setattr__(other.settings, "port", 0)
    with start("other"):
        pass


def test_a_data_directory_that_can_not_be_made_is_said_plainly(start: Callable[..., Running], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SuanwangError) as refused, start("file/below"):
        pass
    assert refused.value.code == "BAD_DIRECTORY"


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:1", ("127.0.0.1", 1)),
        ("[::1]:7443", ("::1", 7443)),
        ("::1", ("::1", 7443)),
        ("[::]", ("::", 7443)),
        ("ctl.example", ("ctl.example", 7443)),
        ("0.0.0.0:0", ("0.0.0.0", 0)),
    ],
)
def test_addresses_to_listen_on(text: str, address: tuple[str, int]) -> None:
    assert read_listen(text) == address


@pytest.mark.parametrize("text", ["", ":1", "host:x", "host:70000", "host:-1"])
def test_what_is_no_address_to_listen_on(text: str) -> None:
    with pytest.raises(SuanwangError):
        read_listen(text)


def test_it_listens_on_ipv6(start: Callable[..., Running]) -> None:
    import http.client

    with start(host="::1") as server:
        assert server.server.url.startswith("https://[::1]:")
        connection = http.client.HTTPSConnection("::1", server.port, context=server.tls(), timeout=10)
        connection.request("GET", "/healthz")
        assert connection.getresponse().status == 200
        connection.close()
