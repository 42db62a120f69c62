"""Pictures of fabrics: tiers as rows, planes and rails in colour, failed and full links marked.

Always the same bytes for the same fabric. Made with matplotlib's Figure, without a display.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from suanwang.fabric.clos import Clos
from suanwang.fabric.dragonfly import Dragonfly
from suanwang.fabric.drawing.sketch import Bools, Floats, Panel, Sketch, Stroke
from suanwang.fabric.drawing.sketch_clos import sketch_clos
from suanwang.fabric.drawing.sketch_network import sketch_dragonfly, sketch_network
from suanwang.fabric.network import Network
from suanwang.model.errors import INVALID, SuanwangError

FORMS = ("png", "svg")
Target = str | Path | IO[bytes]

INK, GREY, SLATE, PAPER = "#20242b", "#6b7280", "#3d5a80", "#ffffff"
PLANES = ("#3b7dd8", "#e08a2c", "#35a87f", "#a25bc4")
RAILS = ("#3b7dd8", "#e08a2c", "#35a87f", "#d1495b", "#8a63c9", "#c29b1f", "#2ba4b8", "#c85a9e")
LOADS = ("#3b7dd8", "#35a8a0", "#7fbf4d", "#f2c230", "#ee7f2d", "#d7263d")
FAILED = "#d7263d"
FEW = 6
"""So many failed links are crossed out, however close they are."""
CHINESE = ("Noto Sans CJK SC", "Source Han Sans SC", "WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "SimHei")

WIDTH, NARROWEST, LEFT, RIGHT = 13.0, 8.0, 1.85, 1.7
HEAD, FOOT, PITCH = 0.95, 0.5, 1.5
SLOT = 0.95
"""Inches: the page, its margins, from row to row."""


def draw(
    fabric: Clos | Dragonfly | Network,
    target: Target,
    name: str = "fabric",
    failed: Bools | None = None,
    load: Floats | None = None,
    form: str | None = None,
) -> None:
    """Write a picture of a fabric.

    `failed` (bool) and `load` (share of the rate that is used) are one entry a port of the network. `form` is png or
    svg, told by the name of a file unless given. Raises INVALID for another form.
    """
    if isinstance(fabric, Clos):
        sketch = sketch_clos(fabric, name, failed, load)
    elif isinstance(fabric, Dragonfly) and failed is None and load is None:
        sketch = sketch_dragonfly(fabric, name)
    else:
        sketch = sketch_network(fabric.network() if isinstance(fabric, Dragonfly) else fabric, name, failed, load)
    marks, top = sketch.marks, len(sketch.rows) - 1
    arcs = any(marks[stroke.a].row == top == marks[stroke.b].row for stroke in sketch.strokes)
    across = min(WIDTH, max(LEFT + RIGHT + SLOT * sketch.width, NARROWEST))
    with page(target, form, (across, HEAD + FOOT + PITCH * (len(sketch.rows) - 0.45) + 0.3 * arcs)) as figure:
        _Picture(sketch, figure).draw()


@contextmanager
def page(target: Target, form: str | None, inches: tuple[float, float]) -> Iterator[Any]:
    """An empty figure that is written at the end. Raises INVALID for another form than `FORMS`."""
    chosen = form or Path(str(target)).suffix.removeprefix(".").lower()
    if chosen not in FORMS:
        raise SuanwangError(INVALID, f"pictures are not written as {chosen or 'that'!r}", "name it .png or .svg")
    import matplotlib
    from matplotlib import font_manager
    from matplotlib.figure import Figure

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of letters that no font at hand has
        there = {font.name for font in font_manager.fontManager.ttflist}
        settings: dict[str, Any] = {
            "font.family": ["DejaVu Sans", *(one for one in CHINESE if one in there)],
            "svg.hashsalt": "suanwang",
            "svg.fonttype": "path",
            "text.parse_math": False,  # names are not formulas
        }
        with matplotlib.rc_context(settings):
            figure: Any = Figure(figsize=inches, dpi=130, facecolor=PAPER)
            yield figure
            metadata = {"Date": None} if chosen == "svg" else {"Software": "suanwang"}
            figure.savefig(target, format=chosen, metadata=metadata)


class _Picture:
    def __init__(self, sketch: Sketch, figure: Any) -> None:
        self.sketch, self.figure = sketch, figure
        self.width, self.height = figure.get_size_inches()
        self.axes = figure.add_axes((0, 0, 1, 1))
        self.axes.set_xlim(0, self.width)
        self.axes.set_ylim(0, self.height)
        self.axes.set_axis_off()
        room = self.width - LEFT - RIGHT
        self.slot = min(room / sketch.width, SLOT)
        self.begin = LEFT + (room - self.slot * sketch.width) / 2
        self.railed = any(mark.rail >= 0 and mark.row for mark in sketch.marks)
        self.loaded = any(stroke.load >= 0 for stroke in sketch.strokes)
        self.box = (min(0.78 * self.slot, 0.62), 0.27)

    def draw(self) -> None:
        """All of it."""
        for panel in self.sketch.panels:
            self._panel(panel)
        self._strokes()
        self._marks()
        self._facts()
        self._head()
        self._key()

    def x(self, slots: float) -> float:
        """Inches from the left of a place in slots."""
        return float(self.begin + slots * self.slot)

    def y(self, row: float) -> float:
        """Inches from below of a row."""
        return float(FOOT + 0.3 + row * PITCH)

    def _panel(self, panel: Panel) -> None:
        from matplotlib.patches import FancyBboxPatch

        below = {"plane": 0.42 if len(self.sketch.rows) > 3 else 0.26, "block": 0.34, "server": 0.125}[panel.kind]
        above = {"plane": 0.36, "block": 0.22, "server": 0.125}[panel.kind]
        side = {"plane": 0.16, "block": 0.03, "server": 0.03}[panel.kind]
        low, high = self.y(panel.low) - below, self.y(panel.high) + above
        left, right = self.x(panel.left) - side, self.x(panel.right) + side
        colour = self._plane(panel.plane) if self.sketch.planes > 1 and panel.plane >= 0 else GREY
        alpha = {"plane": 0.06, "block": 0.07, "server": 0.0}[panel.kind]
        self.axes.add_patch(
            FancyBboxPatch(
                (left, low), right - left, high - low, boxstyle="round,pad=0,rounding_size=0.06",
                facecolor=(*_rgb(colour), alpha) if alpha else PAPER, edgecolor=(*_rgb(colour), 0.35), linewidth=0.8,
                zorder={"plane": 0.1, "block": 0.2, "server": 3}[panel.kind],
            )
        )  # fmt: skip
        if panel.text and panel.kind == "plane":
            self.axes.text(
                left + 0.08, high - 0.03, panel.text, fontsize=8.5, color=colour, weight="bold", va="top", zorder=6
            )
        elif panel.text and panel.kind == "block":
            self.axes.text(
                (left + right) / 2,
                low + 0.03,
                panel.text,
                fontsize=7,
                color=colour,
                va="bottom",
                ha="center",
                zorder=6,
                bbox={"facecolor": PAPER, "alpha": 0.75, "edgecolor": "none", "pad": 0.8},
            )
        elif panel.text and (right - left) > 0.45:
            self.axes.text(
                (left + right) / 2, low - 0.03, panel.text, fontsize=6.5, color=GREY, va="top", ha="center", zorder=6
            )

    def _strokes(self) -> None:
        from matplotlib.collections import LineCollection

        marks = self.sketch.marks
        many = len(self.sketch.strokes)
        wide = 1.3 if many < 60 else 0.9 if many < 300 else 0.6
        whole = [stroke for stroke in self.sketch.strokes if stroke.failed < stroke.cables]
        whole.sort(key=lambda stroke: stroke.load)
        broken = [stroke for stroke in self.sketch.strokes if stroke.failed]
        lines = [self._line(stroke) for stroke in whole]
        colours = [self._colour(stroke) for stroke in whole]
        widths = [
            (wide + (0.5 if marks[stroke.a].row and stroke.cables > 1 else 0)) * (1.6 if self.loaded else 1)
            for stroke in whole
        ]
        self.axes.add_collection(LineCollection(lines, colors=colours, linewidths=widths, capstyle="round", zorder=1))
        lines = [self._line(stroke) for stroke in broken]
        self.axes.add_collection(LineCollection(lines, colors=PAPER, linewidths=wide + 3, zorder=2))
        self.axes.add_collection(
            LineCollection(lines, colors=FAILED, linewidths=wide + 0.7, linestyles=[(0, (3, 1.8))], zorder=2.1)
        )
        marked = [line for line, stroke in zip(lines, broken, strict=True) if marks[stroke.a].row or len(broken) <= FEW]
        for line in marked:
            x, y = line[len(line) // 2] if len(line) > 2 else np.mean(line, axis=0)
            self.axes.plot(x, y, marker="X", markersize=8, color=FAILED, markeredgecolor=PAPER, zorder=5)

    def _line(self, stroke: Stroke) -> list[tuple[float, float]]:
        """The way of a stroke: straight between rows, an arc above a row."""
        low, high = self.sketch.marks[stroke.a], self.sketch.marks[stroke.b]
        if low.row != high.row:
            return [self._end(stroke.a, True), self._end(stroke.b, False)]
        (left, y), (right, _) = self._end(stroke.a, True), self._end(stroke.b, True)
        rise = min(0.16 + 0.075 * abs(right - left), 0.42 * PITCH)
        turn = [math.pi * step / 20 for step in range(21)]
        return [((left + right) / 2 + (left - right) / 2 * math.cos(at), y + rise * math.sin(at)) for at in turn]

    def _end(self, mark: int, upper: bool) -> tuple[float, float]:
        one = self.sketch.marks[mark]
        away = (0.06 if one.row == 0 else self.box[1] / 2) * (1 if upper else -1)
        return self.x(one.x), self.y(one.row) + away

    def _colour(self, stroke: Stroke) -> tuple[float, ...]:
        if self.loaded and stroke.load >= 0:
            return (*_rgb(_load_colour(stroke.load)), 0.95)
        many = len(self.sketch.strokes)
        alpha = 0.75 if many < 60 else 0.5 if many < 300 else 0.35
        if stroke.rail >= 0:
            return (*_rgb(RAILS[stroke.rail % len(RAILS)]), alpha)
        return (*_rgb(self._plane(stroke.plane) if self.sketch.planes > 1 else "#5f7fae"), alpha)

    def _plane(self, plane: int) -> str:
        """The colour of a plane; where rails have the colours, planes are alike."""
        return SLATE if self.railed else PLANES[plane % len(PLANES)]

    def _marks(self) -> None:
        from matplotlib.patches import FancyBboxPatch

        width, height = self.box
        longest = [0] * len(self.sketch.rows)
        for mark in self.sketch.marks:
            longest[mark.row] = max(longest[mark.row], len(mark.text), 2)
        for mark in self.sketch.marks:
            x, y = self.x(mark.x), self.y(mark.row)
            if mark.row == 0:
                colour = RAILS[mark.rail % len(RAILS)] if mark.rail >= 0 else "#4b5a70"
                self.axes.plot(x, y, marker="s", markersize=4.6, color=colour, markeredgewidth=0, zorder=4)
                continue
            colour = RAILS[mark.rail % len(RAILS)] if mark.rail >= 0 else (
                self._plane(mark.plane) if self.sketch.planes > 1 else SLATE)  # fmt: skip
            self.axes.add_patch(
                FancyBboxPatch(
                    (x - width / 2, y - height / 2), width, height, boxstyle="round,pad=0,rounding_size=0.045",
                    facecolor=colour, edgecolor=PAPER, linewidth=0.8, zorder=4,
                )
            )  # fmt: skip
            size = min(8.5, 72 * width / (0.72 * longest[mark.row]))
            if size >= 3.5:
                self.axes.text(
                    x, y - 0.005, mark.text, fontsize=size, color=PAPER, ha="center", va="center_baseline", zorder=5
                )
        for row, at in self.sketch.dots:
            apart = 0.055 if row else 0.035
            for step in (-1, 0, 1):
                self.axes.plot(
                    self.x(at) + step * apart,
                    self.y(row),
                    marker="o",
                    markersize=1.9 if row else 1.4,
                    color=GREY,
                    markeredgewidth=0,
                    zorder=4,
                )

    def _facts(self) -> None:
        for row, facts in enumerate(self.sketch.rows):
            y = self.y(row)
            self.axes.text(0.3, y + 0.17, facts.title, fontsize=11, color=INK, weight="bold", va="center")
            for number, line in enumerate(facts.lines):
                self.axes.text(0.3, y - 0.02 - 0.165 * number, line, fontsize=7.6, color=GREY, va="center")
            for number, line in enumerate(facts.cables):
                at = y - PITCH / 2 + 0.09 - 0.19 * number
                self.axes.text(
                    self.width - 0.3, at, line, fontsize=9 if number == 0 else 7.6, color=INK if number == 0 else GREY,
                    va="center", ha="right",
                )  # fmt: skip

    def _head(self) -> None:
        self.axes.text(0.3, self.height - 0.32, self.sketch.title, fontsize=15, color=INK, weight="bold", va="center")
        told = self.sketch.told + (f"  ·  {self.sketch.failed:,} failed" if self.sketch.failed else "")
        self.axes.text(0.3, self.height - 0.6, told, fontsize=9.5, color=GREY, va="center")

    def _key(self) -> None:
        from matplotlib.lines import Line2D

        handles = []
        if any(mark.rail >= 0 for mark in self.sketch.marks):
            shown = sorted({mark.rail for mark in self.sketch.marks if mark.rail >= 0})[: len(RAILS)]
            handles += [
                Line2D(
                    [],
                    [],
                    linestyle="none",
                    marker="s",
                    markersize=6,
                    color=RAILS[rail % len(RAILS)],
                    label=f"rail {rail}",
                )
                for rail in shown
            ]
        if any(stroke.failed for stroke in self.sketch.strokes):
            handles.append(Line2D([], [], color=FAILED, linestyle=(0, (3, 1.8)), linewidth=1.6, label="failed"))
        if self.loaded:
            handles += [
                Line2D([], [], color=colour, linewidth=3, label=f"{share:.0%}")
                for share, colour in zip((0.0, 0.2, 0.4, 0.6, 0.8, 1.0), LOADS, strict=True)
            ]
        if handles:
            self.figure.legend(
                handles=handles, loc="lower center", ncols=len(handles), fontsize=8, frameon=False, labelcolor=INK,
                handlelength=1.2, columnspacing=1.4, borderaxespad=0.4,
                title="share of the rate that is used" if self.loaded and len(handles) == len(LOADS) else None,
                title_fontsize=8,
            )  # fmt: skip


def _rgb(colour: str) -> tuple[float, float, float]:
    return int(colour[1:3], 16) / 255, int(colour[3:5], 16) / 255, int(colour[5:7], 16) / 255


def _load_colour(share: float) -> str:
    at = min(max(share, 0.0), 1.0) * (len(LOADS) - 1)
    low = min(int(at), len(LOADS) - 2)
    mixed = (a + (b - a) * (at - low) for a, b in zip(_rgb(LOADS[low]), _rgb(LOADS[low + 1]), strict=True))
    return "#" + "".join(f"{round(255 * part):02x}" for part in mixed)
