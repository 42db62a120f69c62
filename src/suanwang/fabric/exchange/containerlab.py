"""containerlab topology files (containerlab.dev/manual/topo-def-file) of fabrics, and back.

containerlab has no rates or latencies: they are written as variables of links (`vars`), and read from there, or from
labels of links, where they are; `role`, `tier` and `plane` are labels of nodes, which are texts. Interfaces are eth1,
eth2 ..., counted from a node's first cable on. Management interfaces are off (`network-mode: none`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from suanwang.fabric.exchange.listed import DEFAULT_LATENCY_PS, Imported, links, network_of
from suanwang.fabric.exchange.words import load, yaml_word
from suanwang.fabric.network import Network
from suanwang.fabric.units import LATENCY_UNITS, latency_text
from suanwang.model.errors import INVALID, SuanwangError
from suanwang.model.reading import line_of, read_text
from suanwang.model.units import RATE_UNITS, parse, rate_text
from suanwang.topology.importing.containerlab import OUTSIDE, read_containerlab
from suanwang.topology.importing.published import LARGEST_FILE_BYTES, refuse

MOST_NODES = 20_000
"""More containers than that are on no machine."""
MOST_TIER, MOST_PLANE = 7, 63
"""Of the labels of switches."""
DEFAULT_RATE_BPS = 10 * 10**9
"""Of a link that says none: what a veth pair is taken for."""


@dataclass(frozen=True, slots=True)
class Image:
    """What a node runs: containerlab's kind, and an image that is on the machine."""

    kind: str
    name: str


FRR = Image("linux", "frr:latest")
SONIC = Image("sonic-vs", "docker-sonic-vs:latest")
HOST = Image("linux", "alpine:latest")


def containerlab_text(
    name: str,
    network: Network,
    switch: Image = FRR,
    host: Image = HOST,
    binds: Callable[[str], Sequence[str]] = lambda _: (),
) -> Iterator[str]:
    """The containerlab file of a fabric, in pieces. `binds` gives `file:path` pairs that a node is to see.

    Raises:
        SuanwangError: INVALID above `MOST_NODES` nodes, and for a name that containerlab can't have.
    """
    if network.nodes > MOST_NODES:
        raise SuanwangError(
            INVALID, f"{network.nodes:,} nodes are too many containers", f"export up to {MOST_NODES:,}, a pod, say"
        )
    if odd := next((title for title in network.names if ":" in title), None):
        raise SuanwangError(INVALID, f"a node is named {odd[:40]!r}", "a colon ends a node's name in containerlab")
    yield f"name: {yaml_word(name)}\ntopology:\n  defaults:\n    network-mode: none\n  nodes:\n"
    for node, title in enumerate(network.names):
        image, role = (host, "host") if node < network.endpoints else (switch, "router")
        yield f"    {yaml_word(title)}:\n      kind: {image.kind}\n      image: {yaml_word(image.name)}\n"
        tier, plane = int(network.tier[node]), int(network.plane[node])
        yield f'      labels: {{role: {role}, tier: "{tier}", plane: "{plane}"}}\n'
        if found := binds(title):
            yield "      binds:\n" + "".join(f"        - {yaml_word(one)}\n" for one in found)
    yield "  links:\n"
    cables = links(network)
    for one, other, port, far_port, rate, latency in zip(
        *(column.tolist() for column in (cables.node, cables.far, cables.port, cables.far_port, cables.rate_bps,
                                         cables.latency_ps)), strict=True,
    ):  # fmt: skip
        ends = (f"{network.names[one]}:eth{port + 1}", f"{network.names[other]}:eth{far_port + 1}")
        yield f"    - endpoints: [{', '.join(map(yaml_word, ends))}]\n"
        yield f"      vars: {{rate: {rate_text(rate)}, latency: {latency_text(latency)}}}\n"


def read_containerlab_fabric(path: Path | str) -> Imported:
    """The fabric in a containerlab file. Raises BAD_TOPOLOGY with the line, UNREADABLE."""
    return parse_containerlab(load(path, LARGEST_FILE_BYTES), str(path))


