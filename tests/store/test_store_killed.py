"""kill -9 at any moment: what was acknowledged is there, whole; what was not is there whole or not at all."""

from __future__ import annotations

import random
import select
import subprocess
import sys
import time
from pathlib import Path

from suanwang.model.reference import Key
from suanwang.store import SqliteStore

KILLS = 25
PARTS = 20


def part(number: int) -> Key:
    return Key("Part", "shop", f"p{number:02}")


def child(path: str) -> None:
    """Each transaction writes its own number under many keys, moves a claim along and replaces one entry."""
    with SqliteStore(path) as store:
        print("open", flush=True)
        while True:
            with store.begin("child") as transaction:
                number = transaction.revision
                for index in range(PARTS):
                    transaction.put(part(index), b"%d" % number * (1 + number % 400))
                for turn in transaction.list("Turn"):
                    transaction.delete(turn.key)
                transaction.put(Key("Turn", "", f"t{number}"), b"")
                transaction.claim("turn", f"{number:08x}", Key("Turn", "", f"t{number}"))
            print(number, flush=True)
            if number % 7 == 0:
                store.set_status([(part(0), b"%d" % number)])
            if number % 31 == 0:
                store.compact(number - 10)
            if number % 17 == 0:
                store.rollback(number - 1, "child")
                print(store.revision, flush=True)


def check(path: Path, acknowledged: int) -> int:
    with SqliteStore(path) as store:
        revision = store.revision
        assert revision >= acknowledged
        if revision == 0:
            return 0
        for at in {revision, max(store.compacted, acknowledged), store.compacted}:
            entries = {entry.key: entry for entry in store.at(at)}
            if not entries:
                assert at == 0
                continue
            bodies = {entry.body for key, entry in entries.items() if key.kind == "Part"}
            turns = [key for key in entries if key.kind == "Turn"]
            assert (len(entries), len(bodies), len(turns)) == (PARTS + 1, 1, 1)
            number = int(turns[0].name[1:])
            assert bodies == {b"%d" % number * (1 + number % 400)}
            if at == revision:
                with store.begin("parent") as transaction:
                    assert transaction.values("turn") == [f"{number:08x}"]
                    assert transaction.owner("turn", f"{number:08x}") == turns[0]
        kept = [commit.revision for commit in store.history(limit=1_000_000)]
        assert kept == list(range(revision, store.compacted, -1))
        with store._database.reading() as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return revision


def test_kill_at_any_moment(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    dice = random.Random(1)
    revision = 0
    for _ in range(KILLS):
        with subprocess.Popen([sys.executable, __file__, path], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            if dice.random() < 0.8:
                assert process.stdout.readline() == "open\n"
            # Wait, but without emptying the pipe: the end of life of the child alone ends the test's read below.
            select.select([], [], [], dice.expovariate(6))
            process.kill()
            lines = [line for line in process.stdout.read().splitlines(keepends=True) if line.endswith("\n")]
        acknowledged = max([revision] + [int(line) for line in lines if line != "open\n"])
        revision = check(path, acknowledged)
    assert revision > 10 * KILLS


def test_kill_while_the_store_is_made(tmp_path: Path) -> None:
    dice = random.Random(2)
    for number in range(12):
        path = tmp_path / f"store{number}.db"
        with subprocess.Popen([sys.executable, __file__, path], stdout=subprocess.DEVNULL) as process:
            limit = time.monotonic() + 20
            while not path.exists():
                assert time.monotonic() < limit
            select.select([], [], [], dice.random() * 0.01)
            process.kill()
        check(path, 0)


if __name__ == "__main__":
    child(sys.argv[1])
