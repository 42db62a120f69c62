"""What a fabric in the lab is made of: the network, its cabling list, the switches' files, the hosts' addresses.

All of it follows from the network by what `suanwang fabric configure` writes, so that what runs is what is delivered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from ipaddress import ip_interface, ip_network

import numpy as np
from numpy.typing import NDArray

from suanwang.fabric.cabling.cables import Cable, network_cables, port_namer
from suanwang.fabric.cabling.neighbours import End, ends
from suanwang.fabric.clos import Clos, Tier
from suanwang.fabric.configure.frr import configure_frr
from suanwang.fabric.configure.plan import Options, Plan, Switch
from suanwang.fabric.network import Network
from suanwang.lab.fabric import Host
from suanwang.lab.links import INTERFACE_NAME_LIMIT
from suanwang.model.errors import INVALID, NOT_FOUND, SuanwangError

Bools = NDArray[np.bool_]

MOST_NODES, MOST_CABLES = 96, 400
"""A router takes about 40 MB; beyond these a lab is no longer small."""
RATE_BPS = 200 * 10**9


def small_fabric() -> Network:
    """Two planes of two spines and four leaves, two cables between each two, a host on each leaf of both planes.

    The bundle between the last leaf and the last spine of each plane is degraded, one cable instead of two: what leads
    there is weighted unequally from the start.
    """
    clos = Clos((Tier(1, 1, RATE_BPS), Tier(4, 2, RATE_BPS, bundle=2)), planes=2)
    network = clos.network()
    gone = []
    for plane in range(clos.planes):
        leaf, spine = clos.first(plane, 1) + clos.count(1) - 1, clos.first(plane, 2) + clos.count(2) - 1
        gone.append(int(network.ports_between(leaf, spine)[-1]))
    return without(network, gone)


def without(network: Network, ports: Sequence[int]) -> Network:
    """The network less the cables at these ports."""
    kept = np.flatnonzero(np.arange(network.ports) < network.peer)
    kept = kept[~np.isin(kept, ports) & ~np.isin(network.peer[kept], ports)]
    return Network.build(
        network.endpoints, network.source[kept], network.target[kept], network.rate_bps[kept], network.latency_ps[kept],
        network.tier, network.names, network.plane,
    )  # fmt: skip


@dataclass(frozen=True)
class Setting:
    """A network that can be built here, and everything that is put into it.

    Raises:
        SuanwangError: INVALID for one too large for a lab, or that can't be configured.
    """

    network: Network
    options: Options

    def __post_init__(self) -> None:
        net = self.network
        if net.nodes > MOST_NODES or net.ports // 2 > MOST_CABLES:
            raise SuanwangError(
                INVALID,
                f"{net.nodes:,} nodes and {net.ports // 2:,} cables are no small fabric",
                hint=f"a lab takes up to {MOST_NODES} nodes and {MOST_CABLES} cables; use `fabric simulate` for others",
            )
        if self.options.sessions != "link":
            raise SuanwangError(INVALID, "a lab has a session per link", "FRR can't weigh links with one per pair")
        if int(np.diff(net.first_port[: net.endpoints + 1]).min(initial=1)) < 1:
            raise SuanwangError(INVALID, "a host without a cable", hint="every endpoint needs a leaf")

    @cached_property
    def switches(self) -> tuple[Switch, ...]:
        """What each switch is told."""
        return tuple(Plan(self.network, self.options).switches())

    @cached_property
    def configurations(self) -> dict[str, str]:
        """frr.conf of each switch."""
        return configure_frr(self.network, self.options)

    @cached_property
    def cables(self) -> tuple[Cable, ...]:
        """The cabling list, ports named `swp1` and on."""
        found = tuple(network_cables(self.network, port_namer("swp")))
        for end in (end for cable in found for end in ends(cable)):
            if len(end.port) > INTERFACE_NAME_LIMIT:
                raise SuanwangError(INVALID, f"{end.port!r} is too long for an interface's name")
        return found

    @cached_property
    def port_of(self) -> dict[End, int]:
        """The port of the network behind each name."""
        net = self.network
        return {
            End(net.names[node], f"swp{number + 1}"): int(net.first_port[node]) + number
            for node in range(net.nodes)
            for number in range(int(net.first_port[node + 1] - net.first_port[node]))
        }

    @cached_property
    def hosts(self) -> tuple[Host, ...]:
        """Hosts with an address on each port, and the prefixes of each plane behind the gateway of that plane."""
        announced: dict[int, list[str]] = {}
        ports: dict[int, dict[str, tuple[str, str, tuple[str, ...]]]] = {}
        for switch in self.switches:
            if switch.announced:
                announced.setdefault(switch.place.plane, []).append(switch.announced[0])
        for switch in self.switches:
            for index, port in enumerate(switch.hosts):
                gateway = switch.gateway(index)[0].split("/")[0]
                place = (switch.host(index)[0], gateway, tuple(announced[switch.place.plane]))
                ports.setdefault(port.peer, {})[f"swp{port.peer_number}"] = place
        return tuple(Host(self.network.names[node], ports[node]) for node in range(self.network.endpoints))

    @cached_property
    def prefixes(self) -> dict[str, tuple[str, int]]:
        """IPv4 prefix -> the leaf that announces it and an endpoint that hangs there."""
        return {
            switch.announced[0]: (switch.name, switch.hosts[0].peer) for switch in self.switches if switch.announced
        }

    def prefix_of(self, address: str) -> str:
        """The announced prefix that a host's address is in."""
        place = ip_interface(address).ip
        return next(prefix for prefix in self.prefixes if place in ip_network(prefix))

    def plane_of(self, switch: str) -> int:
        """The plane of a switch."""
        return max(int(self.network.plane[self.network.node(switch)]), 0)

    def chosen(self, word: str) -> tuple[Cable, ...]:
        """The cables that `NODE:PORT` (that one), `NODE/NODE` (all between two), `NODE` (all of one) or `plane0` name.

        Several, separated by commas, are taken together.

        Raises:
            SuanwangError: NOT_FOUND, with names that are there.
        """
        found: dict[Cable, None] = {}
        for part in word.split(","):
            matching = [cable for cable in self.cables if self._matches(part.strip(), cable)]
            if not matching:
                example = next(cable for cable in reversed(self.cables))
                raise SuanwangError(
                    NOT_FOUND,
                    f"no cable is {part.strip()!r}",
                    f"write {example.a_device}:{example.a_port}, {example.a_device}/{example.b_device}, "
                    f"{example.b_device}, or plane0",
                )
            found |= dict.fromkeys(matching)
        return tuple(found)

    def _matches(self, word: str, cable: Cable) -> bool:
        both = {cable.a_device, cable.b_device}
        if ":" in word:
            return tuple(word.split(":", 1)) in ends(cable)
        if "/" in word:
            return set(word.split("/", 1)) == both
        if word.startswith("plane") and word[5:].isascii() and word[5:].isdigit():
            # The switches of a plane lose each other; hosts keep their links to the leaves.
            return cable.plane == int(word[5:]) and cable.tier > 1
        return word in both

    def up(self, cut: Sequence[Cable]) -> Bools:
        """Which ports are up when these cables are cut."""
        mask = np.ones(self.network.ports, np.bool_)
        for cable in cut:
            mask[[self.port_of[end] for end in ends(cable)]] = False
        return mask
