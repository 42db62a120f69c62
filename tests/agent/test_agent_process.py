"""The agent as a process against a controller's end of the wire, on a real kernel."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import time
import urllib.request

import msgspec
import pytest

from suanwang.program import wire
from suanwang.program.fragment import Fragment, fragment
from suanwang.program.objects import Namespace, PortDevice, Route
from suanwang.program.program import FORMAT

pytestmark = pytest.mark.root


def vpc(number: int, routes: int = 1, name: str = "n") -> Fragment:
    netns = f"vpc/t/{name}{number}"
    return fragment(
        f"vpc/t/{name}{number}",
        "common",
        [
            Namespace(netns, forwarding=True),
            *(Route(netns, f"10.{number}.{index}.0/24", action="blackhole") for index in range(routes)),
        ],
    )


def port(number: int) -> Fragment:
    netns, workload = f"vpc/t/n{number}", f"port/t/p{number}"
    mac = f"02:00:00:00:01:{number:02x}"
    device = PortDevice(
        netns, f"p{number}", workload, "eth0", mac, "02:00:00:00:00:01", 1400, ("10.9.0.2/24",), ("10.9.0.1",), workload
    )
    route = Route(netns, "10.9.0.2/32", device=device.device)
    return fragment(f"port/{number}", "here", [Namespace(workload), device, route])


def test_a_program_comes_changes_and_goes(node, peer):
    node.joined()
    first = peer.publish(1, vpc(1), vpc(2))
    report = peer.applied(first)
    assert (report.done, report.failed, report.pending) == (4, 0, 0)
    assert sorted(node.made()) == [node.namespace("vpc/t/n1"), node.namespace("vpc/t/n2")]
    second = f"{(int(first, 16) + vpc(3).fingerprint - vpc(1).fingerprint) % 2**128:032x}"
    peer.say(wire.update(first, 2, second, (vpc(1).id,), (vpc(3),)))
    assert peer.applied(second).revision == 2
    assert sorted(node.made()) == [node.namespace("vpc/t/n2"), node.namespace("vpc/t/n3")]
    nothing = peer.publish(3)
    assert peer.applied(nothing).done == 0
    assert node.made() == []


def test_a_route_deleted_by_hand_is_back(node, peer, until):
    node.joined()
    peer.applied(peer.publish(1, vpc(1)))
    node.inside("vpc/t/n1", "ip", "route", "del", "blackhole", "10.1.0.0/24")
    since = time.monotonic()
    until(lambda: "10.1.0.0/24" in node.inside("vpc/t/n1", "ip", "route", "show"), 5)
    assert time.monotonic() - since < 5
    assert peer.wait_for(wire.Report, lambda report: report.repaired > 0).repaired == 1


def test_what_is_changed_by_hand_is_told_by_the_kernel(node, peer, until):
    """Long before the next comparison is due."""
    node.joined(verify_interval_us=600_000_000)
    peer.applied(peer.publish(1, vpc(1)))
    for _ in range(3):
        node.inside("vpc/t/n1", "ip", "route", "del", "blackhole", "10.1.0.0/24")
        until(lambda: "10.1.0.0/24" in node.inside("vpc/t/n1", "ip", "route", "show"), 1)
    subprocess.run(["ip", "netns", "del", node.namespace("vpc/t/n1")], check=True)
    until(lambda: "10.1.0.0/24" in node.inside("vpc/t/n1", "ip", "route", "show"), 1)


def test_sigterm_leaves_the_data_plane_and_a_restart_adopts_it_without_the_controller(node, peer, until):
    agent = node.joined()
    total = peer.publish(1, vpc(1), port(1))
    peer.applied(total)
    assert agent.end() == 0
    inode = _inode(node, "vpc/t/n1")
    index = node.inside("port/t/p1", "cat", "/sys/class/net/eth0/ifindex")
    peer.stop()
    again = node.agent()
    until(lambda: "adopted" in again.output)
    assert _inode(node, "vpc/t/n1") == inode
    assert node.inside("port/t/p1", "cat", "/sys/class/net/eth0/ifindex") == index
    # Fail-static is not idle: drift is repaired while nobody is there to tell.
    node.inside("vpc/t/n1", "ip", "route", "del", "blackhole", "10.1.0.0/24")
    until(lambda: "10.1.0.0/24" in node.inside("vpc/t/n1", "ip", "route", "show"), 5)
    peer.heard.clear()
    peer.start()
    assert peer.wait_for(wire.Hello).hash == total
    assert peer.applied(total).done == 5
    assert again.end() == 0
    assert "code=CONTROLLER_AWAY" in again.output


def _inode(node, logical):
    return os.stat(f"/run/netns/{node.namespace(logical)}").st_ino


def test_it_comes_back_when_the_connection_breaks(node, peer, until):
    node.joined()
    total = peer.publish(1, vpc(1))
    peer.applied(total)
    peer.heard.clear()
    peer.stop()
    peer.start()
    assert peer.wait_for(wire.Hello).have == {vpc(1).id: f"{vpc(1).fingerprint:032x}"}
    # What it last reported is said again: the controller may have missed it.
    assert peer.applied(total).revision == 1


def test_a_newer_format_is_refused_and_the_node_stays(node, peer):
    node.joined()
    total = peer.publish(1, vpc(1))
    peer.applied(total)
    update = wire.update(total, 2, program_hash(vpc(2)), (vpc(1).id,), (vpc(2),))
    peer.say(msgspec.structs.replace(update, format=FORMAT + 1))
    refusal = peer.wait_for(wire.Refusal)
    assert (refusal.revision, refusal.code) == (2, "NEWER_PROGRAM")
    # A newer update may even have a form that can't be read.
    peer.say(b'{"type": "update", "format": 99, "revision": 3, "put": "?"}')
    assert peer.wait_for(wire.Refusal, lambda one: one.revision == 3).code == "NEWER_PROGRAM"
    peer.say(b'{"type": "from-the-future"}')
    assert peer.wait_for(wire.Refusal, lambda one: one.revision == 0).code == "UNREADABLE_PROGRAM"
    assert node.made() == [node.namespace("vpc/t/n1")]
    assert peer.applied(peer.publish(4, vpc(2))).revision == 4


def test_a_wrong_base_is_refused_and_the_agent_says_what_it_has(node, peer, until):
    node.joined()
    total = peer.publish(1, vpc(1))
    peer.applied(total)
    peer.heard.clear()
    peer.say(wire.update("0" * 32, 2, program_hash(vpc(2)), (), (vpc(2),)))
    assert peer.wait_for(wire.Refusal).code == "BASE_MISMATCH"
    assert peer.wait_for(wire.Hello).hash == total


def test_a_wrong_hash_is_refused_and_the_whole_is_asked_for(node, peer):
    node.joined()
    total = peer.publish(1, vpc(1))
    peer.applied(total)
    peer.heard.clear()
    forged = msgspec.structs.replace(vpc(2), fingerprint=vpc(2).fingerprint ^ 1)
    peer.say(wire.update(total, 2, program_hash(vpc(1), forged), (), (forged,)))
    assert peer.wait_for(wire.Refusal).code == "HASH_MISMATCH"
    assert (peer.wait_for(wire.Hello).hash, peer.wait_for(wire.Hello).have) == ("", {})
    assert node.made() == [node.namespace("vpc/t/n1")]


@pytest.mark.parametrize("made", [0, 2, 5, 15, 38])
def test_killed_during_apply_it_converges_after_restart(node, peer, until, made):
    agent = node.joined()
    peer.applied(peer.publish(1, vpc(1)))
    parts = [vpc(number, routes=40) for number in range(1, 40)]
    total = peer.publish(2, *parts)
    until(lambda: len(node.made()) > made)
    agent.end(signal.SIGKILL)
    peer.heard.clear()
    node.agent()
    hello = peer.wait_for(wire.Hello)
    if hello.hash != total:
        peer.publish(2, *parts)
    assert peer.applied(total).failed == 0
    assert len(node.made()) == len(parts)


def test_an_object_that_fails_is_reported_and_the_rest_stands(node, peer):
    node.joined()
    bad = fragment("bad", "x", [Route("vpc/t/n1", "10.200.0.0/16", via="10.99.0.1", device="nothing")])
    report = peer.applied(peer.publish(1, vpc(1), bad))
    assert (report.done, report.failed) == (2, 1)
    text, code, message = report.problems[0]
    assert text.startswith("route netns=vpc/t/n1 destination=10.200.0.0/16")
    assert code
    assert message
    assert "10.1.0.0/24" in node.inside("vpc/t/n1", "ip", "route", "show")


def test_once_ends_when_the_program_is_applied(node, peer):
    agent = node.joined(once=True)
    total = peer.publish(1, vpc(1))
    assert agent.process.wait(15) == 0, agent.output
    assert peer.applied(total).done == 2
    assert node.made() == [node.namespace("vpc/t/n1")]


def test_a_second_agent_on_one_state_directory_is_refused(node, peer):
    node.joined()
    second = node.agent()
    assert second.process.wait(15) == 1
    assert "STATE_IN_USE" in second.output


def test_metrics_are_published_where_asked(node, peer):
    node.joined(metrics_listen="127.0.0.1:19473")
    peer.applied(peer.publish(7, vpc(1)))
    with urllib.request.urlopen("http://127.0.0.1:19473/metrics") as answer:
        text = answer.read().decode()
    assert 'suanwang_agent_objects{state="done"} 2.0' in text
    assert "suanwang_agent_program_revision 7.0" in text
    assert "suanwang_agent_connected 1.0" in text


def test_the_state_directory_is_private_and_secrets_stay_in_it(node, peer):
    token = node.token()
    secret = token.rsplit(".", 2)[1]
    agent = node.agent(token=token, log_level=10)
    peer.wait_for(wire.Hello)
    peer.applied(peer.publish(1, vpc(1)))
    agent.end()
    assert stat.S_IMODE(node.state.stat().st_mode) == 0o700
    for path in node.state.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
    key = (node.state / "key.pem").read_text()
    assert "PRIVATE KEY" in key
    line = key.splitlines()[1]
    sent = msgspec.json.encode([peer.enrolments, peer.heard]).decode()
    for text in (agent.output, sent.replace(secret, "", 1)):
        assert secret not in text
        assert line not in text
    # A used token is refused, and the refusal, which quotes it, is not passed on as it is.
    (node.state / "certificate.pem").unlink()
    second = node.agent(token=token)
    assert second.process.wait(15) == 1
    assert "ENROLMENT_REFUSED" in second.output
    assert secret not in second.output


def program_hash(*parts: Fragment) -> str:
    return f"{sum(part.fingerprint for part in parts) % 2**128:032x}"


def test_a_certificate_is_renewed_and_used(node, peer, until):
    peer.authority._agent_life_s = 4
    # With the clock's allowance of 300 s in the past, two thirds of such a life are over at once.
    node.joined()
    before = until(lambda: peer.connections > 1 and peer.connections)
    peer.authority._agent_life_s = 86_400
    until(lambda: peer.connections > before)
    node.processes[-1].end()
    assert "renewed" in node.processes[-1].output
