"""FARE's path bandwidths against the rules read literally, against maximum flows, and against BGP's path selection."""

from __future__ import annotations

from functools import lru_cache
from math import gcd

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_flow

from suanwang.fabric.clos import Clos, Tier
from suanwang.fabric.configure.plan import Plan
from suanwang.fabric.network import Network
from suanwang.fabric.routing.fare import (
    GREATEST,
    FareRoutes,
    frr_weights,
    path_bandwidth,
    reduced,
)
from suanwang.model.errors import SuanwangError

GBPS = 10**9
TWO = Clos((Tier(2, 1, 200 * GBPS), Tier(3, 2, 400 * GBPS, bundle=2)))
THREE = Clos((Tier(1, 1, 400 * GBPS), Tier(2, 2, 400 * GBPS, bundle=2), Tier(3, 2, 400 * GBPS)))
PLANES = Clos((Tier(2, 1, 200 * GBPS), Tier(3, 2, 400 * GBPS)), planes=2)
SHAPES = (TWO, THREE, PLANES, Clos((Tier(2, 2, 100 * GBPS), Tier(2, 3, 400 * GBPS))))

Answer = dict[tuple[int, int], dict[int, int]]


def clos_path_bandwidth(clos: Clos) -> dict[tuple[int, int], int]:
    """By coordinates, all links up: what a switch of tier t advertises for a block that it meets at tier m.

    Key (t, m): m = t for what is below the switch; m > t for what its ancestors of tier m are the first to have below.
    """
    known = {(1, 1): GREATEST}
    capacity = [tier.bundle * tier.rate_bps for tier in clos.tiers]
    for tier in range(2, clos.height + 1):
        known[tier, tier] = min(capacity[tier - 1], known[tier - 1, tier - 1])
    for meeting in range(2, clos.height + 1):
        for tier in range(meeting - 1, 0, -1):
            through = min(capacity[tier], known[tier + 1, meeting])
            known[tier, meeting] = clos.tiers[tier].parents * through
    return known


def literally(network: Network, up: np.ndarray, rate: np.ndarray) -> Answer:
    """(node, endpoint) -> bandwidth through each next hop, by recursion over what neighbours advertise."""
    alive = up & up[network.peer] & (rate > 0) & (rate > 0)[network.peer]

    @lru_cache(None)
    def link(one: int, other: int) -> int:
        return int(sum(rate[port] for port in network.ports_between(one, other) if alive[port]))

    def neighbours(node: int) -> list[int]:
        first, last = network.first_port[node], network.first_port[node + 1]
        return sorted({int(peer) for peer in network.target[first:last] if link(node, int(peer))})

    found: Answer = {}
    for endpoint in range(network.endpoints):
        leaves = set(neighbours(endpoint))

        @lru_cache(None)
        def known(node: int, leaves: frozenset[int] = frozenset(leaves)) -> tuple[int, int, bool, dict[int, int]]:
            """Hops, what is advertised, whether it came from above, and the bandwidth through each next hop."""
            if node in leaves:
                return 0, GREATEST, False, {}
            for above in (False, True):
                ways = {}
                for peer in neighbours(node):
                    higher = network.tier[peer] > network.tier[node]
                    if peer < network.endpoints or higher != above:
                        continue
                    hops, advertised, from_above, _ = known(peer) if above else below(peer, leaves)
                    if advertised and (above or not from_above):
                        ways[peer] = (hops + 1, min(link(node, peer), advertised))
                if ways:
                    least = min(hops for hops, _ in ways.values())
                    best = {peer: width for peer, (hops, width) in ways.items() if hops == least}
                    return least, sum(best.values()), above, best
            return 0, 0, False, {}

        @lru_cache(None)
        def below(node: int, leaves: frozenset[int]) -> tuple[int, int, bool, dict[int, int]]:
            """The same by ways that lead down only."""
            if node in leaves:
                return 0, GREATEST, False, {}
            ways = {}
            for peer in neighbours(node):
                if peer >= network.endpoints and network.tier[peer] < network.tier[node]:
                    hops, advertised, _, _ = below(peer, leaves)
                    if advertised:
                        ways[peer] = (hops + 1, min(link(node, peer), advertised))
            if not ways:
                return 0, 0, False, {}
            least = min(hops for hops, _ in ways.values())
            best = {peer: width for peer, (hops, width) in ways.items() if hops == least}
            return least, sum(best.values()), False, best

        for node in range(network.endpoints, network.nodes):
            found[node, endpoint] = known(node)[3]
    return found


