"""Fabrics' numbers: packets, fluid, collectives, training steps, configuration and latency; asked and measured.

    make bench BENCH=bench/fabric.py [ARGS="--only packet-speed,max-min -o numbers.json"]

Packets are sent as in `--data` (or FABRIC_DATA): a folder with htsim's leaf_spine_1024.topo and the matrix
perm_1024n_1024c_0u_2000000b.cm. Without it the same shape carries a permutation drawn under a seed; published figures
then stand beside another permutation. All of it takes some minutes; `--quick` is smaller and asks less.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from fabric_worlds import PRESET, World, apart, send, thousand, timed

HTSIM: dict[str, tuple[float, float, float, float]] = {
    "ecmp": (167.5, 348.1, 711.6, 847.3),
    "spray": (167.8, 190.0, 199.3, 207.6),
    "adaptive": (167.8, 188.2, 195.5, 197.6),
    "switch-adaptive": (167.5, 182.1, 188.2, 188.9),
}
"""UEC htsim's completion times in microseconds on this matrix: min, mean, p99, max; `adaptive` is REPS."""
TIMES = ("min", "mean", "p99", "max")
NEAR = 0.05
FULL = 0.95
SEEDS, FEW = 10, 3
SPEED = {"1,024 hosts": (2.3, None, 2), "8,192 hosts": (12.0, 1.0, 2), "61,440 hosts": (None, 8.0, 1),
         "cmcc-61440": (None, 8.0, 1)}  # fmt: skip
"""Seconds and GB that are asked, and how many runs the time is the best of."""
HTSIM_TIMES = {"1,024 hosts": "htsim 7.0 s", "8,192 hosts": "htsim 44 s, 0.93 GB"}
BUDGETS = ("supernode-1024", "cmcc-61440", "hpn7-cluster")

Line = tuple[str, str, str, bool | None, str]


def said(times: dict[str, float]) -> str:
    """Completion times in a row."""
    return " / ".join(f"{times[name]:.1f}" for name in TIMES) + " us"


def packet_accuracy(options: argparse.Namespace) -> Iterator[Line]:
    """Completion times of a permutation beside htsim's, policy by policy."""
    world = World("128 hosts") if options.quick else thousand(options.data)
    yield f"{world.name}, {'htsim' if world.published else 'a'} permutation: min / mean / p99 / max", "", "", None, ""
    for balance in ("spray", "adaptive", "switch-adaptive", "fare"):
        found = send(world, balance, 1)[0]
        times = found["fct_us"]
        beside = None if options.quick else HTSIM.get(balance)
        yield f"{balance}", said(times), "", None, f"htsim {' / '.join(map(str, beside))}" if beside else ""
        if beside:
            for number in (0, 1):
                off = times[TIMES[number]] / beside[number] - 1
                yield f"{balance}, {TIMES[number]}: from htsim's", f"{off:+.2%}", f"<= {NEAR:.0%}", abs(off) <= NEAR, ""
        if balance in ("switch-adaptive", "fare"):
            used = found["utilisation"]
            asked = not options.quick
            yield (f"{balance}, utilisation", f"{used:.4f}", f">= {FULL}" if asked else "",
                   used >= FULL if asked else None, "the least time over the mean")  # fmt: skip
    yield from _hashed(world, FEW if options.quick else SEEDS, None if options.quick else HTSIM["ecmp"])


def _hashed(world: World, seeds: int, beside: tuple[float, ...] | None) -> Iterator[Line]:
    """ECMP under several seeds: each published figure shall lie between the least and the greatest of theirs."""
    runs = send(world, "ecmp", seeds)
    for number, name in enumerate(TIMES):
        values = sorted(one["fct_us"][name] for one in runs)
        what, shown = f"ecmp, {name} of {seeds} seeds", f"{values[0]:.1f} .. {values[-1]:.1f} us"
        if beside is None:
            yield what, shown, "", None, ""
            continue
        if name == "min":  # Which path is taken changes nothing about the least time: it is compared, not covered.
            yield what, shown, f"{beside[0]} ±5 %", abs(values[0] / beside[0] - 1) <= NEAR, "htsim's"
        else:
            yield what, shown, f"{beside[number]} within", values[0] <= beside[number] <= values[-1], "htsim's"
    used = sorted(one["utilisation"] for one in runs)
    yield (
        f"ecmp, utilisation of {seeds} seeds",
        f"{used[0]:.3f} .. {used[-1]:.3f}",
        "about 0.48" if beside else "",
        None,
        "",
    )


