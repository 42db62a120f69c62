"""The documents say what the code does: generated pages are up to date, links lead somewhere, nothing is left out."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
ROOMS = sorted(path.parent.name for path in (ROOT / "src" / "suanwang").glob("*/__init__.py"))
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("docs")
    subprocess.run([sys.executable, str(ROOT / "scripts" / "generate_docs.py"), str(folder)], check=True, timeout=100)
    return folder


def test_generated_pages_are_up_to_date(generated: Path) -> None:
    fresh = {str(path.relative_to(generated)): read(path) for path in generated.rglob("*.md")}
    stale = [name for name, text in fresh.items() if not (DOCS / name).exists() or read(DOCS / name) != text]
    stale += [name_of(path) for path in (DOCS / "kinds").glob("*.md") if f"kinds/{path.name}" not in fresh]
    assert not stale, "run `make docs`"


def test_every_variable_is_in_the_settings(generated: Path) -> None:
    settings = read(generated / "settings.md")
    sources = [*(ROOT / "src").rglob("*.py"), ROOT / "scripts" / "setup", ROOT / "Makefile"]
    named = {name for path in sources for name in re.findall(r"\bSUANWANG_[A-Z_]*[A-Z]\b", read(path))}
    assert sorted(name for name in named if f"`{name}`" not in settings) == []


@pytest.mark.parametrize("room", ROOMS)
def test_every_room_has_a_page(room: str) -> None:
    assert (DOCS / "rooms" / f"{room}.md").is_file()
    assert f"(rooms/{room}.md)" in read(DOCS / "index.md")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```|`[^`\n]*`", "", read(page), flags=re.DOTALL)
    targets = [target.split("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", text)]
    local = [target for target in targets if target and not re.match(r"[a-z]+:", target)]
    assert [target for target in local if not (page.parent / target).exists()] == []


def test_every_dependency_is_argued() -> None:
    project = tomllib.loads(read(ROOT / "pyproject.toml"))["project"]
    required = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    names = [re.split(r"[<>=~!;\[ ]", line)[0] for line in required]
    argued = re.findall(r"^\| `([^`]+)` \|", read(DOCS / "dependencies.md"), flags=re.MULTILINE)
    assert sorted(set(names) - set(argued)) == []


@pytest.mark.parametrize("name", ["README.md", "README.zh-CN.md"])
def test_readme_names_the_two_commands(name: str) -> None:
    text = read(ROOT / name)
    assert "make demo" in text
    assert "make test" in text


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_make_targets_that_pages_name_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):.*## ", read(ROOT / "Makefile"), flags=re.MULTILINE))
    named = set(re.findall(r"`make ([a-z]+)[^`]*`", read(page)))
    assert named <= targets
