"""Failures while packets are on their way: planes, cables, switches; what heals, and what has no way left."""

from __future__ import annotations

import time

import numpy as np
import pytest

from suanwang.fabric.clos import Clos, Tier
from suanwang.fabric.collectives.group import FabricModel, Group
from suanwang.fabric.collectives.unfolding import unfold
from suanwang.fabric.failing import ports_of
from suanwang.fabric.network import Network
from suanwang.fabric.packet.engine import DISCONNECTED, Change, Limits, simulate
from suanwang.fabric.packet.result import PacketResult
from suanwang.fabric.packet.settings import BALANCES, Balance, Full, Recovery, Settings
from suanwang.fabric.traffic import Traffic, all_to_all, permutation
from suanwang.fabric.trial import Trial, run
from suanwang.model.errors import INVALID, SuanwangError

GBPS = 10**9
US = 10**6
MB = 10**6
LEAF_SPINE = (Tier(4, 1, 100 * GBPS), Tier(4, 4, 100 * GBPS))
NETWORK = Clos(LEAF_SPINE).network()
DUAL = Clos(LEAF_SPINE, planes=2)
PLANES = DUAL.network()


def cut(network: Network, *links: str, at_us: int = 0, factor: float = 0.0, reconvergence_us: int = 50) -> Change:
    ports = {int(port) for link in links for port in ports_of(network, link)}
    return Change(at_us * US, tuple(sorted(ports)), factor, reconvergence_us * US)


def whole_plane(plane: int, at_us: int, factor: float = 0.0) -> Change:
    names = [f"node:{PLANES.names[node]}" for node in np.flatnonzero(PLANES.plane == plane).tolist()]
    return cut(PLANES, *names, at_us=at_us, factor=factor)


def carried(network: Network, traffic: Traffic, settings: Settings, *changes: Change) -> PacketResult:
    return simulate(network, traffic, settings, changes)


@pytest.fixture(scope="module")
def ring() -> Traffic:
    """A ring all-reduce of 4 MB over 16 accelerators: 30 rounds that wait for one another."""
    return unfold("all-reduce", 4 * MB, Group(16), FabricModel(DUAL), "ring").traffic


@pytest.mark.parametrize("balance", BALANCES)
def test_a_collective_survives_the_loss_of_a_plane(ring: Traffic, balance: Balance) -> None:
    settings = Settings(balance=balance)
    whole = carried(PLANES, ring, settings)
    half = carried(PLANES, ring, settings, whole_plane(1, 0))
    assert len(ring) == 480
    assert whole.complete
    assert half.complete
    at_us = whole.now_ps // US // 2
    lost = carried(PLANES, ring, settings, whole_plane(1, at_us))
    assert lost.complete
    assert (lost.fct_ps > 0).all()
    assert lost.drops > 0
    # Half of it at the rate of two planes, the rest at that of one, and what routing and timers take in between.
    expected = (whole.now_ps + half.now_ps) / 2
    assert expected < lost.now_ps < expected + 350 * US
    after = [port for port in range(PLANES.ports) if PLANES.plane[PLANES.source[port]] == 1]
    assert (lost.sent_bytes[after] <= whole.sent_bytes[after]).all()
    healed = carried(PLANES, ring, settings, whole_plane(1, at_us), whole_plane(1, at_us + 150, 1.0))
    assert healed.complete
    assert whole.now_ps < healed.now_ps < lost.now_ps + 100 * US


@pytest.mark.parametrize(("full", "recovery"), [("drop", "selective"), ("drop", "go-back-n"), ("pfc", "go-back-n")])
def test_a_collective_survives_with_other_recoveries(ring: Traffic, full: Full, recovery: Recovery) -> None:
    settings = Settings(balance="ecmp", full=full, recovery=recovery)
    whole = carried(PLANES, ring, settings)
    lost = carried(PLANES, ring, settings, whole_plane(0, 200))
    assert whole.complete
    assert lost.complete
    assert lost.drops > 0
    assert lost.now_ps < 2.5 * whole.now_ps


