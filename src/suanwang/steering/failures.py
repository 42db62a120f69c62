"""What is lost when something fails: each cable and each shared-risk group, one after the other, the worst first."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from suanwang.model.errors import SuanwangError
from suanwang.model.registry import nearest
from suanwang.steering.answer import GREATEST, Answer
from suanwang.steering.certificate import ABOUT_ALL, check
from suanwang.steering.problem import BAD_PROBLEM, Bools, Floats, Network


@dataclass(frozen=True, slots=True)
class Scenario:
    """What fails together: a name, whether it is a `cable`, a `link` (one direction) or a `risk`, and the links."""

    name: str
    kind: str
    links: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """What is left after a failure. `lost`: of the value (0 or more where it got worse, whether the aim is to make it
    great or small); `lost_rate`: of the rate served; `hit`: the demands that get less; `cut_off`: the rate of those
    that get nothing any more; `broken`: rules that the new answer breaks, by its certificate.
    """

    scenario: Scenario
    value: float
    lost: float
    served: float
    lost_rate: float
    hit: int
    cut_off: float
    max_utilisation: float
    broken: int


def cables(network: Network) -> list[Scenario]:
    """Links with those that lead back: the first a>b with the first b>a, and so on; the rest alone."""
    between: dict[tuple[int, int], list[int]] = defaultdict(list)
    for link, (source, target) in enumerate(zip(network.source.tolist(), network.target.tolist(), strict=True)):
        between[source, target].append(link)
    found = []
    for (source, target), there in between.items():
        back = between.get((target, source), [])
        for number, link in enumerate(there):
            if number >= len(back):
                found.append(Scenario(network.names[link], "link", (link,)))
            elif source < target:
                pair = tuple(sorted((link, back[number])))
                found.append(Scenario(" and ".join(network.names[one] for one in pair), "cable", pair))
    return sorted(found, key=lambda one: one.links)


def single_links(network: Network) -> list[Scenario]:
    """Each link, one direction, alone."""
    return [Scenario(name, "link", (link,)) for link, name in enumerate(network.names)]


def risks(network: Network) -> list[Scenario]:
    """Each shared-risk group that has links."""
    owner = np.repeat(np.arange(len(network.source)), np.diff(network.risk_first))
    groups: dict[int, list[int]] = defaultdict(list)
    for risk, link in zip(network.risk_of.tolist(), owner.tolist(), strict=True):
        groups[risk].append(link)
    return [Scenario(name, "risk", tuple(groups[at])) for at, name in enumerate(network.risks) if groups[at]]


def busiest(scenarios: Sequence[Scenario], load: Floats, most: int) -> list[Scenario]:
    """The scenarios whose links carry most, in their order. Nothing is lost where nothing flows."""
    carried = np.array([load[list(one.links)].sum() for one in scenarios])
    kept = np.sort(np.argsort(-carried, kind="stable")[:most])
    return [scenarios[at] for at in kept.tolist()]


def losses(
    answer: Answer,
    scenarios: Sequence[Scenario],
    solve: Callable[[Bools], Answer],
    progress: Callable[[int, Scenario], None] = lambda done, scenario: None,
) -> tuple[list[Loss], Answer | None]:
    """What each failure costs, the worst first, and the answer after the worst. `solve` answers the same problem with
    these links (L,) failed, anew or by repair; `progress` hears how many are done and what comes next.

    Where the value is about demands that can be served, those that are cut off leave it: so they count before it.
    """
    before = answer.served
    links = len(answer.problem.network.source)
    already = answer.failed if len(answer.failed) else np.zeros(links, bool)
    found: list[Loss] = []
    worst: tuple[Any, Answer] | None = None

    def order(one: Loss) -> Any:
        stranded = one.cut_off if answer.problem.aim in ABOUT_ALL else 0.0
        return -stranded, -one.lost, -one.lost_rate, one.scenario.links

    for number, scenario in enumerate(scenarios):
        progress(number, scenario)
        failed = already.copy()
        failed[list(scenario.links)] = True
        after = solve(failed)
        lost = answer.value - after.value if answer.problem.aim in GREATEST else after.value - answer.value
        fewer = before - after.served
        loss = Loss(
            scenario=scenario,
            value=after.value,
            lost=_more_than_rounding(float(lost), abs(answer.value)),
            served=float(after.served.sum()),
            lost_rate=_more_than_rounding(float(fewer.sum()), float(before.sum())),
            hit=int((fewer > 1e-6 * answer.problem.demands.rate).sum()),
            cut_off=float(answer.problem.demands.rate[(before > 0) & (after.served <= 0)].sum()),
            max_utilisation=float(after.utilisation.max(initial=0.0)),
            broken=check(after, present=answer.allocation).broken,
        )
        found.append(loss)
        if worst is None or order(loss) < worst[0]:
            worst = order(loss), after
    return sorted(found, key=order), worst[1] if worst else None


def _more_than_rounding(value: float, of: float) -> float:
    return value if abs(value) > 1e-9 * of else 0.0


def failed_links(network: Network, words: Sequence[str]) -> Bools:
    """(L,) what words name: a link (`a>b`), both directions between two nodes (`a-b`), a group (`risk:NAME`), all links
    of a node (`node:NAME`). Raises BAD_PROBLEM.
    """
    failed = np.zeros(len(network.source), bool)
    for word in words:
        failed |= _named(network, word)
    return failed


def _named(network: Network, word: str) -> Bools:
    failed = np.zeros(len(network.source), bool)
    kind, _, name = word.partition(":")
    if word in network.link_numbers:
        failed[network.link_numbers[word]] = True
    elif kind == "risk" and name in network.risks:
        failed[[link for one in risks(network) if one.name == name for link in one.links]] = True
    elif kind == "node" and name in network.node_numbers:
        failed = (network.source == network.node_numbers[name]) | (network.target == network.node_numbers[name])
    else:
        parts = word.split("-")
        for at in range(1, len(parts)):
            one, other = (network.node_numbers.get("-".join(part)) for part in (parts[:at], parts[at:]))
            if one is not None and other is not None:
                failed |= (network.source == one) & (network.target == other)
                failed |= (network.source == other) & (network.target == one)
        if not failed.any():
            hint = nearest(word, network.names, "links") or "a link as A>B, both ways as A-B, risk:NAME or node:NAME"
            raise SuanwangError(BAD_PROBLEM, f"there is no link {word[:60]!r}", hint)
    return failed
