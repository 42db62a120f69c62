"""What bench/steering.py measures on: published networks and matrices where a folder has them, the shipped example, and
networks and services made up under a seed, always the same for the same numbers.
"""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import dijkstra, minimum_spanning_tree
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist

from suanwang.steering.problem import Aim, Demands, Endpoints, Floats, Ints, Network, Problem, nodes_as_endpoints
from suanwang.steering.reading import read_classes, read_endpoints, read_topology
from suanwang.steering.reading_demands import read_demands

EXAMPLE = Path(__file__).parent.parent / "examples" / "steering"
US_PER_KM = 5.0 * 1.3
"""Light in fibre, and three tenths more than the straight line."""

STEPS = np.array([10.0, 40.0, 100.0, 200.0, 400.0])
"""What links can carry, Gbit/s; more are multiples of the last."""


class Instance(NamedTuple):
    """A network and a matrix by name. `optimum`: published, over 4 edge-disjoint paths; NaN where none is. `load`: of
    one that is made up.
    """

    topology: str
    matrix: str
    nodes: int
    optimum: float = math.nan
    load: float = 0.0
    published: tuple[tuple[str, float], ...] = ()

    @property
    def name(self) -> str:
        """How it is called in the table."""
        return f"{self.topology} {self.matrix.removesuffix('.npy')}"

    @property
    def large(self) -> bool:
        """Whether seconds are asked for, and not a quarter of one."""
        return self.nodes > 200


