"""What it costs each demand at least to reach one of its endpoints, when links and endpoints have prices.

For certificates and explanations: by scipy's Dijkstra over all paths, so it shares nothing with the solvers.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import dijkstra

from suanwang.steering.problem import Bools, Demands, Floats, Ints, Limits, Network, Problem

CHUNK = 4_000_000
"""About how many numbers are held at once beyond those of the answer."""


def admitted(network: Network, limits: Limits) -> Bools:
    """(L,) the links whose colours `limits` admit."""
    having = {colour: (network.colour >> number) & 1 == 1 for number, colour in enumerate(network.colours)}
    none = np.zeros(len(network.source), bool)
    fine = ~none
    for colour in limits.exclude:
        fine &= ~having.get(colour, none)
    if limits.include:
        fine &= np.any([having.get(colour, none) for colour in limits.include], axis=0)
    return fine


def matrix(network: Network, links: Bools, price: Floats, backwards: bool = False) -> csr_matrix:
    """The links as a sparse matrix of prices; of parallel links the cheapest. Free links stay, as explicit zeros."""
    at = np.flatnonzero(links & np.isfinite(price))
    rows, columns = network.source[at], network.target[at]
    if backwards:
        rows, columns = columns, rows
    order = np.lexsort((price[at], columns, rows))
    rows, columns, prices = rows[order], columns[order], price[at][order]
    first = np.ones(len(order), bool)
    first[1:] = (rows[1:] != rows[:-1]) | (columns[1:] != columns[:-1])
    starts = np.searchsorted(rows[first], np.arange(len(network.nodes) + 1))
    return csr_matrix((prices[first], columns[first], starts), shape=(len(network.nodes),) * 2)


def cheapest(
    problem: Problem,
    links: Bools,
    price: Floats,
    endpoint_price: Floats,
    endpoint_fixed: Floats,
    *,
    backup_price: Floats | None = None,
    which: Ints | None = None,
) -> Floats:
    """(D,) for each demand the least, over its endpoints, of the price of the cheapest path there over `links` that its
    colours admit, plus work times `endpoint_price`, plus `endpoint_fixed`; infinite where no path leads.

    `backup_price`: for demands that ask for a backup, the cheapest path by these prices is added: no pair of disjoint
    paths can be cheaper. `which`: these demands only; the others stay infinite.
    """
    found = np.full(len(problem.demands), np.inf)
    for endpoints, distance, demand, starts in pairs(problem, links, price, backup_price=backup_price, which=which):
        work = np.repeat(problem.demands.work[demand], np.diff(starts))
        whole = distance + work * endpoint_price[endpoints] + endpoint_fixed[endpoints]
        found[demand] = np.minimum.reduceat(whole, starts[:-1])
    return found


def pairs(
    problem: Problem,
    links: Bools,
    price: Floats,
    *,
    backup_price: Floats | None = None,
    which: Ints | None = None,
) -> Iterator[tuple[Ints, Floats, Ints, Ints]]:
    """Demands with each of their endpoints, a part at a time: (endpoints, distances to them, demands, starts), where
    the entries of the n-th of `demands` are those from `starts[n]` to `starts[n + 1]`.
    """
    demands, network = problem.demands, problem.network
    every = np.arange(len(demands)) if which is None else which
    group = _colour_groups(demands)[demands.limit[every]]
    protected = _protected(demands)[demands.limit[every]]
    for number in np.unique(group).tolist():
        members = every[group == number]
        limits = demands.limits[int(demands.limit[members[0]])]
        usable = links & admitted(network, limits)
        graph = matrix(network, usable, price)
        second = None
        if backup_price is not None and protected[group == number].any():
            second = matrix(network, usable, backup_price)
        members = members[np.argsort(demands.source[members], kind="stable")]
        for part in _parts(demands, members, len(network.nodes)):
            sources, row = np.unique(demands.source[part], return_inverse=True)
            sizes = np.diff(demands.choice_first)[demands.choice[part]]
            starts = np.concatenate(([0], np.cumsum(sizes)))
            at = np.arange(starts[-1]) + np.repeat(demands.choice_first[demands.choice[part]] - starts[:-1], sizes)
            endpoints = demands.choice_of[at]
            nodes = problem.endpoints.node[endpoints]
            rows = np.repeat(row, sizes)
            distance = dijkstra(graph, indices=sources)[rows, nodes]
            if second is not None:
                twice = np.repeat(_protected(demands)[demands.limit[part]], sizes)
                distance = distance + np.where(twice, dijkstra(second, indices=sources)[rows, nodes], 0.0)
            yield endpoints, distance, part, starts


def _parts(demands: Demands, members: Ints, nodes: int) -> Iterator[Ints]:
    """`members`, sorted by source, in parts of so many sources and endpoints as fit a chunk."""
    sizes = np.diff(demands.choice_first)[demands.choice[members]]
    source = demands.source[members]
    fresh = np.concatenate(([True], source[1:] != source[:-1])) * nodes
    weight = np.cumsum(fresh + sizes) // CHUNK
    yield from np.split(members, np.flatnonzero(np.diff(weight)) + 1)


def _colour_groups(demands: Demands) -> Ints:
    """For each of the limits a number, the same where the colours are the same."""
    kinds: dict[object, int] = {}
    return np.array([kinds.setdefault((one.include, one.exclude), len(kinds)) for one in demands.limits])


def _protected(demands: Demands) -> Bools:
    return np.array([one.backup != "none" for one in demands.limits])
