"""Writes the pages of docs/ that say what the code itself knows: kinds, errors, commands, metrics, settings, reasons.

    generate_docs.py [FOLDER]    FOLDER is docs/ of this checkout unless given

The pages are committed; `tests/test_docs.py` generates them anew and fails when they differ.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import click

import suanwang
from suanwang.model import errors, registry
from suanwang.model.registry import Kind
from suanwang.model.schema import schema

SOURCE = Path(suanwang.__file__).parent
GENERATED = "<!-- Written by `make docs`; edit the code it comes from. -->\n"

PLAIN_VARIABLES = {
    "SUANWANG_TOKEN": "the token itself, for users of the API; as a variable only, since flags show in process lists",
    "SUANWANG_OS_PACKAGES": "`no`: `make setup` leaves the operating system's packages alone and says what is missing",
    "SUANWANG_LAB": "set by a lab on its processes, so that they are found when it is taken down: its run directory",
    "PYTHON": "the interpreter that `make setup` makes `.venv` with; else `python3`, or a later one that is found",
}
"""Variables that belong to no flag of a command."""


def pages() -> dict[str, str]:
    """All generated pages: path below docs/ -> text."""
    for module in pkgutil.walk_packages(suanwang.__path__, "suanwang."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)  # so that every error code is entered
    kinds = list(registry.load())
    main = importlib.import_module("suanwang.cli.main").main
    found = {
        "errors.md": errors_page(),
        "reasons.md": reasons_page(),
        "metrics.md": metrics_page(),
        "kinds/index.md": kinds_page(kinds),
        "commands.md": commands_page(main),
        "settings.md": settings_page(main),
    }
    return found | {f"kinds/{kind.name.lower()}.md": kind_page(kind) for kind in kinds}


def page(title: str, *blocks: str) -> str:
    return "\n\n".join((f"# {title}", GENERATED.strip(), *(block.strip("\n") for block in blocks if block))) + "\n"


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    if not rows:
        return "None."
    lines = [head, tuple("---" for _ in head), *rows]
    cells = ((cell.replace("|", "\\|").replace("\n", " ") for cell in line) for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


# --- errors ----------------------------------------------------------------------------------------------------------


def errors_page() -> str:
    rows = [(f"`{name}`", meaning) for name, meaning in sorted(errors.CATALOGUE.items())]
    about = """
A code keeps its meaning for ever, so programs may test for it. Beside its code every error says what is wrong in this
case, where, and what would be right."""
    return page("Errors", about, table(("code", "meaning"), rows))


def reasons_page() -> str:
    from suanwang.proof.codes import REASONS

    about = """
What `trace` says of a packet, and what `plan` and `prove` find wrong. A code keeps its meaning for ever, so programs
may test for it. How they come about: [proof](rooms/proof.md)."""
    rows = [(f"`{name}`", meaning) for name, meaning in sorted(REASONS.items())]
    return page("Reasons", about, table(("code", "meaning"), rows))


# --- kinds -----------------------------------------------------------------------------------------------------------


def kinds_page(kinds: list[Kind]) -> str:
    rows = [
        (f"[{kind.name}]({kind.name.lower()}.md)", kind.scope, ", ".join(kind.short_names), kind.summary)
        for kind in sorted(kinds, key=lambda kind: kind.name)
    ]
    return page("Kinds", "What can be declared.", table(("kind", "scope", "short names", "what it is"), rows))


def kind_page(kind: Kind) -> str:
    whole = schema(kind)
    references = {".".join(path).replace(".*", "[]"): target for path, target in registry.reference_paths(kind.spec)}
    rows = list(field_rows(whole["properties"]["spec"], whole["$defs"], "", references))
    scope = (
        "Belongs to a tenant: `metadata.tenant` is required."
        if kind.scope == "tenant"
        else "Infrastructure: has no tenant."
    )
    return page(
        kind.name,
        kind.summary,
        scope,
        "## Fields of spec",
        table(("field", "type", "required or default", "meaning"), rows),
        "## Example",
        f"```yaml\n{kind.example.strip()}\n```",
    )


def field_rows(
    spec: dict[str, Any], definitions: dict[str, Any], at: str, references: dict[str, str], seen: tuple[str, ...] = ()
) -> Iterator[tuple[str, str, str, str]]:
    """A row for each field of an object schema, those of objects within it after it."""
    for name, field in spec.get("properties", {}).items():
        path = f"{at}{name}"
        shape = type_text(field, definitions)
        target = references.get(path) or references.get(f"{path}[]")
        if target:
            shape += f", names a [{target}]({target.lower()}.md)"
        if name in spec.get("required", ()):
            needed = "required"
        elif field.get("default") in (None, "", [], {}):
            needed = ""
        else:
            needed = f"`{json.dumps(field['default'], ensure_ascii=False)}`"
        yield f"`{path}`", shape, needed, field.get("description", "")
        for inner, steps in objects_in(field, f"{path}"):
            if inner in seen:
                continue
            yield from field_rows(definitions[inner], definitions, f"{steps}.", references, (*seen, inner))


def objects_in(field: dict[str, Any], path: str) -> Iterator[tuple[str, str]]:
    """Names of the object definitions that a field's value is made of, and the path to write for them."""
    if "$ref" in field:
        yield field["$ref"].rsplit("/", 1)[-1], path
    for choice in (*field.get("anyOf", ()), *field.get("oneOf", ())):
        yield from objects_in(choice, path)
    if isinstance(field.get("items"), dict):
        yield from objects_in(field["items"], f"{path}[]")
    if isinstance(field.get("additionalProperties"), dict):
        yield from objects_in(field["additionalProperties"], f"{path}.NAME")


