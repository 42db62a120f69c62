"""Which namespaces have to be looked at: what is heard of them, what is missing, and whose turn it is.

A thread waits for events. It takes them from the kernel at any time, but judges them only while it holds the lock of
the `Kernel`, when what is remembered is what the kernel was left with; whoever holds that lock judges for it at the
end. Where events can't be had every namespace is looked at every time.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from suanwang.linux import events, items, netns
from suanwang.linux.events import Event, Listener
from suanwang.linux.netlink import attributes
from suanwang.linux.news import is_news
from suanwang.linux.space import Space
from suanwang.linux.turns import Turns

_SCAN_S: Final = 1.0
_BUSY_S: Final = 0.02
"""How often events are taken from the kernel while somebody else holds the lock."""

_KEPT: Final = 100_000
"""Most events kept until they are judged; beyond that everything is looked at."""


class Watch:
    """Watches over `spaces`, whose owner holds `lock` whenever it changes them or calls anything here."""

    def __init__(self, lock: threading.RLock, spaces: Mapping[str, Space]) -> None:
        self._lock = lock
        self._spaces = spaces
        self._turns = Turns(time.monotonic())
        self._listener: Listener | None = None
        self._thread: threading.Thread | None = None
        self._closing = False
        self._hearing = threading.Lock()
        self._pending: dict[int, dict[tuple[int, bytes], Event]] = {}
        self._kept = 0
        self._scanned_s = 0.0
        self._tell: Callable[[], None] | None = None
        self._told = False

    def start(self, crew: netns.Crew) -> None:
        """Begin to listen, once; `/run/netns` must be there."""
        if self._thread is not None:
            return
        try:
            self._listener = crew.submit(Listener).result()
        except OSError:
            return
        self._thread = threading.Thread(target=self._run, name="netns-events", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End listening, until `start`. Not to be called by the holder of the lock."""
        if self._listener is not None and self._thread is not None:
            self._closing = True
            self._listener.wake()
            self._thread.join()
            self._listener.close()
            self._listener = self._thread = None
            self._pending = {}
            self._closing = False

    def listen(self, tell: Callable[[], None]) -> None:
        """`tell` is called, by any thread, when there is something to look at; once, until that has been done."""
        self._tell = tell

    def number(self, descriptors: Sequence[int]) -> list[int]:
        """The numbers under which these namespaces are listened to; -1 if they aren't."""
        return [-1] * len(descriptors) if self._listener is None else self._listener.number(descriptors)

    def is_marked(self, name: str) -> bool:
        """Whether something was heard of it since it was looked at."""
        return self._turns.is_marked(name)

    def due(self) -> set[str]:
        """The namespaces to be looked at now."""
        now = time.monotonic()
        self._turns.keep(self._spaces, now)
        self._judge(now)
        if now - self._scanned_s >= _SCAN_S:
            self._scanned_s = now
            self._scan(now)
        self._told = False
        deaf = {name for name, space in self._spaces.items() if space.number < 0}
        return deaf | self._turns.due(now) | set(self._turns.share(now))

    def looked(self, names: Iterable[str]) -> None:
        """These have been looked at, and the owner is about to give the lock back."""
        now = time.monotonic()
        self._turns.keep(self._spaces, now)
        self._turns.looked(names, now)
        self.judge()
        if self._listener is not None and self._turns.next_s() is not None:
            self._listener.wake()

    def judge(self) -> None:
        """Judge what was heard, and tell if something is to be looked at at once."""
        now = time.monotonic()
        self._judge(now)
        if not self._told and self._tell is not None and self._turns.due(now):
            self._told = True
            self._tell()

    def _run(self) -> None:
        listener = self._listener
        assert listener is not None
        while not self._closing:
            if listener.wait(self._limit_s()):
                self._hear()
            if self._lock.acquire(timeout=_BUSY_S):
                try:
                    if not self._closing:
                        self.judge()
                finally:
                    self._lock.release()

    def _limit_s(self) -> float:
        if self._pending:
            return _BUSY_S
        next_s = self._turns.next_s()
        return -1 if next_s is None or self._told else max(0.0, next_s - time.monotonic())

    def _hear(self) -> None:
        """Take what waits. Of a device or a ruleset only the last word counts, and a repetition counts for nothing."""
        if self._listener is None:
            return
        with self._hearing:
            for event in self._listener.heard():
                about = self._pending.setdefault(event.namespace, {})
                if event.kind in (items.NEWLINK, items.DELLINK):
                    key = event.body[4:8]
                    if event.kind == items.DELLINK and about.pop((items.NEWLINK, key), None) is not None:
                        self._kept -= 1
                elif event.kind == events.NEW_GENERATION:
                    key = b""
                else:
                    key = event.body
                self._kept += (event.kind, key) not in about
                about[event.kind, key] = event
                if self._kept > _KEPT:
                    self._pending = {-1: {(0, b""): events.LOST}}
                    self._kept = 0
            for name in self._listener.names_gone():
                self._pending.setdefault(-1, {})[-1, os.fsencode(name)] = Event(-1, -1, os.fsencode(name))

    def _judge(self, now: float) -> None:
        self._hear()
        with self._hearing:
            pending, self._pending, self._kept = self._pending, {}, 0
        if not pending:
            return
        by_number = {space.number: name for name, space in self._spaces.items()}
        self._judge_names(pending.pop(-1, {}), by_number, now)
        for number, heard in pending.items():
            name = by_number.get(number)
            if name is not None and not self._turns.is_marked(name) and is_news(self._spaces[name], heard.values()):
                self._turns.mark(name, now)

    def _judge_names(self, heard: dict[tuple[int, bytes], Event], by_number: dict[int, str], now: float) -> None:
        """Namespaces that ended, names that were taken away, and events that were lost."""
        if not heard:
            return
        by_name = {space.name: name for name, space in self._spaces.items() if space.name}
        gone = []
        for event in heard.values():
            if event == events.LOST:
                for name in self._spaces:
                    self._turns.mark(name, now)
            elif event.kind == events.DELNSID:
                number = int.from_bytes(attributes(event.body, 4).get(1, b""), sys.byteorder)
                gone.append(by_number.get(number))
            elif event.kind < 0:
                gone.append(by_name.get(os.fsdecode(event.body)))
        for known in gone:
            if known is not None:
                # Another one may get the same inode.
                self._spaces[known].inode = 0
                self._turns.mark(known, now)

    def _scan(self, now: float) -> None:
        """Mark those whose name does not stand for the same namespace any more."""
        for name, space in self._spaces.items():
            if space.name and netns.inode(space.name) != space.inode:
                self._turns.mark(name, now)
