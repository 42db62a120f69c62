"""Why a demand got what it got: its rows, and what keeps the rest of it from being served, over all paths."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse.csgraph import dijkstra

from suanwang.steering.answer import Answer
from suanwang.steering.candidates.miss import Miss, nearest_miss
from suanwang.steering.nearest import admitted, matrix
from suanwang.steering.problem import Aim, Bools, Disjoint, Floats, Ints, Limits
from suanwang.steering.servable import servable

FULL = 1 - 1e-6
"""From this share of its capacity on a link or endpoint is called full."""
MOST_NAMED = 12

REASONS = {
    "no-rate": "its rate is 0",
    "no-path": "no links lead to any of its endpoints",
    "colours": "links lead there, but not of the colours that it asks for",
    "limits": "no path keeps its limits end to end",
    "backup": "no two paths are as disjoint as it asks for",
    "endpoints-full": "its endpoints are full",
    "links-full": "every way there leads over a full link",
    "limits-full": "the ways with room left do not keep its limits",
    "left": "there is room, which the answer leaves",
}
"""What may keep a demand from being served; programs may test for these words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One row of a demand. `delay_us`: of the used path and the endpoint; `tightest`: the fullest link on it or on its
    backup ("" for a path without links), with its `utilisation`.
    """

    endpoint: str
    rate: float
    nodes: tuple[str, ...]
    links: tuple[str, ...]
    backup: tuple[str, ...]
    delay_us: float
    tightest: str
    utilisation: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """One thing that keeps a demand from being served: a word of `REASONS`, the same in a sentence, and the links,
    endpoints or limits that bind.
    """

    code: str
    text: str
    binding: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What a demand asked for, what it got and how, and why not more."""

    demand: str
    source: str
    to: str
    rate: float
    served: float
    ways: tuple[Way, ...]
    reasons: tuple[Reason, ...]


