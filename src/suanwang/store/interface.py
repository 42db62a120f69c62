"""What a store promises, whatever database stands behind it.

A store holds entries (opaque bodies under keys) and claims (unique values under scopes). Each transaction that changes
anything makes one revision; revisions count 1, 2, 3, … without gaps. Past revisions can be read, watched and rolled
back to until they are compacted away.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

from suanwang.model.reference import Key


class Entry(NamedTuple):
    """What stands under a key: its body, and the revisions that created it and last changed it."""

    key: Key
    body: bytes
    created: int
    revision: int


class Change(NamedTuple):
    """What one commit did to one key. `body` is the new body; None: deleted."""

    key: Key
    body: bytes | None


class Commit(NamedTuple):
    """One revision: its net changes ordered by key, and who made it, why and when (microseconds since 1970, UTC)."""

    revision: int
    changes: tuple[Change, ...]
    author: str
    message: str
    time_us: int


class Claim(NamedTuple):
    """`owner` alone has `value` within `scope`."""

    scope: str
    value: str
    owner: Key


class Transaction(Protocol):
    """A set of changes that happens whole or not at all. It sees its own changes; nobody else does before the end."""

    @property
    def revision(self) -> int:
        """The revision that this transaction makes; once it has ended without a net change, the one that it found."""
        ...

    def get(self, key: Key) -> Entry | None:
        """The entry under `key`."""
        ...

    def list(
        self,
        kind: str | None = None,
        tenant: str | None = None,
        *,
        after: Key | None = None,
        limit: int | None = None,
    ) -> Iterator[Entry]:
        """Entries ordered by key. Changing entries meanwhile is allowed."""
        ...

    def put(self, key: Key, body: bytes, *, expect: int | None = None) -> None:
        """Create or replace. The body that is there already is no change.

        `expect` is the revision of the entry that the caller saw, 0 if it saw none. Raises CONFLICT if that is no
        longer so, TOO_LARGE for a body above the limit.
        """
        ...

    def delete(self, key: Key, *, expect: int | None = None) -> None:
        """Remove the entry, its status and all claims that it owns. Raises NOT_FOUND, CONFLICT."""
        ...

    def claim(self, scope: str, value: str, owner: Key) -> None:
        """Give `value` to `owner`. To have it already is fine; raises ALREADY_CLAIMED if another has it."""
        ...

    def release(self, owner: Key, scope: str | None = None, value: str | None = None) -> None:
        """Take back what `owner` has: all of it, or that in `scope`, or only `value` there. Nothing there is fine."""
        ...

    def owner(self, scope: str, value: str) -> Key | None:
        """Who has `value`."""
        ...

    def claims(self, owner: Key) -> builtins.list[Claim]:
        """All that `owner` has, ordered by scope and value."""
        ...

    def values(self, scope: str, start: str = "", *, limit: int = 1000, reverse: bool = False) -> builtins.list[str]:
        """Claimed values from `start` on, in order of their characters (fixed-width hexadecimal sorts as numbers).

        With `reverse` from the greatest down, to `start`: the first one is the greatest that is claimed.
        """
        ...

    def count(self, scope: str) -> int:
        """How many values are claimed; work proportional to the answer."""
        ...


class Watch(Protocol):
    """A reader that gets every commit after a revision, in order, none missed. For one thread at a time."""

    @property
    def revision(self) -> int:
        """The revision of the last commit that was read."""
        ...

    @property
    def closed(self) -> bool:
        """Whether the watch or its store was closed."""
        ...

    def next(self, timeout_s: float | None = None) -> Commit | None:
        """The next commit; None when none came within the time (None waits for ever) or the watch was closed.

        Raises COMPACTED when it was dropped before it could be read: list anew and watch from there.
        """
        ...

    def close(self) -> None:
        """End it; a `next` that waits in another thread returns."""
        ...


class Store(Protocol):
    """Entries, claims and their past. All methods may be called from any thread."""

    @property
    def revision(self) -> int:
        """The revision of the last commit; 0 when nothing was ever written."""
        ...

    @property
    def compacted(self) -> int:
        """The oldest revision that can still be read; history holds the commits after it."""
        ...

    def get(self, key: Key) -> Entry | None:
        """The entry under `key`."""
        ...

    def list(
        self,
        kind: str | None = None,
        tenant: str | None = None,
        *,
        after: Key | None = None,
        limit: int | None = None,
    ) -> Iterator[Entry]:
        """Entries ordered by (kind, tenant, name), only those after `after`, at most `limit`.

        All of one revision: that of the moment when the first is read. Nothing is held but the entry at hand, and no
        writer waits. Close the iterator, or read it to its end, soon: see docs/rooms/store.md, "Limits".
        """
        ...

    def begin(
        self, author: str, message: str = "", *, time_us: int | None = None
    ) -> AbstractContextManager[Transaction]:
        """Change things: `with store.begin("ann") as transaction: …` commits at the end and rolls back on exceptions.

        One writer at a time; others wait. Leaving the block normally means that the commit is on the disk. Raises
        STORE_FULL, after which nothing has changed.
        """
        ...

    def owner(self, scope: str, value: str) -> Key | None:
        """Who has the claim on `value`."""
        ...

    def claims(self, owner: Key) -> builtins.list[Claim]:
        """All that `owner` has, ordered by scope and value."""
        ...

    def history(
        self,
        key: Key | None = None,
        *,
        tenant: str | None = None,
        since: int = 0,
        limit: int = 100,
        changes: bool = True,
    ) -> builtins.list[Commit]:
        """Commits after revision `since` that are not compacted away, newest first.

        With `key` or `tenant` only the commits that touch it, and of these only the changes that do. Without
        `changes` the commits come with none: short, whatever they did.
        """
        ...

    def at(self, revision: int) -> Iterator[Entry]:
        """All entries as they were at `revision`, ordered by key. Raises COMPACTED, or INVALID for a future one."""
        ...

    def watch(self, since: int) -> Watch:
        """Every commit after `since`. Raises COMPACTED when some of them are gone, INVALID for a future one."""
        ...

    def subscribe(self, function: Callable[[int], None]) -> Callable[[], None]:
        """Call `function(revision)` after each commit, in the writer's thread; the result ends that.

        It must only pass the word on (`loop.call_soon_threadsafe`) and not write. Revisions may come out of order or
        late when several threads write: read what happened with `watch` or `history`.
        """
        ...

    def rollback(self, revision: int, author: str, message: str = "") -> int:
        """Make entries and claims what they were at `revision`, as a new revision, which is returned.

        Only the difference is written. Statuses do not come back. Raises COMPACTED, or INVALID for a future one.
        """
        ...

    def compact(self, before_revision: int) -> None:
        """Drop the past before `before_revision`, which itself stays readable. Writers may go on meanwhile."""
        ...

    def status(self, key: Key) -> bytes | None:
        """What was last set as status of `key`."""
        ...

    def statuses(self, kind: str | None = None, tenant: str | None = None) -> Iterator[tuple[Key, bytes]]:
        """All statuses, ordered by key."""
        ...

    def set_status(self, items: Iterable[tuple[Key, bytes | None]]) -> None:
        """Set or, with None, remove statuses: no revision, no history. Keys without an entry are passed over.

        Written in batches; after an error some of the items may be there.
        """
        ...

    def close(self) -> None:
        """Let go of the database. Watches end. Closing twice is fine."""
        ...
