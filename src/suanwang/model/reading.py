"""YAML (or JSON) to plain values that remember their lines.

Built on libyaml's event stream. Every mapping and sequence is a `dict` or `list` that also knows where it and its
items stood,
so that any later complaint can name file, line and path. Scalars follow the YAML 1.2 core schema: `on`, `yes` and
`12:30` stay text. Hostile input is bounded: bytes, depth, nodes (counted after aliases are followed), and how many
times larger than written aliases may make it, which stops "billion laughs".
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from suanwang.model.errors import ErrorList, Place, SuanwangError, code

MALFORMED = code("MALFORMED", "the text is not well-formed YAML or JSON")
TOO_LARGE = code("TOO_LARGE", "the input exceeds a limit on size")
UNREADABLE = code("UNREADABLE", "a file or folder can't be read")

LARGEST_INPUT_BYTES = 256 * 2**20
MOST_NODES = 20_000_000
DEEPEST = 64

ALIASED_FREELY = 100_000
ALIASED_TIMES = 10
"""How many values aliases may stand for: the first in any input, beyond it the second for each value written."""

_INTEGER = re.compile(r"^[-+]?[0-9]+$")
_FLOAT = re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$")
_ESCAPED = re.compile(r"\\u(d[89ab][0-9a-f]{2})\\u(d[c-f][0-9a-f]{2})|\\.", re.IGNORECASE)
_INDENTATION = re.compile(r"^[ \t]*\t[ \t]*", re.MULTILINE)
_WORDS = {"": None, "~": None, "null": None, "Null": None, "NULL": None, "true": True, "True": True, "TRUE": True,
          "false": False, "False": False, "FALSE": False}  # fmt: skip


class LocatedDict(dict[str, Any]):
    """A mapping that knows the line it starts on and the line of each key."""

    __slots__ = ("line", "lines")

    def __init__(self, line: int) -> None:
        super().__init__()
        self.line = line
        self.lines: dict[str, int] = {}


class LocatedList(list[Any]):
    """A sequence that knows the line it starts on and the line of each item."""

    __slots__ = ("line", "lines")

    def __init__(self, line: int) -> None:
        super().__init__()
        self.line = line
        self.lines: list[int] = []


def line_of(document: Any, path: tuple[str | int, ...]) -> int:
    """The line of the value at `path`, or of its nearest ancestor that is there."""
    line = getattr(document, "line", 0)
    for step in path:
        if isinstance(document, LocatedDict) and step in document:
            line = document.lines.get(str(step), line)
        elif isinstance(document, LocatedList) and isinstance(step, int) and step < len(document):
            line = document.lines[step]
        else:
            break
        document = document[step]
    return line


def path_text(path: tuple[str | int, ...]) -> str:
    """A path as users read it: `spec.rules[0].ports`."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return text.lstrip(".")


def read_text(text: str | bytes, file: str) -> list[LocatedDict]:
    """All documents of a text. Raises MALFORMED or TOO_LARGE. Empty documents are skipped."""
    if len(text) > LARGEST_INPUT_BYTES:
        raise SuanwangError(TOO_LARGE, f"more than {LARGEST_INPUT_BYTES} bytes of input", "split it", Place(file))
    loader: type = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        if text.lstrip()[:1] in ("{", "[", b"{", b"["):
            text = _json_as_yaml(text.decode() if isinstance(text, bytes) else text)
        return list(_Reader(loader(text), file).documents())
    except yaml.MarkedYAMLError as problem:
        mark = problem.problem_mark or problem.context_mark
        line = mark.line + 1 if mark is not None else 0
        message = " ".join(part for part in (problem.context, problem.problem) if part)
        place = Place(file, line)
        raise SuanwangError(MALFORMED, message, "look for indentation, a missing colon or a stray tab", place) from None
    except (yaml.YAMLError, UnicodeError) as problem:
        raise SuanwangError(MALFORMED, f"not readable as text: {problem}", "save it as UTF-8", Place(file)) from None


def _json_as_yaml(text: str) -> str:
    # JSON is YAML but for two things: it writes characters above U+FFFF as two escapes, and may be indented by tabs.
    text = _ESCAPED.sub(lambda match: _one_escape(match) if match[1] else match[0], text)
    return _INDENTATION.sub(lambda match: match[0].replace("\t", " "), text)


def _one_escape(pair: re.Match[str]) -> str:
    number = 0x10000 + ((int(pair[1], 16) - 0xD800) << 10) + int(pair[2], 16) - 0xDC00
    return f"\\U{number:08x}"


