"""Writing of protocol buffers, for traces that tests make."""

from __future__ import annotations

from suanwang.fabric.workload.wire import BYTES, VARINT


def write_varint(number: int) -> bytes:
    """A number, which may be negative, as a varint."""
    number &= 2**64 - 1
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*found, number])


def write_field(number: int, value: int | bytes | str) -> bytes:
    """One field: a varint for a number, length-delimited for bytes and text."""
    if isinstance(value, int):
        return write_varint(number << 3 | VARINT) + write_varint(value)
    data = value.encode() if isinstance(value, str) else value
    return write_varint(number << 3 | BYTES) + write_varint(len(data)) + data
