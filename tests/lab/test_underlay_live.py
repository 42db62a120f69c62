"""Labs for real: routers in namespaces, packets on emulated links. Needs root and FRR."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import pairwise
from statistics import median

import pytest

from suanwang.lab import convergence, namespaces
from suanwang.lab.description import Impairment, LinkDescription, NodeDescription, UnderlayDescription
from suanwang.lab.links import has_netem
from suanwang.lab.underlay import Underlay, router_configuration
from suanwang.model.errors import SuanwangError

Start = Callable[[str, UnderlayDescription], Underlay]
Describe = Callable[..., UnderlayDescription]

RTT = re.compile(r"time=([\d.]+) ms")
SEQUENCE = re.compile(r"icmp_seq=(\d+)")


def ping(lab: Underlay, source: str, address: str, *options: str) -> str:
    answer = lab.exec(source, ["ping", "-n", "-W", "1", *options, address])
    return str(answer.stdout)


def eventually(holds: Callable[[], bool], limit_s: float = 15.0) -> None:
    """Try until it holds; each try takes a process, so this is no busy waiting."""
    deadline = time.monotonic() + limit_s
    while not holds():
        assert time.monotonic() < deadline


def address_of(lab: Underlay, node: str, version: int = 4) -> str:
    description = lab.record.description
    assert description is not None
    loopbacks = next(n.loopbacks for n in description.nodes if n.name == node)
    return loopbacks[0 if version == 4 else 1].split("/")[0]


def median_ms(text: str) -> float:
    """The middle one of the round-trip times: a busy machine makes some late, and that is not the link's doing."""
    return median(float(x) for x in RTT.findall(text))


@pytest.mark.parametrize("options", [{}, {"metric": "delay"}, {"protocol": "ospf", "metric": "delay"}, {"bfd": True}])
def test_leaf_spine_reaches_all(start: Start, leaf_spine: Describe, options: dict[str, object]) -> None:
    lab = start("reach", leaf_spine(**options))
    assert lab.missing_routes() == {}
    for node in ("host2", "host3", "host4", "leaf2", "spine1"):
        for version in (4, 6):
            reached = partial(ping, lab, "host1", address_of(lab, node, version), "-c", "2", "-i", "0.05")
            # Better routes may still take the place of the first ones, on the way back too.
            eventually(lambda reached=reached: " 0% packet loss" in reached())
    status = lab.status()
    assert status["stage"] == "up"
    nodes = status["nodes"]
    assert isinstance(nodes, list)
    assert all(len(node["running"]) >= 2 and not node["dead"] for node in nodes)


def test_spine_link_cut_heals_by_itself(start: Start, leaf_spine: Describe) -> None:
    lab = start("cut", leaf_spine())
    cut = "leaf1-spine1"
    for source, target in (("host1", "host3"), ("host2", "host4"), ("host1", "host4")):
        probe = subprocess.Popen(
            lab.command_line(source, ["ping", "-n", "-i", "0.005", "-c", "400", address_of(lab, target)]),
            stdout=subprocess.PIPE,
            text=True,
        )
        assert probe.stdout is not None
        seen = [probe.stdout.readline() for _ in range(20)]
        lab.cut(cut)
        rest, _ = probe.communicate(timeout=30)
        numbers = [int(x) for x in SEQUENCE.findall("".join(seen) + rest)]
        longest = max(after - before for before, after in pairwise(numbers))
        assert numbers[-1] >= 395
        assert longest * 0.005 < 1.0
        lab.heal(cut)
        description = lab.record.description
        assert description is not None
        convergence.wait(description.nodes, lab.namespace, 10.0)
    assert lab.record.cut == []


def test_delay_is_precise(start: Start, pair: Describe) -> None:
    lab = start("delay", pair(Impairment(delay_us=10_000)))
    # The first packets also resolve neighbours.
    ping(lab, "left", address_of(lab, "right"), "-c", "3", "-i", "0.02")
    text = ping(lab, "left", address_of(lab, "right"), "-c", "100", "-i", "0.02")
    assert " 0% packet loss" in text
    assert 20.0 <= median_ms(text) < 22.0


