"""The workload text of ASTRA-sim 1.0, and of SimAI, whose AICB writes more into its first line.

    HYBRID_TRANSFORMER_FWD_IN_BCKWD model_parallel_NPU_group: 2 ep: 16 pp: 12 vpp: 8 ga: 24 all_gpus: 9216 pp_comm: 2048
    1789
    NAME -1 TIME TYPE BYTES TIME TYPE BYTES TIME TYPE BYTES DELAY

First line: the policy and its degrees; second: how many layers; then one a line, with time, collective and bytes
forwards, of the gradient of its input and of that of its weights, and a delay after each collective. Times are
cycles of 1 ns. Layers go forwards one by one and wait for their collectives; backwards too, but those of weights
run beside. An AICB file holds all `ga` microbatches of one pipeline stage in a row.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from suanwang.fabric.collectives.group import Group
from suanwang.fabric.workload.operations import COMPUTE, Bucket, Chunk, Operation, Step
from suanwang.fabric.workload.step import MOST_PASSES
from suanwang.model.errors import INVALID, Place, SuanwangError
from suanwang.model.reading import TOO_LARGE
from suanwang.model.registry import nearest

POLICIES = {
    "DATA": ("none", "none", "all"),
    "MODEL": ("all", "all", "none"),
    "MICRO": ("none", "none", "all"),
    "HYBRID_TRANSFORMER": ("tensor", "tensor", "data"),
    "HYBRID_TRANSFORMER_FWD_IN_BCKWD": ("tensor", "tensor", "data"),
    "HYBRID_DATA_MODEL": ("domain", "domain", "domains"),
    "HYBRID_MODEL_DATA": ("domains", "domains", "domain"),
    "DISTRIBUTED_INFERENCE": ("all", "all", "none"),
}
"""For each policy, the groups of collectives forwards, of inputs' and of weights' gradients."""
CUSTOMIZED = "HYBRID_CUSTOMIZED"
"""With this policy, every layer names its own at the end of its line."""

TYPES = {
    "ALLREDUCE": "all-reduce",
    "ALLGATHER": "all-gather",
    "REDUCESCATTER": "reduce-scatter",
    "ALLTOALL": "all-to-all",
    "BROADCAST": "broadcast",
}
SUFFIXES = {"": "", "_EP": "expert", "_DP_EP": "expert-data"}
DEGREES = ("model_parallel_NPU_group", "ep", "pp", "vpp", "ga", "all_gpus", "pp_comm", "mode")
ALSO = {"expert_parallel_npu_group": "ep"}
"""Other names of degrees."""
INFERENCE = 1
"""The `mode` of texts that only go forwards."""
BY_CHAKRA = ("HYBRID_DLRM", "HYBRID_DLRM_ENHANCED")
"""Policies whose collectives run beside some layers only, which Chakra's converter writes out."""

CYCLE_PS = 1000
LARGEST_TEXT_BYTES = 256 * 2**20
MOST_LAYERS = 1_000_000
MOST_OPERATIONS = 10_000_000
LARGEST_NUMBER = 2**53
COLUMNS = 12


@dataclass(frozen=True, slots=True)
class Phase:
    """What a layer does in one of its three phases: it computes, then does a collective in a group."""

    compute_ps: int
    kind: str
    group: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Layer:
    """One line: forwards, the gradient of the input, the gradient of the weights; and the delay after a collective."""

    name: str
    forward: Phase
    inputs: Phase
    weights: Phase
    delay_ps: int

    @property
    def gathers(self) -> bool:
        """Whether there is an all-gather."""
        return any(one.kind == "all-gather" and one.size_bytes for one in (self.forward, self.inputs, self.weights))


