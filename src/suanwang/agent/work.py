"""What the agent does to the node: it takes updates, brings the kernel to the program, keeps it there, and reports.

Everything here runs in one thread, one call after the other, and knows no network: `agent.agent` calls it when there
is something to do. The latest program wins: updates that came while the kernel was busy are merged first and applied
once.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import msgspec

from suanwang.agent.holding import BASE_MISMATCH, HASH_MISMATCH, Holding, Identity
from suanwang.agent.journal import event
from suanwang.agent.state import STATE_DIRECTORY
from suanwang.measure.figures import Recorder
from suanwang.measure.metrics import (
    AGENT_APPLY,
    AGENT_OBJECTS,
    AGENT_REFUSALS,
    AGENT_REPAIRS,
    AGENT_REVISION,
    AGENT_VERIFY,
)
from suanwang.model.errors import SuanwangError, code
from suanwang.program import wire
from suanwang.program.objects import AnyObject, Probe, Responder
from suanwang.program.text import line

APPLY_FAILED = code("APPLY_FAILED", "the node's kernel could not be brought to the program")

PROBLEM_LIMIT = 1000
"""Most problems named in one report; the counts are always of all."""

State = Literal["done", "pending", "failed"]

log = logging.getLogger("suanwang.agent.work")


class Outcome(Protocol):
    """What came of one object."""

    @property
    def state(self) -> State:
        """Done, pending or failed."""

    @property
    def reason(self) -> str:
        """A code; empty when done."""

    @property
    def message(self) -> str:
        """The same for people."""


class DataPlane(Protocol):
    """What the agent needs of a platform (`suanwang.linux.kernel.Kernel` is the one for Linux)."""

    def apply(self, wanted: Mapping[Identity, AnyObject], /) -> Mapping[Identity, Outcome]:
        """Bring the platform to exactly these objects; touch nothing that is already so. Says what came of each."""

    def verify(self) -> Mapping[Identity, Outcome]:
        """Put back what others changed since; says what came of each object that was not as it should be."""

    def listen(self, tell: Callable[[], None], /) -> None:
        """Have `tell` called, by any thread, when `verify` would find something; it may come seldom or never."""

    def clean_up(self) -> None:
        """Remove everything that this agent, or a predecessor of it, made."""

    def namespace(self, logical: str, /) -> str:
        """The real name of a program's namespace."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What to tell the controller. `greet`: say again what is held; `empty` as if it were nothing."""

    report: wire.Report | None = None
    refusals: tuple[wire.Refusal, ...] = ()
    greet: bool = False
    empty: bool = False


