"""Fabrics to start from, as documents of the form that files have; and how a file's own fields win over them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from suanwang.fabric.kinds import FORMS, FabricSpec
from suanwang.model.errors import NOT_FOUND, SuanwangError
from suanwang.model.registry import nearest


@dataclass(frozen=True, slots=True)
class Preset:
    """A fabric by name: what it is, and its spec. How it comes about is told by `derivations.py`."""

    summary: str
    spec: Mapping[str, Any]


T51_200G = {"name": "51.2T", "ports": 256, "portRate": "200Gbps"}
T51_400G = {"name": "51.2T", "ports": 128, "portRate": "400Gbps"}
T26_400G = {"name": "25.6T", "ports": 64, "portRate": "400Gbps"}
LOW_LATENCY = {**T51_400G, "name": "51.2T-low-latency", "latency": "250ns"}

HPN_TIERS = [
    {"children": 128, "rate": "200Gbps"},
    {"children": 120, "parents": 60, "rate": "400Gbps", "spare": 8},
]
SUPERNODE_TIERS = [
    {"children": 32, "bundle": 2, "rate": "400Gbps", "latency": "260ns", "medium": "AEC"},
    {"children": 32, "parents": 16, "bundle": 4, "rate": "400Gbps", "latency": "400ns", "medium": "CPO"},
]
SUPERNODE = {"planes": 4, "tiers": SUPERNODE_TIERS, "switch": LOW_LATENCY}
OPEN_RACK = {"serversPerRack": 4, "rackPower": "50kW"}

PRESETS: dict[str, Preset] = {
    "leaf-spine": Preset(
        "two tiers of 64 x 400G, 2,048 endpoints",
        {"scaleOut": {"solve": {"endpoints": 2048}, "switch": T26_400G}},
    ),
    "three-tier": Preset(
        "three tiers of 64 x 400G, 65,536 endpoints",
        {"scaleOut": {"solve": {"endpoints": 65536}, "switch": T26_400G}},
    ),
    "rail-optimised": Preset(
        "two tiers of 64 x 400G, a leaf for each of 8 rails, 2,048 endpoints",
        {"scaleOut": {"solve": {"endpoints": 2048}, "railsJoinedAt": 2, "switch": T26_400G}},
    ),
    "rail-only": Preset(
        "8 rails that never meet, each one leaf of 64 x 400G; servers pass on between rails: 512 accelerators",
        {
            "scaleOut": {"solve": {"endpoints": 512, "tiers": 1}, "railsJoinedAt": 2, "switch": T26_400G},
            "scaleUp": {
                "planes": 4,
                "tiers": [{"children": 8, "bundle": 2, "rate": "400Gbps"}],
                "switch": {"name": "6.4T", "ports": 16, "portRate": "400Gbps"},
            },
        },
    ),
    "multi-plane": Preset(
        "four planes of 100G, two tiers of 256 x 100G switches, rail-optimised: 32,768 endpoints of 400G",
        {
            "scaleOut": {
                "solve": {"endpoints": 32768},
                "planes": 4,
                "railsJoinedAt": 2,
                "switch": {"name": "25.6T", "ports": 256, "portRate": "100Gbps"},
            },
        },
    ),
    "mpft-16384": Preset(
        "multi-plane fat tree of 8 rails that never meet: 16,384 endpoints on 768 switches of 64 x 400G",
        {"scaleOut": {"solve": {"endpoints": 16384, "tiers": 2}, "railsJoinedAt": 3, "switch": T26_400G}},
    ),
    "hpn7-pod": Preset(
        "a pod like Alibaba's HPN 7.0: 15 segments of 1,024, two planes, 15:1 kept for the core: 15,360 accelerators",
        {"scaleOut": {"planes": 2, "railsJoinedAt": 2, "tiers": HPN_TIERS, "switch": T51_400G}},
    ),
    "hpn7-cluster": Preset(
        "16 pods like HPN 7.0 below a core, 15:1: 245,760 accelerators",
        {
            "scaleOut": {
                "planes": 2,
                "railsJoinedAt": 2,
                "tiers": [HPN_TIERS[0], {**HPN_TIERS[1], "spare": 0}, {"children": 16, "bundle": 8, "rate": "400Gbps"}],
                "switch": T51_400G,
            },
        },
    ),
    "cmcc-61440": Preset(
        "a pod of two tiers and two planes of 256 x 200G, leaves 15:1: 61,440 accelerators",
        {
            "scaleOut": {
                "planes": 2,
                "railsJoinedAt": 2,
                "tiers": [
                    {"children": 240, "rate": "200Gbps", "latency": "500ns"},
                    {"children": 256, "parents": 16, "rate": "200Gbps", "latency": "500ns"},
                ],
                "switch": T51_200G,
            },
        },
    ),
    "rack-32": Preset(
        "scale-up within a rack: 32 cards on four planes of copper, 3.2 Tbit/s a card",
        {
            "scaleUp": {"planes": 4, "tiers": [SUPERNODE_TIERS[0]], "switch": LOW_LATENCY},
            "layout": OPEN_RACK,
        },
    ),
    "supernode-1024": Preset(
        "a supernode: 32 racks of 32 cards, copper within racks, co-packaged optics between them, 3.2 Tbit/s a card",
        {"scaleUp": SUPERNODE, "layout": OPEN_RACK},
    ),
    "fused-1048576": Preset(
        "supernodes of 1,024, segments of 4,096 and their interconnect: 1,048,576 cards on two scale-out tiers",
        {
            "accelerators": {"rails": 32},
            "scaleOut": {
                "solve": {"endpoints": 2**20, "tiers": 2},
                "planes": 2,
                "railsJoinedAt": 3,
                "switch": T51_200G,
            },
            "scaleUp": SUPERNODE,
            "layout": OPEN_RACK,
        },
    ),
    "shall-100000": Preset(
        "a data centre's network of five stages for 100,000 servers: two planes of 128 x 100G, leaves 3:1",
        {
            "accelerators": {"perServer": 1},
            "scaleOut": {
                "solve": {"endpoints": 100_000, "oversubscription": "3:1"},
                "planes": 2,
                "switch": {"name": "12.8T", "ports": 128, "portRate": "100Gbps"},
            },
            "layout": {"serversPerRack": 16},
        },
    ),
    "dragonfly": Preset(
        "511 groups of 32 routers, 64 x 400G: 261,632 endpoints",
        {
            "scaleOut": {
                "dragonfly": {"groups": 511, "routers": 32, "hosts": 16, "globalPorts": 16, "rate": "400Gbps"},
                "switch": T26_400G,
            },
        },
    ),
}


def preset(name: str) -> Preset:
    """The preset of that name. Raises NOT_FOUND with the nearest."""
    if name not in PRESETS:
        raise SuanwangError(NOT_FOUND, f"there is no preset {name[:63]!r}", nearest(name, PRESETS, "presets"))
    return PRESETS[name]


def with_preset(spec: FabricSpec) -> FabricSpec:
    """The spec with its preset's values where it says nothing itself.

    Mappings are merged, lists replaced. A network of another form (tiers, solve, dragonfly, file) replaces its.
    """
    if spec.preset is None:
        return spec
    own = spec.model_dump(mode="json", by_alias=True, exclude_none=True)
    return FabricSpec.model_validate(_merged(preset(spec.preset).spec, own))


def _merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    if any(form in over for form in FORMS):
        under = {name: value for name, value in under.items() if name not in FORMS or name in over}
    merged = dict(under)
    for name, value in over.items():
        before = merged.get(name)
        merged[name] = _merged(before, value) if isinstance(value, Mapping) and isinstance(before, Mapping) else value
    return merged
