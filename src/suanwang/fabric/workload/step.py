"""The time of a training step on a fabric: passes through the pipeline, and gradients reduced beside them.

A pass takes its computing and the collectives that stop it; collectives that overlap make it longer only where they
take longer than all of that. At the end of a step gradients are reduced bucket by bucket, as backward passes finish
with them; then parameters are updated; the step ends when the last stage is done. With ZeRO, the gathering of
updated parameters belongs to the beginning of the next step, where forward passes wait for it; so it stands there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from suanwang.fabric.collectives.group import Cost
from suanwang.fabric.workload.costs import Costs, Networks, StepOptions, fabric_of
from suanwang.fabric.workload.operations import COMPUTE, Operation, Step
from suanwang.fabric.workload.result import CollectiveUse, Line, StepResult
from suanwang.fabric.workload.schedule import BACKWARD, FORWARD, Lane, Timing
from suanwang.fabric.workload.schedule import run as run_schedule
from suanwang.model.errors import INVALID, SuanwangError

MOST_PASSES = 4_000_000

Key = tuple[str, str]
"""Kind and group of collectives."""


@dataclass(slots=True)
class _Use:
    count: float = 0
    size_bytes: float = 0
    time_ps: float = 0
    exposed_ps: int = 0
    largest: tuple[int, str] = (0, "")


@dataclass(slots=True)
class _Pass:
    """One pass through a chunk: how long it takes, how much of it is computing, and what each collective has
    exposed.
    """

    duration: int = 0
    compute: int = 0
    exposed: dict[Key, int] = field(default_factory=dict)
    progress: list[int] = field(default_factory=lambda: [0])
    """Time passed after so many operations, of those that don't overlap."""


def simulate(
    step: Step, design: Networks, options: StepOptions, progress: Callable[[float], None] | None = None
) -> StepResult:
    """The time of a step, and where it goes. `progress` is told which share of the passes is done.

    Where accelerators are slow, every replica that has none is idle until the slowest are done; the result is of these.

    Raises:
        SuanwangError: INVALID for a step that does not fit the design.
    """
    fabric = fabric_of(design, options)
    if step.accelerators > fabric.accelerators:
        raise SuanwangError(
            INVALID,
            f"the step is for {step.accelerators:,} accelerators, and the design has {fabric.accelerators:,}",
            hint="lower a degree of parallelism, or enlarge the design",
        )
    passes = 2 * step.microbatches * len(step.chunks)
    if passes > MOST_PASSES:
        raise SuanwangError(
            INVALID, f"{passes:,} passes; at most {MOST_PASSES:,} are simulated", hint="raise batch.micro"
        )
    costs = Costs(fabric, options, step.routing)
    slow = slow_stages(step, options)
    found = [_Run(step, costs, factors, progress).result() for factors in slow]
    return max(found, key=lambda result: result.step_ps)


