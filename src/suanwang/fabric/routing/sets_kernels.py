"""Sets kept once: a switch sends to many groups over the same ports, so its table holds the numbers of sets."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from suanwang.compiled import inlined, njit

Integers = NDArray[np.int64]

UNREACHABLE, ATTACHED = -1, -2
"""In place of a set's number: there is no way, and what is sought hangs on the switch itself."""
FOUND, USED = 0, 1
"""Places in `Sets.counts`: sets, and words in them."""


class Sets(NamedTuple):
    """Set i is the words `word[first[i] : first[i + 1]]`. `bucket` and `chain` find a set by the hash of its words."""

    first: Integers
    word: Integers
    chain: Integers
    bucket: Integers
    counts: Integers


@njit()
def no_sets():  # type: ignore[no-untyped-def]
    """Room for sets to come."""
    return Sets(
        np.zeros(1025, np.int64),
        np.empty(4096, np.int64),
        np.empty(1024, np.int64),
        np.full(1024, -1),
        np.zeros(2, np.int64),
    )


@inlined()
def begin_switch(sets):  # type: ignore[no-untyped-def]
    """Later sets are compared among themselves only: those of another switch have other ports."""
    sets.bucket[:] = -1


@njit()
def keep(sets, words, count):  # type: ignore[no-untyped-def]
    """The sets, with the first `count` of `words` among them, and its number."""
    mixed = np.uint64(1469598103934665603)
    for index in range(count):
        mixed = (mixed ^ np.uint64(words[index])) * np.uint64(1099511628211)
    place = np.int64((mixed ^ (mixed >> np.uint64(32))) & np.uint64(1023))
    number = sets.bucket[place]
    while number >= 0:
        begin = sets.first[number]
        same = sets.first[number + 1] - begin == count
        for index in range(count if same else 0):
            if sets.word[begin + index] != words[index]:
                same = False
                break
        if same:
            return sets, number
        number = sets.chain[number]
    number, used = sets.counts[FOUND], sets.counts[USED]
    if used + count > len(sets.word) or number == len(sets.chain):
        sets = _larger(sets, count)
    sets.word[used : used + count] = words[:count]
    sets.first[number + 1] = used + count
    sets.chain[number] = sets.bucket[place]
    sets.bucket[place] = number
    sets.counts[:] = number + 1, used + count
    return sets, number


@njit()
def _larger(sets, count):  # type: ignore[no-untyped-def]
    room = np.empty(len(sets.word) + count, np.int64)
    more = np.empty(len(sets.chain), np.int64)
    return Sets(
        np.concatenate((sets.first, more)),
        np.concatenate((sets.word, room)),
        np.concatenate((sets.chain, more)),
        sets.bucket,
        sets.counts,
    )
