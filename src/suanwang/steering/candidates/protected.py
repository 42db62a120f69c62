"""Main paths, each with a backup that shares no link, node or risk with it.

Main paths are enumerated, best first, and each gets the best backup that avoids what it uses: exact for each main path,
and over all of them when the enumeration comes to its end. It is stopped at some multiple of what is asked for; a pair
all of whose best paths lie in the way of any backup may then get none, and is named as cut. Without limits on sums, and
for links and nodes, that can't happen: there the two that are shortest together are sought as well, which is exact. Two
paths that share no link must exist in any case, so pairs without them are done with at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from typing import Any

import numpy as np

from suanwang.steering.candidates.bulk import chained, in_parts, path_set, ranked, side_by_side, summed, taken
from suanwang.steering.candidates.graph import Graph, graph_of
from suanwang.steering.candidates.pairs import Pairs, ranges
from suanwang.steering.candidates.shortest import Groups, Search, shortest
from suanwang.steering.paths import PathSet
from suanwang.steering.problem import Bools, Disjoint, Floats, Ints, Network

ROUNDS = (1, 4, 16, 64)
"""So many times the wanted number of main paths are tried, until there are enough with a backup."""


def protected(
    network: Network,
    links: Bools,
    search: Search,
    pairs: Pairs,
    bound: Floats,
    count: int,
    backup: Disjoint,
    workers: Executor | None,
) -> tuple[PathSet, Any]:
    """Up to `count` protected paths for each pair, the shortest together first, and (pairs,) which of the pairs have
    fewer because the search was stopped.
    """
    groups = _groups(network, search.graph, backup)
    alone = pairs.source == pairs.target
    rows = [shortest(search, pairs.taken(np.flatnonzero(alone)), bound[alone], 1, workers).paths]
    twins = _twins(network, links, search.length, pairs.taken(np.flatnonzero(~alone)), backup, workers)
    if backup is not Disjoint.RISK and not bound.shape[1]:
        rows.append(twins)
    key = pairs.source << 32 | pairs.target
    left = np.flatnonzero(np.isin(key, twins.source << 32 | twins.target))
    cut = np.zeros(len(pairs), bool)
    for times in ROUNDS:
        some = pairs.taken(left)
        mains = shortest(search, some, bound[left], count * times, workers)
        of = np.repeat(np.arange(len(left)), mains.counts)
        asked = Pairs(mains.paths.source, mains.paths.target, some.delay[of])
        backups = shortest(search, asked, bound[left][of], 1, workers, avoid=mains.paths, groups=groups)
        has = np.flatnonzero(backups.counts)
        rows.append(_in_order(search.length, taken(mains.paths, has), backups.paths))
        got = np.bincount(of[has], minlength=len(left))
        cut[left] = mains.cut | (np.bincount(of[backups.cut], minlength=len(left)) > 0)
        left = left[(got < count) & ~mains.all & ~mains.cut]
        if not len(left):
            break
    cut[left] = True
    every = chained(rows)
    together, main = summed(every, search.length), summed(_mains(every), search.length)
    return ranked(every, (together, main), count), cut


def _mains(paths: PathSet) -> PathSet:
    return path_set(paths.source, paths.target, paths.main, paths.links[ranges(paths.first[:-1], paths.main)])


def _in_order(length: Ints, one: PathSet, other: PathSet) -> PathSet:
    """Pairs of paths of which the shorter is the main path."""
    count = len(one)
    swap = summed(other, length) < summed(one, length)
    both = chained([one, other])
    rows = np.arange(count)
    return side_by_side(
        taken(both, np.where(swap, rows + count, rows)), taken(both, np.where(swap, rows, rows + count))
    )


def _groups(network: Network, graph: Graph, backup: Disjoint) -> Groups:
    """For `shortest`: what is out of use for a backup with each link: all links into its head, or of its risks."""
    if backup is Disjoint.NODE:
        links = np.arange(len(network.source) + 1)
        return links, graph.head, graph.in_first, graph.in_link, True
    if backup is Disjoint.RISK:
        link = np.repeat(np.arange(len(network.source)), np.diff(network.risk_first))
        order = np.argsort(network.risk_of, kind="stable")
        first = np.searchsorted(network.risk_of[order], np.arange(len(network.risks) + 1))
        return np.array(network.risk_first), np.array(network.risk_of), first, link[order], False
    nothing: Sequence[Ints] = (np.zeros(len(network.source) + 1, np.int64), np.zeros(0, np.int64))
    return nothing[0], nothing[1], nothing[0], nothing[1], False


def _twins(
    network: Network, links: Bools, length: Ints, pairs: Pairs, backup: Disjoint, workers: Executor | None
) -> PathSet:
    """The two disjoint paths that are shortest together, as a protected path, for each pair that has them."""
    from suanwang.steering.candidates.twin_kernel import twins

    nodes, real = len(network.nodes), len(network.source)
    tail, head, source = network.source, network.target, pairs.source
    if backup is Disjoint.NODE:
        # Node v is left from node `nodes + v`, to which one link leads: so two paths can't both pass it.
        every = np.arange(nodes)
        tail, head = np.concatenate((tail + nodes, every)), np.concatenate((head, every + nodes))
        links = np.concatenate((links, np.ones(nodes, bool)))
        length = np.concatenate((length, np.zeros(nodes, np.int64)))
        source = source + nodes
        nodes *= 2
    graph = graph_of(tail, head, nodes, links)

    def task(begin: int, end: int) -> tuple[Any, ...]:
        return tuple(twins(graph, length, source[begin:end], pairs.target[begin:end], real))

    counts, sizes, flat = in_parts(task, len(pairs), workers)
    paths = path_set(np.repeat(pairs.source, 2 * counts), np.repeat(pairs.target, 2 * counts), sizes, flat)
    rows = np.arange(0, len(paths), 2)
    return _in_order(length, taken(paths, rows), taken(paths, rows + 1))
