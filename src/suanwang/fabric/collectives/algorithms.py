"""The algorithms, as schedules: what is sent in each round when n ranks work on a buffer of S bytes.

Sources: ring, halving and doubling: Thakur, Rabenseifner, Gropp, "Optimization of collective communication operations
in MPICH", IJHPCA 19 (2005). Double binary tree: Sanders, Speck, Träff (2009). Sums and copies in switches: Graham et
al., "Scalable hierarchical aggregation protocol (SHArP)", COM-HPC 2016.
"""

from __future__ import annotations

from collections.abc import Callable

from suanwang.fabric.collectives.patterns import Everyone, Exchange, Shift, TreeLevel, tree_depth
from suanwang.fabric.collectives.schedule import Axis, Schedule, Stage

Algorithm = Callable[[int, int, Axis], Schedule | None]


def share(size: int, ranks: int) -> int:
    """A part of `size` bytes, rounded up."""
    return -(-size // ranks)


def ring_reduce_scatter(n: int, size: int, axis: Axis) -> Schedule:
    """Each part goes once around; n - 1 rounds."""
    return (Stage(axis, Shift(1), share(size, n), n - 1),)


def ring_all_reduce(n: int, size: int, axis: Axis) -> Schedule:
    """Each part goes around twice."""
    return (Stage(axis, Shift(1), share(size, n), 2 * (n - 1)),)


def direct(n: int, size: int, axis: Axis) -> Schedule:
    """Everyone sends every other its part at once: reduce-scatter, all-gather and all-to-all alike."""
    return (Stage(axis, Everyone(), share(size, n)),)


def direct_all_reduce(n: int, size: int, axis: Axis) -> Schedule:
    """Parts to their owners, sums back to all."""
    return direct(n, size, axis) * 2


def halving(n: int, size: int, axis: Axis) -> Schedule | None:
    """Exchange half of what is left with a partner half as far away each time; for powers of two."""
    if n & (n - 1):
        return None
    steps = range(n.bit_length() - 2, -1, -1)
    return tuple(Stage(axis, Exchange(1 << step), share(size * (1 << step), n)) for step in steps)


def doubling(n: int, size: int, axis: Axis) -> Schedule | None:
    """The same backwards: what is known doubles."""
    found = halving(n, size, axis)
    return found and found[::-1]


def halving_doubling(n: int, size: int, axis: Axis) -> Schedule | None:
    """Reduce-scatter by halving, all-gather by doubling."""
    found = halving(n, size, axis)
    return found and found + found[::-1]


def tree_all_reduce(n: int, size: int, axis: Axis) -> Schedule:
    """Half of the buffer up and down each of two binary trees."""
    levels = range(1, tree_depth(n) + 1)
    up = tuple(Stage(axis, TreeLevel(level, down=False), share(size, 2)) for level in reversed(levels))
    return up + tuple(Stage(axis, TreeLevel(level, down=True), share(size, 2)) for level in levels)


def tree_broadcast(n: int, size: int, axis: Axis) -> Schedule:
    """Half of the buffer down each of two binary trees, from rank 0."""
    return tuple(Stage(axis, TreeLevel(level, down=True), share(size, 2)) for level in range(1, tree_depth(n) + 1))


def in_network(n: int, size: int, axis: Axis) -> Schedule:
    """Everyone sends its buffer up once; switches add up (or copy) and send the result down once."""
    return (Stage(axis, Shift(1), size, combined=True),)


def line(n: int, size: int, axis: Axis) -> Schedule:
    """Each rank to the next: what stages of a pipeline hand on."""
    return (Stage(axis, Shift(1, line=True), size),)


FLAT: dict[str, dict[str, Algorithm]] = {
    "all-reduce": {
        "ring": ring_all_reduce,
        "tree": tree_all_reduce,
        "halving-doubling": halving_doubling,
        "direct": direct_all_reduce,
    },
    "reduce-scatter": {"ring": ring_reduce_scatter, "halving": halving, "direct": direct},
    "all-gather": {"ring": ring_reduce_scatter, "doubling": doubling, "direct": direct},
    "all-to-all": {"direct": direct},
    "moe-dispatch": {"direct": direct},
    "moe-combine": {"direct": direct},
    "broadcast": {"tree": tree_broadcast},
    "send": {"line": line},
}
IN_NETWORK = ("all-reduce", "broadcast")
"""What switches that add up and copy do at once."""
