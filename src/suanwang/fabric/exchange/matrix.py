"""htsim's connection matrices (`.cm`): flows, triggers and failed links, and back.

    Nodes 16
    Connections 2                   how many lines of connections follow; so Triggers and Failures
    0->3 id 1 start 0 size 2000000 send_done_trigger 1
    3->0 id 2 trigger 1 size 2000000
    trigger id 1 oneshot            or `barrier count N`, or `multishot`
    failure switch_type AGG switch_id 0 link_id 1

`start` is in microseconds, as `htsim_uec` and `htsim_swift` take it; htsim's other programs and its generators take
picoseconds: `unit_ps` chooses. `recv_done_trigger` fires when all is received, `send_done_trigger` when the last
acknowledgement is back; `htsim_uec` knows the latter only. The k-th flow that waits for a `multishot` starts with
the k-th that fires it, in the order of the file, where htsim takes the order of finishing. Numbers `id` and `msg`
name flows and messages of one connection; here each line is a flow of its own. `prio` orders nothing here.

Lines that differ in numbers only are read as one table: a million in about a second.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from suanwang.fabric.clos import Clos
from suanwang.fabric.exchange.words import LARGEST_NUMBER, Line, decode, lines, load
from suanwang.fabric.network import Network
from suanwang.fabric.traffic import MOST_FLOWS, NONE, Traffic
from suanwang.topology.importing.published import refuse

Integers = NDArray[np.int64]

LARGEST_FILE_BYTES = 2**33
MOST_DECIMALS = 6
"""Of a start time in a table; more are read one by one."""
MICROSECOND_PS = 10**6
SWITCHES = {"TOR": 1, "AGG": 2, "CORE": 3}
KINDS = ("oneshot", "multishot", "barrier")
CONNECTION = ("id", "start", "size", "trigger", "send_done_trigger", "recv_done_trigger", "prio", "msg")
LINE, SOURCE, TARGET, ID, START, SIZE, WAITS, SENT, RECEIVED, PASSED_OVER = range(10)
COLUMNS = {
    "id": ID, "start": START, "size": SIZE, "trigger": WAITS, "send_done_trigger": SENT, "recv_done_trigger": RECEIVED,
    "prio": PASSED_OVER,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Failure:
    """A cable that has failed: the `link`-th that leads up from switch number `switch` of `tier` (1 is the leaves)."""

    tier: int
    switch: int
    link: int

    def ports(self, clos: Clos, network: Network) -> Integers:
        """The two ports of the cable in `clos.network()`. Raises BAD_TOPOLOGY when there is no such cable."""
        if self.tier > clos.height or self.switch >= clos.count(self.tier):
            refuse(
                f"a failure at switch {self.switch} of tier {self.tier}, which is not there",
                "switches count from 0",
                "",
            )
        if self.link >= clos.up_ports(self.tier):
            up = clos.up_ports(self.tier)
            hint = "links up count from 0; name a link by the switch at its lower end"
            refuse(f"a failure of link {self.link} up from a switch of tier {self.tier}, which has {up}", hint, "")
        node = clos.first(0, self.tier) + self.switch
        port = int(network.first_port[node]) + clos.down_ports(self.tier) + self.link
        return np.array([port, network.peer[port]], np.int64)


@dataclass(frozen=True, slots=True)
class Matrix:
    """What a `.cm` file says. `ids` are the flows' numbers in it, 0 where it gives none."""

    traffic: Traffic
    ids: Integers
    failures: tuple[Failure, ...] = ()


@dataclass(slots=True)
class _Trigger:
    kind: str
    count: int
    line: Line


@dataclass(slots=True)
class _Draft:
    """Columns as they are read: each flow with its line, triggers by the file's own numbers (0 is none)."""

    file: str
    rows: list[tuple[int, ...]] = field(default_factory=list)
    tables: list[Integers] = field(default_factory=list)
    triggers: dict[int, _Trigger] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    header: dict[str, Line] = field(default_factory=dict)

    def settle(self) -> None:
        """Move rows read one by one to the tables."""
        if self.rows:
            self.tables.append(np.array(self.rows, np.int64))
            self.rows = []


