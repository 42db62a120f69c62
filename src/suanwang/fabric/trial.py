"""One simulation by either engine: what is tried, and what came out, in the same terms."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from suanwang.fabric.network import Network
from suanwang.fabric.packet.engine import Change, Limits
from suanwang.fabric.packet.settings import Settings
from suanwang.fabric.routing.policy import router_for
from suanwang.fabric.traffic import Traffic
from suanwang.model.errors import INVALID, SuanwangError

Engine = Literal["packet", "flow"]
ENGINES: tuple[Engine, ...] = get_args(Engine)
Integers = NDArray[np.int64]
Bools = NDArray[np.bool_]

PS_PER_US = 10**6


@dataclass(frozen=True)
class Trial:
    """Traffic on a network, under settings. The flow engine knows no queues: of the settings it takes the balance, the
    seed, and the headers that packets would have; changes must be at time 0. `collective` says which one the traffic
    is, if it is one: kind, bytes, algorithm.
    """

    network: Network
    traffic: Traffic
    settings: Settings = field(default_factory=Settings)
    engine: Engine = "packet"
    changes: Sequence[Change] = ()
    limits: Limits = field(default_factory=Limits)
    collective: Mapping[str, str | int] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """What came of a trial. `fct_us` has each flow's completion time, NaN for one that was not done.

    `start_us` is when it began, below 0 if it did not. `port_bytes` is what each port sent. `counts` are the packet
    engine's; `unfinished` says why there are flows that were not done, and is empty when there are none.
    """

    fct_us: NDArray[np.float64]
    start_us: NDArray[np.float64]
    size_bytes: Integers
    port_bytes: NDArray[np.float64]
    packets: int
    events: int
    simulated_us: float
    counts: dict[str, int]
    unfinished: str = ""

    @property
    def done(self) -> NDArray[np.float64]:
        """Completion times of flows that were done."""
        return self.fct_us[~np.isnan(self.fct_us)]

    @property
    def utilisation(self) -> float | None:
        """The best flow's time over the mean, per byte: how near all come to what one could have. None while some are
        not done, since those would be the worst.
        """
        if np.isnan(self.fct_us).any():
            return None
        slowness = self.fct_us / self.size_bytes
        return float(slowness.min() / slowness.mean())

    def fields(self) -> dict[str, Any]:
        """As stable JSON fields; times in microseconds."""
        done = self.done
        times: dict[str, float | None] = dict.fromkeys(("min", "mean", "p50", "p99", "max"))
        if len(done):
            found = (done.min(), done.mean(), *np.percentile(done, (50, 99)), done.max())
            times = dict(zip(times, (round(float(value), 3) for value in found), strict=True))
        return {
            "flows": len(self.fct_us),
            "done": len(done),
            "unfinished": self.unfinished,
            "fct_us": times,
            "utilisation": None if self.utilisation is None else round(self.utilisation, 4),
            "packets": self.packets,
            "events": self.events,
            "simulated_us": round(self.simulated_us, 3),
            "counts": self.counts,
        }


def run(trial: Trial, progress: Callable[[int, int], bool] | None = None) -> Outcome:
    """Carry out a trial. `progress(done, flows)` is asked now and then whether to go on."""
    stopped = False

    def asked(done: int, flows: int) -> bool:
        nonlocal stopped
        stopped = progress is not None and not progress(done, flows)
        return not stopped

    outcome = (_by_packets if trial.engine == "packet" else _by_flows)(trial, asked)
    if stopped and outcome.unfinished:
        return replace(outcome, unfinished=_not_done(int(np.isnan(outcome.fct_us).sum()), " when stopped"))
    return outcome


def _by_packets(trial: Trial, progress: Callable[[int, int], bool]) -> Outcome:
    from suanwang.fabric.packet.engine import simulate

    found = simulate(trial.network, trial.traffic, trial.settings, trial.changes, trial.limits, progress)
    left = int((found.fct_ps < 0).sum())
    counted = ("retransmissions", "acks", "nacks", "trims", "drops", "losses", "marks", "timeouts", "pauses",
               "duplicates", "deepest_queue_bytes")  # fmt: skip
    return Outcome(
        np.where(found.fct_ps < 0, np.nan, found.fct_ps / PS_PER_US),
        found.started_ps / PS_PER_US,
        trial.traffic.size_bytes,
        found.sent_bytes.astype(np.float64),
        found.packets,
        found.events,
        found.now_ps / PS_PER_US,
        {name: getattr(found, name) for name in counted},
        _left(left, found.now_ps, trial.limits) if left else "",
    )


def _left(count: int, now_ps: int, limits: Limits) -> str:
    """Why flows were not done."""
    if now_ps >= limits.until_ps:
        return _not_done(count, " when time was up")
    return _not_done(count, ": no way for them, or for what they wait for, or nothing gets through any more")


def _not_done(count: int, why: str) -> str:
    return f"{count:,} {'flow was' if count == 1 else 'flows were'} not done{why}"


def _by_flows(trial: Trial, progress: Callable[[int, int], bool]) -> Outcome:
    from suanwang.fabric.flow.engine import simulate_flows

    network, settings = trial.network, trial.settings
    rate = network.rate_bps.copy()
    for change in trial.changes:
        if change.at_ps > 0:
            raise SuanwangError(
                INVALID, "the flow engine knows changes from the start only", hint="leave the time out, or use packets"
            )
        rate[list(change.ports)] = (network.rate_bps[list(change.ports)] * change.factor).astype(np.int64)
    up = (rate > 0) & (rate[network.peer] > 0)
    count = -(-trial.traffic.size_bytes // settings.mtu_bytes)
    on_wire = replace(trial.traffic, size_bytes=trial.traffic.size_bytes + count * settings.header_bytes)
    found = simulate_flows(
        network, router_for(settings.balance)(network, up, rate), on_wire,
        "ecmp" if settings.balance in ("ecmp", "flowlet") else "spray",
        seed=settings.seed, packet_bytes=settings.mtu_bytes + settings.header_bytes, up=up, rate_bps=rate,
        until_ps=trial.limits.until_ps, progress=progress,
    )  # fmt: skip
    left = len(found.unfinished)
    return Outcome(
        np.where(found.fct_ps < 0, np.nan, found.fct_ps / PS_PER_US),
        found.start_ps / PS_PER_US,
        trial.traffic.size_bytes,
        found.port_bytes,
        int(count.sum()),
        found.events,
        found.now_ps / PS_PER_US,
        {"solves": found.solves},
        _left(left, found.now_ps, trial.limits) if left else "",
    )
