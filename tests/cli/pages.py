"""Pages of docs/ that run as they stand: their `console` blocks, and what those print."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

BLOCK = re.compile(r"^```(console|python)\n(.*?)^```\n", re.M | re.S)


def shell(lines: list[str], folder: Path) -> str:
    """What a shell prints for the lines, in a folder."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", "\n".join(["set -o pipefail", *lines])],
        cwd=folder, env=os.environ | {"PATH": path, "XDG_CACHE_HOME": str(folder / "cache")}, capture_output=True,
        text=True, timeout=100,
    )  # fmt: skip
    assert done.returncode == 0, f"{lines[-1]}\n{done.stdout}{done.stderr}"
    return "".join(f"{line.rstrip()}\n" for line in done.stdout.splitlines())


def replay(text: str, folder: Path, script: str) -> str:
    """The page with what its commands print now; a Python block is kept as the file `script`."""
    variables: list[str] = []

    def run(command: str) -> str:
        if re.match(r"[A-Z]+=", command):
            variables.append(command)
            return ""
        return shell([*variables, command], folder)

    def block(found: re.Match[str]) -> str:
        kind, body = found.groups()
        if kind == "python":
            (folder / script).write_text(body, encoding="utf-8")
            return found[0]
        commands = [line for line in body.splitlines() if line.startswith("$ ")]
        return "```console\n" + "".join(f"{line}\n{run(line[2:])}" for line in commands) + "```\n"

    return BLOCK.sub(block, text)
