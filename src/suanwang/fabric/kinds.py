"""What users may write about a fabric: the spec of the kind Fabric.

A field that is absent has the preset's value, else the default that its description names; so none has one here.
"""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from suanwang.fabric.units import Latency, Length, Oversubscription, Power
from suanwang.model.registry import Spec
from suanwang.model.units import Rate

MOST_TIERS = 5
MOST = 2**24
"""No count in a fabric may exceed this; what counts multiply to is checked when the fabric is built."""

Count = Annotated[int, Field(ge=1, le=MOST)]
Name = Annotated[str, Field(min_length=1, max_length=63)]

FORMS = ("tiers", "solve", "dragonfly", "file")


class AcceleratorsSpec(Spec):
    """How accelerators are grouped: into servers, and by rails across servers."""

    count: Count | None = Field(
        None, description="accelerators, where no scale-out network says how many; default: all"
    )
    per_server: Count | None = Field(None, description="accelerators of a server; default: 8")
    rails: Count | None = Field(
        None,
        description="accelerator i is on rail i modulo this. Default: as many as a server has accelerators where rails "
        "are joined above the leaves, else 1",
    )


class SwitchSpec(Spec):
    """The switch that a network is made of."""

    name: Name | None = Field(None, description="its name, which price files use; default: by its capacity")
    ports: Count | None = Field(None, description="ports at `portRate`, all together; default: 64")
    port_rate: Rate | None = Field(
        None,
        gt=0,
        description="rate of a port. Ports may be split up to 8 ways, or joined to faster ones; default: 400Gbps",
    )
    latency: Latency | None = Field(None, description="from the first bit in to the first bit out; default: 750ns")
    power: Power | None = Field(None, description="of the whole switch, without optics; default: by its capacity")


class TierSpec(Spec):
    """One tier of switches, with the cables below it."""

    children: Count = Field(
        description="nodes of the tier below (for leaves: endpoints) that each switch is joined with"
    )
    parents: Count | None = Field(
        None, description="switches of this tier that each node below is joined with; default: 1"
    )
    rate: Rate = Field(gt=0, description="rate of each cable below this tier")
    latency: Latency | None = Field(
        None, description="of each cable below, one way, switching included, as simulators count it; default: 1us"
    )
    bundle: Count | None = Field(None, description="cables in parallel between each pair; default: 1")
    spare: int | None = Field(None, ge=0, le=MOST, description="ports kept free on each switch, to grow; default: 0")
    medium: Name | None = Field(
        None, description="what the cables are, by its name in `layout.media`; default: by length"
    )


class SolveSpec(Spec):
    """What a folded Clos network shall give; its tiers are found."""

    endpoints: Count = Field(description="endpoints, at least so many")
    rate: Rate | None = Field(None, gt=0, description="rate of every cable; default: the switch's `portRate`")
    radix: Count | None = Field(None, description="ports of a switch at that rate; default: what the switch has")
    oversubscription: Oversubscription | None = Field(
        None, description="of the leaves: bandwidth down over bandwidth up, as in 15:1; default: 1"
    )
    tiers: Annotated[int, Field(ge=1, le=MOST_TIERS)] | None = Field(
        None, description="exactly so many tiers; default: the fewest that suffice"
    )
    latency: Latency | None = Field(None, description="of each cable; default: 1us")


class DragonflySpec(Spec):
    """A dragonfly: groups of routers, each router joined with all of its group, each group with all others."""

    groups: Count | None = Field(None, description="groups; default: the most, routers x globalPorts + 1")
    routers: Count = Field(description="routers of a group")
    hosts: Count = Field(description="endpoints of a router")
    global_ports: Count = Field(description="cables of a router to other groups")
    rate: Rate = Field(gt=0, description="rate of cables to endpoints")
    local_rate: Rate | None = Field(None, gt=0, description="rate within a group; default: `rate`")
    global_rate: Rate | None = Field(None, gt=0, description="rate between groups; default: `rate`")
    latency: Latency | None = Field(None, description="of cables to endpoints and within a group; default: 1us")
    global_latency: Latency | None = Field(None, description="of cables between groups; default: 1us")


