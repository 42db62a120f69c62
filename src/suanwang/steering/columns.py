"""Tables in CSV (RFC 4180), read column by column: millions of rows in seconds, and the line of whatever is wrong."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NoReturn

import numpy as np

from suanwang.model.errors import Place, SuanwangError
from suanwang.model.registry import nearest
from suanwang.steering.problem import BAD_PROBLEM, Floats, Ints

LARGEST_FILE_BYTES = 2**30
AT_ONCE = 50_000
"""Rows that are held as texts."""
BLOCK = 2**22
"""Characters that are cut into fields at once."""


def refuse(message: str, hint: str, file: str, line: int = 0) -> NoReturn:
    """Raise BAD_PROBLEM."""
    raise SuanwangError(BAD_PROBLEM, message, hint, Place(file, line))


def text_of(body: bytes, file: str) -> str:
    """The text of a file in UTF-8. Raises BAD_PROBLEM with the line where it is none, or when there is too much."""
    if len(body) > LARGEST_FILE_BYTES:
        refuse(f"more than {LARGEST_FILE_BYTES} bytes", "split it", file)
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        refuse("not readable as text", "save it as UTF-8", file, body.count(b"\n", 0, problem.start) + 1)


@dataclass(frozen=True, eq=False)
class Part:
    """Some rows of a table: the number of the first, and the texts of each column that is there."""

    table: Table
    first: int
    columns: Mapping[str, Sequence[str]]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def numbers(
        self,
        name: str,
        least: float = 0.0,
        default: float | None = None,
        infinite: bool = False,
        most: float = 1e30,
    ) -> Floats:
        """A column as numbers; empty fields are `default`. Raises BAD_PROBLEM for what is none, or not from `least` to
        `most`, beyond which only what may be `infinite` is.
        """
        if name not in self.columns:
            return np.full(len(self), default, float)
        texts = self.columns[name]
        try:
            values = np.fromiter(map(float, texts), float, len(texts))
        except ValueError:
            values = np.array([_number(text, default) for text in texts], float)
        fine = (values >= least) & (values <= most)
        wrong = ~(fine | (values == np.inf)) if infinite else ~fine
        if default is not None and wrong.any():
            wrong &= np.array(list(map(bool, texts)))  # whatever an empty field is, it is as it should be
        if wrong.any():
            at = int(np.flatnonzero(wrong)[0])
            above = f"write a number of {least:g} or more"
            hint = f"write {most:g} or less" if values[at] > most else above
            self.refuse(at, f"{name} is {texts[at][:60]!r}", hint)
        return values

    def coded(self, name: str, codes: dict[str, int], enter: Callable[[str], int]) -> Ints:
        """A column as numbers by name. What `codes` does not have yet is entered by `enter`, which may raise."""
        texts = self.columns[name]
        for text in dict.fromkeys(texts):
            if text not in codes:
                try:
                    codes[text] = enter(text)
                except SuanwangError as problem:
                    self.refuse(texts.index(text), problem.message, problem.hint)
        return np.fromiter(map(codes.__getitem__, texts), np.int64, len(texts))

    def refuse(self, row: int, message: str, hint: str) -> NoReturn:
        """Raise BAD_PROBLEM for a row of this part."""
        self.table.refuse(self.first + row, message, hint)


@dataclass(frozen=True, eq=False)
class Table:
    """A table whose first line names the columns."""

    text: str
    file: str
    head: tuple[str, ...]

    @classmethod
    def of(cls, text: str, file: str, known: Mapping[str, str], required: Sequence[str]) -> Table:
        """`known`: how columns may be written, in small letters -> what they are called here. Raises BAD_PROBLEM."""
        try:
            first = next(csv.reader(io.StringIO(text, newline="")), [])
        except csv.Error as problem:
            refuse(f"not readable as CSV: {problem}", "is it the right file?", file, 1)
        head = []
        for word in first:
            name = known.get(word.strip().lower())
            if name is None:
                refuse(f"there is no column {word.strip()[:60]!r}", nearest(word.strip(), known, "columns"), file, 1)
            if name in head:
                refuse(f"the column {name} is there twice", "remove one", file, 1)
            head.append(name)
        missing = [name for name in required if name not in head]
        if missing:
            what = f"there is no column {missing[0]}" if head else "the file is empty"
            refuse(what, f"begin with a line that names columns, as in {','.join(required)}", file, 1)
        return cls(text, file, tuple(head))

    def parts(self, most: int) -> Iterator[Part]:
        """The rows. Raises BAD_PROBLEM when there are more than `most`, or one has too few or many fields."""
        count = 0
        for columns in self._plain() if '"' not in self.text else self._quoted():
            size = len(columns[0])
            if count + size > most:
                self.refuse(most - count, f"more than {most} rows", "add up small ones, or read a part of it")
            stripped = [[text.strip() for text in column] for column in columns]
            yield Part(self, count, dict(zip(self.head, stripped, strict=True)))
            count += size

    def _plain(self) -> Iterator[Sequence[Sequence[str]]]:
        """Columns of a text without quotes, many lines at once: several times as fast as row by row."""
        begin = self.text.find("\n") + 1 or len(self.text)
        width, count = len(self.head), 0
        while begin < len(self.text):
            end = self.text.find("\n", begin + BLOCK) + 1 or len(self.text)
            lines = [line for line in self.text[begin:end].split("\n") if line and line != "\r"]
            begin = end
            if not lines:
                continue
            fields = ",".join(lines).split(",")
            commas = np.fromiter((line.count(",") for line in lines), np.int64, len(lines))
            ragged = np.flatnonzero(commas != width - 1)
            if len(ragged):
                self._ragged(count + int(ragged[0]), int(commas[ragged[0]]) + 1)
            yield [fields[at::width] for at in range(width)]
            count += len(lines)

    def _quoted(self) -> Iterator[Sequence[Sequence[str]]]:
        reader = csv.reader(io.StringIO(self.text, newline=""))
        next(reader)
        count = 0
        while True:
            try:
                found = list(islice(reader, AT_ONCE))
            except csv.Error as problem:
                refuse(f"not readable as CSV: {problem}", "look for quotes", self.file, reader.line_num)
            if not found:
                return
            rows = [row for row in found if row]
            for at, row in enumerate(rows):
                if len(row) != len(self.head):
                    self._ragged(count + at, len(row))
            if rows:
                yield list(zip(*rows, strict=True))
            count += len(rows)

    def _ragged(self, row: int, fields: int) -> NoReturn:
        self.refuse(row, f"{fields} fields where {len(self.head)} columns are named", "is the file cut off?")

    def refuse(self, row: int, message: str, hint: str) -> NoReturn:
        """Raise BAD_PROBLEM for a row, whose line is found out now."""
        reader = csv.reader(io.StringIO(self.text, newline=""))
        next(reader)
        line, seen = 1, -1
        for fields in reader:
            line = reader.line_num
            seen += bool(fields)
            if seen == row:
                break
        refuse(message, hint, self.file, line)


def _number(text: str, default: float | None) -> float:
    if not text and default is not None:
        return default
    try:
        return float(text)
    except ValueError:
        return math.nan
