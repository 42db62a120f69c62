"""The data plane's numbers: a full host from nothing, one more port, and overlay throughput against a hand-built one.

    sudo make bench BENCH=bench/dataplane.py

Everything runs in a lab of this machine (two spines, two leaves, four hosts, real routing daemons, real agents); the
hand-built path uses the same underlay, in the same run, its measurements in turn with ours.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import worlds
from control import row

from suanwang.cli.client import Client
from suanwang.cli.lab import client_of, start
from suanwang.lab.lab import Lab
from suanwang.model.reading import read_path
from suanwang.model.registry import load
from suanwang.model.resource import read_documents

EXAMPLE = Path(__file__).parents[1] / "examples" / "leaf-spine"
NAME = "bench"
TENANT = "t"
MTU_BYTES = 8950


@contextmanager
def lab() -> Iterator[tuple[Lab, Client]]:
    """The lab of a run, taken away at its end."""
    resources = read_documents(read_path(str(EXAMPLE)), load())
    found = start(NAME, resources, tell=lambda text: None)
    try:
        client = client_of(found)
        yield found, client
        client.close()
    finally:
        found.down()


def apply(client: Client, documents: list[worlds.Document], delete: list[dict[str, str]] | None = None) -> float:
    """Plan and apply; returns when the commit was answered, and waits until the nodes have carried it out."""
    body = {"documents": documents, "delete": delete or [], "prune": False, "set": "bench"}
    plan = client.post("/v1/plan", body, timeout_s=600)
    begun = time.perf_counter()
    applied = client.post("/v1/apply", {"plan": plan, "message": "bench"}, timeout_s=600)
    state = client.get("/v1/wait", {"revision": applied["revision"], "timeout": "120"}, timeout_s=150)
    if state["waiting"] or state["failed"]:
        raise SystemExit(f"not carried out: {json.dumps(state)[:2000]}")
    return time.perf_counter() - begun


def documents(vpcs: int, ports: int) -> Iterator[worlds.Document]:
    """`vpcs` VPCs with `ports` ports on host-1 and one on host-3 each."""
    yield worlds.resource("Tenant", TENANT, {})
    for number in range(vpcs):
        vpc = f"v{number}"
        yield worlds.resource("Vpc", vpc, {"cidrs": ["10.0.0.0/16"]}, TENANT)
        yield worlds.resource("Subnet", vpc, {"vpc": vpc, "cidr": "10.0.0.0/20"}, TENANT)
        rules: list[dict[str, Any]] = [
            {"direction": "ingress", "protocol": "icmp"},
            {"direction": "ingress", "protocol": "tcp", "ports": [5201], "cidr": "10.0.0.0/16"},
            {"direction": "ingress", "securityGroup": vpc},
        ]
        yield worlds.resource("SecurityGroup", vpc, {"vpc": vpc, "rules": rules}, TENANT)
        for index in range(ports):
            yield port(number, index, "host-1")
        yield port(number, ports, "host-3")


def port(vpc: int, index: int, node: str) -> worlds.Document:
    """A port of a VPC."""
    spec = {
        "subnet": f"v{vpc}",
        "node": node,
        "securityGroups": [f"v{vpc}"],
        "addresses": [f"10.0.{index // 200}.{index % 200 + 2}"],
    }
    return worlds.resource("Port", f"p{vpc}-{index}", spec, TENANT)


def full_host(found: Lab, client: Client, vpcs: int, ports: int) -> None:
    """A host's agent from nothing to all its ports."""
    took_s = apply(client, list(documents(vpcs, ports)))
    node = next(node for node in client.get("/v1/nodes")["nodes"] if node["name"] == "host-1")
    row(f"  commit to {vpcs * ports} ports in {vpcs} VPCs on one host, all programmed", "<= 5 s", f"{took_s:.2f} s")
    row("  objects in that host's program", "", str(node["done"]))
    row("  by hand, veths and VXLAN devices alone", "", f"{by_hand(found, vpcs, ports):.2f} s")


def by_hand(found: Lab, vpcs: int, ports: int) -> float:
    """The kernel's own share: the same namespaces, tunnels and veths, by `ip -batch`, nothing else."""
    host = found.underlay.namespace("host-2")
    names = [f"{host}.hand{number}" for number in range(vpcs)]
    begun = time.perf_counter()
    for number, name in enumerate(names):
        subprocess.run(["ip", "netns", "add", name], check=True)
        lines = [f"link add vx{number} type vxlan id {number + 900_000} dstport 4789 nolearning"]
        lines += [f"link add a{index} type veth peer name b{index}" for index in range(ports)]
        lines += [f"link set a{index} up" for index in range(ports)]
        subprocess.run(["ip", "-n", name, "-batch", "-"], input="\n".join(lines), text=True, check=True)
    took_s = time.perf_counter() - begun
    for name in names:
        subprocess.run(["ip", "netns", "del", name], check=True)
    return took_s


