"""htsim's topologies and matrices: read as htsim reads them, written back, and every mistake named with its line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from suanwang.fabric.clos import Clos, Tier
from suanwang.fabric.exchange.htsim import HtsimTopology, parse_topology, read_topology, topology_text
from suanwang.fabric.exchange.matrix import Failure, Matrix, parse_matrix, read_matrix
from suanwang.fabric.exchange.matrix_text import matrix_text
from suanwang.fabric.exchange.reading import read_imported
from suanwang.fabric.network import Network
from suanwang.fabric.traffic import NONE, Traffic
from suanwang.model.errors import SuanwangError

THREE = """# a comment
Nodes 64
tiers 3
Podsize 16

Tier 0
Oversubscribed 1
Downlink_speed_Gbps 100
Radix_Down 4
Radix_Up 4
Downlink_Latency_ns 500
Queue_Down 150000

Tier 1
Downlink_speed_Gbps 100
Radix_Down 8
Bundle 2
Radix_Up 4
Downlink_Latency_ns 1000
Switch_Latency_ns 300

Tier 2
Downlink_speed_Gbps 200
Radix_Down 8
Bundle 2
Downlink_Latency_ns 1500
"""
TWO = """Nodes 32
Tiers 2
Podsize 32
Tier 0
Downlink_speed_Gbps 100
Radix_Down 8
Radix_Up 2
Downlink_Latency_ns 1000
Oversubscribed 4
Tier 1
Downlink_speed_Gbps 100
Radix_Down 4
Downlink_Latency_ns 1000
"""


def htsim_cables(found: HtsimTopology, aggs: int, uplinks: int) -> set[tuple[str, str]]:
    """The cables that FatTreeTopology's loops make, by the numbers of the file: the oracle of the wiring."""
    clos = found.clos
    hosts, leaf = clos.endpoints, clos.tiers[0].children
    leaves_of_pod = clos.tiers[1].children if clos.height == 3 else hosts // leaf
    made = {(f"gpu{host}", f"leaf{host // leaf}") for host in range(hosts)}
    for number in range(hosts // leaf):
        pod = number // leaves_of_pod
        made |= {(f"leaf{number}", f"spine{pod * aggs + q}") for q in range(aggs)}
    if clos.height == 3:
        pods = hosts // (leaf * leaves_of_pod)
        for agg in range(pods * aggs):
            made |= {(f"spine{agg}", f"core{agg % aggs + aggs * up}") for up in range(uplinks)}
    return made


def cables(network: Network) -> set[tuple[str, str]]:
    up = network.tier[network.source] < network.tier[network.target]
    return {
        (network.names[one], network.names[other])
        for one, other in zip(network.source[up].tolist(), network.target[up].tolist(), strict=True)
    }


def test_three_tiers_are_wired_as_in_htsim() -> None:
    found = parse_topology(THREE)
    assert found.clos.tiers == (
        Tier(4, 1, 100 * 10**9, 500_000),
        Tier(4, 2, 100 * 10**9, 1_000_000, bundle=2),
        Tier(4, 2, 200 * 10**9, 1_500_000, bundle=2),
    )
    assert found.switch_latency_ps == (0, 300_000, 0)
    assert found.queue_down_bytes == (150_000, None, None)
    assert cables(found.clos.network()) == htsim_cables(found, aggs=2, uplinks=2)


def test_two_tiers_are_wired_as_in_htsim() -> None:
    found = parse_topology(TWO)
    assert found.clos.oversubscription(1) == 4
    assert cables(found.clos.network()) == htsim_cables(found, aggs=2, uplinks=0)


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("Nodes 64", "Nodes 63", 4, "63 nodes are no whole number of pods of 16"),
        ("tiers 3", "tiers 4", 3, "4 tiers"),
        ("tiers 3", "", 0, "the header does not say Tiers"),
        ("Podsize 16", "Podsice 16", 4, "did you mean Podsize?"),
        ("Podsize 16", "Podsize 24", 4, "nearest that divide 64 are 16 and 32"),
        ("Radix_Up 4\nDownlink_Latency_ns 500", "Downlink_Latency_ns 500", 6, "Tier 0 does not say Radix_Up"),
        ("Radix_Down 4", "Radix_Dwon 4", 9, "did you mean Radix_Down?"),
        ("Radix_Down 4", "Radix_Down 5", 9, "nearest that divide 16 are 4 and 8"),
        ("Radix_Down 4", "Radix_Down 4\nRadix_Down 4", 10, "a second time"),
        ("Radix_Down 4", "Radix_Down four", 9, "'four'"),
        ("Radix_Down 4", "Radix_Down", 9, "0 values"),
        ("Radix_Down 4", "Radix_Down 99999999999999999999999", 9, "give a whole number"),
        ("Radix_Down 8\nBundle 2\nRadix_Up 4", "Radix_Down 6\nBundle 2\nRadix_Up 4", 16, "write Radix_Down 8"),
        ("Bundle 2\nRadix_Up 4", "Bundle 3\nRadix_Up 4", 16, "or Bundle 2"),
        ("Oversubscribed 1", "Oversubscribed 3", 7, "nearest possible, 4, by Radix_Up 1"),
        ("Oversubscribed 1", "Oversubscribed 2", 7, "or Radix_Up 2"),
        ("Tier 1", "Tier 7", 14, "the tier is 7"),
        ("Tier 1", "Tier 0", 14, "tier 0 is here a second time"),
        ("Queue_Down 150000", "Bundle 2", 12, "a host has one cable"),
        ("Downlink_speed_Gbps 200", "Downlink_speed_Gbps 0", 23, "give more"),
        ("Downlink_speed_Gbps 200", "Downlink_speed_Gbps .0000000001", 23, "finer"),
        ("Downlink_speed_Gbps 200\n", "", 22, "Tier 2 does not say Downlink_speed_Gbps"),
        ("Nodes 64", "Nodes 64\nRadix_Up 3", 3, "stands before any Tier"),
        ("Tier 2", "Tier 2\nNodes 3", 23, "stands after a Tier"),
        ("Bundle 2\nDownlink_Latency_ns 1500", "Bundle 2\nRadix_Up 3\nDownlink_Latency_ns 1500", 26, "no way up"),
        ("Nodes 64", "Nodes \x00", 2, "give a whole number"),
    ],
)
def test_mistakes_in_topologies_are_named(old: str, new: str, line: int, words: str) -> None:
    assert old in THREE
    with pytest.raises(SuanwangError) as caught:
        parse_topology(THREE.replace(old, new, 1), "pod.topo")
    assert words in str(caught.value)
    assert caught.value.hint
    assert (caught.value.place.file, caught.value.place.line) == ("pod.topo", line)


