"""Chunks that follow each other through the rounds of a collective, by ranks alike: one of each kind stands for all.

A message of each round, chunk and kind of rank stands for all of those, with the cables of each class that they keep
busy. These few are run as fluids, as `unfolding.py` runs all: a chunk's next round begins when the round before has
arrived, what a rank has for another goes one after another, and what it has for others shares its cables.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from suanwang.fabric.flow.engine import simulate_paths
from suanwang.fabric.flow.maxmin import Usage
from suanwang.fabric.flow.paths import Paths
from suanwang.fabric.traffic import NONE, Traffic

MOST_MESSAGES = 1024
MOST_MESSAGES_OF_KINDS = 4096
FINENESS = 1024
LONGEST_PS = 2.0**50
"""Followed one by one. Of longer rings, several rounds are taken as one that takes as long. The engine counts in whole
numbers: a picosecond has so many parts, unless a chunk takes too long for that."""


@dataclass(frozen=True, slots=True)
class Message:
    """What one kind of rank sends in a round, of one chunk.

    `one_ps` is how long one of those that it stands for is sent at full rate, `alone_ps` when nothing but all of those
    is in its way, and `latency_ps` what it takes beyond that. `busy_ps` is how long each class of cables is busy with
    them. Those on the same `connection` go one after another.
    """

    busy_ps: dict[Hashable, float]
    one_ps: float
    alone_ps: float
    latency_ps: float
    connection: Hashable

    def longer(self, times: float) -> Message:
        """The same, so many times as long."""
        busy = {key: times * value for key, value in self.busy_ps.items()}
        return Message(busy, times * self.one_ps, times * self.alone_ps, times * self.latency_ps, self.connection)


@dataclass(frozen=True, slots=True)
class Rounds:
    """`repeat` rounds alike: in the first all messages wait for the rounds `after` (-1: nothing), in the others each
    for the one before it, around the end, as in a ring.
    """

    messages: tuple[Message, ...]
    after: int
    repeat: int = 1


def pipelined_ps(rounds: Sequence[Rounds], chunks: int) -> float:
    """When the last chunk is through all rounds."""
    total = sum(one.repeat * (each.alone_ps + each.latency_ps) for one in rounds for each in one.messages)
    scale = min(FINENESS, LONGEST_PS / max(1.0, total))
    scaled = [replace(one, messages=tuple(each.longer(scale) for each in one.messages)) for one in rounds]
    return _at_scale(scaled, chunks) / scale


def _at_scale(rounds: Sequence[Rounds], chunks: int) -> float:
    longest = max(one.repeat for one in rounds)
    width = max(len(one.messages) for one in rounds if one.repeat == longest)
    most = at_once(width, chunks)
    if longest <= 2 * most:
        return _followed(rounds, chunks)
    # What is lost by taking rounds together goes with their number, so two such numbers tell the rest.
    fewer, more = most, 2 * most
    coarse, fine = (_followed([_together(one, number) for one in rounds], chunks) for number in (fewer, more))
    return fine + (coarse - fine) * (1 / longest - 1 / more) / (1 / fewer - 1 / more)


def at_once(width: int, chunks: int) -> int:
    """How many rounds of so many kinds of messages are followed one by one, at the least; whole rings of kinds."""
    most = (MOST_MESSAGES if width == 1 else MOST_MESSAGES_OF_KINDS) // (3 * chunks * width)
    return max(4, most // width * width)


def _together(one: Rounds, most: int) -> Rounds:
    """At most so many rounds that take as long as all of these."""
    if one.repeat <= most:
        return one
    times = one.repeat / most
    return replace(one, messages=tuple(each.longer(times) for each in one.messages), repeat=most)


def _followed(rounds: Sequence[Rounds], chunks: int) -> float:
    messages, waits, fires, counts = _of_a_chunk(rounds)
    each, triggers = len(messages), len(counts)
    names: dict[Hashable, int] = {}
    lines: dict[Hashable, int] = {}
    resource, fraction = [], []
    for one in messages:
        uses = {("alone", one.connection): one.alone_ps, **one.busy_ps}
        resource.append([names.setdefault(key, len(names)) for key in uses])
        fraction.append([value / one.one_ps for value in uses.values()])
    first = np.concatenate([[0], np.cumsum(np.tile([len(one) for one in resource], chunks))])
    usage = Usage.build(
        first, np.tile(np.concatenate(resource), chunks), np.tile(np.concatenate(fraction), chunks),
        np.full(len(names), 8e12),
    )  # fmt: skip
    chunk = np.repeat(np.arange(chunks), each) * triggers
    awaited = np.tile(waits, chunks)
    traffic = Traffic.build(
        2, np.zeros(each * chunks, np.int64), 1, np.tile([max(1, round(one.one_ps)) for one in messages], chunks), 0,
        np.where(awaited == NONE, NONE, awaited + chunk), np.tile(fires, chunks) + chunk, np.tile(counts, chunks),
    )  # fmt: skip
    latency = np.tile([max(0, round(one.latency_ps)) for one in messages], chunks)
    line = np.tile([lines.setdefault(one.connection, len(lines)) for one in messages], chunks)
    paths = Paths(usage, np.arange(len(names)), latency, np.zeros(len(latency)))
    return float(simulate_paths(paths, traffic, line=line).finish_ps.max())


def _of_a_chunk(rounds: Sequence[Rounds]) -> tuple[list[Message], list[int], list[int], list[int]]:
    """Messages, the triggers that they wait for and fire, and how many fire each; first those of all rounds alike."""
    messages, waits, fires = [], [], []
    counts = [len(one.messages) for one in rounds]
    for number, one in enumerate(rounds):
        width = len(one.messages)
        for turn in range(one.repeat):
            for place, message in enumerate(one.messages):
                messages.append(message)
                waits.append(one.after if turn == 0 else len(counts) - width + place)
                fires.append(number)
            if turn + 1 < one.repeat:
                fires[-width:] = [len(counts) + (place + 1) % width for place in range(width)]
                counts += [1] * width
    return messages, waits, fires, counts
