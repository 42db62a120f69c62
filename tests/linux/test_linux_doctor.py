"""The doctor says what is there, and touches nothing (the session's guard compares the machine before and after)."""

from __future__ import annotations

import pytest

from suanwang.linux.doctor import facts


@pytest.mark.root
def test_what_this_machine_can_do() -> None:
    found = {fact.name: fact for fact in facts()}
    for name in ("network namespaces", "veth", "vxlan", "nftables", "nftables interval sets"):
        assert found[name].state == "ok", found[name]
    for fact in found.values():
        assert fact.state == "ok" or (fact.detail and fact.consequence and fact.remedy), fact
