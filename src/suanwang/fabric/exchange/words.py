"""What readers of plain text formats share: a file's bytes, its lines as words, numbers, and complaints with a line."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from difflib import get_close_matches
from fractions import Fraction
from pathlib import Path
from typing import NoReturn

from suanwang.model.errors import INVALID, SuanwangError
from suanwang.model.reading import UNREADABLE
from suanwang.topology.importing.published import refuse

LARGEST_NUMBER = 2**62
PLAIN = re.compile(r"[A-Za-z][\w./-]*(:[\w./-]+)*", re.ASCII)
MEANT_OTHERWISE = frozenset(("null", "true", "false", "yes", "no", "on", "off", "y", "n"))
"""Words that YAML 1.1 takes for something else than text."""


def yaml_word(text: str) -> str:
    """A text as a scalar of YAML, quoted where it must be. Raises INVALID where it can't be printed."""
    if not text.isprintable():
        raise SuanwangError(
            INVALID, f"{text[:40]!r} can't be printed", "rename it: no line breaks or control characters"
        )
    return (
        text if PLAIN.fullmatch(text) and text.lower() not in MEANT_OTHERWISE else json.dumps(text, ensure_ascii=False)
    )


def begin(path: Path | str, most_bytes: int) -> bytes:
    """The first bytes of a file. Raises UNREADABLE."""
    try:
        with Path(path).open("rb") as stream:
            return stream.read(most_bytes)
    except OSError as problem:
        raise SuanwangError(UNREADABLE, f"{problem.strerror}: {path}", "check the path") from None


def load(path: Path | str, most_bytes: int) -> bytes:
    """A file's content. Raises UNREADABLE, BAD_TOPOLOGY above `most_bytes`."""
    body = begin(path, most_bytes + 1)
    if len(body) > most_bytes:
        refuse(f"more than {most_bytes:,} bytes", "that is beyond what this format is read for", str(path))
    return body


def decode(body: bytes, file: str) -> str:
    """The text of a file in UTF-8. Raises BAD_TOPOLOGY, with the line, where it is none."""
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        refuse("not readable as text", "save it as UTF-8", file, body.count(b"\n", 0, problem.start) + 1)


class Line:
    """A line's words, and where it stands."""

    __slots__ = ("file", "number", "words")

    def __init__(self, file: str, number: int, words: list[str]) -> None:
        self.file, self.number, self.words = file, number, words

    def refuse(self, message: str, hint: str) -> NoReturn:
        """Raise BAD_TOPOLOGY at this line."""
        refuse(message, hint, self.file, self.number)

    def whole(self, word: str, what: str, least: int = 0, most: int = LARGEST_NUMBER) -> int:
        """A whole number. Raises BAD_TOPOLOGY when `word` is none, or out of range."""
        if not (word.isascii() and word.isdigit()) or len(word) > 20:
            self.refuse(f"{what} is {word[:40]!r}", "give a whole number, in digits")
        if not least <= (value := int(word)) <= most:
            self.refuse(f"{what} is {value:,}", f"give {least:,} to {most:,}")
        return value

    def scaled(self, word: str, what: str, factor: int, least: int = 0) -> int:
        """A decimal number times `factor`, which must come out whole. Raises BAD_TOPOLOGY."""
        if word.isascii() and word.isdigit() and len(word) <= 12:
            value = int(word) * factor
        else:
            digits = word.replace(".", "", 1)
            if not (digits.isascii() and digits.isdigit()) or len(word) > 30:
                self.refuse(f"{what} is {word[:40]!r}", "give a number, in digits")
            exact = Fraction(word) * factor
            if exact.denominator != 1:
                self.refuse(f"{what} {word} is finer than the smallest unit that is kept", "round it")
            value = int(exact)
        if not least <= value <= LARGEST_NUMBER:
            self.refuse(f"{what} is {word}", "give more" if value < least else "give less")
        return value

    def unknown(self, word: str, known: Collection[str]) -> NoReturn:
        """Raise BAD_TOPOLOGY for a word that is not in the format, with the nearest that is."""
        near = get_close_matches(word.lower(), {one.lower(): one for one in known}, n=1)
        spelt = {one.lower(): one for one in known}
        hint = f"did you mean {spelt[near[0]]}?" if near else f"known are {', '.join(known)}"
        self.refuse(f"{word[:40]!r} is not known here", hint)


def lines(text: str, file: str) -> Iterator[Line]:
    """The lines that say something: without comments (`#`) and empty ones."""
    for number, line in enumerate(text.split("\n"), 1):
        if words := line.partition("#")[0].split():
            yield Line(file, number, words)
