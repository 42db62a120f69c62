"""Where packets go that transfers are asked about: the part of the set engine that follows them as they change.

Forwarding of a component is worked out for all its packets without regard to transfers (`routing`). Those that pass a
router where an object is asked about them are left out there, and followed here: by port, source atom, destination
atom, and a mask of services. Routes are looked up for one address of an atom; filters are the masks of `filtering`; a
transfer is asked of one packet for each service. Scopes cut the atoms, so that is exact. A choice is followed to all
its ends, and a state that comes again is a loop.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from suanwang.program.objects import identity
from suanwang.proof import codes
from suanwang.proof.filtering import Filtering, Place, addresses
from suanwang.proof.forwarding import Crossing, Drop, Exit, Surroundings, choose_exit, cross
from suanwang.proof.matching import MAIN_TABLE
from suanwang.proof.packet import Packet
from suanwang.proof.routing import Routing, bits
from suanwang.proof.space import Space
from suanwang.proof.transfer import ARRIVAL, DEPARTURE, Rule, Stage, Turn
from suanwang.proof.walk import Trace


class Flow(NamedTuple):
    """Packets alike: IP version, atoms, services as they are now, and as they were sent.

    The two masks of services are equal, or have one bit each.
    """

    version: int
    source: int
    destination: int
    now: int
    sent: int

    def only(self, services: int) -> Flow:
        """Those of some services; none left where `now` is 0."""
        now = self.now & services
        return self._replace(now=now, sent=now if self.now == self.sent else self.sent)


class State(NamedTuple):
    """A flow that came to a router: by a device, for a port (`frame`), to be looked up in a table; `lookup` is the last
    table that its sender or a transfer chose, and `meant` the address that the port of the frame must have."""

    space: int
    incoming: str
    frame: str
    table: int
    lookup: int
    meant: str
    flow: Flow


class Journey(NamedTuple):
    """The end of a flow. `first` is it as its sender sent it, `flow` as it ended; `target` is the port, if it got to
    one."""

    first: Flow
    flow: Flow
    code: str
    target: Place | None = None
    lookup: int = MAIN_TABLE
    meant: str = ""

    def is_(self, trace: Trace) -> bool:
        """Whether a way of one packet ends like it."""
        port = self.target.port.title if self.target is not None else ""
        return (trace.code, trace.port) == (self.code, port) and (not port or trace.meant == self.meant)


class Journeys:
    """Packets that transfers of a component's spaces are asked about. `holders` are those spaces, as bits."""

    def __init__(
        self,
        world: Surroundings,
        routing: Routing,
        filtering: Filtering,
        by_device: Mapping[tuple[int, str], Place],
        spaces: Mapping[int, Space],
        holders: int,
    ) -> None:
        self._world = world
        self._routing = routing
        self._filtering = filtering
        self._by_device = by_device
        self._spaces = spaces
        self.holders = holders
        self._concerns: dict[tuple[int, int, int], list[tuple[set[int] | None, int]]] = {}
        self._passed: dict[tuple[int, int, int, int], int] = {}
        self._masks: dict[tuple[int, Stage], list[int]] = {}
        self._exits: dict[tuple[int, int, int, str, int, Turn | None], Exit | Drop | None] = {}
        self._crossings: dict[tuple[int, str, str, int], Crossing | Drop] = {}
        self._turns: dict[tuple[object, ...], Sequence[Turn]] = {}

    # Which packets

    def concerned(self, place: Place, table: int, version: int, source: int, destination: int) -> int:
        """Services of which a transfer may be asked, of packets that a port sends and looks up in `table`."""
        found = 0
        for sources, services in self._asking(place.space, table, version, destination):
            if sources is None or source in sources:
                found |= services
        return found

    def _asking(self, space: int, table: int, version: int, destination: int) -> list[tuple[set[int] | None, int]]:
        coarse = self._routing.addresses[version].of(self._first(version, destination))
        at = (space, table, version, coarse)
        passed = self._passed.get(at)
        if passed is None:
            passed = self._passed[at] = self._routing.passed(version, table, coarse, space) & self.holders
        if not passed:
            return []
        key = (passed, version, destination)
        found = self._concerns.get(key)
        if found is None:
            found = self._concerns[key] = list(self._asked(*key))
        return found

    def _asked(self, passed: int, version: int, destination: int) -> Iterator[tuple[set[int] | None, int]]:
        for number in bits(passed):
            for stage in (ARRIVAL, DEPARTURE):
                for rule, services in zip(self._rules(number, stage), self._services(number, stage), strict=True):
                    where = rule.scope.destinations
                    if not where or destination in self._atoms(version, where):
                        sources = rule.scope.sources
                        yield (self._atoms(version, sources) if sources else None), services

    def _atoms(self, version: int, prefixes: Sequence[str]) -> set[int]:
        return self._filtering.atoms(version, prefixes)

    def _rules(self, number: int, stage: Stage) -> list[Rule]:
        return self._spaces[number].rules(stage)

    def _services(self, number: int, stage: Stage) -> list[int]:
        found = self._masks.get((number, stage))
        if found is None:
            services = self._filtering.services
            found = self._masks[number, stage] = [
                services.any_of(rule.scope.services) if rule.scope.services else services.everything
                for rule in self._rules(number, stage)
            ]
        return found

    def _first(self, version: int, atom: int) -> str:
        return self._filtering.addresses[version].first(atom)

    # Where they go

    def of(self, place: Place, table: int, version: int) -> Iterator[Journey]:
        """The ends of all such packets of a port, but those that filters, routes or transfers drop."""
        services = self._filtering.services.of_version(version)
        own = {self._filtering.addresses[version].of(address) for address in addresses(place.port, version)}
        sources = self._filtering.sources(place, version)
        for destination in range(len(self._filtering.addresses[version])):
            # What a workload sends to itself never leaves it.
            if destination in own or not self._asking(place.space, table, version, destination):
                continue
            for source in sources:
                if mask := self.concerned(place, table, version, source, destination) & services:
                    flow = Flow(version, source, destination, mask, mask)
                    yield from self._from(flow, State(place.space, place.port.device, "", table, table, "", flow))

    def _from(self, first: Flow, state: State) -> Iterator[Journey]:
        waiting: list[tuple[State, frozenset[State]]] = [(state, frozenset())]
        done: set[State] = set()
        while waiting:
            state, before = waiting.pop()
            if state in before:
                sent = first._replace(now=state.flow.sent, sent=state.flow.sent)
                yield Journey(sent, state.flow, codes.CYCLIC_PATH)
            elif state not in done:
                done.add(state)
                passed = before | {state}
                for one in self._router(first, state):
                    if isinstance(one, Journey):
                        yield one
                    else:
                        waiting.append((one, passed))

    def _router(self, first: Flow, state: State) -> Iterator[State | Journey]:
        """Pass one router: where flows are next, or delivered."""
        number, space = state.space, self._spaces[state.space]
        for arrived, turn in self._transfer(number, ARRIVAL, state.flow, state.incoming):
            out = self._exit(state, arrived, turn)
            if not isinstance(out, Exit):
                continue
            flow = self._filtered(number, state.incoming, out.device, arrived)
            lookup = turn.table if turn is not None and turn.table else state.lookup
            meant = turn.meant if turn is not None else state.meant
            for left, _ in self._transfer(number, DEPARTURE, flow, out.device) if flow.now else ():
                if out.device in space.ports:
                    sent = first._replace(now=left.sent, sent=left.sent)
                    yield Journey(sent, left, codes.DELIVERED, self._by_device[number, out.device], lookup, meant)
                    continue
                found = self._cross(number, out, left.version)
                if isinstance(found, Crossing):
                    there = self._routing.number[found.there.key]
                    meant_there = meant if found.frame else ""
                    yield State(there, found.device, found.frame, MAIN_TABLE, lookup, meant_there, left)

    def _exit(self, state: State, flow: Flow, turn: Turn | None) -> Exit | Drop | None:
        key = (state.space, flow.version, flow.destination, state.frame, state.table, turn)
        if key not in self._exits:
            address = self._first(flow.version, flow.destination)
            packet = Packet(address, address, "tcp")
            self._exits[key] = choose_exit(self._spaces[state.space], packet, state.frame, state.table, turn)
        return self._exits[key]

    def _cross(self, number: int, out: Exit, version: int) -> Crossing | Drop:
        key = (number, out.device, out.next_hop, version)
        found = self._crossings.get(key)
        if found is None:
            space = self._spaces[number]
            found = cross(self._world, space, space.tunnels[out.device], out.next_hop, version)
            self._crossings[key] = found
        return found

    def _filtered(self, number: int, incoming: str, outgoing: str, flow: Flow) -> Flow:
        if (sender := self._by_device.get((number, incoming))) is not None:
            flow = flow.only(self._filtering.out(sender, flow.version)[flow.destination])
        if (receiver := self._by_device.get((number, outgoing))) is not None:
            flow = flow.only(self._filtering.into(receiver, flow.version)[flow.source])
        return flow

    # What transfers make of them

    def _transfer(
        self, number: int, stage: Stage, flow: Flow, device: str, start: int = 0
    ) -> Iterator[tuple[Flow, Turn | None]]:
        """What a stage leaves of a flow, and what redirects it; in as few flows as it takes."""
        rules = self._rules(number, stage) if self.holders >> number & 1 else []
        for index in range(start, len(rules)):
            taken, made = self._made(number, stage, index, flow, device)
            if not taken:
                continue
            after = index
            while after < len(rules) and rules[after].transfer is rules[index].transfer:
                after += 1
            for one, redirection in made:
                if redirection is not None:
                    yield one, redirection
                else:
                    yield from self._transfer(number, stage, one, device, after)
            flow = flow.only(~taken)
            if not flow.now:
                return
        yield flow, None

    def _made(
        self, number: int, stage: Stage, index: int, flow: Flow, device: str
    ) -> tuple[int, list[tuple[Flow, Turn | None]]]:
        """The services that one object takes, and what it makes of them; what it drops is not among that."""
        rule = self._rules(number, stage)[index]
        hit = flow.now & self._services(number, stage)[index]
        scope, version = rule.scope, flow.version
        if not (
            hit
            and (not scope.devices or device in scope.devices)
            and (not scope.destinations or flow.destination in self._atoms(version, scope.destinations))
            and (not scope.sources or flow.source in self._atoms(version, scope.sources))
        ):
            return 0, []
        taken = 0
        together: dict[tuple[object, ...], tuple[Flow, Turn | None]] = {}
        for bit in bits(hit):
            for turn in self._ask(number, rule, flow, bit, device):
                taken |= 1 << bit
                if turn.drops:
                    continue
                was = flow._replace(now=1 << bit, sent=1 << bit if flow.now == flow.sent else flow.sent)
                made = self._rewritten(was, turn.packet) if turn.packet is not None else was
                redirection = replace(turn, what="", code="", packet=None) if turn.redirects else None
                # Services that fare alike stay together, as long as they are what they were.
                key = (*made[:3], () if made.now == made.sent else (made.now, made.sent), redirection)
                if key in together:
                    other = together[key][0]
                    made = made._replace(now=made.now | other.now, sent=made.sent | other.sent)
                together[key] = made, redirection
        return taken, list(together.values())

    def _ask(self, number: int, rule: Rule, flow: Flow, bit: int, device: str) -> Sequence[Turn]:
        key = (number, rule.transfer.stage, identity(rule.item), device, *flow[:3], bit)
        found = self._turns.get(key)
        if found is None:
            packet = self._filtering.packet(flow.version, flow.source, flow.destination, 1 << bit)
            found = self._turns[key] = rule.turns(self._spaces[number], packet, device) if packet is not None else ()
        return found

    def _rewritten(self, flow: Flow, packet: Packet) -> Flow:
        atoms = self._filtering.addresses[packet.version]
        service = 1 << self._filtering.services.of(packet)
        return Flow(packet.version, atoms.of(packet.source), atoms.of(packet.destination), service, flow.sent)

    def names(self, version: int, spaces: int, coarse: int) -> bool:
        """Whether an object in one of these spaces is asked on arrival about destinations in an atom of routing, by
        their addresses."""
        atoms = set(range(*self._filtering.addresses[version].inside(self._routing.addresses[version], coarse)))
        return any(
            rule.scope.destinations and not atoms.isdisjoint(self._atoms(version, rule.scope.destinations))
            for number in bits(spaces & self.holders)
            for rule in self._rules(number, ARRIVAL)
        )
