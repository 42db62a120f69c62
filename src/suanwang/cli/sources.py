"""What stands after `-f`: documents of the language, or a saved plan."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import click

from suanwang.model.errors import Place, SuanwangError
from suanwang.model.reference import Key

if TYPE_CHECKING:
    from suanwang.model.registry import Resource

Function = TypeVar("Function", bound=Callable[..., Any])


def files_option(required: bool) -> Callable[[Function], Function]:
    """Adds `-f`, which may stand several times."""
    return click.option(
        "-f",
        "--file",
        "files",
        multiple=True,
        required=required,
        metavar="PATH",
        type=click.Path(),
        help="a file, a folder of them, or - for standard input; may stand several times",
    )


class Declared(NamedTuple):
    """What files declare: documents as written, the same checked, and where each stands."""

    documents: list[dict[str, Any]]
    resources: list[Resource]
    places: dict[Key, Place]


def read(paths: Sequence[str]) -> Declared:
    """All that the files declare. Raises an ErrorList of all that is wrong, with file and line."""
    from suanwang.model.reading import read_path
    from suanwang.model.registry import load
    from suanwang.model.resource import read_documents

    located = [found for path in paths for found in read_path(path)]
    resources = read_documents(located, load())
    places = {
        resource.key: Place(file, document.line) for resource, (file, document) in zip(resources, located, strict=True)
    }
    return Declared([document for _, document in located], resources, places)


def locate(errors: list[dict[str, Any]], places: Mapping[Key, Place]) -> None:
    """Say where in the files it is that the server complains of: its messages begin with the name of the resource."""
    by_name = {str(key): place for key, place in places.items()}
    for error in errors:
        name = str(error.get("message", "")).partition(" ")[0].rstrip(":")
        if name in by_name:
            error |= {"file": by_name[name].file, "line": by_name[name].line}


def saved_plan(paths: Sequence[str]) -> dict[str, Any] | None:
    """The plan in the file when there is one file and it holds a saved plan, else None. Raises BAD_PLAN."""
    if len(paths) != 1 or paths[0] == "-":
        return None
    path = Path(paths[0])
    try:
        with path.open("rb") as file:
            # Plans are written with their format first; a big file of resources is not read for this.
            head = file.read(4096).lstrip()
            if not head.startswith(b"{") or b'"format"' not in head[:64]:
                return None
            text = head + file.read()
    except OSError:
        return None  # reading it as documents complains properly
    try:
        plan = json.loads(text)
        if not (isinstance(plan["changes"], list) and isinstance(plan["id"], str)):
            raise TypeError
    except (ValueError, KeyError, TypeError):
        from suanwang.controller.plan import BAD_PLAN

        raise SuanwangError(
            BAD_PLAN, f"{path} is no whole plan", f"make it anew: suanwang plan -f … --out {path}"
        ) from None
    return dict(plan)
