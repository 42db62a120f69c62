"""What a picture of a Clos network shows: by coordinates, so that its size does not matter."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from suanwang.fabric.clos import TIER_NAMES, Clos
from suanwang.fabric.drawing.sketch import (
    BETWEEN_BLOCKS,
    BETWEEN_PLANES,
    ENDPOINTS,
    GAP,
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


def sketch_clos(clos: Clos, name: str, failed: Bools | None = None, load: Floats | None = None) -> Sketch:
    """What is shown of a Clos network. `failed` and `load` (0 to 1) are one entry a port of `clos.network()`."""
    return _ClosSketch(clos, name, failed, load).made


class _ClosSketch:
    def __init__(self, clos: Clos, name: str, failed: Bools | None, load: Floats | None) -> None:
        self.clos, self.failed, self.load = clos, failed, load
        height = clos.height
        self.by_rail = clos.rails > 1 and clos.joined > 1
        self.planes = few(clos.planes, 3 if clos.planes > 4 else 4)
        self.widths = [1.0] * (height + 2)
        self._choose()
        plane_width = self.widths[height + 1]
        gaps = sum(GAP for a, b in pairwise(self.planes) if b - a > 1)
        width = plane_width * len(self.planes) + BETWEEN_PLANES * (len(self.planes) - 1) + gaps
        self.made = Sketch(name, _told(clos), [*self._facts()], width, rails=clos.rails, planes=clos.planes)
        self.at: dict[tuple[int, int, int], int] = {}
        self._endpoints(width)
        left, before = 0.0, self.planes[0]
        for plane in self.planes:
            if plane - before > 1:
                self.made.dots += [(row, left - BETWEEN_PLANES / 2 + GAP / 2) for row in range(1, height + 1)]
                left += GAP
            if clos.planes > 1:
                self.made.panels.append(Panel(1, height, left, left + plane_width, f"plane {plane}", "plane", plane))
            self._trees(plane, left)
            left += plane_width + BETWEEN_PLANES
            before = plane
        if failed is not None:
            self.made.failed = int(failed.sum()) // 2

    # Which digits are shown

    def _choose(self) -> None:
        """Shown digits: `children[t]` of each level (level height + 1: trees), `parents[t]`, as many as have room."""
        clos, height = self.clos, self.clos.height
        forced = self._forced()
        room = SLOTS // len(self.planes)
        most_down = [0, 8] + [room] * height
        most_up = [0] + [room] * height
        while True:
            self.children = [[0], *(self._digits(level, most_down[level], forced) for level in range(1, height + 2))]
            self.parents = [[0]]
            for level, tier in enumerate(clos.tiers, 1):
                self.parents.append(few(tier.parents, most_up[level], forced[1][level]))
            self._own()
            self._measure()
            too_wide = self.widths[height + 1] > room
            levels = [
                (most_down[level], level, most_down) for level in range(2, height + 2) if len(self.children[level]) > 2
            ]
            levels += [
                (most_up[level], level, most_up) for level in range(1, height + 1) if len(self.parents[level]) > 2
            ]
            shrinkable = [one for one in levels if one[0] > 2]
            if not too_wide or not shrinkable:
                break
            shown = {id(most_down): self.children, id(most_up): self.parents}
            _, level, limits = max(shrinkable, key=lambda one: (len(shown[id(one[2])][one[1]]), -one[1]))
            limits[level] = min(limits[level], len(shown[id(limits)][level])) - 1
        while self._endpoint_count() > ENDPOINTS and most_down[1] > 1:
            most_down[1] -= 1
            self.children[1] = self._digits(1, most_down[1], forced)

    def _digits(self, level: int, most: int, forced: tuple[list[list[int]], list[list[int]]]) -> list[int]:
        """Shown children of a block of `level`; where rails part, whole groups of rails."""
        clos = self.clos
        count = clos.trees if level > clos.height else clos.tiers[level - 1].children
        if self.by_rail and level == clos.joined and count % clos.rails == 0:
            rails = few(clos.rails, 8 if most >= 8 else max(most, 2))
            groups = few(
                count // clos.rails, max(1, most // len(rails)), [one // clos.rails for one in forced[0][level]]
            )
            return sorted({group * clos.rails + rail for group in groups for rail in rails} | {*forced[0][level]})
        return few(count, most, forced[0][level])

    def _forced(self) -> tuple[list[list[int]], list[list[int]]]:
        """Digits of switches at the ends of failed links: children and parents of each level."""
        height = self.clos.height
        down: list[list[int]] = [[] for _ in range(height + 2)]
        up: list[list[int]] = [[] for _ in range(height + 2)]
        if self.failed is None:
            return down, up
        first = [self.clos.first(plane, tier) for plane in range(self.clos.planes) for tier in range(1, height + 1)]
        ports = _first_ports(self.clos)
        for port in np.flatnonzero(self.failed)[: 2 * MOST_FORCED].tolist():
            at = int(np.searchsorted(ports[0], port, "right")) - 1
            node = ports[1][at] + (port - ports[0][at]) // ports[2][at]
            if node < self.clos.endpoints:
                place, tier, number = int(self.clos.position(node)), 0, 0
                block = place
            else:
                index = int(np.searchsorted(first, node, "right")) - 1
                tier, number = index % height + 1, node - first[index]
                block, number = divmod(number, self.clos.alike(tier))
            for level in range(tier + 1, height + 2):
                count = self.clos.trees if level > height else self.clos.tiers[level - 1].children
                block, digit = divmod(block, count)
                down[level].append(digit)
            for level in range(1, tier + 1):
                digit = number // self.clos.alike(level - 1) % self.clos.tiers[level - 1].parents
                up[level].append(digit)
        return down, up

    def _own(self) -> None:
        """`own[t]`: of the switches of a block of level t, those shown."""
        self.own = [[0]]
        for level in range(1, self.clos.height + 1):
            alike = self.clos.alike(level - 1)
            self.own.append(sorted(y * alike + rest for y in self.parents[level] for rest in self.own[-1]))

    def _measure(self) -> None:
        """`widths[t]`: slots that a block of level t takes."""
        for level in range(1, self.clos.height + 2):
            inner = self._inner(level) if level > 1 else 0.0
            self.widths[level] = max(inner, slots_of(self.own[level]) if level <= self.clos.height else 0.0)

    def _inner(self, level: int) -> float:
        digits = self.children[level]
        gaps = sum(GAP for a, b in pairwise(digits) if b - a > 1)
        return len(digits) * self.widths[level - 1] + self._between(level) * (len(digits) - 1) + gaps

    def _between(self, level: int) -> float:
        return BETWEEN_BLOCKS if level > 2 else 0.0

    def _endpoint_count(self) -> int:
        found = 1
        for digits in self.children[1:]:
            found *= len(digits)
        return found

    # Where it stands

    def _trees(self, plane: int, left: float) -> None:
        self._children(plane, self.clos.height + 1, 0, left)

    def _children(self, plane: int, level: int, block: int, left: float) -> None:
        """Place the shown children of a block of `level` that begins at `left`."""
        count = self.clos.trees if level > self.clos.height else self.clos.tiers[level - 1].children
        at = left + (self.widths[level] - self._inner(level)) / 2
        before = self.children[level][0]
        for digit in self.children[level]:
            if digit - before > 1:
                self.made.dots += [(row, at + GAP / 2 - self._between(level) / 2) for row in range(1, level)]
                at += GAP
            self._block(plane, level - 1, block * count + digit, at)
            at += self.widths[level - 1] + self._between(level)
            before = digit

    def _block(self, plane: int, level: int, block: int, left: float) -> None:
        clos = self.clos
        right = left + self.widths[level]
        if 2 <= level < clos.height:
            self.made.panels.append(Panel(1, level, left, right, f"pod {block}", "block", plane))
        places, dots = spread(self.own[level], left, right)
        self.made.dots += [(level, dot) for dot in dots]
        rail = self._rail(level, block)
        for number, x in zip(self.own[level], places, strict=True):
            switch = block * clos.alike(level) + number
            self.at[plane, level, switch] = len(self.made.marks)
            self.made.marks.append(Mark(level, x, str(switch), plane, rail))
        if level > 1:
            self._children(plane, level, block, left)
        self._strokes(plane, level, block)

    def _rail(self, level: int, block: int) -> int:
        """The rail of a block's switches; -1 above where rails join."""
        if not self.by_rail or level >= self.clos.joined:
            return -1
        for upper in range(level + 1, self.clos.joined):
            block //= self.clos.tiers[upper - 1].children
        return block % self.clos.rails

    def _strokes(self, plane: int, level: int, block: int) -> None:
        """Cables from the shown switches of a block down to what is shown of its children."""
        clos, tier = self.clos, self.clos.tiers[level - 1]
        alike, below = clos.alike(level), clos.alike(level - 1)
        for number in self.own[level]:
            upper = block * alike + number
            for child in self.children[level]:
                lower = (block * tier.children + child) * below + number % below
                key = (plane, level - 1, lower) if level > 1 else (-1, 0, int(clos.endpoint(lower)))
                if key not in self.at:
                    continue
                mark = self.at[key]
                failed, load = self._state(plane, level, upper, child)
                self.made.strokes.append(
                    Stroke(
                        mark, self.at[plane, level, upper], tier.bundle, failed, load, self.made.marks[mark].rail, plane
                    )
                )

    def _state(self, plane: int, level: int, upper: int, child: int) -> tuple[int, float]:
        """How many cables of a pair failed, and how full the fullest is, either way."""
        if self.failed is None and self.load is None:
            return 0, -1.0
        clos, tier = self.clos, self.clos.tiers[level - 1]
        down = _port(clos, plane, level, upper) + child * tier.bundle
        alike, below = clos.alike(level), clos.alike(level - 1)
        block, digits = divmod(upper, alike)
        y, rest = divmod(digits, below)
        lower = (block * tier.children + child) * below + rest
        if level > 1:
            up = _port(clos, plane, level - 1, lower) + clos.down_ports(level - 1) + y * tier.bundle
        else:
            up = _port(clos, 0, 0, int(clos.endpoint(lower))) + (plane * tier.parents + y) * tier.bundle
        lanes = np.arange(tier.bundle)
        both = np.stack([down + lanes, up + lanes])
        failed = int(self.failed[both].any(axis=0).sum()) if self.failed is not None else 0
        return failed, float(self.load[both].max()) if self.load is not None else -1.0

    def _endpoints(self, width: float) -> None:
        """The lowest row: endpoints by their leaves, or, where each rail has its own, by servers."""
        clos = self.clos
        blocks = [0]
        first_level = clos.joined - 1 if self.by_rail else 0
        for level in range(clos.height + 1, first_level, -1):
            count = clos.trees if level > clos.height else clos.tiers[level - 1].children
            blocks = [block * count + digit for block in blocks for digit in self.children[level]]
        within = [0]
        for level in range(first_level, 0, -1):
            within = [
                inner * clos.tiers[level - 1].children + digit for inner in within for digit in self.children[level]
            ]
        below = clos.below(first_level)
        if self.by_rail:
            groups = sorted({block // clos.rails for block in blocks})
            rails = sorted({block % clos.rails for block in blocks})
            boxes = [
                [(group * clos.rails + rail) * below + server for rail in rails]
                for group in groups
                for server in within
            ]
        else:
            size = clos.tiers[0].children
            leaves = sorted({block // size for block in blocks})
            boxes = [[leaf * size + digit for digit in self.children[1]] for leaf in leaves]
        self._boxes(boxes, width)

    def _boxes(self, boxes: list[list[int]], width: float) -> None:
        """Place endpoints, by position, in boxes side by side, with dots where some are left out."""
        clos = self.clos
        step = clos.rails if self.by_rail else clos.tiers[0].children
        order = [int(clos.endpoint(box[0])) // step if self.by_rail else box[0] // step for box in boxes]
        room = [slots_of(list(map(self._rank, box))) + 0.6 for box in boxes]
        left_out = [later - former > 1 for former, later in pairwise(order)]
        unit = min(width / (sum(room) + GAP * sum(left_out)), 0.8)
        at = (width - unit * (sum(room) + GAP * sum(left_out))) / 2
        for index, (box, slots) in enumerate(zip(boxes, room, strict=True)):
            left, right = at + 0.3 * unit, at + (slots - 0.3) * unit
            places, dots = spread(list(map(self._rank, box)), left, right)
            self.made.dots += [(0, dot) for dot in dots]
            for position, x in zip(box, places, strict=True):
                endpoint = int(clos.endpoint(position))
                self.at[-1, 0, endpoint] = len(self.made.marks)
                rail = endpoint % clos.rails if clos.rails > 1 else -1
                self.made.marks.append(Mark(0, x, str(endpoint), -1, rail))
            text = f"server {int(clos.endpoint(box[0])) // clos.rails:,}" if self.by_rail else ""
            self.made.panels.append(Panel(0, 0, left, right, text, "server"))
            at += slots * unit
            if index < len(left_out) and left_out[index]:
                self.made.dots.append((0, at + GAP * unit / 2))
                at += GAP * unit

    def _rank(self, position: int) -> int:
        """The number of an endpoint within its box: its rail, or its place below its leaf."""
        if self.by_rail:
            return position // self.clos.below(self.clos.joined - 1) % self.clos.rails
        return position % self.clos.tiers[0].children

    def _facts(self) -> Iterator[Facts]:
        clos = self.clos
        ports = clos.planes * clos.up_ports(0)
        lines = [count_text(clos.endpoints, "endpoint")]
        if clos.rails > 1:
            lines.append(count_text(clos.rails, "rail"))
        lines.append(f"{ports} × {short_rate(clos.tiers[0].rate_bps)} each")
        yield Facts("Endpoints", tuple(lines))
        for level, tier in enumerate(clos.tiers, 1):
            count = clos.count(level)
            lines = [count_text(count * clos.planes, "switch", "switches")]
            if clos.planes > 1:
                lines.append(f"{count:,} a plane")
            up = clos.up_ports(level)
            lines.append(
                f"{clos.down_ports(level):,} down"
                + (f", {up:,} up" if up else "")
                + (f", {tier.spare} spare" if tier.spare else "")
            )
            cables = count * clos.down_ports(level) * clos.planes
            said = [
                f"{cables:,} × {short_rate(tier.rate_bps)}",
                f"{delay_text(tier.latency_ps)}" + (f", {tier.bundle} to a pair" if tier.bundle > 1 else ""),
            ]
            if level < clos.height:
                said_up = f"oversubscription {ratio_text(clos.oversubscription(level))}"
                lines.append(said_up)
            yield Facts(TIER_NAMES[level - 1].capitalize(), tuple(lines), tuple(said))


def _port(clos: Clos, plane: int, tier: int, number: int) -> int:
    """The first port of a node in `clos.network()`, by arithmetic."""
    of_endpoint = clos.planes * clos.up_ports(0)
    if tier == 0:
        return number * of_endpoint
    each = [clos.count(one) * (clos.down_ports(one) + clos.up_ports(one)) for one in range(1, clos.height + 1)]
    before = clos.endpoints * of_endpoint + plane * sum(each) + sum(each[: tier - 1])
    return before + number * (clos.down_ports(tier) + clos.up_ports(tier))


def _first_ports(clos: Clos) -> tuple[list[int], list[int], list[int]]:
    """For each run of nodes alike: its first port, its first node, and ports a node."""
    ports, nodes, each = [0], [0], [clos.planes * clos.up_ports(0)]
    for plane in range(clos.planes):
        for tier in range(1, clos.height + 1):
            ports.append(_port(clos, plane, tier, 0))
            nodes.append(clos.first(plane, tier))
            each.append(clos.down_ports(tier) + clos.up_ports(tier))
    return ports, nodes, each


def _told(clos: Clos) -> str:
    cables = clos.planes * sum(clos.count(level) * clos.down_ports(level) for level in range(1, clos.height + 1))
    parts = [
        count_text(clos.endpoints, "endpoint"),
        count_text(clos.switches, "switch", "switches"),
        count_text(cables, "cable"),
    ]
    if clos.planes > 1:
        parts.append(count_text(clos.planes, "plane"))
    if clos.rails > 1 and clos.joined > 1:
        kind = "rail-only" if clos.joined > clos.height else "rail-optimised"
        parts.append(f"{kind}, {clos.rails} rails")
    if clos.trees > 1:
        parts.append(f"{clos.trees:,} networks side by side")
    return "  ·  ".join(parts)
