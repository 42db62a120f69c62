"""What was measured of links takes the place of what was declared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from suanwang.model.errors import SuanwangError
from suanwang.model.registry import nearest
from suanwang.steering.columns import Table, text_of
from suanwang.steering.problem import BAD_PROBLEM, MOST_LINKS, Network

MOST = {"capacity": 1e30, "latency_us": 1e12, "jitter_us": 1e12, "loss": 1.0, "availability": 1.0, "cost": 1e12}
"""What may be measured, and how much at most; loss and availability are fractions."""
MEASURED = tuple(MOST)


def read_telemetry(body: bytes, file: str, network: Network) -> dict[str, dict[str, float]]:
    """What was measured, `link` with any of `capacity,latency_us,jitter_us,loss,availability,cost`: link's name ->
    values; empty fields say nothing. Raises BAD_PROBLEM.
    """
    table = Table.of(text_of(body, file), file, {name: name for name in ("link", *MEASURED)}, ("link",))
    links: dict[str, int] = {}
    found: dict[str, dict[str, float]] = {}
    for part in table.parts(MOST_LINKS):
        part.coded("link", links, lambda name: _link_number(name, network))
        for name in part.columns:
            if name == "link":
                continue
            values = part.numbers(name, default=np.nan, infinite=name == "capacity", most=MOST[name])
            for at in np.flatnonzero(~np.isnan(values)).tolist():
                found.setdefault(part.columns["link"][at], {})[name] = float(values[at])
    return found


def _link_number(name: str, network: Network) -> int:
    number = network.link_numbers.get(name)
    if number is None:
        raise SuanwangError(
            BAD_PROBLEM, f"there is no link {name[:60]!r}", nearest(name, network.link_numbers, "links")
        )
    return number


def with_telemetry(network: Network, rows: Mapping[str, Mapping[str, float]]) -> Network:
    """The network with these values in place of its own: link's name -> field of `Network` -> value. Raises
    BAD_PROBLEM.
    """
    columns: dict[str, Any] = {}
    for link, values in rows.items():
        at = _link_number(link, network)
        for name, value in values.items():
            if name not in MEASURED:
                raise SuanwangError(
                    BAD_PROBLEM, f"{name[:60]!r} of links is not measured", "see docs/rooms/steering.md"
                )
            if name not in columns:
                columns[name] = getattr(network, name).copy()
            columns[name][at] = value
    return replace(network, **columns) if columns else network
