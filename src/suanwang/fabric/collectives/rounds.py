"""What the rounds of a collective ask of cables: how long one takes, and by which kinds of messages."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise

from suanwang.fabric.clos import Clos
from suanwang.fabric.collectives.group import FabricModel
from suanwang.fabric.collectives.patterns import Everyone, Scatter, Shift, TreeLevel, tree_depth
from suanwang.fabric.collectives.pipelining import Message, Rounds, at_once
from suanwang.fabric.collectives.schedule import Stage
from suanwang.fabric.flow import classes
from suanwang.fabric.flow.classes import NOTHING, Profile

Shares = dict[tuple[bool, str, int], Fraction]
"""Of trees up (False) or down and a network's tier: how much of what levels load at most, the busiest cable carries."""


@dataclass(frozen=True, slots=True)
class Work:
    """What one stage asks of both networks; ranks on its axis, and messages that the busiest starts."""

    stage: Stage
    up: Profile
    out: Profile
    ranks: int
    starts: int

    @property
    def around(self) -> bool:
        """Whether it goes around a ring more than one step."""
        pattern = self.stage.pattern
        return isinstance(pattern, Shift) and not pattern.line and self.stage.repeat > 1

    def networks(self, fabric: FabricModel) -> list[tuple[str, Clos, Profile, Fraction]]:
        """Those that it uses: name, network, profile, and the share of the bandwidth that can be had."""
        both = (
            ("scale-up", fabric.scale_up, self.up, Fraction(1)),
            ("scale-out", fabric.scale_out, self.out, Fraction(fabric.efficiency)),
        )
        return [(which, net, profile, share) for which, net, profile, share in both if net and profile.top]


@dataclass(frozen=True, slots=True)
class Link:
    """Messages alike of a round: how many of a group's, their latency, and how long they are sent when alone."""

    count: int
    latency_ps: Fraction
    transfer_ps: Fraction