def test_a_missing_tier_and_one_too_many_are_named() -> None:
    with pytest.raises(SuanwangError, match="nothing is said of tier 2"):
        parse_topology(THREE[: THREE.index("Tier 2")])
    with pytest.raises(SuanwangError, match="Tier 2 in a topology of 2 tiers"):
        parse_topology(THREE.replace("tiers 3", "Tiers 2").replace("Podsize 16", "Podsize 64"))
    with pytest.raises(SuanwangError, match="with 2 tiers all 32 nodes are one pod"):
        parse_topology(TWO.replace("Podsize 32", "Podsize 16"))


gbps = st.sampled_from([10, 25, 100, 400, 800]).map(lambda rate: rate * 10**9)
nanoseconds = st.integers(0, 5000).map(lambda time: time * 1000)


@st.composite
def fat_trees(draw: st.DrawFn) -> Clos:
    """What htsim can express: each tier has a whole multiple of its bandwidth up as its bandwidth down."""
    numbers = st.integers(1, 3)
    times, rate = draw(st.integers(1, 3)), draw(gbps)
    upper = [Tier(draw(numbers), draw(numbers), rate * times, draw(nanoseconds), draw(numbers))]
    if draw(st.booleans()):
        top = Tier(draw(numbers), draw(numbers), rate, draw(nanoseconds), draw(numbers))
        children = top.parents * top.bundle * draw(numbers)
        upper = [Tier(children, upper[0].parents, rate * times, upper[0].latency_ps, upper[0].bundle), top]
    up = upper[0].parents * upper[0].bundle
    return Clos((Tier(up * draw(st.integers(2, 4)), 1, rate * times, draw(nanoseconds)), *upper))


@given(fat_trees())
def test_what_is_written_is_read_again(clos: Clos) -> None:
    assert parse_topology(topology_text(clos, 5000)) == HtsimTopology(
        clos, (5000,) * clos.height, (None,) * clos.height, (None,) * clos.height
    )


