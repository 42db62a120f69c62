"""A fabric from whatever a user names: a declaration, another program's topology, or a preset."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from suanwang.fabric.design.design import Design
from suanwang.model.errors import INVALID, Place, SuanwangError
from suanwang.model.reading import line_of, path_text, read_path, read_text


def read_design(source: Path | str) -> Design:
    """The design that a file, or a text, declares: it holds one resource of kind Fabric.

    A text is told from the name of a file by its line breaks. Raises SuanwangError with file and line.
    """
    text = str(source)
    if isinstance(source, Path) or "\n" not in text:
        documents, folder = read_path(text), None if text == "-" else Path(text).parent
    else:
        documents, folder = [("<text>", document) for document in read_text(text, "<text>")], None
    fabrics = [pair for pair in documents if pair[1].get("kind") == "Fabric"]
    if len(fabrics) != 1:
        message = f"{len(fabrics)} resources of kind Fabric, and not one" if fabrics else "no resource of kind Fabric"
        raise SuanwangError(INVALID, message, "begin with kind: Fabric", Place(documents[0][0] if documents else text))
    file, document = fabrics[0]
    return _read_document(document, file, folder)


def _read_document(document: Mapping[str, Any], file: str = "", folder: Path | None = None) -> Design:
    """The design that a user document declares; topology files that it names are looked for in `folder`."""
    from suanwang.fabric.capability import CAPABILITY
    from suanwang.fabric.design.building import build
    from suanwang.fabric.kinds import FabricSpec
    from suanwang.model.registry import Registry
    from suanwang.model.resource import check

    resource = check(document, Registry([CAPABILITY]), file)
    if not isinstance(resource.spec, FabricSpec):
        raise TypeError(f"a Fabric has the spec {type(resource.spec).__name__}")

    def where(path: tuple[str | int, ...]) -> Place:
        return Place(file, line_of(document, path), path_text(path))

    return build(resource.key.name, resource.spec, folder, where)


def open_fabric(file: str) -> Design:
    """The design in a file: a Fabric, or any topology that `exchange.reading` knows, as if a Fabric named it.

    `-` is standard input, which holds a Fabric, and so does a pipe. Raises SuanwangError with file and line.
    """
    if file == "-":
        return read_design(file)
    from suanwang.fabric.design.building import build
    from suanwang.fabric.exchange.reading import BEGINNING_BYTES, recognise
    from suanwang.fabric.exchange.words import begin, decode, load
    from suanwang.fabric.kinds import FabricSpec
    from suanwang.model.reading import LARGEST_INPUT_BYTES

    path = Path(file)
    if path.is_fifo():  # what was read of it once is gone
        text = decode(load(path, LARGEST_INPUT_BYTES), file)
        if recognise(text.encode()) not in ("fabric", None):
            raise SuanwangError(INVALID, f"{file} is a pipe, and holds no Fabric", "save the topology in a file")
        return read_design(text + "\n")
    known = recognise(begin(path, BEGINNING_BYTES))
    if known == "fabric" or (known is None and path.suffix.lower() in (".yaml", ".yml", ".json")):
        return read_design(path)
    return build(path.stem, FabricSpec.model_validate({"scaleOut": {"file": path.name}}), path.parent)


def open_preset(name: str) -> Design:
    """The preset of that name. Raises NOT_FOUND."""
    from suanwang.fabric.design.building import build
    from suanwang.fabric.design.presets import preset
    from suanwang.fabric.kinds import FabricSpec

    preset(name)
    return build(name, FabricSpec(preset=name))
