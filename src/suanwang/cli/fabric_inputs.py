"""What `suanwang fabric simulate` and `compare` work on: files and flags as trials."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from suanwang.cli.session import note
from suanwang.fabric.packet.settings import CONGESTIONS, FULLS, RECOVERIES
from suanwang.model.errors import INVALID, SuanwangError
from suanwang.model.units import SIZE_UNITS, parse

if TYPE_CHECKING:
    from suanwang.fabric.design.design import Design
    from suanwang.fabric.network import Network
    from suanwang.fabric.packet.engine import Change
    from suanwang.fabric.packet.settings import Settings
    from suanwang.fabric.traffic import Traffic
    from suanwang.fabric.trial import Outcome, Trial

SECONDS_BETWEEN_LINES = 0.2
OF_PACKETS = ("cc", "full", "recovery", "loss", "queue", "window", "paths", "reconvergence")
BYTES_A_FLOW = 600
"""What a flow takes while it is made and simulated, without its packets."""


class SizeOption(click.ParamType):  # type: ignore[type-arg]
    """A size with its unit, in bytes; a number alone is bytes too."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """`2MB`, `64KiB`, `4096`."""
        text = str(value)
        try:
            return parse(f"{text}B" if text.isdecimal() else text, SIZE_UNITS, "2MB")
        except ValueError as problem:
            self.fail(str(problem), param, ctx)


class TimeOption(click.ParamType):  # type: ignore[type-arg]
    """A time with its unit, in picoseconds."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """`500ns`, `100us`."""
        from suanwang.fabric.units import latency_ps

        if isinstance(value, int):
            return value
        try:
            return latency_ps(value)
        except ValueError as problem:
            self.fail(str(problem), param, ctx)


FILE = click.Path(dir_okay=False)

OPTIONS = (
    click.argument("file", type=FILE, required=False),
    click.option("--topo", type=FILE, metavar="FILE", help="topology of another program, in place of FILE"),
    click.option("--preset", metavar="NAME", help="a fabric of `fabric design --list`, in place of FILE"),
    click.option("--network", type=click.Choice(("scale-out", "scale-up")), default="scale-out", show_default=True,
                 help="which network of the fabric carries the flows"),
    click.option("--cm", type=FILE, metavar="FILE", help="htsim's connection matrix: who sends how much to whom"),
    click.option("--start-unit", type=click.Choice(("us", "ps")), default="us", show_default=True,
                 help="of start times in --cm"),
    click.option("--permutation", type=SizeOption(), metavar="SIZE", help="everyone sends so much to someone else"),
    click.option("--all-to-all", type=SizeOption(), metavar="SIZE", help="everyone sends so much to everyone"),
    click.option("--incast", metavar="N:SIZE", help="so many send so much each to endpoint 0"),
    click.option("--collective", metavar="KIND:SIZE[:ALGORITHM]",
                 help="of all endpoints, as flows that wait for each other: all-reduce:64MB, all-to-all:1MB:direct"),
    click.option("--engine", type=click.Choice(("packet", "flow")), default="packet", show_default=True,
                 help="packet by packet, or max-min fair rates"),
    click.option("--cc", type=click.Choice(CONGESTIONS), default="sender", show_default=True,
                 help="congestion control: the sender's (NSCC of Ultra Ethernet), or none"),
    click.option("--mtu", type=SizeOption(), default=4096, show_default=True, help="payload of a packet"),
    click.option("--full", type=click.Choice(FULLS), default="trim", show_default=True,
                 help="what a full queue does"),
    click.option("--recovery", type=click.Choice(RECOVERIES), default="selective", show_default=True,
                 help="what is sent again after a loss"),
    click.option("--loss", type=click.FloatRange(0, 1, max_open=True), default=0.0, help="chance that data is lost"),
    click.option("--queue", type=SizeOption(), help="of a switch's port [default: bandwidth times round trip]"),
    click.option("--window", type=SizeOption(), help="of a sender without congestion control [default: any]"),
    click.option("--paths", type=click.IntRange(1), default=128, show_default=True, help="that senders spray over"),
    click.option("--fail", "fail", multiple=True, metavar="LINK[@TIME]",
                 help="is down, from a time on: A-B, A>B for one way, A-B#1 of several, node:A for all"),
    click.option("--degrade", "degrade", multiple=True, metavar="LINK=SHARE[@TIME]",
                 help="carries that share; node:gpu3=0.5 makes a straggler"),
    click.option("--heal", "heal", multiple=True, metavar="LINK@TIME", help="is whole again from a time on"),
    click.option("--reconvergence", type=TimeOption(), default=100_000_000, metavar="TIME",
                 help="from a change to the routing's answer [default: 100us]"),
    click.option("--until", type=TimeOption(), metavar="TIME", help="simulate no longer than this"),
    click.option("--memory", type=SizeOption(), default=8 * 2**30, metavar="SIZE",
                 help="refuse what would need more [default: 8GiB]"),
    click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="of all that is drawn"),
)  # fmt: skip


def options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options that say what is tried, gathered into `Inputs`, which the command gets first."""

    @wraps(function)
    def call(*arguments: Any, **flags: Any) -> Any:
        mine = {name: flags.pop(name) for name in list(flags) if name in Inputs.__dataclass_fields__}
        inputs = Inputs(**mine)
        _tell_unused(inputs.engine)
        return function(inputs, *arguments, **flags)

    wrapped: Any = call
    for option in reversed(OPTIONS):
        wrapped = option(wrapped)
    return wrapped  # type: ignore[no-any-return]


