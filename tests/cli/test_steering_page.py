"""docs/steering.md runs as it stands: every command in it, and what it prints."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from tests.cli.pages import replay

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "steering.md"
NUMBER = re.compile(r"\d[\d.]*(?:e[+-]?\d+)?")


def told(text: str) -> list[tuple[str, list[float]]]:
    """The lines without numbers and spaces, and their numbers; how long something took is left out."""
    text = re.sub(r"^seconds .*\n", "", text, flags=re.M)
    text = re.sub(r" +\d+\.\d{3}(?=  (yes|NO)$)", "", text, flags=re.M)
    lines = [line for line in text.splitlines() if line.strip()]
    return [(re.sub(r"\s+", "", NUMBER.sub("#", line)), list(map(float, NUMBER.findall(line)))) for line in lines]


@pytest.mark.slow
def test_the_page_runs_as_it_stands(tmp_path: Path) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    text = PAGE.read_text(encoding="utf-8")
    fresh = replay(text, tmp_path, "certificate.py")
    if os.environ.get("SUANWANG_REWRITE"):
        PAGE.write_text(fresh, encoding="utf-8")
    for (here, numbers), (there, others) in zip(told(text), told(fresh), strict=True):
        assert here == there, "see the difference; SUANWANG_REWRITE=1 writes it"
        assert numbers == pytest.approx(others, rel=0.1, abs=1), here
    assert (tmp_path / "steering.svg").stat().st_size < 200_000
