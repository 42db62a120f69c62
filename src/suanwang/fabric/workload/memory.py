"""What an accelerator must hold: parameters, gradients, the optimiser's state, activations; and whether there is
room.

Activations are those of Korthikanti et al. ("Reducing activation recomputation in large transformer models", MLSys
2023, section 4), without dropout masks, and without attention scores, which FlashAttention (Dao et al., 2022) never
stores. Frameworks, communication buffers and fragmentation take more: some 5 to 10 %, not counted here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

from suanwang.fabric.workload.plan import Job, Span
from suanwang.model.errors import SuanwangError, code

OUT_OF_MEMORY = code("OUT_OF_MEMORY", "what is asked for needs more memory than there is")

GIBIBYTE = 2**30
LOSS_BYTES = 4
"""Logits are kept in 4 bytes for the loss."""


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes on the fullest accelerator, which is of pipeline stage `stage`."""

    stage: int
    parameters: int
    gradients: int
    optimizer: int
    activations: int
    capacity: int = 0

    @property
    def total(self) -> int:
        """All of it."""
        return self.parameters + self.gradients + self.optimizer + self.activations


@dataclass(frozen=True, slots=True)
class Held:
    """Parameters that one accelerator of a stage works with: `dense` ones (its tensor share), and routed `experts`."""

    dense: int
    experts: int


