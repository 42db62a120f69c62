"""Whether the rows of an answer keep every rule of the problem: each rule looked at plainly, over all rows at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from suanwang.steering.answer import Allocation, Answer
from suanwang.steering.legs import CHUNK, Legs, endpoint_load, link_load
from suanwang.steering.nearest import admitted
from suanwang.steering.problem import Aim, Bools, Disjoint, Floats, Ints, Limits, Network, Problem
from suanwang.steering.servable import budgets, metrics

MOST_VIOLATIONS = 100


@dataclass
class Findings:
    """What is wrong, in words. The first hundred are kept, all are counted."""

    texts: list[str] = field(default_factory=list)
    count: int = 0

    def add(self, culprits: Ints, tell: Callable[[int], str]) -> None:
        """Note each of the culprits."""
        room = max(MOST_VIOLATIONS - len(self.texts), 0)
        self.texts += [tell(one) for one in culprits[:room].tolist()]
        self.count += len(culprits)

    def say(self, text: str) -> None:
        """Note one thing."""
        self.add(np.zeros(1, np.int64), lambda _: text)


def up_links(answer: Answer) -> Bools:
    """(L,) the links that did not fail. Raises ValueError."""
    links = len(answer.problem.network.source)
    failed = np.asarray(answer.failed)
    if failed.shape not in ((0,), (links,)) or failed.dtype != bool:
        raise ValueError(f"failed has the shape {failed.shape} and type {failed.dtype}, for {links} links")
    return ~failed if len(failed) else np.ones(links, bool)


def sound(problem: Problem, rows: Allocation) -> str:
    """What is wrong with the arrays themselves; nothing if they can be read."""
    paths = rows.paths
    for name, owner in (("demand", rows), ("endpoint", rows), ("path", rows), ("rate", rows), ("first", paths),
                        ("links", paths), ("source", paths), ("target", paths), ("main", paths)):  # fmt: skip
        values = getattr(owner, name)
        if not isinstance(values, np.ndarray) or values.ndim != 1:
            return f"{name} is no list of numbers"
        if values.dtype.kind not in ("iuf" if name == "rate" else "iu"):
            return f"{name} holds {values.dtype}"
    if len({len(rows.demand), len(rows.endpoint), len(rows.path), len(rows.rate)}) > 1:
        return "rows have different numbers of demands, endpoints, paths and rates"
    count = len(paths.source)
    if len(paths.target) != count or len(paths.main) != count or len(paths.first) != count + 1:
        return "paths have different numbers of sources, targets and links"
    sizes = np.diff(paths.first)
    if paths.first[0] != 0 or paths.first[-1] != len(paths.links) or (sizes < 0).any():
        return "first does not divide the links among the paths"
    if (paths.main < 0).any() or (paths.main > sizes).any():
        return "a path has more links before its backup than it has in all"
    limits = {"links": len(problem.network.source), "source": len(problem.network.nodes)}
    limits["target"] = limits["source"]
    for name, limit in limits.items():
        values = getattr(paths, name)
        if len(values) and (values.min() < 0 or values.max() >= limit):
            return f"{name} of a path is beyond the {limit} that there are"
    for name, limit in (("demand", len(problem.demands)), ("endpoint", len(problem.endpoints.node)), ("path", count)):
        values = getattr(rows, name)
        if len(values) and (values.min() < 0 or values.max() >= limit):
            return f"{name} of a row is beyond the {limit} that there are"
    return ""


def inspect(problem: Problem, rows: Allocation, up: Bools, scale: float, tolerance: float) -> Findings:
    """All rules that the rows break. `scale`: by what capacities may be exceeded."""
    found = Findings()
    legs = Legs.of(rows.paths.first, rows.paths.main)
    _check_paths(problem, rows, up, legs, found)
    _check_rows(problem, rows, found)
    _check_limits(problem, rows, legs, tolerance, found)
    _check_rates(problem, rows, tolerance, found)
    _check_loads(problem, rows, scale, tolerance, found)
    _check_apart(problem, rows, found)
    return found


def _check_paths(problem: Problem, rows: Allocation, up: Bools, legs: Legs, found: Findings) -> None:
    network, paths = problem.network, rows.paths
    links, source, target = paths.links, network.source, network.target

    def ends(path: int) -> str:
        return f"{network.nodes[paths.source[path]]} to {network.nodes[paths.target[path]]}"

    begins = np.zeros(len(links) + 1, bool)
    begins[legs.first] = True
    begins[-1] = True
    broken = _breaks(network, links, begins)
    at = np.searchsorted(paths.first, broken, "right") - 1
    found.add(np.unique(at), lambda path: f"path {path} from {ends(path)} is not connected")
    last = legs.first + legs.size - 1
    astray = (source[links[legs.first]] != paths.source[legs.path]) | (target[links[last]] != paths.target[legs.path])
    found.add(np.unique(legs.path[astray]), lambda path: f"path {path} does not lead from {ends(path)}")
    empty = (np.diff(paths.first) == 0) & (paths.source != paths.target)
    empty |= (paths.main == 0) & (np.diff(paths.first) > 0)
    found.add(np.flatnonzero(empty), lambda path: f"path {path} from {ends(path)} has no links")
    found.add(_looping(problem, rows, legs), lambda path: f"path {path} from {ends(path)} visits a node twice")
    down = np.flatnonzero(~up[links]) if not up.all() else links[:0]
    owner = np.searchsorted(paths.first, down, "right") - 1
    named = dict(zip(owner.tolist(), down.tolist(), strict=True))
    found.add(
        np.unique(owner),
        lambda path: f"path {path} from {ends(path)} uses {network.names[links[named[path]]]}, which is down",
    )


def _breaks(network: Network, links: NDArray[np.int32], begins: Bools) -> Ints:
    """Entries of `links` that end elsewhere than the next one begins, but where a leg `begins` with the next."""
    found = []
    for low in range(0, len(links) - 1, CHUNK):
        high = min(low + CHUNK, len(links) - 1)
        astray = network.target[links[low:high]] != network.source[links[low + 1 : high + 1]]
        found.append(low + np.flatnonzero(astray & ~begins[low + 1 : high + 1]))
    return np.concatenate([np.zeros(0, np.int64), *found])


def _looping(problem: Problem, rows: Allocation, legs: Legs) -> Ints:
    """Paths of which a leg visits a node twice."""
    links = rows.paths.links
    if not len(legs.size):
        return np.zeros(0, np.int64)
    order = np.argsort(legs.size, kind="stable")
    sizes, starts = np.unique(legs.size[order], return_index=True)
    bad = []
    for size, group in zip(sizes.tolist(), np.split(order, starts[1:]), strict=True):
        part = max(CHUNK // (size + 1), 1)
        for begin in range(0, len(group), part):
            chosen = group[begin : begin + part]
            at = links[legs.first[chosen][:, None] + np.arange(size)]
            nodes = np.empty((len(chosen), size + 1), np.int32)
            nodes[:, 0] = problem.network.source[at[:, 0]]
            nodes[:, 1:] = problem.network.target[at]
            nodes.sort(axis=1)
            bad.append(legs.path[chosen[(nodes[:, 1:] == nodes[:, :-1]).any(axis=1)]])
    return np.unique(np.concatenate(bad))


def _check_rows(problem: Problem, rows: Allocation, found: Findings) -> None:
    demands, ends, paths = problem.demands, problem.endpoints, rows.paths
    name = problem.demand_name
    count = len(ends.node)
    owner = np.repeat(np.arange(len(demands.choice_first) - 1), np.diff(demands.choice_first))
    allowed = np.unique(owner * count + demands.choice_of)
    key = demands.choice[rows.demand] * count + rows.endpoint
    at = np.minimum(np.searchsorted(allowed, key), len(allowed) - 1)
    found.add(
        np.flatnonzero(allowed[at] != key) if len(allowed) else np.arange(len(key)),
        lambda row: f"{name(rows.demand[row])} goes to {problem.endpoint_name(rows.endpoint[row])}, not of its choice",
    )
    wrong = paths.source[rows.path] != demands.source[rows.demand]
    wrong |= paths.target[rows.path] != ends.node[rows.endpoint]
    found.add(
        np.flatnonzero(wrong),
        lambda row: f"a path of {name(rows.demand[row])} does not lead from its source to its endpoint",
    )
    used = rows.rate > 0
    rows_of = np.bincount(rows.demand[used], minlength=len(demands))
    most = np.where(demands.splittable, np.where(demands.most_paths > 0, demands.most_paths, np.inf), 1)
    found.add(
        np.flatnonzero(rows_of > most), lambda one: f"{name(one)} has {rows_of[one]} rows, {most[one]:g} are allowed"
    )


def _check_limits(problem: Problem, rows: Allocation, legs: Legs, tolerance: float, found: Findings) -> None:
    limit = problem.demands.limit[rows.demand]
    count = len(rows.paths.source)
    sums: tuple[Floats, ...] = ()
    for number in np.unique(limit).tolist():
        limits = problem.demands.limits[number]
        mine = np.flatnonzero(limit == number)
        if limits.include or limits.exclude:
            _check_colours(problem, rows, mine, limits, found)
        if limits.additive:
            sums = sums or tuple(
                np.stack([legs.sums(one, rows.paths.links, count, backup) for one in metrics(problem.network)])
                for backup in (False, True)
            )
            for backup, total in zip((False, True), sums, strict=True):
                _check_sums(problem, rows, mine, total, backup, tolerance, found)
        if limits.backup is not Disjoint.NONE:
            _check_backups(problem, rows, mine, limits.backup, found)


def _check_colours(problem: Problem, rows: Allocation, mine: Ints, limits: Limits, found: Findings) -> None:
    paths = rows.paths
    used = np.zeros(len(paths.source), bool)
    used[rows.path[mine]] = True
    entries = np.flatnonzero(np.repeat(used, np.diff(paths.first)))
    barred = entries[~admitted(problem.network, limits)[paths.links[entries]]]
    culprit = np.full(len(used), -1)
    culprit[np.searchsorted(paths.first, barred, "right") - 1] = paths.links[barred]
    link = culprit[rows.path]

    def tell(row: int) -> str:
        return (
            f"{problem.demand_name(rows.demand[row])}: link {problem.network.names[link[row]]} has no admitted colour"
        )

    found.add(mine[link[mine] >= 0], tell)


def _check_sums(
    problem: Problem, rows: Allocation, mine: Ints, sums: Floats, backup: bool, tolerance: float, found: Findings
) -> None:
    """`sums` (4, P): what adds up along the used paths, or along their backups."""
    limits = problem.demands.limits[int(problem.demands.limit[rows.demand[mine[0]]])]
    total = sums[:, rows.path]
    total[0] += problem.endpoints.delay_us[rows.endpoint]
    wrong = (total[:, mine] > budgets(limits)[:, None] * (1 + tolerance)).any(axis=0)
    if backup:
        wrong &= (np.diff(rows.paths.first) > rows.paths.main)[rows.path[mine]]

    def tell(row: int) -> str:
        which = "a backup" if backup else "a path"
        return f"{problem.demand_name(rows.demand[row])}: {which} has {_spoken(total[:, row])}, beyond its limits"

    found.add(mine[wrong], tell)


def _check_backups(problem: Problem, rows: Allocation, mine: Ints, kind: Disjoint, found: Findings) -> None:
    paths = rows.paths
    bare = (np.diff(paths.first) == paths.main) & (paths.main > 0)
    name = problem.demand_name
    found.add(mine[bare[rows.path[mine]]], lambda row: f"{name(rows.demand[row])}: a path has no backup")
    used = np.unique(rows.path[mine])
    shared = _common(
        *_things(problem, rows, used, kind, backup=False), *_things(problem, rows, used, kind, backup=True)
    )
    hit = mine[np.isin(rows.path[mine], used[np.unique(shared)])]
    found.add(hit, lambda row: f"{name(rows.demand[row])}: a path and its backup share a {kind}")


def _spoken(total: Floats) -> str:
    loss, availability = -np.expm1(-total[2]), np.exp(-total[3])
    return f"{total[0]:g} us latency, {total[1]:g} us jitter, {loss:.3g} loss, {availability:.6g} availability"


def _check_rates(problem: Problem, rows: Allocation, tolerance: float, found: Findings) -> None:
    name, demands = problem.demand_name, problem.demands
    wrong = ~((rows.rate >= 0) & np.isfinite(rows.rate))
    found.add(np.flatnonzero(wrong), lambda row: f"{name(rows.demand[row])} has the rate {rows.rate[row]:g}")
    served = np.bincount(rows.demand, weights=rows.rate, minlength=len(demands))
    found.add(
        np.flatnonzero(served > demands.rate * (1 + tolerance)),
        lambda one: f"{name(one)} gets {served[one]:.9g}, and asks for {demands.rate[one]:.9g}",
    )


def _check_loads(problem: Problem, rows: Allocation, scale: float, tolerance: float, found: Findings) -> None:
    by = max(scale, 1.0) if problem.aim is Aim.MIN_MLU else 1.0
    by = by * (1 + tolerance) if np.isfinite(by) else 1 + tolerance
    links, ends = link_load(problem, rows), endpoint_load(problem, rows)
    capacity, free = problem.network.capacity, problem.endpoints.free
    found.add(
        np.flatnonzero(links > capacity * by),
        lambda at: f"link {problem.network.names[at]} has a load of {links[at]:.9g}, and room for {capacity[at]:.9g}",
    )
    found.add(
        np.flatnonzero(ends > free * by),
        lambda at: f"endpoint {problem.endpoint_name(at)} has a load of {ends[at]:.9g}, and room for {free[at]:.9g}",
    )


def _check_apart(problem: Problem, rows: Allocation, found: Findings) -> None:
    demands = problem.demands
    kind = demands.apart_by
    one = np.flatnonzero((demands.apart >= 0) & (demands.apart != np.arange(len(demands))))
    used = np.flatnonzero(rows.rate > 0)
    if kind is Disjoint.NONE or not len(one) or not len(used):
        return
    order = used[np.argsort(rows.demand[used], kind="stable")]
    things = []
    for members in (one, demands.apart[one]):
        begin = np.searchsorted(rows.demand[order], members, "left")
        size = np.searchsorted(rows.demand[order], members, "right") - begin
        pair = np.repeat(np.arange(len(members)), size)
        row = order[np.arange(len(pair)) + np.repeat(begin - (np.cumsum(size) - size), size)]
        owners, items = [], []
        for backup in (False, True):
            owner, item = _things(problem, rows, rows.path[row], kind, backup=backup)
            owners.append(pair[owner])
            items.append(item)
        things += [np.concatenate(owners), np.concatenate(items)]
    shared = np.unique(_common(*things))
    found.add(
        one[shared],
        lambda at: f"{problem.demand_name(at)} and {problem.demand_name(demands.apart[at])} share a {kind}",
    )


def _things(problem: Problem, rows: Allocation, chosen: Ints, kind: Disjoint, *, backup: bool) -> tuple[Ints, Ints]:
    """What paths consist of that others may have to keep clear of: (which of `chosen`, number of the thing) each.

    Links have their own numbers; after them come nodes between the ends, or risk groups.
    """
    network, paths = problem.network, rows.paths
    begin = paths.first[chosen] + (paths.main[chosen] if backup else 0)
    size = paths.first[chosen + 1] - begin if backup else paths.main[chosen]
    owner = np.repeat(np.arange(len(chosen)), size)
    at = np.arange(len(owner)) + np.repeat(begin - (np.cumsum(size) - size), size)
    links = paths.links[at].astype(np.int64)
    if kind is Disjoint.NODE:
        inner = at + 1 < np.repeat(begin + size, size)
        nodes = network.target[links[inner]] + len(network.source)
        return np.concatenate([owner, owner[inner]]), np.concatenate([links, nodes])
    if kind is Disjoint.RISK:
        many = np.diff(network.risk_first)[links]
        each = np.repeat(network.risk_first[links] - (np.cumsum(many) - many), many) + np.arange(many.sum())
        risks = network.risk_of[each] + len(network.source)
        return np.concatenate([owner, np.repeat(owner, many)]), np.concatenate([links, risks])
    return owner, links


def _common(owner: Ints, item: Ints, other: Ints, thing: Ints) -> Ints:
    """Owners that have a thing in common with the other of the same number."""
    base = int(max(item.max(initial=0), thing.max(initial=0))) + 1
    return np.intersect1d(owner * base + item, other * base + thing) // base
