"""Designs: what users write becomes the network they mean, presets have their published sizes, mistakes are named."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from tests.fabric.random_fabrics import design_of, small_clos

from suanwang.fabric.capability import CAPABILITY, admit_fabric
from suanwang.fabric.clos import Clos
from suanwang.fabric.design.bill import bill
from suanwang.fabric.design.building import build
from suanwang.fabric.design.derivations import derivation
from suanwang.fabric.design.opening import read_design
from suanwang.fabric.design.presets import PRESETS
from suanwang.fabric.kinds import FabricSpec
from suanwang.model.errors import SuanwangError
from suanwang.model.reading import read_text
from suanwang.model.reference import Key
from suanwang.model.registry import Registry
from suanwang.model.resource import check, stored_document

HEAD = "apiVersion: suanwang/v1\nkind: Fabric\nmetadata: {name: mine}\nspec:\n"
EXAMPLES = Path(__file__).parent.parent.parent / "examples" / "fabric"

SIZES = {
    # name: (accelerators, switches scale-out, switches scale-up, endpoint's bandwidth in Gbit/s of either)
    "leaf-spine": (2048, 96, 0, 400, 0),
    "three-tier": (65_536, 5_120, 0, 400, 0),
    "rail-optimised": (2048, 96, 0, 400, 0),
    "rail-only": (512, 8, 256, 400, 3200),
    "multi-plane": (32_768, 1_536, 0, 400, 0),
    "mpft-16384": (16_384, 768, 0, 400, 0),
    "hpn7-pod": (15_360, 360, 0, 400, 0),
    "hpn7-cluster": (245_760, 5_880, 0, 400, 0),
    "cmcc-61440": (61_440, 544, 0, 400, 0),
    "rack-32": (32, 0, 4, 0, 3200),
    "supernode-1024": (1024, 0, 192, 0, 3200),
    "fused-1048576": (1_048_576, 24_576, 196_608, 400, 3200),
    "shall-100000": (102_816, 3_806, 0, 200, 0),
    "dragonfly": (261_632, 16_352, 0, 400, 0),
}


def refusal(spec: str) -> SuanwangError:
    with pytest.raises(SuanwangError) as caught:
        read_design(HEAD + spec)
    return caught.value


@pytest.mark.parametrize("name", PRESETS)
def test_presets_have_their_sizes(name: str) -> None:
    design = build(name, FabricSpec(preset=name))
    found = {part.which: (part.switches, part.endpoint_bps // 10**9) for part in bill(design).parts}
    out, up = found.get("scale-out", (0, 0)), found.get("scale-up", (0, 0))
    assert (design.accelerators, out[0], up[0], out[1], up[1]) == SIZES[name]
    assert derivation(design)


def test_hpn_pod_is_that_of_the_paper() -> None:
    pod = build("pod", FabricSpec(preset="hpn7-pod")).scale_out
    assert isinstance(pod, Clos)
    assert (pod.down_ports(1), pod.up_ports(1), pod.down_ports(2)) == (128, 60, 120)
    assert pod.oversubscription(2) == 15
    assert pod.position(range(8)).tolist() == [128 * rail for rail in range(8)]
    assert {int(pod.hops(0, rail)) for rail in range(1, 8)} == {4}
    assert int(pod.hops(0, 8)) == 2


def test_the_pod_of_61440_is_derived() -> None:
    told = "\n".join(derivation(build("pod", FabricSpec(preset="cmcc-61440"))))
    assert "u = 16, d = 240" in told
    assert "256 x 240 = 61,440" in told
    assert "4 times a pod of HPN 7.0 (15,360)" in told
    assert "30,720 cards (2 times)" in told


def test_the_reasons_of_a_preset_are_not_told_of_another_network() -> None:
    changed = {"preset": "cmcc-61440", "scaleOut": {"solve": {"endpoints": 4096}}}
    told = "\n".join(derivation(build("pod", FabricSpec.model_validate(changed))))
    assert "HPN" not in told


@given(small_clos())
def test_what_is_written_is_what_is_built(clos: Clos) -> None:
    assert design_of(clos).scale_out == clos


@pytest.mark.parametrize("name", sorted(path.name for path in EXAMPLES.glob("*.yaml") if path.name != "prices.yaml"))
def test_examples_are_read(name: str) -> None:
    assert read_design(EXAMPLES / name).accelerators > 0


def test_own_fields_win_over_a_preset() -> None:
    design = read_design(HEAD + "  {preset: cmcc-61440, scaleOut: {planes: 4, switch: {power: 900W}}}")
    assert isinstance(design.scale_out, Clos)
    assert (design.scale_out.planes, design.scale_out.endpoints, design.chip.power_w) == (4, 61_440, 900)


def test_a_preset_survives_being_stored() -> None:
    text = HEAD + "  {preset: hpn7-pod, layout: {serversPerRack: 2}}"
    registry = Registry([CAPABILITY])
    (document,) = read_text(text, "f")
    again = {**document, "spec": stored_document(check(document, registry))["spec"]}
    (stored,) = [check(again, registry)]
    assert isinstance(stored.spec, FabricSpec)
    assert build("mine", stored.spec) == read_design(text)


def test_topology_files_are_read_beside_the_fabric(tmp_path: Path) -> None:
    (tmp_path / "small.topo").write_text(
        "Nodes 8\nTiers 2\nPodsize 8\n"
        "Tier 0\nDownlink_speed_Gbps 100\nRadix_Down 2\nRadix_Up 2\nDownlink_Latency_ns 1000\n"
        "Tier 1\nDownlink_speed_Gbps 100\nRadix_Down 4\nDownlink_Latency_ns 1000\n"
    )
    (tmp_path / "fabric.yaml").write_text(HEAD + "  scaleOut: {file: small.topo}\n")
    design = read_design(tmp_path / "fabric.yaml")
    assert isinstance(design.scale_out, Clos)
    assert (design.accelerators, design.scale_out.switches, design.chip.ports) == (8, 6, 4)
    assert bill(design).parts[0].cables == 16


def test_faults_of_a_topology_file_are_placed_in_it(tmp_path: Path) -> None:
    (tmp_path / "bad.topo").write_text("Nodes 8\nTiers 9\nPodsize 8\n")
    (tmp_path / "fabric.yaml").write_text(HEAD + "  scaleOut: {file: bad.topo}\n")
    with pytest.raises(SuanwangError) as caught:
        read_design(tmp_path / "fabric.yaml")
    assert caught.value.place.file.endswith("bad.topo")
    assert caught.value.place.line == 2


def test_supernodes_of_a_scale_out_network_are_counted() -> None:
    design = read_design(
        HEAD + "  {scaleUp: {tiers: [{children: 8, rate: 400Gbps}]}, scaleOut: {solve: {endpoints: 64}}}"
    )
    assert design.scale_up is not None
    assert design.scale_up.trees == 8
    assert design.network("scale-up").switches == 8


@pytest.mark.parametrize(
    ("spec", "line", "path", "message", "hint"),
    [
        ("  scaleOut:\n    tiers: [{children: 300, rate: 200Gbps}]\n    switch: {ports: 256, portRate: 200Gbps}",
         5, "spec.scaleOut", "a leaf needs 300 ports of 200Gbps", "nearest possible: 256 children"),
        ("  scaleOut:\n    tiers: [{children: 8, rate: 300Gbps}]", 5, "spec.scaleOut", "make no cables of 300Gbps",
         "nearest possible: 400Gbps"),
        ("  scaleOut: {railsJoinedAt: 2, tiers: [{children: 4, rate: 1Tbps}, {children: 4, rate: 1Tbps}]}", 5,
         "spec.scaleOut", "8 rails do not share out the 4 children of tier 2", "nearest possible: 8 children"),
        ("  scaleUp: {tiers: [{children: 48, rate: 400Gbps}]}\n  accelerators: {count: 64}", 5, "spec.scaleUp",
         "supernodes of 48 do not share out 64", "nearest possible: 48 accelerators"),
        ("  scaleOut: {planes: 2}", 5, "spec.scaleOut", "has no form", "tiers"),
        ("  description: none", 0, "", "the fabric has no network", "preset"),
        ("  preset: cmcc", 5, "spec.preset", "there is no preset 'cmcc'", "cmcc-61440"),
        ("  scaleOut: {tiers: [{children: 4, rate: 400Gbps}], solve: {endpoints: 4}}", 5, "spec.scaleOut",
         "tiers and solve say the same", "keep one"),
        ("  scaleOut: {tiers: [{children: 0, rate: 400Gbps}]}", 5, "spec.scaleOut.tiers[0].children",
         "does not fit", ""),
        ("  scaleOut: {tiers: [{children: 4, rate: 400Gbps, latency: 5}]}", 5, "spec.scaleOut.tiers[0].latency",
         "has no unit", ""),
        ("  scaleOut: {file: nowhere.topo}", 5, "spec.scaleOut", "read by commands only", "tiers"),
        ("  scaleOut: {tiers: [{children: 4, rate: 400Gbps, medium: string}]}", 0, "spec.layout",
         "there is no medium 'string'", "AEC"),
    ],
)  # fmt: skip
def test_mistakes_are_named(spec: str, line: int, path: str, message: str, hint: str) -> None:
    found = refusal(spec)
    assert message in found.message
    assert hint in found.hint
    if line:
        assert (found.place.line, found.place.path) == (line, path)


def test_leaves_of_several_racks_stand_in_none() -> None:
    design = read_design(HEAD + "  layout: {leavesInRack: true}\n  scaleOut: {solve: {endpoints: 64}}")
    with pytest.raises(SuanwangError, match="can't stand in racks of 32"):
        bill(design)


class Nothing:
    """An admission in whose store there is nothing."""

    def read(self, key: Key) -> None: ...

    def claim(self, scope: str, value: str) -> None: ...

    def owner(self, scope: str, value: str) -> None: ...

    def values(self, scope: str, start: str = "", limit: int = 1000) -> list[str]:
        return []


def admitted(spec: str) -> object:
    (document,) = read_text(HEAD + spec, "f")
    return admit_fabric(Nothing(), check(document, Registry([CAPABILITY])), None)


def test_the_server_takes_what_can_be_built_and_reads_no_files() -> None:
    assert admitted("  preset: hpn7-pod") == {"accelerators": 15_360, "switches": 360}
    with pytest.raises(SuanwangError, match="read by commands only"):
        admitted("  scaleOut: {file: /etc/passwd}")
    with pytest.raises(SuanwangError, match="the fabric has no network"):
        admitted("  description: none")


def test_one_fabric_is_read() -> None:
    two = "---\n".join([HEAD + "  preset: rack-32\n"] * 2)
    with pytest.raises(SuanwangError, match="2 resources of kind Fabric"):
        read_design(two)
    with pytest.raises(SuanwangError, match="no resource of kind Fabric"):
        read_design("apiVersion: suanwang/v1\nkind: Vpc\n")
