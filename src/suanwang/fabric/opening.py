"""A fabric from whatever a user names: a declaration, another program's topology, or a preset."""

from __future__ import annotations

from pathlib import Path

from suanwang.fabric.design import Design, read_design
from suanwang.model.errors import INVALID, SuanwangError


def open_fabric(file: str) -> Design:
    """The design in a file: a Fabric, or any topology that `exchange.reading` knows, as if a Fabric named it.

    `-` is standard input, which holds a Fabric, and so does a pipe. Raises SuanwangError with file and line.
    """
    if file == "-":
        return read_design(file)
    from suanwang.fabric.building import build
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
    from suanwang.fabric.building import build
    from suanwang.fabric.kinds import FabricSpec
    from suanwang.fabric.presets import preset

    preset(name)
    return build(name, FabricSpec(preset=name))
