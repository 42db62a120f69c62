"""Reading, restoring and dropping past revisions. `schema.py` says how the past is kept."""

from __future__ import annotations

import heapq
import sqlite3
from collections.abc import Iterator

from suanwang.model.errors import INVALID, SuanwangError
from suanwang.model.reference import Key
from suanwang.store.faults import COMPACTED
from suanwang.store.interface import Change, Commit, Entry
from suanwang.store.scan import ENTRY_COLUMNS, entry_of
from suanwang.store.transaction import SqliteTransaction

_PAST_TABLES = (("change", "revision"), ("history", "revision"), ("entry_past", "until"), ("claim_past", "until"))
"""What compaction empties, and the column by which."""

_BATCH_ROWS = 10_000


def compacted_at(connection: sqlite3.Connection) -> int:
    """The oldest revision that can be read."""
    revision: int = connection.execute("SELECT compacted FROM past").fetchone()[0]
    return revision


def last_revision(connection: sqlite3.Connection) -> int:
    """The revision of the last commit, which compaction may have dropped."""
    revision: int = connection.execute(
        "SELECT MAX(compacted, IFNULL((SELECT MAX(revision) FROM history), 0)) FROM past"
    ).fetchone()[0]
    return revision


def check_readable(revision: int, compacted: int, last: int) -> None:
    """Raises COMPACTED or INVALID unless `revision` lies between the two."""
    if revision > last or revision < 0:
        raise SuanwangError(
            INVALID, f"there is no revision {revision}; the last one is {last}", "see `suanwang history`"
        )
    if revision < compacted:
        raise SuanwangError(
            COMPACTED,
            f"revision {revision} was compacted away; the oldest that is kept is {compacted}",
            "use a later revision; a watcher lists everything anew and watches from there",
        )


def content_at(connection: sqlite3.Connection, revision: int) -> Iterator[Entry]:
    """All entries as of `revision`, ordered by key. Raises COMPACTED."""
    check_readable(revision, compacted_at(connection), last_revision(connection))
    present = connection.execute(
        f"SELECT kind, tenant, name, {ENTRY_COLUMNS} FROM entry WHERE revision <= ? ORDER BY kind, tenant, name",
        (revision,),
    )
    past = connection.execute(
        f"SELECT kind, tenant, name, {ENTRY_COLUMNS} FROM entry_past WHERE until > ?1 AND revision <= ?1"
        " ORDER BY kind, tenant, name",
        (revision,),
    )
    # No key is in both, so comparing rows never gets beyond the key.
    return map(entry_of, heapq.merge(present, past))


def commit_after(connection: sqlite3.Connection, revision: int) -> Commit | None:
    """The commit that came next. Raises COMPACTED."""
    check_readable(revision, compacted_at(connection), last_revision(connection))
    row = connection.execute(
        "SELECT revision, author, message, time_us FROM history WHERE revision > ? ORDER BY revision LIMIT 1",
        (revision,),
    ).fetchone()
    return _commit(connection, row, None, None, True) if row else None


def commits(
    connection: sqlite3.Connection, key: Key | None, tenant: str | None, since: int, limit: int, changes: bool
) -> list[Commit]:
    """See `interface.Store.history`."""
    since = max(since, compacted_at(connection))
    limit = max(0, limit)
    rows: Iterator[tuple[int, str, str, int]]
    fields = "SELECT revision, author, message, time_us FROM history"
    if key is not None:
        if tenant is not None and tenant != key.tenant:
            return []
        where = "WHERE kind = ?1 AND tenant = ?2 AND name = ?3"
        rows = connection.execute(
            f"{fields} WHERE revision > ?4 AND revision IN (SELECT revision FROM entry {where}"
            f" UNION SELECT revision FROM entry_past {where} UNION SELECT until FROM entry_past {where})"
            " ORDER BY revision DESC LIMIT ?5",
            (*key, since, limit),
        )
    elif tenant is not None:
        rows = connection.execute(
            f"{fields} WHERE revision IN (SELECT DISTINCT revision FROM change WHERE revision > ?1 AND tenant = ?2"
            " ORDER BY revision DESC LIMIT ?3) ORDER BY revision DESC",
            (since, tenant, limit),
        )
    else:
        rows = connection.execute(f"{fields} WHERE revision > ? ORDER BY revision DESC LIMIT ?", (since, limit))
    return [_commit(connection, row, key, tenant, changes) for row in rows]


