"""The fluid engine against the plainest simulation there is, and against what must be true of any."""

from time import process_time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from suanwang.fabric.clos import Clos, Tier
from suanwang.fabric.flow.engine import simulate_flows, simulate_paths
from suanwang.fabric.flow.fluid_kernels import lower, settle
from suanwang.fabric.flow.maxmin import Usage, max_min
from suanwang.fabric.flow.paths import Paths, find_paths
from suanwang.fabric.network import Network
from suanwang.fabric.routing.routes import shortest
from suanwang.fabric.traffic import FOREVER_PS, Traffic, incast, permutation
from suanwang.model.errors import SuanwangError

G = 10**9
POD = Clos((Tier(4, 1, 100 * G, 500_000), Tier(4, 2, 100 * G, 700_000)))
PLANES = Clos((Tier(4, 1, 100 * G, 500_000), Tier(4, 3, 200 * G, 700_000)), planes=2, rails=4, joined=2)


def naive(paths: Paths, traffic: Traffic) -> np.ndarray:
    """At each event find all rates anew; the next event is the next start or end."""
    flows = len(traffic)
    left, finish = traffic.size_bytes * 8.0, np.full(flows, -1.0)
    starts = [float(t) if w < 0 else np.inf for t, w in zip(traffic.start_ps, traffic.waits_for, strict=True)]
    missing = traffic.trigger_count.copy()
    arrivals: list[tuple[float, int]] = []
    running: set[int] = set()
    now = 0.0
    while running or arrivals or min(starts) < np.inf:
        active = np.array(sorted(running), np.int64)
        rates = max_min(paths.usage, active=active) / 1e12
        ends = {int(i): now + left[i] / rates[i] for i in active if rates[i] > 0}
        after = min([*ends.values(), *starts, *(time for time, _ in arrivals)], default=np.inf)
        if after == np.inf:
            break
        left[active] -= rates[active] * (after - now)
        now = after
        for i, time in ends.items():
            if time <= now + 1e-3:
                running.discard(i)
                arrivals.append((now + paths.latency_ps[i], i))
        for time, i in [one for one in arrivals if one[0] <= now + 1e-3]:
            arrivals.remove((time, i))
            finish[i] = now
            if (trigger := traffic.fires[i]) >= 0:
                missing[trigger] -= 1
                for j in np.flatnonzero(traffic.waits_for == trigger) if missing[trigger] == 0 else []:
                    starts[j] = now + traffic.start_ps[j]
        for i, time in enumerate(starts):
            if time <= now + 1e-3:
                starts[i] = np.inf
                running.add(i)
    return finish


@st.composite
def traffics(draw: st.DrawFn) -> Traffic:
    count = draw(st.integers(1, 25))
    ends = draw(st.lists(st.tuples(st.integers(0, 15), st.integers(0, 14)), min_size=count, max_size=count))
    source = [a for a, _ in ends]
    target = [b + (b >= a) for a, b in ends]
    sizes = draw(st.lists(st.integers(1, 200_000), min_size=count, max_size=count))
    starts = draw(st.lists(st.sampled_from([0, 0, 1_000_000, 7_654_321]), min_size=count, max_size=count))
    # The first half fires trigger 0, of the others some wait for it.
    half = (count + 1) // 2
    waits = [-1] * half + draw(st.lists(st.sampled_from([-1, 0]), min_size=count - half, max_size=count - half))
    return Traffic.build(16, source, target, sizes, starts, waits, [0] * half + [-1] * (count - half), [half])


@settings(deadline=None, max_examples=60)
@given(traffics(), st.sampled_from(["ecmp", "spray"]), st.sampled_from([POD, PLANES]), st.integers(0, 5))
def test_equal_to_the_naive_simulation(traffic: Traffic, balance: str, clos: Clos, seed: int) -> None:
    network = clos.network()
    paths = find_paths(network, shortest(network), traffic, balance, seed)
    found = simulate_paths(paths, traffic)
    np.testing.assert_allclose(found.finish_ps, naive(paths, traffic), rtol=1e-7, atol=4)


