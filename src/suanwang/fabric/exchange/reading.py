"""One door to all formats: a file's format is told from its content."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NoReturn

from suanwang.fabric.exchange.listed import Imported
from suanwang.fabric.exchange.words import begin
from suanwang.topology.importing.published import refuse

BEGINNING_BYTES = 65_536
"""So much of a file is looked at."""

FORMATS = {
    "htsim": "htsim .topo (with lines Nodes and Tiers)",
    "simai": "SimAI topology (first line like 34 8 2 16 96 H20)",
    "ns3": "ns-3 topology.txt (first line of three numbers: nodes, switches, links)",
    "containerlab": "containerlab (YAML with topology: nodes: links:)",
    "infragraph": "InfraGraph (YAML or JSON with devices, instances, links and edges)",
    "cabling": "cabling list (CSV with columns a_device,a_port,b_device,b_port)",
    "fabric": "Suanwang's own (YAML with kind: Fabric)",
}


def recognise(body: bytes) -> str | None:
    """The format of a file that begins with `body`; None if it is none of `FORMATS`."""
    text = body[:BEGINNING_BYTES].decode("utf-8-sig", "replace")
    said = [line for line in (line.partition("#")[0].strip() for line in text.splitlines()) if line]
    if not said:
        return None
    first = said[0].split()
    if {"tiers", "nodes"} <= {line.split()[0].lower() for line in said[:100]}:
        return "htsim"
    if len(first) in (3, 4, 6) and all(word.isdigit() for word in first):
        return "ns3"
    if len(first) in (6, 7) and all(word.isdigit() for word in first[:5]):
        return "simai"
    if {"a_device", "a_port"} <= {word.strip(' "').lower() for word in said[0].split(",")}:
        return "cabling"
    if re.search(r"""["']?kind["']?\s*:\s*["']?Fabric\b""", text):
        return "fabric"
    if re.search(r"""(^|[{,\s])["']?topology["']?\s*:\s*(\{|$|#)""", text, re.MULTILINE):
        return "containerlab"
    if re.search(r"""(^|[{,\s])["']?(instances|devices)["']?\s*:""", text):
        return "infragraph"
    return None


def read_imported(path: Path | str) -> Imported:
    """The fabric in a file of any of `FORMATS`. Raises BAD_TOPOLOGY and others, with the line; UNREADABLE."""
    head = begin(path, BEGINNING_BYTES)
    found = recognise(head)
    if found == "htsim":
        from suanwang.fabric.exchange.htsim import read_topology

        return Imported("htsim", clos=read_topology(path).with_switches())
    if found == "simai":
        from suanwang.fabric.exchange.simai import read_simai

        return read_simai(path)
    if found == "ns3":
        from suanwang.fabric.exchange.ns3 import read_ns3

        return read_ns3(path)
    if found == "containerlab":
        from suanwang.fabric.exchange.containerlab import read_containerlab_fabric

        return read_containerlab_fabric(path)
    if found == "infragraph":
        from suanwang.fabric.exchange.infragraph import read_infragraph

        return read_infragraph(path)
    if found == "cabling":
        from suanwang.fabric.cabling.cables import read_cabling

        return Imported("cabling", listed=read_cabling(path).network())
    return _unknown(path, head, found)


def _unknown(path: Path | str, head: bytes, found: str | None) -> NoReturn:
    if found == "fabric":
        refuse(
            "a Fabric resource where a topology file must be", "a fabric's network can't be another Fabric", str(path)
        )
    if b"->" in head and b"Connections" in head:
        refuse("this is a connection matrix, not a topology", "it is traffic: give it as --cm", str(path))
    refuse("the format is not known", "known are: " + "; ".join(FORMATS.values()), str(path))
