"""LLDP frames: as the standard lays them out, whole after a round trip, and safe to read whatever they hold."""

from __future__ import annotations

import shutil
import struct
import subprocess
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suanwang.fabric.cabling import lldp, lldp_bgp
from suanwang.fabric.cabling.lldp import Advertisement, decode, encode
from suanwang.fabric.cabling.lldp_bgp import BgpInformation, PeeringAddress, SessionCapability
from suanwang.model.errors import SuanwangError

SOURCE = bytes.fromhex("020000000001")
addresses = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6))
numbers = st.integers(0, 2**32 - 1)
visible = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=64)
names = st.text(st.characters(codec="utf-8", categories=("L", "N", "P")), min_size=1, max_size=60)
informations = st.builds(
    BgpInformation,
    addresses=st.lists(
        st.builds(
            PeeringAddress,
            addresses,
            st.lists(st.tuples(st.integers(0, 65535), st.integers(0, 255)), min_size=1, max_size=30).map(tuple),
        ),
        max_size=6,
    ).map(tuple),
    local_as=st.lists(numbers, max_size=2).map(tuple),
    identifier=st.none() | st.ip_addresses(v=4),
    group=st.none() | numbers,
    capabilities=st.integers(0, 2**64 - 1).map(SessionCapability),
    key_chain=visible,
    next_hops=st.lists(addresses, max_size=4).map(tuple),
    version=st.none() | numbers,
)
advertisements = st.builds(
    Advertisement,
    chassis=st.binary(min_size=6, max_size=6).map(lambda one: one.hex(":")),
    port=names,
    ttl_s=st.integers(0, 65535),
    port_description=names,
    system_name=names,
    system_description=st.just("") | names,
    management=st.lists(addresses, max_size=3).map(tuple),
    bgp=st.none() | informations,
)


@given(advertisements)
def test_what_is_said_is_heard(said: Advertisement) -> None:
    heard = decode(encode(said, SOURCE))
    assert heard == said
    assert heard.flaws == ()


@given(st.binary(max_size=1600))
def test_anything_may_be_read(data: bytes) -> None:
    for frame in (data, lldp.NEAREST_BRIDGE + SOURCE + b"\x88\xcc" + data):
        try:
            decode(frame)
        except SuanwangError:
            continue


@given(advertisements, st.data())
def test_a_broken_frame_is_refused_or_read_in_part(said: Advertisement, data: st.DataObject) -> None:
    frame = bytearray(encode(said, SOURCE))
    for _ in range(data.draw(st.integers(1, 4))):
        frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    try:
        heard = decode(bytes(frame[: data.draw(st.integers(0, len(frame)))]))
    except SuanwangError:
        return
    shown = (heard.chassis, heard.port, heard.system_name, heard.system_description, heard.port_description)
    assert all(text.isprintable() and len(text) <= 1600 for text in shown)
    assert heard.bgp is None or heard.bgp.key_chain.isprintable()


def test_bytes_are_those_of_the_standard() -> None:
    said = Advertisement(
        "02:00:00:00:00:01",
        "swp1",
        ttl_s=120,
        system_name="leaf0",
        bgp=BgpInformation(
            (PeeringAddress(IPv6Address("fe80::1")),), (4_200_000_001,), IPv4Address("10.0.0.1"), group=7
        ),
    )
    assert encode(said, SOURCE).hex(" ") == " ".join(
        (
            "01 80 c2 00 00 0e 02 00 00 00 00 01 88 cc",
            "02 07 04 02 00 00 00 00 01",  # type 1, 7 bytes: a MAC address
            "04 05 05 73 77 70 31",  # type 2: an interface's name
            "06 02 00 78",  # type 3: 120 s
            "0a 05 6c 65 61 66 30",  # type 5: the system's name
            "fe 2c 00 00 5e 02",  # type 127, 44 bytes: the IETF's, for BGP
            "01 14 02 fe 80 00 00 00 00 00 00 00 00 00 00 00 00 00 01 00 00 00",
            "02 04 fa 56 ea 01",
            "03 04 0a 00 00 01",
            "04 04 00 00 00 07",
            "00 00",
        )
    )


def frame_of(*tlvs: tuple[int, bytes]) -> bytes:
    body = b"".join(struct.pack("!H", kind << 9 | len(value)) + value for kind, value in tlvs)
    return lldp.NEAREST_BRIDGE + SOURCE + b"\x88\xcc" + body + b"\0\0"


