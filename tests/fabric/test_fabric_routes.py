"""Next hops on any network with any failures, against a search made for each endpoint on its own."""

from __future__ import annotations

from collections import deque
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fabric.random_fabrics import dragonflies, small_clos

from suanwang.fabric.clos import Clos, Tier
from suanwang.fabric.network import Network
from suanwang.fabric.routing import routes as module
from suanwang.fabric.routing.fare import path_bandwidth
from suanwang.fabric.routing.routes import shortest, unreachable
from suanwang.fabric.routing.routes_kernels import rounds
from suanwang.model.errors import INVALID, SuanwangError

GBPS = 10**9


@st.composite
def networks(draw: st.DrawFn) -> Network:
    """Any switches joined in any way, with endpoints on any of them."""
    endpoints, switches = draw(st.integers(1, 8)), draw(st.integers(1, 7))
    nodes = st.integers(endpoints, endpoints + switches - 1)
    cables = draw(st.lists(st.tuples(nodes, nodes).filter(lambda pair: pair[0] != pair[1]), max_size=16))
    cables += [(number, draw(nodes)) for number in range(endpoints)]
    cables += [(number, draw(nodes)) for number in range(endpoints) if draw(st.booleans())]
    cables = draw(st.permutations(cables))
    a, b = [one for one, _ in cables], [other for _, other in cables]
    tier = [0] * endpoints + [1] * switches
    return Network.build(endpoints, a, b, GBPS, 1000, tier, [f"n{number}" for number in range(len(tier))])


def found_by_search(network: Network, alive: np.ndarray, endpoint: int) -> list[set[int]]:
    """For each switch the ports on shortest ways to the endpoint."""
    away = {endpoint: 0}
    waiting = deque([endpoint])
    while waiting:
        node = waiting.popleft()
        for port in np.flatnonzero((network.target == node) & alive & alive[network.peer]).tolist():
            other = int(network.source[port])
            if other >= network.endpoints and other not in away:
                away[other] = away[node] + 1
                waiting.append(other)
    hops: list[set[int]] = []
    for switch in range(network.endpoints, network.nodes):
        ports = np.flatnonzero((network.source == switch) & alive & alive[network.peer]).tolist()
        best = away.get(switch, 0) - 1
        hops.append({port for port in ports if switch in away and away.get(int(network.target[port])) == best})
    return hops


@settings(deadline=None, max_examples=300)
@given(network=networks(), data=st.data())
def test_next_hops_are_those_of_a_search_whatever_failed(network: Network, data: st.DataObject) -> None:
    share = data.draw(st.sampled_from([0.0, 0.1, 0.5, 1.0]))
    random = np.random.default_rng(data.draw(st.integers(0, 2**31)))
    alive = random.random(network.ports) >= share
    routes = shortest(network, alive)
    cut_off = []
    for endpoint in range(network.endpoints):
        expected = found_by_search(network, alive, endpoint)
        for switch, ports in enumerate(expected):
            mine = set(routes.ports(network, network.endpoints + switch, endpoint).tolist())
            if endpoint in network.target[list(mine)]:
                # What hangs on the switch itself is told by all its cables; the engine leaves out those that are down.
                mine = {port for port in mine if alive[port] and alive[network.peer[port]]}
            assert mine == ports
        own = range(int(network.first_port[endpoint]), int(network.first_port[endpoint + 1]))
        up = [port for port in own if alive[port] and alive[network.peer[port]]]
        cut_off.append(not up)
    assert (routes.group < 0).tolist() == cut_off


@settings(deadline=None)
@given(network=networks())
def test_who_reaches_whom(network: Network) -> None:
    routes = shortest(network)
    for source in range(network.endpoints):
        for target in range(network.endpoints):
            if source == target:
                continue
            leaves = network.target[network.first_port[source] : network.first_port[source + 1]].tolist()
            ways = found_by_search(network, np.ones(network.ports, bool), target)
            there = any(ways[leaf - network.endpoints] for leaf in leaves)
            lost = unreachable(network, routes, np.array([source]), np.array([target]))
            assert (len(lost) == 0) == there


@settings(deadline=None)
@given(network=networks(), seed=st.integers(0, 2**31))
def test_groups_are_endpoints_on_the_same_switches(network: Network, seed: int) -> None:
    alive = np.random.default_rng(seed).random(network.ports) > 0.2
    group, sample = network.attachment(alive)
    leaves = []
    for endpoint in range(network.endpoints):
        ports = np.arange(network.first_port[endpoint], network.first_port[endpoint + 1])
        up = ports[alive[ports] & alive[network.peer[ports]]]
        leaves.append(sorted(network.target[up].tolist()))
    for one in range(network.endpoints):
        for other in range(network.endpoints):
            if leaves[one] and leaves[other]:
                assert (group[one] == group[other]) == (leaves[one] == leaves[other])
        assert (group[one] < 0) == (not leaves[one])
    assert group[sample].tolist() == list(range(len(sample)))


