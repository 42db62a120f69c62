"""Failure domains: what one failure touches, and how much of whose bandwidth it takes.

The share is of the ways that the endpoints touched have through the tier that fails, planes together: a leaf of two
planes takes half of what its endpoints send. A failure that leaves them none of these ways parts them from all beyond.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from suanwang.fabric.clos import TIER_NAMES, Clos
from suanwang.fabric.design.design import Design, Which
from suanwang.fabric.dragonfly import Dragonfly


@dataclass(frozen=True, slots=True)
class Domain:
    """What fails (`count` of these there are), how many endpoints that touches, what share of their bandwidth is lost,
    how much capacity (one direction) goes with it, and whether they are parted from all beyond.
    """

    what: str
    count: int
    endpoints: int
    share: float
    lost_bps: int
    parted: bool


def domains(design: Design, which: Which) -> list[Domain]:
    """The failure domains of one network, from a cable to a plane. Empty for a network read from a list of links."""
    part = design.part(which)
    if isinstance(part, Dragonfly):
        return _of_dragonfly(part, design)
    return _of_clos(part, design) if part is not None else []


def _of_clos(clos: Clos, design: Design) -> list[Domain]:
    found = []
    for tier in range(1, clos.height + 1):
        one = clos.tiers[tier - 1]
        ways = clos.planes * clos.alike(tier - 1) * clos.up_ports(tier - 1)
        count = clos.planes * clos.count(tier) * clos.down_ports(tier)
        where = f"cable below {TIER_NAMES[tier - 1]}"
        found.append(Domain(where, count, clos.below(tier - 1), 1 / ways, one.rate_bps, ways == 1))
    found += [_switches(clos, tier, 1, TIER_NAMES[tier - 1]) for tier in range(1, clos.height + 1)]
    racks = design.layout.switches_per_rack
    for tier in range(1, clos.height + 1):
        if min(racks, clos.count(tier)) > 1:
            found.append(
                _switches(clos, tier, min(racks, clos.count(tier)), f"rack of {TIER_NAMES[tier - 1]} switches")
            )
    if clos.planes > 1:
        lost = clos.endpoints * clos.up_ports(0) * clos.tiers[0].rate_bps
        found.append(Domain("plane", clos.planes, clos.endpoints, 1 / clos.planes, lost, False))
    return [*found, _rack(design, clos.planes * clos.up_ports(0) * clos.tiers[0].rate_bps)]


def _switches(clos: Clos, tier: int, failing: int, what: str) -> Domain:
    """The failure of so many switches of a tier of one plane that follow each other."""
    equal = clos.alike(tier)
    blocks = ceil(failing / equal)
    share = min(failing, equal) / (equal * clos.planes)
    lost = failing * clos.down_ports(tier) * clos.tiers[tier - 1].rate_bps
    count = clos.planes * ceil(clos.count(tier) / failing)
    return Domain(what, count, blocks * clos.below(tier), share, lost, share == 1)


def _of_dragonfly(fabric: Dragonfly, design: Design) -> list[Domain]:
    """Of a group's endpoints and their minimal ways to one other group, where cables between groups fail."""
    group = fabric.routers * fabric.hosts
    router = fabric.planes * fabric.groups * fabric.routers
    planes = fabric.planes
    found = [Domain("cable to an endpoint", router * fabric.hosts, 1, 1 / planes, fabric.rate_bps, planes == 1)]
    if fabric.routers > 1:
        cables, rate = router * (fabric.routers - 1) // 2, fabric.local_rate_bps
        found.append(Domain("cable within a group", cables, 2 * fabric.hosts, 1 / planes, rate, False))
    if fabric.bundle:
        cables = planes * fabric.groups * (fabric.groups - 1) // 2 * fabric.bundle
        share = 1 / (planes * fabric.bundle)
        found.append(Domain("cable between groups", cables, 2 * group, share, fabric.global_rate_bps, False))
    lost = fabric.hosts * fabric.rate_bps
    found.append(Domain("router", router, fabric.hosts, 1 / planes, lost, planes == 1))
    if planes > 1:
        found.append(Domain("plane", planes, fabric.endpoints, 1 / planes, fabric.endpoints * fabric.rate_bps, False))
    return [*found, _rack(design, planes * fabric.rate_bps)]


def _rack(design: Design, each_bps: int) -> Domain:
    full = min(design.layout.servers_per_rack * design.per_server, design.accelerators)
    return Domain("rack of servers", ceil(design.accelerators / full), full, 1.0, full * each_bps, True)
