"""What the fabric room enters in the registry."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from suanwang.fabric.kinds import FabricSpec
from suanwang.model.registry import Admission, Capability, Kind, Resource


def admit_fabric(admission: Admission, resource: Resource, before: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """A fabric is accepted if its networks can be built; what they count to becomes part of it."""
    from suanwang.fabric.design.building import build  # numpy, which other kinds need not wait for

    design = build(resource.key.name, cast(FabricSpec, resource.spec))
    parts = (design.scale_out, design.scale_up)
    return {"accelerators": design.accelerators, "switches": sum(part.switches for part in parts if part is not None)}


FABRIC = Kind(
    name="Fabric",
    scope="infrastructure",
    spec=FabricSpec,
    summary="A network of accelerators: scale-out between servers, scale-up within supernodes.",
    example="""\
apiVersion: suanwang/v1
kind: Fabric
metadata: {name: pod}
spec:
  accelerators: {perServer: 8, rails: 8}
  scaleOut:
    planes: 2
    railsJoinedAt: 2
    tiers:
    - {children: 240, rate: 200Gbps, latency: 500ns}
    - {children: 256, parents: 16, rate: 200Gbps, latency: 500ns}
    switch: {ports: 256, portRate: 200Gbps}
""",
    columns={
        "PRESET": "spec.preset",
        "ACCELERATORS": "status.accelerators",
        "SWITCHES": "status.switches",
    },
    admit=admit_fabric,
)

CAPABILITY = Capability(name="fabric", kinds=(FABRIC,))
