"""Next hops on any network: all ports on shortest paths, towards groups of endpoints that hang on the same switches.

Routing knows groups, not endpoints: those attached to the same switches by links that are up are one group, so tables
stay small (544 switches and 256 groups for 61,440 accelerators). A Clos network gives the same by arithmetic
(`Clos.next_hops`); this is for any topology and any failures.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from suanwang.fabric.network import SLICE_STEPS, Network
from suanwang.fabric.routing.sets_kernels import ATTACHED, UNREACHABLE
from suanwang.model.errors import INVALID, SuanwangError

Integers = NDArray[np.int64]
Bools = NDArray[np.bool_]

MOST_ENTRIES = 2**30


@dataclass(frozen=True)
class Routes:
    """Sets of next hops.

    `group[e]` is the group of endpoint e, -1 if none of its links is up. `table[s, g]` is, at switch s (its node number
    less `endpoints`), the set of ports that lead to group g; ATTACHED where the group hangs on that switch, UNREACHABLE
    where there is no way. Set i holds the ports `port[first[i] : first[i + 1]]`, with the share of traffic that each
    shall get in `weight`. `reach[s, g]`, where it is known, is the bandwidth from switch s to group g: by it endpoints
    with ports in several planes share traffic out.
    """

    group: Integers
    table: NDArray[np.int32]
    first: Integers
    port: Integers
    weight: Integers
    reach: NDArray[np.float64] | None = None

    @property
    def groups(self) -> int:
        """How many groups there are."""
        return int(self.table.shape[1])

    def ports(self, network: Network, switch: int, endpoint: int) -> Integers:
        """Ports of a switch (a node) towards an endpoint, its own ports to it included; empty if there is no way."""
        group = int(self.group[endpoint])
        entry = int(self.table[switch - network.endpoints, group]) if group >= 0 else UNREACHABLE
        if entry == ATTACHED:
            return network.ports_between(switch, endpoint)
        return self.port[self.first[entry] : self.first[entry + 1]] if entry >= 0 else np.empty(0, np.int64)


def shortest(network: Network, up: Bools | None = None) -> Routes:
    """All shortest paths over ports that are up in both directions; every port of a set has weight 1.

    On layered networks (`Network.layered`) paths lead up, then down, and never up again: those that BGP finds with the
    AS numbers of RFC 7938, so that after failures some pairs may have none; where a way leads down, none that leads up
    is taken. On others the fewest hops decide.

    Raises:
        SuanwangError: INVALID when the table would have more than `MOST_ENTRIES` entries.
    """
    from suanwang.fabric.routing.routes_kernels import next_hop_sets
    from suanwang.fabric.routing.sets_kernels import no_sets

    group, sample = network.attachment(up)
    if network.switches * len(sample) > MOST_ENTRIES:
        raise SuanwangError(
            INVALID,
            f"routes of {network.switches:,} switches to {len(sample):,} groups of endpoints need "
            f"{network.switches * len(sample) * 8 / 2**30:.0f} GiB",
            hint="simulate a smaller part, or use the flow engine's classes",
        )
    alive = np.ones(network.ports, np.bool_) if up is None else up & up[network.peer]
    tier = network.tier[network.endpoints :]
    distance = network.distances(sample, alive, network.layered)
    table, sets = np.empty((network.switches, len(sample)), np.int32), no_sets()
    step = max(1, SLICE_STEPS * network.switches // (network.ports * len(sample) + 1))
    for begin in range(0, network.switches, step):
        sets = next_hop_sets(
            network.endpoints, network.first_port, network.target, alive, tier, network.layered, distance, table, sets,
            begin, min(begin + step, network.switches),
        )  # fmt: skip
    found, used = sets.counts
    first, port = sets.first[: found + 1].copy(), sets.word[:used].copy()
    return Routes(group, table, first, port, np.ones(len(port), np.int64))


def unreachable(
    network: Network, routes: Routes, source: Integers, target: Integers, up: Bools | None = None
) -> Integers:
    """Which of the pairs of endpoints have no path, over ports that are up."""
    if routes.groups == 0:
        return np.arange(len(source))
    links = int(network.first_port[network.endpoints])
    leaf = network.target[:links] - network.endpoints
    group = routes.group[target]
    found = np.zeros(len(source), np.bool_)
    for slot in range(int(np.diff(network.first_port[: network.endpoints + 1]).max(initial=1))):
        port = network.first_port[source] + slot
        there = port < network.first_port[source + 1]
        if up is not None:
            there &= up[np.where(there, port, 0)]
        found |= there & (routes.table[leaf[np.where(there, port, 0)], np.maximum(group, 0)] != UNREACHABLE)
    return np.flatnonzero(~found | (group < 0) | (routes.group[source] < 0))
