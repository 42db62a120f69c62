"""The inner loops of repair, compiled: demands one after the other, each against the loads that the others left.

Resources are links, then endpoints. A resource's price is max(0, y + stiff x (load - room)), infinite where it has no
room, and more by `extra` from the load `extra_from` on. So a demand that moves to what is worth most to it at these
prices takes a step of coordinate descent on the augmented Lagrangian (Bertsekas, Constrained Optimization and Lagrange
Multiplier Methods, 1982, chapter 2).
"""

from __future__ import annotations

import numpy as np

from suanwang.compiled import njit

SHIFTS = 4
"""How often one demand may move something in one visit."""

MARGIN = 1e-9
"""What is left free of a resource, as a share, for rounding."""


PATH, END, OWNER, NEXT = range(4)
"""Columns of `rows` (N, 4): a row's path, its endpoint's resource, its demand, the next row on the same path."""

RATE, WORTH = range(2)
"""Columns of `flow` (N, 2)."""

FIRST, STOP, MOST, LEVEL = range(4)
"""Columns of `own` (D, 4): a demand's first row, the one after its last, how many it may use, its class."""

WANTED, WORK = range(2)
"""Columns of `need` (D, 2)."""

LOAD, ROOM, Y, STIFF, FROM, EXTRA, PRICE = range(7)
"""Rows of a market `m` (7, R)."""


@njit()
def price_at(m, at):  # type: ignore[no-untyped-def]
    """The price of a resource at its load."""
    if m[ROOM, at] <= 0.0:
        return np.inf
    found = max(0.0, m[Y, at] + m[STIFF, at] * (m[LOAD, at] - m[ROOM, at]))
    if m[EXTRA, at] > 0.0 and m[LOAD, at] >= m[FROM, at] * (1 - 1e-12):
        found += m[EXTRA, at]
    return found


@njit()
def price_link(m, at):  # type: ignore[no-untyped-def]
    """`price_at` of a link that is open."""
    return max(0.0, m[Y, at] + m[STIFF, at] * (m[LOAD, at] - m[ROOM, at]))


@njit()
def price_all(m):  # type: ignore[no-untyped-def]
    """Bring all prices up to date."""
    for at in range(m.shape[1]):
        m[PRICE, at] = price_at(m, at)


@njit()
def net_worth(starts, links, rows, flow, m, row, work, least=-np.inf):  # type: ignore[no-untyped-def]
    """What a unit on a row is worth at the prices; minus infinity as soon as it is clear that it is below `least`."""
    left = flow[row, WORTH]
    if work > 0.0:
        left -= work * m[PRICE, rows[row, END]]
    for at in range(starts[rows[row, PATH]], starts[rows[row, PATH] + 1]):
        left -= m[PRICE, links[at]]
        if left < least:
            return -np.inf
    return left


@njit()
def space(starts, links, rows, flow, m, row, work):  # type: ignore[no-untyped-def]
    """How much more fits on a row."""
    found = np.inf
    for at in range(starts[rows[row, PATH]], starts[rows[row, PATH] + 1]):
        link = links[at]
        found = min(found, m[ROOM, link] * (1 - MARGIN) - m[LOAD, link])
        if found <= 0.0:
            return 0.0
    if work > 0.0:
        found = min(found, (m[ROOM, rows[row, END]] * (1 - MARGIN) - m[LOAD, rows[row, END]]) / work)
    return found


@njit()
def put(starts, links, rows, flow, m, row, amount, work):  # type: ignore[no-untyped-def]
    """Change a row's rate, its loads and prices."""
    flow[row, RATE] += amount
    for at in range(starts[rows[row, PATH]], starts[rows[row, PATH] + 1]):
        link = links[at]
        m[LOAD, link] = max(m[LOAD, link] + amount, 0.0)
        if m[PRICE, link] < np.inf:
            m[PRICE, link] = price_link(m, link)
    if work > 0.0:
        at = rows[row, END]
        m[LOAD, at] = max(m[LOAD, at] + amount * work, 0.0)
        m[PRICE, at] = price_at(m, at)


@njit()
def clear(starts, links, rows, flow, m, row, work):  # type: ignore[no-untyped-def]
    """Take a row's rate away, and exactly that."""
    put(starts, links, rows, flow, m, row, -flow[row, RATE], work)
    flow[row, RATE] = 0.0


@njit()
def barred(bar_first, bars, flow, row):  # type: ignore[no-untyped-def]
    """Whether a row that must be apart from this one carries something."""
    if len(bars) == 0:
        return False
    found = False
    for at in range(bar_first[row], bar_first[row + 1]):
        found = found or flow[bars[at], RATE] > 0.0
    return found


@njit()
def missing(own, need, flow, i):  # type: ignore[no-untyped-def]
    """What a demand wants beyond what it has."""
    left = need[i, WANTED]
    for row in range(own[i, FIRST], own[i, STOP]):
        left -= flow[row, RATE]
    return left


