"""Collectives: the textbook's formulas, the flows that they are, and volumes that nothing can go below."""

from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from suanwang.fabric.clos import Clos, Tier
from suanwang.fabric.collectives.cost import (
    AS_GOOD,
    KINDS,
    FabricModel,
    Group,
    Routing,
    _bounded,
    collective_time,
    schedules,
)
from suanwang.fabric.collectives.patterns import (
    Everyone,
    Exchange,
    Pattern,
    Scatter,
    Shift,
    TreeEdges,
    TreeLevel,
    in_order_tree,
    tree_depth,
)
from suanwang.fabric.collectives.unfolding import run, unfold
from suanwang.fabric.flow.classes import below, cables_up
from suanwang.model.errors import SuanwangError

G = 10**9
ALPHA = 1_000_000  # two cables of 500 ns
STAR = FabricModel(Clos((Tier(64, 1, 400 * G, 500_000),)))
RAILS = FabricModel(
    Clos((Tier(8, 1, 200 * G, 500_000), Tier(8, 4, 200 * G, 500_000)), planes=2, rails=8, joined=2),
    Clos((Tier(8, 1, 3200 * G, 200_000),), trees=8),
)
OVERSUBSCRIBED = FabricModel(Clos((Tier(4, 1, 400 * G, 500_000), Tier(8, 2, 400 * G, 500_000))))
THREE = FabricModel(Clos((Tier(4, 1, 400 * G), Tier(4, 2, 400 * G), Tier(4, 2, 400 * G))))


def seconds(size: Fraction | int) -> Fraction:
    """Picoseconds that bytes take at 400G."""
    return Fraction(size) * 8 * 1000 / 400


@pytest.mark.parametrize("n", [2, 4, 7, 16, 64])
@pytest.mark.parametrize("size", [64 * 7 * 16, 64 * 7 * 2**20])
def test_alpha_beta(n: int, size: int) -> None:
    """Latency a and bandwidth b of a star: Thakur, Rabenseifner, Gropp (2005), sections 4 and 5."""
    group = Group(n)
    part, log = Fraction(size, n), (n - 1).bit_length()
    formulas = {
        ("all-reduce", "ring"): 2 * (n - 1) * (ALPHA + seconds(part)),
        ("all-reduce", "direct"): 2 * (ALPHA + (n - 1) * seconds(part)),
        ("reduce-scatter", "ring"): (n - 1) * (ALPHA + seconds(part)),
        ("reduce-scatter", "halving"): log * ALPHA + (n - 1) * seconds(part),
        ("all-gather", "doubling"): log * ALPHA + (n - 1) * seconds(part),
        ("all-reduce", "halving-doubling"): 2 * (log * ALPHA + (n - 1) * seconds(part)),
        ("all-to-all", "direct"): ALPHA + (n - 1) * seconds(part),
        ("send", "line"): ALPHA + seconds(size),
    }
    for (kind, algorithm), expected in formulas.items():
        if algorithm not in dict(schedules(kind, size, group, STAR)):
            assert n & (n - 1)
            continue
        found = collective_time(kind, size, group, STAR, algorithm, chunks=1).time_ps
        assert float(found) == pytest.approx(float(expected), rel=1e-6)


