"""From prices that are nearly right to rates: demands move, one after the other, to what is worth most to them.

A resource's price rises with its load; after each round its multiplier takes over what the load has added. This is the
method of multipliers (Hestenes 1969; Powell 1969) with coordinate descent inside, on the kernels of `online`. It needs
a good start, which `descent` gives; then a few rounds leave next to nothing of the gap, also where few demands are as
great as what they choose between, so that smoothing says little about them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from suanwang.steering.fast.auction import Auction
from suanwang.steering.fast.narrow import Narrow, Restless
from suanwang.steering.online import filling
from suanwang.steering.online import kernels as market
from suanwang.steering.online.level import WIDE
from suanwang.steering.online.sides import BLOCK, CROWD, on_two_sides
from suanwang.steering.paths import tally
from suanwang.steering.problem import Bools, Floats, Ints
from suanwang.steering.rows import Rows

TIGHT = 0.2, 0.05
"""By what share a link is overfull when its price has risen by the worth of a unit; the second where demands have many
rows.
"""

LEAST = 1e-3
"""What a move must gain, as a share of the worth of a unit."""

SWEEPS = 60
"""How often the demands may move."""

ROUND = 2
"""How often they do before multipliers follow."""

PATIENCE = 12
"""Of so many sweeps, one must have made the gap less by a tenth."""

MANY = 6
"""Rows a demand from which on only those near the best are looked at when it moves."""

NEAR = 0.1
"""How near, as a share of a unit's worth."""

BID = 2.0
"""Where room at endpoints is sold in the end: what a bid adds to a price at least, as a share of the gap asked for and
of what a unit is worth or costs.
"""

LOWER = 0.5
"""By how many units' worth prices are lower when that begins than they have been."""

LEAST_GAP = 1e-4
"""Bids add what befits that gap at least: without any, two that bid the same go on for ever."""

EARLY = 0.85, 1.2
"""Rates are settled when the gap is that many times what was asked for: some of it is lost by that. The second where
room is sold, which gives better prices, too.
"""

WALL = 1e3
"""What is all taken costs so many times a unit's worth."""


class Exchanged(NamedTuple):
    """Rates (N,), prices of links (L,) and endpoints (E,), and a bound on what these rows are worth; infinity if
    none is known.
    """

    rate: Floats
    link: Floats
    end: Floats
    bound: float


def exchange(
    narrow: Narrow,
    start: Exchanged,
    taken: Floats,
    unit: float,
    missed: Callable[[float, float], float],
    gap: float,
    out_of_time: Callable[[], bool],
    auction: Auction | None = None,
) -> Exchanged:
    """Better rates than those of `start`, beside those `taken`, and better prices. `unit`: what a unit of rate is worth
    or costs, about; `missed(value, bound)`: what share is missing; it ends when that is below `gap`.
    `auction`: of these rows, if room at endpoints can be sold.
    """
    demands, links = narrow.rows.problem.demands, len(narrow.rows.capacity)
    trade, best = _Trade(narrow, start, taken, unit, auction), start
    least_left, tried, since = np.inf, np.inf, 0
    whole: Floats | None = None
    for again in range(SWEEPS):
        price = trade.price()
        found = narrow.restless(price[:links], price[links:], trade.need[:, 0], trade.flow, LEAST * unit)
        bound = float(demands.rate @ found.best) + float(trade.room[trade.limited] @ price[trade.limited])
        if bound < best.bound:
            best = Exchanged(start.rate, price[:links], price[links:], bound)
        left = missed(trade.earned(price), best.bound)
        if left < 0.9 * least_left:
            least_left, since = left, again
        last = again == SWEEPS - 1 or again - since > PATIENCE or out_of_time()
        if left < min(EARLY[auction is not None] * gap, 0.9 * tried) or last:
            tried = left
            if auction:
                new, sold = _sold(trade, auction, price, BID * max(gap, LEAST_GAP) * unit / auction.mean_work)
                best = sold if sold.bound < best.bound else best
            else:
                new = trade.settled()
            if whole is None or new @ narrow.worth > whole @ narrow.worth:
                whole = new
            if missed(float(whole @ narrow.worth), best.bound) < gap or last:
                break
        trade.sweep(found, price)
        if again % ROUND == ROUND - 1:
            trade.follow()
    assert whole is not None
    return best._replace(rate=whole + taken)


def _sold(trade: _Trade, auction: Auction, price: Floats, bid: float) -> tuple[Floats, Exchanged]:
    """Rates (N,) within all limits from those there are, and a bound with its prices: room is sold anew at these prices
    of links.
    """
    narrow, workers, links = trade.narrow, trade.narrow.workers, price[: trade.links]
    rate, of_paths = trade.flow[:, market.RATE].copy(), narrow.of_paths(links)

    def settle() -> Floats:
        return auction.settle(rate, of_paths, price[trade.links :], bid)

    settled = workers.submit(settle) if workers else None
    low = np.maximum(price[trade.links :] - LOWER * trade.unit / auction.mean_work, 0.0)
    _, end = auction.sell(of_paths, bid, low)
    whole = settled.result() if settled else settle()
    both = np.concatenate([links, end])
    bound = float(narrow.rows.problem.demands.rate @ narrow.at(links, end)[1])
    bound += float(trade.room[trade.limited] @ both[trade.limited])
    # Where there is no room at all, any price does.
    return whole, Exchanged(whole, links, np.where(auction.size > 0, end, price[trade.links :]), bound)


