"""The cabling list: the same from coordinates and from arrays, written, read, and asked for far ends."""

from __future__ import annotations

import csv
import io
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fabric.random_fabrics import small_clos

from suanwang.fabric.cabling.cables import (
    COLUMNS,
    PORT_NAMES,
    Cable,
    clos_cables,
    csv_text,
    dot_text,
    network_cables,
    parse_cabling,
    port_namer,
    read_cabling,
)  # fmt: skip
from suanwang.fabric.clos import Clos, Tier
from suanwang.fabric.network import Network
from suanwang.model.errors import SuanwangError

GOOD = "a_device,a_port,b_device,b_port,rate\nh1,eth1,leaf,eth1,10Gbps\nh2,eth1,leaf,eth2,10Gbps\n"


@given(small_clos())
@settings(deadline=None)
def test_coordinates_and_arrays_give_the_same_list(clos: Clos) -> None:
    cables = list(clos_cables(clos))
    assert {cable.row() for cable in cables} == {cable.row() for cable in network_cables(clos.network())}
    ports = {end for cable in cables for end in ((cable.a_device, cable.a_port), (cable.b_device, cable.b_port))}
    assert len(ports) == 2 * len(cables) == clos.network().ports


@given(small_clos(most=16))
@settings(deadline=None)
def test_what_is_written_is_read_again(clos: Clos) -> None:
    cables = tuple(
        clos_cables(clos, port_namer("swp"), lambda name: f"rack of {name}", lambda tier: ("DAC", f"{tier}m"))
    )
    found = parse_cabling("".join(csv_text(cables)))
    assert found.cables == cables


def test_a_list_is_a_network() -> None:
    clos = Clos((Tier(4, 1, 200 * 10**9), Tier(2, 2, 400 * 10**9)), planes=2)
    ours, found = clos.network(), parse_cabling("".join(csv_text(clos_cables(clos)))).network()
    assert (found.endpoints, found.switches, found.ports) == (ours.endpoints, ours.switches, ours.ports)
    assert sorted(found.tier.tolist()) == sorted(ours.tier.tolist())
    assert sorted(found.plane.tolist()) == sorted(ours.plane.tolist())


def test_a_list_of_a_million_endpoints_is_made_as_it_is_asked_for() -> None:
    clos = Clos((Tier(64, 1, 10**11), Tier(128, 64, 10**11), Tier(128, 64, 10**11)), planes=4)
    assert clos.endpoints == 1_048_576
    first = list(islice(clos_cables(clos), 3))
    assert first[2].row() == ("gpu2", "swp1", "", "p0-leaf0", "swp3", "", "100Gbps", "0", "1", "", "")


def test_port_names() -> None:
    assert [port_namer(form)(3) for form in ("Ethernet", "swp", "eth")] == ["Ethernet3", "swp4", "eth4"]
    with pytest.raises(SuanwangError, match="use one of swp, eth, Ethernet"):
        port_namer("ge-0/0/")


def test_csv_and_dot_are_quoted() -> None:
    odd = Cable('a "1",x', "p\n1", "b\\", "2", 10**9, 0, 1)
    rows = list(csv.reader(io.StringIO("".join(csv_text([odd])))))
    assert rows == [list(COLUMNS), list(odd.row())]
    dot = "".join(dot_text([odd], 'f"'))
    assert dot.startswith('graph "f\\"" {\n')
    assert '"a \\"1\\",x" -- "b\\\\" [taillabel=' in dot
    assert '{ rank=same; "b\\\\" }' in dot


def test_too_many_cables_for_a_drawing_are_refused() -> None:
    with pytest.raises(SuanwangError, match="write the list as CSV"):
        list(dot_text(Cable("a", str(number), "b", str(number)) for number in range(20_001)))


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("a_port,", "", 1, "there is no column a_port"),
        (",rate", ",rates", 1, "'rates' is unknown"),
        (",rate", ",rate,rate", 1, "or twice"),
        ("h2,eth1,leaf,eth2,10Gbps", "h2,eth1,leaf,eth2", 3, "4 fields where 5 must be"),
        ("h2,eth1,leaf,eth2", "h2,eth1,leaf,eth1", 3, "leaf eth1 has two cables"),
        ("h2,eth1,leaf,eth2", "h2,eth1,h2,eth2", 3, "both ends are at h2"),
        ("h2,eth1,leaf,eth2", "h2,,leaf,eth2", 3, "a_port is ''"),
        ("h2,eth1,leaf", 'h2,"e\n1",leaf', 4, "a_port is 'e\\n1'"),
        ("h2,eth1,leaf", '"h2\n- evil: 1",eth1,leaf', 4, "a_device is 'h2\\n- evil: 1'"),
        ("eth2,10Gbps", "eth2,fast", 3, "fast"),
        ("h2,eth1", '"h2,eth1', 3, "not readable as CSV"),
        ("h1,eth1,leaf,eth1,10Gbps\nh2,eth1,leaf,eth2,10Gbps\n", "", 0, "there is no cable in the list"),
        (GOOD, "", 1, "there is no column a_device"),
    ],
)
def test_mistakes_are_named(old: str, new: str, line: int, words: str) -> None:
    assert old in GOOD
    with pytest.raises(SuanwangError) as caught:
        parse_cabling(GOOD.replace(old, new, 1), "c.csv")
    assert words in str(caught.value)
    assert caught.value.hint
    assert caught.value.place.line == line


