"""htsim's fat-tree files (`.topo`), as UEC htsim's `FatTreeTopologyCfg` reads them, and back.

    Nodes 1024            hosts
    Tiers 3               2 or 3
    Podsize 64            hosts of a pod; with 2 tiers all are one pod
    Tier 0                then of each tier, from the leaves (0) up:
    Downlink_speed_Gbps 100, Downlink_Latency_ns 1000    its cables down
    Radix_Down 8, Radix_Up 8                             its ports
    Bundle 1                                             parallel cables to each node below
    Oversubscribed 1, Switch_Latency_ns 0, Queue_Down, Queue_Up (bytes)

Host h is on leaf h // Radix_Down; leaf, aggregation switch and pod are numbered alike; aggregation switch q of a pod
with A of them is joined with the cores q, q + A, q + 2A ... These are exactly the coordinates of `Clos`.

Where htsim demands more than the format says, this reader does not: `Oversubscribed` may be left out, and may be the
ratio of bandwidths as well as of ports; speeds and latencies may have decimals. `Radix_Up` of the upper of 2 tiers,
which htsim passes over, is kept as spare ports. Queue sizes are read and kept, and used by no engine here.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from fractions import Fraction
from math import isqrt
from pathlib import Path
from typing import NoReturn

from suanwang.fabric.clos import MOST_ENDPOINTS, Clos, Tier
from suanwang.fabric.exchange.words import Line, decode, lines, load
from suanwang.model.errors import INVALID, SuanwangError
from suanwang.topology.importing.published import refuse

LARGEST_FILE_BYTES = 2**20
MOST_TIERS = 3

HEADER = ("Nodes", "Tiers", "Podsize", "Tier")
OF_TIER = (
    "Downlink_speed_Gbps", "Downlink_Latency_ns", "Radix_Down", "Radix_Up", "Bundle", "Oversubscribed",
    "Switch_Latency_ns", "Queue_Down", "Queue_Up",
)  # fmt: skip
LOWER = {word.lower(): word for word in (*HEADER, *OF_TIER)}


@dataclass(frozen=True, slots=True)
class HtsimTopology:
    """What a `.topo` file says. The tuples have one entry a tier, leaves first; None where the file is silent."""

    clos: Clos
    switch_latency_ps: tuple[int, ...]
    queue_down_bytes: tuple[int | None, ...]
    queue_up_bytes: tuple[int | None, ...]

    def with_switches(self) -> Clos:
        """The network with the switches' latencies in those of its cables.

        Each cable has half the latency of the switches at its ends (rounded up to a picosecond), so that on every path
        between endpoints each switch that is passed counts once.
        """
        below = (0, *self.switch_latency_ps)
        tiers = zip(self.clos.tiers, self.switch_latency_ps, below, strict=False)
        return replace(
            self.clos,
            tiers=tuple(
                replace(tier, latency_ps=tier.latency_ps + (own + under + 1) // 2) for tier, own, under in tiers
            ),
        )


@dataclass(slots=True)
class _Section:
    """The lines of one `Tier` (or of the header), by keyword."""

    opened: Line | None = None
    said: dict[str, Line] = field(default_factory=dict)

    def take(self, keyword: str, line: Line) -> None:
        if (before := self.said.get(keyword)) is not None:
            line.refuse(f"{keyword} is here a second time", f"it stands in line {before.number} already; remove one")
        if len(line.words) != 2:
            line.refuse(f"{keyword} has {len(line.words) - 1} values", f"write {keyword} and one number")
        self.said[keyword] = line

    def whole(self, keyword: str, default: int | None = None, least: int = 1) -> int:
        if (line := self.said.get(keyword)) is None:
            if default is None:
                self.missing(keyword)
            return default
        return line.whole(line.words[1], keyword, least, MOST_ENDPOINTS)

    def scaled(self, keyword: str, factor: int, default: int | None = None, least: int = 0) -> int:
        if (line := self.said.get(keyword)) is None:
            if default is None:
                self.missing(keyword)
            return default
        return line.scaled(line.words[1], keyword, factor, least)

    def bytes(self, keyword: str) -> int | None:
        line = self.said.get(keyword)
        return line.whole(line.words[1], keyword, 1) if line else None

    def missing(self, keyword: str) -> NoReturn:
        assert self.opened is not None
        self.opened.refuse(f"{' '.join(self.opened.words)} does not say {keyword}", f"add a line {keyword} N to it")

    def blame(self, keyword: str) -> Line:
        """The line to name in a complaint about a value."""
        line = self.said.get(keyword) or self.opened
        assert line is not None
        return line


def read_topology(path: Path | str) -> HtsimTopology:
    """The network in a `.topo` file. Raises BAD_TOPOLOGY with the line and what would be right, UNREADABLE."""
    return parse_topology(decode(load(path, LARGEST_FILE_BYTES), str(path)), str(path))


def parse_topology(text: str, file: str = "") -> HtsimTopology:
    """The network in the text of a `.topo` file; see `read_topology`."""
    header, tiers = _sections(text, file)
    for keyword in HEADER[:3]:
        if keyword not in header.said:
            refuse(f"the header does not say {keyword}", f"write {keyword} N before the first Tier", file)
    count = header.whole("Tiers")
    if count not in (2, 3):
        header.blame("Tiers").refuse(f"{count} tiers; htsim's fat trees have 2 or 3", "write Tiers 2 or Tiers 3")
    for number in range(max(count, max(tiers, default=0) + 1)):
        if number >= count:
            tiers[max(tiers)].blame("").refuse(
                f"Tier {max(tiers)} in a topology of {count} tiers", "tiers count from 0"
            )
        if number not in tiers:
            refuse(f"nothing is said of tier {number}", f"add a section that begins with Tier {number}", file)
    sections = [tiers[number] for number in range(count)]
    clos = _clos(header, sections)
    _check_oversubscription(clos, sections)
    return HtsimTopology(
        clos,
        tuple(section.scaled("Switch_Latency_ns", 1000, 0) for section in sections),
        tuple(section.bytes("Queue_Down") for section in sections),
        tuple(section.bytes("Queue_Up") for section in sections),
    )


def _sections(text: str, file: str) -> tuple[_Section, dict[int, _Section]]:
    header, tiers = _Section(), dict[int, _Section]()
    current = header
    for line in lines(text, file):
        keyword = LOWER.get(line.words[0].lower(), "")
        if keyword == "Tier":
            number = line.whole(line.words[1] if len(line.words) > 1 else "", "the tier", 0, MOST_TIERS - 1)
            if number in tiers:
                line.refuse(
                    f"tier {number} is here a second time", f"it begins in line {tiers[number].blame('').number}"
                )
            current = tiers[number] = _Section(line)
        elif keyword in HEADER:
            if tiers:
                line.refuse(f"{keyword} stands after a Tier", "the header comes before the first Tier")
            current.take(keyword, line)
        elif keyword:
            if not tiers:
                line.refuse(f"{keyword} stands before any Tier", "write Tier 0 above it")
            current.take(keyword, line)
        else:
            line.unknown(line.words[0], OF_TIER if tiers else HEADER)
    return header, tiers


def _clos(header: _Section, tiers: list[_Section]) -> Clos:
    """The coordinates that the numbers make, or a complaint about the first number that does not fit."""
    nodes, podsize = header.whole("Nodes", least=2), header.whole("Podsize")
    if nodes % podsize:
        header.blame("Podsize").refuse(
            f"{nodes} nodes are no whole number of pods of {podsize}", _nearest(podsize, nodes)
        )
    if len(tiers) == 2 and podsize != nodes:
        header.blame("Podsize").refuse(
            f"with 2 tiers all {nodes} nodes are one pod, and Podsize is {podsize}",
            f"write Podsize {nodes}, or Tiers 3",
        )
    if tiers[0].whole("Bundle", 1) != 1:
        tiers[0].blame("Bundle").refuse("a host has one cable in htsim, not a bundle", "write Bundle 1 in Tier 0")
    leaf = tiers[0].whole("Radix_Down")
    if podsize % leaf:
        tiers[0].blame("Radix_Down").refuse(
            f"a pod of {podsize} is no whole number of leaves of {leaf}", _nearest(leaf, podsize)
        )
    below = [leaf, podsize // leaf, nodes // podsize][: len(tiers)]
    made = []
    for number, section in enumerate(tiers):
        bundle = section.whole("Bundle", 1)
        down = section.whole("Radix_Down")
        if down != below[number] * bundle:
            what = ("", "leaves of a pod" if len(tiers) == 3 else "leaves", "pods")[number]
            section.blame("Radix_Down").refuse(
                f"Radix_Down {down} does not fit {below[number]} {what} with {bundle} cable{'s' * (bundle > 1)} each",
                f"write Radix_Down {below[number] * bundle}"
                + (f", or Bundle {down // below[number]}" if down % below[number] == 0 else ""),
            )
        parents = 1
        if number:
            up = tiers[number - 1].whole("Radix_Up")
            if up % bundle:
                tiers[number - 1].blame("Radix_Up").refuse(
                    f"Radix_Up {up} is no multiple of the bundle of {bundle} of tier {number}",
                    _nearest_multiple(up, bundle),
                )
            parents = up // bundle
        spare = section.whole("Radix_Up", 0, 0) if number == len(tiers) - 1 else 0
        if spare and number == 2:
            section.blame("Radix_Up").refuse("tier 2 is the top and has no way up", "remove Radix_Up from it")
        made.append(
            Tier(
                children=below[number],
                parents=parents,
                rate_bps=section.scaled("Downlink_speed_Gbps", 10**9, least=1),
                latency_ps=section.scaled("Downlink_Latency_ns", 1000),
                bundle=bundle,
                spare=spare,
            )
        )
    return Clos(tuple(made))


def _check_oversubscription(clos: Clos, tiers: list[_Section]) -> None:
    """What `Oversubscribed` says must be the ratio of ports or that of bandwidths."""
    for number, section in enumerate(tiers):
        line = section.said.get("Oversubscribed")
        if line is None:
            continue
        said = Fraction(line.scaled(line.words[1], "Oversubscribed", 1000, 1), 1000)
        if number == len(tiers) - 1:
            if said != 1:
                line.refuse(f"the top tier has no way up, so it can't be oversubscribed {line.words[1]}:1", "write 1")
            continue
        down, up = clos.down_ports(number + 1), clos.up_ports(number + 1)
        ports = Fraction(down, up)
        bandwidth = ports * clos.tiers[number].rate_bps / clos.tiers[number + 1].rate_bps
        if said in (ports, bandwidth):
            continue
        fitting = down / said
        nearest = max(1, round(fitting))
        line.refuse(
            f"Oversubscribed {line.words[1]}, while {down} ports down and {up} up are {float(ports):g}:1"
            + (f" ({float(bandwidth):g}:1 by their speeds)" if bandwidth != ports else ""),
            f"write Oversubscribed {float(bandwidth):g}, or "
            + (
                f"Radix_Up {nearest}"
                if nearest == fitting
                else f"the nearest possible, {down / nearest:g}, by Radix_Up {nearest}"
            ),
        )


def _nearest(value: int, whole: int) -> str:
    """A hint: the divisors of `whole` next below and above `value`."""
    small = [one for one in range(1, isqrt(whole) + 1) if whole % one == 0]
    fitting = {*small, *(whole // one for one in small)}
    lower, upper = [one for one in fitting if one <= value], [one for one in fitting if one >= value]
    near = [*([max(lower)] if lower else []), *([min(upper)] if upper else [])]
    return f"the nearest that divide {whole} are {' and '.join(map(str, near))}"


def _nearest_multiple(value: int, factor: int) -> str:
    lower = value // factor * factor
    return f"the nearest multiples are {lower} and {lower + factor}" if lower else f"the nearest multiple is {factor}"


def topology_text(clos: Clos, switch_latency_ps: int | tuple[int, ...] = 0) -> str:
    """The `.topo` file of a network.

    Raises:
        SuanwangError: INVALID where htsim's format has no words for it: other than 2 or 3 tiers, several planes, trees
            or rails, endpoints with several cables, parts of a Gbit/s or of a nanosecond, and an oversubscription that
            is no whole number, or is another by ports than by bandwidth below the leaves' uplinks.
    """
    _check_expressible(clos)
    latencies = (switch_latency_ps,) * clos.height if isinstance(switch_latency_ps, int) else switch_latency_ps
    podsize = clos.endpoints if clos.height == 2 else clos.endpoints // clos.tiers[2].children
    made = [f"Nodes {clos.endpoints}", f"Tiers {clos.height}", f"Podsize {podsize}"]
    for number, tier in enumerate(clos.tiers):
        made += ["", f"Tier {number}"]
        up = clos.up_ports(number + 1)
        if up:
            made.append(f"Oversubscribed {_whole_ratio(clos, number)}")
        made.append(f"Downlink_speed_Gbps {tier.rate_bps // 10**9}")
        made.append(f"Radix_Down {clos.down_ports(number + 1)}")
        if up or (tier.spare and clos.height == 2):
            made.append(f"Radix_Up {up or tier.spare}")
        made.append(f"Downlink_Latency_ns {tier.latency_ps // 1000}")
        made.append(f"Switch_Latency_ns {_nanoseconds(latencies[number], 'switch latency')}")
        made.append(f"Bundle {tier.bundle}")
    return "\n".join(made) + "\n"


def _check_expressible(clos: Clos) -> None:
    ways_out = "export it as containerlab, SimAI or ns-3, which list every link"
    for wrong, what in (
        (clos.height not in (2, 3), f"{clos.height} tiers, where htsim's fat trees have 2 or 3"),
        (clos.planes > 1, f"{clos.planes} planes; htsim sets them by its option -planes, one file for all"),
        (clos.trees > 1, f"{clos.trees} networks side by side"),
        (clos.rails > 1 and clos.joined > 1, f"{clos.rails} rails; htsim's hosts stand in order of their leaves"),
        (clos.tiers[0].parents * clos.tiers[0].bundle > 1, "endpoints with several cables in a plane"),
    ):
        if wrong:
            raise SuanwangError(INVALID, f"a .topo file can't say {what}", hint=ways_out)
    for tier in clos.tiers:
        _nanoseconds(tier.latency_ps, "latency")
        if tier.rate_bps % 10**9:
            raise SuanwangError(
                INVALID, f"a .topo file can't say a rate of {tier.rate_bps} bit/s", "htsim has whole Gbit/s"
            )


def _whole_ratio(clos: Clos, number: int) -> int:
    """What `Oversubscribed` of a tier must be for htsim: by bandwidth, and of leaves by ports as well."""
    down, up = clos.down_ports(number + 1), clos.up_ports(number + 1)
    ratio = Fraction(down * clos.tiers[number].rate_bps, up * clos.tiers[number + 1].rate_bps)
    if ratio.denominator != 1 or (number == 0 and ratio != Fraction(down, up)):
        what = f"an oversubscription of {float(ratio):g}:1 with {down} ports down and {up} up"
        raise SuanwangError(
            INVALID, f"a .topo file can't say {what}", "htsim has whole ratios, and of leaves one speed"
        )
    return int(ratio)


def _nanoseconds(latency_ps: int, what: str) -> int:
    if latency_ps % 1000:
        raise SuanwangError(
            INVALID, f"a .topo file can't say a {what} of {latency_ps} ps", "htsim has whole nanoseconds"
        )
    return latency_ps // 1000