def published(folder: Path) -> list[Instance]:
    """The instances that a folder's `instances.csv` lists."""
    found = []
    with (folder / "instances.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            said = {name: float(value) for name, value in row.items() if name.endswith(("_s", "_rel")) and value}
            found.append(
                Instance(
                    row["topology"],
                    row["demands"],
                    int(row["nodes"]),
                    float(row["optimum_4path"]),
                    published=tuple(said.items()),
                )
            )
    return found


def shipped(quick: bool) -> list[Instance]:
    """The example, and networks of about the published ones' sizes; the largest only where there is time."""
    sizes = (75, 150) if quick else (75, 150, 200, 750)
    made = [Instance(f"made-{nodes}", f"load-{load}", nodes, load=load) for nodes in sizes for load in (0.3, 0.6)]
    return [Instance("example", "demands.csv", 20), *made]


def problem_of(instance: Instance, folder: Path, aim: Aim) -> Problem:
    """The instance as a problem, read by the readers that `suanwang steer` uses."""
    if instance.load:
        return made(instance.nodes, instance.load, aim)
    if instance.topology == "example":
        body = {path.name: path.read_bytes() for path in EXAMPLE.iterdir() if path.is_file()}
        network = read_topology(body["links.csv"], "links.csv")
        places = read_endpoints(body["endpoints.csv"], "endpoints.csv", network)
        classes = read_classes(body["classes.yaml"], "classes.yaml")
        ends, demands = read_demands(body["demands.csv"], "demands.csv", network, places, classes)
    else:
        home = folder / instance.topology
        network = read_topology((home / "links.csv").read_bytes(), "links.csv")
        ends, demands = read_demands((home / instance.matrix).read_bytes(), instance.matrix, network)
    return Problem(network=network, endpoints=ends, demands=demands, aim=aim)


class Land(NamedTuple):
    """Sites in a plane of 4,000 by 3,000 km, and which are neighbours: E pairs, each a link either way."""

    at: Floats
    size: Floats
    pairs: Ints


def land(count: int, rng: np.random.Generator) -> Land:
    """Sites of Pareto sizes (exponent 1.2, as of cities): the shortest tree, each site's three nearest, and each of
    the thirty largest with the four largest near it.
    """
    at = rng.random((count, 2)) * (4000.0, 3000.0)
    size = rng.pareto(1.2, count) + 1.0
    apart = cdist(at, at)
    tree = minimum_spanning_tree(apart).tocoo()
    near = cKDTree(at).query(at, k=4)[1][:, 1:]
    hubs = np.argsort(-size)[:30]
    meshed = hubs[np.argsort(apart[np.ix_(hubs, hubs)], axis=1)[:, 1:5]]
    ends = [
        np.stack([tree.row, tree.col], axis=1),
        np.stack([np.repeat(np.arange(count), 3), near.ravel()], axis=1),
        np.stack([np.repeat(hubs, meshed.shape[1]), meshed.ravel()], axis=1),
    ]
    return Land(at, size / size.sum(), np.unique(np.sort(np.concatenate(ends), axis=1), axis=0))


def _network(where: Land, capacity: Floats) -> Network:
    """Both ways of each pair, of this capacity (E,)."""
    one, other = where.pairs.T
    latency = np.linalg.norm(where.at[one] - where.at[other], axis=1) * US_PER_KM
    return Network(
        nodes=tuple(f"s{number}" for number in range(len(where.at))),
        source=np.concatenate([one, other]),
        target=np.concatenate([other, one]),
        capacity=np.tile(capacity, 2),
        latency_us=np.tile(latency, 2),
    )


def made(nodes: int, load: float, aim: Aim, seed: int = 1) -> Problem:
    """A demand between any two nodes by the product of their sizes, times chance. `load`: all rates times hops, as a
    share of all capacity.
    """
    rng = np.random.default_rng(seed)
    where = land(nodes, rng)
    network = _network(where, rng.choice(STEPS, len(where.pairs)))
    rate = np.outer(where.size, where.size) * rng.lognormal(0, 0.5, (nodes, nodes))
    np.fill_diagonal(rate, 0.0)
    graph = csr_matrix((np.ones(len(network.source)), (network.source, network.target)))
    rate *= load * network.capacity.sum() / (rate * dijkstra(graph, unweighted=True)).sum()
    source, target = np.nonzero(rate)
    ends, choice_first, choice_of = nodes_as_endpoints(nodes)
    demands = Demands(
        source=source, choice=target, rate=rate[source, target], choice_first=choice_first, choice_of=choice_of
    )
    return Problem(network=network, endpoints=ends, demands=demands, aim=aim)


class Size(NamedTuple):
    """How large a world of services is; `instances` of each service."""

    sites: int = 1000
    services: int = 200
    instances: int = 20
    demands: int = 100_000

    def __str__(self) -> str:
        return (
            f"{self.sites:,} sites, {self.services:,} services x {self.instances} instances, {self.demands:,} demands"
        )


UNSERVED_US = 100_000.0
"""What a unit that is not served counts: as one that takes a tenth of a second."""

FULL = 0.9
"""What all of a service's demands are of what its instances can take."""

PULL = 2.0
"""By which power of delay an instance draws less, where the network is planned."""

SPARE = 1.3
"""What links are planned to carry, over what the forecast puts on them."""


def services(size: Size, seed: int = 1) -> Problem:
    """Least latency for demands that may go to any instance of their service.

    Assumed: instances stand at sites drawn by size, and differ in what they can take (log-normal, 0.6) and in the delay
    they add (200 to 2,000 us); a demand is a site and a service, its rate by the sizes of both (Pareto) and chance
    (log-normal, 0.5). The network was planned for a forecast that knows sizes and not chance: each demand at the
    nearest instance, by the shortest path, and `SPARE`. So choosing the nearest meets a network that was made for it.
    """
    rng = np.random.default_rng(seed)
    where = land(size.sites, rng)
    node = np.concatenate(
        [rng.choice(size.sites, size.instances, replace=False, p=where.size) for _ in range(size.services)]
    )
    worth = rng.pareto(1.1, size.services) + 0.2
    chance = np.repeat(where.size / size.services, size.services)
    source, choice = np.divmod(rng.choice(len(chance), size.demands, replace=False, p=chance), size.services)
    forecast = where.size[source] * worth[choice]
    forecast *= 20.0 * size.sites / forecast.sum()
    rate = forecast * rng.lognormal(0, 0.5, size.demands)
    need = np.bincount(choice, weights=rate, minlength=size.services)
    share = rng.lognormal(0, 0.6, (size.services, size.instances))
    ends = Endpoints(
        node=node,
        capacity=(share * (need / FULL / share.sum(axis=1))[:, None]).ravel(),
        delay_us=rng.uniform(200.0, 2000.0, len(node)),
    )
    network = _planned(where, ends, source, choice.astype(np.int64), forecast, size.instances)
    demands = Demands(
        source=source,
        choice=choice,
        rate=rate,
        choice_first=np.arange(size.services + 1) * size.instances,
        choice_of=np.arange(len(node)),
    )
    return Problem(
        network=network, endpoints=ends, demands=demands, aim=Aim.MIN_LATENCY, unserved_cost=UNSERVED_US
    )  # fmt: skip


def _planned(where: Land, ends: Endpoints, source: Ints, choice: Ints, forecast: Floats, instances: int) -> Network:
    """The network that carries the forecast, the same either way of a link."""
    count, pairs = len(where.at), len(where.pairs)
    bare = _network(where, np.ones(pairs))
    graph = csr_matrix((bare.latency_us, (bare.source, bare.target)), shape=(count, count))
    far, before = dijkstra(graph, return_predecessors=True)
    every = np.arange(len(ends.node)).reshape(-1, instances)[choice]
    pull = ends.capacity[every] / (far[source[:, None], ends.node[every]] + ends.delay_us[every]) ** PULL
    flow = np.zeros((count, count))
    np.add.at(flow, (source[:, None], ends.node[every]), pull * (forecast / pull.sum(axis=1))[:, None])
    load = _on_trees(flow, far, before, bare)
    wanted = SPARE * np.maximum(load[:pairs], load[pairs:])
    step = STEPS[np.minimum(np.searchsorted(STEPS, wanted), len(STEPS) - 1)]
    return _network(where, np.maximum(step, STEPS[-1] * np.ceil(wanted / STEPS[-1]) * (wanted > STEPS[-1])))


def _on_trees(flow: Floats, far: Floats, before: Any, network: Network) -> Floats:
    """(L,) the load of each link when `flow` (source, target) takes shortest paths; the farthest is handed on first."""
    count = len(far)
    number = np.zeros((count, count), np.int64)
    number[network.source, network.target] = np.arange(len(network.source))
    load = np.zeros(len(network.source))
    source, order = np.arange(count), np.argsort(-far, axis=1)
    for target in order[:, :-1].T:
        last = before[source, target]
        amount = flow[source, target]
        np.add.at(load, number[last, target], amount)
        flow[source, last] += amount
    return load