CHASSIS, PORT, TTL = (1, b"\x04" + SOURCE), (2, b"\x05eth0"), (3, b"\0\x78")


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (b"", "no LLDP frame"),
        (frame_of(CHASSIS, PORT, TTL).replace(b"\x88\xcc", b"\x08\x00", 1), "no LLDP frame"),
        (frame_of(PORT, CHASSIS, TTL), "does not begin"),
        (frame_of(CHASSIS, PORT), "does not begin"),
        (frame_of(CHASSIS, PORT, TTL, PORT), "twice"),
        (frame_of(CHASSIS, (2, b"\x05"), TTL), "port has 1 bytes"),
        (frame_of((1, b"\x07" + b"x" * 256), PORT, TTL), "chassis has 257 bytes"),
        (frame_of(CHASSIS, PORT, (3, b"\0")), "time to live"),
        (frame_of(CHASSIS, PORT, TTL)[:-2] + b"\x0b\xff", "runs past the end"),
        (frame_of(CHASSIS, PORT, TTL) + b"\0" * 1500, "no LLDP frame"),
    ],
)
def test_frames_to_be_dropped(frame: bytes, words: str) -> None:
    with pytest.raises(SuanwangError, match=words):
        decode(frame)


def test_padding_and_unknown_parts_are_passed_over() -> None:
    frame = frame_of(CHASSIS, PORT, TTL, (9, b"?"), (127, b"\x00\x80\xc2\x01\x00\x01"), (5, b"spine\n1"))
    heard = decode(frame + b"\xff" * 20)
    assert (heard.chassis, heard.port, heard.ttl_s) == ("02:00:00:00:00:01", "eth0", 120)
    assert heard.system_name == "spine\N{REPLACEMENT CHARACTER}1"
    assert heard.bgp is None


def test_flawed_parts_of_bgp_cost_themselves_only() -> None:
    good = b"\x02\x04\0\0\xfd\xe8"
    flawed = (b"\x02\x03\0\0\1", b"\x01\x05\x01\x0a\0\0\1", b"\x01\x00", b"\x06\x02a\n", b"\x07\x05\x03\x0a\0\0\1")
    flaws: list[str] = []
    heard = lldp_bgp.decode([b"\x63\x01x" + b"".join(flawed) + good, b"\x04", b"\x03\x04\x0a\0\0\1"], flaws)
    assert heard == BgpInformation(local_as=(65000,), identifier=IPv4Address("10.0.0.1"))
    assert len(flaws) == len(flawed) + 1


def test_many_addresses_take_several_tlvs() -> None:
    peering = tuple(PeeringAddress(ip_address(f"fd00::{number:x}")) for number in range(40))
    said = Advertisement("02:00:00:00:00:01", "e0", bgp=BgpInformation(peering))
    pieces = list(lldp_bgp.encode(BgpInformation(peering)))
    assert len(pieces) == 2
    assert all(len(piece) <= lldp_bgp.MOST_TLV_BYTES for piece in pieces)
    heard = decode(encode(said, SOURCE)).bgp
    assert heard is not None
    assert heard.addresses == peering


@pytest.mark.parametrize(
    "said",
    [
        Advertisement("not a mac", "e0"),
        Advertisement("02:00:00:00:00:01", ""),
        Advertisement("02:00:00:00:00:01", "x" * 256),
        Advertisement("02:00:00:00:00:01", "e0", ttl_s=70_000),
        Advertisement("02:00:00:00:00:01", "e0", bgp=BgpInformation(local_as=(1, 2, 3))),
        Advertisement("02:00:00:00:00:01", "e0", bgp=BgpInformation(local_as=(2**32,))),
        Advertisement("02:00:00:00:00:01", "e0", bgp=BgpInformation(key_chain="a b")),
        Advertisement("02:00:00:00:00:01", "e0", bgp=BgpInformation(key_chain="k" * 65)),
        Advertisement("02:00:00:00:00:01", "e0", management=(IPv6Address("fd00::1"),) * 60),
    ],
)
def test_what_has_no_room_is_refused(said: Advertisement) -> None:
    with pytest.raises(SuanwangError):
        encode(said, SOURCE)
    with pytest.raises(SuanwangError, match="6 bytes"):
        encode(Advertisement("02:00:00:00:00:01", "e0"), SOURCE[:5])


@pytest.mark.skipif(shutil.which("tcpdump") is None, reason="needs tcpdump, as another reader of frames")
def test_tcpdump_reads_the_same(tmp_path: Path) -> None:
    said = Advertisement(
        "02:00:00:00:00:01", "swp1", 120, port_description="to spine0", system_name="leaf0",
        management=(IPv4Address("10.0.0.1"),), bgp=BgpInformation(local_as=(65001,)),
    )  # fmt: skip
    frame = encode(said, SOURCE)
    capture = tmp_path / "frame.pcap"
    header = struct.pack("!IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
    capture.write_bytes(header + struct.pack("!IIII", 0, 0, len(frame), len(frame)) + frame)
    shown = subprocess.run(["tcpdump", "-v", "-n", "-r", capture], capture_output=True, text=True, check=True).stdout
    for words in (
        "LLDP, length", "MAC address (4): 02:00:00:00:00:01", "Interface Name (5): swp1", "TTL 120s",
        "Port Description TLV (4), length 9: to spine0", "System Name TLV (5), length 5: leaf0",
        "AFI IPv4 (1): 10.0.0.1", "OUI IANA", "End TLV (0), length 0",
    ):  # fmt: skip
        assert words in shown, shown
