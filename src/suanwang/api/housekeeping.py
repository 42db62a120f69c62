"""What must follow every commit, whoever made it: compile problems become conditions, deleted nodes lose their
certificates.

It follows the store by revision, so it misses nothing and does everything once. `catch_up` brings it to the present:
handlers that change things await it before they answer, and a task does the same for all other commits.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable

from suanwang.controller.conditions import NODE, Conditions
from suanwang.controller.credentials import Credentials
from suanwang.controller.engine import Controller
from suanwang.controller.node_states import NodeStates
from suanwang.measure.figures import Recorder
from suanwang.measure.metrics import CONTROLLER_COMMITS, CONTROLLER_PROBLEMS, CONTROLLER_REVISION
from suanwang.model.errors import SuanwangError
from suanwang.model.reference import Key
from suanwang.store.faults import COMPACTED
from suanwang.store.interface import Store

RETRY_S = 5.0
PAUSE_S = 0.2
"""Between two writings of conditions, so that a storm of changes makes few of them."""
DAY_S = 86_400.0

log = logging.getLogger("suanwang.api.housekeeping")


class Housekeeping:
    """Follows the store from `start` to `close`. Belongs to one event loop."""

    def __init__(
        self,
        store: Store,
        controller: Controller,
        credentials: Credentials,
        states: NodeStates,
        conditions: Conditions,
        figures: Recorder,
        noted: asyncio.Event,
        drop: Callable[[str], None],
    ) -> None:
        self._store = store
        self._controller = controller
        self._credentials = credentials
        self._states = states
        self._conditions = conditions
        self._figures = figures
        self._noted = noted
        self._drop = drop
        self._revision = store.revision
        self._lock = asyncio.Lock()
        self._tasks: list[asyncio.Task[None]] = []
        self._unsubscribe: Callable[[], None] | None = None

    async def start(self) -> None:
        """Bring everything to the present and follow from there."""
        loop = asyncio.get_running_loop()
        self._figures.set(CONTROLLER_REVISION, self._revision)

        def ring(revision: int) -> None:
            # The store may outlive the loop for a moment when the server stops.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self._noted.set)

        self._unsubscribe = self._store.subscribe(ring)
        await asyncio.to_thread(self._revoke_absent)
        self._tasks = [asyncio.create_task(self._follow()), asyncio.create_task(self._forget_daily())]
        self._noted.set()

    async def close(self) -> None:
        """End; conditions that wait to be written are written."""
        if self._unsubscribe is not None:
            self._unsubscribe()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with contextlib.suppress(SuanwangError):
            await asyncio.to_thread(self._conditions.flush)

    async def catch_up(self) -> None:
        """See to every commit that was made until now."""
        async with self._lock:
            gone, commits, revision = await asyncio.to_thread(self._read, self._revision)
            for node in gone:
                await asyncio.to_thread(self._credentials.revoke, node)
                self._states.forget(node)
                self._drop(node)
                log.info("node %s was deleted: its certificates are revoked", node)
            self._revision = revision
            self._figures.add(CONTROLLER_COMMITS, commits)
            self._figures.set(CONTROLLER_REVISION, revision)

    def _read(self, since: int) -> tuple[list[str], int, int]:
        """Nodes deleted by commits after `since`, how many commits there were, and the last one's revision."""
        gone: list[str] = []
        commits = 0
        try:
            watch = self._store.watch(since)
        except SuanwangError as problem:
            if problem.code != COMPACTED:
                raise
            self._revoke_absent()
            return [], 0, self._store.revision
        try:
            while (commit := watch.next(0)) is not None:
                commits += 1
                gone += [c.key.name for c in commit.changes if c.key.kind == NODE and c.body is None]
            return gone, commits, watch.revision
        finally:
            watch.close()

    def _revoke_absent(self) -> None:
        """Certificates of nodes that went while nobody watched."""
        for node in self._credentials.enrolled():
            if self._store.get(Key(NODE, "", node)) is None:
                self._credentials.revoke(node)
                log.info("node %s does not exist: its certificates are revoked", node)

    async def _follow(self) -> None:
        while True:
            await self._noted.wait()
            self._noted.clear()
            try:
                await self.catch_up()
                problems = await asyncio.to_thread(self._controller.problems)
                self._figures.set(CONTROLLER_PROBLEMS, len(problems))
                self._conditions.compiled(problems, self._controller.revision)
                await asyncio.to_thread(self._conditions.flush)
                await asyncio.sleep(PAUSE_S)
            except SuanwangError as problem:
                log.warning("conditions are not written: %s", problem.message)
                self._noted.set()
                await asyncio.sleep(RETRY_S)
            except Exception:
                log.exception("housekeeping failed and is tried again")
                self._noted.set()
                await asyncio.sleep(RETRY_S)

    async def _forget_daily(self) -> None:
        while True:
            await asyncio.to_thread(self._credentials.forget_expired)
            await asyncio.sleep(DAY_S)