def read_matrix(path: Path | str, endpoints: int, unit_ps: int = MICROSECOND_PS) -> Matrix:
    """The flows in a `.cm` file, for a network of so many endpoints; `start` counts in `unit_ps` picoseconds.

    Raises BAD_TOPOLOGY with the line and what would be right, UNREADABLE.
    """
    return parse_matrix(load(path, LARGEST_FILE_BYTES), endpoints, str(path), unit_ps)


def parse_matrix(body: bytes, endpoints: int, file: str = "", unit_ps: int = MICROSECOND_PS) -> Matrix:
    """The flows in the content of a `.cm` file; see `read_matrix`."""
    draft = _Draft(file)
    if body and not body.endswith(b"\n"):
        body += b"\n"
    begin, number = 0, 1
    while begin < len(body):
        end = _table(body, begin, number, draft, unit_ps)
        if end == begin:
            end = body.index(b"\n", begin) + 1
            for line in lines(decode(body[begin:end], file), file):
                line.number = number
                _take(line, draft, unit_ps)
        number += body.count(b"\n", begin, end)
        begin = end
    draft.settle()
    table = np.concatenate([np.zeros((0, PASSED_OVER + 1), np.int64), *draft.tables])
    if not len(table):
        refuse("there is no flow in the file", "write a line for each, as in 0->3 start 0 size 1000000", file)
    _check_counts(draft, len(table), endpoints, file)
    _check_flows(table, endpoints, file)
    waits, fires, counts = _triggers(table, draft, file)
    traffic = Traffic.build(
        endpoints, table[:, SOURCE], table[:, TARGET], table[:, SIZE], table[:, START], waits, fires, counts,
        table[:, SENT] > 0,
    )  # fmt: skip
    return Matrix(traffic, table[:, ID].copy(), tuple(draft.failures))


