"""The time of a collective: rounds of its schedule over classes of cables alike.

A round takes the latency of its longest path and the time of its busiest cable; rounds follow each other, as each needs
what the one before brought. Rounds around a ring are an exception: no message takes the longest path every time, so r
rounds take what r links in a row take, or what the busiest cable takes for r messages. In c chunks, the first passes
through all rounds, and the others follow at the pace of the cable that is busiest over all of them:

    time = sum over rounds (latency + size / (c rate)) + (c - 1) / c x busiest

Software takes its overhead for each message that a rank starts, so n - 1 times where it sends to everyone; in chunks,
for each message of each.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from math import ceil, gcd

import numpy as np

from suanwang.fabric.clos import Clos
from suanwang.fabric.collectives import hierarchical
from suanwang.fabric.collectives.algorithms import FLAT, IN_NETWORK, in_network
from suanwang.fabric.collectives.group import Cost, FabricModel, Group
from suanwang.fabric.collectives.patterns import Everyone, Pattern, Shift, TreeEdges, TreeLevel
from suanwang.fabric.collectives.routing import Routing
from suanwang.fabric.collectives.schedule import Axis, Schedule, Stage
from suanwang.fabric.flow import classes
from suanwang.fabric.flow.classes import NOTHING, Profile
from suanwang.model.errors import INVALID, SuanwangError

__all__ = ["KINDS", "Cost", "FabricModel", "Group", "Routing", "collective_time", "schedules"]

KINDS = {
    "all-reduce": "size: the buffer of each member",
    "reduce-scatter": "size: the buffer of each member, of which it keeps 1/n",
    "all-gather": "size: the gathered whole, of which each member brings 1/n",
    "broadcast": "size: the buffer of rank 0",
    "all-to-all": "size: the buffer of each member, 1/n for each (itself included)",
    "moe-dispatch": "size: all copies of the tokens of each member, evenly for all members (itself included)",
    "moe-combine": "size: the same on the way back",
    "send": "size: the message; each rank sends to the next, all at once",
}
MOST_CHUNKS = 64
MOST_PAIRS = 2**24


def collective_time(
    kind: str,
    size_bytes: int,
    group: Group,
    fabric: FabricModel,
    algorithm: str = "auto",
    chunks: int = 0,
    routing: Routing | None = None,
) -> Cost:
    """What a collective takes on a fabric.

    Args:
        kind: one of KINDS, which say what `size_bytes` means.
        algorithm: "auto" takes the quickest of `schedules`.
        chunks: into how many the buffer is cut; 0 takes the best power of two.
        routing: where tokens go, for the moe kinds; without, copies for one domain are not made there.

    Raises:
        SuanwangError: INVALID for an unknown kind or algorithm, members that the fabric lacks, or no path.
    """
    if size_bytes < 0 or not 0 <= chunks <= 2**20:
        raise SuanwangError(INVALID, f"a collective of {size_bytes} bytes in {chunks} chunks makes no sense")
    present(group, fabric)
    if kind not in KINDS:
        raise SuanwangError(INVALID, f"no collective is called {kind!r}", hint=f"there are {', '.join(KINDS)}")
    if group.size == 1 or size_bytes == 0:
        return Cost(0, 0, 0, "none")
    alike = (_quickest(kind, size_bytes, one, fabric, algorithm, chunks, routing) for one in _alike(group, fabric))
    return max(alike, key=lambda cost: cost.time_ps)


def present(group: Group, fabric: FabricModel) -> None:
    """Refuse a group with members that the fabric lacks."""
    if group.last >= fabric.accelerators:
        raise SuanwangError(INVALID, f"accelerator {group.last} is not there: the fabric has {fabric.accelerators}")


def _alike(group: Group, fabric: FabricModel) -> list[Group]:
    """One of each way in which groups alike lie in scale-up domains: some are cut where others are not.

    They lie in one way, unless the accelerators that `stride` groups fill and those of a domain don't divide each
    other.
    """
    domain, span = fabric.domain, group.size * group.stride
    if group.alone or group.members or domain == 1 or span % domain == 0 or domain % span == 0:
        return [group]
    found = {_cut(group, domain): group}
    blocks = range(group.first % span // group.stride * group.stride, fabric.accelerators, span)
    for start in blocks[: domain // gcd(domain, span)]:
        for first in range(start, start + min(group.stride, domain)):
            other = replace(group, first=first)
            if other.last < fabric.accelerators:
                found.setdefault(_cut(other, domain), other)
    return list(found.values())


def _cut(group: Group, domain: int) -> int:
    """How far from its first member the group's domain ends; 0 where it holds them all."""
    return 0 if group.first // domain == group.last // domain else domain - group.first % domain


