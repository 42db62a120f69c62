"""Writing htsim's connection matrices; the format is told in `matrix.py`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from suanwang.fabric.exchange.matrix import MICROSECOND_PS, SWITCHES, Failure
from suanwang.fabric.traffic import NONE, Traffic


def matrix_text(endpoints: int, traffic: Traffic, failures: Iterable[Failure] = ()) -> Iterator[str]:
    """The `.cm` file of some flows, in pieces. Times are written in microseconds, with as many decimals as needed.

    Flows are numbered from 1.
    """
    yield f"Nodes {endpoints}\nConnections {len(traffic)}\n"
    if triggers := len(traffic.trigger_count):
        yield f"Triggers {triggers}\n"
    if failed := list(failures):
        yield f"Failures {len(failed)}\n"
    names = {tier: name for name, tier in SWITCHES.items()}
    for begin in range(0, len(traffic), 10_000):
        columns = (
            traffic.source,
            traffic.target,
            traffic.size_bytes,
            traffic.start_ps,
            traffic.waits_for,
            traffic.fires,
            traffic.at_sender,
        )
        rows = zip(*(column[begin : begin + 10_000].tolist() for column in columns), strict=True)
        made = []
        for number, (source, target, size, start, waits, fires, at_sender) in enumerate(rows, begin + 1):
            when = f"trigger {waits + 1}" if waits != NONE else f"start {_microseconds(start)}"
            done = "send" if at_sender else "recv"
            after = f" {done}_done_trigger {fires + 1}" if fires != NONE else ""
            made.append(f"{source}->{target} id {number} {when} size {size}{after}\n")
        yield "".join(made)
    for number, count in enumerate(traffic.trigger_count.tolist(), 1):
        yield f"trigger id {number} {'oneshot' if count == 1 else f'barrier count {count}'}\n"
    for failure in failed:
        yield f"failure switch_type {names[failure.tier]} switch_id {failure.switch} link_id {failure.link}\n"


def _microseconds(time_ps: int) -> str:
    whole, rest = divmod(time_ps, MICROSECOND_PS)
    return f"{whole}.{rest:06d}".rstrip("0") if rest else str(whole)
