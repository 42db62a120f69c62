"""Labs: whole networks on this machine."""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import TYPE_CHECKING, Any

import click

from suanwang.cli import failure, sources
from suanwang.cli.session import current, note, output_option
from suanwang.cli.table import Styled, table
from suanwang.model.errors import NOT_FOUND, SuanwangError, code

if TYPE_CHECKING:
    from collections.abc import Callable

    from suanwang.cli.client import Client
    from suanwang.lab.lab import Lab
    from suanwang.model.registry import Resource

AGENTS_AWAY = code("AGENTS_AWAY", "agents of a lab did not connect to its controller")

DEFAULT_NAME = "lab"

name_option = click.option(
    "--name", default=DEFAULT_NAME, show_default=True, envvar="SUANWANG_LAB_NAME", help="the lab's name"
)


@click.group()
def lab() -> None:
    """A whole network on this machine: real routers, a controller and agents, in namespaces. Needs root.

    \b
      sudo suanwang lab up -f examples/leaf-spine
      sudo suanwang apply --lab lab -f examples/two-tenants --wait
      sudo suanwang probe --lab lab
      sudo suanwang lab exec port/retail/web-1 -- ping -c 3 10.0.1.2
      sudo suanwang lab cut spine-1-leaf-1
      sudo suanwang lab down
    """


@lab.command(
    epilog="""\b
Examples:
  sudo suanwang lab up -f examples/leaf-spine
  sudo suanwang lab up -f wan.yaml --name wan --emulate-all"""
)
@sources.files_option(required=True)
@name_option
@click.option("--emulate-all", is_flag=True, help="put every link under emulation, so that each can be impaired later")
@click.option("--bfd", is_flag=True, help="have routers detect dead links by BFD too")
@output_option
def up(files: tuple[str, ...], name: str, emulate_all: bool, bfd: bool) -> None:
    """Build a lab from the Regions, Nodes and Links of the files, and start its controller and agents.

    Other kinds in the files are left for `suanwang apply --lab NAME`.
    """
    from suanwang.lab.lab import KINDS

    session = current()
    resources = sources.read(files).resources
    started = start(name, resources, emulate_all=emulate_all, bfd=bfd, tell=note)
    others = sorted({resource.key.kind for resource in resources} - KINDS)
    if others:
        note(f"Left for the controller: {', '.join(others)}. Apply with: suanwang apply --lab {name} -f …")
    session.emit(
        started.underlay.status(), lambda: f"Lab {name!r} is up. Look around: suanwang lab status --name {name}"
    )


@lab.command()
@name_option
def down(name: str) -> None:
    """Take a lab away, in whatever state it is. Doing it twice is no error."""
    from suanwang.lab.lab import Lab
    from suanwang.lab.state import LabDirectory
    from suanwang.lab.underlay import Underlay

    require_root()
    Lab(Underlay(LabDirectory(name))).down()


@lab.command("list")
@output_option
def list_labs() -> None:
    """Names of the labs on this machine."""
    from suanwang.lab.state import names

    found = names()
    current().emit(found, lambda: "\n".join(found) if found else "No lab is there.")


@lab.command()
@name_option
@output_option
def status(name: str) -> None:
    """Nodes, processes and links of a lab. Exit code 2 when something of it is not well."""
    lab_found = opened(name)
    found = {**lab_found.underlay.status(), "controller": lab_found.runs("controller")}
    current().emit(found, lambda: _status_text(found))
    if not found["controller"] or any(
        node["dead"] or node["missing_routes"] or not node["present"] for node in _rows(found, "nodes")
    ):
        raise click.exceptions.Exit(failure.DIFFERENT)


