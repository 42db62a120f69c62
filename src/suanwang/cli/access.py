"""Tokens: of users of the API, and for enrolling agents. A new token is printed once, to standard output, alone."""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import quote

import click

from suanwang.cli.session import current, note, server_options
from suanwang.cli.table import table

ROLES = ("admin", "operator", "viewer")


class Lifetime(click.ParamType):  # type: ignore[type-arg]
    """`30m`, `12h`, `7d` as seconds."""

    name = "duration"
    _units = {"s": 1, "m": 60, "h": 3600, "d": 86400}  # noqa: RUF012

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds."""
        text = str(value)
        try:
            return float(text[:-1]) * self._units[text[-1:]]
        except (ValueError, KeyError):
            self.fail(f"{text!r} is no duration; write a number with s, m, h or d, as in 12h", param, ctx)


out_option = click.option(
    "--out",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="write the token to this file, for its owner only, instead",
)


@click.group()
def token() -> None:
    """Tokens with which people and programs use the API."""


@token.command(
    epilog="""\b
Examples:
  suanwang token create ann --role admin --out ann.token
  suanwang token create shop-team --role operator --tenant retail --ttl 90d"""
)
@click.argument("name")
@click.option("--role", type=click.Choice(ROLES), default="viewer", show_default=True, help="what it may do")
@click.option(
    "--tenant", "tenants", multiple=True, metavar="TENANT", help="only this tenant; may stand several times; * for all"
)
@click.option("--ttl", type=Lifetime(), help="how long it is good for, as in 90d [default: for ever]")
@out_option
@server_options
def create(name: str, role: str, tenants: tuple[str, ...], ttl: float | None, out: str | None) -> None:
    """Make a token. It is shown this once."""
    made = current().client().post("/v1/tokens", {"name": name, "role": role, "tenants": list(tenants), "ttl": ttl})
    _hand_out(made, out)


@token.command("list")
@server_options
def list_() -> None:
    """List tokens, never the secrets themselves."""
    session = current()
    tokens = session.client().get("/v1/tokens")["tokens"]
    rows = [(t["name"], t["role"], t["tenants"], t["created"][:19], (t["expires"] or "never")[:19]) for t in tokens]
    session.emit(tokens, lambda: table(("NAME", "ROLE", "TENANTS", "CREATED", "EXPIRES"), rows))


@token.command()
@click.argument("name")
@server_options
def delete(name: str) -> None:
    """Delete a token; it is refused from now on."""
    current().client().delete(f"/v1/tokens/{quote(name, safe='')}")
    note(f"Token {name} is deleted.")


@click.command(
    epilog="""\b
Example:
  suanwang enrol-token h1 --out h1.token      then on h1: suanwang agent … with that file"""
)
@click.argument("node")
@click.option("--ttl", type=Lifetime(), default="1h", show_default=True, help="how long it is good for")
@out_option
@server_options
def enrol_token(node: str, ttl: float, out: str | None) -> None:
    """Make a one-time token with which the agent of NODE gets its certificate."""
    _hand_out(current().client().post("/v1/enrolment-tokens", {"node": node, "ttl": ttl}), out)


def _hand_out(made: dict[str, Any], out: str | None) -> None:
    if out:
        with open(os.open(out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            file.write(made["token"] + "\n")
        os.chmod(out, 0o600)  # a file that was there before kept its mode
        note(f"Written to {out}.")
        return
    current().emit(made, lambda: str(made["token"]))
