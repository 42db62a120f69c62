"""How a design comes about, step by step, with the constraint that forces each step; and what other readings give.

Everything is worked out from the numbers of the design at hand, so it stays true when fields of a preset are changed.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from math import prod

from suanwang.fabric.clos import TIER_NAMES, Clos
from suanwang.fabric.design.chip import Chip, ports_used
from suanwang.fabric.design.design import Design, Which
from suanwang.fabric.dragonfly import Dragonfly
from suanwang.model.units import rate_text

HPN_ENDPOINTS = 15 * 1024
"""Accelerators of a pod of HPN 7.0: 15 segments of 1,024. Qian et al., "Alibaba HPN: a data center network for large
language model training", SIGCOMM 2024, section 4."""


def derivation(design: Design) -> list[str]:
    """The steps, one a line."""
    lines: list[str] = []
    parts: tuple[Which, ...] = ("scale-out", "scale-up")
    for which in parts:
        part = design.part(which)
        if part is None:
            continue
        lines.append(f"{which}, of switches {_chip(design.chip_of(which))}:")
        told = _clos(part, design.chip_of(which)) if isinstance(part, Clos) else _dragonfly(part)
        lines += [f"  {line}" for line in told]
    if design.steps:
        lines += ["how the tiers were found:", *(f"  {step}" for step in design.steps)]
    more = MORE.get(design.preset)
    return lines + (more(design) if more else [])


def _chip(chip: Chip) -> str:
    capacity = chip.ports * chip.port_bps
    if not capacity:
        return f"{chip.name}: {chip.ports} ports"
    return f"{chip.name}: {chip.ports} x {rate_text(chip.port_bps)} = {capacity / 1e12:g} Tbit/s"


def _clos(clos: Clos, chip: Chip) -> list[str]:
    lines = []
    for tier in range(1, clos.height + 1):
        one, name = clos.tiers[tier - 1], TIER_NAMES[tier - 1]
        down = f"{clos.down_ports(tier)} x {rate_text(one.rate_bps)} down"
        up = f" + {clos.up_ports(tier)} x {rate_text(clos.tiers[tier].rate_bps)} up" if tier < clos.height else ""
        spare = f" + {one.spare} kept free" if one.spare else ""
        used = ports_used(clos, chip, tier) + chip.needed(one.spare, one.rate_bps)
        lines.append(f"{name}: {down}{up}{spare} = {used} of {chip.ports} ports; {_over(clos, tier)}")
        lines.append(
            f"  {one.children} nodes below x {one.bundle} each; a node below is joined with {one.parents}: "
            f"{clos.count(tier):,} in a plane"
        )
    factors = " x ".join(str(one.children) for one in reversed(clos.tiers))
    trees = f"{clos.trees:,} x " if clos.trees > 1 else ""
    lines.append(f"endpoints: {trees}{factors} = {clos.endpoints:,}, each with a port in every plane")
    planes = f"{clos.planes} plane{'s' if clos.planes > 1 else ''}"
    lines.append(f"switches: {planes} x {clos.switches // clos.planes:,} = {clos.switches:,}")
    if clos.rails > 1:
        lines.append(_rails(clos))
    return lines


def _over(clos: Clos, tier: int) -> str:
    if tier == clos.height and not clos.tiers[tier - 1].spare:
        return "all lead down"
    over = Fraction(clos.oversubscription(tier)).limit_denominator(1000)
    return f"{over.numerator}:{over.denominator}"


def _rails(clos: Clos) -> str:
    if clos.joined > clos.height:
        return f"rails: {clos.rails}, which never meet; between them servers or supernodes pass on"
    group = clos.below(clos.joined - 1) * clos.rails
    return f"rails: {clos.rails}, joined at tier {clos.joined}; groups of {group:,} have switches of their own below it"


def _dragonfly(fabric: Dragonfly) -> list[str]:
    most = fabric.routers * fabric.global_ports + 1
    return [
        f"router: {fabric.hosts} endpoints + {fabric.routers - 1} of its group + {fabric.global_ports} to other groups",
        f"groups: at most {fabric.routers} x {fabric.global_ports} + 1 = {most:,}; {fabric.groups:,} are built, "
        f"{fabric.bundle} cables between each two",
        f"endpoints: {fabric.groups:,} x {fabric.routers} x {fabric.hosts} = {fabric.endpoints:,}",
    ]


