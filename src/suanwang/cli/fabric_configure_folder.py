"""A folder of files that is there whole or not at all, and that is replaced only if nobody else changed it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from suanwang.model.errors import INVALID, SuanwangError

MANIFEST = ".suanwang-fabric.json"
"""Names the files that were written, with hashes of their content."""
MOST_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Written:
    """How many files, and whether anything is different from before."""

    files: int
    changed: bool


def write_folder(target: Path, files: Iterable[tuple[str, bytes]]) -> Written:
    """Write `files` (path in the folder, content) beside the target, then put them in its place.

    Raises:
        SuanwangError: INVALID when the target holds what was not written here, or was changed since.
    """
    target = Path(os.path.abspath(target))
    if Path.cwd().is_relative_to(target):
        raise SuanwangError(
            INVALID, f"{target} can't be replaced as a whole while it is worked in", hint="name a folder inside it"
        )
    before = _ours(target)
    beside = target.with_name(f".{target.name}.{os.getpid()}")
    old = target.with_name(f".{target.name}.{os.getpid()}.old")
    target.parent.mkdir(parents=True, exist_ok=True)
    hashes: dict[str, str] = {}
    try:
        beside.mkdir()
        root, made = str(beside), {""}
        for name, content in files:
            folder = name.rpartition("/")[0]
            if folder not in made:
                os.makedirs(f"{root}/{folder}")
                made.add(folder)
            with open(f"{root}/{name}", "wb") as stream:
                stream.write(content)
            hashes[name] = _hash(content)
        (beside / MANIFEST).write_text(json.dumps(hashes, indent=0, sort_keys=True) + "\n")
        if hashes == before:
            return Written(len(hashes), False)
        if target.exists():
            target.rename(old)
        beside.rename(target)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
        if old.exists() and not target.exists():
            old.rename(target)
        shutil.rmtree(old, ignore_errors=True)
    return Written(len(hashes), True)


def _ours(target: Path) -> dict[str, str] | None:
    """The hashes of what the target holds; None if there is nothing. Raises INVALID if any of it is not ours."""
    if not target.exists() and not target.is_symlink():
        return None
    if target.is_symlink() or not target.is_dir():
        raise SuanwangError(INVALID, f"{target} is not a folder", hint="name a folder that is not there yet")
    found = {path.relative_to(target).as_posix(): path for path in target.rglob("*") if not _folder(path)}
    if not found:
        return None
    try:
        known = json.loads(found.pop(MANIFEST).read_text())
    except (KeyError, ValueError, OSError):
        known = None
    if not isinstance(known, dict):
        raise SuanwangError(
            INVALID, f"{target} holds files that `fabric configure` did not write", hint="name another folder"
        )
    foreign = sorted(
        name for name, path in found.items() if path.is_symlink() or known.get(name) != _hash(path.read_bytes())
    )
    if foreign:
        more = f" and {len(foreign) - MOST_SHOWN} more" if len(foreign) > MOST_SHOWN else ""
        raise SuanwangError(
            INVALID,
            f"in {target}, files were added or changed: {', '.join(foreign[:MOST_SHOWN])}{more}",
            hint="move them away, or name another folder",
        )
    return known if known.keys() == found.keys() else {}


def _folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _hash(content: bytes) -> str:
    return blake2b(content, digest_size=16).hexdigest()