@pytest.mark.parametrize("balance", BALANCES)
def test_a_cable_that_is_cut_and_heals(balance: Balance) -> None:
    traffic = permutation(16, 4 * MB, np.random.default_rng(1))
    settings = Settings(balance=balance)
    whole = carried(NETWORK, traffic, settings)
    broken = cut(NETWORK, "leaf0-spine1", at_us=100)
    lost = carried(NETWORK, traffic, settings, broken)
    healed = carried(NETWORK, traffic, settings, broken, cut(NETWORK, "leaf0-spine1", at_us=200, factor=1.0))
    assert whole.complete
    assert lost.complete
    assert healed.complete
    port = int(ports_of(NETWORK, "leaf0-spine1")[0])
    assert lost.sent_bytes[port] <= 100e-6 * 100 * GBPS / 8 + 5000
    assert lost.sent_bytes[port] <= healed.sent_bytes[port]
    # Three of leaf 0's four cables are left, which take a third longer; flows by hash may double up on one of them.
    alone = balance in ("ecmp", "flowlet")
    assert lost.fct_ps.max() < (2.1 if alone else 1.34) * whole.fct_ps.max() + 250 * US


def test_nothing_is_lost_that_was_not_on_the_cable() -> None:
    settings = Settings(balance="spray")
    broken = cut(NETWORK, "leaf0-spine1", at_us=100, reconvergence_us=0)
    traffic = Traffic.build(16, [0, 1], [4, 5], 4 * MB)
    found = carried(NETWORK, traffic, settings, broken)
    # Routing answers at once: lost is what was queued or on the wire, at most a microsecond of a cable and a queue.
    assert found.complete
    assert 0 < found.drops < 40
    slow = carried(NETWORK, traffic, settings, cut(NETWORK, "leaf0-spine1", at_us=100, reconvergence_us=100))
    assert slow.drops > found.drops
    assert slow.fct_ps.max() > found.fct_ps.max()


def test_one_way_of_a_cable_fails_and_routing_leaves_both() -> None:
    traffic = permutation(16, 4 * MB, np.random.default_rng(1))
    found = carried(NETWORK, traffic, Settings(balance="spray"), cut(NETWORK, "leaf0>spine1"))
    assert found.complete
    assert found.drops == 0
    assert not found.sent_bytes[ports_of(NETWORK, "leaf0-spine1")].any()


def test_a_degraded_cable_slows_those_who_do_not_look() -> None:
    traffic = permutation(16, 4 * MB, np.random.default_rng(1))
    weak = cut(NETWORK, "leaf0-spine1", at_us=50, factor=0.1)
    times = {one: carried(NETWORK, traffic, Settings(balance=one), weak).fct_ps.max() for one in BALANCES}
    whole = carried(NETWORK, traffic, Settings(balance="fare")).fct_ps.max()
    # FARE has 3.1 of 4 cables left for a leaf that needs four; what waits at the thin one takes a while.
    assert times["fare"] < 4 / 3.1 * whole + 250 * US
    assert times["ecmp"] > 2 * times["fare"]
    assert times["spray"] > 1.2 * times["fare"]


def test_a_straggler_holds_back_its_own_flows_only() -> None:
    traffic = permutation(16, 4 * MB, np.random.default_rng(1))
    settings = Settings(balance="fare")
    whole = carried(NETWORK, traffic, settings).fct_ps
    slow = carried(NETWORK, traffic, settings, cut(NETWORK, "node:gpu3", factor=0.5)).fct_ps
    own = (traffic.source == 3) | (traffic.target == 3)
    assert own.sum() == 2
    assert (slow[own] > 1.9 * whole[own]).all()
    assert (slow[~own] < 1.05 * whole[~own]).all()


def test_a_straggler_holds_back_a_whole_ring() -> None:
    # Its neighbour gets ahead of it, so that many rounds wait for its cable. Where all of them get their share, it ends
    # as fluids do; where some are trimmed, a late one holds up the ring further.
    ring = unfold("all-reduce", 4 * MB, Group(16), FabricModel(Clos(LEAF_SPINE)), "ring").traffic
    slow = cut(NETWORK, "node:gpu3", factor=0.5)
    settings = Settings(balance="fare", congestion="none", full="pfc")
    fluid = run(Trial(NETWORK, ring, settings, "flow", changes=[slow])).simulated_us
    assert carried(NETWORK, ring, settings, slow).now_ps / US == pytest.approx(fluid, rel=0.03)
    settings = Settings(balance="fare")
    whole = carried(NETWORK, ring, settings).now_ps
    assert 1.9 < carried(NETWORK, ring, settings, slow).now_ps / whole < 4


