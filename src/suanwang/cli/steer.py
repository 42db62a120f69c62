"""Steering: which endpoint, which path and how much for each demand, from files alone."""

from __future__ import annotations

from typing import Any

import click

from suanwang.cli import failure
from suanwang.cli.flags import NewFile
from suanwang.cli.output import progress, write_whole
from suanwang.cli.session import current, output_option
from suanwang.cli.steer_inputs import (
    FILE,
    METHODS,
    PROBLEM,
    TOPOLOGY,
    Inputs,
    options,
    threads,
    with_failures,
)
from suanwang.model.errors import NOT_FOUND, SuanwangError

method_option = click.option("--method", type=click.Choice(METHODS), default="fast", show_default=True, help="solver")
plot_option = click.option("--plot", type=NewFile(".png", ".svg"), metavar="FILE", help="write a picture, .png or .svg")


@click.group()
def steer() -> None:
    """Choose endpoint, path and rate for demands, on files alone: traffic engineering, exits, service instances."""


@steer.command(
    epilog="""\b
Examples:
  suanwang steer solve --topology links.csv --demands matrix.npy --objective total-flow
  suanwang steer solve --topology Chinanet.graph --demands Chinanet.demands --objective min-mlu --plot out.svg
  suanwang steer solve --topology links.csv --demands demands.csv --endpoints exits.csv --objective min-cost \\
      --fail 'Beijing>Wuhan' --gap 0.001 --time-limit 5s -o json
Exit code 2 when the answer does not stand its check. Files: docs/rooms/steering.md"""
)
@options(PROBLEM)
@method_option
@plot_option
@click.option("--highlight", metavar="DEMAND", help="in the picture: the paths of this demand")
@click.option("--allocation", type=NewFile(), metavar="FILE", help="write the rows as CSV")
@output_option
def solve(inputs: Inputs, method: str, plot: str | None, highlight: str | None, allocation: str | None) -> None:
    """Solve a problem; the answer comes with a bound, and is checked by code that shares nothing with the solvers."""
    from suanwang.cli.steer_text import answer_fields, answer_text

    problem = inputs.problem()
    marked = _demand(problem, highlight) if highlight is not None else None
    failed, present = inputs.failed(problem), inputs.running(problem)
    with threads() as workers:
        candidates = inputs.candidates(problem, workers, failed)
        answer = with_failures(inputs.solved(problem, method, candidates, workers, failed, present), failed)
    answer, proof = inputs.checked(answer, present)
    if allocation is not None:
        from suanwang.steering.allocation_csv import to_csv

        write_whole(allocation, lambda file: [file.write(text.encode()) for text in to_csv(problem, answer.allocation)],
                    f"{len(answer.allocation)} rows")  # fmt: skip
    if plot is not None:
        _plot(answer, plot, marked)
    told = answer_fields(answer, proof, inputs.seconds)
    current().emit(told, lambda: answer_text(told))
    if not proof.feasible:
        raise click.exceptions.Exit(failure.DIFFERENT)


@steer.command(
    epilog="""\b
Examples:
  suanwang steer paths Beijing Guangzhou --topology Chinanet.graph --paths 3
  suanwang steer paths a web --topology links.csv --endpoints instances.csv --classes classes.yaml --class gold
  suanwang steer paths --topology links.csv --demands matrix.npy --most 100000 -o json"""
)
@click.argument("source", required=False)
@click.argument("target", required=False)
@options((*TOPOLOGY, click.option("--demands", type=FILE, default="", metavar="FILE", help="of all that it holds")))
@click.option("--class", "limits", default="", metavar="NAME", help="class of limits that the paths keep")
@click.option("--most", default=1000, show_default=True, type=click.IntRange(1), help="how many are shown")
@output_option
def paths(inputs: Inputs, source: str | None, target: str | None, limits: str, most: int) -> None:
    """Candidate paths between two nodes, or of all demands of a file, with what each does to packets."""
    from suanwang.cli.steer_paths import paths_fields, paths_text

    if (target is None) == (not inputs.demands):
        raise click.UsageError("name SOURCE and TARGET, or give --demands FILE; one of both")
    problem = inputs.problem((source or "", target, limits) if target is not None else None)
    with threads() as workers:
        candidates = inputs.candidates(problem, workers, inputs.failed(problem))
    told = paths_fields(problem, candidates, most, inputs.failed(problem), inputs.seconds)
    current().emit(told, lambda: paths_text(told))


@steer.command(
    epilog="""\b
Examples:
  suanwang steer explain 'Beijing>Guangzhou' --topology Chinanet.graph --demands Chinanet.demands"""
)
@click.argument("demand")
@options(PROBLEM)
@method_option
@plot_option
@output_option
def explain(inputs: Inputs, demand: str, method: str, plot: str | None) -> None:
    """Why a demand got what it got: its paths, their tightest links, and what keeps the rest from being served."""
    from dataclasses import asdict

    from suanwang.cli.steer_text import explanation_text, plain
    from suanwang.steering.explain import Explainer

    problem = inputs.problem()
    number = _demand(problem, demand)
    failed, present = inputs.failed(problem), inputs.running(problem)
    with threads() as workers:
        candidates = inputs.candidates(problem, workers, failed)
        answer = with_failures(inputs.solved(problem, method, candidates, workers, failed, present), failed)
    if plot is not None:
        _plot(answer, plot, number)
    told = Explainer(answer).explain(number)
    current().emit(plain(asdict(told)), lambda: explanation_text(told))


