"""Contexts: the servers that a user works with, by name."""

from __future__ import annotations

from pathlib import Path

import click

from suanwang.cli import whereabouts
from suanwang.cli.session import current, note, output_option
from suanwang.cli.table import table


@click.group()
def context() -> None:
    """Save and choose servers, so that commands need not name them each time."""


@context.command(
    "set",
    epilog="""\b
Example:
  suanwang context set north --server https://ctl.example:7443 --ca ca.pem --token-file ~/.north-token""",
)
@click.argument("name")
@click.option("--server", required=True, metavar="ADDRESS", help="https://HOST:PORT")
@click.option("--ca", type=click.Path(exists=True, dir_okay=False), help="the authority's certificate; it is copied")
@click.option(
    "--token-file", type=click.Path(exists=True, dir_okay=False), help="file with the token; it stays where it is"
)
def set_(name: str, server: str, ca: str | None, token_file: str | None) -> None:
    """Save a server under NAME and use it from now on. Several contexts can stand side by side."""
    whereabouts.read_url(server, "--server")
    data = whereabouts.contexts()
    saved = {"server": server}
    if ca:
        saved["authority"] = whereabouts.read_authority(ca, "--ca")
    if token_file:
        saved["tokenFile"] = str(Path(token_file).resolve())
    data["contexts"][name] = saved
    data["current"] = name
    whereabouts.save_contexts(data)
    note(f"Context {name} is saved and in use.")


@context.command()
@click.argument("name")
def use(name: str) -> None:
    """Use a saved context from now on."""
    whereabouts.context(name)
    whereabouts.save_contexts({**whereabouts.contexts(), "current": name})
    note(f"Context {name} is in use.")


@context.command("list")
@output_option
def list_() -> None:
    """List saved contexts."""
    data = whereabouts.contexts()
    shown = [
        {
            "name": name,
            "server": saved.get("server", ""),
            "tokenFile": saved.get("tokenFile", ""),
            "current": name == data["current"],
        }
        for name, saved in sorted(data["contexts"].items())
    ]
    rows = [("*" if row["current"] else " ", row["name"], row["server"], row["tokenFile"]) for row in shown]
    current().emit(
        shown, lambda: table((" ", "NAME", "SERVER", "TOKEN FILE"), rows) if rows else "No context is saved."
    )


@context.command()
@click.argument("name")
def remove(name: str) -> None:
    """Forget a saved context."""
    whereabouts.context(name)
    data = whereabouts.contexts()
    del data["contexts"][name]
    whereabouts.save_contexts({**data, "current": "" if data["current"] == name else data["current"]})
    note(f"Context {name} is forgotten.")
