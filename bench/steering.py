"""Steering's numbers: value, seconds and memory of the solvers, asked and measured.

    make bench BENCH=bench/steering.py [ARGS="--only total-flow,online --topologies GtsCe,Kdl -o numbers.json"]

On the matrices in `--data` (or TE_DATA): a folder with `instances.csv` (topology, demands, nodes, the published optimum
of total flow over 4 edge-disjoint paths) and for each topology a folder with `links.csv` and the matrices. Without it,
and with `--quick`, on the shipped example and networks made up under a seed, where HiGHS's optimum over the same paths
takes the published one's place. All of it takes some hours, nearly all of which is HiGHS; `--matrices 1` is quicker.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import steering_runs as runs
from steering_services import compared
from steering_worlds import Instance, Size, published, shipped

SETS = {"spread": 0.01, "edge-disjoint": 0.005}
"""Path sets, and the gap that is asked of the solver over each."""

METHODS = {
    "exact": "HiGHS, interior points",
    "pdlp": "HiGHS, PDLP",
    "pop": "POP-16 on HiGHS",
    "greedy": "greedy CSPF",
    "fast": "fast",
}
BESIDE = ("Cogentco", "GtsCe", "Kdl")
SMALL_WORLD = Size(200, 20, 8, 4000)


class Report:
    """The table as it grows: what, asked, measured, and whether that is kept."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.found: dict[str, Any] = {}

    def line(self, what: str, measured: str, asked: str = "", kept: bool | None = None, note: str = "") -> None:
        """A line; nothing asked, nothing kept."""
        self.rows.append({"what": what, "asked": asked, "measured": measured, "ok": kept, "note": note})
        said = "" if kept is None else "ok" if kept else "NOT MET"
        print(f"{'  ' + what:<76} {asked:>10} {measured:>12} {said:>8}  {note}".rstrip(), flush=True)

    def most(self, what: str, value: float, limit: float | None, unit: str, digits: int = 2, note: str = "") -> None:
        """A line whose value shall be small."""
        measured = f"{value:.{digits}f} {unit}".strip()
        asked = "" if limit is None else f"<= {limit:g} {unit}".strip()
        self.line(what, measured, asked, None if limit is None else value <= limit, note)

    def least(self, what: str, value: float, limit: float | None, note: str = "") -> None:
        """A line whose value shall be great: a share or ratio."""
        asked = "" if limit is None else f">= {limit:g}"
        self.line(what, f"{value:.4f}", asked, None if limit is None else value >= limit, note)

    def lost(self, what: str) -> None:
        """A run that gave no answer."""
        self.line(what, "no answer", kept=False, note="out of memory, out of time, or failed: see above")

    def end(self) -> None:
        """What of it all was kept."""
        asked = [row for row in self.rows if row["ok"] is not None]
        missed = [row for row in asked if not row["ok"]]
        print(f"asked {len(asked)}, met {len(asked) - len(missed)}")
        for row in missed:
            print(f"  not met: {row['what']}: {row['asked']}, {row['measured']}")


