"""The description of a training step as people write it: YAML of kind TrainingStep, checked, as a `Job`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import gcd
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from suanwang.fabric.workload.model import Attention, Experts, Model
from suanwang.fabric.workload.plan import Accelerator, Job, Parallelism
from suanwang.model.errors import INVALID, ErrorList, Place, SuanwangError
from suanwang.model.reading import line_of, path_text
from suanwang.model.registry import Capability, Kind, Registry, Spec
from suanwang.model.resource import check
from suanwang.model.units import Rate, Ratio, Size, parse

FLOPS_UNITS = {"GFLOPS": 10**9, "TFLOPS": 10**12, "PFLOPS": 10**15, "EFLOPS": 10**18}
MEMORY_RATE_UNITS = {"GB/s": 10**9, "TB/s": 10**12}
MOST_LAYERS = 4096
LARGEST = 2**24
MOST_DEGREE = 2**24
MOST_MICROBATCHES = 2**20
SLOWEST_FLOPS = 10**9


def flops(text: object) -> int:
    """Operations per second. Raises ValueError that says what would be right; in no time nothing is computed."""
    if (found := parse(str(text), FLOPS_UNITS, "989TFLOPS")) < SLOWEST_FLOPS:
        raise ValueError(f"{text} is below 1GFLOPS; write 989TFLOPS, say")
    return found


def memory_rate(text: object) -> int:
    """Bytes per second. Raises ValueError that says what would be right."""
    return parse(str(text), MEMORY_RATE_UNITS, "3.35TB/s")


Flops = Annotated[int, BeforeValidator(flops)]
MemoryRate = Annotated[int, BeforeValidator(memory_rate)]
Count = Annotated[int, Field(ge=1, le=LARGEST)]
Degree = Annotated[int, Field(ge=1, le=MOST_DEGREE)]


class LatentSpec(Spec):
    """Multi-head latent attention."""

    key_value_rank: Count = Field(description="dimensions of the latent vector of keys and values")
    query_rank: int = Field(0, ge=0, le=LARGEST, description="dimensions of the latent vector of queries; 0 for none")
    rotary: int = Field(0, ge=0, le=LARGEST, description="of a head's key dimensions, those that all heads share")


class ExpertsSpec(Spec):
    """A mixture of experts in place of the feed-forward part."""

    count: Annotated[int, Field(ge=2, le=2**16)] = Field(description="routed experts of a layer")
    per_token: Count = Field(description="routed experts that a token visits")
    feed_forward: Count = Field(description="inner dimension of an expert")
    shared: int = Field(0, ge=0, le=1024, description="experts that every token visits")
    dense_layers: int = Field(0, ge=0, le=MOST_LAYERS, description="first layers that have no experts")
    imbalance: float = Field(1.0, ge=1, le=1000, description="load of the busiest accelerator over the mean")
    most_domains: int = Field(0, ge=0, le=2**20, description="scale-up domains that a token's experts are in; 0: any")


class ModelSpec(Spec):
    """A decoder-only transformer."""

    layers: Annotated[int, Field(ge=1, le=MOST_LAYERS)] = Field(description="layers")
    hidden: Count = Field(description="dimensions of a token between layers")
    heads: Count = Field(description="attention heads")
    key_value_heads: int = Field(0, ge=0, le=LARGEST, description="heads of keys and values; 0: as many as heads")
    head: int = Field(0, ge=0, le=LARGEST, description="dimensions of a head's queries; 0: hidden / heads")
    value: int = Field(0, ge=0, le=LARGEST, description="dimensions of a head's values; 0: as head")
    latent: LatentSpec | None = Field(None, description="multi-head latent attention")
    feed_forward: Count = Field(description="inner dimension of the dense feed-forward part")
    gated: bool = Field(True, description="three matrices (SwiGLU) instead of two")
    vocabulary: Count = Field(description="tokens there are")
    sequence: Count = Field(description="tokens of a sequence")
    causal: bool = Field(True, description="tokens attend to those before them only")
    tied: bool = Field(False, description="the output layer uses the embedding's matrix")
    experts: ExpertsSpec | None = Field(None, description="a mixture of experts")


class ParallelismSpec(Spec):
    """How the model is split."""

    tensor: Degree = Field(1, description="accelerators that share every layer")
    context: Degree = Field(1, description="accelerators that share a sequence in attention")
    data: int = Field(0, ge=0, le=MOST_DEGREE, description="replicas; 0: as many as the design has room for")
    pipeline: Degree = Field(1, description="stages that layers are dealt to")
    expert: Degree = Field(1, description="accelerators of a stage that experts are spread over")
    interleaving: Annotated[int, Field(ge=1, le=1024)] = Field(1, description="chunks of layers of each stage")
    zero: Literal[0, 1, 2, 3] = Field(1, description="stage of ZeRO")
    sequence: bool = Field(True, description="tensor ranks share out the sequence between tensor-parallel parts")
    layout: list[Annotated[int, Field(ge=0, le=MOST_LAYERS)]] = Field(
        default=[], max_length=MOST_LAYERS, description="layers of each virtual stage; left out: even"
    )


class BatchSpec(Spec):
    """Sequences of a step."""

    total: Count = Field(alias="global", description="sequences of a step")
    micro: Count = Field(1, description="sequences of a microbatch of one replica")


class AcceleratorSpec(Spec):
    """What computes."""

    peak: Flops = Field(description="operations per second at this precision, as in 989TFLOPS")
    efficiency: Ratio = Field(600_000, gt=0, description="of peak, what large matrix products reach")
    memory: Size = Field(gt=0, description="memory, as in 80GiB")
    memory_rate: MemoryRate = Field(
        0, description="to time the update of parameters, as in 3.35TB/s; left out: no time"
    )
    server_rate: Rate = Field(
        0, description="to the others of its server, for a design without scale-up network; left out: none"
    )


class TrainingStepSpec(Spec):
    """One training step."""

    model: ModelSpec
    parallelism: ParallelismSpec = Field(default_factory=ParallelismSpec)
    batch: BatchSpec
    accelerator: AcceleratorSpec
    precision: Literal["bf16", "fp16", "fp32", "fp8"] = Field("bf16", description="of matrix products")
    recompute: Literal["none", "selective", "full"] = Field(
        "none", description="what backward passes compute again: norms and activation functions, or whole layers"
    )
    overlap: list[Literal["tensor", "context", "expert", "data", "pipeline"]] = Field(
        default=["data", "pipeline"], max_length=5, description="communication that runs beside computing"
    )

    @model_validator(mode="after")
    def _together(self) -> TrainingStepSpec:
        model = self.model
        if not model.head and model.hidden % model.heads:
            raise ValueError(f"{model.heads} heads do not divide hidden {model.hidden}; give head, its dimensions")
        if model.heads % (model.key_value_heads or model.heads):
            raise ValueError(f"{model.key_value_heads} keyValueHeads do not divide {model.heads} heads; lower them")
        if model.latent and model.latent.rotary >= (model.head or model.hidden // model.heads):
            raise ValueError(f"rotary {model.latent.rotary} are all dimensions of a head; it is a part of them")
        if model.experts and model.experts.per_token > model.experts.count:
            raise ValueError(f"perToken {model.experts.per_token} is above count {model.experts.count}; lower it")
        return self


TRAINING_STEP = Kind(
    "TrainingStep",
    "infrastructure",
    TrainingStepSpec,
    "one step of training a transformer",
    "examples/fabric/workloads/dense-405b.yaml",
)


class Described:
    """A description that has been read; how many replicas there are may still depend on the design."""

    def __init__(self, document: Mapping[str, Any], file: str) -> None:
        resource = check(document, Registry([Capability("workload", (TRAINING_STEP,))]), file)
        if not isinstance(resource.spec, TrainingStepSpec):
            raise TypeError("the registry has another spec for TrainingStep")
        self.name = resource.key.name
        self._spec, self._document, self._file = resource.spec, document, file
        self.model = _model(resource.spec.model)
        if plain := list(self._complaints(self.job(0), False)):
            raise plain[0] if len(plain) == 1 else ErrorList(plain)

    def job(self, accelerators: int) -> Job:
        """The job on that many accelerators, unchecked; 0: with one replica where none is said."""
        spec, plan = self._spec, self._spec.parallelism
        each = plan.tensor * plan.context * plan.pipeline
        parallelism = Parallelism(
            plan.tensor, plan.context, plan.data or max(1, accelerators // each), plan.pipeline, plan.expert,
            plan.interleaving, plan.zero, plan.sequence and plan.tensor > 1,
        )  # fmt: skip
        accelerator = Accelerator(
            spec.accelerator.peak,
            spec.accelerator.efficiency / 10**6,
            spec.accelerator.memory,
            spec.accelerator.memory_rate,
            spec.accelerator.server_rate,
        )
        return Job(
            self.name, self.model, parallelism, spec.batch.total, spec.batch.micro, accelerator, spec.precision,
            spec.recompute, frozenset(spec.overlap), tuple(plan.layout),
        )  # fmt: skip

    def fitted(self, accelerators: int) -> Job:
        """The job on a design of that many accelerators.

        Raises:
            SuanwangError: INVALID, with file and line, for degrees that do not fit each other, the batch or the design.
        """
        job = self.job(accelerators)
        if problems := list(self._complaints(job, True)):
            raise problems[0] if len(problems) == 1 else ErrorList(problems)
        if job.parallelism.ranks > accelerators:
            raise self._complaint(
                ("parallelism",),
                f"{job.parallelism.ranks:,} accelerators are needed, and the design has {accelerators:,}",
                "lower a degree, or leave data out",
            )
        return job

    def _complaint(self, path: tuple[str, ...], message: str, hint: str) -> SuanwangError:
        where = ("spec", *path)
        return SuanwangError(
            INVALID, message, hint, Place(self._file, line_of(self._document, where), path_text(where))
        )

    def _complaints(self, job: Job, whole: bool) -> Iterator[SuanwangError]:
        """What does not fit together; `whole`: the number of replicas is known."""
        plan, model = job.parallelism, job.model
        virtual = plan.pipeline * plan.interleaving
        if model.attention.heads % plan.tensor:
            near = _divisor(model.attention.heads, plan.tensor)
            yield self._complaint(
                ("parallelism", "tensor"), f"{model.attention.heads} heads are not shared out by {plan.tensor}",
                f"the nearest that divides them is {near}",
            )  # fmt: skip
        if virtual > model.layers and not job.layout:
            yield self._complaint(
                ("parallelism", "pipeline"), f"{virtual} virtual stages for {model.layers} layers",
                f"pipeline times interleaving is at most {model.layers}",
            )  # fmt: skip
        if job.layout and (len(job.layout) != virtual or sum(job.layout) != model.layers):
            yield self._complaint(
                ("parallelism", "layout"),
                f"layout has {sum(job.layout)} layers in {len(job.layout)} stages, not {model.layers} in {virtual}",
                "one number for each of pipeline times interleaving stages, in the order that tokens pass them",
            )
        if model.sequence % (2 * plan.context) and plan.context > 1:
            yield self._complaint(
                ("parallelism", "context"), f"a sequence of {model.sequence} is not shared out by {plan.context}",
                "causal attention is balanced by two pieces each: twice context divides the sequence",
            )  # fmt: skip
        if model.sequence % plan.tensor and plan.sequence:
            yield self._complaint(
                ("parallelism", "tensor"), f"a sequence of {model.sequence} is not shared out by {plan.tensor}",
                "choose a degree that divides it, or sequence: false",
            )  # fmt: skip
        if model.experts is None and plan.expert > 1:
            yield self._complaint(("parallelism", "expert"), "the model has no experts", "leave expert out")
        if model.experts is not None:
            if plan.tensor > 1 and not plan.sequence:
                yield self._complaint(
                    ("parallelism", "sequence"), "experts with tensor parallelism need the sequence shared out",
                    "leave sequence out, or tensor: 1",
                )  # fmt: skip
            ranks = plan.stage_ranks if whole or self._spec.parallelism.data else 0
            if model.experts.count % plan.expert or ranks % plan.expert:
                near = _divisor(gcd(model.experts.count, ranks), plan.expert)
                yield self._complaint(
                    ("parallelism", "expert"),
                    f"expert {plan.expert} must divide the {model.experts.count} experts"
                    + (f" and the {ranks} accelerators of a stage" if ranks else ""),
                    f"the nearest that does is {near}",
                )
        yield from self._of_batch(job, whole)

    def _of_batch(self, job: Job, whole: bool) -> Iterator[SuanwangError]:
        plan = job.parallelism
        if not (whole or self._spec.parallelism.data):
            return
        each = plan.data * job.micro_batch
        if job.global_batch % each:
            nearest = max(1, round(job.global_batch / each)) * each
            yield self._complaint(
                ("batch", "global"),
                f"{job.global_batch} sequences are not shared out by {plan.data} replicas x micro {job.micro_batch}",
                f"the nearest that is: {nearest}",
            )
            return
        if job.microbatches > MOST_MICROBATCHES:
            yield self._complaint(
                ("batch", "global"), f"{job.microbatches:,} microbatches; at most {MOST_MICROBATCHES:,}", "raise micro"
            )
        if plan.interleaving > 1 and (plan.pipeline < 2 or job.microbatches % plan.pipeline):
            yield self._complaint(
                ("parallelism", "interleaving"),
                f"{job.microbatches} microbatches go through {plan.pipeline} interleaved stages in unequal rounds",
                "microbatches must be a multiple of pipeline, which is at least 2",
            )


def _divisor(number: int, near: int) -> int:
    """The divisor of a number that is nearest to `near`; of several, the least. 0 has all divisors."""
    if not number:
        return near
    found = {at for small in range(1, int(number**0.5) + 1) if number % small == 0 for at in (small, number // small)}
    return min(found, key=lambda one: (abs(one - near), one))


def _model(spec: ModelSpec) -> Model:
    query = spec.head or spec.hidden // spec.heads
    latent = spec.latent
    attention = Attention(
        spec.heads, spec.key_value_heads or spec.heads, query, spec.value or query,
        latent.query_rank if latent else 0, latent.key_value_rank if latent else 0, latent.rotary if latent else 0,
    )  # fmt: skip
    own = spec.experts
    experts = (
        Experts(
            own.count, own.per_token, own.feed_forward, own.shared, own.dense_layers, own.imbalance, own.most_domains
        )
        if own
        else None
    )
    return Model(
        spec.layers, spec.hidden, attention, spec.feed_forward, spec.vocabulary, spec.sequence, spec.gated, spec.causal,
        spec.tied, experts,
    )  # fmt: skip
