"""Errors that users see: each has a stable code, a message about this case and a hint.

A code is a promise: it keeps its meaning for ever, so programs may test for it. The catalogue below is the only place
where codes are made; `docs/errors.md` lists them all (a test compares the two).
"""

from __future__ import annotations

from dataclasses import dataclass

CATALOGUE: dict[str, str] = {}
"""Code -> what it means in general."""


def code(name: str, meaning: str) -> str:
    """Enter an error code in the catalogue. Each code is entered once, by the room that raises it."""
    if name in CATALOGUE:
        raise ValueError(f"error code {name} is entered twice")
    CATALOGUE[name] = meaning
    return name


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the user's input something stands. Lines count from 1; 0 means unknown."""

    file: str = ""
    line: int = 0
    path: str = ""

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.file and self.line else self.file
        return " ".join(part for part in (where, self.path) if part)


class SuanwangError(Exception):
    """A problem that the user can do something about.

    `code` is from the catalogue, `message` says what is wrong here, `hint` says what would be right, `place` where.
    """

    def __init__(self, code: str, message: str, hint: str = "", place: Place | None = None) -> None:
        if code not in CATALOGUE:
            raise ValueError(f"error code {code} is not in the catalogue")
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.place = place or Place()

    def __str__(self) -> str:
        where = str(self.place)
        text = f"{where}: {self.message}" if where else self.message
        return f"{text} [{self.code}]" + (f"\n  hint: {self.hint}" if self.hint else "")

    def as_dict(self) -> dict[str, object]:
        """The error as stable JSON fields."""
        return {
            "code": self.code,
            "message": self.message,
            "hint": self.hint,
            "file": self.place.file,
            "line": self.place.line,
            "path": self.place.path,
        }


class ErrorList(SuanwangError):
    """Several errors found in one reading, reported together."""

    def __init__(self, errors: list[SuanwangError]) -> None:
        first = errors[0]
        super().__init__(first.code, first.message, first.hint, first.place)
        self.errors = errors

    def __str__(self) -> str:
        return "\n".join(str(error) for error in self.errors)


INVALID = code("INVALID", "a value is not of the form or in the range that its field asks for")
CONFLICT = code("CONFLICT", "the resource was changed by someone else since it was read")
NOT_FOUND = code("NOT_FOUND", "no resource of that kind and name exists")
ALREADY_CLAIMED = code("ALREADY_CLAIMED", "another resource already owns that value (an address, a number, a name)")
EXHAUSTED = code("EXHAUSTED", "no free value is left in the range to allocate from")
