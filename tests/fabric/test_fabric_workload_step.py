"""The time of steps on fabrics: by hand, by what must hold of any, and on the networks of designs."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from suanwang.fabric.clos import Clos, Tier
from suanwang.fabric.collectives.group import Cost, FabricModel, Group
from suanwang.fabric.collectives.routing import Routing
from suanwang.fabric.workload.compose import compose
from suanwang.fabric.workload.costs import StepOptions, fabric_of
from suanwang.fabric.workload.model import Attention, Experts, Model
from suanwang.fabric.workload.operations import COMPUTE, Bucket, Chunk, Operation, Step
from suanwang.fabric.workload.plan import Accelerator, Job, Parallelism
from suanwang.fabric.workload.result import StepResult
from suanwang.fabric.workload.step import simulate, slow_stages
from suanwang.model.errors import SuanwangError

GBPS = 10**9


@dataclass(frozen=True)
class Networks:
    """As much of a design as steps need."""

    scale_out: Clos | None
    scale_up: Clos | None = None
    per_server: int = 1

    @property
    def accelerators(self) -> int:
        return min(one.endpoints for one in (self.scale_out, self.scale_up) if one is not None)


PLAIN = Networks(Clos((Tier(64, 1, 400 * GBPS, 500_000),), planes=2))
DOMAINS = Networks(
    Clos((Tier(8, 1, 100 * GBPS, 500_000), Tier(16, 2, 400 * GBPS, 500_000)), planes=2, rails=8, joined=2),
    Clos((Tier(8, 1, 3600 * GBPS, 200_000),), trees=16),
)


def alpha_beta(
    kind: str, size_bytes: int, group: Group, fabric: FabricModel, *, routing: Routing | None = None
) -> Cost:
    """1,000 ps for each member, and 1 ps for each byte."""
    return Cost(1000 * group.size + size_bytes, 0, 0, "alpha-beta")


BY_HAND = StepOptions(collective=alpha_beta)


def compute(time_ps: int) -> Operation:
    return Operation("work", COMPUTE, time_ps=time_ps)


def collective(size: int, group: str = "tensor", overlapped: bool = False) -> Operation:
    return Operation("talk", "all-gather", size, group, overlapped=overlapped)


def step(*chunks: Chunk, **changes: object) -> Step:
    groups = {"tensor": Group(2), "data": Group(4, 2), "pipeline": Group(2, 8)}
    whole = Step("by hand", "test", 8 * len(chunks), len(chunks), 1, 1, chunks, groups)
    return replace(whole, **changes)  # type: ignore[arg-type]


def exposed(result: StepResult) -> dict[str, float]:
    return {use.group: use.exposed_ps for use in result.collectives}


def test_one_stage_by_hand() -> None:
    chunk = Chunk(
        "all",
        (compute(10_000), collective(3_000)),
        (compute(20_000), collective(3_000)),
        gathers=(collective(6_000, "data"),),
        buckets=(Bucket(1, collective(11_000, "data")), Bucket(2, collective(1_000, "data"))),
        update=(compute(7_000),),
    )
    result = simulate(step(chunk), PLAIN, BY_HAND)
    # Parameters 10,000; forwards 15,000; backwards 25,000, of which the last 5,000 hide a part of the first bucket's
    # 15,000; the second bucket 5,000; update 7,000.
    assert result.step_ps == 10_000 + 15_000 + 25_000 + 10_000 + 5_000 + 7_000
    assert result.compute_ps == 37_000
    assert exposed(result) == {"tensor": 10_000, "data": 10_000 + 15_000}
    assert result.idle_ps == 0
    after = simulate(step(chunk, overlap_data=False), PLAIN, BY_HAND)
    assert after.step_ps == result.step_ps + 5_000


def test_two_stages_by_hand() -> None:
    first = Chunk("first", (compute(10_000),), (compute(20_000),))
    last = Chunk("last", (compute(10_000),), (compute(20_000),))
    send = Operation("activations", "send", 1_000, "pipeline")
    result = simulate(step(first, last, send=send, microbatches=2), PLAIN, BY_HAND)
    # Of the last stage: 13,000 until the first microbatch is there, then two of 30,000; then 3,000 back and 20,000.
    assert result.step_ps == 13_000 + 60_000 + 3_000 + 20_000
    assert [line.compute_ps for line in result.lines] == [60_000, 60_000]
    # The last stage waits for one message, the first for two.
    assert exposed(result) == {"pipeline": 9_000 / 2}
    blocked = simulate(step(first, last, send=send, microbatches=2, overlap_pipeline=False), PLAIN, BY_HAND)
    assert blocked.step_ps > result.step_ps


def test_overlapped_communication_stands_out_where_it_is_longer() -> None:
    hidden = Chunk("all", (compute(10_000), collective(8_000, overlapped=True)), ())
    assert simulate(step(hidden), PLAIN, BY_HAND).step_ps == 10_000
    longer = Chunk("all", (compute(10_000), collective(18_000, overlapped=True)), ())
    result = simulate(step(longer), PLAIN, BY_HAND)
    assert result.step_ps == 20_000
    assert exposed(result) == {"tensor": 10_000}


MODEL = Model(8, 1024, Attention(16, 4, 64, 64), 4096, 32000, 2048)
MOE = replace(MODEL, experts=Experts(16, 2, 512, shared=1, dense_layers=1))
ACCELERATOR = Accelerator(10**15, 0.5, 2**40, 3 * 10**12)


@st.composite
def jobs(draw: st.DrawFn) -> Job:
    tensor, context = draw(st.sampled_from([1, 2, 4])), draw(st.sampled_from([1, 2]))
    pipeline = draw(st.sampled_from([1, 2, 4]))
    interleaving = draw(st.sampled_from([1, 2])) if pipeline > 1 else 1
    model = draw(st.sampled_from([MODEL, MOE]))
    sequence = tensor > 1 and (model is MOE or draw(st.booleans()))
    data = draw(st.sampled_from([1, 2, 4]))
    expert = draw(st.sampled_from([1, 2, 4])) if model is MOE else 1
    if tensor * context * data % expert:
        expert = 1
    plan = Parallelism(tensor, context, data, pipeline, expert, interleaving, draw(st.integers(0, 3)), sequence)
    kinds = st.sampled_from(["tensor", "context", "expert", "data", "pipeline"])
    return Job(
        "drawn", model, plan, data * pipeline * draw(st.integers(1, 3)), 1, ACCELERATOR,
        draw(st.sampled_from(["bf16", "fp32", "fp8"])), draw(st.sampled_from(["none", "selective", "full"])),
        draw(st.frozensets(kinds)),
    )  # fmt: skip


def check_sums(result: StepResult) -> None:
    for line in result.lines:
        assert line.compute_ps + line.exposed_ps + line.idle_ps == result.step_ps
        assert min(line.compute_ps, line.exposed_ps, line.idle_ps) >= 0
    assert sum(use.exposed_ps for use in result.collectives) == pytest.approx(result.exposed_ps)
    for use in result.collectives:
        assert 0 <= use.exposed_ps <= use.time_ps * (1 + 1e-9) or use.kind == "send"


@settings(deadline=None, max_examples=60)
@given(jobs())
def test_time_adds_up_and_operations_are_all_done(job: Job) -> None:
    whole = compose(job)
    result = simulate(whole, DOMAINS, BY_HAND)
    check_sums(result)
    done = job.microbatches * sum(
        operation.amount
        for chunk in whole.chunks
        for operation in (*chunk.forward, *chunk.backward)
        if operation.kind == COMPUTE
    )
    needed = job.model.training_flops() * job.global_batch * job.model.sequence
    repeated = 4 / 3 if job.recompute == "full" else 1.0  # all but the output layer is done once more
    ratio = done * job.parallelism.stage_ranks / needed
    assert ratio == pytest.approx(1, rel=1e-3) or 1 < ratio < repeated
    assert 0 < result.utilisation < 0.5


@settings(deadline=None, max_examples=25)
@given(jobs())
def test_a_better_fabric_is_never_slower(job: Job) -> None:
    whole = compose(job)
    good = simulate(whole, DOMAINS, StepOptions())
    check_sums(good)
    for options in (
        StepOptions(planes_lost=1),
        StepOptions(degraded={"scale-out": 0.5}),
        StepOptions(degraded={"scale-up/1": 0.25, "scale-out/2": 0.5}),
        StepOptions(slow={0: 1.5}),
    ):
        assert simulate(whole, DOMAINS, options).step_ps >= good.step_ps


def test_gradients_are_reduced_whole() -> None:
    plan = Parallelism(tensor=2, data=4, pipeline=2, zero=1)
    whole = compose(Job("job", MODEL, plan, 16, 1, ACCELERATOR))
    reduced = sum(bucket.operation.amount for chunk in whole.chunks for bucket in chunk.buckets)
    gathered = sum(operation.amount for chunk in whole.chunks for operation in chunk.gathers)
    parameters = (MODEL.parameters - MODEL.hidden) // 2
    assert (reduced, gathered) == (4 * parameters, 2 * parameters)
    plain = compose(Job("job", MODEL, replace(plan, zero=0), 16, 1, ACCELERATOR))
    kinds = {bucket.operation.kind for chunk in plain.chunks for bucket in chunk.buckets}
    assert kinds == {"all-reduce"}


def test_ends_without_layers_still_embed_and_put_out() -> None:
    """As Llama 3 has it: a layer for each virtual stage but the first and the last, which have the embedding and
    output.
    """
    plan = Parallelism(tensor=2, pipeline=5, interleaving=2, data=2)
    whole = compose(Job("job", MODEL, plan, 20, 1, ACCELERATOR, layout=(0, *[1] * 8, 0)))
    assert [chunk.name for chunk in whole.chunks[:2]] == ["no layers", "layers 0 to 0"]
    reduced = [sum(bucket.operation.amount for bucket in chunk.buckets) for chunk in whole.chunks]
    assert reduced[0] == reduced[-1] == 4 * MODEL.embedding_parameters // 2
    assert sum(reduced) == 4 * (MODEL.parameters - MODEL.hidden) // 2
    check_sums(simulate(whole, DOMAINS, BY_HAND))


def test_slow_accelerators_hold_up_their_stage_and_those_tied_to_them() -> None:
    plan = Parallelism(tensor=2, data=4, pipeline=2, expert=4)
    whole = compose(Job("job", MOE, plan, 16, 1, ACCELERATOR))
    # Experts tie four accelerators of a stage together: 0 to 3, 4 to 7; the second stage has 8 to 15.
    assert slow_stages(whole, StepOptions(slow={1: 2.0, 3: 3.0, 12: 1.5})) == [(1.0, 1.5), (3.0, 1.0)]
    assert slow_stages(whole, StepOptions(slow={1: 2.0, 9: 1.5})) == [(2.0, 1.5)]
    base = simulate(whole, DOMAINS, BY_HAND)
    slow = [{1: 2.0}, {12: 2.0}, {1: 2.0, 12: 2.0}, {1: 2.0, 9: 2.0}]
    first, second, apart, tied = (
        simulate(whole, DOMAINS, StepOptions(slow=each, collective=alpha_beta)).step_ps for each in slow
    )
    assert base.step_ps < min(first, second)
    assert apart == max(first, second) < tied  # different replicas: the slower of two, not their sum
    with pytest.raises(SuanwangError, match="the step uses 16"):
        simulate(whole, DOMAINS, StepOptions(slow={16: 2.0}))


def test_sharded_gradients_tie_replicas_in_every_pass() -> None:
    slow = StepOptions(slow={0: 2.0, 7: 3.0})
    for zero, expected in ((1, [(2.0,), (3.0,)]), (2, [(3.0,)]), (3, [(3.0,)])):
        whole = compose(Job("job", MODEL, Parallelism(tensor=2, data=4, zero=zero), 16, 1, ACCELERATOR))
        assert slow_stages(whole, slow) == expected


def test_backwards_gathers_what_ranks_have_kept_shares_of() -> None:
    """Korthikanti et al. (2023), section 4.2.2: an all-gather more than forwards, beside the first product."""
    for sequence, expected in (
        (True, {"all-gather": (1, 2), "reduce-scatter": (1, 1)}),
        (False, {"all-reduce": (1, 1)}),
    ):
        plan = Parallelism(tensor=2, sequence=sequence)
        (chunk,) = compose(Job("job", MODEL, plan, 1, 1, ACCELERATOR, layout=(8,))).chunks
        for direction, operations in enumerate((chunk.forward, chunk.backward)):
            parts = [one for one in operations if one.name.removeprefix("input of ") in ("attention", "feed-forward")]
            for kind, counts in expected.items():
                assert sum(one.kind == kind for one in parts) == 2 * 8 * counts[direction]
        beside = [one.name for one in chunk.backward if one.overlapped]
        assert len(beside) == (2 * 8 + 1) * sequence
        assert all(name.startswith("input of ") for name in beside)


def test_overlap_within_a_microbatch_is_told() -> None:
    plan = Parallelism(tensor=2, data=4, expert=4)
    noted = compose(Job("job", MOE, plan, 16, 1, ACCELERATOR, overlap=frozenset({"expert", "context", "data"})))
    assert [note for note in noted.notes if note.startswith("expert communication is taken to run beside")]
    assert not compose(Job("job", MOE, plan, 16, 1, ACCELERATOR)).notes


def test_what_is_lost_is_taken_from_the_networks() -> None:
    fabric = fabric_of(DOMAINS, StepOptions(planes_lost=1, degraded={"scale-out/2": 0.5, "scale-up": 0.1}))
    assert fabric.scale_out is not None
    assert fabric.scale_up is not None
    assert fabric.scale_out.planes == 1
    assert [tier.rate_bps for tier in fabric.scale_out.tiers] == [100 * GBPS, 200 * GBPS]
    assert fabric.scale_up.tiers[0].rate_bps == 360 * GBPS
    within = fabric_of(replace(PLAIN, per_server=8), StepOptions(server_bps=3600 * GBPS))
    assert within.domain == 8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"planes_lost": 2}, "of 2 planes, 2 can't be lost"),
        ({"planes_lost": -1}, "of 2 planes, -1 can't be lost"),
        ({"degraded": {"scale-sideways": 0.5}}, "no 'scale-sideways' to degrade"),
        ({"degraded": {"scale-out/9": 0.5}}, "no 'scale-out/9' to degrade"),
    ],
)
def test_impossible_failures(options: dict[str, object], message: str) -> None:
    with pytest.raises(SuanwangError, match=message):
        fabric_of(DOMAINS, StepOptions(**options))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"slow": {0: 0.5}}, "accelerator 0 takes 0.5 times as long"),
        ({"slow": {-1: 2.0}}, "accelerator -1 takes"),
        ({"slow": {0: float("nan")}}, "takes nan times"),
        ({"slow": dict.fromkeys(range(2000), 2.0)}, "2000 slow accelerators"),
        ({"degraded": {"scale-out": 0.0}}, "0.0 of the bandwidth"),
        ({"degraded": {"scale-out": 1.5}}, "1.5 of the bandwidth"),
    ],
)
def test_impossible_options(options: dict[str, object], message: str) -> None:
    with pytest.raises(SuanwangError, match=message):
        StepOptions(**options)  # type: ignore[arg-type]


def test_a_step_larger_than_the_design() -> None:
    whole = compose(Job("job", MODEL, Parallelism(data=256), 256, 1, ACCELERATOR))
    with pytest.raises(SuanwangError, match="for 256 accelerators, and the design has 128"):
        simulate(whole, DOMAINS, StepOptions())


def test_fields_and_text() -> None:
    plan = Parallelism(tensor=8, data=4, pipeline=4)
    result = simulate(compose(Job("job", MODEL, plan, 64, 1, ACCELERATOR)), DOMAINS, StepOptions())
    found = result.fields()
    assert found["step_ms"] == pytest.approx(
        found["compute_ms"] + found["exposed_communication_ms"] + found["bubble_ms"]
    )
    assert found["tokens_per_s"] == pytest.approx(64 * 2048 / found["step_ms"] * 1000)
    assert found["mfu"] == pytest.approx(
        MODEL.training_flops() * 64 * 2048 / (found["step_ms"] / 1000 * 128 * ACCELERATOR.peak_flops_per_s)
    )
    assert {(use["kind"], use["group"]) for use in found["collectives"]} == {
        ("all-gather", "tensor"), ("reduce-scatter", "tensor"), ("send", "pipeline"), ("reduce-scatter", "data"),
        ("all-gather", "data"),
    }  # fmt: skip
    text = result.text()
    assert "128 accelerators" in text
    assert "exposed: all-gather, tensor of 8" in text
    assert "memory of stage" in text
