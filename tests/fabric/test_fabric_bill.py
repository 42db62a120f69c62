"""The bill, which is arithmetic, against counting the arrays of small networks; cuts and failures against search."""

from __future__ import annotations

import time
from collections import Counter
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_flow
from tests.fabric.random_fabrics import GBPS, design_of, dragonflies, small_clos

from suanwang.fabric.clos import TIER_NAMES, Clos, Tier
from suanwang.fabric.design.bill import bill
from suanwang.fabric.design.building import build
from suanwang.fabric.design.counting import bisection_bps, diameter
from suanwang.fabric.design.domains import domains
from suanwang.fabric.design.lengths import lots
from suanwang.fabric.dragonfly import Dragonfly
from suanwang.fabric.kinds import FabricSpec
from suanwang.fabric.network import Network


def dragonfly_spec(fabric: Dragonfly) -> FabricSpec:
    counts = {"groups": fabric.groups, "routers": fabric.routers, "hosts": fabric.hosts}
    rates = {"rate": "100Gbps", "localRate": "200Gbps", "globalRate": "400Gbps"}
    form = {"dragonfly": {**counts, **rates, "globalPorts": max(fabric.global_ports, 1)}, "planes": fabric.planes}
    return FabricSpec.model_validate({"scaleOut": form, "layout": {"serversPerRack": 1, "racksPerRow": 2}})


@given(small_clos())
def test_counts_are_those_of_the_arrays(clos: Clos) -> None:
    design = design_of(clos)
    network, (part,) = design.network(), bill(design).parts
    assert part.switches == network.switches
    assert part.cables == network.ports // 2
    assert part.endpoints == network.endpoints
    for number, tier in enumerate(part.tiers, 1):
        nodes = np.flatnonzero(network.tier == number)
        assert tier.switches == len(nodes)
        ports = np.diff(network.first_port)[nodes]
        assert set(ports.tolist()) == {tier.ports_down + tier.ports_up}
        below = (network.tier[network.source] == number) & (network.tier[network.target] < number)
        assert tier.cables == below.sum()
        above = (network.tier[network.source] == number) & (network.tier[network.target] > number)
        if above.any():
            rates = network.rate_bps[below].sum() / network.rate_bps[above].sum()
            assert tier.oversubscription == pytest.approx(rates)
    sending = [network.rate_bps[network.first_port[n] : network.first_port[n + 1]].sum() for n in range(clos.endpoints)]
    assert set(sending) == {part.endpoint_bps}


@given(small_clos())
def test_every_cable_has_a_length(clos: Clos) -> None:
    design = design_of(clos)
    found = Counter[str]()
    for lot in lots(design, "scale-out"):
        found[lot.where] += lot.count
        assert lot.length_mm > 0
    expected = {
        f"below {TIER_NAMES[tier - 1]}": clos.planes * clos.count(tier) * clos.down_ports(tier)
        for tier in range(1, clos.height + 1)
    }
    assert dict(found) == expected


@given(dragonflies())
def test_every_cable_of_a_dragonfly_has_a_length(fabric: Dragonfly) -> None:
    design = build("small", dragonfly_spec(fabric))
    (part,) = bill(design).parts
    network = design.network()
    assert sum(lot.count for lot in lots(design, "scale-out")) == network.ports // 2 == part.cables
    assert part.switches == network.switches
    assert part.tiers[0].ports_down + part.tiers[0].ports_up == np.diff(network.first_port)[network.endpoints :].max()


def flow_bps(network: Network, one_side: set[int]) -> int:
    """The most that endpoints of one side can send to those of the other: a maximum flow."""
    nodes, unit = network.nodes, GBPS
    source, sink = nodes, nodes + 1
    rates: Counter[tuple[int, int]] = Counter()
    for port in range(network.ports):
        rates[int(network.source[port]), int(network.target[port])] += int(network.rate_bps[port]) // unit
    for node in range(network.endpoints):
        rates[(source, node) if node in one_side else (node, sink)] = 10**8
    # Endpoints do not pass on: what one plane brings does not leave by another.
    kept = {
        (a, b): rate
        for (a, b), rate in rates.items()
        if a >= nodes or b > nodes or not _through(network, a, b, one_side)
    }
    (rows, columns), values = zip(*kept, strict=True), list(kept.values())
    matrix = csr_array((np.array(values, np.int32), (rows, columns)), (nodes + 2, nodes + 2))
    return int(maximum_flow(matrix, source, sink).flow_value) * unit


def _through(network: Network, a: int, b: int, one_side: set[int]) -> bool:
    return (b < network.endpoints and b in one_side) or (a < network.endpoints and a not in one_side)


