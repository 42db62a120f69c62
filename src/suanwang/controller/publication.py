"""What a connected agent has, and what it still needs.

One publication stands for one connection. The controller marks in it the owners whose fragments changed; `next` then
looks at those owners only, so keeping an agent up to date costs what changed, not what it holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from suanwang.program import wire
from suanwang.program.fragment import Fragment


class Publication:
    """The stream of updates of one agent. Made by `Controller.publish`; `next` is called by the connection."""

    def __init__(self, hello: wire.Hello, wake: Callable[[], None]) -> None:
        self.node = hello.node
        self.hash = hello.hash
        self._wake = wake
        self._have: dict[str, dict[str, str]] = {}
        for id, fingerprint in hello.have.items():
            self._have.setdefault(id.partition("#")[0], {})[id] = fingerprint
        # What an agent says it has may be anything, so first everything is compared.
        self._everything = True
        self._dirty: set[str] = set()

    @property
    def pending(self) -> bool:
        """Whether something changed since the last `difference`."""
        return self._everything or bool(self._dirty)

    def mark(self, owners: Iterable[str]) -> None:
        """Fragments of these owners changed. Called by the controller."""
        self._dirty.update(owners)
        self._wake()

    def difference(
        self, fragments: Callable[[frozenset[str] | None], Iterable[Fragment]]
    ) -> tuple[tuple[str, ...], tuple[Fragment, ...]]:
        """(ids to remove, fragments to put) since the last call; `fragments` gives the present ones of some owners."""
        owners = None if self._everything else frozenset(self._dirty)
        wanted: dict[str, dict[str, Fragment]] = {}
        for part in fragments(owners):
            wanted.setdefault(part.owner, {})[part.id] = part
        remove: list[str] = []
        put: list[Fragment] = []
        for owner in sorted({*self._have, *wanted} if owners is None else owners):
            have: Mapping[str, str] = self._have.pop(owner, {})
            parts = wanted.get(owner, {})
            remove += [id for id in have if id not in parts]
            put += [part for id, part in parts.items() if have.get(id) != f"{part.fingerprint:032x}"]
            if parts:
                self._have[owner] = {id: f"{part.fingerprint:032x}" for id, part in parts.items()}
        self._everything = False
        self._dirty.clear()
        return tuple(remove), tuple(put)
