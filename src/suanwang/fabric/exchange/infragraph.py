"""InfraGraph, the graph of infrastructures that goes with Chakra traces (github.com/Keysight/infragraph, schema 3.1).

An infrastructure has `devices` (what they are made of), `instances` (how many of a device), `links` (bandwidth and
latency) and `edges` between components of instances, in slices:

    - ep1: {instance: "leaf[0]", component: "port[4:8]"}
      ep2: {instance: "spine[0:4]", component: "port[0]"}
      scheme: one2one
      link: 400G

`one2one` pairs the two lists off, as far as the shorter goes; `many2many` joins each with each. A list goes through the
instances first, and for each through its components. A device with a component of choice `xpu` or `nic` is a server,
and each component of it that an edge joins is an endpoint; every instance of another device is a switch. Instances
that no edge joins, and what is inside of devices, are no part of the network; nor is a cable from a switch to itself
(InfraGraph's De Bruijn blueprints have some), which carries nothing.
"""

from __future__ import annotations

import re
from fractions import Fraction
from itertools import product
from pathlib import Path
from typing import Any, NoReturn

from suanwang.fabric.exchange.listed import DEFAULT_LATENCY_PS, Imported, network_of
from suanwang.fabric.exchange.words import load
from suanwang.model.reading import LARGEST_INPUT_BYTES, line_of, path_text, read_text
from suanwang.topology.importing.published import refuse

Path_ = tuple[str | int, ...]
Key = tuple[int, int, int, int]
"""Instance and its index; for an endpoint, component and its index, else -1, -1."""

MOST_ENDS = 2**22
"""Of all edges together, and as many cables: a file of a few lines may ask for any number."""
MOST_COUNT = 2**20
_SLICE = re.compile(r"([^\[\].]+)(?:\[([0-9]{0,9})(?:(:)([0-9]{0,9})(?::([0-9]{1,9}))?)?\])?")
_BANDWIDTH = {"gigabits_per_second": 10**9, "gigabytes_per_second": 8 * 10**9}
_LATENCY = {"ms": 10**9, "us": 10**6, "ns": 10**3}


def read_infragraph(path: Path | str) -> Imported:
    """The scale-out network in an InfraGraph file (YAML or JSON). Raises BAD_TOPOLOGY with the line, UNREADABLE."""
    return parse_infragraph(load(path, LARGEST_INPUT_BYTES), str(path))


def parse_infragraph(body: bytes, file: str = "") -> Imported:
    """The scale-out network in the content of an InfraGraph file; see `read_infragraph`."""
    documents = read_text(body, file)
    if len(documents) != 1:
        refuse(f"{len(documents)} documents where one must be", "give one infrastructure", file)
    document: Any = documents[0]
    return _Reader(document.get("infrastructure", document), file).imported()


