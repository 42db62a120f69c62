"""Who this node is: its private key, its certificate, and the controller's CA that it trusts.

The key is made here and never leaves. A join token, `node.secret.casha256`, lets a node in once: the last part pins
the CA (SHA-256 of its DER form), so the secret is only sent to a server whose certificate verifies under exactly
that CA. Afterwards the certificate speaks for the node, and is renewed over mutual TLS before it ends.

Files: `key.pem` (0600), `certificate.pem` (headed by two readable lines, which PEM readers skip: the node and the
end of validity; they spare the start a parser), `ca.pem`, `token.sha256` (by which a used token is known again).
"""

from __future__ import annotations

import hashlib
import http.client
import json
import re
import ssl
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from suanwang.agent.state import StateDirectory
from suanwang.model.errors import SuanwangError, code

if TYPE_CHECKING:
    from cryptography import x509

JOIN_TOKEN_INVALID = code("JOIN_TOKEN_INVALID", "a join token is malformed or is for another node")
NOT_ENROLLED = code("NOT_ENROLLED", "the node has no certificate of this controller yet")
ENROLMENT_REFUSED = code("ENROLMENT_REFUSED", "the controller refused to give the node a certificate")
WRONG_CONTROLLER = code("WRONG_CONTROLLER", "the server that answered is not the controller that was asked for")
CONTROLLER_AWAY = code("CONTROLLER_AWAY", "the controller can't be reached")
CERTIFICATE_EXPIRED = code("CERTIFICATE_EXPIRED", "the node's certificate is past its end")

