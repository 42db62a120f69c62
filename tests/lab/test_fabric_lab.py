"""A fabric of real routers: cabling found out by LLDP, weights in kernels as FARE computes them, failures survived."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from pyroute2 import IPRoute

from suanwang.fabric.cabling.cables import Cable
from suanwang.fabric.cabling.neighbours import ends, named
from suanwang.fabric.clos import Clos, Tier
from suanwang.fabric.configure.plan import Options, Plan
from suanwang.fabric.network import Network
from suanwang.lab import namespaces
from suanwang.lab.fabric import FabricLab, Host
from suanwang.lab.fabric_routes import RouteWatch, weights
from suanwang.lab.fabric_setting import RATE_BPS, Setting, small_fabric
from suanwang.lab.fabric_stream import Stream
from suanwang.lab.fabric_trial import Phase, default_cuts, far_hosts, run
from suanwang.lab.fabric_weights import Match, Pair, computed, match
from suanwang.lab.state import LabDirectory, LabRecord, ProcessRecord, start_ticks
from suanwang.model.errors import SuanwangError


@pytest.fixture(scope="module")
def setting() -> Setting:
    return Setting(small_fabric(), Options(bfd=False))


# What is computed; nothing of it needs root.


def test_cables_are_named_as_the_switches_ports(setting: Setting) -> None:
    told = {
        frozenset(((switch.name, f"swp{port.number}"), (port.peer_name, f"swp{port.peer_number}")))
        for switch in Plan(setting.network, setting.options).switches()
        for port in switch.ports
    }
    assert told == {frozenset(ends(cable)) for cable in setting.cables}
    assert set(setting.port_of) == {end for cable in setting.cables for end in ends(cable)}


def test_weights_are_unequal_before_anything_is_cut(setting: Setting) -> None:
    wanted = computed(setting)
    prefix = next(prefix for prefix, (leaf, _) in setting.prefixes.items() if leaf == "p0-leaf3")
    # Two cables to spine 0 and one to spine 1 on the far side: 2/3 and 1/3, halved over two cables each on this side.
    assert wanted["p0-leaf0", prefix] == {"swp2": 33, "swp3": 33, "swp4": 16, "swp5": 16}
    assert len(wanted) == 2 * 4 * 5


def test_a_cut_is_weighed_in(setting: Setting) -> None:
    wanted = computed(setting, setting.chosen("p0-leaf1:swp2"))
    prefix = next(prefix for prefix, (leaf, _) in setting.prefixes.items() if leaf == "p0-leaf1")
    assert wanted["p0-leaf0", prefix] == {"swp2": 16, "swp3": 16, "swp4": 33, "swp5": 33}
    assert computed(setting, setting.chosen("plane0"))["p0-leaf0", prefix] == {}


def test_default_cuts_go_from_a_cable_to_a_plane(setting: Setting) -> None:
    assert [len(setting.chosen(word)) for word in default_cuts(setting)] == [1, 2, 8, 15]


@pytest.mark.parametrize(
    "word", ["p0-leaf0:swp99", "leaf0", "p0-leaf0/p1-spine0", "plane7", "plane²", "", "p0-leaf0,nothing"]
)
def test_links_that_are_not_there_are_refused(setting: Setting, word: str) -> None:
    with pytest.raises(SuanwangError, match="no cable is"):
        setting.chosen(word)


@pytest.mark.parametrize(
    ("wanted", "found", "equal"),
    [
        ({"a": 25, "b": 25}, {"a": 1, "b": 1}, True),
        ({"a": 33, "b": 66}, {"a": 33, "b": 66}, True),
        ({"a": 33, "b": 66}, {"a": 1, "b": 1}, False),
        ({"a": 33, "b": 66}, {"a": 34, "b": 66}, False),
        ({"a": 1}, {"a": 1, "b": 1}, False),
        ({}, {}, True),
        ({"a": 1}, {}, False),
    ],
)
def test_weights_are_compared_to_the_digit(wanted: dict[str, int], found: dict[str, int], equal: bool) -> None:
    assert Pair("s", "p", wanted, found).equal == equal


def test_hosts_may_have_any_name() -> None:
    network = Network.build(2, [0, 1], [2, 2], RATE_BPS, 1, [0, 0, 1], ["gpu 0", "gpu_0", "leaf"])
    hosts = Setting(network, Options(bfd=False)).hosts
    assert [host.name for host in hosts] == ["gpu 0", "gpu_0"]
    assert [host.ports["swp1"][0] for host in hosts] == ["10.0.0.1/31", "10.0.0.3/31"]


def test_a_stream_runs_between_hosts_that_reach_each_other(setting: Setting) -> None:
    one, other, pairs = far_hosts(setting)
    assert (one, other, len(pairs)) == ("gpu0", "gpu3", 2)
    # Rail-only: the first and the last host never meet.
    apart = Setting(Clos((Tier(1, 1, RATE_BPS), Tier(2, 1, RATE_BPS)), trees=2).network(), Options(bfd=False))
    assert far_hosts(apart)[:2] == ("gpu0", "gpu1")
    lone = Setting(Clos((Tier(1, 1, RATE_BPS),), trees=2).network(), Options(bfd=False))
    with pytest.raises(SuanwangError, match="no two hosts reach each other"):
        far_hosts(lone)


def test_a_repair_after_which_nothing_passes_is_not_good() -> None:
    assert Phase("heal", (), Match(()), 0.0, 0, None).good
    assert not Phase("heal", (), Match(()), 0.0, 0, None, passing=False).good


def test_what_is_too_large_for_a_lab_is_refused() -> None:
    with pytest.raises(SuanwangError, match="no small fabric"):
        Setting(Clos((Tier(8, 1, 10**9), Tier(64, 8, 10**9))).network(), Options())


# Real namespaces, routers and packets.


@pytest.fixture
def name() -> str:
    return f"f{os.getpid()}"


@pytest.mark.root
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_kernels_have_the_weights_that_are_computed(setting: Setting, base: Path, name: str) -> None:
    lab = FabricLab.claim(name, base)
    try:
        cuts = ["p0-leaf1:swp2", "p0-spine0", "gpu3:swp1", "plane0"]
        outcome = run(lab, setting, cuts, ("p0-leaf0:swp2", "p1-leaf2:swp4"))
    finally:
        lab.remove()
    before, after = outcome.surveys
    assert [named(cable) for cable in before.comparison.remedies[0].cables] == [
        named(setting.chosen(word)[0]) for word in ("p0-leaf0:swp2", "p1-leaf2:swp4")
    ]
    assert len(before.comparison.right) == len(setting.cables) - 2
    assert len(before.discovery.refused) == 4
    assert after.comparison.clean
    assert len(after.discovery.sessions) == outcome.sessions == 60
    assert (outcome.sessions_missing, outcome.sessions_differ) == ((), ())
    assert [phase.name for phase in outcome.phases] == [
        "start", *(f"{what} {word}" for word in cuts for what in ("cut", "heal"))
    ]  # fmt: skip
    for phase in outcome.phases:
        assert phase.match.wrong == (), phase.name
        assert phase.match.unequal_weights > 0
        assert phase.changes > 0
        assert phase.convergence_ms > 0
        assert phase.passing, phase.name
    losses = [phase.loss for phase in outcome.phases[1:]]
    assert all(loss is not None and loss.sent > 0 and loss.lost < loss.sent for loss in losses)
    plane = losses[cuts.index("plane0") * 2]
    assert plane is not None
    # What the host with two planes sends goes on through the other one.
    assert plane.by_plane[1] > plane.by_plane[0]
    assert namespaces.existing(f"{name}.") == []


@pytest.mark.root
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_slower_cable_weighs_less_in_kernels(base: Path, name: str) -> None:
    """FRR weighs by what came with a route: a spine must say to the leaf how slow the cable between them is."""
    network = Clos((Tier(1, 1, RATE_BPS), Tier(4, 2, RATE_BPS))).network()
    rate = network.rate_bps.copy()
    slow = network.ports_between(network.node("leaf3"), network.node("spine1"))
    rate[slow] = rate[network.peer[slow]] = RATE_BPS // 2
    setting = Setting(replace(network, rate_bps=rate), Options(bfd=False))
    prefix = next(prefix for prefix, (leaf, _) in setting.prefixes.items() if leaf == "leaf0")
    assert computed(setting)["leaf3", prefix] == {"swp2": 66, "swp3": 33}
    lab = FabricLab.claim(name, base)
    try:
        phases = run(lab, setting, ["leaf0/spine0"]).phases
    finally:
        lab.remove()
    assert [(phase.match.equal, phase.match.unequal_weights) for phase in phases] == [(20, 6), (20, 4), (20, 6)]


@pytest.mark.root
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_what_is_killed_is_taken_away_by_the_next_one(base: Path, name: str) -> None:
    code = (
        "import sys, time; from pathlib import Path; from suanwang.lab.fabric import FabricLab;"
        "from suanwang.lab.fabric_setting import Setting, small_fabric;"
        "from suanwang.fabric.configure.plan import Options; from suanwang.lab.fabric_trial import run;"
        f"run(FabricLab.claim({name!r}, Path({str(base)!r})), Setting(small_fabric(), Options(bfd=False)), [], None,"
        "lambda text: print(text, flush=True))"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if "FRR on" in line:
            break
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    left = namespaces.existing(f"{name}.")
    assert len(left) == 16
    lab = FabricLab.claim(name, base)
    try:
        assert namespaces.existing(f"{name}.") == []
        with pytest.raises(SuanwangError, match="there already"):
            FabricLab.claim(name, base)
    finally:
        lab.remove()
    assert list(base.iterdir()) == []


@pytest.mark.root
def test_what_another_took_over_meanwhile_is_left_alone(base: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the look at an abandoned lab and the lock on it, someone else takes the name."""
    directory = LabDirectory(name, base)
    directory.claim()
    directory.write(LabRecord(name, processes=[ProcessRecord("fabric", "", os.getpid(), 0)]))
    locked = LabDirectory.locked
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as rival:
        owner = ProcessRecord("fabric", "", rival.pid, start_ticks(rival.pid) or 0)

        @contextmanager
        def late(self: LabDirectory, limit_s: float = 0.0) -> Iterator[None]:
            with locked(self, limit_s):
                self.write(LabRecord(name, processes=[owner]))
                yield

        monkeypatch.setattr(LabDirectory, "locked", late)
        with pytest.raises(SuanwangError, match="there already"):
            FabricLab.claim(name, base)
        assert directory.read().processes == [owner]
        assert owner.alive
        monkeypatch.undo()
        rival.communicate(b"\n")
    FabricLab(directory).remove()


