"""The controller's numbers: from a commit to all affected programs compiled, and whole compiles, asked and measured.

    make bench BENCH=bench/control.py [ARGS="--million"]

`--million` runs the region of 1,000,000 VPCs too; that takes some ten minutes and 20 GB of disk.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec
import worlds

from suanwang.controller.engine import Controller
from suanwang.model.reference import Key
from suanwang.model.registry import Resource, load
from suanwang.model.resource import check
from suanwang.program import wire
from suanwang.store import SqliteStore

REGISTRY = load()


def read(documents: Iterable[worlds.Document]) -> list[Resource]:
    """Documents, checked."""
    return [check(document, REGISTRY) for document in documents]


def row(what: str, asked: str, measured: str) -> None:
    """One line of the report."""
    print(f"{what:<66} {asked:>12} {measured:>14}", flush=True)


def percentile(values: list[float], share: float) -> float:
    """The value below which `share` of the values lie."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def apply(controller: Controller, resources: list[Resource], deletions: Iterable[Key] = ()) -> tuple[str, ...]:
    """Plan and apply."""
    return controller.apply(controller.plan(resources, deletions), "bench").nodes


class Follower:
    """Connected agents: takes every update of the nodes that a change touches, encoded as it would be sent."""

    def __init__(self, controller: Controller, nodes: Iterable[str]) -> None:
        self.controller = controller
        self.woken: list[str] = []
        self.publications = {}
        for node in nodes:
            hello = wire.Hello(node, "bench", 1, "", {})
            self.publications[node] = controller.publish(hello, lambda node=node: self.woken.append(node))
            controller.next_update(self.publications[node])

    def take(self) -> int:
        """Make and encode the updates that are due; returns how many."""
        nodes, self.woken = dict.fromkeys(self.woken), []
        for node in nodes:
            update = self.controller.next_update(self.publications[node])
            if update is not None:
                wire.encode(update)
        return len(nodes)


def changes(controller: Controller, follower: Follower, vpcs: int, ports: int, nodes: int, rounds: int) -> None:
    """Port added, moved, deleted, and a rule changed, each `rounds` times; from commit to updates ready to send."""
    timings: dict[str, list[float]] = {"port added": [], "port moved": [], "port deleted": [], "rule changed": []}
    whole: list[float] = []
    touched: list[int] = []

    def step(name: str, resources: list[Resource], deletions: Iterable[Key] = ()) -> None:
        begun = time.perf_counter()
        plan = controller.plan(resources, deletions)
        planned = time.perf_counter()
        applied = controller.apply(plan, "bench")
        compiled = time.perf_counter()
        touched.append(follower.take())
        done = time.perf_counter()
        timings[name].append((applied.compile_us / 1e6 + done - compiled) * 1e3)
        whole.append((done - planned) * 1e3)
        assert len(applied.nodes) == touched[-1] or not follower.publications, (len(applied.nodes), touched[-1])
        del begun

    for number in range(rounds):
        vpc = number * 7919 % vpcs
        added = worlds.port(vpc, ports + number, nodes)
        step("port added", read([added]))
        added["spec"]["node"] = f"node-{(number * 31 + 5) % nodes}"
        step("port moved", read([added]))
        step("port deleted", [], [Key("Port", worlds.tenant_of(vpc), added["metadata"]["name"])])
        group = next(d for d in worlds.vpc_documents(vpc, 0, nodes) if d["kind"] == "SecurityGroup")
        group["spec"]["rules"][0]["ports"] = [80, 1024 + number]
        step("rule changed", read([group]))
    for name, values in timings.items():
        measured = f"{percentile(values, 0.99):.2f} ms"
        row(f"  {name}: commit to programs compiled and encoded, p99", "<= 20 ms", measured)
    row("  the same with admission and the commit to disk, p50 of all", "", f"{statistics.median(whole):.2f} ms")
    row("  the same, p99 of all", "", f"{percentile(whole, 0.99):.2f} ms")
    row("  nodes touched by a change, mean", "", f"{statistics.mean(touched):.1f}")


def timed(work: Callable[[], object]) -> float:
    """Seconds that `work` takes."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def thousand(directory: Path, rounds: int) -> None:
    """1,000 VPCs, 40,000 ports, 1,000 nodes."""
    vpcs, ports, nodes = 1000, 40, 1000
    store = SqliteStore(directory / "thousand.db")
    controller = Controller(store, REGISTRY)
    filled = timed(lambda: fill(controller, vpcs, ports, nodes))
    row("  filled through plan and apply", "", f"{filled:.1f} s")
    controller = Controller(store, REGISTRY)
    compiled = timed(lambda: [controller.hash(node) for node in controller.nodes()])
    row(f"  whole compile of {len(controller.nodes())} programs from nothing", "<= 20 s", f"{compiled:.2f} s")
    joined = timed(lambda: [controller.program(node).text() for node in sorted(controller.nodes())[:50]])
    row("  joining and writing a whole program as text, mean of 50", "", f"{joined / 50 * 1e3:.1f} ms")
    follower = Follower(controller, controller.nodes())
    changes(controller, follower, vpcs, ports, nodes, rounds)
    store.close()


def fill(controller: Controller, vpcs: int, ports: int, nodes: int) -> None:
    """Everything, in a few large plans, as a user would apply folders."""
    apply(controller, read(worlds.infrastructure(nodes)))
    apply(controller, read(worlds.tenants(vpcs)))
    for first in range(0, vpcs, 100):
        documents = [d for vpc in range(first, first + 100) for d in worlds.vpc_documents(vpc, ports, nodes)]
        apply(controller, read(documents))


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--million", action="store_true", help="the region of 1,000,000 VPCs too")
    parser.add_argument("--rounds", type=int, default=300, help="rounds of four changes each")
    arguments = parser.parse_args()
    row("what", "asked", "measured")
    with tempfile.TemporaryDirectory(prefix="suanwang-bench-") as directory:
        print("1,000 VPCs, 40,000 ports, 1,000 nodes (OVN 23.03, two cores: 3,300 to 3,700 ms for one port)")
        thousand(Path(directory), arguments.rounds)
    row("  memory, resident at most", "", f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GB")
    return 0


if __name__ == "__main__":
    assert msgspec
    sys.exit(main())