def restore(transaction: SqliteTransaction, revision: int) -> None:
    """Make entries and claims what they were at `revision`, writing only what differs."""
    now, connection = transaction.revision, transaction.connection
    # Sorted, hence read to the end before the first row comes: the tables may change under it.
    changed = connection.execute(
        "SELECT DISTINCT kind, tenant, name FROM change WHERE revision > ? AND revision < ?"
        " ORDER BY kind, tenant, name",
        (revision, now),
    )
    for row in changed:
        key = Key(*row)
        was = connection.execute(
            "SELECT body FROM entry_past WHERE kind = ?1 AND tenant = ?2 AND name = ?3"
            " AND revision <= ?4 AND until > ?4",
            (*key, revision),
        ).fetchone()
        if was is not None:
            transaction.put(key, was[0])
        elif transaction.get(key) is not None:
            transaction.delete(key)
    # Values change hands only when they are free: release all before claiming any.
    taken = connection.execute(
        "SELECT scope, value, kind, tenant, name FROM claim WHERE revision > ? AND revision < ?", (revision, now)
    ).fetchall()
    for scope, value, *owner in taken:
        transaction.release(Key(*owner), scope, value)
    lost = connection.execute(
        "SELECT scope, value, kind, tenant, name FROM claim_past WHERE until > ?1 AND revision <= ?1", (revision,)
    ).fetchall()
    for scope, value, *owner in lost:
        transaction.claim(scope, value, Key(*owner))


def compact_batch(connection: sqlite3.Connection, revision: int) -> bool:
    """Delete some thousand rows of the past before `revision`; False when none is left."""
    for table, column in _PAST_TABLES:
        row = connection.execute(
            f"SELECT {column} FROM {table} WHERE {column} <= ? ORDER BY {column} LIMIT 1 OFFSET ?",
            (revision, _BATCH_ROWS),
        ).fetchone()
        deleted = connection.execute(f"DELETE FROM {table} WHERE {column} <= ?", (row[0] if row else revision,))
        if deleted.rowcount > 0:
            return True
    return False


def _commit(
    connection: sqlite3.Connection,
    row: tuple[int, str, str, int],
    key: Key | None,
    tenant: str | None,
    changes: bool,
) -> Commit:
    revision, author, message, time_us = row
    found = _changes(connection, revision, key, tenant) if changes else ()
    return Commit(revision, found, author, message, time_us)


def _changes(connection: sqlite3.Connection, revision: int, key: Key | None, tenant: str | None) -> tuple[Change, ...]:
    # The version that a commit made is either still there or in the past; if it is neither, the commit deleted it.
    sql = (
        "SELECT change.kind, change.tenant, change.name, COALESCE(entry.body, entry_past.body) FROM change"
        " LEFT JOIN entry USING (revision, kind, tenant, name)"
        " LEFT JOIN entry_past ON entry_past.kind = change.kind AND entry_past.tenant = change.tenant"
        " AND entry_past.name = change.name AND entry_past.revision = change.revision"
        " WHERE change.revision = ?"
    )
    parameters: list[object] = [revision]
    if key is not None:
        sql += " AND change.kind = ? AND change.tenant = ? AND change.name = ?"
        parameters += key
    elif tenant is not None:
        sql += " AND change.tenant = ?"
        parameters.append(tenant)
    sql += " ORDER BY change.kind, change.tenant, change.name"
    rows = connection.execute(sql, parameters)
    return tuple(Change(Key(kind, of_tenant, name), body) for kind, of_tenant, name, body in rows)
