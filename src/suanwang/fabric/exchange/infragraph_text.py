"""Writing InfraGraph files; the format is told in `infragraph.py`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from suanwang.fabric.clos import TIER_NAMES
from suanwang.fabric.exchange.listed import Links, links
from suanwang.fabric.exchange.words import yaml_word
from suanwang.fabric.network import Network
from suanwang.model.errors import INVALID, SuanwangError


def infragraph_text(name: str, network: Network, per_server: int = 1) -> Iterator[str]:
    """The InfraGraph file of a network, in pieces. Endpoint e is nic e % per_server of server e // per_server.

    Cables of a node that go on evenly are one edge. Raises INVALID when servers do not share out the endpoints.
    """
    if network.endpoints % per_server:
        raise SuanwangError(
            INVALID, f"servers of {per_server} do not share out {network.endpoints} endpoints", "correct perServer"
        )
    groups = _Groups(network, per_server)
    yield f"name: {yaml_word(name)}\n"
    yield f"description: {network.endpoints} endpoints, {network.switches} switches\ndevices:\n"
    yield _device(
        "server", f"a server with {per_server} accelerators", (("xpu", "xpu", per_server), ("nic", "nic", per_server))
    )
    for group, ports in groups.devices():
        yield _device(group, "a switch", (("asic", "switch", 1), ("port", "port", ports)))
    yield f"instances:\n  - {{name: server, device: server, count: {network.endpoints // per_server}}}\n"
    yield from (f"  - {{name: {group}, device: {group}-switch, count: {count}}}\n" for group, count in groups.counts())
    found = links(network)
    kinds = sorted(set(zip(found.rate_bps.tolist(), found.latency_ps.tolist(), strict=True)))
    yield "links:\n" + "".join(_kind(rate, latency) for rate, latency in kinds)
    yield "edges:\n"
    yield from _edges(found, groups)


def _device(name: str, description: str, parts: tuple[tuple[str, str, int], ...]) -> str:
    title = name if name == "server" else f"{name}-switch"
    (inner, _, _), (outer, _, _) = parts
    return (
        f"  - name: {title}\n    description: {description}\n    components:\n"
        + "".join(f"      - {{name: {part}, count: {count}, choice: {choice}}}\n" for part, choice, count in parts)
        + "    links:\n      - {name: internal}\n    edges:\n"
        + f"      - {{ep1: {{component: {inner}}}, ep2: {{component: {outer}}}, "
        + f"scheme: {'one2one' if name == 'server' else 'many2many'}, link: internal}}\n"
    )


def _link_name(rate: int, latency: int) -> str:
    return f"{rate / 1e9:.9g}G-{latency / 1e3:.9g}ns".replace(".", "_")


def _kind(rate: int, latency: int) -> str:
    return (
        f"  - name: {_link_name(rate, latency)}\n    physical:\n"
        f"      bandwidth: {{choice: gigabits_per_second, gigabits_per_second: {rate / 1e9:.12g}}}\n"
        f"      latency: {{choice: ns, ns: {latency / 1e3:.12g}}}\n"
    )


class _Groups:
    """Switches of one tier and plane are one instance; each node is a number within its own."""

    def __init__(self, network: Network, per_server: int) -> None:
        self.network, self.per_server = network, per_server
        several = int(network.plane.max(initial=0)) > 0
        self.members: dict[str, int] = {}
        self.ports: dict[str, int] = {}
        self.of: list[tuple[str, int]] = []
        degree = (network.first_port[1:] - network.first_port[:-1]).tolist()
        for node in range(network.endpoints, network.nodes):
            tier = int(network.tier[node])
            group = (f"p{int(network.plane[node])}-" if several else "") + (
                TIER_NAMES[tier - 1] if 1 <= tier <= len(TIER_NAMES) else f"tier{tier}"
            )
            number = self.members.get(group, 0)
            self.members[group] = number + 1
            self.ports[group] = max(self.ports.get(group, 1), degree[node])
            self.of.append((group, number))

    def devices(self) -> list[tuple[str, int]]:
        """Name and ports of each kind of switch."""
        return list(self.ports.items())

    def counts(self) -> list[tuple[str, int]]:
        """Name and number of switches of each kind."""
        return list(self.members.items())

    def slot(self, node: int, port: int) -> tuple[str, int, str, int]:
        """A node's port as instance, index, component, index."""
        if node < self.network.endpoints:
            server, nic = divmod(node, self.per_server)
            return "server", server, "nic", nic
        group, number = self.of[node - self.network.endpoints]
        return group, number, "port", port


def _edges(found: Links, groups: _Groups) -> Iterator[str]:
    """An edge for each run of cables of one link whose four numbers each stay or go up by one."""
    columns = (found.node, found.far, found.port, found.far_port, found.rate_bps, found.latency_ps)
    run: list[Any] | None = None
    for one, other, port, far_port, rate, latency in zip(*(column.tolist() for column in columns), strict=True):
        (a, i, c, p), (b, j, d, q) = groups.slot(one, port), groups.slot(other, far_port)
        label, numbers = (a, c, b, d, rate, latency), (i, p, j, q)
        if run is not None and run[0] == label:
            step = tuple(new - old for new, old in zip(numbers, run[2], strict=True))
            if step == run[3] or (run[3] is None and _even(step)):
                run[2], run[3] = numbers, step
                continue
        if run is not None:
            yield _edge(run)
        run = [label, numbers, numbers, None]
    if run is not None:
        yield _edge(run)


def _even(step: tuple[int, ...]) -> bool:
    """Whether each end goes on by one in one of its numbers, or stays: then slices say it."""
    return all(sorted(step[at : at + 2]) in ([0, 1], [0, 0]) for at in (0, 2)) and any(step)


def _edge(run: list[Any]) -> str:
    (a, c, b, d, rate, latency), first, last, _ = run

    def part(name: str, at: int) -> str:
        stop = f":{last[at] + 1}" if last[at] > first[at] else ""
        return f'"{name}[{first[at]}{stop}]"'

    scheme = "many2many" if first[:2] == last[:2] or first[2:] == last[2:] else "one2one"
    return (
        f"  - ep1: {{instance: {part(a, 0)}, component: {part(c, 1)}}}\n"
        f"    ep2: {{instance: {part(b, 2)}, component: {part(d, 3)}}}\n"
        f"    scheme: {scheme}\n    link: {_link_name(rate, latency)}\n"
    )
