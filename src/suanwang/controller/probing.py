"""Trying assertions with real packets: arm the answering ends, send from the sources, gather, compare with what was
expected.

Responders are armed on every node of the asked assertions before the first packet is sent, and disarm themselves by
expiry, so nothing stays behind when the controller dies in between.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from suanwang.controller.engine import Controller, ProbePlaces
from suanwang.model.errors import SuanwangError, code
from suanwang.model.reference import Key
from suanwang.program.wire import Armed, ArmResponders, ProbeResult, ProbeResults, RunProbes

AGENT_AWAY = code("AGENT_AWAY", "the node's agent is not connected, or did not answer in time")

MOST_AT_ONCE = 500
"""Assertions in one go to one agent. Agents try those of one go side by side."""
INTERVAL_US = 20_000
TIMEOUT_US = 1_000_000
ARM_TIMEOUT_S = 5.0
SPARE_S = 10.0
"""What an agent may take beyond the packets' own time."""


class Line(Protocol):
    """How to ask agents."""

    async def ask(self, node: str, message: ArmResponders | RunProbes, timeout_s: float) -> Armed | ProbeResults:
        """Send a request and wait for its answer. Raises AGENT_AWAY."""


@dataclass(frozen=True, slots=True)
class Probed:
    """What came of an assertion, and whether that is what was expected."""

    key: Key
    expect: str
    holds: bool
    result: ProbeResult


async def probe(
    controller: Controller,
    line: Line,
    assertions: Iterable[Key],
    *,
    count: int = 3,
    interval_us: int = INTERVAL_US,
    timeout_us: int = TIMEOUT_US,
) -> list[Probed]:
    """Try `assertions` (keys of Assertion resources), `count` packets or connections each; results in the given
    order."""
    keys = list(assertions)
    found = await asyncio.to_thread(lambda: [controller.probe_places(key) for key in keys])
    places = {key: place for key, place in zip(keys, found, strict=True) if place is not None}
    # One after the other in time, plus the last one's timeout; assertions of one agent may share its time.
    one_s = (count * (interval_us + timeout_us)) / 1e6
    trying_s = one_s + SPARE_S
    unarmed = await _arm(line, places.values(), trying_s + ARM_TIMEOUT_S)
    by_source: dict[str, list[ProbePlaces]] = {}
    for place in places.values():
        if place.assertion not in unarmed:
            by_source.setdefault(place.source, []).append(place)
    batches = [
        (node, tuple(place.assertion for place in group[start : start + MOST_AT_ONCE]))
        for node, group in by_source.items()
        for start in range(0, len(group), MOST_AT_ONCE)
    ]
    gathered = await asyncio.gather(
        *(_try(line, node, names, count, interval_us, timeout_us, trying_s) for node, names in batches)
    )
    results = {result.assertion: result for part in gathered for result in part}
    answer = []
    for key in keys:
        if key not in places:
            nowhere = "it is not compiled: see its conditions and those of the ports it names"
            answer.append(Probed(key, "", False, _failed(key.title, nowhere)))
            continue
        place = places[key]
        result = results.get(place.assertion) or _failed(
            place.assertion, unarmed.get(place.assertion, "no result came")
        )
        answer.append(Probed(key, place.expect, result.outcome == place.expect, result))
    return answer


async def _arm(line: Line, places: Iterable[ProbePlaces], duration_s: float) -> Mapping[str, str]:
    """Arm all responders; returns the assertions for which that failed, and why."""
    by_node: dict[str, list[str]] = {}
    for place in places:
        for node in place.responders:
            by_node.setdefault(node, []).append(place.assertion)

    async def arm(node: str, names: Sequence[str]) -> dict[str, str]:
        message = ArmResponders(secrets.token_hex(8), tuple(dict.fromkeys(names)), int(duration_s * 1e6))
        try:
            answer = await line.ask(node, message, ARM_TIMEOUT_S)
        except SuanwangError as problem:
            return dict.fromkeys(names, f"its answering end on {node}: {problem.message}")
        problems = answer.problems if isinstance(answer, Armed) else {}
        return {name: f"its answering end on {node}: {problem}" for name, problem in problems.items()}

    failed = await asyncio.gather(*(arm(node, names) for node, names in by_node.items()))
    return {name: problem for part in failed for name, problem in part.items()}


async def _try(
    line: Line, node: str, names: tuple[str, ...], count: int, interval_us: int, timeout_us: int, limit_s: float
) -> Sequence[ProbeResult]:
    message = RunProbes(secrets.token_hex(8), names, count, interval_us, timeout_us)
    try:
        answer = await line.ask(node, message, limit_s)
    except SuanwangError as problem:
        return [_failed(name, f"its sending end on {node}: {problem.message}") for name in names]
    return answer.results if isinstance(answer, ProbeResults) else ()


def _failed(assertion: str, detail: str) -> ProbeResult:
    return ProbeResult(assertion, "error", 0, 0, (), "", detail)