def _chunk_bytes(work: Work, chunks: int) -> int:
    return -(-work.stage.size_bytes // chunks)


def links(work: Work, fabric: FabricModel, chunks: int) -> list[Link]:
    """Kinds of messages by how far they go, nearest first.

    A rank starts its k messages one after another, while those before are on their way: k overheads and the last
    transfer, or the first overhead and all transfers, whichever takes longer.
    """
    size = _chunk_bytes(work, chunks)
    packet = min(fabric.packet_bytes, size)
    found = []
    for _, net, profile, share in work.networks(fabric):
        transfers = classes.transfers_ps(net, profile, size)
        for tier in range(1, profile.top + 1):
            count = profile.climbing[tier - 1] - (profile.climbing[tier] if tier < profile.top else 0)
            latency = Fraction(fabric.overhead_ps + classes.latency_ps(net, tier, packet))
            transfer = max(transfers[:tier]) / share
            late = (work.starts - 1) * fabric.overhead_ps + transfer / work.starts
            if count or tier == profile.top:
                found.append(Link(count, latency, max(transfer, late)))
    return found


def fill_ps(work: Work, fabric: FabricModel, chunks: int) -> Fraction:
    """What one chunk takes for the rounds of one stage."""
    found = links(work, fabric, chunks)
    repeat = work.stage.repeat
    longest = max((one.latency_ps + one.transfer_ps for one in found), default=Fraction(0))
    around = sum(one.count for one in found)
    if not work.around or around < 2:
        return repeat * longest
    # Once around is every link; less than that leaves out the quickest ones.
    whole, part = divmod(repeat, around)
    total = sum((one.count * (one.latency_ps + one.transfer_ps) for one in found), Fraction(0))
    quickest = min(one.latency_ps + one.transfer_ps for one in found if one.count)
    in_a_row = whole * total + (total - (around - part) * quickest if part else 0)
    busy = max(one.transfer_ps for one in found)
    waited = max(one.latency_ps for one in found if one.transfer_ps == busy)
    return max(min(in_a_row, repeat * longest), repeat * busy + waited)


def least_ps(works: Sequence[Work], fabric: FabricModel, chunks: int) -> Fraction:
    """What they can't take less than: one chunk all rounds, or all chunks the busiest cable."""
    busy: dict[tuple[str, int], float] = {}
    for work in works:
        if not isinstance(work.stage.pattern, TreeLevel):  # a cable is on some levels only
            for key, value in _busy(work, fabric, chunks).items():
                busy[key] = busy.get(key, 0.0) + value * work.stage.repeat * chunks
    fill = sum((fill_ps(work, fabric, chunks) for work in works), Fraction(0))
    return max([fill, *map(Fraction, busy.values())])


def rounds_of(works: Sequence[Work], fabric: FabricModel, chunks: int, shares: Shares) -> list[Rounds]:
    """All rounds of one chunk, for `pipelined_ps`."""
    found = [
        Rounds(_messages(work, fabric, chunks, shares), number - 1, work.stage.repeat)
        for number, work in enumerate(works)
    ]
    if isinstance(works[0].stage.pattern, Scatter) and isinstance(works[-1].stage.pattern, Everyone):
        # The root's domain need not wait for others, and gathers while more is scattered.
        ahead = tuple(replace(one, connection=("ahead", one.connection)) for one in found[-1].messages)
        later = tuple(
            replace(one, busy_ps={("elsewhere", key): value for key, value in one.busy_ps.items()})
            for one in found[-1].messages
        )
        found[-1] = replace(found[-1], messages=later)
        found.append(Rounds(ahead, 0))
    return found


def _messages(work: Work, fabric: FabricModel, chunks: int, shares: Shares) -> tuple[Message, ...]:
    name = (work.stage.axis, work.stage.pattern)
    kinds = _in_turn(links(work, fabric, chunks)) if work.around else []
    if kinds and (at_once(len(kinds), chunks) >= min(len(kinds), work.stage.repeat)):
        return tuple(
            Message({}, float(one.transfer_ps), float(one.transfer_ps), float(one.latency_ps), (name, place))
            for place, one in enumerate(kinds)
        )
    if isinstance(work.stage.pattern, TreeLevel):
        parts = (replace(work, out=NOTHING), replace(work, up=NOTHING))
        both = len(work.networks(fabric)) > 1
        return tuple(
            one for part in parts if part.networks(fabric) for one in _in_trees(part, fabric, chunks, shares, both)
        )
    busy = _busy(work, fabric, chunks)
    alone = max(busy.values())
    latency = float(fill_ps(work, fabric, chunks) / work.stage.repeat) - alone
    return (Message(dict(busy), _one_ps(work, fabric, chunks), alone, latency, name),)


def _one_ps(work: Work, fabric: FabricModel, chunks: int) -> float:
    """How long an endpoint sends one message, on the slower network."""
    bits = _chunk_bytes(work, chunks) * 8
    return max(
        float(Fraction(bits * 10**12) / (net.tiers[0].rate_bps * classes.cables_up(net, 0) * share))
        for _, net, _, share in work.networks(fabric)
    )


def _busy(work: Work, fabric: FabricModel, chunks: int) -> dict[tuple[str, int], float]:
    """How long the busiest cable of each network and tier is, with one chunk in one round."""
    size = _chunk_bytes(work, chunks)
    return {
        (which, tier): float(transfer / share)
        for which, net, profile, share in work.networks(fabric)
        for tier, transfer in enumerate(classes.transfers_ps(net, profile, size), 1)
    }


def _in_turn(found: Sequence[Link]) -> list[Link]:
    """The links around a ring as they follow each other until all begins anew; none where they are not so regular.

    Ranks in a row fill blocks: of every so many links one leaves its block, of every so many of these one the next.
    """
    around = [sum(one.count for one in found[kind:]) for kind in range(len(found))]
    if not around[-1] or any(one % other for one, other in pairwise(around)):
        return []
    steps = [around[0] // one for one in around]
    return [
        found[max(kind for kind, step in enumerate(steps) if place % step == 0)] for place in range(1, steps[-1] + 1)
    ]


def _in_trees(work: Work, fabric: FabricModel, chunks: int, shares: Shares, mixed: bool) -> Iterator[Message]:
    """Of a level of two trees on one network, messages by the level that the lower rank has in the tree where it is no
    leaf.

    Ports belong to ranks of a level: others send and receive at other times.
    """
    pattern, depth = work.stage.pattern, tree_depth(work.ranks)
    assert isinstance(pattern, TreeLevel)
    (which, _, profile, _), *_ = work.networks(fabric)
    busy = _busy(work, fabric, chunks)
    alone = max(busy.values())
    latency = float(fill_ps(work, fabric, chunks)) - alone
    one = _one_ps(work, fabric, chunks)
    leaves = pattern.level == depth > 1
    inner = range(depth - 1 if mixed else 1, depth)
    for level in inner if leaves else (pattern.level,):
        part = 2 ** (level - 1) / sum(2 ** (one - 1) for one in inner) if leaves else 1.0
        uses: dict[Hashable, float] = {
            (which, not pattern.down, level): one,
            (which, pattern.down, pattern.level - 1): part * busy[which, 1],
        }
        for tier in range(2, profile.top + 1):
            uses[which, tier] = part * busy[which, tier] * float(shares[pattern.down, which, tier])
        yield Message(uses, one, alone, latency, (work.stage.axis, which, pattern, level))
