"""Small networks of any shape, for property tests."""

from __future__ import annotations

from math import prod

from hypothesis import strategies as st

from suanwang.fabric.clos import Clos, Tier
from suanwang.fabric.design.building import build
from suanwang.fabric.design.design import Design
from suanwang.fabric.dragonfly import Dragonfly
from suanwang.fabric.kinds import FabricSpec
from suanwang.model.units import rate_text

GBPS = 10**9


@st.composite
def small_clos(draw: st.DrawFn, most: int = 32, tallest: int = 3) -> Clos:
    """A Clos network of at most `most` endpoints, with planes, rails, trees and bundles."""
    height = draw(st.integers(1, tallest))
    tiers, endpoints = [], 1
    for number in range(height):
        children = draw(st.integers(1, max(1, min(4, most // endpoints))))
        endpoints *= children
        parents = draw(st.integers(1, 3)) if number else 1
        rate = draw(st.sampled_from([100, 200, 400])) * GBPS
        tiers.append(Tier(children, parents, rate, 1_000_000, draw(st.integers(1, 2)), draw(st.integers(0, 2))))
    trees = draw(st.integers(1, max(1, min(3, most // endpoints))))
    joined = draw(st.integers(1, height + 1))
    if joined <= height:
        share = tiers[joined - 1].children
    else:
        share = trees
    rails = draw(st.sampled_from([one for one in range(1, share + 1) if share % one == 0]))
    assert prod(tier.children for tier in tiers) == endpoints
    return Clos(tuple(tiers), trees, draw(st.integers(1, 2)), rails, joined)


@st.composite
def dragonflies(draw: st.DrawFn) -> Dragonfly:
    routers, ports = draw(st.integers(1, 5)), draw(st.integers(0, 3))
    groups = draw(st.integers(1, routers * ports + 1))
    hosts, planes = draw(st.integers(1, 3)), draw(st.integers(1, 2))
    return Dragonfly(groups, routers, hosts, ports, 100 * GBPS, 200 * GBPS, 400 * GBPS, planes=planes)


def design_of(clos: Clos, per_server: int = 2) -> Design:
    """The design of a Clos network, through the form that users write."""
    tiers = [
        {
            "children": tier.children,
            "parents": tier.parents,
            "bundle": tier.bundle,
            "spare": tier.spare,
            "rate": rate_text(tier.rate_bps),
        }
        for tier in clos.tiers
    ]
    scale_out = {"tiers": tiers, "trees": clos.trees, "planes": clos.planes, "railsJoinedAt": clos.joined}
    spec = {
        "accelerators": {"perServer": per_server, "rails": clos.rails},
        "scaleOut": {**scale_out, "switch": {"ports": 64, "portRate": "400Gbps"}},
        "layout": {"serversPerRack": 1, "switchesPerRack": 2, "racksPerRow": 3},
    }
    return build("small", FabricSpec.model_validate(spec))
