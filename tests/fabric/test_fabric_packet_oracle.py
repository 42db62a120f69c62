"""The packet engine against a plain simulator of the same rules: equal to the picosecond."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fabric.packet_oracle import Oracle, one_way, spread_latencies
from tests.fabric.random_fabrics import small_clos

from suanwang.fabric.clos import Clos, Tier
from suanwang.fabric.network import Network
from suanwang.fabric.packet.engine import simulate
from suanwang.fabric.packet.settings import Full, Settings
from suanwang.fabric.traffic import Traffic

GBPS = 10**9


def flows(network: Network, count: int, largest: int, seed: int) -> Traffic:
    random = np.random.default_rng(seed)
    source = random.integers(0, network.endpoints, count)
    target = (source + random.integers(1, network.endpoints, count)) % network.endpoints
    # Some have a target in common, so that queues fill.
    target[::2] = np.where(source[::2] == target[0], target[::2], target[0])
    return Traffic.build(
        network.endpoints, source, target, random.integers(1, largest, count), random.integers(0, 2_000_000, count)
    )


def both(network: Network, traffic: Traffic, chosen: Settings, seed: int) -> Oracle:
    """Runs both and compares all that they tell."""
    routes = one_way(network, seed)
    oracle = Oracle(network, traffic, chosen, lambda node, end: int(routes.ports(network, node, end)[0]))
    oracle.run()
    found = simulate(network, traffic, chosen, router=lambda *_: routes)
    assert found.complete
    assert found.received_ps.tolist() == [flow.received for flow in oracle.flows]
    assert found.fct_ps.tolist() == [flow.done - flow.start for flow in oracle.flows]
    assert (found.trims, found.drops, found.timeouts) == (oracle.trims, oracle.drops, oracle.timeouts)
    if not oracle.timeouts and not oracle.drops:
        assert found.sent_bytes.tolist() == [port.sent for port in oracle.ports]
    return oracle


@settings(deadline=None, max_examples=60)
@given(
    clos=small_clos(most=12).filter(
        lambda one: one.planes * one.up_ports(0) == 1 and one.endpoints > 1 and one.trees == 1
        and one.joined <= one.height
    ),
    count=st.integers(1, 12),
    packets=st.integers(1, 40),
    mtu=st.sampled_from([256, 1000, 4096]),
    window=st.one_of(st.none(), st.integers(1, 20)),
    queue=st.integers(2, 20),
    full=st.sampled_from(["trim", "drop"]),
    ack_packets=st.integers(0, 6),
    seed=st.integers(0, 2**31),
)  # fmt: skip
def test_times_are_the_plain_simulators(
    clos: Clos, count: int, packets: int, mtu: int, window: int | None, queue: int, full: Full, ack_packets: int,
    seed: int,
) -> None:  # fmt: skip
    network = spread_latencies(clos.network(), seed)
    wire = mtu + 64
    chosen = Settings(
        balance="ecmp", congestion="none", full=full, mtu_bytes=mtu, window_bytes=window and window * wire,
        queue_bytes=queue * wire, mark_bytes=(1 << 38, 1 << 39), ack_bytes=1 + ack_packets * wire,
        timeout_ps=60_000_007,
    )  # fmt: skip
    both(network, flows(network, count, packets * mtu, seed), chosen, seed)


def test_an_incast_that_trims_and_one_that_drops_are_the_plain_simulators() -> None:
    clos = Clos((Tier(4, 1, 100 * GBPS), Tier(3, 2, 200 * GBPS)))
    network = spread_latencies(clos.network(), 5)
    traffic = Traffic.build(12, np.arange(1, 12), 0, 60_000, np.arange(11) * 1_013)
    for full in ("trim", "drop"):
        chosen = Settings(
            balance="ecmp", congestion="none", full=full, mtu_bytes=1500, queue_bytes=16_000, timeout_ps=50_000_003,
            mark_bytes=(1 << 38, 1 << 39),
        )  # fmt: skip
        oracle = both(network, traffic, chosen, 5)
        assert oracle.trims > 100 if full == "trim" else oracle.timeouts > 5
