"""Problems written out by hand, by names: for small networks, examples and tests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from suanwang.model.errors import SuanwangError
from suanwang.model.registry import nearest
from suanwang.steering.problem import (
    BAD_PROBLEM,
    NO_LIMITS,
    Aim,
    Demands,
    Disjoint,
    Endpoints,
    Ints,
    Limits,
    Network,
    Problem,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A directed link from node `source` to node `target`; see `Network` for the rest."""

    source: str
    target: str
    capacity: float = 1.0
    latency_us: float = 0.0
    jitter_us: float = 0.0
    loss: float = 0.0
    availability: float = 1.0
    cost: float = 0.0
    name: str = ""
    domain: str = ""
    colours: frozenset[str] = frozenset()
    risks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """An endpoint on a node; see `Endpoints`."""

    name: str
    node: str
    capacity: float = np.inf
    load: float = 0.0
    delay_us: float = 0.0
    cost: float = 0.0
    committed: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """A demand from a node to any of the endpoints named in `to`, or to a node of that name; see `Demands`."""

    source: str
    to: tuple[str, ...]
    rate: float
    name: str = ""
    priority: int = 0
    weight: float = 1.0
    limits: Limits = NO_LIMITS
    splittable: bool = True
    most_paths: int = 0
    work: float = 1.0
    apart_from: str = ""


def network(links: Iterable[Link], positions: Mapping[str, tuple[float, float]] | None = None) -> Network:
    """The network of these links. Nodes are numbered in the order in which they are named, `positions` first."""
    rows = list(links)
    places = positions or {}
    nodes = list(dict.fromkeys([*places, *(end for link in rows for end in (link.source, link.target))]))
    number = {name: at for at, name in enumerate(nodes)}
    risks = list(dict.fromkeys(risk for link in rows for risk in link.risks))
    colours = sorted({colour for link in rows for colour in link.colours})
    domains = list(dict.fromkeys(link.domain for link in rows)) or [""]
    values: dict[str, Any] = {
        name: np.array([getattr(link, name) for link in rows], float)
        for name in ("capacity", "latency_us", "jitter_us", "loss", "availability", "cost")
    }
    named = any(link.name for link in rows)
    return Network(
        nodes=tuple(nodes),
        source=np.array([number[link.source] for link in rows], np.int64),
        target=np.array([number[link.target] for link in rows], np.int64),
        names=tuple(link.name or f"{link.source}>{link.target}" for link in rows) if named else (),
        domains=tuple(domains),
        domain=np.array([domains.index(link.domain) for link in rows], np.int64),
        colours=tuple(colours),
        colour=np.array([sum(1 << colours.index(one) for one in link.colours) for link in rows], np.int64),
        risks=tuple(risks),
        risk_first=np.concatenate(([0], np.cumsum([len(link.risks) for link in rows], dtype=np.int64))).astype(
            np.int64
        ),
        risk_of=np.array([risks.index(risk) for link in rows for risk in link.risks], np.int64),
        position=np.array([places.get(name, (np.nan, np.nan)) for name in nodes], float),
        **values,
    )


def problem(
    net: Network,
    demands: Iterable[Demand],
    endpoints: Sequence[Endpoint] = (),
    aim: Aim = Aim.TOTAL_FLOW,
    *,
    by_priority: bool = False,
    churn: float = 0.0,
    apart_by: Disjoint = Disjoint.LINK,
) -> Problem:
    """The problem of these demands on a network. Every node is an endpoint of its own name, if none was given that
    name.
    """
    rows = list(demands)
    taken = {one.name for one in endpoints}
    every = [*endpoints, *(Endpoint(name=node, node=node) for node in net.nodes if node not in taken)]
    numbers = {one.name: at for at, one in enumerate(every)}
    choices: dict[tuple[str, ...], int] = {}
    for row in rows:
        choices.setdefault(row.to, len(choices))
    limits = list(dict.fromkeys([NO_LIMITS, *(row.limits for row in rows)]))
    named = {row.name: at for at, row in reversed(list(enumerate(rows))) if row.name}
    return Problem(
        network=net,
        endpoints=Endpoints(
            names=tuple(one.name for one in every),
            node=np.array([_find(one.node, net.node_numbers, "node") for one in every], np.int64),
            **{
                name: np.array([getattr(one, name) for one in every], float)
                for name in ("capacity", "load", "delay_us", "cost", "committed")
            },
        ),
        demands=Demands(
            source=np.array([_find(row.source, net.node_numbers, "node") for row in rows], np.int64),
            choice=np.array([choices[row.to] for row in rows], np.int64),
            rate=np.array([row.rate for row in rows], float),
            choice_first=_starts(len(to) for to in choices),
            choice_of=np.array([_find(one, numbers, "endpoint") for to in choices for one in to], np.int64),
            names=tuple(row.name or f"{row.source}>{'|'.join(row.to)}" for row in rows),
            choices=tuple("|".join(to) for to in choices),
            priority=np.array([row.priority for row in rows], np.int64),
            weight=np.array([row.weight for row in rows], float),
            limits=tuple(limits),
            limit=np.array([limits.index(row.limits) for row in rows], np.int64),
            splittable=np.array([row.splittable for row in rows], bool),
            most_paths=np.array([row.most_paths for row in rows], np.int64),
            work=np.array([row.work for row in rows], float),
            apart=np.array(
                [_find(row.apart_from, named, "demand") if row.apart_from else -1 for row in rows], np.int64
            ),
            apart_by=apart_by,
        ),
        aim=aim,
        by_priority=by_priority,
        churn=churn,
    )


def _starts(sizes: Iterable[int]) -> Ints:
    return np.cumsum([0, *sizes], dtype=np.int64)


def _find(name: str, numbers: Mapping[str, int], what: str) -> int:
    number = numbers.get(name)
    if number is None:
        raise SuanwangError(BAD_PROBLEM, f"there is no {what} {name!r}", nearest(name, numbers, f"{what}s"))
    return number
