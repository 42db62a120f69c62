"""The prover: keeps what was proven of all nodes' programs, and proves anew only what a change can affect.

It knows programs and nothing else. Fragments come and go by node and owner; each is split by namespace once. Spaces
are joined
to components by tunnels' network identifiers, and a component is proven as a whole; what was proven of a component is
remembered by the sum of its fragments' fingerprints, so trying a change and then making it costs one proof.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice

from suanwang.program.fragment import MODULUS, Fragment
from suanwang.program.objects import PortDevice, Probe, Vxlan
from suanwang.proof import codes
from suanwang.proof.assertions import judge
from suanwang.proof.component import Component
from suanwang.proof.finding import Finding
from suanwang.proof.packet import probe_packet
from suanwang.proof.space import Space, SpaceKey
from suanwang.proof.walk import Trace, round_trip

Tunnel = tuple[int, int]
"""(UDP port, VNI)."""

Fragments = Mapping[tuple[str, str], tuple[Fragment, ...]]
"""(node, owner) -> its fragments there; empty: none any more."""

MOST_FINDINGS = 100
"""Of one component; more would say nothing new."""

REMEMBERED = 20_000
"""Components whose findings are remembered."""

MOST_SPACES = 5000
"""Joined spaces that are kept for walks."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was proven: what is wrong, and how many assertions and components were looked at."""

    findings: tuple[Finding, ...]
    assertions: int
    components: int

    @property
    def proven(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings


@dataclass(slots=True)
class _Piece:
    """What one fragment says of one namespace. `name` is the fragment's; `workloads` are (workload, device)."""

    name: str
    fingerprint: int
    content: Space
    tunnels: tuple[Vxlan, ...]
    workloads: tuple[tuple[str, str], ...]


@dataclass(slots=True)
class _Held:
    """What is known of one space: its pieces by fragment, the sum of their fingerprints, its tunnels and ports."""

    pieces: dict[str, _Piece] = field(default_factory=dict)
    sum: int = 0
    tunnels: dict[Tunnel, int] = field(default_factory=dict)
    workloads: list[str] = field(default_factory=list)

    @property
    def is_router(self) -> bool:
        """Whether packets of workloads come here."""
        return bool(self.tunnels or self.workloads)


@dataclass(slots=True)
class _Split:
    """A fragment by namespace, and its probes."""

    uses: int
    pieces: dict[str, _Piece] = field(default_factory=dict)
    probes: tuple[Probe, ...] = ()


class Prover:
    """Proves programs, change by change. Not for several threads at once."""

    def __init__(self) -> None:
        self._parts: dict[tuple[str, str], tuple[Fragment, ...]] = {}
        self._splits: dict[int, _Split] = {}
        self._held: dict[SpaceKey, _Held] = {}
        self._by_tunnel: dict[Tunnel, dict[SpaceKey, int]] = {}
        self._tunnel_ends: dict[tuple[str, int, int], set[tuple[SpaceKey, str]]] = {}
        self._attached: dict[str, dict[SpaceKey, str]] = {}
        self._probes: dict[str, dict[str, Probe]] = {}
        self._dirty: set[SpaceKey] = set()
        self._dirty_workloads: set[str] = set()
        self._component_of: dict[SpaceKey, int] = {}
        self._members: dict[int, frozenset[SpaceKey]] = {}
        self._found: dict[int, tuple[Finding, ...]] = {}
        self._loose: dict[str, tuple[Finding, ...]] = {}
        self._next_number = 0
        self._memory: OrderedDict[bytes, tuple[tuple[Finding, ...], int]] = OrderedDict()
        self._spaces: dict[SpaceKey, Space] = {}

    # Taking in programs

    def change(self, fragments: Fragments) -> None:
        """Put these fragments in the place of what the same owners had on the same nodes."""
        for place, parts in fragments.items():
            node = place[0]
            old = self._parts.pop(place, ())
            kept = {part.fingerprint for part in parts}
            present = {part.fingerprint for part in old}
            for part in old:
                if part.fingerprint not in kept:
                    self._remove(node, part)
            for part in parts:
                if part.fingerprint not in present:
                    self._add(node, part)
            if parts:
                self._parts[place] = tuple(parts)

    def present(self, places: Iterable[tuple[str, str]]) -> dict[tuple[str, str], tuple[Fragment, ...]]:
        """What these owners have on these nodes now: to be given to `change` to go back."""
        return {place: self._parts.get(place, ()) for place in places}

    def settle(self) -> Verdict:
        """Prove what changed since the last time; returns what was found there, and how much of it was looked at."""
        touched = self._regroup()
        assertions = 0
        findings: list[Finding] = []
        for number in touched:
            members = self._members[number]
            self._found[number], count = self._prove(members)
            findings += self._found[number]
            assertions += count
            self._dirty_workloads.update(
                workload for key in members for workload in self._held[key].workloads if not self._is_attached(workload)
            )
        for workload in sorted(self._dirty_workloads):
            self._loose.pop(workload, None)
            if not self._is_attached(workload):
                if apart := tuple(self._apart(workload)):
                    self._loose[workload] = apart
                findings += apart
                assertions += len(self._probes.get(workload, ()))
        self._dirty.clear()
        self._dirty_workloads.clear()
        return Verdict(tuple(findings), assertions, len(touched))

    def findings(self) -> list[Finding]:
        """All that is wrong now."""
        return [one for found in (*self._found.values(), *self._loose.values()) for one in found]

    def components(self) -> Iterator[Component]:
        """What belongs together, each analysed anew: for those who want to know more than findings."""
        for members in self._members.values():
            yield Component({key: self._contents(key) for key in members}, self)

    @property
    def assertions(self) -> int:
        """How many assertions there are."""
        return sum(len(probes) for probes in self._probes.values())

    def trace(
        self, workload: str, protocol: str, source: str, destination: str, port: int
    ) -> tuple[Trace, Trace | None]:
        """The way of one packet, there and back."""
        return round_trip(self, workload, probe_packet(protocol, source, destination, port))

    # Surroundings of a walk

    def attachment(self, workload: str) -> tuple[Space, PortDevice] | None:
        """The space and port device that a workload hangs on; where there are several, the first by node."""
        for key, device in sorted(self._attached.get(workload, {}).items()):
            space = self.space(key)
            if device in space.ports:
                return space, space.ports[device]
        return None

    def tunnel_end(self, endpoint: str, udp_port: int, vni: int) -> tuple[Space, str] | None:
        """The space and tunnel device that receive what is sent to an endpoint with a network identifier."""
        place = self.tunnel_place(endpoint, udp_port, vni)
        return None if place is None else (self.space(place[0]), place[1])

    def tunnel_place(self, endpoint: str, udp_port: int, vni: int) -> tuple[SpaceKey, str] | None:
        """The same, by the space's key; where there are several, the first by node."""
        return min(self._tunnel_ends.get((endpoint, udp_port, vni), ()), default=None)

    def space(self, key: SpaceKey) -> Space:
        """A space, joined of its pieces when first asked for."""
        found = self._spaces.get(key)
        if found is None:
            if len(self._spaces) > MOST_SPACES:
                self._spaces.clear()
            found = self._spaces[key] = Space.joined(key, self._contents(key))
        return found

    def _contents(self, key: SpaceKey) -> list[Space]:
        held = self._held.get(key)
        if held is None:
            return []
        return [held.pieces[name].content for name in sorted(held.pieces)]

    # Bookkeeping

    def _split(self, part: Fragment) -> _Split:
        found = self._splits.get(part.fingerprint)
        if found is None:
            found = self._splits[part.fingerprint] = _Split(0)
            by_netns: dict[str, list[object]] = {}
            probes: list[Probe] = []
            for item in part.objects:
                if isinstance(item, Probe):
                    probes.append(item)
                else:
                    by_netns.setdefault(item.netns, []).append(item)
            found.probes = tuple(probes)
            for netns, items in by_netns.items():
                tunnels = tuple(item for item in items if isinstance(item, Vxlan))
                workloads = tuple((item.workload, item.device) for item in items if isinstance(item, PortDevice))
                content = Space((part.id, netns), items)
                found.pieces[netns] = _Piece(part.id, part.fingerprint, content, tunnels, workloads)
        return found

    def _add(self, node: str, part: Fragment) -> None:
        split = self._split(part)
        split.uses += 1
        for netns, piece in split.pieces.items():
            key = (node, netns)
            self._touch(key)
            held = self._held.get(key)
            if held is None:
                held = self._held[key] = _Held()
            held.pieces[piece.name] = piece
            held.sum = (held.sum + piece.fingerprint) % MODULUS
            for tunnel in piece.tunnels:
                spaces = self._by_tunnel.setdefault((tunnel.udp_port, tunnel.vni), {})
                spaces[key] = spaces.get(key, 0) + 1
                held.tunnels[tunnel.udp_port, tunnel.vni] = spaces[key]
                self._tunnel_ends.setdefault(_end(tunnel), set()).add((key, tunnel.device))
            for workload, device in piece.workloads:
                held.workloads.append(workload)
                self._attached.setdefault(workload, {})[key] = device
                self._touch_workload(workload)
        for probe in split.probes:
            self._probes.setdefault(probe.netns, {})[probe.assertion] = probe
            self._touch_workload(probe.netns)

    def _remove(self, node: str, part: Fragment) -> None:
        split = self._splits[part.fingerprint]
        for netns, piece in split.pieces.items():
            key = (node, netns)
            self._touch(key)
            held = self._held[key]
            held.sum = (held.sum - piece.fingerprint) % MODULUS
            if held.pieces.get(piece.name) is piece:
                del held.pieces[piece.name]
            for tunnel in piece.tunnels:
                self._remove_tunnel(key, held, tunnel)
            for workload, device in piece.workloads:
                held.workloads.remove(workload)
                if self._attached.get(workload, {}).get(key) == device:
                    del self._attached[workload][key]
                    if not self._attached[workload]:
                        del self._attached[workload]
                self._touch_workload(workload)
            if not held.pieces:
                del self._held[key]
        for probe in split.probes:
            present = self._probes.get(probe.netns, {})
            if present.get(probe.assertion) == probe:
                del present[probe.assertion]
            if not present:
                self._probes.pop(probe.netns, None)
            self._touch_workload(probe.netns)
        split.uses -= 1
        if not split.uses:
            del self._splits[part.fingerprint]

    def _remove_tunnel(self, key: SpaceKey, held: _Held, tunnel: Vxlan) -> None:
        identifier = (tunnel.udp_port, tunnel.vni)
        spaces = self._by_tunnel[identifier]
        if spaces[key] > 1:
            spaces[key] -= 1
            held.tunnels[identifier] -= 1
        else:
            del spaces[key], held.tunnels[identifier]
            if not spaces:
                del self._by_tunnel[identifier]
        ends = self._tunnel_ends[_end(tunnel)]
        ends.discard((key, tunnel.device))
        if not ends:
            del self._tunnel_ends[_end(tunnel)]

    def _touch(self, key: SpaceKey) -> None:
        self._dirty.add(key)
        self._spaces.pop(key, None)

    def _touch_workload(self, workload: str) -> None:
        self._dirty_workloads.add(workload)
        self._dirty.update(self._attached.get(workload, ()))

    def _regroup(self) -> list[int]:
        """Components of what changed, found anew; those that it was part of go. Returns the new ones."""
        seeds: set[SpaceKey] = set()
        for key in self._dirty:
            number = self._component_of.pop(key, None)
            if number is not None:
                seeds |= self._forget(number)
        seeds |= self._dirty
        made = []
        seen: set[SpaceKey] = set()
        for seed in sorted(seeds):
            if seed in seen or seed not in self._held or not self._held[seed].is_router:
                continue
            members = self._reachable(seed)
            seen |= members
            for key in members:
                number = self._component_of.get(key)
                if number is not None:
                    self._forget(number)
            number = self._next_number
            self._next_number += 1
            self._members[number] = frozenset(members)
            for key in members:
                self._component_of[key] = number
            made.append(number)
        return made

    def _forget(self, number: int) -> frozenset[SpaceKey]:
        members = self._members.pop(number, frozenset())
        self._found.pop(number, None)
        for key in members:
            if self._component_of.get(key) == number:
                del self._component_of[key]
        return members

    def _reachable(self, seed: SpaceKey) -> set[SpaceKey]:
        found = {seed}
        queue = [seed]
        passed: set[Tunnel] = set()
        while queue:
            for tunnel in self._held[queue.pop()].tunnels:
                if tunnel not in passed:
                    passed.add(tunnel)
                    others = self._by_tunnel[tunnel].keys() - found
                    found |= others
                    queue += others
        return found

    # Proving

    def _prove(self, members: frozenset[SpaceKey]) -> tuple[tuple[Finding, ...], int]:
        workloads = [
            workload
            for key in sorted(members)
            for workload in self._held[key].workloads
            if workload in self._probes and self._is_attached(workload)
        ]
        content = self._content(members, workloads)
        known = self._memory.get(content)
        if known is None:
            try:
                component = Component({key: self._contents(key) for key in members}, self)
                found = [*islice(component.findings(), MOST_FINDINGS), *self._assertions(workloads)]
            except ValueError as problem:
                # Not from our compilers, which check what they are given: written by hand, or by another release.
                netns = min(netns for _, netns in members)
                found = [Finding(codes.UNREADABLE_PROGRAM, netns, f"{netns}: {problem}")]
            count = sum(len(self._probes[workload]) for workload in workloads)
            known = self._memory[content] = tuple(found), count
            if len(self._memory) > REMEMBERED:
                self._memory.popitem(last=False)
        return known

    def _content(self, members: frozenset[SpaceKey], workloads: Iterable[str]) -> bytes:
        """A hash of all that the proof of a component rests on. Where a piece stands matters as much as what it
        says.
        """
        digest = hashlib.blake2b(digest_size=16)
        for key in sorted(members):
            digest.update(repr((key, self._held[key].sum)).encode())
        for workload in workloads:
            for name, probe in sorted(self._probes[workload].items()):
                digest.update(repr((workload, name, probe)).encode())
        return digest.digest()

    def _is_attached(self, workload: str) -> bool:
        """Whether a workload hangs on one place, so that what it can do is that component's affair."""
        return len(self._attached.get(workload, ())) == 1

    def _apart(self, workload: str) -> Iterator[Finding]:
        """What is wrong with a workload that is nowhere, or in several places."""
        places = self._attached.get(workload, {})
        if places:
            message = f"{workload} is attached in {', '.join(f'{netns} on {node}' for node, netns in sorted(places))}"
            yield Finding(codes.ATTACHED_TWICE, workload, message)
        yield from self._assertions([workload])

    def _assertions(self, workloads: Iterable[str]) -> Iterator[Finding]:
        for workload in workloads:
            for probe in self._probes.get(workload, {}).values():
                found = judge(self, probe)
                if found is not None:
                    yield found


def _end(tunnel: Vxlan) -> tuple[str, int, int]:
    return tunnel.local, tunnel.udp_port, tunnel.vni
