"""Switches as designs count them: ports, and whether the cables of a network fit them."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import ceil

import numpy as np

from suanwang.fabric.clos import TIER_NAMES, Clos
from suanwang.fabric.dragonfly import Dragonfly
from suanwang.fabric.kinds import SolveSpec, SwitchSpec
from suanwang.fabric.network import Network
from suanwang.model.errors import INVALID, SuanwangError
from suanwang.model.units import rate_text

PORTS, PORT_BPS = 64, 400 * 10**9
CHIP_LATENCY_PS = 750_000
POWER_W_PER_TBPS = 20.0
"""Of a box switch without optics; see docs/rooms/fabric.md, Design."""
MOST_WAYS = 8
"""Ways that a port can be split: it has at most eight lanes (IEEE 802.3df, 800GBASE-R8)."""


@dataclass(frozen=True, slots=True)
class Chip:
    """A switch: `ports` at `port_bps` each; `latency_ps` from first bit in to first bit out, power without optics.

    `port_bps` 0 is ports of whatever rate: of switches that were read from a topology file, which says no more.
    """

    name: str
    ports: int
    port_bps: int
    power_w: float
    latency_ps: int = CHIP_LATENCY_PS

    def needed(self, cables: int, rate_bps: int) -> int:
        """Ports that so many cables of that rate take: slower ones share a port, faster ones join several.

        Raises:
            SuanwangError: INVALID for a rate that ports can be neither split nor joined to.
        """
        if not cables or not self.port_bps:
            return cables
        ways, joined = Fraction(self.port_bps, rate_bps), Fraction(rate_bps, self.port_bps)
        if ways.denominator == 1 and ways <= MOST_WAYS:
            return ceil(cables / ways)
        if joined.denominator == 1 and joined <= MOST_WAYS:
            return cables * int(joined)
        possible = [Fraction(self.port_bps, 2**power) for power in range(4)]
        possible += [Fraction(self.port_bps * 2**power) for power in range(1, 4)]
        nearest = int(min(possible, key=lambda one: abs(one - rate_bps)))
        raise SuanwangError(
            INVALID,
            f"ports of {rate_text(self.port_bps)} make no cables of {rate_text(rate_bps)}",
            hint=f"nearest possible: {rate_text(nearest)}",
        )


def chip_of(spec: SwitchSpec | None, solve: SolveSpec | None = None) -> Chip:
    """The switch that a spec describes, with defaults for what it leaves out; where the switch is left open, that which
    a network is to be found for.
    """
    spec = spec or SwitchSpec()
    rate = spec.port_rate or (solve.rate if solve and solve.radix and not spec.ports else None) or PORT_BPS
    ports = spec.ports or (solve.radix if solve else None) or PORTS
    capacity = ports * rate / 1e12
    return Chip(
        name=spec.name or f"{capacity:g}T",
        ports=ports,
        port_bps=rate,
        power_w=spec.power / 1000 if spec.power is not None else round(capacity * POWER_W_PER_TBPS, 1),
        latency_ps=CHIP_LATENCY_PS if spec.latency is None else spec.latency,
    )


def chip_seen(network: Clos | Network) -> Chip:
    """The switch that a network which was read from a file needs: as many ports as its largest has."""
    if isinstance(network, Clos):
        sizes = [network.down_ports(tier) + network.up_ports(tier) for tier in range(1, network.height + 1)]
        most, rate = max(sizes), max(tier.rate_bps for tier in network.tiers)
    else:
        most = int(np.diff(network.first_port)[network.endpoints :].max(initial=0))
        rate = int(network.rate_bps.max(initial=0))
    return Chip("as listed", most, 0, round(most * rate / 1e12 * POWER_W_PER_TBPS, 1))


def ports_used(network: Clos | Dragonfly, chip: Chip, tier: int = 1) -> int:
    """Ports of `chip` that a switch of that tier uses, without those kept spare."""
    if isinstance(network, Dragonfly):
        used = chip.needed(network.hosts, network.rate_bps)
        used += chip.needed(network.routers - 1, network.local_rate_bps)
        return used + chip.needed(network.global_used, network.global_rate_bps)
    used = chip.needed(network.down_ports(tier), network.tiers[tier - 1].rate_bps)
    return used + (chip.needed(network.up_ports(tier), network.tiers[tier].rate_bps) if tier < network.height else 0)


def check_ports(network: Clos | Dragonfly, chip: Chip) -> None:
    """Raises INVALID, with the nearest that fits, where a switch would need more ports than `chip` has."""
    if isinstance(network, Dragonfly):
        used = ports_used(network, chip)
        if used > chip.ports:
            raise _too_many("router", used, chip, f"{used - chip.ports} fewer hosts, routers or global ports")
        return
    for number, tier in enumerate(network.tiers, 1):
        spare = chip.needed(tier.spare, tier.rate_bps)
        used = ports_used(network, chip, number) + spare
        if used > chip.ports:
            others = used - chip.needed(network.down_ports(number), tier.rate_bps)
            children = max(chip.ports - others, 0) * chip.port_bps // (tier.rate_bps * tier.bundle)
            raise _too_many(
                TIER_NAMES[number - 1], used, chip, f"{children} children" if children else "fewer parents and bundles"
            )


def _too_many(what: str, used: int, chip: Chip, nearest: str) -> SuanwangError:
    message = f"a {what} needs {used:,} ports of {rate_text(chip.port_bps)}, and switch {chip.name} has {chip.ports:,}"
    return SuanwangError(INVALID, message, hint=f"nearest possible: {nearest}, or a switch with more ports")