@pytest.mark.parametrize(
    "clos",
    [
        Clos((Tier(4, 1, 10**11), Tier(4, 2, 10**11)), planes=2),
        Clos((Tier(4, 1, 10**11), Tier(4, 2, 10**11)), rails=2, joined=2),
        Clos((Tier(4, 1, 10**11), Tier(4, 2, 10**11)), trees=2),
        Clos((Tier(4, 2, 10**11), Tier(4, 2, 10**11))),
        Clos((Tier(4, 1, 10**11),)),
        Clos((Tier(4, 1, 15 * 10**8), Tier(4, 2, 10**11))),
        Clos((Tier(4, 1, 10**11, 1500), Tier(4, 2, 10**11))),
        Clos((Tier(4, 1, 10**11), Tier(4, 3, 10**11))),
        Clos((Tier(4, 1, 10**11), Tier(4, 2, 2 * 10**11))),
        Clos((Tier(4, 1, 10**11), Tier(4, 2, 10**11), Tier(2, 3, 10**11))),
    ],
)
def test_what_htsim_has_no_words_for_is_refused(clos: Clos) -> None:
    with pytest.raises(SuanwangError, match=r"a \.topo file can't say") as caught:
        topology_text(clos)
    assert caught.value.hint


def test_files_are_read_and_unreadable_ones_named(tmp_path: Path) -> None:
    file = tmp_path / "a.topo"
    file.write_text(TWO.replace("\n", "\r\n"))
    assert read_topology(file).clos == parse_topology(TWO).clos
    with pytest.raises(SuanwangError, match="No such file"):
        read_topology(tmp_path / "none")
    file.write_bytes(b"Nodes 3\n\xff\xfe")
    with pytest.raises(SuanwangError, match="not readable as text"):
        read_topology(file)


# Connection matrices

MATRIX = b"""Nodes 16
Connections 6
Triggers 2
Failures 1
# a comment
0->3 id 1 start 0 size 2000000 send_done_trigger 1
3->0 id 2 trigger 1 size 1000 recv_done_trigger 7 prio 3

4->5 start 2.5 size 10
5->4 id 9 start 3 size 11 msg 2
6->7 id 10 start 0 size 20 recv_done_trigger 7
7->6 id 11 trigger 7 size 30 msg
trigger id 1 oneshot
trigger id 7 barrier count 2
failure switch_type AGG switch_id 1 link_id 0
"""


def columns(matrix: Matrix) -> list[list[int]]:
    traffic = matrix.traffic
    return [
        column.tolist()
        for column in (
            traffic.source, traffic.target, traffic.size_bytes, traffic.start_ps, traffic.waits_for, traffic.fires,
            traffic.trigger_count, traffic.at_sender,
        )
    ]  # fmt: skip


def test_every_word_of_a_matrix_is_understood() -> None:
    found = parse_matrix(MATRIX, 16)
    assert columns(found) == [
        [0, 3, 4, 5, 6, 7],
        [3, 0, 5, 4, 7, 6],
        [2_000_000, 1000, 10, 11, 20, 30],
        [0, 0, 2_500_000, 3_000_000, 0, 0],
        [-1, 0, -1, -1, -1, 1],
        [0, 1, -1, -1, 1, -1],
        [1, 2],
        [True, False, False, False, False, False],
    ]
    assert found.ids.tolist() == [1, 2, 0, 9, 10, 11]
    assert found.failures == (Failure(2, 1, 0),)
    assert parse_matrix(MATRIX.replace(b"2.5", b"2"), 16, unit_ps=1).traffic.start_ps.tolist()[2:4] == [2, 3]


