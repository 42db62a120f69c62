"""Certificates and secrets: what is issued, to whom, once; what is refused; what lies on the disk."""

from __future__ import annotations

import http.client
import ssl
import stat
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from suanwang.controller.authority import Authority, pem_fingerprint, write_file
from suanwang.controller.credentials import Credentials
from suanwang.model.errors import SuanwangError

from .conftest import Running, save_certificate, signing_request

DAY_S = 86_400.0


class Clock:
    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def credentials(tmp_path: Path, clock: Clock) -> Iterator[Credentials]:
    made = Credentials(tmp_path / "secrets.db", clock)
    yield made
    made.close()


@pytest.fixture
def authority(tmp_path: Path, credentials: Credentials, clock: Clock) -> Authority:
    return Authority(tmp_path, credentials, clock=clock)


def secret_of(token: str) -> str:
    return token.rsplit(".", 2)[1]


def der(pem: str) -> bytes:
    return ssl.PEM_cert_to_DER_cert(pem)


def test_an_agents_certificate_is_for_its_node_alone_whatever_it_asked_for(authority: Authority) -> None:
    _, csr = signing_request()
    issued = authority.enrol("h.1", secret_of(authority.enrolment_token("h.1")), csr)
    certificate = x509.load_pem_x509_certificate(issued.certificate.encode())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    uses = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == ["suanwang://node/h.1"]
    assert list(uses) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert b"another-node" not in issued.certificate.encode()
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(issued.ca.encode()))
    assert authority.node_of(der(issued.certificate))[0] == "h.1"


def test_the_token_pins_the_authority(authority: Authority) -> None:
    node, secret, fingerprint = authority.enrolment_token("a.b.c").rsplit(".", 2)
    assert node == "a.b.c"
    assert secret.startswith("swe_")
    assert fingerprint == pem_fingerprint(authority.ca_pem)


def test_a_restart_keeps_the_authority(authority: Authority, tmp_path: Path, credentials: Credentials) -> None:
    assert Authority(tmp_path, credentials).ca_pem == authority.ca_pem


def test_an_enrolment_token_works_once(authority: Authority) -> None:
    secret = secret_of(authority.enrolment_token("h1"))
    _, csr = signing_request()
    authority.enrol("h1", secret, csr)
    with pytest.raises(SuanwangError) as refused:
        authority.enrol("h1", secret, csr)
    assert refused.value.code == "BAD_ENROLMENT"
    assert secret not in str(refused.value)


def test_of_many_that_race_with_one_token_one_wins(authority: Authority, tmp_path: Path) -> None:
    secret = secret_of(authority.enrolment_token("h1"))
    requests = [signing_request()[1] for _ in range(16)]
    # Two authorities with connections of their own, as two processes would have.
    other_credentials = Credentials(tmp_path / "secrets.db")
    other = Authority(tmp_path, other_credentials)
    gate = threading.Barrier(16)

    def enrol(index: int) -> str:
        gate.wait()
        try:
            (other if index % 2 else authority).enrol("h1", secret, requests[index])
        except SuanwangError as problem:
            return problem.code
        return ""

    with ThreadPoolExecutor(16) as pool:
        codes = sorted(pool.map(enrol, range(16)))
    other_credentials.close()
    assert codes == ["", *["BAD_ENROLMENT"] * 15]


def test_an_enrolment_token_is_bound_to_its_node_and_its_time(authority: Authority, clock: Clock) -> None:
    _, csr = signing_request()
    secret = secret_of(authority.enrolment_token("h1", ttl_s=60))
    with pytest.raises(SuanwangError, match="h2"):
        authority.enrol("h2", secret, csr)
    clock.now += 61
    with pytest.raises(SuanwangError):
        authority.enrol("h1", secret, csr)


def test_a_request_that_can_not_be_read_does_not_spend_the_token(authority: Authority) -> None:
    secret = secret_of(authority.enrolment_token("h1"))
    for bad in (
        "",
        "nonsense",
        "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----",
        "x" * 20000,
    ):
        with pytest.raises(SuanwangError) as refused:
            authority.enrol("h1", secret, bad)
        assert refused.value.code == "BAD_CSR"
    authority.enrol("h1", secret, signing_request()[1])


def test_weak_and_unknown_keys_are_refused(authority: Authority) -> None:
    for key in (rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP224R1())):
        with pytest.raises(SuanwangError) as refused:
            authority.enrol("h1", secret_of(authority.enrolment_token("h1")), signing_request(key)[1])
        assert refused.value.code == "BAD_CSR"
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    request = builder.sign(ed25519.Ed25519PrivateKey.generate(), None).public_bytes(serialization.Encoding.PEM)
    authority.enrol("h1", secret_of(authority.enrolment_token("h1")), request.decode())


