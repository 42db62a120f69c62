"""Where libnftables is missing the program `nft` does the same."""

from __future__ import annotations

from typing import Any

import pytest

from suanwang.linux import nft

pytestmark = pytest.mark.root


def test_filters_by_the_program(nodes: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nft, "library", lambda: None)
    nodes.apply("a", nodes.pair("a"))
    nodes.apply("b", nodes.pair("b"))
    assert nodes.reaches("a", "port/shop/1", "10.0.0.2")
    assert nodes.kernels["a"].verify() == {}
    with pytest.raises(nft.TransactionError, match="syntax error"):
        nft.run(["this is no rule"])
