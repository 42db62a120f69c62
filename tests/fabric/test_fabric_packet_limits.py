"""Where queues hardly matter, the packet engine comes to what fluids do.

Flows are long, so that starting and ending take little of their time; tolerances are stated with each.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.fabric.packet_oracle import one_way

from suanwang.fabric.clos import Clos, Tier
from suanwang.fabric.failing import ports_of
from suanwang.fabric.flow.engine import simulate_flows
from suanwang.fabric.network import Network
from suanwang.fabric.packet.engine import Change, simulate
from suanwang.fabric.packet.settings import BALANCES, Balance, Settings
from suanwang.fabric.traffic import Traffic, all_to_all, incast, permutation
from suanwang.fabric.trial import Trial, run

GBPS = 10**9
MB = 10**6
NETWORK = Clos((Tier(4, 1, 100 * GBPS), Tier(4, 4, 100 * GBPS))).network()
PLANES = Clos((Tier(4, 1, 100 * GBPS), Tier(4, 4, 100 * GBPS)), planes=2).network()


def slower(network: Network, traffic: Traffic, balance: Balance, changes: Sequence[Change] = ()) -> NDArray[np.float64]:
    """Times of flows by packets over those as fluids."""
    settings = Settings(balance=balance)
    packets = run(Trial(network, traffic, settings, changes=changes))
    fluids = run(Trial(network, traffic, settings, "flow", changes=changes))
    assert not packets.unfinished
    assert not fluids.unfinished
    return packets.fct_us / fluids.fct_us


def moved(size: int) -> Traffic:
    return permutation(16, size, np.random.default_rng(1))


@pytest.mark.parametrize("balance", BALANCES)
def test_one_long_flow_takes_its_cable(balance: Balance) -> None:
    assert slower(NETWORK, Traffic.build(16, 0, 15, 20 * MB), balance)[0] == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("network", [NETWORK, PLANES])
@pytest.mark.parametrize("balance", ["switch-adaptive", "fare"])
def test_a_permutation_comes_within_3_percent(network: Network, balance: Balance) -> None:
    ratio = slower(network, moved(8 * MB), balance)
    assert 1.0 < ratio.min() <= ratio.max() < 1.03


@pytest.mark.parametrize("balance", ["spray", "adaptive"])
def test_senders_that_spray_come_near_in_all(balance: Balance) -> None:
    # Two sprayed packets meet now and then, and the window gives way: about a tenth at four spines.
    ratio = slower(NETWORK, moved(8 * MB), balance)
    assert 1.0 < ratio.mean() < 1.15


@pytest.mark.parametrize("balance", ["spray", "adaptive", "switch-adaptive", "fare"])
def test_all_to_all_comes_within_2_percent(balance: Balance) -> None:
    ratio = slower(NETWORK, all_to_all(16, MB), balance)
    assert 1.0 < ratio.min() <= ratio.max() < 1.02


@pytest.mark.parametrize("senders", [2, 6, 15])
@pytest.mark.parametrize("balance", BALANCES)
def test_an_incast_fills_the_cable_to_its_end(senders: int, balance: Balance) -> None:
    # All bytes go over one cable, so the last flow's end is known; which flow is ahead of others is not.
    traffic, settings = incast(16, senders, 0, 12 * MB // senders), Settings(balance=balance)
    found = run(Trial(NETWORK, traffic, settings))
    wire = senders * (-(-(12 * MB // senders) // 4096) * 64) + 12 * MB
    assert 1.0 < found.fct_us.max() / (wire * 8 / 100e3) < 1.05


def test_unequal_shares_at_two_bottlenecks() -> None:
    # Three flows share endpoint 4; one sender has a flow elsewhere too, which gets what is left. Windows are fair
    # within a quarter; the last flow's end is the cable's, within 2 %.
    traffic = Traffic.build(16, [0, 1, 2, 0], [4, 4, 4, 8], 8 * MB)
    for balance in ("spray", "switch-adaptive", "fare"):
        settings = Settings(balance=balance)
        packets = run(Trial(NETWORK, traffic, settings)).fct_us
        fluids = run(Trial(NETWORK, traffic, settings, "flow")).fct_us
        assert (np.abs(packets / fluids - 1) < 0.25).all()
        assert packets.max() == pytest.approx(fluids.max(), rel=0.02)


def test_a_port_that_is_nearly_down_still_carries() -> None:
    weak = [Change(0, tuple(ports_of(NETWORK, "node:gpu3").tolist()), 0.0005)]
    found = run(Trial(NETWORK, Traffic.build(16, [0, 5], 3, 20_000), Settings(), changes=weak))
    assert not found.unfinished


def test_fare_keeps_what_a_degraded_cable_leaves_and_equal_shares_do_not() -> None:
    weak = [Change(0, tuple(ports_of(NETWORK, "leaf0-spine1").tolist()), 0.25)]
    fare = slower(NETWORK, moved(8 * MB), "fare", weak)
    assert 0.97 < fare.min() <= fare.max() < 1.04
    times = {one: run(Trial(NETWORK, moved(8 * MB), Settings(balance=one), changes=weak)).fct_us for one in BALANCES}
    best = times.pop("fare").max()
    assert times["ecmp"].max() > 1.5 * best
    assert all(found.max() > 1.2 * best for found in times.values())


@pytest.mark.parametrize("share", [0.5, 0.25])
def test_a_plane_that_is_degraded_adds_what_it_can(share: float) -> None:
    weak = [Change(0, tuple(ports_of(PLANES, f"gpu{number}-p1-leaf0").tolist()), share) for number in range(4)]
    traffic = Traffic.build(16, [0, 1, 2, 3], [4, 5, 6, 7], 8 * MB)
    assert slower(PLANES, traffic, "fare", weak) == pytest.approx(np.ones(4), rel=0.05)
    for balance in ("switch-adaptive", "fare"):
        times = run(Trial(PLANES, traffic, Settings(balance=balance), changes=weak)).fct_us
        ideal = 8 * MB * (4160 / 4096) * 8 / (100e3 * (1 + share))
        assert (times > ideal).all()
        assert (times < 1.06 * ideal).all()


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5, 1.0])
def test_packets_go_by_the_weights_of_fare(share: float) -> None:
    weak = Change(0, tuple(ports_of(NETWORK, "leaf0-spine1").tolist()), share)
    # Less than all that endpoints could send, so that nothing is trimmed and sent again.
    traffic = Traffic.build(16, [0, 1, 2], [4, 9, 14], 8 * MB)
    found = simulate(NETWORK, traffic, Settings(balance="fare"), [weak])
    assert found.retransmissions == 0
    up = NETWORK.first_port[16] + 4 + np.arange(4)
    parts = found.sent_bytes[up] / found.sent_bytes[up].sum()
    expected = np.array([1.0, share, 1.0, 1.0]) / (3 + share)
    assert np.abs(parts - expected).max() < 0.02 * expected.min() + 0.002


def test_a_path_that_is_thin_further_on_gets_its_part_only() -> None:
    # Spine 1 has a thin cable to leaf 2 alone: packets for leaf 2 avoid it, those for leaf 1 don't.
    weak = Change(0, tuple(ports_of(NETWORK, "leaf2-spine1").tolist()), 0.25)
    up = NETWORK.first_port[16] + 4 + np.arange(4)
    for target, expected in ((4, [0.25, 0.25, 0.25, 0.25]), (8, [4 / 13, 1 / 13, 4 / 13, 4 / 13])):
        traffic = Traffic.build(16, [0, 1], [target, target + 1], 8 * MB)
        found = simulate(NETWORK, traffic, Settings(balance="fare"), [weak])
        parts = found.sent_bytes[up] / found.sent_bytes[up].sum()
        assert parts == pytest.approx(expected, rel=0.02)


def test_parallel_cables_share_evenly() -> None:
    network = Clos((Tier(4, 1, 100 * GBPS), Tier(2, 2, 100 * GBPS, bundle=2))).network()
    traffic = Traffic.build(8, [0, 1, 2, 3], [4, 5, 6, 7], 8 * MB)
    up = network.first_port[8] + 4 + np.arange(4)
    shares: tuple[tuple[Balance, float], ...] = (("spray", 0.1), ("switch-adaptive", 0.02), ("fare", 0.001))
    for balance, tolerance in shares:
        found = simulate(network, traffic, Settings(balance=balance))
        assert found.complete
        assert found.sent_bytes[up] / found.sent_bytes[up].sum() == pytest.approx([0.25] * 4, rel=tolerance)


@pytest.mark.parametrize("seed", range(6))
def test_flows_that_share_cables_unevenly_come_near_in_the_mean(seed: int) -> None:
    # One way for each pair, so that one to four flows share a cable. With pauses in place of windows, cables are never
    # idle while there is something to send; who is how far ahead of others differs from fluids.
    routes, traffic = one_way(NETWORK, seed), permutation(16, 8 * MB, np.random.default_rng(seed))
    settings = Settings(balance="ecmp", congestion="none", full="pfc")
    packets = simulate(NETWORK, traffic, settings, router=lambda *_: routes)
    fluids = simulate_flows(NETWORK, routes, traffic, "ecmp", packet_bytes=4160)
    assert packets.complete
    assert packets.fct_ps.mean() == pytest.approx(fluids.fct_ps.mean() * 4160 / 4096, rel=0.03)
    assert packets.fct_ps.max() < 1.3 * fluids.fct_ps.max()
