"""What switches tell each other of bandwidth: FARE's min(), said as far as it is known when nothing is down.

FRR weighs a path by the bandwidth that came with its route: so the advertiser says it, and knows the links between.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from suanwang.fabric.network import Network
from suanwang.model.errors import INVALID, SuanwangError

MOST_VALUE = 25_600
"""FRR before 10.1 takes `set extcommunity bandwidth` from 1 to 25600, in Mbit/s."""
MOST_SUM = 34_000
"""FRR 8.4 keeps a route's bandwidth, and the sum that it advertises, as bytes/s in 32 bits: 34,359 Mbit/s."""


@dataclass(frozen=True, slots=True)
class Policy:
    """The bandwidth that a switch says to a neighbour on each of their sessions, in bit/s; 0: the sum of its own paths.

    `own_bps`: with routes of its own and from below. `beyond_bps`: with those that came to it from above.
    """

    own_bps: int = 0
    beyond_bps: int = 0


@dataclass(frozen=True)
class Policies:
    """By (advertiser, receiver), counted from the first switch; and the greatest sum of bandwidths at any switch."""

    of: Mapping[tuple[int, int], Policy]
    most_sum_bps: int


class _Link(NamedTuple):
    """All cables to a neighbour: how many sessions they carry, and their bandwidth."""

    to: int
    sessions: int
    capacity: int


class _Offer(NamedTuple):
    """How a neighbour is heard. `advertised`: what it has (0: the greatest), which it says times `scale`."""

    link: _Link
    advertised: int
    scale: int

    @property
    def kept(self) -> bool:
        """Whether the links carry all that is advertised."""
        return 0 < self.advertised <= self.link.capacity

    @property
    def through(self) -> int:
        """The path bandwidth: FARE's min()."""
        return min(self.link.capacity, self.advertised or self.link.capacity)


