"""Brute force for steering: all simple paths, all ways to choose rows, dense programs as the definitions say.

Slow and plain on purpose; shares no code with the solvers. For a handful of nodes and demands.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import linprog

from suanwang.steering.answer import Allocation
from suanwang.steering.paths import Candidates, PathSet
from suanwang.steering.problem import Aim, Disjoint, Limits, Problem

SUMS = (Aim.TOTAL_FLOW, Aim.MIN_COST, Aim.MIN_LATENCY)
ENDLESS = 1e6


@dataclass(frozen=True)
class Row:
    demand: int
    endpoint: int
    main: tuple[int, ...]
    backup: tuple[int, ...] = ()

    @property
    def links(self) -> tuple[int, ...]:
        return self.main + self.backup


def simple_paths(problem: Problem, source: int, target: int) -> Iterator[tuple[int, ...]]:
    """All paths without a node twice, as links."""
    network = problem.network

    def walk(node: int, seen: tuple[int, ...], links: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
        if node == target:
            yield links
            return
        for link in range(len(network.source)):
            head = int(network.target[link])
            if network.source[link] == node and head not in seen:
                yield from walk(head, (*seen, head), (*links, link))

    yield from walk(source, (source,), ())


def keeps(problem: Problem, limits: Limits, links: tuple[int, ...], delay: float = 0.0) -> bool:
    network = problem.network
    for link in links:
        having = {name for bit, name in enumerate(network.colours) if int(network.colour[link]) >> bit & 1}
        if having & limits.exclude or (limits.include and not having & limits.include):
            return False
    at = list(links)
    up, arrives = math.prod(network.availability[at]), math.prod(1 - network.loss[at])
    return bool(
        network.latency_us[at].sum() + delay <= limits.latency_us + 1e-9
        and network.jitter_us[at].sum() <= limits.jitter_us + 1e-9
        and 1 - arrives <= limits.loss + 1e-12
        and up >= limits.availability - 1e-12
    )


def shared(problem: Problem, kind: Disjoint, one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    """Whether two paths have something of that kind in common."""
    network = problem.network
    if kind is Disjoint.NONE:
        return False
    if set(one) & set(other):
        return True
    if kind is Disjoint.NODE:
        inner = [{int(network.target[link]) for link in path[:-1]} for path in (one, other)]
        return bool(inner[0] & inner[1])
    if kind is Disjoint.RISK:
        risks = [{int(risk) for link in path for risk in network.risks_of(link)} for path in (one, other)]
        return bool(risks[0] & risks[1])
    return False


def ways(problem: Problem, limits: Limits, source: int, target: int) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """(path, backup) that keep the limits."""
    paths = [path for path in simple_paths(problem, source, target) if keeps(problem, limits, path)]
    if limits.backup is Disjoint.NONE:
        return [(path, ()) for path in paths]
    return [(one, two) for one in paths for two in paths if not shared(problem, limits.backup, one, two)]


def candidates_of(problem: Problem) -> Candidates:
    """All that can be used, as the solvers want them."""
    sets = []
    nodes = range(len(problem.network.nodes))
    for limits in problem.demands.limits:
        rows = [(s, t, way) for s in nodes for t in nodes for way in ways(problem, limits, s, t)]
        paths = PathSet.of(problem.network, [(s, t, main + backup) for s, t, (main, backup) in rows])
        main = np.array([len(main) for _, _, (main, _) in rows], np.int64)
        sets.append(PathSet(source=paths.source, target=paths.target, first=paths.first, links=paths.links, main=main))
    return Candidates(sets=tuple(sets), complete=True)


class Oracle:
    """All there is to know about one small problem."""

    def __init__(self, problem: Problem, failed: Any = None, present: dict[Row, float] | None = None) -> None:
        self.problem = problem
        self.capacity = problem.network.capacity.copy()
        if failed is not None:
            self.capacity[failed] = 0
        self.present = present or {}
        self.rows = list(self._rows())
        self.counted = {row.demand for row in self.rows}
        demands = problem.demands
        every = range(len(demands))
        if problem.by_priority:
            among = self.counted if problem.aim not in SUMS and self.counted else set(every)
            self.classes = [
                [i for i in every if demands.priority[i] <= number]
                for number in sorted({int(demands.priority[i]) for i in among})
            ]
        else:
            self.classes = [list(every)]

    def _rows(self) -> Iterator[Row]:
        problem, demands, ends = self.problem, self.problem.demands, self.problem.endpoints
        for i in range(len(demands)):
            limits = demands.limits[int(demands.limit[i])]
            for j in demands.endpoints_of(i).tolist():
                free = ends.capacity[j] - ends.load[j]
                if demands.rate[i] <= 0 or (free <= 0 and demands.work[i] > 0):
                    continue
                for main, backup in ways(problem, limits, int(demands.source[i]), int(ends.node[j])):
                    row = Row(i, j, main, backup)
                    paths = [main, backup] if backup else [main]
                    fits = all(keeps(problem, limits, path, float(ends.delay_us[j])) for path in paths)
                    if fits and all(self.capacity[link] > 0 for link in row.links):
                        yield row

    def patterns(self) -> Iterator[list[Row]]:
        """All ways to choose the rows that may be used."""
        demands = self.problem.demands
        related = {i for i in range(len(demands)) if demands.apart[i] >= 0}
        related |= {int(demands.apart[i]) for i in related}
        options = []
        for i in range(len(demands)):
            mine = [row for row in self.rows if row.demand == i]
            most = 1 if not demands.splittable[i] else int(demands.most_paths[i]) or len(mine)
            if i in related:
                sizes: Any = range(min(most, len(mine)) + 1)
            else:
                sizes = [min(most, len(mine))]
            options.append([chosen for size in sizes for chosen in itertools.combinations(mine, size)])
        for choice in itertools.product(*options):
            if all(
                not shared(self.problem, demands.apart_by, one.links, two.links)
                for i in range(len(demands))
                if demands.apart[i] >= 0 and demands.apart[i] != i
                for one in choice[i]
                for two in choice[int(demands.apart[i])]
            ):
                yield [row for rows in choice for row in rows]

    def value(self) -> float:
        """The best value (for max-min: without classes)."""
        best = None
        for pattern in self.patterns():
            found = self._lexicographic(pattern)
            if found is not None and (best is None or _less(found, best)):
                best = found
        if best is None:
            return np.inf
        great = self.problem.aim in (Aim.TOTAL_FLOW, Aim.CONCURRENT, Aim.MAX_MIN)
        return -best[-1] if great else best[-1]

    def _lexicographic(self, rows: list[Row]) -> list[float] | None:
        """What is minimised, class after class."""
        values: list[float] = []
        rates: list[list[float]] = []
        moved: list[float] = []
        for number in range(len(self.classes)):
            lp, goal, least = self._program(rows, number, values, rates, moved)
            x = lp.solve(goal)
            if x is None:
                return None
            if x.get("lambda", 0.0) > ENDLESS / 2:
                x["lambda"] = np.inf
            values.append(sum(coefficient * x[name] for name, coefficient in goal.items() if coefficient) + least)
            rates.append([sum(x[r] for r, row in enumerate(rows) if row.demand == i) for i in self.classes[number]])
            if self.problem.aim is Aim.CONCURRENT:
                wanted = self.problem.demands.rate
                rates[-1] = [min(rate, wanted[i]) for rate, i in zip(rates[-1], self.classes[number], strict=True)]
            moved.append(sum(x[name] for name in lp.names if isinstance(name, tuple) and name[0] == "moved"))
        return values

    def base(self, rows: list[Row], among: list[int], theta: bool = False, endless: Any = ()) -> Dense:
        """Capacities, and rates but for the demands `endless`; x of rows is named by their numbers."""
        problem, demands, ends = self.problem, self.problem.demands, self.problem.endpoints
        lp = Dense([r for r, row in enumerate(rows) if row.demand in among])
        for link in range(len(self.capacity)):
            load = {r: float(rows[r].links.count(link)) for r in lp.rates if link in rows[r].links}
            if theta:
                lp.at_most({**load, "theta": -float(self.capacity[link])}, 0.0)
            elif load:
                lp.at_most(load, float(self.capacity[link]))
        for j in range(len(ends.node)):
            load = {r: float(demands.work[rows[r].demand]) for r in lp.rates if rows[r].endpoint == j}
            if theta and np.isfinite(ends.capacity[j]):
                lp.at_most({**load, "theta": -float(max(ends.capacity[j] - ends.load[j], 0))}, 0.0)
            elif not theta and load and np.isfinite(ends.capacity[j]):
                lp.at_most(load, float(max(ends.capacity[j] - ends.load[j], 0)))
        for i in set(among) - set(endless):
            mine = {r: 1.0 for r in lp.rates if rows[r].demand == i}
            lp.at_most(mine, float(problem.demands.rate[i]))
        for row, rate in self.present.items():
            if row.demand in among:
                now = {lp_row: -1.0 for lp_row in lp.rates if rows[lp_row] == row}
                lp.at_most({("moved", row): -1.0, **now}, -rate)
        return lp

    def _program(self, rows: list[Row], number: int, values: Any, rates: Any, moved: Any) -> tuple[Dense, Any, float]:
        problem, demands = self.problem, self.problem.demands
        among = self.classes[number]
        fresh = [i for i in among if number == 0 or i not in self.classes[number - 1]]
        before = self.classes[:number]
        churn = {("moved", row): problem.churn for row in self.present if row.demand in among}
        if problem.aim in SUMS:
            lp = self.base(rows, among)
            for c, classes in enumerate(before):
                earlier, constant = self._sum(lp, rows, classes, c)
                lp.at_most(earlier, values[c] - constant + 1e-9 * (1 + abs(values[c])))
            goal, constant = self._sum(lp, rows, among, number)
            return lp, goal, constant
        if problem.aim is Aim.MIN_MLU:
            lp = self.base(rows, among, theta=True)
            for i in set(among) & self.counted:
                lp.exactly({r: 1.0 for r in lp.rates if rows[r].demand == i}, float(demands.rate[i]))
            for c, classes in enumerate(before):
                self._kept(lp, rows, classes, c, values[c])
            return lp, {"theta": 1.0, **churn}, 0.0
        if problem.aim is Aim.MAX_MIN:  # the first level only, and one class
            lp = self.base(rows, among)
            for i in self.counted:
                served = {r: -1.0 for r in lp.rates if rows[r].demand == i}
                lp.at_most({**served, "t": float(demands.weight[i] * demands.rate[i])}, 0.0)
            if not self.counted:
                lp.exactly({"t": 1.0}, 0.0)
            return lp, {"t": -1.0, **churn}, 0.0
        lp = self.base(rows, among, endless=fresh)
        lp.at_most({"lambda": 1.0}, ENDLESS)
        for i in set(fresh) & self.counted:
            lp.exactly({**{r: 1.0 for r in lp.rates if rows[r].demand == i}, "lambda": -float(demands.rate[i])}, 0.0)
        for c, classes in enumerate(before):
            for i, rate in zip(classes, rates[c], strict=True):
                lp.at_most({r: -1.0 for r in lp.rates if rows[r].demand == i}, -rate + 1e-9)
            self._moves(lp, classes, moved[c])
        if not set(fresh) & self.counted:
            lp.exactly({"lambda": 1.0}, 0.0)
        return lp, {"lambda": -1.0, **churn}, 0.0

    def _kept(self, lp: Dense, rows: list[Row], classes: list[int], c: int, value: float) -> None:
        """A class before keeps its utilisation, with what it moves."""
        problem, ends = self.problem, self.problem.endpoints
        theta = ("theta", c)
        for link in range(len(self.capacity)):
            load = {r: 1.0 * rows[r].links.count(link) for r in lp.rates if rows[r].demand in classes}
            lp.at_most({**load, theta: -float(self.capacity[link])}, 0.0)
        for j in range(len(ends.node)):
            mine = [r for r in lp.rates if rows[r].demand in classes and rows[r].endpoint == j]
            if mine and np.isfinite(ends.capacity[j]):
                load = {r: float(problem.demands.work[rows[r].demand]) for r in mine}
                lp.at_most({**load, theta: -float(max(ends.capacity[j] - ends.load[j], 0))}, 0.0)
        moved = {("moved", row): problem.churn for row in self.present if row.demand in classes}
        lp.at_most({**moved, theta: 1.0}, value + 1e-9)

    def _moves(self, lp: Dense, classes: list[int], moved: float) -> None:
        lp.at_most({("moved", row): 1.0 for row in self.present if row.demand in classes}, moved + 1e-9)

    def _sum(self, lp: Dense, rows: list[Row], among: list[int], tag: int) -> tuple[dict[Any, float], float]:
        """What is minimised for these demands, and its constant part."""
        problem, demands, ends = self.problem, self.problem.demands, self.problem.endpoints
        goal: dict[Any, float] = {("moved", row): problem.churn for row in self.present if row.demand in among}
        mine = [r for r in lp.rates if rows[r].demand in among]
        if problem.aim is Aim.TOTAL_FLOW:
            return {**goal, **{r: -float(demands.weight[rows[r].demand]) for r in mine}}, 0.0
        for r in mine:
            row = rows[r]
            if problem.aim is Aim.MIN_COST:
                cost = sum(problem.network.cost[link] for link in row.links)
            else:
                cost = sum(problem.network.latency_us[link] for link in row.main) + ends.delay_us[row.endpoint]
            goal[r] = float(cost - problem.unserved_cost * demands.weight[row.demand])
        if problem.aim is Aim.MIN_COST:
            for j in range(len(ends.node)):
                load = {r: float(demands.work[rows[r].demand]) for r in mine if rows[r].endpoint == j}
                if load and np.isfinite(ends.committed[j]):
                    room = max(ends.load[j], ends.committed[j]) - ends.load[j]
                    lp.at_most({**load, ("excess", j, tag): -1.0}, float(room))
                    goal["excess", j, tag] = float(ends.cost[j])
        return goal, float(problem.unserved_cost * sum(demands.weight[i] * demands.rate[i] for i in among))

    def fairest(self) -> list[list[float]]:
        """For max-min without moves: the shares, sorted, of each class."""
        best = None
        for pattern in self.patterns():
            found = self._levels(pattern)
            if best is None or _less([-v for part in found for v in part], [-v for part in best for v in part]):
                best = found
        assert best is not None
        return best

    def _levels(self, rows: list[Row]) -> list[list[float]]:
        demands = self.problem.demands
        floors: dict[int, float] = {}
        levels = []
        for number, among in enumerate(self.classes):
            fresh = [i for i in among if number == 0 or i not in self.classes[number - 1]]
            active = {i for i in fresh if i in self.counted and demands.weight[i] > 0}
            mine = sorted(active)
            while active:
                size = {i: float(demands.weight[i] * demands.rate[i]) for i in active}

                def program(least: float | None, among: Any = among, active: Any = active, size: Any = size) -> Dense:
                    lp = self.base(rows, among)
                    for i, floor in floors.items():
                        lp.at_most({r: -1.0 for r in lp.rates if rows[r].demand == i}, -floor * (1 - 1e-9))
                    for i in active:
                        served = {r: -1.0 for r in lp.rates if rows[r].demand == i}
                        if least is None:
                            lp.at_most({**served, "t": size[i]}, 0.0)
                        else:
                            lp.at_most(served, -least * size[i] * (1 - 1e-8))
                    return lp

                x = program(None).solve({"t": -1.0})
                assert x is not None
                level = x["t"]
                stuck = set()
                for i in active:
                    lp = program(level)
                    mine_rows = [r for r in lp.rates if rows[r].demand == i]
                    grown = lp.solve(dict.fromkeys(mine_rows, -1.0)) if mine_rows else {}
                    assert grown is not None
                    if sum(grown[r] for r in mine_rows) <= level * size[i] * (1 + 1e-6) + 1e-9:
                        stuck.add(i)
                assert stuck
                for i in stuck:
                    floors[i] = level * size[i]
                active -= stuck
            levels.append(sorted(floors[i] / (demands.weight[i] * demands.rate[i]) for i in mine))
        return levels


class Dense:
    """A linear program with named variables, none below 0."""

    def __init__(self, rates: list[int]) -> None:
        self.rates = rates
        self.names: dict[Any, int] = {name: at for at, name in enumerate(rates)}
        self.above: list[tuple[dict[Any, float], float]] = []
        self.equal: list[tuple[dict[Any, float], float]] = []

    def at_most(self, line: dict[Any, float], limit: float) -> None:
        self.above.append((line, limit))
        self._know(line)

    def exactly(self, line: dict[Any, float], value: float) -> None:
        self.equal.append((line, value))
        self._know(line)

    def _know(self, line: dict[Any, float]) -> None:
        for name in line:
            self.names.setdefault(name, len(self.names))

    def solve(self, goal: dict[Any, float]) -> dict[Any, float] | None:
        self._know(goal)
        count = len(self.names)
        if not count:
            fine = all(limit >= -1e-9 for _, limit in self.above) and all(value == 0 for _, value in self.equal)
            return {} if fine else None
        found = linprog(
            self._line(goal),
            A_ub=np.array([self._line(line) for line, _ in self.above]).reshape(-1, count),
            b_ub=[limit for _, limit in self.above],
            A_eq=np.array([self._line(line) for line, _ in self.equal]).reshape(-1, count),
            b_eq=[value for _, value in self.equal],
        )
        if found.status == 2:
            return None
        assert found.status == 0, found.message
        return {name: float(found.x[at]) for name, at in self.names.items()}

    def _line(self, line: dict[Any, float]) -> np.ndarray:
        dense = np.zeros(len(self.names))
        for name, value in line.items():
            dense[self.names[name]] = value
        return dense


def _less(one: list[float], other: list[float]) -> bool:
    for left, right in zip(one, other, strict=True):
        if left != right and abs(left - right) > 1e-7 * (1 + abs(left)):
            return left < right
    return False


def check(problem: Problem, allocation: Allocation, failed: Any = None, overfull: float = 1.0) -> None:
    """Assert that the rows keep all limits, capacities times `overfull`."""
    network, demands, ends = problem.network, problem.demands, problem.endpoints
    capacity = network.capacity.copy()
    if failed is not None:
        capacity[failed] = 0
    link_load, end_load = np.zeros(len(capacity)), np.zeros(len(ends.node))
    served = np.zeros(len(demands))
    rows: dict[int, list[tuple[int, ...]]] = {}
    for n in range(len(allocation)):
        i, j, rate = int(allocation.demand[n]), int(allocation.endpoint[n]), float(allocation.rate[n])
        path = int(allocation.path[n])
        main, backup = (
            tuple(part.tolist()) for part in (allocation.paths.main_of(path), allocation.paths.backup_of(path))
        )
        limits = demands.limits[int(demands.limit[i])]
        assert rate > 0
        assert j in demands.endpoints_of(i)
        assert (main, backup) in ways(problem, limits, int(demands.source[i]), int(ends.node[j]))
        assert keeps(problem, limits, main, float(ends.delay_us[j]))
        for link in main + backup:
            link_load[link] += rate
        end_load[j] += rate * demands.work[i]
        served[i] += rate
        rows.setdefault(i, []).append(main + backup)
    assert (served <= demands.rate * (1 + 1e-6)).all()
    assert (link_load <= capacity * overfull * (1 + 1e-6)).all()
    assert (end_load <= np.maximum(ends.capacity - ends.load, 0) * overfull * (1 + 1e-6)).all()
    for i, mine in rows.items():
        most = 1 if not demands.splittable[i] else int(demands.most_paths[i])
        assert not most or len(mine) <= most
        other = int(demands.apart[i])
        for one in mine if other >= 0 and other != i else []:
            assert not any(shared(problem, demands.apart_by, one, two) for two in rows.get(other, []))
