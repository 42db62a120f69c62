"""A training step as operations: what every way of describing one is turned into, and all that the schedule knows.

A step has `stages` of a pipeline, each with `interleaving` chunks of layers, and `microbatches` that pass through them.
Chunk c of stage i is virtual stage c·stages + i; microbatches pass forwards through all virtual stages, then backwards.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from suanwang.fabric.collectives.group import Group
from suanwang.fabric.collectives.routing import Routing
from suanwang.fabric.workload.memory import Memory

COMPUTE = "compute"


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing that an accelerator does: it computes `amount` FLOPs, or a collective of `amount` bytes in `group`.

    `time_ps` is added to that, and all there is where a trace tells a time. `overlapped` collectives run beside
    the computing of their pass; the others stop it.
    """

    name: str
    kind: str
    amount: int = 0
    group: str = ""
    time_ps: int = 0
    overlapped: bool = False


@dataclass(frozen=True, slots=True)
class Bucket:
    """Gradients that are reduced once they are whole: after the first `after` operations of the last backward pass."""

    after: int
    operation: Operation


@dataclass(frozen=True, slots=True)
class Chunk:
    """The layers of one virtual stage: what one microbatch does in each direction, and what is done once a step.

    `gathers` must be done before the chunk's first forward pass. `update` follows the reduction of its gradients.
    """

    name: str
    forward: tuple[Operation, ...]
    backward: tuple[Operation, ...]
    gathers: tuple[Operation, ...] = ()
    buckets: tuple[Bucket, ...] = ()
    update: tuple[Operation, ...] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """A step. Operations of passes are those of `share` microbatches together, each of which does an equal part of
    them.

    `send` carries activations, or their gradients, between neighbouring virtual stages. Without `overlap_data`,
    gradients are reduced after the last backward pass. Rates are of one accelerator; `tokens` and `model_flops` of
    the whole step.
    """

    name: str
    form: str
    accelerators: int
    stages: int
    interleaving: int
    microbatches: int
    chunks: tuple[Chunk, ...]
    groups: Mapping[str, Group]
    send: Operation | None = None
    overlap_data: bool = True
    overlap_pipeline: bool = True
    share: int = 1
    flops_per_s: int = 0
    peak_flops_per_s: int = 0
    tokens: int = 0
    model_flops: int = 0
    memory: Memory | None = None
    routing: Routing | None = None
    notes: tuple[str, ...] = ()
