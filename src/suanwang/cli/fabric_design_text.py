"""What `suanwang fabric design` tells: fields with stable names, and sections for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from suanwang.cli.table import printable, table
from suanwang.fabric.design.bill import Bill, PartBill, bill
from suanwang.fabric.design.design import Design
from suanwang.fabric.design.latency import Budget
from suanwang.fabric.design.presets import PRESETS
from suanwang.fabric.design.pricing import Account


def preset_fields() -> list[dict[str, Any]]:
    """All presets."""
    return [{"name": name, "summary": one.summary} for name, one in PRESETS.items()]


def presets_text(presets: list[dict[str, Any]]) -> str:
    """All presets, for people."""
    return table(("PRESET", "WHAT IT IS"), [(one["name"], one["summary"]) for one in presets])


def design_fields(design: Design) -> dict[str, Any]:
    """A design's bill. Rates are in bit/s, lengths in metres, powers in watts; names end with their units."""
    found = bill(design)
    return {
        "name": design.name,
        "preset": design.preset,
        "accelerators": design.accelerators,
        "servers": design.servers,
        "accelerators_per_server": design.per_server,
        "networks": [_part_fields(part) for part in found.parts],
        "power_w": _power_fields(found),
    }


def _part_fields(part: PartBill) -> dict[str, Any]:
    return {
        "network": part.which,
        "switch": {"name": part.chip.name, "ports": part.chip.ports, "port_bps": part.chip.port_bps},
        "endpoints": part.endpoints,
        "endpoint_bps": part.endpoint_bps,
        "planes": part.planes,
        "trees": part.trees,
        "rails": part.rails,
        "rails_joined_at": part.joined,
        "switches": part.switches,
        "tiers": [asdict(tier) for tier in part.tiers],
        "cables": part.cables,
        "transceivers": part.transceivers,
        "cables_by_length": [
            {
                "where": lot.where,
                "medium": lot.medium.name,
                "rate_bps": lot.rate_bps,
                "length_m": lot.length_mm / 1000,
                "count": lot.count,
            }
            for lot in part.lots
        ],
        "bisection_bps": part.bisection_bps,
        "bisection_within_trees_bps": part.within_bps,
        "diameter_cables": part.diameter,
        "failure_domains": [asdict(domain) for domain in part.domains],
    }


def _power_fields(found: Bill) -> dict[str, Any]:
    network: dict[str, Any] = {
        part.which: {"switches": part.switches_w, "optics": part.optics_w, "interfaces": part.interfaces_w}
        for part in found.parts
    }
    return {**network, "racks": found.racks_w, "racks_count": found.racks, "total": found.power_w}


def price_fields(found: Account) -> dict[str, Any]:
    """What the design costs, line by line."""
    lines = [
        {"what": line.what, "count": line.count, "item": line.item, "each": line.each, "total": line.total}
        for line in found.lines
    ]
    return {"currency": found.currency, "total": found.total, "unpriced": found.unpriced, "lines": lines}


def latency_fields(budgets: Iterable[Budget]) -> list[dict[str, Any]]:
    """Budgets with their terms, in nanoseconds. `switch_at_most_ns` is None where no switch is fast enough."""
    return [
        {
            "what": one.what,
            "tiers": one.tiers,
            "total_ns": one.total_ps / 1000,
            "target_ns": one.target_ps / 1000,
            "met": one.met,
            "switch_at_most_ns": one.switch_ps / 1000 if one.switch_ps > 0 else None,
            "terms": [
                {
                    "what": term.what,
                    "count": term.count,
                    "each_ns": term.each_ps / 1000,
                    "total_ns": term.total_ps / 1000,
                    "source": term.source,
                }
                for term in one.terms
            ],
        }
        for one in budgets
    ]


def design_text(fields: dict[str, Any]) -> str:
    """All of it for people, section by section."""
    racks = fields["power_w"]["racks_count"]
    head = (
        f"{fields['name']}: {fields['accelerators']:,} accelerators, {fields['servers']:,} servers of "
        f"{fields['accelerators_per_server']}, {racks:,} racks of servers"
    )
    sections = [printable(head)]
    for part in fields["networks"]:
        sections += _part_sections(part)
    sections.append(_power_section(fields["power_w"]))
    if "price" in fields:
        sections.append(_price_section(fields["price"]))
    if "latency" in fields:
        sections += _latency_sections(fields["latency"])
    if "derivation" in fields:
        sections.append("Derivation\n" + "\n".join(printable(line) for line in fields["derivation"]))
    return "\n\n".join(section for section in sections if section)


