"""The connections to one SQLite database: one that writes, and a pool of others that read.

In a file, readers work on snapshots (write-ahead log, sqlite.org/wal.html): they never wait for the writer, nor it for
them. A database in memory can't do that; there all share one connection in turn.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from suanwang.store.faults import fault
from suanwang.store.limits import unstorable
from suanwang.store.lock import FileLock
from suanwang.store.schema import prepare

T = TypeVar("T")

_IDLE_READERS = 8
_WRITER_CACHE_KIB = 64 * 1024
_READER_CACHE_KIB = 8 * 1024
_LOG_LIMIT_BYTES = 64 << 20
"""To what the write-ahead log is cut after a large transaction."""
_BUSY_TIMEOUT_MS = 5000
"""Only programs that are not Suanwang can make the writer wait at all."""


class Database:
    """An open store file, or `:memory:`, held against other processes.

    `size_limit_bytes` bounds the file (not its log), STORE_FULL being raised beyond. Raises STORE_LOCKED,
    STORE_UNREADABLE, STORE_NEWER, STORE_FULL.
    """

    def __init__(self, path: str, size_limit_bytes: int | None = None) -> None:
        self.in_memory = path == ":memory:"
        # All names of one file must lead to one lock.
        self.path = path if self.in_memory else os.path.realpath(path)
        self.closed = False
        self._turn = threading.RLock()
        self._writing = False
        # A deque, for its methods take no lock: the garbage collector may end a stream, which gives its connection
        # back, in the middle of any other call here.
        self._idle: deque[sqlite3.Connection] = deque()
        self._lock = None if self.in_memory else FileLock(self.path)
        try:
            self._writer = self._open_writer(size_limit_bytes)
        except BaseException:
            if self._lock:
                self._lock.release()
            raise

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """The writing connection, inside of a transaction, to one thread at a time.

        The caller commits, with `COMMIT`; what is not committed at the end of the block is rolled back.
        """
        with self._turn:
            if self._writing:
                raise RuntimeError("a transaction was begun inside of another one of the same thread")
            self._check_open()
            connection = self._writer
            self._writing = True
            try:
                connection.execute("BEGIN IMMEDIATE")
                yield connection
            except sqlite3.Error as error:
                raise fault(error, self.path) from error
            finally:
                self._writing = False
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection that sees one committed revision for as long as it is held."""
        if self.in_memory:
            with self._turn:
                self._check_open()
                try:
                    yield self._writer
                except UnicodeEncodeError as error:
                    raise unstorable() from error
            return
        connection = self._borrow()
        try:
            connection.execute("BEGIN")
            yield connection
        except UnicodeEncodeError as error:
            raise unstorable() from error
        except sqlite3.Error as error:
            raise fault(error, self.path) from error
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            self._give_back(connection)

    def stream(self, read: Callable[[sqlite3.Connection], Iterator[T]]) -> Iterator[T]:
        """What `read` yields, all from one revision, row by row; nothing is held by a file's stream."""
        if self.in_memory:
            with self.reading() as connection:
                rows = list(read(connection))
            yield from rows
            return
        with self.reading() as connection:
            yield from read(connection)

    def close(self) -> None:
        """Close the connections that are not in use; a stream that still runs closes its own when it ends."""
        with self._turn:
            if self._writing:
                raise RuntimeError("the store is closed inside of a transaction")
            if self.closed:
                return
            self.closed = True
            self._close_idle()
            self._writer.close()
            if self._lock:
                self._lock.release()

    def _check_open(self) -> None:
        if self.closed:
            raise RuntimeError(f"store {self.path} is closed")

    def _borrow(self) -> sqlite3.Connection:
        self._check_open()
        try:
            return self._idle.pop()
        except IndexError:
            pass
        connection = self._connect(_READER_CACHE_KIB)
        connection.execute("PRAGMA query_only = ON")
        return connection

    def _give_back(self, connection: sqlite3.Connection) -> None:
        if len(self._idle) < _IDLE_READERS:
            self._idle.append(connection)
        else:
            connection.close()
        # Looked at last: the store may be closed by another thread at any moment.
        if self.closed:
            self._close_idle()

    def _close_idle(self) -> None:
        try:
            while True:
                self._idle.pop().close()
        except IndexError:
            pass

    def _open_writer(self, size_limit_bytes: int | None) -> sqlite3.Connection:
        if not self.in_memory:
            try:
                # SQLite would give it the mode that the umask leaves; its log files get the mode of this one.
                os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            except OSError as error:
                raise fault(error, self.path) from error
        connection = self._connect(_WRITER_CACHE_KIB)
        try:
            prepare(connection, self.path)
            if not self.in_memory:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute(f"PRAGMA journal_size_limit = {_LOG_LIMIT_BYTES}")
            connection.execute("PRAGMA synchronous = FULL")
            if size_limit_bytes is not None:
                page_bytes: int = connection.execute("PRAGMA page_size").fetchone()[0]
                connection.execute(f"PRAGMA max_page_count = {max(1, size_limit_bytes // page_bytes)}")
        except sqlite3.Error as error:
            connection.close()
            raise fault(error, self.path) from error
        except BaseException:
            connection.close()
            raise
        return connection

    def _connect(self, cache_kib: int) -> sqlite3.Connection:
        # SQLite is built serialised (sqlite3.threadsafety == 3); that one thread at a time uses it is seen to above.
        try:
            connection = sqlite3.connect(
                self.path, timeout=_BUSY_TIMEOUT_MS / 1000, isolation_level=None, check_same_thread=False
            )
            try:
                connection.execute(f"PRAGMA cache_size = -{cache_kib}")
            except BaseException:
                connection.close()
                raise
        except sqlite3.Error as error:
            raise fault(error, self.path) from error
        return connection
