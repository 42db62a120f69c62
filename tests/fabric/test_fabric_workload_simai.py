"""Workload texts of ASTRA-sim 1.0 and SimAI: read, refused with file and line, and their time by hand."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suanwang.fabric.clos import Clos, Tier
from suanwang.fabric.collectives.group import Cost, FabricModel, Group
from suanwang.fabric.collectives.routing import Routing
from suanwang.fabric.workload.costs import StepOptions
from suanwang.fabric.workload.result import StepResult
from suanwang.fabric.workload.simai import COLUMNS, Layered, read_simai
from suanwang.fabric.workload.step import simulate
from suanwang.model.errors import SuanwangError

NS = 1000
AICB = "HYBRID_TRANSFORMER_FWD_IN_BCKWD model_parallel_NPU_group: 2 ep: 2 pp: 2 vpp: 1 ga: 2 all_gpus: 16"
LINE = "layer -1 10 NONE 0 20 NONE 0 5 NONE 0 0"


class Design:
    """Sixteen accelerators in domains of four."""

    scale_out = Clos((Tier(16, 1, 400 * 10**9, 500_000),))
    scale_up = Clos((Tier(4, 1, 3600 * 10**9, 500_000),), trees=4)
    accelerators = 16
    per_server = 4


def alpha_beta(
    kind: str, size_bytes: int, group: Group, fabric: FabricModel, *, routing: Routing | None = None
) -> Cost:
    """One ns for each byte."""
    return Cost(size_bytes * NS, 0, 0, kind)


def read(tmp_path: Path, *lines: str) -> Layered:
    file = tmp_path / "work.txt"
    file.write_text("\n".join(lines))
    return read_simai(file)


def run(text: Layered) -> StepResult:
    result = simulate(text.step(16, 4), Design(), StepOptions(collective=alpha_beta))
    for line in result.lines:
        assert line.compute_ps + line.exposed_ps + line.idle_ps == result.step_ps
    return result


def test_data_parallel_text(tmp_path: Path) -> None:
    text = read(
        tmp_path, "DATA", "2", "a -1 10 NONE 0 20 NONE 0 5 ALLREDUCE 40 3", "b -1 1 NONE 0 2 NONE 0 4 ALLREDUCE 7 3"
    )
    result = run(text)
    # Forwards 11; b backwards 6, then its 7 + 3 beside a's 25; then a's 40 + 3 alone.
    assert result.step_ps == (11 + 6 + 25 + 43) * NS
    (use,) = result.collectives
    assert (use.kind, use.group, use.members, use.count, use.exposed_ps) == ("all-reduce", "all", 16, 2, 43 * NS)


def test_groups_and_sizes_of_policies(tmp_path: Path) -> None:
    line = "a -1 0 ALLGATHER 3 0 ALLREDUCE 5 0 REDUCESCATTER 7 0"
    members = {
        "DATA": [16], "MODEL": [16, 16], "HYBRID_DATA_MODEL": [4, 4, 4], "HYBRID_MODEL_DATA": [4, 4, 4],
        "HYBRID_TRANSFORMER model_parallel_NPU_group: 2": [2, 2, 8],
    }  # fmt: skip
    for policy, sizes in members.items():
        assert sorted(use.members for use in run(read(tmp_path, policy, "1", line)).collectives) == sizes
    # ASTRA-sim counts what each member of an all-gather brings, AICB the whole.
    brought = run(read(tmp_path, "MODEL", "1", line)).collectives[0]
    assert (brought.kind, brought.size_bytes) == ("all-gather", 3 * 16)
    whole = run(read(tmp_path, "HYBRID_TRANSFORMER model_parallel_NPU_group: 2 all_gpus: 16", "1", line)).collectives[0]
    assert whole.size_bytes == 3
    custom = run(read(tmp_path, "HYBRID_CUSTOMIZED", "2", f"{line} DATA", f"{line} MODEL"))
    assert sum(use.count for use in custom.collectives) == 1 + 2


def test_pipeline_of_aicb(tmp_path: Path) -> None:
    lines = [
        "grads -1 0 NONE 0 0 NONE 0 0 REDUCESCATTER_DP_EP 100 0",
        "embedding -1 4 ALLREDUCE 6 0 NONE 0 0 NONE 0 0",
        "moe -1 10 ALLTOALL_EP 20 6 ALLTOALL_EP 14 0 NONE 0 0",
    ]
    text = read(tmp_path, f"{AICB} pp_comm: 5.0", "3", *lines)
    result = run(text)
    # Both microbatches take 40 forwards and 20 backwards, together. Two stages of 20 + 10 each, m = 2, five a message:
    # the last stage gets its first at 25 and is done at 85; at 90 the first has it, and is done at 100. Then gradients.
    assert result.step_ps == (100 + 100) * NS
    kinds = {(use.kind, use.group): (use.members, use.count, use.size_bytes) for use in result.collectives}
    assert kinds == {
        ("all-reduce", "tensor"): (2, 1, 6),
        ("all-to-all", "expert"): (2, 2, 34),
        ("reduce-scatter", "expert-data"): (2, 1, 100),
        ("send", "pipeline"): (2, 2, 10),
    }
    interleaved = run(read(tmp_path, f"{AICB.replace('vpp: 1', 'vpp: 2')} pp_comm: 0", "3", *lines))
    plain = run(read(tmp_path, AICB, "3", *lines))
    assert (plain.step_ps, interleaved.step_ps) == ((3 * 30 + 100) * NS, (5 * 15 + 100) * NS)
    odd = run(read(tmp_path, AICB.replace("vpp: 1 ga: 2", "vpp: 2 ga: 3"), "3", *lines))
    assert "vpp 2 is left out" in odd.text()


def test_checkpoints_are_computed_again(tmp_path: Path) -> None:
    lines = [
        "a -1 1 NONE 0 2 NONE 0 0 NONE 0 0",
        "b -1 10 NONE 0 20 NONE 0 0 NONE 0 0",
        "c -1 100 NONE 0 200 NONE 0 0 NONE 0 0",
    ]
    head = "HYBRID_TRANSFORMER_FWD_IN_BCKWD model_parallel_NPU_group: 2 checkpoints: 2 0 1 checkpoint_initiates: 1 2"
    assert run(read(tmp_path, head, "3", *lines)).step_ps == (333 + 10) * NS
    head = "HYBRID_TRANSFORMER_FWD_IN_BCKWD model_parallel_NPU_group: 2 checkpoints: 1 0 checkpoint_initiates: 1 2"
    assert run(read(tmp_path, head, "3", *lines)).step_ps == (333 + 11) * NS


@pytest.mark.parametrize(
    ("lines", "number", "message", "hint"),
    [
        ([], 0, "ends where the policy", "cut off"),
        (["HYBRID_DLRM", "1", LINE], 1, "the policy 'HYBRID_DLRM' is not simulated", "Chakra's converter"),
        (["HYBRID_DATA", "1", LINE], 1, "the policy 'HYBRID_DATA' is not simulated", "did you mean 'HYBRID_"),
        (["DATA ep:", "1", LINE], 1, "'ep' has no number", "NAME: NUMBER"),
        (["DATA ep: x", "1", LINE], 1, "ep is 'x', and no number", "whole number"),
        (["DATA ep: 1 ep: 1", "1", LINE], 1, "ep stands twice", "remove"),
        (["DATA eq: 1", "1", LINE], 1, "no degree 'eq'", "known degrees: all_gpus, ep"),
        (["DATA all_gpus: 0", "1", LINE], 1, "all_gpus is 0", "accelerators"),
        (["DATA checkpoints: 3 1", "1", LINE], 1, "announces 3 layers, and 1 follow", "correct"),
        (["DATA checkpoints: 1 1", "1", LINE], 1, "checkpoints name layer 1, of 1", "from 0"),
        (["DATA checkpoint_initiates: 1 7", "1", LINE], 1, "checkpoints name layer 7, of 1", "from 0"),
        (["DATA", "", LINE], 2, "the number of layers is", "whole number"),
        (["DATA", "0", LINE], 2, "0 layers", "from 1"),
        (["DATA", "9" * 30, LINE], 2, "number of layers is", "whole number from 0"),
        (["DATA", "2", LINE], 3, "ends where layer 2 of 2", "cut off"),
        (["DATA", "1", LINE, LINE], 4, "a line after the last of 1 layers", "second line"),
        (["DATA", "1", "a -1 10"], 3, f"has 3 columns, not {COLUMNS}", "name, -1"),
        (["DATA", "1", LINE.replace("20", "-20")], 3, "the input time is -20", "from 0"),
        (["DATA", "1", LINE.replace("20", "1.5")], 3, "the input time is 1.5", "whole"),
        (["DATA", "1", LINE.replace("20", "1e400")], 3, "the input time is 1e400", "whole"),
        (["DATA", "1", LINE.replace("NONE", "ALLREDUCEALLTOALL")], 3, "ALLTOALL' is not simulated", "ALLREDUCE"),
        (["DATA", "1", LINE.replace("NONE", "ALLREDUCE_TP")], 3, "ALLREDUCE_TP' is not simulated", "did you mean"),
        (["HYBRID_CUSTOMIZED", "1", f"{LINE} DATUM"], 3, "'DATUM' is not simulated", "did you mean 'DATA'"),
    ],
)  # fmt: skip
def test_malformed_texts(tmp_path: Path, lines: list[str], number: int, message: str, hint: str) -> None:
    with pytest.raises(SuanwangError) as caught:
        read(tmp_path, *lines)
    problem = caught.value
    assert message in problem.message
    assert hint in problem.hint
    assert (problem.place.file, problem.place.line) == (str(tmp_path / "work.txt"), number)


@pytest.mark.parametrize(
    ("head", "message"),
    [
        ("pp: 4000000000 all_gpus: 4000000000", "for 4,000,000,000 accelerators, and the design has 16"),
        ("pp: 16 ga: 4000000000 all_gpus: 16", "128,000,000,000 passes; at most 4,000,000"),
        ("pp: 2 ga: 2 vpp: 4000000000 all_gpus: 16", "32,000,000,000 passes; at most 4,000,000"),
    ],
)
def test_sizes_are_refused_before_anything_is_made_of_them(tmp_path: Path, head: str, message: str) -> None:
    text = read(tmp_path, f"HYBRID_TRANSFORMER_FWD_IN_BCKWD {head}", "1", LINE)
    with pytest.raises(SuanwangError, match=message) as caught:
        text.step(16, 4)
    assert (caught.value.place.line, bool(caught.value.hint)) == (1, True)


@pytest.mark.parametrize("policy", ["HYBRID_DATA_MODEL", "HYBRID_MODEL_DATA", "HYBRID_CUSTOMIZED"])
def test_policies_of_domains_need_domains(tmp_path: Path, policy: str) -> None:
    line = "a -1 1 ALLREDUCE 5 1 ALLREDUCE 5 1 ALLREDUCE 5 0"
    text = read(tmp_path, policy, "1", line + (" HYBRID_DATA_MODEL" if policy == "HYBRID_CUSTOMIZED" else ""))
    for domain in (1, 5):
        with pytest.raises(SuanwangError, match=f"scale-up domains, which have {domain} here") as caught:
            text.step(16, domain)
        assert "scale-up network" in caught.value.hint
    for domain in (4, 16, 32):
        groups = text.step(16, domain).groups
        assert groups["domain"].size * groups["domains"].size == 16
    silent = read(tmp_path, policy, "1", LINE + (" DATA" if policy == "HYBRID_CUSTOMIZED" else ""))
    assert silent.step(16, 1).accelerators == 16  # sends nothing, so needs no domains


def test_what_interleaving_means_is_noted(tmp_path: Path) -> None:
    interleaved = read(tmp_path, AICB.replace("vpp: 1", "vpp: 2"), "1", LINE).step(16, 4)
    assert (interleaved.interleaving, len(interleaved.notes)) == (2, 1)
    assert "vpp 2 is taken as chunks" in interleaved.notes[0]
    assert not read(tmp_path, AICB, "1", LINE).step(16, 4).notes


def test_degrees_that_do_not_fit(tmp_path: Path) -> None:
    text = read(tmp_path, AICB.replace("pp: 2", "pp: 3"), "1", LINE)
    with pytest.raises(SuanwangError, match="16 accelerators are not shared out by pp 3") as caught:
        text.step(16, 4)
    assert caught.value.place.line == 1


@given(st.text(alphabet="DATA HYBRID_\n-0123456789.eNOLRUCtab:", max_size=200))
def test_hostile_texts_are_refused_or_run(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    file = tmp_path_factory.getbasetemp() / "hostile.txt"
    file.write_text(text)
    with suppress(SuanwangError):
        run(read_simai(file))


def test_what_else_aicb_writes(tmp_path: Path) -> None:
    """Its older first line, its broadcasts, its other name of ep, and inference."""
    older = "HYBRID_TRANSFORMER_FWD_IN_BCKWD\tmodel_parallel_NPU_group: 4 checkpoints: 0 checkpoint_initiates: 0"
    line = "norm -1 0 BROADCAST 16 1 NONE 0 1 ALLGATHER 64 0"
    uses = {use.kind: use for use in run(read(tmp_path, older, "1", line)).collectives}
    assert (uses["broadcast"].members, uses["broadcast"].size_bytes) == (4, 16)
    assert uses["all-gather"].size_bytes == 64  # the whole
    again = "HYBRID_TRANSFORMER_FWD_IN_BCKWD model_parallel_NPU_group: 4 checkpoints: 1 0 checkpoint_initiates: 1 0"
    text = read(tmp_path, again, "1", line)
    assert not text.from_aicb
    assert "name what each brings" in run(text).text()
    named = AICB.replace("ep: 2", "expert_parallel_npu_group: 2")
    assert read(tmp_path, named, "1", LINE).degrees["ep"] == 2
    routed = "moe -1 10 ALLTOALL_EP 8 20 ALLREDUCE 8 30 ALLREDUCE 8 0"
    once = AICB.replace("pp: 2", "pp: 1").replace("ga: 2", "ga: 1")
    result = run(read(tmp_path, f"{once} mode: 1", "1", routed))
    assert (result.step_ps, [use.kind for use in result.collectives]) == (18 * NS, ["all-to-all"])
    assert run(read(tmp_path, "DISTRIBUTED_INFERENCE", "1", routed.replace("_EP", ""))).step_ps == 18 * NS
    assert run(read(tmp_path, f"{once} mode: 0", "1", routed)).step_ps > 18 * NS
    with pytest.raises(SuanwangError, match="inference on 2 stages"):
        read(tmp_path, f"{AICB} mode: 1", "1", routed).step(16, 4)


def test_a_byte_order_mark_is_no_policy(tmp_path: Path) -> None:
    assert read(tmp_path, "\ufeffMICRO\r", "1", LINE).policy == "MICRO"
