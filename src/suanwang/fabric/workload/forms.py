"""A workload in any of its forms: our description (YAML), a Chakra trace, or the text of ASTRA-sim 1.0 and SimAI."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from suanwang.fabric.workload.chakra import Trace, read_chakra
from suanwang.fabric.workload.compose import compose
from suanwang.fabric.workload.costs import Networks, StepOptions, fabric_of
from suanwang.fabric.workload.description import Described
from suanwang.fabric.workload.nodes_json import GRAPH
from suanwang.fabric.workload.replay import replay
from suanwang.fabric.workload.result import StepResult
from suanwang.fabric.workload.simai import Layered, read_simai
from suanwang.fabric.workload.step import simulate
from suanwang.model.errors import INVALID, Place, SuanwangError
from suanwang.model.reading import UNREADABLE, read_path

__all__ = ["StepOptions", "StepResult", "Workload", "read_workload", "run_step"]


OF_PYTORCH = b'"schema'
"""What execution traces ("schema") and Kineto's ("schemaVersion") begin with, and no description has."""
NO_SCALE_UP = "the design has no scale-up network: all communication takes scale-out (serverRate gives servers one)"


@dataclass(frozen=True, slots=True)
class Workload:
    """A workload that has been read and checked, by itself."""

    name: str
    source: Described | Layered | Trace


def read_workload(path: str | Path, progress: Callable[[float], None] | None = None) -> Workload:
    """The workload at `path`: a folder or file of Chakra traces, YAML or JSON of kind TrainingStep, or a text.

    Raises:
        SuanwangError: with file and line (byte, of a trace), for anything that is none of these or is malformed.
    """
    where = Path(path)
    try:
        if where.exists() and not (where.is_dir() or where.is_file()):
            raise SuanwangError(UNREADABLE, "this is no file", "name a file, or a folder of traces", Place(str(where)))
        if where.is_dir() or where.name.endswith((".et", ".et.gz")) or _is_graph(where):
            trace = read_chakra(where, progress)
            return Workload(trace.name, trace)
        if where.suffix in (".yaml", ".yml", ".json"):
            described = _described(where)
            return Workload(described.name, described)
        layered = read_simai(where, progress)
        return Workload(layered.name, layered)
    except OSError as problem:
        place = Place(str(where))
        raise SuanwangError(
            UNREADABLE, f"{problem.strerror}: {where}", "check the path of the workload", place
        ) from None


def _is_graph(path: Path) -> bool:
    """Whether a file is a Chakra trace in JSON. Raises SuanwangError for what PyTorch writes itself."""
    if path.suffix != ".json":
        return False
    with path.open("rb") as file:
        head = file.read(4096)
    if OF_PYTORCH in head and GRAPH.encode() not in head:
        raise SuanwangError(
            INVALID, "this is a trace of PyTorch itself, or of Kineto",
            "chakra_trace_link and chakra_converter make a Chakra trace (.et) of the two", Place(str(path)),
        )  # fmt: skip
    return GRAPH.encode() in head


def _described(path: Path) -> Described:
    documents = [(file, one) for file, one in read_path(str(path)) if one.get("kind") == "TrainingStep"]
    if len(documents) != 1:
        count = f"{len(documents)} descriptions" if documents else "no description"
        raise SuanwangError(INVALID, f"{count} of a step; there is one", "kind: TrainingStep", Place(str(path)))
    return Described(documents[0][1], documents[0][0])


def run_step(
    workload: Workload,
    design: Networks,
    options: StepOptions | None = None,
    progress: Callable[[float], None] | None = None,
) -> StepResult:
    """What a workload takes on a design, and where the time goes. `progress` is told the share that is done.

    Raises:
        SuanwangError: INVALID for what does not fit the design, OUT_OF_MEMORY with the estimate.
    """
    options = options or StepOptions()
    source = workload.source
    if isinstance(source, Trace):
        return _noted(replay(source, design, options, progress), fabric_of(design, options).accelerators)
    if isinstance(source, Described) and not options.server_bps:
        options = replace(options, server_bps=source.job(0).accelerator.server_bps)
    fabric = fabric_of(design, options)
    if isinstance(source, Layered):
        step = source.step(fabric.accelerators, fabric.domain)
    else:
        step = compose(source.fitted(fabric.accelerators))
    result = simulate(step, design, options, progress)
    if fabric.scale_up is None:
        result = replace(result, notes=(*result.notes, NO_SCALE_UP))
    return _noted(result, fabric.accelerators)


def _noted(result: StepResult, accelerators: int) -> StepResult:
    """The result, with a note of accelerators that have nothing to do."""
    if result.accelerators == accelerators:
        return result
    note = f"{accelerators - result.accelerators:,} of the design's {accelerators:,} accelerators are not used"
    return replace(result, notes=(*result.notes, note))