class NetworkSpec(Spec):
    """One network of the fabric, in one of four forms: `tiers`, `solve`, `dragonfly` or `file`."""

    tiers: Annotated[list[TierSpec], Field(min_length=1, max_length=MOST_TIERS)] | None = Field(
        None, description="a folded Clos network, from the leaves up"
    )
    solve: SolveSpec | None = Field(None, description="a folded Clos network of which the tiers are found")
    dragonfly: DragonflySpec | None = Field(None, description="a dragonfly")
    file: str | None = Field(
        None, min_length=1, max_length=4096, description="a topology file, beside this one; only where files are read"
    )
    planes: Count | None = Field(
        None, description="copies of the network; each endpoint has a port in each. Default: 1"
    )
    trees: Count | None = Field(
        None,
        description="networks side by side that share no switch. Default: 1, in `scaleUp` what all accelerators need",
    )
    rails_joined_at: int | None = Field(
        None,
        ge=1,
        le=MOST_TIERS + 1,
        description="lowest tier that joins rails: 1 plain, 2 rail-optimised, tiers + 1 rail-only; default: 1",
    )
    switch: SwitchSpec | None = Field(None, description="the switch it is made of")

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        given = [name for name in FORMS if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} say the same in different ways; keep one of them")
        return self


class MediumSpec(Spec):
    """A kind of cable."""

    name: Name = Field(description="its name, which price files use")
    reach: Length = Field(description="its greatest length; the first medium that reaches is taken")
    power: Power | None = Field(None, description="of each end, for each 100Gbps; default: none")
    transceivers: bool | None = Field(None, description="whether ends are pluggable, to be bought apart; default: no")


class LayoutSpec(Spec):
    """Where racks stand, for lengths of cables. Blocks are as square as can be, with their switches in the middle."""

    servers_per_rack: Count | None = Field(None, description="servers in a rack; default: 4")
    switches_per_rack: Count | None = Field(None, description="switches in a rack of switches; default: 16")
    rack_width: Length | None = Field(None, gt=0, description="from rack to rack in a row; default: 0.6m")
    row_depth: Length | None = Field(None, gt=0, description="from row to row; default: 2.4m")
    racks_per_row: Count | None = Field(None, description="racks of servers in a row; default: 16")
    rise: Length | None = Field(None, description="up from a switch to the tray, or down from it; default: 1.5m")
    within_rack: Length | None = Field(None, description="length of a cable within a rack; default: 2m")
    leaves_in_rack: bool | None = Field(
        None,
        description="whether leaves stand in the racks of servers; default: where one rack has all servers of a leaf",
    )
    media: Annotated[list[MediumSpec], Field(min_length=1, max_length=32)] | None = Field(
        None, description="kinds of cables, by growing reach; default: DAC, AEC, AOC, SR, DR, FR, LR"
    )
    rack_power: Power | None = Field(
        None, description="what a rack of servers draws, without the network; default: none"
    )
    nic_power: Power | None = Field(
        None, description="of the network interface of one endpoint, each 100Gbps; default: 5W"
    )


class FabricSpec(Spec):
    """A fabric of accelerators: the network between servers (scale-out) and that within a supernode (scale-up)."""

    description: str = Field("", max_length=1000, description="for people")
    preset: Name | None = Field(
        None, description="a fabric to start from; `suanwang fabric design --list` names them. What stands here wins"
    )
    accelerators: AcceleratorsSpec | None = Field(None, description="accelerators, servers and rails")
    scale_out: NetworkSpec | None = Field(None, description="the network between servers or supernodes")
    scale_up: NetworkSpec | None = Field(None, description="the network within supernodes, of higher bandwidth")
    layout: LayoutSpec | None = Field(None, description="racks, rows and kinds of cables")