class Work:
    """The program, the data plane, and how far the one is in the other."""

    def __init__(
        self,
        holding: Holding,
        plane: DataPlane,
        figures: Recorder,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.holding = holding
        self._plane = plane
        self._figures = figures
        self._monotonic = monotonic
        self._outcomes: dict[Identity, Outcome] = {}
        self._trouble: tuple[tuple[str, str, str], ...] = ()
        self._apply_us = 0
        self._last: wire.Report | None = None

    @property
    def unfinished(self) -> bool:
        """Whether something failed or is pending, so that it is worth trying again."""
        return self._last is not None and bool(self._last.pending or self._last.failed)

    def adopt(self) -> wire.Report | None:
        """Take the program that a predecessor left on disk and apply it: what already stands is not touched.

        None when there is none: then nothing is known of what is wanted, and the node is left as it is.
        """
        try:
            if not self.holding.load():
                return None
        except SuanwangError as problem:
            event(log, logging.WARNING, "held-program-unusable", code=problem.code, reason=problem.message)
            return None
        return self._carry_out("adopted")

    def take(self, updates: Sequence[wire.Update]) -> Answer:
        """Merge updates in their order, apply the last program once, make it durable, then report it."""
        before = self.holding.held
        refusals: list[wire.Refusal] = []
        greet = empty = False
        for update in updates:
            try:
                self.holding.merge(update)
            except SuanwangError as problem:
                event(
                    log, logging.WARNING, "refused", revision=update.revision, code=problem.code, reason=problem.message
                )
                self._figures.add(AGENT_REFUSALS, code=problem.code)
                refusals.append(wire.Refusal(update.revision, problem.code, problem.message))
                # To ask again for what came whole and was wrong would only bring the same again.
                greet = greet or (problem.code in (BASE_MISMATCH, HASH_MISMATCH) and bool(update.base))
                empty = empty or problem.code == HASH_MISMATCH
        after = self.holding.held
        if after is before:
            return Answer(None, tuple(refusals), greet, empty)
        if after.hash == before.hash and not self._trouble:
            self._write()
            return Answer(self._reported(), tuple(refusals), greet, empty)
        return Answer(self._carry_out("applied"), tuple(refusals), greet, empty)

    def retry(self) -> wire.Report | None:
        """Apply the same program again because something of it failed. None when the outcome is as it was."""
        before = self._last
        return self._news(before, self._carry_out("tried-again"))

    def verify(self) -> wire.Report | None:
        """Have what others changed put back. None when there was nothing, or no program is held."""
        if not self.holding.held.hash:
            return None
        since = self._monotonic()
        try:
            found = self._plane.verify()
        except Exception as problem:
            return self._news(self._last, self._failed("verify", problem))
        self._figures.observe(AGENT_VERIFY, self._monotonic() - since)
        if not found:
            return None
        self._outcomes.update(found)
        repaired = sum(outcome.state == "done" for outcome in found.values())
        self._figures.add(AGENT_REPAIRS, repaired)
        for key, outcome in list(found.items())[:PROBLEM_LIMIT]:
            what = " ".join(map(str, key))
            event(log, logging.WARNING, "repaired", object=what, state=outcome.state, reason=outcome.message or "-")
        return self._reported(repaired)

    def listen(self, tell: Callable[[], None]) -> None:
        """`tell` is called, by any thread, when there is something to `verify` before its time."""
        self._plane.listen(tell)

    def clean_up(self) -> None:
        """Remove what was made on this node, and the held program."""
        self._plane.clean_up()
        self.holding.clear()
        event(log, logging.INFO, "cleaned-up")

    def namespace(self, netns: str) -> str:
        """The real name of a program's namespace."""
        return self._plane.namespace(netns)

    def _carry_out(self, name: str) -> wire.Report:
        """Apply the held program, write it, then report: a program is reported only once it would survive a crash."""
        objects = {key: item for key, item in self.holding.objects.items() if not isinstance(item, (Probe, Responder))}
        since = self._monotonic()
        try:
            self._outcomes = dict(self._plane.apply(objects))
        except Exception as problem:
            self._write()
            return self._failed("apply", problem)
        took = self._monotonic() - since
        self._apply_us = round(took * 1e6)
        self._figures.observe(AGENT_APPLY, took)
        self._trouble = ()
        self._write()
        report = self._reported()
        event(
            log,
            logging.INFO,
            name,
            revision=report.revision,
            hash=report.hash,
            done=report.done,
            pending=report.pending,
            failed=report.failed,
            apply_us=self._apply_us,
        )
        for what, reason, message in report.problems[:20]:
            event(log, logging.WARNING, "object-failed", object=what, reason=reason, message=message)
        return report

    def _write(self) -> None:
        try:
            self.holding.write()
        except OSError as problem:
            message = f"the program can't be kept on disk: {problem.strerror}"
            event(log, logging.ERROR, "not-written", code=STATE_DIRECTORY, reason=message)
            self._trouble = (("program", STATE_DIRECTORY, message),)

    def _failed(self, stage: str, problem: Exception) -> wire.Report:
        """The data plane as a whole refused: the agent lives on, says so, and tries again."""
        message = problem.message if isinstance(problem, SuanwangError) else f"{type(problem).__name__}: {problem}"
        reason = problem.code if isinstance(problem, SuanwangError) else APPLY_FAILED
        log.exception("%s failed", stage, extra={"fields": {"reason": message}})
        self._trouble = (("program", reason, message),)
        return self._reported()

    def _reported(self, repaired: int = 0) -> wire.Report:
        held = self.holding.held
        counts = Counter(outcome.state for outcome in self._outcomes.values())
        # Probes and responders are done as soon as they are held: the kernel sees them only when they are asked for.
        counts["done"] += sum(isinstance(item, (Probe, Responder)) for item in self.holding.objects.values())
        counts["failed"] += len(self._trouble)
        problems = list(self._trouble)
        for key, outcome in self._outcomes.items():
            if outcome.state != "done" and len(problems) < PROBLEM_LIMIT:
                item = self.holding.objects.get(key)
                text = line(item) if item is not None else " ".join(map(str, key))
                problems.append((text, outcome.reason, outcome.message))
        for state in ("done", "pending", "failed"):
            self._figures.set(AGENT_OBJECTS, counts[state], state=state)
        self._figures.set(AGENT_REVISION, held.revision)
        report = wire.Report(
            held.revision,
            held.hash,
            counts["done"],
            counts["pending"],
            counts["failed"],
            tuple(problems),
            repaired,
            self._apply_us,
        )
        self._last = report
        return report

    def _news(self, before: wire.Report | None, report: wire.Report) -> wire.Report | None:
        """The report, unless the one before said the same (but for how long it took)."""
        same = before is not None and msgspec.structs.replace(before, apply_us=report.apply_us, repaired=0) == report
        return None if same else report
