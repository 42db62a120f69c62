"""The bytes of probes, and what can be made of any others."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from suanwang.agent import packets

NONCE = bytes(range(16))


def test_an_echo_and_its_reply():
    request = packets.echo_request(4, 7, 3, NONCE)
    assert packets.checksum(request) == 0
    reply = struct.pack("!BBHHH", 0, 0, 0, 7, 3) + NONCE
    header = b"\x46" + bytes(23)
    assert packets.echo_reply(4, header + reply, 7, NONCE) == 3
    assert packets.echo_reply(4, header + reply, 8, NONCE) is None
    assert packets.echo_reply(4, header + reply, 7, bytes(16)) is None
    assert packets.echo_reply(4, header + request, 7, NONCE) is None
    assert packets.echo_reply(6, struct.pack("!BBHHH", 129, 0, 0, 7, 3) + NONCE, 7, NONCE) == 3


@given(st.binary(max_size=3001))
def test_the_checksum_makes_the_sum_zero(data):
    padded = data + b"\0" * (len(data) % 2)
    assert packets.checksum(padded + struct.pack("!H", packets.checksum(padded))) == 0 == 0


@given(st.text(max_size=600), st.integers(0, 99))
def test_datagrams_never_multiply_traffic(identity, sequence):
    request = packets.datagram(NONCE, sequence)
    answer = packets.datagram_answer(request, identity)
    assert answer is None or len(answer) <= len(request)
    if answer is not None and "\n" not in identity:
        assert packets.datagram_reply(answer, NONCE) == (sequence, identity)


@given(st.binary(max_size=600))
def test_any_bytes_are_read_without_harm(data):
    packets.datagram_answer(data, "x")
    packets.datagram_reply(data, NONCE)
    packets.banner_identity(data)
    packets.may_become_banner(data)
    packets.echo_reply(4, data, 1, NONCE)
    packets.echo_reply(6, data, 1, NONCE)


def test_a_banner_comes_in_any_pieces():
    whole = packets.banner("t/web-1")
    for cut in range(len(whole)):
        assert packets.may_become_banner(whole[:cut])
        assert packets.banner_identity(whole[:cut]) is None
    assert not packets.may_become_banner(whole)
    assert packets.banner_identity(whole) == "t/web-1"
    assert not packets.may_become_banner(b"SSH-2.0")
    assert not packets.may_become_banner(b"\x00" * 600)
