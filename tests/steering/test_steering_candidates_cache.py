"""Candidates as bytes: what was written comes back, and nothing else does."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from suanwang.steering.building import Demand, Link, network, problem
from suanwang.steering.candidates import Kind, build, cache
from suanwang.steering.paths import Candidates, PathSet
from suanwang.steering.problem import Disjoint, Limits

NET = network(
    [
        Link(source="a", target="b", latency_us=1, risks=("sea",)),
        Link(source="b", target="c", latency_us=1),
        Link(source="c", target="a", latency_us=1),
        Link(source="a", target="c", latency_us=5, colours=frozenset({"red"})),
        Link(source="b", target="a", latency_us=1),
    ]
)
ROWS = [
    Demand(source=one, to=(other,), rate=1, limits=limits)
    for one in "abc"
    for other in "abc"
    for limits in (Limits(), Limits(latency_us=4.0), Limits(backup=Disjoint.LINK))
]
WHOLE = problem(NET, ROWS)
KEY = cache.key(NET, WHOLE.demands, WHOLE.endpoints, Kind.AUTO, 3)
FOUND = build(NET, WHOLE.demands, WHOLE.endpoints, Kind.AUTO, 3).candidates
DATA = cache.to_bytes(FOUND, KEY)


def same(one: Candidates, other: Candidates) -> bool:
    return one.complete == other.complete and all(
        np.array_equal(getattr(left, name), getattr(right, name))
        and getattr(left, name).dtype == getattr(right, name).dtype
        for left, right in zip(one.sets, other.sets, strict=True)
        for name in ("source", "target", "first", "links", "main")
    )


def test_what_was_written_comes_back() -> None:
    assert any(len(paths) for paths in FOUND.sets)
    assert same(cache.from_bytes(DATA, KEY, NET), FOUND)


@pytest.mark.parametrize("links", [1, 32768, 40000])
def test_links_with_high_numbers(links: int) -> None:
    net = network(Link(source="a", target="b", name=str(at)) for at in range(links))
    paths = PathSet.of(net, [(0, 0, []), (0, 1, [links - 1]), (0, 1, [0])])
    one = Candidates(sets=(paths, PathSet.of(net, [])), complete=True)
    data = cache.to_bytes(one, b"k")
    assert same(cache.from_bytes(data, b"k", net), one)
    fewer = network(Link(source="a", target="b", name=str(at)) for at in range(links - 1)) if links > 1 else None
    if fewer:
        with pytest.raises(cache.Unusable, match="means nothing"):
            cache.from_bytes(data, b"k", fewer)


@settings(deadline=None)
@given(st.data())
def test_damage_is_noticed(data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(DATA) - 1))
    with pytest.raises(cache.Unusable):
        cache.from_bytes(DATA[:at], KEY, NET)
    with pytest.raises(cache.Unusable):
        cache.from_bytes(DATA[:at] + bytes([DATA[at] ^ data.draw(st.integers(1, 255))]) + DATA[at + 1 :], KEY, NET)
    with pytest.raises(cache.Unusable):
        cache.from_bytes(DATA + b"x", KEY, NET)


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_rubbish_under_a_right_digest_is_unusable(body: bytes) -> None:
    head = cache.VERSION + hashlib.blake2b(body, digest_size=32).digest()
    with pytest.raises(cache.Unusable):
        cache.from_bytes(head + body, KEY, NET)
    named = DATA[len(head) : len(head) + cache._HEAD.size] + KEY + body
    head = cache.VERSION + hashlib.blake2b(named, digest_size=32).digest()
    with pytest.raises(cache.Unusable):
        cache.from_bytes(head + named, KEY, NET)


def test_the_key_knows_what_matters() -> None:
    net, demands, ends = NET, WHOLE.demands, WHOLE.endpoints
    ones = np.ones(len(net.source))
    keys = [
        cache.key(net, demands, ends, Kind.AUTO, 3),
        cache.key(net, demands, ends, Kind.AUTO, 4),
        cache.key(net, demands, ends, Kind.SHORTEST, 3),
        cache.key(net, demands, ends, Kind.AUTO, 3, seed=1),
        cache.key(net, demands, ends, Kind.AUTO, 3, failed=ones > 1),
        cache.key(net, demands, ends, Kind.AUTO, 3, failed=ones > 0),
        cache.key(net, demands, ends, Kind.AUTO, 3, weight=ones),
        *(
            cache.key(replace(net, **{name: getattr(net, name) * 0.5}), demands, ends, Kind.AUTO, 3)
            for name in ("capacity", "latency_us", "availability")
        ),
        cache.key(replace(net, cost=ones), demands, ends, Kind.AUTO, 3),
        cache.key(replace(net, target=net.target[::-1], source=net.source[::-1]), demands, ends, Kind.AUTO, 3),
        cache.key(replace(net, colours=("blue",)), demands, ends, Kind.AUTO, 3),
        cache.key(net, replace(demands, limits=(*demands.limits[:2], Limits())), ends, Kind.AUTO, 3),
        cache.key(net, demands, replace(ends, delay_us=np.ones(len(ends.node))), Kind.AUTO, 3),
        cache.key(net, replace(demands, source=demands.source * 0), ends, Kind.AUTO, 3),
    ]
    assert len(set(keys)) == len(keys)
    renamed = replace(net, nodes=("x", "y", "z"), position=np.ones((3, 2)))
    assert cache.key(renamed, replace(demands, rate=demands.rate * 2), ends, Kind.AUTO, 3) == keys[0]
