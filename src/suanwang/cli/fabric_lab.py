"""`suanwang fabric lab`: a small fabric of real routers on this machine, tried step by step."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from suanwang.cli import failure
from suanwang.cli.session import current, note, output_option

if TYPE_CHECKING:
    from types import FrameType

    from suanwang.lab.fabric import FabricLab
    from suanwang.lab.fabric_setting import Setting
    from suanwang.lab.fabric_trial import Outcome, Phase

MOST_SHOWN = 6


@click.command(
    epilog="""\b
Examples:
  sudo suanwang fabric lab
  sudo suanwang fabric lab --cut p0-leaf1:swp2 --cut p0-spine0 --cut plane1
  sudo suanwang fabric lab --miscable p0-leaf0:swp2 p0-leaf1:swp4
  sudo suanwang fabric lab examples/fabric/small.yaml -o json
  sudo suanwang fabric lab --keep; sudo suanwang lab exec --name fabric p0-leaf0 -- ip route
A link is NODE:PORT (one cable), NODE/NODE (all between two), NODE (all of one), plane0 (all between switches of a
plane); several with commas fail together. Exit code 2 when something is not as listed or computed."""
)
@click.argument("file", required=False, type=click.Path(exists=True, dir_okay=False))
@click.option("--cut", "cuts", multiple=True, metavar="LINK", help="cut and heal these instead of the usual ones")
@click.option("--miscable", nargs=2, metavar="LINK LINK", help="exchange the plugs of two cables before it begins")
@click.option("--bfd", is_flag=True, help="find silent failures by BFD too; needs a machine that is not busy")
@click.option("--name", default="fabric", show_default=True, help="the lab's name")
@click.option("--keep", is_flag=True, help="leave it running; `suanwang lab down --name NAME` takes it away")
@output_option
def lab(
    file: str | None,
    cuts: tuple[str, ...],
    miscable: tuple[str, str] | None,
    bfd: bool,
    name: str,
    keep: bool,
) -> None:
    """A small fabric of real routers on this machine: namespaces, cables, FRR from generated files. Needs root.

    Without FILE: two planes of two spines and four leaves, with hosts. Neighbours are found by LLDP and held against
    the cabling list; weights of the kernel's routes against those of FARE; then links are cut and healed, and what
    that took, and lost, is measured. Everything is taken away at the end.
    """
    from suanwang.lab.fabric import FabricLab, check_machine
    from suanwang.lab.fabric_trial import default_cuts, run

    check_machine()
    setting = _setting(file, bfd)
    chosen = list(cuts) or default_cuts(setting)
    for word in (*chosen, *(miscable or ())):
        setting.chosen(word)
    with _ended_in_order():
        running = FabricLab.claim(name)
        kept = False
        try:
            outcome = run(running, setting, chosen, miscable, note)
            if keep:
                running.keep()
                kept = True
        finally:
            if not kept:
                _take_away(running)
    current().emit(fields(outcome), lambda: text(outcome))
    if kept:
        note(f"Left running. Take it away with: suanwang lab down --name {name}")
    if not outcome.good:
        raise click.exceptions.Exit(failure.DIFFERENT)


def _setting(file: str | None, bfd: bool) -> Setting:
    from suanwang.fabric.configure.plan import Options
    from suanwang.lab.fabric_setting import Setting, small_fabric

    options = Options(bfd=bfd)
    if file is None:
        return Setting(small_fabric(), options)
    from suanwang.fabric.design.opening import open_fabric

    return Setting(open_fabric(file).network(), options)


@contextmanager
def _ended_in_order() -> Iterator[None]:
    """A request to end is an interrupt, so that what was built is taken away."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = [(number, signal.signal(number, interrupt)) for number in (signal.SIGTERM, signal.SIGHUP)]
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)


