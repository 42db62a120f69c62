"""What the fast solver works on: the rows of a problem in the order and form that its inner loops like."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np

from suanwang.steering.fast import kernels
from suanwang.steering.fast.system import Blocks, Curvature
from suanwang.steering.paths import tally
from suanwang.steering.problem import Floats, Ints
from suanwang.steering.tree import PARTS, Tree


@dataclass(frozen=True, kw_only=True, eq=False)
class Table:
    """D demands with N rows over L links and E endpoints that have a limit.

    Rows of demand i are `first[i]:first[i + 1]`; `node` (N,) where its path ends in the `tree`; `end` (N,) an
    endpoint, -1 for one without limit; `value` (N,) what a unit of rate is worth there; `rate`, `work` (D,);
    `capacity` (L,), `room` (E,). Demands of one source lie side by side, and so do the ranges in `parts`, which share
    no node but the root.
    """

    first: Ints
    node: Ints
    end: Ints
    value: Floats
    rate: Floats
    work: Floats
    tree: Tree
    capacity: Floats
    room: Floats
    parts: tuple[tuple[int, int], ...]
    blocks: Blocks
    workers: Executor | None = None
    share: Floats = field(init=False)
    worth: Floats = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "share", np.zeros(len(self.node)))
        object.__setattr__(self, "worth", np.zeros(len(self.rate)))

    def __len__(self) -> int:
        return len(self.rate)

    def side_by_side(self, work: Callable[[int, int, int], None], parts: tuple[tuple[int, int], ...]) -> None:
        """Have `work(part, low, high)` done for each range."""
        if self.workers is None:
            for number, (low, high) in enumerate(parts):
                work(number, low, high)
        else:
            list(self.workers.map(lambda one: work(one[0], *one[1]), enumerate(parts)))

    def at(self, link_price: Floats, end_price: Floats, smooth: float, slack: bool) -> tuple[Floats, Floats, float]:
        """All demands' choices at these prices: loads of links, of endpoints, and the sum of the smoothed optima."""
        price = self.tree.sums(link_price)
        flow = np.zeros(len(price))
        ends = np.zeros((PARTS, len(self.room)))
        sums = np.zeros(PARTS)

        def choose(part: int, low: int, high: int) -> None:
            kernels.choose(
                low, high, self.first, self.node, self.end, self.rate, self.work, self.value, price, end_price, smooth,
                slack, self.share, self.worth, flow, ends[part], sums[part : part + 1],
            )  # fmt: skip

        self.side_by_side(choose, self.parts)
        return self.tree.loads(flow, len(self.capacity)), ends.sum(axis=0), float(sums.sum())

    def exactly(self, value: Floats, link_price: Floats, end_price: Floats, slack: bool = True) -> float:
        """The sum over demands of rate times the best that a unit can do at these prices, with these values of rows."""
        net = value - self.tree.sums(link_price)[self.node]
        at = np.flatnonzero(self.end >= 0)
        net[at] -= end_price[self.end[at]] * self.of_rows(self.work)[at]
        best = np.maximum.reduceat(net, self.first[:-1])
        return float(self.rate @ (np.maximum(best, 0.0) if slack else best))

    def loads(self, rate: Floats) -> tuple[Floats, Floats]:
        """The loads of links and endpoints at these rates (N,) of rows."""
        at = np.flatnonzero(self.end >= 0)
        demand = self.demand_of[at] if len(at) else at
        links = self.tree.loads(tally(self.node, rate, len(self.tree)), len(self.capacity))
        return links, tally(self.end[at], rate[at] * self.work[demand], len(self.room))

    def of_rows(self, values: Floats) -> Floats:
        """(N,) for each row, what `values` (D,) says of its demand."""
        return np.repeat(values, np.diff(self.first))

    @property
    def demand_of(self) -> Ints:
        """(N,) the demand of each row."""
        return np.repeat(np.arange(len(self)), np.diff(self.first))

    def curvature(self, smooth: float, slack: bool, place: Ints, width: int, count: int) -> Curvature:
        """How loads fall as prices rise, at the choices of the last call of `at`: told by about `count` demands, those
        that answer most. `place` (L,): which of `width` links to look at.
        """
        answers = np.empty(len(self))

        def answer(_: int, low: int, high: int) -> None:
            kernels.answer(low, high, self.first, self.rate, self.share, self.worth, smooth, slack, answers)

        self.side_by_side(answer, self.parts)
        level = float(answers.sum()) / count
        links = np.zeros((2, width, width))
        crossed = np.zeros((2, width, len(self.room)))
        ends = np.zeros((2, len(self.room), self.blocks.size))

        def add(half: int, low: int, high: int) -> None:
            kernels.curve(
                low, high, self.first, self.node, self.end, self.rate, self.work, self.share, self.worth, smooth, slack,
                answers, level, self.tree.parent, self.tree.link, place, self.blocks.place, links[half], crossed[half],
                ends[half],
            )  # fmt: skip

        middle = self.parts[PARTS // 2][0]
        self.side_by_side(add, ((0, middle), (middle, len(self))))
        return Curvature(links[0] + links[1], crossed[0] + crossed[1], ends[0] + ends[1], self.blocks)

    def sample(self, count: int, random: np.random.Generator) -> Table:
        """About `count` demands that stand for all: each is drawn with a chance in proportion to its rate (at most 1),
        and its rate is divided by that chance. The table itself if it has no more.
        """
        which, rate = drawn(self.rate, count, random)
        return self.taken(which, rate) if len(which) < len(self) else self

    def only(self, near: Ints) -> Table:
        """The same demands over the links `near` only: others are taken to be free and wide."""
        place = np.full(len(self.capacity), -1, np.int32)
        place[near] = np.arange(len(near), dtype=np.int32)
        tree, now = self.tree.only(place)
        return replace(self, tree=tree, node=now[self.node], capacity=self.capacity[near])

    def taken(self, demands: Ints, rate: Floats) -> Table:
        """These demands only (in rising order), at these rates."""
        sizes = np.diff(self.first)[demands]
        first = np.concatenate(([0], np.cumsum(sizes)))
        rows = np.repeat(self.first[demands] - first[:-1], sizes) + np.arange(first[-1])
        used = np.zeros(len(self.tree), bool)
        used[self.node[rows]] = True
        tree, now = self.tree.only(np.arange(len(self.capacity), dtype=np.int32), used)
        cuts = np.searchsorted(demands, [low for low, _ in self.parts] + [len(self)])
        return replace(
            self,
            first=first,
            node=now[self.node[rows]],
            end=self.end[rows],
            value=self.value[rows],
            rate=rate,
            work=self.work[demands],
            tree=tree,
            parts=tuple(zip(cuts[:-1].tolist(), cuts[1:].tolist(), strict=True)),
        )


def drawn(rate: Floats, count: int, random: np.random.Generator) -> tuple[Ints, Floats]:
    """About `count` of the demands with these rates, in rising order, and rates at which they stand for all: each is
    drawn with a chance in proportion to its rate (at most 1), and its rate is divided by that chance.
    """
    if len(rate) <= count:
        return np.arange(len(rate)), rate
    level = rate.sum() / count
    for _ in range(20):
        sure = rate >= level
        level = rate[~sure].sum() / max(count - sure.sum(), 1)
    chance = np.minimum(rate / max(level, 1e-300), 1.0)
    # Systematic sampling: one draw, then every whole step of the added chances.
    marks = np.cumsum(chance)
    which = np.flatnonzero(np.diff(np.floor(np.concatenate(([0.0], marks)) + random.random())) > 0)
    return which, rate[which] / chance[which]


def parts_by_source(source: Ints, first: Ints) -> tuple[tuple[int, int], ...]:
    """Ranges of demands, of about the same number of rows, that split no source. `source` is sorted."""
    cuts = [0]
    for mark in np.linspace(0, first[-1], PARTS + 1)[1:-1]:
        at = int(np.searchsorted(first, mark))
        at = int(np.searchsorted(source, source[at], "left")) if at < len(source) else len(source)
        cuts.append(max(at, cuts[-1]))
    cuts.append(len(source))
    return tuple(pairwise(cuts))
