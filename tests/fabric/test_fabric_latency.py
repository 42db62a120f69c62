"""Latency budgets: the terms by hand, and where the targets are met."""

from __future__ import annotations

import pytest

from suanwang.fabric.design.building import build
from suanwang.fabric.design.design import Design
from suanwang.fabric.design.latency import ADAPTER_PS, HOST_PS, PS_PER_MM, Budget, budgets, remote_access
from suanwang.fabric.kinds import FabricSpec


def design(spec: object) -> Design:
    return build("small", FabricSpec.model_validate(spec))


def found(of: Design, what: str, tiers: int) -> Budget:
    (one,) = [one for one in budgets(of) if one.what == what and one.tiers == tiers]
    return one


def test_a_message_by_hand() -> None:
    spec = {
        "accelerators": {"perServer": 1},
        "scaleOut": {
            "tiers": [{"children": 2, "rate": "400Gbps"}, {"children": 2, "rate": "200Gbps"}],
            "switch": {"latency": "600ns"},
        },
        "layout": {"serversPerRack": 2, "withinRack": "3m", "rise": "1m", "rackWidth": "1m", "rowDepth": "2m"},
    }
    one, two = found(design(spec), "message", 1), found(design(spec), "message", 2)
    assert one.total_ps == 2 * HOST_PS + 600_000 + 2 * 3000 * PS_PER_MM + 4096 * 8 * 10**12 // (400 * 10**9)
    # Racks stand half a metre left and right of the spine, which is bought a cable of 5 m: 1 m up, 0.5 m along, down.
    spine = next(term for term in two.terms if "spine" in term.what)
    assert spine.count == 2
    assert two.total_ps == one.total_ps + 2 * 600_000 + 2 * spine.each_ps + 4096 * 8 * 10**12 // (400 * 10**9)


def test_the_300_ns_of_remote_access() -> None:
    supernode = build("s", FabricSpec(preset="supernode-1024"))
    ethernet = "Ethernet, low latency"
    assert found(supernode, f"switches alone, {ethernet}", 1).met
    assert not found(supernode, f"switches alone, {ethernet}", 2).met
    store = found(supernode, f"store through {ethernet}", 1)
    assert not store.met
    # One switch and both adapters: two adapters and cables leave the switch less than 150 ns.
    assert 100_000 < store.switch_ps < 150_000
    assert found(supernode, f"load through {ethernet}", 1).switch_ps < 0


def test_a_store_passes_each_switch_once_and_a_load_twice() -> None:
    store, load = [one for one in remote_access("x", (100, "none"), [0, 0], 10**15) if "alone" not in one.what][2:]
    assert store.tiers == load.tiers == 2
    assert store.total_ps == 2 * ADAPTER_PS + 3 * 100 + 2  # 256 B at 1 Pbit/s take 2 ps
    assert load.total_ps == 2 * (2 * ADAPTER_PS + 3 * 100) + 2
    assert store.switch_ps == (300_000 - 2 * ADAPTER_PS - 2) // 3


@pytest.mark.parametrize("name", ["cmcc-61440", "hpn7-pod", "hpn7-cluster", "mpft-16384", "dragonfly", "shall-100000"])
def test_messages_take_less_than_10_us(name: str) -> None:
    for one in budgets(build(name, FabricSpec(preset=name))):
        assert one.met
        assert all(term.source for term in one.terms)