def test_a_multishot_starts_one_flow_for_each_that_fires_it() -> None:
    body = b"""Nodes 4
Connections 4
Triggers 1
0->1 id 1 start 0 size 9 send_done_trigger 3
0->2 id 2 start 0 size 9 send_done_trigger 3
1->2 id 3 trigger 3 size 9
1->3 id 4 trigger 3 size 9
trigger id 3 multishot
"""
    traffic = parse_matrix(body, 4).traffic
    assert traffic.fires.tolist() == [0, 1, -1, -1]
    assert traffic.waits_for.tolist() == [-1, -1, 0, 1]
    assert traffic.trigger_count.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        (b"Nodes 16", b"Nodes 17", 1, "is for 17 nodes and the network has 16"),
        (b"Nodes 16\n", b"", 0, "write Nodes 16"),
        (b"Connections 6", b"Connections 5", 2, "Connections 5, and 6 follow"),
        (b"Connections 6\n", b"", 0, "write Connections 6"),
        (b"Triggers 2\n", b"", 0, "Triggers 0, and 2 follow"),
        (b"Failures 1", b"Failures 2", 4, "Failures 2, and 1 follow"),
        (b"0->3", b"0->0", 6, "goes to itself"),
        (b"0->3", b"0->16", 6, "ends outside of the nodes 0 to 15"),
        (b"0->3", b"0->-3", 6, "the destination is '-3'"),
        (b"0->3 id 1", b"0->3 id 0", 6, "number"),
        (b"size 10\n", b"size 0\n", 9, "has no bytes"),
        (b"size 10\n", b"\n", 9, "has no size"),
        (b"size 10\n", b"size\n", 9, "size has no value"),
        (b"start 2.5", b"start 0.0000001", 9, "finer"),
        (b"start 2.5", b"start -1", 9, "'-1'"),
        (b"start 2.5", b"", 9, "no start"),
        (b"start 2.5", b"start 1 trigger 1", 9, "both a start and a trigger"),
        (b"start 2.5", b"strat 2.5", 9, "did you mean start?"),
        (b"start 2.5", b"start 2.5 start 3", 9, "a second time"),
        (b"trigger id 1 oneshot", b"trigger id 1", 13, "a number and a kind"),
        (b"trigger id 1 oneshot", b"trigger id 2 oneshot", 7, "trigger 1 is not declared"),
        (b"trigger id 1 oneshot", b"trigger id 7 oneshot", 14, "trigger 7 is here a second time"),
        (b"trigger id 1 oneshot", b"trigger id 1 onehsot", 13, "did you mean oneshot?"),
        (b"barrier count 2", b"barrier", 14, "has no count"),
        (b"barrier count 2", b"barrier count 3", 14, "2 flows fire trigger 7"),
        (b"barrier count 2", b"oneshot", 14, "write barrier count 2"),
        (b"send_done_trigger 1", b"send_done_trigger 1 recv_done_trigger 7", 6, "fires two triggers"),
        (b"switch_type AGG", b"switch_type AG", 15, "did you mean AGG?"),
        (b"link_id 0", b"", 15, "does not say link_id"),
        (b"# a comment", b"hello", 5, "'hello' is not known here"),
    ],
)
def test_mistakes_in_matrices_are_named(old: bytes, new: bytes, line: int, words: str) -> None:
    assert old in MATRIX
    with pytest.raises(SuanwangError) as caught:
        parse_matrix(MATRIX.replace(old, new, 1), 16, "a.cm")
    assert words in str(caught.value)
    assert caught.value.hint
    assert (caught.value.place.file, caught.value.place.line) == ("a.cm", line)


def test_the_line_of_a_bad_flow_within_a_table_is_right() -> None:
    lines = [f"{flow}->{flow + 1} id {flow + 1} start 0 size 5" for flow in range(100)]
    for bad, words in (("57->57 id 58 start 0 size 5", "goes to itself"), ("57->58 id 0 start 0 size 5", "number 0")):
        body = "\n".join(["Nodes 200", "Connections 100", *lines[:57], bad, *lines[58:]]).encode()
        with pytest.raises(SuanwangError, match=words) as caught:
            parse_matrix(body, 200)
        assert caught.value.place.line == 60


numbers = st.integers(0, 2**40)


@st.composite
def flows(draw: st.DrawFn) -> Traffic:
    """Any flows, of which some wait for a trigger that enough others fire."""
    count = draw(st.integers(1, 30))
    source = draw(st.lists(st.integers(0, 99), min_size=count, max_size=count))
    target = [(one + draw(st.integers(1, 99))) % 100 for one in source]
    triggers = draw(st.integers(0, 3))
    fires = [draw(st.integers(-1, triggers - 1)) if triggers else NONE for _ in range(count)]
    needed = [max(1, min(fires.count(trigger), draw(st.integers(1, 4)))) for trigger in range(triggers)]
    # Of a trigger of count 1 only one flow fires: that is what oneshot means.
    for trigger, least in enumerate(needed):
        if least == 1:
            for flow in [at for at, one in enumerate(fires) if one == trigger][1:]:
                fires[flow] = NONE
    able = [trigger for trigger in range(triggers) if fires.count(trigger) >= needed[trigger]]
    waits = [draw(st.sampled_from([NONE, *able])) for _ in range(count)]
    start = [0 if wait != NONE else draw(numbers) for wait in waits]
    return Traffic.build(100, source, target, draw(st.lists(st.integers(1, 2**50), min_size=count, max_size=count)),
                         start, waits, fires, needed,
                         [fired != NONE and draw(st.booleans()) for fired in fires])  # fmt: skip


