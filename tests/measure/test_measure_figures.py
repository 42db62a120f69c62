"""Declared metrics: their names, their limits, their text, their page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from suanwang.measure.figures import Figures, NoFigures
from suanwang.measure.metrics import AGENT, CONTROLLER, Metric, markdown

COUNT = Metric("suanwang_test_events_total", "counter", "events", ("name", "state"), limit=2)
LEVEL = Metric("suanwang_test_level", "gauge", "a level")
SECONDS = Metric("suanwang_test_seconds", "histogram", "times", buckets=(0.1, 1.0))


@pytest.mark.parametrize("metric", [*AGENT, *CONTROLLER], ids=lambda metric: metric.name)
def test_names_follow_the_conventions(metric):
    program = "agent" if metric in AGENT else "controller"
    assert re.fullmatch(rf"suanwang_{program}(_[a-z]+)+", metric.name)
    assert metric.name.endswith("_total") == (metric.kind == "counter")
    assert bool(metric.buckets) == (metric.kind == "histogram")
    assert metric.meaning
    assert not ({"assertion", "tenant", "name"} & set(metric.labels)) or metric.limit


def test_names_are_declared_once():
    names = [metric.name for metric in (*AGENT, *CONTROLLER)]
    assert len(names) == len(set(names))


def test_what_is_recorded_is_in_the_text():
    figures = Figures([COUNT, LEVEL, SECONDS])
    figures.add(COUNT, name="a", state="x")
    figures.add(COUNT, 2, name="a", state="x")
    figures.set(LEVEL, 7)
    figures.observe(SECONDS, 0.5)
    text = figures.text().decode()
    assert 'suanwang_test_events_total{name="a",state="x"} 3.0' in text
    assert "suanwang_test_level 7.0" in text
    assert 'suanwang_test_seconds_bucket{le="1.0"} 1.0' in text
    assert 'suanwang_test_seconds_bucket{le="0.1"} 0.0' in text


def test_series_beyond_the_limit_are_left_out_until_others_go():
    figures = Figures([COUNT])
    for name in "abc":
        figures.add(COUNT, name=name, state="x")
    assert 'name="c"' not in figures.text().decode()
    figures.forget(COUNT, name="a")
    figures.add(COUNT, name="c", state="x")
    text = figures.text().decode()
    assert 'name="a"' not in text
    assert 'name="c"' in text


def test_nothing_is_kept_where_nothing_is_published():
    figures = NoFigures()
    figures.add(COUNT, name="a", state="x")
    figures.set(LEVEL, 7)
    figures.observe(SECONDS, 0.5)
    figures.forget(COUNT, name="a")


def test_the_agents_page_lists_its_metrics():
    page = (Path(__file__).parents[2] / "docs" / "rooms" / "agent.md").read_text(encoding="utf-8")
    listed = page.partition("<!-- metrics -->\n")[2].partition("<!-- end -->")[0]
    assert listed == markdown(AGENT)
