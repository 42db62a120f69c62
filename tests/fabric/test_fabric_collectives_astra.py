"""Ring collectives by ASTRA-sim's definitions: its own numbers, and a plain queue of events."""

import heapq

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from suanwang.fabric.collectives.astra import Ring, ring_time_ns
from suanwang.model.errors import SuanwangError

# What its examples print (examples/network/analytical/Ring_*npus.yml, system/native_collectives/Ring_4chunks.json,
# workload/microbenchmarks/*/*npus_1MB), congestion-aware analytical backend.
PRINTED = {
    "all-reduce": {4: 43_000, 8: 64_440, 16: 99_640},
    "all-gather": {4: 64_744, 8: 151_016, 16: 323_560},
    "reduce-scatter": {4: 22_240, 8: 33_080, 16: 50_740},
}


@pytest.mark.parametrize(("kind", "ranks"), [(kind, ranks) for kind in PRINTED for ranks in (4, 8, 16)])
def test_the_numbers_of_its_examples(kind: str, ranks: int) -> None:
    assert ring_time_ns(kind, 2**20, Ring(ranks)) == PRINTED[kind][ranks]
    assert ring_time_ns(kind, 2**20, Ring(ranks, bandwidth=(50.0,) * ranks)) == PRINTED[kind][ranks]


def by_events(kind: str, size: int, ring: Ring) -> int:
    """Each message an event on its link; a rank goes on when it is ready and the message is there."""
    n, chunk = ring.ranks, size // ring.chunks
    message = chunk if kind == "all-gather" else chunk // n
    steps = {"all-reduce": 2 * (n - 1)}.get(kind, n - 1)
    work = 3 * int(message / ring.memory)
    free, inbox, waiting, done = [0] * n, [[] for _ in range(n)], [None] * n, [0] * n
    events = [(ring.endpoint_delay_ns, rank, "go", 0, 0) for rank in range(n)]
    heapq.heapify(events)

    def proceed(rank: int, chunk: int, step: int, time: int) -> None:
        time += ring.endpoint_delay_ns + (work if step < n - 1 and kind != "all-gather" else 0)
        if step + 1 < steps:
            heapq.heappush(events, (time, rank, "go", chunk, step + 1))
        elif chunk + 1 < ring.chunks:
            heapq.heappush(events, (time + ring.endpoint_delay_ns, rank, "go", chunk + 1, 0))
        done[rank] = time

    while events:
        time, rank, what, chunk, step = heapq.heappop(events)
        if what == "go":
            rate = ring.bandwidth[rank] * 2**30 / 1e9
            start = max(time, free[rank])
            free[rank] = start + int(message / rate)
            arrival = start + int(ring.latency_ns[0] + message / rate)
            heapq.heappush(events, (arrival, (rank + 1) % n, "in", chunk, step))
            if inbox[rank]:
                proceed(rank, *inbox[rank].pop(0), time)
            else:
                waiting[rank] = time
        elif waiting[rank] is not None:
            waiting[rank] = None
            proceed(rank, chunk, step, time)
        else:
            inbox[rank].append((chunk, step))
    return max(done)


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from(["all-reduce", "all-gather", "reduce-scatter"]),
    st.lists(st.sampled_from([5.0, 25.0, 50.0]), min_size=2, max_size=9),
    st.integers(1, 3),
)
def test_links_that_differ(kind: str, bandwidth: list[float], chunks: int) -> None:
    ring = Ring(len(bandwidth), tuple(bandwidth), chunks=chunks)
    size = 2**12 * len(bandwidth) * chunks
    assert ring_time_ns(kind, size, ring) == by_events(kind, size, ring)


def test_ranks_alike_are_one_rank() -> None:
    """The message sizes that all-to-all takes around; one lane stands for all."""
    for ranks in (4, 8):
        ring = Ring(ranks, bandwidth=(50.0,) * ranks)
        assert ring_time_ns("all-to-all", 2**20, Ring(ranks)) == ring_time_ns("all-to-all", 2**20, ring)
        step = 10 + int(500 + 2**18 // ranks / (50 * 2**30 / 1e9))
        assert ring_time_ns("all-to-all", 2**20, ring) == 4 * (10 + ranks * (ranks - 1) // 2 * step)


def test_bad_rings_are_refused() -> None:
    with pytest.raises(SuanwangError, match="2 ranks"):
        Ring(1)
    with pytest.raises(SuanwangError, match="above 0"):
        Ring(4, bandwidth=(0.0,))
    for bad in (float("nan"), float("inf")):
        for ring in ({"bandwidth": (bad,)}, {"latency_ns": (bad,)}, {"memory": bad}):
            with pytest.raises(SuanwangError, match="finite"):
                Ring(4, **ring)
    with pytest.raises(SuanwangError, match="so slow"):
        ring_time_ns("all-reduce", 2**20, Ring(4, bandwidth=(1e-300,)))
    with pytest.raises(SuanwangError, match="no ring collective"):
        ring_time_ns("gossip", 2**20, Ring(4))
    with pytest.raises(SuanwangError, match="can't be cut"):
        ring_time_ns("all-reduce", 2**20 + 1, Ring(4))
    with pytest.raises(SuanwangError, match="too many"):
        ring_time_ns("all-to-all", 2**40, Ring(2**14, bandwidth=tuple(np.full(2**14, 50.0))))
