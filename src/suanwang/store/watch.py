"""A watch reads the history at its own pace; commits only wake it. So a slow one costs the writers nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from suanwang.store.interface import Commit


class Bell:
    """Tells waiting threads the revision of the last commit, and that the store was closed."""

    def __init__(self, revision: int) -> None:
        self.revision = revision
        self.closed = False
        self.changed = threading.Condition()

    def ring(self, revision: int) -> None:
        """A commit was made."""
        with self.changed:
            self.revision = max(self.revision, revision)
            self.changed.notify_all()

    def close(self) -> None:
        """No more commits will come."""
        with self.changed:
            self.closed = True
            self.changed.notify_all()


class SqliteWatch:
    """See `interface.Watch`. `read` gives the commit after a revision."""

    def __init__(self, since: int, bell: Bell, read: Callable[[int], Commit | None]) -> None:
        self._revision = since
        self._bell = bell
        self._read = read
        self._closed = False

    @property
    def revision(self) -> int:
        """See `interface.Watch`."""
        return self._revision

    @property
    def closed(self) -> bool:
        """See `interface.Watch`."""
        return self._is_over()

    def next(self, timeout_s: float | None = None) -> Commit | None:
        """See `interface.Watch`."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        with self._bell.changed:
            while not self._is_over() and self._bell.revision <= self._revision:
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    return None
                self._bell.changed.wait(left)
        if self._is_over():
            return None
        try:
            commit = self._read(self._revision)
        except RuntimeError:
            if self._is_over():  # while it was reading
                return None
            raise
        if commit is not None:
            self._revision = commit.revision
        return commit

    def _is_over(self) -> bool:
        return self._closed or self._bell.closed

    def close(self) -> None:
        """See `interface.Watch`."""
        with self._bell.changed:
            self._closed = True
            self._bell.changed.notify_all()
