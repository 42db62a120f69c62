"""A transaction on SQLite: what it does to the present, and how it moves what it replaces to the past.

Only net changes stay. A key or value that ends up as it was before the transaction gets back the very version that it
had, so that history never tells of changes that nobody could see.
"""

from __future__ import annotations

import builtins
import sqlite3
from collections.abc import Iterator, Sequence

from suanwang.model.errors import ALREADY_CLAIMED, CONFLICT, NOT_FOUND, SuanwangError
from suanwang.model.reference import Key
from suanwang.store.faults import fault
from suanwang.store.interface import Claim, Entry
from suanwang.store.limits import check_body, check_claim, check_key, unstorable
from suanwang.store.scan import ENTRY_COLUMNS, claims_of, entry_at, entry_of, owner_of, scan

_PAGE = 1000

_ENTRY = "kind = ? AND tenant = ? AND name = ?"


class SqliteTransaction:
    """See `interface.Transaction`. For the thread that began it only. `connection` is what it works on."""

    def __init__(self, connection: sqlite3.Connection, path: str, base_revision: int) -> None:
        self.connection = connection
        self._cursor = connection.cursor()
        self._path = path
        self._base_revision = base_revision
        self._revision = base_revision + 1
        self._touched = False
        self._released = False
        self._broken: Exception | None = None
        self._ended = False

    @property
    def revision(self) -> int:
        """See `interface.Transaction`."""
        return self._revision

    def get(self, key: Key) -> Entry | None:
        """See `interface.Transaction`."""
        self._check_usable()
        return entry_at(self.connection, key)

    def list(
        self,
        kind: str | None = None,
        tenant: str | None = None,
        *,
        after: Key | None = None,
        limit: int | None = None,
    ) -> Iterator[Entry]:
        """See `interface.Transaction`."""
        left = limit
        while left is None or left > 0:
            self._check_usable()
            # Page by page: what SQLite does to an open cursor when the table changes under it is not defined.
            want = _PAGE if left is None else min(_PAGE, left)
            page = [*scan(self.connection, "entry", ENTRY_COLUMNS, kind, tenant, after, want)]
            yield from map(entry_of, page)
            if len(page) < want:
                return
            after = Key(*page[-1][:3])
            if left is not None:
                left -= len(page)

    def put(self, key: Key, body: bytes, *, expect: int | None = None) -> None:
        """See `interface.Transaction`."""
        check_key(key)
        check_body(body)
        revision = self._revision
        if not expect:
            # Most puts of a bulk load create: one statement finds that out and does it.
            created = self._execute(
                "INSERT INTO entry VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING", (*key, body, revision, revision)
            )
            if created.rowcount == 1:
                if not self._note_change(key):
                    self._revive(key, body)
                return
        before = self._execute(f"SELECT {ENTRY_COLUMNS} FROM entry WHERE {_ENTRY}", key).fetchone()
        _check_expected(key, expect, before[2] if before else 0)
        if before[0] == body:
            return
        fresh = before[2] == revision
        if not fresh:
            self._archive(key, until=revision)
            self._note_change(key)
        self._execute(f"UPDATE entry SET body = ?, revision = ? WHERE {_ENTRY}", (body, revision, *key))
        if fresh:
            self._revive(key, body)

    def delete(self, key: Key, *, expect: int | None = None) -> None:
        """See `interface.Transaction`."""
        check_key(key)
        row = self._execute(f"SELECT revision FROM entry WHERE {_ENTRY}", key).fetchone()
        if row is None:
            raise SuanwangError(NOT_FOUND, f"{key} does not exist", "see what there is with `suanwang get`")
        _check_expected(key, expect, row[0])
        if row[0] < self._revision:
            self._archive(key, until=self._revision)
            self._note_change(key)
        elif self._replaced(key) is None:
            # It was created by this very transaction.
            self._forget_change(key)
        self._execute(f"DELETE FROM entry WHERE {_ENTRY}", key)
        self._execute(f"DELETE FROM status WHERE {_ENTRY}", key)
        self.release(key)

    def claim(self, scope: str, value: str, owner: Key) -> None:
        """See `interface.Transaction`."""
        check_claim(scope, value)
        check_key(owner)
        made = self._execute(
            "INSERT INTO claim VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING", (scope, value, *owner, self._revision)
        )
        if made.rowcount == 1:
            self._touched = True
            if self._released:
                self._revive_claim(scope, value, owner)
            return
        other = self.owner(scope, value)
        if other != owner:
            raise SuanwangError(
                ALREADY_CLAIMED,
                f"{value} of {scope} already belongs to {other}",
                "choose another value, or delete its owner first",
            )

    def release(self, owner: Key, scope: str | None = None, value: str | None = None) -> None:
        """See `interface.Transaction`."""
        if value is not None and scope is None:
            raise ValueError("a value is released within a scope")
        where, parameters = _ENTRY, [*owner]
        for column, wanted in (("scope", scope), ("value", value)):
            if wanted is not None:
                where += f" AND {column} = ?"
                parameters.append(wanted)
        if self._execute(f"SELECT 1 FROM claim WHERE {where} LIMIT 1", parameters).fetchone() is None:
            return
        self._touched = self._released = True
        self._execute(
            "INSERT INTO claim_past (scope, value, kind, tenant, name, revision, until)"
            f" SELECT scope, value, kind, tenant, name, revision, ? FROM claim WHERE {where} AND revision < ?",
            (self._revision, *parameters, self._revision),
        )
        self._execute(f"DELETE FROM claim WHERE {where}", parameters)

    def owner(self, scope: str, value: str) -> Key | None:
        """See `interface.Transaction`."""
        self._check_usable()
        return owner_of(self.connection, scope, value)

    def claims(self, owner: Key) -> builtins.list[Claim]:
        """See `interface.Transaction`."""
        self._check_usable()
        return claims_of(self.connection, owner)

    def values(self, scope: str, start: str = "", *, limit: int = 1000, reverse: bool = False) -> builtins.list[str]:
        """See `interface.Transaction`."""
        order = "DESC" if reverse else "ASC"
        rows = self._execute(
            f"SELECT value FROM claim WHERE scope = ? AND value >= ? ORDER BY value {order} LIMIT ?",
            (scope, start, max(0, limit)),
        )
        return [value for (value,) in rows]

    def count(self, scope: str) -> int:
        """See `interface.Transaction`."""
        number: int = self._execute("SELECT COUNT(*) FROM claim WHERE scope = ?", (scope,)).fetchone()[0]
        return number

    def finish(self, author: str, message: str, time_us: int) -> bool:
        """Enter the commit in the history, if anything changed; the caller commits or rolls back accordingly."""
        if self._broken:
            raise self._broken
        if not (self._touched and self._has_net_change()):
            self._revision = self._base_revision
            return False
        self._execute("INSERT INTO history VALUES (?, ?, ?, ?)", (self._revision, author, message, time_us))
        return True

    def end(self) -> None:
        """Refuse further use."""
        self._ended = True

    def _has_net_change(self) -> bool:
        row = self._execute(
            "SELECT EXISTS (SELECT 1 FROM change WHERE revision = ?1)"
            " OR EXISTS (SELECT 1 FROM claim WHERE revision = ?1)"
            " OR EXISTS (SELECT 1 FROM claim_past WHERE until = ?1)",
            (self._revision,),
        ).fetchone()
        return bool(row[0])

    def _note_change(self, key: Key) -> bool:
        """Whether this is the first change to `key`."""
        self._touched = True
        return (
            self._execute("INSERT INTO change VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", (self._revision, *key))
        ).rowcount == 1

    def _forget_change(self, key: Key) -> None:
        self._execute(f"DELETE FROM change WHERE revision = ? AND {_ENTRY}", (self._revision, *key))

    def _archive(self, key: Key, *, until: int) -> None:
        self._execute(
            "INSERT INTO entry_past (kind, tenant, name, body, created, revision, until)"
            f" SELECT kind, tenant, name, body, created, revision, ? FROM entry WHERE {_ENTRY}",
            (until, *key),
        )

    def _replaced(self, key: Key) -> tuple[bytes, int, int] | None:
        """Body, created and revision of the version that stood under `key` before this transaction changed it."""
        row: tuple[bytes, int, int, int] | None = self._execute(
            f"SELECT {ENTRY_COLUMNS}, until FROM entry_past WHERE {_ENTRY} ORDER BY revision DESC LIMIT 1", key
        ).fetchone()
        return row[:3] if row and row[3] == self._revision else None

    def _revive(self, key: Key, body: bytes) -> None:
        """If `body` is what stood under `key` before this transaction, then nothing happened to it."""
        before = self._replaced(key)
        if before is None or before[0] != body:
            return
        self._execute(f"DELETE FROM entry_past WHERE {_ENTRY} AND revision = ?", (*key, before[2]))
        self._execute(f"UPDATE entry SET created = ?, revision = ? WHERE {_ENTRY}", (*before[1:], *key))
        self._forget_change(key)

    def _revive_claim(self, scope: str, value: str, owner: Key) -> None:
        """The same for a claim that its owner had before this transaction."""
        row = self._execute(
            "SELECT revision FROM claim_past WHERE scope = ? AND value = ? AND until = ?"
            " AND kind = ? AND tenant = ? AND name = ?",
            (scope, value, self._revision, *owner),
        ).fetchone()
        if row is None:
            return
        self._execute("DELETE FROM claim_past WHERE scope = ? AND value = ? AND revision = ?", (scope, value, row[0]))
        self._execute("UPDATE claim SET revision = ? WHERE scope = ? AND value = ?", (row[0], scope, value))

    def _execute(self, sql: str, parameters: Sequence[object]) -> sqlite3.Cursor:
        self._check_usable()
        try:
            return self._cursor.execute(sql, parameters)
        except UnicodeEncodeError as error:
            raise unstorable() from error
        except sqlite3.Error as error:
            # SQLite may have rolled back already; whoever catches this must not commit what comes after.
            self._broken = fault(error, self._path)
            raise self._broken from error

    def _check_usable(self) -> None:
        if self._ended:
            raise RuntimeError("the transaction has ended")
        if self._broken:
            raise self._broken


def _check_expected(key: Key, expect: int | None, found: int) -> None:
    if expect is None or expect == found:
        return
    if expect == 0:
        message = f"{key} exists already, since revision {found}"
    elif found == 0:
        message = f"{key} was deleted since it was read at revision {expect}"
    else:
        message = f"{key} was changed at revision {found} since it was read at revision {expect}"
    raise SuanwangError(CONFLICT, message, "read it again and repeat the change")
