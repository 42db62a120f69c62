"""The controller's memory of secrets: hashes of tokens, serials of certificates. Never a secret itself.

It stands in its own small SQLite file (mode 0600) beside the resource store, so that nothing of it can appear in
history, in a plan or in a watch. Every operation is one transaction; two racing ones can't both win.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import msgspec

from suanwang.model.errors import NOT_FOUND, SuanwangError, code

BAD_ENROLMENT = code("BAD_ENROLMENT", "the enrolment token is wrong, expired, already used, or for another node")
LAST_ADMIN = code("LAST_ADMIN", "the last admin token can't be deleted")
NAME_TAKEN = code("NAME_TAKEN", "a token of that name exists")

Role = Literal["admin", "operator", "viewer"]

TOKEN_PREFIX = "sw_"
ENROLMENT_PREFIX = "swe_"
SECRET_BYTES = 32
MOST_OPEN_ENROLMENTS = 16
"""Unused enrolment tokens of one node; the oldest go first."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS token (
    name TEXT PRIMARY KEY, hash BLOB NOT NULL UNIQUE, role TEXT NOT NULL, tenants TEXT NOT NULL,
    created REAL NOT NULL, expires REAL
) STRICT;
CREATE TABLE IF NOT EXISTS enrolment (
    id INTEGER PRIMARY KEY, node TEXT NOT NULL, salt BLOB NOT NULL, hash BLOB NOT NULL,
    expires REAL NOT NULL, used INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX IF NOT EXISTS enrolment_node ON enrolment (node);
CREATE TABLE IF NOT EXISTS certificate (
    id INTEGER PRIMARY KEY, serial TEXT NOT NULL UNIQUE, node TEXT NOT NULL, expires REAL NOT NULL,
    revoked INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX IF NOT EXISTS certificate_node ON certificate (node);
"""


class Token(msgspec.Struct, frozen=True):
    """What is known of a user's token. `expires` and `created` are seconds since 1970; `expires` None: never.

    `tenants` lists the tenants it may touch; `*` stands for all, infrastructure included.
    """

    name: str
    role: Role
    tenants: tuple[str, ...]
    created: float
    expires: float | None = None


class Credentials:
    """The file of secrets' hashes. Thread-safe."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        # Made before SQLite opens it: SQLite would follow the umask. Its journal takes the file's mode.
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        path.chmod(0o600)
        self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
        self._database.execute("PRAGMA synchronous=FULL")
        self._database.execute("PRAGMA secure_delete=ON")
        self._database.executescript(_SCHEMA)
        self._tokens: dict[bytes, Token] = {}
        self._load_tokens()

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._database.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
            except BaseException:
                self._database.execute("ROLLBACK")
                raise
            self._database.execute("COMMIT")

    def _load_tokens(self) -> None:
        rows = self._database.execute("SELECT hash, name, role, tenants, created, expires FROM token").fetchall()
        self._tokens = {
            bytes(digest): Token(name, role, tuple(json.loads(tenants)), created, expires)
            for digest, name, role, tenants, created, expires in rows
        }

    # Users' tokens

    def add_token(
        self, name: str, role: Role, tenants: tuple[str, ...], ttl_s: float | None = None, *, replace: bool = False
    ) -> tuple[str, Token]:
        """Make a token; its secret is returned here and never again. Raises NAME_TAKEN unless `replace`."""
        secret = TOKEN_PREFIX + secrets.token_urlsafe(SECRET_BYTES)
        now = self._clock()
        token = Token(name, role, tenants, now, None if ttl_s is None else now + ttl_s)
        with self._transaction() as database:
            known = database.execute("SELECT expires FROM token WHERE name = ?", (name,)).fetchone()
            if known and not replace and not (known[0] is not None and known[0] <= now):
                raise SuanwangError(
                    NAME_TAKEN, f"there is a token named {name!r}", "delete it first, or choose another name"
                )
            database.execute("DELETE FROM token WHERE name = ?", (name,))
            database.execute(
                "INSERT INTO token (hash, name, role, tenants, created, expires) VALUES (?, ?, ?, ?, ?, ?)",
                (_digest(secret), name, role, json.dumps(tenants), token.created, token.expires),
            )
            self._load_tokens()
        return secret, token

    def token_of(self, secret: str) -> Token | None:
        """Whose token that is; None for unknown and expired ones.

        A token has 256 bits of entropy, so a plain hash guards it, and the time that the look-up of a hash takes tells
        nothing about the token.
        """
        digest = _digest(secret)
        token = self._tokens.get(digest)
        if token is None or (token.expires is not None and token.expires <= self._clock()):
            return None
        return token

    def has_token(self, token_name: str) -> bool:
        """Whether a token of that name is valid now."""
        now = self._clock()
        return any(t.name == token_name and (t.expires is None or t.expires > now) for t in self._tokens.values())

    def tokens(self) -> list[Token]:
        """All tokens, by name."""
        return sorted(self._tokens.values(), key=lambda token: token.name)

    def delete_token(self, name: str) -> None:
        """Forget a token. Raises NOT_FOUND, or LAST_ADMIN for the last admin token that does not expire."""
        with self._transaction() as database:
            row = database.execute("SELECT role FROM token WHERE name = ?", (name,)).fetchone()
            if row is None:
                raise SuanwangError(NOT_FOUND, f"there is no token named {name!r}", "list them: suanwang token list")
            others = "SELECT count(*) FROM token WHERE role = 'admin' AND expires IS NULL AND name != ?"
            if row[0] == "admin" and database.execute(others, (name,)).fetchone()[0] == 0:
                raise SuanwangError(LAST_ADMIN, f"{name!r} is the last admin token", "make another admin token first")
            database.execute("DELETE FROM token WHERE name = ?", (name,))
            self._load_tokens()

    # Enrolment tokens

    def add_enrolment(self, node: str, ttl_s: float) -> str:
        """A one-time secret with which `node`, and no other, may get a certificate within `ttl_s`."""
        secret = ENROLMENT_PREFIX + secrets.token_urlsafe(SECRET_BYTES)
        salt = secrets.token_bytes(16)
        now = self._clock()
        with self._transaction() as database:
            database.execute("DELETE FROM enrolment WHERE expires <= ? OR used", (now,))
            database.execute(
                "DELETE FROM enrolment WHERE node = ? AND id NOT IN "
                "(SELECT id FROM enrolment WHERE node = ? ORDER BY id DESC LIMIT ?)",
                (node, node, MOST_OPEN_ENROLMENTS - 1),
            )
            database.execute(
                "INSERT INTO enrolment (node, salt, hash, expires) VALUES (?, ?, ?, ?)",
                (node, salt, _digest(secret, salt), now + ttl_s),
            )
        return secret

    def enrol(self, node: str, secret: str, serial: str, expires: float) -> list[str]:
        """Spend an enrolment token on the certificate `serial`; earlier certificates of the node are revoked.

        One transaction: of two that race with one token, one gets BAD_ENROLMENT. Returns the serials revoked.
        """
        with self._transaction() as database:
            rows = database.execute(
                "SELECT id, salt, hash FROM enrolment WHERE node = ? AND NOT used AND expires > ?",
                (node, self._clock()),
            ).fetchall()
            matching = [row for row, salt, digest in rows if hmac.compare_digest(_digest(secret, salt), bytes(digest))]
            if not matching:
                message = f"this token does not enrol node {node!r}"
                raise SuanwangError(BAD_ENROLMENT, message, "ask an admin for a new one: suanwang enrol-token NODE")
            database.execute("UPDATE enrolment SET used = 1 WHERE id = ?", (matching[0],))
            revoked = _revoke(database, node)
            database.execute(
                "INSERT INTO certificate (serial, node, expires) VALUES (?, ?, ?)", (serial, node, expires)
            )
        return revoked

    # Agents' certificates

    def renew(self, node: str, present: str, serial: str, expires: float) -> bool:
        """Enter the certificate `serial` as the successor of `present`; False when that one is no longer valid."""
        with self._transaction() as database:
            if _state(database, present) != (node, 0):
                return False
            database.execute(
                "INSERT INTO certificate (serial, node, expires) VALUES (?, ?, ?)", (serial, node, expires)
            )
        return True

    def node_of(self, serial: str) -> str | None:
        """The node whose valid certificate that is. None for unknown and revoked ones: only what was entered counts."""
        with self._lock:
            state = _state(self._database, serial)
        return state[0] if state is not None and state[1] == 0 else None

    def used(self, serial: str) -> list[str]:
        """A certificate was used: its node's older ones are revoked. Returns their serials."""
        with self._transaction() as database:
            older = database.execute(
                "SELECT o.serial FROM certificate o JOIN certificate n ON n.node = o.node "
                "WHERE n.serial = ? AND o.id < n.id AND o.revoked = 0",
                (serial,),
            ).fetchall()
            database.executemany("UPDATE certificate SET revoked = 1 WHERE serial = ?", older)
        return [row[0] for row in older]

    def revoke(self, node: str) -> list[str]:
        """Revoke every certificate and enrolment token of a node; returns the certificates' serials."""
        with self._transaction() as database:
            database.execute("DELETE FROM enrolment WHERE node = ?", (node,))
            return _revoke(database, node)

    def enrolled(self) -> set[str]:
        """Nodes that hold a valid certificate or an unused enrolment token."""
        now = self._clock()
        with self._lock:
            rows = self._database.execute(
                "SELECT node FROM certificate WHERE revoked = 0 AND expires > ? "
                "UNION SELECT node FROM enrolment WHERE NOT used AND expires > ?",
                (now, now),
            ).fetchall()
        return {row[0] for row in rows}

    def forget_expired(self) -> None:
        """Drop certificates that have expired: they are refused by their date alone."""
        with self._transaction() as database:
            database.execute("DELETE FROM certificate WHERE expires <= ?", (self._clock() - 86_400,))
            database.execute("DELETE FROM enrolment WHERE expires <= ?", (self._clock(),))


def _digest(secret: str, salt: bytes = b"") -> bytes:
    return hashlib.sha256(salt + secret.encode("utf-8", "surrogateescape")).digest()


def _state(database: sqlite3.Connection, serial: str) -> tuple[str, int] | None:
    row = database.execute("SELECT node, revoked FROM certificate WHERE serial = ?", (serial,)).fetchone()
    return None if row is None else (row[0], row[1])


def _revoke(database: sqlite3.Connection, node: str) -> list[str]:
    rows = database.execute("SELECT serial FROM certificate WHERE node = ? AND revoked = 0", (node,)).fetchall()
    database.execute("UPDATE certificate SET revoked = 1 WHERE node = ?", (node,))
    return [row[0] for row in rows]
