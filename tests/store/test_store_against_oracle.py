"""Whatever is done to a store, it holds what plain dictionaries would hold, now and at every past revision."""

from __future__ import annotations

import shutil
import tempfile
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from suanwang.model.errors import ALREADY_CLAIMED, CONFLICT, NOT_FOUND, SuanwangError
from suanwang.model.reference import Key
from suanwang.store import COMPACTED, Change, Claim, Commit, Entry, SqliteStore, Transaction

KEYS = [Key(kind, tenant, name) for kind in ("Node", "Port") for tenant in ("", "red") for name in ("a", "b-\u7b97")]
keys = st.sampled_from(KEYS)
bodies = st.sampled_from([b"", b"1", b"2", b"\x00\xff"])
scopes = st.sampled_from(["vni", "mac"])
values = st.sampled_from(["0a", "0b", "10"])

steps = st.one_of(
    st.tuples(st.just("put"), keys, bodies, st.sampled_from([None, None, "seen", 0, 1])),
    st.tuples(st.just("delete"), keys, st.sampled_from([None, None, "seen", 1])),
    st.tuples(st.just("claim"), scopes, values, keys),
    st.tuples(st.just("release"), keys, st.none() | scopes, st.none() | values),
)

Entries = dict[Key, Entry]
Claims = dict[tuple[str, str], Key]


class Draft:
    """The naive transaction: copies of everything."""

    def __init__(self, entries: Entries, claims: Claims, revision: int) -> None:
        self.before, self.entries, self.claims, self.revision = entries, dict(entries), dict(claims), revision
        self.forgotten: set[Key] = set()

    def put(self, key: Key, body: bytes, expect: int | None) -> str | None:
        old = self.entries.get(key)
        if expect is not None and expect != (old.revision if old else 0):
            return CONFLICT
        if old is None or old.body != body:
            self.entries[key] = Entry(key, body, old.created if old else self.revision, self.revision)
            if key in self.before and self.before[key].body == body:
                self.entries[key] = self.before[key]
        return None

    def delete(self, key: Key, expect: int | None) -> str | None:
        if key not in self.entries:
            return NOT_FOUND
        if expect is not None and expect != self.entries[key].revision:
            return CONFLICT
        del self.entries[key]
        self.forgotten.add(key)
        return self.release(key, None, None)

    def claim(self, scope: str, value: str, owner: Key) -> str | None:
        return None if self.claims.setdefault((scope, value), owner) == owner else ALREADY_CLAIMED

    def release(self, owner: Key, scope: str | None, value: str | None) -> None:
        for at, of in list(self.claims.items()):
            if of == owner and scope in (None, at[0]) and value in (None, at[1]):
                del self.claims[at]


