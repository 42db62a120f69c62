"""Commands that change what is declared: plan, apply, delete, rollback."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import click

from suanwang.cli import failure, naming, sources
from suanwang.cli.client import Client
from suanwang.cli.planned import nodes_text, plan_text
from suanwang.cli.session import Session, current, note, server_options
from suanwang.cli.whereabouts import is_named
from suanwang.model.errors import SuanwangError, code

NOT_PROGRAMMED = code("NOT_PROGRAMMED", "the change is stored, but nodes have not carried it out")

prune_option = click.option(
    "--prune", is_flag=True, help="also delete what earlier applies of the same set declared and the files no longer do"
)
set_option = click.option(
    "--set",
    "set_name",
    default="default",
    show_default=True,
    metavar="NAME",
    help="the set of resources that the files are",
)
yes_option = click.option("-y", "--yes", is_flag=True, help="do not ask")
wait_option = click.option("--wait", is_flag=True, help="wait until the nodes have carried it out")
timeout_option = click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=0),
    default=60.0,
    show_default=True,
    help="longest wait, in seconds",
)
accept_option = click.option(
    "--accept",
    multiple=True,
    metavar="ASSERTION",
    help="carry it out although this no longer holds, as TENANT/NAME; may stand several times",
)
message_option = click.option("-m", "--message", default="", help="why; kept in the history")


@click.command(
    epilog="""\b
Examples:
  suanwang plan -f network/
  suanwang plan -f network/ --prune --out change.plan
  suanwang plan -f shop.yaml --offline      no server: against nothing
Exit code 2 when there are changes."""
)
@sources.files_option(required=True)
@prune_option
@set_option
@click.option("--out", type=click.Path(dir_okay=False), metavar="FILE", help="save the plan, to be applied as it is")
@click.option("--offline", is_flag=True, help="compile the files by themselves, without a server")
@server_options
def plan(files: tuple[str, ...], prune: bool, set_name: str, out: str | None, offline: bool) -> None:
    """Show what would change if the files were applied: `+` create, `~` update, `-` delete, the nodes touched, and what
    was proven of it.

    Without any server it shows what they would make of nothing.
    """
    session = current()
    declared = sources.read(files)
    if offline or not is_named(session.connection):
        from suanwang.cli.local import plan_alone

        made = plan_alone(declared, set_name)
        if not offline:
            note("No server is named: this plan is against nothing.")
    else:
        made = _ask_plan(session.client(), declared, prune=prune, set_name=set_name)
    if out:
        Path(out).write_text(
            json.dumps({"format": made["format"], **made}, ensure_ascii=False) + "\n", encoding="utf-8"
        )
    session.emit(made, lambda: plan_text(made))
    if out and session.output == "table":
        note(f"Saved. Carry it out with: suanwang apply -f {out}")
    if made["changes"]:
        raise click.exceptions.Exit(failure.DIFFERENT)


@click.command(
    epilog="""\b
Examples:
  suanwang apply -f network/ --wait
  suanwang apply -f change.plan            a saved plan: just this, or refused as stale
  cat shop.yaml | suanwang apply -f - --yes -m 'shop opens'"""
)
@sources.files_option(required=True)
@prune_option
@set_option
@wait_option
@timeout_option
@yes_option
@message_option
@accept_option
@server_options
def apply(
    files: tuple[str, ...],
    prune: bool,
    set_name: str,
    wait: bool,
    timeout_s: float,
    yes: bool,
    message: str,
    accept: tuple[str, ...],
) -> None:
    """Carry out files, or a plan that was saved by `plan --out`.

    A saved plan is carried out exactly or, when something it stands on has changed since, refused as stale. A plan that
    breaks an assertion is refused with a packet that shows it, unless --accept names what may break.
    """
    session = current()
    made = sources.saved_plan(files)
    if made is None:
        declared = sources.read(files)
        client = session.client()
        made = _ask_plan(client, declared, prune=prune, set_name=set_name)
    else:
        client = session.client()
    _carry_out(
        session,
        client,
        made,
        yes=yes or "-" in files,
        message=message,
        accept=accept,
        wait_s=timeout_s if wait else None,
    )


@click.command(
    epilog="""\b
Examples:
  suanwang delete port web-1 --tenant retail
  suanwang delete port/retail/web-1 subnet/retail/web
  suanwang delete -f shop.yaml --yes"""
)
@click.argument("resources", nargs=-1, metavar="[KIND NAME… | KIND/NAME…]")
@sources.files_option(required=False)
@naming.tenant_option
@wait_option
@timeout_option
@yes_option
@message_option
@accept_option
@server_options
def delete(
    resources: tuple[str, ...],
    files: tuple[str, ...],
    tenant: str,
    wait: bool,
    timeout_s: float,
    yes: bool,
    message: str,
    accept: tuple[str, ...],
) -> None:
    """Delete resources by name, or all that files declare."""
    session = current()
    if bool(resources) == bool(files):
        raise click.UsageError("name what to delete; give either KIND NAME or -f PATH")
    keys = list(sources.read(files).places) if files else naming.key_from_words(resources, tenant)
    client = session.client()
    made = _ask_plan(client, delete=[key._asdict() for key in keys])
    _carry_out(
        session,
        client,
        made,
        yes=yes or "-" in files,
        message=message,
        accept=accept,
        wait_s=timeout_s if wait else None,
    )


@click.command(
    epilog="""\b
