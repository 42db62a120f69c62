"""Assertions, tried with real packets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

import click

from suanwang.cli import failure, naming
from suanwang.cli.session import current, server_options
from suanwang.cli.table import Styled, table


@click.command(
    epilog="""\b
Examples:
  suanwang probe
  suanwang probe web-to-db --tenant retail --count 10
  suanwang probe retail/web-to-db bank/no-strangers
Exit code 2 when one does not hold."""
)
@click.argument("assertions", nargs=-1, metavar="[ASSERTION]…")
@naming.tenant_option
@click.option("--count", type=click.IntRange(1, 100), default=3, show_default=True, help="packets or connections each")
@server_options
def probe(assertions: tuple[str, ...], tenant: str, count: int) -> None:
    """Try assertions with real packets between the workloads: those named, a tenant's, or all.

    An assertion that expects `denied` holds when nothing comes through.
    """
    session = current()
    client = session.client()
    keys = [naming.key("assertion", name, tenant) for name in assertions]
    body = {
        "assertions": [{"tenant": key.tenant, "name": key.name} for key in keys],
        "tenant": "" if keys else tenant,
        "count": count,
    }
    results = client.post("/v1/probe", body, timeout_s=600)["results"]
    ends = _ends(client, results) if session.output == "table" else {}
    session.emit(results, lambda: results_text(results, ends))
    if not all(result["holds"] for result in results):
        raise click.exceptions.Exit(failure.DIFFERENT)


def results_text(results: list[Mapping[str, Any]], ends: Mapping[tuple[str, str], tuple[str, str]]) -> str:
    """Results as a table. `ends`: from and to of an assertion by tenant and name."""
    if not results:
        return "No assertion is declared."
    head: Sequence[str] = ("ASSERTION", "FROM", "TO", "EXPECT", "RESULT", "RTT min/median/max ms", "LOSS", "DETAIL")
    rows: list[Sequence[Any]] = []
    for result in results:
        source, destination = ends.get((result["tenant"], result["name"]), ("-", "-"))
        colour = "green" if result["holds"] else "red"
        mark = "ok" if result["holds"] else "FAILS"
        sent, answered = result["sent"], result["answered"]
        # Loss says something of a way that is open; where nothing shall pass, all is lost.
        loss = f"{100 * (sent - answered) / sent:.0f}%" if sent and answered else None
        rows.append(
            (
                f"{result['tenant']}/{result['name']}",
                source,
                destination,
                result["expect"],
                Styled(f"{mark}: {result['outcome']}", colour),
                times(result["rttUs"]),
                loss,
                result["detail"],
            )
        )
    if not any(row[-1] for row in rows):
        head, rows = head[:-1], [row[:-1] for row in rows]
    failing = sum(not result["holds"] for result in results)
    told = f"{len(results) - failing} of {len(results)} hold." if failing else f"All {len(results)} hold."
    return table(head, rows, right=("LOSS",)) + f"\n\n{click.style(told, fg='red' if failing else 'green', bold=True)}"


def times(rtt_us: list[int]) -> str | None:
    """Least, median and greatest round-trip time in milliseconds."""
    if not rtt_us:
        return None
    return " / ".join(f"{value / 1000:.2f}" for value in (min(rtt_us), median(rtt_us), max(rtt_us)))


def _ends(client: Any, results: list[Mapping[str, Any]]) -> dict[tuple[str, str], tuple[str, str]]:
    """From and to of every assertion that was tried, as its declaration says."""
    found = {}
    tenants = {result["tenant"] for result in results}
    for tenant in tenants:
        for item in client.items("Assertion", tenant):
            spec = item["spec"]
            port = f":{spec['port']}" if spec.get("port") else ""
            destination = spec["to"].get("port") or spec["to"].get("address", "-")
            text = f"{destination} {spec.get('protocol', 'icmp')}{port}"
            found[tenant, item["metadata"]["name"]] = (spec["from"]["port"], text)
    return found