def test_a_network_needs_rates(tmp_path: Path) -> None:
    file = tmp_path / "c.csv"
    file.write_text(GOOD.replace("eth2,10Gbps", "eth2,"))
    with pytest.raises(SuanwangError, match="a cable has no rate") as caught:
        read_cabling(file).network()
    assert caught.value.place.line == 3
    file.write_text(GOOD)
    assert read_cabling(file).network().names == ["h1", "h2", "leaf"]


def ends_of(network: Network) -> list[tuple[str, int, str, int, int]]:
    """Each directed port as node, number, far node, far number and rate."""
    names, first = network.names, network.first_port
    return [
        (names[one], port - int(first[one]), names[far], int(network.peer[port]) - int(first[far]), rate)
        for port, (one, far, rate) in enumerate(
            zip(network.source.tolist(), network.target.tolist(), network.rate_bps.tolist(), strict=True)
        )
    ]


@given(small_clos(most=24), st.data())
@settings(max_examples=50, deadline=None)
def test_port_names_say_the_order_of_ports_whatever_that_of_lines(clos: Clos, data: st.DataObject) -> None:
    network = clos.network()
    if network.endpoints < 2:
        return
    form = data.draw(st.sampled_from(PORT_NAMES))
    cables = data.draw(st.permutations(list(network_cables(network, port_namer(form)))))
    found = parse_cabling("".join(csv_text(cables))).network()
    assert sorted(ends_of(found)) == sorted(ends_of(network))
    assert not found.peer.flags.writeable


def listed(*ports: str, rate: str = "100Gbps") -> Network:
    lines = [f"h{number},eth1,leaf,{port},{rate}\n" for number, port in enumerate(ports)]
    return parse_cabling(GOOD[: GOOD.index("h1")] + "".join(lines), "c.csv").network()


def test_crossed_ports_are_kept_apart() -> None:
    """No order of lines is that of both devices: a's first port leads to b's second."""
    text = "h1,eth1,a,swp3,1Gbps\nh2,eth1,a,swp4,1Gbps\na,swp1,b,swp2,1Gbps\na,swp2,b,swp1,1Gbps\n"
    network = parse_cabling(GOOD[: GOOD.index("h1")] + text).network()
    assert {one[1:4] for one in ends_of(network) if one[0] == "a"} == {
        (0, "b", 1), (1, "b", 0), (2, "h1", 0), (3, "h2", 0),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("ports", "rate"),
    [
        (("Ethernet8", "Ethernet0", "Ethernet4"), "400Gbps"),
        (("Ethernet0", "Ethernet4", "Ethernet8"), "100Gbps"),
        (("Ethernet1", "Ethernet2", "Ethernet3"), "100Gbps"),
        (("swp10", "swp9", *(f"swp{number}" for number in range(1, 9))), "1Gbps"),
        (("Te1/0/1", "Te1/0/2", "Te1/1/1"), "1Gbps"),
        (("up", "down", "left"), "1Gbps"),
    ],
)
def test_forms_of_port_names_are_understood(ports: tuple[str, ...], rate: str) -> None:
    network = listed(*ports, rate=rate)
    leaf = network.node("leaf")
    ours = network.target[int(network.first_port[leaf]) :].tolist()
    order = sorted(ports) if len(ports) < 4 else [f"swp{number}" for number in range(1, 11)]
    assert [network.names[node] for node in ours] == [f"h{ports.index(port)}" for port in order]


@pytest.mark.parametrize(
    ("ports", "line", "words"),
    [
        (("swp1", "swp3"), 3, "leaf has a cable in swp3 and none in a port before it"),
        (("swp3", "swp2"), 3, "leaf has a cable in swp2"),
        (("Ethernet0", "Ethernet4", "Ethernet12"), 4, "in Ethernet12"),
        (("Ethernet0", "Ethernet900"), 3, "in Ethernet900"),
        (("Ethernet1", "Ethernet5"), 3, "in Ethernet5"),
    ],
)
def test_gaps_between_ports_are_refused(ports: tuple[str, ...], line: int, words: str) -> None:
    with pytest.raises(SuanwangError, match=words) as caught:
        listed(*ports)
    assert caught.value.place.line == line
    assert "without gaps" in caught.value.hint
