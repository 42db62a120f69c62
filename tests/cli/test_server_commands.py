"""Commands and a real server: who is trusted, streams, programs that talk JSON."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from suanwang.cli.main import main

PROGRAM = [sys.executable, "-c", "from suanwang.cli.main import main; main()"]

TENANT = """\
apiVersion: suanwang/v1
kind: Tenant
metadata: {{name: {name}}}
spec: {{}}
"""


def run(*words: str, data: Path | None = None, stdin: str | None = None) -> Result:
    before = ["--data-directory", str(data)] if data else []
    return CliRunner().invoke(main, [*before, *words], input=stdin)


def declare(data: Path, name: str) -> Result:
    return run("apply", "-f", "-", data=data, stdin=TENANT.format(name=name))


def address(data: Path) -> str:
    return str(json.loads((data / "server.json").read_text())["url"])


def error(result: Result) -> dict[str, object]:
    assert result.exit_code == 1, result.output
    found: dict[str, object] = json.loads(result.stderr)["error"]
    return found


def test_the_server_must_be_the_one_that_is_meant(start_server: Callable[[], Path]) -> None:
    mine, other = start_server(), start_server()
    token = str(mine / "admin.token")
    words = ["-o", "json", "get", "tenants", "--server", address(mine), "--token-file", token]
    assert run(*words, "--ca", str(mine / "ca.pem")).exit_code == 0
    found = error(run(*words, "--ca", str(other / "ca.pem")))
    assert found["code"] == "SERVER_UNTRUSTED"
    # The machine's own authorities do not vouch for it either.
    assert error(run(*words))["code"] == "SERVER_UNTRUSTED"
    elsewhere = [word.replace("127.0.0.1", "127.0.0.2") for word in words]
    # It does not listen there, and its certificate would not be for that address.
    assert error(run(*elsewhere, "--ca", str(mine / "ca.pem")))["code"] in ("SERVER_AWAY", "SERVER_UNTRUSTED")


def test_a_token_is_asked_for(start_server: Callable[[], Path], tmp_path: Path) -> None:
    data = start_server()
    words = ["-o", "json", "get", "tenants", "--server", address(data), "--ca", str(data / "ca.pem")]
    found = error(run(*words))
    assert found["code"] == "UNAUTHENTICATED"
    assert found["hint"]
    bad = tmp_path / "bad.token"
    bad.write_text("sw_made-up")
    found = error(run(*words, "--token-file", str(bad)))
    assert found["code"] == "UNAUTHENTICATED"
    assert "made-up" not in json.dumps(found)


def test_a_context_is_all_that_is_needed(start_server: Callable[[], Path]) -> None:
    data = start_server()
    words = ["--server", address(data), "--ca", str(data / "ca.pem"), "--token-file", str(data / "admin.token")]
    assert run("context", "set", "here", *words).exit_code == 0
    assert run("get", "tenants").output == "No Tenant is declared.\n"


def test_a_server_that_ended_is_said_to_be_away(start_server: Callable[[], Path], tmp_path: Path) -> None:
    data = start_server()
    note = (data / "server.json").read_text()
    stale = tmp_path / "stale"
    stale.mkdir()
    (stale / "server.json").write_text(note.replace(address(data), "https://127.0.0.1:1"))
    result = run("get", "tenants", data=stale)
    assert result.exit_code == 1
    assert "nothing listens there [SERVER_AWAY]" in result.stderr


def test_all_pages_are_read(start_server: Callable[[], Path]) -> None:
    data = start_server()
    text = "---\n".join(TENANT.format(name=f"t{number:04}") for number in range(2300))
    result = run("apply", "-f", "-", "-o", "json", data=data, stdin=text)
    assert result.exit_code == 0, result.output
    assert len(json.loads(result.stdout)["changes"]) == 2300
    names = [item["metadata"]["name"] for item in json.loads(run("get", "tenants", "-o", "json", data=data).stdout)]
    assert names == [f"t{number:04}" for number in range(2300)]


def test_watch_shows_changes_as_they_are_made_until_interrupted(start_server: Callable[[], Path]) -> None:
    data = start_server()
    assert declare(data, "first").exit_code == 0
    command = [*PROGRAM, "--data-directory", str(data), "watch", "tenant", "--since", "0", "-o", "json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        commit = json.loads(process.stdout.readline())
        assert [(change["action"], change["name"]) for change in commit["changes"]] == [("create", "first")]
        assert declare(data, "second").exit_code == 0
        assert run("delete", "tenant", "first", data=data).exit_code == 0
        seen = [json.loads(process.stdout.readline())["changes"][0] for _ in range(2)]
        assert [(change["action"], change["name"]) for change in seen] == [("create", "second"), ("delete", "first")]
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
        assert process.returncode == 130
        assert "Traceback" not in errors
    finally:
        process.kill()
        process.communicate()


def test_get_and_watch_leave_no_gap(start_server: Callable[[], Path]) -> None:
    data = start_server()
    assert declare(data, "first").exit_code == 0
    process = subprocess.Popen(
        [*PROGRAM, "--data-directory", str(data), "get", "tenants", "--watch"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert [process.stdout.readline().split()[0] for _ in range(2)] == ["NAME", "first"]
        assert declare(data, "second").exit_code == 0
        assert process.stdout.readline().split()[-3:] == ["+", "Tenant", "second"]
    finally:
        process.terminate()
        process.communicate(timeout=30)


def test_a_plan_that_was_altered_is_refused(start_server: Callable[[], Path], tmp_path: Path) -> None:
    data = start_server()
    saved, source = tmp_path / "a.plan", tmp_path / "a.yaml"
    source.write_text(TENANT.format(name="shop"))
    assert run("plan", "-f", str(source), "--out", str(saved), data=data).exit_code == 2
    saved.write_text(saved.read_text().replace("shop", "bank"))
    assert error(run("-o", "json", "apply", "-f", str(saved), data=data))["code"] == "BAD_PLAN"
    assert json.loads(run("get", "tenants", "-o", "json", data=data).stdout) == []


@pytest.mark.parametrize("output", ["json", "yaml"])
def test_what_was_shown_can_be_applied_again(start_server: Callable[[], Path], output: str) -> None:
    data = start_server()
    for name in ("first", "second"):
        assert declare(data, name).exit_code == 0
    shown = run("get", "tenants", "-o", output, data=data).stdout
    result = run("apply", "-f", "-", data=data, stdin=shown)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("No changes")


@pytest.mark.parametrize(("answer", "code", "declared"), [("n", 1, []), ("y", 0, ["shop"])])
def test_people_are_asked(
    start_server: Callable[[], Path], tmp_path: Path, answer: str, code: int, declared: list[str]
) -> None:
    data = start_server()
    source = tmp_path / "a.yaml"
    source.write_text(TENANT.format(name="shop"))
    ours, theirs = pty.openpty()
    command = [*PROGRAM, "--data-directory", str(data), "apply", "-f", str(source)]
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    seen = b""
    try:
        while b"[y/N]" not in seen:
            seen += os.read(ours, 1000)
        os.write(ours, f"{answer}\n".encode())
        assert process.wait(30) == code
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    assert b"\x1b[32m+ Tenant shop" in seen  # colours, for once
    found = json.loads(run("get", "tenants", "-o", "json", data=data).stdout)
    assert [item["metadata"]["name"] for item in found] == declared


def test_a_stream_that_the_server_ends_is_an_error(start_server: Callable[[], Path]) -> None:
    data = start_server()
    assert declare(data, "first").exit_code == 0
    command = [*PROGRAM, "--data-directory", str(data), "watch", "--since", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline().endswith("+ Tenant first\n")
        os.kill(json.loads((data / "server.json").read_text())["pid"], signal.SIGTERM)
        _, errors = process.communicate(timeout=30)
        assert process.returncode == 1
        assert "SERVER_AWAY" in errors
    finally:
        process.kill()
        process.communicate()
