"""Mixture-of-experts traffic: how many copies of a token travel, and how many of them need the scale-out network."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import comb

from suanwang.model.errors import INVALID, SuanwangError


@dataclass(frozen=True, slots=True)
class Routing:
    """Each token goes to `top_k` of `experts`, all equally likely; they stand on the ranks evenly.

    With `most_domains` above 0, a token's experts are taken from that many domains only (node-limited routing:
    DeepSeek-AI, "DeepSeek-V3 technical report", 2024, section 2.1.2).
    """

    experts: int
    top_k: int
    most_domains: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.top_k <= self.experts or self.most_domains < 0:
            raise SuanwangError(INVALID, f"top_k is from 1 to the {self.experts} experts, not {self.top_k}")

    def domains_reached(self, domains: int) -> Fraction:
        """In how many of so many domains a token has an expert, on average.

        A given domain of experts e is missed with probability C(E - e, k) / C(E, k): draws without replacement. Where
        experts can't be divided evenly, some domains have one more; domains without any count as none.
        """
        domains = min(domains, self.experts)
        chosen = min(domains, self.most_domains) if self.most_domains else domains
        experts = self.experts * chosen // domains  # those of the domains that were chosen
        each, more = divmod(experts, chosen)
        if self.top_k > experts:
            raise SuanwangError(
                INVALID,
                f"{experts} experts in {chosen} domains are fewer than top_k {self.top_k}",
                hint="raise mostDomains",
            )
        ways = comb(experts, self.top_k)
        missed = (chosen - more) * comb(experts - each, self.top_k) + more * comb(experts - each - 1, self.top_k)
        return chosen - Fraction(missed, ways)
