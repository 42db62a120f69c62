"""The table of rows (demand, endpoint, path) that an answer may use, in flat arrays, with its sparse matrices."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from suanwang.model.errors import SuanwangError
from suanwang.steering.answer import Allocation
from suanwang.steering.paths import Candidates, PathSet, tally
from suanwang.steering.problem import BAD_PROBLEM, Aim, Bools, Disjoint, Floats, Ints, Problem

MOST_ROWS = 50_000_000

FULL = 0.25
"""Of this share of the candidates' paths, an allocation takes them all."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Rows:
    """N rows that can carry something; those of demand i are `first[i]:first[i + 1]`, in the order of the candidates.

    `path`: number in `paths`, all candidates'; `capacity` (L,): 0 where failed; `present` (N,): what each row carries
    now; `gone` (D,): what each demand has now on what is no row any more.
    """

    problem: Problem
    paths: PathSet
    demand: Ints
    endpoint: Ints
    path: Ints
    first: Ints
    capacity: Floats
    present: Floats
    gone: Floats

    def __len__(self) -> int:
        return len(self.demand)

    def only(self, keep: Bools) -> Rows:
        """The table of the rows to `keep` (N,)."""
        at = np.flatnonzero(keep)
        return replace(
            self,
            demand=self.demand[at],
            endpoint=self.endpoint[at],
            path=self.path[at],
            first=np.searchsorted(at, self.first),
            present=self.present[at],
        )

    @cached_property
    def counted(self) -> Bools:
        """(D,) demands that have a row."""
        return np.asarray(np.diff(self.first) > 0)

    @cached_property
    def over_links(self) -> Any:
        """Sparse (L, N): how often each row counts on each link."""
        sizes = np.diff(self.paths.first)[self.path]
        starts = np.concatenate(([0], np.cumsum(sizes)))
        links = self.paths.links
        if not np.array_equal(self.path, np.arange(len(self.paths))):
            links = links[np.repeat(self.paths.first[self.path] - starts[:-1], sizes) + np.arange(starts[-1])]
        matrix = sparse.csc_matrix((np.ones(len(links)), links, starts), shape=(len(self.capacity), len(self)))
        if (self.paths.main != np.diff(self.paths.first)).any():
            matrix = matrix.copy()  # what follows sorts in place, and these may be the paths' own links
            matrix.sum_duplicates()
        return matrix.tocsr()

    @cached_property
    def at_endpoints(self) -> Any:
        """Sparse (E, N): the load on the endpoint that a unit of each row's rate makes."""
        shape = (len(self.problem.endpoints.node), len(self))
        starts = np.arange(len(self) + 1)
        return sparse.csc_matrix((self.problem.demands.work[self.demand], self.endpoint, starts), shape=shape).tocsr()

    @cached_property
    def of_demands(self) -> Any:
        """Sparse (D, N): which rows are each demand's."""
        shape = (len(self.problem.demands), len(self))
        return sparse.csr_matrix((np.ones(len(self)), np.arange(len(self)), self.first), shape=shape)

    @cached_property
    def bottleneck(self) -> Floats:
        """(N,) the most that each row can carry on the empty network, its demand's rate not considered."""
        work, free = self.problem.demands.work[self.demand], self.problem.endpoints.free[self.endpoint]
        at_end = np.divide(free, work, out=np.full(len(self), np.inf), where=work > 0)
        return np.asarray(np.minimum(self.paths.least(self.capacity)[self.path], at_end))

    @cached_property
    def delay(self) -> Floats:
        """(N,) latency of the used path and delay of the endpoint, in microseconds."""
        latency = main_sums(self.paths, self.problem.network.latency_us)
        return np.asarray(latency[self.path] + self.problem.endpoints.delay_us[self.endpoint])

    @cached_property
    def cost(self) -> Floats:
        """(N,) what a unit of rate counts on each row, endpoints' prices left out: see `room`."""
        if self.problem.aim is Aim.MIN_LATENCY:
            return self.delay
        if self.problem.aim is Aim.MIN_COST:
            return self.paths.sums(self.problem.network.cost)[self.path]
        return np.zeros(len(self))

    @cached_property
    def classes(self) -> Ints:
        """(D,) the class of each demand, numbered without holes; all 0 where priorities don't count."""
        if not self.problem.by_priority:
            return np.zeros(len(self.problem.demands), np.int64)
        return np.asarray(np.unique(self.problem.demands.priority, return_inverse=True)[1], np.int64)

    @cached_property
    def allowance(self) -> Floats:
        """(E,) the load that may be added at each endpoint free of charge though the endpoint has a price."""
        ends = self.problem.endpoints
        if self.problem.aim is not Aim.MIN_COST:
            return np.zeros(len(ends.node))
        return np.where(ends.cost > 0, np.minimum(np.maximum(ends.committed - ends.load, 0.0), ends.free), 0.0)

    def loads(self, rate: Floats) -> tuple[Floats, Floats]:
        """The loads of links (L,) and endpoints (E,) at these rates (N,)."""
        count = len(self.problem.endpoints.node)
        if not rate.any():
            return np.zeros(len(self.capacity)), np.zeros(count)
        flow = tally(self.path, rate, len(self.paths))
        work = rate * self.problem.demands.work[self.demand]
        return self.paths.loads(flow, len(self.capacity)), tally(self.endpoint, work, count)

    @cached_property
    def conflicts(self) -> tuple[Ints, Ints]:
        """Pairs of rows (r, s) of which only one may carry something, since their demands are to be apart."""
        demands = self.problem.demands
        one = np.flatnonzero((demands.apart >= 0) & (demands.apart != np.arange(len(demands))))
        if demands.apart_by is Disjoint.NONE or not len(one):
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        ends = np.unique(np.sort(np.stack([one, demands.apart[one]]), axis=0), axis=1)
        sizes = np.diff(self.first)[ends]
        count = sizes[0] * sizes[1]
        _within(int(count.sum()), "pairs of rows that must be apart")
        pair = np.repeat(np.arange(len(count)), count)
        at = np.arange(len(pair)) - np.repeat(np.cumsum(count) - count, count)
        left = self.first[ends[0, pair]] + at // sizes[1, pair]
        right = self.first[ends[1, pair]] + at % sizes[1, pair]
        used, place = np.unique(np.concatenate([left, right]), return_inverse=True)
        things = self._things(used, demands.apart_by)
        both = things[place[: len(left)]].multiply(things[place[len(left) :]])
        shared = np.asarray(both.sum(axis=1)).ravel() > 0
        return left[shared], right[shared]

    def _things(self, rows: Ints, kind: Disjoint) -> Any:
        """Sparse (rows, things): the links, and nodes within or risk groups, of these rows."""
        network = self.problem.network
        links = self.over_links.T.tocsr()[rows]
        if kind is Disjoint.NODE:
            shape = (len(network.target), len(network.nodes))
            starts = np.arange(len(network.target) + 1)
            nodes = (links @ sparse.csr_matrix((np.ones(shape[0]), network.target, starts), shape=shape)).tocoo()
            path = self.path[rows][nodes.row]
            inner = (nodes.col != self.paths.source[path]) & (nodes.col != self.paths.target[path])
            within = (nodes.data[inner], (nodes.row[inner], nodes.col[inner]))
            return sparse.hstack([links, sparse.csr_matrix(within, shape=nodes.shape)], format="csr")
        if kind is Disjoint.RISK and len(network.risk_of):
            shape = (len(network.source), len(network.risks))
            ones = np.ones(len(network.risk_of))
            groups = sparse.csr_matrix((ones, network.risk_of, network.risk_first), shape=shape)
            return sparse.hstack([links, links @ groups], format="csr")
        return links

    def allocation(self, rate: Floats) -> Allocation:
        """The rows that carry something at these rates (N,), as an allocation: over the paths it needs; or over all of
        them, which needn't be copied then, if it needs many and all can be used.
        """
        used = np.flatnonzero(rate > 1e-12 * self.problem.demands.rate[self.demand])
        paths, path = self.paths, self.path[used]
        marks = np.zeros(len(paths), bool)
        marks[path] = True
        if marks.sum() < FULL * len(paths) or (self.capacity <= 0).any() or not len(paths):
            paths, path = paths.taken(np.flatnonzero(marks)), (np.cumsum(marks) - 1)[path]
        return Allocation(
            paths=paths,
            demand=self.demand[used],
            endpoint=self.endpoint[used],
            path=path,
            rate=rate[used],
        )

    def feasible(self, rate: Floats, taken: Floats | None = None) -> Floats:
        """(N,) these rates scaled down to what demands, links and endpoints have room for, beside what is `taken`."""
        demands, ends = self.problem.demands, self.problem.endpoints
        rate = np.where(rate > 0, rate, 0.0)
        taken = np.zeros(len(self)) if taken is None else taken
        wanted = demands.rate - tally(self.demand, taken, len(demands))
        rate *= factors(tally(self.demand, rate, len(demands)), wanted)[self.demand]
        links, endpoints = self.loads(rate)
        used_links, used_ends = self.loads(taken)
        link, end = factors(links, self.capacity - used_links), factors(endpoints, ends.free - used_ends)
        if (link < 1).any():
            rate *= np.minimum(self.paths.least(link)[self.path], 1.0)
        if (end < 1).any():
            rate *= np.where(demands.work[self.demand] > 0, end[self.endpoint], 1.0)
        return rate