@pytest.fixture
def pair(base: Path, name: str) -> Iterator[FabricLab]:
    """Two hosts joined by a cable in each of two planes."""
    lab = FabricLab.claim(name, base)
    cables = [Cable("a", f"swp{n}", "b", f"swp{n}") for n in (1, 2)]
    hosts = [
        Host(host, {f"swp{n}": (f"10.{n}.0.{own}/31", f"10.{n}.0.{1 - own}", ()) for n in (1, 2)})
        for own, host in enumerate("ab")
    ]
    lab.wire([], hosts, cables)
    yield lab
    lab.remove()


@pytest.mark.root
def test_a_stream_goes_on_in_the_other_plane(pair: FabricLab) -> None:
    cables = [Cable("a", f"swp{n}", "b", f"swp{n}") for n in (1, 2)]
    pairs = [("10.1.0.0", "10.1.0.1"), ("10.2.0.0", "10.2.0.1")]
    with Stream(pair.namespace("a"), pair.namespace("b"), pairs) as stream:
        assert stream.flowing(30.0)
        first = stream.mark()
        while stream.mark() < first + 200:
            assert stream.flowing(30.0)
        calm = stream.loss(first, 10.0)
        assert calm.lost == 0
        assert min(calm.by_plane) > 0
        pair.switch(cables[:1], on=False)
        first = stream.mark()
        assert stream.flowing(30.0)
        while stream.mark() < first + 1500:
            assert stream.flowing(30.0)
        cut = stream.loss(first, 10.0)
        assert cut.by_plane[1] > 0
        assert cut.by_plane[0] < cut.by_plane[1]
        assert cut.lost < cut.sent
        pair.switch(cables[1:], on=False)
        assert not stream.flowing(0.5)
        pair.switch(cables, on=True)
        assert stream.flowing(30.0, everywhere=True)