def test_impairment_can_be_changed_while_it_runs(start: Start, pair: Describe) -> None:
    lab = start("change", pair(emulate_all=True))
    target = address_of(lab, "right")
    assert median_ms(ping(lab, "left", target, "-c", "20", "-i", "0.01")) < 5
    lab.impair("left-right", Impairment(delay_us=15_000))
    assert 30 <= median_ms(ping(lab, "left", target, "-c", "20", "-i", "0.02")) < 33
    lab.impair("left-right", Impairment(loss=0.2))
    text = ping(lab, "left", target, "-c", "1000", "-i", "0.002", "-q")
    lost = re.search(r"([\d.]+)% packet loss", text)
    assert lost is not None
    # Either way may lose it: 1 - 0.8², give or take four standard deviations.
    assert 30 < float(lost[1]) < 42
    lab.impair("left-right", Impairment())
    assert " 0% packet loss" in ping(lab, "left", target, "-c", "50", "-i", "0.005")


def test_a_link_without_emulation_can_not_be_impaired(start: Start, pair: Describe) -> None:
    if namespaces and has_netem():
        pytest.skip("this kernel has netem: every link can be impaired")
    lab = start("plain", pair())
    with pytest.raises(SuanwangError, match="without emulation"):
        lab.impair("left-right", Impairment(delay_us=1_000))


@pytest.mark.parametrize("impairment", [Impairment(), Impairment(delay_us=1_000)])
def test_frames_of_9000_bytes_pass(start: Start, pair: Describe, impairment: Impairment) -> None:
    lab = start("mtu", pair(impairment))
    # 9000 less 20 bytes of IPv4 and 8 of ICMP; one more byte does not fit.
    assert " 0% packet loss" in ping(lab, "left", address_of(lab, "right"), "-c", "2", "-M", "do", "-s", "8972")
    assert "100% packet loss" in ping(lab, "left", address_of(lab, "right"), "-c", "1", "-M", "do", "-s", "8973")


