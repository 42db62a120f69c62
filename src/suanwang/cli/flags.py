"""What flags may hold, beside what click knows."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import click

from suanwang.model.units import DURATION_UNITS, parse


class DurationOption(click.ParamType):  # type: ignore[type-arg]
    """A duration with its unit, in seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """`5s`, `500ms`, `2m`."""
        if isinstance(value, float):
            return value
        try:
            return parse(str(value), DURATION_UNITS, "5s") / 1e6
        except ValueError as problem:
            self.fail(str(problem), param, ctx)


class Amount(click.FloatRange):
    """A number from 0 on; `nan` and `inf` are none."""

    name = "number"

    def __init__(self) -> None:
        super().__init__(min=0)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Raises BadParameter."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value!r} is no number to count with", param, ctx)
        return number


class NewFile(click.Path):
    """A file that will be written once all else is done: so whether it can be is found out first. `suffixes`: those it
    may have.
    """

    name = "file"

    def __init__(self, *suffixes: str) -> None:
        super().__init__(dir_okay=False, writable=True)
        self.suffixes = suffixes

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Raises BadParameter."""
        path = Path(str(super().convert(value, param, ctx)))
        if self.suffixes and path.suffix.lower() not in self.suffixes:
            self.fail(f"{path.name!r} does not end with {' or '.join(self.suffixes)}", param, ctx)
        if not path.parent.is_dir():
            self.fail(f"there is no folder {str(path.parent)!r}", param, ctx)
        if not os.access(path.parent, os.W_OK):
            self.fail(f"nothing can be written into {str(path.parent)!r}", param, ctx)
        return str(path)
