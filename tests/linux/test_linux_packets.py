"""Programs in the kernel, tried with real packets between workloads on two nodes."""

from __future__ import annotations

import re
import subprocess
from typing import Any

import pytest

pytestmark = pytest.mark.root

ONE, TWO, THREE = "port/shop/1", "port/shop/2", "port/shop/3"


def tcp(nodes: Any, client: tuple[str, str], server: tuple[str, str], address: str, number: int) -> bool:
    """Whether a TCP connection comes about and a byte through it."""
    family = "AF_INET6" if ":" in address else "AF_INET"
    listen = f"""
import socket, sys
s = socket.socket(socket.{family}); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("", {number})); s.listen(); print("ready", flush=True); s.settimeout(5)
c, _ = s.accept(); c.send(b"x"); c.recv(1)
"""
    call = f"""
import socket
s = socket.socket(socket.{family}); s.settimeout(0.6)
try:
    s.connect(("{address}", {number})); print(s.recv(1) == b"x")
except OSError:
    print(False)
"""
    name = nodes.kernels[server[0]].namespace(server[1])
    listener = subprocess.Popen(["ip", "netns", "exec", name, "python3", "-c", listen], stdout=subprocess.PIPE)
    try:
        assert listener.stdout is not None
        assert listener.stdout.readline() == b"ready\n"
        return bool(nodes.inside(client[0], client[1], f"python3 -c '{call}'").strip() == "True")
    finally:
        listener.kill()
        listener.communicate()


def test_workloads_on_two_nodes_reach_each_other(nodes: Any) -> None:
    nodes.apply("a", nodes.pair("a"))
    nodes.apply("b", nodes.pair("b"))
    assert nodes.reaches("a", ONE, "10.0.0.2")
    assert nodes.reaches("a", ONE, "fd00::2")
    assert nodes.reaches("b", TWO, "10.0.0.254"), "the gateway answers"
    assert nodes.reaches("b", TWO, "fe80::1%eth0")
    assert nodes.kernels["a"].verify() == {}


WEB_AND_DB = """
security-group netns=vpc/shop name=web ingress=[{"protocol":"icmp"}] egress=[{}]
security-group netns=vpc/shop name=db egress=[] ingress=[\
{"protocol":"tcp","peer":"@web","ports":[[5000,5010],[5005,5020]]},{"protocol":"tcp","peer":"10.0.0.9/32","ports":[[80,80]]}]
address-set netns=vpc/shop name=web
address-set-element netns=vpc/shop set=web prefix=10.0.0.1/32
address-set-element netns=vpc/shop set=web prefix=fd00::1/128
"""


@pytest.mark.parametrize("where", ["one node", "two nodes"])
def test_security_groups(nodes: Any, where: str) -> None:
    common = WEB_AND_DB
    web, db = nodes.port(1, groups="web"), nodes.port(2, groups="db")
    if where == "one node":
        nodes.apply("a", nodes.router("a") + common + web + db)
        server = ("a", TWO)
    else:
        nodes.apply("a", nodes.router("a") + common + web + nodes.remote("b", 2))
        nodes.apply("b", nodes.router("b") + common + db + nodes.remote("a", 1))
        server = ("b", TWO)
    client = ("a", ONE)
    assert tcp(nodes, client, server, "10.0.0.2", 5000)
    assert tcp(nodes, client, server, "10.0.0.2", 5020)
    assert tcp(nodes, client, server, "fd00::2", 5001)
    assert not tcp(nodes, client, server, "10.0.0.2", 5021)
    assert not tcp(nodes, client, server, "10.0.0.2", 80), "only from 10.0.0.9"
    assert not nodes.reaches(*client, "10.0.0.2"), "the db lets no echo in"
    assert not nodes.reaches(*server, "10.0.0.1"), "the db has no egress"
    assert not nodes.reaches(*server, "fd00::1")


def test_a_set_changes_and_a_rule_changes(nodes: Any) -> None:
    base = nodes.router("a") + nodes.port(1) + nodes.port(2, groups="db") + nodes.opened()
    group = 'security-group netns=vpc/shop name=db ingress=[{"peer":"@friends"}] egress=[{}]\n'
    friends = "address-set netns=vpc/shop name=friends\n"
    member = "address-set-element netns=vpc/shop set=friends prefix="
    nodes.apply("a", base + group + friends)
    assert not nodes.reaches("a", ONE, "10.0.0.2")
    nodes.apply("a", base + group + friends + member + "10.0.0.1/32\n")
    assert nodes.reaches("a", ONE, "10.0.0.2")
    both = base + group + friends + member + "10.0.0.1/32\n" + member + "10.0.0.0/24\n"
    nodes.apply("a", both)
    assert nodes.reaches("a", ONE, "10.0.0.2")
    nodes.apply("a", base + group + friends + member + "10.0.0.0/24\n" + member + "10.0.0.128/25\n")
    assert nodes.reaches("a", ONE, "10.0.0.2")
    nodes.apply("a", base + group + friends + member + "10.0.0.128/25\n")
    assert not nodes.reaches("a", ONE, "10.0.0.2")
    any_peer = 'security-group netns=vpc/shop name=db ingress=[{"protocol":"icmp","icmp_type":8}] egress=[{}]\n'
    nodes.apply("a", base + any_peer)
    assert nodes.reaches("a", ONE, "10.0.0.2")
    assert not nodes.reaches("a", ONE, "fd00::2")