@given(flows())
@settings(max_examples=200, deadline=None)
def test_matrices_that_are_written_are_read_again(traffic: Traffic) -> None:
    failures = (Failure(1, 3, 4), Failure(2, 0, 1))
    text = "".join(matrix_text(100, traffic, failures))
    found = parse_matrix(text.encode(), 100)
    assert columns(found) == columns(Matrix(traffic, found.ids))
    assert found.failures == failures
    assert found.ids.tolist() == list(range(1, len(traffic) + 1))


@given(flows())
def test_tables_and_single_lines_read_alike(traffic: Traffic) -> None:
    """Words in another order and doubled spaces, which no table takes, mean the same."""
    text = "".join(matrix_text(100, traffic))
    odd = re.sub(r" size (\d+)(.*)", r"\2  size \1 msg", text)
    assert columns(parse_matrix(odd.encode(), 100)) == columns(parse_matrix(text.encode(), 100))


def test_failures_name_ports(tmp_path: Path) -> None:
    clos = parse_topology(THREE).clos
    network = clos.network()
    ports = Failure(2, 3, 3).ports(clos, network)
    assert [network.names[node] for node in network.source[ports].tolist()] == ["spine3", "core3"]
    for bad in (Failure(2, 8, 0), Failure(2, 0, 4), Failure(3, 0, 0)):
        with pytest.raises(SuanwangError):
            bad.ports(clos, network)
    file = tmp_path / "a.cm"
    file.write_bytes(MATRIX)
    assert len(read_matrix(file, 64).traffic) == 6


def test_hostile_numbers_are_refused() -> None:
    body = b"Nodes 4\nConnections 1\n0->1 start %d size %d\n"
    assert parse_matrix(body % (4 * 10**12, 10**15 - 1), 4).traffic.start_ps.tolist() == [4 * 10**18]
    for start, size in ((10**15 - 1, 1), (10**25, 1), (0, 10**25)):
        with pytest.raises(SuanwangError) as caught:
            parse_matrix(body % (start, size), 4)
        assert caught.value.place.line == 3
    with pytest.raises(SuanwangError, match="no flow in the file"):
        parse_matrix(b"", 4)


@pytest.mark.parametrize("text", [TWO, THREE])
def test_every_switch_that_is_passed_counts_once(text: str, tmp_path: Path) -> None:
    """Paths between endpoints that meet at each tier: their cables, and each switch's latency once."""
    body = re.sub("Switch_Latency_ns.*\n", "", text)
    for number, at in enumerate((700, 300, 101)):
        body = body.replace(f"Tier {number}\n", f"Tier {number}\nSwitch_Latency_ns {at}\n")
    file = tmp_path / "x.topo"
    file.write_text(body)
    plain = parse_topology(body)
    found = read_imported(file).network()
    clos, bare = plain.clos, plain.clos.network()
    for top in range(1, clos.height + 1):
        switches = [700_000, 300_000, 101_000][:top]
        for network, passed in ((bare, 0), (found, 2 * sum(switches[:-1]) + switches[-1])):
            up = [
                int(
                    network.latency_ps[(network.tier[network.source] == tier) & (network.tier[network.target] > tier)][
                        0
                    ]
                )
                for tier in range(top)
            ]
            assert 2 * sum(up) == 2 * sum(tier.latency_ps for tier in clos.tiers[:top]) + passed


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "there is no flow in the file"),
        (b"Nodes 4\nConnections 0\n", "there is no flow in the file"),
        (b"1\n0 1 3 100 2000000 2\n", "ns-3's lists are not read"),
    ],
)
def test_what_is_no_matrix_is_told(body: bytes, words: str) -> None:
    with pytest.raises(SuanwangError, match=f"(.|\n)*{words}"):
        parse_matrix(body, 4)
