"""Rate limits of ports, by token buckets that queue rather than drop, so TCP comes close to the limit.

What a workload receives is shaped where it leaves the router (`tbf` on the port's device). What it sends enters the
router, where nothing can be queued, so it is redirected through an intermediate device (`ifb`) and shaped there: a
limit inside the workload's namespace would be the workload's to remove. Messages: include/uapi/linux/pkt_sched.h,
pkt_cls.h.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from suanwang.linux.items import (
    DELQDISC,
    GETQDISC,
    GETTFILTER,
    NEWQDISC,
    NEWTFILTER,
    Indexes,
    Key,
)
from suanwang.linux.netlink import CREATE, EXCLUSIVE, REPLACE, Message, Socket, attribute, attributes, number, text

BURST_S: Final = 0.004
"""Tokens saved up: some scheduler ticks' worth (at 250 Hz), else a fast bucket runs dry between two wake-ups."""

BURST_MIN_BYTES: Final = 16_384
QUEUE_S: Final = 0.05
"""Longest wait in the bucket's queue: some round trips of a region, so that TCP's window survives the limit."""

QUEUE_MIN_BYTES: Final = 131_072

_ROOT, _INGRESS, _INGRESS_HANDLE = 0xFFFFFFFF, 0xFFFFFFF1, 0xFFFF0000
_HANDLE = 0x10000
_ALL_PROTOCOLS = 0x0300
_STOLEN, _EGRESS_REDIRECT = 4, 1

_header = struct.Struct("=BxxxiIII")
_rate = struct.Struct("=BBHhHI")


def shaper(device: str) -> str:
    """Name of the intermediate device of a port's device."""
    return "ifb-" + hashlib.blake2b(device.encode(), digest_size=5).hexdigest()


class Limit(NamedTuple):
    """What leaves by `device` is limited to `rate_bps`."""

    device: str
    rate_bps: int

    @property
    def key(self) -> Key:
        return ("limit", self.device)

    def add(self, index: Indexes) -> Message:
        rate = self.rate_bps // 8
        burst = max(int(rate * BURST_S), BURST_MIN_BYTES)
        queue = max(int(rate * QUEUE_S), QUEUE_MIN_BYTES) + burst
        spec = _rate.pack(0, 1, 0, 0, 0, min(rate, 0xFFFFFFFF)) + _rate.pack(0, 0, 0, 0, 0, 0)
        options = attribute(1, spec + struct.pack("=III", queue, 0, 0)) + number(6, burst)
        if rate >= 1 << 32:
            options += attribute(4, struct.pack("=Q", rate))
        head = _header.pack(0, index[self.device], _HANDLE, _ROOT, 0)
        return Message(NEWQDISC, CREATE | REPLACE, head + text(1, "tbf") + attribute(2, options))

    def remove(self, index: Indexes) -> Message:
        return Message(DELQDISC, 0, _header.pack(0, index[self.device], _HANDLE, _ROOT, 0))


class Redirect(NamedTuple):
    """What enters by `device` goes through `target` first."""

    device: str
    target: str

    @property
    def key(self) -> Key:
        return ("redirect", self.device)

    def add(self, index: Indexes) -> Message:
        head = _header.pack(0, index[self.device], _INGRESS_HANDLE, _INGRESS, 0)
        return Message(NEWQDISC, CREATE | REPLACE, head + text(1, "ingress"))

    def fill(self, index: Indexes) -> Message:
        """The filter within; goes after `add`."""
        action = struct.pack("=IIiiiiI", 0, 0, _STOLEN, 0, 0, _EGRESS_REDIRECT, index[self.target])
        mirred = text(1, "mirred") + attribute(2, attribute(2, action))
        everything = struct.pack("=BBBxHHhhI", 1, 0, 1, 0, 0, 0, 0, 0) + struct.pack("=IIii", 0, 0, 0, 0)
        options = attribute(5, everything) + attribute(7, attribute(1, mirred))
        head = _header.pack(0, index[self.device], 0, _INGRESS_HANDLE, 1 << 16 | _ALL_PROTOCOLS)
        return Message(NEWTFILTER, CREATE | EXCLUSIVE, head + text(1, "u32") + attribute(2, options))

    def remove(self, index: Indexes) -> Message:
        return Message(DELQDISC, 0, _header.pack(0, index[self.device], _INGRESS_HANDLE, _INGRESS, 0))


def read(route: Socket, devices: dict[int, str]) -> Iterator[Limit | Redirect]:
    """The limits and redirections of a namespace."""
    for part in route.dump(GETQDISC, _header.pack(0, 0, 0, 0, 0)):
        _, index, _, parent, _ = _header.unpack_from(part)
        found = attributes(part, 20)
        kind = found[1].rstrip(b"\0")
        device = devices.get(index, "")
        if kind == b"tbf" and parent == _ROOT:
            options = attributes(found[2], 0)
            rate = struct.unpack("=Q", options[4])[0] if 4 in options else _rate.unpack_from(options[1])[5]
            yield Limit(device, rate * 8)
        elif kind == b"ingress":
            yield Redirect(device, devices.get(_target(route, index), ""))


def _target(route: Socket, device: int) -> int:
    for part in route.dump(GETTFILTER, _header.pack(0, device, 0, _INGRESS_HANDLE, 0)):
        options = attributes(attributes(part, 20).get(2, b""), 0)
        if 7 not in options:
            continue
        action = attributes(attributes(options[7], 0).get(1, b""), 0)
        parameters = attributes(action.get(2, b""), 0).get(2, b"")
        if len(parameters) >= 28:
            return int(struct.unpack_from("=I", parameters, 24)[0])
    return 0
