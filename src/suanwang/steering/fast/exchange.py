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

from suanwang.steering.fast.finishing import filled
from suanwang.steering.fast.narrow import Narrow
from suanwang.steering.online import kernels as market
from suanwang.steering.online.level import WIDE
from suanwang.steering.paths import tally
from suanwang.steering.problem import Floats, Ints
from suanwang.steering.rows import Rows

TIGHT = 0.2
"""By what share a link is overfull when its price has risen by the worth of a unit."""

LEAST = 1e-3
"""What a move must gain, as a share of the worth of a unit."""

SWEEPS = 60
"""How often the demands may move."""

ROUND = 2
"""How often they do before multipliers follow."""

PATIENCE = 12
"""Of so many sweeps, one must have made the gap less by a tenth."""

WALL = 1e3
"""What is all taken costs so many times a unit's worth."""


class Exchanged(NamedTuple):
    """Rates (N,), prices of links (L,) and endpoints (E,), and a bound on what these rows are worth."""

    rate: Floats
    link: Floats
    end: Floats
    bound: float


def exchange(
    narrow: Narrow,
    rate: Floats,
    taken: Floats,
    link: Floats,
    end: Floats,
    unit: float,
    missed: Callable[[float, float], float],
    gap: float,
    out_of_time: Callable[[], bool],
) -> Exchanged:
    """Better rates than `rate`, beside those `taken`, and better prices than `link` and `end`. `unit`: what a unit of
    rate is worth or costs, about; `missed(value, bound)`: what share is missing; it ends when that is below `gap`.
    """
    rows, mine = narrow.rows, narrow.mine
    demands, ends, links = rows.problem.demands, rows.problem.endpoints, len(rows.capacity)
    used = np.concatenate(rows.loads(taken))
    room = np.minimum(np.concatenate([rows.capacity, ends.free]), WIDE)
    room = np.where(room < WIDE, np.maximum(room - used, 0.0), WIDE)
    limited, shut = (room > 0) & (room < WIDE), (room <= 0) & (used > 0)
    state = np.zeros((7, len(room)))
    state[market.LOAD] = np.concatenate(rows.loads(rate))
    state[market.ROOM] = room
    state[market.Y] = np.where(limited, np.concatenate([link, end]), 0.0)
    state[market.STIFF, limited] = unit / (TIGHT * room[limited])
    table = np.stack([rows.path, rows.endpoint + links, rows.demand, np.full(len(rows), -1)], axis=1).astype(np.int32)
    flow = np.stack([rate, narrow.worth], axis=1)
    most = np.where(demands.splittable, demands.most_paths, 1)
    own = np.stack([rows.first[:-1], rows.first[1:], most, np.zeros(len(demands), np.int64)], axis=1)
    need = np.stack([demands.rate - tally(rows.demand, taken, len(demands)), demands.work], axis=1)
    bar_first, bars = _bars(rows)
    market.price_all(state)
    best = Exchanged(rate, link, end, np.inf)
    whole, least_left, tried, since = rate + taken, np.inf, np.inf, 0
    for again in range(SWEEPS):
        price = np.where(limited, state[market.PRICE], 0.0)
        price[shut] = WALL * unit
        which, exact = narrow.restless(price[:links], price[links:], need[:, 0], flow, LEAST * unit)
        bound = exact + float(room[limited] @ price[limited])
        if bound < best.bound:
            best = Exchanged(rate, price[:links], price[links:], bound)
        over = np.maximum(state[market.LOAD] - room, 0.0)[limited]
        about = float(flow[:, market.RATE] @ narrow.worth) - float(over @ price[limited])
        left = missed(about, best.bound)
        if left < 0.9 * least_left:
            least_left, since = left, again
        last = again == SWEEPS - 1 or again - since > PATIENCE or out_of_time()
        if left < min(gap, 0.9 * tried) or last:
            whole, tried = filled(rows, flow[:, market.RATE].copy(), taken, mine), left
            if missed(float((whole - taken) @ narrow.worth), best.bound) < gap or last:
                break
        market.visit_all(
            rows.paths.first, rows.paths.links, table, flow, state, own, need, bar_first, bars, which, len(which), 0.0,
            LEAST * unit,
        )  # fmt: skip
        if again % ROUND == ROUND - 1:
            state[market.Y] = np.where(limited, state[market.PRICE], 0.0)
            market.price_all(state)
    return best._replace(rate=whole)


def _bars(rows: Rows) -> tuple[Ints, Ints]:
    """For each row, those that must not be used with it."""
    left, right = rows.conflicts
    if not len(left):
        return np.zeros(1, np.int64), np.zeros(0, np.int64)
    one, other = np.concatenate([left, right]), np.concatenate([right, left])
    order = np.argsort(one, kind="stable")
    return np.asarray(np.searchsorted(one[order], np.arange(len(rows) + 1))), other[order]