@njit()
def reach(starts, links, rows, m, row, work, gain):  # type: ignore[no-untyped-def]
    """(how much may go to a row before prices there rise by more than `gain`, how fast they rise now)."""
    most, bend = np.inf, 0.0
    for at in range(starts[rows[row, PATH]], starts[rows[row, PATH] + 1]):
        link = links[at]
        if m[PRICE, link] > 0.0:
            bend += m[STIFF, link]
        elif m[STIFF, link] > 0.0:
            most = min(most, m[ROOM, link] - m[LOAD, link] + (gain - m[Y, link]) / m[STIFF, link])
    if work > 0.0:
        at = rows[row, END]
        if m[PRICE, at] > m[EXTRA, at] or (m[PRICE, at] > 0.0 and m[LOAD, at] < m[FROM, at]):
            bend += m[STIFF, at] * work * work
        elif m[STIFF, at] > 0.0:
            most = min(most, (m[ROOM, at] - m[LOAD, at] + (gain - m[Y, at]) / m[STIFF, at]) / work)
        if m[EXTRA, at] > 0.0 and m[LOAD, at] < m[FROM, at]:
            most = min(most, (m[FROM, at] - m[LOAD, at]) / work)
    return max(most, 0.0), bend


@njit()
def visit(starts, links, rows, flow, m, own, need, bar_first, bars, i, slack, least, net):  # type: ignore[no-untyped-def]
    """One demand moves, from where a unit is worth least to it to where it is worth most, while that gains `least`.

    `slack`: what a unit unserved is worth; minus infinity where all must be served. Returns whether anything moved.
    """
    begin, stop = own[i, FIRST], own[i, STOP]
    work = need[i, WORK]
    tiny = 1e-9 * need[i, WANTED]
    moved = False
    for _ in range(SHIFTS):
        lacking = need[i, WANTED]
        used = 0
        source, lowest = -2, np.inf
        for row in range(begin, stop):
            floor = -np.inf if flow[row, RATE] > 0.0 else slack
            net[row - begin] = net_worth(starts, links, rows, flow, m, row, work, floor)
            if flow[row, RATE] > 0.0 and net[row - begin] == -np.inf:
                clear(starts, links, rows, flow, m, row, work)
                moved = True
            if flow[row, RATE] > 0.0:
                used += 1
                lacking -= flow[row, RATE]
                if net[row - begin] < lowest:
                    source, lowest = row, net[row - begin]
        if lacking > tiny and slack <= lowest:
            source, lowest = -1, slack
        if source == -2:
            return moved
        full = own[i, MOST] > 0 and used >= own[i, MOST]
        target, highest = -2, -np.inf
        if slack > -np.inf:
            target, highest = -1, slack
        for row in range(begin, stop):
            new = flow[row, RATE] <= 0.0
            if net[row - begin] > highest and not (
                new and (barred(bar_first, bars, flow, row) or (full and source < 0))
            ):
                target, highest = row, net[row - begin]
        if target == source or target == -2 or not highest > lowest + least:
            return moved
        gain = highest - lowest
        amount = lacking if source < 0 else flow[source, RATE]
        step, bend = np.inf, 0.0
        if gain < np.inf:
            if target >= 0:
                step, bend = reach(starts, links, rows, m, target, work, gain)
            if source >= 0:
                bend += reach(starts, links, rows, m, source, work, gain)[1]
            if bend > 0.0:
                step = min(step, gain / bend)
        whole = amount <= step
        if full and target >= 0 and flow[target, RATE] <= 0.0:
            # It may have no row more: all of one goes, or nothing.
            if amount > 2 * step:
                return moved
            whole = True
        amount = amount if whole else step
        if amount <= tiny:
            return moved
        if source >= 0:
            if amount >= flow[source, RATE] - tiny:
                amount = flow[source, RATE]
                clear(starts, links, rows, flow, m, source, work)
            else:
                put(starts, links, rows, flow, m, source, -amount, work)
        if target >= 0:
            put(starts, links, rows, flow, m, target, amount, work)
        moved = True
        if whole and used == (1 if source >= 0 else 0) and (source < 0 or lacking <= tiny):
            return moved  # all that it has or could have is there now
    return moved


@njit()
def visit_all(starts, links, rows, flow, m, own, need, bar_first, bars, which, count, slack, least):  # type: ignore[no-untyped-def]
    """Visit these demands in turn; how many moved."""
    widest = 1
    for at in range(count):
        widest = max(widest, own[which[at], STOP] - own[which[at], FIRST])
    net = np.empty(widest)
    moved = 0
    for at in range(count):
        if visit(starts, links, rows, flow, m, own, need, bar_first, bars, which[at], slack, least, net):
            moved += 1
    return moved
