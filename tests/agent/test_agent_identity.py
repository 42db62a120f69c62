"""Who the node is: enrolment against pinned authorities, certificates, and what becomes of bad ones."""

from __future__ import annotations

import hashlib
import ssl
from datetime import UTC, datetime, timedelta

import pytest

from suanwang.agent.identity import Certificate, Endpoint, Identity, JoinToken
from suanwang.agent.state import StateDirectory
from suanwang.model.errors import SuanwangError


@pytest.fixture
def identity(tmp_path):
    state = StateDirectory(tmp_path / "state")
    yield Identity(state)
    state.close()


def refused(call, *arguments):
    with pytest.raises(SuanwangError) as caught:
        call(*arguments)
    return caught.value


@pytest.mark.parametrize("text", ["", "a.b", "a.b.c", "..", f"n.s.{'0' * 63}", f".s.{'0' * 64}"])
def test_malformed_tokens_are_refused_without_being_shown(text):
    problem = refused(JoinToken.parse, text)
    assert problem.code == "JOIN_TOKEN_INVALID"
    assert not text or text not in str(problem).replace("NODE.SECRET.SHA256", "")


def test_a_node_name_may_hold_dots_and_a_token_does_not_show_its_secret():
    token = JoinToken.parse(f"h1.region.example.s3cret.{'a' * 64}")
    assert (token.node, token.secret) == ("h1.region.example", "s3cret")
    assert "s3cret" not in repr(token)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://10.0.0.1:7443", "10.0.0.1:7443"),
        ("controller.example", "controller.example:7443"),
        ("https://[fd00::1]:9", "[fd00::1]:9"),
    ],
)
def test_controller_addresses(url, expected):
    assert str(Endpoint.parse(url)) == expected


def test_enrolment_keeps_the_key_and_pins_the_authority(identity, peer):
    token = JoinToken.parse(peer.authority.enrolment_token("h1"))
    certificate = identity.enrol(Endpoint.parse(peer.url), token)
    assert certificate == identity.certificate()
    assert certificate.node == "h1"
    der = ssl.PEM_cert_to_DER_cert(identity.ca_path.read_text())
    assert hashlib.sha256(der).hexdigest() == token.ca_sha256
    key = identity.key_path.read_bytes()
    renewed = identity.renew(Endpoint.parse(peer.url), "h1")
    assert renewed.not_after >= certificate.not_after
    assert identity.key_path.read_bytes() == key
    # Without the two lines at its head the certificate itself is read.
    pem = identity.certificate_path.read_bytes()
    identity.certificate_path.write_bytes(pem[pem.index(b"-----BEGIN") :])
    assert identity.certificate() == renewed


def test_files_that_do_not_fit_are_named(identity, peer):
    identity.enrol(Endpoint.parse(peer.url), JoinToken.parse(peer.authority.enrolment_token("h1")))
    identity.context()
    for path in (identity.key_path, identity.ca_path):
        content = path.read_bytes()
        path.write_bytes(b"nothing")
        assert refused(identity.context).code == "NOT_ENROLLED"
        path.unlink()
        assert refused(identity.context).code == "NOT_ENROLLED"
        path.write_bytes(content)


def test_another_authority_never_gets_the_secret(identity, peer, tmp_path):
    token = JoinToken(node="h1", secret="s3cret", ca_sha256="0" * 64)
    problem = refused(identity.enrol, Endpoint.parse(peer.url), token)
    assert problem.code == "WRONG_CONTROLLER"
    assert peer.enrolments == []
    assert not identity.certificate_path.exists()


def test_a_server_that_only_shows_the_right_authority_gets_nothing(identity, peer, tmp_path):
    """An impostor can copy the authority's certificate into its chain, but not sign with its key."""
    other = type(peer)(tmp_path / "impostor")
    try:
        chain = (tmp_path / "impostor" / "authority" / "server.pem").read_text()
        forged = tmp_path / "forged.pem"
        forged.write_text(chain + peer.authority.ca_pem)
        other.context.load_cert_chain(forged)
        token = JoinToken.parse(peer.authority.enrolment_token("h1"))
        problem = refused(identity.enrol, Endpoint.parse(other.url), token)
        assert problem.code == "WRONG_CONTROLLER"
        assert other.enrolments == []
        assert token.secret not in str(problem)
    finally:
        other.close()


def test_the_servers_name_is_checked(identity, peer):
    token = JoinToken.parse(peer.authority.enrolment_token("h1"))
    problem = refused(identity.enrol, Endpoint("127.0.0.2", peer.port), token)
    # Nothing listens on that address; were it the same server, its name would be wrong.
    assert problem.code in ("CONTROLLER_AWAY", "WRONG_CONTROLLER")


def test_a_refusal_that_quotes_the_secret_is_cleaned(identity, peer):
    spent = JoinToken.parse(peer.authority.enrolment_token("h1"))
    identity.enrol(Endpoint.parse(peer.url), spent)
    problem = refused(identity.enrol, Endpoint.parse(peer.url), spent)
    assert problem.code == "ENROLMENT_REFUSED"
    assert spent.secret not in str(problem)
    assert "token …" in problem.message


def test_nobody_there(identity, peer):
    token = JoinToken(node="h1", secret="s3cret", ca_sha256="0" * 64)
    port = peer.port
    peer.stop()
    assert refused(identity.enrol, Endpoint("127.0.0.1", port), token).code == "CONTROLLER_AWAY"
    peer.start()


def test_a_certificate_past_its_end_says_what_to_do():
    now = datetime(2030, 1, 1, tzinfo=UTC)
    certificate = Certificate("h1", now - timedelta(days=9), now)
    assert certificate.renew_at == now - timedelta(days=3)
    certificate.check(now - timedelta(seconds=1))
    problem = refused(certificate.check, now)
    assert problem.code == "CERTIFICATE_EXPIRED"
    assert "suanwang agent --token" in problem.hint


def test_two_users_of_one_state_directory(tmp_path):
    first = StateDirectory(tmp_path / "state")
    assert refused(StateDirectory, tmp_path / "state").code == "STATE_IN_USE"
    first.close()
    StateDirectory(tmp_path / "state").close()


def test_a_state_directory_that_can_not_be(tmp_path):
    (tmp_path / "file").write_text("")
    assert refused(StateDirectory, tmp_path / "file" / "state").code == "STATE_DIRECTORY"
