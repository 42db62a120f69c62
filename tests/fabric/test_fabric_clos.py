"""Folded Clos networks: what arithmetic says is what the arrays hold and what a search finds."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fabric.random_fabrics import small_clos

from suanwang.fabric.clos import Clos, Tier
from suanwang.fabric.network import Network
from suanwang.fabric.routing.routes import shortest, unreachable
from suanwang.model.errors import INVALID, SuanwangError
from suanwang.model.reading import TOO_LARGE

GBPS = 10**9


def distances(network: Network, start: int) -> list[int]:
    """Hops from a node to all others, breadth first; -1 where there is no way. Endpoints pass nothing on."""
    found = [-1] * network.nodes
    found[start], front = 0, [start]
    while front:
        following = []
        for node in front:
            if node < network.endpoints and node != start:
                continue
            for port in range(int(network.first_port[node]), int(network.first_port[node + 1])):
                other = int(network.target[port])
                if found[other] < 0:
                    found[other] = found[node] + 1
                    following.append(other)
        front = following
    return found


@settings(deadline=None, max_examples=150)
@given(clos=small_clos(most=16))
def test_next_hops_by_coordinates_are_those_of_a_search(clos: Clos) -> None:
    network = clos.network()
    routes = shortest(network)
    for endpoint in range(clos.endpoints):
        away = distances(network, endpoint)
        for plane, tier in product(range(clos.planes), range(1, clos.height + 1)):
            for switch in range(clos.count(tier)):
                node = clos.first(plane, tier) + switch
                first = int(network.first_port[node])
                mine = [first + port for port in clos.next_hops(tier, switch, endpoint)]
                ports = range(first, int(network.first_port[node + 1]))
                nearer = [port for port in ports if 0 <= away[int(network.target[port])] < away[node]]
                assert mine == nearer
                assert mine == routes.ports(network, node, endpoint).tolist()


@settings(deadline=None, max_examples=150)
@given(clos=small_clos(most=20))
def test_hops_by_coordinates_are_those_of_a_search(clos: Clos) -> None:
    network = clos.network()
    everyone = np.arange(clos.endpoints)
    for endpoint in everyone.tolist():
        assert clos.hops(endpoint, everyone).tolist() == distances(network, endpoint)[: clos.endpoints]
    source, target = (side.ravel() for side in np.meshgrid(everyone, everyone))
    apart = source != target
    lost = unreachable(network, shortest(network), source[apart], target[apart])
    assert lost.tolist() == np.flatnonzero(clos.hops(source[apart], target[apart]) < 0).tolist()


@settings(deadline=None, max_examples=200)
@given(clos=small_clos(most=24))
def test_cables_ports_and_counts_agree(clos: Clos) -> None:
    network = clos.network()
    assert network.endpoints == clos.endpoints
    assert network.switches == clos.switches
    assert (network.peer[network.peer] == np.arange(network.ports)).all()
    assert (network.source[network.peer] == network.target).all()
    for plane, tier in product(range(clos.planes), range(1, clos.height + 1)):
        mine = clos.first(plane, tier) + np.arange(clos.count(tier))
        assert (network.tier[mine] == tier).all()
        assert (network.plane[mine] == plane).all()
        degree = network.first_port[mine + 1] - network.first_port[mine]
        assert (degree == clos.down_ports(tier) + clos.up_ports(tier)).all()
    assert (np.diff(network.first_port[: clos.endpoints + 1]) == clos.planes * clos.up_ports(0)).all()
    cables = list(clos.cables())
    assert 2 * sum(len(block.lower) for block in cables) == network.ports
    for block in cables:
        lower = clos.first(block.plane, block.tier - 1) + block.lower
        upper = clos.first(block.plane, block.tier) + block.upper
        here, there = network.first_port[lower] + block.lower_port, network.first_port[upper] + block.upper_port
        assert (network.target[here] == upper).all()
        assert (network.peer[here] == there).all()
        assert (network.rate_bps[here] == clos.tiers[block.tier - 1].rate_bps).all()
    assert len(set(network.names)) == network.nodes == len(network.names)


@given(clos=small_clos(most=32))
def test_positions_are_the_endpoints_in_another_order(clos: Clos) -> None:
    everyone = np.arange(clos.endpoints)
    assert sorted(clos.position(everyone).tolist()) == everyone.tolist()
    assert clos.endpoint(clos.position(everyone)).tolist() == everyone.tolist()


@given(servers=st.integers(1, 6), rails=st.sampled_from([2, 4, 8]))
def test_a_rail_optimised_network_has_a_leaf_for_each_rail(servers: int, rails: int) -> None:
    clos = Clos((Tier(servers, 1, GBPS), Tier(rails, 2, GBPS)), rails=rails, joined=2)
    network = clos.network()
    for endpoint in range(clos.endpoints):
        leaf = int(network.target[network.first_port[endpoint]]) - clos.endpoints
        assert leaf == endpoint % rails
    same_rail, same_server = clos.hops(0, np.arange(clos.endpoints))[::rails], clos.hops(0, np.arange(rails))
    assert same_rail[1:].tolist() == [2] * (servers - 1)
    assert same_server[1:].tolist() == [4] * (rails - 1)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"tiers": ()}, "0 tiers"),
        ({"tiers": (Tier(0, 1, GBPS),)}, "below 1"),
        ({"tiers": (Tier(2, 1, 0),)}, "below 1"),
        ({"tiers": (Tier(2, 1, GBPS),), "planes": 0}, "at least 1"),
        ({"tiers": (Tier(2, 1, GBPS),), "joined": 3}, "join at one of the tiers"),
        ({"tiers": (Tier(4, 1, GBPS), Tier(3, 2, GBPS)), "rails": 2, "joined": 2}, "multiple of the rails"),
        ({"tiers": (Tier(2**20, 1, GBPS), Tier(2**20, 1, GBPS))}, "at most"),
    ],
)
def test_numbers_that_make_no_network_are_refused(arguments: dict[str, object], words: str) -> None:
    with pytest.raises(SuanwangError) as refused:
        Clos(**arguments)  # type: ignore[arg-type]
    assert refused.value.code == INVALID
    assert words in f"{refused.value} {refused.value.hint}"


def test_a_network_that_is_too_large_is_refused_before_it_is_built() -> None:
    clos = Clos((Tier(64, 1, GBPS, bundle=2**24), Tier(64, 64, GBPS)), planes=8)
    assert clos.cable_count == 8 * (64 * 64 * 2**24 + 64 * 64)
    with pytest.raises(SuanwangError, match=r"cables of .* GiB of memory; 16 GiB are allowed") as refused:
        clos.network()
    assert refused.value.code == TOO_LARGE


def test_the_number_of_switches_is_limited() -> None:
    with pytest.raises(SuanwangError, match="switches; at most 67,108,864"):
        Clos((Tier(1, 2**13, GBPS), Tier(1, 2**14, GBPS)))


@given(clos=small_clos(most=20))
def test_cables_are_counted_before_they_are_made(clos: Clos) -> None:
    assert clos.cable_count == clos.network().ports // 2