class _Reader:
    """Walks the document and gathers cables; complaints name the line."""

    def __init__(self, document: Any, file: str) -> None:
        self.document, self.file = document, file
        if not isinstance(document, dict):
            self._refuse((), "an infrastructure is a mapping", "give devices, instances, links and edges")
        self.devices = self._by_name("devices")
        self.instances = self._by_name("instances")
        self.links = self._by_name("links")
        self.order = {name: place for place, name in enumerate(self.instances)}
        self.numbers: dict[Key, int] = {}
        self.names: list[str] = []
        self.switches: set[int] = set()
        self.ends = 0

    def imported(self) -> Imported:
        """All that the edges say."""
        a: list[int] = []
        b: list[int] = []
        rates: list[int] = []
        latencies: list[int] = []
        for index, edge in enumerate(self._list("edges")):
            path: Path_ = ("edges", index)
            if not (isinstance(edge, dict) and isinstance(edge.get("ep1"), dict) and isinstance(edge.get("ep2"), dict)):
                self._refuse(path, "an edge joins ep1 and ep2", "give both, each with instance and component")
            one, other = self._end((*path, "ep1"), edge["ep1"]), self._end((*path, "ep2"), edge["ep2"])
            scheme = edge.get("scheme", "one2one")
            if scheme not in ("one2one", "many2many"):
                self._refuse(path, f"the scheme is {str(scheme)[:40]!r}", "use one2one or many2many")
            if len(a) + (len(one) * len(other) if scheme == "many2many" else 0) > MOST_ENDS:
                self._refuse(path, f"more than {MOST_ENDS:,} cables", "describe a part of it")
            rate, latency = self._link(path, edge.get("link"))
            for x, y in zip(one, other, strict=False) if scheme == "one2one" else product(one, other):
                if x == y and x not in self.switches:
                    self._refuse(path, f"{self.names[x]} is joined with itself", "an edge joins two devices")
                if x == y:
                    continue
                a.append(x)
                b.append(y)
                rates.append(rate)
                latencies.append(latency)
        keys = list(self.numbers)
        order = sorted(range(len(keys)), key=keys.__getitem__)
        place = {number: at for at, number in enumerate(order)}
        network, _ = network_of(
            [self.names[number] for number in order],
            [keys[number][2] < 0 for number in order],
            [place[number] for number in a],
            [place[number] for number in b],
            rates,
            latencies,
            self.file,
        )
        servers = {key[:2] for key in keys if key[2] >= 0}
        each, rest = divmod(network.endpoints, len(servers))
        return Imported("infragraph", 0 if rest else each, listed=network)

    def _end(self, path: Path_, end: Any) -> list[int]:
        """The nodes that an end of an edge names, in order."""
        name, chosen = self._slice((*path, "instance"), end.get("instance"))
        if name not in self.instances:
            self._refuse(
                (*path, "instance"), f"there is no instance {name[:60]!r}", f"instances: {self._few(self.instances)}"
            )
        at, instance = self.instances[name]
        device = str(instance.get("device"))
        if device not in self.devices:
            self._refuse(
                ("instances", at), f"there is no device {device[:60]!r}", f"devices: {self._few(self.devices)}"
            )
        place, found = self.devices[device]
        components = found.get("components") or []
        if not isinstance(components, list):
            self._refuse(("devices", place), f"the components of {device} are no list", "give each name and choice")
        parts = {str(part.get("name")): (at, part) for at, part in enumerate(components) if isinstance(part, dict)}
        component, slots = self._slice((*path, "component"), end.get("component"))
        if component not in parts:
            self._refuse(
                (*path, "component"), f"{device} has no component {component[:60]!r}", f"it has {self._few(parts)}"
            )
        is_server = any(part.get("choice") in ("xpu", "nic") for _, part in parts.values())
        here, part = parts[component]
        within = self._range((*path, "component"), slots, part.get("count", 1))
        count = self._range((*path, "instance"), chosen, instance.get("count", 1))
        self.ends += len(within) * len(count)
        if self.ends > MOST_ENDS:
            self._refuse(path, f"more than {MOST_ENDS:,} ends", "describe a part of it")
        return [
            self._number(
                (self.order[name], number, here, slot), f"{_indexed(name, number)}.{_indexed(component, slot)}"
            )
            if is_server
            else self._number((self.order[name], number, -1, -1), _indexed(name, number))
            for number in count
            for slot in within
        ]

    def _number(self, key: Key, name: str) -> int:
        if (found := self.numbers.get(key)) is None:
            found = self.numbers[key] = len(self.names)
            self.names.append(name)
            if key[2] < 0:
                self.switches.add(found)
        return found

    def _slice(self, path: Path_, text: Any) -> tuple[str, tuple[str, ...]]:
        """Name and slice of `port[0:4]`. What follows a dot is inside of the component."""
        match = _SLICE.match(str(text)) if text is not None else None
        if match is None or (match.end() < len(str(text)) and str(text)[match.end()] != "."):
            self._refuse(path, f"{str(text)[:60]!r} is no name with a slice", "write it as in port[0:4]")
        return match[1], tuple(part or "" for part in match.groups()[1:])

    def _range(self, path: Path_, chosen: tuple[str, ...], count: Any) -> range:
        if type(count) is not int or not 1 <= count <= MOST_COUNT:
            self._refuse(path, f"the count of it is {str(count)[:40]!r}", f"give 1 to {MOST_COUNT:,}")
        start, colon, stop, step = chosen
        if not start and not colon:
            return range(count)
        first = int(start or 0)
        last = int(stop) if stop else (count if colon else first + 1)
        if not first < last <= count or step == "0":
            self._refuse(
                path, f"the slice {first}:{last} is not within the {count} that there are", f"they are 0 to {count - 1}"
            )
        return range(first, last, int(step or 1))

    def _link(self, path: Path_, name: Any) -> tuple[int, int]:
        """Rate and latency of a link."""
        if str(name) not in self.links:
            self._refuse(path, f"there is no link {str(name)[:60]!r}", f"links: {self._few(self.links)}")
        at, link = self.links[str(name)]
        physical = link.get("physical") if isinstance(link.get("physical"), dict) else link
        bandwidth, latency = physical.get("bandwidth") or {}, physical.get("latency") or {}
        for word, factor in _BANDWIDTH.items():
            if isinstance(bandwidth, dict) and bandwidth.get(word) is not None:
                rate = self._scaled(("links", at), bandwidth[word], factor)
                if rate < 1:
                    self._refuse(("links", at), f"link {name} has no bandwidth", "give more than 0")
                break
        else:
            self._refuse(("links", at), f"link {name} has no bandwidth in bits or bytes", "give gigabits_per_second")
        for word, factor in _LATENCY.items():
            if isinstance(latency, dict) and latency.get(word) is not None:
                return rate, self._scaled(("links", at), latency[word], factor)
        return rate, DEFAULT_LATENCY_PS

    def _scaled(self, path: Path_, value: Any, factor: int) -> int:
        if type(value) not in (int, float) or not 0 <= value <= 10**9:
            self._refuse(path, f"{str(value)[:40]!r} is no quantity", "give a number from 0 to 1000000000")
        return round(Fraction(str(value)) * factor)

    def _by_name(self, field: str) -> dict[str, tuple[int, Any]]:
        found: dict[str, tuple[int, Any]] = {}
        for index, entry in enumerate(self._list(field)):
            if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
                self._refuse((field, index), f"an entry of {field} has no name", "give it a name")
            if entry["name"] in found:
                self._refuse((field, index), f"{entry['name']} is here a second time", "names are used once")
            found[entry["name"]] = (index, entry)
        return found

    def _list(self, field: str) -> list[Any]:
        value = self.document.get(field)
        if not isinstance(value, list) or not value:
            hint = "an infrastructure has devices, instances, links and edges"
            if "connections" in self.document:
                hint += "; connections are of InfraGraph's first drafts"
            self._refuse((field,), f"there is no list of {field}", hint)
        return value

    @staticmethod
    def _few(names: Any) -> str:
        shown = list(names)[:6]
        return ", ".join(shown) + (" …" if len(names) > len(shown) else "")

    def _refuse(self, path: Path_, message: str, hint: str) -> NoReturn:
        refuse(message, hint, self.file, line_of(self.document, path), path_text(path))


def _indexed(name: str, number: int) -> str:
    return f"{name}-{number}" if name[-1:].isdigit() else f"{name}{number}"
