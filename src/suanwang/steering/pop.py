"""POP: the demands dealt out at random to k copies of the network with a k-th of its capacity each, solved one by one.

Source: Narayanan et al., Solving large-scale granular resource allocation problems efficiently with POP, SOSP 2021; the
great demands are split over several copies (section 4.2 there).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from suanwang.model.errors import SuanwangError
from suanwang.steering import exact
from suanwang.steering.answer import Allocation, Answer, Budget
from suanwang.steering.paths import Candidates, PathSet, tally
from suanwang.steering.problem import BAD_PROBLEM, Bools, Demands, Floats, Ints, Problem
from suanwang.steering.rows import build
from suanwang.steering.value import value_of

SPLIT = 0.75
"""How many more demands there may be after splitting, as a part of how many there were."""


def solve(
    problem: Problem,
    candidates: Candidates | None,
    budget: Budget,
    *,
    failed: Bools | None = None,
    present: Allocation | None = None,
    parts: int = 16,
) -> Answer:
    """The answers of `parts` exact solvers to smaller problems, added up; `budget.seed` says who goes where."""
    begun = budget.clock()
    if candidates is None:
        raise SuanwangError(BAD_PROBLEM, "POP needs candidate paths", "find candidates first")
    if not 1 <= parts <= 1024:
        raise SuanwangError(BAD_PROBLEM, f"{parts} parts", "from 1 to 1024 will do")
    parts = max(1, min(parts, len(problem.demands)))
    dealt = deal(problem, parts, np.random.default_rng(budget.seed))

    def one(number: int) -> tuple[Allocation, bool]:
        # The n-th is to be done when n parts of the time are over, however many run side by side.
        left = begun + budget.seconds * (number + 1) / parts - budget.clock()
        share = replace(budget, seconds=max(left, 0.0), workers=None)
        return _part(problem, candidates, share, failed, present, parts, dealt[number])

    each = list(budget.workers.map(one, range(parts)) if budget.workers else map(one, range(parts)))
    allocation = together([found for found, _ in each])
    ended = budget.clock()
    counted = build(problem, candidates, failed).counted
    return Answer(
        method=f"pop-{parts}",
        problem=problem,
        allocation=allocation,
        value=value_of(problem, allocation, failed, present, counted),
        bound=np.inf,
        bound_over="candidate paths",
        failed=np.zeros(len(problem.network.source), bool) if failed is None else failed,
        finished=all(finished for _, finished in each),
        seconds={"solve": ended - begun},
    )


def deal(problem: Problem, parts: int, chance: np.random.Generator) -> list[tuple[Ints, Floats]]:
    """For each part the demands in it, and which share of their rates.

    Demands that may not be split stay whole, and those that are to be apart stay together, as does what can't be told
    apart otherwise.
    """
    demands = problem.demands
    count = len(demands)
    related = np.flatnonzero(demands.apart >= 0)
    links = sparse.csr_matrix((np.ones(len(related)), (related, demands.apart[related])), shape=(count, count))
    groups, group = connected_components(links, directed=False)
    alone = np.bincount(group, minlength=groups)[group] == 1
    free = np.flatnonzero(alone & demands.splittable & (demands.most_paths == 0))
    pieces = np.ones(count, np.int64)
    pieces[free] = _pieces(demands.rate[free], parts, int(SPLIT * count))
    home = chance.integers(parts, size=groups)[group]
    whole = np.flatnonzero(pieces == 1)
    split = np.repeat(np.flatnonzero(pieces > 1), pieces[pieces > 1])
    # The pieces of a demand go to different parts, from a random one on.
    turn = np.arange(len(split)) - np.searchsorted(split, split)
    part = np.concatenate([home[whole], (home[split] + turn) % parts])
    demand = np.concatenate([whole, split])
    order = np.lexsort((demand, part))
    ends = np.searchsorted(part[order], np.arange(parts + 1))
    chosen = [demand[order[ends[at] : ends[at + 1]]] for at in range(parts)]
    return [(which, 1 / pieces[which]) for which in chosen]


def _pieces(rate: Floats, parts: int, more: int) -> Ints:
    """Into how many pieces each demand goes, `more` pieces altogether at most: all above one size into `parts`."""
    pieces = np.ones(len(rate), np.int64)
    if parts > 1 and len(rate):
        greatest = np.argsort(-rate, kind="stable")[: more // (parts - 1)]
        pieces[greatest] = parts
    return pieces


def _part(
    problem: Problem,
    candidates: Candidates,
    budget: Budget,
    failed: Bools | None,
    present: Allocation | None,
    parts: int,
    dealt: tuple[Ints, Floats],
) -> tuple[Allocation, bool]:
    """The answer to one part, its demands numbered as in the whole, and whether it is finished."""
    which, share = dealt
    network, ends = problem.network, problem.endpoints
    number = np.full(len(problem.demands), -1)
    number[which] = np.arange(len(which))
    smaller = replace(
        problem,
        network=replace(network, capacity=network.capacity / parts),
        endpoints=replace(
            ends, capacity=ends.capacity / parts, load=ends.load / parts, committed=ends.committed / parts
        ),
        demands=_some(problem, which, share, number),
    )
    now = None
    if present is not None:
        mine = np.flatnonzero(number[present.demand] >= 0)
        demand = number[present.demand[mine]]
        now = Allocation(
            paths=present.paths,
            demand=demand,
            endpoint=present.endpoint[mine],
            path=present.path[mine],
            rate=present.rate[mine] * share[demand],
        )
    answer = exact.solve(smaller, candidates, budget, failed=failed, present=now)
    return replace(answer.allocation, demand=which[answer.allocation.demand]), answer.finished


def _some(problem: Problem, which: Ints, share: Floats, number: Ints) -> Demands:
    demands = problem.demands
    apart = demands.apart[which]
    return replace(
        demands,
        names=(),
        source=demands.source[which],
        choice=demands.choice[which],
        rate=demands.rate[which] * share,
        priority=demands.priority[which],
        weight=demands.weight[which],
        limit=demands.limit[which],
        splittable=demands.splittable[which],
        most_paths=demands.most_paths[which],
        work=demands.work[which],
        apart=np.where(apart >= 0, number[apart], -1),
    )


def together(found: list[Allocation]) -> Allocation:
    """Allocations added up; rows that are alike become one."""
    sets = [one.paths for one in found]
    starts = np.cumsum([0, *(len(paths) for paths in sets)])
    path = np.concatenate([one.path + start for one, start in zip(found, starts[:-1], strict=True)])
    known: dict[tuple[int, int, int, bytes], int] = {}
    firsts: list[int] = []
    same = np.zeros(starts[-1], np.int64)
    for start, paths in zip(starts[:-1].tolist(), sets, strict=True):
        for at in np.unique(path[(path >= start) & (path < start + len(paths))] - start).tolist():
            key = int(paths.source[at]), int(paths.target[at]), int(paths.main[at]), paths.links_of(at).tobytes()
            if key not in known:
                known[key] = len(firsts)
                firsts.append(start + at)
            same[start + at] = known[key]
    links = np.concatenate([paths.links for paths in sets])
    offsets = np.cumsum([0, *(len(paths.links) for paths in sets)])
    joined = PathSet(
        source=np.concatenate([paths.source for paths in sets]),
        target=np.concatenate([paths.target for paths in sets]),
        first=np.concatenate(
            [*(paths.first[:-1] + offset for paths, offset in zip(sets, offsets[:-1], strict=True)), offsets[-1:]]
        ),
        links=links,
        main=np.concatenate([paths.main for paths in sets]),
    ).taken(np.array(firsts, np.int64))
    demand = np.concatenate([one.demand for one in found])
    endpoint = np.concatenate([one.endpoint for one in found])
    rows, row = np.unique(np.stack([demand, endpoint, same[path]]), axis=1, return_inverse=True)
    rate = np.concatenate([one.rate for one in found])
    return Allocation(
        paths=joined,
        demand=rows[0],
        endpoint=rows[1],
        path=rows[2],
        rate=tally(row.ravel(), rate, rows.shape[1]),
    )