@lru_cache(maxsize=4096)
def _quickest(
    kind: str, size: int, group: Group, fabric: FabricModel, algorithm: str, chunks: int, routing: Routing | None
) -> Cost:
    costs: list[Cost] = []
    refusal: SuanwangError | None = None
    names: list[str] = []
    for name, schedule in schedules(kind, size, group, fabric, routing):
        names.append(name)
        if algorithm not in ("auto", name):
            continue
        try:
            costs.append(_cost(name, schedule, group, fabric, chunks))
        except SuanwangError as error:
            refusal = error
    if costs:
        return min(costs, key=lambda cost: cost.time_ps)
    raise refusal or SuanwangError(
        INVALID, f"{kind} over this group has no algorithm {algorithm!r}", hint=f"there are {', '.join(names)}"
    )


def schedules(
    kind: str, size: int, group: Group, fabric: FabricModel, routing: Routing | None = None
) -> Iterator[tuple[str, Schedule]]:
    """All algorithms that this group can use for a collective, by name."""
    per_domain = group.per_domain(fabric.domain)
    domains = group.size // per_domain
    if domains == 1 or per_domain == 1 or fabric.scale_out is None:
        axis: Axis = "all"
        for name, schedule in _on_axis(kind, size, group.size, axis, _reduces(fabric, domains == 1)):
            yield name, schedule
        return
    for name, schedule in _on_axis(kind, size, group.size, "all", False):
        yield name, schedule
    if kind in ("all-to-all", "moe-dispatch", "moe-combine"):
        yield "hierarchical", hierarchical.exchanged(size, per_domain, domains)
        if routing and kind == "moe-dispatch":
            yield "forwarding", hierarchical.dispatched(size, per_domain, domains, routing)
        if routing and kind == "moe-combine":
            yield "forwarding", hierarchical.combined(size, per_domain, domains, routing)
        return
    combine = {
        "all-reduce": hierarchical.reduced,
        "reduce-scatter": hierarchical.scattered,
        "all-gather": hierarchical.gathered,
        "broadcast": hierarchical.copied,
    }.get(kind)
    if combine is None:
        return

    def local(what: str, part: int) -> Schedule:
        return dict(_on_axis(what, part, per_domain, "local", False))["direct"]

    across_kind = "all-reduce" if kind == "all-reduce" else kind
    for name, _ in _on_axis(across_kind, size, domains, "across", "scale-out" in fabric.reduces):

        def across(what: str, part: int, name: str = name) -> Schedule:
            return dict(_on_axis(what, part, domains, "across", "scale-out" in fabric.reduces))[name]

        yield f"hierarchical-{name}", combine(local, across, size, per_domain)


def _reduces(fabric: FabricModel, within: bool) -> bool:
    return ("scale-up" if within and fabric.scale_up else "scale-out") in fabric.reduces


def _on_axis(kind: str, size: int, ranks: int, axis: Axis, reduces: bool) -> Iterator[tuple[str, Schedule]]:
    for name, algorithm in FLAT[kind].items():
        if schedule := algorithm(ranks, size, axis):
            yield name, schedule
    if reduces and kind in IN_NETWORK:
        yield "in-network", in_network(ranks, size, axis)


@dataclass(frozen=True, slots=True)
class _Work:
    """What one stage asks of both networks, and the messages that its busiest rank starts in a round."""

    stage: Stage
    up: Profile
    out: Profile
    starts: int


