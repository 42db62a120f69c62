"""Max-min fair rates against water filling in exact numbers, their own definition, and SimGrid."""

import json
import subprocess
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from suanwang.fabric.flow.engine import simulate_paths
from suanwang.fabric.flow.maxmin import Usage, collapsed, max_min
from suanwang.fabric.flow.paths import Paths
from suanwang.fabric.traffic import Traffic
from suanwang.model.errors import SuanwangError

SYSTEM_PYTHON = Path("/usr/bin/python3")

Flow = dict[int, Fraction]


def water_filling(
    flows: list[Flow], capacity: list[Fraction], weight: list[Fraction], limit: list[Fraction | None]
) -> list[Fraction]:
    """Let all rates rise together until something is full; go on with the rest."""
    rate = [Fraction(0)] * len(flows)
    moving = set(range(len(flows)))
    while moving:
        steps = [(limit[i] - rate[i]) / weight[i] for i in moving if limit[i] is not None]
        for link, room in enumerate(capacity):
            slope = sum((flows[i].get(link, 0) * weight[i] for i in moving), Fraction(0))
            if slope:
                steps.append((room - sum(flow.get(link, 0) * r for flow, r in zip(flows, rate, strict=True))) / slope)
        step = min(steps)
        for i in moving:
            rate[i] += step * weight[i]
        full = {
            link
            for link, room in enumerate(capacity)
            if sum(flow.get(link, 0) * r for flow, r in zip(flows, rate, strict=True)) == room
        }
        moving = {i for i in moving if not full & flows[i].keys() and rate[i] != limit[i]}
    return rate


def usage_of(flows: list[Flow], capacity: list[Fraction]) -> Usage:
    return Usage.build(
        np.concatenate([[0], np.cumsum([len(flow) for flow in flows])]),
        [link for flow in flows for link in flow],
        [float(part) for flow in flows for part in flow.values()],
        [float(room) for room in capacity],
    )


PARTS = st.sampled_from([Fraction(1), Fraction(1, 2), Fraction(1, 3), Fraction(1, 16)])


@st.composite
def problems(draw: st.DrawFn) -> tuple[list[Flow], list[Fraction], list[Fraction], list[Fraction | None]]:
    links = draw(st.integers(1, 6))
    count = draw(st.integers(1, 10))
    flow = st.dictionaries(st.integers(0, links - 1), PARTS, min_size=1, max_size=links)
    flows = draw(st.lists(flow, min_size=count, max_size=count))
    capacity = draw(st.lists(st.integers(0, 40).map(Fraction), min_size=links, max_size=links))
    weight = draw(st.lists(st.sampled_from([1, 1, 2, 5]).map(Fraction), min_size=count, max_size=count))
    limits = st.none() | st.integers(0, 20).map(Fraction)
    return flows, capacity, weight, draw(st.lists(limits, min_size=count, max_size=count))


@settings(deadline=None, max_examples=300)
@given(problems())
def test_equal_to_water_filling(
    problem: tuple[list[Flow], list[Fraction], list[Fraction], list[Fraction | None]],
) -> None:
    flows, capacity, weight, limit = problem
    found = max_min(
        usage_of(flows, capacity),
        [float(one) for one in weight],
        [np.inf if one is None else float(one) for one in limit],
    )
    expected = [float(one) for one in water_filling(flows, capacity, weight, limit)]
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(2, 400), st.integers(2, 60))
def test_feasible_and_every_flow_has_a_bottleneck(seed: int, flows: int, links: int) -> None:
    random = np.random.default_rng(seed)
    used = [random.choice(links, random.integers(1, min(links, 6) + 1), replace=False) for _ in range(flows)]
    first = np.concatenate([[0], np.cumsum([len(one) for one in used])])
    usage = Usage.build(
        first, np.concatenate(used), random.choice([1.0, 0.5, 0.25], first[-1]), random.random(links) * 9
    )
    weight = random.choice([1.0, 3.0], flows)
    rate = max_min(usage, weight)
    load = np.bincount(usage.resource, np.repeat(rate, np.diff(first)) * usage.fraction, minlength=links)
    assert (load <= usage.capacity * (1 + 1e-9)).all()
    greatest = np.zeros(links)
    np.maximum.at(greatest, usage.resource, np.repeat(rate / weight, np.diff(first)))
    full = load >= usage.capacity * (1 - 1e-9)
    for flow in range(flows):
        own = usage.resource[first[flow] : first[flow + 1]]
        assert (full[own] & (greatest[own] <= rate[flow] / weight[flow] * (1 + 1e-9))).any()


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.integers(1, 5), st.integers(1, 30))
def test_resources_alike_become_one(seed: int, flows: int, classes: int, copies: int) -> None:
    """Each class is repeated, with capacities of its own; the least of them counts."""
    random = np.random.default_rng(seed)
    chosen = [random.choice(classes, random.integers(1, classes + 1), replace=False) for _ in range(flows)]
    numbers = [(one[:, None] * copies + np.arange(copies)).ravel() for one in chosen]
    usage = Usage.build(
        np.concatenate([[0], np.cumsum([len(one) for one in numbers])]),
        np.concatenate(numbers),
        1 / copies,
        random.random(classes * copies) + 0.1,
    )
    fewer, klass = collapsed(usage)
    assert len(fewer.capacity) <= classes
    for resource in np.unique(usage.resource):
        assert fewer.capacity[klass[resource]] <= usage.capacity[resource]
    np.testing.assert_allclose(max_min(fewer), max_min(usage), rtol=1e-9)
    assert (klass[np.setdiff1d(np.arange(classes * copies), usage.resource)] == -1).all()


