"""Latency budgets: what a remote access (scale-up) and a message (scale-out) wait for, and a source for each term.

Nothing waits in queues here: a budget is the least that an unloaded network takes. Switches cut through, so a message
is serialised once, at the slowest cable of its way. One way through h tiers passes 2h - 1 switches and 2h cables.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from suanwang.fabric.clos import TIER_NAMES, Clos
from suanwang.fabric.design.design import Design
from suanwang.fabric.design.lengths import Lot, lots
from suanwang.fabric.dragonfly import Dragonfly
from suanwang.model.units import rate_text

PS_PER_MM = 5
"""Of light in glass: 4.9 ns/m at a group index of 1.468 (ITU-T G.652 fibre); twinax is between 4.2 and 5 ns/m."""

REMOTE_TARGET_PS = 300_000
"""Latency of remote access that a scale-up network shall keep (001, section 3.2.4)."""
MESSAGE_TARGET_PS = 10_000_000
"""End-to-end latency that a scale-out network shall keep (001, section 3.1.3)."""

REQUEST_BYTES, ANSWER_BYTES = 64, 256
"""A load's request and its answer: a header, and a line of memory (UALink 200G 1.0: requests of 64 to 256 bytes)."""
MESSAGE_BYTES = 4096

ADAPTER_PS = 65_000
ADAPTER_SOURCE = (
    "Broadcom SUE, 2025: below 400 ns between accelerators, less 250 ns of switch and 2 x 2 m of cable, halved"
)
HOST_PS = 1_300_000
HOST_SOURCE = (
    "Zhao et al., ISCA 2025, table 5 (RoCE, 64 B): 3.6 us below one leaf, 5.6 us across; so 1 us a switch, "
    "2.6 us for both ends"
)
FIBRE_SOURCE = "length by layout x 5 ns/m (ITU-T G.652: 4.9 ns/m)"
SERIAL_SOURCE = "size / rate"

SWITCHES = {
    "UALink, 25 Tbit/s": (150_000, "UALink Consortium, Q&A on 200G 1.0, 2025: at most 150 ns with 400G ports"),
    "UALink, 50 Tbit/s": (200_000, "UALink Consortium, Q&A on 200G 1.0, 2025: below 200 ns with 400G ports"),
    "Ethernet, low latency": (250_000, "Broadcom Tomahawk Ultra, 2025: 250 ns at 51.2 Tbit/s"),
    "Ethernet, scale-out": (600_000, "Tomahawk 5, trade press 2025: about 600 ns (not confirmed)"),
}
"""Switches for scale-up: latency from port to port, FEC and SerDes of the switch included."""


@dataclass(frozen=True, slots=True)
class Term:
    """One thing that is waited for, `count` times."""

    what: str
    count: int
    each_ps: int
    source: str

    @property
    def total_ps(self) -> int:
        """All of it."""
        return self.count * self.each_ps


@dataclass(frozen=True, slots=True)
class Budget:
    """What one way waits for, and what it may. `spare_ps` below 0 says by how much the target is missed."""

    what: str
    tiers: int
    terms: tuple[Term, ...]
    target_ps: int

    @property
    def total_ps(self) -> int:
        """The sum of all terms."""
        return sum(term.total_ps for term in self.terms)

    @property
    def spare_ps(self) -> int:
        """What is left of the target."""
        return self.target_ps - self.total_ps

    @property
    def met(self) -> bool:
        """Whether the target is kept."""
        return self.spare_ps >= 0

    @property
    def switch_ps(self) -> int:
        """What each switch may take at most for the target to be kept; below 0, no switch is fast enough."""
        passed = sum(term.count for term in self.terms if term.what.startswith("switch"))
        others = sum(term.total_ps for term in self.terms if not term.what.startswith("switch"))
        return (self.target_ps - others) // max(passed, 1)


def budgets(design: Design, message_bytes: int = MESSAGE_BYTES) -> list[Budget]:
    """All budgets of a design: remote access through each tier of scale-up, messages through each of scale-out."""
    found: list[Budget] = []
    if design.scale_up is not None:
        own = (design.scale_up_chip.latency_ps, f"switch {design.scale_up_chip.name} of the design")
        cables = [_longest(lots(design, "scale-up"), tier) for tier in range(1, design.scale_up.height + 1)]
        rate = design.scale_up.tiers[0].rate_bps
        for name, switch in {"the design's switch": own, **SWITCHES}.items():
            found += remote_access(name, switch, cables, rate)
    if isinstance(design.scale_out, Clos):
        found += _messages(design, design.scale_out, message_bytes)
    if isinstance(design.scale_out, Dragonfly):
        found.append(_dragonfly_message(design, design.scale_out, message_bytes))
    return found


