"""The tours, run as users run them: what they show holds, and nothing of them stays, however they end."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from suanwang.lab import namespaces
from suanwang.lab.state import DEFAULT_BASE, MARK

pytestmark = [pytest.mark.root, pytest.mark.slow]

LIMIT_S = 60.0
COMMAND = [sys.executable, "-m", "suanwang"]


@pytest.fixture
def name(request: pytest.FixtureRequest) -> Iterator[str]:
    """A name for the tour's lab; whatever a failing test leaves of it is taken away."""
    found = f"td{os.getpid()}"
    assert left(found) == []
    yield found
    run("lab", "down", "--name", found)


@pytest.fixture
def signals() -> Iterator[None]:
    """A tour started from here listens to SIGINT, also where the tests run in the background of a shell."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *words], capture_output=True, text=True, timeout=100)


def left(name: str) -> list[str]:
    """What is there of a lab: namespaces, its run directory, processes."""
    found = [f"namespace {one}" for one in namespaces.existing(f"{name}.")]
    path = DEFAULT_BASE / name
    found += [f"directory {path}"] if path.exists() else []
    for process in filter(str.isdigit, os.listdir("/proc")):
        try:
            if f"{MARK}={path}".encode() in Path("/proc", process, "environ").read_bytes().split(b"\0"):
                found.append(Path("/proc", process, "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return found


def rows(done: subprocess.CompletedProcess[str]) -> dict[str, dict[str, Any]]:
    assert done.returncode == 0, done.stdout + done.stderr
    found = {row["what"]: row for row in json.loads(done.stdout)}
    assert all(set(row) == {"what", "asked", "measured", "holds"} for row in found.values())
    assert [row for row in found.values() if row["holds"] is False or (row["asked"] and not row["holds"])] == []
    return found


def test_leaf_spine_kept(name: str) -> None:
    began = time.monotonic()
    found = rows(run("demo", "--keep", "--name", name, "-o", "json"))
    assert time.monotonic() - began < LIMIT_S
    assert found["packets lost while the controller was killed and came back"]["measured"] == "0"
    assert found["two tenants: assertions that expect denied"]["measured"] == "5 hold"

    # It goes on, as it says, and a second tour by that name leaves it alone.
    again = run("demo", "--name", name)
    assert again.returncode == 1
    assert "[LAB_EXISTS]" in again.stderr
    assert run("lab", "status", "--name", name).returncode == 0

    assert run("lab", "down", "--name", name).returncode == 0
    assert left(name) == []


def test_backbone(name: str) -> None:
    began = time.monotonic()
    found = rows(run("demo", "chinanet", "--name", name, "-o", "json"))
    assert time.monotonic() - began < LIMIT_S
    trips = [row for what, row in found.items() if what.endswith("round trips")]
    assert len(trips) == 2
    assert left(name) == []


@pytest.mark.parametrize(
    ("seed", "number"), [(1, signal.SIGINT), (2, signal.SIGINT), (3, signal.SIGINT), (4, signal.SIGTERM)]
)
def test_interrupted(name: str, signals: None, seed: int, number: signal.Signals) -> None:
    """As by Ctrl-C, which all processes of the terminal's group are sent, at some moment of the tour."""
    tour = subprocess.Popen(
        [*COMMAND, "demo", "--name", name], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    )
    try:
        with pytest.raises(subprocess.TimeoutExpired):
            tour.communicate(timeout=random.Random(seed).uniform(0.6, 8.0))
        os.killpg(tour.pid, number)
        text, _ = tour.communicate(timeout=30)
    finally:
        tour.kill()
    assert tour.returncode == 130, text.decode()
    assert b"Traceback" not in text
    assert left(name) == []
