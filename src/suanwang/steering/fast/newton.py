"""Prices by Newton's method on a smoothed dual.

The linear programme over rows has a dual in the prices y of links and endpoints alone: each demand does what is best
for it at these prices. Giving every choice (a row, or not being served) and every price a logarithmic barrier of weight
`smooth` makes that dual smooth, and strictly convex along what matters; its gradient is capacity minus load, its
Hessian says how loads answer to prices. A demand's own optimum has one unknown, found by a scalar search, so a million
rows leave a system in the few hundred links and endpoints that are near their capacity. `smooth` is brought down in
stages; what remains of it is the gap. This is path following by a dual barrier (Nesterov and Nemirovskii 1994, chapter
4; Renegar 2001, section 2.4) with the demands' variables eliminated exactly.

Three things make it quick where there are half a million demands. Early stages use a sample of the demands, drawn with
a chance in proportion to their rates. Of the others, Hessians take only those whose choice is open, drawn with a chance
in proportion to what they answer to prices. Links far from their capacity answer to no price but by their own barrier,
which is one division each.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from suanwang.steering.fast.table import Table
from suanwang.steering.problem import Floats

SETTLED = 0.01
"""A stage ends when Newton's decrement is below this share of smooth x rates."""

STUCK = 8
"""It also ends when so many steps together have gained less than that."""

MOST_STEPS = 100
"""Of a stage."""

SAMPLED = 500, 5
"""About how many demands tell how loads answer to prices: so many, and so many for each price that is looked for."""

RISE = 1.0
LEAP = 4.0
"""A price rises in one step by no more than its own height times RISE, or smoothness times LEAP: further away, choices
have changed, and the slope here says nothing.
"""

MOST_FALL = 2.0
"""By what power of e a price may fall in one step."""

DAMPING = 0.03
LEAST_DAMPING, MOST_DAMPING = 0.01, 1e6
"""All prices are held back as if this share of a link's load fell as its price doubles. A step that had to be shortened
to less than SHORT makes it stronger by MORE, one that was longer than LONG weaker.
"""
MORE = 4.0
SHORT, LONG = 0.4, 0.9


@dataclass(kw_only=True, eq=False)
class Point:
    """A point of the descent: prices, loads there, and the smoothed dual."""

    price: Floats
    load: Floats
    smoothed: float


class Descent:
    """The search for prices on one table. `slack`: demands may stay unserved; if not, the greatest utilisation is made
    least, prices are kept at a worth of 1 for all capacity, and `level` is that utilisation.
    """

    def __init__(self, table: Table, slack: bool, weight: Floats, base: Floats) -> None:
        self.table = table
        self.slack = slack
        self.capacity = np.concatenate([table.capacity, table.room])
        self.split = len(table.capacity)
        self.weight = weight
        self.base = base
        self.level = 0.0
        self.damping = DAMPING

    def at(self, price: Floats, smooth: float) -> Point:
        """Evaluate the dual."""
        links, ends, smoothed = self.table.at(price[: self.split], price[self.split :], smooth, self.slack)
        paid = float(self.capacity @ price) if self.slack else -float(self.base @ price)
        barrier = smooth * float(self.weight @ np.log(price))
        return Point(
            price=price,
            load=np.concatenate([links, ends]) + self.base,
            smoothed=paid + smoothed - barrier,
        )

    def step(self, here: Point, smooth: float) -> tuple[Floats, float]:
        """Newton's direction at the point that was last evaluated, and its decrement."""
        price = here.price
        wanted = smooth * self.weight / price
        # Primal-dual: the slack that there is, not the one that the price asks for, says how stiff the barrier is.
        slack = (1.0 if self.slack else self.level) * self.capacity - here.load
        slack = np.maximum(slack, np.minimum(wanted, 1e-2 * self.capacity))
        own = slack / price
        links = np.arange(len(price)) < self.split
        near = np.flatnonzero(links & (slack * smooth < 4 * price * np.maximum(here.load, 1e-3 * self.capacity)))
        place = np.full(self.split, -1)
        place[near] = np.arange(len(near))
        told = SAMPLED[0] + SAMPLED[1] * (len(near) + len(price) - self.split)
        curvature = self.table.curvature(smooth, self.slack, place, len(near), told)
        # What few demands tell of is told badly; after a step that went too far, all are held back by their loads.
        own = own + self.damping * here.load / np.maximum(price, LEAP * smooth)
        gradient = (self.capacity if self.slack else 0.0) - here.load - wanted
        few = curvature.solver(own[near], own[self.split :])

        def solve(right: Floats) -> Floats:
            answer = right / own
            answer[near], answer[self.split :] = few(right[near], right[self.split :])
            return answer

        direction = -solve(gradient)
        if not self.slack:
            # One equation more: all capacity stays worth 1. Its multiplier is the utilisation.
            cost = solve(self.capacity)
            self.level = float(self.capacity @ direction) / float(self.capacity @ cost)
            direction -= self.level * cost
        return direction, -float(gradient @ direction)

    def moved(self, price: Floats, change: Floats, smooth: float) -> Floats:
        """Prices after a change; one that falls stays above 0, by itself and not by holding all others back."""
        change = np.minimum(change, np.maximum(RISE * price, LEAP * smooth))
        price = np.where(change < 0, price * np.exp(np.maximum(change / price, -MOST_FALL)), price + change)
        return price if self.slack else price / float(self.capacity @ price)

    def settle(self, price: Floats, smooth: float, out_of_time: Callable[[], bool], over: float = np.inf) -> Point:
        """Prices that are best at this smoothness, nearly, and overload nothing by more than the share `over`."""
        here = self.at(price, smooth)
        latest = here
        if not self.slack and not self.level:
            self.level = float(np.max(here.load / self.capacity))
        scale = smooth * float(self.table.rate.sum() + self.weight.sum())
        past = [np.inf] * STUCK
        for _ in range(MOST_STEPS):
            direction, decrement = self.step(here, smooth)
            ceiling = self.capacity if self.slack else self.level * self.capacity
            fits = bool((here.load <= (1 + over) * ceiling).all())
            if (decrement < SETTLED * scale and fits) or decrement < 1e-6 * scale or out_of_time():
                break
            past.append(here.smoothed)
            if past[-1 - STUCK] - past[-1] < SETTLED * scale:
                break
            length = 1.0
            for _ in range(12):
                latest = there = self.at(self.moved(here.price, length * direction, smooth), smooth)
                gain = here.smoothed - there.smoothed
                if gain >= 1e-2 * length * decrement:
                    break
                # The least of the parabola through both values and the slope.
                length *= min(0.5, max(0.1, 0.5 * length * decrement / (length * decrement - gain)))
            else:
                break
            if length < SHORT:
                self.damping = min(MORE * self.damping, MOST_DAMPING)
            elif length > LONG:
                self.damping = max(self.damping / MORE, LEAST_DAMPING)
            here = there
        # What the table has chosen last is what it goes on with.
        return here if latest is here else self.at(here.price, smooth)