@pytest.mark.root
def test_changed_routes_are_noticed_and_read(pair: FabricLab) -> None:
    def add() -> None:
        with IPRoute() as kernel:
            hops = [{"gateway": f"10.{n}.0.1", "hops": weight - 1} for n, weight in ((1, 33), (2, 66))]
            kernel.route("add", dst="10.9.0.0/24", multipath=hops, proto=186)
            kernel.route("add", dst="10.8.0.0/24", gateway="10.1.0.1", proto=186)

    space = {"a": pair.namespace("a")}
    with RouteWatch(space) as watch:
        before = watch.count
        began = time.monotonic()
        namespaces.run_inside(space["a"], add)
        assert watch.wait(before + 1, 30.0) >= before + 2
        assert watch.last is not None
        assert watch.last.at_s >= began
        assert watch.last.node == "a"
    assert weights(space, (socket.AF_INET,)) == {
        "a": {"10.9.0.0/24": {"swp1": 33, "swp2": 66}, "10.8.0.0/24": {"swp1": 1}}
    }
    pair.switch([Cable("a", "swp1", "b", "swp1")], on=False)
    assert weights(space)["a"] == {"10.9.0.0/24": {"swp2": 66}}
    found = match({("a", "10.9.0.0/24"): {"swp2": 1}}, weights(space))
    assert found.wrong == ()


@pytest.mark.root
def test_frames_pass_on_real_cables_and_hostile_ones_are_passed_over(pair: FabricLab) -> None:
    from suanwang.fabric.cabling.lldp import Advertisement
    from suanwang.fabric.cabling.neighbours import End
    from suanwang.lab.fabric_lldp import PortState, exchange

    def says(end: End, state: PortState) -> Advertisement:
        for interface in ("swp1", "swp2"):
            namespaces.run_inside(pair.namespace(end.node), partial(_put_garbage, interface))
        return Advertisement(state.mac.hex(":"), end.port, system_name=end.node)

    heard = exchange({"a": ["swp1", "swp2"], "b": ["swp1", "swp2"]}, pair.namespace, says, limit_s=30.0)
    assert {end: [(said.node, said.port) for said in found] for end, found in heard.items()} == {
        End(node, port): [(far, port)] for node, far in ("ab", "ba") for port in ("swp1", "swp2")
    }


def _put_garbage(interface: str) -> None:
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as one:
        one.bind((interface, 0))
        one.send(bytes.fromhex("0180c200000e02000000000188cc") + b"\x02\xff" * 20)
