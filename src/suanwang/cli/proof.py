"""What programs let packets do: proof of all that was promised, and the way of one packet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from suanwang.cli import failure, sources
from suanwang.cli.session import current, server_options
from suanwang.cli.table import printable
from suanwang.model.errors import INVALID, SuanwangError


@click.command(
    epilog="""\b
Examples:
  suanwang prove
  suanwang prove --tenant retail
  suanwang prove -f network/            files alone, without a server
Exit code 2 when something does not hold."""
)
@sources.files_option(required=False)
@click.option("--tenant", default="", metavar="NAME", help="only what concerns this tenant")
@server_options
def prove(files: tuple[str, ...], tenant: str) -> None:
    """Prove on the compiled programs: every assertion, that tenants never meet, that nothing loops or goes astray."""
    session = current()
    if files:
        from suanwang.cli.local import prove_alone

        found = prove_alone(sources.read(files), tenant)
    else:
        found = session.client().get("/v1/prove", {"tenant": tenant} if tenant else None, timeout_s=600)
    session.emit(found, lambda: _proof_text(found))
    if not found["proven"]:
        raise click.exceptions.Exit(failure.DIFFERENT)


@click.command(
    epilog="""\b
Examples:
  suanwang trace --from port/retail/web-1 --to port/retail/db-1 --protocol tcp --port 5432
  suanwang trace --from port/retail/web-1 --to 10.0.3.10
  suanwang trace -f network/ --from port/retail/web-1 --to port/retail/db-1      files alone
Exit code 2 when the packet, or its answer, does not arrive. Reasons: docs/reasons.md"""
)
@sources.files_option(required=False)
@click.option("--from", "source", required=True, metavar="port/TENANT/NAME", help="who sends it")
@click.option("--to", "destination", required=True, metavar="port/TENANT/NAME|ADDRESS", help="where it goes")
@click.option(
    "--protocol", type=click.Choice(["icmp", "tcp", "udp"]), default="icmp", show_default=True, help="of the packet"
)
@click.option("--port", type=click.IntRange(1, 65535), help="destination port, for tcp and udp")
@click.option("--version", type=click.Choice(["4", "6"]), help="IP version where both ends have both")
@server_options
def trace(
    files: tuple[str, ...], source: str, destination: str, protocol: str, port: int | None, version: str | None
) -> None:
    """The way of one packet through the compiled programs, hop by hop with the reason at each, and of its answer."""
    session = current()
    tenant, name = _port(source, "--from")
    body: dict[str, Any] = {"tenant": tenant, "portName": name, "protocol": protocol}
    if destination.startswith("port/"):
        body["toTenant"], body["toName"] = _port(destination, "--to")
    else:
        body["address"] = destination
    body |= {"port": port or 0, "version": int(version or 0)}
    if files:
        from suanwang.cli.local import trace_alone

        found = trace_alone(sources.read(files), body)
    else:
        found = session.client().post("/v1/trace", body)
    session.emit(found, lambda: _trace_text(found))
    if not found["there"]["delivered"] or not (found["back"] and found["back"]["delivered"]):
        raise click.exceptions.Exit(failure.DIFFERENT)


def _port(text: str, flag: str) -> tuple[str, str]:
    kind, _, rest = text.partition("/")
    tenant, _, name = rest.partition("/")
    if kind != "port" or not tenant or not name:
        raise SuanwangError(INVALID, f"{flag}: {text!r} names no port", "write it as port/TENANT/NAME")
    return tenant, name


def _proof_text(found: Mapping[str, Any]) -> str:
    lines = []
    for one in found["findings"]:
        lines.append(click.style(f"{one['subject']}: {printable(one['message'])} ({one['code']})", fg="red"))
        lines += [f"    {printable(step)}" for step in one["steps"]]
    networks = f"{found['components']} {'network' if found['components'] == 1 else 'networks'}"
    looked = f"{found['assertions']} assertions, isolation and forwarding of {networks}"
    if found["proven"]:
        lines.append(click.style(f"Proven: {looked}.", fg="green", bold=True))
    else:
        lines.append(click.style(f"{len(found['findings'])} wrong, of {looked}.", fg="red", bold=True))
    return "\n".join(lines)


def _trace_text(found: Mapping[str, Any]) -> str:
    blocks = [_way_text("There", found["there"])]
    if found["back"]:
        blocks.append(_way_text("Back", found["back"]))
    return "\n\n".join(blocks)


def _way_text(title: str, way: Mapping[str, Any]) -> str:
    colour = "green" if way["delivered"] else "red"
    head = click.style(f"{title}: {way['packet']}  {way['code']}", fg=colour, bold=True)
    lines = []
    place = None
    for step in way["steps"]:
        if place != (step["node"], step["netns"]):
            place = (step["node"], step["netns"])
            lines.append(f"  {step['node']}  {step['netns']}")
        code = f"  {step['code']}" if step["code"] else ""
        lines.append(f"    {printable(step['what'])}{code}")
    return "\n".join([head, *lines])
