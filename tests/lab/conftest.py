"""Labs for tests: in a run directory of the test's own, under names of the test's own, and taken away at the end."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from suanwang.lab.description import Impairment, LinkDescription, NodeDescription, UnderlayDescription
from suanwang.lab.state import LabDirectory, names
from suanwang.lab.underlay import Underlay

NO_IMPAIRMENT = Impairment()
LINKS = (
    ("leaf1", "spine1"),
    ("leaf1", "spine2"),
    ("leaf2", "spine1"),
    ("leaf2", "spine2"),
    ("host1", "leaf1"),
    ("host2", "leaf1"),
    ("host3", "leaf2"),
    ("host4", "leaf2"),
)


def _describe(links: tuple[tuple[str, str], ...], impairment: Impairment, **options: object) -> UnderlayDescription:
    members = sorted({node for link in links for node in link})
    nodes = tuple(
        NodeDescription(
            name=name,
            role=name.rstrip("0123456789"),
            asn=4_200_000_000 + number,
            loopbacks=(f"10.255.0.{number}/32", f"fd00:255::{number:x}/128"),
        )
        for number, name in enumerate(members, start=1)
    )
    made = tuple(LinkDescription(f"{a}-{b}", a, b, impairment) for a, b in links)
    return UnderlayDescription(nodes, made, **options)  # type: ignore[arg-type]


@pytest.fixture
def leaf_spine() -> Callable[..., UnderlayDescription]:
    """Describes two spines, two leaves and four hosts."""

    def describe(impairment: Impairment = NO_IMPAIRMENT, **options: object) -> UnderlayDescription:
        return _describe(LINKS, impairment, **options)

    return describe


@pytest.fixture
def pair() -> Callable[..., UnderlayDescription]:
    """Describes two routers and one link."""

    def describe(impairment: Impairment = NO_IMPAIRMENT, **options: object) -> UnderlayDescription:
        return _describe((("left", "right"),), impairment, **options)

    return describe


@pytest.fixture
def base() -> Iterator[Path]:
    """A directory for run directories. Whatever labs are left in it when the test ends are taken away."""
    if os.geteuid() != 0:
        pytest.skip("labs need root, to make network namespaces")
    if shutil.which("vtysh") is None:
        pytest.skip("labs need FRR, which is not installed")
    path = Path(tempfile.mkdtemp(prefix="lab"))
    # Routing daemons give up root and must still reach their directories.
    path.chmod(0o755)
    yield path
    for name in names(path):
        LabDirectory(name, path).remove()
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def start(base: Path) -> Callable[[str, UnderlayDescription], Underlay]:
    """Starts a lab that is gone after the test."""

    def up(name: str, description: UnderlayDescription) -> Underlay:
        return Underlay.up(name, description, base)

    return up