def build(
    problem: Problem, candidates: Candidates, failed: Bools | None = None, present: Allocation | None = None
) -> Rows:
    """The table. Rows over failed links, over what has no capacity and to endpoints too slow for the limits are left
    out.
    """
    demands, ends = problem.demands, problem.endpoints
    capacity = problem.network.capacity.copy()
    if failed is not None:
        capacity[failed] = 0.0
    from suanwang.steering import row_kernels  # what is compiled is loaded when it is needed

    paths, offset = candidates.joined
    choices = np.diff(demands.choice_first)[demands.choice]
    _within(int(choices[demands.rate > 0].sum()), "pairs of a demand and an endpoint")
    count = len(problem.network.nodes)
    begin = [np.searchsorted(one.source, np.arange(count + 1)) for one in candidates.sets]
    longest = np.array([one.latency_us for one in demands.limits]) * (1 + 1e-9)
    limited = np.isfinite(longest).any()
    slow = _slowest(paths, problem.network.latency_us) if limited else np.zeros(len(paths))
    first = np.zeros(len(demands) + 1, np.int64)

    def rows_of(demand: Ints, endpoint: Ints, path: Ints) -> None:
        row_kernels.rows_of(
            demands.source, demands.choice, demands.limit, demands.rate, demands.work, demands.choice_first,
            demands.choice_of, ends.node, ends.free, ends.delay_us, longest, np.array(begin) + offset[:-1, None],
            paths.target, alive, slow, first, demand, endpoint, path,
        )  # fmt: skip

    alive = paths.least(capacity) > 0
    most = int((choices * (demands.rate > 0)).sum()) * _most_of_a_pair(paths)
    if most > MOST_ROWS:
        rows_of(first[:0], first[:0], first[:0])
        most = int(first[-1])
        _within(most, "rows")
    demand, endpoint, path = (np.empty(most, np.int64) for _ in range(3))
    rows_of(demand, endpoint, path)
    demand, endpoint, path = (one[: first[-1]] for one in (demand, endpoint, path))
    rows = Rows(
        problem=problem,
        paths=paths,
        demand=demand,
        endpoint=endpoint,
        path=path,
        first=first,
        capacity=capacity,
        present=np.zeros(len(demand)),
        gone=np.zeros(len(demands)),
    )
    if present is None or not problem.churn:
        return rows
    was = overlap(present, rows.paths, rows.demand, rows.endpoint, rows.path)
    return Rows(**{**rows.__dict__, "present": was[0], "gone": tally(present.demand, was[1], len(demands))})


