"""Probes and responders between two real workloads, over the wire, by an agent process."""

from __future__ import annotations

import socket
import threading

import pytest

from suanwang.linux import netns
from suanwang.program import wire
from suanwang.program.fragment import fragment
from suanwang.program.objects import (
    FilterRule,
    Namespace,
    PortDevice,
    PortFilter,
    Probe,
    Responder,
    Route,
    SecurityGroupFilter,
)

pytestmark = pytest.mark.root

ROUTER = "vpc/t/net"
ADDRESSES = {"a": ("10.9.0.2", "fd09::2"), "b": ("10.9.0.3", "fd09::3"), "closed": ("10.9.0.4", "fd09::4")}


def workloads():
    yield Namespace(ROUTER, forwarding=True, filtered=True)
    yield SecurityGroupFilter(ROUTER, "open", (FilterRule(),), (FilterRule(),))
    for number, (name, (first, second)) in enumerate(ADDRESSES.items()):
        mac = f"02:00:00:00:01:{number:02x}"
        yield Namespace(f"port/t/{name}")
        yield PortDevice(
            ROUTER, name, f"port/t/{name}", "eth0", mac, "02:00:00:00:00:01", 1400,
            (f"{first}/24", f"{second}/64"), ("10.9.0.1", "fd09::1"), f"t/{name}",
        )  # fmt: skip
        yield Route(ROUTER, f"{first}/32", device=name)
        yield Route(ROUTER, f"{second}/128", device=name)
        yield PortFilter(ROUTER, name, mac, (f"{first}/32", f"{second}/128"), () if name == "closed" else ("open",))


def probe(assertion, protocol, destination, port=0, answerer="", netns="port/t/a", source=None):
    source = ADDRESSES["a"][":" in destination] if source is None else source
    return Probe(assertion, netns, protocol, source, destination, port, "allowed", answerer)


def asked(node, peer, *items, arm=True, count=3, timeout_us=300_000):
    """Bring up the workloads with these probes and responders; results by assertion, and what could not be armed."""
    node.joined()
    parts = [fragment("net", "common", workloads()), fragment("probes", "x", items)]
    peer.applied(peer.publish(1, *parts))
    problems = {}
    if arm:
        responders = tuple(item.assertion for item in items if isinstance(item, Responder))
        peer.say(wire.ArmResponders("r1", responders, 30_000_000))
        problems = peer.wait_for(wire.Armed).problems
    assertions = tuple(item.assertion for item in items if isinstance(item, Probe))
    peer.say(wire.RunProbes("r2", assertions, count, 10_000, timeout_us))
    answer = peer.wait_for(wire.ProbeResults)
    assert answer.request == "r2"
    return {result.assertion: result for result in answer.results}, problems


def responder(assertion, protocol, address, port=0, identity="t/b", netns="port/t/b"):
    return Responder(assertion, netns, protocol, address, port, identity)


def test_all_protocols_and_versions_are_answered_by_the_right_one(node, peer):
    items = []
    for version, address in ((4, "10.9.0.3"), (6, "fd09::3")):
        items += [
            probe(f"icmp{version}", "icmp", address),
            probe(f"tcp{version}", "tcp", address, 5432, "t/b"),
            responder(f"tcp{version}", "tcp", address, 5432),
            probe(f"udp{version}", "udp", address, 53, "t/b"),
            responder(f"udp{version}", "udp", address, 53),
        ]
    results, problems = asked(node, peer, *items)
    assert problems == {}
    assert set(results) == {"icmp4", "tcp4", "udp4", "icmp6", "tcp6", "udp6"}
    for name, result in results.items():
        assert (result.outcome, result.sent, result.answered) == ("allowed", 3, 3), result
        assert result.answerer == ("" if name.startswith("icmp") else "t/b")
        assert len(result.rtt_us) == 3
        assert all(0 < rtt_us < 300_000 for rtt_us in result.rtt_us)


def test_the_wrong_answerer_is_an_error(node, peer):
    results, _ = asked(
        node,
        peer,
        probe("tcp", "tcp", "10.9.0.3", 80, "t/b"),
        responder("tcp", "tcp", "10.9.0.3", 80, "evil/b"),
        probe("udp", "udp", "10.9.0.3", 80, "t/b"),
        responder("udp", "udp", "10.9.0.3", 80, "evil/b"),
    )
    for result in results.values():
        assert (result.outcome, result.answered, result.answerer) == ("error", 3, "evil/b")
        assert result.detail == "answered by evil/b, not by t/b"


