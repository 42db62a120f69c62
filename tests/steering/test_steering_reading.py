"""Files as problems: what each format means, and that what is wrong is named with its line."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from suanwang.model.errors import SuanwangError
from suanwang.steering.problem import Disjoint, Limits, Network
from suanwang.steering.reading import read_classes, read_endpoints, read_topology
from suanwang.steering.reading_demands import read_demands
from suanwang.steering.telemetry import read_telemetry, with_telemetry

LINKS = b"src,dst,capacity\na,b,10\nb,c,20\na,c,5\n"

GRAPH = b"""NODES 3
label x y
0_Harbin 126.65 45.75
1_Changchun 125.32 43.88
2_Harbin 0.0 0.0

EDGES 4
label src dest weight bw delay
edge_0 0 1 10 1000000 1160
edge_1 1 0 10 1000000 1160
edge_2 1 2 3 2000 5
edge_3 2 1 3 1000 7
"""

GRAPHML = b"""<graphml xmlns="http://graphml.graphdrawing.org/xmlns"><key id="s" for="edge" attr.name="LinkSpeedRaw"/>
<graph edgedefault="undirected"><node id="x"/><node id="y"/>
<edge source="x" target="y"><data key="s">1000</data></edge></graph></graphml>"""


def net(text: bytes = LINKS) -> Network:
    return read_topology(text, "links.csv")


def saved(matrix: Any, **more: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, matrix, **more)
    return stream.getvalue()


def refused(call: Any, *arguments: Any, line: int | None = None, says: str = "") -> SuanwangError:
    with pytest.raises(SuanwangError) as caught:
        call(*arguments)
    assert caught.value.code in ("BAD_PROBLEM", "BAD_TOPOLOGY", "MALFORMED")
    assert caught.value.place.file
    if line is not None:
        assert caught.value.place.line == line, str(caught.value)
    assert says in str(caught.value)
    return caught.value


def code_of(call: Callable[[], Any]) -> str:
    """The code of the error that a call raises; nothing if it raises none."""
    try:
        call()
    except SuanwangError as problem:
        return problem.code
    return ""


def test_links_by_name() -> None:
    found = net()
    assert found.nodes == ("a", "b", "c")
    assert found.names == ("a>b", "b>c", "a>c")
    assert found.capacity.tolist() == [10, 20, 5]


def test_links_by_number_leave_room_for_nodes_without_links() -> None:
    found = net(b"src,dst,capacity\n3,0,1\n0,3,2\n")
    assert found.nodes == ("0", "1", "2", "3")
    assert found.source.tolist() == [3, 0]
    # Numbers that can't count nodes are names.
    assert net(b"src,dst,capacity\n64512,64513,1\n").nodes == ("64512", "64513")


def test_all_columns_of_links() -> None:
    found = net(
        b"Source,target,capacity,latency_us,jitter_us,loss,availability,cost,name,domain,colours,risks\n"
        b"a,b,inf,5,1,0.1,0.9,2,one,west,gold|sea,duct|pole\n"
        b"b,a,7,,,,,,two,east,,duct\n"
    )
    assert found.names == ("one", "two")
    assert found.capacity.tolist() == [np.inf, 7]
    assert (found.latency_us[0], found.jitter_us[0], found.loss[0], found.availability[0], found.cost[0]) == (
        5, 1, 0.1, 0.9, 2,
    )  # fmt: skip
    assert (found.loss[1], found.availability[1]) == (0, 1)
    assert [found.domains[at] for at in found.domain] == ["west", "east"]
    assert found.admitted(Limits(include=frozenset({"sea"}))).tolist() == [True, False]
    assert [[found.risks[at] for at in found.risks_of(link)] for link in (0, 1)] == [["duct", "pole"], ["duct"]]


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        (b"", 1, "empty"),
        (b"src,dst\n", 1, "capacity"),
        (b"src,dst,capcity\n", 1, "did you mean 'capacity'"),
        (b"src,dst,capacity\n", None, "no link"),
        (b"src,dst,capacity\na,b,1\n\na,c\n", 4, "cut off"),
        (b"src,dst,capacity\na,b,-1\n", 2, "-1"),
        (b"src,dst,capacity\na,b,nan\n", 2, "nan"),
        (b"src,dst,capacity\na,b,x\n", 2, "'x'"),
        (b"src,dst,capacity\na,b,\n", 2, "capacity"),
        (b"src,dst,capacity\na,a,1\n", 2, "itself"),
        (b"src,dst,capacity\na,,1\n", 2, "missing"),
        (b"src,dst,capacity,loss\na,b,1,1.5\n", 2, "1.5"),
        (b"src,dst,capacity,name\na,b,1,x\nb,a,1,x\n", 3, "twice"),
        (b"src,dst,src\n", 1, "twice"),
        (b'src,dst,capacity\n"a\nx",b,1\nb,c,z\n', 4, "'z'"),
        (b"src,dst,capacity\na,b,\xff\n", 2, "UTF-8"),
    ],
)
def test_wrong_links(text: bytes, line: int | None, says: str) -> None:
    refused(net, text, line=line, says=says)


def test_repetita_and_graphml() -> None:
    found = read_topology(GRAPH, "x.graph")
    assert found.nodes == ("Harbin", "Changchun", "Harbin#2")
    assert found.capacity.tolist() == [1e9, 1e9, 2e6, 1e6]
    assert found.latency_us.tolist() == [1160, 1160, 5, 7]
    assert found.position[0].tolist() == [126.65, 45.75]
    assert np.isnan(found.position[2]).all()
    assert read_topology(GRAPHML, "x.graphml").names == ("x>y", "y>x")
    refused(read_topology, GRAPH[:-20], "x.graph", says="EDGES")
    refused(read_topology, GRAPHML[:-20], "x.graphml", says="cut off")


def test_repetita_demands() -> None:
    text = b"DEMANDS 3\nlabel src dest bw\nd0 0 1 5\nd1 1 1 7\nd2 2 0 0\n"
    _, found = read_demands(text, "x.demands", read_topology(GRAPH, "x.graph"))
    assert (found.source.tolist(), found.rate.tolist()) == ([0], [5000])
    refused(read_demands, text[:-8], "x.demands", read_topology(GRAPH, "x.graph"))


@settings(deadline=None)
@given(
    arrays.arrays(st.sampled_from([np.float32, np.float64, np.int64, np.uint8]), (3, 3), elements=st.integers(0, 100)),
    st.booleans(),
)
def test_matrices(matrix: Any, by_column: bool) -> None:
    body = saved(np.asfortranarray(matrix) if by_column else matrix)
    ends, found = read_demands(body, "x.npy", net())
    again = np.zeros((3, 3))
    for at in range(len(found)):
        again[found.source[at], ends.node[found.endpoints_of(at)[0]]] += found.rate[at]
    np.fill_diagonal(matrix, 0)
    assert (again == matrix).all()
    assert (found.rate > 0).all()


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (saved(np.zeros((2, 2))), "2 x 2, for 3 nodes"),
        (saved(np.zeros(9)), "9, for 3 nodes"),
        (saved(np.full((3, 3), np.nan)), "nan"),
        (saved(np.full((3, 3), -1)), "-1"),
        (saved(np.full((3, 3), np.inf)), "inf"),
        (saved(np.full((3, 3), None), allow_pickle=True), "O"),
        (saved(np.zeros((3, 3), complex)), "c16"),
        (saved(np.zeros((3, 3)))[:-1], "cut off"),
        (saved(np.zeros((3, 3))) + b"x", "cut off"),
        (saved(np.zeros((3, 3)))[:20], "no NumPy array"),
        (b"", "no NumPy array"),
        (saved(np.zeros((3, 3))).replace(b"(3, 3)", b"(3e, )"), "no NumPy array"),
        (saved(np.zeros((3, 3))).replace(b"(3, 3), }   ", b"(9999999,)}"), ""),
    ],
)
def test_wrong_matrices(body: bytes, says: str) -> None:
    refused(read_demands, body, "x.npy", net(), says=says)


@settings(deadline=None)
@given(st.integers(0, 200), st.integers(0, 255))
def test_a_damaged_matrix_is_read_or_refused(at: int, value: int) -> None:
    body = bytearray(saved(np.ones((3, 3))))
    body[at % len(body)] = value
    assert code_of(lambda: read_demands(bytes(body), "x.npy", net())) in ("", "BAD_PROBLEM")


def test_demands_with_all_columns() -> None:
    places = read_endpoints(
        b"name,node,capacity,load,delay,cost,committed,service\ns1,b,10,1,5ms,2,3,web\ns2,c,,,,,,web\nc,a,,,7,,,\n",
        "e.csv",
        net(),
    )
    classes = read_classes(b"gold: {latency: 20ms}\n", "c.yaml")
    ends, found = read_demands(
        b"source,to,rate,name,priority,weight,limits,splittable,most_paths,work,apart\n"
        b"a,web,5,one,1,2,gold,no,3,0.5,two\n"
        b"0,s1|b,6,two,,,,,,,\n"
        b"a,c,7,,,,,yes,,,\n",
        "d.csv",
        net(),
        places,
        classes,
        Disjoint.NODE,
    )
    assert ends.names == ("s1", "s2", "c", "a", "b")
    assert ends.capacity.tolist()[:2] == [10, np.inf]
    assert ends.delay_us.tolist()[:3] == [5000, 0, 7]
    assert [found.endpoints_of(at).tolist() for at in range(3)] == [[0, 1], [0, 4], [2]]
    assert found.names == ("one", "two", "a>c")
    assert found.priority.tolist() == [1, 0, 0]
    assert found.weight.tolist() == [2, 1, 1]
    assert [found.limits[at].latency_us for at in found.limit] == [20000, np.inf, np.inf]
    assert found.splittable.tolist() == [False, True, True]
    assert found.most_paths.tolist() == [3, 0, 0]
    assert found.work.tolist() == [0.5, 1, 1]
    assert found.apart.tolist() == [1, -1, -1]
    assert found.apart_by is Disjoint.NODE


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("x,b,1,,,,,,,", "no node 'x'"),
        ("a,bb,1,,,,,,,", "no node 'bb'"),
        ("a,b,-1,,,,,,,", "-1"),
        ("a,b,inf,,,,,,,", "inf"),
        ("a,b,1,,1.5,,,,,", "whole number"),
        ("a,b,1,,,,silver,,,", "no class"),
        ("a,b,1,,,,,maybe,,", "yes or no"),
        ("a,b,1,,,,,,,nobody", "no demand"),
        ("a,b,1,me,,,,,,me", "itself"),
        ("a,,1,,,,,,,", "no node"),
    ],
)
def test_wrong_demands(row: str, says: str) -> None:
    head = "source,to,rate,name,priority,weight,limits,splittable,most_paths,apart\n"
    good = "a,b,1,,,,,,,\n"
    refused(read_demands, (head + good + row + "\n").encode(), "d.csv", net(), line=3, says=says)


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        (b"name,node\nx,nowhere\n", 2, "no node"),
        (b"name,node\nx,a\nx,b\n", 3, "'x'"),
        (b"name,node,capacity\nx,a,-5\n", 2, "-5"),
        (b"name,node,delay\nx,a,5 parsecs\n", 2, "parsecs"),
        (b"name,node\n", None, "no endpoint"),
    ],
)
def test_wrong_endpoints(text: bytes, line: int | None, says: str) -> None:
    refused(read_endpoints, text, "e.csv", net(), line=line, says=says)


def test_classes() -> None:
    found = read_classes(
        b"gold:\n  latency: 20ms\n  jitter: 500us\n  loss: 0.1%\n  availability: 99.99%\n"
        b"  include: [blue]\n  exclude: red\n  backup: node\nplain: {}\n",
        "c.yaml",
    )
    assert found["gold"] == Limits(20000, 500, 0.001, 0.9999, frozenset({"blue"}), frozenset({"red"}), Disjoint.NODE)
    assert found["plain"] == Limits()


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        (b"gold: 5\n", 1, "mapping"),
        (b"gold:\n  latency: 20\n", 2, "unit"),
        (b"gold:\n  loss: 200%\n", 2, "100%"),
        (b"gold:\n  latncy: 20ms\n", 2, "did you mean 'latency'"),
        (b"gold:\n  backup: both\n", 2, "both"),
        (b"gold:\n  include: 5\n", 2, "colours"),
        (b"", None, "document"),
        (b"gold: {\n", None, ""),
    ],
)
def test_wrong_classes(text: bytes, line: int | None, says: str) -> None:
    refused(read_classes, text, "c.yaml", line=line, says=says)


def test_telemetry_takes_the_place_of_values() -> None:
    rows = read_telemetry(b"link,latency_us,loss\na>b,77,\nb>c,,0.5\n", "t.csv", net())
    assert rows == {"a>b": {"latency_us": 77}, "b>c": {"loss": 0.5}}
    found = with_telemetry(net(), rows)
    assert found.latency_us.tolist() == [77, 0, 0]
    assert found.loss.tolist() == [0, 0.5, 0]
    assert net().latency_us.tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (b"link,latency_us\na>d,1\n", 2),
        (b"link,latency_us\na>b,-1\n", 2),
        (b"link,loss\na>b,2\n", 2),
        (b"link,colour\n", 1),
    ],
)
def test_wrong_telemetry(text: bytes, line: int) -> None:
    refused(read_telemetry, text, "t.csv", net(), line=line)


@settings(deadline=None)
@given(st.text(alphabet='ab01,.-"\n\r|', max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    body = b"src,dst,capacity\n" + text.encode()
    assert code_of(lambda: read_topology(body, "links.csv")) in ("", "BAD_PROBLEM")
    assert code_of(lambda: read_demands(b"src,dst,rate\n" + text.encode(), "d.csv", net())) in ("", "BAD_PROBLEM")
