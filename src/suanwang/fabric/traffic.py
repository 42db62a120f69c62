"""Who sends how much to whom, and when: the flows that the simulators carry."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from suanwang.model.errors import INVALID, SuanwangError

Integers = NDArray[np.int64]

NONE = -1
MOST_FLOWS = 2**28
FOREVER_PS = 2**61
"""As a limit of time: none."""


@dataclass(frozen=True)
class Traffic:
    """Flows as arrays, one entry each: endpoints, bytes, and the time in picoseconds at which it may start.

    Flows can wait for others. `trigger_count[t]` is how many flows must be done until trigger t goes off: received
    whole, or, for those `at_sender`, when their senders know of it. Flow i counts towards `fires[i]`, and starts
    `start_ps[i]` after `waits_for[i]` went off; -1 is no trigger, and `start_ps` then counts from the beginning. A
    trigger that nothing waits for is allowed.
    """

    source: Integers
    target: Integers
    size_bytes: Integers
    start_ps: Integers
    waits_for: Integers
    fires: Integers
    trigger_count: Integers
    at_sender: NDArray[np.bool_]

    @staticmethod
    def build(
        endpoints: int,
        source: ArrayLike,
        target: ArrayLike,
        size_bytes: ArrayLike,
        start_ps: ArrayLike = 0,
        waits_for: ArrayLike = NONE,
        fires: ArrayLike = NONE,
        trigger_count: ArrayLike = (),
        at_sender: ArrayLike = False,
    ) -> Traffic:
        """Checked flows between endpoints 0 .. endpoints - 1; single values stand for all flows.

        Raises:
            SuanwangError: INVALID for a flow to itself, an endpoint that is not there, a size below 1, a trigger that
                can never go off.
        """
        sources = np.atleast_1d(np.asarray(source, np.int64))
        columns = [
            np.broadcast_to(np.asarray(column, np.int64), sources.shape).copy()
            for column in (source, target, size_bytes, start_ps, waits_for, fires)
        ]
        counts = np.atleast_1d(np.asarray(trigger_count, np.int64))
        heard = np.broadcast_to(np.asarray(at_sender, np.bool_), sources.shape).copy()
        _check(endpoints, columns, counts)
        for array in (*columns, counts, heard):
            array.setflags(write=False)
        sender, receiver, sizes, starts, awaited, fired = columns
        return Traffic(sender, receiver, sizes, starts, awaited, fired, counts, heard)

    def __len__(self) -> int:
        return len(self.source)


def _check(endpoints: int, columns: list[Integers], counts: Integers) -> None:
    source, target, size, start, waits, fires = columns

    def refuse(bad: NDArray[np.bool_], what: str, hint: str) -> None:
        if bad.any():
            flow = int(np.flatnonzero(bad)[0])
            more = f" (and {int(bad.sum()) - 1} more)" if bad.sum() > 1 else ""
            raise SuanwangError(INVALID, f"flow {flow} ({source[flow]}->{target[flow]}) {what}{more}", hint=hint)

    if not 1 <= len(source) <= MOST_FLOWS:
        raise SuanwangError(INVALID, f"{len(source):,} flows; from 1 to {MOST_FLOWS:,} are possible")
    for end in (source, target):
        refuse((end < 0) | (end >= endpoints), f"has an endpoint outside of 0 to {endpoints - 1}", "number from 0")
    refuse(source == target, "goes to itself", "remove it; what stays on one endpoint needs no network")
    refuse(size < 1, "has no bytes", "remove it, or give it a size")
    refuse(start < 0, "starts before time 0", "times count from 0")
    for trigger in (waits, fires):
        refuse((trigger < NONE) | (trigger >= len(counts)), "names a trigger that is not there", "declare the trigger")
    if len(counts):
        coming = np.bincount(fires[fires >= 0], minlength=len(counts))
        awaited = np.bincount(waits[waits >= 0], minlength=len(counts)) > 0
        if never := np.flatnonzero(awaited & ((coming < counts) | (counts < 1))).tolist():
            raise SuanwangError(
                INVALID,
                f"trigger {never[0]} waits for {counts[never[0]]} flows, and {coming[never[0]]} fire it",
                hint="a trigger needs at least one flow, and as many as it counts",
            )


def permutation(endpoints: int, size_bytes: int, random: np.random.Generator) -> Traffic:
    """Every endpoint sends to one other and receives from one other: a random cyclic order."""
    order = random.permutation(endpoints)
    return Traffic.build(endpoints, order, np.roll(order, -1), size_bytes)


def incast(endpoints: int, senders: int, target: int, size_bytes: int) -> Traffic:
    """The first `senders` endpoints other than `target` send to it at once."""
    others = [number for number in range(endpoints) if number != target][:senders]
    return Traffic.build(endpoints, others, target, size_bytes)


def all_to_all(endpoints: int, size_bytes: int) -> Traffic:
    """Every endpoint sends `size_bytes` to every other, to its next neighbour first."""
    source = np.tile(np.arange(endpoints), endpoints - 1)
    step = np.repeat(np.arange(1, endpoints), endpoints)
    return Traffic.build(endpoints, source, (source + step) % endpoints, size_bytes)
