"""The store on SQLite: one file, one process, many threads."""

from __future__ import annotations

import builtins
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from types import TracebackType

from suanwang.model.reference import Key
from suanwang.store.database import Database
from suanwang.store.interface import Claim, Commit, Entry
from suanwang.store.limits import (
    MAX_MESSAGE_CHARACTERS,
    MAX_NAME_CHARACTERS,
    check_body,
    check_key,
    check_text,
    unstorable,
)
from suanwang.store.past import (
    check_readable,
    commit_after,
    commits,
    compact_batch,
    compacted_at,
    content_at,
    last_revision,
    restore,
)
from suanwang.store.scan import ENTRY_COLUMNS, claims_of, entry_at, entry_of, owner_of, scan
from suanwang.store.transaction import SqliteTransaction
from suanwang.store.watch import Bell, SqliteWatch

_log = logging.getLogger(__name__)

_STATUS_BATCH = 2000

_PAUSE_S = 0.001


def _now_us() -> int:
    return time.time_ns() // 1000


class SqliteStore:
    """See `interface.Store`. `path` is a file, made (mode 0600) if it is not there, or `:memory:`.

    In memory, threads read and write in turn, and the thread that has a transaction open reads from the store what
    that transaction did. `clock_us` gives the time of commits. Raises STORE_LOCKED, STORE_FULL, STORE_UNREADABLE,
    STORE_NEWER.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        size_limit_bytes: int | None = None,
        clock_us: Callable[[], int] = _now_us,
    ) -> None:
        self._database = Database(os.fspath(path), size_limit_bytes)
        self._clock_us = clock_us
        self._subscribers: tuple[Callable[[int], None], ...] = ()
        self._subscribers_lock = threading.Lock()
        try:
            with self._database.reading() as connection:
                self._bell = Bell(last_revision(connection))
                self._compacted = compacted_at(connection)
        except BaseException:
            self._database.close()
            raise

    def __enter__(self) -> SqliteStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def revision(self) -> int:
        """See `interface.Store`."""
        return self._bell.revision

    @property
    def compacted(self) -> int:
        """See `interface.Store`."""
        return self._compacted

    def get(self, key: Key) -> Entry | None:
        """See `interface.Store`."""
        with self._database.reading() as connection:
            return entry_at(connection, key)

    def list(
        self,
        kind: str | None = None,
        tenant: str | None = None,
        *,
        after: Key | None = None,
        limit: int | None = None,
    ) -> Iterator[Entry]:
        """See `interface.Store`."""
        return self._database.stream(
            lambda connection: map(entry_of, scan(connection, "entry", ENTRY_COLUMNS, kind, tenant, after, limit))
        )

    @contextmanager
    def begin(self, author: str, message: str = "", *, time_us: int | None = None) -> Iterator[SqliteTransaction]:
        """See `interface.Store`."""
        check_text("author", author, MAX_NAME_CHARACTERS)
        check_text("message", message, MAX_MESSAGE_CHARACTERS)
        with self._database.writing() as connection:
            transaction = SqliteTransaction(connection, self._database.path, last_revision(connection))
            try:
                yield transaction
                changed = transaction.finish(author, message, self._clock_us() if time_us is None else time_us)
            finally:
                transaction.end()
            if changed:
                connection.execute("COMMIT")
                self._bell.ring(transaction.revision)
        if changed:
            self._tell(transaction.revision)

    def owner(self, scope: str, value: str) -> Key | None:
        """See `interface.Store`."""
        with self._database.reading() as connection:
            return owner_of(connection, scope, value)

    def claims(self, owner: Key) -> builtins.list[Claim]:
        """See `interface.Store`."""
        with self._database.reading() as connection:
            return claims_of(connection, owner)

    def history(
        self,
        key: Key | None = None,
        *,
        tenant: str | None = None,
        since: int = 0,
        limit: int = 100,
        changes: bool = True,
    ) -> builtins.list[Commit]:
        """See `interface.Store`."""
        with self._database.reading() as connection:
            return commits(connection, key, tenant, since, limit, changes)

    def at(self, revision: int) -> Iterator[Entry]:
        """See `interface.Store`."""
        check_readable(revision, self._compacted, self.revision)
        return self._database.stream(lambda connection: content_at(connection, revision))

    def watch(self, since: int) -> SqliteWatch:
        """See `interface.Store`."""
        check_readable(since, self._compacted, self.revision)
        return SqliteWatch(since, self._bell, self._commit_after)

    def subscribe(self, function: Callable[[int], None]) -> Callable[[], None]:
        """See `interface.Store`."""

        def unsubscribe() -> None:
            with self._subscribers_lock:
                self._subscribers = tuple(other for other in self._subscribers if other is not function)

        with self._subscribers_lock:
            self._subscribers = (*self._subscribers, function)
        return unsubscribe

    def rollback(self, revision: int, author: str, message: str = "") -> int:
        """See `interface.Store`."""
        with self.begin(author, message or f"rollback to revision {revision}") as transaction:
            check_readable(revision, self._compacted, self.revision)
            restore(transaction, revision)
        return transaction.revision

    def compact(self, before_revision: int) -> None:
        """See `interface.Store`."""
        with self._database.writing() as connection:
            check_readable(before_revision, 0, self.revision)
            if before_revision > self._compacted:
                # First the promise, then the work: no reader sees a past with holes, and a crash leaves only rows
                # that nobody reads, for the next compaction.
                connection.execute("UPDATE past SET compacted = ?", (before_revision,))
                connection.execute("COMMIT")
                self._compacted = before_revision
        more = True
        while more:
            with self._database.writing() as connection:
                more = compact_batch(connection, self._compacted)
                connection.execute("COMMIT")
            # The lock is not fair: without a pause a waiting writer might not get its turn between two batches.
            time.sleep(_PAUSE_S)

    def status(self, key: Key) -> bytes | None:
        """See `interface.Store`."""
        with self._database.reading() as connection:
            row = connection.execute(
                "SELECT body FROM status WHERE kind = ? AND tenant = ? AND name = ?", key
            ).fetchone()
        return row[0] if row else None

    def statuses(self, kind: str | None = None, tenant: str | None = None) -> Iterator[tuple[Key, bytes]]:
        """See `interface.Store`."""

        def read(connection: sqlite3.Connection) -> Iterator[tuple[Key, bytes]]:
            for row in scan(connection, "status", "body", kind, tenant):
                yield Key(*row[:3]), row[3]

        return self._database.stream(read)

    def set_status(self, items: Iterable[tuple[Key, bytes | None]]) -> None:
        """See `interface.Store`."""
        source = iter(items)
        # Taken before the lock is: where they come from may be slow, or read from the store.
        while batch := [*islice(source, _STATUS_BATCH)]:
            for key, body in batch:
                check_key(key)
                check_body(body or b"")
            with self._database.writing() as connection:
                try:
                    _write_statuses(connection, batch)
                except UnicodeEncodeError as error:
                    raise unstorable() from error
                connection.execute("COMMIT")

    def close(self) -> None:
        """See `interface.Store`."""
        # Watches first: they must not read from what is going away.
        self._bell.close()
        self._database.close()

    def _commit_after(self, revision: int) -> Commit | None:
        with self._database.reading() as connection:
            return commit_after(connection, revision)

    def _tell(self, revision: int) -> None:
        for function in self._subscribers:
            try:
                function(revision)
            except Exception:
                # The commit stands, whatever a listener makes of it.
                _log.exception("a subscriber of the store failed at revision %d", revision)


def _write_statuses(connection: sqlite3.Connection, batch: list[tuple[Key, bytes | None]]) -> None:
    for key, body in batch:
        if body is None:
            connection.execute("DELETE FROM status WHERE kind = ? AND tenant = ? AND name = ?", key)
        else:
            # The same status again, which is what reconcilers mostly say, writes nothing.
            connection.execute(
                "INSERT INTO status SELECT kind, tenant, name, ?4 FROM entry WHERE kind = ?1 AND tenant = ?2"
                " AND name = ?3 ON CONFLICT DO UPDATE SET body = excluded.body WHERE body IS NOT excluded.body",
                (*key, body),
            )
