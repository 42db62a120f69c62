"""Walking tables in the order of their keys, by the primary key's own index."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from sys import intern
from typing import Any

from suanwang.model.reference import Key
from suanwang.store.interface import Claim, Entry

Row = tuple[Any, ...]
"""What SQLite returns: kind, tenant and name first, then the columns that were asked for."""

ENTRY_COLUMNS = "body, created, revision"


def scan(
    connection: sqlite3.Connection,
    table: str,
    columns: str,
    kind: str | None = None,
    tenant: str | None = None,
    after: Key | None = None,
    limit: int | None = None,
) -> Iterator[Row]:
    """Rows of a table with key, in the order of (kind, tenant, name)."""
    select = f"SELECT kind, tenant, name, {columns} FROM {table}"
    order = "ORDER BY kind, tenant, name LIMIT ?"
    # -1 is SQLite's word for no limit.
    most = -1 if limit is None else max(0, limit)
    if kind is None and tenant is None:
        if after is None:
            return connection.execute(f"{select} {order}", (most,))
        return connection.execute(f"{select} WHERE (kind, tenant, name) > (?, ?, ?) {order}", (*after, most))
    if kind is None:
        return _scan_tenant(connection, table, columns, str(tenant), after, limit)
    if tenant is None:
        if after is None or after.kind < kind:
            return connection.execute(f"{select} WHERE kind = ? {order}", (kind, most))
        if after.kind > kind:
            return iter(())
        return connection.execute(f"{select} WHERE kind = ? AND (tenant, name) > (?, ?) {order}", (*after, most))
    if after is None or after[:2] < (kind, tenant):
        return connection.execute(f"{select} WHERE kind = ? AND tenant = ? {order}", (kind, tenant, most))
    if after[:2] > (kind, tenant):
        return iter(())
    return connection.execute(f"{select} WHERE kind = ? AND tenant = ? AND name > ? {order}", (*after, most))


def _scan_tenant(
    connection: sqlite3.Connection, table: str, columns: str, tenant: str, after: Key | None, limit: int | None
) -> Iterator[Row]:
    # Kinds are few: stepping from one to the next by the index spares an index that starts with the tenant.
    left = limit
    kind: str | None = after.kind if after else connection.execute(f"SELECT MIN(kind) FROM {table}").fetchone()[0]
    while kind is not None and (left is None or left > 0):
        for row in scan(connection, table, columns, kind, tenant, after, left):
            yield row
            if left is not None:
                left -= 1
        kind = connection.execute(f"SELECT MIN(kind) FROM {table} WHERE kind > ?", (kind,)).fetchone()[0]


def entry_of(row: Row) -> Entry:
    """The entry in a row of key and ENTRY_COLUMNS. Kinds and tenants come by the million: each is kept once."""
    kind, tenant, name, body, created, revision = row
    return Entry(Key(intern(kind), intern(tenant), name), body, created, revision)


def entry_at(connection: sqlite3.Connection, key: Key) -> Entry | None:
    """The present entry under `key`."""
    row = connection.execute(
        f"SELECT {ENTRY_COLUMNS} FROM entry WHERE kind = ? AND tenant = ? AND name = ?", key
    ).fetchone()
    return Entry(Key(*key), *row) if row else None


def owner_of(connection: sqlite3.Connection, scope: str, value: str) -> Key | None:
    """Who has the claim on `value`."""
    row = connection.execute(
        "SELECT kind, tenant, name FROM claim WHERE scope = ? AND value = ?", (scope, value)
    ).fetchone()
    return Key(*row) if row else None


def claims_of(connection: sqlite3.Connection, owner: Key) -> list[Claim]:
    """What `owner` has, ordered by scope and value."""
    rows = connection.execute(
        "SELECT scope, value FROM claim WHERE kind = ? AND tenant = ? AND name = ? ORDER BY scope, value", owner
    )
    return [Claim(scope, value, owner) for scope, value in rows]
