"""Links and nodes by names: `leaf0-spine1`, `leaf0>spine1` for one way, `leaf0-spine1#2` of several, `node:spine1`."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from suanwang.fabric.network import Network
from suanwang.model.errors import INVALID, NOT_FOUND, SuanwangError

Integers = NDArray[np.int64]
Bools = NDArray[np.bool_]


def ports_of(network: Network, link: str) -> Integers:
    """The ports that a name means: all cables of `A-B`, both ways; `A>B` one way; `A-B#n` cable n of several, from 0;
    `node:A` all cables of a node.

    Raises:
        SuanwangError: NOT_FOUND, with the nearest name or what the node is joined with; INVALID for another form.
    """
    if link.startswith("node:"):
        node = network.node(link.removeprefix("node:"))
        mine = np.arange(int(network.first_port[node]), int(network.first_port[node + 1]))
        return np.concatenate([mine, network.peer[mine]])
    pair, _, number = link.partition("#")
    one, other, both = _ends(network, pair)
    mine = network.ports_between(one, other)
    if not len(mine):
        ports = slice(int(network.first_port[one]), int(network.first_port[one + 1]))
        joined = sorted({network.names[far] for far in network.target[ports].tolist()})
        shown = ", ".join(joined[:4]) + (" …" if len(joined) > 4 else "")
        message = f"no cable joins {network.names[one]} and {network.names[other]}"
        raise SuanwangError(NOT_FOUND, message, hint=f"{network.names[one]} is joined with {shown}")
    if number:
        if not (number.isascii() and number.isdecimal() and len(number) < 10) or int(number) >= len(mine):
            raise SuanwangError(INVALID, f"{link!r}: there is no cable {number} of {len(mine)}", "they count from 0")
        mine = mine[int(number) : int(number) + 1]
    return np.concatenate([mine, network.peer[mine]]) if both else mine


def failed_ports(network: Network, links: Iterable[str]) -> Bools:
    """Which ports have failed when the named links and nodes have; see `ports_of`."""
    failed = np.zeros(network.ports, bool)
    for link in links:
        failed[ports_of(network, link)] = True
    return failed


def _ends(network: Network, pair: str) -> tuple[int, int, bool]:
    """Both nodes of `A-B` or `A>B`, and whether both ways are meant. Names may hold hyphens."""
    if ">" in pair:
        one, _, other = pair.partition(">")
        return network.node(one), network.node(other), False
    cuts = [at for at, letter in enumerate(pair) if letter == "-"]
    if not cuts:
        raise SuanwangError(INVALID, f"{pair!r} names no link", "write A-B, A>B for one way, or node:A")
    for at in cuts:
        if pair[:at] in network.numbers and pair[at + 1 :] in network.numbers:
            return network.numbers[pair[:at]], network.numbers[pair[at + 1 :]], True
    known = [at for at in cuts if pair[:at] in network.numbers]
    at = known[-1] if known else cuts[len(cuts) // 2]
    return network.node(pair[:at]), network.node(pair[at + 1 :]), True
