"""A start where room at endpoints is sold: prices of links from a sample, the endpoints' from an auction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from suanwang.steering.answer import Budget
from suanwang.steering.fast.auction import Auction
from suanwang.steering.fast.descent import prices
from suanwang.steering.fast.exchange import LEAST_GAP, Exchanged
from suanwang.steering.fast.narrow import Narrow
from suanwang.steering.fast.parted import part
from suanwang.steering.fast.system import Blocks
from suanwang.steering.fast.table import drawn
from suanwang.steering.problem import Floats, Ints

BID = 6.0
"""What a bid adds to a price at least, as a share of the gap asked for and of what a unit is worth or costs."""

COARSE = 4.0
"""How many times that it is before links have prices."""

SAMPLE = 3000
"""Demands that tell prices of links."""

SMOOTH = 0.02
"""How smooth they are, as a share of what a unit is worth or costs."""

OVER = 0.01
"""By what share they may overload a link."""

NEAR = 0.8
"""Links that carry less than this share of their capacity as long as they cost nothing are taken to stay free."""

FAINT = 0.05
"""Prices less than this share are taken to be nothing."""


def opening(every: Narrow, taken: Floats, unit: float, budget: Budget, out_of_time: Callable[[], bool]) -> Exchanged:
    """Rates that fill no endpoint too much, and links hardly. `unit`: what a unit of rate is worth or costs, about."""
    rows, auction = every.rows, Auction(every, taken)
    link, bid = np.zeros(len(rows.capacity)), BID * max(budget.gap, LEAST_GAP) * unit / auction.mean_work
    rate, end = auction.sell(np.zeros(len(rows.paths)), COARSE * bid)
    load = rows.loads(rate + taken)[0]
    if (load > rows.capacity).any() and not out_of_time():
        near = np.flatnonzero(load > NEAR * rows.capacity)
        link[near] = _links(every, taken, end, near, unit, budget.seed, out_of_time)
    rate, end = auction.sell(every.of_paths(link), bid)
    return Exchanged(rate, link, end, np.inf)


def _links(
    every: Narrow, taken: Floats, end: Floats, near: Ints, unit: float, seed: int, out_of_time: Callable[[], bool]
) -> Floats:
    """Prices of the links `near` if endpoints keep theirs, as a sample of the demands has them."""
    rows, demands = every.rows, every.rows.problem.demands
    mine = np.flatnonzero(every.mine & rows.counted)
    few, rate = drawn(demands.rate[mine], SAMPLE, np.random.default_rng(seed))
    many, chosen = np.zeros(len(demands)), np.zeros(len(demands), bool)
    many[mine[few]], chosen[mine[few]] = rate / demands.rate[mine[few]], True
    numbers = np.flatnonzero(chosen[rows.demand])
    # Only rows that are worth most as long as links cost nothing.
    narrow = Narrow(rows.only(chosen[rows.demand]), chosen, every.worth[numbers], every.workers)
    numbers = numbers[narrow.at(np.zeros(len(rows.capacity)), end)[0]]
    keep = np.zeros(len(rows), bool)
    keep[numbers] = True
    parted = part(rows.only(keep), chosen, taken[numbers], every.workers)
    row = numbers[parted.row]
    table, nowhere = parted.table, np.full(len(row), -1)
    table = replace(
        table,
        value=every.worth[row] - end[rows.endpoint[row]] * demands.work[rows.demand[row]],
        rate=table.rate * many[parted.demand],
        capacity=np.maximum(rows.capacity - rows.loads(taken)[0], 1e-9 * rows.capacity),
        end=nowhere,
        room=np.zeros(0),
        blocks=Blocks.of(table.first, nowhere, 0),
    )
    link = prices(table.only(near), True, SMOOTH * unit, OVER, seed, out_of_time).link
    return np.where(link > FAINT * unit, link, 0.0)
