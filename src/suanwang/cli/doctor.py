"""What this machine can do."""

from __future__ import annotations

import click

from suanwang.cli import failure
from suanwang.cli.session import current, output_option
from suanwang.cli.table import Styled, printable, table

FIELDS = ("name", "state", "detail", "consequence", "remedy")
COLOURS = {"ok": "green", "degraded": "yellow", "missing": "red"}


@click.command(
    epilog="""\b
Examples:
  sudo suanwang doctor
  suanwang doctor -o json
Exit code 2 when something is missing."""
)
@output_option
def doctor() -> None:
    """Show what this machine's kernel and programs can do, what is missing, what follows from it, and what helps."""
    from suanwang.linux.doctor import facts

    found = list(facts())

    def text() -> str:
        rows = [(fact.name, Styled(fact.state, COLOURS.get(fact.state, "white")), fact.detail) for fact in found]
        blocks = [table(("WHAT", "STATE", "DETAIL"), rows)]
        for fact in found:
            if fact.state == "ok":
                continue
            lines = [click.style(f"{fact.name}: {fact.state}", fg=COLOURS.get(fact.state, "white"))]
            lines += [f"  so:   {printable(fact.consequence)}"] if fact.consequence else []
            lines += [f"  help: {printable(fact.remedy)}"] if fact.remedy else []
            blocks.append("\n".join(lines))
        return "\n\n".join(blocks)

    current().emit([{name: getattr(fact, name) for name in FIELDS} for fact in found], text)
    if any(fact.state == "missing" for fact in found):
        raise click.exceptions.Exit(failure.DIFFERENT)
