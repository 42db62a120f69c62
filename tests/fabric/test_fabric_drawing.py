"""Pictures: what is shown is part of the network, fits at any size, and is the same bytes each time."""

from __future__ import annotations

import io
import itertools
import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fabric.random_fabrics import dragonflies, small_clos

from suanwang.fabric.clos import Clos, Tier
from suanwang.fabric.dragonfly import Dragonfly
from suanwang.fabric.drawing.figures import MOST_RUNS, draw_distributions
from suanwang.fabric.drawing.picture import draw
from suanwang.fabric.drawing.sketch import ENDPOINTS, SLOTS, Sketch, few, spread
from suanwang.fabric.drawing.sketch_clos import sketch_clos
from suanwang.fabric.drawing.sketch_network import sketch_dragonfly, sketch_network
from suanwang.fabric.network import Network
from suanwang.model.errors import SuanwangError

G = 10**9
LARGE = {
    "61,440, two planes": Clos((Tier(240, 1, 200 * G), Tier(256, 16, 200 * G)), planes=2, rails=8, joined=2),
    "1,048,576, four planes": Clos((Tier(64, 1, 200 * G), Tier(128, 64, 200 * G), Tier(128, 64, 400 * G)), planes=4),
    "16 planes": Clos((Tier(64, 1, 400 * G), Tier(64, 32, 400 * G)), planes=16),
    "five tiers": Clos((Tier(8, 1, G), *(Tier(8, 8, G) for _ in range(4)))),
    "many trees": Clos((Tier(64, 1, G),), trees=4096),
}


def check(sketch: Sketch, rows: int) -> None:
    """Marks stand in order within the width, apart from each other; strokes join rows; rows are told of."""
    assert len(sketch.rows) == rows
    for row in range(rows):
        places = sorted(mark.x for mark in sketch.marks if mark.row == row)
        assert places
        assert places[0] >= -0.3
        assert places[-1] <= sketch.width + 0.3
        if row:
            assert all(later - former > 0.3 for former, later in itertools.pairwise(places))
    for stroke in sketch.strokes:
        assert abs(sketch.marks[stroke.a].row - sketch.marks[stroke.b].row) <= 1


@given(small_clos(), st.data())
@settings(deadline=None)
def test_what_is_shown_of_a_clos_is_in_the_network(clos: Clos, data: st.DataObject) -> None:
    network = clos.network()
    load = np.linspace(0, 1, network.ports)
    failed = np.zeros(network.ports, bool)
    port = data.draw(st.integers(0, network.ports - 1))
    failed[[port, int(network.peer[port])]] = True
    sketch = sketch_clos(clos, "some", failed, load)
    check(sketch, clos.height + 1)
    titles = ("gpu", "leaf", "spine", "core")
    for stroke in sketch.strokes:
        low, high = sketch.marks[stroke.a], sketch.marks[stroke.b]
        before = f"p{high.plane}-" if clos.planes > 1 else ""
        one = network.node((before if low.row else "") + titles[low.row] + low.text)
        other = network.node(before + titles[high.row] + high.text)
        ports = network.ports_between(one, other)
        both = [*ports.tolist(), *network.peer[ports].tolist()]
        if low.row or clos.tiers[0].parents == 1:
            assert stroke.cables == len(ports)
            assert stroke.failed == int(failed[ports].sum())
            assert stroke.load == pytest.approx(max(load[both]))
    assert sum(stroke.failed for stroke in sketch.strokes) == 1
    assert sketch.failed == 1


@pytest.mark.parametrize("name", LARGE)
def test_large_networks_are_shown_in_part(name: str) -> None:
    clos = LARGE[name]
    sketch = sketch_clos(clos, name)
    check(sketch, clos.height + 1)
    assert len([mark for mark in sketch.marks if mark.row == 0]) <= ENDPOINTS
    assert sketch.width <= SLOTS + 10
    assert sketch.dots
    told = " ".join(line for facts in sketch.rows for line in (*facts.lines, *facts.cables))
    assert f"{clos.endpoints:,} endpoints" in told
    for level in range(1, clos.height + 1):
        assert f"{clos.count(level) * clos.planes:,} switches" in told


def test_failed_links_are_always_shown() -> None:
    clos = Clos((Tier(64, 1, 200 * G), Tier(64, 32, 200 * G), Tier(16, 32, 400 * G)))
    network = clos.network()
    failed = np.zeros(network.ports, bool)
    for one, other in (("leaf77", "spine45"), ("spine99", "core611"), ("gpu4000", "leaf62")):
        ports = network.ports_between(network.node(one), network.node(other))
        assert len(ports) == 1
        failed[ports] = failed[network.peer[ports]] = True
    sketch = sketch_clos(clos, "failed", failed)
    found = {(sketch.marks[s.a].text, sketch.marks[s.b].text) for s in sketch.strokes if s.failed}
    assert found == {("77", "45"), ("99", "611"), ("4000", "62")}