def overlap(present: Allocation, paths: PathSet, demand: Ints, endpoint: Ints, path: Ints) -> tuple[Floats, Floats]:
    """What `present` carries on each of these rows, and what each of its own rows carries that is none of these."""
    keys = _row_keys(paths, demand, endpoint, path)
    order = np.argsort(keys, kind="stable")
    wanted = _row_keys(present.paths, present.demand, present.endpoint, present.path)
    found = np.minimum(np.searchsorted(keys[order], wanted), max(len(order) - 1, 0))
    if not len(order):
        return np.zeros(0), present.rate.copy()
    row = order[found]
    same = (demand[row] == present.demand) & (endpoint[row] == present.endpoint)
    same &= _alike(present.paths, present.path, paths, path[row])
    was = tally(row[same], present.rate[same], len(demand))
    return was, np.where(same, 0.0, present.rate)


def main_sums(paths: PathSet, values: Floats) -> Floats:
    """(P,) the sum of the links' `values` (L,) along the path that is used."""
    if (paths.main == np.diff(paths.first)).all():
        return paths.sums(values)
    total = np.concatenate(([0.0], np.cumsum(values[paths.links])))
    return np.asarray(total[paths.first[:-1] + paths.main] - total[paths.first[:-1]])


def factors(load: Floats, room: Floats) -> Floats:
    """By what to multiply loads so that they keep within their room: 1 or less."""
    room = np.maximum(room, 0.0)
    return np.divide(room, load, out=np.ones(len(load)), where=load > room)


