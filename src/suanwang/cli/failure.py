"""How a command ends when it can't do what was asked: text or JSON on standard error, and the exit code."""

from __future__ import annotations

import json
from typing import Any

import click

from suanwang.cli.table import printable
from suanwang.model.errors import ErrorList, SuanwangError, code

DONE, ERROR, DIFFERENT, INTERRUPTED, PIPE_CLOSED = 0, 1, 2, 130, 141
"""Exit codes. DIFFERENT: there are changes (`plan`), or something does not hold (`probe`). The last two are a
shell's own for a program ended by SIGINT or SIGPIPE."""

USAGE = code("USAGE", "the command line can't be understood")
SYSTEM = code("SYSTEM", "the operating system refused something, such as writing a file")
DEFECT = code("DEFECT", "a defect in Suanwang itself")


class ServerRefusal(Exception):
    """The server answered with an error: HTTP status and errors as stable JSON fields, the codes being the server's."""

    def __init__(self, status: int, errors: list[dict[str, Any]]) -> None:
        super().__init__(errors[0].get("message", "") if errors else f"status {status}")
        self.status = status
        self.errors = errors

    @property
    def code(self) -> str:
        """The first error's code."""
        return str(self.errors[0].get("code", "")) if self.errors else ""


def errors_of(problem: Exception) -> list[dict[str, Any]]:
    """Any exception as a list of errors with stable fields."""
    if isinstance(problem, ErrorList):
        return [error.as_dict() for error in problem.errors]
    if isinstance(problem, SuanwangError):
        return [problem.as_dict()]
    if isinstance(problem, ServerRefusal):
        return problem.errors
    if isinstance(problem, click.UsageError):
        message, _, hint = problem.format_message().partition("; ")
        command = problem.ctx.command_path if problem.ctx else "suanwang"
        return [_error(USAGE, message, hint or f"see {command} --help")]
    if isinstance(problem, click.ClickException):
        return [_error(USAGE, problem.format_message(), "")]
    if isinstance(problem, OSError):
        subject = f": {problem.filename}" if problem.filename else ""
        return [_error(SYSTEM, f"{problem.strerror or problem}{subject}", "")]
    text = f"{type(problem).__name__}: {problem}"
    return [_error(DEFECT, text, "this is a defect; run it again with --debug and report what it prints")]


def show(errors: list[dict[str, Any]], output: str) -> None:
    """Write errors to standard error, as JSON where the output was asked for as JSON."""
    if output == "json":
        click.echo(json.dumps({"error": errors[0], "errors": errors}, ensure_ascii=False), err=True)
        return
    for error in errors:
        click.echo(click.style("error: ", fg="red", bold=True) + text_of(error), err=True)
        for line in str(error.get("hint") or "").splitlines():
            click.echo("  " + click.style("hint: ", fg="cyan") + printable(line), err=True)


def text_of(error: dict[str, Any]) -> str:
    """An error in one line: where, what, code."""
    file, line, path = error.get("file") or "", error.get("line") or 0, error.get("path") or ""
    where = " ".join(part for part in (f"{file}:{line}" if file and line else file, path) if part)
    text = f"{where}: {error.get('message', '')}" if where else str(error.get("message", ""))
    return printable(f"{text} [{error.get('code', '')}]")


def _error(code: str, message: str, hint: str) -> dict[str, Any]:
    return SuanwangError(code, message, hint).as_dict()
