"""A node's compiled program."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import click

from suanwang.cli import failure, sources
from suanwang.cli.session import current, note, server_options
from suanwang.model.errors import NOT_FOUND, SuanwangError


@click.command(
    epilog="""\b
Examples:
  suanwang program h1                        what the controller wants of h1
  suanwang program h1 -f network/            the same from files, without a server
  suanwang program h1 -f network/ --diff     what the files would change on h1"""
)
@click.argument("node")
@sources.files_option(required=False)
@click.option("--diff", is_flag=True, help="only what differs between the server's program and the one of the files")
@server_options
def program(node: str, files: tuple[str, ...], diff: bool) -> None:
    """Show the whole desired state of NODE: one object a line, in canonical order.

    With -f it is compiled from the files alone. With --diff the exit code is 2 when the programs differ.
    """
    session = current()
    path = f"/v1/nodes/{quote(node, safe='')}/program"
    if diff and not files:
        raise click.UsageError("--diff compares with files; add -f PATH")
    if not files:
        client = session.client()
        if session.output == "table":
            click.echo(client.text(path, {"format": "text"}), nl=False)
        else:
            session.emit(client.get(path, {"format": "json"}), str)
        return
    compiled, problems = _compile(node, files)
    for problem in problems:
        note(failure.text_of(problem))
    if diff:
        _show_difference(session.client().text(path, {"format": "text"}), compiled)
        return
    session.emit(_as_data(compiled), lambda: compiled.text().rstrip("\n"))


def _compile(node: str, files: tuple[str, ...]) -> tuple[Any, list[dict[str, Any]]]:
    """The program of the node from the files, and what could not be compiled. Raises NOT_FOUND for an unknown node."""
    from suanwang.cli.local import applied

    declared = sources.read(files)
    with applied(declared) as controller:
        known = {resource.key.name for resource in declared.resources if resource.key.kind == "Node"}
        if node not in known | controller.nodes():
            from suanwang.model.registry import nearest

            raise SuanwangError(NOT_FOUND, f"the files declare no Node {node!r}", nearest(node, known, "nodes"))
        problems = [
            SuanwangError(problem.code, f"{key}: {problem.message}", problem.hint, declared.places.get(key)).as_dict()
            for key, problem in controller.problems().items()
        ]
        made = controller.program(node)
        made.objects  # noqa: B018  joined now, so that a contradiction is found while the controller is there
        return made, problems


def _as_data(compiled: Any) -> dict[str, Any]:
    import msgspec

    objects = [msgspec.to_builtins(item) for item in compiled.objects.values()]
    return {"node": compiled.node, "hash": compiled.hash, "objects": objects}


def _show_difference(present: str, compiled: Any) -> None:
    """Lines that go (`-`) and come (`+`), from the program that the server has."""
    from suanwang.program.fragment import fragment
    from suanwang.program.program import NodeProgram, difference
    from suanwang.program.text import parse

    old = NodeProgram(compiled.node, 0, (fragment("server", "all", parse(present)),))
    found = difference(old, compiled)
    for line in found.lines():
        click.echo(click.style(line, fg="green" if line.startswith("+") else "red"))
    if found:
        raise click.exceptions.Exit(failure.DIFFERENT)
