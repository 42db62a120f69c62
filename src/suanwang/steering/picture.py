"""A picture of an answer: the network, how full its links are, and the paths of one demand."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import IO, Any

import numpy as np

from suanwang.model.errors import SuanwangError
from suanwang.steering.answer import Answer
from suanwang.steering.layout import layout
from suanwang.steering.problem import BAD_PROBLEM, Bools, Floats, Ints

FORMS = ("png", "svg")
MOST_LABELS = 80
MOST_NODES = 20_000
INCHES = (11.0, 7.5)

MOST_BUSY = 30
"""Of how many nodes the names are looked for where not all have room."""

COLOURS = ("#3b7dd8", "#35a8a0", "#7fbf4d", "#f2c230", "#ee7f2d", "#d7263d")
"""Of links from empty to full."""
OVERFULL = "#5a0a3c"
IDLE, DOWN, INK, PAPER = "#c9ced6", "#8a8f98", "#20242b", "#ffffff"
BROKEN, BACKUP = (0, (3, 2)), (0, (0.7, 0.5))
"""Dashes."""
PATHS = ("#8e24aa", "#00695c", "#c2185b", "#5d4037", "#283593", "#827717")
"""Of the paths of the demand that is shown."""
CHINESE = ("Noto Sans CJK SC", "Source Han Sans SC", "WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "SimHei")


def draw(answer: Answer, target: str | Path | IO[bytes], highlight: int | None = None, form: str | None = None) -> None:
    """Write the picture, the same bytes for the same answer. `highlight`: the demand whose paths are shown; `form`: png
    or svg, told by the name of a file unless given. Raises BAD_PROBLEM.
    """
    chosen = form or Path(str(target)).suffix.removeprefix(".").lower()
    if chosen not in FORMS:
        raise SuanwangError(BAD_PROBLEM, f"pictures are not written as {chosen or 'that'!r}", "name it .png or .svg")
    if len(answer.problem.network.nodes) > MOST_NODES:
        raise SuanwangError(BAD_PROBLEM, f"more than {MOST_NODES} nodes don't fit a picture", "draw a part of it")
    import matplotlib
    from matplotlib import font_manager
    from matplotlib.figure import Figure

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of letters that no font at hand has
        there = {font.name for font in font_manager.fontManager.ttflist}
        settings: dict[str, Any] = {
            "font.family": ["DejaVu Sans", *(name for name in CHINESE if name in there)],
            "svg.hashsalt": "suanwang",
            "svg.fonttype": "path",
        }
        with matplotlib.rc_context(settings):
            figure: Any = Figure(figsize=INCHES, dpi=130, facecolor=PAPER)
            axes = figure.add_axes((0.02, 0.045, 0.86, 0.86))
            _Picture(answer, axes, highlight).draw()
            metadata = {"Date": None} if chosen == "svg" else {"Software": "suanwang"}
            figure.savefig(target, format=chosen, metadata=metadata)


def short(value: float) -> str:
    """A number in few letters, with the prefixes k, M, G, T for powers of 1000."""
    for factor, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if factor <= abs(value) < 1000 * factor:
            return f"{value / factor:.4g}{prefix}"
    return f"{value:.4g}"


class _Picture:
    def __init__(self, answer: Answer, axes: Any, highlight: int | None) -> None:
        self.answer, self.axes, self.highlight = answer, axes, highlight
        self.problem, self.network = answer.problem, answer.problem.network
        self.place, self.map = layout(self.network)
        self.small = len(self.network.nodes) <= MOST_LABELS

    def draw(self) -> None:
        """All of it."""
        axes = self.axes
        axes.set_axis_off()
        low, high = self.place.min(axis=0), self.place.max(axis=0)
        margin = 0.06 * np.maximum(high - low, 1e-6)
        axes.set_xlim(low[0] - margin[0], high[0] + margin[0])
        axes.set_ylim(low[1] - margin[1], high[1] + margin[1])
        if self.map:
            # A degree of longitude is shorter by the cosine of the latitude.
            axes.set_aspect(1 / max(np.cos(np.radians((low[1] + high[1]) / 2)), 0.2), adjustable="box")
        self._links()
        self._nodes()
        if self.highlight is not None:
            self._paths(self.highlight)
        self._labels()
        self._key()
        self._title()

    def _lines(self, links: Ints) -> Floats:
        """(links, 2, 2) a line for each link, to the right of the way, so that both directions are seen."""
        begin, end = self.place[self.network.source[links]], self.place[self.network.target[links]]
        if not self.small:
            return np.stack([begin, end], axis=1)
        along = end - begin
        length = np.maximum(np.hypot(along[:, 0], along[:, 1]), 1e-9)[:, None]
        extent = float(np.ptp(self.place, axis=0).max()) or 1.0
        aside = 0.0032 * extent * np.stack([along[:, 1], -along[:, 0]], axis=1) / length
        return np.stack([begin + aside, end + aside], axis=1)

    def _links(self) -> None:
        from matplotlib.cm import ScalarMappable
        from matplotlib.collections import LineCollection
        from matplotlib.colors import LinearSegmentedColormap, Normalize

        used = self.answer.utilisation
        over = bool((used > 1 + 1e-6).any())
        scale = Normalize(0, 1)
        colours = LinearSegmentedColormap.from_list("utilisation", COLOURS).with_extremes(over=OVERFULL)
        failed = self.answer.failed if len(self.answer.failed) else np.zeros(len(used), bool)
        capacity = np.where(np.isfinite(self.network.capacity), self.network.capacity, 0.0)
        largest = max(float(capacity.max(initial=0.0)), 1e-30)
        thickness = (1.1 if self.small else 0.7) + (2.2 if self.small else 1.3) * np.sqrt(capacity / largest)
        groups = (
            (~failed & (self.answer.link_load <= 0), IDLE, "solid", 1),
            (~failed & (self.answer.link_load > 0), None, "solid", 2),
            (failed, DOWN, BROKEN, 2),
        )
        for chosen, colour, style, above in groups:
            # The fullest lie on top.
            links = np.flatnonzero(chosen)
            links = links[np.argsort(used[links], kind="stable")]
            if not len(links):
                continue
            # What is full but for rounding is not overfull.
            shown = np.where((used[links] > 1) & (used[links] <= 1 + 1e-6), 1.0, np.minimum(used[links], 2.0))
            self.axes.add_collection(
                LineCollection(
                    list(self._lines(links)),
                    colors=[colour] if colour else colours(scale(shown)),
                    linewidths=thickness[links],
                    linestyles=[style],
                    capstyle="round" if style == "solid" else "butt",
                    zorder=above,
                )
            )
        figure = self.axes.figure
        bar_axes = figure.add_axes((0.905, 0.2, 0.016, 0.55))
        bar = figure.colorbar(ScalarMappable(scale, colours), cax=bar_axes, extend="max" if over else "neither")
        bar.set_label("load of link / capacity", color=INK, fontsize=9)
        bar.ax.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        bar.ax.tick_params(labelsize=8, color=INK)
        bar.outline.set_visible(False)
        if over:
            most = "over 100%" if np.isinf(used.max()) else f"up to {used.max():.0%}"
            bar.ax.set_title(most, fontsize=8, color=OVERFULL, pad=8, loc="left")

    def _nodes(self) -> None:
        size = 34 if self.small else max(3.0, 2500 / len(self.place))
        serving = np.zeros(len(self.place), bool)
        serving[self.problem.endpoints.node[self._limited()]] = True
        for chosen, marker, more in ((~serving, "o", 1.0), (serving, "s", 1.6)):
            if chosen.any():
                self.axes.scatter(
                    *self.place[chosen].T, s=size * more, marker=marker, c=PAPER, edgecolors=INK,
                    linewidths=1.0 if self.small else 0.4, zorder=4,
                )  # fmt: skip

    def _paths(self, demand: int) -> None:
        rows = self.answer.allocation
        mine = np.flatnonzero((rows.demand == demand) & (rows.rate > 0))
        mine = mine[np.argsort(-rows.rate[mine], kind="stable")]
        shown, left = mine[: len(PATHS)], mine[len(PATHS) :]
        handles = []
        for number, (colour, row) in enumerate(zip(PATHS, shown.tolist(), strict=False)):
            path = int(rows.path[row])
            told = f"{short(rows.rate[row])} to {self.problem.endpoint_name(int(rows.endpoint[row]))}{self._delay(row)}"
            (handle,) = self.axes.plot([], [], color=colour, linewidth=3, label=told)
            handles.append(handle)
            # Halos below the links, whose own colours stay seen; where paths meet, each lies within the one before.
            width = 18.0 - 2.6 * number
            for links, style in ((rows.paths.main_of(path), "-"), (rows.paths.backup_of(path), BACKUP)):
                self.axes.plot(
                    *self._through(np.asarray(links, np.int64)), color=_paler(colour), linewidth=width,
                    zorder=0.5 + 0.05 * number, linestyle=style, solid_joinstyle="round", solid_capstyle="round",
                    dash_capstyle="butt",
                )  # fmt: skip
        if len(left):
            (rest,) = self.axes.plot([], [], color="none", label=f"… {len(left)} more, {short(rows.rate[left].sum())}")
            handles.append(rest)
        source = int(self.problem.demands.source[demand])
        ends = np.unique(self.problem.endpoints.node[rows.endpoint[mine]])
        self.axes.scatter(*self.place[source], s=110, c=INK, marker="o", zorder=5)
        if len(ends):
            self.axes.scatter(*self.place[ends].T, s=120, c=INK, marker="D", zorder=5)
        asked = short(self.problem.demands.rate[demand])
        title = f"{self.problem.demand_name(demand)}: {short(self.answer.served[demand])} of {asked}"
        self.axes.legend(
            handles=handles, loc=self._corner(), fontsize=8.5, frameon=True, framealpha=0.9, edgecolor=IDLE,
            title=title, title_fontsize=9, alignment="left", borderaxespad=0.2,
        )  # fmt: skip

    def _delay(self, row: int) -> str:
        """What a row of the allocation takes, if any latency is known."""
        rows = self.answer.allocation
        delay = self.network.latency_us[rows.paths.main_of(int(rows.path[row]))].sum()
        delay += self.problem.endpoints.delay_us[rows.endpoint[row]]
        return f", {delay / 1000:.3g} ms" if delay > 0 else ""

    def _corner(self) -> str:
        """The corner with the fewest nodes."""
        self.axes.apply_aspect()
        dots = self.axes.transAxes.inverted().transform(self.axes.transData.transform(self.place))
        right, upper = dots[:, 0] > 0.72, dots[:, 1] > 0.75
        left, lower = dots[:, 0] < 0.28, dots[:, 1] < 0.25
        corners = {"upper left": upper & left, "lower left": lower & left, "lower right": lower & right,
                   "upper right": upper & right}  # fmt: skip
        return min(corners, key=lambda name: int(corners[name].sum()))

    def _key(self) -> None:
        """What shapes and lines mean, those that are there."""
        from matplotlib.lines import Line2D

        dot: dict[str, Any] = {"linestyle": "none", "markerfacecolor": PAPER, "markeredgecolor": INK}
        marked = self.highlight is not None
        down = self.answer.failed if len(self.answer.failed) else np.zeros(len(self.network.source), bool)
        entries = [
            (self._limited().any(), Line2D([], [], marker="s", label="endpoint of limited capacity", **dot)),
            (marked, Line2D([], [], marker="o", label="source", **{**dot, "markerfacecolor": INK})),
            (marked, Line2D([], [], marker="D", label="chosen endpoint", **{**dot, "markerfacecolor": INK})),
            (self._backed(), Line2D([], [], color=INK, alpha=0.5, linewidth=5, linestyle=BACKUP, label="backup")),
            (
                ((self.answer.link_load <= 0) & ~down).any(),
                Line2D([], [], color=IDLE, linewidth=2.5, label="idle link"),
            ),
            (down.any(), Line2D([], [], color=DOWN, linewidth=2.5, linestyle=BROKEN, label="link down")),
        ]
        handles = [handle for there, handle in entries if there]
        if handles:
            self.axes.figure.legend(
                handles=handles, loc="lower left", bbox_to_anchor=(0.02, 0.005), ncols=len(handles), fontsize=8,
                frameon=False, labelcolor=INK, borderaxespad=0.2,
            )  # fmt: skip

    def _limited(self) -> Bools:
        """(E,) which endpoints have a capacity."""
        return np.isfinite(self.problem.endpoints.capacity)

    def _backed(self) -> bool:
        """Whether a path that is shown has a backup."""
        rows = self.answer.allocation
        mine = rows.path[rows.demand == self.highlight] if self.highlight is not None else np.zeros(0, np.int64)
        return bool((np.diff(rows.paths.first)[mine] > rows.paths.main[mine]).any())

    def _through(self, links: Ints) -> Floats:
        """(2, points) the way along links, one after the other."""
        if not len(links):
            return np.zeros((2, 0))
        nodes = np.append(self.network.source[links], self.network.target[links[-1]])
        return np.asarray(self.place[nodes].T)

    def _labels(self) -> None:
        """Names beside nodes, each where it covers no other name, node or, if it can be, link."""
        from matplotlib.transforms import Bbox

        carried = np.bincount(self.network.source, self.answer.link_load, len(self.place))
        carried += np.bincount(self.network.target, self.answer.link_load, len(self.place))
        wanted = np.argsort(-carried, kind="stable")[: MOST_LABELS if self.small else MOST_BUSY].tolist()
        if self.highlight is not None:
            rows = self.answer.allocation
            ends = self.problem.endpoints.node[rows.endpoint[rows.demand == self.highlight]]
            first = [int(self.problem.demands.source[self.highlight]), *np.unique(ends).tolist()]
            wanted = list(dict.fromkeys([*first, *wanted]))
        self.axes.apply_aspect()
        dots = self.axes.transData.transform(self.place)
        points = self.axes.figure.dpi / 72
        height = (8.5 if self.small else 7.5) * points
        middle = self._middles(dots)
        taken: list[tuple[float, float, float, float]] = []
        gap = 6 * points
        frame = self.axes.figure.transFigure.transform_bbox(Bbox([[0.005, 0.04], [0.9, 0.91]]))
        for node in wanted:
            name = self.network.nodes[node]
            name = name if len(name) <= 24 else f"{name[:23]}…"
            width = sum(1.0 if ord(letter) > 0x2E80 else 0.6 for letter in name) * height
            x, y = dots[node]
            # Right, left, above, below, and the corners: (left edge, lower edge).
            spots = [(x + gap, y - height / 2), (x - gap - width, y - height / 2), (x - width / 2, y + gap),
                     (x - width / 2, y - gap - height), (x + gap * 0.7, y + gap * 0.5),
                     (x + gap * 0.7, y - gap - height),
                     (x - gap - width, y + gap * 0.5), (x - gap - width, y - gap - height)]  # fmt: skip
            best = None
            for left, low in spots:
                box = (left, low, left + width, low + height)
                if not (frame.x0 <= left and left + width <= frame.x1 and frame.y0 <= low and low + height <= frame.y1):
                    continue
                if any(_overlap(box, other) for other in taken) or _inside(box, np.delete(dots, node, 0), 3 * points):
                    continue
                crossed = int(_count_inside(box, middle))
                if best is None or crossed < best[0]:
                    best = (crossed, box)
            if best is None:
                continue  # better no name than two that nobody can read
            box = best[1]
            taken.append(box)
            at = self.axes.transData.inverted().transform((box[0], box[1] + height * 0.12))
            self.axes.text(
                *at, name, fontsize=8.5 if self.small else 7.5, color=INK, va="baseline", ha="left", zorder=6,
                bbox={"facecolor": PAPER, "alpha": 0.6, "edgecolor": "none", "pad": 0.6},
            )  # fmt: skip

    def _middles(self, dots: Floats) -> Floats:
        """Points along links, to see what a name would cover."""
        begin, end = dots[self.network.source], dots[self.network.target]
        parts = np.linspace(0.08, 0.92, 12)
        spread = begin[:, None, :] + (end - begin)[:, None, :] * parts[None, :, None]
        return np.asarray(spread.reshape(-1, 2))

    def _title(self) -> None:
        answer = self.answer
        gap = f"within {answer.gap:.2%} of the best" if np.isfinite(answer.gap) else "no bound"
        served, asked = answer.served.sum(), self.problem.demands.rate.sum()
        self.axes.figure.text(
            0.03, 0.955, f"{self.problem.aim}: {short(answer.value)}", fontsize=14, color=INK, weight="bold"
        )
        told = (
            f"{answer.method}, {gap};  served {short(served)} of {short(asked)}"
            f"  ({100 * served / asked if asked else 100:.4g} %);"
            f"  {len(self.network.nodes)} nodes, {len(self.network.source)} links"
        )
        if answer.failed.any():
            told += f", {int(answer.failed.sum())} down"
        self.axes.figure.text(0.03, 0.925, told, fontsize=9.5, color=DOWN)


def _paler(colour: str) -> tuple[float, ...]:
    """The colour half way to paper."""
    return tuple(0.45 * int(colour[at : at + 2], 16) / 255 + 0.55 for at in (1, 3, 5))


def _overlap(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _count_inside(box: tuple[float, ...], points: Floats, margin: float = 0.0) -> int:
    x, y = points[:, 0], points[:, 1]
    inside = (x > box[0] - margin) & (x < box[2] + margin) & (y > box[1] - margin) & (y < box[3] + margin)
    return int(inside.sum())


def _inside(box: tuple[float, ...], points: Floats, margin: float) -> bool:
    return _count_inside(box, points, margin) > 0
