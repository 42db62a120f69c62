"""What the proof says of each pair of ports, against real probes on three real kernels joined by a bridge."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from suanwang.agent.probing import Prober
from suanwang.agent.responding import Responders
from suanwang.agent.workload_sockets import Sockets
from suanwang.controller.engine import Controller
from suanwang.linux.kernel import Kernel
from suanwang.measure.figures import NoFigures
from suanwang.model.registry import Resource, load
from suanwang.model.resource import check
from suanwang.program import wire
from suanwang.program.objects import PortDevice, Probe, Responder
from suanwang.proof.prover import Prover
from suanwang.proof.walk import round_trip
from suanwang.store import SqliteStore

pytestmark = pytest.mark.root

NODES = ("a", "b", "c")
REGISTRY = load()
STRANGER = {4: "10.0.77.77", 6: "fd00:1:0:77::77"}
"""Addresses that no port has."""

Document = dict[str, Any]


def shell(line: str) -> None:
    subprocess.run(line, shell=True, check=True, capture_output=True, text=True, timeout=60)


@pytest.fixture
def kernels() -> Iterator[dict[str, Kernel]]:
    """Three nodes: underlay namespaces on one bridge, 192.0.2.1 to 3, each with a kernel of its own."""
    prefix = f"swp{os.getpid()}."
    made: dict[str, Kernel] = {}
    namespaces = [f"{prefix}x", *(f"{prefix}{node}" for node in NODES)]
    try:
        for name in namespaces:
            shell(f"ip netns add {name} && ip -n {name} link set lo up")
        shell(f"ip -n {prefix}x link add br0 type bridge && ip -n {prefix}x link set br0 up")
        for number, node in enumerate(NODES, 1):
            shell(f"ip -n {prefix}x link add name to-{node} type veth peer name u netns {prefix}{node}")
            shell(f"ip -n {prefix}x link set to-{node} master br0 up")
            shell(f"ip -n {prefix}{node} addr add 192.0.2.{number}/24 dev u && ip -n {prefix}{node} link set u up")
            made[node] = Kernel(underlay=prefix + node, prefix=f"{prefix}{node}.")
        yield made
    finally:
        for kernel in made.values():
            kernel.clean_up()
            kernel.close()
        for name in namespaces:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True, timeout=60)


def resource(kind: str, tenant: str, name: str, spec: Document) -> Document:
    metadata = {"name": name, **({"tenant": tenant} if tenant else {})}
    return {"apiVersion": "suanwang/v1", "kind": kind, "metadata": metadata, "spec": spec}


def infrastructure() -> Iterator[Document]:
    yield resource("Region", "", "east", {"underlay": {"mtu": "1500B"}})
    for number, node in enumerate(NODES, 1):
        yield resource("Node", "", node, {"region": "east", "roles": ["host"], "address": f"192.0.2.{number}"})


def network(tenant: str, chance: random.Random) -> Iterator[Document]:
    """A VPC with the same addresses as all others: two subnets, one with a route table, three groups, five ports."""
    yield resource("Tenant", "", tenant, {})
    yield resource("Vpc", tenant, "v", {"cidrs": ["10.0.0.0/16", "fd00:1::/48"]})
    yield resource("PrefixList", tenant, "list", {"prefixes": chance.sample(PREFIXES, 2)})
    for name in ("g0", "g1", "g2"):
        rules = [rule(chance) for _ in range(chance.randint(2, 6))]
        yield resource("SecurityGroup", tenant, name, {"vpc": "v", "rules": rules})
    routes = [{"destination": "10.0.2.128/25", "nextHop": {"blackhole": True}}]
    routes += [{"destination": "0.0.0.0/0", "nextHop": {"port": "p0"}}]
    routes += chance.sample(
        [
            {"destination": "10.0.2.0/25", "nextHop": {"port": "p0"}},
            {"destination": "fd00:1:0:2::/64", "nextHop": {"blackhole": True}},
            {"destination": "fd00:1:0:2::/64", "nextHop": {"port": "p0"}},
            {"destination": "::/0", "nextHop": {"port": "p0"}},
        ],
        1,
    )
    yield resource("RouteTable", tenant, "r", {"vpc": "v", "routes": routes})
    for number, table in ((1, "r"), (2, None)):
        ranges = {"cidr": f"10.0.{number}.0/24", "ipv6Cidr": f"fd00:1:0:{number}::/64"}
        yield resource("Subnet", tenant, f"s{number}", {"vpc": "v", "routeTable": table, **ranges})
    for number in range(5):
        subnet, last = (1, 10 + number) if number % 2 else (2, 10 + number if number else 200)
        spec = {
            "subnet": f"s{subnet}",
            "addresses": [f"10.0.{subnet}.{last}", f"fd00:1:0:{subnet}::{last:x}"],
            "node": chance.choice(NODES),
            "securityGroups": chance.sample(["g0", "g1", "g2"], chance.choice([0, 1, 2, 2, 3])),
        }
        yield resource("Port", tenant, f"p{number}", spec)


PREFIXES = ["10.0.1.0/24", "10.0.2.0/28", "10.0.0.0/8", "fd00:1:0:1::/64", "fd00:1::/48", "10.0.1.11/32"]


def rule(chance: random.Random) -> Document:
    peer: Document = chance.choice(
        [{}, {"cidr": chance.choice(PREFIXES)}, {"prefixList": "list"}, {"securityGroup": chance.choice(["g0", "g1"])}]
    )
    what: Document = chance.choice(
        [{}, {"protocol": "tcp", "ports": ["8000-8080"]}, {"protocol": "udp", "ports": [53]}, {"protocol": "icmpv6"},
         {"protocol": "icmp", "icmpType": 8}, {"protocol": "tcp"}, {"protocol": "udp"}]
    )  # fmt: skip
    version = 6 if ":" in peer.get("cidr", "") else 4
    if what.get("protocol") in ("icmp", "icmpv6") and "cidr" in peer:
        what = {"protocol": "icmp"} if version == 4 else {"protocol": "icmpv6"}
    direction = "ingress" if chance.random() < 0.85 else "egress"
    return {"direction": direction, **what, **peer}


def compiled(seed: int) -> tuple[Controller, Prover]:
    """A random world, compiled, and a prover that knows it."""
    chance = random.Random(seed)
    documents = [*infrastructure()]
    for tenant in ("red", "green", "blue"):
        documents += network(tenant, chance)
    resources: list[Resource] = [check(document, REGISTRY) for document in documents]
    controller = Controller(SqliteStore(":memory:"), REGISTRY)
    controller.apply(controller.plan(resources), "test")
    prover = Prover()
    for node in NODES:
        places: dict[tuple[str, str], Any] = {}
        for part in controller.program(node).fragments:
            places.setdefault((node, part.owner), []).append(part)
        prover.change({place: tuple(parts) for place, parts in places.items()})
    assert prover.settle().findings == ()
    return controller, prover


def probes(prover: Prover) -> Iterator[tuple[str, Probe]]:
    """One for each pair of ports of a network, IP version and protocol, and to addresses of nobody: (node, probe)."""
    ports: dict[str, list[tuple[str, PortDevice]]] = {}
    for component in prover.components():
        for place in component.places:
            node, netns = component.keys[place.space]
            ports.setdefault(netns, []).append((node, place.port))
    for netns, present in sorted(ports.items()):
        for node, sender in present:
            for version in (4, 6):
                own = address(sender, version)
                targets = {address(port, version) for _, port in present} - {own} | {STRANGER[version]}
                for target in sorted(targets):
                    for protocol, number in (("icmp", 0), ("tcp", 8080), ("tcp", 22), ("udp", 53), ("udp", 99)):
                        name = f"{netns} {sender.title} {target} {protocol} {number}"
                        yield node, Probe(name, sender.workload, protocol, own, target, number, "allowed")


def address(port: PortDevice, version: int) -> str:
    return next(one.partition("/")[0] for one in port.addresses if (":" in one) == (version == 6))


def verdict(prover: Prover, probe: Probe) -> str:
    """Whether the proof says that an answer comes: from the workload that has the address, to the one that asked."""
    there, back = prover.trace(probe.netns, probe.protocol, probe.source, probe.destination, probe.port)
    if not there.delivered or back is None or not back.delivered:
        return "denied"
    found = prover.attachment(f"port/{there.port}")
    assert found is not None
    has_it = probe.destination in {one.partition("/")[0] for one in found[1].addresses}
    return "allowed" if has_it and f"port/{back.port}" == probe.netns else "denied"


async def tried(kernels: dict[str, Kernel], wanted: list[tuple[str, Probe]], prover: Prover) -> dict[str, str]:
    """What real packets do, by probe."""
    outcomes: dict[str, str] = {}
    sockets = {node: Sockets(kernel.namespace) for node, kernel in kernels.items()}
    answering = {node: Responders(sockets[node]) for node in kernels}
    try:
        for component in prover.components():
            for place in component.places:
                node, _ = component.keys[place.space]
                for bare in (address(place.port, 4), address(place.port, 6)):
                    for number in (53, 99):
                        item = Responder("x", place.port.workload, "udp", bare, number, place.port.title)
                        assert await answering[node].arm(["x"], {"x": (item,)}, 60_000_000) == {}

        async def one_node(node: str) -> None:
            known = {probe.assertion: probe for on, probe in wanted if on == node}
            request = wire.RunProbes("r", tuple(known), 1, 0, 700_000)
            for result in await Prober(sockets[node], NoFigures()).run(request, known):
                outcomes[result.assertion] = result.outcome

        await asyncio.gather(*map(one_node, kernels))
    finally:
        for node in kernels:
            answering[node].close()
            sockets[node].close()
    return outcomes


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_every_pair_is_as_proven(seed: int, kernels: dict[str, Kernel]) -> None:
    controller, prover = compiled(seed)
    for node, kernel in kernels.items():
        results = kernel.apply(controller.program(node).objects)
        assert {key: result for key, result in results.items() if result.state != "done"} == {}
    wanted = list(probes(prover))
    proven = {probe.assertion: verdict(prover, probe) for _, probe in wanted}
    outcomes = asyncio.run(tried(kernels, wanted, prover))
    print(f"{len(wanted)} probes, {sum(value == 'allowed' for value in proven.values())} allowed")
    differing = {name: (said, outcomes[name]) for name, said in proven.items() if outcomes[name] != said}
    assert differing == {}
    assert len(wanted) >= 300
    assert {"allowed", "denied"} == set(proven.values())


def test_round_trip_is_what_trace_shows() -> None:
    _, prover = compiled(1)
    _, probe = next(iter(probes(prover)))
    there, back = prover.trace(probe.netns, probe.protocol, probe.source, probe.destination, probe.port)
    assert (there, back) == round_trip(prover, probe.netns, there.packet)
