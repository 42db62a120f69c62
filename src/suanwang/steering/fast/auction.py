"""Room at endpoints is sold by auction, where few demands fill an endpoint and smoothing says little about them.

Demands bid for room where it is worth most to them, up to what makes it worth no more to them than the next best; who
has bid less loses what is sold. With what each bid adds at least, rates and prices come as near to the best as one
likes. This is the auction algorithm for transportation problems (Bertsekas 1988; Bertsekas and Castañon 1989), with
amounts that can be split. Links have prices here, from elsewhere; what bids meet there is either no limit or all that
is left.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from suanwang.steering.fast import auction_kernels, kernels
from suanwang.steering.fast.narrow import Narrow
from suanwang.steering.paths import tally
from suanwang.steering.problem import Bools, Floats, Ints
from suanwang.steering.rows import Rows

MOST_BIDS = 100
"""Bids there may be, on average for each demand."""

FEW = 100
"""Demands for each endpoint that has a limit, at most: what more of them do together is smooth enough."""


def is_sold(rows: Rows, mine: Bools) -> bool:
    """Whether room at endpoints can be sold: what is bought may be any amount, of any number of rows; and few demands
    fill an endpoint.
    """
    demands, limited = rows.problem.demands, np.isfinite(rows.problem.endpoints.free)
    return bool(
        demands.splittable[mine].all()
        and not demands.most_paths[mine].any()
        and not len(rows.conflicts[0])
        and not rows.allowance.any()
        and mine.sum() <= FEW * limited.sum()
    )


@dataclass(frozen=True, eq=False)
class Auction:
    """An auction for the demands of a table of rows, beside those `taken` (N,)."""

    narrow: Narrow
    taken: Floats

    def sell(self, path_price: Floats, bid: float, low: Floats | None = None) -> tuple[Floats, Floats]:
        """Rates of rows (N,) and prices of endpoints (E,) when paths have these prices (P,) and any amount goes over
        them. A bid adds `bid` to the price of a unit of load, or more; by no more than that is it served worse than it
        could be, if there are bids enough (MOST_BIDS).
        """
        rate = np.zeros(len(self.narrow.rows))
        price = np.zeros(len(self.size)) if low is None else low.copy()
        self._assign(rate, path_price, price, None, bid)
        return rate, price

    def settle(self, rate: Floats, path_price: Floats, end: Floats, bid: float) -> Floats:
        """Rates (N,) within all limits, from the nearly good ones `rate` and nearly good prices of paths (P,) and
        endpoints (E,): what is too much on links goes; then room is sold, the links' too, first come, first served.
        """
        rows = self.narrow.rows
        used = rows.loads(self.taken)[0]
        space = np.maximum(rows.capacity - used, 0.0)
        load = rows.loads(rate)[0]
        share = np.divide(space, load, out=np.ones(len(load)), where=load > space)
        rate = rate * np.minimum(rows.paths.least(share)[rows.path], 1.0)
        left = space * (1 - auction_kernels.TINY) - rows.loads(rate)[0]
        self._assign(rate, path_price, end.copy(), left, bid)
        return rate

    def _assign(self, rate: Floats, path_price: Floats, price: Floats, left: Floats | None, bid: float) -> None:
        rows, demands = self.narrow.rows, self.narrow.rows.problem.demands
        held = bool(rate.any())
        missing, room = self.wanted.copy(), self.size.copy()
        if held:
            missing -= tally(rows.demand, rate, len(demands))
            room -= tally(rows.endpoint, rate * demands.work[rows.demand], len(room))
        price[self.size <= 0] = self.dearest
        count = np.zeros(len(room), np.int32)

        def sell(cuts: Ints) -> None:
            auction_kernels.assign_all(
                which, cuts, rows.first, rows.path, rows.endpoint, self.narrow.worth, path_price, demands.rate,
                demands.work, self.start, count, self.size, room, price, held, rate, missing, rows.paths.first,
                rows.paths.links, np.zeros(0) if left is None else left, bid, MOST_BIDS,
            )  # fmt: skip

        which, cuts = self.groups
        if left is not None or self.narrow.workers is None:
            sell(cuts)
        else:
            middle = self._middle
            list(self.narrow.workers.map(sell, (cuts[: middle + 1], cuts[middle:])))

    @cached_property
    def size(self) -> Floats:
        """(E,) what endpoints have room for."""
        free = self.narrow.rows.problem.endpoints.free
        return np.where(np.isfinite(free), np.maximum(free - self.narrow.rows.loads(self.taken)[1], 0.0), np.inf)

    @cached_property
    def wanted(self) -> Floats:
        """(D,) what demands want."""
        rows = self.narrow.rows
        demands = rows.problem.demands
        return np.where(self.narrow.mine, demands.rate - tally(rows.demand, self.taken, len(demands)), 0.0)

    @cached_property
    def mean_work(self) -> float:
        """What load a unit of rate brings, on average, where it brings any."""
        demands = self.narrow.rows.problem.demands
        some = self.narrow.mine & (demands.work > 0)
        return float(np.average(demands.work[some], weights=demands.rate[some])) if some.any() else 1.0

    @cached_property
    def dearest(self) -> float:
        """A price of endpoints that nobody pays."""
        work = self.narrow.rows.problem.demands.work
        return 2.0 * float(np.abs(self.narrow.worth).max(initial=0.0)) / float(work[work > 0].min(initial=np.inf)) + 1.0

    @cached_property
    def leader(self) -> Ints:
        """(E,) a number that endpoints between which demands choose, directly or by way of others, have in common."""
        leader = np.empty(len(self.size), np.int64)
        kernels.together(self.narrow.rows.first, self._limited, leader)
        return leader

    @cached_property
    def start(self) -> Ints:
        """(E,) where in an array as long as there are rows those of each endpoint may stand, a group's side by side."""
        ours = self._limited
        if not self.narrow.mine.all():
            ours = ours[self.narrow.mine[self.narrow.rows.demand]]
        count = np.bincount(ours[ours >= 0], minlength=len(self.size))
        order = np.argsort(self.leader, kind="stable")
        start = np.empty(len(order), np.int64)
        start[order] = np.cumsum(count[order]) - count[order]
        return start

    @cached_property
    def groups(self) -> tuple[Ints, Ints]:
        """The demands, those that bid for the same endpoints side by side; where each such group starts, and the last
        ends.
        """
        first, counted = self.narrow.rows.first, self.narrow.rows.counted
        group = np.zeros(len(counted), np.int64)
        # A demand whose endpoints have no limit belongs anywhere.
        one = np.maximum.reduceat(self._limited, first[:-1][counted])
        group[counted] = np.where(one >= 0, self.leader[one], 0)
        which = np.flatnonzero(self.narrow.mine & counted)
        which = which[np.argsort(group[which], kind="stable")]
        return which, np.concatenate(([0], np.flatnonzero(np.diff(group[which])) + 1, [len(which)]))

    @cached_property
    def sides(self) -> Bools:
        """(D,) demands in two parts that bid for different endpoints, of about the same size if groups are small."""
        which, cuts = self.groups
        sides = np.zeros(len(self.wanted), bool)
        sides[which[: cuts[self._middle]]] = True
        return sides

    @property
    def _middle(self) -> int:
        which, cuts = self.groups
        return int(np.searchsorted(cuts, len(which) // 2))

    @cached_property
    def _limited(self) -> Ints:
        """(N,) the endpoint of each row, -1 for one without limit."""
        endpoint = self.narrow.rows.endpoint
        return np.where(np.isfinite(self.size)[endpoint], endpoint, -1)