def _most_of_a_pair(paths: PathSet) -> int:
    """How many paths lead from one node to another, at most; the sorted ones of a set stand side by side."""
    turns = np.flatnonzero((np.diff(paths.source) != 0) | (np.diff(paths.target) != 0)) + 1
    return int(np.diff(np.concatenate(([0], turns, [len(paths)]))).max(initial=0))


def _slowest(paths: PathSet, latency: Floats) -> Floats:
    main = main_sums(paths, latency)
    return np.maximum(main, paths.sums(latency) - main)


def _within(count: int, what: str) -> None:
    if count > MOST_ROWS:
        raise SuanwangError(BAD_PROBLEM, f"{count} {what} are more than {MOST_ROWS}", "add up small demands")


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _row_keys(paths: PathSet, demand: Ints, endpoint: Ints, path: Ints) -> NDArray[np.uint64]:
    """A number for each row that rows alike have in common, and others hardly ever."""
    used = np.unique(path)
    taken = paths.taken(used)
    place = np.arange(len(taken.links)) - np.repeat(taken.first[:-1], np.diff(taken.first))
    marks = _mixed((taken.links.astype(np.uint64) << np.uint64(20)) + place.astype(np.uint64) + np.uint64(1))
    total = np.concatenate((np.zeros(1, np.uint64), np.cumsum(marks, dtype=np.uint64)))
    keys = total[taken.first[1:]] - total[taken.first[:-1]]
    ends = (demand.astype(np.uint64) << np.uint64(24)) + endpoint.astype(np.uint64)
    # Mixed once more, so that a link and an endpoint of one number don't cancel out.
    keys = _mixed(keys + np.uint64(0x9E3779B97F4A7C15))
    return np.asarray(keys[np.searchsorted(used, path)] ^ _mixed(ends))


def _alike(one: PathSet, left: Ints, other: PathSet, right: Ints) -> Bools:
    """Whether path left[n] of `one` is path right[n] of `other`, link for link."""
    sizes = np.diff(one.first)[left]
    same = (sizes == np.diff(other.first)[right]) & (one.main[left] == other.main[right])
    same &= (one.source[left] == other.source[right]) & (one.target[left] == other.target[right])
    at = np.flatnonzero(same)
    mine, theirs = one.taken(left[at]), other.taken(right[at])
    wrong = mine.links != theirs.links
    same[at[np.unique(mine.entries[wrong])]] = False
    return np.asarray(same)
