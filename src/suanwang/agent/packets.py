"""The bytes of probes: ICMP echoes (RFC 792, RFC 4443), and the small exchanges over TCP and UDP that tell who answers.

TCP: the responder speaks first, one line `suanwang-probe/1 IDENTITY`. Nothing is ever sent to what may be a real
service. UDP: the request is a line `suanwang-probe/1 NONCE SEQUENCE`, filled up to `UDP_BYTES`; the answer repeats
nonce and sequence, adds the identity, and is never longer than the request, so responders can't be used to multiply
traffic.
"""

from __future__ import annotations

import struct

MAGIC = b"suanwang-probe/1 "
ANSWER = b"suanwang-answer/1 "
NONCE_BYTES = 16
UDP_BYTES = 512
BANNER_LIMIT_BYTES = 512

_ECHO = {4: (8, 0), 6: (128, 129)}
_header = struct.Struct("!BBHHH")


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return int(~(total + (total >> 16)) & 0xFFFF)


def echo_request(version: int, identifier: int, sequence: int, nonce: bytes) -> bytes:
    """An ICMP or ICMPv6 echo request. The kernel fills in ICMPv6's checksum, which covers addresses."""
    kind = _ECHO[version][0]
    plain = _header.pack(kind, 0, 0, identifier, sequence) + nonce
    if version == 6:
        return plain
    return _header.pack(kind, 0, checksum(plain), identifier, sequence) + nonce


def echo_reply(version: int, packet: bytes, identifier: int, nonce: bytes) -> int | None:
    """The sequence number of a reply to one of our requests, else None. IPv4 packets come with their IP header."""
    if version == 4:
        if len(packet) < 20:
            return None
        packet = packet[(packet[0] & 0xF) * 4 :]
    if len(packet) < _header.size + len(nonce):
        return None
    kind, _, _, identified, sequence = _header.unpack_from(packet)
    ours = kind == _ECHO[version][1] and identified == identifier and packet[_header.size :] == nonce
    return int(sequence) if ours else None


def banner(identity: str) -> bytes:
    """What a TCP responder says."""
    return MAGIC + identity.encode()[: BANNER_LIMIT_BYTES - len(MAGIC) - 1] + b"\n"


def banner_identity(data: bytes) -> str | None:
    """Who a banner says it is; None when that is no banner of ours."""
    line, end, _ = data.partition(b"\n")
    return line[len(MAGIC) :].decode(errors="replace") if end and line.startswith(MAGIC) else None


def may_become_banner(data: bytes) -> bool:
    """Whether it is worth reading on."""
    return b"\n" not in data and len(data) < BANNER_LIMIT_BYTES and (MAGIC.startswith(data) or data.startswith(MAGIC))


def datagram(nonce: bytes, sequence: int) -> bytes:
    """A UDP probe."""
    return (MAGIC + f"{nonce.hex()} {sequence}\n".encode()).ljust(UDP_BYTES, b"\0")


def datagram_answer(request: bytes, identity: str) -> bytes | None:
    """The answer to a UDP probe; None when the request is something else."""
    line, end, _ = request.partition(b"\n")
    if not end or not line.startswith(MAGIC):
        return None
    answer = ANSWER + line[len(MAGIC) :] + b" " + identity.encode() + b"\n"
    return answer if len(answer) <= len(request) else None


def datagram_reply(data: bytes, nonce: bytes) -> tuple[int, str] | None:
    """(sequence, identity) of an answer to one of our probes; None for anything else."""
    line, end, _ = data.partition(b"\n")
    parts = line[len(ANSWER) :].split(b" ", 2)
    if not end or not line.startswith(ANSWER) or len(parts) != 3 or parts[0] != nonce.hex().encode():
        return None
    return (int(parts[1]), parts[2].decode(errors="replace")) if parts[1].isdigit() else None
