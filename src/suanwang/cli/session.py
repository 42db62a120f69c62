"""What one call of the program carries from flags to commands: the form of the output and where the server is."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import click

from suanwang.cli.whereabouts import SOURCES, find

if TYPE_CHECKING:
    from suanwang.cli.client import Client

FORMATS = ("table", "json", "yaml")

CONNECTION = {
    "server": ("ADDRESS", "address of the server, as in https://127.0.0.1:7443"),
    "ca": ("FILE", "certificate of the authority that the server's own is checked against"),
    "token-file": ("FILE", "file with the token (or put the token itself in SUANWANG_TOKEN)"),
    "context": ("NAME", "a context saved by `suanwang context set`"),
    "lab": ("NAME", "the server of a lab on this machine"),
    "data-directory": ("FOLDER", "data directory of a server on this machine"),
}
"""Flags that say where the server is; each is both a flag of `suanwang` and of every command that asks a server."""

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(slots=True)
class Session:
    """State of one call."""

    output: str = "table"
    connection: dict[str, str] = field(default_factory=dict)
    debug: bool = False
    _client: Client | None = None

    def client(self) -> Client:
        """A client of the server that the flags, variables or contexts name. Raises NO_SERVER and others."""
        if self._client is None:
            from suanwang.cli.client import Client

            self._client = Client(find(self.connection))
        return self._client

    def close(self) -> None:
        """End the connection, if there is one."""
        if self._client is not None:
            self._client.close()

    def emit(self, data: Any, text: Callable[[], str]) -> None:
        """Write the result to standard output: `data` as JSON or YAML, or what `text` makes for people."""
        if self.output == "json":
            click.echo(json.dumps(data, ensure_ascii=False, indent=2))
        elif self.output == "yaml":
            click.echo(yaml_text(data), nl=False)
        else:
            shown = text()
            if shown:
                click.echo(shown)


def current() -> Session:
    """The session of the command that runs."""
    session = click.get_current_context().find_root().obj
    if not isinstance(session, Session):
        raise TypeError("commands run below suanwang.cli.main.main only")
    return session


def note(text: str) -> None:
    """A remark on the way, for people: on standard error, so that it never mixes with results."""
    click.echo(text, err=True)


def yaml_text(data: Any) -> str:
    """Data as YAML; a list of resources becomes several documents."""
    import yaml

    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    documents = data if isinstance(data, list) and data and all("kind" in item for item in data) else [data]
    text: str = yaml.dump_all(
        documents, Dumper=dumper, sort_keys=False, allow_unicode=True, explicit_start=len(documents) > 1, width=120
    )
    return text


def output_option(function: Function) -> Function:
    """Adds `-o`."""

    def keep(context: click.Context, _: click.Parameter, value: str | None) -> None:
        session = context.find_root().obj
        if value is not None and isinstance(session, Session):
            session.output = value

    return click.option(
        "-o",
        "--output",
        type=click.Choice(FORMATS),
        callback=keep,
        expose_value=False,
        is_eager=True,  # so that complaints about what follows already have the right form
        allow_from_autoenv=False,
        help="form of the output [default: table]",
    )(function)


def server_options(function: Function) -> Function:
    """Adds the flags that say where the server is. They are shown in `suanwang --help` only."""
    for name, (metavar, text) in reversed(CONNECTION.items()):
        function = connection_option(name, metavar, text, hidden=True)(function)
    return output_option(function)


def connection_option(name: str, metavar: str, text: str, hidden: bool) -> Callable[[Function], Function]:
    """One flag of `CONNECTION`."""

    def keep(context: click.Context, _: click.Parameter, value: str | None) -> None:
        session = context.find_root().obj
        if value and isinstance(session, Session):
            session.connection[name] = value
            if hidden and name in SOURCES:
                # What stands nearer to the command wins over flags of `suanwang` and over variables.
                session.connection["nearest"] = name

    settings: dict[str, Any] = {"allow_from_autoenv": False}
    if not hidden:
        # SUANWANG_LAB itself marks the processes of a lab, and holds a folder.
        variable = "lab_name" if name == "lab" else name
        settings["envvar"] = f"SUANWANG_{variable.replace('-', '_').upper()}"
    return click.option(
        f"--{name}", metavar=metavar, help=text, hidden=hidden, callback=keep, expose_value=False, **settings
    )