def _table(body: bytes, begin: int, number: int, draft: _Draft, unit_ps: int) -> int:
    """Read the lines from `begin` on that differ in numbers only, as one table; where they end. None: `begin`."""
    line = body[begin : body.index(b"\n", begin) + 1]
    shape = re.sub(rb"[0-9]+(?:\.[0-9]+)?", b"#", line)
    if (form := _form(shape)) is None or (found := form[0].match(body, begin)) is None:
        return begin
    text = found.group().translate(_SPACED)
    if (decimals := b"." in text) and unit_ps % 10**MOST_DECIMALS:
        return begin
    draft.settle()
    values = np.fromstring(text, np.float64 if decimals else np.int64, sep=" ").reshape(-1, len(form[1]))
    if START in form[1]:
        start = values[:, form[1].index(START)]
        if len(late := np.flatnonzero(start > LARGEST_NUMBER // unit_ps)):
            refuse(f"a flow starts at {start[late[0]]:.0f}", "that is too late", draft.file, number + int(late[0]))
        start *= unit_ps
    for column in sorted({ID, WAITS, SENT, RECEIVED} & set(form[1])):
        if len(zeros := np.flatnonzero(values[:, form[1].index(column)] == 0)):
            refuse("a flow or trigger has the number 0", "number them from 1", draft.file, number + int(zeros[0]))
    table = np.zeros((len(values), PASSED_OVER + 1), np.int64)
    table[:, LINE] = np.arange(number, number + len(values))
    table[:, form[1]] = np.rint(values) if decimals else values
    draft.tables.append(table)
    return found.end()


_SPACED = bytes(byte if byte in b"0123456789." else 32 for byte in range(256))


@lru_cache(64)
def _form(shape: bytes) -> tuple[re.Pattern[bytes], list[int]] | None:
    """What matches lines of a shape (`#->#  id # start # size #`), and their columns; None if it is not simple."""
    words = shape.decode("ascii", "replace").split()
    keywords = words[1::2]
    if words[:1] != ["#->#"] or len(words) % 2 == 0 or set(words[2::2]) - {"#"} or set(keywords) - COLUMNS.keys():
        return None
    columns = [SOURCE, TARGET, *(COLUMNS[word] for word in keywords)]
    found = set(columns)
    if len(found) < len(columns) or SIZE not in found or (START in found) == (WAITS in found):
        return None
    if {SENT, RECEIVED} <= found:
        return None
    one = re.escape(shape).replace(b"\\#", rb"[0-9]{1,15}")
    one = one.replace(rb"start\ [0-9]{1,15}", rb"start\ (?:[0-9]{1,9}\.[0-9]{1,%d}|[0-9]{1,15})" % MOST_DECIMALS)
    return re.compile(rb"(?:%b)++" % one), columns


def _take(line: Line, draft: _Draft, unit_ps: int) -> None:
    first = line.words[0]
    if "->" in first:
        draft.rows.append(_connection(line, unit_ps))
    elif first == "trigger":
        _declare(line, draft)
    elif first == "failure":
        draft.failures.append(_failure(line))
    elif first in ("Nodes", "Connections", "Triggers", "Failures"):
        if first in draft.header:
            line.refuse(f"{first} is here a second time", f"it stands in line {draft.header[first].number} already")
        if len(line.words) != 2:
            line.refuse(f"{first} has {len(line.words) - 1} values", f"write {first} and one number")
        draft.header[first] = line
    elif first.isdigit():
        line.refuse(f"{first[:40]!r} is not known here", "write a->b start 0 size 1000000; ns-3's lists are not read")
    else:
        line.unknown(first, ("Nodes", "Connections", "Triggers", "Failures", "a->b", "trigger", "failure"))


def _pairs(line: Line, known: tuple[str, ...], alone: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    """The words of a line as keyword and value; those in `alone` need no value."""
    words, seen, position = line.words, set[str](), 1
    while position < len(words):
        word = words[position]
        if word not in known and word not in alone:
            line.unknown(word, (*known, *alone))
        if word in seen:
            line.refuse(f"{word} is here a second time", "remove one")
        seen.add(word)
        value = words[position + 1] if position + 1 < len(words) else ""
        if word in alone and not value.isdigit():
            yield word, ""
            position += 1
        elif not value:
            line.refuse(f"{word} has no value", f"write {word} and a number")
        else:
            yield word, value
            position += 2


def _connection(line: Line, unit_ps: int) -> tuple[int, ...]:
    one, _, other = line.words[0].partition("->")
    source, target = line.whole(one, "the source"), line.whole(other, "the destination")
    said = dict(_pairs(line, CONNECTION[:-1], ("msg",)))
    value = {word: line.whole(said[word], word, 1) for word in said if word not in ("start", "size", "prio", "msg")}
    if "size" not in said:
        line.refuse(f"the flow {line.words[0]} has no size", "add size and its bytes")
    if ("start" in said) == ("trigger" in said):
        line.refuse(
            f"the flow {line.words[0]} has {'both a start and a trigger' if 'start' in said else 'no start'}",
            "give it either start and a time, or trigger and a number",
        )
    sent, received = (value.get(word, 0) for word in ("send_done_trigger", "recv_done_trigger"))
    if sent and received:
        line.refuse("the flow fires two triggers", "a flow fires one here, at one of its ends")
    return (
        line.number, source, target, value.get("id", 0), line.scaled(said.get("start", "0"), "start", unit_ps),
        line.whole(said["size"], "size"), value.get("trigger", 0), sent, received, 0,
    )  # fmt: skip


def _declare(line: Line, draft: _Draft) -> None:
    said = dict(_pairs(line, ("id", "count"), KINDS))
    kinds = [word for word in KINDS if word in said]
    if "id" not in said or len(kinds) != 1:
        line.refuse("a trigger needs a number and a kind", f"write trigger id N and one of {', '.join(KINDS)}")
    number = line.whole(said["id"], "id", 1)
    if number in draft.triggers:
        line.refuse(
            f"trigger {number} is here a second time", f"it stands in line {draft.triggers[number].line.number}"
        )
    if kinds[0] == "barrier" and "count" not in said:
        line.refuse(f"barrier {number} has no count", "add count and how many flows it waits for")
    count = line.whole(said["count"], "count", 1, MOST_FLOWS) if kinds[0] == "barrier" else 1
    draft.triggers[number] = _Trigger(kinds[0], count, line)


def _failure(line: Line) -> Failure:
    said = dict(_pairs(line, ("switch_type", "switch_id", "link_id")))
    for word in ("switch_type", "switch_id", "link_id"):
        if word not in said:
            line.refuse(f"the failure does not say {word}", "write failure switch_type AGG switch_id N link_id N")
    if said["switch_type"] not in SWITCHES:
        line.unknown(said["switch_type"], tuple(SWITCHES))
    return Failure(
        SWITCHES[said["switch_type"]],
        line.whole(said["switch_id"], "switch_id"),
        line.whole(said["link_id"], "link_id"),
    )


def _check_counts(draft: _Draft, flows: int, endpoints: int, file: str) -> None:
    for word, found in (("Connections", flows), ("Triggers", len(draft.triggers)), ("Failures", len(draft.failures))):
        line = draft.header.get(word)
        if line is None and word == "Connections":
            refuse("the file does not say how many connections it has", f"write Connections {flows}", file)
        said = line.whole(line.words[1], word) if line else 0
        if said != found:
            where = line.number if line else 0
            refuse(
                f"{word} {said}, and {found} follow", f"write {word} {found}, or look for what is missing", file, where
            )
    if (line := draft.header.get("Nodes")) is None:
        refuse("the file does not say how many nodes it is for", f"write Nodes {endpoints}", file)
    if (nodes := line.whole(line.words[1], "Nodes", 1)) > endpoints:
        line.refuse(
            f"the matrix is for {nodes} nodes and the network has {endpoints}", "use a matrix made for the network"
        )


def _check_flows(table: Integers, endpoints: int, file: str) -> None:
    for bad, what, hint in (
        (table[:, SOURCE] >= endpoints, f"starts outside of the nodes 0 to {endpoints - 1}", "nodes count from 0"),
        (table[:, TARGET] >= endpoints, f"ends outside of the nodes 0 to {endpoints - 1}", "nodes count from 0"),
        (table[:, SOURCE] == table[:, TARGET], "goes to itself", "remove it; what stays on one node needs no network"),
        (
            table[:, SIZE] < 1,
            "has no bytes",
            "give it a size, or remove it; flows without end, htsim's size 0, are not simulated",
        ),
    ):
        if bad.any():
            row = table[np.flatnonzero(bad)[0]]
            more = f" (and {int(bad.sum()) - 1} more)" if bad.sum() > 1 else ""
            refuse(f"the flow {row[SOURCE]}->{row[TARGET]} {what}{more}", hint, file, int(row[LINE]))


def _triggers(table: Integers, draft: _Draft, file: str) -> tuple[Integers, Integers, Integers]:
    """Waits and fires of each flow by triggers numbered from 0, and how many flows each trigger counts."""
    waits, fires = np.full(len(table), NONE, np.int64), np.full(len(table), NONE, np.int64)
    counts: list[int] = []
    waiting, firing = _by_number(table[:, WAITS]), _by_number(table[:, SENT] + table[:, RECEIVED])
    for number in [*waiting, *firing]:
        if number not in draft.triggers:
            row = (waiting.get(number) or firing[number])[0]
            refuse(f"trigger {number} is not declared", f"add trigger id {number} oneshot", file, int(table[row, LINE]))
    for number, trigger in draft.triggers.items():
        ours, theirs = waiting.get(number, []), firing.get(number, [])
        if trigger.kind == "oneshot" and len(theirs) > 1:
            trigger.line.refuse(
                f"trigger {number} goes off once, and {len(theirs)} flows fire it", f"write barrier count {len(theirs)}"
            )
        if ours and len(theirs) < (len(ours) if trigger.kind == "multishot" else trigger.count):
            trigger.line.refuse(
                f"{len(theirs)} flows fire trigger {number}, too few for it to start what waits for it",
                "let more flows fire it, or lower its count",
            )
        if trigger.kind == "multishot":
            for step, row in enumerate(theirs):
                fires[row] = len(counts) + step
            for step, row in enumerate(ours):
                waits[row] = len(counts) + step
            counts += [1] * len(theirs)
        else:
            waits[ours], fires[theirs] = len(counts), len(counts)
            counts.append(trigger.count)
    return waits, fires, np.array(counts, np.int64)


def _by_number(column: Integers) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for row in np.flatnonzero(column).tolist():
        found.setdefault(int(column[row]), []).append(row)
    return found