@dataclass(frozen=True, slots=True)
class Layered:
    """A workload text. `degrees` are those that its first line gives; `checkpoints` and `initiators` number layers."""

    name: str
    file: str
    policy: str
    layers: tuple[Layer, ...]
    degrees: dict[str, int] = field(default_factory=dict)
    checkpoints: frozenset[int] = frozenset()
    initiators: frozenset[int] = frozenset()

    @property
    def from_aicb(self) -> bool:
        """Whether AICB wrote it: it adds to the first line, or (older) does no layer again where that is the policy."""
        again = self.policy == "HYBRID_TRANSFORMER_FWD_IN_BCKWD"
        return "all_gpus" in self.degrees or (again and not self.checkpoints and not self.initiators)

    @property
    def forwards_only(self) -> bool:
        """Whether it is inference."""
        return self.policy == "DISTRIBUTED_INFERENCE" or self.degrees.get("mode") == INFERENCE

    def step(self, accelerators: int, domain: int) -> Step:
        """The step on a design of that many accelerators, `domain` of them in a scale-up domain.

        Raises:
            SuanwangError: INVALID, with file and line, for degrees that fit neither each other nor the design.
        """
        get = self.degrees.get
        total, pipeline = get("all_gpus") or accelerators, get("pp") or 1
        if total > accelerators:
            raise self.fail(
                f"the step is for {total:,} accelerators, and the design has {accelerators:,}",
                "lower all_gpus, or enlarge the design",
            )
        groups = _groups(self, total, pipeline, domain)
        batches, chunks = get("ga") or 1, get("vpp") or 1
        notes = []
        if self.forwards_only:
            if pipeline > 1:
                raise self.fail(f"inference on {pipeline} stages is not simulated", "pp: 1")
            notes.append("inference: layers go forwards only")
        if not self.from_aicb and any(layer.gathers for layer in self.layers):
            notes.append("all-gathers name what each brings, as in ASTRA-sim; SimAI's MICRO texts mean the whole")
        if chunks > 1 and (pipeline < 2 or batches % pipeline):
            if pipeline > 1:
                notes.append(f"vpp {chunks} is left out: {batches} microbatches are no multiple of {pipeline} stages")
            chunks = 1
        if chunks > 1:
            notes.append(
                f"vpp {chunks} is taken as chunks of a stage; AICB writes a stage's layers there, however the job is "
                "interleaved: vpp: 1 simulates plain 1F1B"
            )
        if (passes := 2 * batches * pipeline * chunks) > MOST_PASSES:
            raise self.fail(
                f"{passes:,} passes; at most {MOST_PASSES:,} are simulated", "2 x ga x pp x vpp; lower one of them"
            )
        size = get("pp_comm") or 0
        send = Operation("activations", "send", size, "pipeline") if pipeline > 1 and size else None
        whole = _chunk(self, groups)
        rest = Chunk(whole.name, whole.forward, whole.backward)
        return Step(
            self.name, "SimAI" if self.from_aicb else "ASTRA-sim", total, pipeline, chunks, batches,
            (whole,) * pipeline + (rest,) * (pipeline * (chunks - 1)), groups, send, share=batches * chunks,
            notes=tuple(notes),
        )  # fmt: skip

    def fail(self, message: str, hint: str) -> SuanwangError:
        """An error in the first line."""
        return SuanwangError(INVALID, message, hint, Place(self.file, 1))

    @property
    def has_domains(self) -> bool:
        """Whether a collective takes place within scale-up domains, or between them."""
        phases = (phase for layer in self.layers for phase in (layer.forward, layer.inputs, layer.weights))
        return any(phase.group in ("domain", "domains") and phase.size_bytes for phase in phases)


