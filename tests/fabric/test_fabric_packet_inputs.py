"""What goes into the packet engine besides a network: start times, triggers, planes, sizes, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from suanwang.fabric.clos import Clos, Tier
from suanwang.fabric.network import Network
from suanwang.fabric.packet.engine import Limits, simulate
from suanwang.fabric.packet.settings import BALANCES, Balance, Settings
from suanwang.fabric.traffic import Traffic, all_to_all, permutation
from suanwang.model.errors import INVALID, SuanwangError
from suanwang.model.reading import TOO_LARGE

GBPS = 10**9
US = 10**6
MB = 10**6
NETWORK = Clos((Tier(4, 1, 100 * GBPS), Tier(4, 4, 100 * GBPS))).network()


def test_one_packet_takes_what_its_cables_take() -> None:
    found = simulate(NETWORK, Traffic.build(16, 0, 5, 1000, 3 * US), Settings(balance="ecmp"))
    data, answer, cable = 1064 * 80, 64 * 80, 1_000_000
    assert found.started_ps.tolist() == [3 * US]
    assert found.received_ps.tolist() == [3 * US + 4 * (data + cable)]
    assert found.fct_ps.tolist() == [4 * (data + cable) + 4 * (answer + cable)]
    assert (found.packets, found.acks, found.retransmissions) == (1, 1, 0)
    assert found.sent_bytes.sum() == 4 * (1064 + 64)


@pytest.mark.parametrize("balance", BALANCES)
def test_flows_start_when_they_are_told(balance: Balance) -> None:
    starts = [7 * US, 0, 3 * US, 1]
    traffic = Traffic.build(16, [0, 1, 2, 3], [4, 5, 6, 7], 50_000, starts)
    found = simulate(NETWORK, traffic, Settings(balance=balance))
    assert found.started_ps.tolist() == starts
    # Far from one another, each is alone: all take the same time.
    apart = Traffic.build(16, [0, 1, 2, 3], [4, 5, 6, 7], 50_000, np.arange(4) * 100 * US)
    found = simulate(NETWORK, apart, Settings(balance=balance))
    assert len(set(found.fct_ps.tolist())) == 1


def test_flows_wait_for_others_to_be_received() -> None:
    # 0 and 1 fire trigger 0, on which 2 waits (and 2 us more); 2 fires trigger 1, for 3 and 4; nothing waits for 2.
    traffic = Traffic.build(
        16, [0, 1, 2, 3, 4], [5, 6, 7, 8, 9], [100_000, 1000, 1000, 1000, 1000], [0, 0, 2 * US, 0, 5],
        [-1, -1, 0, 1, 1], [0, 0, 1, 2, -1], [2, 1, 1],
    )  # fmt: skip
    found = simulate(NETWORK, traffic, Settings())
    assert found.complete
    both = int(found.received_ps[:2].max())
    assert found.started_ps.tolist() == [0, 0, both + 2 * US, found.received_ps[2], found.received_ps[2] + 5]
    assert (found.fct_ps > 0).all()


def test_a_trigger_may_go_off_before_all_that_fire_it_are_through() -> None:
    traffic = Traffic.build(16, [0, 1, 2], [5, 6, 7], [1000, MB, 1000], 0, [-1, -1, 0], [0, 0, -1], [1])
    found = simulate(NETWORK, traffic, Settings())
    assert found.started_ps[2] == found.received_ps[0] < found.received_ps[1]


def test_a_chain_of_a_thousand_flows_runs_one_by_one() -> None:
    count = 1000
    source = np.arange(count) % 16
    waits = np.arange(count) - 1
    fires = np.append(np.arange(count - 1), -1)
    traffic = Traffic.build(16, source, (source + 1) % 16, 1000, 0, waits, fires, np.ones(count - 1))
    found = simulate(NETWORK, traffic, Settings())
    assert found.started_ps[1:].tolist() == found.received_ps[:-1].tolist()


@pytest.mark.parametrize("planes", [1, 2, 4, 8])
@pytest.mark.parametrize("balance", ["spray", "adaptive", "switch-adaptive", "fare"])
def test_an_endpoint_uses_all_its_planes(planes: int, balance: Balance) -> None:
    network = Clos((Tier(4, 1, 100 * GBPS), Tier(2, 4, 100 * GBPS)), planes=planes).network()
    found = simulate(network, Traffic.build(8, 0, 7, 16 * MB), Settings(balance=balance))
    ideal = 16 * MB * 4160 / 4096 * 8 / (planes * 100e3)
    assert ideal < found.fct_ps[0] / US < 1.02 * ideal + 10
    sent = found.sent_bytes[network.first_port[0] : network.first_port[1]]
    assert sent / sent.sum() == pytest.approx(np.full(planes, 1 / planes), rel=0.02)


def test_flows_by_hash_stay_in_one_plane() -> None:
    network = Clos((Tier(4, 1, 100 * GBPS), Tier(2, 4, 100 * GBPS)), planes=4).network()
    used = set()
    for seed in range(12):
        found = simulate(network, Traffic.build(8, 0, 7, MB), Settings(balance="ecmp", seed=seed))
        sent = found.sent_bytes[network.first_port[0] : network.first_port[1]]
        assert np.count_nonzero(sent) == 1
        used.add(int(sent.argmax()))
    assert len(used) >= 3


def test_the_last_hop_uses_parallel_cables() -> None:
    network = Clos((Tier(4, 1, 100 * GBPS, bundle=2),)).network()
    found = simulate(network, Traffic.build(4, 0, 1, 16 * MB), Settings(balance="switch-adaptive"))
    down = [port for port in range(network.ports) if network.target[port] == 1]
    assert found.fct_ps[0] / US < 16 * MB * 4160 / 4096 * 8 / 200e3 * 1.02 + 10
    assert found.sent_bytes[down].min() > 0.45 * found.sent_bytes[down].sum()


def test_memory_that_would_not_do_is_foreseen() -> None:
    traffic = all_to_all(16, 100 * MB)
    with pytest.raises(SuanwangError) as refused:
        simulate(NETWORK, traffic, Settings(), limits=Limits(memory_bytes=10 * 2**20))
    assert refused.value.code == TOO_LARGE
    assert "MiB" in str(refused.value)
    assert "flow engine" in str(refused.value.hint)
    found = simulate(NETWORK, all_to_all(16, 10_000), Settings(), limits=Limits(memory_bytes=10 * 2**20))
    assert found.complete
    assert found.engine_bytes < 10 * 2**20


def test_room_for_packets_grows_while_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    traffic = permutation(16, 2 * MB, np.random.default_rng(1))
    settings = Settings(congestion="none", balance="spray")
    whole = simulate(NETWORK, traffic, settings)
    monkeypatch.setattr("suanwang.fabric.packet.engine.FIRST_ROOM", -4000)
    grown = simulate(NETWORK, traffic, settings)
    assert grown.engine_bytes < whole.engine_bytes
    assert grown.complete
    # Rows are taken in another order, which orders events of one time; laws hold, times are nearly the same.
    assert grown.fct_ps.mean() == pytest.approx(whole.fct_ps.mean(), rel=0.05)
    assert grown.data_sent == grown.data_arrived + grown.data_trimmed + grown.data_dropped + grown.data_queued


def two_switches(ports: int) -> Network:
    """An endpoint with that many cables to one switch, and another endpoint."""
    return Network.build(2, [0] * ports + [1], [2] * ports + [2], GBPS, 1000, [0, 0, 1], ["a", "b", "s"])


def test_endpoints_with_too_many_ports_are_refused() -> None:
    assert simulate(two_switches(8), Traffic.build(2, 0, 1, 1000), Settings()).complete
    with pytest.raises(SuanwangError, match="an endpoint with 9 ports") as refused:
        simulate(two_switches(9), Traffic.build(2, 0, 1, 1000), Settings())
    assert refused.value.code == INVALID


def test_endpoints_joined_with_one_another_are_refused() -> None:
    network = Network.build(2, [0, 1, 0], [2, 2, 1], GBPS, 1000, [0, 0, 1], ["a", "b", "s"])
    with pytest.raises(SuanwangError, match="joined with an endpoint"):
        simulate(network, Traffic.build(2, 0, 1, 1000), Settings())


def test_flows_of_too_many_packets_are_refused() -> None:
    with pytest.raises(SuanwangError):
        simulate(NETWORK, Traffic.build(16, 0, 1, 2**50), Settings())


def test_traffic_of_a_larger_network_is_refused() -> None:
    with pytest.raises(SuanwangError, match="endpoint"):
        simulate(two_switches(1), Traffic.build(16, 0, 9, 1000), Settings())


@pytest.mark.parametrize("size", [1, 63, 64, 4095, 4096, 4097, 3 * 4096])
def test_every_byte_is_carried_with_its_headers(size: int) -> None:
    found = simulate(NETWORK, Traffic.build(16, 0, 15, size), Settings())
    assert found.data_arrived == size + 64 * -(-size // 4096)
    assert found.packets == -(-size // 4096)
