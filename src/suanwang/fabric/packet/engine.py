"""The packet engine's outside: slices of the compiled loop, and changes of the network in between."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from suanwang.fabric.network import Network
from suanwang.fabric.packet import layout as at
from suanwang.fabric.packet.layout import MOST_PATIENCE
from suanwang.fabric.packet.memory import Memory, addresses, follow, grow, packets_of, prepare, set_rates
from suanwang.fabric.packet.result import PacketResult
from suanwang.fabric.packet.settings import Settings
from suanwang.fabric.routing.policy import Router, router_for
from suanwang.fabric.routing.routes import Routes, unreachable
from suanwang.fabric.traffic import FOREVER_PS, Traffic
from suanwang.model.errors import INVALID, SuanwangError, code
from suanwang.model.reading import TOO_LARGE

DISCONNECTED = code("DISCONNECTED", "no path joins two endpoints that want to talk")

Integers = NDArray[np.int64]
Progress = Callable[[int, int], bool]

SLICE_EVENTS = 500_000
FIRST_ROOM = 1 << 21
"""Packets on their way for which room is made at first; more is made as they come."""
MOST_IDLE_TIMEOUTS = 4
"""Of the longest, in which nothing arrives anywhere, until a run is given up."""
LEAST_RATE_BPS = 10**6
"""Slower ports are refused: picoseconds of a large packet would not fit."""


@dataclass(frozen=True, slots=True)
class Change:
    """From `at_ps` on, the ports carry `factor` of their rate: 0 is a cut, 1 as built.

    What is queued at a port that is cut, or on its wire, is lost. Routing follows after `reconvergence_ps`.
    """

    at_ps: int
    ports: tuple[int, ...]
    factor: float
    reconvergence_ps: int = 0


@dataclass(frozen=True, slots=True)
class Limits:
    """When to stop short: simulated time, events, memory. A run that stopped short is not `complete`."""

    until_ps: int = FOREVER_PS
    events: int = 1 << 60
    memory_bytes: int = 8 * 2**30


def simulate(
    network: Network,
    traffic: Traffic,
    settings: Settings | None = None,
    changes: Sequence[Change] = (),
    limits: Limits | None = None,
    progress: Progress | None = None,
    router: Router | None = None,
) -> PacketResult:
    """Send the traffic through the network, packet by packet.

    Changes at time 0 are known to routing from the start. `progress(flows done, flows)` is called now and then; the run
    stops when it returns False. `router` makes the routes in place of `router_for(settings.balance)`. Equal arguments
    give equal results.

    Raises:
        SuanwangError: TOO_LARGE when memory would not do, DISCONNECTED when a flow has no path at the start.
    """
    run = _Run(network, traffic, settings or Settings(), limits or Limits(), router)
    return run.all(sorted(changes, key=lambda change: change.at_ps), progress)


@dataclass(slots=True)
class _Run:
    network: Network
    traffic: Traffic
    settings: Settings
    limits: Limits
    router: Router | None
    rate: Integers = field(init=False)
    known: Integers = field(init=False)
    memory: Memory = field(init=False)

    def all(self, changes: Sequence[Change], progress: Progress | None) -> PacketResult:
        self.rate = self.network.rate_bps.copy()
        for change in changes:
            if change.at_ps <= 0:
                ports, rate = self._rates(change)
                self.rate[ports] = rate
        self.known = self.rate.copy()
        self._start()
        later = [change for change in changes if change.at_ps > 0]
        stops = [(change.at_ps, self._change, change) for change in later]
        stops += [(change.at_ps + change.reconvergence_ps, self._reroute, change) for change in later]
        for when, act, change in sorted(stops, key=lambda stop: stop[0]):
            if self._until(when, progress):
                break
            act(when, change)
        else:
            self._until(FOREVER_PS, progress)
        return PacketResult.of(self.network, self.traffic, self.memory)

    def _start(self) -> None:
        routes = self._routes()
        if max(self.traffic.source.max(), self.traffic.target.max()) >= self.network.endpoints:
            raise SuanwangError(INVALID, f"flows name endpoints beyond the network's {self.network.endpoints:,}")
        lost = unreachable(self.network, routes, self.traffic.source, self.traffic.target, self._up(self.rate))
        if len(lost):
            names = [self.network.names[int(end[lost[0]])] for end in (self.traffic.source, self.traffic.target)]
            raise SuanwangError(
                DISCONNECTED,
                f"{len(lost)} of {len(self.traffic)} flows have no path, as {names[0]} to {names[1]}",
                hint="heal a link, or take these flows out; rails and trees of some designs never meet",
            )
        room = min(int(packets_of(self.traffic, self.settings).sum()), FIRST_ROOM) + 4096
        self._check_room(room, routes.table.nbytes)
        self.memory = prepare(self.network, self.traffic, self.settings, routes, self.rate, room)

    def _check_room(self, room: int, tables: int) -> None:
        packets = int(packets_of(self.traffic, self.settings).sum())
        fixed = addresses(self.network, self.traffic, packets)[at.PACKETS_AT] + len(self.traffic) * at.REAL_WIDTH
        needed = 8 * (fixed + room * at.PACKET_WIDTH) + 3 * tables
        if needed > self.limits.memory_bytes:
            raise SuanwangError(
                TOO_LARGE,
                f"{packets:,} packets of {len(self.traffic):,} flows over {self.network.ports:,} ports need about "
                f"{needed / 2**20:,.0f} MiB of memory; {self.limits.memory_bytes / 2**20:,.0f} MiB are allowed",
                hint="allow more, send less, use a larger MTU, or the flow engine",
            )

    def _until(self, when: int, progress: Progress | None) -> bool:
        """Run until `when`; True when the run is over, for whatever reason."""
        from suanwang.fabric.packet.loop_kernels import run

        memory = self.memory
        until = min(when, self.limits.until_ps)
        patience = MOST_IDLE_TIMEOUTS * (int(memory.m[at.LEAST_PATIENCE]) << MOST_PATIENCE)
        delivered, since = -1, 0
        while True:
            m = memory.m
            left = self.limits.events - int(m[at.EVENTS])
            why = run(m, memory.r, memory.table, memory.sets, memory.turn, until, min(SLICE_EVENTS, left))
            if progress is not None and not progress(len(self.traffic) - int(m[at.OPEN]), len(self.traffic)):
                return True
            if why == at.TIME_UP and when <= self.limits.until_ps:
                return False
            if why == at.TIME_UP:
                m[at.NOW] = until
            if why not in (at.NO_ROOM, at.ENOUGH_EVENTS) or left <= SLICE_EVENTS:
                return True
            if why == at.NO_ROOM:
                self._make_room(2 * (len(m) - int(m[at.PACKETS_AT])) // at.PACKET_WIDTH)
            if int(m[at.DELIVERED]) != delivered:
                delivered, since = int(m[at.DELIVERED]), int(m[at.NOW])
            # Nothing arrives any more: only timers are left. Before a change, time itself goes on to it.
            if when == FOREVER_PS and int(m[at.NOW]) - since > patience:
                return True

    def _make_room(self, packets: int) -> None:
        """Room for so many packets on their way at least."""
        while (len(self.memory.m) - int(self.memory.m[at.PACKETS_AT])) // at.PACKET_WIDTH < packets:
            self._check_room(packets, self.memory.table.nbytes)
            grow(self.memory)

    def _room_for_all(self) -> None:
        """Every flow may send one packet more, at once."""
        m = self.memory.m
        used = (len(m) - int(m[at.PACKETS_AT])) // at.PACKET_WIDTH - int(m[at.FREE_PACKETS])
        self._make_room(used + len(self.traffic) + 64)

    def _rates(self, change: Change) -> tuple[Integers, Integers]:
        """The ports of a change, and what they carry from then on."""
        ports = np.asarray(change.ports, np.int64)
        if len(ports) and not 0 <= ports.min() <= ports.max() < self.network.ports:
            raise SuanwangError(INVALID, "a change names a port that is not there")
        if not 0 <= change.factor <= 1:
            raise SuanwangError(INVALID, f"a port can't carry {change.factor} of its rate", hint="give 0 to 1")
        rate = (self.network.rate_bps[ports] * change.factor).astype(np.int64)
        if change.factor > 0 and len(ports) and rate.min() < LEAST_RATE_BPS:
            raise SuanwangError(
                INVALID, f"a port at {rate.min()} bit/s is slower than the {LEAST_RATE_BPS:,} supported", "cut it: 0"
            )
        return ports, rate

    def _up(self, rate: Integers) -> NDArray[np.bool_]:
        found: NDArray[np.bool_] = (rate > 0) & (rate[self.network.peer] > 0)
        return found

    def _routes(self) -> Routes:
        """What routing makes of the rates that it knows."""
        find = self.router or router_for(self.settings.balance)
        return find(self.network, self._up(self.known), self.known)

    def _change(self, when: int, change: Change) -> None:
        from suanwang.fabric.packet.loop_kernels import flush, wake

        ports, rate = self._rates(change)
        self.rate[ports] = rate
        memory = self.memory
        set_rates(memory, self.network, self.rate)
        memory.m[at.NOW] = max(memory.m[at.NOW], when)
        self._room_for_all()
        for port in change.ports:
            address = int(memory.m[at.PORTS_AT]) + port * at.PORT_WIDTH
            if self.rate[port] == 0:
                flush(memory.m, memory.r, address)
            else:
                wake(memory.m, address)
        self._wake_flows()

    def _reroute(self, when: int, change: Change) -> None:
        """Routing learns of a change; others, made since, it learns of in their time."""
        ports, rate = self._rates(change)
        self.known[ports] = rate
        memory = self.memory
        memory.m[at.NOW] = max(memory.m[at.NOW], when)
        follow(memory, self.network, self.traffic, self.settings, self._routes(), self.rate)
        self._room_for_all()
        self._wake_flows()

    def _wake_flows(self) -> None:
        from suanwang.fabric.packet.loop_kernels import wake_flows

        memory = self.memory
        wake_flows(memory.m, memory.r, int(memory.m[at.FLOWS_AT]), len(self.traffic))
