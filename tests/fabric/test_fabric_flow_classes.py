"""What classes say of symmetric traffic is what all its flows together do."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from suanwang.fabric.clos import Clos, Tier
from suanwang.fabric.flow import classes
from suanwang.fabric.flow.coordinates import clos_paths
from suanwang.fabric.flow.engine import simulate_flows, simulate_paths
from suanwang.fabric.routing.routes import shortest
from suanwang.fabric.traffic import Traffic, all_to_all
from suanwang.model.errors import SuanwangError

G = 10**9


@st.composite
def networks(draw: st.DrawFn) -> Clos:
    height = draw(st.integers(1, 3))
    children = [draw(st.sampled_from([2, 4, 6])) for _ in range(height)]
    tiers = tuple(
        Tier(count, draw(st.integers(1, 3)) if number else 1, 100 * G, 500_000, draw(st.integers(1, 2)))
        for number, count in enumerate(children)
    )
    rails = draw(st.sampled_from([1, 2])) if height > 1 else 1
    return Clos(tiers, planes=draw(st.integers(1, 2)), rails=rails, joined=2 if rails > 1 else 1)


@settings(deadline=None, max_examples=200)
@given(networks(), st.data())
def test_arithmetic_equals_counting(clos: Clos, data: st.DataObject) -> None:
    """A ring of ranks evenly spaced, alone on the network."""
    stride = data.draw(st.sampled_from([one for one in (1, 2, 4, 8) if one < clos.endpoints]))
    size = data.draw(st.integers(2, -(-clos.endpoints // stride)))
    first = data.draw(st.integers(0, clos.endpoints - 1 - stride * (size - 1)))
    by = data.draw(st.integers(1, size - 1))
    found = classes.of_shift(clos, first, stride, size, by, alone=True)
    members = first + stride * np.arange(size)
    if found is not None:
        assert found == classes.of_pairs(clos, members, np.roll(members, -by), size, alone=True)
    else:
        assert clos.rails > 1 or stride > 1 or size < clos.endpoints  # the whole network in order is always arithmetic


def carried(clos: Clos, source: np.ndarray, target: np.ndarray) -> list[float]:
    """The most that a port of each tier carries when one byte is sprayed from each source to its target."""
    network = clos.network()
    sent = simulate_flows(network, shortest(network), Traffic.build(clos.endpoints, source, target, 1)).port_bytes
    tier = np.maximum(network.tier[network.source], network.tier[network.target])
    return [float(sent[tier == one].max()) for one in range(1, clos.height + 1)]


@settings(deadline=None, max_examples=60)
@given(networks(), st.data())
def test_groups_alike_load_cables_as_their_flows_do(clos: Clos, data: st.DataObject) -> None:
    """The network full of rings: those of one stride, moved by one each."""
    dividing = [one for one in (1, 2, 4) if clos.endpoints % one == 0 and one < clos.endpoints]
    stride = data.draw(st.sampled_from(dividing))
    size = clos.endpoints // stride
    by = data.draw(st.integers(1, size - 1))
    ranks = stride * np.arange(size)
    source = (ranks[:, None] + np.arange(stride)).ravel()
    target = (np.roll(ranks, -by)[:, None] + np.arange(stride)).ravel()
    profile = classes.of_shift(clos, 0, stride, size, by, alone=False) or classes.of_pairs(
        clos, ranks, np.roll(ranks, -by), size, alone=False, stride=stride
    )
    expected = carried(clos, source, target)
    np.testing.assert_allclose([float(one) for one in profile.through], expected[: profile.top], rtol=1e-6)
    assert not any(expected[profile.top :])


@settings(deadline=None, max_examples=30)
@given(networks())
def test_all_to_all_loads_cables_as_its_flows_do(clos: Clos) -> None:
    traffic = all_to_all(clos.endpoints, 1)
    profile = classes.of_everyone(clos, np.arange(clos.endpoints), alone=True)
    expected = carried(clos, traffic.source, traffic.target)
    np.testing.assert_allclose([float(one) for one in profile.through], expected[: profile.top], rtol=1e-6)


@settings(deadline=None, max_examples=100)
@given(networks(), st.integers(2, 5), st.booleans(), st.data())
def test_messages_within_and_between_domains_are_counted(
    clos: Clos, domain: int, inside: bool, data: st.DataObject
) -> None:
    members = np.sort(data.draw(st.permutations(range(clos.endpoints)))[: data.draw(st.integers(2, 12))])
    source, target = (side.ravel() for side in np.meshgrid(members, members))
    kept = (source != target) & ((source // domain == target // domain) == inside)
    profile = classes.of_everyone(clos, members, True, members // domain, inside)
    assert profile == classes.of_pairs(clos, source[kept], target[kept], len(members))


def test_a_million_endpoints_are_arithmetic() -> None:
    clos = Clos((Tier(1024, 1, 200 * G, 500_000), Tier(1024, 64, 400 * G, 500_000)), planes=2)
    profile = classes.of_shift(clos, 0, 1, clos.endpoints, 512, alone=False)
    assert profile is not None
    assert profile.top == 2
    assert profile.through == (Fraction(1, 2), Fraction(1024 // 2, 64 * 2))


def test_what_never_meets_is_named() -> None:
    rails = Clos((Tier(4, 1, G), Tier(2, 1, G)), trees=2, rails=2, joined=3)
    with pytest.raises(SuanwangError, match="accelerators 0 and 1 have no path"):
        classes.of_pairs(rails, np.array([0]), np.array([1]), 2, alone=True)
    with pytest.raises(SuanwangError, match="no path"):
        classes.of_everyone(rails, np.arange(4), alone=True)


def test_latency_counts_cables_and_packets_sent_again() -> None:
    clos = Clos((Tier(4, 1, 100 * G, 500_000), Tier(4, 2, 400 * G, 700_000)))
    assert classes.latency_ps(clos, 1) == 2 * 500_000
    assert classes.latency_ps(clos, 2) == 2 * 1_200_000
    # From a leaf up and from a spine down at 400G, from the last leaf to the endpoint at 100G.
    assert classes.latency_ps(clos, 2, 1000) == 2 * 1_200_000 + 2 * 20_000 + 80_000
    assert classes.latency_ps(clos, 1, 1000) == 2 * 500_000 + 80_000


@settings(deadline=None, max_examples=40)
@given(networks(), st.integers(0, 2**32 - 1), st.integers(1, 40))
def test_coordinates_give_what_routes_give(clos: Clos, seed: int, count: int) -> None:
    """Random flows, from either description of their paths."""
    random = np.random.default_rng(seed)
    source = random.integers(0, clos.endpoints, count)
    target = (source + random.integers(1, clos.endpoints, count)) % clos.endpoints
    traffic = Traffic.build(clos.endpoints, source, target, random.integers(1, 10**6, count))
    network = clos.network()
    found = simulate_paths(clos_paths(clos, source, target), traffic, packet_bytes=4096)
    expected = simulate_flows(network, shortest(network), traffic, packet_bytes=4096)
    np.testing.assert_allclose(found.finish_ps, expected.finish_ps, rtol=1e-7, atol=4)
    first = found.port_bytes[: clos.endpoints]
    np.testing.assert_allclose(
        first[clos.position(np.arange(clos.endpoints))], np.bincount(source, traffic.size_bytes, clos.endpoints)
    )