@settings(deadline=None, max_examples=100)
@given(clos=small_clos(most=16), share=st.sampled_from([0.0, 0.1, 0.4]), seed=st.integers(0, 2**31))
def test_fare_takes_the_same_ways_and_equal_weights_where_all_is_alike(clos: Clos, share: float, seed: int) -> None:
    network = clos.network()
    alive = np.random.default_rng(seed).random(network.ports) >= share
    equal, fare = shortest(network, alive), path_bandwidth(network, alive).routes()
    for node in range(network.endpoints, network.nodes):
        for endpoint in np.flatnonzero(equal.group >= 0):
            mine = equal.ports(network, node, endpoint)
            assert sorted(mine.tolist()) == sorted(fare.ports(network, node, endpoint).tolist())
            entry = int(fare.table[node - network.endpoints, fare.group[endpoint]])
            if entry >= 0 and share == 0:
                assert len(set(fare.weight[fare.first[entry] : fare.first[entry + 1]].tolist())) == 1


@settings(deadline=None, max_examples=60)
@given(clos=small_clos(most=16))
def test_folded_clos_networks_are_layered(clos: Clos) -> None:
    network = clos.network()
    assert network.layered
    assert replace(network, folded=False).layered


@pytest.mark.parametrize("switches", [16_500, 33_000])
def test_long_rows_of_switches(switches: int) -> None:
    """As many hops as 16 bits can't count."""
    row = np.arange(2, switches + 2)
    tier = [0, 0, *([1] * switches)]
    network = Network.build(
        2, [0, *row[:-1], 1], [2, *row[1:], switches + 1], GBPS, 1, tier, [f"n{n}" for n in range(len(tier))]
    )
    for routes in (shortest(network), path_bandwidth(network).routes()):
        assert not len(unreachable(network, routes, np.array([0]), np.array([1])))


def test_endpoints_have_not_ports_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("suanwang.fabric.network.MOST_SLOTS", 7)
    network = Network.build(2, [0, 0, 0, 0, 1], [2, 2, 2, 2, 2], GBPS, 1, [0, 0, 1], list("abc"))
    with pytest.raises(SuanwangError, match="an endpoint has 4 ports"):
        network.attachment()


def test_no_way_leads_up_again() -> None:
    """Leaf 2 has cables to both spines, but as in BGP by RFC 7938 it carries nothing for other leaves."""
    network = Clos((Tier(1, 1, 100 * GBPS), Tier(3, 2, 100 * GBPS))).network()
    assert network.layered
    alive = np.ones(network.ports, np.bool_)
    for leaf, spine in ((0, 1), (1, 0)):
        alive[network.ports_between(network.node(f"leaf{leaf}"), network.node(f"spine{spine}"))] = False
    for routes in (shortest(network, alive), path_bandwidth(network, alive).routes()):
        assert unreachable(network, routes, np.array([0, 0, 2]), np.array([1, 2, 1]), alive).tolist() == [0]


def test_where_tiers_are_no_layers_hops_decide() -> None:
    """Three switches with endpoints in a row, others between them: the middle one, of the lowest tier, carries too."""
    network = Network.build(
        3, [0, 1, 2, 3, 4, 5, 6], [3, 5, 7, 4, 5, 6, 7], GBPS, 1000, [0, 0, 0, 1, 2, 1, 2, 1], list("abcdefgh")
    )
    assert not network.layered
    for routes in (shortest(network), path_bandwidth(network).routes()):
        assert not len(unreachable(network, routes, np.array([0, 0]), np.array([1, 2])))


@settings(deadline=None, max_examples=40)
@given(dragonfly=dragonflies())
def test_fare_takes_the_shortest_ways_on_dragonflies(dragonfly: object) -> None:
    network: Network = dragonfly.network()  # type: ignore[attr-defined]
    equal, fare = shortest(network), path_bandwidth(network).routes()
    for node in range(network.endpoints, network.nodes):
        for endpoint in range(network.endpoints):
            mine = equal.ports(network, node, endpoint).tolist()
            assert sorted(mine) == sorted(fare.ports(network, node, endpoint).tolist())


@settings(deadline=None)
@given(weights=st.lists(st.lists(st.integers(1, 10**6), min_size=1, max_size=12), min_size=1, max_size=6))
def test_rounds_hold_each_port_by_its_weight_and_evenly(weights: list[list[int]]) -> None:
    first = np.cumsum([0] + [len(one) for one in weights])
    ports = np.arange(int(first[-1]))
    lengths, slots = rounds(first, ports, np.concatenate(weights), 256)
    for number, mine in enumerate(weights):
        turn = slots[lengths[number] : lengths[number + 1]]
        assert set(turn.tolist()) <= set(range(int(first[number]), int(first[number + 1])))
        for place, weight in enumerate(mine):
            exact, times = weight / sum(mine) * len(turn), int((turn == first[number] + place).sum())
            assert abs(times - exact) <= len(mine)
            # No port waits much longer for its turn than its share says.
            taken = np.cumsum(turn == first[number] + place)
            assert np.abs(taken - times / len(turn) * np.arange(1, len(turn) + 1)).max() <= len(mine)


def test_sets_that_are_alike_are_one() -> None:
    clos = Clos((Tier(8, 1, GBPS), Tier(16, 8, GBPS)))
    routes = shortest(clos.network())
    # One set of all spines for each leaf, one of each cable down for each spine.
    assert len(routes.first) - 1 == 16 + 8 * 16
    assert routes.groups == 16


def test_tables_that_are_too_large_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_ENTRIES", 10)
    with pytest.raises(SuanwangError) as refused:
        shortest(Clos((Tier(2, 1, GBPS), Tier(4, 2, GBPS))).network())
    assert refused.value.code == INVALID
    assert "flow engine" in str(refused.value.hint)
