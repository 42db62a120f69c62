"""Handlers that read resources: list, one, history, watch."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec
from aiohttp import web

from suanwang.api.authorization import Principal, redacted, require_sight, require_tenant, visible
from suanwang.api.call import Call
from suanwang.api.messages import ChangeNote, CommitNote, History, Items, WatchedChange, WatchedCommit
from suanwang.model.errors import INVALID, NOT_FOUND, SuanwangError
from suanwang.model.reference import Key, is_name
from suanwang.model.resource import shown_document
from suanwang.store.interface import Change, Commit, Entry, Store

Action = Literal["create", "update", "delete"]

MOST_LOOK_UPS = 1000
"""Of what a change of a resource that is gone was, in one answer: each is a look into the history."""
LONGEST_SCAN = 100_000
"""Resources looked through for one page of those that a token sees."""


def time_text(time_s: float) -> str:
    """A moment as RFC 3339 in UTC, to the millisecond."""
    return datetime.fromtimestamp(time_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def document(call: Call, entry: Entry) -> dict[str, Any]:
    """A resource as the caller may see it."""
    status = call.services.store.status(entry.key)
    return visible(call.who, shown_document(entry.key, entry.body, status, entry.revision))


async def list_resources(call: Call) -> Items:
    """Resources of a kind that the token sees, in order of tenant and name."""
    kind = call.services.registry.kind(call.part("kind")).name
    tenant = call.text("tenant")
    require_tenant(call.who, tenant)
    if call.services.registry.kind(kind).scope == "infrastructure":
        tenant = ""
    after = _after(kind, call.text("after"))
    limit = int(call.number("limit"))

    def read() -> Items:
        revision = call.services.store.revision
        entries: list[Entry] = []
        more = False
        for entry in _visible(call.services.store, call.who, kind, tenant, after, limit + 1):
            if len(entries) == limit:
                more = True
                break
            entries.append(entry)
        following = f"{entries[-1].key.tenant}/{entries[-1].key.name}" if more else None
        return Items([document(call, entry) for entry in entries], revision, following)

    return await asyncio.to_thread(read)


def _after(kind: str, text: str) -> Key | None:
    if not text:
        return None
    tenant, _, name = text.rpartition("/")
    if not is_name(name) or (tenant and not is_name(tenant)):
        raise SuanwangError(INVALID, "after is not valid", "give what the last page said as next")
    return Key(kind, tenant, name)


def _visible(store: Store, who: Principal, kind: str, tenant: str, after: Key | None, limit: int) -> Iterator[Entry]:
    """Entries of a kind that a principal sees; it never walks through other tenants' resources."""
    if who.everywhere or tenant:
        yield from store.list(kind, tenant or None, after=after, limit=limit)
        return
    # Infrastructure stands under the empty tenant.
    for one in ("", *sorted(who.tenants)):
        if after is not None and one < after.tenant:
            continue
        for entry in store.list(kind, one, after=after, limit=limit if one else LONGEST_SCAN):
            if who.sees(entry.key):
                yield entry


async def get_resource(call: Call) -> web.Response:
    """One resource."""
    key = call.key()
    require_sight(call.who, key)

    def read() -> dict[str, Any]:
        entry = call.services.store.get(key)
        if entry is None:
            raise SuanwangError(
                NOT_FOUND, f"there is no {key}", f"see those that are there: suanwang get {key.kind.lower()}"
            )
        return document(call, entry)

    return web.json_response(await asyncio.to_thread(read), dumps=_dumps)


def _dumps(value: Any) -> str:
    return msgspec.json.encode(value).decode()


async def history(call: Call) -> History:
    """Commits, newest first, with the changes that the token sees."""
    kind, tenant, name = call.text("kind"), call.text("tenant"), call.text("name")
    require_tenant(call.who, tenant)
    store, who = call.services.store, call.who
    if kind:
        kind = call.services.registry.kind(kind).name
    key = Key(kind, tenant, name) if kind and name else None
    if key is not None:
        require_sight(who, key)
    limit = int(call.number("limit"))

    def read() -> History:
        notes: list[CommitNote] = []
        actions = Actions(store)
        for commit in _commits(store, who, key, tenant, limit):
            seen = [change for change in commit.changes if who.sees(change.key) and kind in ("", change.key.kind)]
            if seen:
                notes.append(_note(who, commit, seen, actions))
            if len(notes) == limit:
                break
        return History(notes)

    return await asyncio.to_thread(read)


