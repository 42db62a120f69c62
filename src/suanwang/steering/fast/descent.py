"""Prices for a table, from nothing: stages of falling smoothness, the early ones on a sample."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from suanwang.steering.fast.newton import Descent
from suanwang.steering.fast.table import Table
from suanwang.steering.problem import Floats

SAMPLE = 8
"""How many demands, for each price that is looked for, stand for all in early stages."""

STAGE = 0.2
"""By what smoothness is multiplied from one stage to the next, at least."""

FIRST = 0.3
"""The first stage's smoothness, as a share of the greatest worth."""

LAST = 1e-9
"""The last stage's, at least, as the same share: rounding hides what is below."""

LAST_SAMPLED = 1e-2
"""As a share of the greatest worth: below this smoothness the sample is too coarse to go on with."""

NEAR = 0.6
"""Utilisation from which on a link's price is looked for."""

OVER = 1.001
"""Utilisation above which a link that was taken to be far from its capacity is looked at after all."""

AHEAD = 0.7
"""How far to follow the line through the prices of two stages, on the way to the next."""


class Found(NamedTuple):
    """Prices of links (L,) and of endpoints that have a limit (E,)."""

    link: Floats
    end: Floats


def prices(
    table: Table,
    slack: bool,
    last: float,
    over: float,
    seed: int,
    out_of_time: Callable[[], bool],
    base: Floats | None = None,
) -> Found:
    """Prices at which the choices are nearly the best: smoothness comes down to `last`, in units of worth where demands
    may stay unserved, else as a share of the utilisation. `over`: by what share loads may exceed what they shall be;
    `base`: load that is there anyhow.
    """
    search = _Search(table, slack, out_of_time, base)
    unit = search.unit
    last = max(min(last, FIRST * unit) if slack else last * unit, LAST * unit)
    stages = max(1, int(np.ceil(np.log(last / (FIRST * unit)) / np.log(STAGE))))
    ladder = FIRST * unit * (last / (FIRST * unit)) ** (np.arange(stages + 1) / stages)
    sample = table.sample(500 + SAMPLE * len(search.price), np.random.default_rng(seed))
    for smooth in ladder.tolist():
        search.ahead(smooth)
        at_last = smooth == ladder[-1]
        coarse = smooth > LAST_SAMPLED * unit and not at_last
        search.settle(sample if coarse else table, smooth, over if at_last else np.inf)
        if out_of_time():
            break
    if search.latest is not table:
        search.settle(table, search.smooth, over)
    return Found(search.price[: search.split], search.price[search.split :])


class _Search:
    def __init__(self, table: Table, slack: bool, out_of_time: Callable[[], bool], base: Floats | None) -> None:
        self.slack, self.out_of_time = slack, out_of_time
        self.split = len(table.capacity)
        self.capacity = np.concatenate([table.capacity, table.room])
        self.base = np.zeros(len(self.capacity)) if base is None else base
        self.weight = np.full(len(self.capacity), table.rate.sum() / len(self.capacity))
        self.before: tuple[float, Floats] | None = None
        self.latest: Table | None = None
        self.smooth = self.level = 0.0
        if slack:
            self.unit = float(table.value.max(initial=0.0)) or 1.0
            self.price = FIRST * self.unit * self.weight / self.capacity
        else:
            self.price = 1.0 / (len(self.capacity) * self.capacity)
            # Where all are served without a link or an endpoint that counts, any unit will do.
            self.unit = float(table.rate @ _shortest(table, self.price)) / float(table.rate.sum()) or 1.0

    def ahead(self, smooth: float) -> None:
        """Go on along the line through the prices of the last two stages."""
        before, self.before = self.before, (self.smooth, self.price)
        if before is not None and before[0] > 0:
            slope = (self.price - before[1]) / (self.smooth - before[0])
            least = smooth / self.smooth * self.price
            self.price = np.maximum(self.price + AHEAD * slope * (smooth - self.smooth), least)
            if not self.slack:
                self.price = self.price / float(self.capacity @ self.price)

    def settle(self, table: Table, smooth: float, over: float) -> None:
        """Settle over the links that matter; more come in while they turn out to be too full."""
        if not self.smooth:
            links, ends, _ = table.at(self.price[: self.split], self.price[self.split :], smooth, self.slack)
            self.load = np.concatenate([links, ends]) + self.base
            self.level = 0.0 if self.slack else float(np.max(self.load / self.capacity))
        ceiling = self.capacity if self.slack else max(self.level, 1e-300) * self.capacity
        near = self.load > NEAR * ceiling
        near[self.split :] = True
        if near[: self.split].mean() > 0.5 or near.sum() < 2:
            near[:] = True
        while True:
            some = table if near.all() else table.only(np.flatnonzero(near[: self.split]))
            descent = Descent(some, self.slack, self.weight[near], self.base[near])
            descent.level = self.level
            start = self.price[near]
            start = start if self.slack else start / float(self.capacity[near] @ start)
            here = descent.settle(start, smooth, self.out_of_time, over)
            self.price = np.zeros(len(near))
            self.price[near] = here.price
            table.share[:], table.worth[:] = some.share, some.worth
            rate = some.share * table.of_rows(table.rate)
            self.load = np.concatenate(table.loads(rate)) + self.base
            self.smooth, self.level, self.latest = smooth, descent.level, table
            ceiling = self.capacity if self.slack else self.level * self.capacity
            new = ~near & (self.load > OVER * ceiling)
            # Others keep a small price, so that they may come in later.
            far = smooth * self.weight / np.maximum(ceiling - self.load, 0.1 * ceiling)
            self.price = np.where(near, self.price, far)
            if not new.any() or self.out_of_time():
                return
            near |= self.load > 0.8 * ceiling


def _shortest(table: Table, price: Floats) -> Floats:
    """(D,) the least price at which each demand can be served."""
    each = table.tree.sums(price[: len(table.capacity)])[table.node]
    at = table.end >= 0
    each = each + np.where(at, price[len(table.capacity) :][table.end] if at.any() else 0.0, 0.0)
    least = np.zeros(len(table))
    some = np.diff(table.first) > 0
    if some.any():
        least[some] = np.minimum.reduceat(each, table.first[:-1][some])
    return least
