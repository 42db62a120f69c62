"""Who takes part in a collective, where they stand, and which of them share a scale-up domain."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from suanwang.fabric.clos import Clos
from suanwang.model.errors import INVALID, SuanwangError

Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Group:
    """Members of a collective, in the order of their ranks: accelerators `first`, `first + stride`, ...

    Explicit `members` take the place of `first` and `stride`. `alone` says that nothing else uses the network;
    otherwise every accelerator is in a group that lies in the fabric like this one, and all of them run at once. That
    is what the groups of one parallel dimension of a training job do.

    Raises:
        SuanwangError: INVALID for a group without members, or with one twice.
    """

    size: int
    stride: int = 1
    first: int = 0
    members: tuple[int, ...] | None = None
    alone: bool = False

    def __post_init__(self) -> None:
        if self.size < 1 or self.stride < 1 or self.first < 0:
            raise SuanwangError(INVALID, f"a group has members, a stride and a first accelerator: {self}")
        if self.members is not None and (len(self.members) != self.size or len(set(self.members)) != self.size):
            raise SuanwangError(
                INVALID, f"a group of {self.size} needs as many different members", hint="list each once"
            )

    @staticmethod
    def of(members: tuple[int, ...], alone: bool = False) -> Group:
        """The group of just these accelerators; as first and stride where they are evenly spaced."""
        steps = {b - a for a, b in pairwise(members)}
        if members and len(steps) <= 1 and min(steps, default=1) > 0:
            return Group(len(members), min(steps, default=1), members[0], alone=alone)
        return Group(len(members), members=members, alone=alone)

    def accelerators(self) -> Integers:
        """The accelerator of each rank."""
        if self.members is not None:
            return np.asarray(self.members, np.int64)
        return self.first + self.stride * np.arange(self.size, dtype=np.int64)

    @property
    def last(self) -> int:
        """The greatest accelerator that takes part."""
        return max(self.members) if self.members is not None else self.first + self.stride * (self.size - 1)

    def per_domain(self, domain: int) -> int:
        """Members in each scale-up domain of `domain` accelerators, ranks in a row; 1 if domains hold unequal numbers.

        Ranks of one domain must follow each other, as with rank = domain x members + number within.
        """
        if domain <= 1 or self.size == 1:
            return 1
        if self.members is None:
            if self.stride >= domain:
                return 1
            whole = self.last // domain == self.first // domain
            run = self.size if whole else domain // self.stride
            even = whole or (domain % self.stride == 0 and self.first % domain < self.stride)
            return run if even and self.size % run == 0 else 1
        homes = self.accelerators() // domain
        run = int(np.argmax(homes != homes[0])) or self.size
        rows = homes[: self.size // run * run].reshape(-1, run)
        even = self.size % run == 0 and bool((rows == rows[:, :1]).all()) and len(set(rows[:, 0].tolist())) == len(rows)
        return run if even else 1

    def local(self, per_domain: int) -> Group:
        """The members of the first domain."""
        if self.members is not None:
            return Group.of(self.members[:per_domain], self.alone)
        return replace(self, size=per_domain)

    def across(self, per_domain: int) -> Group:
        """The first member of each domain."""
        if self.members is not None:
            return Group.of(self.members[::per_domain], self.alone)
        return replace(self, size=self.size // per_domain, stride=self.stride * per_domain)


@dataclass(frozen=True, slots=True)
class FabricModel:
    """The two networks of accelerators as collectives see them; both number the accelerators alike.

    `scale_up` has one tree for each domain; None where accelerators have but one network. `reduces` names the networks
    ("scale-up", "scale-out") whose switches add up and multicast. `overhead_ps` is what software takes to start a
    message; `packet_bytes` is stored and forwarded by each switch (0: cut-through). `efficiency` is the share of the
    scale-out network's bandwidth that load balancing makes use of: 1 for spraying over all paths.
    """

    scale_out: Clos | None
    scale_up: Clos | None = None
    reduces: frozenset[str] = frozenset()
    overhead_ps: int = 0
    packet_bytes: int = 0
    efficiency: float = 1.0

    def __post_init__(self) -> None:
        if self.scale_out is None and self.scale_up is None:
            raise SuanwangError(INVALID, "a fabric needs a scale-up or a scale-out network")
        if not self.reduces <= {"scale-up", "scale-out"} or min(self.overhead_ps, self.packet_bytes) < 0:
            raise SuanwangError(INVALID, "networks that reduce are scale-up or scale-out; overheads are not below 0")
        if not 0 < self.efficiency <= 1:
            raise SuanwangError(INVALID, f"an efficiency is above 0 and at most 1, not {self.efficiency}")

    @property
    def domain(self) -> int:
        """Accelerators of one scale-up domain; 1 without a scale-up network."""
        return self.scale_up.endpoints // self.scale_up.trees if self.scale_up else 1

    @property
    def accelerators(self) -> int:
        """How many both networks reach."""
        return min(net.endpoints for net in (self.scale_out, self.scale_up) if net is not None)


@dataclass(frozen=True, slots=True)
class Cost:
    """What a collective takes: time; bytes that the busiest member sends into each network; the algorithm behind it.

    `loads` has, for each network and tier, the bytes that the busiest cable of that tier carries in one direction.
    """

    time_ps: int
    scale_up_bytes: int
    scale_out_bytes: int
    algorithm: str
    loads: tuple[tuple[str, int, int], ...] = ()
