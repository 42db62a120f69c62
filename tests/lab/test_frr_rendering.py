"""FRR's configuration: its text is what the golden files say, and FRR itself accepts it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from suanwang.linux.frr import RouterConfiguration, RouterInterface, render
from suanwang.linux.frr_daemons import check

GOLDEN = Path(__file__).parent / "golden"
INTERFACES = (RouterInterface("to-leaf1", 850), RouterInterface("to-leaf2", 4_275))
LOOPBACKS = ("10.255.0.1/32", "fd00:255::1/128")

ROUTERS = {
    "bgp-hops": RouterConfiguration("spine1", "10.255.0.1", 4_200_000_001, LOOPBACKS, INTERFACES),
    "bgp-delay": RouterConfiguration("spine1", "10.255.0.1", 4_200_000_001, LOOPBACKS, INTERFACES, metric="delay"),
    "bgp-bfd": RouterConfiguration("spine1", "10.255.0.1", 4_200_000_001, LOOPBACKS, INTERFACES, bfd=True),
    "ospf-delay": RouterConfiguration("spine1", "10.255.0.1", 0, LOOPBACKS, INTERFACES, "ospf", "delay"),
    "ospf-hops-bfd": RouterConfiguration("spine1", "10.255.0.1", 0, LOOPBACKS, INTERFACES, "ospf", bfd=True),
    "no-links": RouterConfiguration("alone", "10.255.0.1", 4_200_000_001, ("10.255.0.1/32",), ()),
}


@pytest.mark.parametrize("name", ROUTERS)
def test_text_is_golden(name: str) -> None:
    path = GOLDEN / f"{name}.conf"
    text = render(ROUTERS[name])
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text)
    assert text == path.read_text()


@pytest.mark.skipif(shutil.which("vtysh") is None, reason="FRR is not installed")
@pytest.mark.parametrize("name", ROUTERS)
def test_frr_accepts_it(name: str) -> None:
    assert check(render(ROUTERS[name])) == ""


@pytest.mark.skipif(shutil.which("vtysh") is None, reason="FRR is not installed")
def test_check_names_what_is_wrong() -> None:
    assert "no such thing" in check(render(ROUTERS["bgp-hops"]) + "no such thing\n")


def test_each_interface_has_its_cost_and_none_is_free() -> None:
    text = render(
        RouterConfiguration(
            "r", "10.0.0.1", 0, LOOPBACKS, (RouterInterface("a", 0), RouterInterface("b", 10**9)), "ospf", "delay"
        )
    )
    assert text.count("ip ospf cost 1\n") == 1
    assert text.count("ip ospf cost 65535\n") == 1
    assert text.count(" ip address 10.255.0.1/32\n") == 2
