"""Dragonflies: next hops from coordinates against breadth-first search, and the network against its numbers."""

from __future__ import annotations

from collections import deque

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fabric.random_fabrics import GBPS, dragonflies

from suanwang.fabric.dragonfly import Dragonfly
from suanwang.fabric.network import Network
from suanwang.model.errors import SuanwangError


def distances(network: Network, fabric: Dragonfly, target: int, groups: set[int], plane: int) -> dict[int, int]:
    """Cables from each router of those groups to an endpoint, through routers of those groups only."""
    first = fabric.endpoints + plane * fabric.groups * fabric.routers
    allowed = {first + g * fabric.routers + r for g in groups for r in range(fabric.routers)} | {target}
    found, waiting = {target: 0}, deque([target])
    while waiting:
        node = waiting.popleft()
        for port in range(network.first_port[node], network.first_port[node + 1]):
            other = int(network.target[port])
            if other in allowed and other not in found:
                found[other] = found[node] + 1
                waiting.append(other)
    return found


@given(dragonflies(), st.data())
def test_next_hops_are_those_of_a_search(fabric: Dragonfly, data: st.DataObject) -> None:
    network = fabric.network()
    router = data.draw(st.integers(0, fabric.groups * fabric.routers - 1))
    endpoint = data.draw(st.integers(0, fabric.endpoints - 1))
    plane = data.draw(st.integers(0, fabric.planes - 1))
    groups = {router // fabric.routers, endpoint // fabric.hosts // fabric.routers}
    distance = distances(network, fabric, endpoint, groups, plane)
    node = fabric.endpoints + plane * fabric.groups * fabric.routers + router
    first = int(network.first_port[node])
    ports = range(first, int(network.first_port[node + 1]))
    nearer = [p - first for p in ports if distance.get(int(network.target[p])) == distance[node] - 1]
    assert list(fabric.next_hops(router, endpoint)) == nearer


@given(dragonflies(), st.data())
def test_a_detour_gets_to_its_group_and_then_there(fabric: Dragonfly, data: st.DataObject) -> None:
    network = fabric.network()
    router = data.draw(st.integers(0, fabric.groups * fabric.routers - 1))
    endpoint = data.draw(st.integers(0, fabric.endpoints - 1))
    via: int | None = data.draw(st.integers(0, fabric.groups - 1))
    node, passed = fabric.endpoints + router, [router // fabric.routers]
    for _ in range(6):
        here = node - fabric.endpoints
        via = None if here // fabric.routers == via else via
        hops = fabric.next_hops(here, endpoint, via)
        port = int(network.first_port[node]) + data.draw(st.sampled_from(hops))
        node = int(network.target[port])
        if node == endpoint:
            break
        passed.append((node - fabric.endpoints) // fabric.routers)
    assert node == endpoint
    assert via is None


@given(dragonflies())
def test_the_network_is_as_counted(fabric: Dragonfly) -> None:
    network = fabric.network()
    assert (network.endpoints, network.switches) == (fabric.endpoints, fabric.switches)
    group = np.where(network.tier > 0, (np.arange(network.nodes) - fabric.endpoints) // fabric.routers, -1)
    between = (group[network.source] != group[network.target]) & (network.tier[network.source] > 0)
    between &= network.tier[network.target] > 0
    pairs = np.unique(np.stack([group[network.source], group[network.target]])[:, between], axis=1, return_counts=True)
    assert set(pairs[1].tolist()) <= {fabric.bundle}
    assert between.sum() == fabric.planes * fabric.groups * (fabric.groups - 1) * fabric.bundle
    assert network.rate_bps[between].tolist() == [400 * GBPS] * int(between.sum())
    ports = np.diff(network.first_port)[fabric.endpoints :]
    assert ports.max() == fabric.hosts + fabric.routers - 1 + fabric.global_used


@pytest.mark.parametrize("numbers", [(14, 4, 2, 3), (2, 4, 2, 0), (0, 1, 1, 1), (3, 5000, 1, 1)])
def test_numbers_that_make_no_dragonfly(numbers: tuple[int, int, int, int]) -> None:
    with pytest.raises(SuanwangError) as caught:
        Dragonfly(*numbers, GBPS, GBPS, GBPS)
    assert caught.value.code == "INVALID"


def test_too_many_groups_name_the_nearest() -> None:
    with pytest.raises(SuanwangError) as caught:
        Dragonfly(14, 4, 2, 3, GBPS, GBPS, GBPS)
    assert caught.value.hint == "nearest possible: 13 groups"
