"""What a picture of a network without coordinates shows, by tiers and planes; and of a dragonfly, by groups."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from suanwang.fabric.clos import TIER_NAMES
from suanwang.fabric.dragonfly import Dragonfly
from suanwang.fabric.drawing.sketch import (
    BETWEEN_PLANES,
    ENDPOINTS,
    MOST_FORCED,
    SLOTS,
    Bools,
    Facts,
    Floats,
    Mark,
    Panel,
    Sketch,
    Stroke,
    count_text,
    delay_text,
    few,
    ratio_text,
    short_rate,
    slots_of,
    spread,
)  # fmt: skip
from suanwang.fabric.network import Network
from suanwang.model.errors import INVALID, SuanwangError

MOST_ROWS = 12


def sketch_network(network: Network, name: str, failed: Bools | None = None, load: Floats | None = None) -> Sketch:
    """What is shown of any network, by tiers and planes. `failed` and `load` are one entry a port.

    Raises:
        SuanwangError: INVALID above `MOST_ROWS` tiers.
    """
    return _NetworkSketch(network, name, failed, load).made


class _NetworkSketch:
    def __init__(self, network: Network, name: str, failed: Bools | None, load: Floats | None) -> None:
        self.network, self.failed, self.load = network, failed, load
        self.height = int(network.tier.max(initial=0))
        if self.height > MOST_ROWS:
            raise SuanwangError(
                INVALID, f"{self.height:,} tiers are too many for a picture", f"up to {MOST_ROWS} are drawn"
            )
        lowest = int(network.tier[network.endpoints :].min(initial=self.height))
        found = np.unique(network.plane[network.endpoints :]).tolist() or [0]
        shown = [found[index] for index in few(len(found), 4)]
        told = [
            count_text(network.endpoints, "endpoint"),
            count_text(network.switches, "switch", "switches"),
            count_text(network.ports // 2, "cable"),
        ]
        if len(found) > 1:
            told.append(count_text(len(found), "plane"))
        forced = self._forced()
        room = SLOTS // len(shown)
        numbers = {
            (plane, tier): self._shown(plane, tier, room, forced)
            for plane in shown
            for tier in range(1, self.height + 1)
        }
        plane_width = max([1.0, *(slots_of(self._ranks(*key, nodes)) for key, nodes in numbers.items())])
        width = plane_width * len(shown) + BETWEEN_PLANES * (len(shown) - 1)
        self.made = Sketch(name, "  ·  ".join(told), self._facts(), width, planes=len(found))
        self.at: dict[int, int] = {}
        self._endpoints([node for plane in shown for node in numbers.get((plane, lowest), ())], width, forced)
        for index, plane in enumerate(shown):
            left = index * (plane_width + BETWEEN_PLANES)
            if len(found) > 1:
                self.made.panels.append(
                    Panel(1, self.height, left, left + plane_width, f"plane {plane}", "plane", plane)
                )
            for tier in range(1, self.height + 1):
                nodes = numbers[plane, tier]
                places, dots = spread(self._ranks(plane, tier, nodes), left, left + plane_width)
                self.made.dots += [(tier, dot) for dot in dots]
                for node, x in zip(nodes, places, strict=True):
                    self._mark(node, tier, x, plane)
        self._strokes()
        if failed is not None:
            self.made.failed = int((failed | failed[network.peer]).sum()) // 2

    def _members(self, plane: int, tier: int) -> NDArray[np.int64]:
        of_plane = self.network.plane == plane
        return np.flatnonzero((self.network.tier == tier) & of_plane)

    def _ranks(self, plane: int, tier: int, nodes: Sequence[int]) -> list[int]:
        """Numbers of nodes within their tier and plane: where they are not next to each other, dots stand."""
        return [int(rank) for rank in np.searchsorted(self._members(plane, tier), np.asarray(nodes, np.int64))]

    def _shown(self, plane: int, tier: int, room: int, forced: set[int]) -> list[int]:
        members = self._members(plane, tier)
        chosen = few(
            len(members),
            room if len(members) <= room else room * 2 // 3,
            [index for index, node in enumerate(members.tolist()) if node in forced],
        )
        return [int(members[index]) for index in chosen]

    def _forced(self) -> set[int]:
        """Nodes at the ends of failed links."""
        if self.failed is None:
            return set()
        ports = np.flatnonzero(self.failed)[: 2 * MOST_FORCED]
        return {*self.network.source[ports].tolist(), *self.network.target[ports].tolist()}

    def _endpoints(self, leaves: list[int], width: float, forced: set[int]) -> None:
        """The lowest row: a few endpoints of each shown switch next to them."""
        network = self.network
        below: dict[int, None] = {}
        each = max(2, ENDPOINTS // max(len(leaves), 1))
        for leaf in leaves:
            ends = network.target[int(network.first_port[leaf]) : int(network.first_port[leaf + 1])]
            mine = np.unique(ends[ends < network.endpoints])
            for index in few(len(mine), each, [at for at, node in enumerate(mine.tolist()) if node in forced]):
                if len(below) < 2 * ENDPOINTS:
                    below[int(mine[index])] = None
        nodes = sorted(below)
        places, dots = spread(nodes, 0.0, width, 0.8)
        self.made.dots += [(0, dot) for dot in dots]
        for node, x in zip(nodes, places, strict=True):
            self._mark(node, 0, x, -1)

    def _mark(self, node: int, row: int, x: float, plane: int) -> None:
        self.at[node] = len(self.made.marks)
        self.made.marks.append(Mark(row, x, short_name(self.network.names[node]), plane))

    def _strokes(self) -> None:
        """Cables between shown nodes, parallel ones as one."""
        network = self.network
        for node, mark in self.at.items():
            row = self.made.marks[mark].row
            ports = np.arange(int(network.first_port[node]), int(network.first_port[node + 1]))
            for other in np.unique(network.target[ports]).tolist():
                far = self.at.get(other)
                if far is None or (self.made.marks[far].row, other) < (row, node):
                    continue
                mine = ports[network.target[ports] == other]
                both = np.stack([mine, network.peer[mine]])
                broken = int(self.failed[both].any(axis=0).sum()) if self.failed is not None else 0
                load = float(self.load[both].max()) if self.load is not None else -1.0
                plane = max(self.made.marks[mark].plane, self.made.marks[far].plane)
                self.made.strokes.append(Stroke(mark, far, len(mine), broken, load, -1, plane))

    def _facts(self) -> list[Facts]:
        network = self.network
        low, high = network.tier[network.source], network.tier[network.target]
        made = []
        for tier in range(self.height + 1):
            nodes = int((network.tier == tier).sum())
            up = (low == tier) & (high > tier)
            down = (low == tier) & (high < tier)
            if tier == 0:
                made.append(Facts("Endpoints", (count_text(nodes, "endpoint"),)))
                continue
            lines = [count_text(nodes, "switch", "switches")]
            if up.any() and down.any():
                ratio = float(network.rate_bps[down].sum() / network.rate_bps[up].sum())
                lines.append(f"oversubscription {ratio_text(ratio)}")
            if (level := (low == tier) & (high == tier)).any():
                lines.append(f"{int(level.sum()) // 2:,} cables within the tier")
            title = TIER_NAMES[tier - 1] if tier <= len(TIER_NAMES) and self.height > 1 else f"tier {tier}"
            made.append(Facts(title.capitalize(), tuple(lines), self._classes(down)))
        return made

    def _classes(self, ports: Bools) -> tuple[str, ...]:
        """Cables by their rates, the most first."""
        rates, counts = np.unique(self.network.rate_bps[ports], return_counts=True)
        order = np.argsort(-counts, kind="stable").tolist()
        lines = [f"{counts[index]:,} × {short_rate(int(rates[index]))}" for index in order[:3]]
        if len(order) > 3:
            lines.append(f"and {len(order) - 3} more rates")
        latencies = np.unique(self.network.latency_ps[ports]).tolist()
        if latencies:
            span = delay_text(latencies[0]) + (f" to {delay_text(latencies[-1])}" if len(latencies) > 1 else "")
            lines.append(span)
        return tuple(lines)


def short_name(name: str) -> str:
    """What of a node's name fits a box: its number, if it ends with one."""
    digits = len(name) - len(name.rstrip("0123456789"))
    return name[-digits:] if 0 < digits <= 6 else (name if len(name) <= 6 else f"{name[:5]}…")