def _groups(text: Layered, total: int, pipeline: int, domain: int) -> dict[str, Group]:
    tensor, expert = text.degrees.get("model_parallel_NPU_group") or 1, text.degrees.get("ep") or 1
    ranks = total // pipeline
    data = ranks // tensor
    if total % pipeline or ranks % tensor or data % expert:
        raise text.fail(
            f"{total} accelerators are not shared out by pp {pipeline}, "
            f"model_parallel_NPU_group {tensor} and ep {expert}",
            "pp times model_parallel_NPU_group times ep divides all_gpus",
        )
    domain = min(domain, total)
    if text.has_domains and (total % domain or domain == 1 < total):
        raise text.fail(
            f"{text.policy} splits {total:,} accelerators by scale-up domains, which have {domain} here",
            "it takes a design with a scale-up network, and an all_gpus that fills its domains",
        )
    across = total // domain
    sizes = {
        "all": (total, 1),
        "tensor": (tensor, 1),
        "data": (data, tensor),
        "expert": (expert, tensor),
        "expert-data": (data // expert, tensor * expert),
        "pipeline": (pipeline, ranks),
        "domain": (domain, 1),
        "domains": (across, domain),
    }
    return {name: Group(size, stride) for name, (size, stride) in sizes.items()}


def _chunk(text: Layered, groups: dict[str, Group]) -> Chunk:
    """All layers as one chunk; what weights wait for is reduced once."""

    def run(phase: Phase, layer: Layer) -> Iterator[Operation]:
        if phase.compute_ps:
            yield Operation(layer.name, COMPUTE, time_ps=phase.compute_ps)
        yield from send(phase, layer)

    def send(phase: Phase, layer: Layer) -> Iterator[Operation]:
        if phase.kind == "none" or not phase.size_bytes or groups[phase.group].size == 1:
            return
        size = phase.size_bytes
        if phase.kind == "all-gather" and not text.from_aicb:
            size *= groups[phase.group].size  # ASTRA-sim counts what each brings
        yield Operation(layer.name, phase.kind, size, phase.group, layer.delay_ps)

    forward: list[Operation] = []
    backward: list[Operation] = []
    buckets: list[Bucket] = []
    checkpoints = sorted(text.checkpoints)
    for layer in text.layers:
        forward += run(layer.forward, layer)
    for number in () if text.forwards_only else range(len(text.layers) - 1, -1, -1):
        layer = text.layers[number]
        if number in text.initiators:
            before = bisect_right(checkpoints, number)
            start = checkpoints[before - 1] if before else 0
            if len(backward) > MOST_OPERATIONS:
                raise SuanwangError(
                    TOO_LARGE, f"layers are done again more than {MOST_OPERATIONS:,} times",
                    "fewer checkpoint_initiates", Place(text.file, 1),
                )  # fmt: skip
            for again in text.layers[start:number]:
                backward += run(again.forward, again)
        backward += run(layer.inputs, layer)
        if layer.weights.compute_ps:
            backward.append(Operation(layer.name, COMPUTE, time_ps=layer.weights.compute_ps))
        buckets += [Bucket(len(backward), operation) for operation in send(layer.weights, layer)]
    return Chunk(f"{len(text.layers)} layers", tuple(forward), tuple(backward), buckets=tuple(buckets))


def read_simai(path: Path, progress: Callable[[float], None] | None = None) -> Layered:
    """The workload of a text.

    Raises:
        SuanwangError: INVALID or TOO_LARGE, with file and line.
    """
    if path.stat().st_size > LARGEST_TEXT_BYTES:
        raise SuanwangError(
            TOO_LARGE, f"more than {LARGEST_TEXT_BYTES >> 20} MiB of text", "split it", Place(str(path))
        )
    text = path.read_text("utf-8-sig", errors="replace")
    return _Reader(str(path), text.splitlines()).workload(path.stem, progress)


class _Reader:
    """Reads lines, and knows where it is when something is wrong."""

    def __init__(self, file: str, lines: list[str]) -> None:
        self.file, self.lines, self.number = file, lines, 0

    def fail(self, message: str, hint: str = "") -> SuanwangError:
        return SuanwangError(INVALID, message, hint, Place(self.file, self.number))

    def number_of(self, word: str, what: str) -> int:
        try:
            value = int(word) if word.lstrip("-").isdecimal() and len(word) < 20 else float(word)
        except ValueError:
            raise self.fail(f"{what} is {word[:40]!r}, and no number", "write a whole number") from None
        if not 0 <= value <= LARGEST_NUMBER or value != int(value):
            raise self.fail(f"{what} is {word[:40]}", f"it is a whole number from 0 to {LARGEST_NUMBER:,}")
        return int(value)

    def next(self, what: str) -> list[str]:
        if self.number >= len(self.lines):
            self.number = len(self.lines)
            raise self.fail(f"the text ends where {what} should be", "was it cut off?")
        self.number += 1
        return self.lines[self.number - 1].split()

    def workload(self, name: str, progress: Callable[[float], None] | None) -> Layered:
        policy, degrees, checkpoints, initiators = self.head()
        words = self.next("the number of layers")
        count = self.number_of(words[0] if len(words) == 1 else " ".join(words) or "''", "the number of layers")
        if not 1 <= count <= MOST_LAYERS:
            raise self.fail(f"{count:,} layers", f"from 1 to {MOST_LAYERS:,} are possible")
        layers = []
        for at in range(count):
            layers.append(self.layer(policy, at, count))
            if progress and at % 4096 == 0:
                progress(at / count)
        for number in range(self.number, len(self.lines)):
            if self.lines[number].strip():
                self.number = number + 1
                raise self.fail(f"a line after the last of {count} layers", "correct the number in the second line")
        if beyond := sorted(number for number in checkpoints | initiators if number >= count):
            self.number = 1
            raise self.fail(f"checkpoints name layer {beyond[0]:,}, of {count:,}", "layers count from 0")
        return Layered(name, self.file, policy, tuple(layers), degrees, checkpoints, initiators)

    def head(self) -> tuple[str, dict[str, int], frozenset[int], frozenset[int]]:
        words = self.next("the policy")
        known = (*POLICIES, CUSTOMIZED)
        if not words or words[0] not in known:
            word = words[0][:60] if words else ""
            hint = "Chakra's converter (Text) makes traces of it, which are" if word in BY_CHAKRA else ""
            raise self.fail(f"the policy {word!r} is not simulated", hint or nearest(word, known, "policies"))
        degrees: dict[str, int] = {}
        lists: dict[str, frozenset[int]] = {}
        at = 1
        while at < len(words):
            key = words[at].removesuffix(":")
            key = ALSO.get(key, key)
            if at + 1 >= len(words):
                raise self.fail(f"{key[:40]!r} has no number", "write NAME: NUMBER")
            value = self.number_of(words[at + 1], key[:40])
            at += 2
            if key in ("checkpoints", "checkpoint_initiates"):
                lists[key] = frozenset(self.number_of(word, f"a layer of {key}") for word in words[at : at + value])
                if len(words) < at + value:
                    raise self.fail(
                        f"{key} announces {value} layers, and {len(words) - at} follow", "correct the number"
                    )
                at += value
            elif key in degrees:
                raise self.fail(f"{key} stands twice", "remove one")
            elif key in DEGREES:
                degrees[key] = value
            else:
                raise self.fail(f"there is no degree {key[:40]!r}", nearest(key[:40], DEGREES, "degrees"))
        if not degrees.get("all_gpus", 1):
            raise self.fail("all_gpus is 0", "a step needs accelerators")
        return words[0], degrees, lists.get("checkpoints", frozenset()), lists.get("checkpoint_initiates", frozenset())

    def layer(self, policy: str, at: int, count: int) -> Layer:
        words = self.next(f"layer {at + 1} of {count}")
        columns = COLUMNS + (policy == CUSTOMIZED)
        if len(words) != columns:
            raise self.fail(
                f"layer {at + 1} of {count} has {len(words)} columns, not {columns}",
                "name, -1, three times (time, collective, bytes), delay" + (", policy" if columns > COLUMNS else ""),
            )
        if policy == CUSTOMIZED:
            if words[-1] not in POLICIES:
                raise self.fail(
                    f"the policy {words[-1][:60]!r} is not simulated", nearest(words[-1], POLICIES, "policies")
                )
            policy = words[-1]
        phases = []
        for place, (what, group) in enumerate(zip(("forward", "input", "weight"), POLICIES[policy], strict=True)):
            time, kind, size = words[2 + 3 * place : 5 + 3 * place]
            phases.append(
                Phase(
                    self.number_of(time, f"the {what} time") * CYCLE_PS,
                    *self.collective(kind, group),
                    self.number_of(size, f"the {what} bytes"),
                )
            )
        forward, inputs, weights = phases
        return Layer(words[0], forward, inputs, weights, self.number_of(words[11], "the delay") * CYCLE_PS)

    def collective(self, word: str, group: str) -> tuple[str, str]:
        """The kind and group of a collective: TYPE, TYPE_EP or TYPE_DP_EP, as AICB writes them."""
        if word == "NONE":
            return "none", "none"
        base, _, suffix = word.partition("_")
        if base not in TYPES or (suffix and f"_{suffix}" not in SUFFIXES):
            known = (*TYPES, *(f"{name}{end}" for name in TYPES for end in SUFFIXES if end), "NONE")
            raise self.fail(f"the collective {word[:40]!r} is not simulated", nearest(word[:40], known, "collectives"))
        if suffix:
            return TYPES[base], SUFFIXES[f"_{suffix}"]
        return ("none" if group == "none" else TYPES[base]), group