@steer.command(
    epilog="""\b
Examples:
  suanwang steer compare --topology links.csv --demands matrix.npy
  suanwang steer compare --topology links.csv --demands matrix.npy --method fast --method exact --time-limit 1m"""
)
@options(PROBLEM)
@click.option(
    "--method", "methods", type=click.Choice(METHODS), multiple=True, help="may stand several times [default: all]"
)
@output_option
def compare(inputs: Inputs, methods: tuple[str, ...]) -> None:
    """Solve one problem with several methods, side by side on the same candidates."""
    from suanwang.cli.steer_text import answer_fields, comparison_text, with_shared_gap

    problem = inputs.problem()
    failed, present = inputs.failed(problem), inputs.running(problem)
    rows: list[dict[str, Any]] = []
    with threads() as workers:
        candidates = inputs.candidates(problem, workers, failed)
        shared = dict(inputs.seconds)
        for method in methods or METHODS:
            inputs.seconds = dict(shared)
            try:
                answer = with_failures(inputs.solved(problem, method, candidates, workers, failed, present), failed)
            except SuanwangError as problem_met:
                rows.append({"method": method, "error": problem_met.message, "code": problem_met.code})
                continue
            answer, proof = inputs.checked(answer, present)
            rows.append(answer_fields(answer, proof, inputs.seconds) | {"method": method})
    with_shared_gap(rows)
    current().emit(rows, lambda: comparison_text(rows))
    if not any(row.get("feasible") for row in rows) or any(row.get("feasible") is False for row in rows):
        raise click.exceptions.Exit(failure.DIFFERENT)


@steer.command(
    epilog="""\b
Examples:
  suanwang steer failures --topology Chinanet.graph --demands Chinanet.demands
  suanwang steer failures --topology links.csv --demands matrix.npy --most 50 --anew -o json"""
)
@options(PROBLEM)
@method_option
@click.option("--anew", is_flag=True, help="solve each anew with --method, rather than repair")
@click.option("--one-way", is_flag=True, help="fail each direction of a cable alone")
@click.option("--most", type=click.IntRange(1), help="only so many, those whose links carry most")
@plot_option
@output_option
def failures(inputs: Inputs, method: str, anew: bool, one_way: bool, most: int | None, plot: str | None) -> None:
    """What is lost when a cable or a shared-risk group fails: each, one after the other, the worst first.

    Each answer is checked; exit code 2 when one does not stand it.
    """
    from suanwang.cli.steer_text import loss_fields, losses_text
    from suanwang.steering.candidates import Kind
    from suanwang.steering.detours import with_detours
    from suanwang.steering.failures import busiest, cables, losses, risks, single_links
    from suanwang.steering.methods import solver

    problem = inputs.problem()
    failed, present = inputs.failed(problem), inputs.running(problem)
    scenarios = [*(single_links if one_way else cables)(problem.network), *risks(problem.network)]
    with threads() as workers:
        candidates = inputs.candidates(problem, workers, failed)
        answer = with_failures(inputs.solved(problem, method, candidates, workers, failed, present), failed)
        chosen = scenarios if most is None else busiest(scenarios, answer.link_load, most)
        repair = solver(method if anew else "online")

        def after(down: Any) -> Any:
            detours = with_detours(problem, candidates, down, Kind(inputs.path_set), inputs.paths, workers)
            found = repair(problem, detours, inputs.budget(workers), failed=down, present=answer.allocation)
            return with_failures(found, down)

        with inputs.timed("failures"), progress("failing") as tell:
            found, worst = losses(
                answer,
                chosen,
                after,
                lambda done, one: tell(f"failing {done + 1} of {len(chosen)}: {one.name}"),
            )
    if plot is not None and worst is not None:
        _plot(worst, plot, None)
    told = {
        "objective": str(problem.aim),
        "value": answer.value,
        "served": float(answer.served.sum()),
        "method": method if anew else "online",
        "scenarios": len(scenarios),
        "seconds": {name: round(value, 6) for name, value in inputs.seconds.items()},
        "failures": [loss_fields(one, problem.network) for one in found],
    }
    current().emit(told, lambda: losses_text(told))
    if any(one.broken for one in found):
        raise click.exceptions.Exit(failure.DIFFERENT)


def _demand(problem: Any, name: str) -> int:
    from suanwang.model.registry import nearest

    numbers = problem.demand_numbers
    if name not in numbers:
        hint = nearest(name, numbers, "demands") if len(numbers) <= 20_000 else "demands are named SOURCE>TARGET"
        raise SuanwangError(NOT_FOUND, f"there is no demand {name[:60]!r}", hint)
    return int(numbers[name])


def _plot(answer: Any, path: str, marked: int | None) -> None:
    from pathlib import Path

    from suanwang.steering.picture import draw

    form = Path(path).suffix.removeprefix(".").lower()
    with progress("drawing"):
        write_whole(path, lambda file: draw(answer, file, marked, form), "Picture")
