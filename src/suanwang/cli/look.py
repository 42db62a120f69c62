"""Commands that show what is declared and what became of it: get, describe, watch, history."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

from suanwang.cli import naming
from suanwang.cli.client import Client
from suanwang.cli.failure import ServerRefusal
from suanwang.cli.planned import change_line
from suanwang.cli.session import current, server_options, yaml_text
from suanwang.cli.table import Styled, cell, printable, table

if TYPE_CHECKING:
    from suanwang.model.registry import Kind

MOST_LOOKED_THROUGH = 1000
"""Resources of each kind that `describe` looks through for references."""
MOST_REFERRERS = 20


@click.command(
    epilog="""\b
Examples:
  suanwang get ports
  suanwang get port web-1 --tenant retail -o yaml
  suanwang get subnets --tenant retail -l tier=front
  suanwang get ports -A --watch"""
)
@click.argument("kind", type=naming.KindName())
@click.argument("name", required=False)
@naming.tenant_option
@click.option("-A", "--all-tenants", is_flag=True, help="of all tenants, even where SUANWANG_TENANT is set")
@click.option("-l", "--label", "labels", multiple=True, metavar="LABEL[=VALUE]", help="only those with this label")
@click.option("-w", "--watch", "follow", is_flag=True, help="then go on and show changes as they are made")
@server_options
def get(kind: str, name: str | None, tenant: str, all_tenants: bool, labels: tuple[str, ...], follow: bool) -> None:
    """List resources of a kind (any case, plural or short name), or show one."""
    from suanwang.model.registry import load

    session = current()
    found = load().spoken(kind)
    client = session.client()
    tenant = "" if all_tenants or found.scope != "tenant" else tenant
    since = client.get(f"/v1/resources/{found.name}", {"limit": 1})["revision"] if follow else 0
    if name is not None:
        items = [client.item(naming.key(kind, name, tenant))]
    else:
        items = [item for item in client.items(found.name, tenant) if _labelled(item, labels)]
    data: Any = items[0] if name is not None else items
    session.emit(data, lambda: kind_table(found, items) if items else _none(found, tenant, labels))
    if follow:
        query = {"since": since, "kind": found.name, "tenant": tenant}
        only = naming.key(kind, name, tenant).name if name is not None else None
        _follow(client, query, lambda change: _wanted(change, labels, only))


@click.command(
    epilog="""\b
Examples:
  suanwang describe port web-1 --tenant retail
  suanwang describe vpc retail/shop"""
)
@click.argument("kind", type=naming.KindName())
@click.argument("name")
@naming.tenant_option
@server_options
def describe(kind: str, name: str, tenant: str) -> None:
    """Show all about one resource: what was declared, its state, and what refers to it."""
    session = current()
    key = naming.key(kind, name, tenant)
    client = session.client()
    item = client.item(key)
    if session.output != "table":
        session.emit(item, str)
        return
    metadata, status = item["metadata"], dict(item.get("status", {}))
    conditions = status.pop("conditions", [])
    head = [("Kind", key.kind), ("Name", key.name)]
    head += [("Tenant", key.tenant)] if key.tenant else []
    head += [("Labels", cell(metadata["labels"]))] if metadata.get("labels") else []
    head += [("Revision", str(metadata.get("revision", "-")))]
    blocks = ["\n".join(f"{title + ':':<10} {printable(value)}" for title, value in head)]
    blocks.append(_section("Spec", item["spec"]))
    if status:
        blocks.append(_section("Status", status))
    if conditions:
        rows = [(c["type"], _truth(c), c.get("reason", ""), c.get("message", "")) for c in conditions]
        blocks.append("Conditions:\n" + _indent(table(("TYPE", "STATUS", "REASON", "MESSAGE"), rows)))
    referrers, partial = _referrers(client, key)
    if referrers:
        lines = referrers[:MOST_REFERRERS]
        more = len(referrers) - len(lines)
        lines += [f"… and {more} more"] if more else []
        lines += ["(there may be more: not all could be looked through)"] if partial else []
        blocks.append("Referred to by:\n" + _indent("\n".join(lines)))
    click.echo("\n\n".join(blocks))


@click.command(
    epilog="""\b
Examples:
  suanwang watch
  suanwang watch port --tenant retail --since 40
  suanwang watch -o json | jq .changes[]"""
)
@click.argument("kind", type=naming.KindName(), required=False)
@naming.tenant_option
@click.option("--since", type=click.IntRange(min=0), help="show what changed after this revision first [default: now]")
@server_options
def watch(kind: str | None, tenant: str, since: int | None) -> None:
    """Show changes as they are made, until interrupted. With -o json, one commit a line."""
    from suanwang.model.registry import load

    client = current().client()
    name = load().spoken(kind).name if kind else None
    _follow(client, {"since": since, "kind": name, "tenant": tenant}, lambda change: True)


@click.command(
    epilog="""\b
