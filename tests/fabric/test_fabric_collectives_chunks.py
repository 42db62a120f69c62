"""Collectives in several chunks: costs by classes against all flows, and messages in order on their connections."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from suanwang.fabric.clos import Clos, Tier
from suanwang.fabric.collectives import pipelining
from suanwang.fabric.collectives.cost import FabricModel, Group, collective_time, schedules
from suanwang.fabric.collectives.pipelining import Message, Rounds, pipelined_ps
from suanwang.fabric.collectives.unfolding import run, unfold
from suanwang.fabric.flow.engine import simulate_paths
from suanwang.fabric.flow.maxmin import Usage
from suanwang.fabric.flow.paths import Paths, find_paths
from suanwang.fabric.network import Network
from suanwang.fabric.routing.routes import shortest
from suanwang.fabric.traffic import Traffic
from suanwang.model.errors import INVALID, SuanwangError

G = 10**9
LATENCY = 500_000
MOST_FLOWS = 8000


def fabric(shape: str, leaf: int, leaves: int, latency: int) -> FabricModel:
    """One switch, two tiers that are full or 4:1 oversubscribed, or either with rails between domains of four."""
    uplinks = leaf // 4 if shape.endswith("oversubscribed") else leaf
    if shape == "star":
        return FabricModel(Clos((Tier(leaf * leaves, 1, 400 * G, latency),)))
    tiers = (Tier(leaf, 1, 400 * G, latency), Tier(leaves, uplinks, 400 * G, latency))
    if shape.startswith("pods"):
        domains = Clos((Tier(4, 1, 3200 * G, latency // 2),), trees=leaf * leaves // 4)
        return FabricModel(Clos(tiers, rails=4, joined=2), domains)
    return FabricModel(Clos(tiers))


SHAPES = ("star", "full", "oversubscribed", "pods", "pods oversubscribed")


def off(kind: str, size: int, group: Group, where: FabricModel, algorithm: str, chunks: int) -> float:
    """By how much costs are above the time of all flows."""
    wide = group.size * group.stride
    moves = [block * wide + move for block in range(where.accelerators // wide) for move in range(group.stride)]
    flows = unfold(kind, size, group, where, algorithm, chunks=chunks, moves=(0,) if group.alone else moves)
    result = run(flows, where)
    assert not len(result.unfinished)
    cost = collective_time(kind, size, group, where, algorithm, chunks=chunks)
    return float(cost.time_ps / result.finish_ps.max() - 1)


def few(kind: str, group: Group, where: FabricModel, algorithm: str, chunks: int) -> bool:
    """Whether the flows of all groups are not too many."""
    stages = dict(schedules(kind, 2**20, group, where))[algorithm]
    count = sum(stage.count(group.size, group.per_domain(where.domain)) * stage.repeat for stage in stages)
    groups = 1 if group.alone else where.accelerators // group.size
    return count * chunks * groups <= MOST_FLOWS


@settings(deadline=None, max_examples=80)
@given(
    shape=st.sampled_from(SHAPES),
    leaf=st.sampled_from([4, 8, 16]),
    leaves=st.sampled_from([4, 8, 16]),
    latency=st.sampled_from([100_000, 500_000, 2_000_000]),
    members=st.sampled_from([8, 16, 32, 64, 128, 256]),
    stride=st.sampled_from([1, 4, 8]),
    alone=st.booleans(),
    kind=st.sampled_from(["all-reduce", "reduce-scatter", "all-gather", "broadcast", "all-to-all", "send"]),
    size=st.sampled_from([2**20, 2**24, 2**27, 2**30]),
    chunks=st.integers(1, 16),
    data=st.data(),
)
def test_classes_take_as_long_as_flows_in_any_number_of_chunks(
    shape: str, leaf: int, leaves: int, latency: int, members: int, stride: int, alone: bool, kind: str, size: int,
    chunks: int, data: st.DataObject,
) -> None:  # fmt: skip
    where = fabric(shape, leaf, leaves, latency)
    assume(members * stride <= where.accelerators)
    group = Group(members, stride, alone=alone)
    algorithm = data.draw(st.sampled_from(sorted(dict(schedules(kind, size, group, where)))))
    assume(few(kind, group, where, algorithm, chunks))
    found = off(kind, size, group, where, algorithm, chunks)
    assert abs(found) <= (0.35 if "tree" in algorithm else 0.06)


@pytest.mark.parametrize("chunks", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("size", [2**20, 2**28])
@pytest.mark.parametrize(
    ("shape", "kind", "algorithm"),
    [
        ("star", "all-reduce", "ring"),
        ("star", "all-reduce", "tree"),
        ("full", "all-reduce", "halving-doubling"),
        ("full", "broadcast", "tree"),
        ("oversubscribed", "reduce-scatter", "ring"),
        ("oversubscribed", "all-to-all", "direct"),
        ("oversubscribed", "all-reduce", "tree"),
        ("pods", "all-gather", "hierarchical-doubling"),
        ("pods", "all-reduce", "hierarchical-ring"),
        ("pods", "all-reduce", "hierarchical-direct"),
        ("pods oversubscribed", "reduce-scatter", "hierarchical-halving"),
    ],
)
def test_what_the_page_says_of_chunks(shape: str, kind: str, algorithm: str, size: int, chunks: int) -> None:
    assert abs(off(kind, size, Group(64), fabric(shape, 8, 8, LATENCY), algorithm, chunks)) <= 0.05


@pytest.mark.parametrize("first", [0, 3, 5])
@pytest.mark.parametrize(
    ("kind", "algorithm"), [("all-to-all", "direct"), ("reduce-scatter", "ring"), ("send", "line")]
)
def test_members_of_domains_that_a_group_cuts_use_the_scale_up_network(kind: str, algorithm: str, first: int) -> None:
    """Of six members, four or fewer share a domain of four."""
    where = fabric("pods oversubscribed", 8, 8, LATENCY)
    plain = FabricModel(Clos(where.scale_out.tiers), where.scale_up)
    assert abs(off(kind, 2**26, Group(6, first=first, alone=True), plain, algorithm, 1)) <= 0.06


def test_a_ring_in_chunks_hides_its_latency() -> None:
    """Rounds of one chunk wait for the round before; those of several keep the cable busy."""
    star = fabric("star", 8, 1, LATENCY)
    sent = 14 * 2**26 * 8000 / 400 / 8  # 2 (n - 1) / n of 64 MiB at 400G
    assert collective_time("all-reduce", 2**26, Group(8), star, "ring", 1).time_ps == pytest.approx(sent + 14 * 10**6)
    assert collective_time("all-reduce", 2**26, Group(8), star, "ring", 2).time_ps == pytest.approx(sent + 10**6)


def test_of_as_good_algorithms_the_one_of_fewer_rounds_is_taken() -> None:
    """A ring of many chunks takes as long as sending everything at once."""
    star = fabric("star", 8, 1, LATENCY)
    assert collective_time("all-gather", 2**28, Group(8), star).algorithm == "direct"


@pytest.mark.parametrize("chunks", [2, 5, 16, 64])
def test_rounds_taken_together_take_as_long(chunks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    ring = Rounds((Message({"out": 300.0}, 300.0, 300.0, 2000.0, "ring"),), 0, 400)
    gather = Rounds((Message({"up": 9000.0}, 1500.0, 9000.0, 800.0, "gather"),), 1)
    scatter = Rounds((Message({"up": 9000.0}, 1500.0, 9000.0, 800.0, "gather"),), -1)
    together = pipelined_ps((scatter, ring, gather), chunks)
    monkeypatch.setattr(pipelining, "MOST_MESSAGES", 10**6)
    assert together == pytest.approx(pipelined_ps((scatter, ring, gather), chunks), rel=0.01)


@pytest.mark.parametrize("chunks", [1, 2, 4, 16])
@pytest.mark.parametrize("size", [2**20, 2**26])
def test_a_ring_of_direct_links(size: int, chunks: int) -> None:
    """Each rank at a node of its own, nodes in a ring: three cables to the next, where a switch of all takes two."""
    ranks = np.arange(16)
    network = Network.build(
        16,
        np.concatenate([ranks, 16 + ranks]),
        np.concatenate([16 + ranks, 16 + (ranks + 1) % 16]),
        np.full(32, 400 * G),
        np.full(32, LATENCY),
        np.repeat([0, 1], 16),
        [f"gpu{rank}" for rank in ranks] + [f"node{rank}" for rank in ranks],
        np.repeat([-1, 0], 16),
    )
    star = fabric("star", 16, 1, 3 * LATENCY // 2)
    flows = unfold("all-reduce", size, Group(16), star, "ring", chunks)
    paths = find_paths(network, shortest(network), flows.traffic)
    result = simulate_paths(paths, flows.traffic, line=flows.connection)
    cost = collective_time("all-reduce", size, Group(16), star, "ring", chunks)
    assert cost.time_ps == pytest.approx(float(result.finish_ps.max()), rel=0.01)


def on_one_cable(line: list[int], start: list[int], size: list[int]) -> list[int]:
    """When flows that share a cable of 8 bits a picosecond are received, by the engine."""
    flows = len(size)
    usage = Usage.build(np.arange(flows + 1), np.zeros(flows, np.int64), 1.0, [8e12])
    paths = Paths(usage, np.zeros(1, np.int64), np.zeros(flows, np.int64), np.zeros(flows))
    return simulate_paths(paths, Traffic.build(2, [0] * flows, 1, size, start), line=line).finish_ps.tolist()


def test_flows_in_a_line_go_one_after_another() -> None:
    assert on_one_cable([0, 0, 0], [0, 0, 0], [1000] * 3) == [1000, 2000, 3000]
    assert on_one_cable([-1, -1, -1], [0, 0, 0], [1000] * 3) == [3000, 3000, 3000]
    # Of those that wait the least number is next, whenever it came; others share the cable with the line.
    assert on_one_cable([0, 0, 0], [300, 200, 0], [1000] * 3) == [2000, 3000, 1000]
    assert on_one_cable([0, 0, 1], [0, 0, 0], [1000, 1000, 2000]) == [2000, 4000, 4000]
    with pytest.raises(SuanwangError, match="lines of 2 flows"):
        on_one_cable([0, 2], [0, 0], [1, 1])


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5000), st.integers(1, 3000)), min_size=1, max_size=12))
def test_a_line_alone_is_a_queue(flows: list[tuple[int, int]]) -> None:
    finish = on_one_cable([0] * len(flows), [start for start, _ in flows], [size for _, size in flows])
    now, waiting, expected = 0, set(range(len(flows))), {}
    while waiting:
        now = max(now, min(flows[one][0] for one in waiting))
        one = min(one for one in waiting if flows[one][0] <= now)
        waiting.remove(one)
        now += flows[one][1]
        expected[one] = now
    assert finish == pytest.approx([expected[one] for one in range(len(flows))], abs=2)


def test_chunks_are_whole_bytes() -> None:
    """Two bytes in a thousand chunks are a thousand bytes, in flows as in costs."""
    star = FabricModel(Clos((Tier(8, 1, 100 * G, 0),)))
    group = Group(8)
    cost = collective_time("all-gather", 2, group, star, "ring", 1024).time_ps
    flows = int(run(unfold("all-gather", 2, group, star, "ring", 1024), star).finish_ps.max())
    assert cost == pytest.approx(flows, rel=0.2)


@pytest.mark.parametrize(("kind", "size", "members"), [("all-reduce", 0, 8), ("all-reduce", 8, 1), ("sum", 8, 8)])
def test_what_are_no_flows_is_refused(kind: str, size: int, members: int) -> None:
    star = FabricModel(Clos((Tier(8, 1, 100 * G),)))
    with pytest.raises(SuanwangError) as caught:
        unfold(kind, size, Group(members), star, "ring")
    assert caught.value.code == INVALID
