"""Fragments: what one owner contributes to programs, compiled once and shared by every node whose program holds it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import msgspec

from suanwang.program.objects import AnyObject

MODULUS = 2**128


class Fragment(msgspec.Struct, frozen=True):
    """The objects of one part (`common`, `reach/node-2`, …) of one owner (`vpc/retail/shop`).

    `fingerprint` is a 128-bit number made from owner, part and content. A program's fingerprint is the sum of its
    fragments'
    modulo 2**128, so it follows a change of one fragment in constant time however many there are. (Sums of hashes guard
    against accident, not against an adversary who can choose fragments freely; programs travel over authenticated
    streams.)
    """

    owner: str
    part: str
    objects: tuple[AnyObject, ...]
    fingerprint: int

    @property
    def id(self) -> str:
        """The fragment's name within a program."""
        return f"{self.owner}#{self.part}"


_encoder = msgspec.json.Encoder()


def fragment(owner: str, part: str, objects: Iterable[AnyObject]) -> Fragment:
    """Make a fragment; the same arguments always give the same fingerprint."""
    content = tuple(objects)
    digest = hashlib.blake2b(_encoder.encode((owner, part, content)), digest_size=16).digest()
    return Fragment(owner, part, content, int.from_bytes(digest, "big"))
