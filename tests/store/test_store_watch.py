"""Watches miss nothing, block nobody, and say so when they fell too far behind."""

from __future__ import annotations

import asyncio
import threading

import pytest

from suanwang.model.errors import INVALID, SuanwangError
from suanwang.model.reference import Key
from suanwang.store import COMPACTED, SqliteStore, Watch

PATIENCE_S = 30.0


def commit(store: SqliteStore, number: int) -> None:
    with store.begin("ann") as transaction:
        transaction.put(Key("Node", "", f"n{number % 7}"), b"%d" % number)


def test_watchers_get_every_commit_in_order_while_others_write(store: SqliteStore) -> None:
    seen: list[list[int]] = [[], [], []]
    total = 120

    def follow(revisions: list[int]) -> None:
        watch = store.watch(0)
        while len(revisions) < total and (found := watch.next(PATIENCE_S)):
            revisions.append(found.revision)

    def write(start: int) -> None:
        for number in range(start, start + total // 2):
            commit(store, number)

    threads = [threading.Thread(target=follow, args=(revisions,)) for revisions in seen]
    threads += [threading.Thread(target=write, args=(start,)) for start in (0, 1000)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert seen == [list(range(1, total + 1))] * 3


def test_a_watcher_that_fell_behind_compaction_is_told(store: SqliteStore) -> None:
    for number in range(5):
        commit(store, number)
    slow, quick = store.watch(1), store.watch(3)
    store.compact(3)
    with pytest.raises(SuanwangError, match="compacted away") as caught:
        slow.next(0)
    assert caught.value.code == COMPACTED
    found = quick.next(0)
    assert found is not None
    assert found.revision == 4
    assert [entry.body for entry in store.at(3)] == [b"0", b"1", b"2"]
    for read in (store.at, store.watch):
        with pytest.raises(SuanwangError) as caught:
            read(2)
        assert caught.value.code == COMPACTED
        with pytest.raises(SuanwangError) as caught:
            read(6)
        assert caught.value.code == INVALID


def test_a_fully_compacted_store_goes_on_counting(store: SqliteStore) -> None:
    commit(store, 1)
    commit(store, 2)
    watch = store.watch(2)
    store.compact(2)
    assert (store.history(), store.revision) == ([], 2)
    commit(store, 3)
    found = watch.next(0)
    assert found is not None
    assert (found.revision, store.revision) == (3, 3)


def test_compaction_in_many_batches_leaves_the_present(store: SqliteStore) -> None:
    for body in (b"1", b"2", b"3"):
        with store.begin("ann") as transaction:
            for number in range(12_000):
                transaction.put(Key("Port", "", f"p{number}"), body)
    for number in range(50):
        commit(store, number)
    kept = list(store.at(20))
    store.compact(20)
    assert list(store.at(20)) == kept
    assert len(list(store.list("Port"))) == 12_000
    assert [found.revision for found in store.history(since=0)] == list(range(53, 20, -1))


def test_compaction_leaves_nothing_of_the_past(store: SqliteStore) -> None:
    owner = Key("Vpc", "shop", "v")
    for _ in range(3):
        with store.begin("ann") as transaction:
            transaction.put(owner, b"")
            transaction.claim("vni", "01", owner)
        with store.begin("ann") as transaction:
            transaction.delete(owner)
    store.compact(store.revision)
    with store._database.reading() as connection:
        for table in ("change", "history", "entry_past", "claim_past"):
            assert connection.execute(f"SELECT COUNT(*) FROM {table}").fetchone() == (0,)


def test_closing_wakes_whoever_waits(store: SqliteStore) -> None:
    watches = [store.watch(0), store.watch(0)]
    got: list[object] = []

    def follow(watch: Watch) -> None:
        got.append(watch.next(PATIENCE_S))

    for watch, close in zip(watches, (watches[0].close, store.close), strict=True):
        waiter = threading.Thread(target=follow, args=(watch,))
        waiter.start()
        close()
        waiter.join(PATIENCE_S)
        assert (got.pop(), watch.closed) == (None, True)


def test_subscribers_hear_of_commits_and_can_not_spoil_them(
    store: SqliteStore, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[int] = []

    def fail(revision: int) -> None:
        raise ZeroDivisionError

    end_failing = store.subscribe(fail)
    end_hearing = store.subscribe(heard.append)
    commit(store, 1)
    with store.begin("ann"):
        pass
    end_failing()
    commit(store, 2)
    end_hearing()
    commit(store, 3)
    assert (heard, store.revision) == ([1, 2], 3)
    assert caplog.text.count("a subscriber of the store failed at revision") == 1


def test_an_event_loop_can_follow(store: SqliteStore) -> None:
    async def follow() -> list[int]:
        loop, woken = asyncio.get_running_loop(), asyncio.Event()
        end = store.subscribe(lambda _: loop.call_soon_threadsafe(woken.set))
        watch, seen = store.watch(0), []
        writer = asyncio.to_thread(lambda: [commit(store, number) for number in range(10)])
        writing = asyncio.create_task(writer)
        while len(seen) < 10:
            await asyncio.wait_for(woken.wait(), PATIENCE_S)
            woken.clear()
            while found := await asyncio.to_thread(watch.next, 0):
                seen.append(found.revision)
        await writing
        end()
        return seen

    assert asyncio.run(follow()) == list(range(1, 11))
