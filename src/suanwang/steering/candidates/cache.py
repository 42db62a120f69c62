"""Candidates as bytes, so that they are worked out once for a network. Where the bytes lie is the caller's affair."""

from __future__ import annotations

import hashlib
import struct
from typing import Any

import numpy as np

from suanwang.steering.candidates.pairs import pairs_of
from suanwang.steering.candidates.shortest import MOST_LABELS
from suanwang.steering.paths import Candidates, PathSet
from suanwang.steering.problem import Bools, Demands, Disjoint, Endpoints, Floats, Network
from suanwang.steering.tree import Tree

VERSION = b"suanwang candidates 2\n"
_HEAD = struct.Struct("<IQ?")
_SET = struct.Struct("<QQQ")


class Unusable(ValueError):
    """Bytes that hold no candidates, or others than were asked for: work them out anew."""


def key(
    network: Network,
    demands: Demands,
    endpoints: Endpoints,
    kind: str,
    count: int,
    *,
    failed: Bools | None = None,
    weight: Floats | None = None,
    seed: int = 0,
    most_labels: int = MOST_LABELS,
) -> bytes:
    """32 bytes that differ whenever `build` with these arguments might do something different."""
    digest = hashlib.blake2b(VERSION, digest_size=32)
    digest.update(repr((kind, count, seed, most_labels, network.colours, len(network.nodes))).encode())
    for limits in demands.limits:
        told = (limits.latency_us, limits.jitter_us, limits.loss, limits.availability, str(limits.backup))
        digest.update(repr((told, sorted(limits.include), sorted(limits.exclude))).encode())
    arrays: list[Any] = [
        *(network.source, network.target, network.capacity, network.latency_us, network.jitter_us, network.loss),
        *(network.availability, network.cost, network.colour),
        None if failed is None else np.asarray(failed, bool),
        None if weight is None else np.asarray(weight, float),
    ]
    if any(limits.backup is Disjoint.RISK for limits in demands.limits):
        arrays += [network.risk_first, network.risk_of]
    for pairs in pairs_of(demands, endpoints):
        arrays += [pairs.source, pairs.target, pairs.delay]
    for array in arrays:
        digest.update(b"-" if array is None else struct.pack("<Q", len(array)))
        if array is not None:
            digest.update(np.ascontiguousarray(array).view(np.uint8).data)
    return digest.digest()


def to_bytes(candidates: Candidates, key: bytes) -> bytes:
    """Candidates, under their key."""
    parts: list[bytes] = [_HEAD.pack(len(key), len(candidates.sets), candidates.complete), key]
    for paths in candidates.sets:
        tree, leaf = paths.tree
        parts.append(_SET.pack(len(paths), len(tree), len(tree.starts)))
        for array in (paths.source, paths.target, leaf, paths.main, tree.parent, tree.link, tree.starts):
            parts.append(array.astype("<i4").tobytes())
    body = b"".join(parts)
    return b"".join((VERSION, hashlib.blake2b(body, digest_size=32).digest(), body))


def from_bytes(data: bytes, key: bytes, network: Network) -> Candidates:
    """The candidates that `to_bytes` wrote under this key for this network. Raises Unusable for anything else."""
    reader = _Reader(data)
    if reader.take(len(VERSION)) != VERSION:
        raise Unusable("these are no candidates of this version")
    digest = reader.take(32)
    if hashlib.blake2b(memoryview(data)[reader.at :], digest_size=32).digest() != digest:
        raise Unusable("the candidates are damaged")
    size, sets, complete = _HEAD.unpack(reader.take(_HEAD.size))
    if reader.take(size) != key:
        raise Unusable("these are candidates for something else")
    found = Candidates(sets=tuple(_read(reader, network) for _ in range(sets)), complete=complete)
    if reader.at != len(data):
        raise Unusable("something follows the candidates")
    return found


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, size: int) -> bytes:
        if size > len(self.data) - self.at:
            raise Unusable("the candidates end too early")
        self.at += size
        return self.data[self.at - size : self.at]

    def numbers(self, count: int, kind: str, limit: int, least: int = 0) -> Any:
        width = np.dtype(kind).itemsize
        if count * width > len(self.data) - self.at:
            raise Unusable("the candidates end too early")
        values = np.frombuffer(self.data, kind, count, self.at)
        self.at += count * width
        if count and (values.min() < least or values.max() >= limit):
            raise Unusable("the candidates hold a number that means nothing here")
        return values


def _read(reader: _Reader, network: Network) -> PathSet:
    count, size, runs = _SET.unpack(reader.take(_SET.size))
    nodes = len(network.nodes)
    source = reader.numbers(count, "<i4", nodes).astype(np.int64)
    target = reader.numbers(count, "<i4", nodes).astype(np.int64)
    leaf = reader.numbers(count, "<i4", size).astype(np.int64)
    main = reader.numbers(count, "<i4", nodes + 1).astype(np.int64)
    parent = reader.numbers(size, "<i4", size)
    link = reader.numbers(size, "<i4", len(network.source), least=-1)
    starts = reader.numbers(runs, "<i4", size + 1).astype(np.int64)
    tree = Tree(parent=parent, link=link, starts=starts)
    if not tree.sound():
        raise Unusable("the candidates' parts don't fit together")
    first, links = tree.unrolled(leaf)
    if (main > np.diff(first)).any():
        raise Unusable("the candidates' parts don't fit together")
    found = PathSet(source=source, target=target, first=first, links=links, main=main)
    found.__dict__["tree"] = tree, leaf
    return found