def test_a_request_with_a_wrong_signature_is_refused(authority: Authority) -> None:
    _, csr = signing_request()
    raw = bytearray(x509.load_pem_x509_csr(csr.encode()).public_bytes(serialization.Encoding.DER))
    raw[-1] ^= 1
    forged = x509.load_der_x509_csr(bytes(raw)).public_bytes(serialization.Encoding.PEM).decode()
    with pytest.raises(SuanwangError) as refused:
        authority.enrol("h1", secret_of(authority.enrolment_token("h1")), forged)
    assert refused.value.code == "BAD_CSR"


def test_enrolling_again_revokes_what_was_there(authority: Authority) -> None:
    def enrol() -> bytes:
        return der(authority.enrol("h1", secret_of(authority.enrolment_token("h1")), signing_request()[1]).certificate)

    first, second = enrol(), enrol()
    assert authority.node_of(second)[0] == "h1"
    with pytest.raises(SuanwangError) as refused:
        authority.node_of(first)
    assert refused.value.code == "REVOKED"


def test_renewal_keeps_the_old_certificate_until_the_new_one_is_used(
    authority: Authority, credentials: Credentials
) -> None:
    first = authority.enrol("h1", secret_of(authority.enrolment_token("h1")), signing_request()[1])
    _, serial = authority.node_of(der(first.certificate))
    second = authority.renew("h1", serial, signing_request()[1])
    assert authority.node_of(der(first.certificate))[0] == "h1"
    _, newer = authority.node_of(der(second.certificate))
    assert credentials.used(newer) == [serial]
    with pytest.raises(SuanwangError):
        authority.node_of(der(first.certificate))
    with pytest.raises(SuanwangError) as refused:
        authority.renew("h1", serial, signing_request()[1])
    assert refused.value.code == "REVOKED"


def test_revocation_ends_certificates_and_tokens(authority: Authority, credentials: Credentials) -> None:
    issued = authority.enrol("h1", secret_of(authority.enrolment_token("h1")), signing_request()[1])
    waiting = secret_of(authority.enrolment_token("h1"))
    assert credentials.enrolled() == {"h1"}
    credentials.revoke("h1")
    assert credentials.enrolled() == set()
    with pytest.raises(SuanwangError):
        authority.node_of(der(issued.certificate))
    with pytest.raises(SuanwangError):
        authority.enrol("h1", waiting, signing_request()[1])


def test_certificates_end(authority: Authority, clock: Clock, credentials: Credentials) -> None:
    issued = authority.enrol("h1", secret_of(authority.enrolment_token("h1")), signing_request()[1])
    clock.now += 29 * DAY_S
    assert authority.node_of(der(issued.certificate))[0] == "h1"
    clock.now += 2 * DAY_S
    with pytest.raises(SuanwangError):
        authority.node_of(der(issued.certificate))
    credentials.forget_expired()
    assert credentials.enrolled() == set()


def test_a_certificate_that_was_never_entered_is_refused(authority: Authority, tmp_path: Path) -> None:
    """A copy of the authority's key alone does not let anyone in."""
    elsewhere = Credentials(tmp_path / "other.db")
    forger = Authority(tmp_path, elsewhere)
    forged = forger.enrol("h1", secret_of(forger.enrolment_token("h1")), signing_request()[1])
    elsewhere.close()
    with pytest.raises(SuanwangError) as refused:
        authority.node_of(der(forged.certificate))
    assert refused.value.code == "REVOKED"


def test_the_servers_certificate_is_made_anew_for_other_names_and_before_it_ends(
    authority: Authority, clock: Clock
) -> None:
    assert authority.refresh_server(["controller.example"])
    assert not authority.refresh_server(["controller.example", "localhost"])
    assert authority.refresh_server(["192.0.2.7"])
    clock.now += 360 * DAY_S
    assert not authority.refresh_server(["192.0.2.7"])
    clock.now += 10 * DAY_S
    assert authority.refresh_server(["192.0.2.7"])


def test_files_are_closed_to_others_and_hold_no_token(running: Running) -> None:
    enrolment = running.call("POST", "/v1/enrolment-tokens", {"node": "h1"}).json["token"]
    token = running.token("on-disk", "viewer", ["red"])
    directory = running.directory
    modes = {path.relative_to(directory).as_posix(): stat.S_IMODE(path.stat().st_mode) for path in directory.rglob("*")}
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert modes["authority"] == 0o700
    for name in ("admin.token", "secrets.db", "authority/ca.key", "authority/server.pem", "server.json", "store.db"):
        assert modes[name] == 0o600, name
    for path in (one for one in directory.rglob("*") if one.is_file()):
        content = path.read_bytes()
        assert secret_of(enrolment).encode() not in content, path
        assert token.encode() not in content, path
        assert running.admin_token.encode() not in content or path.name == "admin.token", path


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_file(path, b"old", 0o600)
    write_file(path, b"new", 0o644)
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert [one.name for one in tmp_path.iterdir()] == ["file"]


# Over TLS


