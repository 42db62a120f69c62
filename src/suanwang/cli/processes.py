"""The long-running processes: the server (controller and API), and the agent of a node."""

from __future__ import annotations

import logging
import socket
from pathlib import Path
from typing import Any

import click

from suanwang.cli.whereabouts import DEFAULT_DATA_DIRECTORY

AGENT_STATE = Path("/var/lib/suanwang-agent")
LOG_LEVELS = ("debug", "info", "warning", "error")


@click.command(
    epilog="""\b
Examples:
  suanwang server
  suanwang server --listen 0.0.0.0:7443 --name ctl.example --data-directory /srv/suanwang
On this machine the other commands find it by themselves; elsewhere: suanwang context set."""
)
@click.option(
    "--data-directory",
    type=click.Path(file_okay=False, path_type=Path),
    default=DEFAULT_DATA_DIRECTORY,
    show_default=True,
    metavar="FOLDER",
    help="where the store, the authority's key and the first token are kept; for one server at a time",
)
@click.option("--listen", default="127.0.0.1:7443", show_default=True, metavar="HOST:PORT", help="where it listens")
@click.option("--name", "names", multiple=True, help="a further name or address at which it is reached")
@click.option("--log-level", type=click.Choice(LOG_LEVELS), default="info", show_default=True, help="how much it logs")
@click.option("--metrics-open", is_flag=True, help="show /metrics to everyone, not to this machine and tokens only")
def server(data_directory: Path, listen: str, names: tuple[str, ...], log_level: str, metrics_open: bool) -> None:
    """Run the controller and its API until SIGTERM or Ctrl-C."""
    from suanwang.api.main import run
    from suanwang.api.settings import Settings, read_listen

    host, port = read_listen(listen)
    run(Settings(data_directory, host, port, names, log_level, metrics_open))


@click.command(
    epilog="""\b
Examples:
  suanwang agent --node h1 --controller ctl.example:7443 --token-file h1.token     the first time
  suanwang agent --node h1 --controller ctl.example:7443                           from then on
  suanwang agent --node h1 --clean-up                                              take away all it has made
The token comes from: suanwang enrol-token NODE."""
)
@click.option(
    "--node", default=socket.gethostname, show_default="the host's name", metavar="NAME", help="the node it is for"
)
@click.option(
    "--controller", default="127.0.0.1:7443", show_default=True, metavar="HOST:PORT", help="the server to be told by"
)
@click.option(
    "--state-directory",
    type=click.Path(file_okay=False, path_type=Path),
    default=AGENT_STATE,
    show_default=True,
    metavar="FOLDER",
    help="where it keeps its key, its certificate and the program it holds",
)
@click.option(
    "--token-file", type=click.Path(path_type=Path), metavar="FILE", help="file with the one-time token to enrol with"
)
@click.option("--token", metavar="TOKEN", help="the token itself; others on the machine may see it: prefer a file")
@click.option("--underlay", metavar="NETNS", help="the namespace that stands for the node [default: the machine's own]")
@click.option("--prefix", default="sw.", show_default=True, help="how the names of the namespaces that it makes begin")
@click.option("--metrics-listen", metavar="HOST:PORT", help="serve /metrics there [default: nowhere]")
@click.option(
    "--verify-interval",
    type=click.FloatRange(0.1),
    default=2.0,
    show_default=True,
    metavar="SECONDS",
    help="how often it looks whether what it made is still so",
)
@click.option("--once", is_flag=True, help="end when the program is applied; exit code 1 if something of it failed")
@click.option(
    "--clean-up", is_flag=True, help="take away all that an agent of this state directory and prefix has made"
)
@click.option("--log-level", type=click.Choice(LOG_LEVELS), default="info", show_default=True, help="how much it logs")
def agent(node: str, controller: str, verify_interval: float, log_level: str, **settings: Any) -> None:
    """Run the agent of a node (as root): receive its program, carry it out, keep it so, probe, report.

    Ending it changes nothing of what it has made; the packets go on.
    """
    from suanwang.agent.main import Settings, run

    level = logging.getLevelNamesMapping()[log_level.upper()]
    interval_us = int(verify_interval * 1_000_000)
    status = run(Settings(controller, node, verify_interval_us=interval_us, log_level=level, **settings))
    if status:
        raise click.exceptions.Exit(status)
