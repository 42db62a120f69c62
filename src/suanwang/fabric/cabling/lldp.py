"""LLDP: what a port says about itself to the other end of its cable (IEEE Std 802.1AB-2016), as bytes.

A frame is an Ethernet header and a list of TLVs: seven bits of type, nine of length, the value. Chassis, port and time
to live come first, in this order; what breaks these three, or the list, makes the frame void. An optional TLV with a
flaw is left out, with a note in `flaws`; one of unknown type is passed over.

For BGP, a TLV of the IETF's (OUI 00-00-5E) holds what `lldp_bgp.py` says. The draft leaves its subtype under that OUI
to IANA, which has given 1 to manufacturer usage descriptions (RFC 8520) and 42 to examples (RFC 9542); `BGP_SUBTYPE` is
the first that is free.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import ip_address

from suanwang.fabric.cabling import lldp_bgp
from suanwang.fabric.cabling.lldp_bgp import Address, BgpInformation
from suanwang.model.errors import INVALID, SuanwangError

NEAREST_BRIDGE = bytes.fromhex("0180c200000e")
"""The group address that no bridge passes on (802.1AB, table 7-1)."""
ETHERTYPE = 0x88CC
MOST_BYTES = 1514
"""An untagged Ethernet frame without its check sequence; a longer one is not looked at."""

IANA_OUI = bytes.fromhex("00005e")
BGP_SUBTYPE = 2
_BGP = IANA_OUI + bytes([BGP_SUBTYPE])

CHASSIS_MAC = 4
PORT_MAC, PORT_INTERFACE = 3, 5

_END, _CHASSIS, _PORT, _TTL, _PORT_TEXT, _NAME, _TEXT, _MANAGEMENT, _SPECIFIC = 0, 1, 2, 3, 4, 5, 6, 8, 127
_MOST_VALUE = 511
_MOST_NAME = 255


@dataclass(frozen=True, slots=True)
class Advertisement:
    """What one frame says. `chassis` and `port` are text, MAC addresses in the form `02:00:00:00:00:01`.

    `ttl_s`: for how long it holds; 0 means that the sender goes away. `flaws`: optional parts that were void.
    """

    chassis: str
    port: str
    ttl_s: int = 120
    chassis_kind: int = CHASSIS_MAC
    port_kind: int = PORT_INTERFACE
    port_description: str = ""
    system_name: str = ""
    system_description: str = ""
    management: tuple[Address, ...] = ()
    bgp: BgpInformation | None = None
    flaws: tuple[str, ...] = field(default=(), compare=False)

    @property
    def node(self) -> str:
        """Who speaks: the system's name, or its chassis where it says none."""
        return self.system_name or self.chassis


def encode(said: Advertisement, source: bytes) -> bytes:
    """The frame, from a port with MAC address `source`.

    Raises:
        SuanwangError: INVALID for what has no room: a name over 255 bytes, a frame over 1,514.
    """
    if len(source) != 6:
        raise SuanwangError(INVALID, f"a MAC address has 6 bytes, not {len(source)}")
    if not 0 <= said.ttl_s <= 0xFFFF:
        raise SuanwangError(INVALID, f"a time to live of {said.ttl_s} s does not fit", hint="at most 65535")
    parts = [
        _tlv(_CHASSIS, bytes([said.chassis_kind]) + _identity(said.chassis, said.chassis_kind == CHASSIS_MAC)),
        _tlv(_PORT, bytes([said.port_kind]) + _identity(said.port, said.port_kind == PORT_MAC)),
        _tlv(_TTL, struct.pack("!H", said.ttl_s)),
    ]
    for kind, text in (
        (_PORT_TEXT, said.port_description),
        (_NAME, said.system_name),
        (_TEXT, said.system_description),
    ):
        if text:
            parts.append(_tlv(kind, _short(text)))
    for address in said.management:
        # Length of kind and address, kind (1 IPv4, 2 IPv6), address, no interface number, no object identifier.
        place = bytes([len(address.packed) + 1, 1 if address.version == 4 else 2]) + address.packed
        parts.append(_tlv(_MANAGEMENT, place + bytes([1, 0, 0, 0, 0, 0])))
    if said.bgp is not None:
        parts += [_tlv(_SPECIFIC, _BGP + piece) for piece in lldp_bgp.encode(said.bgp)]
    frame = b"".join((NEAREST_BRIDGE, source, struct.pack("!H", ETHERTYPE), *parts, _tlv(_END, b"")))
    if len(frame) > MOST_BYTES:
        raise SuanwangError(INVALID, f"the frame has {len(frame)} bytes", hint=f"at most {MOST_BYTES} are sent")
    return frame


