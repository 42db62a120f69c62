"""Pipelines, against longest paths worked out naively, and closed forms."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suanwang.fabric.workload.schedule import BACKWARD, FORWARD, Timing, order, run


def naive(stages: int, interleaving: int, microbatches: int, timing: Timing) -> list[int]:
    """When each stage is done, by recursion over what each pass waits for. A stage sends one message at a time."""
    virtual = stages * interleaving
    orders = [order(stages, stage, interleaving, microbatches) for stage in range(stages)]
    place = {(stage, one): at for stage, passes in enumerate(orders) for at, one in enumerate(passes)}

    def sends(direction: int, at: int) -> bool:
        return bool(timing.send) and stages > 1 and (at < virtual - 1 if direction == FORWARD else at > 0)

    @cache
    def free(stage: int, at: int) -> int:
        """When a stage is free for its pass `at`."""
        if at == 0:
            return 0
        return done(stage, at - 1) if timing.beside else arrived(stage, at - 1)

    @cache
    def done(stage: int, at: int) -> int:
        direction, chunk, microbatch = orders[stage][at]
        number = chunk * stages + stage
        begin = free(stage, at)
        before = number - 1 if direction == FORWARD else number + 1
        if direction == BACKWARD and number == virtual - 1:
            begin = max(begin, done(stage, place[stage, (FORWARD, chunk, microbatch)]))
        elif 0 <= before < virtual:
            other = before % stages
            begin = max(begin, arrived(other, place[other, (direction, before // stages, microbatch)]))
        if direction == FORWARD:
            begin = max(begin, timing.ready[number])
        return begin + timing.duration[direction][number]

    @cache
    def arrived(stage: int, at: int) -> int:
        direction, chunk, _ = orders[stage][at]
        if not sends(direction, chunk * stages + stage):
            return done(stage, at)
        earlier = [one for one in range(at) if sends(orders[stage][one][0], orders[stage][one][1] * stages + stage)]
        return max([done(stage, at), *(arrived(stage, one) for one in earlier[-1:])]) + timing.send

    return [free(stage, len(orders[stage])) for stage in range(stages)]


@st.composite
def pipelines(draw: st.DrawFn) -> tuple[int, int, int, Timing]:
    stages = draw(st.integers(1, 4))
    interleaving = draw(st.integers(1, 3)) if stages > 1 else 1
    microbatches = draw(st.integers(1, 3)) * (stages if interleaving > 1 else 1)
    virtual = stages * interleaving
    times = st.lists(st.integers(1, 9), min_size=virtual, max_size=virtual)
    ready = draw(st.lists(st.integers(0, 20), min_size=virtual, max_size=virtual))
    return (
        stages,
        interleaving,
        microbatches,
        Timing((draw(times), draw(times)), draw(st.integers(0, 5)), ready, draw(st.booleans())),
    )


@given(pipelines())
def test_times_equal_longest_paths(pipeline: tuple[int, int, int, Timing]) -> None:
    lanes = run(*pipeline)
    assert [lane.end for lane in lanes] == naive(*pipeline)


@given(pipelines())
def test_every_moment_is_accounted_for(pipeline: tuple[int, int, int, Timing]) -> None:
    stages, interleaving, microbatches, timing = pipeline
    for stage, lane in enumerate(run(*pipeline)):
        busy = microbatches * sum(
            timing.duration[direction][chunk * stages + stage]
            for direction in (FORWARD, BACKWARD)
            for chunk in range(interleaving)
        )
        assert lane.end == busy + lane.idle + lane.sending + lane.gathering


@given(st.integers(1, 8), st.integers(1, 4), st.integers(1, 4), st.integers(1, 50), st.integers(1, 50))
def test_bubble_of_the_paper(stages: int, interleaving: int, rounds: int, forward: int, backward: int) -> None:
    """Narayanan et al. (SC 2021), section 2.2.2: the bubble is (p - 1)(f + b)/v beside m(f + b) of full rounds."""
    if stages == 1:
        interleaving = 1
    virtual, microbatches = stages * interleaving, stages * rounds
    timing = Timing(([forward] * virtual, [backward] * virtual), 0, [0] * virtual)
    end = max(lane.end for lane in run(stages, interleaving, microbatches, timing))
    assert end == (microbatches * interleaving + stages - 1) * (forward + backward)


def test_order_of_the_paper() -> None:
    """The second of four stages, eight microbatches: three forwards first, then in turns (SC 2021, figure 4)."""
    passes = order(4, 1, 1, 8)
    assert [one[0] for one in passes[:6]] == [FORWARD, FORWARD, FORWARD, BACKWARD, FORWARD, BACKWARD]
    assert sorted(passes) == [(direction, 0, at) for direction in (FORWARD, BACKWARD) for at in range(8)]


@pytest.mark.parametrize("microbatches", [4, 8, 64])
def test_progress_counts_all_passes(microbatches: int) -> None:
    told: list[int] = []
    timing = Timing(([1] * 4, [2] * 4), 1, [0] * 4)
    run(4, 1, microbatches, timing, told.append)
    assert told == sorted(told)
    assert told[-1] == 2 * 4 * microbatches
