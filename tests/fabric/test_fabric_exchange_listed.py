"""Formats that list links: what is written is read again, published forms are understood, mistakes are named."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fabric.random_fabrics import dragonflies, small_clos

from suanwang.fabric.clos import Clos, Tier
from suanwang.fabric.design.opening import open_fabric
from suanwang.fabric.exchange.containerlab import SONIC, containerlab_text, parse_containerlab
from suanwang.fabric.exchange.infragraph import parse_infragraph
from suanwang.fabric.exchange.infragraph_text import infragraph_text
from suanwang.fabric.exchange.listed import network_of
from suanwang.fabric.exchange.ns3 import ns3_text, parse_ns3
from suanwang.fabric.exchange.reading import FORMATS, read_imported, recognise
from suanwang.fabric.exchange.simai import parse_simai, simai_text
from suanwang.fabric.network import Network
from suanwang.model.errors import SuanwangError

WIRING = ("first_port", "source", "target", "peer", "rate_bps", "latency_ps")


def same_wiring(one: Network, other: Network) -> bool:
    return one.endpoints == other.endpoints and all(
        np.array_equal(getattr(one, name), getattr(other, name)) for name in WIRING
    )


def edges(network: Network) -> list[tuple[str, str, int, int]]:
    """Cables by the names of their ends, whatever the numbers of nodes are."""
    return sorted(
        (*sorted((network.names[one], network.names[other])), rate, latency)
        for one, other, rate, latency in zip(
            network.source.tolist(), network.target.tolist(), network.rate_bps.tolist(), network.latency_ps.tolist(),
            strict=True,
        )
    )  # fmt: skip


pods = Clos((Tier(4, 1, 200 * 10**9, 500_000), Tier(4, 2, 400 * 10**9, 2)), planes=2, rails=4, joined=2)
inner = Clos((Tier(4, 1, 900 * 10**9, 25_000),), trees=4)


@given(small_clos())
@settings(deadline=None)
def test_ns3_is_written_and_read_again(clos: Clos) -> None:
    network = clos.network()
    if network.endpoints < 2:
        return
    found = parse_ns3("".join(ns3_text(network)))
    assert same_wiring(found.network(), network)
    assert found.loss is None


def test_tiers_and_planes_are_found_again() -> None:
    for clos in (
        pods,
        Clos((Tier(2, 1, 10**9), Tier(3, 2, 10**9), Tier(2, 2, 10**9))),
        Clos((Tier(4, 1, 10**9), Tier(2, 2, 10**9)), trees=4, rails=4, joined=3),
    ):
        network = clos.network()
        found = parse_ns3("".join(ns3_text(network))).network()
        assert np.array_equal(found.tier, network.tier)
        assert np.array_equal(found.plane, network.plane)


def test_simai_holds_both_networks() -> None:
    text = "".join(simai_text(pods.network(), 4, inner.network(), "H20"))
    assert text.startswith("32 4 4 12 64 H20\n")
    found = parse_simai(text)
    assert found.per_server == 4
    assert found.scale_up is not None
    assert same_wiring(found.network(), pods.network())
    assert same_wiring(found.scale_up, inner.network())
    alone = parse_simai("".join(simai_text(pods.network(), 4)))
    assert alone.scale_up is None
    assert same_wiring(alone.network(), pods.network())


def test_published_forms_are_understood() -> None:
    """Switches anywhere among the numbers, remarks at the end, units of ns-3, servers named a second time."""
    found = parse_ns3(
        "4 1 3\n\n1\n0 1 25Gb/s 0.001ms 0\n2 1 1.5GB/s 1e-6s 0.01\n3 1 100Mbps 5ns 0\nFirst line: nodes …"
    )
    network = found.network()
    assert network.names == ["gpu0", "gpu2", "gpu3", "switch1"]
    up = network.source < network.endpoints
    assert network.rate_bps[up].tolist() == [25 * 10**9, 12 * 10**9, 10**8]
    assert network.latency_ps[up].tolist() == [1_000_000, 1_000_000, 5000]
    assert found.loss is not None
    assert sorted(found.loss.tolist()) == [0, 0, 0, 0, 0.01, 0.01]
    found = parse_simai(
        "4 2 1 1 4 A100 2\n2 3\n0 2 2400Gbps 0.000025ms 0\n1 2 2400Gbps 0.000025ms 0\n"
        "0 3 1Gbps 1us 0\n1 3 1Gbps 1us 0\n"
    )
    assert found.scale_up is not None
    assert found.scale_up.latency_ps.tolist() == [25_000] * 4


NS3 = "4 1 3\n3\n0 3 1Gbps 1us 0\n1 3 1Gbps 1us 0\n2 3 1Gbps 1us 0\n"


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("4 1 3", "x 1 3", 1, "the number of nodes is 'x'"),
        ("4 1 3", "4 5 3", 1, "the number of switches is 5"),
        ("4 1 3", "4 1 4", 5, "4 links are announced, and 3 follow"),
        ("4 1 3", "4 1 2", 5, "2 links are announced, and more follow"),
        ("4 1 3\n3", "4 2 3\n3 3", 2, "listed as a switch twice"),
        ("4 1 3\n3", "4 1 3\n4", 2, "switch 1 of 1 is 4"),
        ("1 3 1Gbps", "1 9 1Gbps", 4, "link 1 joins 1 and 9"),
        ("1 3 1Gbps", "1 \u00b2 1Gbps", 4, "link 1 joins 1 and \u00b2"),
        ("1 3 1Gbps", "1 " + "1" * 5000 + " 1Gbps", 4, "link 1 joins 1 and 1111"),
        ("1 3 1Gbps", "1 0 1Gbps", 0, "gpu1 is joined with gpu0, and both are endpoints"),
        ("1 3 1Gbps", "0 3 1Gbps", 0, "endpoint gpu1 has no cable"),
        ("1 3 1Gbps", "3 3 1Gbps", 4, "with itself"),
        ("1 3 1Gbps", "1 3 fast", 4, "'fast' is no rate"),
        ("1 3 1Gbps", "1 3 0Gbps", 4, "no rate that a link can have"),
        ("1 3 1Gbps 1us", "1 3 1Gbps 1h", 4, "'1h' is no delay"),
        ("1 3 1Gbps 1us", "1 3 1Gbps 1e30s", 4, "a delay of 1e30s"),
        ("1 3 1Gbps 1us 0", "1 3 1Gbps 1us 1.5", 4, "no share of packets"),
    ],
)  # fmt: skip
def test_mistakes_in_ns3_files_are_named(old: str, new: str, line: int, words: str) -> None:
    assert old in NS3
    with pytest.raises(SuanwangError) as caught:
        parse_ns3(NS3.replace(old, new, 1), "t.txt")
    assert words in str(caught.value)
    assert caught.value.hint
    if line:
        assert caught.value.place.line == line


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("4 3 0 1 3 H20\n3\n0 3 1Gbps 1us 0\n1 3 1Gbps 1us 0\n2 3 1Gbps 1us", "3 links are announced"),
        ("4 2 0 1 3 H20\n3\n0 3 1Gbps 1us 0\n", "are no servers of 2"),
        ("4 3 1 0 3 H20\n3\n" + "0 3 1Gbps 1us 0\n1 3 1Gbps 1us 0\n2 3 1Gbps 1us 0\n", "all links are at NVSwitches"),
        ("4 3 0 1 3\n3\n0 3 1Gbps 1us 0\n", "the first line has 5 words"),
    ],
)
def test_mistakes_in_simai_files_are_named(text: str, words: str) -> None:
    with pytest.raises(SuanwangError, match=words) as caught:
        parse_simai(text)
    assert caught.value.hint


def test_a_simai_file_needs_servers_that_fit() -> None:
    with pytest.raises(SuanwangError, match="servers of 3 do not share out 16"):
        list(simai_text(pods.network(), 3))
    with pytest.raises(SuanwangError, match="scale-up joins 4 accelerators and scale-out 16"):
        list(simai_text(pods.network(), 4, Clos((Tier(4, 1, 10**9),)).network()))


@given(small_clos(most=16))
@settings(max_examples=40, deadline=None)
def test_containerlab_is_written_and_read_again(clos: Clos) -> None:
    network = clos.network()
    if network.endpoints < 2:
        return
    text = "".join(containerlab_text("lab", network))
    document = yaml.safe_load(text)
    assert set(document["topology"]["nodes"]) == set(network.names)
    assert document["topology"]["defaults"] == {"network-mode": "none"}
    found = parse_containerlab(text.encode()).network()
    assert same_wiring(found, network)
    assert found.names == network.names
    assert np.array_equal(found.tier, network.tier)
    assert np.array_equal(found.plane, network.plane)


def test_containerlab_names_images_interfaces_and_files() -> None:
    network = pods.network()
    text = "".join(
        containerlab_text("lab", network, SONIC, binds=lambda name: [f"{name}.json:/etc/sonic/config_db.json"])
    )
    document = yaml.safe_load(text)
    leaf = document["topology"]["nodes"]["p0-leaf0"]
    assert leaf["kind"] == "sonic-vs"
    assert leaf["binds"] == ["p0-leaf0.json:/etc/sonic/config_db.json"]
    ends = [end for link in document["topology"]["links"] for end in link["endpoints"]]
    assert len(ends) == len(set(ends)) == network.ports
    assert {"gpu0:eth1", "gpu0:eth2"} <= set(ends)


def test_a_containerlab_file_of_others_is_a_network() -> None:
    body = b"""name: x