def type_text(field: dict[str, Any], definitions: dict[str, Any]) -> str:
    if "$ref" in field:
        target = definitions[field["$ref"].rsplit("/", 1)[-1]]
        return "object" if target.get("type") == "object" else type_text(target, definitions)
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    if "const" in field:
        return f"`{field['const']}`"
    choices = [c for c in (*field.get("anyOf", ()), *field.get("oneOf", ())) if c.get("type") != "null"]
    if choices:
        return " or ".join(dict.fromkeys(type_text(choice, definitions) for choice in choices))
    if field.get("type") == "array":
        return f"list of {type_text(field.get('items', {}), definitions)}{bounds(field, 'minItems', 'maxItems')}"
    if field.get("type") == "object" and isinstance(field.get("additionalProperties"), dict):
        return f"mapping of names to {type_text(field['additionalProperties'], definitions)}"
    examples = field.get("examples") or ()
    hint = f", e.g. `{examples[0]}`" if examples else ""
    return f"{field.get('type', 'any')}{bounds(field, 'minimum', 'maximum')}{hint}"


def bounds(field: dict[str, Any], low: str, high: str) -> str:
    if low in field and high in field:
        return f", {field[low]} to {field[high]}"
    if low in field:
        return f", at least {field[low]}"
    return f", at most {field[high]}" if high in field else ""


# --- commands and settings -------------------------------------------------------------------------------------------


class Command(NamedTuple):
    """A command, and the context in which it finds its name and its variables."""

    name: str
    command: click.Command
    context: click.Context


def commands(command: click.Command, parent: click.Context | None = None, name: str = "suanwang") -> Iterator[Command]:
    """A command and all below it, in the order of their help."""
    settings = dict(command.context_settings)
    context = click.Context(command, parent=parent, info_name=name, **settings)
    # Fixed, so that the page does not depend on the terminal it is made in.
    context.terminal_width = context.max_content_width = 100
    context.color = False
    if not command.hidden:
        yield Command(context.command_path, command, context)
        if isinstance(command, click.Group):
            for below in command.list_commands(context):
                child = command.get_command(context, below)
                if child is not None:
                    yield from commands(child, context, below)


def commands_page(main: click.Command) -> str:
    blocks = []
    for name, command, context in commands(main):
        blocks += [f"## {name}", f"```text\n{command.get_help(context).rstrip()}\n```"]
    exits = "Exit codes: 0 done, 1 error, 2 there are changes (`plan`) or something does not hold (`probe`)."
    return page("Commands", exits, *blocks)


def settings_page(main: click.Command) -> str:
    rows = []
    for name, command, context in commands(main):
        for parameter in command.params:
            variable = environment_variable(parameter, context)
            # Flags of the whole program may also stand after a command, where they are hidden from its help.
            if variable and not getattr(parameter, "hidden", False) and parameter.name not in ("help", "version"):
                flag = max(parameter.opts, key=len)
                rows.append((f"`{variable}`", f"`{name} {flag}`", getattr(parameter, "help", None) or ""))
    others = [(f"`{variable}`", meaning) for variable, meaning in PLAIN_VARIABLES.items()]
    return page(
        "Settings",
        "Every flag can be given as an environment variable; the flag wins.",
        table(("variable", "flag", "meaning"), rows),
        "## Variables that are no flag",
        table(("variable", "meaning"), others),
    )


def environment_variable(parameter: click.Parameter, context: click.Context) -> str:
    """The variable that click reads for a parameter; empty where there is none."""
    if isinstance(parameter.envvar, str):
        return parameter.envvar
    if parameter.envvar:
        return parameter.envvar[0]
    automatic = isinstance(parameter, click.Option) and parameter.allow_from_autoenv and context.auto_envvar_prefix
    return f"{context.auto_envvar_prefix}_{str(parameter.name).upper()}" if automatic else ""


# --- metrics ---------------------------------------------------------------------------------------------------------


def metrics_page() -> str:
    from suanwang.measure import metrics

    about = "Served at `GET /metrics` for Prometheus."
    controller = "## Controller\n\n" + metrics.markdown(metrics.CONTROLLER)
    return page("Metrics", about, controller, "## Agents\n\n" + metrics.markdown(metrics.AGENT))


def write(folder: Path) -> None:
    """Write every page below `folder` and remove pages of kinds that are no more."""
    texts = pages()
    for name, text in texts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    for path in (folder / "kinds").glob("*.md"):
        if f"kinds/{path.name}" not in texts:
            path.unlink()


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent.parent / "docs")