@pytest.mark.parametrize(("balance", "seed"), [("ecmp", 1), ("ecmp", 2), ("spray", 3)])
def test_few_rates_change_at_an_event_and_still_all_are_fair(balance: str, seed: int) -> None:
    """Enough flows that only some of them meet what changed."""
    random = np.random.default_rng(seed)
    clos = Clos((Tier(8, 1, 100 * G, 500_000), Tier(16, 4, 100 * G, 700_000)))
    source = random.integers(0, 128, 600)
    target = (source + random.integers(1, 128, 600)) % 128
    sizes = random.integers(10**5, 10**7, 600)
    traffic = Traffic.build(128, source, target, sizes, random.integers(0, 10**10, 600))
    network = clos.network()
    paths = find_paths(network, shortest(network), traffic, balance, seed)
    found = simulate_paths(paths, traffic)
    np.testing.assert_allclose(found.finish_ps, naive(paths, traffic), rtol=1e-6)
    bytes_at_nodes(network, traffic, found.port_bytes)


def bytes_at_nodes(network: Network, traffic: Traffic, port_bytes: np.ndarray) -> None:
    out = np.bincount(network.source, port_bytes, minlength=network.nodes)
    into = np.bincount(network.target, port_bytes, minlength=network.nodes)
    sent = np.bincount(traffic.source, traffic.size_bytes, minlength=network.nodes)
    received = np.bincount(traffic.target, traffic.size_bytes, minlength=network.nodes)
    np.testing.assert_allclose(out - into, sent - received, atol=1e-3)
    np.testing.assert_allclose(out[: network.endpoints], sent[: network.endpoints], atol=1e-3)


@settings(deadline=None, max_examples=40)
@given(traffics(), st.sampled_from(["ecmp", "spray"]), st.integers(0, 2**32 - 1))
def test_bytes_in_are_bytes_out_even_with_failures(traffic: Traffic, balance: str, seed: int) -> None:
    network = PLANES.network()
    up = np.random.default_rng(seed).random(network.ports) > 0.03
    up &= up[network.peer]
    result = simulate_flows(network, shortest(network, up), traffic, balance, seed=seed, up=up)
    done = result.finish_ps >= 0
    assert (result.port_bytes[~up] == 0).all()
    if done.all():
        bytes_at_nodes(network, traffic, result.port_bytes)


def test_one_flow_takes_its_transfer_its_cables_and_its_packets() -> None:
    network = POD.network()
    traffic = Traffic.build(16, [0], [15], 1_000_000)
    for packet, stored in ((0, 0), (4096, 3 * 4096 * 80), (2_000_000, 3 * 1_000_000 * 80)):
        result = simulate_flows(network, shortest(network), traffic, packet_bytes=packet)
        assert result.fct_ps.tolist() == [1_000_000 * 80 + 2 * (500_000 + 700_000) + stored]


def test_an_incast_shares_the_last_port() -> None:
    network = POD.network()
    result = simulate_flows(network, shortest(network), incast(16, 10, 15, 100_000), "ecmp")
    assert result.finish_ps.max() == 10 * 100_000 * 80 + 2 * 1_200_000
    assert result.port_bytes[network.ports_between(19, 15)].tolist() == [1_000_000]


