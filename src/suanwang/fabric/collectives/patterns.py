"""Who sends to whom in one round of a collective, by rank."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Shift:
    """Rank i sends to rank i + by, around the end; where `line`, the last ones send nothing."""

    by: int = 1
    line: bool = False

    def count(self, size: int) -> int:
        """How many pairs there are."""
        return size - self.by if self.line else size

    def starts(self, size: int) -> int:
        """The most messages that one rank starts."""
        return 1

    def pairs(self, size: int) -> tuple[Integers, Integers]:
        """Senders and receivers among `size` ranks."""
        ranks = np.arange(size - self.by if self.line else size, dtype=np.int64)
        return ranks, (ranks + self.by) % size


@dataclass(frozen=True, slots=True)
class Exchange:
    """Ranks i and i XOR `distance`, a power of two, send to each other; `size` is a power of two as well."""

    distance: int

    def count(self, size: int) -> int:
        """How many pairs there are."""
        return size

    def starts(self, size: int) -> int:
        """The most messages that one rank starts."""
        return 1

    def pairs(self, size: int) -> tuple[Integers, Integers]:
        """Senders and receivers among `size` ranks."""
        ranks = np.arange(size, dtype=np.int64)
        return ranks, ranks ^ self.distance


@dataclass(frozen=True, slots=True)
class Everyone:
    """Every rank sends to every other, all at once."""

    def count(self, size: int) -> int:
        """How many pairs there are."""
        return size * (size - 1)

    def starts(self, size: int) -> int:
        """The most messages that one rank starts."""
        return size - 1

    def pairs(self, size: int) -> tuple[Integers, Integers]:
        """Senders and receivers among `size` ranks, next neighbours first."""
        ranks = np.tile(np.arange(size, dtype=np.int64), size - 1)
        return ranks, (ranks + np.repeat(np.arange(1, size, dtype=np.int64), size)) % size


@dataclass(frozen=True, slots=True)
class Scatter:
    """Rank 0 sends to every other rank."""

    def count(self, size: int) -> int:
        """How many pairs there are."""
        return size - 1

    def starts(self, size: int) -> int:
        """The most messages that one rank starts."""
        return size - 1

    def pairs(self, size: int) -> tuple[Integers, Integers]:
        """Senders and receivers among `size` ranks."""
        return np.zeros(size - 1, np.int64), np.arange(1, size, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class TreeLevel:
    """One level of two binary trees at once: ranks `level` edges below rank 0, up to their parents or down from them.

    After Sanders, Speck and Träff ("Two-tree algorithms for full bandwidth broadcast, reduction and scan", Parallel
    Computing 35, 2009). Ranks 1 .. size - 1 in order form a binary tree, in which the even ones have children; rank 0
    stands above its root. The second tree is the first mirrored, or with ranks moved by one, so that the odd ones have
    children. So nobody but rank 0 passes things on in both, and each half of a buffer can take one tree.
    """

    level: int
    down: bool

    def count(self, size: int) -> int:
        """How many pairs there are."""
        return 2 * int(np.count_nonzero(in_order_tree(size)[1] == self.level))

    def starts(self, size: int) -> int:
        """The most messages that one rank starts: to two children, or up in both trees."""
        return 2

    def pairs(self, size: int) -> tuple[Integers, Integers]:
        """Senders and receivers among `size` ranks."""
        parent, depth = in_order_tree(size)
        child = np.flatnonzero(depth == self.level)
        ranks = np.arange(1, size, dtype=np.int64)
        other = np.concatenate([[0], size - ranks if size % 2 else ranks % (size - 1) + 1])
        low = np.concatenate([child, other[child]])
        high = np.concatenate([parent[child], other[parent[child]]])
        return (high, low) if self.down else (low, high)


@dataclass(frozen=True, slots=True)
class TreeEdges:
    """All levels of those two trees together."""

    down: bool

    def count(self, size: int) -> int:
        """How many pairs there are."""
        return 2 * (size - 1)

    def starts(self, size: int) -> int:
        """The most messages that one rank starts, of each tree level two at once."""
        return 2 * tree_depth(size)

    def pairs(self, size: int) -> tuple[Integers, Integers]:
        """Senders and receivers among `size` ranks."""
        levels = [TreeLevel(level, self.down).pairs(size) for level in range(1, tree_depth(size) + 1)]
        return np.concatenate([one for one, _ in levels]), np.concatenate([other for _, other in levels])


@lru_cache(maxsize=8)
def in_order_tree(size: int) -> tuple[Integers, Integers]:
    """Parent and depth of each rank in a binary tree of ranks 1 .. size - 1 in order, below rank 0, whose parent is -1.

    The parent of a rank with lowest bit b has that bit off and bit 2b on; where no such rank is, just that bit off.
    """
    ranks = np.arange(size, dtype=np.int64)
    low = ranks & -ranks
    up = (ranks ^ low) | (low << 1)
    parent = np.where(up < size, up, ranks ^ low)
    parent[0] = -1
    depth = np.zeros(size, np.int64)
    at = parent.copy()
    while (climbing := at >= 0).any():
        depth[climbing] += 1
        at[climbing] = parent[at[climbing]]
    parent.setflags(write=False)
    depth.setflags(write=False)
    return parent, depth


def tree_depth(size: int) -> int:
    """Edges from rank 0 to the deepest rank."""
    return (size - 1).bit_length()


Pattern = Shift | Exchange | Everyone | Scatter | TreeLevel | TreeEdges
