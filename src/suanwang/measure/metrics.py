"""The figures that the long-running programs publish for Prometheus: declared once, here; documented from here.

Names follow Prometheus' conventions: base units (seconds, bytes, ratios), `_total` on counters. A label takes few
values; where its values come from users (an assertion's name) `limit` says how many series there may be.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

SERIES_LIMIT = 1000
"""Most series of one metric whose labels hold users' names. What would be more is not published."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One figure: its name, how it behaves, the names of its labels, and what it means. `limit` 0: few by nature."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    meaning: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    limit: int = 0


APPLY_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""From one object changed (about a millisecond) to a full host from nothing (seconds)."""

AGENT_OBJECTS = Metric(
    "suanwang_agent_objects", "gauge", "objects of the node's program by state: done, pending or failed", ("state",)
)
AGENT_REVISION = Metric("suanwang_agent_program_revision", "gauge", "store revision of the program last applied")
AGENT_APPLY = Metric(
    "suanwang_agent_apply_seconds", "histogram", "time to bring the kernel to a program", buckets=APPLY_BUCKETS
)
AGENT_VERIFY = Metric(
    "suanwang_agent_verify_seconds", "histogram", "time to compare the kernel with the program", buckets=APPLY_BUCKETS
)
AGENT_REPAIRS = Metric(
    "suanwang_agent_repairs_total", "counter", "objects that others had changed and that were put back"
)
AGENT_REFUSALS = Metric(
    "suanwang_agent_refusals_total", "counter", "updates that the agent refused, by code", ("code",)
)
AGENT_CONNECTED = Metric("suanwang_agent_connected", "gauge", "1 while connected to the controller, else 0")
AGENT_RECONNECTS = Metric("suanwang_agent_reconnects_total", "counter", "connections to the controller after the first")
AGENT_CERTIFICATE = Metric(
    "suanwang_agent_certificate_expiry_timestamp_seconds", "gauge", "when the node's certificate ends, in Unix time"
)
AGENT_PROBES = Metric(
    "suanwang_agent_probes_total",
    "counter",
    "assertions tried, by outcome: allowed, denied or error",
    ("assertion", "outcome"),
    limit=SERIES_LIMIT,
)
AGENT_PROBE_RTT = Metric(
    "suanwang_agent_probe_rtt_seconds",
    "gauge",
    "median round-trip time of the last answered tries of an assertion",
    ("assertion",),
    limit=SERIES_LIMIT,
)
AGENT_PROBE_LOSS = Metric(
    "suanwang_agent_probe_loss_ratio",
    "gauge",
    "share of the last tries of an assertion that stayed unanswered, 0 to 1",
    ("assertion",),
    limit=SERIES_LIMIT,
)

AGENT = (
    AGENT_OBJECTS,
    AGENT_REVISION,
    AGENT_APPLY,
    AGENT_VERIFY,
    AGENT_REPAIRS,
    AGENT_REFUSALS,
    AGENT_CONNECTED,
    AGENT_RECONNECTS,
    AGENT_CERTIFICATE,
    AGENT_PROBES,
    AGENT_PROBE_RTT,
    AGENT_PROBE_LOSS,
)
"""What an agent publishes."""

CONTROLLER_REVISION = Metric("suanwang_controller_revision", "gauge", "revision of the store")
CONTROLLER_AGENTS = Metric("suanwang_controller_agents_connected", "gauge", "agents connected now")
CONTROLLER_APPLY = Metric(
    "suanwang_controller_apply_seconds",
    "histogram",
    "time from a plan's receipt to its commit and compiled programs",
    buckets=APPLY_BUCKETS,
)
CONTROLLER_UPDATES = Metric("suanwang_controller_updates_total", "counter", "updates of programs sent to agents")
CONTROLLER_UPDATE_BYTES = Metric("suanwang_controller_update_bytes_total", "counter", "bytes of those updates")
CONTROLLER_REFUSALS = Metric(
    "suanwang_controller_refusals_total", "counter", "updates that agents refused, by code", ("code",)
)
CONTROLLER_PROBLEMS = Metric("suanwang_controller_problems", "gauge", "resources that can't be carried out now")
CONTROLLER_REQUESTS = Metric(
    "suanwang_controller_requests_total", "counter", "HTTP requests answered", ("method", "route", "status")
)
CONTROLLER_REQUEST = Metric(
    "suanwang_controller_request_seconds", "histogram", "time to answer a request", ("route",), buckets=APPLY_BUCKETS
)
CONTROLLER_COMPILE = Metric(
    "suanwang_controller_compile_seconds",
    "histogram",
    "time from a commit to all programs that it touches compiled",
    buckets=APPLY_BUCKETS,
)
CONTROLLER_COMMITS = Metric("suanwang_controller_commits_total", "counter", "commits of the store since the start")
CONTROLLER_PROBES = Metric(
    "suanwang_controller_probes_total",
    "counter",
    "assertions probed, by outcome and by whether they hold (yes or no)",
    ("outcome", "holds"),
)
CONTROLLER_REFUSED = Metric(
    "suanwang_controller_refused_requests_total",
    "counter",
    "requests refused for who sent them, by error code",
    ("code",),
)

CONTROLLER = (
    CONTROLLER_REVISION,
    CONTROLLER_AGENTS,
    CONTROLLER_APPLY,
    CONTROLLER_UPDATES,
    CONTROLLER_UPDATE_BYTES,
    CONTROLLER_REFUSALS,
    CONTROLLER_PROBLEMS,
    CONTROLLER_REQUESTS,
    CONTROLLER_REQUEST,
    CONTROLLER_COMPILE,
    CONTROLLER_COMMITS,
    CONTROLLER_PROBES,
    CONTROLLER_REFUSED,
)
"""What a controller publishes."""


def markdown(metrics: Iterable[Metric]) -> str:
    """A table of metrics for the docs."""
    rows = ["| metric | type | labels | meaning |", "|---|---|---|---|"]
    for metric in metrics:
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        rows.append(f"| `{metric.name}` | {metric.kind} | {labels} | {metric.meaning} |")
    return "\n".join(rows) + "\n"
