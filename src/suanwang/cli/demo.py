"""The tour: a lab, an example, a failure, a repair."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING, Any

import click

from suanwang.cli import failure, sources
from suanwang.cli.session import current, output_option
from suanwang.cli.tour import (
    Flow,
    Report,
    apply,
    busiest_link,
    examples,
    probe,
    tell,
    unmet_needs,
    wait_for_routes,
)
from suanwang.model.errors import SuanwangError

if TYPE_CHECKING:
    from suanwang.lab.lab import Lab

keep_option = click.option("--keep", is_flag=True, help="leave the lab running, and say how to look around")
name_option = click.option("--name", default="demo", show_default=True, help="the name of the demo's lab")


@click.group(
    invoke_without_command=True,
    epilog="""\b
Examples:
  sudo suanwang demo
  sudo suanwang demo --keep
  sudo suanwang demo chinanet
  sudo suanwang demo chinanet --graph Chinanet.graph""",
)
@keep_option
@name_option
@output_option
@click.pass_context
def demo(context: click.Context, keep: bool, name: str) -> None:
    """A whole network on this machine, in a minute: a leaf-spine underlay of real routers, two tenants with the same
    addresses, every assertion tried with real packets, a link cut and healed. Needs root."""
    if context.invoked_subcommand is None:
        run_tour(name, keep, _leaf_spine)


@demo.command(
    epilog="""\b
Examples:
  sudo suanwang demo chinanet
  sudo suanwang demo chinanet --graph Chinanet.graph --hosts 6"""
)
@click.option(
    "--graph", type=click.Path(), metavar="FILE", help="a topology to import [default: the backbone that is shipped]"
)
@click.option("--hosts", default=6, show_default=True, type=click.IntRange(2, 50), help="cities that have a host")
@keep_option
@name_option
@output_option
def chinanet(graph: str | None, hosts: int, keep: bool, name: str) -> None:
    """A backbone with the delays of a published topology, a VPC in several of its cities, round-trip times compared
    with the shortest paths, a link cut and healed."""
    from functools import partial

    from suanwang.cli.demo_backbone import backbone

    path = graph or str(examples() / "backbone" / "backbone.graph")
    run_tour(name, keep, partial(backbone, path=path, hosts=hosts))


def run_tour(name: str, keep: bool, tour: Any) -> None:
    """Run a tour, clean up whatever happens, print the report; exit code 2 when something is not as asked."""
    from suanwang.cli.lab import refuse_existing, require_root, take_away
    from suanwang.lab.state import LAB_EXISTS

    require_root()
    missing = unmet_needs()
    for fact in missing:
        tell(click.style(f"missing: {fact['name']}: {fact['consequence']} ({fact['remedy']})", fg="yellow"))
    refuse_existing(name)
    report = Report()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        tour(name, report)
    except BaseException as problem:
        if not keep and not (isinstance(problem, SuanwangError) and problem.code == LAB_EXISTS):
            take_away(name)
        raise
    if keep:
        _how_to_look_around(name)
    else:
        with report.step("take everything away"):
            take_away(name)
    report.add("the whole tour", "", f"{time.monotonic() - report.started_s:.1f} s")
    click.echo("", err=True)
    current().emit(report.data(), report.text)
    if not report.fine:
        raise click.exceptions.Exit(failure.DIFFERENT)


def _leaf_spine(name: str, report: Report) -> None:
    from suanwang.cli.lab import client_of, start

    with report.step("a region: 2 spines, 2 leaves, 4 hosts, all real FRR routers; a controller; an agent a host"):
        begun = time.monotonic()
        resources = sources.read([str(examples() / "leaf-spine")]).resources
        lab = start(name, resources, tell=tell)
        report.add("region up: routers converged, agents connected", "", f"{time.monotonic() - begun:.1f} s")
    client = client_of(lab)
    with report.step("two tenants with the same addresses: plan and apply"):
        apply(client, sources.read([str(examples() / "two-tenants")]).documents, report)
    with report.step("every assertion, tried with real packets"):
        probe(client, report, "two tenants")
    with report.step("cut the spine link that carries the traffic, while it flows"):
        _cut_and_heal(lab, client, report)
    with report.step("kill the controller; packets go on; start it again"):
        _without_controller(lab, report)
    client.close()


def _cut_and_heal(lab: Lab, client: Any, report: Report) -> None:
    source, destination = "port/retail/web-1", _address(client, "retail", "web-2")
    flow = Flow(lab, source, destination)
    link = busiest_link(lab)
    lab.underlay.cut(link)
    tell(f"cut {link}")
    time.sleep(1.0)
    seen = flow.stop()
    tell(f"longest time without an answer: {seen.longest_s * 1000:.0f} ms; {seen.lost} of {seen.sent} packets lost")
    report.add(f"interruption when {link} is cut", "< 1 s", f"{seen.longest_s * 1000:.0f} ms", seen.longest_s < 1.0)
    probe(client, report, "with the link cut", count=1)
    flow = Flow(lab, source, destination)
    lab.underlay.heal(link)
    took_s = wait_for_routes(lab)
    time.sleep(1.0)
    seen = flow.stop()
    tell(f"healed; longest time without an answer: {seen.longest_s * 1000:.0f} ms")
    report.add("all routes back after healing", "", f"{took_s:.2f} s")
    report.add("interruption when it is healed", "< 1 s", f"{seen.longest_s * 1000:.0f} ms", seen.longest_s < 1.0)


def _without_controller(lab: Lab, report: Report) -> None:
    from suanwang.cli.lab import client_of, wait_for_agents

    client = client_of(lab)
    destination = _address(client, "retail", "web-2")
    client.close()
    flow = Flow(lab, "port/retail/web-1", destination)
    lab.kill("controller")
    time.sleep(0.5)
    lab.start_server()
    client = client_of(lab)
    wait_for_agents(client, lab.hosts())
    client.close()
    seen = flow.stop()
    tell(f"{seen.lost} of {seen.sent} packets lost")
    report.add("packets lost while the controller was killed and came back", "0", str(seen.lost), seen.lost == 0)


def _address(client: Any, tenant: str, port: str) -> str:
    from suanwang.model.reference import Key

    document = client.item(Key("Port", tenant, port))
    return str(document["status"]["addresses"][0])


def _how_to_look_around(name: str) -> None:
    flag = "" if name == "lab" else f" --name {name}"
    lines = [
        "The lab goes on. Look around:",
        f"  suanwang lab status{flag}",
        f"  suanwang nodes --lab {name}",
        f"  suanwang get port -A --lab {name}",
        f"  suanwang probe --lab {name}",
        "  ip netns                                     every router, VPC and workload is a namespace",
        f"  suanwang lab down{flag}                     when you are done",
    ]
    click.echo("\n".join(["", *lines]), err=True)
