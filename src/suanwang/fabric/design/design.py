"""What a Fabric resource describes: what everything else of this room starts from.

A design is small whatever it describes: coordinates, not nodes. `Design.network()` lists nodes, for simulators.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil
from typing import Literal

from suanwang.fabric.clos import Clos
from suanwang.fabric.design.chip import Chip
from suanwang.fabric.design.layout import Layout
from suanwang.fabric.dragonfly import Dragonfly
from suanwang.fabric.network import Network
from suanwang.model.errors import NOT_FOUND, SuanwangError

Which = Literal["scale-out", "scale-up"]


@dataclass(frozen=True)
class Design:
    """A fabric. Endpoints of both networks are the accelerators, numbered alike: those of a server follow each other.

    `media` names, for each network and tier from the endpoints up, the medium that its cables were asked to be; "" is
    by their length. `imported` networks were read from a list of links. `steps` say how tiers were found, if they were,
    and `notes` what a file said that is passed over.
    """

    name: str
    accelerators: int
    per_server: int
    scale_out: Clos | Dragonfly | None
    scale_up: Clos | None
    chip: Chip
    scale_up_chip: Chip
    layout: Layout
    media: Mapping[Which, tuple[str, ...]]
    imported: Mapping[Which, Network] = field(default_factory=dict)
    preset: str = ""
    steps: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def servers(self) -> int:
        """How many servers, the last one perhaps not full."""
        return ceil(self.accelerators / self.per_server)

    def part(self, which: Which) -> Clos | Dragonfly | None:
        """One of the two networks by its name."""
        return self.scale_out if which == "scale-out" else self.scale_up

    def chip_of(self, which: Which) -> Chip:
        """The switch that one of the networks is made of."""
        return self.chip if which == "scale-out" else self.scale_up_chip

    def network(self, which: Which = "scale-out") -> Network:
        """One of the networks as arrays.

        Raises:
            SuanwangError: NOT_FOUND where the fabric has no such network.
        """
        if which in self.imported:
            return self.imported[which]
        part = self.part(which)
        if part is None:
            raise SuanwangError(NOT_FOUND, f"fabric {self.name} has no {which} network")
        return part.network()