def test_an_incast_of_sizes_that_all_differ() -> None:
    """At each end all rates change; the k-th of n to end has shared the port with n - k others since the last one."""
    flows = 500
    usage = Usage.build(np.arange(flows + 1), np.zeros(flows), 1.0, [100e9])
    paths = Paths(usage, np.array([0]), np.zeros(flows, np.int64), np.zeros(flows))
    size = np.random.default_rng(1).permutation(flows) * 1000 + 10**6
    found = simulate_paths(paths, Traffic.build(flows + 1, np.arange(flows) + 1, 0, size))
    steps = np.diff(np.sort(size), prepend=0) * np.arange(flows, 0, -1)
    np.testing.assert_allclose(np.sort(found.finish_ps), np.cumsum(steps) * 80, rtol=1e-9)
    assert (np.argsort(found.finish_ps) == np.argsort(size)).all()
    assert found.events == 3 * flows


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 59), st.integers(0, 9)), min_size=1, max_size=200), st.integers(2, 60))
def test_the_heap_has_what_is_due_first_on_top(changes: list[tuple[int, int]], flows: int) -> None:
    active, where = np.arange(flows), np.arange(flows)
    due = np.full(flows, np.inf)
    for one, time in changes:
        due[one % flows] = time
        settle(active, where, due, flows, where[one % flows])
        assert active[0] == np.lexsort((np.arange(flows), due))[0]
    assert (active[where] == np.arange(flows)).all()
    due = due[::-1].copy()
    for place in range(flows // 2 - 1, -1, -1):
        lower(active, where, due, flows, place)
    ended = []
    for left in range(flows - 1, -1, -1):
        ended.append(int(active[0]))
        active[0] = active[left]
        lower(active, where, due, left, 0) if left else None
    assert ended == np.lexsort((np.arange(flows), due)).tolist()


def test_spraying_a_permutation_has_every_flow_at_full_rate() -> None:
    full = Clos((Tier(4, 1, 100 * G, 500_000), Tier(4, 4, 100 * G, 700_000)))
    network = full.network()
    traffic = permutation(16, 1_000_000, np.random.default_rng(3))
    sprayed = simulate_flows(network, shortest(network), traffic)
    hashed = [simulate_flows(network, shortest(network), traffic, "ecmp", seed=seed) for seed in range(5)]
    assert sprayed.fct_ps.max() == 1_000_000 * 80 + 2_400_000
    assert min(one.fct_ps.max() for one in hashed) > sprayed.fct_ps.max()
    again = simulate_flows(network, shortest(network), traffic, "ecmp", seed=3)
    assert (again.finish_ps == hashed[3].finish_ps).all()


def test_half_a_rate_takes_twice_as_long() -> None:
    network = POD.network()
    rates = network.rate_bps.copy()
    rates[network.ports_between(0, 16)] //= 2
    traffic = Traffic.build(16, [0, 1], [4, 5], 1_000_000)
    result = simulate_flows(network, shortest(network), traffic, rate_bps=rates)
    assert result.fct_ps.tolist() == [1_000_000 * 160 + 2_400_000, 1_000_000 * 80 + 2_400_000]


def test_weights_of_next_hops_divide_a_flow() -> None:
    network = POD.network()
    routes = shortest(network)
    weight = routes.weight.copy()
    leaf = int(routes.table[0, routes.group[15]])
    weight[routes.first[leaf]] = 3  # three quarters over the first uplink of leaf 0
    uneven = type(routes)(routes.group, routes.table, routes.first, routes.port, weight)
    result = simulate_flows(network, uneven, Traffic.build(16, [0], [15], 1_000_000))
    assert result.port_bytes[routes.port[routes.first[leaf] : routes.first[leaf + 1]]].tolist() == [750_000, 250_000]


def test_a_plane_lost_halves_the_rate_and_a_flow_without_a_way_never_ends() -> None:
    network = PLANES.network()
    traffic = Traffic.build(16, [0, 1], [4, 6], 1_000_000, waits_for=[-1, 0], fires=[0, -1], trigger_count=[1])
    whole = simulate_flows(network, shortest(network), traffic)
    dead = np.isin(network.plane, 0)
    up = ~(dead[network.source] | dead[network.target])
    half = simulate_flows(network, shortest(network, up), traffic, up=up)
    transfer = 1_000_000 * 40
    assert (half.fct_ps - whole.fct_ps).tolist() == [transfer, transfer]
    up[network.first_port[0] : network.first_port[1]] = False
    up &= up[network.peer]
    cut = simulate_flows(network, shortest(network, up), traffic, up=up)
    assert cut.unfinished.tolist() == [0, 1]  # the second waits for the first


def test_limits_and_weights_of_flows() -> None:
    usage = Usage.build([0, 1, 2], [0, 0], 1.0, [100e9])
    paths = Paths(usage, np.array([0]), np.zeros(2, np.int64), np.zeros(2))
    traffic = Traffic.build(4, [0, 1], [2, 3], 1_000_000)
    limited = simulate_paths(paths, traffic, limit_bps=[20e9, np.inf])
    assert limited.fct_ps.tolist() == [400_000_000, 100_000_000]
    weighted = simulate_paths(paths, traffic, weight=[1.0, 3.0])
    assert weighted.fct_ps.tolist() == [160_000_000, 106_666_667]
    with pytest.raises(SuanwangError, match="weights"):
        simulate_paths(paths, traffic, weight=0.0)
    with pytest.raises(SuanwangError, match="paths for 2 flows"):
        simulate_paths(paths, permutation(4, 1, np.random.default_rng(1)))
    network = POD.network()
    with pytest.raises(SuanwangError, match="each with a rate"):
        simulate_flows(network, shortest(network), traffic, rate_bps=np.array([1]))


@pytest.mark.parametrize("balance", ["ecmp", "spray"])
def test_a_long_way(balance: str) -> None:
    """A hundred switches in a row."""
    network = Network.build(
        2,
        [0, *range(2, 101), 1],
        [2, *range(3, 102), 101],
        100 * G,
        1000,
        [0, 0, *[1] * 100],
        [str(n) for n in range(102)],
    )
    result = simulate_flows(network, shortest(network), Traffic.build(2, [0, 1], [1, 0], 1000), balance)
    assert result.fct_ps.tolist() == [1000 * 80 + 101 * 1000] * 2


def test_routes_that_do_not_fit() -> None:
    network = POD.network()
    routes = shortest(network)
    traffic = Traffic.build(16, [0], [15], 1000)
    up = np.ones(network.ports, np.bool_)
    up[routes.port[routes.first[routes.table[0, routes.group[15]]]]] = False  # one of two next hops, not withdrawn
    assert simulate_flows(network, routes, traffic, up=up).unfinished.tolist() == [0]
    without = type(routes)(routes.group, routes.table, routes.first, routes.port, routes.weight * 0)
    with pytest.raises(SuanwangError, match="no weight"):
        simulate_flows(network, without, traffic)


def test_a_run_that_is_stopped_tells_what_was_sent_until_then() -> None:
    network, flows = POD.network(), 40_000
    rng = np.random.default_rng(1)
    source = rng.integers(16, size=flows)
    traffic = Traffic.build(16, source, (source + rng.integers(1, 16, flows)) % 16, 10_000, 10**6 * np.arange(flows))
    for until in (FOREVER_PS, 10**15):
        found = simulate_flows(
            network, shortest(network), traffic, until_ps=until, progress=lambda done, _: done < 1000
        )
        done = found.finish_ps >= 0
        assert 1000 <= done.sum() < flows
        assert found.finish_ps.max() <= found.now_ps < 10**15
        ports = network.first_port[network.endpoints]
        sent = found.port_bytes[:ports].sum()
        assert 10_000 * done.sum() <= sent <= 10_000 * (found.start_ps >= 0).sum()


def test_long_lines_take_no_time() -> None:
    flows = 200_000
    usage = Usage.build(np.arange(flows + 1), np.zeros(flows, np.int64), 1.0, [100e9])
    paths = Paths(usage, np.array([0]), np.zeros(flows, np.int64), np.zeros(flows))
    traffic = Traffic.build(2, np.zeros(flows, np.int64), 1, 1000)
    start = process_time()
    found = simulate_paths(paths, traffic, line=0)
    assert process_time() - start < 30  # minutes, if each looked for its place
    assert (np.diff(found.finish_ps) == 80_000).all()