def parse_containerlab(body: bytes, file: str = "") -> Imported:
    """The fabric in the content of a containerlab file; see `read_containerlab_fabric`.

    Nodes of role `host` are the endpoints. Tiers and planes are those of the labels where every switch has them.
    """
    published = read_containerlab(body, file)
    topology = read_text(body, file)[0]["topology"]
    names = [node.label for node in published.nodes]
    is_switch = np.array([node.roles != ("host",) for node in published.nodes])
    labels = _links(topology, frozenset(names), file)
    if (hosts := len(names) - int(is_switch.sum())) < 2:
        refuse(
            f"{'one node is a host' if hosts else 'no node is a host'}, and a fabric has two at least",
            "hosts are nodes of kind linux without a routing daemon; or give the endpoints the label role: host",
            file, line_of(topology, ("nodes",)),
        )  # fmt: skip
    rates, latencies = [], []
    for index, said in labels:
        rates.append(_said(said.get("rate"), RATE_UNITS, "10Gbps", DEFAULT_RATE_BPS, file, topology, index))
        if rates[-1] < 1:
            refuse(
                f"a link at {said['rate']} carries nothing", "take it out", file, line_of(topology, ("links", index))
            )
        latencies.append(_said(said.get("latency"), LATENCY_UNITS, "500ns", DEFAULT_LATENCY_PS, file, topology, index))
    network, _ = network_of(
        names,
        is_switch,
        [link.a for link in published.links],
        [link.b for link in published.links],
        rates,
        latencies,
        file,
        _of_nodes(topology, names, is_switch, "tier", 0, 1, MOST_TIER, file),
        _of_nodes(topology, names, is_switch, "plane", -1, 0, MOST_PLANE, file),
    )
    return Imported("containerlab", listed=network)


def _links(topology: Any, names: frozenset[str], file: str) -> list[tuple[int, dict[str, Any]]]:
    """Place of each link that joins two nodes, as `read_containerlab` keeps them, and its labels and variables."""
    found = []
    for index, link in enumerate(topology.get("links") or ()):
        ends = [
            str(end["node"] if isinstance(end, dict) else end.partition(":")[0]) for end in link.get("endpoints") or ()
        ]
        leaves = any(end in OUTSIDE and end not in names for end in ends)
        if link.get("type", "veth") == "veth" and not leaves:
            said: dict[str, Any] = {}
            for part in ("labels", "vars"):
                if not isinstance(more := link.get(part) or {}, dict):
                    line = line_of(topology, ("links", index))
                    refuse(f"the {part} of a link are no mapping", f"write {part}: {{rate: 100Gbps}}", file, line)
                said |= more
            found.append((index, said))
    return found


def _said(text: Any, units: dict[str, int], example: str, default: int, file: str, topology: Any, index: int) -> int:
    if text is None:
        return default
    try:
        return parse(str(text), units, example)
    except ValueError as problem:
        refuse(str(problem), f"write it as in {example}", file, line_of(topology, ("links", index)))


def _of_nodes(
    topology: Any, names: list[str], is_switch: Any, label: str, of_hosts: int, least: int, most: int, file: str
) -> list[int] | None:
    """A whole-number label of all switches; None where one lacks it. Raises BAD_TOPOLOGY out of range."""
    found: list[int] = []
    for name, switch in zip(names, is_switch.tolist(), strict=True):
        value = _label(topology, name, label)
        if not switch:
            found.append(of_hosts)
        elif type(value) is int and least <= value <= most:
            found.append(value)
        elif type(value) is int:
            line = line_of(topology, ("nodes", name))
            refuse(f"the {label} of {name[:40]} is {str(value)[:20]}", f"give {least} to {most}", file, line)
        else:
            return None
    return found


def _label(topology: Any, name: str, label: str) -> Any:
    """A label of a node: its own, its group's, its kind's or the default, as containerlab does it; digits as int."""
    own, defaults = _mapping(topology["nodes"][name]), _mapping(topology.get("defaults"))
    group = _mapping(_mapping(topology.get("groups")).get(str(own.get("group") or defaults.get("group"))))
    kind = str(own.get("kind") or group.get("kind") or defaults.get("kind"))
    for source in (own, group, _mapping(_mapping(topology.get("kinds")).get(kind)), defaults):
        if (value := _mapping(source.get("labels")).get(label)) is not None:
            digits = isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10
            return int(value) if digits else value
    return None


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
