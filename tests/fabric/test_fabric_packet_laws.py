"""What must hold whatever the policy: bytes are conserved, flows end, runs repeat, nothing is faster than its cable."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fabric.random_fabrics import dragonflies, small_clos

from suanwang.fabric.clos import Clos, Tier
from suanwang.fabric.dragonfly import Dragonfly
from suanwang.fabric.network import Network
from suanwang.fabric.packet.engine import Change, Limits, simulate
from suanwang.fabric.packet.result import PacketResult
from suanwang.fabric.packet.settings import BALANCES, CONGESTIONS, Full, Recovery, Settings
from suanwang.fabric.traffic import Traffic, permutation
from suanwang.model.errors import SuanwangError

GBPS = 10**9
PS = 10**12
REPAIRS: list[tuple[Full, Recovery]] = [
    ("trim", "selective"),
    ("drop", "selective"),
    ("drop", "go-back-n"),
    ("pfc", "selective"),
    ("pfc", "go-back-n"),
]

connected = small_clos(most=16).filter(
    lambda one: one.trees == 1 and one.endpoints > 1 and (one.joined <= one.height or one.rails == 1)
)


@st.composite
def policies(draw: st.DrawFn) -> Settings:
    full, recovery = draw(st.sampled_from(REPAIRS))
    mtu = draw(st.sampled_from([256, 1024, 4096]))
    chosen: dict[str, Any] = {
        "balance": draw(st.sampled_from(BALANCES)),
        "congestion": draw(st.sampled_from(CONGESTIONS)),
        "queue_bytes": draw(st.one_of(st.none(), st.integers(2, 30).map(lambda packets: packets * (mtu + 64)))),
        "window_bytes": draw(st.one_of(st.none(), st.integers(1, 200_000))),
        "loss": draw(st.sampled_from([0.0, 0.0, 0.01, 0.2])),
        "paths": draw(st.integers(1, 64)),
        "flowlet_gap_ps": draw(st.sampled_from([100_000, 10_000_000])),
    }
    return Settings(full=full, recovery=recovery, mtu_bytes=mtu, seed=draw(st.integers(0, 2**40)), **chosen)


def random_traffic(endpoints: int, seed: int, flows: int = 20, largest: int = 60_000) -> Traffic:
    random = np.random.default_rng(seed)
    source = random.integers(0, endpoints, flows)
    target = (source + random.integers(1, endpoints, flows)) % endpoints
    size, start = random.integers(1, largest, flows), random.integers(0, 20_000_000, flows)
    return Traffic.build(endpoints, source, target, size, start)


def carried(network: Network, traffic: Traffic, chosen: Settings, **more: Any) -> PacketResult:
    return simulate(network, traffic, chosen, **more)


def wire_bytes(traffic: Traffic, chosen: Settings) -> np.ndarray:
    found: np.ndarray = traffic.size_bytes - (-traffic.size_bytes // chosen.mtu_bytes) * chosen.header_bytes
    return found


def check(network: Network, traffic: Traffic, chosen: Settings, found: PacketResult, whole: bool = True) -> None:
    """All laws that need no knowledge of the topology; `whole` says that nothing of it failed."""
    assert found.data_sent == found.data_arrived + found.data_trimmed + found.data_dropped + found.data_queued
    assert min(found.data_arrived, found.data_trimmed, found.data_dropped, found.data_queued) >= 0
    assert found.complete == bool((found.fct_ps >= 0).all())
    # A port is never ahead of its cable by more than the packet that it just began.
    possible = network.rate_bps * (found.now_ps / (8 * PS)) + chosen.mtu_bytes + chosen.header_bytes
    assert (found.sent_bytes <= possible).all()
    if chosen.full != "trim":
        assert found.trims == 0
    if chosen.full != "drop" and chosen.loss == 0 and whole:
        assert found.data_dropped == 0
    if not found.complete:
        return
    assert (found.started_ps >= traffic.start_ps).all()
    least = int(wire_bytes(traffic, chosen).sum())
    assert found.data_arrived >= least
    if found.retransmissions == 0:
        assert found.data_arrived == least
        assert found.trims == found.data_dropped == 0
    # No flow is faster than the endpoint's cables allow.
    out = np.array([network.rate_bps[network.first_port[e] : network.first_port[e + 1]].sum() for e in traffic.source])
    assert (found.received_ps - found.started_ps >= wire_bytes(traffic, chosen) * 8 * PS // out).all()
    assert (found.fct_ps >= found.received_ps - found.started_ps).all()


def equal(one: PacketResult, other: PacketResult) -> bool:
    return all(np.array_equal(getattr(one, field.name), getattr(other, field.name)) for field in fields(PacketResult))


@settings(deadline=None, max_examples=100)
@given(clos=connected, chosen=policies(), seed=st.integers(0, 2**31))
def test_laws_hold_on_clos_networks(clos: Clos, chosen: Settings, seed: int) -> None:
    network, traffic = clos.network(), random_traffic(clos.endpoints, seed)
    found = carried(network, traffic, chosen)
    assert found.complete
    check(network, traffic, chosen, found)
    assert equal(found, carried(network, traffic, chosen))
    # There with the data over all cables, and back with the acknowledgement.
    way = clos.hops(traffic.source, traffic.target) * 1_000_000
    assert (found.received_ps - found.started_ps > way).all()
    assert (found.fct_ps > 2 * way).all()


@settings(deadline=None, max_examples=60)
@given(dragonfly=dragonflies(), chosen=policies().filter(lambda one: one.full != "pfc"), seed=st.integers(0, 2**31))
def test_laws_hold_on_dragonflies(dragonfly: Dragonfly, chosen: Settings, seed: int) -> None:
    # Without virtual channels, priority flow control may deadlock where paths go round: not asked for here.
    network = dragonfly.network()
    if network.endpoints < 2:
        return
    traffic = random_traffic(network.endpoints, seed)
    found = carried(network, traffic, chosen)
    assert found.complete
    check(network, traffic, chosen, found)


@settings(deadline=None, max_examples=100)
@given(
    clos=connected, chosen=policies(), seed=st.integers(0, 2**31), at=st.integers(0, 30), events=st.integers(0, 5000)
)
def test_nothing_is_lost_from_sight_when_a_run_is_cut_short(
    clos: Clos, chosen: Settings, seed: int, at: int, events: int
) -> None:
    network, traffic = clos.network(), random_traffic(clos.endpoints, seed)
    stopped = carried(network, traffic, chosen, limits=Limits(until_ps=at * 1_000_000))
    assert stopped.now_ps <= at * 1_000_000
    check(network, traffic, chosen, stopped)
    short = carried(network, traffic, chosen, limits=Limits(events=events))
    assert short.events <= events
    check(network, traffic, chosen, short)


@settings(deadline=None, max_examples=40)
@given(
    clos=connected, chosen=policies(), seed=st.integers(0, 2**31),
    cuts=st.lists(
        st.tuples(st.integers(0, 10**6), st.integers(1, 60), st.integers(1, 200), st.sampled_from([0.0, 0.1, 0.5]),
                  st.booleans(), st.integers(0, 50)),
        min_size=1, max_size=4,
    ),
)  # fmt: skip
def test_laws_hold_when_cables_fail_and_heal(clos: Clos, chosen: Settings, seed: int, cuts: list[Any]) -> None:
    network, traffic = clos.network(), random_traffic(clos.endpoints, seed)
    changes = []
    for where, at, lasting, factor, both, reconvergence in cuts:
        port = where % network.ports
        ports = (port, int(network.peer[port])) if both else (port,)
        changes.append(Change(at * 10**6, ports, factor, reconvergence * 10**6))
        changes.append(Change((at + lasting) * 10**6, ports, 1.0, reconvergence * 10**6))
    found = carried(network, traffic, chosen, changes=changes)
    assert found.complete
    check(network, traffic, chosen, found, whole=False)
    assert equal(found, carried(network, traffic, chosen, changes=changes))


def test_seeds_change_what_is_hashed_and_nothing_else_does() -> None:
    network = Clos((Tier(4, 1, 100 * GBPS), Tier(4, 4, 100 * GBPS))).network()
    traffic = permutation(16, 200_000, np.random.default_rng(3))
    runs = [simulate(network, traffic, Settings(balance="ecmp", seed=seed)) for seed in range(8)]
    assert len({tuple(run.fct_ps.tolist()) for run in runs}) >= 6
    for seed, run in enumerate(runs):
        assert equal(run, simulate(network, traffic, Settings(balance="ecmp", seed=seed)))


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        ({"balance": "ecpm"}, "use one of ecmp"),
        ({"congestion": "dcqcn"}, "use one of none, sender"),
        ({"full": "trim", "recovery": "go-back-n"}, "choose drop or pfc"),
        ({"mtu_bytes": 1}, "from 64"),
        ({"loss": 1.0}, "to below 1"),
        ({"paths": 0}, "paths; from 1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(chosen: Any, words: str) -> None:
    with pytest.raises(SuanwangError) as refused:
        Settings(**chosen)
    assert words in f"{refused.value} {refused.value.hint}"
