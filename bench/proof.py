"""The proof's numbers: everything proven from nothing, and proven again after one change, asked and measured.

    make bench BENCH=bench/proof.py [ARGS="--rounds 50"]

The world of bench/control.py, with ten assertions for each VPC.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import worlds
from control import REGISTRY, apply, percentile, read, row, timed

from suanwang.controller.engine import Controller
from suanwang.model.reference import Key
from suanwang.model.registry import Resource
from suanwang.program.fragment import Fragment
from suanwang.proof.prover import Prover
from suanwang.store import SqliteStore

ASSERTIONS = 10
"""Of each VPC; they hold, five that packets pass and five that they do not."""


def assertions(vpc: int, ports: int) -> Iterator[worlds.Document]:
    """Between ports all over the VPC."""
    for number in range(ASSERTIONS):
        allowed = number % 2 == 0
        spec = {
            "from": {"port": f"p{vpc}-{number * 3 % ports}"},
            "to": {"port": f"p{vpc}-{(number * 3 + 1 + number) % ports}"},
            "protocol": ("tcp", "icmp")[number % 4 == 0] if allowed else "tcp",
            "expect": "allowed" if allowed else "denied",
        }
        if not allowed:
            # In no rule's ports, and not from a member of the group: an address that nobody has.
            spec["to"] = {"address": f"10.0.15.{number + 1}"}
        if spec["protocol"] == "tcp":
            spec["port"] = 443
        yield worlds.resource("Assertion", f"a{vpc}-{number}", spec, worlds.tenant_of(vpc))


def fill(controller: Controller, vpcs: int, ports: int, nodes: int) -> None:
    """Everything, in a few large plans."""
    apply(controller, read(worlds.infrastructure(nodes)))
    apply(controller, read(worlds.tenants(vpcs)))
    for first in range(0, vpcs, 50):
        documents = [d for vpc in range(first, first + 50) for d in worlds.vpc_documents(vpc, ports, nodes)]
        documents += [d for vpc in range(first, first + 50) for d in assertions(vpc, ports)]
        apply(controller, read(documents))


def programs(controller: Controller) -> dict[tuple[str, str], tuple[Fragment, ...]]:
    """The fragments of all nodes, as a prover takes them."""
    found: dict[tuple[str, str], list[Fragment]] = {}
    for node in controller.nodes():
        for part in controller.program(node).fragments:
            found.setdefault((node, part.owner), []).append(part)
    return {place: tuple(parts) for place, parts in found.items()}


def resident_gb() -> float:
    """Memory of this process now."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 2**20
    return 0.0


def everything(controller: Controller) -> Prover:
    """All isolation and all assertions from nothing: through the controller, and by one prover that keeps it all."""
    begun = time.perf_counter()
    verdict = controller.prove()
    measured = time.perf_counter() - begun
    row(
        f"  {verdict.components} networks, {verdict.assertions} assertions, from nothing",
        "<= 60 s",
        f"{measured:.1f} s",
    )
    row("  findings", "0", str(len(verdict.findings)))
    row(
        "  memory then, resident at most",
        "<= 4 GB",
        f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GB",
    )
    fragments = programs(controller)
    before = resident_gb()
    prover = Prover()
    taken = timed(lambda: prover.change(fragments))
    settled = timed(prover.settle)
    assert not prover.findings()
    row("  one prover of all programs: taking them in", "", f"{taken:.1f} s")
    row("  one prover of all programs: proving", "", f"{settled:.1f} s")
    row("  one prover of all programs: its memory", "", f"{resident_gb() - before:.2f} GB")
    return prover


def changes(controller: Controller, prover: Prover, vpcs: int, ports: int, nodes: int, rounds: int) -> None:
    """Port added, moved, deleted, and a rule changed, each `rounds` times."""
    planned: dict[str, list[float]] = {"port added": [], "port moved": [], "port deleted": [], "rule changed": []}
    again: list[float] = []
    proven: list[float] = []

    def step(name: str, resources: list[Resource], deletions: Iterable[Key] = ()) -> None:
        begun = time.perf_counter()
        plan = controller.plan(resources, deletions)
        planned[name].append((time.perf_counter() - begun) * 1e3)
        begun = time.perf_counter()
        controller.plan(resources, deletions)
        again.append((time.perf_counter() - begun) * 1e3)
        applied = controller.apply(plan, "bench")
        owner = f"vpc/{plan.changes[0].tenant}/v{vpc}"
        now = {
            (node, owner): tuple(part for part in controller.program(node).fragments if part.owner == owner)
            for node in applied.nodes
        }
        begun = time.perf_counter()
        prover.change(now)
        verdict = prover.settle()
        proven.append((time.perf_counter() - begun) * 1e3)
        assert verdict.proven
        assert verdict.components == 1

    for number in range(rounds):
        vpc = number * 7919 % vpcs
        added = worlds.port(vpc, ports + number, nodes)
        step("port added", read([added]))
        added["spec"]["node"] = f"node-{(number * 31 + 5) % nodes}"
        step("port moved", read([added]))
        step("port deleted", [], [Key("Port", worlds.tenant_of(vpc), added["metadata"]["name"])])
        group = next(d for d in worlds.vpc_documents(vpc, 0, nodes) if d["kind"] == "SecurityGroup")
        group["spec"]["rules"][0]["ports"] = [80, 443, 1024 + number]
        step("rule changed", read([group]))
    row("  one change: the prover alone, p50", "", f"{percentile(proven, 0.5):.1f} ms")
    row("  one change: the prover alone, p99", "<= 50 ms", f"{percentile(proven, 0.99):.1f} ms")
    for name, values in planned.items():
        row(f"  {name}: whole plan with its proof, p50", "", f"{percentile(values, 0.5):.1f} ms")
        row(f"  {name}: whole plan with its proof, p99", "<= 50 ms", f"{percentile(values, 0.99):.1f} ms")
    row("  the same plan made again, p50 of all", "", f"{percentile(again, 0.5):.1f} ms")


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vpcs", type=int, default=1000)
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=100, help="rounds of four changes each")
    arguments = parser.parse_args()
    ports = 40
    row("what", "asked", "measured")
    with tempfile.TemporaryDirectory(prefix="suanwang-bench-") as directory:
        print(f"{arguments.vpcs} VPCs of {ports} ports, {arguments.nodes} nodes, {ASSERTIONS} assertions a VPC")
        store = SqliteStore(Path(directory) / "proof.db")
        controller = Controller(store, REGISTRY)
        filled = timed(lambda: fill(controller, arguments.vpcs, ports, arguments.nodes))
        row("  filled through plan and apply, each plan proven", "", f"{filled:.1f} s")
        # As after a restart: nothing is compiled or proven yet.
        controller = Controller(store, REGISTRY)
        prover = everything(controller)
        changes(controller, prover, arguments.vpcs, ports, arguments.nodes, arguments.rounds)
        store.close()
    row(
        "  memory, resident at most, all of it together",
        "",
        f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GB",
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