class AgainstOracle(RuleBasedStateMachine):
    in_memory = False

    @initialize()
    def open(self) -> None:
        self.folder = tempfile.mkdtemp()
        self.path = ":memory:" if self.in_memory else f"{self.folder}/store.db"
        self.store = SqliteStore(self.path)
        self.entries: Entries = {}
        self.claims: Claims = {}
        self.statuses: dict[Key, bytes] = {}
        self.snapshots: list[tuple[Entries, Claims]] = [({}, {})]
        self.commits: list[Commit] = []
        self.compacted = 0

    def teardown(self) -> None:
        self.store.close()
        shutil.rmtree(self.folder)

    def settle(self, draft: Draft, author: str, message: str, time_us: int) -> int:
        """Take over what a committed transaction did; the revision afterwards."""
        touched = sorted(k for k in {*self.entries, *draft.entries} if self.entries.get(k) != draft.entries.get(k))
        if touched or draft.claims != self.claims:
            changes = tuple(Change(k, draft.entries[k].body if k in draft.entries else None) for k in touched)
            self.commits.append(Commit(draft.revision, changes, author, message, time_us))
            self.entries, self.claims = draft.entries, draft.claims
            self.snapshots.append((self.entries, self.claims))
            for key in draft.forgotten:
                self.statuses.pop(key, None)
        return len(self.snapshots) - 1

    @rule(todo=st.lists(steps, min_size=1, max_size=8), end=st.sampled_from(["commit", "commit", "commit", "abort"]))
    def transact(self, todo: list[tuple[Any, ...]], end: str) -> None:
        draft = Draft(self.entries, self.claims, len(self.snapshots))
        try:
            with self.store.begin("ann", "try", time_us=7) as transaction:
                for verb, *arguments in todo:
                    self.step(transaction, draft, verb, arguments)
                assert list(transaction.list()) == [draft.entries[key] for key in sorted(draft.entries)]
                if end == "abort":
                    raise ZeroDivisionError
        except ZeroDivisionError:
            return
        assert transaction.revision == self.settle(draft, "ann", "try", 7)

    def step(self, transaction: Transaction, draft: Draft, verb: str, arguments: list[Any]) -> None:
        if verb == "release" and arguments[1] is None:
            arguments[2] = None
        options = {}
        if verb in ("put", "delete"):
            expect = arguments.pop()
            key = arguments[0]
            if expect == "seen":
                expect = draft.entries[key].revision if key in draft.entries else 0
            wanted = getattr(draft, verb)(*arguments, expect)
            options = {"expect": expect}
        else:
            wanted = getattr(draft, verb)(*arguments)
        got = None
        try:
            getattr(transaction, verb)(*arguments, **options)
        except SuanwangError as error:
            got = error.code
        assert got == wanted
        for key in KEYS:
            assert transaction.get(key) == draft.entries.get(key)
        for scope in ("vni", "mac"):
            owned = sorted(value for of, value in draft.claims if of == scope)
            assert transaction.values(scope) == owned
            assert transaction.values(scope, "0b", limit=1) == [v for v in owned if v >= "0b"][:1]
            assert transaction.values(scope, reverse=True) == owned[::-1]
            assert transaction.count(scope) == len(owned)

    @rule(data=st.data())
    def roll_back(self, data: st.DataObject) -> None:
        revision = data.draw(st.integers(0, len(self.snapshots) - 1))
        if revision < self.compacted:
            assert_code(COMPACTED, lambda: self.store.rollback(revision, "bob"))
            return
        entries, claims = self.snapshots[revision]
        draft = Draft(self.entries, self.claims, len(self.snapshots))
        for key in KEYS:
            if key in entries:
                draft.put(key, entries[key].body, None)
            elif key in self.entries:
                draft.delete(key, None)
        draft.claims = dict(claims)
        got = self.store.rollback(revision, "bob", "undo")
        time_us = self.store.history(limit=1)[0].time_us if got > len(self.commits) else 0
        assert got == self.settle(draft, "bob", "undo", time_us)

    @rule(data=st.data())
    def compact(self, data: st.DataObject) -> None:
        revision = data.draw(st.integers(0, len(self.snapshots) - 1))
        self.store.compact(revision)
        self.compacted = max(self.compacted, revision)

    @rule(key=keys, body=st.none() | bodies)
    def set_status(self, key: Key, body: bytes | None) -> None:
        self.store.set_status([(key, body)])
        if body is None:
            self.statuses.pop(key, None)
        elif key in self.entries:
            self.statuses[key] = body

    @rule()
    def reopen(self) -> None:
        if not self.in_memory:
            self.store.close()
            self.store = SqliteStore(self.path)

    @rule(data=st.data())
    def look_back(self, data: st.DataObject) -> None:
        revision = data.draw(st.integers(0, len(self.snapshots) - 1))
        if revision < self.compacted:
            assert_code(COMPACTED, lambda: self.store.at(revision))
            assert_code(COMPACTED, lambda: self.store.watch(revision))
            return
        entries, _ = self.snapshots[revision]
        assert list(self.store.at(revision)) == [entries[key] for key in sorted(entries)]
        watch = self.store.watch(revision)
        seen = []
        while commit := watch.next(timeout_s=0):
            seen.append(commit)
        assert seen == self.commits[revision:]
        assert self.store.history(since=revision, limit=1000) == self.commits[revision:][::-1]

    @rule(kind=st.sampled_from([None, "Node", "Port", "Z"]), tenant=st.sampled_from([None, "", "red"]), after=keys)
    def list_some(self, kind: str | None, tenant: str | None, after: Key) -> None:
        wanted = [
            self.entries[key]
            for key in sorted(self.entries)
            if kind in (None, key.kind) and tenant in (None, key.tenant)
        ]
        assert list(self.store.list(kind, tenant)) == wanted
        wanted = [entry for entry in wanted if entry.key > after]
        assert list(self.store.list(kind, tenant, after=after)) == wanted
        assert list(self.store.list(kind, tenant, after=after, limit=2)) == wanted[:2]

    @rule(key=keys)
    def history_of(self, key: Key) -> None:
        kept = self.commits[self.compacted :][::-1]
        for options, fits in (
            ({"key": key}, lambda other: other == key),
            ({"tenant": key.tenant}, lambda other: other.tenant == key.tenant),
        ):
            wanted = [commit._replace(changes=tuple(c for c in commit.changes if fits(c.key))) for commit in kept]
            assert self.store.history(**options) == [commit for commit in wanted if commit.changes]

    @invariant()
    def holds_the_same(self) -> None:
        assert self.store.revision == len(self.snapshots) - 1
        assert self.store.compacted == self.compacted
        assert list(self.store.list()) == [self.entries[key] for key in sorted(self.entries)]
        for key in KEYS:
            assert self.store.get(key) == self.entries.get(key)
            assert self.store.status(key) == self.statuses.get(key)
            wanted = sorted(Claim(*at, owner) for at, owner in self.claims.items() if owner == key)
            assert self.store.claims(key) == wanted
        assert list(self.store.statuses()) == sorted(self.statuses.items())
        for scope, value in self.claims:
            assert self.store.owner(scope, value) == self.claims[scope, value]


class AgainstOracleInMemory(AgainstOracle):
    in_memory = True


def assert_code(code: str, call: Any) -> None:
    with pytest.raises(SuanwangError) as caught:
        call()
    assert caught.value.code == code


AgainstOracle.TestCase.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
AgainstOracleInMemory.TestCase.settings = AgainstOracle.TestCase.settings
TestFile = AgainstOracle.TestCase
TestMemory = AgainstOracleInMemory.TestCase