def _take_away(running: FabricLab) -> None:
    """Take it away; whoever wants this process to end sooner has to wait."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [(number, signal.signal(number, signal.SIG_IGN)) for number in numbers]
    try:
        running.remove()
    finally:
        for number, handler in before:
            signal.signal(number, handler)


def fields(outcome: Outcome) -> dict[str, Any]:
    """The outcome as stable JSON fields."""
    setting = outcome.setting
    return {
        "good": outcome.good,
        "built": {
            "switches": len(setting.switches), "hosts": len(setting.hosts), "cables": len(setting.cables),
            "files": len(setting.configurations), "configured_ms": round(outcome.configured_ms, 1),
        },
        "cabling": [
            {"frames": one.frames, "ports": one.ports, **one.comparison.as_dict()} for one in outcome.surveys
        ],
        "sessions": {
            "discovered": len(outcome.surveys[-1].discovery.sessions),
            "established": outcome.sessions,
            "missing": list(outcome.sessions_missing),
            "different": list(outcome.sessions_differ),
        },
        "phases": [_phase(one) for one in outcome.phases],
    }  # fmt: skip


def _phase(one: Phase) -> dict[str, Any]:
    loss = one.loss
    return {
        "name": one.name,
        "weights": len(one.match.pairs),
        "equal": one.match.equal,
        "unequal_weights": one.match.unequal_weights,
        "convergence_ms": round(one.convergence_ms, 1),
        "changes": one.changes,
        "sent": loss.sent if loss else 0,
        "lost": loss.lost if loss else 0,
        "outage_ms": round(loss.outage_s * 1000, 1) if loss else 0.0,
        "received_by_plane": list(loss.by_plane) if loss else [],
        "passing": one.passing,
        "wrong": [
            {"switch": pair.switch, "prefix": pair.prefix, "computed": pair.computed, "found": pair.found,
             "deviation": round(pair.deviation, 4)}
            for pair in one.match.wrong
        ],
    }  # fmt: skip


def text(outcome: Outcome) -> str:
    """The outcome for people, a step a line."""
    from suanwang.cli.table import table

    setting, last = outcome.setting, outcome.surveys[-1]
    lines = [
        f"Built     {len(setting.switches)} switches, {len(setting.hosts)} hosts, {len(setting.cables)} cables; "
        f"{len(setting.configurations)} files for FRR in {outcome.configured_ms:.0f} ms"
    ]
    for survey in outcome.surveys:
        found = survey.comparison.text().splitlines()
        lines += [f"LLDP      {survey.frames} frames on {survey.ports} ports; {found[0]}", *found[1:]]
    same = "the same as in the files" if not outcome.sessions_differ else "not those of the files"
    ends = outcome.sessions + len(outcome.sessions_missing)
    lines.append(
        f"Sessions  {len(last.discovery.sessions)} ends to configure by LLDP, {same}; "
        f"{outcome.sessions} of {ends} are established"
    )
    lines += [f"  {line}" for line in (*outcome.sessions_differ, *outcome.sessions_missing)[:MOST_SHOWN]]
    right = ("ms", "weights", "unequal", "changes", "sent", "lost", "outage ms", "by plane")
    rows = [
        [one.name, f"{one.convergence_ms:.0f}", f"{one.match.equal}/{len(one.match.pairs)}", one.match.unequal_weights,
         one.changes, *_lost(one)]
        for one in outcome.phases
    ]  # fmt: skip
    lines += ["", table(["step", *right], rows, right)]
    for one in outcome.phases:
        lines += [] if one.passing else [f"{one.name}: packets do not pass in every plane again"]
        lines += [f"{one.name}: {pair}" for pair in one.match.wrong[:MOST_SHOWN]]
        if len(one.match.wrong) > MOST_SHOWN:
            lines.append(f"{one.name}: and {len(one.match.wrong) - MOST_SHOWN} more")
    verdict = "Everything is as listed and computed." if outcome.good else "Not everything is as listed and computed."
    return "\n".join([*lines, "", verdict])


def _lost(one: Phase) -> list[Any]:
    if one.loss is None:
        return ["", "", "", ""]
    return [one.loss.sent, one.loss.lost, f"{one.loss.outage_s * 1000:.0f}", " ".join(map(str, one.loss.by_plane))]
