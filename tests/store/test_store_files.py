"""The file: its mode, who may open it, what is not a store, and a disk that is full."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from suanwang.model.errors import SuanwangError
from suanwang.model.reference import Key
from suanwang.store import STORE_FULL, STORE_LOCKED, STORE_NEWER, STORE_UNREADABLE, SqliteStore
from suanwang.store.schema import SCHEMA_VERSION

NODE = Key("Node", "", "n1")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@contextmanager
def runs_full() -> Iterator[None]:
    """The block ends in STORE_FULL."""
    with pytest.raises(SuanwangError) as caught:
        yield
    assert caught.value.code == STORE_FULL


def refusal(path: Path | str) -> SuanwangError:
    with pytest.raises(SuanwangError) as caught:
        SqliteStore(path)
    return caught.value


def test_the_files_are_for_their_owner_only(path: Path) -> None:
    before = os.umask(0)
    try:
        with SqliteStore(path) as store, store.begin("ann") as transaction:
            transaction.put(NODE, b"")
            modes = {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
            assert len([*path.parent.iterdir()]) == 4
    finally:
        os.umask(before)
    assert modes == {0o600}


def test_commits_are_forced_to_the_disk(path: Path) -> None:
    with SqliteStore(path) as store, store._database.writing() as connection:
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_second_opener_is_refused_until_the_first_lets_go(path: Path) -> None:
    link = path.parent / "other-name.db"
    link.symlink_to(path)
    with SqliteStore(path):
        for name in (path, link):
            error = refusal(name)
            assert error.code == STORE_LOCKED
            assert f"in process {os.getpid()}" in str(error)
        script = (
            "import sys\nfrom suanwang.model.errors import SuanwangError\nfrom suanwang.store import SqliteStore\n"
            "try:\n    SqliteStore(sys.argv[1])\nexcept SuanwangError as error:\n    print(error.code)\n"
        )
        other = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True, check=True)
        assert other.stdout == "STORE_LOCKED\n"
    SqliteStore(path).close()


@pytest.mark.parametrize(
    "content", [b"apiVersion: suanwang/v1\n" * 100, b"short", b"SQLite format 3\0" + b"\xff" * 5000]
)
def test_a_file_that_is_no_database_is_refused_and_left_alone(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    assert refusal(path).code == STORE_UNREADABLE
    assert path.read_bytes() == content


def test_the_database_of_another_program_is_refused_and_left_alone(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    content = path.read_bytes()
    error = refusal(path)
    assert (error.code, "another program" in error.message) == (STORE_UNREADABLE, True)
    assert path.read_bytes() == content


def test_the_store_of_a_newer_release_is_refused(path: Path) -> None:
    SqliteStore(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    connection.close()
    assert refusal(path).code == STORE_NEWER


def test_paths_that_can_not_be_files_are_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path).code == STORE_UNREADABLE
    assert refusal(tmp_path / "missing" / "store.db").code == STORE_UNREADABLE


def test_a_damaged_page_is_told_when_it_is_read(path: Path) -> None:
    with SqliteStore(path) as store, store.begin("ann") as transaction:
        for number in range(2000):
            transaction.put(Key("Node", "", f"n{number}"), b"x" * 100)
    with path.open("r+b") as file:
        for page in range(2, path.stat().st_size // 4096):
            file.seek(page * 4096)
            file.write(b"\xee" * 4096)
    with pytest.raises(SuanwangError) as caught, SqliteStore(path) as store:
        list(store.list())
    assert caught.value.code == STORE_UNREADABLE


def test_a_store_at_its_size_limit_changes_nothing_and_goes_on(path: Path) -> None:
    with SqliteStore(path, size_limit_bytes=400_000) as store:
        fill_up(store)
    assert path.stat().st_size <= 400_000
    with SqliteStore(path, size_limit_bytes=500_000) as store:
        with store.begin("ann") as transaction:
            transaction.put(NODE, b"z" * 5000)
        assert store.get(NODE) is not None


def test_compaction_makes_room(path: Path) -> None:
    def rewrite() -> None:
        for number in range(1000):
            with store.begin("ann") as transaction:
                transaction.put(NODE, b"%d" % number * 2000)

    with SqliteStore(path, size_limit_bytes=400_000) as store:
        with runs_full():
            rewrite()
        before, revision = store.get(NODE), store.revision
        store.compact(revision)
        assert (store.get(NODE), store.revision) == (before, revision)
        with runs_full():
            rewrite()
        assert store.revision > revision + 20


def test_a_full_disk_changes_nothing_and_the_store_goes_on_when_there_is_room(tmp_path: Path) -> None:
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("needs root and unshare: mounts a small tmpfs in a mount namespace of its own")
    disk = tmp_path / "disk"
    disk.mkdir()
    done = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", sys.executable, __file__, str(disk)],
        capture_output=True,
        text=True,
        timeout=100,
    )
    if done.returncode == 77:
        pytest.skip(f"no tmpfs can be mounted here: {done.stderr}")
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")
    assert [*disk.iterdir()] == []


def fill_up(store: SqliteStore) -> None:
    """Write until there is no room; check that nothing is half done."""
    names = []
    with runs_full():
        for number in range(10_000):
            with store.begin("ann") as transaction:
                for part in range(3):
                    transaction.put(Key("Node", "", f"n{number:05}-{part}"), b"x" * 5000)
                transaction.claim("number", f"{number:05}", Key("Node", "", f"n{number:05}-0"))
            names += [f"n{number:05}-{part}" for part in range(3)]
    assert [entry.key.name for entry in store.list()] == names
    revision = store.revision
    assert revision == len(names) // 3 > 3
    with runs_full(), store.begin("ann") as transaction:
        for number in range(1000):
            try:
                transaction.put(Key("Big", "", f"b{number}"), b"y" * 100_000)
            except SuanwangError:
                break
        # Whoever swallows the error and goes on must not get a part of it committed.
        transaction.put(NODE, b"")
    assert [entry.key.name for entry in store.list()] == names


def fill_up_a_disk(disk: Path) -> None:
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", disk], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        print(mounted.stderr, file=sys.stderr)
        sys.exit(77)
    ballast = disk / "ballast"
    with SqliteStore(disk / "store.db") as store:
        with store.begin("ann") as transaction:
            transaction.put(NODE, b"first")
        ballast.write_bytes(bytes(1_000_000))
        acknowledged = 0
        with runs_full():
            for number in range(1000):
                with store.begin("ann") as transaction:
                    for part in range(5):
                        transaction.put(Key("Port", "", f"p{number:04}-{part}"), b"x" * 2000)
                acknowledged += 1
        assert acknowledged > 3
        assert len(list(store.list("Port"))) == 5 * acknowledged
        ballast.unlink()
        with store.begin("ann") as transaction:
            transaction.put(NODE, b"second")
    with SqliteStore(disk / "store.db") as store:
        assert store.revision == acknowledged + 2
        assert len(list(store.list("Port"))) == 5 * acknowledged
    for name in ("store.db", "store.db-lock"):
        (disk / name).unlink()
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    assert refusal(disk / "store.db").code == STORE_FULL
    ballast.unlink(missing_ok=True)
    SqliteStore(disk / "store.db").close()
    print("done")


if __name__ == "__main__":
    fill_up_a_disk(Path(sys.argv[1]))
