"""The Python examples of the pages about rooms run as they stand."""

from __future__ import annotations

import re
from pathlib import Path
from textwrap import dedent

import pytest

PAGES = Path(__file__).parent.parent.parent / "docs" / "rooms"


@pytest.mark.parametrize("room", ["model", "program", "controller"])
def test_examples_run(room: str) -> None:
    blocks = re.findall(r"(?:^    .*\n|^\n)+", (PAGES / f"{room}.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    examples = [dedent(block) for block in blocks if "    from suanwang" in block]
    assert examples
    for example in examples:
        start = example.index("from suanwang")
        exec(compile(example[start:], f"{room}.md", "exec"), {})
