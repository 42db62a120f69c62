"""The tables of a store in SQLite, and what is checked before a file is taken for one.

The present and the past stand apart. `entry` and `claim` hold what is; `entry_past` and `claim_past` hold what was,
each row with the half-open span of revisions [revision, until) in which it was so. Every version of a body is stored
exactly once: the present ones in `entry`, and a change moves the version that it replaces to `entry_past`. So the
content at a past revision r is

    entry where revision <= r   together with   entry_past where revision <= r < until

and no key is in both parts. `change` lists the keys that each commit touched.
"""

from __future__ import annotations

import sqlite3

from suanwang.model.errors import SuanwangError
from suanwang.store.faults import STORE_NEWER, foreign

APPLICATION_ID = 0x53755761
"""Marks a SQLite file as a store of ours ("SuWa"); offset 68 of the file header, sqlite.org/fileformat.html."""

SCHEMA_VERSION = 1

TABLES = (
    # One row, id 1. compacted: the oldest revision that can be read.
    "CREATE TABLE past (id INTEGER PRIMARY KEY CHECK (id = 1), compacted INTEGER NOT NULL)",
    "INSERT INTO past VALUES (1, 0)",
    "CREATE TABLE history (revision INTEGER PRIMARY KEY, author TEXT NOT NULL, message TEXT NOT NULL,"
    " time_us INTEGER NOT NULL)",
    "CREATE TABLE entry (kind TEXT NOT NULL, tenant TEXT NOT NULL, name TEXT NOT NULL, body BLOB NOT NULL,"
    " created INTEGER NOT NULL, revision INTEGER NOT NULL, PRIMARY KEY (kind, tenant, name)) WITHOUT ROWID",
    "CREATE TABLE entry_past (kind TEXT NOT NULL, tenant TEXT NOT NULL, name TEXT NOT NULL, body BLOB NOT NULL,"
    " created INTEGER NOT NULL, revision INTEGER NOT NULL, until INTEGER NOT NULL,"
    " PRIMARY KEY (kind, tenant, name, revision)) WITHOUT ROWID",
    "CREATE INDEX entry_past_until ON entry_past (until)",
    "CREATE TABLE change (revision INTEGER NOT NULL, kind TEXT NOT NULL, tenant TEXT NOT NULL, name TEXT NOT NULL,"
    " PRIMARY KEY (revision, kind, tenant, name)) WITHOUT ROWID",
    "CREATE TABLE claim (scope TEXT NOT NULL, value TEXT NOT NULL, kind TEXT NOT NULL, tenant TEXT NOT NULL,"
    " name TEXT NOT NULL, revision INTEGER NOT NULL, PRIMARY KEY (scope, value)) WITHOUT ROWID",
    "CREATE INDEX claim_owner ON claim (kind, tenant, name)",
    "CREATE INDEX claim_revision ON claim (revision)",
    "CREATE TABLE claim_past (scope TEXT NOT NULL, value TEXT NOT NULL, kind TEXT NOT NULL, tenant TEXT NOT NULL,"
    " name TEXT NOT NULL, revision INTEGER NOT NULL, until INTEGER NOT NULL,"
    " PRIMARY KEY (scope, value, revision)) WITHOUT ROWID",
    "CREATE INDEX claim_past_until ON claim_past (until)",
    "CREATE TABLE status (kind TEXT NOT NULL, tenant TEXT NOT NULL, name TEXT NOT NULL, body BLOB NOT NULL,"
    " PRIMARY KEY (kind, tenant, name)) WITHOUT ROWID",
)


def prepare(connection: sqlite3.Connection, path: str) -> None:
    """Make sure that the database is a store of this release; an empty one becomes a store.

    The file of another program is left as it was. Raises STORE_UNREADABLE, STORE_NEWER.
    """
    application_id = _number(connection, "PRAGMA application_id")
    version = _number(connection, "PRAGMA user_version")
    tables = _number(connection, "SELECT COUNT(*) FROM sqlite_schema")
    if application_id == 0 and version == 0 and tables == 0:
        _create(connection)
        return
    if application_id != APPLICATION_ID:
        raise foreign(path)
    if version > SCHEMA_VERSION:
        raise SuanwangError(
            STORE_NEWER,
            f"store {path} has schema {version}; this release reads up to {SCHEMA_VERSION}",
            "run the release that wrote it, or a newer one",
        )


def _create(connection: sqlite3.Connection) -> None:
    # Before the switch to WAL, so that the marks stand in the file itself from the first moment on.
    connection.execute("BEGIN EXCLUSIVE")
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    for statement in TABLES:
        connection.execute(statement)
    connection.execute("COMMIT")


def _number(connection: sqlite3.Connection, sql: str) -> int:
    row: tuple[int] = connection.execute(sql).fetchone()
    return row[0]