ENROL_AGAIN = "make a join token on the controller and start the agent with it: suanwang agent --token TOKEN"
_NODE_URI = "suanwang://node/"
_TIMEOUT_S = 10.0
_ANSWER_LIMIT_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class JoinToken:
    """A one-time token for one node. `secret` is never shown; `ca_sha256` is 64 hexadecimal digits."""

    node: str
    secret: str = field(repr=False)
    ca_sha256: str

    @property
    def digest(self) -> bytes:
        """By which it is known again, without being kept: SHA-256 of the whole, in hexadecimal."""
        whole = f"{self.node}.{self.secret}.{self.ca_sha256}"
        return hashlib.sha256(whole.encode()).hexdigest().encode()

    @classmethod
    def parse(cls, text: str) -> JoinToken:
        """Read `node.secret.casha256`. Raises JOIN_TOKEN_INVALID (without the text: it may hold a secret)."""
        parts = text.strip().rsplit(".", 2)
        if len(parts) != 3 or not all(parts) or not re.fullmatch(r"[0-9a-f]{64}", parts[2]):
            hint = "give the token exactly as the controller printed it: NODE.SECRET.SHA256"
            raise SuanwangError(JOIN_TOKEN_INVALID, "the join token is malformed", hint)
        return cls(*parts)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the controller listens."""

    host: str
    port: int

    @classmethod
    def parse(cls, url: str) -> Endpoint:
        """Read `https://HOST:PORT`, or `HOST:PORT`; the port is 7443 by default."""
        parts = urlsplit(url if "//" in url else f"https://{url}")
        if parts.scheme not in ("https", "wss") or not parts.hostname:
            raise SuanwangError(CONTROLLER_AWAY, f"{url!r} is no controller address", "give https://HOST:PORT")
        return cls(parts.hostname, parts.port or 7443)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Certificate:
    """What the agent needs to know of its certificate. Times are aware, UTC."""

    node: str
    not_before: datetime
    not_after: datetime

    @property
    def renew_at(self) -> datetime:
        """Two thirds of its life: leaves a third for a controller that is away."""
        return self.not_before + (self.not_after - self.not_before) * 2 / 3

    def check(self, now: datetime) -> None:
        """Raises CERTIFICATE_EXPIRED."""
        if now >= self.not_after:
            message = f"the certificate of node {self.node} ended at {self.not_after:%Y-%m-%dT%H:%M:%SZ}"
            raise SuanwangError(CERTIFICATE_EXPIRED, message, ENROL_AGAIN)


class Identity:
    """The node's key and certificate in its state directory."""

    def __init__(self, state: StateDirectory) -> None:
        self.state = state

    @property
    def key_path(self) -> Path:
        """The private key, PEM."""
        return self.state.path / "key.pem"

    @property
    def certificate_path(self) -> Path:
        """The certificate, PEM."""
        return self.state.path / "certificate.pem"

    @property
    def ca_path(self) -> Path:
        """The controller's CA, PEM."""
        return self.state.path / "ca.pem"

    def certificate(self) -> Certificate | None:
        """The certificate that is there. None: not enrolled."""
        content = self.state.read("certificate.pem")
        if content is None:
            return None
        head = re.match(rb"node: (\S+)\nvalid: (\S+) (\S+)\n", content)
        if head is None:  # put there by other hands
            return self._parsed(content)
        node, start, end = (part.decode() for part in head.groups())
        return Certificate(node, datetime.fromisoformat(start), datetime.fromisoformat(end))

    def context(self) -> ssl.SSLContext:
        """TLS towards the controller: trusts the pinned CA only, checks the server's name, shows our certificate.

        Raises NOT_ENROLLED when a file is missing or doesn't fit the others.
        """
        try:
            context = _context(cafile=str(self.ca_path))
            context.load_cert_chain(self.certificate_path, self.key_path)
        except OSError as problem:
            message = f"key, certificate and CA in {self.state.path} can't be used: {problem.strerror or problem}"
            raise SuanwangError(NOT_ENROLLED, message, ENROL_AGAIN) from None
        return context

    def was_used(self, token: JoinToken) -> bool:
        """Whether this node's certificate came of that token."""
        return self.state.read("token.sha256") == token.digest

    def enrol(self, endpoint: Endpoint, token: JoinToken) -> Certificate:
        """Trade the token for a certificate.

        Raises CONTROLLER_AWAY (worth trying again), WRONG_CONTROLLER, ENROLMENT_REFUSED.
        """
        ca = fetch_ca(endpoint, token.ca_sha256)
        body = {"node": token.node, "token": token.secret, "csr": self._request(token.node)}
        try:
            answer = _post(endpoint, _context(cadata=ca), "/v1/enrol", body)
            found = self._accept(answer, token.node, ca)
        except SuanwangError as problem:
            # A server may quote what it was sent.
            message = problem.message.replace(token.secret, "…")
            raise SuanwangError(problem.code, message, problem.hint.replace(token.secret, "…")) from None

        self.state.write("token.sha256", token.digest)
        return found

    def renew(self, endpoint: Endpoint, node: str) -> Certificate:
        """Get a new certificate by the one at hand. Raises as `enrol`."""
        ca = ssl.PEM_cert_to_DER_cert(self.ca_path.read_text("ascii"))
        answer = _post(endpoint, self.context(), "/v1/renew", {"csr": self._request(node)})
        return self._accept(answer, node, ca)

    def _request(self, node: str) -> str:
        """A certificate signing request for the node; makes the key where there is none."""
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec

        content = self.state.read("key.pem")
        if content is None:
            made = ec.generate_private_key(ec.SECP256R1())
            content = made.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            self.state.write("key.pem", content)
        key = serialization.load_pem_private_key(content, None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, node)])
        request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
        return request.public_bytes(serialization.Encoding.PEM).decode()

    def _accept(self, answer: dict[str, object], node: str, ca: bytes) -> Certificate:
        """Keep a new certificate, once it is seen to be for our key, for this node, and by the CA that we trust."""
        from cryptography import x509
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives import serialization

        text = str(answer.get("certificate", "")).encode()
        try:
            given = x509.load_pem_x509_certificate(text)
            given.verify_directly_issued_by(x509.load_der_x509_certificate(ca))
        except (ValueError, TypeError, InvalidSignature):
            message = "the certificate that came back is not by the controller's CA"
            raise SuanwangError(
                ENROLMENT_REFUSED, message, "is something between the agent and the controller?"
            ) from None
        key = serialization.load_pem_private_key(self.state.read("key.pem") or b"", None)
        if given.public_key() != key.public_key() or _node_of(given) != node:
            message = "the certificate that came back is for another node or key"
            raise SuanwangError(ENROLMENT_REFUSED, message, ENROL_AGAIN)
        found = Certificate(node, given.not_valid_before_utc, given.not_valid_after_utc)
        head = f"node: {node}\nvalid: {found.not_before.isoformat()} {found.not_after.isoformat()}\n"
        self.state.write("ca.pem", ssl.DER_cert_to_PEM_cert(ca).encode())
        self.state.write("certificate.pem", head.encode() + given.public_bytes(serialization.Encoding.PEM))
        return found

    def _parsed(self, content: bytes) -> Certificate:
        from cryptography import x509

        try:
            given = x509.load_pem_x509_certificate(content)
        except ValueError:
            message = f"{self.certificate_path} is no certificate"
            raise SuanwangError(NOT_ENROLLED, message, ENROL_AGAIN) from None
        return Certificate(_node_of(given), given.not_valid_before_utc, given.not_valid_after_utc)


