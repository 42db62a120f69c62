"""What collectives cost on a design, with what has failed taken away from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from suanwang.fabric.clos import Clos, Tier
from suanwang.fabric.collectives.cost import collective_time
from suanwang.fabric.collectives.group import Cost, FabricModel, Group
from suanwang.fabric.collectives.routing import Routing
from suanwang.model.errors import INVALID, SuanwangError

MOST_SLOW = 1024
SERVER_LATENCY_PS = 500_000
"""Of each of the two cables between accelerators of a server, where a design does not say."""


class CollectiveTime(Protocol):
    """What times a collective: `suanwang.fabric.collectives.cost.collective_time` is one."""

    def __call__(
        self, kind: str, size_bytes: int, group: Group, fabric: FabricModel, *, routing: Routing | None = None
    ) -> Cost:
        """The cost of a collective of that many bytes."""


class Networks(Protocol):
    """Of a design, the two networks that connect its accelerators."""

    @property
    def scale_out(self) -> object:
        """Between scale-up domains: a Clos, or None."""

    @property
    def scale_up(self) -> Clos | None:
        """Within scale-up domains."""

    @property
    def accelerators(self) -> int:
        """How many there are."""

    @property
    def per_server(self) -> int:
        """How many there are in a server."""


@dataclass(frozen=True, slots=True)
class StepOptions:
    """What is not as it should be, and what else a step depends on.

    `reduces`, `overhead_ps`, `server_bps` and `collective` are for programs; the command line has no flags for them.

    `slow` has, for accelerators that compute slower than others, how many times longer they take. `planes_lost`
    counts planes of the scale-out network. `degraded` has the share of bandwidth that is left of all cables of a
    network or one of its tiers: {"scale-out": 0.9, "scale-up/1": 0.5}. `reduces` and `overhead_ps` are those of
    `FabricModel`. `peak_flops_per_s` and `memory_bytes_per_s` give times to traces that only have operations and
    bytes. `server_bps` is what an accelerator sends to the others in its server, where the design has no scale-up
    network.
    """

    slow: Mapping[int, float] = field(default_factory=dict)
    planes_lost: int = 0
    degraded: Mapping[str, float] = field(default_factory=dict)
    reduces: frozenset[str] = frozenset()
    overhead_ps: int = 0
    peak_flops_per_s: int = 0
    memory_bytes_per_s: int = 0
    server_bps: int = 0
    collective: CollectiveTime = collective_time

    def __post_init__(self) -> None:
        if len(self.slow) > MOST_SLOW:
            raise SuanwangError(INVALID, f"{len(self.slow)} slow accelerators; at most {MOST_SLOW} can be told apart")
        for number, factor in self.slow.items():
            if not 1 <= factor <= 1e6 or number < 0:
                raise SuanwangError(
                    INVALID, f"accelerator {number} takes {factor} times as long", hint="1.5 is half as long again"
                )
        for name, left in self.degraded.items():
            if not 0 < left <= 1:
                raise SuanwangError(
                    INVALID, f"{left} of the bandwidth of {name} is left", hint="a share above 0 and up to 1"
                )


def _within_servers(design: Networks, options: StepOptions) -> Clos | None:
    """The scale-up network: that of the design, or a switch in each server."""
    if design.scale_up is not None or not options.server_bps or design.per_server < 2:
        return design.scale_up
    servers, rest = divmod(design.accelerators, design.per_server)
    if rest:
        raise SuanwangError(INVALID, f"{design.accelerators} accelerators do not fill servers of {design.per_server}")
    return Clos((Tier(design.per_server, 1, options.server_bps, SERVER_LATENCY_PS),), trees=servers)


def fabric_of(design: Networks, options: StepOptions) -> FabricModel:
    """The networks of a design as collectives see them, less planes and bandwidth that are lost.

    Raises:
        SuanwangError: INVALID where nothing is left, or the network is not a Clos.
    """
    out = design.scale_out
    if out is not None and not isinstance(out, Clos):
        raise SuanwangError(
            INVALID, f"collectives are timed on Clos networks, and this is a {type(out).__name__}", hint="give tiers"
        )
    if options.planes_lost:
        left = (out.planes if out else 0) - options.planes_lost
        if out is None or left < 1 or options.planes_lost < 0:
            raise SuanwangError(
                INVALID,
                f"of {out.planes if out else 0} planes, {options.planes_lost} can't be lost",
                hint="one must be left",
            )
        out = replace(out, planes=left)
    networks = {"scale-out": out, "scale-up": _within_servers(design, options)}
    for name, left_of in options.degraded.items():
        which, _, tier = name.partition("/")
        network = networks.get(which)
        if network is None or (tier and not (tier.isdecimal() and 1 <= int(tier) <= network.height)):
            known = [f"{key}/{at}" for key, one in networks.items() if one for at in range(1, one.height + 1)]
            raise SuanwangError(INVALID, f"the design has no {name!r} to degrade", hint=f"there are {', '.join(known)}")
        networks[which] = _slower(network, int(tier) if tier else 0, left_of)
    return FabricModel(networks["scale-out"], networks["scale-up"], options.reduces, options.overhead_ps)


def _slower(network: Clos, tier: int, left: float) -> Clos:
    tiers = tuple(
        replace(one, rate_bps=max(1, int(one.rate_bps * left))) if tier in (0, number) else one
        for number, one in enumerate(network.tiers, 1)
    )
    return replace(network, tiers=tiers)


class Costs:
    """Costs of collectives on one fabric, each worked out once. `routing` says where tokens go."""

    def __init__(self, fabric: FabricModel, options: StepOptions, routing: Routing | None = None) -> None:
        self.fabric = fabric
        self._collective, self._routing = options.collective, routing
        self._known: dict[tuple[str, int, Group], Cost] = {}

    def of(self, kind: str, size_bytes: int, group: Group) -> Cost:
        """The cost of a collective of that many bytes."""
        key = (kind, size_bytes, group)
        if key not in self._known:
            routing = self._routing if kind.startswith("moe-") else None
            self._known[key] = self._collective(kind, size_bytes, group, self.fabric, routing=routing)
        return self._known[key]
