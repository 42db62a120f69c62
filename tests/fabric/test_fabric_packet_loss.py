"""What losses do to recoveries, and what full queues do: trimming, pausing and dropping."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from suanwang.fabric.clos import Clos, Tier
from suanwang.fabric.packet.engine import simulate
from suanwang.fabric.packet.result import PacketResult
from suanwang.fabric.packet.settings import CONGESTIONS, Balance, Congestion, Full, Recovery, Settings
from suanwang.fabric.traffic import Traffic, incast

GBPS = 10**9
MB = 10**6
PAIR = Clos((Tier(2, 1, 100 * GBPS), Tier(2, 1, 100 * GBPS))).network()
"""Two leaves, one spine: 8 microseconds and 100 packets of 1 kB there and back."""
NETWORK = Clos((Tier(8, 1, 100 * GBPS), Tier(2, 4, 100 * GBPS))).network()


def goodput(recovery: Recovery, loss: float, congestion: Congestion = "none") -> float:
    """Bytes of a long flow over its time and its cable's rate."""
    settings = Settings(
        balance="ecmp", congestion=congestion, full="drop", recovery=recovery, loss=loss, mtu_bytes=1024
    )
    found = simulate(PAIR, Traffic.build(4, 0, 3, 20 * MB), settings)
    assert found.complete
    assert (found.losses > 0) == (loss > 0)
    return 20 * MB * 8 / (float(found.fct_ps[0]) / 1e12) / (100 * GBPS)


@pytest.mark.parametrize("congestion", CONGESTIONS)
def test_one_percent_loss_halves_go_back_n_and_hardly_touches_selective_repeat(congestion: Congestion) -> None:
    # Each loss costs go-back-n what is on its way, 100 packets; one in a hundred is lost.
    whole = goodput("go-back-n", 0.0, congestion)
    assert whole > 0.9
    assert goodput("selective", 0.0, congestion) == whole
    assert 0.35 * whole < goodput("go-back-n", 0.01, congestion) < 0.55 * whole
    assert goodput("selective", 0.01, congestion) > 0.9 * whole


def test_go_back_n_loses_more_the_more_is_lost() -> None:
    found = [goodput("go-back-n", loss) for loss in (0.0, 0.0001, 0.001, 0.01, 0.03)]
    assert all(later < earlier for earlier, later in pairwise(found))


def test_losses_come_as_often_as_asked() -> None:
    settings = Settings(balance="ecmp", full="drop", loss=0.01, mtu_bytes=1024)
    found = simulate(PAIR, Traffic.build(4, 0, 3, 20 * MB), settings)
    packets = 20 * MB / 1024
    assert abs(found.losses - 0.01 * packets) < 4 * np.sqrt(0.01 * packets)
    assert found.drops == found.losses


def crowd(
    full: Full,
    congestion: Congestion,
    balance: Balance = "ecmp",
    recovery: Recovery = "selective",
    timeout_ps: int | None = None,
) -> PacketResult:
    settings = Settings(balance=balance, congestion=congestion, full=full, recovery=recovery, timeout_ps=timeout_ps)
    found = simulate(NETWORK, incast(16, 15, 0, MB), settings)
    assert found.complete
    return found


@pytest.mark.parametrize("congestion", CONGESTIONS)
@pytest.mark.parametrize("recovery", ["selective", "go-back-n"])
@pytest.mark.parametrize("balance", ["ecmp", "switch-adaptive"])
def test_priority_flow_control_loses_nothing(congestion: Congestion, balance: Balance, recovery: Recovery) -> None:
    # Paused packets may be later than senders like to wait; here they are patient.
    found = crowd("pfc", congestion, balance, recovery, 10**10)
    assert found.pauses > 0
    assert found.drops == found.trims == found.timeouts == 0
    if balance == "ecmp" or recovery == "selective":
        assert found.retransmissions == 0
    # The pauses keep queues bounded: each cable into a switch may fill what it is paused at, and what comes until then.
    unpaused = simulate(
        NETWORK, incast(16, 15, 0, MB), Settings(balance="ecmp", congestion="none", full="pfc", queue_bytes=2**38)
    )
    assert unpaused.pauses == 0
    assert unpaused.deepest_queue_bytes > 5 * MB > 2 * found.deepest_queue_bytes


@pytest.mark.parametrize("balance", ["ecmp", "spray", "adaptive", "switch-adaptive", "fare"])
def test_trimming_tells_of_every_loss_at_once(balance: Balance) -> None:
    found = crowd("trim", "sender", balance)
    assert found.trims > 0
    assert found.nacks == found.trims
    assert found.drops == 0
    # A flow all of whose packets were trimmed for long may lose patience; what it then sends again comes on top.
    assert found.timeouts <= 1
    assert found.trims <= found.retransmissions <= found.trims + 50 * found.timeouts


def test_dropping_ends_by_timeouts() -> None:
    # Without congestion control, 15 senders fill the queue; whole tails of flows are dropped, which only timers find.
    found = crowd("drop", "none")
    assert found.drops > 100
    assert found.timeouts > 0
    assert found.retransmissions >= found.drops
    assert found.fct_ps.max() > crowd("trim", "sender").fct_ps.max()


@pytest.mark.parametrize("congestion", CONGESTIONS)
@pytest.mark.parametrize("recovery", ["selective", "go-back-n"])
def test_dropping_ends_for_either_recovery(congestion: Congestion, recovery: Recovery) -> None:
    for balance in ("ecmp", "spray"):
        found = crowd("drop", congestion, balance, recovery)
        assert found.data_arrived >= 15 * (MB + 245 * 64)


def test_congestion_control_keeps_queues_short() -> None:
    kept, not_kept = crowd("drop", "sender"), crowd("drop", "none")
    assert kept.marks > 0
    assert kept.drops < not_kept.drops / 5


def test_a_paused_cable_holds_back_flows_that_go_elsewhere() -> None:
    # Head-of-line blocking: gpu8's flow to gpu7 shares its spine with an incast to gpu0, and pauses reach it.
    one_spine = Clos((Tier(8, 1, 100 * GBPS), Tier(2, 1, 800 * GBPS))).network()
    senders = [*range(1, 7), *range(9, 16)]
    traffic = Traffic.build(16, [*senders, 8], [0] * len(senders) + [7], MB)
    paused, trimmed = (
        simulate(one_spine, traffic, Settings(balance="ecmp", congestion="none", full=full)) for full in ("pfc", "trim")
    )
    alone = simulate(one_spine, Traffic.build(16, 8, 7, MB), Settings(balance="ecmp", congestion="none"))
    assert trimmed.fct_ps[-1] < 1.2 * alone.fct_ps[0]
    assert paused.fct_ps[-1] > 2 * alone.fct_ps[0]