def fetch_ca(endpoint: Endpoint, sha256: str) -> bytes:
    """The CA certificate (DER) that the server shows in its chain and whose SHA-256 is the pinned one.

    Nothing is told to the server here; it proves itself on the next connection, which trusts this CA only.
    Raises CONTROLLER_AWAY, WRONG_CONTROLLER.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    connection = http.client.HTTPSConnection(endpoint.host, endpoint.port, context=context, timeout=_TIMEOUT_S)
    try:
        connection.connect()
        chain = _chain(connection.sock)
    except (OSError, ssl.SSLError) as problem:
        raise _away(endpoint, problem) from None
    finally:
        connection.close()
    for der in chain:
        if hashlib.sha256(der).hexdigest() == sha256:
            return der
    message = f"the server at {endpoint} does not show the CA that the join token names"
    raise SuanwangError(WRONG_CONTROLLER, message, "check the address, or make a new join token on this controller")


def _chain(sock: ssl.SSLSocket) -> list[bytes]:
    if sys.version_info >= (3, 13):
        return list(sock.get_unverified_chain())
    # The same call, before it was public.
    return [part.public_bytes(2) for part in sock._sslobj.get_unverified_chain()]  # type: ignore[attr-defined]


def _context(*, cafile: str | None = None, cadata: bytes | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_verify_locations(cafile=cafile, cadata=cadata)
    return context


def _post(endpoint: Endpoint, context: ssl.SSLContext, path: str, body: dict[str, str]) -> dict[str, object]:
    connection = http.client.HTTPSConnection(endpoint.host, endpoint.port, context=context, timeout=_TIMEOUT_S)
    try:
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        response = connection.getresponse()
        content = response.read(_ANSWER_LIMIT_BYTES)
    except ssl.SSLCertVerificationError as problem:
        message = f"the server at {endpoint} is not this node's controller: {problem.verify_message}"
        raise SuanwangError(WRONG_CONTROLLER, message, "check the address, or enrol anew") from None
    except (OSError, http.client.HTTPException) as problem:
        raise _away(endpoint, problem) from None
    finally:
        connection.close()
    try:
        answer = json.loads(content)
    except ValueError:
        answer = None
    if response.status in (200, 201) and isinstance(answer, dict):
        return answer
    if response.status >= 500:
        raise SuanwangError(CONTROLLER_AWAY, f"the controller at {endpoint} answered {response.status}", "is it well?")
    error = answer.get("error", {}) if isinstance(answer, dict) else {}
    reason = error.get("message", "") if isinstance(error, dict) else ""
    message = f"the controller at {endpoint} answered {response.status}{': ' if reason else ''}{reason}"
    raise SuanwangError(ENROLMENT_REFUSED, message, ENROL_AGAIN)


def _away(endpoint: Endpoint, problem: Exception) -> SuanwangError:
    reason = getattr(problem, "strerror", None) or str(problem) or type(problem).__name__
    hint = "is the controller running there? The agent goes on with the program it holds"
    return SuanwangError(CONTROLLER_AWAY, f"no controller at {endpoint}: {reason}", hint)


def _node_of(certificate: x509.Certificate) -> str:
    """The node that a certificate is for: its URI name `suanwang://node/NAME`, or, without one, its common name."""
    from cryptography.x509 import ExtensionNotFound, NameOID, SubjectAlternativeName, UniformResourceIdentifier

    try:
        others = certificate.extensions.get_extension_for_class(SubjectAlternativeName).value
        for uri in others.get_values_for_type(UniformResourceIdentifier):
            if uri.startswith(_NODE_URI):
                return uri.removeprefix(_NODE_URI)
    except ExtensionNotFound:
        pass
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if names else ""


def utc_now() -> datetime:
    """The time that certificates are judged by."""
    return datetime.now(UTC)


def seconds_until(moment: datetime, now: datetime) -> float:
    """Seconds from `now` to `moment`, 0 when it is past."""
    return max(timedelta(0), moment - now).total_seconds()
