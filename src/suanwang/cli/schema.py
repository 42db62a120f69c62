"""What can be declared, and what error codes mean: schema, explain."""

from __future__ import annotations

import importlib
import json
import pkgutil

import click

from suanwang.cli import naming
from suanwang.cli.session import current, output_option
from suanwang.cli.table import table
from suanwang.model.errors import CATALOGUE, SuanwangError, code

UNKNOWN_CODE = code("UNKNOWN_CODE", "no error has that code")


@click.command(
    epilog="""\b
Examples:
  suanwang schema                     all kinds
  suanwang schema port                JSON Schema, for editors and programs
  suanwang schema port --example      one to begin with"""
)
@click.argument("kind", type=naming.KindName(), required=False)
@click.option("--example", is_flag=True, help="an example instead of the schema")
@output_option
def schema(kind: str | None, example: bool) -> None:
    """Show the JSON Schema of a kind, or list the kinds there are. Needs no server."""
    from suanwang.model.registry import load
    from suanwang.model.schema import schema as schema_of

    session = current()
    if kind is None:
        kinds = sorted(load(), key=lambda found: found.name)
        data = [
            {"kind": found.name, "scope": found.scope, "shortNames": list(found.short_names), "summary": found.summary}
            for found in kinds
        ]
        rows = [(found.name, found.scope, found.short_names, found.summary) for found in kinds]
        session.emit(data, lambda: table(("KIND", "SCOPE", "SHORT", "WHAT IT IS"), rows))
        return
    found = load().spoken(kind)
    if example:
        click.echo(found.example, nl=False)
        return
    whole = schema_of(found)
    session.emit(whole, lambda: json.dumps(whole, ensure_ascii=False, indent=2))


@click.command(
    epilog="""\b
Examples:
  suanwang explain                    all codes
  suanwang explain STALE_PLAN"""
)
@click.argument("code", required=False)
@output_option
def explain(code: str | None) -> None:
    """Say what an error code means. Needs no server."""
    session = current()
    # Codes are entered by the rooms that raise them.
    import suanwang

    for module in pkgutil.walk_packages(suanwang.__path__, "suanwang."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    if code is None:
        rows = sorted(CATALOGUE.items())
        session.emit(dict(rows), lambda: table(("CODE", "MEANING"), rows))
        return
    name = code.upper().replace("-", "_").strip("[]")
    if name not in CATALOGUE:
        from suanwang.model.registry import nearest

        raise SuanwangError(UNKNOWN_CODE, f"no error has the code {code!r}", nearest(name, CATALOGUE, "codes"))
    session.emit({"code": name, "meaning": CATALOGUE[name]}, lambda: f"{name}: {CATALOGUE[name]}")
