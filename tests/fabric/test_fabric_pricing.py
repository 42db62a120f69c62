"""Prices: the name that says most wins, what has none is named, and malformed files are refused with their line."""

from __future__ import annotations

import pytest

from suanwang.fabric.design.bill import Bill, bill
from suanwang.fabric.design.building import build
from suanwang.fabric.design.pricing import Prices, account, read_prices
from suanwang.fabric.kinds import FabricSpec
from suanwang.model.errors import SuanwangError


@pytest.fixture(scope="module")
def small() -> Bill:
    """Eight endpoints on a switch of their own rack; cables of 2 m."""
    spec = {
        "accelerators": {"perServer": 8},
        "scaleOut": {"tiers": [{"children": 8, "rate": "400Gbps", "medium": "SR"}], "switch": {"name": "box"}},
        "layout": {"withinRack": "2m"},
    }
    return bill(build("small", FabricSpec.model_validate(spec)))


def test_the_name_that_says_most_wins(small: Bill) -> None:
    items = {"switch": 1.0, "switch/box": 100.0, "cable/SR": 1.0, "cable/SR/400Gbps": 2.0, "cable/SR/400Gbps/2m": 5.0}
    items |= {"metre/SR": 0.5, "transceiver/SR": 10.0, "interface": 7.0, "rack": 3.0}
    found = account(small, Prices("USD", items))
    assert [(line.item, line.count, line.total) for line in found.lines] == [
        ("switch/box", 1, 100),
        ("cable/SR/400Gbps/2m", 8, 40),
        ("metre/SR", 16, 8),
        ("transceiver/SR", 16, 160),
        ("interface", 8, 56),
        ("rack", 1, 3),
    ]
    assert (found.total, found.unpriced) == (367, [])


def test_what_has_no_price_is_named(small: Bill) -> None:
    found = account(small, Prices("", {"switch": 10.0}))
    assert found.total == 10
    assert found.unpriced == [
        "cables SR 400Gbps 2m",
        "transceivers SR 400Gbps",
        "interfaces 400Gbps",
        "racks of servers",
    ]


def test_a_file_is_read() -> None:
    prices = read_prices("currency: EUR\nitems:\n  switch: 3\n  cable/AEC/400Gbps: 2.5\n")
    assert prices == Prices("EUR", {"switch": 3.0, "cable/AEC/400Gbps": 2.5})


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("currency: EUR\nitems:\n  switsh: 3\n", 3, "there is no item 'switsh'"),
        ("items:\n  switch: -3\n", 2, "'-3' is no price"),
        ("items:\n  switch: dear\n", 2, "'dear' is no price"),
        ("items:\n  switch: true\n", 2, "'True' is no price"),
        ("items:\n  switch: 1e400\n", 2, "no price"),
        ("items: {}\n", 1, "items are 1 to"),
        ("currency: EUR\n", 1, "items are 1 to"),
        ("currency: [1]\nitems: {switch: 1}\n", 1, "the currency is a short name"),
        ("price: EUR\nitems: {switch: 1}\n", 1, "there is no field 'price'"),
        ("items: {switch: 1}\n---\nitems: {switch: 1}\n", 0, "2 documents"),
    ],
)
def test_malformed_prices(text: str, line: int, message: str) -> None:
    with pytest.raises(SuanwangError) as caught:
        read_prices(text)
    assert message in caught.value.message
    assert not line or caught.value.place.line == line
