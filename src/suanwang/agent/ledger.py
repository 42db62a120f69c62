"""The program on disk: a log of the updates that led to it, so that a small change costs a small write.

A record is a line `LENGTH CRC32`, then that many bytes: an `Update` as it travels (`program.wire`), then a line end.
The first one starts from nothing. When the log has grown to several times the program it is written anew, to a
second file that takes the first one's place. A crash can only tear the last record, which was not reported to anyone
yet: it is dropped.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Sequence

import msgspec

from suanwang.agent.state import StateDirectory
from suanwang.program import wire

_NAME = "program.log"
_GROWTH = 3
_SMALL_BYTES = 1 << 20

_update = msgspec.json.Decoder(wire.Update)


class Ledger:
    """The log, in the agent's state directory. Not thread-safe."""

    def __init__(self, state: StateDirectory) -> None:
        self._state = state
        self._path = state.path / _NAME
        self._size = 0
        self._size_at_rewrite = 0

    def load(self) -> list[wire.Update]:
        """All whole records. What follows the last of them is cut off. Empty: no program is held."""
        content = self._state.read(_NAME) or b""
        found: list[wire.Update] = []
        good = 0
        while (end := content.find(b"\n", good)) >= 0:
            length, _, checksum = content[good:end].partition(b" ")
            try:
                stop = end + 1 + int(length)
                payload = content[end + 1 : stop]
                if content[stop : stop + 1] != b"\n" or f"{zlib.crc32(payload):08x}".encode() != checksum:
                    break
                found.append(_update.decode(payload))
            except (ValueError, msgspec.DecodeError):
                break
            good = stop + 1
        if good < len(content):
            os.truncate(self._path, good)
        self._size = self._size_at_rewrite = good
        return found

    @property
    def is_overgrown(self) -> bool:
        """Whether it is time to `rewrite` rather than `append`."""
        return self._size == 0 or self._size > _SMALL_BYTES + _GROWTH * self._size_at_rewrite

    def append(self, updates: Sequence[wire.Update]) -> None:
        """Add records, durably. Raises OSError; then the log is as before (a torn tail is dropped when read)."""
        content = b"".join(map(_record, updates))
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            # At the known end, not at the file's: a failed write may have left something behind.
            os.ftruncate(descriptor, self._size)
            view = memoryview(content)
            while view:
                view = view[os.pwrite(descriptor, view, self._size + len(content) - len(view)) :]
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)
        self._size += len(content)

    def rewrite(self, whole: wire.Update) -> None:
        """Start the log anew with a program's whole content. Raises OSError; then the log is as before."""
        content = _record(whole)
        self._state.write(_NAME, content)
        self._size = self._size_at_rewrite = len(content)

    def clear(self) -> None:
        """Hold nothing."""
        self._path.unlink(missing_ok=True)
        self._state.sync()
        self._size = self._size_at_rewrite = 0


def _record(update: wire.Update) -> bytes:
    payload = wire.encode(update)
    return b"%d %08x\n%b\n" % (len(payload), zlib.crc32(payload), payload)