@given(small_clos(most=24))
@settings(deadline=None, max_examples=40)
def test_any_network_is_shown(clos: Clos) -> None:
    network = clos.network()
    sketch = sketch_network(network, "some", np.ones(network.ports, bool), np.ones(network.ports))
    check(sketch, clos.height + 1)
    assert all(stroke.failed == stroke.cables for stroke in sketch.strokes)
    assert sketch.failed == network.ports // 2


@given(dragonflies())
@settings(deadline=None, max_examples=40)
def test_dragonflies_are_shown_by_groups(fabric: Dragonfly) -> None:
    sketch = sketch_dragonfly(fabric, "some")
    check(sketch, 3)
    assert len([mark for mark in sketch.marks if mark.row == 2]) == min(fabric.groups, 6)


@given(st.integers(1, 300), st.integers(1, 40), st.lists(st.integers(0, 299), max_size=3))
def test_few_are_the_first_the_last_and_the_forced(count: int, most: int, forced: list[int]) -> None:
    shown = few(count, most, forced)
    assert shown == sorted(set(shown))
    assert {0, count - 1} <= set(shown) or count == 1
    assert {one for one in forced if one < count} <= set(shown)
    assert len(shown) <= max(most, 2) + len(forced)
    places, dots = spread(shown, 0.0, 10.0)
    assert places == sorted(places)
    assert len(dots) == sum(later - former > 1 for former, later in itertools.pairwise(shown))


def picture(fabric: Clos | Dragonfly, form: str, **more: object) -> bytes:
    stream = io.BytesIO()
    draw(fabric, stream, "a <fabric> & 网", form=form, **more)  # type: ignore[arg-type]
    return stream.getvalue()


def test_pictures_are_files_and_always_the_same() -> None:
    clos = LARGE["61,440, two planes"]
    svg = picture(clos, "svg")
    assert svg == picture(clos, "svg")
    root = ElementTree.fromstring(svg)
    assert root.tag.endswith("svg")
    assert not re.search(rb"\d{4}-\d\d-\d\dT", svg)
    assert picture(clos, "png").startswith(b"\x89PNG")
    assert picture(Dragonfly(9, 4, 2, 2, G, G, G), "png").startswith(b"\x89PNG")
    small = Clos((Tier(4, 1, G), Tier(2, 2, G)))
    network = small.network()
    marked = picture(small, "svg", failed=np.arange(network.ports) == 0, load=np.linspace(0, 1, network.ports))
    assert b"#d7263d" in marked
    with pytest.raises(SuanwangError, match="not written as 'pdf'"):
        picture(small, "pdf")


def test_distributions_are_drawn() -> None:
    times = np.linspace(100.0, 300.0, 50)
    stream = io.BytesIO()
    draw_distributions({"one": times, "two": times * 30}, stream, "times", {"one": 0.5, "two": 1.2}, "svg")
    ElementTree.fromstring(stream.getvalue())
    stream = io.BytesIO()
    draw_distributions({f"run {number}": times[:1] for number in range(MOST_RUNS)}, stream, form="png")
    assert stream.getvalue().startswith(b"\x89PNG")
    for bad in (
        {},
        {"none": times[:0]},
        {"bad": np.array([np.nan])},
        {str(number): times for number in range(MOST_RUNS + 1)},
    ):
        with pytest.raises(SuanwangError):
            draw_distributions(bad, io.BytesIO(), form="svg")


def test_names_are_no_formulas() -> None:
    name = "a$b$ $\\frac{1}$"
    for form in ("svg", "png"):
        stream = io.BytesIO()
        draw(Clos((Tier(2, 1, 10**9),)), stream, name, form=form)
        draw_distributions({name: np.array([1.0, 2.0])}, stream, name, form=form)
        assert stream.getvalue()


def test_networks_without_leaves_and_without_switches_are_drawn_and_towers_refused() -> None:
    def star(tier: int) -> Network:
        return Network.build(2, [0, 1], [2, 2], 10**9, 1, [0, 0, tier], ["a", "b", "s"], [-1, -1, 0])

    for tier in (1, 2, 7):
        shown = sketch_network(star(tier), "x")
        assert [mark.row for mark in shown.marks].count(0) == 2
        draw(star(tier), io.BytesIO(), form="svg")
    draw(Network.build(2, [0], [1], 10**9, 1, [0, 0], ["a", "b"]), io.BytesIO(), form="svg")
    with pytest.raises(SuanwangError, match="2,000,000,000 tiers are too many"):
        sketch_network(star(2 * 10**9), "x")
