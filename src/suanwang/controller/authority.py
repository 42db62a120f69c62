"""The controller's small certificate authority: one key, one purpose, its own servers and agents.

Nodes trust this authority and no other for the controller, and the controller trusts it for nodes. A certificate's node
stands in a URI name, `suanwang://node/NAME` (RFC 5280 4.2.1.6); nothing is ever read from a request's subject.
Certificates of agents live briefly and are renewed over the connection they secure; only serials that were entered in
`Credentials` are accepted, so a revoked or forged one is refused even while its date is good.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import ipaddress
import os
import secrets
import shutil
import ssl
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from suanwang.controller.credentials import Credentials
from suanwang.model.errors import SuanwangError, code

BAD_REQUEST_CERTIFICATE = code("BAD_CSR", "the certificate signing request can't be read or its key is not accepted")
REVOKED = code("REVOKED", "the agent's certificate is unknown or revoked")

AUTHORITY_LIFE_S = 10 * 365 * 86_400
SERVER_LIFE_S = 397 * 86_400
"""The longest that browsers accept (CA/Browser Forum baseline requirements, 6.3.2)."""
SERVER_RENEWAL_S = 30 * 86_400
AGENT_LIFE_S = 30 * 86_400
ENROLMENT_LIFE_S = 3600
CLOCK_SKEW_S = 300
"""Certificates begin this much in the past, for machines whose clocks are late."""
LARGEST_CSR_BYTES = 16_384

_NODE_URI = "suanwang://node/"
_ALWAYS = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class Issued:
    """What an agent gets: its certificate and the authority's, as PEM text."""

    certificate: str
    ca: str


class Authority:
    """Issues and checks certificates. Its key lies in `directory/authority`, readable by its owner only."""

    def __init__(
        self,
        directory: Path,
        credentials: Credentials,
        *,
        agent_life_s: float = AGENT_LIFE_S,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._directory = directory / "authority"
        self._credentials = credentials
        self._agent_life_s = agent_life_s
        self._clock = clock
        if not self._directory.exists():
            self._create(directory)
        key = serialization.load_pem_private_key((self._directory / "ca.key").read_bytes(), None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise TypeError("the authority's key is not an elliptic-curve key")
        self._key = key
        self._certificate = x509.load_pem_x509_certificate((self._directory / "ca.pem").read_bytes())
        self.ca_pem = self._certificate.public_bytes(serialization.Encoding.PEM).decode()
        """The authority's certificate, which is public."""
        self.fingerprint = self._certificate.fingerprint(hashes.SHA256()).hex()
        """SHA-256 of that certificate (DER), in hexadecimal: what an enrolment token pins."""
        write_file(directory / "ca.pem", self.ca_pem.encode(), 0o644)

    def _create(self, directory: Path) -> None:
        # Key and certificate appear together or not at all: they are made in a folder that is then renamed.
        new = directory / f".authority-{secrets.token_hex(8)}"
        new.mkdir(mode=0o700)
        try:
            key = ec.generate_private_key(ec.SECP256R1())
            name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Suanwang authority {secrets.token_hex(4)}")])
            usage = _usage(key_cert_sign=True, crl_sign=True)
            certificate = (
                self._builder(name, name, key.public_key(), key.public_key(), AUTHORITY_LIFE_S)
                .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
                .add_extension(usage, critical=True)
                .sign(key, hashes.SHA256())
            )
            write_file(new / "ca.key", _key_pem(key), 0o600)
            write_file(new / "ca.pem", certificate.public_bytes(serialization.Encoding.PEM), 0o644)
            new.rename(self._directory)
            _sync_folder(directory)
        except BaseException:
            shutil.rmtree(new, ignore_errors=True)
            raise

    # The server's own certificate

    def server_context(self, names: Iterable[str]) -> ssl.SSLContext:
        """A TLS context for the controller, valid for `names` and this machine's own; clients may present
        certificates."""
        self.refresh_server(names)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_verify_locations(cadata=self.ca_pem)
        # Users come with tokens and without certificates; the handlers for agents insist on one.
        context.verify_mode = ssl.CERT_OPTIONAL
        context.set_alpn_protocols(["http/1.1"])
        self.load_server(context)
        return context

    def load_server(self, context: ssl.SSLContext) -> None:
        """Let new connections on `context` use the server certificate as it is on disk now."""
        context.load_cert_chain(self._directory / "server.pem")

    def refresh_server(self, names: Iterable[str]) -> bool:
        """Make a server certificate when there is none, or it ends soon, or it is for other names; True if one was
        made."""
        wanted = sorted({*names, *_ALWAYS})
        path = self._directory / "server.pem"
        if path.exists():
            present = x509.load_pem_x509_certificate(path.read_bytes())
            days_left = present.not_valid_after_utc.timestamp() - self._clock()
            if days_left > SERVER_RENEWAL_S and sorted(_server_names(present)) == wanted:
                return False
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Suanwang controller")])
        certificate = (
            self._builder(subject, self._certificate.subject, key.public_key(), self._key.public_key(), SERVER_LIFE_S)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(digital_signature=True), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in wanted]), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        pem = certificate.public_bytes(serialization.Encoding.PEM)
        write_file(path, pem + self.ca_pem.encode() + _key_pem(key), 0o600)
        return True

    # Agents' certificates

    def enrolment_token(self, node: str, ttl_s: float = ENROLMENT_LIFE_S) -> str:
        """A one-time token `NODE.SECRET.FINGERPRINT`: whoever has it may become the node, and knows this authority."""
        return f"{node}.{self._credentials.add_enrolment(node, ttl_s)}.{self.fingerprint}"

    def enrol(self, node: str, secret: str, csr_pem: str) -> Issued:
        """A certificate for `node` in exchange for an enrolment secret. Raises BAD_CSR or BAD_ENROLMENT.

        The request is checked first, so that one that can't be read does not spend the token.
        """
        certificate = self._issue(node, csr_pem)
        self._credentials.enrol(node, secret, *_entry(certificate))
        return self._issued(certificate)

    def renew(self, node: str, present_serial: str, csr_pem: str) -> Issued:
        """A fresh certificate for the node that holds `present_serial`. Raises BAD_CSR or REVOKED."""
        certificate = self._issue(node, csr_pem)
        if not self._credentials.renew(node, present_serial, *_entry(certificate)):
            raise SuanwangError(REVOKED, "the certificate is not valid any more", "enrol the node again")
        return self._issued(certificate)

    def node_of(self, der: bytes) -> tuple[str, str]:
        """(node, serial) of a certificate that TLS has verified. Raises REVOKED unless it is an agent's, entered and
        valid."""
        certificate = x509.load_der_x509_certificate(der)
        serial = f"{certificate.serial_number:x}"
        named = _node_name(certificate)
        now = self._clock()
        in_time = certificate.not_valid_before_utc.timestamp() <= now < certificate.not_valid_after_utc.timestamp()
        if not named or not in_time or self._credentials.node_of(serial) != named:
            raise SuanwangError(REVOKED, "the certificate is unknown, expired or revoked", "enrol the node again")
        return named, serial

    def _issue(self, node: str, csr_pem: str) -> x509.Certificate:
        public_key = _public_key(csr_pem)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, node[:64])])
        uri = x509.UniformResourceIdentifier(_NODE_URI + node)
        return (
            self._builder(subject, self._certificate.subject, public_key, self._key.public_key(), self._agent_life_s)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(digital_signature=True), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
            .add_extension(x509.SubjectAlternativeName([uri]), critical=False)
            .sign(self._key, hashes.SHA256())
        )

    def _issued(self, certificate: x509.Certificate) -> Issued:
        return Issued(certificate.public_bytes(serialization.Encoding.PEM).decode(), self.ca_pem)

    def _builder(
        self,
        subject: x509.Name,
        issuer: x509.Name,
        public_key: _PublicKey,
        issuer_key: ec.EllipticCurvePublicKey,
        life_s: float,
    ) -> x509.CertificateBuilder:
        now = datetime.datetime.fromtimestamp(int(self._clock()), datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(seconds=CLOCK_SKEW_S))
            .not_valid_after(now + datetime.timedelta(seconds=life_s))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), critical=False)
        )


