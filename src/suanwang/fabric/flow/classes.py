"""Symmetric traffic on a Clos network, collapsed: cables of one tier and direction carry the same, so one stands for
all.

What leaves the block of endpoints below a switch of tier t is spread evenly over the cables up from that block: that is
what spraying over all shortest paths does, since a Clos network offers every one of them to every flow. So the load of
a cable follows from counting messages that leave a block, and where ranks are evenly spaced that is arithmetic.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import prod

import numpy as np
from numpy.typing import NDArray

from suanwang.fabric.clos import Clos
from suanwang.model.errors import INVALID, SuanwangError

Integers = NDArray[np.int64]

MOST_MOVED = 2**23
"""Messages that are counted one by one, over groups alike."""


@dataclass(frozen=True, slots=True)
class Profile:
    """What a set of messages, of one size, is to a network.

    `top` is the tier of the highest switch that any passes, 0 if there are none. `through[t]` is how many of the
    messages the busiest cable between tiers t and t + 1 carries in its busier direction, in fractions of a message.
    `climbing[t]` is how many of one group's messages pass there at all.
    """

    top: int
    through: tuple[Fraction, ...]
    climbing: tuple[int, ...]


NOTHING = Profile(0, (), ())


def below(clos: Clos, tier: int) -> int:
    """Endpoints in a block of that tier: below one of its switches; 1 for tier 0."""
    return prod(one.children for one in clos.tiers[:tier])


def cables_up(clos: Clos, tier: int) -> int:
    """Cables that lead up from one block of that tier, over all switches with the same endpoints and all planes."""
    above = clos.tiers[tier]
    return prod(one.parents for one in clos.tiers[:tier]) * above.parents * above.bundle * clos.planes


def of_pairs(
    clos: Clos, source: Integers, target: Integers, members: int, alone: bool = True, stride: int = 0
) -> Profile:
    """The profile of one message for each pair of endpoints, sent by a group of `members`.

    `alone`: nothing else is sent. Otherwise the whole network is full of groups that lie and send like this one: those
    moved by 1 .. `stride` - 1 are counted with it, and what they fill repeats. Where `stride` is 0, or there are too
    many to count, a block above the endpoints carries the mean.

    Raises:
        SuanwangError: INVALID where a pair has no path, since trees or rails never meet.
    """
    if not len(source):
        return NOTHING
    here, there = clos.position(source), clos.position(target)
    _reached(clos, here, there)
    through = [Fraction(_most(here, there), cables_up(clos, 0))]
    climbing = [len(source)]
    own_here, own_there = here, there
    moved = 0 if alone or not 0 < stride * len(source) <= MOST_MOVED else stride
    if moved > 1:
        moves = np.arange(moved)[:, None]
        here, there = (clos.position((side + moves).ravel()) for side in (source, target))
    for tier in range(1, clos.height):
        size = below(clos, tier)
        out, into = here // size, there // size
        leaves = out != into
        if not leaves.any():
            break
        if alone:
            load = Fraction(_most(out[leaves], into[leaves]))
        elif moved:
            filled = size * (clos.rails if 1 < clos.joined > tier else 1)
            load = _most(out[leaves], into[leaves]) * max(Fraction(1), Fraction(filled, members * moved))
        else:
            load = Fraction(int(leaves.sum()) * size, members)
        through.append(load / cables_up(clos, tier))
        climbing.append(int(np.count_nonzero(own_here // size != own_there // size)))
    return Profile(len(through), tuple(through), tuple(climbing))


def _most(out: Integers, into: Integers) -> int:
    """How often the most frequent number is among either."""
    return max(int(np.bincount(side).max(initial=0)) for side in (out, into))


def _reached(clos: Clos, here: Integers, there: Integers) -> None:
    apart = np.flatnonzero(here // below(clos, clos.height) != there // below(clos, clos.height))
    if len(apart):
        one, other = (int(clos.endpoint(side[apart[0]])) for side in (here, there))
        raise SuanwangError(
            INVALID,
            f"accelerators {one} and {other} have no path between them: their rails or trees never meet",
            hint="join the rails at a tier, or use a hierarchical algorithm, which stays on rails",
        )


def of_shift(clos: Clos, first: int, stride: int, size: int, by: int, alone: bool) -> Profile | None:
    """The profile where each of `size` evenly spaced ranks sends one message `by` ranks on, around the end.

    By arithmetic; None where the ranks do not fill blocks evenly, so that `of_pairs` has to count.
    """
    if size < 2 or by % size == 0:
        return NOTHING
    by = min(by % size, size - by % size)
    through, climbing = [Fraction(1, cables_up(clos, 0))], [size]
    for tier in range(1, clos.height + 1):
        spaced = _spacing(clos, tier, first, stride)
        crossing = _crossing(below(clos, tier), *spaced, size, by) if spaced else None
        if crossing is None:
            return None
        if crossing == 0:
            return Profile(tier, tuple(through), tuple(climbing))
        if tier == clos.height:
            return None  # trees: `of_pairs` says who can't be reached
        block = below(clos, tier)
        senders = max(1, block // spaced[1]) if alone and spaced else block
        through.append(senders * crossing / cables_up(clos, tier))
        climbing.append(int(size * crossing))
    return None


def _spacing(clos: Clos, tier: int, first: int, stride: int) -> tuple[int, int] | None:
    """First and stride in positions, as blocks of that tier see them; None where rails alternate."""
    if clos.rails == 1 or clos.joined == 1 or tier >= clos.joined:
        return first, stride
    return (first // clos.rails, stride // clos.rails) if stride % clos.rails == 0 else None


def _crossing(block: int, first: int, stride: int, size: int, by: int) -> Fraction | None:
    """Share of ranks whose message leaves its block, in either direction; None if blocks are not filled evenly."""
    span = size * stride
    if block % span == 0 and first % span < stride:
        return Fraction(0)
    if span % block == 0 and (stride % block == 0 or (block % stride == 0 and first % block < stride)):
        return Fraction(min(by * stride, block), block)
    return None


def of_everyone(
    clos: Clos, accelerators: Integers, alone: bool, homes: Integers | None = None, inside: bool = False
) -> Profile:
    """The profile where every accelerator of a group sends one message to every other.

    With the home of each, only messages between members of one home (`inside`) or of different homes count. Homes are
    scale-up domains, or rails.
    """
    home = np.zeros(len(accelerators), np.int64) if homes is None else homes
    if homes is not None and not inside and int(home.min()) == int(home.max()):
        return NOTHING
    place = clos.position(accelerators)
    top = place // below(clos, clos.height)
    if not inside:
        _reached(clos, place[:1].repeat(len(place)), np.sort(place))
    elif len(np.unique(home * (top.max() + 1) + top)) != len(np.unique(home)):
        raise SuanwangError(INVALID, "members of one domain have no path between them")
    through: list[Fraction] = []
    climbing: list[int] = []
    for tier in range(clos.height):
        leaving = _leaving(place // below(clos, tier), home, homes is not None, inside)
        if not leaving.any():
            break
        size = below(clos, tier)
        mean = Fraction(int(leaving.sum()) * size, len(accelerators))
        block = Fraction(int(leaving.max())) if alone or tier == 0 else mean
        through.append(block / cables_up(clos, tier))
        climbing.append(int(leaving.sum()))
    return Profile(len(through), tuple(through), tuple(climbing))


def _leaving(block: Integers, home: Integers, apart: bool, inside: bool) -> Integers:
    """Of each block, how many of the messages between all members, or those of one or different homes, leave it."""
    block = np.unique(block, return_inverse=True)[1].reshape(-1)
    count = np.bincount(block)
    every: Integers = count * (len(block) - count)
    if not apart:
        return every
    _, where, kept = np.unique(block * (home.max() + 1) + home, return_index=True, return_counts=True)
    homes, residents = np.unique(home, return_counts=True)
    of_home = residents[np.searchsorted(homes, home[where])]
    within = np.bincount(block[where], kept * (of_home - kept), len(count)).astype(np.int64)
    return within if inside else every - within


def of_tree(clos: Clos, accelerators: Integers, alone: bool) -> Profile:
    """The profile of one message up from each of a group and one down to it, added up or copied in switches."""
    if len(accelerators) < 2:
        return NOTHING
    place = clos.position(accelerators)
    _reached(clos, place[:-1], place[1:])
    through, climbing = [Fraction(1, cables_up(clos, 0))], [len(accelerators)]
    for tier in range(1, clos.height):
        blocks = int(np.count_nonzero(np.bincount(place // below(clos, tier))))
        if blocks == 1:
            break
        groups = Fraction(1) if alone else Fraction(below(clos, tier) * blocks, len(accelerators))
        through.append(groups / cables_up(clos, tier))
        climbing.append(blocks)
    return Profile(len(through), tuple(through), tuple(climbing))


def latency_ps(clos: Clos, top: int, packet_bytes: int = 0) -> int:
    """One way through a switch of tier `top` and back down: cables, and a packet stored at each switch and sent on.

    Each cable's latency counts as written in the tier; the time in which the packet is first sent belongs to the
    transfer and is not in it, so there are 2 top - 1 switches that send it again.
    """
    wires = 2 * sum(tier.latency_ps for tier in clos.tiers[:top])
    again = [*(tier.rate_bps for tier in clos.tiers[1:top]), *(tier.rate_bps for tier in clos.tiers[:top])]
    return wires + sum(-(-packet_bytes * 8 * 10**12 // rate) for rate in again)


def transfers_ps(clos: Clos, profile: Profile, size_bytes: Fraction | int) -> list[Fraction]:
    """How long the busiest cable of each tier takes for messages of that size."""
    return [
        share * size_bytes * 8 * 10**12 / tier.rate_bps
        for share, tier in zip(profile.through, clos.tiers, strict=False)
    ]