@pytest.mark.parametrize("balance", BALANCES)
def test_flows_without_a_way_are_refused_at_the_start(balance: Balance) -> None:
    traffic = Traffic.build(16, [1, 0], [2, 9], MB)
    with pytest.raises(SuanwangError) as refused:
        carried(NETWORK, traffic, Settings(balance=balance), cut(NETWORK, "gpu0-leaf0"))
    assert refused.value.code == DISCONNECTED
    assert "gpu0 to gpu9" in str(refused.value)
    with pytest.raises(SuanwangError, match="2 of 2 flows"):
        carried(NETWORK, traffic, Settings(balance=balance), cut(NETWORK, *(f"node:gpu{one}" for one in range(16))))
    with pytest.raises(SuanwangError, match="1 of 2 flows"):
        carried(NETWORK, traffic, Settings(balance=balance), *(cut(NETWORK, f"leaf2-spine{one}") for one in range(4)))


@pytest.mark.parametrize("balance", BALANCES)
@pytest.mark.parametrize("full", ["trim", "drop", "pfc"])
def test_a_run_whose_flows_lose_every_way_ends(balance: Balance, full: Full) -> None:
    traffic = Traffic.build(16, [1, 0, 5], [2, 9, 12], 4 * MB)
    begun = time.perf_counter()
    found = carried(NETWORK, traffic, Settings(balance=balance, full=full), cut(NETWORK, "node:leaf0", at_us=100))
    assert time.perf_counter() - begun < 20
    assert not found.complete
    assert (found.fct_ps >= 0).tolist() == [False, False, True]
    assert found.data_sent == found.data_arrived + found.data_trimmed + found.data_dropped + found.data_queued


def test_a_way_that_comes_back_after_long_is_taken() -> None:
    traffic = Traffic.build(16, [1, 0], [2, 9], 2 * MB)
    changes = cut(NETWORK, "node:leaf0", at_us=50), cut(NETWORK, "node:leaf0", at_us=20_000, factor=1.0)
    found = carried(NETWORK, traffic, Settings(), *changes)
    assert found.complete
    assert 20_000 * US < found.fct_ps.min() <= found.fct_ps.max() < 40_000 * US


@pytest.mark.parametrize("balance", BALANCES)
def test_an_outage_of_everything_is_survived(balance: Balance) -> None:
    traffic = permutation(16, MB, np.random.default_rng(1))
    everything = [f"node:gpu{one}" for one in range(16)]
    changes = cut(NETWORK, *everything, at_us=20), cut(NETWORK, *everything, at_us=400, factor=1.0)
    assert carried(NETWORK, traffic, Settings(balance=balance), *changes).complete
    never = carried(NETWORK, traffic, Settings(balance=balance), changes[0])
    assert not never.complete
    assert (never.fct_ps < 0).all()


def test_a_run_is_not_given_up_while_something_is_still_to_heal() -> None:
    # Half a minute without any packet: more than a million timers go off.
    traffic = all_to_all(16, 100_000)
    everything = [f"node:spine{one}" for one in range(4)] + [f"node:gpu{one}" for one in range(16)]
    changes = cut(NETWORK, *everything, at_us=20), cut(NETWORK, *everything, at_us=30_000_000, factor=1.0)
    found = carried(NETWORK, traffic, Settings(), *changes)
    assert found.events > 1_000_000
    assert found.complete


def test_limits_stop_a_run_and_say_so() -> None:
    traffic = permutation(16, MB, np.random.default_rng(1))
    for limits in (Limits(until_ps=20 * US), Limits(events=500)):
        found = simulate(NETWORK, traffic, Settings(), limits=limits)
        assert not found.complete
        assert (found.fct_ps < 0).all()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (Change(0, (10**6,), 0.0), "a port that is not there"),
        (Change(0, (-1,), 0.0), "a port that is not there"),
        (Change(5, (0,), 1.5), "give 0 to 1"),
        (Change(5, (0,), -0.1), "give 0 to 1"),
        (Change(5, (0,), float("nan")), "give 0 to 1"),
    ],
)
def test_changes_that_make_no_sense_are_refused(change: Change, words: str) -> None:
    with pytest.raises(SuanwangError) as refused:
        simulate(NETWORK, Traffic.build(16, 0, 1, MB), Settings(), [change])
    assert refused.value.code == INVALID
    assert words in f"{refused.value} {refused.value.hint}"
