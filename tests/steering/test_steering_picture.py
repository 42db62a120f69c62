"""Pictures: the same bytes for the same answer, names that don't cover each other, and layouts without places."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations, pairwise
from typing import Any

import numpy as np
import pytest
from defusedxml.ElementTree import fromstring
from matplotlib.figure import Figure

from suanwang.model.errors import SuanwangError
from suanwang.steering.answer import Allocation, Answer
from suanwang.steering.building import Demand, Link, network, problem
from suanwang.steering.layout import layout
from suanwang.steering.paths import PathSet
from suanwang.steering.picture import MOST_BUSY, MOST_LABELS, OVERFULL, _Picture, draw, short
from suanwang.steering.problem import Disjoint, Limits, Network

PLACES = {"Ürümqi": (87.6, 43.8), "北京": (116.4, 39.9), "Wuhan": (114.3, 30.6), "Xi'an": (108.9, 34.3)}


def links(names: Sequence[str]) -> list[Link]:
    ring = [*pairwise(names), (names[-1], names[0])]
    return [Link(source=one, target=other, capacity=10) for pair in ring for one, other in (pair, pair[::-1])]


def answer(net: Network, **more: Any) -> Answer:
    """From the first node to the third, half of it on each side of the ring."""
    made = problem(net, [Demand(source=net.nodes[0], to=(net.nodes[2],), rate=30, limits=Limits(backup=Disjoint.LINK))])
    ways = [[0, 2], [len(net.source) - 1, *range(len(net.source) - 3, 4, -2)]]
    paths = PathSet.of(net, [(0, 2, way) for way in ways])
    allocation = Allocation(
        paths=paths,
        demand=np.zeros(2, np.int64),
        endpoint=np.full(2, 2),
        path=np.arange(2),
        rate=np.array([10.0, 5.0]),
    )
    return Answer(
        method="by hand", problem=made, allocation=allocation, value=15, bound=20, bound_over="any path", **more
    )


def drawn(made: Answer, form: str, highlight: int | None = 0) -> bytes:
    stream = io.BytesIO()
    draw(made, stream, highlight, form)
    return stream.getvalue()


def test_png_and_svg_are_the_same_each_time() -> None:
    made = answer(network(links(list(PLACES)), PLACES))
    png = drawn(made, "png")
    assert png.startswith(b"\x89PNG")
    assert png == drawn(made, "png")
    svg = drawn(made, "svg")
    assert svg == drawn(made, "svg")
    assert fromstring(svg).tag.endswith("svg")
    assert svg != drawn(made, "svg", None)


def test_failed_links_and_nodes_without_places() -> None:
    net = network(links([*PLACES, "nowhere"]), PLACES)
    failed = np.zeros(len(net.source), bool)
    failed[4] = True
    assert drawn(answer(net, failed=failed), "svg").count(b"stroke-dasharray") > 0


def test_what_is_overfull_has_a_colour_of_its_own() -> None:
    made = answer(network(links(list(PLACES)), PLACES))
    assert OVERFULL.encode() not in drawn(made, "svg", None)
    rows = replace(made.allocation, rate=made.allocation.rate * 1.5)
    assert OVERFULL.encode() in drawn(replace(made, allocation=rows), "svg", None)


def test_a_picture_of_many_nodes_names_those_that_carry_most() -> None:
    names = [f"n{number}" for number in range(MOST_LABELS + 40)]
    made = answer(network(links(names)))
    figure = Figure(figsize=(11, 7.5))
    _Picture(made, figure.add_axes((0, 0, 1, 1)), None).draw()
    shown = [text.get_text() for text in figure.axes[0].texts]
    assert {"n0", "n1", "n2"} <= set(shown)
    assert len(shown) <= MOST_BUSY


def test_names_cover_neither_each_other_nor_nodes() -> None:
    made = answer(network(links([f"city-{number}" for number in range(40)])))
    figure = Figure(figsize=(11, 7.5), dpi=130)
    picture = _Picture(made, figure.add_axes((0.02, 0.045, 0.86, 0.86)), None)
    picture.draw()
    figure.canvas.draw()
    boxes = [text.get_window_extent() for text in picture.axes.texts]
    dots = picture.axes.transData.transform(picture.place)
    assert len(boxes) > 30
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
    assert not any(box.contains(*dot) for box in boxes for dot in dots)


def test_what_can_not_be_written_is_refused(tmp_path: Any) -> None:
    made = answer(network(links(list(PLACES)), PLACES))
    with pytest.raises(SuanwangError) as caught:
        draw(made, tmp_path / "picture.gif")
    assert "gif" in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_known_places_are_kept_and_others_found_near_their_neighbours() -> None:
    place, on_map = layout(network(links([*PLACES, "nowhere"]), PLACES))
    assert on_map
    assert place[:4].tolist() == [list(spot) for spot in PLACES.values()]
    assert np.isfinite(place).all()


@pytest.mark.parametrize("count", [2, 3, 30])
def test_layouts_without_places(count: int) -> None:
    net = network(links([f"n{number}" for number in range(count)]))
    place, on_map = layout(net)
    assert not on_map
    assert (place == layout(net)[0]).all()
    assert np.isfinite(place).all()
    # No two nodes in one spot, and the whole picture used.
    apart = np.hypot(*(place[:, None] - place[None, :]).transpose(2, 0, 1)) + 9 * np.eye(count)
    assert apart.min() > 0.3 / count
    assert np.ptp(place, axis=0).max() == pytest.approx(2)


def test_nodes_of_one_place_stand_side_by_side() -> None:
    net = network(links(["a", "b", "c"]), dict.fromkeys("abc", (1.0, 1.0)) | {"c": (2.0, 2.0)})
    place, _ = layout(net)
    assert len({tuple(spot) for spot in place.tolist()}) == 3


def test_short_numbers() -> None:
    assert [short(value) for value in (0, 0.5, 999, 31534393000.0, 1e15)] == ["0", "0.5", "999", "31.53G", "1e+15"]
