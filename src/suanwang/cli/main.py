"""The program `suanwang`: its commands, and what every one of them shares."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

import click

from suanwang import __version__
from suanwang.cli import failure
from suanwang.cli.lazy import Entry, LazyGroup
from suanwang.cli.session import CONNECTION, FORMATS, Session, connection_option

CHANGE, LOOK, CHECK, DECIDE = "Declare", "Look", "Measure and check", "Decide"
LAB, RUN = "Try on this machine", "Run and administer"

COMMANDS = {
    "plan": Entry("suanwang.cli.change:plan", CHANGE, "What would change if these files were applied."),
    "apply": Entry("suanwang.cli.change:apply", CHANGE, "Carry out files or a saved plan."),
    "delete": Entry("suanwang.cli.change:delete", CHANGE, "Delete resources."),
    "rollback": Entry("suanwang.cli.change:rollback", CHANGE, "Go back to what was declared at a revision."),
    "topology": Entry("suanwang.cli.topology:topology", CHANGE, "Import a network from other formats, or show one."),
    "get": Entry("suanwang.cli.look:get", LOOK, "List resources, or show one."),
    "describe": Entry("suanwang.cli.look:describe", LOOK, "All about one resource: state, relations, what is wrong."),
    "watch": Entry("suanwang.cli.look:watch", LOOK, "Follow changes as they are made."),
    "history": Entry("suanwang.cli.look:history", LOOK, "Who changed what, and when."),
    "nodes": Entry("suanwang.cli.nodes:nodes", LOOK, "Nodes, their agents, and how far their programs are."),
    "program": Entry("suanwang.cli.program:program", LOOK, "A node's compiled program."),
    "schema": Entry("suanwang.cli.schema:schema", LOOK, "JSON Schema of a kind, or the list of kinds."),
    "explain": Entry("suanwang.cli.schema:explain", LOOK, "What an error code means."),
    "prove": Entry("suanwang.cli.proof:prove", CHECK, "Prove assertions and isolation on compiled programs."),
    "trace": Entry("suanwang.cli.proof:trace", CHECK, "The way of one packet, with the reason at each hop."),
    "probe": Entry("suanwang.cli.probe:probe", CHECK, "Try assertions with real packets."),
    "doctor": Entry("suanwang.cli.doctor:doctor", CHECK, "What this machine can do, what is missing, what follows."),
    "steer": Entry("suanwang.cli.steer:steer", DECIDE, "Which endpoint, which path, how much: on files alone."),
    "fabric": Entry("suanwang.cli.fabric:fabric", DECIDE, "AI and data-centre fabrics: design, simulate, configure."),
    "demo": Entry("suanwang.cli.demo:demo", LAB, "The tour: a lab, an example, a failure, a repair."),
    "lab": Entry("suanwang.cli.lab:lab", LAB, "A whole network on this machine."),
    "server": Entry("suanwang.cli.processes:server", RUN, "Run the controller and its API."),
    "agent": Entry("suanwang.cli.processes:agent", RUN, "Run the agent of a node."),
    "token": Entry("suanwang.cli.access:token", RUN, "Tokens of users of the API."),
    "enrol-token": Entry("suanwang.cli.access:enrol_token", RUN, "A one-time token for a node's agent."),
    "context": Entry("suanwang.cli.context:context", RUN, "Servers that this user works with."),
    "completion": Entry("suanwang.cli.completion:completion", RUN, "Completion for a shell."),
}


class Program(LazyGroup):
    """The outermost group: it turns whatever goes wrong below into an error text and an exit code."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run the program; ends the process with its exit code."""
        session = extra.setdefault("obj", Session())
        extra.setdefault("color", colours())
        try:
            status = super().main(args, "suanwang", complete_var, standalone_mode=False, **extra)
        except (click.Abort, KeyboardInterrupt):
            status = failure.INTERRUPTED
        except Exception as problem:
            if session.debug:
                raise
            failure.show(failure.errors_of(problem), session.output)
            status = failure.ERROR
        finally:
            session.close()
        if not standalone_mode:
            return status
        sys.exit(status or failure.DONE)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; a reader that has seen enough ends it quietly."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            # What is still in the buffer goes nowhere, without a complaint when Python ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise click.exceptions.Exit(failure.PIPE_CLOSED) from None
        return result


def colours() -> bool | None:
    """False where colours are unwanted (no-color.org, dumb terminals); None leaves it to whether this is a terminal."""
    return False if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" else None


def _output(context: click.Context, _: click.Parameter, value: str) -> None:
    if isinstance(context.obj, Session):
        context.obj.output = value


def _debug(context: click.Context, _: click.Parameter, value: bool) -> None:
    if isinstance(context.obj, Session):
        context.obj.debug = value


@click.group(
    cls=Program,
    entries=COMMANDS,
    context_settings={
        "auto_envvar_prefix": "SUANWANG",
        "help_option_names": ["-h", "--help"],
        "max_content_width": 110,
    },
    epilog="The flags above may also stand after the command. Every flag can be given as a variable: SUANWANG_SERVER, "
    "SUANWANG_OUTPUT, SUANWANG_PLAN_OUT. Exit codes: 0 done, 1 error, 2 there are changes (plan) or something does not "
    "hold (probe).",
)
@click.version_option(__version__, "--version", prog_name="suanwang", message="%(prog)s %(version)s")
@click.option(
    "--debug", is_flag=True, expose_value=False, is_eager=True, callback=_debug, help="show where a defect happened"
)
@click.option(
    "-o",
    "--output",
    type=click.Choice(FORMATS),
    default="table",
    callback=_output,
    expose_value=False,
    is_eager=True,
    help="form of the output [default: table]",
)
def main() -> None:
    """Suanwang, an operating system for cloud and computing-power networks.

    Declare what there shall be; see what would change; carry it out; try it with real packets.

    \b
      suanwang demo                        the tour, on this machine (as root)
      suanwang plan -f network/            what would change
      suanwang apply -f network/ --wait    carry it out
      suanwang probe                       does it hold?
    """


for _name, (_metavar, _text) in CONNECTION.items():
    connection_option(_name, _metavar, _text, hidden=False)(main)
