"""One door to all formats: the file is read, its format found out, and resources are made of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from suanwang.model.errors import INVALID, SuanwangError
from suanwang.model.reading import UNREADABLE
from suanwang.model.reference import is_name
from suanwang.topology.importing.containerlab import read_containerlab
from suanwang.topology.importing.graphml import read_graphml
from suanwang.topology.importing.published import LARGEST_FILE_BYTES, PublishedTopology, documents, refuse
from suanwang.topology.importing.repetita import read_demands, read_graph

Format = Literal["repetita", "graphml", "containerlab"]

SUFFIXES: dict[str, Format] = {
    ".graph": "repetita",
    ".graphml": "graphml",
    ".xml": "graphml",
    ".yaml": "containerlab",
    ".yml": "containerlab",
}


def import_topology(path: str | Path, format: Format | None = None, region: str = "imported") -> list[dict[str, Any]]:
    """User documents of what a topology file describes: the Region named `region`, its Sites, Nodes and Links.

    The format is told by the file's suffix, else by how it begins. Raises BAD_TOPOLOGY, naming the line; UNREADABLE.
    """
    if not is_name(region):
        raise SuanwangError(INVALID, f"{region!r} is no name for a region", "use a-z, 0-9, - and .")
    body = read_limited(path)
    file = str(path)
    chosen = format or SUFFIXES.get(Path(path).suffix.lower()) or _sniffed(body)
    readers: dict[Format, Callable[[], PublishedTopology]] = {
        "repetita": lambda: read_graph(text_of(body, file), file),
        "graphml": lambda: read_graphml(body, file),
        "containerlab": lambda: read_containerlab(body, file),
    }
    if chosen is None or chosen not in readers:
        refuse("the format is not known", f"name one of {', '.join(readers)}", file)
    return documents(readers[chosen](), region, file)


def import_demands(path: str | Path, nodes: Sequence[str]) -> list[tuple[str, str, int]]:
    """The traffic matrix in a `.demands` file: (source, destination, rate in bit/s).

    `nodes` are the names of the Node documents that `import_topology` made of the `.graph` file, in their order. Raises
    BAD_TOPOLOGY, UNREADABLE.
    """
    return read_demands(text_of(read_limited(path), str(path)), nodes, str(path))


def read_limited(path: str | Path) -> bytes:
    """A file's content. Raises UNREADABLE, or BAD_TOPOLOGY above `LARGEST_FILE_BYTES`."""
    try:
        with Path(path).open("rb") as stream:
            body = stream.read(LARGEST_FILE_BYTES + 1)
    except OSError as problem:
        raise SuanwangError(UNREADABLE, f"{problem.strerror}: {path}", "check the path") from None
    if len(body) > LARGEST_FILE_BYTES:
        refuse(f"more than {LARGEST_FILE_BYTES} bytes", "import a part of it", str(path))
    return body


def text_of(body: bytes, file: str) -> str:
    """The text of a file in UTF-8. Raises BAD_TOPOLOGY with the line where it is none."""
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        line = body.count(b"\n", 0, problem.start) + 1
        refuse("not readable as text", "save it as UTF-8", file, line)


def _sniffed(body: bytes) -> Format | None:
    begin = body[:4096].removeprefix(b"\xef\xbb\xbf").lstrip()
    if begin.startswith(b"NODES"):
        return "repetita"
    if begin.startswith(b"<"):
        return "graphml"
    if b"topology:" in begin:
        return "containerlab"
    return None
