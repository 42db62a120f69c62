"""Many threads on one store: nobody's change is lost, nobody gets another's value, readers see whole revisions."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from suanwang.model.errors import CONFLICT, SuanwangError
from suanwang.model.reference import Key
from suanwang.store import SqliteStore

COUNTER = Key("Counter", "", "c")
PATIENCE_S = 60.0


def together(*bodies: Callable[[], None]) -> None:
    failures: list[BaseException] = []

    def guarded(body: Callable[[], None]) -> None:
        try:
            body()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(body,)) for body in bodies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
        assert not thread.is_alive()
    assert failures == []


def test_optimistic_increments_are_never_lost(store: SqliteStore) -> None:
    with store.begin("ann") as transaction:
        transaction.put(COUNTER, b"0")

    def increment() -> None:
        done = 0
        while done < 25:
            seen = store.get(COUNTER)
            assert seen is not None
            try:
                with store.begin("ann") as transaction:
                    transaction.put(COUNTER, b"%d" % (int(seen.body) + 1), expect=seen.revision)
                done += 1
            except SuanwangError as error:
                if error.code != CONFLICT:
                    raise

    together(*[increment] * 4)
    last = store.get(COUNTER)
    assert last is not None
    assert (last.body, store.revision) == (b"100", 101)


def test_allocators_never_hand_out_a_value_twice(store: SqliteStore) -> None:
    def allocate(who: int) -> None:
        for number in range(25):
            with store.begin("ann") as transaction:
                taken = transaction.values("vni", reverse=True, limit=1)
                free = int(taken[0], 16) + 1 if taken else 0
                transaction.claim("vni", f"{free:06x}", Key("Vpc", f"t{who}", f"v{number}"))

    together(*[lambda who=who: allocate(who) for who in range(4)])
    with store.begin("ann") as transaction:
        assert transaction.values("vni") == [f"{number:06x}" for number in range(100)]


def test_readers_see_one_revision_and_block_no_writer(tmp_path: Path) -> None:
    keys = [Key("Node", "", f"n{number:04}") for number in range(500)]
    with SqliteStore(tmp_path / "store.db") as store:

        def write(body: bytes) -> None:
            with store.begin("ann") as transaction:
                for key in keys:
                    transaction.put(key, body)

        write(b"0")
        stream = store.list()
        first = next(stream)
        write(b"1")
        early = store.at(1)
        next(early)
        store.compact(2)
        assert {first.body} | {entry.body for entry in stream} == {b"0"}
        assert {entry.body for entry in early} == {b"0"}
        assert {entry.body for entry in store.list()} == {b"1"}
        with store.begin("ann") as transaction:
            transaction.put(keys[0], b"uncommitted")
            assert {entry.body for entry in store.list()} == {b"1"}
            assert {entry.body for entry in transaction.list()} == {b"1", b"uncommitted"}
            transaction.put(keys[0], b"1")

        def read() -> None:
            for _ in range(20):
                assert len({entry.body for entry in store.list()}) == 1

        together(read, read, lambda: [write(b"%d" % body) for body in range(20)] and None)


def test_a_stream_that_is_dropped_half_way_gives_its_connection_back(store: SqliteStore) -> None:
    with store.begin("ann") as transaction:
        transaction.put(COUNTER, b"0")
        transaction.put(COUNTER._replace(name="d"), b"0")
    for _ in range(100):
        assert next(iter(store.list())).key == COUNTER
    stream = store.list()
    next(stream)
    store.close()
    assert [entry.key.name for entry in stream] == ["d"]