Examples:
  suanwang history
  suanwang history port web-1 --tenant retail --limit 5"""
)
@click.argument("kind", type=naming.KindName(), required=False)
@click.argument("name", required=False)
@naming.tenant_option
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="how many revisions")
@server_options
def history(kind: str | None, name: str | None, tenant: str, limit: int) -> None:
    """Show who changed what and when, newest first: of everything, a kind, or one resource."""
    session = current()
    query: dict[str, Any] = {"tenant": tenant, "limit": limit}
    if kind and name:
        query |= naming.key(kind, name, tenant)._asdict()
    elif kind:
        from suanwang.model.registry import load

        query["kind"] = load().spoken(kind).name
    commits = session.client().get("/v1/history", query)["commits"]

    def text() -> str:
        rows = [(c["revision"], _time(c["time"]), c["author"], c["message"], _told(c["changes"])) for c in commits]
        return table(("REVISION", "TIME", "AUTHOR", "MESSAGE", "CHANGES"), rows) if rows else "Nothing was changed yet."

    session.emit(commits, text)


def kind_table(kind: Kind, items: Iterable[Mapping[str, Any]]) -> str:
    """Resources of a kind as a table: tenant, name, the kind's own columns, and whether all is well with them."""
    tenants = ["TENANT"] if kind.scope == "tenant" else []
    head = [*tenants, "NAME", *kind.columns, "STATE"]
    rows = []
    for item in items:
        metadata = item["metadata"]
        names = [metadata.get("tenant", ""), metadata["name"]] if tenants else [metadata["name"]]
        rows.append([*names, *(_at(item, path) for path in kind.columns.values()), _state(item)])
    if all(row[-1] == "-" for row in rows):
        head, rows = head[:-1], [row[:-1] for row in rows]
    return table(head, rows)


def _none(kind: Kind, tenant: str, labels: tuple[str, ...]) -> str:
    of_tenant = f" of tenant {tenant}" if tenant else ""
    labelled = f" with {', '.join(labels)}" if labels else ""
    return f"No {kind.name}{of_tenant}{labelled} is declared."


def _at(document: Any, path: str) -> Any:
    for step in path.split("."):
        document = document.get(step) if isinstance(document, Mapping) else None
    return document


def _state(item: Mapping[str, Any]) -> str:
    """The reason of the first condition that does not hold, or `ok`; `-` where nothing is known."""
    conditions = item.get("status", {}).get("conditions", [])
    for condition in conditions:
        if condition["status"] != "True":
            reason = condition.get("reason") or condition["type"]
            return Styled(reason, "red" if condition["status"] == "False" else "yellow")
    return Styled("ok", "green") if conditions else "-"


def _truth(condition: Mapping[str, Any]) -> str:
    colour = {"True": "green", "False": "red"}.get(condition["status"], "yellow")
    return Styled(condition["status"], colour)


def _labelled(item: Mapping[str, Any], wanted: tuple[str, ...]) -> bool:
    labels = item["metadata"].get("labels", {})
    for text in wanted:
        name, has_value, value = text.partition("=")
        if name not in labels or (has_value and labels[name] != value):
            return False
    return True


def _wanted(change: Mapping[str, Any], labels: tuple[str, ...], name: str | None) -> bool:
    if name is not None and change["name"] != name:
        return False
    document = change.get("document")
    return not labels or document is None or _labelled(document, labels)


def _follow(client: Client, query: Mapping[str, Any], wanted: Any) -> None:
    """Print changes as they come, until the server or the user ends it."""
    import json

    output = current().output
    for commit in client.stream("/v1/watch", query):
        changes = [change for change in commit["changes"] if wanted(change)]
        if not changes:
            continue
        if output == "json":
            click.echo(json.dumps({**commit, "changes": changes}, ensure_ascii=False))
        elif output == "yaml":
            click.echo("---\n" + yaml_text({**commit, "changes": changes}), nl=False)
        else:
            for change in changes:
                author = printable(commit["author"])
                click.echo(f"{commit['revision']:>6}  {_time(commit['time'])}  {author}  {change_line(change)}")


def _referrers(client: Client, key: Any) -> tuple[list[str], bool]:
    """Resources whose specs name `key`, as `Kind tenant/name (field)`, and whether not all were looked through."""
    from suanwang.model.registry import load, reference_paths, references, target

    registry = load()
    found, partial = [], False
    for kind in registry:
        if not any(named == key.kind for _, named in reference_paths(kind.spec)):
            continue
        try:
            items = list(client.items(kind.name, key.tenant, MOST_LOOKED_THROUGH))
        except ServerRefusal:
            partial = True  # a kind that this token may not see
            continue
        for item in items:
            tenant = item["metadata"].get("tenant", "")
            name = item["metadata"]["name"]
            for path, named, text in references(kind.spec, item["spec"]):
                if named == key.kind and target(registry, named, text, tenant) == key:
                    title = f"{tenant}/{name}" if tenant else name
                    found.append(f"{kind.name} {title} ({path})")
                    break
        partial = partial or len(items) == MOST_LOOKED_THROUGH
    return found, partial


def _told(changes: list[Mapping[str, Any]]) -> str:
    """Changes of a commit in few words."""
    shown = [click.unstyle(change_line(change)) for change in changes[:3]]
    return "; ".join(shown) + (f"; … {len(changes)} in all" if len(changes) > 3 else "")


def _time(text: str) -> str:
    """RFC 3339 in UTC to the second, as people read it."""
    return printable(text[:19].replace("T", " "))


def _section(title: str, data: Any) -> str:
    return f"{title}:\n" + _indent("\n".join(_yaml_lines(data)))


def _yaml_lines(data: Any) -> Iterator[str]:
    yield from yaml_text(data).rstrip("\n").split("\n")


def _indent(text: str) -> str:
    return "\n".join(f"  {line}" if line else "" for line in text.split("\n"))
