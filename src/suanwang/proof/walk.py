"""The ways of one packet through programs, hop by hop, with a reason at each: what `trace` shows.

It follows the data plane as docs/rooms/linux.md describes it, one step at a time, and is deliberately plain: the set
engine in `component.py` and `journeys.py` is checked against it. Where a transfer leaves a choice (a balancer, say),
there are several ways, and what is promised of a packet is promised of each.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from suanwang.program.objects import PortDevice
from suanwang.proof import codes
from suanwang.proof.forwarding import Drop, Exit, Surroundings, choose_exit, cross
from suanwang.proof.matching import MAIN_TABLE, allowing, contains
from suanwang.proof.packet import Packet
from suanwang.proof.space import Space, SpaceKey
from suanwang.proof.transfer import ARRIVAL, DEPARTURE, Stage, Turn

MOST_HOPS = 64
"""The initial hop limit of Linux: no packet passes more routers."""

MOST_WAYS = 4096
"""Of one packet; what more there are is not looked at, and so nothing is proven of it."""

_TRACKED = ("icmp", "icmpv6", "tcp")
"""Protocols whose answers are invalid to connection tracking where it did not see what they answer."""

Known = Mapping[tuple[SpaceKey, Packet], Packet]
"""What routers know of connections: (space, an answer as it comes there) -> the answer as it goes on."""


@dataclass(frozen=True, slots=True)
class Step:
    """What happened in one place: `what` is a short phrase, `code` a reason, `detail` names the object that decided."""

    node: str
    netns: str
    what: str
    code: str = ""
    detail: str = ""


class Passage(NamedTuple):
    """A router that was passed, and the packet as it came and as it left."""

    space: SpaceKey
    came: Packet
    left: Packet


@dataclass(frozen=True, slots=True)
class Trace:
    """A way of a packet. `code` says how it ended; `port` (`tenant/name`) where, if it was delivered.

    `arrived` is the packet as it was in the end; `meant`, if given, the address that the port must have to which a
    router sent it whatever its destination.
    """

    packet: Packet
    code: str
    port: str
    steps: tuple[Step, ...]
    passages: tuple[Passage, ...]
    arrived: Packet
    meant: str = ""

    @property
    def delivered(self) -> bool:
        """Whether it reached a port."""
        return self.code == codes.DELIVERED

    def known(self) -> Known:
        """What the routers on this way know of answers."""
        return {(one.space, one.left.reply()): one.came.reply() for one in self.passages}


def round_trips(world: Surroundings, workload: str, packet: Packet) -> Iterator[tuple[Trace, Trace | None]]:
    """Each way there, with each way of the answer if it arrives (connections that were let through are known)."""
    for there in ways(world, workload, packet):
        if there.delivered:
            answer = there.arrived.reply()
            for back in ways(world, f"port/{there.port}", answer, there.known(), packet.reply()):
                yield there, back
        else:
            yield there, None


def round_trip(world: Surroundings, workload: str, packet: Packet) -> tuple[Trace, Trace | None]:
    """The first way there and back on which something fails; if there is none, the first."""
    first = None
    for there, back in round_trips(world, workload, packet):
        if back is None or not back.delivered:
            return there, back
        first = first or (there, back)
    assert first is not None
    return first


def walk(world: Surroundings, workload: str, packet: Packet) -> Trace:
    """The first way of a packet from a workload: the only one, if no transfer leaves a choice."""
    return next(ways(world, workload, packet))


def ways(
    world: Surroundings, workload: str, packet: Packet, known: Known | None = None, expected: Packet | None = None
) -> Iterator[Trace]:
    """All ways of a packet from a workload. An answer comes with what routers know of it, and with the `expected`
    answer: what its receiver takes for one."""
    return _Walk(world, packet, known, expected).run(workload)


@dataclass(slots=True)
class _Way:
    """One way so far: the packet as it is, where it is, and how far the router there has got with it."""

    packet: Packet
    space: Space
    incoming: str
    table: int | None
    frame: str = ""
    meant: str = ""
    came: Packet = field(init=False)
    is_known: bool = False
    asked: int = 0
    turn: Turn | None = None
    exit: Exit | None = None
    steps: list[Step] = field(default_factory=list)
    passages: list[Passage] = field(default_factory=list)
    before: set[tuple[SpaceKey, str, str, Packet]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.came = self.packet

    def say(self, space: Space, what: str, code: str = "", detail: str = "") -> None:
        self.steps.append(Step(space.node, space.netns, what, code, detail))

    def fork(self) -> _Way:
        other = replace(self, steps=[*self.steps], passages=[*self.passages], before={*self.before})
        other.came = self.came
        return other


class _Walk:
    def __init__(self, world: Surroundings, packet: Packet, known: Known | None, expected: Packet | None) -> None:
        self._world = world
        self._packet = packet
        self._known = known
        self._expected = expected
        self._waiting: list[_Way | Trace] = []

    def run(self, workload: str) -> Iterator[Trace]:
        found = self._world.attachment(workload)
        if found is None:
            yield Trace(self._packet, codes.NOT_ATTACHED, "", (), (), self._packet)
            return
        space, port = found
        way = _Way(self._packet, space, port.device, space.selections.get(port.device))
        way.say(space, f"sent by {port.title}")
        self._waiting.append(self._sent(way, port) or way)
        for _ in range(MOST_WAYS):
            if not self._waiting:
                return
            one = self._waiting.pop()
            yield one if isinstance(one, Trace) else self._followed(one)
        if self._waiting:
            yield Trace(self._packet, codes.TOO_MANY_WAYS, "", (), (), self._packet)

    def _sent(self, way: _Way, port: PortDevice) -> Trace | None:
        """The end of a packet that never comes as far as the router."""
        space, source = way.space, way.packet.source
        if way.packet.destination in {address.partition("/")[0] for address in port.addresses}:
            # A workload's own addresses are local to it: such packets never come out of it.
            return self._delivered(way, port, "stays within the workload")
        guard = space.filters.get(port.device)
        if guard is not None and space.guarded:
            # Which of the MACs that it may use a workload uses is its own choice.
            own = guard.sources if guard.mac == port.mac else ()
            if not any(contains(prefix, source) for prefix in (*own, *(prefix for _, prefix in guard.pairs))):
                what = f"{source} is no source address of {port.title}"
                return self._stop(way, space, codes.SOURCE_ADDRESS_NOT_ALLOWED, what)
        self._arrive(way)
        return None

    def _followed(self, way: _Way) -> Trace:
        """A way to its end; what other ways there are is put aside."""
        ended = None
        while ended is None:
            ended = self._router(way)
        return ended

    def _arrive(self, way: _Way) -> None:
        """A packet comes to a router; answers of connections that it knows are turned back into what they were."""
        way.came = way.packet
        if self._known is not None:
            answer = self._known.get((way.space.key, way.packet))
            way.is_known = answer is not None
            if answer is not None and answer != way.packet:
                way.say(way.space, f"translated back: {answer}", codes.TRANSLATED)
                way.packet = answer

    def _router(self, way: _Way) -> Trace | None:
        """Pass one router. A Trace where that is the end."""
        if way.exit is None:
            state = (way.space.key, way.incoming, way.frame, way.came)
            if (not way.asked and state in way.before) or len(way.passages) == MOST_HOPS:
                return self._stop(way, way.space, codes.CYCLIC_PATH, "goes round and round")
            way.before.add(state)
            if way.space.kept and (ended := self._transfer(way, ARRIVAL, way.incoming)) is not None:
                return ended
            if (ended := self._route(way)) is not None:
                return ended
        assert way.exit is not None
        if way.space.kept and (ended := self._transfer(way, DEPARTURE, way.exit.device)) is not None:
            return ended
        return self._leave(way, way.exit)

    def _transfer(self, way: _Way, stage: Stage, device: str) -> Trace | None:
        """Ask the transfers of a stage that were not asked yet."""
        rules = way.space.rules(stage)
        while way.asked < len(rules):
            rule = rules[way.asked]
            way.asked += 1
            if rule.transfer.connections and self._is_settled(way):
                continue
            turns = rule.turns(way.space, way.packet, device) if rule.scope.takes(way.packet, device) else ()
            if not turns:
                continue
            while way.asked < len(rules) and rules[way.asked].transfer is rule.transfer:
                way.asked += 1
            one, *others = turns
            for number, turn in reversed(list(enumerate(others, 2))):
                fork = way.fork()
                self._waiting.append(self._turned(fork, turn, number, len(turns)) or fork)
            if (ended := self._turned(way, one, 1, len(turns))) is not None:
                return ended
        way.asked = 0
        return None

    def _is_settled(self, way: _Way) -> bool:
        """Whether connection tracking has made up its mind: what is known, or no beginning, is asked no more."""
        return way.is_known or (self._known is not None and way.packet.protocol in _TRACKED)

    def _turned(self, way: _Way, turn: Turn, number: int, count: int) -> Trace | None:
        what = f"{turn.what} (way {number} of {count})" if count > 1 else turn.what
        if turn.drops:
            return self._stop(way, way.space, turn.code, what)
        way.say(way.space, what, turn.code)
        if turn.packet is not None:
            way.packet = turn.packet
        if turn.redirects:
            way.turn = turn
            way.asked = len(way.space.rules(ARRIVAL))
        return None

    def _route(self, way: _Way) -> Trace | None:
        """Route and filter."""
        space = way.space
        found = choose_exit(space, way.packet, way.frame, way.table, way.turn)
        if found is None:
            return self._to_router(way)
        if found.table != MAIN_TABLE and way.turn is None:
            way.say(space, found.how, codes.SUBNET_ROUTE_TABLE, f"table {found.table}")
        if isinstance(found, Drop):
            return self._stop(way, space, found.code, found.how)
        if (refused := self._filter(way, found.device)) is not None:
            return refused
        if way.turn is not None:
            way.meant = way.turn.meant
        way.exit = found
        return None

    def _to_router(self, way: _Way) -> Trace:
        echo = {"icmp": 8, "icmpv6": 128}.get(way.packet.protocol)
        if not way.space.guarded or way.packet.icmp_type == echo:
            return self._stop(way, way.space, codes.DELIVERED_TO_ROUTER, "for the router itself")
        return self._stop(way, way.space, codes.ROUTER_REFUSES, "for the router itself")

    def _filter(self, way: _Way, outgoing: str) -> Trace | None:
        """What the groups of the sending port let out, and those of the receiving one in."""
        space, packet = way.space, way.packet
        if not space.guarded or way.is_known:
            return None
        if self._known is not None and packet.protocol in _TRACKED:
            return self._stop(way, space, codes.CONNECTION_UNKNOWN, "an answer to nothing that was seen here")
        for device, direction, word, code in (
            (way.incoming, "egress", "out", codes.SECURITY_GROUP_DENIES_EGRESS),
            (outgoing, "ingress", "in", codes.SECURITY_GROUP_DENIES_INGRESS),
        ):
            if device in space.tunnels:
                continue
            guard = space.filters.get(device)
            title = space.ports[device].title if device in space.ports else device
            if guard is None:
                return self._stop(way, space, codes.PORT_HAS_NO_FILTER, f"{title} has no filter")
            by = allowing(space, guard, direction, packet)
            if by is None:
                what = f"groups {', '.join(guard.groups)} of {title} let nothing like this {word}"
                return self._stop(way, space, code, what)
            way.say(space, f"let {word} by group {by}")
        return None

    def _leave(self, way: _Way, out: Exit) -> Trace | None:
        space = way.space
        port = space.ports.get(out.device)
        if port is not None:
            return self._delivered(way, port, f"{out.how}: to {port.title}")
        tunnel = space.tunnels[out.device]
        found = cross(self._world, space, tunnel, out.next_hop, way.packet.version)
        if isinstance(found, Drop):
            return self._stop(way, found.space, found.code, found.how)
        way.say(space, f"{out.how}, by tunnel {tunnel.vni} to {found.remote}")
        way.passages.append(Passage(space.key, way.came, way.packet))
        way.space, way.incoming, way.frame = found.there, found.device, found.frame
        way.table = way.turn = way.exit = None
        way.meant = way.meant if way.frame else ""
        self._arrive(way)
        return None

    def _delivered(self, way: _Way, port: PortDevice, what: str) -> Trace:
        way.passages.append(Passage(way.space.key, way.came, way.packet))
        if self._expected is not None and way.packet != self._expected:
            return self._stop(way, way.space, codes.ANSWER_NOT_TRANSLATED, f"{what}, as {way.packet}")
        way.say(way.space, what, codes.DELIVERED)
        return self._end(way, codes.DELIVERED, port.title)

    def _stop(self, way: _Way, space: Space, code: str, what: str) -> Trace:
        way.say(space, what, code)
        return self._end(way, code)

    def _end(self, way: _Way, code: str, port: str = "") -> Trace:
        return Trace(self._packet, code, port, tuple(way.steps), tuple(way.passages), way.packet, way.meant)
