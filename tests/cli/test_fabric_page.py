"""docs/fabric.md: every command on it is one that there is, and those of `console` blocks print what it shows."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from tests.cli.pages import replay, shell

from suanwang.cli.main import main

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "fabric.md"
COMMAND = re.compile(r"^(?:    )?\$ (.*)", re.M)
PICTURE = re.compile(r"!\[[^]]*\]\(([^)]+)\)")
NUMBER = re.compile(r"\d[\d.,]*")
MOST_BYTES = 200_000

CAUGHT = """suanwang() { { printf '%s\\n' "$@"; echo ---; } >&3; }
python() { :; }
exec 3>&1 >/dev/null 2>&1
"""
"""A shell in which `suanwang` says with which words it was called, and nothing long is done."""


def told(text: str) -> list[tuple[str, list[float]]]:
    """The lines without numbers and spaces, and their numbers; how long something took is left out."""
    text = re.sub(r"^(  took .*|\d+\.\d+ s)\n", "", text, flags=re.M)
    text = re.sub(r"(\d+/\d+) +\d+\.\d\d$", r"\1", text, flags=re.M)
    lines = [line for line in text.splitlines() if line.strip()]
    numbers = [[float(one.strip(".,").replace(",", "")) for one in NUMBER.findall(line)] for line in lines]
    return [(re.sub(r"[\s,-]+", "", NUMBER.sub("#", line)), some) for line, some in zip(lines, numbers, strict=True)]


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A folder in which the page's commands find the examples."""
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "examples").symlink_to(ROOT / "examples")
    return tmp_path / "work"


def test_every_command_is_one(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands = COMMAND.findall(PAGE.read_text(encoding="utf-8"))
    called = shell([CAUGHT, *commands], work).split("---\n")[:-1]
    assert len(called) >= sum("suanwang fabric" in command for command in commands) > 10
    monkeypatch.chdir(work)
    monkeypatch.setattr(click.Command, "invoke", lambda self, context: None)
    for words in called:
        result = CliRunner().invoke(main, words.splitlines())
        assert result.exit_code == 0, f"{words}{result.output}"


def test_its_pictures_are_there() -> None:
    pictures = PICTURE.findall(PAGE.read_text(encoding="utf-8"))
    assert len(pictures) >= 6
    for picture in pictures:
        assert 1000 < (PAGE.parent / picture).stat().st_size < MOST_BYTES, picture


@pytest.mark.slow
def test_the_page_runs_as_it_stands(work: Path) -> None:
    text = PAGE.read_text(encoding="utf-8")
    fresh = replay(text, work, "hops.py")
    drawn = [name for name in PICTURE.findall(text) if (work / name).exists()]
    if os.environ.get("SUANWANG_REWRITE"):
        PAGE.write_text(fresh, encoding="utf-8")
        for name in drawn:
            shutil.copy(work / name, PAGE.parent / name)
    for (here, numbers), (there, others) in zip(told(text), told(fresh), strict=True):
        assert here == there, "see the difference; SUANWANG_REWRITE=1 writes it"
        assert numbers == pytest.approx(others, rel=0.02, abs=0.2), here
    assert len(drawn) >= 5
