"""Reading topologies that others published: Topology Zoo (GraphML), Repetita and containerlab."""

from __future__ import annotations

from suanwang.topology.importing.reader import import_demands, import_topology

__all__ = ["import_demands", "import_topology"]
