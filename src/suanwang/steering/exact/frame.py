"""What the programs of all aims have in common: capacities, rates, rows that are chosen or stay apart, moves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from suanwang.steering.exact.linear import Builder
from suanwang.steering.paths import tally
from suanwang.steering.problem import Aim, Bools, Floats, Ints
from suanwang.steering.rows import Rows


@dataclass(frozen=True, kw_only=True)
class Past:
    """What a class before has got: `among` (D,) it and those before it, the value, rates (D,), and what was moved."""

    among: Bools
    value: float
    served: Floats
    moved: float


@dataclass(kw_only=True)
class Frame:
    """A program under construction. Rates in it are in `unit`. `moved`: columns, those of `moved_rows` of the table."""

    rows: Rows
    among: Bools
    unit: float
    build: Builder
    demand_rows: Ints
    link_rows: Ints
    links: Ints
    end_rows: Ints
    ends: Ints
    moved: Ints
    moved_rows: Ints
    used: Ints
    """Columns that say whether rows are used, and the table's rows that they are about."""
    used_rows: Ints

    @property
    def churn(self) -> float:
        """What a unit moved counts."""
        return self.rows.problem.churn * self.unit

    def moves_within(self, past: Past) -> None:
        """Moves of a class before may not become more than they were."""
        mine = past.among[self.rows.demand[self.moved_rows]]
        if mine.any():
            limit = past.moved - float(self.rows.gone[past.among].sum())
            more = (0, self.moved[mine], 1.0)
            self.build.add_rows(self.build.nothing(1), -np.inf, slack(limit) / self.unit, more)

    def prices(self, dual: Floats, scale: float) -> tuple[Floats, Floats]:
        """Prices of links and endpoints from the duals of their rows; `scale`: of the aim, for a unit of duals."""
        link = np.zeros(len(self.rows.capacity))
        end = np.zeros(len(self.rows.problem.endpoints.node))
        link[self.links] = np.maximum(-dual[self.link_rows], 0.0) * scale
        end[self.ends] = np.maximum(-dual[self.end_rows], 0.0) * scale
        return link, end


def slack(value: float) -> float:
    """A value that shall not be passed, with room for rounding."""
    return value + 1e-9 * abs(value) + 1e-12


def unit_of(rows: Rows) -> float:
    """A rate that is about as great as those in the program."""
    rate = np.minimum(rows.bottleneck, rows.problem.demands.rate[rows.demand])
    return float(rate.mean()) if len(rate) and rate.mean() > 0 else 1.0


def frame(rows: Rows, among: Bools, most: Floats | float = 1.0, theta: float | None = None) -> Frame:
    """The program for the demands `among`, which get up to `most` times their rate.

    With `theta`, capacities are counted in that: they grow with the first column after the table's.
    """
    problem, unit = rows.problem, unit_of(rows)
    demands = problem.demands
    rate = demands.rate / unit * np.where(among, most, 0.0)
    upper = rate[rows.demand]
    # Capacities do not bound columns: duals of such bounds would be missing in the prices.
    build = Builder(upper, rows.demand, rate)
    growing = theta is not None
    column = build.add_columns(1, 0.0, 0.0, np.inf) if growing else np.zeros(0, np.int64)
    demand_rows = build.add_rows(rows.of_demands, 0.0, rate)
    load = rows.over_links
    links = np.flatnonzero(np.isfinite(rows.capacity) & (np.diff(load.indptr) > 0))
    ends_of = rows.at_endpoints
    free = problem.endpoints.free
    ends = np.flatnonzero(np.isfinite(free) & (np.diff(ends_of.indptr) > 0))
    if growing:
        assert theta is not None
        size, end_size = rows.capacity[links] / unit * theta, free[ends] / unit * theta
        link_rows = build.add_rows(load[links], -np.inf, 0.0, (np.arange(len(links)), column[0], -size))
        end_rows = build.add_rows(ends_of[ends], -np.inf, 0.0, (np.arange(len(ends)), column[0], -end_size))
    else:
        link_rows = build.add_rows(load[links], -np.inf, rows.capacity[links] / unit)
        end_rows = build.add_rows(ends_of[ends], -np.inf, free[ends] / unit)
    moved, moved_rows = _moves(rows, among, build, unit)
    largest = upper if growing else np.minimum(upper, rows.bottleneck / unit)
    used, used_rows = _choices(rows, among, build, largest)
    return Frame(
        rows=rows,
        among=among,
        unit=unit,
        build=build,
        demand_rows=demand_rows,
        link_rows=link_rows,
        links=links,
        end_rows=end_rows,
        ends=ends,
        moved=moved,
        moved_rows=moved_rows,
        used=used,
        used_rows=used_rows,
    )


