"""The canonical text of programs: one object a line, `type field=value …`, sorted; `parse` reads it back.

Values are bare where that is unambiguous, else JSON without spaces, so a line splits at its spaces. Fields at their
defaults are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

from suanwang.model.errors import SuanwangError, code
from suanwang.program.objects import ORDER, AnyObject, entered

BAD_PROGRAM = code("BAD_PROGRAM", "a program's text or message can't be read")

_BARE = re.compile(r"[A-Za-z@][-A-Za-z0-9_./:@#]*|[0-9][-A-Za-z0-9_.]*[./:][-A-Za-z0-9_./:]*|[0-9a-f]*::?[-0-9a-f:./]+")
_RESERVED = {"true", "false", "null"}
_RANK = {cls.__struct_config__.tag: rank for rank, cls in enumerate(ORDER)}


def _value(value: object) -> str:
    if isinstance(value, str) and value not in _RESERVED and _BARE.fullmatch(value):
        return value
    return msgspec.json.encode(value).decode().replace(" ", "\\u0020")


def line(item: AnyObject) -> str:
    """One object as a line of canonical text."""
    fields = msgspec.to_builtins(item)
    tag = fields.pop("type")
    return " ".join([str(tag), *(f"{name}={_value(value)}" for name, value in fields.items())])


def lines(items: Iterable[AnyObject]) -> list[str]:
    """Objects as sorted lines: by namespace, then type (those of other rooms last), then text."""
    last = len(_RANK)
    keyed = [(item.netns, _RANK.get(item.__struct_config__.tag, last), line(item)) for item in items]
    return [text for _, _, text in sorted(keyed)]


def parse(text: str) -> list[AnyObject]:
    """Objects of a canonical text (heading, empty lines and `#` comments skipped). Raises BAD_PROGRAM."""
    found: list[AnyObject] = []
    for number, row in enumerate(text.split("\n"), 1):
        if not row.strip() or row.startswith(("#", "program ")):
            continue
        tag, *fields = row.split(" ")
        data: dict[str, object] = {"type": tag}
        try:
            for field in fields:
                name, _, value = field.partition("=")
                bare = value not in _RESERVED and _BARE.fullmatch(value)
                data[name] = value if bare else msgspec.json.decode(value)
            found.append(msgspec.convert(data, entered()))
        except (msgspec.ValidationError, msgspec.DecodeError) as problem:
            raise SuanwangError(BAD_PROGRAM, f"line {number}: {problem}", f"in {row!r}") from None
    return found
