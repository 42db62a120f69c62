from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from suanwang.cli.main import main

pytestmark = pytest.mark.root


def test_doctor_says_what_follows_from_what_is_not_there() -> None:
    result = CliRunner().invoke(main, ["doctor", "-o", "json"])
    facts = json.loads(result.stdout)
    assert {fact["state"] for fact in facts} <= {"ok", "degraded", "missing"}
    assert result.exit_code == (2 if any(fact["state"] == "missing" for fact in facts) else 0)
    text = CliRunner().invoke(main, ["doctor"]).stdout
    for fact in facts:
        assert fact["name"] in text
        if fact["state"] != "ok":
            assert fact["consequence"] in text
            assert fact["remedy"] in text
