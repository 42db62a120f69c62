"""A packet simulator made of plain objects, slow and simple, which the engine has to agree with to the picosecond.

Its rules: a port sends small packets (acknowledgements, trimmed headers) first and then data in the order of arrival;
after so many small ones before data that waits, one of data. A packet is passed on once it is there whole; data that
finds a queue full is trimmed to its header, or by a coin the last that waits is, or it is dropped; a trimmed header
comes back as a negative acknowledgement.
Senders keep a window of bytes, send again what is known to be lost before anything new, and give up on all that is on
its way when nothing was heard of for a while, doubling their patience; and, when they look after two such whiles, on
what was on its way already when they looked before, unless it was sent again since. Where full queues drop, an
acknowledged packet tells that those before it that were not acknowledged are lost. Of what happens at one time, ports
come first. Every endpoint has one port, there are no marks, and only one way leads from a switch to an endpoint.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import count

import numpy as np

from suanwang.fabric.network import Network
from suanwang.fabric.packet.layout import MOST_SMALL
from suanwang.fabric.packet.settings import Settings
from suanwang.fabric.routing.routes import Routes, shortest
from suanwang.fabric.traffic import Traffic

PORT_TURN, PACKET_TURN, TIMER_TURN = range(3)
MOST_DOUBLINGS = 6


@dataclass
class Packet:
    flow: Flow
    number: int
    size: int
    kind: str = "data"
    asks: bool = False
    receipts: int = 0


@dataclass
class Port:
    number: int
    ps_per_byte: int
    latency: int
    free_at: int = 0
    armed: bool = False
    small: deque[Packet] = field(default_factory=deque)
    data: deque[Packet] = field(default_factory=deque)
    flows: deque[Flow] = field(default_factory=deque)
    sent: int = 0
    small_in_turn: int = 0

    def waiting(self) -> bool:
        return bool(self.small or self.data or self.flows)


@dataclass
class Flow:
    number: int
    source: int
    target: int
    sizes: list[int]
    start: int
    new: int = 0
    lost: deque[int] = field(default_factory=deque)
    on_its_way: set[int] = field(default_factory=set)
    known: set[int] = field(default_factory=set)
    arrived: list[int] = field(default_factory=list)
    heard: int = 0
    checked: int = 0
    unanswered: int = 0
    queued: bool = False
    progress: int = 0
    doublings: int = 0
    swept: int = 0
    swept_at: int = 0
    fresh: set[int] = field(default_factory=set)
    sent_before: set[int] = field(default_factory=set)
    received: int = -1
    done: int = -1


class Oracle:
    """One run. `way(switch, endpoint)` is the port that leads on."""

    def __init__(self, network: Network, traffic: Traffic, settings: Settings, way: Callable[[int, int], int]) -> None:
        assert settings.queue_bytes
        assert settings.timeout_ps
        self.network, self.settings, self.way = network, settings, way
        self.ports = [
            Port(number, 8 * 10**12 // int(rate), int(latency))
            for number, (rate, latency) in enumerate(zip(network.rate_bps, network.latency_ps, strict=True))
        ]
        self.wire = settings.mtu_bytes + settings.header_bytes
        self.flows = [self._flow(number, traffic) for number in range(len(traffic))]
        self.now, self.order = 0, count()
        self.events: list[tuple[int, int, int, Callable[[], None]]] = []
        self.trims = self.drops = self.timeouts = 0
        self.state = int(np.random.SeedSequence(settings.seed).generate_state(1, np.uint64)[0]) >> 1 | 1

    def _coin(self) -> bool:
        """The lowest of the 32 upper bits of xorshift64* (Vigna, An experimental exploration, 2016)."""
        self.state ^= self.state >> 12
        self.state = (self.state ^ (self.state << 25)) % 2**64
        self.state ^= self.state >> 27
        return bool(self.state * 2685821657736338717 >> 32 & 1)

    def _flow(self, number: int, traffic: Traffic) -> Flow:
        size, payload = int(traffic.size_bytes[number]), self.settings.mtu_bytes
        parts = [payload] * (size // payload) + ([size % payload] if size % payload else [])
        wire = [part + self.settings.header_bytes for part in parts]
        source, target, start = (int(c[number]) for c in (traffic.source, traffic.target, traffic.start_ps))
        return Flow(number, source, target, wire, start)

    def run(self) -> None:
        """Until all flows are done."""
        for flow in self.flows:
            self._at(flow.start, TIMER_TURN, flow.number, lambda flow=flow: self._start(flow))  # type: ignore[misc]
        while any(flow.done < 0 for flow in self.flows):
            self.now, *_, act = heapq.heappop(self.events)
            act()

    def _at(self, when: int, turn: int, who: int, act: Callable[[], None]) -> None:
        heapq.heappush(self.events, (when, turn, who, act))

    # Senders

    def _may_send(self, flow: Flow) -> bool:
        if not flow.lost and flow.new == len(flow.sizes):
            return False
        flying = sum(flow.sizes[number] for number in flow.on_its_way)
        return flying == 0 or flying + self.wire <= (self.settings.window_bytes or 1 << 60)

    def _start(self, flow: Flow) -> None:
        flow.progress = self.now
        self._wake(flow)
        self._sweep(flow)
        self._watch(flow)

    def _watch(self, flow: Flow) -> None:
        due = flow.progress + (self._patience << flow.doublings)
        self._at(due, TIMER_TURN, flow.number, lambda: self._look(flow))

    @property
    def _patience(self) -> int:
        return int(self.settings.timeout_ps or 0)

    def _look(self, flow: Flow) -> None:
        if flow.done >= 0:
            return
        if self.now - flow.progress >= self._patience << flow.doublings:
            self.timeouts += 1
            flow.lost.extend(sorted(flow.on_its_way))
            flow.fresh -= flow.on_its_way
            flow.on_its_way.clear()
            flow.progress = self.now
            flow.doublings = min(flow.doublings + 1, MOST_DOUBLINGS)
            self._wake(flow)
        else:
            self._sweep(flow)
        self._watch(flow)

    def _sweep(self, flow: Flow) -> None:
        if self.now - flow.swept_at < 2 * self._patience:
            return
        old = sorted(number for number in flow.on_its_way - flow.fresh if number < flow.swept)
        flow.fresh = {number for number in flow.fresh if number >= flow.swept}
        flow.on_its_way.difference_update(old)
        flow.lost.extend(old)
        flow.swept, flow.swept_at = flow.new, self.now
        self._wake(flow)

    def _wake(self, flow: Flow) -> None:
        if flow.queued or not self._may_send(flow):
            return
        port = self.ports[int(self.network.first_port[flow.source])]
        port.flows.append(flow)
        flow.queued = True
        if not port.armed:
            if port.free_at <= self.now:
                self._serve(port)
            else:
                self._arm(port)

    def _send(self, flow: Flow, port: Port) -> bool:
        while flow.lost and flow.lost[0] in flow.known:
            flow.lost.popleft()
        if flow.lost:
            number = flow.lost.popleft()
        elif flow.new < len(flow.sizes):
            number = flow.new
            flow.new += 1
        else:
            return False
        again = number in flow.sent_before
        if again:
            flow.fresh.add(number)
        flow.sent_before.add(number)
        flow.on_its_way.add(number)
        self._put(port, Packet(flow, number, flow.sizes[number], asks=again or not self._may_send(flow)))
        return True

    def _hear(self, packet: Packet) -> None:
        flow = packet.flow
        if flow.done >= 0:
            return
        if packet.receipts > flow.heard or packet.kind == "nack":
            flow.progress, flow.doublings = self.now, 0
        if packet.receipts > flow.heard:
            new = flow.arrived[flow.heard : packet.receipts]
            flow.on_its_way.difference_update(new)
            flow.known.update(new)
            flow.heard = packet.receipts
        if packet.kind == "nack" and packet.number in flow.on_its_way:
            flow.on_its_way.remove(packet.number)
            flow.fresh.discard(packet.number)
            flow.lost.append(packet.number)
        if packet.kind == "ack" and self.settings.full == "drop":
            gaps = [number for number in range(flow.checked, packet.number) if number in flow.on_its_way]
            flow.on_its_way.difference_update(gaps)
            flow.fresh.difference_update(gaps)
            flow.lost.extend(gaps)
            flow.checked = max(flow.checked, packet.number + 1)
        if flow.heard == len(flow.sizes):
            flow.done = self.now
        else:
            self._wake(flow)

    # Ports

    def _arm(self, port: Port) -> None:
        if not port.armed:
            port.armed = True
            self._at(max(port.free_at, self.now), PORT_TURN, port.number, lambda: self._serve(port))

    def _put(self, port: Port, packet: Packet) -> None:
        port.free_at = self.now + packet.size * port.ps_per_byte
        port.sent += packet.size
        there = port.free_at + port.latency
        self._at(there, PACKET_TURN, next(self.order), lambda: self._arrive(port, packet))

    def _serve(self, port: Port) -> None:
        port.armed = False
        if port.small and not (port.data and port.small_in_turn >= MOST_SMALL):
            port.small_in_turn += 1 if port.data else 0
            self._put(port, port.small.popleft())
        elif port.data:
            port.small_in_turn = 0
            self._put(port, port.data.popleft())
        else:
            self._serve_flows(port)
        if port.waiting():
            self._arm(port)

    def _serve_flows(self, port: Port) -> None:
        while port.flows:
            flow = port.flows.popleft()
            flow.queued = False
            if self._may_send(flow) and self._send(flow, port):
                if self._may_send(flow):
                    port.flows.append(flow)
                    flow.queued = True
                return

    def _queue_small(self, port: Port, packet: Packet) -> None:
        if not port.small and not port.armed and port.free_at <= self.now:
            self._put(port, packet)
            if port.waiting():
                self._arm(port)
        elif sum(one.size for one in port.small) + packet.size > 2 * (self.settings.queue_bytes or 0):
            self.drops += 1
        else:
            port.small.append(packet)
            self._arm(port)

    def _queue_data(self, port: Port, packet: Packet) -> None:
        if not port.waiting() and not port.armed and port.free_at <= self.now:
            self._put(port, packet)
        elif sum(one.size for one in port.data) + packet.size <= (self.settings.queue_bytes or 0):
            port.data.append(packet)
            self._arm(port)
        elif self.settings.full == "drop":
            self.drops += 1
        else:
            self.trims += 1
            if port.data and self._coin() and port.data[-1].size >= packet.size:
                port.data[-1], packet = packet, port.data[-1]
            packet.kind, packet.size = "trimmed", self.settings.control_bytes
            self._queue_small(port, packet)

    # What arrives

    def _arrive(self, port: Port, packet: Packet) -> None:
        node = int(self.network.target[port.number])
        to = packet.flow.target if packet.kind in ("data", "trimmed") else packet.flow.source
        if node >= self.network.endpoints:
            onward = self.ports[self.way(node, to)]
            (self._queue_data if packet.kind == "data" else self._queue_small)(onward, packet)
        elif packet.kind in ("ack", "nack"):
            self._hear(packet)
        else:
            self._receive(self.ports[int(self.network.peer[port.number])], packet)

    def _receive(self, back: Port, packet: Packet) -> None:
        flow = packet.flow
        answer = "nack" if packet.kind == "trimmed" else "ack"
        if packet.kind == "data" and packet.number not in flow.arrived:
            flow.arrived.append(packet.number)
            flow.unanswered += packet.size
            whole = len(flow.arrived) == len(flow.sizes)
            if whole:
                flow.received = self.now
            if not (whole or packet.asks or flow.unanswered >= self.settings.ack_bytes):
                return
            flow.unanswered = 0
        size = self.settings.control_bytes
        self._queue_small(back, Packet(flow, packet.number, size, answer, receipts=len(flow.arrived)))


def spread_latencies(network: Network, seed: int) -> Network:
    """The same network with every cable of another length, so that hardly two packets arrive at one time."""
    random = np.random.default_rng(seed)
    latency = random.integers(100_000, 2_000_000, network.ports)
    return replace(
        network, latency_ps=np.where(np.arange(network.ports) < network.peer, latency, latency[network.peer])
    )


def one_way(network: Network, seed: int) -> Routes:
    """Shortest routes of which every switch keeps one port towards each group, drawn at random."""
    routes, random = shortest(network), np.random.default_rng(seed)
    table = routes.table.copy()
    ports: list[int] = []
    for place, entry in np.ndenumerate(routes.table):
        if entry >= 0:
            table[place] = len(ports)
            ports.append(int(random.choice(routes.port[routes.first[entry] : routes.first[entry + 1]])))
    return replace(
        routes,
        table=table,
        first=np.arange(len(ports) + 1),
        port=np.array(ports, np.int64),
        weight=np.ones(len(ports), np.int64),
    )