def slow_stages(step: Step, options: StepOptions) -> list[tuple[float, ...]]:
    """For each set of replicas that tie each other down: how many times longer each stage takes. Equal ones once.

    Members of a group that communicates in passes wait for its slowest in each; of experts, say, or of data with
    ZeRO's stages 2 and 3.
    """
    ranks = step.accelerators // step.stages
    operations = (each for chunk in step.chunks for each in (*chunk.forward, *chunk.backward))
    tying = (step.groups[name] for name in {each.group for each in operations if each.group})
    tied = max((group.stride * group.size for group in tying), default=1)
    stages: dict[int, dict[int, float]] = defaultdict(dict)
    for number, factor in options.slow.items():
        if number >= step.accelerators:
            raise SuanwangError(
                INVALID, f"accelerator {number} is slow, and the step uses {step.accelerators:,}", hint="number from 0"
            )
        stage, place = divmod(number, ranks)
        block = stages[place // tied]
        block[stage] = max(factor, block.get(stage, 1.0))
    found = {tuple(block.get(stage, 1.0) for stage in range(step.stages)) for block in stages.values()}
    return sorted(found) or [(1.0,) * step.stages]


class _Run:
    """One pipeline, from the first gather to the last update."""

    def __init__(
        self, step: Step, costs: Costs, slow: tuple[float, ...], progress: Callable[[float], None] | None
    ) -> None:
        self.step, self.costs, self.slow, self.progress = step, costs, slow, progress
        self.uses: dict[Key, _Use] = defaultdict(_Use)
        self.compute = [0] * step.stages
        self.exposed = [0] * step.stages

    def cost(self, operation: Operation) -> Cost:
        return self.costs.of(operation.kind, operation.amount, self.step.groups[operation.group])

    def time(self, operation: Operation, stage: int) -> int:
        """Picoseconds of an operation."""
        if operation.kind != COMPUTE:
            return self.cost(operation).time_ps + operation.time_ps
        flops = operation.amount * 10**12 // self.step.flops_per_s if self.step.flops_per_s else 0
        return int((flops + operation.time_ps) * self.slow[stage])

    def note(self, operation: Operation, times: float, time_ps: int, exposed_ps: int) -> None:
        """Adds a collective that is done `times` times to what is reported; times are of one."""
        use = self.uses[operation.kind, operation.group]
        use.count += times
        use.size_bytes += times * operation.amount
        use.time_ps += times * time_ps
        use.exposed_ps += exposed_ps
        if operation.amount > use.largest[0]:
            use.largest = operation.amount, self.cost(operation).algorithm

    def one_pass(self, operations: tuple[Operation, ...], stage: int) -> _Pass:
        found, beside = _Pass(), list[tuple[Operation, int]]()
        for operation in operations:
            taken = self.time(operation, stage) // self.step.share
            if operation.overlapped:
                beside.append((operation, taken))
            elif operation.kind == COMPUTE:
                found.compute += taken
            else:
                found.exposed[_key(operation)] = found.exposed.get(_key(operation), 0) + taken
            found.progress.append(found.progress[-1] + (0 if operation.overlapped else taken))
        found.duration = found.progress[-1]
        over = sum(taken for _, taken in beside) - found.duration
        if over > 0:  # the first of them hide behind what there is, the last stand out
            found.duration += over
            for operation, taken in reversed(beside):
                part = min(over, taken)
                found.exposed[_key(operation)] = found.exposed.get(_key(operation), 0) + part
                over -= part
        return found

    def passes(self) -> tuple[list[_Pass], list[_Pass]]:
        """Forward and backward passes of each virtual stage, and their part of what is reported."""
        step, found = self.step, (list[_Pass](), list[_Pass]())
        for at, chunk in enumerate(step.chunks):
            stage = at % step.stages
            for direction, operations in ((FORWARD, chunk.forward), (BACKWARD, chunk.backward)):
                one = self.one_pass(operations, stage)
                found[direction].append(one)
                self.compute[stage] += step.microbatches * one.compute
                self.exposed[stage] += step.microbatches * sum(one.exposed.values())
                for operation in operations:
                    if operation.kind != COMPUTE:
                        self.note(operation, step.microbatches / step.share, self.time(operation, stage), 0)
                for key, exposed in one.exposed.items():
                    self.uses[key].exposed_ps += step.microbatches * exposed
        return found

    def gathers(self, at: int, begin: int) -> int:
        """When the parameters of a virtual stage are there, if gathering them begins at `begin`."""
        for operation in self.step.chunks[at].gathers:
            taken = self.time(operation, at % self.step.stages)
            self.note(operation, 1, taken, 0)
            begin += taken
        return begin

    def result(self) -> StepResult:
        step = self.step
        forward, backward = self.passes()
        ready = [0] * len(step.chunks)
        for stage in range(step.stages):
            begin = 0
            for at in range(stage, len(step.chunks), step.stages):
                begin = ready[at] = self.gathers(at, begin)
            if not step.overlap_data:
                for at in range(stage, len(step.chunks), step.stages):
                    ready[at] = begin
        send = self.time(step.send, 0) if step.send else 0
        timing = Timing(
            ([one.duration for one in forward], [one.duration for one in backward]), send, ready, step.overlap_pipeline
        )
        total = 2 * step.microbatches * len(step.chunks)

        def tell(done: int) -> None:
            if self.progress:
                self.progress(done / total)

        lanes = run_schedule(step.stages, step.interleaving, step.microbatches, timing, tell)
        ends = [self._finish(stage, lane, backward) for stage, lane in enumerate(lanes)]
        return self._report(max(ends), lanes, send)

    def _finish(self, stage: int, lane: Lane, backward: list[_Pass]) -> int:
        """Reduces a stage's gradients, updates its parameters, and says when that is done."""
        step = self.step
        released: list[tuple[int, Operation]] = []
        for chunk, begin in enumerate(lane.last):
            at = chunk * step.stages + stage
            stretch = backward[at]
            for bucket in step.chunks[at].buckets:
                when = begin + min(stretch.progress[bucket.after], stretch.duration)
                if bucket.after == len(step.chunks[at].backward):
                    when = begin + stretch.duration
                released.append((when if step.overlap_data else lane.end, bucket.operation))
        free = 0
        for when, operation in sorted(released, key=lambda pair: pair[0]):
            taken = self.time(operation, stage)
            begin = max(when, free)
            free = begin + taken
            stands_out = max(0, free - max(begin, lane.end))
            self.note(operation, 1, taken, stands_out)
            self.exposed[stage] += stands_out
        end = max(lane.end, free)
        for at in range(stage, len(step.chunks), step.stages):
            for operation in step.chunks[at].update:
                taken = self.time(operation, stage)
                self.compute[stage] += taken
                end += taken
        return end

    def _report(self, end: int, lanes: list[Lane], send: int) -> StepResult:
        step = self.step
        lines = []
        gathering = sum(lane.gathering for lane in lanes)
        waited = self._spread_gathering(gathering)
        for stage, lane in enumerate(lanes):
            self.exposed[stage] += lane.sending + lane.gathering
            idle = end - self.compute[stage] - self.exposed[stage]
            lines.append(Line(f"stage {stage}", self.compute[stage], self.exposed[stage], idle))
        for key, part in waited.items():
            self.uses[key].exposed_ps += part
        if step.send:
            sent = 2 * step.microbatches * (len(step.chunks) - 1)
            self.note(step.send, sent, send, sum(lane.sending for lane in lanes))
        uses = [
            CollectiveUse(
                kind, group, step.groups[group].size, use.count / step.stages,
                use.size_bytes / step.stages, use.time_ps / step.stages, use.exposed_ps / step.stages,
                use.largest[1],
            )
            for (kind, group), use in self.uses.items()
        ]  # fmt: skip
        return StepResult(
            step.name, step.form, step.accelerators, end, tuple(lines), tuple(uses), step.tokens, step.model_flops,
            step.peak_flops_per_s, step.memory, step.stages, step.notes,
        )  # fmt: skip

    def _spread_gathering(self, gathering: int) -> dict[Key, int]:
        """What forward passes waited for parameters, over the collectives that gather them, by their time."""
        times: dict[Key, int] = defaultdict(int)
        for at, chunk in enumerate(self.step.chunks):
            for operation in chunk.gathers:
                times[_key(operation)] += self.time(operation, at % self.step.stages)
        total, left, found = sum(times.values()), gathering, dict[Key, int]()
        for key, taken in times.items():
            found[key] = min(left, -(-gathering * taken // total)) if total else 0
            left -= found[key]
        return found


def _key(operation: Operation) -> Key:
    return operation.kind, operation.group
