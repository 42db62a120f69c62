"""What each call promises: expectations, claims, limits, statuses, errors that users read."""

from __future__ import annotations

import pytest

from suanwang.model.errors import ALREADY_CLAIMED, CONFLICT, INVALID, NOT_FOUND, SuanwangError
from suanwang.model.reading import TOO_LARGE
from suanwang.model.reference import Key
from suanwang.store import Commit, Entry, SqliteStore
from suanwang.store.limits import MAX_BODY_BYTES

WEB = Key("Subnet", "shop", "web")
DB = Key("Subnet", "shop", "db")


def put(store: SqliteStore, key: Key = WEB, body: bytes = b"{}", *, expect: int | None = None) -> int:
    with store.begin("ann") as transaction:
        transaction.put(key, body, expect=expect)
    return transaction.revision


def test_a_new_store_is_empty(store: SqliteStore) -> None:
    assert (store.revision, store.compacted) == (0, 0)
    assert list(store.list()) == list(store.at(0)) == store.history() == []
    assert store.watch(0).next(timeout_s=0) is None


def test_each_transaction_that_changes_something_makes_one_revision(store: SqliteStore) -> None:
    with store.begin("ann", "two subnets", time_us=5) as transaction:
        transaction.put(WEB, b"1")
        transaction.put(DB, b"2")
    assert transaction.revision == store.revision == 1
    assert store.get(WEB) == Entry(WEB, b"1", 1, 1)
    assert store.history() == [Commit(1, ((DB, b"2"), (WEB, b"1")), "ann", "two subnets", 5)]


def test_a_transaction_that_changes_nothing_makes_none(store: SqliteStore) -> None:
    put(store, WEB, b"1")
    with store.begin("ann") as transaction:
        transaction.put(WEB, b"1")
        transaction.put(DB, b"2")
        transaction.claim("vni", "0001", DB)
        transaction.delete(DB)
        transaction.delete(WEB)
        transaction.put(WEB, b"1")
    assert transaction.revision == store.revision == 1
    assert store.get(WEB) == Entry(WEB, b"1", 1, 1)


def test_an_exception_rolls_back(store: SqliteStore) -> None:
    def fail_half_way() -> None:
        with store.begin("ann") as transaction:
            transaction.put(WEB, b"1")
            transaction.claim("vni", "01", WEB)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_half_way()
    assert store.owner("vni", "01") is None
    assert store.get(WEB) is None
    assert put(store) == 1


def test_put_and_delete_refuse_what_changed_since_it_was_seen(store: SqliteStore) -> None:
    put(store, WEB, b"1", expect=0)
    put(store, WEB, b"2", expect=1)
    for expect, told in ((0, "exists already"), (1, "was changed at revision 2")):
        with pytest.raises(SuanwangError, match=told) as caught:
            put(store, WEB, b"3", expect=expect)
        assert caught.value.code == CONFLICT
    with pytest.raises(SuanwangError, match="was deleted") as caught:
        put(store, DB, b"3", expect=1)
    assert caught.value.code == CONFLICT
    with pytest.raises(SuanwangError) as caught, store.begin("ann") as transaction:
        transaction.delete(WEB, expect=1)
    assert caught.value.code == CONFLICT
    assert store.get(WEB) == Entry(WEB, b"2", 1, 2)


def test_deleting_nothing_is_an_error(store: SqliteStore) -> None:
    with pytest.raises(SuanwangError, match="Subnet/shop/web does not exist") as caught, store.begin("ann") as change:
        change.delete(WEB)
    assert caught.value.code == NOT_FOUND


def test_a_claim_has_one_owner_until_it_is_deleted(store: SqliteStore) -> None:
    with store.begin("ann") as transaction:
        transaction.put(WEB, b"{}")
        transaction.claim("address/shop", "0a000001", WEB)
        transaction.claim("address/shop", "0a000001", WEB)
    with (
        pytest.raises(SuanwangError, match="already belongs to Subnet/shop/web") as caught,
        store.begin("bob") as other,
    ):
        other.claim("address/shop", "0a000001", DB)
    assert caught.value.code == ALREADY_CLAIMED
    with store.begin("bob") as other:
        other.delete(WEB)
        other.claim("address/shop", "0a000001", DB)
    assert store.owner("address/shop", "0a000001") == DB
    store.rollback(1, "ann")
    assert store.owner("address/shop", "0a000001") == WEB
    assert store.claims(DB) == []