def packet_speed(options: argparse.Namespace) -> Iterator[Line]:
    """Seconds and memory of the packet engine, each in a process of its own, REPS-like sprayed."""
    for name, (seconds, memory, times) in SPEED.items():
        if options.quick and "1,024" not in name:
            continue
        world = thousand(options.data) if name == "1,024 hosts" else World(name)
        found = apart(timed, world, "adaptive", times)
        if found is None:
            yield name, "no answer", "", False, "see above"
            continue
        note = f"{found['packets']:,} packets, {found['events']:,} events"
        note += f", {found['events'] / found['seconds'] / 1e6:.2f} million/s"
        note += f"; runs {', '.join(f'{one:.2f}' for one in found['all'])} (of which processor {found['cpu']:.2f})"
        note += f"; {HTSIM_TIMES.get(name, 'htsim stops at 128 ports')}"
        yield (f"{name}: simulated", f"{found['seconds']:.2f} s", f"<= {seconds:g} s" if seconds else "",
               found["seconds"] <= seconds if seconds else None, note)  # fmt: skip
        yield f"{name}: arrays built", f"{found['building']:.2f} s", "", None, ""
        peak = found["peak_gb"]
        yield (f"{name}: memory", f"{peak:.2f} GB", f"<= {memory:g} GB" if memory else "",
               peak <= memory if memory else None, "")  # fmt: skip
        done = found["done"] == found["flows"]
        yield f"{name}: flows done", f"{found['done']:,}", f"{found['flows']:,}", done, said(found["fct_us"])


def collectives(options: argparse.Namespace) -> Iterator[Line]:
    """By classes, as flows, and by ASTRA-sim's definitions."""
    import fabric_flow

    if not options.quick:
        yield from fabric_flow.engine()
        yield from fabric_flow.collectives()
    yield from fabric_flow.astra()


def max_min(options: argparse.Namespace) -> Iterable[Line]:
    """One solve of 65,536 flows."""
    import fabric_flow

    return fabric_flow.solves()


def step(options: argparse.Namespace) -> Iterable[Line]:
    """Training steps on 61,440 accelerators."""
    import fabric_step

    return fabric_step.lines()


def configuration(options: argparse.Namespace) -> Iterable[Line]:
    """All switches configured."""
    import fabric_configure

    return fabric_configure.lines(options.quick)


def latency(options: argparse.Namespace) -> Iterator[Line]:
    """Budgets of remote access and of messages; where a target is not kept, what a switch might take at most."""
    from suanwang.fabric.design.latency import budgets
    from suanwang.fabric.design.opening import read_design

    for preset in BUDGETS:
        for one in budgets(read_design(PRESET.format(name=preset))):
            target = one.target_ps / 1000
            message = one.what == "message"
            note = "" if message else "kept" if one.met else "not kept"
            if not one.met:
                note += f"; a switch may take {one.switch_ps / 1000:.0f} ns" if one.switch_ps > 0 else "; by no switch"
            asked = f"<= {target:,.0f} ns"
            kept = one.met if message else None
            yield f"{preset}: {one.what}, tiers: {one.tiers}", f"{one.total_ps / 1000:,.0f} ns", asked, kept, note


PARTS: dict[str, Callable[[argparse.Namespace], Iterable[Line]]] = {
    "packet-accuracy": packet_accuracy,
    "packet-speed": packet_speed,
    "collectives": collectives,
    "step": step,
    "max-min": max_min,
    "configuration": configuration,
    "latency": latency,
}


def machine() -> dict[str, Any]:
    """Where this runs."""
    named = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "processor": named[0].partition(":")[2].strip() if named else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1),
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
    }


def _options() -> argparse.Namespace:
    beside = Path(__file__).parents[2] / "shared" / "data"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(PARTS), help="parts, of %(default)s")
    parser.add_argument("--quick", action="store_true", help="small fabrics only; published figures are not asked")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("FABRIC_DATA", beside)),
                        help="folder with htsim's files, or with packet/ that has them")  # fmt: skip
    parser.add_argument("-o", "--output", type=Path, help="the table, as JSON")
    options = parser.parse_args()
    unknown = set(options.only.split(",")) - set(PARTS)
    if unknown:
        parser.error(f"there is no part {', '.join(sorted(unknown))}: take some of {', '.join(PARTS)}")
    return options


def main() -> int:
    """Run and print."""
    options = _options()
    host = machine()
    print(", ".join(f"{name} {value}" for name, value in host.items()))
    print(f"{'what':<76} {'asked':>12} {'measured':>14}")
    rows: list[dict[str, Any]] = []
    for name in (one for one in PARTS if one in options.only.split(",")):
        print(f"{name} (load {os.getloadavg()[0]:.1f}, {time.strftime('%H:%M:%S')})", flush=True)
        for what, measured, asked, kept, note in PARTS[name](options):
            rows.append({"part": name, "what": what, "asked": asked, "measured": measured, "ok": kept, "note": note})
            verdict = "" if kept is None else "ok" if kept else "NOT MET"
            print(f"{'  ' + what:<76} {asked:>12} {measured:>14} {verdict:>8}  {note}".rstrip(), flush=True)
    asked_for = [row for row in rows if row["ok"] is not None]
    missed = [row for row in asked_for if not row["ok"]]
    print(f"asked {len(asked_for)}, met {len(asked_for) - len(missed)}; load afterwards {os.getloadavg()[0]:.1f}")
    for row in missed:
        print(f"  not met: {row['what']}: {row['asked']}, {row['measured']}")
    if options.output:
        told = {"machine": host, "load_after": os.getloadavg()[0], "table": rows}
        options.output.write_text(json.dumps(told, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
