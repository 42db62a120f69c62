"""The controller: from resources in the store to a program for every node, one change at a time.

It follows the store. Every commit, whoever made it, comes through `catch_up`: the changed resources are shown to the
compilers of all capabilities, each compiles what the change touches, and subscribers are told which nodes have a new
program. Programs are put together when someone asks for them.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Set
from dataclasses import dataclass
from time import monotonic_ns
from typing import Any

from suanwang.controller.admission import Change, admit, resource_from, stored
from suanwang.controller.gate import Gate, Judgement
from suanwang.controller.plan import BAD_PLAN, STALE_PLAN, Plan, PlannedChange, make_plan
from suanwang.controller.publication import Publication
from suanwang.model.errors import INVALID, NOT_FOUND, ErrorList, Place, SuanwangError, code
from suanwang.model.reference import Key, parse_key
from suanwang.model.registry import Compiler, Endpoint, Registry, Resource
from suanwang.model.resource import MOST_ERRORS
from suanwang.program import wire
from suanwang.program.fragment import MODULUS, Fragment
from suanwang.program.objects import Probe, Responder
from suanwang.program.program import NodeProgram
from suanwang.proof.codes import TENANTS_MEET
from suanwang.proof.finding import Finding
from suanwang.proof.packet import probe_packet
from suanwang.proof.prover import Verdict
from suanwang.proof.walk import Trace, round_trip
from suanwang.store.interface import Store

Subscriber = Callable[[frozenset[str], int], None]


@dataclass(frozen=True, slots=True)
class Applied:
    """What came of applying: the new revision, the nodes with new programs, and how long compiling took."""

    revision: int
    nodes: tuple[str, ...]
    changes: tuple[PlannedChange, ...]
    compile_us: int


@dataclass(frozen=True, slots=True)
class ProbePlaces:
    """Where an assertion is tried from and answered."""

    assertion: str
    expect: str
    source: str
    responders: tuple[str, ...]


PROOF_FAILS = code("PROOF_FAILS", "the change would break something that was promised")


class _Abandon(Exception):
    """Leaves a transaction without committing it."""


class Controller:
    """Plans, applies and compiles; safe to call from several threads."""

    def __init__(self, store: Store, registry: Registry) -> None:
        self.store = store
        self.registry = registry
        self._lock = threading.RLock()
        self._subscribers: list[Subscriber] = []
        self._watched: dict[str, list[Compiler]] = {}
        self._compilers: list[Compiler] = []
        for capability in registry.capabilities:
            if capability.compiler is None:
                continue
            compiler = capability.compiler()
            self._compilers.append(compiler)
            for kind in (*(kind.name for kind in capability.kinds), *capability.watches):
                self._watched.setdefault(kind, []).append(compiler)
        self._gate = Gate(self._compilers)
        self._publications: dict[str, list[Publication]] = {}
        self._revision = 0
        self._load()

    @property
    def revision(self) -> int:
        """The store revision that programs stand at."""
        return self._revision

    def _load(self) -> None:
        # Nothing that is loaded here is garbage, and there may be tens of millions of objects of it: the collector is
        # kept from walking them now, and, by freezing, in every later collection.
        was_enabled = gc.isenabled()
        gc.disable()
        try:
            self._revision = self.store.revision
            for kind in self.registry:
                for compiler in self._watched.get(kind.name, ()):
                    for entry in self.store.list(kind.name):
                        compiler.load(entry.key, stored(entry.body))
            for compiler in self._compilers:
                compiler.loaded()
        finally:
            if was_enabled:
                gc.enable()
        gc.collect(0)
        gc.freeze()

    def plan(
        self,
        resources: Iterable[Resource],
        deletions: Iterable[Key] = (),
        *,
        prune: bool = False,
        set_name: str = "",
        scope: Callable[[Key], bool] | None = None,
        places: Mapping[Key, Place] | None = None,
    ) -> Plan:
        """What applying would change. With `prune`, what belongs to the set but is not among `resources` goes.

        `scope` says which keys the caller may change; outside of it nothing is pruned. Raises what admission raises.
        """
        wanted = list(resources)
        if prune and not set_name:
            raise SuanwangError(INVALID, "pruning needs to know which set of resources is meant", "add --set NAME")
        with self._lock:
            if self.store.revision != self._revision:
                self.catch_up()
            changes: list[Change] = []
            base = self.store.revision
            try:
                with self.store.begin("plan") as transaction:
                    gone = list(deletions)
                    if prune:
                        members = transaction.values(f"set/{set_name}", limit=10**7)
                        kept = {resource.key for resource in wanted} | set(gone)
                        gone += [
                            key for key in map(parse_key, members) if key not in kept and (not scope or scope(key))
                        ]
                    changes = admit(transaction, self.registry, wanted, gone, places, self.problems())
                    raise _Abandon
            except _Abandon:
                pass
            return make_plan(base, changes, self._judge(changes))

    def apply(self, plan: Plan, author: str, message: str = "", accept: Collection[str] = ()) -> Applied:
        """Carry a plan out, verbatim. Raises STALE_PLAN when something it changes, or was promised, is no longer so,
        and PROOF_FAILS when it would break something whose subject is not in `accept`.
        """
        with self._lock:
            with self.store.begin(author, message) as transaction:
                for change in plan.changes:
                    entry = transaction.get(change.key)
                    if (entry.revision if entry else 0) != change.expect:
                        what = f"{change.key} was changed since the plan was made (revision {plan.base_revision})"
                        raise SuanwangError(STALE_PLAN, what, "make the plan again and look at it")
                resources = [
                    resource_from(change.key, change.after, self.registry)
                    for change in plan.changes
                    if change.after is not None
                ]
                deletions = [change.key for change in plan.changes if change.after is None]
                done = {change.key: change for change in admit(transaction, self.registry, resources, deletions)}
                for change in plan.changes:
                    now = done.get(change.key)
                    if now is None or now.after != change.after:
                        raise SuanwangError(
                            STALE_PLAN,
                            f"{change.key} would not turn out as planned",
                            "make the plan again and look at it",
                        )
                if len(done) != len(plan.changes):
                    raise SuanwangError(BAD_PLAN, "the plan names a resource twice", "make it again")
                # Judged from what is really there and will be, not from what the plan says of it.
                self._refuse_what_breaks(list(done.values()), accept)
            nodes, compile_us = self.catch_up()
            return Applied(self.store.revision, tuple(sorted(nodes)), plan.changes, compile_us)

    def rollback(self, revision: int, author: str, message: str = "", accept: Collection[str] = ()) -> Applied:
        """Bring back the content of an old revision, as a new one. Raises PROOF_FAILS as `apply` does."""
        with self._lock:
            if self.store.revision != self._revision:
                self.catch_up()
            self._refuse_what_breaks(self._changes_back_to(revision), accept)
            self.store.rollback(revision, author, message)
            nodes, compile_us = self.catch_up()
            return Applied(self.store.revision, tuple(sorted(nodes)), (), compile_us)

    def catch_up(self) -> tuple[set[str], int]:
        """Compile what was committed since; returns the nodes with new programs and the time it took."""
        with self._lock:
            started = monotonic_ns()
            watch = self.store.watch(self._revision)
            try:
                while (commit := watch.next(0)) is not None:
                    self._show((one.key, stored(one.body) if one.body is not None else None) for one in commit.changes)
                    self._revision = commit.revision
            finally:
                watch.close()
            changed = self._settle()
            elapsed_us = (monotonic_ns() - started) // 1000
            self._gate.follow(changed)
            for node, owners in changed.items():
                for publication in self._publications.get(node, ()):
                    publication.mark(owners)
            if changed:
                told = frozenset(changed)
                for subscriber in self._subscribers:
                    subscriber(told, self._revision)
            return set(changed), elapsed_us

    def subscribe(self, function: Subscriber) -> None:
        """Have `function(nodes, revision)` called, in the committing thread, whenever programs change. It must be
        quick.
        """
        self._subscribers.append(function)

    def program(self, node: str) -> NodeProgram:
        """A node's whole program. Raises CONTRADICTION where capabilities disagree, when its objects are asked for."""
        with self._lock:
            return NodeProgram(node, self._revision, tuple(self._fragments(node)))

    def hash(self, node: str) -> str:
        """The hash of a node's program, without putting the program together."""
        with self._lock:
            return f"{sum(compiler.fingerprint(node) for compiler in self._compilers) % MODULUS:032x}"

    def nodes(self) -> set[str]:
        """Nodes whose programs are not empty."""
        with self._lock:
            return {node for compiler in self._compilers for node in compiler.nodes()}

    def publish(self, hello: wire.Hello, wake: Callable[[], None]) -> Publication:
        """Begin to keep an agent up to date. `wake` is called, in the committing thread, when `next_update` has
        more.
        """
        with self._lock:
            publication = Publication(hello, wake)
            self._publications.setdefault(hello.node, []).append(publication)
            return publication

    def next_update(self, publication: Publication) -> wire.Update | None:
        """What leads the agent from what it was last sent to the present program; None when nothing changed."""
        with self._lock:
            if not publication.pending:
                return None
            node, base = publication.node, publication.hash
            remove, put = publication.difference(lambda owners: self._fragments(node, owners))
            publication.hash = self.hash(node)
            return wire.update(base, self._revision, publication.hash, remove, put)

    def unpublish(self, publication: Publication) -> None:
        """The agent went away."""
        with self._lock:
            present = self._publications.get(publication.node, [])
            if publication in present:
                present.remove(publication)
            if not present:
                self._publications.pop(publication.node, None)

    def problems(self) -> dict[Key, SuanwangError]:
        """Resources that could not be compiled, and why."""
        with self._lock:
            return {key: problem for compiler in self._compilers for key, problem in compiler.problems().items()}

    def probe_places(self, key: Key) -> ProbePlaces | None:
        """Where an assertion's probe and responders are, or None when it could not be compiled."""
        with self._lock:
            source, expect, responders = "", "", []
            for compiler in self._compilers:
                for node, part in compiler.placed(key):
                    for item in part.objects:
                        if isinstance(item, Probe):
                            source, expect = node, item.expect
                        elif isinstance(item, Responder):
                            responders.append(node)
            return ProbePlaces(key.title, expect, source, tuple(responders)) if source else None

    def _fragments(self, node: str, owners: Set[str] | None = None) -> Iterable[Fragment]:
        for compiler in self._compilers:
            yield from compiler.fragments(node, owners)

    def _settle(self) -> dict[str, set[str]]:
        changed: dict[str, set[str]] = {}
        for compiler in self._compilers:
            for node, owners in compiler.settle().items():
                changed.setdefault(node, set()).update(owners)
        return changed

    def prove(self) -> Verdict:
        """Prove everything that runs: every assertion, isolation of tenants, no loops, no wrong deliveries."""
        with self._lock:
            return self._gate.everything()

    def trace(
        self, source: Key, destination: Key | str, protocol: str, port: int, version: int = 0
    ) -> tuple[Trace, Trace | None]:
        """The way of a packet from one resource to another, or to an address, and of its answer if it arrives.

        Raises NOT_FOUND for what sends or receives nothing, INVALID where the two share no IP version.
        """
        with self._lock:
            sender = self._endpoint(source)
            targets = (destination,) if isinstance(destination, str) else self._endpoint(destination).addresses
            pairs = [(one, other) for other in targets for one in sender.addresses if (":" in one) == (":" in other)]
            pairs = [pair for pair in pairs if version in (0, 6 if ":" in pair[0] else 4)]
            if not pairs:
                message = f"{source} has no address of the IP version of {', '.join(targets)}"
                raise SuanwangError(INVALID, message, "name an address, or a port, of a version that it has")
            packet = probe_packet(protocol, *pairs[0], port)
            return round_trip(self._gate.tracer(sender.owner), sender.workload, packet)

    def _endpoint(self, key: Key) -> Endpoint:
        for compiler in self._compilers:
            found = compiler.endpoint(key)
            if found is not None:
                return found
        raise SuanwangError(NOT_FOUND, f"there is no {key} that sends or receives packets", "see `suanwang get port`")

    def _changes_back_to(self, revision: int) -> list[Change]:
        commits = self.store.history(since=revision, limit=2**62)
        keys = {change.key for commit in commits for change in commit.changes}
        old = {entry.key: stored(entry.body) for entry in self.store.at(revision) if entry.key in keys} if keys else {}
        changes = []
        for key in sorted(keys):
            entry = self.store.get(key)
            now = stored(entry.body) if entry else None
            if now != old.get(key):
                changes.append(Change(key, now, old.get(key), entry.revision if entry else 0))
        return changes

    def _judge(self, changes: list[Change]) -> Judgement:
        def forth() -> dict[str, set[str]]:
            self._show((change.key, change.after) for change in changes)
            return self._settle()

        def back() -> dict[str, set[str]]:
            self._show((change.key, change.before) for change in changes)
            return self._settle()

        return self._gate.judge(forth, back)

    def _refuse_what_breaks(self, changes: list[Change], accept: Collection[str]) -> None:
        judgement = self._judge(changes)
        refused = [one for one in judgement.broken if one.subject not in accept or one.code == TENANTS_MEET]
        if refused:
            errors = [
                SuanwangError(PROOF_FAILS, f"{one.subject}: {one.message} ({one.code})", _hint(one)) for one in refused
            ]
            raise errors[0] if len(errors) == 1 else ErrorList(errors[:MOST_ERRORS])

    def _show(self, documents: Iterable[tuple[Key, Mapping[str, Any] | None]]) -> None:
        for key, document in documents:
            for compiler in self._watched.get(key.kind, ()):
                compiler.change(key, document)


def _hint(finding: Finding) -> str:
    if finding.code == TENANTS_MEET:
        return "tenants never meet; nothing can allow this"
    where = finding.steps[-1] if finding.steps else None
    shown = f"on {where.node}, {where.netns}: {where.what}; " if where else ""
    return f"{shown}change the plan, or accept it: --accept {finding.subject}"
