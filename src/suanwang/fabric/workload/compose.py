"""A job as operations: what every layer computes and sends, forwards and backwards, and what is done once a step.

Between two tensor-parallel parts the sequence is shared out over tensor ranks (Korthikanti et al., MLSys 2023): a
part begins with an all-gather and ends with a reduce-scatter. Ranks keep only their share of what a part works on, so
backwards that is gathered once more, beside the product that does not need it (their section 4.2.2). Without that, a
part ends with an all-reduce (Shoeybi et al., 2019). Context ranks gather keys and values (Llama 3, 2024, section
3.3.2). Tokens go to their experts and back by two all-to-alls (GShard, 2020). With ZeRO's stage 3, parameters are
gathered for every pass (FSDP, 2023).
"""

from __future__ import annotations

from dataclasses import replace

from suanwang.fabric.collectives.routing import Routing
from suanwang.fabric.workload.memory import Held, check, held
from suanwang.fabric.workload.model import BACKWARD
from suanwang.fabric.workload.operations import COMPUTE, Bucket, Chunk, Operation, Step
from suanwang.fabric.workload.plan import Job, Span

SMALLEST_BUCKET = 40_000_000
BUCKET_PER_RANK = 1_000_000
"""Parameters of a bucket of gradients: the greater of the first, and the second for each data rank (Megatron-LM's
rule).
"""

WITHIN_PASSES = ("tensor", "context", "expert")
"""Communication that a pass of the same microbatch needs: beside computing only where products are cut into pieces."""


def compose(job: Job) -> Step:
    """The step of a job.

    Raises:
        SuanwangError: OUT_OF_MEMORY, with the estimate.
    """
    memory, plan = check(job), job.parallelism
    chunks = tuple(_chunk(job, span) for span in job.chunks())
    split = plan.tensor if plan.sequence else 1
    boundary = job.rank_tokens * job.model.hidden * job.bytes_of.activation // split
    tokens = job.global_batch * job.model.sequence
    notes = []
    if job.model.attention.key_value_heads % plan.tensor and not job.model.attention.key_value_rank:
        notes.append(f"{plan.tensor} tensor ranks share {job.model.attention.key_value_heads} key-value heads")
    if beside := [kind for kind in WITHIN_PASSES if kind in job.overlap and kind in plan.groups()]:
        notes.append(f"{' and '.join(beside)} communication is taken to run beside computing of its own microbatch")
    return Step(
        name=job.name,
        form="TrainingStep",
        accelerators=plan.ranks,
        stages=plan.pipeline,
        interleaving=plan.interleaving,
        microbatches=job.microbatches,
        chunks=chunks,
        groups=plan.groups(),
        send=Operation("activations", "send", boundary, "pipeline") if plan.pipeline > 1 else None,
        overlap_data="data" in job.overlap,
        overlap_pipeline="pipeline" in job.overlap,
        flops_per_s=int(job.accelerator.peak_flops_per_s * job.accelerator.efficiency),
        peak_flops_per_s=job.accelerator.peak_flops_per_s,
        tokens=tokens,
        model_flops=tokens * job.model.training_flops(),
        memory=memory,
        routing=_routing(job),
        notes=tuple(notes),
    )