topology:
  kinds: {linux: {image: alpine}, nokia_srlinux: {image: srl}}
  nodes: {h1: {kind: linux}, h2: {kind: linux}, leaf: {kind: nokia_srlinux}}
  links:
    - endpoints: [h1:eth1, leaf:ethernet-1/1]
    - endpoints: [h2:eth1, leaf:ethernet-1/2]
    - endpoints: [leaf:mgmt0, host:eth9]
"""
    network = parse_containerlab(body).network()
    assert (network.names, network.ports) == (["h1", "h2", "leaf"], 4)
    with pytest.raises(SuanwangError, match="no node is a host"):
        parse_containerlab(body.replace(b"alpine", b"frr"))
    with pytest.raises(SuanwangError, match="fast") as caught:
        parse_containerlab(body.replace(b"leaf:ethernet-1/1]", b"leaf:ethernet-1/1]\n      labels: {rate: fast}"))
    assert caught.value.place.line == 6


@given(small_clos(most=24) | dragonflies(), st.sampled_from([1, 2, 4]))
@settings(max_examples=60, deadline=None)
def test_infragraph_is_written_and_read_again(fabric: object, per_server: int) -> None:
    network: Network = fabric.network()  # type: ignore[attr-defined]
    if network.endpoints % per_server or network.endpoints < 2:
        return
    found = parse_infragraph("".join(infragraph_text("fabric", network, per_server)).encode()).network()
    names = [f"server{node // per_server}.nic{node % per_server}" for node in range(network.endpoints)]
    several = int(network.plane.max(initial=0)) > 0
    groups: dict[str, int] = {}
    for node in range(network.endpoints, network.nodes):
        title = ("leaf", "spine", "core")[int(network.tier[node]) - 1]
        title = f"p{int(network.plane[node])}-{title}" if several else title
        names.append(f"{title}{groups.setdefault(title, 0)}")
        groups[title] += 1
    renamed = Network(**{**{field: getattr(network, field) for field in network.__dataclass_fields__}, "names": names})
    assert edges(found) == edges(renamed)


def test_infragraph_is_compact_and_reads_slices() -> None:
    clos = Clos((Tier(8, 1, 10**11), Tier(8, 8, 10**11)))
    text = "".join(infragraph_text("fabric", clos.network(), 8))
    assert text.count("- ep1:") == 16
    document = yaml.safe_load(text)
    assert {device["name"] for device in document["devices"]} == {"server", "leaf-switch", "spine-switch"}
    assert document["links"][0]["physical"]["bandwidth"] == {
        "choice": "gigabits_per_second",
        "gigabits_per_second": 100,
    }
    assert same_wiring(parse_infragraph(json.dumps(document).encode()).network(), clos.network())


INFRA = b"""
name: two
devices:
  - name: box
    components: [{name: gpu, choice: xpu, count: 2}, {name: nic, choice: nic, count: 2}]
    links: [{name: pcie}]
    edges: [{ep1: {component: gpu}, ep2: {component: nic}, scheme: one2one, link: pcie}]
  - name: asic
    components: [{name: port, choice: port, count: 8}]
    links: []
    edges: []