def _cost(name: str, schedule: Schedule, group: Group, fabric: FabricModel, chunks: int) -> Cost:
    per_domain = group.per_domain(fabric.domain)
    works = [_Work(stage, *_profiles(stage, group, fabric), stage.starts(group.size, per_domain)) for stage in schedule]
    loads = _loads(schedule, group, fabric)
    sent = {
        which: loads[which, 1] * classes.cables_up(net, 0) if net and (which, 1) in loads else 0
        for which, net in (("scale-up", fabric.scale_up), ("scale-out", fabric.scale_out))
    }
    options = [chunks] if chunks else [1 << power for power in range(MOST_CHUNKS.bit_length())]
    busiest = max(
        (load * 8 * 10**12 / _rate(fabric, which, tier) for (which, tier), load in loads.items()), default=Fraction(0)
    )
    started = sum(work.stage.repeat * work.starts for work in works)
    time = min(_in_chunks(works, fabric, count, busiest, started) for count in options)
    return Cost(
        time,
        ceil(sent["scale-up"]),
        ceil(sent["scale-out"]),
        name,
        tuple((which, tier, ceil(load)) for (which, tier), load in sorted(loads.items())),
    )


def _loads(schedule: Schedule, group: Group, fabric: FabricModel) -> dict[tuple[str, int], Fraction]:
    """Bytes of the busiest cable of each network and tier. A cable is on some levels of a tree: they count as one."""
    loads: dict[tuple[str, int], Fraction] = {}
    for stage in schedule:
        if isinstance(stage.pattern, TreeLevel):
            if stage.pattern.level > 1:
                continue
            stage = replace(stage, pattern=TreeEdges(stage.pattern.down))
        for which, profile in zip(("scale-up", "scale-out"), _profiles(stage, group, fabric), strict=True):
            for tier, share in enumerate(profile.through, 1):
                loads[which, tier] = loads.get((which, tier), Fraction(0)) + share * stage.size_bytes * stage.repeat
    return loads


def _in_chunks(works: list[_Work], fabric: FabricModel, chunks: int, busiest: Fraction, started: int) -> int:
    fill = sum((_fill(work, fabric, chunks) for work in works), Fraction(0))
    return ceil(fill + (chunks - 1) * (busiest / chunks + started * fabric.overhead_ps))


def _fill(work: _Work, fabric: FabricModel, chunks: int) -> Fraction:
    """What one chunk takes for the rounds of one stage.

    A rank starts its k messages one after another, while those before are on their way: k overheads and the last
    transfer, or the first overhead and all transfers, whichever takes longer.
    """
    size = Fraction(work.stage.size_bytes, chunks)
    links: list[tuple[int, Fraction, Fraction]] = []  # messages alike: how many, their latency, their transfer
    for net, profile in ((fabric.scale_up, work.up), (fabric.scale_out, work.out)):
        if net is None or not profile.top:
            continue
        slowed = Fraction(fabric.efficiency) if net is fabric.scale_out else Fraction(1)
        transfers = classes.transfers_ps(net, profile, size)
        packet = min(fabric.packet_bytes, ceil(size))
        for tier in range(1, profile.top + 1):
            count = profile.climbing[tier - 1] - (profile.climbing[tier] if tier < profile.top else 0)
            latency = Fraction(fabric.overhead_ps + classes.latency_ps(net, tier, packet))
            transfer = max(transfers[:tier]) / slowed
            late = (work.starts - 1) * fabric.overhead_ps + transfer / work.starts
            if count or tier == profile.top:
                links.append((count, latency, max(transfer, late)))
    longest = max((latency + transfer for _, latency, transfer in links), default=Fraction(0))
    around = sum(count for count, _, _ in links)
    repeat = work.stage.repeat
    if not isinstance(work.stage.pattern, Shift) or work.stage.pattern.line or repeat == 1 or around < 2:
        return repeat * longest
    # Once around is every link; less than that leaves out the quickest ones.
    whole, part = divmod(repeat, around)
    total = sum((count * (latency + transfer) for count, latency, transfer in links), Fraction(0))
    quickest = min(latency + transfer for count, latency, transfer in links if count)
    in_a_row = whole * total + (total - (around - part) * quickest if part else 0)
    busy = max(transfer for _, _, transfer in links)
    waited = max(latency for _, latency, transfer in links if transfer == busy)
    return max(min(in_a_row, repeat * longest), repeat * busy + waited)


