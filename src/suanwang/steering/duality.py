"""Bounds from prices: whatever prices a solver names, these follow from them, by weak duality of linear programs.

A price y(l) >= 0 for each link and q(j) >= 0 for each endpoint. D(i), the least over all paths and endpoints of the
path's sum of y plus work(i) q(j), is what a unit of demand i pays at least. Loads within capacities pay no more than
C = sum c y + sum (c - load) q, so that for every allocation x: sum D(i) x(i) <= C. Each bound here is that inequality,
written for an aim (Bertsimas and Tsitsiklis, Introduction to Linear Optimization, 1997, theorem 4.3; for flows Garg
and Konemann, SIAM J. Comput. 37/2, 2007). Limits on latency, jitter, loss and availability, the number of paths and
disjointness are left out, which can only make a bound weaker.
"""

from __future__ import annotations

import numpy as np

from suanwang.steering.nearest import cheapest, pairs
from suanwang.steering.problem import Aim, Bools, Floats, Ints, Problem

SWEEPS = 2
MOST_TUNED = 50_000_000
"""How many (endpoint, pair of demand and endpoint) are looked at to tune prices; beyond that they stay as they are."""


def bound(problem: Problem, up: Bools, link: Floats, endpoint: Floats, counted: Bools, fixed: Floats) -> float:
    """What no allocation over the links that are `up` can pass, whichever paths it uses.

    `counted` (D,): the demands that `max-min`, `concurrent` and `min-mlu` are about; `fixed` (D,): rates of other
    demands that come before these and are kept.
    """
    free = problem.endpoints.free
    open_links = up & (problem.network.capacity > 0)
    y = np.where(open_links & np.isfinite(problem.network.capacity), link, 0.0)
    q = np.where(np.isfinite(problem.endpoints.capacity), endpoint, 0.0)
    worth = _times(problem.network.capacity, y) + _times(free, q)
    if problem.aim is Aim.TOTAL_FLOW:
        weight = problem.demands.weight
        least = _pay(problem, open_links, y, q)
        scale = _best_scale(worth, problem.demands.rate, weight, least)
        reached = np.isfinite(least)
        left = np.where(reached, np.maximum(0.0, weight - scale * np.where(reached, least, 0.0)), 0.0)
        return float(scale * worth + (problem.demands.rate * left).sum())
    if problem.aim in (Aim.MIN_COST, Aim.MIN_LATENCY):
        none = _least_cost(problem, open_links, 0 * y, 0 * q, 0.0)
        return max(none, _least_cost(problem, open_links, y, q, worth)) if worth > 0 else none
    # Prices of an empty network, by which shortest paths are those of the widest links: for a solver that was stopped
    # before its own said more.
    plain = np.where(open_links, _inverse(problem.network.capacity), 0.0), _inverse(free)
    bounds = [_shared(problem, open_links, one, other, counted, fixed) for one, other in ((y, q), plain)]
    return max(bounds) if problem.aim is Aim.MIN_MLU else min(bounds)


def _shared(problem: Problem, open_links: Bools, y: Floats, q: Floats, counted: Bools, fixed: Floats) -> float:
    """For aims about the worst-served demand or the fullest link."""
    worth = _times(problem.network.capacity, y) + _times(problem.endpoints.free, q)
    demand, weight = problem.demands.rate, problem.demands.weight
    least = _pay(problem, open_links, y, q)
    least = np.where(np.isfinite(least), least, 0.0)
    if problem.aim is Aim.MIN_MLU:
        return float((demand * least)[counted].sum()) / worth if worth > 0 else 0.0
    left = worth - (fixed * least)[~counted].sum()
    share = np.where(counted, demand * (weight if problem.aim is Aim.MAX_MIN else 1.0), 0.0)
    paid = float((share * least).sum())
    highest = float(left / paid) if paid > 0 else np.inf
    if problem.aim is Aim.MAX_MIN and (counted & (weight > 0)).any():
        highest = min(highest, float(1 / weight[counted].max()))
    return max(highest, 0.0)


def _best_scale(worth: float, rate: Floats, weight: Floats, least: Floats) -> float:
    """By what to multiply all prices, so that scale x worth + sum rate max(0, weight - scale x least) is least.

    The sum falls with the scale by the rate x least of demands that still gain, until `worth` outweighs it.
    """
    paying = np.isfinite(least) & (least > 0) & (weight > 0) & (rate > 0)
    gains_until = weight[paying] / least[paying]
    order = np.argsort(-gains_until)
    falls = np.cumsum((rate * np.where(paying, least, 0.0))[paying][order])
    at = int(np.searchsorted(falls, worth, "left"))
    return float(gains_until[order[at]]) if at < len(order) else 0.0


