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
    from suanwang.steering.problem import Network, Problem

LARGEST_BYTES = 2 * 2**30
"""Of all that is kept; the oldest goes first."""

FEW_PATHS = 20_000_000
"""Up to so many take no more than a few GB, whatever the network."""
BYTES_OF_PATH, BYTES_OF_HOP = 200, 6
"""About what a candidate takes while a problem is solved, and each of its links."""
PART_OF_MEMORY = 0.75
SAMPLE = 30
"""Of how many nodes it is looked at how far others are."""


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


def fit(problem: Problem, kinds: int, count: int) -> None:
    """Refuse now what would fill the memory later. Raises TOO_MANY_PATHS."""
    import numpy as np
    from scipy.sparse.csgraph import dijkstra

    from suanwang.model.errors import SuanwangError
    from suanwang.steering.candidates.pairs import TOO_MANY_PATHS, pairs_of
    from suanwang.steering.nearest import matrix

    network, demands = problem.network, problem.demands
    pairs = int(np.diff(demands.choice_first)[demands.choice].sum())
    pairs = min(pairs, len(demands.limits) * len(network.nodes) ** 2)
    if pairs * kinds * count < FEW_PATHS:
        return
    if not demands.single:
        # Endpoints and demands may share nodes.
        pairs = sum(len(one) for one in pairs_of(demands, problem.endpoints))
    graph = matrix(network, network.capacity > 0, np.ones(len(network.source)))
    some = np.arange(0, len(network.nodes), max(len(network.nodes) // SAMPLE, 1))
    hops = dijkstra(graph, indices=some, unweighted=True)
    mean = float(hops[np.isfinite(hops)].mean())
    wanted = pairs * kinds * count * (BYTES_OF_PATH + BYTES_OF_HOP * mean)
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if wanted > PART_OF_MEMORY * there:
        raise SuanwangError(
            TOO_MANY_PATHS,
            f"{kinds * count} candidate paths for each of {pairs} pairs of nodes would take about "
            f"{wanted / 1e9:.0f} GB of memory, and this machine has {there / 1e9:.0f} GB",
            "ask for fewer, as in --path-set shortest --paths 1, or leave out or add up small demands",
        )


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