def _part_sections(part: dict[str, Any]) -> list[str]:
    switch = part["switch"]
    rows = [
        (
            tier["name"],
            f"{tier['switches']:,}",
            tier["ports_down"],
            tier["ports_up"],
            f"{tier['ports_used']} + {tier['ports_spare']}",
            "-" if tier["oversubscription"] is None else f"{tier['oversubscription']:.4g}:1",
            f"{tier['cables']:,}",
        )
        for tier in part["tiers"]
    ]
    head = ("TIER", "SWITCHES", "DOWN", "UP", "PORTS USED + SPARE", "OVERSUBSCRIBED", "CABLES DOWN")
    found = [
        printable(
            f"{part['network']}: {part['switches']:,} switches {switch['name']}, {part['planes']} plane"
            f"{'s' if part['planes'] > 1 else ''}, {part['endpoints']:,} endpoints of {_rate(part['endpoint_bps'])}"
        )
        + f"\n{_table(head, rows, 1)}\n{_capacity(part)}"
    ]
    if part["cables_by_length"]:
        lots = [
            (lot["where"], lot["medium"], _rate(lot["rate_bps"]), f"{lot['length_m']:g} m", f"{lot['count']:,}")
            for lot in part["cables_by_length"]
        ]
        found.append(
            _table(("CABLES", "MEDIUM", "RATE", "LENGTH", "COUNT"), lots, 2)
            + f"\n{part['cables']:,} cables, {part['transceivers']:,} transceivers"
        )
    if part["failure_domains"]:
        domains = [
            (
                one["what"],
                f"{one['count']:,}",
                f"{one['endpoints']:,}",
                f"{one['share']:.2%}",
                _rate(one["lost_bps"]),
                one["parted"],
            )
            for one in part["failure_domains"]
        ]
        columns = ("WHAT FAILS", "OF THESE", "ENDPOINTS TOUCHED", "THEY LOSE", "CAPACITY LOST", "PARTED")
        found.append(_table(columns, domains, 1))
    return found


def _capacity(part: dict[str, Any]) -> str:
    if part["bisection_bps"] is None:
        return ""
    text = f"bisection {_rate(part['bisection_bps'])}, diameter {part['diameter_cables']} cables"
    if part["trees"] > 1:
        within = _rate(part["bisection_within_trees_bps"])
        text += f"; {part['trees']:,} networks that never meet, of {within} bisection together"
    return text


def _power_section(power: dict[str, Any]) -> str:
    rows = [
        (name, _watts(one["switches"]), _watts(one["optics"]), _watts(one["interfaces"]))
        for name, one in power.items()
        if isinstance(one, dict)
    ]
    text = _table(("POWER", "SWITCHES", "OPTICS", "INTERFACES"), rows, 1)
    racks = f", racks of servers {_watts(power['racks'])}" if power["racks"] else ""
    return f"{text}\n{_watts(power['total'])} in all{racks}"


def _price_section(price: dict[str, Any]) -> str:
    rows = [
        (
            line["what"],
            f"{line['count']:,.0f}",
            line["item"] or "no price",
            f"{line['each']:,.2f}",
            f"{line['total']:,.0f}",
        )
        for line in price["lines"]
    ]
    text = _table(("PRICE", "COUNT", "BY ITEM", "EACH", "TOTAL"), rows, 1, left=("BY ITEM",))
    least = "at least " if price["unpriced"] else ""
    return f"{text}\n{least}{price['total']:,.0f} {printable(price['currency'])} in all"


def _latency_sections(budgets: list[dict[str, Any]]) -> list[str]:
    rows = []
    for one in budgets:
        most = one["switch_at_most_ns"]
        needed = "no switch is fast enough" if most is None else f"{most:,.0f} ns"
        rows.append((one["what"], one["tiers"], f"{one['total_ns']:,.0f} ns", f"{one['target_ns']:,.0f} ns",
                     one["met"], needed))  # fmt: skip
    head = ("LATENCY", "TIERS", "TOTAL", "TARGET", "MET", "EACH SWITCH AT MOST")
    found = [_table(head, rows, 1, left=("MET", "EACH SWITCH AT MOST"))]
    seen: dict[str, tuple[Any, ...]] = {}
    for one in budgets:
        for term in one["terms"]:
            seen.setdefault(term["what"], (term["what"], f"{term['each_ns']:,.1f} ns", term["source"]))
    found.append(_table(("TERM", "EACH", "SOURCE"), list(seen.values()), 1, left=("SOURCE",)))
    return found


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]], first: int, left: Sequence[str] = ()) -> str:
    """A table whose columns from `first` on are numbers, aligned right, but for those named in `left`."""
    return table(head, rows, [name for name in head[first:] if name not in (*left, "MEDIUM", "RATE", "PARTED")])


def _rate(rate_bps: float) -> str:
    for factor, unit in ((1e15, "Pbit/s"), (1e12, "Tbit/s"), (1e9, "Gbit/s")):
        if rate_bps >= factor:
            return f"{rate_bps / factor:.4g} {unit}"
    return f"{rate_bps:,.0f} bit/s"


def _watts(power_w: float) -> str:
    for factor, unit in ((1e6, "MW"), (1e3, "kW")):
        if power_w >= factor:
            return f"{power_w / factor:.4g} {unit}"
    return f"{power_w:.4g} W"
