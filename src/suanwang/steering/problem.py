"""The one decision problem: for each demand choose endpoints and paths, within capacities and limits, as an aim says.

Traffic engineering (one endpoint, many paths), egress engineering (many exits), placement and compute-first routing
(many service instances) are this problem with different numbers in it. Here it is stated, as arrays that are checked
once, when they are made, and never change; `building` writes small problems by hand, `reading` reads files.

Rates, capacities and loads are in one unit, whichever it is. Absent is written as infinity (a limit that does not bind,
a capacity that does not end) or -1 (no such index).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from suanwang.model.errors import SuanwangError, code

BAD_PROBLEM = code("BAD_PROBLEM", "a network, endpoint, demand or limit of a steering problem can't be as it was given")

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

ABSENT: Any = None
"""Default of a field that is filled in when it is not given."""

MOST_NODES = 100_000
MOST_LINKS = 1_000_000
MOST_ENDPOINTS = 1_000_000
MOST_DEMANDS = 10_000_000


def _require(fine: bool, message: str, hint: str = "") -> None:
    if not fine:
        raise SuanwangError(BAD_PROBLEM, message, hint)


class Aim(StrEnum):
    """What is sought. Values of an answer are in the unit that is named here."""

    TOTAL_FLOW = "total-flow"
    """Greatest weighted sum of served rates."""
    MAX_MIN = "max-min"
    """The least served fraction as great as can be, then the next: max-min fairness of rate over weight x demanded."""
    CONCURRENT = "concurrent"
    """Greatest fraction at which all demands can be served at once (may exceed 1)."""
    MIN_MLU = "min-mlu"
    """All demands served; least greatest utilisation of a link or endpoint (may exceed 1)."""
    MIN_COST = "min-cost"
    """As much served as can be, then at least cost: links' and endpoints' prices times rates."""
    MIN_LATENCY = "min-latency"
    """As much served as can be, then at the least sum of rate times delay in microseconds, endpoints' included."""


class Disjoint(StrEnum):
    """What two paths may not share."""

    NONE = "none"
    LINK = "link"
    NODE = "node"
    """Links and nodes, the ends of the paths excepted."""
    RISK = "risk"
    """Links and shared-risk groups."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What every path of a demand must keep, end to end, the endpoint's own delay included.

    `loss` is the greatest fraction lost, `availability` the least probability to be up. `include`: colours of which
    each link must have one (empty: any link will do); `exclude`: colours that no link may have. `backup`: with each
    path goes a second one, disjoint in that sense, on which the same rate is kept free.
    """

    latency_us: float = np.inf
    jitter_us: float = np.inf
    loss: float = 1.0
    availability: float = 0.0
    include: frozenset[str] = frozenset()
    exclude: frozenset[str] = frozenset()
    backup: Disjoint = Disjoint.NONE

    def __post_init__(self) -> None:
        _require(self.latency_us >= 0 and self.jitter_us >= 0, "a latency or jitter limit is negative or no number")
        _require(0 <= self.loss <= 1 and 0 <= self.availability <= 1, "loss and availability are fractions of 1")

    @property
    def additive(self) -> bool:
        """Whether something that adds up along a path is limited, so that not every path will do."""
        return self.latency_us < np.inf or self.jitter_us < np.inf or self.loss < 1 or self.availability > 0


NO_LIMITS = Limits()


