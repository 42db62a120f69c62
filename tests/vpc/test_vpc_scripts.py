"""Runs `scripts/*.txtar`: small worlds, what is said of them, and the programs that come out. See scripts/README.md."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

from suanwang.controller.engine import Controller
from suanwang.model.errors import SuanwangError
from suanwang.model.reference import parse_key

FOLDER = Path(__file__).parent / "scripts"
SCRIPTS = sorted(FOLDER.glob("*.txtar"))
SHORT = "{apiVersion: suanwang/v1, "
"""Documents in scripts begin with `{kind:`; the rest is the same everywhere."""


class Run:
    """One script being run; `answer` gives what stands below a section that is compared."""

    def __init__(self, world: Any) -> None:
        self.world = world
        self.changes = self.nodes = self.error = ""
        world.apply((FOLDER / "world.yaml").read_text())

    def do(self, command: str, body: str) -> str | None:
        verb, *words = command.split()
        if verb == "apply":
            self._commit(re.sub(r"^\{", SHORT, body, flags=re.MULTILINE), [])
        elif verb == "delete":
            self._commit("", [parse_key(word) for word in words])
        elif verb == "program":
            return "".join(f"{line}\n" for line in self.world.text(words[0]).splitlines()[1:] if line)
        elif verb == "problems":
            return "".join(f"{problem}\n" for problem in self.world.controller.problems().values())
        else:
            return {"changes": self.changes, "nodes": self.nodes, "refused": self._taken_error()}[verb]
        return None

    def _commit(self, text: str, deletions: list[Any]) -> None:
        assert not self.error, self.error
        self.changes = self.nodes = ""
        controller: Controller = self.world.controller
        try:
            plan = controller.plan(self.world.read(text), deletions)
        except SuanwangError as problem:
            self.error = f"{problem}\n"
            return
        signs = {"create": "+", "update": "~", "delete": "-"}
        for change in plan.changes:
            self.changes += f"{signs[change.action]} {change.key}\n"
            self.changes += "".join(f"    {field}\n" for field in change.fields)
        self.nodes = f"{' '.join(controller.apply(plan, 'test', accept={one.subject for one in plan.broken}).nodes)}\n"

    def _taken_error(self) -> str:
        error, self.error = self.error, ""
        return error


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_script(script: Path, world: Any) -> None:
    head, *sections = re.split(r"^---- (.*)\n", script.read_text(), flags=re.MULTILINE)
    run = Run(world)
    written = head
    for command, body in zip(sections[::2], sections[1::2], strict=True):
        remarks = "".join(line for line in body.splitlines(keepends=True) if line.startswith("#"))
        answer = run.do(command, body)
        text = body if answer is None else f"{remarks}{answer}\n"
        written += f"---- {command}\n{text}"
    assert not run.error, run.error
    written = written.rstrip("\n") + "\n"
    if os.environ.get("SUANWANG_REWRITE"):
        script.write_text(written)
    assert script.read_text() == written