def test_only_active_flows_count() -> None:
    usage = Usage.build([0, 1, 2, 3], [0, 0, 0], 1.0, [12.0])
    assert max_min(usage).tolist() == [4.0, 4.0, 4.0]
    assert max_min(usage, active=np.array([0, 2])).tolist() == [6.0, 0.0, 6.0]


def test_bad_problems_are_refused() -> None:
    with pytest.raises(SuanwangError, match="resource 3, of 2"):
        Usage.build([0, 1], [3], 1.0, [1.0, 1.0])
    with pytest.raises(SuanwangError, match="fraction above 0"):
        Usage.build([0, 1], [0], 0.0, [1.0])
    with pytest.raises(SuanwangError, match="offsets"):
        Usage.build([0, 2], [0], 1.0, [1.0])
    with pytest.raises(SuanwangError, match="capacity"):
        Usage.build([0, 1], [0], 1.0, [-1.0])
    with pytest.raises(SuanwangError, match="flow 1 uses nothing"):
        max_min(Usage.build([0, 1, 1], [0], 1.0, [1.0]))
    three = Usage.build([0, 1, 2, 3], [0, 0, 0], 1.0, [12.0])
    for active, words in (([0, 0], "flow 0 is among the active ones twice"), ([3], "0 to 2"), ([-1], "0 to 2")):
        with pytest.raises(SuanwangError, match=words):
            max_min(three, active=np.array(active))
    for weight in (1e-300, np.nan, np.inf):
        with pytest.raises(SuanwangError, match="weights"):
            max_min(three, weight)
    with pytest.raises(SuanwangError, match="weights"):
        max_min(Usage.build([0, 1], [0], 1.0, [1.0]), weight=0.0)


SIMGRID = """
import json, sys
from simgrid import Actor, Comm, Engine, Link, LinkInRoute, Mailbox, NetZone, this_actor
problem = json.load(sys.stdin)
engine = Engine(["fluid", "--cfg=network/model:CM02", "--cfg=network/crosstraffic:0", "--cfg=network/TCP-gamma:0",
                 "--cfg=network/bandwidth-factor:1", "--cfg=network/latency-factor:1", "--log=root.thres:critical"])
zone = NetZone.create_full_zone("all")
links = [zone.create_link(f"l{i}", c).set_latency(0).seal() for i, c in enumerate(problem["capacity"])]
ends, done = [], {}
def send(i):
    Mailbox.by_name(str(i)).put(i, problem["bytes"][i])
def take(i):
    Mailbox.by_name(str(i)).get()
    done[i] = Engine.clock
for i, used in enumerate(problem["links"]):
    a, b = zone.create_host(f"a{i}", 1e9).seal(), zone.create_host(f"b{i}", 1e9).seal()
    zone.add_route(a.netpoint, b.netpoint, None, None, [LinkInRoute(links[j]) for j in used], True)
    ends.append((a, b))
zone.seal()
for i, (a, b) in enumerate(ends):
    Actor.create(f"s{i}", a, send, i)
    Actor.create(f"r{i}", b, take, i)
engine.run()
print(json.dumps([done[i] for i in range(len(ends))]))
"""


def simgrid_times(capacity: list[float], links: list[list[int]], size: list[int]) -> list[float]:
    """When SimGrid's fluid model ends each flow; all start at 0."""
    problem = json.dumps({"capacity": capacity, "links": links, "bytes": size})
    done = subprocess.run(
        [SYSTEM_PYTHON, "-c", SIMGRID], input=problem, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    found: list[float] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


@pytest.fixture(scope="module")
def simgrid() -> None:
    if not SYSTEM_PYTHON.exists():
        pytest.skip(f"{SYSTEM_PYTHON} is not there")
    probe = subprocess.run([SYSTEM_PYTHON, "-c", "import simgrid"], capture_output=True, timeout=60, check=False)
    if probe.returncode:
        pytest.skip("Debian's python3-simgrid is not installed")


def random_links(seed: int) -> tuple[list[list[int]], Usage]:
    random = np.random.default_rng(seed)
    capacity = random.integers(1, 50, 12) * 1e9
    links = [sorted(random.choice(12, random.integers(1, 5), replace=False).tolist()) for _ in range(40)]
    return links, Usage.build(
        np.concatenate([[0], np.cumsum([len(one) for one in links])]), np.concatenate(links), 1.0, capacity
    )


@pytest.mark.usefixtures("simgrid")
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_rates_equal_to_simgrid(seed: int) -> None:
    """With sizes in proportion to our rates, all flows must end at once."""
    links, usage = random_links(seed)
    times = simgrid_times(usage.capacity.tolist(), links, np.round(max_min(usage) * 2).astype(int).tolist())
    np.testing.assert_allclose(times, 2.0, rtol=1e-6)


@pytest.mark.usefixtures("simgrid")
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_completion_times_equal_to_simgrid(seed: int) -> None:
    """Sizes at random: rates change whenever a flow ends. SimGrid counts bytes a second, we bits."""
    links, usage = random_links(seed)
    size = np.random.default_rng(seed).integers(10**6, 10**9, len(links))
    times = simgrid_times(usage.capacity.tolist(), links, size.tolist())
    paths = Paths(
        Usage(usage.first, usage.resource, usage.fraction, usage.capacity * 8),
        np.arange(12), np.zeros(len(links), np.int64), np.zeros(len(links)),
    )  # fmt: skip
    ours = simulate_paths(paths, Traffic.build(2, np.zeros(len(links)), 1, size))
    np.testing.assert_allclose(ours.finish_ps / 1e12, times, rtol=1e-6)
