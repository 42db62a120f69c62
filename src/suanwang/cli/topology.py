"""Networks: imported from what others publish, and shown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any

import click

from suanwang.cli import sources
from suanwang.cli.session import Session, current, note, output_option, server_options, yaml_text
from suanwang.cli.table import table
from suanwang.cli.whereabouts import is_named
from suanwang.model.errors import NOT_FOUND, SuanwangError

if TYPE_CHECKING:
    from suanwang.topology.graph import Graph

FORMATS = ("repetita", "graphml", "containerlab")
WEIGHTS = {"latency": "latency_us", "cost": "cost", "hops": "hops"}


@click.group()
def topology() -> None:
    """Import a network from other formats, or show the one that is declared."""


@topology.command(
    "import",
    epilog="""\b
Examples:
  suanwang topology import Chinanet.graph --region china > china.yaml
  suanwang topology import Abilene.graphml --out abilene.yaml""",
)
@click.argument("file", type=click.Path())
@click.option(
    "--format", "format_name", type=click.Choice(FORMATS), help="what FILE is [default: told by name or content]"
)
@click.option("--region", default="imported", show_default=True, metavar="NAME", help="the Region that it becomes")
@click.option(
    "--out", type=click.Path(dir_okay=False), metavar="FILE", help="write to this file instead of standard output"
)
@output_option
def import_(file: str, format_name: Any, region: str, out: str | None) -> None:
    """Make a Region, Sites, Nodes and Links of a published topology. Written as YAML unless -o json is given."""
    import json

    from suanwang.topology.importing.reader import import_topology

    documents = import_topology(file, format_name, region)
    as_json = current().output == "json"
    text = json.dumps(documents, ensure_ascii=False, indent=2) + "\n" if as_json else yaml_text(documents)
    if out is None:
        click.echo(text, nl=False)
        return
    FilePath(out).write_text(text, encoding="utf-8")
    counts = [f"{sum(d['kind'] == kind for d in documents)} {kind}s" for kind in ("Node", "Link", "Site")]
    note(f"Written to {out}: {', '.join(counts)}. See it with: suanwang plan -f {out}")


@topology.command(
    epilog="""\b
Examples:
  suanwang topology show
  suanwang topology show -f china.yaml
  suanwang topology show -f china.yaml --from beijing --to guangzhou --by latency"""
)
@sources.files_option(required=False)
@click.option("--from", "source", metavar="NODE", help="show the best way from this node")
@click.option("--to", "target", metavar="NODE", help="… to this one")
@click.option(
    "--by", type=click.Choice(tuple(WEIGHTS)), default="latency", show_default=True, help="what makes a way good"
)
@server_options
def show(files: tuple[str, ...], source: str | None, target: str | None, by: str) -> None:
    """Show the links that are declared (with -f: in files), or the best way between two nodes."""
    session = current()
    if (source is None) != (target is None):
        raise click.UsageError("a way has two ends; give both --from and --to")
    nodes, links = _declared(session, files)
    if source is None or target is None:
        session.emit({"nodes": nodes, "links": links}, lambda: _links_text(nodes, links))
    else:
        _show_way(session, nodes, links, (source, target), by)


def _declared(session: Session, files: tuple[str, ...]) -> tuple[list[str], dict[str, Mapping[str, Any]]]:
    """Names of nodes, and links' specs by name."""
    items: Iterable[tuple[str, str, Mapping[str, Any]]]
    if files or not is_named(session.connection):
        if not files:
            raise click.UsageError("no server is named; give -f PATH")
        declared = sources.read(files)
        items = [
            (found.key.kind, found.key.name, found.spec.model_dump(mode="json", by_alias=True, exclude_none=True))
            for found in declared.resources
        ]
    else:
        client = session.client()
        items = [
            (kind, item["metadata"]["name"], item["spec"]) for kind in ("Node", "Link") for item in client.items(kind)
        ]
    nodes = sorted(name for kind, name, _ in items if kind == "Node")
    return nodes, {name: spec for kind, name, spec in items if kind == "Link"}


def _links_text(nodes: list[str], links: Mapping[str, Mapping[str, Any]]) -> str:
    head = ("LINK", "A", "B", "CAPACITY", "LATENCY", "LOSS", "COST")
    rows = [
        (name, s["a"]["node"], s["b"]["node"], s.get("capacity"), s.get("latency"), s.get("loss"), s.get("cost"))
        for name, s in sorted(links.items())
    ]
    told = f"{len(nodes)} nodes, {len(links)} links"
    pieces = _pieces(nodes, links)
    told += f", in {pieces} pieces that no link joins." if pieces > 1 else "."
    return f"{table(head, rows, right=('CAPACITY', 'LATENCY', 'COST'))}\n\n{told}" if rows else told


def _graph(nodes: Iterable[str], links: Mapping[str, Mapping[str, Any]]) -> Graph:
    from suanwang.topology.graph import Graph, graph_link

    return Graph(nodes, [graph_link(name, spec) for name, spec in links.items()])


def _pieces(nodes: list[str], links: Mapping[str, Mapping[str, Any]]) -> int:
    graph = _graph(nodes, links)
    left, count = set(nodes), 0
    while left:
        left -= set(graph.shortest_paths(min(left), "hops").distances())
        count += 1
    return count


def _show_way(
    session: Session, nodes: list[str], links: Mapping[str, Mapping[str, Any]], ends: tuple[str, str], by: str
) -> None:
    graph = _graph(nodes, links)
    path = graph.path(*ends, WEIGHTS[by])  # type: ignore[arg-type]
    if path is None:
        raise SuanwangError(NOT_FOUND, f"no links lead from {ends[0]} to {ends[1]}", "see: suanwang topology show")
    unit = {"latency": " us", "cost": "", "hops": ""}[by]

    def text() -> str:
        rows = [
            (node, link, links[link].get("latency") if link else None)
            for node, link in zip(path.nodes, (*path.links, None), strict=True)
        ]
        return table(("NODE", "THEN BY LINK", "LATENCY"), rows) + f"\n\n{by}: {path.weight}{unit}, one way."

    session.emit({"nodes": list(path.nodes), "links": list(path.links), "by": by, "weight": path.weight}, text)
