"""Random changes, one after the other: what is compiled change by change is what is compiled from nothing.

After each commit, for every node: the program is that of a controller that starts afresh on the same store; the nodes
said to have changed are those whose text did; an agent that follows updates has the program; and a packet to any port,
walked through the objects of the programs, arrives at the node that has the port.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest

from suanwang.controller.engine import Controller
from suanwang.controller.publication import Publication
from suanwang.model.errors import SuanwangError
from suanwang.model.reference import Key
from suanwang.model.resource import check
from suanwang.program import wire
from suanwang.program.fragment import MODULUS
from suanwang.program.objects import Delivery, ForwardingEntry, Neighbour, PortDevice, Route, Vxlan
from suanwang.program.program import NodeProgram

NODES = ("n1", "n2", "n3", "n4")
TENANTS = ("t1", "t2")
RANGES = ("10.0.0.0/16", "10.1.0.0/16", "fd00:1::/48")
SUBNETS = (("10.0.1.0/24", None), ("10.0.2.0/28", "fd00:1:0:2::/64"), ("10.1.1.0/29", None), ("fd00:1:0:3::/64", None))
DELETABLE = ("Port", "Assertion", "SecurityGroup", "RouteTable", "PrefixList", "Subnet", "Vpc", "Node")

Document = dict[str, Any]


class Maker:
    """Makes documents that are likely, not sure, to be accepted. Names are few, so that they collide and come back."""

    def __init__(self, chance: random.Random, present: dict[Key, Document]) -> None:
        self.chance = chance
        self.present = present

    def infrastructure(self) -> Iterator[Document]:
        yield self.document("Region", "", "east", {"underlay": {"mtu": "9000B"}})
        for node in NODES:
            yield self.document("Node", "", node, {"region": "east", "roles": ["host"]})
        for tenant in TENANTS:
            yield self.document("Tenant", "", tenant, {})

    def networks(self) -> Iterator[Document]:
        for tenant in TENANTS:
            for vpc in ("v0", "v1"):
                yield self.document("Vpc", tenant, vpc, {"cidrs": list(RANGES)})
            for number, (cidr, ipv6_cidr) in enumerate(SUBNETS):
                spec = {"vpc": "v1" if number == 2 else "v0", "cidr": cidr, "ipv6Cidr": ipv6_cidr}
                yield self.document("Subnet", tenant, f"s{number}", spec)

    def any(self) -> Document:
        kinds = ["Vpc", "Subnet", "SecurityGroup", "PrefixList", "RouteTable", "Assertion", "Node", "Region"]
        kind = self.chance.choices([*kinds, "Port"], [2, 3, 3, 1, 2, 2, 1, 0.3, 9])[0]
        tenant = self.chance.choice(TENANTS)
        return getattr(self, kind.lower())(tenant)  # type: ignore[no-any-return]

    def document(self, kind: str, tenant: str, name: str, spec: Document) -> Document:
        labels = {"n": str(self.chance.randrange(3))}
        metadata = {"name": name, "labels": labels, **({"tenant": tenant} if tenant else {})}
        return {"apiVersion": "suanwang/v1", "kind": kind, "metadata": metadata, "spec": spec}

    def named(self, kind: str, tenant: str) -> list[str]:
        return sorted(key.name for key in self.present if key.kind == kind and key.tenant == tenant)

    def one(self, kind: str, tenant: str) -> str:
        return self.chance.choice(self.named(kind, tenant) or ["missing"])

    def name(self, letter: str, many: int) -> str:
        return f"{letter}{self.chance.randrange(many)}"

    def region(self, tenant: str) -> Document:
        return self.document("Region", "", "east", {"underlay": {"mtu": self.chance.choice(["1500B", "9000B"])}})

    def node(self, tenant: str) -> Document:
        node = self.chance.choice(NODES)
        fixed = self.chance.choice([None, f"192.0.2.{self.chance.randrange(1, 5)}", "2001:db8::7"])
        return self.document("Node", "", node, {"region": "east", "roles": ["host"], "address": fixed})

    def vpc(self, tenant: str) -> Document:
        vni = self.chance.choice([None, None, 100, 200])
        return self.document("Vpc", tenant, self.name("v", 2), {"cidrs": list(RANGES), "vni": vni})

    def subnet(self, tenant: str) -> Document:
        number = self.chance.randrange(len(SUBNETS))
        table = self.chance.choice([None, self.one("RouteTable", tenant)])
        cidr, ipv6_cidr = SUBNETS[number]
        spec = {"vpc": self.one("Vpc", tenant), "cidr": cidr, "ipv6Cidr": ipv6_cidr, "routeTable": table}
        return self.document("Subnet", tenant, f"s{number}", spec)

    def securitygroup(self, tenant: str) -> Document:
        rules = []
        for _ in range(self.chance.randrange(4)):
            who = self.chance.choice(
                [{}, {"cidr": "10.0.0.0/8"}, {"prefixList": self.one("PrefixList", tenant)},
                 {"securityGroup": self.one("SecurityGroup", tenant)}]
            )  # fmt: skip
            ports = self.chance.choice([[], [80], ["8000-8099", 443]])
            rules.append(
                {"direction": self.chance.choice(["ingress", "egress"]), "protocol": "tcp", "ports": ports, **who}
            )
        return self.document(
            "SecurityGroup", tenant, self.name("g", 3), {"vpc": self.one("Vpc", tenant), "rules": rules}
        )

    def prefixlist(self, tenant: str) -> Document:
        prefixes = self.chance.sample(["192.0.2.0/24", "198.51.100.0/24", "2001:db8::/32"], self.chance.randrange(4))
        return self.document("PrefixList", tenant, self.name("l", 2), {"prefixes": prefixes})

    def routetable(self, tenant: str) -> Document:
        routes = []
        for destination in self.chance.sample(
            ["0.0.0.0/0", "10.0.9.0/24", "10.0.0.0/16", "::/0"], self.chance.randrange(4)
        ):
            leads = self.chance.random() < 0.7
            routes.append(
                {
                    "destination": destination,
                    "nextHop": {"port": self.one("Port", tenant)} if leads else {"blackhole": True},
                }
            )
        return self.document(
            "RouteTable", tenant, self.name("r", 2), {"vpc": self.one("Vpc", tenant), "routes": routes}
        )

    def port(self, tenant: str) -> Document:
        groups = self.chance.sample(
            self.named("SecurityGroup", tenant), min(len(self.named("SecurityGroup", tenant)), 2)
        )
        spec = {
            "subnet": self.one("Subnet", tenant),
            "node": self.chance.choice([None, *NODES]),
            "securityGroups": groups[: self.chance.randrange(3)],
            "bandwidthIn": self.chance.choice([None, "1Gbps"]),
            "allowedAddressPairs": self.chance.choice([[], [{"prefix": "10.99.0.0/16"}]]),
        }
        return self.document("Port", tenant, self.name("p", 7), spec)

    def assertion(self, tenant: str) -> Document:
        to = self.chance.choice([{"port": self.one("Port", tenant)}, {"address": "10.0.1.9"}])
        spec = {"from": {"port": self.one("Port", tenant)}, "to": to, "protocol": "tcp", "port": 80}
        return self.document("Assertion", tenant, self.name("a", 3), spec)


class Agent:
    """Holds what updates say, as an agent does."""

    def __init__(self, node: str) -> None:
        self.node = node
        self.held: dict[str, int] = {}
        self.publication: Publication

    @property
    def hash(self) -> str:
        return f"{sum(self.held.values()) % MODULUS:032x}"

    def connect(self, controller: Controller) -> None:
        have = {id: f"{fingerprint:032x}" for id, fingerprint in self.held.items()}
        self.publication = controller.publish(wire.Hello(self.node, "0", 1, self.hash, have), lambda: None)

    def follow(self, controller: Controller) -> None:
        update = controller.next_update(self.publication)
        if update is None:
            return
        assert update.base == self.hash
        for id in update.remove:
            del self.held[id]
        for raw in update.put:
            part = wire.decode_fragment(raw)
            assert self.held.get(part.id) != part.fingerprint
            self.held[part.id] = part.fingerprint
        assert update.hash == self.hash


def fragments_of(program: NodeProgram) -> dict[str, int]:
    found = {part.id: part.fingerprint for part in program.fragments}
    assert len(found) == len(program.fragments)
    return found


def check_walks(programs: dict[str, NodeProgram]) -> int:
    """Follow a packet to every port from every node of its VPC, looking at objects only; returns how many arrived."""
    items = {node: list(program.objects.values()) for node, program in programs.items()}
    ports = {
        (item.netns, address.partition("/")[0]): (node, item.device)
        for node in items
        for item in items[node]
        if isinstance(item, PortDevice)
        for address in item.addresses
    }
    tunnels = {(one.netns, one.local): (node, one) for node in items for one in items[node] if isinstance(one, Vxlan)}
    deliveries = {
        (node, one.netns, one.mac): one.port for node in items for one in items[node] if isinstance(one, Delivery)
    }
    arrived = 0
    for node in items:
        vxlans = {one.netns: one for one in items[node] if isinstance(one, Vxlan)}
        neighbours = {
            (one.netns, one.device, one.address): one.mac for one in items[node] if isinstance(one, Neighbour)
        }
        entries = {
            (one.netns, one.device, one.mac): one.remote for one in items[node] if isinstance(one, ForwardingEntry)
        }
        routes = [one for one in items[node] if isinstance(one, Route) and one.action == "forward"]
        main = {(one.netns, one.destination.partition("/")[0]): one for one in routes if one.table == 254}
        # No port is missing, and there is no way to what is not there.
        assert main.keys() == {key for key in ports if key[0] in vxlans}
        for route in routes:
            here = vxlans[route.netns]
            if route.device != here.device:
                assert (node, route.device) in ports.values()
                continue
            mac = neighbours[route.netns, route.device, route.via]
            far_node, far_end = tunnels[route.netns, entries[route.netns, route.device, mac]]
            assert far_end.vni == here.vni
            if route.table == 254:
                assert far_end.mac == mac
                assert ports[route.netns, route.destination.partition("/")[0]][0] == far_node
            else:
                assert (far_node, deliveries[far_node, route.netns, mac]) in ports.values()
            arrived += 1
    return arrived


@pytest.mark.parametrize("seed", range(12))
def test_change_by_change_is_the_same_as_from_nothing(seed: int, world: Any) -> None:
    chance = random.Random(seed)
    present: dict[Key, Document] = {}
    maker = Maker(chance, present)
    agents = {node: Agent(node) for node in NODES}
    texts = {node: world.text(node) for node in NODES}
    accepted = walked = 0

    def commit(documents: list[Document], deletions: list[Key]) -> set[str] | None:
        nonlocal accepted
        resources = [check(document, world.registry) for document in documents]
        if len({resource.key for resource in resources}) != len(resources):
            return None
        if {resource.key for resource in resources} & set(deletions):
            return None
        hashes = {node: world.controller.hash(node) for node in NODES} if chance.random() < 0.5 else {}
        try:
            plan = world.controller.plan(resources, deletions)
        except SuanwangError:
            return None
        for node, before in hashes.items():
            assert world.controller.hash(node) == before == world.controller.program(node).hash
        applied = world.carry_out(plan)
        assert applied.nodes == plan.nodes
        present.update({resource.key: document for resource, document in zip(resources, documents, strict=True)})
        for key in deletions:
            del present[key]
        accepted += 1
        return set(applied.nodes)

    commit([*maker.infrastructure(), *maker.networks()], [])
    for agent in agents.values():
        agent.connect(world.controller)
    past = {world.controller.revision: dict(present)}
    for _ in range(100):
        if chance.random() < 0.1:
            world.restart()
            for agent in agents.values():
                agent.connect(world.controller)
        if chance.random() < 0.05:
            revision = chance.choice(list(past))
            before_revision = world.controller.revision
            changed: set[str] | None = set(world.roll_back(revision).nodes)
            if world.controller.revision == before_revision:
                continue
            present.clear()
            present.update(past[revision])
        else:
            deletable = [key for key in present if key.kind in DELETABLE]
            deletions = chance.sample(deletable, min(len(deletable), chance.choice([0, 0, 0, 1, 2, 6])))
            documents = [maker.any() for _ in range(chance.choice([1, 1, 1, 2, 5]))]
            changed = commit(documents, deletions)
            if changed is None:
                changed = commit(documents[:1], [])
        if changed is None:
            continue
        past[world.controller.revision] = dict(present)
        fresh = Controller(world.store, world.registry)
        now = {}
        for node in NODES:
            program, oracle = world.controller.program(node), fresh.program(node)
            now[node] = program.text()
            assert now[node] == oracle.text()
            assert fragments_of(program) == fragments_of(oracle)
            assert program.hash == oracle.hash == world.controller.hash(node) == fresh.hash(node)
        assert changed == {node for node in NODES if now[node] != texts[node]}
        assert {str(key): str(one) for key, one in world.controller.problems().items()} == {
            str(key): str(one) for key, one in fresh.problems().items()
        }
        texts = now
        walked += check_walks({node: world.controller.program(node) for node in NODES})
        for agent in agents.values():
            if chance.random() < 0.5:
                agent.follow(world.controller)
    for node, agent in agents.items():
        agent.follow(world.controller)
        assert agent.held == fragments_of(world.controller.program(node))
        assert world.controller.next_update(agent.publication) is None
    # Were most changes refused, or no port remote, this would prove little.
    assert accepted > 30
    assert walked > 50
