"""Candidate paths kept between calls, in the user's cache directory: found once for a network, ends and limits."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from suanwang.cli.session import note

if TYPE_CHECKING:
    from suanwang.steering.candidates import Built
    from suanwang.steering.paths import Candidates
    from suanwang.steering.problem import Network

LARGEST_BYTES = 2 * 2**30
"""Of all that is kept; the oldest goes first."""


def directory() -> Path:
    """Where candidates are kept."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "suanwang" / "candidates"


def cached(
    find: Callable[[], Built], given: tuple[Any, ...], settings: dict[str, Any], network: Network, *, keep: bool
) -> Candidates:
    """The candidates that `find` finds, or those that were kept of `given` and `settings`. What can't be read or
    written is done without.
    """
    from suanwang.steering.candidates.cache import Unusable, from_bytes, key, to_bytes

    if not keep:
        return _told(find())
    name = key(*given, **settings)
    path = directory() / f"{name.hex()}.paths"
    try:
        found = from_bytes(path.read_bytes(), name, network)
        os.utime(path)
        return found
    except (OSError, Unusable):
        pass  # not there, or no longer of use: made anew
    built = find()
    if not any(len(one) for one in built.cut):
        _write(path, to_bytes(built.candidates, name))
    return _told(built)


def _told(built: Built) -> Candidates:
    cut = sum(len(one) for one in built.cut)
    if cut:
        note(f"The search for paths of {cut} pairs was stopped for its work: better paths may be missing.")
    return built.candidates


def _write(path: Path, body: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, beside = tempfile.mkstemp(dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(body)
            os.replace(beside, path)
        except OSError:
            Path(beside).unlink(missing_ok=True)
            raise
        _make_room(path)
    except OSError as problem:
        note(f"Candidate paths were not kept: {problem.strerror or problem}")


def _make_room(latest: Path) -> None:
    files = sorted(((one.stat().st_mtime, one) for one in latest.parent.glob("*.paths")), reverse=True)
    total = 0
    for _, one in files:
        total += one.stat().st_size
        if total > LARGEST_BYTES and one != latest:
            one.unlink(missing_ok=True)
