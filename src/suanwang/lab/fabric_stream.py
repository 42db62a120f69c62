"""A stream of numbered packets between two hosts that have a port in each plane, so that every lost one is known.

The sender is what a network interface with several planes is to do: it spreads packets over the planes it holds for
alive. A plane is dead once the network says that the far end can't be reached (ICMP, RFC 792), or when probes, which go
out all the time, are not answered for `SILENCE_S`; it is alive again with the first answer. Within a plane, packets
differ in their source ports, so they take all paths that there are.
"""

from __future__ import annotations

import contextlib
import errno
import select
import socket
import struct
import threading
import time
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import TracebackType

from suanwang.lab import namespaces

INTERVAL_S = 0.001
PROBE_S = 0.02
SILENCE_S = 0.5
"""Long enough for a busy machine; short against what routers take to notice a dead neighbour that says nothing."""
FLOWS = 16
"""Source ports in each plane."""
MOST_PACKETS = 2**21
PORT = 47_800
_FORM = struct.Struct("!cBI")
_DATA, _PROBE = b"d", b"p"
_IP_RECVERR = 11
_UNREACHABLE = (errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH)


@dataclass(frozen=True, slots=True)
class Loss:
    """What became of the packets of a while. `outage_s`: the longest time in which none arrived."""

    sent: int
    lost: int
    outage_s: float
    by_plane: tuple[int, ...]

    @property
    def share(self) -> float:
        """Lost of sent."""
        return self.lost / self.sent if self.sent else 0.0


class Stream:
    """A stream, from when it is entered until it is left. `pairs`: for each plane the addresses of both hosts."""

    def __init__(self, source: str, target: str, pairs: Sequence[tuple[str, str]]) -> None:
        self._source, self._target, self._pairs = source, target, list(pairs)
        self._stop = threading.Event()
        self._news = threading.Condition()
        self._arrived = array("d", bytes(8 * MOST_PACKETS))
        self._plane = array("B", bytes(MOST_PACKETS))
        self._sent = 0
        self._newest = [-1] * len(pairs)
        self._heard = [time.monotonic()] * len(pairs)
        self._threads = [
            threading.Thread(target=work, name=name, daemon=True)
            for name, work in (("stream-sender", self._send), ("stream-receiver", self._receive))
        ]

    def __enter__(self) -> Stream:
        self._out = namespaces.run_inside(self._source, self._senders)
        self._in = namespaces.run_inside(self._target, self._receivers)
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        for one in (*self._in, *(one for plane in self._out for one in plane)):
            one.close()

    def mark(self) -> int:
        """The number of the next packet."""
        return self._sent

    def flowing(self, limit_s: float = 5.0, everywhere: bool = False) -> bool:
        """Wait until a packet that is sent from now on arrives, or (`everywhere`) one in each plane; whether it did."""
        return self._reached(self._sent, limit_s, everywhere)

    def loss(self, first: int, limit_s: float = 1.0) -> Loss:
        """What became of the packets from `first` on, once those that are on the way had the time to arrive."""
        last = self._sent
        self._reached(last + 5, limit_s)
        times = [at for at in self._arrived[first:last] if at]
        planes = [
            plane
            for at, plane in zip(self._arrived[first:last], self._plane[first:last], strict=True) if at
        ]  # fmt: skip
        times.sort()
        gaps = [after - before for before, after in pairwise(times)]
        return Loss(
            sent=last - first,
            lost=last - first - len(times),
            outage_s=max(gaps, default=0.0),
            by_plane=tuple(planes.count(plane) for plane in range(len(self._pairs))),
        )

    def _reached(self, number: int, limit_s: float, everywhere: bool = False) -> bool:
        choice = min if everywhere else max
        with self._news:
            return self._news.wait_for(lambda: choice(self._newest) >= number, limit_s)

    def _senders(self) -> list[list[socket.socket]]:
        """For each plane, sockets for packets and, last, one for probes; the hosts' routes keep them to their plane."""
        found = []
        for near, far in self._pairs:
            plane = []
            for _ in range(FLOWS + 1):
                one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
                # Without it, a socket is not told that its network can't be reached (ip(7), udp(7)).
                one.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)
                one.bind((near, 0))
                one.connect((far, PORT))
                plane.append(one)
            found.append(plane)
        return found

    def _receivers(self) -> list[socket.socket]:
        found = []
        for _, far in self._pairs:
            one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
            one.bind((far, PORT))
            found.append(one)
        return found

    def _send(self) -> None:
        due = probe_due = time.monotonic()
        while not self._stop.wait(max(0.0, due - time.monotonic())) and self._sent < MOST_PACKETS:
            now = time.monotonic()
            # A late sender goes on from now: it does not make up for what it missed in a burst.
            due = max(due + INTERVAL_S, now - 10 * INTERVAL_S)
            self._hear_probes(now)
            if now >= probe_due:
                probe_due = now + PROBE_S
                for plane, sockets in enumerate(self._out):
                    self._put(sockets[-1], _PROBE, plane, 0)
            self._send_one(now)

    def _send_one(self, now: float) -> None:
        number = self._sent
        planes = range(len(self._out))
        alive = [plane for plane in planes if now - self._heard[plane] < SILENCE_S] or list(planes)
        for turn in range(len(alive)):
            plane = alive[(number + turn) % len(alive)]
            if self._put(self._out[plane][number // len(alive) % FLOWS], _DATA, plane, number):
                break
            self._heard[plane] = now - SILENCE_S
        self._sent = number + 1

    def _put(self, one: socket.socket, kind: bytes, plane: int, number: int) -> bool:
        """Send a packet; False when the network has said that the far end can't be reached."""
        try:
            one.send(_FORM.pack(kind, plane, number))
        except OSError as problem:
            with contextlib.suppress(OSError):
                while one.recvmsg(512, 512, socket.MSG_ERRQUEUE):
                    pass
            return problem.errno not in _UNREACHABLE
        return True

    def _hear_probes(self, now: float) -> None:
        for plane, sockets in enumerate(self._out):
            with contextlib.suppress(OSError):
                while sockets[-1].recv(64):
                    self._heard[plane] = now

    def _receive(self) -> None:
        waiting = select.poll()
        served: dict[int, socket.socket] = {one.fileno(): one for one in self._in}
        for number in served:
            waiting.register(number, select.POLLIN)
        while not self._stop.is_set():
            for number, _ in waiting.poll(50):
                with contextlib.suppress(OSError):
                    while True:
                        self._take(served[number], *served[number].recvfrom(64))

    def _take(self, one: socket.socket, data: bytes, sender: tuple[str, int]) -> None:
        if len(data) != _FORM.size:
            return
        kind, plane, number = _FORM.unpack(data)
        if kind == _PROBE:
            one.sendto(data, sender)
        elif number < MOST_PACKETS and not self._arrived[number]:
            with self._news:
                self._arrived[number], self._plane[number] = time.monotonic(), plane
                self._newest[plane] = max(self._newest[plane], number)
                self._news.notify_all()
