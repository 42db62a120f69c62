"""The trial of a fabric: built from its own files, surveyed by LLDP, compared with FARE before and after every failure.

Nothing sleeps. Whether all weights are as computed is looked at when the kernels say that routes have changed, and the
time of the last change before they were is what convergence took. Routes must then stay as they are for `QUIET_S`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from suanwang.fabric.cabling.cables import Cable
from suanwang.lab import fabric_cabling
from suanwang.lab.fabric import FabricLab, Host, Progress
from suanwang.lab.fabric_cabling import Survey
from suanwang.lab.fabric_routes import RouteWatch, Weights, weights
from suanwang.lab.fabric_setting import Setting
from suanwang.lab.fabric_stream import Loss, Stream
from suanwang.lab.fabric_weights import Match, computed, match
from suanwang.model.errors import INVALID, SuanwangError

LIMIT_S = 60.0
"""How long routers may take until a failure, or the start, is dealt with. Sessions that come back take the longest."""
QUIET_S = 0.3
STUCK_S = 15.0
"""Routes that are not as computed, and have not changed for so long, will not change any more."""
DAEMONS = ("zebra", "staticd", "bgpd")


@dataclass(frozen=True, slots=True)
class Phase:
    """What followed a change: the weights at the end, how long routes changed for, what the stream lost meanwhile.

    `passing`: of what was healed, whether packets pass in every plane again.
    """

    name: str
    cables: tuple[Cable, ...]
    match: Match
    convergence_ms: float
    changes: int
    loss: Loss | None
    passing: bool = True

    @property
    def good(self) -> bool:
        """Whether all weights are as computed, and packets pass where they should."""
        return self.passing and not self.match.wrong


@dataclass(slots=True)
class Outcome:
    """Everything that a trial has found, step by step."""

    setting: Setting
    configured_ms: float = 0.0
    surveys: list[Survey] = field(default_factory=list)
    sessions: int = 0
    sessions_missing: tuple[str, ...] = ()
    sessions_differ: tuple[str, ...] = ()
    phases: list[Phase] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Whether everything is as listed and computed."""
        return (
            all(survey.comparison.clean for survey in self.surveys)
            and not self.sessions_missing
            and not self.sessions_differ
            and all(phase.good for phase in self.phases)
        )


def default_cuts(setting: Setting) -> list[str]:
    """One cable of a bundle, all cables between two switches, a whole switch, and, where there are several, a plane."""
    between = [cable for cable in setting.cables if cable.tier > 1]
    if not between:
        return []
    first = between[0]
    found = [f"{first.a_device}:{first.a_port}", f"{first.a_device}/{first.b_device}", first.b_device]
    parallel = [cable for cable in between if (cable.a_device, cable.b_device) == (first.a_device, first.b_device)]
    if len(parallel) == 1:
        found = found[1:]
    return [*found, "plane0"] if len({cable.plane for cable in between}) > 1 else found


def far_hosts(setting: Setting) -> tuple[str, str, list[tuple[str, str]]]:
    """Two hosts that reach each other through the fabric in the most planes, and their addresses in each of these.

    Raises:
        SuanwangError: INVALID where no two do.
    """
    reached, hosts = computed(setting), setting.hosts
    best: tuple[str, str, list[tuple[str, str]]] = ("", "", [])
    for here, there in ((here, there) for here in hosts for there in reversed(hosts) if here is not there):
        found = dict(_reaching(setting, reached, here, there))
        if len(found) > len(best[2]):
            best = (here.name, there.name, [found[plane] for plane in sorted(found)])
    if not best[2]:
        raise SuanwangError(INVALID, "no two hosts reach each other", hint="join two leaves with hosts by a spine")
    return best


def _reaching(
    setting: Setting, reached: Mapping[tuple[str, str], Weights], here: Host, there: Host
) -> Iterator[tuple[int, tuple[str, str]]]:
    """Plane, and the addresses of both hosts in it, wherever their leaves have routes to each other."""
    for own, _, _ in here.ports.values():
        for far, _, _ in there.ports.values():
            ends = [setting.prefix_of(address) for address in (own, far)]
            leaves = [setting.prefixes[prefix][0] for prefix in ends]
            if reached.get((leaves[0], ends[1])) and reached.get((leaves[1], ends[0])):
                yield setting.plane_of(leaves[0]), (own.split("/")[0], far.split("/")[0])


def run(
    lab: FabricLab,
    setting: Setting,
    cuts: Sequence[str],
    miscabled: tuple[str, str] | None = None,
    progress: Progress = lambda text: None,
) -> Outcome:
    """Build the fabric in `lab` and try it. What was claimed stays: the caller removes it."""
    outcome = Outcome(setting)
    chosen = {word: setting.chosen(word) for word in cuts}
    lying = _lying(setting, miscabled)
    began = time.perf_counter()
    configurations = setting.configurations
    outcome.configured_ms = (time.perf_counter() - began) * 1000
    progress(f"{len(configurations)} switches, {len(setting.hosts)} hosts, {len(setting.cables)} cables")
    lab.wire([switch.name for switch in setting.switches], setting.hosts, lying)
    _survey(lab, setting, lying, outcome, progress)

    progress(f"FRR on {len(configurations)} switches")
    tried = _Trial(lab, setting, progress)
    with tried.watching():
        began = time.monotonic()
        daemons = [*DAEMONS, "bfdd"] if setting.options.bfd else DAEMONS
        lab.start_routers(configurations, daemons)
        outcome.phases.append(tried.settle("start", (), began))
    outcome.sessions, outcome.sessions_missing = fabric_cabling.established(lab, setting)
    outcome.sessions_differ = fabric_cabling.same_as_configured(setting, outcome.surveys[-1].discovery)
    outcome.phases += tried.failures(chosen)
    return outcome


