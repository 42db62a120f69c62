"""Adopting, repairing, pruning: wherever a kernel starts from, it ends at the same state."""

from __future__ import annotations

import errno
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from suanwang.linux import watch

pytestmark = pytest.mark.root

ONE, THREE, ROUTER = "port/shop/1", "port/shop/3", "vpc/shop"
RATES = " rate_in_bps=80000000 rate_out_bps=40000000"
MORE = """
route-selection netns=vpc/shop device=p1 table=77
route netns=vpc/shop table=77 destination=10.0.0.66/32 action=blackhole
route netns=vpc/shop table=77 destination=fd00::66/128 action=blackhole
route netns=vpc/shop table=77 destination=10.0.0.67/32 action=throw
delivery netns=vpc/shop device=vx mac=02:00:00:00:01:03 port=p3
address-set netns=vpc/shop name=friends
address-set-element netns=vpc/shop set=friends prefix=10.0.0.0/25
security-group netns=vpc/shop name=closed ingress=[{"peer":"@friends","protocol":"tcp","ports":[[1,2]]}]
"""
BYSTANDER = """
namespace netns=vpc/bystander forwarding=true filtered=true
"""


def rich(nodes: Any) -> str:
    """A program for node a with an object of every kind."""
    third = nodes.port(3, groups="open,closed", more=RATES)
    return str(nodes.pair("a", more_a=MORE + third))


COMMANDS = (
    "ip -d -o link",
    "ip -d -o addr",
    "ip -d -4 route show table all",
    "ip -d -6 route show table all",
    "ip -d -4 rule",
    "ip -d -6 rule",
    "ip -o neigh show nud permanent",
    "bridge fdb",
    "tc qdisc",
    "tc filter show dev p3 ingress",
    "cat /proc/sys/net/ipv4/ip_forward",
)
# Numbers of interfaces, counters, carrier (told late), random MACs and multicast entries are nobody's wish.
UNWANTED = re.compile(
    r"(?m)^\d+: |@if\d+|link-netnsid \d+|if\d+|index \d+|expires \S+|refcnt? \d+|bind \d+|pref \S+"
    r"|,?(NO-CARRIER|LOWER_UP)|state \S+"
)
RANDOM = re.compile(r"ifb-.*link/ether|33:33|01:00:5e|ff00::|fe80::/64")


def dump(nodes: Any, *logical: str) -> str:
    """All that the kernel says of the namespaces of node a, without what counts or is random."""
    found = []
    for name in logical or (ROUTER, ONE, THREE):
        real = nodes.kernels["a"].namespace(name)
        if not Path("/run/netns", real).exists():
            found.append(f"== {name} absent")
            continue
        lines: list[str] = []
        for command in COMMANDS:
            said = UNWANTED.sub("", nodes.inside("a", name, command, check=False))
            lines += sorted(line for line in said.splitlines() if not RANDOM.search(line))
        rules = nodes.inside("a", name, "nft -s list ruleset")
        rules = re.sub(r"(elements = \{)([^}]*)\}", _sorted_elements, rules)
        lines += sorted(re.split(r"\n(?=\t\S|table|\})", rules))
        found.append(f"== {name}\n" + "\n".join(line for line in lines if line.strip()))
    return "\n".join(found)


def _sorted_elements(match: re.Match[str]) -> str:
    return match[1] + ", ".join(sorted(part.strip() for part in match[2].split(",")))


