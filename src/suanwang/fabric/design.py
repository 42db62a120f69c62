"""What a Fabric resource describes: what everything else of this room starts from.

A design is small whatever it describes: coordinates, not nodes. `Design.network()` lists nodes, for simulators.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path
from typing import Any, Literal

from suanwang.fabric.chip import Chip
from suanwang.fabric.clos import Clos
from suanwang.fabric.dragonfly import Dragonfly
from suanwang.fabric.kinds import FabricSpec
from suanwang.fabric.layout import Layout
from suanwang.fabric.network import Network
from suanwang.model.errors import INVALID, NOT_FOUND, Place, SuanwangError
from suanwang.model.reading import line_of, path_text, read_path, read_text

__all__ = ["Chip", "Design", "Which", "read_design", "read_document"]

Which = Literal["scale-out", "scale-up"]


@dataclass(frozen=True)
class Design:
    """A fabric. Endpoints of both networks are the accelerators, numbered alike: those of a server follow each other.

    `media` names, for each network and tier from the endpoints up, the medium that its cables were asked to be; "" is
    by their length. `imported` networks were read from a list of links. `steps` say how tiers were found, if they were.
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


def read_design(source: Path | str) -> Design:
    """The design that a file, or a text, declares: it holds one resource of kind Fabric.

    A text is told from the name of a file by its line breaks. Raises SuanwangError with file and line.
    """
    text = str(source)
    if isinstance(source, Path) or "\n" not in text:
        documents, folder = read_path(text), None if text == "-" else Path(text).parent
    else:
        documents, folder = [("<text>", document) for document in read_text(text, "<text>")], None
    fabrics = [pair for pair in documents if pair[1].get("kind") == "Fabric"]
    if len(fabrics) != 1:
        message = f"{len(fabrics)} resources of kind Fabric, and not one" if fabrics else "no resource of kind Fabric"
        raise SuanwangError(INVALID, message, "begin with kind: Fabric", Place(documents[0][0] if documents else text))
    file, document = fabrics[0]
    return read_document(document, file, folder)


def read_document(document: Mapping[str, Any], file: str = "", folder: Path | None = None) -> Design:
    """The design that a user document declares; topology files that it names are looked for in `folder`."""
    from suanwang.fabric.building import build  # which makes what this module defines
    from suanwang.fabric.capability import CAPABILITY
    from suanwang.model.registry import Registry
    from suanwang.model.resource import check

    resource = check(document, Registry([CAPABILITY]), file)
    if not isinstance(resource.spec, FabricSpec):
        raise TypeError(f"a Fabric has the spec {type(resource.spec).__name__}")

    def where(path: tuple[str | int, ...]) -> Place:
        return Place(file, line_of(document, path), path_text(path))

    return build(resource.key.name, resource.spec, folder, where)
