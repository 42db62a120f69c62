"""Links and nodes by their names, as `--fail` takes them."""

from __future__ import annotations

import numpy as np
import pytest

from suanwang.fabric.clos import Clos, Tier
from suanwang.fabric.failing import failed_ports, ports_of
from suanwang.fabric.network import Network
from suanwang.model.errors import SuanwangError

NETWORK = Clos((Tier(4, 1, 10**11), Tier(2, 2, 10**11, bundle=2)), planes=2).network()


def ways(network: Network, link: str) -> set[tuple[str, str]]:
    ports = ports_of(network, link)
    assert len(set(ports.tolist())) == len(ports)
    return {(network.names[network.source[port]], network.names[network.target[port]]) for port in ports.tolist()}


def test_names_mean_ports() -> None:
    both = {("p0-leaf0", "p0-spine1"), ("p0-spine1", "p0-leaf0")}
    assert ways(NETWORK, "p0-leaf0-p0-spine1") == ways(NETWORK, "p0-spine1-p0-leaf0") == both
    assert len(ports_of(NETWORK, "p0-leaf0-p0-spine1")) == 4
    assert ways(NETWORK, "p0-leaf0>p0-spine1") == {("p0-leaf0", "p0-spine1")}
    one, other = ports_of(NETWORK, "p0-leaf0-p0-spine1#1").tolist()
    assert NETWORK.peer[one] == other
    assert {end for way in ways(NETWORK, "node:p1-spine0") for end in way} == {"p1-leaf0", "p1-leaf1", "p1-spine0"}
    assert int(failed_ports(NETWORK, ["gpu0-p0-leaf0", "node:gpu0"]).sum()) == 4
    assert not np.any(failed_ports(NETWORK, []))


@pytest.mark.parametrize(
    ("link", "words"),
    [
        ("p0-leaf0-p0-spine7", "did you mean p0-spine1?"),
        ("p0-leav0-p0-spine1", "no node is named"),
        ("p0-leaf0-p0-leaf1", "p0-leaf0 is joined with gpu0"),
        ("p0-leaf0-p1-spine0", "no cable joins"),
        ("p0-leaf0-p0-spine1#2", "there is no cable 2 of 2"),
        ("p0-leaf0-p0-spine1#x", "no cable x"),
        ("gpu0", "names no link"),
        ("node:gpu99", "no node is named 'gpu99'"),
        ("", "names no link"),
    ],
)
def test_wrong_names_are_told(link: str, words: str) -> None:
    with pytest.raises(SuanwangError) as caught:
        ports_of(NETWORK, link)
    assert words in str(caught.value)
    assert caught.value.hint