def _pay(problem: Problem, links: Bools, y: Floats, q: Floats) -> Floats:
    return cheapest(problem, links, y, q, np.zeros(len(q)), backup_price=y)


def _least_cost(problem: Problem, links: Bools, y: Floats, q: Floats, worth: float) -> float:
    """sum over demands of what they cost at least, prices included, less what the capacities are worth at these prices.

    An endpoint's cost F(n) = cost max(0, n - a) for a new load n up to `free`, with a = what is committed and not yet
    taken, is not linear. For each price p the sum over demands pays p n, and F(n) - p n is at least -F*(p), with
    F*(p) = a p for p <= cost, and a cost + free (p - cost) beyond. p is the solver's price with and without `cost`,
    whichever proves more, then tuned endpoint by endpoint.
    """
    network, ends, demands = problem.network, problem.endpoints, problem.demands
    backup = network.cost + y if problem.aim is Aim.MIN_COST else y
    dearest = problem.unserved_cost * demands.weight
    latency = problem.aim is Aim.MIN_LATENCY
    cost = np.zeros(len(q)) if latency else ends.cost
    fixed = ends.delay_us if latency else np.zeros(len(q))
    spare = np.minimum(np.maximum(0.0, ends.committed - ends.load), ends.free)

    def conjugate(p: Floats) -> float:
        return _times(spare, np.minimum(p, cost)) + _times(ends.free, np.maximum(0.0, p - cost))

    def proven(p: Floats) -> float:
        least = cheapest(problem, links, problem.link_cost + y, p, fixed, backup_price=backup)
        return float((demands.rate * np.minimum(dearest, least)).sum()) - (worth - _times(ends.free, q)) - conjugate(p)

    unsure = np.flatnonzero((spare > 0) & (cost > 0))
    start = [q + cost] if not len(unsure) else [q + cost, q, np.where(spare > 0, q, q + cost)]
    scores = [proven(p) for p in start]
    best = int(np.argmax(scores))
    entries = int(np.diff(demands.choice_first)[demands.choice].sum())
    if not len(unsure) or len(unsure) * entries > MOST_TUNED:
        return scores[best]
    tuned = _tuned(problem, links, problem.link_cost + y, backup, start[best].copy(), fixed, spare, cost, unsure)
    return max(scores[best], proven(tuned))


def _tuned(
    problem: Problem,
    links: Bools,
    price: Floats,
    backup: Floats,
    p: Floats,
    fixed: Floats,
    spare: Floats,
    cost: Floats,
    unsure: Ints,
) -> Floats:
    """The prices `p`, those of the endpoints `unsure` moved one after the other to where the bound is highest.

    The bound is concave and made of lines in each price: it grows by the load that would still come, less what is spare
    up to `cost`, and less what is free beyond.
    """
    demands, ends = problem.demands, problem.endpoints
    found = list(pairs(problem, links, price, backup_price=backup))
    if not found:
        return p
    endpoint = np.concatenate([one[0] for one in found])
    distance = np.concatenate([one[1] for one in found])
    order = np.concatenate([one[2] for one in found])
    sizes = np.concatenate([np.diff(one[3]) for one in found])
    demand, starts = np.repeat(order, sizes), np.cumsum(sizes) - sizes
    work, rate = demands.work[demand], demands.rate[demand]
    for number in np.tile(unsure, SWEEPS).tolist():
        whole = np.where(endpoint == number, np.inf, distance + fixed[endpoint] + work * p[endpoint])
        dearest = problem.unserved_cost * demands.weight[order]
        others = np.repeat(np.minimum(dearest, np.minimum.reduceat(whole, starts)), sizes)
        mine = np.flatnonzero((endpoint == number) & (work > 0) & np.isfinite(distance))
        # A demand comes here as long as the price is below where it turns away.
        turn = (others - distance)[mine] / work[mine] - fixed[number] / work[mine]
        falling = np.argsort(-turn)
        coming = np.cumsum((rate * work)[mine][falling])
        levels = np.append(np.maximum(turn[falling], 0.0), 0.0)
        beyond_spare = levels[np.searchsorted(coming, spare[number], "right")]
        beyond_free = levels[np.searchsorted(coming, ends.free[number], "right")]
        p[number] = max(min(beyond_spare, cost[number]), beyond_free)
    return p


def _inverse(amount: Floats) -> Floats:
    return np.divide(1.0, amount, out=np.zeros(len(amount)), where=amount > 0)


def _times(amount: Floats, price: Floats) -> float:
    """The sum of amount times price, where a price of 0 on an endless amount is 0."""
    return float((amount[price > 0] * price[price > 0]).sum())
