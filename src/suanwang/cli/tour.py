"""What the tours of `suanwang demo` share: steps with times, a flow that is watched, and the report at the end."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from suanwang.cli.table import Styled, table
from suanwang.model.errors import SuanwangError, code

if TYPE_CHECKING:
    from suanwang.cli.client import Client
    from suanwang.lab.lab import Lab

DEMO_FAILED = code("DEMO_FAILED", "something that a demo shows did not turn out as it must")

INTERVAL_S = 0.005
"""Between two packets of a watched flow."""


@dataclass(slots=True)
class Report:
    """What was asserted and measured: rows of (what, asked, measured, whether it is so)."""

    rows: list[tuple[str, str, str, bool | None]] = field(default_factory=list)
    started_s: float = field(default_factory=time.monotonic)

    def add(self, what: str, asked: str, measured: str, holds: bool | None = None) -> None:
        """One finding; `holds` is None where nothing was asked."""
        self.rows.append((what, asked, measured, holds))

    @property
    def fine(self) -> bool:
        """Whether everything that was asked is so."""
        return all(holds is not False for *_, holds in self.rows)

    def text(self) -> str:
        """The report as a table."""
        marks = {True: Styled("ok", "green"), False: Styled("NO", "red"), None: ""}
        rows = [(what, asked, measured, marks[holds]) for what, asked, measured, holds in self.rows]
        return table(("WHAT", "ASKED", "MEASURED", ""), rows)

    def data(self) -> list[dict[str, Any]]:
        """The report as stable JSON fields."""
        names = ("what", "asked", "measured", "holds")
        return [dict(zip(names, row, strict=True)) for row in self.rows]

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Say what is being done now, and how long it took."""
        click.echo(click.style(f"\n▶ {title}", bold=True), err=True)
        begun = time.monotonic()
        yield
        click.echo(click.style(f"  {time.monotonic() - begun:.1f} s", dim=True), err=True)


def tell(text: str) -> None:
    """A remark within a step."""
    click.echo(f"  {text}", err=True)


@dataclass(frozen=True, slots=True)
class Interruption:
    """What a watched flow went through: the longest time without an answer, and packets lost of those sent."""

    longest_s: float
    sent: int
    lost: int


class Flow:
    """Echo requests between two workloads every 5 ms, so that a gap in the answers can be measured."""

    def __init__(self, lab: Lab, source: str, destination: str) -> None:
        words = ["ping", "-n", "-D", "-i", str(INTERVAL_S), "-W", "1", destination]
        line = lab.command_line(source, words)
        environment = lab.underlay.environment
        self._process = subprocess.Popen(
            line, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
        )
        time.sleep(0.3)

    def stop(self) -> Interruption:
        """End the flow and say what it went through. Raises DEMO_FAILED when nothing ever came back."""
        import signal

        self._process.send_signal(signal.SIGINT)
        output, _ = self._process.communicate(timeout=10)
        times = [
            float(line[1 : line.index("]")]) for line in output.splitlines() if line.startswith("[") and "ttl=" in line
        ]
        if len(times) < 2:
            raise SuanwangError(DEMO_FAILED, "nothing came back from the watched flow", "see `suanwang probe`")
        longest_s = max(after - before for before, after in pairwise(times)) - INTERVAL_S
        summary = next(line for line in output.splitlines() if "packets transmitted" in line)
        sent, received = (int(part.split()[0]) for part in summary.split(",")[:2])
        # One may still be on its way when the flow is ended; it is not lost.
        return Interruption(max(0.0, longest_s), sent, max(0, sent - received - 1))


def busiest_link(lab: Lab, seconds: float = 0.3) -> str:
    """The link between two routers that carries most packets at this moment."""
    roles = {node["name"]: node["role"] for node in _nodes(lab)}
    candidates = [link for link in lab.underlay.planned_links() if roles[link.description.a] != "host"]
    candidates = [link for link in candidates if roles[link.description.b] != "host"]
    before = {link.description.name: _packets(lab, link) for link in candidates}
    time.sleep(seconds)
    moved = {link.description.name: _packets(lab, link) - before[link.description.name] for link in candidates}
    return max(moved, key=lambda name: moved[name])


def _packets(lab: Lab, link: Any) -> int:
    import json

    total = 0
    for node, end in zip((link.description.a, link.description.b), link.ends, strict=True):
        found = lab.underlay.exec(node, ["ip", "-s", "-j", "link", "show", "dev", end.interface], check=True)
        total += json.loads(found.stdout)[0]["stats64"]["tx"]["packets"]
    return total


def _nodes(lab: Lab) -> list[dict[str, Any]]:
    found: Any = lab.underlay.status()["nodes"]
    return list(found)


def wait_for_routes(lab: Lab, limit_s: float = 20.0) -> float:
    """Wait until every node has routes to all others; returns how long that took. Raises DEMO_FAILED."""
    begun = time.monotonic()
    while lab.underlay.missing_routes():
        if time.monotonic() - begun > limit_s:
            raise SuanwangError(
                DEMO_FAILED, f"routes are still missing after {limit_s:g} s", "see `suanwang lab status`"
            )
        time.sleep(0.02)
    return time.monotonic() - begun


def apply(client: Client, documents: list[dict[str, Any]], report: Report, limit_s: float = 60.0) -> None:
    """Plan, show the plan, carry it out and wait for the nodes."""
    from suanwang.cli.planned import plan_text

    plan = client.post("/v1/plan", {"documents": documents, "delete": [], "prune": False, "set": "demo"}, timeout_s=600)
    click.echo(plan_text(plan), err=True)
    begun = time.monotonic()
    applied = client.post("/v1/apply", {"plan": plan, "message": "demo"}, timeout_s=600)
    query = {"revision": applied["revision"], "timeout": f"{limit_s:g}"}
    state = client.get("/v1/wait", query, timeout_s=limit_s + 30)
    if state["waiting"] or state["failed"] or state["absent"]:
        raise SuanwangError(DEMO_FAILED, f"not carried out: {state}", "see `suanwang nodes`")
    took_s = time.monotonic() - begun
    report.add("from apply to all nodes programmed", "", f"{took_s:.2f} s")
    tell(f"revision {applied['revision']}: {len(applied['nodes'])} nodes programmed in {took_s:.2f} s")


def probe(client: Client, report: Report, what: str, count: int = 3) -> list[dict[str, Any]]:
    """Try all assertions with real packets, show and report them."""
    from suanwang.cli.probe import results_text

    results: list[dict[str, Any]] = client.post(
        "/v1/probe", {"assertions": [], "tenant": "", "count": count}, timeout_s=600
    )["results"]
    click.echo(results_text(list(results), {}), err=True)
    for expect in ("allowed", "denied"):
        these = [result for result in results if result["expect"] == expect]
        held = sum(result["holds"] for result in these)
        report.add(f"{what}: assertions that expect {expect}", f"{len(these)} hold", f"{held} hold", held == len(these))
    return results


def examples() -> Path:
    """The folder of examples: beside the sources in a checkout, inside the package where it was installed."""
    import suanwang

    package = Path(suanwang.__file__).parent
    inside = package / "examples"
    return inside if inside.is_dir() else package.parents[1] / "examples"


def unmet_needs() -> list[Mapping[str, str]]:
    """What this machine lacks that the demo can't do without, as doctor sees it."""
    from dataclasses import asdict

    from suanwang.linux.doctor import facts

    return [asdict(fact) for fact in facts() if fact.state == "missing"]
