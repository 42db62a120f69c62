"""A job: a model, how it is split over accelerators, and the batch; and which accelerators form which groups.

Ranks are counted as the tensor rank first, then context, data and pipeline, and rank r is accelerator r. So tensor
groups are neighbours, which share a scale-up domain as long as there is room, and the stages of a pipeline are far
apart. Experts are spread over `expert` ranks that follow each other, across tensor, context and data ranks of one
stage; no expert is split ("MoE parallel folding", Liu et al., 2025). So each group is evenly spaced.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import accumulate

from suanwang.fabric.collectives.group import Group
from suanwang.fabric.workload.model import Model

"""Kinds of parallelism that communicate; those of them that a job overlaps run beside computing."""


@dataclass(frozen=True, slots=True)
class Parallelism:
    """Degrees of parallelism. `interleaving` is how many chunks of layers each pipeline stage holds.

    `zero` is the stage of ZeRO (Rajbhandari et al., SC 2020): over the data ranks it shards the optimiser's state
    (1), gradients too (2), parameters too (3). `sequence`: between tensor-parallel parts, tensor ranks share out
    the sequence.
    """

    tensor: int = 1
    context: int = 1
    data: int = 1
    pipeline: int = 1
    expert: int = 1
    interleaving: int = 1
    zero: int = 1
    sequence: bool = True

    @property
    def stage_ranks(self) -> int:
        """Accelerators of one pipeline stage."""
        return self.tensor * self.context * self.data

    @property
    def ranks(self) -> int:
        """Accelerators of the job."""
        return self.stage_ranks * self.pipeline

    @property
    def replicas(self) -> int:
        """Ranks that hold the same dense parameters: gradients are reduced over data and context ranks alike."""
        return self.context * self.data

    @property
    def expert_replicas(self) -> int:
        """Ranks that hold the same experts."""
        return self.stage_ranks // self.expert

    def groups(self) -> dict[str, Group]:
        """The groups of rank 0, one for each kind of parallelism; every rank is in groups that lie alike."""
        sizes = {
            "tensor": (self.tensor, 1),
            "context": (self.context, self.tensor),
            "expert": (self.expert, 1),
            "data": (self.replicas, self.tensor),
            "expert-data": (self.expert_replicas, self.expert),
            "pipeline": (self.pipeline, self.stage_ranks),
        }
        return {name: Group(size, stride) for name, (size, stride) in sizes.items() if size > 1}


@dataclass(frozen=True, slots=True)
class Accelerator:
    """What computes. `efficiency` is the share of `peak_flops_per_s` that large matrix products reach.

    `memory_bytes_per_s` times the update of parameters; 0 leaves it out. `server_bps` is what it sends to the others in
    its server, where the design has no scale-up network.
    """

    peak_flops_per_s: int
    efficiency: float
    memory_bytes: int
    memory_bytes_per_s: int = 0
    server_bps: int = 0


@dataclass(frozen=True, slots=True)
class Precision:
    """Bytes of a number: of parameters as products use them, activations, gradients, the optimiser's state, what
    goes to experts, and what feed-forward parts keep for backward passes.
    """

    parameter: int
    activation: int
    gradient: int
    state: int
    dispatch: int
    kept: int


PRECISIONS = {
    # Mixed precision with Adam: gradients, master parameters and two moments in 4 bytes each (ZeRO, section 3.1).
    "bf16": Precision(2, 2, 4, 12, 2, 2),
    "fp16": Precision(2, 2, 4, 12, 2, 2),
    "fp32": Precision(4, 4, 4, 8, 4, 4),
    # Products, dispatch and what is kept for them in one byte, all else as with bf16 (DeepSeek-V3, 2024, section 3.3).
    "fp8": Precision(1, 2, 4, 12, 1, 1),
}


@dataclass(frozen=True, slots=True)
class Span:
    """Layers in a row, as one virtual stage has them; the embedding stands before the first, the output behind the
    last.
    """

    layers: range
    first: bool = False
    last: bool = False


@dataclass(frozen=True, slots=True)
class Job:
    """All there is to know of a step. `global_batch` and `micro_batch` count sequences; `micro_batch` is of one
    replica.

    `recompute`: of what backward passes need, "selective" computes norms, activation functions and the heads of latent
    attention again (which counts as no time), "full" whole layers.
    """

    name: str
    model: Model
    parallelism: Parallelism
    global_batch: int
    micro_batch: int
    accelerator: Accelerator
    precision: str = "bf16"
    recompute: str = "none"
    overlap: frozenset[str] = field(default=frozenset({"data", "pipeline"}))
    layout: tuple[int, ...] = ()

    @property
    def bytes_of(self) -> Precision:
        """Bytes of a number, for each use."""
        return PRECISIONS[self.precision]

    @property
    def microbatches(self) -> int:
        """Microbatches that pass through each pipeline in a step."""
        return self.global_batch // (self.parallelism.data * self.micro_batch)

    @property
    def rank_tokens(self) -> int:
        """Tokens of a microbatch that a tensor group works on: a context rank's part of the sequences."""
        return self.micro_batch * self.model.sequence // self.parallelism.context

    def chunks(self) -> list[Span]:
        """The layers of each virtual stage: as `layout` says, or as even as can be, where the ends get fewer.

        The embedding stands before the first and the output layer behind the last, so these are the last to get one
        more.
        """
        stages = self.parallelism.pipeline * self.parallelism.interleaving
        counts = list(self.layout)
        if not counts:
            least, more = divmod(self.model.layers, stages)
            counts = [least] * stages
            inner = [*range(1, stages - 1), 0, stages - 1] if stages > 1 else [0]
            for stage in inner[:more]:
                counts[stage] += 1
        ends = accumulate(counts)
        return [
            Span(range(end - count, end), at == 0, at == stages - 1)
            for at, (end, count) in enumerate(zip(ends, counts, strict=True))
        ]
