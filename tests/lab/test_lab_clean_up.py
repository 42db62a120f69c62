"""Nothing of a lab stays, not after `down` and not after a crash; the machine itself is never touched."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from suanwang.lab import namespaces
from suanwang.lab.description import Impairment, UnderlayDescription
from suanwang.lab.state import MARK, LabDirectory, ProcessRecord, names, start_ticks
from suanwang.lab.underlay import Underlay
from suanwang.model.errors import SuanwangError

Describe = Callable[..., UnderlayDescription]

VOLATILE = ("random/", "fs/", "pty/nr", "ns_last_pid", "debug/", "perf_")


def machine_state() -> dict[str, str]:
    """Everything of the machine that a lab must not touch."""
    state: dict[str, str] = {}
    for argv in (["ip", "-d", "link"], ["ip", "address"], ["ip", "route", "show", "table", "all"], ["ip", "rule"]):
        state[" ".join(argv)] = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    state["nft"] = subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True).stdout
    for root in ("/proc/sys/net", "/proc/sys/kernel", "/proc/sys/vm"):
        for path in sorted(Path(root).rglob("*")):
            if path.is_file() and not any(word in str(path) for word in VOLATILE):
                try:
                    state[str(path)] = path.read_text()
                except OSError:
                    continue
    for path in sorted(Path("/etc").rglob("*")):
        if path.is_file() and not path.is_symlink():
            status = path.stat()
            state[str(path)] = f"{status.st_mtime_ns} {hashlib.sha256(path.read_bytes()).hexdigest()}"
    state["namespaces"] = " ".join(namespaces.existing("clean.") + namespaces.existing("crash."))
    state["run"] = " ".join(sorted(str(path) for name in ("frr", "suanwang") for path in Path("/run", name).rglob("*")))
    crash_logs = Path("/var/tmp/frr")
    state["crash logs"] = " ".join(sorted(os.listdir(crash_logs))) if crash_logs.exists() else ""
    return state


def marked_processes(directory: LabDirectory) -> list[str]:
    mark = f"{MARK}={directory.path}".encode()
    found = []
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            if mark in Path(f"/proc/{entry}/environ").read_bytes().split(b"\0"):
                found.append(Path(f"/proc/{entry}/cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return found


def difference(before: dict[str, str], after: dict[str, str]) -> list[str]:
    return [key for key in sorted(before.keys() | after.keys()) if before.get(key) != after.get(key)]


def test_the_machine_is_as_before(base: Path, leaf_spine: Describe) -> None:
    Path("/run/netns").mkdir(exist_ok=True)
    before = machine_state()
    lab = Underlay.up("clean", leaf_spine(Impairment(delay_us=1_000)), base)
    lab.cut("leaf1-spine1")
    changed = [key for key in difference(before, machine_state()) if key not in ("namespaces", "crash logs")]
    assert changed == []
    lab.down()
    assert difference(before, machine_state()) == []
    assert list(base.iterdir()) == []
    assert marked_processes(lab.directory) == []
    lab.down()


BUILDER = """
import sys
from pathlib import Path
import msgspec
from suanwang.lab.description import UnderlayDescription
from suanwang.lab.underlay import Underlay
description = msgspec.json.decode(sys.stdin.buffer.read(), type=UnderlayDescription)
Underlay.up("crash", description, Path(sys.argv[1]), progress=lambda text: print(text, flush=True))
"""


@pytest.mark.parametrize("attempt", range(8))
def test_a_crash_while_building_leaves_nothing(base: Path, leaf_spine: Describe, attempt: int) -> None:
    import msgspec

    before = machine_state()
    builder = subprocess.Popen(
        [sys.executable, "-c", BUILDER, str(base)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert builder.stdin is not None
    builder.stdin.write(msgspec.json.encode(leaf_spine(Impairment(delay_us=1_000))))
    builder.stdin.close()
    directory = LabDirectory("crash", base)
    while not directory.path.exists():
        assert builder.poll() is None
    # A spinning wait hits moments that a sleep would round to its own.
    moment = time.monotonic() + random.Random(attempt).uniform(0, 0.9)
    while time.monotonic() < moment:
        pass
    builder.send_signal(signal.SIGKILL)
    builder.wait()
    Underlay.open("crash", base).down()
    assert difference(before, machine_state()) == []
    assert marked_processes(directory) == []
    assert names(base) == []


def test_processes_outside_the_namespaces_go_too(base: Path, pair: Describe) -> None:
    lab = Underlay.up("outside", pair(), base)
    process = subprocess.Popen(["sleep", "1000"], env=lab.environment)
    stranger = subprocess.Popen(["sleep", "1000"])
    try:
        lab.down()
        assert process.wait(timeout=5) == -signal.SIGTERM
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_taken_over_process_number_is_not_alive() -> None:
    ticks = start_ticks(os.getpid())
    assert ticks is not None
    assert ProcessRecord("relay", "relay", os.getpid(), ticks).alive
    assert not ProcessRecord("relay", "relay", os.getpid(), ticks - 1).alive


def test_a_lab_being_built_is_not_pulled_away(base: Path) -> None:
    directory = LabDirectory("busy", base)
    directory.claim()
    with (
        directory.locked(),
        pytest.raises(SuanwangError, match="is being built or removed"),
        directory.locked(limit_s=0.1),
    ):
        pytest.fail("two held one lab")


def test_names_of_strangers_are_left_alone(base: Path) -> None:
    namespaces.create(["mine.node"])
    try:
        with pytest.raises(SuanwangError, match="not of any lab"):
            LabDirectory("mine", base).claim()
        assert namespaces.existing("mine.") == ["mine.node"]
    finally:
        namespaces.delete(["mine.node"])


@pytest.mark.parametrize("name", ["", "a.b", "../x", "-x", "x" * 32, "a b"])
def test_names_that_can_not_be(name: str) -> None:
    with pytest.raises(SuanwangError, match="can not be the name"):
        LabDirectory(name)


def test_the_record_survives_being_written_and_read(base: Path, pair: Describe) -> None:
    directory = LabDirectory("record", base)
    directory.claim()
    record = directory.read()
    record.description = pair(Impairment(delay_us=5, loss=0.25))
    record.namespaces = ["record.left"]
    directory.write(record)
    assert directory.read() == record
    assert json.loads((directory.path / "lab.json").read_text())["name"] == "record"