instances: [{name: host, device: box, count: 4}, {name: sw, device: asic, count: 1}]
links: [{name: l, physical: {bandwidth: {choice: gigabytes_per_second, gigabytes_per_second: 50}, latency: {ns: 300}}}]
edges:
  - {ep1: {instance: "host", component: "nic"}, ep2: {instance: "sw[0]", component: "port"}, scheme: one2one, link: l}
"""


def test_infragraph_of_others_is_a_network() -> None:
    found = parse_infragraph(INFRA)
    network = found.network()
    assert (network.endpoints, network.switches, network.ports, found.per_server) == (8, 1, 16, 2)
    assert set(network.rate_bps.tolist()) == {400 * 10**9}
    assert set(network.latency_ps.tolist()) == {300_000}
    assert network.names[3] == "host1.nic1"
    half = parse_infragraph(INFRA.replace(b'"nic"', b'"nic[0:1]"')).network()
    assert half.endpoints == 4


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        (b'instance: "sw[0]"', b'instance: "sv[0]"', 15, "there is no instance 'sv'"),
        (b'component: "port"', b'component: "prt"', 15, "asic has no component 'prt'"),
        (b'component: "port"', b'component: "port[4:9]"', 15, "is not within the 8"),
        (b'component: "port"', b'component: "port]"', 15, "no name with a slice"),
        (b"link: l", b"link: m", 15, "there is no link 'm'"),
        (b"scheme: one2one, link: l", b"scheme: ring, link: l", 15, "the scheme is 'ring'"),
        (b"gigabytes_per_second: 50", b"gigatransfers_per_second: 50", 13, "no bandwidth in bits or bytes"),
        (b"device: asic", b"device: basic", 12, "there is no device 'basic'"),
        (b"count: 4", b"count: 2000000", 15, "the count of it is '2000000'"),
        (b"{name: sw,", b'{name: "s\\nw",', 15, "there is no instance 'sw'"),
        (b"count: 4", b"count: many", 15, "the count of it is 'many'"),
        (b"edges:\n  -", b"adges:\n  -", 0, "there is no list of edges"),
        (b"{name: sw,", b"{name: host,", 12, "host is here a second time"),
    ],
)
def test_mistakes_in_infragraph_files_are_named(old: bytes, new: bytes, line: int, words: str) -> None:
    assert old in INFRA
    with pytest.raises(SuanwangError) as caught:
        parse_infragraph(INFRA.replace(old, new, 1), "i.yaml")
    assert words in str(caught.value)
    assert caught.value.hint
    if line:
        assert caught.value.place.line == line


def test_every_format_is_recognised(tmp_path: Path) -> None:
    from suanwang.fabric.cabling.cables import csv_text, network_cables
    from suanwang.fabric.exchange.htsim import topology_text

    plain = Clos((Tier(4, 1, 10**11), Tier(2, 2, 10**11)))
    network = plain.network()
    files = {
        "htsim": topology_text(plain),
        "simai": "".join(simai_text(network, 4)),
        "ns3": "".join(ns3_text(network)),
        "containerlab": "".join(containerlab_text("x", network)),
        "infragraph": "".join(infragraph_text("x", network)),
        "cabling": "".join(csv_text(network_cables(network))),
    }
    assert {*files, "fabric"} == FORMATS.keys()
    for form, text in files.items():
        file = tmp_path / f"any.{form}"
        file.write_text(text)
        found = read_imported(file)
        assert (found.format, found.network().ports, found.network().switches) == (
            form,
            network.ports,
            network.switches,
        )
    assert recognise(b"apiVersion: suanwang/v1\nkind: Fabric\n") == "fabric"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "the format is not known"),
        (b"hello world\n", "SimAI topology"),
        (b"\xff\xfe\x00", "the format is not known"),
        (b"Nodes 2\nConnections 1\n0->1 start 0 size 1\n", "this is a connection matrix"),
        (b"kind: Fabric\nspec: {}\n", "can't be another Fabric"),
    ],
)
def test_what_is_no_topology_is_told(tmp_path: Path, body: bytes, words: str) -> None:
    file = tmp_path / "x"
    file.write_bytes(body)
    with pytest.raises(SuanwangError) as caught:
        read_imported(file)
    assert words in str(caught.value)


def test_networks_need_endpoints_and_cables() -> None:
    with pytest.raises(SuanwangError, match="endpoints: 1, links: 1"):
        network_of(["a", "b"], [False, True], [0], [1], 1, 1)
    found, number = network_of(["s", "a", "b", "lonely"], [True, False, False, True], [0, 0], [1, 2], 1, 1)
    assert (found.tier.tolist(), number.tolist()) == ([0, 0, 1, 2], [2, 0, 1, 3])


def test_a_link_needs_two_nodes_that_can_be_joined() -> None:
    with pytest.raises(SuanwangError, match=r"a node is named 'a.nb'") as caught:
        network_of(["s", "a\nb", "c"], [True, False, False], [0, 0], [1, 2], 1, 1)
    assert "no line breaks" in caught.value.hint
    with pytest.raises(SuanwangError, match="endpoint c has no cable, and so have 1 more"):
        network_of(["s", "a", "c", "d"], [True, False, False, False], [0], [1], 1, 1)


def test_an_infragraph_of_few_lines_can_not_ask_for_any_number() -> None:
    edge = INFRA[INFRA.index(b"  - {ep1") :]
    body = INFRA.replace(b"count: 4", b"count: 1000000").replace(b"count: 8", b"count: 1000000") + edge * 3
    with pytest.raises(SuanwangError, match="more than 4,194,304 ends"):
        parse_infragraph(body.replace(b"nic, count: 2", b"nic, count: 8"))


def test_names_are_quoted_in_yaml() -> None:
    """Odd but printable names stay what they are; others are refused, so no name is ever read as YAML."""
    names = ["no", "12", "a b, c]", 'say "x"', "机柜-1"]
    network, _ = network_of(names, [False, False, True, True, True], [0, 1, 0, 1, 2], [2, 3, 4, 4, 3], 10**9, 1)
    text = "".join(containerlab_text("x: [", network))
    assert yaml.safe_load(text)["name"] == "x: ["
    found = parse_containerlab(text.encode())
    assert found.network().names == names
    assert same_wiring(found.network(), network)
    assert yaml.safe_load("".join(infragraph_text("yes", network)))["name"] == "yes"
    for writer in (containerlab_text, infragraph_text):
        with pytest.raises(SuanwangError, match="can't be printed"):
            list(writer("x\nevil: 1", network))
    colon, _ = network_of(["a:b", "c", "s"], [False, False, True], [0, 1], [2, 2], 1, 1)
    with pytest.raises(SuanwangError, match="a colon ends a node's name"):
        list(containerlab_text("x", colon))
    with pytest.raises(SuanwangError, match="give one word"):
        list(simai_text(pods.network(), 4, None, "H 20"))


def test_what_containerlab_takes_for_labels_and_variables() -> None:
    """Labels are texts; links between two ends have `vars` only, and files with labels there are read too."""
    text = "".join(containerlab_text("lab", Clos((Tier(2, 1, 25 * 10**9, 700_000),)).network()))
    document = yaml.safe_load(text)["topology"]
    assert document["nodes"]["leaf0"]["labels"] == {"role": "router", "tier": "1", "plane": "0"}
    assert [set(link) for link in document["links"]] == [{"endpoints", "vars"}] * 2
    for body in (text, text.replace("vars:", "labels:")):
        network = parse_containerlab(body.encode()).network()
        assert set(network.rate_bps.tolist()) == {25 * 10**9}
        assert set(network.latency_ps.tolist()) == {700_000}


@pytest.mark.parametrize("label", [b"tier: 2000000000", b'tier: "0"', b"tier: 8", b'plane: "64"'])
def test_labels_of_containerlab_have_limits(label: bytes) -> None:
    body = "".join(containerlab_text("lab", Clos((Tier(2, 1, 10**9),)).network())).encode()
    word = label.split(b":")[0]
    before = b'tier: "1"' if word == b"tier" else b'plane: "0"'
    assert body.count(before) == 1
    with pytest.raises(SuanwangError, match=f"the {word.decode()} of leaf0 is") as caught:
        parse_containerlab(body.replace(before, label))
    assert caught.value.hint.startswith("give ")
    assert caught.value.place.line


def test_what_a_file_says_of_servers_is_used(tmp_path: Path) -> None:
    (tmp_path / "four.txt").write_text("".join(simai_text(pods.network(), 4)))
    assert open_fabric(str(tmp_path / "four.txt")).per_server == 4
    (tmp_path / "plain.txt").write_text("".join(ns3_text(pods.network())))
    assert open_fabric(str(tmp_path / "plain.txt")).per_server == 8


def test_a_pipe_is_read_once(tmp_path: Path) -> None:
    import os
    import threading

    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    texts = [
        "kind: Fabric\napiVersion: suanwang/v1\nmetadata: {name: x}\nspec: {preset: hpn7-pod}\n",
        "".join(ns3_text(pods.network())),
    ]
    for text, words in zip(texts, ("", "holds no Fabric"), strict=True):
        writer = threading.Thread(target=pipe.write_text, args=(text,))
        writer.start()
        if words:
            with pytest.raises(SuanwangError, match=words):
                open_fabric(str(pipe))
        else:
            assert open_fabric(str(pipe)).accelerators == 15_360
        writer.join()


def test_first_lines_of_ns3_datacenter_are_understood() -> None:
    """The number of leaves comes before that of links, rates may follow, and rates have no unit."""
    links = "0 3 25000000000.0 1us 0\n1 3 25000000000 1us 0\n2 3 25000000000 1us 0\n"
    for head in ("4 1 1 3", "4 1 1 3 25000000000 100000000000"):
        text = f"{head}\n3\n{links}"
        assert recognise(text.encode()) == "ns3"
        network = parse_ns3(text).network()
        assert (network.endpoints, network.switches, set(network.rate_bps.tolist())) == (3, 1, {25 * 10**9})
    with pytest.raises(SuanwangError, match="the number of leaves is 2"):
        parse_ns3(f"4 1 2 3\n3\n{links}")


def test_links_of_nodes_that_are_not_there_may_follow_the_last() -> None:
    """As in HPCC's own example, whose simulator reads as many links as the first line says."""
    assert same_wiring(parse_ns3(NS3 + "0 4 1Gbps 1us 0\n9 8 1Gbps 1us 0\n").network(), parse_ns3(NS3).network())
    with pytest.raises(SuanwangError, match="3 links are announced, and more follow"):
        parse_ns3(NS3 + "0 3 1000000000 1us 0\n")


