"""Commands as users type them, with all that they print: the transcripts are tests and read as a manual.

A transcript is a text in the manner of txtar: commands (`$ …`), what each printed, `[N]` for an exit code other than 0;
at the end the files they work on (`-- NAME --`). SUANWANG_REWRITE=1 writes the outputs anew: read what changed. Those
named `server_…` run against a real server.
"""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from suanwang.cli import whereabouts
from suanwang.cli.main import main

VARYING = (
    (r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+Z)?", "2026-01-01 00:00:00"),
    (r"127\.0\.0\.1:\d+", "127.0.0.1:7443"),
    (r"\bsw_[-_A-Za-z0-9]{20,}", "sw_SECRET"),
    (r"\b(load|paths|solve|check) \d+\.\d{3}", r"\1 0.000"),
    (r"\d+\.\d{3}(?=  (yes|NO)$)", "0.000"),
    (r"\bh1\.[-_A-Za-z0-9]+\.[0-9a-f]{64}", "h1.SECRET.FINGERPRINT"),
)
"""What differs from call to call, and what stands for it in transcripts."""

FOLDER = Path(__file__).parent / "transcripts"


def split(text: str) -> tuple[str, dict[str, str]]:
    """The script and the files of a transcript."""
    script, *rest = re.split(r"^-- (.+) --\n", text, flags=re.M)
    return script, dict(zip(rest[::2], rest[1::2], strict=True))


def run(command: str) -> str:
    """What a command prints, standard output and errors as they come, and its exit code when that is not 0."""
    words = shlex.split(command)
    variables = {}
    while "=" in words[0]:
        name, _, value = words.pop(0).partition("=")
        variables[name] = value
    if words[0] == "cat":
        return Path(words[1]).read_text(encoding="utf-8")
    assert words[0] == "suanwang", f"transcripts run suanwang and cat only: {command}"
    result = CliRunner(env=variables).invoke(main, words[1:])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    output = result.output
    if output and not output.endswith("\n"):
        output += "\n"
    return output + (f"[{result.exit_code}]\n" if result.exit_code else "")


def replay(script: str) -> str:
    """The script with the outputs that its commands give now."""
    out, in_output = [], False
    for line in script.splitlines(keepends=True):
        if line.startswith("$ "):
            out += [line, run(line[2:])]
            in_output = True
        elif not in_output or line.startswith("#"):
            if in_output:
                out.append("\n")
            out.append(line)
            in_output = False
        elif line == "\n":
            continue
    text = "".join(out)
    return re.sub(r"\n*\n\$ ", "\n\n$ ", text).rstrip("\n") + "\n"


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.txt")), ids=lambda path: path.stem)
def test_transcript(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    if path.stem.startswith("server_"):
        monkeypatch.setattr(whereabouts, "DEFAULT_DATA_DIRECTORY", request.getfixturevalue("start_server")())
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    text = path.read_text(encoding="utf-8")
    script, files = split(text)
    for name, content in files.items():
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).write_text(content, encoding="utf-8")
    replayed = replay(script).replace(str(tmp_path), "TMP")
    for pattern, stand_in in VARYING:
        replayed = re.sub(pattern, stand_in, replayed, flags=re.M)
    whole = replayed + ("\n" if files else "") + "".join(f"-- {name} --\n{content}" for name, content in files.items())
    if os.environ.get("SUANWANG_REWRITE"):
        path.write_text(whole, encoding="utf-8")
    assert whole == text, "see the difference; SUANWANG_REWRITE=1 writes it"