def _tell_unused(engine: str) -> None:
    """Flags that say something of packets only, where there are none."""
    context = click.get_current_context()
    given = [name for name in OF_PACKETS if context.get_parameter_source(name) is ParameterSource.COMMANDLINE]
    if engine == "flow" and given:
        note(f"the flow engine knows no packets: --{', --'.join(given)} says nothing to it")


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """The flags of one call."""

    file: str | None
    topo: str | None
    preset: str | None
    network: str
    cm: str | None
    start_unit: str
    permutation: int | None
    all_to_all: int | None
    incast: str | None
    collective: str | None
    engine: str
    cc: str
    mtu: int
    full: str
    recovery: str
    loss: float
    queue: int | None
    window: int | None
    paths: int
    fail: tuple[str, ...]
    degrade: tuple[str, ...]
    heal: tuple[str, ...]
    reconvergence: int
    until: int | None
    memory: int
    seed: int

    def design(self) -> Design:
        """The fabric that FILE, --topo or --preset names."""
        from suanwang.fabric.design.opening import open_fabric, open_preset

        if sum(one is not None for one in (self.file, self.topo, self.preset)) != 1:
            raise click.UsageError("name FILE, or give --topo FILE or --preset NAME; one of them")
        found = open_fabric(self.file or self.topo or "") if self.preset is None else open_preset(self.preset)
        for said in found.notes:
            note(f"{said}; --loss gives all packets one chance")
        return found

    def trial(self, design: Design, balance: str, seed: int | None = None) -> Trial:
        """The trial of one policy. Raises SuanwangError for what does not fit together."""
        from suanwang.fabric.packet.engine import Limits
        from suanwang.fabric.traffic import FOREVER_PS
        from suanwang.fabric.trial import Trial

        which: Any = self.network
        network = design.network(which)
        said: dict[str, str | int] = {}
        traffic, broken = self._traffic(design, network, said)
        engine: Any = self.engine
        return Trial(
            network,
            traffic,
            self._settings(balance, self.seed if seed is None else seed),
            engine,
            (*broken, *self._changes(network)),
            Limits(until_ps=FOREVER_PS if self.until is None else self.until, memory_bytes=self.memory),
            said,
        )

    def _settings(self, balance: Any, seed: int) -> Settings:
        from suanwang.fabric.packet.settings import Settings

        congestion: Any = self.cc
        full: Any = self.full
        recovery: Any = self.recovery
        return Settings(
            balance=balance, congestion=congestion, full=full, recovery=recovery, mtu_bytes=self.mtu, paths=self.paths,
            queue_bytes=self.queue, window_bytes=self.window, loss=self.loss, seed=seed,
        )  # fmt: skip

    def _traffic(self, design: Design, network: Network, said: dict[str, str | int]) -> tuple[Traffic, list[Change]]:
        import numpy as np

        from suanwang.fabric import traffic

        given = [self.cm, self.permutation, self.all_to_all, self.incast, self.collective]
        if (chosen := sum(one is not None for one in given)) != 1:
            what = "only one can say" if chosen else "say"
            raise click.UsageError(f"{what} who sends: --cm, --permutation, --all-to-all, --incast or --collective")
        if self.cm is not None:
            return self._matrix(design, network)
        if self.collective is not None:
            return self._unfolded(design, said), []
        if network.endpoints < 2:
            raise SuanwangError(INVALID, "a fabric of one endpoint has nobody to send to")
        if self.permutation is not None:
            random = np.random.default_rng(self.seed)
            return traffic.permutation(network.endpoints, self.permutation, random), []
        if self.all_to_all is not None:
            self._check_flows(network.endpoints * (network.endpoints - 1))
            return traffic.all_to_all(network.endpoints, self.all_to_all), []
        count, _, size = str(self.incast).partition(":")
        if not (count.isascii() and count.isdecimal() and len(count) < 10 and size):
            raise click.UsageError("--incast takes N:SIZE, as in 8:1MB")
        if not 1 <= int(count) < network.endpoints:
            raise click.UsageError(f"{count} endpoints can't send to another one of {network.endpoints}")
        return traffic.incast(network.endpoints, int(count), 0, SizeOption().convert(size, None, None)), []

    def _unfolded(self, design: Design, said: dict[str, str | int]) -> Traffic:
        """A collective of all endpoints of the network, as flows, by the quickest algorithm unless one is named; `said`
        tells which.
        """
        from suanwang.fabric.clos import Clos
        from suanwang.fabric.collectives.cost import collective_time
        from suanwang.fabric.collectives.group import FabricModel, Group
        from suanwang.fabric.collectives.unfolding import unfold

        kind, _, rest = str(self.collective).partition(":")
        size, _, algorithm = rest.partition(":")
        which: Any = self.network
        part = design.part(which)
        if not size:
            raise click.UsageError("--collective takes KIND:SIZE, as in all-reduce:64MB")
        if not isinstance(part, Clos):
            raise SuanwangError(INVALID, "collectives are worked out on folded Clos networks", "give the flows: --cm")
        each, group = SizeOption().convert(size, None, None), Group(part.endpoints, alone=True)
        fabric = FabricModel(part)
        quickest = collective_time(kind, each, group, fabric, algorithm or "auto", chunks=1).algorithm
        said |= {"kind": kind, "bytes": each, "algorithm": quickest}
        return unfold(kind, each, group, fabric, quickest).traffic

    def _check_flows(self, flows: int) -> None:
        """Refuse more flows than fit the memory, before they are made."""
        from suanwang.model.reading import TOO_LARGE

        if flows * BYTES_A_FLOW > self.memory:
            raise SuanwangError(
                TOO_LARGE,
                f"{flows:,} flows need about {flows * BYTES_A_FLOW / 2**30:.0f} GiB of memory; "
                f"{self.memory / 2**30:.1f} GiB are allowed",
                hint="a workload's collectives are worked out by classes, at any size: --workload",
            )

    def _matrix(self, design: Design, network: Network) -> tuple[Traffic, list[Change]]:
        from suanwang.fabric.clos import Clos
        from suanwang.fabric.exchange.matrix import read_matrix
        from suanwang.fabric.packet.engine import Change

        found = read_matrix(Path(self.cm or ""), network.endpoints, {"us": 10**6, "ps": 1}[self.start_unit])
        which: Any = self.network
        part = design.part(which)
        if found.failures and not isinstance(part, Clos):
            raise SuanwangError(INVALID, f"{self.cm} has failures, which only a folded Clos network can place")
        broken = [
            Change(0, tuple(failure.ports(part, network).tolist()), 0.0)
            for failure in found.failures
            if isinstance(part, Clos)
        ]
        return found.traffic, broken

    def _changes(self, network: Network) -> list[Change]:
        from suanwang.fabric.failing import ports_of
        from suanwang.fabric.packet.engine import Change

        found = []
        for text in self.fail:
            link, at = _timed(text, 0)
            found.append((link, at, 0.0))
        for text in self.degrade:
            left, at = _timed(text, 0)
            link, equals, share = left.rpartition("=")
            if not equals:
                raise click.UsageError(f"--degrade takes LINK=SHARE, as in leaf0-spine1=0.1; not {text!r}")
            try:
                found.append((link, at, float(share)))
            except ValueError:
                raise click.UsageError(f"{share!r} is no share; write 0.1, say") from None
        for text in self.heal:
            link, at = _timed(text, None)
            found.append((link, at, 1.0))
        return [Change(at, tuple(ports_of(network, link).tolist()), share, self.reconvergence)
                for link, at, share in found]  # fmt: skip


