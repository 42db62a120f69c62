"""`suanwang fabric configure` from a declaration to a folder, and what it refuses to overwrite."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from suanwang.cli.fabric_configure_folder import MANIFEST, write_folder
from suanwang.cli.main import main
from suanwang.model.errors import SuanwangError

FABRIC = """\
apiVersion: suanwang/v1
kind: Fabric
metadata: {name: small}
spec:
  accelerators: {perServer: 2}
  scaleOut:
    planes: 2
    tiers:
    - {children: 4, rate: 200Gbps}
    - {children: 4, parents: 2, rate: 400Gbps, bundle: 2}
    switch: {ports: 64, portRate: 400Gbps}
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.yaml").write_text(FABRIC)
    return tmp_path


def call(*words: str, code: int = 0) -> Result:
    result = CliRunner().invoke(main, ["fabric", "configure", "small.yaml", *words])
    assert result.exit_code == code, result.output
    return result


def told(*words: str) -> Any:
    return json.loads(call(*words, "-o", "json").stdout)


def content(place: Path) -> dict[str, bytes]:
    return {path.relative_to(place).as_posix(): path.read_bytes() for path in place.rglob("*") if path.is_file()}


def test_the_summary_counts_what_there_is(folder: Path) -> None:
    found = told()
    assert found["switches"] == 12
    assert found["tiers"] == {"leaf": 8, "spine": 4}
    assert found["asns"] == 10
    assert found["sessions"] == {
        "mode": "link", "count": 32, "perLinkAndFamily": 64, "perLink": 32, "perPair": 16, "saved": 0,
    }  # fmt: skip
    assert told("--sessions", "pair")["sessions"]["saved"] == 16
    assert [path.name for path in folder.iterdir()] == ["small.yaml"]
    text = call("--sessions", "pair").output
    assert "50%" in text
    assert "take --sessions link for FARE" in text


def test_a_folder_is_written_whole_and_twice_the_same(folder: Path) -> None:
    formats = [word for one in ("frr", "sonic", "openconfig", "containerlab") for word in ("--format", one)]
    first = told("--to", "out", *formats)
    before = content(folder / "out")
    assert first["changed"]
    assert first["files"] + 1 == len(before)
    assert {
        "p0-leaf0/frr.conf",
        "p1-spine1/config_db.json",
        "fabric.clab.yml",
        "switches.csv",
        "daemons",
    } <= before.keys()
    stamp = (folder / "out").stat().st_ino
    assert not told("--to", "out", *formats)["changed"]
    assert ((folder / "out").stat().st_ino, content(folder / "out")) == (stamp, before)
    assert told("--to", "out", "--format", "sonic")["changed"]
    assert not list((folder / "out").glob("*/frr.conf"))
    assert sorted(path.name for path in folder.iterdir()) == ["out", "small.yaml"]


def test_what_is_not_ours_is_not_overwritten(folder: Path) -> None:
    (folder / "mine").mkdir()
    (folder / "mine" / "notes").write_text("precious")
    assert "did not write" in call("--to", "mine", code=1).output
    call("--to", "out")
    (folder / "out" / "p0-leaf0" / "frr.conf").write_text("edited")
    refused = call("--to", "out", code=1).output
    assert "p0-leaf0/frr.conf" in refused
    assert (folder / "out" / "p0-leaf0" / "frr.conf").read_text() == "edited"
    call("--to", "new")
    (folder / "new" / "more").write_text("x")
    assert "more" in call("--to", "new", code=1).output
    (folder / "link").symlink_to("new")
    assert "is not a folder" in call("--to", "link", code=1).output
    (folder / "empty").mkdir()
    assert told("--to", "empty")["changed"]


def test_a_lost_file_is_written_again(folder: Path) -> None:
    call("--to", "out")
    before = content(folder / "out")
    (folder / "out" / "p0-leaf0" / "frr.conf").unlink()
    assert told("--to", "out")["changed"]
    assert content(folder / "out") == before


def test_a_failure_on_the_way_leaves_what_was_there(folder: Path) -> None:
    call("--to", "out")
    before = content(folder / "out")

    def failing() -> Any:
        yield "a/b", b"1"
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        write_folder(folder / "out", failing())
    assert content(folder / "out") == before
    assert sorted(path.name for path in folder.iterdir()) == ["out", "small.yaml"]
    (folder / "out" / MANIFEST).write_text("{")
    with pytest.raises(SuanwangError, match="did not write"):
        write_folder(folder / "out", failing())


def test_one_switch_is_shown() -> None:
    text = call("--show", "p1-leaf3").output
    assert text.startswith("frr defaults datacenter\nhostname p1-leaf3\n")
    shown = told("--show", "p1-leaf3", "--format", "sonic")
    assert json.loads(shown["content"])["DEVICE_METADATA"]["localhost"]["hostname"] == "p1-leaf3"
    assert "did you mean p1-leaf3" in call("--show", "p1-leave3", code=1).output
    assert "is no switch" in call("--show", "gpu0", code=1).output
    assert "one format" in call("--show", "p1-leaf3", "--format", "containerlab", code=1).output


def test_bad_declarations_name_file_and_line(folder: Path) -> None:
    (folder / "small.yaml").write_text(FABRIC.replace("children: 4, rate", "children: 0, rate"))
    assert "small.yaml:9" in call(code=1).output
    (folder / "small.yaml").write_text("kind: Nothing\n")
    assert "Fabric" in call(code=1).output


def test_a_folder_may_be_named_in_any_way_but_not_be_worked_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "inside").mkdir()
    assert told("--to", "inside/../out")["changed"]
    assert (folder / "out" / "p0-leaf0" / "frr.conf").is_file()
    monkeypatch.chdir(folder / "inside")
    (folder / "inside" / "small.yaml").symlink_to(folder / "small.yaml")
    for name in (".", "..", "/"):
        assert "while it is worked in" in call("--to", name, code=1).output