class Explainer:
    """Explains demands of one answer."""

    def __init__(self, answer: Answer) -> None:
        self.answer, self.problem = answer, answer.problem
        network, ends = self.problem.network, self.problem.endpoints
        self.up: Bools = ~answer.failed if len(answer.failed) else np.ones(len(network.source), bool)
        over = self.problem.aim is Aim.MIN_MLU and 1 < answer.value < np.inf
        scale = answer.value if over else 1.0
        self.full: Bools = (answer.link_load >= network.capacity * scale * FULL) | (network.capacity <= 0)
        load = answer.allocation.endpoint_load(self.problem)
        self.end_full: Bools = (load >= ends.free * scale * FULL) & np.isfinite(ends.free)

    def explain(self, demand: int) -> Explanation:
        """All about one demand."""
        problem = self.problem
        return Explanation(
            demand=problem.demand_name(demand),
            source=problem.network.nodes[problem.demands.source[demand]],
            to=problem.choice_name(int(problem.demands.choice[demand])),
            rate=float(problem.demands.rate[demand]),
            served=float(self.answer.served[demand]),
            ways=self.ways(demand),
            reasons=self.reasons(demand),
        )

    def ways(self, demand: int) -> tuple[Way, ...]:
        """The rows of a demand, the greatest rate first."""
        rows, network = self.answer.allocation, self.problem.network
        mine = np.flatnonzero(rows.demand == demand)
        found = []
        for row in mine[np.argsort(-rows.rate[mine], kind="stable")].tolist():
            path, endpoint = int(rows.path[row]), int(rows.endpoint[row])
            links, main = rows.paths.links_of(path), rows.paths.main_of(path)
            fullest = int(links[np.argmax(self.answer.utilisation[links])]) if len(links) else -1
            found.append(
                Way(
                    endpoint=self.problem.endpoint_name(endpoint),
                    rate=float(rows.rate[row]),
                    nodes=tuple(network.nodes[node] for node in rows.paths.nodes_of(network, path)),
                    links=tuple(network.names[link] for link in main),
                    backup=tuple(network.names[link] for link in rows.paths.backup_of(path)),
                    delay_us=float(network.latency_us[main].sum() + self.problem.endpoints.delay_us[endpoint]),
                    tightest=network.names[fullest] if fullest >= 0 else "",
                    utilisation=float(self.answer.utilisation[fullest]) if fullest >= 0 else 0.0,
                )
            )
        return tuple(found)

    def reasons(self, demand: int) -> tuple[Reason, ...]:
        """What keeps the rest of a demand from being served; nothing when it is served whole."""
        problem, demands = self.problem, self.problem.demands
        rate = demands.rate[demand]
        if rate <= 0:
            return (_reason("no-rate"),)
        if self.answer.served[demand] >= rate * FULL:
            return ()
        network, ends = problem.network, problem.endpoints
        source, limits = int(demands.source[demand]), demands.limits[int(demands.limit[demand])]
        chosen = demands.endpoints_of(demand)
        usable = self.up & (network.capacity > 0)
        reach = self._reach(source, usable)
        if not reach[ends.node[chosen]].any():
            lost = self._reach(source, network.capacity > 0)[ends.node[chosen]].any()
            return (_reason("no-path", "; there is one over links that are down" if lost else ""),)
        usable &= admitted(network, limits)
        if not self._reach(source, usable)[ends.node[chosen]].any():
            return (_reason("colours"),)
        if limits.additive:
            miss = self._miss(limits, source, chosen, ~self.up | (network.capacity <= 0))
            if not miss.kept:
                binding = miss.beyond or tuple(miss.others)
                return (Reason(code="limits", text=_missed(limits, miss), binding=binding),)
        if limits.backup is not Disjoint.NONE and servable(problem, self.up, demand) is False:
            return (_reason("backup", f" ({limits.backup})"),)
        return self._full(demand, source, limits, chosen, usable)

    def _full(self, demand: int, source: int, limits: Limits, chosen: Ints, usable: Bools) -> tuple[Reason, ...]:
        """What is full for a demand that could be served on an empty network."""
        network, ends = self.problem.network, self.problem.endpoints
        busy = self.end_full[chosen] & (self.problem.demands.work[demand] > 0)
        found = []
        if busy.any():
            found.append(_reason("endpoints-full", "", tuple(map(self.problem.endpoint_name, chosen[busy].tolist()))))
        if busy.all():
            return tuple(found)
        goals = np.unique(ends.node[chosen[~busy]])
        reach = self._reach(source, usable & ~self.full)
        if not reach[goals].any():
            onward = np.isfinite(
                dijkstra(matrix(network, usable, np.ones(len(usable)), backwards=True), indices=goals, min_only=True)
            )
            cut = usable & self.full & reach[network.source] & ~reach[network.target] & onward[network.target]
            named = tuple(network.names[link] for link in np.flatnonzero(cut).tolist())
            return (*found, _reason("links-full", "", named))
        if limits.additive:
            miss = self._miss(limits, source, chosen[~busy], ~self.up | self.full)
            if not miss.kept:
                binding = tuple(network.names[link] for link in np.flatnonzero(usable & self.full).tolist())
                text = f"{REASONS['limits-full']}: {_missed(limits, miss)}"
                return (*found, Reason(code="limits-full", text=text, binding=binding[:MOST_NAMED]))
        dear = self._dear(demand, chosen[~busy], usable & ~self.full)
        return (*found, _reason("left", _why_left(self.problem.aim, demand, self.answer, dear)))

    def _dear(self, demand: int, chosen: Ints, links: Bools) -> bool:
        """Whether even the cheapest way over `links` to the endpoints `chosen` counts more than to leave the demand."""
        problem = self.problem
        if problem.aim not in (Aim.MIN_COST, Aim.MIN_LATENCY):
            return False
        graph = matrix(problem.network, links, problem.link_cost)
        way = dijkstra(graph, indices=int(problem.demands.source[demand]))[problem.endpoints.node[chosen]]
        if problem.aim is Aim.MIN_COST:
            end = problem.endpoint_cost[chosen] * problem.demands.work[demand]
        else:
            end = problem.endpoints.delay_us[chosen]
        return bool((way + end).min() >= problem.unserved_cost * problem.demands.weight[demand] * (1 - 1e-9))

    def _reach(self, source: int, links: Bools) -> Bools:
        graph = matrix(self.problem.network, links, np.ones(len(links)))
        reached: Bools = np.isfinite(dijkstra(graph, indices=source, unweighted=True))
        return reached

    def _miss(self, limits: Limits, source: int, chosen: Ints, closed: Bools) -> Miss:
        ends = self.problem.endpoints
        delay: Floats = ends.delay_us[chosen]
        return nearest_miss(self.problem.network, limits, source, ends.node[chosen], delay, failed=closed)


def _reason(code: str, more: str = "", binding: tuple[str, ...] = ()) -> Reason:
    named = f": {', '.join(binding[:MOST_NAMED])}" if binding else ""
    rest = f" and {len(binding) - MOST_NAMED} more" if len(binding) > MOST_NAMED else ""
    return Reason(code=code, text=f"{REASONS[code]}{more}{named}{rest}", binding=binding)


def _why_left(aim: Aim, demand: int, answer: Answer, dear: bool) -> str:
    demands = answer.problem.demands
    if not demands.splittable[demand]:
        return "; the demand is not split, and no one path holds it whole"
    if demands.most_paths[demand]:
        return f"; the demand may use {demands.most_paths[demand]} paths at most"
    if aim in (Aim.CONCURRENT, Aim.MAX_MIN):
        return "; others are held back as it is, and it gets no more than they do"
    if dear:
        return "; it costs more to serve than to leave"
    return "; not on the paths that were tried, or within the gap of the answer"


def _missed(limits: Limits, miss: Miss) -> str:
    """The limits that can't be kept, each with the nearest that paths come to it."""
    spoken = {
        "latency_us": lambda value: f"{value:g} us of latency",
        "jitter_us": lambda value: f"{value:g} us of jitter",
        "loss": lambda value: f"a loss of {value:.4g}",
        "availability": lambda value: f"an availability of {value:.8g}",
    }
    if miss.beyond:
        told = [
            f"the best path has {spoken[name](miss.alone[name])}, {getattr(limits, name):.8g} is the limit"
            for name in miss.beyond
        ]
    else:
        told = [
            f"a path that keeps the other limits has {spoken[name](value)}, {getattr(limits, name):.8g} is the limit"
            for name, value in miss.others.items()
        ]
    return "; ".join(told) or REASONS["limits"]