def test_what_is_filtered_is_denied_and_all_wait_together(node, peer, until):
    address = "10.9.0.4"
    items = [probe(f"icmp-{n}", "icmp", address) for n in range(50)]
    items += [probe(f"tcp-{n}", "tcp", address, 1000 + n) for n in range(50)]
    items += [probe(f"udp-{n}", "udp", address, 1000 + n) for n in range(50)]
    items += [probe("nowhere", "icmp", "10.99.0.1")]
    results, _ = asked(node, peer, *items, timeout_us=500_000)
    assert {result.outcome for result in results.values()} == {"denied"}
    assert results["tcp-1"].detail == "no answer within 500 ms"
    assert (results["udp-3"].sent, results["udp-3"].answered, results["udp-3"].rtt_us) == (3, 0, ())


def test_a_refusal_by_the_workload_shows_that_it_was_reached(node, peer):
    results, _ = asked(node, peer, probe("tcp", "tcp", "10.9.0.3", 81), probe("udp", "udp", "fd09::3", 81), arm=False)
    for result in results.values():
        assert (result.outcome, result.answered, result.answerer) == ("allowed", 3, "")
        assert result.detail == "refused by the workload"


def test_a_real_service_on_the_port_is_left_alone(node, peer, until):
    """The service takes the port before the probe; it hears nothing that it would have to understand."""
    node.joined()
    parts = [
        fragment("net", "common", workloads()),
        fragment("probes", "x", [probe("web", "tcp", "10.9.0.3", 80, "t/b"), responder("web", "tcp", "10.9.0.3", 80)]),
    ]
    peer.applied(peer.publish(1, *parts))
    crew = netns.Crew(1)

    def listen():
        with open(f"/run/netns/{node.namespace('port/t/b')}") as file, netns.inside(file.fileno()):
            return socket.create_server(("0.0.0.0", 80))

    service = crew.submit(listen).result()
    heard = []

    def serve():
        service.settimeout(10)
        while len(heard) < 3:
            connection, _ = service.accept()
            with connection:
                heard.append(connection.recv(100))

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        peer.say(wire.ArmResponders("r1", ("web",), 1_000_000))
        assert peer.wait_for(wire.Armed).problems == {}
        peer.say(wire.RunProbes("r2", ("web",), 3, 1000, 300_000))
        (result,) = peer.wait_for(wire.ProbeResults).results
        assert (result.outcome, result.answered, result.answerer) == ("allowed", 3, "")
        thread.join(10)
        assert heard == [b"", b"", b""]
    finally:
        service.close()
        crew.close()


def test_responders_leave_the_port_free_at_once(node, peer, until):
    results, _ = asked(node, peer, probe("x", "tcp", "10.9.0.3", 80, "t/b"), responder("x", "tcp", "10.9.0.3", 80))
    assert results["x"].answerer == "t/b"
    workload = "port/t/b"
    assert ":80 " in node.inside(workload, "ss", "-Htln")
    # Armed again for a moment only: the longer time counts, so end it by ending the agent.
    node.processes[-1].end()
    assert node.inside(workload, "ss", "-Hta") == ""


def test_responders_end_by_themselves(node, peer, until):
    node.joined()
    parts = [fragment("net", "common", workloads()), fragment("r", "x", [responder("x", "tcp", "10.9.0.3", 80)])]
    peer.applied(peer.publish(1, *parts))
    peer.say(wire.ArmResponders("r1", ("x",), 300_000))
    peer.wait_for(wire.Armed)
    assert ":80 " in node.inside("port/t/b", "ss", "-Htln")
    until(lambda: node.inside("port/t/b", "ss", "-Htln") == "")


def test_what_can_not_be_tried_says_why(node, peer):
    results, problems = asked(
        node,
        peer,
        probe("no-namespace", "icmp", "10.9.0.3", netns="port/t/none"),
        probe("no-source", "icmp", "10.9.0.3", source="10.77.0.1"),
        responder("no-address", "tcp", "10.77.0.1", 80),
        responder("two", "tcp", "10.9.0.3", 80, "first"),
        responder("faces", "tcp", "10.9.0.3", 80, "second"),
    )
    assert {result.outcome for result in results.values()} == {"error"}
    assert "Cannot assign requested address" in results["no-source"].detail
    assert "No such file" in results["no-namespace"].detail
    assert problems == {
        "no-address": "can't answer at 10.77.0.1 port 80: Cannot assign requested address",
        "faces": "10.9.0.3 port 80 already answers as first",
    }
    peer.say(wire.RunProbes("r3", ("unheard-of",), 1))
    (result,) = peer.wait_for(wire.ProbeResults, lambda one: one.request == "r3").results
    assert (result.outcome, result.detail) == ("error", "this node's program has no probe for it")
