"""What becomes of an agent whose certificate, or whose controller, is not what it should be: the data plane stays."""

from __future__ import annotations

import re
import zlib
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from suanwang.program import wire
from suanwang.program.fragment import fragment
from suanwang.program.objects import Namespace, Route

pytestmark = pytest.mark.root

PART = fragment(
    "vpc/t/n", "x", [Namespace("vpc/t/n", forwarding=True), Route("vpc/t/n", "10.1.0.0/24", action="blackhole")]
)


def logged(agent, until, code):
    """The first line of the agent's log with that code."""
    return until(lambda: next((line for line in agent.output.splitlines() if f"code={code}" in line), ""))


def holding_agent(node, peer):
    """An agent that held a program and was stopped."""
    agent = node.joined()
    peer.applied(peer.publish(1, PART))
    agent.end()


def test_without_certificate_and_token_it_says_what_is_missing(node):
    agent = node.agent()
    assert agent.process.wait(30) == 1
    assert "NOT_ENROLLED" in agent.output
    assert "hint: make a join token" in agent.output


def test_a_token_for_another_node_is_refused(node, peer):
    agent = node.agent(token=peer.authority.enrolment_token("h2"))
    assert agent.process.wait(30) == 1
    assert "JOIN_TOKEN_INVALID" in agent.output


def test_a_state_directory_of_another_node_is_refused(node, peer):
    node.joined().end()
    agent = node.agent(node="h2")
    assert agent.process.wait(30) == 1
    assert "belongs to node h1" in agent.output


def test_a_token_file_is_read(node, peer, tmp_path):
    path = tmp_path / "token"
    path.write_text(node.token() + "\n")
    node.agent(token_file=str(path))
    assert peer.wait_for(wire.Hello).node == "h1"


def test_the_same_token_is_used_once_and_a_new_one_enrols_anew(node, peer, until):
    token = node.token()
    for _ in range(2):
        peer.heard.clear()
        agent = node.agent(token=token)
        peer.wait_for(wire.Hello)
        agent.end()
    assert len(peer.enrolments) == 1
    peer.heard.clear()
    agent = node.agent(token=node.token())
    peer.wait_for(wire.Hello)
    agent.end()
    assert len(peer.enrolments) == 2
    # A new token that is no good does not take the good certificate away.
    peer.heard.clear()
    agent = node.agent(token=token[:-64].replace("swe_", "swe_x") + token[-64:])
    peer.wait_for(wire.Hello)
    assert "code=ENROLMENT_REFUSED" in agent.output


def test_once_ends_also_when_the_update_is_refused(node, peer):
    agent = node.joined(once=True)
    peer.say(msgspec.structs.replace(wire.update("", 1, "0" * 32, (), ()), format=99))
    assert agent.process.wait(30) == 1
    assert "NEWER_PROGRAM" in agent.output


def test_it_waits_for_a_controller_that_is_not_there_yet(node, peer, until):
    token = node.token()
    peer.stop()
    agent = node.agent(token=token)
    logged(agent, until, "CONTROLLER_AWAY")
    peer.start()
    peer.wait_for(wire.Hello)
    assert agent.output.count("CONTROLLER_AWAY") == 1


def test_an_expired_certificate_is_named_and_the_node_stays_as_it_is(node, peer, until):
    holding_agent(node, peer)
    _certify_until(node, datetime.now(UTC) - timedelta(seconds=1))
    peer.heard.clear()
    agent = node.agent()
    assert "hint" in logged(agent, until, "CERTIFICATE_EXPIRED")
    until(lambda: "adopted" in agent.output)
    node.inside("vpc/t/n", "ip", "route", "del", "blackhole", "10.1.0.0/24")
    until(lambda: "10.1.0.0/24" in node.inside("vpc/t/n", "ip", "route", "show"), 5)
    agent.end()
    assert peer.heard == []
    # A new token brings it back; what it holds is adopted.
    node.agent(token=node.token())
    assert peer.wait_for(wire.Hello).have.keys() == {PART.id}


def test_an_expired_certificate_without_a_program_ends_the_agent(node, peer):
    node.joined().end()
    _certify_until(node, datetime.now(UTC) - timedelta(seconds=1))
    agent = node.agent()
    assert agent.process.wait(30) == 1
    assert "CERTIFICATE_EXPIRED" in agent.output
    assert "suanwang agent --token" in agent.output


def test_a_certificate_that_the_controller_finds_expired(node, peer, until):
    """The node's clock is late: it believes in its certificate, the controller does not."""
    peer.authority._agent_life_s = -1
    first = node.agent(token=node.token())
    until(lambda: " enrolled " in first.output)
    first.end()
    _certify_until(node, datetime.now(UTC) + timedelta(days=1))
    agent = node.agent()
    line = logged(agent, until, "CONTROLLER_AWAY")
    assert "hung up before it answered" in line
    assert "is this node's clock right?" in line
    assert peer.heard == []


def test_another_controller_at_the_same_address_is_not_listened_to(node, peer, until, tmp_path):
    holding_agent(node, peer)
    other = type(peer)(tmp_path / "impostor")
    try:
        peer.context.load_cert_chain(tmp_path / "impostor" / "authority" / "server.pem")
        peer.heard.clear()
        agent = node.agent()
        logged(agent, until, "WRONG_CONTROLLER")
        until(lambda: "adopted" in agent.output)
        assert peer.heard == []
        assert node.made() == [node.namespace("vpc/t/n")]
    finally:
        other.close()


def test_a_revoked_node_is_told_so(node, peer, until):
    agent = node.joined()
    peer.do(peer.sockets[-1].close(code=4003))
    until(lambda: "connection-failed" in agent.output)
    assert "code=NOT_ADMITTED" in agent.output
    assert "revoked" in agent.output


def test_a_program_from_disk_that_another_release_wrote_is_left_alone(node, peer, until):
    holding_agent(node, peer)
    log = (node.state / "program.log").read_bytes()
    payload = log.partition(b"\n")[2][:-1].replace(b'"type":"route"', b'"type":"later"')
    (node.state / "program.log").write_bytes(b"%d %08x\n%b\n" % (len(payload), zlib.crc32(payload), payload))
    peer.heard.clear()
    agent = node.agent()
    assert peer.wait_for(wire.Hello).have == {}
    assert "held-program-unusable" in agent.output
    assert "10.1.0.0/24" in node.inside("vpc/t/n", "ip", "route", "show")
    peer.applied(peer.publish(2, PART))


def _certify_until(node, end):
    """Change what the node believes of its certificate's end."""
    path = node.state / "certificate.pem"
    text = path.read_text()
    path.write_text(re.sub(r"(valid: \S+) \S+", rf"\1 {end.isoformat()}", text, count=1))
