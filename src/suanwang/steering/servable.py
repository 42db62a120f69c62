"""Whether any row can serve a demand at all: by the definition, over all paths, one demand at a time.

Exact where the search ends within its steps. One limit alone is settled by a shortest path; several at once, or a
disjoint backup, by a search that turns back where a limit can't be kept any more.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.sparse.csgraph import dijkstra

from suanwang.steering.nearest import admitted, cheapest, matrix
from suanwang.steering.problem import Bools, Disjoint, Floats, Ints, Limits, Network, Problem

STEPS = 20_000
"""How many links a search follows before it gives up."""

ROUNDING = 1e-9
CLOSED = 1e200
"""What an endpoint without room costs."""
LATENCY = 1
"""Its place after hops."""


def metrics(network: Network) -> Floats:
    """(4, L) what adds up along paths: latency, jitter, minus the logarithms of what arrives and of availability."""
    with np.errstate(divide="ignore"):
        return np.stack(
            [network.latency_us, network.jitter_us, -np.log1p(-network.loss), -np.log(network.availability)]
        )


def budgets(limits: Limits, delay_us: float = 0.0) -> Floats:
    """(4,) how much of each of `metrics` a path may have that ends where `delay_us` is added."""
    with np.errstate(divide="ignore"):
        loss, availability = -np.log1p(-limits.loss), -np.log(limits.availability)
    allowed = np.array([limits.latency_us - delay_us, limits.jitter_us, loss, availability])
    return np.where(allowed < 0, -1.0, allowed * (1 + ROUNDING))


def surely(problem: Problem, up: Bools, which: Ints) -> tuple[Bools, Bools]:
    """For the demands `which`, many at once: whether each limit alone can be kept over links that are `up`, and whether
    that settles it, as it does unless there are several limits or a backup.
    """
    network, demands, ends = problem.network, problem.demands, problem.endpoints
    usable = up & (network.capacity > 0)
    full = np.where(ends.free > 0, 0.0, CLOSED)
    can = demands.rate[which] > 0
    settled = np.ones(len(which), bool)
    values = np.vstack([np.ones(len(up)), metrics(network)])
    for number in np.unique(demands.limit[which]).tolist():
        limits = demands.limits[number]
        mine = demands.limit[which] == number
        allowed = np.concatenate(([CLOSED / 1e9], budgets(limits)))
        limited = np.flatnonzero(np.isfinite(allowed))
        for column in limited.tolist():
            fixed = ends.delay_us if column == LATENCY else np.zeros(len(full))
            least = cheapest(problem, usable, values[column], full, fixed, which=which[mine])
            can[mine] &= least[which[mine]] <= allowed[column]
        settled[mine] = len(limited) <= 2 and limits.backup is Disjoint.NONE
    return can, settled | ~can


def servable(problem: Problem, up: Bools, demand: int) -> bool | None:
    """Whether a row with a rate above 0 can exist for the demand over links that are `up`. None: the search gave up."""
    network, demands, ends = problem.network, problem.demands, problem.endpoints
    limits = demands.limits[int(demands.limit[demand])]
    source = int(demands.source[demand])
    steps = _Steps()
    if demands.rate[demand] <= 0:
        return False
    for endpoint in demands.endpoints_of(demand).tolist():
        if ends.free[endpoint] <= 0 and demands.work[demand] > 0:
            continue
        allowed = budgets(limits, float(ends.delay_us[endpoint]))
        usable = up & admitted(network, limits) & (network.capacity > 0)
        search = _Search(network, usable, int(ends.node[endpoint]), allowed, steps)
        if search.limited <= 1 and limits.backup is Disjoint.NONE:
            if search.possible(source):
                return True
            continue
        for path in search.paths(source, search.usable):
            if limits.backup is Disjoint.NONE or not path:
                return True
            rest = search.usable & ~_shared(network, path, limits.backup)
            if next(search.paths(source, rest), None) is not None:
                return True
        if steps.left <= 0:
            return None
    return False


def _shared(network: Network, path: list[int], kind: Disjoint) -> Bools:
    """(L,) the links that a path disjoint from `path` may not use."""
    barred = np.zeros(len(network.source), bool)
    barred[path] = True
    if kind is Disjoint.NODE:
        inner = network.target[path[:-1]]
        barred |= np.isin(network.target, inner) | np.isin(network.source, inner)
    if kind is Disjoint.RISK:
        risks = np.concatenate([network.risks_of(link) for link in path])
        owner = np.repeat(np.arange(len(barred)), np.diff(network.risk_first))
        barred[owner[np.isin(network.risk_of, risks)]] = True
    return barred


class _Steps:
    left = STEPS


class _Search:
    """Simple paths to one node that keep limits, the most promising links first."""

    def __init__(self, network: Network, usable: Bools, target: int, allowed: Floats, steps: _Steps) -> None:
        self.network, self.target, self.steps = network, target, steps
        # Hops count last, without a limit: they lead a search to its target where nothing else does.
        self.values = np.vstack([metrics(network), np.ones(len(usable))])
        self.allowed = np.append(allowed, np.inf)
        self.usable = usable & np.isfinite(self.values).all(axis=0)
        self.rest = np.stack(
            [dijkstra(matrix(network, self.usable, one, backwards=True), indices=target) for one in self.values]
        )
        self.order = np.argsort(network.source, kind="stable")
        self.starts = np.searchsorted(network.source[self.order], np.arange(len(network.nodes) + 1))

    def possible(self, source: int) -> bool:
        """Whether each limit alone can be kept."""
        return bool(np.isfinite(self.rest[-1, source]) and (self.rest[:, source] <= self.allowed).all())

    @property
    def limited(self) -> int:
        """How many limits there are."""
        return int(np.isfinite(self.allowed).sum())

    def paths(self, source: int, usable: Bools) -> Iterator[list[int]]:
        """Paths from `source` over `usable` links; nothing more once the steps are used up."""
        if not self.possible(source):
            return
        if source == self.target:
            yield []
            return
        nodes, path = [source], list[int]()
        spent = np.zeros(len(self.allowed))
        stack = [self._ways(source, spent, usable, {source})]
        while stack and self.steps.left > 0:
            self.steps.left -= 1
            step = next(stack[-1], None)
            if step is None:
                stack.pop()
                nodes.pop()
                path = path[:-1]
                continue
            link, spent = step
            head = int(self.network.target[link])
            if head == self.target:
                yield [*path, link]
                continue
            nodes.append(head)
            path = [*path, link]
            stack.append(self._ways(head, spent, usable, set(nodes)))

    def _ways(self, node: int, used: Floats, usable: Bools, seen: set[int]) -> Iterator[tuple[int, Floats]]:
        """The links that may follow, with what is used up after them."""
        scale = np.where(np.isfinite(self.allowed) & (self.allowed > 0), self.allowed, np.inf)
        found = []
        for link in self.order[self.starts[node] : self.starts[node + 1]].tolist():
            head = int(self.network.target[link])
            if not usable[link] or head in seen:
                continue
            spent = used + self.values[:, link]
            whole = spent + self.rest[:, head]
            if np.isfinite(whole[-1]) and (whole <= self.allowed).all():
                found.append((float((whole / scale).max()), float(whole[-1]), link, spent))
        for _, _, link, spent in sorted(found, key=lambda one: one[:3]):
            yield link, spent
