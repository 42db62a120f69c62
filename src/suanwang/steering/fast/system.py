"""The linear systems of Newton's method: links, and endpoints in blocks that are eliminated first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import linalg

from suanwang.steering.fast import kernels
from suanwang.steering.problem import Floats, Ints

LEAST_BLOCK = 32
"""Endpoints of small groups share blocks of about this many."""


@dataclass(frozen=True, eq=False)
class Blocks:
    """Endpoints in `count` blocks of at most `size`, so that each demand chooses within one: `block` and `place` (E,)
    where each endpoint is.
    """

    block: Ints
    place: Ints
    count: int
    size: int

    @classmethod
    def of(cls, first: Ints, end: Ints, endpoints: int) -> Blocks:
        """The blocks for demands whose rows are `first[i]:first[i + 1]`, to endpoints `end` (-1: none that counts)."""
        leader = np.empty(endpoints, np.int64)
        kernels.together(first, end, leader)
        _, group, sizes = np.unique(leader, return_inverse=True, return_counts=True)
        most = max(int(sizes.max(initial=0)), min(LEAST_BLOCK, endpoints))
        block, place = np.empty(len(sizes), np.int64), np.empty(len(sizes), np.int64)
        count = used = 0
        for one in np.argsort(-sizes, kind="stable").tolist():
            if used + sizes[one] > most:
                count, used = count + 1, 0
            block[one], place[one] = count, used
            used += int(sizes[one])
        within = np.zeros(endpoints, np.int64)
        order = np.argsort(group, kind="stable")
        within[order] = np.arange(endpoints) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        return cls(block[group], place[group] + within, count + 1 if endpoints else 0, most)


@dataclass(frozen=True, eq=False)
class Curvature:
    """How loads fall as prices rise: `links` (W, W), its lower half; `crossed` (W, E), between links and endpoints;
    `ends` (E, block size), between endpoints of a block.
    """

    links: Floats
    crossed: Floats
    ends: Floats
    blocks: Blocks

    def solver(self, own_links: Floats, own_ends: Floats) -> Callable[[Floats, Floats], tuple[Floats, Floats]]:
        """Solves for this, with what links (W,) and endpoints (E,) answer by themselves added to the diagonal."""
        blocks, width = self.blocks, len(own_links)
        at = blocks.block * blocks.size + blocks.place
        whole = np.zeros((blocks.count * blocks.size, blocks.size))
        # Places that nobody takes stand for themselves.
        whole[np.arange(len(whole)), np.arange(len(whole)) % max(blocks.size, 1)] = 1.0
        whole[at] = self.ends
        whole[at, blocks.place] += own_ends
        inverse = np.linalg.inv(whole.reshape(blocks.count, blocks.size, blocks.size))
        crossed = np.zeros((len(whole), width))
        crossed[at] = self.crossed.T
        shape = (blocks.count, blocks.size, width)
        eliminated = (inverse @ crossed.reshape(shape)).reshape(len(whole), width)
        matrix = self.links - crossed.T @ eliminated
        diagonal = np.arange(width)
        matrix[diagonal, diagonal] += own_links
        factor = _cholesky(matrix)

        def at_ends(right: Floats) -> Floats:
            return np.asarray((inverse @ right.reshape(blocks.count, blocks.size, 1)).ravel())

        def solve(links: Floats, ends: Floats) -> tuple[Floats, Floats]:
            right = np.zeros(len(whole))
            right[at] = ends
            answer = factor(links - eliminated.T @ right)
            return answer, at_ends(right - crossed @ answer)[at]

        return solve


def _cholesky(matrix: Floats) -> Callable[[Floats], Floats]:
    """Solves for a matrix of which the lower half counts. Overwrites it."""
    diagonal = np.arange(len(matrix))
    if not len(matrix):
        return lambda right: right
    scale = 1.0 / np.sqrt(np.maximum(matrix[diagonal, diagonal], 1e-300))
    matrix *= scale[:, None]
    matrix *= scale[None, :]
    ridge = 1e-10
    while True:
        matrix[diagonal, diagonal] = 1.0 + ridge
        try:
            factor = linalg.cho_factor(matrix, lower=True, check_finite=False)
            break
        except linalg.LinAlgError:
            ridge *= 100
    return lambda right: np.asarray(scale * linalg.cho_solve(factor, scale * right, check_finite=False))
