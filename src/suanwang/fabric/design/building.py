"""From the spec of a Fabric to its design: presets filled in, tiers found, and everything checked to fit together."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from suanwang.fabric.clos import Clos, Tier
from suanwang.fabric.design.chip import Chip, check_ports, chip_of, chip_seen
from suanwang.fabric.design.design import Design, Which
from suanwang.fabric.design.layout import layout_of
from suanwang.fabric.design.presets import with_preset
from suanwang.fabric.design.solving import solve
from suanwang.fabric.dragonfly import Dragonfly
from suanwang.fabric.kinds import AcceleratorsSpec, DragonflySpec, FabricSpec, NetworkSpec, TierSpec
from suanwang.fabric.network import Network
from suanwang.model.errors import INVALID, Place, SuanwangError
from suanwang.model.reading import path_text

if TYPE_CHECKING:
    from suanwang.fabric.exchange.listed import Imported

LATENCY_PS = 1_000_000
PER_SERVER = 8

Path_ = tuple[str | int, ...]
Where = Callable[[Path_], Place]


def _unplaced(path: Path_) -> Place:
    return Place("", 0, path_text(path))


def build(name: str, spec: FabricSpec, folder: Path | None = None, where: Where = _unplaced) -> Design:
    """The design that a spec describes. Topology files are looked for in `folder`, and not read without one.

    Raises:
        SuanwangError: INVALID or NOT_FOUND, with the nearest that is possible as a hint, placed by `where`.
    """
    at: Path_ = ("spec", "preset")
    try:
        whole = with_preset(spec)
        accelerators = whole.accelerators or AcceleratorsSpec()
        per_server = accelerators.per_server or PER_SERVER
        at = ("spec", "scaleOut")
        out = _Part(whole.scale_out, accelerators, per_server, folder)
        per_server = accelerators.per_server or out.per_server or PER_SERVER
        at = ("spec", "accelerators", "count")
        count = _count(out.endpoints, accelerators.count)
        at = ("spec", "scaleUp")
        up = _Part(whole.scale_up, AcceleratorsSpec(), per_server, folder, of=count)
        if isinstance(up.network, Dragonfly) or up.imported is not None:
            raise SuanwangError(INVALID, "a scale-up network is a folded Clos network", "use tiers or solve")
        imported: dict[Which, Network] = {}
        if out.imported is not None:
            imported["scale-out"] = out.imported
        if out.scale_up is not None and up.network is None:
            imported["scale-up"] = out.scale_up
        _check_sizes(out.endpoints, count, up.endpoints)
        at = ("spec", "layout")
        layout = layout_of(whole.layout, {*out.media, *up.media})
    except SuanwangError as problem:
        place = problem.place if problem.place.file else where(at)  # a topology file's own lines say more
        raise SuanwangError(problem.code, problem.message, problem.hint, place) from None
    return Design(
        name=name,
        accelerators=count or up.endpoints,
        per_server=per_server,
        scale_out=out.network,
        scale_up=up.network,
        chip=out.chip,
        scale_up_chip=up.chip,
        layout=layout,
        media={"scale-out": out.media, "scale-up": up.media},
        imported=imported,
        preset=spec.preset or "",
        steps=(*out.steps, *up.steps),
        notes=(*out.notes, *up.notes),
    )


class _Part:
    """One network of a spec, built. `of` is how many accelerators there are, where that is known."""

    def __init__(
        self,
        spec: NetworkSpec | None,
        accelerators: AcceleratorsSpec,
        per_server: int,
        folder: Path | None,
        of: int = 0,
    ) -> None:
        spec = spec or NetworkSpec()
        self.network: Clos | Dragonfly | None = None
        self.imported: Network | None = None
        self.scale_up: Network | None = None
        self.per_server = 0  # as a file says
        self.chip: Chip = chip_of(spec.switch, spec.solve)
        self.steps: tuple[str, ...] = ()
        self.notes: tuple[str, ...] = ()
        self.media: tuple[str, ...] = ()
        if spec.dragonfly is not None:
            self.network = _dragonfly(spec.dragonfly, spec.planes or 1)
        elif spec.file is not None:
            found = _imported(spec.file, folder)
            self.network, self.imported, self.scale_up = found.clos, found.listed, found.scale_up
            if found.loss is not None:
                most = f"{found.loss.max():.3g}"
                self.notes = (f"links of {spec.file} lose up to {most} of their packets: not simulated",)
            self.per_server = found.per_server
            if spec.switch is None and (seen := found.clos or found.listed) is not None:
                self.chip = chip_seen(seen)
        elif spec.tiers is not None or spec.solve is not None:
            joined = spec.rails_joined_at or 1
            rails = accelerators.rails or (per_server if joined > 1 else 1)
            self.network = self._clos(spec, rails, joined, of)
        elif any((spec.planes, spec.trees, spec.rails_joined_at, spec.switch)):
            raise SuanwangError(INVALID, "the network has no form", "give tiers, solve, dragonfly or file")
        if self.network is not None:
            check_ports(self.network, self.chip)

    def _clos(self, spec: NetworkSpec, rails: int, joined: int, of: int) -> Clos:
        if spec.solve is not None:
            found = solve(spec.solve, self.chip, rails, joined)
            tiers, trees, self.steps = found.tiers, found.trees, found.steps
        else:
            tiers, trees = tuple(_tier(tier) for tier in spec.tiers or ()), 1
            self.media = tuple(tier.medium or "" for tier in spec.tiers or ())
        if of and spec.trees is None:
            trees = _share(of, prod(tier.children for tier in tiers))
        if 1 < joined <= len(tiers) and tiers[joined - 1].children % rails:
            raise SuanwangError(
                INVALID,
                f"{rails} rails do not share out the {tiers[joined - 1].children} children of tier {joined}",
                hint=f"nearest possible: {max(round(tiers[joined - 1].children / rails), 1) * rails} children",
            )
        return Clos(tiers, spec.trees or trees, spec.planes or 1, rails, joined)

    @property
    def endpoints(self) -> int:
        """Endpoints of the network, 0 where there is none."""
        if self.imported is not None:
            return self.imported.endpoints
        return self.network.endpoints if self.network is not None else 0


def _tier(spec: TierSpec) -> Tier:
    latency = LATENCY_PS if spec.latency is None else spec.latency
    return Tier(spec.children, spec.parents or 1, spec.rate, latency, spec.bundle or 1, spec.spare or 0)


def _dragonfly(spec: DragonflySpec, planes: int) -> Dragonfly:
    latency = LATENCY_PS if spec.latency is None else spec.latency
    return Dragonfly(
        groups=spec.groups or spec.routers * spec.global_ports + 1,
        routers=spec.routers,
        hosts=spec.hosts,
        global_ports=spec.global_ports,
        rate_bps=spec.rate,
        local_rate_bps=spec.local_rate or spec.rate,
        global_rate_bps=spec.global_rate or spec.rate,
        latency_ps=latency,
        global_latency_ps=LATENCY_PS if spec.global_latency is None else spec.global_latency,
        planes=planes,
    )


def _imported(name: str, folder: Path | None) -> Imported:
    if folder is None:
        raise SuanwangError(INVALID, "topology files are read by commands only", "give tiers here")
    from suanwang.fabric.exchange.reading import read_imported

    return read_imported(folder / name)


def _share(accelerators: int, below: int) -> int:
    if accelerators % below:
        raise SuanwangError(
            INVALID,
            f"supernodes of {below:,} do not share out {accelerators:,} accelerators",
            hint=f"nearest possible: {max(round(accelerators / below), 1) * below:,} accelerators",
        )
    return accelerators // below


def _count(endpoints: int, said: int | None) -> int:
    if endpoints and said and said != endpoints:
        message = f"the scale-out network has {endpoints:,} endpoints, and accelerators.count is {said:,}"
        raise SuanwangError(INVALID, message, "leave the count out, or change the tiers")
    return endpoints or said or 0


def _check_sizes(out: int, count: int, up: int) -> None:
    if not out and not up:
        raise SuanwangError(INVALID, "the fabric has no network", "give scaleOut, scaleUp, or a preset")
    if count and up and up != count:
        message = f"scale-up joins {up:,} accelerators, of {count:,}"
        raise SuanwangError(INVALID, message, "leave out its trees: they follow from the accelerators")
