"""What users read when a file is wrong: each `errors/NAME.yaml` gives exactly `errors/NAME.txt`.

`SUANWANG_REWRITE=1` writes the texts anew; read the difference before it is kept.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from suanwang.model.errors import SuanwangError
from suanwang.model.reading import read_text
from suanwang.model.registry import load
from suanwang.model.resource import read_documents

CASES = sorted(Path(__file__).parent.glob("errors/*.yaml"))


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.stem)
def test_error_text(case: Path) -> None:
    with pytest.raises(SuanwangError) as caught:
        read_documents([(case.name, document) for document in read_text(case.read_bytes(), case.name)], load())
    golden, text = case.with_suffix(".txt"), f"{caught.value}\n"
    if os.environ.get("SUANWANG_REWRITE"):
        golden.write_text(text)
    assert text == golden.read_text()


def test_every_text_has_its_case() -> None:
    assert [path.name for path in CASES[0].parent.glob("*.txt") if not path.with_suffix(".yaml").exists()] == []