_PublicKey = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey


def _public_key(csr_pem: str) -> _PublicKey:
    """The key of a signing request whose signature proves that the asker holds it. Raises BAD_CSR."""
    hint = "send a PEM request with an EC P-256 key"
    if len(csr_pem) > LARGEST_CSR_BYTES:
        raise SuanwangError(BAD_REQUEST_CERTIFICATE, "the signing request is too large", hint)
    try:
        request = x509.load_pem_x509_csr(csr_pem.encode())
        valid = request.is_signature_valid
        key = request.public_key()
    except (ValueError, UnsupportedAlgorithm, InvalidSignature, TypeError):
        raise SuanwangError(BAD_REQUEST_CERTIFICATE, "the signing request can't be read", hint) from None
    if not valid:
        raise SuanwangError(BAD_REQUEST_CERTIFICATE, "the signing request's signature is wrong", hint)
    if isinstance(key, ed25519.Ed25519PublicKey):
        return key
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, (ec.SECP256R1, ec.SECP384R1)):
        return key
    raise SuanwangError(BAD_REQUEST_CERTIFICATE, "keys of that kind are not accepted", hint)


def _entry(certificate: x509.Certificate) -> tuple[str, float]:
    return f"{certificate.serial_number:x}", certificate.not_valid_after_utc.timestamp()


def _node_name(certificate: x509.Certificate) -> str:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uses = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return ""
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    if len(uris) != 1 or list(uses) != [ExtendedKeyUsageOID.CLIENT_AUTH]:
        return ""
    parts = urlsplit(uris[0])
    return parts.path.lstrip("/") if uris[0].startswith(_NODE_URI) else ""


def _server_names(certificate: x509.Certificate) -> list[str]:
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    addresses = names.get_values_for_type(x509.IPAddress)
    return [*names.get_values_for_type(x509.DNSName), *map(str, addresses)]


def _general_name(name: str) -> x509.GeneralName:
    with contextlib.suppress(ValueError):
        return x509.IPAddress(ipaddress.ip_address(name))
    return x509.DNSName(name)


def _usage(*, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def pem_fingerprint(pem: str) -> str:
    """SHA-256 of a PEM certificate's DER form, in hexadecimal."""
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()


def write_file(path: Path, content: bytes, mode: int) -> None:
    """Replace a file at once, with `mode` from its first moment; it survives a crash whole, old or new."""
    new = path.with_name(f".{path.name}-{secrets.token_hex(8)}")
    descriptor = os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode)
    try:
        os.fchmod(descriptor, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
        _sync_folder(path.parent)
    except BaseException:
        new.unlink(missing_ok=True)
        raise


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
