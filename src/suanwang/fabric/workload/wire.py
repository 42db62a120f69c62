"""The wire format of protocol buffers, read by hand: tags, varints and length-delimited fields.

A message is a sequence of fields: a varint tag (number << 3 | wire type), then the value ("Encoding", Protocol Buffers
documentation). What a file claims about lengths is checked against what it has.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
MOST_VARINT_BYTES = 10

Value = int | bytes


class Malformed(ValueError):
    """The bytes are not what they should be; `offset` is where, from the start of the file."""

    def __init__(self, message: str, offset: int, hint: str = "") -> None:
        super().__init__(message)
        self.offset, self.hint = offset, hint


def varint(data: bytes, at: int, start: int = 0) -> tuple[int, int]:
    """The unsigned number at `at`, and where what follows it begins. `start` is the file's offset of data[0]."""
    value = shift = 0
    if at < len(data) and data[at] < 0x80:
        return data[at], at + 1
    for position in range(at, min(at + MOST_VARINT_BYTES, len(data))):
        byte = data[position]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if value >> 64:
                raise Malformed("a number has more than 64 bits", start + at)
            return value, position + 1
        shift += 7
    raise Malformed("a number has no end", start + at)


def fields(data: bytes, start: int = 0) -> Iterator[tuple[int, int, Value, int]]:
    """(Field number, wire type, value, offset in the file) of each field of a message."""
    at, end = 0, len(data)
    while at < end:
        begin = at
        tag = data[at]
        if tag < 0x80:
            at += 1
        else:
            tag, at = varint(data, at, start)
        number, kind = tag >> 3, tag & 7
        if not number:
            raise Malformed("a field has number 0", start + begin)
        value: Value
        if kind == VARINT:
            value, at = varint(data, at, start)
        elif kind == BYTES:
            size, at = varint(data, at, start)
            if size > end - at:
                raise Malformed(f"field {number} claims {size} bytes, and {end - at} are left", start + begin)
            value, at = data[at : at + size], at + size
        elif kind in (FIXED64, FIXED32):
            size = 8 if kind == FIXED64 else 4
            if size > len(data) - at:
                raise Malformed(f"field {number} is cut off", start + begin)
            value, at = int.from_bytes(data[at : at + size], "little"), at + size
        else:
            raise Malformed(f"field {number} has wire type {kind}, which is not in use", start + begin)
        yield number, kind, value, start + begin


def numbers(kind: int, value: Value, offset: int) -> list[int]:
    """The values of a repeated varint field: one, or several packed."""
    if isinstance(value, int):
        return [value]
    found, at = [], 0
    while at < len(value):
        number, at = varint(value, at, offset)
        found.append(number)
    return found


def double(bits: int) -> float:
    """The number whose IEEE 754 bits a FIXED64 field holds."""
    return float(struct.unpack("<d", struct.pack("<Q", bits))[0])


def single(bits: int) -> float:
    """The number whose IEEE 754 bits a FIXED32 field holds."""
    return float(struct.unpack("<f", struct.pack("<I", bits))[0])


def signed(number: int) -> int:
    """A varint as two's complement of 64 bits: int32 and int64 fields."""
    return number - 2**64 if number >> 63 else number
