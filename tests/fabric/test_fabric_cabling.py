"""The cabling list: the same from coordinates and from arrays, written, read, and asked for far ends."""

from __future__ import annotations

import csv
import io
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given, settings
from tests.fabric.random_fabrics import small_clos

from suanwang.fabric.cabling import (
    COLUMNS,
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
    for cable in cables:
        assert found.far_end(cable.a_device, cable.a_port) == (cable.b_device, cable.b_port)
        assert found.far_end(cable.b_device, cable.b_port) == (cable.a_device, cable.a_port)
    assert found.far_end("nobody", "swp1") is None


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
    assert first[2].row() == ("gpu2", "Ethernet0", "", "p0-leaf0", "Ethernet2", "", "100Gbps", "0", "1", "", "")


def test_port_names() -> None:
    assert [port_namer(form)(3) for form in ("Ethernet", "swp", "eth")] == ["Ethernet3", "swp4", "eth4"]
    with pytest.raises(SuanwangError, match="use one of Ethernet, swp, eth"):
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
