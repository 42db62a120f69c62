"""`suanwang fabric simulate`: flows packet by packet or as fluid; training steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from suanwang.cli import failure
from suanwang.cli.fabric_inputs import Inputs, interruptible, measured, options
from suanwang.cli.flags import NewFile
from suanwang.cli.session import current, output_option
from suanwang.fabric.packet.settings import BALANCES

K = TypeVar("K", int, str)

OF_STEPS = ("slow", "planes_lost", "peak", "memory_rate")
"""Flags that say something of training steps only."""


@click.command(
    epilog="""\b
Examples:
  suanwang fabric simulate --topo leaf_spine.topo --cm permutation.cm --balance fare
  suanwang fabric simulate examples/fabric/small.yaml --permutation 1MB --balance ecmp --seed 3 -o json
  suanwang fabric simulate examples/fabric/small.yaml --permutation 4MB --fail leaf0-spine1@50us --seed 7
  suanwang fabric simulate examples/fabric/small.yaml --permutation 1MB --engine flow --degrade leaf0-spine1=0.1
  suanwang fabric simulate examples/fabric/small.yaml --collective all-reduce:16MB:ring --balance fare
  suanwang fabric simulate examples/fabric/pod.yaml --workload examples/fabric/workloads/dense-405b.yaml
FILE is a resource of kind Fabric, or a topology of htsim, SimAI, ns-3, containerlab or InfraGraph.
Exit code 2 when flows were not done. Ctrl-C ends a run early, and what was done is told.
What the engines do: docs/rooms/fabric.md"""
)
@options
@click.option(
    "--balance", type=click.Choice(BALANCES), default="adaptive", show_default=True, help="who takes which path"
)
@click.option(
    "--workload",
    type=click.Path(),
    metavar="PATH",
    help="a training step: our YAML, Chakra traces, SimAI's text; --degrade then takes a network or one of its tiers: "
    "scale-out=0.9, scale-up/1=0.5",
)
@click.option(
    "--slow", multiple=True, metavar="N=FACTOR", help="with --workload: accelerator N takes that many times as long"
)
@click.option(
    "--planes-lost", type=click.IntRange(0), default=0, help="with --workload: planes of scale-out that failed"
)
@click.option("--peak", metavar="FLOPS", help="with Chakra traces: times operations without a duration, 989TFLOPS")
@click.option("--memory-rate", metavar="RATE", help="with Chakra traces: the same of bytes, 3.35TB/s")
@click.option("--flows", type=NewFile(".csv"), metavar="FILE", help="write each flow's times as CSV")
@click.option("--save-cm", type=NewFile(".cm"), metavar="FILE", help="write the flows as htsim's matrix")
@output_option
def simulate(
    inputs: Inputs,
    balance: str,
    workload: str | None,
    slow: tuple[str, ...],
    planes_lost: int,
    peak: str | None,
    memory_rate: str | None,
    flows: str | None,
    save_cm: str | None,
) -> None:
    """Carry flows through a fabric, packet by packet or as max-min fair rates; or time a training step on it."""
    _check_together(workload)
    if workload is not None:
        _step(inputs, workload, slow, planes_lost, (peak, memory_rate))
        return
    trial = inputs.trial(inputs.design(), balance)
    if save_cm is not None:
        from suanwang.cli.output import write_whole
        from suanwang.fabric.exchange.matrix_text import matrix_text

        pieces = matrix_text(trial.network.endpoints, trial.traffic)
        write_whole(save_cm, lambda file: [file.write(piece.encode()) for piece in pieces], "matrix")
    with interruptible() as pressed:
        outcome, fields = measured(trial, f"{balance}, {inputs.engine} engine", pressed)
    told = {"engine": inputs.engine, "balance": balance, "seed": inputs.seed, **fields}
    if flows is not None:
        from suanwang.cli.output import write_whole

        lines = "".join(
            f"{a},{b},{size},{'' if t != t else f'{t:.3f}'},{'' if begun < 0 else f'{begun:.3f}'}\n"
            for a, b, size, t, begun in zip(trial.traffic.source.tolist(), trial.traffic.target.tolist(),
                                            trial.traffic.size_bytes.tolist(), outcome.fct_us.tolist(),
                                            outcome.start_us.tolist(), strict=True)
        )  # fmt: skip
        head = b"source,target,size_bytes,fct_us,start_us\n"
        write_whole(flows, lambda file: file.write(head + lines.encode()), "flows")
    current().emit(told, lambda: _text(told))
    if told["unfinished"]:
        raise click.exceptions.Exit(failure.DIFFERENT)


def _check_together(workload: str | None) -> None:
    """Refuse flags that would be passed over in silence."""
    context = click.get_current_context()
    given = {name for name in context.params if context.get_parameter_source(name) is ParameterSource.COMMANDLINE}
    kept = {"file", "topo", "preset", "workload", "degrade", *OF_STEPS}
    extra = sorted(given - kept if workload is not None else given & set(OF_STEPS))
    if extra:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in extra)
        many = len(extra) > 1
        said = f"{'do' if many else 'does'} not go with" if workload else f"need{'' if many else 's'}"
        raise click.UsageError(f"{flags} {said} --workload")


def _step(
    inputs: Inputs, path: str, slow: tuple[str, ...], planes_lost: int, rates: tuple[str | None, str | None]
) -> None:
    from suanwang.cli.output import progress
    from suanwang.fabric.workload.chakra import Trace
    from suanwang.fabric.workload.description import flops, memory_rate
    from suanwang.fabric.workload.forms import StepOptions, read_workload, run_step

    factors = _numbers("--slow", "N=FACTOR, as in 17=1.5", slow, int)
    left = _numbers("--degrade", "NETWORK=SHARE with --workload, as in scale-out=0.9", inputs.degrade, str)
    try:
        peak, rate = (read(text) if text else 0 for read, text in zip((flops, memory_rate), rates, strict=True))
    except ValueError as problem:
        raise click.UsageError(str(problem)) from None
    choice = StepOptions(factors, planes_lost, left, peak_flops_per_s=peak, memory_bytes_per_s=rate)
    design = inputs.design()
    with progress("reading the workload") as tell:
        workload = read_workload(path, _percent(tell, "reading the workload"))
        if any(rates) and not isinstance(workload.source, Trace):
            raise click.UsageError("--peak and --memory-rate go with Chakra traces; others have their own times")
        found = run_step(workload, design, choice, _percent(tell, "simulating the step"))
    current().emit(found.fields(), found.text)


def _numbers(flag: str, form: str, texts: tuple[str, ...], key: Callable[[str], K]) -> dict[K, float]:
    """`NAME=NUMBER`, each at most once."""
    found: dict[K, float] = {}
    for text in texts:
        name, _, number = text.rpartition("=")
        try:
            one, value = key(name), float(number)
        except ValueError:
            raise click.UsageError(f"{flag} takes {form}; not {text!r}") from None
        if one in found:
            raise click.UsageError(f"{flag} names {name} twice")
        found[one] = value
    return found


def _percent(tell: Callable[[str], None], what: str) -> Callable[[float], None]:
    """Tells a share each time that another hundredth is done."""
    last = 0

    def share(done: float) -> None:
        nonlocal last
        if int(100 * done) > last:
            last = int(100 * done)
            tell(f"{what}: {last} %")

    return share


def _text(told: dict[str, Any]) -> str:
    times = told["fct_us"]
    lines = [f"{told['flows']:,} flows, {told['balance']}, {told['engine']} engine, seed {told['seed']}"]
    if told["done"]:
        shown = "  ".join(f"{name} {value:,.1f}" for name, value in times.items())
        lines.append(f"  completion (us)  {shown}")
    if said := told.get("collective"):
        when = f"{said['time_us']:,.1f} us" if said["time_us"] is not None else "not done"
        lines.append(f"  {said['kind']:<15}  {when} for {said['bytes']:,} bytes, {said['algorithm']}")
    if told["utilisation"] is not None:
        lines.append(f"  utilisation      {told['utilisation']:.1%} (best over mean)")
    if told["unfinished"]:
        lines.append(f"  not done         {told['unfinished']}")
    counts = "  ".join(f"{name.replace('_', ' ')} {value:,}" for name, value in told["counts"].items() if value)
    lines.append(f"  packets          {told['packets']:,}  {counts}".rstrip())
    lines.append(
        f"  took             {told['seconds']:.2f} s for {told['simulated_us']:,.0f} us, {told['events']:,} events, "
        f"{told['peak_memory_mb']:,.0f} MB"
    )
    return "\n".join(lines)
