"""Why nothing keeps a demand's limits, and how near one can come."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from suanwang.steering.candidates.graph import SLACK, bounds, graph_of, lengths, spent, usable
from suanwang.steering.candidates.pairs import Pairs
from suanwang.steering.candidates.shortest import Search, shortest
from suanwang.steering.problem import Bools, Floats, Ints, Limits, Network

LIFTED: dict[str, Any] = {"latency_us": np.inf, "jitter_us": np.inf, "loss": 1.0, "availability": 0.0}
"""What may be limited, and the limit that is none."""


@dataclass(frozen=True, slots=True)
class Miss:
    """The nearest that paths come to limits. Colours and failed links count always, backups never.

    `reachable`: whether any path has the colours; `alone`: what each limited quantity can be at best when the others
    are free; `others`: at best when all others are kept, without those for which others can't be kept at all or that
    took too much work; `beyond`: the limits that can't be kept even alone; `kept`: whether one path keeps them all (so
    that it was the backup that is missing).
    """

    reachable: bool
    alone: dict[str, float]
    others: dict[str, float]
    beyond: tuple[str, ...]
    kept: bool


def nearest_miss(
    network: Network, limits: Limits, source: int, nodes: Ints, delay: Floats, *, failed: Bools | None = None
) -> Miss:
    """How near a path from `source` to an endpoint, of those at `nodes` with a `delay` (us) each, comes to limits."""
    limited = [name for name, free in LIFTED.items() if getattr(limits, name) != free]
    only = {name: replace(limits, **{**LIFTED, name: getattr(limits, name)}) for name in limited}
    free = replace(limits, **LIFTED)
    sight = _Sight(network, source, np.asarray(nodes, np.int64), np.asarray(delay, float), failed)
    alone = {name: value for name in limited if (value := sight.best(free, name)) is not None}
    others = {
        name: value
        for name in limited
        if (value := sight.best(replace(limits, **{name: LIFTED[name]}), name)) is not None
    }
    beyond = tuple(name for name in limited if name in alone and not _keeps(only[name], name, alone[name]))
    kept = any(name in others and _keeps(limits, name, others[name]) for name in limited)
    reachable = sight.best(free, "latency_us") is not None
    return Miss(reachable, alone, others, beyond, kept if limited else reachable)


def _keeps(limits: Limits, name: str, value: float) -> bool:
    limit = getattr(limits, name)
    if name == "availability":
        return bool(value >= limit * (1 - SLACK))
    if name == "loss":
        return bool(1 - value >= (1 - limit) * (1 - SLACK))
    return bool(value <= limit * (1 + SLACK))


class _Sight:
    """A network with one node more, to which a link from each endpoint leads."""

    def __init__(self, network: Network, source: int, nodes: Ints, delay: Floats, failed: Bools | None) -> None:
        self.network, self.source, self.failed = network, source, failed
        order = np.lexsort((delay, nodes))
        self.nodes, first = np.unique(nodes[order], return_index=True)
        self.delay = delay[order][first]

    def best(self, limits: Limits, name: str) -> float | None:
        """The best value of a quantity on any path that keeps the limits; None if there is none, or nobody knows."""
        network, ends, goal = self.network, len(self.nodes), len(self.network.nodes)
        sought = spent(network, replace(Limits(), **{name: _TIGHT[name]}))[:, 0]
        weight = np.append(sought, self.delay if name == "latency_us" else np.zeros(ends))
        links = np.append(usable(network, limits, self.failed), np.ones(ends, bool)) & np.isfinite(weight)
        tail, head = np.append(network.source, self.nodes), np.append(network.target, np.full(ends, goal))
        taken = np.vstack((spent(network, limits), np.zeros((ends, bounds(limits, np.zeros(1)).shape[1]))))
        if limits.latency_us < np.inf:
            taken[len(network.source) :, 0] = self.delay
        search = Search(
            graph_of(tail, head, goal + 1, links),
            lengths(goal + 1, links, [np.where(links, weight, 0.0)]),
            taken,
        )
        pair = Pairs(np.array([self.source]), np.array([goal]), np.zeros(1))
        found = shortest(search, pair, bounds(limits, pair.delay), 1, None).paths
        if not len(found):
            return None
        total = float(weight[found.links].sum())
        if name == "availability":
            return float(np.exp(-total))
        return float(-np.expm1(-total)) if name == "loss" else total


_TIGHT: dict[str, Any] = {"latency_us": 0.0, "jitter_us": 0.0, "loss": 0.0, "availability": 1.0}
