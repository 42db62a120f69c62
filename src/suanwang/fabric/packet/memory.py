"""The engine's memory made ready: network, flows and settings written into one array (see `layout.py`)."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, log2

import numpy as np
from numpy.typing import NDArray

from suanwang.fabric.network import Network
from suanwang.fabric.packet import layout as at
from suanwang.fabric.packet.settings import BALANCES, CONGESTIONS, FULLS, RECOVERIES, Settings
from suanwang.fabric.routing.routes import Routes
from suanwang.fabric.routing.sets_kernels import ATTACHED, UNREACHABLE
from suanwang.fabric.traffic import Traffic
from suanwang.model.errors import INVALID, SuanwangError

Integers = NDArray[np.int64]
Reals = NDArray[np.float64]

PS = 10**12
RING_BUCKETS = 1 << 15
MOST_SLOTS = 256
FULL_SHARE = 1 << 20
"""Of a plane that carries all that an endpoint can send there."""
REFERENCE_PRODUCT_BYTES = 150_000
"""Bandwidth times round trip for which NSCC states its constants: 100 Gbit/s and 12 us."""


@dataclass(slots=True)
class Memory:
    """All arrays of a run: `m` and the flows' reals `r`, and what routing says: `table`, `sets`, `turn`."""

    m: Integers
    r: Reals
    table: NDArray[np.int32]
    sets: Integers
    turn: NDArray[np.int32]

    @property
    def bytes(self) -> int:
        """What the arrays take."""
        return sum(array.nbytes for array in (self.m, self.r, self.table, self.sets, self.turn))

    def rows(self, start: int, count: int, width: int) -> Integers:
        """`count` rows from an address on, as a view."""
        return self.m[start : start + count * width].reshape(count, width)