@dataclass(frozen=True, kw_only=True, eq=False)
class Network:
    """A directed multigraph. Arrays have one entry a link (L of them), but for what is said.

    `source`, `target`: node numbers; `capacity`; `latency_us`, `jitter_us`; `loss`, `availability`: fractions of 1,
    that multiply along a path; `cost`: per unit of rate; `domain`: number in `domains`; `colour`: a bit for each of
    `colours` that the link has; `risk_first` (L + 1) and `risk_of`: the shared-risk groups of link l are
    `risk_of[risk_first[l]:risk_first[l + 1]]`, numbers in `risks`. Telemetry replaces values by `dataclasses.replace`.
    """

    nodes: tuple[str, ...]
    source: Ints
    target: Ints
    capacity: Floats
    latency_us: Floats = ABSENT
    jitter_us: Floats = ABSENT
    loss: Floats = ABSENT
    availability: Floats = ABSENT
    cost: Floats = ABSENT
    names: tuple[str, ...] = ()
    domains: tuple[str, ...] = ("",)
    domain: Ints = ABSENT
    colours: tuple[str, ...] = ()
    colour: Ints = ABSENT
    risks: tuple[str, ...] = ()
    risk_first: Ints = ABSENT
    risk_of: Ints = ABSENT
    position: Floats = ABSENT
    """(nodes, 2): where each node stands in a picture, in degrees east and north say; NaN where nobody knows."""

    def __post_init__(self) -> None:
        count = len(self.source)
        _require(0 < len(self.nodes) <= MOST_NODES, f"a network has 1 to {MOST_NODES} nodes, not {len(self.nodes)}")
        _require(len(set(self.nodes)) == len(self.nodes), "two nodes have one name")
        _require(count <= MOST_LINKS, f"{count} links are more than {MOST_LINKS}")
        _whole(self, "source", count, 0, len(self.nodes))
        _whole(self, "target", count, 0, len(self.nodes))
        loop = np.flatnonzero(self.source == self.target)
        _require(not len(loop), "a link leads from a node to itself", self._nodes_named(loop))
        _real(self, "capacity", count, 0, np.inf)
        _real(self, "latency_us", count, 0, 1e12, default=0)
        _real(self, "jitter_us", count, 0, 1e12, default=0)
        _real(self, "loss", count, 0, 1, default=0)
        _real(self, "availability", count, 0, 1, default=1)
        _real(self, "cost", count, 0, 1e12, default=0)
        _whole(self, "domain", count, 0, len(self.domains), default=0)
        _require(len(self.colours) <= 62, f"{len(self.colours)} colours are more than 62")
        _whole(self, "colour", count, 0, 1 << 62, default=0)
        _rows(self, "risk", count, len(self.risks))
        _real(self, "position", (len(self.nodes), 2), -np.inf, np.inf, default=np.nan, unknown=True)
        if not self.names:
            object.__setattr__(self, "names", _link_names(self.nodes, self.source, self.target))
        _require(len(self.names) == count, f"{len(self.names)} names for {count} links")
        _require(len(set(self.names)) == count, "two links have one name")

    def _nodes_named(self, links: Ints) -> str:
        return f"see node {self.nodes[self.source[links[0]]]}" if len(links) else ""

    @cached_property
    def node_numbers(self) -> dict[str, int]:
        """Node's name -> its number."""
        return {name: number for number, name in enumerate(self.nodes)}

    @cached_property
    def link_numbers(self) -> dict[str, int]:
        """Link's name -> its number."""
        return {name: number for number, name in enumerate(self.names)}

    def risks_of(self, link: int) -> Ints:
        """The shared-risk groups of a link."""
        return self.risk_of[self.risk_first[link] : self.risk_first[link + 1]]

    def admitted(self, limits: Limits) -> Bools:
        """(L,) which links the colours of `limits` admit."""
        wanted, barred = self._mask(limits.include), self._mask(limits.exclude)
        admitted: Bools = (self.colour & barred) == 0
        # A colour that nobody has bars all links when it is wanted, and none when it is not.
        return admitted & ((self.colour & wanted) != 0) if limits.include else admitted

    def _mask(self, colours: Collection[str]) -> int:
        return sum(1 << number for number, colour in enumerate(self.colours) if colour in colours)


