"""Published formats become resources; what is not of its format is refused by name and line."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from suanwang.model.errors import SuanwangError
from suanwang.model.reference import Key
from suanwang.model.registry import Registry
from suanwang.model.resource import check, stored_document
from suanwang.topology.graph import Graph, graph_link, graph_of
from suanwang.topology.importing import import_demands, import_topology, published
from suanwang.topology.importing.published import BAD_TOPOLOGY, Edge, PublishedNode, joined, latency_between_us

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
DATA = HERE / "data"
SHARED = ROOT.parent / "shared" / "data" / "topologies"
BACKBONE = ROOT / "examples" / "backbone" / "backbone.graph"


def of_kind(documents: list[dict[str, Any]], kind: str) -> dict[str, dict[str, Any]]:
    return {d["metadata"]["name"]: d["spec"] for d in documents if d["kind"] == kind}


def checked(documents: list[dict[str, Any]], registry: Registry) -> list[tuple[Key, dict[str, Any]]]:
    resources = [check(document, registry) for document in documents]
    assert len({resource.key for resource in resources}) == len(resources)
    return [(resource.key, stored_document(resource)) for resource in resources]


def test_a_graph_file_with_odd_names_and_unlike_directions(registry: Registry) -> None:
    documents = import_topology(DATA / "asymmetric.graph", region="isle")
    checked(documents, registry)
    assert of_kind(documents, "Region") == {"isle": {"underlay": {"metric": "delay"}}}
    assert list(of_kind(documents, "Node")) == ["sao-paulo", "node-1", "sao-paulo-2", "what-is-this"]
    assert list(of_kind(documents, "Site")) == ["sao-paulo", "node-1"]
    labels = [d["metadata"]["labels"]["imported-name"] for d in documents if d["kind"] == "Node"]
    assert labels == ["São Paulo", "北京", "sao paulo", 'what is "this"?']
    links = of_kind(documents, "Link")
    first = links["sao-paulo-node-1"]
    assert (first["capacity"], first["latency"], first["cost"]) == ("1Gbps", "2088us", 10)
    assert first["reverse"] == {"capacity": "500Mbps", "latency": "2099us", "loss": "0%", "cost": 20}
    assert links["node-1-sao-paulo-2"]["capacity"] == "100500bps"
    parallel = links["sao-paulo-2-what-is-this"], links["sao-paulo-2-what-is-this-2"]
    assert parallel[0]["capacity"] == "40kbps"
    assert parallel[0]["reverse"]["capacity"] == "80kbps"
    assert parallel[1] == {**parallel[1], "capacity": "60kbps", "latency": "7us"}
    assert "reverse" not in parallel[1]


def test_demands_by_the_names_of_nodes() -> None:
    nodes = list(of_kind(import_topology(DATA / "asymmetric.graph"), "Node"))
    demands = import_demands(DATA / "asymmetric.demands", nodes)
    assert demands == [("sao-paulo", "node-1", 5_487_000), ("what-is-this", "sao-paulo-2", 500)]


def test_a_graphml_file(registry: Registry) -> None:
    documents = import_topology(DATA / "zoo.graphml")
    checked(documents, registry)
    assert list(of_kind(documents, "Node")) == ["alpha-omega", "beta", "beta-2", "x-y"]
    sites = of_kind(documents, "Site")
    assert sites["alpha-omega"]["country"] == "Nowhere"
    assert sites["beta"]["location"] == {"latitude": 0.0, "longitude": 11.0}
    links = of_kind(documents, "Link")
    assert list(links) == ["alpha-omega-beta", "alpha-omega-beta-2", "beta-beta-2", "beta-2-x-y"]
    degree_us = round(math.radians(1) * published.EARTH_RADIUS_KM / (299_792.458 * 2 / 3) * 1e6)
    assert links["alpha-omega-beta"]["latency"] == f"{degree_us}us"
    assert links["alpha-omega-beta"]["capacity"] == "2500Mbps"
    assert links["alpha-omega-beta-2"]["capacity"] == "10Gbps"
    assert links["beta-beta-2"]["latency"] == "5ms"
    assert set(links["beta-2-x-y"]) == {"a", "b"}


def test_directed_graphml_becomes_links() -> None:
    text = (DATA / "zoo.graphml").read_text()
    body = text.replace("undirected", "directed").replace('source="2" target="x/y"', 'source="2" target="1"')
    with pytest.raises(SuanwangError, match="has no edge back"):
        published.documents(_graphml(body), "r", "f")
    body = body.replace('source="0" target="1"><data key="d34">', 'source="1" target="0"><data key="d34">')
    links = of_kind(published.documents(_graphml(body), "r", "f"), "Link")
    assert links["alpha-omega-beta"]["reverse"]["capacity"] == "10Gbps"
    assert links["alpha-omega-beta"]["capacity"] == "2500Mbps"


def _graphml(text: str) -> published.PublishedTopology:
    from suanwang.topology.importing.graphml import read_graphml

    return read_graphml(text.encode(), "f")


def test_roles_as_labs_call_them() -> None:
    from suanwang.topology.importing.containerlab import read_containerlab

    body = CLAB.replace("gateway", "border").replace("client1: {kind: linux", "client1: {labels: {role: server}")
    documents = published.documents(read_containerlab(body.encode(), "f"), "lab", "f")
    roles = {name: spec["roles"] for name, spec in of_kind(documents, "Node").items()}
    assert roles["edge1"] == ["router"]
    assert roles["client1"] == ["host"]


def test_a_containerlab_file(registry: Registry) -> None:
    documents = import_topology(DATA / "clos.clab.yml", region="lab")
    checked(documents, registry)
    roles = {name: spec["roles"] for name, spec in of_kind(documents, "Node").items()}
    assert roles == {
        "spine1": ["router"],
        "leaf1": ["router"],
        "leaf2": ["router"],
        "client1": ["host"],
        "edge1": ["gateway"],
    }
    links = of_kind(documents, "Link")
    assert list(links) == ["spine1-leaf1", "spine1-leaf2", "leaf2-client1", "leaf1-edge1"]
    assert links["spine1-leaf1"]["a"] == {"node": "spine1", "interface": "e1-1"}
    assert links["spine1-leaf2"] == {
        "a": {"node": "spine1"},
        "b": {"node": "leaf2", "interface": "eth1"},
        "mtu": "1500B",
    }
    assert of_kind(documents, "Region") == {"lab": {"underlay": {"metric": "hops"}}}


def test_the_format_is_told_by_content_when_the_name_does_not(tmp_path: Path) -> None:
    for name in ("asymmetric.graph", "zoo.graphml", "clos.clab.yml"):
        plain = tmp_path / "file"
        plain.write_bytes((DATA / name).read_bytes())
        assert import_topology(plain) == import_topology(DATA / name)
    plain.write_text("hello")
    with pytest.raises(SuanwangError, match="format is not known"):
        import_topology(plain)


def test_the_shipped_backbone(registry: Registry) -> None:
    documents = import_topology(BACKBONE, region="isle")
    graph = graph_of(checked(documents, registry))
    assert (len(graph.nodes), len(graph.links)) == (12, 17)
    for link in graph.links:
        assert graph.shortest_paths("midhaven", without={link.name}).distances().keys() == set(graph.nodes)
    demands = import_demands(BACKBONE.with_suffix(".demands"), list(of_kind(documents, "Node")))
    assert len(demands) == 12 * 11


GRAPH = (DATA / "asymmetric.graph").read_text()
XML = (DATA / "zoo.graphml").read_text()
CLAB = (DATA / "clos.clab.yml").read_text()
DTD = '<?xml version="1.0"?>\n<!DOCTYPE graphml [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>\n<graphml>&b;</graphml>'
EXTERNAL = '<!DOCTYPE graphml SYSTEM "file:///etc/passwd"><graphml/>'

BAD = [
    ("graph", "", 1, "where NODES and a number must be"),
    ("graph", "NODES x\n", 1, "where NODES and a number must be"),
    ("graph", "NODES 20001\nlabel x y\n", 2, "more than 20000 nodes"),
    ("graph", "NODES 0\nlabel x y\nEDGES 0\nlabel src dest weight bw delay\n", 0, "there is no node"),
    ("graph", GRAPH.replace("label x y", "label y x"), 2, "where the columns must be named"),
    ("graph", GRAPH[: GRAPH.index("EDGES")], 8, "where EDGES and a number must be"),
    ("graph", GRAPH[: GRAPH.index("p4")], 17, "EDGES announces 8 rows, and there are 7"),
    ("graph", GRAPH.replace("NODES 4", "NODES 5"), 8, "NODES announces 5 rows, and there are 4"),
    ("graph", GRAPH + "extra 0 1 1 1 1\n", 18, "after the 8 rows"),
    ("graph", GRAPH.replace("1000000 2088", "1000000 soon"), 10, "is no edge"),
    ("graph", GRAPH.replace("1000000 2088", "1000000 -5"), 10, "out of range"),
    ("graph", GRAPH.replace("1000000 2088", "0 2088"), 10, "out of range"),
    ("graph", GRAPH.replace("1000000 2088", "1e999 2088"), 10, "too large"),
    ("graph", GRAPH.replace("e2 1 2", "e2 1 4"), 12, "there is no node 4"),
    ("graph", GRAPH.replace("e2 1 2", "e2 1 1"), 12, "to itself"),
    ("graph", GRAPH.replace("e3 2 1", "e3 1 2"), 12, "has no edge back"),
    ("graph", GRAPH.replace("edge 0 0 1 10", "edge 0 0 1 0.5"), 10, "no whole number"),
    ("graphml", "", 1, "not well-formed XML"),
    ("graphml", XML[: XML.index("5ms")], 21, "not well-formed XML"),
    ("graphml", "<html></html>", 1, "the file is <html>"),
    ("graphml", DTD, 2, "document type"),
    ("graphml", EXTERNAL, 1, "document type"),
    ("graphml", "<graphml/>", 0, "there is no node"),
    ("graphml", XML.replace('id="1"', 'id="0"'), 16, "is there twice (first on line 15)"),
    ("graphml", XML.replace('target="x/y"', 'target="z"'), 23, "no such node"),
    ("graphml", XML.replace('<edge source="1" ', "<edge "), 21, "has no source"),
    ("graphml", XML.replace("5ms", "5"), 21, "no unit"),
    ("graphml", XML.replace("2500000000.0", "fast"), 19, "no number"),
    ("graphml", XML.replace(">0</data>", ">NaN</data>"), 15, "no number"),
    ("graphml", XML.replace("</graph>", "</graph><graph/>"), 24, "second <graph>"),
    ("yml", CLAB.replace("  links:", " links:"), 13, ""),
    ("yml", CLAB.replace("leaf1:e1-49", "leaf9:e1-49"), 14, "no node 'leaf9'"),
    ("yml", CLAB.replace("leaf1:e1-49", "leaf1"), 14, "is no endpoint"),
    ("yml", CLAB.replace("leaf1:e1-49", "spine1:e1-49"), 14, "both ends are at spine1"),
    ("yml", CLAB.replace("leaf1:e1-2", "leaf1:e1-49"), 24, "in a link already"),
    ("yml", CLAB.replace("mtu: 1500", "mtu: many"), 16, "out of range"),
    ("yml", CLAB.replace("gateway", "king"), 12, "the role of edge1"),
    ("yml", "name: x\n", 0, "there is no node"),
    ("yml", "topology: {nodes: [a, b]}\n", 1, "nodes must be a mapping"),
    ("yml", "a: 1\n---\nb: 2\n", 0, "2 documents"),
]


@pytest.mark.parametrize(("suffix", "text", "line", "message"), BAD)
def test_what_is_not_of_its_format_is_refused(tmp_path: Path, suffix: str, text: str, line: int, message: str) -> None:
    file = tmp_path / f"bad.{suffix}"
    file.write_text(text)
    with pytest.raises(SuanwangError) as caught:
        import_topology(file)
    assert caught.value.code == BAD_TOPOLOGY
    assert message in caught.value.message
    assert caught.value.place.file == str(file)
    if line:
        assert caught.value.place.line == line


def test_limits_on_size_and_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "some.graph"
    file.write_bytes(b"NODES 1\nlabel x y\n\xff 0 0\n")
    with pytest.raises(SuanwangError, match="not readable as text") as caught:
        import_topology(file)
    assert caught.value.place.line == 3
    with file.open("wb") as stream:
        stream.truncate(published.LARGEST_FILE_BYTES + 1)
    with pytest.raises(SuanwangError, match="more than 67108864 bytes"):
        import_topology(file)
    with pytest.raises(SuanwangError, match="No such file"):
        import_topology(tmp_path / "none.graph")
    with pytest.raises(SuanwangError, match="no name for a region"):
        import_topology(BACKBONE, region="No Name")


def test_many_parallel_edges_are_joined_quickly() -> None:
    ways = [published.Direction(latency_us=number) for number in range(50_000)]
    edges = [Edge(0, 1, "", number, way) for number, way in enumerate(ways)]
    edges += [Edge(1, 0, "", 50_000 + number, way) for number, way in enumerate(reversed(ways))]
    links = joined(edges, "f")
    assert len(links) == 50_000
    assert all(link.backward is None for link in links)


def test_latency_over_known_distances() -> None:
    pole, equator = PublishedNode("n", 90, 0), PublishedNode("e", 0, 123)
    assert latency_between_us(pole, equator) == pytest.approx(10_007.557 / 199_861.639 * 1e6, abs=1)
    assert latency_between_us(equator, equator) == 0
    assert latency_between_us(equator, PublishedNode("antipode", 0, -57)) == pytest.approx(100_144, abs=2)
    assert latency_between_us(equator, PublishedNode("unknown")) is None


published_files = pytest.mark.skipif(not SHARED.is_dir(), reason="needs the published topologies beside the checkout")


@published_files
@pytest.mark.parametrize("file", sorted(SHARED.glob("*.graph")), ids=lambda path: path.name)
def test_published_files_keep_every_delay_and_capacity(file: Path, registry: Registry) -> None:
    documents = import_topology(file)
    checked(documents, registry)
    nodes = list(of_kind(documents, "Node"))
    lines = file.read_text().splitlines()
    header = next(number for number, line in enumerate(lines) if line.startswith("EDGES"))
    expected: Counter[tuple[str, str, int, int, int]] = Counter()
    for line in filter(None, lines[header + 2 :]):
        source, target, weight, bandwidth, delay = map(int, line.split()[-5:])
        expected[nodes[source], nodes[target], weight, bandwidth * 1000, delay] += 1
    found: Counter[tuple[str, str, int, int, int]] = Counter()
    for name, spec in of_kind(documents, "Link").items():
        link = graph_link(name, spec)
        for a, b, way in ((link.a, link.b, link.forward), (link.b, link.a, link.backward)):
            found[a, b, way.cost, way.capacity_bps, way.latency_us] += 1
    assert found == expected
    demands = import_demands(file.with_name(f"{file.stem}.0000.demands"), nodes)
    assert len(demands) == int(file.with_name(f"{file.stem}.0000.demands").read_text().split()[1])


@published_files
def test_chinanet() -> None:
    documents = import_topology(SHARED / "Chinanet.graph", region="china")
    nodes, links = of_kind(documents, "Node"), of_kind(documents, "Link")
    assert (len(nodes), len(links)) == (42, 66)
    graph = Graph(nodes, [graph_link(name, spec) for name, spec in links.items()])
    assert graph.shortest_paths("lhasa").distances().keys() == set(nodes)
    lhasa = {end.target: end.direction.latency_us for end in graph.ends("lhasa")}
    assert lhasa == {"chengdu": 2088, "shiquanhe": 1832, "beijing": 4275}