@lab.command(
    "exec",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    epilog="""\b
Examples:
  sudo suanwang lab exec port/retail/web-1 -- ping -c 3 10.0.1.11
  sudo suanwang lab exec spine-1 -- ip route
  sudo suanwang lab exec spine-1 -- vtysh -c 'show bgp summary'""",
)
@name_option
@click.argument("target", metavar="NODE|port/TENANT/NAME")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def exec_in(name: str, target: str, command: tuple[str, ...]) -> None:
    """Run a command inside a node or workload; its exit code becomes this one's."""
    found = opened(name)
    words = list(command[1:] if command[0] == "--" else command)
    if not words:
        raise click.UsageError("no command is given; write it after --")
    if words[0] == "vtysh" and not target.startswith("port/"):
        words[1:1] = ["--vty_socket", str(found.directory.routing_directory(target))]
    line = found.command_line(target, words)
    environment = {**os.environ, **found.directory.environment}
    try:
        os.execvpe(line[0], line, environment)
    except OSError as problem:
        raise SuanwangError(failure.SYSTEM, f"{line[0]}: {problem.strerror}", "is util-linux installed?") from None


@lab.command()
@name_option
@click.argument("link")
def cut(name: str, link: str) -> None:
    """Switch both ends of a link off."""
    opened(name).underlay.cut(link)


@lab.command()
@name_option
@click.argument("link")
def heal(name: str, link: str) -> None:
    """Switch both ends of a link on again."""
    opened(name).underlay.heal(link)


@lab.command(
    epilog="""\b
Examples:
  sudo suanwang lab impair spine-1-leaf-1 --delay 20ms --loss 1%
  sudo suanwang lab impair spine-1-leaf-1                     as it was made, without any"""
)
@name_option
@click.argument("link")
@click.option("--delay", default="0", metavar="TIME", help="one way, as in 20ms")
@click.option("--loss", default="0", metavar="SHARE", help="of packets, as in 1%")
@click.option("--rate", default="0", metavar="RATE", help="limit, as in 100Mbps")
def impair(name: str, link: str, delay: str, loss: str, rate: str) -> None:
    """Give both directions of a link a delay, a loss and a rate. Routers are not told."""
    from suanwang.lab.description import Impairment

    opened(name).underlay.impair(
        link, Impairment(_read("delay", delay), _read("loss", loss) / 1e6, _read("rate", rate))
    )


@lab.command("restart")
@name_option
@click.argument("what", metavar="controller|NODE")
def restart(name: str, what: str) -> None:
    """Start the controller, or a node's agent, anew: also one that was killed. What runs is ended first."""
    found = opened(name)
    role, node = ("controller", "") if what == "controller" else ("agent", what)
    if role == "agent" and node not in found.hosts():
        hosts = ", ".join(found.hosts())
        raise SuanwangError(NOT_FOUND, f"lab {name!r} has no agent for {node!r}", f"name one of controller, {hosts}")
    if found.runs(role, node):
        found.stop(role, node)
    if role == "controller":
        found.start_server()
    else:
        found.start_agent(node)


def opened(name: str) -> Lab:
    """The lab of that name. Raises LAB_MISSING, LAB_NEEDS."""
    from suanwang.lab.lab import Lab

    require_root()
    return Lab.open(name)


def start(
    name: str,
    resources: list[Resource],
    *,
    tell: Callable[[str], None],
    emulate_all: bool = False,
    bfd: bool = False,
) -> Lab:
    """Start a lab and wait until all its agents are connected. What fails, or is interrupted, is taken away again.

    Raises what `Lab.up` raises, AGENTS_AWAY.
    """
    from suanwang.lab.lab import Lab
    from suanwang.lab.state import LAB_EXISTS
    from suanwang.model.registry import load

    require_root()
    refuse_existing(name)
    try:
        found = Lab.up(name, resources, load(), emulate_all=emulate_all, bfd=bfd, progress=tell)
        wait_for_agents(client_of(found), found.hosts())
    except BaseException as problem:
        if not (isinstance(problem, SuanwangError) and problem.code == LAB_EXISTS):
            take_away(name)
        raise
    return found


