"""`suanwang fabric compare`: several policies, seeds or fabrics side by side, on the same traffic."""

from __future__ import annotations

from typing import Any

import click

from suanwang.cli import failure
from suanwang.cli.fabric_inputs import Inputs, measured, options
from suanwang.cli.flags import NewFile
from suanwang.cli.session import current, output_option
from suanwang.fabric.packet.settings import BALANCES

COLUMNS = ("RUN", "MIN", "MEAN", "P50", "P99", "MAX", "UTILISATION", "DONE", "SECONDS")


@click.command(
    epilog="""\b
Examples:
  suanwang fabric compare --topo leaf_spine.topo --cm permutation.cm --plot times.svg
  suanwang fabric compare examples/fabric/small.yaml --permutation 1MB --balance ecmp --balance fare --seeds 5
  suanwang fabric compare examples/fabric/small.yaml --with examples/fabric/plain.yaml --permutation 1MB --balance fare
Times are in microseconds. Exit code 2 when flows were not done."""
)
@options
@click.option("--balance", "balances", type=click.Choice(BALANCES), multiple=True,
              help="may stand several times [default: all of them]")  # fmt: skip
@click.option("--with", "others", type=click.Path(dir_okay=False), multiple=True, metavar="FILE",
              help="another fabric beside FILE; may stand several times")  # fmt: skip
@click.option("--seeds", type=click.IntRange(1, 1000), default=1, show_default=True,
              help="runs of each, from --seed on; their flows are taken together")  # fmt: skip
@click.option("--plot", type=NewFile(".png", ".svg"), metavar="FILE", help="draw the distributions of completion times")
@output_option
def compare(inputs: Inputs, balances: tuple[str, ...], others: tuple[str, ...], seeds: int, plot: str | None) -> None:
    """Carry the same traffic under several policies, or through several fabrics."""
    from dataclasses import replace

    import numpy as np

    fabrics = [inputs, *(replace(inputs, file=other, topo=None, preset=None) for other in others)]
    rows: list[dict[str, Any]] = []
    times: dict[str, Any] = {}
    for fabric in fabrics:
        design = fabric.design()
        for balance in balances or BALANCES:
            name = f"{design.name} {balance}" if others else balance
            if name in times:
                raise click.UsageError(f"{name} stands twice; give fabrics different names")
            found = [measured(fabric.trial(design, balance, inputs.seed + number), name) for number in range(seeds)]
            rows.append({"run": name, "balance": balance, "fabric": design.name, **_together(found)})
            times[name] = np.concatenate([outcome.done for outcome, _ in found])
    if plot is not None:
        _plot(plot, times, {row["run"]: row["utilisation"] or 0.0 for row in rows})
    told = {"engine": inputs.engine, "seeds": seeds, "runs": rows}
    current().emit(told, lambda: _text(rows))
    if any(row["unfinished"] for row in rows):
        raise click.exceptions.Exit(failure.DIFFERENT)


def _together(found: list[tuple[Any, dict[str, Any]]]) -> dict[str, Any]:
    """The fields of several runs as those of one."""
    from dataclasses import replace

    import numpy as np

    first, fields = found[0]
    if len(found) == 1:
        return fields
    joined = replace(
        first,
        fct_us=np.concatenate([outcome.fct_us for outcome, _ in found]),
        start_us=np.concatenate([outcome.start_us for outcome, _ in found]),
        size_bytes=np.concatenate([outcome.size_bytes for outcome, _ in found]),
        packets=sum(outcome.packets for outcome, _ in found),
        events=sum(outcome.events for outcome, _ in found),
        counts={name: sum(outcome.counts[name] for outcome, _ in found) for name in first.counts},
        unfinished=next((outcome.unfinished for outcome, _ in found if outcome.unfinished), ""),
    )
    seconds = round(sum(one["seconds"] for _, one in found), 3)
    told = {**joined.fields(), "seconds": seconds, "peak_memory_mb": found[-1][1]["peak_memory_mb"]}
    if "collective" in fields:
        ends = [one["collective"]["time_us"] for _, one in found]
        mean = None if None in ends else round(sum(ends) / len(ends), 3)
        told["collective"] = {**fields["collective"], "time_us": mean}
    return told


def _plot(path: str, times: dict[str, Any], utilisation: dict[str, float]) -> None:
    from suanwang.cli.output import write_whole
    from suanwang.fabric.drawing.figures import draw_distributions

    form = path.rpartition(".")[2].lower()
    kept = {name: found for name, found in times.items() if len(found)}
    if not kept:
        click.echo("no flow was done, so there is no picture", err=True)
        return
    write_whole(
        path,
        lambda file: draw_distributions(kept, file, utilisation={name: utilisation[name] for name in kept}, form=form),
        "picture",
    )


def _text(rows: list[dict[str, Any]]) -> str:
    from suanwang.cli.table import table

    def cells(row: dict[str, Any]) -> list[str]:
        values = [row["fct_us"][name] for name in ("min", "mean", "p50", "p99", "max")]
        shown = ["-" if value is None else f"{value:,.1f}" for value in values]
        return [
            row["run"],
            *shown,
            "-" if row["utilisation"] is None else f"{row['utilisation']:.1%}",
            f"{row['done']}/{row['flows']}",
            f"{row['seconds']:.2f}",
            *([f"{row['collective']['time_us'] or '-'} us, {row['collective']['algorithm']}"] if collective else []),
        ]

    collective = rows[0].get("collective")
    columns = (*COLUMNS, collective["kind"].upper()) if collective else COLUMNS
    left = [f"{row['run']}: {row['unfinished']}" for row in rows if row["unfinished"]]
    return "\n".join([table(columns, [cells(row) for row in rows]), *left])
