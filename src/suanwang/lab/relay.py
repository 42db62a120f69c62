"""The userspace relay: delay, loss and rate for links on kernels without netem.

Each emulated link is two veth pairs whose far ends stand in one relay namespace. This process, one a lab, takes every
frame that arrives at one far end and sends it out of the other when its time has come.

    node a [if] ======= [a-end]  relay process  [b-end] ======= [if] node b

Frames of one direction all wait equally long, so they stay in order and a plain queue a direction is enough; a heap
holds the directions by the time at which their first frame is due, and a kernel timer with nanosecond steps wakes the
process. Nothing is copied but by the kernel, nothing sleeps, and nobody is served more than a batch at a time.

Frames pass as they would on a wire: offloads are switched off at the nodes' ends (see `links`), so no frame is bigger
than the link's MTU and every checksum is filled in. VLAN tags are not carried: the kernel takes them off before a
packet socket sees the frame.

The relay takes orders as JSON lines on a Unix socket, one answer a line:

    {"do": "add", "link": NAME, "ends": [IF, IF], "mtu_bytes": N, "delay_us": N, "loss": X, "rate_bps": N}
    {"do": "set", "link": NAME, "delay_us": N, "loss": X, "rate_bps": N}
    {"do": "stats"}      counters of every link, a list of two directions each
    {"do": "stop"}
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import heapq
import json
import os
import random
import select
import signal
import socket
import struct
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from suanwang.lab.emulation import BATCH_FRAMES, Direction, End, Link, Order

_SIOCGIFFLAGS = 0x8913
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 1
_IFF_RUNNING = 0x40
_IFF_LOWER_UP = 0x1_0000
_RTMGRP_LINK = 1
_RTM_NEWLINK = 16
_CLOCK_MONOTONIC = 1
_TFD_NONBLOCK = 0o4000
_TFD_CLOEXEC = 0o2000000
_TFD_TIMER_ABSTIME = 1

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(slots=True)
class Relay:
    """The loop and all it watches."""

    control: socket.socket
    random: random.Random
    links: dict[str, Link] = field(default_factory=dict)
    running: bool = True
    _epoll: select.epoll = field(default_factory=select.epoll)
    _sources: dict[int, Direction] = field(default_factory=dict)
    _ends: dict[int, End] = field(default_factory=dict)
    _callers: dict[int, tuple[socket.socket, bytearray]] = field(default_factory=dict)
    _due: list[tuple[int, int, Direction]] = field(default_factory=list)
    _timer: int = -1
    _armed_ns: int = 0
    _carriers: socket.socket = field(
        default_factory=lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
    )
    _switch: socket.socket = field(default_factory=lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))

    def run(self) -> None:
        """Serve until told to stop."""
        self._timer = _libc.timerfd_create(_CLOCK_MONOTONIC, _TFD_NONBLOCK | _TFD_CLOEXEC)
        self._carriers.bind((0, _RTMGRP_LINK))
        # Edge-triggered, so that a timer that went off need not be read to be quiet.
        self._epoll.register(self._timer, select.EPOLLIN | select.EPOLLET)
        self._epoll.register(self._carriers.fileno(), select.EPOLLIN)
        self._epoll.register(self.control.fileno(), select.EPOLLIN)
        while self.running:
            self._turn()

    def _turn(self) -> None:
        # Frames that are still due after a full batch must not wait for an event.
        behind = bool(self._due) and self._due[0][0] <= time.monotonic_ns()
        for descriptor, _ in self._epoll.poll(0 if behind else -1, 256):
            direction = self._sources.get(descriptor)
            if direction is not None:
                self._take(direction)
            elif descriptor == self._timer:
                self._armed_ns = 0
            elif descriptor == self._carriers.fileno():
                self._watch_carriers()
            elif descriptor == self.control.fileno():
                caller, _ = self.control.accept()
                caller.setblocking(False)
                self._callers[caller.fileno()] = (caller, bytearray())
                self._epoll.register(caller.fileno(), select.EPOLLIN)
            else:
                self._listen(descriptor)
        self._release()

    def _take(self, direction: Direction) -> None:
        receive, size = direction.source.socket.recv, direction.source.frame_bytes
        was_empty = not direction.queue
        draw = self.random.random
        for _ in range(BATCH_FRAMES):
            try:
                frame = receive(size)
            except BlockingIOError:
                break
            except OSError as error:
                # The interface went down: the socket says so once and works again when it is back.
                if error.errno not in (errno.ENETDOWN, errno.ENXIO):
                    raise
                continue
            direction.admit(frame, time.monotonic_ns(), draw() if direction.loss else 1.0)
        if was_empty and direction.queue:
            heapq.heappush(self._due, (direction.queue[0][0], id(direction), direction))

    def _release(self) -> None:
        due = self._due
        now_ns = time.monotonic_ns()
        for _ in range(len(due)):
            if not due or due[0][0] > now_ns:
                break
            direction = due[0][2]
            direction.release(now_ns)
            if direction.queue:
                heapq.heapreplace(due, (direction.queue[0][0], id(direction), direction))
            else:
                heapq.heappop(due)
        if due and due[0][0] != self._armed_ns:
            self._armed_ns = due[0][0]
            seconds, rest = divmod(self._armed_ns, 1_000_000_000)
            _libc.timerfd_settime(self._timer, _TFD_TIMER_ABSTIME, struct.pack("4q", 0, 0, seconds, rest), None)

    def _watch_carriers(self) -> None:
        while True:
            try:
                data = self._carriers.recv(65_536)
            except BlockingIOError:
                return
            except OSError:
                # More changed at once than the socket held, so look at every end.
                for end in list(self._ends.values()):
                    # RUNNING is the nearest to a carrier that 16 bits can tell.
                    flags = self._flags(end)
                    if flags & _IFF_UP:
                        self._carrier(end, bool(flags & _IFF_RUNNING))
                continue
            offset = 0
            while offset + 32 <= len(data):
                length, kind = struct.unpack_from("IH", data, offset)
                index, flags = struct.unpack_from("iI", data, offset + 20)
                changed = self._ends.get(index)
                # An end that is off has no carrier whatever the node does, so it tells nothing.
                if kind == _RTM_NEWLINK and changed is not None and flags & _IFF_UP:
                    self._carrier(changed, bool(flags & _IFF_LOWER_UP))
                offset += max(16, (length + 3) & ~3)

    def _carrier(self, end: End, present: bool) -> None:
        link = end.link
        switched = link.carrier_seen(end, present)
        if switched is None:
            return
        flags = self._flags(switched)
        up = switched is not link.blocked
        request = struct.pack("16sH14x", switched.name.encode(), flags | _IFF_UP if up else flags & ~_IFF_UP)
        try:
            _ioctl(self._switch, _SIOCSIFFLAGS, request)
        except OSError:
            return

    def _flags(self, end: End) -> int:
        """The lower 16 bits of an interface's flags; 0 when it is gone."""
        try:
            answer = _ioctl(self._switch, _SIOCGIFFLAGS, struct.pack("16s16x", end.name.encode()))
        except OSError:
            return 0
        return int(struct.unpack_from("16xH", answer)[0])

    def _listen(self, descriptor: int) -> None:
        caller, buffer = self._callers[descriptor]
        try:
            data = caller.recv(65_536)
        except OSError:
            data = b""
        if not data:
            self._epoll.unregister(descriptor)
            del self._callers[descriptor]
            caller.close()
            return
        buffer += data
        while (end := buffer.find(b"\n")) >= 0:
            line = bytes(buffer[:end])
            del buffer[: end + 1]
            answer = self._answer(line)
            # Answers are short and rare; a caller that does not read them is not worth waiting for.
            caller.settimeout(1.0)
            try:
                caller.sendall(json.dumps(answer).encode() + b"\n")
            except OSError:
                continue
            finally:
                caller.setblocking(False)

    def _answer(self, line: bytes) -> object:
        try:
            return self.obey(cast(Order, json.loads(line)))
        except (ValueError, KeyError, TypeError, OSError) as error:
            return {"error": f"{type(error).__name__}: {error}"}

    def obey(self, order: Order) -> object:
        """Carry out one order. Raises KeyError, ValueError or OSError when it cannot be."""
        what = order["do"]
        if what == "add":
            if order["link"] in self.links:
                raise ValueError(f"link {order['link']} is there already")
            self._add(Link(order["link"], order["ends"], order["mtu_bytes"]), order)
        elif what == "set":
            for direction in self.links[order["link"]].directions:
                direction.set(order)
        elif what == "stats":
            return {name: [d.counters() for d in link.directions] for name, link in self.links.items()}
        elif what == "stop":
            self.running = False
        else:
            raise ValueError(f"no order {what!r}")
        return {}

    def _add(self, link: Link, order: Order) -> None:
        self.links[link.name] = link
        for end, direction in zip(link.ends, link.directions, strict=True):
            direction.set(order)
            self._ends[end.index] = end
            self._sources[end.socket.fileno()] = direction
            self._epoll.register(end.socket.fileno(), select.EPOLLIN)


def _ioctl(through: socket.socket, request: int, argument: bytes) -> bytes:
    return fcntl.ioctl(through.fileno(), request, argument)


def main(arguments: list[str]) -> None:
    """Run a relay in the network namespace of this process: `relay CONTROL-SOCKET LINKS-FILE LOG-FILE SEED`.

    The links file holds one `add` order a line. The relay goes to the background, for labs outlive the command that
    started them: this process prints the relay's process id and ends when the relay serves, or ends with an error.
    """
    control_path, links_path, log_path, seed = *map(Path, arguments[:3]), int(arguments[3])
    control = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    relay = Relay(control, random.Random(seed))
    for line in links_path.read_text().splitlines():
        relay.obey(cast(Order, json.loads(line)))
    control_path.unlink(missing_ok=True)
    control.bind(str(control_path))
    control.listen(16)
    if (child := os.fork()) != 0:
        sys.stdout.write(f"{child}\n")
        return
    os.setsid()
    for ignored in (signal.SIGPIPE, signal.SIGINT, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    log = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    # A relay that waits for its turn behind a busy router would add that wait to every packet's delay.
    os.setpriority(os.PRIO_PROCESS, 0, -10)
    relay.run()


if __name__ == "__main__":
    main(sys.argv[1:])
