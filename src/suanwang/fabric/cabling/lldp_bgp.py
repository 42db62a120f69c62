"""What a BGP speaker says of itself by LLDP: the information of draft-acee-idr-lldp-peer-discovery, as bytes.

It is a list of parts, each with a byte for its type, one for its length, and a value:

    1 peering address    family (1 IPv4, 2 IPv6), the address, then (AFI, SAFI) of 2 + 1 bytes each, one at least
    2 local AS           one number of 4 bytes, or two
    3 BGP identifier     4 bytes
    4 session group      4 bytes
    5 capabilities       8 bytes of flags
    6 key chain          its name, up to 64 bytes
    7 local address      family, the address: a next hop on this link
    8 state version      4 bytes

Parts, their order and what they hold are those of the authors' slides for the IDR interim of January 2022; of widths,
the four bytes of a group are confirmed (Nokia's SR Linux models), the rest is from the draft as remembered.

A part stays in one TLV of LLDP; where there are many, several TLVs hold them (`MOST_TLV_BYTES` each). Of a part that
may be there once, the first counts.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntFlag
from ipaddress import IPv4Address, IPv6Address, ip_address

from suanwang.model.errors import INVALID, SuanwangError

Address = IPv4Address | IPv6Address

MOST_TLV_BYTES = 507
"""What a TLV of 511 bytes has left after the OUI and the subtype."""
WILDCARD = (0, 0)
"""AFI 0, SAFI 0: all families that both ends have configured."""

_PEERING, _LOCAL_AS, _IDENTIFIER, _GROUP, _CAPABILITIES, _KEY_CHAIN, _LOCAL_ADDRESS, _VERSION = range(1, 9)
_MOST_KEY_CHAIN = 64
_SIZES = {
    _LOCAL_AS: (4, 8),
    _IDENTIFIER: (4,),
    _GROUP: (4,),
    _CAPABILITIES: (8,),
    _KEY_CHAIN: range(1, _MOST_KEY_CHAIN + 1),
    _VERSION: (4,),
}


class SessionCapability(IntFlag):
    """By what a session can be secured; bit 0 of the draft is the first on the wire."""

    NONE = 0
    MD5 = 1 << 63
    AUTHENTICATION_OPTION = 1 << 62
    TTL_SECURITY = 1 << 61


@dataclass(frozen=True, slots=True)
class PeeringAddress:
    """An address that sessions can be opened to, and for which (AFI, SAFI); the wildcard stands for all."""

    address: Address
    families: tuple[tuple[int, int], ...] = (WILDCARD,)


@dataclass(frozen=True, slots=True)
class BgpInformation:
    """What a BGP speaker says of itself on a link.

    `local_as` has a second number only while an AS number is being changed. `group` is an opaque 32-bit number for the
    kind of session. `next_hops` are addresses of the link for families other than the peering address's. `version`
    grows with every change.
    """

    addresses: tuple[PeeringAddress, ...] = ()
    local_as: tuple[int, ...] = ()
    identifier: IPv4Address | None = None
    group: int | None = None
    capabilities: SessionCapability = SessionCapability.NONE
    key_chain: str = ""
    next_hops: tuple[Address, ...] = ()
    version: int | None = None


def encode(said: BgpInformation) -> Iterator[bytes]:
    """The contents of one TLV, or of several where one has no room.

    Raises:
        SuanwangError: INVALID for what does not fit: three AS numbers, a long key chain, a number over 32 bits.
    """
    piece = b""
    for part in _parts(said):
        if len(piece) + len(part) > MOST_TLV_BYTES:
            yield piece
            piece = b""
        piece += part
    yield piece


def decode(pieces: Iterable[bytes], flaws: list[str]) -> BgpInformation:
    """What the contents of TLVs say. A part with a flaw is left out and noted, one of unknown type passed over."""
    addresses: list[PeeringAddress] = []
    next_hops: list[Address] = []
    single: dict[int, bytes] = {}
    for piece in pieces:
        for kind, value in _split(piece, flaws):
            located = _located(value) if kind in (_PEERING, _LOCAL_ADDRESS) else None
            if located is not None and kind == _PEERING and located[1] and len(located[1]) % 3 == 0:
                addresses.append(PeeringAddress(located[0], tuple(struct.iter_unpack("!HB", located[1]))))
            elif located is not None and kind == _LOCAL_ADDRESS and not located[1]:
                next_hops.append(located[0])
            elif kind in _SIZES and len(value) in _SIZES[kind] and (kind != _KEY_CHAIN or _is_name(value)):
                single.setdefault(kind, value)
            elif kind in _SIZES or kind in (_PEERING, _LOCAL_ADDRESS):
                flaws.append(f"part {kind} of the BGP information is not of its form")

    def number(kind: int) -> int | None:
        return int.from_bytes(single[kind], "big") if kind in single else None

    return BgpInformation(
        addresses=tuple(addresses),
        local_as=tuple(one for (one,) in struct.iter_unpack("!I", single.get(_LOCAL_AS, b""))),
        identifier=IPv4Address(single[_IDENTIFIER]) if _IDENTIFIER in single else None,
        group=number(_GROUP),
        capabilities=SessionCapability(number(_CAPABILITIES) or 0),
        key_chain=single.get(_KEY_CHAIN, b"").decode("ascii"),
        next_hops=tuple(next_hops),
        version=number(_VERSION),
    )


def _parts(said: BgpInformation) -> Iterator[bytes]:
    for peering in said.addresses:
        families = b"".join(_numbers("!HB", afi, safi) for afi, safi in peering.families)
        yield _part(_PEERING, _placed(peering.address) + families)
    if said.local_as:
        if len(said.local_as) > 2:
            raise SuanwangError(INVALID, "more than two local AS numbers", hint="the one used and the one it replaces")
        yield _part(_LOCAL_AS, b"".join(_numbers("!I", number) for number in said.local_as))
    if said.identifier is not None:
        yield _part(_IDENTIFIER, said.identifier.packed)
    if said.group is not None:
        yield _part(_GROUP, _numbers("!I", said.group))
    if said.capabilities:
        yield _part(_CAPABILITIES, _numbers("!Q", said.capabilities))
    if said.key_chain:
        name = said.key_chain.encode()
        if len(name) > _MOST_KEY_CHAIN or not _is_name(name):
            hint = f"up to {_MOST_KEY_CHAIN} visible ASCII characters"
            raise SuanwangError(INVALID, f"{said.key_chain[:70]!r} can't be the name of a key chain", hint=hint)
        yield _part(_KEY_CHAIN, name)
    for address in said.next_hops:
        yield _part(_LOCAL_ADDRESS, _placed(address))
    if said.version is not None:
        yield _part(_VERSION, _numbers("!I", said.version))


def _numbers(form: str, *values: int) -> bytes:
    try:
        return struct.pack(form, *values)
    except struct.error:
        raise SuanwangError(INVALID, f"{values} have no room in LLDP's BGP information") from None


def _part(kind: int, value: bytes) -> bytes:
    if len(value) > 255:
        raise SuanwangError(INVALID, f"part {kind} of the BGP information has {len(value)} bytes", hint="at most 255")
    return bytes([kind, len(value)]) + value


def _split(piece: bytes, flaws: list[str]) -> Iterator[tuple[int, bytes]]:
    place = 0
    while place < len(piece):
        size = piece[place + 1] if place + 1 < len(piece) else 256
        value = piece[place + 2 : place + 2 + size]
        if len(value) < size:
            flaws.append(f"part {piece[place]} of the BGP information runs past the end")
            return
        yield piece[place], value
        place += 2 + size


def _is_name(value: bytes) -> bool:
    """Whether it can stand in a configuration: visible ASCII, no blanks."""
    return all(0x21 <= byte <= 0x7E for byte in value)


def _placed(address: Address) -> bytes:
    return bytes([1 if address.version == 4 else 2]) + address.packed


def _located(value: bytes) -> tuple[Address, bytes] | None:
    """An address with its family before it, and what follows."""
    size = {1: 4, 2: 16}.get(value[0] if value else 0, 0)
    if not size or len(value) < 1 + size:
        return None
    return ip_address(value[1 : 1 + size]), value[1 + size :]
