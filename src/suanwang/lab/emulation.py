"""What an emulated link does to frames: how long they wait, which are lost, and which end is dead.

Nothing here reads a clock or draws a number: the relay's loop passes both in.

A cable that is cut at one end is dead at the other. When an end loses its carrier, the opposite end is switched off
until the carrier is back, so routers notice as they would on a real link.
"""

from __future__ import annotations

import socket
import struct
from collections import deque
from typing import TypedDict

BATCH_FRAMES = 64
"""How many frames of one end are taken before others have their turn."""

QUEUE_BYTES = 16 << 20
"""How much one direction holds on the way before it drops: 100 ms at 1 Gbit/s and some."""

QUEUE_S = 0.05
"""How long a frame may wait for its turn on a link with a rate, before it is dropped at the tail."""

RECEIVE_BUFFER_BYTES = 4 << 20
"""What the kernel keeps of each end while the relay is busy with others."""

_ETH_P_ALL = 3
_SOL_PACKET = 263
_PACKET_STATISTICS = 6
_PACKET_QDISC_BYPASS = 20
_PACKET_IGNORE_OUTGOING = 23
_SO_RCVBUFFORCE = 33
_FRAME_MARGIN_BYTES = 64


class Order(TypedDict, total=False):
    """A line that the relay is sent."""

    do: str
    link: str
    ends: list[str]
    mtu_bytes: int
    delay_us: int
    loss: float
    rate_bps: int


class DirectionCounters(TypedDict):
    """What happened to frames of one direction since the link was added."""

    sent: int
    sent_bytes: int
    lost: int
    overflowed: int
    unsent: int
    overrun: int


class End:
    """One end of an emulated link: a packet socket on an interface of the relay's namespace."""

    __slots__ = ("frame_bytes", "index", "link", "name", "overrun", "socket")

    def __init__(self, name: str, mtu_bytes: int, link: Link) -> None:
        self.name = name
        self.link = link
        self.index = socket.if_nametoindex(name)
        self.frame_bytes = mtu_bytes + _FRAME_MARGIN_BYTES
        self.overrun = 0
        # Protocol 0 until it is bound, or it would collect frames of all interfaces in between.
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
        self.socket.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
        self.socket.setsockopt(_SOL_PACKET, _PACKET_QDISC_BYPASS, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, RECEIVE_BUFFER_BYTES)
        self.socket.bind((name, _ETH_P_ALL))

    def read_overrun(self) -> int:
        """Frames that the kernel had to drop because the relay was late. Reading resets the kernel's own count."""
        _, dropped = struct.unpack("II", self.socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8))
        self.overrun += dropped
        return self.overrun


class Direction:
    """Frames from one end to the other: what waits, what the link does to them, and what was counted."""

    __slots__ = (
        "delay_ns",
        "free_at_ns",
        "loss",
        "lost",
        "ns_per_byte",
        "overflowed",
        "queue",
        "queued_bytes",
        "sent",
        "sent_bytes",
        "sink",
        "source",
        "unsent",
    )

    def __init__(self, source: End, sink: End) -> None:
        self.source = source
        self.sink = sink
        self.queue: deque[tuple[int, bytes]] = deque()
        self.queued_bytes = 0
        self.delay_ns = 0
        self.loss = 0.0
        self.ns_per_byte = 0.0
        self.free_at_ns = 0
        self.sent = self.sent_bytes = self.lost = self.overflowed = self.unsent = 0

    def set(self, order: Order) -> None:
        """Take over those of delay, loss and rate that the order names. Frames on the way keep their times."""
        if "delay_us" in order:
            self.delay_ns = order["delay_us"] * 1_000
        if "loss" in order:
            self.loss = order["loss"]
        if "rate_bps" in order:
            self.ns_per_byte = 8e9 / order["rate_bps"] if order["rate_bps"] else 0.0

    def admit(self, frame: bytes, now_ns: int, chance: float) -> None:
        """Put a frame on its way, or drop it. `chance` is a number drawn from [0, 1)."""
        size = len(frame)
        if chance < self.loss:
            self.lost += 1
            return
        leaves_ns = now_ns
        if self.ns_per_byte:
            starts_ns = max(now_ns, self.free_at_ns)
            if starts_ns - now_ns > QUEUE_S * 1e9:
                self.overflowed += 1
                return
            leaves_ns = self.free_at_ns = starts_ns + int(size * self.ns_per_byte)
        if self.queued_bytes + size > QUEUE_BYTES:
            self.overflowed += 1
            return
        due_ns = leaves_ns + self.delay_ns
        # A shorter delay must not let frames overtake those that were sent under the longer one.
        if self.queue and self.queue[-1][0] > due_ns:
            due_ns = self.queue[-1][0]
        self.queue.append((due_ns, frame))
        self.queued_bytes += size

    def release(self, now_ns: int) -> None:
        """Send what is due, up to a batch."""
        queue, send = self.queue, self.sink.socket.send
        for _ in range(BATCH_FRAMES):
            if not queue or queue[0][0] > now_ns:
                return
            frame = queue.popleft()[1]
            self.queued_bytes -= len(frame)
            try:
                send(frame)
            except OSError:
                # The far end is down or the kernel has no room: the frame is lost, as on a cut or congested cable.
                self.unsent += 1
            else:
                self.sent += 1
                self.sent_bytes += len(frame)

    def counters(self) -> DirectionCounters:
        """All counts so far."""
        return {
            "sent": self.sent,
            "sent_bytes": self.sent_bytes,
            "lost": self.lost,
            "overflowed": self.overflowed,
            "unsent": self.unsent,
            "overrun": self.source.read_overrun(),
        }


class Link:
    """Two ends and two directions. At most one end is switched off by us, because the other one has no carrier."""

    __slots__ = ("blocked", "directions", "ends", "name")

    def __init__(self, name: str, ends: list[str], mtu_bytes: int) -> None:
        self.name = name
        first, second = (End(end, mtu_bytes, self) for end in ends)
        self.ends = (first, second)
        self.directions = (Direction(first, second), Direction(second, first))
        self.blocked: End | None = None

    def carrier_seen(self, end: End, present: bool) -> End | None:
        """Which end to switch when an end that is on has carrier or has none: off if it is `blocked` now, else on."""
        other = self.ends[1] if end is self.ends[0] else self.ends[0]
        if not present and self.blocked is None:
            self.blocked = other
            return other
        if present and self.blocked is other:
            self.blocked = None
            return other
        return None