def _rate(fabric: FabricModel, which: str, tier: int) -> Fraction:
    net = fabric.scale_up if which == "scale-up" else fabric.scale_out
    assert net is not None
    return net.tiers[tier - 1].rate_bps * (Fraction(fabric.efficiency) if which == "scale-out" else Fraction(1))


def _profiles(stage: Stage, group: Group, fabric: FabricModel) -> tuple[Profile, Profile]:
    per_domain = group.per_domain(fabric.domain)
    if stage.axis == "local" or (stage.axis == "all" and per_domain == group.size and fabric.scale_up is not None):
        part = group.local(per_domain)
        assert fabric.scale_up is not None
        return _profile(stage.pattern, stage.combined, part, fabric.scale_up), NOTHING
    if stage.axis == "across" or per_domain == 1 or fabric.scale_up is None:
        part = group.across(per_domain) if stage.axis == "across" else group
        together = group.alone and stage.axis == "across" and per_domain > 1
        if fabric.scale_out is None:
            raise SuanwangError(INVALID, "the group spans scale-up domains, and there is no scale-out network")
        if together:
            return NOTHING, _of_all_rails(stage, group, fabric.scale_out, per_domain)
        return NOTHING, _profile(stage.pattern, stage.combined, part, fabric.scale_out)
    return _split(stage.pattern, group, fabric)


@lru_cache(maxsize=4096)
def _profile(pattern: Pattern, combined: bool, group: Group, net: Clos) -> Profile:
    """A pattern over all members of a group on one network."""
    if combined:
        return classes.of_tree(net, group.accelerators(), group.alone)
    if isinstance(pattern, Everyone):
        return classes.of_everyone(net, group.accelerators(), group.alone)
    if isinstance(pattern, Shift) and group.members is None:
        found = classes.of_shift(net, group.first, group.stride, group.size, pattern.by, group.alone)
        if found is not None:
            return found
    _bounded(pattern.count(group.size))
    source, target = pattern.pairs(group.size)
    members = group.accelerators()
    return classes.of_pairs(net, members[source], members[target], group.size, group.alone, _stride(group))


@lru_cache(maxsize=1024)
def _of_all_rails(stage: Stage, group: Group, net: Clos, per_domain: int) -> Profile:
    """All rails of one group at once, with nothing else on the network."""
    members = group.accelerators()
    if isinstance(stage.pattern, Everyone):
        rails = np.arange(group.size, dtype=np.int64) % per_domain
        found = classes.of_everyone(net, members, group.alone, rails, inside=True)
    else:
        _bounded(stage.count(group.size, per_domain))
        source, target = stage.pairs(group.size, per_domain)
        found = classes.of_pairs(net, members[source], members[target], group.size, group.alone)
    return replace(found, climbing=tuple(count // per_domain for count in found.climbing))


@lru_cache(maxsize=1024)
def _split(pattern: Pattern, group: Group, fabric: FabricModel) -> tuple[Profile, Profile]:
    """A pattern whose pairs use the scale-up network within domains, and the scale-out network across."""
    assert fabric.scale_up is not None
    if fabric.scale_out is None:
        raise SuanwangError(INVALID, "the group spans scale-up domains, and there is no scale-out network")
    members = group.accelerators()
    if isinstance(pattern, Everyone):
        homes = members // fabric.domain
        up = classes.of_everyone(fabric.scale_up, members, group.alone, homes, inside=True)
        return up, classes.of_everyone(fabric.scale_out, members, group.alone, homes)
    _bounded(pattern.count(group.size))
    source, target = (members[side] for side in pattern.pairs(group.size))
    inside = source // fabric.domain == target // fabric.domain
    found = [
        classes.of_pairs(net, source[which], target[which], group.size, group.alone, _stride(group))
        for net, which in ((fabric.scale_up, inside), (fabric.scale_out, ~inside))
    ]
    return found[0], found[1]


def _stride(group: Group) -> int:
    return 0 if group.members else group.stride


def _bounded(pairs: int) -> None:
    if pairs > MOST_PAIRS:
        raise SuanwangError(INVALID, f"{pairs:,} pairs are more than the {MOST_PAIRS:,} that are counted one by one")
