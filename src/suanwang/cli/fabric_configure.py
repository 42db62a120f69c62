"""`suanwang fabric configure`: the configuration of every switch, from a fabric's declaration."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import click

from suanwang.cli.session import current, note, output_option

if TYPE_CHECKING:
    from suanwang.fabric.configure.files import Writer
    from suanwang.fabric.configure.plan import Plan

FORMATS = ("frr", "sonic", "openconfig", "containerlab")
SHOWN = {"frr": "frr.conf", "sonic": "config_db.json", "openconfig": "openconfig.json"}
WITHOUT_WEIGHTS = (
    "with one session per pair, FRR does not see that a link of several between two switches is down, and gives all "
    "links the same weight; take --sessions link for FARE"
)


@click.command(
    epilog="""\b
Examples:
  suanwang fabric configure examples/fabric/pod.yaml --to out
  suanwang fabric configure examples/fabric/pod.yaml --to out --format frr --format sonic --format openconfig
  suanwang fabric configure examples/fabric/pod.yaml --show p0-leaf0
  suanwang fabric configure examples/fabric/pod.yaml --sessions pair -o json
Without --to nothing is written: the summary tells what would be. A folder that was written before is replaced as a
whole, and only if its files are as they were written."""
)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@click.option("--to", "folder", type=click.Path(file_okay=False), metavar="FOLDER", help="write into this folder")
@click.option(
    "--format", "formats", type=click.Choice(FORMATS), multiple=True, help="may stand several times [default: frr]"
)
@click.option(
    "--sessions", type=click.Choice(("link", "pair")), default="link", show_default=True,
    help="a BGP session per link, or per pair of switches, between loopbacks",
)  # fmt: skip
@click.option(
    "--announce", type=click.Choice(("leaf", "port")), default="leaf", show_default=True,
    help="a leaf announces one prefix for its hosts, or one for each port",
)  # fmt: skip
@click.option("--fare/--no-fare", default=True, show_default=True, help="weigh paths by their bandwidth")
@click.option("--bfd/--no-bfd", default=True, show_default=True, help="find silent failures by BFD")
@click.option(
    "--network", "which", type=click.Choice(("scale-out", "scale-up")), default="scale-out", show_default=True,
    help="which network of the fabric",
)  # fmt: skip
@click.option("--show", metavar="SWITCH", help="print one switch's configuration, and no more")
@output_option
def configure(
    file: str,
    folder: str | None,
    formats: tuple[str, ...],
    sessions: str,
    announce: str,
    fare: bool,
    bfd: bool,
    which: str,
    show: str | None,
) -> None:
    """The configuration of every switch: FRR, SONiC, OpenConfig, containerlab.

    eBGP as in RFC 7938, unnumbered, with BFD, and FARE's path bandwidths in link-bandwidth communities.
    """
    from suanwang.fabric.configure.files import Writer
    from suanwang.fabric.configure.plan import Options, Plan
    from suanwang.fabric.design.opening import open_fabric

    if show is not None and folder is not None:
        raise click.UsageError("--show prints and writes nothing; leave out --to")
    begun = time.perf_counter()
    design = open_fabric(file)
    options = Options(sessions=sessions, announce=announce, fare=fare, bfd=bfd)  # type: ignore[arg-type]
    plan = Plan(design.network(which), options)  # type: ignore[arg-type]
    writer = Writer(plan, formats or ("frr",), design.name)  # type: ignore[arg-type]
    if show is not None:
        _show(writer, show, formats)
        return
    told = {"fabric": design.name, **_summary(plan), "formats": list(writer.formats)}
    if folder is not None:
        from pathlib import Path

        from suanwang.cli.fabric_configure_folder import write_folder

        written = write_folder(Path(folder), _with_bar(writer.all(), plan.network.switches))
        told |= {"folder": folder, "files": written.files, "changed": written.changed}
    told["seconds"] = round(time.perf_counter() - begun, 3)
    if fare and sessions == "pair":
        note(f"note: {WITHOUT_WEIGHTS}")
    current().emit(told, lambda: _text(told))


def _show(writer: Writer, name: str, formats: tuple[str, ...]) -> None:
    """One switch's configuration in one format."""
    plan = writer.plan
    chosen = [one for one in formats or ("frr",) if one in SHOWN]
    if len(chosen) != 1:
        raise click.UsageError("--show prints one format; give one --format of frr, sonic and openconfig")
    node = plan.network.node(name)
    if node < plan.network.endpoints:
        raise click.UsageError(
            f"{name} is no switch; switches are called {plan.network.names[plan.network.endpoints]}, say"
        )
    files = dict(writer.of(plan.switch(node)))
    text = files[f"{name}/{SHOWN[chosen[0]]}"].decode()
    current().emit({"switch": name, "format": chosen[0], "content": text}, text.rstrip)


def _summary(plan: Plan) -> dict[str, Any]:
    from suanwang.fabric.clos import TIER_NAMES

    net, count = plan.network, plan.sessions
    tiers: dict[str, int] = {}
    for tier in net.tier[net.endpoints :].tolist():
        name = TIER_NAMES[tier - 1] if tier <= len(TIER_NAMES) else f"tier {tier}"
        tiers[name] = tiers.get(name, 0) + 1
    link = plan.options.sessions == "link"
    return {
        "switches": net.switches,
        "tiers": tiers,
        "asns": plan.asns,
        "sessions": {
            "mode": plan.options.sessions,
            "count": count.cables if link else count.pairs,
            "perLinkAndFamily": count.cables_and_families,
            "perLink": count.cables,
            "perPair": count.pairs,
            "saved": count.saved(plan.options.sessions),
        },
    }


def _text(told: dict[str, Any]) -> str:
    from suanwang.cli.table import table

    sessions = told["sessions"]
    tiers = ", ".join(f"{count:,} {name}" for name, count in told["tiers"].items())
    lines = [f"{told['fabric']}: {told['switches']:,} switches ({tiers}), {told['asns']:,} AS numbers"]
    kinds = (
        ("per link and address family", "perLinkAndFamily"),
        ("per link", "perLink"),
        ("per pair of switches", "perPair"),
    )
    chosen = "perLink" if sessions["mode"] == "link" else "perPair"
    rows = []
    for words, key in kinds:
        less = sessions["perLink"] - sessions[key]
        saved = f"{less / sessions['perLink']:.0%}" if less > 0 else "-"
        rows.append([words, f"{sessions[key]:,}", saved, "this" if key == chosen else ""])
    lines.append(table(["BGP SESSIONS", "COUNT", "SAVED", ""], rows))
    if "folder" in told:
        state = "written to" if told["changed"] else "unchanged in"
        lines.append(f"{told['files']:,} files ({', '.join(told['formats'])}) {state} {told['folder']}")
    else:
        lines.append("nothing written; give --to FOLDER")
    return "\n".join([*lines, f"{told['seconds']:.2f} s"])


def _with_bar(files: Iterable[tuple[str, bytes]], switches: int) -> Iterator[tuple[str, bytes]]:
    """The files as they come, with a bar of switches done on a terminal."""
    if not sys.stderr.isatty():
        yield from files
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task, last = bar.add_task("configuring", total=switches), ""
        for name, content in files:
            if (folder := name.partition("/")[0]) != last:
                bar.advance(task)
                last = folder
            yield name, content