def remote_access(name: str, switch: tuple[int, str], cables_mm: list[int], rate_bps: int) -> list[Budget]:
    """Through 1, 2, ... tiers of a switch: the switches alone, a store (one way) and a load (there and back).

    Stores and loads go up to the far adapter. `cables_mm` are the longest cables below each tier. The far memory itself
    is not counted: it is waited for within one accelerator as well.
    """
    found = []
    for tiers in range(1, len(cables_mm) + 1):
        crossing = (Term(f"switch, {name}", 2 * tiers - 1, *switch),)
        found.append(Budget(f"switches alone, {name}", tiers, crossing, REMOTE_TARGET_PS))
        for what, ways, sizes in (("store", 1, (ANSWER_BYTES,)), ("load", 2, (REQUEST_BYTES, ANSWER_BYTES))):
            terms = [
                Term("adapters of both ends", 2 * ways, ADAPTER_PS, ADAPTER_SOURCE),
                Term(f"switch, {name}", (2 * tiers - 1) * ways, *switch),
                *_cables(cables_mm[:tiers], 2 * ways),
                *(
                    Term(f"{size} B at {rate_text(rate_bps)}", 1, _serial_ps(size, rate_bps), SERIAL_SOURCE)
                    for size in sizes
                ),
            ]
            found.append(Budget(f"{what} through {name}", tiers, tuple(terms), REMOTE_TARGET_PS))
    return found


def _messages(design: Design, clos: Clos, message_bytes: int) -> list[Budget]:
    """One message through each number of tiers at which two endpoints may meet."""
    cables = [_longest(lots(design, "scale-out"), tier) for tier in range(1, clos.height + 1)]
    found = []
    for tiers in range(1, clos.height + 1):
        slowest = min(tier.rate_bps for tier in clos.tiers[:tiers])
        terms = (
            Term("hosts and interfaces, both ends", 2, HOST_PS, HOST_SOURCE),
            Term(f"switch {design.chip.name}", 2 * tiers - 1, design.chip.latency_ps, "switch of the design"),
            *_cables(cables[:tiers], 2),
            Term(f"{message_bytes} B at {rate_text(slowest)}", 1, _serial_ps(message_bytes, slowest), SERIAL_SOURCE),
        )
        found.append(Budget("message", tiers, terms, MESSAGE_TARGET_PS))
    return found


def _dragonfly_message(design: Design, fabric: Dragonfly, message_bytes: int) -> Budget:
    found = lots(design, "scale-out")
    longest = {lot.where: lot.length_mm for lot in sorted(found, key=lambda lot: lot.length_mm)}
    slowest = min(fabric.rate_bps, fabric.local_rate_bps, fabric.global_rate_bps)
    routers = 1 + (fabric.routers > 1) + (fabric.groups > 1) * (1 + (fabric.routers > 1))
    ways = {"below routers": 2, "within groups": 2 if fabric.groups > 1 else 1, "between groups": 1}
    terms = (
        Term("hosts and interfaces, both ends", 2, HOST_PS, HOST_SOURCE),
        Term(f"switch {design.chip.name}", routers, design.chip.latency_ps, "switch of the design"),
        *(Term(f"cable {where}", ways[where], mm * PS_PER_MM, FIBRE_SOURCE) for where, mm in longest.items()),
        Term(f"{message_bytes} B at {rate_text(slowest)}", 1, _serial_ps(message_bytes, slowest), SERIAL_SOURCE),
    )
    return Budget("message", 1, terms, MESSAGE_TARGET_PS)


def _cables(lengths_mm: list[int], times: int) -> Iterable[Term]:
    for tier, length in enumerate(lengths_mm, 1):
        yield Term(f"cable below {TIER_NAMES[tier - 1]}, {length / 1000:g} m", times, length * PS_PER_MM, FIBRE_SOURCE)


def _longest(found: list[Lot], tier: int) -> int:
    return max((lot.length_mm for lot in found if lot.where == f"below {TIER_NAMES[tier - 1]}"), default=0)


def _serial_ps(size_bytes: int, rate_bps: int) -> int:
    return size_bytes * 8 * 10**12 // rate_bps