def failures(clos: Clos) -> st.SearchStrategy[tuple[Network, np.ndarray, np.ndarray]]:
    """A network with some ports down and some degraded."""
    network = clos.network()
    ports = st.lists(st.integers(0, network.ports - 1), max_size=network.ports // 4)
    degraded = st.lists(st.tuples(st.integers(0, network.ports - 1), st.integers(0, 9)), max_size=6)

    def made(down: list[int], slow: list[tuple[int, int]]) -> tuple[Network, np.ndarray, np.ndarray]:
        up, rate = np.ones(network.ports, np.bool_), network.rate_bps.copy()
        up[down] = False
        for port, tenths in slow:
            rate[port] = rate[port] * tenths // 10
        return network, up, rate

    return st.builds(made, ports, degraded)


anything = st.sampled_from(SHAPES).flatmap(failures)


@given(anything)
@settings(deadline=None, max_examples=60)
def test_equals_the_rules_read_literally(case: tuple[Network, np.ndarray, np.ndarray]) -> None:
    network, up, rate = case
    routes = path_bandwidth(network, up, rate)
    for (node, endpoint), ways in literally(network, up, rate).items():
        hops = routes.next_hops(node, endpoint)
        assert dict(zip(hops.node.tolist(), hops.bandwidth_bps.tolist(), strict=True)) == ways
        if ways:
            assert gcd(*hops.weight.tolist()) == 1
            assert (hops.weight * gcd(*ways.values()) == hops.bandwidth_bps).all()


@given(anything)
@settings(deadline=None, max_examples=40)
def test_sets_of_ports_share_a_nodes_weight_over_its_links(case: tuple[Network, np.ndarray, np.ndarray]) -> None:
    network, up, rate = case
    routes = path_bandwidth(network, up, rate)
    sets = routes.routes()
    for switch in range(network.endpoints, network.nodes):
        for endpoint in range(network.endpoints):
            hops = routes.next_hops(switch, endpoint)
            entry = (
                int(sets.table[switch - network.endpoints, sets.group[endpoint]]) if sets.group[endpoint] >= 0 else -1
            )
            if not len(hops.node):
                assert entry < 0
                continue
            port = sets.port[sets.first[entry] : sets.first[entry + 1]]
            weight = sets.weight[sets.first[entry] : sets.first[entry + 1]]
            assert (up[port] & up[network.peer[port]] & (rate[port] > 0)).all()
            shares = hops.bandwidth_bps / hops.bandwidth_bps.sum()
            for node, share in zip(hops.node.tolist(), shares, strict=True):
                of_node = network.target[port] == node
                assert weight[of_node].sum() / weight.sum() == pytest.approx(share, rel=1e-2)
                parallel = weight[of_node] / rate[port[of_node]]
                assert parallel.max() / parallel.min() == pytest.approx(1, rel=1e-2)


@pytest.mark.parametrize(
    "clos", [*SHAPES[:3], Clos((Tier(2, 1, 100), Tier(2, 2, 300), Tier(2, 3, 200), Tier(2, 1, 500)))]
)
def test_coordinates_give_the_same_when_nothing_is_down(clos: Clos) -> None:
    network, known = clos.network(), clos_path_bandwidth(clos)
    routes = path_bandwidth(network)
    for endpoint in range(0, clos.endpoints, 3):
        for plane in range(clos.planes):
            for tier in range(1, clos.height + 1):
                for number in range(clos.count(tier)):
                    node = clos.first(plane, tier) + number
                    meeting = tier
                    place, under = int(clos.position(endpoint)), int(clos.under(tier, number))
                    size = int(np.prod([one.children for one in clos.tiers[:tier]]))
                    while place // size != under:
                        meeting += 1
                        size *= clos.tiers[meeting - 1].children
                        under //= clos.tiers[meeting - 1].children
                    found = routes.advertised_bps[routes.group[endpoint], node - network.endpoints]
                    assert found == known[tier, meeting]


def flow(network: Network, rate: np.ndarray, source: int, target: int, through: int | None = None) -> int:
    """The greatest flow between switches, through one node only beside them if asked; in Gbit/s."""
    keep = (network.source >= network.endpoints) & (network.target >= network.endpoints)
    if through is not None:
        allowed = {source, target, through}
        keep &= np.array(
            [int(a) in allowed and int(b) in allowed for a, b in zip(network.source, network.target, strict=True)]
        )
    units = (rate[keep] // GBPS).astype(np.int32)
    shape = (network.nodes, network.nodes)
    return int(
        maximum_flow(csr_array((units, (network.source[keep], network.target[keep])), shape), source, target).flow_value
    )


@given(st.data())
@settings(deadline=None, max_examples=40)
def test_in_two_tiers_weights_are_in_proportion_to_the_greatest_flows(data: st.DataObject) -> None:
    clos = Clos((Tier(1, 1, 100 * GBPS), Tier(4, 4, 100 * GBPS, bundle=3)))
    network = clos.network()
    up = np.ones(network.ports, np.bool_)
    inner = np.flatnonzero((network.source >= network.endpoints) & (network.target >= network.endpoints))
    up[data.draw(st.lists(st.sampled_from(inner.tolist()), max_size=20))] = False
    up &= up[network.peer]
    rate = np.where(up, network.rate_bps, 0)
    routes = path_bandwidth(network, up)
    one, other = network.node("leaf0"), network.node("leaf3")
    hops = routes.next_hops(one, 3)
    each = {spine: flow(network, rate, one, other, spine) for spine in range(network.node("spine0"), network.nodes)}
    assert {
        node: width // GBPS for node, width in zip(hops.node.tolist(), hops.bandwidth_bps.tolist(), strict=True)
    } == {spine: units for spine, units in each.items() if units}
    # Paths through different spines share no link: together they are the greatest flow that stays free of valleys.
    assert sum(each.values()) == routes.next_hops(one, 3).bandwidth_bps.sum() // GBPS


def test_a_sum_counts_a_bottleneck_that_paths_share_more_than_once() -> None:
    """The rule is local: in three tiers, four cores that lead to one thin link each advertise it whole."""
    clos = Clos((Tier(1, 1, 400 * GBPS), Tier(2, 2, 400 * GBPS), Tier(2, 4, 400 * GBPS)))
    network = clos.network()
    rate = network.rate_bps.copy()
    thin = network.ports_between(network.node("spine0"), network.node("leaf0"))
    rate[thin] = rate[network.peer[thin]] = 100 * GBPS
    routes = path_bandwidth(network, rate_bps=rate)
    far = network.node("leaf3")
    assert routes.next_hops(far, 0).bandwidth_bps.tolist() == [400 * GBPS] * 2
    core_sums = [routes.next_hops(int(node), 0).bandwidth_bps.sum() // GBPS for node in routes.next_hops(far, 0).node]
    assert sorted(core_sums) == [400, 1600]  # four times 100 for the thin one


def carried(routes: FareRoutes, network: Network, rate: np.ndarray, ecmp: bool) -> float:
    """What leaf0 brings to the last endpoint's leaf at most, shares fixed, none of it lost; Gbit/s in two tiers."""
    leaf, endpoint = network.node("leaf0"), network.endpoints - 1
    hops = routes.next_hops(leaf, endpoint)
    links = [rate[network.ports_between(leaf, int(node))].sum() for node in hops.node]
    beyond = [rate[network.ports_between(int(node), int(network.target[endpoint]))].sum() for node in hops.node]
    weight = np.array(links, float) if ecmp else hops.weight.astype(float)
    capacity = np.minimum(links, beyond)
    return float((capacity / (weight / weight.sum())).min() / GBPS)


def test_where_equal_shares_lose_and_fare_keeps() -> None:
    """One of two links between a spine and the far leaf is down. Equal shares fill it up at 800 of 1,200 Gbit/s."""
    network = TWO.network()
    up = np.ones(network.ports, np.bool_)
    up[network.ports_between(network.node("spine0"), network.node("leaf2"))[0]] = False
    up &= up[network.peer]
    routes, rate = path_bandwidth(network, up), np.where(up, network.rate_bps, 0)
    assert carried(routes, network, rate, ecmp=True) == 800
    assert carried(routes, network, rate, ecmp=False) == 1200
    assert routes.next_hops(network.node("leaf0"), 5).weight.tolist() == [1, 2]


def test_an_interface_weighs_its_planes() -> None:
    """Plane 0 has lost all but one uplink of 50G at the far leaf: what it still carries is the weight of that plane."""
    network = PLANES.network()
    rate = network.rate_bps.copy()
    leaf = network.node("p0-leaf2")
    for number, spine in enumerate(("p0-spine0", "p0-spine1")):
        port = network.ports_between(leaf, network.node(spine))
        rate[port] = rate[network.peer[port]] = (50 * GBPS, 0)[number]
    routes = path_bandwidth(network, rate_bps=rate)
    hops = routes.next_hops(0, 5)
    assert [network.names[node] for node in hops.node] == ["p0-leaf0", "p1-leaf0"]
    assert hops.weight.tolist() == [1, 4]
    reach = routes.routes().reach
    assert reach is not None
    here = [int(node) - network.endpoints for node in hops.node]
    assert reach[here, routes.group[5]].tolist() == [50 * GBPS, 200 * GBPS]


def test_endpoints_that_announce_themselves_make_their_links_known() -> None:
    network = PLANES.network()
    rate = network.rate_bps.copy()
    slow = network.ports_between(5, network.node("p0-leaf2"))
    rate[slow] = rate[network.peer[slow]] = 20 * GBPS
    by_leaf = path_bandwidth(network, rate_bps=rate).next_hops(0, 5)
    by_endpoint = path_bandwidth(network, rate_bps=rate, origin="endpoint").next_hops(0, 5)
    assert by_leaf.weight.tolist() == [1, 1]
    # Each of two spines advertises the slow link whole: 2 x 20 against the sender's own link of 200.
    assert by_endpoint.weight.tolist() == [1, 5]


def test_a_plane_that_lost_the_endpoint_is_not_used() -> None:
    network = PLANES.network()
    up = np.ones(network.ports, np.bool_)
    up[network.ports_between(5, network.node("p0-leaf2"))] = False
    hops = path_bandwidth(network, up).next_hops(0, 5)
    assert [network.names[node] for node in hops.node] == ["p1-leaf0"]


def test_paths_go_up_and_down_and_never_up_again() -> None:
    """leaf0 and leaf2 have no spine in common; a way through leaf1 exists, and shared AS numbers refuse it."""
    clos = Clos((Tier(1, 1, GBPS), Tier(3, 2, GBPS)))
    network = clos.network()
    up = np.ones(network.ports, np.bool_)
    for leaf, spine in (("leaf0", "spine1"), ("leaf2", "spine0")):
        up[network.ports_between(network.node(leaf), network.node(spine))] = False
    assert not len(path_bandwidth(network, up).next_hops(network.node("leaf0"), 2).node)


@given(st.sampled_from((TWO, THREE)).flatmap(failures))
@settings(deadline=None, max_examples=25)
def test_paths_are_those_of_bgp_with_the_plans_as_numbers(case: tuple[Network, np.ndarray, np.ndarray]) -> None:
    """A path-vector protocol, run literally: shortest AS path, ties all used, own AS refused."""
    network, up, rate = case
    up = up & up[network.peer] & (rate > 0) & (rate > 0)[network.peer]
    asn = {switch.node: switch.asn for switch in Plan(network).switches()}
    routes = path_bandwidth(network, up, rate)
    endpoint = network.endpoints - 1
    leaves = {
        int(network.target[port])
        for port in range(network.first_port[endpoint], network.first_port[endpoint + 1])
        if up[port]
    }
    links = [
        (int(a), int(b))
        for a, b, alive in zip(network.source, network.target, up, strict=True)
        if alive and a >= network.endpoints and b >= network.endpoints
    ]
    paths: dict[int, tuple[int, ...]] = dict.fromkeys(leaves, ())
    used: dict[int, set[int]] = {}
    for _ in range(2 * len(asn)):
        offers: dict[int, dict[int, tuple[int, ...]]] = {}
        for node, peer in links:
            if peer in paths and node not in leaves and asn[node] not in (path := (asn[peer], *paths[peer])):
                offers.setdefault(node, {})[peer] = path
        best = {node: min(ways.values(), key=lambda path: (len(path), path)) for node, ways in offers.items()}
        used = {node: {peer for peer, path in offers[node].items() if len(path) == len(best[node])} for node in best}
        settled = {**dict.fromkeys(leaves, ()), **best}
        if settled == paths:
            break
        paths = settled
    for node in asn:
        assert set(routes.next_hops(node, endpoint).node.tolist()) == used.get(node, set())


def test_shortest_paths_where_tiers_say_nothing() -> None:
    """A ring of four switches of one tier: both ways round to the one opposite."""
    network = Network.build(
        4, [0, 1, 2, 3, 4, 5, 6, 7], [4, 5, 6, 7, 5, 6, 7, 4], [10, 10, 10, 10, 6, 4, 8, 2], 1, [0] * 4 + [1] * 4,
        [f"n{number}" for number in range(8)],
    )  # fmt: skip
    hops = path_bandwidth(network).next_hops(4, 2)
    assert dict(zip(hops.node.tolist(), hops.bandwidth_bps.tolist(), strict=True)) == {5: 4, 7: 2}
    assert hops.weight.tolist() == [2, 1]


def test_weights_that_frr_gives() -> None:
    assert frr_weights([400, 800, 800]).tolist() == [20, 40, 40]
    assert frr_weights([50 * GBPS, 100 * GBPS]).tolist() == [33, 66]
    assert frr_weights([1] * 200).tolist() == [1] * 200
    assert reduced([300, 450]).tolist() == [2, 3]


def test_refusals() -> None:
    network = TWO.network()
    with pytest.raises(SuanwangError, match="entries"):
        path_bandwidth(network, np.ones(3, np.bool_))
    with pytest.raises(SuanwangError, match="below 0"):
        path_bandwidth(network, rate_bps=np.full(network.ports, -1))
    joined = Network.build(2, [0, 1], [1, 2], 1, 1, [0, 0, 1], ["a", "b", "s"])
    with pytest.raises(SuanwangError, match="joined with an endpoint"):
        path_bandwidth(joined)


def test_an_endpoint_without_links_is_in_no_group() -> None:
    network = TWO.network()
    up = np.ones(network.ports, np.bool_)
    up[network.ports_between(0, network.node("leaf0"))] = False
    routes = path_bandwidth(network, up)
    assert routes.group[0] == -1
    assert not len(routes.next_hops(network.node("leaf2"), 0).node)
    assert not len(routes.next_hops(0, 5).node)