def read_path(path: str) -> list[tuple[str, LocatedDict]]:
    """Documents of a file, of every .yaml/.yml/.json file below a folder (in name order), or of standard input (`-`).

    Raises one error, or an ErrorList when several files are bad.
    """
    if path == "-":
        import sys

        return [
            ("<stdin>", document) for document in read_text(sys.stdin.buffer.read(LARGEST_INPUT_BYTES + 1), "<stdin>")
        ]
    root = Path(path)
    if root.is_dir():
        files = sorted(p for p in root.rglob("*") if p.suffix in {".yaml", ".yml", ".json"} and p.is_file())
        if not files:
            raise SuanwangError(UNREADABLE, f"no .yaml, .yml or .json file in {path}", "name a file or another folder")
    else:
        files = [root]
    found: list[tuple[str, LocatedDict]] = []
    errors: list[SuanwangError] = []
    for file in files:
        try:
            with file.open("rb") as stream:
                text = stream.read(LARGEST_INPUT_BYTES + 1)
            found += [(str(file), document) for document in read_text(text, str(file))]
        except OSError as problem:
            errors.append(SuanwangError(UNREADABLE, f"{problem.strerror}: {file}", "check the path after -f"))
        except SuanwangError as problem:
            errors.append(problem)
    if errors:
        raise errors[0] if len(errors) == 1 else ErrorList(errors)
    return found


class _Reader:
    """Walks libyaml's events and builds located values."""

    def __init__(self, parser: Any, file: str) -> None:
        self._parser = parser
        self._file = file
        self._anchors: dict[str, Any] = {}
        self._sizes: dict[int, int] = {}
        self._nodes = 0
        self._aliased = 0

    def documents(self) -> Iterator[LocatedDict]:
        get_event = self._parser.get_event
        while True:
            event = get_event()
            if event is None or isinstance(event, yaml.StreamEndEvent):
                return
            if not isinstance(event, yaml.DocumentStartEvent):
                continue
            self._anchors.clear()
            first = get_event()
            line = first.start_mark.line + 1
            value = self._value(first, 0)
            get_event()
            if value is None:
                continue
            if isinstance(value, LocatedDict) and value.get("kind") == "List" and isinstance(value.get("items"), list):
                # As `kubectl get -o yaml` writes several resources.
                value = value["items"]
            items, lines = (value, value.lines) if isinstance(value, LocatedList) else ([value], [line])
            for item, at in zip(items, lines, strict=True):
                if not isinstance(item, LocatedDict):
                    place = Place(self._file, at)
                    raise SuanwangError(MALFORMED, "a document must be a mapping", "begin it with apiVersion:", place)
                yield item

    def _count(self, nodes: int, line: int) -> None:
        self._nodes += nodes
        if self._nodes > MOST_NODES:
            place = Place(self._file, line)
            raise SuanwangError(TOO_LARGE, f"more than {MOST_NODES} values", "split the input", place)

    def _value(self, event: Any, depth: int) -> Any:
        line = event.start_mark.line + 1
        if depth > DEEPEST:
            raise SuanwangError(TOO_LARGE, f"nested deeper than {DEEPEST} levels", "", Place(self._file, line))
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in self._anchors:
                raise SuanwangError(MALFORMED, f"alias *{event.anchor} has no anchor", "", Place(self._file, line))
            value = self._anchors[event.anchor]
            size = self._sizes.get(id(value), 1)
            self._aliased += size
            if self._aliased > ALIASED_FREELY + ALIASED_TIMES * (self._nodes - self._aliased + size):
                message = "aliases make the input many times larger than it is written"
                raise SuanwangError(TOO_LARGE, message, "write it out; are aliases nested?", Place(self._file, line))
            self._count(size, line)
            return value
        before = self._nodes
        self._count(1, line)
        if isinstance(event, yaml.ScalarEvent):
            value = self._scalar(event)
        elif isinstance(event, yaml.MappingStartEvent):
            value = self._mapping(line, depth)
        else:
            value = self._sequence(line, depth)
        if event.anchor:
            self._anchors[event.anchor] = value
            self._sizes[id(value)] = self._nodes - before
        return value

    def _mapping(self, line: int, depth: int) -> LocatedDict:
        get_event = self._parser.get_event
        result = LocatedDict(line)
        merged: set[str] = set()
        while not isinstance(event := get_event(), yaml.MappingEndEvent):
            at = event.start_mark.line + 1
            if not isinstance(event, yaml.ScalarEvent):
                raise SuanwangError(MALFORMED, "a key must be plain text", "", Place(self._file, at))
            key = event.value
            value = self._value(get_event(), depth + 1)
            if key == "<<" and event.implicit[0] and isinstance(value, LocatedDict):
                for name, inherited in value.items():
                    if name not in result:
                        result[name] = inherited
                        result.lines[name] = at
                        merged.add(name)
                continue
            if key in result and key not in merged:
                place = Place(self._file, at, key)
                raise SuanwangError(
                    MALFORMED, f"key {key!r} stands twice (first on line {result.lines[key]})", "", place
                )
            result[key] = value
            result.lines[key] = at
            merged.discard(key)
        return result

    def _sequence(self, line: int, depth: int) -> LocatedList:
        get_event = self._parser.get_event
        result = LocatedList(line)
        while not isinstance(event := get_event(), yaml.SequenceEndEvent):
            result.lines.append(event.start_mark.line + 1)
            result.append(self._value(event, depth + 1))
        return result

    @staticmethod
    def _scalar(event: Any) -> Any:
        text = event.value
        if not event.implicit[0] or (event.tag and event.tag.endswith(":str")):
            return text
        if text in _WORDS:
            return _WORDS[text]
        first = text[0]
        if first.isdigit() or first in "+-.":
            if _INTEGER.match(text) and len(text) < 64:
                return int(text)
            if _FLOAT.match(text):
                return float(text)
        return text
