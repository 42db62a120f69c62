"""A group whose commands are imported only when one is called.

The table of commands holds a one-line summary each, so that help and shell completion need no import either. This
keeps `suanwang --help` quick however heavy the commands become.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import click
from click.shell_completion import CompletionItem


class Entry(NamedTuple):
    """A command: where it is (`module:attribute`), the heading it stands under, and what it does in a line."""

    target: str
    heading: str
    summary: str


class LazyGroup(click.Group):
    """A click group over a table of entries."""

    def __init__(self, *arguments: Any, entries: Mapping[str, Entry], **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.entries = dict(entries)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of the table, which is the order of the help."""
        return list(self.entries)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command of that name."""
        entry = self.entries.get(cmd_name)
        if entry is None:
            return None
        module, _, attribute = entry.target.partition(":")
        command = getattr(importlib.import_module(module), attribute)
        if not isinstance(command, click.Command):
            raise TypeError(f"{entry.target} is no command")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Like click's, but an unknown command is answered with the name most like it."""
        name = args[0]
        if name in self.entries or name.startswith("-") or ctx.resilient_parsing:
            return super().resolve_command(ctx, args)
        import difflib  # only needed when something went wrong

        close = difflib.get_close_matches(name, self.entries, n=1, cutoff=0.5)
        hint = f"did you mean {close[0]!r}?" if close else f"known commands: {', '.join(self.entries)}"
        raise click.UsageError(f"there is no command {name!r}; {hint}", ctx)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Commands under their headings, from the table alone."""
        headings: dict[str, list[tuple[str, str]]] = {}
        for name, entry in self.entries.items():
            headings.setdefault(entry.heading, []).append((name, entry.summary))
        widest = max(map(len, self.entries))
        for heading, rows in headings.items():
            with formatter.section(heading):
                formatter.write_dl([(name.ljust(widest), summary) for name, summary in rows])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Names of commands from the table, then options."""
        found = [
            CompletionItem(name, help=entry.summary)
            for name, entry in self.entries.items()
            if name.startswith(incomplete)
        ]
        return found + click.Command.shell_complete(self, ctx, incomplete)