@dataclass(frozen=True, kw_only=True, eq=False)
class Endpoints:
    """Where demands may end: service instances, origins, exits, or plain nodes. One entry an endpoint (E of them).

    `capacity` and `load` (taken already, by what is no demand here); `delay_us` is what the endpoint itself adds;
    `cost` is per unit of load. `committed`: the load that the billing period's 95th percentile has reached anyhow,
    which costs nothing more; only what lies above pays `cost`.
    """

    node: Ints
    names: tuple[str, ...] = ()
    capacity: Floats = ABSENT
    load: Floats = ABSENT
    delay_us: Floats = ABSENT
    cost: Floats = ABSENT
    committed: Floats = ABSENT

    def __post_init__(self) -> None:
        count = len(self.node)
        _require(count <= MOST_ENDPOINTS, f"{count} endpoints are more than {MOST_ENDPOINTS}")
        _whole(self, "node", count, 0, MOST_NODES)
        _require(len(self.names) in (0, count), f"{len(self.names)} names for {count} endpoints")
        _real(self, "capacity", count, 0, np.inf, default=np.inf)
        _real(self, "load", count, 0, 1e30, default=0)
        _real(self, "delay_us", count, 0, 1e12, default=0)
        _real(self, "cost", count, 0, 1e12, default=0)
        _real(self, "committed", count, 0, np.inf, default=0)

    @cached_property
    def free(self) -> Floats:
        """(E,) what of the capacity nobody has taken yet."""
        return np.maximum(self.capacity - self.load, 0.0)


@dataclass(frozen=True, kw_only=True, eq=False)
class Demands:
    """What wants to be served. One entry a demand (D of them), but for what is said.

    `source`: node number; `choice`: which set of endpoints will do, as a number into `choice_first` (C + 1) and
    `choice_of` (endpoint numbers); `rate`; `priority`: class, 0 before 1; `weight`: worth of a unit of rate; `limit`:
    number in `limits`; `splittable`: whether several (endpoint, path) may share it; `most_paths`: 0 for any number;
    `work`: load on the endpoint for each unit of rate; `apart` and `apart_by`: another demand (-1: none) that is served
    too, with whose paths it shares nothing of that kind.
    """

    source: Ints
    choice: Ints
    rate: Floats
    choice_first: Ints
    choice_of: Ints
    names: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    priority: Ints = ABSENT
    weight: Floats = ABSENT
    limits: tuple[Limits, ...] = (NO_LIMITS,)
    limit: Ints = ABSENT
    splittable: Bools = ABSENT
    most_paths: Ints = ABSENT
    work: Floats = ABSENT
    apart: Ints = ABSENT
    apart_by: Disjoint = Disjoint.LINK

    def __post_init__(self) -> None:
        count = len(self.source)
        _require(count <= MOST_DEMANDS, f"{count} demands are more than {MOST_DEMANDS}", "add up small demands")
        _whole(self, "source", count, 0, MOST_NODES)
        _whole(self, "choice_first", None, 0, np.iinfo(np.int64).max)
        _require(len(self.choice_first) > 0, "choice_first must have at least one entry")
        _rows(self, "choice", len(self.choice_first) - 1, MOST_ENDPOINTS)
        _require(bool((np.diff(self.choice_first) > 0).all()), "a set of endpoints to choose from is empty")
        _whole(self, "choice", count, 0, len(self.choice_first) - 1)
        _real(self, "rate", count, 0, 1e30)
        _require(len(self.names) in (0, count), f"{len(self.names)} names for {count} demands")
        _require(len(self.choices) in (0, len(self.choice_first) - 1), "one name for each set of endpoints, or none")
        _whole(self, "priority", count, 0, 1 << 15, default=0)
        _real(self, "weight", count, 0, 1e9, default=1)
        _require(0 < len(self.limits) <= 1000, "there are 1 to 1000 different limits")
        _whole(self, "limit", count, 0, len(self.limits), default=0)
        splittable = np.ones(count, bool) if self.splittable is ABSENT else np.array(self.splittable, bool)
        _require(splittable.shape == (count,), f"splittable must have {count} entries")
        object.__setattr__(self, "splittable", _frozen(splittable))
        _whole(self, "most_paths", count, 0, 1 << 15, default=0)
        _real(self, "work", count, 0, 1e12, default=1)
        _whole(self, "apart", count, -1, count, default=-1)

    def __len__(self) -> int:
        return len(self.source)

    def endpoints_of(self, demand: int) -> Ints:
        """The endpoints that a demand may go to."""
        choice = self.choice[demand]
        return self.choice_of[self.choice_first[choice] : self.choice_first[choice + 1]]

    @cached_property
    def single(self) -> bool:
        """Whether each demand has one endpoint only."""
        return bool((np.diff(self.choice_first) == 1).all())


