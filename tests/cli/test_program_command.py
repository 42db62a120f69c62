"""The program as a process: what it imports, how it ends, completion, variables."""

from __future__ import annotations

import importlib
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from suanwang.cli.lazy import LazyGroup
from suanwang.cli.main import COMMANDS, main

HEAVY = ("pydantic", "aiohttp", "rich", "yaml", "cryptography", "pyroute2", "asyncio", "http.client")


def suanwang(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = dict(os.environ)
    command = [sys.executable, "-c", "from suanwang.cli.main import main; main()", *words]
    return subprocess.run(command, capture_output=True, text=True, env=environment | variables, timeout=60)


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from suanwang.cli.main import main; main(['--help'], standalone_mode=False); "
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr.strip() == "[]"
    assert "Usage: suanwang" in done.stdout


def commands(group: click.Group, context: click.Context) -> list[tuple[str, click.Command]]:
    found = []
    for name in group.list_commands(context):
        if isinstance(group, LazyGroup):
            module = group.entries[name].target.partition(":")[0]
            if importlib.util.find_spec(module) is None:
                continue
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            found += [(f"{name} {inner}", below) for inner, below in commands(command, context)]
        else:
            found.append((name, command))
    return found


def test_every_command_says_what_it_does_and_every_flag_what_for() -> None:
    for name, command in commands(main, click.Context(main)):
        assert command.help, name
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert parameter.help, f"{name} {parameter.name}"


def test_an_unknown_command_is_found_before_its_module_is_imported() -> None:
    result = CliRunner().invoke(main, ["plna"])
    assert result.exit_code == 1
    assert "did you mean 'plan'?" in result.output


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("suanwang pr", ["probe", "program"]),
        ("suanwang get sub", ["subnet"]),
        ("suanwang token ", ["create", "delete", "list"]),
        ("suanwang get ports -o ", ["json", "table", "yaml"]),
        ("suanwang apply --w", ["--wait"]),
    ],
)
def test_completion(words: str, expected: list[str]) -> None:
    count = len(words.split()) - (0 if words.endswith(" ") else 1)
    done = suanwang(_SUANWANG_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD=str(count))
    found = sorted(line.partition(",")[2] for line in done.stdout.splitlines())
    assert found[: len(expected)] == expected


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell: str) -> None:
    result = CliRunner().invoke(main, ["completion", shell])
    assert result.exit_code == 0
    assert "_SUANWANG_COMPLETE" in result.output


def test_variables_stand_for_flags() -> None:
    result = CliRunner(env={"SUANWANG_OUTPUT": "json"}).invoke(main, ["schema", "vpc"])
    assert json.loads(result.output)["title"] == "Vpc"
    result = CliRunner(env={"SUANWANG_OUTPUT": "json"}).invoke(main, ["schema", "vpc", "-o", "yaml"])
    assert "title: Vpc" in result.output
    result = CliRunner(env={"SUANWANG_SERVER": "localhost:1", "SUANWANG_OUTPUT": "json"}).invoke(main, ["get", "ports"])
    assert json.loads(result.stderr)["error"]["code"] == "SERVER_AWAY"


def test_flags_after_the_command_win_over_variables() -> None:
    result = CliRunner(env={"SUANWANG_LAB_NAME": "nowhere"}).invoke(main, ["get", "ports", "--server", "localhost:1"])
    assert "localhost:1" in result.stderr


def test_no_colours_without_a_terminal() -> None:
    assert "\x1b" not in suanwang("schema").stdout
    assert "\x1b" not in suanwang("gte").stderr


def test_a_closed_pipe_is_no_error() -> None:
    environment = dict(os.environ, PYTHONUNBUFFERED="1")
    process = subprocess.Popen(
        [sys.executable, "-c", "from suanwang.cli.main import main; main()", "schema", "vpc"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
    )
    assert process.stdout is not None
    process.stdout.close()
    _, errors = process.communicate(timeout=60)
    assert errors == b""
    assert process.returncode == 141


def test_an_interrupt_ends_it_at_once_and_quietly() -> None:
    # A server that takes the connection and then says nothing.
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        process = subprocess.Popen(
            [sys.executable, "-c", "from suanwang.cli.main import main; main()", "get", "ports", "--server", address],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        listener.settimeout(30)
        peer, _ = listener.accept()
        with peer:
            assert peer.recv(1)  # it has begun to speak, so it waits for us now
            process.send_signal(signal.SIGINT)
            output, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert b"Traceback" not in errors
    assert output == b""


def test_a_token_is_never_shown(tmp_path: Path) -> None:
    secret = "sw_do-not-show-me"
    token = tmp_path / "token"
    token.write_text(secret)
    for words in (["get", "ports"], ["nodes"], ["--debug", "get", "ports"]):
        done = suanwang(*words, SUANWANG_SERVER="127.0.0.1:1", SUANWANG_TOKEN_FILE=str(token))
        assert done.returncode == 1
        assert secret not in done.stdout + done.stderr
        done = suanwang(*words, SUANWANG_SERVER="127.0.0.1:1", SUANWANG_TOKEN=secret)
        assert secret not in done.stdout + done.stderr


def test_summaries_fit_a_line() -> None:
    for name, entry in COMMANDS.items():
        assert len(entry.summary) <= 64, name
        assert entry.summary.endswith("."), name
