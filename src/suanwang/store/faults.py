"""What can go wrong with a store's file, as errors that users understand."""

from __future__ import annotations

import errno
import os
import sqlite3

from suanwang.model.errors import SuanwangError, code

COMPACTED = code("COMPACTED", "that revision is older than the history that the store keeps")
STORE_LOCKED = code("STORE_LOCKED", "another process has the store open")
STORE_FULL = code("STORE_FULL", "no room is left for the store to write")
STORE_UNREADABLE = code("STORE_UNREADABLE", "the store's file is damaged, foreign, or may not be opened")
STORE_NEWER = code("STORE_NEWER", "the store was written by a newer release")

_ROOM_NEEDED_BYTES = 256 * 1024
"""Below this much free space an I/O error is put down to it: SQLite reports some full disks as plain I/O errors."""


def fault(error: sqlite3.Error | OSError, path: str) -> Exception:
    """The error to raise for one that SQLite or the system reported about the store at `path`.

    Errors that are the code's own fault (wrong SQL, a closed connection) are given back as they are.
    """
    if isinstance(error, OSError):
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return _full(path)
        return _unreadable(path, error.strerror or str(error))
    primary = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if primary == sqlite3.SQLITE_FULL:
        return _full(path)
    if primary in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN):
        return _full(path) if _no_room(path) else _unreadable(path, str(error))
    if primary in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
        return _unreadable(path, str(error))
    if primary in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return SuanwangError(
            STORE_LOCKED,
            f"store {path} is held by a program that is not Suanwang",
            "end the program (an sqlite3 shell?) that has a transaction open on it",
        )
    return error


def foreign(path: str) -> SuanwangError:
    """The file is a database, but not a store."""
    return _unreadable(path, "it is a database of another program")


def _full(path: str) -> SuanwangError:
    return SuanwangError(
        STORE_FULL,
        f"no room is left for store {path}; nothing was changed",
        "make room on its disk, or compact its history, then try again",
    )


def _unreadable(path: str, reason: str) -> SuanwangError:
    return SuanwangError(
        STORE_UNREADABLE,
        f"store {path} can't be used: {reason}",
        "check the path, its owner and mode; if the file is damaged, restore it from a backup",
    )


def _no_room(path: str) -> bool:
    try:
        room = os.statvfs(os.path.dirname(os.path.abspath(path)))
    except OSError:
        return False
    return room.f_bavail * room.f_frsize < _ROOM_NEEDED_BYTES or (room.f_files > 0 and room.f_favail == 0)