def _timed(text: str, default: int | None) -> tuple[str, int]:
    """`LINK@TIME` as the link and picoseconds."""
    link, at, when = text.rpartition("@")
    if at:
        return link, TimeOption().convert(when, None, None)
    if default is None:
        raise click.UsageError(f"{text!r} has no time; write LINK@100us, say")
    return text, default


@contextmanager
def bar(what: str) -> Iterator[Callable[[int, int], bool]]:
    """Flows that are done, on a terminal, while an engine runs; the first run of an engine compiles it, and says so."""
    live = sys.stderr.isatty()
    last = 0.0

    def tell(done: int, flows: int) -> bool:
        nonlocal last
        if live and time.monotonic() - last > SECONDS_BETWEEN_LINES:
            last = time.monotonic()
            click.echo(f"\r\x1b[K{what}: {done:,} of {flows:,} flows done", err=True, nl=False)
        return True

    if live:
        first = "" if _compiled() else " (the first run compiles the engine, which takes half a minute)"
        click.echo(f"\r\x1b[K{what}{first} …", err=True, nl=False)
    try:
        yield tell
    finally:
        if live:
            click.echo("\r\x1b[K", err=True, nl=False)


def _compiled() -> bool:
    """Whether the packet engine was compiled before, as far as files tell."""
    from suanwang.fabric import packet

    return any((Path(next(iter(packet.__path__))) / "__pycache__").glob("loop_kernels.run-*.nbi"))


@contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """Whether Ctrl-C was pressed, in place of its stopping everything; pressed again, it does. Where it is ignored, as
    by what runs in the background, it stays so.
    """
    pressed = False

    def press(_number: int, _frame: object) -> None:
        nonlocal pressed
        pressed = True
        note("ending; press Ctrl-C again to stop at once")
        signal.signal(signal.SIGINT, before)

    before = signal.getsignal(signal.SIGINT)
    if before is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, press)
    try:
        yield lambda: pressed
    finally:
        signal.signal(signal.SIGINT, before)


def measured(trial: Trial, what: str, stopped: Callable[[], bool] = lambda: False) -> tuple[Outcome, dict[str, Any]]:
    """A trial's outcome, so far if it was `stopped`, and its fields with the seconds and the memory that it took."""
    import resource

    from suanwang.fabric.trial import run

    begun = time.perf_counter()
    with bar(what) as tell:
        outcome = run(trial, lambda done, flows: tell(done, flows) and not stopped())
    seconds = time.perf_counter() - begun
    fields = outcome.fields()
    fields["seconds"] = round(seconds, 3)
    if trial.collective:
        done = not fields["unfinished"]
        fields["collective"] = {**trial.collective, "time_us": fields["simulated_us"] if done else None}
    fields["peak_memory_mb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)
    return outcome, fields
