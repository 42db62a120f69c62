"""Whether cables are where the cabling list says: neighbours that ports hear of, compared with those they should.

Each port should hear of one neighbour. Where ports hear of others, cables that should be and cables that are form paths
and rings over the ports, by turns one of either kind. A ring of two and two is the everyday mistake, two plugs
exchanged, and the two cables are named. A ring of k cables takes k - 1 exchanges; a path takes a plug that moves to a
free port.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from suanwang.fabric.cabling.cables import Cable
from suanwang.fabric.cabling.lldp import Advertisement
from suanwang.model.errors import INVALID, SuanwangError
from suanwang.model.units import rate_text

Kind = Literal["missing", "wrong", "unknown", "one-way", "rate", "shared", "unexpected"]

MOST_CABLES = 2**24


class End(NamedTuple):
    """A port of a node, by their names."""

    node: str
    port: str

    def __str__(self) -> str:
        return f"{self.node} {self.port}"


def ends(cable: Cable) -> tuple[End, End]:
    """Both ends of a cable, the lower one first."""
    return End(cable.a_device, cable.a_port), End(cable.b_device, cable.b_port)


def named(cable: Cable) -> str:
    """A cable as people say it."""
    return " - ".join(map(str, ends(cable)))


@dataclass(frozen=True, slots=True)
class Sighting:
    """Port `at` has heard of port `seen`. `rate_bps`: at which it runs; 0 where nobody knows."""

    at: End
    seen: End
    rate_bps: int = 0


@dataclass(frozen=True, slots=True)
class Finding:
    """Something at port `at` that is not as listed: what should be there and what is."""

    kind: Kind
    at: End
    expected: End | None = None
    found: End | None = None
    expected_bps: int = 0
    found_bps: int = 0

    def __str__(self) -> str:
        match self.kind:
            case "missing":
                return f"{self.at} hears nothing; {self.expected} should be there"
            case "wrong":
                return f"{self.at} leads to {self.found}; it should lead to {self.expected}"
            case "unknown":
                return f"{self.at} leads to {self.found}, a device not in the list; {self.expected} should be there"
            case "one-way":
                return f"{self.at} hears {self.found}, which does not hear it"
            case "rate":
                return f"{self.at} runs at {rate_text(self.found_bps)}; it should run at {rate_text(self.expected_bps)}"
            case "shared":
                return f"{self.at} hears {self.found} too: something between joins several cables"
            case "unexpected":
                return f"{self.at} leads to {self.found}; no cable is listed there"


@dataclass(frozen=True, slots=True)
class Remedy:
    """What to do by hand: exchange the plugs in two ports, those of the two `cables`; or, if it is one, move the plug
    in `at[0]` to the free port `at[1]`.
    """

    at: tuple[End, End]
    cables: tuple[Cable, ...]

    def __str__(self) -> str:
        if len(self.cables) == 1:
            return f"move the plug in {self.at[0]} to {self.at[1]}: cable {named(self.cables[0])}"
        one, other = map(named, self.cables)
        return f"exchange the plugs in {self.at[0]} and {self.at[1]}: cables {one} and {other}"


@dataclass(frozen=True, slots=True)
class Comparison:
    """How what was heard differs from the list. `right`: cables that are in their places."""

    cables: int
    right: tuple[Cable, ...]
    findings: tuple[Finding, ...]
    remedies: tuple[Remedy, ...]

    @property
    def clean(self) -> bool:
        """Whether all cables are where they should be, and nothing else is."""
        return not self.findings

    def text(self) -> str:
        """A line for each thing that is wrong, and for each thing to do."""
        lines = [f"{len(self.right)} of {self.cables} cables are as listed"]
        lines += [f"  {finding.kind}: {finding}" for finding in self.findings]
        lines += [f"  to do: {remedy}" for remedy in self.remedies]
        return "\n".join(lines)

    def as_dict(self) -> dict[str, object]:
        """Stable JSON fields."""
        return {
            "cables": self.cables,
            "right": len(self.right),
            "findings": [
                {"kind": one.kind, "at": _fields(one.at), "expected": _fields(one.expected),
                 "found": _fields(one.found), "expected_bps": one.expected_bps, "found_bps": one.found_bps,
                 "text": str(one)}
                for one in self.findings
            ],
            "remedies": [
                {"at": [_fields(end) for end in one.at], "text": str(one),
                 "cables": [[_fields(end) for end in ends(cable)] for cable in one.cables]}
                for one in self.remedies
            ],
        }  # fmt: skip


def sighting(at: End, heard: Advertisement, rate_bps: int = 0) -> Sighting:
    """What a frame that came in at a port tells."""
    return Sighting(at, End(heard.node, heard.port), rate_bps)


def compare(cables: Sequence[Cable], sightings: Iterable[Sighting]) -> Comparison:
    """Hold what was heard against the list. Findings come in the order of the list, then by name.

    A node at which nothing was heard at all is taken for one that does not listen: what others hear of it counts.

    Raises:
        SuanwangError: INVALID when the list uses a port twice, or joins one with itself.
    """
    listed = _listed(cables)
    heard: dict[End, Sighting] = {}
    findings: list[Finding] = []
    shared: list[Finding] = []
    for one in sorted(sightings, key=lambda one: (one.at, one.seen)):
        if heard.setdefault(one.at, one).seen != one.seen:
            shared.append(Finding("shared", one.at, found=one.seen))
    nodes, listening = {end.node for end in listed}, {end.node for end in heard}
    right = []
    for cable in cables:
        found = list(_at_cable(cable, heard, nodes, listening))
        findings += found
        if all(one.kind == "rate" for one in found):
            right.append(cable)
    findings += [Finding("unexpected", end, found=heard[end].seen) for end in sorted(heard.keys() - listed.keys())]
    return Comparison(
        len(cables), tuple(right), (*findings, *shared), tuple(_remedies(cables, listed, _lies(heard, nodes)))
    )


def _listed(cables: Sequence[Cable]) -> dict[End, Cable]:
    if len(cables) > MOST_CABLES:
        raise SuanwangError(INVALID, f"{len(cables):,} cables", hint=f"at most {MOST_CABLES:,} are compared")
    listed: dict[End, Cable] = {}
    for cable in cables:
        a, b = ends(cable)
        if a == b:
            raise SuanwangError(INVALID, f"the cabling list joins {a} with itself")
        for end in (a, b):
            if end in listed:
                hint = f"it belongs to {named(listed[end])} already"
                raise SuanwangError(INVALID, f"the cabling list uses {end} twice", hint=hint)
            listed[end] = cable
    return listed


def _at_cable(cable: Cable, heard: dict[End, Sighting], nodes: set[str], listening: set[str]) -> Iterator[Finding]:
    a, b = ends(cable)
    if a not in heard and b not in heard:
        yield Finding("missing", a, b)
        return
    for end, far in ((a, b), (b, a)):
        one = heard.get(end)
        if one is None:
            if end.node in listening:
                back = heard[far].seen == end
                yield Finding("one-way", far, end, end) if back else Finding("missing", end, far)
        elif one.seen != far:
            yield Finding("wrong" if one.seen.node in nodes else "unknown", end, far, one.seen)
        elif cable.rate_bps and one.rate_bps and one.rate_bps != cable.rate_bps:
            yield Finding("rate", end, far, far, cable.rate_bps, one.rate_bps)


def _lies(heard: dict[End, Sighting], nodes: set[str]) -> dict[End, End]:
    """Where plugs are: the far end of each cable between nodes of the list, as both ends or the only one says."""
    lies: dict[End, End] = {}
    for end, one in heard.items():
        back = heard.get(one.seen)
        known = end.node in nodes and one.seen.node in nodes and end != one.seen
        if known and end not in lies and one.seen not in lies and (back is None or back.seen == end):
            lies[end], lies[one.seen] = one.seen, end
    return lies


def _remedies(cables: Sequence[Cable], listed: dict[End, Cable], lies: dict[End, End]) -> Iterator[Remedy]:
    """Exchanges and moves, one after the other, that bring every cable that lies between two nodes to its place."""
    for cable in cables:
        a, b = ends(cable)
        for near, far in ((a, b), (b, a)):
            there = lies.get(near)
            if there is None or there == far:
                continue
            # The plug in `there` belongs into `far`. What is in `far` comes to `there`, and is looked at later.
            instead = lies.get(far)
            lies[near], lies[far] = far, near
            if instead is None:
                del lies[there]
                yield Remedy((there, far), (cable,))
            else:
                lies[there], lies[instead] = instead, there
                # Exchanging the other two plugs comes to the same, and may spare a walk.
                at_home = near.node == instead.node and there.node != far.node
                other = listed.get(instead) or listed.get(there) or Cable(*far, *instead)
                yield Remedy((near, instead) if at_home else (there, far), (cable, other))
            break


def _fields(end: End | None) -> dict[str, str] | None:
    return None if end is None else {"node": end.node, "port": end.port}