def test_labels_of_containerlab_are_inherited() -> None:
    """A node's labels are its own, its group's, its kind's and the defaults'; values may be texts."""
    body = b"""name: x
topology:
  defaults: {labels: {plane: 0}}
  kinds: {linux: {image: alpine}, nokia_srlinux: {image: srl, labels: {tier: 5}}}
  groups: {leaves: {kind: nokia_srlinux, labels: {tier: "1"}}}
  nodes: {h1: {kind: linux}, h2: {kind: linux}, a: {group: leaves}, b: {kind: nokia_srlinux}}
  links:
    - endpoints: [h1:eth1, a:eth1]
    - endpoints: [h2:eth1, a:eth2]
    - endpoints: [a:eth3, b:eth3]
"""
    network = parse_containerlab(body).network()
    assert network.tier.tolist() == [0, 0, 1, 5]
    assert network.plane.tolist() == [-1, -1, 0, 0]
    unused = body.replace(b'groups: {leaves: {kind: nokia_srlinux, labels: {tier: "1"}}}', b"groups: [1]")
    assert parse_containerlab(unused.replace(b"{group: leaves}", b"{kind: nokia_srlinux}")).network().switches == 2


@pytest.mark.parametrize(
    ("link", "words"),
    [
        (b"{endpoints: [h1:e1, s:e1], labels: [fast]}", "the labels of a link are no mapping"),
        (b"{endpoints: [h1:e1, s:e1], labels: {rate: 0Gbps}}", "a link at 0Gbps carries nothing"),
    ],
)
def test_links_of_containerlab_are_checked(link: bytes, words: str) -> None:
    nodes = b"{h1: {kind: linux}, h2: {kind: linux}, s: {kind: bridge}}"
    body = b"name: x\ntopology:\n  nodes: %b\n  links:\n    - {endpoints: [h2:e1, s:e2]}\n    - %b\n" % (nodes, link)
    with pytest.raises(SuanwangError, match=words) as caught:
        parse_containerlab(body)
    assert caught.value.place.line == 6