def refuse_existing(name: str) -> None:
    """Raises LAB_EXISTS. Said before anything is tried: what is cleaned up after a failure must be the caller's own."""
    from suanwang.lab.state import LAB_EXISTS, LabDirectory

    if LabDirectory(name).path.exists():
        hint = f"remove it: suanwang lab down --name {name}; or choose another name: --name NAME"
        raise SuanwangError(LAB_EXISTS, f"lab {name!r} is there already", hint)


def take_away(name: str) -> None:
    """Take a lab away, if it is there; whoever wants this process to end sooner has to wait."""
    from suanwang.lab.lab import Lab
    from suanwang.lab.state import LabDirectory
    from suanwang.lab.underlay import Underlay

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [(number, signal.signal(number, signal.SIG_IGN)) for number in numbers]
    try:
        Lab(Underlay(LabDirectory(name))).down()
    finally:
        for number, handler in before:
            signal.signal(number, handler)


def client_of(lab: Lab) -> Client:
    """A client of the lab's controller, as its administrator."""
    from suanwang.cli.client import Client
    from suanwang.cli.whereabouts import find

    return Client(find({"lab": lab.directory.name}))


def wait_for_agents(client: Client, hosts: list[str], limit_s: float = 30.0) -> None:
    """Wait until these nodes' agents are connected. Raises AGENTS_AWAY."""
    deadline = time.monotonic() + limit_s
    while True:
        connected = {node["name"] for node in client.get("/v1/nodes")["nodes"] if node["connected"]}
        away = [host for host in hosts if host not in connected]
        if not away:
            return
        if time.monotonic() > deadline:
            message = f"after {limit_s:g} s these agents have not connected: {', '.join(away)}"
            raise SuanwangError(AGENTS_AWAY, message, "their logs are in the lab's run directory, under agents/")
        time.sleep(0.05)


def require_root() -> None:
    """Raises LAB_NEEDS for anyone but root."""
    if os.geteuid() != 0:
        from suanwang.lab.underlay import LAB_NEEDS

        raise SuanwangError(LAB_NEEDS, "a lab needs root, to enter network namespaces", f"sudo {' '.join(sys.argv)}")


def _read(what: str, text: str) -> int:
    from suanwang.model import units

    known, example = {
        "delay": (units.DURATION_UNITS, "20ms"),
        "loss": (units.RATIO_UNITS, "1%"),
        "rate": (units.RATE_UNITS, "100Mbps"),
    }[what]
    try:
        return units.parse(text, known, example)
    except ValueError as problem:
        raise click.BadParameter(str(problem), param_hint=f"--{what}") from None


def _rows(found: dict[str, Any], what: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = found[what]
    return rows


def _status_text(found: dict[str, Any]) -> str:
    nodes = [
        (
            node["name"],
            node["role"],
            ", ".join(node["loopbacks"]),
            ", ".join(node["running"]),
            Styled(", ".join(node["dead"]), "red") if node["dead"] else None,
            Styled(f"{len(node['missing_routes'])} missing", "red") if node["missing_routes"] else "all",
        )
        for node in found["nodes"]
    ]
    links = [
        (
            link["name"],
            link["a"],
            link["b"],
            Styled("cut", "red") if link["state"] == "cut" else "up",
            f"{link['delay_us'] / 1000:g} ms" if link["delay_us"] else None,
            f"{link['loss'] * 100:g}%" if link["loss"] else None,
        )
        for link in found["links"]
    ]
    controller = "running" if found["controller"] else "dead; start it again: suanwang lab restart controller"
    head = f"Lab {found['name']}: {found['stage']}; controller {controller}"
    first = table(("NODE", "ROLE", "LOOPBACKS", "RUNNING", "DEAD", "ROUTES"), nodes)
    return "\n\n".join([head, first, table(("LINK", "A", "B", "STATE", "DELAY", "LOSS"), links)])
