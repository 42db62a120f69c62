"""One concrete packet, all fields that programs can look at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

ECHO_REQUEST: Final = {"icmp": 8, "icmpv6": 128}
"""Types of echo requests (RFC 792; RFC 4443, section 4.1)."""

ECHO_REPLY: Final = {"icmp": 0, "icmpv6": 129}

NUMBERS: Final = {"icmp": 1, "tcp": 6, "udp": 17, "icmpv6": 58}
"""IP protocol numbers (IANA)."""

EPHEMERAL_PORT: Final = 49_152
"""The first of the dynamic ports (RFC 6335): the source port of packets that stand for all source ports."""


@dataclass(frozen=True, slots=True)
class Packet:
    """A packet as a workload sends it. `protocol` is `tcp`, `udp`, `icmp`, `icmpv6` or a number as text.

    Ports are 0 where the protocol has none; `icmp_type` and `icmp_code` are -1 where it is not ICMP. No program looks
    at source ports, so one stands for all.
    """

    source: str
    destination: str
    protocol: str
    port: int = 0
    icmp_type: int = -1
    icmp_code: int = -1
    source_port: int = 0

    @property
    def version(self) -> int:
        """4 or 6."""
        return 6 if ":" in self.destination else 4

    def reply(self) -> Packet:
        """What an answer to it looks like."""
        icmp_type = ECHO_REPLY.get(self.protocol, -1) if self.icmp_type >= 0 else -1
        return Packet(
            self.destination, self.source, self.protocol, self.source_port, icmp_type, min(self.icmp_code, 0), self.port
        )

    def __str__(self) -> str:
        def end(address: str, port: int) -> str:
            shown = f"[{address}]" if ":" in address and port else address
            return f"{shown}:{port}" if port else address

        kind = f" type {self.icmp_type} code {max(self.icmp_code, 0)}" if self.icmp_type >= 0 else ""
        ends = f"{end(self.source, self.source_port)} > {end(self.destination, self.port)}"
        return f"{self.protocol}{kind} {ends}"


def probe_packet(protocol: str, source: str, destination: str, port: int) -> Packet:
    """The packet that a probe of an assertion sends first."""
    if protocol == "icmp":
        named = "icmpv6" if ":" in destination else "icmp"
        return Packet(source, destination, named, 0, ECHO_REQUEST[named], 0)
    return Packet(source, destination, protocol, port, source_port=EPHEMERAL_PORT)


def matches_protocol(rule_protocol: str, packet_protocol: str) -> bool:
    """Whether a rule for `rule_protocol` speaks of packets of `packet_protocol`; names and numbers are the same."""
    if rule_protocol == "any":
        return True
    return number(rule_protocol) == number(packet_protocol)


def number(protocol: str) -> int:
    """The IP protocol number of a name or of a number as text."""
    return NUMBERS.get(protocol) or int(protocol)
