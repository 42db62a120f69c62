"""A collective cut into stages: rounds of messages that go one after another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from suanwang.fabric.collectives.patterns import Integers, Pattern

Axis = Literal["all", "local", "across"]


@dataclass(frozen=True, slots=True)
class Stage:
    """`repeat` rounds, in each of which pairs of ranks, as `pattern` says, send `size_bytes` each.

    With axis "all" the ranks are those of the group. "local" does it in each scale-up domain at once, by the rank
    within; "across" for each rank within at once, by domains. `combined` has switches add up what is sent up and copy
    what comes down, instead of any pattern.
    """

    axis: Axis
    pattern: Pattern
    size_bytes: int
    repeat: int = 1
    combined: bool = False

    def count(self, size: int, per_domain: int) -> int:
        """How many pairs there are in a round, without making them."""
        ranks, times = {"all": (size, 1), "local": (per_domain, size // per_domain)}.get(
            self.axis, (size // per_domain, per_domain)
        )
        return self.pattern.count(ranks) * times

    def busiest(self, size: int, per_domain: int) -> tuple[int, int]:
        """How many ranks there are on its axis, and the most messages that one of them starts in a round."""
        ranks = {"all": size, "local": per_domain}.get(self.axis, size // per_domain)
        return ranks, 1 if self.combined else self.pattern.starts(ranks)

    def pairs(self, size: int, per_domain: int) -> tuple[Integers, Integers]:
        """Senders and receivers by rank in the whole group."""
        if self.axis == "all":
            return self.pattern.pairs(size)
        domains = size // per_domain
        if self.axis == "local":
            source, target = self.pattern.pairs(per_domain)
            base = np.repeat(np.arange(domains, dtype=np.int64) * per_domain, len(source))
            return base + np.tile(source, domains), base + np.tile(target, domains)
        source, target = self.pattern.pairs(domains)
        within = np.repeat(np.arange(per_domain, dtype=np.int64), len(source))
        return np.tile(source, per_domain) * per_domain + within, np.tile(target, per_domain) * per_domain + within


Schedule = tuple[Stage, ...]