def _lying(setting: Setting, miscabled: tuple[str, str] | None) -> tuple[Cable, ...]:
    if miscabled is None:
        return setting.cables
    picked = [setting.chosen(word) for word in miscabled]
    if any(len(cables) != 1 for cables in picked) or picked[0] == picked[1]:
        raise SuanwangError(
            INVALID, "two different cables can be exchanged", hint="name each by one of its ports, NODE:PORT"
        )
    return fabric_cabling.exchanged(setting.cables, picked[0][0], picked[1][0])


def _survey(lab: FabricLab, setting: Setting, lying: tuple[Cable, ...], outcome: Outcome, progress: Progress) -> None:
    """Survey the cabling; where it is wrong and can be mended, carry out what is to do and survey again."""
    outcome.surveys.append(found := fabric_cabling.survey(lab, setting))
    progress(f"LLDP: {len(found.comparison.right)} of {found.comparison.cables} cables are as listed")
    if found.comparison.remedies:
        for remedy in found.comparison.remedies:
            progress(f"to do: {remedy}")
        lab.rewire(*fabric_cabling.moved(lying, fabric_cabling.mended(lying, found.comparison)))
        lab.address(setting.hosts)
        outcome.surveys.append(found := fabric_cabling.survey(lab, setting))
        progress(f"done; LLDP: {len(found.comparison.right)} of {found.comparison.cables} cables are as listed")


class _Trial:
    """Failures and repairs on a running fabric."""

    def __init__(self, lab: FabricLab, setting: Setting, progress: Progress) -> None:
        self._lab, self._setting, self._progress = lab, setting, progress
        self._namespaces = {switch.name: lab.namespace(switch.name) for switch in setting.switches}
        self._watch: RouteWatch | None = None

    @contextmanager
    def watching(self) -> Iterator[RouteWatch]:
        """Hear of changed routes for as long as the context lasts."""
        with RouteWatch(self._namespaces) as watch:
            self._watch = watch
            yield watch

    def failures(self, chosen: dict[str, tuple[Cable, ...]]) -> Iterator[Phase]:
        """Cut and heal each choice in turn, with a stream between two hosts that reach each other all the while."""
        if not chosen:
            return
        with self.watching(), self._stream() as stream:
            if not stream.flowing(everywhere=True):
                raise SuanwangError(
                    INVALID, "packets do not pass between the hosts in every plane", hint="look at the routers' logs"
                )
            for word, cables in chosen.items():
                for name, on in ((f"cut {word}", False), (f"heal {word}", True)):
                    yield self._changed(name, cables, on, stream)

    def _changed(self, name: str, cables: tuple[Cable, ...], on: bool, stream: Stream) -> Phase:
        assert self._watch is not None
        first, before, began = stream.mark(), self._watch.count, time.monotonic()
        self._lab.switch(cables, on)
        if not on:
            return self.settle(name, cables, began, before, lambda: stream.loss(first))
        # Kernels forget routes over a link that goes down, and nobody tells hosts again.
        self._lab.address(self._setting.hosts)
        phase = self.settle(name, (), began, before, lambda: stream.loss(first))
        if not (passing := stream.flowing(everywhere=True)):
            self._progress(f"{name}: packets do not pass in every plane")
        return replace(phase, passing=passing)

    def settle(
        self, name: str, cut: tuple[Cable, ...], began: float, before: int = 0, loss: Callable[[], Loss] | None = None
    ) -> Phase:
        """Wait until weights are as computed, and stay so; or, with what is wrong, until nothing changes any more.

        `began` and `before`: the time, and the number of changes, when that happened which is waited for.
        """
        assert self._watch is not None
        wanted = computed(self._setting, cut)
        deadline = time.monotonic() + LIMIT_S
        while True:
            seen = self._watch.count
            found = match(wanted, weights(self._namespaces))
            last = self._watch.last
            left_s = deadline - time.monotonic()
            # Quiet counts from before the routes were read: what came meanwhile has them read again.
            changed = self._watch.wait(seen, min(STUCK_S if found.wrong else QUIET_S, left_s)) > seen
            if left_s <= 0 or not changed:
                break
        took_ms = (last.at_s - began) * 1000 if last is not None and seen > before else 0.0
        phase = Phase(name, cut, found, took_ms, seen - before, loss() if loss else None)
        self._progress(f"{name}: {found.equal} of {len(found.pairs)} weights as computed, {took_ms:.0f} ms")
        return phase

    def _stream(self) -> Stream:
        one, other, pairs = far_hosts(self._setting)
        return Stream(self._lab.namespace(one), self._lab.namespace(other), pairs)
