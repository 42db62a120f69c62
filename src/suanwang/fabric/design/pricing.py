"""Prices: a file says what items cost, a bill says how many there are.

    currency: USD
    items:
      switch/51.2T: 30000          # else switch
      cable/AEC/200Gbps: 150       # else cable/AEC; a length may follow the rate: cable/AEC/200Gbps/3m
      metre/SR: 0.6                # for each metre of the cables of that medium, beside the cable itself
      transceiver/SR/200Gbps: 180  # else transceiver/SR; each end of a cable of a medium with pluggable ends
      interface/400Gbps: 1500      # else interface; one for each endpoint of the scale-out network
      rack: 5000                   # of servers

The name that says most wins. What has no price is named, and the sum is then no more than a lower bound.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from suanwang.fabric.design.bill import Bill, PartBill
from suanwang.fabric.design.lengths import Lot
from suanwang.fabric.units import length_text
from suanwang.model.errors import INVALID, Place, SuanwangError
from suanwang.model.reading import line_of, path_text, read_path, read_text
from suanwang.model.registry import nearest
from suanwang.model.units import rate_text

KINDS = ("switch", "cable", "metre", "transceiver", "interface", "rack")
MOST_ITEMS = 10_000
GREATEST_PRICE = 1e12
LONGEST_CURRENCY = 16

_ITEM = re.compile(r"^[a-z]+(/[^/\s]{1,63}){0,3}$")


@dataclass(frozen=True, slots=True)
class Prices:
    """What items cost, by their names."""

    currency: str
    items: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Line:
    """How many of what, the name under which its price was found ("" where there is none) and what one costs."""

    what: str
    count: float
    item: str
    each: float

    @property
    def total(self) -> float:
        """What all of them cost."""
        return self.count * self.each


@dataclass(frozen=True, slots=True)
class Account:
    """What a fabric costs. `unpriced` are those lines that no item of the file fits."""

    currency: str
    lines: tuple[Line, ...]

    @property
    def total(self) -> float:
        """The sum over all lines that have a price."""
        return sum(line.total for line in self.lines)

    @property
    def unpriced(self) -> list[str]:
        """What has no price."""
        return [line.what for line in self.lines if not line.item]


def read_prices(source: Path | str) -> Prices:
    """The prices in a file, or in a text, which has line breaks. Raises SuanwangError with file and line."""
    text = str(source)
    if isinstance(source, Path) or "\n" not in text:
        documents = read_path(text)
    else:
        documents = [("<text>", document) for document in read_text(text, "<text>")]
    if len(documents) != 1:
        raise SuanwangError(INVALID, f"{len(documents)} documents, and not one list of prices", "", Place(text[:200]))
    file, document = documents[0]

    def refuse(path: tuple[str | int, ...], message: str, hint: str) -> SuanwangError:
        return SuanwangError(INVALID, message, hint, Place(file, line_of(document, path), path_text(path)))

    for name in document:
        if name not in ("currency", "items"):
            raise refuse(
                (name,), f"there is no field {name[:63]!r} here", nearest(name, ("currency", "items"), "fields")
            )
    currency, items = document.get("currency", ""), document.get("items")
    if not isinstance(currency, str) or len(currency) > LONGEST_CURRENCY:
        raise refuse(("currency",), "the currency is a short name", "write currency: USD, say")
    if not isinstance(items, dict) or not 1 <= len(items) <= MOST_ITEMS:
        raise refuse(("items",), f"items are 1 to {MOST_ITEMS:,} prices by name", "write items: {switch: 20000}, say")
    for name, price in items.items():
        _check(name, price, lambda message, hint, at=name: refuse(("items", at), message, hint))
    return Prices(currency, {name: float(price) for name, price in items.items()})


def _check(name: str, price: Any, refuse: Any) -> None:
    if not _ITEM.match(name) or name.partition("/")[0] not in KINDS:
        raise refuse(f"there is no item {name[:63]!r}", nearest(name.partition("/")[0], KINDS, "items"))
    number = isinstance(price, (int, float)) and not isinstance(price, bool)
    if not number or not isfinite(price) or not 0 <= price <= GREATEST_PRICE:
        raise refuse(f"{str(price)[:63]!r} is no price", f"a price is a number from 0 to {GREATEST_PRICE:.0e}")


def account(bill: Bill, prices: Prices) -> Account:
    """What a fabric costs at these prices."""
    lines = [line for part in bill.parts for line in _part_lines(part, prices)]
    return Account(prices.currency, (*lines, _line("racks of servers", bill.racks, prices, "rack")))


def _part_lines(part: PartBill, prices: Prices) -> Iterator[Line]:
    yield _line(f"switches {part.chip.name}", part.switches, prices, f"switch/{part.chip.name}", "switch")
    for lot in part.lots:
        yield from _lot_lines(lot, prices)
    if part.which == "scale-out":
        rate = rate_text(part.endpoint_bps)
        yield _line(f"interfaces {rate}", part.endpoints, prices, f"interface/{rate}", "interface")


def _lot_lines(lot: Lot, prices: Prices) -> Iterator[Line]:
    kind, rate, length = lot.medium.name, rate_text(lot.rate_bps), length_text(lot.length_mm)
    name = f"cable/{kind}"
    what = f"cables {kind} {rate} {length}"
    yield _line(what, lot.count, prices, f"{name}/{rate}/{length}", f"{name}/{rate}", name, "cable")
    if f"metre/{kind}" in prices.items:
        yield _line(f"metres {kind} in {length}", lot.count * lot.length_mm / 1000, prices, f"metre/{kind}")
    if lot.medium.transceivers:
        names = (f"transceiver/{kind}/{rate}", f"transceiver/{kind}", "transceiver")
        yield _line(f"transceivers {kind} {rate}", 2 * lot.count, prices, *names)


def _line(what: str, count: float, prices: Prices, *names: str) -> Line:
    found = next((name for name in names if name in prices.items), "")
    return Line(what, count, found, prices.items.get(found, 0.0))
