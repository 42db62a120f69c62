"""What a command shows while it works, and the files it leaves."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from suanwang.cli.session import note


@contextmanager
def progress(what: str) -> Iterator[Callable[[str], None]]:
    """Says on a terminal what is being done, and takes it away again; silent elsewhere."""
    live = sys.stderr.isatty()

    def tell(text: str) -> None:
        if live:
            click.echo(f"\r\x1b[K{text} …", err=True, nl=False)

    tell(what)
    try:
        yield tell
    finally:
        if live:
            click.echo("\r\x1b[K", err=True, nl=False)


def write_whole(path: str, write: Callable[[Any], object], what: str) -> None:
    """Write a file so that it is there whole or not at all. Raises SYSTEM by the operating system's error."""
    target = Path(path)
    beside = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with beside.open("wb") as stream:
            write(stream)
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)
    note(f"{what} written to {path}")
