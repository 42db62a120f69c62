"""One region at full size: 1,000,000 VPCs with 2,000,000 ports on 20,000 nodes.

    make bench BENCH=bench/million.py [ARGS="--vpcs 100000 --keep FOLDER"]

Takes some fifteen minutes and 10 GB of disk. The store is filled directly with what admission would have written (going
through admission for each of five million resources would take an hour and show nothing); everything after that,
start and
changes, is the real thing. Filling and measuring are processes of their own, so that memory is that of a controller.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import worlds
from control import apply, percentile, read, row

from suanwang.controller.engine import Controller
from suanwang.model.addresses import hex_address, stable_mac
from suanwang.model.reference import Key
from suanwang.model.registry import load
from suanwang.model.resource import check, encode, stored_document
from suanwang.store import SqliteStore

PORTS_A_VPC = 2
VPCS_A_TENANT = 10
BATCH = 5_000

Rows = Iterator[tuple[Key, bytes, list[tuple[str, str]]]]


def stored(document: worlds.Document, allocation: dict[str, Any]) -> tuple[Key, bytes]:
    """A user document as the store would hold it."""
    resource = check(document, load())
    return resource.key, encode({**stored_document(resource), "allocation": allocation})


def vpc_rows(vpc: int, nodes: int, templates: dict[str, Any]) -> Rows:
    """What admission writes for one VPC: entries, and the claims that each owns."""
    tenant, name = worlds.tenant_of(vpc, VPCS_A_TENANT), f"v{vpc}"
    title = f"{tenant}/{name}"
    vpc_key, subnet = Key("Vpc", tenant, name), Key("Subnet", tenant, f"s{vpc}")
    group = Key("SecurityGroup", tenant, f"g{vpc}")
    yield vpc_key, encode({**templates["Vpc"], "allocation": {"vni": vpc + 1}}), [("vni", f"{vpc + 1:08d}")]
    spec = {**templates["SecurityGroup"]["spec"], "vpc": name}
    rules = [dict(rule) for rule in spec["rules"]]
    for rule in rules:
        if "securityGroup" in rule:
            rule["securityGroup"] = group.name
    body = encode({**templates["SecurityGroup"], "spec": {**spec, "rules": rules}})
    yield group, body, [(f"ref/{vpc_key}", str(group)), (f"ref/{group}", str(group))]
    document = {**templates["Subnet"], "spec": {**templates["Subnet"]["spec"], "vpc": name}}
    range_claim = (f"vpc/{title}/subnets", f"{hex_address('10.0.0.0')}/20")
    yield (
        subnet,
        encode({**document, "allocation": {"gateways": ["10.0.0.1"]}}),
        [range_claim, (f"ref/{vpc_key}", str(subnet))],
    )
    for number in range(PORTS_A_VPC):
        node = f"node-{(vpc * 37 + number * 101) % nodes}"
        port = Key("Port", tenant, f"p{vpc}-{number}")
        address, mac = f"10.0.0.{number + 2}", stable_mac("port", tenant, port.name)
        spec = {**templates["Port"]["spec"], "subnet": subnet.name, "node": node, "securityGroups": [group.name]}
        allocation = {"addresses": [address], "mac": mac, "vpc": title}
        claims = [
            (f"vpc/{title}/addresses", hex_address(address)),
            (f"vpc/{title}/macs", mac),
            *((f"ref/{target}", str(port)) for target in (subnet, Key("Node", "", node), group)),
        ]
        yield port, encode({"labels": {}, "spec": spec, "allocation": allocation}), claims


def build(path: Path, vpcs: int, nodes: int) -> None:
    """Fill a store."""
    registry = load()
    store = SqliteStore(path)
    controller = Controller(store, registry)
    apply(controller, read(worlds.infrastructure(nodes)))
    templates = {}
    for document in worlds.vpc_documents(0, 1, nodes):
        resource = check(document, registry)
        templates[resource.key.kind] = stored_document(resource)
    tenants = [Key("Tenant", "", f"t{number}") for number in range(-(-vpcs // VPCS_A_TENANT))]
    for first in range(0, len(tenants), BATCH):
        with store.begin("bench") as transaction:
            for key in tenants[first : first + BATCH]:
                transaction.put(key, encode({"labels": {}, "spec": {"description": ""}, "allocation": {}}))
    begun = time.monotonic()
    for first in range(0, vpcs, BATCH):
        with store.begin("bench") as transaction:
            for vpc in range(first, min(first + BATCH, vpcs)):
                for key, body, claims in vpc_rows(vpc, nodes, templates):
                    transaction.put(key, body)
                    for scope, value in claims:
                        transaction.claim(scope, value, key)
        if first % (BATCH * 10) == 0:
            print(f"  filling: {first:>9,} VPCs, {time.monotonic() - begun:6.0f} s", flush=True)
    store.close()


def measure(path: Path, vpcs: int, nodes: int, rounds: int) -> None:
    """Start a controller on the store and change things."""
    store = SqliteStore(path)
    begun = time.monotonic()
    controller = Controller(store, load())
    row("  start from the store", "<= 10 min", f"{(time.monotonic() - begun) / 60:.2f} min")
    row("  resident memory after the start", "<= 12 GB", f"{resident_gb():.2f} GB")
    timings: list[float] = []
    whole: list[float] = []
    for number in range(rounds):
        vpc = number * 7919 % vpcs
        tenant = worlds.tenant_of(vpc, VPCS_A_TENANT)
        document = worlds.port(vpc, PORTS_A_VPC + number, nodes)
        document["metadata"]["tenant"] = tenant
        key = Key("Port", tenant, document["metadata"]["name"])
        moved = {**document, "spec": {**document["spec"], "node": f"node-{(number * 31 + 7) % nodes}"}}
        for resources, deletions in ((read([document]), []), (read([moved]), []), ([], [key])):
            started = time.perf_counter()
            plan = controller.plan(resources, deletions)
            applied = controller.apply(plan, "bench")
            whole.append((time.perf_counter() - started) * 1e3)
            timings.append(applied.compile_us / 1e3)
    row("  one change: commit to programs compiled, p50", "", f"{percentile(timings, 0.5):.2f} ms")
    row("  one change: commit to programs compiled, p99", "<= 50 ms", f"{percentile(timings, 0.99):.2f} ms")
    row("  one change with plan, admission and commit to disk, p99", "", f"{percentile(whole, 0.99):.2f} ms")
    begun = time.perf_counter()
    asked = [f"node-{number * 97 % nodes}" for number in range(100)]
    objects = sum(len(controller.program(node).objects) for node in asked)
    took = (time.perf_counter() - begun) / len(asked) * 1e3
    row(f"  a node's whole program, asked for first ({objects // len(asked)} objects)", "", f"{took:.1f} ms")
    row("  resident memory at most", "<= 12 GB", f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GB")
    store.close()


def resident_gb() -> float:
    """Memory that this process has in RAM now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**30


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vpcs", type=int, default=1_000_000)
    parser.add_argument("--nodes", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=400, help="rounds of three changes each")
    parser.add_argument("--keep", type=Path, help="folder where the filled store stays, to be measured again")
    parser.add_argument("--stage", choices=("build", "measure"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="suanwang-bench-") as temporary:
        folder: Path = arguments.keep or Path(temporary)
        path = folder / f"region-{arguments.vpcs}.db"
        if arguments.stage == "build":
            build(path, arguments.vpcs, arguments.nodes)
        elif arguments.stage == "measure":
            measure(path, arguments.vpcs, arguments.nodes, arguments.rounds)
        else:
            folder.mkdir(parents=True, exist_ok=True)
            print(f"{arguments.vpcs:,} VPCs, {arguments.vpcs * PORTS_A_VPC:,} ports, {arguments.nodes:,} nodes")
            row("what", "asked", "measured")
            common = [sys.executable, __file__, "--keep", str(folder), "--vpcs", str(arguments.vpcs)]
            common += ["--nodes", str(arguments.nodes), "--rounds", str(arguments.rounds)]
            for stage in ("build", "measure"):
                if stage == "measure" or not path.exists():
                    subprocess.run([*common, "--stage", stage], check=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
