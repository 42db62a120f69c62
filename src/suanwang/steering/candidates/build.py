"""Candidate paths for all demands of a problem."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from suanwang.model.errors import SuanwangError
from suanwang.steering.candidates.bulk import chained, ranked, summed, taken
from suanwang.steering.candidates.disjoint import edge_disjoint
from suanwang.steering.candidates.graph import bounds, graph_of, inverse_capacity, lengths, spent, usable
from suanwang.steering.candidates.pairs import Pairs, fit, pairs_of
from suanwang.steering.candidates.protected import protected
from suanwang.steering.candidates.shortest import MOST_LABELS, Found, Search, shortest
from suanwang.steering.candidates.spread import spread
from suanwang.steering.paths import Candidates, PathSet
from suanwang.steering.problem import BAD_PROBLEM, Bools, Demands, Disjoint, Endpoints, Floats, Ints, Limits, Network

MOST_COUNT = 10_000
MOST_PATHS = 100_000_000
MOST_WEIGHT = 1e12


class Kind(StrEnum):
    """Which paths are sought."""

    EDGE_DISJOINT = "edge-disjoint"
    """The shortest by 1 / capacity, then the shortest without its links, and so on; of equal ones the fewest hops."""
    SHORTEST = "shortest"
    """The shortest simple paths by latency, then cost, then hops, or by a weight that is given."""
    SPREAD = "spread"
    """Paths over which random loads spread well."""
    AUTO = "auto"
    """Edge-disjoint and shortest paths, so many of each."""


@dataclass(frozen=True, eq=False)
class Built:
    """Candidates, and for each of the demands' limits the pairs (n, 2: source, target) whose search was stopped before
    its end for its work: their paths are right, but better ones, or any at all, may be missing.
    """

    candidates: Candidates
    cut: tuple[Ints, ...]


def build(
    network: Network,
    demands: Demands,
    endpoints: Endpoints,
    kind: Kind,
    count: int,
    *,
    failed: Bools | None = None,
    weight: Floats | None = None,
    seed: int = 0,
    most_labels: int = MOST_LABELS,
    workers: Executor | None = None,
) -> Built:
    """Up to `count` paths for every demand's source and every node where it may end; up to twice as many with `auto`.

    Every path keeps the limits, with the delay of the quickest endpoint at its target that the demands may choose: one
    with other delays is for the solver to check. Links without capacity and `failed` ones (L,) are not used. `weight`
    (L,), 0 to 10^12, takes the place of latency. Where `limits.backup` is set every path has one, see `protected`.
    `workers` should be threads; their number changes nothing in the result.
    """
    if not 1 <= count <= MOST_COUNT:
        raise SuanwangError(BAD_PROBLEM, f"{count} candidate paths for a pair", f"ask for 1 to {MOST_COUNT}")
    order = [network.latency_us, network.cost] if weight is None else [np.asarray(weight, float)]
    if not all(len(one) == len(network.source) and ((one >= 0) & (one <= MOST_WEIGHT)).all() for one in order):
        raise SuanwangError(BAD_PROBLEM, "a weight is negative, too great or missing", "give one for each link")
    sets, cuts, complete = [], [], True
    for limits, pairs in zip(demands.limits, pairs_of(demands, endpoints), strict=True):
        fit(len(pairs) * count, "candidate paths", MOST_PATHS)
        work = _Work(network, limits, pairs, order, failed, most_labels, workers)
        paths, all_found, cut = work.paths(kind, count, seed)
        sets.append(paths)
        cuts.append(np.stack((pairs.source[cut], pairs.target[cut]), axis=1))
        complete = complete and all_found
    return Built(Candidates(sets=tuple(sets), complete=complete), tuple(cuts))


class _Work:
    """The paths for one of the demands' limits."""

    def __init__(
        self,
        network: Network,
        limits: Limits,
        pairs: Pairs,
        order: Sequence[Floats],
        failed: Bools | None,
        most_labels: int,
        workers: Executor | None,
    ) -> None:
        self.network, self.limits, self.pairs, self.workers = network, limits, pairs, workers
        self.links = usable(network, limits, failed)
        self.graph = graph_of(network.source, network.target, len(network.nodes), self.links)
        self.bound = bounds(limits, pairs.delay)
        self.spent = spent(network, limits)
        self.length = lengths(len(network.nodes), self.links, order)
        self.most_labels = most_labels

    def paths(self, kind: Kind, count: int, seed: int) -> tuple[PathSet, bool, Bools]:
        """(paths, whether these are all, for which pairs the search was cut)."""
        nobody = np.zeros(len(self.pairs), bool)
        if self.limits.backup is not Disjoint.NONE:
            length = self._by_capacity() if kind is Kind.EDGE_DISJOINT else self.length
            search = Search(self.graph, length, self.spent, self.most_labels)
            paths, cut = protected(
                self.network, self.links, search, self.pairs, self.bound, count, self.limits.backup, self.workers
            )
            return paths, not len(paths) and not cut.any(), cut
        if kind is Kind.SHORTEST:
            found = self._shortest(count)
            return found.paths, bool(found.all.all()), found.cut
        if kind is Kind.SPREAD:
            paths = self._within(self._spread(count, seed))
            if not self.limits.additive:
                return paths, False, nobody
            found = self._shortest(1)
            return self._ranked(chained([paths, found.paths])), bool(found.all.all()), found.cut
        paths, cut = self._disjoint(count)
        if kind is Kind.EDGE_DISJOINT:
            return paths, False, cut
        found = self._shortest(count)
        return self._ranked(chained([paths, found.paths])), bool(found.all.all()), cut | found.cut

    def _shortest(self, count: int) -> Found:
        search = Search(self.graph, self.length, self.spent, self.most_labels)
        return shortest(search, self.pairs, self.bound, count, self.workers)

    def _by_capacity(self) -> Ints:
        return lengths(len(self.network.nodes), self.links, [inverse_capacity(self.network)])

    def _disjoint(self, count: int) -> tuple[PathSet, Bools]:
        if not self.limits.additive:
            paths = edge_disjoint(self.graph, self._by_capacity(), self.pairs, count, self.workers)
            return paths, np.zeros(len(self.pairs), bool)
        search = Search(self.graph, self._by_capacity(), self.spent, self.most_labels)
        found = shortest(search, self.pairs, self.bound, count, self.workers, disjoint=True)
        return found.paths, found.cut

    def _spread(self, count: int, seed: int) -> PathSet:
        inverse = inverse_capacity(self.network)
        return spread(self.graph, self.links, inverse, self.pairs, count, seed, self.workers)

    def _within(self, paths: PathSet) -> PathSet:
        """The paths that keep the limits."""
        if not self.limits.additive or not len(paths):
            return paths
        key = self.pairs.source << 32 | self.pairs.target
        pair = np.searchsorted(key, paths.source << 32 | paths.target)
        fine = np.ones(len(paths), bool)
        for column in range(self.spent.shape[1]):
            sums = np.add.reduceat(np.append(self.spent[paths.links, column], 0.0), paths.first[:-1])
            sums[np.diff(paths.first) == 0] = 0.0
            fine &= sums <= self.bound[pair, column]
        return taken(paths, np.flatnonzero(fine))

    def _ranked(self, paths: PathSet) -> PathSet:
        return ranked(paths, (summed(paths, self.length),))
