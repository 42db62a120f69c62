"""Aligned tables for people, in plain text. (rich would triple the start time of every command.)"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Any

import click

GAP = "  "
MOST_LIST_ITEMS = 4


def width(text: str) -> int:
    """Columns that a text takes on a terminal: wide characters (UAX #11) take two, combining ones none."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(letter) else 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        for letter in text
    )


def printable(text: str) -> str:
    """The text without anything that a terminal would obey: what others have declared is shown, never executed."""
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else f"\\x{ord(letter):02x}" for letter in text)


def cell(value: Any) -> str:
    """A value of a document as a cell: lists with commas, mappings as `name=value`, `-` for nothing."""
    if value is None or value == "" or value == [] or value == {}:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return printable(" ".join(f"{name}={cell(inner)}" for name, inner in value.items()))
    if isinstance(value, (list, tuple)):
        shown = ", ".join(cell(item) for item in value[:MOST_LIST_ITEMS])
        return shown if len(value) <= MOST_LIST_ITEMS else f"{shown}, … ({len(value)})"
    return printable(str(value))


def table(head: Sequence[str], rows: Sequence[Sequence[Any]], right: Sequence[str] = ()) -> str:
    """Rows under headings. Columns named in `right` are aligned right. A cell may be a styled text (see `style`)."""
    lines = [list(head), *([value if isinstance(value, Styled) else cell(value) for value in row] for row in rows)]
    widths = [max(width(str(line[column])) for line in lines) for column in range(len(head))]
    out = []
    for number, line in enumerate(lines):
        parts = []
        for column, text in enumerate(line):
            shown = (
                text.coloured() if isinstance(text, Styled) else click.style(text, bold=True) if not number else text
            )
            padding = " " * (widths[column] - width(str(text)))
            last = column == len(head) - 1
            parts.append(padding + shown if head[column] in right else shown if last else shown + padding)
        out.append(GAP.join(parts).rstrip())
    return "\n".join(out)


class Styled(str):
    """A cell with a colour; its width is that of the bare text."""

    colour: str

    def __new__(cls, text: str, colour: str) -> Styled:
        """A text and the name of its colour."""
        made = super().__new__(cls, printable(text))
        made.colour = colour
        return made

    def coloured(self) -> str:
        """The text with the terminal's codes around it."""
        return click.style(str(self), fg=self.colour)
