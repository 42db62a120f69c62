"""Real servers on the loopback, for tests of commands."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from suanwang.cli import whereabouts

READY_LIMIT_S = 30
KEPT = ("SUANWANG_REWRITE", "SUANWANG_TEST_SESSION")
"""Variables of the tests themselves."""
PROGRAM = [sys.executable, "-c", "from suanwang.cli.main import main; main()"]


@pytest.fixture(autouse=True)
def nobody_elses_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable, context or server of whoever runs the tests has a say in them."""
    for name in [name for name in os.environ if name.startswith("SUANWANG_")]:
        if name not in KEPT:
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setattr(whereabouts, "DEFAULT_DATA_DIRECTORY", tmp_path / "no-server")


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[Callable[[], Path]]:
    """Starts a server on a free port; gives its data directory. All are ended, and must end well."""
    started: list[tuple[subprocess.Popen[bytes], Path]] = []

    def start() -> Path:
        data = tmp_path / f"data-{len(started) + 1}"
        log = tmp_path / f"server-{len(started) + 1}.log"
        words = ["server", "--data-directory", str(data), "--listen", "127.0.0.1:0"]
        with log.open("w") as output:
            process = subprocess.Popen([*PROGRAM, *words], stdout=output, stderr=output)
        started.append((process, log))
        limit = time.monotonic() + READY_LIMIT_S
        while not (data / whereabouts.SERVER_NOTE).exists():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < limit, f"the server is not ready after {READY_LIMIT_S} s"
            time.sleep(0.02)
        return data

    yield start
    for process, _ in started:
        process.terminate()
    for process, log in started:
        assert process.wait(READY_LIMIT_S) == 0, log.read_text()