Examples:
  suanwang history
  suanwang rollback 41 -m 'the new rules broke the till'"""
)
@click.argument("revision", type=click.IntRange(min=0))
@wait_option
@timeout_option
@yes_option
@message_option
@accept_option
@server_options
def rollback(revision: int, wait: bool, timeout_s: float, yes: bool, message: str, accept: tuple[str, ...]) -> None:
    """Declare again what was declared at REVISION. This is a new revision: nothing is lost from the history."""
    session = current()
    client = session.client()
    _confirm(session, yes, f"Go back to revision {revision}?")
    applied = client.post("/v1/rollback", {"revision": revision, "message": message, "accept": accept})
    _report(session, client, applied, timeout_s if wait else None)


def _ask_plan(
    client: Client,
    declared: sources.Declared | None = None,
    delete: list[dict[str, str]] | None = None,
    prune: bool = False,
    set_name: str = "default",
) -> dict[str, Any]:
    body = {
        "documents": declared.documents if declared else [],
        "delete": delete or [],
        "prune": prune,
        "set": set_name,
    }
    try:
        made: dict[str, Any] = client.post("/v1/plan", body, timeout_s=600)
    except failure.ServerRefusal as refusal:
        if declared:
            sources.locate(refusal.errors, declared.places)
        raise
    return made


def _carry_out(
    session: Session,
    client: Client,
    made: dict[str, Any],
    *,
    yes: bool,
    message: str,
    accept: tuple[str, ...],
    wait_s: float | None,
) -> None:
    if session.output == "table":
        click.echo(plan_text(made))
    if not made["changes"]:
        session.emit({"revision": made["baseRevision"], "nodes": [], "changes": []}, str)
        return
    _confirm(session, yes, "Carry it out?")
    applied = client.post("/v1/apply", {"plan": made, "message": message, "accept": accept}, timeout_s=600)
    _report(session, client, applied, wait_s)


def _confirm(session: Session, yes: bool, question: str) -> None:
    """Ask where there is someone to ask: people at a terminal. Programs have decided already."""
    if yes or session.output != "table" or not (sys.stdin.isatty() and sys.stdout.isatty()):
        return
    if not click.confirm(question):
        note("Nothing was changed.")
        raise click.exceptions.Exit(failure.ERROR)


def _report(session: Session, client: Client, applied: dict[str, Any], wait_s: float | None) -> None:
    """Say what came of an apply, after waiting for the nodes if wanted. Raises NOT_PROGRAMMED."""
    revision, nodes = applied["revision"], list(applied.get("nodes", ()))
    if session.output == "table":
        # Said before the wait: whoever interrupts that must know that the change is stored.
        click.echo(click.style(f"Revision {revision}.", fg="green"))
    outcome = dict(applied)
    if wait_s is not None:
        outcome |= _wait(client, revision, wait_s, quiet=session.output != "table")
    waiting, failed, absent = (outcome.get(name) or () for name in ("waiting", "failed", "absent"))
    done = [name for name in nodes if name not in {*waiting, *failed, *absent}]
    word = "To be programmed" if wait_s is None else "Programmed"
    session.emit(outcome, lambda: f"{word}: {nodes_text(done)}." if done else "")
    if absent:
        note(f"Not connected, so they will carry it out later: {nodes_text(list(absent))}.")
    if failed:
        name, problems = next(iter(outcome["failed"].items()))
        first = f": {problems[0]['object']}: {problems[0]['message']}" if problems else ""
        message = f"revision {revision} failed on {nodes_text(sorted(failed))}; {name}{first}"
        raise SuanwangError(NOT_PROGRAMMED, message, f"see: suanwang nodes {name}")
    if waiting:
        message = f"after {wait_s:g} s these have not carried out revision {revision}: {nodes_text(list(waiting))}"
        raise SuanwangError(NOT_PROGRAMMED, message, "the change is stored; are their agents well? see: suanwang nodes")


def _wait(client: Client, revision: int, wait_s: float, quiet: bool) -> dict[str, Any]:
    """Ask until no node is waited for, or time is up; shows on a terminal how many are left."""
    deadline = time.monotonic() + wait_s
    live = not quiet and sys.stderr.isatty()
    shown = ""
    while True:
        left_s = max(0.0, deadline - time.monotonic())
        # Short questions keep the count on a terminal fresh; elsewhere one long one will do.
        ask_s = min(left_s, 1.0 if live else 25.0)
        state = client.get("/v1/wait", {"revision": revision, "timeout": f"{ask_s:.3f}"}, timeout_s=ask_s + 30)
        if live:
            shown = f"\rprogramming: {len(state['waiting'])} nodes to go \x1b[K"
            sys.stderr.write(shown)
            sys.stderr.flush()
        if not state["waiting"] or left_s == 0.0:
            if shown:
                sys.stderr.write("\r\x1b[K")
            return {name: state[name] for name in ("waiting", "failed", "absent")}
