"""Topology text of SimAI (`astra-sim-alibabacloud/inputs/topo`), and back.

    34 8 2 16 96 H20             nodes, accelerators of a server, NVSwitches, switches, links, type of accelerator
    16 17 18 ... 33              the NVSwitches and then the switches, by number
    0 16 900Gbps 0.000025ms 0    then a line a link, as for ns-3

The other nodes are the accelerators. Links at NVSwitches are the scale-up network, all others the scale-out network.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from suanwang.fabric.exchange.listed import MOST_NODES, Bools, Imported, Integers, network_of
from suanwang.fabric.exchange.ns3 import LARGEST_FILE_BYTES, MOST_LINKS, LinkLines, Words, link_lines, names_of
from suanwang.fabric.exchange.words import decode, load
from suanwang.fabric.network import Network
from suanwang.model.errors import INVALID, SuanwangError


def read_simai(path: Path | str) -> Imported:
    """The networks in a SimAI topology file. Raises BAD_TOPOLOGY with the line, UNREADABLE."""
    return parse_simai(decode(load(path, LARGEST_FILE_BYTES), str(path)), str(path))


def parse_simai(text: str, file: str = "") -> Imported:
    """The networks in the text of a SimAI topology file; see `read_simai`."""
    words = Words(text, file)
    nodes = words.whole("the number of nodes", MOST_NODES, 2)
    per_server = words.whole("the number of accelerators of a server", nodes, 1)
    scale_up = words.whole("the number of NVSwitches", nodes)
    scale_out = words.whole("the number of switches", nodes)
    count = words.whole("the number of links", MOST_LINKS, 1)
    kind = words.word("the type of accelerator")
    head = text.lstrip().split("\n", 1)[0].split()
    if len(head) not in (6, 7):
        words.refuse(f"the first line has {len(head)} words", "six are right: 34 8 2 16 96 H20, say", 0)
    words.at += len(head) - 6  # newer files repeat the accelerators of a server
    endpoints = nodes - scale_up - scale_out
    if endpoints < 1 or endpoints % per_server:
        words.refuse(
            f"{nodes} nodes without {scale_up + scale_out} switches are no servers of {per_server} {kind[:20]} each",
            "correct the counts of the first line", 0,
        )  # fmt: skip
    listed = words.nodes(scale_up + scale_out, nodes, "switch")
    is_up, is_out = np.zeros(nodes, bool), np.zeros(nodes, bool)
    is_up[listed[:scale_up]] = is_out[listed[scale_up:]] = True
    found = LinkLines(words, count, nodes)
    within = is_up[found.a] | is_up[found.b]
    if within.all():
        words.refuse("all links are at NVSwitches", "a scale-out network has links at other switches", 0)
    network, number = _part(found, np.flatnonzero(~within), is_out, is_up, file)
    inner = _part(found, np.flatnonzero(within), is_up, is_out, file)[0] if within.any() else None
    loss = found.port_loss(network, number, np.flatnonzero(~within))
    return Imported("simai", per_server, listed=network, scale_up=inner, loss=loss)


def _part(found: LinkLines, links: Integers, mine: Bools, others: Bools, file: str) -> tuple[Network, Integers]:
    """The network of some links, whose switches are `mine`, and the number of each node of the file in it."""
    kept = np.flatnonzero(~others)
    place = np.full(len(others), -1, np.int64)
    place[kept] = np.arange(len(kept))
    names = names_of(mine)
    network, number = network_of(
        [names[node] for node in kept.tolist()],
        mine[kept],
        place[found.a[links]],
        place[found.b[links]],
        found.rate_bps[links],
        found.latency_ps[links],
        file,
    )
    return network, np.where(place >= 0, number[place], -1)


def simai_text(
    network: Network, per_server: int = 8, scale_up: Network | None = None, accelerator: str = "H100"
) -> Iterator[str]:
    """The SimAI topology of a network and, if given, that within servers, in pieces.

    Raises:
        SuanwangError: INVALID when servers do not share out the endpoints, the networks join other numbers of them, or
            the accelerator's name is not one word.
    """
    if accelerator.split() != [accelerator] or not accelerator.isprintable():
        raise SuanwangError(INVALID, f"the accelerator is {accelerator[:40]!r}", "give one word, as in H100")
    if network.endpoints % per_server:
        raise SuanwangError(
            INVALID, f"servers of {per_server} do not share out {network.endpoints} endpoints", "correct perServer"
        )
    if scale_up is not None and scale_up.endpoints != network.endpoints:
        raise SuanwangError(
            INVALID,
            f"scale-up joins {scale_up.endpoints} accelerators and scale-out {network.endpoints}",
            "both join the same",
        )
    up = scale_up.switches if scale_up is not None else 0
    count = network.ports // 2 + (scale_up.ports // 2 if scale_up is not None else 0)
    yield f"{network.nodes + up} {per_server} {up} {network.switches} {count} {accelerator}\n"
    yield " ".join(map(str, range(network.endpoints, network.nodes + up))) + "\n"
    if scale_up is not None:
        yield from link_lines(scale_up)
    yield from link_lines(network, network.endpoints + up)
