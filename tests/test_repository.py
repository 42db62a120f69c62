"""The checkout as a whole: locks, versions, names, and that no file holds what belongs to one machine."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import suanwang

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LOCKS = ("requirements.lock", "requirements-dev.lock")
FOLDERS = (".ci", "bench", "docs", "examples", "scripts", "src", "tests")


def files() -> Iterator[Path]:
    """The project's own text files."""
    yield from (path for path in ROOT.iterdir() if path.is_file())
    for folder in FOLDERS:
        yield from (path for path in (ROOT / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts)


def readable(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def locked(lock: str) -> dict[str, str]:
    return {normal(n): v for n, v in re.findall(r"^([\w.-]+)==(\S+)", readable(ROOT / lock), flags=re.MULTILINE)}


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_has_a_hash_for_everything(lock: str) -> None:
    entries = re.split(r"^(?=[\w.-]+==)", readable(ROOT / lock), flags=re.MULTILINE)[1:]
    assert entries
    assert [entry.splitlines()[0] for entry in entries if "--hash=sha256:" not in entry] == []


def test_locks_hold_what_the_project_asks_for() -> None:
    runtime = {normal(re.split(r"[<>=~!; ]", line)[0]) for line in PROJECT["dependencies"]}
    tools = {normal(re.split(r"[<>=~!; ]", line)[0]) for line in PROJECT["optional-dependencies"]["dev"]}
    assert runtime <= set(locked("requirements.lock"))
    assert runtime | tools <= set(locked("requirements-dev.lock"))


def test_locks_agree() -> None:
    assert locked("requirements.lock").items() <= locked("requirements-dev.lock").items()


def test_no_file_names_a_package_index_or_a_download_address() -> None:
    forbidden = re.compile(r"index-url|find-links|trusted-host|://[^\s/]*(?:pypi|pythonhosted)", re.IGNORECASE)
    allowed = {ROOT / "scripts" / "lock", Path(__file__)}  # one turns these options off, the other is this list
    assert [str(path) for path in files() if path not in allowed and forbidden.search(readable(path))] == []


def test_no_file_names_a_path_of_one_machine() -> None:
    forbidden = re.compile(r"(?<![\w.$}])/(?:home|root|work|tmp)/\w")
    assert [str(path) for path in files() if forbidden.search(readable(path))] == []


def test_one_version_everywhere() -> None:
    assert PROJECT["version"] == suanwang.__version__
    assert f"## [{PROJECT['version']}]" in readable(ROOT / "CHANGELOG.md")


def test_test_files_have_names_of_their_own() -> None:
    names = Counter(path.name for path in (ROOT / "tests").rglob("test_*.py"))
    assert [name for name, times in names.items() if times > 1] == []


def test_every_room_says_what_it_is_for() -> None:
    rooms = [*(ROOT / "src" / "suanwang").glob("*/__init__.py")]
    assert [path.parent.name for path in rooms if not readable(path).startswith('"""')] == []


def test_every_room_has_tests() -> None:
    rooms = {path.parent.name for path in (ROOT / "src" / "suanwang").glob("*/__init__.py")}
    tested = {path.parent.name for path in (ROOT / "tests").glob("*/test_*.py")}
    assert sorted(rooms - tested) == []
