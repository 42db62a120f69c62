"""Where nodes stand in a picture: at their places where these are known, else laid out by forces, always alike."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.sparse import coo_matrix, diags

from suanwang.steering.problem import Bools, Floats, Network

ROUNDS = 120
LARGEST_FORCES = 1500
"""Nodes up to which all pairs push each other apart; beyond, only the spectrum is used."""


def layout(network: Network) -> tuple[Floats, bool]:
    """(nodes, 2) where each node stands, and whether that is on a map."""
    known: Bools = np.asarray(np.isfinite(network.position).all(axis=1))
    if known.sum() >= max(2, 0.6 * len(known)):
        return _apart(_filled(network, known)), True
    return _normal(_forces(network, _spectrum(network))), False


def _filled(network: Network, known: Bools) -> Floats:
    """Places, where unknown next to the neighbours' mean, outwards from the middle of all."""
    place = np.where(known[:, None], network.position, 0.0)
    middle = place[known].mean(axis=0)
    spread = place[known].std(axis=0).max() or 1.0
    for node in np.flatnonzero(~known).tolist():
        near = np.concatenate([network.target[network.source == node], network.source[network.target == node]])
        near = np.unique(near[known[near]])
        base = place[near].mean(axis=0) if len(near) else middle
        away = base - middle
        length = float(np.hypot(*away)) or 1.0
        turn = node * 2.399963  # the golden angle: neighbours' neighbours don't fall together
        place[node] = base + 0.35 * spread * (away / length + 0.6 * np.array([np.cos(turn), np.sin(turn)]))
    return place


def _apart(place: Floats) -> Floats:
    """Nodes of one place side by side."""
    seen: dict[tuple[float, float], int] = {}
    extent = float(np.ptp(place, axis=0).max()) or 1.0
    for node, spot in enumerate(map(tuple, np.round(place, 9).tolist())):
        again = seen.get(spot, 0)
        seen[spot] = again + 1
        if again:
            turn = again * 2.399963
            place[node] += 0.012 * extent * np.sqrt(again) * np.array([np.cos(turn), np.sin(turn)])
    return place


def _adjacency(network: Network) -> Any:
    count = len(network.nodes)
    ones = np.ones(len(network.source))
    both = coo_matrix((ones, (network.source, network.target)), shape=(count, count)).tocsr()
    both = both + both.T
    both.data[:] = 1.0
    return both


def _spectrum(network: Network) -> Floats:
    """Second and third eigenvector of the graph's walk (Koren, Computers & Mathematics with Applications 49, 2005)."""
    count = len(network.nodes)
    graph = _adjacency(network)
    degree = np.asarray(graph.sum(axis=1)).ravel()
    scale = 1 / np.sqrt(np.maximum(degree, 1.0))
    walk = diags(scale) @ graph @ diags(scale)
    axes = np.empty((count, 2))
    basis = np.sqrt(np.maximum(degree, 1.0))[:, None]
    basis /= np.linalg.norm(basis)
    turn = np.arange(count) * 2.399963
    vectors = np.stack([np.cos(turn), np.sin(1.7 * turn)], axis=1)
    for _ in range(300):
        vectors = vectors + walk @ vectors
        vectors -= basis @ (basis.T @ vectors)
        vectors, _ = np.linalg.qr(vectors) if count > 2 else (vectors, None)
    axes[:, :] = vectors[:, :2] * scale[:, None] if vectors.shape[1] == 2 else np.stack([turn, turn], axis=1)
    return axes


def _forces(network: Network, place: Floats) -> Floats:
    """Fruchterman and Reingold's forces (Software: Practice and Experience 21/11, 1991), from a start that is given."""
    count = len(place)
    place = _normal(place)
    if count > LARGEST_FORCES:
        return place
    turn = np.arange(count) * 2.399963
    place = place + 0.01 * np.stack([np.cos(turn), np.sin(turn)], axis=1)
    pairs = np.unique(np.sort(np.stack([network.source, network.target], axis=1), axis=1), axis=0)
    ideal = 1.4 / np.sqrt(count)
    for step in range(ROUNDS):
        difference = place[:, None, :] - place[None, :, :]
        square = np.maximum((difference**2).sum(axis=2), 1e-6)
        move = (difference * (ideal**2 / square)[:, :, None]).sum(axis=1)
        along = place[pairs[:, 0]] - place[pairs[:, 1]]
        pull = along * (np.sqrt((along**2).sum(axis=1)) / ideal)[:, None]
        for axis in (0, 1):
            move[:, axis] -= np.bincount(pairs[:, 0], pull[:, axis], count)
            move[:, axis] += np.bincount(pairs[:, 1], pull[:, axis], count)
        # A little gravity keeps pieces that no link joins in the picture.
        move -= 0.3 * ideal * place
        length = np.maximum(np.sqrt((move**2).sum(axis=1)), 1e-9)
        heat = 0.12 * (1 - step / ROUNDS)
        place = place + move * (np.minimum(length, heat) / length)[:, None]
    return place


def _normal(place: Floats) -> Floats:
    middle = (place.max(axis=0) + place.min(axis=0)) / 2
    extent = np.maximum(np.ptp(place, axis=0), 1e-9)
    return np.asarray(2 * (place - middle) / extent)
