"""Whether an event says something that isn't known of a namespace. Pure: no system calls.

What is told is compared with what is remembered, so that neither the echo of our own doing nor what the kernel does by
itself (carrier, learned neighbours, repeated announcements) makes anybody read a namespace again. Where in doubt it is
news: to look once too often costs half a millisecond, and looking makes no events.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterable

from suanwang.linux import events, items, seen
from suanwang.linux.events import Event
from suanwang.linux.items import Key
from suanwang.linux.netlink import attributes
from suanwang.linux.seen import Found, Item, Seen
from suanwang.linux.space import Space

_FORWARDING, _REVERSE_PATH = 2, 3
_QUEUES = (items.NEWQDISC, items.DELQDISC, items.NEWTFILTER, items.DELTFILTER)
_REMOVALS = (items.DELLINK, items.DELADDR, items.DELROUTE, items.DELNEIGH, items.DELRULE)


def is_news(space: Space, events_of_it: Iterable[Event]) -> bool:
    """Whether one of these events, all of this namespace, says that something is not as it is remembered."""
    known = space.seen
    if known is None:
        return True
    devices = {index: name for name, index in known.indexes.items()}
    return any(_differs(space, known, devices, event) for event in events_of_it)


def _differs(space: Space, known: Seen, devices: dict[int, str], event: Event) -> bool:
    kind, body = event.kind, event.body
    if kind == events.NEW_GENERATION:
        generation = int.from_bytes(attributes(body, 4).get(1, b""), "big")
        return space.filtered and generation > space.generation
    if kind in (items.NEWLINK, items.DELLINK):
        return _link_differs(space, known, devices, event)
    if kind in _QUEUES:
        (index,) = (int.from_bytes(body[4:8], sys.byteorder),)
        return space.wanted.whole and index in devices
    if kind == events.NEWNETCONF:
        return space.wanted.whole and _setting_differs(space, body)
    found = _found(kind, body, devices, known)
    if found is None:
        return False
    if not _concerns(space, found.item.key, found.protocol):
        return False
    present = known.items.get(found.item.key)
    return present is not None if kind in _REMOVALS else present != found.item


def _concerns(space: Space, key: Key, protocol: int) -> bool:
    return space.wanted.whole or key in space.wanted.items or key in space.made or protocol == items.PROTOCOL


def _found(kind: int, body: bytes, devices: dict[int, str], known: Seen) -> Found | None:
    if kind in (items.NEWADDR, items.DELADDR):
        return seen.address(body, devices)
    if kind in (items.NEWROUTE, items.DELROUTE):
        return seen.path(body, devices)
    if kind in (items.NEWNEIGH, items.DELNEIGH):
        found = seen.neighbour(body, devices, known, lasting=False)
        # What the kernel learns is nobody's doing, unless it stands where something of ours stood.
        return found if found is not None and (_lasts(found.item) or found.item.key in known.items) else None
    if kind in (items.NEWRULE, items.DELRULE):
        found = seen.policy(body)
        return found if found is not None and found.protocol == items.PROTOCOL else None
    return None


def _lasts(item: Item) -> bool:
    return not isinstance(item, items.Neighbour) or bool(item.mac)


def _link_differs(space: Space, known: Seen, devices: dict[int, str], event: Event) -> bool:
    family, _, index, _, _ = items.link_header.unpack_from(event.body)
    if family == socket.AF_BRIDGE:
        return False
    before = devices.get(index)
    if event.kind == items.DELLINK:
        return before is not None and _concerns(space, ("link", before), 0)
    told = Seen()
    link = seen.note_link(told, event.body)
    if before is not None and before != link.device:
        return True
    if not _concerns(space, link.key, 0):
        return False
    if before is None:
        return True
    there = known.peers.get(link.device, 0)
    return known.items.get(link.key) != link or told.peers.get(link.device, there) != there


def _setting_differs(space: Space, body: bytes) -> bool:
    """A setting of all devices of a router (RTM_NEWNETCONF) that is not as a router's shall be."""
    found = attributes(body, 4)
    if _FORWARDING in found and int.from_bytes(found[_FORWARDING], sys.byteorder) != 1:
        return True
    return body[0] == socket.AF_INET and int.from_bytes(found.get(_REVERSE_PATH, b""), sys.byteorder) != 0
