"""IP and MAC addresses: reading them from users, and the few conversions that the rooms share.

In the core an address or prefix is its canonical text (RFC 5952 for IPv6), interned, because that is what programs
hold; an integer plus a version where arithmetic is needed.
"""

from __future__ import annotations

import hashlib
import re
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema

_MAC = re.compile(r"^[0-9a-f]{2}(:[0-9a-f]{2}){5}$")


def read_address(value: object) -> str:
    """Canonical text of an IP address. Raises ValueError naming what is wrong."""
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is no IP address; write it as text, as in 10.0.0.1 or 2001:db8::1")
    try:
        return str(ip_address(_without_zone(value)))
    except ValueError:
        raise ValueError(f"{value!r} is no IP address; write one as in 10.0.0.1 or 2001:db8::1") from None


def read_prefix(value: object) -> str:
    """Canonical text of a CIDR prefix; host bits must be zero. Raises ValueError naming the prefix that was meant."""
    if not isinstance(value, str) or "/" not in value:
        raise ValueError(f"{value!r} is no prefix; write one as in 10.0.0.0/16 or 2001:db8::/48")
    try:
        return str(ip_network(_without_zone(value)))
    except ValueError:
        try:
            meant = ip_network(_without_zone(value), strict=False)
        except ValueError:
            raise ValueError(f"{value!r} is no prefix; write one as in 10.0.0.0/16 or 2001:db8::/48") from None
        raise ValueError(f"{value!r} has host bits set; the prefix is {meant}") from None


def _without_zone(value: str) -> str:
    # Python takes `fe80::1%ANYTHING` (RFC 4007, section 11) for an address; a zone means nothing outside one machine.
    if "%" in value:
        raise ValueError("a zone")
    return value


def read_mac(value: object) -> str:
    """Canonical text of a unicast MAC address (lower case, colons). Raises ValueError otherwise."""
    text = value.lower().replace("-", ":") if isinstance(value, str) else ""
    if not _MAC.fullmatch(text):
        raise ValueError(f"{value!r} is no MAC address; write one as in 02:00:00:00:00:01")
    if int(text[:2], 16) & 1 or text == "00:00:00:00:00:00":
        raise ValueError(f"{value!r} is no unicast MAC address; clear the lowest bit of its first byte")
    return text


def is_ipv6(text: str) -> bool:
    """Whether an address or prefix in canonical text is IPv6."""
    return ":" in text


def network(prefix: str) -> IPv4Network | IPv6Network:
    """The prefix as a network object."""
    return ip_network(prefix)


def host_prefix(address: str) -> str:
    """The /32 or /128 prefix that holds just `address`."""
    return f"{address}/128" if ":" in address else f"{address}/32"


def hex_address(address: str) -> str:
    """Fixed-width hexadecimal of an address, so that text order is numeric order within a version."""
    number = int(ip_address(address))
    return f"6:{number:032x}" if ":" in address else f"4:{number:08x}"


def address_from_hex(text: str) -> str:
    """The inverse of `hex_address`."""
    version, digits = text.split(":")
    if version == "4":
        packed = bytes.fromhex(digits)
        return ".".join(map(str, packed))
    return str(ip_address(bytes.fromhex(digits)))


def stable_mac(*parts: str) -> str:
    """A locally administered unicast MAC derived from names: the same names give the same MAC on every machine."""
    digest = hashlib.blake2b("\0".join(parts).encode(), digest_size=5).digest()
    return "02:" + ":".join(f"{byte:02x}" for byte in digest)


Address = Annotated[str, BeforeValidator(read_address), WithJsonSchema({"type": "string", "examples": ["10.0.1.5"]})]
Prefix = Annotated[str, BeforeValidator(read_prefix), WithJsonSchema({"type": "string", "examples": ["10.0.1.0/24"]})]
Mac = Annotated[str, AfterValidator(read_mac), WithJsonSchema({"type": "string", "examples": ["02:00:00:00:00:01"]})]
