"""Ring collectives by ASTRA-sim's definitions (congestion-aware analytical backend, 2.0), message by message.

They differ from ours (`cost.py`) in what is counted, each seen in its source:

* 1 GB/s is 2^30 bytes a second on links (NetworkFunction.cpp), and 10^9 in memory (Sys.cc, "local-mem-bw").
* Times are whole nanoseconds, cut off, not rounded: serialisation and latency together, each memory access alone.
* A rank takes `endpoint_delay_ns` before its first message and after each one received (MemBus.cc). After each that is
  added up it takes three memory accesses as well, two to read and one to write (PacketBundle.cc).
* Of all-gather, "size" is what each rank brings, so n times as much as ours; of the others it is the whole (Ring.cc).
* The buffer is cut into chunks that go one after another, "active-chunks-per-dimension" 1; ours overlap.
* All goes around one way, though links go both ways. All-to-all passes messages from rank to rank, (n - 1) n / 2 times.

Won et al., "ASTRA-sim2.0: Modeling hierarchical networks and disaggregated systems for large-model training at scale",
ISPASS 2023. The numbers follow from recursion over ranks, without a queue of events: each link has one sender, whose
messages stay in order. Ranks alike are one rank.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

import numpy as np

from suanwang.model.errors import INVALID, SuanwangError

KINDS = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all")
MOST_STEPS = 2**34


@dataclass(frozen=True, slots=True)
class Ring:
    """A ring of ranks; link i leads from rank i to rank i + 1. One bandwidth or latency may stand for all links.

    Bandwidth in 2^30 bytes a second, memory in 10^9 bytes a second, as ASTRA-sim's files have them.
    """

    ranks: int
    bandwidth: tuple[float, ...] = (50.0,)
    latency_ns: tuple[float, ...] = (500.0,)
    chunks: int = 4
    endpoint_delay_ns: int = 10
    memory: float = 1600.0

    def __post_init__(self) -> None:
        lengths = {len(self.bandwidth), len(self.latency_ns)}
        if self.ranks < 2 or self.chunks < 1 or not lengths <= {1, self.ranks}:
            raise SuanwangError(
                INVALID, "a ring has 2 ranks or more, one chunk or more, and a rate for each link or all"
            )
        delays = (*self.latency_ns, self.endpoint_delay_ns)
        if not all(isfinite(one) for one in (*self.bandwidth, self.memory, *delays)):
            raise SuanwangError(INVALID, "bandwidths and delays are finite numbers")
        if min(self.bandwidth) <= 0 or self.memory <= 0 or min(delays) < 0:
            raise SuanwangError(INVALID, "bandwidths are above 0, and delays not below it")


def ring_time_ns(kind: str, size_bytes: int, ring: Ring) -> int:
    """When the last rank is done.

    Raises:
        SuanwangError: INVALID for an unknown kind, or more messages than can be followed.
    """
    from suanwang.fabric.collectives.astra_kernels import around

    if kind not in KINDS or size_bytes < 1:
        raise SuanwangError(INVALID, f"no ring collective is called {kind!r}", hint=f"there are {', '.join(KINDS)}")
    n = ring.ranks
    chunk = size_bytes // ring.chunks
    message = chunk if kind == "all-gather" else chunk // n
    if chunk * ring.chunks != size_bytes or message < 1:
        raise SuanwangError(INVALID, f"{size_bytes} bytes can't be cut into {ring.chunks} chunks for {n} ranks")
    steps = {"all-reduce": 2 * (n - 1), "all-to-all": n * (n - 1) // 2}.get(kind, n - 1)
    summed = n - 1 if kind in ("all-reduce", "reduce-scatter") else 0
    bandwidth = np.asarray(ring.bandwidth) * (2**30 / 10**9)
    if max(len(ring.bandwidth), len(ring.latency_ns)) * steps * ring.chunks > MOST_STEPS:
        raise SuanwangError(INVALID, f"{steps:,} steps of {n} ranks are too many", hint="give all links one rate")
    slowest = 3 * message / ring.memory + float(np.max(message / bandwidth)) + max(ring.latency_ns)
    if not (slowest + ring.endpoint_delay_ns) * (steps + 1) * ring.chunks < 2**62:
        raise SuanwangError(INVALID, "the ring is so slow that the time can't be counted in nanoseconds")
    wire = (message / bandwidth).astype(np.int64)
    trip = (np.asarray(ring.latency_ns) + message / bandwidth).astype(np.int64)
    lanes = max(len(wire), len(trip))
    work = 3 * int(message / (ring.memory * 1e9) * 1e9)
    return int(
        around(ring.chunks, steps, summed, np.resize(wire, lanes), np.resize(trip, lanes), ring.endpoint_delay_ns, work)
    )
