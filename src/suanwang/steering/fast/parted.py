"""The rows of a problem as tables that the search for prices likes."""

from __future__ import annotations

from concurrent.futures import Executor
from dataclasses import dataclass, replace

import numpy as np

from suanwang.steering.fast.system import Blocks
from suanwang.steering.fast.table import Table, parts_by_source
from suanwang.steering.problem import Aim, Bools, Floats, Ints
from suanwang.steering.rows import Rows
from suanwang.steering.value import WHOLE


@dataclass
class Parted:
    """A table, and how it hangs together with rows: `row` (N,) its row, `demand` (D,) its demand; `endpoint` (R,) that
    of each limited place, of which an endpoint may have two, a free and a paid one.
    """

    table: Table
    row: Ints
    demand: Ints
    endpoint: Ints

    def free(self) -> Bools:
        """(N,) rows to the free place of an endpoint that has two."""
        _, first, count = np.unique(self.endpoint, return_index=True, return_counts=True)
        marks = np.zeros(len(self.endpoint) + 1, bool)
        marks[first[count > 1]] = True
        return np.asarray(marks[self.table.end])


def part(rows: Rows, mine: Bools, taken: Floats, workers: Executor | None) -> Parted:
    """The table of the demands `mine` on what rows at rates `taken` leave."""
    problem, demands, free = rows.problem, rows.problem.demands, rows.problem.endpoints.free
    allowance = rows.allowance
    used_links, used_ends = rows.loads(taken)
    total = float(demands.rate[mine].sum()) + 1.0
    room = free - used_ends
    limited = np.isfinite(room)
    order = np.flatnonzero(mine & rows.counted)
    source = demands.source[order]
    if (np.diff(source) < 0).any():
        order = order[np.argsort(source, kind="stable")]
        source = demands.source[order]
    sizes = np.diff(rows.first)[order]
    first = np.concatenate(([0], np.cumsum(sizes)))
    row = np.repeat(rows.first[order] - first[:-1], sizes) + np.arange(first[-1])
    place = np.full(len(room), -1)
    split = np.flatnonzero(allowance > 0)
    places = np.flatnonzero(limited | (allowance > 0))
    place[places] = np.arange(len(places))
    end = place[rows.endpoint[row]]
    rooms = np.where(limited, np.maximum(room, 0.0), np.inf)[places]
    if len(split):
        # An endpoint of which some load is free is two: rows to it stand twice.
        twice = allowance[rows.endpoint[row]] > 0
        again = np.full(len(room), -1)
        again[split] = len(places) + np.arange(len(split))
        count = 1 + twice.astype(np.int64)
        wide = np.concatenate(([0], np.cumsum(count)))
        paid = np.zeros(wide[-1], bool)
        paid[wide[1:][twice] - 1] = True
        row = np.repeat(row, count)
        end = np.where(paid, again[rows.endpoint[row]], np.repeat(end, count))
        first = wide[first]
        rest = rooms[place[split]] - allowance[split]
        rooms[place[split]] = allowance[split]
        rooms = np.concatenate([rooms, rest])
        places = np.concatenate([places, split])
    work = demands.work[order]
    capacity = np.maximum(rows.capacity - used_links, 0.0)
    top = 10.0 * total * max(1.0, float(work.max(initial=1.0)))
    # What has no room at all carries no row; any number will do for it.
    least = 1e-9 * total
    capacity = np.where(rows.capacity > 0, np.clip(capacity, least, top), top)
    rooms = np.where(rooms > 0, np.minimum(rooms, top), np.where(free[places] > 0, least, top))
    most = np.add.reduceat(np.minimum(rows.paths.least(capacity)[rows.path[row]], top), first[:-1])
    rate = demands.rate[order] * (demands.weight[order] if problem.aim is Aim.MAX_MIN else 1.0)
    tree, leaf = rows.paths.tree
    table = Table(
        first=first,
        node=leaf[rows.path[row]],
        end=end,
        value=np.zeros(len(row)),
        rate=rate if problem.aim in WHOLE else np.minimum(rate, most),
        work=work,
        tree=replace(tree, workers=workers),
        capacity=capacity,
        room=rooms,
        parts=parts_by_source(source, first),
        blocks=Blocks.of(first, end, len(places)),
        workers=workers,
    )
    return Parted(table, row, order, places)
