"""Pictures of runs side by side: how completion times are distributed, and how full the network was."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from suanwang.fabric.drawing.picture import GREY, INK, PAPER, Target, page
from suanwang.fabric.drawing.sketch import Floats
from suanwang.model.errors import INVALID, SuanwangError

COLOURS = ("#3b7dd8", "#e08a2c", "#35a87f", "#d1495b", "#8a63c9", "#c29b1f", "#2ba4b8", "#c85a9e")
DASHES = ("solid", (0, (4, 1.6)))
MOST_RUNS = len(COLOURS) * len(DASHES)
MOST_POINTS = 2000
"""Of a curve: more can't be told apart."""
FAINT = "#e6e9ee"


def draw_distributions(
    runs: Mapping[str, Floats],
    target: Target,
    title: str = "Flow completion times",
    utilisation: Mapping[str, float] | None = None,
    form: str | None = None,
) -> None:
    """Write a picture of runs: the share of flows that are done by a time, with mean, 99th percentile and maximum.

    `runs` are completion times in microseconds by name; `utilisation` are shares (0 to 1) of some of them, as bars.

    Raises:
        SuanwangError: INVALID without runs, above `MOST_RUNS`, for a run without flows, for a form not png or svg.
    """
    if not 1 <= len(runs) <= MOST_RUNS:
        raise SuanwangError(INVALID, f"{len(runs)} runs in one picture", f"1 to {MOST_RUNS} can be told apart")
    for name, times in runs.items():
        if not len(times) or not np.isfinite(times).all() or np.min(times) < 0:
            raise SuanwangError(INVALID, f"run {name} has no flows, or times that are none", "draw finished runs only")
    height = max(4.6, 1.35 + 0.58 * len(runs))
    with page(target, form, (11.5, height)) as figure:
        figure.text(0.035, 1 - 0.34 / height, title, fontsize=15, color=INK, weight="bold", va="center")
        axes = figure.add_axes((0.075, 0.62 / height, 0.53, 1 - 1.45 / height))
        _curves(axes, runs)
        table = figure.add_axes((0.64, 0.62 / height, 0.34, 1 - 1.45 / height))
        _table(table, runs, utilisation or {})


def _style(number: int) -> dict[str, Any]:
    return {"color": COLOURS[number % len(COLOURS)], "linestyle": DASHES[number // len(COLOURS)]}


def _curves(axes: Any, runs: Mapping[str, Floats]) -> None:
    least = min(float(np.min(times)) for times in runs.values())
    most = max(float(np.max(times)) for times in runs.values())
    for number, times in enumerate(runs.values()):
        ordered = np.sort(np.asarray(times, np.float64))
        share = np.arange(1, len(ordered) + 1) / len(ordered)
        chosen = np.unique(np.linspace(0, len(ordered) - 1, min(len(ordered), MOST_POINTS)).round().astype(np.int64))
        x, y = np.append(ordered[0], ordered[chosen]), np.append(0.0, share[chosen])
        axes.plot(x, y, drawstyle="steps-post", linewidth=2, zorder=3, **_style(number))
        tail = int(np.searchsorted(share, 0.99))
        axes.plot(ordered[tail], share[tail], "o", markersize=5.5, color=COLOURS[number % len(COLOURS)],
                  markeredgecolor=PAPER, zorder=4)  # fmt: skip
    axes.set_ylim(0, 1.02)
    if least > 0 and most / least > 20:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,g}")
        axes.xaxis.set_minor_formatter(lambda value, _: "")
    else:
        axes.set_xlim(max(0.0, least - 0.04 * (most - least)), most + 0.03 * (most - least) + 1e-9)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,g}")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.grid(color=FAINT, linewidth=0.8, zorder=0)
    axes.set_axisbelow(True)
    axes.tick_params(which="both", colors=GREY, labelsize=9, length=0)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color("#b5bcc7")
    axes.set_xlabel("completion time in µs;  ● 99th percentile", color=GREY, fontsize=9.5)
    axes.set_title("share of flows that are done", color=GREY, fontsize=9.5, loc="left")


def _table(axes: Any, runs: Mapping[str, Floats], utilisation: Mapping[str, float]) -> None:
    """A row a run: name, times, and how full the network was."""
    axes.set_xlim(0, 1)
    axes.set_ylim(max(len(runs), 4), 0)
    axes.set_axis_off()
    columns = (("mean", 0.50), ("p99", 0.66), ("max", 0.82), *((("used", 1.0),) if utilisation else ()))
    for title, at in columns:
        axes.text(at, -0.12, title, fontsize=8.5, color=GREY, ha="right", va="bottom")
    for number, (name, times) in enumerate(runs.items()):
        y = number + 0.36
        axes.plot([0.0, 0.055], [y, y], linewidth=3, solid_capstyle="butt", clip_on=False, **_style(number))
        axes.text(
            0.075, y, name if len(name) <= 15 else f"{name[:14]}…", fontsize=9.5, color=INK, weight="bold", va="center"
        )
        values = (float(np.mean(times)), float(np.percentile(times, 99)), float(np.max(times)))
        for value, (_, at) in zip(values, columns, strict=False):
            axes.text(at, y, _number(value), fontsize=9.5, color=INK, ha="right", va="center")
        if name in utilisation:
            share = min(max(utilisation[name], 0.0), 1.0)
            axes.text(1.0, y, f"{utilisation[name]:.1%}", fontsize=9.5, color=INK, ha="right", va="center")
            axes.barh(y + 0.33, 0.925, 0.13, left=0.075, color=FAINT)
            axes.barh(y + 0.33, 0.925 * share, 0.13, left=0.075, color=COLOURS[number % len(COLOURS)])


def _number(value: float) -> str:
    """Three digits or more: `1,234`, `56.7`, `0.123`."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
