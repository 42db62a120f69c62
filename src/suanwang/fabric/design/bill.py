"""What a fabric needs and what it gives: switches, ports, cables, transceivers, power; capacity and failure domains.

All by arithmetic from the coordinates, so a million accelerators take no longer than eight.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil

import numpy as np

from suanwang.fabric.clos import TIER_NAMES, Clos
from suanwang.fabric.design.chip import Chip, ports_used
from suanwang.fabric.design.counting import bisection_bps, diameter
from suanwang.fabric.design.design import Design, Which
from suanwang.fabric.design.domains import Domain, domains
from suanwang.fabric.design.lengths import Lot, lots
from suanwang.fabric.dragonfly import Dragonfly
from suanwang.fabric.network import Network

POWER_STEP_BPS = 100 * 10**9
"""Powers of ends of cables and of network interfaces are given for each 100 Gbit/s."""


@dataclass(frozen=True, slots=True)
class TierBill:
    """The switches of one tier, all planes together. Ports are those of the chip, of one switch.

    `oversubscription` is bandwidth down over bandwidth up, None where nothing leads up. `cables` lead down from here.
    """

    name: str
    switches: int
    ports_down: int
    ports_up: int
    ports_used: int
    ports_spare: int
    oversubscription: float | None
    cables: int


@dataclass(frozen=True, slots=True)
class PartBill:
    """One of the networks. `bisection_bps` and `diameter` are None where only links are known; see `counting.py`.

    `within_bps` is the sum of the bisections of the `trees`, networks of a plane that never meet. `endpoint_bps` is
    what one endpoint sends at most.
    """

    which: Which
    chip: Chip
    endpoints: int
    endpoint_bps: int
    planes: int
    trees: int
    rails: int
    joined: int
    switches: int
    tiers: tuple[TierBill, ...]
    cables: int
    transceivers: int
    lots: tuple[Lot, ...]
    bisection_bps: int | None
    within_bps: int | None
    diameter: int | None
    domains: tuple[Domain, ...]
    switches_w: float
    optics_w: float
    interfaces_w: float

    @property
    def power_w(self) -> float:
        """What the network draws."""
        return self.switches_w + self.optics_w + self.interfaces_w


@dataclass(frozen=True, slots=True)
class Bill:
    """A fabric's bill. `racks` are those of servers, and what they draw is not the network's."""

    design: Design
    parts: tuple[PartBill, ...]
    racks: int
    racks_w: float

    @property
    def power_w(self) -> float:
        """What all of it draws."""
        return self.racks_w + sum(part.power_w for part in self.parts)


def bill(design: Design) -> Bill:
    """The bill of a design.

    Raises:
        SuanwangError: INVALID where no medium of the layout is long enough for a cable.
    """
    parts = tuple(part_bill(design, which) for which in ("scale-out", "scale-up") if _has(design, which))
    racks = ceil(design.servers / design.layout.servers_per_rack)
    return Bill(design, parts, racks, racks * design.layout.rack_power_w)


def part_bill(design: Design, which: Which) -> PartBill:
    """The bill of one network of a design."""
    part, chip = design.part(which), design.chip_of(which)
    network = part if part is not None else design.network(which)
    tiers, switches = _tiers(network, chip), network.switches
    found = lots(design, which)
    sending = _sending_bps(network)
    ends = [(lot, lot.medium.power_w * lot.rate_bps / POWER_STEP_BPS) for lot in found]
    clos = network if isinstance(network, Clos) else None
    return PartBill(
        which=which,
        chip=chip,
        endpoints=network.endpoints,
        endpoint_bps=sending,
        planes=network.planes if not isinstance(network, Network) else int(network.plane.max(initial=0)) + 1,
        trees=clos.trees if clos else 1,
        rails=clos.rails if clos else 1,
        joined=clos.joined if clos else 1,
        switches=switches,
        tiers=tiers,
        cables=sum(tier.cables for tier in tiers),
        transceivers=sum(2 * lot.count for lot in found if lot.medium.transceivers),
        lots=tuple(found),
        bisection_bps=bisection_bps(network) if not isinstance(network, Network) else None,
        within_bps=_within_bps(network),
        diameter=diameter(network) if not isinstance(network, Network) else None,
        domains=tuple(domains(design, which)),
        switches_w=switches * chip.power_w,
        optics_w=sum(2 * lot.count * each for lot, each in ends),
        interfaces_w=network.endpoints * design.layout.nic_power_w * sending / POWER_STEP_BPS,
    )


def _has(design: Design, which: Which) -> bool:
    return design.part(which) is not None or which in design.imported


def _within_bps(network: Clos | Dragonfly | Network) -> int | None:
    if isinstance(network, Clos):
        one = replace(network, trees=1, rails=1, joined=1)
        return network.trees * bisection_bps(one)
    return bisection_bps(network) if isinstance(network, Dragonfly) else None


def _sending_bps(network: Clos | Dragonfly | Network) -> int:
    if isinstance(network, Clos):
        return network.planes * network.up_ports(0) * network.tiers[0].rate_bps
    if isinstance(network, Dragonfly):
        return network.planes * network.rate_bps
    ports = int(network.first_port[network.endpoints])
    sums = np.bincount(network.source[:ports], network.rate_bps[:ports], minlength=1)
    return int(sums.max())


def _tiers(network: Clos | Dragonfly | Network, chip: Chip) -> tuple[TierBill, ...]:
    if isinstance(network, Clos):
        return tuple(_clos_tier(network, chip, tier) for tier in range(1, network.height + 1))
    if isinstance(network, Dragonfly):
        up = network.routers - 1 + network.global_used
        used = ports_used(network, chip)
        local = network.switches * (network.routers - 1) // 2
        between = network.planes * network.groups * (network.groups - 1) // 2 * network.bundle
        cables = network.planes * network.endpoints + local + between
        down = network.hosts * network.rate_bps
        across = (network.routers - 1) * network.local_rate_bps + network.global_used * network.global_rate_bps
        over = down / across if across else None
        return (TierBill("router", network.switches, network.hosts, up, used, chip.ports - used, over, cables),)
    return _listed_tiers(network)


def _clos_tier(clos: Clos, chip: Chip, tier: int) -> TierBill:
    used = ports_used(clos, chip, tier)
    leads_up = tier < clos.height or clos.tiers[tier - 1].spare
    switches = clos.planes * clos.count(tier)
    return TierBill(
        name=TIER_NAMES[tier - 1],
        switches=switches,
        ports_down=clos.down_ports(tier),
        ports_up=clos.up_ports(tier),
        ports_used=used,
        ports_spare=chip.ports - used,
        oversubscription=clos.oversubscription(tier) if leads_up else None,
        cables=switches * clos.down_ports(tier),
    )


def _listed_tiers(network: Network) -> tuple[TierBill, ...]:
    """Tiers of a network that was read link by link; ports are those of its largest switch."""
    source, target = network.tier[network.source], network.tier[network.target]
    found = []
    for tier in range(1, int(network.tier.max()) + 1):
        nodes = np.flatnonzero(network.tier == tier)
        down, up = (source == tier) & (target < tier), (source == tier) & (target > tier)
        beside = int(((source == tier) & (target == tier)).sum()) // 2
        counts = [np.bincount(network.source[one], minlength=network.nodes)[nodes] for one in (down, up)]
        bandwidth = [int(network.rate_bps[one].sum()) for one in (down, up)]
        name = TIER_NAMES[tier - 1] if tier <= len(TIER_NAMES) else f"tier {tier}"
        ports = np.diff(network.first_port)[nodes]
        found.append(
            TierBill(
                name=name,
                switches=len(nodes),
                ports_down=int(counts[0].max(initial=0)),
                ports_up=int(counts[1].max(initial=0)),
                ports_used=int(ports.max(initial=0)),
                ports_spare=0,
                oversubscription=bandwidth[0] / bandwidth[1] if bandwidth[1] else None,
                cables=int(down.sum()) + beside,
            )
        )
    return tuple(found)