def test_a_new_kernel_takes_over_without_a_lost_packet(nodes: Any) -> None:
    nodes.apply("a", rich(nodes))
    nodes.apply("b", nodes.pair("b"))
    before = dump(nodes)
    name = nodes.kernels["a"].namespace(ONE)
    flood = subprocess.Popen(
        ["ip", "netns", "exec", name, "ping", "-q", "-i", "0.002", "-W", "1", "10.0.0.2"],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        for _ in range(10):
            successor = nodes.kernel("a")
            results = successor.apply(nodes.objects(rich(nodes)))
            assert {result.state for result in results.values()} == {"done"}
            assert successor.verify(everything=True) == {}
            successor.apply(nodes.objects(rich(nodes) + nodes.port(4)))
            successor.apply(nodes.objects(rich(nodes)))
            successor.close()
    finally:
        flood.send_signal(signal.SIGINT)
        said, _ = flood.communicate()
    sent, received = re.findall(r"(\d+) packets transmitted, (\d+) received", said)[0]
    # The last one may still be on its way when the flood is stopped.
    assert int(sent) > 50
    assert int(sent) - int(received) <= 1, said
    assert dump(nodes) == before


DRIFTS = {
    "route deleted": "netns exec {router} ip route del 10.0.0.2/32",
    "route of another table deleted": "netns exec {router} ip -6 route del blackhole fd00::66/128 table 77",
    "route added": "netns exec {router} ip route add 10.9.9.0/24 dev vx",
    "route changed": "netns exec {router} ip route replace 10.0.0.1/32 dev vx",
    "rule deleted": "netns exec {router} ip rule del fwmark 77",
    "table flushed": "netns exec {router} nft flush ruleset",
    "chain flushed": "netns exec {router} nft flush chain inet suanwang to_port",
    "device of a port deleted": "netns exec {router} ip link del p1",
    "tunnel deleted": "netns exec {router} ip link del vx",
    "device down": "netns exec {router} ip link set p1 down",
    "mtu changed": "netns exec {router} ip link set vx mtu 1300",
    "gateway address removed": "netns exec {router} ip addr del 10.0.0.254/32 dev p1",
    "foreign device": "netns exec {router} ip link add strange type bridge",
    "neighbour deleted": "netns exec {router} ip neigh del 192.0.2.2 dev vx",
    "forwarding entry deleted": "netns exec {router} bridge fdb del 02:00:00:00:00:0b dev vx",
    "limit removed": "netns exec {router} tc qdisc del dev p3 root",
    "redirection removed": "netns exec {router} tc qdisc del dev p3 ingress",
    "forwarding off": "netns exec {router} sysctl -qw net.ipv4.ip_forward=0",
    "workload's device deleted": "netns exec {one} ip link del eth0",
    "workload's device down": "netns exec {one} ip link set eth0 down",
    "workload's address removed": "netns exec {one} ip addr del 10.0.0.1/24 dev eth0",
    "workload's default route deleted": "netns exec {one} ip -6 route del default",
    "workload deleted": "netns del {one}",
    "router deleted": "netns del {router}",
}


def test_what_others_change_is_put_right(nodes: Any) -> None:
    nodes.apply("a", rich(nodes))
    nodes.apply("b", nodes.pair("b"))
    kernel = nodes.kernels["a"]
    before = dump(nodes)
    for what, command in DRIFTS.items():
        real = {"router": kernel.namespace(ROUTER), "one": kernel.namespace(ONE)}
        subprocess.run(["ip", *command.format(**real).split()], check=True)
        repaired = kernel.verify(everything=True)
        assert repaired, what
        assert {result.state for result in repaired.values()} == {"done"}, (what, repaired)
        assert dump(nodes) == before, what
        assert kernel.verify(everything=True) == {}, what
        assert nodes.reaches("a", ONE, "10.0.0.2"), what


class Repairer:
    """Verifies whenever it is told to, as the agent does; keeps what was repaired, and which namespaces were read."""

    def __init__(self, kernel: Any) -> None:
        self.kernel = kernel
        self.told = threading.Event()
        self.repaired: list[Any] = []
        self.looked: set[str] = set()
        self.ends = False
        noted = kernel._watch.looked
        kernel._watch.looked = lambda names: (self.looked.update(names), noted(names))
        kernel.listen(self.told.set)
        self.thread = threading.Thread(target=self._work)
        self.thread.start()

    def _work(self) -> None:
        while self.told.wait() and not self.ends:
            self.told.clear()
            self.repaired += self.kernel.verify().values()

    def close(self) -> None:
        self.ends = True
        self.told.set()
        self.thread.join()


def test_what_others_change_is_told_and_put_right_at_once(nodes: Any) -> None:
    """By events alone: nobody asks in between, and only the namespaces concerned are read."""
    nodes.apply("a", rich(nodes) + BYSTANDER)
    nodes.apply("b", nodes.pair("b"))
    kernel = nodes.kernels["a"]
    before = dump(nodes)
    repairer = Repairer(kernel)
    try:
        for what, command in DRIFTS.items():
            real = {"router": kernel.namespace(ROUTER), "one": kernel.namespace(ONE)}
            repairer.repaired.clear()
            begun = time.monotonic()
            subprocess.run(["ip", *command.format(**real).split()], check=True)
            while not repairer.repaired:
                assert time.monotonic() - begun < 1, what
            now = dump(nodes)
            while now != before and time.monotonic() - begun < 5:
                now = dump(nodes)
            assert now == before, what
            assert {result.state for result in repairer.repaired} == {"done"}, (what, repairer.repaired)
            assert nodes.reaches("a", ONE, "10.0.0.2"), what
        assert "vpc/bystander" not in repairer.looked
    finally:
        repairer.close()
    assert kernel.verify(everything=True) == {}


def test_own_changes_and_noise_make_nobody_look(nodes: Any) -> None:
    kernel = nodes.kernels["a"]
    told = threading.Event()
    kernel.listen(told.set)
    nodes.apply("b", nodes.pair("b"))
    for _ in range(3):
        nodes.apply("a", rich(nodes))
        nodes.apply("a", nodes.pair("a"))
        assert nodes.reaches("a", ONE, "10.0.0.2")
    # A workload's own addresses, routes, devices and rules are its own; neighbours are learned, devices lose carrier.
    for command in (
        "ip addr add 10.0.0.77/32 dev eth0",
        "ip route add 10.77.0.0/16 dev eth0",
        "ip link add own type bridge",
        "ip link set own up",
        "nft add table inet own",
        "ip neigh add 10.0.0.99 dev eth0 lladdr 02:00:00:00:09:09 nud reachable",
        "sysctl -qw net.ipv4.ip_forward=1",
        "ip link del own",
    ):
        nodes.inside("a", ONE, command)
    nodes.inside("a", ROUTER, "ip neigh add 10.0.0.99 dev p1 lladdr 02:00:00:00:09:09 nud stale")
    assert kernel._watch.due() == set()
    assert not told.is_set()
    nodes.inside("a", ROUTER, "ip route del 10.0.0.2/32")
    assert told.wait(1)
    assert kernel.verify()


def test_a_name_that_stands_for_nothing_any_more(nodes: Any) -> None:
    """Unmounting tells nobody; the names are looked through now and then."""
    nodes.apply("a", nodes.pair("a"))
    nodes.apply("b", nodes.pair("b"))
    kernel = nodes.kernels["a"]
    before = dump(nodes)
    subprocess.run(["umount", f"/run/netns/{kernel.namespace(ROUTER)}"], check=True)
    ends = time.monotonic() + 3
    while not kernel.verify():
        assert time.monotonic() < ends
    assert dump(nodes) == before
    assert nodes.reaches("a", ONE, "10.0.0.2")


def test_without_events_all_is_looked_at(nodes: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused() -> None:
        raise OSError(errno.EPERM, "no events here")

    monkeypatch.setattr(watch, "Listener", refused)
    kernel = nodes.kernels["a"]
    nodes.apply("a", nodes.pair("a"))
    before = dump(nodes)
    subprocess.run(["ip", "-n", kernel.namespace(ROUTER), "route", "del", "10.0.0.2/32"], check=True)
    assert kernel.verify()
    assert dump(nodes) == before


def test_in_any_order_and_back_to_nothing(nodes: Any) -> None:
    """The same objects, by way of random subsets and in reverse, end in the same state; none leave nothing."""
    everything = nodes.objects(rich(nodes))
    kernel = nodes.kernels["a"]
    kernel.apply(everything)
    before = dump(nodes)
    chooser = random.Random(7)
    for _ in range(6):
        some = {key: item for key, item in everything.items() if chooser.random() < 0.7}
        kernel.apply(some)
        kernel.apply(dict(reversed(everything.items())))
        assert dump(nodes) == before
        assert kernel.verify(everything=True) == {}
    assert kernel.apply({}) == {}
    assert dump(nodes) == "\n".join(f"== {name} absent" for name in (ROUTER, ONE, THREE))


def test_changes_to_every_kind_of_object(nodes: Any) -> None:
    kernel = nodes.kernels["a"]
    text = rich(nodes)
    altered = (
        text.replace("10.0.0.1/24", "10.0.0.11/24")
        .replace("10.0.0.1/32", "10.0.0.11/32")
        .replace("mtu_bytes=1500", "mtu_bytes=1400")
        .replace("vni=100", "vni=101")
        .replace("table=77", "table=300")
        .replace("rate_in_bps=80000000", "rate_in_bps=8000000")
        .replace("02:00:00:00:01:03", "02:00:00:00:01:33")
        .replace("title=shop/1", "title=shop/one")
        .replace("[1,2]", "[1,3]")
        .replace("friends prefix=10.0.0.0/25", "friends prefix=10.0.0.0/26")
    )
    for _ in range(2):
        kernel.apply({})
        nodes.apply("a", text)
        before = dump(nodes)
        nodes.apply("a", altered)
        after = dump(nodes)
        kernel.apply({})
        nodes.apply("a", altered)
        assert dump(nodes) == after != before
        nodes.apply("a", text)
        assert dump(nodes) == before


def test_bad_objects_fail_alone(nodes: Any) -> None:
    bad = """
route netns=vpc/shop destination=10.1.0.0/16 device=nowhere
route netns=vpc/lost destination=10.1.0.0/16 device=vx
vxlan netns=vpc/shop device=vx2 vni=300 local=192.0.2.1 mac=02:00:00:00:00:0c mtu_bytes=99999
vxlan netns=vpc/shop device=vx3 vni=100 local=192.0.2.1 mac=02:00:00:00:00:0c mtu_bytes=1500
neighbour netns=vpc/shop device=vx address=10.0.0.300 mac=02:00:00:00:00:0c
security-group netns=vpc/shop name=odd ingress=[{"protocol":"carrier-pigeon"}]
port-filter netns=vpc/shop device=far*too;long mac=02:00:00:00:00:0c sources=[] groups=[]
address-set-element netns=vpc/shop set=absent prefix=10.0.0.0/8
"""
    good = nodes.objects(nodes.pair("a"))
    wrong = nodes.objects(bad.replace("device=far*too;long", 'device="far*too;long"'))
    nodes.apply("b", nodes.pair("b"))
    results = nodes.kernels["a"].apply(good | wrong)
    assert {key for key, result in results.items() if result.state == "failed"} == set(wrong)
    assert all(results[key].message and results[key].reason for key in wrong)
    assert "mtu" in results[("vxlan", "vpc/shop", "vx2")].message.lower()
    assert nodes.reaches("a", ONE, "10.0.0.2")
    assert {result.state for result in nodes.kernels["a"].apply(good).values()} == {"done"}


def test_a_number_that_is_taken_holds_nobody_up(nodes: Any) -> None:
    """A tunnel of somebody else has the number: told at once, and the others stand; free again, it is had."""
    kernel = nodes.kernels["a"]
    real = f"{nodes.prefix}a"
    nodes.apply("a", nodes.pair("a"))
    taken = "link add theirs type vxlan id 900 local 192.0.2.1 dstport 4789"
    subprocess.run(["ip", "-n", real, *taken.split()], check=True)
    ends = time.monotonic() + 10
    while time.monotonic() < kernel._patient_until_s:
        assert time.monotonic() < ends
    both = nodes.pair("a") + nodes.router("a", "bank", 900) + nodes.opened("bank") + nodes.port(7, "bank")
    for _ in range(2):
        begun = time.monotonic()
        results = kernel.apply(nodes.objects(both))
        assert time.monotonic() - begun < 1
        failed = {key for key, result in results.items() if result.state != "done"}
        assert ("vxlan", "vpc/bank", "vx") in failed
        assert {key[1] for key in failed} == {"vpc/bank"}
    subprocess.run(["ip", "-n", real, "link", "del", "theirs"], check=True)
    assert {result.state for result in kernel.apply(nodes.objects(both)).values()} == {"done"}


def test_a_vpc_that_moves_to_another_namespace_waits_for_its_number(nodes: Any) -> None:
    """The old one is torn down in the background and holds the number until then."""
    for name in ("shop", "bank", "shop", "bank"):
        nodes.apply("a", nodes.pair("a").replace("shop", name))


KILLED = """
import sys
from suanwang.linux.kernel import Kernel
from suanwang.program.objects import identity
from suanwang.program.text import parse
underlay, prefix = sys.argv[1:]
kernel = Kernel(underlay=underlay, prefix=prefix)
objects = {identity(item): item for item in parse(sys.stdin.read())}
print("go", flush=True)
kernel.apply(objects)
print("done", flush=True)
"""


def test_killed_in_the_middle(nodes: Any) -> None:
    """However far a killed predecessor came, the successor ends where a clean apply ends."""
    text = rich(nodes)
    nodes.apply("a", text)
    before = dump(nodes)
    chooser = random.Random(11)
    arguments = [nodes.prefix + "a", f"{nodes.prefix}a."]
    for turn in range(10):
        nodes.kernel("a").clean_up()
        child = subprocess.Popen(
            [sys.executable, "-c", KILLED, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        )
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(text)
        child.stdin.close()
        assert child.stdout.readline() == "go\n"
        deadline = time.monotonic() + chooser.uniform(0.001, 0.09)
        while time.monotonic() < deadline:
            pass
        child.kill()
        child.wait()
        child.stdout.close()
        successor = nodes.kernel("a")
        results = successor.apply(nodes.objects(text))
        assert {key: result for key, result in results.items() if result.state != "done"} == {}, turn
        assert dump(nodes) == before, turn
        successor.close()


def test_half_a_namespace_is_taken_for_none(nodes: Any) -> None:
    """A crash between making the file and mounting on it leaves a bare file."""
    kernel = nodes.kernels["a"]
    for name in (ROUTER, "vpc/stray"):
        Path("/run/netns", kernel.namespace(name)).touch()
    nodes.apply("a", nodes.pair("a"))
    nodes.apply("b", nodes.pair("b"))
    assert nodes.reaches("a", ONE, "10.0.0.2")
    assert not Path("/run/netns", kernel.namespace("vpc/stray")).exists()


def test_names_of_namespaces(nodes: Any) -> None:
    kernel = nodes.kernels["a"]
    logical = ["vpc/retail/shop", "vpc/retail.shop", "vpc.retail/shop", "vpc/Retail/shop", "a" * 300, "a" * 301, "../x"]
    real = [kernel.namespace(name) for name in logical]
    assert len(set(real)) == len(real)
    assert real[0] == f"{nodes.prefix}a.vpc.retail.shop"
    assert all("/" not in name and len(name) < 200 for name in real)


def test_the_node_s_own_namespace_is_shared(nodes: Any) -> None:
    """There only what is ours is changed and removed, also after a crash."""
    kernel = nodes.kernels["a"]
    real = f"{nodes.prefix}a"
    subprocess.run(["ip", "-n", real, "route", "add", "198.51.100.0/24", "dev", "u"], check=True)

    def routes() -> str:
        return subprocess.run(["ip", "-n", real, "route"], capture_output=True, text=True, check=True).stdout

    before = routes()
    nodes.apply("a", 'route netns="" destination=203.0.113.0/24 via=192.0.2.2 device=u\n')
    assert "203.0.113.0/24 via 192.0.2.2 dev u proto 83" in routes()
    subprocess.run(["ip", "-n", real, "route", "del", "203.0.113.0/24"], check=True)
    assert kernel.verify(everything=True)
    assert "203.0.113.0/24" in routes()
    successor = nodes.kernel("a")
    successor.apply({})
    successor.close()
    assert routes() == before


def test_devices_left_in_the_node_s_own_namespace_go(nodes: Any) -> None:
    """After a crash nobody remembers having made them; their group tells."""
    real = f"{nodes.prefix}a"

    def devices() -> str:
        return subprocess.run(["ip", "-n", real, "-br", "link"], capture_output=True, text=True, check=True).stdout

    subprocess.run(["ip", "-n", real, "link", "add", "theirs", "type", "bridge"], check=True)
    before = devices()
    device = 'vxlan netns="" device=ours vni=77 local=192.0.2.1 mac=02:00:00:00:00:0c mtu_bytes=1400\n'
    nodes.apply("a", device)
    assert "ours" in devices()
    successor = nodes.kernel("a")
    successor.apply({})
    successor.close()
    assert devices() == before