def decode(frame: bytes) -> Advertisement:
    """What a frame says. Anything may be passed in.

    Raises:
        SuanwangError: INVALID when it is no LLDP frame, or one that the standard has us drop.
    """
    if not 14 < len(frame) <= MOST_BYTES or struct.unpack_from("!H", frame, 12)[0] != ETHERTYPE:
        raise SuanwangError(INVALID, f"{len(frame)} bytes that are no LLDP frame", hint="ethertype 0x88cc, untagged")
    tlvs = list(_tlvs(frame[14:]))
    if [kind for kind, _ in tlvs[:3]] != [_CHASSIS, _PORT, _TTL]:
        raise SuanwangError(INVALID, "an LLDP frame that does not begin with chassis, port and time to live")
    if any(kind in (_CHASSIS, _PORT, _TTL) for kind, _ in tlvs[3:]):
        raise SuanwangError(INVALID, "an LLDP frame that names its chassis, port or time to live twice")
    chassis_kind, chassis = _named(tlvs[0][1], CHASSIS_MAC, "chassis")
    port_kind, port = _named(tlvs[1][1], PORT_MAC, "port")
    if len(tlvs[2][1]) < 2:
        raise SuanwangError(INVALID, "an LLDP frame whose time to live is not of two bytes")
    texts: dict[int, str] = {}
    management: list[Address] = []
    bgp: list[bytes] = []
    flaws: list[str] = []
    for kind, value in tlvs[3:]:
        if kind in (_PORT_TEXT, _NAME, _TEXT):
            texts.setdefault(kind, _text(value))
        elif kind == _MANAGEMENT:
            size = value[0] if value else 0
            if size in (5, 17) and len(value) > size and value[1] == (1 if size == 5 else 2):
                management.append(ip_address(value[2 : size + 1]))
            elif size < 2 or len(value) < size + 1:
                flaws.append("a management address that is cut short")
        elif kind == _SPECIFIC and value.startswith(_BGP):
            bgp.append(value[len(_BGP) :])
    return Advertisement(
        chassis=chassis,
        port=port,
        ttl_s=struct.unpack_from("!H", tlvs[2][1])[0],
        chassis_kind=chassis_kind,
        port_kind=port_kind,
        port_description=texts.get(_PORT_TEXT, ""),
        system_name=texts.get(_NAME, ""),
        system_description=texts.get(_TEXT, ""),
        management=tuple(management),
        bgp=lldp_bgp.decode(bgp, flaws) if bgp else None,
        flaws=tuple(flaws),
    )


# TLVs


def _tlv(kind: int, value: bytes) -> bytes:
    if len(value) > _MOST_VALUE:
        raise SuanwangError(INVALID, f"TLV {kind} has {len(value)} bytes", hint=f"at most {_MOST_VALUE} fit")
    return struct.pack("!H", kind << 9 | len(value)) + value


def _tlvs(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and value of each up to the end mark; a missing mark is forgiven, as a frame may be padded or cut there."""
    place = 0
    while place + 2 <= len(data):
        (head,) = struct.unpack_from("!H", data, place)
        kind, size = head >> 9, head & 0x1FF
        if kind == _END:
            return
        value = data[place + 2 : place + 2 + size]
        if len(value) < size:
            raise SuanwangError(INVALID, f"an LLDP frame in which TLV {kind} runs past the end")
        yield kind, value
        place += 2 + size


def _short(text: str) -> bytes:
    data = text.encode()
    if len(data) > _MOST_NAME:
        raise SuanwangError(INVALID, f"{text[:20]!r}… has {len(data)} bytes", hint=f"at most {_MOST_NAME} fit")
    return data


def _identity(text: str, hexadecimal: bool) -> bytes:
    if not hexadecimal:
        if not text:
            raise SuanwangError(INVALID, "a chassis or port needs a name")
        return _short(text)
    try:
        data = bytes.fromhex(text.replace(":", ""))
    except ValueError:
        data = b""
    if len(data) != 6:
        raise SuanwangError(INVALID, f"{text!r} is no MAC address", hint="write it as 02:00:00:00:00:01")
    return data


def _named(value: bytes, mac: int, what: str) -> tuple[int, str]:
    """Kind and text of a chassis or port; anything that is no MAC address is read as text."""
    if not 2 <= len(value) <= _MOST_NAME + 1:
        raise SuanwangError(INVALID, f"an LLDP frame whose {what} has {len(value)} bytes", hint="2 to 256 are allowed")
    return value[0], value[1:].hex(":") if value[0] == mac and len(value) == 7 else _text(value[1:])


def _text(value: bytes) -> str:
    """Bytes as one line of text that may be shown: no control characters, at most 255 characters."""
    text = value.decode(errors="replace").rstrip("\0")
    return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in text)[:_MOST_NAME]