def test_one_can_go_on_after_a_refused_claim(store: SqliteStore) -> None:
    with store.begin("ann") as transaction:
        transaction.claim("vni", "01", WEB)
        with pytest.raises(SuanwangError):
            transaction.claim("vni", "01", DB)
        transaction.claim("vni", "02", DB)
    assert store.owner("vni", "02") == DB


def test_rollback_is_a_new_revision_with_the_difference_only(store: SqliteStore) -> None:
    put(store, WEB, b"1")
    put(store, DB, b"2")
    put(store, WEB, b"3")
    assert store.rollback(2, "bob", "oops") == 4
    commit = store.history(limit=1)[0]
    assert (commit.changes, commit.author, commit.message) == (((WEB, b"1"),), "bob", "oops")
    assert store.rollback(4, "bob") == 4
    with pytest.raises(SuanwangError) as caught:
        store.rollback(5, "bob")
    assert caught.value.code == INVALID


def test_history_can_leave_out_what_changed(store: SqliteStore) -> None:
    put(store)
    assert store.history(changes=False) == [Commit(1, (), "ann", "", 1_000_000)]


def test_status_goes_with_its_resource_and_makes_no_revision(store: SqliteStore) -> None:
    put(store)
    store.set_status([(WEB, b"ready"), (DB, b"nobody")])
    assert (store.status(WEB), store.status(DB), store.revision) == (b"ready", None, 1)
    assert list(store.statuses("Subnet", "shop")) == [(WEB, b"ready")]
    with store.begin("ann") as transaction:
        transaction.delete(WEB)
    put(store)
    assert store.status(WEB) is None


@pytest.mark.parametrize(
    ("key", "body", "code"),
    [
        (WEB, b"x" * (MAX_BODY_BYTES + 1), TOO_LARGE),
        (Key("Subnet", "shop", "w" * 254), b"", TOO_LARGE),
        (Key("Subnet", "s" * 254, "web"), b"", TOO_LARGE),
        (Key("", "shop", "web"), b"", INVALID),
        (Key("Subnet", "shop", ""), b"", INVALID),
        (Key("Subnet", "shop", "\ud800"), b"", INVALID),
    ],
)
def test_what_is_too_large_or_no_name_is_refused(store: SqliteStore, key: Key, body: bytes, code: str) -> None:
    with pytest.raises(SuanwangError) as caught, store.begin("ann") as transaction:
        transaction.put(key, body)
    assert caught.value.code == code
    put(store, WEB, b"x" * MAX_BODY_BYTES)


def test_looking_for_what_can_not_be_a_name(store: SqliteStore) -> None:
    assert store.get(Key("", "", "")) is None
    with pytest.raises(SuanwangError) as caught:
        store.get(Key("Subnet", "", "\ud800"))
    assert caught.value.code == INVALID
    with pytest.raises(TypeError):
        put(store, WEB, "text")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("scope", "value", "code"),
    [("", "1", INVALID), ("vni", "", INVALID), ("s" * 513, "1", TOO_LARGE), ("vni", "1" * 254, TOO_LARGE)],
)
def test_claims_have_limits_too(store: SqliteStore, scope: str, value: str, code: str) -> None:
    with pytest.raises(SuanwangError) as caught, store.begin("ann") as transaction:
        transaction.claim(scope, value, WEB)
    assert caught.value.code == code


def test_long_authors_and_messages_are_refused(store: SqliteStore) -> None:
    for author, message in (("a" * 254, ""), ("ann", "m" * 4097)):
        with pytest.raises(SuanwangError) as caught, store.begin(author, message):
            raise AssertionError
        assert caught.value.code == TOO_LARGE


def test_misuse_is_told(store: SqliteStore) -> None:
    with store.begin("ann") as transaction, pytest.raises(RuntimeError, match="inside of another"), store.begin("ann"):
        raise AssertionError
    with pytest.raises(RuntimeError, match="has ended"):
        transaction.put(WEB, b"")
    store.close()
    with pytest.raises(RuntimeError, match="is closed"):
        store.get(WEB)


def test_a_transaction_may_change_what_it_lists(store: SqliteStore) -> None:
    keys = [Key("Port", "shop", f"p{number:05}") for number in range(2500)]
    with store.begin("ann") as transaction:
        for key in keys:
            transaction.put(key, b"old")
    with store.begin("ann") as transaction:
        seen = 0
        for entry in transaction.list("Port"):
            transaction.put(entry.key, b"new")
            transaction.put(Key("Zone", "", entry.key.name), b"")
            seen += 1
    assert seen == len(keys)
    assert {entry.body for entry in store.list("Port")} == {b"new"}