def _moves(rows: Rows, among: Bools, build: Builder, unit: float) -> tuple[Ints, Ints]:
    """moved(r) >= present(r) - x(r), for rows that carry something now."""
    at = np.flatnonzero((rows.present > 0) & among[rows.demand])
    now = rows.present[at] / unit
    moved = build.add_columns(len(at), 0.0, 0.0, now)
    build.add_rows(build.only(at), now, np.inf, (np.arange(len(at)), moved, 1.0))
    return moved, at


def _choices(rows: Rows, among: Bools, build: Builder, largest: Floats) -> tuple[Ints, Ints]:
    """x(r) <= largest(r) used(r) where the number of rows is limited or rows bar one another."""
    limit = path_limits(rows)
    sizes = np.diff(rows.first)
    left, right = rows.conflicts
    some = (limit > 0) & (sizes > limit)
    chosen = some[rows.demand]
    chosen[left] = chosen[right] = True
    at = np.flatnonzero(chosen & among[rows.demand])
    used = build.add_columns(len(at), 0.0, 0.0, 1.0, integer=True)
    if not len(at):
        return used, at
    column = np.full(len(rows), -1)
    column[at] = used
    build.add_rows(build.only(at), -np.inf, 0.0, (np.arange(len(at)), used, -largest[at]))
    which = np.flatnonzero(some & among)
    place = np.full(len(some), -1)
    place[which] = np.arange(len(which))
    mine = at[place[rows.demand[at]] >= 0]
    more = (place[rows.demand[mine]], column[mine], 1.0)
    build.add_rows(build.nothing(len(which)), -np.inf, limit[which], more)
    both = np.flatnonzero((column[left] >= 0) & (column[right] >= 0))
    pair = np.arange(len(both))
    ends = ((pair, column[left[both]], 1.0), (pair, column[right[both]], 1.0))
    build.add_rows(build.nothing(len(both)), -np.inf, 1.0, *ends)
    return used, at


def path_limits(rows: Rows) -> Ints:
    """(D,) how many rows a demand may have; 0 for any number."""
    demands = rows.problem.demands
    return np.where(demands.splittable, demands.most_paths, 1)


def cumulative_cost(rows: Rows) -> tuple[Floats, Ints, Floats]:
    """For sums: what a unit on each row counts (N,); endpoints of which some load is free; how much (of those)."""
    problem, ends = rows.problem, rows.problem.endpoints
    demands = problem.demands
    if problem.aim is Aim.TOTAL_FLOW:
        return -demands.weight[rows.demand], np.zeros(0, np.int64), np.zeros(0)
    cost = rows.cost - problem.unserved_cost * demands.weight[rows.demand]
    if problem.aim is Aim.MIN_LATENCY:
        return cost, np.zeros(0, np.int64), np.zeros(0)
    spare = np.maximum(ends.committed - ends.load, 0.0)
    partly = (spare > 0) & (ends.cost > 0)
    price = np.where(partly, 0.0, ends.cost)[rows.endpoint] * demands.work[rows.demand]
    return cost + price, np.flatnonzero(partly & np.isfinite(spare)), spare


def excess_block(rows: Rows, ends: Ints, among: Bools) -> Any:
    """Sparse (ends, N): the loads of the demands `among` on these endpoints."""
    return rows.at_endpoints[ends] @ sparse.diags(among[rows.demand].astype(float))


def moved_at(rows: Rows, rate: Floats, among: Bools) -> float:
    """How much of what is present is moved at these rates (N,), of the demands `among`."""
    mine = among[rows.demand]
    return float(np.maximum(rows.present - rate, 0.0)[mine].sum() + rows.gone[among].sum())


def served_at(rows: Rows, rate: Floats) -> Floats:
    """(D,) the rates that demands get."""
    return tally(rows.demand, rate, len(rows.problem.demands))