@settings(deadline=None, max_examples=40)
@given(small_clos(most=8))
def test_bisection_is_the_least_cut_of_all_halves(clos: Clos) -> None:
    network, count = clos.network(), clos.endpoints
    halves = (set(half) for half in combinations(range(count), count // 2))
    least = min(flow_bps(network, half) for half in halves) if count > 1 else 0
    assert bisection_bps(clos) == least


@settings(deadline=None, max_examples=30)
@given(dragonflies())
def test_bisection_of_a_dragonfly_is_a_cut_of_its_groups(fabric: Dragonfly) -> None:
    if fabric.groups == 1 or fabric.groups % 2:
        return
    half = set(range(fabric.endpoints // 2))
    assert bisection_bps(fabric) >= flow_bps(fabric.network(), half)


@given(small_clos())
def test_diameter_is_the_longest_of_the_shortest_ways(clos: Clos) -> None:
    every = np.arange(clos.endpoints)
    joined = [tier.children > 1 for tier in clos.tiers]
    longest = int(clos.hops(every[:, None], every[None, :]).max())
    highest = max((number for number, several in enumerate(joined, 1) if several), default=0)
    assert longest == 2 * highest
    if joined[-1]:
        assert diameter(clos) == longest


def served(network: Network, alive: np.ndarray, switches: set[int]) -> np.ndarray:
    """Endpoints that reach down from these switches over ports that are alive."""
    reached, frontier = set(switches), list(switches)
    while frontier:
        node = frontier.pop()
        for port in range(int(network.first_port[node]), int(network.first_port[node + 1])):
            other = int(network.target[port])
            if alive[port] and network.tier[other] < network.tier[node] and other not in reached:
                reached.add(other)
                frontier.append(other)
    return np.array(sorted(node for node in reached if node < network.endpoints))


@given(small_clos())
def test_a_switch_touches_those_below_it(clos: Clos) -> None:
    design = design_of(clos)
    network = design.network()
    alive = np.ones(network.ports, bool)
    below = {node: served(network, alive, {node}) for node in range(network.endpoints, network.nodes)}
    found = {domain.what: domain for domain in domains(design, "scale-out")}
    for tier in range(1, clos.height + 1):
        domain = found[TIER_NAMES[tier - 1]]
        nodes = [node for node in below if network.tier[node] == tier]
        assert domain.count == len(nodes)
        node = nodes[0]
        assert domain.endpoints == len(below[node])
        equal = [other for other in nodes if np.array_equal(below[other], below[node])]
        assert domain.share == pytest.approx(1 / len(equal))
        assert domain.parted == (len(equal) == 1)
        ports = range(int(network.first_port[node]), int(network.first_port[node + 1]))
        lost = sum(int(network.rate_bps[p]) for p in ports if network.tier[network.target[p]] < tier)
        assert domain.lost_bps == lost


@given(small_clos())
def test_a_cable_takes_its_share_of_the_ways_up(clos: Clos) -> None:
    design = design_of(clos)
    network = design.network()
    alive = np.ones(network.ports, bool)
    found = {domain.what: domain for domain in domains(design, "scale-out")}
    for tier in range(1, clos.height + 1):
        domain = found[f"cable below {TIER_NAMES[tier - 1]}"]
        ups = np.flatnonzero((network.tier[network.source] == tier - 1) & (network.tier[network.target] == tier))
        assert domain.count == len(ups)
        lower = int(network.source[ups[0]])
        below = served(network, alive, {lower}) if tier > 1 else np.array([lower])
        assert domain.endpoints == len(below)
        equal = [
            node
            for node in np.flatnonzero(network.tier == tier - 1).tolist()
            if np.array_equal(served(network, alive, {node}) if tier > 1 else np.array([node]), below)
        ]
        assert domain.share == pytest.approx(1 / np.isin(network.source[ups], equal).sum())


def test_what_an_endpoint_of_an_imported_network_sends(tmp_path: Path) -> None:
    rows = "".join(f"gpu{n},e1,leaf,swp{n + 1},{rate}\n" for n, rate in enumerate(("100Gbps", "100Gbps", "400Gbps")))
    (tmp_path / "list.csv").write_text("a_device,a_port,b_device,b_port,rate\n" + rows + "gpu0,e2,leaf,swp4,200Gbps\n")
    (part,) = bill(build("list", FabricSpec.model_validate({"scaleOut": {"file": "list.csv"}}), tmp_path)).parts
    assert part.endpoint_bps == 400 * 10**9


def test_a_million_accelerators_take_no_time() -> None:
    start = time.perf_counter()
    found = bill(build("fused", FabricSpec(preset="fused-1048576")))
    assert time.perf_counter() - start < 1
    assert found.design.accelerators == 2**20


def test_spare_ports_and_other_rates_are_counted_in_ports_of_the_chip() -> None:
    (part,) = bill(build("pod", FabricSpec(preset="hpn7-pod"))).parts
    leaf, spine = part.tiers
    assert (leaf.ports_down, leaf.ports_up, leaf.ports_used, leaf.ports_spare) == (128, 60, 124, 4)
    assert (spine.ports_used, spine.ports_spare, spine.oversubscription) == (120, 8, 15)


def test_power_is_that_of_switches_ends_and_interfaces() -> None:
    spec = {
        "scaleOut": {"tiers": [{"children": 4, "rate": "200Gbps", "medium": "AOC"}], "switch": {"power": "100W"}},
        "accelerators": {"perServer": 1},
        "layout": {"media": [{"name": "AOC", "reach": "30m", "power": "2W"}], "rackPower": "5kW", "nicPower": "3W"},
    }
    found = bill(build("small", FabricSpec.model_validate(spec)))
    (part,) = found.parts
    assert (part.switches_w, part.optics_w, part.interfaces_w, found.racks_w) == (100, 2 * 4 * 4, 4 * 6, 5000)
    assert found.power_w == 100 + 32 + 24 + 5000


def test_cables_that_no_medium_reaches_are_refused() -> None:
    spec = {"scaleOut": {"solve": {"endpoints": 2048}}, "layout": {"media": [{"name": "DAC", "reach": "3m"}]}}
    with pytest.raises(Exception, match="DAC reaches 3 m"):
        bill(build("far", FabricSpec.model_validate(spec)))


def test_bisection_by_hand() -> None:
    leaf_spine = Clos((Tier(2, 1, 100 * GBPS), Tier(3, 1, 100 * GBPS)))
    # Six endpoints below three leaves, a cable up from each: the least cut has one leaf and half of another on a side.
    assert bisection_bps(leaf_spine) == 200 * GBPS