@dataclass(frozen=True, kw_only=True, eq=False)
class Problem:
    """A network, endpoints, demands and an aim. `by_priority`: a class gets what it can before the next gets anything.

    `churn`: what moving a unit of rate away from the present allocation costs, in the unit of the aim's value.
    `unserved_cost`: what a unit of rate that is not served counts where cost or latency is to be least; by default more
    than any simple path and endpoint can cost.
    """

    network: Network
    endpoints: Endpoints
    demands: Demands
    aim: Aim = Aim.TOTAL_FLOW
    by_priority: bool = False
    churn: float = 0.0
    unserved_cost: float = ABSENT

    def __post_init__(self) -> None:
        count = len(self.network.nodes)
        _require(_below(self.endpoints.node, count), f"an endpoint stands on a node beyond the {count} that there are")
        _require(_below(self.demands.source, count), f"a demand starts at a node beyond the {count} that there are")
        ends = len(self.endpoints.node)
        _require(_below(self.demands.choice_of, ends), f"a demand names an endpoint beyond the {ends} that there are")
        _require(0 <= self.churn < np.inf, "churn must be 0 or more")
        if self.unserved_cost is ABSENT:
            object.__setattr__(self, "unserved_cost", self._dearest())
        _require(0 <= self.unserved_cost < np.inf, "unserved_cost must be 0 or more")

    def _dearest(self) -> float:
        """More than a unit of rate can cost on any simple path, with any endpoint."""
        costs, delays = self.link_cost, self.endpoint_cost
        hops = len(self.network.nodes) - 1
        highest = np.sort(costs)[::-1][:hops].sum() + (delays.max() if len(delays) else 0.0) + self.churn
        return float(2 * highest + 1)

    @cached_property
    def link_cost(self) -> Floats:
        """(L,) what a unit of rate on each link counts: its price, its latency, or nothing, as the aim says."""
        if self.aim is Aim.MIN_COST:
            return self.network.cost
        return self.network.latency_us if self.aim is Aim.MIN_LATENCY else np.zeros(len(self.network.source))

    @cached_property
    def endpoint_cost(self) -> Floats:
        """(E,) what a unit of rate at each endpoint counts, beyond what is committed there where the aim is cost."""
        if self.aim is Aim.MIN_COST:
            return self.endpoints.cost
        return self.endpoints.delay_us if self.aim is Aim.MIN_LATENCY else np.zeros(len(self.endpoints.node))

    def demand_name(self, demand: int) -> str:
        """What to call a demand: its own name, else source and choice."""
        demands = self.demands
        if demands.names:
            return demands.names[demand]
        return f"{self.network.nodes[demands.source[demand]]}>{self.choice_name(int(demands.choice[demand]))}"

    def choice_name(self, choice: int) -> str:
        """What to call a set of endpoints: its own name, else its first endpoint's."""
        demands = self.demands
        if demands.choices:
            return demands.choices[choice]
        return self.endpoint_name(int(demands.choice_of[demands.choice_first[choice]]))

    def endpoint_name(self, endpoint: int) -> str:
        """What to call an endpoint: its own name, else its node's."""
        names = self.endpoints.names
        return names[endpoint] if names else self.network.nodes[self.endpoints.node[endpoint]]

    @cached_property
    def demand_numbers(self) -> dict[str, int]:
        """Demand's name -> its number; of demands of one name, the first."""
        return {self.demand_name(number): number for number in reversed(range(len(self.demands)))}