def packets_of(traffic: Traffic, settings: Settings) -> Integers:
    """How many packets each flow is."""
    found: Integers = -(-traffic.size_bytes // settings.mtu_bytes)
    return found


def aligned(words: int) -> Integers:
    """Zeros that begin at a line of the processor's cache, so that no row lies on more lines than it must."""
    found = np.zeros(words + at.PORT_WIDTH, np.int64)
    skip = -found.ctypes.data // 8 % at.PORT_WIDTH
    return found[skip : skip + words]


def addresses(network: Network, traffic: Traffic, packets: int) -> dict[int, int]:
    """Where each part of the memory begins; the last is its length without packets on their way."""
    flows = len(traffic)
    places = {at.PORTS_AT: at.HEADER_WIDTH}
    places[at.FLOWS_AT] = places[at.PORTS_AT] + network.ports * at.PORT_WIDTH
    places[at.NOTES_AT] = places[at.FLOWS_AT] + flows * at.FLOW_WIDTH
    places[at.RING_AT] = places[at.NOTES_AT] + packets
    places[at.FAR_AT] = places[at.RING_AT] + RING_BUCKETS
    # A timer for each flow, and what lies beyond the ring: a slow port and the packet on its cable.
    places[at.TRIGGERS_AT] = places[at.FAR_AT] + 2 * (flows + 2 * network.ports + 2)
    triggers = places[at.TRIGGERS_AT] + at.TRIGGER_WIDTH * len(traffic.trigger_count)
    places[at.PACKETS_AT] = -(-triggers // at.PACKET_WIDTH) * at.PACKET_WIDTH
    return places


def prepare(
    network: Network, traffic: Traffic, settings: Settings, routes: Routes, rate_bps: Integers, room: int
) -> Memory:
    """Memory for a run, with `room` rows for packets on their way; routes are written by `follow`."""
    count = packets_of(traffic, settings)
    if count.max() > at.MOST_PACKETS:
        raise SuanwangError(INVALID, f"a flow of {count.max():,} packets", hint=f"at most {at.MOST_PACKETS:,}")
    planes = np.diff(network.first_port[: network.endpoints + 1])
    if planes.max() > at.MOST_PLANES:
        raise SuanwangError(INVALID, f"an endpoint with {planes.max()} ports", hint=f"at most {at.MOST_PLANES}")
    places = addresses(network, traffic, int(count.sum()))
    m = aligned(places[at.PACKETS_AT] + room * at.PACKET_WIDTH)
    for place, value in {**places, **_constants(network, settings, routes)}.items():
        m[place] = value
    memory = Memory(
        m, np.zeros(len(traffic) * at.REAL_WIDTH), np.zeros((1, 1), np.int32), m[:0], m[:0].astype(np.int32)
    )
    m[at.OPEN] = len(traffic)
    m[at.RANDOM] = np.random.SeedSequence(settings.seed).generate_state(1, np.uint64)[0] >> np.uint64(1) | np.uint64(1)
    _free_rows(m, places[at.PACKETS_AT], room, 0)
    ports = memory.rows(places[at.PORTS_AT], network.ports, at.PORT_WIDTH)
    ports[:, at.LATENCY] = network.latency_ps
    ports[:, at.PEER] = places[at.PORTS_AT] + network.peer * at.PORT_WIDTH
    set_rates(memory, network, rate_bps)
    _flows(memory, network, traffic, settings, count)
    _triggers(memory, traffic)
    follow(memory, network, traffic, settings, routes, rate_bps)
    return memory


def _free_rows(m: Integers, start: int, count: int, then: int) -> None:
    rows = start + at.PACKET_WIDTH * np.arange(count)
    m[rows[:-1] + at.LINK] = rows[1:]
    m[rows[-1] + at.LINK] = then
    m[at.FREE_HEAD] = start
    m[at.FREE_PACKETS] += count


def grow(memory: Memory) -> None:
    """Twice the room for packets on their way. Addresses stay as they are, since packets stand last."""
    old = len(memory.m)
    more = (old - int(memory.m[at.PACKETS_AT])) // at.PACKET_WIDTH
    longer = aligned(old + more * at.PACKET_WIDTH)
    longer[:old] = memory.m
    memory.m = longer
    _free_rows(memory.m, old, more, int(memory.m[at.FREE_HEAD]))


def set_rates(memory: Memory, network: Network, rate_bps: Integers) -> None:
    """Tell ports at which rate they send, and which share of their own that is; 0 is cut."""
    pace = np.zeros(len(rate_bps), np.int64)
    up = rate_bps > 0
    pace[up] = np.rint(8.0 * PS * (1 << at.PACE_SHIFT) / rate_bps[up]).astype(np.int64)
    share = np.ceil(rate_bps / network.rate_bps * (1 << at.SHARE_BITS)).astype(np.int64)
    ports = memory.rows(int(memory.m[at.PORTS_AT]), len(rate_bps), at.PORT_WIDTH)
    ports[:, at.PACE] = pace
    ports[:, at.NODE] = network.source | (share << at.SHARE_SHIFT)


def _constants(network: Network, settings: Settings, routes: Routes) -> dict[int, int]:
    host_rate = int(network.rate_bps[: network.first_port[network.endpoints]].max())
    wire = settings.mtu_bytes + settings.header_bytes
    round_trip = longest_round_trip(network, routes, wire, settings.control_bytes)
    product = ceil(round_trip * host_rate / (8 * PS) / wire) * wire
    queue = max(settings.queue_bytes or product * (1 if settings.full == "trim" else 5), 2 * wire)
    low, high = settings.mark_bytes or (product // 5, product * 4 // 5)
    horizon = 2 * int(network.latency_ps.max() + wire * 8 * PS // int(network.rate_bps.min()))
    return {
        at.ENDPOINTS: network.endpoints,
        at.PAYLOAD: settings.mtu_bytes,
        at.HEADER: settings.header_bytes,
        at.CONTROL: settings.control_bytes,
        at.QUEUE: queue,
        at.MARK_LOW: low,
        at.MARK_HIGH: max(high, low + 1),
        at.MODE: FULLS.index(settings.full),
        at.RECOVERY: RECOVERIES.index(settings.recovery),
        at.BALANCE: BALANCES.index(settings.balance),
        at.PATHS: settings.paths,
        at.ACK_BYTES: settings.ack_bytes,
        at.CONGESTION: CONGESTIONS.index(settings.congestion),
        at.LEAST_PATIENCE: settings.timeout_ps or _patience(round_trip, queue * 8 * PS // host_rate, settings.full),
        at.XOFF: max(queue // 4, 2 * wire),
        at.XON: max(queue // 4, 2 * wire) - wire,
        at.FLOWLET_GAP: settings.flowlet_gap_ps,
        at.BUCKET_SHIFT: max(ceil(log2(max(horizon / RING_BUCKETS, 1))), 0),
        at.BUCKETS: RING_BUCKETS,
        at.TARGET_DELAY: round_trip * 3 // 4 if settings.full == "trim" else round_trip,
        at.NETWORK_RTT: round_trip,
        at.LOSS: int(settings.loss * 2**32),
        at.SALT: (settings.seed * 0x9E3779B97F4A7C15) & (2**62 - 1),
    }


def _patience(round_trip: int, queue_ps: int, full: str) -> int:
    """How long an acknowledgement is waited for at least; far longer where nothing is lost."""
    least = 15_000_000 + 6 * max(round_trip, queue_ps)
    return 8 * least if full == "pfc" else least


def _flows(memory: Memory, network: Network, traffic: Traffic, settings: Settings, count: Integers) -> None:
    m, random = memory.m, np.random.default_rng(settings.seed)
    rows = memory.rows(int(m[at.FLOWS_AT]), len(traffic), at.FLOW_WIDTH)
    for port, ports, ends in (
        (at.SOURCE_PORT, at.SOURCE_PORTS, traffic.source),
        (at.GOAL_PORT, at.GOAL_PORTS, traffic.target),
    ):
        rows[:, port] = m[at.PORTS_AT] + network.first_port[ends] * at.PORT_WIDTH
        rows[:, ports] = network.first_port[ends + 1] - network.first_port[ends]
    for place, value in {
        at.BYTES: traffic.size_bytes,
        at.PACKETS: count,
        at.FIRST: m[at.NOTES_AT] + np.cumsum(count) - count,
        at.DONE: -1,
        at.RECEIVED: -1,
        at.BEGAN: traffic.start_ps,
        at.MIXER: random.integers(0, 1 << 24, len(traffic)),
        at.TURN: random.integers(0, 1 << 16, len(traffic)),
        at.REALS: at.REAL_WIDTH * np.arange(len(traffic)),
    }.items():
        rows[:, place] = value
    first = network.first_port[traffic.source]
    product = float(m[at.NETWORK_RTT]) * network.rate_bps[first] * rows[:, at.SOURCE_PORTS] / (8 * PS)
    reals = memory.r.reshape(len(traffic), at.REAL_WIDTH)
    reals[:, at.BASE] = m[at.NETWORK_RTT]
    reals[:, at.MOST_WINDOW] = 1.5 * product
    reals[:, at.SCALE] = product / REFERENCE_PRODUCT_BYTES
    open_window = float(settings.window_bytes or 1 << 60)
    reals[:, at.WINDOW] = reals[:, at.MOST_WINDOW] if settings.congestion == "sender" else open_window


def _triggers(memory: Memory, traffic: Traffic) -> None:
    m = memory.m
    rows = memory.rows(int(m[at.FLOWS_AT]), len(traffic), at.FLOW_WIDTH)
    counts = len(traffic.trigger_count)
    triggers = memory.rows(int(m[at.TRIGGERS_AT]), counts, at.TRIGGER_WIDTH)
    triggers[:, at.LEFT] = traffic.trigger_count
    fires = traffic.fires >= 0
    rows[fires, at.FIRES] = m[at.TRIGGERS_AT] + at.TRIGGER_WIDTH * traffic.fires[fires]
    rows[traffic.at_sender, at.FIRES] *= -1
    address = m[at.FLOWS_AT] + at.FLOW_WIDTH * np.arange(len(traffic))
    for flow in np.flatnonzero(traffic.waits_for >= 0)[::-1].tolist():
        trigger = triggers[traffic.waits_for[flow]]
        rows[flow, at.WAITS_NEXT], trigger[at.FIRST_WAITING] = trigger[at.FIRST_WAITING], address[flow]
    # A sorted list is a heap.
    ready = np.flatnonzero(traffic.waits_for < 0)
    ready = ready[np.argsort(traffic.start_ps[ready], kind="stable")]
    timers = memory.rows(int(m[at.FAR_AT]), len(ready), 2)
    timers[:, 0], timers[:, 1] = traffic.start_ps[ready], address[ready]
    m[at.FAR] = len(ready)


def follow(
    memory: Memory, network: Network, traffic: Traffic, settings: Settings, routes: Routes, rate_bps: Integers
) -> None:
    """Take over new routes: sets of ports, groups, and each flow's shares of its endpoint's ports."""
    from suanwang.fabric.routing.routes_kernels import rounds

    m = memory.m
    if settings.balance == "fare":
        first, port = rounds(routes.first, routes.port, routes.weight, MOST_SLOTS)
    else:
        first, port = routes.first, routes.port
    count = np.diff(first)
    start = first[:-1] + np.arange(len(count))
    memory.sets = np.zeros(len(port) + len(count) + 1, np.int64)
    memory.sets[start] = count
    memory.sets[np.arange(len(port)) + 1 + np.repeat(np.arange(len(count)), count)] = (
        m[at.PORTS_AT] + port * at.PORT_WIDTH
    )
    places = np.append(start, 0).astype(np.int32)
    memory.table = np.where(routes.table >= 0, places[np.maximum(routes.table, -1)], routes.table)
    turns = routes.table.shape if settings.balance in ("switch-adaptive", "fare") else (1, 1)
    memory.turn = np.random.default_rng(settings.seed).integers(0, 1 << 15, turns, np.int32)
    rows = memory.rows(int(m[at.FLOWS_AT]), len(traffic), at.FLOW_WIDTH)
    rows[:, at.SOURCE_GROUP] = routes.group[traffic.source]
    rows[:, at.GOAL_GROUP] = routes.group[traffic.target]
    rows[:, at.PLANES : at.PLANES + at.MOST_PLANES] = _shares(network, traffic, routes, rate_bps)


def _shares(network: Network, traffic: Traffic, routes: Routes, rate_bps: Integers) -> Integers:
    """Of each flow and port of its source: what the way there carries, of 2^20 for a whole port; 0 without a way."""
    shares = np.zeros((len(traffic), at.MOST_PLANES), np.int64)
    if routes.groups == 0:
        return shares
    group = routes.group[traffic.target]
    safe = np.maximum(group, 0)
    most = network.rate_bps[: network.first_port[network.endpoints]].max()
    for plane in range(at.MOST_PLANES):
        port = network.first_port[traffic.source] + plane
        there = port < network.first_port[traffic.source + 1]
        port = np.where(there, port, 0)
        leaf = network.target[port] - network.endpoints
        works = (rate_bps[port] > 0) & (rate_bps[network.peer[port]] > 0)
        leads = there & (group >= 0) & works & (routes.table[leaf, safe] != UNREACHABLE)
        carried = rate_bps[port].astype(np.float64)
        if routes.reach is not None:
            attached = routes.table[leaf, safe] == ATTACHED
            carried = np.where(attached, carried, np.minimum(carried, routes.reach[leaf, safe]))
        shares[:, plane] = np.where(leads, np.maximum(carried / most * FULL_SHARE, 1), 0)
    return shares


def longest_round_trip(network: Network, routes: Routes, wire_bytes: int, control_bytes: int) -> int:
    """The round trip without queues between the farthest endpoints, in ps: there with data, back with little."""
    groups = np.unique(np.linspace(0, routes.groups - 1, min(routes.groups, 64)).astype(np.int64))
    table = routes.table[:, groups]
    onward = table >= 0
    port = (routes.port if len(routes.port) else np.zeros(1, np.int64))[routes.first[:-1]][np.maximum(table, 0)] if (
        len(routes.first) > 1
    ) else np.zeros(table.shape, np.int64)  # fmt: skip
    per_port = 2 * network.latency_ps + (wire_bytes + control_bytes) * 8 * PS // network.rate_bps
    total = np.zeros(table.shape, np.int64)
    place = np.broadcast_to(np.arange(network.switches)[:, None], table.shape).copy()
    column = np.broadcast_to(np.arange(len(groups))[None, :], table.shape)
    going = onward.copy()
    while going.any():
        step = port[place[going], column[going]]
        total[going] += per_port[step]
        place[going] = network.target[step] - network.endpoints
        going[going] = onward[place[going], column[going]]
    edge = network.first_port[network.endpoints]
    leaves = np.unique(network.target[:edge]) - network.endpoints
    found = np.where(table[leaves] != UNREACHABLE, total[leaves], 0)
    return int(found.max(initial=0) + 2 * per_port[:edge].max())
