"""`suanwang fabric plot`: a fabric as a picture, as a cabling list, and in the formats of other programs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from suanwang.cli.flags import NewFile
from suanwang.cli.session import current, output_option

if TYPE_CHECKING:
    from suanwang.fabric.cabling.cables import Cable
    from suanwang.fabric.clos import Clos
    from suanwang.fabric.design.design import Design
    from suanwang.fabric.dragonfly import Dragonfly
    from suanwang.fabric.network import Network

FORMATS = ("containerlab", "infragraph", "simai", "ns3", "htsim")
PICTURES = (".svg", ".png")


@click.command(
    epilog="""\b
Examples:
  suanwang fabric plot examples/fabric/pod.yaml --to pod.svg
  suanwang fabric plot leaf_spine.topo --fail leaf0-spine1 --fail node:spine3 --to failed.png
  suanwang fabric plot fabric.yaml --cabling cables.csv --port-names eth --dot cables.dot
  suanwang fabric plot fabric.yaml --export containerlab --to lab.clab.yaml
FILE is a resource of kind Fabric, a topology of htsim, SimAI, ns-3, containerlab or InfraGraph, or a cabling list.
A link is A-B, A>B for one way, A-B#1 for one of parallel cables; node:A are all of a node."""
)
@click.argument("file", type=click.Path(dir_okay=False))
@click.option("--to", type=NewFile(), metavar="FILE", help="the picture, .svg or .png; with --export, the export")
@click.option("--fail", "fail", multiple=True, metavar="LINK", help="is down, and marked; may stand several times")
@click.option(
    "--network",
    "which",
    type=click.Choice(("scale-out", "scale-up")),
    default="scale-out",
    show_default=True,
    help="which network of the fabric",
)
@click.option("--cabling", type=NewFile(".csv"), metavar="FILE", help="write the list of all cables as CSV")
@click.option("--dot", type=NewFile(".dot", ".gv"), metavar="FILE", help="write the cables as a graph for Graphviz")
@click.option(
    "--port-names",
    type=click.Choice(("swp", "eth", "Ethernet")),
    default="swp",
    show_default=True,
    help="what ports are called in both; Ethernet counts ports from 0, not lanes",
)
@click.option("--export", type=click.Choice(FORMATS), help="write the fabric in this format to the file of --to")
@click.option(
    "--switches",
    type=click.Choice(("frr", "sonic")),
    default="frr",
    show_default=True,
    help="what they run in a containerlab file",
)
@click.option("--image", metavar="NAME", help="of the switches in a containerlab file, as it is called on the machine")
@click.option(
    "--per-server", type=click.IntRange(1), metavar="N", help="accelerators of one, in a SimAI or InfraGraph file"
)
@click.option("--accelerator", default="H100", show_default=True, metavar="NAME", help="their type in a SimAI file")
@output_option
def plot(
    file: str, to: str | None, fail: tuple[str, ...], which: str, cabling: str | None, dot: str | None, port_names: str,
    export: str | None, switches: str, image: str | None, per_server: int | None, accelerator: str,
) -> None:  # fmt: skip
    """Draw a fabric, list its cables, or write it for another program."""
    if to is None and (export is not None or not (cabling or dot)):
        raise click.UsageError("say where to: --to FILE for a picture or an export, --cabling FILE or --dot FILE")
    if to is not None and export is None and Path(to).suffix.lower() not in PICTURES:
        raise click.UsageError(f"{Path(to).name!r} is no .svg or .png; or choose --export, one of {', '.join(FORMATS)}")
    if fail and (to is None or export is not None):
        raise click.UsageError("--fail marks links in a picture: give --to FILE.svg or FILE.png, without --export")
    from suanwang.fabric.design.opening import open_fabric

    design = open_fabric(file)
    fabric = _part(design, which)
    written: list[dict[str, Any]] = []
    if to is not None and export is None:
        title = design.name if which == "scale-out" else f"{design.name} · {which}"
        written.append(_picture(title, fabric, to, fail))
    elif to is not None and export is not None:
        pieces = _exported(design, fabric, which, export, switches, image, per_server, accelerator)
        written.append(_write(to, export, pieces))
    if cabling is not None:
        from suanwang.fabric.cabling.cables import csv_text

        written.append(_write(cabling, "cabling", csv_text(_cables(design, fabric, which, port_names))))
    if dot is not None:
        from suanwang.fabric.cabling.cables import dot_text

        written.append(_write(dot, "dot", dot_text(_cables(design, fabric, which, port_names), design.name)))
    told = {"fabric": design.name, "network": which, "endpoints": fabric.endpoints, "switches": fabric.switches,
            "failed": list(fail), "written": written}  # fmt: skip
    current().emit(told, lambda: "")


