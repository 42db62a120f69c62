"""Order of translation, routes and filters: what transfers make of packets, against nftables on two real kernels."""

from __future__ import annotations

import asyncio
import subprocess
from typing import Any

import pytest
from tests.proof.test_proof_against_kernels import kernels
from tests.proof.test_proof_transfers import NETNS, THREE, edited, found, network, proven
from tests.proof.transfer_types import Backend, Balancer, PortForward, PrefixNat

from suanwang.agent.probing import Prober
from suanwang.agent.workload_sockets import Sockets
from suanwang.linux.kernel import Kernel
from suanwang.measure.figures import NoFigures
from suanwang.program import objects, wire
from suanwang.program.objects import FilterRule, Object, Probe
from suanwang.program.program import join
from suanwang.proof import codes
from suanwang.proof.transfer import SCOPES

__all__ = ["kernels"]
pytestmark = pytest.mark.root

VIP = "10.0.9.9"
NAT = PrefixNat(NETNS, "nat", "10.0.0.0/24", "10.0.7.0/24", "10.0.0.4/32")
"""What goes to port 4 comes from 10.0.7.0/24; what goes to 10.0.7.N goes to 10.0.0.N."""


def ruleset(items: list[Object]) -> str:
    """The same in the words of nft."""
    arriving, leaving = [], []
    for one in items:
        match one:
            case PortForward():
                arriving.append(f"ip daddr {one.address} tcp dport {one.port} dnat to {one.to}:{one.to_port}")
            case Balancer():
                backends = [item.address for item in items if isinstance(item, Backend)]
                choices = ", ".join(f"{number} : {address}" for number, address in enumerate(backends))
                chosen = f"dnat to numgen inc mod {len(backends)} map {{ {choices} }}"
                arriving.append(f"ip daddr {one.address} tcp dport {one.port} {chosen}")
            case PrefixNat():
                arriving.append(f"ip daddr {one.outer} dnat ip prefix to ip daddr map {{ {one.outer} : {one.inner} }}")
                snat = f"snat ip prefix to ip saddr map {{ {one.inner} : {one.outer} }}"
                leaving.append(f"ip saddr {one.inner} ip daddr {one.outside} {snat}")
    return "\n".join(
        [
            "table ip translation {",
            "chain arriving { type nat hook prerouting priority dstnat;", *arriving, "}",
            "chain leaving { type nat hook postrouting priority srcnat;", *leaving, "}",
            "}",
        ]
    )  # fmt: skip


def group(ingress: FilterRule) -> Any:
    wanted = objects.SecurityGroupFilter(NETNS, "all", (ingress,), (FilterRule(),))
    return lambda one: wanted if isinstance(one, objects.SecurityGroupFilter) else one


TRIED = [
    (VIP, 8080),
    ("10.0.0.3", 8080),
    (VIP, 8081),
    ("10.0.0.3", 80),
    ("10.0.0.4", 80),
    ("10.0.7.3", 80),
    ("10.0.7.4", 80),
]
FORWARD = PortForward(NETNS, VIP, 8080, "10.0.0.3", 80)
LOCAL: list[Object] = [
    Balancer(NETNS, "lb", VIP, 8080),
    Backend(NETNS, "lb", "10.0.0.3"),
    Backend(NETNS, "lb", "10.0.0.4"),
]


@pytest.mark.parametrize(
    ("node", "items", "ingress"),
    [
        (0, [FORWARD], FilterRule("tcp", ports=((80, 80),))),
        (0, [FORWARD], FilterRule("tcp", ports=((8080, 8080),))),
        (0, [NAT, FORWARD], FilterRule("tcp", "10.0.0.0/24")),
        (0, [NAT, FORWARD], FilterRule("tcp", "10.0.7.0/24")),
        (0, LOCAL, FilterRule()),
        (1, [FORWARD], FilterRule()),
    ],
    ids=["port as translated", "port as sent", "source as sent", "source as translated", "balanced", "gone round"],
)
def test_kernels_do_what_is_proven(
    node: int, items: list[Object], ingress: FilterRule, kernels: dict[str, Kernel]
) -> None:
    places = network(THREE, {node: items})
    places = edited(edited(places, "n0", group(ingress)), "n1", group(ingress))
    probes = {
        f"{to} {port}": Probe(f"{to} {port}", "port/t/p2", "tcp", "10.0.0.2", to, port, "allowed") for to, port in TRIED
    }
    prover = proven(places)
    said = {}
    for name, probe in probes.items():
        there, back = prover.trace(probe.netns, probe.protocol, probe.source, probe.destination, probe.port)
        said[name] = "allowed" if there.delivered and back is not None and back.delivered else "denied"
    nodes = {"a": places["n0", NETNS], "b": places["n1", NETNS]}
    for number, (name, parts) in enumerate(nodes.items()):
        kernel = kernels[name]
        wanted = [one for one in join(parts).values() if type(one) not in SCOPES]
        wanted += [objects.Namespace(one.workload) for one in wanted if isinstance(one, objects.PortDevice)]
        known = {objects.identity(one): one for one in wanted}
        assert {key: result for key, result in kernel.apply(known).items() if result.state != "done"} == {}
        if number == node:
            command = ["ip", "netns", "exec", kernel.namespace(NETNS), "nft", "-f", "-"]
            subprocess.run(command, input=ruleset(items), text=True, check=True, timeout=60)
    request = wire.RunProbes("r", tuple(probes), 2, 0, 700_000)
    sockets = Sockets(kernels["a"].namespace)
    try:
        results = asyncio.run(Prober(sockets, NoFigures()).run(request, probes))
    finally:
        sockets.close()
    assert {result.assertion: result.outcome for result in results} == said
    assert {"allowed", "denied"} == set(said.values())


def test_answers_that_went_round_are_what_the_last_case_is_about() -> None:
    prover = proven(network(THREE, {1: [FORWARD]}))
    _, back = prover.trace("port/t/p2", "tcp", "10.0.0.2", VIP, 8080)
    assert back is not None
    assert back.code == codes.ANSWER_NOT_TRANSLATED
    assert found(prover) == set(), "no assertion asks for it"