class _Reach:
    """All links up: of each switch, the bandwidth that it has to what is below and above, and the scales of the sums.

    FRR counts a neighbour once for each session, so n sessions that all say A weigh n · A, and what is summed up and
    advertised onward has grown by n. Only proportions count, if all of a receiver's neighbours are on one scale.
    """

    def __init__(self, network: Network, one_session: bool) -> None:
        base, count = network.endpoints, network.switches
        self.tier: list[int] = network.tier[base:].tolist()
        between = (network.source >= base) & (network.target >= base)
        key = (network.source[between] - base) * np.int64(count) + network.target[between] - base
        pair, inverse, links = np.unique(key, return_inverse=True, return_counts=True)
        capacity = np.bincount(inverse.reshape(-1), network.rate_bps[between]).astype(np.int64)
        sessions = np.ones_like(links) if one_session else links
        self._lower: list[list[_Link]] = [[] for _ in range(count)]
        self._upper: list[list[_Link]] = [[] for _ in range(count)]
        for here, *link in zip(*(_list(a) for a in (pair // count, pair % count, sessions, capacity)), strict=True):
            side = self._upper if self.tier[link[0]] > self.tier[here] else self._lower
            side[here].append(_Link(*link))
        self.below, self.above = [0] * count, [0] * count
        self.below_scale, self.above_scale = [1] * count, [1] * count
        self.order = sorted(range(count), key=self.tier.__getitem__)
        self._beside: dict[tuple[int, int], int] = {}
        """Of a switch and one below it, the bandwidth to all else that is below."""
        for one in self.order:
            self._look_down(one)
        for one in reversed(self.order):
            self.above[one] = sum(
                min(link.capacity, max(self._beside[link.to, one], self.above[link.to])) for link in self._upper[one]
            )

    def _look_down(self, one: int) -> None:
        through = {
            link.to: min(link.capacity, self.below[link.to] or link.capacity)
            for link in self._lower[one]
            if self.tier[link.to] < self.tier[one]
        }
        most = [*sorted(through.values(), reverse=True), 0, 0]
        self.below[one] = most[0]
        self._beside |= {(one, lower): most[1] if rate == most[0] else most[0] for lower, rate in through.items()}

    @property
    def pairs(self) -> Iterator[tuple[int, int]]:
        """All switches with all their neighbours."""
        for one in self.order:
            yield from ((one, link.to) for link in (*self._lower[one], *self._upper[one]))

    def from_below(self, receiver: int) -> list[_Offer]:
        """What neighbours that are not above a switch advertise to it."""
        return [_Offer(link, self.below[link.to], self.below_scale[link.to]) for link in self._lower[receiver]]

    def from_above(self, receiver: int, beyond: bool) -> list[_Offer]:
        """What neighbours above a switch advertise to it: of what else they have below, or from above (`beyond`)."""
        if beyond:
            offers = (_Offer(link, self.above[link.to], self.above_scale[link.to]) for link in self._upper[receiver])
        else:
            offers = (
                _Offer(link, self._beside[link.to, receiver], self.below_scale[link.to])
                for link in self._upper[receiver]
            )
        return [offer for offer in offers if offer.advertised]


def policies(network: Network, one_session: bool) -> Policies:
    """What every switch says to every neighbour, with a session for each link or for each pair of switches.

    What is advertised is kept where the links to the neighbour carry it, and otherwise their rate takes its place.
    """
    reach, most = _Reach(network, one_session), 0
    own: dict[tuple[int, int], int] = {}
    beyond: dict[tuple[int, int], int] = {}
    for one in reach.order:
        offers = reach.from_below(one)
        scale = reach.below_scale[one] = _scale(offers)
        own |= {(offer.link.to, one): said for offer, said in _said(offers, scale)}
        most = max(most, scale * reach.below[one])
    for one in reversed(reach.order):
        for said_of, farther in ((own, False), (beyond, True)):
            if offers := reach.from_above(one, farther):
                scale = reach.above_scale[one] = _scale(offers)
                said_of |= {(offer.link.to, one): said for offer, said in _said(offers, scale)}
                most = max(most, scale * sum(offer.through for offer in offers))
    return Policies(
        {pair: Policy(own.get(pair, beyond.get(pair, 0)), beyond.get(pair, own.get(pair, 0))) for pair in reach.pairs},
        most,
    )


def unit_bps(network: Network, said: Policies) -> int:
    """What one unit of FRR's `bandwidth` stands for: 1 Gbit/s, or the rates' common measure where sums would not fit.

    Only proportions count, so one unit for a whole fabric changes nothing.

    Raises:
        SuanwangError: INVALID where rates are too unlike to be told apart.
    """
    between = (network.source >= network.endpoints) & (network.target >= network.endpoints)
    if not between.any():
        return 10**9
    common = int(np.gcd.reduce(network.rate_bps[between]))
    most = max(max(one.own_bps, one.beyond_bps) for one in said.of.values())
    for unit in (10**9, common):
        if common % unit == 0 and most // unit <= MOST_VALUE and said.most_sum_bps // unit <= MOST_SUM:
            return unit
    raise SuanwangError(
        INVALID,
        f"bandwidths of links, in units of {common} bit/s, do not fit FRR's 1 to {MOST_VALUE:,}",
        hint="configure without FARE, or with rates that are multiples of a larger one",
    )


def _scale(offers: Iterable[_Offer]) -> int:
    """The scale of most of the neighbours whose word is kept; 1 where none is."""
    kept = Counter(offer.link.sessions * offer.scale for offer in offers if offer.kept)
    return max(kept, key=lambda scale: (kept[scale], scale), default=1)


def _said(offers: Sequence[_Offer], scale: int) -> Iterator[tuple[_Offer, int]]:
    """What neighbours say, so that all of them are on one scale."""
    for offer in offers:
        if offer.kept and offer.link.sessions * offer.scale == scale:
            yield offer, 0
        else:
            yield offer, max(1, scale * offer.through // offer.link.sessions)


def _list(array: NDArray[np.int64]) -> list[int]:
    found: list[int] = array.tolist()
    return found