class Parts:
    """What can be measured, by name."""

    def __init__(self, bench: runs.Bench, instances: list[Instance], options: argparse.Namespace) -> None:
        self.bench, self.instances, self.options = bench, instances, options
        self.report = Report()
        self.size: Size = SMALL_WORLD if options.quick else options.world

    def groups(self) -> dict[str, list[Instance]]:
        """Instances by topology, `--matrices` of each at most."""
        found: dict[str, list[Instance]] = {}
        for one in self.instances:
            found.setdefault(one.topology, []).append(one)
        return {name: some[: self.options.matrices] for name, some in found.items()}

    @property
    def largest(self) -> list[Instance]:
        """The instances of the largest topology."""
        groups = self.groups()
        return groups[max(groups, key=lambda name: groups[name][0].nodes)]

    def solved(
        self, some: list[Instance], kind: str, aim: str, method: str, gap: float, times: int = 1
    ) -> list[dict[str, Any]] | None:
        """A run of `solved`, ended where a solver does not keep the time that it was given."""
        seconds = 600 + len(some) * times * 2 * self.bench.seconds
        found: list[dict[str, Any]] | None = runs.apart(
            runs.solved, self.bench, some, kind, aim, method, gap, times, seconds=seconds
        )
        return found

    def paths(self) -> list[Any]:
        """Candidates the first time, and from the bytes that are kept."""
        found = []
        for topology, some in self.groups().items():
            for kind in SETS:
                one = runs.apart(runs.paths, self.bench, some[0], kind)
                what = f"{topology}, {kind}-{runs.PATHS}"
                if one is None:
                    self.report.lost(what)
                    continue
                note = f"{one['pairs']:,} pairs, {one['paths']:,} paths"
                self.report.most(f"{what}: found", one["first"], 60.0, "s", note=note)
                self.report.most(f"{what}: memory", one["peak_gb"], 4.0 if some[0].large else None, "GB")
                self.report.most(f"{what}: read back", one["cached"], None, "s", note=f"{one['bytes'] / 2**20:.0f} MB")
                found.append(one)
        return found

    def total_flow(self) -> list[Any]:
        """Value, seconds, memory and feasibility of `fast`."""
        found = []
        for topology, some in self.groups().items():
            large = some[0].large
            each = {kind: self.solved(some, kind, "total-flow", "fast", gap, 2 if large else 4)
                    for kind, gap in SETS.items()}  # fmt: skip
            optimum = {one.name: one.optimum for one in some}
            if any(math.isnan(value) for value in optimum.values()):
                for one in self.solved(some, "edge-disjoint", "total-flow", "exact", 1e-6) or []:
                    optimum[one["instance"]] = one["value"] if one["finished"] else math.nan
            runs_of = {kind: one for kind, one in each.items() if one is not None}
            for kind in set(each) - set(runs_of):
                self.report.lost(f"{topology}, {kind}")
            for number, instance in enumerate(some):
                self._value(instance, {kind: one[number] for kind, one in runs_of.items()}, optimum[instance.name])
            for kind, all_of in runs_of.items():
                limit = 4.0 if large else None
                self.report.most(f"{topology}, {kind}: memory, with reading all files", all_of[0]["peak_gb"], limit,
                                 "GB")  # fmt: skip
                self.report.most(f"{topology}, {kind}: broken rules, to 1e-6", sum(one["broken"] for one in all_of),
                                 0, "", 0)  # fmt: skip
                found += all_of
        return found

    def _value(self, instance: Instance, each: dict[str, dict[str, Any]], optimum: float) -> None:
        best = max(each, key=lambda kind: each[kind]["value"], default="")
        for kind, one in each.items():
            one["optimum"] = optimum
            note = f"gap {one['gap']:.4f} over these paths"
            what = f"{instance.name}, {kind}"
            if not math.isnan(optimum):
                self.report.least(f"{what}: value / optimum", one["value"] / optimum, 0.995 if kind == best else None,
                                  note)  # fmt: skip
            else:
                self.report.line(f"{what}: value", f"{one['value']:.6g}", note=f"{note}; no optimum is known")
            self.report.most(f"{what}: solve", one["seconds"], 3.0 if instance.large else 0.25, "s", 3,
                             f"of {len(one['all'])}, worst {max(one['all']):.3f}")  # fmt: skip

    def alike(self) -> list[Any]:
        """Concurrent flow and utilisation against HiGHS."""
        found = []
        for some in self.groups().values():
            for instance in some:
                for aim in ("concurrent", "min-mlu"):
                    both = [self.solved([instance], "edge-disjoint", aim, method, gap)
                            for method, gap in (("fast", 0.005), ("exact", 1e-6))]  # fmt: skip
                    found += [one for each in both for one in each or []]
                    self._alike(f"{instance.name}, {aim}", both)
        return found

    def _alike(self, what: str, both: list[list[dict[str, Any]] | None]) -> None:
        fast, exact = (each[0] if each else None for each in both)
        if fast is None:
            self.report.lost(what)
            return
        note = f"fast {fast['seconds']:.2f} s, gap {fast['gap']:.4f}, {fast['broken']} broken rules"
        if exact is None or not exact["finished"]:
            ended = "no answer" if exact is None else f"not done in {exact['seconds']:.0f} s"
            self.report.line(f"{what}: value", f"{fast['value']:.5g}", note=f"{note}; HiGHS {ended}")
            return
        note += f"; HiGHS {exact['seconds']:.2f} s"
        one, other = fast["value"], exact["value"]
        apart = abs(one - other) / abs(other) if other else abs(one)
        self.report.most(f"{what}: from HiGHS's optimum", 100 * apart, 1.0, "%", note=note)

    def online(self) -> list[Any]:
        """A link fails on the largest network."""
        found = []
        for instance in self.largest[:2]:
            some = runs.apart(runs.failures, self.bench, instance, self.options.failures)
            if not some:
                self.report.lost(f"{instance.name}: failures")
                continue
            times = sorted(one["repair_ms"] for one in some)
            anew = sorted(one["anew_ms"] for one in some)
            what = f"{instance.name}, {len(some)} links fail"
            self.report.most(f"{what}: repair, p50", times[len(times) // 2], 150.0, "ms", 1,
                             f"anew: {anew[len(anew) // 2]:.0f} ms")  # fmt: skip
            self.report.most(f"{what}: repair, slowest", times[-1], 150.0, "ms", 1)
            self.report.least(f"{what}: value / solved anew, worst", min(one["value"] / one["anew"] for one in some),
                              0.99)  # fmt: skip
            self.report.most(f"{what}: overfull, worst", max(one["overfull"] for one in some), 1e-6, "", 9)
            self.report.most(f"{what}: all rows copied out, slowest", max(one["snapshot_ms"] for one in some), None,
                             "ms", 1)  # fmt: skip
            self.report.most(f"{what}: and back, slowest", max(one["restore_ms"] for one in some), None, "ms", 1)
            self.report.most(f"{what}: improving what runs then, slowest", max(one["improve_ms"] for one in some), None,
                             "ms", 1)  # fmt: skip
            self.report.least(f"{what}: value / before, all of them back", some[-1]["kept"], None,
                              f"improved: {some[-1]['improved']:.4f}")  # fmt: skip
            found += some
        return found

    def decision(self) -> list[Any]:
        """New demands, one by one."""
        found = []
        for instance in (self.largest[0], self.size):
            one = runs.apart(runs.decisions, self.bench, instance)
            what = instance.name if isinstance(instance, Instance) else "services"
            if one is None:
                self.report.lost(f"{what}: decisions")
                continue
            self.report.most(f"{what}: a new demand, in batches of {runs.BATCH}, mean", one["batch_us"], 50.0, "us", 1)
            self.report.most(f"{what}: a new demand, alone, mean", one["alone_ms"], 1.0, "ms", 3,
                             f"p99 {one['alone_p99_ms']:.3f} ms")  # fmt: skip
            found.append(one)
        return found

    def services(self) -> list[Any]:
        """Endpoint and path together, against one after the other."""
        self.report.line(str(self.size), "")
        found: list[dict[str, Any]] = runs.apart(compared, self.bench, self.size, 0.01) or []
        if not found:
            self.report.lost("services")
            return found
        joint = found[0]
        self.report.most("joint choice: solve", joint["seconds"], 2.0, "s", 3,
                         f"{joint['peak_gb']:.2f} GB; paths {joint['paths_seconds']:.1f} s")  # fmt: skip
        self.report.most("joint choice: from its bound", 100 * joint["gap"], 1.0, "%")
        self.report.most("joint choice: broken rules, to 1e-6", joint["broken"], 0, "", 0)
        names = ("served", "mean delay", "cost / joint", "fullest endpoint", "endpoints full", "fullest link", "gap")
        print("  " + f"{'endpoint, then path':<24}" + "".join(f"{name:>18}" for name in names))
        for one in found:
            one["cost_over_joint"] = one["value"] / joint["value"]
            told = (f"{one['served']:.2%}", f"{one['mean_delay_ms']:.2f} ms", f"{one['cost_over_joint']:.3f}",
                    f"{one['fullest_endpoint']:.3f}", f"{one['full_endpoints']:.1%}", f"{one['fullest_link']:.3f}",
                    f"{one['gap']:.4f}")  # fmt: skip
            print("  " + f"{one['choice']:<24}" + "".join(f"{text:>18}" for text in told))
        return found

    def side_by_side(self) -> list[Any]:
        """All methods on one matrix of each topology."""
        found = []
        groups = self.groups()
        names = [name for name in BESIDE if name in groups] or list(groups)[-2:]
        for instance in (one for name in names for one in groups[name][: self.options.beside]):
            some = {method: self.solved([instance], "edge-disjoint", "total-flow", method, 0.005) for method in METHODS}
            got = {method: one[0] for method, one in some.items() if one}
            found += got.values()
            bound = min((one["bound"] for one in got.values()), default=math.inf)
            seconds = got["fast"]["seconds"] if "fast" in got else math.nan
            fallen = dict.fromkeys(("exact", "pdlp"), ": greedy's answer at least")
            for method, title in METHODS.items():
                one = got.get(method)
                if one is None:
                    self.report.lost(f"{instance.name}, {title}")
                    continue
                note = f"{one['seconds']:9.2f} s ({one['seconds'] / seconds:.1f} x fast), gap "
                note += f"{(bound - one['value']) / bound:.4f}, {one['peak_gb']:.1f} GB"
                note += "" if one["finished"] else f", out of time{fallen.get(method, '')}"
                top = bound if math.isnan(instance.optimum) else instance.optimum
                self.report.least(f"{instance.name}, {title}: value / optimum", one["value"] / top, None, note)
            for name, value in instance.published:
                self.report.line(f"{instance.name}, published, other machine: {name}", f"{value:.4g}")
        return found


PARTS: dict[str, Callable[[Parts], list[Any]]] = {
    "paths": Parts.paths,
    "total-flow": Parts.total_flow,
    "alike": Parts.alike,
    "online": Parts.online,
    "decision": Parts.decision,
    "services": Parts.services,
    "side-by-side": Parts.side_by_side,
}


def _options() -> argparse.Namespace:
    beside = Path(__file__).parents[2] / "shared" / "data" / "te"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(PARTS), help="parts, of %(default)s")
    parser.add_argument("--topologies", default="", help="by name; all")
    parser.add_argument("--matrices", type=int, help="of each topology, at most; all")
    parser.add_argument("--beside", type=int, default=1, help="matrices of each topology side by side; %(default)s")
    parser.add_argument("--failures", type=int, default=20, help="links that fail; %(default)s")
    parser.add_argument("--limit", type=float, default=600.0, help="seconds for each solve in `alike`; %(default)s")
    parser.add_argument("--beside-limit", type=float, default=120.0, help="the same side by side; %(default)s")
    parser.add_argument("--world", type=lambda text: Size(*map(int, text.split(","))), default=Size(),
                        help="sites,services,instances,demands; %(default)s")  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="shipped data and a small world only")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("TE_DATA", beside)))
    parser.add_argument("--cache", type=Path, help="folder where candidates stay for another time")
    parser.add_argument("-o", "--output", type=Path, help="all that was found, as JSON")
    options = parser.parse_args()
    unknown = set(options.only.split(",")) - set(PARTS)
    if unknown:
        parser.error(f"there is no part {', '.join(sorted(unknown))}: take some of {', '.join(PARTS)}")
    return options


