"""Many demands move on two sides at a time, each of which sees the loads that both had before."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor

import numpy as np

from suanwang.steering.online.kernels import LOAD, ROOM, STIFF, price_all
from suanwang.steering.problem import Floats, Ints

CROWD = 6000
"""So many demands make two sides."""

BLOCK = 64
"""Of so many demands in turn each side has, if nothing else parts them."""


def on_two_sides(
    market: Floats,
    shared: Ints,
    parts: tuple[Ints, Ints],
    visit: Callable[[Ints, Floats], None],
    workers: Executor | None,
) -> None:
    """Have `visit` move the demands of each part in a market of its own; then loads and prices (see `kernels`) are
    what both have done. `shared`: limited resources that both use: there each answers as if the other did the same,
    at prices that rise twice as fast.
    """
    before = market[LOAD].copy()
    markets = market.copy(), market.copy()
    for one in markets:
        one[STIFF, shared] *= 2.0
        one[ROOM, shared] = 0.5 * (one[ROOM, shared] + one[LOAD, shared])
    if workers is None:
        for part, one in zip(parts, markets, strict=True):
            visit(part, one)
    else:
        list(workers.map(visit, parts, markets))
    market[LOAD] = np.maximum(markets[0][LOAD] + markets[1][LOAD] - before, 0.0)
    price_all(market)
