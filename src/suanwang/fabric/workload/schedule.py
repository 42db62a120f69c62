"""When each stage of a pipeline does which pass: one forward, one backward, plain or interleaved; and how long it
takes.

The orders are those of Narayanan et al. ("Efficient large-scale language model training on GPU clusters using
Megatron-LM", SC 2021, section 2.2). Times are worked out pass by pass: a pass begins when its stage is free and
what it needs is there. All replicas of a pipeline do the same at the same time, so one stands for all of them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

FORWARD, BACKWARD = 0, 1

Pass = tuple[int, int, int]
"""Direction, chunk of the stage, microbatch."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Durations in picoseconds. `duration[direction][virtual]` is of a pass; `send` of what goes on to the next
    stage.

    What a stage sends in either direction leaves by the same port, one after the other. `ready[virtual]` is when the
    first forward pass may begin at the earliest. Unless `beside`, sending keeps a stage from its next pass.
    """

    duration: tuple[Sequence[int], Sequence[int]]
    send: int
    ready: Sequence[int]
    beside: bool = True


@dataclass(slots=True)
class Lane:
    """What became of one stage: when its last pass ended, and what it waited for before.

    `last[chunk]` is when the chunk's last backward pass began.
    """

    end: int
    sending: int
    gathering: int
    idle: int
    last: list[int]


def order(stages: int, stage: int, interleaving: int, microbatches: int) -> list[Pass]:
    """The passes of a stage, in the order in which it does them.

    With interleaving, microbatches go through the chunks in rounds of `stages`, which must divide `microbatches`.
    """
    total = microbatches * interleaving
    if interleaving == 1:
        warmup = min(stages - stage - 1, total)
    else:
        warmup = min(2 * (stages - stage - 1) + (interleaving - 1) * stages, total)

    def at(number: int, direction: int) -> Pass:
        if interleaving == 1:
            return direction, 0, number
        block, within = divmod(number, stages * interleaving)
        chunk, place = divmod(within, stages)
        return direction, interleaving - 1 - chunk if direction == BACKWARD else chunk, block * stages + place

    passes = [at(number, FORWARD) for number in range(warmup)]
    for number in range(total - warmup):
        passes += [at(warmup + number, FORWARD), at(number, BACKWARD)]
    return passes + [at(number, BACKWARD) for number in range(total - warmup, total)]


def run(
    stages: int, interleaving: int, microbatches: int, timing: Timing, progress: Callable[[int], None] | None = None
) -> list[Lane]:
    """Does all passes of all stages; `progress` is told how many are done."""
    virtual = stages * interleaving
    orders = [order(stages, stage, interleaving, microbatches) for stage in range(stages)]
    ends = [[[-1] * microbatches for _ in range(virtual)] for _ in (FORWARD, BACKWARD)]
    arrivals = [[[-1] * microbatches for _ in range(virtual)] for _ in (FORWARD, BACKWARD)]
    egress_free = [0] * stages
    lanes = [Lane(0, 0, 0, 0, [0] * interleaving) for _ in range(stages)]
    done = [0] * stages
    waiting = deque(range(stages))
    count = 0

    def needs(direction: int, at: int, microbatch: int) -> tuple[int, int]:
        """When what a pass needs is there, and when it was sent off; -1 if not yet known."""
        if direction == FORWARD:
            return (0, 0) if at == 0 else (arrivals[FORWARD][at - 1][microbatch], ends[FORWARD][at - 1][microbatch])
        if at == virtual - 1:
            return ends[FORWARD][at][microbatch], ends[FORWARD][at][microbatch]
        return arrivals[BACKWARD][at + 1][microbatch], ends[BACKWARD][at + 1][microbatch]

    while waiting:
        stage = waiting.popleft()
        lane, touched = lanes[stage], False
        while done[stage] < len(orders[stage]):
            direction, chunk, microbatch = orders[stage][done[stage]]
            at = chunk * stages + stage
            there, sent = needs(direction, at, microbatch)
            if there < 0:
                break
            begin = max(lane.end, there)
            lane.idle += max(0, sent - lane.end)
            lane.sending += begin - max(lane.end, sent) if there > lane.end else 0
            if direction == FORWARD and timing.ready[at] > begin:
                lane.gathering += timing.ready[at] - begin
                begin = timing.ready[at]
            if direction == BACKWARD:
                lane.last[chunk] = begin
            end = begin + timing.duration[direction][at]
            ends[direction][at][microbatch] = arrivals[direction][at][microbatch] = end
            lane.end = end
            follows = at + 1 if direction == FORWARD else at - 1
            if timing.send and stages > 1 and 0 <= follows < virtual:
                leaves = max(end, egress_free[stage])
                egress_free[stage] = arrivals[direction][at][microbatch] = leaves + timing.send
                if not timing.beside:
                    lane.sending += leaves + timing.send - end
                    lane.end = leaves + timing.send
            done[stage] += 1
            count += 1
            touched = True
        if progress and touched:
            progress(count)
        if touched:
            waiting.extend(other for other in {(stage + 1) % stages, (stage - 1) % stages} - {stage})
    return lanes
