"""Atoms: the coarsest parts of addresses and services that no object of some programs tells apart.

Addresses of one IP version are cut at every boundary of every prefix that occurs; what lies between two cuts is one
atom.
Services are protocol, destination ports and ICMP type and code, cut likewise. A set of packets is then exactly a set of
(source atom, destination atom, services), with services as the bits of an integer, and set algebra is that of integers.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from ipaddress import ip_address, ip_network

from suanwang.program.objects import FilterRule
from suanwang.proof.packet import Packet, number

BITS = {4: 32, 6: 128}

MOST_CUTS = 100_000
"""Prefixes that translations of prefixes may make of those that programs name."""

_NAMES = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmpv6"}


class Addresses:
    """The atoms of one IP version. An atom is known by its index; `first(index)` is an address in it."""

    __slots__ = ("_index", "_starts", "_version")

    def __init__(self, version: int, prefixes: Iterable[str]) -> None:
        self._version = version
        cuts = {0}
        for prefix in prefixes:
            start, end = bounds(prefix)
            cuts.add(start)
            if end < 1 << BITS[version]:
                cuts.add(end)
        self._starts = sorted(cuts)
        self._index = {start: index for index, start in enumerate(self._starts)}

    def __len__(self) -> int:
        return len(self._starts)

    def span(self, prefix: str) -> tuple[int, int]:
        """The atoms of a prefix that was among those given: from, and up to but without."""
        start, end = bounds(prefix)
        return self._index[start], self._index.get(end, len(self._starts))

    def of(self, address: str) -> int:
        """The atom that holds an address."""
        return bisect_right(self._starts, bounds(address)[0]) - 1

    def inside(self, coarser: Addresses, index: int) -> tuple[int, int]:
        """The atoms that an atom of a coarser division falls into: from, and up to but without."""
        starts = coarser._starts
        end = self._index[starts[index + 1]] if index + 1 < len(starts) else len(self._starts)
        return self._index[starts[index]], end

    def first(self, index: int) -> str:
        """An address of an atom, as text."""
        return _text(self._starts[index], self._version)


def moved(address: str, before: str, after: str) -> str:
    """An address of one prefix at the same place of another, of the same length."""
    value = bounds(address)[0] - bounds(before)[0] + bounds(after)[0]
    return _text(value, 6 if ":" in after else 4)


def _text(value: int, version: int) -> str:
    if version == 4:
        return ".".join(str(value >> shift & 255) for shift in (24, 16, 8, 0))
    return str(ip_address(value.to_bytes(16, "big")))


_BOUNDS: dict[str, tuple[int, int]] = {}


def bounds(prefix: str) -> tuple[int, int]:
    """First address of a prefix, and the one after its last, as integers; remembered, for prefixes come again and
    again.
    """
    found = _BOUNDS.get(prefix)
    if found is None:
        network = ip_network(prefix if "/" in prefix else host(prefix))
        start = int(network.network_address)
        found = start, start + network.num_addresses
        if len(_BOUNDS) > 1_000_000:
            _BOUNDS.clear()
        _BOUNDS[prefix] = found
    return found


def pulled_back(prefixes: Iterable[str], moves: Iterable[tuple[str, str]]) -> set[str]:
    """The prefixes, and with them what must be told apart before any chain of moves so that they are after it.

    A move changes addresses of one prefix into those of another of the same length, and leaves their last bits. Raises
    ValueError for moves of which the lengths differ, or that cut addresses into too many parts.
    """
    found = set(prefixes)
    spans = []
    for before, after in set(moves):
        (start, end), (to, to_end) = bounds(before), bounds(after)
        if end - start != to_end - to or (":" in before) != (":" in after):
            raise ValueError(f"{before} can't be moved to {after}: their lengths differ")
        spans.append((start, to, to_end, BITS[6 if ":" in before else 4], ":" in before))
        found |= {before, after}
    waiting = list(found) if spans else []
    while waiting:
        prefix = waiting.pop()
        start, end = bounds(prefix)
        for at, to, to_end, width, is_v6 in spans:
            if is_v6 == (":" in prefix) and to <= start and end <= to_end:
                address = _text(at + start - to, 6 if is_v6 else 4)
                earlier = f"{address}/{width - (end - start).bit_length() + 1}"
                if earlier not in found:
                    found.add(earlier)
                    waiting.append(earlier)
        if len(found) > MOST_CUTS:
            raise ValueError(f"translations of prefixes cut addresses into more than {MOST_CUTS} parts")
    return found


def host(address: str) -> str:
    """An address as a prefix."""
    return f"{address}/128" if ":" in address else f"{address}/32"


class Services:
    """The atoms of services, as bits of masks: protocols that rules name, their port ranges, ICMP types and codes."""

    __slots__ = ("_atoms", "_index", "everything")

    def __init__(self, rules: Iterable[FilterRule]) -> None:
        ports: set[int] = {0}
        icmp: set[tuple[int, int]] = set()
        protocols = {1, 6, 17, 58}
        for rule in rules:
            for first, last in rule.ports:
                ports |= {first, last + 1}
            if rule.icmp_type >= 0:
                icmp.add((rule.icmp_type, rule.icmp_code))
            if rule.protocol != "any":
                protocols.add(number(rule.protocol))
        cuts = sorted(cut for cut in ports if cut <= 65535)
        kinds = sorted(
            {(kind, code) for kind, code in icmp if code >= 0} | {(kind, -1) for kind, _ in icmp} | {(-1, -1)}
        )
        kinds = sorted({*kinds, (8, -1), (0, -1), (128, -1), (129, -1)})
        # One atom a row: protocol number, first port (or -1), ICMP type and code (-1: those that no rule names).
        self._atoms: list[tuple[int, int, int, int]] = []
        for protocol in sorted(protocols):
            if protocol in (6, 17):
                self._atoms += [(protocol, cut, -1, -1) for cut in cuts]
            elif protocol in (1, 58):
                self._atoms += [(protocol, -1, kind, code) for kind, code in kinds]
            else:
                self._atoms.append((protocol, -1, -1, -1))
        # And one for all protocols that no rule names.
        self._atoms.append((next(n for n in range(200, 256) if n not in protocols), -1, -1, -1))
        self._index = {atom: bit for bit, atom in enumerate(self._atoms)}
        self.everything = (1 << len(self._atoms)) - 1

    def of(self, packet: Packet) -> int:
        """The bit of the atom that holds a packet's service."""
        protocol, kind, code = number(packet.protocol), packet.icmp_type, packet.icmp_code
        if protocol in (6, 17):
            return bisect_right(self._atoms, (protocol, packet.port, 256, 256)) - 1
        wanted = [(protocol, -1, kind, code), (protocol, -1, kind, -1), (protocol, -1, -1, -1)]
        return next((self._index[one] for one in wanted if one in self._index), len(self._atoms) - 1)

    def mask(self, rule: FilterRule) -> int:
        """The services that a rule speaks of."""
        found = 0
        wanted = -1 if rule.protocol == "any" else number(rule.protocol)
        for bit, (protocol, port, kind, code) in enumerate(self._atoms):
            if wanted not in (-1, protocol):
                continue
            if rule.ports and not any(first <= port <= last for first, last in rule.ports):
                continue
            if rule.icmp_type >= 0 and rule.icmp_type != kind:
                continue
            if rule.icmp_code >= 0 and rule.icmp_code != code:
                continue
            found |= 1 << bit
        return found

    def any_of(self, rules: Iterable[FilterRule]) -> int:
        """The services that any of some rules speaks of."""
        found = 0
        for rule in rules:
            found |= self.mask(rule)
        return found

    def of_version(self, version: int) -> int:
        """The services that occur in an IP version."""
        # ICMP of the other version is never sent, though nothing stops a rule from naming it.
        other = 1 if version == 6 else 58
        return sum(1 << bit for bit, atom in enumerate(self._atoms) if atom[0] != other)

    def example(self, mask: int, version: int) -> tuple[str, int, int, int] | None:
        """(protocol, port, ICMP type, code) of some service of a mask that occurs in an IP version; None where none
        does.
        """
        for bit, (protocol, port, kind, code) in enumerate(self._atoms):
            if mask >> bit & 1 and (protocol, version) not in ((1, 6), (58, 4)):
                named = _NAMES.get(protocol, str(protocol))
                if protocol not in (1, 58):
                    return named, max(port, 0), -1, -1
                return named, 0, *self._unnamed(protocol, kind, code)
        return None

    def _unnamed(self, protocol: int, kind: int, code: int) -> tuple[int, int]:
        """A type and code that stand for an atom: where it is the rest, ones that no other atom has."""
        others = {(atom[2], atom[3]) for atom in self._atoms if atom[0] == protocol}
        if kind < 0:
            kind = next(number for number in range(256) if all(other != number for other, _ in others))
        if code < 0:
            code = next(number for number in range(256) if (kind, number) not in others)
        return kind, code
