"""When each namespace is looked at next. Pure: times are given, in seconds of a clock that only goes forward.

A namespace of which something was heard is looked at at once. Where that happens again and again (somebody fights with
us) only `LOOKS_AT_ONCE` times, then once in `EVERY_S`: a look costs a millisecond or so, and who makes events must not
be able to make us busy. All others are looked at in turn, each once in `TURN_S`, spread evenly: for what no event
tells.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

TURN_S: Final = 60.0
PAUSE_S: Final = 0.05
"""Least time between two looks: what is changed in one go is mostly put right in one."""

LOOKS_AT_ONCE: Final = 20
EVERY_S: Final = 1.0


class Turns:
    """The namespaces, by name, and when they were looked at."""

    def __init__(self, now_s: float) -> None:
        self._looked: dict[str, float] = {}
        self._marked: dict[str, float] = {}
        self._spent: dict[str, tuple[float, float]] = {}
        """When it was last looked at because something was heard, and how many looks it has used up by then."""
        self._share = 0.0
        self._at_s = now_s

    def keep(self, names: Iterable[str], now_s: float) -> None:
        """Know exactly these namespaces; new ones count as just looked at."""
        kept = dict.fromkeys(names)
        for gone in [name for name in self._looked if name not in kept]:
            del self._looked[gone]
            self._marked.pop(gone, None)
            self._spent.pop(gone, None)
        for name in kept:
            self._looked.setdefault(name, now_s)

    def mark(self, name: str, now_s: float) -> None:
        """Something was heard of it."""
        if name in self._marked or name not in self._looked:
            return
        at, spent = self._spent.get(name, (now_s - PAUSE_S, 0.0))
        over = spent + 1 - LOOKS_AT_ONCE
        self._marked[name] = max(now_s, at + PAUSE_S, at + over * EVERY_S)

    def is_marked(self, name: str) -> bool:
        """Whether something was heard of it since it was looked at."""
        return name in self._marked

    def due(self, now_s: float) -> set[str]:
        """The marked ones whose time has come."""
        return {name for name, at in self._marked.items() if at <= now_s}

    def next_s(self) -> float | None:
        """When the next marked one is due; None where there is none."""
        return min(self._marked.values(), default=None)

    def share(self, now_s: float) -> list[str]:
        """Those whose turn has come since it was asked last, the longest not looked at first."""
        self._share += len(self._looked) * max(0.0, now_s - self._at_s) / TURN_S
        self._at_s = now_s
        count = min(int(self._share), len(self._looked))
        self._share = min(self._share - count, 1.0)
        return [name for name, _ in zip(self._looked, range(count), strict=False)]

    def looked(self, names: Iterable[str], now_s: float) -> None:
        """These have been looked at."""
        for name in names:
            if self._looked.pop(name, None) is not None:
                self._looked[name] = now_s
            if self._marked.pop(name, None) is not None:
                at, spent = self._spent.get(name, (now_s, 0.0))
                self._spent[name] = (now_s, max(0.0, spent - (now_s - at) / EVERY_S) + 1)
