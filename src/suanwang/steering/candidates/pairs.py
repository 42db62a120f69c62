"""The pairs of nodes between which demands want paths."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from suanwang.model.errors import SuanwangError, code
from suanwang.steering.problem import Demands, Endpoints, Floats, Ints

TOO_MANY_PATHS = code("TOO_MANY_PATHS", "so many candidate paths were asked for that they would not fit into memory")

MOST_PAIRS = 20_000_000
_HINT = "add up demands, give them fewer endpoints to choose from, or ask for fewer paths"


@dataclass(frozen=True, eq=False)
class Pairs:
    """Different pairs of nodes, sorted. `delay` (us): the least that an endpoint at the target adds by itself."""

    source: Ints
    target: Ints
    delay: Floats

    def __len__(self) -> int:
        return len(self.source)

    def taken(self, chosen: Ints) -> Pairs:
        """The pairs with these numbers only, in this order."""
        return Pairs(self.source[chosen], self.target[chosen], self.delay[chosen])


def pairs_of(demands: Demands, endpoints: Endpoints) -> tuple[Pairs, ...]:
    """For each of the demands' limits, the pairs (source, node of an endpoint) of the demands that have it."""
    choices = max(len(demands.choice_first) - 1, 1)
    key = (demands.limit << 17 | demands.source) * choices + demands.choice
    wanted = np.unique(key)
    choice = wanted % choices
    limit, source = (wanted // choices) >> 17, (wanted // choices) & ((1 << 17) - 1)
    sizes = np.diff(demands.choice_first)[choice]
    fit(int(sizes.sum()), "pairs of a source and an endpoint")
    endpoint = demands.choice_of[ranges(demands.choice_first[choice], sizes)]
    limit, source = np.repeat(limit, sizes), np.repeat(source, sizes)
    target, delay = endpoints.node[endpoint], endpoints.delay_us[endpoint]
    order = np.lexsort((delay, target, source, limit))
    limit, source, target, delay = limit[order], source[order], target[order], delay[order]
    new = np.ones(len(order), bool)
    new[1:] = (np.diff(limit) != 0) | (np.diff(source) != 0) | (np.diff(target) != 0)
    limit, every = limit[new], Pairs(source[new], target[new], delay[new])
    starts = np.searchsorted(limit, np.arange(len(demands.limits) + 1))
    return tuple(every.taken(np.arange(starts[one], starts[one + 1])) for one in range(len(demands.limits)))


def fit(count: int, what: str, most: int = MOST_PAIRS) -> None:
    """Refuse what would not fit."""
    if count > most:
        raise SuanwangError(TOO_MANY_PATHS, f"{count} {what} are more than {most}", _HINT)


def ranges(starts: Ints, sizes: Ints) -> Ints:
    """The numbers of [start, start + size) for each, one after the other."""
    ends = np.cumsum(sizes)
    total = int(ends[-1]) if len(ends) else 0
    return np.repeat(starts - ends + sizes, sizes) + np.arange(total)