class _Work:
    """Makes the operations of one job's layers."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.model, self.plan, self.width = job.model, job.parallelism, job.bytes_of
        self.tokens = job.rank_tokens
        self.groups = job.parallelism.groups()
        self.hidden_bytes = self.tokens * job.model.hidden * self.width.activation

    def compute(self, name: str, flops_per_token: float) -> list[Operation]:
        amount = int(self.tokens * flops_per_token / self.plan.tensor)
        return [Operation(name, COMPUTE, amount)] if amount else []

    def collective(self, name: str, kind: str, amount: float, group: str) -> list[Operation]:
        if group not in self.groups or amount < 1:
            return []
        parallelism = "data" if group == "expert-data" else group
        return [Operation(name, kind, int(amount), group, overlapped=parallelism in self.job.overlap)]

    def enter(self, name: str) -> list[Operation]:
        return self.collective(name, "all-gather", self.hidden_bytes, "tensor") if self.plan.sequence else []

    def kept(self, name: str) -> list[Operation]:
        """Backwards, what the part began with, of which each tensor rank has kept its share."""
        return [replace(each, overlapped=True) for each in self.enter(f"input of {name}")]

    def leave(self, name: str) -> list[Operation]:
        kind = "reduce-scatter" if self.plan.sequence else "all-reduce"
        return self.collective(name, kind, self.hidden_bytes, "tensor")

    def attention(self, times: int) -> list[Operation]:
        """One layer's attention; `times` 1 forwards, 2 backwards."""
        sizes = self.model.attention
        own = max(sizes.query + sizes.value, sizes.key_values / self.plan.tensor)  # of one head at least
        shared = self.tokens * self.plan.context * own * self.width.activation
        exchange = self.collective("keys and values", "all-gather", shared, "context")
        if times == BACKWARD:
            exchange += self.kept("attention")
            exchange += self.collective("gradients of keys and values", "reduce-scatter", shared, "context")
        work = self.compute("attention", times * self.model.attention_flops())
        return [*self.enter("attention"), *exchange, *work, *self.leave("attention")]

    def feed_forward(self, layer: int, times: int) -> list[Operation]:
        dense = self.compute("feed-forward", times * self.model.dense_flops(layer))
        experts = self.model.experts
        if experts is None or not self.model.has_experts(layer):
            again = self.kept("feed-forward") if times == BACKWARD else []
            return [*self.enter("feed-forward"), *again, *dense, *self.leave("feed-forward")]
        if experts.shared:
            again = self.kept("shared experts") if times == BACKWARD else []
            dense = [*self.enter("shared experts"), *again, *dense, *self.leave("shared experts")]
        copies = self.tokens * experts.per_token * experts.imbalance * self.model.hidden / self.plan.tensor
        out = self.collective("to experts", "moe-dispatch", copies * self.width.dispatch, "expert")
        back = self.collective("from experts", "moe-combine", copies * self.width.activation, "expert")
        work = self.compute("experts", times * self.model.expert_flops(layer) * experts.imbalance)
        if times == BACKWARD:  # gradients take the same way, from the end
            out, back = back, out
        return [*dense, *out, *work, *back]

    def fetch(self, part: Held) -> list[Operation]:
        """With ZeRO's stage 3, the parameters of a layer, gathered anew for a pass."""
        return self._sharded("parameters", "all-gather", part, self.width.parameter) if self.plan.zero >= 3 else []

    def shed(self, part: Held) -> list[Operation]:
        """With stage 2, a layer's gradients are reduced after every pass: none is kept whole."""
        return self._sharded("gradients", "reduce-scatter", part, self.width.gradient) if self.plan.zero >= 2 else []

    def _sharded(self, name: str, kind: str, part: Held, width: int) -> list[Operation]:
        return [
            *self.collective(name, kind, part.dense * width, "data"),
            *self.collective(f"expert {name}", kind, part.experts * width, "expert-data"),
        ]

    def once(self, part: Held) -> list[Operation]:
        """What reduces these gradients at the end of a step."""
        kind = "all-reduce" if self.plan.zero == 0 else "reduce-scatter"
        return self._sharded("gradients", kind, part, self.width.gradient)

    def gathers(self, part: Held) -> list[Operation]:
        """With stages 1 and 2, the parameters that other ranks have updated, before they are used."""
        return self._sharded("parameters", "all-gather", part, self.width.parameter) if self.plan.zero in (1, 2) else []


def _chunk(job: Job, span: Span) -> Chunk:
    work = _Work(job)
    model, plan, layers = job.model, job.parallelism, span.layers
    table = Held(-(-model.embedding_parameters // plan.tensor), 0)
    forward: list[Operation] = []
    backward: list[Operation] = []
    buckets: list[Bucket] = []
    waiting = Held(0, 0)

    def reduce(least: int) -> None:
        nonlocal waiting
        if plan.zero < 2 and max(waiting.dense, waiting.experts) >= least:
            buckets.extend(Bucket(len(backward), each) for each in work.once(waiting))
            waiting = Held(0, 0)

    if span.first:
        forward += [*work.fetch(table), *work.leave("embedding")]
    for layer in layers:
        forward += [
            *work.fetch(held(job, Span(range(layer, layer + 1)))),
            *work.attention(1),
            *work.feed_forward(layer, 1),
        ]
    if span.last:
        own = Held(0, 0) if model.tied and span.first else table
        forward += [*work.fetch(table), *work.enter("output"), *work.compute("output", model.output_flops())]
        backward += [*work.fetch(table), *work.kept("output")]
        backward += [*work.compute("output", BACKWARD * model.output_flops()), *work.leave("output")]
        backward += work.shed(own)
        waiting = own
    for layer in reversed(layers):
        part = held(job, Span(range(layer, layer + 1)))
        again = [*work.attention(1), *work.feed_forward(layer, 1)] if job.recompute == "full" else []
        back = [*work.feed_forward(layer, BACKWARD), *work.attention(BACKWARD)]
        backward += [*work.fetch(part), *again, *back, *work.shed(part)]
        waiting = Held(waiting.dense + part.dense, waiting.experts + part.experts)
        reduce(_bucket(job))
    if span.first:
        backward += [*work.enter("embedding"), *work.shed(table)]
        waiting = Held(waiting.dense + table.dense, waiting.experts)
    reduce(1)
    whole = held(job, span)
    gathers = work.gathers(whole)
    name = f"layers {layers.start} to {layers.stop - 1}" if layers else "no layers"
    return Chunk(name, tuple(forward), tuple(backward), tuple(gathers), tuple(buckets), _update(job, whole))


def _routing(job: Job) -> Routing | None:
    experts = job.model.experts
    return Routing(experts.count, experts.per_token, experts.most_domains) if experts else None


def _bucket(job: Job) -> int:
    return max(SMALLEST_BUCKET, BUCKET_PER_RANK * job.parallelism.replicas)


def _update(job: Job, part: Held) -> tuple[Operation, ...]:
    """The optimiser reads gradients and its state, and writes state and parameters: bound by memory."""
    rate, plan, width = job.accelerator.memory_bytes_per_s, job.parallelism, job.bytes_of
    if not rate:
        return ()
    dense = part.dense / (plan.replicas if plan.zero else 1)
    experts = part.experts / (plan.expert_replicas if plan.zero else 1)
    touched = (dense + experts) * (width.gradient + 2 * width.state + width.parameter)
    return (Operation("optimiser", COMPUTE, time_ps=int(touched * 10**12 / rate)),)
