"""What carries packets: endpoints, switches and the cables between them, as arrays.

Every topology ends up as a `Network`, whether it was computed from coordinates (`clos.py`, `dragonfly.py`) or read from
a file. Simulators, routing and drawings know nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from suanwang.model.errors import INVALID, NOT_FOUND, SuanwangError

Integers = NDArray[np.int64]
Bools = NDArray[np.bool_]

MOST_PORTS = 2**31 - 1
"""Ports are numbered by 32 bits in the engines."""
MOST_SLOTS = 2**27
"""Endpoints times the most ports of one."""
SLICE_STEPS = 2**27
"""Of compiled loops, about: between two slices an interrupt is heard."""
MOST_COMPARED = 2000
"""Names that a wrong one is compared with, for a hint."""


@dataclass(frozen=True)
class Network:
    """Nodes and directed ports.

    Nodes are numbered endpoints first, `0 .. endpoints - 1`, then switches. An endpoint is what sends and receives: the
    network interface of one accelerator or server, with a port for each plane. A cable is two ports, one in each
    direction; port `p` sends from `source[p]` to `target[p]`, and `peer[p]` is the port of the same cable that sends
    back. The ports of node `n` are `first_port[n] .. first_port[n + 1] - 1`, in the order in which cables were given.

    `tier[n]` is 0 for endpoints, 1 for leaves, and so on up. `plane[n]` is the plane of a switch, -1 for endpoints.
    `folded` says that this is known to be a folded Clos network. Arrays are read-only; a failure is a mask over ports
    that is passed along with the call.
    """

    endpoints: int
    first_port: Integers
    source: Integers
    target: Integers
    peer: Integers
    rate_bps: Integers
    latency_ps: Integers
    tier: Integers
    plane: Integers
    names: Sequence[str]
    folded: bool = False

    @staticmethod
    def build(
        endpoints: int,
        a: ArrayLike,
        b: ArrayLike,
        rate_bps: ArrayLike,
        latency_ps: ArrayLike,
        tier: ArrayLike,
        names: Sequence[str],
        plane: ArrayLike | None = None,
        folded: bool = False,
    ) -> Network:
        """The network of the cables `a[i]` - `b[i]`; rates and latencies are one a cable, or one for all.

        Raises:
            SuanwangError: INVALID for a cable to itself, a node that is not there, a rate that is not above 0.
        """
        tiers = np.asarray(tier, np.int64)
        ends = np.stack([np.asarray(a, np.int64).ravel(), np.asarray(b, np.int64).ravel()])
        cables, nodes = ends.shape[1], len(tiers)
        if 2 * cables > MOST_PORTS:
            raise SuanwangError(
                INVALID, f"{cables:,} cables are more than the {MOST_PORTS // 2:,} that can be numbered"
            )
        if cables and (ends.min() < 0 or ends.max() >= nodes):
            raise SuanwangError(INVALID, f"a cable ends at node {ends.max()}, of {nodes} nodes", hint="number from 0")
        if loops := np.flatnonzero(ends[0] == ends[1]).tolist():
            raise SuanwangError(INVALID, f"cable {loops[0]} joins {names[int(ends[0, loops[0]])]} with itself")
        rates = np.broadcast_to(np.asarray(rate_bps, np.int64), (cables,))
        latencies = np.broadcast_to(np.asarray(latency_ps, np.int64), (cables,))
        if cables and (rates.min() <= 0 or latencies.min() < 0):
            raise SuanwangError(INVALID, "a cable's rate must be above 0, and its latency not below it")
        # Port i sends a -> b of cable i, port cables + i sends back; then all are sorted by node, cables in order.
        source = np.concatenate([ends[0], ends[1]])
        by_cable = np.lexsort((np.tile(np.arange(cables), 2), source))
        position = np.empty(2 * cables, np.int64)
        position[by_cable] = np.arange(2 * cables)
        back = np.concatenate([np.arange(cables) + cables, np.arange(cables)])
        first = np.zeros(nodes + 1, np.int64)
        np.cumsum(np.bincount(source, minlength=nodes), out=first[1:])
        network = Network(
            endpoints=endpoints,
            first_port=first,
            source=source[by_cable],
            target=np.concatenate([ends[1], ends[0]])[by_cable],
            peer=position[back[by_cable]],
            rate_bps=np.concatenate([rates, rates])[by_cable],
            latency_ps=np.concatenate([latencies, latencies])[by_cable],
            tier=tiers,
            plane=np.full(nodes, -1, np.int64) if plane is None else np.asarray(plane, np.int64),
            names=names,
            folded=folded,
        )
        for array in (network.first_port, network.source, network.target, network.peer, network.rate_bps,
                      network.latency_ps, network.tier, network.plane):  # fmt: skip
            array.setflags(write=False)
        return network

    @property
    def nodes(self) -> int:
        """Endpoints and switches together."""
        return len(self.tier)

    @property
    def switches(self) -> int:
        """How many nodes are switches."""
        return self.nodes - self.endpoints

    @property
    def ports(self) -> int:
        """Directed ports: two a cable."""
        return len(self.source)

    @cached_property
    def numbers(self) -> dict[str, int]:
        """The node of each name."""
        return {name: number for number, name in enumerate(self.names)}

    def attachment(self, up: Bools | None = None) -> tuple[Integers, Integers]:
        """The group of each endpoint (-1: cut off), and one endpoint of each group.

        Raises:
            SuanwangError: INVALID when an endpoint is joined with another endpoint, or has ports without end.
        """
        links = int(self.first_port[self.endpoints])
        source, target = self.source[:links], self.target[:links]
        if links and target.min() < self.endpoints:
            raise SuanwangError(INVALID, "an endpoint is joined with an endpoint", hint="put a switch between them")
        alive = np.ones(links, np.bool_) if up is None else up[:links] & up[self.peer[:links]]
        most = int(np.diff(self.first_port[: self.endpoints + 1]).max(initial=1))
        if self.endpoints * most > MOST_SLOTS:
            raise SuanwangError(INVALID, f"an endpoint has {most:,} ports", hint="make it a switch")
        slots = np.arange(links) - self.first_port[source]
        leaves = np.full((self.endpoints, most), -1, np.int64)
        leaves[source[alive], slots[alive]] = target[alive]
        leaves.sort(axis=1)
        kinds, sample, group = np.unique(leaves, axis=0, return_index=True, return_inverse=True)
        cut_off = (kinds < 0).all(axis=1)
        number = np.cumsum(~cut_off) - 1
        number[cut_off] = -1
        return number[group.reshape(-1)], sample[~cut_off]

    def distances(self, sample: Integers, alive: Bools, layered: bool) -> NDArray[np.int32]:
        """Twice the hops from each switch to each of the endpoints in `sample`, over ports that are alive, and 1 more
        if the way begins upwards; -1 where there is none. `layered`: ways lead up, then down, and never up again.
        """
        from suanwang.fabric.routing.routes_kernels import distances

        tier = self.tier[self.endpoints :]
        order = np.argsort(tier, kind="stable")
        found = np.empty((len(sample), self.switches), np.int32)
        step = max(1, SLICE_STEPS // (self.ports + 1))
        for begin in range(0, len(sample), step):
            part = sample[begin : begin + step]
            found[begin : begin + step] = distances(
                self.endpoints, self.first_port, self.target, alive, part, tier, order, layered
            )
        return found

    @cached_property
    def layered(self) -> bool:
        """Whether tiers are layers: no cable joins switches of one tier, and while nothing has failed every endpoint
        that can be reached at all can be reached up and then down, as in folded Clos networks.
        """
        if self.folded:
            return True
        inner = (self.source >= self.endpoints) & (self.target >= self.endpoints)
        if bool((self.tier[self.source[inner]] == self.tier[self.target[inner]]).any()):
            return False
        sample, alive = self.attachment()[1], np.ones(self.ports, np.bool_)
        leaves = np.unique(self.target[: self.first_port[self.endpoints]]) - self.endpoints
        up_and_down, any_way = (self.distances(sample, alive, layered)[:, leaves] >= 0 for layered in (True, False))
        return np.array_equal(up_and_down, any_way)

    def node(self, name: str) -> int:
        """The node of that name.

        Raises:
            SuanwangError: NOT_FOUND, with the nearest name.
        """
        if (found := self.numbers.get(name)) is not None:
            return found
        shown = [*self.names[:MOST_COMPARED], *self.names[self.endpoints : self.endpoints + MOST_COMPARED]]
        near = get_close_matches(name, shown, n=1)
        hint = f"did you mean {near[0]}?" if near else f"names look like {self.names[0]} and {self.names[-1]}"
        raise SuanwangError(NOT_FOUND, f"no node is named {name!r}", hint=hint)

    def ports_between(self, one: int, other: int) -> Integers:
        """Ports that send from one node to the other; several if cables run in parallel."""
        first = int(self.first_port[one])
        return first + np.flatnonzero(self.target[first : int(self.first_port[one + 1])] == other)
