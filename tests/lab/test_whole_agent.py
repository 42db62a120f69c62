"""Agents that are killed, restarted, and whose work others undo: the node comes to its program, packets go on."""

from __future__ import annotations

import random
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.root

TENANT = "retail"
SOURCE, SOURCE_ADDRESS, TARGET = f"port/{TENANT}/one", "10.0.0.11", "10.0.0.12"
KILLS = 8
REPAIR_LIMIT_S = 5.0

Kept = list[dict[str, Any]]


@pytest.fixture(scope="module")
def kept(whole: Any, documents: Any) -> Kept:
    """Ports that no test here changes, applied."""
    places = {"one": ("h1", SOURCE_ADDRESS), "two": ("h2", TARGET), "near": ("h1", "10.0.0.13")}
    found: Kept = documents.tenant_network(TENANT, places)
    whole.apply(found)
    return found


def others(documents: Any, chance: random.Random) -> Kept:
    """Ports of both hosts, which come, go and move from one call to the next."""
    chosen = chance.sample(range(20, 60), 20)
    return [documents.port(TENANT, f"p{n}", chance.choice(["h1", "h2"]), f"10.0.0.{n}") for n in chosen]


def spin(seconds: float) -> None:
    """Wait without sleeping, to hit moments that a sleep would round to its own."""
    moment = time.monotonic() + seconds
    while time.monotonic() < moment:
        pass


def clean_up(whole: Any, node: str) -> None:
    """Let an agent's own command remove all that it made."""
    lab = whole.lab
    words = ["--node", node, "--state-directory", str(lab.agent_directory(node)), "--underlay", f"{whole.name}.{node}"]
    whole.command("agent", *words, "--prefix", lab.prefix(node), "--controller", "127.0.0.1:1", "--clean-up")
    assert whole.made(node) == []


@pytest.mark.slow
def test_killed_while_it_applies(whole: Any, kept: Kept, documents: Any) -> None:
    chance = random.Random(5)
    flow = whole.flow(SOURCE, TARGET)
    for _ in range(KILLS):
        apply = threading.Thread(
            target=whole.apply, args=([*kept, *others(documents, chance)],), kwargs={"prune": True, "wait": False}
        )
        apply.start()
        spin(chance.uniform(0.0, 0.12))
        whole.lab.kill("agent", "h1")
        apply.join()
        whole.command("lab", "restart", "--name", whole.name, "h1")
        whole.settle()
    assert flow.stop()[0] == 0
    disturbed = whole.kernel("h1")
    whole.lab.stop("agent", "h1")
    clean_up(whole, "h1")
    whole.command("lab", "restart", "--name", whole.name, "h1")
    whole.settle()
    assert whole.kernel("h1") == disturbed
    whole.apply(kept, prune=True)
    assert len(whole.made("h1")) == 3, "two ports and one VPC"


def test_restarted(whole: Any, kept: Kept) -> None:
    before = whole.kernel("h1")
    flow = whole.flow(SOURCE, TARGET)
    for host in ("h1", "h2"):
        whole.command("lab", "restart", "--name", whole.name, host)
        whole.settle()
    lost, sent, gap_s = flow.stop()
    assert (lost, gap_s < 0.5) == (0, True), f"{lost} of {sent} lost, longest gap {gap_s:.3f} s"
    assert whole.kernel("h1") == before


def inside(namespace: str, *words: str) -> Callable[[], None]:
    def run() -> None:
        line = ["nsenter", f"--net=/run/netns/{namespace}", *words]
        subprocess.run(line, check=True, capture_output=True, text=True, timeout=10)

    return run


def gone(namespace: str) -> Callable[[], None]:
    def run() -> None:
        subprocess.run(["ip", "netns", "delete", namespace], check=True, capture_output=True, timeout=10)

    return run


def drifts(whole: Any) -> dict[str, Callable[[], None]]:
    """What others may do to a node by hand."""
    prefix = whole.lab.prefix("h1")
    vpc, workload = f"{prefix}vpc.{TENANT}.net", f"{prefix}port.{TENANT}.one"
    enter = ("nsenter", f"--net=/run/netns/{vpc}")
    device = whole.inside("h1", *enter, "ip", "-o", "route", "show", SOURCE_ADDRESS).stdout.split("dev ")[1].split()[0]
    fdb = whole.inside("h1", *enter, "bridge", "fdb", "show", "dev", "vxlan1").stdout
    mac = next(line.split()[0] for line in fdb.splitlines() if " dst " in line)
    far = whole.inside("h1", *enter, "ip", "neigh", "show", "dev", "vxlan1").stdout.split()[0]
    return {
        "a remote port's route": inside(vpc, "ip", "route", "delete", TARGET),
        "a local port's route": inside(vpc, "ip", "route", "delete", SOURCE_ADDRESS),
        "a route too many": inside(vpc, "ip", "route", "add", "10.0.0.99", "dev", device),
        "the filters": inside(vpc, "nft", "delete", "table", "inet", "suanwang"),
        "a chain's rules": inside(vpc, "nft", "flush", "chain", "inet", "suanwang", "sources"),
        "a set's elements": inside(vpc, "nft", "flush", "set", "inet", "suanwang", "ports"),
        "a remote node's neighbour": inside(vpc, "ip", "neigh", "delete", far, "dev", "vxlan1"),
        "a remote node's bridge entry": inside(vpc, "bridge", "fdb", "delete", mac, "dev", "vxlan1"),
        "the gateway's address": inside(vpc, "ip", "address", "delete", "10.0.0.1/32", "dev", device),
        "a port's pair": inside(vpc, "ip", "link", "delete", device),
        "a port's device switched off": inside(vpc, "ip", "link", "set", device, "down"),
        "the tunnel's device": inside(vpc, "ip", "link", "delete", "vxlan1"),
        "the VPC's namespace": gone(vpc),
        "forwarding": inside(vpc, "sysctl", "-qw", "net.ipv4.ip_forward=0"),
        "a workload's namespace": gone(workload),
        "a workload's default route": inside(workload, "ip", "route", "delete", "default"),
        "a workload's address": inside(workload, "ip", "address", "flush", "dev", "eth0", "scope", "global"),
    }


ROUNDS = (
    ("a remote port's route", "a remote node's bridge entry", "a set's elements", "a workload's default route"),
    ("a remote node's neighbour", "a route too many", "a chain's rules", "a workload's address", "forwarding"),
    ("the filters", "the gateway's address", "the tunnel's device"),
    ("a local port's route", "a port's device switched off"),
    ("a port's pair",),
    ("a workload's namespace",),
    ("the VPC's namespace",),
)


def test_every_drift_is_tried(whole: Any, kept: Kept) -> None:
    assert sorted(name for names in ROUNDS for name in names) == sorted(drifts(whole))


@pytest.mark.slow
@pytest.mark.parametrize("names", ROUNDS, ids=lambda names: names[0])
def test_what_others_undo_comes_back(
    whole: Any, kept: Kept, wait_until: Callable[..., Any], names: tuple[str, ...]
) -> None:
    before = whole.kernel("h1")
    log = Path(whole.lab.directory.path, "agents", "h1.log")
    said = log.stat().st_size
    by_hand = drifts(whole)
    for name in names:
        by_hand[name]()
    wait_until(lambda: whole.kernel("h1") == before, "as it was", REPAIR_LIMIT_S)
    wait_until(lambda: whole.reaches(SOURCE, TARGET, count=1), "packets pass", REPAIR_LIMIT_S)
    wait_until(lambda: " repaired " in log.read_text()[said:], "the repair is reported", REPAIR_LIMIT_S)
    assert whole.converged()
