"""From what a folded Clos network shall give to its tiers.

Of a switch with k ports, the leaf gives d to endpoints and u up, d : u as asked. Tiers between the leaves and the top
have as many ports up as down, k/2 at most; those at the top have k down. So h tiers join at most d (k/2)^(h-2) k
endpoints (for h = 1: k), the count of Al-Fares, Loukissas, Vahdat: "A scalable, commodity data center network
architecture" (SIGCOMM 2008) with d = k/2 and h = 3: k^3/4. The fewest tiers that suffice are taken. Then leaves and the
tier below the top may use fewer ports, and the top has as many cables to each child as its ports allow: of those that
join enough endpoints, the network of fewest switches is taken, and of these that of fewest endpoints. Where rails are
joined, children are a multiple of the rails.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from math import ceil, prod

from suanwang.fabric.clos import MOST_TIERS, Tier
from suanwang.fabric.design.chip import Chip
from suanwang.fabric.kinds import SolveSpec
from suanwang.fabric.units import ratio_text
from suanwang.model.errors import INVALID, SuanwangError
from suanwang.model.units import rate_text

LATENCY_PS = 1_000_000
LARGEST_RADIX = 4096
MOST_TRIED = 48
"""Widths of a tier that are tried one by one, from the widest down."""


@dataclass(frozen=True, slots=True)
class Solution:
    """Tiers from the leaves up, how many such networks stand side by side, and the steps that led to them."""

    tiers: tuple[Tier, ...]
    trees: int
    steps: tuple[str, ...]


def solve(spec: SolveSpec, chip: Chip, rails: int = 1, joined: int = 1) -> Solution:
    """The network of fewest tiers.

    Raises:
        SuanwangError: INVALID, with the nearest that is possible as a hint.
    """
    rate = spec.rate or chip.port_bps
    radix = _radix(spec, chip, rate)
    over = spec.oversubscription or Fraction(1)
    down, up = leaf_ports(radix, over)
    steps = [f"radix {radix} at {rate_text(rate)}, leaves {ratio_text(over)}: {down} ports down, {up} up"]
    if spec.tiers is not None and joined == spec.tiers + 1 and rails > 1:
        trees, joined = rails, 1
        steps.append(f"rails never meet: {rails} networks of {ceil(spec.endpoints / rails):,} endpoints each")
    else:
        trees = 1
    least, most = (joined, MOST_TIERS) if spec.tiers is None else (spec.tiers, spec.tiers)
    if joined > most:
        message = f"rails are joined at tier {joined}, of {most} tiers"
        raise SuanwangError(INVALID, message, f"nearest possible: railsJoinedAt {most}, or say the tiers and one more")
    heights = range(least, most + 1)
    rails = 1 if trees > 1 else rails
    widths = _most_children(ceil(spec.endpoints / trees), radix, down, rails, joined, heights, steps)
    step = rails if trees == 1 and joined == len(widths) else 1
    latency = LATENCY_PS if spec.latency is None else spec.latency
    shape = _fewest_switches(ceil(spec.endpoints / trees), widths, over, radix, step, joined, rails)
    tiers = tuple(
        Tier(count, parents, rate, latency, bundle)
        for count, parents, bundle in zip(shape.children, shape.parents, shape.bundles, strict=True)
    )
    for number, tier in enumerate(tiers[1:], 2):
        cables = f"{tier.bundle} cables" if tier.bundle > 1 else "1 cable"
        steps.append(f"tier {number}: {tier.children} children, {cables} to each; {tier.parents} parents of each child")
    if (made := trees * prod(shape.children)) != spec.endpoints:
        steps.append(f"{made:,} endpoints: whole switches do not make {spec.endpoints:,}")
    return Solution(tiers, trees, tuple(steps))


@dataclass(frozen=True, slots=True)
class _Shape:
    """Children, parents and cables of each tier from the leaves up."""

    children: tuple[int, ...]
    parents: tuple[int, ...]
    bundles: tuple[int, ...]

    @property
    def cost(self) -> tuple[int, int]:
        """Switches, then endpoints."""
        below, alike, switches = prod(self.children), 1, 0
        for children, parents in zip(self.children, self.parents, strict=True):
            below, alike = below // children, alike * parents
            switches += below * alike
        return switches, prod(self.children)


def _fewest_switches(
    endpoints: int, widths: list[int], over: Fraction, radix: int, step: int, joined: int, rails: int
) -> _Shape:
    """The network of fewest switches with at least so many endpoints; the top's children come in steps."""
    if len(widths) == 1:
        return _Shape((max(endpoints, 1),), (1,), (1,))
    lower = [_choices(widths[0] // over.numerator)]
    for tier, most in enumerate(widths[1:-1], 2):
        stride = rails if tier == joined else 1
        lower.append(_choices(most, stride) if tier == len(widths) - 1 else [most, stride])
    found: list[_Shape] = []
    for multiple, *middle in product(*lower):
        children = [multiple * over.numerator, *middle]
        top = ceil(endpoints / prod(children) / step) * step
        if top <= widths[-1]:
            found.append(_joined([*children, top], multiple * over.denominator, radix))
    return min(found, key=lambda shape: shape.cost)


def _choices(most: int, stride: int = 1) -> list[int]:
    """Widths that are tried for a tier: the widest, one by one, and then each half as wide as the one before."""
    found = set(range(most, max(0, most - MOST_TRIED * stride), -stride))
    while most > stride:
        most = max(most // 2 // stride, 1) * stride
        found.add(most)
    return sorted(found, reverse=True)


def _joined(children: list[int], up: int, radix: int) -> _Shape:
    """Parents and bundles for those children: as many cables between two switches as ports allow, so fewer parents."""
    parents, bundles = [1], [1]
    for number, above in enumerate(children[1:], 1):
        ports = up if number == 1 else children[number - 1]
        room = radix // above if number + 1 == len(children) else 1
        bundle = max(one for one in range(1, min(ports, room) + 1) if ports % one == 0)
        parents.append(ports // bundle)
        bundles.append(bundle)
    return _Shape(tuple(children), tuple(parents), tuple(bundles))


def leaf_ports(radix: int, over: Fraction) -> tuple[int, int]:
    """Ports down and up of a switch at exactly that oversubscription, as many as can be. Raises INVALID."""
    if times := radix // (over.numerator + over.denominator):
        return times * over.numerator, times * over.denominator
    down, up = nearest_split(radix, over)
    raise SuanwangError(INVALID, f"{radix} ports can't be split {ratio_text(over)}", f"nearest possible: {down}:{up}")


def nearest_split(radix: int, over: Fraction) -> tuple[int, int]:
    """Ports down and up, both at least 1 and together at most `radix`, of which the ratio is nearest."""
    best = Fraction(1)
    for up in range(1, radix):
        for around in (int(over * up), int(over * up) + 1):
            one = Fraction(max(1, min(radix - up, around)), up)
            best = min(best, one, key=lambda ratio: (abs(ratio - over), ratio.denominator))
    return best.numerator, best.denominator


def _widths(radix: int, down: int, height: int, rails: int, joined: int) -> list[int]:
    """Most children of a switch of each tier; [] where that many rails can't be joined."""
    widths = [radix] if height == 1 else [down, *[radix // 2] * (height - 2), radix]
    if 1 < joined <= height:
        widths[joined - 1] -= widths[joined - 1] % rails
    return widths if all(widths) else []


def _most_children(
    endpoints: int, radix: int, down: int, rails: int, joined: int, heights: range, steps: list[str]
) -> list[int]:
    """Most children of each tier, of the fewest tiers that join so many endpoints, and rails where asked."""
    most = 0
    for height in heights:
        widths = _widths(radix, down, height, rails, joined)
        reach = prod(widths) if widths else 0
        enough = reach >= endpoints
        steps.append(f"tiers {height}: at most {reach:,} endpoints, {'enough' if enough else 'too few'}")
        if enough:
            return widths
        most = max(most, reach)
    if not most:
        top = joined in heights  # where all ports lead down
        raise SuanwangError(
            INVALID,
            f"switches of {radix} ports can't join {rails} rails at tier {joined}",
            hint=f"nearest possible: {radix if top else radix // 2} rails, or radix {rails if top else 2 * rails}",
        )
    needed = radix + 1
    while needed < LARGEST_RADIX and prod(_widths(needed, down * needed // radix, heights[-1], 1, 1)) < endpoints:
        needed += 1
    raise SuanwangError(
        INVALID,
        f"{heights[-1]} tiers of radix {radix} join at most {most:,} endpoints, not {endpoints:,}",
        hint=f"nearest possible: {most:,} endpoints, or radix {needed}",
    )


def _radix(spec: SolveSpec, chip: Chip, rate: int) -> int:
    chip.needed(1, rate)
    has = chip.ports * chip.port_bps // rate
    radix = has if spec.radix is None else spec.radix
    if radix < 2:
        raise SuanwangError(INVALID, f"a switch of {radix} ports makes no network", "nearest possible: 2 ports")
    if radix > min(has, LARGEST_RADIX):
        raise SuanwangError(
            INVALID,
            f"radix {radix:,} at {rate_text(rate)}, and switch {chip.name} has {has:,} such ports",
            hint=f"nearest possible: radix {min(has, LARGEST_RADIX)}, or give switch.ports and switch.portRate",
        )
    return radix