def main() -> int:
    """Run and print."""
    options = _options()
    there = not options.quick and (options.data / "instances.csv").is_file()
    instances = published(options.data) if there else shipped(options.quick)
    wanted = options.topologies.split(",") if options.topologies else {one.topology for one in instances}
    instances = [one for one in instances if one.topology in wanted]
    if not instances:
        print(f"none of the topologies is {options.topologies}")
        return 2
    host = runs.machine()
    print(", ".join(f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}"
                    for name, value in host.items()))  # fmt: skip
    print("published matrices" if there else "shipped and made-up data")
    print(f"{'what':<76} {'asked':>10} {'measured':>12}")
    with tempfile.TemporaryDirectory(prefix="suanwang-bench-") as temporary:
        cache = options.cache or Path(temporary)
        cache.mkdir(parents=True, exist_ok=True)
        limits = {"side-by-side": options.beside_limit}
        parts = Parts(runs.Bench(options.data, cache, options.limit), instances, options)
        for name, part in PARTS.items():
            if name in options.only.split(","):
                print(f"{name} (load {os.getloadavg()[0]:.1f}, {time.strftime('%H:%M:%S')})", flush=True)
                parts.bench = runs.Bench(options.data, cache, limits.get(name, options.limit))
                parts.report.found[name] = part(parts)
        parts.report.end()
    if options.output:
        told = {"machine": host, "load_after": os.getloadavg()[0], "table": parts.report.rows, **parts.report.found}
        options.output.write_text(json.dumps(runs.plain(told), indent=1, allow_nan=False) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
