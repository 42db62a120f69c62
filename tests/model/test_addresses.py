"""Addresses: one canonical text for each, and nothing else gets through."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suanwang.model.addresses import (
    address_from_hex,
    hex_address,
    read_address,
    read_mac,
    read_prefix,
    stable_mac,
)

ADDRESSES = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6))


@given(ADDRESSES)
def test_hexadecimal_text_leads_back(address: IPv4Address | IPv6Address) -> None:
    assert address_from_hex(hex_address(str(address))) == str(address)


@given(st.lists(ADDRESSES, max_size=20))
def test_hexadecimal_text_sorts_as_numbers(addresses: list[IPv4Address | IPv6Address]) -> None:
    by_number = sorted(addresses, key=lambda one: (one.version, int(one)))
    assert sorted(hex_address(str(one)) for one in addresses) == [hex_address(str(one)) for one in by_number]


@given(ADDRESSES)
def test_reading_is_canonical(address: IPv4Address | IPv6Address) -> None:
    assert read_address(address.exploded) == read_address(str(address)) == str(address)


@pytest.mark.parametrize(
    "text",
    ["10.0.0.256", "10.0.0.01", "10.0.0", "fe80::1%eth0", "fe80::1%a b", "", "10.0.0.1\n", 5, None, ["10.0.0.1"]],
)
def test_what_is_no_address_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="is no IP address"):
        read_address(text)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("10.0.0.1/8", r"the prefix is 10\.0\.0\.0/8"),
        ("10.0.0.0", "is no prefix"),
        ("10.0.0.0/33", "is no prefix"),
        ("fd00::%x y/64", "is no prefix"),
        ("/8", "is no prefix"),
        (8, "is no prefix"),
    ],
)
def test_what_is_no_prefix_is_refused(text: object, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        read_prefix(text)


def test_prefixes_have_one_text() -> None:
    assert read_prefix("FD00:0:0::/48") == "fd00::/48"
    assert read_prefix("10.0.0.0/255.0.0.0") == "10.0.0.0/8"


def test_macs_have_one_text() -> None:
    assert read_mac("02-AB-00-00-00-01") == "02:ab:00:00:00:01"


@pytest.mark.parametrize(
    "text", ["01:00:5e:00:00:01", "ff:ff:ff:ff:ff:ff", "00:00:00:00:00:00", "02:00:00:00:01", "02:00:00:00:00:01\n", 2]
)
def test_what_is_no_unicast_mac_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="MAC address"):
        read_mac(text)


@given(st.lists(st.text(), min_size=1, max_size=3))
def test_derived_macs_are_unicast_and_stable(parts: list[str]) -> None:
    mac = stable_mac(*parts)
    assert read_mac(mac) == mac == stable_mac(*parts)
