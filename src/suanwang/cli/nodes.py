"""Nodes and how far their programs are carried out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from suanwang.cli.session import current, server_options
from suanwang.cli.table import Styled, table
from suanwang.model.errors import NOT_FOUND, SuanwangError


@click.command(
    epilog="""\b
Examples:
  suanwang nodes
  suanwang nodes h1                   what went wrong on a node"""
)
@click.argument("name", required=False)
@server_options
def nodes(name: str | None) -> None:
    """Show nodes, whether their agents are connected, and how far they have carried out their programs."""
    session = current()
    found = session.client().get("/v1/nodes")["nodes"]
    if name is None:
        session.emit(found, lambda: _text(found))
        return
    node = next((node for node in found if node["name"] == name), None)
    if node is None:
        raise SuanwangError(NOT_FOUND, f"no node {name!r} has an agent or a program", "see: suanwang nodes")
    session.emit(node, lambda: _node_text(node))


def _text(nodes: list[Mapping[str, Any]]) -> str:
    if not nodes:
        return "No node has an agent or a program."
    head = ("NAME", "AGENT", "PROGRAM", "DONE", "PENDING", "FAILED", "REPAIRED", "REVISION", "VERSION")
    rows = [
        (
            node["name"],
            Styled("connected", "green") if node["connected"] else Styled(_absence(node), "yellow"),
            state(node),
            node["done"],
            node["pending"],
            node["failed"],
            node["repaired"],
            node["appliedRevision"] or None,
            node["agentVersion"],
        )
        for node in nodes
    ]
    return table(head, rows, right=("DONE", "PENDING", "FAILED", "REPAIRED", "REVISION"))


def state(node: Mapping[str, Any]) -> str:
    """How far a node is, in a word."""
    if node["failed"]:
        return Styled("failed", "red")
    if not node["appliedHash"]:
        return Styled("unknown", "yellow")
    if node["appliedHash"] != node["programHash"]:
        return Styled("behind", "yellow")
    return Styled("pending", "yellow") if node["pending"] else Styled("applied", "green")


def _absence(node: Mapping[str, Any]) -> str:
    return f"away since {node['lastSeen'][:19].replace('T', ' ')}" if node.get("lastSeen") else "never seen"


def _node_text(node: Mapping[str, Any]) -> str:
    blocks = [_text([node])]
    blocks.append(f"Wanted:  {node['programHash'] or '-'}\nApplied: {node['appliedHash'] or '-'}")
    if node["problems"]:
        rows = [(problem["code"], problem["message"], problem["object"]) for problem in node["problems"]]
        blocks.append(table(("CODE", "PROBLEM", "OBJECT"), rows))
    return "\n\n".join(blocks)
