"""The gate: no plan passes that breaks an assertion or lets tenants meet, unless whoever applies it says so.

What a change touches is compiled for a moment, proven, and taken back. Proof is by owner (a VPC, say): the first
change that
touches one has all its fragments taken into the prover, and from then on it is kept up to date, so an ordinary change
costs the proof of what it touches. `everything` proves all owners there are, in batches, for those who ask.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from suanwang.model.registry import Compiler
from suanwang.program.fragment import Fragment
from suanwang.program.objects import Vxlan
from suanwang.proof.finding import Finding
from suanwang.proof.prover import Prover, Verdict

MOST_OWNERS = 50_000
"""Owners that the prover keeps; the one longest untouched goes first, with those that belong to it."""

BATCH = 200
"""Owners that `everything` proves at a time."""

Changed = Mapping[str, set[str]]
"""node -> owners whose fragments changed."""

Places = dict[tuple[str, str], tuple[Fragment, ...]]


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a change would do: the nodes whose programs change, what it breaks and mends, and how much was proven."""

    nodes: frozenset[str]
    broken: tuple[Finding, ...]
    mended: tuple[Finding, ...]
    assertions: int
    components: int


class Gate:
    """Judges changes for a controller. Used under the controller's lock."""

    def __init__(self, compilers: Iterable[Compiler]) -> None:
        self._compilers = list(compilers)
        self._prover = Prover()
        self._owners: OrderedDict[str, set[str]] = OrderedDict()

    def judge(self, forth: Callable[[], Changed], back: Callable[[], Changed]) -> Judgement:
        """Try a change: `forth` compiles it, `back` undoes that; both return what changed, and nobody is told."""
        changed = forth()
        tried = True
        try:
            # What belongs to what is touched is proven with it, and may itself change, so it is asked on both sides.
            strangers = self._strangers(changed)
            if strangers:
                # What they had before is needed, to tell what the change breaks from what was broken.
                back()
                tried = False
                self._take_in(strangers)
                changed = forth()
                tried = True
            before = {one.identity: one for one in self._prover.findings()}
            places = [(node, owner) for node, owners in changed.items() for owner in owners]
            earlier = self._prover.present(places)
            self._change(self._now(changed))
            try:
                verdict = self._prover.settle()
                after = {one.identity: one for one in self._prover.findings()}
            finally:
                self._prover.change(earlier)
                self._prover.settle()
        finally:
            if tried:
                back()
        broken = tuple(one for identity, one in after.items() if identity not in before)
        mended = tuple(one for identity, one in before.items() if identity not in after)
        return Judgement(frozenset(changed), broken, mended, verdict.assertions, verdict.components)

    def follow(self, changed: Changed) -> None:
        """A change was made: bring up to date what is kept, and take in what is to be proven together with it."""
        kept = {
            node: present for node, owners in changed.items() if (present := {o for o in owners if o in self._owners})
        }
        self._change(self._now(kept))
        families = (self._related(owner) for owner in {owner for owners in changed.values() for owner in owners})
        self._take_in([one for family in families if not family.isdisjoint(self._owners) for one in family])

    def everything(self) -> Verdict:
        """Prove all owners of all capabilities, and that no two of different batches share a network identifier."""
        findings: list[Finding] = []
        assertions = components = 0
        seen: set[str] = set()
        networks: dict[tuple[int, int], set[str]] = {}
        waiting = sorted({owner for compiler in self._compilers for owner in compiler.owners()})
        prover, size = Prover(), 0
        for number, owner in enumerate(waiting, 1):
            if owner not in seen:
                family = self._related(owner)
                seen |= family
                for one in family:
                    places = self._places(one)
                    prover.change(places)
                    for network in _networks(places):
                        networks.setdefault(network, set()).add(one)
                size += 1
            if size == BATCH or number == len(waiting):
                verdict = prover.settle()
                findings += verdict.findings
                assertions += verdict.assertions
                components += verdict.components
                prover, size = Prover(), 0
        for sharing in networks.values():
            if len(sharing) > 1:
                for one in sharing:
                    prover.change(self._places(one))
                findings += prover.settle().findings
        return Verdict(tuple(dict.fromkeys(findings)), assertions, components)

    def tracer(self, owner: str) -> Prover:
        """A prover that knows an owner and what belongs to it, to follow packets with."""
        prover = Prover()
        for one in self._related(owner):
            prover.change(self._places(one))
        prover.settle()
        return prover

    def _strangers(self, changed: Changed) -> set[str]:
        touched = {owner for owners in changed.values() for owner in owners}
        return {one for owner in touched for one in self._related(owner) if one not in self._owners}

    def _take_in(self, owners: Iterable[str]) -> None:
        for one in {one for owner in owners for one in self._related(owner)}:
            if one not in self._owners:
                self._owners[one] = set()
                self._change(self._places(one))
            self._owners.move_to_end(one)
        while len(self._owners) > MOST_OWNERS:
            for one in self._related(next(iter(self._owners))):
                self._prover.change({(node, one): () for node in self._owners.pop(one, ())})
        self._prover.settle()

    def _change(self, places: Places) -> None:
        for node, owner in places:
            # What one plan touches may be more than is kept.
            self._owners.setdefault(owner, set()).add(node)
        self._prover.change(places)

    def _related(self, owner: str) -> set[str]:
        return {owner}.union(*(compiler.related(owner) for compiler in self._compilers))

    def _places(self, owner: str) -> Places:
        """All fragments of an owner."""
        found: Places = {}
        for compiler in self._compilers:
            for node in compiler.nodes_of(owner):
                found[node, owner] = (*found.get((node, owner), ()), *compiler.fragments(node, {owner}))
        return found

    def _now(self, changed: Changed) -> Places:
        found: Places = {(node, owner): () for node, owners in changed.items() for owner in owners}
        for node, owners in changed.items():
            gathered: dict[str, list[Fragment]] = {}
            for compiler in self._compilers:
                for part in compiler.fragments(node, owners):
                    gathered.setdefault(part.owner, []).append(part)
            found.update({(node, owner): tuple(parts) for owner, parts in gathered.items()})
        return found


def _networks(places: Places) -> set[tuple[int, int]]:
    """Network identifiers (UDP port, VNI) of tunnels among fragments."""
    return {
        (item.udp_port, item.vni)
        for parts in places.values()
        for part in parts
        for item in part.objects
        if isinstance(item, Vxlan)
    }
