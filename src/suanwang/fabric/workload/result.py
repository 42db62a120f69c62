"""What a step took, and what took it: for programs as fields, for people as text."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean as mean
from typing import Any

from suanwang.fabric.workload.memory import GIBIBYTE, Memory

MS = 10**9
"""Picoseconds of a millisecond."""
MOST_LANES_SHOWN = 16


@dataclass(frozen=True, slots=True)
class CollectiveUse:
    """All collectives of one kind in one sort of group, on the average accelerator.

    `time_ps` is how long they took, `exposed_ps` how much of that kept it from computing. `size_bytes` adds up what
    they were told to carry; `algorithm` is that of the largest.
    """

    kind: str
    group: str
    members: int
    count: float
    size_bytes: float
    time_ps: float
    exposed_ps: float
    algorithm: str


@dataclass(frozen=True, slots=True)
class Line:
    """What one stage (of a step) or rank (of a trace) spent its time with; adds up to the time of the step."""

    name: str
    compute_ps: int
    exposed_ps: int
    idle_ps: int


@dataclass(frozen=True, slots=True)
class StepResult:
    """A step's time and where it went. Where a rate or amount is not known (of a trace, say), it is 0."""

    name: str
    form: str
    accelerators: int
    step_ps: int
    lines: tuple[Line, ...]
    collectives: tuple[CollectiveUse, ...]
    tokens: int = 0
    model_flops: int = 0
    peak_flops_per_s: int = 0
    memory: Memory | None = None
    stages: int = 0
    notes: tuple[str, ...] = ()

    @property
    def compute_ps(self) -> float:
        """Computing, on the average accelerator."""
        return mean(line.compute_ps for line in self.lines)

    @property
    def exposed_ps(self) -> float:
        """Communication with nothing computed beside it, on the average accelerator."""
        return mean(line.exposed_ps for line in self.lines)

    @property
    def idle_ps(self) -> float:
        """Waiting for others, on the average accelerator: of a pipeline, its bubble."""
        return mean(line.idle_ps for line in self.lines)

    @property
    def utilisation(self) -> float:
        """Model FLOPs utilisation: operations that the model needs, of those that all accelerators could do
        meanwhile.
        """
        could = self.accelerators * self.peak_flops_per_s * self.step_ps / 10**12
        return self.model_flops / could if could else 0.0

    @property
    def tokens_per_s(self) -> float:
        """Tokens learnt from in a second."""
        return self.tokens * 10**12 / self.step_ps if self.step_ps else 0.0

    def fields(self) -> dict[str, Any]:
        """Stable fields for programs. Times in milliseconds, shares of the step."""
        whole = self.step_ps or 1
        found: dict[str, Any] = {
            "name": self.name,
            "form": self.form,
            "accelerators": self.accelerators,
            "step_ms": self.step_ps / MS,
            "compute_ms": self.compute_ps / MS,
            "exposed_communication_ms": self.exposed_ps / MS,
            "bubble_ms": self.idle_ps / MS,
            "exposed_communication_share": self.exposed_ps / whole,
            "bubble_share": self.idle_ps / whole,
            "collectives": [
                {
                    "kind": use.kind,
                    "group": use.group,
                    "members": use.members,
                    "count": round(use.count, 3),
                    "bytes": round(use.size_bytes),
                    "time_ms": use.time_ps / MS,
                    "exposed_ms": use.exposed_ps / MS,
                    "algorithm": use.algorithm,
                }
                for use in self.collectives
            ],
            "lines": [
                {
                    "name": line.name,
                    "compute_ms": line.compute_ps / MS,
                    "exposed_ms": line.exposed_ps / MS,
                    "idle_ms": line.idle_ps / MS,
                }
                for line in self.lines
            ],
            "notes": list(self.notes),
        }
        if self.tokens:
            found |= {"tokens": self.tokens, "tokens_per_s": self.tokens_per_s}
        if self.model_flops:
            found |= {"model_flops": self.model_flops, "mfu": self.utilisation}
        if self.memory:
            memory = {
                name: getattr(self.memory, name) / GIBIBYTE
                for name in ("parameters", "gradients", "optimizer", "activations", "total", "capacity")
            }
            found["memory_gib"] = {"stage": self.memory.stage, **memory}
        return found

    def text(self) -> str:
        """The same for people."""
        whole = self.step_ps or 1
        head = [f"{self.name}: {_time(self.step_ps)} a step on {self.accelerators:,} accelerators"]
        if self.tokens:
            head.append(f"{self.tokens_per_s:,.0f} tokens/s")
        if self.model_flops:
            head.append(f"MFU {self.utilisation:.1%}")
        rows = [["", "time", "share", "count", "bytes", "in flight", "algorithm"]]
        for name, part in (("computing", self.compute_ps), (self._idle, self.idle_ps)):
            rows.append([name, _time(part), f"{part / whole:.1%}", "", "", "", ""])
        for use in sorted(self.collectives, key=lambda use: -use.exposed_ps):
            rows.append(
                [
                    f"exposed: {use.kind}, {use.group} of {use.members}",
                    _time(use.exposed_ps),
                    f"{use.exposed_ps / whole:.1%}",
                    f"{use.count:,.4g}",
                    _bytes(use.size_bytes),
                    _time(use.time_ps),
                    use.algorithm,
                ]
            )
        parts = [", ".join(head), "", _table(rows)]
        if self.memory:
            parts += ["", f"memory of stage {self.memory.stage}: {_gib(self.memory)}"]
        shown = self.lines if len(self.lines) <= MOST_LANES_SHOWN else ()
        if len(shown) > 1:
            lines = [["", "computing", "exposed", "idle"]]
            lines += [[one.name, _time(one.compute_ps), _time(one.exposed_ps), _time(one.idle_ps)] for one in shown]
            parts += ["", _table(lines)]
        return "\n".join([*parts, *(["", *self.notes] if self.notes else [])])

    @property
    def _idle(self) -> str:
        return "bubble" if self.stages > 1 else "idle"


def _gib(memory: Memory) -> str:
    names = ("parameters", "gradients", "optimizer", "activations")
    parts = ", ".join(f"{name} {getattr(memory, name) / GIBIBYTE:.1f}" for name in names)
    return f"{memory.total / GIBIBYTE:.1f} of {memory.capacity / GIBIBYTE:.1f} GiB ({parts})"


def _time(picoseconds: float) -> str:
    for unit, factor in (("s", 10**12), ("ms", 10**9), ("us", 10**6)):
        if picoseconds >= factor:
            return f"{picoseconds / factor:,.2f} {unit}"
    return f"{picoseconds / 1000:,.1f} ns"


def _bytes(size: float) -> str:
    for unit, factor in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if size >= factor:
            return f"{size / factor:,.1f} {unit}"
    return f"{size:,.0f} B"


def _table(rows: list[list[str]]) -> str:
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
