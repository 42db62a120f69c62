"""What a run of the packet engine is told besides network and traffic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from suanwang.model.errors import INVALID, SuanwangError

Balance = Literal["ecmp", "flowlet", "spray", "adaptive", "switch-adaptive", "fare"]
Congestion = Literal["none", "sender"]
Full = Literal["trim", "drop", "pfc"]
Recovery = Literal["selective", "go-back-n"]

BALANCES: tuple[Balance, ...] = get_args(Balance)
CONGESTIONS: tuple[Congestion, ...] = get_args(Congestion)
FULLS: tuple[Full, ...] = get_args(Full)
RECOVERIES: tuple[Recovery, ...] = get_args(Recovery)

LARGEST = 2**40


@dataclass(frozen=True, slots=True)
class Settings:
    """How packets are made, queued, spread and repaired.

    `mtu_bytes` is the payload of a packet, as in RoCE; `header_bytes` come on top, and `control_bytes` is the size of
    acknowledgements and trimmed packets. `queue_bytes`, `mark_bytes` (depths from which marking begins and is sure) and
    `timeout_ps` are worked out from the network's longest round trip unless given: a queue holds its bandwidth-delay
    product (five of them where packets are dropped), marks are from 0.2 to 0.8 of it.

    `balance`: `ecmp` hashes a flow, `flowlet` anew after a gap of `flowlet_gap_ps`, `spray` sends packets over `paths`
    values in turn, `adaptive` reuses those that came back unmarked (REPS), `switch-adaptive` takes the shortest queue
    at every switch, `fare` takes turns weighted by path bandwidth.
    `congestion`: `sender` is NSCC; `none` keeps no window, or that of `window_bytes`.
    `full` says what a full queue does; `loss` is the chance with which data is lost on its last cable.
    """

    balance: Balance = "adaptive"
    congestion: Congestion = "sender"
    full: Full = "trim"
    recovery: Recovery = "selective"
    mtu_bytes: int = 4096
    header_bytes: int = 64
    control_bytes: int = 64
    paths: int = 128
    queue_bytes: int | None = None
    mark_bytes: tuple[int, int] | None = None
    window_bytes: int | None = None
    ack_bytes: int = 16_384
    flowlet_gap_ps: int = 10_000_000
    timeout_ps: int | None = None
    loss: float = 0.0
    seed: int = 1

    def __post_init__(self) -> None:
        for value, known, what in (
            (self.balance, BALANCES, "balance"),
            (self.congestion, CONGESTIONS, "congestion control"),
            (self.full, FULLS, "what a full queue does"),
            (self.recovery, RECOVERIES, "recovery"),
        ):
            if value not in known:
                raise SuanwangError(INVALID, f"{what} can't be {value!r}", hint=f"use one of {', '.join(known)}")
        if not 64 <= self.mtu_bytes <= 2**20 or not 0 <= self.header_bytes <= 1024:
            raise SuanwangError(INVALID, f"an MTU of {self.mtu_bytes} bytes; from 64 to 1,048,576 are possible")
        if not 1 <= self.control_bytes <= 1024:
            raise SuanwangError(INVALID, f"control packets of {self.control_bytes} bytes; from 1 to 1,024 are possible")
        if not 1 <= self.paths < 2**24:
            raise SuanwangError(INVALID, f"{self.paths} paths; from 1 to 16,777,215 are possible")
        if not 0 <= self.loss < 1:
            raise SuanwangError(INVALID, f"a loss of {self.loss}; from 0 to below 1 is possible")
        given = (self.queue_bytes, self.window_bytes, self.timeout_ps, self.ack_bytes, self.flowlet_gap_ps)
        low, high = self.mark_bytes or (1, 2)
        if any(value is not None and not 1 <= value <= LARGEST for value in given) or not 1 <= low < high <= LARGEST:
            raise SuanwangError(INVALID, "queue, marks, window, timeout and the like are from 1 to 2^40", "see --help")
        if self.recovery == "go-back-n" and self.full == "trim":
            raise SuanwangError(
                INVALID, "go-back-n does not know trimmed packets", hint="choose drop or pfc for full queues"
            )