def nodes_as_endpoints(nodes: int) -> tuple[Endpoints, Ints, Ints]:
    """An endpoint without limits on every node, and a choice for each: (endpoints, choice_first, choice_of)."""
    every = np.arange(nodes)
    return Endpoints(node=every), np.arange(nodes + 1), every


def _below(numbers: Ints, limit: int) -> bool:
    return not len(numbers) or int(numbers.max()) < limit


def _frozen(values: NDArray[Any]) -> NDArray[Any]:
    values.setflags(write=False)
    return values


def _given(owner: object, name: str, shape: tuple[int, ...] | None, default: float | None) -> NDArray[np.float64]:
    value: ArrayLike | None = getattr(owner, name)
    if value is None:
        _require(default is not None and shape is not None, f"{name} is missing")
        return np.full(shape or (), default)
    values = np.asarray(value)
    _require(values.dtype.kind in "iufb", f"{name} holds what is no number")
    _require(shape is None or values.shape == shape, f"{name} has the shape {values.shape} instead of {shape}")
    return values


def _real(
    owner: object,
    name: str,
    count: int | tuple[int, ...],
    least: float,
    most: float,
    default: float | None = None,
    unknown: bool = False,
) -> None:
    shape = (count,) if isinstance(count, int) else count
    values = np.array(_given(owner, name, shape, default), np.float64, order="C")
    wrong = ~((values >= least) & (values <= most))
    if unknown:
        wrong &= ~np.isnan(values)
    if wrong.any():
        at = int(np.flatnonzero(wrong.any(axis=1) if wrong.ndim > 1 else wrong)[0])
        found = values[at]
        raise SuanwangError(
            BAD_PROBLEM, f"{name}[{at}] of {type(owner).__name__} is {found}", f"it must be from {least:g} to {most:g}"
        )
    object.__setattr__(owner, name, _frozen(values))


def _whole(owner: object, name: str, count: int | None, least: int, limit: int, default: int | None = None) -> None:
    given = _given(owner, name, None if count is None else (count,), default)
    with np.errstate(invalid="ignore"):
        values = np.array(given, np.int64)
    wrong = (values < least) | (values >= limit) | (values != given)
    if wrong.any():
        at = int(np.flatnonzero(wrong)[0])
        hint = f"it must be a whole number from {least} to {limit - 1}"
        raise SuanwangError(BAD_PROBLEM, f"{name}[{at}] of {type(owner).__name__} is {given[at]}", hint)
    object.__setattr__(owner, name, _frozen(values))


def _rows(owner: object, name: str, count: int, limit: int) -> None:
    """Check `NAME_first` (count + 1) and `NAME_of`, numbers below `limit`, which together hold a list for each of
    count.
    """
    first, of = f"{name}_first", f"{name}_of"
    if getattr(owner, first) is None:
        object.__setattr__(owner, first, np.zeros(count + 1, np.int64))
        object.__setattr__(owner, of, np.zeros(0, np.int64))
    _whole(owner, of, None, 0, max(limit, 1))
    _whole(owner, first, count + 1, 0, len(getattr(owner, of)) + 1)
    starts: Ints = getattr(owner, first)
    fine = starts[0] == 0 and starts[-1] == len(getattr(owner, of)) and bool((np.diff(starts) >= 0).all())
    _require(fine, f"{first} does not divide {of}")


def _link_names(nodes: Sequence[str], source: Ints, target: Ints) -> tuple[str, ...]:
    """`a>b`, and `a>b#2` for the second link between the same nodes."""
    seen: dict[str, int] = {}
    names = []
    for start, end in zip(source.tolist(), target.tolist(), strict=True):
        name = f"{nodes[start]}>{nodes[end]}"
        seen[name] = seen.get(name, 0) + 1
        names.append(name if seen[name] == 1 else f"{name}#{seen[name]}")
    return tuple(names)