def moves(group: Group, fabric: FabricModel) -> list[int]:
    """Where groups alike stand, so that they fill the fabric."""
    if group.alone:
        return [0]
    wide = group.size * group.stride
    return [block * wide + move for block in range(fabric.accelerators // wide) for move in range(group.stride)]


CASES = [
    (STAR, Group(64)),
    (STAR, Group(8, stride=8)),
    (OVERSUBSCRIBED, Group(32, alone=True)),
    (OVERSUBSCRIBED, Group(8, stride=4)),
    (OVERSUBSCRIBED, Group(16, stride=2)),
    (RAILS, Group(64)),
    (RAILS, Group(64, alone=True)),
    (RAILS, Group(8, stride=8)),
    (RAILS, Group(8)),
    (RAILS, Group(32)),
    (THREE, Group(64)),
    (THREE, Group(16, stride=4)),
    (THREE, Group(4, stride=16)),
]
UNEVEN = {"tree": 0.16, "hierarchical-tree": 0.05, "ring": 0.05}
"""Ranks of a tree run ahead of the rounds that costs count; rings of quick and slow links queue at the slow ones."""


@pytest.mark.parametrize(("fabric", "group"), CASES)
@pytest.mark.parametrize("kind", list(KINDS))
def test_classes_take_as_long_as_all_flows_together(kind: str, fabric: FabricModel, group: Group) -> None:
    for algorithm in dict(schedules(kind, 2**20, group, fabric)):
        cost = collective_time(kind, 2**20, group, fabric, algorithm, chunks=1)
        unfolded = unfold(kind, 2**20, group, fabric, algorithm, moves=moves(group, fabric))
        result = run(unfolded, fabric)
        assert not len(result.unfinished)
        mixed = algorithm in UNEVEN and (
            algorithm != "ring" or (group.per_domain(fabric.domain) not in (1, group.size))
        )
        allowed = UNEVEN[algorithm] if mixed or "tree" in algorithm else 0.02
        assert cost.time_ps == pytest.approx(float(result.finish_ps.max()), rel=allowed)
        if "tree" in algorithm:
            continue
        before = 0
        for which, net in (("scale-up", fabric.scale_up), ("scale-out", fabric.scale_out)):
            expected = {tier: load for name, tier, load in cost.loads if name == which}
            for tier in range(1, net.height + 1 if net else 1):
                blocks = 2 * net.endpoints // below(net, tier - 1)
                sent = result.port_bytes[before : before + blocks].max() / cables_up(net, tier - 1)
                assert sent == pytest.approx(expected.get(tier, 0), rel=1e-3, abs=64)
                before += blocks


@settings(deadline=None, max_examples=30)
@given(st.sampled_from(["all-reduce", "all-gather", "reduce-scatter", "all-to-all"]), st.sampled_from([2, 4]))
def test_nobody_sends_less_than_must_be_sent(kind: str, n: int) -> None:
    """(n - 1) / n of the buffer, or twice that: Patarasuk and Yuan, "Bandwidth optimal all-reduce", JPDC 2009."""
    size = 2**20
    least = (n - 1) * size // n * (2 if kind == "all-reduce" else 1)
    for algorithm in dict(schedules(kind, size, Group(n), STAR)):
        traffic = unfold(kind, size, Group(n), STAR, algorithm).traffic
        assert traffic.size_bytes.sum() >= n * least * (1 if kind == "all-to-all" else 0.99)
        assert collective_time(kind, size, Group(n), STAR, algorithm, 1).scale_out_bytes >= least


def test_chunks_overlap_and_the_best_number_is_found() -> None:
    group = Group(64)
    sizes = (2**12, 2**20, 2**28)
    for size in sizes:
        by_chunks = [
            collective_time("all-reduce", size, group, RAILS, "hierarchical-ring", c).time_ps for c in (1, 4, 64)
        ]
        best = collective_time("all-reduce", size, group, RAILS, "hierarchical-ring").time_ps
        assert best <= min(by_chunks) / AS_GOOD
    assert by_chunks[2] < by_chunks[0]
    # The flows of four chunks take no longer than the sum of stages, and no less than the busiest cable.
    flows = run(unfold("all-reduce", 2**22, group, RAILS, "hierarchical-ring", chunks=4), RAILS)
    one = collective_time("all-reduce", 2**22, group, RAILS, "hierarchical-ring", 1)
    busiest = max(load * 8000 / (3200 if which == "scale-up" else 200) for which, _, load in one.loads)
    assert busiest < flows.finish_ps.max() < one.time_ps


@pytest.mark.parametrize("size", [2, 3, 4, 5, 6, 7, 8, 9, 16, 33, 64, 100])
def test_two_trees_reach_everyone_and_share_the_work(size: int) -> None:
    depth = in_order_tree(size)[1]
    assert (depth[1:] >= 1).all()
    assert depth.max() == tree_depth(size)
    sends, reached = np.zeros(size, np.int64), np.zeros(size, np.int64)
    for level in range(1, tree_depth(size) + 1):
        above, child = TreeLevel(level, down=True).pairs(size)
        np.add.at(sends, above, 1)
        np.add.at(reached, child, 1)
        low, high = TreeLevel(level, down=False).pairs(size)
        assert (low == child).all()
        assert (high == above).all()
    assert reached.tolist() == [0] + [2] * (size - 1)  # each half once
    assert sends.max() <= 2  # so nobody sends more than the whole buffer


def test_sums_in_switches_take_one_way_up_and_down() -> None:
    summing = FabricModel(STAR.scale_out, reduces=frozenset({"scale-out"}))
    cost = collective_time("all-reduce", 2**20, Group(64), summing, "in-network", 1)
    assert cost.time_ps == ALPHA + seconds(2**20)
    assert cost.scale_out_bytes == 2**20
    ring = collective_time("all-reduce", 2**30, Group(64), summing, "ring")
    assert 1.9 < ring.time_ps / collective_time("all-reduce", 2**30, Group(64), summing).time_ps < 2
    with pytest.raises(SuanwangError, match="switches"):
        unfold("all-reduce", 2**20, Group(64), summing, "in-network")


def test_tokens_reach_as_many_domains_as_drawing_says() -> None:
    """All ways to choose, counted."""
    for domains, each, top_k in ((4, 2, 3), (3, 3, 2), (8, 1, 4)):
        experts = domains * each
        ways = list(combinations(range(experts), top_k))
        mean = Fraction(sum(len({expert // each for expert in way}) for way in ways), len(ways))
        assert Routing(experts, top_k).domains_reached(domains) == mean
    assert Routing(256, 8, most_domains=4).domains_reached(8) < 4
    with pytest.raises(SuanwangError, match="fewer than top_k"):
        Routing(16, 8, most_domains=1).domains_reached(8)
    assert Routing(8, 2).domains_reached(16) == 2  # half of the domains have no expert
    ways = list(combinations([0, 0, 0, 1, 1, 1, 2, 2, 3, 3], 3))
    assert Routing(10, 3).domains_reached(4) == Fraction(sum(len(set(way)) for way in ways), len(ways))


def test_one_copy_for_each_domain_saves_scale_out() -> None:
    routing = Routing(256, 8, most_domains=4)
    plain = collective_time("moe-dispatch", 2**24, Group(64), RAILS, "hierarchical")
    saved = collective_time("moe-dispatch", 2**24, Group(64), RAILS, "forwarding", routing=routing)
    assert saved.scale_out_bytes / plain.scale_out_bytes == pytest.approx(
        float(routing.domains_reached(8)) / 8, rel=1e-3
    )
    back = collective_time("moe-combine", 2**24, Group(64), RAILS, "forwarding", routing=routing)
    assert back.time_ps == saved.time_ps


def test_rails_alone_carry_what_stays_on_them() -> None:
    never = FabricModel(
        Clos((Tier(8, 1, 400 * G),), trees=8, rails=8, joined=2), Clos((Tier(8, 1, 3200 * G),), trees=8)
    )
    with pytest.raises(SuanwangError, match="no path"):
        collective_time("all-to-all", 2**20, Group(64), never, "direct")
    assert collective_time("all-to-all", 2**20, Group(64), never).algorithm == "hierarchical"
    assert collective_time("all-reduce", 2**20, Group(64), never).algorithm.startswith("hierarchical")


def test_explicit_members_are_the_same_group() -> None:
    spaced = Group(8, stride=8, first=8)
    assert Group.of(tuple(range(8, 72, 8))) == spaced
    listed = Group(8, members=tuple(range(0, 64, 8)), alone=True)
    plain = Group(8, stride=8, alone=True)
    assert collective_time("all-reduce", 2**20, listed, RAILS) == collective_time("all-reduce", 2**20, plain, RAILS)
    assert Group(8, members=(0, 1, 8, 9, 16, 17, 24, 25)).per_domain(8) == 2
    assert Group(4, members=(0, 8, 1, 9)).per_domain(8) == 1
    assert Group(64).per_domain(8) == 8
    assert Group(8, stride=8).per_domain(8) == 1
    assert Group(3, first=6).per_domain(8) == 1
    assert Group(2, first=4, stride=4).per_domain(8) == 1  # accelerators 4 and 8


def test_efficiency_and_overhead() -> None:
    half = FabricModel(STAR.scale_out, efficiency=0.5)
    assert collective_time("send", 2**20, Group(8), half, chunks=1).time_ps == ALPHA + 2 * seconds(2**20)
    slow = FabricModel(STAR.scale_out, overhead_ps=5_000_000, packet_bytes=4096)
    assert collective_time("send", 2**20, Group(8), slow, chunks=1).time_ps == pytest.approx(
        ALPHA + 5_000_000 + float(seconds(2**20 + 4096)), rel=1e-6
    )


@pytest.mark.parametrize("n", [2, 4, 8, 16])
@pytest.mark.parametrize("overhead", [1000, 100_000, 3_000_000])
def test_software_starts_each_message(n: int, overhead: int) -> None:
    """n - 1 overheads to everyone: as flows, and as k o + g + L or o + k g + L."""
    slow = FabricModel(STAR.scale_out, overhead_ps=overhead)
    part = seconds(2**16)
    expected = ALPHA + max(overhead + (n - 1) * part, (n - 1) * overhead + part)
    group = Group(n, alone=True)
    assert collective_time("all-to-all", n * 2**16, group, slow, "direct", 1).time_ps == expected
    flows = run(unfold("all-to-all", n * 2**16, group, slow, "direct"), slow)
    assert float(flows.finish_ps.max()) == pytest.approx(float(expected), rel=1e-6)
    pipelined = collective_time("all-to-all", n * 2**16, group, slow, "direct", 4).time_ps
    assert pipelined >= 4 * (n - 1) * overhead


@given(st.integers(2, 40), st.data())
def test_pairs_are_counted_without_being_made(n: int, data: st.DataObject) -> None:
    level = data.draw(st.integers(1, tree_depth(n)))
    patterns: list[Pattern] = [Shift(1), Shift(1, line=True), Everyone(), Scatter()]
    patterns += [TreeLevel(level, down=True), TreeLevel(level, down=False), TreeEdges(down=True)]
    for pattern in patterns:
        source, target = pattern.pairs(n)
        assert len(source) == len(target) == pattern.count(n)
        assert np.bincount(source).max(initial=0) <= pattern.starts(n)


def test_long_rails_are_not_paired() -> None:
    """The pairs of eight rails of 32,768 would fill 128 GiB; counted by arithmetic, alone or not."""
    big = FabricModel(
        Clos((Tier(128, 1, 200 * G), Tier(256, 128, 200 * G)), trees=8, rails=8, joined=3),
        Clos((Tier(8, 1, 3200 * G),), trees=2**15),
    )
    group = Group(2**18, alone=True)
    alone = collective_time("all-reduce", 2**30, group, big, "hierarchical-direct", 1)
    assert alone == collective_time("all-reduce", 2**30, Group(2**18), big, "hierarchical-direct", 1)
    with pytest.raises(SuanwangError, match="more than 16,777,216"):
        unfold("all-reduce", 2**30, group, big, "hierarchical-direct")
    with pytest.raises(SuanwangError, match="is not there"):
        unfold("all-reduce", 2**30, Group(2**60), big, "direct")
    with pytest.raises(SuanwangError, match="counted one by one"):
        _bounded(2**40)


def test_groups_that_domains_cut_count_too() -> None:
    """Of groups of six, the first is in one domain of eight, the second in two."""
    whole = collective_time("all-reduce", 2**24, Group(6, alone=True), RAILS)
    cut = collective_time("all-reduce", 2**24, Group(6, first=6, alone=True), RAILS)
    alike = collective_time("all-reduce", 2**24, Group(6), RAILS)
    assert whole.time_ps < cut.time_ps <= alike.time_ps
    assert alike == collective_time("all-reduce", 2**24, Group(6, first=6), RAILS)


def test_bad_requests_are_refused() -> None:
    with pytest.raises(SuanwangError, match="no collective"):
        collective_time("gossip", 1, Group(2), STAR)
    with pytest.raises(SuanwangError, match="no algorithm 'halving'"):
        collective_time("reduce-scatter", 1, Group(7), STAR, "halving")
    with pytest.raises(SuanwangError, match="accelerator 64 is not there"):
        collective_time("all-reduce", 1, Group(65), STAR)
    with pytest.raises(SuanwangError, match="makes no sense"):
        collective_time("all-reduce", -1, Group(2), STAR)
    with pytest.raises(SuanwangError, match="as many different members"):
        Group(2, members=(1, 1))
    with pytest.raises(SuanwangError, match="scale-up or a scale-out"):
        FabricModel(None)
    with pytest.raises(SuanwangError, match="no scale-out network"):
        collective_time("all-reduce", 1, Group(16), FabricModel(None, RAILS.scale_up))
    assert collective_time("all-reduce", 2**20, Group(1), STAR).time_ps == 0


def test_patterns_are_symmetric() -> None:
    for pattern in (Shift(3), Exchange(4)):
        source, target = pattern.pairs(8)
        assert sorted(source.tolist()) == sorted(target.tolist()) == list(range(8))