class _Trade:
    """What the kernels of `online` work on: see there for what stands in which column."""

    def __init__(self, narrow: Narrow, start: Exchanged, taken: Floats, unit: float, auction: Auction | None) -> None:
        rows = narrow.rows
        demands, ends = rows.problem.demands, rows.problem.endpoints
        self.narrow, self.rows, self.unit, self.links = narrow, rows, unit, len(rows.capacity)
        self.shared, self.sides = len(rows.capacity) + len(ends.node), np.arange(len(demands)) // BLOCK % 2 == 0
        if auction and 0.25 < auction.sides[narrow.mine].mean() < 0.75:
            self.shared, self.sides = self.links, auction.sides
        self.many = len(rows) >= MANY * len(demands)
        used = np.concatenate(rows.loads(taken))
        room = np.minimum(np.concatenate([rows.capacity, ends.free]), WIDE)
        self.room = np.where(room < WIDE, np.maximum(room - used, 0.0), WIDE)
        self.limited, self.shut = (self.room > 0) & (self.room < WIDE), (self.room <= 0) & (used > 0)
        self.state = np.zeros((7, len(room)))
        self.state[market.LOAD] = np.concatenate(rows.loads(start.rate))
        self.state[market.ROOM] = self.room
        self.state[market.Y] = np.where(self.limited, np.concatenate([start.link, start.end]), 0.0)
        self.state[market.STIFF, self.limited] = unit / (TIGHT[self.many] * self.room[self.limited])
        market.price_all(self.state)
        self.table = np.empty((len(rows), 4), np.int32)
        self.table[:, market.PATH], self.table[:, market.END] = rows.path, rows.endpoint + self.links
        self.table[:, market.OWNER], self.table[:, market.NEXT] = rows.demand, -1
        self.flow = np.stack([start.rate, narrow.worth], axis=1)
        most = np.where(demands.splittable, demands.most_paths, 1)
        self.own = np.stack([rows.first[:-1], rows.first[1:], most, np.zeros(len(demands), np.int64)], axis=1)
        self.need = np.stack([demands.rate - tally(rows.demand, taken, len(demands)), demands.work], axis=1)
        self.bars = _bars(rows)

    def price(self) -> Floats:
        """(L + E,) prices; what others have taken all of is dear, what is never full is free."""
        price = np.where(self.limited, self.state[market.PRICE], 0.0)
        price[self.shut] = WALL * self.unit
        return price

    def earned(self, price: Floats) -> float:
        """What the rates are worth, less what is too much of them."""
        over = np.maximum(self.state[market.LOAD] - self.room, 0.0)[self.limited]
        return float(self.flow[:, market.RATE] @ self.narrow.worth) - float(over @ price[self.limited])

    def sweep(self, found: Restless, price: Floats) -> None:
        """Those that are restless move: one after the other, or where they are many, those of two sides at a time, and
        then prices meet again; not where what one does may bar another.
        """
        if len(found.demands) < CROWD or len(self.bars[1]):
            self._visit(found.demands, self.state, found, price)
            return
        side = self.sides[found.demands]
        on_two_sides(
            self.state,
            np.flatnonzero(self.limited[: self.shared]),
            (found.demands[side], found.demands[~side]),
            lambda which, state: self._visit(which, state, found, price),
            self.narrow.workers,
        )

    def _visit(self, which: Ints, state: Floats, found: Restless, price: Floats) -> None:
        paths = self.rows.paths
        if len(self.bars[1]) or not self.many:
            market.visit_all(
                paths.first, paths.links, self.table, self.flow, state, self.own, self.need, *self.bars, which,
                len(which), 0.0, LEAST * self.unit,
            )  # fmt: skip
            return
        numbers, first = self.narrow.shortlist(which, found, price[self.links :], self.flow, NEAR * self.unit)
        flow, own = self.flow[numbers], self.own[which]
        own[:, market.FIRST], own[:, market.STOP] = first[:-1], first[1:]
        market.visit_all(
            paths.first, paths.links, self.table[numbers], flow, state, own, self.need[which], *self.bars,
            np.arange(len(which)), len(which), 0.0, LEAST * self.unit,
        )  # fmt: skip
        self.flow[numbers] = flow

    def follow(self) -> None:
        """Multipliers take over what loads have added to prices."""
        self.state[market.Y] = np.where(self.limited, self.state[market.PRICE], 0.0)
        market.price_all(self.state)

    def settled(self) -> Floats:
        """(N,) the rates, what is too much taken off and what has room filled."""
        rows, flow, state = self.rows, self.flow.copy(), self.state.copy()
        base = rows.paths.first, rows.paths.links, self.table, flow, state, self.own, self.need

        def owners(some: Bools) -> Ints:
            return np.flatnonzero(np.bincount(rows.demand[some], minlength=len(self.own)))

        filling.trim(*base, owners(flow[:, market.RATE] > 0))
        left = np.maximum(state[market.ROOM] * (1 - market.MARGIN) - state[market.LOAD], 0.0)
        lacking = self.need[:, 0] - tally(rows.demand, flow[:, market.RATE], len(self.own))
        open_ = (self.narrow.mine & (lacking > 1e-9 * self.need[:, 0]))[rows.demand]
        open_ &= (left[self.links :][rows.endpoint] > 0) | (self.need[:, 1] == 0)[rows.demand]
        which = owners(open_ & (rows.paths.least(left[: self.links])[rows.path] > 0))
        filling.fill(*base, *self.bars, which, len(which), 0.0)
        return flow[:, market.RATE].copy()


def _bars(rows: Rows) -> tuple[Ints, Ints]:
    """For each row, those that must not be used with it."""
    left, right = rows.conflicts
    if not len(left):
        return np.zeros(1, np.int64), np.zeros(0, np.int64)
    one, other = np.concatenate([left, right]), np.concatenate([right, left])
    order = np.argsort(one, kind="stable")
    return np.asarray(np.searchsorted(one[order], np.arange(len(rows) + 1))), other[order]
