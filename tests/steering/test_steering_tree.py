"""Paths as a tree, and systems by blocks: each against the plain way."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from suanwang.steering.fast.system import Blocks, Curvature
from suanwang.steering.paths import PathSet
from suanwang.steering.tree import Tree

LINKS = 7
paths = st.lists(st.tuples(st.integers(0, 3), st.lists(st.integers(0, LINKS - 1), max_size=6)), min_size=1, max_size=40)


def made(written: list[tuple[int, list[int]]]) -> PathSet:
    written = sorted(written, key=lambda one: one[0])
    return PathSet(
        source=np.array([source for source, _ in written], np.int64),
        target=np.zeros(len(written), np.int64),
        first=np.concatenate(([0], np.cumsum([len(links) for _, links in written]))).astype(np.int64),
        links=np.array([link for _, links in written for link in links], np.int32),
    )


@given(paths, st.integers(0, 1000))
@settings(deadline=None)
def test_a_tree_adds_up_as_its_paths_do(written: list[tuple[int, list[int]]], seed: int) -> None:
    found, random = made(written), np.random.default_rng(seed)
    values, rates = random.random(LINKS), random.random(len(found))
    each = [found.links_of(path) for path in range(len(found))]
    assert found.sums(values) == pytest.approx([values[links].sum() for links in each])
    assert found.least(values) == pytest.approx([values[links].min(initial=np.inf) for links in each])
    load = np.zeros(LINKS)
    for links, rate in zip(each, rates, strict=True):
        np.add.at(load, links, rate)
    assert found.loads(rates, LINKS) == pytest.approx(load)


@given(paths, st.integers(0, 1000))
@settings(deadline=None)
def test_a_tree_shares_beginnings_and_writes_out_what_it_read(written: list[tuple[int, list[int]]], seed: int) -> None:
    found = made(written)
    tree, leaf = found.tree
    assert tree.sound()
    beginnings = {
        (source, *found.links_of(path)[: end + 1].tolist())
        for path, source in enumerate(found.source.tolist())
        for end in range(len(found.links_of(path)))
    }
    assert len(tree) == 1 + len(beginnings)
    first, links = tree.unrolled(leaf)
    assert first.tolist() == found.first.tolist()
    assert links.tolist() == found.links.tolist()
    random = np.random.default_rng(seed)
    place = np.where(random.random(LINKS) < 0.5, np.arange(LINKS), -1).astype(np.int32)
    used = np.zeros(len(tree), bool)
    used[leaf] = random.random(len(leaf)) < 0.7
    few, now = tree.only(place, used)
    assert few.sound()
    values = random.random(LINKS)
    kept = np.where(place >= 0, values, 0.0)
    assert few.sums(values)[now[used]] == pytest.approx(tree.sums(kept)[used])


def test_a_star_is_no_worse_than_a_line() -> None:
    """One node with very many next ones: children are found by a hash, not one after the other."""
    count = 50_000
    first = np.arange(0, 2 * count + 1, 2)
    links = np.stack([np.zeros(count), np.arange(1, count + 1)], axis=1).ravel().astype(np.int32)
    tree, leaf = Tree.of(np.zeros(count, np.int64), first, links)
    assert len(tree) == count + 2
    assert len(np.unique(leaf)) == count


@pytest.mark.parametrize("wrong", ["parent", "starts", "link"])
def test_what_is_no_tree_is_seen(wrong: str) -> None:
    tree, _ = made([(0, [1, 2]), (1, [3])]).tree
    parent, link, starts = tree.parent.copy(), tree.link.copy(), tree.starts.copy()
    if wrong == "parent":
        parent[1] = 2
    elif wrong == "starts":
        starts[-1] += 1
    else:
        link[1] = -1
    assert not Tree(parent=parent, link=link, starts=starts).sound()


@given(st.lists(st.lists(st.integers(0, 11), min_size=1, max_size=4), min_size=1, max_size=8), st.integers(0, 1000))
@settings(deadline=None)
def test_blocks_solve_what_the_whole_matrix_does(choices: list[list[int]], seed: int) -> None:
    random, endpoints, width = np.random.default_rng(seed), 12, 5
    first = np.concatenate(([0], np.cumsum([len(one) for one in choices]))).astype(np.int64)
    blocks = Blocks.of(first, np.array([end for one in choices for end in one], np.int64), endpoints)
    for one in choices:
        assert len(set(blocks.block[one].tolist())) == 1
    assert len(set(zip(blocks.block.tolist(), blocks.place.tolist(), strict=True))) == endpoints
    whole = np.zeros((width + endpoints, width + endpoints))
    for one in choices:
        row = np.zeros(width + endpoints)
        row[:width] = random.random(width)
        row[width:][one] = random.random(len(one))
        whole += np.outer(row, row)
    ends = np.zeros((endpoints, blocks.size))
    for left in range(endpoints):
        for right in np.flatnonzero(blocks.block == blocks.block[left]).tolist():
            ends[left, blocks.place[right]] = whole[width + left, width + right]
    own = random.random(width + endpoints) + 0.1
    solve = Curvature(whole[:width, :width], whole[:width, width:], ends, blocks).solver(own[:width], own[width:])
    right = random.random(width + endpoints)
    found = np.concatenate(solve(right[:width], right[width:]))
    assert found == pytest.approx(np.linalg.solve(whole + np.diag(own), right), rel=1e-6, abs=1e-9)
