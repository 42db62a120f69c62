"""Rows of an allocation as CSV, to be kept, looked at, and given back as what runs at present.

Columns: `demand,endpoint,rate,delay_us,links,backup`; links by name, with `|` between them.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

import numpy as np

from suanwang.model.errors import SuanwangError
from suanwang.steering.answer import Allocation
from suanwang.steering.columns import Part, Table, text_of
from suanwang.steering.paths import PathSet
from suanwang.steering.problem import BAD_PROBLEM, MOST_DEMANDS, Ints, Problem
from suanwang.steering.reading import SEPARATOR

HEAD = ("demand", "endpoint", "rate", "delay_us", "links", "backup")
AT_ONCE = 20_000


def to_csv(problem: Problem, rows: Allocation) -> Iterator[str]:
    """The rows as text, a piece at a time. Raises BAD_PROBLEM for a link whose name holds the separator."""
    network, names = problem.network, problem.network.names
    unfit = [name for name in names if SEPARATOR in name]
    if unfit:
        raise SuanwangError(BAD_PROBLEM, f"the link's name {unfit[0]!r} holds {SEPARATOR!r}", "give it another name")
    paths = rows.paths
    latency = np.concatenate(([0.0], np.cumsum(network.latency_us[paths.links])))
    delay = latency[paths.first[:-1] + paths.main] - latency[paths.first[:-1]]
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(HEAD)
    for row in range(len(rows)):
        path, demand, endpoint = int(rows.path[row]), int(rows.demand[row]), int(rows.endpoint[row])
        writer.writerow(
            (
                problem.demand_name(demand),
                problem.endpoint_name(endpoint),
                repr(float(rows.rate[row])),
                f"{delay[path] + problem.endpoints.delay_us[endpoint]:.10g}",
                SEPARATOR.join([names[link] for link in paths.main_of(path).tolist()]),
                SEPARATOR.join([names[link] for link in paths.backup_of(path).tolist()]),
            )
        )
        if row % AT_ONCE == AT_ONCE - 1:
            yield stream.getvalue()
            stream.seek(0)
            stream.truncate()
    yield stream.getvalue()


def read_allocation(body: bytes, file: str, problem: Problem) -> Allocation:
    """The rows in a file that `to_csv` wrote for this network. Raises BAD_PROBLEM, naming the line.

    Rows of demands that are no longer asked for are passed over; paths and rates are taken as they are.
    """
    table = Table.of(text_of(body, file), file, {name: name for name in HEAD}, ("demand", "endpoint", "rate", "links"))
    reader = _Rows(problem)
    for part in table.parts(MOST_DEMANDS * 4):
        reader.take(part)
    return reader.allocation()


class _Rows:
    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.endpoints = {problem.endpoint_name(at): at for at in reversed(range(len(problem.endpoints.node)))}
        self.ways: dict[str, tuple[int, ...]] = {"": ()}
        self.paths: dict[tuple[int, int, tuple[int, ...], int], int] = {}
        self.rows: list[tuple[int, int, int, float]] = []

    def take(self, part: Part) -> None:
        numbers = self.problem.demand_numbers
        rates = part.numbers("rate").tolist()
        backups = part.columns.get("backup", [""] * len(part))
        texts = zip(part.columns["demand"], part.columns["endpoint"], part.columns["links"], backups, strict=True)
        for row, (demand, endpoint, links, backup) in enumerate(texts):
            if demand not in numbers:
                continue
            if endpoint not in self.endpoints:
                part.refuse(row, f"there is no endpoint {endpoint[:60]!r}", "is it of another problem?")
            end, main, rest = self.endpoints[endpoint], self._way(links, part, row), self._way(backup, part, row)
            source, target = int(self.problem.demands.source[numbers[demand]]), int(self.problem.endpoints.node[end])
            for way in (main, rest) if rest else (main,):
                if not self._leads(source, target, way):
                    part.refuse(row, f"the links do not lead from {demand[:60]!r}'s source to its endpoint", "")
            key = (source, target, (*main, *rest), len(main))
            self.rows.append((numbers[demand], end, self.paths.setdefault(key, len(self.paths)), rates[row]))

    def _way(self, text: str, part: Part, row: int) -> tuple[int, ...]:
        found = self.ways.get(text)
        if found is None:
            links = self.problem.network.link_numbers
            words = text.split(SEPARATOR)
            for word in words:
                if word not in links:
                    part.refuse(row, f"there is no link {word[:60]!r}", "is it of another network?")
            found = self.ways[text] = tuple(links[word] for word in words)
        return found

    def _leads(self, source: int, target: int, links: tuple[int, ...]) -> bool:
        network = self.problem.network
        for link in links:
            if network.source[link] != source:
                return False
            source = int(network.target[link])
        return source == target

    def allocation(self) -> Allocation:
        paths = PathSet.of(self.problem.network, [(source, target, links) for source, target, links, _ in self.paths])
        mains: Ints = np.array([main for _, _, _, main in self.paths], np.int64)
        columns = list(zip(*self.rows, strict=True)) or [(), (), (), ()]
        return Allocation(
            paths=PathSet(source=paths.source, target=paths.target, first=paths.first, links=paths.links, main=mains),
            demand=np.array(columns[0], np.int64),
            endpoint=np.array(columns[1], np.int64),
            path=np.array(columns[2], np.int64),
            rate=np.array(columns[3], float),
        )