def sketch_dragonfly(fabric: Dragonfly, name: str) -> Sketch:
    """What is shown of a dragonfly: of few groups a few routers, and cables between groups as one."""
    told = [
        count_text(fabric.endpoints, "endpoint"),
        count_text(fabric.switches, "router"),
        f"{fabric.groups:,} groups of {fabric.routers:,}",
    ]
    if fabric.planes > 1:
        told.append(f"{fabric.planes} planes alike, of which one is shown")
    groups, routers = few(fabric.groups, 6), few(fabric.routers, 5)
    hosts = few(fabric.hosts, max(1, ENDPOINTS // (len(groups) * len(routers))))
    slots = slots_of(routers) + 0.6
    made = Sketch(name, "  ·  ".join(told), _dragonfly_facts(fabric), slots_of(groups) * slots)
    centres, dots = spread(groups, 0.0, made.width, slots)
    made.dots = [(row, dot) for dot in dots for row in (0, 1, 2)]
    tops: list[int] = []
    for group, centre in zip(groups, centres, strict=True):
        left, right = centre - slots / 2 + 0.15, centre + slots / 2 - 0.15
        made.panels.append(Panel(1, 1, left, right, "", "block"))
        tops.append(len(made.marks))
        made.marks.append(Mark(2, centre, f"{group}"))
        places, gaps = spread(routers, left + 0.1, right - 0.1)
        made.dots += [(1, gap) for gap in gaps]
        mine = []
        for router, x in zip(routers, places, strict=True):
            mine.append(len(made.marks))
            made.marks.append(Mark(1, x, str(router)))
            if fabric.global_used:
                made.strokes.append(Stroke(mine[-1], tops[-1], fabric.global_ports))
            under, _ = spread(hosts, x - 0.45, x + 0.45)
            for at in under:
                made.strokes.append(Stroke(len(made.marks), mine[-1], 1))
                made.marks.append(Mark(0, at, ""))
        made.strokes += [Stroke(a, b, 1) for number, a in enumerate(mine) for b in mine[number + 1 :]]
    made.strokes += [Stroke(a, b, fabric.bundle) for number, a in enumerate(tops) for b in tops[number + 1 :]]
    return made


def _dragonfly_facts(fabric: Dragonfly) -> list[Facts]:
    routers = fabric.groups * fabric.routers * fabric.planes
    local = routers * (fabric.routers - 1) // 2
    across = fabric.groups * (fabric.groups - 1) // 2 * fabric.bundle * fabric.planes
    return [
        Facts(
            "Endpoints",
            (count_text(fabric.endpoints, "endpoint"), f"{fabric.planes} × {short_rate(fabric.rate_bps)} each"),
        ),
        Facts(
            "Router",
            (count_text(routers, "router"), f"{fabric.hosts:,} down",
             f"{fabric.routers - 1:,} within the group",
             f"{fabric.global_ports:,} to other groups"),
            (f"{fabric.endpoints * fabric.planes:,} × {short_rate(fabric.rate_bps)}", delay_text(fabric.latency_ps)),
        ),
        Facts(
            "Group",
            (count_text(fabric.groups, "group"), f"{count_text(fabric.bundle, 'cable')} to each other",
             f"{local:,} × {short_rate(fabric.local_rate_bps)} within"),
            (f"{across:,} × {short_rate(fabric.global_rate_bps)}", delay_text(fabric.global_latency_ps)),
        ),
    ]  # fmt: skip
