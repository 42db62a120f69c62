"""docs/steering.md runs as it stands: every command in it, and what it prints."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "steering.md"
BLOCK = re.compile(r"^```(console|python)\n(.*?)^```\n", re.M | re.S)
NUMBER = re.compile(r"\d[\d.]*(?:e[+-]?\d+)?")


def replay(text: str, folder: Path) -> str:
    """The page with what its commands print now; a Python block is kept as `certificate.py`."""
    variables: list[str] = []
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
                                "XDG_CACHE_HOME": str(folder / "cache")}  # fmt: skip

    def run(command: str) -> str:
        if re.match(r"[A-Z]+=", command):
            variables.append(command)
            return ""
        script = "\n".join(["set -o pipefail", *variables, command])
        done = subprocess.run(
            ["bash", "-c", script], cwd=folder, env=environment, capture_output=True, text=True, timeout=100
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return "".join(f"{line.rstrip()}\n" for line in done.stdout.splitlines())

    def block(found: re.Match[str]) -> str:
        kind, body = found.groups()
        if kind == "python":
            (folder / "certificate.py").write_text(body, encoding="utf-8")
            return found[0]
        commands = [line for line in body.splitlines() if line.startswith("$ ")]
        return "```console\n" + "".join(f"{line}\n{run(line[2:])}" for line in commands) + "```\n"

    return BLOCK.sub(block, text)


def told(text: str) -> list[tuple[str, list[float]]]:
    """The lines without numbers and spaces, and their numbers; how long something took is left out."""
    text = re.sub(r"^seconds .*\n", "", text, flags=re.M)
    text = re.sub(r" +\d+\.\d{3}(?=  (yes|NO)$)", "", text, flags=re.M)
    lines = [line for line in text.splitlines() if line.strip()]
    return [(re.sub(r"\s+", "", NUMBER.sub("#", line)), list(map(float, NUMBER.findall(line)))) for line in lines]


@pytest.mark.slow
def test_the_page_runs_as_it_stands(tmp_path: Path) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    text = PAGE.read_text(encoding="utf-8")
    fresh = replay(text, tmp_path)
    if os.environ.get("SUANWANG_REWRITE"):
        PAGE.write_text(fresh, encoding="utf-8")
    for (here, numbers), (there, others) in zip(told(text), told(fresh), strict=True):
        assert here == there, "see the difference; SUANWANG_REWRITE=1 writes it"
        assert numbers == pytest.approx(others, rel=0.1, abs=1), here
    assert (tmp_path / "steering.svg").stat().st_size < 200_000