def one_more_port(found: Lab, client: Client, ports: int, rounds: int) -> None:
    """From the commit of one more port on the full host to the first answer to a ping from another host."""
    times: list[float] = []
    for number in range(rounds):
        vpc = number % 100
        document = port(vpc, ports + 1 + number, "host-1")
        address = document["spec"]["addresses"][0]
        plan = client.post("/v1/plan", {"documents": [document], "delete": [], "prune": False, "set": "bench"})
        line = found.command_line(
            f"port/{TENANT}/p{vpc}-{ports}", ["ping", "-n", "-D", "-i", "0.002", "-W", "1", address]
        )
        with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as ping:
            begun = time.time()
            client.post("/v1/apply", {"plan": plan, "message": "bench"})
            assert ping.stdout is not None
            answered = next(float(text[1 : text.index("]")]) for text in ping.stdout if "ttl=" in text)
            ping.kill()
        times.append((answered - begun) * 1e3)
    row(
        "  one more port: sent to the controller until the first ping is answered, p50",
        "<= 100 ms",
        f"{statistics.median(times):.0f} ms",
    )
    row("  the same, greatest", "", f"{max(times):.0f} ms")


def throughput(found: Lab, seconds: int, rounds: int) -> None:
    """TCP, one stream, between hosts 1 and 3: ours and a hand-built VXLAN overlay, in turn."""
    hand = HandBuilt(found)
    ours = [f"port/{TENANT}/p0-0", f"port/{TENANT}/p0-10"]
    commands = {
        "ours": (found.command_line(ours[0], []), found.command_line(ours[1], []), "10.0.0.2"),
        "hand": (hand.enter(0), hand.enter(1), "10.99.0.1"),
    }
    figures: dict[str, list[float]] = {"ours": [], "hand": []}
    for _ in range(rounds):
        for name, (server, client, address) in commands.items():
            figures[name].append(iperf(server, client, address, seconds))
    ratios = [a / b for a, b in zip(figures["ours"], figures["hand"], strict=True)]
    row("  overlay TCP throughput, ours, median", "", f"{statistics.median(figures['ours']):.2f} Gbit/s")
    row(
        "  the same path built by hand (bridge, veth, VXLAN), median",
        "",
        f"{statistics.median(figures['hand']):.2f} Gbit/s",
    )
    row("  ours / by hand, median of pairs", ">= 0.9", f"{statistics.median(ratios):.2f}")


def iperf(server: list[str], client: list[str], address: str, seconds: int) -> float:
    """Gbit/s of one TCP stream."""
    with subprocess.Popen(
        [*server, "iperf3", "-s", "-1", "--forceflush"], stdout=subprocess.PIPE, text=True
    ) as listening:
        assert listening.stdout is not None
        next(line for line in listening.stdout if "listening" in line)
        command = [*client, "iperf3", "-c", address, "-t", str(seconds), "-J"]
        result = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        listening.wait(10)
    return float(result["end"]["sum_received"]["bits_per_second"]) / 1e9


class HandBuilt:
    """What a good engineer types: a bridge on each host, a veth to the workload, a VXLAN device with a static entry."""

    def __init__(self, found: Lab) -> None:
        self.found = found
        hosts = ("host-1", "host-3")
        loopbacks = [self._loopback(host) for host in hosts]
        for number, host in enumerate(hosts):
            name = found.underlay.namespace(host)
            workload = self.workload(number)
            self._ip("netns", "add", workload)
            self._ip("-n", name, "link", "add", "brhand", "mtu", str(MTU_BYTES), "type", "bridge")
            tunnel = ["id", "990000", "dstport", "4789", "local", loopbacks[number], "remote", loopbacks[1 - number]]
            self._ip("-n", name, "link", "add", "vxhand", "mtu", str(MTU_BYTES), "type", "vxlan", *tunnel)
            self._ip(
                "-n",
                name,
                "link",
                "add",
                "vhand",
                "mtu",
                str(MTU_BYTES),
                "type",
                "veth",
                "peer",
                "name",
                "eth0",
                "mtu",
                str(MTU_BYTES),
                "netns",
                workload,
            )
            for device in ("vxhand", "vhand"):
                self._ip("-n", name, "link", "set", device, "master", "brhand", "up")
            self._ip("-n", name, "link", "set", "brhand", "up")
            self._ip("-n", workload, "addr", "add", f"10.99.0.{number + 1}/24", "dev", "eth0")
            self._ip("-n", workload, "link", "set", "eth0", "up")

    def workload(self, number: int) -> str:
        """The namespace of a hand-built workload."""
        return f"{self.found.underlay.namespace('host-1' if number == 0 else 'host-3')}.handwork"

    def enter(self, number: int) -> list[str]:
        """How to run a command there."""
        return ["ip", "netns", "exec", self.workload(number)]

    def _loopback(self, host: str) -> str:
        nodes: Any = self.found.underlay.status()["nodes"]
        return str(next(node["loopbacks"][0] for node in nodes if node["name"] == host).partition("/")[0])

    @staticmethod
    def _ip(*words: str) -> None:
        subprocess.run(["ip", *words], check=True)


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=4, help="of each throughput measurement")
    parser.add_argument("--rounds", type=int, default=4, help="pairs of throughput measurements")
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        print("skipped: needs root, to make network namespaces")
        return 0
    row("what", "asked", "measured")
    with lab() as (found, client):
        full_host(found, client, 100, 10)
        one_more_port(found, client, 10, 30)
        throughput(found, arguments.seconds, arguments.rounds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
