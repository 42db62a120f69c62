"""A plan as people read it: `+` create, `~` update, `-` delete, then nodes, then a line that sums it up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from suanwang.cli.table import printable
from suanwang.model.reference import Key

SIGNS = {"create": ("+", "green"), "update": ("~", "yellow"), "delete": ("-", "red")}
MOST_NODES = 12


def change_line(change: Mapping[str, Any]) -> str:
    """One change: sign, kind, name."""
    sign, colour = SIGNS.get(change["action"], ("?", "white"))
    key = Key(change["kind"], change.get("tenant", ""), change["name"])
    return click.style(printable(f"{sign} {key.kind} {key.title}"), fg=colour)


def plan_text(plan: Mapping[str, Any]) -> str:
    """The whole plan."""
    changes = plan["changes"]
    if not changes:
        return "No changes: what is declared is what is there."
    lines = []
    for change in changes:
        lines.append(change_line(change))
        if change["action"] == "update":
            lines += [f"    {printable(field)}" for field in change.get("fields", ())]
    nodes = list(plan.get("nodes", ()))
    lines += ["", f"Nodes touched: {nodes_text(nodes)}"]
    lines += [click.style("warning: ", fg="yellow") + printable(text) for text in plan.get("warnings", ())]
    return "\n".join([*lines, *verdict_lines(plan), summary(plan)])


def verdict_lines(plan: Mapping[str, Any]) -> list[str]:
    """What was proven of a plan: what it would break, each with a packet that shows it, and what it mends."""
    lines = []
    for one in plan.get("broken", ()):
        lines.append(click.style(f"BREAKS {one['subject']}: {printable(one['message'])} ({one['code']})", fg="red"))
        lines += [f"    {printable(step)}" for step in one["steps"]]
    for one in plan.get("mended", ()):
        lines.append(click.style(f"mends {printable(one['subject'])}", fg="green"))
    networks = plan.get("networksProven", 0)
    if networks and not plan.get("broken"):
        told = (
            f"Proven: {_count(plan['assertionsProven'], 'assertion')} and isolation of {_count(networks, 'network')}."
        )
        lines.append(click.style(told, fg="green"))
    return lines


def nodes_text(nodes: list[str]) -> str:
    """Names of nodes, as many as a line holds."""
    if not nodes:
        return "none"
    more = f" and {len(nodes) - MOST_NODES} more" if len(nodes) > MOST_NODES else ""
    return ", ".join(nodes[:MOST_NODES]) + more


def summary(plan: Mapping[str, Any]) -> str:
    """How many of each."""
    counts = {action: sum(change["action"] == action for change in plan["changes"]) for action in SIGNS}
    nodes = len(plan.get("nodes", ()))
    told = ", ".join(f"{count} to {action}" for action, count in counts.items() if count)
    return f"Plan: {told}; {nodes} {'node' if nodes == 1 else 'nodes'} touched."


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
