"""The tour of a backbone: a published topology brought up with its delays, and a VPC across its cities."""

from __future__ import annotations

import time
from itertools import combinations
from statistics import median
from typing import TYPE_CHECKING, Any

import click

from suanwang.cli.table import Styled, table
from suanwang.cli.tour import DEMO_FAILED, Flow, Report, apply, probe, tell, wait_for_routes
from suanwang.model.errors import SuanwangError

if TYPE_CHECKING:
    from suanwang.cli.client import Client
    from suanwang.lab.lab import Lab
    from suanwang.topology.graph import Graph

TENANT, REGION = "backbone", "backbone"
SLACK, SLACK_US = 0.10, 2000
"""How much longer than the shortest path's delay a round trip may take: 10 % and 2 ms."""

Document = dict[str, Any]


def backbone(name: str, report: Report, path: str, hosts: int) -> None:
    """The whole tour."""
    from suanwang.cli.lab import client_of, start
    from suanwang.model.registry import load
    from suanwang.model.resource import check
    from suanwang.topology.graph import Graph, graph_link
    from suanwang.topology.importing import import_topology

    documents = import_topology(path, region=REGION)
    links = [graph_link(d["metadata"]["name"], d["spec"]) for d in documents if d["kind"] == "Link"]
    graph = Graph([d["metadata"]["name"] for d in documents if d["kind"] == "Node"], links)
    cities = far_apart(graph, hosts)
    documents += [found for city in cities for found in _host(city)]
    with report.step(f"{len(graph.nodes)} cities, {len(links)} links with their delays, hosts in {', '.join(cities)}"):
        begun = time.monotonic()
        resources = [check(document, load(), path) for document in documents]
        lab = start(name, resources, tell=tell)
        client = client_of(lab)
    with report.step("a VPC with a port in each of these cities"):
        apply(client, list(_tenant(cities)), report)
        up_s = time.monotonic() - begun
        report.add(f"{len(graph.nodes)} routers, {hosts} hosts and the VPC up", "< 30 s", f"{up_s:.1f} s", up_s < 30)
    with report.step("every assertion, tried with real packets; round trips against shortest paths"):
        _compare(client, graph, report, "backbone whole", frozenset())
    with report.step("cut a backbone link while packets flow"):
        _cut_and_heal(lab, client, graph, cities, report)
    client.close()


def far_apart(graph: Graph, count: int) -> list[str]:
    """Cities far from each other: the ends of the longest path first, then always the one farthest from all chosen."""
    distances = {node: graph.shortest_paths(node) for node in graph.nodes}

    def apart(one: str, other: str) -> int:
        return distances[one].distance(other) or 0

    chosen = list(max(combinations(graph.nodes, 2), key=lambda pair: apart(*pair)))
    while len(chosen) < min(count, len(graph.nodes)):
        left = [node for node in graph.nodes if node not in chosen]
        chosen.append(max(left, key=lambda node: min(apart(node, other) for other in chosen)))
    return sorted(chosen[:count])


def _host(city: str) -> list[Document]:
    api = {"apiVersion": "suanwang/v1"}
    host = f"{city}-host"
    return [
        {**api, "kind": "Node", "metadata": {"name": host}, "spec": {"region": REGION, "roles": ["host"]}},
        {
            **api,
            "kind": "Link",
            "metadata": {"name": f"{city}-access"},
            "spec": {"a": {"node": city}, "b": {"node": host}},
        },
    ]


def _tenant(cities: list[str]) -> list[Document]:
    def resource(kind: str, name: str, spec: Document, tenant: str = TENANT) -> Document:
        metadata = {"name": name, "tenant": tenant} if tenant else {"name": name}
        return {"apiVersion": "suanwang/v1", "kind": kind, "metadata": metadata, "spec": spec}

    rules = [
        {"direction": "ingress", "protocol": "icmp", "securityGroup": "members"},
        {"direction": "ingress", "protocol": "tcp", "ports": [443], "securityGroup": "members"},
    ]
    documents = [
        resource("Tenant", TENANT, {}, ""),
        resource("Vpc", "wide", {"cidrs": ["10.64.0.0/16"]}),
        resource("Subnet", "all", {"vpc": "wide", "cidr": "10.64.0.0/24"}),
        resource("SecurityGroup", "members", {"vpc": "wide", "rules": rules}),
    ]
    for city in cities:
        spec = {"subnet": "all", "node": f"{city}-host", "securityGroups": ["members"]}
        documents.append(resource("Port", city, spec))
    for one, other in combinations(cities, 2):
        documents.append(resource("Assertion", f"{one}.{other}", {"from": {"port": one}, "to": {"port": other}}))
    first, last = cities[0], cities[-1]
    ends: Document = {"from": {"port": first}, "to": {"port": last}, "protocol": "tcp"}
    documents.append(resource("Assertion", "https", {**ends, "port": 443}))
    documents.append(resource("Assertion", "no-ssh", {**ends, "port": 22, "expect": "denied"}))
    return documents


