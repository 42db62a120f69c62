from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from suanwang.store import SqliteStore


@pytest.fixture(params=["file", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SqliteStore]:
    path = tmp_path / "store.db" if request.param == "file" else ":memory:"
    with SqliteStore(path, clock_us=lambda: 1_000_000) as store:
        yield store
