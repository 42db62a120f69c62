"""Topology text of the ns-3 simulators for RDMA (HPCC and its descendants): `topology.txt`, and back.

    6 2 5                        nodes, switches, links
    4 5                          which nodes are switches
    0 4 100Gbps 1us 0            then a line a link: both ends, rate, delay, share of packets lost
    ...

It is read as a stream of words: where lines end means nothing, and what follows the last link is a remark; links
between these nodes are none. Rates are those of ns-3's DataRate (100Gbps, 40Gb/s, 12.5GB/s; without a unit, bit/s),
delays those of its Time (1us, 0.001ms; without a unit, seconds). The first line of ns3-datacenter (PowerTCP, Reverie)
is `6 2 1 5`, where the third number tells how many switches are leaves, and may end with two rates.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import NoReturn

import numpy as np

from suanwang.fabric.exchange.listed import MOST_NODES, Bools, Floats, Imported, Integers, links, network_of
from suanwang.fabric.exchange.words import decode, load
from suanwang.fabric.network import Network
from suanwang.topology.importing.published import refuse

LARGEST_FILE_BYTES = 2**31
MOST_LINKS = 2**28
LARGEST_RATE_BPS = 10**18
LONGEST_DELAY_PS = 10**15

_DIGITS = re.compile(r"[0-9]{1,18}")
_RATE = re.compile(r"([0-9]+(?:\.[0-9]+)?)(?:(k|K|M|G|T)?(i)?(bps|b/s|bit/s|Bps|B/s))?")
_DELAY = re.compile(r"([0-9]+(?:\.[0-9]+)?(?:[eE]-?[0-9]{1,2})?)(s|ms|us|ns|ps|)")
_DECIMAL = {None: 1, "k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_BINARY = {None: 1, "k": 2**10, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_SECONDS = {"": 10**12, "s": 10**12, "ms": 10**9, "us": 10**6, "ns": 10**3, "ps": 1}


class Words:
    """The words of a file one after the other; complaints find out the line."""

    def __init__(self, text: str, file: str) -> None:
        self.text, self.file = text, file
        self.words = text.split()
        self.at = 0

    def refuse(self, message: str, hint: str, at: int | None = None) -> NoReturn:
        """Raise BAD_TOPOLOGY in the line of word `at`; by default of the one that was read last."""
        wanted = max(self.at - 1 if at is None else at, 0)
        seen = 0
        for number, line in enumerate(self.text.split("\n"), 1):
            seen += len(line.split())
            if seen > wanted:
                refuse(message, hint, self.file, number)
        refuse(message, hint, self.file, self.text.rstrip().count("\n") + 1)

    def word(self, what: str) -> str:
        """The next word. Raises BAD_TOPOLOGY when there is none."""
        if self.at >= len(self.words):
            self.refuse(f"the file ends before {what}", "was it cut off?")
        self.at += 1
        return self.words[self.at - 1]

    def whole(self, what: str, most: int, least: int = 0) -> int:
        """The next word as a whole number. Raises BAD_TOPOLOGY."""
        word = self.word(what)
        if not (word.isascii() and word.isdigit()) or len(word) > 18:
            self.refuse(f"{what} is {word[:40]!r}", "give a whole number")
        if not least <= int(word) <= most:
            self.refuse(f"{what} is {int(word):,}", f"give {least:,} to {most:,}")
        return int(word)

    def nodes(self, count: int, of: int, what: str) -> list[int]:
        """The next words as numbers of nodes, each once. Raises BAD_TOPOLOGY."""
        found: dict[int, None] = {}
        for number in range(count):
            node = self.whole(f"{what} {number + 1} of {count}", of - 1)
            if node in found:
                self.refuse(f"node {node} is listed as a switch twice", "list each switch once")
            found[node] = None
        return list(found)


class LinkLines:
    """`count` links as a, b, rate, delay and loss, read from words."""

    def __init__(self, words: Words, count: int, nodes: int) -> None:
        self.a: Integers = np.empty(count, np.int64)
        self.b: Integers = np.empty(count, np.int64)
        self.rate_bps: Integers = np.empty(count, np.int64)
        self.latency_ps: Integers = np.empty(count, np.int64)
        self.loss: Floats = np.zeros(count)
        rates: dict[str, int] = {}
        delays: dict[str, int] = {}
        losses: dict[str, float] = {"0": 0.0}
        for number in range(count):
            if words.at + 5 > len(words.words):
                words.refuse(
                    f"{count:,} links are announced, and {number:,} follow",
                    "correct the header, or the file was cut off",
                )
            one, other, rate, delay, loss = words.words[words.at : words.at + 5]
            words.at += 5
            if not all(_DIGITS.fullmatch(end) and int(end) < nodes for end in (one, other)):
                words.refuse(f"link {number} joins {one[:20]} and {other[:20]}", f"nodes are 0 to {nodes - 1}")
            if one == other:
                words.refuse(f"link {number} joins node {one} with itself", "remove it, and count one link less")
            if rate not in rates:
                rates[rate] = self._rate(words, rate)
            if delay not in delays:
                delays[delay] = self._delay(words, delay)
            if loss not in losses:
                losses[loss] = self._loss(words, loss)
            self.a[number], self.b[number] = int(one), int(other)
            self.rate_bps[number], self.latency_ps[number], self.loss[number] = rates[rate], delays[delay], losses[loss]
        if self._is_link(words.words[words.at : words.at + 5], nodes):
            words.refuse(f"{count:,} links are announced, and more follow", "correct the number of links", words.at)

    @staticmethod
    def _is_link(said: list[str], nodes: int) -> bool:
        ends = [int(word) for word in said[:2] if _DIGITS.fullmatch(word)]
        return (
            len(said) == 5
            and len(ends) == 2
            and max(ends) < nodes
            and _RATE.fullmatch(said[2]) is not None
            and _DELAY.fullmatch(said[3]) is not None
        )

    @staticmethod
    def _rate(words: Words, text: str) -> int:
        match = _RATE.fullmatch(text) if len(text) <= 40 else None
        if match is None:
            words.refuse(f"{text[:40]!r} is no rate", "write it as in 100Gbps")
        number, prefix, binary, unit = match.groups()
        value = Fraction(number) * (_BINARY if binary else _DECIMAL)[prefix] * (8 if unit and unit[0] == "B" else 1)
        if value.denominator != 1 or not 1 <= value <= LARGEST_RATE_BPS:
            words.refuse(f"{text} is no rate that a link can have", "give whole bit/s, from 1bps to 1000000Tbps")
        return int(value)

    @staticmethod
    def _delay(words: Words, text: str) -> int:
        match = _DELAY.fullmatch(text) if len(text) <= 40 else None
        if match is None:
            words.refuse(f"{text[:40]!r} is no delay", "write it as in 1us or 0.001ms")
        value = Fraction(match[1]) * _SECONDS[match[2]]
        if value > LONGEST_DELAY_PS:
            words.refuse(f"a delay of {text}", "the longest is 1000s")
        return round(value)

    @staticmethod
    def _loss(words: Words, text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = -1.0
        if not 0 <= value < 1:
            words.refuse(f"{text[:40]!r} is no share of packets that get lost", "give a number from 0 to below 1")
        return value

    def port_loss(self, network: Network, number: Integers, chosen: Integers) -> Floats | None:
        """The loss of each port of the network made of the `chosen` links; None where there is none."""
        if not self.loss[chosen].any():
            return None
        found = np.zeros(network.ports)
        for link in chosen[np.flatnonzero(self.loss[chosen])].tolist():
            ports = network.ports_between(int(number[self.a[link]]), int(number[self.b[link]]))
            found[ports], found[network.peer[ports]] = self.loss[link], self.loss[link]
        return found


def read_ns3(path: Path | str) -> Imported:
    """The network in a `topology.txt`. Raises BAD_TOPOLOGY with the line, UNREADABLE."""
    return parse_ns3(decode(load(path, LARGEST_FILE_BYTES), str(path)), str(path))


def parse_ns3(text: str, file: str = "") -> Imported:
    """The network in the text of a `topology.txt`; see `read_ns3`."""
    words = Words(text, file)
    nodes = words.whole("the number of nodes", MOST_NODES, 2)
    switches = words.whole("the number of switches", nodes)
    head = len(text.lstrip().split("\n", 1)[0].split())
    if head in (4, 6):
        words.whole("the number of leaves", switches)
    count = words.whole("the number of links", MOST_LINKS, 1)
    words.at += 2 if head == 6 else 0
    is_switch = np.zeros(nodes, bool)
    is_switch[words.nodes(switches, nodes, "switch")] = True
    found = LinkLines(words, count, nodes)
    network, number = network_of(
        names_of(is_switch), is_switch, found.a, found.b, found.rate_bps, found.latency_ps, file
    )
    return Imported("ns3", listed=network, loss=found.port_loss(network, number, np.arange(count)))


def names_of(is_switch: Bools) -> list[str]:
    """Names for numbered nodes: `gpu0`, `switch16`, by their numbers in the file."""
    return [f"{'switch' if switch else 'gpu'}{node}" for node, switch in enumerate(is_switch.tolist())]


def ns3_text(network: Network) -> Iterator[str]:
    """The `topology.txt` of a network, in pieces; nodes keep their numbers."""
    yield f"{network.nodes} {network.switches} {network.ports // 2}\n"
    yield " ".join(map(str, range(network.endpoints, network.nodes))) + "\n"
    yield from link_lines(network)


def link_lines(network: Network, switches_from: int | None = None) -> Iterator[str]:
    """A line for each cable. Nodes keep their numbers, or switches get those from `switches_from` on."""
    found = links(network)
    shift = 0 if switches_from is None else switches_from - network.endpoints
    for begin in range(0, len(found.node), 10_000):
        part = slice(begin, begin + 10_000)
        a, b = found.node[part], found.far[part]
        rows = zip(
            np.where(a < network.endpoints, a, a + shift).tolist(),
            np.where(b < network.endpoints, b, b + shift).tolist(),
            found.rate_bps[part].tolist(),
            found.latency_ps[part].tolist(),
            strict=True,
        )
        yield "".join(f"{one} {other} {_rate(rate)} {_delay(latency)} 0\n" for one, other, rate, latency in rows)


def _rate(rate_bps: int) -> str:
    for unit, factor in (("Gbps", 10**9), ("Mbps", 10**6), ("kbps", 10**3)):
        if rate_bps % factor == 0:
            return f"{rate_bps // factor}{unit}"
    return f"{rate_bps}bps"


def _delay(latency_ps: int) -> str:
    for unit, factor in (("us", 10**6), ("ns", 10**3)):
        if latency_ps % factor == 0:
            return f"{latency_ps // factor}{unit}"
    return f"{latency_ps}ps"
