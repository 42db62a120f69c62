"""What of a network the searches see: usable links from both ends, lengths as whole numbers, what limits limit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from suanwang.steering.problem import Bools, Floats, Ints, Limits, Network

SLACK = 1e-9
"""How far, relatively, a sum may exceed its limit: sums of one path differ by less, whoever adds them up."""

_BITS = 60
"""So many the longest path takes; the rest keep sums of a few paths from overflowing."""
_NOTHING = 1e-200
_DENOMINATOR = 720720.0 * 125
"""A multiple of 1 to 16 and of 1000: capacities in such proportions have inverses in whole numbers of its part."""


class Graph(NamedTuple):
    """Links by their ends. Those out of node u are `out_link[out_first[u]:out_first[u + 1]]`, in the order of their
    numbers, those into it `in_link[...]`; `tail` and `head` (L,) are the ends of all.
    """

    out_first: Ints
    out_link: Ints
    in_first: Ints
    in_link: Ints
    tail: Ints
    head: Ints


def usable(network: Network, limits: Limits, failed: Bools | None) -> Bools:
    """(L,) the links that a path may use: those with capacity and the right colours that are not down."""
    links = network.admitted(limits) & (network.capacity > 0)
    return links if failed is None else links & ~np.asarray(failed, bool)


def graph_of(tail: Ints, head: Ints, nodes: int, links: Bools) -> Graph:
    """The graph of some of the links."""
    chosen = np.flatnonzero(links)
    outward = chosen[np.argsort(tail[chosen], kind="stable")]
    inward = chosen[np.argsort(head[chosen], kind="stable")]
    starts = np.arange(nodes + 1)
    return Graph(
        np.searchsorted(tail[outward], starts),
        outward,
        np.searchsorted(head[inward], starts),
        inward,
        np.array(tail, np.int64),
        np.array(head, np.int64),
    )


def inverse_capacity(network: Network) -> Floats:
    """(L,) weights in the proportion of 1 / capacity; infinite where there is no capacity."""
    finite = network.capacity[(network.capacity > 0) & (network.capacity < np.inf)]
    if not len(finite):
        return np.where(network.capacity > 0, 0.0, np.inf)
    with np.errstate(divide="ignore"):
        return np.asarray(finite.min() * _DENOMINATOR / network.capacity)


def lengths(nodes: int, links: Bools, order: Sequence[Floats]) -> Ints:
    """(L,) one whole number from 1 for each of `links` in a network of so many nodes: sums of them compare paths by the
    first weight of `order`, then by the next, then by hops.

    Weights are 0 or more. They keep their decimals as long as 60 bits hold the sum over the longest path; if they
    don't, weights are rounded down to what the bits are good for.
    """
    hops = max(min(nodes - 1, int(links.sum())), 1)
    total = np.ones(len(links), np.int64)
    taken = hops.bit_length()
    weights = [np.where(links, weight, 0.0) for weight in order]
    for place, weight in reversed(list(enumerate(weights))):
        # The last of two weights only breaks ties: a third of the bits will do.
        free = (_BITS - taken) // (3 if any(one.any() for one in weights[:place]) else 1)
        whole = _whole(weight, hops, free)
        total += whole << taken
        taken += int(np.sort(whole)[::-1][:hops].sum()).bit_length()
    return np.asarray(np.where(links, total, 1))


def _whole(weight: Floats, hops: int, bits: int) -> Ints:
    """Weights as whole numbers in proportion, the `hops` largest of which add up to less than 2^bits."""
    longest = np.sort(weight)[::-1][:hops].sum()
    if longest < _NOTHING:
        return np.zeros(len(weight), np.int64)
    scale = 2.0**bits / longest
    for decimals in range(10):
        exact = np.rint(weight * 10.0**decimals)
        if 10.0**decimals <= scale and (np.abs(weight * 10.0**decimals - exact) <= 1e-6).all():
            return exact.astype(np.int64)
    return np.asarray(np.floor(weight * 2.0 ** np.floor(np.log2(scale))), np.int64)


def spent(network: Network, limits: Limits) -> Floats:
    """(L, R) what each link adds to each of the R quantities that `limits` limits; latency is the first where it is
    one. Loss and availability add up as logarithms.
    """
    with np.errstate(divide="ignore"):
        columns = [
            network.latency_us if limits.latency_us < np.inf else None,
            network.jitter_us if limits.jitter_us < np.inf else None,
            -np.log1p(-network.loss) if limits.loss < 1 else None,
            -np.log(network.availability) if limits.availability > 0 else None,
        ]
    chosen = [column for column in columns if column is not None]
    return np.stack(chosen, axis=1) if chosen else np.zeros((len(network.source), 0))


def bounds(limits: Limits, delay: Floats) -> Floats:
    """(pairs, R) how much of each limited quantity a path may have, where `delay` (pairs,) is the endpoint's own."""
    columns = []
    if limits.latency_us < np.inf:
        left = limits.latency_us - delay
        columns.append(np.where(left < 0, -1.0, left * (1 + SLACK)))
    if limits.jitter_us < np.inf:
        columns.append(np.full(len(delay), limits.jitter_us * (1 + SLACK)))
    if limits.loss < 1:
        columns.append(np.full(len(delay), -np.log1p(-limits.loss) * (1 + SLACK)))
    if limits.availability > 0:
        columns.append(np.full(len(delay), -np.log(limits.availability) * (1 + SLACK)))
    return np.stack(columns, axis=1) if columns else np.zeros((len(delay), 0))