def test_tcp_through_the_relay_is_whole(start: Start, pair: Describe) -> None:
    lab = start("tcp", pair(Impairment(delay_us=2_000, loss=0.001)))
    receiver = (
        "import socket,hashlib,sys\n"
        "s=socket.create_server((sys.argv[1],9000)); print('ready',flush=True); c,_=s.accept(); h=hashlib.sha256()\n"
        "while d:=c.recv(1<<20): h.update(d)\n"
        "print(h.hexdigest())"
    )
    sender = (
        "import socket,hashlib,random,sys\n"
        "d=random.Random(5).randbytes(20_000_003); c=socket.create_connection((sys.argv[1],9000)); c.sendall(d)\n"
        "c.close(); print(hashlib.sha256(d).hexdigest())"
    )
    target = address_of(lab, "right")
    process = subprocess.Popen(
        lab.command_line("right", ["python3", "-c", receiver, target]), stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    sent = lab.exec("left", ["python3", "-c", sender, target], timeout=60).stdout
    received, _ = process.communicate(timeout=30)
    assert sent == received
    bad = lab.exec("right", ["cat", "/proc/thread-self/net/snmp"]).stdout
    headings, values = (line.split() for line in bad.splitlines() if line.startswith("Tcp:"))
    assert dict(zip(headings, values, strict=True))["InCsumErrors"] == "0"


def test_rate_is_kept(start: Start, pair: Describe) -> None:
    lab = start("rate", pair(Impairment(rate_bps=8_000_000)))
    target = address_of(lab, "right")
    # A packet of 1000 bytes takes 1 ms. A burst waits up to 50 ms for its turn, and what comes on top is dropped.
    assert " 0% packet loss" in ping(lab, "left", target, "-c", "100", "-i", "0.002", "-s", "958", "-q")
    text = ping(lab, "left", target, "-c", "200", "-l", "200", "-s", "958", "-q")
    received = re.search(r"(\d+) received", text)
    assert received is not None
    assert 40 <= int(received[1]) <= 70


def test_one_end_down_is_seen_at_the_other(start: Start, pair: Describe) -> None:
    lab = start("carrier", pair(Impairment(delay_us=1_000)))
    left, right = lab.planned_links()[0].ends

    def wait_for_carrier(wanted: str) -> None:
        watch = ["timeout", "10", "sh", "-c", f"until ip link show {right.interface} | grep -q {wanted}; do :; done"]
        assert lab.exec("right", watch).returncode == 0

    lab.exec("left", ["ip", "link", "set", left.interface, "down"])
    wait_for_carrier("NO-CARRIER")
    lab.exec("left", ["ip", "link", "set", left.interface, "up"])
    wait_for_carrier("LOWER_UP")
    description = lab.record.description
    assert description is not None
    convergence.wait(description.nodes, lab.namespace, 10.0)


def test_two_labs_side_by_side(start: Start, pair: Describe, leaf_spine: Describe) -> None:
    """They use the same names and addresses, and one goes without the other's noticing."""
    first = start("one", pair(Impairment(delay_us=500)))
    second = start("two", pair(Impairment(delay_us=5_000)))
    assert median_ms(ping(first, "left", address_of(first, "right"), "-c", "10", "-i", "0.02")) < 9
    first.down()
    assert median_ms(ping(second, "left", address_of(second, "right"), "-c", "10", "-i", "0.02")) >= 10
    assert second.missing_routes() == {}
    with pytest.raises(SuanwangError, match="is there already"):
        start("two", leaf_spine())
    assert second.missing_routes() == {}


def test_least_delay_beats_fewest_hops(start: Start) -> None:
    names = ("a", "b", "c")
    nodes = tuple(NodeDescription(n, "router", 65_001 + i, (f"10.0.0.{i + 1}/32",)) for i, n in enumerate(names))
    wires = tuple(
        LinkDescription(f"{a}-{b}", a, b, Impairment(delay_us=delay))
        for a, b, delay in (("a", "c", 9_000), ("a", "b", 2_000), ("b", "c", 3_000))
    )
    lab = start("least", UnderlayDescription(nodes, wires, metric="delay"))
    eventually(lambda: "to-b" in lab.exec("a", ["ip", "route", "get", "10.0.0.3"]).stdout)
    lab.exec("a", ["ping", "-c", "2", "-i", "0.02", "10.0.0.3"])
    assert 10 <= median_ms(ping(lab, "a", "10.0.0.3", "-c", "20", "-i", "0.02")) < 12


def test_reload_changes_what_is_announced(start: Start, pair: Describe) -> None:
    lab = start("reload", pair())
    description = lab.record.description
    assert description is not None
    right = next(n for n in description.nodes if n.name == "right")
    configuration = router_configuration(right, description, lab.planned_links())
    routing = lab.routing("right")
    routing.reload(replace(configuration, loopbacks=(*configuration.loopbacks, "192.0.2.1/32")))
    lab.exec("right", ["ip", "address", "add", "192.0.2.1/32", "dev", "lo"])
    wanted = replace(right, loopbacks=(*right.loopbacks, "192.0.2.1/32"))
    convergence.wait([wanted, next(n for n in description.nodes if n.name == "left")], lab.namespace, 10.0)
    summary = lab.routing("left").show("bgp ipv4 unicast")
    assert isinstance(summary, dict)
    assert "192.0.2.1/32" in summary["routes"]


def test_what_is_missing_is_named(base: object, start: Start, pair: Describe) -> None:
    description = pair()
    lonely = replace(description, links=())
    with pytest.raises(SuanwangError, match=r"left has none to right 10\.255\.0\.2/32"):
        Underlay.up("lonely", lonely, base, limit_s=0.5)  # type: ignore[arg-type]
    assert namespaces.existing("lonely.") == []
