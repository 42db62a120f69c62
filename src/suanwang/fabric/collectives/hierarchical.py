"""Algorithms over both networks: as much as possible within scale-up domains, and across on all rails at once.

Sources: reduce-scatter within, then across, then all-gather within: Cho et al., "BlueConnect", MLSys 2019. All-to-all
by way of the local peer on the receiver's rail: NVIDIA, NCCL 2.12's PXN. One copy of a token for each domain:
DeepSeek-AI, "DeepSeek-V3 technical report" (2024), section 3.2.2.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from math import ceil

from suanwang.fabric.collectives.algorithms import direct, share
from suanwang.fabric.collectives.patterns import Everyone, Scatter
from suanwang.fabric.collectives.routing import Routing
from suanwang.fabric.collectives.schedule import Schedule, Stage

Half = Callable[[str, int], Schedule]
"""The schedule of a kind and size on one axis."""


def reduced(local: Half, across: Half, size: int, per_domain: int) -> Schedule:
    """All-reduce: each rail adds up its part of what was first added up within domains."""
    part = share(size, per_domain)
    return local("reduce-scatter", size) + across("all-reduce", part) + local("all-gather", size)


def scattered(local: Half, across: Half, size: int, per_domain: int) -> Schedule:
    """Reduce-scatter: within, then across."""
    return local("reduce-scatter", size) + across("reduce-scatter", share(size, per_domain))


def gathered(local: Half, across: Half, size: int, per_domain: int) -> Schedule:
    """All-gather: across, then within."""
    return across("all-gather", share(size, per_domain)) + local("all-gather", size)


def copied(local: Half, across: Half, size: int, per_domain: int) -> Schedule:
    """Broadcast: the root's domain gets a part each, rails carry parts, all gather within."""
    part = share(size, per_domain)
    scatter = (Stage("local", Scatter(), part),)
    return scatter + across("broadcast", part) + direct(per_domain, size, "local")


def exchanged(size: int, per_domain: int, domains: int) -> Schedule:
    """All-to-all: to the local peer on the receiver's rail, then along rails."""
    return (
        Stage("local", Everyone(), share(size, per_domain)),
        Stage("across", Everyone(), share(size, domains)),
    )


def dispatched(size: int, per_domain: int, domains: int, routing: Routing) -> Schedule:
    """Tokens along rails, one copy for each domain where a token has experts; copies for experts are made there.

    `size` is what all copies of the tokens of one member have together.
    """
    copies = Fraction(size) * routing.domains_reached(domains) / routing.top_k
    return (
        Stage("across", Everyone(), ceil(copies / domains)),
        Stage("local", Everyone(), share(size, per_domain)),
    )


def combined(size: int, per_domain: int, domains: int, routing: Routing) -> Schedule:
    """The way back: results are added up in each domain before they cross."""
    return dispatched(size, per_domain, domains, routing)[::-1]
