"""Small problems by chance, with all that a problem may have."""

from __future__ import annotations

import numpy as np

from suanwang.steering.building import Demand, Endpoint, Link, network, problem
from suanwang.steering.problem import Aim, Disjoint, Limits, Problem


def random_problem(seed: int, aim: Aim, *, chosen: bool = False, small: bool = False) -> Problem:
    """A few nodes, links, endpoints and demands, with all that a problem may have."""
    rng = np.random.default_rng(seed)
    nodes = int(rng.integers(3, 5))
    names = "abcd"[:nodes]
    pairs = [(a, b) for a in names for b in names if a != b]
    count = int(rng.integers(2, min(len(pairs), 5 if small else 8) + 1))
    picked = [pairs[at] for at in rng.choice(len(pairs), count, replace=bool(rng.integers(2)))]
    links = [
        Link(
            source=a,
            target=b,
            name=f"link{at}",
            capacity=float(rng.choice([0, 1, 2, 3.5, 7])),
            latency_us=float(rng.integers(0, 30)),
            jitter_us=float(rng.integers(0, 5)),
            loss=float(rng.choice([0, 0.01])),
            availability=float(rng.choice([1, 0.99])),
            cost=float(rng.integers(0, 6)),
            colours=frozenset(colour for colour in ("red", "blue") if rng.integers(2)),
            risks=tuple(risk for risk in ("duct", "bridge") if rng.integers(3) == 0),
        )
        for at, (a, b) in enumerate(picked)
    ]
    ends = [
        Endpoint(
            name=f"end{at}",
            node=str(rng.choice(list(names))),
            capacity=float(rng.choice([0, 2, 4, np.inf])),
            load=float(rng.choice([0, 1])),
            delay_us=float(rng.integers(0, 10)),
            cost=float(rng.integers(0, 4)),
            committed=float(rng.choice([0, 0, 2])),
        )
        for at in range(int(rng.integers(0, 3)))
    ]
    limits = [
        Limits(),
        Limits(latency_us=float(rng.integers(10, 60)), jitter_us=float(rng.integers(2, 9))),
        Limits(loss=0.015, availability=0.985),
        Limits(include=frozenset({"red"})),
        Limits(exclude=frozenset({"blue"})),
        Limits(backup=Disjoint(str(rng.choice(["link", "node", "risk"])))),
    ]
    wanted = int(rng.integers(1, 3 if chosen else 4))
    apart = bool(chosen and rng.integers(2))
    demands = []
    for at in range(wanted):
        choice = [*names, *(end.name for end in ends)]
        to = tuple(dict.fromkeys(str(rng.choice(choice)) for _ in range(int(rng.integers(1, 3)))))
        demands.append(
            Demand(
                source=str(rng.choice(list(names))),
                to=to,
                name=f"demand{at}",
                rate=float(rng.choice([0, 0.5, 1, 2, 5])),
                priority=int(rng.integers(0, 3)),
                weight=1.0 if aim is Aim.MAX_MIN and chosen else float(rng.choice([1, 1, 2, 0.5])),
                limits=limits[int(rng.integers(6)) if rng.integers(2) else 0],
                splittable=not chosen or bool(rng.integers(2)),
                most_paths=int(rng.integers(0, 3)) if chosen else 0,
                work=float(rng.choice([1, 1, 2, 0])),
                apart_from="demand0" if apart and at == 1 else "",
            )
        )
    kind = Disjoint(str(rng.choice(["link", "node", "risk"])))
    net = network(links, dict.fromkeys(names, (0.0, 0.0)))
    return problem(net, demands, ends, aim, by_priority=bool(rng.integers(2)), apart_by=kind)