def _cmcc(design: Design) -> list[str]:
    clos, chip = design.scale_out, design.chip
    if not isinstance(clos, Clos) or clos.height != 2:
        return []
    leaf, spine = clos.tiers
    over = Fraction(clos.oversubscription(1)).limit_denominator(1000)
    k, down, up = chip.ports, leaf.children, clos.up_ports(1)
    if (down + up, spine.children) != (k, k):
        return []
    capacity, rate = f"{k * chip.port_bps / 1e12:g}T", rate_text(chip.port_bps)
    half, rails = k // 2, clos.rails
    wide = k * over // (over + 1)
    fewer = half * over // (over + 1)
    sending = clos.planes * chip.port_bps / 1e9

    def times(endpoints: int) -> str:
        return f"{endpoints / HPN_ENDPOINTS:.3g} times"

    return [
        "why these numbers:",
        f"  1. two ports of {rate} a card, each in a plane of its own: planes do not share switches, so a plane has "
        "a port of every card",
        f"  2. {capacity} at {rate} is {k} ports: no leaf has more than {k}, and no spine joins more than {k} leaves",
        f"  3. a leaf with d ports down and u up: d = {over} u and d + u <= {k}, so u <= {k // (over + 1)}: "
        f"u = {up}, d = {down}",
        f"  4. one cable from each leaf to each spine gives u = {up} spines; more cables would halve the leaves",
        f"  5. a spine's {k} ports all lead down: {k} leaves. {k} x {down} = {k * down:,} cards in a plane",
        f"  6. both planes hold the same cards: {clos.endpoints:,} in all, {times(clos.endpoints)} a pod of HPN 7.0 "
        f"({HPN_ENDPOINTS:,})",
        f"  7. {rails} rails share out {spine.children} leaves: {spine.children // rails} groups of "
        f"{leaf.children * rails:,} cards, in which a rail is one leaf of each plane",
        f"the reading: {over}:1 at the leaves, so that a pod of two tiers needs no core; HPN has 15:1 above its pod",
        "other readings:",
        f"  {over}:1 above the pod as in HPN, 1:1 in it: leaves {half} down, {half} up, spines {wide} down: "
        f"{wide} x {half} = {wide * half:,} cards ({times(wide * half)})",
        f"  1:1 throughout, no core: {k} x {half} = {k * half:,} cards ({times(k * half)})",
        f"  1:1 with {rails} rails that never meet: {rails} x {k * half:,} = {rails * k * half:,} cards "
        f"({times(rails * k * half)})",
        f"  {over}:1 with ports of {rate_text(2 * chip.port_bps)}, one plane: {half} x {fewer} = "
        f"{half * fewer:,} cards ({times(half * fewer)})",
        *(
            [f"  of these, {over}:1 at the leaves is the only one that is four times HPN 7.0"]
            if clos.endpoints == 4 * HPN_ENDPOINTS
            else []
        ),
        f"the price: between groups a card has {sending:g} / {over} = {sending / over:.3g} Gbit/s when all send at "
        "once; on its own rail of its group all of it",
    ]


def _hpn(design: Design) -> list[str]:
    clos = design.scale_out
    if not isinstance(clos, Clos) or clos.height < 2:
        return []
    leaf, spine = clos.tiers[0], clos.tiers[1]
    segment, segments = leaf.children * clos.rails, spine.children // clos.rails
    return [
        "why these numbers (Qian et al., SIGCOMM 2024):",
        f"  a segment: {clos.rails} rails x {leaf.children} ports = {segment:,} cards, one leaf a rail and plane",
        f"  a pod: {spine.children} leaves below a spine / {clos.rails} rails = {segments} segments = "
        f"{segments * segment:,} cards a pod",
        "  the paper's leaves keep 8 more ports of 200Gbps for spare servers: 4 of 400Gbps, the spare ports above",
    ]


def _fused(design: Design) -> list[str]:
    clos, up, chip = design.scale_out, design.scale_up, design.chip
    if not isinstance(clos, Clos) or up is None or clos.height != 2:
        return []
    node, leaf = up.below(up.height), clos.tiers[0].children
    rail = prod(one.children for one in clos.tiers)
    most = chip.ports // 2 * chip.ports
    return [
        "three levels of communication, two tiers of scale-out switches:",
        f"  1. supernode: {node:,} cards, joined by scale-up; whatever differs in rail is passed on here",
        f"  2. two tiers of {chip.ports} ports join {chip.ports // 2} x {chip.ports} = {most:,} cards at 1:1, a plane",
        f"  3. {design.accelerators:,} / {most:,} = {design.accelerators / most:g}: so many rails that never meet are "
        f"needed at least; {clos.rails} are taken",
        f"     (one for each card of a rack of {clos.rails}, as a supernode has {node // clos.rails} racks)"
        if node % clos.rails == 0
        else "     (which do not share out a supernode)",
        f"  4. segment: the cards below one leaf of each rail: {leaf} x {clos.rails} = {leaf * clos.rails:,} cards = "
        f"{leaf * clos.rails / node:g} supernodes, one switch apart on a rail",
        f"  5. interconnect of segments: {rail // leaf:,} leaves of each rail on {clos.count(2) // clos.trees} spines, "
        "three switches apart",
        f"  6. planes: {clos.planes}, one for each port of a card, so a plane's failure leaves "
        f"{1 - 1 / clos.planes:.0%} of the bandwidth",
        "the reading: 001 says two tiers of multiple rails and one of multiple planes; here rails stay apart in both",
        f"  tiers, and planes too. Rails joined at the spines would give {most:,} cards, and at a third tier "
        f"{most * chip.ports // 2:,}",
    ]


def _mpft(design: Design) -> list[str]:
    clos, chip = design.scale_out, design.chip
    if not isinstance(clos, Clos) or clos.height != 2:
        return []
    each = prod(one.children for one in clos.tiers)
    return [
        'why these numbers (Zhao et al., "Insights into DeepSeek-V3", ISCA 2025, table 3):',
        f"  two tiers of {chip.ports} ports join {chip.ports} x {chip.ports // 2} = {each:,} endpoints on "
        f"{clos.switches // clos.trees} switches",
        f"  {clos.trees} of these, one for each card of a server: {clos.endpoints:,} on {clos.switches}",
        "  the paper calls them planes; a card has a port in one only, so here they are rails that never meet",
    ]


MORE: dict[str, Callable[[Design], list[str]]] = {
    "cmcc-61440": _cmcc,
    "hpn7-pod": _hpn,
    "hpn7-cluster": _hpn,
    "fused-1048576": _fused,
    "mpft-16384": _mpft,
}