def _commits(store: Store, who: Principal, key: Key | None, tenant: str, limit: int) -> Iterable[Commit]:
    if key is not None or tenant or who.everywhere:
        # A filter by kind alone looks at more commits than it shows.
        return store.history(key, tenant=None if key is not None else tenant or None, limit=limit)
    found: dict[int, Commit] = {}
    for one in who.tenants:
        for commit in store.history(tenant=one, limit=limit):
            present = found.get(commit.revision)
            changes = (*present.changes, *commit.changes) if present else commit.changes
            found[commit.revision] = commit._replace(changes=changes)
    return [found[revision] for revision in sorted(found, reverse=True)]


def _note(who: Principal, commit: Commit, seen: Sequence[Change], actions: Actions) -> CommitNote:
    notes = [ChangeNote(actions.of(change, commit.revision), *change.key) for change in seen]
    # Someone else's words may speak of others' things.
    message = commit.message if who.everywhere or commit.author == who.name else redacted(who, commit.message)
    return CommitNote(commit.revision, time_text(commit.time_us / 1e6), commit.author, message, notes)


class Actions:
    """What a change was: the store tells only what a resource became. Exact as far as history reaches back."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._left = MOST_LOOK_UPS

    def of(self, change: Change, revision: int) -> Action:
        """`create`, `update` or `delete`."""
        if change.body is None:
            return "delete"
        entry = self._store.get(change.key)
        if entry is not None and entry.created <= revision:
            return "create" if entry.created == revision else "update"
        if self._left <= 0:
            return "update"
        self._left -= 1
        earlier = [one for one in self._store.history(change.key, limit=1000) if one.revision < revision]
        return "update" if earlier and earlier[0].changes[0].body is not None else "create"


async def watch(call: Call) -> web.StreamResponse:
    """Commits after `since` as they come, one JSON object a line; an empty line every now and then says that it
    lives."""
    store, who = call.services.store, call.who
    limits = call.services.settings.limits
    kind, tenant = call.text("kind"), call.text("tenant")
    require_tenant(who, tenant)
    if kind:
        kind = call.services.registry.kind(kind).name
    since = int(call.number("since"))
    commits = await asyncio.to_thread(store.watch, store.revision if since < 0 else since)
    rung = asyncio.Event()
    loop = asyncio.get_running_loop()

    def ring(revision: int) -> None:
        try:
            loop.call_soon_threadsafe(rung.set)
        except RuntimeError:
            # The loop is closed: the server has stopped, and this stream with it.
            return

    unsubscribe = store.subscribe(ring)
    response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson", "Cache-Control": "no-store"})
    try:
        await response.prepare(call.request)
        await response.write(b"\n")
        while True:
            rung.clear()
            line = b""
            commit = await asyncio.to_thread(commits.next, 0)
            if commit is None:
                if commits.closed:
                    break
                try:
                    async with asyncio.timeout(limits.watch_heartbeat_s):
                        await rung.wait()
                    continue
                except TimeoutError:
                    line = b"\n"
            else:
                line = await asyncio.to_thread(_line, call, commit, kind, tenant)
            if not call.services.credentials.has_token(who.name):
                # Made void while the stream was open.
                break
            if line:
                async with asyncio.timeout(limits.write_timeout_s):
                    await response.write(line)
        await response.write_eof()
    except TimeoutError:
        # Its client reads nothing; it finds the connection closed and may watch again from where it was.
        if call.request.transport is not None:
            call.request.transport.abort()
    finally:
        unsubscribe()
        commits.close()
    return response


def _line(call: Call, commit: Commit, kind: str, tenant: str) -> bytes:
    store, who = call.services.store, call.who
    actions = Actions(store)
    seen = []
    for change in commit.changes:
        key = change.key
        if not who.sees(key) or (kind and key.kind != kind) or (tenant and key.tenant != tenant):
            continue
        shown = None
        if change.body is not None:
            shown = visible(who, shown_document(key, change.body, None, commit.revision))
        seen.append(WatchedChange(actions.of(change, commit.revision), *key, shown))
    if not seen:
        return b""
    line = WatchedCommit(commit.revision, commit.author, time_text(commit.time_us / 1e6), seen)
    return msgspec.json.encode(line) + b"\n"
