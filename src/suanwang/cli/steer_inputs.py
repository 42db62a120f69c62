"""What `suanwang steer` works on: flags and files as a problem, its candidate paths and its solver."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from suanwang.cli.flags import Amount, DurationOption
from suanwang.cli.output import progress
from suanwang.cli.session import note
from suanwang.model.errors import SuanwangError

if TYPE_CHECKING:
    from suanwang.steering.answer import Allocation, Answer, Budget
    from suanwang.steering.certificate import Certificate
    from suanwang.steering.paths import Candidates
    from suanwang.steering.problem import Bools, Network, Problem

Function = TypeVar("Function", bound=Callable[..., Any])

OBJECTIVES = ("total-flow", "max-min", "concurrent", "min-mlu", "min-cost", "min-latency")
PATH_SETS = ("auto", "edge-disjoint", "shortest", "spread")
METHODS = ("fast", "exact", "online", "greedy", "pop", "pdlp")
FILE = click.Path(dir_okay=False)


TOPOLOGY = (
    click.option("--topology", required=True, type=FILE, metavar="FILE", help="links.csv, GraphML or Repetita .graph"),
    click.option("--telemetry", type=FILE, metavar="FILE", help="CSV of what was measured of links; it wins"),
    click.option("--map", "map_file", type=FILE, metavar="FILE", help="CSV of places: node,longitude,latitude"),
    click.option(
        "--fail", "fail", multiple=True, metavar="LINK",
        help="is down: A>B, both ways A-B, risk:NAME or node:NAME; may stand several times",
    ),
    click.option("--endpoints", type=FILE, metavar="FILE", help="CSV: name,node,capacity,load,delay,cost,…,service"),
    click.option("--classes", type=FILE, metavar="FILE", help="YAML: classes of limits that demands name"),
    click.option("--paths", default=4, show_default=True, type=click.IntRange(1, 1000), help="candidates of each pair"),
    click.option(
        "--path-set", type=click.Choice(PATH_SETS), default="auto", show_default=True,
        help="which candidates; auto: edge-disjoint and shortest, so many of each",
    ),
    click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="for what is drawn at random"),
    click.option("--no-cache", is_flag=True, help="find candidates anew, and keep none"),
)  # fmt: skip

PROBLEM = (
    *TOPOLOGY[:1],
    click.option("--demands", required=True, type=FILE, metavar="FILE", help="matrix .npy, CSV or Repetita .demands"),
    click.option(
        "--objective", type=click.Choice(OBJECTIVES), default="total-flow", show_default=True, help="what is sought"
    ),
    *TOPOLOGY[1:],
    click.option(
        "--apart-by", type=click.Choice(("link", "node", "risk")), default="link", show_default=True,
        help="what demands that are apart don't share",
    ),
    click.option("--by-priority", is_flag=True, help="one priority class after the other"),
    click.option("--unserved-cost", type=Amount(), metavar="NUMBER", help="of a unit of rate"),
    click.option("--present", type=FILE, metavar="FILE", help="what runs now: a CSV that --allocation wrote"),
    click.option("--churn", default=0.0, type=Amount(), metavar="NUMBER", help="cost of moving a unit"),
    click.option(
        "--gap", default=0.005, show_default=True, type=Amount(), metavar="SHARE", help="how near the best will do"
    ),
    click.option("--time-limit", type=DurationOption(), metavar="TIME", help="of solving, as in 5s; the best so far"),
)  # fmt: skip


def options(chosen: Sequence[Callable[[Function], Function]]) -> Callable[[Function], Function]:
    """Adds these options, gathered into one `Inputs` that the command gets first."""

    def add(function: Function) -> Function:
        @wraps(function)
        def call(*arguments: Any, **flags: Any) -> Any:
            mine = {name: flags.pop(name) for name in list(flags) if name in Inputs.__dataclass_fields__}
            return function(Inputs(**mine), *arguments, **flags)

        wrapped: Any = call
        for option in reversed(chosen):
            wrapped = option(wrapped)
        return wrapped  # type: ignore[no-any-return]

    return add


@dataclass(kw_only=True)
class Inputs:
    """The flags of one call, and what was made of them so far; `seconds` tells how long each step took."""

    topology: str
    demands: str = ""
    objective: str = "total-flow"
    telemetry: str | None = None
    map_file: str | None = None
    fail: tuple[str, ...] = ()
    endpoints: str | None = None
    classes: str | None = None
    paths: int = 4
    path_set: str = "auto"
    seed: int = 0
    no_cache: bool = False
    apart_by: str = "link"
    by_priority: bool = False
    unserved_cost: float | None = None
    present: str | None = None
    churn: float = 0.0
    gap: float = 0.005
    time_limit: float | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)

    def read(self, path: str) -> bytes:
        """A file's content; a table that ends within a line is remarked on. Raises UNREADABLE, BAD_PROBLEM."""
        body = read_bytes(path)
        if path.lower().endswith((".csv", ".graph", ".demands")) and not body.endswith((b"\n", b"\r")):
            self.remarks.append(f"{path} ends within a line: if it was cut off, its last number may be wrong.")
        return body

    def network(self) -> Network:
        """The network, with telemetry. Raises BAD_PROBLEM and others."""
        from suanwang.steering.reading import read_topology, with_map
        from suanwang.steering.telemetry import read_telemetry, with_telemetry

        found = read_topology(self.read(self.topology), self.topology)
        if self.map_file is not None:
            found = with_map(self.read(self.map_file), self.map_file, found)
        if self.telemetry is None:
            return found
        return with_telemetry(found, read_telemetry(self.read(self.telemetry), self.telemetry, found))

    def problem(self, pair: tuple[str, str, str] | None = None) -> Problem:
        """The problem that the files say; `pair`: one demand from, to, of a class, in place of a file of demands."""
        from suanwang.steering.problem import Aim, Disjoint, Problem
        from suanwang.steering.reading import read_classes, read_endpoints
        from suanwang.steering.reading_demands import read_demands

        with self.timed("load"), progress("reading"):
            network = self.network()
            places = None
            if self.endpoints is not None:
                places = read_endpoints(self.read(self.endpoints), self.endpoints, network)
            classes = read_classes(read_bytes(self.classes), self.classes) if self.classes is not None else {}
            body, name = (self.read(self.demands), self.demands) if pair is None else (one_demand(*pair), "the demand")
            ends, demands = read_demands(body, name, network, places, classes, Disjoint(self.apart_by))
            made = Problem(
                network=network,
                endpoints=ends,
                demands=demands,
                aim=Aim(self.objective),
                by_priority=self.by_priority,
                churn=self.churn,
                unserved_cost=self.unserved_cost,  # type: ignore[arg-type]
            )
        # Not before: nothing shall stand beside an error in JSON.
        for remark in self.remarks:
            note(remark)
        return made

    def failed(self, problem: Problem) -> Bools | None:
        """(L,) the links that are down; None if none are. Raises BAD_PROBLEM."""
        from suanwang.steering.failures import failed_links

        return failed_links(problem.network, self.fail) if self.fail else None

    def running(self, problem: Problem) -> Allocation | None:
        """What runs at present, if a file says so. Raises BAD_PROBLEM."""
        from suanwang.steering.allocation_csv import read_allocation

        if self.present is None:
            return None
        with self.timed("present"):
            return read_allocation(read_bytes(self.present), self.present, problem)

    def budget(self, workers: ThreadPoolExecutor) -> Budget:
        """What a solver may use."""
        from suanwang.steering.answer import Budget

        limit = float("inf") if self.time_limit is None else self.time_limit
        return Budget(
            clock=time.perf_counter, seconds=limit, gap=self.gap, workers=workers, seed=self.seed, most_paths=self.paths
        )

    def candidates(self, problem: Problem, workers: ThreadPoolExecutor, failed: Bools | None = None) -> Candidates:
        """The candidate paths, from the cache if they are there."""
        from suanwang.cli.steer_cache import cached, fit
        from suanwang.steering.candidates import Kind, build

        given = (problem.network, problem.demands, problem.endpoints)
        kind = Kind(self.path_set)
        with self.timed("paths"), progress("finding paths"):
            fit(problem, 2 if kind is Kind.AUTO else 1, self.paths)
            return cached(
                lambda: build(*given, kind, self.paths, failed=failed, seed=self.seed, workers=workers),
                (*given, kind, self.paths),
                {"failed": failed, "seed": self.seed},
                problem.network,
                keep=not self.no_cache,
            )

    def solved(
        self,
        problem: Problem,
        method: str,
        candidates: Candidates,
        workers: ThreadPoolExecutor,
        failed: Bools | None,
        present: Allocation | None,
    ) -> Answer:
        """A solver's answer. `online` repairs what runs at present; without any, what `fast` answers when all is up."""
        from suanwang.steering.methods import solver

        if method == "online" and present is None:
            whole = candidates if failed is None else self.candidates(problem, workers)
            with self.timed("before"), progress("solving, to have what is repaired"):
                present = solver("fast")(problem, whole, self.budget(workers)).allocation
        solve = solver(method)
        with self.timed("solve"), progress(f"solving: {method}"):
            answer = solve(problem, candidates, self.budget(workers), failed=failed, present=present)
        return answer if answer.method.startswith(method) else replace(answer, method=method)

    def checked(self, answer: Answer, present: Allocation | None) -> tuple[Answer, Certificate]:
        """The answer with the tighter of what it claims and what is proven as its bound; and the certificate."""
        from suanwang.steering.certificate import check, with_proof

        with self.timed("check"), progress("checking"):
            proof = check(answer, present=present)
        return with_proof(answer, proof), proof

    @contextmanager
    def timed(self, what: str) -> Iterator[None]:
        """Notes how long a step takes."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[what] = self.seconds.get(what, 0.0) + time.perf_counter() - begun


def threads() -> ThreadPoolExecutor:
    """As many threads as there are processors to use."""
    return ThreadPoolExecutor(len(os.sched_getaffinity(0)))


def read_bytes(path: str) -> bytes:
    """A file's content. Raises UNREADABLE, or BAD_PROBLEM when it is too large."""
    from suanwang.model.reading import UNREADABLE
    from suanwang.steering.columns import LARGEST_FILE_BYTES, refuse

    try:
        with Path(path).open("rb") as stream:
            body = stream.read(LARGEST_FILE_BYTES + 1)
    except OSError as problem:
        raise SuanwangError(UNREADABLE, f"{problem.strerror}: {path}", "check the path") from None
    if len(body) > LARGEST_FILE_BYTES:
        refuse(f"more than {LARGEST_FILE_BYTES} bytes", "split it", path)
    return body


def one_demand(source: str, target: str, limits: str) -> bytes:
    """A table of one demand."""
    import csv
    import io

    stream = io.StringIO()
    csv.writer(stream).writerows([("source", "to", "rate", "class"), (source, target, 1, limits)])
    return stream.getvalue().encode()


def with_failures(answer: Answer, failed: Bools | None) -> Answer:
    """The answer, with what is down noted in it where its solver did not."""
    return answer if failed is None or len(answer.failed) else replace(answer, failed=failed)
