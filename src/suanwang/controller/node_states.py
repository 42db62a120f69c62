"""What the controller knows of every agent: connected or not, what it should hold, what it says it holds.

A node is *behind* from the commit that changed its program until its agent reports a revision at least as new. `wait`
sleeps until nobody connected is behind a revision. Marks are set by the committing thread before the commit is
answered, so that a `wait` that follows an answer can't miss it.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from suanwang.program.wire import Report

Problem = tuple[str, str, str]
"""An object of a program as text, error code, message."""

MOST_PROBLEMS = 100
"""Kept of one node's report; `failed` and `pending` still count all."""
MOST_REVISIONS = 256
"""Revisions of which it is remembered whose programs they changed."""


@dataclass(slots=True)
class NodeState:
    """One agent. Revisions are the store's, 0: none; `last_seen_s` is seconds since 1970, 0: never."""

    node: str
    connected: bool = False
    agent_version: str = ""
    applied_hash: str = ""
    applied_revision: int = 0
    done: int = 0
    pending: int = 0
    failed: int = 0
    repaired: int = 0
    """Objects that others had changed and the agent put back, since the controller started."""
    problems: tuple[Problem, ...] = ()
    last_seen_s: float = 0.0
    behind_since: int = 0
    """The oldest revision that changed the program and is not known to be applied; 0: up to date."""
    behind_until: int = 0
    """The newest such revision."""
    refusal: tuple[str, str] | None = None
    """Code and message, when the agent can't take what it was last sent."""

    @property
    def healthy(self) -> bool:
        """Whether what was asked of it stands there."""
        return not self.failed and self.refusal is None


@dataclass(frozen=True, slots=True)
class Waited:
    """Who is still behind a revision: connected and working, connected and failing, or away."""

    waiting: tuple[str, ...]
    failed: dict[str, tuple[Problem, ...]]
    absent: tuple[str, ...]


@dataclass(eq=False, slots=True)
class _Waiter:
    loop: asyncio.AbstractEventLoop
    event: asyncio.Event = field(default_factory=asyncio.Event)


class NodeStates:
    """States of all nodes. Thread-safe; `wait` is for coroutines."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._states: dict[str, NodeState] = {}
        self._behind: set[str] = set()
        self._failing: set[str] = set()
        self._touched: dict[int, frozenset[str]] = {}
        self._waiters: set[_Waiter] = set()

    def changed(self, nodes: Iterable[str], revision: int) -> None:
        """The programs of `nodes` changed at `revision`. Called by the committing thread."""
        with self._lock:
            touched = frozenset(nodes)
            self._touched[revision] = touched
            while len(self._touched) > MOST_REVISIONS:
                del self._touched[next(iter(self._touched))]
            for node in touched:
                self._mark(node, revision)

    def _mark(self, node: str, revision: int) -> None:
        state = self._states.setdefault(node, NodeState(node))
        state.behind_since = state.behind_since or revision
        state.behind_until = max(state.behind_until, revision)
        self._behind.add(node)

    def connected(self, node: str, agent_version: str, hash: str, *, wanted_hash: str, revision: int) -> None:
        """An agent said hello with the program `hash`; `wanted_hash` is what it should have at `revision`."""
        with self._lock:
            state = self._states.setdefault(node, NodeState(node))
            state.connected = True
            state.agent_version = agent_version
            state.applied_hash = hash
            state.refusal = None
            state.last_seen_s = self._clock()
            if hash != wanted_hash:
                self._mark(node, revision)
        self._wake()

    def disconnected(self, node: str) -> None:
        """Its connection ended."""
        with self._lock:
            if (state := self._states.get(node)) is not None:
                state.connected = False
                state.last_seen_s = self._clock()
        self._wake()

    def reported(self, node: str, report: Report, *, current: bool) -> None:
        """An agent says what came of a program; `current`: of the one that it was last sent."""
        with self._lock:
            self._report(self._states.setdefault(node, NodeState(node)), report, current)
        self._wake()

    def _report(self, state: NodeState, report: Report, current: bool) -> None:
        state.applied_hash = report.hash
        state.applied_revision = report.revision
        state.done, state.pending, state.failed = report.done, report.pending, report.failed
        state.repaired += report.repaired
        state.problems = report.problems[:MOST_PROBLEMS]
        state.last_seen_s = self._clock()
        if not current:
            return
        state.refusal = None
        (self._failing.add if report.failed else self._failing.discard)(state.node)
        if report.revision >= state.behind_until:
            if not report.pending:
                state.behind_since = state.behind_until = 0
                self._behind.discard(state.node)
        elif not report.pending:
            # What lies between is not remembered one by one: the node is taken to be behind from the next on.
            state.behind_since = max(state.behind_since, report.revision + 1)

    def refused(self, node: str, code: str, message: str) -> None:
        """An agent can't take what it was sent; it goes on with what it has."""
        with self._lock:
            state = self._states.setdefault(node, NodeState(node))
            state.refusal = (code, message)
            state.last_seen_s = self._clock()
        self._wake()

    def heard(self, node: str) -> None:
        """Something came from the agent."""
        with self._lock:
            if (state := self._states.get(node)) is not None:
                state.last_seen_s = self._clock()

    def forget(self, node: str) -> None:
        """The node is no more."""
        with self._lock:
            self._states.pop(node, None)
            self._behind.discard(node)
            self._failing.discard(node)
        self._wake()

    def get(self, node: str) -> NodeState:
        """A copy of one node's state."""
        with self._lock:
            return replace(self._states.get(node) or NodeState(node))

    def count_connected(self) -> int:
        """Agents connected now."""
        with self._lock:
            return sum(state.connected for state in self._states.values())

    def behind(self, revision: int) -> Waited:
        """Who has not applied `revision`, and where it fails. Work proportional to the nodes that are behind or
        failing.

        Of a revision that is too old to be remembered, every failing node is named.
        """
        waiting: list[str] = []
        failed: dict[str, tuple[Problem, ...]] = {}
        absent: list[str] = []
        with self._lock:
            for node in sorted(self._behind):
                state = self._states[node]
                if state.behind_since > revision:
                    continue
                if not state.connected:
                    absent.append(node)
                elif state.refusal is not None:
                    failed[node] = (("", *state.refusal),)
                else:
                    waiting.append(node)
            touched = self._touched.get(revision)
            for node in sorted(self._failing - self._behind):
                state = self._states[node]
                if state.connected and (touched is None or node in touched):
                    failed[node] = state.problems
        return Waited(tuple(waiting), failed, tuple(absent))

    async def wait(self, revision: int, timeout_s: float) -> Waited:
        """Returns when no connected agent is behind `revision` any more (it has applied or refused it), or at the
        timeout."""
        waiter = _Waiter(asyncio.get_running_loop())
        with self._lock:
            self._waiters.add(waiter)
        try:
            try:
                async with asyncio.timeout(timeout_s):
                    while (found := self.behind(revision)).waiting:
                        await waiter.event.wait()
                        waiter.event.clear()
                    return found
            except TimeoutError:
                return self.behind(revision)
        finally:
            with self._lock:
                self._waiters.discard(waiter)

    def _wake(self) -> None:
        with self._lock:
            waiters = list(self._waiters)
        for waiter in waiters:
            try:
                waiter.loop.call_soon_threadsafe(waiter.event.set)
            except RuntimeError:
                # Its loop was closed between the two: there is nobody to wake.
                continue