def test_a_port_sends_only_as_itself(nodes: Any) -> None:
    nodes.apply("a", nodes.pair("a"))
    nodes.apply("b", nodes.pair("b"))
    nodes.inside("a", ONE, "ip addr add 10.0.0.7/32 dev eth0")
    nodes.inside("a", ONE, "ip addr add fd00::7/128 dev eth0 nodad")
    assert nodes.inside("a", ONE, "ping -c1 -W0.3 -I 10.0.0.7 10.0.0.2", check=False).count("1 received") == 0
    assert nodes.inside("a", ONE, "ping -c1 -W0.3 -I fd00::7 fd00::2", check=False).count("1 received") == 0
    echoes = nodes.inside("b", TWO, "nstat -asz IcmpInEchos Icmp6InEchos").split()
    assert (echoes[echoes.index("IcmpInEchos") + 1], echoes[echoes.index("Icmp6InEchos") + 1]) == ("0", "0")
    nodes.inside("a", ONE, "ip link set eth0 address 02:00:00:00:99:99")
    assert not nodes.reaches("a", ONE, "10.0.0.2")
    assert nodes.kernels["a"].verify(), "its MAC is put back"
    assert nodes.reaches("a", ONE, "10.0.0.2")


def test_two_vpcs_with_the_same_addresses(nodes: Any) -> None:
    both = [nodes.pair(node) + nodes.pair(node).replace("shop", "bank").replace("vni=100", "vni=200") for node in "ab"]
    nodes.apply("a", both[0])
    nodes.apply("b", both[1])
    assert nodes.reaches("a", ONE, "10.0.0.2")
    assert nodes.reaches("a", "port/bank/1", "10.0.0.2")
    nodes.apply("b", nodes.pair("b"))
    assert nodes.reaches("a", ONE, "10.0.0.2")
    assert not nodes.reaches("a", "port/bank/1", "10.0.0.2")


def test_route_tables(nodes: Any) -> None:
    """Port 1 has a table of its own: one destination goes nowhere, another by port 2 on the other node."""
    selected = """
route-selection netns=vpc/shop device=p1 table=77
route netns=vpc/shop table=77 destination=10.0.0.3/32 action=blackhole
route netns=vpc/shop table=77 destination=172.16.0.0/12 via=192.0.2.102 device=vx
route netns=vpc/shop table=77 destination=fd99::/16 via=fe80::102 device=vx
neighbour netns=vpc/shop device=vx address=192.0.2.102 mac=02:00:00:00:01:02
neighbour netns=vpc/shop device=vx address=fe80::102 mac=02:00:00:00:01:02
fdb netns=vpc/shop device=vx mac=02:00:00:00:01:02 remote=192.0.2.2
"""
    delivered = "delivery netns=vpc/shop device=vx mac=02:00:00:00:01:02 port=p2\n"
    wide = '"10.0.0.2/32","fd00::2/128","172.16.0.0/12","fd99::/16"'
    second = nodes.opened() + nodes.port(2, sources=wide) + nodes.remote("a", 1) + delivered
    nodes.apply("a", nodes.pair("a", more_a=selected + nodes.port(3) + nodes.port(4)))
    nodes.apply("b", nodes.router("b") + second)
    nodes.inside("b", TWO, "ip addr add 172.16.5.5/32 dev lo")
    nodes.inside("b", TWO, "ip addr add fd99::5/128 dev lo nodad")
    assert not nodes.reaches("a", ONE, "10.0.0.3"), "blackhole"
    assert nodes.reaches("a", "port/shop/4", "10.0.0.3"), "others use main"
    assert nodes.reaches("a", ONE, "10.0.0.2"), "main comes second"
    assert nodes.reaches("a", ONE, "172.16.5.5"), "by a port on the other node"
    assert nodes.reaches("a", ONE, "fd99::5")
    assert not nodes.reaches("a", "port/shop/4", "172.16.5.5")
    assert nodes.kernels["b"].verify() == {}


@pytest.mark.parametrize("direction", ["in", "out"])
def test_rates(nodes: Any, direction: str) -> None:
    limit = f" rate_{direction}_bps=50000000"
    nodes.apply("a", nodes.router("a") + nodes.opened() + nodes.port(1, more=limit) + nodes.port(2))
    receiver, sender = (ONE, TWO) if direction == "in" else (TWO, ONE)
    address = "10.0.0.1" if direction == "in" else "10.0.0.2"
    name = nodes.kernels["a"].namespace(receiver)
    server = subprocess.Popen(
        ["ip", "netns", "exec", name, "iperf3", "-s", "-1", "--forceflush"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        while "listening" not in server.stdout.readline():
            pass
        said = nodes.inside("a", sender, f"iperf3 -c {address} -t 3 -O 1 -f m")
    finally:
        server.kill()
        server.communicate()
    rates = [float(rate) for rate in re.findall(r"([0-9.]+) Mbits/sec.*receiver", said)]
    assert 40 <= rates[0] <= 52
    assert nodes.kernels["a"].verify() == {}
    nodes.apply("a", nodes.router("a") + nodes.opened() + nodes.port(1) + nodes.port(2))
    assert "tbf" not in nodes.inside("a", "vpc/shop", "tc qdisc show")