def test_a_containerlab_file_with_one_host_says_what_hosts_are() -> None:
    body = b"name: x\ntopology:\n  nodes: {h: {kind: linux}, s: {kind: bridge}}\n  links: [{endpoints: [h:e1, s:e1]}]\n"
    with pytest.raises(SuanwangError, match=r"one node is a host(.|\n)*role: host"):
        parse_containerlab(body)


def infragraph(**changes: object) -> bytes:
    document = {
        "devices": [
            {"name": "server", "components": [{"name": "nic", "choice": "nic", "count": 2}]},
            {"name": "box", "components": [{"name": "port", "choice": "port", "count": 8}]},
        ],
        "instances": [{"name": "host", "device": "server"}, {"name": "sw", "device": "box"}],
        "links": [{"name": "l", "physical": {"bandwidth": {"gigabits_per_second": 100}}}],
        "edges": [edge("host[0]", "nic[0:2]", "sw[0]", "port[0:2]")],
        **changes,
    }
    return json.dumps(document, indent=1).encode()


def edge(one: str, part: str, other: str, slot: str) -> dict[str, object]:
    ends = {"ep1": {"instance": one, "component": part}, "ep2": {"instance": other, "component": slot}}
    return {**ends, "scheme": "one2one", "link": "l"}


def test_a_cable_of_infragraph_from_a_switch_to_itself_is_left_out() -> None:
    edges_ = [edge("sw[0]", "port[4]", "sw[0]", "port[5]"), edge("host[0]", "nic[0:2]", "sw[0]", "port[0:2]")]
    assert same_wiring(parse_infragraph(infragraph(edges=edges_)).network(), parse_infragraph(infragraph()).network())
    with pytest.raises(SuanwangError, match=r"host0\.nic1 is joined with itself"):
        parse_infragraph(infragraph(edges=[edge("host[0]", "nic[1]", "host[0]", "nic[1]"), *edges_]))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"edges": None, "connections": ["host.0.nic.0.l.sw.0.port.0"]}, "first drafts"),
        ({"devices": [{"name": "server", "components": 5}]}, "the components of server are no list"),
        ({"links": [{"name": "l", "physical": {"bandwidth": {"gigabits_per_second": 0}}}]}, "link l has no bandwidth"),
    ],
)
def test_mistakes_in_infragraph_have_a_line(changes: dict[str, object], words: str) -> None:
    with pytest.raises(SuanwangError, match=f"(.|\n)*{words}") as caught:
        parse_infragraph(infragraph(**changes))
    assert caught.value.place.line > 0


def test_columns_of_a_cabling_list_may_stand_in_any_order(tmp_path: Path) -> None:
    path = tmp_path / "cables.csv"
    path.write_text("b_device, b_port,rate,A_Port,a_device\nleaf,e1,10Gbps,e1,h1\nleaf,e2,10Gbps,e1,h2\n")
    assert read_imported(path).network().names == ["h1", "h2", "leaf"]
