"""Small random networks for proofs: mostly right, with faults of every kind sprinkled over them."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest

from suanwang.program import objects
from suanwang.program.fragment import Fragment, fragment
from suanwang.program.objects import AnyObject, FilterRule

Places = dict[tuple[str, str], tuple[Fragment, ...]]

PREFIXES = ["10.0.0.0/24", "10.0.0.0/29", "10.0.0.4/30", "0.0.0.0/0", "10.0.0.3/32", "10.0.0.200/32"]
PREFIXES += ["fd00::/64", "fd00::4/126", "::/0", "fd00::2/128"]
RULES = [
    FilterRule(),
    FilterRule("tcp", "any", ((80, 80), (443, 443))),
    FilterRule("tcp", "10.0.0.0/29", ((1, 1000),)),
    FilterRule("udp", "@friends", ((53, 53),)),
    FilterRule("any", "@friends"),
    FilterRule("icmp", "10.0.0.0/24"),
    FilterRule("icmp", "any", (), 8, 0),
    FilterRule("icmp", "any", (), 3),
    FilterRule("icmpv6", "fd00::/64"),
    FilterRule("any", "fd00::4/126"),
    FilterRule("any", "0.0.0.0/0"),
    FilterRule("47", "any"),
    FilterRule("6", "@nobody"),
]
TABLE = 7


def endpoint(node: int) -> str:
    return f"192.0.2.{node + 1}"


def next_hop(node: int) -> str:
    return f"fe80::{node + 1}"


def mac(node: int) -> str:
    return f"02:00:00:00:00:{node + 1:02x}"


@dataclass
class Net:
    """One VPC-like network: name, identifier, and ports by node."""

    netns: str
    vni: int
    ports: dict[int, list[objects.PortDevice]] = field(default_factory=dict)


class Maker:
    """Makes a network's fragments from a random generator; the more `fault`, the more is wrong."""

    def __init__(self, seed: int, fault: float = 0.05) -> None:
        self.random = random.Random(seed)
        self.fault = fault
        self.nodes = self.random.randint(2, 4)
        self.nets: list[Net] = []
        number = 0
        for index in range(self.random.randint(1, 3)):
            net = Net(f"vpc/t{index}/v", 100 if self.wrong(4) else 100 + index)
            for node in range(self.nodes):
                net.ports[node] = []
                for _ in range(self.random.choice([0, 1, 1, 2])):
                    number += 1
                    net.ports[node].append(self.port(net, index, number))
            self.nets.append(net)

    def wrong(self, times: float = 1) -> bool:
        return self.random.random() < self.fault * times

    def port(self, net: Net, tenant: int, number: int) -> objects.PortDevice:
        owner = tenant + 1 if self.wrong() else tenant
        taken = {a for ports in net.ports.values() for port in ports for a in port.addresses}
        free = [n for n in range(2, 8) if f"10.0.0.{n}/24" not in taken] or [9]
        last = self.random.choice(free)
        addresses = [f"10.0.0.{last}/24"] * (self.random.random() < 0.9) + [f"fd00::{last}/64"] * (number % 2)
        return objects.PortDevice(
            net.netns, f"p{number}", f"port/t{owner}/p{number}", "eth0", f"02:00:00:00:01:{number:02x}",
            "02:00:00:00:ff:01", 1400, tuple(addresses), ("10.0.0.1", "fe80::1"), f"t{owner}/p{number}",
        )  # fmt: skip

    def places(self) -> Places:
        """All fragments, as a prover takes them."""
        found: Places = {}
        for net in self.nets:
            common = self.common(net)
            reaches = {node: self.reach(net, node) for node in range(self.nodes)}
            for node in range(self.nodes):
                if not net.ports[node] and self.random.random() < 0.5:
                    continue
                parts = [common, self.local(net, node)]
                parts += [part for other, part in reaches.items() if other != node and not self.wrong()]
                found[f"n{node}", net.netns] = tuple(parts)
        return found

    def common(self, net: Net) -> Fragment:
        items: list[AnyObject] = [
            objects.Namespace(net.netns, forwarding=not self.wrong(0.3), filtered=not self.wrong())
        ]
        for name in ("a", "b"):
            if not self.wrong():
                rules = [tuple(self.random.sample(RULES, self.random.randint(1, 3))) for _ in range(2)]
                items.append(objects.SecurityGroupFilter(net.netns, name, *rules))
        if not self.wrong():
            items.append(objects.AddressSet(net.netns, "friends"))
        for prefix in self.random.sample(PREFIXES, 2):
            items.append(objects.AddressSetElement(net.netns, "friends", prefix))
        for prefix in self.random.sample(PREFIXES, self.random.randint(0, 3)):
            action = self.random.choice(["blackhole", "throw"])
            items.append(objects.Route(net.netns, prefix, TABLE, action))
        return fragment(net.netns, "common", items)

    def reach(self, net: Net, node: int) -> Fragment:
        random = self.random
        other = random.randrange(self.nodes) if self.wrong() else node
        items: list[AnyObject] = []
        if not self.wrong():
            items.append(objects.Neighbour(net.netns, "vx", next_hop(node), mac(other)))
        if not self.wrong():
            items.append(objects.ForwardingEntry(net.netns, "vx", mac(node), endpoint(other)))
        for port in net.ports[node]:
            for prefix in self.hosts(port):
                to = random.randrange(self.nodes) if self.wrong() else node
                device = "nowhere" if self.wrong(0.3) else "vx"
                if not self.wrong():
                    items.append(objects.Route(net.netns, prefix, via=next_hop(to), device=device))
            if port.device in ("p2", "p3"):
                special = f"02:00:00:00:02:{port.device[1:]:0>2}"
                items.append(objects.Neighbour(net.netns, "vx", f"fe80::2:{port.device[1:]}", special))
                items.append(objects.ForwardingEntry(net.netns, "vx", special, endpoint(node)))
                prefix = PREFIXES[0] if port.device == "p2" else PREFIXES[6]
                items.append(objects.Route(net.netns, prefix, TABLE, via=f"fe80::2:{port.device[1:]}", device="vx"))
        return fragment(net.netns, f"reach/n{node}", items)

    @staticmethod
    def hosts(port: objects.PortDevice) -> list[str]:
        bare = [address.partition("/")[0] for address in port.addresses]
        return [f"{one}/{128 if ':' in one else 32}" for one in bare]

    def local(self, net: Net, node: int) -> Fragment:
        random = self.random
        items: list[AnyObject] = []
        if not self.wrong():
            vni = 100 if self.wrong() else net.vni
            items.append(objects.Vxlan(net.netns, "vx", vni, endpoint(node), mac(node), 1400))
        for port in net.ports[node]:
            items.append(port)
            sources = tuple(random.sample(PREFIXES, 2)) if self.wrong(3) else tuple(self.hosts(port))
            pairs = (("02:00:00:00:03:01", random.choice(PREFIXES)),) if self.wrong(3) else ()
            groups = tuple(random.sample(["a", "b"], random.randint(0, 2)))
            if not self.wrong():
                own = mac(77) if self.wrong() else port.mac
                items.append(objects.PortFilter(net.netns, port.device, own, sources, groups, pairs))
            for prefix in self.hosts(port):
                to = random.choice(net.ports[node]).device if self.wrong(2) else port.device
                items.append(objects.Route(net.netns, prefix, device=to))
            if random.random() < 0.4:
                items.append(objects.RouteSelection(net.netns, port.device, TABLE))
            if port.device in ("p2", "p3"):
                to = random.choice(net.ports[node]).device if self.wrong(2) else port.device
                items.append(objects.Delivery(net.netns, "vx", f"02:00:00:00:02:{port.device[1:]:0>2}", to))
                prefix = PREFIXES[0] if port.device == "p2" else PREFIXES[6]
                via = next((host.partition("/")[0] for host in self.hosts(port)), "")
                items.append(objects.Route(net.netns, prefix, TABLE, via=via, device=port.device))
        for _ in range(2):
            if self.wrong(3):
                items.append(self.stray_route(net, node))
        return fragment(net.netns, f"local/n{node}", items)

    def stray_route(self, net: Net, node: int) -> objects.Route:
        random = self.random
        device = random.choice(["vx", "vx", *(port.device for port in net.ports[node])])
        via = "" if random.random() < 0.3 else next_hop(random.randrange(self.nodes))
        return objects.Route(
            net.netns, random.choice(PREFIXES), random.choice([254, TABLE]), random.choice(["forward"] * 3 + ["throw"]),
            via, device,
        )  # fmt: skip


@pytest.fixture
def maker() -> type[Maker]:
    return Maker
