"""The NodeProgram: its text, its fragments, its messages, its join and its difference, over all types of objects."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any, get_args, get_type_hints

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from suanwang.model.errors import SuanwangError
from suanwang.program import wire
from suanwang.program.fragment import MODULUS, Fragment, fragment
from suanwang.program.objects import (
    ORDER,
    AnyObject,
    FilterRule,
    Namespace,
    Neighbour,
    Object,
    PortDevice,
    Route,
    SecurityGroupFilter,
    Vxlan,
    identity,
)
from suanwang.program.program import FORMAT, NodeProgram, difference, join
from suanwang.program.text import line, lines, parse

GOLDENS = Path(__file__).parent / "goldens"

# Texts that look like something else are where a text form goes wrong.
TEXT = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        ["", " ", "a b", "true", "null", "1", "-1", "1.5", "1e5", "10.0.0.0/8", "fd00::1", "::", '"', "\\", "\\ ",
         "a=b", "#", "program x", "\n", "\x85", "\u2028", "\t", "[1]", "{}", "@group/web", "eth0", "0x1", "１"]
    ),
)  # fmt: skip


def values_of(annotation: Any) -> st.SearchStrategy[Any]:
    if annotation is str:
        return TEXT
    if annotation is int:
        return st.integers(-(2**63), 2**63 - 1)
    return st.from_type(annotation)


def objects_of(cls: type[Object]) -> st.SearchStrategy[Any]:
    hints = get_type_hints(cls)
    fields = {field.name: field for field in msgspec.structs.fields(cls)}
    needed = {name: strategy(hints[name]) for name, field in fields.items() if field.required}
    optional = {name: strategy(hints[name]) for name, field in fields.items() if not field.required}
    return st.fixed_dictionaries(needed, optional=optional).map(lambda given: cls(**given))


def strategy(annotation: Any) -> st.SearchStrategy[Any]:
    if annotation == tuple[FilterRule, ...]:
        return st.lists(objects_of(FilterRule), max_size=3).map(tuple)  # type: ignore[arg-type]
    if getattr(annotation, "__origin__", None) is tuple:
        inner = get_args(annotation)
        if inner[-1] is ...:
            return st.lists(strategy(inner[0]), max_size=3).map(tuple)
        return st.tuples(*map(strategy, inner))
    return values_of(annotation)


OBJECTS = st.one_of([objects_of(cls) for cls in ORDER])
MANY = st.lists(OBJECTS, max_size=8)


def program(*parts: Fragment, node: str = "host-1", revision: int = 1) -> NodeProgram:
    return NodeProgram(node, revision, parts)


# --- text ---


@given(MANY)
def test_text_reads_back(items: list[AnyObject]) -> None:
    read = parse("\n".join(lines(items)))
    assert sorted(map(repr, read)) == sorted(map(repr, items))


@given(OBJECTS)
def test_one_object_is_one_line_of_words(item: AnyObject) -> None:
    text = line(item)
    assert "\n" not in text
    assert all("=" in word for word in text.split(" ")[1:])


@given(MANY, st.randoms(use_true_random=False))
def test_text_does_not_depend_on_order(items: list[AnyObject], chance: random.Random) -> None:
    shuffled = list(items)
    chance.shuffle(shuffled)
    assert lines(shuffled) == lines(items)


@pytest.mark.parametrize(
    "text",
    [
        "nonsense a=1",
        "route netns=a",
        "route netns=a destination=10.0.0.0/8 colour=red",
        "route netns=a destination",
        'route netns="a destination=b',
        "route netns=a destination=b table=x",
        "route netns=a destination=b table=1.5",
        "vxlan netns=a device=b vni=true local=c mac=d mtu_bytes=1",
        "route  netns=a",
        "a" * 1000,
    ],
)
def test_bad_text_is_refused_with_its_line(text: str) -> None:
    with pytest.raises(SuanwangError) as caught:
        parse(f"program host-1 format=1\n# a comment\n\n{text}\n")
    assert caught.value.code == "BAD_PROGRAM"
    assert caught.value.message.startswith("line 4: ")


# --- goldens ---


def example() -> NodeProgram:
    netns, device = "vpc/retail/shop", "vxlan4242"
    rules = (FilterRule("tcp", "@group/web", ((80, 80), (8000, 8099))), FilterRule("icmp", icmp_type=8))
    common = fragment(netns, "common", [Namespace(netns, True, True), SecurityGroupFilter(netns, "web", rules)])
    port = PortDevice(
        netns, "p0123456789ab", "port/retail/web-1", "eth0", "02:00:00:00:00:01", "02:73:77:00:00:01", 1450,
        ("10.0.1.5/24", "fd00:10:0:1::5/128"), ("10.0.1.1", "fe80::1"), "retail/web-1", rate_out_bps=10**9,
    )  # fmt: skip
    local = fragment(netns, "local/host-1", [Vxlan(netns, device, 4242, "10.255.0.1", "02:54:0a:ff:00:01", 1450), port])
    routes = [
        Neighbour(netns, device, "fe80::2", "02:54:0a:ff:00:02"),
        Route(netns, "10.0.1.6/32", via="fe80::2", device=device),
        Route(netns, "10.0.9.0/24", 65540, "blackhole"),
    ]
    return program(common, local, fragment(netns, "reach/host-2", routes))


def test_the_text_and_hash_are_those_of_the_golden() -> None:
    # Agents and controllers of other releases compare hashes: a change here is a change of FORMAT.
    golden = GOLDENS / "example.txt"
    text = f"{example().text()}# hash {example().hash}\n"
    assert golden.read_text() == text
    assert lines(parse(golden.read_text())) == lines(example().objects.values())


# --- fragments ---


@given(MANY)
def test_fingerprints_follow_content(items: list[AnyObject]) -> None:
    made = fragment("vpc/a/b", "common", items)
    assert made == fragment("vpc/a/b", "common", iter(items))
    others = [
        fragment("vpc/a/c", "common", items),
        fragment("vpc/a/b", "local/x", items),
        fragment("vpc/a/b", "common", [*items, Namespace("another namespace than any")]),
    ]
    assert len({made.fingerprint, *(other.fingerprint for other in others)}) == 4
    assert 0 <= made.fingerprint < MODULUS


@given(st.lists(MANY, max_size=4), st.randoms(use_true_random=False))
def test_the_hash_does_not_depend_on_the_order_of_fragments(
    parts: list[list[AnyObject]], chance: random.Random
) -> None:
    made = [fragment("owner", str(number), items) for number, items in enumerate(parts)]
    shuffled = list(made)
    chance.shuffle(shuffled)
    assert program(*made).hash == program(*shuffled, revision=9).hash
    assert len(program(*made).hash) == 32


# --- join ---


def test_the_same_object_from_two_owners_is_one() -> None:
    one, two = fragment("a", "x", [Namespace("n")]), fragment("b", "x", [Namespace("n")])
    assert join([one, two]) == {("namespace", "n"): Namespace("n")}


def test_different_objects_of_one_identity_contradict_each_other() -> None:
    one, two = fragment("a", "x", [Namespace("n")]), fragment("b", "y", [Namespace("n", forwarding=True)])
    with pytest.raises(SuanwangError) as caught:
        join([one, two])
    assert (caught.value.code, caught.value.message) == (
        "CONTRADICTION",
        "a#x and b#y both want namespace n, differently",
    )
    with pytest.raises(SuanwangError):
        program(one, two).text()


# --- difference ---


@given(MANY, MANY)
def test_the_difference_leads_from_one_to_the_other(old: list[AnyObject], new: list[AnyObject]) -> None:
    before, after = {identity(item): item for item in old}, {identity(item): item for item in new}
    one, two = program(fragment("a", "x", before.values())), program(fragment("a", "x", after.values()))
    found = difference(one, two)
    result = dict(before)
    for item in found.removed:
        del result[identity(item)]
    for item in found.added:
        assert identity(item) not in result
        result[identity(item)] = item
    for was, item in found.changed:
        assert result[identity(item)] == was != item
        result[identity(item)] = item
    assert result == after
    assert bool(found) == (before != after)
    assert len([*found.lines()]) == len(found.removed) + len(found.added) + 2 * len(found.changed)


# --- wire ---


@given(MANY)
def test_fragments_travel(items: list[AnyObject]) -> None:
    made = fragment("vpc/a/b", "reach/n", items)
    assert wire.decode_fragment(wire.encode_fragment(made)) == made
    update = wire.update("", 3, "abc", ("gone",), (made,))
    read = wire.from_controller(wire.encode(update))
    assert isinstance(read, wire.Update)
    assert (read.format, read.revision, read.remove) == (FORMAT, 3, ("gone",))
    assert [wire.decode_fragment(raw) for raw in read.put] == [made]


@pytest.mark.parametrize(
    "message",
    [
        wire.Hello("n", "0.1", 1, "ab", {"a#b": "00"}),
        wire.Report(1, "ab", 2, 3, 4, (("route x", "FAILED", "why"),), 1, 2),
        wire.Refusal(1, "NEWER_FORMAT", "why"),
        wire.ProbeResults("r", (wire.ProbeResult("a/b", "allowed", 3, 3, (1, 2, 3), "a/c"),)),
        wire.Armed("r", {"a/b": "port taken"}),
    ],
    ids=lambda message: type(message).__name__,
)
def test_messages_of_agents_travel(message: Any) -> None:
    assert wire.from_agent(wire.encode(message)) == message


@pytest.mark.parametrize(
    "message", [wire.ArmResponders("r", ("a/b",), 10), wire.RunProbes("r", ("a/b",))], ids=lambda m: type(m).__name__
)
def test_messages_of_the_controller_travel(message: Any) -> None:
    assert wire.from_controller(wire.encode(message)) == message


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"type":"surprise"}', b'{"type":"hello","node":5}'])
def test_what_is_no_message_is_refused(data: bytes) -> None:
    with pytest.raises((msgspec.ValidationError, msgspec.DecodeError)):
        wire.from_agent(data)


def test_an_update_of_a_newer_format_can_be_read_to_its_format() -> None:
    unknown = b'["a","b",[{"type":"?"}],"0"]'
    data = b'{"type":"update","format":99,"revision":1,"base":"","hash":"x","remove":[],"put":[%b]}' % unknown
    read = wire.from_controller(data)
    assert isinstance(read, wire.Update)
    assert read.format == 99
    with pytest.raises(msgspec.ValidationError):
        wire.decode_fragment(read.put[0])
