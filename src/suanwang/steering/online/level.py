"""The common level of what is fullest, where all demands must be served: what their prices are worth 1 together at."""

from __future__ import annotations

import numpy as np

from suanwang.steering.online.kernels import LOAD, ROOM, STIFF, Y
from suanwang.steering.problem import Floats

TIGHT = 0.005
"""By what share above the level something is when its price has risen as high as the highest."""

WIDE = 1e30
"""The capacity of what has no end."""


class Level:
    """Where all are served: the utilisation at which the prices of what is fuller are worth 1 together."""

    def __init__(self, market: Floats, capacity: Floats) -> None:
        self.market, self.capacity = market, capacity
        self.open = np.flatnonzero((capacity > 0) & (capacity < WIDE))
        room = capacity[self.open]
        worth = float(room @ market[Y, self.open])
        if worth > 0:
            market[Y] /= worth
        self.value = max(float((market[LOAD, self.open] / room).max(initial=0.0)), 1e-12)
        peak = float((market[Y, self.open] * room).max(initial=0.0)) or 1.0
        market[STIFF, self.open] = peak / (TIGHT * self.value * room * room)
        self.settle()

    def unit(self, rates: float) -> float:
        """The mean price of a path."""
        return self.value / max(rates, 1e-300)

    def settle(self) -> None:
        """Newton's method on a convex, falling, piecewise linear function."""
        market, at = self.market, self.open
        if not len(at):
            return
        room, load = self.capacity[at], market[LOAD, at]
        stiff, fixed = market[STIFF, at] * room, market[Y, at] * room
        # From below, every step stays below.
        theta = float(((load + (fixed - 1.0) / stiff) / room).max())
        for _ in range(50):
            worth = fixed + stiff * (load - theta * room)
            some = worth > 0
            excess = float(worth[some].sum()) - 1.0
            slope = float((stiff * room)[some].sum())
            theta += excess / slope
            if abs(excess) < 1e-9:
                break
        self.value = theta
        market[ROOM, at] = theta * room
