"""Parameters, operations and memory of models, against what papers say of them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suanwang.fabric.workload.compose import compose
from suanwang.fabric.workload.memory import activation_bytes, check, estimate, held, in_flight
from suanwang.fabric.workload.model import Attention, Experts, Model
from suanwang.fabric.workload.plan import Accelerator, Job, Parallelism, Span
from suanwang.fabric.workload.schedule import FORWARD, order
from suanwang.model.errors import SuanwangError

LLAMA = Model(126, 16384, Attention(128, 8, 128, 128), 53248, 128256, 8192)
DEEPSEEK = Model(
    61,
    7168,
    Attention(128, 128, 192, 128, query_rank=1536, key_value_rank=512, rotary=64),
    18432,
    129280,
    4096,
    experts=Experts(256, 8, 2048, shared=1, dense_layers=3),
)
PLENTY = Accelerator(10**15, 0.5, 2**50)


def gpt(layers: int, hidden: int, heads: int, vocabulary: int, sequence: int, causal: bool = False) -> Model:
    head = hidden // heads
    attention = Attention(heads, heads, head, head)
    return Model(layers, hidden, attention, 4 * hidden, vocabulary, sequence, gated=False, causal=causal)


def test_parameters_of_published_models() -> None:
    assert LLAMA.parameters == 405_853_388_800  # the number in the model's card
    # The card's 671,026,419,200 has a bias for each expert of 58 layers, which balances loads and is not learnt.
    assert DEEPSEEK.parameters == 671_026_419_200 - 58 * 256
    assert DEEPSEEK.active_parameters == pytest.approx(37e9, rel=0.02)  # "37B activated", technical report, abstract


def test_operations_of_deepseek() -> None:
    """ "Insights into DeepSeek-V3" (ISCA 2025), table 4: 2,048 GPUs, 19.926 s for a step of 15,360 x 4,096 tokens."""
    step, tokens = 2048 * 19.926, 15360 * 4096
    assert replace(DEEPSEEK, causal=False).training_flops() * tokens / step == pytest.approx(432e12, rel=0.02)
    assert DEEPSEEK.training_flops() * tokens / step == pytest.approx(385e12, rel=0.02)


@given(st.integers(1, 100), st.integers(1, 64), st.integers(1, 64), st.integers(1, 10**6), st.integers(1, 10**5))
def test_operations_of_gpt(layers: int, heads: int, head: int, vocabulary: int, sequence: int) -> None:
    """Narayanan et al. (SC 2021), equation 3, without recomputation: 72slh²(1 + s/6h + V/12lh) for a sequence."""
    hidden = heads * head
    expected = 72 * layers * hidden**2 + 12 * layers * hidden * sequence + 6 * hidden * vocabulary
    assert gpt(layers, hidden, heads, vocabulary, sequence).training_flops() == expected


def job(model: Model, plan: Parallelism, batches: int = 16, **changes: object) -> Job:
    return replace(Job("job", model, plan, plan.data * batches, 1, PLENTY), **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("tensor", [1, 8])
def test_activations_of_gpt(tensor: int) -> None:
    """Korthikanti et al. (2023), table 2: 34sbh/t a layer; two bytes of these are dropout masks, which are not kept."""
    model = gpt(96, 12288, 96, 51200, 2048)
    plan = Parallelism(tensor=tensor, sequence=tensor > 1)
    assert activation_bytes(job(model, plan), 0) == 32 * 2048 * 12288 // tensor
    without = activation_bytes(job(model, replace(plan, sequence=False)), 0)
    assert without == 2048 * 12288 * (8 + 24 / tensor)


def test_memory_of_zero() -> None:
    """Rajbhandari et al. (2020), figure 1: of 7.5 billion parameters on 64 ranks, 12 bytes each are sharded first."""
    model = gpt(36, 4096, 32, 51200, 1024)
    plain = estimate(job(model, Parallelism(data=64, zero=0)))
    assert plain.parameters == 2 * model.parameters - 2 * (model.hidden)  # the last norm is not placed
    assert plain.optimizer == 6 * plain.parameters
    for zero, sharded in ((1, "optimizer"), (2, "gradients"), (3, "parameters")):
        found = estimate(job(model, Parallelism(data=64, zero=zero)))
        if sharded != "parameters":  # of which two layers stay whole while they are in use
            assert getattr(found, sharded) == pytest.approx(getattr(plain, sharded) / 64, rel=1e-6)
        assert found.total < plain.total
        plain = found


def test_a_tied_output_layer_has_a_table_of_its_own_on_another_stage() -> None:
    tied = replace(gpt(4, 1024, 16, 50000, 1024), tied=True)
    ends = [(Span(range(2), first=True), 1), (Span(range(2, 4), last=True), 1), (Span(range(4), True, True), 1)]
    for span, tables in ends:
        layers = sum(tied.dense_parameters(at) for at in span.layers)
        assert held(job(tied, Parallelism()), span).dense == layers + tables * tied.embedding_parameters
    apart = compose(job(tied, Parallelism(pipeline=2, data=4)))
    assert all(sum(one.operation.amount for one in chunk.buckets) > 4 * 50000 * 1024 for chunk in apart.chunks)
    together = compose(job(tied, Parallelism(data=4)))
    reduced = sum(one.operation.amount for chunk in together.chunks for one in chunk.buckets)
    assert reduced == 4 * (tied.parameters - tied.hidden)


@pytest.mark.parametrize(("vocabulary", "tied"), [(100, False), (10**6, False), (10**6, True)])
def test_whole_parameters_with_zero_3(vocabulary: int, tied: bool) -> None:
    """A layer and the next, or a table and the layer beside it, whichever are larger."""
    model = replace(gpt(4, 1024, 16, vocabulary, 1024), tied=tied)
    layer, table = model.dense_parameters(0), model.embedding_parameters
    shard = -(-2 * (4 * layer + (1 if tied else 2) * table) // 64)
    whole = estimate(job(model, Parallelism(data=64, zero=3))).parameters - shard
    assert whole == 2 * (layer + max(layer, table))


@given(st.integers(1, 8), st.integers(1, 4), st.integers(1, 4), st.data())
def test_microbatches_in_flight(stages: int, interleaving: int, rounds: int, data: st.DataObject) -> None:
    interleaving = 1 if stages == 1 else interleaving
    microbatches = stages * rounds
    stage = data.draw(st.integers(0, stages - 1))
    running = most = 0
    for direction, _, _ in order(stages, stage, interleaving, microbatches):
        running += 1 if direction == FORWARD else -1
        most = max(most, running)
    assert most == in_flight(stages, stage, interleaving, microbatches)


def test_a_job_without_room_is_refused() -> None:
    small = replace(PLENTY, memory_bytes=80 * 2**30)
    plan = Parallelism(tensor=8, data=4, pipeline=16)
    with pytest.raises(SuanwangError) as caught:
        check(job(LLAMA, plan, accelerator=small, global_batch=4 * 64))
    assert caught.value.code == "OUT_OF_MEMORY"
    assert "stage 1 would hold" in caught.value.message
    assert caught.value.hint == "it fits with recompute: selective"
    check(job(LLAMA, plan, accelerator=small, global_batch=4 * 64, recompute="selective"))
    with pytest.raises(SuanwangError, match="an accelerator of stage 0") as caught:
        check(job(LLAMA, Parallelism(), accelerator=small))
    assert "no single change is enough" in caught.value.hint


@given(
    st.sampled_from([1, 2, 4, 8]),
    st.sampled_from([1, 2]),
    st.integers(1, 6),
    st.integers(1, 4),
    st.sampled_from([1, 2, 4]),
)
def test_groups_share_out_all_ranks(tensor: int, context: int, data: int, pipeline: int, expert: int) -> None:
    if tensor * context * data % expert:
        expert = 1
    plan = Parallelism(tensor, context, data, pipeline, expert)
    for name, group in plan.groups().items():
        members = group.accelerators()
        assert members[-1] < plan.ranks
        if name != "pipeline":
            assert {int(rank) // plan.stage_ranks for rank in members} == {0}
        # Moved by less than the stride, and by whole groups, it meets every rank once.
        seen = sorted(
            int(member + block + place)
            for block in range(0, plan.ranks, group.stride * group.size)
            for place in range(group.stride)
            for member in members
        )
        assert seen == list(range(plan.ranks))


def test_layers_of_stages() -> None:
    plan = Parallelism(pipeline=16)
    sizes = [len(span.layers) for span in job(LLAMA, plan).chunks()]
    assert sizes == [7, *[8] * 14, 7]  # as Llama 3 has it: one layer less at either end (2024, section 3.3.2)
    assert [len(each.layers) for each in job(LLAMA, plan, layout=(6, *[8] * 15)).chunks()] == [6, *[8] * 15]
