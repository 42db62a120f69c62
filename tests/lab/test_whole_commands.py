"""The commands for labs: links that are cut and impaired, two labs side by side, and nothing left, whatever happens."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from suanwang.lab import namespaces
from suanwang.lab.state import DEFAULT_BASE, MARK, LabDirectory

pytestmark = pytest.mark.root

MEDIAN = re.compile(r"time=([\d.]+) ms")


@pytest.fixture(scope="module")
def tenants(whole: Any, documents: Any) -> None:
    whole.apply(documents.tenant_network("red", {"one": ("h1", "10.0.0.11"), "two": ("h2", "10.0.0.12")}))


def flag(whole: Any) -> tuple[str, str]:
    return ("--name", whole.name)


def test_exec(whole: Any, tenants: None) -> None:
    inside = ("lab", "exec", *flag(whole))
    assert "10.0.0.11" in whole.command(*inside, "port/red/one", "--", "ip", "address").stdout
    assert " 0% packet loss" in whole.command(*inside, "port/red/one", "ping", "-c", "1", "10.0.0.12").stdout
    assert "bgp" in whole.command(*inside, "h1", "--", "vtysh", "-c", "show ip route").stdout.lower()
    assert whole.command(*inside, "h1", "--", "sh", "-c", "exit 7", check=False).returncode == 7
    for target in ("nobody", "port/red/nobody"):
        done = whole.command(*inside, target, "--", "true", check=False)
        assert (done.returncode, "[NOT_FOUND]" in done.stderr) == (1, True), target


def test_cut_and_heal(whole: Any, tenants: None, wait_until: Callable[..., Any]) -> None:
    whole.command("lab", "cut", *flag(whole), "h1-h2")
    assert not whole.reaches("port/red/one", "10.0.0.12")
    status = whole.command("lab", "status", *flag(whole), "-o", "json", check=False)
    assert status.returncode == 2
    assert json.loads(status.stdout)["links"][0]["state"] == "cut"
    whole.command("lab", "heal", *flag(whole), "h1-h2")
    wait_until(lambda: whole.reaches("port/red/one", "10.0.0.12", count=1), "packets pass again")
    wait_until(lambda: whole.command("lab", "status", *flag(whole), check=False).returncode == 0, "all routes are back")
    done = whole.command("lab", "cut", *flag(whole), "nothing", check=False)
    assert "[NOT_FOUND]" in done.stderr


def test_two_labs_side_by_side(whole: Any, tenants: None, documents: Any, tmp_path: Path) -> None:
    twin = type(whole)(f"{whole.name}b", tmp_path)
    flow = whole.flow("port/red/one", "10.0.0.12")
    network = documents.tenant_network("red", {"one": ("h2", "10.0.0.12"), "two": ("h1", "10.0.0.11")})
    twin.up(documents.small_network(), "--emulate-all")
    try:
        assert {whole.name, twin.name} <= set(whole.command("lab", "list").stdout.split())
        done = twin.command("lab", "up", *flag(twin), "-f", str(twin.file(documents.small_network())), check=False)
        assert "[LAB_EXISTS]" in done.stderr
        twin.apply(network)
        assert twin.converged()
        assert twin.reaches("port/red/one", "10.0.0.11")

        # What is done to one link of the one is not felt in the other.
        def median_ms() -> float:
            text = twin.inside("port/red/one", "ping", "-n", "-i", "0.02", "-c", "15", "10.0.0.11").stdout
            return sorted(map(float, MEDIAN.findall(text)))[7]

        assert median_ms() < 10
        twin.command("lab", "impair", *flag(twin), "h1-h2", "--delay", "15ms")
        assert 30 <= median_ms() < 40
        twin.command("lab", "impair", *flag(twin), "h1-h2", "--loss", "100%")
        assert not twin.reaches("port/red/one", "10.0.0.11")
        twin.command("lab", "impair", *flag(twin), "h1-h2")
        assert twin.reaches("port/red/one", "10.0.0.11", count=5)
        for wrong in (("--delay", "15"), ("--loss", "2"), ("--loss", "x%"), ("--rate", "-1Mbps")):
            assert twin.command("lab", "impair", *flag(twin), "h1-h2", *wrong, check=False).returncode != 0, wrong
    finally:
        twin.command("lab", "down", *flag(twin))
    assert left(twin.name) == []
    lost, sent, gap_s = flow.stop()
    assert lost == 0, f"{lost} of {sent} lost, longest gap {gap_s:.3f} s"
    assert whole.converged()


def left(name: str) -> list[str]:
    """What is there of a lab: namespaces, its run directory, processes."""
    path = DEFAULT_BASE / name
    found = [f"namespace {one}" for one in namespaces.existing(f"{name}.")]
    found += [f"directory {path}"] if path.exists() else []
    for process in filter(str.isdigit, os.listdir("/proc")):
        try:
            if f"{MARK}={path}".encode() in Path("/proc", process, "environ").read_bytes().split(b"\0"):
                found.append(Path("/proc", process, "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return found


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_down_after_up_was_killed(whole: Any, documents: Any, tmp_path: Path, seed: int) -> None:
    victim = type(whole)(f"{whole.name}k", tmp_path)
    words = ["-m", "suanwang", "lab", "up", *flag(victim), "-f", str(victim.file(documents.small_network()))]
    builder = subprocess.Popen(
        [sys.executable, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ
    )
    with pytest.raises(subprocess.TimeoutExpired):
        builder.wait(random.Random(seed).uniform(0.4, 1.6))
    builder.send_signal(signal.SIGKILL)
    builder.wait(10)
    victim.command("lab", "down", *flag(victim))
    assert left(victim.name) == []
    victim.command("lab", "down", *flag(victim))


def test_the_machine_is_as_before(whole: Any, documents: Any, tmp_path: Path, machine: Callable[[], Any]) -> None:
    before = machine()
    other = type(whole)(f"{whole.name}m", tmp_path)
    try:
        other.up(documents.small_network())
        other.apply(documents.tenant_network("red", {"one": ("h1", "10.0.0.11"), "two": ("h2", "10.0.0.12")}))
        assert other.reaches("port/red/one", "10.0.0.12")
        assert machine() == before
    finally:
        other.command("lab", "down", *flag(other))
    assert machine() == before
    assert LabDirectory(other.name).path.exists() is False