def _part(design: Design, which: str) -> Clos | Dragonfly | Network:
    name: Any = which
    if name in design.imported:
        return design.imported[name]
    return design.part(name) or design.network(name)


def _network(fabric: Clos | Dragonfly | Network) -> Network:
    from suanwang.fabric.network import Network

    return fabric if isinstance(fabric, Network) else fabric.network()


def _picture(title: str, fabric: Clos | Dragonfly | Network, to: str, fail: tuple[str, ...]) -> dict[str, Any]:
    from suanwang.fabric.drawing.picture import draw
    from suanwang.fabric.failing import failed_ports

    failed = failed_ports(_network(fabric), fail) if fail else None
    form = Path(to).suffix.removeprefix(".").lower()
    return _written(to, "picture", lambda stream: draw(fabric, stream, title, failed, form=form))


def _cables(design: Design, fabric: Clos | Dragonfly | Network, which: str, port_names: str) -> Iterator[Cable]:
    from suanwang.fabric.cabling.cables import clos_cables, network_cables, port_namer
    from suanwang.fabric.clos import Clos

    if isinstance(fabric, Clos):
        return clos_cables(fabric, port_namer(port_names), kind=_kinds(design, which))
    return network_cables(_network(fabric), port_namer(port_names))


def _kinds(design: Design, which: Any) -> Callable[[int], tuple[str, str]]:
    """Type and length of the cables of a tier, where all of them are alike."""
    from suanwang.fabric.clos import TIER_NAMES
    from suanwang.fabric.design.lengths import lots
    from suanwang.fabric.units import length_text

    found = lots(design, which)

    def kind(tier: int) -> tuple[str, str]:
        mine = [lot for lot in found if lot.where == f"below {TIER_NAMES[tier - 1]}"]
        types, lengths = {lot.medium.name for lot in mine}, {lot.length_mm for lot in mine}
        return types.pop() if len(types) == 1 else "", length_text(lengths.pop()) if len(lengths) == 1 else ""

    return kind


def _exported(
    design: Design, fabric: Clos | Dragonfly | Network, which: str, form: str, switches: str, image: str | None,
    per_server: int | None, accelerator: str,
) -> Iterator[str]:  # fmt: skip
    from suanwang.fabric.clos import Clos
    from suanwang.model.errors import INVALID, SuanwangError

    per_server = per_server or (design.per_server if fabric.endpoints % design.per_server == 0 else 1)
    if form == "htsim":
        from suanwang.fabric.exchange.htsim import topology_text

        if not isinstance(fabric, Clos):
            raise SuanwangError(INVALID, "a .topo file can say folded Clos networks only", "export it as ns3, say")
        return iter([topology_text(fabric)])
    network = _network(fabric)
    if form == "containerlab":
        from suanwang.fabric.exchange.containerlab import FRR, SONIC, Image, containerlab_text

        chosen = {"frr": FRR, "sonic": SONIC}[switches]
        return containerlab_text(design.name, network, Image(chosen.kind, image) if image else chosen)
    if form == "infragraph":
        from suanwang.fabric.exchange.infragraph_text import infragraph_text

        return infragraph_text(design.name, network, per_server)
    if form == "simai":
        from suanwang.fabric.exchange.simai import simai_text

        inner = which == "scale-out" and (design.scale_up is not None or "scale-up" in design.imported)
        return simai_text(network, per_server, design.network("scale-up") if inner else None, accelerator)
    from suanwang.fabric.exchange.ns3 import ns3_text

    return ns3_text(network)


def _write(to: str, what: str, pieces: Iterator[str]) -> dict[str, Any]:
    def write(stream: IO[bytes]) -> None:
        for piece in pieces:
            stream.write(piece.encode())

    return _written(to, what, write)


def _written(to: str, what: str, write: Callable[[IO[bytes]], object]) -> dict[str, Any]:
    """Write a file whole or not at all."""
    from suanwang.cli.output import progress, write_whole

    with progress(f"writing {Path(to).name}"):
        write_whole(to, write, what)
    return {"what": what, "file": to, "bytes": Path(to).stat().st_size}
