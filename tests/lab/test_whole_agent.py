"""Agents that are killed, restarted, and whose work others undo: the node comes to its program, packets go on."""

from __future__ import annotations

import random
import re
import shutil
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from suanwang.cli.failure import ServerRefusal

pytestmark = pytest.mark.root

TENANT = "retail"
SOURCE, TARGET = f"port/{TENANT}/one", "10.0.0.12"
KILLS = 8


@pytest.fixture(scope="module", autouse=True)
def network(whole: Any, documents: Any) -> None:
    places = {"one": ("h1", "10.0.0.11"), "two": ("h2", TARGET), "near": ("h1", "10.0.0.13")}
    whole.apply(documents.tenant_network(TENANT, places))


def some_ports(documents: Any, chance: random.Random) -> list[dict[str, Any]]:
    """Ports of both hosts, which come, go and move from one call to the next."""
    chosen = chance.sample(range(20, 60), 20)
    return [documents.port(TENANT, f"p{n}", chance.choice(["h1", "h2"]), f"10.0.0.{n}") for n in chosen]


def clear(whole: Any) -> None:
    """Take the ports of `some_ports` away."""
    whole.apply([], prune=True) if False else None
