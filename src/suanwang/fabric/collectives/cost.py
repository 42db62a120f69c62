"""The time of a collective: rounds of its schedule over classes of cables alike.

A round takes the latency of its longest path and the time of its busiest cable; rounds follow each other, as each needs
what the one before brought. Rounds around a ring are an exception: no message takes the longest path every time, so r
rounds take what r links in a row take, or what the busiest cable takes for r messages.

Chunks follow each other through all rounds, and what is late in one waits for nothing in another: `pipelining.py`
follows one message of each kind. Software takes its overhead for each message that a rank starts, so n - 1 times where
it sends to everyone; in chunks, for each message of each.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache
from math import ceil, gcd

import numpy as np

from suanwang.fabric.clos import Clos
from suanwang.fabric.collectives import hierarchical
from suanwang.fabric.collectives.algorithms import FLAT, IN_NETWORK, in_network
from suanwang.fabric.collectives.group import Cost, FabricModel, Group
from suanwang.fabric.collectives.patterns import Everyone, Pattern, Shift, TreeEdges, TreeLevel
from suanwang.fabric.collectives.rounds import Shares, Work, fill_ps, least_ps, rounds_of
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
MOST_ASKED = 1024
"""Chunks: the most that are tried, and that may be asked for."""
AS_GOOD = 0.999
"""Chunks and rounds more must save a thousandth to be worth it."""
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
    if size_bytes < 0 or not 0 <= chunks <= MOST_ASKED:
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
    best: Cost | None = None
    refusal: SuanwangError | None = None
    known = list(schedules(kind, size, group, fabric, routing))
    for name, schedule in sorted(known, key=lambda one: sum(stage.repeat for stage in one[1])):
        if algorithm not in ("auto", name):
            continue
        try:
            best = _quicker(best, name, schedule, group, fabric, chunks)
        except SuanwangError as error:
            refusal = error
    if best:
        return best
    raise refusal or SuanwangError(
        INVALID,
        f"{kind} over this group has no algorithm {algorithm!r}",
        hint=f"there are {', '.join(name for name, _ in known)}",
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


def _quicker(
    best: Cost | None, name: str, schedule: Schedule, group: Group, fabric: FabricModel, chunks: int
) -> Cost | None:
    """The better of what is the best so far and this algorithm in the best number of chunks; the former if as good."""
    per_domain = group.per_domain(fabric.domain)
    works = [
        Work(stage, *_profiles(stage, group, fabric), *stage.busiest(group.size, per_domain)) for stage in schedule
    ]
    shares = _shares(works, group, fabric)
    options = [chunks] if chunks else [1 << power for power in range(MOST_CHUNKS.bit_length())]
    time = best.time_ps if best else None
    for least, count in sorted((least_ps(works, fabric, count), count) for count in options):
        if time is None or least < time * AS_GOOD:
            found = _in_chunks(works, fabric, count, shares)
            time = found if time is None else min(time, found)
    if time is None or (best and time >= best.time_ps * AS_GOOD):
        return best
    loads = _loads(schedule, group, fabric)
    sent = {
        which: loads[which, 1] * classes.cables_up(net, 0) if net and (which, 1) in loads else 0
        for which, net in (("scale-up", fabric.scale_up), ("scale-out", fabric.scale_out))
    }
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


def _shares(works: list[Work], group: Group, fabric: FabricModel) -> Shares:
    """Levels of a tree load different cables most: how much of their sum the busiest one carries."""
    sums: dict[tuple[bool, str, int], Fraction] = {}
    found: Shares = {}
    for work in works:
        pattern = work.stage.pattern
        if isinstance(pattern, TreeLevel):
            edges = _profiles(replace(work.stage, pattern=TreeEdges(pattern.down)), group, fabric)
            for which, level, whole in zip(("scale-up", "scale-out"), (work.up, work.out), edges, strict=True):
                for tier, through in enumerate(level.through, 1):
                    sums[pattern.down, which, tier] = sums.get((pattern.down, which, tier), Fraction(0)) + through
                    found[pattern.down, which, tier] = whole.through[tier - 1] / sums[pattern.down, which, tier]
    return found


def _in_chunks(works: list[Work], fabric: FabricModel, chunks: int, shares: Shares) -> int:
    """What all chunks take; while software starts one message, it starts no other."""
    if chunks == 1:
        return ceil(sum(fill_ps(work, fabric, 1) for work in works))
    from suanwang.fabric.collectives.pipelining import pipelined_ps

    started = chunks * sum(work.stage.repeat * work.starts for work in works) * fabric.overhead_ps
    return ceil(max(pipelined_ps(rounds_of(works, fabric, chunks, shares), chunks), started))


def _profiles(stage: Stage, group: Group, fabric: FabricModel) -> tuple[Profile, Profile]:
    per_domain = group.per_domain(fabric.domain)
    if stage.axis == "local" or (stage.axis == "all" and per_domain == group.size and fabric.scale_up is not None):
        part = group.local(per_domain)
        assert fabric.scale_up is not None
        return _profile(stage.pattern, stage.combined, part, fabric.scale_up), NOTHING
    if stage.axis == "across" or fabric.scale_up is None or (per_domain == 1 and _apart(group, fabric.domain)):
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


def _apart(group: Group, domain: int) -> bool:
    """Whether no two members share a scale-up domain."""
    if group.members is None:
        return group.stride >= domain
    return len({member // domain for member in group.members}) == group.size


def _stride(group: Group) -> int:
    return 0 if group.members else group.stride


def _bounded(pairs: int) -> None:
    if pairs > MOST_PAIRS:
        raise SuanwangError(INVALID, f"{pairs:,} pairs are more than the {MOST_PAIRS:,} that are counted one by one")