def _compare(client: Client, graph: Graph, report: Report, what: str, without: frozenset[str]) -> None:
    """Probe all, and compare the median round trip of every pair with twice the delay of the shortest path.

    On a machine that is busy with other things a few packets in a row may be late. Pairs that are not within the limits
    are therefore measured again, up to twice, and the median is that of all their round trips.
    """
    found = probe(client, report, what, count=5)
    times = {result["name"]: list(result["rttUs"]) for result in found if "." in result["name"]}
    asked, hops = {}, {}
    for name in times:
        one, other = name.split(".")
        path = graph.path(one, other, without=without)
        if path is None or not times[name]:
            raise SuanwangError(DEMO_FAILED, f"{one} and {other} do not reach each other", "see `suanwang lab status`")
        asked[name], hops[name] = 2 * path.weight, len(path.links)
    for _ in range(2):
        late = [name for name in times if not _within(asked[name], times[name])]
        if not late:
            break
        tell(f"measured again: {', '.join(late)}")
        named = [{"tenant": TENANT, "name": name} for name in late]
        again = client.post("/v1/probe", {"assertions": named, "tenant": "", "count": 10}, timeout_s=600)["results"]
        for result in again:
            times[result["name"]] += result["rttUs"]
    rows, within = [], 0
    for name in times:
        fine = _within(asked[name], times[name])
        within += fine
        mark = Styled("ok", "green") if fine else Styled("NO", "red")
        measured = f"{median(times[name]) / 1000:.2f}"
        rows.append((name.replace(".", " - "), hops[name], f"{asked[name] / 1000:.2f}", measured, mark))
    head = ("PAIR", "HOPS", "SHORTEST PATH ms", "MEASURED ms", "")
    click.echo(table(head, rows, right=head[1:4]), err=True)
    worst_us = max(median(times[name]) - asked[name] for name in times)
    text = f"{within}, at most {worst_us / 1000:.2f} ms more"
    report.add(f"{what}: round trips", f"{len(times)} within 10 % + 2 ms", text, within == len(times))


def _within(asked_us: int, times_us: list[int]) -> bool:
    return asked_us <= median(times_us) <= asked_us * (1 + SLACK) + SLACK_US


def _cut_and_heal(lab: Lab, client: Client, graph: Graph, cities: list[str], report: Report) -> None:
    from suanwang.model.reference import Key

    one, other, link = _to_cut(graph, cities)
    address = client.item(Key("Port", TENANT, other))["status"]["addresses"][0]
    flow = Flow(lab, f"port/{TENANT}/{one}", address)
    lab.underlay.cut(link)
    tell(f"cut {link}, on the shortest path from {one} to {other}")
    time.sleep(2.0)
    seen = flow.stop()
    tell(f"longest time without an answer: {seen.longest_s * 1000:.0f} ms; {seen.lost} of {seen.sent} packets lost")
    report.add(f"interruption when {link} is cut", "< 2 s", f"{seen.longest_s * 1000:.0f} ms", seen.longest_s < 2.0)
    _compare(client, graph, report, f"without {link}", frozenset({link}))
    lab.underlay.heal(link)
    report.add("all routes back after healing", "", f"{wait_for_routes(lab):.2f} s")


def _to_cut(graph: Graph, cities: list[str]) -> tuple[str, str, str]:
    """A pair of cities and a link on its shortest path that all cities can do without, the longest detour first."""
    best: tuple[int, str, str, str] | None = None
    for one, other in combinations(cities, 2):
        path = graph.path(one, other)
        for link in path.links if path else ():
            mask = frozenset({link})
            detours = [graph.path(one, city, without=mask) for city in cities]
            detour = graph.path(one, other, without=mask)
            if path is None or detour is None or None in detours:
                continue
            found = (detour.weight - path.weight, one, other, link)
            best = max(best, found) if best else found
    if best is None:
        raise SuanwangError(DEMO_FAILED, "no link can be cut without parting the cities", "choose another topology")
    return best[1], best[2], best[3]
