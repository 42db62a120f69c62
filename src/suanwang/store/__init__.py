"""The revisioned store: resources as opaque bodies, unique claims, watch, history and rollback."""

from __future__ import annotations

from suanwang.store.faults import COMPACTED, STORE_FULL, STORE_LOCKED, STORE_NEWER, STORE_UNREADABLE
from suanwang.store.interface import Change, Claim, Commit, Entry, Store, Transaction, Watch
from suanwang.store.sqlite import SqliteStore

__all__ = [
    "COMPACTED",
    "STORE_FULL",
    "STORE_LOCKED",
    "STORE_NEWER",
    "STORE_UNREADABLE",
    "Change",
    "Claim",
    "Commit",
    "Entry",
    "SqliteStore",
    "Store",
    "Transaction",
    "Watch",
]