def renewal(running: Running, certificate: tuple[Path, Path]) -> int:
    context = running.tls(certificate)
    return running.call("POST", "/v1/renew", {"csr": signing_request()[1]}, token="", context=context).status


def test_the_server_shows_its_authority_in_the_handshake(running: Running) -> None:
    assert running.call("GET", "/v1/ca", token="").body.decode() == (running.directory / "ca.pem").read_text()
    with http_connection(running, running.tls()) as connection:
        assert connection.version() == "TLSv1.3"
        chain = connection._sslobj.get_unverified_chain()  # type: ignore[attr-defined]
        assert (running.directory / "ca.pem").read_text() in [part.public_bytes() for part in chain]


class http_connection:  # noqa: N801
    def __init__(self, running: Running, context: ssl.SSLContext) -> None:
        self._connection = http.client.HTTPSConnection("127.0.0.1", running.port, context=context, timeout=10)

    def __enter__(self) -> ssl.SSLSocket:
        self._connection.connect()
        sock = self._connection.sock
        assert isinstance(sock, ssl.SSLSocket)
        return sock

    def __exit__(self, *exception: object) -> None:
        self._connection.close()


def test_older_tls_is_refused(running: Running) -> None:
    context = running.tls()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError), http_connection(running, context):
        pass


def test_enrolment_and_renewal_over_http(running: Running, tmp_path: Path) -> None:
    certificate = running.enrol("h1", tmp_path)
    key, csr = signing_request()
    renewed = running.call("POST", "/v1/renew", {"csr": csr}, token="", context=running.tls(certificate))
    assert renewed.status == 200
    assert renewal(running, save_certificate(tmp_path / "next", renewed.json["certificate"], key)) == 200


def test_a_spent_token_is_refused_over_http_and_not_repeated_in_the_answer(running: Running) -> None:
    token = running.call("POST", "/v1/enrolment-tokens", {"node": "h2"}).json["token"]
    body = {"node": "h2", "token": secret_of(token), "csr": signing_request()[1]}
    assert running.call("POST", "/v1/enrol", body, token="").status == 200
    again = running.call("POST", "/v1/enrol", body, token="")
    assert (again.status, again.code) == (403, "BAD_ENROLMENT")
    assert secret_of(token).encode() not in again.body


def test_enrolment_tokens_are_for_nodes_that_exist(running: Running) -> None:
    refused = running.call("POST", "/v1/enrolment-tokens", {"node": "no-such-node"})
    assert (refused.status, refused.code) == (404, "NOT_FOUND")


def test_a_revoked_certificate_is_refused(running: Running, tmp_path: Path) -> None:
    first = running.enrol("h1", tmp_path)
    assert renewal(running, first) == 200
    running.enrol("h1", tmp_path)
    assert renewal(running, first) == 403


def refused_by_tls(running: Running, certificate: tuple[Path, Path]) -> bool:
    try:
        return renewal(running, certificate) in (401, 403)
    except (ssl.SSLError, ConnectionError, http.client.RemoteDisconnected):
        # With TLS 1.3 the client learns of the refusal when it first reads.
        return True


def test_an_expired_certificate_is_refused(running: Running, tmp_path: Path) -> None:
    assert running.server.services is not None
    credentials = running.server.services.credentials
    past = Authority(running.directory, credentials, clock=lambda: time.time() - 60 * DAY_S)
    key, csr = signing_request()
    issued = past.enrol("h1", secret_of(past.enrolment_token("h1")), csr)
    assert refused_by_tls(running, save_certificate(tmp_path / "old", issued.certificate, key))


def test_a_certificate_of_another_authority_is_refused(running: Running, tmp_path: Path) -> None:
    credentials = Credentials(tmp_path / "secrets.db")
    other = Authority(tmp_path, credentials)
    key, csr = signing_request()
    issued = other.enrol("h1", secret_of(other.enrolment_token("h1")), csr)
    credentials.close()
    assert refused_by_tls(running, save_certificate(tmp_path / "other", issued.certificate, key))


def test_the_servers_own_certificate_is_no_agents(running: Running) -> None:
    path = running.directory / "authority" / "server.pem"
    assert refused_by_tls(running, (path, path))


def test_a_deleted_nodes_certificate_is_void_also_when_the_node_comes_back(fresh: Running, tmp_path: Path) -> None:
    from .conftest import infrastructure

    nodes = infrastructure()
    fresh.apply(*nodes)
    certificate = fresh.enrol("h1", tmp_path)
    assert renewal(fresh, certificate) == 200
    assert fresh.call("DELETE", "/v1/resources/Node/-/h1").status == 200
    assert renewal(fresh, certificate) == 403
    fresh.apply(*nodes)
    assert renewal(fresh, certificate) == 403


def test_signatures_use_sha256(authority: Authority) -> None:
    certificate = x509.load_pem_x509_certificate(authority.ca_pem.encode())
    assert isinstance(certificate.signature_hash_algorithm, hashes.SHA256)