def held(job: Job, span: Span) -> Held:
    """Parameters of these layers on one accelerator, with embedding and output layer where they are there.

    A tied output layer has a copy of the table, unless the embedding is on the same stage.
    """
    model, plan, layers = job.model, job.parallelism, span.layers
    dense = sum(model.dense_parameters(at) for at in layers)
    dense += model.embedding_parameters * (span.first + (span.last and not (model.tied and span.first)))
    count = model.experts.count // plan.expert if model.experts else 0
    return Held(-(-dense // plan.tensor), count * sum(model.expert_parameters(at) for at in layers))


def activation_bytes(job: Job, layer: int) -> int:
    """Bytes that one microbatch leaves behind in a layer, on one accelerator, when whole layers are not recomputed."""
    model, plan, width = job.model, job.parallelism, job.bytes_of.activation
    attention, again = model.attention, job.recompute == "selective"
    inputs = (2 if again else 4) * model.hidden * width  # both norms', and both parts' behind them
    kept = model.matrices - again  # of the feed-forward part: all that products need, or what goes into the function
    projected = attention.heads * attention.query + attention.key_values
    if attention.key_value_rank and again:
        projected = attention.query_rank + attention.key_value_rank + attention.rotary
    inner = float(width * (projected + attention.heads * attention.value))
    routed = 0.0
    wide = model.feed_forward
    if model.experts is not None and model.has_experts(layer):
        experts = model.experts
        wide = experts.shared * experts.feed_forward
        copy = model.hidden + kept * experts.feed_forward
        routed = job.bytes_of.kept * experts.per_token * experts.imbalance * copy
    inner += job.bytes_of.kept * kept * wide
    split = plan.tensor
    return int(job.rank_tokens * (inputs / (split if plan.sequence else 1) + (inner + routed) / split))


def in_flight(stages: int, stage: int, interleaving: int, microbatches: int) -> int:
    """Passes forwards whose activations a stage holds at most: (microbatch, chunk) pairs (Narayanan et al., SC
    2021).
    """
    if interleaving == 1:
        return min(stages - stage, microbatches)
    return min(2 * (stages - stage - 1) + (interleaving - 1) * stages + 1, microbatches * interleaving)


def _gathered(job: Job, span: Span) -> int:
    """Parameters that ZeRO's stage 3 has whole at a time: of the layer (or table) at work, and the one behind it."""
    table = -(-job.model.embedding_parameters // job.parallelism.tensor)
    each = [held(job, Span(range(at, at + 1))) for at in span.layers]
    parts = [table] * span.first + [one.dense + one.experts for one in each] + [table] * span.last
    return max((a + b for a, b in pairwise([*parts, 0])), default=0)


def _stage(job: Job, stage: int, chunks: list[Span]) -> Memory:
    model, plan, width = job.model, job.parallelism, job.bytes_of
    own = chunks[stage :: plan.pipeline]
    parts = [held(job, chunk) for chunk in own]
    layers = [at for chunk in own for at in chunk.layers]
    shards = {"dense": plan.replicas, "experts": plan.expert_replicas}

    def stored(bytes_each: int, sharded_from: int) -> int:
        total = 0
        for kind, ranks in shards.items():
            count = sum(getattr(part, kind) for part in parts) * bytes_each
            total += -(-count // ranks) if plan.zero >= sharded_from else count
        return total

    parameters = stored(width.parameter, 3)
    if plan.zero >= 3:
        parameters += width.parameter * max(_gathered(job, chunk) for chunk in own)
    full = sum(activation_bytes(job, at) for at in layers)
    passes = in_flight(plan.pipeline, stage, plan.interleaving, job.microbatches)
    if job.recompute == "full":
        kept = job.rank_tokens * model.hidden * width.activation // (plan.tensor if plan.sequence else 1)
        largest = max((activation_bytes(job, at) for at in layers), default=0)
        activations = kept * len(layers) * passes // plan.interleaving + largest
    else:
        activations = full * passes // plan.interleaving
    if stage == plan.pipeline - 1:
        activations += job.rank_tokens * model.vocabulary * (width.activation + LOSS_BYTES) // plan.tensor
    return Memory(
        stage, parameters, stored(width.gradient, 2), stored(width.state, 1), activations, job.accelerator.memory_bytes
    )


def estimate(job: Job) -> Memory:
    """What the fullest accelerator holds. Stages at the front hold activations of more microbatches than those
    behind.
    """
    chunks = job.chunks()
    return max((_stage(job, stage, chunks) for stage in range(job.parallelism.pipeline)), key=lambda each: each.total)


def check(job: Job) -> Memory:
    """What the fullest accelerator holds.

    Raises:
        SuanwangError: OUT_OF_MEMORY with the estimate, and a change that would make it fit, if there is a simple one.
    """
    needed = estimate(job)
    if needed.total <= job.accelerator.memory_bytes:
        return needed
    parts = ", ".join(
        f"{name} {getattr(needed, name) / GIBIBYTE:.1f}"
        for name in ("parameters", "gradients", "optimizer", "activations")
    )
    raise SuanwangError(
        OUT_OF_MEMORY,
        f"an accelerator of stage {needed.stage} would hold {needed.total / GIBIBYTE:.1f} GiB "
        f"({parts}), and has {job.accelerator.memory_bytes / GIBIBYTE:.1f}",
        hint=next((f"it fits with {words}" for words, other in _changes(job) if _fits(other)), _MORE),
    )


_MORE = "no single change is enough: more tensor, pipeline or expert parallelism, and recompute: full"


def _fits(job: Job) -> bool:
    return estimate(job).total <= job.accelerator.memory_bytes


def _changes(job: Job) -> Iterator[tuple[str, Job]]:
    plan = job.parallelism
    if job.recompute == "none":
        yield "recompute: selective", replace(job, recompute="selective")
    for zero in range(plan.zero + 1, 4):
        yield f"zero: {zero}", replace(job, parallelism=replace(plan, zero=zero))
    if job.recompute != "full":
        yield "recompute: full", replace(job, recompute="full")
        for zero in range(plan.zero + 1, 4):
            other = replace(plan, zero=zero)
            yield f"recompute: full and zero: {zero}", replace(job, recompute="full", parallelism=other)
    if job.micro_batch > 1:
        yield "batch.micro: 1", replace(job, micro_batch=1)
    if job.model.experts is not None:
        for expert in range(plan.expert + 1, min(job.model.experts.count, plan.stage_ranks) + 1):
            if job.model.experts.count % expert == 0 and plan.stage_ranks % expert == 0:
                yield f"expert: {expert}", replace(job, parallelism=replace(plan, expert=expert))
    for times in (2, 4, 8):
        if plan.data % times == 0 and job.model.attention.heads % (plan.tensor * times) == 0:
            other = replace(plan, tensor=plan.tensor * times, data=plan.data // times)
            yield f"tensor: {other.tensor} and data: {other.data}", replace(job, parallelism=other)
    for times in (2, 4, 8):
        stages = plan.pipeline * times
        if plan.data % times == 0 and stages * plan.interleaving <= job.model.layers and not job.layout:
            other = replace(plan, pipeline=stages, data=plan.data // times)
            yield f"pipeline: {stages} and data: {other.data}", replace(job, parallelism=other)
